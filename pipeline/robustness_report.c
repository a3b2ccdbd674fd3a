#include "pipeline/robustness_report.h"

#include <math.h>
#include <string.h>

#include "drift/statistics.h"
#include "pipeline/evaluate_metrics.h"

static void robustness_free(gpointer data)
{
  pipeline_robustness_clear(data);
  g_free(data);
}

void pipeline_robustness_report_init(PipelineRobustnessReport *report, const PipelineRobustnessOptions *options)
{
  *report = (PipelineRobustnessReport){.unit = options->absolute ? "absolute" : "sd",
                                       .norm = options->norm,
                                       .epsilons = g_array_new(FALSE, FALSE, sizeof(double)),
                                       .types = g_ptr_array_new(),
                                       .measured = g_ptr_array_new_with_free_func(robustness_free)};
}

void pipeline_robustness_report_clear(PipelineRobustnessReport *report)
{
  g_clear_pointer(&report->epsilons, g_array_unref);
  g_clear_pointer(&report->types, g_ptr_array_unref);
  g_clear_pointer(&report->measured, g_ptr_array_unref);
}

gboolean pipeline_robustness_report_add_types(PipelineRobustnessReport *report, const gchar *names, GError **error)
{
  g_auto(GStrv) parts = g_strsplit(names, ",", -1);
  for (guint i = 0; parts[i] != NULL; i++) {
    if (*g_strstrip(parts[i]) == '\0') continue;
    const PipelineAttackType *type = pipeline_attack_find(parts[i], error);
    if (type == NULL) return FALSE;
    g_ptr_array_add(report->types, (gpointer)type);
  }
  if (report->types->len > 0) return TRUE;
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "name at least one attack, e.g. pgd");
  return FALSE;
}

gboolean pipeline_robustness_report_measure(PipelineRobustnessReport *report, PipelineModel *model,
                                            const DriftTable *table, const PipelineRobustnessOptions *options,
                                            PipelineRobustnessWatch watch, gpointer user_data, GError **error)
{
  guint total = report->epsilons->len * report->types->len;
  for (guint i = 0; i < total; i++) {
    PipelineRobustnessOptions now = *options;
    PipelineRobustness *robustness = g_new0(PipelineRobustness, 1);
    now.epsilon = g_array_index(report->epsilons, double, i / report->types->len);
    now.attack.type = g_ptr_array_index(report->types, i % report->types->len);
    g_ptr_array_add(report->measured, robustness);
    if (watch != NULL && !watch(now.attack.type->name, now.epsilon, (double)i / total, user_data)) {
      g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED, "the attack was stopped");
      return FALSE;
    }
    if (!pipeline_robustness_measure(model, table, &now, robustness, error)) return FALSE;
  }
  return TRUE;
}

void pipeline_robustness_report_set_rate(json_t *object, const gchar *name, guint64 count, guint64 n)
{
  double low, high;
  g_autofree gchar *low_name = g_strconcat(name, "_low", NULL), *high_name = g_strconcat(name, "_high", NULL);
  drift_wilson_interval((double)count, (double)n, 0.95, &low, &high);
  json_object_set_new(object, name, n > 0 ? json_real((double)count / (double)n) : json_null());
  json_object_set_new(object, low_name, n > 0 ? json_real(low) : json_null());
  json_object_set_new(object, high_name, n > 0 ? json_real(high) : json_null());
}

static json_t *real_or_null(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

static json_t *describe_one(const PipelineRobustness *robustness, const gchar *attack, double epsilon)
{
  guint64 fooled = robustness->n_right - robustness->n_robust, queries = 0, at = 0;
  g_autofree double *distances = g_new(double, fooled + 1);
  for (guint64 i = 0; i < robustness->n; i++) {
    queries += robustness->queries[i];
    if (robustness->right[i] && !robustness->robust[i]) distances[at++] = robustness->distances[i];
  }
  json_t *object = json_pack("{s:s, s:f, s:I, s:I, s:I}", "attack", attack, "epsilon", epsilon, "rows_attacked",
                             (json_int_t)robustness->n_right, "rows_fooled", (json_int_t)fooled, "rows_robust",
                             (json_int_t)robustness->n_robust);
  pipeline_robustness_report_set_rate(object, "robust_accuracy", robustness->n_robust, robustness->n);
  json_object_set_new(object, "median_distance", real_or_null(pipeline_metric_quantile(distances, (guint)fooled, 0.5)));
  json_object_set_new(object, "queries_per_row", real_or_null((double)queries / (double)robustness->n_right));
  if (robustness->categories->len > 0) {
    guint64 moved = 0;
    for (guint64 i = 0; i < robustness->n; i++)
      if (robustness->right[i] && !robustness->robust[i]) moved += pipeline_robustness_count_moved(robustness, i);
    json_object_set_new(object, "categories_moved", real_or_null((double)moved / (double)fooled));
  }
  json_object_set_new(object, "seconds", json_real(robustness->seconds));
  json_object_set_new(object, "cpu_seconds", json_real(robustness->cpu_seconds));
  json_object_set_new(object, "rows_per_second",
                      real_or_null((double)robustness->n_right / MAX(robustness->seconds, 1e-9)));
  return object;
}

static json_t *describe_worst(const PipelineRobustnessReport *report, guint e)
{
  guint n = report->types->len;
  const PipelineRobustness *const *measured = (const PipelineRobustness *const *)report->measured->pdata + (gsize)e * n;
  guint64 count = pipeline_robustness_count_worst(measured, n);
  json_t *object =
      json_pack("{s:f, s:I}", "epsilon", g_array_index(report->epsilons, double, e), "rows_robust", (json_int_t)count);
  pipeline_robustness_report_set_rate(object, "robust_accuracy", count, measured[0]->n);
  return object;
}

json_t *pipeline_robustness_report_describe(const PipelineRobustnessReport *report)
{
  const PipelineRobustness *first = g_ptr_array_index(report->measured, 0);
  json_t *object = json_pack("{s:I, s:I, s:s, s:s, s:I}", "rows", (json_int_t)first->n, "rows_skipped",
                             (json_int_t)first->n_skipped, "norm", report->norm == PIPELINE_NORM_2 ? "2" : "inf",
                             "unit", report->unit, "rows_right", (json_int_t)first->n_right);
  pipeline_robustness_report_set_rate(object, "accuracy", first->n_right, first->n);
  json_t *attacks = json_array(), *worst = json_array();
  for (guint e = 0; e < report->epsilons->len; e++) {
    double epsilon = g_array_index(report->epsilons, double, e);
    for (guint t = 0; t < report->types->len; t++) {
      const PipelineAttackType *type = g_ptr_array_index(report->types, t);
      json_array_append_new(
          attacks, describe_one(g_ptr_array_index(report->measured, e * report->types->len + t), type->name, epsilon));
    }
    json_array_append_new(worst, describe_worst(report, e));
  }
  json_object_set_new(object, "attacks", attacks);
  json_object_set_new(object, "worst", worst);
  return object;
}
