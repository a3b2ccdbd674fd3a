#include "pipeline/quantize.h"

#include <math.h>

#include "pipeline/activations.h"

void pipeline_quantize_options_init(PipelineQuantizeOptions *options)
{
  *options = (PipelineQuantizeOptions){
      .rewrite = {.activations = ONNX_TYPE_INT8}, .method = "mse", .percentile = 99.99, .max_rows = 1000};
}

/* Histograms of the values whose scale is their own. */
typedef struct {
  gchar **names;                         /* NULL-terminated, borrowed texts */
  PipelineQuantizeHistogram *histograms; /* by name */
} Observation;

static gboolean see_range(guint value, const PipelineTensor *tensor, gpointer data, GError **error)
{
  Observation *observation = data;
  PipelineQuantizeHistogram *h = &observation->histograms[value];
  const float *x = tensor->data;
  for (gsize i = 0; i < tensor->n; i++) {
    if (!isfinite(x[i])) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                  "the value '%s' inside the model is not finite for some of the rows (missing or extreme numbers?): "
                  "8 bits cannot hold it",
                  observation->names[value]);
      return FALSE;
    }
    h->low = MIN(h->low, (double)x[i]);
    h->high = MAX(h->high, (double)x[i]);
  }
  return TRUE;
}

static gboolean see_counts(guint value, const PipelineTensor *tensor, gpointer data, GError **error)
{
  PipelineQuantizeHistogram *h = &((Observation *)data)->histograms[value];
  double factor = h->high > h->low ? PIPELINE_QUANTIZE_BINS / (h->high - h->low) : 0;
  const float *x = tensor->data;
  (void)error;
  for (gsize i = 0; i < tensor->n; i++) {
    guint bin = (guint)(((double)x[i] - h->low) * factor);
    h->counts[MIN(bin, PIPELINE_QUANTIZE_BINS - 1)]++;
  }
  h->n += tensor->n;
  return TRUE;
}

/* The ranges of the plan's values, from rows through the model as it is. */
static OnnxQuantizeRange *observe(GBytes *onnx, const DriftSchema *schema, const DriftTable *table,
                                  const OnnxQuantizePlan *plan, const PipelineQuantizeOptions *options, guint64 *n_rows,
                                  GError **error)
{
  guint n = plan->values->len;
  g_autofree gchar **names = g_new0(gchar *, n + 1);
  g_autofree PipelineQuantizeHistogram *histograms = g_new0(PipelineQuantizeHistogram, n + 1);
  g_autofree OnnxQuantizeRange *ranges = g_new0(OnnxQuantizeRange, n + 1);
  Observation observation = {names, histograms};
  for (guint v = 0; v < n; v++) {
    names[v] = g_array_index(plan->values, OnnxQuantizeValue, v).name;
    histograms[v].low = INFINITY;
    histograms[v].high = -INFINITY;
  }
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, schema, NULL, error);
  if (model == NULL ||
      !pipeline_activations_observe(model, table, options->max_rows, (const gchar *const *)names, see_range,
                                    &observation, n_rows, error) ||
      !pipeline_activations_observe(model, table, options->max_rows, (const gchar *const *)names, see_counts,
                                    &observation, n_rows, error))
    return NULL;
  for (guint v = 0; v < n; v++)
    if (!pipeline_quantize_choose(&histograms[v], options->method, options->percentile, &ranges[v], error)) return NULL;
  return g_steal_pointer(&ranges);
}

static gboolean check_options(const PipelineQuantizeOptions *options, GError **error)
{
  PipelineQuantizeHistogram *unused = g_new0(PipelineQuantizeHistogram, 1);
  OnnxQuantizeRange range;
  gboolean known = pipeline_quantize_choose(unused, options->method, options->percentile, &range, error);
  g_free(unused);
  if (!known) return FALSE;
  if (options->percentile > 50 && options->percentile <= 100 && options->max_rows > 0) return TRUE;
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                      "the percentile must be above 50, at most 100, and some rows must be observed");
  return FALSE;
}

/* A cause from onnx/ with the kind that it is here. */
static gpointer fail(GError *cause, GError **error)
{
  gint code = g_error_matches(cause, ONNX_ERROR, ONNX_ERROR_UNSUPPORTED) ? PIPELINE_ERROR_UNSUPPORTED
              : g_error_matches(cause, ONNX_ERROR, ONNX_ERROR_INVALID)   ? PIPELINE_ERROR_INVALID
                                                                         : PIPELINE_ERROR_MODEL;
  g_set_error_literal(error, PIPELINE_ERROR, code, cause->message);
  g_error_free(cause);
  return NULL;
}

GBytes *pipeline_quantize(GBytes *onnx, const DriftSchema *schema, const DriftTable *table,
                          const PipelineQuantizeOptions *options, PipelineQuantized *result, GError **error)
{
  GError *cause = NULL;
  *result = (PipelineQuantized){0};
  if (!check_options(options, error)) return NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, &cause);
  if (graph == NULL) return fail(cause, error);
  onnx_graph_simplify(graph);
  result->n_folded = onnx_graph_fold_normalisation(graph);
  g_autoptr(OnnxQuantizePlan) plan = onnx_quantize_plan_new(graph, &options->rewrite, &cause);
  g_autoptr(GBytes) folded = plan != NULL ? onnx_graph_to_bytes(graph, &cause) : NULL;
  if (folded == NULL) return fail(cause, error);
  g_autofree OnnxQuantizeRange *ranges = observe(folded, schema, table, plan, options, &result->n_rows, error);
  if (ranges == NULL) return NULL;
  result->n_products = plan->n_products;
  result->n_sums = plan->n_sums;
  result->n_kept = plan->n_kept;
  result->n_values = plan->values->len;
  onnx_graph_quantize(graph, plan, &options->rewrite, ranges);
  g_autoptr(GBytes) bytes = onnx_graph_to_bytes(graph, &cause);
  if (bytes == NULL) return fail(cause, error);
  if (g_bytes_get_size(bytes) < g_bytes_get_size(onnx)) return g_steal_pointer(&bytes);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "8 bits would make the model larger (%zu bytes, now %zu): it has so few weights that scales and nodes "
              "outweigh them",
              g_bytes_get_size(bytes), g_bytes_get_size(onnx));
  return NULL;
}
