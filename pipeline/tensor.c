#include "pipeline/tensor.h"

#include <math.h>
#include <string.h>

#include "onnx/float16.h"

gsize pipeline_tensor_element_size(OnnxType type)
{
  return type == ONNX_TYPE_STRING ? sizeof(PipelineText) : onnx_type_get_size(type);
}

gboolean pipeline_tensor_set_shape(PipelineTensor *tensor, OnnxType type, guint n_dims, const gint64 *dims,
                                   GError **error)
{
  gsize size = pipeline_tensor_element_size(type), n = 1;
  if (size == 0 || n_dims > ONNX_MAX_DIMENSIONS) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "a tensor of %s with %u dimensions",
                onnx_type_get_name(type), n_dims);
    return FALSE;
  }
  for (guint i = 0; i < n_dims; i++) {
    gboolean fits = dims[i] == 0 || (dims[i] > 0 && n <= PIPELINE_TENSOR_MAX_BYTES / size / (guint64)dims[i]);
    if (!fits) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                  "a tensor with dimension %" G_GINT64_FORMAT " (number %u) is negative or larger than %u MiB", dims[i],
                  i, PIPELINE_TENSOR_MAX_BYTES >> 20);
      return FALSE;
    }
    n *= (gsize)dims[i];
  }
  tensor->type = type;
  tensor->n_dims = n_dims;
  for (guint i = 0; i < n_dims; i++) tensor->dims[i] = dims[i];
  tensor->n = n;
  return TRUE;
}

gboolean pipeline_tensor_allocate(PipelineTensor *tensor, GError **error)
{
  gsize bytes = tensor->n * pipeline_tensor_element_size(tensor->type);
  if (bytes > tensor->capacity || tensor->memory == NULL) {
    gpointer memory = g_try_malloc(MAX(bytes, 16));
    if (memory == NULL) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "not enough memory for a tensor of %zu bytes",
                  bytes);
      return FALSE;
    }
    g_free(tensor->memory);
    tensor->memory = memory;
    tensor->capacity = MAX(bytes, 16);
  }
  tensor->data = tensor->memory;
  return TRUE;
}

gboolean pipeline_tensor_set_onnx(PipelineTensor *tensor, const OnnxTensor *source, GError **error)
{
  if (!pipeline_tensor_set_shape(tensor, source->type, source->n_dims, source->dims, error) ||
      !pipeline_tensor_allocate(tensor, error)) {
    g_prefix_error(error, "tensor '%s': ", source->name);
    return FALSE;
  }
  if (source->type != ONNX_TYPE_STRING) {
    if (tensor->n > 0) memcpy(tensor->data, g_bytes_get_data(source->bytes, NULL), g_bytes_get_size(source->bytes));
    return TRUE;
  }
  PipelineText *texts = tensor->data;
  for (gsize i = 0; i < tensor->n; i++)
    texts[i].text = g_bytes_get_data(g_ptr_array_index(source->strings, i), &texts[i].length);
  return TRUE;
}

void pipeline_tensor_clear(PipelineTensor *tensor)
{
  g_free(tensor->memory);
  memset(tensor, 0, sizeof *tensor);
}

gchar *pipeline_tensor_describe(const PipelineTensor *tensor)
{
  GString *text = g_string_new(onnx_type_get_name(tensor->type));
  g_string_append_c(text, '[');
  for (guint i = 0; i < tensor->n_dims; i++)
    g_string_append_printf(text, "%s%" G_GINT64_FORMAT, i > 0 ? "," : "", tensor->dims[i]);
  g_string_append_c(text, ']');
  return g_string_free(text, FALSE);
}

/* --- single elements
 * ---------------------------------------------------------------------------------------------- */

