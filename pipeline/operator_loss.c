/* NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss: over classes in dimension 1. Sums run in double. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

const gint pipeline_loss_softmax = 1;

/* Inputs: scores [N, C, …], target [N, …], weights [C]. Outputs: the loss, and for softmax the log-probabilities. */
gboolean pipeline_loss_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *target = call->inputs[1], *weights = pipeline_input(call, 2);
  gint64 dims[ONNX_MAX_DIMENSIONS];
  if (!pipeline_type_is_floating(x->type)) return pipeline_operator_fail_type(call, 0, error);
  if (target->type != ONNX_TYPE_INT64 && target->type != ONNX_TYPE_INT32)
    return pipeline_operator_fail_type(call, 1, error);
  if (x->n_dims < 2) return pipeline_operator_fail(error, "its scores have no classes");
  dims[0] = x->dims[0];
  for (guint d = 2; d < x->n_dims; d++) dims[d - 1] = x->dims[d];
  if (target->n_dims != x->n_dims - 1 || memcmp(target->dims, dims, target->n_dims * sizeof(gint64)) != 0)
    return pipeline_operator_fail(error, "its scores and targets do not fit together");
  if (weights != NULL && weights->n != (gsize)x->dims[1])
    return pipeline_operator_fail(error, "it does not have one weight a class");
  gboolean none = pipeline_attribute_is(call, "reduction", "mean", "none");
  return pipeline_output_set(call, 0, x->type, none ? target->n_dims : 0, dims, error) &&
         pipeline_output_like(call, 1, x->type, x, error);
}

/* log Σ exp of the scores of one place, or 0 when they are logarithms already. */
static double log_sum(const PipelineTensor *x, gsize start, gsize classes, gsize step)
{
  double highest = -INFINITY, sum = 0;
  for (gsize c = 0; c < classes; c++) highest = MAX(highest, pipeline_element_get_double(x, start + c * step));
  for (gsize c = 0; c < classes; c++) sum += exp(pipeline_element_get_double(x, start + c * step) - highest);
  return highest + log(sum);
}

gboolean pipeline_loss_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *target = call->inputs[1], *weights = pipeline_input(call, 2);
  PipelineTensor *logarithms = call->n_outputs > 1 ? call->outputs[1] : NULL;
  gboolean softmax = call->operator->parameter != NULL, none = pipeline_attribute_is(call, "reduction", "mean", "none"),
           mean = pipeline_attribute_is(call, "reduction", "mean", "mean");
  gboolean ignores = onnx_node_get_attribute(call->node, "ignore_index") != NULL;
  gint64 ignored = onnx_node_get_int(call->node, "ignore_index", 0);
  gsize classes = (gsize)x->dims[1], inner = pipeline_dims_product(x->dims, 2, x->n_dims);
  double sum = 0, weight_sum = 0;
  for (gsize i = 0; i < target->n; i++) {
    gsize start = i / inner * classes * inner + i % inner, index = 0;
    gint64 wanted = pipeline_element_get_integer(target, i);
    gboolean counts = !ignores || wanted != ignored;
    if (counts && (wanted < 0 || wanted >= (gint64)classes))
      return pipeline_operator_fail(error, "target %" G_GINT64_FORMAT " is not within %zu classes", wanted, classes);
    if (counts) index = (gsize)wanted;
    double shift = softmax ? log_sum(x, start, classes, inner) : 0;
    double weight = !counts ? 0 : weights != NULL ? pipeline_element_get_double(weights, index) : 1;
    double loss = counts ? -(pipeline_element_get_double(x, start + index * inner) - shift) * weight : 0;
    for (gsize c = 0; logarithms != NULL && c < classes; c++)
      pipeline_element_put_double(logarithms, start + c * inner,
                                  pipeline_element_get_double(x, start + c * inner) - shift);
    if (none) pipeline_element_put_double(call->outputs[0], i, loss);
    sum += loss;
    weight_sum += weight;
  }
  if (!none) pipeline_element_put_double(call->outputs[0], 0, mean ? sum / weight_sum : sum);
  return TRUE;
}
