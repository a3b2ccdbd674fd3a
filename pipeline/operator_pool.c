/* Pools: MaxPool, AveragePool, LpPool, their global forms, MaxUnpool. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_window.h"

/* For every window: which elements of an image lie in it. */
typedef struct {
  gint32 *offsets; /* [n_out * n_kernel]; the first `inside` of each window */
  guint32 *inside; /* [n_out] */
  guint32 *padded; /* [n_out]: with the padding, without what lies beyond it (ceil_mode) */
} Members;

static void members_clear(Members *members)
{
  g_free(members->offsets);
  g_free(members->inside);
  g_free(members->padded);
}

static void collect_window(const PipelineSpatial *window, gsize p, Members *members)
{
  for (gsize k = 0; k < window->n_kernel; k++) {
    gsize rest_p = p, rest_k = k, offset = 0, stride = 1;
    gboolean inside = TRUE, padded = TRUE;
    for (guint d = window->n; d-- > 0;) {
      gint64 at = (gint64)(rest_p % (gsize)window->out[d]) * window->stride[d] - window->before[d] +
                  (gint64)(rest_k % (gsize)window->kernel[d]) * window->dilation[d];
      rest_p /= (gsize)window->out[d];
      rest_k /= (gsize)window->kernel[d];
      inside = inside && at >= 0 && at < window->in[d];
      padded = padded && at < window->in[d] + window->after[d];
      if (inside) offset += (gsize)at * stride;
      stride *= (gsize)window->in[d];
    }
    if (inside) members->offsets[p * window->n_kernel + members->inside[p]++] = (gint32)offset;
    members->padded[p] += padded;
  }
}

static gboolean members_collect(const PipelineCall *call, const PipelineSpatial *window, Members *members,
                                GError **error)
{
  if (window->n_in > G_MAXINT32 || window->n_kernel > G_MAXINT32)
    return pipeline_operator_fail(error, "its image is too large");
  members->offsets = pipeline_scratch_new(call, window->n_out * window->n_kernel, sizeof(gint32), error);
  members->inside = members->offsets == NULL ? NULL : pipeline_scratch_new(call, window->n_out, 4, error);
  members->padded = members->inside == NULL ? NULL : pipeline_scratch_new(call, window->n_out, 4, error);
  if (members->padded == NULL) return FALSE;
  for (gsize p = 0; p < window->n_out; p++) collect_window(window, p, members);
  return TRUE;
}

/* Global pools (parameter of the row): the window is the whole image. */
static gboolean is_global(const PipelineCall *call)
{
  return g_str_has_prefix(call->operator->name, "Global");
}

static gboolean read_window(const PipelineCall *call, PipelineSpatial *window, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  if (x->n_dims < 3) return pipeline_operator_fail(error, "its input has no spatial dimensions");
  if (!is_global(call)) return pipeline_spatial_read(call, x->n_dims - 2, x->dims + 2, NULL, window, error);
  memset(window, 0, sizeof *window);
  window->n = x->n_dims - 2;
  for (guint d = 0; d < window->n; d++) {
    window->in[d] = window->kernel[d] = x->dims[d + 2];
    window->out[d] = window->stride[d] = window->dilation[d] = 1;
  }
  return pipeline_spatial_count(window, error);
}

gboolean pipeline_pool_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  PipelineSpatial window;
  gboolean any_number = call->operator->parameter == & pipeline_pool_max && x->type != ONNX_TYPE_BOOL;
  if (any_number ? !pipeline_type_is_number(x->type) : !pipeline_type_is_floating(x->type))
    return pipeline_operator_fail_type(call, 0, error);
  if (!read_window(call, &window, error)) return FALSE;
  gint64 dims[ONNX_MAX_DIMENSIONS] = {x->dims[0], x->dims[1]};
  memcpy(dims + 2, window.out, window.n * sizeof(gint64));
  if (!pipeline_output_set(call, 0, x->type, x->n_dims, dims, error) ||
      !pipeline_output_set(call, 1, ONNX_TYPE_INT64, x->n_dims, dims, error))
    return FALSE;
  return pipeline_charge_multiplications(call, (double)call->outputs[0]->n * (double)window.n_kernel, error);
}

/* Column-major number of an element (storage_order 1). */
static gsize column_major(const PipelineSpatial *window, gsize offset)
{
  gsize position[PIPELINE_SPATIAL_MAX], number = 0;
  for (guint d = window->n; d-- > 0;) {
    position[d] = offset % (gsize)window->in[d];
    offset /= (gsize)window->in[d];
  }
  for (guint d = window->n; d-- > 0;) number = number * (gsize)window->in[d] + position[d];
  return number;
}

static void pool_max(PipelineCall *call, const PipelineSpatial *window, const Members *members, gsize image)
{
  const PipelineTensor *x = call->inputs[0];
  PipelineTensor *places = call->n_outputs > 1 ? call->outputs[1] : NULL;
  gboolean columns = onnx_node_get_int(call->node, "storage_order", 0) != 0;
  for (gsize p = 0; p < window->n_out; p++) {
    const gint32 *offsets = members->offsets + p * window->n_kernel;
    gsize best = 0;
    double highest = -INFINITY;
    for (guint32 i = 0; i < members->inside[p]; i++) {
      double value = pipeline_element_get_double(x, image * window->n_in + (gsize)offsets[i]);
      if (i > 0 && !(value > highest) && !isnan(value)) continue;
      if (i > 0 && isnan(highest)) continue; /* NaN wins, the first one */
      highest = value;
      best = (gsize)offsets[i];
    }
    pipeline_element_put_double(call->outputs[0], image * window->n_out + p, highest);
    if (places != NULL)
      ((gint64 *)places->data)[image * window->n_out + p] =
          (gint64)(image * window->n_in + (columns ? column_major(window, best) : best));
  }
}

