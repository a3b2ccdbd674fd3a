/* Every option of kedge.yaml. This table makes the loader, the checks of types and ranges, and the documentation
 * (`kedge config document`). A new option is a member in daemon/settings.h and a line here. */
#include "daemon/settings_internal.h"
#include "pipeline/ensemble.h"

#include <stddef.h>

#define AT(record, member) .offset = offsetof(record, member)
#define RANGE(low, high) .minimum = (low), .maximum = (high)
#define MILLISECONDS .unit = "ms"
#define YEAR_MS 31536000000.

static const gchar *const source_names[] = {"kafka", "file", NULL};
static const gchar *const start_names[] = {"earliest", "latest", NULL};
static const gchar *const format_names[] = {"json", "cloudevents", NULL};
static const gchar *const verdict_names[] = {"performance", "drift", "bias", "quality", NULL};
/* The names of drift_bias_metrics (a test compares them). */
static const gchar *const bias_metric_names[] = {"selection_rate",
                                                 "disparate_impact",
                                                 "equal_opportunity_difference",
                                                 "statistical_parity_difference",
                                                 "false_positive_rate_difference",
                                                 "false_negative_rate_difference",
                                                 "average_odds_difference",
                                                 "average_abs_odds_difference",
                                                 "wrong_prediction_difference",
                                                 "wrong_prediction_ratio",
                                                 "false_discovery_rate_difference",
                                                 "false_omission_rate_difference",
                                                 "label_parity_difference",
                                                 "label_disparate_impact",
                                                 "base_rate",
                                                 "accuracy",
                                                 "tpr",
                                                 "fpr",
                                                 "precision",
                                                 NULL};
static const gchar *const audit_rate_names[] = {"selection_rate", "tpr", "fpr", "error_rate", NULL};
static const gchar *const promote_names[] = {"manual", "auto", NULL}; /* the place is the gboolean */
static const gchar *const retrain_mode_names[] = {"scratch", "fine-tune", "mixture", NULL};
static const gchar *const harden_names[] = {"none", "pgd", "free", "fast", "trades", NULL};
static const gchar *const chain_names[] = {"retrain", "search", "harden", "compress", "attack", NULL};
static const gchar *const attack_names[] = {"fgsm", "pgd", "square", "hopskipjump", NULL};
static const gchar *const activation_names[] = {"int8", "uint8", NULL};
static const gchar *const range_names[] = {"mse", "min-max", "percentile", "entropy", NULL};
static const gchar *const target_names[] = {"directory", "triton", NULL};

static const SettingsOption broker_options[] = {
    {"source", SETTINGS_CHOICE, AT(Settings, broker.source), .fallback = "kafka", .choices = source_names,
     .help = "Where traffic and labels come from: a Kafka cluster, or files TOPIC/PARTITION.jsonl below `directory`."},
    {"brokers", SETTINGS_TEXT, AT(Settings, broker.brokers), .fallback = "127.0.0.1:9092",
     .help = "Kafka's bootstrap servers, HOST:PORT[,HOST:PORT...]."},
    {"group", SETTINGS_TEXT, AT(Settings, broker.group), .fallback = "kedge",
     .help =
         "Consumer group that the daemons share. With an SQLite store the group is not joined: the one daemon takes "
         "every partition."},
    {"directory", SETTINGS_TEXT, AT(Settings, broker.directory), .fallback = "/var/lib/kedge/topics",
     .help = "Directory of the file source."},
    {"properties", SETTINGS_TEXT_LIST, AT(Settings, broker.properties), .fallback = "[]",
     .help = "Further librdkafka properties as key=value, for example security.protocol=SSL or "
             "group.instance.id=host-1. Those on which exactly-once counting rests cannot be set."},
    {"queue_kilobytes", SETTINGS_UINT, AT(Settings, broker.queue_kilobytes), .fallback = "16384", RANGE(1024, 2097151),
     .unit = "KiB", .help = "Records fetched ahead, at most. It bounds the daemon's memory in a backlog."},
    {"session_timeout_ms", SETTINGS_UINT, AT(Settings, broker.session_timeout_ms), .fallback = "10000",
     RANGE(1000, 3600000), MILLISECONDS,
     .help = "A daemon silent for so long loses its partitions. The broker's group.min.session.timeout.ms (6 s unless "
             "changed) bounds it from below."},
    {.key = NULL}};

