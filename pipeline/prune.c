#include "pipeline/prune.h"

#include <math.h>

#include "pipeline/prune_internal.h"

void pipeline_prune_options_init(PipelinePruneOptions *options)
{
  *options = (PipelinePruneOptions){
      .share = 0.5, .epochs = 4, .batch_size = 64, .learning_rate = 1e-3, .max_rows = 1000, .seed = 1};
}

static void layer_free(gpointer data)
{
  PipelinePrunedLayer *layer = data;
  g_free(layer->name);
  g_free(layer);
}

void pipeline_pruned_clear(PipelinePruned *pruned)
{
  g_clear_pointer(&pruned->layers, g_ptr_array_unref);
  g_clear_pointer(&pruned->warning, g_free);
}

void pipeline_pruned_add(PipelinePruned *result, const gchar *name, guint64 n, guint64 n_left)
{
  PipelinePrunedLayer *layer = g_new(PipelinePrunedLayer, 1);
  *layer = (PipelinePrunedLayer){g_strdup(name), n, n_left};
  g_ptr_array_add(result->layers, layer);
  result->n += n;
  result->n_left += n_left;
}

GBytes *pipeline_prune_to_bytes(const OnnxGraph *graph, GError **error)
{
  g_autoptr(GError) cause = NULL;
  GBytes *bytes = onnx_graph_to_bytes(graph, &cause);
  if (bytes == NULL) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
  return bytes;
}

void pipeline_prune_train_options(const PipelinePruneOptions *options, PipelineGraphTrainOptions *train)
{
  pipeline_graph_train_options_init(train);
  train->backend = options->backend;
  train->fit.epochs = options->epochs;
  train->fit.batch_size = options->batch_size;
  train->fit.learning_rate = options->learning_rate;
  train->fit.seed = options->seed;
}

gboolean pipeline_prune_train(GBytes **onnx, const PipelineGraphRows *rows, const PipelineGraphTrainOptions *options,
                              PipelineTrainProgressFunc progress, gpointer user_data, PipelinePruned *result,
                              GError **error)
{
  PipelineTrainResult trained = {0};
  PipelineGraphTrainOptions own = *options;
  own.from = *onnx;
  if (!pipeline_graph_train(rows, &own, progress, user_data, &trained, error)) return FALSE;
  g_bytes_unref(*onnx);
  *onnx = g_bytes_ref(trained.onnx);
  result->rows_trained = trained.n_train;
  result->rows_validated = trained.n_validation;
  if (trained.warning != NULL) pipeline_calibration_join_warning(&result->warning, trained.warning);
  pipeline_train_result_clear(&trained);
  return TRUE;
}

static gboolean check_options(const PipelinePruneOptions *o, GError **error)
{
  const gchar *problem = !(o->share > 0 && o->share < 1)   ? "the share that is pruned must lie between 0 and 1"
                         : o->activation && !o->structured ? "activations rank units: ask for structured pruning"
                         : o->max_rows == 0                ? "activations need some rows"
                                                           : NULL;
  if (problem != NULL) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, problem);
  return problem == NULL;
}

GBytes *pipeline_prune(GBytes *onnx, const DriftSchema *schema, const DriftTable *table,
                       const PipelinePruneOptions *options, PipelineTrainProgressFunc progress, gpointer user_data,
                       PipelinePruned *result, GError **error)
{
  *result = (PipelinePruned){.layers = g_ptr_array_new_with_free_func(layer_free)};
  g_autoptr(PipelineGraphRows) rows = NULL;
  if (!check_options(options, error)) return NULL;
  if (options->epochs > 0 && (rows = pipeline_graph_rows_from_table(table, schema, error)) == NULL) {
    g_prefix_error(error, "fine-tuning (0 epochs do without it): ");
    return NULL;
  }
  return options->structured
             ? pipeline_prune_units(onnx, schema, table, rows, options, progress, user_data, result, error)
             : pipeline_prune_weights(onnx, rows, options, progress, user_data, result, error);
}
