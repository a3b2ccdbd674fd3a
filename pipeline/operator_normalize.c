/* Normalisations: batch, instance, layer, group, RMS, mean-variance, Lp, local response. Sums run in double. */
#include <math.h>

#include "pipeline/operator_internal.h"

/* --- BatchNormalization
 * ----------------------------------------------------------------------------------------------- */

static gboolean trains(const PipelineCall *call)
{
  return call->as_written && onnx_node_get_int(call->node, "training_mode", 0) != 0;
}

gboolean pipeline_batch_normalization_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  if (x->type != ONNX_TYPE_FLOAT && x->type != ONNX_TYPE_DOUBLE) return pipeline_operator_fail_type(call, 0, error);
  if (x->n_dims < 2 && !(x->n_dims == 1 && call->opset >= 14))
    return pipeline_operator_fail(error, "its input has no channels");
  gint64 channels = x->n_dims > 1 ? x->dims[1] : 1;
  for (guint i = 1; i < 5; i++) {
    if (!pipeline_type_is_floating(call->inputs[i]->type)) return pipeline_operator_fail_type(call, i, error);
    if (call->inputs[i]->n_dims != 1 || call->inputs[i]->dims[0] != channels)
      return pipeline_operator_fail(error, "input %u does not have one number per channel", i);
  }
  gboolean training = trains(call) && call->opset >= 14;
  for (guint i = 1; i < call->n_outputs; i++)
    if (call->outputs[i] != NULL && (!training || i > 2))
      return pipeline_operator_fail(error, "its training outputs are read: export the model for inference");
  return pipeline_output_like(call, 0, x->type, x, error) &&
         pipeline_output_like(call, 1, call->inputs[3]->type, call->inputs[3], error) &&
         pipeline_output_like(call, 2, call->inputs[4]->type, call->inputs[4], error);
}

/* Mean and population variance of channel `c` of x [n, channels, inner]. */
static void measure_channel(const PipelineTensor *x, gsize channels, gsize inner, gsize c, double *mean,
                            double *variance)
{
  gsize rows = (gsize)x->dims[0];
  double sum = 0, squares = 0;
  for (gsize i = 0; i < rows * inner; i++)
    sum += pipeline_element_get_double(x, (i / inner * channels + c) * inner + i % inner);
  *mean = sum / (double)(rows * inner);
  for (gsize i = 0; i < rows * inner; i++) {
    double difference = pipeline_element_get_double(x, (i / inner * channels + c) * inner + i % inner) - *mean;
    squares += difference * difference;
  }
  *variance = squares / (double)(rows * inner);
}

static void update_running(const PipelineCall *call, guint output, gsize c, double measured)
{
  double momentum = (double)onnx_node_get_float(call->node, "momentum", 0.9f);
  PipelineTensor *running = output < call->n_outputs ? call->outputs[output] : NULL;
  if (running == NULL) return;
  double before = pipeline_element_get_double(call->inputs[output + 2], c);
  pipeline_element_put_double(running, c, before * momentum + measured * (1 - momentum));
}

#define SCALE_CHANNEL(type)                                                                                            \
  for (gsize row = 0; row < rows; row++) {                                                                             \
    const type *from = (const type *)x->data + (row * channels + c) * inner;                                           \
    type *to = (type *)out->data + (row * channels + c) * inner;                                                       \
    for (gsize i = 0; i < inner; i++) to[i] = (from[i] - (type)mean) * (type)factor + (type)bias;                      \
  }

/* With the running statistics unless the caller wants training_mode obeyed. */
gboolean pipeline_batch_normalization_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *x = call->inputs[0];
  PipelineTensor *out = call->outputs[0];
  double epsilon = (double)onnx_node_get_float(call->node, "epsilon", 1e-5f);
  gsize rows = (gsize)x->dims[0], channels = x->n_dims > 1 ? (gsize)x->dims[1] : 1;
  gsize inner = pipeline_dims_product(x->dims, MIN(2, x->n_dims), x->n_dims);
  for (gsize c = 0; c < channels; c++) {
    double mean = pipeline_element_get_double(call->inputs[3], c);
    double variance = pipeline_element_get_double(call->inputs[4], c);
    if (trains(call)) {
      measure_channel(x, channels, inner, c, &mean, &variance);
      update_running(call, 1, c, mean);
      update_running(call, 2, c, variance);
    }
    double bias = pipeline_element_get_double(call->inputs[2], c);
    double factor = pipeline_element_get_double(call->inputs[1], c);
    if (x->type == ONNX_TYPE_FLOAT) {
      factor = (double)((float)factor / sqrtf((float)variance + (float)epsilon));
      SCALE_CHANNEL(float)
    } else {
      factor /= sqrt(variance + epsilon);
      SCALE_CHANNEL(double)
    }
  }
  return TRUE;
}

