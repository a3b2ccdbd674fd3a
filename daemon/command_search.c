/* `kedge search`. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command_search_internal.h"
#include "daemon/command_train_internal.h"
#include "pipeline/ensemble.h"
#include "pipeline/search_board.h"
#include "pipeline/search_families.h"
#include "pipeline/search_final.h"
#include "registry/digest.h"

extern const Command command_search;

typedef struct {
  SearchTask task;
  gchar *budget, *space, *resume, *output;
  gint workers, trials, folds, finalists; /* folds, finalists: -1: by the rows */
  gint ensemble;                          /* 0: all finalists that are not clearly worse */
  gboolean keep, print_space;
  double seconds;
} Arguments;

static void arguments_clear(Arguments *a)
{
  gchar *const texts[] = {a->budget, a->space, a->resume, a->output};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
  command_search_task_clear(&a->task);
}

/* "90s", "10m", "1.5h"; a number alone: seconds. */
static gboolean parse_budget(const gchar *text, double *seconds)
{
  static const struct {
    const gchar *unit;
    double seconds;
  } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}};
  gchar *end = NULL;
  double value = g_ascii_strtod(text, &end);
  if (end == text || !(value > 0) || !(value < 1e7)) return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(units); i++) {
    if (!g_str_equal(end, units[i].unit)) continue;
    *seconds = value * units[i].seconds;
    return TRUE;
  }
  return FALSE;
}

static const gchar *check_arguments(Arguments *a, int argc)
{
  if (argc != 1) return "only options are taken";
  if (a->print_space) return NULL;
  if (!a->task.data || !a->task.label || !a->output) return "--data, --label and -o are needed";
  if (!a->budget && a->trials == 0) return "--budget (10m) or --trials is needed";
  if (a->budget && !parse_budget(a->budget, &a->seconds)) return "--budget is a time, e.g. 90s, 10m or 1h";
  if (a->trials < 0 || a->workers < 0 || a->workers > 256) return "--trials is at least 1, --workers 1 to 256";
  if (a->folds < -1 || a->folds == 1 || a->folds > (gint)PIPELINE_SEARCH_MAX_FOLDS)
    return "--folds is 0 (none) or 2 to 20";
  if (a->finalists < -1 || a->finalists == 0 || a->finalists > 100) return "--finalists is 1 to 100";
  if (a->ensemble < 0 || a->ensemble > (gint)PIPELINE_MAX_ENSEMBLE)
    return "--ensemble is 1 to 100, or 0: the finalists that are not clearly worse than the winner";
  if (g_str_equal(a->task.data, "-"))
    return "--data is a file that can be read again (CSV, JSON lines, .npy or .npz): no standard input";
  if (g_str_has_suffix(a->task.data, ".npz") && (a->task.exclude || a->task.positive))
    return "--exclude and --positive are for columns; an .npz has arrays";
  if (!(a->task.validation >= 0 && a->task.test >= 0 &&
        (a->task.validation > 0 ? a->task.validation : .2) + a->task.test <= .9))
    return "--validation and --test are shares that leave a tenth of the rows to train on";
  return NULL;
}

/* --- what the search is ------------------------------------------------------------------------------------------- */

/* Everything that decides how it goes, but not where its files are. */
static json_t *make_header(const Arguments *a, const PipelineSearchSpace *space, const PipelineSearchRule *rule,
                           GError **error)
{
  g_autoptr(GMappedFile) file = g_mapped_file_new(a->task.data, FALSE, error);
  if (file == NULL) return NULL;
  g_autofree gchar *digest = registry_digest_bytes(g_mapped_file_get_contents(file), g_mapped_file_get_length(file));
  json_t *header = command_search_task_format(&a->task);
  json_object_set_new(header, "data", json_string(digest)); /* not its name */
  json_object_set_new(header, "space", pipeline_search_space_describe(space));
  json_object_set_new(header, "reduction", json_integer((json_int_t)rule->reduction));
  json_object_set_new(header, "rungs", json_integer((json_int_t)rule->n_rungs));
  json_object_set_new(header, "finalists", json_integer((json_int_t)rule->finalists));
  json_object_set_new(header, "folds", json_integer((json_int_t)rule->folds));
  json_object_set_new(header, "version", json_integer(2));
  return header;
}

