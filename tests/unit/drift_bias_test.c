/* Bias of label windows: crossed groups, chosen metrics, and what is said where there is none. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/bias.h"
#include "drift/bias_audit.h"
#include "drift/bytes_internal.h"
#include "drift/fairness.h"
#include "drift/window.h"

/* Sensitive race (a more frequent than b) and sex (f more frequent than m). */
static DriftGrid *make_grid(DriftTask task, gboolean sensitive)
{
  g_autoptr(DriftSchema) schema = drift_schema_new(task, "y");
  drift_schema_add_feature(schema, "race", DRIFT_CATEGORICAL, sensitive, TRUE);
  drift_schema_add_feature(schema, "sex", DRIFT_CATEGORICAL, sensitive, TRUE);
  for (guint i = 0; task != DRIFT_TASK_REGRESSION && i < (task == DRIFT_TASK_BINARY ? 2u : 3u); i++) {
    const gchar name[] = {(gchar)('0' + i), '\0'};
    drift_schema_add_class(schema, name);
  }
  schema->positive_class = 1;
  g_autoptr(DriftTable) table = drift_table_new();
  DriftColumn *race = drift_table_add_column(table, "race", DRIFT_CATEGORICAL);
  DriftColumn *sex = drift_table_add_column(table, "sex", DRIFT_CATEGORICAL);
  for (guint i = 0; i < 60; i++) {
    drift_column_append_text(race, i % 3 == 2 ? "b" : "a", -1);
    drift_column_append_text(sex, i % 5 < 3 ? "f" : "m", -1);
  }
  table->n_rows = 60;
  DriftGrid *grid = drift_grid_new(schema, table, 0, NULL);
  ck_assert_ptr_nonnull(grid);
  return grid;
}

static void add_rows(GArray *rows, guint n, guint race, guint sex, gint predicted, gint label)
{
  DriftLabelRow row = {.predicted_class = predicted,
                       .label_class = label,
                       .score = NAN,
                       .predicted_value = NAN,
                       .label_value = NAN,
                       .groups = {(guint16)race, (guint16)sex},
                       .n_groups = 2};
  for (guint i = 0; i < n; i++) g_array_append_val(rows, row);
}

static DriftWindowVerdict *evaluate(DriftGrid *grid, const GArray *rows, const DriftWindowSettings *settings)
{
  g_autoptr(DriftAccumulator) empty = drift_accumulator_new(grid);
  DriftWindowVerdict *verdict = drift_window_evaluate(empty, empty, rows ? (const DriftLabelRow *)rows->data : NULL,
                                                      rows ? rows->len : 0, settings, NULL);
  ck_assert_ptr_nonnull(verdict);
  return verdict;
}

static const DriftBiasVerdict *find(const DriftWindowVerdict *verdict, const gchar *metric, const gchar *attribute,
                                    const gchar *group)
{
  for (guint i = 0; i < verdict->bias_verdicts->len; i++) {
    const DriftBiasVerdict *bias = g_ptr_array_index(verdict->bias_verdicts, i);
    if (strcmp(bias->metric, metric) == 0 && strcmp(bias->attribute, attribute) == 0 && strcmp(bias->group, group) == 0)
      return bias;
  }
  return NULL;
}

/* Each attribute alone is fair; women of a and men of b are chosen, the others are not. */
static GArray *gerrymander(void)
{
  GArray *rows = g_array_new(FALSE, FALSE, sizeof(DriftLabelRow));
  for (guint race = 0; race < 2; race++)
    for (guint sex = 0; sex < 2; sex++) {
      guint chosen = race == sex ? 80 : 20;
      add_rows(rows, chosen, race, sex, 1, 1);
      add_rows(rows, 100 - chosen, race, sex, 0, 1);
    }
  return rows;
}

