/* `kedge train`. */
#include <math.h>
#include <stdio.h>

#include "daemon/command_store.h"
#include "daemon/command_train_internal.h"
#include "onnx/graph.h"
#include "pipeline/tree_options.h"
#include "pipeline/output_file.h"

#define FINE_TUNING_DECAY 0.01 /* given weights are not to be pulled to 0 */

extern const Command command_train;

void command_train_init(TrainArguments *arguments)
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
                                .restarts = -1,
                                .checkpoint_seconds = options.checkpoint_seconds,
                                .validation = options.validation_fraction};
  pipeline_pseudo_options_init(&arguments->pseudo);
  arguments->pseudo_rounds = (gint)arguments->pseudo.rounds;
  command_train_graph_init(&arguments->graph);
  command_clean_init(&arguments->clean);
}

void command_train_clear(TrainArguments *arguments)
{
  gchar *texts[] = {arguments->data,          arguments->label,       arguments->from,        arguments->architecture,
                    arguments->backend,       arguments->sensitive,   arguments->exclude,     arguments->positive,
                    arguments->checkpoint,    arguments->output,      arguments->reweigh,     arguments->monotone,
                    arguments->harden.method, arguments->harden.norm, arguments->harden.unit, arguments->harden.range,
                    arguments->calibrate,     arguments->threshold,   arguments->weights,     arguments->split,
                    arguments->transform,     arguments->unlabelled,  arguments->parallel};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
  command_train_graph_clear(&arguments->graph);
  command_clean_clear(&arguments->clean);
}

static const gchar *check_arguments(const TrainArguments *arguments, int argc)
{
  if (argc != 1) return "only options are taken";
  if (!arguments->data || !arguments->label || !arguments->output) return "--data, --label and -o are needed";
  if (arguments->from && arguments->architecture && !pipeline_tree_is_architecture(arguments->architecture))
    return "--from and --arch exclude each other, but for --arch trees";
  if (arguments->calibrate_only && (!arguments->from || (!arguments->calibrate && !arguments->threshold)))
    return "--calibrate-only needs --from, and --calibrate or --threshold";
  if (command_train_gang_check(arguments)) return command_train_gang_check(arguments);
  if (command_train_pseudo_check(arguments)) return command_train_pseudo_check(arguments);
  if (arguments->graph.rehearse && !arguments->from)
    return "--rehearse goes with --from: the model that knows the old rows";
  if ((arguments->split || arguments->transform || arguments->clean.what) && command_train_graph_is_asked(arguments) &&
      !pipeline_tree_is_architecture(arguments->architecture))
    return "--split, --transform and --clean work with dense models and trees without the options of a graph (see "
           "--help)";
  if (arguments->clean.what && (arguments->unlabelled || arguments->calibrate_only))
    return "--clean goes neither with --unlabelled, whose pseudo-labels it would judge too, nor with --calibrate-only";
  if (command_clean_check(&arguments->clean)) return command_clean_check(&arguments->clean);
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
  const gchar *unit; /* "epoch", of trees "round" */
} Shown;