typedef struct {
  CommandProgress *bar;
  const Arguments *arguments;
} Shown;

static void show(const PipelineSearchState *state, gpointer user_data)
{
  const Shown *shown = user_data;
  const PipelineSearchTrial *best = pipeline_search_state_best(state);
  double seconds = shown->arguments->seconds, trials = shown->arguments->trials;
  double share = MAX(seconds > 0 ? state->elapsed / seconds : 0, trials > 0 ? state->trials->len / trials : 0);
  g_autofree gchar *text =
      best != NULL ? g_strdup_printf("%u trials, %u failed  best: %s %u, validation loss %.4f", state->trials->len,
                                     pipeline_search_state_count(state, PIPELINE_TRIAL_FAILED),
                                     best->part->family->name, best->number, best->loss)
                   : g_strdup_printf("%u trials", state->trials->len);
  command_progress_update(shown->bar, MIN(.99, share), text);
}

/* --- what it found ------------------------------------------------------------------------------------------------ */

/* {"members", "bytes", "latency_us", "latency_rows"} of what is written, new; NULL with error. */
static json_t *write_model(const Arguments *a, const SearchWorld *world, const GPtrArray *members, GBytes *onnx,
                           GError **error)
{
  gsize length = 0;
  const gchar *bytes = g_bytes_get_data(onnx, &length);
  json_t *model = pipeline_search_cost(&world->rows, onnx, error);
  if (model == NULL || !g_file_set_contents(a->output, bytes, (gssize)length, error)) {
    json_decref(model);
    return NULL;
  }
  json_object_set_new(model, "members", pipeline_search_describe_members(members));
  return model;
}

static json_t *conclude(const Arguments *a, const gchar *folder, const SearchWorld *world,
                        const PipelineSearchState *state, GError **error)
{
  g_autoptr(GPtrArray) members = pipeline_search_members(state, (guint)a->ensemble);
  g_autoptr(GBytes) onnx = pipeline_search_model(&world->rows, state, members, folder, !a->keep, error);
  json_t *test = NULL, *model = NULL;
  if (onnx == NULL || (world->rows.test != NULL && !(test = pipeline_search_test(&world->rows, onnx, error))) ||
      !(model = write_model(a, world, members, onnx, error))) {
    json_decref(test);
    return NULL;
  }
  json_t *board = pipeline_search_board(state, world->rows.n_validation);
  json_t *report = json_pack(
      "{s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:b, s:I, s:I, s:o, s:O, s:o, s:o}", "output", a->output, "folder", folder,
      "rows_train", (json_int_t)(world->rows.seen->n_rows - world->rows.n_validation), "rows_validation",
      (json_int_t)world->rows.n_validation, "trials", (json_int_t)state->trials->len, "failed",
      (json_int_t)pipeline_search_state_count(state, PIPELINE_TRIAL_FAILED), "seconds", state->elapsed, "refit",
      !a->keep, "folds", (json_int_t)state->rule.folds, "finalists", (json_int_t)state->rule.finalists, "model", model,
      "winner", json_array_get(board, 0), "leaderboard", board, "failures", pipeline_search_failures(state));
  if (test != NULL) json_object_set_new(report, "test", test);
  return report;
}

/* In a process of its own. */
static json_t *run_trial(const PipelineSearchStage *stage, gpointer world, GError **error)
{
  return pipeline_search_trial_run(&((const SearchWorld *)world)->rows, stage, NULL, NULL, error);
}

static gboolean run_trials(const CommandCommon *common, const Arguments *a, const gchar *folder, SearchWorld *world,
                           PipelineSearchState *state, GError **error)
{
  json_t *header = make_header(a, state->space, &state->rule, error);
  if (header == NULL) return FALSE;
  json_t *task = command_search_task_format(&a->task);
  Shown shown = {command_progress_new(common, "searching"), a};
  const PipelineSearchOptions options = {.folder = folder,
                                         .must_be_new = a->resume == NULL,
                                         .trial = run_trial,
                                         .trial_data = world,
                                         .task = task,
                                         .header = header,
                                         .workers = a->workers > 0 ? (guint)a->workers : g_get_num_processors(),
                                         .trials = (guint)a->trials,
                                         .seconds = a->seconds,
                                         .stop = command_train_signals_came,
                                         .progress = show,
                                         .user_data = &shown};
  g_autoptr(GError) cause = NULL;
  command_train_signals_begin();
  gboolean done = pipeline_search_run(&options, state, &cause);
  command_train_signals_end();
  command_progress_finish(shown.bar, done ? "done" : "failed");
  if (g_error_matches(cause, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED))
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED, "%s; --resume %s goes on", cause->message, folder);
  else if (cause != NULL)
    g_propagate_error(error, g_steal_pointer(&cause));
  json_decref(header);
  json_decref(task);
  return done;
}

