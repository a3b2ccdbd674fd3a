/* Statistics against reference values; the verdict's parts on inputs whose answer is known. */
#include <math.h>
#include <stdlib.h>

#include "drift/bins_internal.h"
#include "drift/distributions.h"
#include "drift/statistics.h"
#include "drift/window.h"
#include "tests/unit/drift_goldens.h"

static gboolean is_close(double value, double expected)
{
  if (isnan(expected)) return isnan(value);
  return fabs(value - expected) <= 1e-12 + 1e-9 * fabs(expected);
}

static double number_at(json_t *object, const gchar *first, const gchar *second)
{
  json_t *inner = json_object_get(object, first);
  if (second != NULL) inner = json_object_get(inner, second);
  return json_is_number(inner) ? json_number_value(inner) : NAN;
}

START_TEST(laws_have_known_values)
{
  ck_assert(is_close(drift_normal_sf(1.959963984540054), .025));
  ck_assert(is_close(drift_normal_quantile(.975), 1.959963984540054));
  ck_assert(is_close(drift_chi_squared_sf(3.841458820694124, 1), .05));
  ck_assert(is_close(drift_chi_squared_quantile(.95, 1), 3.841458820694124));
  ck_assert(is_close(drift_beta_quantile(drift_beta_cdf(.3, 2, 5), 2, 5), .3));
  ck_assert(is_close(drift_binomial_tail(2, 3, .5), .5));
  ck_assert(drift_binomial_tail(0, 3, .5) == 1 && drift_binomial_tail(4, 3, .5) == 0);
  ck_assert(drift_chi_squared_sf(INFINITY, 3) == 0);
  const double undefined[] = {drift_chi_squared_sf(1, 0), drift_chi_squared_sf(NAN, 1), drift_normal_quantile(2),
                              drift_beta_cdf(.5, -1, 1), drift_binomial_tail(2, 3, 7)};
  for (guint i = 0; i < G_N_ELEMENTS(undefined); i++) ck_assert_double_nan(undefined[i]);
}
END_TEST

static guint get_counts(json_t *list, double *counts, guint capacity)
{
  guint n = (guint)json_array_size(list);
  ck_assert_uint_le(n, capacity);
  for (guint i = 0; i < n; i++) counts[i] = json_number_value(json_array_get(list, i));
  return n;
}

START_TEST(binned_statistics_match_the_references)
{
  json_t *family = goldens_load("binned.json"), *test;
  if (family == NULL) return;
  size_t index;
  guint checked = 0;
  json_array_foreach (json_object_get(family, "cases"), index, test) {
    json_t *expected = json_object_get(test, "expected"), *params = json_object_get(test, "params");
    json_t *holder = json_object_get(expected, "counts_ref") != NULL ? expected : params;
    double reference[256], window[256];
    guint n = get_counts(json_object_get(holder, "counts_ref"), reference, 256), df;
    ck_assert_uint_eq(get_counts(json_object_get(holder, "counts_cur"), window, 256), n);
    const gchar *id = json_string_value(json_object_get(test, "id"));
    double chi_squared = drift_chi_squared(reference, window, n, &df);
    json_t *contingency = json_object_get(expected, "chi2_contingency");
    if (json_is_number(json_object_get(contingency, "statistic"))) {
      ck_assert_msg(is_close(chi_squared, number_at(contingency, "statistic", NULL)), "%s", id);
      ck_assert_msg(df == number_at(contingency, "dof", NULL), "%s", id);
      double p = df > 0 ? drift_chi_squared_sf(chi_squared, df) : 1;
      ck_assert_msg(is_close(p, number_at(contingency, "p", NULL)), "%s", id);
    }
    double divergence = drift_js_divergence(reference, window, n);
    ck_assert_msg(is_close(divergence, number_at(expected, "js", "divergence_nat")), "%s", id);
    ck_assert_msg(is_close(drift_psi(reference, window, n), number_at(expected, "psi", "laplace_half")), "%s", id);
    checked++;
  }
  ck_assert_uint_ge(checked, 30);
  json_decref(family);
}
END_TEST

