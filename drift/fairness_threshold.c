#include "drift/fairness_mitigation.h"

#include <math.h>
#include <stdlib.h>

#define GRID 1000u

typedef struct {
  double score;
  gboolean favourable;
} Scored;

/* A threshold's point: x the constrained rate, y what is to be large. */
typedef struct {
  double x, y, threshold;
} Point;

typedef struct {
  Point *hull; /* from x = 0 to x = 1, concave */
  guint n;
  double positives, negatives;
} Curve;

typedef double (*RateOf)(double tp, double fp, const Curve *curve);

static double selected(double tp, double fp, const Curve *curve)
{
  return (tp + fp) / (curve->positives + curve->negatives);
}

static double recalled(double tp, double fp, const Curve *curve)
{
  (void)fp;
  return tp / curve->positives;
}

static double false_alarms(double tp, double fp, const Curve *curve)
{
  (void)tp;
  return fp / curve->negatives;
}

static double right(double tp, double fp, const Curve *curve)
{
  return (tp + curve->negatives - fp) / (curve->positives + curve->negatives);
}

/* By parity: what is made equal, what is to be large; which labels it needs. */
static const struct {
  RateOf x, y;
  gboolean needs_positives, needs_negatives;
} parities[] = {
    [DRIFT_PARITY_SELECTION] = {selected, right, FALSE, FALSE},
    [DRIFT_PARITY_TPR] = {recalled, right, TRUE, FALSE},
    [DRIFT_PARITY_FPR] = {false_alarms, right, FALSE, TRUE},
    [DRIFT_PARITY_ODDS] = {false_alarms, recalled, TRUE, TRUE},
};

static gint descending(const void *a, const void *b)
{
  const Scored *left = a, *right_row = b;
  return (left->score < right_row->score) - (left->score > right_row->score);
}

/* Upper hull: the last point goes while it lies on or below the chord to the new one. */
static void hull_add(Curve *curve, Point point)
{
  while (curve->n > 0) {
    Point last = curve->hull[curve->n - 1];
    if (last.x == point.x) {
      if (last.y >= point.y) return;
    } else if (curve->n == 1) {
      break;
    } else {
      Point before = curve->hull[curve->n - 2];
      double turn = (last.x - before.x) * (point.y - before.y) - (last.y - before.y) * (point.x - before.x);
      if (turn < 0) break;
    }
    curve->n--;
  }
  curve->hull[curve->n++] = point;
}

/* Half-way to the next lower score, so that a new score close to the cut falls on the nearer side. */
static double cut_below(double score, double next)
{
  double middle = next + (score - next) / 2;
  return middle > next ? middle : score;
}

static void trace(Scored *rows, guint64 n, DriftParity parity, Curve *curve)
{
  qsort(rows, n, sizeof *rows, descending);
  for (guint64 i = 0; i < n; i++) *(rows[i].favourable ? &curve->positives : &curve->negatives) += 1;
  curve->hull = g_new(Point, n + 1);
  double tp = 0, fp = 0;
  hull_add(curve, (Point){parities[parity].x(0, 0, curve), parities[parity].y(0, 0, curve), INFINITY});
  for (guint64 i = 0, next; i < n; i = next) {
    for (next = i; next < n && rows[next].score == rows[i].score; next++) *(rows[next].favourable ? &tp : &fp) += 1;
    double threshold = next < n ? cut_below(rows[i].score, rows[next].score) : -INFINITY;
    hull_add(curve, (Point){parities[parity].x(tp, fp, curve), parities[parity].y(tp, fp, curve), threshold});
  }
}

/* The hull at x: its two neighbours and the weight of the left one. */
static double interpolate(const Curve *curve, double x, DriftGroupRule *rule)
{
  guint low = 0, high = curve->n - 1;
  while (high - low > 1) {
    guint middle = (low + high) / 2;
    *(curve->hull[middle].x <= x ? &low : &high) = middle;
  }
  Point a = curve->hull[low], b = curve->hull[high];
  double weight = b.x > a.x ? CLAMP((b.x - x) / (b.x - a.x), 0, 1) : 1;
  *rule = (DriftGroupRule){.threshold0 = a.threshold, .threshold1 = b.threshold, .weight0 = weight};
  return weight * a.y + (1 - weight) * b.y;
}

/* Accuracy of all groups when each is at x; for equalised odds y is the least of the groups' TPR. */
static double accuracy_at(const Curve *curves, guint n, DriftParity parity, double x, double *least)
{
  double right_rows = 0, rows = 0, positives = 0, negatives = 0;
  DriftGroupRule rule;
  *least = 1;
  for (guint g = 0; g < n; g++) {
    double y = interpolate(&curves[g], x, &rule), total = curves[g].positives + curves[g].negatives;
    *least = fmin(*least, y);
    right_rows += y * total;
    rows += total;
    positives += curves[g].positives;
    negatives += curves[g].negatives;
  }
  if (parity == DRIFT_PARITY_ODDS) right_rows = *least * positives + (1 - x) * negatives;
  return right_rows / rows;
}

