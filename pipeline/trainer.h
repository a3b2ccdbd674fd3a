/* Training of a model on a table, ending in ONNX bytes. */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

typedef struct {
  const gchar *architecture;   /* "mlp:64,64", …; ignored when from is set */
  GBytes *from;                /* ONNX to fine-tune; NULL: from scratch */
  const gchar *backend;        /* NULL: best */
  guint epochs, batch_size, patience; /* patience 0: no early stopping */
  double learning_rate, weight_decay;
  double validation_fraction;  /* the last rows (time order) unless shuffle_split */
  gboolean shuffle_split;
  guint64 seed;
  const double *row_weights;   /* [n_rows] or NULL */
  /* adversarial training: 0 = none. PGD, L-infinity in standardised units */
  double adversarial_epsilon;
  guint adversarial_steps;
  gchar *checkpoint;           /* path of a checkpoint to write and resume from, or NULL */
} PipelineTrainOptions;
void pipeline_train_options_init(PipelineTrainOptions *options);

typedef struct {
  guint epoch, epochs;
  guint64 rows_seen;
  double loss, validation_loss, validation_metric, learning_rate, samples_per_second, seconds;
} PipelineTrainProgress;
/* Returns FALSE to stop (cancel): the trainer leaves a checkpoint and fails with CANCELLED. */
typedef gboolean (*PipelineTrainProgressFunc)(const PipelineTrainProgress *progress, gpointer user_data);

typedef struct {
  GBytes *onnx;
  guint epochs, best_epoch;
  guint64 n_train, n_validation;
  double train_loss, validation_loss, validation_metric; /* accuracy, or -rmse */
  double seconds, samples_per_second;
} PipelineTrainResult;
void pipeline_train_result_clear(PipelineTrainResult *result);

gboolean pipeline_train(const DriftTable *table, const DriftSchema *schema, const PipelineTrainOptions *options,
                        PipelineTrainProgressFunc progress, gpointer user_data, PipelineTrainResult *result,
                        GError **error);

/* Refits only the last linear layer of a model by ridge regression on the rows (targets ±1; pipeline/README.md):
 * milliseconds, a quick first model after a change. */
gboolean pipeline_refit_last_layer(GBytes *onnx, const DriftTable *table, const DriftSchema *schema, double penalty,
                                   const double *row_weights, PipelineTrainResult *result, GError **error);

G_END_DECLS
