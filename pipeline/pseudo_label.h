/* Self-training: a model labels the unlabelled rows that it is sure of, and learns from them beside the labelled ones
 * (Scudder, IEEE Transactions on Information Theory 11 (1965) 363; Lee, ICML workshop 2013). It helps where classes lie
 * in clusters that the labelled rows show too little of, and harms where the model is sure and wrong: after a change of
 * P(y|x) it repeats the old world's answers. */
#pragma once

#include "pipeline/trainer.h"

G_BEGIN_DECLS

typedef struct {
  double confidence; /* .95: least calibrated probability of a pseudo-label, in (1 / classes, 1) */
  double weight;     /* 1: of a pseudo-labelled row in the loss; a labelled one has 1 */
  double balance;    /* 2: a class gets at most this times its share of the labelled rows among the confident ones */
  guint rounds;      /* 1: teacher → pseudo-labels → student, which is the next round's teacher */
} PipelinePseudoOptions;
void pipeline_pseudo_options_init(PipelinePseudoOptions *options);

/* Of the last round. */
typedef struct {
  guint rounds;                               /* done; fewer when a round took no row */
  guint64 n_unlabelled, n_confident, n_taken; /* rows; confident ones; those left by the balance of classes */
  guint n_classes;
  guint64 *taken;        /* [n_classes], in schema order */
  double scale;          /* of the logits, fitted to the validation rows */
  guint64 n_calibration; /* validation rows */
  double teacher_metric; /* accuracy of the first teacher on the validation rows */
} PipelinePseudoLabels;
void pipeline_pseudo_labels_clear(PipelinePseudoLabels *labels);

/* As pipeline_train on `table`, whose validation rows (at least PIPELINE_MIN_VALIDATION) also calibrate; classifiers
 * only, without shuffle_split, split, test_fraction and checkpoint. unlabelled: the input features; a label column
 * there is not looked at. No row is sure enough: the result is that of pipeline_train. Outputs are untouched on
 * failure. */
gboolean pipeline_train_pseudo(const DriftTable *table, const DriftTable *unlabelled, const DriftSchema *schema,
                               const PipelineTrainOptions *options, const PipelinePseudoOptions *pseudo,
                               PipelineTrainProgressFunc progress, gpointer user_data, PipelineTrainResult *result,
                               PipelinePseudoLabels *labels, GError **error);

G_END_DECLS
