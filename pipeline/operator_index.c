/* Operators that address elements by other tensors: gather, scatter, one-hot, compress, non-zero. */
#include <string.h>

#include "pipeline/operator_internal.h"

static gboolean is_index(OnnxType type)
{
  return type == ONNX_TYPE_INT64 || type == ONNX_TYPE_INT32;
}

/* --- GatherElements: out[i][j][k] = data[index[i][j][k]][j][k] for axis 0, and so on
 * ------------------------------------------ */

static gboolean check_elements(const PipelineCall *call, GError **error)
{
  const PipelineTensor *data = call->inputs[0], *indices = call->inputs[1];
  if (!is_index(indices->type)) return pipeline_operator_fail_type(call, 1, error);
  gboolean fits = data->n_dims == indices->n_dims && data->n_dims > 0;
  PipelineAround around;
  if (fits && !pipeline_around(data, onnx_node_get_int(call->node, "axis", 0), &around, error)) return FALSE;
  for (guint d = 0; fits && d < data->n_dims; d++) fits = d == around.axis || indices->dims[d] <= data->dims[d];
  if (fits) return TRUE;
  g_autofree gchar *left = pipeline_tensor_describe(data), *right = pipeline_tensor_describe(indices);
  return pipeline_operator_fail(error, "indices %s do not fit data %s", right, left);
}

/* Offset in `data` of the element that index number i of `indices` names. */
static gboolean element_offset(const PipelineTensor *data, const PipelineTensor *indices, guint axis, gsize i,
                               gsize *offset, GError **error)
{
  gsize named, rest = i, stride = 1;
  if (!pipeline_index_at(indices, i, data->dims[axis], &named, error)) return FALSE;
  *offset = 0;
  for (guint d = data->n_dims; d-- > 0;) {
    *offset += (d == axis ? named : rest % (gsize)indices->dims[d]) * stride;
    rest /= (gsize)indices->dims[d];
    stride *= (gsize)data->dims[d];
  }
  return TRUE;
}

gboolean pipeline_gather_elements_infer(PipelineCall *call, GError **error)
{
  return check_elements(call, error) && pipeline_output_like(call, 0, call->inputs[0]->type, call->inputs[1], error);
}

gboolean pipeline_gather_elements_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *data = call->inputs[0], *indices = call->inputs[1];
  PipelineAround around;
  gsize size = pipeline_tensor_element_size(data->type), offset;
  if (!pipeline_around(data, onnx_node_get_int(call->node, "axis", 0), &around, error)) return FALSE;
  for (gsize i = 0; i < indices->n; i++) {
    if (!element_offset(data, indices, around.axis, i, &offset, error)) return FALSE;
    memcpy((guint8 *)call->outputs[0]->data + i * size, (const guint8 *)data->data + offset * size, size);
  }
  return TRUE;
}

/* --- what scatters do with an element that is there already
 * ------------------------------------------------------------------ */

typedef enum { COMBINE_REPLACE, COMBINE_ADD, COMBINE_MULTIPLY, COMBINE_MIN, COMBINE_MAX } Combine;

static gboolean read_combine(const PipelineCall *call, Combine *combine, GError **error)
{
  static const struct {
    const gchar *name;
    Combine combine;
  } rows[] = {{"none", COMBINE_REPLACE},
              {"add", COMBINE_ADD},
              {"mul", COMBINE_MULTIPLY},
              {"min", COMBINE_MIN},
              {"max", COMBINE_MAX}};
  for (gsize i = 0; i < G_N_ELEMENTS(rows); i++)
    if (pipeline_attribute_is(call, "reduction", "none", rows[i].name)) {
      *combine = rows[i].combine;
      return *combine == COMBINE_REPLACE || pipeline_type_is_number(call->inputs[0]->type) ||
             pipeline_operator_fail_type(call, 0, error);
    }
  return pipeline_operator_fail(error, "its reduction is unknown");
}

static gint64 combine_integers(Combine combine, gint64 a, gint64 b)
{
  switch (combine) {
  case COMBINE_ADD:
    return (gint64)((guint64)a + (guint64)b);
  case COMBINE_MULTIPLY:
    return (gint64)((guint64)a * (guint64)b);
  case COMBINE_MIN:
    return MIN(a, b);
  default:
    return MAX(a, b);
  }
}