static const SettingsOption http_options[] = {
    {"listen", SETTINGS_TEXT, AT(Settings, http.listen), .fallback = "127.0.0.1:9464",
     .help =
         "Address and port of /metrics, /healthz, /readyz and the dashboard; \"\" for none. Only loopback addresses: "
         "there is no authentication, so put an authenticating proxy in front to reach it from elsewhere."},
    {"socket", SETTINGS_TEXT, AT(Settings, http.socket), .fallback = "/run/kedge/kedge.sock",
     .help = "Path of a Unix socket with the same routes; \"\" for none."},
    {.key = NULL}};

static const SettingsOption checkpoint_options[] = {
    {"events", SETTINGS_UINT, AT(Settings, checkpoint.events), .fallback = "20000", RANGE(1, 10000000),
     .unit = "events", .help = "State and offsets are stored after that many events ..."},
    {"milliseconds", SETTINGS_UINT, AT(Settings, checkpoint.milliseconds), .fallback = "1000", RANGE(1, 600000),
     MILLISECONDS, .help = "... or after that much time with anything new, whichever comes first."},
    {.key = NULL}};

static const SettingsOption leader_options[] = {
    {"lease_ms", SETTINGS_UINT, AT(Settings, leader.lease_ms), .fallback = "10000", RANGE(100, 600000), MILLISECONDS,
     .help = "A leader silent for so long is replaced by another daemon."},
    {"poll_ms", SETTINGS_UINT, AT(Settings, leader.poll_ms), .fallback = "100", RANGE(1, 60000), MILLISECONDS,
     .help = "How often the leader looks for new panes."},
    {.key = NULL}};

static const SettingsOption worker_options[] = {
    {"poll_ms", SETTINGS_UINT, AT(Settings, worker.poll_ms), .fallback = "100", RANGE(1, 60000), MILLISECONDS,
     .help = "How often an idle worker asks for a job."},
    {"heartbeat_ms", SETTINGS_UINT, AT(Settings, worker.heartbeat_ms), .fallback = "10000", RANGE(100, 600000),
     MILLISECONDS, .help = "How often a running job says that it lives."},
    {"lost_ms", SETTINGS_UINT, AT(Settings, worker.lost_ms), .fallback = "30000", RANGE(200, 3600000), MILLISECONDS,
     .help = "A job silent for so long is given to another worker."},
    {.key = NULL}};

#define FIELD(key_, default_, help_)                                                                                   \
  {                                                                                                                    \
#key_, SETTINGS_TEXT, AT(SettingsModel, traffic.fields.key_), .fallback = default_, .help = help_                  \
  }
static const SettingsOption fields_options[] = {
    FIELD(request_id, "request_id", "Identifies the request: text or a whole number. Labels are joined by it."),
    FIELD(
        time, "ts",
        "When the prediction was made: RFC 3339 text with a zone, or a number since 1970 whose magnitude says the unit "
        "(below 1e11 seconds, below 1e14 milliseconds, below 1e17 microseconds, else nanoseconds)."),
    FIELD(model, "model", "Name of the model; used by `only_model`."),
    FIELD(version, "version", "Serving version: a whole number, or text that is one."),
    FIELD(features, "features",
          "Object that holds the features. Features that stand at the top of the event are found too; \"\" looks only "
          "there."),
    FIELD(prediction, "prediction", "Predicted class or value. For cloudevents: the output of that name."),
    FIELD(score, "score",
          "Probability of the positive class (binary) or of the predicted class. For cloudevents: the output of that "
          "name."),
    FIELD(latency, "latency_ms", "Time the prediction took, in milliseconds."),
    FIELD(label, "label", "The true class or value, in label events."),
    {.key = NULL}};

