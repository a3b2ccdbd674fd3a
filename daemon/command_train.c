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
  command_train_graph_init(&arguments->graph);
}

static void arguments_clear(TrainArguments *arguments)
{
  gchar *texts[] = {arguments->data,       arguments->label,     arguments->from,    arguments->architecture,
                    arguments->backend,    arguments->sensitive, arguments->exclude, arguments->positive,
                    arguments->checkpoint, arguments->output,    arguments->reweigh, arguments->split,
                    arguments->transform};
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
  if ((arguments->split || arguments->transform) && command_train_graph_is_asked(arguments))
    return "--split and --transform work with dense models without the options of a graph (see --help)";
  if (arguments->split && arguments->shuffle) return "--split shuffle says what --shuffle says; give one of them";
  if (arguments->from && arguments->transform)
    return "--transform is for new models: a model of --from keeps its preprocessing";
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
  json_object_set_new(report, "seconds", real_or_null(result->seconds));
  json_object_set_new(report, "samples_per_second", real_or_null(result->samples_per_second));
  if (result->plan) json_object_set_new(report, "plan", json_loads(result->plan, 0, NULL));
  if (arguments->reweigh)
    json_object_set_new(report, "reweighing",
                        json_pack("{s:s, s:i, s:I, s:f, s:f}", "attributes", arguments->reweigh, "groups",
                                  (int)result->reweighing.n_groups, "rows_without_group",
                                  (json_int_t)result->reweighing.n_without_group, "smallest_weight",
                                  result->reweighing.smallest, "largest_weight", result->reweighing.largest));
  return report;
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
  const json_t *chains = json_object_get(json_object_get(report, "plan"), "transform");
  if (chains)
    printf("%zu chains of transformations are part of the model (kedge prepare --help)\n", json_array_size(chains));
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

/* What the options name: a split and a plan, both owned. */
typedef struct {
  PipelineSplit split;
  PipelinePlan *plan;
} Prepared;

static void prepared_clear(Prepared *prepared)
{
  pipeline_split_clear(&prepared->split);
  g_clear_pointer(&prepared->plan, pipeline_plan_free);
}

static gboolean read_prepared(const TrainArguments *arguments, Prepared *prepared, PipelineTrainOptions *options,
                              GError **error)
{
  if (arguments->split && !pipeline_split_parse(arguments->split, &prepared->split, error)) return FALSE;
  if (arguments->split) {
    options->split = &prepared->split;
    options->test_fraction = arguments->graph.test;
  }
  options->search_plan = g_strcmp0(arguments->transform, "search") == 0;
  if (arguments->transform && !options->search_plan &&
      !(prepared->plan = command_read_plan(arguments->transform, error)))
    return FALSE;
  options->plan = prepared->plan;
  return TRUE;
}

static gboolean run_training(const CommandCommon *common, const TrainArguments *arguments, Shown *shown,
                             PipelineTrainResult *result, GError **error)
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
  Prepared prepared = {0};
  fill_options(arguments, start.onnx, &options);
  g_auto(GStrv) reweigh = command_split_names(arguments->reweigh);
  if (arguments->reweigh) options.reweigh = (const gchar *const *)reweigh;
  g_autoptr(GError) cause = NULL;
  gboolean done = read_prepared(arguments, &prepared, &options, &cause) &&
                  pipeline_train(table, start.schema, &options, show_progress, shown, result, &cause);
  command_model_clear(&start);
  prepared_clear(&prepared);
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
  gboolean done = run_training(common, arguments, &shown, &result, error);
  command_progress_finish(shown.bar, done ? "done" : "failed");
  if (done) done = command_train_log_end(log, &result, error);
  if (done && write_model(arguments->output, &result, error)) report = describe_result(arguments, &result);
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
      {"split", 0, 0, G_OPTION_ARG_STRING, &a.split,
       "how rows are divided into training, validation and --test rows: time, shuffle, stratified or grouped:COLUMN "
       "(no group on two sides)",
       "HOW"},
      {"transform", 0, 0, G_OPTION_ARG_STRING, &a.transform,
       "preprocessing of columns, a file PLAN.json (kedge prepare --help), or \"search\" for what lowers the loss",
       "age=robust,city=target"},
      {"shuffle", 0, 0, G_OPTION_ARG_NONE, &a.shuffle, "validate on random rows instead of the last ones", NULL},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &a.seed, "of the first weights and the order of rows (default 1)", "S"},
      {"backend", 0, 0, G_OPTION_ARG_STRING, &a.backend, "onednn or reference (default: the best)", "B"},
      {"adversarial-epsilon", 0, 0, G_OPTION_ARG_DOUBLE, &a.adversarial_epsilon,
       "train against PGD within this many standard deviations of the numeric features; 0: off", "E"},
      {"adversarial-steps", 0, 0, G_OPTION_ARG_INT, &a.adversarial_steps, "of PGD (default 7)", "N"},
      {"sensitive", 0, 0, G_OPTION_ARG_STRING, &a.sensitive, "columns whose groups are compared later", "A,B"},
      {"reweigh", 0, 0, G_OPTION_ARG_STRING, &a.reweigh,
       "weigh the rows so that label and group of these columns (crossed) are independent; two classes only", "A,B"},
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
        "--json prints {\"output\", \"rows_train\", \"rows_validation\", \"rows_skipped\", \"epochs\", \"best_epoch\", "
        "\"bytes\",\n"
        "\"train_loss\", \"validation_loss\", \"validation_metric\", \"seconds\", \"samples_per_second\"}, with "
        "--reweigh\n"
        "\"reweighing\" {\"attributes\", \"groups\", \"rows_without_group\", \"smallest_weight\", "
        "\"largest_weight\"},\n"
        "with --transform (unless the search finds nothing) \"plan\" as kedge prepare --plan writes it,\n"
        "with --test also \"rows_test\", \"test_loss\", \"test_metric\", and \"warning\" where there is one.\n"
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