START_TEST(crossing_finds_what_single_attributes_hide)
{
  g_autoptr(DriftGrid) grid = make_grid(DRIFT_TASK_BINARY, TRUE);
  g_autoptr(GArray) rows = gerrymander();
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  settings.disparate_impact_bound = .8;
  g_autoptr(DriftWindowVerdict) alone = evaluate(grid, rows, &settings);
  ck_assert(!alone->bias && alone->bias_undefined == NULL);
  ck_assert_double_eq(find(alone, "disparate_impact", "race", "b")->value, 1);
  ck_assert_ptr_null(find(alone, "disparate_impact", "race|sex", "a|m"));
  settings.bias_crossed = 2;
  g_autoptr(DriftWindowVerdict) crossed = evaluate(grid, rows, &settings);
  const DriftBiasVerdict *worst = find(crossed, "disparate_impact", "race|sex", "a|m");
  ck_assert(crossed->bias && worst->breach);
  ck_assert_str_eq(worst->reference_group, "a|f"); /* the first in the grid's order */
  ck_assert_double_eq(worst->value, .25);
  ck_assert(worst->n_group == 100 && worst->n_reference == 100);
  ck_assert(!find(crossed, "disparate_impact", "race|sex", "b|m")->breach);
}
END_TEST

/* The window says what the table of fairness.c says, metric by metric. */
START_TEST(every_metric_is_that_of_the_fairness_table)
{
  g_autoptr(DriftGrid) grid = make_grid(DRIFT_TASK_BINARY, TRUE);
  g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(DriftLabelRow));
  const DriftConfusion a = {.tp = 40, .fp = 20, .fn = 10, .tn = 30}, b = {.tp = 15, .fp = 5, .fn = 20, .tn = 35};
  const DriftConfusion *const both[] = {&a, &b};
  for (guint race = 0; race < 2; race++) {
    add_rows(rows, (guint)both[race]->tp, race, 0, 1, 1);
    add_rows(rows, (guint)both[race]->fp, race, 0, 1, 0);
    add_rows(rows, (guint)both[race]->fn, race, 0, 0, 1);
    add_rows(rows, (guint)both[race]->tn, race, 0, 0, 0);
  }
  add_rows(rows, 50, 1, 0, -1, 1); /* neither a class of the model: left out */
  add_rows(rows, 50, 1, 0, 1, -1);
  add_rows(rows, 50, G_MAXUINT16, 0, 1, 1); /* no race */
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  DriftFairnessSettings own;
  drift_fairness_settings_init(&own);
  for (guint m = 0; drift_bias_metrics[m].name != NULL; m++) {
    const DriftBiasMetric *metric = &drift_bias_metrics[m];
    DriftFairnessValue value;
    ck_assert_int_eq(drift_bias_metric_find(metric->name), (gint)m);
    settings.bias_metrics = 1u << m;
    g_autoptr(DriftWindowVerdict) verdict = evaluate(grid, rows, &settings);
    const DriftBiasVerdict *bias = find(verdict, metric->name, "race", "b");
    ck_assert_msg(bias != NULL, "%s", metric->name);
    if (metric->compare == NULL) {
      drift_fairness_rate(&b, metric->rate, &own, &value);
    } else {
      const DriftFairnessMetric *comparison = drift_fairness_metric_find(metric->compare);
      ck_assert_int_eq(comparison->convention, DRIFT_CONVENTION_REFERENCE);
      comparison->compare(comparison, &b, &a, &own, &value);
      ck_assert_ptr_null(find(verdict, metric->name, "race", "a")); /* nothing is compared with itself */
    }
    ck_assert(bias->value == value.value && bias->low == value.low && bias->high == value.high);
    ck_assert(bias->undefined == NULL && !isnan(bias->low));
  }
  ck_assert_int_eq(drift_bias_metric_find("luck"), -1);
}
END_TEST

