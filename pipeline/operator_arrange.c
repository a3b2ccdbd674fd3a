/* Operators that rearrange elements: padding, tiling, cropping, space and depth, reversing, triangles. */
#include <string.h>

#include "pipeline/operator_internal.h"

/* --- a general copy: out[i] = in[source(i)], per dimension
 * ------------------------------------------------------------------- */

#define OUTSIDE G_MAXSIZE

/* maps[d][i]: which index of dimension d of the input goes to index i of the output, or OUTSIDE. */
static void copy_mapped(const PipelineTensor *in, gsize *const *maps, gconstpointer filler, PipelineTensor *out)
{
  gsize size = pipeline_tensor_element_size(in->type);
  for (gsize i = 0; i < out->n; i++) {
    gsize rest = i, offset = 0, stride = 1;
    for (guint d = out->n_dims; d-- > 0 && offset != OUTSIDE;) {
      gsize at = maps[d][rest % (gsize)out->dims[d]];
      rest /= (gsize)out->dims[d];
      offset = at == OUTSIDE ? OUTSIDE : offset + at * stride;
      stride *= (gsize)in->dims[d];
    }
    gconstpointer from = offset == OUTSIDE ? filler : (const guint8 *)in->data + offset * size;
    memcpy((guint8 *)out->data + i * size, from, size);
  }
}

static gsize **maps_new(const PipelineTensor *out)
{
  gsize **maps = g_new0(gsize *, ONNX_MAX_DIMENSIONS);
  for (guint d = 0; d < out->n_dims; d++) maps[d] = g_try_new(gsize, (gsize)out->dims[d] + 1);
  return maps;
}

static void maps_free(gsize **maps)
{
  for (guint d = 0; d < ONNX_MAX_DIMENSIONS; d++) g_free(maps[d]);
  g_free(maps);
}

static gboolean maps_check(const PipelineCall *call, gsize **maps, GError **error)
{
  for (guint d = 0; d < call->outputs[0]->n_dims; d++)
    if (maps[d] == NULL) return pipeline_operator_fail(error, "there is not enough memory");
  return TRUE;
}

/* --- Pad
 * -------------------------------------------------------------------------------------------------------------- */

typedef struct {
  gint64 before[ONNX_MAX_DIMENSIONS], after[ONNX_MAX_DIMENSIONS]; /* negative: crops */
} Pads;

/* All beginnings, then all ends; as an attribute (`pads`, before set 2 `paddings`) or an input. */
static gboolean read_pad_list(const PipelineCall *call, gint64 *values, guint *n, GError **error)
{
  const OnnxAttribute *attribute = onnx_node_get_attribute(call->node, "pads");
  if (attribute == NULL) attribute = onnx_node_get_attribute(call->node, "paddings");
  if (attribute == NULL && pipeline_input(call, 1) != NULL)
    return pipeline_integers_read(call->inputs[1], values, 2 * ONNX_MAX_DIMENSIONS, n, error);
  if (attribute == NULL || attribute->kind != ONNX_ATTRIBUTE_INTS || attribute->integers->len > 2 * ONNX_MAX_DIMENSIONS)
    return pipeline_operator_fail(error, "it has no pads");
  *n = attribute->integers->len;
  for (guint i = 0; i < *n; i++) values[i] = g_array_index(attribute->integers, gint64, i);
  return TRUE;
}

static gboolean read_pads(const PipelineCall *call, Pads *pads, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *axes = pipeline_input(call, 3);
  gint64 values[2 * ONNX_MAX_DIMENSIONS], named[ONNX_MAX_DIMENSIONS];
  guint n, n_axes = in->n_dims;
  memset(pads, 0, sizeof *pads);
  for (guint d = 0; d < in->n_dims; d++) named[d] = d;
  if (!read_pad_list(call, values, &n, error) ||
      (axes != NULL && !pipeline_integers_read(axes, named, ONNX_MAX_DIMENSIONS, &n_axes, error)))
    return FALSE;
  if (n != 2 * n_axes) return pipeline_operator_fail(error, "it has %u pads for %u dimensions", n, n_axes);
  for (guint i = 0; i < n_axes; i++) {
    guint axis;
    if (!pipeline_axis_resolve(named[i], in->n_dims, FALSE, &axis, error)) return FALSE;
    if (ABS(values[i] / 2) > G_MAXINT32 || ABS(values[n_axes + i] / 2) > G_MAXINT32)
      return pipeline_operator_fail(error, "a pad is out of range");
    pads->before[axis] = values[i];
    pads->after[axis] = values[n_axes + i];
  }
  return TRUE;
}

