/* One quantity of a window against the profile: drift statistics, rates, effect. */
#include "drift/window_internal.h"

#include <math.h>

#include "drift/distributions.h"
#include "drift/statistics.h"

/* Expected count, on the smaller side, from which the limit laws hold (checked by simulation in
 * tests/unit/drift_calibration_test.c). */
#define ENOUGH_EXPECTED 5
/* p below which the limit law of Pearson's statistic is not trusted by itself. */
#define FAR_TAIL .01
/* Coarse cells of a numeric quantity at most. */
#define COARSE_CELLS 10
/* Pooled rows from which a category is one of its own in the permutation test. */
#define ENOUGH_FOR_PERMUTATION 5

/* Numbers in their bins; categories with the unseen ones as last cell. */
static void get_cells(const DriftAccumulator *profile, const DriftAccumulator *window, guint index, DriftCells *cells)
{
  const DriftQuantity *quantity = &profile->grid->quantities[index];
  gboolean categorical = quantity->kind == DRIFT_CATEGORICAL;
  drift_cells_init(cells, quantity->n_bins + (categorical ? 1 : 0));
  for (guint i = 0; i < cells->n_cells; i++) {
    guint cell = i < quantity->n_bins ? i : drift_quantity_unseen(quantity);
    cells->reference[i] = (double)drift_counts_get(&profile->counts[index], cell);
    cells->window[i] = (double)drift_counts_get(&window->counts[index], cell);
    cells->n += cells->reference[i];
    cells->m += cells->window[i];
  }
}

static double js_distance(double divergence)
{
  return sqrt(fmax(0, divergence) / G_LN2);
}

/* With five expected rows in a cell the limit law holds at levels of tests, but an alarm budget asks for p of 1e-6 and
 * less: there Pearson's statistic has the tail of a Poisson count, and the likelihood ratio's p is the right one. */
static double guarded_chi_squared_p(const DriftCells *coarse, const DriftFeatureVerdict *verdict,
                                    const DriftDispersion *dispersion)
{
  double p = drift_dispersed_chi_squared_sf(verdict->chi_squared, verdict->chi_squared_df, dispersion);
  if (!(p < FAR_TAIL)) return p;
  double ratio = drift_likelihood_ratio(coarse->reference, coarse->window, coarse->n_cells);
  return fmax(p, drift_dispersed_chi_squared_sf(ratio, verdict->chi_squared_df, dispersion));
}

static void test_by_limit_laws(const DriftCells *coarse, const DriftDispersion *dispersion,
                               DriftFeatureVerdict *verdict)
{
  double scale = 1 / coarse->n + 1 / coarse->m, divergence, null_mean;
  verdict->chi_squared =
      drift_chi_squared(coarse->reference, coarse->window, coarse->n_cells, &verdict->chi_squared_df);
  verdict->psi = drift_psi(coarse->reference, coarse->window, coarse->n_cells);
  divergence = drift_js_divergence(coarse->reference, coarse->window, coarse->n_cells);
  verdict->js = js_distance(divergence);
  /* The plug-in divergence exceeds the true one by its mean under the null: without that small windows look different.
   */
  null_mean = drift_js_null_mean(coarse->reference, coarse->window, coarse->n_cells);
  verdict->effect = js_distance(divergence - dispersion->cells * null_mean);
  double df = verdict->chi_squared_df;
  verdict->chi_squared_p = guarded_chi_squared_p(coarse, verdict, dispersion);
  verdict->psi_p = drift_dispersed_chi_squared_sf(verdict->psi / scale, df, dispersion);
  verdict->js_p = drift_dispersed_chi_squared_sf(df * divergence / null_mean, df, dispersion);
}

/* Labels of dependent rows cannot be exchanged. Their tails fall as exp(-x/2) with x in units of the inflation, so the
 * p of independent rows is taken to the power of its inverse. */
static double spread_p(double p, const DriftDispersion *dispersion)
{
  double largest = fmax(dispersion->cells, dispersion->first);
  return largest > 1 ? pow(p, 1 / largest) : p;
}

static void test_by_permutation(const DriftCells *cells, guint quantity, const DriftDispersion *dispersion,
                                DriftFeatureVerdict *verdict)
{
  DriftPermutation permutation;
  drift_permutation_test(cells->reference, cells->window, cells->n_cells, 1 + quantity, &permutation);
  verdict->chi_squared = drift_chi_squared(cells->reference, cells->window, cells->n_cells, &verdict->chi_squared_df);
  verdict->psi = drift_psi(cells->reference, cells->window, cells->n_cells);
  double divergence = drift_js_divergence(cells->reference, cells->window, cells->n_cells);
  verdict->js = js_distance(divergence);
  verdict->effect = js_distance(divergence - dispersion->cells * permutation.js_mean);
  verdict->chi_squared_p = spread_p(permutation.chi_squared_p, dispersion);
  verdict->psi_p = spread_p(permutation.psi_p, dispersion);
  verdict->js_p = spread_p(permutation.js_p, dispersion);
}

