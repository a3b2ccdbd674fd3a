#include "daemon/wait.h"

#include <jansson.h>
#include <stdarg.h>
#include <string.h>

#include "daemon/settings.h"
#include "registry/decision.h"
#include "registry/job.h"
#include "registry/shard.h"

enum { MAX_PARTITIONS = 100000, MAX_DUE = 1000 };

GArray *wait_parse_offsets(const gchar *text, GError **error)
{
  g_autoptr(GArray) offsets = g_array_new(FALSE, FALSE, sizeof(WaitOffset));
  g_auto(GStrv) items = g_strsplit(text, ",", -1);
  for (guint i = 0; items[i] != NULL; i++) {
    if (*text == '\0') break;
    gint64 partition = 0;
    WaitOffset offset = {0};
    gchar *colon = strchr(items[i], ':');
    if (colon != NULL) *colon = '\0';
    if (colon == NULL || !g_ascii_string_to_signed(items[i], 10, 0, MAX_PARTITIONS, &partition, NULL) ||
        !g_ascii_string_to_signed(colon + 1, 10, 0, G_MAXINT64, &offset.next, NULL)) {
      g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "\"%s\" is not PARTITION:NEXT[,PARTITION:NEXT]…", text);
      return NULL;
    }
    offset.partition = (gint32)partition;
    g_array_append_val(offsets, offset);
  }
  return g_steal_pointer(&offsets);
}

/* {"traffic": N, "labels": {"L": N}} of one shard; -1: not there. */
static gint64 traffic_of(json_t *shard)
{
  json_t *value = json_object_get(shard, "traffic");
  return json_is_integer(value) ? json_integer_value(value) : -1;
}

static gint64 label_of(json_t *shard, gint32 label_partition)
{
  gchar key[16];
  g_snprintf(key, sizeof key, "%d", label_partition);
  json_t *value = json_object_get(json_object_get(shard, "labels"), key);
  return json_is_integer(value) ? json_integer_value(value) : -1;
}

G_GNUC_PRINTF(2, 3) static gboolean not_yet(gchar **missing, const gchar *format, ...)
{
  if (missing == NULL) return FALSE;
  va_list arguments;
  va_start(arguments, format);
  *missing = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  return FALSE;
}

/* `progress`: PARTITION → {"traffic", "labels"}, of the shards or as the leader saw them. `who` names it in texts. */
static gboolean offsets_reached(json_t *progress, json_t *shards, const WaitTarget *target, const gchar *who,
                                gchar **missing)
{
  for (guint i = 0; i < target->n_traffic; i++) {
    gchar key[16];
    g_snprintf(key, sizeof key, "%d", target->traffic[i].partition);
    gint64 at = traffic_of(json_object_get(progress, key));
    if (at < target->traffic[i].next)
      return not_yet(missing, "%s: traffic partition %s is at offset %" G_GINT64_FORMAT ", not yet %" G_GINT64_FORMAT,
                     who, key, at, target->traffic[i].next);
  }
  for (guint i = 0; i < target->n_labels; i++) {
    const WaitOffset *wanted = &target->labels[i];
    guint followers = 0;
    const gchar *key;
    json_t *shard;
    json_object_foreach (shards, key, shard) {
      if (label_of(shard, wanted->partition) < 0) continue;
      followers++;
      gint64 at = label_of(json_object_get(progress, key), wanted->partition);
      if (at < wanted->next)
        return not_yet(
            missing, "%s: label partition %d is at offset %" G_GINT64_FORMAT " in shard %s, not yet %" G_GINT64_FORMAT,
            who, wanted->partition, at, key, wanted->next);
    }
    if (followers == 0 && wanted->next > 0)
      return not_yet(missing, "%s: no shard follows label partition %d yet", who, wanted->partition);
  }
  return TRUE;
}

