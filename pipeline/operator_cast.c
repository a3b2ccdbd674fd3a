/* Cast and CastLike between all element types. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

static OnnxType cast_target(const PipelineCall *call)
{
  if (strcmp(call->operator->name, "CastLike") == 0) return call->inputs[1]->type;
  return (OnnxType)onnx_node_get_int(call->node, "to", 0);
}

gboolean pipeline_cast_infer(PipelineCall *call, GError **error)
{
  OnnxType target = cast_target(call);
  if (pipeline_tensor_element_size(target) == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "it casts to element type number %d, which is not read", (gint)target);
    return FALSE;
  }
  return pipeline_output_like(call, 0, target, call->inputs[0], error);
}

gboolean pipeline_cast_like_infer(PipelineCall *call, GError **error)
{
  return pipeline_cast_infer(call, error);
}

/* Towards zero; NaN is 0 and what does not fit is the nearest integer that does (ONNX leaves both open). */
static gint64 to_integer(double value)
{
  if (isnan(value)) return 0;
  if (value >= 0x1p63) return G_MAXINT64;
  if (value < -0x1p63) return G_MININT64;
  return (gint64)value;
}

static gint64 get_integer(const PipelineTensor *in, gsize index)
{
  if (in->type == ONNX_TYPE_INT64 || in->type == ONNX_TYPE_UINT64) return ((const gint64 *)in->data)[index];
  return to_integer(pipeline_element_get_double(in, index));
}

/* A number into out[index]; integers narrow by dropping high bits, as in C. */
static void put_number(PipelineTensor *out, gsize index, double number, gint64 integer)
{
  if (pipeline_type_is_floating(out->type) || out->type == ONNX_TYPE_BOOL)
    pipeline_element_put_double(out, index, number);
  else
    pipeline_element_put_integer(out, index, integer);
}

/* --- texts
 * ------------------------------------------------------------------------------------------------------------- */

/* The whole text as a number. Texts that are none: error, or NaN when lenient. */
static gboolean parse_number(const PipelineText *text, gboolean lenient, double *number, GError **error)
{
  gchar buffer[64];
  if (text->length > 0 && text->length < sizeof buffer) {
    gchar *end;
    memcpy(buffer, text->text, text->length);
    buffer[text->length] = '\0';
    *number = g_ascii_strtod(buffer, &end);
    if (*end == '\0') return TRUE;
  }
  *number = NAN;
  return lenient ||
         pipeline_operator_fail(error, "the text '%.*s' is no number", (int)MIN(text->length, 40), text->text);
}

static gboolean parse_element(const PipelineText *text, gboolean lenient, PipelineTensor *out, gsize index,
                              GError **error)
{
  gchar buffer[32];
  double number;
  if (!pipeline_type_is_floating(out->type) && text->length > 0 && text->length < sizeof buffer) {
    gint64 integer;
    memcpy(buffer, text->text, text->length);
    buffer[text->length] = '\0';
    if (g_ascii_string_to_signed(buffer, 10, G_MININT64, G_MAXINT64, &integer, NULL)) {
      put_number(out, index, (double)integer, integer);
      return TRUE;
    }
  }
  if (!parse_number(text, lenient, &number, error)) return FALSE;
  put_number(out, index, number, to_integer(number));
  return TRUE;
}

/* Integers in decimal; floats as the shortest text that reads back as the same number. */
static void format_element(const PipelineCall *call, const PipelineTensor *in, gsize index, PipelineText *text)
{
  gchar buffer[64];
  double number = pipeline_element_get_double(in, index);
  if (in->type == ONNX_TYPE_UINT64) {
    g_snprintf(buffer, sizeof buffer, "%" G_GUINT64_FORMAT, ((const guint64 *)in->data)[index]);
  } else if (!pipeline_type_is_floating(in->type)) {
    g_snprintf(buffer, sizeof buffer, "%" G_GINT64_FORMAT, get_integer(in, index));
  } else if (isnan(number) || isinf(number)) {
    g_snprintf(buffer, sizeof buffer, "%s", isnan(number) ? "NaN" : number > 0 ? "INF" : "-INF");
  } else {
    gchar format[8];
    for (guint digits = 1; digits <= 17; digits++) {
      g_snprintf(format, sizeof format, "%%.%ug", digits);
      g_ascii_formatd(buffer, sizeof buffer, format, number);
      double back = g_ascii_strtod(buffer, NULL);
      if (in->type == ONNX_TYPE_DOUBLE ? back == number : (float)back == (float)number) break;
    }
  }
  text->length = strlen(buffer);
  text->text = g_string_chunk_insert_len(call->texts, buffer, (gssize)text->length);
}

gboolean pipeline_cast_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  PipelineTensor *out = call->outputs[0];
  if (in->type == out->type) return pipeline_copy_run(call, error);
  for (gsize i = 0; i < in->n; i++) {
    if (in->type == ONNX_TYPE_STRING) {
      if (!parse_element((const PipelineText *)in->data + i, call->lenient, out, i, error)) return FALSE;
    } else if (out->type == ONNX_TYPE_STRING) {
      format_element(call, in, i, (PipelineText *)out->data + i);
    } else {
      put_number(out, i, pipeline_element_get_double(in, i), get_integer(in, i));
    }
  }
  return TRUE;
}

/* BitCast: the same bytes under another type of the same size. */
gboolean pipeline_bit_cast_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  OnnxType target = (OnnxType)onnx_node_get_int(call->node, "to", 0);
  if (in->type == ONNX_TYPE_STRING) return pipeline_operator_fail_type(call, 0, error);
  if (onnx_type_get_size(target) != onnx_type_get_size(in->type))
    return pipeline_operator_fail(error, "element type number %d has not the size of %s", (gint)target,
                                  onnx_type_get_name(in->type));
  return pipeline_output_like(call, 0, target, in, error);
}
