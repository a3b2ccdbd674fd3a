/* `kedge attack`. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command_arrays.h"
#include "daemon/command_attack_internal.h"
#include "daemon/command_train_internal.h"

extern const Command command_attack;

typedef struct {
  CommandAttackData data;
  gchar *reference, *attack, *epsilons, *norm, *unit, *loss, *range, *immutable, *integer, *one_hot,
      *mutable_categories, *output;
  gint steps, restarts, queries, category_budget;
  double step_size;
  gint64 seed;
  gboolean whole; /* no early exit */
} AttackArguments;

static void arguments_clear(AttackArguments *a)
{
  gchar *texts[] = {a->reference, a->attack,  a->epsilons,           a->norm,  a->unit, a->loss, a->range, a->immutable,
                    a->integer,   a->one_hot, a->mutable_categories, a->output};
  command_attack_data_clear(&a->data);
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
}

static gboolean invalid(GError **error, const gchar *message)
{
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, message);
  return FALSE;
}

/* --- options ------------------------------------------------------------------------------------------------------ */

void command_attack_data_clear(CommandAttackData *data)
{
  g_free(data->data);
  g_free(data->label);
  g_free(data->features);
}

gboolean command_attack_parse_radii(const gchar *text, const gchar *option, GArray *radii, GError **error)
{
  g_auto(GStrv) parts = g_strsplit(text, ",", -1);
  for (guint i = 0; parts[i] != NULL; i++) {
    gchar *end = NULL;
    double radius = g_ascii_strtod(parts[i], &end);
    if (end == parts[i] || *end != '\0' || !(radius > 0 && isfinite(radius))) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s: write radii above 0, e.g. 0.1 or 0.05,0.1,0.2",
                  option);
      return FALSE;
    }
    g_array_append_val(radii, radius);
  }
  return TRUE;
}

/* Lists are borrowed by the options. */
static gboolean fill_options(const AttackArguments *a, PipelineRobustnessOptions *options, GError **error)
{
  gboolean margin = g_strcmp0(a->loss, "margin") == 0;
  pipeline_robustness_options_init(options);
  if (a->loss != NULL && !margin && strcmp(a->loss, "cross-entropy") != 0)
    return invalid(error, "--loss: cross-entropy or margin");
  if (a->steps < 1 || a->restarts < 1 || a->queries < 1)
    return invalid(error, "--steps, --restarts and --queries must be at least 1");
  if (a->category_budget < 1 || (a->category_budget > 1 && a->mutable_categories == NULL))
    return invalid(error, "--category-budget is at least 1 and goes with --mutable-categories");
  if (!(a->step_size >= 0)) return invalid(error, "--step-size cannot be negative");
  options->loss = margin ? PIPELINE_ATTACK_MARGIN : PIPELINE_ATTACK_CROSS_ENTROPY;
  options->attack.steps = (guint)a->steps;
  options->attack.restarts = (guint)a->restarts;
  options->attack.queries = (guint)a->queries;
  options->attack.step_size = a->step_size;
  options->attack.early_exit = !a->whole;
  options->category_budget = (guint)a->category_budget;
  options->seed = (guint64)a->seed;
  return command_parse_norm(a->norm, &options->norm, error) && command_parse_unit(a->unit, &options->absolute, error) &&
         command_parse_range(a->range, &options->range, &options->low, &options->high, error);
}

/* --- data --------------------------------------------------------------------------------------------------------- */

static DriftTable *first_rows(DriftTable *table, gint64 n)
{
  if (table == NULL || n <= 0 || (guint64)n >= table->n_rows) return table;
  g_autofree guint64 *rows = g_new(guint64, n);
  for (gint64 i = 0; i < n; i++) rows[i] = (guint64)i;
  DriftTable *first = drift_table_select(table, rows, (guint64)n);
  drift_table_free(table);
  return first;
}

static DriftTable *read_arrays(const CommandCommon *common, const CommandAttackData *data, const gchar *reference,
                               CommandModel *model, GError **error)
{
  g_autoptr(PipelineGraphRows) rows = command_read_arrays(data->data, data->label, data->features, NULL, FALSE, error);
  return rows != NULL && command_load_model(common, reference, NULL, NULL, model, error)
             ? command_tabulate_arrays(rows, model->schema, error)
             : NULL;
}

DriftTable *command_attack_read_data(const CommandCommon *common, const CommandAttackData *data, const gchar *reference,
                                     CommandModel *model, GError **error)
{
  if (g_str_has_suffix(data->data, ".npz"))
    return first_rows(read_arrays(common, data, reference, model, error), data->rows);
  g_autoptr(DriftTable) table = command_read_rows(common, reference, data->data, error);
  if (table == NULL || !command_load_model(common, reference, table, data->label, model, error)) return NULL;
  if (g_strcmp0(model->schema->label, data->label) == 0) return first_rows(g_steal_pointer(&table), data->rows);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "--label %s: the model predicts \"%s\"", data->label,
              model->schema->label);
  return NULL;
}

