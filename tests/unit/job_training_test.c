/* retrain, refit and score from a claimed job to a registered version, on both stores. */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/gate.h"
#include "drift/accumulator.h"
#include "drift/baseline.h"
#include "pipeline/data_range.h"
#include "pipeline/job_internal.h"
#include "pipeline/mixture.h"
#include "pipeline/model_cache.h"
#include "pipeline/trainer.h"
#include "pipeline/tree_ensemble.h"
#include "registry/model.h"
#include "tests/support/job_worlds.h"

/* --- helpers ------------------------------------------------------------------------------------------------------ */

static gchar *retrain_spec(gint64 first, gint64 next, const gchar *more)
{
  return g_strdup_printf(
      "{\"model\": \"loan\", \"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": %d,"
      " \"next_row\": %d}], \"architecture\": \"mlp:8\", \"champion\": 1, \"epochs\": 30,"
      " \"learning_rate\": 0.02, \"seed\": 3, \"gate\": {\"confidence\": 0.9}%s}",
      (int)first, (int)next, more);
}

/* Rows [first, next) to version `from`. */
static gchar *mixture_spec(gint64 from, gint64 first, gint64 next)
{
  return g_strdup_printf(
      "{\"model\": \"loan\", \"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": %d,"
      " \"next_row\": %d}], \"first_row\": %d, \"architecture\": \"mlp:8\", \"from\": %d, \"champion\": %d}",
      (int)first, (int)next, (int)first, (int)from, (int)from);
}

static double real_of(const json_t *object, const char *part, const char *name)
{
  const json_t *value = json_object_get(json_object_get(object, part), name);
  ck_assert_msg(json_is_number(value), "%s.%s", part, name);
  return json_number_value(value);
}

/* --- retrain ------------------------------------------------------------------------------------------------------ */

START_TEST(a_retraining_registers_a_better_version)
{
  JobFixture *fixture = job_worlds_open(_i, 400);
  g_autofree gchar *spec = retrain_spec(200, 600, ", \"incident\": \"i1\", \"holdout_fraction\": 0.25");
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", "retrain", spec);
  json_t *result = job_worlds_result(job);
  ck_assert_int_eq(json_integer_value(json_object_get(result, "version")), 2);
  ck_assert_int_eq(json_integer_value(json_object_get(result, "rows")), 300);
  ck_assert_int_eq(json_integer_value(json_object_get(result, "holdout")), 100);
  ck_assert_double_gt(real_of(result, "comparison", "gain"), .5);
  ck_assert_double_gt(real_of(result, "comparison", "low"), .4);
  ck_assert_double_eq(real_of(result, "comparison", "n"), 100);
  ck_assert_double_lt(real_of(result, "champion", "accuracy"), .3);
  ck_assert_double_gt(real_of(result, "challenger", "accuracy"), .8);
  ck_assert_double_gt(real_of(result, "challenger", "latency_p99_us"), 0);
  ck_assert(json_is_null(json_object_get(json_object_get(result, "challenger"), "robust_accuracy")));
  json_t *range = json_array_get(json_object_get(result, "data"), 0);
  ck_assert_int_eq(json_integer_value(json_object_get(range, "last_label_offset")), 10599);
  g_autoptr(RegistryVersion) version = registry_version_get(fixture->store, "loan", 2, NULL);
  ck_assert_str_eq(version->job, "j");
  ck_assert_str_eq(version->incident, "i1");
  ck_assert_str_eq(version->kind, "retrain");
  ck_assert_ptr_nonnull(strstr(version->data_set, json_string_value(json_object_get(range, "sha256"))));
  json_decref(result);
  g_autoptr(GHashTable) tags = registry_tag_list(fixture->store, "loan", 2, NULL);
  ck_assert_ptr_nonnull(strstr(g_hash_table_lookup(tags, "signature"), "\"outputs\":[{\"name\":"));
  job_fixture_close(fixture);
}
END_TEST

