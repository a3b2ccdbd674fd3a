/* BatchNormalization by oneDNN, in the layout of its input. */
#include <math.h>
#include <string.h>

#include "pipeline/onednn_internal.h"

enum { RUNNING = 1 }; /* the running statistics are used, not those of the batch */

gboolean pipeline_onednn_supports_batch_normalization(const PipelineGradientCall *call)
{
  const PipelineTensor *x = call->call.inputs[0];
  if (call->slice != NULL && call->training && !call->frozen) return FALSE; /* its statistics are those of all rows */
  return x->n > 0 && x->n_dims >= 2 && x->n_dims <= 4;
}

static gboolean make_plan(const PipelineGradientCall *call, PipelineOnednnPlan *plan, GError **error)
{
  const PipelineOnednn *onednn = call->device;
  float epsilon = onnx_node_get_float(call->call.node, "epsilon", 1e-5f);
  unsigned flags = dnnl_use_scaleshift | (plan->flags == RUNNING ? dnnl_use_global_stats : 0);
  dnnl_batch_normalization_desc_t forward, backward;
  dnnl_primitive_desc_t by_forward = NULL, by_backward = NULL;
  const gint64 channels = call->call.inputs[0]->dims[1], both[2] = {2, channels};
  plan->x = plan->given;
  gboolean done =
      pipeline_onednn_describe_dims(1, &channels, FALSE, &plan->b, error) &&
      pipeline_onednn_describe_dims(2, both, FALSE, &plan->w, error) &&
      pipeline_onednn_check(
          dnnl_batch_normalization_forward_desc_init(&forward, dnnl_forward_training, &plan->x, epsilon, flags),
          "describe a normalisation", error) &&
      pipeline_onednn_check(
          dnnl_batch_normalization_backward_desc_init(&backward, dnnl_backward, &plan->x, &plan->x, epsilon, flags),
          "describe a normalisation", error) &&
      (by_forward = pipeline_onednn_new_descriptor(onednn, &forward, NULL, "plan a normalisation", error)) != NULL &&
      (by_backward = pipeline_onednn_new_descriptor(onednn, &backward, by_forward, "plan a normalisation", error)) !=
          NULL &&
      pipeline_onednn_create(&plan->forward, by_forward, "create a normalisation", error) &&
      pipeline_onednn_create(&plan->backward_data, by_backward, "create a normalisation", error);
  if (by_forward != NULL) dnnl_primitive_desc_destroy(by_forward);
  if (by_backward != NULL) dnnl_primitive_desc_destroy(by_backward);
  return done;
}

static PipelineOnednnPlan *get_plan(PipelineGradientCall *call, GError **error)
{
  return pipeline_onednn_plan_of_input(call, call->training && !call->frozen ? 0 : RUNNING, make_plan, error);
}

/* Mean and variance: the running ones, or of the batch (kept from forward to backward). */
static void find_statistics(PipelineGradientCall *call, const PipelineOnednnPlan *plan, float **mean, float **variance)
{
  gsize n = (gsize)call->call.inputs[0]->dims[1];
  float *kept = pipeline_gradient_memory(call, 0, 2 * n * sizeof(float));
  *mean = plan->flags == RUNNING ? call->call.inputs[3]->data : kept;
  *variance = plan->flags == RUNNING ? call->call.inputs[4]->data : kept + n;
}

/* Scale and shift in one piece [2, channels]: apart, oneDNN 2.6 does not differentiate them. */
static float *join_scale_and_shift(PipelineGradientCall *call)
{
  gsize n = (gsize)call->call.inputs[0]->dims[1];
  float *both = pipeline_gradient_memory(call, 1, 2 * n * sizeof(float));
  memcpy(both, call->call.inputs[1]->data, n * sizeof(float));
  memcpy(both + n, call->call.inputs[2]->data, n * sizeof(float));
  return both;
}

