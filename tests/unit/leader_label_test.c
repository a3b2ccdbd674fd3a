/* Label panes: from the alarm over job and gate to promotion, recall and rollback. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/leader_world.h"

enum { CHANGE = 3030, CHANGE_BACK = 6030 };

static LeaderWorld *world;

/* Error rates per thousand of each version: before CHANGE, from there on, and from CHANGE_BACK on. */
static guint rates[8][3];

static guint8 by_rate(gint64 version, gint32 partition, gint64 row)
{
  guint64 z =
      ((guint64)row * 8 + (guint64)partition) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15); /* alike for all versions */
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  return (z >> 20) % 1000 < rates[version][row < CHANGE ? 0 : row < CHANGE_BACK ? 1 : 2];
}

static void begin(int store, const gchar *settings)
{
  static const guint usual[8][3] = {{0}, {50, 900, 50}, {900, 50, 900}, {500, 500, 500}, {500, 500, 500}};
  memcpy(rates, usual, sizeof rates);
  world = leader_world_new(store, settings);
  world->errors = by_rate;
}

static void end(void)
{
  leader_world_free(world);
}

/* One pane of 100 rows, a second after the one before, served by the champion of the moment. */
static void feed_pane(void)
{
  leader_world_labels(world, 0, 100, leader_world_champion(world), world->shards[0].row / 100);
  leader_world_settle(world);
}

/* Panes up to `row`; trainings that are asked for on the way fail. */
static void feed_to(gint64 row)
{
  static const gchar *const kinds[] = {"refit", "retrain"};
  while (world->shards[0].row < row) {
    feed_pane();
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
      g_autoptr(RegistryJob) job = leader_world_find_job(world, kinds[i]);
      if (job) leader_world_finish_job(world, job->id, "failed", NULL);
    }
    leader_world_settle(world);
  }
}

/* Feeds until a training of that kind is asked for. */
static RegistryJob *feed_to_job(const gchar *kind, gint64 limit)
{
  for (RegistryJob *job; world->shards[0].row < limit;) {
    feed_pane();
    if ((job = leader_world_find_job(world, kind))) return job;
  }
  ck_abort_msg("no %s was asked for up to row %lld", kind, (long long)limit);
  return NULL;
}

static void train(const RegistryJob *job, double champion, double challenger, double disparate_impact)
{
  gint64 version = leader_world_add_version(world, job->id);
  g_autofree gchar *measured = leader_world_trained(version, champion, challenger, disparate_impact);
  gboolean online = strcmp(job->kind, "mixture") == 0;
  g_autofree gchar *result = g_strdup_printf("%s%s", online ? "{\"mixture\": {\"trainings\": 1}, " : "{", measured + 1);
  leader_world_finish_job(world, job->id, "done", result);
  leader_world_settle(world);
}

static gboolean noted(const gchar *kind, guint i, const gchar *text)
{
  g_autoptr(RegistryIncident) incident = leader_world_incident(world, kind, i);
  return incident && strstr(incident->body, text);
}

static gint64 count(const gchar *sql)
{
  return leader_world_count(world, sql);
}

/* --- change, training, gate
 * -------------------------------------------------------------------------------------------- */

