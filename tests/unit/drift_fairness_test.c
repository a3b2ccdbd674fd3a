/* Groups, rates, comparisons and their intervals. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/fairness.h"

/* Rows of three characters: group, label (?: missing), prediction. */
typedef struct {
  gint8 *label, *prediction;
  gchar **group;
  DriftFairnessRows rows;
} World;

static World world_new(const gchar *text)
{
  World world = {0};
  gsize n = strlen(text) / 3;
  world.label = g_new(gint8, n + 1);
  world.prediction = g_new(gint8, n + 1);
  world.group = g_new0(gchar *, n + 1);
  for (gsize i = 0; i < n; i++) {
    world.group[i] = g_strdup_printf("%c", text[3 * i]);
    world.label[i] = text[3 * i + 1] == '?' ? DRIFT_FAIRNESS_NONE : text[3 * i + 1] == '1';
    world.prediction[i] = text[3 * i + 2] == '1';
  }
  world.rows = (DriftFairnessRows){.n = n, .label = world.label, .prediction = world.prediction};
  return world;
}

static void world_clear(World *world)
{
  g_free(world->label);
  g_free(world->prediction);
  g_strfreev(world->group);
}

static DriftFairnessSettings small_groups(void)
{
  DriftFairnessSettings settings;
  drift_fairness_settings_init(&settings);
  settings.minimum_group = 1;
  return settings;
}

static DriftGrouping *group(const World *world)
{
  return drift_grouping_from_texts("g", (const gchar *const *)world->group, world->rows.n, NULL);
}

static double metric(const DriftFairness *fairness, const gchar *name, DriftFairnessValue *value)
{
  const DriftFairnessMetric *found = drift_fairness_metric_find(name);
  ck_assert_msg(found != NULL, "%s", name);
  drift_fairness_metric_compute(found, fairness, value);
  return value->value;
}

/* Peers answer 0 (fairlearn) or NaN without a word (aif360) for the TPR of a group without positives. */
START_TEST(a_rate_without_a_denominator_is_undefined_and_never_0)
{
  World world = world_new("a11a10a00b00b01b00c11c11c01");
  DriftFairnessSettings settings = small_groups();
  g_autoptr(DriftGrouping) grouping = group(&world);
  g_autoptr(DriftFairness) fairness = drift_fairness_new(&world.rows, grouping, &settings, NULL);
  DriftFairnessValue value;
  drift_fairness_rate(&fairness->groups[1], DRIFT_RATE_TRUE_POSITIVE, &settings, &value);
  ck_assert(isnan(value.value) && isnan(value.low) && isnan(value.high));
  ck_assert_uint_eq(value.n, 0);
  ck_assert_str_eq(value.undefined, "no row is labelled favourable (n = 0)");
  /* b is no "worst group with TPR 0": the range is that of a and c. */
  DriftFairnessRange range;
  drift_fairness_between(fairness, DRIFT_RATE_TRUE_POSITIVE, &range);
  ck_assert_double_eq(range.difference.value, .5);
  ck_assert_str_eq(grouping->names[range.lowest], "a");
  ck_assert_uint_eq(range.n_left_out, 1);
  ck_assert_double_eq(range.ratio.value, .5);
  /* fairlearn's value can be had by name, for comparing tables. */
  settings.empty_rate = 0;
  g_autoptr(DriftFairness) peer = drift_fairness_new(&world.rows, grouping, &settings, NULL);
  drift_fairness_between(peer, DRIFT_RATE_TRUE_POSITIVE, &range);
  ck_assert_double_eq(range.difference.value, 1);
  world_clear(&world);
}
END_TEST