static json_t *load_shards(RegistryStore *store, const gchar *model, GError **error)
{
  g_autoptr(GPtrArray) list = registry_shard_list(store, model, error);
  if (list == NULL) return NULL;
  json_t *shards = json_object();
  for (guint i = 0; i < list->len; i++) {
    const RegistryShardStatus *status = g_ptr_array_index(list, i);
    json_t *consumed = status->consumed != NULL ? json_loads(status->consumed, 0, NULL) : NULL;
    gchar key[16];
    g_snprintf(key, sizeof key, "%d", status->partition);
    if (consumed != NULL) json_object_set_new(shards, key, consumed);
  }
  return shards;
}

static gboolean leader_is_done(RegistryStore *store, json_t *shards, const WaitTarget *target, gchar **missing,
                               GError **error)
{
  g_autoptr(GError) failure = NULL;
  g_autofree gchar *text = registry_leader_progress_get(store, target->model, &failure);
  if (failure != NULL) {
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
  }
  json_t *progress = text != NULL ? json_loads(text, 0, NULL) : NULL;
  gboolean done = offsets_reached(json_object_get(progress, "seen"), shards, target, "leader", missing);
  if (done && !json_is_true(json_object_get(progress, "settled")))
    done = not_yet(missing, "leader: a decision waits for a job or a rollout");
  json_decref(progress);
  return done;
}

static gboolean nothing_is_open(RegistryStore *store, const WaitTarget *target, gchar **missing, GError **error)
{
  gint64 jobs = registry_job_count_open(store, target->model, error);
  if (jobs < 0) return FALSE;
  if (jobs > 0) return not_yet(missing, "jobs: %" G_GINT64_FORMAT " queued or running", jobs);
  /* also those that wait for their next try */
  g_autoptr(GPtrArray) due = registry_outbox_due(store, "rollout", G_MAXINT64, MAX_DUE, error);
  if (due == NULL) return FALSE;
  for (guint i = 0; i < due->len; i++) {
    const RegistryOutboxItem *item = g_ptr_array_index(due, i);
    if (g_strcmp0(item->target, target->model) == 0) return not_yet(missing, "rollout %s is due", item->id);
  }
  return TRUE;
}

/* Three reads without a common transaction: shards first, then the leader, then jobs and rollouts. This order makes it
 * sound: offsets only grow, and once the leader is settled on all that the target names, nothing opens a job or a
 * rollout without new records. A transaction would take SQLite's writer lock at every look. */
gboolean wait_check(RegistryStore *store, const WaitTarget *target, gchar **missing, GError **error)
{
  if (missing != NULL) *missing = NULL;
  json_t *shards = load_shards(store, target->model, error);
  if (shards == NULL) return FALSE;
  gboolean reached = offsets_reached(shards, shards, target, "consumer", missing) &&
                     leader_is_done(store, shards, target, missing, error) &&
                     nothing_is_open(store, target, missing, error);
  json_decref(shards);
  return reached;
}

gboolean wait_for(RegistryStore *store, const WaitTarget *target, gint64 timeout_us, guint poll_ms, GError **error)
{
  gint64 deadline = timeout_us < 0 ? G_MAXINT64 : g_get_monotonic_time() + timeout_us;
  for (;;) {
    g_autofree gchar *missing = NULL;
    g_autoptr(GError) failure = NULL;
    if (wait_check(store, target, &missing, &failure)) return TRUE;
    gboolean unavailable = g_error_matches(failure, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE);
    if (failure != NULL && !unavailable) {
      g_propagate_error(error, g_steal_pointer(&failure));
      return FALSE;
    }
    if (g_get_monotonic_time() >= deadline) {
      g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_TIMEOUT, "model %s is not done after %.1f s: %s", target->model,
                  (double)timeout_us / G_USEC_PER_SEC, failure != NULL ? failure->message : missing);
      return FALSE;
    }
    if (unavailable) registry_store_reconnect(store, NULL);
    g_usleep((gulong)MAX(poll_ms, 1) * 1000);
  }
}
