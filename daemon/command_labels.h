/* Models of several labels a row (pipeline/multi_label.h) in kedge train, predict and evaluate. */
#pragma once

#include "daemon/command_data.h"
#include "pipeline/multi_label.h"

G_BEGIN_DECLS

/* --label names several. */
gboolean command_labels_are_several(const gchar *label);
/* Rows of a table whose labels are named by "A,B"; excluded as --exclude. */
PipelineGraphRows *command_labels_rows(const DriftTable *table, const gchar *labels, const gchar *sensitive,
                                       const gchar *excluded, GError **error);
/* *labels: of the file "….onnx", or NULL where it is a model of one label or no file. */
gboolean command_labels_load(const gchar *reference, GBytes **onnx, PipelineLabels **labels, GError **error);
/* Writes "LABEL" (0 or 1, at probability .5) and "probability_LABEL" for each label; report. */
json_t *command_labels_predict(GBytes *onnx, const PipelineLabels *labels, const gchar *data, const gchar *output,
                               GError **error);
/* {"rows", "labels": [{"label", "rows", "positives", "accuracy", "auc", "average_precision", "log_loss"}], "mean"}. */
json_t *command_labels_evaluate(GBytes *onnx, const PipelineLabels *labels, const gchar *data, const gchar *wanted,
                                GError **error);
void command_labels_print(json_t *report);

G_END_DECLS
