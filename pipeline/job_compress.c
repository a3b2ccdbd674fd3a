/* "compress": a version made smaller. */
#include <stddef.h>

#include "pipeline/compress.h"
#include "pipeline/compress_plan.h"
#include "pipeline/job_training.h"

typedef struct {
  const gchar *activations, *ranges, *keep_float, *scope, *by, *distill, *backend;
  gboolean int8, full_range, per_tensor, structured;
  double percentile, prune, temperature, label_share, learning_rate;
  guint calibration_rows, fine_tune_epochs, epochs, batch_size;
} Options;

static const gchar *const activations[] = {"int8", "uint8", NULL};
static const gchar *const ranges[] = {"mse", "min-max", "percentile", "entropy", NULL};
static const gchar *const scopes[] = {"layer", "global", NULL};
static const gchar *const orders[] = {"l1", "activation", NULL};

#define AT(member) offsetof(Options, member)
static const PipelineJobField fields[] = {
    {"int8", PIPELINE_FIELD_SWITCH, AT(int8), 0, 0, NULL, "8-bit integers"},
    {"activations", PIPELINE_FIELD_CHOICE, AT(activations), 0, 0, activations, "of 8 bits"},
    {"ranges", PIPELINE_FIELD_CHOICE, AT(ranges), 0, 0, ranges, "of activations"},
    {"percentile", PIPELINE_FIELD_REAL, AT(percentile), 50, 100, NULL, "of the range percentile"},
    {"calibration_rows", PIPELINE_FIELD_COUNT, AT(calibration_rows), 1, 1e9, NULL, "that activations are observed on"},
    {"full_range", PIPELINE_FIELD_SWITCH, AT(full_range), 0, 0, NULL, "weights in 8 bits instead of 7"},
    {"per_tensor", PIPELINE_FIELD_SWITCH, AT(per_tensor), 0, 0, NULL, "one scale a layer"},
    {"keep_float", PIPELINE_FIELD_TEXT, AT(keep_float), 0, 0, NULL, "first, last, or patterns: A,B"},
    {"prune", PIPELINE_FIELD_REAL, AT(prune), 0, 0.999, NULL, "share of weights or units; 0: none"},
    {"structured", PIPELINE_FIELD_SWITCH, AT(structured), 0, 0, NULL, "units and channels leave"},
    {"scope", PIPELINE_FIELD_CHOICE, AT(scope), 0, 0, scopes, "of the share"},
    {"by", PIPELINE_FIELD_CHOICE, AT(by), 0, 0, orders, "in which units go"},
    {"fine_tune_epochs", PIPELINE_FIELD_COUNT, AT(fine_tune_epochs), 0, 100000, NULL, "after pruning"},
    {"distill", PIPELINE_FIELD_TEXT, AT(distill), 0, 0, NULL, "architecture of a student; \"\": none"},
    {"epochs", PIPELINE_FIELD_COUNT, AT(epochs), 0, 100000, NULL, "of the student; 0: the usual ones"},
    {"temperature", PIPELINE_FIELD_REAL, AT(temperature), 1, 1000, NULL, "that softens probabilities"},
    {"label_share", PIPELINE_FIELD_REAL, AT(label_share), 0, 1, NULL, "of the student's loss"},
    {"batch_size", PIPELINE_FIELD_COUNT, AT(batch_size), 0, 65536, NULL, "0: the usual one"},
    {"learning_rate", PIPELINE_FIELD_REAL, AT(learning_rate), 0, 10, NULL, "0: the usual one"},
    {"backend", PIPELINE_FIELD_TEXT, AT(backend), 0, 0, NULL, "cuda, onednn or reference"},
    {.name = NULL}};

static gboolean read_options(const json_t *spec, Options *options, GError **error)
{
  PipelineCompressPlan usual;
  pipeline_compress_plan_init(&usual);
  *options = (Options){.activations = "int8",
                       .ranges = usual.quantize.method,
                       .keep_float = "",
                       .scope = "layer",
                       .by = "l1",
                       .distill = "",
                       .percentile = usual.quantize.percentile,
                       .temperature = usual.distil.temperature,
                       .label_share = usual.distil.label_share,
                       .calibration_rows = (guint)usual.quantize.max_rows,
                       .fine_tune_epochs = usual.prune.epochs,
                       .epochs = usual.distil.epochs};
  if (!pipeline_job_fields_read(fields, spec, options, error)) return FALSE;
  if (options->int8 || options->prune > 0 || *options->distill != '\0') return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "the job's spec names no way to compress: int8 (true), prune (a share) or distill (an architecture)");
  return FALSE;
}

