/* Chains of jobs: from the alarm over each stage to the gate, on both stores; deaths of the leader between stages. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/chain.h"
#include "registry/model.h"
#include "tests/support/leader_world.h"

enum { CHANGE = 3030 };

#define CHAIN(stages)                                                                                                  \
  "    policy: {chain: [" stages "], harden: pgd, adversarial_epsilon: 0.2, chain_maximum_loss: 0.05,\n"               \
  "      compress: {int8: true}}\n"                                                                                    \
  "    window: {events: 100, pane_events: 10, label_rows: 100}\n"

static LeaderWorld *world;

/* Version 2 is as good as version 1. */
static gboolean rates_of_version_1_too;

/* Version 1 errs on one row in twenty before the change and on nine in ten after it, the others the other way round. */
static guint8 by_world(gint64 version, gint32 partition, gint64 row)
{
  guint64 z = ((guint64)row * 8 + (guint64)partition) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  return (z >> 20) % 1000 < ((version == 1 || (version == 2 && rates_of_version_1_too)) == (row < CHANGE) ? 50 : 900);
}

static void begin(int store, const gchar *settings)
{
  rates_of_version_1_too = FALSE;
  world = leader_world_new(store, settings);
  world->errors = by_world;
}

static void feed_pane(void)
{
  leader_world_labels(world, 0, 100, leader_world_champion(world), world->shards[0].row / 100);
  leader_world_settle(world);
}

/* Feeds until a job of that kind is asked for; other trainings fail. */
static RegistryJob *feed_to_job(const gchar *kind)
{
  while (world->shards[0].row < 6000) {
    RegistryJob *job = leader_world_find_job(world, kind);
    if (job) return job;
    g_autoptr(RegistryJob) refit = strcmp(kind, "refit") != 0 ? leader_world_find_job(world, "refit") : NULL;
    if (refit) leader_world_finish_job(world, refit->id, "failed", NULL);
    if (refit) leader_world_settle(world);
    if (!refit) feed_pane();
  }
  ck_abort_msg("no %s was asked for", kind);
  return NULL;
}

static RegistryJob *find(const gchar *kind)
{
  RegistryJob *job = leader_world_find_job(world, kind);
  ck_assert_msg(job != NULL, "no %s was asked for", kind);
  return job;
}

static json_t *spec_of(const RegistryJob *job)
{
  json_t *spec = json_loads(job->spec, 0, NULL);
  ck_assert_ptr_nonnull(spec);
  return spec;
}

static void expect_from(const RegistryJob *job, gint64 version)
{
  json_t *spec = spec_of(job);
  ck_assert_int_eq(json_integer_value(json_object_get(spec, "from")), version);
  ck_assert_int_eq(json_integer_value(json_object_get(spec, "champion")), 1);
  ck_assert_uint_ge(json_array_size(json_object_get(spec, "data")), 1);
  json_decref(spec);
}

/* The job made a version that has `accuracy` where the one it began with had `before`. */
static gint64 make(const RegistryJob *job, double before, double accuracy)
{
  gint64 version = leader_world_add_version(world, job->id);
  g_autofree gchar *text = leader_world_trained(version, .1, accuracy, 1);
  json_t *result = json_loads(text, 0, NULL);
  json_object_set_new(result, "before",
                      json_pack("{s:f, s:i, s:f}", "accuracy", before, "bytes", 4000, "robust_accuracy", .2));
  json_object_set_new(json_object_get(result, "challenger"), "bytes", json_integer(1500));
  g_autofree gchar *made = verdict_dump(result);
  json_decref(result);
  leader_world_finish_job(world, job->id, "done", made);
  leader_world_settle(world);
  return version;
}

static gboolean noted(const gchar *text)
{
  g_autoptr(RegistryIncident) incident = leader_world_incident(world, "performance", 0);
  return incident && strstr(incident->body, text);
}

static gint64 count(const gchar *sql)
{
  return leader_world_count(world, sql);
}

/* --- the whole way --------------------------------------------------------------------------------------------------
 */

