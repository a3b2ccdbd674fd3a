#include "pipeline/trainer_front.h"

#include "pipeline/model_spec.h"
#include "pipeline/network_build.h"
#include "pipeline/network_features.h"
#include "pipeline/trainer_graph.h"

#define INPUT "features" /* of the layers alone */

/* A column must not be named as a weight of the layers, behind which it would be hidden. */
static gboolean check_names(const DriftSchema *schema, GError **error)
{
  for (guint i = 0; i < drift_schema_n_features(schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    if (!feature->input || !g_str_has_prefix(feature->name, "layer_")) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "a feature cannot be named \"%s\" with this architecture: weights are named so; rename the column",
                feature->name);
    return FALSE;
  }
  return TRUE;
}

PipelineTrainerFront *pipeline_trainer_front_new(const DriftSchema *schema, GError **error)
{
  if (!check_names(schema, error)) return NULL;
  PipelineTrainerFront *front = g_new0(PipelineTrainerFront, 1);
  front->schema = schema;
  front->graph = onnx_graph_new("kedge");
  onnx_graph_set_opset(front->graph, "", 17);
  onnx_graph_set_opset(front->graph, "ai.onnx.ml", 3);
  return front;
}

void pipeline_trainer_front_free(PipelineTrainerFront *front)
{
  if (front == NULL) return;
  onnx_graph_free(front->graph);
  pipeline_graph_prefix_clear(&front->prefix);
  pipeline_prepared_free(front->prepared);
  g_free(front);
}

gboolean pipeline_trainer_front_fit(PipelineTrainerFront *front, const DriftTable *table,
                                    const PipelineTrainerRows *rows, const PipelinePlan *plan, guint64 seed,
                                    GError **error)
{
  if (plan == NULL)
    return pipeline_graph_prefix_add(front->graph, table, front->schema, rows->rows, rows->n_train, TRUE,
                                     &front->prefix, error);
  const PipelinePrepareData data = pipeline_trainer_rows_prepare(rows, table, front->schema, seed);
  front->prepared = pipeline_plan_fit_copy(plan, &data, PIPELINE_PLAN_STANDARD, error);
  return front->prepared != NULL && pipeline_prepared_add_prefix(front->prepared, front->graph, &front->prefix, error);
}

PipelineGraphRows *pipeline_trainer_front_read(PipelineTrainerFront *front, const DriftTable *table,
                                               const PipelineTrainerRows *rows, GError **error)
{
  guint width = front->prefix.constant->len;
  g_autoptr(PipelineFeatureReader) reader =
      pipeline_feature_reader_new_at(front->graph, front->prefix.features, width, FALSE, front->schema, error);
  if (reader == NULL) return NULL;
  pipeline_feature_reader_set_names(reader, front->prefix.columns);
  g_autoptr(PipelineSpill) matrix = pipeline_feature_reader_spill(reader, table, error);
  if (matrix == NULL) return NULL;
  float *x = pipeline_spill_get_data(matrix);
  if (front->prepared != NULL) pipeline_prepared_overwrite(front->prepared, rows->rows, x);
  return pipeline_trainer_graph_rows(pipeline_trainer_graph_schema(front->schema, width), x, width, NULL, rows,
                                     rows->n_train + rows->n_validation + rows->n_test, error);
}

/* --- one graph ---------------------------------------------------------------------------------------------------- */

static void move_all(GPtrArray *to, GPtrArray *from)
{
  for (guint i = 0; i < from->len; i++) g_ptr_array_add(to, g_ptr_array_index(from, i));
  g_ptr_array_set_free_func(from, NULL);
  g_ptr_array_set_size(from, 0);
}

/* Takes what `layers` has. */
static GBytes *join(PipelineTrainerFront *front, OnnxGraph *layers, GError **error)
{
  OnnxGraph *whole = front->graph;
  g_autofree gchar *spec = pipeline_model_spec_format(front->schema);
  if (!g_str_equal(front->prefix.features, INPUT) &&
      !onnx_graph_rename_value(layers, INPUT, front->prefix.features, error))
    return NULL;
  move_all(whole->initialisers, layers->initialisers);
  move_all(whole->nodes, layers->nodes);
  move_all(whole->outputs, layers->outputs);
  onnx_graph_set_opset(whole, "", MAX(onnx_graph_get_opset(whole, ""), onnx_graph_get_opset(layers, "")));
  for (guint i = 0; i < layers->metadata->len; i++) {
    const OnnxMetadata *entry = g_ptr_array_index(layers->metadata, i);
    onnx_graph_set_metadata(whole, entry->key, entry->value);
  }
  onnx_graph_set_metadata(whole, PIPELINE_SCHEMA_KEY, spec);
  GBytes *onnx = onnx_graph_to_bytes(whole, error);
  g_clear_pointer(&front->graph, onnx_graph_free);
  return onnx;
}

GBytes *pipeline_trainer_front_join(PipelineTrainerFront *front, GBytes *layers, GError **error)
{
  g_autoptr(GError) cause = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(layers, &cause);
  GBytes *onnx = graph != NULL ? join(front, graph, &cause) : NULL;
  if (onnx == NULL) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
  return onnx;
}