gboolean pipeline_pad_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *value = pipeline_input(call, 2);
  Pads pads;
  gint64 dims[ONNX_MAX_DIMENSIONS];
  if (value != NULL && (value->type != in->type || value->n != 1)) return pipeline_operator_fail_type(call, 2, error);
  if (!read_pads(call, &pads, error)) return FALSE;
  gboolean constant = pipeline_attribute_is(call, "mode", "constant", "constant");
  for (guint d = 0; d < in->n_dims; d++) {
    dims[d] = in->dims[d] + pads.before[d] + pads.after[d];
    if (!constant && in->dims[d] == 0 && dims[d] > 0)
      return pipeline_operator_fail(error, "it pads an empty dimension");
  }
  return pipeline_output_set(call, 0, in->type, in->n_dims, dims, error);
}

/* Index `at` of a line of n elements, whatever lies outside: by the mode. */
static gsize pad_source(gint64 at, gint64 n, gchar mode)
{
  if (at >= 0 && at < n) return (gsize)at;
  switch (mode) {
  case 'e': /* edge */
    return at < 0 ? 0 : (gsize)(n - 1);
  case 'w': /* wrap */
    return (gsize)((at % n + n) % n);
  case 'r': { /* reflect, without repeating the border */
    gint64 period = MAX(2 * (n - 1), 1), place = (at % period + period) % period;
    return (gsize)(place < n ? place : period - place);
  }
  default:
    return OUTSIDE;
  }
}

gboolean pipeline_pad_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *given = pipeline_input(call, 2);
  PipelineTensor *out = call->outputs[0];
  static const gchar *const modes[] = {"constant", "edge", "wrap", "reflect", NULL};
  g_autofree gchar *mode = onnx_node_copy_string(call->node, "mode", "constant");
  Pads pads;
  if (!g_strv_contains(modes, mode)) return pipeline_operator_fail(error, "mode '%s' is unknown", mode);
  if (!read_pads(call, &pads, error)) return FALSE;
  guint64 zero[2] = {0, 0}; /* also an empty text */
  PipelineTensor number = {.type = in->type, .data = zero};
  if (given == NULL && in->type != ONNX_TYPE_STRING)
    pipeline_element_put_double(&number, 0, (double)onnx_node_get_float(call->node, "value", 0));
  gsize **maps = maps_new(out);
  gboolean done = maps_check(call, maps, error);
  for (guint d = 0; done && d < out->n_dims; d++)
    for (gint64 i = 0; i < out->dims[d]; i++) maps[d][i] = pad_source(i - pads.before[d], in->dims[d], mode[0]);
  if (done) copy_mapped(in, maps, given != NULL ? given->data : zero, out);
  maps_free(maps);
  return done;
}

/* --- Tile
 * ------------------------------------------------------------------------------------------------------------- */

gboolean pipeline_tile_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gint64 repeats[ONNX_MAX_DIMENSIONS], dims[ONNX_MAX_DIMENSIONS];
  guint n;
  if (!pipeline_integers_read(call->inputs[1], repeats, ONNX_MAX_DIMENSIONS, &n, error)) return FALSE;
  if (n != in->n_dims) return pipeline_operator_fail(error, "it has %u repeats for %u dimensions", n, in->n_dims);
  for (guint d = 0; d < n; d++) {
    if (repeats[d] < 0 || repeats[d] > G_MAXINT32) return pipeline_operator_fail(error, "a repeat is out of range");
    dims[d] = in->dims[d] * repeats[d];
  }
  return pipeline_output_set(call, 0, in->type, n, dims, error);
}

gboolean pipeline_tile_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  PipelineTensor *out = call->outputs[0];
  gsize **maps = maps_new(out);
  gboolean done = maps_check(call, maps, error);
  for (guint d = 0; done && d < out->n_dims; d++)
    for (gint64 i = 0; i < out->dims[d]; i++) maps[d][i] = (gsize)(i % in->dims[d]);
  if (done) copy_mapped(in, maps, NULL, out);
  maps_free(maps);
  return done;
}

/* --- CenterCropPad
 * ----------------------------------------------------------------------------------------------------- */