/* user_data: Shown. */
static gboolean show_progress(const PipelineTrainProgress *progress, gpointer user_data)
{
  Shown *shown = user_data;
  g_autofree gchar *validation =
      isnan(progress->validation_loss) ? g_strdup("") : g_strdup_printf("  validation %.4f", progress->validation_loss);
  g_autofree gchar *loss = isnan(progress->loss) ? g_strdup("") : g_strdup_printf("  loss %.4f", progress->loss);
  g_autofree gchar *text = g_strdup_printf("%s %u/%u%s%s  %.0f rows/s", shown->unit, progress->epoch, progress->epochs,
                                           loss, validation, progress->samples_per_second);
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
  if (arguments->adversarial_epsilon > 0) {
    json_object_set_new(report, "adversarial",
                        json_string(arguments->harden.method ? arguments->harden.method : "pgd"));
    json_object_set_new(report, "adversarial_epsilon", json_real(arguments->adversarial_epsilon));
    json_object_set_new(report, "robust_metric", real_or_null(result->robust_metric));
  }
  if (result->row_visits > 0) json_object_set_new(report, "row_visits", json_integer((json_int_t)result->row_visits));
  if (result->n_old > 0) {
    json_object_set_new(report, "rows_rehearsed", json_integer((json_int_t)result->n_old));
    json_object_set_new(report, "rows_old_validation", json_integer((json_int_t)result->n_old_validation));
    json_object_set_new(report, "old_validation_metric", real_or_null(result->old_validation_metric));
  }
  if (result->spilled_bytes > 0)
    json_object_set_new(report, "spilled_bytes", json_integer((json_int_t)result->spilled_bytes));
  json_object_set_new(report, "seconds", real_or_null(result->seconds));
  json_object_set_new(report, "samples_per_second", real_or_null(result->samples_per_second));
  command_train_calibration_describe(&result->calibration, report);
  command_train_interval_describe(&result->interval, report);
  if (result->backend) json_object_set_new(report, "backend", json_string(result->backend));
  if (result->cleaning) json_object_set_new(report, "cleaning", json_loads(result->cleaning, 0, NULL));
  if (result->plan) json_object_set_new(report, "plan", json_loads(result->plan, 0, NULL));
  if (arguments->reweigh)
    json_object_set_new(report, "reweighing",
                        json_pack("{s:s, s:i, s:I, s:f, s:f}", "attributes", arguments->reweigh, "groups",
                                  (int)result->reweighing.n_groups, "rows_without_group",
                                  (json_int_t)result->reweighing.n_without_group, "smallest_weight",
                                  result->reweighing.smallest, "largest_weight", result->reweighing.largest));
  return report;
}

void command_train_print(json_t *report)
{
  g_autofree gchar *train = command_text_count(json_object_get(report, "rows_train"));
  g_autofree gchar *validation = command_text_count(json_object_get(report, "rows_validation"));
  g_autofree gchar *loss = command_text_real(json_object_get(report, "validation_loss"), 4);
  g_autofree gchar *metric = command_text_real(json_object_get(report, "validation_metric"), 4);
  if (json_integer_value(json_object_get(report, "rows_train")) == 0)
    printf("%s: not trained further; %s rows: log-loss %s, accuracy %s\n",
           json_string_value(json_object_get(report, "output")), validation, loss, metric);
  else
    printf("%s: trained on %s rows in %.2f s; %s validation rows: loss %s, accuracy (or -rmse) %s, %s "
           "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT "\n",
           json_string_value(json_object_get(report, "output")), train,
           json_real_value(json_object_get(report, "seconds")), validation, loss, metric,
           json_object_get(report, "importance") ? "round" : "epoch",
           json_integer_value(json_object_get(report, "best_epoch")),
           json_integer_value(json_object_get(report, "epochs")));
  if (json_object_get(report, "test_metric")) {
    g_autofree gchar *test = command_text_count(json_object_get(report, "rows_test"));
    g_autofree gchar *reached = command_text_real(json_object_get(report, "test_metric"), 4);
    printf("%s test rows: accuracy (or -rmse) %s\n", test, reached);
  }
  command_clean_print(json_object_get(report, "cleaning"));
  const json_t *chains = json_object_get(json_object_get(report, "plan"), "transform");
  if (chains)
    printf("%zu chains of transformations are part of the model (kedge prepare --help)\n", json_array_size(chains));
  command_train_tree_print(report);
  command_train_pseudo_print(report);
  if (json_is_real(json_object_get(report, "robust_metric"))) {
    g_autofree gchar *robust = command_text_real(json_object_get(report, "robust_metric"), 4);
    printf("under PGD of epsilon %g, on at most 512 validation rows: accuracy (or -rmse) %s\n",
           json_real_value(json_object_get(report, "adversarial_epsilon")), robust);
  }
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
  command_train_calibration_print(report);
  json_int_t spilled = json_integer_value(json_object_get(report, "spilled_bytes"));
  if (spilled > 0)
    printf("the rows lay in an unlinked temporary file of %.1f MiB ($TMPDIR, else /var/tmp), not in memory\n",
           (double)spilled / (1 << 20));
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
  if (from != NULL) options->weight_decay = FINE_TUNING_DECAY;
  if (!isnan(arguments->weight_decay)) options->weight_decay = arguments->weight_decay;
  options->validation_fraction = arguments->validation;
  options->shuffle_split = arguments->shuffle;
  options->seed = (guint64)arguments->seed;
  options->adversarial_epsilon = arguments->adversarial_epsilon;
  options->adversarial_steps = (guint)arguments->adversarial_steps;
  options->checkpoint = arguments->checkpoint;
  options->checkpoint_seconds = arguments->checkpoint_seconds;
  options->calibration = (PipelineCalibrationOptions){arguments->calibrate, arguments->threshold};
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
  return pipeline_output_file_write(path, bytes, length, error);
}