static double combine_numbers(Combine combine, double a, double b)
{
  switch (combine) {
  case COMBINE_ADD:
    return a + b;
  case COMBINE_MULTIPLY:
    return a * b;
  case COMBINE_MIN:
    return a < b ? a : b;
  default:
    return a > b ? a : b;
  }
}

static void put(Combine combine, PipelineTensor *out, gsize to, const PipelineTensor *from, gsize index)
{
  gsize size = pipeline_tensor_element_size(out->type);
  if (combine == COMBINE_REPLACE)
    memcpy((guint8 *)out->data + to * size, (const guint8 *)from->data + index * size, size);
  else if (pipeline_type_is_floating(out->type))
    pipeline_element_put_double(
        out, to,
        combine_numbers(combine, pipeline_element_get_double(out, to), pipeline_element_get_double(from, index)));
  else
    pipeline_element_put_integer(
        out, to,
        combine_integers(combine, pipeline_element_get_integer(out, to), pipeline_element_get_integer(from, index)));
}

/* --- ScatterElements, Scatter
 * ------------------------------------------------------------------------------------------- */

gboolean pipeline_scatter_elements_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *data = call->inputs[0], *indices = call->inputs[1], *updates = call->inputs[2];
  Combine combine;
  if (updates->type != data->type) return pipeline_operator_fail_type(call, 2, error);
  if (!check_elements(call, error) || !read_combine(call, &combine, error)) return FALSE;
  if (updates->n_dims != indices->n_dims || memcmp(updates->dims, indices->dims, updates->n_dims * sizeof(gint64)) != 0)
    return pipeline_operator_fail(error, "its indices and updates differ in shape");
  return pipeline_output_like(call, 0, data->type, data, error);
}

gboolean pipeline_scatter_elements_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *data = call->inputs[0], *indices = call->inputs[1];
  PipelineAround around;
  Combine combine;
  gsize offset;
  if (!pipeline_copy_run(call, error) || !read_combine(call, &combine, error) ||
      !pipeline_around(data, onnx_node_get_int(call->node, "axis", 0), &around, error))
    return FALSE;
  for (gsize i = 0; i < indices->n; i++) {
    if (!element_offset(data, indices, around.axis, i, &offset, error)) return FALSE;
    put(combine, call->outputs[0], offset, call->inputs[2], i);
  }
  return TRUE;
}

/* --- GatherND, ScatterND: the last dimension of the indices names a place in the data
 * ------------------------------------------ */

typedef struct {
  guint batch, depth; /* leading dimensions shared; dimensions that an index names */
  gsize n, block;     /* places; elements a place */
} Places;

static gboolean read_places(const PipelineCall *call, guint batch, Places *places, GError **error)
{
  const PipelineTensor *data = call->inputs[0], *indices = call->inputs[1];
  if (!is_index(indices->type)) return pipeline_operator_fail_type(call, 1, error);
  guint last = indices->n_dims - 1;
  gboolean fits =
      indices->n_dims > batch && data->n_dims > 0 && indices->dims[last] <= (gint64)data->n_dims - (gint64)batch;
  for (guint d = 0; fits && d < batch; d++) fits = data->dims[d] == indices->dims[d];
  if (!fits) {
    g_autofree gchar *left = pipeline_tensor_describe(data), *right = pipeline_tensor_describe(indices);
    return pipeline_operator_fail(error, "indices %s do not fit data %s", right, left);
  }
  places->batch = batch;
  places->depth = (guint)indices->dims[last];
  places->n = pipeline_dims_product(indices->dims, 0, last);
  places->block = pipeline_dims_product(data->dims, batch + places->depth, data->n_dims);
  return TRUE;
}

