#include "pipeline/compress.h"

#include <math.h>

#include "onnx/graph.h"
#include "pipeline/evaluate.h"
#include "pipeline/trainer_rows.h"

gboolean pipeline_compress_count(GBytes *onnx, guint64 *n_weights, guint64 *n_nonzero, GError **error)
{
  g_autoptr(GError) cause = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, &cause);
  *n_weights = *n_nonzero = 0;
  if (graph == NULL) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
    return FALSE;
  }
  for (guint i = 0; i < graph->initialisers->len; i++) {
    const OnnxTensor *tensor = g_ptr_array_index(graph->initialisers, i);
    if (tensor->n_dims < 2 || tensor->type == ONNX_TYPE_STRING) continue;
    g_autofree float *values = onnx_tensor_to_floats(tensor, NULL);
    gsize n = values != NULL ? onnx_tensor_get_n_elements(tensor) : 0;
    *n_weights += n;
    for (gsize k = 0; k < n; k++) *n_nonzero += values[k] != 0;
  }
  return TRUE;
}

/* Size, accuracy and speed of one model; outputs [rows, outputs] of the table, new. */
static float *measure(PipelineModel *model, const DriftTable *table, gboolean labelled, PipelineCompressSide *side,
                      guint64 *n_labelled, GError **error)
{
  GBytes *onnx = pipeline_model_get_onnx(model);
  PipelineEvaluation evaluation = {.accuracy = NAN, .rmse = NAN, .latency_p50_us = NAN};
  g_autofree float *outputs = g_new(float, table->n_rows *pipeline_model_get_n_outputs(model) + 1);
  *side = (PipelineCompressSide){.bytes = g_bytes_get_size(onnx)};
  gboolean done = pipeline_compress_count(onnx, &side->n_weights, &side->n_nonzero, error) &&
                  pipeline_model_predict_table(model, table, outputs, error) &&
                  (!labelled || pipeline_evaluate(model, table, &evaluation, error)) &&
                  pipeline_evaluate_latency(model, table, &evaluation, error);
  *n_labelled = labelled ? evaluation.n : 0;
  side->accuracy = evaluation.accuracy;
  side->rmse = evaluation.rmse;
  side->latency_p50_us = evaluation.latency_p50_us;
  pipeline_evaluation_clear(&evaluation);
  return done ? g_steal_pointer(&outputs) : NULL;
}

static void compare_classes(PipelineModel *before, PipelineModel *after, const float *p, const float *q,
                            PipelineCompressComparison *comparison)
{
  guint width = pipeline_model_get_n_outputs(before);
  guint64 same = 0;
  double distance = 0;
  for (guint64 i = 0; i < comparison->n_rows; i++, p += width, q += width) {
    same += pipeline_model_decide(before, p) == pipeline_model_decide(after, q);
    for (guint k = 0; k < width; k++) distance += fabs((double)p[k] - (double)q[k]) / 2;
  }
  comparison->agreement = (double)same / (double)comparison->n_rows;
  comparison->difference = distance / (double)comparison->n_rows;
}

static void compare_values(const float *p, const float *q, PipelineCompressComparison *comparison)
{
  double n = (double)comparison->n_rows, mean = 0, variance = 0, squares = 0;
  for (guint64 i = 0; i < comparison->n_rows; i++) mean += (double)p[i] / n;
  for (guint64 i = 0; i < comparison->n_rows; i++) {
    double spread = (double)p[i] - mean, difference = (double)p[i] - (double)q[i];
    variance += spread * spread / n;
    squares += difference * difference / n;
  }
  comparison->agreement = NAN;
  comparison->difference = variance > 0 ? sqrt(squares / variance) : NAN;
}

/* Some row of the table has a label that the schema knows. */
static gboolean has_labels(const DriftTable *table, const DriftSchema *schema)
{
  g_autoptr(PipelineTrainerRows) rows = pipeline_trainer_rows_new(table, schema, NULL);
  return rows != NULL;
}

gboolean pipeline_compress_compare(GBytes *before, GBytes *after, const DriftSchema *schema, const DriftTable *table,
                                   PipelineCompressComparison *comparison, GError **error)
{
  *comparison = (PipelineCompressComparison){.n_rows = table->n_rows};
  gboolean labelled = has_labels(table, schema);
  g_autoptr(PipelineModel) first = pipeline_model_load(before, schema, NULL, error);
  g_autoptr(PipelineModel) second = first != NULL ? pipeline_model_load(after, schema, NULL, error) : NULL;
  g_autofree float *p =
      second != NULL ? measure(first, table, labelled, &comparison->before, &comparison->n_labelled, error) : NULL;
  g_autofree float *q =
      p != NULL ? measure(second, table, labelled, &comparison->after, &comparison->n_labelled, error) : NULL;
  if (q == NULL) return FALSE;
  if (schema->task == DRIFT_TASK_REGRESSION)
    compare_values(p, q, comparison);
  else
    compare_classes(first, second, p, q, comparison);
  return TRUE;
}
