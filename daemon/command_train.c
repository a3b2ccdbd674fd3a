/* `kedge train`. */
#include <math.h>
#include <stdio.h>

#include "daemon/command_store.h"
#include "daemon/command_train_internal.h"
#include "onnx/graph.h"

extern const Command command_train;

static void arguments_init(TrainArguments *arguments)
{
  PipelineTrainOptions options;
  pipeline_train_options_init(&options);
  *arguments = (TrainArguments){.epochs = (gint)options.epochs,
                                .batch_size = (gint)options.batch_size,
                                .patience = (gint)options.patience,
                                .adversarial_steps = (gint)options.adversarial_steps,
                                .seed = (gint64)options.seed,
                                .learning_rate = NAN, /* each way of training has its own */
                                .weight_decay = NAN,
                                .checkpoint_seconds = options.checkpoint_seconds,
                                .validation = options.validation_fraction};
  pipeline_pseudo_options_init(&arguments->pseudo);
  arguments->pseudo_rounds = (gint)arguments->pseudo.rounds;
  command_train_graph_init(&arguments->graph);
}

static void arguments_clear(TrainArguments *arguments)
{
  gchar *texts[] = {arguments->data,       arguments->label,     arguments->from,    arguments->architecture,
                    arguments->backend,    arguments->sensitive, arguments->exclude, arguments->positive,
                    arguments->checkpoint, arguments->output,    arguments->reweigh, arguments->unlabelled};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
  command_train_graph_clear(&arguments->graph);
}

static const gchar *check_arguments(const TrainArguments *arguments, int argc)
{
  if (argc != 1) return "only options are taken";
  if (!arguments->data || !arguments->label || !arguments->output) return "--data, --label and -o are needed";
  if (arguments->from && arguments->architecture) return "--from and --arch exclude each other";
  if (arguments->reweigh && command_train_graph_is_asked(arguments))
    return "--reweigh works with dense models without the options of a graph (see --help)";
  if (arguments->unlabelled && command_train_graph_is_asked(arguments))
    return "--unlabelled works with dense models without the options of a graph (see --help)";
  if (arguments->pseudo_rounds < 1) return "--pseudo-rounds must be at least 1";
  if (arguments->graph.rehearse && !arguments->from)
    return "--rehearse goes with --from: the model that knows the old rows";
  if (arguments->epochs < 0 || arguments->batch_size < 0 || arguments->patience < 0 || arguments->adversarial_steps < 0)
    return "--epochs, --batch-size, --patience and --adversarial-steps cannot be negative";
  return NULL;
}

typedef struct {
  CommandProgress *bar;
  CommandTrainLog *log;
} Shown;

/* user_data: Shown. */
static gboolean show_progress(const PipelineTrainProgress *progress, gpointer user_data)
{
  Shown *shown = user_data;
  g_autofree gchar *validation =
      isnan(progress->validation_loss) ? g_strdup("") : g_strdup_printf("  validation %.4f", progress->validation_loss);
  g_autofree gchar *text = g_strdup_printf("epoch %u/%u  loss %.4f%s  %.0f rows/s", progress->epoch, progress->epochs,
                                           progress->loss, validation, progress->samples_per_second);
  command_progress_update(shown->bar, (double)progress->epoch / progress->epochs, text);
  return command_train_log_epoch(shown->log, progress);
}

