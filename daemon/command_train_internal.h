/* What command_train.c (the command), command_train_graph.c (its options for training on a graph),
 * command_train_log.c, command_train_tree.c share. */
#pragma once

#include "daemon/command_clean.h"
#include "daemon/command_data.h"
#include "pipeline/graph_trainer.h"
#include "pipeline/pseudo_label.h"

G_BEGIN_DECLS

typedef struct {
  gchar *features, *image, *loss, *class_weights, *optimiser, *schedule, *average, *freeze, *log, *rehearse, *precision;
  gint micro_batch;
  gint64 device_memory;
  gboolean new_head, spill;
  gint warm_up, shift, cutout;
  gint64 row_visits;
  double label_smoothing, momentum, clip_norm, clip_value, l1, l2, dropout, noise, mixup, flip, test, rehearse_share,
      layer_decay, focal_gamma, huber_delta, quantile; /* the last three: NaN: not given */
  double interval;                                     /* 0: not given */
} TrainGraphArguments;

/* Adversarial training on a graph. */
typedef struct {
  gchar *method, *norm, *unit, *range;
  double step_size, beta;
  gint replays;
} TrainHardenArguments;

typedef struct {
  gchar *data, *label, *from, *architecture, *backend, *sensitive, *exclude, *positive, *checkpoint, *output, *reweigh,
      *monotone, *calibrate, *threshold, *weights, *split, *transform, *unlabelled, *parallel;
  gint epochs, batch_size, patience, adversarial_steps, processes, restarts; /* restarts < 0: not given */
  gint64 seed;
  double learning_rate, weight_decay, validation, adversarial_epsilon, checkpoint_seconds; /* NaN: not given */
  gboolean shuffle, calibrate_only;
  PipelinePseudoOptions pseudo;
  gint pseudo_rounds;
  TrainGraphArguments graph;
  TrainHardenArguments harden;
  CommandCleanArguments clean;
  PipelineCommunicator *communicator; /* of one of several processes, while it trains; else NULL */
} TrainArguments;

/* What `kedge train` and `kedge harden` share (command_train.c). */
void command_train_init(TrainArguments *arguments);
void command_train_clear(TrainArguments *arguments);
/* Trains and writes the model; the report. name: of the command, for warnings. */
json_t *command_train_execute(const CommandCommon *common, const TrainArguments *arguments, const gchar *name,
                              GError **error);
void command_train_print(json_t *report);

/* --norm, --unit and --range of attacks (command_train_harden.c): texts or NULL for the default. */
gboolean command_parse_norm(const gchar *text, PipelineNorm *norm, GError **error);
gboolean command_parse_unit(const gchar *text, gboolean *absolute, GError **error);
gboolean command_parse_range(const gchar *text, PipelineRangeKind *range, double *low, double *high, GError **error);
/* Fills options->fit.harden and harden_…; nothing without a method. */
gboolean command_train_harden_fill(const TrainArguments *arguments, PipelineGraphTrainOptions *options, GError **error);

/* --unlabelled and its options (command_train_pseudo.c), appended to an array of GOptionEntry. */
void command_train_pseudo_entries(TrainArguments *arguments, GArray *entries);
/* What is wrong with them, or NULL. */
const gchar *command_train_pseudo_check(const TrainArguments *arguments);
/* pipeline_train; with --unlabelled pipeline_train_pseudo, and *told gets what was labelled. */
gboolean command_train_table(const TrainArguments *arguments, const DriftTable *table, const DriftSchema *schema,
                             const PipelineTrainOptions *options, PipelineTrainProgressFunc progress,
                             gpointer user_data, PipelineTrainResult *result, json_t **told, GError **error);
void command_train_pseudo_print(const json_t *report);

/* --processes, --restarts and --parallel (command_train_gang.c), appended to an array of GOptionEntry. */
void command_train_gang_entries(TrainArguments *arguments, GArray *entries);
/* What is wrong with them, or NULL. */
const gchar *command_train_gang_check(const TrainArguments *arguments);
/* Starts the processes, with the arguments argv of this one, and waits; clears common. The exit status. */
int command_train_gang_start(CommandCommon *common, TrainArguments *arguments, char **argv);
/* Trains as one of them; clears common. The exit status. */
int command_train_gang_member(CommandCommon *common, TrainArguments *arguments);
/* The process that writes log, checkpoints and model, and that reports: the first, or the only one. */
gboolean command_train_leads(const TrainArguments *arguments);

