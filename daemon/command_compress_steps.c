/* The steps of `kedge compress`, from options to what pipeline/ takes. */
#include <math.h>
#include <string.h>

#include "daemon/command_compress_internal.h"
#include "pipeline/distil.h"
#include "pipeline/prune.h"
#include "pipeline/quantize.h"

static GBytes *invalid(GError **error, const gchar *message)
{
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, message);
  return NULL;
}

static GBytes *quantize(CompressWork *work, GBytes *onnx, GError **error)
{
  const CompressArguments *a = work->arguments;
  PipelineQuantizeOptions options;
  PipelineQuantized result;
  g_auto(GStrv) keep = a->keep_float ? command_split_names(a->keep_float) : NULL;
  pipeline_quantize_options_init(&options);
  if (a->activations && strcmp(a->activations, "uint8") != 0 && strcmp(a->activations, "int8") != 0)
    return invalid(error, "--activations is int8 or uint8");
  if (g_strcmp0(a->activations, "uint8") == 0) options.rewrite.activations = ONNX_TYPE_UINT8;
  options.rewrite.per_tensor = a->per_tensor;
  options.rewrite.keep = (const gchar *const *)keep;
  if (a->ranges) options.method = a->ranges;
  options.percentile = a->percentile;
  options.max_rows = (guint64)a->calibration_rows;
  GBytes *small = pipeline_quantize(onnx, work->schema, work->rows, &options, &result, error);
  if (small)
    json_array_append_new(
        work->steps, json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:I}", "step", "int8", "activations",
                               onnx_type_get_name(options.rewrite.activations), "ranges", options.method, "layers",
                               (int)result.n_products, "sums", (int)result.n_sums, "layers_kept", (int)result.n_kept,
                               "normalisations_folded", (int)result.n_folded, "rows", (json_int_t)result.n_rows));
  return small;
}

/* --- what trains -------------------------------------------------------------------------------------------------- */

static gboolean show(const PipelineTrainProgress *progress, gpointer bar)
{
  g_autofree gchar *text =
      g_strdup_printf("epoch %u of %u, loss %.4f", progress->epoch, progress->epochs, progress->loss);
  command_progress_update(bar, (double)progress->epoch / MAX(1, progress->epochs), text);
  return TRUE;
}

static gboolean choose(const gchar *text, const gchar *usual, const gchar *other, const gchar *option,
                       gboolean *is_other, GError **error)
{
  *is_other = g_strcmp0(text, other) == 0;
  if (!text || *is_other || strcmp(text, usual) == 0) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s is %s or %s", option, usual, other);
  return FALSE;
}

static json_t *describe_pruned(const PipelinePruned *result, const PipelinePruneOptions *options)
{
  json_t *layers = json_array();
  const gchar *unit = options->structured ? "units" : "weights",
              *left = options->structured ? "units_left" : "weights_left";
  for (guint i = 0; i < result->layers->len; i++) {
    const PipelinePrunedLayer *layer = g_ptr_array_index(result->layers, i);
    json_array_append_new(layers, json_pack("{s:s, s:I, s:I}", "name", layer->name, unit, (json_int_t)layer->n, left,
                                            (json_int_t)layer->n_left));
  }
  json_t *step = json_pack(
      "{s:s, s:f, s:s, s:s, s:I, s:I, s:i, s:I, s:I, s:o}", "step", "prune", "share", options->share, "scope",
      options->global ? "global" : "layer", "by", options->activation ? "activation" : "l1", unit,
      (json_int_t)result->n, left, (json_int_t)result->n_left, "epochs", (int)options->epochs, "rows_train",
      (json_int_t)result->rows_trained, "rows_validation", (json_int_t)result->rows_validated, "layers", layers);
  if (!options->structured)
    json_object_set_new(step, "sparsity", json_real(1 - (double)result->n_left / (double)result->n));
  if (result->warning) json_object_set_new(step, "warning", json_string(result->warning));
  return step;
}

