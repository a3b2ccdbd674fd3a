/* harden, compress and attack from a claimed job to a registered version or a report, on both stores. A search needs
 * its program for the trials: tests/chain. */
#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/job_internal.h"
#include "pipeline/job_fields.h"
#include "registry/model.h"
#include "tests/support/job_worlds.h"

/* On rows of the first world, which version 1 knows; `more`: members in front of the others. */
static gchar *stage_spec(gint64 from, const gchar *more)
{
  return g_strdup_printf("{%s, \"model\": \"loan\", \"data\": [{\"partition\": 0, \"label_partition\": 0, "
                         "\"first_row\": 0, \"next_row\": 200}], \"from\": %d, \"champion\": 1, \"seed\": 3, "
                         "\"holdout_fraction\": 0.3}",
                         more, (int)from);
}

static double real_at(const json_t *object, const char *part, const char *name)
{
  const json_t *value = json_object_get(json_object_get(object, part), name);
  ck_assert_msg(json_is_number(value), "%s.%s", part, name);
  return json_number_value(value);
}

/* --- harden ------------------------------------------------------------------------------------------------------- */

START_TEST(hardening_makes_a_version_of_the_one_it_began_with)
{
  JobFixture *fixture = job_worlds_open(_i, 20);
  g_autofree gchar *spec = stage_spec(1, "\"epsilon\": 0.3, \"epochs\": 20, \"learning_rate\": 0.01");
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "h", "harden", spec);
  json_t *result = job_worlds_result(job);
  ck_assert_int_eq(json_integer_value(json_object_get(result, "version")), 2);
  ck_assert_double_eq(real_at(result, "change", "n"), 60);
  ck_assert_double_gt(real_at(result, "before", "accuracy"), .7);
  ck_assert_double_gt(real_at(result, "challenger", "accuracy"), .7);
  ck_assert_double_eq_tol(real_at(result, "challenger", "robust_epsilon"), .3, 1e-12);
  ck_assert_double_ge(real_at(result, "challenger", "robust_accuracy"),
                      real_at(result, "before", "robust_accuracy") - .05);
  g_autoptr(RegistryVersion) version = registry_version_get(fixture->store, "loan", 2, NULL);
  ck_assert_str_eq(version->kind, "harden");
  ck_assert_int_eq(version->parent, 1);
  ck_assert_ptr_nonnull(version->profile_digest);
  json_decref(result);
  job_fixture_close(fixture);
}
END_TEST

/* --- compress ----------------------------------------------------------------------------------------------------- */

static gboolean has_operator(JobFixture *fixture, gint64 number, const gchar *operator)
{
  g_autoptr(RegistryVersion) version = registry_version_get(fixture->store, "loan", number, NULL);
  g_autoptr(GBytes) bytes = registry_artifacts_get(fixture->artifacts, version->onnx_digest, NULL);
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(bytes, NULL);
  for (guint i = 0; i < graph->nodes->len; i++)
    if (strcmp(((const OnnxNode *)g_ptr_array_index(graph->nodes, i))->op_type, operator) == 0) return TRUE;
  return FALSE;
}

START_TEST(compression_tells_size_time_and_agreement)
{
  JobFixture *fixture = job_worlds_open_of(_i, 20, "mlp:256,256");
  g_autofree gchar *spec = stage_spec(1, "\"int8\": true");
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "c", "compress", spec);
  json_t *result = job_worlds_result(job), *compression = json_object_get(result, "compression");
  ck_assert_int_eq(json_integer_value(json_object_get(result, "version")), 2);
  ck_assert_double_lt(json_number_value(json_object_get(compression, "size_ratio")), .5);
  ck_assert_double_gt(json_number_value(json_object_get(compression, "agreement")), .9);
  ck_assert_double_gt(real_at(compression, "after", "latency_p50_us"), 0);
  ck_assert_str_eq(json_string_value(json_object_get(json_array_get(json_object_get(compression, "steps"), 0), "step")),
                   "int8");
  ck_assert_double_eq(real_at(result, "challenger", "bytes"), real_at(compression, "after", "bytes"));
  ck_assert_double_eq(real_at(result, "champion", "bytes"), real_at(compression, "before", "bytes"));
  ck_assert(has_operator(fixture, 2, "QuantizeLinear"));
  ck_assert(!has_operator(fixture, 1, "QuantizeLinear"));
  json_decref(result);
  job_fixture_close(fixture);
}
END_TEST

