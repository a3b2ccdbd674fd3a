/* `kedge harden`. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command_train_internal.h"

extern const Command command_harden;

static const gchar *check_arguments(const TrainArguments *a, int argc)
{
  if (argc != 2) return "one MODEL is needed";
  if (!a->data || !a->label || !a->output) return "--data, --label and -o are needed";
  if (!(a->adversarial_epsilon > 0 && isfinite(a->adversarial_epsilon))) return "--eps above 0 is needed";
  if (a->epochs < 0 || a->batch_size < 0 || a->patience < 0 || a->adversarial_steps < 1)
    return "--epochs, --batch-size and --patience cannot be negative, --steps must be positive";
  return NULL;
}

/* Rows of texts, or with numbers missing: they enter the model through its preprocessing, so that only the trainer of
 * dense layers takes them (pipeline/trainer.h). */
static gboolean needs_preprocessing(const CommandCommon *common, const TrainArguments *a, gboolean *needed,
                                    GError **error)
{
  CommandModel model = {0};
  *needed = FALSE;
  if (g_str_has_suffix(a->data, ".npz") || strcmp(a->data, "-") == 0) return TRUE;
  g_autoptr(DriftTable) table = command_read_rows(common, a->from, a->data, error);
  if (!table || !command_load_model(common, a->from, table, a->label, &model, error)) return FALSE;
  for (guint f = 0; f < drift_schema_n_features(model.schema); f++) {
    const DriftFeature *feature = drift_schema_get_feature(model.schema, f);
    const DriftColumn *column = drift_table_get_column(table, feature->name);
    if (!feature->input || !column) continue;
    *needed = *needed || column->kind == DRIFT_CATEGORICAL;
    for (guint i = 0; column->kind == DRIFT_NUMERIC && !*needed && i < column->numbers->len; i++)
      *needed = isnan(g_array_index(column->numbers, double, i));
  }
  command_model_clear(&model);
  return TRUE;
}

/* What that trainer does not know is refused. */
static gboolean choose_trainer(const CommandCommon *common, TrainArguments *a, GError **error)
{
  gboolean needed, plain = g_strcmp0(a->harden.method, "pgd") == 0 && g_strcmp0(a->harden.norm, "2") != 0 &&
                           g_strcmp0(a->harden.unit, "absolute") != 0 && !a->harden.range && a->harden.step_size == 0;
  if (!needs_preprocessing(common, a, &needed, error)) return FALSE;
  if (!needed) return TRUE;
  if (plain) {
    g_clear_pointer(&a->harden.method, g_free);
    return TRUE;
  }
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                      "the rows have texts or missing numbers: such a model is hardened by --attack pgd in standard "
                      "deviations, norm inf, without --range and --step-size");
  return FALSE;
}

