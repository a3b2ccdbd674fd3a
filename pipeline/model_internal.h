/* What model.c, model_input.c, model_output.c share, and with them those who look inside a loaded model to train it:
 * network_graph.c, network_features.c. Nobody else includes it. */
#pragma once

#include "onnx/graph.h"
#include "pipeline/executor.h"
#include "pipeline/model.h"

G_BEGIN_DECLS

/* One input of the graph and the features that fill its columns. */
typedef struct {
  guint index; /* in graph->inputs */
  OnnxType type;
  guint n_dims; /* 1: [N], 2: [N, width], more: [N, dims…] of `width` elements together */
  gint64 dims[ONNX_MAX_DIMENSIONS];
  GArray *features; /* of guint: schema feature of each column */
  gboolean seconds; /* int64 in front of kedge's own "calendar": a fraction is cut off, the least int64 is missing */
} PipelineModelInput;

/* How an output becomes probabilities. */
typedef enum {
  PIPELINE_LINK_NONE,    /* they are probabilities (or the value of a regression) already */
  PIPELINE_LINK_SOFTMAX, /* one logit a class */
  PIPELINE_LINK_SIGMOID, /* one logit, of the positive class */
  PIPELINE_LINK_EXP      /* logarithms of probabilities */
} PipelineModelLink;

typedef struct {
  guint index;     /* in graph->outputs */
  guint n_columns; /* of the tensor: classes, or 1 */
  PipelineModelLink link;
  guint *class_of; /* [n_columns]: schema class of each column; NULL for regression and single columns */
} PipelineModelOutput;

struct _PipelineModel {
  GBytes *onnx; /* what it was loaded from */
  DriftSchema *schema;
  OnnxGraph *graph;
  PipelineExecutor *executor;
  GPtrArray *inputs; /* of PipelineModelInput* */
  PipelineModelOutput output;
  guint n_outputs;
  float threshold;        /* of the positive class, from the graph (pipeline/calibration.h); NaN: none */
  double interval;        /* level of the interval of a regression, or NaN */
  gboolean row_exact;     /* of the backend */
  guint fixed_batch;      /* the number of rows that the graph insists on, or 0 */
  GStringChunk *texts;    /* numbers written as texts, of one batch */
  DriftValue *row_values; /* rows of a table on their way: [PIPELINE_MODEL_BATCH * n_features] */
};

/* Labels in the order of a model's columns; texts are borrowed from the graph. */
typedef struct {
  guint n;
  PipelineText *texts; /* or */
  gint64 *integers;
} PipelineModelLabels;

#define PIPELINE_MODEL_BATCH 256 /* rows computed at once: their activations stay in the cache */

/* DATA names the first input feature that the table has no column for. */
gboolean pipeline_model_check_table(const PipelineModel *model, const DriftTable *table, GError **error);
/* Names as exporters write them: everything but letters, digits and _ becomes _. */
gboolean pipeline_model_names_match(const gchar *a, const gchar *b);
/* Binds every graph input to features: by name, then by position within numbers and texts. */
GPtrArray *pipeline_model_inputs_bind(const OnnxGraph *graph, const DriftSchema *schema, guint *fixed_batch,
                                      GError **error);
/* Fills the executor's inputs with n_rows rows (and repeats the last one up to `padded`). first_row: for messages. */
gboolean pipeline_model_inputs_fill(PipelineModel *model, const DriftValue *features, guint n_rows, guint padded,
                                    guint64 first_row, GError **error);
/* The node that makes the value, seen through nodes that only reshape or name it; NULL: none. */
const OnnxNode *pipeline_model_origin(const OnnxGraph *graph, const gchar *value);
/* From a ZipMap, else from a label output, else from the last classifier operator of n_classes labels (an ensemble
 * holds classifiers of fewer). FALSE: the model names none. */
gboolean pipeline_model_labels_find(const OnnxGraph *graph, const PipelineExecutor *executor, guint n_classes,
                                    PipelineModelLabels *labels);
void pipeline_model_labels_clear(PipelineModelLabels *labels);
DriftValue pipeline_model_labels_get(const PipelineModelLabels *labels, guint i);
/* After a run of `n_rows` rows: finds the output by its role and the classes of its columns. */
gboolean pipeline_model_output_find(const OnnxGraph *graph, const PipelineExecutor *executor, const DriftSchema *schema,
                                    guint n_rows, PipelineModelOutput *output, GError **error);
/* Copies the first n_rows rows of the output into outputs [n_rows * n_outputs] in class order. */
gboolean pipeline_model_output_read(const PipelineModel *model, guint n_rows, guint64 first_row, float *outputs,
                                    GError **error);

G_END_DECLS