/* What the options name: a split, a plan, cleaning; all owned. */
typedef struct {
  PipelineSplit split;
  PipelinePlan *plan;
  PipelineCleanOptions clean;
} Prepared;

static void prepared_clear(Prepared *prepared)
{
  pipeline_split_clear(&prepared->split);
  g_clear_pointer(&prepared->plan, pipeline_plan_free);
  pipeline_clean_options_clear(&prepared->clean);
}

static gboolean read_prepared(const TrainArguments *arguments, Prepared *prepared, PipelineTrainOptions *options,
                              GError **error)
{
  if (arguments->split && !pipeline_split_parse(arguments->split, &prepared->split, error)) return FALSE;
  if (arguments->split) {
    options->split = &prepared->split;
    options->test_fraction = arguments->graph.test;
  }
  if (!command_clean_read(&arguments->clean, (guint64)arguments->seed, &prepared->clean, error)) return FALSE;
  if (arguments->clean.what) options->clean = &prepared->clean;
  options->search_plan = g_strcmp0(arguments->transform, "search") == 0;
  if (arguments->transform && !options->search_plan &&
      !(prepared->plan = command_read_plan(arguments->transform, error)))
    return FALSE;
  options->plan = prepared->plan;
  return TRUE;
}

/* What a table in memory cannot hold may still be trained on. */
static void add_larger_way(const TrainArguments *arguments, gboolean trees, GError **error)
{
  const gchar *ends[] = {".csv", ".npy"};
  gboolean streams = FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(ends); i++) streams = streams || g_str_has_suffix(arguments->data, ends[i]);
  if (!streams || error == NULL || !g_error_matches(*error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED)) return;
  g_autoptr(GError) cause = g_steal_pointer(error);
  g_set_error(
      error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
      "%s, or train %s on the graph, which reads the rows of a CSV or .npy one after another (--optimiser adamw; "
      "numbers only, none missing)",
      cause->message, trees ? "a network" : "the network");
}