START_TEST(one_defined_group_is_no_comparison)
{
  World world = world_new("a11a10b00b01");
  DriftFairnessSettings settings = small_groups();
  g_autoptr(DriftGrouping) grouping = group(&world);
  g_autoptr(DriftFairness) fairness = drift_fairness_new(&world.rows, grouping, &settings, NULL);
  DriftFairnessValue value;
  ck_assert(isnan(metric(fairness, "equal_opportunity_difference", &value)) && value.undefined != NULL);
  ck_assert(isnan(metric(fairness, "equalized_odds_difference", &value)) && value.undefined != NULL);
  ck_assert(isnan(metric(fairness, "true_positive_rate_difference", &value)) && value.undefined != NULL);
  ck_assert(!isnan(metric(fairness, "demographic_parity_difference", &value)) && value.undefined == NULL);
  /* Every metric is a number or says why not. */
  for (const DriftFairnessMetric *m = drift_fairness_metrics; m->name != NULL; m++) {
    drift_fairness_metric_compute(m, fairness, &value);
    ck_assert_msg(isnan(value.value) == (value.undefined != NULL), "%s", m->name);
    ck_assert_msg(isnan(value.low) || (value.low <= value.value && value.value <= value.high), "%s", m->name);
  }
  world_clear(&world);
}
END_TEST

START_TEST(small_groups_are_not_compared_and_rows_with_gaps_are_counted)
{
  World world = world_new("a11a10a01a00b11b11b11b01c00?11a?1");
  g_clear_pointer(&world.group[9], g_free); /* "?": no group */
  world.group[9] = g_strdup("");
  DriftFairnessSettings settings = small_groups();
  settings.minimum_group = 4;
  g_autoptr(DriftGrouping) grouping = group(&world);
  ck_assert_uint_eq(grouping->n_missing, 1);
  g_autoptr(DriftFairness) fairness = drift_fairness_new(&world.rows, grouping, &settings, NULL);
  ck_assert_uint_eq(fairness->n_left_out, 2);
  ck_assert(!drift_fairness_is_compared(fairness, 2));
  DriftFairnessRange range;
  drift_fairness_between(fairness, DRIFT_RATE_SELECTION, &range);
  ck_assert_double_eq(range.difference.value, .5); /* c's selection rate 0 is not looked at */
  ck_assert_uint_eq(range.n_left_out, 1);
  world_clear(&world);
}
END_TEST

START_TEST(both_sign_conventions)
{
  World world = world_new("a01a01a01a00b01b00b00b00");
  DriftFairnessSettings settings = small_groups();
  settings.reference = 0;
  g_autoptr(DriftGrouping) grouping = group(&world);
  g_autoptr(DriftFairness) fairness = drift_fairness_new(&world.rows, grouping, &settings, NULL);
  DriftFairnessValue value;
  ck_assert_double_eq(metric(fairness, "demographic_parity_difference", &value), .5);
  ck_assert_double_eq(metric(fairness, "statistical_parity_difference", &value), -.5);
  ck_assert_double_eq_tol(metric(fairness, "disparate_impact", &value), 1 / 3.0, 1e-15);
  gboolean certain;
  ck_assert(drift_fairness_metric_breaches(drift_fairness_metric_find("disparate_impact"), &value, .8, &certain));
  ck_assert(!certain); /* eight rows */
  settings.reference = 1;
  g_autoptr(DriftFairness) turned = drift_fairness_new(&world.rows, grouping, &settings, NULL);
  ck_assert_double_eq(metric(turned, "demographic_parity_difference", &value), .5);
  ck_assert_double_eq(metric(turned, "statistical_parity_difference", &value), .5);
  ck_assert_double_eq_tol(metric(turned, "disparate_impact", &value), 3, 1e-15);
  ck_assert(drift_fairness_metric_breaches(drift_fairness_metric_find("disparate_impact"), &value, .8, &certain));
  world_clear(&world);
}
END_TEST