START_TEST(a_change_is_trained_on_from_its_first_row_and_promoted)
{
  begin(_i, NULL);
  feed_to(3000);
  ck_assert_int_eq(count("SELECT count(*) FROM incident"), 0);
  g_autoptr(RegistryJob) job = feed_to_job("refit", 3500);
  g_autoptr(RegistryIncident) open = leader_world_incident(world, "performance", 0);
  ck_assert_str_eq(open->state, "open");
  ck_assert_str_eq(job->incident, open->id);
  json_t *spec = json_loads(job->spec, 0, NULL);
  const json_t *range = json_array_get(json_object_get(spec, "data"), 0);
  ck_assert_uint_eq(json_array_size(json_object_get(spec, "data")), 1);
  ck_assert_int_eq(llabs(json_integer_value(json_object_get(range, "first_row")) - CHANGE) <= 5, TRUE);
  ck_assert_int_eq(json_integer_value(json_object_get(range, "next_row")), world->shards[0].row);
  ck_assert_int_eq(json_integer_value(json_object_get(spec, "champion")), 1);
  json_decref(spec);
  train(job, .1, .95, 1);
  ck_assert_int_eq(leader_world_champion(world), 2);
  ck_assert(noted("performance", 0, "version 2 promoted"));
  ck_assert_int_eq(count("SELECT count(*) FROM outbox WHERE kind = 'rollout'"), 1);
  feed_to(CHANGE_BACK - 30);
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE kind = 'performance' AND state = 'closed'"), 1);
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE kind = 'performance'"), 1);
  end();
}
END_TEST

START_TEST(a_version_refused_for_its_gain_may_prove_itself_in_the_pool)
{
  begin(_i, NULL);
  g_autoptr(RegistryJob) job = feed_to_job("refit", 3500);
  train(job, .5, .4, 1);
  ck_assert_int_eq(leader_world_champion(world), 1);
  ck_assert(noted("performance", 0, "gate refused version 2"));
  feed_to(world->shards[0].row + 500); /* on later rows it is far better */
  ck_assert_int_eq(leader_world_champion(world), 2);
  ck_assert(noted("performance", 0, "promoted from the pool"));
  end();
}
END_TEST

START_TEST(a_version_refused_for_an_absolute_bound_never_serves)
{
  begin(_i, "    gate: {minimum_holdout: 10, require_significance: false, disparate_impact_bound: 0.8}\n");
  g_autoptr(RegistryJob) job = feed_to_job("refit", 3500);
  train(job, .1, .95, .6);
  ck_assert(noted("performance", 0, "disparate impact .600"));
  ck_assert_int_eq(count("SELECT count(*) FROM job WHERE kind = 'score'"), 0); /* not in the pool: nobody scores it */
  feed_to(world->shards[0].row + 500);
  ck_assert_int_eq(leader_world_champion(world), 1);
  end();
}
END_TEST

/* Promotes version 2 in the changed world, then the old one comes back. */
static void live_through_recurrence(void)
{
  g_autoptr(RegistryJob) job = feed_to_job("refit", 3500);
  train(job, .1, .95, 1);
  feed_to(CHANGE_BACK + 400);
}

START_TEST(a_world_that_returns_gets_its_version_back)
{
  begin(_i, NULL);
  live_through_recurrence();
  ck_assert_int_eq(leader_world_champion(world), 1);
  ck_assert(noted("performance", 1, "recall: version 1") || noted("performance", 0, "recall: version 1"));
  end();
}
END_TEST

START_TEST(a_training_that_fails_is_noted)
{
  begin(_i, NULL);
  g_autoptr(RegistryJob) job = feed_to_job("refit", 3500);
  leader_world_finish_job(world, job->id, "failed", NULL);
  leader_world_settle(world);
  ck_assert(noted("performance", 0, "refit failed: a test ends it"));
  end();
}
END_TEST

/* A result that cannot be read must not be tried for ever. */
START_TEST(a_result_without_figures_is_a_failed_training)
{
  static const gchar *const results[] = {"{}", "{\"version\": 1, \"comparison\": 7}", "[]", "{\"version\": 0}"};
  for (guint i = 0; i < G_N_ELEMENTS(results); i++) {
    begin(_i, NULL);
    g_autoptr(RegistryJob) job = feed_to_job("refit", 3500);
    leader_world_finish_job(world, job->id, "done", results[i]);
    leader_world_settle(world);
    feed_to(world->shards[0].row + 200);
    ck_assert_int_eq(leader_world_champion(world), 1);
    ck_assert_msg(noted("performance", 0, "refit done") || noted("performance", 0, "refused"), "%s", results[i]);
    end();
  }
}
END_TEST

