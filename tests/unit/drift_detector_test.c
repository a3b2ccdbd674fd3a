/* Online detectors: reference lists, states, and the change point. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drift/change.h"
#include "drift/detector.h"
#include "tests/unit/drift_goldens.h"

static GHashTable *make_options(const gchar *first_key, ...)
{
  GHashTable *options = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  va_list arguments;
  va_start(arguments, first_key);
  for (const gchar *key = first_key; key != NULL; key = va_arg(arguments, const gchar *))
    g_hash_table_insert(options, g_strdup(key), g_strdup(va_arg(arguments, const gchar *)));
  va_end(arguments);
  return options;
}

/* As it is by default, but not alarming on equal values, which MOA's STEPD does. */
static DriftDetector *make_sober(const DriftDetectorType *type)
{
  g_autoptr(GHashTable) options = strcmp(type->name, "stepd") == 0 ? make_options("mode", "paper", NULL) : NULL;
  return drift_detector_new(type->name, options, NULL);
}

static guint64 generator_state;
static double next_uniform(void)
{
  generator_state = generator_state * G_GUINT64_CONSTANT(6364136223846793005) + G_GUINT64_CONSTANT(1442695040888963407);
  return (double)(generator_state >> 11) / 9007199254740992.0;
}

START_TEST(every_type_passes_its_selftest)
{
  for (guint i = 0; drift_detector_types[i] != NULL; i++) {
    g_autoptr(GError) error = NULL;
    ck_assert_msg(drift_detector_types[i]->selftest(drift_detector_types[i], &error), "%s",
                  error != NULL ? error->message : "");
    ck_assert_ptr_eq(drift_detector_find(drift_detector_types[i]->name), drift_detector_types[i]);
  }
}
END_TEST

START_TEST(options_are_checked)
{
  const gchar *bad[][3] = {{"adwin", "nonsense", "1"},   {"adwin", "delta", "abc"},   {"adwin", "mode", "weka"},
                           {"ddm", "warm_start", "2.5"}, {"glr", "threshold", "nan"}, {"glr", "window", "1e9"}};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GHashTable) options = make_options(bad[i][1], bad[i][2], NULL);
    g_autoptr(GError) error = NULL;
    ck_assert_ptr_null(drift_detector_new(bad[i][0], options, &error));
    ck_assert(g_error_matches(error, DRIFT_ERROR, DRIFT_ERROR_INVALID));
    ck_assert_ptr_nonnull(strstr(error->message, bad[i][1]));
  }
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(drift_detector_new("nothing", NULL, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "adwin"));
}
END_TEST

/* Its default null has a mean of 0: a series of .5 is a drift. */
static gboolean is_far_from_half(const DriftDetector *detector)
{
  return strcmp(detector->type->name, "betting") == 0;
}

START_TEST(odd_values_do_no_harm)
{
  const double odd[] = {NAN, INFINITY, -INFINITY, -1e308, 1e308, -0.0};
  for (guint i = 0; drift_detector_types[i] != NULL; i++) {
    g_autoptr(DriftDetector) detector = make_sober(drift_detector_types[i]);
    for (guint row = 0; row < 500; row++) drift_detector_update(detector, odd[row % G_N_ELEMENTS(odd)]);
    g_autoptr(GBytes) bytes = drift_detector_to_bytes(detector);
    ck_assert_uint_gt(g_bytes_get_size(bytes), 0);
    drift_detector_reset(detector);
    for (guint row = 0; row < 500; row++)
      ck_assert_msg(drift_detector_update(detector, .5) != DRIFT_SIGNAL_DRIFT || is_far_from_half(detector),
                    "%s: row %u", detector->type->name, row);
    if (is_far_from_half(detector)) continue;
    ck_assert_int_eq(drift_detector_get_change_point(detector), -1);
  }
}
END_TEST

/* What is said to be skipped is what leaves the state as it was: a copy that was never fed it tells the same. */
START_TEST(skipped_values_are_the_ones_not_taken)
{
  const double odd[] = {NAN, INFINITY, -INFINITY, 1e300, 2, -.5, 1e90, .25, 1};
  for (guint i = 0; drift_detector_types[i] != NULL; i++) {
    for (guint k = 0; k < G_N_ELEMENTS(odd); k++) {
      g_autoptr(DriftDetector) fed = make_sober(drift_detector_types[i]);
      g_autoptr(DriftDetector) other = make_sober(drift_detector_types[i]);
      for (guint row = 0; row < 40; row++) {
        drift_detector_update(fed, row % 3 == 0);
        drift_detector_update(other, row % 3 == 0);
      }
      drift_detector_update(fed, odd[k]);
      drift_detector_update(other, NAN);
      g_autoptr(GBytes) left = drift_detector_to_bytes(fed), right = drift_detector_to_bytes(other);
      ck_assert_msg(drift_detector_takes(fed, odd[k]) || g_bytes_equal(left, right), "%s takes %g", fed->type->name,
                    odd[k]);
      ck_assert_msg(!drift_detector_takes(fed, odd[k]) || !g_bytes_equal(left, right), "%s does not take %g",
                    fed->type->name, odd[k]);
    }
  }
}
END_TEST