static void choose(const Curve *curves, DriftParity parity, gboolean randomise, DriftThresholds *thresholds)
{
  double least, best_least = 1;
  thresholds->accuracy = -1;
  for (guint i = 0; i <= GRID; i++) {
    double x = i / (double)GRID, accuracy = accuracy_at(curves, thresholds->n_groups, parity, x, &least);
    if (accuracy <= thresholds->accuracy) continue;
    thresholds->accuracy = accuracy;
    thresholds->constraint = x;
    best_least = least;
  }
  for (guint g = 0; g < thresholds->n_groups; g++) {
    DriftGroupRule *rule = &thresholds->rules[g];
    double x = thresholds->constraint, y = interpolate(&curves[g], x, rule);
    /* A better group is mixed with a coin of rate x, which lies on the diagonal below its point. */
    if (parity == DRIFT_PARITY_ODDS && y > x) {
      rule->ignore = (y - best_least) / (y - x);
      rule->constant = x;
    }
    if (randomise) continue;
    rule->weight0 = rule->weight0 >= .5 ? 1 : 0;
    rule->ignore = 0;
  }
}

static gboolean check_group(const DriftFairness *fairness, guint g, const Curve *curve, DriftParity parity,
                            GError **error)
{
  const gchar *lacks = curve->positives + curve->negatives == 0                    ? "scores"
                       : parities[parity].needs_positives && curve->positives == 0 ? "rows labelled favourable"
                       : parities[parity].needs_negatives && curve->negatives == 0 ? "rows labelled unfavourable"
                                                                                   : NULL;
  if (lacks == NULL) return TRUE;
  g_set_error(
      error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED,
      "group \"%s\" of %s has no %s: no threshold makes its rates equal to the others'; leave it out or join it "
      "with another",
      fairness->grouping->names[g], fairness->grouping->attribute, lacks);
  return FALSE;
}

static Scored *collect(const DriftFairness *fairness, guint64 *start)
{
  const DriftFairnessRows *rows = fairness->rows;
  const guint32 *group = fairness->grouping->group;
  for (guint64 i = 0; i < rows->n; i++)
    if (group[i] != DRIFT_GROUP_NONE && rows->label[i] >= 0 && isfinite(rows->score[i])) start[group[i] + 1]++;
  for (guint g = 0; g < fairness->n_groups; g++) start[g + 1] += start[g];
  Scored *scored = g_new(Scored, start[fairness->n_groups] + 1);
  g_autofree guint64 *next = g_memdup2(start, (fairness->n_groups + 1) * sizeof *start);
  for (guint64 i = 0; i < rows->n; i++)
    if (group[i] != DRIFT_GROUP_NONE && rows->label[i] >= 0 && isfinite(rows->score[i]))
      scored[next[group[i]]++] = (Scored){.score = rows->score[i], .favourable = rows->label[i] == 1};
  return scored;
}

DriftThresholds *drift_thresholds_fit(const DriftFairness *fairness, DriftParity parity, gboolean randomise,
                                      GError **error)
{
  guint n = fairness->n_groups;
  if (fairness->rows->score == NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "thresholds need a score of each row");
    return NULL;
  }
  g_autofree guint64 *start = g_new0(guint64, n + 1);
  g_autofree Scored *scored = collect(fairness, start);
  g_autofree Curve *curves = g_new0(Curve, n);
  gboolean fine = TRUE;
  for (guint g = 0; g < n && fine; g++) {
    trace(scored + start[g], start[g + 1] - start[g], parity, &curves[g]);
    fine = check_group(fairness, g, &curves[g], parity, error);
  }
  DriftThresholds *thresholds = NULL;
  if (fine) {
    thresholds = g_new0(DriftThresholds, 1);
    thresholds->n_groups = n;
    thresholds->rules = g_new0(DriftGroupRule, n);
    choose(curves, parity, randomise, thresholds);
  }
  for (guint g = 0; g < n; g++) g_free(curves[g].hull);
  return thresholds;
}

void drift_thresholds_free(DriftThresholds *thresholds)
{
  if (thresholds == NULL) return;
  g_free(thresholds->rules);
  g_free(thresholds);
}

double drift_thresholds_probability(const DriftThresholds *thresholds, guint group, double score)
{
  if (group >= thresholds->n_groups || isnan(score)) return NAN;
  const DriftGroupRule *rule = &thresholds->rules[group];
  double kept = rule->weight0 * (score >= rule->threshold0) + (1 - rule->weight0) * (score >= rule->threshold1);
  return rule->ignore * rule->constant + (1 - rule->ignore) * kept;
}