/* A group that is badly off must not hide behind a large one that is not. */
START_TEST(the_reference_metrics_name_the_worst_group)
{
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < 100; i++) g_string_append(text, i % 2 ? "a01" : "a00");
  for (guint i = 0; i < 90; i++) g_string_append(text, i % 2 ? "b01" : "b00");
  for (guint i = 0; i < 40; i++) g_string_append(text, i % 10 == 0 ? "c01" : "c00");
  World world = world_new(text->str);
  DriftFairnessSettings settings = small_groups();
  g_autoptr(DriftGrouping) grouping = group(&world);
  g_autoptr(DriftFairness) fairness = drift_fairness_new(&world.rows, grouping, &settings, NULL);
  ck_assert_uint_eq(fairness->reference, 0); /* the largest */
  DriftFairnessValue value;
  ck_assert_double_eq_tol(metric(fairness, "disparate_impact", &value), .2, 1e-12);
  gboolean certain;
  ck_assert(drift_fairness_metric_breaches(drift_fairness_metric_find("disparate_impact"), &value, .8, &certain));
  ck_assert(certain);
  /* Choosing the worst of two comparisons is paid for by a wider interval. */
  DriftFairnessValue single;
  drift_fairness_ratio(&fairness->groups[2], &fairness->groups[0], DRIFT_RATE_SELECTION, &settings, &single);
  ck_assert(value.low < single.low && single.high < value.high);
  world_clear(&world);
}
END_TEST

START_TEST(crossings_are_the_combinations_that_occur)
{
  g_autoptr(DriftTable) table = drift_table_new();
  DriftColumn *a = drift_table_add_column(table, "sex", DRIFT_CATEGORICAL);
  DriftColumn *b = drift_table_add_column(table, "age", DRIFT_NUMERIC);
  for (guint i = 0; i < 200; i++) {
    drift_column_append_text(a, i < 140 ? "m" : "f", -1);
    drift_column_append_number(b, i);
  }
  drift_column_append_missing(a);
  drift_column_append_number(b, 1);
  const DriftColumn *const columns[] = {a, b};
  g_autoptr(DriftGrouping) grouping = drift_grouping_new(columns, 2, 201, NULL);
  ck_assert_str_eq(grouping->attribute, "sex|age");
  ck_assert_uint_eq(grouping->n_groups, 5); /* m in three quarters, f in two */
  ck_assert_uint_eq(grouping->n_missing, 1);
  ck_assert_uint_eq(grouping->group[200], DRIFT_GROUP_NONE);
  for (guint i = 1; i < grouping->n_groups; i++)
    ck_assert_int_lt(strcmp(grouping->names[i - 1], grouping->names[i]), 0);
  g_autoptr(GError) error = NULL;
  DriftColumn *id = drift_table_add_column(table, "id", DRIFT_CATEGORICAL);
  for (guint i = 0; i < 2000; i++) {
    g_autofree gchar *text = g_strdup_printf("p%u", i);
    drift_column_append_text(id, text, -1);
  }
  const DriftColumn *const identifiers[] = {id};
  ck_assert_ptr_null(drift_grouping_new(identifiers, 1, 2000, &error));
  ck_assert_int_eq(error->code, DRIFT_ERROR_LIMIT);
}
END_TEST

START_TEST(scores_by_group)
{
  gint8 label[] = {0, 0, 1, 1, 0, 1, 0, 1}, prediction[] = {0, 0, 0, 1, 0, 1, 0, 1};
  double score[] = {.1, .4, .35, .8, .5, .5, .5, 2};
  const gchar *names[] = {"a", "a", "a", "a", "b", "b", "c", "c"};
  DriftFairnessRows rows = {.n = 8, .label = label, .prediction = prediction, .score = score};
  DriftFairnessSettings settings = small_groups();
  g_autoptr(DriftGrouping) grouping = drift_grouping_from_texts("g", names, 8, NULL);
  g_autoptr(DriftFairness) fairness = drift_fairness_new(&rows, grouping, &settings, NULL);
  g_autofree DriftGroupScores *scores = drift_fairness_scores(fairness);
  ck_assert_double_eq(scores[0].auc.value, .75);
  /* DeLong by hand: placements 1/2, 1 and 1, 1/2, each with the variance 1/8. */
  ck_assert_double_eq_tol(scores[0].auc.low, .75 - 1.959963984540054 * sqrt(.125), 1e-12);
  ck_assert_double_eq(scores[0].auc.high, 1);
  ck_assert_double_eq(scores[1].auc.value, .5); /* a tie is half a win */
  ck_assert_double_eq_tol(scores[0].gap.value, .0875, 1e-12);
  ck_assert_uint_eq(scores[0].bins[3].n, 1);
  ck_assert_double_eq(scores[0].bins[8].observed.value, 1);
  ck_assert(isnan(scores[2].gap.value) && scores[2].gap.undefined != NULL); /* a score of 2 is no probability */
  ck_assert_double_eq(scores[2].auc.value, 1);
}
END_TEST