/* --- the run ------------------------------------------------------------------------------------------------------ */

static gboolean show(const gchar *attack, double epsilon, double fraction, gpointer bar)
{
  g_autofree gchar *text = g_strdup_printf("%s, epsilon %g", attack, epsilon);
  command_progress_update(bar, fraction, text);
  return TRUE;
}

static gboolean measure(const CommandCommon *common, PipelineModel *model, const DriftTable *table,
                        const PipelineRobustnessOptions *options, PipelineRobustnessReport *report, GError **error)
{
  CommandProgress *bar = command_progress_new(common, "attacking");
  gboolean done = pipeline_robustness_report_measure(report, model, table, options, show, bar, error);
  command_progress_finish(bar, done ? "done" : "failed");
  return done;
}

static gboolean run_on_data(const CommandCommon *common, const AttackArguments *a, const CommandModel *loaded,
                            const DriftTable *table, PipelineRobustnessOptions *options,
                            PipelineRobustnessReport *report, GError **error)
{
  g_auto(GStrv) immutable = command_split_names(a->immutable), integer = command_split_names(a->integer),
                one_hot = command_split_names(a->one_hot), categories = command_split_names(a->mutable_categories);
  g_autoptr(DriftTable) reference = NULL;
  if (a->reference != NULL && (reference = command_read_table(a->reference, error)) == NULL) return FALSE;
  options->immutable = (const gchar *const *)immutable;
  options->integer = (const gchar *const *)integer;
  options->one_hot = (const gchar *const *)one_hot;
  options->mutable_categories = (const gchar *const *)categories;
  options->reference = reference;
  g_autoptr(PipelineModel) model = pipeline_model_load(loaded->onnx, loaded->schema, NULL, error);
  return model != NULL && measure(common, model, table, options, report, error) &&
         (a->output == NULL ||
          command_attack_write(a->output, g_ptr_array_index(report->measured, 0), loaded->schema, table, error));
}

static json_t *attack(const CommandCommon *common, const AttackArguments *a, const gchar *reference, GError **error)
{
  PipelineRobustnessOptions options;
  PipelineRobustnessReport report;
  CommandModel loaded = {0};
  json_t *described = NULL;
  g_autoptr(DriftTable) table = NULL;
  if (!fill_options(a, &options, error)) return NULL;
  pipeline_robustness_report_init(&report, &options);
  if (command_attack_parse_radii(a->epsilons, "--eps", report.epsilons, error) &&
      pipeline_robustness_report_add_types(&report, a->attack != NULL ? a->attack : "pgd", error) &&
      (table = command_attack_read_data(common, &a->data, reference, &loaded, error)) != NULL) {
    if (a->output != NULL && report.epsilons->len * report.types->len > 1)
      invalid(error, "-o writes the points of one attack at one epsilon");
    else if (run_on_data(common, a, &loaded, table, &options, &report, error))
      described = pipeline_robustness_report_describe(&report);
  }
  command_model_clear(&loaded);
  pipeline_robustness_report_clear(&report);
  return described;
}

