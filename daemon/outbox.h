/* The outbox thread: sends what decision transactions left behind: webhooks (deploy/webhook.h), dead letters (through a
 * source's produce) and rollouts (deploy/rollout.h). At least once, with the same id; retries with backoff. */
#pragma once

#include "daemon/health.h"
#include "daemon/metrics.h"
#include "daemon/settings.h"

G_BEGIN_DECLS

typedef struct _Outbox Outbox;
Outbox *outbox_new(Settings *settings, Health *health, Metrics *metrics, GError **error);
void outbox_start(Outbox *outbox);
void outbox_reload(Outbox *outbox, Settings *settings);
void outbox_stop(Outbox *outbox);
void outbox_free(Outbox *outbox);

G_END_DECLS
