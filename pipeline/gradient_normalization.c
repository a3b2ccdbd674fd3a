/* BatchNormalization (Ioffe and Szegedy 2015) and LayerNormalization (Ba et al. 2016).
 * With x̂ = (x − mean) / √(variance + ε) over n elements that share their statistics:
 *   dx = γ / √(variance + ε) · (dy − Σdy / n − x̂ Σ(dy x̂) / n), dγ = Σ dy x̂, dβ = Σ dy. */
#include <math.h>
#include <string.h>

#include "pipeline/gradient_internal.h"

/* --- BatchNormalization ------------------------------------------------------------------------------------------- */

typedef struct {
  gsize batch, channels, inner;
  gsize n; /* elements of a channel here */
  double epsilon;
  gboolean batch_wise;    /* statistics of this batch; else the running ones */
  double *mean, *inverse; /* [channels] */
  double *all;            /* one: elements of a channel in the whole batch */
  /* Of a batch that several processes compute together (SyncBN): the others are asked. counts: FALSE for a row that
   * stands in. */
  const PipelineGradientSlice *slice;
  gboolean counts;
} BatchNorm;

static void read_batch_norm(PipelineGradientCall *call, BatchNorm *b)
{
  const PipelineTensor *x = call->call.inputs[0];
  b->batch = (gsize)x->dims[0];
  b->channels = (gsize)x->dims[1];
  b->inner = pipeline_dims_product(x->dims, 2, x->n_dims);
  b->n = b->batch * b->inner;
  b->epsilon = (double)onnx_node_get_float(call->call.node, "epsilon", 1e-5f);
  b->batch_wise = call->training && !call->frozen && b->n > 0;
  b->mean = pipeline_gradient_memory(call, 0, (2 * b->channels + 1) * sizeof(double));
  b->inverse = b->mean + b->channels;
  b->all = b->mean + 2 * b->channels;
  b->slice = b->batch_wise ? call->slice : NULL;
  b->counts = b->slice == NULL || b->slice->n > 0;
}

gboolean pipeline_gradient_batch_normalization_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  if (x->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 0, error);
  if (x->n_dims < 2) return pipeline_operator_fail(error, "its input has no channels");
  for (guint i = 1; i < 5; i++)
    if (call->inputs[i]->type != ONNX_TYPE_FLOAT || call->inputs[i]->n_dims != 1 ||
        call->inputs[i]->dims[0] != x->dims[1])
      return pipeline_operator_fail(error, "input %u does not have one number per channel", i);
  for (guint i = 1; i < call->n_outputs; i++) /* the running statistics; nothing in a model reads them */
    if (!pipeline_output_set(call, i, x->type, 1, x->dims + 1, error)) return FALSE;
  return pipeline_output_like(call, 0, x->type, x, error);
}

static void measure_channel(const BatchNorm *b, const float *x, gsize c, double *mean, double *variance)
{
  double sum = 0, squares = 0;
  for (gsize i = 0; i < b->batch; i++)
    for (gsize k = 0; k < b->inner; k++) sum += (double)x[(i * b->channels + c) * b->inner + k];
  *mean = sum / (double)b->n;
  for (gsize i = 0; i < b->batch; i++)
    for (gsize k = 0; k < b->inner; k++) {
      double difference = (double)x[(i * b->channels + c) * b->inner + k] - *mean;
      squares += difference * difference;
    }
  *variance = squares / (double)b->n;
}

/* Sums of differences from the running mean, which all processes have alike, and of their squares: one question to the
 * others, and nothing lost where the mean is far from 0. */
static gboolean measure_together(const BatchNorm *b, const float *x, const float *shift, double *sums, double *variance,
                                 GError **error)
{
  double *squares = sums + b->channels, *n = sums + 2 * b->channels;
  memset(sums, 0, (2 * b->channels + 1) * sizeof(double));
  *n = b->counts ? (double)b->n : 0;
  for (gsize c = 0; b->counts && c < b->channels; c++)
    for (gsize i = 0; i < b->batch; i++)
      for (gsize k = 0; k < b->inner; k++) {
        double difference = (double)x[(i * b->channels + c) * b->inner + k] - (double)shift[c];
        sums[c] += difference;
        squares[c] += difference * difference;
      }
  if (!pipeline_communicator_sum_doubles(b->slice->communicator, sums, 2 * b->channels + 1, error)) return FALSE;
  *b->all = *n;
  for (gsize c = 0; c < b->channels; c++) {
    double difference = sums[c] / *n;
    b->mean[c] = (double)shift[c] + difference;
    variance[c] = MAX(squares[c] / *n - difference * difference, 0);
  }
  return TRUE;
}

