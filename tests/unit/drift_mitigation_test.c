/* Reweighing, thresholds by group, the disparate-impact remover, and the audit that runs for ever. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/fairness_audit.h"
#include "drift/fairness_mitigation.h"

/* Two groups whose scores and base rates differ; seeded. */
typedef struct {
  guint n;
  gint8 *label;
  double *score;
  const gchar **names;
  DriftFairnessRows rows;
  DriftGrouping *grouping;
  DriftFairness *fairness;
} World;

static World world_new(guint n, guint32 seed)
{
  World world = {.n = n, .label = g_new(gint8, n), .score = g_new(double, n), .names = g_new(const gchar *, n)};
  g_autoptr(GRand) random = g_rand_new_with_seed(seed);
  for (guint i = 0; i < n; i++) {
    gboolean b = g_rand_double(random) < .4;
    double merit = g_rand_double(random);
    world.names[i] = b ? "b" : "a";
    world.label[i] = g_rand_double(random) < (b ? .7 * merit : merit);
    world.score[i] = CLAMP(merit + .2 * (g_rand_double(random) - .5) - (b ? .15 : 0), 0, 1);
  }
  world.rows = (DriftFairnessRows){.n = n, .label = world.label, .score = world.score};
  world.grouping = drift_grouping_from_texts("g", world.names, n, NULL);
  return world;
}

static void world_measure(World *world)
{
  DriftFairnessSettings settings;
  drift_fairness_settings_init(&settings);
  world->fairness = drift_fairness_new(&world->rows, world->grouping, &settings, NULL);
  ck_assert_ptr_nonnull(world->fairness);
}

static void world_clear(World *world)
{
  drift_fairness_free(world->fairness);
  drift_grouping_free(world->grouping);
  g_free(world->label);
  g_free(world->score);
  g_free(world->names);
}

START_TEST(reweighing_makes_label_and_group_independent)
{
  World world = world_new(500, 3);
  world_measure(&world);
  g_autofree double *weights = g_new(double, world.n);
  drift_reweighing_apply(world.fairness, weights);
  double sum = 0, group[2] = {0}, favourable[2] = {0};
  for (guint i = 0; i < world.n; i++) {
    sum += weights[i];
    group[world.grouping->group[i]] += weights[i];
    favourable[world.grouping->group[i]] += weights[i] * world.label[i];
  }
  ck_assert_double_eq_tol(sum, world.n, 1e-9);
  ck_assert_double_eq_tol(favourable[0] / group[0], favourable[1] / group[1], 1e-12);
  world_clear(&world);
}
END_TEST

/* Expected rates of a group under the rules: selection, TPR, FPR; *accuracy over all. */
static void expected_rates(const World *world, const DriftThresholds *rules, double rates[2][3], double *accuracy)
{
  double n[2][3] = {{0}}, hit[2][3] = {{0}};
  *accuracy = 0;
  for (guint i = 0; i < world->n; i++) {
    guint g = world->grouping->group[i];
    double p = drift_thresholds_probability(rules, g, world->score[i]);
    guint of_label = world->label[i] ? 1 : 2;
    n[g][0]++;
    n[g][of_label]++;
    hit[g][0] += p;
    hit[g][of_label] += p;
    *accuracy += (world->label[i] ? p : 1 - p) / world->n;
  }
  for (guint g = 0; g < 2; g++)
    for (guint k = 0; k < 3; k++) rates[g][k] = hit[g][k] / n[g][k];
}

START_TEST(thresholds_make_the_rates_equal)
{
  World world = world_new(600, 5);
  world_measure(&world);
  const struct {
    DriftParity parity;
    gboolean equal[3];
  } cases[] = {{DRIFT_PARITY_SELECTION, {TRUE, FALSE, FALSE}},
               {DRIFT_PARITY_TPR, {FALSE, TRUE, FALSE}},
               {DRIFT_PARITY_FPR, {FALSE, FALSE, TRUE}},
               {DRIFT_PARITY_ODDS, {FALSE, TRUE, TRUE}}};
  for (guint c = 0; c < G_N_ELEMENTS(cases); c++) {
    double rates[2][3], accuracy;
    g_autoptr(DriftThresholds) rules = drift_thresholds_fit(world.fairness, cases[c].parity, TRUE, NULL);
    ck_assert_ptr_nonnull(rules);
    expected_rates(&world, rules, rates, &accuracy);
    for (guint k = 0; k < 3; k++)
      if (cases[c].equal[k]) ck_assert_double_eq_tol(rates[0][k], rates[1][k], 1e-9);
    ck_assert_double_eq_tol(accuracy, rules->accuracy, 1e-9);
    ck_assert_double_gt(accuracy, .6); /* not bought by deciding the same for all */
    g_autoptr(DriftThresholds) plain = drift_thresholds_fit(world.fairness, cases[c].parity, FALSE, NULL);
    for (guint i = 0; i < world.n; i++) {
      double p = drift_thresholds_probability(plain, world.grouping->group[i], world.score[i]);
      ck_assert(p == 0 || p == 1);
    }
  }
  world_clear(&world);
}
END_TEST

