/* The adaptation policy as a pure state machine. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "daemon/adapt.h"

enum { PANE = 100, MAXIMUM_VERSIONS = 16 };

static AdaptSettings settings;

static void setup(void)
{
  adapt_settings_init(&settings);
}

/* Feeds one pane in which version i of the pool errs with probability rates[i]; returns what it led to. */
static AdaptStep feed(Adapt *adapt, GRand *random, const double *rates)
{
  guint n = 0;
  guint8 bits[MAXIMUM_VERSIONS][PANE];
  const guint8 *errors[MAXIMUM_VERSIONS];
  adapt_get_versions(adapt, &n);
  ck_assert_uint_le(n, MAXIMUM_VERSIONS);
  for (guint v = 0; v < n; v++) {
    for (guint i = 0; i < PANE; i++) bits[v][i] = g_rand_double(random) < rates[v];
    errors[v] = bits[v];
  }
  AdaptStep step;
  adapt_pane(adapt, &settings, errors, PANE, &step);
  return step;
}

START_TEST(finds_an_abrupt_change_and_trains_from_it)
{
  g_autoptr(Adapt) adapt = adapt_new(1, .05, 800);
  GRand *random = g_rand_new_with_seed(7);
  gint64 change = 3030, first_alarm = -1, first_refit = -1, first_retrain = -1;
  for (guint pane = 0; pane < 45; pane++) {
    guint8 bits[PANE];
    for (guint i = 0; i < PANE; i++) bits[i] = g_rand_double(random) < (pane * PANE + i >= change ? .9 : .05);
    const guint8 *errors[] = {bits};
    AdaptStep step;
    adapt_pane(adapt, &settings, errors, PANE, &step);
    if (step.alarm && first_alarm < 0) {
      first_alarm = adapt_get_rows(adapt);
      ck_assert_msg(llabs(step.change_row - change) <= 5, "change found at %lld", (long long)step.change_row);
      ck_assert(step.opened);
      ck_assert_double_eq_tol(step.error_after, .9, .15);
    }
    if (step.training == ADAPT_TRAIN_REFIT && first_refit < 0) {
      first_refit = adapt_get_rows(adapt);
      ck_assert_msg(llabs(step.training_first - change) <= 5, "training begins at the change, not before");
      ck_assert_int_eq(step.training_next, first_refit);
    }
    if (step.training == ADAPT_TRAIN_RETRAIN && first_retrain < 0) first_retrain = adapt_get_rows(adapt);
  }
  ck_assert_int_eq(first_alarm, 3100);
  ck_assert_int_le(first_refit, 3200);
  ck_assert_msg(first_retrain >= 3600 && first_retrain <= 3700, "a full training waits for 600 rows of the new world");
  ck_assert(adapt_is_open(adapt));
  g_rand_free(random);
}
END_TEST

START_TEST(stays_silent_when_nothing_changes)
{
  guint opened = 0;
  for (guint seed = 0; seed < 10; seed++) {
    g_autoptr(Adapt) adapt = adapt_new(1, .22, 800);
    GRand *random = g_rand_new_with_seed(seed);
    for (guint pane = 0; pane < 413; pane++) opened += feed(adapt, random, (const double[]){.22}).opened;
    g_rand_free(random);
  }
  ck_assert_uint_eq(opened, 0);
}
END_TEST

/* Errors that come in runs (lag-1 correlation .6): a ratio test that took them for independent would cry wolf. */
START_TEST(stays_silent_on_autocorrelated_errors)
{
  guint alarms = 0;
  for (guint seed = 0; seed < 5; seed++) {
    g_autoptr(Adapt) adapt = adapt_new(1, .2, 800);
    GRand *random = g_rand_new_with_seed(seed);
    guint8 state = 0;
    for (guint pane = 0; pane < 400; pane++) {
      guint8 bits[PANE];
      for (guint i = 0; i < PANE; i++)
        bits[i] = state = g_rand_double(random) < .6 ? state : g_rand_double(random) < .2;
      const guint8 *errors[] = {bits};
      AdaptStep step;
      adapt_pane(adapt, &settings, errors, PANE, &step);
      alarms += step.opened;
    }
    g_rand_free(random);
  }
  ck_assert_uint_eq(alarms, 0);
}
END_TEST

START_TEST(sees_a_slow_loss_against_the_promise_and_refreshes)
{
  g_autoptr(Adapt) adapt = adapt_new(1, .1, 800);
  GRand *random = g_rand_new_with_seed(3);
  guint refreshes = 0, opened = 0;
  gint64 last = -1;
  for (guint pane = 0; pane < 80; pane++) {
    double rate = .1 + MIN(pane, 40) / 40. * .15;
    AdaptStep step = feed(adapt, random, &rate);
    opened += step.opened;
    if (step.training == ADAPT_TRAIN_NONE) continue;
    if (last >= 0 && step.training == ADAPT_TRAIN_REFIT && !step.alarm)
      ck_assert_int_ge(step.training_next - last, 100);
    last = step.training_next;
    refreshes++;
  }
  ck_assert_uint_eq(opened, 1);
  ck_assert_uint_ge(refreshes, 3);
  g_rand_free(random);
}
END_TEST