/* What version 2 is made of, by the champion's family, the spec's architecture, and the kind of job. */
START_TEST(a_retraining_keeps_the_family)
{
  static const struct {
    const gchar *first, *architecture, *kind;
    gint from;
    gboolean trees;
  } cases[] = {{"trees:depth=3", "auto", "retrain", 0, TRUE},
               {"mlp:8", "auto", "retrain", 0, FALSE},
               {"trees:depth=3", "mlp:8", "retrain", 0, FALSE},
               {"mlp:8", "trees:depth=2", "retrain", 0, TRUE},
               {"trees:depth=3", "auto", "retrain", 1, TRUE},
               {"trees:depth=3", "auto", "refit", 1, TRUE},
               {"mlp:8", "auto", "refit", 1, FALSE}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    JobFixture *fixture = job_worlds_open_of(0, 400, cases[i].first);
    g_autofree gchar *spec = g_strdup_printf(
        "{\"model\": \"loan\", \"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": 200, "
        "\"next_row\": 600}], \"architecture\": \"%s\", \"from\": %d, \"champion\": 1, \"seed\": 3}",
        cases[i].architecture, cases[i].from);
    g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", cases[i].kind, spec);
    json_t *result = job_worlds_result(job);
    g_autoptr(RegistryVersion) version = registry_version_get(fixture->store, "loan", 2, NULL);
    g_autoptr(GBytes) onnx = registry_artifacts_get(fixture->artifacts, version->onnx_digest, NULL);
    ck_assert_msg(pipeline_tree_onnx_is_ensemble(onnx) == cases[i].trees, "case %u", i);
    ck_assert_double_gt(real_of(result, "comparison", "gain"), cases[i].from == 1 && i == 4 ? .1 : .4);
    json_decref(result);
    job_fixture_close(fixture);
  }
}
END_TEST

START_TEST(the_profile_is_of_the_training_rows_on_the_models_grid)
{
  JobFixture *fixture = job_worlds_open(0, 400);
  g_autofree gchar *spec = retrain_spec(200, 600, "");
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", "retrain", spec);
  ck_assert_str_eq(job->state, "done");
  g_autoptr(RegistryVersion) first = registry_version_get(fixture->store, "loan", 1, NULL);
  g_autoptr(RegistryVersion) second = registry_version_get(fixture->store, "loan", 2, NULL);
  ck_assert_str_eq(first->grid_digest, second->grid_digest);
  g_autoptr(GBytes) grid_bytes = registry_artifacts_get(fixture->artifacts, second->grid_digest, NULL);
  g_autoptr(DriftGrid) grid = drift_grid_from_bytes(grid_bytes, NULL);
  g_autoptr(GBytes) bytes = registry_artifacts_get(fixture->artifacts, second->profile_digest, NULL);
  g_autoptr(DriftBaseline) baseline = NULL;
  g_autoptr(DriftAccumulator) profile = drift_reference_from_bytes(grid, bytes, &baseline, NULL);
  ck_assert_uint_eq(drift_accumulator_get_count(profile), 320);
  ck_assert_ptr_nonnull(baseline);
  ck_assert_uint_eq(drift_baseline_get_rows(baseline), 320);
  DriftSummary prediction, score;
  drift_accumulator_summarise(profile, 3, &prediction); /* after three features: prediction, score, latency */
  drift_accumulator_summarise(profile, 4, &score);
  ck_assert_uint_eq(prediction.n, 320);
  ck_assert_uint_eq(score.n, 320);
  job_fixture_close(fixture);
}
END_TEST

/* Changing labels of held-out rows must not change a byte of the new version. */
START_TEST(held_out_rows_are_never_trained_on)
{
  g_autofree gchar *first = NULL, *second = NULL;
  gchar **const digests[] = {&first, &second};
  for (int i = 0; i < 2; i++) {
    JobFixture *fixture = job_fixture_open(0);
    const JobRows rows = {.n_rows = 600, .flipped_from = i == 0 ? 520 : 600};
    job_fixture_append(fixture, &rows);
    job_worlds_register_first(fixture, "mlp:8");
    g_autofree gchar *spec = retrain_spec(200, 600, "");
    g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", "retrain", spec);
    ck_assert_str_eq(job->state, "done");
    g_autoptr(RegistryVersion) version = registry_version_get(fixture->store, "loan", 2, NULL);
    *digests[i] = g_strdup(version->onnx_digest);
    job_fixture_close(fixture);
  }
  ck_assert_str_eq(first, second);
}
END_TEST

