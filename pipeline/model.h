/* A loaded ONNX model that predicts rows of a schema. The only way in which other modules run a model.
 *
 * Inputs (also of what we export): one float tensor [N, F] of all inputs in schema order when every input is numeric;
 * else one tensor per input feature by name: float [N, 1] or string [N, 1]. Imported models are matched by input name
 * (exactly, then with every character but letters, digits and _ read as _), then by position: number tensors take the
 * numeric features that are left in schema order, string tensors the categorical ones, an only tensor all of them.
 * Float32, float64, int32, int64 and string tensors of 1 or 2 dimensions are fed, and of more (images) where the graph
 * gives every size behind the rows: features in schema order are their elements in row-major order.
 *
 * Values: a missing number is NaN; so is a text that is no number in a numeric feature. A missing text is "". A number
 * in a string tensor is written as drift_value_to_text does. What has no answer is refused (DATA, naming row and
 * feature): a missing or fractional number for an integer tensor, a text that is no number of a categorical feature
 * that the model takes as a number.
 *
 * Outputs: "label" [N] int64 or string and "probabilities" [N, C] float for classifiers; [N, 1] for regression. In
 * imported models the probabilities are the float output [N, C] whose name says "prob", else one that does not say
 * "logit", else [N] or [N, 1] of a binary task (the positive class; the other is 1 - p). ZipMap is seen through. Logits
 * become probabilities by softmax (one column: sigmoid) when the output's name contains "logit" or its last operator
 * is Gemm, MatMul or one of them plus a constant; LogSoftmax by exp. Any other value outside of [0, 1] is refused.
 * Columns are classes in the order of the model's own labels (ZipMap, classifier operators, the list its label output
 * is looked up in), mapped to the schema's classes by name; labels 0 … C-1 that name no class are positions; without
 * labels the columns are in schema order. Dropout and BatchNormalization always run in inference mode.
 */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

typedef struct _PipelineModel PipelineModel;

/* backend: a name of pipeline/backend.h, or NULL: the best whose batches give the same bits as single rows. Errors
 * (MODEL, UNSUPPORTED) name node, operator (all unknown ones at once), input or output. A model whose rows influence
 * each other is refused. One thread at a time per model. */
PipelineModel *pipeline_model_load(GBytes *onnx, const DriftSchema *schema, const gchar *backend, GError **error);
/* The schema of a model that carries none, from what the graph says and the table has. Classes: the model's own labels
 * where the label's values are among them (a few rows need not show every class), else those of the table; labels 0 …
 * C - 1 of a graph of C columns; a regression where the graph has one column and the label more than two classes, or
 * where that column is a regressor operator's. label NULL: the table has none, and the graph alone decides. Columns
 * that a graph with an input a column does not name are kept from the model. Errors say what the table lacks;
 * MODEL: a regression of several values a row. */
DriftSchema *pipeline_model_infer_schema(GBytes *onnx, const DriftTable *table, const gchar *label, GError **error);
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
/* The level of a regression's prediction interval (pipeline/interval.h): the graph has outputs "lower" and "upper".
 * NaN: none. */
double pipeline_model_get_interval(const PipelineModel *model);
/* The class that `outputs` [n_outputs] of one row decide: the largest, the first of equal ones; in a graph with a
 * decision threshold (pipeline/calibration.h) the positive class when its probability reaches that, as the graph's
 * label output says. Any other label output is not consulted. Meaningless (0) when an output is NaN: a model that does
 * not impute gets NaN for missing. */
guint pipeline_model_decide(const PipelineModel *model, const float *outputs);

G_END_DECLS