static const SettingsOption traffic_options[] = {
    {"topic", SETTINGS_TEXT, AT(SettingsModel, traffic.topic), .required = TRUE, .help = "Topic of the predictions."},
    {"format", SETTINGS_CHOICE, AT(SettingsModel, traffic.format), .fallback = "json", .choices = format_names,
     .help =
         "json: one flat JSON object an event. cloudevents: KServe's and Seldon's inference logger with Open Inference "
         "Protocol bodies; request and response must be keyed alike (by the id that they share)."},
    {"start", SETTINGS_CHOICE, AT(SettingsModel, traffic.start), .fallback = "earliest", .choices = start_names,
     .help = "Where to begin without stored state. With stored state it means nothing."},
    {"fields", SETTINGS_SECTION, .section = fields_options, .help = "Names of the event's fields."},
    {"skew_ms", SETTINGS_INT64, AT(SettingsModel, traffic.skew_ms), .fallback = "60000", RANGE(0, YEAR_MS),
     MILLISECONDS, .help = "An event time beyond the broker's time plus this does not move the watermark."},
    {"idle_ms", SETTINGS_INT64, AT(SettingsModel, traffic.idle_ms), .fallback = "30000", RANGE(0, YEAR_MS),
     MILLISECONDS, .help = "A partition silent for so long no longer holds back windows."},
    {"late_ms", SETTINGS_INT64, AT(SettingsModel, traffic.late_ms), .fallback = "3600000", RANGE(0, YEAR_MS),
     MILLISECONDS, .help = "Events older than the watermark minus this are counted as late."},
    {"dedupe_ms", SETTINGS_INT64, AT(SettingsModel, traffic.dedupe_ms), .fallback = "600000", RANGE(0, YEAR_MS),
     MILLISECONDS, .help = "The same request id again within this event time is a duplicate."},
    {"only_model", SETTINGS_TEXT, AT(SettingsModel, traffic.only_model), .fallback = "\"\"",
     .help = "For a topic that several models share: take only events whose model field says this; \"\" takes all."},
    {"half_wait_ms", SETTINGS_INT64, AT(SettingsModel, traffic.half_wait_ms), .fallback = "60000", RANGE(1, YEAR_MS),
     MILLISECONDS,
     .help = "cloudevents: a request or response waits so long (event time) for its other half, then it is counted as "
             "half_expired."},
    {"half_limit", SETTINGS_UINT, AT(SettingsModel, traffic.half_limit), .fallback = "10000", RANGE(1, 1000000),
     .unit = "halves",
     .help = "cloudevents: that many ids are remembered at most, a partition; the oldest is given up."},
    {.key = NULL}};

static const SettingsOption labels_options[] = {
    {"topic", SETTINGS_TEXT, AT(SettingsModel, labels.topic), .fallback = "\"\"",
     .help = "Topic of the labels; \"\" for none. Labels may be keyed any way."},
    {"grace_ms", SETTINGS_INT64, AT(SettingsModel, labels.grace_ms), .fallback = "60000", RANGE(0, YEAR_MS),
     MILLISECONDS, .help = "A label may carry a time this much before its prediction's arrival."},
    {"wait_ms", SETTINGS_INT64, AT(SettingsModel, labels.wait_ms), .fallback = "604800000", RANGE(0, 10 * YEAR_MS),
     MILLISECONDS, .help = "A label may come this much after its prediction."},
    {"copartitioned", SETTINGS_BOOLEAN, AT(SettingsModel, labels.copartitioned), .fallback = "false",
     .help =
         "A label is in the same-numbered partition as its prediction. Saves reading every label partition for every "
         "traffic partition; true only when both are keyed by the request id with the same partitioner and count."},
    {"sample", SETTINGS_DOUBLE, AT(SettingsModel, labels.sample), .fallback = "1", RANGE(0, 1), .unit = "fraction",
     .help = "Share of the predictions held for their label, chosen by a hash of the request id."},
    {.key = NULL}};

static const SettingsOption window_options[] = {
    {"events", SETTINGS_UINT, AT(SettingsModel, window.events), .fallback = "1000", RANGE(0, 1000000000),
     .unit = "events", .help = "Length of a window; 0: by event time, see duration_ms."},
    {"duration_ms", SETTINGS_INT64, AT(SettingsModel, window.duration_ms), .fallback = "0", RANGE(0, YEAR_MS),
     MILLISECONDS, .help = "Length of a window in event time when events is 0."},
    {"slide_events", SETTINGS_UINT, AT(SettingsModel, window.slide_events), .fallback = "0", RANGE(0, 1000000000),
     .unit = "events", .help = "A window begins after that many events; 0: when the one before ends."},
    {"slide_ms", SETTINGS_INT64, AT(SettingsModel, window.slide_ms), .fallback = "0", RANGE(0, YEAR_MS), MILLISECONDS,
     .help = "The same for windows by event time."},
    {"pane_events", SETTINGS_UINT, AT(SettingsModel, window.pane_events), .computed = "a tenth of events, at least 1",
     RANGE(1, 1000000000), .unit = "events",
     .help = "A pane, the piece that windows are sums of, closes after that many."},
    {"label_rows", SETTINGS_UINT, AT(SettingsModel, window.label_rows),
     .computed = "100; 20 with policy.retrain_mode mixture", RANGE(1, 1000000), .unit = "rows",
     .help = "Labelled rows of a label pane: performance is looked at so often. The smaller, the sooner a "
             "mixture answers a change."},
    {"panes_per_day", SETTINGS_UINT, AT(SettingsModel, window.panes_per_day), .fallback = "10000", RANGE(1, 100000000),
     .unit = "panes", .help = "Bound; panes become longer to keep it."},
    {.key = NULL}};

