/* A store filled with one model's history, served over HTTP until SIGTERM. Prints the port.
 * usage: dashboard_server DIRECTORY */
#include <glib-unix.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "daemon/http.h"
#include "deploy/rollout.h"
#include "registry/artifact.h"
#include "registry/decision.h"
#include "registry/job.h"
#include "registry/model.h"
#include "registry/shard.h"

enum { WINDOWS = 40, DRIFT_FROM = 26, RECOVERED_FROM = 33, WINDOW_ROWS = 1000 };
static const gint64 BEGIN = G_GINT64_CONSTANT(1764000000) * G_USEC_PER_SEC;
static const gint64 WINDOW_US = 600 * G_USEC_PER_SEC;

static void check(gboolean done, const GError *error)
{
  if (done) return;
  fprintf(stderr, "dashboard_server: %s\n", error != NULL ? error->message : "failed");
  exit(1);
}

static void add_models(RegistryStore *store, RegistryArtifacts *artifacts)
{
  static const gchar *const spec =
      "{\"task\": \"binary\", \"label\": \"approved\", \"classes\": [\"0\", \"1\"], \"positive_class\": \"1\", "
      "\"features\": [{\"name\": \"salary\", \"kind\": \"numeric\", \"sensitive\": false, \"input\": true}, "
      "{\"name\": \"group\", \"kind\": \"categorical\", \"sensitive\": true, \"input\": true}]}";
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) onnx = g_bytes_new_static("not looked into", 15);
  g_autofree gchar *digest = registry_artifacts_put(artifacts, onnx, &error);
  check(digest != NULL, error);
  check(registry_model_create(store, "loan", spec, "test", &error), error);
  check(registry_model_create(store, "waiting", spec, "test", &error), error);
  const gchar *const metrics[] = {"{\"reference\": {\"n\": 4000, \"accuracy\": 0.9412}}",
                                  "{\"challenger\": {\"n\": 1204, \"accuracy\": 0.9327}}"};
  for (guint i = 0; i < 2; i++) {
    RegistryVersion version = {.model = (gchar *)"loan",
                               .onnx_digest = digest,
                               .parent = i,
                               .kind = (gchar *)(i == 0 ? "imported" : "retrain"),
                               .incident = (gchar *)(i == 0 ? NULL : "loan/performance/26"),
                               .metrics = (gchar *)metrics[i]};
    check(registry_version_create(store, &version, "test", &error) == i + 1, error);
    check(deploy_promote(store, "loan", i + 1, i, i == 0 ? "test" : "leader",
                         i == 0 ? "model added" : "gain .182 on 1,204 held-out rows", &error),
          error);
  }
}

static gboolean drifts(guint i)
{
  return i >= DRIFT_FROM && i < RECOVERED_FROM;
}

static json_t *window_body(guint i)
{
  double evidence = drifts(i) ? 14 + 3 * sin(i) : 1.2 + sin(i * 1.7);
  return json_pack("{s:f, s:f, s:b, s:b, s:i, s:[{s:s, s:s, s:f, s:f, s:i, s:i, s:b}]}", "evidence_log", evidence,
                   "evidence_bound", 6.9, "drift", drifts(i), "quality", 0, "n", WINDOW_ROWS, "features", "feature",
                   "salary", "test", "ks", "effect", drifts(i) ? .31 : .03, "p_adjusted", exp(-evidence), "n_reference",
                   4000, "n_window", WINDOW_ROWS, "drift", drifts(i));
}

static json_t *performance_body(guint i)
{
  double accuracy = drifts(i) ? .742 + .01 * sin(i) : .938 + .008 * cos(i);
  return json_pack(
      "{s:i, s:b, s:{s:i, s:f, s:f, s:f}, s:[{s:s, s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:b}]}", "n",
      WINDOW_ROWS, "bias", 0, "performance", "n", WINDOW_ROWS, "accuracy", accuracy, "accuracy_low", accuracy - .02,
      "accuracy_high", accuracy + .02, "bias_verdicts", "metric", "disparate_impact", "attribute", "group", "group",
      "<b>A&B</b>", "reference_group", "C", "n_group", 312, "n_reference", 688, "rate_group", .41, "rate_reference",
      .52, "value", .788, "low", .71, "high", .86, "breach", 0);
}

