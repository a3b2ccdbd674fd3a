/* `kedge prepare`. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command_clean.h"
#include "daemon/command_data.h"
#include "daemon/command_prepare_print.h"
#include "pipeline/prepare.h"
#include "pipeline/output_file.h"

extern const Command command_prepare;

typedef struct {
  gchar *data, *label, *output, *model, *plan_output, *transform, *split, *exclude, *positive;
  double validation, test;
  gint trials;
  CommandCleanArguments clean;
  gint64 seed;
  double budget;
  gboolean search;
} Arguments;

static void arguments_clear(Arguments *a)
{
  gchar *const texts[] = {a->data,      a->label, a->output,  a->model,   a->plan_output,
                          a->transform, a->split, a->exclude, a->positive};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
  command_clean_clear(&a->clean);
}

static const gchar *check_arguments(const Arguments *a, int argc)
{
  if (argc != 1) return "only options are taken";
  if (!a->data || !a->label) return "--data and --label are needed";
  if (!a->output && !a->model && !a->plan_output) return "-o OUT.npz, --model OUT.onnx or --plan OUT.json is needed";
  if (a->output && !g_str_has_suffix(a->output, ".npz")) return "-o: the name must end in .npz";
  if (!(a->validation >= 0 && a->test >= 0 && a->validation + a->test < 1))
    return "--validation and --test are shares whose sum is below 1";
  if (a->search && a->transform) return "--search finds the plan that --transform would give";
  if (a->trials < 1 || !(a->budget >= 0)) return "--trials is at least 1, --budget not negative";
  return command_clean_check(&a->clean);
}

/* What the options name; every part is owned. */
typedef struct {
  DriftSchema *schema;
  PipelineSplit split;
  PipelinePlan *plan;
  PipelineCleanOptions clean;
} Asked;

static void asked_clear(Asked *asked)
{
  g_clear_pointer(&asked->schema, drift_schema_free);
  g_clear_pointer(&asked->plan, pipeline_plan_free);
  pipeline_split_clear(&asked->split);
  pipeline_clean_options_clear(&asked->clean);
}

static gboolean read_asked(const Arguments *a, const DriftTable *table, Asked *asked, GError **error)
{
  asked->schema = command_infer_schema(table, a->label, NULL, a->exclude, a->positive, error);
  if (!asked->schema || !pipeline_split_parse(a->split ? a->split : "time", &asked->split, error)) return FALSE;
  if (!command_clean_read(&a->clean, (guint64)a->seed, &asked->clean, error)) return FALSE;
  if (!a->transform) return TRUE;
  asked->plan = command_read_plan(a->transform, error);
  return asked->plan != NULL;
}

static gboolean write_outputs(const Arguments *a, const Asked *asked, const PipelinePreparation *preparation,
                              GError **error)
{
  if (a->model) {
    gsize length;
    gconstpointer bytes = g_bytes_get_data(preparation->onnx, &length);
    if (!pipeline_output_file_write(a->model, bytes, length, error)) return FALSE;
  }
  if (a->plan_output) {
    g_autofree gchar *plan = pipeline_prepared_format_plan(preparation->prepared);
    if (!pipeline_output_file_write(a->plan_output, plan, strlen(plan), error)) return FALSE;
  }
  return !a->output || pipeline_preparation_write_npz(preparation, asked->schema, a->output, error);
}

static json_t *describe(const Arguments *a, const Asked *asked, const PipelinePreparation *preparation)
{
  json_t *report = pipeline_preparation_report(preparation);
  g_autofree gchar *split = pipeline_split_format(&asked->split);
  const struct {
    const gchar *key, *value;
  } outputs[] = {{"output", a->output}, {"model", a->model}, {"plan", a->plan_output}};
  for (guint i = 0; i < G_N_ELEMENTS(outputs); i++)
    if (outputs[i].value) json_object_set_new(report, outputs[i].key, json_string(outputs[i].value));
  json_object_set_new(report, "split", json_string(split));
  json_object_set_new(report, "seed", json_integer(a->seed));
  return report;
}

/* user_data: CommandProgress. */
static void show_search(const PipelinePlanSearchProgress *progress, gpointer user_data)
{
  g_autofree gchar *text = g_strdup_printf("trial %u/%u  loss %.4f", progress->trial, progress->trials, progress->loss);
  command_progress_update(user_data, (double)progress->trial / progress->trials, text);
}

static json_t *prepare(const CommandCommon *common, const Arguments *a, GError **error)
{
  Asked asked = {0};
  json_t *report = NULL;
  DriftTable *table = command_read_table(a->data, error);
  if (!table) return NULL;
  if (!read_asked(a, table, &asked, error)) {
    drift_table_free(table);
  } else {
    PipelinePrepareOptions options;
    pipeline_prepare_options_init(&options);
    options.split = &asked.split;
    options.plan = asked.plan;
    options.clean = a->clean.what ? &asked.clean : NULL;
    options.validation = a->validation;
    options.test = a->test;
    options.seed = (guint64)a->seed;
    PipelinePlanSearchOptions search;
    pipeline_plan_search_options_init(&search);
    search.trials = (guint)a->trials;
    search.seconds = a->budget;
    CommandProgress *bar = a->search ? command_progress_new(common, "searching") : NULL;
    options.search = a->search ? &search : NULL;
    options.progress = show_search;
    options.user_data = bar;
    g_autoptr(PipelinePreparation) preparation = pipeline_prepare(table, asked.schema, &options, error);
    if (bar) command_progress_finish(bar, preparation ? "done" : "failed");
    if (preparation && write_outputs(a, &asked, preparation, error)) report = describe(a, &asked, preparation);
  }
  asked_clear(&asked);
  return report;
}

