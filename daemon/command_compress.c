/* `kedge compress`. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command_compress_internal.h"
#include "pipeline/evaluate.h"

extern const Command command_compress;

static void arguments_clear(CompressArguments *a)
{
  gchar *texts[] = {a->data, a->label, a->output, a->ranges, a->activations, a->keep_float};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
}

static const gchar *check_arguments(const CompressArguments *a, int argc)
{
  if (argc != 2) return "one MODEL is needed";
  if (!a->data || !a->output) return "--data and -o are needed";
  if (!a->int8) return "say how: --int8";
  if (!(a->test >= 0 && a->test <= 0.9)) return "--test is a share from 0 to 0.9";
  if (a->calibration_rows < 1) return "--calibration-rows must be positive";
  return NULL;
}

/* --- the run ------------------------------------------------------------------------------------------------------ */

/* The last rows only measure; *work are those in front of them, or all when none is set apart. */
static void split(const DriftTable *table, double share, DriftTable **work, DriftTable **test)
{
  guint64 n_test = (guint64)((double)table->n_rows * share + 0.5), n = table->n_rows;
  g_autofree guint64 *rows = g_new(guint64, n + 1);
  for (guint64 i = 0; i < n; i++) rows[i] = i;
  *work = drift_table_select(table, rows, n - n_test);
  *test = n_test > 0 ? drift_table_select(table, rows + n - n_test, n_test) : drift_table_select(table, rows, n);
}

