/* What of an ONNX graph is trained: its weights found by what they do, not by their names; and where a loss begins. */
#pragma once

#include "onnx/graph.h"
#include "pipeline/error.h"
#include "pipeline/trainer_random.h"

G_BEGIN_DECLS

typedef struct {
  const gchar *name;     /* of the initialiser; borrowed from the graph */
  const gchar *role;     /* "weight", "bias", "scale", "embedding" */
  gsize offset, n;       /* elements in the flat array of all parameters */
  gboolean decays;       /* regularised: weights, not biases and scales */
  gsize fan_in, fan_out; /* connections of one unit (weights) */
  guint node;            /* number of the node that takes it */
  double rate;           /* factor of the learning rate; 1 */
} PipelineGraphParameter;

/* A running statistic that training changes without a gradient. */
typedef struct {
  const gchar *name; /* borrowed from the graph */
  gsize offset, n;
} PipelineGraphStatistic;

typedef struct {
  GArray *parameters;               /* of PipelineGraphParameter, in node order */
  GArray *statistics;               /* of PipelineGraphStatistic */
  gsize n_parameters, n_statistics; /* elements */
} PipelineGraphPlan;

/* Simplify the graph before. Trained: float initialisers that are weights, biases, scales or embeddings of Gemm, MatMul
 * (and the Add behind it), Conv, BatchNormalization, LayerNormalization, LSTM, GRU, Gather, also through Transpose,
 * Reshape and Identity; not what matches a pattern of `freeze` ("*" and "?"; of the initialiser's or the node's name;
 * NULL: none). MODEL when nothing is left, INVALID when a pattern matches nothing. */
PipelineGraphPlan *pipeline_graph_plan_new(const OnnxGraph *graph, const gchar *const *freeze, GError **error);
void pipeline_graph_plan_free(PipelineGraphPlan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineGraphPlan, pipeline_graph_plan_free)
/* New NULL-terminated array of borrowed names of all parameters; free with g_free. */
const gchar **pipeline_graph_plan_list_names(const PipelineGraphPlan *plan);
/* Copies values [n_parameters] and statistics [n_statistics] into the graph's initialisers. */
void pipeline_graph_plan_store(const PipelineGraphPlan *plan, OnnxGraph *graph, const float *values,
                               const float *statistics);

/* BatchNormalization and Dropout nodes of a model that was exported in training mode predict from now on. */
void pipeline_graph_set_prediction(OnnxGraph *graph);

/* Where the loss of graph output `output` begins: in front of a last Softmax, LogSoftmax or Sigmoid (also of 1 − p and
 * p side by side). *loss is the loss
 * that goes with it: "cross-entropy", "binary", or NULL: the output is taken as it is. Borrowed. */
const gchar *pipeline_graph_find_head(const OnnxGraph *graph, const gchar *output, const gchar **loss);
/* Replaces the last Gemm (or MatMul and Add) in front of `output` by a fresh one with n_outputs columns (He uniform
 * weights, bias 0), for other classes than the model was made for. MODEL when there is none. */
gboolean pipeline_graph_replace_head(OnnxGraph *graph, const gchar *output, guint n_outputs, PipelineRandom *random,
                                     GError **error);

G_END_DECLS