/* --- who may serve
 * ------------------------------------------------------------------------------------------------------- */

static const gchar manual[] = "    rollout: {promote: manual}\n";

START_TEST(a_manual_rollout_waits_for_the_operator)
{
  begin(_i, manual);
  g_autoptr(RegistryJob) job = feed_to_job("refit", 3500);
  train(job, .1, .95, 1);
  feed_to(world->shards[0].row + 300);
  leader_world_crash(world); /* whom it has asked is remembered */
  feed_to(world->shards[0].row + 200);
  ck_assert_int_eq(leader_world_champion(world), 1);
  g_autoptr(RegistryIncident) incident = leader_world_incident(world, "performance", 0);
  const gchar *asked = strstr(incident->body, "kedge promote m 2");
  ck_assert_ptr_nonnull(asked);
  ck_assert_msg(!strstr(asked + 1, "kedge promote m 2"), "the operator is asked once: %s", incident->body);
  leader_world_promote(world, 2);
  feed_to(world->shards[0].row + 100);
  ck_assert_int_eq(adapt_get_champion(world->model->adapt), 2);
  end();
}
END_TEST

/* Both wanted the alias at once: the leader follows, instead of trying its promotion for ever. */
START_TEST(an_operator_may_promote_while_a_training_runs)
{
  begin(_i, NULL);
  leader_world_add_version(world, NULL);
  g_autoptr(RegistryJob) job = feed_to_job("refit", 3500);
  leader_world_promote(world, 2);
  train(job, .1, .95, 1); /* makes version 3, compared with version 1 */
  ck_assert_int_eq(leader_world_champion(world), 2);
  ck_assert(noted("performance", 0, "version 3 was compared with version 1, which serves no longer"));
  end();
}
END_TEST

START_TEST(an_operator_may_promote_while_a_pane_is_scored)
{
  begin(_i, NULL);
  live_through_recurrence(); /* a pool of two */
  memcpy(rates[3], rates[1], sizeof rates[3]);
  gint64 next = leader_world_add_version(world, NULL);
  leader_world_labels(world, 0, 100, leader_world_champion(world), world->shards[0].row / 100);
  leader_world_step(world);
  leader_world_promote(world, next);
  leader_world_settle(world);
  feed_to(world->shards[0].row + 200);
  ck_assert_int_eq(adapt_get_champion(world->model->adapt), next);
  ck_assert_int_eq(leader_world_champion(world), next);
  end();
}
END_TEST

START_TEST(what_the_policy_does_not_act_on_changes_nothing)
{
  begin(_i, "    policy: {act_on: [drift]}\n");
  feed_to(4500);
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE kind = 'performance'"), 1);
  ck_assert_int_eq(count("SELECT count(*) FROM job"), 0);
  end();
}
END_TEST

/* --- watch and rollback
 * ------------------------------------------------------------------------------------------------- */

static void promote_a_disappointment(const gchar *settings, int store)
{
  begin(store, settings);
  rates[1][1] = 500;
  rates[2][1] = 900;
  g_autoptr(RegistryJob) job = feed_to_job("refit", 3500);
  train(job, .1, .95, 1);
  ck_assert_int_eq(leader_world_champion(world), 2);
}

START_TEST(a_version_that_breaks_its_promise_is_rolled_back)
{
  g_autoptr(GError) error = NULL;
  promote_a_disappointment(NULL, _i);
  feed_to(world->shards[0].row + 100);
  ck_assert_int_eq(leader_world_champion(world), 1);
  g_autoptr(RegistryIncident) rollout = leader_world_incident(world, "rollout", 0);
  ck_assert_ptr_nonnull(rollout);
  ck_assert_msg(g_str_has_prefix(rollout->summary, "version 2 rolled back to 1"), "%s", rollout->summary);
  g_autoptr(RegistryVerdict) verdict = registry_verdict_get(world->store, rollout->verdict, &error);
  ck_assert_msg(verdict != NULL, "%s", error ? error->message : "");
  ck_assert_ptr_nonnull(strstr(verdict->body, "\"disappoints\":true"));
  feed_to(world->shards[0].row + 1000);
  g_autoptr(RegistryIncident) closed = leader_world_incident(world, "rollout", 0);
  ck_assert_str_eq(closed->state, "closed");
  end();
}
END_TEST

