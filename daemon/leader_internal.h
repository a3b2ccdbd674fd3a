/* The leader's own pieces: one LeaderModel a model, stepped by leader.c while it holds the lease. */
#pragma once

#include <jansson.h>

#include "daemon/adapt.h"
#include "daemon/health.h"
#include "daemon/metrics.h"
#include "daemon/settings.h"
#include "drift/accumulator.h"
#include "drift/detector.h"
#include "drift/window.h"
#include "registry/artifact.h"
#include "registry/decision.h"
#include "registry/job.h"
#include "registry/model.h"
#include "registry/shard.h"

G_BEGIN_DECLS

#define LEADER_LEASE "leader"

/* What a step works with; borrowed for the length of a pass. */
typedef struct {
  RegistryStore *store;
  RegistryArtifacts *artifacts;
  const Settings *settings;
  const gchar *me;
  gint64 term;
  Metrics *metrics; /* may be NULL (replay, tests) */
  Health *health;   /* may be NULL */
} LeaderContext;

/* A traffic pane of the window that is being filled. */
typedef struct {
  gint32 partition;
  gint64 number;
  guint64 count;
  gint64 first_time, last_time;
} LeaderPane;

/* A label pane: its rows are [start, start + next_row - first_row) of the model's labelled rows. */
typedef struct {
  gint32 partition, label_partition;
  gint64 number, first_row, next_row;
  gint64 start;
  gint64 time; /* label time of its last row */
} LeaderRows;

typedef struct {
  gint32 partition, label_partition; /* label_partition -1: traffic */
  gint64 next;
} LeaderCursor;

/* A traffic pane of the windows judged last, and the number of the last one that it was part of, counted since the
 * version that serves was first seen. */
typedef struct {
  LeaderPane pane;
  gint64 last_window;
} LeaderPast;

typedef struct {
  gint64 windows, horizons, performance_windows, label_panes, label_verdicts, verdicts;
  gint64 retrainings, refits, training_failures, gate_refusals, promotions, rollbacks, incidents;
} LeaderCounters;

typedef struct {
  gchar *name;
  /* --- durable: leader_state.c ------------------------------------------------------------------------------------ */
  GArray *cursors; /* of LeaderCursor */
  GArray *window;  /* of LeaderPane */
  GArray *past;    /* of LeaderPast: leader_horizon.c */
  gint64 past_version, past_windows;
  GArray *rows;               /* of LeaderRows: enough of the newest label panes to train on */
  guint performance_panes;    /* how many of the newest rows belong to the open performance window */
  Adapt *adapt;               /* NULL: the model has no champion yet, or is a regression */
  DriftDetector *adwin, *ddm; /* on the served error */
  json_t *incidents;          /* kind → {"id", "clear": windows in a row without the finding} */
  json_t *pending;            /* [{"id", "purpose": "pane"|"history"|"train", …}]; no label pane is taken meanwhile */
  json_t *watch;              /* {"version", "previous", "promised", "rows", "errors", "seen"} or null */
  json_t *budget;             /* {"day", "trainings"} */
  json_t *audit;              /* {"version", "first_row", "settings", "rows", "state"|"undefined"} or null */
  gint64 learner;             /* revision of a mixture that does not serve but knows more rows than the champion; 0 */
  gint64 waiting;             /* version of the pool that an operator was asked to promote; 0: none */
  LeaderCounters counters;
  /* --- cache ------------------------------------------------------------------------------------------------------ */
  DriftSchema *schema;
  DriftGrid *grid;
  gchar *profile_digest;
  DriftAccumulator *profile;
  DriftBaseline *baseline; /* of the profile; NULL: it has none */
  gint64 profile_version;
  gboolean changed; /* durable part differs from the store */
  gchar *progress;  /* last progress JSON written */
} LeaderModel;

/* --- leader_state.c -------------------------------------------------------------------------------------------------
 */