START_TEST(rehearsal_rows_train_and_are_not_held_out)
{
  JobFixture *fixture = job_worlds_open(0, 100);
  g_autofree gchar *spec = retrain_spec(
      200, 300, ", \"rehearsal\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": 0, \"next_row\": 50}]");
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", "retrain", spec);
  json_t *result = job_worlds_result(job);
  ck_assert_int_eq(json_integer_value(json_object_get(result, "rows")), 50 + 80);
  ck_assert_int_eq(json_integer_value(json_object_get(result, "holdout")), 20);
  ck_assert_uint_eq(json_array_size(json_object_get(result, "rehearsal")), 1);
  json_decref(result);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(a_retraining_may_be_reweighed)
{
  JobFixture *fixture = job_worlds_open(_i, 400);
  g_autofree gchar *plain = retrain_spec(200, 600, ""), *spec = retrain_spec(200, 600, ", \"reweigh\": true");
  g_autoptr(RegistryJob) one = job_worlds_execute(fixture, "plain", "retrain", plain);
  g_autoptr(RegistryJob) other = job_worlds_execute(fixture, "reweighed", "retrain", spec);
  json_decref(job_worlds_result(one));
  json_decref(job_worlds_result(other));
  g_autoptr(RegistryVersion) a = registry_version_get(fixture->store, "loan", 2, NULL);
  g_autoptr(RegistryVersion) b = registry_version_get(fixture->store, "loan", 3, NULL);
  ck_assert_str_ne(a->onnx_digest, b->onnx_digest); /* other weights of the rows, another model */
  job_fixture_close(fixture);
}
END_TEST

static gboolean log_has(JobFixture *fixture, const gchar *id, const gchar *text)
{
  g_autoptr(GPtrArray) log = registry_job_log_list(fixture->store, id, 0, NULL);
  for (guint i = 0; i < log->len; i++)
    if (strstr(g_ptr_array_index(log, i), text) != NULL) return TRUE;
  return FALSE;
}

/* make check-loop-gang has those that are shared out. */
START_TEST(what_cannot_be_shared_out_is_trained_by_one)
{
  static const struct {
    const gchar *more, *why;
  } cases[] = {{", \"architecture\": \"trees:depth=2\"", "trees are boosted by one process"},
               {", \"adversarial_epsilon\": 0.3", "adversarial training is for one process"},
               {", \"from\": 1, \"reweigh\": true", "reweighed rows fine-tune a version in one process"},
               {"", "/nowhere/libkedge-mpi.so cannot be loaded"}};
  g_setenv("KEDGE_MPI_PLUGIN", "/nowhere/libkedge-mpi.so", TRUE);
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    JobFixture *fixture = job_worlds_open(0, 400);
    g_autofree gchar *spec = g_strdup_printf(
        "{\"model\": \"loan\", \"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": 200,"
        " \"next_row\": 600}], \"champion\": 1, \"epochs\": 5, \"processes\": 2%s}",
        cases[i].more);
    g_autofree gchar *line = g_strdup_printf("trained by one process instead of 2: %s", cases[i].why);
    g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", "retrain", spec);
    json_t *result = job_worlds_result(job);
    ck_assert_int_eq(json_integer_value(json_object_get(result, "version")), 2);
    ck_assert_msg(log_has(fixture, "j", line), "%s", line);
    json_decref(result);
    job_fixture_close(fixture);
  }
  g_unsetenv("KEDGE_MPI_PLUGIN");
}
END_TEST