/* keep: borrowed by the plan. */
static void fill_plan(const Options *options, gint64 seed, gchar **keep, PipelineCompressPlan *plan)
{
  pipeline_compress_plan_init(plan);
  plan->quantizes = options->int8;
  if (g_str_equal(options->activations, "uint8")) plan->quantize.rewrite.activations = ONNX_TYPE_UINT8;
  plan->quantize.rewrite.per_tensor = options->per_tensor;
  plan->quantize.rewrite.full_range = options->full_range;
  plan->quantize.rewrite.keep = (const gchar *const *)keep;
  plan->quantize.method = options->ranges;
  plan->quantize.percentile = options->percentile;
  plan->quantize.max_rows = options->calibration_rows;
  plan->prunes = options->prune > 0;
  plan->prune.share = options->prune;
  plan->prune.structured = options->structured;
  plan->prune.global = g_str_equal(options->scope, "global");
  plan->prune.activation = g_str_equal(options->by, "activation");
  plan->prune.epochs = options->fine_tune_epochs;
  plan->distils = *options->distill != '\0';
  plan->distil.architecture = options->distill;
  plan->distil.epochs = options->epochs;
  plan->distil.temperature = options->temperature;
  plan->distil.label_share = options->label_share;
  if (options->batch_size > 0) plan->prune.batch_size = plan->distil.batch_size = options->batch_size;
  if (options->learning_rate > 0) plan->prune.learning_rate = plan->distil.learning_rate = options->learning_rate;
  plan->prune.seed = plan->distil.seed = (guint64)seed;
  plan->prune.backend = plan->distil.backend = options->backend;
}

static json_t *describe_side(const PipelineCompressSide *side)
{
  return json_pack("{s:I, s:I, s:I, s:o, s:o}", "bytes", (json_int_t)side->bytes, "weights",
                   (json_int_t)side->n_weights, "weights_not_zero", (json_int_t)side->n_nonzero, "accuracy",
                   pipeline_job_real(side->accuracy), "latency_p50_us", pipeline_job_real(side->latency_p50_us));
}

/* The usual judgement, and both models beside each other. */
static gboolean judge(PipelineTraining *training, GError **error)
{
  PipelineCompressComparison c;
  json_t *compression = json_object_get(training->results, "compression");
  if (!pipeline_training_judge(training, error)) return FALSE;
  if (training->holdout->n_rows > 0) {
    if (!pipeline_compress_compare(training->from, training->trained.onnx, training->schema, training->holdout, &c,
                                   error))
      return FALSE;
    json_object_set_new(compression, "before", describe_side(&c.before));
    json_object_set_new(compression, "after", describe_side(&c.after));
    json_object_set_new(compression, "size_ratio", json_real((double)c.after.bytes / (double)c.before.bytes));
    json_object_set_new(compression, "agreement", pipeline_job_real(c.agreement));
    json_object_set_new(compression, "difference", pipeline_job_real(c.difference));
    pipeline_job_log(training->context,
                     "%" G_GSIZE_FORMAT " bytes became %" G_GSIZE_FORMAT ", same decision on %.4f of %" G_GUINT64_FORMAT
                     " held-out rows, median time of a row %.1f us before, %.1f us after",
                     c.before.bytes, c.after.bytes, c.agreement, c.n_rows, c.before.latency_p50_us,
                     c.after.latency_p50_us);
  }
  return TRUE;
}

static gboolean learn(PipelineTraining *training, GError **error)
{
  Options options;
  PipelineCompressPlan plan;
  if (!read_options(training->spec, &options, error) || !pipeline_training_need_from(training, "compression", error))
    return FALSE;
  g_auto(GStrv) keep = *options.keep_float != '\0' ? g_strsplit(options.keep_float, ",", -1) : NULL;
  fill_plan(&options, training->seed, keep, &plan);
  json_t *steps = json_array();
  json_object_set_new(training->results, "compression", json_pack("{s:o}", "steps", steps));
  const PipelineCompressWatch watch = {.progress = pipeline_training_tell, .user_data = training};
  training->judges_from = TRUE;
  training->trained.onnx =
      pipeline_compress_apply(&plan, training->from, training->schema, training->train, steps, &watch, error);
  return training->trained.onnx != NULL;
}

static gboolean check(const json_t *spec, GError **error)
{
  Options options;
  return read_options(spec, &options, error);
}

static gboolean run(PipelineJobContext *context, GError **error)
{
  const PipelineTrainingStages stages = {.load = pipeline_training_load, .learn = learn, .judge = judge};
  return pipeline_training_run_stages(context, &stages, error);
}

const PipelineJobKind pipeline_job_kind_compress = {
    .kind = "compress",
    .summary = "make a version smaller: 8-bit integers, pruning, distillation",
    .fields = fields,
    .check = check,
    .run = run,
};
