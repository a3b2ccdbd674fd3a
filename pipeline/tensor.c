#include "pipeline/tensor.h"

#include <string.h>

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
