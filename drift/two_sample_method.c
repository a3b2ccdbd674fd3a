#include "drift/two_sample_method.h"

#include "drift/binned.h"
#include "drift/detector_internal.h"
#include "drift/statistics.h"
#include "drift/two_sample_internal.h"

#define WRONG_KIND "not for this kind of column"

/* --- options ------------------------------------------------------------------------------------------------------ */

enum { PERMUTATIONS, SEED, BINS, N_DISTANCE_OPTIONS };
#define PERMUTATION_SPECS                                                                                              \
  {"permutations", 999, 0, 1e6, TRUE, NULL},                                                                           \
  {                                                                                                                    \
    "seed", 1, 0, 9007199254740992.0, TRUE, NULL                                                                       \
  }
#define PERMUTATION_HELP "permutations=999  draws of the permutation test; 0: no p", "seed=1            of the draws"
#define BINS_HELP "bins=10           numbers: cells at the reference's quantiles"
static const DriftOptionSpec count_specs[] = {PERMUTATION_SPECS, {"bins", 10, 2, 4096, TRUE, NULL}};
static const gchar *const count_help[] = {PERMUTATION_HELP, BINS_HELP, NULL};
static const gchar *const bins_help[] = {BINS_HELP, NULL};
static const gchar *const no_help[] = {NULL};

/* For methods that have none. */
static gboolean refuse_options(const DriftTwoSampleMethod *method, GHashTable *options, GError **error)
{
  GHashTableIter iter;
  gpointer key;
  if (options == NULL) return TRUE;
  g_hash_table_iter_init(&iter, options);
  if (!g_hash_table_iter_next(&iter, &key, NULL)) return TRUE;
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%s has no option \"%s\"; it has none", method->name,
              (const gchar *)key);
  return FALSE;
}

static gboolean has_ties(const DriftTwoSampleData *data)
{
  DriftPooled pooled = {.reference = data->reference, .current = data->current};
  while (drift_pooled_next(&pooled))
    if (pooled.n_here + pooled.m_here > 1) return TRUE;
  return FALSE;
}

static gboolean takes(const DriftTwoSampleData *data, gboolean numeric, DriftTestResult *result)
{
  drift_result_undefined(result, WRONG_KIND);
  return numeric ? data->reference != NULL : data->counts != NULL;
}

/* A statistic without p is defined when it is a number; infinite is one. */
static void set_statistic(DriftTestResult *result, double statistic, double p, const gchar *p_from)
{
  *result = (DriftTestResult){.statistic = statistic, .p = p, .df = NAN, .p_from = isnan(p) ? NULL : p_from};
}

/* --- numbers ------------------------------------------------------------------------------------------------------ */

static const gchar *const alternatives[] = {"two-sided", "plus", "minus", NULL};
static const gchar *const ks_laws[] = {"auto", "exact", "asymptotic", "limit", NULL};
static const DriftOptionSpec ks_specs[] = {{"alternative", 0, 0, 0, TRUE, alternatives}, {"p", 0, 0, 0, TRUE, ks_laws}};
static const gchar *const ks_help[] = {
    "alternative=two-sided  or plus: the reference's values are smaller; minus: they are larger",
    "p=auto                 exact (up to n m = 10,000,000), asymptotic or limit (two-sided)", NULL};
#define KS_EXACT_MAX 1e7