/* The pane that completes the watched rows is looked at too. */
START_TEST(a_watch_of_one_pane_is_still_a_watch)
{
  promote_a_disappointment("    rollout: {watch_rows: 100}\n", _i);
  feed_to(world->shards[0].row + 100);
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE kind = 'rollout'"), 1);
  end();
}
END_TEST

START_TEST(a_watch_ends_even_when_nothing_was_promised)
{
  begin(_i, "    rollout: {watch_rows: 300}\n");
  feed_to(100);
  json_decref(world->model->watch);
  world->model->watch =
      json_pack("{s:i, s:i, s:n, s:i, s:i}", "version", 1, "previous", 1, "promised", "rows", 0, "errors", 0);
  feed_to(500);
  ck_assert(json_is_null(world->model->watch));
  end();
}
END_TEST

/* Version 2 disappoints, but an operator has already replaced it: there is nothing to roll back. */
START_TEST(an_operators_version_is_not_rolled_back_for_the_one_before)
{
  promote_a_disappointment(NULL, _i);
  gint64 next = leader_world_add_version(world, NULL);
  leader_world_labels(world, 0, 100, 2, world->shards[0].row / 100);
  leader_world_promote(world, next);
  leader_world_settle(world);
  ck_assert_int_eq(leader_world_champion(world), next);
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE kind = 'rollout'"), 0);
  end();
}
END_TEST

/* --- how much, how long
 * ------------------------------------------------------------------------------------------------- */

START_TEST(the_daily_budget_bounds_trainings)
{
  begin(_i, "    policy: {daily_budget: 1}\n");
  g_autoptr(RegistryJob) first = feed_to_job("refit", 3500);
  leader_world_finish_job(world, first->id, "failed", NULL);
  leader_world_settle(world);
  feed_to(4500);
  ck_assert_int_eq(count("SELECT count(*) FROM job"), 1);
  ck_assert(noted("performance", 0, "the day's budget of 1 is used"));
  /* the next day, and then a pane of a partition that lags behind in the day before */
  world->model->budget = (json_decref(world->model->budget), json_pack("{s:i, s:i}", "day", 1, "trainings", 1));
  const LeaderFinding bias = {"bias", "text", "m/label/0", TRUE, 3, 99, 0, 0};
  ck_assert(leader_begin(&world->context, NULL));
  world->model->counters.verdicts++;
  AdaptStep step = {.training = ADAPT_TRAIN_RETRAIN, .training_first = 4000, .training_next = 4500};
  ck_assert(leader_request_training(world->model, &world->context, &step, -1, bias.kind, G_TIME_SPAN_DAY - 1, NULL));
  ck_assert(leader_commit(world->model, &world->context, NULL));
  ck_assert_int_eq(count("SELECT count(*) FROM job"), 1);
  end();
}
END_TEST

START_TEST(a_bias_incident_asks_for_one_training)
{
  begin(_i, "    policy: {act_on: [bias]}\n    alarm: {disparate_impact_bound: 0.8}\n    window: {events: 400, "
            "pane_events: 40}\n");
  static const guint biased[3] = {900, 900, 900};
  memcpy(rates[1], biased, sizeof biased);
  for (guint i = 0; i < 30; i++) {
    leader_world_labels(world, 0, 100, 1, world->shards[0].row / 100);
    leader_world_settle(world);
  }
  gint64 incidents = count("SELECT count(*) FROM incident WHERE kind = 'bias'");
  ck_assert_int_eq(count("SELECT count(*) FROM job WHERE kind = 'retrain'"), incidents);
  end();
}
END_TEST

