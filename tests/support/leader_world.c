#include "tests/support/leader_world.h"

#include <check.h>
#include <math.h>
#include <string.h>

#include "pipeline/model_spec.h"
#include "tests/support/shard_world.h"

#define SECOND G_GINT64_CONSTANT(1000000)

#define good(value, error) ck_assert_msg(value, "%s: %s", #value, (error) ? (error)->message : "no reason given")

/* --- model and settings ----------------------------------------------------------------------------------------------
 */

void leader_world_load_settings(LeaderWorld *world, const gchar *settings)
{
  static const gchar usual[] = "    window: {events: 100, pane_events: 10, label_rows: 100}\n";
  g_autoptr(GError) error = NULL;
  g_autofree gchar *text = g_strdup_printf("store: sqlite:/nowhere.db\nartifacts: /nowhere\nsingle_host: "
                                           "true\nmodels:\n  - name: m\n    traffic: {topic: t}\n"
                                           "    labels: {topic: l}\n%s",
                                           settings ? settings : usual);
  if (world->settings) settings_unref(world->settings);
  world->settings = settings_parse("test.yaml", text, strlen(text), &error);
  good(world->settings != NULL, error);
  world->context.settings = world->settings;
}

static void make_event(DriftEvent *event, DriftValue *features, guint i, const LeaderWorldTraffic *traffic)
{
  /* a low-discrepancy walk: every stretch looks like every other */
  double u = fmod((i + 1) * .6180339887498949, 1), v = fmod((i + 1) * .7548776662466927, 1);
  features[0] = drift_value_number(2 * u - 1 + traffic->shift);
  features[1] = v < traffic->missing ? drift_value_missing() : drift_value_number(2 * (traffic->tied ? u : v) - 1);
  features[2] = drift_value_number(2 * fmod(u + v, 1) - 1);
  features[3] = drift_value_text(i % 3 == 0 ? "x" : "y", -1);
  *event = (DriftEvent){.request_id = drift_value_text("r", -1),
                        .event_time = traffic->time * SECOND,
                        .version = traffic->version ? traffic->version : 1,
                        .prediction = drift_value_text(i % 2 ? "1" : "0", -1),
                        .score = fmod(u + .3 * v, 1),
                        .latency_ms = NAN,
                        .features = features};
}

static GBytes *count_events(LeaderWorld *world, guint first, guint n, const LeaderWorldTraffic *traffic)
{
  g_autoptr(DriftAccumulator) sum = drift_accumulator_new(world->grid);
  for (guint i = 0; i < n; i++) {
    DriftEvent event;
    DriftValue features[4];
    make_event(&event, features, first + i, traffic);
    drift_accumulator_add(sum, &event);
  }
  return drift_accumulator_to_bytes(sum);
}

static void make_model(LeaderWorld *world)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *path = g_build_filename(world->test->directory, "artifacts", NULL);
  world->artifacts = registry_artifacts_open(path, &error);
  good(world->artifacts != NULL, error);
  world->grid = world_grid();
  g_autofree gchar *spec = pipeline_model_spec_format(drift_grid_get_schema(world->grid));
  good(registry_model_create(world->store, "m", spec, "test", &error), error);
  g_autoptr(GBytes) grid = drift_grid_to_bytes(world->grid);
  g_autoptr(GBytes) profile = count_events(world, 0, 3000, &(LeaderWorldTraffic){0});
  world->grid_digest = registry_artifacts_put(world->artifacts, grid, &error);
  good(world->grid_digest != NULL, error);
  world->profile_digest = registry_artifacts_put(world->artifacts, profile, &error);
  good(world->profile_digest != NULL, error);
}

gint64 leader_world_add_version(LeaderWorld *world, const gchar *job)
{
  g_autoptr(GError) error = NULL;
  const RegistryVersion version = {.model = (gchar *)"m",
                                   .onnx_digest = world->grid_digest,
                                   .grid_digest = world->grid_digest,
                                   .profile_digest = world->profile_digest,
                                   .kind = (gchar *)(job ? "retrain" : "imported"),
                                   .job = (gchar *)job,
                                   .metrics = (gchar *)"{\"holdout\": {\"accuracy\": 0.9, \"n\": 1000}}"};
  gint64 number = registry_version_create(world->store, &version, "test", &error);
  good(number > 0, error);
  return number;
}

void leader_world_promote(LeaderWorld *world, gint64 version)
{
  g_autoptr(GError) error = NULL;
  good(registry_alias_set(world->store, "m", "champion", version, -1, "operator", "a test", &error), error);
}