static gboolean run_ks(const DriftTwoSampleMethod *method, const DriftTwoSampleData *data, GHashTable *options,
                       DriftTestResult *result, GError **error)
{
  enum { AUTO, EXACT, ASYMPTOTIC, LIMIT };
  double values[2];
  if (!drift_options_read(method->name, options, ks_specs, 2, values, error)) return FALSE;
  if (!takes(data, TRUE, result)) return TRUE;
  DriftKolmogorovSmirnov ks;
  drift_ks_compute(data->reference, data->current, &ks);
  drift_result_undefined(result, DRIFT_NO_VALUES);
  if (isnan(ks.distance)) return TRUE;
  DriftAlternative alternative = (DriftAlternative)values[0];
  guint law = (guint)values[1];
  if (law == AUTO) law = (double)ks.n * (double)ks.m <= KS_EXACT_MAX ? EXACT : ASYMPTOTIC;
  double statistic = alternative == DRIFT_PLUS ? ks.d_plus : alternative == DRIFT_MINUS ? ks.d_minus : ks.distance;
  if (law == EXACT)
    set_statistic(result, statistic, drift_ks_exact_p(&ks, alternative), "exact");
  else if (law == LIMIT && alternative == DRIFT_TWO_SIDED)
    set_statistic(result, statistic, drift_ks_p(statistic, (double)ks.n, (double)ks.m), "limit law");
  else
    set_statistic(result, statistic, drift_ks_asymptotic_p(&ks, alternative), "asymptotic");
  return TRUE;
}

static gboolean run_kuiper(const DriftTwoSampleMethod *method, const DriftTwoSampleData *data, GHashTable *options,
                           DriftTestResult *result, GError **error)
{
  if (!refuse_options(method, options, error)) return FALSE;
  if (!takes(data, TRUE, result)) return TRUE;
  DriftKolmogorovSmirnov ks;
  drift_ks_compute(data->reference, data->current, &ks);
  drift_kuiper(&ks, result);
  return TRUE;
}

/* Methods with an exact law for small samples without ties. */
static const gchar *const exact_laws[] = {"auto", "exact", "limit", NULL};
static const DriftOptionSpec exact_specs[] = {{"p", 0, 0, 0, TRUE, exact_laws}};
enum { LAW_AUTO, LAW_EXACT, LAW_LIMIT };
static const gchar *const cvm_help[] = {"p=auto  exact (up to 20 values a side, no ties) or limit", NULL};
static const gchar *const mann_whitney_help[] = {"p=auto  exact (up to n m = 10,000, no ties) or limit", NULL};

static gboolean run_exact_or_limit(const DriftTwoSampleMethod *method, const DriftTwoSampleData *data,
                                   GHashTable *options, double (*exact)(double, gsize, gsize), DriftTestResult *result,
                                   GError **error)
{
  double law;
  if (!drift_options_read(method->name, options, exact_specs, 1, &law, error)) return FALSE;
  if (!takes(data, TRUE, result)) return TRUE;
  method->sample_test(data->reference, data->current, result);
  if (isnan(result->statistic) || law == LAW_LIMIT) return TRUE;
  gboolean tied = has_ties(data);
  double p = tied ? NAN : exact(result->statistic, data->reference->n, data->current->n);
  if (isnan(p) && law == LAW_EXACT) {
    result->p = NAN;
    result->p_from = NULL;
    result->undefined = tied ? "no exact law for samples with ties" : "too many values for the exact law";
  } else if (!isnan(p)) {
    result->p = p;
    result->p_from = "exact";
  }
  return TRUE;
}

static gboolean run_cramer_von_mises(const DriftTwoSampleMethod *method, const DriftTwoSampleData *data,
                                     GHashTable *options, DriftTestResult *result, GError **error)
{
  return run_exact_or_limit(method, data, options, drift_cramer_von_mises_exact_p, result, error);
}

static gboolean run_mann_whitney(const DriftTwoSampleMethod *method, const DriftTwoSampleData *data,
                                 GHashTable *options, DriftTestResult *result, GError **error)
{
  return run_exact_or_limit(method, data, options, drift_mann_whitney_exact_p, result, error);
}

static const gchar *const variants[] = {"midrank", "right", NULL};
static const gchar *const anderson_laws[] = {"limit", "interpolated", NULL};
static const DriftOptionSpec anderson_specs[] = {{"variant", 0, 0, 0, TRUE, variants},
                                                 {"p", 0, 0, 0, TRUE, anderson_laws}};
static const gchar *const anderson_help[] = {"variant=midrank  or right: right-continuous distribution functions",
                                             "p=limit          or interpolated: within [.001, .25], as scipy", NULL};