/* The rows of this world have a text. */
START_TEST(trees_become_a_small_network)
{
  JobFixture *fixture = job_worlds_open_of(_i, 20, "trees:depth=3,rounds=60");
  g_autofree gchar *spec = stage_spec(1, "\"distill\": \"mlp:8\"");
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "d", "compress", spec);
  json_t *result = job_worlds_result(job), *compression = json_object_get(result, "compression");
  const json_t *step = json_array_get(json_object_get(compression, "steps"), 0);
  ck_assert_int_eq(json_integer_value(json_object_get(result, "version")), 2);
  ck_assert_str_eq(json_string_value(json_object_get(step, "student")), "mlp:8");
  ck_assert_int_eq(json_integer_value(json_object_get(step, "epochs")), 100); /* of so few rows */
  ck_assert_double_lt(json_number_value(json_object_get(compression, "size_ratio")), .5);
  ck_assert_double_gt(json_number_value(json_object_get(compression, "agreement")), .85);
  ck_assert_double_gt(real_at(result, "challenger", "accuracy"), .85);
  ck_assert(has_operator(fixture, 1, "TreeEnsembleClassifier"));
  ck_assert(has_operator(fixture, 2, "Gemm") && has_operator(fixture, 2, "OneHotEncoder"));
  json_decref(result);
  job_fixture_close(fixture);
}
END_TEST

/* --- attack ------------------------------------------------------------------------------------------------------- */

START_TEST(an_attack_is_a_report_on_the_version_and_makes_none)
{
  JobFixture *fixture = job_worlds_open(_i, 20);
  g_autofree gchar *spec = stage_spec(1, "\"attacks\": \"pgd,square\", \"epsilon\": 0.5, \"queries\": 50");
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "a", "attack", spec);
  json_t *result = job_worlds_result(job), *report = json_object_get(result, "robustness");
  ck_assert(json_is_null(json_object_get(result, "version")));
  ck_assert_int_eq(json_integer_value(json_object_get(result, "attacked")), 1);
  ck_assert_uint_eq(json_array_size(json_object_get(report, "attacks")), 2);
  ck_assert_int_eq(json_integer_value(json_object_get(report, "rows")), 60);
  const json_t *worst = json_array_get(json_object_get(report, "worst"), 0);
  ck_assert_double_lt(json_number_value(json_object_get(worst, "robust_accuracy")),
                      json_number_value(json_object_get(report, "accuracy")));
  g_autoptr(GHashTable) tags = registry_tag_list(fixture->store, "loan", 1, NULL);
  json_t *kept = json_loads(g_hash_table_lookup(tags, "robustness"), 0, NULL);
  ck_assert(json_equal(kept, report));
  json_decref(kept);
  json_decref(result);
  g_autoptr(GPtrArray) versions = registry_version_list(fixture->store, "loan", NULL);
  ck_assert_uint_eq(versions->len, 1);
  job_fixture_close(fixture);
}
END_TEST

/* --- options ------------------------------------------------------------------------------------------------------ */

static void expect_refused(const gchar *kind, const gchar *spec, const gchar *text)
{
  g_autoptr(GError) error = NULL;
  json_t *json = json_loads(spec, 0, NULL);
  ck_assert_msg(!pipeline_job_kind_find(kind)->check(json, &error), "%s %s", kind, spec);
  ck_assert_msg(strstr(error->message, text) != NULL, "%s", error->message);
  json_decref(json);
}