/* --- a run of neighbouring elements normalised to mean 0 and variance 1
 * ---------------------------------------------------------- */

typedef struct {
  double mean, factor;
} Moments;

static Moments measure(const PipelineTensor *x, gsize start, gsize n, double epsilon, gboolean centred)
{
  double sum = 0, squares = 0;
  for (gsize i = 0; centred && i < n; i++) sum += pipeline_element_get_double(x, start + i);
  double mean = centred ? sum / (double)n : 0;
  for (gsize i = 0; i < n; i++) {
    double difference = pipeline_element_get_double(x, start + i) - mean;
    squares += difference * difference;
  }
  return (Moments){mean, 1 / sqrt(squares / (double)n + epsilon)};
}

static gboolean check_per_channel(const PipelineCall *call, guint from, guint to, gint64 channels, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  if (x->type != ONNX_TYPE_FLOAT && x->type != ONNX_TYPE_DOUBLE) return pipeline_operator_fail_type(call, 0, error);
  if (x->n_dims < 2) return pipeline_operator_fail(error, "its input has no channels");
  for (guint i = from; i <= to; i++) {
    if (!pipeline_type_is_floating(call->inputs[i]->type)) return pipeline_operator_fail_type(call, i, error);
    if (call->inputs[i]->n != (gsize)channels)
      return pipeline_operator_fail(error, "input %u does not have %" G_GINT64_FORMAT " numbers", i, channels);
  }
  return TRUE;
}

/* groups of channels: 0 is one a channel (instance normalisation). Scale and bias [channels], or [groups]. */
static void normalize_groups(PipelineCall *call, gsize groups, gboolean per_group)
{
  const PipelineTensor *x = call->inputs[0];
  double epsilon = (double)onnx_node_get_float(call->node, "epsilon", 1e-5f);
  gsize channels = (gsize)x->dims[1], inner = pipeline_dims_product(x->dims, 2, x->n_dims);
  gsize in_group = channels / groups;
  for (gsize g = 0; g < (gsize)x->dims[0] * groups; g++) {
    Moments moments = measure(x, g * in_group * inner, in_group * inner, epsilon, TRUE);
    for (gsize i = 0; i < in_group * inner; i++) {
      gsize at = g * in_group * inner + i, channel = per_group ? g % groups : g % groups * in_group + i / inner;
      double value = (pipeline_element_get_double(x, at) - moments.mean) * moments.factor;
      pipeline_element_put_double(call->outputs[0], at,
                                  value * pipeline_element_get_double(call->inputs[1], channel) +
                                      pipeline_element_get_double(call->inputs[2], channel));
    }
  }
}

gboolean pipeline_instance_normalization_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  return check_per_channel(call, 1, 2, x->n_dims < 2 ? 0 : x->dims[1], error) &&
         pipeline_output_like(call, 0, x->type, x, error);
}

gboolean pipeline_instance_normalization_run(PipelineCall *call, GError **error)
{
  (void)error;
  if (call->outputs[0]->n > 0) normalize_groups(call, (gsize)call->inputs[0]->dims[1], FALSE);
  return TRUE;
}

gboolean pipeline_group_normalization_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  gint64 groups = onnx_node_get_int(call->node, "num_groups", 0), channels = x->n_dims < 2 ? 0 : x->dims[1];
  if (groups < 1 || channels % groups != 0)
    return pipeline_operator_fail(
        error, "its %" G_GINT64_FORMAT " channels do not fall into %" G_GINT64_FORMAT " groups", channels, groups);
  return check_per_channel(call, 1, 2, call->opset < 21 ? groups : channels, error) &&
         pipeline_output_like(call, 0, x->type, x, error);
}

gboolean pipeline_group_normalization_run(PipelineCall *call, GError **error)
{
  (void)error;
  if (call->outputs[0]->n > 0)
    normalize_groups(call, (gsize)onnx_node_get_int(call->node, "num_groups", 0), call->opset < 21);
  return TRUE;
}

/* --- LayerNormalization, RMSNormalization (parameter non-NULL: not centred, no bias)
 * ------------------------------------------ */

const gint pipeline_layer_rms = 1;

static gboolean layer_axis(const PipelineCall *call, guint *axis, GError **error)
{
  return pipeline_axis_resolve(onnx_node_get_int(call->node, "axis", -1), call->inputs[0]->n_dims, FALSE, axis, error);
}

