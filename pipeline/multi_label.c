#include "pipeline/multi_label.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/evaluate_metrics.h"
#include "pipeline/model_arrays.h"

void pipeline_labels_free(PipelineLabels *labels)
{
  if (labels == NULL) return;
  g_strfreev(labels->labels);
  g_strfreev(labels->inputs);
  g_free(labels);
}

/* --- metadata ----------------------------------------------------------------------------------------------------- */

gchar *pipeline_labels_format(gchar *const *labels, const DriftSchema *schema)
{
  json_t *root = json_object(), *names = json_array(), *inputs = json_array();
  for (; *labels != NULL; labels++) json_array_append_new(names, json_string(*labels));
  for (guint f = 0; f < drift_schema_n_features(schema); f++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, f);
    if (feature->input) json_array_append_new(inputs, json_string(feature->name));
  }
  json_object_set_new(root, "labels", names);
  json_object_set_new(root, "inputs", inputs);
  char *text = json_dumps(root, JSON_COMPACT);
  gchar *copy = g_strdup(text);
  free(text);
  json_decref(root);
  return copy;
}

static gchar **read_names(const json_t *array, guint *n)
{
  gsize index;
  json_t *name;
  gchar **names = g_new0(gchar *, json_array_size(array) + 1);
  json_array_foreach (array, index, name) names[index] = g_strdup(json_is_string(name) ? json_string_value(name) : "");
  *n = (guint)json_array_size(array);
  return names;
}

PipelineLabels *pipeline_labels_read(GBytes *onnx, GError **error)
{
  g_autoptr(GError) cause = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, &cause);
  if (graph == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "%s", cause->message);
    return NULL;
  }
  const gchar *text = onnx_graph_get_metadata(graph, PIPELINE_LABELS_KEY);
  if (text == NULL) return NULL;
  json_t *root = json_loads(text, 0, NULL);
  g_autoptr(PipelineLabels) labels = g_new0(PipelineLabels, 1);
  labels->labels = read_names(json_object_get(root, "labels"), &labels->n_labels);
  labels->inputs = read_names(json_object_get(root, "inputs"), &labels->n_inputs);
  json_decref(root);
  if (labels->n_labels > 0 && labels->n_inputs > 0) return g_steal_pointer(&labels);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "the metadata \"%s\" does not name labels and inputs",
              PIPELINE_LABELS_KEY);
  return NULL;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

static const DriftColumn *find_numbers(const DriftTable *table, const gchar *name, GError **error)
{
  const DriftColumn *column = drift_table_get_column(table, name);
  if (column != NULL && column->kind == DRIFT_NUMERIC) return column;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "column \"%s\" is %s; numbers are needed", name,
              column == NULL ? "not in the data" : "text");
  return NULL;
}

/* A column of 0, 1 and missing values. */
static const DriftColumn *find_label(const DriftTable *table, const gchar *name, GError **error)
{
  const DriftColumn *column = find_numbers(table, name, error);
  for (guint64 i = 0; column != NULL && i < table->n_rows; i++) {
    double value = g_array_index(column->numbers, double, i);
    if (isnan(value) || value == 0 || value == 1) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "row %" G_GUINT64_FORMAT ", label \"%s\" is %g; each of several labels is 0 or 1", i + 1, name, value);
    return NULL;
  }
  return column;
}

static GPtrArray *find_labels(const DriftTable *table, gchar *const *labels, GError **error)
{
  g_autoptr(GPtrArray) columns = g_ptr_array_new();
  for (; *labels != NULL; labels++) {
    const DriftColumn *column = find_label(table, *labels, error);
    if (column == NULL) return NULL;
    gboolean seen[2] = {FALSE, FALSE};
    for (guint64 i = 0; i < table->n_rows; i++) {
      double value = g_array_index(column->numbers, double, i);
      if (!isnan(value)) seen[value == 1] = TRUE;
    }
    g_ptr_array_add(columns, (gpointer)column);
    if (seen[0] && seen[1]) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "label \"%s\" has only one value; there is nothing to learn", *labels);
    return NULL;
  }
  return g_steal_pointer(&columns);
}

/* Keeps the rows that have every label, in place, with their labels as targets. */
static gboolean keep_labelled(PipelineGraphRows *rows, const GPtrArray *columns, GError **error)
{
  guint64 n = 0;
  gsize width = rows->n_features;
  float *targets = g_new(float, rows->n_rows * columns->len + 1);
  for (guint64 i = 0; i < rows->n_rows; i++) {
    gboolean whole = TRUE;
    for (guint k = 0; k < columns->len; k++) {
      const DriftColumn *column = g_ptr_array_index(columns, k);
      double value = g_array_index(column->numbers, double, rows->numbers[i]);
      whole = whole && !isnan(value);
      targets[n * columns->len + k] = (float)value;
    }
    if (!whole) continue;
    memmove(rows->x + n * width, rows->x + i * width, width * sizeof(float));
    rows->numbers[n++] = rows->numbers[i];
  }
  g_free(rows->targets);
  rows->targets = targets;
  rows->n_skipped += rows->n_rows - n;
  rows->n_rows = n;
  if (n > 0) return TRUE;
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "no row has every label");
  return FALSE;
}