static json_t *real_or_null(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

static json_t *describe_side(const PipelineCompressSide *side)
{
  json_t *object = json_pack("{s:I, s:I, s:I}", "bytes", (json_int_t)side->bytes, "weights",
                             (json_int_t)side->n_weights, "weights_not_zero", (json_int_t)side->n_nonzero);
  json_object_set_new(object, "accuracy", real_or_null(side->accuracy));
  json_object_set_new(object, "rmse", real_or_null(side->rmse));
  json_object_set_new(object, "latency_p50_us", real_or_null(side->latency_p50_us));
  return object;
}

static json_t *describe(const CompressArguments *a, json_t *steps, const PipelineCompressComparison *c)
{
  json_t *report = json_pack("{s:s, s:o, s:I, s:I, s:b, s:i}", "output", a->output, "steps", steps, "rows",
                             (json_int_t)c->n_rows, "rows_labelled", (json_int_t)c->n_labelled, "held_out", a->test > 0,
                             "latency_rows", (int)PIPELINE_EVALUATION_LATENCY_ROWS);
  json_object_set_new(report, "before", describe_side(&c->before));
  json_object_set_new(report, "after", describe_side(&c->after));
  json_object_set_new(report, "size_ratio", json_real((double)c->after.bytes / (double)c->before.bytes));
  json_object_set_new(report, "agreement", real_or_null(c->agreement));
  json_object_set_new(report, "difference", real_or_null(c->difference));
  return report;
}

static gboolean write_model(const gchar *path, GBytes *onnx, GError **error)
{
  gsize length;
  const gchar *bytes = g_bytes_get_data(onnx, &length);
  return g_file_set_contents(path, bytes, (gssize)length, error);
}

static json_t *compress(const CommandCommon *common, const CompressArguments *a, const gchar *reference, GError **error)
{
  CommandModel loaded = {0};
  PipelineCompressComparison comparison;
  json_t *report = NULL, *steps = json_array();
  g_autoptr(DriftTable) table = command_read_table(a->data, error), work = NULL, test = NULL;
  if (table && command_load_model(common, reference, table, a->label, &loaded, error)) {
    split(table, a->test, &work, &test);
    CompressWork now = {.arguments = a, .schema = loaded.schema, .rows = work, .steps = steps};
    g_autoptr(GBytes) small = command_compress_apply(&now, loaded.onnx, error);
    if (small && pipeline_compress_compare(loaded.onnx, small, loaded.schema, test, &comparison, error) &&
        write_model(a->output, small, error))
      report = describe(a, json_incref(steps), &comparison);
  }
  json_decref(steps);
  command_model_clear(&loaded);
  return report;
}

/* --- for people --------------------------------------------------------------------------------------------------- */

static const struct {
  const gchar *key, *name;
  guint decimals; /* G_MAXUINT: a count */
} shown[] = {{"bytes", "bytes", G_MAXUINT},
             {"weights", "weights", G_MAXUINT},
             {"weights_not_zero", "weights that are not zero", G_MAXUINT},
             {"accuracy", "accuracy", 4},
             {"rmse", "root mean squared error", 4},
             {"latency_p50_us", "median time of a row (µs)", 1}};

static void print_steps(json_t *steps)
{
  size_t i;
  json_t *step;
  json_array_foreach (steps, i, step) {
    g_autoptr(GString) line = g_string_new("");
    const char *key;
    json_t *value;
    json_object_foreach (step, key, value) {
      g_autofree gchar *text = command_text(value);
      if (!json_is_array(value) && strcmp(key, "step") != 0) g_string_append_printf(line, ", %s %s", key, text);
    }
    printf("%s%s\n", json_string_value(json_object_get(step, "step")), line->str);
  }
}

static void print_report(json_t *report)
{
  json_t *before = json_object_get(report, "before"), *after = json_object_get(report, "after");
  g_autofree gchar *rows = command_text_count(json_object_get(report, "rows")),
                   *labelled = command_text_count(json_object_get(report, "rows_labelled")),
                   *agreement = command_text_real(json_object_get(report, "agreement"), 4),
                   *difference = command_text_real(json_object_get(report, "difference"), 4);
  print_steps(json_object_get(report, "steps"));
  CommandTable *table = command_table_new((const gchar *const[]){"", ">before", ">after", NULL});
  for (guint i = 0; i < G_N_ELEMENTS(shown); i++) {
    json_t *old = json_object_get(before, shown[i].key), *new = json_object_get(after, shown[i].key);
    gboolean count = shown[i].decimals == G_MAXUINT;
    if (json_is_null(old) && json_is_null(new)) continue;
    g_autofree gchar *first = count ? command_text_count(old) : command_text_real(old, shown[i].decimals),
                     *second = count ? command_text_count(new) : command_text_real(new, shown[i].decimals);
    command_table_add(table, shown[i].name, first, second, NULL);
  }
  command_table_print(table);
  printf("%s: %.3f of the size; on %s rows (%s; %s of them with a label): same decisions %s, difference %s\n",
         json_string_value(json_object_get(report, "output")), json_real_value(json_object_get(report, "size_ratio")),
         rows, json_is_true(json_object_get(report, "held_out")) ? "held out" : "also used for compressing", labelled,
         agreement, difference);
}

static int run_compress(int argc, char **argv)
{
  CompressArguments a = {.test = 0.2, .percentile = 99.99, .calibration_rows = 1000};
  const GOptionEntry entries[] = {
      {"data", 0, 0, G_OPTION_ARG_FILENAME, &a.data,
       "CSV with a header (\"-\": standard input), JSON lines, .npy or .npz", "D.csv"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &a.label,
       "the column with the truth (default: the one that the model names)", "L"},
      {"test", 0, 0, G_OPTION_ARG_DOUBLE, &a.test,
       "share of the rows, the last ones, that only measures (default 0.2); 0: all rows do both", "F"},
      {"int8", 0, 0, G_OPTION_ARG_NONE, &a.int8, "weights and activations in 8-bit integers", NULL},
      {"activations", 0, 0, G_OPTION_ARG_STRING, &a.activations,
       "with --int8: int8 (default), or uint8 with weights in 7 bits, for processors without VNNI", "T"},
      {"ranges", 0, 0, G_OPTION_ARG_STRING, &a.ranges,
       "with --int8: of activations, by min-max, percentile, entropy or mse (default mse)", "METHOD"},
      {"percentile", 0, 0, G_OPTION_ARG_DOUBLE, &a.percentile, "of --ranges percentile (default 99.99)", "P"},
      {"calibration-rows", 0, 0, G_OPTION_ARG_INT, &a.calibration_rows,
       "rows that activations are observed on at the most (default 1000)", "N"},
      {"per-tensor", 0, 0, G_OPTION_ARG_NONE, &a.per_tensor,
       "with --int8: one scale for the weights of a layer instead of one a channel", NULL},
      {"keep-float", 0, 0, G_OPTION_ARG_STRING, &a.keep_float,
       "with --int8: layers that stay in floating point: first, last, or patterns of nodes or weights", "P,…"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &a.output, "where to write the model", "OUT.onnx"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  int status = COMMAND_USAGE;
  if (command_parse(&command_compress, &argc, &argv, entries, &common)) {
    const gchar *usage = check_arguments(&a, argc);
    if (usage) {
      status = command_usage(&common, "%s", usage);
    } else {
      g_autoptr(GError) error = NULL;
      json_t *report = compress(&common, &a, argv[1], &error);
      status = command_report(&common, report, error, print_report);
    }
  }
  arguments_clear(&a);
  return status;
}

const Command command_compress = {
    .name = "compress",
    .arguments = "MODEL --data D [--label L] --int8 -o OUT.onnx",
    .summary = "make a model smaller: 8-bit integers",
    .help = "MODEL is NAME@ALIAS, NAME/VERSION or a file M.onnx.",
    .run = run_compress,
};