static gint compare_doubles(gconstpointer a, gconstpointer b)
{
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

/* KS of two columns through bins made from the first; *loss is the stated bound max over bins of min(f, g), without
 * single-value bins. */
static double binned_ks(GArray *reference, GArray *window, guint max_bins, double *loss)
{
  g_array_sort(reference, compare_doubles);
  DriftBins *bins = drift_bins_new_quantiles((const double *)reference->data, reference->len, max_bins);
  guint n = drift_bins_n(bins);
  g_autofree double *f = g_new0(double, n), *g = g_new0(double, n);
  for (guint i = 0; i < reference->len; i++) f[drift_bins_find(bins, g_array_index(reference, double, i))]++;
  for (guint i = 0; i < window->len; i++) g[drift_bins_find(bins, g_array_index(window, double, i))]++;
  *loss = 0;
  for (guint i = 1; i + 1 < n; i++) {
    gboolean single = nextafter(bins->edges[i - 1], INFINITY) >= bins->edges[i];
    if (!single) *loss = fmax(*loss, fmin(f[i] / reference->len, g[i] / window->len));
  }
  drift_bins_free(bins);
  return drift_ks_distance(f, g, n);
}

/* With a bin per value nothing is lost; with few bins the loss is within the stated bound. */
START_TEST(ks_from_bins_matches_the_references)
{
  json_t *family = goldens_load("two_sample.json"), *test;
  if (family == NULL) return;
  size_t index;
  guint checked = 0;
  json_array_foreach (json_object_get(family, "cases"), index, test) {
    json_t *inputs = json_object_get(test, "inputs"), *ks = json_object_get(json_object_get(test, "expected"), "ks");
    const gchar *id = json_string_value(json_object_get(test, "id"));
    const gchar *column = json_string_value(json_object_get(inputs, "column"));
    if (column == NULL || !json_is_number(json_object_get(ks, "statistic"))) continue;
    g_autoptr(GArray) reference = goldens_column(json_string_value(json_object_get(inputs, "reference")), column);
    g_autoptr(GArray) window = goldens_column(json_string_value(json_object_get(inputs, "current")), column);
    double loss, exact = number_at(ks, "statistic", NULL);
    double fine = binned_ks(reference, window, 2 * reference->len + 2, &loss);
    ck_assert_msg(is_close(fine, exact), "%s: %.17g, not %.17g", id, fine, exact);
    double p = drift_ks_p(fine, reference->len, window->len);
    ck_assert_msg(is_close(p, number_at(ks, "p_kolmogorov_limit", NULL)), "%s: p", id);
    for (guint bins = 8; bins <= 64; bins *= 2) {
      double coarse = binned_ks(reference, window, bins, &loss);
      ck_assert_msg(coarse <= exact + 1e-12 && coarse >= exact - loss - 1e-12, "%s with %u bins", id, bins);
    }
    checked++;
  }
  ck_assert_uint_ge(checked, 15);
  json_decref(family);
}
END_TEST

START_TEST(adjusted_p_values_match_the_references)
{
  json_t *family = goldens_load("multiple_testing.json"), *test;
  if (family == NULL) return;
  size_t index;
  json_array_foreach (json_object_get(family, "cases"), index, test) {
    double p[64], adjusted[64];
    guint n = get_counts(json_object_get(json_object_get(test, "params"), "p"), p, 64);
    json_t *expected = json_object_get(json_object_get(test, "expected"), "bh");
    drift_benjamini_hochberg(p, n, adjusted);
    for (guint i = 0; i < n; i++) ck_assert(is_close(adjusted[i], json_number_value(json_array_get(expected, i))));
  }
  json_decref(family);
}
END_TEST

START_TEST(undefined_p_values_are_no_tests)
{
  const double p[] = {NAN, .01, NAN, .04};
  double adjusted[4];
  drift_benjamini_hochberg(p, 4, adjusted);
  ck_assert(isnan(adjusted[0]) && isnan(adjusted[2]));
  ck_assert(is_close(adjusted[1], .02) && is_close(adjusted[3], .04));
  drift_benjamini_hochberg(p, 0, adjusted);
}
END_TEST

START_TEST(intervals_have_known_values)
{
  double low, high;
  drift_wilson_interval(8, 10, .95, &low, &high); /* Wilson 1927; statsmodels proportion_confint */
  ck_assert_double_eq_tol(low, .490162, 1e-6);
  ck_assert_double_eq_tol(high, .943318, 1e-6);
  drift_wilson_interval(0, 10, .95, &low, &high);
  ck_assert(low == 0 && high > .2 && high < .35);
  drift_wilson_interval(0, 0, .95, &low, &high);
  ck_assert(isnan(low) && isnan(high));
  drift_difference_interval(56, 70, 48, 80, .95, &low, &high); /* Newcombe 1998, example (a), method 10 */
  ck_assert_double_eq_tol(low, .0524, 1e-4);
  ck_assert_double_eq_tol(high, .3339, 1e-4);
  drift_ratio_interval(30, 100, 60, 100, .95, &low, &high); /* exp(ln .5 +- 1.96 sqrt(.7/30 + .4/60)) */
  ck_assert_double_eq_tol(low, .5 * exp(-1.959964 * sqrt(.03)), 1e-6);
  ck_assert_double_eq_tol(high, .5 * exp(1.959964 * sqrt(.03)), 1e-6);
}
END_TEST

START_TEST(permutations_agree_with_fisher)
{
  /* 3 of 10 against 9 of 10: Fisher's two-sided p is .0198. */
  const double reference[] = {3, 7}, window[] = {9, 1};
  DriftPermutation one, two;
  drift_permutation_test(reference, window, 2, 1, &one);
  drift_permutation_test(reference, window, 2, 1, &two);
  ck_assert_double_eq_tol(one.chi_squared_p, .0198, .006);
  ck_assert(one.chi_squared_p == two.chi_squared_p && one.js_mean == two.js_mean);
  drift_permutation_test(reference, reference, 2, 1, &one);
  ck_assert(one.chi_squared_p == 1 && one.psi_p == 1);
}
END_TEST

/* ---- whole verdicts ---- */

static DriftSchema *make_schema(void)
{
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "race", DRIFT_CATEGORICAL, TRUE, FALSE);
  drift_schema_add_feature(schema, "constant", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "age", DRIFT_NUMERIC, TRUE, TRUE);
  drift_schema_add_class(schema, "0");
  drift_schema_add_class(schema, "1");
  schema->positive_class = 1;
  return schema;
}

