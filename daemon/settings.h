/* The settings file (YAML by libcyaml). Every option: daemon/settings_schema.c, which also makes the documentation.
 * Unknown keys are refused with their line. All strings are owned by the settings and never NULL where a default is
 * named. A loaded settings value is immutable and shared by reference count (SIGHUP swaps the whole).
 */
#pragma once

#include <glib.h>

#include "deploy/gate.h"

G_BEGIN_DECLS

#define DAEMON_ERROR (daemon_error_quark())
GQuark daemon_error_quark(void);
typedef enum {
  DAEMON_ERROR_SETTINGS,
  DAEMON_ERROR_BROKER, /* unreachable or refusing; passes when the broker does */
  DAEMON_ERROR_DECODE,
  DAEMON_ERROR_STATE,
  DAEMON_ERROR_TIMEOUT,
  DAEMON_ERROR_OFFSET, /* the offset asked for is not (or no longer) in the partition */
  DAEMON_ERROR_TOPIC,  /* no such topic or partition, or no right to it */
  DAEMON_ERROR_FATAL   /* the source cannot go on: close it and open another */
} DaemonError;

typedef struct {
  gchar *source;            /* "kafka" (default) or "file" */
  gchar *brokers;           /* "127.0.0.1:9092" */
  gchar *group;             /* "kedge" */
  gchar *directory;         /* of the file source: TOPIC/PARTITION.jsonl */
  gchar **properties;       /* "key=value" librdkafka properties (TLS, SASL), NULL-terminated; never NULL */
  guint queue_kilobytes;    /* 16384 */
  guint session_timeout_ms; /* 10000 */
} SettingsBroker;

typedef struct {
  gchar *request_id, *time, *model, *version, *features, *prediction, *score, *latency, *label; /* field names */
} SettingsFields; /* defaults: request_id ts model version features prediction score latency_ms label */

typedef struct {
  gchar *topic;
  gchar *format; /* "json", "cloudevents" */
  gchar *start;  /* "earliest" or "latest": only without stored state */
  SettingsFields fields;
  gint64 skew_ms;      /* an event time beyond Kafka's time + skew does not move the watermark; 60000 */
  gint64 idle_ms;      /* a silent partition stops holding back windows; 30000 */
  gint64 late_ms;      /* events older than watermark - late are counted late; 3600000 */
  gint64 dedupe_ms;    /* the same request id again within this event time is a duplicate; 600000 */
  gchar *only_model;   /* take only events whose `model` field says this; "" (default): take all */
  gint64 half_wait_ms; /* cloudevents: a request or response waits this long for its other half; 60000 */
  guint half_limit;    /* cloudevents: halves waiting at most, a partition; the oldest is given up; 10000 */
} SettingsTraffic;

typedef struct {
  gchar *topic;    /* "": no labels */
  gint64 grace_ms; /* a label may carry a time this much before its prediction's arrival; 60000 */
  gint64 wait_ms;  /* a label may come this much after its prediction; 604800000 */
  gboolean copartitioned;
  double sample; /* fraction of predictions held for their label, by hash of the request id; 1 */
} SettingsLabels;

typedef struct {
  guint events;       /* window length in events; 1000. 0: by time */
  gint64 duration_ms; /* window length in event time when events = 0 */
  guint slide_events; /* 0: tumbling */
  gint64 slide_ms;
  guint pane_events;   /* a pane closes after that many events; default events / 10, at least 1 */
  guint label_rows;    /* rows of a label pane; 100, of an online mixture 20 */
  guint panes_per_day; /* bound; pane length adapts; 10000 */
} SettingsWindow;

typedef struct {
  double budget;                 /* at most this many false alarms … */
  gint64 per_rows;               /* … per that many labelled rows / events; 100000 */
  double minimum_effect;         /* .1 */
  double disparate_impact_bound; /* 0: report only */
  guint minimum_group;           /* 30 */
  gchar **bias_metrics;          /* names of drift_bias_metrics; never NULL */
  guint bias_crossed;            /* sensitive features crossed at most; 1 */
} SettingsAlarm;

typedef struct {
  double alpha;  /* P(a false alarm ever while one version serves); 0 (default): no audit */
  double margin; /* difference of rates between groups that is still fair; .1 */
  gchar **rates; /* names of drift_bias_audit_rates; never NULL */
} SettingsBiasAudit;

/* Options of the stages of policy.chain (daemon/chain.h); those of hardening are harden, adversarial_… */
typedef struct {
  gboolean int8, structured;
  gchar *activations, *ranges, *keep_float;
  double prune; /* share; 0: none */
  guint fine_tune_epochs;
  gchar *distill; /* architecture of a student; "": none */
  guint distill_epochs;
} SettingsCompress;

typedef struct {
  guint trials, workers; /* 0 trials: any */
  double seconds;        /* 0: any */
  guint ensemble;        /* trials whose mean is the version; 0: all good finalists; 1 */
  gchar *space;
} SettingsSearch;

