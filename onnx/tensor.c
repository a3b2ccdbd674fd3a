#include <string.h>

#include "onnx/float16.h"
#include "onnx/graph_internal.h"

static const struct {
  OnnxType type;
  const gchar *name;
  gsize size;
} types[] = {
    {ONNX_TYPE_FLOAT, "float32", 4},   {ONNX_TYPE_DOUBLE, "float64", 8},    {ONNX_TYPE_INT64, "int64", 8},
    {ONNX_TYPE_INT32, "int32", 4},     {ONNX_TYPE_STRING, "string", 0},     {ONNX_TYPE_BOOL, "bool", 1},
    {ONNX_TYPE_UINT8, "uint8", 1},     {ONNX_TYPE_INT8, "int8", 1},         {ONNX_TYPE_UINT16, "uint16", 2},
    {ONNX_TYPE_INT16, "int16", 2},     {ONNX_TYPE_UINT32, "uint32", 4},     {ONNX_TYPE_UINT64, "uint64", 8},
    {ONNX_TYPE_FLOAT16, "float16", 2}, {ONNX_TYPE_BFLOAT16, "bfloat16", 2},
};

const gchar *onnx_type_get_name(OnnxType type)
{
  for (gsize i = 0; i < G_N_ELEMENTS(types); i++)
    if (types[i].type == type) return types[i].name;
  return "unknown";
}

gsize onnx_type_get_size(OnnxType type)
{
  for (gsize i = 0; i < G_N_ELEMENTS(types); i++)
    if (types[i].type == type) return types[i].size;
  return 0;
}

gboolean onnx_count_elements(const gint64 *dims, gsize n_dims, gsize element_size, gsize *count, GError **error)
{
  gsize limit = ONNX_MAX_DECODED / MAX(element_size, 1), product = 1;
  for (gsize i = 0; i < n_dims; i++) {
    if (dims[i] < 0) {
      g_set_error(error, ONNX_ERROR, ONNX_ERROR_INVALID, "dimension %zu is negative (%" G_GINT64_FORMAT ")", i,
                  dims[i]);
      return FALSE;
    }
    if (dims[i] != 0 && product > limit / (guint64)dims[i]) {
      g_set_error_literal(error, ONNX_ERROR, ONNX_ERROR_LIMIT, "its dimensions multiply to more than 1 GiB");
      return FALSE;
    }
    product *= (gsize)dims[i];
  }
  *count = product;
  return TRUE;
}

gsize onnx_tensor_get_n_elements(const OnnxTensor *tensor)
{
  gsize n = 1;
  for (guint i = 0; i < tensor->n_dims; i++) n *= (gsize)tensor->dims[i];
  return n;
}

static OnnxTensor *tensor_with_shape(const gchar *name, OnnxType type, guint n_dims, const gint64 *dims)
{
  g_assert(n_dims <= ONNX_MAX_DIMENSIONS);
  OnnxTensor *tensor = g_new0(OnnxTensor, 1);
  tensor->name = g_strdup(name);
  tensor->type = type;
  tensor->n_dims = n_dims;
  for (guint i = 0; i < n_dims; i++) {
    g_assert(dims[i] >= 0);
    tensor->dims[i] = dims[i];
  }
  return tensor;
}

OnnxTensor *onnx_tensor_new(const gchar *name, OnnxType type, guint n_dims, const gint64 *dims, gconstpointer data)
{
  gsize element_size = onnx_type_get_size(type);
  g_assert(element_size > 0);
  OnnxTensor *tensor = tensor_with_shape(name, type, n_dims, dims);
  gsize size = onnx_tensor_get_n_elements(tensor) * element_size;
  gpointer copy = g_malloc0(MAX(size, 1));
  if (data != NULL && size > 0) memcpy(copy, data, size);
  tensor->bytes = g_bytes_new_take(copy, size);
  return tensor;
}

OnnxTensor *onnx_tensor_new_strings(const gchar *name, guint n_dims, const gint64 *dims, const gchar *const *strings)
{
  OnnxTensor *tensor = tensor_with_shape(name, ONNX_TYPE_STRING, n_dims, dims);
  gsize n = onnx_tensor_get_n_elements(tensor);
  tensor->strings = g_ptr_array_new_full((guint)n, (GDestroyNotify)g_bytes_unref);
  for (gsize i = 0; i < n; i++) g_ptr_array_add(tensor->strings, g_bytes_new(strings[i], strlen(strings[i])));
  return tensor;
}