static const SettingsOption alarm_options[] = {
    {"budget", SETTINGS_DOUBLE, AT(SettingsModel, alarm.budget), .fallback = "1", RANGE(1e-9, 1e9), .unit = "alarms",
     .help = "At most so many false alarms are expected ..."},
    {"per_rows", SETTINGS_INT64, AT(SettingsModel, alarm.per_rows), .fallback = "100000", RANGE(1, 1e15),
     .unit = "rows", .help = "... in that many labelled rows or events."},
    {"minimum_effect", SETTINGS_DOUBLE, AT(SettingsModel, alarm.minimum_effect), .fallback = "0.1", RANGE(0, 1),
     .help =
         "Differences smaller than this (Jensen-Shannon distance, error rate) stay silent however certain they are."},
    {"disparate_impact_bound", SETTINGS_DOUBLE, AT(SettingsModel, alarm.disparate_impact_bound), .fallback = "0",
     RANGE(0, 1), .help = "A group's selection rate divided by the highest must not fall below; 0: only report."},
    {"minimum_group", SETTINGS_UINT, AT(SettingsModel, alarm.minimum_group), .fallback = "30", RANGE(1, 1000000000),
     .unit = "rows", .help = "Smaller groups are not judged."},
    {"bias_metrics", SETTINGS_TEXT_LIST, AT(SettingsModel, alarm.bias_metrics),
     .fallback = "[selection_rate, disparate_impact, equal_opportunity_difference]", .choices = bias_metric_names,
     .help = "What each label window says of every group of a sensitive feature: rates, and comparisons with the "
             "reference group (group - reference, group / reference). Only disparate_impact is held against a bound."},
    {"bias_crossed", SETTINGS_UINT, AT(SettingsModel, alarm.bias_crossed), .fallback = "1", RANGE(1, 4),
     .unit = "features", .help = "Groups are made of so many sensitive features crossed at most; 1: each alone."},
    {.key = NULL}};

static const SettingsOption bias_audit_options[] = {
    {"alpha", SETTINGS_DOUBLE, AT(SettingsModel, bias_audit.alpha), .fallback = "0", RANGE(0, 0.5),
     .unit = "probability",
     .help =
         "Chance of a false alarm ever while one version serves, over all sensitive features, rates and groups; 0: no "
         "audit."},
    {"margin", SETTINGS_DOUBLE, AT(SettingsModel, bias_audit.margin), .fallback = "0.1", RANGE(0, 0.99),
     .help = "Difference between a group's rate and the reference group's that is still fair."},
    {"rates", SETTINGS_TEXT_LIST, AT(SettingsModel, bias_audit.rates), .fallback = "[selection_rate]",
     .choices = audit_rate_names,
     .help = "What shall be alike in all groups. They share alpha: each further one makes the others slower."},
    {.key = NULL}};

static const SettingsOption compress_options[] = {
    {"int8", SETTINGS_BOOLEAN, AT(SettingsModel, policy.compress.int8), .fallback = "false",
     .help = "Weights and activations as 8-bit integers; the last step."},
    {"activations", SETTINGS_CHOICE, AT(SettingsModel, policy.compress.activations), .fallback = "int8",
     .choices = activation_names, .help = "With int8: of activations."},
    {"ranges", SETTINGS_CHOICE, AT(SettingsModel, policy.compress.ranges), .fallback = "mse", .choices = range_names,
     .help = "With int8: how the range of an activation is chosen from what is seen."},
    {"keep_float", SETTINGS_TEXT, AT(SettingsModel, policy.compress.keep_float), .fallback = "\"\"",
     .help = "With int8: layers that stay in floating point: first, last, or patterns of names, with commas."},
    {"prune", SETTINGS_DOUBLE, AT(SettingsModel, policy.compress.prune), .fallback = "0", RANGE(0, 0.999),
     .unit = "fraction", .help = "Share of the weights (with structured: units) that goes; 0: none."},
    {"structured", SETTINGS_BOOLEAN, AT(SettingsModel, policy.compress.structured), .fallback = "false",
     .help = "With prune: whole units and channels leave the graph."},
    {"fine_tune_epochs", SETTINGS_UINT, AT(SettingsModel, policy.compress.fine_tune_epochs), .fallback = "4",
     RANGE(0, 100000), .unit = "epochs", .help = "With prune: training afterwards."},
    {"distill", SETTINGS_TEXT, AT(SettingsModel, policy.compress.distill), .fallback = "\"\"",
     .help = "Architecture of a smaller network that learns what the version says, as mlp:16; \"\": none."},
    {"distill_epochs", SETTINGS_UINT, AT(SettingsModel, policy.compress.distill_epochs), .fallback = "0",
     RANGE(0, 100000), .unit = "epochs",
     .help = "Passes of that student over the rows; 0: 20, of few rows of a table up to 100."},
    {.key = NULL}};