START_TEST(no_number_of_processes_fails_the_job)
{
  JobFixture *fixture = job_worlds_open(0, 400);
  g_autofree gchar *spec = retrain_spec(200, 600, ", \"processes\": 0");
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", "retrain", spec);
  ck_assert_str_eq(job->state, "failed");
  ck_assert_ptr_nonnull(strstr(job->error, "processes"));
  job_fixture_close(fixture);
}
END_TEST

/* The rows have texts, which the graph does not take: the model is trained against PGD instead. */
START_TEST(a_retraining_may_be_hardened)
{
  JobFixture *fixture = job_worlds_open(_i, 400);
  g_autofree gchar *plain = retrain_spec(200, 600, ""),
                   *hard = retrain_spec(200, 600, ", \"adversarial_epsilon\": 0.3, \"harden\": \"fast\"");
  g_autoptr(RegistryJob) one = job_worlds_execute(fixture, "plain", "retrain", plain);
  g_autoptr(RegistryJob) other = job_worlds_execute(fixture, "hard", "retrain", hard);
  json_decref(job_worlds_result(one));
  json_decref(job_worlds_result(other));
  g_autoptr(RegistryVersion) a = registry_version_get(fixture->store, "loan", 2, NULL);
  g_autoptr(RegistryVersion) b = registry_version_get(fixture->store, "loan", 3, NULL);
  ck_assert_str_ne(a->onnx_digest, b->onnx_digest);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(a_job_registers_once)
{
  JobFixture *fixture = job_worlds_open(_i, 100);
  g_autofree gchar *spec = retrain_spec(200, 300, "");
  g_autoptr(RegistryJob) job = job_fixture_job(fixture, "j", "retrain", spec, TRUE);
  PipelineJobContext context = {.store = fixture->store, .artifacts = fixture->artifacts, .job = job};
  /* Rescued while it still computes: its result comes late, and neither it nor its version gets in. */
  ck_assert(registry_job_rescue(fixture->store, "j", job->token, job->heartbeat, NULL));
  g_autoptr(RegistryJob) second = registry_job_claim(fixture->store, "w2", NULL, NULL);
  g_autoptr(GError) error = NULL;
  ck_assert(!pipeline_job_execute(&context, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED));
  g_autoptr(GPtrArray) versions = registry_version_list(fixture->store, "loan", NULL);
  ck_assert_uint_eq(versions->len, 1);
  context.job = second;
  ck_assert(pipeline_job_execute(&context, NULL));
  g_autoptr(GPtrArray) after = registry_version_list(fixture->store, "loan", NULL);
  ck_assert_uint_eq(after->len, 2);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(the_same_job_gives_the_same_bytes)
{
  g_autofree gchar *first = NULL, *second = NULL;
  gchar **const digests[] = {&first, &second};
  for (int i = 0; i < 2; i++) {
    JobFixture *fixture = job_worlds_open(0, 100);
    g_autofree gchar *spec = retrain_spec(200, 300, "");
    g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", "retrain", spec);
    ck_assert_str_eq(job->state, "done");
    g_autoptr(RegistryVersion) version = registry_version_get(fixture->store, "loan", 2, NULL);
    *digests[i] = g_strconcat(version->onnx_digest, version->profile_digest, NULL);
    job_fixture_close(fixture);
  }
  ck_assert_str_eq(first, second);
}
END_TEST

static void expect_failure(JobFixture *fixture, const gchar *id, const gchar *kind, const gchar *spec,
                           const gchar *text)
{
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, id, kind, spec);
  ck_assert_str_eq(job->state, "failed");
  ck_assert_msg(strstr(job->error, text) != NULL, "%s", job->error);
}

START_TEST(what_cannot_be_learnt_from_fails_in_words)
{
  JobFixture *fixture = job_worlds_open(0, 100);
  g_autofree gchar *few = retrain_spec(200, 219, ""), *none = retrain_spec(200, 200, "");
  g_autofree gchar *absent = retrain_spec(200, 301, "");
  g_autofree gchar *champion = retrain_spec(200, 300, ", \"from\": 9");
  g_autofree gchar *bad = retrain_spec(200, 300, ", \"holdout_fraction\": 2");
  expect_failure(fixture, "a", "retrain", few, "19 usable labelled rows are too few");
  expect_failure(fixture, "b", "retrain", none, "0 usable labelled rows are too few");
  expect_failure(fixture, "c", "retrain", absent, "row");
  expect_failure(fixture, "d", "retrain", champion, "9");
  expect_failure(fixture, "e", "retrain", bad, "holdout_fraction");
  g_autofree gchar *slow = retrain_spec(200, 300, ", \"adversarial_epsilon\": 0.1, \"harden\": \"slow\"");
  expect_failure(fixture, "slow", "retrain", slow, "no adversarial training 'slow'");
  expect_failure(fixture, "f", "retrain", "[]", "not a JSON object");
  expect_failure(fixture, "g", "refit", few, "19 usable labelled rows are too few");
  g_autofree gchar *no_from = retrain_spec(200, 300, "");
  expect_failure(fixture, "h", "refit", no_from, "needs \"from\"");
  g_autofree gchar *no_base = mixture_spec(0, 0, 100);
  expect_failure(fixture, "i", "mixture", no_base, "needs \"from\"");
  job_fixture_close(fixture);
}
END_TEST

START_TEST(one_class_only_fails_in_words)
{
  JobFixture *fixture = job_fixture_open(0);
  const JobRows rows = {.n_rows = 300, .one_class_from = 200};
  job_fixture_append(fixture, &rows);
  job_worlds_register_first(fixture, "mlp:8");
  g_autofree gchar *spec = retrain_spec(200, 300, "");
  expect_failure(fixture, "a", "retrain", spec, "all 80 training rows have the label \"yes\"");
  job_fixture_close(fixture);
}
END_TEST

START_TEST(a_cancelled_job_ends_as_cancelled)
{
  JobFixture *fixture = job_worlds_open(_i, 100);
  g_autofree gchar *spec = retrain_spec(200, 300, "");
  g_autoptr(RegistryJob) job = job_fixture_job(fixture, "j", "retrain", spec, TRUE);
  g_autoptr(GCancellable) cancel = g_cancellable_new();
  g_cancellable_cancel(cancel);
  PipelineJobContext context = {.store = fixture->store, .artifacts = fixture->artifacts, .job = job, .cancel = cancel};
  g_autoptr(GError) error = NULL;
  ck_assert(!pipeline_job_execute(&context, &error)); /* stopped, but nobody cancelled it: it goes back */
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED));
  ck_assert(registry_job_cancel(fixture->store, "j", "test", NULL));
  ck_assert(pipeline_job_execute(&context, NULL));
  g_autoptr(RegistryJob) after = registry_job_get(fixture->store, "j", NULL);
  ck_assert_str_eq(after->state, "cancelled");
  job_fixture_close(fixture);
}
END_TEST