void command_train_graph_init(TrainGraphArguments *arguments);
void command_train_graph_clear(TrainGraphArguments *arguments);
/* New: `first` (ends with an empty entry) and the options of a graph, ending with an empty entry. */
GArray *command_train_graph_entries(TrainGraphArguments *arguments, const GOptionEntry *first);
/* The data, the architecture or an option is of that kind only. */
gboolean command_train_graph_is_asked(const TrainArguments *arguments);
gboolean command_train_graph_run(const CommandCommon *common, const TrainArguments *arguments,
                                 PipelineTrainProgressFunc progress, PipelineTrainStopFunc stop, gpointer user_data,
                                 PipelineTrainResult *result, GError **error);

/* The rows of the data as a graph takes them; *model: the bytes of --from, or NULL. */
PipelineGraphRows *command_train_graph_read(const CommandCommon *common, const TrainArguments *arguments,
                                            GBytes **model, GError **error);

/* Rows that need not fit into memory (command_train_stream.c). They are asked for (--spill), or the file is larger than
 * PIPELINE_SPILL_BYTES; a regular file of arrays or CSV. */
gboolean command_train_streams(const TrainArguments *arguments, const gchar *path);
/* INVALID: --spill of what cannot be read again. */
gboolean command_train_stream_check(const TrainArguments *arguments, GError **error);
/* command_train_graph_read and the rows of --rehearse, of an .npy or a CSV. */
PipelineGraphRows *command_train_stream_read(const CommandCommon *common, const TrainArguments *arguments,
                                             GBytes **model, GError **error);
PipelineGraphRows *command_train_stream_read_old(const gchar *path, const DriftSchema *schema, GError **error);

/* Between the two SIGINT, SIGTERM and SIGUSR1 (which mpirun and srun pass on) are noted instead of ending the program.
 */
void command_train_signals_begin(void);
void command_train_signals_end(void);
/* A PipelineTrainStopFunc: one has come. */
gboolean command_train_signals_came(gpointer user_data);

/* New [n_rows], or NULL without an error when --weights is not given. DATA: no such column of numbers. */
double *command_train_read_weights(const TrainArguments *arguments, const DriftTable *table, GError **error);
/* --exclude and the column of --weights, which no model sees; new. */
gchar *command_train_excluded(const TrainArguments *arguments);

/* --calibrate-only: --from with calibration and decision fitted to all rows; nothing is trained. */
gboolean command_train_calibrate(const CommandCommon *common, const TrainArguments *arguments,
                                 PipelineTrainResult *result, GError **error);
/* Member "calibration" of the report; nothing where nothing was fitted. */
void command_train_calibration_describe(const PipelineCalibration *calibration, json_t *report);
void command_train_interval_describe(const PipelineInterval *interval, json_t *report); /* "interval" */
void command_train_calibration_print(json_t *report);

/* Trees: command_train_tree.c. The architecture says so, or the model to start from is an ensemble of trees. */
gboolean command_train_tree_is_asked(const CommandCommon *common, const TrainArguments *arguments);
/* What trees take of the other options; INVALID names one that they do not take. */
gboolean command_train_tree_fill(const TrainArguments *arguments, PipelineTrainOptions *options, GError **error);
/* Adds "importance" to the report when the model carries it, and prints it. */
void command_train_tree_describe(const PipelineTrainResult *result, json_t *report);
void command_train_tree_print(const json_t *report);

/* JSON lines; every function takes NULL for "no log". Lines are appended. */
typedef struct _CommandTrainLog CommandTrainLog;
CommandTrainLog *command_train_log_open(const gchar *path, GError **error);
void command_train_log_free(CommandTrainLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CommandTrainLog, command_train_log_free)
/* FALSE: it cannot be written, which ends the training; command_train_log_end has the reason. */
gboolean command_train_log_epoch(CommandTrainLog *log, const PipelineTrainProgress *progress);
gboolean command_train_log_end(CommandTrainLog *log, const PipelineTrainResult *result, GError **error);

G_END_DECLS