static gboolean run_anderson_darling(const DriftTwoSampleMethod *method, const DriftTwoSampleData *data,
                                     GHashTable *options, DriftTestResult *result, GError **error)
{
  double values[2];
  if (!drift_options_read(method->name, options, anderson_specs, 2, values, error)) return FALSE;
  if (!takes(data, TRUE, result)) return TRUE;
  const DriftSample *const samples[] = {data->reference, data->current};
  DriftAndersonDarling anderson;
  drift_anderson_darling(samples, 2, values[0] == 0, &anderson);
  set_statistic(result, anderson.statistic, values[1] == 0 ? anderson.p : anderson.p_interpolated,
                values[1] == 0 ? "limit law" : "interpolated");
  result->undefined = anderson.undefined;
  return TRUE;
}

/* Methods without options on samples. */
static gboolean run_sample_test(const DriftTwoSampleMethod *method, const DriftTwoSampleData *data, GHashTable *options,
                                DriftTestResult *result, GError **error)
{
  if (!refuse_options(method, options, error)) return FALSE;
  if (takes(data, TRUE, result)) method->sample_test(data->reference, data->current, result);
  return TRUE;
}

static const gchar *const scales[] = {"none", "reference", NULL};
static const DriftOptionSpec wasserstein_specs[] = {PERMUTATION_SPECS, {"scale", 0, 0, 0, TRUE, scales}};
static const gchar *const wasserstein_help[] = {
    PERMUTATION_HELP, "scale=none        or reference: divided by the reference's standard deviation (at least .001)",
    NULL};
static const gchar *const energy_help[] = {PERMUTATION_HELP, NULL};

static void run_distance(const DriftTwoSampleData *data, DriftDistance distance, double statistic, const double *values,
                         DriftTestResult *result)
{
  const DriftPermutationSettings settings = {(guint)values[PERMUTATIONS], (guint64)values[SEED]};
  drift_result_undefined(result, DRIFT_TOO_FAR_APART);
  if (isinf(statistic)) return; /* every draw would be infinite too */
  set_statistic(result, statistic, drift_distance_permutation_p(data->reference, data->current, distance, &settings),
                "permutation");
  if (!isnan(statistic)) return;
  gboolean has_values = data->reference->n > 0 && data->current->n > 0;
  result->undefined = data->reference->n_infinite + data->current->n_infinite > 0 ? DRIFT_HAS_INFINITIES
                      : has_values                                                ? DRIFT_TOO_FAR_APART
                                                                                  : DRIFT_NO_VALUES;
}

static gboolean run_wasserstein(const DriftTwoSampleMethod *method, const DriftTwoSampleData *data, GHashTable *options,
                                DriftTestResult *result, GError **error)
{
  double values[3];
  if (!drift_options_read(method->name, options, wasserstein_specs, 3, values, error)) return FALSE;
  if (!takes(data, TRUE, result)) return TRUE;
  double statistic = drift_wasserstein(data->reference, data->current);
  if (values[2] == 1) statistic /= drift_wasserstein_scale(data->reference);
  run_distance(data, DRIFT_DISTANCE_WASSERSTEIN, statistic, values, result);
  return TRUE;
}

static gboolean run_energy(const DriftTwoSampleMethod *method, const DriftTwoSampleData *data, GHashTable *options,
                           DriftTestResult *result, GError **error)
{
  double values[2];
  if (!drift_options_read(method->name, options, wasserstein_specs, 2, values, error)) return FALSE;
  if (!takes(data, TRUE, result)) return TRUE;
  run_distance(data, DRIFT_DISTANCE_ENERGY, sqrt(drift_energy_squared(data->reference, data->current)), values, result);
  return TRUE;
}

/* --- counts ------------------------------------------------------------------------------------------------------- */

/* Categories as they are; numbers in cells at the reference's quantiles. */
typedef struct {
  guint n;
  const double *reference, *current;
  double *owned; /* both, for numbers */
} Cells;

