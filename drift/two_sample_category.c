/* Tests of 2 x k tables. */
#include "drift/distributions.h"
#include "drift/statistics.h"
#include "drift/two_sample_internal.h"

typedef struct {
  double n, m;
  guint filled; /* cells with a count on either side */
} Margins;

static gboolean margins_of(const double *reference, const double *current, guint n_cells, Margins *margins,
                           DriftTestResult *result)
{
  *margins = (Margins){0, 0, 0};
  drift_result_undefined(result, NULL);
  for (guint c = 0; c < n_cells; c++) {
    margins->n += reference[c];
    margins->m += current[c];
    margins->filled += reference[c] + current[c] > 0;
  }
  if (margins->n == 0 || margins->m == 0)
    result->undefined = DRIFT_NO_VALUES;
  else if (margins->filled < 2)
    result->undefined = "a single category";
  return result->undefined == NULL;
}

void drift_chi_squared_test(const double *reference, const double *current, guint n_cells, DriftTestResult *result)
{
  Margins margins;
  guint df;
  if (!margins_of(reference, current, n_cells, &margins, result)) return;
  result->statistic = drift_chi_squared(reference, current, n_cells, &df);
  result->df = df;
  result->p = drift_chi_squared_sf(result->statistic, df);
  result->p_from = "chi-squared";
}

void drift_g_test(const double *reference, const double *current, guint n_cells, DriftTestResult *result)
{
  Margins margins;
  if (!margins_of(reference, current, n_cells, &margins, result)) return;
  double total = margins.n + margins.m, sum = 0;
  for (guint c = 0; c < n_cells; c++) {
    double share = (reference[c] + current[c]) / total;
    double of_reference = reference[c] > 0 ? reference[c] * log(reference[c] / margins.n / share) : 0;
    double of_current = current[c] > 0 ? current[c] * log(current[c] / margins.m / share) : 0;
    sum += of_reference + of_current; /* at once: the same to the bit for exchanged sides */
  }
  result->statistic = fmax(0, 2 * sum);
  result->df = margins.filled - 1;
  result->p = drift_chi_squared_sf(result->statistic, result->df);
  result->p_from = "chi-squared";
}

void drift_goodness_of_fit_test(const double *reference, const double *current, guint n_cells, DriftTestResult *result)
{
  Margins margins;
  double sum = 0;
  if (!margins_of(reference, current, n_cells, &margins, result)) return;
  for (guint c = 0; c < n_cells; c++) {
    double expected = reference[c] / margins.n * margins.m, difference = current[c] - expected;
    if (reference[c] + current[c] > 0) sum += difference * difference / expected;
  }
  if (isinf(sum)) {
    result->undefined = "a category that the reference lacks";
    return;
  }
  result->statistic = sum;
  result->df = margins.filled - 1;
  result->p = drift_chi_squared_sf(sum, result->df);
  result->p_from = "chi-squared";
}

/* --- 2 x 2 -------------------------------------------------------------------------------------------------------- */

/* The two cells that are not empty on both sides, in order. */
typedef struct {
  double n, m, reference[2], current[2];
} TwoByTwo;

static gboolean two_by_two(const double *reference, const double *current, guint n_cells, TwoByTwo *table,
                           DriftTestResult *result)
{
  Margins margins;
  guint at = 0;
  if (!margins_of(reference, current, n_cells, &margins, result)) return FALSE;
  if (margins.filled != 2) {
    drift_result_undefined(result, "not two categories");
    return FALSE;
  }
  *table = (TwoByTwo){.n = margins.n, .m = margins.m};
  for (guint c = 0; c < n_cells && at < 2; c++) {
    if (reference[c] + current[c] == 0) continue;
    table->reference[at] = reference[c];
    table->current[at++] = current[c];
  }
  return TRUE;
}

void drift_yates_test(const double *reference, const double *current, guint n_cells, DriftTestResult *result)
{
  TwoByTwo t;
  if (!two_by_two(reference, current, n_cells, &t, result)) return;
  double total = t.n + t.m, columns[] = {t.reference[0] + t.current[0], t.reference[1] + t.current[1]}, sum = 0;
  /* All four cells are as far from their expectation, |ad - bc| / total; the correction takes at most that. */
  double away = fabs(t.reference[0] * t.current[1] - t.reference[1] * t.current[0]) / total;
  double corrected = away - fmin(.5, away);
  for (guint c = 0; c < 2; c++) sum += corrected * corrected * total / columns[c] * (1 / t.n + 1 / t.m);
  result->statistic = sum;
  result->df = 1;
  result->p = drift_chi_squared_sf(sum, 1);
  result->p_from = "chi-squared";
}

