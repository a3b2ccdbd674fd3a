/* `kedge compress`. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command_compress_internal.h"
#include "onnx/graph.h"
#include "pipeline/evaluate.h"
#include "pipeline/output_file.h"

extern const Command command_compress;

static void arguments_clear(CompressArguments *a)
{
  gchar *texts[] = {a->data,    a->label, a->output, a->ranges, a->activations, a->keep_float,
                    a->distill, a->image, a->scope,  a->by,     a->backend};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
}

static const gchar *check_arguments(const CompressArguments *a, int argc)
{
  if (argc != 2) return "one MODEL is needed";
  if (!a->data || !a->output) return "--data and -o are needed";
  if (!a->int8 && isnan(a->prune) && !a->distill) return "say how: --int8, --prune SHARE or --distill ARCH";
  if (isnan(a->prune) && (a->structured || a->scope || a->by || a->fine_tune_epochs >= 0))
    return "--structured, --scope, --by and --fine-tune-epochs go with --prune";
  if (!a->int8 && (a->activations || a->ranges || a->keep_float || a->per_tensor || a->full_range))
    return "--activations, --ranges, --keep-float, --per-tensor and --full-range go with --int8";
  if (!a->distill && (a->image || a->epochs >= 0 || !isnan(a->temperature) || !isnan(a->label_share)))
    return "--image, --epochs, --temperature and --label-share go with --distill";
  if (a->batch_size < 0 || a->epochs == 0) return "--batch-size and --epochs must be positive";
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

/* held_out: the rows that are measured were not looked at before. */
static json_t *describe(const CompressArguments *a, json_t *steps, gboolean held_out,
                        const PipelineCompressComparison *c)
{
  json_t *report = json_pack("{s:s, s:o, s:I, s:I, s:b, s:i}", "output", a->output, "steps", steps, "rows",
                             (json_int_t)c->n_rows, "rows_labelled", (json_int_t)c->n_labelled, "held_out", held_out,
                             "latency_rows", (int)PIPELINE_EVALUATION_LATENCY_ROWS);
  json_object_set_new(report, "before", describe_side(&c->before));
  json_object_set_new(report, "after", describe_side(&c->after));
  json_object_set_new(report, "size_ratio", json_real((double)c->after.bytes / (double)c->before.bytes));
  json_object_set_new(report, "agreement", real_or_null(c->agreement));
  json_object_set_new(report, "difference", real_or_null(c->difference));
  return report;
}

/* What the file says of its accuracy (COMMAND_VALIDATION_KEY) was measured on the model before: now it is that of the
 * held-out rows with a label, or nothing. */
static GBytes *renew_promise(GBytes *onnx, gboolean held_out, const PipelineCompressComparison *c, GError **error)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, error);
  gboolean known = held_out && isfinite(c->after.accuracy);
  if (!graph) return NULL;
  json_t *json = json_pack("{s:f, s:I}", "accuracy", known ? c->after.accuracy : 0, "n", (json_int_t)c->n_labelled);
  char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
  onnx_graph_set_metadata(graph, COMMAND_VALIDATION_KEY, known ? text : NULL);
  free(text);
  json_decref(json);
  return onnx_graph_to_bytes(graph, error);
}

static gboolean write_model(const gchar *path, GBytes *onnx, GError **error)
{
  gsize length;
  const gchar *bytes = g_bytes_get_data(onnx, &length);
  return pipeline_output_file_write(path, bytes, length, error);
}

/* A model that knows its label is not measured by another column. */
static gboolean check_label(const CompressArguments *a, const DriftSchema *schema, GError **error)
{
  if (!a->label || g_str_equal(a->label, schema->label)) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "--label %s: the model predicts \"%s\"", a->label,
              schema->label);
  return FALSE;
}

