/* What users of the online detectors rely on, over the whole table, and the mistakes of other libraries that ours must
 * not make. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/bytes_internal.h"
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

/* A series with changes of every kind, gaps and odd values; errors where `binary`. */
static double *make_series(guint n, gboolean binary, guint64 seed)
{
  double *series = g_new(double, n);
  generator_state = seed;
  for (guint row = 0; row < n; row++) {
    guint part = row / 700 % 4;
    double value = binary ? next_uniform() < (part % 2 == 0 ? .1 : .45) : next_normal() * (part == 3 ? 3 : 1) + part;
    series[row] = row % 211 == 210 ? NAN : row % 499 == 498 ? 1e200 : value;
  }
  return series;
}

static DriftDetector *make_detector(const gchar *name, const gchar *key, const gchar *value)
{
  g_autoptr(GHashTable) options = g_hash_table_new(g_str_hash, g_str_equal);
  if (key != NULL) g_hash_table_insert(options, (gchar *)key, (gchar *)value);
  g_autoptr(GError) error = NULL;
  DriftDetector *detector = drift_detector_new(name, options, &error);
  ck_assert_msg(detector != NULL, "%s", error != NULL ? error->message : "");
  return detector;
}

#define N_ROWS 3000

/* Saved and restored at any row it goes on as the unbroken one, on values and on errors. */
START_TEST(restored_anywhere_they_continue)
{
  for (guint i = 0; drift_detector_types[i] != NULL; i++) {
    for (guint binary = 0; binary < 2; binary++) {
      g_autofree double *series = make_series(N_ROWS, binary != 0, 5);
      g_autoptr(DriftDetector) whole = make_detector(drift_detector_types[i]->name, NULL, NULL);
      DriftDetector *broken = make_detector(drift_detector_types[i]->name, NULL, NULL);
      for (guint row = 0; row < N_ROWS; row++) {
        ck_assert_msg(drift_detector_update(whole, series[row]) == drift_detector_update(broken, series[row]),
                      "%s: row %u", whole->type->name, row);
        ck_assert_int_eq(drift_detector_get_change_point(whole), drift_detector_get_change_point(broken));
        if (row % 37 != 0 && row % 700 > 3) continue;
        g_autoptr(GBytes) bytes = drift_detector_to_bytes(broken);
        g_autoptr(GBytes) same = drift_detector_to_bytes(whole);
        ck_assert_msg(g_bytes_equal(bytes, same), "%s: row %u", whole->type->name, row);
        drift_detector_free(broken);
        broken = drift_detector_from_bytes(bytes, NULL);
        ck_assert_msg(broken != NULL, "%s: row %u", whole->type->name, row);
      }
      drift_detector_free(broken);
    }
  }
}
END_TEST

/* Fed in turn, two of a type tell what each tells alone. MOA's HDDM_W shares state. */
START_TEST(instances_do_not_disturb_each_other)
{
  for (guint i = 0; drift_detector_types[i] != NULL; i++) {
    const gchar *name = drift_detector_types[i]->name;
    g_autofree double *one = make_series(N_ROWS, TRUE, 1), *two = make_series(N_ROWS, TRUE, 2);
    g_autoptr(DriftDetector) first = make_detector(name, NULL, NULL);
    g_autoptr(DriftDetector) second = make_detector(name, NULL, NULL);
    g_autoptr(DriftDetector) alone = make_detector(name, NULL, NULL);
    g_autofree DriftSignal *told = g_new(DriftSignal, N_ROWS);
    for (guint row = 0; row < N_ROWS; row++) {
      told[row] = drift_detector_update(first, one[row]);
      drift_detector_update(second, two[row]);
    }
    for (guint row = 0; row < N_ROWS; row++) ck_assert_int_eq(drift_detector_update(alone, one[row]), told[row]);
  }
}
END_TEST