/* Offset in blocks of the place number i. */
static gboolean place_offset(const PipelineCall *call, const Places *places, gsize i, gsize *offset, GError **error)
{
  const PipelineTensor *data = call->inputs[0], *indices = call->inputs[1];
  gsize per_batch = pipeline_dims_product(indices->dims, places->batch, indices->n_dims - 1);
  *offset = places->batch > 0 ? i / per_batch : 0;
  for (guint d = 0; d < places->depth; d++) {
    gsize named;
    gint64 length = data->dims[places->batch + d];
    if (!pipeline_index_at(indices, i * places->depth + d, length, &named, error)) return FALSE;
    *offset = *offset * (gsize)length + named;
  }
  return TRUE;
}

static guint batch_dims(const PipelineCall *call)
{
  return (guint)CLAMP(onnx_node_get_int(call->node, "batch_dims", 0), 0, ONNX_MAX_DIMENSIONS);
}

gboolean pipeline_gather_nd_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *data = call->inputs[0], *indices = call->inputs[1];
  Places places;
  gint64 dims[2 * ONNX_MAX_DIMENSIONS];
  guint n_dims = 0;
  if (!read_places(call, batch_dims(call), &places, error)) return FALSE;
  for (guint d = 0; d + 1 < indices->n_dims; d++) dims[n_dims++] = indices->dims[d];
  for (guint d = places.batch + places.depth; d < data->n_dims; d++) dims[n_dims++] = data->dims[d];
  return pipeline_output_set(call, 0, data->type, n_dims, dims, error);
}

gboolean pipeline_gather_nd_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *data = call->inputs[0];
  Places places;
  if (!read_places(call, batch_dims(call), &places, error)) return FALSE;
  gsize bytes = places.block * pipeline_tensor_element_size(data->type), offset;
  for (gsize i = 0; i < places.n && bytes > 0; i++) {
    if (!place_offset(call, &places, i, &offset, error)) return FALSE;
    memcpy((guint8 *)call->outputs[0]->data + i * bytes, (const guint8 *)data->data + offset * bytes, bytes);
  }
  return TRUE;
}

gboolean pipeline_scatter_nd_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *data = call->inputs[0], *updates = call->inputs[2];
  Places places;
  Combine combine;
  if (updates->type != data->type) return pipeline_operator_fail_type(call, 2, error);
  if (!read_places(call, 0, &places, error) || !read_combine(call, &combine, error)) return FALSE;
  if (updates->n != places.n * places.block)
    return pipeline_operator_fail(error, "it has %zu updates for %zu elements", updates->n, places.n * places.block);
  return pipeline_output_like(call, 0, data->type, data, error);
}

gboolean pipeline_scatter_nd_run(PipelineCall *call, GError **error)
{
  Places places;
  Combine combine;
  gsize offset;
  if (!pipeline_copy_run(call, error) || !read_places(call, 0, &places, error) || !read_combine(call, &combine, error))
    return FALSE;
  for (gsize i = 0; i < places.n; i++) {
    if (!place_offset(call, &places, i, &offset, error)) return FALSE;
    for (gsize k = 0; k < places.block; k++)
      put(combine, call->outputs[0], offset * places.block + k, call->inputs[2], i * places.block + k);
  }
  return TRUE;
}

/* --- OneHot
 * ----------------------------------------------------------------------------------------------------------- */

gboolean pipeline_one_hot_nd_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *indices = call->inputs[0], *depth = call->inputs[1], *values = call->inputs[2];
  guint axis, n_dims = 0;
  gint64 dims[ONNX_MAX_DIMENSIONS + 1];
  if (!pipeline_type_is_number(indices->type)) return pipeline_operator_fail_type(call, 0, error);
  if (!pipeline_type_is_number(depth->type) || depth->n != 1) return pipeline_operator_fail_type(call, 1, error);
  if (values->n != 2) return pipeline_operator_fail(error, "its values are not two");
  if (!pipeline_axis_resolve(onnx_node_get_int(call->node, "axis", -1), indices->n_dims + 1, FALSE, &axis, error))
    return FALSE;
  double length = pipeline_element_get_double(depth, 0);
  if (!(length >= 1 && length <= G_MAXINT32)) return pipeline_operator_fail(error, "its depth is %g", length);
  for (guint d = 0; d < indices->n_dims + 1; d++)
    dims[n_dims++] = d == axis ? (gint64)length : indices->dims[d < axis ? d : d - 1];
  return pipeline_output_set(call, 0, values->type, n_dims, dims, error);
}