static json_t *compress(const CommandCommon *common, const CompressArguments *a, const gchar *reference, GError **error)
{
  CommandModel loaded = {0};
  PipelineCompressComparison comparison;
  json_t *report = NULL, *steps = json_array();
  g_autoptr(DriftTable) table = command_read_rows(common, reference, a->data, error), work = NULL, test = NULL;
  if (table && command_load_model(common, reference, table, a->label, &loaded, error) &&
      check_label(a, loaded.schema, error)) {
    split(table, a->test, &work, &test);
    CompressWork now = {.common = common, .arguments = a, .schema = loaded.schema, .rows = work, .steps = steps};
    g_autoptr(GBytes) small = command_compress_apply(&now, loaded.onnx, error);
    gboolean held_out = work->n_rows < table->n_rows;
    if (small && pipeline_compress_compare(loaded.onnx, small, loaded.schema, test, &comparison, error)) {
      g_autoptr(GBytes) final = renew_promise(small, held_out, &comparison, error);
      if (final && write_model(a->output, final, error)) {
        comparison.after.bytes = g_bytes_get_size(final);
        report = describe(a, json_incref(steps), held_out, &comparison);
      }
    }
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
  CompressArguments a = {.test = 0.2,
                         .percentile = 99.99,
                         .calibration_rows = 1000,
                         .epochs = -1,
                         .fine_tune_epochs = -1,
                         .seed = 1,
                         .prune = NAN,
                         .temperature = NAN,
                         .label_share = NAN,
                         .learning_rate = NAN};
  const GOptionEntry entries[] = {
      {"data", 0, 0, G_OPTION_ARG_FILENAME, &a.data,
       "CSV with a header (\"-\": standard input), JSON lines, .npy or .npz", "D.csv"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &a.label,
       "the column with the truth (default: the one that the model names)", "L"},
      {"test", 0, 0, G_OPTION_ARG_DOUBLE, &a.test,
       "share of the rows, the last ones, that only measures (default 0.2); 0: all rows do both", "F"},
      {"int8", 0, 0, G_OPTION_ARG_NONE, &a.int8, "weights and activations in 8-bit integers", NULL},
      {"activations", 0, 0, G_OPTION_ARG_STRING, &a.activations, "with --int8: int8 (default) or uint8", "T"},
      {"full-range", 0, 0, G_OPTION_ARG_NONE, &a.full_range,
       "with --int8: weights in all 8 bits, for processors with VNNI; else in 7, which others add without saturation",
       NULL},
      {"ranges", 0, 0, G_OPTION_ARG_STRING, &a.ranges,
       "with --int8: of activations, by min-max, percentile, entropy or mse (default mse)", "METHOD"},
      {"percentile", 0, 0, G_OPTION_ARG_DOUBLE, &a.percentile, "of --ranges percentile (default 99.99)", "P"},
      {"calibration-rows", 0, 0, G_OPTION_ARG_INT, &a.calibration_rows,
       "rows that activations are observed on at the most (default 1000)", "N"},
      {"per-tensor", 0, 0, G_OPTION_ARG_NONE, &a.per_tensor,
       "with --int8: one scale for the weights of a layer instead of one a channel", NULL},
      {"keep-float", 0, 0, G_OPTION_ARG_STRING, &a.keep_float,
       "with --int8: layers that stay in floating point: first, last, or patterns of nodes or weights", "P,…"},
      {"prune", 0, 0, G_OPTION_ARG_DOUBLE, &a.prune, "this share of the weights (or units) goes", "S"},
      {"structured", 0, 0, G_OPTION_ARG_NONE, &a.structured,
       "with --prune: whole units and channels leave the graph; else single weights become 0", NULL},
      {"scope", 0, 0, G_OPTION_ARG_STRING, &a.scope,
       "with --prune: the share of each layer (layer, default) or of all of them together (global)", "S"},
      {"by", 0, 0, G_OPTION_ARG_STRING, &a.by,
       "with --structured: units go by the norm of their weights (l1, default) or by their activation", "HOW"},
      {"fine-tune-epochs", 0, 0, G_OPTION_ARG_INT, &a.fine_tune_epochs,
       "with --prune: passes over the labelled rows (default 4); 0: none", "N"},
      {"distill", 0, 0, G_OPTION_ARG_STRING, &a.distill,
       "a new, smaller network learns what the model says: mlp:16, of images cnn:8,16", "ARCH"},
      {"image", 0, 0, G_OPTION_ARG_STRING, &a.image,
       "with --distill cnn: rows are images: channels,height,width (default: as the model takes them)", "C,H,W"},
      {"epochs", 0, 0, G_OPTION_ARG_INT, &a.epochs,
       "with --distill: passes over the rows (default 20, of few rows of a table up to 100)", "N"},
      {"temperature", 0, 0, G_OPTION_ARG_DOUBLE, &a.temperature,
       "with --distill: that softens the model's probabilities (default 4)", "T"},
      {"label-share", 0, 0, G_OPTION_ARG_DOUBLE, &a.label_share,
       "with --distill: of the loss that labels make, where there are any (default 0.1)", "A"},
      {"batch-size", 0, 0, G_OPTION_ARG_INT, &a.batch_size,
       "rows a step of training (default 64; of a table's student by the number of rows)", "N"},
      {"learning-rate", 0, 0, G_OPTION_ARG_DOUBLE, &a.learning_rate,
       "of training (default: --prune 0.001, --distill 0.01, of images 0.002)", "R"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &a.seed, "of first weights and the order of rows (default 1)", "S"},
      {"backend", 0, 0, G_OPTION_ARG_STRING, &a.backend, "of training: onednn or reference (default: the best)", "B"},
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
    .arguments = "MODEL --data D [--label L] --int8 | --prune S [--structured] | --distill ARCH -o OUT.onnx",
    .summary = "make a model smaller: 8-bit integers, pruning, distillation",
    .help =
        "MODEL is NAME@ALIAS, NAME/VERSION or a file M.onnx. Several ways may be asked for at once: the student of\n"
        "--distill is pruned, 8 bits come last. The last fifth of the rows (--test) only measures: accuracy where "
        "there\n"
        "is a label, agreement with MODEL, median time of a row in kedge, bytes of the file. A model in which nothing\n"
        "can be made smaller is refused with the reason.\n"
        "\n"
        "--int8 needs no label: BatchNormalization becomes part of the weights in front of it, activations are "
        "observed\n"
        "on rows (--ranges), Conv, Gemm, MatMul, Add and what lies between them get QuantizeLinear and "
        "DequantizeLinear\n"
        "around them, weights are stored as 8-bit integers with a scale a channel (operator set 13 or later).\n"
        "\n"
        "--prune sets the smallest weights to 0, growing to the share in the first half of the fine-tuning; the file\n"
        "keeps its size. With --structured whole units leave, and the file and the time of a row shrink. Fine-tuning\n"
        "needs labels and rows of numbers; --fine-tune-epochs 0 does without.\n"
        "\n"
        "--distill trains a new network on the probabilities that MODEL gives to the rows (Hinton 2015), mixed with\n"
        "labels where there are some; unlabelled rows suffice. MODEL may be of any kind, trees and the mean that kedge "
        "search\n"
        "writes too. mlp takes texts and missing numbers, as kedge train does; cnn takes images.\n"
        "\n"
        "--json prints {\"output\", \"steps\": [{\"step\", …}], \"rows\", \"rows_labelled\", \"held_out\", "
        "\"latency_rows\",\n"
        "\"before\" and \"after\" {\"bytes\", \"weights\", \"weights_not_zero\", \"accuracy\", \"rmse\", "
        "\"latency_p50_us\"},\n"
        "\"size_ratio\", \"agreement\", \"difference\"}: agreement is the share of rows with the same decision, "
        "difference\n"
        "the mean total variation distance of the probabilities (of a regression: root mean squared difference over "
        "the\n"
        "standard deviation of MODEL's values). A step of pruning lists \"layers\".",
    .run = run_compress,
};