/* Row r of a fixed sequence; spread evenly so that windows of it look alike. */
static void get_row(guint r, double shift, DriftValue *features)
{
  const gchar *races[] = {"African-American", "Caucasian", "African-American", "Other"};
  features[0] = drift_value_number((double)(r * 2654435761u % 1000) / 1000 + shift);
  features[1] = drift_value_text(races[r % 4], -1);
  features[2] = drift_value_number(7);
  features[3] = drift_value_number(20 + r % 40);
}

typedef struct {
  DriftGrid *grid;
  DriftAccumulator *profile, *window;
  DriftWindowSettings settings;
} World;

static void world_init(World *world)
{
  g_autoptr(DriftSchema) schema = make_schema();
  g_autoptr(DriftTable) table = drift_table_new();
  DriftValue features[4];
  for (guint i = 0; i < 4; i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    drift_table_add_column(table, feature->name, feature->kind);
  }
  for (guint r = 0; r < 2000; r++) {
    get_row(r, 0, features);
    for (guint i = 0; i < 4; i++) {
      DriftColumn *column = g_ptr_array_index(table->columns, i);
      if (features[i].kind == DRIFT_VALUE_TEXT)
        drift_column_append_text(column, features[i].text, features[i].length);
      else
        drift_column_append_number(column, features[i].number);
    }
  }
  table->n_rows = 2000;
  world->grid = drift_grid_new(schema, table, 0, NULL);
  world->profile = drift_accumulator_from_table(world->grid, table, NULL);
  world->window = drift_accumulator_new(world->grid);
  drift_window_settings_init(&world->settings);
}

