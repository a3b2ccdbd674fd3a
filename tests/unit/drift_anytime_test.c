/* The guarantees of the anytime-valid methods, simulated with named seeds: each is an upper bound, tested at its bound
 * plus three standard errors, beside a test that the method finds what it is for. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "drift/anytime.h"
#include "drift/detector.h"

static guint64 generator_state;
static double next_uniform(void)
{
  generator_state = generator_state * G_GUINT64_CONSTANT(6364136223846793005) + G_GUINT64_CONSTANT(1442695040888963407);
  return (double)(generator_state >> 11) / 9007199254740992.0;
}

static double next_normal(void)
{
  double radius = sqrt(-2 * log(1 - next_uniform()));
  return radius * cos(2 * G_PI * next_uniform());
}

/* A run's seed: runs must not be shifted copies of one another. */
static void seed(guint64 run)
{
  generator_state = run * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  generator_state ^= generator_state >> 29;
  for (guint i = 0; i < 3; i++) next_uniform();
}

static void check_rate(guint count, guint runs, double alpha)
{
  double rate = (double)count / runs, error = sqrt(alpha * (1 - alpha) / runs);
  ck_assert_msg(rate <= alpha + 3 * error, "%u of %u, allowed %g", count, runs, alpha);
}

static DriftDetector *make(const gchar *name, ...) G_GNUC_NULL_TERMINATED;
static DriftDetector *make(const gchar *name, ...)
{
  g_autoptr(GHashTable) options = g_hash_table_new(g_str_hash, g_str_equal);
  va_list arguments;
  va_start(arguments, name);
  for (gchar *key = va_arg(arguments, gchar *); key != NULL; key = va_arg(arguments, gchar *))
    g_hash_table_insert(options, key, va_arg(arguments, gchar *));
  va_end(arguments);
  g_autoptr(GError) error = NULL;
  DriftDetector *detector = drift_detector_new(name, options, &error);
  ck_assert_msg(detector != NULL, "%s", error != NULL ? error->message : "");
  return detector;
}

/* ---- e-detector ---- */

static double uniform_value(guint row)
{
  (void)row;
  return next_uniform();
}

static double error_value(guint row)
{
  (void)row;
  return next_uniform() < .3;
}

/* Dependent, each value's mean given the past at most .5. */
static double memory;
static double dependent_value(guint row)
{
  if (row == 0) memory = .5;
  double value = next_uniform() < (memory > .6 ? .2 : .5);
  memory = .9 * memory + .1 * value;
  return value;
}

/* Mean time to the first alarm over `runs`, each cut at 20 / alpha (which can only lower it). */
static double mean_run_length(DriftDetector *detector, double alpha, double (*value)(guint row), guint runs)
{
  double total = 0;
  guint most = (guint)(20 / alpha);
  for (guint run = 0; run < runs; run++) {
    seed(run + 1);
    drift_detector_reset(detector);
    guint row = 0;
    while (row < most && drift_detector_update(detector, value(row)) != DRIFT_SIGNAL_DRIFT) row++;
    total += row + 1;
  }
  return total / runs;
}

START_TEST(e_detector_keeps_its_run_length)
{
  const struct {
    const gchar *kind, *direction, *mu0;
    double (*value)(guint row);
  } cases[] = {{"sr", "up", "0.5", uniform_value},   {"sr", "both", "0.5", uniform_value},
               {"sr", "up", "0.3", error_value},     {"sr", "down", "0.3", error_value},
               {"cusum", "up", "0.3", error_value},  {"cusum", "both", "0.5", uniform_value},
               {"sr", "up", "0.5", dependent_value}, {"cusum", "up", "0.5", dependent_value}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(DriftDetector) detector = make("e-detector", "alpha", "0.01", "kind", cases[i].kind, "direction",
                                             cases[i].direction, "mu0", cases[i].mu0, NULL);
    double length = mean_run_length(detector, .01, cases[i].value, 400);
    ck_assert_msg(length >= 100, "case %u: %g", i, length);
  }
}
END_TEST