static gboolean run_training(const CommandCommon *common, const TrainArguments *arguments, Shown *shown,
                             PipelineTrainResult *result, json_t **told, GError **error)
{
  if (arguments->calibrate_only) return command_train_calibrate(common, arguments, result, error);
  gboolean trees = command_train_tree_is_asked(common, arguments);
  if (trees && arguments->communicator) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                        "--processes and --parallel train networks; trees are boosted by one process");
    return pipeline_communicator_agree(arguments->communicator, FALSE, error);
  }
  if (trees) shown->unit = "round";
  if (!trees && command_train_graph_is_asked(arguments))
    return command_train_graph_run(common, arguments, show_progress,
                                   arguments->checkpoint ? command_train_signals_came : NULL, shown, result, error);
  CommandModel start = {0};
  g_autofree gchar *excluded = command_train_excluded(arguments);
  g_autoptr(DriftTable) table = arguments->from ? command_read_rows(common, arguments->from, arguments->data, error)
                                                : command_read_table(arguments->data, error);
  if (!table) add_larger_way(arguments, trees, error);
  g_autofree double *weights = table ? command_train_read_weights(arguments, table, error) : NULL;
  if (!table || (arguments->weights && !weights)) return FALSE;
  if (arguments->from ? !command_load_model(common, arguments->from, table, arguments->label, &start, error)
                      : !(start.schema = command_infer_schema(table, arguments->label, arguments->sensitive, excluded,
                                                              arguments->positive, error)))
    return FALSE;
  PipelineTrainOptions options;
  Prepared prepared = {0};
  fill_options(arguments, start.onnx, &options);
  options.row_weights = weights;
  if (arguments->checkpoint) options.stop = command_train_signals_came;
  g_auto(GStrv) reweigh = command_split_names(arguments->reweigh), monotone = command_split_names(arguments->monotone);
  if (arguments->monotone) options.monotone = (const gchar *const *)monotone;
  if (arguments->reweigh) options.reweigh = (const gchar *const *)reweigh;
  g_autoptr(GError) cause = NULL;
  gboolean done =
      (!trees || command_train_tree_fill(arguments, &options, &cause)) &&
      read_prepared(arguments, &prepared, &options, &cause) &&
      command_train_table(arguments, table, start.schema, &options, show_progress, shown, result, told, &cause);
  command_model_clear(&start);
  prepared_clear(&prepared);
  if (done) return TRUE;
  if (arguments->from && !trees && g_error_matches(cause, PIPELINE_ERROR, PIPELINE_ERROR_MODEL))
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "%s; --optimiser adamw trains graphs of one float input that are no chain of dense layers",
                cause->message);
  else
    g_propagate_error(error, g_steal_pointer(&cause));
  return FALSE;
}

json_t *command_train_execute(const CommandCommon *common, const TrainArguments *arguments, const gchar *name,
                              GError **error)
{
  PipelineTrainResult result = {0};
  json_t *report = NULL;
  g_autoptr(CommandTrainLog) log = NULL;
  gboolean leads = command_train_leads(arguments),
           logs = !leads || !arguments->graph.log || (log = command_train_log_open(arguments->graph.log, error));
  if (!pipeline_communicator_agree(arguments->communicator, logs, error)) return NULL;
  json_t *told = NULL; /* of pseudo-labels */
  Shown shown = {command_progress_new(common, "training"), log, "epoch"};
  g_autoptr(GError) cause = NULL;
  if (arguments->checkpoint) command_train_signals_begin();
  gboolean done = run_training(common, arguments, &shown, &result, &told, &cause);
  command_train_signals_end();
  if (arguments->checkpoint && g_error_matches(cause, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED))
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED, "%s; the same command goes on from %s", cause->message,
                arguments->checkpoint);
  else if (cause)
    g_propagate_error(error, g_steal_pointer(&cause));
  command_progress_finish(shown.bar, done ? "done" : "failed");
  if (done) done = command_train_log_end(log, &result, error);
  if (done && leads && write_model(arguments->output, &result, error)) report = describe_result(arguments, &result);
  if (report) command_train_tree_describe(&result, report);
  if (report && told) json_object_set(report, "pseudo_labels", told);
  json_decref(told);
  if (report && result.warning) {
    json_object_set_new(report, "warning", json_string(result.warning));
    if (!common->json) fprintf(stderr, "kedge %s: %s\n", name, result.warning);
  }
  pipeline_train_result_clear(&result);
  return report;
}

/* New: `first` and the options that other files have. */
static GArray *add_entries(TrainArguments *arguments, const GOptionEntry *first)
{
  GArray *all = command_train_graph_entries(&arguments->graph, first);
  command_train_pseudo_entries(arguments, all);
  command_clean_entries(&arguments->clean, all);
  command_train_gang_entries(arguments, all);
  return all;
}

/* given: the arguments as they came, for processes that are started with them. */
static int run_checked(CommandCommon *common, TrainArguments *a, int argc, char **given)
{
  const gchar *usage = check_arguments(a, argc);
  if (usage) return command_usage(common, "%s", usage);
  if (a->processes > 0) return command_train_gang_start(common, a, given);
  if (a->parallel) return command_train_gang_member(common, a);
  g_autoptr(GError) error = NULL;
  json_t *report = command_train_execute(common, a, "train", &error);
  return command_report(common, report, error, command_train_print);
}