static void world_clear(World *world)
{
  drift_accumulator_free(world->profile);
  drift_accumulator_free(world->window);
  drift_grid_unref(world->grid);
}

static void add_rows(World *world, guint n, double shift)
{
  DriftValue features[4];
  for (guint r = 0; r < n; r++) {
    get_row(r + 77, shift, features);
    DriftEvent event = {.score = NAN, .latency_ms = NAN, .features = features};
    drift_accumulator_add(world->window, &event);
  }
}

static DriftWindowVerdict *evaluate(const World *world, const DriftLabelRow *rows, guint n)
{
  g_autoptr(GError) error = NULL;
  DriftWindowVerdict *verdict = drift_window_evaluate(world->profile, world->window, rows, n, &world->settings, &error);
  ck_assert_msg(verdict != NULL, "%s", error != NULL ? error->message : "");
  return verdict;
}

static const DriftFeatureVerdict *find(const DriftWindowVerdict *verdict, const gchar *name)
{
  for (guint i = 0; i < verdict->features->len; i++) {
    const DriftFeatureVerdict *feature = g_ptr_array_index(verdict->features, i);
    if (strcmp(feature->feature, name) == 0) return feature;
  }
  ck_abort_msg("no verdict on %s", name);
  return NULL;
}

START_TEST(equal_windows_are_quiet_and_outputs_without_values_undefined)
{
  World world;
  world_init(&world);
  add_rows(&world, 1000, 0);
  g_autoptr(DriftWindowVerdict) verdict = evaluate(&world, NULL, 0);
  ck_assert(!verdict->drift && !verdict->quality && !verdict->bias);
  ck_assert_uint_eq(verdict->features->len, 7);
  const DriftFeatureVerdict *score = find(verdict, "(score)"), *constant = find(verdict, "constant");
  ck_assert(isnan(score->p) && isnan(score->p_adjusted) && score->undefined != NULL &&
            strcmp(score->test, "none") == 0);
  ck_assert(score->n_reference == 0 && !score->drift);
  ck_assert(constant->p == 1 && constant->effect == 0 && constant->undefined == NULL);
  ck_assert_double_eq_tol(find(verdict, "x")->mean_window, find(verdict, "x")->mean_reference, .02);
  ck_assert(verdict->performance.n == 0 && isnan(verdict->performance.accuracy) && isnan(verdict->performance.auc));
  world_clear(&world);
}
END_TEST

START_TEST(empty_and_tiny_windows_are_no_drift)
{
  World world;
  world_init(&world);
  for (guint n = 0; n < 8; n++) {
    drift_accumulator_reset(world.window);
    add_rows(&world, n, 0);
    g_autoptr(DriftWindowVerdict) verdict = evaluate(&world, NULL, 0);
    ck_assert_msg(!verdict->drift && !verdict->quality, "%u rows", n);
    if (n == 0) ck_assert_ptr_nonnull(find(verdict, "x")->undefined);
  }
  world_clear(&world);
}
END_TEST

START_TEST(the_shifted_feature_is_named_first)
{
  World world;
  world_init(&world);
  add_rows(&world, 500, .4);
  g_autoptr(DriftWindowVerdict) verdict = evaluate(&world, NULL, 0);
  const DriftFeatureVerdict *first = g_ptr_array_index(verdict->features, 0);
  ck_assert(verdict->drift && verdict->evidence_log > 20);
  ck_assert_str_eq(first->feature, "x");
  ck_assert(first->drift && first->effect > .3 && first->ks > .35 && first->ks_p < 1e-10);
  ck_assert_double_gt(first->out_of_range_window, .3);
  const DriftFeatureVerdict *age = find(verdict, "age");
  ck_assert(age->p == fmin(1, 2 * fmin(age->ks_p, age->chi_squared_p)) &&
            find(verdict, "race")->p == find(verdict, "race")->chi_squared_p);
  ck_assert(first->quality); /* 40 % of the values were never seen */
  world.settings.minimum_effect = .95;
  g_autoptr(DriftWindowVerdict) trifle = evaluate(&world, NULL, 0);
  ck_assert(!trifle->drift);
  world_clear(&world);
}
END_TEST

