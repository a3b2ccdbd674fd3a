/* The report of `kedge attack`: accuracy as it is and under attack, with counts and intervals. */
#include <math.h>
#include <stdio.h>

#include "daemon/command_attack_internal.h"
#include "drift/statistics.h"
#include "pipeline/evaluate_metrics.h"

void command_attack_set_rate(json_t *object, const gchar *name, guint64 count, guint64 n)
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
  command_attack_set_rate(object, "robust_accuracy", robustness->n_robust, robustness->n);
  json_object_set_new(object, "median_distance", real_or_null(pipeline_metric_quantile(distances, (guint)fooled, 0.5)));
  json_object_set_new(object, "queries_per_row", real_or_null((double)queries / (double)robustness->n_right));
  json_object_set_new(object, "seconds", json_real(robustness->seconds));
  json_object_set_new(object, "cpu_seconds", json_real(robustness->cpu_seconds));
  json_object_set_new(object, "rows_per_second",
                      real_or_null((double)robustness->n_right / MAX(robustness->seconds, 1e-9)));
  return object;
}

static json_t *describe_worst(const AttackReport *report, guint e)
{
  guint n = report->types->len;
  const PipelineRobustness *const *measured = (const PipelineRobustness *const *)report->measured->pdata + (gsize)e * n;
  guint64 count = pipeline_robustness_count_worst(measured, n);
  json_t *object =
      json_pack("{s:f, s:I}", "epsilon", g_array_index(report->epsilons, double, e), "rows_robust", (json_int_t)count);
  command_attack_set_rate(object, "robust_accuracy", count, measured[0]->n);
  return object;
}

json_t *command_attack_describe(const AttackReport *report)
{
  const PipelineRobustness *first = g_ptr_array_index(report->measured, 0);
  json_t *object = json_pack("{s:I, s:I, s:s, s:s, s:I}", "rows", (json_int_t)first->n, "rows_skipped",
                             (json_int_t)first->n_skipped, "norm", report->norm == PIPELINE_NORM_2 ? "2" : "inf",
                             "unit", report->unit, "rows_right", (json_int_t)first->n_right);
  command_attack_set_rate(object, "accuracy", first->n_right, first->n);
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

gchar *command_attack_text_rate(json_t *object, const gchar *name)
{
  g_autofree gchar *low = g_strconcat(name, "_low", NULL), *high = g_strconcat(name, "_high", NULL);
  g_autofree gchar *value = command_text_real(json_object_get(object, name), 4),
                   *from = command_text_real(json_object_get(object, low), 4),
                   *to = command_text_real(json_object_get(object, high), 4);
  return g_strdup_printf("%s (%s to %s)", value, from, to);
}

static void add_line(CommandTable *table, json_t *object, const gchar *attack)
{
  g_autofree gchar *epsilon = command_text_real(json_object_get(object, "epsilon"), 4),
                   *rate = command_attack_text_rate(object, "robust_accuracy"),
                   *robust = command_text_count(json_object_get(object, "rows_robust")),
                   *distance = command_text_real(json_object_get(object, "median_distance"), 4),
                   *queries = command_text_real(json_object_get(object, "queries_per_row"), 1),
                   *speed = command_text_real(json_object_get(object, "rows_per_second"), 0);
  command_table_add(table, epsilon, attack, rate, robust, distance, queries, speed, NULL);
}

void command_attack_print(json_t *report)
{
  g_autofree gchar *clean = command_attack_text_rate(report, "accuracy"),
                   *rows = command_text_count(json_object_get(report, "rows")),
                   *skipped = command_text_count(json_object_get(report, "rows_skipped"));
  printf("accuracy %s on %s rows (95 %% Wilson intervals); epsilon and distance: norm %s, unit %s; %s rows skipped\n\n",
         clean, rows, json_string_value(json_object_get(report, "norm")),
         json_string_value(json_object_get(report, "unit")), skipped);
  CommandTable *table = command_table_new((const gchar *const[]){
      ">epsilon", "attack", "robust accuracy", ">robust rows", ">median distance", ">queries/row", ">rows/s", NULL});
  size_t i;
  json_t *object;
  json_t *attacks = json_object_get(report, "attacks"), *worst = json_object_get(report, "worst");
  json_array_foreach (attacks, i, object) add_line(table, object, json_string_value(json_object_get(object, "attack")));
  if (json_array_size(attacks) > json_array_size(worst))
    json_array_foreach (worst, i, object) add_line(table, object, "worst of all");
  command_table_print(table);
}