static void cells_init(Cells *cells, const DriftTwoSampleData *data, guint bins)
{
  *cells = (Cells){0, NULL, NULL, NULL};
  if (data->counts != NULL) {
    *cells = (Cells){data->counts->n_cells, data->counts->reference, data->counts->current, NULL};
    return;
  }
  g_autofree double *edges = g_new(double, bins + 1);
  guint n_edges = drift_quantile_edges(data->reference, bins, edges);
  double *counts = cells->owned = g_new0(double, 2 * (n_edges + 1));
  drift_bin_sample(data->reference, edges, n_edges, counts);
  drift_bin_sample(data->current, edges, n_edges, counts + n_edges + 1);
  *cells = (Cells){n_edges + 1, counts, counts + n_edges + 1, counts};
}

static gboolean run_count_test(const DriftTwoSampleMethod *method, const DriftTwoSampleData *data, GHashTable *options,
                               DriftTestResult *result, GError **error)
{
  double bins = 2;
  gboolean fine = method->numeric ? drift_options_read(method->name, options, &count_specs[BINS], 1, &bins, error)
                                  : refuse_options(method, options, error);
  if (!fine) return FALSE;
  if (!method->numeric && !takes(data, FALSE, result)) return TRUE;
  Cells cells;
  cells_init(&cells, data, (guint)bins);
  method->count_test(cells.reference, cells.current, cells.n, result);
  g_free(cells.owned);
  return TRUE;
}

static void run_cells(const DriftTwoSampleData *data, const Cells *cells, DriftCountStatistic statistic,
                      const double *values, DriftTestResult *result)
{
  const DriftPermutationSettings settings = {(guint)values[PERMUTATIONS], (guint64)values[SEED]};
  double distance = statistic(cells->reference, cells->current, cells->n);
  double p =
      data->counts != NULL
          ? drift_count_permutation_p(cells->reference, cells->current, cells->n, statistic, &settings)
          : drift_binned_permutation_p(data->reference, data->current, (guint)values[BINS], statistic, &settings);
  set_statistic(result, distance, p, "permutation");
  if (!isnan(distance)) return;
  double sides[2] = {0, 0};
  for (guint c = 0; c < cells->n; c++) sides[0] += cells->reference[c], sides[1] += cells->current[c];
  result->undefined = sides[0] == 0 || sides[1] == 0 ? DRIFT_NO_VALUES : "a single category";
}

static gboolean run_count_statistic(const DriftTwoSampleMethod *method, const DriftTwoSampleData *data,
                                    GHashTable *options, DriftTestResult *result, GError **error)
{
  double values[N_DISTANCE_OPTIONS];
  if (!drift_options_read(method->name, options, count_specs, N_DISTANCE_OPTIONS, values, error)) return FALSE;
  Cells cells;
  cells_init(&cells, data, (guint)values[BINS]);
  run_cells(data, &cells, method->count_statistic, values, result);
  g_free(cells.owned);
  return TRUE;
}

static const gchar *const psi_rules[] = {"strict", "floor", "zero-to", "evidently", "half", NULL};
static const DriftOptionSpec psi_specs[] = {PERMUTATION_SPECS,
                                            {"bins", 10, 2, 4096, TRUE, NULL},
                                            {"empty", DRIFT_PSI_HALF, 0, 0, TRUE, psi_rules},
                                            {"floor", 1e-4, 1e-300, .5, FALSE, NULL}};
static const gchar *const psi_help[] = {PERMUTATION_HELP, BINS_HELP,
                                        "empty=half        what an empty cell counts as: half a count everywhere; "
                                        "strict: infinite; floor; zero-to; evidently",
                                        "floor=1e-4        the share of empty=floor and empty=zero-to", NULL};

static gboolean run_psi(const DriftTwoSampleMethod *method, const DriftTwoSampleData *data, GHashTable *options,
                        DriftTestResult *result, GError **error)
{
  double values[5];
  if (!drift_options_read(method->name, options, psi_specs, 5, values, error)) return FALSE;
  Cells cells;
  cells_init(&cells, data, (guint)values[BINS]);
  /* p is of the half-count form, which is finite for every draw. */
  run_cells(data, &cells, drift_psi, values, result);
  result->statistic = drift_psi_by_rule(cells.reference, cells.current, cells.n, (DriftPsiRule)values[3], values[4]);
  g_free(cells.owned);
  return TRUE;
}