START_TEST(options_that_cannot_be_are_refused_by_name)
{
  expect_refused("harden", "{}", "epsilon is missing");
  expect_refused("harden", "{\"epsilon\": \"much\"}",
                 "epsilon of the job's spec is \"much\": it must be a number from");
  expect_refused("harden", "{\"epsilon\": 0.1, \"method\": \"magic\"}", "one of pgd, free, fast, trades");
  expect_refused("harden", "{\"epsilon\": 0.1, \"epocs\": 3}",
                 "epocs is not an option of this job: write one of method");
  expect_refused("harden", "{\"epsilon\": 0.1, \"epochs\": 1.5}", "a whole number from 1 to 100000");
  expect_refused("compress", "{}", "names no way to compress");
  expect_refused("compress", "{\"int8\": 1}", "true or false");
  expect_refused("compress", "{\"prune\": 1}", "prune of the job's spec is 1");
  expect_refused("attack", "{\"attacks\": \"pgd\"}", "epsilon is missing");
  expect_refused("attack", "{\"attacks\": \"magic\", \"epsilon\": 1}", "magic");
  expect_refused("search", "{}", "no budget");
  expect_refused("search", "{\"trials\": 3, \"space\": \"clouds\"}", "clouds");
}
END_TEST

START_TEST(options_are_read_as_they_are_written)
{
  g_autoptr(GError) error = NULL;
  const PipelineJobField *fields = pipeline_job_kind_find("compress")->fields;
  const struct {
    const gchar *name, *text, *json;
  } cases[] = {{"int8", "true", "true"},
               {"prune", "0.5", "0.5"},
               {"fine_tune_epochs", "0", "0"},
               {"distill", "mlp:16", "\"mlp:16\""},
               {"ranges", "min-max", "\"min-max\""}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    json_t *value = pipeline_job_fields_parse(fields, cases[i].name, cases[i].text, &error);
    ck_assert_msg(value != NULL, "%s", error != NULL ? error->message : "");
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    ck_assert_str_eq(text, cases[i].json);
    free(text);
    json_decref(value);
  }
  ck_assert_ptr_null(pipeline_job_fields_parse(fields, "int8", "yes", &error));
  ck_assert_ptr_nonnull(strstr(error->message, "true or false"));
}
END_TEST

/* --- failures ----------------------------------------------------------------------------------------------------- */

static void expect_failure(JobFixture *fixture, const gchar *id, const gchar *kind, const gchar *spec,
                           const gchar *text)
{
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, id, kind, spec);
  ck_assert_str_eq(job->state, "failed");
  ck_assert_msg(strstr(job->error, text) != NULL, "%s", job->error);
}

START_TEST(what_cannot_be_done_fails_in_words)
{
  JobFixture *fixture = job_worlds_open_of(_i, 20, "trees:depth=3,rounds=20");
  g_autofree gchar *harden = stage_spec(1, "\"epsilon\": 0.1"), *compress = stage_spec(1, "\"int8\": true"),
                   *nothing = stage_spec(0, "\"int8\": true"), *pgd = stage_spec(1, "\"epsilon\": 0.1");
  expect_failure(fixture, "1", "harden", harden, "trees has no gradients");
  expect_failure(fixture, "2", "compress", compress, "8 bits");
  expect_failure(fixture, "3", "compress", nothing, "compression needs \"from\" in its spec");
  expect_failure(fixture, "4", "attack", pgd, "gradient");
  g_autoptr(GPtrArray) versions = registry_version_list(fixture->store, "loan", NULL);
  ck_assert_uint_eq(versions->len, 1);
  g_autoptr(GHashTable) tags = registry_tag_list(fixture->store, "loan", 1, NULL);
  ck_assert_ptr_null(g_hash_table_lookup(tags, "robustness"));
  job_fixture_close(fixture);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("job_stage");
  TCase *tcase = tcase_create("stages");
  tcase_set_timeout(tcase, 120);
  int stores = test_stores_count();
  tcase_add_loop_test(tcase, hardening_makes_a_version_of_the_one_it_began_with, 0, stores);
  tcase_add_loop_test(tcase, compression_tells_size_time_and_agreement, 0, stores);
  tcase_add_loop_test(tcase, trees_become_a_small_network, 0, stores);
  tcase_add_loop_test(tcase, an_attack_is_a_report_on_the_version_and_makes_none, 0, stores);
  tcase_add_test(tcase, options_that_cannot_be_are_refused_by_name);
  tcase_add_test(tcase, options_are_read_as_they_are_written);
  tcase_add_loop_test(tcase, what_cannot_be_done_fails_in_words, 0, stores);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
