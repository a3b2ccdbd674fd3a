/* `kedge predict`. */
#include <math.h>

#include "daemon/command_labels.h"
#include "daemon/command_predict_internal.h"
#include "onnx/file.h"
#include "pipeline/csv.h"
#include "pipeline/model.h"

extern const Command command_predict;

/* Columns "prediction" and, for classifiers, "probability_CLASS". */
static DriftTable *tabulate(const PipelineModel *model, const float *outputs, guint64 n_rows)
{
  const DriftSchema *schema = pipeline_model_get_schema(model);
  guint n_outputs = pipeline_model_get_n_outputs(model);
  gboolean regression = schema->task == DRIFT_TASK_REGRESSION;
  DriftTable *table = drift_table_new();
  DriftColumn *prediction = drift_table_add_column(table, "prediction", regression ? DRIFT_NUMERIC : DRIFT_CATEGORICAL);
  for (guint64 row = 0; row < n_rows; row++) {
    const float *of_row = outputs + row * n_outputs;
    if (regression)
      drift_column_append_number(prediction, of_row[0]);
    else
      drift_column_append_text(prediction, g_ptr_array_index(schema->classes, pipeline_model_decide(model, of_row)),
                               -1);
  }
  for (guint k = 0; k < n_outputs && !regression; k++) {
    g_autofree gchar *name = g_strdup_printf("probability_%s", (gchar *)g_ptr_array_index(schema->classes, k));
    DriftColumn *probability = drift_table_add_column(table, name, DRIFT_NUMERIC);
    for (guint64 row = 0; row < n_rows; row++) drift_column_append_number(probability, outputs[row * n_outputs + k]);
  }
  table->n_rows = n_rows;
  return table;
}

/* "lower" and "upper" of a regression with an interval, behind the prediction. */
static gboolean add_interval(PipelineModel *model, const DriftTable *rows, DriftTable *table, GError **error)
{
  static const gchar *const names[] = {"lower", "upper"};
  if (isnan(pipeline_model_get_interval(model))) return TRUE;
  g_autoptr(GPtrArray) outputs = pipeline_model_run_table(model, rows, error);
  if (!outputs) return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    const PipelineModelArray *array = pipeline_model_array_find(outputs, names[i]);
    DriftColumn *column = drift_table_add_column(table, names[i], DRIFT_NUMERIC);
    for (guint64 row = 0; row < rows->n_rows; row++)
      drift_column_append_number(column, (double)g_array_index(array->elements, float, row));
  }
  return TRUE;
}

static float *predict_rows(PipelineModel *model, const DriftTable *rows, GError **error)
{
  gsize n_outputs = pipeline_model_get_n_outputs(model);
  g_autofree float *outputs = g_try_malloc_n(MAX(1, rows->n_rows), n_outputs * sizeof *outputs);
  if (!outputs) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "no memory for %" G_GUINT64_FORMAT " predictions",
                rows->n_rows);
    return NULL;
  }
  return pipeline_model_predict_table(model, rows, outputs, error) ? g_steal_pointer(&outputs) : NULL;
}

static gboolean write_csv(PipelineModel *model, const DriftTable *rows, const gchar *output, GError **error)
{
  g_autofree float *outputs = predict_rows(model, rows, error);
  g_autoptr(DriftTable) predictions = outputs ? tabulate(model, outputs, rows->n_rows) : NULL;
  return predictions && add_interval(model, rows, predictions, error) && pipeline_csv_write(output, predictions, error);
}

