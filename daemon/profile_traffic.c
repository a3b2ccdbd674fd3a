#include "daemon/profile_traffic.h"

#include "daemon/settings.h"
#include "registry/model.h"
#include "registry/shard.h"

#define PANES_AT_ONCE 64 /* with their bytes in memory */

void profile_traffic_clear(ProfileTraffic *traffic)
{
  g_clear_pointer(&traffic->sum, drift_accumulator_free);
}

static DriftGrid *load_grid(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model, GError **error)
{
  g_autoptr(RegistryVersion) version = registry_version_get(store, model, 1, error);
  if (version != NULL && version->grid_digest == NULL)
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_STATE, "model %s has no reference: add it with --reference", model);
  g_autoptr(GBytes) bytes = version != NULL && version->grid_digest != NULL
                                ? registry_artifacts_get(artifacts, version->grid_digest, error)
                                : NULL;
  return bytes != NULL ? drift_grid_from_bytes(bytes, error) : NULL;
}

static gboolean add_pane(const RegistryPane *pane, DriftGrid *grid, ProfileTraffic *traffic, GError **error)
{
  g_autoptr(DriftAccumulator) part = drift_accumulator_from_bytes(grid, pane->bytes, error);
  if (part == NULL || !drift_accumulator_merge(traffic->sum, part, error)) return FALSE;
  traffic->first_time = traffic->n_panes == 0 ? pane->first_time : MIN(traffic->first_time, pane->first_time);
  traffic->last_time = traffic->n_panes == 0 ? pane->last_time : MAX(traffic->last_time, pane->last_time);
  traffic->n_panes++;
  return TRUE;
}

static gboolean add_partition(RegistryStore *store, const gchar *model, gint32 partition, gint64 from, gint64 to,
                              DriftGrid *grid, ProfileTraffic *traffic, GError **error)
{
  for (gint64 next = 0;;) {
    g_autoptr(GPtrArray) panes = registry_pane_list(store, model, partition, next, PANES_AT_ONCE, TRUE, error);
    if (panes == NULL) return FALSE;
    if (panes->len == 0) return TRUE;
    for (guint i = 0; i < panes->len; i++) {
      const RegistryPane *pane = panes->pdata[i];
      next = pane->number + 1;
      if (pane->count == 0 || pane->last_time < from || pane->first_time >= to) continue;
      if (!add_pane(pane, grid, traffic, error)) return FALSE;
    }
  }
}

gboolean profile_traffic_read(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model, gint64 from,
                              gint64 to, ProfileTraffic *traffic, GError **error)
{
  g_autoptr(DriftGrid) grid = load_grid(store, artifacts, model, error);
  g_autoptr(GPtrArray) shards = grid != NULL ? registry_shard_list(store, model, error) : NULL;
  if (shards == NULL) return FALSE;
  ProfileTraffic read = {.sum = drift_accumulator_new(grid)};
  gboolean done = TRUE;
  for (guint i = 0; done && i < shards->len; i++) {
    const RegistryShardStatus *shard = shards->pdata[i];
    done = add_partition(store, model, shard->partition, from, to, grid, &read, error);
  }
  if (done && read.n_panes == 0) {
    done = FALSE;
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_STATE, "no traffic of model %s is stored%s", model,
                shards->len > 0 ? " for this time" : " yet; is kedged running?");
  }
  if (!done)
    profile_traffic_clear(&read);
  else
    *traffic = read;
  return done;
}