START_TEST(a_drift_incident_asks_for_one_training)
{
  begin(_i, "    policy: {act_on: [drift]}\n");
  feed_to(1000);
  for (gint64 second = 0; second < 10; second++)
    leader_world_traffic(world, 0, (LeaderWorldTraffic){.n = 200, .shift = 1, .time = second});
  leader_world_settle(world);
  ck_assert_int_eq(count("SELECT count(*) FROM job"), 1);
  g_autoptr(RegistryJob) job = leader_world_find_job(world, "retrain");
  ck_assert_ptr_nonnull(job);
  ck_assert_str_eq(job->incident, "m/drift/0");
  ck_assert_ptr_nonnull(strstr(job->spec, "\"first_row\":0,\"next_row\":1000"));
  ck_assert(noted("drift", 0, "retrain on labelled rows 0"));
  end();
}
END_TEST

START_TEST(without_a_worker_the_served_rows_have_to_do)
{
  begin(_i, NULL);
  live_through_recurrence();
  for (guint i = 0; i < 25; i++) leader_world_labels(world, 0, 100, 1, world->shards[0].row / 100);
  gint64 before = count("SELECT count(*) FROM verdict WHERE kind = 'label'");
  leader_world_step(world);
  gint64 decided = count("SELECT count(*) FROM verdict WHERE kind = 'label'") - before;
  ck_assert_int_eq(decided, 4); /* of 25: the fifth waits, with 20 behind it */
  ck_assert_int_eq(count("SELECT count(*) FROM job WHERE kind = 'score' AND state = 'cancelled'"), 4);
  leader_world_settle(world);
  ck_assert_int_eq(count("SELECT count(*) FROM verdict WHERE kind = 'label'") - before, 25);
  end();
}
END_TEST

/* What a job says takes effect at one place in the order of panes, however many panes close meanwhile. */
START_TEST(a_training_takes_effect_before_the_next_pane)
{
  begin(_i, NULL);
  registry_job_free(feed_to_job("refit", 3500));
  gint64 decided = count("SELECT count(*) FROM verdict WHERE kind = 'label'");
  for (guint i = 0; i < 5; i++) leader_world_labels(world, 0, 100, 1, world->shards[0].row / 100);
  leader_world_settle(world);
  ck_assert_int_eq(count("SELECT count(*) FROM verdict WHERE kind = 'label'"), decided);
  for (guint i = 0; i < 20; i++) leader_world_labels(world, 0, 100, 1, world->shards[0].row / 100);
  leader_world_settle(world); /* too many: the training is overtaken */
  ck_assert_int_eq(count("SELECT count(*) FROM verdict WHERE kind = 'label'"), decided + 25);
  end();
}
END_TEST

/* Rows that were labelled before there was a champion count: jobs name the rows that were seen. */
START_TEST(a_champion_may_come_late)
{
  begin(_i, NULL);
  g_autoptr(GError) error = NULL;
  ck_assert(registry_alias_set(world->store, "m", "champion", 0, -1, "operator", "none yet", &error));
  for (guint i = 0; i < 10; i++) leader_world_labels(world, 0, 100, 1, world->shards[0].row / 100);
  leader_world_settle(world);
  ck_assert_ptr_null(world->model->adapt);
  leader_world_promote(world, 1);
  g_autoptr(RegistryJob) job = feed_to_job("refit", 3500);
  json_t *spec = json_loads(job->spec, 0, NULL);
  const json_t *range = json_array_get(json_object_get(spec, "data"), 0);
  ck_assert_int_le(llabs(json_integer_value(json_object_get(range, "first_row")) - CHANGE), 5);
  json_decref(spec);
  end();
}
END_TEST

