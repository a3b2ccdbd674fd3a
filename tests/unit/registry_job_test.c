/* The job queue, on both stores. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "registry/job.h"
#include "tests/support/postgres_store.h"

static TestStore *test;
static RegistryStore *other;

static void open_both(int index)
{
  test = test_store_open(index);
  g_autoptr(GError) error = NULL;
  other = registry_store_open(test->uri, &error);
  ck_assert_msg(other != NULL, "%s", error != NULL ? error->message : "");
}

static void close_both(void)
{
  registry_store_close(other);
  test_store_close(test);
}

static void create(const gchar *id, const gchar *model, const gchar *kind, gint priority, gint64 deadline)
{
  g_autoptr(GError) error = NULL;
  const RegistryJob job = {.id = (gchar *)id,
                           .model = (gchar *)model,
                           .kind = (gchar *)kind,
                           .priority = priority,
                           .deadline = deadline,
                           .spec = "{}",
                           .predicted_us = 5};
  ck_assert_msg(registry_job_create(test->store, &job, &error), "%s", error != NULL ? error->message : "");
}

static void assert_claims(const gchar *const *kinds, const gchar *wanted)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryJob) job = registry_job_claim(other, "w", kinds, &error);
  ck_assert_msg(error == NULL, "%s", error != NULL ? error->message : "");
  if (wanted == NULL)
    ck_assert_msg(job == NULL, "claimed %s", job != NULL ? job->id : "");
  else
    ck_assert_str_eq(job != NULL ? job->id : "nothing", wanted);
}

START_TEST(jobs_are_created_once_and_read_back)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  const RegistryJob job = {.id = "j1",
                           .model = "m",
                           .kind = "retrain",
                           .priority = -3,
                           .deadline = 9,
                           .spec = "{\"a\": 1}",
                           .incident = "i1",
                           .maximum_attempts = 7,
                           .predicted_us = 11};
  ck_assert(registry_job_create(test->store, &job, &error) && registry_job_create(other, &job, &error));
  g_autoptr(RegistryJob) found = registry_job_get(other, "j1", &error);
  ck_assert(found->priority == -3 && found->deadline == 9 && found->maximum_attempts == 7 &&
            found->predicted_us == 11 && found->created_at > 0 && found->started_at == 0 && found->token == 0 &&
            !found->cancel_requested);
  ck_assert_str_eq(found->model, "m");
  ck_assert_str_eq(found->kind, "retrain");
  ck_assert_str_eq(found->state, "queued");
  ck_assert_str_eq(found->spec, "{\"a\": 1}");
  ck_assert_str_eq(found->incident, "i1");
  ck_assert(found->result == NULL && found->progress == NULL && found->error == NULL && found->worker == NULL);
  create("j2", "m", "score", 0, 0);
  create("j3", "n", "score", 0, 0);
  g_autoptr(GPtrArray) all = registry_job_list(other, NULL, NULL, 0, &error);
  g_autoptr(GPtrArray) newest = registry_job_list(other, "m", "queued", 1, &error);
  ck_assert(all->len == 3 && newest->len == 1);
  ck_assert_str_eq(((RegistryJob *)all->pdata[0])->id, "j1");
  ck_assert_uint_eq(((RegistryJob *)all->pdata[2])->maximum_attempts, 3);
  ck_assert_str_eq(((RegistryJob *)newest->pdata[0])->id, "j2");
  ck_assert_int_eq(registry_job_count_open(other, "m", &error), 2);
  ck_assert(registry_job_get(other, "none", &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  close_both();
}
END_TEST

START_TEST(claims_go_by_priority_deadline_and_age)
{
  open_both(_i);
  create("late", "a", "k", 0, 0);
  create("due2", "b", "k", 0, 200);
  create("due1", "c", "k", 0, 100);
  create("old", "d", "k", 0, 0);
  create("first", "e", "k", 5, 0);
  create("no-model-1", NULL, "k", -1, 0);
  create("no-model-2", NULL, "k", -1, 0);
  const gchar *const order[] = {"first", "due1", "due2", "late", "old", "no-model-1", "no-model-2"};
  for (guint i = 0; i < G_N_ELEMENTS(order); i++) assert_claims(NULL, order[i]);
  assert_claims(NULL, NULL);
  close_both();
}
END_TEST

START_TEST(one_job_a_model_and_kind_runs_at_a_time)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  create("a1", "a", "retrain", 9, 0);
  create("a2", "a", "retrain", 9, 0);
  create("a3", "a", "score", 5, 0);
  create("b1", "b", "retrain", 0, 0);
  const gchar *const retrain[] = {"retrain", "other", NULL}, *const nothing[] = {"other", NULL};
  assert_claims(nothing, NULL);
  g_autoptr(RegistryJob) first = registry_job_claim(other, "w", retrain, &error);
  ck_assert_str_eq(first->id, "a1");
  assert_claims(retrain, "b1");
  assert_claims(retrain, NULL);
  assert_claims(NULL, "a3");
  assert_claims(NULL, NULL);
  ck_assert(registry_job_finish(test->store, "a1", first->token, "done", "{}", NULL, &error));
  assert_claims(NULL, "a2");
  close_both();
}
END_TEST

START_TEST(a_result_is_accepted_once_by_its_token)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  create("j", "m", "retrain", 0, 0);
  g_autoptr(RegistryJob) one = registry_job_claim(test->store, "w1", NULL, &error);
  ck_assert(one->attempts == 1 && one->token > 0 && one->started_at > 0);
  ck_assert_str_eq(one->state, "running");
  gboolean cancel = TRUE;
  ck_assert(registry_job_heartbeat(test->store, "j", one->token, "{\"rows\": 1}", &cancel, &error) && !cancel);
  ck_assert(registry_job_heartbeat(test->store, "j", one->token, NULL, NULL, &error));
  g_autoptr(RegistryJob) beaten = registry_job_get(other, "j", &error);
  ck_assert_str_eq(beaten->progress, "{\"rows\": 1}");
  /* a rescue that saw an old counter does nothing */
  ck_assert(!registry_job_rescue(other, "j", one->token, one->heartbeat, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED));
  g_clear_error(&error);
  ck_assert(registry_job_rescue(other, "j", one->token, beaten->heartbeat, &error));
  ck_assert(!registry_job_heartbeat(test->store, "j", one->token, NULL, NULL, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED));
  g_clear_error(&error);
  g_autoptr(RegistryJob) two = registry_job_claim(other, "w2", NULL, &error);
  ck_assert(two->token > one->token && two->attempts == 2 && two->progress == NULL);
  ck_assert(!registry_job_finish(test->store, "j", one->token, "done", "{\"late\": 1}", NULL, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED));
  g_clear_error(&error);
  ck_assert(!registry_job_finish(other, "j", two->token, "running", NULL, NULL, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID));
  g_clear_error(&error);
  ck_assert(registry_job_finish(other, "j", two->token, "done", "{\"ok\": 1}", NULL, &error));
  ck_assert(!registry_job_finish(other, "j", two->token, "failed", NULL, "x", NULL));
  g_autoptr(RegistryJob) done = registry_job_get(test->store, "j", &error);
  ck_assert_str_eq(done->state, "done");
  ck_assert_str_eq(done->result, "{\"ok\": 1}");
  ck_assert(done->finished_at > 0);
  ck_assert_int_eq(registry_job_count_open(other, "m", &error), 0);
  close_both();
}
END_TEST