/* The probabilities in the schema's order [N, classes], or the values [N]. */
static gboolean write_npy(PipelineModel *model, const DriftTable *rows, const gchar *output, GError **error)
{
  g_autofree float *outputs = predict_rows(model, rows, error);
  guint width = pipeline_model_get_n_outputs(model);
  gboolean regression = pipeline_model_get_schema(model)->task == DRIFT_TASK_REGRESSION;
  if (!outputs) return FALSE;
  g_autoptr(GArray) elements = g_array_new(FALSE, FALSE, sizeof(float));
  g_array_append_vals(elements, outputs, (guint)(rows->n_rows * width));
  const PipelineModelArray array = {.type = ONNX_TYPE_FLOAT,
                                    .name = (gchar *)"predictions",
                                    .n_dims = regression ? 1 : 2,
                                    .dims = {rows->n_rows, width},
                                    .elements = elements};
  return command_predict_write_npy(output, &array, error);
}

static gboolean write_npz(PipelineModel *model, const DriftTable *rows, const gchar *output, GError **error)
{
  g_autoptr(GPtrArray) arrays = pipeline_model_run_table(model, rows, error);
  return arrays && command_predict_write_npz(output, arrays, error);
}

static gboolean write_rows(const CommandModel *loaded, const DriftTable *rows, const gchar *output, GError **error)
{
  g_autoptr(PipelineModel) model = pipeline_model_load(loaded->onnx, loaded->schema, NULL, error);
  return model && (g_str_has_suffix(output, ".npz")   ? write_npz(model, rows, output, error)
                   : g_str_has_suffix(output, ".npy") ? write_npy(model, rows, output, error)
                                                      : write_csv(model, rows, output, error));
}

/* --- arrays as they are, for a model without a schema --------------------------------------------------------------
 */

static gboolean write_arrays(const GPtrArray *arrays, const gchar *output, GError **error)
{
  if (g_str_has_suffix(output, ".npz")) return command_predict_write_npz(output, arrays, error);
  if (!g_str_has_suffix(output, ".npy")) return command_predict_write_csv(output, arrays, error);
  if (arrays->len == 1) return command_predict_write_npy(output, g_ptr_array_index(arrays, 0), error);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "the model has %u outputs and a .npy file holds one array: write an .npz", arrays->len);
  return FALSE;
}

/* The arrays of the file by name; of an .npy the one is "x". */
static GPtrArray *read_arrays(const gchar *path, PipelineNpz **npz, GArray *named, GError **error)
{
  g_autoptr(GPtrArray) arrays = g_ptr_array_new_with_free_func((GDestroyNotify)pipeline_array_free);
  *npz = g_str_has_suffix(path, ".npz") ? pipeline_npz_open(path, error) : NULL;
  if (!*npz && g_str_has_suffix(path, ".npz")) return NULL;
  for (guint i = 0; i < (*npz ? pipeline_npz_get_n_arrays(*npz) : 1); i++) {
    const gchar *name = *npz ? pipeline_npz_get_name(*npz, i) : "x";
    PipelineArray *array = *npz ? pipeline_npz_read(*npz, name, error) : pipeline_npy_read_rows(path, error);
    if (!array) return NULL;
    g_ptr_array_add(arrays, array);
    const PipelineNamedArray item = {name, array};
    g_array_append_val(named, item);
  }
  return g_steal_pointer(&arrays);
}

static json_t *predict_arrays(gchar **argv, const gchar *output, GError **error)
{
  g_autoptr(PipelineNpz) npz = NULL;
  g_autoptr(GArray) named = g_array_new(FALSE, FALSE, sizeof(PipelineNamedArray));
  g_autoptr(GBytes) onnx = onnx_file_read(argv[1], NULL, error);
  g_autoptr(GPtrArray) arrays = onnx ? read_arrays(argv[2], &npz, named, error) : NULL;
  if (!arrays) return NULL;
  g_autoptr(GPtrArray) outputs =
      pipeline_graph_run_arrays(onnx, (const PipelineNamedArray *)(gpointer)named->data, named->len, error);
  if (!outputs || !write_arrays(outputs, output, error)) return NULL;
  const PipelineModelArray *first = g_ptr_array_index(outputs, 0);
  return json_pack("{s:s, s:I}", "output", output, "rows", (json_int_t)first->dims[0]);
}

