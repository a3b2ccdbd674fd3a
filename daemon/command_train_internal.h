/* What command_train.c (the command), command_train_graph.c (its options for training on a graph) and
 * command_train_log.c share. */
#pragma once

#include "daemon/command_data.h"
#include "pipeline/pseudo_label.h"
#include "pipeline/trainer.h"

G_BEGIN_DECLS

typedef struct {
  gchar *features, *image, *loss, *class_weights, *optimiser, *schedule, *average, *freeze, *log, *rehearse;
  gboolean new_head;
  gint warm_up, shift, cutout;
  gint64 row_visits;
  double label_smoothing, momentum, clip_norm, clip_value, l1, l2, dropout, noise, mixup, flip, test, rehearse_share,
      layer_decay;
} TrainGraphArguments;

typedef struct {
  gchar *data, *label, *from, *architecture, *backend, *sensitive, *exclude, *positive, *checkpoint, *output, *reweigh,
      *unlabelled;
  gint epochs, batch_size, patience, adversarial_steps;
  gint64 seed;
  double learning_rate, weight_decay, validation, adversarial_epsilon, checkpoint_seconds; /* NaN: not given */
  gboolean shuffle;
  PipelinePseudoOptions pseudo;
  gint pseudo_rounds;
  TrainGraphArguments graph;
} TrainArguments;

void command_train_graph_init(TrainGraphArguments *arguments);
void command_train_graph_clear(TrainGraphArguments *arguments);
/* New: `first` (ends with an empty entry) and the options of a graph, ending with an empty entry. */
GArray *command_train_graph_entries(TrainGraphArguments *arguments, const GOptionEntry *first);
/* The data, the architecture or an option is of that kind only. */
gboolean command_train_graph_is_asked(const TrainArguments *arguments);
gboolean command_train_graph_run(const CommandCommon *common, const TrainArguments *arguments,
                                 PipelineTrainProgressFunc progress, gpointer user_data, PipelineTrainResult *result,
                                 GError **error);

/* JSON lines; every function takes NULL for "no log". Lines are appended. */
typedef struct _CommandTrainLog CommandTrainLog;
CommandTrainLog *command_train_log_open(const gchar *path, GError **error);
void command_train_log_free(CommandTrainLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CommandTrainLog, command_train_log_free)
/* FALSE: it cannot be written, which ends the training; command_train_log_end has the reason. */
gboolean command_train_log_epoch(CommandTrainLog *log, const PipelineTrainProgress *progress);
gboolean command_train_log_end(CommandTrainLog *log, const PipelineTrainResult *result, GError **error);

G_END_DECLS
