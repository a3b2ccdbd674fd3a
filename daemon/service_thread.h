/* What the threads of the daemon that work in passes have in common (leader.c, outbox.c): settings that can be replaced
 * while they run, a rest between two passes that can be cut short, an end, and the registry they work on. */
#pragma once

#include "daemon/settings.h"
#include "registry/artifact.h"
#include "registry/store.h"

G_BEGIN_DECLS

typedef struct {
  Settings *settings; /* the thread's; replaced in service_thread_rest */
  RegistryStore *store;
  RegistryArtifacts *artifacts; /* both NULL until service_thread_open, the thread's */
  /* private */
  GThread *thread;
  GMutex lock;
  GCond wake;
  gboolean stop;  /* under lock */
  Settings *next; /* under lock: settings to take over; NULL: none */
} ServiceThread;

void service_thread_init(ServiceThread *self, Settings *settings);
void service_thread_clear(ServiceThread *self); /* after stop */
void service_thread_start(ServiceThread *self, const gchar *name, GThreadFunc run, gpointer data);
void service_thread_reload(ServiceThread *self, Settings *settings); /* from any thread */
void service_thread_stop(ServiceThread *self);                       /* waits for the thread's end */

/* The thread sleeps for so long unless it is woken. FALSE: it is to end. *reloaded: it has other settings now. */
gboolean service_thread_rest(ServiceThread *self, gint64 milliseconds, gboolean *reloaded);
/* Opens the registry, or connects again; called before every pass. */
gboolean service_thread_open(ServiceThread *self, GError **error);
void service_thread_close(ServiceThread *self); /* the registry; at the thread's end */

G_END_DECLS