/* Mean and variance by channel, into b->mean and `variance`. */
static gboolean measure(PipelineGradientCall *call, const BatchNorm *b, double *variance, GError **error)
{
  const float *x = call->call.inputs[0]->data;
  const float *running_mean = call->call.inputs[3]->data, *running_variance = call->call.inputs[4]->data;
  double *sums = b->slice != NULL ? pipeline_gradient_memory(call, 1, (2 * b->channels + 1) * sizeof(double)) : NULL;
  *b->all = (double)b->n;
  if (b->slice != NULL) return measure_together(b, x, running_mean, sums, variance, error);
  for (gsize c = 0; c < b->channels; c++) {
    b->mean[c] = (double)running_mean[c];
    variance[c] = (double)running_variance[c];
    if (b->batch_wise) measure_channel(b, x, c, &b->mean[c], &variance[c]);
  }
  return TRUE;
}

/* The running statistics (inputs 3 and 4, population variance as ONNX defines) follow the batch: the only inputs that
 * a kernel writes. */
gboolean pipeline_gradient_batch_normalization_forward(PipelineGradientCall *call, GError **error)
{
  BatchNorm b;
  read_batch_norm(call, &b);
  const float *x = call->call.inputs[0]->data, *scale = call->call.inputs[1]->data, *bias = call->call.inputs[2]->data;
  float *running_mean = call->call.inputs[3]->data, *running_variance = call->call.inputs[4]->data;
  float *y = call->call.outputs[0]->data;
  double momentum = (double)onnx_node_get_float(call->call.node, "momentum", 0.9f);
  if (!measure(call, &b, b.inverse, error)) return FALSE;
  for (gsize c = 0; c < b.channels; c++) {
    double mean = b.mean[c], variance = b.inverse[c];
    if (b.batch_wise) {
      running_mean[c] = (float)(momentum * (double)running_mean[c] + (1 - momentum) * mean);
      running_variance[c] = (float)(momentum * (double)running_variance[c] + (1 - momentum) * variance);
    }
    b.inverse[c] = 1 / sqrt(variance + b.epsilon);
    float factor = (float)(b.inverse[c] * (double)scale[c]),
          shift = (float)((double)bias[c] - mean * b.inverse[c] * (double)scale[c]);
    for (gsize i = 0; i < b.batch; i++)
      for (gsize k = 0; k < b.inner; k++) {
        gsize at = (i * b.channels + c) * b.inner + k;
        y[at] = x[at] * factor + shift;
      }
  }
  return TRUE;
}

/* Σ dy and Σ dy x̂ over the elements that are here. */
static void sum_channel(const BatchNorm *b, gsize c, const float *x, const float *dy, double *sum, double *product)
{
  double mean = b->mean[c], inverse = b->inverse[c];
  *sum = *product = 0;
  for (gsize i = 0; i < b->batch; i++)
    for (gsize k = 0; k < b->inner; k++) {
      gsize at = (i * b->channels + c) * b->inner + k;
      *sum += (double)dy[at];
      *product += (double)dy[at] * ((double)x[at] - mean) * inverse;
    }
}

static void differentiate_channel(const BatchNorm *b, gsize c, const float *x, float scale, const float *dy, float *dx,
                                  double sum, double product)
{
  double mean = b->mean[c], inverse = b->inverse[c], factor = (double)scale * inverse, n = *b->all;
  for (gsize i = 0; i < b->batch; i++)
    for (gsize k = 0; k < b->inner; k++) {
      gsize at = (i * b->channels + c) * b->inner + k;
      double normal = ((double)x[at] - mean) * inverse;
      dx[at] = (float)(factor * ((double)dy[at] - (b->batch_wise ? sum / n + normal * product / n : 0)));
    }
}

gboolean pipeline_batch_normalization_backward(PipelineGradientCall *call, GError **error)
{
  BatchNorm b;
  read_batch_norm(call, &b);
  const float *x = call->call.inputs[0]->data, *scale = call->call.inputs[1]->data,
              *dy = pipeline_gradient_of_output(call, 0);
  float *dx = pipeline_gradient_of_input(call, 0), *dscale = pipeline_gradient_of_input(call, 1),
        *dbias = pipeline_gradient_of_input(call, 2);
  double *sums = pipeline_gradient_memory(call, 1, (2 * b.channels + 1) * sizeof(double)),
         *products = sums + b.channels;
  for (gsize c = 0; c < b.channels; c++) {
    sum_channel(&b, c, x, dy, &sums[c], &products[c]);
    if (dscale != NULL) dscale[c] = (float)products[c];
    if (dbias != NULL) dbias[c] = (float)sums[c];
  }
  if (b.slice != NULL && !pipeline_communicator_sum_doubles(b.slice->communicator, sums, 2 * b.channels, error))
    return FALSE;
  for (gsize c = 0; dx != NULL && b.counts && c < b.channels; c++)
    differentiate_channel(&b, c, x, scale[c], dy, dx, sums[c], products[c]);
  if (dx != NULL && !b.counts) memset(dx, 0, b.batch * b.channels * b.inner * sizeof(float));
  return TRUE;
}

/* --- LayerNormalization: every row by itself -----------------------------------------------------------------------
 */

