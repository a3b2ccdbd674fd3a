/* The leader thread: holds the lease, takes panes in one defined order, decides, and writes verdict, incident, job,
 * alias change and notification in one transaction that checks the lease's term. */
#pragma once

#include "daemon/health.h"
#include "daemon/metrics.h"
#include "daemon/settings.h"

G_BEGIN_DECLS

typedef struct _Leader Leader;
Leader *leader_new(Settings *settings, Health *health, Metrics *metrics, GError **error);
void leader_start(Leader *leader);
void leader_reload(Leader *leader, Settings *settings);
void leader_stop(Leader *leader);
void leader_free(Leader *leader);

/* The leader's progress JSON of a model (registry_leader_progress_get), for `kedge wait` and status:
 *   {"seen": {"PARTITION": {"traffic": N, "labels": {"LABEL_PARTITION": N}}}, — each shard's `consumed` as the leader
 *                                                 last looked; everything that could be decided on it is decided
 *    "settled": true,                           — no job of ours is open, no decision waits for one
 *    "windows": n, "label_panes": n, "verdicts": n} */

G_END_DECLS
