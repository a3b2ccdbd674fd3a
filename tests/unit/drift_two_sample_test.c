/* The two-sample tests: against enumeration, on degenerate input, and p-values under the null. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/binned.h"
#include "drift/statistics.h"
#include "drift/two_sample_internal.h"
#include "drift/two_sample_method.h"

#define TOLERANCE 1e-12

static double next_normal(guint64 *state)
{
  double u = drift_random_uniform(state), v = drift_random_uniform(state);
  return sqrt(-2 * log(1 - u)) * cos(2 * G_PI * v);
}

static DriftSample *sample_of(const double *values, gsize n)
{
  DriftSample *sample = drift_sample_new(values, n, NULL);
  ck_assert_ptr_nonnull(sample);
  return sample;
}

static DriftSample *normal_sample(guint64 *state, gsize n, double shift)
{
  g_autofree double *values = g_new(double, n + 1);
  for (gsize i = 0; i < n; i++) values[i] = next_normal(state) + shift;
  return sample_of(values, n);
}

/* --- sorting ------------------------------------------------------------------------------------------------------ */

static int compare_numbers(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

START_TEST(sorting_agrees_with_qsort)
{
  static const gsize sizes[] = {0, 1, 2, 47, 48, 49, 300, 4095, 4096, 20000};
  guint64 state = 1;
  for (guint k = 0; k < G_N_ELEMENTS(sizes); k++) {
    gsize n = sizes[k];
    g_autofree double *values = g_new(double, n + 1), *expected = g_new(double, n + 1);
    for (gsize i = 0; i < n; i++) {
      values[i] = next_normal(&state) * exp(40 * next_normal(&state));
      if (i % 17 == 0) values[i] = i % 2 == 0 ? INFINITY : -INFINITY;
      if (i % 13 == 0) values[i] = (double)(i % 5);
    }
    memcpy(expected, values, n * sizeof(double));
    qsort(expected, n, sizeof(double), compare_numbers);
    ck_assert(drift_sort(values, n));
    for (gsize i = 0; i < n; i++) ck_assert(values[i] == expected[i]);
  }
}
END_TEST

typedef double (*Draw)(guint64 *state);

static double draw_positive(guint64 *state)
{
  return exp(next_normal(state));
}
static double draw_heavy(guint64 *state)
{
  return tan(3.14159 * (drift_random_uniform(state) - .5));
}
static double draw_few(guint64 *state)
{
  return floor(5 * drift_random_uniform(state)) - 2;
}
static double draw_zeros(guint64 *state)
{
  double u = drift_random_uniform(state); /* few enough of them for the sort by value */
  return u < .001 ? -0. : u < .002 ? 0 : next_normal(state);
}
static double draw_narrow(guint64 *state)
{
  return 1 + floor(40 * drift_random_uniform(state)) * 0x1p-52;
}
static double draw_tiny(guint64 *state)
{
  return floor(9 * drift_random_uniform(state)) * 4.9e-324;
}
static double draw_huge(guint64 *state)
{
  return 1.7e308 * (1.8 * drift_random_uniform(state) - .9);
}
/* Spread as a whole, but with a crowd that needs many moves. */
static double draw_crowd(guint64 *state)
{
  return drift_random_uniform(state) < .01 ? drift_random_uniform(state) : .5 + 1e-9 * drift_random_uniform(state);
}

/* Laws that the sort by value takes, and laws that it must leave to the sort by bits. */
START_TEST(large_samples_of_any_law_are_sorted)
{
  static const Draw draws[] = {next_normal, draw_positive, draw_heavy, draw_few,  draw_zeros,
                               draw_narrow, draw_tiny,     draw_huge,  draw_crowd};
  static const gsize sizes[] = {4096, 4097, 60000};
  guint64 state = 3;
  for (guint k = 0; k < G_N_ELEMENTS(draws) * G_N_ELEMENTS(sizes); k++) {
    gsize n = sizes[k % 3], negative_zeros = 0, seen = 0;
    g_autofree double *values = g_new(double, n), *expected = g_new(double, n);
    for (gsize i = 0; i < n; i++) {
      values[i] = draws[k / 3](&state);
      negative_zeros += values[i] == 0 && signbit(values[i]);
    }
    memcpy(expected, values, n * sizeof(double));
    qsort(expected, n, sizeof(double), compare_numbers);
    ck_assert(drift_sort(values, n));
    for (gsize i = 0; i < n; i++) {
      ck_assert_msg(values[i] == expected[i], "law %u, n %zu, value %zu", k / 3, n, i);
      if (values[i] != 0 || !signbit(values[i])) continue;
      seen++;
      ck_assert(i == 0 || values[i - 1] < 0 || signbit(values[i - 1]));
    }
    ck_assert_uint_eq(seen, negative_zeros);
  }
}
END_TEST

START_TEST(quantiles_interpolate)
{
  const double values[] = {4, 1, 3, 2, NAN};
  g_autoptr(DriftSample) sample = sample_of(values, 5);
  ck_assert_uint_eq(sample->n, 4);
  ck_assert_uint_eq(sample->n_missing, 1);
  ck_assert_double_eq_tol(drift_sample_quantile(sample, .5), 2.5, TOLERANCE);
  ck_assert_double_eq_tol(drift_sample_quantile(sample, .25), 1.75, TOLERANCE);
  ck_assert_double_eq(drift_sample_quantile(sample, 1), 4);
}
END_TEST

/* --- exact laws against all splits of 1 … n + m ------------------------------------------------------------------- */

enum { SMALL_N = 5, SMALL_M = 4, SMALL_TOTAL = SMALL_N + SMALL_M };

static void split(guint mask, double *a, double *b)
{
  guint i = 0, j = 0;
  for (guint v = 0; v < SMALL_TOTAL; v++)
    if (mask >> v & 1)
      a[i++] = v;
    else
      b[j++] = v;
}

typedef double (*Statistic)(const DriftSample *a, const DriftSample *b);

static double ks_distance(const DriftSample *a, const DriftSample *b)
{
  DriftKolmogorovSmirnov ks;
  drift_ks_compute(a, b, &ks);
  return ks.distance;
}

static double ks_plus(const DriftSample *a, const DriftSample *b)
{
  DriftKolmogorovSmirnov ks;
  drift_ks_compute(a, b, &ks);
  return ks.d_plus;
}

static double cvm_statistic(const DriftSample *a, const DriftSample *b)
{
  DriftTestResult result;
  drift_cramer_von_mises(a, b, &result);
  return result.statistic;
}

static double u_distance(const DriftSample *a, const DriftSample *b)
{
  DriftTestResult result;
  drift_mann_whitney(a, b, &result);
  return fabs(result.statistic - SMALL_N * SMALL_M / 2.);
}

/* The share of splits at least as extreme as this one. */
static double enumerate(Statistic statistic, double observed)
{
  guint all = 0, extreme = 0;
  for (guint mask = 0; mask < 1u << SMALL_TOTAL; mask++) {
    double x[SMALL_TOTAL], y[SMALL_TOTAL];
    if (__builtin_popcount(mask) != SMALL_N) continue;
    split(mask, x, y);
    g_autoptr(DriftSample) a = sample_of(x, SMALL_N), b = sample_of(y, SMALL_M);
    all++;
    extreme += statistic(a, b) >= observed - 1e-9;
  }
  return (double)extreme / all;
}

START_TEST(exact_laws_agree_with_enumeration)
{
  static const guint masks[] = {0x1f, 0x155, 0x0b3, 0x1f0, 0x0f8};
  for (guint k = 0; k < G_N_ELEMENTS(masks); k++) {
    double x[SMALL_TOTAL], y[SMALL_TOTAL];
    ck_assert_int_eq(__builtin_popcount(masks[k]), SMALL_N);
    split(masks[k], x, y);
    g_autoptr(DriftSample) a = sample_of(x, SMALL_N), b = sample_of(y, SMALL_M);
    DriftKolmogorovSmirnov ks;
    drift_ks_compute(a, b, &ks);
    ck_assert_double_eq_tol(drift_ks_exact_p(&ks, DRIFT_TWO_SIDED), enumerate(ks_distance, ks.distance), TOLERANCE);
    ck_assert_double_eq_tol(drift_ks_exact_p(&ks, DRIFT_PLUS), enumerate(ks_plus, ks.d_plus), TOLERANCE);
    double t = cvm_statistic(a, b), u = u_distance(a, b);
    ck_assert_double_eq_tol(drift_cramer_von_mises_exact_p(t, SMALL_N, SMALL_M), enumerate(cvm_statistic, t),
                            TOLERANCE);
    ck_assert_double_eq_tol(drift_mann_whitney_exact_p(SMALL_N * SMALL_M / 2. + u, SMALL_N, SMALL_M),
                            enumerate(u_distance, u), TOLERANCE);
  }
}
END_TEST

/* scipy.special.smirnov 1.17.1; n large enough for the sum over every s-th term. */
START_TEST(one_sided_law_of_large_samples)
{
  static const struct {
    guint64 n;
    double d, p;
  } cases[] = {{50000, .0107, 1.0581810748597615e-05},
               {50000, .005, .0818116087310516},
               {200000, .004, .0016571064112801276},
               {1000000, .0012, .05608985717220825},
               {8193, .02, .0014044075065873481}};
  for (guint k = 0; k < G_N_ELEMENTS(cases); k++)
    ck_assert_double_eq_tol(drift_smirnov_sf(cases[k].d, cases[k].n) / cases[k].p, 1, 1e-11);
}
END_TEST

/* P(D_n < d) for n = 1 and 2 by hand: n = 1: D = max(u, 1 - u). */
START_TEST(one_sample_law)
{
  ck_assert_double_eq_tol(drift_kolmogorov_sf(.75, 1), .5, TOLERANCE);
  ck_assert_double_eq_tol(drift_smirnov_sf(.3, 1), .7, TOLERANCE);
  ck_assert_double_eq(drift_kolmogorov_sf(1, 7), 0);
  ck_assert_double_eq(drift_kolmogorov_sf(.5, 1), 1);
  ck_assert(isnan(drift_kolmogorov_sf(.5, 0)));
  /* The methods meet: at each border of their domains both must agree. */
  for (guint64 n = 139; n <= 143; n++)
    for (double d = .02; d < .3; d += .01)
      ck_assert_double_eq_tol(drift_kolmogorov_sf(d, n) / drift_kolmogorov_sf(d * sqrt(n / 140.), 140), 1, .05);
  /* Massart's bound 2 exp(-2 n d^2), and the limit law for large n. */
  for (double z = .6; z < 4; z += .1) {
    double p = drift_kolmogorov_sf(z / 1000, 1000000);
    ck_assert(p <= 2 * exp(-2 * z * z));
    ck_assert_double_eq_tol(p / drift_ks_p(z / 1000, 2000000, 2000000), 1, .01);
  }
}
END_TEST

/* --- p under the null --------------------------------------------------------------------------------------------- */

enum { NULL_RUNS = 400, NULL_N = 60, NULL_M = 45 };

static DriftCategoryCounts *random_counts(guint64 *state, guint k, guint n, guint m)
{
  DriftCategoryCounts *counts = g_new0(DriftCategoryCounts, 1);
  counts->n_cells = k;
  counts->reference = g_new0(double, k);
  counts->current = g_new0(double, k);
  for (guint i = 0; i < n; i++) counts->reference[(guint)(drift_random_uniform(state) * k)]++;
  for (guint i = 0; i < m; i++) counts->current[(guint)(drift_random_uniform(state) * k)]++;
  return counts;
}

/* Shares of p at or below the level: never above it beyond the simulation's error (4 deviations), and not idle. */
static void check_null(const DriftTwoSampleMethod *method, gboolean numeric)
{
  static const double levels[] = {.05, .2, .5};
  guint below[3] = {0, 0, 0};
  guint64 state = 12345;
  g_autoptr(GHashTable) options = g_hash_table_new(g_str_hash, g_str_equal);
  gboolean draws = method->option_help[0] != NULL && g_str_has_prefix(method->option_help[0], "permutations");
  if (draws) g_hash_table_insert(options, (gpointer) "permutations", (gpointer) "199");
  for (guint run = 0; run < NULL_RUNS; run++) {
    g_autoptr(DriftSample) a = numeric ? normal_sample(&state, NULL_N, 0) : NULL;
    g_autoptr(DriftSample) b = numeric ? normal_sample(&state, NULL_M, 0) : NULL;
    g_autoptr(DriftCategoryCounts) counts = numeric ? NULL : random_counts(&state, 2, 8 * NULL_N, 8 * NULL_M);
    const DriftTwoSampleData data = {a, b, counts};
    DriftTestResult result;
    ck_assert(method->run(method, &data, options, &result, NULL));
    ck_assert_msg(result.p >= 0 && result.p <= 1, "%s: p %g", method->name, result.p);
    if (draws) ck_assert(result.p > 0);
    for (guint l = 0; l < 3; l++) below[l] += result.p <= levels[l];
  }
  for (guint l = 0; l < 3; l++) {
    double error = sqrt(levels[l] * (1 - levels[l]) / NULL_RUNS), rate = (double)below[l] / NULL_RUNS;
    ck_assert_msg(rate <= levels[l] + 4 * error, "%s rejects %g at %g", method->name, rate, levels[l]);
  }
  /* Discrete and limit laws may be conservative, none is by half at the middle. */
  ck_assert_msg(below[2] > .3 * NULL_RUNS, "%s: p <= .5 in only %u of %u", method->name, below[2], NULL_RUNS);
}

/* The walk over all distinct values, which drift_ks_compute leaves out where they cannot matter. */
static void assert_walk_agrees(const DriftSample *a, const DriftSample *b)
{
  DriftKolmogorovSmirnov ks;
  DriftPooled pooled = {.reference = a, .current = b};
  gint64 difference = 0, largest = 0, smallest = 0;
  double at_largest = a->sorted[0], at_smallest = a->sorted[0];
  while (drift_pooled_next(&pooled)) {
    difference += (gint64)(pooled.n_here * b->n) - (gint64)(pooled.m_here * a->n);
    if (difference > largest) largest = difference, at_largest = pooled.value;
    if (difference < smallest) smallest = difference, at_smallest = pooled.value;
  }
  drift_ks_compute(a, b, &ks);
  ck_assert_int_eq((gint64)ks.plus, largest);
  ck_assert_int_eq((gint64)ks.minus, -smallest);
  ck_assert(ks.location == (largest >= -smallest ? at_largest : at_smallest));
}

START_TEST(leaving_values_out_changes_no_distance)
{
  static const double shifts[] = {0, 0, .02, -.1, 2, -3};
  guint64 state = 12;
  for (guint trial = 0; trial < 3000; trial++) {
    gsize most = trial % 20 == 0 ? 20000 : 300;
    gsize sizes[2] = {1 + drift_random_next(&state) % most, 1 + drift_random_next(&state) % most};
    DriftSample *sides[2];
    double shift = shifts[drift_random_next(&state) % G_N_ELEMENTS(shifts)];
    for (guint side = 0; side < 2; side++) {
      g_autofree double *values = g_new(double, sizes[side]);
      for (gsize i = 0; i < sizes[side]; i++) {
        double x = next_normal(&state) + shift * side;
        if (trial % 5 == 1) x = floor(x * 3);
        if (trial % 5 == 2) x = drift_random_next(&state) % 20 == 0 ? copysign(INFINITY, x) : floor(x * 500);
        values[i] = trial % 5 == 3 ? 7 : x;
      }
      sides[side] = sample_of(values, sizes[side]);
    }
    assert_walk_agrees(sides[0], sides[1]);
    drift_sample_free(sides[0]);
    drift_sample_free(sides[1]);
  }
}
END_TEST

START_TEST(p_is_uniform_under_the_null)
{
  for (const DriftTwoSampleMethod *method = drift_two_sample_methods; method->name != NULL; method++) {
    if (method->numeric) check_null(method, TRUE);
    if (method->categorical) check_null(method, FALSE);
  }
}
END_TEST

START_TEST(every_method_passes_its_self_test)
{
  for (const DriftTwoSampleMethod *method = drift_two_sample_methods; method->name != NULL; method++) {
    g_autoptr(GError) error = NULL;
    ck_assert_msg(method->selftest(method, &error), "%s", error != NULL ? error->message : method->name);
  }
}
END_TEST

/* --- symmetry, order ---------------------------------------------------------------------------------------------- */

START_TEST(symmetric_statistics_are_symmetric)
{
  static const gchar *const names[] = {"ks",     "kuiper",      "cramer_von_mises", "anderson_darling", "levene",
                                       "energy", "wasserstein", "welch_t",          "mann_whitney",     NULL};
  guint64 state = 5;
  g_autoptr(DriftSample) a = normal_sample(&state, 31, 0), b = normal_sample(&state, 77, .4);
  const DriftTwoSampleData forward = {a, b, NULL}, backward = {b, a, NULL};
  g_autoptr(GHashTable) none = g_hash_table_new(g_str_hash, g_str_equal);
  g_hash_table_insert(none, (gpointer) "permutations", (gpointer) "0");
  for (guint i = 0; names[i] != NULL; i++) {
    const DriftTwoSampleMethod *method = drift_two_sample_find(names[i]);
    gboolean draws = method->option_help[0] != NULL && g_str_has_prefix(method->option_help[0], "permutations");
    DriftTestResult left, right;
    ck_assert(method->run(method, &forward, draws ? none : NULL, &left, NULL));
    ck_assert(method->run(method, &backward, draws ? none : NULL, &right, NULL));
    if (!draws) ck_assert_msg(fabs(left.p - right.p) < 1e-9, "%s: p %g and %g", names[i], left.p, right.p);
    if (i < 7) ck_assert_msg(fabs(left.statistic - right.statistic) < 1e-9, "%s", names[i]);
  }
}
END_TEST

/* --- degenerate input --------------------------------------------------------------------------------------------- */

static void check_defined(const double *x, gsize n, const double *y, gsize m, const gchar *what)
{
  g_autoptr(DriftSample) a = sample_of(x, n), b = sample_of(y, m);
  const DriftTwoSampleData data = {a, b, NULL};
  for (const DriftTwoSampleMethod *method = drift_two_sample_methods; method->name != NULL; method++) {
    DriftTestResult result;
    ck_assert(method->run(method, &data, NULL, &result, NULL));
    gboolean nan = isnan(result.statistic) || isnan(result.p);
    ck_assert_msg(nan == (result.undefined != NULL), "%s on %s: statistic %g, p %g, reason %s", method->name, what,
                  result.statistic, result.p, result.undefined);
    ck_assert_msg(nan || (result.p >= 0 && result.p <= 1), "%s on %s: p %g", method->name, what, result.p);
  }
}

START_TEST(degenerate_samples_are_defined_or_say_why)
{
  const double constant[] = {2, 2, 2, 2, 2, 2}, other[] = {3, 3, 3, 3, 3},
               infinite[] = {-INFINITY, 0, 1, 2, INFINITY, 5}, missing[] = {NAN, NAN, NAN},
               tied[] = {0, 0, 1, 1, 1, 2, 2}, huge[] = {1e308, -1e308, 1e308, 1e307, 5, 6};
  check_defined(constant, 6, constant, 6, "the same constant");
  check_defined(constant, 6, other, 5, "two constants");
  check_defined(constant, 1, other, 1, "one value a side");
  check_defined(constant, 1, constant, 1, "one equal value a side");
  check_defined(constant, 0, other, 5, "an empty reference");
  check_defined(constant, 6, other, 0, "an empty current side");
  check_defined(constant, 0, other, 0, "nothing");
  check_defined(missing, 3, tied, 7, "NaN only");
  check_defined(infinite, 6, tied, 7, "infinities");
  check_defined(tied, 7, infinite, 6, "infinities on the other side");
  check_defined(huge, 6, huge, 6, "values whose squares overflow");
  check_defined(huge, 6, tied, 7, "the same against ties");
}
END_TEST

/* Sums that overflow or vanish are no statistics: p was 1 for the first two, 0 for the others. */
START_TEST(values_beyond_arithmetic_are_undefined)
{
  static const struct {
    const gchar *method, *reason;
    double scale;
  } cases[] = {{"wasserstein", DRIFT_TOO_FAR_APART, 1.7e308},
               {"energy", DRIFT_TOO_FAR_APART, 1.7e308},
               {"welch_t", "the values differ by too little to be squared", 1e-310},
               {"student_t", "the values differ by too little to be squared", 1e-200},
               {"levene", "the values differ by too little to be squared", 1e-200}};
  for (guint k = 0; k < G_N_ELEMENTS(cases); k++) {
    double low[8], high[8];
    for (guint i = 0; i < 8; i++) {
      low[i] = cases[k].scale * (i % 2 == 0 ? -1 : .9);
      high[i] = cases[k].scale * (i % 4 == 0 ? -1 : 1);
    }
    g_autoptr(DriftSample) a = sample_of(low, 8), b = sample_of(high, 8);
    const DriftTwoSampleData data = {a, b, NULL};
    const DriftTwoSampleMethod *method = drift_two_sample_find(cases[k].method);
    DriftTestResult result;
    ck_assert(method->run(method, &data, NULL, &result, NULL));
    ck_assert_msg(isnan(result.p) && g_strcmp0(result.undefined, cases[k].reason) == 0, "%s: p %g, reason %s",
                  method->name, result.p, result.undefined);
  }
}
END_TEST

START_TEST(infinities_are_extreme_values_to_ranks)
{
  const double x[] = {-INFINITY, 1, 2, 3, INFINITY}, y[] = {-1e300, 1, 2, 3, 1e300}, z[] = {.5, 1.5, 2.5};
  g_autoptr(DriftSample) a = sample_of(x, 5), b = sample_of(y, 5), c = sample_of(z, 3);
  ck_assert_double_eq(ks_distance(a, c), ks_distance(b, c));
  ck_assert_double_eq(cvm_statistic(a, c), cvm_statistic(b, c));
  DriftTestResult t;
  drift_welch_t(a, c, &t);
  ck_assert(isnan(t.statistic));
  ck_assert_str_eq(t.undefined, DRIFT_HAS_INFINITIES);
}
END_TEST

START_TEST(options_are_checked)
{
  guint64 state = 1;
  g_autoptr(DriftSample) a = normal_sample(&state, 10, 0);
  const DriftTwoSampleData data = {a, a, NULL};
  static const gchar *const bad[][3] = {{"ks", "p", "sometimes"},
                                        {"ks", "seed", "1"},
                                        {"psi", "bins", "1"},
                                        {"wasserstein", "permutations", "-1"},
                                        {"kuiper", "x", "1"}};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    const DriftTwoSampleMethod *method = drift_two_sample_find(bad[i][0]);
    g_autoptr(GHashTable) options = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GError) error = NULL;
    DriftTestResult result;
    g_hash_table_insert(options, (gpointer)bad[i][1], (gpointer)bad[i][2]);
    ck_assert(!method->run(method, &data, options, &result, &error));
    ck_assert(strstr(error->message, bad[i][1]) != NULL);
  }
  ck_assert_ptr_null(drift_two_sample_find("kolmogorov"));
}
END_TEST

