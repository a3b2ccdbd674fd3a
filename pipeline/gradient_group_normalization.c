/* InstanceNormalization (Ulyanov et al. 2016) and GroupNormalization (Wu and He 2018): the formulas of
 * gradient_normalization.c over the channels of a group in one sample, in prediction as in training. */
#include <math.h>
#include <string.h>

#include "pipeline/gradient_internal.h"

gboolean pipeline_gradient_read_group_norm(const PipelineCall *call, PipelineGroupNorm *shape, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  if (x->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 0, error);
  if (x->n_dims < 2) return pipeline_operator_fail(error, "its input has no channels");
  gint64 channels = x->dims[1], groups = onnx_node_get_int(call->node, "num_groups", 0);
  gboolean by_channel = strcmp(call->node->op_type, "InstanceNormalization") == 0;
  if (by_channel) groups = MAX(channels, 1);
  if (groups < 1 || channels % groups != 0)
    return pipeline_operator_fail(
        error, "its %" G_GINT64_FORMAT " channels do not fall into %" G_GINT64_FORMAT " groups", channels, groups);
  gboolean per_group = !by_channel && call->opset < 21; /* as set 18 has them; from 21 on one a channel */
  *shape = (PipelineGroupNorm){.batch = (gsize)x->dims[0], .groups = (gsize)groups};
  shape->each = per_group ? 1 : (gsize)(channels / groups);
  shape->width = pipeline_dims_product(x->dims, 2, x->n_dims) * (per_group ? (gsize)(channels / groups) : 1);
  for (guint i = 1; i < 3; i++)
    if (call->inputs[i]->type != ONNX_TYPE_FLOAT || call->inputs[i]->n != (per_group ? shape->groups : (gsize)channels))
      return pipeline_operator_fail(error, "input %u does not have one number per %s", i,
                                    per_group ? "group" : "channel");
  return TRUE;
}

gboolean pipeline_gradient_group_normalization_infer(PipelineCall *call, GError **error)
{
  PipelineGroupNorm shape;
  return pipeline_gradient_read_group_norm(call, &shape, error) &&
         pipeline_output_like(call, 0, ONNX_TYPE_FLOAT, call->inputs[0], error);
}

static void measure(const float *x, gsize n, double epsilon, double *mean, double *inverse)
{
  double sum = 0, squares = 0;
  for (gsize i = 0; i < n; i++) sum += (double)x[i];
  *mean = sum / (double)n;
  for (gsize i = 0; i < n; i++) squares += ((double)x[i] - *mean) * ((double)x[i] - *mean);
  *inverse = 1 / sqrt(squares / (double)n + epsilon);
}

gboolean pipeline_group_normalization_forward(PipelineGradientCall *call, GError **error)
{
  PipelineGroupNorm shape;
  if (!pipeline_gradient_read_group_norm(&call->call, &shape, error)) return FALSE;
  const float *x = call->call.inputs[0]->data, *scale = call->call.inputs[1]->data, *bias = call->call.inputs[2]->data;
  float *y = call->call.outputs[0]->data;
  gsize lines = shape.batch * shape.groups, n = shape.each * shape.width;
  double *mean = pipeline_gradient_memory(call, 0, 2 * lines * sizeof(double)), *inverse = mean + lines;
  double epsilon = (double)onnx_node_get_float(call->call.node, "epsilon", 1e-5f);
  for (gsize line = 0; n > 0 && line < lines; line++, x += n, y += n) {
    measure(x, n, epsilon, &mean[line], &inverse[line]);
    for (gsize i = 0; i < n; i++) {
      gsize weight = line % shape.groups * shape.each + i / shape.width;
      y[i] = (float)(((double)x[i] - mean[line]) * inverse[line]) * scale[weight] + bias[weight];
    }
  }
  return TRUE;
}

/* One line: adds to the sums of its weights (of dy x̂ and of dy); dx, unless NULL. */
static void differentiate_line(const PipelineGroupNorm *shape, double mean, double inverse, const float *x,
                               const float *scale, const float *dy, double *products, double *sums, float *dx)
{
  gsize n = shape->each * shape->width;
  double sum = 0, product = 0;
  for (gsize i = 0; i < n; i++) {
    gsize weight = i / shape->width;
    double normal = ((double)x[i] - mean) * inverse, g = (double)dy[i] * (double)scale[weight];
    sum += g;
    product += g * normal;
    products[weight] += (double)dy[i] * normal;
    sums[weight] += (double)dy[i];
  }
  for (gsize i = 0; dx != NULL && i < n; i++) {
    double normal = ((double)x[i] - mean) * inverse, g = (double)dy[i] * (double)scale[i / shape->width];
    dx[i] = (float)(inverse * (g - (sum + normal * product) / (double)n));
  }
}

gboolean pipeline_group_normalization_backward(PipelineGradientCall *call, GError **error)
{
  PipelineGroupNorm shape;
  if (!pipeline_gradient_read_group_norm(&call->call, &shape, error)) return FALSE;
  const float *x = call->call.inputs[0]->data, *scale = call->call.inputs[1]->data,
              *dy = pipeline_gradient_of_output(call, 0);
  float *dx = pipeline_gradient_of_input(call, 0), *dscale = pipeline_gradient_of_input(call, 1),
        *dbias = pipeline_gradient_of_input(call, 2);
  gsize lines = shape.batch * shape.groups, n = shape.each * shape.width, weights = shape.groups * shape.each;
  const double *mean = call->memories[0], *inverse = mean + lines;
  double *products = pipeline_gradient_memory(call, 1, 2 * weights * sizeof(double)), *sums = products + weights;
  memset(products, 0, 2 * weights * sizeof(double));
  for (gsize line = 0; n > 0 && line < lines; line++) {
    gsize first = line % shape.groups * shape.each;
    differentiate_line(&shape, mean[line], inverse[line], x + line * n, scale + first, dy + line * n, products + first,
                       sums + first, dx != NULL ? dx + line * n : NULL);
  }
  for (gsize i = 0; i < weights; i++) {
    if (dscale != NULL) dscale[i] = (float)products[i];
    if (dbias != NULL) dbias[i] = (float)sums[i];
  }
  return TRUE;
}
