/* `kedge evaluate`. */
#include "daemon/command_evaluate_internal.h"
#include "daemon/command_labels.h"
#include "pipeline/model.h"

extern const Command command_evaluate;

typedef struct {
  gchar *data, *label, *sensitive, *html;
  double robust_epsilon;
  gint robust_steps;
  gint64 seed;
} EvaluateArguments;

/* Marks further features of the schema as sensitive. */
static gboolean mark_sensitive(DriftSchema *schema, const gchar *names, GError **error)
{
  g_auto(GStrv) list = command_split_names(names);
  for (guint i = 0; list[i]; i++) {
    gint index = drift_schema_find_feature(schema, list[i]);
    if (index < 0) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                  "--sensitive %s: the model's schema has no such feature", list[i]);
      return FALSE;
    }
    ((DriftFeature *)g_ptr_array_index(schema->features, index))->sensitive = TRUE;
  }
  return TRUE;
}

static json_t *measure(const EvaluateArguments *arguments, const CommandModel *loaded, const DriftTable *table,
                       GError **error)
{
  PipelineEvaluation evaluation = {0};
  PipelineEvaluationDetail detail = {0};
  json_t *report = NULL;
  if (g_strcmp0(loaded->schema->label, arguments->label) != 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "--label %s: the model predicts \"%s\"",
                arguments->label, loaded->schema->label);
    return NULL;
  }
  g_autoptr(PipelineModel) model = pipeline_model_load(loaded->onnx, loaded->schema, NULL, error);
  if (model && pipeline_evaluate(model, table, &evaluation, error) &&
      pipeline_evaluate_detail(model, table, &detail, error) &&
      pipeline_evaluate_latency(model, table, &evaluation, error) &&
      (arguments->robust_epsilon == 0 ||
       pipeline_evaluate_robustness(model, table, arguments->robust_epsilon, (guint)arguments->robust_steps,
                                    (guint64)arguments->seed, &evaluation, error)))
    report = command_evaluate_describe(&evaluation, &detail, loaded->schema);
  pipeline_evaluation_detail_clear(&detail);
  pipeline_evaluation_clear(&evaluation);
  return report;
}

/* Models of several labels have figures of each and their means alone. */
static json_t *evaluate_labels(const EvaluateArguments *arguments, GBytes *onnx, const PipelineLabels *labels,
                               GError **error)
{
  if (!arguments->sensitive && !arguments->html && arguments->robust_epsilon == 0)
    return command_labels_evaluate(onnx, labels, arguments->data, arguments->label, error);
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                      "--sensitive, --html and --robust-epsilon are for models of one label");
  return NULL;
}

static void print_evaluation(json_t *report)
{
  if (json_object_get(report, "labels"))
    command_labels_print(report);
  else
    command_evaluate_print(report);
}

static json_t *evaluate(const CommandCommon *common, const EvaluateArguments *arguments, const gchar *reference,
                        GError **error)
{
  CommandModel loaded = {0};
  json_t *report = NULL;
  g_autoptr(GBytes) onnx = NULL;
  g_autoptr(PipelineLabels) labels = NULL;
  if (!command_labels_load(reference, &onnx, &labels, error)) return NULL;
  if (labels) return evaluate_labels(arguments, onnx, labels, error);
  g_autoptr(DriftTable) table = command_read_rows(common, reference, arguments->data, error);
  if (table && command_load_model(common, reference, table, arguments->label, &loaded, error) &&
      mark_sensitive(loaded.schema, arguments->sensitive, error))
    report = measure(arguments, &loaded, table, error);
  if (report && arguments->html && !command_evaluate_write_html(report, arguments->html, error)) {
    json_decref(report);
    report = NULL;
  }
  command_model_clear(&loaded);
  return report;
}

static int run_evaluate(int argc, char **argv)
{
  EvaluateArguments a = {.robust_steps = 20, .seed = 1};
  const GOptionEntry entries[] = {
      {"data", 0, 0, G_OPTION_ARG_FILENAME, &a.data,
       "CSV with a header (\"-\": standard input), JSON lines, .npy or .npz", "D.csv"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &a.label, "the column with the truth; of a model of several labels A,B",
       "L"},
      {"sensitive", 0, 0, G_OPTION_ARG_STRING, &a.sensitive, "features whose groups are compared", "A,B"},
      {"robust-epsilon", 0, 0, G_OPTION_ARG_DOUBLE, &a.robust_epsilon,
       "also the accuracy under PGD within this many standard deviations; 0: off", "E"},
      {"robust-steps", 0, 0, G_OPTION_ARG_INT, &a.robust_steps, "of PGD (default 20)", "N"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &a.seed, "of PGD's start (default 1)", "S"},
      {"html", 0, 0, G_OPTION_ARG_FILENAME, &a.html, "also write the report as a page", "F.html"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  int status = COMMAND_USAGE;
  if (command_parse(&command_evaluate, &argc, &argv, entries, &common)) {
    if (argc != 2 || !a.data || !a.label) {
      status = command_usage(&common, "one MODEL, --data and --label are needed");
    } else if (a.robust_epsilon < 0 || a.robust_steps < 1) {
      status = command_usage(&common, "--robust-epsilon cannot be negative, --robust-steps must be positive");
    } else {
      g_autoptr(GError) error = NULL;
      json_t *report = evaluate(&common, &a, argv[1], &error);
      status = command_report(&common, report, error, print_evaluation);
    }
  }
  g_free(a.data);
  g_free(a.label);
  g_free(a.sensitive);
  g_free(a.html);
  return status;
}

const Command command_evaluate = {
    .name = "evaluate",
    .arguments = "MODEL --data D.csv --label L [--sensitive A,B] [--robust-epsilon E] [--html F]",
    .summary = "measure a model on labelled rows",
    .help =
        "MODEL is NAME@ALIAS, NAME/VERSION or a file M.onnx. Figures that are undefined (for the task, or on these\n"
        "rows) are left out, null with --json. Classes are decided as the graph decides them (kedge train "
        "--threshold).\n"
        "\n"
        "Two classes: accuracy, balanced accuracy, AUC, average precision, precision, recall and F1 of the positive\n"
        "class. All classifiers: log-loss, Brier score, expected calibration error in 15 bins of equal width and of\n"
        "equal mass (two classes: of the positive class's probability; more: of the largest one); for each class "
        "rows,\n"
        "decided rows, precision, recall, F1, AUC and average precision against all others. Regressions: mean, median\n"
        "absolute and root mean squared error, mean absolute error relative to the label (mape, a share), R²;\n"
        "with an interval (kedge train --interval) its coverage, mean width and pinball losses.\n"
        "Also: the lowest selection rate of a group over the highest (disparate impact; groups of at least 30 rows),\n"
        "accuracy under attack, the time of one row.\n"
        "\n"
        "A model of several labels (kedge train --label A,B): for each label rows, accuracy at .5, AUC, average "
        "precision\n"
        "and log-loss, and their means; with --json {\"rows\", \"labels\" [{\"label\", \"rows\", "
        "\"positives\", …}], \"mean\"}.\n"
        "\n"
        "--json adds \"ece_bins\", \"reliability\" and \"reliability_equal_mass\" [{\"rows\", \"low\", \"high\", "
        "\"confidence\",\n"
        "\"share\"}], \"classes\" [{\"class\", \"rows\", \"decided\", \"right\", \"precision\", \"recall\", "
        "\"f1\", \"auc\",\n"
        "\"average_precision\"}] and \"confusion\" (rows of class, decided as column; up to 50 classes).",
    .run = run_evaluate,
};