static void pool_average(PipelineCall *call, const PipelineSpatial *window, const Members *members, gsize image)
{
  gboolean padding = onnx_node_get_int(call->node, "count_include_pad", 0) != 0;
  for (gsize p = 0; p < window->n_out; p++) {
    double sum = 0;
    for (guint32 i = 0; i < members->inside[p]; i++)
      sum += pipeline_element_get_double(call->inputs[0],
                                         image * window->n_in + (gsize)members->offsets[p * window->n_kernel + i]);
    pipeline_element_put_double(call->outputs[0], image * window->n_out + p,
                                sum / (double)(padding ? members->padded[p] : members->inside[p]));
  }
}

static void pool_lp(PipelineCall *call, const PipelineSpatial *window, const Members *members, gsize image)
{
  double power = (double)onnx_node_get_int(call->node, "p", 2);
  for (gsize p = 0; p < window->n_out; p++) {
    double sum = 0;
    for (guint32 i = 0; i < members->inside[p]; i++)
      sum += pow(fabs(pipeline_element_get_double(
                     call->inputs[0], image * window->n_in + (gsize)members->offsets[p * window->n_kernel + i])),
                 power);
    pipeline_element_put_double(call->outputs[0], image * window->n_out + p, pow(sum, 1 / power));
  }
}

struct _PipelinePool {
  void (*run)(PipelineCall *call, const PipelineSpatial *window, const Members *members, gsize image);
};
const PipelinePool pipeline_pool_max = {pool_max}, pipeline_pool_average = {pool_average}, pipeline_pool_lp = {pool_lp};

gboolean pipeline_pool_run(PipelineCall *call, GError **error)
{
  const PipelinePool *pool = call->operator->parameter;
  const PipelineTensor *x = call->inputs[0];
  PipelineSpatial window;
  Members members = {NULL, NULL, NULL};
  if (!read_window(call, &window, error)) return FALSE;
  gboolean collected = members_collect(call, &window, &members, error);
  for (gsize image = 0; collected && image < (gsize)(x->dims[0] * x->dims[1]); image++)
    pool->run(call, &window, &members, image);
  members_clear(&members);
  return collected;
}

/* --- MaxUnpool: puts each element where MaxPool found it
 * ------------------------------------------------------------------ */

gboolean pipeline_max_unpool_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *places = call->inputs[1];
  PipelineSpatial window;
  gint64 dims[ONNX_MAX_DIMENSIONS];
  guint n;
  if (!pipeline_type_is_floating(x->type)) return pipeline_operator_fail_type(call, 0, error);
  if (places->type != ONNX_TYPE_INT64 || places->n != x->n) return pipeline_operator_fail_type(call, 1, error);
  if (x->n_dims < 3) return pipeline_operator_fail(error, "its input has no spatial dimensions");
  if (pipeline_input(call, 2) != NULL)
    return pipeline_integers_read(call->inputs[2], dims, ONNX_MAX_DIMENSIONS, &n, error) &&
           pipeline_output_set(call, 0, x->type, n, dims, error);
  if (!pipeline_spatial_read_attributes(call, x->n_dims - 2, x->dims + 2, NULL, &window, error)) return FALSE;
  memcpy(dims, x->dims, sizeof dims);
  for (guint d = 0; d < window.n; d++)
    dims[d + 2] = (x->dims[d + 2] - 1) * window.stride[d] + window.kernel[d] - window.before[d] - window.after[d];
  return pipeline_output_set(call, 0, x->type, x->n_dims, dims, error);
}

gboolean pipeline_max_unpool_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  const gint64 *places = call->inputs[1]->data;
  PipelineTensor *out = call->outputs[0];
  PipelineSpatial window;
  /* The numbers in `places` are those of the shape that the attributes give, whatever output_shape asks for. */
  if (!pipeline_spatial_read_attributes(call, x->n_dims - 2, x->dims + 2, NULL, &window, error)) return FALSE;
  gint64 shape[ONNX_MAX_DIMENSIONS] = {x->dims[0], x->dims[1]};
  for (guint d = 0; d < window.n; d++)
    shape[d + 2] = (x->dims[d + 2] - 1) * window.stride[d] + window.kernel[d] - window.before[d] - window.after[d];
  memset(out->data, 0, out->n * pipeline_tensor_element_size(out->type));
  for (gsize i = 0; i < x->n; i++) {
    gint64 place = places[i], at = 0, stride = 1;
    gboolean inside = place >= 0 && out->n_dims == x->n_dims;
    for (guint d = x->n_dims; inside && d-- > 0;) {
      if (shape[d] < 1) return pipeline_operator_fail(error, "its output is empty");
      inside = place % shape[d] < out->dims[d];
      at += place % shape[d] * stride;
      place /= shape[d];
      stride *= out->dims[d];
    }
    if (!inside || place != 0)
      return pipeline_operator_fail(error, "index %" G_GINT64_FORMAT " is out of range", places[i]);
    pipeline_element_put_double(out, (gsize)at, pipeline_element_get_double(x, i));
  }
  return TRUE;
}
