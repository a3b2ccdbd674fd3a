/* A loaded ONNX model that predicts rows of a schema. The only way in which other modules run a model.
 *
 * Input convention (also of what we export): one float tensor [N, F] of all inputs in schema order when every input
 * is numeric; else one tensor per input feature by name: float [N, 1] or string [N, 1]. Output convention: "label"
 * [N] int64 or string and "probabilities" [N, C] float for classifiers (other names are found by role); [N, 1] for
 * regression. Imported models of other shapes are matched by input name, then by position.
 */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

typedef struct _PipelineModel PipelineModel;

/* backend: "reference", "onednn" or NULL (the best that supports every operator). */
PipelineModel *pipeline_model_load(GBytes *onnx, const DriftSchema *schema, const gchar *backend, GError **error);
void pipeline_model_free(PipelineModel *model);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineModel, pipeline_model_free)
const DriftSchema *pipeline_model_get_schema(const PipelineModel *model);
guint pipeline_model_get_n_outputs(const PipelineModel *model); /* classes, or 1 */
GBytes *pipeline_model_get_onnx(const PipelineModel *model);    /* what it was loaded from; borrowed */
/* features [n_rows * n_features] in schema order (not only inputs); outputs [n_rows * n_outputs]: probabilities or
 * the value. Rows are independent: a batch gives the same bits as row by row. */
gboolean pipeline_model_predict(PipelineModel *model, const DriftValue *features, guint n_rows, float *outputs,
                                GError **error);
gboolean pipeline_model_predict_table(PipelineModel *model, const DriftTable *table, float *outputs, GError **error);
/* The class that `outputs` [n_outputs] of one row decide (argmax; the graph's own label output where it differs). */
guint pipeline_model_decide(const PipelineModel *model, const float *outputs);

G_END_DECLS
