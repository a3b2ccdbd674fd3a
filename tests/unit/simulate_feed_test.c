/* A table as traffic: order, scores, delayed labels. The daemon is played by a store that says all is decided. */
#include <check.h>
#include <glib/gstdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "daemon/simulate_feed.h"
#include "pipeline/model_spec.h"
#include "pipeline/trainer.h"
#include "registry/decision.h"
#include "registry/model.h"
#include "registry/shard.h"
#include "tests/support/postgres_store.h"

enum { ROWS = 60, WARM_UP = 20, DELAY = 15 };
#define SECOND G_GINT64_CONSTANT(1000000)

static TestStore *test;
static RegistryArtifacts *artifacts;
static Settings *settings;
static DriftTable *table;
static DriftSchema *schema;
static guint64 order[ROWS];

static void good(gboolean value, const GError *error)
{
  ck_assert_msg(value, "%s", error ? error->message : "no reason given");
}

/* Kinds of label: classes with commas and quotes, numbers; every tenth is missing. */
static void make_table(gboolean regression)
{
  table = drift_table_new();
  DriftColumn *a = drift_table_add_column(table, "größe, a", DRIFT_NUMERIC),
              *b = drift_table_add_column(table, "b", DRIFT_CATEGORICAL),
              *y = drift_table_add_column(table, "y", regression ? DRIFT_NUMERIC : DRIFT_CATEGORICAL);
  for (guint i = 0; i < ROWS; i++) {
    drift_column_append_number(a, i % 7 == 0 ? NAN : i % 10 / 10.);
    drift_column_append_text(b, i % 3 ? "x \"1\"" : "y", -1);
    if (i >= WARM_UP && i % 10 == 0)
      drift_column_append_missing(y);
    else if (regression)
      drift_column_append_number(y, i % 10 + 100.5);
    else
      drift_column_append_text(y, i % 10 < 3 ? "low, yes" : i % 10 < 6 ? "mid" : "hi", -1);
  }
  table->n_rows = ROWS;
}

static void register_model(void)
{
  g_autoptr(GError) error = NULL;
  schema = pipeline_model_spec_infer(table, "y", NULL, NULL, &error);
  good(schema != NULL, error);
  g_autofree gchar *spec = pipeline_model_spec_format(schema);
  good(registry_model_create(test->store, "m", spec, "test", &error), error);
  guint64 first[WARM_UP];
  for (guint i = 0; i < WARM_UP; i++) first[i] = i;
  g_autoptr(DriftTable) warm_up = drift_table_select(table, first, WARM_UP);
  PipelineTrainOptions options;
  pipeline_train_options_init(&options);
  options.architecture = "mlp:4";
  options.epochs = 2;
  PipelineTrainResult trained = {0};
  good(pipeline_train(warm_up, schema, &options, NULL, NULL, &trained, &error), error);
  g_autofree gchar *digest = registry_artifacts_put(artifacts, trained.onnx, &error);
  good(digest != NULL, error);
  const RegistryVersion version = {.model = (gchar *)"m", .onnx_digest = digest, .kind = (gchar *)"imported"};
  good(registry_version_create(test->store, &version, "test", &error) == 1, error);
  good(registry_alias_set(test->store, "m", "champion", 1, -1, "test", "first", &error), error);
  pipeline_train_result_clear(&trained);
}

/* A consumer and a leader that are ahead of everything. */
static void play_daemon(void)
{
  static const gchar consumed[] = "{\"traffic\": 1000000, \"labels\": {\"0\": 1000000}}";
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryShard) shard = registry_shard_acquire(test->store, "m", 0, "test", &error);
  good(shard != NULL, error);
  g_autoptr(GBytes) state = g_bytes_new_static("s", 1);
  const RegistryCheckpoint one = {.model = "m",
                                  .epoch = shard->epoch,
                                  .base_offset = -1,
                                  .next_offset = 1000000,
                                  .state = state,
                                  .consumed = consumed};
  good(registry_shard_checkpoint(test->store, &one, &error), error);
  g_autofree gchar *progress = g_strdup_printf("{\"seen\": {\"0\": %s}, \"settled\": true}", consumed);
  good(registry_leader_state_put(test->store, "m", state, progress, &error), error);
}

static void make_topic(const gchar *name)
{
  g_autofree gchar *folder = g_build_filename(test->directory, "topics", name, NULL),
                   *file = g_build_filename(folder, "0.jsonl", NULL);
  ck_assert_int_eq(g_mkdir_with_parents(folder, 0700), 0);
  ck_assert(g_file_set_contents(file, "", 0, NULL));
}