static json_t *label_body(guint i)
{
  double glr = drifts(i) ? 8 + 6 * (i - DRIFT_FROM) : 2 + sin(i);
  return json_pack("{s:f, s:f, s:b}", "glr", glr, "threshold", 25., "alarm", glr > 25);
}

static void add_verdict(RegistryStore *store, const gchar *kind, guint i, json_t *body)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *id = g_strdup_printf("loan/%s/%u", kind, i);
  gchar *text = json_dumps(body, JSON_COMPACT);
  RegistryVerdict verdict = {.id = id,
                             .model = (gchar *)"loan",
                             .kind = (gchar *)kind,
                             .number = i,
                             .event_time = BEGIN + (i + 1) * WINDOW_US,
                             .drift = drifts(i),
                             .panes = (gchar *)"[]",
                             .settings = (gchar *)"{}",
                             .body = text};
  check(registry_verdict_put(store, &verdict, &error), error);
  free(text);
  json_decref(body);
}

static void add_windows(RegistryStore *store)
{
  for (guint i = 0; i < WINDOWS; i++) {
    add_verdict(store, "window", i, window_body(i));
    add_verdict(store, "performance", i, performance_body(i));
    add_verdict(store, "label", i, label_body(i));
  }
}

static void add_incidents(RegistryStore *store)
{
  g_autoptr(GError) error = NULL;
  RegistryIncident closed = {.id = (gchar *)"loan/performance/26",
                             .model = (gchar *)"loan",
                             .kind = (gchar *)"performance",
                             .state = (gchar *)"closed",
                             .opened_at = BEGIN + DRIFT_FROM * WINDOW_US,
                             .updated_at = BEGIN + RECOVERED_FROM * WINDOW_US,
                             .closed_at = BEGIN + RECOVERED_FROM * WINDOW_US,
                             .verdict = (gchar *)"loan/label/26",
                             .summary = (gchar *)"accuracy fell from .938 to .742 (n = 1,000)",
                             .body =
                                 (gchar *)"{\"change_point\": {\"row\": 26010, \"time\": 1764015600000000}, \"notes\": "
                                          "[\"version 2 promoted: gain .182 [.158, .207], n = 1,204\"], \"causes\": "
                                          "[{\"feature\": \"salary\", \"test\": \"ks\", \"effect\": 0.31, "
                                          "\"p_adjusted\": 8.3e-7, \"n_reference\": 4000, \"n_window\": 1000}]}"};
  check(registry_incident_put(store, &closed, &error), error);
  RegistryIncident open = {
      .id = (gchar *)"loan/bias/38",
      .model = (gchar *)"loan",
      .kind = (gchar *)"bias",
      .state = (gchar *)"open",
      .opened_at = BEGIN + 39 * WINDOW_US,
      .updated_at = BEGIN + 39 * WINDOW_US,
      .verdict = (gchar *)"loan/performance/38",
      .summary = (gchar *)"disparate impact .788 of group A&B against C <script>alert(1)</script>",
      .body = (gchar *)"{\"slices\": [{\"kind\": \"loss\", \"text\": \"group = A&B and age > 60: mean loss 0.41 "
                       "against 0.12 of rows that meet only one of the two\"}], "
                       "\"causes\": [{\"text\": \"disparate impact .788 [.710, .860], group = A&B "
                       "(n = 312) against C (n = 688)\"}]}"};
  check(registry_incident_put(store, &open, &error), error);
}