static const SettingsOption search_options[] = {
    {"trials", SETTINGS_UINT, AT(SettingsModel, policy.search.trials), .fallback = "0", RANGE(0, 1000000),
     .unit = "trials",
     .help = "At most; 0: as many as the seconds allow. With trials alone and one worker a search is "
             "the same again."},
    {"seconds", SETTINGS_DOUBLE, AT(SettingsModel, policy.search.seconds), .fallback = "0", RANGE(0, 1e7), .unit = "s",
     .help = "Wall time of a search, over all attempts; 0: as long as the trials take."},
    {"workers", SETTINGS_UINT, AT(SettingsModel, policy.search.workers), .fallback = "1", RANGE(1, 256),
     .unit = "processes", .help = "Trials at a time, one thread each."},
    {"space", SETTINGS_TEXT, AT(SettingsModel, policy.search.space), .fallback = "\"\"",
     .help = "Families and ranges as of `kedge search --space`; \"\": all."},
    {"ensemble", SETTINGS_UINT, AT(SettingsModel, policy.search.ensemble), .fallback = "1",
     RANGE(0, PIPELINE_MAX_ENSEMBLE), .unit = "trials",
     .help = "So many of the best trials: the version is their mean; 0: all finalists of folds that are not clearly "
             "worse than the winner. Only a single one can be hardened or pruned."},
    {.key = NULL}};

static const SettingsOption attack_options[] = {
    {"attacks", SETTINGS_TEXT_LIST, AT(SettingsModel, policy.attack.attacks), .fallback = "[square]",
     .choices = attack_names,
     .help = "A row counts as robust when none of them fools it. fgsm and pgd need gradients, which trees and 8-bit "
             "models do not have."},
    {"epsilon", SETTINGS_DOUBLE, AT(SettingsModel, policy.attack.epsilon), .computed = "adversarial_epsilon",
     RANGE(0, 1e6), .unit = "standard deviations", .help = "Radius of the ball (largest change of a feature)."},
    {"steps", SETTINGS_UINT, AT(SettingsModel, policy.attack.steps), .fallback = "40", RANGE(1, 100000),
     .unit = "steps", .help = "Steps of pgd, each of 2.5 epsilon / steps."},
    {"queries", SETTINGS_UINT, AT(SettingsModel, policy.attack.queries), .fallback = "1000", RANGE(1, 10000000),
     .unit = "queries", .help = "Answers of the version that square and hopskipjump ask for, a row."},
    {"rows", SETTINGS_UINT, AT(SettingsModel, policy.attack.rows), .fallback = "500", RANGE(1, 1000000000),
     .unit = "rows", .help = "Held-out rows that are attacked, the last ones."},
    {"immutable", SETTINGS_TEXT_LIST, AT(SettingsModel, policy.attack.immutable), .fallback = "[]",
     .help = "Features that no attack changes."},
    {"integer", SETTINGS_TEXT_LIST, AT(SettingsModel, policy.attack.integer), .fallback = "[]",
     .help = "Features that change by whole numbers."},
    {"one_hot", SETTINGS_TEXT_LIST, AT(SettingsModel, policy.attack.one_hot), .fallback = "[]",
     .help = "Groups of one-hot columns, which stay, as a+b+c."},
    {"mutable_categories", SETTINGS_TEXT_LIST, AT(SettingsModel, policy.attack.mutable_categories), .fallback = "[]",
     .help = "Texts that may become another value known from training, one-hot groups a+b+c whose 1 may move; others "
             "stay."},
    {"category_budget", SETTINGS_UINT, AT(SettingsModel, policy.attack.category_budget), .fallback = "1",
     RANGE(1, 1000), .unit = "categories", .help = "Of the mutable categories, so many of a row change at most."},
    {.key = NULL}};