/* Run length is not rarity: nothing promises that few runs alarm by row 1/alpha. */
START_TEST(e_detector_run_length_is_not_rarity)
{
  g_autoptr(DriftDetector) detector = make("e-detector", "alpha", "0.01", "direction", "up", "mu0", "0.3", NULL);
  guint alarmed = 0;
  for (guint run = 0; run < 400; run++) {
    seed(run + 1);
    drift_detector_reset(detector);
    gboolean any = FALSE;
    for (guint row = 0; row < 100; row++)
      any = any || drift_detector_update(detector, error_value(row)) == DRIFT_SIGNAL_DRIFT;
    alarmed += any;
  }
  ck_assert_uint_gt(alarmed, 20);
}
END_TEST

START_TEST(e_detector_finds_changes_from_its_own_reference)
{
  g_autoptr(DriftDetector) detector = make("e-detector", NULL);
  seed(77);
  guint early = 0;
  gint64 first = -1;
  for (gint64 row = 0; row < 6000; row++) {
    double value = next_uniform() < (row < 4000 ? .3 : .1);
    if (drift_detector_update(detector, value) != DRIFT_SIGNAL_DRIFT) continue;
    early += row < 4000;
    if (row >= 4000 && first < 0) {
      first = row;
      ck_assert_int_lt(llabs(drift_detector_get_change_point(detector) - 4000), 150);
    }
  }
  ck_assert_uint_eq(early, 0);
  ck_assert(first > 4000 && first < 4400);
}
END_TEST

/* The linear domain would overflow: evidence of thousands is told, finite. */
START_TEST(e_detector_works_in_logs)
{
  g_autoptr(DriftDetector) detector = make("e-detector", "mu0", "0.1", "alpha", "1e-300", "direction", "up", NULL);
  double evidence = 0, threshold;
  for (guint row = 0; row < 200; row++) {
    drift_detector_update(detector, 1);
    drift_detector_get_evidence(detector, &evidence, &threshold);
    ck_assert(!isnan(evidence) && evidence < 5000);
  }
}
END_TEST

/* ---- conformal ---- */

/* Capacity below the length: beginning the reference again must keep the guarantee; ties too. */
START_TEST(conformal_alarms_rarely_on_exchangeable_rows)
{
  g_autoptr(DriftDetector) detector = make("conformal", "alpha", "0.05", "capacity", "300", NULL);
  for (guint tied = 0; tied < 2; tied++) {
    guint alarmed = 0;
    for (guint run = 0; run < 400; run++) {
      seed(run + 1000);
      drift_detector_reset(detector);
      gboolean any = FALSE;
      for (guint row = 0; row < 1500; row++) {
        double value = tied != 0 ? floor(4 * next_uniform()) : next_normal();
        any = any || drift_detector_update(detector, value) == DRIFT_SIGNAL_DRIFT;
      }
      alarmed += any;
    }
    check_rate(alarmed, 400, .05);
  }
}
END_TEST

START_TEST(conformal_finds_changes)
{
  g_autoptr(DriftDetector) detector = make("conformal", NULL);
  seed(5);
  gint64 first = -1;
  for (gint64 row = 0; row < 3000 && first < 0; row++)
    if (drift_detector_update(detector, next_normal() + (row >= 2000 ? 1 : 0)) == DRIFT_SIGNAL_DRIFT) first = row;
  ck_assert(first >= 2000 && first < 2200);
  ck_assert_int_lt(llabs(drift_detector_get_change_point(detector) - 2000), 100);
}
END_TEST

/* ---- betting ---- */