double pipeline_element_get_double(const PipelineTensor *tensor, gsize index)
{
  gconstpointer data = tensor->data;
  switch (tensor->type) {
  case ONNX_TYPE_FLOAT:
    return ((const float *)data)[index];
  case ONNX_TYPE_DOUBLE:
    return ((const double *)data)[index];
  case ONNX_TYPE_INT64:
    return (double)((const gint64 *)data)[index];
  case ONNX_TYPE_INT32:
    return ((const gint32 *)data)[index];
  case ONNX_TYPE_INT16:
    return ((const gint16 *)data)[index];
  case ONNX_TYPE_INT8:
    return ((const gint8 *)data)[index];
  case ONNX_TYPE_UINT64:
    return (double)((const guint64 *)data)[index];
  case ONNX_TYPE_UINT32:
    return ((const guint32 *)data)[index];
  case ONNX_TYPE_UINT16:
    return ((const guint16 *)data)[index];
  case ONNX_TYPE_UINT8:
    return ((const guint8 *)data)[index];
  case ONNX_TYPE_BOOL:
    return ((const guint8 *)data)[index] != 0;
  case ONNX_TYPE_FLOAT16:
    return onnx_float16_to_float(((const guint16 *)data)[index]);
  case ONNX_TYPE_BFLOAT16:
    return onnx_bfloat16_to_float(((const guint16 *)data)[index]);
  default:
    return 0;
  }
}

gint64 pipeline_element_get_integer(const PipelineTensor *tensor, gsize index)
{
  if (tensor->type == ONNX_TYPE_INT64 || tensor->type == ONNX_TYPE_UINT64) return ((const gint64 *)tensor->data)[index];
  return (gint64)pipeline_element_get_double(tensor, index); /* at most 32 bits: exact */
}

static gboolean put_floating(PipelineTensor *tensor, gsize index, double value)
{
  switch (tensor->type) {
  case ONNX_TYPE_FLOAT:
    ((float *)tensor->data)[index] = (float)value;
    return TRUE;
  case ONNX_TYPE_DOUBLE:
    ((double *)tensor->data)[index] = value;
    return TRUE;
  case ONNX_TYPE_FLOAT16:
    ((guint16 *)tensor->data)[index] = onnx_float16_from_float((float)value);
    return TRUE;
  case ONNX_TYPE_BFLOAT16:
    ((guint16 *)tensor->data)[index] = onnx_bfloat16_from_float((float)value);
    return TRUE;
  case ONNX_TYPE_BOOL:
    ((guint8 *)tensor->data)[index] = value != 0; /* NaN is true */
    return TRUE;
  default:
    return FALSE;
  }
}

void pipeline_element_put_integer(PipelineTensor *tensor, gsize index, gint64 value)
{
  gsize size = onnx_type_get_size(tensor->type);
  if (put_floating(tensor, index, (double)value)) return;
  memcpy((guint8 *)tensor->data + index * size, &value, size); /* little-endian: the low bytes come first */
}

void pipeline_element_put_double(PipelineTensor *tensor, gsize index, double value)
{
  static const struct {
    OnnxType type;
    double low, high;
  } ranges[] = {{ONNX_TYPE_INT8, G_MININT8, G_MAXINT8},    {ONNX_TYPE_INT16, G_MININT16, G_MAXINT16},
                {ONNX_TYPE_INT32, G_MININT32, G_MAXINT32}, {ONNX_TYPE_UINT8, 0, G_MAXUINT8},
                {ONNX_TYPE_UINT16, 0, G_MAXUINT16},        {ONNX_TYPE_UINT32, 0, G_MAXUINT32}};
  if (put_floating(tensor, index, value)) return;
  gint64 integer = 0;
  if (tensor->type == ONNX_TYPE_UINT64) {
    guint64 whole = value >= 0x1p64 ? G_MAXUINT64 : value > 0 ? (guint64)value : 0; /* NaN is 0 */
    memcpy(&integer, &whole, sizeof whole);
  } else if (!isnan(value)) {
    for (gsize i = 0; i < G_N_ELEMENTS(ranges); i++)
      if (ranges[i].type == tensor->type) value = CLAMP(value, ranges[i].low, ranges[i].high);
    integer = value >= 0x1p63 ? G_MAXINT64 : value < -0x1p63 ? G_MININT64 : (gint64)value;
  }
  pipeline_element_put_integer(tensor, index, integer);
}
