#include "daemon/service_thread.h"

void service_thread_init(ServiceThread *self, Settings *settings)
{
  g_mutex_init(&self->lock);
  g_cond_init(&self->wake);
  self->settings = settings_ref(settings);
}

void service_thread_clear(ServiceThread *self)
{
  g_clear_pointer(&self->next, settings_unref);
  settings_unref(self->settings);
  g_mutex_clear(&self->lock);
  g_cond_clear(&self->wake);
}

void service_thread_start(ServiceThread *self, const gchar *name, GThreadFunc run, gpointer data)
{
  self->thread = g_thread_new(name, run, data);
}

void service_thread_reload(ServiceThread *self, Settings *settings)
{
  g_mutex_lock(&self->lock);
  g_clear_pointer(&self->next, settings_unref);
  self->next = settings_ref(settings);
  g_cond_signal(&self->wake);
  g_mutex_unlock(&self->lock);
}

void service_thread_stop(ServiceThread *self)
{
  g_mutex_lock(&self->lock);
  self->stop = TRUE;
  g_cond_signal(&self->wake);
  g_mutex_unlock(&self->lock);
  if (self->thread) g_thread_join(g_steal_pointer(&self->thread));
}

gboolean service_thread_rest(ServiceThread *self, gint64 milliseconds, gboolean *reloaded)
{
  gint64 until = g_get_monotonic_time() + milliseconds * 1000;
  g_mutex_lock(&self->lock);
  while (!self->stop && !self->next && milliseconds > 0)
    if (!g_cond_wait_until(&self->wake, &self->lock, until)) break;
  gboolean go_on = !self->stop;
  *reloaded = self->next != NULL;
  if (self->next) {
    settings_unref(self->settings);
    self->settings = g_steal_pointer(&self->next);
  }
  g_mutex_unlock(&self->lock);
  return go_on;
}

gboolean service_thread_open(ServiceThread *self, GError **error)
{
  if (self->store && !registry_store_reconnect(self->store, error)) return FALSE;
  if (!self->store && !(self->store = registry_store_open(self->settings->store, error))) return FALSE;
  if (!self->artifacts) /* the folder may have been away when the store was opened */
    self->artifacts = registry_artifacts_open(self->settings->artifacts, error);
  return self->artifacts != NULL;
}

void service_thread_close(ServiceThread *self)
{
  g_clear_pointer(&self->artifacts, registry_artifacts_close);
  g_clear_pointer(&self->store, registry_store_close);
}