/* Both sides are one value: no difference, and nothing to estimate. */
static void same_constant(DriftFeatureVerdict *verdict)
{
  verdict->chi_squared = verdict->psi = verdict->js = verdict->effect = 0;
  verdict->chi_squared_p = verdict->psi_p = verdict->js_p = 1;
}

static void test_numeric(const DriftCells *cells, guint quantity, const DriftDispersion *dispersion,
                         DriftFeatureVerdict *verdict)
{
  double total = cells->n + cells->m, share = total / COARSE_CELLS;
  double enough = ENOUGH_EXPECTED * total / fmin(cells->n, cells->m);
  verdict->ks = drift_ks_distance(cells->reference, cells->window, cells->n_cells);
  verdict->ks_p = drift_dispersed_ks_p(verdict->ks, cells->n, cells->m, dispersion);
  DriftCells coarse, thin = {.n_cells = 0};
  drift_cells_coarsen_ordered(cells, fmax(enough, share), &coarse);
  gboolean by_limit = coarse.n_cells >= 2;
  if (!by_limit) drift_cells_coarsen_ordered(cells, share, &thin);
  verdict->test = by_limit ? "2 min(KS, chi-squared)" : "2 min(KS, chi-squared by permutation)";
  if (by_limit)
    test_by_limit_laws(&coarse, dispersion, verdict);
  else if (thin.n_cells >= 2)
    test_by_permutation(&thin, quantity, dispersion, verdict);
  else
    same_constant(verdict);
  drift_cells_clear(&coarse);
  drift_cells_clear(&thin);
  /* E[D^2] under the null is (pi^2/12) (1/n + 1/m): taken off in the square, as the divergence's bias is. */
  double ks_bias = dispersion->steps * G_PI * G_PI / 12 * (1 / cells->n + 1 / cells->m);
  verdict->effect = fmax(verdict->effect, sqrt(fmax(0, verdict->ks * verdict->ks - ks_bias)));
  verdict->p = fmin(1, 2 * fmin(verdict->ks_p, verdict->chi_squared_p));
}

static void test_categorical(const DriftCells *cells, guint quantity, const DriftDispersion *dispersion,
                             DriftFeatureVerdict *verdict)
{
  double enough = ENOUGH_EXPECTED * (cells->n + cells->m) / fmin(cells->n, cells->m);
  DriftCells coarse, thin;
  drift_cells_coarsen_categories(cells, enough, &coarse);
  gboolean any_kept = drift_cells_coarsen_categories(cells, ENOUGH_FOR_PERMUTATION, &thin);
  gboolean by_limit = coarse.n_cells >= 2;
  verdict->test = by_limit ? "chi-squared" : "chi-squared by permutation";
  if (by_limit)
    test_by_limit_laws(&coarse, dispersion, verdict);
  else if (thin.n_cells >= 2)
    test_by_permutation(&thin, quantity, dispersion, verdict);
  else if (any_kept)
    same_constant(verdict);
  else
    verdict->undefined = "every category is too rare to be compared";
  drift_cells_clear(&coarse);
  drift_cells_clear(&thin);
  verdict->p = verdict->chi_squared_p;
}

static double rate(guint64 count, guint64 events)
{
  return events == 0 ? NAN : (double)count / (double)events;
}

static void set_rates(const DriftAccumulator *profile, const DriftAccumulator *window, guint quantity,
                      DriftFeatureVerdict *verdict)
{
  DriftSummary reference, now;
  drift_accumulator_summarise(profile, quantity, &reference);
  drift_accumulator_summarise(window, quantity, &now);
  verdict->missing_reference = rate(reference.missing, profile->n_events);
  verdict->missing_window = rate(now.missing, window->n_events);
  verdict->unseen_window = rate(now.unseen, window->n_events);
  verdict->out_of_range_window = rate(now.out_of_range, window->n_events);
  verdict->mean_reference = reference.mean;
  verdict->mean_window = now.mean;
}

static const gchar *where_from(const DriftBaseline *baseline, guint quantity)
{
  if (baseline == NULL) return "independent rows assumed: the profile has no baseline";
  if (baseline->n_scales == 0) return "independent rows assumed: the reference is too short";
  if (drift_baseline_is_unsteady(baseline, quantity))
    return "independent rows assumed: the reference drifts or is sorted, its halves differ";
  return "measured in the reference's order";
}