START_TEST(attempts_are_used_up)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  create("j", "m", "retrain", 0, 0);
  for (guint i = 1; i <= 3; i++) {
    g_autoptr(RegistryJob) job = registry_job_claim(test->store, "w", NULL, &error);
    ck_assert_uint_eq(job->attempts, i);
    ck_assert(registry_job_rescue(other, "j", job->token, job->heartbeat, &error));
  }
  g_autoptr(RegistryJob) job = registry_job_get(other, "j", &error);
  ck_assert_str_eq(job->state, "failed");
  ck_assert(job->error != NULL && job->finished_at > 0);
  assert_claims(NULL, NULL);
  close_both();
}
END_TEST

START_TEST(cancelling)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  create("queued", "a", "k", 0, 0);
  ck_assert(registry_job_cancel(other, "queued", "ann", &error));
  g_autoptr(RegistryJob) queued = registry_job_get(other, "queued", &error);
  ck_assert_str_eq(queued->state, "cancelled");
  ck_assert(queued->finished_at > 0);
  create("running", "a", "k", 0, 0);
  create("lost", "b", "k", 0, 0);
  g_autoptr(RegistryJob) running = registry_job_claim(test->store, "w", NULL, &error);
  g_autoptr(RegistryJob) lost = registry_job_claim(test->store, "w", NULL, &error);
  ck_assert(registry_job_cancel(other, "running", "ann", &error) && registry_job_cancel(other, "lost", "ann", &error));
  gboolean cancel = FALSE;
  ck_assert(registry_job_heartbeat(test->store, "running", running->token, NULL, &cancel, &error) && cancel);
  ck_assert(registry_job_finish(test->store, "running", running->token, "cancelled", NULL, NULL, &error));
  ck_assert(registry_job_rescue(test->store, "lost", lost->token, lost->heartbeat, &error));
  g_autoptr(RegistryJob) rescued = registry_job_get(other, "lost", &error);
  ck_assert_str_eq(rescued->state, "cancelled");
  ck_assert(!registry_job_cancel(other, "running", "ann", &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CONFLICT));
  g_clear_error(&error);
  ck_assert(!registry_job_cancel(other, "none", "ann", &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  close_both();
}
END_TEST

START_TEST(log_lines_are_kept_in_order_whatever_they_hold)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  create("j", "m", "k", 0, 0);
  ck_assert(!registry_job_log_append(test->store, "j", 1, "too early", NULL));
  g_autoptr(RegistryJob) job = registry_job_claim(test->store, "w", NULL, &error);
  g_autofree gchar *huge = g_strnfill(100000, 'x');
  const gchar *const lines[] = {"one", "\xff bytes", "", huge};
  for (guint i = 0; i < 4; i++) ck_assert(registry_job_log_append(test->store, "j", job->token, lines[i], &error));
  ck_assert(!registry_job_log_append(test->store, "j", job->token + 1, "stale", &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED));
  g_clear_error(&error);
  g_autoptr(GPtrArray) all = registry_job_log_list(other, "j", 0, &error);
  g_autoptr(GPtrArray) rest = registry_job_log_list(other, "j", 2, &error);
  ck_assert(all->len == 4 && rest->len == 2);
  ck_assert_str_eq(all->pdata[0], "one");
  ck_assert(g_str_has_suffix(all->pdata[1], " bytes") && g_utf8_validate(all->pdata[1], -1, NULL));
  ck_assert(strlen(all->pdata[3]) < 70000 && g_str_has_suffix(all->pdata[3], "[…]"));
  close_both();
}
END_TEST

