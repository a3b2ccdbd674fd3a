/* Decision rules: from texts to thresholds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/calibration_internal.h"

static gboolean parse_positive(const gchar *text, double *value)
{
  gchar *end;
  *value = g_ascii_strtod(text, &end);
  return end != text && *end == '\0' && isfinite(*value) && *value > 0;
}

/* "FP=1,FN=5" in either order. */
static gboolean parse_costs(const gchar *text, PipelineDecisionRule *rule)
{
  g_auto(GStrv) parts = g_strsplit(text, ",", -1);
  gboolean good = g_strv_length(parts) == 2;
  rule->cost_positive = rule->cost_negative = NAN;
  for (guint i = 0; good && i < 2; i++) {
    double *cost = g_str_has_prefix(parts[i], "FP=")   ? &rule->cost_positive
                   : g_str_has_prefix(parts[i], "FN=") ? &rule->cost_negative
                                                       : NULL;
    good = cost != NULL && isnan(*cost) && parse_positive(parts[i] + 3, cost);
  }
  return good;
}

gboolean pipeline_decision_parse(const gchar *text, PipelineDecisionRule *rule, GError **error)
{
  *rule = (PipelineDecisionRule){.threshold = NAN, .beta = NAN, .cost_positive = NAN, .cost_negative = NAN};
  if (g_str_has_prefix(text, "cost:") && parse_costs(text + strlen("cost:"), rule)) return TRUE;
  if (*text == 'f' && parse_positive(text + 1, &rule->beta)) return TRUE;
  if (parse_positive(text, &rule->threshold) && rule->threshold < 1) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "threshold '%s': write a number between 0 and 1, fB (the best F-beta: f1, f2, f0.5), "
              "cost:FP=1,FN=5 (the least cost), or none",
              text);
  return FALSE;
}

typedef struct {
  double p;
  guint8 label;
} Scored;

static gint compare_falling(gconstpointer a, gconstpointer b)
{
  double x = ((const Scored *)a)->p, y = ((const Scored *)b)->p;
  return (x < y) - (x > y);
}

/* What a rule makes larger, of counts at a threshold. */
static double merit(const PipelineDecisionRule *rule, double true_positives, double false_positives, double positives)
{
  double missed = positives - true_positives, square = rule->beta * rule->beta;
  if (isnan(rule->beta)) return -(rule->cost_positive * false_positives + rule->cost_negative * missed);
  return (1 + square) * true_positives / ((1 + square) * true_positives + square * missed + false_positives);
}

/* Thresholds above every row, between neighbours and below every row, from the highest down. */
float pipeline_decision_choose(const PipelineDecisionRule *rule, const double *p, const guint8 *labels, gsize n)
{
  if (!isnan(rule->threshold)) return (float)rule->threshold;
  g_autofree Scored *sorted = g_new(Scored, MAX(n, 1));
  double positives = 0, right = 0, wrong = 0, best = -INFINITY, chosen = 0.5;
  for (gsize i = 0; i < n; i++) {
    sorted[i] = (Scored){p[i], labels[i]};
    positives += labels[i];
  }
  qsort(sorted, n, sizeof *sorted, compare_falling);
  for (gsize i = 0; i <= n;) {
    double above = i > 0 ? sorted[i - 1].p : 1, below = i < n ? sorted[i].p : 0, at = (above + below) / 2;
    double value = merit(rule, right, wrong, positives);
    gboolean splits = (float)at > (float)below && (float)at <= (float)above; /* told apart in float32 */
    gboolean usable = (i == 0 || i == n) ? at > 0 && at < 1 : splits;
    if (usable && (value > best || (value == best && fabs(at - 0.5) < fabs(chosen - 0.5)))) {
      best = value;
      chosen = at;
    }
    if (i == n) break;
    for (double tied = sorted[i].p; i < n && sorted[i].p == tied; i++) {
      right += sorted[i].label;
      wrong += !sorted[i].label;
    }
  }
  return (float)chosen;
}
