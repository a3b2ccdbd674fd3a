/* `kedge smooth`. */
#include <math.h>
#include <stdio.h>

#include "daemon/command_attack_internal.h"
#include "daemon/command_train_internal.h"
#include "pipeline/csv.h"
#include "pipeline/smoothing.h"

extern const Command command_smooth;

typedef struct {
  CommandAttackData data;
  gchar *radii, *unit, *immutable, *reference, *output;
  double sigma, alpha;
  gint samples, first_samples;
  gint64 seed;
} SmoothArguments;

static void arguments_clear(SmoothArguments *a)
{
  gchar *texts[] = {a->radii, a->unit, a->immutable, a->reference, a->output};
  command_attack_data_clear(&a->data);
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
}

static json_t *describe(const PipelineSmoothing *smoothing, const PipelineSmoothingOptions *options,
                        const GArray *radii)
{
  json_t *report = json_pack("{s:I, s:I, s:I, s:f, s:s, s:f, s:i}", "rows", (json_int_t)smoothing->n, "rows_skipped",
                             (json_int_t)smoothing->n_skipped, "rows_abstained", (json_int_t)smoothing->n_abstained,
                             "sigma", options->sigma, "unit", options->absolute ? "absolute" : "sd", "alpha",
                             options->alpha, "samples", (int)options->samples);
  pipeline_robustness_report_set_rate(report, "accuracy", smoothing->n_right, smoothing->n);
  json_t *certified = json_array();
  for (guint i = 0; i < radii->len; i++) {
    double radius = g_array_index(radii, double, i);
    guint64 count = pipeline_smoothing_count_certified(smoothing, radius);
    json_t *one = json_pack("{s:f, s:I}", "radius", radius, "rows_certified", (json_int_t)count);
    pipeline_robustness_report_set_rate(one, "certified_accuracy", count, smoothing->n);
    json_array_append_new(certified, one);
  }
  json_object_set_new(report, "certified", certified);
  json_object_set_new(report, "seconds", json_real(smoothing->seconds));
  return report;
}

static void print_report(json_t *report)
{
  g_autofree gchar *clean = command_attack_text_rate(report, "accuracy"),
                   *rows = command_text_count(json_object_get(report, "rows")),
                   *abstained = command_text_count(json_object_get(report, "rows_abstained"));
  printf("smoothed classifier, sigma %g (unit %s): accuracy %s on %s rows (95 %% Wilson intervals), %s abstained\n"
         "a certificate is wrong with probability at most %g a row; radii are Euclidean, in the same unit\n\n",
         json_real_value(json_object_get(report, "sigma")), json_string_value(json_object_get(report, "unit")), clean,
         rows, abstained, json_real_value(json_object_get(report, "alpha")));
  CommandTable *table = command_table_new((const gchar *const[]){">radius", "certified accuracy", ">rows", NULL});
  size_t i;
  json_t *one;
  json_array_foreach (json_object_get(report, "certified"), i, one) {
    g_autofree gchar *radius = command_text_real(json_object_get(one, "radius"), 4),
                     *rate = command_attack_text_rate(one, "certified_accuracy"),
                     *count = command_text_count(json_object_get(one, "rows_certified"));
    command_table_add(table, radius, rate, count, NULL);
  }
  command_table_print(table);
}

/* One line a row: what is decided, and how far that holds. */
static gboolean write_rows(const gchar *path, const PipelineSmoothing *smoothing, const DriftSchema *schema,
                           GError **error)
{
  g_autoptr(DriftTable) table = drift_table_new();
  DriftColumn *row = drift_table_add_column(table, "row", DRIFT_NUMERIC),
              *decision = drift_table_add_column(table, "decision", DRIFT_CATEGORICAL),
              *radius = drift_table_add_column(table, "radius", DRIFT_NUMERIC);
  for (guint64 i = 0; i < smoothing->n; i++) {
    drift_column_append_number(row, (double)smoothing->rows[i] + 1);
    if (smoothing->decisions[i] == PIPELINE_SMOOTHING_ABSTAINS)
      drift_column_append_missing(decision);
    else
      drift_column_append_text(decision, g_ptr_array_index(schema->classes, (guint)smoothing->decisions[i]), -1);
    drift_column_append_number(radius, smoothing->radii[i]);
  }
  table->n_rows = smoothing->n;
  return pipeline_csv_write(path, table, error);
}

static json_t *certify(const CommandModel *loaded, const DriftTable *table, const PipelineSmoothingOptions *options,
                       const SmoothArguments *a, const GArray *radii, GError **error)
{
  PipelineSmoothing smoothing = {0};
  json_t *report = NULL;
  g_autoptr(PipelineModel) model = pipeline_model_load(loaded->onnx, loaded->schema, NULL, error);
  if (model && pipeline_smoothing_certify(model, table, options, &smoothing, error) &&
      (!a->output || write_rows(a->output, &smoothing, loaded->schema, error)))
    report = describe(&smoothing, options, radii);
  pipeline_smoothing_clear(&smoothing);
  return report;
}