START_TEST(missing_and_unseen_values_are_quality)
{
  World world;
  world_init(&world);
  DriftValue features[4];
  for (guint r = 0; r < 400; r++) {
    get_row(r, 0, features);
    if (r % 5 == 0) features[0] = drift_value_missing();
    if (r % 5 == 1) features[1] = drift_value_text("Martian", -1);
    DriftEvent event = {.score = NAN, .latency_ms = NAN, .features = features};
    drift_accumulator_add(world.window, &event);
  }
  g_autoptr(DriftWindowVerdict) verdict = evaluate(&world, NULL, 0);
  const DriftFeatureVerdict *x = find(verdict, "x"), *race = find(verdict, "race");
  ck_assert(verdict->quality && x->quality && race->quality && !x->drift && race->drift);
  ck_assert(is_close(x->missing_window, .2) && x->missing_reference == 0 && is_close(race->unseen_window, .2));
  ck_assert(!find(verdict, "age")->quality);
  world_clear(&world);
}
END_TEST

/* race 0 is African-American (most frequent), then Caucasian, Other. */
static DriftLabelRow label_row(guint16 race, gboolean predicted, gboolean label, double score)
{
  return (DriftLabelRow){.predicted_class = predicted,
                         .label_class = label,
                         .score = score,
                         .predicted_value = NAN,
                         .label_value = NAN,
                         .groups = {race, 0},
                         .n_groups = 2};
}

static const DriftBiasVerdict *find_bias(const DriftWindowVerdict *verdict, const gchar *metric, const gchar *group)
{
  for (guint i = 0; i < verdict->bias_verdicts->len; i++) {
    const DriftBiasVerdict *bias = g_ptr_array_index(verdict->bias_verdicts, i);
    if (strcmp(bias->metric, metric) == 0 && strcmp(bias->group, group) == 0) return bias;
  }
  return NULL;
}

START_TEST(bias_names_both_groups_with_intervals)
{
  World world;
  world_init(&world);
  world.settings.disparate_impact_bound = .8;
  g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(DriftLabelRow));
  for (guint i = 0; i < 800; i++) {
    DriftLabelRow row = label_row(i % 2, i % 2 == 0 ? i % 10 < 6 : i % 10 < 4, i % 10 < 5, .5);
    g_array_append_val(rows, row);
  }
  DriftLabelRow few = label_row(2, FALSE, FALSE, .5); /* ten rows of Other: too few to be shown */
  for (guint i = 0; i < 10; i++) g_array_append_val(rows, few);
  g_autoptr(DriftWindowVerdict) verdict = evaluate(&world, (const DriftLabelRow *)rows->data, rows->len);
  const DriftBiasVerdict *first = g_ptr_array_index(verdict->bias_verdicts, 0);
  ck_assert(verdict->bias && first->breach);
  ck_assert_str_eq(first->metric, "disparate_impact");
  ck_assert_str_eq(first->attribute, "race");
  ck_assert_str_eq(first->group, "Caucasian");
  ck_assert_str_eq(first->reference_group, "African-American");
  ck_assert(is_close(first->rate_group, .4) && is_close(first->rate_reference, .6) && is_close(first->value, 2 / 3.0));
  ck_assert(first->low < first->value && first->value < first->high && first->high < .8);
  ck_assert(first->rate_group_low < .4 && first->rate_group_high > .4);
  ck_assert_ptr_null(find_bias(verdict, "selection_rate", "Other"));
  ck_assert_ptr_nonnull(find_bias(verdict, "equal_opportunity_difference", "Caucasian"));
  world.settings.disparate_impact_bound = .7; /* the interval reaches past .7 */
  g_autoptr(DriftWindowVerdict) lenient = evaluate(&world, (const DriftLabelRow *)rows->data, rows->len);
  ck_assert(!lenient->bias);
  world_clear(&world);
}
END_TEST