static void choose_rule(const Arguments *a, const SearchWorld *world, PipelineSearchRule *rule)
{
  pipeline_search_rule_init(rule);
  rule->seed = (guint64)a->task.seed;
  if (a->folds != 0) /* those that are asked for have the finalists of few rows */
    pipeline_search_rule_choose_folds(rule, a->folds > 0 ? 0 : world->rows.seen->n_rows,
                                      a->folds < 0 && world->rows.height > 0);
  if (a->folds > 0) rule->folds = (guint)a->folds;
  if (a->finalists > 0) rule->finalists = (guint)a->finalists;
}

static json_t *search(const CommandCommon *common, Arguments *a, GError **error)
{
  SearchWorld world = {0};
  PipelineSearchRule rule;
  json_t *report = NULL;
  g_autofree gchar *folder = a->resume != NULL ? g_strdup(a->resume) : g_strconcat(a->output, ".search", NULL);
  g_autoptr(PipelineSearchSpace) space = command_search_space_read(a->space, error);
  g_autoptr(PipelineSearchState) state = NULL;
  if (space != NULL && command_search_world_read(&a->task, &world, error) &&
      pipeline_search_space_fit(space, world.rows.height, world.rows.width, error)) {
    choose_rule(a, &world, &rule);
    state = pipeline_search_state_new(space, &rule);
    if (run_trials(common, a, folder, &world, state, error)) report = conclude(a, folder, &world, state, error);
  }
  command_search_world_clear(&world);
  return report;
}

/* The space as a file, to begin one's own with: all families where --space names none. */
static json_t *describe_space(const Arguments *a, GError **error)
{
  g_autoptr(PipelineSearchSpace) space = command_search_space_read(a->space, error);
  if (space == NULL) return NULL;
  const PipelineSearchFamily *const *families = pipeline_search_families();
  for (guint i = 0, none = space->parts->len == 0; none && families[i] != NULL; i++)
    pipeline_search_space_add(space, families[i]->name, NULL);
  g_autofree gchar *text = pipeline_search_space_format(space);
  return json_pack("{s:s}", "space", text);
}

static void print_space(json_t *report)
{
  fputs(json_string_value(json_object_get(report, "space")), stdout);
}