static int run_attack(int argc, char **argv)
{
  AttackArguments a = {.steps = 40, .restarts = 1, .queries = 1000, .category_budget = 1, .seed = 1};
  const GOptionEntry entries[] = {
      {"data", 0, 0, G_OPTION_ARG_FILENAME, &a.data.data,
       "CSV with a header (\"-\": standard input), or an .npz of arrays", "D.csv"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &a.data.label, "the column (of an .npz: the array) with the truth", "L"},
      {"features", 0, 0, G_OPTION_ARG_STRING, &a.data.features,
       "of an .npz: the array of rows (default: the other one)", "X"},
      {"rows", 0, 0, G_OPTION_ARG_INT64, &a.data.rows, "attack the first N rows only (default: all)", "N"},
      {"attack", 0, 0, G_OPTION_ARG_STRING, &a.attack, "fgsm, pgd, square, hopskipjump; several: A,B (default pgd)",
       "NAME"},
      {"eps", 0, 0, G_OPTION_ARG_STRING, &a.epsilons, "radius of the ball; several: E,F", "E"},
      {"norm", 0, 0, G_OPTION_ARG_STRING, &a.norm, "of the ball: inf (default) or 2", "N"},
      {"unit", 0, 0, G_OPTION_ARG_STRING, &a.unit,
       "of the radius: sd (standard deviations of each feature, default) or absolute", "U"},
      {"steps", 0, 0, G_OPTION_ARG_INT, &a.steps, "of pgd (default 40)", "N"},
      {"step-size", 0, 0, G_OPTION_ARG_DOUBLE, &a.step_size, "of pgd, in the unit (default 2.5 E / steps)", "S"},
      {"restarts", 0, 0, G_OPTION_ARG_INT, &a.restarts, "of pgd, from random points of the ball (default 1)", "N"},
      {"loss", 0, 0, G_OPTION_ARG_STRING, &a.loss, "that the attack raises: cross-entropy (default) or margin", "NAME"},
      {"queries", 0, 0, G_OPTION_ARG_INT, &a.queries,
       "of square and hopskipjump: answers of the model a row (default 1000)", "N"},
      {"whole", 0, 0, G_OPTION_ARG_NONE, &a.whole, "go on with rows that are wrong already (for timings)", NULL},
      {"range", 0, 0, G_OPTION_ARG_STRING, &a.range,
       "of the numbers: data (lowest to highest of each feature, default), none or LOW,HIGH", "R"},
      {"reference", 0, 0, G_OPTION_ARG_FILENAME, &a.reference,
       "data that standard deviations and ranges are taken from (default: the attacked rows)", "R.csv"},
      {"immutable", 0, 0, G_OPTION_ARG_STRING, &a.immutable, "features that cannot change", "A,B"},
      {"integer", 0, 0, G_OPTION_ARG_STRING, &a.integer, "features that change by whole numbers", "A,B"},
      {"one-hot", 0, 0, G_OPTION_ARG_STRING, &a.one_hot, "groups of one-hot columns, which stay: a+b+c,d+e", "G"},
      {"mutable-categories", 0, 0, G_OPTION_ARG_STRING, &a.mutable_categories,
       "texts that may become another known value, and one-hot groups a+b+c whose 1 may move (default: they stay)",
       "A,B"},
      {"category-budget", 0, 0, G_OPTION_ARG_INT, &a.category_budget,
       "of the mutable categories, so many of a row change at most (default 1)", "N"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &a.seed, "of the random points (default 1)", "S"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &a.output, "write the attacked rows: a CSV, or an .npz of arrays",
       "OUT"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  int status = COMMAND_USAGE;
  if (command_parse(&command_attack, &argc, &argv, entries, &common)) {
    if (argc != 2 || !a.data.data || !a.data.label || !a.epsilons) {
      status = command_usage(&common, "one MODEL, --data, --label and --eps are needed");
    } else {
      g_autoptr(GError) error = NULL;
      json_t *report = attack(&common, &a, argv[1], &error);
      status = command_report(&common, report, error, command_attack_print);
    }
  }
  arguments_clear(&a);
  return status;
}

const Command command_attack = {
    .name = "attack",
    .arguments = "MODEL --data D --label L --eps E [--attack pgd] [--immutable A,B] [-o OUT.csv]",
    .summary = "measure how robust a model is: its accuracy when rows are moved within a ball",
    .help =
        "MODEL is NAME@ALIAS, NAME/VERSION or a file M.onnx. Each row that the model gets right is moved by at most "
        "E,\n"
        "so that the model gets it wrong if the attack can: fgsm and pgd follow the gradient, square asks for\n"
        "probabilities and hopskipjump for classes only (trees and other models without gradients). Texts, immutable\n"
        "features and one-hot groups stay; a missing number stays missing. Of --mutable-categories those change, one "
        "after the\n"
        "other, that raise the loss most, before the numbers move: at most --category-budget of a row, to values of "
        "the "
        "data. Every point keeps to ball, ranges and "
        "whole\n"
        "numbers without tolerance, and the model itself has the last word. An attack that fails proves nothing:\n"
        "accuracy under attack is an upper bound (see kedge smooth for a certificate).\n"
        "\n"
        "--json prints {\"rows\", \"rows_skipped\", \"norm\", \"unit\", \"rows_right\", \"accuracy\", "
        "\"accuracy_low\",\n"
        "\"accuracy_high\", \"attacks\": [{\"attack\", \"epsilon\", \"rows_attacked\", \"rows_fooled\", "
        "\"rows_robust\",\n"
        "\"robust_accuracy\", \"robust_accuracy_low\", \"robust_accuracy_high\", \"median_distance\", "
        "\"queries_per_row\",\n"
        "\"seconds\", \"cpu_seconds\", \"rows_per_second\"}], \"worst\": [{\"epsilon\", \"rows_robust\", "
        "\"robust_accuracy\", …}]}: "
        "intervals are\n"
        "Wilson's of 95 %; worst counts rows that no attack fooled. -o writes the attacked rows, moved, with\n"
        "\"attack.decision\", \"attack.fooled\", \"attack.distance\" and \"attack.queries\"; an .npz holds \"x\" (the "
        "numeric\n"
        "inputs), the label (whole numbers where the classes are, else texts), \"fooled\", \"distance\" and "
        "\"queries\".",
    .run = run_attack,
};