START_TEST(undefined_fairness_is_text_not_a_number)
{
  World world;
  world_init(&world);
  world.settings.disparate_impact_bound = .8;
  g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(DriftLabelRow));
  for (guint i = 0; i < 200; i++) { /* nobody of the reference group is selected, no Caucasian is labelled positive */
    DriftLabelRow row = label_row(i % 2, i % 2 == 1 && i % 4 == 1, i % 2 == 0, NAN);
    g_array_append_val(rows, row);
  }
  g_autoptr(DriftWindowVerdict) verdict = evaluate(&world, (const DriftLabelRow *)rows->data, rows->len);
  const DriftBiasVerdict *impact = find_bias(verdict, "disparate_impact", "Caucasian");
  const DriftBiasVerdict *opportunity = find_bias(verdict, "equal_opportunity_difference", "Caucasian");
  ck_assert(isnan(impact->value) && impact->undefined != NULL && !impact->breach);
  ck_assert(isnan(opportunity->value) && opportunity->undefined != NULL && opportunity->n_group == 0);
  ck_assert(isnan(opportunity->rate_group) && isnan(opportunity->rate_group_low));
  ck_assert(!verdict->bias);
  world_clear(&world);
}
END_TEST

START_TEST(a_group_never_selected_is_a_breach)
{
  World world;
  world_init(&world);
  world.settings.disparate_impact_bound = .8;
  g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(DriftLabelRow));
  for (guint i = 0; i < 200; i++) {
    DriftLabelRow row = label_row(i % 2, i % 2 == 0 && i % 4 == 0, TRUE, NAN);
    g_array_append_val(rows, row);
  }
  g_autoptr(DriftWindowVerdict) verdict = evaluate(&world, (const DriftLabelRow *)rows->data, rows->len);
  const DriftBiasVerdict *impact = find_bias(verdict, "disparate_impact", "Caucasian");
  ck_assert(impact->value == 0 && impact->low == 0 && impact->high > 0 && impact->high < .2 && impact->breach);
  world_clear(&world);
}
END_TEST

START_TEST(performance_has_known_values)
{
  World world;
  world_init(&world);
  /* Scores .1 .4 .4 .8 with labels 0 0 1 1: one tie, AUC (1 + 1 + .5 + 1) / 4. */
  const DriftLabelRow rows[] = {label_row(0, FALSE, FALSE, .1), label_row(0, FALSE, FALSE, .4),
                                label_row(0, FALSE, TRUE, .4), label_row(0, TRUE, TRUE, .8)};
  g_autoptr(DriftWindowVerdict) verdict = evaluate(&world, rows, 4);
  ck_assert(verdict->performance.n == 4 && is_close(verdict->performance.accuracy, .75));
  ck_assert(is_close(verdict->performance.auc, .875));
  double log_loss = -(log(.9) + log(.6) + log(.4) + log(.8)) / 4;
  ck_assert(is_close(verdict->performance.log_loss, log_loss));
  ck_assert(verdict->performance.accuracy_low < .75 && verdict->performance.accuracy_high > .75);
  const DriftLabelRow certain[] = {label_row(0, TRUE, FALSE, 1), label_row(0, FALSE, FALSE, 0)};
  g_autoptr(DriftWindowVerdict) one_class = evaluate(&world, certain, 2);
  ck_assert(isnan(one_class->performance.auc)); /* no positive label */
  ck_assert_double_eq_tol(one_class->performance.log_loss, -log(1e-15) / 2, .02);
  world_clear(&world);
}
END_TEST