static int run_harden(int argc, char **argv)
{
  TrainArguments a;
  command_train_init(&a);
  const GOptionEntry entries[] = {
      {"data", 0, 0, G_OPTION_ARG_FILENAME, &a.data, "CSV with a header (\"-\": standard input), or an .npz of arrays",
       "D.csv"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &a.label, "the column (of an .npz: the array) to predict", "L"},
      {"features", 0, 0, G_OPTION_ARG_STRING, &a.graph.features,
       "of an .npz: the array of rows (default: the other one)", "X"},
      {"attack", 0, 0, G_OPTION_ARG_STRING, &a.harden.method, "pgd (default), free, fast or trades", "METHOD"},
      {"eps", 0, 0, G_OPTION_ARG_DOUBLE, &a.adversarial_epsilon, "radius that the model shall stand", "E"},
      {"norm", 0, 0, G_OPTION_ARG_STRING, &a.harden.norm, "of the radius: inf (default) or 2", "N"},
      {"unit", 0, 0, G_OPTION_ARG_STRING, &a.harden.unit,
       "of the radius: sd (standard deviations of each feature, default) or absolute", "U"},
      {"range", 0, 0, G_OPTION_ARG_STRING, &a.harden.range, "of moved numbers: data (default), none or LOW,HIGH", "R"},
      {"steps", 0, 0, G_OPTION_ARG_INT, &a.adversarial_steps, "of pgd and trades (default 7)", "N"},
      {"step-size", 0, 0, G_OPTION_ARG_DOUBLE, &a.harden.step_size,
       "in the unit (default: 2.5 E / steps, fast 1.25 E, free E)", "S"},
      {"replays", 0, 0, G_OPTION_ARG_INT, &a.harden.replays, "of each batch by free (default 4)", "M"},
      {"beta", 0, 0, G_OPTION_ARG_DOUBLE, &a.harden.beta, "of trades, weight of the divergence (default 6)", "B"},
      {"epochs", 0, 0, G_OPTION_ARG_INT, &a.epochs, "passes over the rows (default 10)", "N"},
      {"batch-size", 0, 0, G_OPTION_ARG_INT, &a.batch_size, "rows a step (default 64)", "N"},
      {"patience", 0, 0, G_OPTION_ARG_INT, &a.patience,
       "stop after N epochs without a better loss under attack; 0: never", "N"},
      {"learning-rate", 0, 0, G_OPTION_ARG_DOUBLE, &a.learning_rate, "falling along a cosine (default 0.002)", "R"},
      {"weight-decay", 0, 0, G_OPTION_ARG_DOUBLE, &a.weight_decay, "decoupled (default 0.01)", "W"},
      {"freeze", 0, 0, G_OPTION_ARG_STRING, &a.graph.freeze, "patterns of weights or nodes that stay as they are",
       "P,…"},
      {"validation", 0, 0, G_OPTION_ARG_DOUBLE, &a.validation, "share of the rows, the last ones (default 0.1)", "F"},
      {"test", 0, 0, G_OPTION_ARG_DOUBLE, &a.graph.test, "share of the rows, the very last ones, that only measures",
       "F"},
      {"shuffle", 0, 0, G_OPTION_ARG_NONE, &a.shuffle, "validate on random rows instead of the last ones", NULL},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &a.seed, "of the order of rows and of the attack's starts (default 1)", "S"},
      {"backend", 0, 0, G_OPTION_ARG_STRING, &a.backend, "cuda, onednn or reference (default: the best)", "B"},
      {"checkpoint", 0, 0, G_OPTION_ARG_FILENAME, &a.checkpoint, "write to and resume from this file", "FILE"},
      {"checkpoint-seconds", 0, 0, G_OPTION_ARG_DOUBLE, &a.checkpoint_seconds, "at most every S seconds (default 5)",
       "S"},
      {"log", 0, 0, G_OPTION_ARG_FILENAME, &a.graph.log, "append a JSON object a line to this file", "FILE"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &a.output, "where to write the model", "OUT.onnx"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  int status = COMMAND_USAGE;
  if (command_parse(&command_harden, &argc, &argv, entries, &common)) {
    const gchar *usage = check_arguments(&a, argc);
    if (usage) {
      status = command_usage(&common, "%s", usage);
    } else {
      g_autoptr(GError) error = NULL;
      a.from = g_strdup(argv[1]);
      if (!a.harden.method) a.harden.method = g_strdup("pgd");
      json_t *report =
          choose_trainer(&common, &a, &error) ? command_train_execute(&common, &a, "harden", &error) : NULL;
      status = command_report(&common, report, error, command_train_print);
    }
  }
  command_train_clear(&a);
  return status;
}

const Command command_harden = {
    .name = "harden",
    .arguments = "MODEL --data D --label L --eps E [--attack pgd|free|fast|trades] -o OUT.onnx",
    .summary = "train a model on against attacks, keeping its architecture",
    .help =
        "MODEL is NAME@ALIAS, NAME/VERSION or a file M.onnx of one float input whose operators have gradients. Every\n"
        "batch is moved against the model within the radius before the model learns from it: pgd by several gradient\n"
        "steps (the strongest), fast by one, free by replaying batches, trades adds beta times the divergence between\n"
        "rows and moved rows to the loss. At the end of each epoch PGD of 10 steps attacks at most 512 validation "
        "rows;\n"
        "the weights of the lowest loss there are delivered. When the accuracy there falls below half of its best\n"
        "(catastrophic overfitting, a danger of fast), the training ends and the warning says so. A chain of dense\n"
        "layers whose rows have texts or missing numbers is trained by pgd in standard deviations, without ranges.\n"
        "\n"
        "--json prints what kedge train --adversarial prints.",
    .run = run_harden,
};