/* Kullback-Leibler with half a count in every cell: finite for every draw, where the plain one is infinite for most. */
static double kl_half(const double *reference, const double *current, guint n_cells)
{
  double n = 0, m = 0, sum = 0, half = .5 * n_cells;
  for (guint c = 0; c < n_cells; c++) n += reference[c], m += current[c];
  if (n == 0 || m == 0) return NAN;
  for (guint c = 0; c < n_cells; c++) {
    double p = (reference[c] + .5) / (n + half), q = (current[c] + .5) / (m + half);
    sum += p * log(p / q);
  }
  return sum;
}

static gboolean run_kl(const DriftTwoSampleMethod *method, const DriftTwoSampleData *data, GHashTable *options,
                       DriftTestResult *result, GError **error)
{
  double values[N_DISTANCE_OPTIONS];
  if (!drift_options_read(method->name, options, count_specs, N_DISTANCE_OPTIONS, values, error)) return FALSE;
  Cells cells;
  cells_init(&cells, data, (guint)values[BINS]);
  run_cells(data, &cells, kl_half, values, result);
  result->statistic = drift_kl_divergence(cells.reference, cells.current, cells.n);
  g_free(cells.owned);
  return TRUE;
}

/* --- self-test ---------------------------------------------------------------------------------------------------- */

/* 40 against 40: the same, then far apart (numbers 0 … 39 against 100 … 217 in steps of 3; shares .5 against .95). */
static gboolean selftest_kind(const DriftTwoSampleMethod *method, const DriftTwoSampleData *same,
                              const DriftTwoSampleData *far, GError **error)
{
  DriftTestResult calm, moved;
  if (!method->run(method, same, NULL, &calm, error) || !method->run(method, far, NULL, &moved, error)) return FALSE;
  if (calm.p > .5 && moved.p < .01) return TRUE;
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%s self-test: p %g for equal samples, %g for distant ones",
              method->name, calm.p, moved.p);
  return FALSE;
}