START_TEST(regression_has_errors_and_no_bias)
{
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_REGRESSION, "y");
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, TRUE, TRUE);
  g_autoptr(DriftTable) table = drift_table_new();
  DriftColumn *x = drift_table_add_column(table, "x", DRIFT_NUMERIC),
              *y = drift_table_add_column(table, "y", DRIFT_NUMERIC);
  for (guint i = 0; i < 100; i++) {
    drift_column_append_number(x, i);
    drift_column_append_number(y, i);
  }
  table->n_rows = 100;
  g_autoptr(DriftGrid) grid = drift_grid_new(schema, table, 0, NULL);
  g_autoptr(DriftAccumulator) profile = drift_accumulator_from_table(grid, table, NULL);
  DriftValue features[] = {drift_value_number(60)};
  DriftLabelledRow joined = {.label = drift_value_number(3)};
  joined.event =
      (DriftEvent){.prediction = drift_value_number(7), .score = NAN, .latency_ms = NAN, .features = features};
  DriftLabelRow rows[2];
  drift_label_row_from(grid, &joined, &rows[0]);
  ck_assert_uint_eq(rows[0].groups[0], 2); /* the third quarter */
  ck_assert(drift_label_row_error(schema, &rows[0]) == 16);
  joined.label = drift_value_missing();
  drift_label_row_from(grid, &joined, &rows[1]);
  ck_assert(isnan(drift_label_row_error(schema, &rows[1])));
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  g_autoptr(DriftWindowVerdict) verdict = drift_window_evaluate(profile, profile, rows, 2, &settings, NULL);
  ck_assert(verdict->performance.n == 1 && verdict->performance.mae == 4 && verdict->performance.rmse == 4);
  ck_assert(isnan(verdict->performance.accuracy) && verdict->bias_verdicts->len == 0 && !verdict->drift);
}
END_TEST

START_TEST(other_grids_are_refused)
{
  World world, other;
  world_init(&world);
  world_init(&other);
  g_autoptr(DriftSchema) schema = make_schema();
  schema->positive_class = 0;
  g_autoptr(DriftTable) table = drift_table_new();
  for (guint i = 0; i < 4; i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    drift_column_append_missing(drift_table_add_column(table, feature->name, feature->kind));
  }
  table->n_rows = 1;
  g_autoptr(DriftGrid) grid = drift_grid_new(schema, table, 0, NULL); /* all missing: a grid without bins */
  ck_assert_ptr_nonnull(grid);
  g_autoptr(DriftAccumulator) window = drift_accumulator_new(grid);
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(drift_window_evaluate(world.profile, window, NULL, 0, &world.settings, &error));
  ck_assert(g_error_matches(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH));
  g_autoptr(DriftWindowVerdict) same =
      drift_window_evaluate(world.profile, other.profile, NULL, 0, &world.settings, NULL);
  ck_assert_ptr_nonnull(same); /* equal references make equal grids */
  world_clear(&world);
  world_clear(&other);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_window");
  TCase *tests = tcase_create("window");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, laws_have_known_values);
  tcase_add_test(tests, binned_statistics_match_the_references);
  tcase_add_test(tests, ks_from_bins_matches_the_references);
  tcase_add_test(tests, adjusted_p_values_match_the_references);
  tcase_add_test(tests, undefined_p_values_are_no_tests);
  tcase_add_test(tests, intervals_have_known_values);
  tcase_add_test(tests, permutations_agree_with_fisher);
  tcase_add_test(tests, equal_windows_are_quiet_and_outputs_without_values_undefined);
  tcase_add_test(tests, empty_and_tiny_windows_are_no_drift);
  tcase_add_test(tests, the_shifted_feature_is_named_first);
  tcase_add_test(tests, missing_and_unseen_values_are_quality);
  tcase_add_test(tests, bias_names_both_groups_with_intervals);
  tcase_add_test(tests, undefined_fairness_is_text_not_a_number);
  tcase_add_test(tests, a_group_never_selected_is_a_breach);
  tcase_add_test(tests, performance_has_known_values);
  tcase_add_test(tests, regression_has_errors_and_no_bias);
  tcase_add_test(tests, other_grids_are_refused);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