static int run_search(int argc, char **argv)
{
  Arguments a = {.task = {.seed = 1}, .folds = -1, .finalists = -1};
  const GOptionEntry entries[] = {
      {"data", 0, 0, G_OPTION_ARG_FILENAME, &a.task.data, "CSV with a header, JSON lines, .npy, or .npz (images)",
       "D.csv"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &a.task.label, "the column to predict", "L"},
      {"budget", 0, 0, G_OPTION_ARG_STRING, &a.budget, "wall time, e.g. 90s, 10m, 1h; over all calls with --resume",
       "TIME"},
      {"trials", 0, 0, G_OPTION_ARG_INT, &a.trials, "at most N trials", "N"},
      {"workers", 0, 0, G_OPTION_ARG_INT, &a.workers, "processes of one thread at a time (default: the processors)",
       "N"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &a.task.seed, "of proposals, splits and trainings (default 1)", "S"},
      {"space", 0, 0, G_OPTION_ARG_STRING, &a.space,
       "families and ranges, or a file of them (default: all of the data; see below)", "dense:depth=1..2;trees|S.yaml"},
      {"print-space", 0, 0, G_OPTION_ARG_NONE, &a.print_space, "print the space as a file for --space, and end", NULL},
      {"folds", 0, 0, G_OPTION_ARG_INT, &a.folds,
       "the finalists are compared again on so many folds (default 5 up to 100,000 rows of a table, else 0: none)",
       "K"},
      {"finalists", 0, 0, G_OPTION_ARG_INT, &a.finalists,
       "trials of lowest loss that are trained to the end (default 2; with folds 6 below 12,000 rows, else 3)", "N"},
      {"ensemble", 0, 0, G_OPTION_ARG_INT, &a.ensemble,
       "write the mean of the N best trials; 1: the winner alone; 0 (default): of the finalists of folds that are not "
       "clearly worse",
       "N"},
      {"resume", 0, 0, G_OPTION_ARG_FILENAME, &a.resume, "go on with the search whose folder this is", "DIR"},
      {"split", 0, 0, G_OPTION_ARG_STRING, &a.task.split,
       "time (default), shuffle, stratified or grouped:COLUMN (no group on two sides)", "HOW"},
      {"validation", 0, 0, G_OPTION_ARG_DOUBLE, &a.task.validation,
       "share of the rows by which trials are compared (default 0.1; 0.2 below 12,000 rows)", "F"},
      {"test", 0, 0, G_OPTION_ARG_DOUBLE, &a.task.test,
       "share of the rows (by time: the last) that no trial sees; they measure the winner (default 0)", "F"},
      {"exclude", 0, 0, G_OPTION_ARG_STRING, &a.task.exclude, "columns that no model sees", "C,D"},
      {"positive", 0, 0, G_OPTION_ARG_STRING, &a.task.positive, "the positive class (default: the last one)", "CLASS"},
      {"keep", 0, 0, G_OPTION_ARG_NONE, &a.keep,
       "write the winner as it was compared, instead of fitting it again to training and validation rows together",
       NULL},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &a.output, "where to write the model", "OUT.onnx"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_search, &argc, &argv, entries, &common)) {
    arguments_clear(&a);
    return COMMAND_USAGE;
  }
  if (a.task.split == NULL) a.task.split = g_strdup("time");
  int status;
  const gchar *usage = check_arguments(&a, argc);
  if (usage != NULL) {
    status = command_usage(&common, "%s", usage);
  } else {
    g_autoptr(GError) error = NULL;
    json_t *report = a.print_space ? describe_space(&a, &error) : search(&common, &a, &error);
    status = command_report(&common, report, error, a.print_space ? print_space : command_search_print);
  }
  arguments_clear(&a);
  return status;
}

