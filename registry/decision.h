/* What the leader writes: lease, leader state per model, verdicts, incidents, outbox. Every decision transaction
 * checks the lease's term (FENCED otherwise). Ids are deterministic, so that writing twice is a no-op. */
#pragma once

#include "registry/store.h"

G_BEGIN_DECLS

/* The lease is a counter watched with the observer's own monotonic clock: take it over only when the counter has not
 * moved for the lease time. Returns the term (> 0) when `me` holds it, 0 when another does, -1 on error.
 * `observed` keeps (term, counter, monotonic time of the last change seen) between calls. */
typedef struct {
  gint64 term, counter, seen_at;
} RegistryLeaseObservation;
gint64 registry_lease_hold(RegistryStore *store, const gchar *name, const gchar *me, gint64 lease_us,
                           gint64 monotonic_now, RegistryLeaseObservation *observed, GError **error);
gboolean registry_lease_release(RegistryStore *store, const gchar *name, const gchar *me, GError **error);
/* To be called inside a decision transaction: FENCED unless `me` holds `term` (locks the row). */
gboolean registry_lease_check(RegistryStore *store, const gchar *name, const gchar *me, gint64 term, GError **error);

/* The leader's state of one model (cursor over panes, windows, detectors, open incidents); NULL: none yet. */
GBytes *registry_leader_state_get(RegistryStore *store, const gchar *model, GError **error);
gboolean registry_leader_state_put(RegistryStore *store, const gchar *model, GBytes *state, const gchar *progress_json,
                                   GError **error);
/* The JSON given with the last put (what was decided up to where), for `kedge wait` and status; NULL: none. */
gchar *registry_leader_progress_get(RegistryStore *store, const gchar *model, GError **error);

typedef struct {
  gchar *id; /* deterministic: model, kind, number of the closing pane or window */
  gchar *model;
  gchar *kind;       /* "window" (features, quality, bias, performance), "label" (online detectors on label panes) */
  gint64 number;     /* per (model, kind), from 0 without gaps */
  gint64 event_time; /* end of the window, microseconds */
  gboolean drift;
  gchar *panes;    /* JSON list of the panes it was computed from */
  gchar *settings; /* JSON of all that entered it: grid id, profile digest, settings */
  gchar *body;     /* JSON, canonical */
} RegistryVerdict;
void registry_verdict_free(RegistryVerdict *verdict);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RegistryVerdict, registry_verdict_free)
gboolean registry_verdict_put(RegistryStore *store, const RegistryVerdict *verdict, GError **error);
RegistryVerdict *registry_verdict_get(RegistryStore *store, const gchar *id, GError **error);
GPtrArray *registry_verdict_list(RegistryStore *store, const gchar *model, const gchar *kind /* NULL: all */,
                                 guint limit /* newest; 0: all */, GError **error); /* oldest first */

typedef struct {
  gchar *id; /* deterministic */
  gchar *model;
  gchar *kind;                             /* "drift", "performance", "bias", "quality", "ingest", "rollout" */
  gchar *state;                            /* "open", "closed" */
  gint64 opened_at, updated_at, closed_at; /* event time, microseconds; closed_at 0 while open */
  gchar *verdict;                          /* id of the opening verdict, or NULL */
  gchar *summary;                          /* one line */
  gchar *body;                             /* JSON: ranked causes, change point, evidence, updates */
} RegistryIncident;
void registry_incident_free(RegistryIncident *incident);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RegistryIncident, registry_incident_free)
gboolean registry_incident_put(RegistryStore *store, const RegistryIncident *incident, GError **error); /* upsert */
RegistryIncident *registry_incident_get(RegistryStore *store, const gchar *id, GError **error);
GPtrArray *registry_incident_list(RegistryStore *store, const gchar *model /* NULL: all */, gboolean open_only,
                                  guint limit, GError **error); /* oldest first */

typedef struct {
  gchar *id;       /* deterministic; the receiver removes repeats by it */
  gchar *kind;     /* "webhook", "dead_letter", "rollout" */
  gchar *target;   /* webhook name, topic, or model */
  gchar *body;     /* JSON */
  GBytes *payload; /* dead letters; else NULL */
  guint attempts;
  gint64 not_before; /* microseconds, wall clock */
} RegistryOutboxItem;
void registry_outbox_item_free(RegistryOutboxItem *item);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RegistryOutboxItem, registry_outbox_item_free)
gboolean registry_outbox_put(RegistryStore *store, const RegistryOutboxItem *item, GError **error); /* no-op if known */
GPtrArray *registry_outbox_due(RegistryStore *store, const gchar *kind /* NULL: all */, gint64 now, guint limit,
                               GError **error);
gboolean registry_outbox_done(RegistryStore *store, const gchar *id, GError **error);
gboolean registry_outbox_retry(RegistryStore *store, const gchar *id, gint64 not_before, const gchar *error_text,
                               GError **error);

G_END_DECLS