START_TEST(closes_when_the_error_is_back)
{
  g_autoptr(Adapt) adapt = adapt_new(1, .1, 800);
  GRand *random = g_rand_new_with_seed(5);
  guint opened = 0, closed = 0;
  for (guint pane = 0; pane < 100; pane++) {
    double rate = pane >= 20 && pane < 40 ? .5 : .1;
    AdaptStep step = feed(adapt, random, &rate);
    opened += step.opened;
    closed += step.closed;
  }
  ck_assert_uint_eq(opened, 1);
  ck_assert_uint_eq(closed, 1);
  ck_assert(!adapt_is_open(adapt));
  g_rand_free(random);
}
END_TEST

START_TEST(an_older_version_takes_over_when_its_world_returns)
{
  g_autoptr(Adapt) adapt = adapt_new(1, .05, 800);
  GRand *random = g_rand_new_with_seed(11);
  for (guint pane = 0; pane < 5; pane++) feed(adapt, random, (const double[]){.05});
  adapt_add_version(adapt, &settings, 2, TRUE);
  gint64 recalled = -1;
  for (guint pane = 5; pane < 60; pane++) {
    gboolean first_world = pane >= 30;
    AdaptStep step = feed(adapt, random, first_world ? (const double[]){.05, .9} : (const double[]){.9, .05});
    if (step.promote && recalled < 0) {
      ck_assert_int_eq(step.promote, 1);
      recalled = pane;
      ck_assert_int_eq(adapt_get_champion(adapt), 1);
    }
    ck_assert_msg(recalled >= 0 || step.training == ADAPT_TRAIN_NONE || first_world, "nothing to train before");
  }
  ck_assert_int_ge(recalled, 30);
  ck_assert_int_le(recalled, 31);
  g_rand_free(random);
}
END_TEST

START_TEST(the_pool_is_bounded_and_keeps_first_and_champion)
{
  g_autoptr(Adapt) adapt = adapt_new(1, .05, 800);
  settings.pool = 4;
  for (gint64 version = 2; version <= 10; version++) adapt_add_version(adapt, &settings, version, version == 3);
  guint n = 0;
  const gint64 *versions = adapt_get_versions(adapt, &n);
  ck_assert_uint_eq(n, 4);
  ck_assert_int_eq(versions[0], 1);
  ck_assert_int_eq(versions[1], 3);
  ck_assert_int_eq(versions[3], 10);
}
END_TEST

START_TEST(restored_state_continues_identically)
{
  g_autoptr(Adapt) whole = adapt_new(1, NAN, 0);
  g_autoptr(Adapt) cut = adapt_new(1, NAN, 0);
  GRand *one = g_rand_new_with_seed(1), *two = g_rand_new_with_seed(1);
  for (guint pane = 0; pane < 60; pane++) {
    double rates[] = {pane >= 25 ? .6 : .1, .3};
    AdaptStep a = feed(whole, one, rates), b = feed(cut, two, rates);
    ck_assert_int_eq(a.alarm, b.alarm);
    ck_assert_int_eq(a.training, b.training);
    ck_assert_int_eq(a.promote, b.promote);
    if (pane == 10) {
      adapt_add_version(whole, &settings, 2, FALSE);
      adapt_add_version(cut, &settings, 2, FALSE);
      guint8 history[200] = {0};
      adapt_set_errors(whole, 2, adapt_get_rows(whole) - 200, history, 200);
      adapt_set_errors(cut, 2, adapt_get_rows(cut) - 200, history, 200);
    }
    json_t *json = adapt_to_json(cut), *other = adapt_to_json(whole);
    ck_assert_msg(json_equal(json, other), "pane %u", pane);
    adapt_free(g_steal_pointer(&cut));
    cut = adapt_from_json(json, NULL);
    ck_assert_ptr_nonnull(cut);
    json_decref(json);
    json_decref(other);
  }
  g_rand_free(one);
  g_rand_free(two);
}
END_TEST

START_TEST(damaged_state_is_refused)
{
  g_autoptr(Adapt) adapt = adapt_new(1, .1, 800);
  json_t *json = adapt_to_json(adapt);
  static const gchar *const keys[] = {"champion", "pool", "rows", "errors_since", "promise", "open", "step"};
  for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
    json_t *copy = json_deep_copy(json);
    g_autoptr(GError) error = NULL;
    json_object_set_new(copy, keys[i], json_string("?"));
    Adapt *restored = adapt_from_json(copy, &error);
    ck_assert_msg(restored == NULL || g_str_equal(keys[i], "promise"), "%s", keys[i]);
    adapt_free(restored);
    json_decref(copy);
  }
  json_decref(json);
}
END_TEST