static json_t *real_or_null(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

static json_t *describe_result(const TrainArguments *arguments, const PipelineTrainResult *result)
{
  json_t *report =
      json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "output", arguments->output, "rows_train",
                (json_int_t)result->n_train, "rows_validation", (json_int_t)result->n_validation, "rows_skipped",
                (json_int_t)result->n_skipped, "epochs", (json_int_t)result->epochs, "best_epoch",
                (json_int_t)result->best_epoch, "bytes", (json_int_t)g_bytes_get_size(result->onnx));
  json_object_set_new(report, "train_loss", real_or_null(result->train_loss));
  json_object_set_new(report, "validation_loss", real_or_null(result->validation_loss));
  json_object_set_new(report, "validation_metric", real_or_null(result->validation_metric));
  if (result->n_test > 0) {
    json_object_set_new(report, "rows_test", json_integer((json_int_t)result->n_test));
    json_object_set_new(report, "test_loss", real_or_null(result->test_loss));
    json_object_set_new(report, "test_metric", real_or_null(result->test_metric));
  }
  if (result->row_visits > 0) json_object_set_new(report, "row_visits", json_integer((json_int_t)result->row_visits));
  if (result->n_old > 0) {
    json_object_set_new(report, "rows_rehearsed", json_integer((json_int_t)result->n_old));
    json_object_set_new(report, "rows_old_validation", json_integer((json_int_t)result->n_old_validation));
    json_object_set_new(report, "old_validation_metric", real_or_null(result->old_validation_metric));
  }
  json_object_set_new(report, "seconds", real_or_null(result->seconds));
  json_object_set_new(report, "samples_per_second", real_or_null(result->samples_per_second));
  if (arguments->reweigh)
    json_object_set_new(report, "reweighing",
                        json_pack("{s:s, s:i, s:I, s:f, s:f}", "attributes", arguments->reweigh, "groups",
                                  (int)result->reweighing.n_groups, "rows_without_group",
                                  (json_int_t)result->reweighing.n_without_group, "smallest_weight",
                                  result->reweighing.smallest, "largest_weight", result->reweighing.largest));
  return report;
}

/* {"unlabelled", "confident", "taken", "rounds", "by_class": {CLASS: n}, "calibration_rows", "scale", …} */
static void describe_pseudo_labels(const PipelinePseudoLabels *labels, const DriftSchema *schema, json_t **report)
{
  json_t *by_class = json_object();
  for (guint c = 0; c < labels->n_classes; c++)
    json_object_set_new(by_class, g_ptr_array_index(schema->classes, c), json_integer((json_int_t)labels->taken[c]));
  *report = json_pack("{s:I, s:I, s:I, s:i, s:o, s:I, s:o, s:o}", "unlabelled", (json_int_t)labels->n_unlabelled,
                      "confident", (json_int_t)labels->n_confident, "taken", (json_int_t)labels->n_taken, "rounds",
                      (int)labels->rounds, "by_class", by_class, "calibration_rows", (json_int_t)labels->n_calibration,
                      "scale", real_or_null(labels->scale), "teacher_metric", real_or_null(labels->teacher_metric));
}

static void print_pseudo_labels(const json_t *labels)
{
  g_autofree gchar *unlabelled = command_text_count(json_object_get(labels, "unlabelled"));
  g_autofree gchar *confident = command_text_count(json_object_get(labels, "confident"));
  g_autofree gchar *taken = command_text_count(json_object_get(labels, "taken"));
  g_autofree gchar *calibration = command_text_count(json_object_get(labels, "calibration_rows"));
  g_autofree gchar *teacher = command_text_real(json_object_get(labels, "teacher_metric"), 4);
  g_autofree gchar *scale = command_text_real(json_object_get(labels, "scale"), 3);
  const char *name;
  json_t *count;
  printf("pseudo-labels: %s of %s unlabelled rows (%s were sure enough), round %" JSON_INTEGER_FORMAT
         "; logits times %s by %s validation rows; first teacher's accuracy on them %s\n",
         taken, unlabelled, confident, json_integer_value(json_object_get(labels, "rounds")), scale, calibration,
         teacher);
  json_object_foreach (json_object_get(labels, "by_class"), name, count) {
    g_autofree gchar *rows = command_text_count(count);
    printf("  %s: %s rows\n", name, rows);
  }
}