static int run_train(int argc, char **argv)
{
  TrainArguments a;
  command_train_init(&a);
  const GOptionEntry entries[] = {
      {"data", 0, 0, G_OPTION_ARG_FILENAME, &a.data, "CSV with a header (\"-\": standard input), or an .npz of arrays",
       "D.csv"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &a.label,
       "the column (of an .npz: the array) to predict; A,B: several columns of 0 and 1, a probability each", "L"},
      {"from", 0, 0, G_OPTION_ARG_FILENAME, &a.from, "fine-tune this model: M.onnx, NAME@ALIAS or NAME/VERSION",
       "MODEL"},
      {"arch", 0, 0, G_OPTION_ARG_STRING, &a.architecture,
       "widths of the hidden layers (default mlp:64,64), channels of a network for images: cnn:32,64, or boosted "
       "trees: "
       "trees, trees:depth=6,rounds=500 (see below)",
       "mlp:N,…"},
      {"epochs", 0, 0, G_OPTION_ARG_INT, &a.epochs, "passes over the rows (of trees: rounds); 0: by the number of rows",
       "N"},
      {"batch-size", 0, 0, G_OPTION_ARG_INT, &a.batch_size, "rows a step; 0: by the number of rows", "N"},
      {"patience", 0, 0, G_OPTION_ARG_INT, &a.patience,
       "stop after N epochs without a better validation loss; 0: never (trees: after 50 rounds)", "N"},
      {"learning-rate", 0, 0, G_OPTION_ARG_DOUBLE, &a.learning_rate,
       "falling along a cosine (default 0.005; on a graph 0.002)", "R"},
      {"weight-decay", 0, 0, G_OPTION_ARG_DOUBLE, &a.weight_decay,
       "decoupled, times the learning rate (default 0.5; with --from, and on a graph, 0.01)", "W"},
      {"validation", 0, 0, G_OPTION_ARG_DOUBLE, &a.validation, "share of the rows, the last ones (default 0.1)", "F"},
      {"split", 0, 0, G_OPTION_ARG_STRING, &a.split, "of all rows: time, blocks, shuffle, stratified, grouped:COLUMN",
       "HOW"},
      {"transform", 0, 0, G_OPTION_ARG_STRING, &a.transform,
       "preprocessing of columns, a file PLAN.json (kedge prepare --help), or \"search\" for what lowers the loss",
       "age=robust,city=target"},
      {"shuffle", 0, 0, G_OPTION_ARG_NONE, &a.shuffle, "validate on random rows instead of the last ones", NULL},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &a.seed, "of the first weights and the order of rows (default 1)", "S"},
      {"backend", 0, 0, G_OPTION_ARG_STRING, &a.backend, "cuda, onednn or reference (default: the best)", "B"},
      {"adversarial-epsilon", 0, 0, G_OPTION_ARG_DOUBLE, &a.adversarial_epsilon,
       "train against PGD within this many standard deviations of the numeric features; 0: off", "E"},
      {"adversarial-steps", 0, 0, G_OPTION_ARG_INT, &a.adversarial_steps, "of PGD (default 7)", "N"},
      {"adversarial", 0, 0, G_OPTION_ARG_STRING, &a.harden.method,
       "adversarial training on the graph: pgd, free, fast or trades", "METHOD"},
      {"adversarial-norm", 0, 0, G_OPTION_ARG_STRING, &a.harden.norm, "of the radius: inf (default) or 2", "N"},
      {"adversarial-unit", 0, 0, G_OPTION_ARG_STRING, &a.harden.unit, "of the radius: sd (default) or absolute", "U"},
      {"adversarial-range", 0, 0, G_OPTION_ARG_STRING, &a.harden.range,
       "of moved numbers: data (default), none or LOW,HIGH", "R"},
      {"adversarial-step-size", 0, 0, G_OPTION_ARG_DOUBLE, &a.harden.step_size, "in the unit (default: by method)",
       "S"},
      {"replays", 0, 0, G_OPTION_ARG_INT, &a.harden.replays, "of each batch by free (default 4)", "M"},
      {"beta", 0, 0, G_OPTION_ARG_DOUBLE, &a.harden.beta, "of trades, weight of the divergence (default 6)", "B"},
      {"sensitive", 0, 0, G_OPTION_ARG_STRING, &a.sensitive, "columns whose groups are compared later", "A,B"},
      {"reweigh", 0, 0, G_OPTION_ARG_STRING, &a.reweigh,
       "weigh the rows so that label and group of these columns (crossed) are independent; two classes only", "A,B"},
      {"monotone", 0, 0, G_OPTION_ARG_STRING, &a.monotone,
       "of trees: the output never falls (+1) or never rises (-1) with these columns", "A=+1,B=-1"},
      {"exclude", 0, 0, G_OPTION_ARG_STRING, &a.exclude, "columns that the model must not see", "C,D"},
      {"positive", 0, 0, G_OPTION_ARG_STRING, &a.positive, "the positive class (default: the last one)", "CLASS"},
      {"weights", 0, 0, G_OPTION_ARG_STRING, &a.weights,
       "column (of an .npz: array) of row weights from 0; the model does not see it", "W"},
      {"calibrate", 0, 0, G_OPTION_ARG_STRING, &a.calibrate,
       "map the probabilities so that they are met: temperature, platt, isotonic, auto or none, fitted to the "
       "validation rows (default: what --from has, else none)",
       "METHOD"},
      {"threshold", 0, 0, G_OPTION_ARG_STRING, &a.threshold,
       "of the positive class's probability: 0.3, f1, f2, cost:FP=1,FN=5 or none, chosen on the validation rows "
       "(default: as --from has it, else the larger probability decides)",
       "RULE"},
      {"calibrate-only", 0, 0, G_OPTION_ARG_NONE, &a.calibrate_only,
       "with --from: train nothing, fit --calibrate and --threshold to all rows", NULL},
      {"checkpoint", 0, 0, G_OPTION_ARG_FILENAME, &a.checkpoint,
       "write to and resume from this file; SIGINT and SIGTERM leave one at once", "FILE"},
      {"checkpoint-seconds", 0, 0, G_OPTION_ARG_DOUBLE, &a.checkpoint_seconds, "at most every S seconds (default 5)",
       "S"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &a.output, "where to write the model", "OUT.onnx"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  g_auto(GStrv) given = g_strdupv(argv); /* parsing takes options out of argv */
  g_autoptr(GArray) all = add_entries(&a, entries);
  if (!command_parse(&command_train, &argc, &argv, (const GOptionEntry *)(gpointer)all->data, &common)) {
    command_train_clear(&a);
    return COMMAND_USAGE;
  }
  int status = run_checked(&common, &a, argc, given);
  command_train_clear(&a);
  return status;
}

const Command command_train = {
    .name = "train",
    .arguments = "--data D.csv --label L [--from MODEL | --arch mlp:64,64 | --arch trees] -o OUT.onnx",
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
        "Behind widths or channels, each after a \"+\": relu, leaky-relu, elu, gelu, tanh or silu; no-norm, batch-norm "
        "or\n"
        "layer-norm; residual; of cnn also kernel=3, blocks=1 (convolutions a stage), max-pool or average-pool, "
        "dense=128\n"
        "(units behind the last stage; 0: the means of its channels). So mlp:64,64+silu+residual or\n"
        "cnn:16,32+blocks=2+residual. Tables with texts and missing numbers take them too.\n"
        "\n"
        "--arch trees boosts trees (XGBoost's histogram method, one thread): missing numbers stay missing, texts are\n"
        "one-hot. Options, as trees:depth=6,eta=0.1: depth (6), rounds (500), eta (0.1), subsample (1), colsample "
        "(1),\n"
        "lambda (1), alpha (0), gamma (0), min_child_weight (1), scale_pos_weight (1), bins (256), patience (50; 0: "
        "no\n"
        "early stopping). The best round on the validation rows is kept. --from a tree model adds rounds to its trees\n"
        "(with --arch trees:…, for their options). --test, --log, --class-weights, --reweigh, --monotone and "
        "--checkpoint\n"
        "work, for a value --interval and --loss quantile; what is of networks is refused. With --transform, columns\n"
        "that no chain names stay as they are, missing numbers too.\n"
        "\n"
        "--rehearse mixes rows of an older world into every batch, so that a model that learns new rows keeps what it\n"
        "knew; the share of --validation of them is held back. The weights of the epoch with the best mean of both\n"
        "validation losses are delivered, and --patience counts epochs in which neither of them fell.\n"
        "\n"
        "--clean: of dense models and trees, training rows alone (kedge prepare --help).\n"
        "\n"
        "--processes N gives the weights of one process within rounding (pipeline/README.md, \"Several processes\").\n"
        "\n"
        "--unlabelled trains a teacher on the labelled rows, scales its logits by the validation rows, and trains "
        "again\n"
        "with the rows of which a class is then at least --confidence sure. Not after a change of what the label "
        "means:\n"
        "the teacher would teach the old world.",
    .output =
        "--json prints {\"output\", \"rows_train\", \"rows_validation\", \"rows_skipped\", \"epochs\", \"best_epoch\", "
        "\"bytes\",\n"
        "\"train_loss\", \"validation_loss\", \"validation_metric\", \"seconds\", \"samples_per_second\", "
        "\"backend\"}, with "
        "--reweigh\n"
        "\"reweighing\" {\"attributes\", \"groups\", \"rows_without_group\", \"smallest_weight\", "
        "\"largest_weight\"},\n"
        "with --clean \"cleaning\" as kedge prepare reports it,\n"
        "with --transform (unless the search finds nothing) \"plan\" as kedge prepare --plan writes it,\n"
        "with --calibrate or --threshold \"calibration\" {\"method\", \"threshold_rule\", \"rows\", \"threshold\",\n"
        "\"ece_before\", \"ece_after\", \"log_loss_before\", \"log_loss_after\", \"accuracy_before\", "
        "\"accuracy_after\"}\n"
        "and with --interval \"interval\" {\"level\", \"margin\" (in units of the label), \"coverage_before\" it, "
        "\"rows\"}\n"
        "(on the validation rows; after them validation_metric is the accuracy by the threshold),\n"
        "with --adversarial also \"adversarial\", \"adversarial_epsilon\" and \"robust_metric\" (under PGD, on "
        "validation rows),\n"
        "with --test also \"rows_test\", \"test_loss\", \"test_metric\", and \"warning\" where there is one;\n"
        "of trees \"importance\" [{\"column\", \"gain\", \"cover\" (means a split), \"weight\" (splits)}]; epochs are "
        "rounds.\n"
        "On a graph \"row_visits\"; with --rehearse \"rows_rehearsed\", \"rows_old_validation\", "
        "\"old_validation_metric\"; with\n"
        "--unlabelled \"pseudo_labels\" {\"unlabelled\", \"confident\", \"taken\", \"rounds\", \"by_class\", "
        "\"calibration_rows\",\n"
        "\"scale\", \"teacher_metric\"}.\n"
        "\n"
        "--log writes a JSON object a line: {\"event\": \"epoch\", \"epoch\", \"loss\", \"validation_loss\",\n"
        "\"validation_metric\", \"test_loss\", \"test_metric\", \"learning_rate\", \"gradient_norm\", \"dead_share\",\n"
        "\"robust_metric\", "
        "\"samples_per_second\", \"seconds\", \"device_utilisation_percent\", \"device_memory_mib\",\n"
        "\"device_temperature_celsius\"} (of the CUDA device as NVML has them, else null) after each epoch (of trees: "
        "round; their loss every 25th); {\"event\": "
        "\"reached\", \"metric\", \"value\", "
        "\"epoch\",\n"
        "\"seconds\"} when .9, .95, .97, .98, .985 or .99 are first reached on the test rows, or else on the "
        "validation\n"
        "rows; {\"event\": \"end\", …} at the end.",
    .run = run_train,
};