gboolean pipeline_layer_normalization_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  guint axis;
  gint64 dims[ONNX_MAX_DIMENSIONS], reduced[ONNX_MAX_DIMENSIONS];
  if (x->type != ONNX_TYPE_FLOAT && x->type != ONNX_TYPE_DOUBLE) return pipeline_operator_fail_type(call, 0, error);
  if (!layer_axis(call, &axis, error)) return FALSE;
  for (guint i = 1; i < call->n_inputs; i++) {
    const PipelineTensor *pair[2] = {x, call->inputs[i]};
    guint n_dims;
    if (call->inputs[i] == NULL) continue;
    if (!pipeline_type_is_floating(call->inputs[i]->type)) return pipeline_operator_fail_type(call, i, error);
    if (!pipeline_broadcast_shape(pair, 2, dims, &n_dims, error)) return FALSE;
    if (n_dims != x->n_dims || pipeline_dims_product(dims, 0, n_dims) != x->n)
      return pipeline_operator_fail(error, "the shape of input %u is larger than its data", i);
  }
  for (guint d = 0; d < x->n_dims; d++) reduced[d] = d < axis ? x->dims[d] : 1;
  return pipeline_output_like(call, 0, x->type, x, error) &&
         pipeline_output_set(call, 1, ONNX_TYPE_FLOAT, x->n_dims, reduced, error) &&
         pipeline_output_set(call, 2, ONNX_TYPE_FLOAT, x->n_dims, reduced, error);
}

/* Element of a tensor that is broadcast to `like`, for the element `index` of it. */
static double broadcast_get(const PipelineTensor *tensor, const PipelineTensor *like, gsize index)
{
  gsize offset = 0, stride = 1;
  for (guint d = tensor->n_dims; d-- > 0;) {
    gsize size = (gsize)tensor->dims[d], whole = (gsize)like->dims[like->n_dims - tensor->n_dims + d];
    offset += (size == 1 ? 0 : index % whole) * stride;
    index /= whole;
    stride *= size;
  }
  return pipeline_element_get_double(tensor, offset);
}

gboolean pipeline_layer_normalization_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *scale = pipeline_input(call, 1), *bias = pipeline_input(call, 2);
  double epsilon = (double)onnx_node_get_float(call->node, "epsilon", 1e-5f);
  guint axis;
  if (!layer_axis(call, &axis, error)) return FALSE;
  gsize rows = pipeline_dims_product(x->dims, 0, axis), n = pipeline_dims_product(x->dims, axis, x->n_dims);
  for (gsize row = 0; row < rows && x->n > 0; row++) {
    Moments moments = measure(x, row * n, n, epsilon, call->operator->parameter == NULL);
    for (gsize at = row * n; at < (row + 1) * n; at++) {
      double value = (pipeline_element_get_double(x, at) - moments.mean) * moments.factor;
      if (scale != NULL) value *= broadcast_get(scale, x, at);
      if (bias != NULL) value += broadcast_get(bias, x, at);
      pipeline_element_put_double(call->outputs[0], at, value);
    }
    if (call->n_outputs > 1 && call->outputs[1] != NULL)
      pipeline_element_put_double(call->outputs[1], row, moments.mean);
    if (call->n_outputs > 2 && call->outputs[2] != NULL)
      pipeline_element_put_double(call->outputs[2], row, moments.factor);
  }
  return TRUE;
}

/* --- LpNormalization
 * --------------------------------------------------------------------------------------------------- */

gboolean pipeline_lp_normalization_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  PipelineAround around;
  gint64 p = onnx_node_get_int(call->node, "p", 2);
  if (in->type != ONNX_TYPE_FLOAT && in->type != ONNX_TYPE_DOUBLE) return pipeline_operator_fail_type(call, 0, error);
  if (p != 1 && p != 2) return pipeline_operator_fail(error, "its p is %" G_GINT64_FORMAT ", not 1 or 2", p);
  return pipeline_around(in, onnx_node_get_int(call->node, "axis", -1), &around, error) &&
         pipeline_output_like(call, 0, in->type, in, error);
}

/* A line of zeros stays zeros, as in ONNX Runtime. */
gboolean pipeline_lp_normalization_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gboolean squares = onnx_node_get_int(call->node, "p", 2) == 2;
  PipelineAround around;
  if (!pipeline_around(in, onnx_node_get_int(call->node, "axis", -1), &around, error)) return FALSE;
  for (gsize line = 0; line < around.outer * around.inner; line++) {
    gsize start = line / around.inner * around.length * around.inner + line % around.inner;
    double sum = 0;
    for (gsize i = 0; i < around.length; i++) {
      double value = pipeline_element_get_double(in, start + i * around.inner);
      sum += squares ? value * value : fabs(value);
    }
    double norm = squares ? sqrt(sum) : sum;
    for (gsize i = 0; i < around.length; i++) {
      gsize at = start + i * around.inner;
      pipeline_element_put_double(call->outputs[0], at, norm != 0 ? pipeline_element_get_double(in, at) / norm : 0);
    }
  }
  return TRUE;
}