static void print_result(json_t *report)
{
  g_autofree gchar *train = command_text_count(json_object_get(report, "rows_train"));
  g_autofree gchar *validation = command_text_count(json_object_get(report, "rows_validation"));
  g_autofree gchar *loss = command_text_real(json_object_get(report, "validation_loss"), 4);
  g_autofree gchar *metric = command_text_real(json_object_get(report, "validation_metric"), 4);
  printf("%s: trained on %s rows in %.2f s; %s validation rows: loss %s, accuracy (or -rmse) %s, epoch "
         "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT "\n",
         json_string_value(json_object_get(report, "output")), train,
         json_real_value(json_object_get(report, "seconds")), validation, loss, metric,
         json_integer_value(json_object_get(report, "best_epoch")),
         json_integer_value(json_object_get(report, "epochs")));
  if (json_object_get(report, "test_metric")) {
    g_autofree gchar *test = command_text_count(json_object_get(report, "rows_test"));
    g_autofree gchar *reached = command_text_real(json_object_get(report, "test_metric"), 4);
    printf("%s test rows: accuracy (or -rmse) %s\n", test, reached);
  }
  if (json_object_get(report, "pseudo_labels")) print_pseudo_labels(json_object_get(report, "pseudo_labels"));
  if (json_object_get(report, "rows_rehearsed")) {
    g_autofree gchar *old = command_text_count(json_object_get(report, "rows_rehearsed"));
    g_autofree gchar *watched = command_text_count(json_object_get(report, "rows_old_validation"));
    g_autofree gchar *kept = command_text_real(json_object_get(report, "old_validation_metric"), 4);
    g_autofree gchar *visits = command_text_count(json_object_get(report, "row_visits"));
    printf("rehearsed %s old rows (%s row visits in all); %s old validation rows: accuracy (or -rmse) %s\n", old,
           visits, watched, kept);
  }
  json_int_t skipped = json_integer_value(json_object_get(report, "rows_skipped"));
  const json_t *reweighing = json_object_get(report, "reweighing");
  if (reweighing)
    printf("label and group made independent: %" JSON_INTEGER_FORMAT " groups of %s, weights %.3f to %.3f, "
           "%" JSON_INTEGER_FORMAT " rows without a group\n",
           json_integer_value(json_object_get(reweighing, "groups")),
           json_string_value(json_object_get(reweighing, "attributes")),
           json_real_value(json_object_get(reweighing, "smallest_weight")),
           json_real_value(json_object_get(reweighing, "largest_weight")),
           json_integer_value(json_object_get(reweighing, "rows_without_group")));
  if (skipped > 0) printf("%" JSON_INTEGER_FORMAT " rows had no usable label and were left out\n", skipped);
}

static void fill_options(const TrainArguments *arguments, GBytes *from, PipelineTrainOptions *options)
{
  pipeline_train_options_init(options);
  if (arguments->architecture) options->architecture = arguments->architecture;
  options->from = from;
  options->backend = arguments->backend;
  options->epochs = (guint)arguments->epochs;
  options->batch_size = (guint)arguments->batch_size;
  options->patience = (guint)arguments->patience;
  if (!isnan(arguments->learning_rate)) options->learning_rate = arguments->learning_rate;
  if (!isnan(arguments->weight_decay)) options->weight_decay = arguments->weight_decay;
  options->validation_fraction = arguments->validation;
  options->shuffle_split = arguments->shuffle;
  options->seed = (guint64)arguments->seed;
  options->adversarial_epsilon = arguments->adversarial_epsilon;
  options->adversarial_steps = (guint)arguments->adversarial_steps;
  options->checkpoint = arguments->checkpoint;
  options->checkpoint_seconds = arguments->checkpoint_seconds;
}

/* What the model promises: its accuracy on the rows it was not fitted to, as metadata of the file. `kedge model add`
 * takes it over, and the leader measures a loss against it. */
static GBytes *add_promise(const PipelineTrainResult *result, GError **error)
{
  if (result->n_validation == 0 || !isfinite(result->validation_metric) || result->validation_metric < 0)
    return g_bytes_ref(result->onnx); /* none, or a regression's -rmse */
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(result->onnx, error);
  if (!graph) return NULL;
  json_t *json = json_pack("{s:f, s:I}", "accuracy", result->validation_metric, "n", (json_int_t)result->n_validation);
  char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
  onnx_graph_set_metadata(graph, COMMAND_VALIDATION_KEY, text);
  free(text);
  json_decref(json);
  return onnx_graph_to_bytes(graph, error);
}