static gboolean selftest(const DriftTwoSampleMethod *method, GError **error)
{
  double near_values[40], far_values[40], shares[] = {20, 20}, far_shares[] = {2, 38};
  for (guint i = 0; i < 40; i++) near_values[i] = i, far_values[i] = 100 + 3 * i;
  g_autoptr(DriftSample) a = drift_sample_new(near_values, 40, error), b = drift_sample_new(far_values, 40, error);
  if (a == NULL || b == NULL) return FALSE;
  const DriftTwoSampleData same = {a, a, NULL}, far = {a, b, NULL};
  DriftCategoryCounts equal = {.n_cells = 2, .reference = shares, .current = shares},
                      moved = {.n_cells = 2, .reference = shares, .current = far_shares};
  const DriftTwoSampleData same_counts = {NULL, NULL, &equal}, far_counts = {NULL, NULL, &moved};
  return (!method->numeric || selftest_kind(method, &same, &far, error)) &&
         (!method->categorical || selftest_kind(method, &same_counts, &far_counts, error));
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

#define NUMBERS .numeric = TRUE, .selftest = selftest
#define CATEGORIES .categorical = TRUE, .selftest = selftest
#define BOTH .numeric = TRUE, .categorical = TRUE, .selftest = selftest
#define DISTANCE .option_help = count_help, .run = run_count_statistic

const DriftTwoSampleMethod drift_two_sample_methods[] = {
    {.name = "ks",
     NUMBERS,
     .summary = "Kolmogorov-Smirnov: largest difference of the distribution functions",
     .option_help = ks_help,
     .run = run_ks},
    {.name = "kuiper",
     NUMBERS,
     .summary = "Kuiper: sum of the largest differences up and down; sees spread",
     .option_help = no_help,
     .run = run_kuiper},
    {.name = "cramer_von_mises",
     NUMBERS,
     .summary = "Cramer-von Mises: mean squared difference of the same",
     .option_help = cvm_help,
     .run = run_cramer_von_mises,
     .sample_test = drift_cramer_von_mises},
    {.name = "anderson_darling",
     NUMBERS,
     .summary = "Anderson-Darling: the same, weighted towards the tails",
     .option_help = anderson_help,
     .run = run_anderson_darling},
    {.name = "mann_whitney",
     NUMBERS,
     .summary = "Mann-Whitney U: is one side larger?",
     .option_help = mann_whitney_help,
     .run = run_mann_whitney,
     .sample_test = drift_mann_whitney},
    {.name = "welch_t",
     NUMBERS,
     .summary = "difference of means, variances not assumed equal",
     .option_help = no_help,
     .run = run_sample_test,
     .sample_test = drift_welch_t},
    {.name = "student_t",
     NUMBERS,
     .summary = "difference of means, equal variances",
     .option_help = no_help,
     .run = run_sample_test,
     .sample_test = drift_student_t},
    {.name = "levene",
     NUMBERS,
     .summary = "Levene (Brown-Forsythe): difference of spread",
     .option_help = no_help,
     .run = run_sample_test,
     .sample_test = drift_levene},
    {.name = "epps_singleton",
     NUMBERS,
     .summary = "Epps-Singleton: difference of characteristic functions",
     .option_help = no_help,
     .run = run_sample_test,
     .sample_test = drift_epps_singleton},
    {.name = "wasserstein",
     NUMBERS,
     .summary = "area between the distribution functions",
     .option_help = wasserstein_help,
     .run = run_wasserstein},
    {.name = "energy", NUMBERS, .summary = "energy distance", .option_help = energy_help, .run = run_energy},
    {.name = "chi2",
     BOTH,
     .summary = "Pearson's contingency test: both sides are samples",
     .option_help = bins_help,
     .run = run_count_test,
     .count_test = drift_chi_squared_test},
    {.name = "g",
     BOTH,
     .summary = "log-likelihood ratio test of the same table",
     .option_help = bins_help,
     .run = run_count_test,
     .count_test = drift_g_test},
    {.name = "yates",
     CATEGORIES,
     .summary = "chi-squared with continuity correction, two categories",
     .option_help = no_help,
     .run = run_count_test,
     .count_test = drift_yates_test},
    {.name = "fisher",
     CATEGORIES,
     .summary = "Fisher's exact test, two categories",
     .option_help = no_help,
     .run = run_count_test,
     .count_test = drift_fisher_exact},
    {.name = "z",
     CATEGORIES,
     .summary = "two-proportion z test, two categories",
     .option_help = no_help,
     .run = run_count_test,
     .count_test = drift_two_proportion_z},
    {.name = "cramers_v",
     BOTH,
     .summary = "Cramer's V: chi-squared as an effect in [0, 1]",
     DISTANCE,
     .count_statistic = drift_cramers_v},
    {.name = "psi", BOTH, .summary = "population stability index", .option_help = psi_help, .run = run_psi},
    {.name = "js", BOTH, .summary = "Jensen-Shannon distance, base 2", DISTANCE, .count_statistic = drift_js_distance},
    {.name = "kl",
     BOTH,
     .summary = "Kullback-Leibler divergence of the reference from the current, nats; p: half a count in every cell",
     .option_help = count_help,
     .run = run_kl},
    {.name = "hellinger", BOTH, .summary = "Hellinger distance", DISTANCE, .count_statistic = drift_hellinger},
    {.name = "tvd", BOTH, .summary = "total variation distance", DISTANCE, .count_statistic = drift_total_variation},
    {.name = "l_infinity",
     BOTH,
     .summary = "largest difference of a share",
     DISTANCE,
     .count_statistic = drift_l_infinity},
    {.name = NULL},
};

const DriftTwoSampleMethod *drift_two_sample_find(const gchar *name)
{
  for (const DriftTwoSampleMethod *method = drift_two_sample_methods; method->name != NULL; method++)
    if (g_strcmp0(method->name, name) == 0) return method;
  return NULL;
}
