/* The steps of `kedge compress`: from options to the plan of pipeline/compress_plan.h. */
#include <math.h>
#include <string.h>

#include "daemon/command_compress_internal.h"
#include "pipeline/compress_plan.h"

static gboolean invalid(GError **error, const gchar *message)
{
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, message);
  return FALSE;
}

/* keep: borrowed by the plan. */
static gboolean fill_quantize(const CompressArguments *a, gchar **keep, PipelineQuantizeOptions *options,
                              GError **error)
{
  if (a->activations && strcmp(a->activations, "uint8") != 0 && strcmp(a->activations, "int8") != 0)
    return invalid(error, "--activations is int8 or uint8");
  if (g_strcmp0(a->activations, "uint8") == 0) options->rewrite.activations = ONNX_TYPE_UINT8;
  options->rewrite.per_tensor = a->per_tensor;
  options->rewrite.full_range = a->full_range;
  options->rewrite.keep = (const gchar *const *)keep;
  if (a->ranges) options->method = a->ranges;
  options->percentile = a->percentile;
  options->max_rows = (guint64)a->calibration_rows;
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

static gboolean fill_prune(const CompressArguments *a, PipelinePruneOptions *options, GError **error)
{
  options->share = a->prune;
  options->structured = a->structured;
  if (a->fine_tune_epochs >= 0) options->epochs = (guint)a->fine_tune_epochs;
  if (a->batch_size > 0) options->batch_size = (guint)a->batch_size;
  if (!isnan(a->learning_rate)) options->learning_rate = a->learning_rate;
  options->seed = (guint64)a->seed;
  options->backend = a->backend;
  return choose(a->scope, "layer", "global", "--scope", &options->global, error) &&
         choose(a->by, "l1", "activation", "--by", &options->activation, error);
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

static gboolean fill_distil(const CompressArguments *a, PipelineDistilOptions *options, GError **error)
{
  options->architecture = a->distill;
  if (a->epochs > 0) options->epochs = (guint)a->epochs;
  if (a->batch_size > 0) options->batch_size = (guint)a->batch_size;
  if (!isnan(a->learning_rate)) options->learning_rate = a->learning_rate;
  if (!isnan(a->temperature)) options->temperature = a->temperature;
  if (!isnan(a->label_share)) options->label_share = a->label_share;
  options->seed = (guint64)a->seed;
  options->backend = a->backend;
  return parse_image(a->image, options, error);
}

/* --- a bar for what trains ---------------------------------------------------------------------------------------- */

typedef struct {
  const CommandCommon *common;
  const PipelineCompressPlan *plan;
  CommandProgress *bar; /* NULL: nothing trains now */
} Shown;

static gboolean show(const PipelineTrainProgress *progress, gpointer user_data)
{
  Shown *shown = user_data;
  g_autofree gchar *text =
      g_strdup_printf("epoch %u of %u, loss %.4f", progress->epoch, progress->epochs, progress->loss);
  if (shown->bar) command_progress_update(shown->bar, (double)progress->epoch / MAX(1, progress->epochs), text);
  return TRUE;
}

static void show_begin(const gchar *step, gpointer user_data)
{
  Shown *shown = user_data;
  gboolean distils = strcmp(step, "distill") == 0;
  if (distils || (strcmp(step, "prune") == 0 && shown->plan->prune.epochs > 0))
    shown->bar = command_progress_new(shown->common, distils ? "distilling" : "fine-tuning");
}

static void show_end(const gchar *step, gboolean done, gpointer user_data)
{
  Shown *shown = user_data;
  (void)step;
  if (shown->bar) command_progress_finish(shown->bar, done ? "done" : "failed");
  shown->bar = NULL;
}

GBytes *command_compress_apply(CompressWork *work, GBytes *onnx, GError **error)
{
  const CompressArguments *a = work->arguments;
  PipelineCompressPlan plan;
  g_auto(GStrv) keep = a->keep_float ? command_split_names(a->keep_float) : NULL;
  pipeline_compress_plan_init(&plan);
  plan.distils = a->distill != NULL;
  plan.prunes = !isnan(a->prune);
  plan.quantizes = a->int8;
  if ((plan.distils && !fill_distil(a, &plan.distil, error)) || (plan.prunes && !fill_prune(a, &plan.prune, error)) ||
      (plan.quantizes && !fill_quantize(a, keep, &plan.quantize, error)))
    return NULL;
  Shown shown = {.common = work->common, .plan = &plan};
  const PipelineCompressWatch watch = {show_begin, show_end, show, &shown};
  return pipeline_compress_apply(&plan, onnx, work->schema, work->rows, work->steps, &watch, error);
}