START_TEST(a_pane_with_other_rows_than_it_says_is_refused)
{
  begin(_i, NULL);
  feed_to(100);
  leader_world_labels(world, 0, 100, 1, 2);
  test_store_sql(world->store, "UPDATE label_pane SET next_row = next_row + 1 WHERE number = 1");
  g_autoptr(GError) error = NULL;
  gboolean worked = FALSE;
  ck_assert(!leader_world_pass(world, &worked, &error));
  ck_assert_ptr_nonnull(error);
  end();
}
END_TEST

/* --- a model that learns online -------------------------------------------------------------------------------------
 */

#define ONLINE                                                                                                         \
  "    window: {events: 100, pane_events: 10, label_rows: 100}\n"                                                      \
  "    policy: {retrain_mode: mixture}\n"

static gint64 spec_integer(const RegistryJob *job, const gchar *name)
{
  json_t *spec = json_loads(job->spec, 0, NULL);
  gint64 value = json_integer_value(json_object_get(spec, name));
  json_decref(spec);
  return value;
}

START_TEST(every_pane_is_learnt_online_and_only_the_gate_promotes)
{
  begin(_i, ONLINE);
  g_autoptr(RegistryJob) first = feed_to_job("mixture", 100);
  ck_assert_int_eq(spec_integer(first, "from"), 1);
  ck_assert_int_eq(spec_integer(first, "champion"), 1);
  ck_assert_int_eq(spec_integer(first, "first_row"), 0);
  leader_world_finish_job(world, first->id, "done",
                          "{\"version\": null, \"rows\": 100, \"mixture\": {\"rows\": 100, \"trainings\": 0}}");
  leader_world_settle(world);
  ck_assert_int_eq(leader_world_champion(world), 1);
  g_autoptr(RegistryJob) second = feed_to_job("mixture", 200);
  train(second, .9, .8, 1);
  ck_assert_int_eq(leader_world_champion(world), 1); /* refused */
  g_autoptr(RegistryJob) third = feed_to_job("mixture", 300);
  ck_assert_int_eq(spec_integer(third, "from"), 2); /* it knows more rows, and learns on without serving */
  ck_assert_int_eq(spec_integer(third, "champion"), 1);
  train(third, .9, .95, 1);
  ck_assert_int_eq(leader_world_champion(world), 3);
  g_autoptr(RegistryJob) fourth = feed_to_job("mixture", 400);
  ck_assert_int_eq(spec_integer(fourth, "from"), 3);
  leader_world_finish_job(world, fourth->id, "failed", NULL);
  leader_world_settle(world);
  ck_assert_int_eq(count("SELECT count(*) FROM job WHERE kind <> 'mixture'"), 0); /* no pool to score, no refits */
  g_autoptr(RegistryJob) fifth = feed_to_job("mixture", 500);
  leader_world_promote(world, 1); /* an operator goes back: from there it learns again */
  train(fifth, .9, .95, 1);
  ck_assert_int_eq(leader_world_champion(world), 1);
  g_autoptr(RegistryJob) sixth = feed_to_job("mixture", 600);
  ck_assert_int_eq(spec_integer(sixth, "from"), 1);
  end();
}
END_TEST

/* The errors of all that served are one series: promotions do not hide a change, and it is not answered twice. */
START_TEST(an_online_model_still_has_its_incidents)
{
  begin(_i, ONLINE);
  for (guint i = 2; i < 8; i++) memcpy(rates[i], rates[1], sizeof rates[i]); /* every revision is like version 1 */
  while (world->shards[0].row < CHANGE + 300) {
    feed_pane();
    g_autoptr(RegistryJob) job = leader_world_find_job(world, "mixture");
    ck_assert_ptr_nonnull(job);
    if (world->shards[0].row % 1000 == 0)
      train(job, .9, .95, 1);
    else
      leader_world_finish_job(world, job->id, "done", "{\"version\": null, \"mixture\": {\"trainings\": 0}}");
    leader_world_settle(world);
  }
  ck_assert_int_eq(leader_world_champion(world), 4);
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE kind = 'performance'"), 1);
  ck_assert(noted("performance", 0, "the error rose"));
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE kind = 'rollout'"), 0);
  ck_assert_int_eq(count("SELECT count(*) FROM job WHERE kind <> 'mixture'"), 0);
  end();
}
END_TEST