/* By hand: group a's curve of (selected, accuracy) has a dent at .25 that two thresholds together avoid. */
START_TEST(thresholds_mix_where_no_single_one_is_best)
{
  gint8 label[] = {0, 1, 1, 0, 1, 0, 0, 0};
  double score[] = {.9, .6, .6, .1, .9, .6, .5, .1};
  const gchar *names[] = {"a", "a", "a", "a", "b", "b", "b", "b"};
  DriftFairnessRows rows = {.n = 8, .label = label, .score = score};
  DriftFairnessSettings settings;
  drift_fairness_settings_init(&settings);
  g_autoptr(DriftGrouping) grouping = drift_grouping_from_texts("g", names, 8, NULL);
  g_autoptr(DriftFairness) fairness = drift_fairness_new(&rows, grouping, &settings, NULL);
  g_autoptr(DriftThresholds) rules = drift_thresholds_fit(fairness, DRIFT_PARITY_SELECTION, TRUE, NULL);
  ck_assert_double_eq(rules->constraint, .25);
  ck_assert_double_eq_tol(rules->accuracy, (.5 + .25 / 3 + 1) / 2, 1e-12);
  ck_assert_double_eq_tol(drift_thresholds_probability(rules, 0, .9), 1 / 3.0, 1e-12);
  ck_assert_double_eq_tol(drift_thresholds_probability(rules, 0, .6), 1 / 3.0, 1e-12);
  ck_assert_double_eq(drift_thresholds_probability(rules, 1, .9), 1);
  ck_assert_double_eq(drift_thresholds_probability(rules, 1, .6), 0);
}
END_TEST

START_TEST(thresholds_need_both_labels)
{
  World world = world_new(200, 6);
  for (guint i = 0; i < world.n; i++)
    if (world.names[i][0] == 'b') world.label[i] = 0;
  world_measure(&world);
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(drift_thresholds_fit(world.fairness, DRIFT_PARITY_ODDS, TRUE, &error));
  ck_assert_int_eq(error->code, DRIFT_ERROR_UNDEFINED);
  ck_assert_ptr_nonnull(strstr(error->message, "\"b\""));
  g_autoptr(DriftThresholds) rules = drift_thresholds_fit(world.fairness, DRIFT_PARITY_SELECTION, TRUE, NULL);
  ck_assert_ptr_nonnull(rules);
  ck_assert(isnan(drift_thresholds_probability(rules, 2, .5)) && isnan(drift_thresholds_probability(rules, 0, NAN)));
  world_clear(&world);
}
END_TEST

START_TEST(repair_makes_the_groups_alike_and_keeps_the_order)
{
  World world = world_new(2000, 8);
  g_autoptr(DriftRepair) repair = drift_repair_fit(world.grouping, world.score, 30, NULL);
  ck_assert_ptr_nonnull(repair);
  double mean[2] = {0}, before[2] = {0}, n[2] = {0};
  for (guint i = 0; i < world.n; i++) {
    guint g = world.grouping->group[i];
    n[g]++;
    before[g] += world.score[i];
    mean[g] += drift_repair_apply(repair, g, world.score[i], 1);
  }
  ck_assert_double_gt(fabs(before[0] / n[0] - before[1] / n[1]), .1);
  ck_assert_double_lt(fabs(mean[0] / n[0] - mean[1] / n[1]), .005);
  /* The median of two groups is their middle. */
  ck_assert_double_eq_tol(mean[0] / n[0], (before[0] / n[0] + before[1] / n[1]) / 2, .005);
  double last = -1;
  for (double x = -.1; x <= 1.1; x += .01) {
    double y = drift_repair_apply(repair, 1, x, 1);
    ck_assert_double_ge(y, last);
    last = y;
    ck_assert_double_eq(drift_repair_apply(repair, 1, x, 0), x);
  }
  ck_assert(isnan(drift_repair_apply(repair, 0, NAN, 1)) && isnan(drift_repair_apply(repair, 2, .5, 1)));
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(drift_repair_fit(world.grouping, world.score, 5000, &error));
  ck_assert_int_eq(error->code, DRIFT_ERROR_UNDEFINED);
  world_clear(&world);
}
END_TEST

/* --- audit -------------------------------------------------------------------------------------------------------- */

static DriftFairnessAudit *audit_new(guint n_groups, double margin)
{
  DriftFairnessAuditSettings settings = {.alpha = .05, .margin = margin, .n_groups = n_groups};
  return drift_fairness_audit_new(&settings, NULL);
}

/* Rows of `rates` until an alarm; 0: none within n. The mix of groups is lopsided and the common rate wanders. */
static guint run_audit(const double *rates, guint n_groups, double margin, gboolean wander, guint n, guint32 seed)
{
  g_autoptr(DriftFairnessAudit) audit = audit_new(n_groups, margin);
  g_autoptr(GRand) random = g_rand_new_with_seed(seed);
  for (guint i = 1; i <= n; i++) {
    guint group = g_rand_double(random) < .7 ? 0 : 1 + (guint)g_rand_int_range(random, 0, (gint)n_groups - 1);
    double rate = wander ? .5 + .4 * sin(i / 700.0) : rates[group];
    if (drift_fairness_audit_update(audit, group, g_rand_double(random) < rate)) return i;
  }
  return 0;
}

