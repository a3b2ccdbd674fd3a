#include "pipeline/interval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "pipeline/model_arrays.h"
#include "pipeline/trainer_rows.h"

#define MARGIN "kedge.interval_margin"

void pipeline_interval_quantiles(double level, double quantiles[3])
{
  quantiles[0] = (1 - level) / 2;
  quantiles[1] = 0.5;
  quantiles[2] = (1 + level) / 2;
}

/* --- the head ----------------------------------------------------------------------------------------------------- */

static void take_number(OnnxGraph *graph, const gchar *name, double value)
{
  float narrow = (float)value;
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, 1, (gint64[]){1}, &narrow));
}

static void set_record(OnnxGraph *graph, double level, double margin, guint64 n)
{
  json_t *record = json_pack("{s:f, s:f, s:I}", "level", level, "margin", margin, "rows", (json_int_t)n);
  char *text = json_dumps(record, JSON_COMPACT | JSON_REAL_PRECISION(17));
  onnx_graph_set_metadata(graph, PIPELINE_INTERVAL_KEY, text);
  take_number(graph, MARGIN, margin);
  free(text);
  json_decref(record);
}

static void add_split(OnnxGraph *graph, const gchar *value, const gchar *parts)
{
  g_autofree gchar *inputs = g_strdup_printf("%s,kedge.thirds", value);
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Split", inputs, parts), "axis", 1);
}

void pipeline_interval_moments(const float *targets, const guint64 *rows, guint64 n_rows, double *mean, double *sd)
{
  double squares = 0;
  *mean = 0;
  for (guint64 i = 0; i < n_rows; i++) *mean += (double)targets[rows[i]] / (double)n_rows;
  for (guint64 i = 0; i < n_rows; i++) {
    double difference = (double)targets[rows[i]] - *mean;
    squares += difference * difference / (double)n_rows;
  }
  *sd = squares > 0 ? sqrt(squares) : 1;
}

/* "kedge.logits" as kedge.below, kedge.middle, kedge.above. */
static void add_thirds(OnnxGraph *graph)
{
  const gint64 thirds[] = {1, 1, 1};
  onnx_graph_take_initialiser(graph, onnx_tensor_new("kedge.thirds", ONNX_TYPE_INT64, 1, (gint64[]){3}, thirds));
  add_split(graph, "kedge.logits", "kedge.below,kedge.middle,kedge.above");
}

/* What follows kedge.low, kedge.middle, kedge.high. */
static void add_outputs(OnnxGraph *graph, const float *targets, const guint64 *rows, guint64 n_rows, double level)
{
  double mean, sd;
  pipeline_interval_moments(targets, rows, n_rows, &mean, &sd);
  take_number(graph, "kedge.value_scale", sd);
  take_number(graph, "kedge.value_shift", mean);
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Concat", "kedge.low,kedge.middle,kedge.high", "kedge.ordered"),
                    "axis", 1);
  onnx_graph_add_node(graph, "", "Mul", "kedge.ordered,kedge.value_scale", "kedge.value_scaled");
  onnx_graph_add_node(graph, "", "Add", "kedge.value_scaled,kedge.value_shift", PIPELINE_INTERVAL_QUANTILES);
  add_split(graph, PIPELINE_INTERVAL_QUANTILES, "kedge.quantile_low,value,kedge.quantile_high");
  onnx_graph_add_node(graph, "", "Sub", "kedge.quantile_low," MARGIN, "kedge.lower");
  onnx_graph_add_node(graph, "", "Add", "kedge.quantile_high," MARGIN, "kedge.upper");
  onnx_graph_add_node(graph, "", "Min", "kedge.lower,value", "lower");
  onnx_graph_add_node(graph, "", "Max", "kedge.upper,value", "upper");
  onnx_graph_add_output(graph, "value", ONNX_TYPE_FLOAT, "N,1");
  onnx_graph_add_output(graph, "lower", ONNX_TYPE_FLOAT, "N,1");
  onnx_graph_add_output(graph, "upper", ONNX_TYPE_FLOAT, "N,1");
  set_record(graph, level, 0, 0);
}

void pipeline_interval_add_head(OnnxGraph *graph, const float *targets, const guint64 *rows, guint64 n_rows,
                                double level)
{
  add_thirds(graph);
  onnx_graph_add_node(graph, "", "Softplus", "kedge.below", "kedge.step_down");
  onnx_graph_add_node(graph, "", "Softplus", "kedge.above", "kedge.step_up");
  onnx_graph_add_node(graph, "", "Sub", "kedge.middle,kedge.step_down", "kedge.low");
  onnx_graph_add_node(graph, "", "Add", "kedge.middle,kedge.step_up", "kedge.high");
  add_outputs(graph, targets, rows, n_rows, level);
}