/* A detector restored at any row tells what the unbroken one tells, and its bytes are the same. */
START_TEST(restored_detectors_continue_identically)
{
  for (guint i = 0; drift_detector_types[i] != NULL; i++) {
    g_autoptr(DriftDetector) whole = drift_detector_new(drift_detector_types[i]->name, NULL, NULL);
    DriftDetector *broken = drift_detector_new(drift_detector_types[i]->name, NULL, NULL);
    generator_state = 7;
    for (guint row = 0; row < 6000; row++) {
      double rate = row / 1500 % 2 == 0 ? .1 : .5;
      double value = row % 97 == 0 ? NAN : next_uniform() < rate;
      ck_assert_int_eq(drift_detector_update(whole, value), drift_detector_update(broken, value));
      ck_assert_int_eq(drift_detector_get_change_point(whole), drift_detector_get_change_point(broken));
      if (row % 41 != 0) continue;
      g_autoptr(GBytes) bytes = drift_detector_to_bytes(broken);
      g_autoptr(GBytes) same = drift_detector_to_bytes(whole);
      ck_assert_msg(g_bytes_equal(bytes, same), "%s: row %u", drift_detector_types[i]->name, row);
      drift_detector_free(broken);
      broken = drift_detector_from_bytes(bytes, NULL);
      ck_assert_ptr_nonnull(broken);
    }
    drift_detector_free(broken);
  }
}
END_TEST

START_TEST(damaged_states_are_refused)
{
  for (guint i = 0; drift_detector_types[i] != NULL; i++) {
    g_autoptr(DriftDetector) detector = drift_detector_new(drift_detector_types[i]->name, NULL, NULL);
    for (guint row = 0; row < 100; row++) drift_detector_update(detector, row % 3 == 0);
    g_autoptr(GBytes) bytes = drift_detector_to_bytes(detector);
    gsize length;
    const guint8 *data = g_bytes_get_data(bytes, &length);
    for (gsize cut = 0; cut < length; cut++) {
      g_autoptr(GBytes) truncated = g_bytes_new(data, cut);
      ck_assert_ptr_null(drift_detector_from_bytes(truncated, NULL));
    }
    for (gsize at = 0; at < length * 8; at++) {
      g_autofree guint8 *flipped = g_memdup2(data, length);
      flipped[at / 8] ^= (guint8)(1u << at % 8);
      g_autoptr(GBytes) damaged = g_bytes_new(flipped, length);
      g_autoptr(GError) error = NULL;
      g_autoptr(DriftDetector) read = drift_detector_from_bytes(damaged, &error);
      ck_assert((read == NULL) == (error != NULL));
      if (read == NULL) continue;
      g_autoptr(GBytes) again = drift_detector_to_bytes(read); /* a bit that zstd does not use: the same contents */
      ck_assert(g_bytes_equal(again, bytes));
    }
  }
}
END_TEST

static double kullback_leibler(double p, double q)
{
  double sum = 0;
  if (p > 0) sum += p * log(p / q);
  if (p < 1) sum += (1 - p) * log((1 - p) / (1 - q));
  return sum;
}

/* The definition, split by split. */
static double slow_glr(const guint8 *errors, guint n, guint side, gboolean rises_only, guint *split)
{
  double best = 0;
  *split = 0;
  for (guint k = side; k + side <= n; k++) {
    double first = 0, second = 0;
    for (guint i = 0; i < n; i++) *(i < k ? &first : &second) += errors[i];
    double p1 = first / k, p2 = second / (n - k), p = (first + second) / n;
    double statistic = k * kullback_leibler(p1, p) + (n - k) * kullback_leibler(p2, p);
    if ((rises_only && p2 <= p1) || statistic <= best + 1e-9) continue;
    best = statistic;
    *split = k;
  }
  return best;
}

START_TEST(glr_is_its_definition)
{
  generator_state = 3;
  for (guint trial = 0; trial < 60; trial++) {
    guint8 errors[80];
    guint n = 10 + trial % 70, split, slow_split;
    for (guint i = 0; i < n; i++) errors[i] = next_uniform() < (i < n / 2 ? .2 : trial % 3 * .4);
    double statistic, slow = slow_glr(errors, n, 3, trial % 2 == 0, &slow_split);
    ck_assert(drift_glr(errors, n, 3, trial % 2 == 0, &statistic, &split));
    ck_assert_double_eq_tol(statistic, slow, 1e-9);
    ck_assert_uint_eq(split, slow_split);
  }
}
END_TEST

