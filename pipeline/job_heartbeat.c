#include "pipeline/job_heartbeat.h"

#define PROGRESS_GAP_MS 250

struct _PipelineHeartbeat {
  GThread *thread;
  gchar *store_uri;
  gint64 interval_us;
  RegistryStore *store; /* the thread's; NULL until its first beat */

  /* The rest is under the lock. While `beating`, the thread works for the claim outside the lock. */
  GMutex lock;
  GCond changed;
  gboolean stop, beating, fenced;
  gchar *id, *progress; /* progress: not sent yet; or NULL */
  gint64 token, last_beat;
  GCancellable *cancel;
};

/* Time of the next beat (monotonic); G_MAXINT64: none is due. */
static gint64 next_beat(const PipelineHeartbeat *heartbeat)
{
  if (heartbeat->id == NULL || heartbeat->fenced) return G_MAXINT64;
  return heartbeat->last_beat +
         (heartbeat->progress != NULL ? MIN(heartbeat->interval_us, PROGRESS_GAP_MS * 1000) : heartbeat->interval_us);
}

/* Outside the lock. A store that does not answer is no verdict on the claim: the next beat tries again, and whether the
 * claim still stands is decided by its token. */
static gboolean send_beat(PipelineHeartbeat *heartbeat, const gchar *id, gint64 token, const gchar *progress,
                          gboolean *cancel, gboolean *fenced)
{
  g_autoptr(GError) error = NULL;
  if (heartbeat->store == NULL) heartbeat->store = registry_store_open(heartbeat->store_uri, NULL);
  if (heartbeat->store == NULL) return FALSE;
  if (registry_job_heartbeat(heartbeat->store, id, token, progress, cancel, &error)) return TRUE;
  *fenced = g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED) ||
            g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND);
  if (!*fenced) registry_store_reconnect(heartbeat->store, NULL);
  return FALSE;
}

/* Under the lock, which it leaves for the beat itself. */
static void beat(PipelineHeartbeat *heartbeat)
{
  g_autofree gchar *id = g_strdup(heartbeat->id), *progress = g_steal_pointer(&heartbeat->progress);
  gint64 token = heartbeat->token;
  heartbeat->beating = TRUE;
  g_mutex_unlock(&heartbeat->lock);
  gboolean cancel = FALSE, fenced = FALSE;
  gboolean sent = send_beat(heartbeat, id, token, progress, &cancel, &fenced);
  g_mutex_lock(&heartbeat->lock);
  heartbeat->beating = FALSE;
  heartbeat->last_beat = g_get_monotonic_time();
  heartbeat->fenced = fenced;
  if (!sent && !fenced && heartbeat->progress == NULL) heartbeat->progress = g_steal_pointer(&progress);
  if ((cancel || fenced) && heartbeat->cancel != NULL) g_cancellable_cancel(heartbeat->cancel);
  g_cond_broadcast(&heartbeat->changed);
}

static gpointer run(gpointer data)
{
  PipelineHeartbeat *heartbeat = data;
  g_mutex_lock(&heartbeat->lock);
  while (!heartbeat->stop) {
    gint64 due = next_beat(heartbeat);
    if (due == G_MAXINT64)
      g_cond_wait(&heartbeat->changed, &heartbeat->lock);
    else if (g_get_monotonic_time() >= due)
      beat(heartbeat);
    else
      g_cond_wait_until(&heartbeat->changed, &heartbeat->lock, due);
  }
  g_mutex_unlock(&heartbeat->lock);
  g_clear_pointer(&heartbeat->store, registry_store_close);
  return NULL;
}

PipelineHeartbeat *pipeline_heartbeat_new(const gchar *store_uri, guint interval_ms)
{
  PipelineHeartbeat *heartbeat = g_new0(PipelineHeartbeat, 1);
  heartbeat->store_uri = g_strdup(store_uri);
  heartbeat->interval_us = (gint64)MAX(interval_ms, 1) * 1000;
  g_mutex_init(&heartbeat->lock);
  g_cond_init(&heartbeat->changed);
  heartbeat->thread = g_thread_new("heartbeat", run, heartbeat);
  return heartbeat;
}

void pipeline_heartbeat_free(PipelineHeartbeat *heartbeat)
{
  if (heartbeat == NULL) return;
  g_mutex_lock(&heartbeat->lock);
  heartbeat->stop = TRUE;
  g_cond_broadcast(&heartbeat->changed);
  g_mutex_unlock(&heartbeat->lock);
  g_thread_join(heartbeat->thread);
  g_clear_object(&heartbeat->cancel);
  g_cond_clear(&heartbeat->changed);
  g_mutex_clear(&heartbeat->lock);
  g_free(heartbeat->id);
  g_free(heartbeat->progress);
  g_free(heartbeat->store_uri);
  g_free(heartbeat);
}

void pipeline_heartbeat_begin(PipelineHeartbeat *heartbeat, const gchar *id, gint64 token, GCancellable *cancel)
{
  g_mutex_lock(&heartbeat->lock);
  heartbeat->id = g_strdup(id);
  heartbeat->token = token;
  heartbeat->fenced = FALSE;
  heartbeat->last_beat = g_get_monotonic_time(); /* the claim itself counts as one */
  g_set_object(&heartbeat->cancel, cancel);
  g_cond_broadcast(&heartbeat->changed);
  g_mutex_unlock(&heartbeat->lock);
}

void pipeline_heartbeat_end(PipelineHeartbeat *heartbeat)
{
  g_mutex_lock(&heartbeat->lock);
  while (heartbeat->beating) g_cond_wait(&heartbeat->changed, &heartbeat->lock);
  g_clear_pointer(&heartbeat->id, g_free);
  g_clear_pointer(&heartbeat->progress, g_free);
  g_clear_object(&heartbeat->cancel);
  g_mutex_unlock(&heartbeat->lock);
}

void pipeline_heartbeat_take_progress(PipelineHeartbeat *heartbeat, gchar *json)
{
  if (heartbeat == NULL) {
    g_free(json);
    return;
  }
  g_mutex_lock(&heartbeat->lock);
  g_free(heartbeat->progress);
  heartbeat->progress = json;
  g_cond_broadcast(&heartbeat->changed);
  g_mutex_unlock(&heartbeat->lock);
}

gboolean pipeline_heartbeat_is_fenced(PipelineHeartbeat *heartbeat)
{
  if (heartbeat == NULL) return FALSE;
  g_mutex_lock(&heartbeat->lock);
  gboolean fenced = heartbeat->fenced;
  g_mutex_unlock(&heartbeat->lock);
  return fenced;
}
