/* Several labels a row, each 0 or 1 by itself: one graph with the output "probabilities" [N, labels], of sigmoids. Its
 * metadata PIPELINE_LABELS_KEY, {"labels": [NAME, …], "inputs": [NAME, …]}, stands where models of one label have their
 * schema, so that nothing takes such a model for one of them. */
#pragma once

#include "pipeline/graph_trainer.h"

G_BEGIN_DECLS

#define PIPELINE_LABELS_KEY "kedge.labels"

typedef struct {
  gchar **labels, **inputs; /* inputs: columns of "features" in order */
  guint n_labels, n_inputs;
} PipelineLabels;
void pipeline_labels_free(PipelineLabels *labels);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineLabels, pipeline_labels_free)
gchar *pipeline_labels_format(gchar *const *labels, const DriftSchema *schema); /* the metadata; new */
/* NULL without an error: a model of one label, or of none. */
PipelineLabels *pipeline_labels_read(GBytes *onnx, GError **error);

/* Rows with n_labels targets. schema: the inputs, and the first label. Rows without one of the labels are skipped.
 * DATA: a label is no column of numbers 0 and 1 (both). */
PipelineGraphRows *pipeline_labels_rows(const DriftTable *table, const DriftSchema *schema, gchar *const *labels,
                                        GError **error);
/* INVALID: rows of several labels, and an option that takes one label a row. */
gboolean pipeline_labels_check(const PipelineGraphRows *rows, const PipelineGraphTrainOptions *options, GError **error);
/* Probabilities [table->n_rows, n_labels], new. DATA: a column that the model takes is missing, or is text. */
GArray *pipeline_labels_predict(GBytes *onnx, const PipelineLabels *labels, const DriftTable *table, GError **error);

typedef struct {
  guint64 n, n_positive;                             /* rows with the label */
  double accuracy, auc, average_precision, log_loss; /* at probability .5; NaN: undefined on these rows */
} PipelineLabelScore;
/* Of one label's probabilities. DATA: no such column of 0 and 1. */
gboolean pipeline_labels_score(const PipelineLabels *labels, guint index, const DriftTable *table,
                               const GArray *probabilities, PipelineLabelScore *score, GError **error);

G_END_DECLS