static void add_jobs(RegistryStore *store)
{
  g_autoptr(GError) error = NULL;
  RegistryJob done = {.id = (gchar *)"loan/retrain/1",
                      .model = (gchar *)"loan",
                      .kind = (gchar *)"retrain",
                      .spec = (gchar *)"{}",
                      .incident = (gchar *)"loan/performance/26"};
  check(registry_job_create(store, &done, &error), error);
  g_autoptr(RegistryJob) first = registry_job_claim(store, "worker-1", NULL, &error);
  check(first != NULL, error);
  check(registry_job_finish(
            store, first->id, first->token, "done",
            "{\"version\": 2, \"rows\": 6020, \"holdout\": 1204, \"comparison\": {\"n\": 1204, "
            "\"champion\": 0.751, \"challenger\": 0.933, \"gain\": 0.182, \"low\": 0.158, \"high\": 0.207}}",
            NULL, &error),
        error);
  RegistryJob running = {.id = (gchar *)"loan/retrain/2",
                         .model = (gchar *)"loan",
                         .kind = (gchar *)"retrain",
                         .spec = (gchar *)"{}",
                         .incident = (gchar *)"loan/bias/38"};
  check(registry_job_create(store, &running, &error), error);
  g_autoptr(RegistryJob) second = registry_job_claim(store, "worker-1", NULL, &error);
  check(second != NULL, error);
  check(registry_job_heartbeat(
            store, second->id, second->token,
            "{\"stage\": \"train\", \"epoch\": 13, \"epochs\": 20, \"loss\": 0.21, \"fraction\": 0.65}", NULL, &error),
        error);
}

static void add_shard(RegistryStore *store)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryShard) shard = registry_shard_acquire(store, "loan", 0, "host-1:4711", &error);
  check(shard != NULL, error);
  g_autoptr(GBytes) state = g_bytes_new_static("state", 5);
  RegistryCheckpoint checkpoint = {.model = "loan",
                                   .epoch = shard->epoch,
                                   .base_offset = -1,
                                   .next_offset = 40000,
                                   .state = state,
                                   .consumed = "{\"traffic\": 40000, \"labels\": {\"0\": 39500}}",
                                   .watermark = BEGIN + WINDOWS * WINDOW_US};
  check(registry_shard_checkpoint(store, &checkpoint, &error), error);
  check(registry_leader_state_put(store, "loan", state,
                                  "{\"seen\": {\"0\": {\"traffic\": 40000, \"labels\": {\"0\": 39500}}}, \"settled\": "
                                  "false, \"windows\": 40, \"label_panes\": 395, \"verdicts\": 435}",
                                  &error),
        error);
}

static gboolean stop(gpointer data)
{
  g_main_loop_quit(data);
  return G_SOURCE_REMOVE;
}

int main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  check(argc == 2, NULL);
  g_autofree gchar *config = g_build_filename(argv[1], "kedge.yaml", NULL);
  g_autofree gchar *text = g_strdup_printf("store: sqlite:%s/kedge.db\nartifacts: %s/artifacts\nhttp:\n"
                                           "  listen: 127.0.0.1:0\n  socket: %s/kedge.sock\nmodels: []\n",
                                           argv[1], argv[1], argv[1]);
  check(g_file_set_contents(config, text, -1, &error), error);
  g_autoptr(Settings) settings = settings_load(config, &error);
  check(settings != NULL, error);
  g_autoptr(RegistryStore) store = registry_store_open(settings->store, &error);
  check(store != NULL, error);
  g_autoptr(RegistryArtifacts) artifacts = registry_artifacts_open(settings->artifacts, &error);
  check(artifacts != NULL, error);
  add_models(store, artifacts);
  add_windows(store);
  add_incidents(store);
  add_jobs(store);
  add_shard(store);
  Health *health = health_new();
  Metrics *metrics = metrics_new();
  metrics_set(metrics, "kedge_lag_records", "model=\"loan\",partition=\"0\"", 1234);
  metrics_observe(metrics, "kedge_checkpoint_seconds", "model=\"loan\"", .004);
  metrics_add(metrics, "kedge_dead_letters_total", "model=\"loan\",reason=\"malformed\"", 3);
  health_set(health, "leader", TRUE, "term 3");
  HttpServer *server = http_server_new(settings, health, metrics, &error);
  check(server != NULL, error);
  check(http_server_start(server, &error), error);
  printf("%u\n", http_server_get_port(server));
  fflush(stdout);
  GMainLoop *loop = g_main_loop_new(NULL, FALSE);
  g_unix_signal_add(SIGTERM, stop, loop);
  g_main_loop_run(loop);
  g_main_loop_unref(loop);
  http_server_free(server);
  metrics_free(metrics);
  health_free(health);
  return 0;
}