gint64 leader_world_champion(LeaderWorld *world)
{
  return registry_alias_get(world->store, "m", "champion", NULL);
}

LeaderWorld *leader_world_new(int store, const gchar *settings)
{
  g_autoptr(GError) error = NULL;
  LeaderWorld *world = g_new0(LeaderWorld, 1);
  world->test = test_store_open(store);
  world->store = world->test->store;
  leader_world_load_settings(world, settings);
  make_model(world);
  world->context.store = world->store;
  world->context.artifacts = world->artifacts;
  world->context.me = "leader";
  RegistryLeaseObservation observed = {0};
  world->context.term = registry_lease_hold(world->store, LEADER_LEASE, "leader", SECOND, 0, &observed, &error);
  good(world->context.term == 1, error);
  leader_world_promote(world, leader_world_add_version(world, NULL));
  for (guint i = 0; i < WORLD_PARTITIONS; i++) world->shards[i].offset = -1;
  return world;
}

void leader_world_free(LeaderWorld *world)
{
  leader_model_free(world->model);
  drift_grid_unref(world->grid);
  settings_unref(world->settings);
  registry_artifacts_close(world->artifacts);
  test_store_close(world->test);
  g_free(world->grid_digest);
  g_free(world->profile_digest);
  g_free(world);
}

/* --- what shards write -----------------------------------------------------------------------------------------------
 */

static void checkpoint(LeaderWorld *world, gint32 partition, gint64 next_offset, GPtrArray *panes,
                       GPtrArray *label_panes)
{
  g_autoptr(GError) error = NULL;
  gint64 base = world->shards[partition].offset;
  if (!world->shards[partition].epoch) {
    g_autoptr(RegistryShard) shard = registry_shard_acquire(world->store, "m", partition, "test", &error);
    good(shard != NULL, error);
    world->shards[partition].epoch = shard->epoch;
  }
  g_autoptr(GBytes) state = g_bytes_new_static("s", 1);
  g_autofree gchar *consumed = g_strdup_printf("{\"traffic\":%" G_GINT64_FORMAT ",\"labels\":{\"%d\":%" G_GINT64_FORMAT
                                               "},\"label_watermarks\":{\"%d\":%" G_GINT64_FORMAT "}}",
                                               next_offset, partition, world->shards[partition].row, partition,
                                               world->shards[partition].label_watermark);
  const RegistryCheckpoint one = {.model = "m",
                                  .partition = partition,
                                  .epoch = world->shards[partition].epoch,
                                  .base_offset = base,
                                  .next_offset = next_offset,
                                  .state = state,
                                  .consumed = consumed,
                                  .watermark = world->shards[partition].watermark,
                                  .panes = panes,
                                  .label_panes = label_panes};
  good(registry_shard_checkpoint(world->store, &one, &error), error);
  world->shards[partition].offset = next_offset;
}

void leader_world_traffic(LeaderWorld *world, gint32 partition, LeaderWorldTraffic traffic)
{
  guint n = traffic.n ? traffic.n : 100;
  gint64 first = MAX(world->shards[partition].offset, 0);
  world->shards[partition].watermark = traffic.time * SECOND;
  RegistryPane *pane = g_new0(RegistryPane, 1);
  *pane = (RegistryPane){.number = world->shards[partition].pane++,
                         .grid_id = g_strdup(drift_grid_get_id(world->grid)),
                         .first_offset = first,
                         .next_offset = first + n,
                         .first_time = traffic.time * SECOND,
                         .last_time = traffic.time * SECOND,
                         .watermark = traffic.time * SECOND,
                         .count = n,
                         .coverage = g_strdup("{}"),
                         .bytes = count_events(world, (guint)first, n, &traffic)};
  g_autoptr(GPtrArray) panes = g_ptr_array_new_with_free_func((GDestroyNotify)registry_pane_free);
  g_ptr_array_add(panes, pane);
  checkpoint(world, partition, first + n, panes, NULL);
}

static void make_row(LeaderWorld *world, DriftLabelRow *out, gint32 partition, gint64 row, gint64 version, gint64 time)
{
  gint label = (gint)(row % 2);
  *out = (DriftLabelRow){.version = version,
                         .label_offset = row,
                         .label_time = time * SECOND,
                         .label_class = label,
                         .predicted_class = world->errors(version, partition, row) ? 1 - label : label,
                         .score = .5,
                         .predicted_value = NAN,
                         .label_value = NAN,
                         .groups = {(guint16)(row / 2 % 2)},
                         .n_groups = 1};
}