/* --- LRN: x / (bias + alpha/size · Σ x² over the neighbouring channels)^beta
 * --------------------------------------------------- */

gboolean pipeline_lrn_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  if (x->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 0, error);
  if (x->n_dims < 2) return pipeline_operator_fail(error, "its input has no channels");
  if (onnx_node_get_int(call->node, "size", 0) < 1) return pipeline_operator_fail(error, "its size is not positive");
  return pipeline_output_like(call, 0, x->type, x, error);
}

gboolean pipeline_lrn_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  const float *in = x->data;
  float *out = call->outputs[0]->data;
  double alpha = (double)onnx_node_get_float(call->node, "alpha", 1e-4f),
         beta = (double)onnx_node_get_float(call->node, "beta", 0.75f),
         bias = (double)onnx_node_get_float(call->node, "bias", 1.0f);
  gint64 size = onnx_node_get_int(call->node, "size", 1), channels = x->dims[1];
  gsize inner = pipeline_dims_product(x->dims, 2, x->n_dims);
  gint64 before = MIN((size - 1) / 2, channels), after = MIN(size - 1 - (size - 1) / 2, channels);
  if (!pipeline_charge_multiplications(call, (double)x->n * (double)(before + after + 1), error)) return FALSE;
  for (gsize row = 0; row < (gsize)x->dims[0]; row++)
    for (gint64 c = 0; c < channels; c++)
      for (gsize i = 0; i < inner; i++) {
        double sum = 0;
        for (gint64 k = MAX(c - before, 0); k <= MIN(c + after, channels - 1); k++) {
          double value = (double)in[(row * (gsize)channels + (gsize)k) * inner + i];
          sum += value * value;
        }
        gsize at = (row * (gsize)channels + (gsize)c) * inner + i;
        out[at] = (float)((double)in[at] / pow(bias + alpha / (double)size * sum, beta));
      }
  return TRUE;
}

/* --- MeanVarianceNormalization over the axes (0, 2, 3 by default)
 * ------------------------------------------------------------------ */

gboolean pipeline_mean_variance_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  if (x->type != ONNX_TYPE_FLOAT && x->type != ONNX_TYPE_DOUBLE) return pipeline_operator_fail_type(call, 0, error);
  return pipeline_output_like(call, 0, x->type, x, error);
}

/* Group of each element: its index over the axes that are kept. */
static gsize kept_index(const PipelineTensor *x, const gboolean *kept, gsize index)
{
  gsize group = 0, stride = 1;
  for (guint d = x->n_dims; d-- > 0;) {
    gsize size = (gsize)x->dims[d];
    if (kept[d]) group += index % size * stride, stride *= size;
    index /= size;
  }
  return group;
}

gboolean pipeline_mean_variance_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  gint64 axes[ONNX_MAX_DIMENSIONS] = {0, 2, 3};
  guint n = 3, axis;
  gboolean given, kept[ONNX_MAX_DIMENSIONS];
  if (onnx_node_get_attribute(call->node, "axes") != NULL &&
      !pipeline_list_read(call, "axes", G_MAXUINT, axes, &n, &given, error))
    return FALSE;
  for (guint d = 0; d < ONNX_MAX_DIMENSIONS; d++) kept[d] = TRUE;
  for (guint i = 0; i < n; i++) {
    if (!pipeline_axis_resolve(axes[i], x->n_dims, FALSE, &axis, error)) return FALSE;
    kept[axis] = FALSE;
  }
  g_autofree double *sums = pipeline_scratch_new(call, x->n + 1, sizeof(double), error),
                    *squares = pipeline_scratch_new(call, x->n + 1, sizeof(double), error);
  if (sums == NULL || squares == NULL) return FALSE;
  gsize groups = 1;
  for (guint d = 0; d < x->n_dims; d++) groups *= kept[d] ? (gsize)x->dims[d] : 1;
  double count = groups > 0 ? (double)(x->n / groups) : 1;
  for (gsize i = 0; i < x->n; i++) sums[kept_index(x, kept, i)] += pipeline_element_get_double(x, i) / count;
  for (gsize i = 0; i < x->n; i++) {
    double difference = pipeline_element_get_double(x, i) - sums[kept_index(x, kept, i)];
    squares[kept_index(x, kept, i)] += difference * difference / count;
  }
  for (gsize i = 0; i < x->n; i++) {
    gsize group = kept_index(x, kept, i);
    pipeline_element_put_double(call->outputs[0], i,
                                (pipeline_element_get_double(x, i) - sums[group]) / (sqrt(squares[group]) + 1e-9));
  }
  return TRUE;
}