START_TEST(where_there_is_none_the_reason_is_said)
{
  static const struct {
    DriftTask task;
    gboolean sensitive;
    guint rows;
    const gchar *reason;
  } cases[] = {{DRIFT_TASK_REGRESSION, TRUE, 100, "predicts a number"},
               {DRIFT_TASK_MULTICLASS, TRUE, 100, "this model has more"},
               {DRIFT_TASK_BINARY, FALSE, 100, "no feature of the model is marked sensitive"},
               {DRIFT_TASK_BINARY, TRUE, 0, "no labelled row"},
               {DRIFT_TASK_BINARY, TRUE, 10, "no group has minimum_group rows"}};
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(DriftGrid) grid = make_grid(cases[i].task, cases[i].sensitive);
    g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(DriftLabelRow));
    add_rows(rows, cases[i].rows, 0, 0, 1, 1);
    g_autoptr(DriftWindowVerdict) verdict = evaluate(grid, rows, &settings);
    ck_assert_uint_eq(verdict->bias_verdicts->len, 0);
    ck_assert_msg(verdict->bias_undefined && strstr(verdict->bias_undefined, cases[i].reason), "%u: %s", i,
                  verdict->bias_undefined);
  }
}
END_TEST

/* The grid's first group stays the reference in a window where another is larger; below minimum_group the next one is.
 */
START_TEST(the_reference_does_not_change_with_the_window)
{
  g_autoptr(DriftGrid) grid = make_grid(DRIFT_TASK_BINARY, TRUE);
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  for (guint n = 20; n <= 40; n += 20) {
    g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(DriftLabelRow));
    add_rows(rows, n, 0, 0, 1, 1);
    add_rows(rows, 100, 1, 0, 1, 1);
    g_autoptr(DriftWindowVerdict) verdict = evaluate(grid, rows, &settings);
    ck_assert_str_eq(find(verdict, "selection_rate", "race", "b")->reference_group, n < 30 ? "b" : "a");
    ck_assert((find(verdict, "selection_rate", "race", "a") == NULL) == (n < 30));
  }
}
END_TEST

/* Peer mistake 5: the reference group's TPR without a positive is undefined, and says whose. */
START_TEST(an_empty_denominator_names_its_side)
{
  g_autoptr(DriftGrid) grid = make_grid(DRIFT_TASK_BINARY, TRUE);
  g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(DriftLabelRow));
  add_rows(rows, 40, 0, 0, 0, 0);
  add_rows(rows, 40, 1, 0, 1, 1);
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  g_autoptr(DriftWindowVerdict) verdict = evaluate(grid, rows, &settings);
  const DriftBiasVerdict *opportunity = find(verdict, "equal_opportunity_difference", "race", "b");
  ck_assert(isnan(opportunity->value) && isnan(opportunity->low) && opportunity->n_reference == 0);
  ck_assert_str_eq(opportunity->undefined, "no row of the reference group is labelled favourable (n = 0)");
  const DriftBiasVerdict *impact = find(verdict, "disparate_impact", "race", "b");
  ck_assert(isnan(impact->value) && strstr(impact->undefined, "is 0") != NULL);
}
END_TEST

/* --- the audit ---------------------------------------------------------------------------------------------------- */

/* The reference data of the grid: 40 of a and 20 of b, 36 of f and 24 of m. */
static DriftAccumulator *make_profile(DriftGrid *grid)
{
  DriftAccumulator *profile = drift_accumulator_new(grid);
  for (guint i = 0; i < 60; i++) {
    DriftValue features[] = {drift_value_text(i % 3 == 2 ? "b" : "a", -1), drift_value_text(i % 5 < 3 ? "f" : "m", -1)};
    DriftEvent event = {.score = NAN, .latency_ms = NAN, .features = features};
    drift_accumulator_add(profile, &event);
  }
  return profile;
}