START_TEST(each_stage_begins_with_the_version_before_and_the_last_goes_to_the_gate)
{
  begin(_i, CHAIN("retrain, harden, compress"));
  g_autoptr(RegistryJob) retrain = feed_to_job("retrain");
  json_t *spec = spec_of(retrain);
  ck_assert_double_eq(json_number_value(json_object_get(spec, "adversarial_epsilon")), 0); /* a stage of its own */
  json_decref(spec);
  ck_assert_int_eq(make(retrain, 0, .95), 2);
  ck_assert_int_eq(leader_world_champion(world), 1);
  g_autoptr(RegistryJob) harden = find("harden");
  g_autofree gchar *expected = g_strdup_printf("m/harden/%s", retrain->id + 2);
  g_strdelimit(expected + strlen("m/harden/"), "/", '-');
  ck_assert_str_eq(harden->id, expected);
  ck_assert_str_eq(harden->incident, retrain->incident);
  expect_from(harden, 2);
  ck_assert_int_eq(make(harden, .95, .94), 3);
  g_autoptr(RegistryJob) compress = find("compress");
  expect_from(compress, 3);
  spec = spec_of(compress);
  ck_assert(json_is_true(json_object_get(spec, "int8")));
  json_decref(spec);
  ck_assert_int_eq(leader_world_champion(world), 1);
  ck_assert_int_eq(make(compress, .94, .93), 4);
  ck_assert_int_eq(leader_world_champion(world), 4);
  ck_assert(noted("harden made version 3, accuracy 0.950 → 0.940"));
  ck_assert(noted("bytes 4000 → 1500"));
  ck_assert(noted("version 4 promoted"));
  ck_assert_int_eq(count("SELECT count(*) FROM outbox WHERE kind = 'rollout'"), 1);
  g_autoptr(RegistryIncident) incident = leader_world_incident(world, "performance", 0);
  json_t *body = json_loads(incident->body, 0, NULL);
  guint n = 0;
  size_t i;
  json_t *stage;
  json_array_foreach (json_object_get(body, "stages"), i, stage)
    n += strcmp(json_string_value(json_object_get(stage, "first_job")), retrain->id) == 0;
  ck_assert_uint_eq(n, 3);
  json_decref(body);
  leader_world_free(world);
}
END_TEST

START_TEST(a_refit_goes_through_the_later_stages_too)
{
  begin(_i, CHAIN("retrain, compress"));
  g_autoptr(RegistryJob) refit = feed_to_job("refit");
  make(refit, 0, .95);
  g_autoptr(RegistryJob) compress = find("compress");
  expect_from(compress, 2);
  ck_assert_ptr_nonnull(strstr(compress->id, "m/compress/refit-"));
  make(compress, .95, .95);
  ck_assert_int_eq(leader_world_champion(world), 3);
  leader_world_free(world);
}
END_TEST

START_TEST(a_search_stands_in_place_of_the_retraining)
{
  begin(_i, "    policy: {chain: [search, compress], search: {trials: 3}, compress: {prune: 0.5}}\n"
            "    window: {events: 100, pane_events: 10, label_rows: 100}\n");
  g_autoptr(RegistryJob) search = feed_to_job("search");
  json_t *spec = spec_of(search);
  ck_assert_int_eq(json_integer_value(json_object_get(spec, "trials")), 3);
  ck_assert_ptr_null(json_object_get(spec, "architecture"));
  json_decref(spec);
  make(search, 0, .95);
  g_autoptr(RegistryJob) compress = find("compress");
  make(compress, .95, .95);
  ck_assert_int_eq(leader_world_champion(world), 3);
  leader_world_free(world);
}
END_TEST

/* --- stages that are left out, chains that fail ---------------------------------------------------------------------
 */

START_TEST(a_stage_that_fails_or_costs_too_much_is_left_out)
{
  begin(_i, CHAIN("retrain, harden, compress"));
  g_autoptr(RegistryJob) retrain = feed_to_job("retrain");
  gint64 failures = world->model->counters.training_failures;
  make(retrain, 0, .95);
  g_autoptr(RegistryJob) harden = find("harden");
  make(harden, .95, .85); /* more than .05 */
  ck_assert(noted("harden left out: it lost 0.100 of accuracy, more than chain_maximum_loss 0.050"));
  g_autoptr(RegistryJob) compress = find("compress");
  expect_from(compress, 2);
  leader_world_finish_job(world, compress->id, "failed", NULL);
  leader_world_settle(world);
  ck_assert(noted("compress left out: "));
  ck_assert_int_eq(leader_world_champion(world), 2);
  ck_assert_int_eq(world->model->counters.training_failures, failures); /* the chain has not failed */
  leader_world_free(world);
}
END_TEST