LeaderModel *leader_model_new(const gchar *name);
void leader_model_free(LeaderModel *model);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LeaderModel, leader_model_free)
/* Reads the stored state (a fresh one when there is none) and the schema. */
gboolean leader_model_load(LeaderModel *model, LeaderContext *context, GError **error);
GBytes *leader_model_to_bytes(const LeaderModel *model);
gint64 *leader_model_cursor(LeaderModel *model, gint32 partition, gint32 label_partition);
gint64 leader_model_next_row(const LeaderModel *model); /* number of the next labelled row */
/* The adaptation policy, once there is a champion; `row`: the first row it will see. No-op for regression. */
gboolean leader_model_begin_adaptation(LeaderModel *model, LeaderContext *context, gint64 row, GError **error);
/* Grid, profile and its baseline of the champion; *missing says what there is not (static), outputs then NULL. */
gboolean leader_model_load_profile(LeaderModel *model, LeaderContext *context, const gchar **missing, GError **error);
/* The same of that version; one that is not registered or has no profile leaves what is loaded. */
gboolean leader_model_load_profile_of(LeaderModel *model, LeaderContext *context, gint64 version, GError **error);
void leader_adapt_settings(const SettingsModel *settings, AdaptSettings *adapt);

/* --- leader_decide.c: transactions, incidents, notifications ---------------------------------------------------------
 */
/* Begins a decision transaction and checks the lease. */
gboolean leader_begin(LeaderContext *context, GError **error);
/* Stores the state and commits. On failure rolled back: the caller drops the model's memory. */
gboolean leader_commit(LeaderModel *model, LeaderContext *context, GError **error);
/* Opens, updates or closes the model's incident of that kind inside a decision transaction. found: the finding stands;
 * clear_after: so many calls in a row without it close the incident. body (taken): merged into the incident's body. */
typedef struct {
  const gchar *kind, *summary, *verdict;
  gboolean found;
  gint clear_after;
  gint64 number, event_time;
  gint clear_from; /* not above 0: so many calls more without the finding before clear_after begins to count */
} LeaderFinding;
gboolean leader_follow_incident(LeaderModel *model, LeaderContext *context, const LeaderFinding *finding, json_t *body,
                                GError **error);
/* Adds a line (and the job's id when not NULL) to the open performance incident. */
gboolean leader_note_incident(LeaderModel *model, LeaderContext *context, const gchar *kind, gint64 event_time,
                              const gchar *job, GError **error, const gchar *format, ...) G_GNUC_PRINTF(7, 8);
/* Appends item to the array `member` of the open incident's body; no-op without one. */
gboolean leader_extend_incident(LeaderModel *model, LeaderContext *context, const gchar *kind, const gchar *member,
                                json_t *item, GError **error);
const gchar *leader_open_incident(const LeaderModel *model, const gchar *kind); /* id or NULL */
/* The kind of incident that a finding of this kind opens: "bias-audit" opens one of kind "bias" beside that of windows.
 */
const gchar *leader_incident_kind(const gchar *finding);
/* One outbox item a webhook. data is borrowed. */
gboolean leader_notify(LeaderModel *model, LeaderContext *context, const gchar *type, const gchar *id, json_t *data,
                       GError **error);
/* Somebody else may have moved the alias: an operator's promotion or rollback. Inside a decision transaction, before
 * anything is decided on the champion. */
gboolean leader_follow_champion(LeaderModel *model, LeaderContext *context, GError **error);
gboolean leader_promote(LeaderModel *model, LeaderContext *context, gint64 version, gint64 expected,
                        double promised_error, const gchar *reason, GError **error);

/* --- leader_order.c: the one order in which panes are taken
 * ------------------------------------------------------------ */
typedef struct {
  gint32 partition;
  RegistryPane *traffic;     /* without bytes; NULL for label panes */
  RegistryLabelPane *labels; /* with bytes; NULL for traffic panes */
} LeaderTaken;
/* Panes that may be taken now, in order, as LeaderTaken*. *more: the limit was met, call again at once. */
GPtrArray *leader_take_order(LeaderModel *model, LeaderContext *context, const GPtrArray *shards, gboolean label,
                             gboolean *more, GError **error);