static int run_prepare(int argc, char **argv)
{
  PipelinePrepareOptions defaults;
  PipelinePlanSearchOptions search;
  pipeline_plan_search_options_init(&search);
  pipeline_prepare_options_init(&defaults);
  Arguments a = {.validation = defaults.validation,
                 .test = defaults.test,
                 .seed = (gint64)defaults.seed,
                 .trials = (gint)search.trials};
  command_clean_init(&a.clean);
  const GOptionEntry entries[] = {
      {"data", 0, 0, G_OPTION_ARG_FILENAME, &a.data, "CSV with a header (\"-\": standard input), .jsonl or .npy",
       "D.csv"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &a.label, "the column to predict", "L"},
      {"transform", 0, 0, G_OPTION_ARG_STRING, &a.transform, "steps of columns, or a file PLAN.json",
       "age=robust,city=target"},
      {"split", 0, 0, G_OPTION_ARG_STRING, &a.split, "time (default), blocks, shuffle, stratified or grouped:COLUMN",
       "HOW"},
      {"validation", 0, 0, G_OPTION_ARG_DOUBLE, &a.validation, "share of the rows (default 0.1)", "F"},
      {"test", 0, 0, G_OPTION_ARG_DOUBLE, &a.test, "share of the rows (default 0.2)", "F"},
      {"search", 0, 0, G_OPTION_ARG_NONE, &a.search, "find a plan: what lowers the loss on rows held out", NULL},
      {"trials", 0, 0, G_OPTION_ARG_INT, &a.trials, "of the search: plans tried at most (default 60)", "N"},
      {"budget", 0, 0, G_OPTION_ARG_DOUBLE, &a.budget, "of the search: seconds after which no trial begins; 0: any",
       "S"},
      {"exclude", 0, 0, G_OPTION_ARG_STRING, &a.exclude, "columns that are left out", "C,D"},
      {"positive", 0, 0, G_OPTION_ARG_STRING, &a.positive, "the positive class (default: the last one)", "CLASS"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &a.seed, "of splits, folds and models (default 1)", "S"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &a.output, "where to write the arrays", "OUT.npz"},
      {"model", 0, 0, G_OPTION_ARG_FILENAME, &a.model, "where to write the preprocessing as an ONNX graph", "OUT.onnx"},
      {"plan", 0, 0, G_OPTION_ARG_FILENAME, &a.plan_output, "where to write the plan, for --transform", "OUT.json"}};
  g_autoptr(GArray) all = g_array_new(TRUE, TRUE, sizeof(GOptionEntry));
  g_array_append_vals(all, entries, G_N_ELEMENTS(entries));
  command_clean_entries(&a.clean, all);
  CommandCommon common;
  int status = COMMAND_USAGE;
  if (command_parse(&command_prepare, &argc, &argv, (const GOptionEntry *)(gpointer)all->data, &common)) {
    const gchar *usage = check_arguments(&a, argc);
    if (usage) {
      status = command_usage(&common, "%s", usage);
    } else {
      g_autoptr(GError) error = NULL;
      json_t *report = prepare(&common, &a, &error);
      status = command_report(&common, report, error, command_prepare_print);
    }
  }
  arguments_clear(&a);
  return status;
}

const Command command_prepare = {
    .name = "prepare",
    .arguments = "--data D.csv --label L [--transform PLAN] [--split HOW] [--clean WHAT] -o OUT.npz [--model OUT.onnx]",
    .summary = "divide, clean and transform a data set; the transformations are a graph",
    .help =
        "Rows are divided first. What is learnt (means, quantiles, categories, …) is learnt from the training rows,\n"
        "and the arrays are what the ONNX graph computes from the rows, so that training and serving cannot differ;\n"
        "only \"target\" gives training rows other values: means of the other folds' labels. `kedge train\n"
        "--transform` takes the same plan and puts the same graph in front of its network.\n"
        "\n"
        "A plan is COLUMN=STEP+STEP,…: the steps run from left to right, a number in front of a colon-less step is\n"
        "imputed by its mean unless the first step says otherwise. A*B=… begins with the product of two numbers or\n"
        "the pair of two texts; COLUMN=drop leaves it out; a column may begin several chains. Columns that no chain\n"
        "names are mean+standard (numbers) or one-hot (texts).\n"
        "\n"
        "Numbers: keep (as it is, missing ones too: what trees take where no chain says otherwise); mean, median,\n"
        "constant:V (fill what is missing); missing (1 where it is); winsorise:Q; standard;\n"
        "robust; log (sign(x) ln(1+|x|)); yeo-johnson; quantile:KNOTS; bins:N (one-hot); calendar (seconds since\n"
        "1970: hour, weekday, time of the year). Texts: unseen:N (fewer than N rows, and unseen ones, become one);\n"
        "one-hot; frequency; target:ROWS (smoothing). A column of a CSV that begins with a date (2026-11-26,\n"
        "2026-11-26T10:00:00Z, or with an offset) is one of seconds since 1970, in every command: all its cells must "
        "be\n"
        "dates.\n"
        "\n"
        "OUT.npz holds X_train, y_train, row_train (numbers of the data rows, from 0), the same of validation and\n"
        "test, columns (names) and classes. Cleaning touches training rows alone; \"labels\" reports by pairs of\n"
        "classes whose labels our own out-of-fold model contradicts (confident learning), \"drop-labels\" drops them,\n"
        "\"leaks\" reports columns that tell the label almost perfectly alone and rows on both sides.\n"
        "\n"
        "The data must fit into memory; a CSV may have 2 GiB. --json prints {\"rows\", \"columns\", "
        "\"output_columns\",\n"
        "\"cleaning\", \"split\", \"seed\", \"output\", \"model\", \"plan\"}.",
    .run = run_prepare,
};