static DriftBiasAudit *make_audit(const DriftBiasAuditSettings *settings)
{
  g_autoptr(DriftGrid) grid = make_grid(DRIFT_TASK_BINARY, TRUE);
  g_autoptr(DriftAccumulator) profile = make_profile(grid);
  g_autoptr(GError) error = NULL;
  DriftBiasAudit *audit = drift_bias_audit_new(profile, settings, &error);
  ck_assert_msg(audit != NULL, "%s", error ? error->message : "");
  return audit;
}

static const DriftBiasAuditSettings usual = {.alpha = .05, .rates = 15, .minimum_group = 10};

/* A row whose label is favourable in a third, chosen at `rates` by race. */
static DriftLabelRow draw(GRand *random, const double *rates)
{
  guint16 race = g_rand_double(random) < .35, sex = g_rand_double(random) < .4;
  return (DriftLabelRow){.predicted_class = g_rand_double(random) < rates[race],
                         .label_class = g_rand_double(random) < 1 / 3.,
                         .score = NAN,
                         .groups = {race, sex},
                         .n_groups = 2};
}

/* Rows until the first alarm; 0: none within n. */
static guint run(const DriftBiasAuditSettings *settings, const double *rates, guint n, guint32 seed)
{
  g_autoptr(DriftBiasAudit) audit = make_audit(settings);
  g_autoptr(GRand) random = g_rand_new_with_seed(seed);
  for (guint i = 1; i <= n; i++) {
    DriftLabelRow row = draw(random, rates);
    if (drift_bias_audit_update(audit, &row)) return i;
  }
  return 0;
}

/* Two features, four rates, eight bets: at most alpha of the fair models may ever alarm. 200 seeds of 5,000 rows. */
START_TEST(a_fair_model_is_left_alone_and_an_unfair_one_is_found)
{
  const double fair[] = {.4, .4}, unfair[] = {.5, .35};
  guint alarms = 0;
  for (guint seed = 0; seed < 200; seed++) alarms += run(&usual, fair, 5000, 3000 + seed) > 0;
  ck_assert_uint_le(alarms, 10);
  DriftBiasAuditSettings forgiving = usual;
  forgiving.margin = .2;
  for (guint seed = 0; seed < 20; seed++) {
    guint delay = run(&usual, unfair, 20000, 4000 + seed);
    ck_assert(delay > 0 && delay < 12000);
    ck_assert_uint_eq(run(&forgiving, unfair, 5000, 4000 + seed), 0);
  }
}
END_TEST

START_TEST(findings_name_their_groups_and_the_alarm_is_at_alpha)
{
  const double unfair[] = {.6, .2};
  DriftBiasAuditSettings selection = usual;
  selection.rates = 1u << drift_bias_audit_rate_find("selection_rate");
  g_autoptr(DriftBiasAudit) audit = make_audit(&selection);
  g_autoptr(GRand) random = g_rand_new_with_seed(5);
  ck_assert_uint_eq(drift_bias_audit_n(audit), 2); /* b against a, m against f */
  DriftBiasAuditFinding race, sex;
  guint alarms = 0;
  for (guint i = 0; i < 2000; i++) {
    DriftLabelRow row = draw(random, unfair);
    gboolean alarm = drift_bias_audit_update(audit, &row);
    alarms += alarm;
    drift_bias_audit_get(audit, 0, &race);
    ck_assert(race.evidence.alarm == (race.p <= .05) && (!alarm || race.evidence.alarm));
  }
  ck_assert_uint_eq(alarms, 1); /* said once */
  drift_bias_audit_get(audit, 1, &sex);
  ck_assert_str_eq(race.attribute, "race");
  ck_assert_str_eq(race.rate, "selection_rate");
  ck_assert_str_eq(race.group, "b");
  ck_assert_str_eq(race.reference_group, "a");
  ck_assert_double_lt(race.evidence.mean_difference, -.3);
  ck_assert(race.evidence.n + race.evidence.n_reference > 1900 && !sex.evidence.alarm);
  ck_assert_str_eq(sex.attribute, "sex");
}
END_TEST