/* --- leader_horizon.c: the panes of the windows judged last
 * ------------------------------------------------------------ */
/* The window that is full, with its version's profile in the cache, becomes the newest. */
void leader_horizon_note(LeaderModel *model);
void leader_horizon_reset(LeaderModel *model);
/* How many sums end with the newest window: of 2^1 … 2^n windows. */
guint leader_horizon_closing(const LeaderModel *model);
GArray *leader_horizon_panes(const LeaderModel *model, guint scale); /* of LeaderPane; new */
json_t *leader_horizon_to_json(const LeaderModel *model);
gboolean leader_horizon_from_json(LeaderModel *model, const json_t *json);

/* --- steps: each does all it can and says whether it did anything
 * ----------------------------------------------------- */
gboolean leader_step_windows(LeaderModel *model, LeaderContext *context, const GPtrArray *shards, gboolean *worked,
                             GError **error);
gboolean leader_step_labels(LeaderModel *model, LeaderContext *context, const GPtrArray *shards, gboolean *worked,
                            GError **error);
gboolean leader_step_jobs(LeaderModel *model, LeaderContext *context, gboolean *worked, GError **error);
/* A pending job is no longer waited for: it is cancelled and what it would have said is taken as not known. */
gboolean leader_give_up(LeaderModel *model, LeaderContext *context, json_t *entry, GError **error);
/* Judges the label window when it is full (performance, bias); inside a decision transaction. */
gboolean leader_judge_performance(LeaderModel *model, LeaderContext *context, const SettingsModel *settings,
                                  GError **error);
/* The decision on the newest pane, errors [versions][rows]; inside a decision transaction. pane: {"number", "time", …}.
 */
gboolean leader_decide_pane(LeaderModel *model, LeaderContext *context, const guint8 *const *errors, guint n_rows,
                            json_t *pane, GError **error);

/* --- leader_watch.c: what was promoted is watched and rolled back when it breaks its promise
 * --------------------------- */
/* Counts the rows that the watched version served, rolls back inside the decision transaction; what was seen goes into
 * pane: "watch" (of the verdict), "watch_before" (of its inputs). */
gboolean leader_watch_rollout(LeaderModel *model, LeaderContext *context, const SettingsModel *settings,
                              const DriftLabelRow *rows, guint n, json_t *pane, GError **error);
/* One look, pure (new): {"version", "rows", "errors", "promised", "margin", "p", "disappoints", "seen"}. served: as of
 * leader_served_errors. */
json_t *leader_watch_look(const json_t *watch, double margin, const gchar *served);

/* --- leader_bias.c: the champion's decisions are audited for as long as it serves
 * -------------------------------------
 */
/* Feeds the pane's rows; inside the decision transaction. What was seen goes into pane: "audit" (of the verdict),
 * "audit_before" (of its inputs). */
gboolean leader_audit_pane(LeaderModel *model, LeaderContext *context, const SettingsModel *settings,
                           const DriftLabelRow *rows, guint n, json_t *pane, GError **error);
/* One look, a function of the state (moved on) and the rows; new: {"version", "first_row", "settings", "rows",
 * "raised": an alarm is new, "findings"}, or "undefined" instead of the last three. NULL: the state cannot be read. */
json_t *leader_audit_look(json_t *state, const DriftLabelRow *rows, guint n, GError **error);

/* --- leader_labels.c, shared with replay */
void leader_feed_detectors(LeaderModel *model, const DriftLabelRow *rows, guint n, json_t *pane);
/* One character a row: '0' or '1' where `version` (0: any) served it, else '2'; new. */
gchar *leader_served_errors(const DriftSchema *schema, const DriftLabelRow *rows, guint n, gint64 version);
json_t *leader_label_body(const AdaptStep *step, const json_t *pane);
json_t *leader_detectors_to_json(const LeaderModel *model); /* {"adwin": BASE64, "ddm": BASE64} */
gboolean leader_detectors_from_json(LeaderModel *model, const json_t *json, GError **error);

/* --- leader_request.c: jobs
 * --------------------------------------------------------------------------------------------- */