/* Reset, it is as new. */
START_TEST(reset_forgets)
{
  for (guint i = 0; drift_detector_types[i] != NULL; i++) {
    const gchar *name = drift_detector_types[i]->name;
    g_autofree double *series = make_series(N_ROWS, FALSE, 9);
    g_autoptr(DriftDetector) used = make_detector(name, NULL, NULL);
    g_autoptr(DriftDetector) new = make_detector(name, NULL, NULL);
    for (guint row = 0; row < 1234; row++) drift_detector_update(used, series[row]);
    drift_detector_reset(used);
    for (guint row = 0; row < N_ROWS; row++)
      ck_assert_int_eq(drift_detector_update(used, series[row]), drift_detector_update(new, series[row]));
    g_autoptr(GBytes) bytes = drift_detector_to_bytes(used);
    g_autoptr(GBytes) same = drift_detector_to_bytes(new);
    ck_assert_msg(g_bytes_equal(bytes, same), "%s", name);
  }
}
END_TEST

/* The memory is stated and does not grow with the series. */
START_TEST(sizes_do_not_grow)
{
  for (guint i = 0; drift_detector_types[i] != NULL; i++) {
    g_autoptr(DriftDetector) detector = make_detector(drift_detector_types[i]->name, NULL, NULL);
    gsize size = drift_detector_get_size(detector);
    ck_assert_uint_ge(size, sizeof(DriftDetector));
    generator_state = 4;
    for (guint row = 0; row < 20000; row++) drift_detector_update(detector, next_uniform());
    ck_assert_uint_eq(drift_detector_get_size(detector), size);
  }
}
END_TEST

START_TEST(names_are_found_as_other_libraries_spell_them)
{
  const gchar *names[][2] = {{"HDDM_A", "hddm-a"},
                             {"PageHinkley", "page-hinkley"},
                             {"KSWIN", "kswin"},
                             {"GMA", "geometric-moving-average"},
                             {"GeometricMovingAverage", "geometric-moving-average"},
                             {"KSWindow", "kswindow"},
                             {"simple jumper", "conformal"}};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) ck_assert_str_eq(drift_detector_find(names[i][0])->name, names[i][1]);
  ck_assert_ptr_null(drift_detector_find(""));
  ck_assert_ptr_null(drift_detector_find("-"));
}
END_TEST

START_TEST(options_that_do_not_go_together_are_refused)
{
  g_autoptr(GHashTable) options = g_hash_table_new(g_str_hash, g_str_equal);
  g_hash_table_insert(options, (gchar *)"short_window_size", (gchar *)"101");
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(drift_detector_new("fhddm", options, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "sliding_window_size"));
  g_autoptr(DriftDetector) two_sided = make_detector("hddm-a", "two_sided_test", "True");
  ck_assert_ptr_nonnull(two_sided);
  g_autoptr(DriftDetector) other_name = make_detector("ddm", "drift_threshold", "3.5");
  ck_assert_ptr_nonnull(other_name);
}
END_TEST

/* ---- other libraries' mistakes ---- */

static guint count_alarms(DriftDetector *detector, const double *series, guint from, guint to)
{
  guint alarms = 0;
  for (guint row = from; row < to; row++) alarms += drift_detector_update(detector, series[row]) == DRIFT_SIGNAL_DRIFT;
  return alarms;
}

/* River's PageHinkley: ten times the values, thirty times the alarms. */
START_TEST(auto_is_free_of_scale)
{
  g_autofree double *series = g_new(double, 12000), *scaled = g_new(double, 12000), *warped = g_new(double, 12000);
  generator_state = 21;
  for (guint row = 0; row < 12000; row++) {
    series[row] = next_normal() + (row >= 6000 ? .7 : 0);
    scaled[row] = 1024 * series[row] - 4096;
    warped[row] = exp(3 * series[row]);
  }
  g_autoptr(DriftDetector) one = make_detector("auto", NULL, NULL);
  g_autoptr(DriftDetector) two = make_detector("auto", NULL, NULL);
  guint alarms = 0;
  for (guint row = 0; row < 12000; row++) {
    DriftSignal signal = drift_detector_update(one, series[row]);
    ck_assert_int_eq(signal, drift_detector_update(two, scaled[row]));
    if (signal != DRIFT_SIGNAL_DRIFT) continue;
    alarms++;
    ck_assert(row >= 6000 && row < 6150);
    ck_assert_int_lt(llabs(drift_detector_get_change_point(one) - 6000), 60);
  }
  ck_assert_uint_eq(alarms, 1);
  drift_detector_reset(one);
  ck_assert_uint_eq(count_alarms(one, warped, 0, 6000), 0);
  ck_assert_uint_eq(count_alarms(one, warped, 6000, 6300), 1);
}
END_TEST

