#include "drift/anytime.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/sorted_window_internal.h"

#define LARGEST_STAKE .5

void drift_betting_start(DriftBetting *betting, gboolean only_up)
{
  *betting = (DriftBetting){.only_up = only_up, .curvature = 1};
}

double drift_betting_add(DriftBetting *betting, double d)
{
  if (isnan(d)) return betting->log_capital;
  d = CLAMP(d, -1, 1);
  double growth = betting->stake * d, slope = d / (1 + growth);
  betting->log_capital += log1p(growth);
  betting->curvature += slope * slope;
  double stake = betting->stake + 2 / (2 - log(3)) * slope / betting->curvature;
  betting->stake = CLAMP(stake, betting->only_up ? 0 : -LARGEST_STAKE, LARGEST_STAKE);
  return betting->log_capital;
}

void drift_paired_betting_start(DriftPairedBetting *paired)
{
  drift_betting_start(&paired->betting, FALSE);
  paired->n = 0;
}

/* Share of the kept values below, ties half. */
static double share_below(const DriftPairedBetting *paired, double value)
{
  guint above = drift_sorted_place(paired->values, paired->n, value), below = above;
  while (below > 0 && paired->values[below - 1] == value) below--;
  return (double)(above + below) / (2.0 * paired->n);
}

static void keep(DriftPairedBetting *paired, double value)
{
  if (paired->n == DRIFT_PAIRED_VALUES) return;
  guint at = drift_sorted_place(paired->values, paired->n, value);
  memmove(paired->values + at + 1, paired->values + at, (paired->n - at) * sizeof *paired->values);
  paired->values[at] = value;
  paired->n++;
}

double drift_paired_betting_add(DriftPairedBetting *paired, double x, double y)
{
  if (isnan(x) || isnan(y)) return paired->betting.log_capital;
  if (paired->n > 0) drift_betting_add(&paired->betting, share_below(paired, x) - share_below(paired, y));
  keep(paired, x);
  keep(paired, y);
  return paired->betting.log_capital;
}

void drift_confidence_sequence_start(DriftConfidenceSequence *sequence, double alpha)
{
  *sequence = (DriftConfidenceSequence){.alpha = alpha};
}

void drift_confidence_sequence_add(DriftConfidenceSequence *sequence, double x)
{
  if (isnan(x)) return;
  x = CLAMP(x, 0, 1);
  /* Of the values before: the stake must not know this one. */
  double before = (double)sequence->t, estimate = (.5 + sequence->sum) / (before + 1);
  double variance = (.25 + sequence->deviations) / (before + 1), t = before + 1;
  double lambda = MIN(.5, sqrt(2 * log(2 / sequence->alpha) / (variance * t * log(1 + t))));
  double psi = -log1p(-lambda) - lambda;
  sequence->t++;
  sequence->sum += x;
  sequence->weights += lambda;
  sequence->weighted += lambda * x;
  sequence->penalties += (x - estimate) * (x - estimate) * psi;
  double newer = (.5 + sequence->sum) / (t + 1);
  sequence->deviations += (x - newer) * (x - newer);
}

void drift_confidence_sequence_get(const DriftConfidenceSequence *sequence, double *low, double *high)
{
  *low = 0;
  *high = 1;
  if (sequence->t == 0) return;
  double centre = sequence->weighted / sequence->weights;
  double half = (log(2 / sequence->alpha) + sequence->penalties) / sequence->weights;
  *low = MAX(0, centre - half);
  *high = MIN(1, centre + half);
}

static int compare_falling(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

static guint reject_above(const double *log_e, guint n, double threshold, gboolean *rejected)
{
  guint count = 0;
  for (guint i = 0; i < n; i++) {
    rejected[i] = log_e[i] >= threshold; /* NaN is not */
    count += rejected[i] != FALSE;
  }
  return count;
}

guint drift_e_bh(const double *log_e, guint n_streams, double alpha, gboolean *rejected)
{
  g_autofree double *sorted = g_new(double, n_streams + 1);
  guint n = 0, best = 0;
  for (guint i = 0; i < n_streams; i++)
    if (!isnan(log_e[i])) sorted[n++] = log_e[i];
  qsort(sorted, n, sizeof *sorted, compare_falling);
  for (guint k = 1; k <= n; k++)
    if (sorted[k - 1] >= log(n_streams / (alpha * k))) best = k;
  return reject_above(log_e, n_streams, best > 0 ? sorted[best - 1] : INFINITY, rejected);
}

guint drift_e_bonferroni(const double *log_e, guint n_streams, double alpha, gboolean *rejected)
{
  return reject_above(log_e, n_streams, log(n_streams / alpha), rejected);
}
