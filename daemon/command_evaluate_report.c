/* The report of `kedge evaluate` as JSON. */
#include "daemon/command_evaluate_internal.h"

#include <math.h>

#define MOST_CLASSES 50u /* of a confusion matrix that is shown */

static json_t *real_or_null(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

typedef struct {
  const gchar *name;
  double value;
} Figure;

static void add_figures(json_t *report, const Figure *figures, guint n)
{
  for (guint i = 0; i < n; i++) json_object_set_new(report, figures[i].name, real_or_null(figures[i].value));
}

/* The figures in the order in which they are shown. */
static void add_all(const PipelineEvaluation *evaluation, const PipelineEvaluationDetail *detail, json_t *report)
{
  const Figure figures[] = {{"accuracy", evaluation->accuracy},
                            {"balanced_accuracy", evaluation->balanced_accuracy},
                            {"auc", evaluation->auc},
                            {"average_precision", detail->average_precision},
                            {"precision", detail->precision},
                            {"recall", detail->recall},
                            {"f1", detail->f1},
                            {"macro_f1", detail->macro_f1},
                            {"log_loss", evaluation->log_loss},
                            {"brier", detail->brier},
                            {"ece", detail->ece},
                            {"ece_equal_mass", detail->ece_equal_mass},
                            {"mae", evaluation->mae},
                            {"rmse", evaluation->rmse},
                            {"median_absolute_error", detail->median_absolute_error},
                            {"mape", detail->mape},
                            {"r2", detail->r2},
                            {"interval_level", detail->interval_level},
                            {"interval_coverage", detail->interval_coverage},
                            {"interval_width", detail->interval_width},
                            {"pinball_lower", detail->pinball[0]},
                            {"pinball_value", detail->pinball[1]},
                            {"pinball_upper", detail->pinball[2]},
                            {"robust_accuracy", evaluation->robust_accuracy},
                            {"robust_epsilon", evaluation->robust_epsilon},
                            {"disparate_impact_worst", evaluation->disparate_impact_worst},
                            {"latency_p50_us", evaluation->latency_p50_us},
                            {"latency_p99_us", evaluation->latency_p99_us}};
  json_object_set_new(report, "rows", json_integer((json_int_t)evaluation->n));
  add_figures(report, figures, G_N_ELEMENTS(figures));
}

static json_t *describe_bins(const PipelineReliabilityBin *bins)
{
  json_t *list = json_array();
  for (guint b = 0; b < PIPELINE_RELIABILITY_BINS; b++) {
    json_t *bin = json_pack("{s:I}", "rows", (json_int_t)bins[b].n);
    const Figure figures[] = {
        {"low", bins[b].low}, {"high", bins[b].high}, {"confidence", bins[b].confidence}, {"share", bins[b].share}};
    add_figures(bin, figures, G_N_ELEMENTS(figures));
    json_array_append_new(list, bin);
  }
  return list;
}

static json_t *describe_classes(const PipelineEvaluationDetail *detail, const DriftSchema *schema)
{
  json_t *list = json_array();
  for (guint k = 0; k < detail->n_classes; k++) {
    const PipelineClassFigures *class = &detail->classes[k];
    json_t *item =
        json_pack("{s:s, s:I, s:I, s:I}", "class", (gchar *)g_ptr_array_index(schema->classes, k), "rows",
                  (json_int_t) class->n, "decided", (json_int_t) class->decided, "right", (json_int_t) class->right);
    const Figure figures[] = {{"precision", class->precision},
                              {"recall", class->recall},
                              {"f1", class->f1},
                              {"auc", class->auc},
                              {"average_precision", class->average_precision}};
    add_figures(item, figures, G_N_ELEMENTS(figures));
    json_array_append_new(list, item);
  }
  return list;
}

static json_t *describe_confusion(const PipelineEvaluationDetail *detail)
{
  json_t *matrix = json_array();
  for (guint t = 0; t < detail->n_classes; t++) {
    json_t *row = json_array();
    for (guint d = 0; d < detail->n_classes; d++)
      json_array_append_new(row, json_integer((json_int_t)detail->confusion[(gsize)t * detail->n_classes + d]));
    json_array_append_new(matrix, row);
  }
  return matrix;
}

static void add_classes(const PipelineEvaluationDetail *detail, const DriftSchema *schema, json_t *report)
{
  json_object_set_new(report, "ece_bins", json_integer(PIPELINE_RELIABILITY_BINS));
  json_object_set_new(report, "reliability", describe_bins(detail->reliability));
  json_object_set_new(report, "reliability_equal_mass", describe_bins(detail->reliability_equal_mass));
  json_object_set_new(report, "classes", describe_classes(detail, schema));
  if (detail->n_classes <= MOST_CLASSES) {
    json_object_set_new(report, "confusion", describe_confusion(detail));
    return;
  }
  g_autofree gchar *why = g_strdup_printf("%u classes; the matrix is shown up to %u", detail->n_classes, MOST_CLASSES);
  json_object_set_new(report, "confusion_omitted", json_string(why));
}

json_t *command_evaluate_describe(const PipelineEvaluation *evaluation, const PipelineEvaluationDetail *detail,
                                  const DriftSchema *schema)
{
  json_t *report = json_object();
  add_all(evaluation, detail, report);
  if (evaluation->disparate_impact_group)
    json_object_set_new(report, "disparate_impact_group", json_string(evaluation->disparate_impact_group));
  if (evaluation->robust_undefined)
    json_object_set_new(report, "robust_undefined", json_string(evaluation->robust_undefined));
  if (detail->n_classes > 0) add_classes(detail, schema, report);
  return report;
}

static void print_classes(json_t *report)
{
  static const gchar *const names[] = {"rows", "decided", "precision", "recall", "f1", "auc"};
  json_t *classes = json_object_get(report, "classes"), *class;
  size_t k;
  if (json_array_size(classes) == 0) return;
  CommandTable *table = command_table_new(
      (const gchar *const[]){"class", ">rows", ">decided", ">precision", ">recall", ">F1", ">AUC", NULL});
  json_array_foreach (classes, k, class) {
    gchar *cells[G_N_ELEMENTS(names)];
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
      json_t *value = json_object_get(class, names[i]);
      cells[i] = i < 2 ? command_text_count(value) : command_text_real(value, 4);
    }
    command_table_add(table, json_string_value(json_object_get(class, "class")), cells[0], cells[1], cells[2], cells[3],
                      cells[4], cells[5], NULL);
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) g_free(cells[i]);
  }
  command_table_print(table);
}

void command_evaluate_print(json_t *report)
{
  CommandTable *table = command_table_new((const gchar *const[]){"figure", ">value", NULL});
  const char *name;
  json_t *value;
  json_object_foreach (report, name, value) {
    if (json_is_null(value) || json_is_array(value)) continue;
    g_autofree gchar *text = json_is_real(value)      ? command_text_real(value, 4)
                             : json_is_integer(value) ? command_text_count(value)
                                                      : command_text(value);
    command_table_add(table, name, text, NULL);
  }
  command_table_print(table);
  print_classes(report);
}