/* Small panes: learned whenever 100 rows more have come, and every one of them while an incident is open. */
START_TEST(an_online_model_learns_every_pane_of_an_incident)
{
  begin(_i, "    window: {events: 100, pane_events: 10, label_rows: 20}\n    policy: {retrain_mode: mixture}\n");
  guint calm = 0, hurried = 0;
  while (world->shards[0].row < CHANGE + 300) {
    leader_world_labels(world, 0, 20, 1, world->shards[0].row / 20);
    leader_world_settle(world);
    gboolean open = count("SELECT count(*) FROM incident WHERE kind = 'performance' AND state = 'open'") > 0;
    g_autoptr(RegistryJob) job = leader_world_find_job(world, "mixture");
    ck_assert_int_eq(job != NULL, open || world->shards[0].row % 100 == 0);
    if (!job) continue;
    *(open ? &hurried : &calm) += 1;
    leader_world_finish_job(world, job->id, "done", "{\"version\": null, \"mixture\": {\"trainings\": 0}}");
    leader_world_settle(world);
  }
  ck_assert_uint_eq(calm, CHANGE / 100);
  ck_assert_uint_ge(hurried, 10);
  /* Panes wait for a job as many rows as panes of 100 do. */
  gint64 decided = count("SELECT count(*) FROM verdict WHERE kind = 'label'");
  for (guint i = 0; i < 50; i++) leader_world_labels(world, 0, 20, 1, world->shards[0].row / 20);
  leader_world_settle(world);
  ck_assert_int_eq(count("SELECT count(*) FROM verdict WHERE kind = 'label'"), decided + 1);
  end();
}
END_TEST

int main(void)
{
  const TTest *const tests[] = {a_change_is_trained_on_from_its_first_row_and_promoted,
                                a_version_refused_for_its_gain_may_prove_itself_in_the_pool,
                                a_version_refused_for_an_absolute_bound_never_serves,
                                a_world_that_returns_gets_its_version_back,
                                a_training_that_fails_is_noted,
                                a_result_without_figures_is_a_failed_training,
                                a_manual_rollout_waits_for_the_operator,
                                an_operator_may_promote_while_a_training_runs,
                                an_operator_may_promote_while_a_pane_is_scored,
                                what_the_policy_does_not_act_on_changes_nothing,
                                a_version_that_breaks_its_promise_is_rolled_back,
                                a_watch_of_one_pane_is_still_a_watch,
                                a_watch_ends_even_when_nothing_was_promised,
                                an_operators_version_is_not_rolled_back_for_the_one_before,
                                the_daily_budget_bounds_trainings,
                                a_bias_incident_asks_for_one_training,
                                a_drift_incident_asks_for_one_training,
                                without_a_worker_the_served_rows_have_to_do,
                                a_training_takes_effect_before_the_next_pane,
                                a_champion_may_come_late,
                                a_pane_with_other_rows_than_it_says_is_refused,
                                every_pane_is_learnt_online_and_only_the_gate_promotes,
                                an_online_model_still_has_its_incidents,
                                an_online_model_learns_every_pane_of_an_incident};
  Suite *suite = suite_create("leader_label");
  TCase *tcase = tcase_create("labels");
  tcase_set_timeout(tcase, 120);
  for (guint i = 0; i < G_N_ELEMENTS(tests); i++) tcase_add_loop_test(tcase, tests[i], 0, test_stores_count());
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
