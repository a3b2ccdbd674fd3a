/* The audit of the serving version's decisions: alarm, incident, restart, a new version, replay. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/replay.h"
#include "tests/support/leader_world.h"

#define WINDOW "    window: {events: 100, pane_events: 10, label_rows: 100}\n"
#define AUDIT WINDOW "    bias_audit: {alpha: 0.05, margin: 0.05}\n"

static LeaderWorld *world;

/* Who is labelled 1 of group 1 is missed by version 1 in so many of a thousand; others err in 50 of a thousand. Labels
 * are row % 2 and groups row / 2 % 2 in this world. Version 2 is fair. */
static guint missed;

static guint8 by_group(gint64 version, gint32 partition, gint64 row)
{
  guint64 z = ((guint64)row * 8 + (guint64)partition) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  gboolean unfair = version == 1 && row / 2 % 2 == 1 && row % 2 == 1;
  return (z >> 20) % 1000 < (unfair ? missed : 50);
}

static void begin(int store, const gchar *settings, guint missed_of_a_thousand)
{
  missed = missed_of_a_thousand;
  world = leader_world_new(store, settings);
  world->errors = by_group;
}

static void end(void)
{
  leader_world_free(world);
}

static void feed(guint n_panes, gint64 version)
{
  for (guint i = 0; i < n_panes; i++) {
    leader_world_labels(world, 0, 100, version, world->shards[0].row / 100);
    leader_world_settle(world);
  }
}

static gint64 count(const gchar *sql)
{
  return leader_world_count(world, sql);
}

/* Panes until there is a bias incident. */
static RegistryIncident *feed_to_alarm(guint limit)
{
  for (guint i = 0; i < limit; i++) {
    feed(1, 1);
    RegistryIncident *incident = leader_world_incident(world, "bias", 0);
    if (incident) return incident;
  }
  ck_abort_msg("no incident in %u panes", limit);
  return NULL;
}

START_TEST(an_unfair_version_opens_one_incident_with_its_figures)
{
  begin(_i, AUDIT, 500);
  g_autoptr(RegistryIncident) incident = feed_to_alarm(60);
  ck_assert(g_str_has_prefix(incident->id, "m/bias-audit/") && g_str_has_prefix(incident->verdict, "m/label/"));
  ck_assert_str_eq(incident->kind, "bias");
  json_t *body = json_loads(incident->body, 0, NULL), *cause = json_array_get(json_object_get(body, "causes"), 0);
  ck_assert_str_eq(json_string_value(json_object_get(cause, "text")), incident->summary);
  ck_assert_str_eq(json_string_value(json_object_get(cause, "rate")), "selection_rate");
  ck_assert_str_eq(json_string_value(json_object_get(cause, "attribute")), "group");
  ck_assert_double_lt(json_number_value(json_object_get(cause, "mean_difference")), -.1);
  ck_assert_double_le(json_number_value(json_object_get(cause, "p")), .05);
  gint64 rows =
      json_integer_value(json_object_get(cause, "n_group")) + json_integer_value(json_object_get(cause, "n_reference"));
  ck_assert_int_ge(rows, world->shards[0].row - 2);
  json_decref(body);
  feed(20, 1); /* the evidence stays, the incident is not opened again */
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE kind = 'bias'"), 1);
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE kind = 'bias' AND state = 'open'"), 1);
  g_autoptr(GError) error = NULL;
  ReplayResult result = {0};
  ck_assert_msg(replay(world->store, world->artifacts, NULL, incident->id, &result, &error), "%s",
                error ? error->message : "");
  ck_assert_msg(result.identical, "%s", result.difference);
  ck_assert_str_eq(result.kind, "label");
  replay_result_clear(&result);
  end();
}
END_TEST