static gboolean write_model(const gchar *path, const PipelineTrainResult *result, GError **error)
{
  g_autoptr(GBytes) onnx = add_promise(result, error);
  if (!onnx) return FALSE;
  gsize length = 0;
  const gchar *bytes = g_bytes_get_data(onnx, &length);
  return g_file_set_contents(path, bytes, (gssize)length, error);
}

/* pipeline_train, or with --unlabelled the self-training; what was labelled goes into *told. */
static gboolean train_table(const TrainArguments *arguments, const DriftTable *table, const DriftSchema *schema,
                            const PipelineTrainOptions *options, Shown *shown, PipelineTrainResult *result,
                            json_t **told, GError **error)
{
  if (!arguments->unlabelled) return pipeline_train(table, schema, options, show_progress, shown, result, error);
  g_autoptr(DriftTable) unlabelled = command_read_table(arguments->unlabelled, error);
  if (!unlabelled) return FALSE;
  PipelinePseudoOptions pseudo = arguments->pseudo;
  PipelinePseudoLabels labels = {0};
  pseudo.rounds = (guint)arguments->pseudo_rounds;
  if (!pipeline_train_pseudo(table, unlabelled, schema, options, &pseudo, show_progress, shown, result, &labels, error))
    return FALSE;
  describe_pseudo_labels(&labels, schema, told);
  pipeline_pseudo_labels_clear(&labels);
  return TRUE;
}

static gboolean run_training(const CommandCommon *common, const TrainArguments *arguments, Shown *shown,
                             PipelineTrainResult *result, json_t **told, GError **error)
{
  if (command_train_graph_is_asked(arguments))
    return command_train_graph_run(common, arguments, show_progress, shown, result, error);
  CommandModel start = {0};
  g_autoptr(DriftTable) table = command_read_table(arguments->data, error);
  if (!table) return FALSE;
  if (arguments->from ? !command_load_model(common, arguments->from, table, arguments->label, &start, error)
                      : !(start.schema = command_infer_schema(table, arguments->label, arguments->sensitive,
                                                              arguments->exclude, arguments->positive, error)))
    return FALSE;
  PipelineTrainOptions options;
  fill_options(arguments, start.onnx, &options);
  g_auto(GStrv) reweigh = command_split_names(arguments->reweigh);
  if (arguments->reweigh) options.reweigh = (const gchar *const *)reweigh;
  g_autoptr(GError) cause = NULL;
  gboolean done = train_table(arguments, table, start.schema, &options, shown, result, told, &cause);
  command_model_clear(&start);
  if (done) return TRUE;
  if (arguments->from && g_error_matches(cause, PIPELINE_ERROR, PIPELINE_ERROR_MODEL))
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "%s; --optimiser adamw trains graphs of one float input that are no chain of dense layers",
                cause->message);
  else
    g_propagate_error(error, g_steal_pointer(&cause));
  return FALSE;
}

static json_t *train(const CommandCommon *common, const TrainArguments *arguments, GError **error)
{
  PipelineTrainResult result = {0};
  json_t *report = NULL;
  g_autoptr(CommandTrainLog) log = NULL;
  if (arguments->graph.log && !(log = command_train_log_open(arguments->graph.log, error))) return NULL;
  Shown shown = {command_progress_new(common, "training"), log};
  json_t *told = NULL;
  gboolean done = run_training(common, arguments, &shown, &result, &told, error);
  command_progress_finish(shown.bar, done ? "done" : "failed");
  if (done) done = command_train_log_end(log, &result, error);
  if (done && write_model(arguments->output, &result, error)) report = describe_result(arguments, &result);
  if (report && told) json_object_set(report, "pseudo_labels", told);
  json_decref(told);
  if (report && result.warning) {
    json_object_set_new(report, "warning", json_string(result.warning));
    if (!common->json) fprintf(stderr, "kedge train: %s\n", result.warning);
  }
  pipeline_train_result_clear(&result);
  return report;
}

