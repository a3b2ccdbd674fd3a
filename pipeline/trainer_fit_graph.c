#include "pipeline/trainer_fit_graph.h"

#include "pipeline/graph_trainer.h"
#include "pipeline/network_onnx.h"
#include "pipeline/trainer_graph.h"

gboolean pipeline_fit_needs_graph(const PipelineTrainOptions *options)
{
  return options->communicator != NULL || g_strcmp0(options->backend, pipeline_gradient_backend_cuda.name) == 0;
}

gboolean pipeline_fit_check_graph(const PipelineTrainOptions *options, GError **error)
{
  if (options->adversarial_epsilon > 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "%s the graph, which does not take adversarial training of a dense network (a graph has its own): "
                "leave it out, or %s",
                options->communicator != NULL ? "several processes train on" : "the backend 'cuda' trains on",
                options->communicator != NULL ? "train by one process" : "take the backend onednn or reference");
    return FALSE;
  }
  return options->backend == NULL || pipeline_gradient_backend_find(options->backend, NULL, error) != NULL;
}

struct _PipelineFitGraph {
  PipelineGraphRows *rows; /* training ones in front of those that validate */
  guint64 n_train, n_validation;
  GBytes *layers; /* as a graph */
};

PipelineFitGraph *pipeline_fit_graph_new(const PipelineNetwork *network, const DriftSchema *schema,
                                         const PipelineTrainerRows *rows, const float *x, const float *weights,
                                         GError **error)
{
  g_autoptr(PipelineFitGraph) self = g_new0(PipelineFitGraph, 1);
  guint width = network->n_inputs;
  self->n_train = rows->n_train;
  self->n_validation = rows->n_validation;
  self->layers = pipeline_network_to_onnx(network, error);
  if (self->layers == NULL) return NULL;
  self->rows = pipeline_trainer_graph_rows(pipeline_trainer_graph_schema(schema, width), x, width, NULL, rows,
                                           rows->n_train + rows->n_validation, error);
  if (self->rows == NULL) return NULL;
  pipeline_trainer_graph_take_weights(self->rows, weights);
  return g_steal_pointer(&self);
}

void pipeline_fit_graph_free(PipelineFitGraph *self)
{
  if (self == NULL) return;
  pipeline_graph_rows_free(self->rows);
  g_clear_pointer(&self->layers, g_bytes_unref);
  g_free(self);
}

gboolean pipeline_fit_graph_run(const PipelineFitGraph *self, const PipelineTrainOptions *options,
                                PipelineNetwork *network, PipelineTrainProgressFunc progress, gpointer user_data,
                                PipelineTrainResult *made, GError **error)
{
  PipelineGraphTrainOptions graph;
  pipeline_trainer_graph_options(options, self->n_train, &graph);
  graph.from = self->layers;
  graph.validation_fraction = (double)self->n_validation / (double)self->rows->n_rows;
  if (!pipeline_graph_train(self->rows, &graph, progress, user_data, made, error)) return FALSE;
  gboolean taken = pipeline_network_take_onnx(network, made->onnx, error);
  g_clear_pointer(&made->onnx, g_bytes_unref);
  if (!taken) pipeline_train_result_clear(made);
  return taken;
}
