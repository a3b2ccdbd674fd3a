/* The table of transformations and what its rows' functions work with (pipeline/transform.h is for users). */
#pragma once

#include <glib.h>

#include "onnx/graph.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

/* What travels along a chain: [n_rows, width] numbers, or one text a row. A missing number is NaN, a missing text "".
 */
typedef struct {
  OnnxType type; /* FLOAT, DOUBLE (seconds: more digits than a float has) or STRING */
  guint width;
  guint64 n_rows;
  double *numbers;     /* owned; of FLOAT they are float32 values; NULL for texts */
  const gchar **texts; /* [n_rows], owned array of texts that `chunk` or the table owns; NULL for numbers */
  GStringChunk *chunk; /* or NULL */
} PipelineValues;
void pipeline_values_free(PipelineValues *values);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineValues, pipeline_values_free)

/* What a row has learnt. Plain numbers and a map from texts, so that it can be reported as it is. */
typedef struct {
  guint width;       /* columns that it makes */
  GArray *numbers;   /* of double; what they mean: the row's `parameters`, the last of which may be a list */
  GPtrArray *keys;   /* of gchar*, owned, sorted; empty where there is no map */
  GArray *values;    /* of double, [keys->len][n_values] */
  guint n_values;    /* of a key */
  GPtrArray *labels; /* of gchar*, owned: texts that keys become, by key; or names of the columns made */
  double *training;  /* [n training rows][width]: what they are trained on instead of the graph's values; or NULL */
} PipelineTransformState;
PipelineTransformState *pipeline_transform_state_new(void);
void pipeline_transform_state_free(gpointer state);

typedef struct {
  const gchar *column;             /* for messages */
  const PipelineValues *inputs[2]; /* of all rows of the table; the second only of a pair */
  const guint64 *rows;             /* [n_rows]: the training rows */
  guint64 n_rows;
  const float *targets;            /* of all rows of the table, or NULL */
  guint n_classes, positive;       /* n_classes 0: a regression */
  const gchar *const *class_names; /* [n_classes] */
  double parameter;
  guint64 seed;
} PipelineTransformFit;

/* Nodes appended to a graph; names begin with `prefix`. */
typedef struct {
  OnnxGraph *graph;
  const gchar *prefix;
  guint number;     /* of values so far */
  GPtrArray *names; /* of gchar*: owned value names */
} PipelineEmit;

typedef struct {
  const gchar *name, *summary;
  OnnxType takes, gives;          /* FLOAT, DOUBLE, STRING */
  guint n_inputs;                 /* 2: of the pair in front of a chain, not to be named by users */
  gboolean takes_missing;         /* NaN means something to it: nothing is imputed in front */
  gboolean imputes;               /* it leaves no NaN */
  gboolean ends;                  /* makes several columns or a flag: nothing can follow */
  const gchar *parameter;         /* what the number behind the name is, or NULL: it takes none */
  double fallback, least, most;   /* of the parameter */
  const gchar *const *parameters; /* names of state->numbers, NULL-terminated */
  gboolean (*fit)(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error);
  /* The name of the value it makes; inputs are names of [N, 1] values. */
  const gchar *(*emit)(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs);
} PipelineTransformation;

extern const PipelineTransformation pipeline_transformations[]; /* ends with name NULL */
/* By name, of those that users name; INVALID lists them. */
const PipelineTransformation *pipeline_transformation_find(const gchar *name, GError **error);
/* What joins two columns of that type. */
const PipelineTransformation *pipeline_transformation_pair(OnnxType type);

/* --- emitting (transform_emit.c) ---------------------------------------------------------------------------------- */

/* op_type(inputs…) -> a new value; inputs are names separated by commas or, where names may have commas, the vector.
 * `last` gets the node for its attributes. */
const gchar *pipeline_emit_node(PipelineEmit *emit, const gchar *domain, const gchar *op_type,
                                const gchar *const *inputs, guint n_inputs, OnnxNode **last);
const gchar *pipeline_emit_one(PipelineEmit *emit, const gchar *op_type, const gchar *a);
const gchar *pipeline_emit_two(PipelineEmit *emit, const gchar *op_type, const gchar *a, const gchar *b);
/* Constants. */
const gchar *pipeline_emit_float(PipelineEmit *emit, double value);                     /* a scalar */
const gchar *pipeline_emit_floats(PipelineEmit *emit, const double *values, guint n);   /* [1, n] */
const gchar *pipeline_emit_integer(PipelineEmit *emit, gint64 value);                   /* a scalar */
const gchar *pipeline_emit_integers(PipelineEmit *emit, const gint64 *values, guint n); /* [n] */
/* int64 seconds as float64, the least int64 as NaN: no integer is missing. */
const gchar *pipeline_emit_seconds(PipelineEmit *emit, const gchar *input);
const gchar *pipeline_emit_cast(PipelineEmit *emit, const gchar *input, OnnxType type);
const gchar *pipeline_emit_concat(PipelineEmit *emit, const gchar *const *inputs, guint n); /* of columns */

/* --- statistics (transform_values.c) ------------------------------------------------------------------------------ */

/* The finite values of the training rows, sorted; *n of them. INVALID-free: an empty list is possible. New. */
double *pipeline_fit_sorted(const PipelineTransformFit *fit, guint64 *n);
/* The q-quantile of sorted values, linear interpolation; NaN of none. */
double pipeline_sorted_quantile(const double *sorted, guint64 n, double q);
/* Mean and standard deviation (n in the denominator) of the finite values; 0, 0 of none. */
void pipeline_fit_moments(const PipelineTransformFit *fit, double *mean, double *sd);
void pipeline_state_add(PipelineTransformState *state, double number);
double pipeline_state_get(const PipelineTransformState *state, guint index);

/* A category of the training rows. */
typedef struct {
  const gchar *text; /* borrowed from the values */
  guint64 count;
} PipelineCategory;
/* Sorted by text; the `most` most frequent ones. New array of PipelineCategory. */
GArray *pipeline_fit_categories(const PipelineTransformFit *fit, guint most);
gint pipeline_state_find(const PipelineTransformState *state, const gchar *text); /* index of the key, or -1 */

/* --- the rows' functions ------------------------------------------------------------------------------------------ */

#define PIPELINE_TRANSFORM(name)                                                                                       \
  gboolean pipeline_fit_##name(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error);        \
  const gchar *pipeline_emit_##name(PipelineEmit *emit, const PipelineTransformState *state,                           \
                                    const gchar *const *inputs);
PIPELINE_TRANSFORM(keep)
PIPELINE_TRANSFORM(mean)
PIPELINE_TRANSFORM(median)
PIPELINE_TRANSFORM(constant)
PIPELINE_TRANSFORM(missing)
PIPELINE_TRANSFORM(winsorise)
PIPELINE_TRANSFORM(standard)
PIPELINE_TRANSFORM(robust)
PIPELINE_TRANSFORM(log)
PIPELINE_TRANSFORM(yeo_johnson)
PIPELINE_TRANSFORM(quantile)
PIPELINE_TRANSFORM(bins)
PIPELINE_TRANSFORM(calendar)
PIPELINE_TRANSFORM(unseen)
PIPELINE_TRANSFORM(one_hot)
PIPELINE_TRANSFORM(frequency)
PIPELINE_TRANSFORM(target)
PIPELINE_TRANSFORM(product)
PIPELINE_TRANSFORM(cross)
#undef PIPELINE_TRANSFORM
/* Log-likelihood of the parameter lambda on sorted values (Yeo and Johnson 2000), and the transformation. */
double pipeline_yeo_johnson(double x, double lambda);

G_END_DECLS