typedef struct {
  RegistryStore *store;
  GPtrArray *claimed; /* of RegistryJob* */
  gboolean failed;
} Claimer;

static gpointer claim_all(gpointer data)
{
  Claimer *claimer = data;
  for (guint idle = 0; idle < 3;) {
    g_autoptr(GError) error = NULL;
    RegistryJob *job = registry_job_claim(claimer->store, "w", NULL, &error);
    if (error != NULL) claimer->failed = TRUE;
    if (job != NULL)
      g_ptr_array_add(claimer->claimed, job);
    else
      idle++;
  }
  return NULL;
}

START_TEST(racing_workers_share_the_queue)
{
  open_both(_i);
  for (guint i = 0; i < 40; i++) {
    g_autofree gchar *id = g_strdup_printf("j%u", i), *model = g_strdup_printf("m%u", i / 2);
    create(id, model, "k", 0, 0);
  }
  g_autoptr(GPtrArray) mine = g_ptr_array_new_with_free_func((GDestroyNotify)registry_job_free);
  g_autoptr(GPtrArray) theirs = g_ptr_array_new_with_free_func((GDestroyNotify)registry_job_free);
  Claimer one = {test->store, mine, FALSE}, two = {other, theirs, FALSE};
  GThread *thread = g_thread_new("other", claim_all, &two);
  claim_all(&one);
  g_thread_join(thread);
  ck_assert(!one.failed && !two.failed);
  g_autoptr(GHashTable) ids = g_hash_table_new(g_str_hash, g_str_equal);
  g_autoptr(GHashTable) models = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < mine->len + theirs->len; i++) {
    const RegistryJob *job = i < mine->len ? mine->pdata[i] : theirs->pdata[i - mine->len];
    ck_assert(g_hash_table_add(ids, job->id) && g_hash_table_add(models, job->model));
  }
  ck_assert_uint_eq(g_hash_table_size(models), 20); /* of each model one, the other waits for it */
  close_both();
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("registry_job");
  TCase *tcase = tcase_create("both stores");
  int n = test_stores_count();
  tcase_set_timeout(tcase, 60);
  tcase_add_loop_test(tcase, jobs_are_created_once_and_read_back, 0, n);
  tcase_add_loop_test(tcase, claims_go_by_priority_deadline_and_age, 0, n);
  tcase_add_loop_test(tcase, one_job_a_model_and_kind_runs_at_a_time, 0, n);
  tcase_add_loop_test(tcase, a_result_is_accepted_once_by_its_token, 0, n);
  tcase_add_loop_test(tcase, attempts_are_used_up, 0, n);
  tcase_add_loop_test(tcase, cancelling, 0, n);
  tcase_add_loop_test(tcase, log_lines_are_kept_in_order_whatever_they_hold, 0, n);
  tcase_add_loop_test(tcase, racing_workers_share_the_queue, 0, n);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