typedef struct {
  gchar **attacks;                         /* never NULL */
  double epsilon;                          /* 0: adversarial_epsilon */
  guint steps, queries, rows;              /* rows: held-out ones that are attacked, the last */
  gchar **immutable, **integer, **one_hot; /* never NULL */
  gchar **mutable_categories;              /* never NULL */
  guint category_budget;
} SettingsAttack;

typedef struct {
  gchar **act_on;             /* of "performance", "drift", "bias", "quality"; default performance */
  gboolean retrain;           /* TRUE */
  gboolean reweigh;           /* retrainings make label and sensitive groups independent by row weights; FALSE */
  gchar *retrain_mode;        /* "scratch" (default), "fine-tune" (from the champion), "mixture" (learns online) */
  guint minimum_rows;         /* labelled rows a retraining needs */
  guint cooldown_rows;        /* labelled rows between two retrainings of one incident */
  guint daily_budget;         /* retrainings per day of event time; 0: no bound */
  guint pool;                 /* versions kept for comparison; 12; 0: no pool */
  gchar *architecture;        /* "auto", "mlp:64,64", "trees" */
  guint processes;            /* that a retraining is shared out to; 1 */
  double holdout_fraction;    /* .2 */
  double adversarial_epsilon; /* 0: no hardening */
  gchar *harden;              /* method of a second training against attacks, or "none": PGD in the only one */
  guint adversarial_steps, harden_epochs;
  guint64 seed;              /* 1 */
  gchar **chain;             /* stages between an incident and the gate; never NULL; empty: the training alone */
  double chain_maximum_loss; /* accuracy that a stage may cost; .02 */
  SettingsCompress compress;
  SettingsSearch search;
  SettingsAttack attack;
} SettingsPolicy;
gboolean settings_policy_has_chain(const SettingsPolicy *policy);

typedef struct {
  gboolean automatic;  /* promote: auto (default) or manual */
  guint watch_rows;    /* labelled rows after a promotion during which it may be rolled back; 1000 */
  double watch_margin; /* rolled back when the live error exceeds the promise by this, significantly; .05 */
} SettingsRollout;

typedef struct {
  gchar *type, *path, *url;
  guint keep_versions;
} SettingsTarget;

typedef struct {
  gchar *name;
  SettingsTraffic traffic;
  SettingsLabels labels;
  gchar *dead_letter_topic; /* default kedge.dead-letter.NAME */
  SettingsWindow window;
  SettingsAlarm alarm;
  SettingsBiasAudit bias_audit;
  SettingsPolicy policy;
  DeployGatePolicy gate;
  SettingsRollout rollout;
  SettingsTarget *targets;
  guint n_targets;
} SettingsModel;

typedef struct {
  gchar *name, *url, *secret_file;
  gboolean allow_plain_http, allow_private_address;
  guint timeout_ms;
} SettingsWebhook;

typedef struct {
  gchar *path;               /* the file it came from */
  gchar *store;              /* URI; "sqlite:/var/lib/kedge/kedge.db" */
  gchar *artifacts;          /* directory */
  gboolean single_host;      /* everything runs on this host, so a private artifacts directory is fine */
  gboolean artifacts_shared; /* the artifacts directory is mounted by every host */
  SettingsBroker broker;
  struct {
    gchar *listen; /* "127.0.0.1:9464"; "": no TCP */
    gchar *socket; /* "/run/kedge/kedge.sock"; "": none */
  } http;
  struct {
    guint events;       /* 20000: checkpoint after that many events … */
    guint milliseconds; /* … or that much time with anything new; 1000 */
  } checkpoint;
  struct {
    guint lease_ms; /* 10000 */
    guint poll_ms;  /* 100 */
  } leader;
  struct {
    guint poll_ms;               /* 100 */
    guint heartbeat_ms, lost_ms; /* 10000, 30000 */
  } worker;
  SettingsModel *models;
  guint n_models;
  SettingsWebhook *webhooks;
  guint n_webhooks;
} Settings;

/* NULL with a text "FILE:LINE: option: what is wrong and what to write" (DAEMON_ERROR_SETTINGS). */
Settings *settings_load(const gchar *path, GError **error);
/* The same from memory; `name` stands for the file in messages. */
Settings *settings_parse(const gchar *name, const gchar *text, gsize length, GError **error);
/* What a job kind says of a stage's options (pipeline/job_kinds.h; json_t* of jansson). kedged has no learning library
 * and loads without (NULL): what only the kind knows is then said by the job, and by `kedge config check` before. */
typedef gboolean (*SettingsStageCheck)(const gchar *kind, gconstpointer options, GError **error);
Settings *settings_load_with(const gchar *path, SettingsStageCheck check, GError **error);
Settings *settings_parse_with(const gchar *name, const gchar *text, gsize length, SettingsStageCheck check,
                              GError **error);
Settings *settings_ref(Settings *settings);
void settings_unref(Settings *settings);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Settings, settings_unref)
/* NULL: no model of that name. */
const SettingsModel *settings_find_model(const Settings *settings, const gchar *name);

G_END_DECLS
