/* Derivatives of ai.onnx.ml's preprocessing, so that gradients reach a model's inputs. */
#include <math.h>

#include "pipeline/gradient_internal.h"

gboolean pipeline_scaler_backward(PipelineGradientCall *call, GError **error)
{
  (void)error;
  const float *dy = pipeline_gradient_of_output(call, 0);
  float *dx = pipeline_gradient_of_input(call, 0);
  const PipelineTensor *x = call->call.inputs[0];
  guint n;
  const float *scale = pipeline_operator_floats(&call->call, "scale", &n);
  gsize width = pipeline_operator_width(x);
  for (gsize i = 0; dx != NULL && i < x->n; i++) dx[i] = n > 0 ? dy[i] * scale[n > 1 ? i % width : 0] : dy[i];
  return TRUE;
}

/* What was replaced does not depend on the input. */
gboolean pipeline_imputer_backward(PipelineGradientCall *call, GError **error)
{
  (void)error;
  const float *dy = pipeline_gradient_of_output(call, 0), *x = pipeline_gradient_input(call, 0);
  float *dx = pipeline_gradient_of_input(call, 0);
  float missing = onnx_node_get_float(call->call.node, "replaced_value_float", 0);
  for (gsize i = 0; dx != NULL && i < call->call.inputs[0]->n; i++) {
    gboolean replaced = isnan(missing) ? isnan(x[i]) : x[i] == missing;
    dx[i] = replaced ? 0 : dy[i];
  }
  return TRUE;
}