START_TEST(a_refit_is_a_version_too)
{
  JobFixture *fixture = job_worlds_open(_i, 400);
  g_autofree gchar *spec = retrain_spec(200, 600, ", \"from\": 1, \"penalty\": 1");
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", "refit", spec);
  json_t *result = job_worlds_result(job);
  ck_assert_double_gt(real_of(result, "comparison", "gain"), .5);
  json_decref(result);
  g_autoptr(RegistryVersion) version = registry_version_get(fixture->store, "loan", 2, NULL);
  ck_assert_str_eq(version->kind, "refit");
  ck_assert_int_eq(version->parent, 1);
  job_fixture_close(fixture);
}
END_TEST

/* --- mixture -------------------------------------------------------------------------------------------------------
 */

/* Version 1 knows the old world; the new one begins at row 200. */
START_TEST(a_version_learns_online_and_goes_on)
{
  JobFixture *fixture = job_worlds_open(_i, 1000);
  g_autofree gchar *first = mixture_spec(1, 0, 700);
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", "mixture", first);
  json_t *result = job_worlds_result(job);
  ck_assert_int_eq(json_integer_value(json_object_get(result, "version")), 2);
  ck_assert_double_eq(real_of(result, "mixture", "rows"), 700);
  ck_assert_double_eq(real_of(result, "mixture", "alarms"), 1);
  ck_assert_double_ge(real_of(result, "mixture", "change_row"), 195);
  ck_assert_double_le(real_of(result, "mixture", "change_row"), 205);
  ck_assert_double_eq(real_of(result, "comparison", "n"), 700);
  ck_assert_double_gt(real_of(result, "comparison", "gain"), .4);
  double promised = json_number_value(json_object_get(result, "promised_error"));
  ck_assert_double_ge(promised, 1 - real_of(result, "comparison", "challenger") - 1e-9); /* not what it fitted */
  json_decref(result);
  g_autoptr(RegistryVersion) version = registry_version_get(fixture->store, "loan", 2, NULL);
  ck_assert_str_eq(version->kind, "mixture");
  ck_assert_int_eq(version->parent, 1);
  ck_assert_ptr_nonnull(version->profile_digest);
  g_autoptr(GBytes) onnx = registry_artifacts_get(fixture->artifacts, version->onnx_digest, NULL);
  ck_assert(pipeline_mixture_is_revision(onnx));
  /* From there only the rows behind are new, and the same job gives the same bytes. */
  g_autofree gchar *second = mixture_spec(2, 0, 1200);
  g_autoptr(RegistryJob) next = job_worlds_execute(fixture, "k", "mixture", second);
  json_t *went_on = job_worlds_result(next);
  ck_assert_double_eq(real_of(went_on, "mixture", "first_row"), 700);
  ck_assert_double_eq(real_of(went_on, "mixture", "rows"), 500);
  ck_assert_double_eq(real_of(went_on, "mixture", "alarms"), 0);
  json_decref(went_on);
  g_autoptr(RegistryJob) again = job_worlds_execute(fixture, "l", "mixture", first);
  json_t *repeated = job_worlds_result(again);
  g_autoptr(RegistryVersion) twin =
      registry_version_get(fixture->store, "loan", json_integer_value(json_object_get(repeated, "version")), NULL);
  ck_assert_str_eq(twin->onnx_digest, version->onnx_digest);
  json_decref(repeated);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(learning_that_brought_nothing_makes_no_version)
{
  JobFixture *fixture = job_fixture_open(_i);
  const JobRows rows = {.n_rows = 700};
  job_fixture_append(fixture, &rows);
  job_worlds_register_first(fixture, "mlp:8");
  g_autofree gchar *spec = mixture_spec(1, 0, 40); /* rows that it was trained on */
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", "mixture", spec);
  json_t *result = job_worlds_result(job);
  ck_assert(json_is_null(json_object_get(result, "version")));
  ck_assert_double_le(real_of(result, "comparison", "gain"), 0);
  ck_assert(json_is_null(json_object_get(result, "challenger"))); /* no more was measured than that */
  json_decref(result);
  g_autofree gchar *less_than_a_block = mixture_spec(1, 0, 9);
  g_autoptr(RegistryJob) none = job_worlds_execute(fixture, "k", "mixture", less_than_a_block);
  json_t *nothing = job_worlds_result(none);
  ck_assert(json_is_null(json_object_get(nothing, "version")));
  ck_assert_double_eq(real_of(nothing, "mixture", "rows"), 0);
  json_decref(nothing);
  ck_assert_ptr_null(registry_version_get(fixture->store, "loan", 2, NULL));
  job_fixture_close(fixture);
}
END_TEST

/* The first ten rows of the new world: judged before they were learned, nobody got them right; now they are known. */
START_TEST(as_good_a_revision_is_made_when_it_answers_otherwise)
{
  JobFixture *fixture = job_worlds_open(_i, 1000);
  g_autofree gchar *spec = mixture_spec(1, 200, 210);
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", "mixture", spec);
  json_t *result = job_worlds_result(job);
  ck_assert_double_eq(real_of(result, "comparison", "gain"), 0);
  ck_assert_int_eq(json_integer_value(json_object_get(result, "version")), 2);
  json_decref(result);
  job_fixture_close(fixture);
}
END_TEST

/* A gate that wants more rows than a job learned would refuse every revision: none is made until there are enough. */
START_TEST(a_revision_waits_for_the_rows_its_gate_wants)
{
  JobFixture *fixture = job_worlds_open(_i, 1000);
  const struct {
    gint64 next, version; /* 0: none */
  } cases[] = {{600, 0}, {700, 2}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree gchar *plain = mixture_spec(1, 0, cases[i].next), *id = g_strdup_printf("j%u", i);
    g_autoptr(GString) spec = g_string_new(plain);
    g_string_truncate(spec, spec->len - 1);
    g_string_append(spec, ", \"gate\": {\"minimum_holdout\": 700}}");
    g_autoptr(RegistryJob) job = job_worlds_execute(fixture, id, "mixture", spec->str);
    json_t *result = job_worlds_result(job);
    ck_assert_int_eq(json_integer_value(json_object_get(result, "version")), cases[i].version);
    ck_assert_double_gt(real_of(result, "comparison", "gain"), .3); /* it was better with fewer, too */
    json_decref(result);
  }
  job_fixture_close(fixture);
}
END_TEST

START_TEST(the_gate_judges_what_the_job_measured)
{
  JobFixture *fixture = job_worlds_open(0, 600);
  g_autofree gchar *plain = retrain_spec(200, 800, "");
  g_autoptr(GString) spec = g_string_new(plain);
  g_string_replace(spec, "\"confidence\": 0.9", "\"robust_epsilon\": 0.05, \"robust_steps\": 3", 1);
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", "retrain", spec->str);
  ck_assert_msg(strcmp(job->state, "done") == 0, "%s", job->error);
  DeployGatePolicy policy;
  deploy_gate_policy_init(&policy);
  policy.require_significance = TRUE;
  policy.minimum_holdout = 80;
  policy.robust_accuracy_bound = .3;
  policy.disparate_impact_bound = .1;
  policy.latency_p99_bound_us = 1e9;
  g_autoptr(DeployGateResult) result = deploy_gate_judge(&policy, job->result, NULL);
  g_autofree gchar *text = deploy_gate_result_to_json(result);
  ck_assert_msg(result->passed, "%s", text);
  job_fixture_close(fixture);
}
END_TEST

/* --- score -------------------------------------------------------------------------------------------------------- */

static guint wrong_bits(const json_t *entry, gsize n)
{
  gsize length = 0;
  g_autofree guchar *bits = g_base64_decode(json_string_value(json_object_get(entry, "errors")), &length);
  ck_assert_uint_eq(length, (n + 7) / 8);
  guint wrong = 0;
  for (gsize row = 0; row < n; row++) wrong += bits[row / 8] >> (row % 8) & 1;
  return wrong;
}

START_TEST(scores_are_those_of_the_models)
{
  JobFixture *fixture = job_worlds_open(_i, 203);
  const gchar *spec = "{\"model\": \"loan\", \"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": 200,"
                      " \"next_row\": 403}], \"versions\": [1, 7, 1]}";
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", "score", spec);
  json_t *result = job_worlds_result(job), *versions = json_object_get(result, "versions");
  ck_assert_int_eq(json_integer_value(json_object_get(result, "rows")), 203);
  json_t *first = json_array_get(versions, 0), *missing = json_array_get(versions, 1);
  double accuracy = json_number_value(json_object_get(first, "accuracy"));
  guint wrong = wrong_bits(first, 203);
  ck_assert_double_eq_tol(accuracy, 1 - wrong / 203.0, 1e-12);
  ck_assert_double_lt(accuracy, .3); /* the world has turned round */
  ck_assert_double_gt(json_number_value(json_object_get(first, "log_loss")), .6);
  ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(missing, "error")), "7"));
  ck_assert(json_equal(first, json_array_get(versions, 2)));
  /* bit by bit against the model itself */
  g_autoptr(PipelineModelCache) cache = pipeline_model_cache_new(1);
  PipelineModel *model = pipeline_model_cache_get(cache, fixture->store, fixture->artifacts, "loan", 1, NULL);
  g_autoptr(DriftTable) table = job_worlds_read(fixture, 200, 403);
  float outputs[203 * 2];
  ck_assert(pipeline_model_predict_table(model, table, outputs, NULL));
  gsize length = 0;
  g_autofree guchar *bits = g_base64_decode(json_string_value(json_object_get(first, "errors")), &length);
  for (guint row = 0; row < 203; row++) {
    DriftValue label = drift_column_get_value(drift_table_get_column(table, "repaid"), row);
    gboolean is_wrong =
        (gint)pipeline_model_decide(model, outputs + 2 * row) != drift_schema_class_of(fixture->schema, &label);
    ck_assert_int_eq(bits[row / 8] >> (row % 8) & 1, is_wrong);
  }
  json_decref(result);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(a_row_without_a_known_class_counts_as_wrong)
{
  JobFixture *fixture = job_fixture_open(0);
  const JobRows rows = {.n_rows = 400, .unknown_each = 4};
  job_fixture_append(fixture, &rows);
  job_worlds_register_first(fixture, "mlp:8");
  const gchar *spec = "{\"model\": \"loan\", \"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": 200,"
                      " \"next_row\": 400}], \"versions\": [1]}";
  g_autoptr(RegistryJob) job = job_worlds_execute(fixture, "j", "score", spec);
  json_t *result = job_worlds_result(job), *first = json_array_get(json_object_get(result, "versions"), 0);
  gsize length = 0;
  g_autofree guchar *bits = g_base64_decode(json_string_value(json_object_get(first, "errors")), &length);
  for (guint row = 0; row < 200; row += 4) ck_assert(bits[row / 8] >> (row % 8) & 1);
  json_decref(result);
  job_fixture_close(fixture);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("job_training");
  TCase *tests = tcase_create("training");
  int stores = test_stores_count();
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, a_retraining_registers_a_better_version, 0, stores);
  tcase_add_test(tests, a_retraining_keeps_the_family);
  tcase_add_test(tests, the_profile_is_of_the_training_rows_on_the_models_grid);
  tcase_add_test(tests, held_out_rows_are_never_trained_on);
  tcase_add_test(tests, rehearsal_rows_train_and_are_not_held_out);
  tcase_add_loop_test(tests, a_job_registers_once, 0, stores);
  tcase_add_loop_test(tests, a_retraining_may_be_reweighed, 0, stores);
  tcase_add_test(tests, what_cannot_be_shared_out_is_trained_by_one);
  tcase_add_test(tests, no_number_of_processes_fails_the_job);
  tcase_add_loop_test(tests, a_retraining_may_be_hardened, 0, stores);
  tcase_add_test(tests, the_same_job_gives_the_same_bytes);
  tcase_add_test(tests, what_cannot_be_learnt_from_fails_in_words);
  tcase_add_test(tests, one_class_only_fails_in_words);
  tcase_add_loop_test(tests, a_cancelled_job_ends_as_cancelled, 0, stores);
  tcase_add_loop_test(tests, a_refit_is_a_version_too, 0, stores);
  tcase_add_loop_test(tests, a_version_learns_online_and_goes_on, 0, stores);
  tcase_add_loop_test(tests, learning_that_brought_nothing_makes_no_version, 0, stores);
  tcase_add_loop_test(tests, as_good_a_revision_is_made_when_it_answers_otherwise, 0, stores);
  tcase_add_loop_test(tests, a_revision_waits_for_the_rows_its_gate_wants, 0, stores);
  tcase_add_test(tests, the_gate_judges_what_the_job_measured);
  tcase_add_loop_test(tests, scores_are_those_of_the_models, 0, stores);
  tcase_add_test(tests, a_row_without_a_known_class_counts_as_wrong);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