/* Of each rate: which rows are of it and what their outcome is. */
START_TEST(each_rate_takes_its_own_rows)
{
  static const struct {
    const gchar *rate;
    gint predicted, label;
    double outcome; /* -1: the row is not of this rate */
  } cases[] = {{"selection_rate", 1, 0, 1},
               {"selection_rate", 0, 1, 0},
               {"tpr", 1, 1, 1},
               {"tpr", 0, 1, 0},
               {"tpr", 1, 0, -1},
               {"fpr", 1, 0, 1},
               {"fpr", 0, 0, 0},
               {"fpr", 1, 1, -1},
               {"error_rate", 1, 0, 1},
               {"error_rate", 1, 1, 0},
               {"error_rate", 0, 0, 0},
               {"tpr", 1, -1, -1},
               {"selection_rate", -1, 1, -1}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    DriftBiasAuditSettings settings = usual;
    settings.rates = 1u << drift_bias_audit_rate_find(cases[i].rate);
    g_autoptr(DriftBiasAudit) audit = make_audit(&settings);
    DriftBiasAuditFinding finding;
    DriftLabelRow row = {
        .predicted_class = cases[i].predicted, .label_class = cases[i].label, .groups = {1, 0}, .n_groups = 2};
    DriftLabelRow other = row; /* the reference's row has the outcome 0 in every rate */
    other.groups[0] = 0;
    other.predicted_class = 0;
    other.label_class = strcmp(cases[i].rate, "tpr") == 0;
    drift_bias_audit_update(audit, &row);
    drift_bias_audit_update(audit, &other);
    drift_bias_audit_get(audit, 0, &finding);
    if (cases[i].outcome < 0)
      ck_assert_uint_eq(finding.evidence.n, 0);
    else
      ck_assert_msg(finding.evidence.mean_difference == cases[i].outcome, "%u", i);
  }
}
END_TEST

START_TEST(a_restored_bias_audit_continues_identically)
{
  const double rates[] = {.5, .4};
  g_autoptr(DriftBiasAudit) audit = make_audit(&usual), restored = NULL;
  g_autoptr(GRand) random = g_rand_new_with_seed(6);
  for (guint i = 0; i < 3000; i++) {
    DriftLabelRow row = draw(random, rates);
    if (i % 17 == 0) row.groups[0] = 9; /* no group of the grid */
    gboolean alarm = drift_bias_audit_update(audit, &row);
    if (restored != NULL) ck_assert_int_eq(alarm, drift_bias_audit_update(restored, &row));
    if (i % 500 != 0) continue;
    g_autoptr(GBytes) bytes = drift_bias_audit_to_bytes(audit);
    g_clear_pointer(&restored, drift_bias_audit_free);
    restored = drift_bias_audit_from_bytes(bytes, NULL);
    ck_assert_ptr_nonnull(restored);
  }
  g_autoptr(GBytes) a = drift_bias_audit_to_bytes(audit), b = drift_bias_audit_to_bytes(restored);
  ck_assert(g_bytes_equal(a, b));
  ck_assert_uint_eq(drift_bias_audit_n(restored), 8);
  gsize length;
  const guint8 *data = g_bytes_get_data(a, &length);
  for (gsize at = 0; at < length; at++) {
    g_autofree guint8 *copy = g_memdup2(data, length);
    copy[at] ^= 0x15;
    g_autoptr(GBytes) damaged = g_bytes_new(copy, length), cut = g_bytes_new(data, at);
    g_autoptr(DriftBiasAudit) read = drift_bias_audit_from_bytes(damaged, NULL);
    g_autoptr(DriftBiasAudit) part = drift_bias_audit_from_bytes(cut, NULL);
    ck_assert(read == NULL && part == NULL);
  }
}
END_TEST