static void begin(gboolean regression)
{
  g_autoptr(GError) error = NULL;
  test = test_store_open(0);
  g_autofree gchar *path = g_build_filename(test->directory, "artifacts", NULL);
  artifacts = registry_artifacts_open(path, &error);
  good(artifacts != NULL, error);
  g_autofree gchar *text = g_strdup_printf(
      "store: \"%s\"\nartifacts: \"%s\"\nsingle_host: true\nbroker: {source: file, directory: \"%s/topics\"}\nmodels:\n"
      "  - name: m\n    traffic: {topic: t}\n    labels: {topic: l}\n",
      test->uri, path, test->directory);
  settings = settings_parse("test.yaml", text, strlen(text), &error);
  good(settings != NULL, error);
  make_topic("t");
  make_topic("l");
  make_table(regression);
  register_model();
  play_daemon();
  for (guint i = 0; i < ROWS; i++)
    order[i] = i < WARM_UP ? i : WARM_UP + ROWS - 1 - i; /* backwards: not the file's order */
}

static void end(void)
{
  drift_schema_free(schema);
  drift_table_free(table);
  settings_unref(settings);
  registry_artifacts_close(artifacts);
  test_store_close(test);
}

static gboolean feed(SimulateResult *result, GError **error)
{
  const SimulateFeed options = {.settings = settings,
                                .model = settings_find_model(settings, "m"),
                                .store = test->store,
                                .artifacts = artifacts,
                                .table = table,
                                .order = order,
                                .n_rows = ROWS,
                                .warm_up = WARM_UP,
                                .delay = DELAY,
                                .pane = 10,
                                .first_time = 1000 * SECOND,
                                .interval_us = SECOND,
                                .timeout_us = 30 * SECOND,
                                .poll_ms = 2};
  return simulate_feed(&options, NULL, NULL, result, error);
}

/* The records' values of a topic (new, of json_t*). */
static GPtrArray *read_topic(const gchar *name)
{
  g_autofree gchar *file = g_build_filename(test->directory, "topics", name, "0.jsonl", NULL), *text = NULL;
  ck_assert(g_file_get_contents(file, &text, NULL, NULL));
  GPtrArray *values = g_ptr_array_new_with_free_func((GDestroyNotify)json_decref);
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  for (guint i = 0; lines[i]; i++) {
    if (!*lines[i]) continue;
    const gchar *value_text = strstr(lines[i], "{\"request_id\""); /* behind {"key": …} */
    json_t *value = value_text ? json_loads(value_text, 0, NULL) : NULL;
    ck_assert_msg(value != NULL, "%s", lines[i]);
    g_ptr_array_add(values, value);
  }
  return values;
}

static gint64 integer_of(const json_t *json, const gchar *key)
{
  ck_assert_msg(json_is_integer(json_object_get(json, key)), "%s", key);
  return json_integer_value(json_object_get(json, key));
}

START_TEST(rows_and_labels_keep_their_order_and_delay)
{
  g_autoptr(GError) error = NULL;
  SimulateResult result = {0};
  begin(FALSE);
  good(feed(&result, &error), error);
  g_autoptr(GPtrArray) rows = read_topic("t"), labels = read_topic("l");
  ck_assert_uint_eq(rows->len, ROWS - WARM_UP);
  ck_assert_uint_eq(labels->len, ROWS - WARM_UP);
  for (guint i = 0; i < rows->len; i++) {
    const json_t *row = g_ptr_array_index(rows, i), *label = g_ptr_array_index(labels, i);
    g_autofree gchar *id = g_strdup_printf("r%" G_GUINT64_FORMAT, order[WARM_UP + i]);
    ck_assert_str_eq(json_string_value(json_object_get(row, "request_id")), id);
    ck_assert_str_eq(json_string_value(json_object_get(label, "request_id")), id);
    ck_assert_int_eq(integer_of(row, "ts"), (1000 + i) * 1000);
    ck_assert_int_eq(integer_of(label, "ts"), (1000 + i + DELAY) * 1000 - 500); /* just before row i + DELAY */
  }
  simulate_result_clear(&result);
  end();
}
END_TEST