void pipeline_interval_add_plain_head(OnnxGraph *graph, const float *targets, const guint64 *rows, guint64 n_rows,
                                      double level)
{
  add_thirds(graph);
  onnx_graph_add_node(graph, "", "Min", "kedge.below,kedge.middle", "kedge.low");
  onnx_graph_add_node(graph, "", "Max", "kedge.above,kedge.middle", "kedge.high");
  add_outputs(graph, targets, rows, n_rows, level);
}

double pipeline_interval_get_level(const OnnxGraph *graph)
{
  const gchar *text = onnx_graph_get_metadata(graph, PIPELINE_INTERVAL_KEY);
  json_t *record = text != NULL ? json_loads(text, 0, NULL) : NULL;
  json_t *level = json_object_get(record, "level");
  double value = json_is_real(level) ? json_real_value(level) : NAN;
  json_decref(record);
  return value > 0 && value < 1 && onnx_graph_find_initialiser(graph, MARGIN) != NULL ? value : NAN;
}

/* --- the margin --------------------------------------------------------------------------------------------------- */

gboolean pipeline_interval_check(double level, const DriftSchema *schema, GError **error)
{
  if (!(level > 0 && level < 1))
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "the level of an interval must lie between 0 and 1, not %g", level);
  else if (schema->task != DRIFT_TASK_REGRESSION)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "an interval needs a label that is a number; \"%s\" has %u classes (for probabilities: --calibrate)",
                schema->label, schema->classes->len);
  else
    return TRUE;
  return FALSE;
}

static gint compare_numbers(gconstpointer a, gconstpointer b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* How far each label lies outside of the quantiles (negative: within). */
static double *score_rows(GBytes *onnx, const DriftSchema *schema, const DriftTable *table, guint64 *n, GError **error)
{
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, schema, NULL, error);
  g_autoptr(PipelineTrainerRows) rows = model != NULL ? pipeline_trainer_rows_new(table, schema, error) : NULL;
  if (rows == NULL) return NULL;
  if (isnan(pipeline_model_get_interval(model))) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                        "the model says that it has an interval, but not every output of one: lower, value, upper "
                        "[N, 1] of float32");
    return NULL;
  }
  g_autoptr(DriftTable) usable = drift_table_select(table, rows->rows, rows->n);
  g_autoptr(GPtrArray) outputs = pipeline_model_run_table(model, usable, error);
  if (outputs == NULL) return NULL;
  const PipelineModelArray *lower = pipeline_model_array_find(outputs, "lower"),
                           *upper = pipeline_model_array_find(outputs, "upper");
  double *scores = g_new(double, rows->n + 1);
  for (guint64 i = 0; i < rows->n; i++) {
    double y = (double)rows->targets[rows->rows[i]];
    scores[i] = fmax((double)g_array_index(lower->elements, float, i) - y,
                     y - (double)g_array_index(upper->elements, float, i));
  }
  *n = rows->n;
  return scores;
}

/* The bytes with margin 0. */
static OnnxGraph *open_graph(GBytes *onnx, double *level, GBytes **plain, GError **error)
{
  g_autoptr(GError) cause = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, &cause);
  *level = graph != NULL ? pipeline_interval_get_level(graph) : NAN;
  if (!isnan(*level)) {
    set_record(graph, *level, 0, 0);
    *plain = onnx_graph_to_bytes(graph, &cause);
    if (*plain != NULL) return g_steal_pointer(&graph);
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "the model has no interval: %s",
              cause != NULL ? cause->message : "train it with --interval");
  return NULL;
}

GBytes *pipeline_interval_conformalise(GBytes *onnx, const DriftSchema *schema, const DriftTable *table,
                                       PipelineInterval *interval, GError **error)
{
  double level;
  guint64 n = 0, within = 0;
  g_autoptr(GError) cause = NULL;
  g_autoptr(GBytes) plain = NULL;
  g_autoptr(OnnxGraph) graph = open_graph(onnx, &level, &plain, error);
  g_autofree double *scores = graph != NULL ? score_rows(plain, schema, table, &n, error) : NULL;
  if (scores == NULL) return NULL;
  /* Without the rounding of a level such as .9, which is a little above nine tenths. */
  guint64 rank = (guint64)ceil(((double)n + 1) * level * (1 - 1e-12));
  if (rank > n) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "an interval of level %g needs at least %.0f validation rows for its guarantee; there are "
                "%" G_GUINT64_FORMAT,
                level, ceil(level / (1 - level) * (1 - 1e-12)), n);
    return NULL;
  }
  for (guint64 i = 0; i < n; i++) within += scores[i] <= 0;
  qsort(scores, n, sizeof *scores, compare_numbers);
  *interval = (PipelineInterval){
      .level = level, .margin = scores[rank - 1], .coverage_before = (double)within / (double)n, .n = n};
  set_record(graph, level, interval->margin, n);
  GBytes *bytes = onnx_graph_to_bytes(graph, &cause);
  if (bytes == NULL) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
  return bytes;
}