static const SettingsOption policy_options[] = {
    {"act_on", SETTINGS_TEXT_LIST, AT(SettingsModel, policy.act_on), .fallback = "[performance]",
     .choices = verdict_names, .help = "Verdicts that start a retraining. The others only open incidents."},
    {"retrain", SETTINGS_BOOLEAN, AT(SettingsModel, policy.retrain), .fallback = "true",
     .help = "Whether to retrain at all; false: incidents and pool only."},
    {"reweigh", SETTINGS_BOOLEAN, AT(SettingsModel, policy.reweigh), .fallback = "false",
     .help = "Retrainings weigh their rows so that label and sensitive groups are independent (two classes only)."},
    {"retrain_mode", SETTINGS_CHOICE, AT(SettingsModel, policy.retrain_mode), .fallback = "scratch",
     .choices = retrain_mode_names,
     .help =
         "What a retraining begins with: scratch (new weights in `architecture`; after an abrupt change the old ones "
         "only mislead), fine-tune (the champion's own graph and weights), or mixture: the model learns every labelled "
         "pane "
         "online, as a mixture of versions and last layers in one graph; what got more rows right becomes a small "
         "revision, which passes the gate like any version, and whole models are trained only after an alarm. The "
         "champion must be a dense classifier. Then pool, cooldown_rows, daily_budget, reweigh and "
         "adversarial_epsilon mean nothing."},
    {"minimum_rows", SETTINGS_UINT, AT(SettingsModel, policy.minimum_rows), .fallback = "50", RANGE(1, 1000000000),
     .unit = "rows", .help = "Labelled rows since the change that a retraining needs."},
    {"cooldown_rows", SETTINGS_UINT, AT(SettingsModel, policy.cooldown_rows), .fallback = "1000", RANGE(0, 1000000000),
     .unit = "rows", .help = "Labelled rows between two retrainings of one incident."},
    {"daily_budget", SETTINGS_UINT, AT(SettingsModel, policy.daily_budget), .fallback = "0", RANGE(0, 1000000),
     .unit = "retrainings", .help = "Retrainings per day of event time; 0: no bound."},
    {"pool", SETTINGS_UINT, AT(SettingsModel, policy.pool), .fallback = "12", RANGE(0, 1000), .unit = "versions",
     .help = "Earlier versions compared on recent labelled rows, so that a returning world gets its old model back; 0: "
             "none."},
    {"architecture", SETTINGS_TEXT, AT(SettingsModel, policy.architecture), .fallback = "\"auto\"",
     .help = "What to train: auto (trees when the champion is an ensemble of trees, else mlp:64,64), "
             "mlp:WIDTH,WIDTH,... or "
             "trees:depth=6,rounds=500,... (options as of `kedge train --arch`)."},
    {"processes", SETTINGS_UINT, AT(SettingsModel, policy.processes), .fallback = "1", RANGE(1, 256),
     .unit = "processes",
     .help =
         "That a retraining is shared out to (mpirun, or srun where the worker runs in a Slurm allocation), each with "
         "a part of every batch; the weights are those of one process within rounding. What cannot be shared out "
         "(trees, adversarial training, no MPI on the worker's machine) is trained by one, and the job's log says "
         "why."},
    {"holdout_fraction", SETTINGS_DOUBLE, AT(SettingsModel, policy.holdout_fraction), .fallback = "0.2",
     RANGE(0.01, 0.9), .unit = "fraction",
     .help = "Latest part of the data that the gate judges on and training never sees."},
    {"adversarial_epsilon", SETTINGS_DOUBLE, AT(SettingsModel, policy.adversarial_epsilon), .fallback = "0",
     RANGE(0, 1e6), .unit = "standard deviations", .help = "Radius of the attacks trained against; 0: no hardening."},
    {"harden", SETTINGS_CHOICE, AT(SettingsModel, policy.harden), .fallback = "none", .choices = harden_names,
     .help =
         "With an `adversarial_epsilon`: a retrained model is trained on against attacks by this method before the "
         "gate "
         "judges it (numeric features without missing values; other models are trained against PGD). none: PGD within "
         "the retraining itself."},
    {"adversarial_steps", SETTINGS_UINT, AT(SettingsModel, policy.adversarial_steps), .fallback = "5", RANGE(1, 1000),
     .unit = "steps", .help = "Steps of each attack."},
    {"seed", SETTINGS_UINT64, AT(SettingsModel, policy.seed), .fallback = "1", RANGE(0, 18446744073709551615.),
     .help = "Seed of every random choice: the same data and seed give the same model."},
    {"harden_epochs", SETTINGS_UINT, AT(SettingsModel, policy.harden_epochs), .fallback = "10", RANGE(1, 100000),
     .unit = "epochs", .help = "Passes over the rows of the stage harden in a chain."},
    {"chain", SETTINGS_TEXT_LIST, AT(SettingsModel, policy.chain), .fallback = "[]", .choices = chain_names,
     .help = "Stages between an incident and the gate, each a job whose version has the one before as its parent: "
             "retrain (or a refit, where the policy asks for one) or search first, then harden (by `harden`, "
             "`adversarial_epsilon`), compress, attack, which measures what the gate's robust_accuracy_bound judges. "
             "Only the last version goes to the gate. A stage that fails or costs too much is left out, and the next "
             "begins with the version before it. []: the training alone."},
    {"chain_maximum_loss", SETTINGS_DOUBLE, AT(SettingsModel, policy.chain_maximum_loss), .fallback = "0.02",
     RANGE(0, 1), .unit = "accuracy",
     .help = "A stage after the first one that loses more on the held-out rows, against the version that it began "
             "with, is left out."},
    {"compress", SETTINGS_SECTION, .section = compress_options, .help = "What the stage compress does."},
    {"search", SETTINGS_SECTION, .section = search_options, .help = "What the stage search may spend."},
    {"attack", SETTINGS_SECTION, .section = attack_options, .help = "What the stage attack measures."},
    {.key = NULL}};