static gpointer ref_bytes(gconstpointer bytes, gpointer unused)
{
  (void)unused;
  return g_bytes_ref((GBytes *)bytes);
}

OnnxTensor *onnx_tensor_copy(const OnnxTensor *tensor)
{
  OnnxTensor *copy = g_new(OnnxTensor, 1);
  *copy = *tensor;
  copy->name = g_strdup(tensor->name);
  if (tensor->bytes != NULL) copy->bytes = g_bytes_ref(tensor->bytes);
  if (tensor->strings != NULL) {
    copy->strings = g_ptr_array_copy(tensor->strings, ref_bytes, NULL);
    g_ptr_array_set_free_func(copy->strings, (GDestroyNotify)g_bytes_unref);
  }
  if (tensor->preserved != NULL) copy->preserved = g_bytes_ref(tensor->preserved);
  return copy;
}

void onnx_tensor_free(OnnxTensor *tensor)
{
  if (tensor == NULL) return;
  g_free(tensor->name);
  g_clear_pointer(&tensor->bytes, g_bytes_unref);
  g_clear_pointer(&tensor->strings, g_ptr_array_unref);
  g_clear_pointer(&tensor->preserved, g_bytes_unref);
  g_free(tensor);
}

/* One converter per source type: out[i] = (float)in[i]. */
#define CONVERTER(suffix, ctype)                                                                                       \
  static void convert_##suffix(gconstpointer data, float *out, gsize n)                                                \
  {                                                                                                                    \
    const ctype *in = data;                                                                                            \
    for (gsize i = 0; i < n; i++) out[i] = (float)in[i];                                                               \
  }
CONVERTER(float, float)
CONVERTER(double, double)
CONVERTER(int64, gint64)
CONVERTER(int32, gint32)
CONVERTER(int16, gint16)
CONVERTER(int8, gint8)
CONVERTER(uint64, guint64)
CONVERTER(uint32, guint32)
CONVERTER(uint16, guint16)
CONVERTER(uint8, guint8)

static void convert_float16(gconstpointer data, float *out, gsize n)
{
  const guint16 *in = data;
  for (gsize i = 0; i < n; i++) out[i] = onnx_float16_to_float(in[i]);
}

static void convert_bfloat16(gconstpointer data, float *out, gsize n)
{
  const guint16 *in = data;
  for (gsize i = 0; i < n; i++) out[i] = onnx_bfloat16_to_float(in[i]);
}

static const struct {
  OnnxType type;
  void (*convert)(gconstpointer data, float *out, gsize n);
} converters[] = {
    {ONNX_TYPE_FLOAT, convert_float},       {ONNX_TYPE_DOUBLE, convert_double}, {ONNX_TYPE_INT64, convert_int64},
    {ONNX_TYPE_INT32, convert_int32},       {ONNX_TYPE_INT16, convert_int16},   {ONNX_TYPE_INT8, convert_int8},
    {ONNX_TYPE_UINT64, convert_uint64},     {ONNX_TYPE_UINT32, convert_uint32}, {ONNX_TYPE_UINT16, convert_uint16},
    {ONNX_TYPE_UINT8, convert_uint8},       {ONNX_TYPE_BOOL, convert_uint8},    {ONNX_TYPE_FLOAT16, convert_float16},
    {ONNX_TYPE_BFLOAT16, convert_bfloat16},
};

float *onnx_tensor_to_floats(const OnnxTensor *tensor, GError **error)
{
  gsize n = onnx_tensor_get_n_elements(tensor);
  for (gsize i = 0; i < G_N_ELEMENTS(converters); i++) {
    if (converters[i].type != tensor->type) continue;
    float *out = g_new(float, MAX(n, 1));
    converters[i].convert(g_bytes_get_data(tensor->bytes, NULL), out, n);
    return out;
  }
  g_set_error(error, ONNX_ERROR, ONNX_ERROR_UNSUPPORTED, "tensor '%s' holds %s, not numbers", tensor->name,
              onnx_type_get_name(tensor->type));
  return NULL;
}

void onnx_tensor_set_floats(OnnxTensor *tensor, const float *values)
{
  g_assert(tensor->type == ONNX_TYPE_FLOAT);
  g_bytes_unref(tensor->bytes);
  tensor->bytes = g_bytes_new(values, onnx_tensor_get_n_elements(tensor) * sizeof(float));
}