const Command command_search = {
    .name = "search",
    .arguments =
        "--data D.csv --label L --budget 10m [--trials N] [--workers N] [--space S] [--resume DIR] -o OUT.onnx",
    .summary = "search for the architecture and hyper-parameters of a model",
    .help =
        "Asynchronous successive halving (Li et al. 2020) over proposals of a tree-structured Parzen estimator "
        "(Bergstra\n"
        "et al. 2011). The first trial of a family is what kedge train takes by itself. Trials are processes; each "
        "climbs\n"
        "rungs of 3, 9, 27 epochs (dense), 50, 150, 450 rounds (trees) or 1, 3, 9 epochs (cnn), continuing from a\n"
        "checkpoint, and the best third of a rung goes on. They are compared by the lowest loss (log-loss; of a "
        "regression\n"
        "the squared error in standard deviations of the label) on the validation rows. The --finalists of lowest loss "
        "are\n"
        "trained to the end. With --folds the winner among them is that of the lowest mean loss over the folds of all "
        "rows\n"
        "but the test rows (by time: each trained on the rows in front of it), each fold's model trained anew for as "
        "many\n"
        "epochs or rounds as the trial's best had. The usual values of a family stay unless the difference exceeds "
        "its\n"
        "standard error over the folds. When the budget leaves no more time than that needs, nothing new "
        "begins.\n"
        "\n"
        "--data x.npz has rows as arrays beside the labels; those of two or three dimensions are images, which the "
        "family\n"
        "cnn is for; the others take images only where --space names them.\n"
        "\n"
        "Families and their dimensions, as --space \"dense:depth=1..3,width=16..64,batch=32|64;trees:eta=0.05..0.2\":\n"
        "dense  depth (hidden layers, 0 to 4), width (8 to 256), taper (1|0.5: a layer's width over that of the one "
        "before),\n"
        "       activation (relu|gelu|tanh|silu), norm (none|batch|layer), residual (no|yes), dropout "
        "(0|0.1|0.25|0.5),\n"
        "       transform (of numbers: standard; if asked robust|quantile|yeo-johnson), learning_rate (0.0002 to "
        "0.02),\n"
        "       weight_decay (0.05 to 5), batch (32|64|128|256|512)\n"
        "trees  depth (2 to 12), eta (0.01 to 0.5), subsample and colsample (0.4 to 1), min_child_weight (0.1 to "
        "100),\n"
        "       lambda (0.01 to 100)\n"
        "cnn    depth (stages, each halves the image, 1 to 4), channels (of the first, 4 to 64), growth (of the "
        "channels a\n"
        "       stage, 1|2), blocks (convolutions a stage, 1 to 2), kernel (3|5), pool (max|average), activation, "
        "norm,\n"
        "       residual, dense (units behind, 0|32|64|128|256; 0: the means of the channels), dropout, learning_rate\n"
        "       (0.0002 to 0.02), weight_decay (0.001 to 1), batch (32|64|128|256)\n"
        "--space S.yaml reads the same from a file, --print-space prints one to begin with:\n"
        "  families:\n"
        "    - family: dense\n"
        "      depth: {low: 1, high: 3}\n"
        "      learning_rate: {low: 0.001, high: 0.01, scale: log}    # or linear\n"
        "      activation: {choices: [relu, silu]}\n"
        "      width: {value: 64}\n"
        "A dimension that is left out keeps its whole range.\n"
        "\n"
        "The folder OUT.onnx.search (or that of --resume) holds journal.jsonl, the state of the search on disk before\n"
        "each step, and checkpoints and models of the trials. A search that was killed loses what its running trials\n"
        "did on their present rung, and --resume goes on; options and data must be the same but for --budget, "
        "--trials\n"
        "and --workers. With one worker and --trials alone, the same seed gives the same search. A trial that fails or "
        "is\n"
        "killed is counted as failed, with its reason.\n"
        "\n"
        "The winner is fitted again to training and validation rows together, for as many epochs or rounds as its "
        "best\n"
        "had; --keep writes the model that was compared. Its loss is optimistic: it was chosen by it. --test\n"
        "measures what is written on rows that no trial saw.\n"
        "\n"
        "Where folds compared finalists, what is written is the mean of those that are not clearly worse than the "
        "winner\n"
        "(by more than two standard errors of the difference over the folds), as one graph: they differ by less than "
        "the\n"
        "folds can tell, and their mean errs less than either. Its bytes and time are those of all members. --ensemble "
        "1\n"
        "writes the winner alone: what is to be trained on, hardened or pruned is a single model (kedge compress "
        "--distill\n"
        "makes one network of all). --resume with another --ensemble writes again without a new trial.",
    .output =
        "--json prints {\"output\", \"folder\", \"rows_train\", \"rows_validation\", \"trials\", \"failed\", "
        "\"seconds\", "
        "\"refit\",\n"
        "\"folds\" and \"finalists\" (their numbers), \"model\" (what is written) {\"members\" (trials whose mean it "
        "is),\n"
        "\"bytes\", \"latency_us\", \"latency_rows\"}, \"winner\" (the first of the leaderboard), \"leaderboard\" "
        "[{\"rank\",\n"
        "\"trial\", \"family\", \"parameters\", \"state\" (\"finished\" or \"stopped\" early), \"loss\", \"metric\" "
        "(accuracy, or\n"
        "-rmse), \"standard_error\" (of an accuracy), \"unit\", \"epochs\", \"best_epoch\", \"seconds\", \"fold_loss\" "
        "and\n"
        "\"fold_error\" (mean over the folds and its standard error; null: not compared so), \"bytes\", "
        "\"latency_us\" (median\n"
        "of one row over \"latency_rows\" calls, while other trials run), \"auc\", \"pareto\" (none beats it in loss, "
        "latency and\n"
        "bytes at once)}], \"failures\" [{\"trial\", \"family\", \"parameters\", \"reason\"}], with --test \"test\" "
        "{\"rows\",\n"
        "\"accuracy\", \"auc\", \"log_loss\"} or {\"rows\", \"rmse\", \"mae\"}}; --print-space --json {\"space\"}.",
    .run = run_search,
};