gboolean pipeline_onednn_batch_normalization_forward(PipelineGradientCall *call, GError **error)
{
  PipelineOnednnPlan *plan = get_plan(call, error);
  if (plan == NULL) return FALSE;
  float *mean, *variance, *running_mean = call->call.inputs[3]->data, *running_variance = call->call.inputs[4]->data;
  find_statistics(call, plan, &mean, &variance);
  const PipelineOnednnArgument arguments[] = {{DNNL_ARG_SRC, &plan->x, call->call.inputs[0]->data},
                                              {DNNL_ARG_SCALE_SHIFT, &plan->w, join_scale_and_shift(call)},
                                              {DNNL_ARG_MEAN, &plan->b, mean},
                                              {DNNL_ARG_VARIANCE, &plan->b, variance},
                                              {DNNL_ARG_DST, &plan->x, call->call.outputs[0]->data}};
  if (!pipeline_onednn_execute(call->device, &plan->forward, arguments, G_N_ELEMENTS(arguments), error)) return FALSE;
  call->output_layouts[0] = pipeline_onednn_layout(call->call.outputs[0], &plan->x);
  if (plan->flags == RUNNING) return TRUE;
  float momentum = onnx_node_get_float(call->call.node, "momentum", 0.9f);
  for (gsize c = 0; c < (gsize)call->call.inputs[0]->dims[1]; c++) {
    running_mean[c] = momentum * running_mean[c] + (1 - momentum) * mean[c];
    running_variance[c] = momentum * running_variance[c] + (1 - momentum) * variance[c];
  }
  return TRUE;
}

gboolean pipeline_onednn_batch_normalization_backward(PipelineGradientCall *call, GError **error)
{
  dnnl_memory_desc_t dy_at;
  PipelineOnednnPlan *plan = get_plan(call, error);
  if (plan == NULL ||
      !pipeline_onednn_describe(call->output_gradients[0], call->output_gradient_layouts[0], &dy_at, error))
    return FALSE;
  gsize n = (gsize)call->call.inputs[0]->dims[1];
  float *mean, *variance, *both = pipeline_gradient_memory(call, 2, 2 * n * sizeof(float));
  float *dscale = pipeline_gradient_of_input(call, 1), *dbias = pipeline_gradient_of_input(call, 2);
  find_statistics(call, plan, &mean, &variance);
  gconstpointer dy = pipeline_onednn_convert(call->device, &plan->reorders[REORDER_DY], &dy_at,
                                             call->output_gradients[0]->data, &plan->x, error);
  gpointer dx = call->input_gradients[0] != NULL ? call->input_gradients[0]->data
                                                 : pipeline_onednn_buffer(&plan->reorders[REORDER_X_BACK], &plan->x);
  if (dy == NULL || dx == NULL) return FALSE;
  const PipelineOnednnArgument arguments[] = {{DNNL_ARG_SRC, &plan->x, call->call.inputs[0]->data},
                                              {DNNL_ARG_SCALE_SHIFT, &plan->w, join_scale_and_shift(call)},
                                              {DNNL_ARG_MEAN, &plan->b, mean},
                                              {DNNL_ARG_VARIANCE, &plan->b, variance},
                                              {DNNL_ARG_DIFF_DST, &plan->x, dy},
                                              {DNNL_ARG_DIFF_SRC, &plan->x, dx},
                                              {DNNL_ARG_DIFF_SCALE_SHIFT, &plan->w, both}};
  if (call->input_gradients[0] != NULL)
    call->input_gradient_layouts[0] = pipeline_onednn_layout(call->input_gradients[0], &plan->x);
  if (!pipeline_onednn_execute(call->device, &plan->backward_data, arguments, G_N_ELEMENTS(arguments), error))
    return FALSE;
  if (dscale != NULL) memcpy(dscale, both, n * sizeof(float));
  if (dbias != NULL) memcpy(dbias, both + n, n * sizeof(float));
  return TRUE;
}