gboolean pipeline_center_crop_pad_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gint64 target[ONNX_MAX_DIMENSIONS], axes[ONNX_MAX_DIMENSIONS], dims[ONNX_MAX_DIMENSIONS];
  guint n, n_axes;
  gboolean given;
  if (!pipeline_integers_read(call->inputs[1], target, ONNX_MAX_DIMENSIONS, &n, error) ||
      !pipeline_list_read(call, "axes", G_MAXUINT, axes, &n_axes, &given, error))
    return FALSE;
  if (n != (given ? n_axes : in->n_dims)) return pipeline_operator_fail(error, "its shape does not fit its axes");
  memcpy(dims, in->dims, sizeof dims);
  for (guint i = 0; i < n; i++) {
    guint axis;
    if (!pipeline_axis_resolve(given ? axes[i] : (gint64)i, in->n_dims, FALSE, &axis, error)) return FALSE;
    dims[axis] = target[i];
  }
  return pipeline_output_set(call, 0, in->type, in->n_dims, dims, error);
}

gboolean pipeline_center_crop_pad_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  PipelineTensor *out = call->outputs[0];
  static const guint64 zero[2] = {0, 0};
  gsize **maps = maps_new(out);
  gboolean done = maps_check(call, maps, error);
  for (guint d = 0; done && d < out->n_dims; d++) {
    /* The middle; what is odd is left over at the end. */
    gint64 crop = MAX(in->dims[d] - out->dims[d], 0) / 2, pad = MAX(out->dims[d] - in->dims[d], 0) / 2;
    for (gint64 i = 0; i < out->dims[d]; i++) maps[d][i] = pad_source(i - pad + crop, in->dims[d], 'c');
  }
  if (done) copy_mapped(in, maps, zero, out);
  maps_free(maps);
  return done;
}

/* --- DepthToSpace, SpaceToDepth (the parameter: non-NULL for the latter)
 * ----------------------------------------------------------- */

const gint pipeline_space_to_depth = 1;

gboolean pipeline_depth_space_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gint64 b = onnx_node_get_int(call->node, "blocksize", 0);
  gboolean to_depth = call->operator->parameter != NULL;
  gboolean fits = in->n_dims == 4 && b >= 1 && b <= G_MAXINT16 &&
                  (to_depth ? in->dims[2] % b == 0 && in->dims[3] % b == 0 : in->dims[1] % (b * b) == 0);
  if (!fits) {
    g_autofree gchar *text = pipeline_tensor_describe(in);
    return pipeline_operator_fail(error, "%s does not fall into blocks of %" G_GINT64_FORMAT, text, b);
  }
  gint64 depth[4] = {in->dims[0], in->dims[1] * b * b, in->dims[2] / b, in->dims[3] / b};
  gint64 space[4] = {in->dims[0], in->dims[1] / (b * b), in->dims[2] * b, in->dims[3] * b};
  return pipeline_output_set(call, 0, in->type, 4, to_depth ? depth : space, error);
}

gboolean pipeline_depth_space_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *in = call->inputs[0];
  PipelineTensor *out = call->outputs[0];
  gsize b = (gsize)onnx_node_get_int(call->node, "blocksize", 1), size = pipeline_tensor_element_size(in->type);
  gboolean to_depth = call->operator->parameter != NULL, crd = pipeline_attribute_is(call, "mode", "DCR", "CRD");
  const gint64 *deep = to_depth ? out->dims : in->dims; /* the shape with more channels */
  gsize channels = (gsize)deep[1] / (b * b), rows = (gsize)deep[2], columns = (gsize)deep[3];
  for (gsize i = 0; i < in->n; i++) { /* i: an element of the deep tensor [n, channel, row, column] */
    gsize x = i % columns, y = i / columns % rows, c = i / columns / rows % (gsize)deep[1],
          image = i / columns / rows / (gsize)deep[1];
    gsize channel = crd ? c / (b * b) : c % channels, block = crd ? c % (b * b) : c / channels;
    gsize j = ((image * channels + channel) * rows * b + y * b + block / b) * columns * b + x * b + block % b;
    memcpy((guint8 *)out->data + (to_depth ? i : j) * size, (const guint8 *)in->data + (to_depth ? j : i) * size, size);
  }
  return TRUE;
}

/* --- ReverseSequence
 * --------------------------------------------------------------------------------------------------- */