/* What served is one series, whichever version it was: a promotion does not begin it anew, and nothing is trained. */
START_TEST(what_served_is_one_series)
{
  g_autoptr(Adapt) adapt = adapt_new(1, .05, 800);
  g_autoptr(GRand) random = g_rand_new_with_seed(7);
  settings.served = TRUE;
  settings.pool = 0;
  gboolean opened = FALSE;
  for (guint pane = 0; pane < 40; pane++) {
    AdaptStep step = feed(adapt, random, (const double[]){pane < 30 ? .05 : .9});
    ck_assert_int_eq(step.training, ADAPT_TRAIN_NONE);
    ck_assert_int_eq(step.promote, 0);
    opened = opened || step.opened;
    adapt_add_version(adapt, &settings, 2 + pane, pane % 3 == 0);
    if (pane == 10) adapt_set_champion(adapt, &settings, 1); /* rolled back */
    guint n = 0;
    adapt_get_versions(adapt, &n);
    ck_assert_uint_eq(n, 1);
  }
  ck_assert(opened && adapt_is_open(adapt));
  ck_assert_int_eq(adapt_get_champion(adapt), 2 + 39);
}
END_TEST

START_TEST(settings_survive_json)
{
  AdaptSettings copy;
  settings.pool_rows = 321;
  settings.steps[7] = 9;
  settings.holdout_fraction = .1;
  settings.served = TRUE;
  json_t *json = adapt_settings_to_json(&settings);
  ck_assert(adapt_settings_from_json(json, &copy));
  ck_assert_uint_eq(copy.pool_rows, 321);
  ck_assert_uint_eq(copy.steps[7], 9);
  ck_assert_double_eq(copy.holdout_fraction, .1);
  ck_assert(copy.served);
  json_object_del(json, "served"); /* of a release that had no such thing */
  ck_assert(adapt_settings_from_json(json, &copy) && !copy.served);
  json_decref(json);
}
END_TEST

/* Rows before the first champion: all numbers are of the labelled log, and the state survives being stored. */
START_TEST(may_begin_at_a_later_row)
{
  g_autoptr(Adapt) adapt = adapt_new(1, .05, 800);
  GRand *random = g_rand_new_with_seed(7);
  adapt_begin_at(adapt, 1000);
  gint64 change = -1;
  for (guint pane = 0; pane < 40; pane++) {
    double rate = pane < 20 ? .05 : .9;
    AdaptStep step = feed(adapt, random, &rate);
    if (step.alarm && change < 0) change = step.change_row;
    json_t *json = adapt_to_json(adapt);
    g_autoptr(Adapt) copy = adapt_from_json(json, NULL);
    ck_assert_ptr_nonnull(copy);
    ck_assert_int_eq(adapt_get_rows(copy), 1100 + 100 * (gint64)pane);
    json_decref(json);
  }
  ck_assert_msg(llabs(change - 3000) <= 5, "change found at %lld", (long long)change);
  g_rand_free(random);
}
END_TEST

/* A member whose errors do not reach up to the newest row would be read beyond its end. */
START_TEST(refuses_a_state_whose_errors_do_not_fit)
{
  g_autoptr(Adapt) adapt = adapt_new(1, .05, 800);
  g_autoptr(GError) error = NULL;
  json_t *json = adapt_to_json(adapt);
  json_object_set_new(json_array_get(json_object_get(json, "pool"), 0), "first", json_integer(7));
  ck_assert_ptr_null(adapt_from_json(json, &error));
  ck_assert_ptr_nonnull(error);
  json_decref(json);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("adapt");
  TCase *tests = tcase_create("policy");
  tcase_add_checked_fixture(tests, setup, NULL);
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, may_begin_at_a_later_row);
  tcase_add_test(tests, refuses_a_state_whose_errors_do_not_fit);
  tcase_add_test(tests, finds_an_abrupt_change_and_trains_from_it);
  tcase_add_test(tests, stays_silent_when_nothing_changes);
  tcase_add_test(tests, stays_silent_on_autocorrelated_errors);
  tcase_add_test(tests, sees_a_slow_loss_against_the_promise_and_refreshes);
  tcase_add_test(tests, closes_when_the_error_is_back);
  tcase_add_test(tests, an_older_version_takes_over_when_its_world_returns);
  tcase_add_test(tests, the_pool_is_bounded_and_keeps_first_and_champion);
  tcase_add_test(tests, restored_state_continues_identically);
  tcase_add_test(tests, damaged_state_is_refused);
  tcase_add_test(tests, settings_survive_json);
  tcase_add_test(tests, what_served_is_one_series);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
