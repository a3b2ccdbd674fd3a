/* What the leader's tests start from: a real store with a model "m" (numeric a, b, c, sensitive "group"; classes "0"
 * and "1"), hand-made panes, label panes and job results, and the leader's steps called directly: no worker, no broker,
 * no clock. Everything is a function of what the test says, so that two stores or two orders of arrival can be
 * compared. */
#pragma once

#include "daemon/leader_internal.h"
#include "tests/support/postgres_store.h"

#define WORLD_PARTITIONS 4

/* 0 right, 1 wrong: what `version` does on that row of the labelled log of (partition, partition). */
typedef guint8 (*LeaderWorldErrors)(gint64 version, gint32 partition, gint64 row);

typedef struct {
  TestStore *test;
  RegistryStore *store; /* borrowed from it */
  RegistryArtifacts *artifacts;
  Settings *settings;
  DriftGrid *grid;
  gchar *grid_digest, *profile_digest;
  LeaderContext context;
  LeaderModel *model; /* NULL: not loaded */
  LeaderWorldErrors errors;
  struct {
    gint64 epoch, offset, pane, label_pane, row, watermark, label_watermark;
  } shards[WORLD_PARTITIONS];
} LeaderWorld;

/* store: as for test_store_open. settings: YAML of the model, indented by four, or NULL (windows of 100 events, panes
 * of 10; label panes of 100 rows). Registers version 1 (with a promise of an error of .1 on 1,000 rows) as champion and
 * takes the lease. */
LeaderWorld *leader_world_new(int store, const gchar *settings);
void leader_world_free(LeaderWorld *world);
void leader_world_load_settings(LeaderWorld *world, const gchar *settings);
/* A version with the world's grid and profile; job may be NULL. Returns its number. */
gint64 leader_world_add_version(LeaderWorld *world, const gchar *job);
void leader_world_promote(LeaderWorld *world, gint64 version); /* as an operator does */
gint64 leader_world_champion(LeaderWorld *world);

typedef struct {
  guint n;        /* events; 100 when 0 */
  double shift;   /* added to feature a, which lies in (-1, 1) */
  double missing; /* fraction of feature b */
  gboolean tied;  /* feature b is what a is without its shift: only their dependence changes */
  gint64 version; /* 1 when 0 */
  gint64 time;    /* of the first event, seconds; the others follow in the same second */
} LeaderWorldTraffic;
/* One pane of traffic that closes at its time. */
void leader_world_traffic(LeaderWorld *world, gint32 partition, LeaderWorldTraffic traffic);
/* One label pane of n rows served by `version`, closing at `time` (seconds). */
void leader_world_labels(LeaderWorld *world, gint32 partition, guint n, gint64 version, gint64 time);
/* Only the watermarks of traffic and labels move, to `time` (seconds). */
void leader_world_advance(LeaderWorld *world, gint32 partition, gint64 time);

/* All steps until nothing is left to do. */
void leader_world_step(LeaderWorld *world);
/* One pass; FALSE with error: as leader.c then does, what is in memory is dropped. */
gboolean leader_world_pass(LeaderWorld *world, gboolean *worked, GError **error);
/* The memory is gone; read back from the store at the next step. */
void leader_world_crash(LeaderWorld *world);
/* Ends the job. result: JSON or NULL. */
void leader_world_finish_job(LeaderWorld *world, const gchar *id, const gchar *state, const gchar *result);
/* Answers every queued score job by the world's errors; TRUE when there was one. */
gboolean leader_world_score(LeaderWorld *world);
/* Steps and scores until neither has anything to do. */
void leader_world_settle(LeaderWorld *world);
/* The first queued job of that kind (new), or NULL. */
RegistryJob *leader_world_find_job(LeaderWorld *world, const gchar *kind);
/* The result of a training that made `version`, with accuracies on 200 held-out rows and the worst disparate impact. */
gchar *leader_world_trained(gint64 version, double champion, double challenger, double disparate_impact);
/* The i-th (from 0, oldest first) incident of that kind (new), or NULL. */
RegistryIncident *leader_world_incident(LeaderWorld *world, const gchar *kind, guint i);
gint64 leader_world_count(LeaderWorld *world, const gchar *sql);
/* Verdicts, incidents, jobs, aliases, outbox and the leader's state as one text (new), without wall-clock times. */
gchar *leader_world_dump(LeaderWorld *world);