/* Arrays for a file that does not say what its inputs are. */
static gboolean takes_arrays(gchar **argv, const gchar *label, GError **error)
{
  gboolean arrays = g_str_has_suffix(argv[2], ".npz") || g_str_has_suffix(argv[2], ".npy");
  if (!arrays || label || !g_str_has_suffix(argv[1], ".onnx")) return FALSE;
  return !command_has_schema(argv[1], error) && *error == NULL;
}

static json_t *predict(const CommandCommon *common, char **argv, const gchar *label, const gchar *output,
                       GError **error)
{
  CommandModel loaded = {0};
  json_t *report = NULL;
  GError *fault = NULL;
  g_autoptr(GBytes) onnx = NULL;
  g_autoptr(PipelineLabels) labels = NULL;
  if (!command_labels_load(argv[1], &onnx, &labels, error)) return NULL;
  if (labels) return command_labels_predict(onnx, labels, argv[2], output, error);
  if (takes_arrays(argv, label, &fault)) return predict_arrays(argv, output, error);
  if (fault) {
    g_propagate_error(error, fault);
    return NULL;
  }
  g_autoptr(DriftTable) rows = command_read_rows(common, argv[1], argv[2], error);
  if (rows && command_load_model(common, argv[1], rows, label, &loaded, error) &&
      write_rows(&loaded, rows, output, error))
    report = json_pack("{s:s, s:I}", "output", output, "rows", (json_int_t)rows->n_rows);
  command_model_clear(&loaded);
  return report;
}

static void print_nothing(json_t *report)
{
  (void)report;
}

static int run_predict(int argc, char **argv)
{
  g_autofree gchar *label = NULL, *output = NULL;
  const GOptionEntry entries[] = {
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "CSV (default: to standard output), .npy or .npz to write",
       "OUT.csv"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &label,
       "for a file without a kedge schema: the label column, where DATA has one: it is no feature", "L"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_predict, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  if (argc != 3) return command_usage(&common, "one MODEL and one DATA file are needed");
  if (common.json && (!output || g_str_equal(output, "-")))
    return command_usage(&common, "--json needs -o OUT.csv: standard output would hold both");
  g_autoptr(GError) error = NULL;
  json_t *report = predict(&common, argv, label, output ? output : "-", &error);
  return command_report(&common, report, error, print_nothing);
}

const Command command_predict = {
    .name = "predict",
    .arguments = "MODEL DATA [-o OUT.csv|OUT.npy|OUT.npz]",
    .summary = "predict the rows of a CSV file or of arrays",
    .help =
        "MODEL is NAME@ALIAS, NAME/VERSION or a file M.onnx; DATA a CSV with a header (\"-\": standard input), JSON\n"
        "lines, a .npy or an .npz. Writes one row a row: \"prediction\" and, for classifiers, \"probability_CLASS\" "
        "for\n"
        "each class in the schema's order; for a regression with an interval \"lower\" and \"upper\"; for several "
        "labels\n"
        "(kedge train --label A,B) each label, 0 or 1, and \"probability_LABEL\". OUT.npy holds "
        "the\n"
        "probabilities, or the values; OUT.npz every output of the graph by name. Dates of a CSV (a column that "
        "begins\n"
        "with one) are seconds since 1970.\n"
        "\n"
        "Arrays: of an .npz a flat one is a column, the elements of the rows of a larger one are the columns x[0],\n"
        "x[1], … (of several: NAME[0], …). For a file without a kedge schema they go to the graph's inputs of the\n"
        "same names, whatever their dimensions, and all outputs are written.\n"
        "\n"
        "A file without a kedge schema: its classes are the labels that the graph names, else 0, 1, … of its columns;\n"
        "columns of DATA that a graph with an input a column does not name are left out. Where one input takes all\n"
        "columns, --label names the one that is not among them.",
    .run = run_predict,
};
