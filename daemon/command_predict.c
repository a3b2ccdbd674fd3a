/* `kedge predict`. */
#include <stdio.h>

#include "daemon/command_data.h"
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

static DriftTable *predict_rows(const CommandModel *loaded, const DriftTable *rows, GError **error)
{
  g_autoptr(PipelineModel) model = pipeline_model_load(loaded->onnx, loaded->schema, NULL, error);
  if (!model) return NULL;
  gsize n_outputs = pipeline_model_get_n_outputs(model);
  g_autofree float *outputs = g_try_malloc_n(MAX(1, rows->n_rows), n_outputs * sizeof *outputs);
  if (!outputs) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "no memory for %" G_GUINT64_FORMAT " predictions",
                rows->n_rows);
    return NULL;
  }
  if (!pipeline_model_predict_table(model, rows, outputs, error)) return NULL;
  return tabulate(model, outputs, rows->n_rows);
}

static json_t *predict(const CommandCommon *common, char **argv, const gchar *label, const gchar *output,
                       GError **error)
{
  CommandModel loaded = {0};
  json_t *report = NULL;
  g_autoptr(DriftTable) rows = command_read_table(argv[2], error), predictions = NULL;
  if (rows && command_load_model(common, argv[1], rows, label, &loaded, error)) {
    predictions = predict_rows(&loaded, rows, error);
    if (predictions && pipeline_csv_write(output, predictions, error))
      report = json_pack("{s:s, s:I}", "output", output, "rows", (json_int_t)rows->n_rows);
  }
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
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "CSV to write (default: standard output)", "OUT.csv"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &label,
       "for a file without a kedge schema: the label column of DATA, from which its classes are inferred", "L"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_predict, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  if (argc != 3) return command_usage(&common, "one MODEL and one DATA file are needed");
  if (common.json && (!output || g_str_equal(output, "-")))
    return command_usage(&common, "--json needs -o OUT.csv: standard output would hold both");
  if (output && (g_str_has_suffix(output, ".npy") || g_str_has_suffix(output, ".npz")))
    return command_usage(&common, "only CSV files are written so far");
  g_autoptr(GError) error = NULL;
  json_t *report = predict(&common, argv, label, output ? output : "-", &error);
  return command_report(&common, report, error, print_nothing);
}

const Command command_predict = {
    .name = "predict",
    .arguments = "MODEL DATA [-o OUT.csv]",
    .summary = "predict the rows of a CSV file",
    .help = "MODEL is NAME@ALIAS, NAME/VERSION or a file M.onnx. Writes one row a row: \"prediction\" and, for "
            "classifiers,\n"
            "\"probability_CLASS\" for each class in the schema's order.",
    .run = run_predict,
};