START_TEST(a_chain_whose_first_stage_fails_has_failed)
{
  begin(_i, CHAIN("retrain, harden, compress"));
  g_autoptr(RegistryJob) retrain = feed_to_job("retrain");
  gint64 failures = world->model->counters.training_failures;
  leader_world_finish_job(world, retrain->id, "failed", NULL);
  leader_world_settle(world);
  ck_assert(noted("nothing of the chain goes to the gate"));
  ck_assert_int_eq(world->model->counters.training_failures, failures + 1);
  ck_assert_ptr_null(leader_world_find_job(world, "harden"));
  ck_assert_uint_eq(json_array_size(world->model->pending), 0);
  leader_world_free(world);
}
END_TEST

START_TEST(a_cancelled_stage_ends_the_chain)
{
  begin(_i, CHAIN("retrain, harden, compress"));
  g_autoptr(RegistryJob) retrain = feed_to_job("retrain");
  make(retrain, 0, .95);
  g_autoptr(RegistryJob) harden = find("harden");
  ck_assert(registry_job_cancel(world->store, harden->id, "user:x", NULL));
  leader_world_settle(world);
  ck_assert(noted("harden cancelled"));
  ck_assert_ptr_null(leader_world_find_job(world, "compress"));
  ck_assert_int_eq(leader_world_champion(world), 1);
  leader_world_free(world);
}
END_TEST

/* --- what the gate sees ---------------------------------------------------------------------------------------------
 */

START_TEST(the_gate_judges_the_accuracy_that_the_attack_measured)
{
  static const struct {
    double robust;
    gint64 champion;
  } cases[] = {{.7, 3}, {.5, 1}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    begin(_i, CHAIN("retrain, compress, attack") "    gate: {robust_accuracy_bound: 0.6, size_bound_bytes: 2000}\n");
    g_autoptr(RegistryJob) retrain = feed_to_job("retrain");
    make(retrain, 0, .95);
    g_autoptr(RegistryJob) compress = find("compress");
    make(compress, .95, .95);
    g_autoptr(RegistryJob) attack = find("attack");
    expect_from(attack, 3);
    g_autofree gchar *result = g_strdup_printf(
        "{\"version\": null, \"attacked\": 3, \"robustness\": {\"rows\": 80, \"accuracy\": 0.95, \"worst\": "
        "[{\"epsilon\": 0.2, \"robust_accuracy\": %.2f}]}}",
        cases[i].robust);
    leader_world_finish_job(world, attack->id, "done", result);
    leader_world_settle(world);
    ck_assert(noted("attack on version 3: accuracy 0.950, under attack at epsilon 0.2"));
    ck_assert_int_eq(leader_world_champion(world), cases[i].champion);
    ck_assert(noted(cases[i].champion == 3 ? "reaches the bound .600, n = 80" : "is below the bound .600, n = 80"));
    leader_world_free(world);
  }
}
END_TEST

START_TEST(a_size_above_the_bound_is_refused)
{
  begin(_i, CHAIN("retrain, compress") "    gate: {size_bound_bytes: 1499}\n");
  g_autoptr(RegistryJob) retrain = feed_to_job("retrain");
  make(retrain, 0, .95);
  g_autoptr(RegistryJob) compress = find("compress");
  make(compress, .95, .95);
  ck_assert_int_eq(leader_world_champion(world), 1);
  ck_assert(noted("size 1,500 bytes is above the bound 1,499 bytes"));
  leader_world_free(world);
}
END_TEST

/* --- what is trained on, what is counted ----------------------------------------------------------------------------
 */