START_TEST(clarify_against_its_definitions)
{
  /* d: 40 rows, 10 favourable; a: 60 rows, 30 favourable; two strata. */
  guint n = 100;
  gint8 label[100];
  guint32 stratum[100];
  const gchar *names[100];
  for (guint i = 0; i < n; i++) {
    gboolean d = i < 40;
    names[i] = d ? "d" : "a";
    label[i] = d ? i < 10 : i < 70;
    stratum[i] = i % 2;
  }
  DriftFairnessRows rows = {.n = n, .label = label, .stratum = stratum, .n_strata = 2};
  DriftFairnessSettings settings = small_groups();
  g_autoptr(DriftGrouping) grouping = drift_grouping_from_texts("g", names, n, NULL);
  g_autoptr(DriftFairness) fairness = drift_fairness_new(&rows, grouping, &settings, NULL);
  DriftFairnessValue v[DRIFT_N_CLARIFY];
  drift_fairness_clarify(fairness, (guint)drift_grouping_find(grouping, "d"), v);
  const double expected[DRIFT_N_CLARIFY] = {
      [DRIFT_CLARIFY_CI] = .2,
      [DRIFT_CLARIFY_DPL] = .25,
      [DRIFT_CLARIFY_KL] = .5 * log(.5 / .25) + .5 * log(.5 / .75),
      [DRIFT_CLARIFY_JS] =
          (.5 * log(.5 / .375) + .5 * log(.5 / .625) + .25 * log(.25 / .375) + .75 * log(.75 / .625)) / 2,
      [DRIFT_CLARIFY_LP] = .25 * G_SQRT2,
      [DRIFT_CLARIFY_TVD] = .25,
      [DRIFT_CLARIFY_KS] = .25,
      [DRIFT_CLARIFY_CDDL] = 30 / 60.0 - 10 / 40.0, /* both strata are alike */
  };
  for (guint i = 0; i < DRIFT_N_CLARIFY; i++)
    ck_assert_msg(fabs(v[i].value - expected[i]) < 1e-12, "%s: %g, expected %g", drift_clarify_metrics[i].name,
                  v[i].value, expected[i]);
  /* Nobody of d is favoured: KL would be infinite. */
  for (guint i = 0; i < 10; i++) label[i] = 0;
  g_autoptr(DriftFairness) none = drift_fairness_new(&rows, grouping, &settings, NULL);
  drift_fairness_clarify(none, (guint)drift_grouping_find(grouping, "d"), v);
  ck_assert(isnan(v[DRIFT_CLARIFY_KL].value) && v[DRIFT_CLARIFY_KL].undefined != NULL);
  ck_assert(!isnan(v[DRIFT_CLARIFY_JS].value));
}
END_TEST

/* Simulated: three groups of one law; the simultaneous interval of the range holds 0 in at least 95 % less the error of
 * the simulation, the ratio's holds 1, and with a true gap the intervals hold it. Seed 7. */
START_TEST(intervals_cover)
{
  const guint runs = 400, n = 150;
  const double truth[2][3] = {{.3, .3, .3}, {.2, .3, .45}};
  g_autoptr(GRand) random = g_rand_new_with_seed(7);
  for (guint world = 0; world < 2; world++) {
    guint difference = 0, ratio = 0, reference = 0;
    for (guint run = 0; run < runs; run++) {
      DriftConfusion groups[3] = {0};
      for (guint g = 0; g < 3; g++)
        for (guint i = 0; i < n; i++) *(g_rand_double(random) < truth[world][g] ? &groups[g].fp : &groups[g].tn) += 1;
      DriftFairness fairness = {.n_groups = 3, .groups = groups, .settings = small_groups()};
      DriftFairnessRange range;
      DriftFairnessValue value;
      drift_fairness_between(&fairness, DRIFT_RATE_SELECTION, &range);
      double gap = truth[world][2] - truth[world][0], quotient = truth[world][0] / truth[world][2];
      difference += range.difference.low <= gap && gap <= range.difference.high;
      ratio += range.ratio.low <= quotient && quotient <= range.ratio.high;
      drift_fairness_difference(&groups[2], &groups[0], DRIFT_RATE_SELECTION, &fairness.settings, &value);
      reference += value.low <= gap && gap <= value.high;
    }
    ck_assert_uint_ge(difference, runs * 93 / 100);
    ck_assert_uint_ge(ratio, runs * 93 / 100);
    ck_assert_uint_ge(reference, runs * 92 / 100);
    ck_assert_uint_le(reference, runs * 985 / 1000); /* and is no wider than it has to be */
  }
}
END_TEST