/* Indices outside of [-depth, depth) are all "off", as ONNX says. */
gboolean pipeline_one_hot_nd_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *indices = call->inputs[0], *values = call->inputs[2];
  PipelineTensor *out = call->outputs[0];
  gsize size = pipeline_tensor_element_size(out->type);
  PipelineAround around;
  if (!pipeline_around(out, onnx_node_get_int(call->node, "axis", -1), &around, error)) return FALSE;
  for (gsize i = 0; i < out->n; i++) {
    gsize outer = i / around.inner / around.length, place = i / around.inner % around.length, inner = i % around.inner;
    double index = pipeline_element_get_double(indices, outer * around.inner + inner);
    if (index < 0) index += (double)around.length;
    gsize pick = index >= (double)place && index < (double)place + 1 ? 1 : 0;
    memcpy((guint8 *)out->data + i * size, (const guint8 *)values->data + pick * size, size);
  }
  return TRUE;
}

/* --- Compress, NonZero
 * ------------------------------------------------------------------------------------------------- */

static gboolean compress_around(const PipelineCall *call, PipelineAround *around, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  *around = (PipelineAround){0, 1, in->n, 1};
  if (call->inputs[1]->type != ONNX_TYPE_BOOL) return pipeline_operator_fail_type(call, 1, error);
  if (onnx_node_get_attribute(call->node, "axis") == NULL) return TRUE;
  return pipeline_around(in, onnx_node_get_int(call->node, "axis", 0), around, error);
}

gboolean pipeline_compress_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *condition = call->inputs[1];
  gint64 dims[ONNX_MAX_DIMENSIONS], kept = 0;
  PipelineAround around;
  if (!compress_around(call, &around, error)) return FALSE;
  for (gsize i = 0; i < MIN(condition->n, around.length); i++) kept += ((const guint8 *)condition->data)[i] != 0;
  if (onnx_node_get_attribute(call->node, "axis") == NULL)
    return pipeline_output_set(call, 0, in->type, 1, &kept, error);
  memcpy(dims, in->dims, sizeof dims);
  dims[around.axis] = kept;
  return pipeline_output_set(call, 0, in->type, in->n_dims, dims, error);
}

gboolean pipeline_compress_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *condition = call->inputs[1];
  PipelineAround around;
  if (!compress_around(call, &around, error)) return FALSE;
  gsize bytes = around.inner * pipeline_tensor_element_size(in->type);
  guint8 *to = call->outputs[0]->data;
  for (gsize o = 0; o < around.outer && bytes > 0; o++)
    for (gsize i = 0; i < MIN(condition->n, around.length); i++) {
      if (((const guint8 *)condition->data)[i] == 0) continue;
      memcpy(to, (const guint8 *)in->data + (o * around.length + i) * bytes, bytes);
      to += bytes;
    }
  return TRUE;
}

static gboolean is_set(const PipelineTensor *in, gsize i)
{
  return pipeline_type_is_floating(in->type) ? pipeline_element_get_double(in, i) != 0
                                             : pipeline_element_get_integer(in, i) != 0;
}

gboolean pipeline_non_zero_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gint64 found = 0;
  if (!pipeline_type_is_number(in->type)) return pipeline_operator_fail_type(call, 0, error);
  for (gsize i = 0; i < in->n; i++) found += is_set(in, i);
  return pipeline_output_set(call, 0, ONNX_TYPE_INT64, 2, (gint64[]){in->n_dims, found}, error);
}

gboolean pipeline_non_zero_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *in = call->inputs[0];
  gint64 *out = call->outputs[0]->data;
  gsize n = (gsize)call->outputs[0]->dims[1], found = 0;
  for (gsize i = 0; i < in->n; i++) {
    if (!is_set(in, i)) continue;
    gsize rest = i;
    for (guint d = in->n_dims; d-- > 0;) {
      out[d * n + found] = (gint64)(rest % (gsize)in->dims[d]);
      rest /= (gsize)in->dims[d];
    }
    found++;
  }
  return TRUE;
}