static int run_train(int argc, char **argv)
{
  TrainArguments a;
  arguments_init(&a);
  const GOptionEntry entries[] = {
      {"data", 0, 0, G_OPTION_ARG_FILENAME, &a.data, "CSV with a header (\"-\": standard input), or an .npz of arrays",
       "D.csv"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &a.label, "the column (of an .npz: the array) to predict", "L"},
      {"from", 0, 0, G_OPTION_ARG_FILENAME, &a.from, "fine-tune this model: M.onnx, NAME@ALIAS or NAME/VERSION",
       "MODEL"},
      {"arch", 0, 0, G_OPTION_ARG_STRING, &a.architecture,
       "widths of the hidden layers (default mlp:64,64), or channels of a network for images: cnn:32,64", "mlp:N,…"},
      {"epochs", 0, 0, G_OPTION_ARG_INT, &a.epochs, "passes over the rows; 0: by the number of rows", "N"},
      {"batch-size", 0, 0, G_OPTION_ARG_INT, &a.batch_size, "rows a step; 0: by the number of rows", "N"},
      {"patience", 0, 0, G_OPTION_ARG_INT, &a.patience,
       "stop after N epochs without a better validation loss; 0: never", "N"},
      {"learning-rate", 0, 0, G_OPTION_ARG_DOUBLE, &a.learning_rate,
       "falling along a cosine (default 0.005; on a graph 0.002)", "R"},
      {"weight-decay", 0, 0, G_OPTION_ARG_DOUBLE, &a.weight_decay,
       "decoupled, times the learning rate (default 0.5; on a graph 0.01)", "W"},
      {"validation", 0, 0, G_OPTION_ARG_DOUBLE, &a.validation, "share of the rows, the last ones (default 0.1)", "F"},
      {"shuffle", 0, 0, G_OPTION_ARG_NONE, &a.shuffle, "validate on random rows instead of the last ones", NULL},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &a.seed, "of the first weights and the order of rows (default 1)", "S"},
      {"backend", 0, 0, G_OPTION_ARG_STRING, &a.backend, "onednn or reference (default: the best)", "B"},
      {"adversarial-epsilon", 0, 0, G_OPTION_ARG_DOUBLE, &a.adversarial_epsilon,
       "train against PGD within this many standard deviations of the numeric features; 0: off", "E"},
      {"adversarial-steps", 0, 0, G_OPTION_ARG_INT, &a.adversarial_steps, "of PGD (default 7)", "N"},
      {"sensitive", 0, 0, G_OPTION_ARG_STRING, &a.sensitive, "columns whose groups are compared later", "A,B"},
      {"reweigh", 0, 0, G_OPTION_ARG_STRING, &a.reweigh,
       "weigh the rows so that label and group of these columns (crossed) are independent; two classes only", "A,B"},
      {"unlabelled", 0, 0, G_OPTION_ARG_FILENAME, &a.unlabelled,
       "CSV of rows without labels: those that the model is sure of train too", "U.csv"},
      {"confidence", 0, 0, G_OPTION_ARG_DOUBLE, &a.pseudo.confidence,
       "with --unlabelled: least calibrated probability (default 0.95)", "P"},
      {"pseudo-weight", 0, 0, G_OPTION_ARG_DOUBLE, &a.pseudo.weight,
       "with --unlabelled: weight of such a row beside a labelled one (default 1)", "W"},
      {"pseudo-balance", 0, 0, G_OPTION_ARG_DOUBLE, &a.pseudo.balance,
       "with --unlabelled: most of a class, as a multiple of its share of the labelled rows (default 2)", "B"},
      {"pseudo-rounds", 0, 0, G_OPTION_ARG_INT, &a.pseudo_rounds, "with --unlabelled: teacher and student (default 1)",
       "N"},
      {"exclude", 0, 0, G_OPTION_ARG_STRING, &a.exclude, "columns that the model must not see", "C,D"},
      {"positive", 0, 0, G_OPTION_ARG_STRING, &a.positive, "the positive class (default: the last one)", "CLASS"},
      {"checkpoint", 0, 0, G_OPTION_ARG_FILENAME, &a.checkpoint, "write to and resume from this file", "FILE"},
      {"checkpoint-seconds", 0, 0, G_OPTION_ARG_DOUBLE, &a.checkpoint_seconds, "at most every S seconds (default 5)",
       "S"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &a.output, "where to write the model", "OUT.onnx"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  g_autoptr(GArray) all = command_train_graph_entries(&a.graph, entries);
  if (!command_parse(&command_train, &argc, &argv, (const GOptionEntry *)(gpointer)all->data, &common)) {
    arguments_clear(&a);
    return COMMAND_USAGE;
  }
  int status;
  const gchar *usage = check_arguments(&a, argc);
  if (usage) {
    status = command_usage(&common, "%s", usage);
  } else {
    g_autoptr(GError) error = NULL;
    json_t *report = train(&common, &a, &error);
    status = command_report(&common, report, error, print_result);
  }
  arguments_clear(&a);
  return status;
}

const Command command_train = {
    .name = "train",
    .arguments = "--data D.csv --label L [--from MODEL | --arch mlp:64,64] -o OUT.onnx",
    .summary = "train a model on a CSV file, from scratch or from another model",
    .help =
        "Writes an ONNX model with its preprocessing inside: missing numbers become the mean, numbers are\n"
        "standardised, texts one-hot encoded (unseen ones become zeros). The rows are taken in time order: the last\n"
        "ones validate.\n"
        "\n"
        "Images (an .npz, or --arch cnn), and everything that names a loss, an optimiser, a schedule, frozen weights,\n"
        "augmentation, a log or test rows, are trained on the ONNX graph itself: any model of one float input whose\n"
        "operators have gradients (pipeline/README.md, \"Training on the graph\"). Numbers only, none missing.\n"
        "\n"
        "--rehearse mixes rows of an older world into every batch, so that a model that learns new rows keeps what it\n"
        "knew; the share of --validation of them is held back. The weights of the epoch with the best mean of both\n"
        "validation losses are delivered, and --patience counts epochs in which neither of them fell.\n"
        "\n"
        "--unlabelled trains a teacher on the labelled rows, scales its logits by the validation rows, and trains "
        "again\n"
        "with the rows of which a class is then at least --confidence sure. Not after a change of what the label "
        "means:\n"
        "the teacher would teach the old world.\n"
        "\n"
        "--json prints {\"output\", \"rows_train\", \"rows_validation\", \"rows_skipped\", \"epochs\", \"best_epoch\", "
        "\"bytes\",\n"
        "\"train_loss\", \"validation_loss\", \"validation_metric\", \"seconds\", \"samples_per_second\"}, with "
        "--reweigh\n"
        "\"reweighing\" {\"attributes\", \"groups\", \"rows_without_group\", \"smallest_weight\", "
        "\"largest_weight\"},\n"
        "with --test also \"rows_test\", \"test_loss\", \"test_metric\", and \"warning\" where there is one. On a "
        "graph\n"
        "\"row_visits\"; with --rehearse \"rows_rehearsed\", \"rows_old_validation\", \"old_validation_metric\"; with\n"
        "--unlabelled \"pseudo_labels\" {\"unlabelled\", \"confident\", \"taken\", \"rounds\", \"by_class\", "
        "\"calibration_rows\",\n"
        "\"scale\", \"teacher_metric\"}.\n"
        "\n"
        "--log writes a JSON object a line: {\"event\": \"epoch\", \"epoch\", \"loss\", \"validation_loss\",\n"
        "\"validation_metric\", \"test_loss\", \"test_metric\", \"learning_rate\", \"gradient_norm\", \"dead_share\",\n"
        "\"samples_per_second\", \"seconds\"} after each epoch; {\"event\": \"reached\", \"metric\", \"value\", "
        "\"epoch\",\n"
        "\"seconds\"} when .9, .95, .97, .98, .985 or .99 are first reached on the test rows, or else on the "
        "validation\n"
        "rows; {\"event\": \"end\", …} at the end.",
    .run = run_train,
};
