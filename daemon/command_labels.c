#include "daemon/command_labels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command_predict_internal.h"
#include "onnx/file.h"
#include "pipeline/csv.h"

gboolean command_labels_are_several(const gchar *label)
{
  return label != NULL && strchr(label, ',') != NULL;
}

PipelineGraphRows *command_labels_rows(const DriftTable *table, const gchar *labels, const gchar *sensitive,
                                       const gchar *excluded, GError **error)
{
  g_auto(GStrv) names = command_split_names(labels);
  g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
  g_autoptr(GString) hidden = g_string_new(excluded);
  for (guint i = 0; names[i] != NULL; i++) {
    if (drift_table_get_column(table, names[i]) == NULL) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "label column \"%s\" is not in the data", names[i]);
      return NULL;
    }
    if (!g_hash_table_add(seen, names[i])) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "--label names \"%s\" twice", names[i]);
      return NULL;
    }
    if (i > 0) g_string_append_printf(hidden, "%s%s", hidden->len > 0 ? "," : "", names[i]);
  }
  g_autoptr(DriftSchema) schema = command_infer_schema(table, names[0], sensitive, hidden->str, NULL, error);
  return schema != NULL ? pipeline_labels_rows(table, schema, names, error) : NULL;
}

gboolean command_labels_load(const gchar *reference, GBytes **onnx, PipelineLabels **labels, GError **error)
{
  g_autoptr(GError) cause = NULL;
  *onnx = NULL, *labels = NULL;
  if (!g_str_has_suffix(reference, ".onnx")) return TRUE;
  if ((*onnx = onnx_file_read(reference, NULL, error)) == NULL) return FALSE;
  *labels = pipeline_labels_read(*onnx, &cause);
  if (cause == NULL) return TRUE;
  g_propagate_prefixed_error(error, g_steal_pointer(&cause), "%s: ", reference);
  g_clear_pointer(onnx, g_bytes_unref);
  return FALSE;
}

/* --- predict ------------------------------------------------------------------------------------------------------ */

static DriftTable *tabulate(const PipelineLabels *labels, const GArray *probabilities, guint64 n_rows)
{
  DriftTable *table = drift_table_new();
  for (guint part = 0; part < 2; part++) /* decisions, then probabilities */
    for (guint k = 0; k < labels->n_labels; k++) {
      g_autofree gchar *name = g_strconcat(part == 0 ? "" : "probability_", labels->labels[k], NULL);
      DriftColumn *column = drift_table_add_column(table, name, DRIFT_NUMERIC);
      for (guint64 i = 0; i < n_rows; i++) {
        double p = (double)g_array_index(probabilities, float, i * labels->n_labels + k);
        drift_column_append_number(column, part == 0 ? p > 0.5 : p);
      }
    }
  table->n_rows = n_rows;
  return table;
}

static gboolean write_arrays(const PipelineLabels *labels, GArray *probabilities, guint64 n_rows, const gchar *output,
                             GError **error)
{
  PipelineModelArray array = {.type = ONNX_TYPE_FLOAT,
                              .name = (gchar *)"probabilities",
                              .n_dims = 2,
                              .dims = {n_rows, labels->n_labels},
                              .elements = probabilities};
  g_autoptr(GPtrArray) arrays = g_ptr_array_new();
  g_ptr_array_add(arrays, &array);
  return g_str_has_suffix(output, ".npz") ? command_predict_write_npz(output, arrays, error)
                                          : command_predict_write_npy(output, &array, error);
}

json_t *command_labels_predict(GBytes *onnx, const PipelineLabels *labels, const gchar *data, const gchar *output,
                               GError **error)
{
  gboolean arrays = g_str_has_suffix(output, ".npz") || g_str_has_suffix(output, ".npy");
  g_autoptr(DriftTable) table = command_read_table(data, error);
  g_autoptr(GArray) probabilities = table != NULL ? pipeline_labels_predict(onnx, labels, table, error) : NULL;
  if (probabilities == NULL) return NULL;
  g_autoptr(DriftTable) predictions = tabulate(labels, probabilities, table->n_rows);
  if (arrays ? !write_arrays(labels, probabilities, table->n_rows, output, error)
             : !pipeline_csv_write(output, predictions, error))
    return NULL;
  return json_pack("{s:s, s:I}", "output", output, "rows", (json_int_t)table->n_rows);
}