static const SettingsOption gate_options[] = {
    {"minimum_gain", SETTINGS_DOUBLE, AT(SettingsModel, gate.minimum_gain), .fallback = "0", RANGE(-1, 1),
     .help = "Mean paired gain in accuracy over the champion that a challenger needs."},
    {"require_significance", SETTINGS_BOOLEAN, AT(SettingsModel, gate.require_significance), .fallback = "false",
     .help = "Whether the lower end of the gain's interval must reach minimum_gain."},
    {"maximum_loss", SETTINGS_DOUBLE, AT(SettingsModel, gate.maximum_loss), .fallback = "0", RANGE(0, 1),
     .help = "The lower end of the gain's interval must lie above minus this; 0: no bound."},
    {"disparate_impact_bound", SETTINGS_DOUBLE, AT(SettingsModel, gate.disparate_impact_bound), .fallback = "0",
     RANGE(0, 1), .help = "The challenger's worst ratio of selection rates must reach this; 0: no bound."},
    {"robust_accuracy_bound", SETTINGS_DOUBLE, AT(SettingsModel, gate.robust_accuracy_bound), .fallback = "0",
     RANGE(0, 1), .help = "The challenger's accuracy under attack must reach this; 0: no bound."},
    {"latency_p99_bound_us", SETTINGS_DOUBLE, AT(SettingsModel, gate.latency_p99_bound_us), .fallback = "0",
     RANGE(0, 1e12), .unit = "us", .help = "99 of 100 single predictions must take no longer; 0: no bound."},
    {"size_bound_bytes", SETTINGS_DOUBLE, AT(SettingsModel, gate.size_bound_bytes), .fallback = "0", RANGE(0, 1e15),
     .unit = "bytes", .help = "The challenger's ONNX file must be no larger; 0: no bound."},
    {"minimum_holdout", SETTINGS_UINT64, AT(SettingsModel, gate.minimum_holdout), .fallback = "20", RANGE(1, 1e9),
     .unit = "rows", .help = "Held-out rows without which the gate refuses to judge."},
    {.key = NULL}};

static const SettingsOption rollout_options[] = {
    {"promote", SETTINGS_INDEX, AT(SettingsModel, rollout.automatic), .fallback = "auto", .choices = promote_names,
     .help = "auto: a version that passed the gate serves at once. manual: it waits for `kedge promote`."},
    {"watch_rows", SETTINGS_UINT, AT(SettingsModel, rollout.watch_rows), .fallback = "1000", RANGE(0, 1000000000),
     .unit = "rows", .help = "Labelled rows after a promotion during which it may be rolled back; 0: no watch."},
    {"watch_margin", SETTINGS_DOUBLE, AT(SettingsModel, rollout.watch_margin), .fallback = "0.05", RANGE(0, 1),
     .help = "Rolled back when the live error exceeds the promise by more than this, significantly."},
    {.key = NULL}};

static const SettingsOption target_options[] = {
    {"type", SETTINGS_CHOICE, AT(SettingsTarget, type), .required = TRUE, .choices = target_names,
     .help = "directory: PATH/MODEL/VERSION/model.onnx. triton: a Triton model repository."},
    {"path", SETTINGS_TEXT, AT(SettingsTarget, path), .required = TRUE, .help = "Directory, absolute."},
    {"url", SETTINGS_TEXT, AT(SettingsTarget, url), .fallback = "\"\"",
     .help = "Base URL of the server's load call, http:// or https://; \"\": none."},
    {"keep_versions", SETTINGS_UINT, AT(SettingsTarget, keep_versions), .fallback = "3", RANGE(0, 10000),
     .unit = "versions", .help = "Older version folders kept."},
    {.key = NULL}};