gboolean pipeline_gradient_read_layer_norm(const PipelineCall *call, gsize *rows, gsize *width, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  guint axis;
  if (x->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 0, error);
  if (!pipeline_axis_resolve(onnx_node_get_int(call->node, "axis", -1), x->n_dims, FALSE, &axis, error)) return FALSE;
  *rows = pipeline_dims_product(x->dims, 0, axis);
  *width = pipeline_dims_product(x->dims, axis, x->n_dims);
  for (guint i = 1; i < call->n_inputs; i++)
    if (call->inputs[i] != NULL && (call->inputs[i]->type != ONNX_TYPE_FLOAT || call->inputs[i]->n != *width))
      return pipeline_operator_fail(error, "input %u does not have one number for each of %zu elements", i, *width);
  return TRUE;
}

gboolean pipeline_gradient_layer_normalization_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  gsize rows, width;
  guint axis;
  gint64 dims[ONNX_MAX_DIMENSIONS];
  if (!pipeline_gradient_read_layer_norm(call, &rows, &width, error) ||
      !pipeline_axis_resolve(onnx_node_get_int(call->node, "axis", -1), x->n_dims, FALSE, &axis, error))
    return FALSE;
  for (guint d = 0; d < x->n_dims; d++) dims[d] = d < axis ? x->dims[d] : 1;
  for (guint i = 1; i < call->n_outputs; i++)
    if (!pipeline_output_set(call, i, x->type, x->n_dims, dims, error)) return FALSE;
  return pipeline_output_like(call, 0, x->type, x, error);
}

gboolean pipeline_layer_normalization_forward(PipelineGradientCall *call, GError **error)
{
  gsize rows, width;
  if (!pipeline_gradient_read_layer_norm(&call->call, &rows, &width, error)) return FALSE;
  const float *x = call->call.inputs[0]->data, *scale = call->call.inputs[1]->data,
              *bias = pipeline_gradient_input(call, 2);
  float *y = call->call.outputs[0]->data;
  double *mean = pipeline_gradient_memory(call, 0, 2 * rows * sizeof(double)), *inverse = mean + rows;
  double epsilon = (double)onnx_node_get_float(call->call.node, "epsilon", 1e-5f);
  for (gsize r = 0; r < rows; r++, x += width, y += width) {
    double sum = 0, squares = 0;
    for (gsize i = 0; i < width; i++) sum += (double)x[i];
    mean[r] = sum / (double)width;
    for (gsize i = 0; i < width; i++) squares += ((double)x[i] - mean[r]) * ((double)x[i] - mean[r]);
    inverse[r] = 1 / sqrt(squares / (double)width + epsilon);
    for (gsize i = 0; i < width; i++)
      y[i] = (float)(((double)x[i] - mean[r]) * inverse[r]) * scale[i] + (bias != NULL ? bias[i] : 0);
  }
  for (guint o = 1; o < call->call.n_outputs; o++) {
    PipelineTensor *output = call->call.outputs[o];
    for (gsize r = 0; output != NULL && r < rows; r++) ((float *)output->data)[r] = (float)(o == 1 ? mean : inverse)[r];
  }
  return TRUE;
}

gboolean pipeline_layer_normalization_backward(PipelineGradientCall *call, GError **error)
{
  gsize rows, width;
  if (!pipeline_gradient_read_layer_norm(&call->call, &rows, &width, error)) return FALSE;
  const float *x = call->call.inputs[0]->data, *scale = call->call.inputs[1]->data,
              *dy = pipeline_gradient_of_output(call, 0);
  float *dx = pipeline_gradient_of_input(call, 0), *dscale = pipeline_gradient_of_input(call, 1),
        *dbias = pipeline_gradient_of_input(call, 2);
  const double *mean = call->memories[0], *inverse = mean + rows;
  double *sums = pipeline_gradient_memory(call, 1, 2 * width * sizeof(double));
  memset(sums, 0, 2 * width * sizeof(double));
  for (gsize r = 0; r < rows; r++, x += width, dy += width) {
    double sum = 0, product = 0;
    for (gsize i = 0; i < width; i++) {
      double normal = ((double)x[i] - mean[r]) * inverse[r], g = (double)dy[i] * (double)scale[i];
      sum += g;
      product += g * normal;
      sums[i] += (double)dy[i] * normal;
      sums[width + i] += (double)dy[i];
    }
    for (gsize i = 0; dx != NULL && i < width; i++) {
      double normal = ((double)x[i] - mean[r]) * inverse[r], g = (double)dy[i] * (double)scale[i];
      dx[r * width + i] = (float)(inverse[r] * (g - (sum + normal * product) / (double)width));
    }
  }
  for (gsize i = 0; i < width; i++) {
    if (dscale != NULL) dscale[i] = (float)sums[i];
    if (dbias != NULL) dbias[i] = (float)sums[width + i];
  }
  return TRUE;
}