START_TEST(betting_alarms_rarely_under_the_null)
{
  guint alarmed = 0, alarmed_one_sided = 0, alarmed_dependent = 0;
  for (guint run = 0; run < 1000; run++) {
    DriftBetting both, up, dependent;
    gboolean any = FALSE, any_up = FALSE, any_dependent = FALSE;
    seed(run + 1);
    drift_betting_start(&both, FALSE);
    drift_betting_start(&up, TRUE);
    drift_betting_start(&dependent, FALSE);
    double scale = 1;
    for (guint row = 0; row < 1000; row++) {
      double d = 2 * next_uniform() - 1;
      any = drift_betting_add(&both, d) >= log(20) || any;
      any_up = drift_betting_add(&up, MIN(d, 1) - .05) >= log(20) || any_up;
      any_dependent = drift_betting_add(&dependent, scale * d) >= log(20) || any_dependent; /* mean 0 given the past */
      scale = fabs(d) > .5 ? 1 : .1;
    }
    alarmed += any;
    alarmed_one_sided += any_up;
    alarmed_dependent += any_dependent;
  }
  check_rate(alarmed, 1000, .05);
  check_rate(alarmed_one_sided, 1000, .05);
  check_rate(alarmed_dependent, 1000, .05);
}
END_TEST

START_TEST(paired_betting_compares_two_streams)
{
  guint alarmed = 0, found = 0;
  for (guint run = 0; run < 300; run++) {
    DriftPairedBetting same, moved;
    gboolean any = FALSE;
    seed(run + 1);
    drift_paired_betting_start(&same);
    drift_paired_betting_start(&moved);
    for (guint row = 0; row < 800; row++) {
      double x = next_normal(), y = next_normal();
      any = drift_paired_betting_add(&same, exp(x), exp(y)) >= log(20) || any;
      drift_paired_betting_add(&moved, x, y + .5);
    }
    alarmed += any;
    found += moved.betting.log_capital >= log(20);
  }
  check_rate(alarmed, 300, .05);
  ck_assert_uint_gt(found, 290);
}
END_TEST

START_TEST(betting_takes_odd_values)
{
  DriftBetting betting;
  drift_betting_start(&betting, FALSE);
  const double odd[] = {NAN, INFINITY, -INFINITY, 5, -5, 0};
  for (guint i = 0; i < 600; i++) ck_assert(isfinite(drift_betting_add(&betting, odd[i % G_N_ELEMENTS(odd)])));
}
END_TEST

/* ---- confidence sequences ---- */

START_TEST(confidence_sequence_holds_the_mean_at_all_times)
{
  guint missed = 0, missed_errors = 0;
  double width = 0;
  for (guint run = 0; run < 600; run++) {
    DriftConfidenceSequence values, errors;
    gboolean any = FALSE, any_error = FALSE;
    seed(run + 1);
    drift_confidence_sequence_start(&values, .1);
    drift_confidence_sequence_start(&errors, .1);
    double low, high;
    for (guint row = 0; row < 1500; row++) {
      drift_confidence_sequence_add(&values, next_uniform());
      drift_confidence_sequence_get(&values, &low, &high);
      any = any || low > .5 || high < .5;
      width = high - low;
      drift_confidence_sequence_add(&errors, next_uniform() < .05);
      drift_confidence_sequence_get(&errors, &low, &high);
      any_error = any_error || low > .05 || high < .05;
    }
    missed += any;
    missed_errors += any_error;
  }
  check_rate(missed, 600, .1);
  check_rate(missed_errors, 600, .1);
  ck_assert(width > 0 && width < .2);
}
END_TEST

START_TEST(confidence_sequence_edges)
{
  DriftConfidenceSequence sequence;
  double low, high;
  drift_confidence_sequence_start(&sequence, .05);
  drift_confidence_sequence_get(&sequence, &low, &high);
  ck_assert(low == 0 && high == 1);
  drift_confidence_sequence_add(&sequence, NAN);
  ck_assert_uint_eq(sequence.t, 0);
  for (guint i = 0; i < 5000; i++) drift_confidence_sequence_add(&sequence, 1);
  drift_confidence_sequence_get(&sequence, &low, &high);
  ck_assert(low > .99 && high == 1);
}
END_TEST