START_TEST(inequality_intervals_cover)
{
  const guint runs = 300, n = 400;
  const double p[3] = {.05, .65, .3}, mean = 1.25; /* missed, right, favoured wrongly */
  const double theil = p[1] / mean * log(1 / mean) + p[2] * 2 / mean * log(2 / mean);
  g_autoptr(GRand) random = g_rand_new_with_seed(11);
  guint covered = 0;
  for (guint run = 0; run < runs; run++) {
    DriftConfusion counts = {0};
    for (guint i = 0; i < n; i++) {
      double u = g_rand_double(random);
      *(u < p[0] ? &counts.fn : u < p[0] + p[1] ? &counts.tn : &counts.fp) += 1;
    }
    DriftFairnessValue value;
    drift_generalised_entropy(&counts, 1, .95, &value);
    covered += value.low <= theil && theil <= value.high;
  }
  ck_assert_uint_ge(covered, runs * 91 / 100);
  ck_assert_uint_le(covered, runs * 985 / 1000);
  DriftFairnessValue value;
  DriftConfusion all_missed = {.fn = 5}, one_missed = {.fn = 1, .tp = 4};
  drift_generalised_entropy(&all_missed, 1, .95, &value);
  ck_assert(isnan(value.value) && value.undefined != NULL);
  drift_generalised_entropy(&one_missed, 0, .95, &value);
  ck_assert(isnan(value.value) && value.undefined != NULL);
}
END_TEST

START_TEST(wrong_settings_are_refused)
{
  World world = world_new("a11b10");
  g_autoptr(DriftGrouping) grouping = group(&world);
  DriftFairnessSettings settings = small_groups();
  g_autoptr(GError) error = NULL;
  settings.confidence = 1;
  ck_assert_ptr_null(drift_fairness_new(&world.rows, grouping, &settings, &error));
  ck_assert_int_eq(error->code, DRIFT_ERROR_INVALID);
  g_clear_error(&error);
  settings = small_groups();
  settings.reference = 2;
  ck_assert_ptr_null(drift_fairness_new(&world.rows, grouping, &settings, &error));
  g_clear_error(&error);
  settings = small_groups();
  world.label[0] = world.label[1] = DRIFT_FAIRNESS_NONE;
  ck_assert_ptr_null(drift_fairness_new(&world.rows, grouping, &settings, &error));
  ck_assert_int_eq(error->code, DRIFT_ERROR_UNDEFINED);
  world_clear(&world);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_fairness");
  TCase *tests = tcase_create("fairness");
  tcase_add_test(tests, a_rate_without_a_denominator_is_undefined_and_never_0);
  tcase_add_test(tests, one_defined_group_is_no_comparison);
  tcase_add_test(tests, small_groups_are_not_compared_and_rows_with_gaps_are_counted);
  tcase_add_test(tests, both_sign_conventions);
  tcase_add_test(tests, the_reference_metrics_name_the_worst_group);
  tcase_add_test(tests, crossings_are_the_combinations_that_occur);
  tcase_add_test(tests, scores_by_group);
  tcase_add_test(tests, clarify_against_its_definitions);
  tcase_add_test(tests, intervals_cover);
  tcase_add_test(tests, inequality_intervals_cover);
  tcase_add_test(tests, wrong_settings_are_refused);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