void drift_window_test_quantity(const DriftAccumulator *profile, const DriftBaseline *baseline,
                                const DriftAccumulator *window, guint quantity, DriftFeatureVerdict *verdict)
{
  gboolean numeric = profile->grid->quantities[quantity].kind == DRIFT_NUMERIC;
  *verdict = (DriftFeatureVerdict){.feature = g_strdup(drift_grid_quantity_name(profile->grid, quantity)),
                                   .kind = numeric ? "numeric" : "categorical",
                                   .ks = NAN,
                                   .ks_p = NAN,
                                   .psi = NAN,
                                   .psi_p = NAN,
                                   .js = NAN,
                                   .js_p = NAN,
                                   .chi_squared = NAN,
                                   .chi_squared_p = NAN,
                                   .p = NAN,
                                   .p_adjusted = NAN,
                                   .effect = NAN,
                                   .dependence = where_from(baseline, quantity)};
  set_rates(profile, window, quantity, verdict);
  DriftCells cells;
  get_cells(profile, window, quantity, &cells);
  verdict->n_reference = (guint64)cells.n;
  verdict->n_window = (guint64)cells.m;
  DriftDispersion dispersion;
  drift_baseline_disperse(baseline, quantity, cells.n, cells.m, &dispersion);
  verdict->inflation = numeric ? fmax(dispersion.cells, dispersion.steps) : dispersion.cells;
  if (cells.n == 0)
    verdict->undefined = "the reference has no values (n = 0)";
  else if (cells.m == 0)
    verdict->undefined = "the window has no values (n = 0)";
  else if (numeric && profile->grid->quantities[quantity].bins->n_edges == 0)
    verdict->undefined = "the reference has no finite value"; /* so there are no bins to tell values apart by */
  else if (numeric)
    test_numeric(&cells, quantity, &dispersion, verdict);
  else
    test_categorical(&cells, quantity, &dispersion, verdict);
  if (verdict->undefined != NULL) verdict->test = "none";
  drift_cells_clear(&cells);
}

/* Categories that the reference shows so often. */
static guint64 count_categories_shown(const DriftAccumulator *profile, guint index, guint64 times)
{
  const DriftQuantity *quantity = &profile->grid->quantities[index];
  guint64 n = 0;
  for (guint i = 0; i < quantity->n_bins; i++) n += drift_counts_get(&profile->counts[index], i) == times;
  return n;
}

/* Categories shown once are as many rows as would be unseen if their row were left out (Good and Turing). What is
 * really unseen differs from that with variance (singletons + 2 doubletons)/n^2, not singletons/n^2 (Robbins 1968): the
 * multiple of a comparison with m rows. */
static double unseen_inflation(const DriftAccumulator *profile, guint index, double singletons, double n, double m)
{
  if (singletons == 0) return 1;
  double of_reference = 1 + 2 * (double)count_categories_shown(profile, index, 2) / singletons;
  return (of_reference / n + 1 / m) / (1 / n + 1 / m);
}

/* Rows that come in bursts count as fewer; rounded against a rise. */
static double rise_p(double before, double n, double after, double m, double inflation)
{
  if (inflation <= 1) return drift_rate_rise_p(before, n, after, m);
  return drift_rate_rise_p(ceil(before / inflation), n / inflation, floor(after / inflation), m / inflation);
}

void drift_window_test_quality(const DriftAccumulator *profile, const DriftBaseline *baseline,
                               const DriftAccumulator *window, guint quantity, double p[DRIFT_N_QUALITY],
                               double rise[DRIFT_N_QUALITY])
{
  DriftSummary reference, now;
  drift_accumulator_summarise(profile, quantity, &reference);
  drift_accumulator_summarise(window, quantity, &now);
  gboolean numeric = profile->grid->quantities[quantity].kind == DRIFT_NUMERIC;
  /* The grid was made from the reference, so nothing of it is unseen or out of range by construction. What leaving each
   * row out would give is the fair count: its singletons (Good and Turing), and its two extremes. */
  guint64 singletons = numeric ? 0 : count_categories_shown(profile, quantity, 1),
          unseen = reference.unseen + singletons;
  guint64 outside = reference.out_of_range + (numeric ? 2 : 0);
  const guint64 before[DRIFT_N_QUALITY] = {reference.missing, unseen, outside};
  const guint64 after[DRIFT_N_QUALITY] = {now.missing, now.unseen, now.out_of_range};
  double n = (double)profile->n_events, m = (double)window->n_events;
  DriftDispersion dispersion;
  drift_baseline_disperse(baseline, quantity, n, m, &dispersion);
  /* What the reference lacks has no baseline of its own: values come in bursts as the others do. */
  double values = fmax(dispersion.first, dispersion.steps);
  const double inflation[DRIFT_N_QUALITY] = {
      dispersion.missing, values * unseen_inflation(profile, quantity, (double)singletons, n, m), values};
  for (guint i = 0; i < DRIFT_N_QUALITY; i++) {
    p[i] = rise_p((double)before[i], n, (double)after[i], m, inflation[i]);
    rise[i] = rate(after[i], window->n_events) - rate(before[i], profile->n_events);
  }
  if (!numeric) p[DRIFT_QUALITY_OUT_OF_RANGE] = NAN;
  /* Past the cap only the categories that happened to be most frequent are known, and those fall back in any new data.
   */
  if (!numeric && profile->grid->quantities[quantity].n_bins == DRIFT_GRID_MAX_CATEGORIES)
    p[DRIFT_QUALITY_UNSEEN] = NAN;
}