START_TEST(glr_edges)
{
  const guint8 step[] = {0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1}, flat[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  double statistic = -1;
  guint split = 99;
  ck_assert(!drift_glr(step, 9, 5, TRUE, &statistic, &split));
  ck_assert(statistic == -1 && split == 99);
  ck_assert(drift_glr(step, 12, 5, TRUE, &statistic, &split));
  ck_assert_uint_eq(split, 6);
  ck_assert_double_eq_tol(statistic, 12 * log(2), 1e-12);
  ck_assert(drift_glr(flat, 10, 5, FALSE, &statistic, &split));
  ck_assert(statistic == 0 && split == 0);
  ck_assert(!drift_glr(flat, 0, 0, FALSE, &statistic, &split));
  ck_assert(!drift_glr(flat, 1, 0, FALSE, &statistic, &split));
}
END_TEST

/* Independent errors have no more variance than binomial ones; runs of 50 have about as many times more as a block is
 * long; a shift of level between the runs counts little. */
START_TEST(autocorrelation_of_errors_is_seen)
{
  guint8 independent[2000], runs[2000], shifted[2000];
  generator_state = 5;
  for (guint i = 0; i < 2000; i++) {
    independent[i] = next_uniform() < .3;
    runs[i] = i % 50 == 0 ? next_uniform() < .3 : runs[i - 1];
    shifted[i] = next_uniform() < (i < 1000 ? .1 : .4);
  }
  ck_assert_double_le(drift_error_autocorrelation(independent, 2000), 1.5);
  ck_assert_double_le(drift_error_autocorrelation(shifted, 2000), 1.8);
  ck_assert_double_eq(drift_error_autocorrelation(runs, 2000), 20);
  ck_assert(isnan(drift_error_autocorrelation(independent, 199)));
  independent[1500] = 2;
  ck_assert(isnan(drift_error_autocorrelation(independent, 2000)));
}
END_TEST

START_TEST(glr_names_the_change_point)
{
  g_autoptr(GHashTable) options = make_options("every", "1", NULL);
  g_autoptr(DriftDetector) detector = drift_detector_new("glr", options, NULL);
  generator_state = 11;
  guint alarms = 0;
  for (guint row = 0; row < 8000; row++) {
    double rate = row < 3000 ? .2 : row < 6000 ? .45 : .8;
    if (drift_detector_update(detector, next_uniform() < rate) != DRIFT_SIGNAL_DRIFT) continue;
    alarms++;
    gint64 truth = row < 6000 ? 3000 : 6000;
    ck_assert_int_lt(llabs(drift_detector_get_change_point(detector) - truth), 60);
  }
  ck_assert_uint_eq(alarms, 2);
}
END_TEST

/* ---- reference lists of River and MOA ---- */

static const struct {
  const gchar *detector, *name, *variant, *mode;
} peers[] = {{"ADWIN", "adwin", "river", "river"},
             {"ADWIN", "adwin", "river_core_no_reset", "moa"},
             {"DDM", "ddm", "river", NULL},
             {"PageHinkley", "page-hinkley", "river", NULL}};

static const gchar *our_key(const gchar *key)
{
  if (strcmp(key, "drift_threshold") == 0) return "drift";
  return strcmp(key, "warning_threshold") == 0 ? "warning" : key;
}

static GHashTable *options_of(json_t *params)
{
  GHashTable *options = make_options(NULL);
  const char *key;
  json_t *value;
  json_object_foreach (params, key, value) {
    if (strcmp(key, "detector") == 0 || strcmp(key, "input") == 0) continue;
    gchar *text =
        json_is_string(value) ? g_strdup(json_string_value(value)) : g_strdup_printf("%.17g", json_number_value(value));
    g_hash_table_insert(options, g_strdup(our_key(key)), text);
  }
  return options;
}

static void check_list(const gchar *id, DriftDetector *detector, const GArray *numbers, json_t *expected)
{
  gsize found = 0;
  for (guint row = 0; row < numbers->len; row++) {
    if (drift_detector_update(detector, g_array_index(numbers, double, row)) != DRIFT_SIGNAL_DRIFT) continue;
    ck_assert_msg(json_integer_value(json_array_get(expected, found)) == row, "%s: detection %zu at %u", id, found,
                  row);
    found++;
  }
  ck_assert_msg(found == json_array_size(expected), "%s: %zu of %zu detections", id, found, json_array_size(expected));
}

static guint check_case(json_t *test)
{
  guint checked = 0;
  const gchar *id = json_string_value(json_object_get(test, "id"));
  json_t *params = json_object_get(test, "params"), *inputs = json_object_get(test, "inputs");
  for (guint i = 0; i < G_N_ELEMENTS(peers); i++) {
    if (strcmp(json_string_value(json_object_get(params, "detector")), peers[i].detector) != 0) continue;
    json_t *variant = json_object_get(json_object_get(test, "expected"), peers[i].variant);
    json_t *expected = json_object_get(variant, "detections");
    if (!json_is_array(expected)) continue;
    g_autoptr(GHashTable) options = options_of(params);
    if (peers[i].mode != NULL) g_hash_table_insert(options, g_strdup("mode"), g_strdup(peers[i].mode));
    g_autoptr(GError) error = NULL;
    g_autoptr(DriftDetector) detector = drift_detector_new(peers[i].name, options, &error);
    ck_assert_msg(detector != NULL, "%s: %s", id, error != NULL ? error->message : "");
    g_autoptr(GArray) numbers = goldens_column(json_string_value(json_object_get(inputs, "stream")),
                                               json_string_value(json_object_get(inputs, "column")));
    check_list(id, detector, numbers, expected);
    checked++;
  }
  return checked;
}

START_TEST(reference_lists_are_met)
{
  json_t *family = goldens_load("streaming.json");
  if (family == NULL) return;
  guint checked = 0;
  size_t index;
  json_t *test;
  json_array_foreach (json_object_get(family, "cases"), index, test) checked += check_case(test);
  ck_assert_uint_gt(checked, 100);
  json_decref(family);
}
END_TEST

/* Blocks leave out roots and divisions where EDDM's verdict is certain without: the same signals and states, whatever
 * the options, error rates, regular errors and values that are none; restored after every block. */
START_TEST(eddm_of_blocks_is_eddm)
{
  static const gchar *const options[][3] = {{"30", ".95", ".9"}, {"1", "1", "1"}, {"1", ".99", ".5"}, {"5", "0", "0"}};
  static const double odd[] = {NAN, -1, 2, .5, -0., INFINITY, 1};
  guint drifts = 0, warnings = 0;
  generator_state = 5;
  for (guint trial = 0; trial < 80; trial++) {
    const gchar *const *chosen = options[trial % G_N_ELEMENTS(options)];
    g_autoptr(GHashTable) table = make_options("warm_start", chosen[0], "alpha", chosen[1], "beta", chosen[2], NULL);
    g_autoptr(DriftDetector) single = drift_detector_new("eddm", table, NULL);
    DriftDetector *blocks = drift_detector_new("eddm", table, NULL);
    double rate = next_uniform(), values[300];
    for (guint block = 0; block < 60; block++) {
      gsize n = 1 + (gsize)(next_uniform() * G_N_ELEMENTS(values)), from = 0;
      guint8 signals[G_N_ELEMENTS(values)];
      if (next_uniform() < .1) rate = next_uniform();
      for (gsize i = 0; i < n; i++) {
        values[i] = trial % 3 == 0 ? (double)(i % (2 + trial % 5) == 0) : (double)(next_uniform() < rate);
        if (trial % 8 > 3 && next_uniform() < .01) values[i] = odd[(guint)(next_uniform() * G_N_ELEMENTS(odd))];
      }
      while (from < n) {
        gsize taken = drift_detector_update_many(blocks, values + from, n - from, signals);
        for (gsize i = 0; i < taken; i++) {
          ck_assert_int_eq(drift_detector_update(single, values[from + i]), signals[i]);
          drifts += signals[i] == DRIFT_SIGNAL_DRIFT;
          warnings += signals[i] == DRIFT_SIGNAL_WARNING;
        }
        from += taken;
      }
      g_autoptr(GBytes) a = drift_detector_to_bytes(single), b = drift_detector_to_bytes(blocks);
      ck_assert(g_bytes_equal(a, b));
      drift_detector_free(blocks);
      blocks = drift_detector_from_bytes(b, NULL);
    }
    drift_detector_free(blocks);
  }
  ck_assert(drifts > 100 && warnings > 1000);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_detector");
  TCase *tests = tcase_create("detector");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, every_type_passes_its_selftest);
  tcase_add_test(tests, options_are_checked);
  tcase_add_test(tests, odd_values_do_no_harm);
  tcase_add_test(tests, skipped_values_are_the_ones_not_taken);
  tcase_add_test(tests, restored_detectors_continue_identically);
  tcase_add_test(tests, damaged_states_are_refused);
  tcase_add_test(tests, eddm_of_blocks_is_eddm);
  tcase_add_test(tests, glr_is_its_definition);
  tcase_add_test(tests, glr_edges);
  tcase_add_test(tests, autocorrelation_of_errors_is_seen);
  tcase_add_test(tests, glr_names_the_change_point);
  tcase_add_test(tests, reference_lists_are_met);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