gboolean pipeline_reverse_sequence_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *lengths = call->inputs[1];
  gint64 batch = onnx_node_get_int(call->node, "batch_axis", 1), time = onnx_node_get_int(call->node, "time_axis", 0);
  if (in->n_dims < 2 || batch + time != 1 || batch < 0 || batch > 1)
    return pipeline_operator_fail(error, "its batch and time axes are not 0 and 1");
  if (lengths->type != ONNX_TYPE_INT64) return pipeline_operator_fail_type(call, 1, error);
  if (lengths->n != (gsize)in->dims[batch])
    return pipeline_operator_fail(error, "it lacks a length for every sequence");
  for (gsize i = 0; i < lengths->n; i++)
    if (((const gint64 *)lengths->data)[i] < 0 || ((const gint64 *)lengths->data)[i] > in->dims[time])
      return pipeline_operator_fail(error, "the length of sequence %zu does not fit", i);
  return pipeline_output_like(call, 0, in->type, in, error);
}

gboolean pipeline_reverse_sequence_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *in = call->inputs[0];
  const gint64 *lengths = call->inputs[1]->data;
  gboolean batch_first = onnx_node_get_int(call->node, "batch_axis", 1) == 0;
  gsize bytes = pipeline_dims_product(in->dims, 2, in->n_dims) * pipeline_tensor_element_size(in->type);
  for (gsize i = 0; i < (gsize)(in->dims[0] * in->dims[1]) && bytes > 0; i++) {
    gsize first = i / (gsize)in->dims[1], second = i % (gsize)in->dims[1];
    gsize batch = batch_first ? first : second, time = batch_first ? second : first, length = (gsize)lengths[batch];
    gsize from = time < length ? length - 1 - time : time;
    gsize source = batch_first ? batch * (gsize)in->dims[1] + from : from * (gsize)in->dims[1] + batch;
    memcpy((guint8 *)call->outputs[0]->data + i * bytes, (const guint8 *)in->data + source * bytes, bytes);
  }
  return TRUE;
}

/* --- Trilu, EyeLike
 * ---------------------------------------------------------------------------------------------------- */

gboolean pipeline_trilu_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *k = pipeline_input(call, 1);
  if (in->n_dims < 2 || in->type == ONNX_TYPE_STRING) return pipeline_operator_fail_type(call, 0, error);
  if (k != NULL && (k->type != ONNX_TYPE_INT64 || k->n != 1)) return pipeline_operator_fail_type(call, 1, error);
  return pipeline_output_like(call, 0, in->type, in, error);
}

gboolean pipeline_trilu_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *in = call->inputs[0], *given = pipeline_input(call, 1);
  gboolean upper = onnx_node_get_int(call->node, "upper", 1) != 0;
  gint64 k = given != NULL ? *(const gint64 *)given->data : 0, columns = in->dims[in->n_dims - 1],
         rows = in->dims[in->n_dims - 2];
  k = CLAMP(k, -rows - 1, columns + 1);
  gsize size = pipeline_tensor_element_size(in->type);
  for (gsize i = 0; i < in->n; i++) {
    gint64 column = (gint64)(i % (gsize)columns), row = (gint64)(i / (gsize)columns % (gsize)rows);
    guint8 *to = (guint8 *)call->outputs[0]->data + i * size;
    if (upper ? column - row >= k : column - row <= k)
      memcpy(to, (const guint8 *)in->data + i * size, size);
    else
      memset(to, 0, size);
  }
  return TRUE;
}

gboolean pipeline_eye_like_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  OnnxType type = (OnnxType)onnx_node_get_int(call->node, "dtype", in->type);
  if (in->n_dims != 2) return pipeline_operator_fail(error, "its input is no matrix");
  if (!pipeline_type_is_number(type)) return pipeline_operator_fail(error, "its dtype is not supported");
  return pipeline_output_like(call, 0, type, in, error);
}

gboolean pipeline_eye_like_run(PipelineCall *call, GError **error)
{
  (void)error;
  PipelineTensor *out = call->outputs[0];
  gint64 k = CLAMP(onnx_node_get_int(call->node, "k", 0), -out->dims[0], out->dims[1]);
  for (gsize i = 0; i < out->n; i++)
    pipeline_element_put_double(out, i, (gint64)(i % (gsize)out->dims[1]) - (gint64)(i / (gsize)out->dims[1]) == k);
  return TRUE;
}