static json_t *smooth(const CommandCommon *common, const SmoothArguments *a, const gchar *reference, GError **error)
{
  PipelineSmoothingOptions options;
  CommandModel loaded = {0};
  json_t *report = NULL;
  g_autoptr(DriftTable) table = NULL, units = NULL;
  g_autoptr(GArray) radii = g_array_new(FALSE, FALSE, sizeof(double));
  g_auto(GStrv) immutable = command_split_names(a->immutable);
  pipeline_smoothing_options_init(&options);
  options.sigma = a->sigma;
  options.alpha = a->alpha;
  options.samples = (guint)MAX(0, a->samples);
  options.first_samples = (guint)MAX(0, a->first_samples);
  options.seed = (guint64)a->seed;
  options.immutable = (const gchar *const *)immutable;
  if (command_parse_unit(a->unit, &options.absolute, error) &&
      command_attack_parse_radii(a->radii ? a->radii : "0.1,0.25,0.5,1", "--radii", radii, error) &&
      (!a->reference || (units = command_read_table(a->reference, error))) &&
      (table = command_attack_read_data(common, &a->data, reference, &loaded, error))) {
    options.reference = units;
    report = certify(&loaded, table, &options, a, radii, error);
  }
  command_model_clear(&loaded);
  return report;
}

static int run_smooth(int argc, char **argv)
{
  SmoothArguments a = {.sigma = 0.25, .alpha = 0.001, .samples = 1000, .first_samples = 100, .seed = 1};
  const GOptionEntry entries[] = {
      {"data", 0, 0, G_OPTION_ARG_FILENAME, &a.data.data,
       "CSV with a header (\"-\": standard input), or an .npz of arrays", "D.csv"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &a.data.label, "the column (of an .npz: the array) with the truth", "L"},
      {"features", 0, 0, G_OPTION_ARG_STRING, &a.data.features,
       "of an .npz: the array of rows (default: the other one)", "X"},
      {"rows", 0, 0, G_OPTION_ARG_INT64, &a.data.rows, "the first N rows only (default: all)", "N"},
      {"sigma", 0, 0, G_OPTION_ARG_DOUBLE, &a.sigma, "standard deviation of the noise (default 0.25)", "S"},
      {"unit", 0, 0, G_OPTION_ARG_STRING, &a.unit,
       "of sigma and radii: sd (standard deviations of each feature, default) or absolute", "U"},
      {"radii", 0, 0, G_OPTION_ARG_STRING, &a.radii, "at which accuracy is certified (default 0.1,0.25,0.5,1)", "R,…"},
      {"samples", 0, 0, G_OPTION_ARG_INT, &a.samples, "noisy copies of a row that are counted (default 1000)", "N"},
      {"first-samples", 0, 0, G_OPTION_ARG_INT, &a.first_samples, "copies that choose the class (default 100)", "N"},
      {"alpha", 0, 0, G_OPTION_ARG_DOUBLE, &a.alpha, "chance that a row's certificate is wrong (default 0.001)", "A"},
      {"immutable", 0, 0, G_OPTION_ARG_STRING, &a.immutable, "features that get no noise", "A,B"},
      {"reference", 0, 0, G_OPTION_ARG_FILENAME, &a.reference,
       "data that standard deviations are taken from (default: the rows)", "R.csv"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &a.seed, "of the noise (default 1)", "S"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &a.output, "CSV to write each row's decision and radius to", "OUT.csv"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  int status = COMMAND_USAGE;
  if (command_parse(&command_smooth, &argc, &argv, entries, &common)) {
    if (argc != 2 || !a.data.data || !a.data.label) {
      status = command_usage(&common, "one MODEL, --data and --label are needed");
    } else {
      g_autoptr(GError) error = NULL;
      json_t *report = smooth(&common, &a, argv[1], &error);
      status = command_report(&common, report, error, print_report);
    }
  }
  arguments_clear(&a);
  return status;
}

const Command command_smooth = {
    .name = "smooth",
    .arguments = "MODEL --data D --label L [--sigma S] [--radii R,…] [-o OUT.csv]",
    .summary = "certify by randomised smoothing how far rows may move before a decision changes",
    .help =
        "The smoothed classifier gives the class that MODEL gives most often to a row with normal noise. Few noisy\n"
        "copies choose the class, fresh ones count it; the count's lower bound (Clopper and Pearson) gives a "
        "Euclidean\n"
        "radius within which the class cannot change, whatever the attack, except with probability alpha. Where the\n"
        "bound is not above one half it abstains, which counts as wrong. The certificate is of the smoothed\n"
        "classifier, not of MODEL alone: serve it by the same vote. Models trained with noise (kedge train --noise)\n"
        "get larger radii. Texts, immutable and missing values stay.\n"
        "\n"
        "--json prints {\"rows\", \"rows_skipped\", \"rows_abstained\", \"sigma\", \"unit\", \"alpha\", \"samples\",\n"
        "\"accuracy\", \"accuracy_low\", \"accuracy_high\", \"certified\": [{\"radius\", \"rows_certified\",\n"
        "\"certified_accuracy\", \"certified_accuracy_low\", \"certified_accuracy_high\"}], \"seconds\"}. -o writes "
        "row,\n"
        "decision (empty: abstained) and radius.",
    .run = run_smooth,
};
