/* Knowledge distillation (Hinton, Vinyals and Dean 2015): a new, smaller network learns what a model of any kind says.
 *
 * Classes: q are the model's probabilities at temperature T (softmax(ln p / T)), z the student's logits, y the label:
 *   (1 − a) T² (−Σ q ln softmax(z / T)) + a (−ln softmax(z)_y),   a 0 for a row without a label.
 * Regression: squared error against (1 − a) value + a label. Rows need no label: what traffic leaves suffices.
 *
 * A student of a table ("mlp:…") has the fitted preprocessing of a new model (pipeline/trainer_front.h) in front of its
 * layers: texts and missing numbers are answered, and its inputs are those of a model of pipeline_train. A student of
 * images ("cnn:…") takes pixels.
 */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "pipeline/graph_loss.h"
#include "pipeline/trainer.h"

G_BEGIN_DECLS

typedef struct {
  const gchar *architecture;     /* of the student, as in pipeline/graph_build.h */
  guint channels, height, width; /* of a row as an image; 0: as the model reshapes its rows, if it does */
  double temperature;            /* ≥ 1 */
  double label_share;            /* a, in [0, 1] */
  guint epochs, batch_size;      /* 0: the usual ones for so many rows, as distil.c says */
  double learning_rate;          /* 0: the usual one */
  double validation_fraction;    /* the last rows: the epoch of the lowest loss on them wins */
  guint64 seed;
  const gchar *backend;
} PipelineDistilOptions;
void pipeline_distil_options_init(PipelineDistilOptions *options); /* T 4, a .1 */

typedef struct {
  guint64 n_train, n_validation, n_labelled;
  guint epochs, best_epoch;
  double seconds;
} PipelineDistilled;

/* The student's ONNX, of the same schema; the teacher may be of any kind that pipeline/model.h predicts with, also a
 * mean (pipeline/ensemble.h). New. INVALID: an option, too few rows; DATA: a row that the teacher answers by no finite
 * number; for images texts or missing numbers; UNSUPPORTED: the model predicts an interval, a feature has a name that
 * the graph needs; DIVERGED. progress as in pipeline_graph_train, or NULL. */
GBytes *pipeline_distil(GBytes *teacher, const DriftSchema *schema, const DriftTable *table,
                        const PipelineDistilOptions *options, PipelineTrainProgressFunc progress, gpointer user_data,
                        PipelineDistilled *result, GError **error);

/* Targets of a row: q [width], then the index of the label, -1 without one. */
extern const PipelineGraphLoss pipeline_distil_loss;

G_END_DECLS
