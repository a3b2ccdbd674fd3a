/* The steps of `kedge compress`, from options to what pipeline/ takes. */
#include <string.h>

#include "daemon/command_compress_internal.h"
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

/* In the order in which they are done: the student of a model is pruned, and 8 bits come last. */
static const struct {
  gsize asked; /* offset of what asks for it */
  GBytes *(*apply)(CompressWork *work, GBytes *onnx, GError **error);
} steps[] = {{G_STRUCT_OFFSET(CompressArguments, int8), quantize}};

GBytes *command_compress_apply(CompressWork *work, GBytes *onnx, GError **error)
{
  g_autoptr(GBytes) now = g_bytes_ref(onnx);
  for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
    if (!G_STRUCT_MEMBER(gboolean, work->arguments, steps[i].asked)) continue;
    GBytes *next = steps[i].apply(work, now, error);
    if (!next) return NULL;
    g_bytes_unref(now);
    now = next;
  }
  return g_steal_pointer(&now);
}