void leader_world_labels(LeaderWorld *world, gint32 partition, guint n, gint64 version, gint64 time)
{
  gint64 first = world->shards[partition].row;
  g_autofree DriftLabelRow *rows = g_new0(DriftLabelRow, MAX(n, 1));
  for (guint i = 0; i < n; i++) make_row(world, &rows[i], partition, first + i, version, time);
  world->shards[partition].row += n;
  world->shards[partition].label_watermark = time * SECOND;
  RegistryLabelPane *pane = g_new0(RegistryLabelPane, 1);
  *pane = (RegistryLabelPane){.label_partition = partition,
                              .number = world->shards[partition].label_pane++,
                              .first_row = first,
                              .next_row = first + n,
                              .first_offset = first,
                              .next_offset = first + n,
                              .watermark = time * SECOND,
                              .count = n,
                              .coverage = g_strdup("{}"),
                              .bytes = drift_label_rows_to_bytes(rows, n)};
  g_autoptr(GPtrArray) panes = g_ptr_array_new_with_free_func((GDestroyNotify)registry_label_pane_free);
  g_ptr_array_add(panes, pane);
  checkpoint(world, partition, MAX(world->shards[partition].offset, 0), NULL, panes);
}

void leader_world_advance(LeaderWorld *world, gint32 partition, gint64 time)
{
  world->shards[partition].watermark = world->shards[partition].label_watermark = time * SECOND;
  checkpoint(world, partition, MAX(world->shards[partition].offset, 0), NULL, NULL);
}

/* --- the leader's turn
 * ------------------------------------------------------------------------------------------------ */

void leader_world_crash(LeaderWorld *world)
{
  if (registry_store_in_transaction(world->store)) registry_store_rollback(world->store);
  g_clear_pointer(&world->model, leader_model_free);
}

static gboolean load(LeaderWorld *world, GError **error)
{
  if (world->model) return TRUE;
  g_autoptr(LeaderModel) model = leader_model_new("m");
  if (!leader_model_load(model, &world->context, error)) return FALSE;
  world->model = g_steal_pointer(&model);
  return TRUE;
}

gboolean leader_world_pass(LeaderWorld *world, gboolean *worked, GError **error)
{
  g_autoptr(GPtrArray) shards = registry_shard_list(world->store, "m", error);
  gboolean done = shards && load(world, error) && leader_step_jobs(world->model, &world->context, worked, error) &&
                  leader_step_windows(world->model, &world->context, shards, worked, error) &&
                  leader_step_labels(world->model, &world->context, shards, worked, error);
  ck_assert_msg(done || !error || *error, "a step failed without an error");
  ck_assert_msg(!done || !registry_store_in_transaction(world->store), "a step left a transaction open");
  if (!done) leader_world_crash(world);
  return done;
}

void leader_world_step(LeaderWorld *world)
{
  for (gboolean worked = TRUE; worked;) {
    g_autoptr(GError) error = NULL;
    worked = FALSE;
    good(leader_world_pass(world, &worked, &error), error);
  }
}

RegistryJob *leader_world_find_job(LeaderWorld *world, const gchar *kind)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) jobs = registry_job_list(world->store, "m", "queued", 0, &error);
  good(jobs != NULL, error);
  for (guint i = 0; i < jobs->len; i++) {
    const RegistryJob *job = g_ptr_array_index(jobs, i);
    if (g_str_equal(job->kind, kind)) return g_ptr_array_steal_index(jobs, i);
  }
  return NULL;
}

void leader_world_finish_job(LeaderWorld *world, const gchar *id, const gchar *state, const gchar *result)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryJob) wanted = registry_job_get(world->store, id, &error);
  good(wanted != NULL, error);
  const gchar *const kinds[] = {wanted->kind, NULL};
  g_autoptr(RegistryJob) job = registry_job_claim(world->store, "worker", kinds, &error);
  good(job != NULL, error);
  ck_assert_str_eq(job->id, id);
  good(registry_job_finish(world->store, id, job->token, state, result, result ? NULL : "a test ends it", &error),
       error);
}

/* The error bits of one version on the ranges of a job's spec. */
static gchar *score(LeaderWorld *world, const json_t *data, gint64 version, guint *n)
{
  g_autoptr(GByteArray) bits = g_byte_array_new();
  json_t *range;
  size_t i;
  *n = 0;
  json_array_foreach (data, i, range) {
    gint32 partition = (gint32)json_integer_value(json_object_get(range, "partition"));
    gint64 next = json_integer_value(json_object_get(range, "next_row"));
    for (gint64 row = json_integer_value(json_object_get(range, "first_row")); row < next; row++, (*n)++) {
      if (*n % 8 == 0) g_byte_array_append(bits, (const guint8 *)"", 1);
      bits->data[*n / 8] |= (guint8)(world->errors(version, partition, row) << (*n % 8));
    }
  }
  return g_base64_encode(bits->data, bits->len);
}