/* --- one-sided, permutation --------------------------------------------------------------------------------------- */

START_TEST(one_sided_distances_name_the_side)
{
  const double low[] = {1, 2, 3, 4, 5, 6, 7, 8}, high[] = {11, 12, 13, 14, 15, 16, 17, 18};
  g_autoptr(DriftSample) a = sample_of(low, 8), b = sample_of(high, 8);
  DriftKolmogorovSmirnov ks;
  drift_ks_compute(a, b, &ks);
  ck_assert_double_eq(ks.d_plus, 1);
  ck_assert_double_eq(ks.d_minus, 0);
  ck_assert_int_eq(ks.sign, 1);
  ck_assert_double_eq_tol(drift_ks_exact_p(&ks, DRIFT_PLUS), 1 / 12870., TOLERANCE);
  ck_assert_double_eq(drift_ks_exact_p(&ks, DRIFT_MINUS), 1);
  ck_assert(drift_ks_asymptotic_p(&ks, DRIFT_PLUS) < .01);
}
END_TEST

START_TEST(permutation_p_is_never_zero_and_repeats)
{
  guint64 state = 3;
  g_autoptr(DriftSample) a = normal_sample(&state, 50, 0), b = normal_sample(&state, 50, 9);
  const DriftPermutationSettings settings = {99, 7}, other = {99, 8};
  ck_assert_double_eq_tol(drift_distance_permutation_p(a, b, DRIFT_DISTANCE_ENERGY, &settings), .01, TOLERANCE);
  g_autoptr(DriftSample) c = normal_sample(&state, 50, .2);
  double p = drift_distance_permutation_p(a, c, DRIFT_DISTANCE_WASSERSTEIN, &settings);
  ck_assert_double_eq(p, drift_distance_permutation_p(a, c, DRIFT_DISTANCE_WASSERSTEIN, &settings));
  ck_assert(fabs(p - drift_distance_permutation_p(a, c, DRIFT_DISTANCE_WASSERSTEIN, &other)) < .3);
  const double counts[] = {500, 0}, others[] = {0, 500};
  ck_assert_double_eq_tol(drift_count_permutation_p(counts, others, 2, drift_js_distance, &settings), .01, TOLERANCE);
}
END_TEST