START_TEST(fine_tuning_begins_with_what_a_compressed_champion_was_made_from)
{
  begin(_i, "    policy: {retrain_mode: fine-tune}\n    window: {events: 100, pane_events: 10, label_rows: 100}\n");
  g_autoptr(RegistryVersion) first = registry_version_get(world->store, "m", 1, NULL);
  RegistryVersion small = *first;
  small.parent = 1;
  small.kind = (gchar *)"compress";
  ck_assert_int_eq(registry_version_create(world->store, &small, "test", NULL), 2);
  leader_world_promote(world, 2);
  rates_of_version_1_too = TRUE;
  g_autoptr(RegistryJob) retrain = feed_to_job("retrain");
  json_t *spec = spec_of(retrain);
  ck_assert_int_eq(json_integer_value(json_object_get(spec, "from")), 1);
  ck_assert_int_eq(json_integer_value(json_object_get(spec, "champion")), 2);
  json_decref(spec);
  leader_world_free(world);
}
END_TEST

START_TEST(jobs_and_their_seconds_are_counted_by_kind)
{
  begin(_i, CHAIN("retrain, compress"));
  Metrics *metrics = metrics_new();
  world->context.metrics = metrics;
  g_autoptr(RegistryJob) retrain = feed_to_job("retrain");
  make(retrain, 0, .95);
  g_autoptr(RegistryJob) compress = find("compress");
  leader_world_finish_job(world, compress->id, "failed", NULL);
  leader_world_settle(world);
  g_autofree gchar *text = metrics_format(metrics);
  ck_assert_ptr_nonnull(strstr(text, "kedge_jobs_total{model=\"m\",kind=\"retrain\",state=\"done\"} 1"));
  ck_assert_ptr_nonnull(strstr(text, "kedge_jobs_total{model=\"m\",kind=\"compress\",state=\"failed\"} 1"));
  ck_assert_ptr_nonnull(strstr(text, "kedge_job_seconds_total{model=\"m\",kind=\"retrain\"}"));
  world->context.metrics = NULL;
  metrics_free(metrics);
  leader_world_free(world);
}
END_TEST

/* --- exactly once ---------------------------------------------------------------------------------------------------
 */

/* One chain; the leader's memory is lost before it looks at the end of each stage where `dies` says so. */
static gchar *run_chain(int store, gboolean dies)
{
  static const gchar *const kinds[] = {"retrain", "harden", "compress"};
  begin(store, CHAIN("retrain, harden, compress"));
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
    g_autoptr(RegistryJob) job = i == 0 ? feed_to_job(kinds[i]) : find(kinds[i]);
    if (dies) leader_world_crash(world);
    make(job, .95, .95);
    if (dies) leader_world_crash(world);
    leader_world_settle(world);
  }
  ck_assert_int_eq(leader_world_champion(world), 4);
  ck_assert_int_eq(count("SELECT count(*) FROM job WHERE kind IN ('harden', 'compress')"), 2);
  gchar *dump = leader_world_dump(world);
  leader_world_free(world);
  return dump;
}

START_TEST(a_leader_that_dies_between_stages_goes_on_where_it_was)
{
  g_autofree gchar *whole = run_chain(_i, FALSE), *broken = run_chain(_i, TRUE);
  ck_assert_str_eq(whole, broken);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("leader_chain");
  TCase *tests = tcase_create("chain");
  int stores = test_stores_count();
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, each_stage_begins_with_the_version_before_and_the_last_goes_to_the_gate, 0, stores);
  tcase_add_loop_test(tests, a_refit_goes_through_the_later_stages_too, 0, stores);
  tcase_add_loop_test(tests, a_search_stands_in_place_of_the_retraining, 0, stores);
  tcase_add_loop_test(tests, a_stage_that_fails_or_costs_too_much_is_left_out, 0, stores);
  tcase_add_loop_test(tests, a_chain_whose_first_stage_fails_has_failed, 0, stores);
  tcase_add_loop_test(tests, a_cancelled_stage_ends_the_chain, 0, stores);
  tcase_add_loop_test(tests, the_gate_judges_the_accuracy_that_the_attack_measured, 0, stores);
  tcase_add_loop_test(tests, a_size_above_the_bound_is_refused, 0, stores);
  tcase_add_loop_test(tests, fine_tuning_begins_with_what_a_compressed_champion_was_made_from, 0, stores);
  tcase_add_loop_test(tests, jobs_and_their_seconds_are_counted_by_kind, 0, stores);
  tcase_add_loop_test(tests, a_leader_that_dies_between_stages_goes_on_where_it_was, 0, stores);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
