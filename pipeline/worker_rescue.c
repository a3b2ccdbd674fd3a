#include "pipeline/worker_rescue.h"

typedef struct {
  gint64 token, heartbeat; /* as last seen */
  gint64 since;            /* when they last changed, our clock */
  gboolean seen;           /* in the present look */
} Observation;

struct _PipelineRescue {
  GHashTable *observations; /* job id -> Observation */
  gint64 lost_us;
};

PipelineRescue *pipeline_rescue_new(guint lost_ms)
{
  PipelineRescue *rescue = g_new0(PipelineRescue, 1);
  rescue->observations = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  rescue->lost_us = (gint64)lost_ms * 1000;
  return rescue;
}

void pipeline_rescue_free(PipelineRescue *rescue)
{
  if (rescue == NULL) return;
  g_hash_table_unref(rescue->observations);
  g_free(rescue);
}

static Observation *observe(PipelineRescue *rescue, const RegistryJob *job, gint64 now)
{
  Observation *observation = g_hash_table_lookup(rescue->observations, job->id);
  if (observation == NULL) {
    observation = g_new0(Observation, 1);
    observation->since = now;
    g_hash_table_insert(rescue->observations, g_strdup(job->id), observation);
  } else if (observation->token != job->token || observation->heartbeat != job->heartbeat) {
    observation->since = now;
  }
  observation->token = job->token;
  observation->heartbeat = job->heartbeat;
  observation->seen = TRUE;
  return observation;
}

static gboolean forget_unseen(gpointer key, gpointer value, gpointer user_data)
{
  (void)key;
  (void)user_data;
  Observation *observation = value;
  gboolean gone = !observation->seen;
  observation->seen = FALSE;
  return gone;
}

/* FENCED: it moved after all, ended, or somebody else was faster. */
static gboolean put_back(RegistryStore *store, const RegistryJob *job, guint *n_rescued, GError **error)
{
  g_autoptr(GError) fault = NULL;
  if (registry_job_rescue(store, job->id, job->token, job->heartbeat, &fault)) {
    ++*n_rescued;
    return TRUE;
  }
  if (g_error_matches(fault, REGISTRY_ERROR, REGISTRY_ERROR_FENCED) ||
      g_error_matches(fault, REGISTRY_ERROR, REGISTRY_ERROR_CONFLICT))
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&fault));
  return FALSE;
}

gboolean pipeline_rescue_look(PipelineRescue *rescue, RegistryStore *store, const gchar *own, gint64 now,
                              guint *n_rescued, GError **error)
{
  g_autoptr(GPtrArray) jobs = registry_job_list(store, NULL, "running", 0, error);
  if (jobs == NULL) return FALSE;
  guint n = 0;
  for (guint i = 0; i < jobs->len; i++) {
    const RegistryJob *job = g_ptr_array_index(jobs, i);
    const Observation *observation = observe(rescue, job, now);
    if (g_strcmp0(job->id, own) == 0 || now - observation->since < rescue->lost_us) continue;
    if (!put_back(store, job, &n, error)) return FALSE;
  }
  g_hash_table_foreach_remove(rescue->observations, forget_unseen, NULL);
  *n_rescued = n;
  return TRUE;
}

gboolean pipeline_rescue_orphans(RegistryStore *store, const gchar *worker, guint *n_rescued, GError **error)
{
  g_autoptr(GPtrArray) jobs = registry_job_list(store, NULL, "running", 0, error);
  if (jobs == NULL) return FALSE;
  guint n = 0;
  for (guint i = 0; i < jobs->len; i++) {
    const RegistryJob *job = g_ptr_array_index(jobs, i);
    if (g_strcmp0(job->worker, worker) == 0 && !put_back(store, job, &n, error)) return FALSE;
  }
  *n_rescued = n;
  return TRUE;
}
