/* What a search may try: families of models, each a list of dimensions. One table; the text of --space narrows it.
 *
 *     g_autoptr(PipelineSearchSpace) space = pipeline_search_space_parse("dense:depth=1..2;trees", &error);
 *
 * A configuration of a family is one double a dimension, in its order: the number itself, or the index of a choice. */
#pragma once

#include <jansson.h>

#include "pipeline/trainer.h"
#include "pipeline/trainer_random.h"

G_BEGIN_DECLS

#define PIPELINE_SEARCH_MAX_DIMENSIONS 12u

typedef enum {
  PIPELINE_SEARCH_REAL,        /* uniform */
  PIPELINE_SEARCH_LOG,         /* uniform in the logarithm; low > 0 */
  PIPELINE_SEARCH_INTEGER,     /* uniform over the whole numbers from low to high */
  PIPELINE_SEARCH_LOG_INTEGER, /* whole numbers, uniform in the logarithm */
  PIPELINE_SEARCH_CHOICE       /* one of `choices`, without an order */
} PipelineSearchScale;

typedef struct {
  const gchar *name;
  PipelineSearchScale scale;
  double low, high;     /* inclusive; of a choice: unused */
  const gchar *choices; /* "32,64,128"; NULL for numbers */
  double usual;         /* the value (or index) of the first trial: what `kedge train` takes by itself */
} PipelineSearchDimension;

typedef struct {
  const gchar *name, *unit; /* "dense", "epochs" */
  guint units; /* epochs or rounds of the first rung; a rung has `reduction` times those of the one below */
  const PipelineSearchDimension *table;
  guint n_dimensions;
  /* Sets what the values [n_dimensions] mean; the new text is options->architecture and must outlive it. */
  gchar *(*fill)(const double *values, PipelineTrainOptions *options);
} PipelineSearchFamily;

/* A family with the ranges that this search has. */
typedef struct {
  const PipelineSearchFamily *family;
  PipelineSearchDimension dimensions[PIPELINE_SEARCH_MAX_DIMENSIONS]; /* copies of the table's, narrowed */
  gchar *choices[PIPELINE_SEARCH_MAX_DIMENSIONS];                     /* owned texts of narrowed choices, or NULL */
} PipelineSearchPart;

typedef struct {
  GPtrArray *parts; /* of PipelineSearchPart* */
} PipelineSearchSpace;

/* NULL or "": all families as they are in the table. "FAMILY[:DIMENSION=RANGE,…][;FAMILY…]" with RANGE LOW..HIGH, a
 * number, or choices A|B. INVALID names what is unknown or outside of the table's range. */
PipelineSearchSpace *pipeline_search_space_parse(const gchar *text, GError **error);
void pipeline_search_space_free(PipelineSearchSpace *space);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineSearchSpace, pipeline_search_space_free)
/* The part of that family, or NULL. */
const PipelineSearchPart *pipeline_search_space_find(const PipelineSearchSpace *space, const gchar *family);
/* [{"family", "DIMENSION": [low, high] or [choices]}]: what a journal is compared by; new. */
json_t *pipeline_search_space_describe(const PipelineSearchSpace *space);

/* values [n_dimensions] as {"depth": 2, "batch": "64"}, and back: DATA names the member that is missing, not in the
 * table's range or no choice. */
json_t *pipeline_search_values_format(const PipelineSearchFamily *family, const double *values);
gboolean pipeline_search_values_parse(const PipelineSearchFamily *family, const json_t *json, double *values,
                                      GError **error);
/* What the first trial of the family takes: the usual values, moved into the part's ranges. */
void pipeline_search_part_usual(const PipelineSearchPart *part, double *values);
const PipelineSearchFamily *pipeline_search_family_find(const gchar *name); /* or NULL */
guint pipeline_search_n_choices(const PipelineSearchDimension *dimension);
/* The whole table, for documentation: NULL-terminated. */
const PipelineSearchFamily *const *pipeline_search_families(void);

G_END_DECLS