/* Bytes with a digest that fits: refused, or an audit that takes rows and says its findings. */
START_TEST(forged_audit_states_are_refused_or_sound)
{
  const double rates[] = {.5, .4};
  g_autoptr(DriftBiasAudit) audit = make_audit(&usual);
  g_autoptr(GRand) random = g_rand_new_with_seed(8);
  for (guint i = 0; i < 200; i++) {
    DriftLabelRow row = draw(random, rates);
    drift_bias_audit_update(audit, &row);
  }
  g_autoptr(GBytes) bytes = drift_bias_audit_to_bytes(audit);
  g_autoptr(GBytes) raw = drift_frame_unpack("KBAU", 1, 1 << 20, "test", bytes, NULL);
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  guint sound = 0;
  for (guint k = 0; k < 4000; k++) {
    static const guint8 patterns[] = {0, 1, 0x7f, 0x80, 0xff};
    g_autoptr(GByteArray) forged = g_byte_array_new();
    g_byte_array_append(forged, data, (guint)length);
    for (guint j = 0; j <= k % 3; j++)
      forged->data[g_rand_int_range(random, 0, (gint)length)] ^= patterns[g_rand_int_range(random, 0, 5)];
    g_autoptr(GBytes) frame = drift_frame_pack("KBAU", 1, forged);
    g_autoptr(DriftBiasAudit) read = drift_bias_audit_from_bytes(frame, NULL);
    if (read == NULL) continue;
    sound++;
    for (guint i = 0; i < 20; i++) {
      DriftLabelRow row = draw(random, rates);
      drift_bias_audit_update(read, &row);
    }
    for (guint i = 0; i < drift_bias_audit_n(read); i++) {
      DriftBiasAuditFinding finding;
      drift_bias_audit_get(read, i, &finding);
      ck_assert(finding.group != NULL && finding.p >= 0 && finding.p <= 1);
    }
  }
  ck_assert_uint_gt(sound, 0); /* a name may be another name */
}
END_TEST

START_TEST(an_audit_of_nothing_says_why)
{
  static const struct {
    DriftTask task;
    gboolean sensitive;
    guint minimum_group;
    double alpha;
    const gchar *reason;
  } cases[] = {{DRIFT_TASK_REGRESSION, TRUE, 10, .05, "between two classes"},
               {DRIFT_TASK_MULTICLASS, TRUE, 10, .05, "between two classes"},
               {DRIFT_TASK_BINARY, FALSE, 10, .05, "marked sensitive"},
               {DRIFT_TASK_BINARY, TRUE, 30, .05, "two groups of minimum_group rows"},
               {DRIFT_TASK_BINARY, TRUE, 10, 1, "alpha lies between"}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(DriftGrid) grid = make_grid(cases[i].task, cases[i].sensitive);
    g_autoptr(DriftAccumulator) profile = make_profile(grid);
    DriftBiasAuditSettings settings = {cases[i].alpha, 0, 1, cases[i].minimum_group};
    g_autoptr(GError) error = NULL;
    ck_assert_ptr_null(drift_bias_audit_new(profile, &settings, &error));
    ck_assert_msg(strstr(error->message, cases[i].reason), "%s", error->message);
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_bias");
  TCase *tests = tcase_create("bias");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, crossing_finds_what_single_attributes_hide);
  tcase_add_test(tests, every_metric_is_that_of_the_fairness_table);
  tcase_add_test(tests, where_there_is_none_the_reason_is_said);
  tcase_add_test(tests, the_reference_does_not_change_with_the_window);
  tcase_add_test(tests, an_empty_denominator_names_its_side);
  tcase_add_test(tests, a_fair_model_is_left_alone_and_an_unfair_one_is_found);
  tcase_add_test(tests, findings_name_their_groups_and_the_alarm_is_at_alpha);
  tcase_add_test(tests, each_rate_takes_its_own_rows);
  tcase_add_test(tests, a_restored_bias_audit_continues_identically);
  tcase_add_test(tests, forged_audit_states_are_refused_or_sound);
  tcase_add_test(tests, an_audit_of_nothing_says_why);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