/* The data ranges of labelled rows [first, next), as job specs name them (new). */
json_t *leader_data_ranges(const LeaderModel *model, gint64 first, gint64 next);
gboolean leader_request_score(LeaderModel *model, LeaderContext *context, const gchar *purpose, const gint64 *versions,
                              guint n_versions, gint64 first, gint64 next, json_t *extra, GError **error);
/* `cause`: the kind of the incident that asks for it. rehearsal_first >= 0: rows from there to the step's first train
 * too. */
gboolean leader_request_training(LeaderModel *model, LeaderContext *context, const AdaptStep *step,
                                 gint64 rehearsal_first, const gchar *cause, gint64 event_time, GError **error);
/* The rows since the champion are learned online: a revision of its mixture (`retrain_mode: mixture`). */
gboolean leader_request_mixture(LeaderModel *model, LeaderContext *context, gint64 event_time, GError **error);
/* The gate refused what was trained on the rows since the change alone: once more, rehearsing the rows before it. */
gboolean leader_request_rehearsal(LeaderModel *model, LeaderContext *context, const json_t *entry, GError **error);
/* An incident of that kind has just opened: where the policy acts on it, a training on the newest labelled rows. */
gboolean leader_act_on_incident(LeaderModel *model, LeaderContext *context, const gchar *kind, gint64 event_time,
                                GError **error);

/* A job of the leader's; spec: taken. No-op when there is one of that id. */
enum {
  LEADER_PRIORITY_SCORE = 100,
  LEADER_PRIORITY_QUICK = 50,
  LEADER_PRIORITY_STAGE = 20,
  LEADER_PRIORITY_TRAINING = 10
};
gboolean leader_create_job(LeaderModel *model, LeaderContext *context, const gchar *id, const gchar *kind,
                           gint priority, json_t *spec, const gchar *incident, GError **error);

/* --- leader_chain.c: stages between a training and the gate (daemon/chain.h)
 * ---------------------------------------------- */
typedef struct {
  gboolean waits;      /* the next stage was asked for */
  RegistryJob *judged; /* the chain is over: what the gate judges */
  gchar *failed;       /* the chain has failed: why */
} LeaderChainEnd;
void leader_chain_end_clear(LeaderChainEnd *end);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LeaderChainEnd, leader_chain_end_clear)
/* The stage of the entry (no longer pending) has ended; result NULL: not well. Inside a decision transaction. */
gboolean leader_follow_chain(LeaderModel *model, LeaderContext *context, json_t *entry, const RegistryJob *job,
                             const json_t *result, LeaderChainEnd *end, GError **error);
/* The version, or where it is a compressed one the version that it was made from: what can be trained on. 0: error. */
gint64 leader_find_trainable(LeaderModel *model, LeaderContext *context, gint64 version, GError **error);

/* --- verdict_json.c: verdicts as JSON; field order and number format are fixed, so that equal verdicts are equal texts
 * -- */
json_t *verdict_window_to_json(const DriftWindowVerdict *verdict, const DriftWindowSettings *settings);
json_t *verdict_settings_to_json(const DriftWindowSettings *settings);
gboolean verdict_settings_from_json(const json_t *json, DriftWindowSettings *settings);
json_t *verdict_step_to_json(const AdaptStep *step);
json_t *verdict_number(double value);    /* null when not finite */
gchar *verdict_dump(const json_t *json); /* compact, new */
/* Arrays of figures, each entry with a sentence "text". New references. */
json_t *verdict_slices_to_json(const GPtrArray *slices);
json_t *verdict_dependences_to_json(const GPtrArray *dependences);
/* Appends dependences that drift, as causes beside features. */
void verdict_add_dependence_causes(const json_t *dependences, json_t *causes);
gchar *verdict_dependence_text(const DriftDependence *dependence); /* new */
/* One line for people: what drifted most, or (quality) whose values are most amiss. */
gchar *verdict_window_summary(const DriftWindowVerdict *verdict, gboolean quality);

G_END_DECLS