void drift_two_proportion_z(const double *reference, const double *current, guint n_cells, DriftTestResult *result)
{
  TwoByTwo t;
  if (!two_by_two(reference, current, n_cells, &t, result)) return;
  double share = (t.reference[1] + t.current[1]) / (t.n + t.m);
  result->statistic = (t.reference[1] / t.n - t.current[1] / t.m) / sqrt(share * (1 - share) * (1 / t.n + 1 / t.m));
  result->p = fmin(1, 2 * drift_normal_sf(fabs(result->statistic)));
  result->p_from = "normal law";
}

/* Chances of tables relative to that of `start`, going from it by `step` over the tables with the same margins: sums of
 * all and of those no likelier. FALSE: `start` is so unlikely that they overflow. */
static gboolean sum_tables(const TwoByTwo *t, double step, double *all, double *no_likelier)
{
  double first = t->reference[0] + t->current[0], chance = 1;
  double low = fmax(0, first - t->m), high = fmin(t->n, first);
  for (double x = t->reference[0]; x + step >= low && x + step <= high && chance > 0; x += step) {
    chance *= step > 0 ? (t->n - x) * (first - x) / ((x + 1) * (t->m - first + x + 1))
                       : x * (t->m - first + x) / ((t->n - x + 1) * (first - x + 1));
    if (isinf(chance)) return FALSE;
    *all += chance;
    if (chance <= 1 + 1e-7) *no_likelier += chance; /* equal chances come out different by rounding */
  }
  return isfinite(*all);
}

/* The sides in an order of their own, so that exchanging them changes no bit of p. */
static void order_sides(TwoByTwo *t)
{
  if (t->n < t->m || (t->n == t->m && t->reference[0] <= t->current[0])) return;
  *t = (TwoByTwo){t->m, t->n, {t->current[0], t->current[1]}, {t->reference[0], t->reference[1]}};
}

void drift_fisher_exact(const double *reference, const double *current, guint n_cells, DriftTestResult *result)
{
  TwoByTwo t;
  if (!two_by_two(reference, current, n_cells, &t, result)) return;
  double all = 1, no_likelier = 1;
  result->statistic = t.reference[0] * t.current[1] / (t.reference[1] * t.current[0]);
  result->p_from = "exact";
  order_sides(&t);
  if (sum_tables(&t, -1, &all, &no_likelier) && sum_tables(&t, 1, &all, &no_likelier))
    result->p = fmin(1, no_likelier / all);
  else
    result->p = 0; /* less than the smallest double */
}

/* --- permutation -------------------------------------------------------------------------------------------------- */

static double log_choose(double n, double k)
{
  return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1);
}

/* How many of `drawn` rows fall into a cell that holds `cell` of `total` rows: by inversion outwards from the mode, in
 * about as many steps as the law is wide. */
static double draw_hypergeometric(guint64 *state, double total, double cell, double drawn)
{
  double low = fmax(0, drawn - (total - cell)), high = fmin(drawn, cell);
  if (low >= high) return low;
  double mode = CLAMP(floor((drawn + 1) * (cell + 1) / (total + 2)), low, high);
  double chance = exp(log_choose(cell, mode) + log_choose(total - cell, drawn - mode) - log_choose(total, drawn));
  double left = drift_random_uniform(state) - chance, below = chance, above = chance, down = mode, up = mode;
  while (left >= 0 && (down > low || up < high)) {
    if (up < high) {
      above *= (cell - up) * (drawn - up) / ((up + 1) * (total - cell - drawn + up + 1));
      up++;
      left -= above;
      if (left < 0) return up;
    }
    if (down > low) {
      below *= down * (total - cell - drawn + down) / ((cell - down + 1) * (drawn - down + 1));
      down--;
      left -= below;
      if (left < 0) return down;
    }
    if (above < 1e-300 && below < 1e-300) break; /* what is left is rounding */
  }
  return mode;
}

double drift_count_permutation_p(const double *reference, const double *current, guint n_cells,
                                 DriftCountStatistic statistic, const DriftPermutationSettings *settings)
{
  double observed = statistic(reference, current, n_cells), n = 0, m = 0;
  if (isnan(observed)) return NAN;
  for (guint c = 0; c < n_cells; c++) n += reference[c], m += current[c];
  g_autofree double *drawn = g_new(double, n_cells + 1), *rest = g_new(double, n_cells + 1);
  guint64 state = settings->seed;
  guint extreme = 0, draws = 0;
  for (; draws < settings->permutations && extreme < DRIFT_ENOUGH_EXTREME; draws++) {
    double total = n + m, wanted = n;
    for (guint c = 0; c < n_cells; c++) {
      double cell = reference[c] + current[c];
      drawn[c] = draw_hypergeometric(&state, total, cell, wanted);
      rest[c] = cell - drawn[c];
      total -= cell;
      wanted -= drawn[c];
    }
    if (statistic(drawn, rest, n_cells) >= observed * (1 - 1e-12)) extreme++;
  }
  return draws > 0 ? drift_permutation_p(extreme, draws) : NAN;
}
