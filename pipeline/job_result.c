#include "pipeline/job_internal.h"

#include <glib/gstdio.h>
#include <math.h>

#include "onnx/graph.h"

json_t *pipeline_job_real(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

json_t *pipeline_job_evaluation(const PipelineEvaluation *evaluation)
{
  json_t *object = json_object();
  json_object_set_new(object, "n", json_integer((json_int_t)evaluation->n));
  json_object_set_new(object, "accuracy", pipeline_job_real(evaluation->accuracy));
  json_object_set_new(object, "balanced_accuracy", pipeline_job_real(evaluation->balanced_accuracy));
  json_object_set_new(object, "auc", pipeline_job_real(evaluation->auc));
  json_object_set_new(object, "log_loss", pipeline_job_real(evaluation->log_loss));
  json_object_set_new(object, "mae", pipeline_job_real(evaluation->mae));
  json_object_set_new(object, "rmse", pipeline_job_real(evaluation->rmse));
  json_object_set_new(object, "robust_accuracy", pipeline_job_real(evaluation->robust_accuracy));
  json_object_set_new(object, "robust_epsilon", pipeline_job_real(evaluation->robust_epsilon));
  json_object_set_new(object, "latency_p50_us", pipeline_job_real(evaluation->latency_p50_us));
  json_object_set_new(object, "latency_p99_us", pipeline_job_real(evaluation->latency_p99_us));
  json_object_set_new(object, "disparate_impact_worst", pipeline_job_real(evaluation->disparate_impact_worst));
  json_object_set_new(object, "disparate_impact_group",
                      evaluation->disparate_impact_group != NULL ? json_string(evaluation->disparate_impact_group)
                                                                 : json_null());
  return object;
}

json_t *pipeline_job_comparison(const PipelineComparison *comparison)
{
  json_t *object = json_object();
  json_object_set_new(object, "n", json_integer((json_int_t)comparison->n));
  json_object_set_new(object, "champion", pipeline_job_real(comparison->champion));
  json_object_set_new(object, "challenger", pipeline_job_real(comparison->challenger));
  json_object_set_new(object, "gain", pipeline_job_real(comparison->gain));
  json_object_set_new(object, "low", pipeline_job_real(comparison->low));
  json_object_set_new(object, "high", pipeline_job_real(comparison->high));
  json_object_set_new(object, "confidence", pipeline_job_real(comparison->confidence));
  return object;
}

gchar *pipeline_job_dump(json_t *value)
{
  char *text = json_dumps(value, JSON_COMPACT);
  json_decref(value);
  gchar *copy = g_strdup(text != NULL ? text : "null");
  free(text);
  return copy;
}

static json_t *describe_value(const OnnxValue *value)
{
  json_t *dimensions = json_array();
  for (guint d = 0; d < value->n_dims; d++) json_array_append_new(dimensions, json_integer(value->dims[d].size));
  return json_pack("{s:s, s:s, s:o}", "name", value->name, "type", onnx_type_get_name(value->type), "dimensions",
                   dimensions);
}

gchar *pipeline_job_signature(GBytes *onnx, GError **error)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, error);
  if (graph == NULL) return NULL;
  json_t *inputs = json_array(), *outputs = json_array();
  for (guint i = 0; i < graph->inputs->len; i++) {
    const OnnxValue *input = g_ptr_array_index(graph->inputs, i);
    if (onnx_graph_is_fed(graph, input)) json_array_append_new(inputs, describe_value(input));
  }
  for (guint i = 0; i < graph->outputs->len; i++)
    json_array_append_new(outputs, describe_value(g_ptr_array_index(graph->outputs, i)));
  return pipeline_job_dump(json_pack("{s:o, s:o}", "inputs", inputs, "outputs", outputs));
}

void pipeline_job_log(PipelineJobContext *context, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *line = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  registry_job_log_append(context->store, context->job->id, context->job->token, line, NULL);
}

void pipeline_job_progress(PipelineJobContext *context, json_t *progress)
{
  pipeline_heartbeat_take_progress(context->heartbeat, pipeline_job_dump(progress));
}

gboolean pipeline_job_check_cancel(PipelineJobContext *context, GError **error)
{
  if (context->cancel == NULL || !g_cancellable_is_cancelled(context->cancel)) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED, "job %s was asked to stop", context->job->id);
  return FALSE;
}

/* One file a job; ids may hold any text. */
gchar *pipeline_job_state_path(const PipelineJobContext *context, const gchar *ending)
{
  if (context->state_directory == NULL || g_mkdir_with_parents(context->state_directory, 0750) != 0) return NULL;
  g_autofree gchar *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, context->job->id, -1);
  g_autofree gchar *name = g_strndup(context->job->id, 80);
  for (gchar *c = name; *c != '\0'; c++)
    if (!g_ascii_isalnum(*c) && *c != '-' && *c != '_') *c = '-';
  return g_strdup_printf("%s/%s-%.16s.%s", context->state_directory, name, digest, ending);
}