START_TEST(a_forged_audit_is_noticed)
{
  begin(_i, AUDIT, 500);
  g_autoptr(RegistryIncident) incident = feed_to_alarm(60);
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryVerdict) verdict = registry_verdict_get(world->store, incident->verdict, &error);
  g_autoptr(GString) body = g_string_new(verdict->body);
  ck_assert_uint_eq(g_string_replace(body, "\"raised\":true", "\"raised\":false", 1), 1);
  g_free(verdict->id);
  g_free(verdict->body);
  verdict->number = world->model->counters.label_verdicts;
  verdict->id = g_strdup_printf("m/label/%" G_GINT64_FORMAT, verdict->number);
  verdict->body = g_strdup(body->str);
  ck_assert(registry_verdict_put(world->store, verdict, &error));
  ReplayResult result = {0};
  ck_assert(replay(world->store, world->artifacts, NULL, verdict->id, &result, &error));
  ck_assert(!result.identical && g_str_has_prefix(result.difference, "audit: "));
  replay_result_clear(&result);
  end();
}
END_TEST

START_TEST(a_fair_version_opens_none)
{
  begin(_i, AUDIT, 50);
  feed(100, 1);
  ck_assert_int_eq(count("SELECT count(*) FROM incident"), 0);
  ck_assert_int_eq(json_integer_value(json_object_get(world->model->audit, "rows")), 10000);
  end();
}
END_TEST

START_TEST(without_alpha_nothing_is_audited)
{
  begin(_i, NULL, 500);
  feed(40, 1);
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE kind = 'bias'"), 0);
  ck_assert(json_is_null(world->model->audit));
  ck_assert_int_eq(count("SELECT count(*) FROM verdict WHERE body LIKE '%audit%'"), 0);
  end();
}
END_TEST

START_TEST(an_audit_that_is_not_possible_says_why)
{
  begin(_i, AUDIT "    alarm: {minimum_group: 5000}\n", 500);
  feed(20, 1);
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE kind = 'bias'"), 0);
  ck_assert_int_eq(
      count("SELECT count(*) FROM verdict WHERE id LIKE 'm/label/%' AND body LIKE "
            "'%\"undefined\":\"no bias audit: no sensitive feature has two groups of minimum_group rows%'"),
      20);
  end();
}
END_TEST

/* A leader that dies after every pane decides as one that never does. */
START_TEST(a_restart_changes_nothing)
{
  g_autofree gchar *dumps[2] = {0};
  for (guint crashes = 0; crashes < 2; crashes++) {
    begin(_i, AUDIT, 500);
    for (guint pane = 0; pane < 50; pane++) {
      feed(1, 1);
      if (crashes) leader_world_crash(world);
    }
    ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE kind = 'bias'"), 1);
    dumps[crashes] = leader_world_dump(world);
    end();
  }
  gboolean same = g_str_equal(dumps[0], dumps[1]);
  g_free(dumps[1]);
  dumps[1] = NULL;
  ck_assert(same);
}
END_TEST

START_TEST(a_new_version_begins_without_evidence)
{
  begin(_i, AUDIT, 500);
  registry_incident_free(feed_to_alarm(60));
  gint64 row = world->shards[0].row;
  gint64 version = leader_world_add_version(world, NULL);
  leader_world_promote(world, version);
  feed(1, 1); /* late labels of the old version: not its doing */
  g_autoptr(RegistryIncident) closed = leader_world_incident(world, "bias", 0);
  ck_assert_str_eq(closed->state, "closed");
  ck_assert_ptr_nonnull(strstr(closed->body, "the audit of version 1 ended: version 2 serves now"));
  ck_assert_int_eq(json_integer_value(json_object_get(world->model->audit, "version")), version);
  ck_assert_int_eq(json_integer_value(json_object_get(world->model->audit, "first_row")), row);
  ck_assert_int_eq(json_integer_value(json_object_get(world->model->audit, "rows")), 0);
  feed(60, version);
  ck_assert_int_eq(json_integer_value(json_object_get(world->model->audit, "rows")), 6000);
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE kind = 'bias'"), 1);
  end();
}
END_TEST