/* The exact test and a permutation test of the same statistic must agree. */
START_TEST(permuted_tables_keep_their_margins)
{
  const double reference[] = {12, 5, 3}, current[] = {6, 9, 8};
  const DriftPermutationSettings settings = {20000, 1};
  DriftTestResult chi_squared;
  drift_chi_squared_test(reference, current, 3, &chi_squared);
  double p = drift_count_permutation_p(reference, current, 3, drift_cramers_v, &settings);
  ck_assert_double_eq_tol(p, chi_squared.p, .1);
  const double two[] = {12, 8}, three[] = {5, 14};
  DriftTestResult fisher;
  drift_fisher_exact(two, three, 2, &fisher);
  p = drift_count_permutation_p(two, three, 2, drift_total_variation, &settings);
  ck_assert_double_eq_tol(p, fisher.p, .03);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift two-sample tests");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, sorting_agrees_with_qsort);
  tcase_add_test(tests, large_samples_of_any_law_are_sorted);
  tcase_add_test(tests, one_sided_law_of_large_samples);
  tcase_add_test(tests, quantiles_interpolate);
  tcase_add_test(tests, exact_laws_agree_with_enumeration);
  tcase_add_test(tests, one_sample_law);
  tcase_add_test(tests, leaving_values_out_changes_no_distance);
  tcase_add_test(tests, p_is_uniform_under_the_null);
  tcase_add_test(tests, every_method_passes_its_self_test);
  tcase_add_test(tests, symmetric_statistics_are_symmetric);
  tcase_add_test(tests, degenerate_samples_are_defined_or_say_why);
  tcase_add_test(tests, values_beyond_arithmetic_are_undefined);
  tcase_add_test(tests, infinities_are_extreme_values_to_ranks);
  tcase_add_test(tests, options_are_checked);
  tcase_add_test(tests, one_sided_distances_name_the_side);
  tcase_add_test(tests, permutation_p_is_never_zero_and_repeats);
  tcase_add_test(tests, permuted_tables_keep_their_margins);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
