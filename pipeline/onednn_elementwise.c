/* Activations and sums of equal shapes, in the layout of their input. */
#include <string.h>

#include "pipeline/onednn_internal.h"

static const struct {
  const gchar *op_type, *approximate;
  dnnl_alg_kind_t algorithm;
  const gchar *alpha_name;
  float alpha;
} algorithms[] = {
    {"Relu", NULL, dnnl_eltwise_relu, NULL, 0},        {"LeakyRelu", NULL, dnnl_eltwise_relu, "alpha", 0.01f},
    {"Elu", NULL, dnnl_eltwise_elu, "alpha", 1},       {"Sigmoid", NULL, dnnl_eltwise_logistic, NULL, 0},
    {"Tanh", NULL, dnnl_eltwise_tanh, NULL, 0},        {"Gelu", "none", dnnl_eltwise_gelu_erf, NULL, 0},
    {"Gelu", "tanh", dnnl_eltwise_gelu_tanh, NULL, 0}, {"HardSwish", NULL, dnnl_eltwise_hardswish, NULL, 0},
    {"Mish", NULL, dnnl_eltwise_mish, NULL, 0}};

gboolean pipeline_onednn_supports_eltwise(const PipelineGradientCall *call)
{
  const PipelineTensor *x = call->call.inputs[0];
  return x->type == ONNX_TYPE_FLOAT && x->n > 0 && x->n_dims >= 1 && x->n_dims <= 4;
}

static guint find_algorithm(const OnnxNode *node)
{
  g_autofree gchar *form = onnx_node_copy_string(node, "approximate", "none");
  for (guint i = 0; i < G_N_ELEMENTS(algorithms); i++)
    if (strcmp(algorithms[i].op_type, node->op_type) == 0 &&
        (algorithms[i].approximate == NULL || strcmp(algorithms[i].approximate, form) == 0))
      return i;
  return 0;
}

static gboolean make_plan(const PipelineGradientCall *call, PipelineOnednnPlan *plan, GError **error)
{
  const PipelineOnednn *onednn = call->device;
  guint a = find_algorithm(call->call.node);
  float alpha = algorithms[a].alpha_name != NULL
                    ? onnx_node_get_float(call->call.node, algorithms[a].alpha_name, algorithms[a].alpha)
                    : 0;
  dnnl_eltwise_desc_t forward, backward;
  dnnl_primitive_desc_t by_forward = NULL, by_backward = NULL;
  plan->x = plan->y = plan->given;
  gboolean done =
      pipeline_onednn_check(
          dnnl_eltwise_forward_desc_init(&forward, dnnl_forward_training, algorithms[a].algorithm, &plan->x, alpha, 0),
          "describe an activation", error) &&
      pipeline_onednn_check(
          dnnl_eltwise_backward_desc_init(&backward, algorithms[a].algorithm, &plan->x, &plan->x, alpha, 0),
          "describe an activation", error) &&
      (by_forward = pipeline_onednn_new_descriptor(onednn, &forward, NULL, "plan an activation", error)) != NULL &&
      (by_backward = pipeline_onednn_new_descriptor(onednn, &backward, by_forward, "plan an activation", error)) !=
          NULL &&
      pipeline_onednn_create(&plan->forward, by_forward, "create an activation", error) &&
      pipeline_onednn_create(&plan->backward_data, by_backward, "create an activation", error);
  if (by_forward != NULL) dnnl_primitive_desc_destroy(by_forward);
  if (by_backward != NULL) dnnl_primitive_desc_destroy(by_backward);
  return done;
}

gboolean pipeline_onednn_eltwise_forward(PipelineGradientCall *call, GError **error)
{
  PipelineOnednnPlan *plan = pipeline_onednn_plan_of_input(call, 0, make_plan, error);
  if (plan == NULL) return FALSE;
  const PipelineOnednnArgument arguments[] = {{DNNL_ARG_SRC, &plan->x, call->call.inputs[0]->data},
                                              {DNNL_ARG_DST, &plan->y, call->call.outputs[0]->data}};
  call->output_layouts[0] = pipeline_onednn_layout(call->call.outputs[0], &plan->y);
  return pipeline_onednn_execute(call->device, &plan->forward, arguments, G_N_ELEMENTS(arguments), error);
}

gboolean pipeline_onednn_eltwise_backward(PipelineGradientCall *call, GError **error)
{
  dnnl_memory_desc_t dy_at;
  if (call->input_gradients[0] == NULL) return TRUE;
  PipelineOnednnPlan *plan = pipeline_onednn_plan_of_input(call, 0, make_plan, error);
  if (plan == NULL ||
      !pipeline_onednn_describe(call->output_gradients[0], call->output_gradient_layouts[0], &dy_at, error))
    return FALSE;
  gconstpointer dy = pipeline_onednn_convert(call->device, &plan->reorders[REORDER_DY], &dy_at,
                                             call->output_gradients[0]->data, &plan->x, error);
  if (dy == NULL) return FALSE;
  const PipelineOnednnArgument arguments[] = {{DNNL_ARG_SRC, &plan->x, call->call.inputs[0]->data},
                                              {DNNL_ARG_DIFF_DST, &plan->x, dy},
                                              {DNNL_ARG_DIFF_SRC, &plan->x, call->input_gradients[0]->data}};
  call->input_gradient_layouts[0] = pipeline_onednn_layout(call->input_gradients[0], &plan->x);
  return pipeline_onednn_execute(call->device, &plan->backward_data, arguments, G_N_ELEMENTS(arguments), error);
}

/* --- Add of equal shapes (a skip connection): element by element in whatever common layout -------------------------
 */

gboolean pipeline_onednn_supports_add(const PipelineGradientCall *call)
{
  const PipelineTensor *a = call->call.inputs[0], *b = call->call.inputs[1];
  if (a->type != ONNX_TYPE_FLOAT || a->n == 0 || a->n_dims == 0 || a->n_dims > 4 || a->n_dims != b->n_dims ||
      memcmp(a->dims, b->dims, a->n_dims * sizeof(gint64)) != 0)
    return FALSE;
  gconstpointer x = call->input_layouts[0], y = call->input_layouts[1];
  return x == y || (x != NULL && y != NULL && dnnl_memory_desc_equal(x, y));
}

gboolean pipeline_onednn_add_forward(PipelineGradientCall *call, GError **error)
{
  dnnl_memory_desc_t shape;
  if (!pipeline_onednn_describe(call->call.inputs[0], call->input_layouts[0], &shape, error)) return FALSE;
  const float *a = call->call.inputs[0]->data, *b = call->call.inputs[1]->data;
  float *y = call->call.outputs[0]->data;
  gsize n = dnnl_memory_desc_get_size(&shape) / sizeof(float);
  for (gsize i = 0; i < n; i++) y[i] = a[i] + b[i];
  call->output_layouts[0] = call->input_layouts[0];
  return TRUE;
}

gboolean pipeline_onednn_add_backward(PipelineGradientCall *call, GError **error)
{
  dnnl_memory_desc_t shape;
  if (!pipeline_onednn_describe(call->output_gradients[0], call->output_gradient_layouts[0], &shape, error))
    return FALSE;
  for (guint i = 0; i < 2; i++) {
    if (call->input_gradients[i] == NULL) continue;
    memcpy(call->input_gradients[i]->data, call->output_gradients[0]->data, dnnl_memory_desc_get_size(&shape));
    call->input_gradient_layouts[i] = call->output_gradient_layouts[0];
  }
  return TRUE;
}