PipelineGraphRows *pipeline_labels_rows(const DriftTable *table, const DriftSchema *schema, gchar *const *labels,
                                        GError **error)
{
  g_autoptr(GPtrArray) columns = find_labels(table, labels, error);
  g_autoptr(PipelineGraphRows) rows = columns != NULL ? pipeline_graph_rows_from_table(table, schema, error) : NULL;
  if (rows == NULL || !keep_labelled(rows, columns, error)) return NULL;
  rows->labels = g_strdupv((gchar **)labels);
  rows->n_labels = columns->len;
  return g_steal_pointer(&rows);
}

gboolean pipeline_labels_check(const PipelineGraphRows *rows, const PipelineGraphTrainOptions *o, GError **error)
{
  const gchar *what = rows->labels == NULL                                                ? NULL
                      : o->from != NULL                                                   ? "a model to start from"
                      : o->rehearsal != NULL                                              ? "rehearsed rows"
                      : o->interval != 0                                                  ? "an interval"
                      : o->calibration.method != NULL || o->calibration.threshold != NULL ? "a calibration or threshold"
                      : o->balanced                                                       ? "balanced class weights"
                      : o->fit.harden.method != NULL                                      ? "adversarial training"
                      : o->loss != NULL && strcmp(o->loss, "binary") != 0                 ? "another loss than binary"
                                                                                          : NULL;
  if (what == NULL) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "several labels do not go with %s: train on them with the loss binary, or on one label", what);
  return FALSE;
}

/* --- predicting and measuring ------------------------------------------------------------------------------------- */

GArray *pipeline_labels_predict(GBytes *onnx, const PipelineLabels *labels, const DriftTable *table, GError **error)
{
  g_autoptr(PipelineArray) x = g_new0(PipelineArray, 1);
  *x = (PipelineArray){.n_dimensions = 2,
                       .n_rows = table->n_rows,
                       .n_columns = labels->n_inputs,
                       .n_row_dims = 1,
                       .row_dims = {labels->n_inputs},
                       .values = g_new(double, table->n_rows * labels->n_inputs + 1)};
  for (guint k = 0; k < labels->n_inputs; k++) {
    const DriftColumn *column = find_numbers(table, labels->inputs[k], error);
    if (column == NULL) return NULL;
    for (guint64 i = 0; i < table->n_rows; i++)
      x->values[i * labels->n_inputs + k] = g_array_index(column->numbers, double, i);
  }
  const PipelineNamedArray input = {"features", x};
  g_autoptr(GPtrArray) outputs = pipeline_graph_run_arrays(onnx, &input, 1, error);
  const PipelineModelArray *found = outputs != NULL ? pipeline_model_array_find(outputs, "probabilities") : NULL;
  if (outputs == NULL) return NULL;
  if (found != NULL && found->type == ONNX_TYPE_FLOAT && found->elements->len == table->n_rows * labels->n_labels)
    return g_array_ref(found->elements);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "the model has no output 'probabilities' of %u labels",
              labels->n_labels);
  return NULL;
}

gboolean pipeline_labels_score(const PipelineLabels *labels, guint index, const DriftTable *table,
                               const GArray *probabilities, PipelineLabelScore *score, GError **error)
{
  const DriftColumn *column = find_label(table, labels->labels[index], error);
  if (column == NULL) return FALSE;
  g_autofree double *p = g_new(double, table->n_rows + 1), *of_truth = g_new(double, table->n_rows + 1);
  g_autofree guint8 *truth = g_new(guint8, table->n_rows + 1);
  guint64 n = 0, right = 0, positive = 0;
  for (guint64 i = 0; i < table->n_rows; i++) {
    double value = g_array_index(column->numbers, double, i);
    if (isnan(value)) continue;
    truth[n] = value == 1;
    p[n] = (double)g_array_index(probabilities, float, i * labels->n_labels + index);
    of_truth[n] = truth[n] ? p[n] : 1 - p[n];
    right += (p[n] > 0.5) == truth[n];
    positive += truth[n++];
  }
  *score = (PipelineLabelScore){.n = n,
                                .n_positive = positive,
                                .accuracy = n > 0 ? (double)right / (double)n : NAN,
                                .auc = pipeline_metric_auc(p, truth, n),
                                .average_precision = pipeline_metric_average_precision(p, truth, n),
                                .log_loss = n > 0 ? pipeline_metric_log_loss(of_truth, n) : NAN};
  return TRUE;
}