/* River's FHDDM, fed errors as its documentation says, fires when they become fewer. */
START_TEST(fhddm_of_errors_fires_on_rises_only)
{
  g_autofree double *rising = g_new(double, 2000), *falling = g_new(double, 2000);
  generator_state = 8;
  for (guint row = 0; row < 2000; row++) {
    rising[row] = next_uniform() < (row < 1000 ? .1 : .6);
    falling[row] = next_uniform() < (row < 1000 ? .6 : .1);
  }
  g_autoptr(DriftDetector) detector = make_detector("fhddm", "ones", "errors");
  ck_assert_uint_eq(count_alarms(detector, rising, 0, 1000), 0);
  ck_assert_uint_ge(count_alarms(detector, rising, 1000, 1200), 1);
  drift_detector_reset(detector);
  ck_assert_uint_eq(count_alarms(detector, falling, 0, 2000), 0);
}
END_TEST

/* frouros' HDDM_W two-sided flags every value. */
START_TEST(hddm_w_two_sided_flags_changes_only)
{
  g_autofree double *series = g_new(double, 3000);
  generator_state = 12;
  for (guint row = 0; row < 3000; row++) series[row] = next_uniform() < (row < 2000 ? .5 : .1);
  g_autoptr(DriftDetector) detector = make_detector("hddm-w", "two_sided_test", "true");
  ck_assert_uint_le(count_alarms(detector, series, 0, 2000), 6);
  guint alarms = count_alarms(detector, series, 2000, 3000);
  ck_assert(alarms >= 1 && alarms <= 5);
}
END_TEST

/* frouros' ADWIN raises where the total is below zero. */
START_TEST(adwin_takes_negative_values)
{
  g_autoptr(DriftDetector) detector = make_detector("adwin", NULL, NULL);
  generator_state = 13;
  gint64 first = -1;
  for (gint64 row = 0; row < 4000; row++)
    if (drift_detector_update(detector, next_normal() - 5 - (row >= 2000 ? 2 : 0)) == DRIFT_SIGNAL_DRIFT && first < 0)
      first = row;
  ck_assert(first >= 2000 && first < 2200);
}
END_TEST

/* MOA's STEPD alarms on equal values for ever; by mode=paper ours does not, and still finds changes. */
START_TEST(stepd_of_the_paper_is_silent_on_equal_values)
{
  g_autoptr(DriftDetector) paper = make_detector("stepd", "mode", "paper");
  g_autoptr(DriftDetector) moa = make_detector("stepd", NULL, NULL);
  guint alarms_paper = 0, alarms_moa = 0;
  for (guint row = 0; row < 400; row++) {
    alarms_paper += drift_detector_update(paper, 0) == DRIFT_SIGNAL_DRIFT;
    alarms_moa += drift_detector_update(moa, 0) == DRIFT_SIGNAL_DRIFT;
  }
  ck_assert_uint_eq(alarms_paper, 0);
  ck_assert_uint_eq(alarms_moa, 6);
  gboolean found = FALSE;
  for (guint row = 0; row < 30; row++) found = found || drift_detector_update(paper, 1) == DRIFT_SIGNAL_DRIFT;
  ck_assert(found);
}
END_TEST

/* ---- auto ---- */

START_TEST(auto_keeps_trifles_silent)
{
  g_autofree double *series = g_new(double, 20000);
  generator_state = 31;
  for (guint row = 0; row < 20000; row++) series[row] = next_normal() + (row >= 8000 ? .3 : 0);
  g_autoptr(DriftDetector) any = make_detector("auto", NULL, NULL);
  g_autoptr(DriftDetector) large = make_detector("auto", "minimum_effect", "0.6");
  ck_assert_uint_eq(count_alarms(any, series, 0, 8000), 0);
  ck_assert_uint_ge(count_alarms(any, series, 8000, 20000), 1);
  ck_assert_uint_eq(count_alarms(large, series, 0, 20000), 0);
}
END_TEST