START_TEST(bernstein_tells_risen_risks_only)
{
  g_autoptr(DriftDetector) detector = make("bernstein", "alpha", "0.05", "reference", "300", NULL);
  guint alarmed = 0, found = 0, fell = 0;
  for (guint run = 0; run < 200; run++) {
    for (guint kind = 0; kind < 3; kind++) {
      gboolean any = FALSE;
      seed(run + 1);
      drift_detector_reset(detector);
      for (guint row = 0; row < 1500; row++) {
        double rate = row < 300 || kind == 0 ? .3 : kind == 1 ? .6 : .1;
        any = drift_detector_update(detector, next_uniform() < rate) == DRIFT_SIGNAL_DRIFT || any;
        if (any) break;
      }
      *(kind == 0 ? &alarmed : kind == 1 ? &found : &fell) += any;
    }
  }
  check_rate(alarmed, 200, .05);
  ck_assert_uint_eq(found, 200);
  ck_assert_uint_eq(fell, 0);
}
END_TEST

/* ---- many streams ---- */

START_TEST(e_bh_is_its_definition)
{
  const double log_e[] = {log(100), log(4), log(25), NAN, log(1.5), -INFINITY};
  gboolean rejected[6];
  /* K = 6, alpha = .2: 30/k: 100 >= 30, 25 >= 15, 4 < 10. */
  ck_assert_uint_eq(drift_e_bh(log_e, 6, .2, rejected), 2);
  ck_assert(rejected[0] && !rejected[1] && rejected[2] && !rejected[3] && !rejected[4] && !rejected[5]);
  ck_assert_uint_eq(drift_e_bonferroni(log_e, 6, .2, rejected), 1);
  ck_assert(rejected[0] && !rejected[2]);
  ck_assert_uint_eq(drift_e_bh(log_e, 6, 1e-9, rejected), 0);
  ck_assert_uint_eq(drift_e_bh(log_e, 0, .1, rejected), 0);
}
END_TEST

/* Streams that share a shock, a fifth with a change: e-values of betting after 300 rows. */
START_TEST(e_bh_keeps_the_false_discovery_rate)
{
  double false_share = 0;
  guint found = 0;
  const guint runs = 200, n_streams = 20;
  for (guint run = 0; run < runs; run++) {
    DriftBetting streams[20];
    double log_e[20];
    gboolean rejected[20];
    seed(run + 1);
    for (guint k = 0; k < n_streams; k++) drift_betting_start(&streams[k], FALSE);
    for (guint row = 0; row < 300; row++) {
      double shared = .5 * (2 * next_uniform() - 1);
      for (guint k = 0; k < n_streams; k++)
        log_e[k] = drift_betting_add(&streams[k], shared + .5 * (2 * next_uniform() - 1) + (k < 4 ? .15 : 0));
    }
    guint count = drift_e_bh(log_e, n_streams, .1, rejected), wrong = 0;
    for (guint k = 4; k < n_streams; k++) wrong += rejected[k] != FALSE;
    found += count - wrong;
    false_share += count > 0 ? (double)wrong / count : 0;
  }
  ck_assert_msg(false_share / runs <= .1, "%g", false_share / runs);
  ck_assert_uint_gt(found, 2 * runs);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_anytime");
  TCase *tests = tcase_create("anytime");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, e_detector_keeps_its_run_length);
  tcase_add_test(tests, e_detector_run_length_is_not_rarity);
  tcase_add_test(tests, e_detector_finds_changes_from_its_own_reference);
  tcase_add_test(tests, e_detector_works_in_logs);
  tcase_add_test(tests, conformal_alarms_rarely_on_exchangeable_rows);
  tcase_add_test(tests, conformal_finds_changes);
  tcase_add_test(tests, betting_alarms_rarely_under_the_null);
  tcase_add_test(tests, paired_betting_compares_two_streams);
  tcase_add_test(tests, betting_takes_odd_values);
  tcase_add_test(tests, confidence_sequence_holds_the_mean_at_all_times);
  tcase_add_test(tests, confidence_sequence_edges);
  tcase_add_test(tests, bernstein_tells_risen_risks_only);
  tcase_add_test(tests, e_bh_is_its_definition);
  tcase_add_test(tests, e_bh_keeps_the_false_discovery_rate);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