static GBytes *prune(CompressWork *work, GBytes *onnx, GError **error)
{
  const CompressArguments *a = work->arguments;
  PipelinePruneOptions options;
  PipelinePruned result = {0};
  pipeline_prune_options_init(&options);
  options.share = a->prune;
  options.structured = a->structured;
  if (a->fine_tune_epochs >= 0) options.epochs = (guint)a->fine_tune_epochs;
  if (a->batch_size > 0) options.batch_size = (guint)a->batch_size;
  if (!isnan(a->learning_rate)) options.learning_rate = a->learning_rate;
  options.seed = (guint64)a->seed;
  options.backend = a->backend;
  if (!choose(a->scope, "layer", "global", "--scope", &options.global, error) ||
      !choose(a->by, "l1", "activation", "--by", &options.activation, error))
    return NULL;
  CommandProgress *bar = options.epochs > 0 ? command_progress_new(work->common, "fine-tuning") : NULL;
  GBytes *small = pipeline_prune(onnx, work->schema, work->rows, &options, show, bar, &result, error);
  if (bar) command_progress_finish(bar, small ? "done" : "failed");
  if (small) json_array_append_new(work->steps, describe_pruned(&result, &options));
  pipeline_pruned_clear(&result);
  return small;
}

static gboolean parse_image(const gchar *text, PipelineDistilOptions *options, GError **error)
{
  guint *sizes[] = {&options->channels, &options->height, &options->width};
  if (!text) return TRUE;
  g_auto(GStrv) parts = g_strsplit(text, ",", -1);
  gboolean good = g_strv_length(parts) == G_N_ELEMENTS(sizes);
  for (guint i = 0; good && i < G_N_ELEMENTS(sizes); i++) {
    guint64 size = 0;
    good = g_ascii_string_to_unsigned(parts[i], 10, 1, 65536, &size, NULL);
    *sizes[i] = (guint)size;
  }
  return good || invalid(error, "--image: write channels,height,width, e.g. 1,28,28");
}

static GBytes *distil(CompressWork *work, GBytes *onnx, GError **error)
{
  const CompressArguments *a = work->arguments;
  PipelineDistilOptions options;
  PipelineDistilled result = {0};
  pipeline_distil_options_init(&options);
  options.architecture = a->distill;
  if (a->epochs > 0) options.epochs = (guint)a->epochs;
  if (a->batch_size > 0) options.batch_size = (guint)a->batch_size;
  if (!isnan(a->learning_rate)) options.learning_rate = a->learning_rate;
  if (!isnan(a->temperature)) options.temperature = a->temperature;
  if (!isnan(a->label_share)) options.label_share = a->label_share;
  options.seed = (guint64)a->seed;
  options.backend = a->backend;
  if (!parse_image(a->image, &options, error)) return NULL;
  CommandProgress *bar = command_progress_new(work->common, "distilling");
  GBytes *small = pipeline_distil(onnx, work->schema, work->rows, &options, show, bar, &result, error);
  command_progress_finish(bar, small ? "done" : "failed");
  if (small)
    json_array_append_new(work->steps,
                          json_pack("{s:s, s:s, s:f, s:f, s:i, s:i, s:I, s:I, s:I, s:f}", "step", "distill", "student",
                                    options.architecture, "temperature", options.temperature, "label_share",
                                    options.label_share, "epochs", (int)options.epochs, "best_epoch",
                                    (int)result.best_epoch, "rows_train", (json_int_t)result.n_train, "rows_validation",
                                    (json_int_t)result.n_validation, "rows_labelled", (json_int_t)result.n_labelled,
                                    "seconds", result.seconds));
  return small;
}

/* In the order in which they are done: the student of a model is pruned, and 8 bits come last. */
typedef struct {
  gboolean asked;
  GBytes *(*apply)(CompressWork *work, GBytes *onnx, GError **error);
} Step;

GBytes *command_compress_apply(CompressWork *work, GBytes *onnx, GError **error)
{
  const CompressArguments *a = work->arguments;
  const Step steps[] = {{a->distill != NULL, distil}, {!isnan(a->prune), prune}, {a->int8, quantize}};
  g_autoptr(GBytes) now = g_bytes_ref(onnx);
  for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
    if (!steps[i].asked) continue;
    GBytes *next = steps[i].apply(work, now, error);
    if (!next) return NULL;
    g_bytes_unref(now);
    now = next;
  }
  return g_steal_pointer(&now);
}