/* 300 audits of 20,000 rows at alpha .05, two and five groups, still and wandering rates: at most 5 % may ever alarm.
 */
START_TEST(false_alarms_ever_stay_below_alpha)
{
  const double fair[] = {.3, .3, .3, .3, .3};
  const guint runs = 75;
  guint alarms = 0;
  for (guint run = 0; run < runs; run++)
    for (guint form = 0; form < 4; form++)
      alarms += run_audit(fair, form < 2 ? 2 : 5, 0, form % 2, 20000, 1000 + run) > 0;
  ck_assert_uint_le(alarms, 4 * runs * 5 / 100 + 4);
}
END_TEST

START_TEST(unfairness_is_found_and_a_margin_forgives_less_than_itself)
{
  const double unfair[] = {.5, .35}, slight[] = {.5, .46};
  guint delays = 0;
  for (guint run = 0; run < 20; run++) {
    guint delay = run_audit(unfair, 2, 0, FALSE, 20000, 1 + run);
    ck_assert_uint_gt(delay, 0);
    delays += delay;
    ck_assert_uint_eq(run_audit(slight, 2, .05, FALSE, 20000, 1 + run), 0);
    ck_assert_uint_gt(run_audit(unfair, 2, .05, FALSE, 20000, 1 + run), 0);
  }
  ck_assert_uint_lt(delays / 20, 3000);
}
END_TEST

START_TEST(a_restored_audit_continues_identically)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(9);
  g_autoptr(DriftFairnessAudit) audit = audit_new(3, .01), restored = NULL;
  for (guint i = 0; i < 3000; i++) {
    guint group = (guint)g_rand_int_range(random, 0, 4); /* 3 is unknown */
    double outcome = g_rand_double(random) * (group == 2 ? .6 : 1);
    gboolean first = drift_fairness_audit_update(audit, group, outcome);
    if (restored != NULL) ck_assert_int_eq(first, drift_fairness_audit_update(restored, group, outcome));
    if (i == 777) {
      g_autoptr(GBytes) bytes = drift_fairness_audit_to_bytes(audit);
      restored = drift_fairness_audit_from_bytes(bytes, NULL);
      ck_assert_ptr_nonnull(restored);
    }
  }
  ck_assert_uint_gt(drift_fairness_audit_get_skipped(audit), 500);
  g_autoptr(GBytes) a = drift_fairness_audit_to_bytes(audit), b = drift_fairness_audit_to_bytes(restored);
  ck_assert(g_bytes_equal(a, b));
  DriftFairnessEvidence evidence;
  drift_fairness_audit_get(audit, 2, &evidence);
  ck_assert(evidence.alarm && evidence.p <= .05 && evidence.mean_difference < -.1);
  drift_fairness_audit_get(audit, 1, &evidence);
  ck_assert(!evidence.alarm);
}
END_TEST

START_TEST(damaged_audit_bytes_are_refused)
{
  g_autoptr(DriftFairnessAudit) audit = audit_new(4, 0);
  for (guint i = 0; i < 100; i++) drift_fairness_audit_update(audit, i % 4, i % 3 / 2.0);
  g_autoptr(GBytes) bytes = drift_fairness_audit_to_bytes(audit);
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  for (gsize cut = 0; cut < length; cut += 7) {
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) part = g_bytes_new(data, cut);
    ck_assert_ptr_null(drift_fairness_audit_from_bytes(part, &error));
    ck_assert_ptr_nonnull(error);
  }
  for (gsize at = 0; at < length; at++) {
    g_autofree guint8 *copy = g_memdup2(data, length);
    copy[at] ^= 0x41;
    g_autoptr(GBytes) damaged = g_bytes_new(copy, length);
    g_autoptr(DriftFairnessAudit) read = drift_fairness_audit_from_bytes(damaged, NULL);
    ck_assert_ptr_null(read);
  }
  DriftFairnessAuditSettings settings = {.alpha = 0, .n_groups = 2};
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(drift_fairness_audit_new(&settings, &error));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_mitigation");
  TCase *tests = tcase_create("mitigation");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, reweighing_makes_label_and_group_independent);
  tcase_add_test(tests, thresholds_make_the_rates_equal);
  tcase_add_test(tests, thresholds_mix_where_no_single_one_is_best);
  tcase_add_test(tests, thresholds_need_both_labels);
  tcase_add_test(tests, repair_makes_the_groups_alike_and_keeps_the_order);
  tcase_add_test(tests, false_alarms_ever_stay_below_alpha);
  tcase_add_test(tests, unfairness_is_found_and_a_margin_forgives_less_than_itself);
  tcase_add_test(tests, a_restored_audit_continues_identically);
  tcase_add_test(tests, damaged_audit_bytes_are_refused);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