START_TEST(what_is_sent_is_the_table_and_the_champions_answer)
{
  g_autoptr(GError) error = NULL;
  SimulateResult result = {0};
  begin(FALSE);
  good(feed(&result, &error), error);
  g_autoptr(GPtrArray) rows = read_topic("t"), labels = read_topic("l");
  ck_assert_uint_eq(result.predictions->len, rows->len);
  guint right = 0, labelled = 0;
  for (guint i = 0; i < rows->len; i++) {
    const SimulatePrediction *p = &g_array_index(result.predictions, SimulatePrediction, i);
    const json_t *row = g_ptr_array_index(rows, i), *features = json_object_get(row, "features");
    ck_assert_uint_eq(p->row, order[WARM_UP + i]);
    ck_assert_int_eq(p->version, 1);
    ck_assert_str_eq(json_string_value(json_object_get(row, "prediction")),
                     g_ptr_array_index(schema->classes, p->predicted));
    const json_t *a = json_object_get(features, "größe, a"), *b = json_object_get(features, "b");
    ck_assert(p->row % 7 == 0 ? json_is_null(a) : fabs(json_number_value(a) - p->row % 10 / 10.) < 1e-12);
    ck_assert_str_eq(json_string_value(b), p->row % 3 ? "x \"1\"" : "y");
    const gchar *label = json_string_value(json_object_get(g_ptr_array_index(labels, i), "label"));
    ck_assert(isnan(p->merit) == (label == NULL));
    if (!label) continue;
    labelled++;
    right += g_str_equal(label, g_ptr_array_index(schema->classes, p->predicted));
    ck_assert(p->merit == g_str_equal(label, g_ptr_array_index(schema->classes, p->predicted)));
  }
  ck_assert_uint_eq(result.n, labelled);
  ck_assert_double_eq_tol(result.served, right / (double)labelled, 1e-12);
  ck_assert_double_eq_tol(result.served, result.static_served, 1e-12);
  simulate_result_clear(&result);
  end();
}
END_TEST

START_TEST(a_regression_is_measured_by_its_absolute_error)
{
  g_autoptr(GError) error = NULL;
  SimulateResult result = {0};
  begin(TRUE);
  ck_assert_int_eq(schema->task, DRIFT_TASK_REGRESSION);
  good(feed(&result, &error), error);
  ck_assert(result.regression);
  g_autoptr(GPtrArray) rows = read_topic("t");
  for (guint i = 0; i < rows->len; i++) {
    const SimulatePrediction *p = &g_array_index(result.predictions, SimulatePrediction, i);
    ck_assert_int_eq(p->predicted, -1);
    ck_assert_double_eq_tol(json_number_value(json_object_get(g_ptr_array_index(rows, i), "prediction")), p->value,
                            1e-12);
    if (p->row % 10) ck_assert_double_eq_tol(p->merit, fabs(p->value - (p->row % 10 + 100.5)), 1e-9);
  }
  simulate_result_clear(&result);
  end();
}
END_TEST

/* A class that the model has never seen cannot have been predicted: it counts as wrong, not as no label. */
START_TEST(an_unknown_class_is_wrong)
{
  g_autoptr(GError) error = NULL;
  SimulateResult result = {0};
  begin(FALSE);
  DriftColumn *y = drift_table_get_column(table, "y");
  guint32 code = y->dictionary->len;
  drift_column_append_text(y, "never seen", -1);
  for (guint row = WARM_UP; row < ROWS; row++) g_array_index(y->codes, guint32, row) = code;
  good(feed(&result, &error), error);
  ck_assert_uint_eq(result.n, ROWS - WARM_UP);
  ck_assert_double_eq(result.served, 0);
  simulate_result_clear(&result);
  end();
}
END_TEST

START_TEST(a_feature_that_the_data_lack_is_named)
{
  g_autoptr(GError) error = NULL;
  SimulateResult result = {0};
  begin(FALSE);
  DriftColumn *b = drift_table_get_column(table, "b");
  g_free(b->name);
  b->name = g_strdup("other");
  ck_assert(!feed(&result, &error));
  ck_assert_msg(strstr(error->message, "no column b, a feature") != NULL, "%s", error->message);
  ck_assert_ptr_null(result.predictions);
  end();
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("simulate_feed");
  TCase *tcase = tcase_create("feed");
  tcase_set_timeout(tcase, 120);
  tcase_add_test(tcase, rows_and_labels_keep_their_order_and_delay);
  tcase_add_test(tcase, what_is_sent_is_the_table_and_the_champions_answer);
  tcase_add_test(tcase, a_regression_is_measured_by_its_absolute_error);
  tcase_add_test(tcase, an_unknown_class_is_wrong);
  tcase_add_test(tcase, a_feature_that_the_data_lack_is_named);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