START_TEST(other_settings_begin_another_audit)
{
  begin(_i, AUDIT, 500);
  registry_incident_free(feed_to_alarm(60));
  leader_world_load_settings(world, WINDOW "    bias_audit: {alpha: 0.05, margin: 0.6}\n");
  feed(40, 1);
  g_autoptr(RegistryIncident) closed = leader_world_incident(world, "bias", 0);
  ck_assert_str_eq(closed->state, "closed");
  ck_assert_ptr_nonnull(strstr(closed->body, "bias_audit in the settings was changed"));
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE kind = 'bias'"), 1);
  leader_world_load_settings(world, NULL);
  feed(1, 1);
  ck_assert(json_is_null(world->model->audit));
  end();
}
END_TEST

/* Windows and the audit have an incident each; closing one leaves the other open, and the gauge counts both. */
START_TEST(windows_and_the_audit_do_not_close_each_other)
{
  begin(_i,
        "    window: {events: 400, pane_events: 10, label_rows: 100}\n    alarm: {disparate_impact_bound: 0.8}\n"
        "    bias_audit: {alpha: 0.05, margin: 0.05}\n",
        500);
  Metrics *metrics = metrics_new();
  world->context.metrics = metrics;
  feed(60, 1);
  double open = 0, p = 1;
  ck_assert(metrics_get(metrics, "kedge_incidents_open", "model=\"m\",kind=\"bias\"", &open));
  ck_assert_double_eq(open, 2);
  ck_assert(metrics_get(metrics, "kedge_bias_audit_p",
                        "model=\"m\",attribute=\"group\",rate=\"selection_rate\",group=\"x\"", &p));
  ck_assert_double_le(p, .05);
  missed = 50; /* the same version decides fairly from here on */
  feed(40, 1);
  ck_assert(metrics_get(metrics, "kedge_incidents_open", "model=\"m\",kind=\"bias\"", &open));
  ck_assert_double_eq(open, 1);
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE id LIKE 'm/bias-audit/%' AND state = 'open'"), 1);
  ck_assert_int_eq(count("SELECT count(*) FROM incident WHERE id LIKE 'm/bias/%' AND state = 'closed'"), 1);
  end();
  metrics_free(metrics);
}
END_TEST

START_TEST(a_policy_that_acts_on_bias_trains_once)
{
  begin(_i, AUDIT "    policy: {act_on: [bias], reweigh: true}\n", 500);
  g_autoptr(RegistryIncident) incident = feed_to_alarm(60);
  g_autoptr(RegistryJob) job = leader_world_find_job(world, "retrain");
  ck_assert_ptr_nonnull(job);
  ck_assert_str_eq(job->incident, incident->id);
  ck_assert_ptr_nonnull(strstr(job->spec, "\"reweigh\":true"));
  leader_world_finish_job(world, job->id, "failed", NULL);
  feed(10, 1);
  ck_assert_int_eq(count("SELECT count(*) FROM job WHERE kind = 'retrain'"), 1);
  g_autoptr(RegistryIncident) noted = leader_world_incident(world, "bias", 0);
  ck_assert_ptr_nonnull(strstr(noted->body, "retrain failed: a test ends it"));
  end();
}
END_TEST

int main(void)
{
  const TTest *const tests[] = {an_unfair_version_opens_one_incident_with_its_figures,
                                a_forged_audit_is_noticed,
                                a_fair_version_opens_none,
                                without_alpha_nothing_is_audited,
                                an_audit_that_is_not_possible_says_why,
                                a_restart_changes_nothing,
                                a_new_version_begins_without_evidence,
                                other_settings_begin_another_audit,
                                windows_and_the_audit_do_not_close_each_other,
                                a_policy_that_acts_on_bias_trains_once};
  Suite *suite = suite_create("leader_bias");
  TCase *tcase = tcase_create("audit");
  tcase_set_timeout(tcase, 120);
  for (guint i = 0; i < G_N_ELEMENTS(tests); i++) tcase_add_loop_test(tcase, tests[i], 0, test_stores_count());
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