gboolean leader_world_score(LeaderWorld *world)
{
  g_autoptr(RegistryJob) job = leader_world_find_job(world, "score");
  if (!job) return FALSE;
  json_t *spec = json_loads(job->spec, 0, NULL), *versions = json_array(), *version;
  size_t i;
  guint n = 0;
  json_array_foreach (json_object_get(spec, "versions"), i, version) {
    g_autofree gchar *text = score(world, json_object_get(spec, "data"), json_integer_value(version), &n);
    json_array_append_new(versions, json_pack("{s:O, s:s}", "version", version, "errors", text));
  }
  json_t *result = json_pack("{s:i, s:o}", "rows", (int)n, "versions", versions);
  g_autofree gchar *text = verdict_dump(result);
  json_decref(result);
  json_decref(spec);
  leader_world_finish_job(world, job->id, "done", text);
  return TRUE;
}

void leader_world_settle(LeaderWorld *world)
{
  do leader_world_step(world);
  while (leader_world_score(world));
}

gchar *leader_world_trained(gint64 version, double champion, double challenger, double disparate_impact)
{
  double gain = challenger - champion;
  return g_strdup_printf(
      "{\"version\": %" G_GINT64_FORMAT ", \"rows\": 800, \"holdout\": 200, \"comparison\": {\"n\": 200, "
      "\"champion\": %.17g, \"challenger\": %.17g, \"gain\": %.17g, \"low\": %.17g, \"high\": %.17g, "
      "\"confidence\": 0.95}, \"challenger\": {\"n\": 200, \"accuracy\": %.17g, "
      "\"disparate_impact_worst\": %.17g, \"disparate_impact_group\": \"group=x\", "
      "\"latency_p99_us\": 10}}",
      version, champion, challenger, gain, gain - .02, gain + .02, challenger, disparate_impact);
}

/* --- looking
 * ----------------------------------------------------------------------------------------------------------- */

RegistryIncident *leader_world_incident(LeaderWorld *world, const gchar *kind, guint i)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) incidents = registry_incident_list(world->store, "m", FALSE, 0, &error);
  good(incidents != NULL, error);
  for (guint k = 0; k < incidents->len; k++) {
    const RegistryIncident *incident = g_ptr_array_index(incidents, k);
    if (g_str_equal(incident->kind, kind) && i-- == 0) return g_ptr_array_steal_index(incidents, k);
  }
  return NULL;
}

gint64 leader_world_count(LeaderWorld *world, const gchar *sql)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryRows) rows = registry_store_query(world->store, sql, NULL, 0, &error);
  good(rows != NULL, error);
  return registry_rows_get_integer(rows, 0, 0);
}

static void dump_texts(LeaderWorld *world, GString *out, const gchar *table, const gchar *columns, guint n)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *sql = g_strdup_printf("SELECT %s FROM %s ORDER BY 1, 2", columns, table);
  g_autoptr(RegistryRows) rows = registry_store_query(world->store, sql, NULL, 0, &error);
  good(rows != NULL, error);
  for (guint row = 0; row < registry_rows_get_count(rows); row++) {
    g_string_append(out, table);
    for (guint column = 0; column < n; column++) {
      const gchar *text = registry_rows_get_text(rows, row, column);
      g_string_append_printf(out, " %s", text ? text : "-");
    }
    g_string_append_c(out, '\n');
  }
}

gchar *leader_world_dump(LeaderWorld *world)
{
  GString *out = g_string_new(NULL);
  dump_texts(world, out, "verdict", "id, body, panes, settings", 4);
  dump_texts(world, out, "incident", "id, state, verdict, summary, body", 5);
  dump_texts(world, out, "job", "id, kind, state, spec, incident", 5);
  dump_texts(world, out, "outbox", "id, kind, target, body", 4);
  dump_texts(world, out, "alias_history", "alias, CAST(revision AS TEXT), CAST(version AS TEXT), actor, reason", 5);
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) state = registry_leader_state_get(world->store, "m", &error);
  ck_assert_msg(!error, "%s", error ? error->message : "");
  gsize length = 0;
  const gchar *text = state ? g_bytes_get_data(state, &length) : "";
  g_string_append(out, "state ");
  g_string_append_len(out, text, (gssize)length);
  g_string_append_c(out, '\n');
  return g_string_free(out, FALSE);
}