static const SettingsOption model_options[] = {
    {"name", SETTINGS_TEXT, AT(SettingsModel, name), .required = TRUE,
     .help = "The model's name in the registry: a letter or digit, then up to 127 letters, digits, '.', '_', '-'."},
    {"traffic", SETTINGS_SECTION, .section = traffic_options, .help = "The predictions."},
    {"labels", SETTINGS_SECTION, .section = labels_options, .help = "The true outcomes, which come later."},
    {"dead_letter_topic", SETTINGS_TEXT, AT(SettingsModel, dead_letter_topic), .computed = "kedge.dead-letter.NAME",
     .help = "Topic for events that cannot be decoded."},
    {"window", SETTINGS_SECTION, .section = window_options, .help = "How much traffic a verdict looks at."},
    {"alarm", SETTINGS_SECTION, .section = alarm_options, .help = "How sure and how large before an incident opens."},
    {"bias_audit", SETTINGS_SECTION, .section = bias_audit_options,
     .help =
         "The bet against fairness that is looked at with every label pane; an alarm opens an incident of kind bias. "
         "For decisions between two classes."},
    {"policy", SETTINGS_SECTION, .section = policy_options, .help = "What happens at an incident."},
    {"gate", SETTINGS_SECTION, .section = gate_options, .help = "What a new version must show before it may serve."},
    {"rollout", SETTINGS_SECTION, .section = rollout_options, .help = "How it comes to serve, and how it is watched."},
    {"targets", SETTINGS_LIST, AT(SettingsModel, targets), .count_offset = offsetof(SettingsModel, n_targets),
     .section = target_options, .size = sizeof(SettingsTarget), .help = "Where promoted versions are written."},
    {.key = NULL}};

static const SettingsOption webhook_options[] = {
    {"name", SETTINGS_TEXT, AT(SettingsWebhook, name), .required = TRUE, .help = "A name for messages, as a model's."},
    {"url", SETTINGS_TEXT, AT(SettingsWebhook, url), .required = TRUE, .help = "Where to post; https:// by default."},
    {"secret_file", SETTINGS_TEXT, AT(SettingsWebhook, secret_file), .required = TRUE,
     .help = "File with the signing secret whsec_..., one a line (two during rotation)."},
    {"allow_plain_http", SETTINGS_BOOLEAN, AT(SettingsWebhook, allow_plain_http), .fallback = "false",
     .help = "Permit http://, for loopback."},
    {"allow_private_address", SETTINGS_BOOLEAN, AT(SettingsWebhook, allow_private_address), .fallback = "false",
     .help = "Permit receivers with loopback, link-local or private addresses."},
    {"timeout_ms", SETTINGS_UINT, AT(SettingsWebhook, timeout_ms), .fallback = "10000", RANGE(100, 120000),
     MILLISECONDS, .help = "For connecting, sending and the answer together."},
    {.key = NULL}};

const SettingsOption settings_options[] = {
    {"store", SETTINGS_TEXT, AT(Settings, store), .fallback = "sqlite:/var/lib/kedge/kedge.db",
     .help = "Registry and state: sqlite:PATH (one host, one daemon) or postgresql://... (any number of daemons)."},
    {"artifacts", SETTINGS_TEXT, AT(Settings, artifacts), .fallback = "/var/lib/kedge/artifacts",
     .help = "Directory of models and data sets."},
    {"artifacts_shared", SETTINGS_BOOLEAN, AT(Settings, artifacts_shared), .fallback = "false",
     .help = "The artifacts directory is mounted by every host that runs a daemon or a worker."},
    {"single_host", SETTINGS_BOOLEAN, AT(Settings, single_host), .fallback = "false",
     .help =
         "Every daemon and worker runs on this host, so that a PostgreSQL store with a private artifacts directory is "
         "right."},
    {"broker", SETTINGS_SECTION, .section = broker_options, .help = "Where events come from."},
    {"http", SETTINGS_SECTION, .section = http_options, .help = "Metrics, health, dashboard."},
    {"checkpoint", SETTINGS_SECTION, .section = checkpoint_options, .help = "How much is read again after a crash."},
    {"leader", SETTINGS_SECTION, .section = leader_options,
     .help = "The thread that decides; one of all daemons does."},
    {"worker", SETTINGS_SECTION, .section = worker_options, .help = "Jobs: training, evaluation, scoring."},
    {"models", SETTINGS_LIST, AT(Settings, models), .count_offset = offsetof(Settings, n_models),
     .section = model_options, .size = sizeof(SettingsModel), .help = "The models watched."},
    {"webhooks", SETTINGS_LIST, AT(Settings, webhooks), .count_offset = offsetof(Settings, n_webhooks),
     .section = webhook_options, .size = sizeof(SettingsWebhook), .help = "Who is told of incidents and promotions."},
    {.key = NULL}};
