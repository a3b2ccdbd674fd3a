/* The consumer thread: source → decode → join labels → shard (panes) → checkpoint, for every model of the settings. */
#pragma once

#include "daemon/health.h"
#include "daemon/metrics.h"
#include "daemon/settings.h"

G_BEGIN_DECLS

typedef struct _Consumer Consumer;
/* Borrows health and metrics; references settings. */
Consumer *consumer_new(Settings *settings, Health *health, Metrics *metrics, GError **error);
void consumer_start(Consumer *consumer);
void consumer_reload(Consumer *consumer, Settings *settings); /* taken over at the next poll */
void consumer_stop(Consumer *consumer);                       /* last checkpoint, leaves the group, joins the thread */
void consumer_free(Consumer *consumer);

G_END_DECLS