START_TEST(auto_takes_constants_and_sees_them_end)
{
  g_autoptr(DriftDetector) detector = make_detector("auto", NULL, NULL);
  for (guint row = 0; row < 3000; row++)
    ck_assert_int_eq(drift_detector_update(detector, row == 1500 ? 7 : 5),
                     DRIFT_SIGNAL_NONE); /* one odd value is none */
  gint64 found = -1;
  for (gint64 row = 0; row < 100 && found < 0; row++)
    if (drift_detector_update(detector, 6) == DRIFT_SIGNAL_DRIFT) found = row;
  ck_assert(found >= 0 && found < 30);
  ck_assert_int_lt(llabs(drift_detector_get_change_point(detector) - 3000), 5);
}
END_TEST

START_TEST(auto_budget_sets_the_threshold)
{
  g_autoptr(DriftDetector) usual = make_detector("auto", NULL, NULL);
  g_autoptr(DriftDetector) months = make_detector("auto", "budget", "0.02");
  double evidence, threshold, higher;
  ck_assert(drift_detector_get_evidence(usual, &evidence, &threshold));
  ck_assert(drift_detector_get_evidence(months, &evidence, &higher));
  ck_assert_double_eq_tol(threshold, log(1e5), 1e-12);
  ck_assert_double_eq_tol(higher - threshold, log(5), 1e-12);
}
END_TEST

/* A fluke that alarms, the old level again, and soon a true change of the fluke's direction: the old rows are still
 * the reference. A reference of the rows since the fluke alone finds it in fewer series. */
START_TEST(auto_sees_a_change_soon_after_a_false_alarm)
{
  g_autoptr(DriftDetector) detector = make_detector("auto", NULL, NULL);
  guint found = 0;
  for (guint64 seed = 1; seed <= 40; seed++) {
    drift_detector_reset(detector);
    generator_state = seed;
    for (guint row = 0; row < 4000; row++) drift_detector_update(detector, next_normal());
    for (guint row = 0; row < 100; row++)
      if (drift_detector_update(detector, next_normal() + 1) == DRIFT_SIGNAL_DRIFT) break;
    for (guint row = 0; row < 120; row++) drift_detector_update(detector, next_normal());
    gboolean told = FALSE;
    for (guint row = 0; row < 300; row++)
      told = drift_detector_update(detector, next_normal() + .6) == DRIFT_SIGNAL_DRIFT || told;
    found += told;
  }
  ck_assert_msg(found >= 38, "%u of 40", found);
}
END_TEST

START_TEST(auto_state_of_the_first_format_is_refused)
{
  GByteArray *raw = g_byte_array_new();
  drift_put_string(raw, "auto");
  const double options[] = {.1, 10000, 200, 0};
  for (guint i = 0; i < G_N_ELEMENTS(options); i++) drift_put_double(raw, options[i]);
  for (guint i = 0; i < 400; i++) drift_put_u8(raw, 0);
  g_autoptr(GBytes) bytes = drift_frame_pack("KDDT", 1, raw);
  g_byte_array_unref(raw);
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftDetector) detector = drift_detector_from_bytes(bytes, &error);
  ck_assert_ptr_null(detector);
  ck_assert_ptr_nonnull(strstr(error->message, "start it anew"));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_stream");
  TCase *tests = tcase_create("stream");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, restored_anywhere_they_continue);
  tcase_add_test(tests, instances_do_not_disturb_each_other);
  tcase_add_test(tests, reset_forgets);
  tcase_add_test(tests, sizes_do_not_grow);
  tcase_add_test(tests, names_are_found_as_other_libraries_spell_them);
  tcase_add_test(tests, options_that_do_not_go_together_are_refused);
  tcase_add_test(tests, auto_is_free_of_scale);
  tcase_add_test(tests, fhddm_of_errors_fires_on_rises_only);
  tcase_add_test(tests, hddm_w_two_sided_flags_changes_only);
  tcase_add_test(tests, adwin_takes_negative_values);
  tcase_add_test(tests, stepd_of_the_paper_is_silent_on_equal_values);
  tcase_add_test(tests, auto_keeps_trifles_silent);
  tcase_add_test(tests, auto_takes_constants_and_sees_them_end);
  tcase_add_test(tests, auto_budget_sets_the_threshold);
  tcase_add_test(tests, auto_sees_a_change_soon_after_a_false_alarm);
  tcase_add_test(tests, auto_state_of_the_first_format_is_refused);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