/* --- evaluate ----------------------------------------------------------------------------------------------------- */

static const gchar *const metrics[] = {"accuracy", "auc", "average_precision", "log_loss"};

static json_t *describe_score(const gchar *label, const PipelineLabelScore *score)
{
  const double values[] = {score->accuracy, score->auc, score->average_precision, score->log_loss};
  json_t *one = json_pack("{s:s, s:I, s:I}", "label", label, "rows", (json_int_t)score->n, "positives",
                          (json_int_t)score->n_positive);
  for (guint m = 0; m < G_N_ELEMENTS(metrics); m++)
    json_object_set_new(one, metrics[m], isfinite(values[m]) ? json_real(values[m]) : json_null());
  return one;
}

/* Over labels; undefined where it is for one of them. */
static json_t *describe_means(const json_t *all)
{
  json_t *means = json_object();
  for (guint m = 0; m < G_N_ELEMENTS(metrics); m++) {
    double sum = 0;
    for (gsize i = 0; i < json_array_size(all); i++) {
      const json_t *value = json_object_get(json_array_get(all, i), metrics[m]);
      sum += json_is_real(value) ? json_real_value(value) : NAN;
    }
    sum /= (double)json_array_size(all);
    json_object_set_new(means, metrics[m], isfinite(sum) ? json_real(sum) : json_null());
  }
  return means;
}

static gboolean add_score(const PipelineLabels *labels, const gchar *wanted, const DriftTable *table,
                          const GArray *probabilities, json_t *all, GError **error)
{
  PipelineLabelScore score;
  for (guint k = 0; k < labels->n_labels; k++) {
    if (!g_str_equal(labels->labels[k], wanted)) continue;
    if (!pipeline_labels_score(labels, k, table, probabilities, &score, error)) return FALSE;
    json_array_append_new(all, describe_score(wanted, &score));
    return TRUE;
  }
  g_autofree gchar *known = g_strjoinv(",", labels->labels);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "--label %s: the model predicts %s", wanted, known);
  return FALSE;
}

json_t *command_labels_evaluate(GBytes *onnx, const PipelineLabels *labels, const gchar *data, const gchar *wanted,
                                GError **error)
{
  g_auto(GStrv) names = command_split_names(wanted);
  g_autoptr(DriftTable) table = command_read_table(data, error);
  g_autoptr(GArray) probabilities = table != NULL ? pipeline_labels_predict(onnx, labels, table, error) : NULL;
  if (probabilities == NULL) return NULL;
  json_t *all = json_array();
  for (guint i = 0; names[i] != NULL; i++) {
    if (add_score(labels, names[i], table, probabilities, all, error)) continue;
    json_decref(all);
    return NULL;
  }
  json_t *means = describe_means(all);
  return json_pack("{s:I, s:o, s:o}", "rows", (json_int_t)table->n_rows, "labels", all, "mean", means);
}

static void print_line(const gchar *name, const json_t *values)
{
  printf("%-20s", name);
  for (guint m = 0; m < G_N_ELEMENTS(metrics); m++) {
    g_autofree gchar *text = command_text_real(json_object_get(values, metrics[m]), 4);
    printf("  %s %s", metrics[m], text);
  }
}

void command_labels_print(json_t *report)
{
  const json_t *all = json_object_get(report, "labels");
  for (gsize i = 0; i < json_array_size(all); i++) {
    const json_t *one = json_array_get(all, i);
    print_line(json_string_value(json_object_get(one, "label")), one);
    printf("  (%" JSON_INTEGER_FORMAT " rows, %" JSON_INTEGER_FORMAT " of them 1)\n",
           json_integer_value(json_object_get(one, "rows")), json_integer_value(json_object_get(one, "positives")));
  }
  print_line("mean of labels", json_object_get(report, "mean"));
  printf("\n");
}
