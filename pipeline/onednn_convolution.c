/* Conv by oneDNN's direct algorithm, in the layouts that it prefers; in these by Winograd's, and by loops for few
 * channels, where they are faster. */
#include "pipeline/onednn_winograd.h"

typedef struct {
  PipelineGradientWindow window;
  guint spatial;
  dnnl_dims_t stride, dilation, before, after; /* dilation counts from 0 */
  gint64 weights[ONNX_MAX_DIMENSIONS];         /* with a dimension for groups when there are several */
  guint n_weights;
} Geometry;

gboolean pipeline_onednn_supports_convolution(const PipelineGradientCall *call)
{
  const PipelineTensor *x = call->call.inputs[0];
  return x->n > 0 && call->call.outputs[0]->n > 0 && (x->n_dims == 3 || x->n_dims == 4);
}

static gboolean read_geometry(const PipelineGradientCall *call, Geometry *g, GError **error)
{
  const PipelineTensor *w = call->call.inputs[1];
  gint64 group = MAX(onnx_node_get_int(call->call.node, "group", 1), 1);
  if (!pipeline_gradient_window_read(&call->call, w->dims + 2, &g->window, error)) return FALSE;
  g->spatial = w->n_dims - 2;
  for (guint i = 0; i < g->spatial; i++) {
    guint d = i + 2 - g->spatial;
    g->stride[i] = (gint64)g->window.stride[d];
    g->dilation[i] = (gint64)g->window.dilation[d] - 1;
    g->before[i] = g->window.before[d];
    g->after[i] = g->window.after[d];
  }
  g->n_weights = 0;
  if (group > 1) g->weights[g->n_weights++] = group;
  g->weights[g->n_weights++] = w->dims[0] / group;
  for (guint d = 1; d < w->n_dims; d++) g->weights[g->n_weights++] = w->dims[d];
  return TRUE;
}

/* Any layout for each end. */
typedef struct {
  dnnl_memory_desc_t x, w, y, b;
} Ends;

static dnnl_primitive_desc_t plan_forward(const PipelineOnednn *onednn, PipelineOnednnPlan *plan, const Geometry *g,
                                          const Ends *ends, gboolean has_bias, GError **error)
{
  dnnl_convolution_desc_t description;
  if (!pipeline_onednn_check(dnnl_dilated_convolution_forward_desc_init(
                                 &description, dnnl_forward_training, dnnl_convolution_direct, &ends->x, &ends->w,
                                 has_bias ? &ends->b : NULL, &ends->y, g->stride, g->dilation, g->before, g->after),
                             "describe a convolution", error))
    return NULL;
  dnnl_primitive_desc_t descriptor =
      pipeline_onednn_new_descriptor(onednn, &description, NULL, "plan a convolution", error);
  if (descriptor == NULL) return NULL;
  pipeline_onednn_query(descriptor, dnnl_query_src_md, &plan->x);
  pipeline_onednn_query(descriptor, dnnl_query_weights_md, &plan->w);
  pipeline_onednn_query(descriptor, dnnl_query_dst_md, &plan->y);
  plan->b = ends->b;
  if (pipeline_onednn_create(&plan->forward, descriptor, "create a convolution", error)) return descriptor;
  dnnl_primitive_desc_destroy(descriptor);
  return NULL;
}

static gboolean plan_backward(const PipelineOnednn *onednn, PipelineOnednnPlan *plan, const Geometry *g,
                              const Ends *ends, gboolean has_bias, dnnl_primitive_desc_t forward, GError **error)
{
  dnnl_convolution_desc_t data, weights;
  dnnl_primitive_desc_t by_data = NULL, by_weights = NULL;
  gboolean done =
      pipeline_onednn_check(dnnl_dilated_convolution_backward_data_desc_init(&data, dnnl_convolution_direct, &ends->x,
                                                                             &ends->w, &ends->y, g->stride, g->dilation,
                                                                             g->before, g->after),
                            "describe a gradient", error) &&
      pipeline_onednn_check(dnnl_dilated_convolution_backward_weights_desc_init(
                                &weights, dnnl_convolution_direct, &ends->x, &ends->w, has_bias ? &ends->b : NULL,
                                &ends->y, g->stride, g->dilation, g->before, g->after),
                            "describe a gradient", error) &&
      (by_data = pipeline_onednn_new_descriptor(onednn, &data, forward, "plan a gradient", error)) != NULL &&
      (by_weights = pipeline_onednn_new_descriptor(onednn, &weights, forward, "plan a gradient", error)) != NULL;
  if (done) {
    pipeline_onednn_query(by_data, dnnl_query_diff_src_md, &plan->dx);
    pipeline_onednn_query(by_data, dnnl_query_weights_md, &plan->dx_w);
    pipeline_onednn_query(by_data, dnnl_query_diff_dst_md, &plan->dx_dy);
    pipeline_onednn_query(by_weights, dnnl_query_diff_weights_md, &plan->dw);
    pipeline_onednn_query(by_weights, dnnl_query_src_md, &plan->dw_x);
    pipeline_onednn_query(by_weights, dnnl_query_diff_dst_md, &plan->dw_dy);
    done = pipeline_onednn_create(&plan->backward_data, by_data, "create a gradient", error) &&
           pipeline_onednn_create(&plan->backward_weights, by_weights, "create a gradient", error);
  }
  if (by_data != NULL) dnnl_primitive_desc_destroy(by_data);
  if (by_weights != NULL) dnnl_primitive_desc_destroy(by_weights);
  return done;
}

static gboolean make_plan(const PipelineGradientCall *call, PipelineOnednnPlan *plan, GError **error)
{
  const PipelineTensor *x = call->call.inputs[0], *y = call->call.outputs[0];
  gboolean has_bias = pipeline_input(&call->call, 2) != NULL;
  Geometry g = {0};
  Ends ends;
  gint64 channels = y->dims[1];
  if (!read_geometry(call, &g, error) || !pipeline_onednn_describe_dims(x->n_dims, x->dims, TRUE, &ends.x, error) ||
      !pipeline_onednn_describe_dims(y->n_dims, y->dims, TRUE, &ends.y, error) ||
      !pipeline_onednn_describe_dims(g.n_weights, g.weights, TRUE, &ends.w, error) ||
      !pipeline_onednn_describe_dims(g.n_weights, g.weights, FALSE, &plan->plain_w, error) ||
      !pipeline_onednn_describe_dims(1, &channels, FALSE, &ends.b, error))
    return FALSE;
  dnnl_primitive_desc_t forward = plan_forward(call->device, plan, &g, &ends, has_bias, error);
  if (forward == NULL) return FALSE;
  gboolean done = plan_backward(call->device, plan, &g, &ends, has_bias, forward, error);
  dnnl_primitive_desc_destroy(forward);
  return done;
}

static gpointer winograd_memory(PipelineGradientCall *call, const PipelineOnednnWinograd *winograd)
{
  return pipeline_gradient_memory(call, 1, winograd->loops->memory_size(winograd));
}

gboolean pipeline_onednn_convolution_forward(PipelineGradientCall *call, GError **error)
{
  const PipelineOnednn *onednn = call->device;
  PipelineOnednnPlan *plan = pipeline_onednn_plan_of_input(call, 0, make_plan, error);
  if (plan == NULL) return FALSE;
  gconstpointer x = pipeline_onednn_convert(onednn, &plan->reorders[REORDER_X], &plan->given,
                                            call->call.inputs[0]->data, &plan->x, error);
  PipelineOnednnWinograd winograd;
  if (x == NULL) return FALSE;
  call->output_layouts[0] = pipeline_onednn_layout(call->call.outputs[0], &plan->y);
  if (pipeline_onednn_read_winograd(call, &plan->x, &plan->y, &winograd)) {
    winograd.loops->forward(&winograd, x, call->call.inputs[1]->data, pipeline_gradient_input(call, 2),
                            call->call.outputs[0]->data, winograd_memory(call, &winograd));
    return TRUE;
  }
  gconstpointer w = pipeline_onednn_convert(onednn, &plan->reorders[REORDER_W], &plan->plain_w,
                                            call->call.inputs[1]->data, &plan->w, error);
  if (w == NULL) return FALSE;
  const PipelineOnednnArgument arguments[] = {{DNNL_ARG_SRC, &plan->x, x},
                                              {DNNL_ARG_WEIGHTS, &plan->w, w},
                                              {DNNL_ARG_BIAS, &plan->b, pipeline_gradient_input(call, 2)},
                                              {DNNL_ARG_DST, &plan->y, call->call.outputs[0]->data}};
  return pipeline_onednn_execute(onednn, &plan->forward, arguments, G_N_ELEMENTS(arguments), error);
}

static gboolean differentiate_data(PipelineGradientCall *call, PipelineOnednnPlan *plan,
                                   const dnnl_memory_desc_t *dy_at, gconstpointer dy, GError **error)
{
  const PipelineOnednn *onednn = call->device;
  gconstpointer from = pipeline_onednn_convert(onednn, &plan->reorders[REORDER_DY], dy_at, dy, &plan->dx_dy, error);
  gconstpointer w = from == NULL ? NULL
                                 : pipeline_onednn_convert(onednn, &plan->reorders[REORDER_W_BACK], &plan->plain_w,
                                                           call->call.inputs[1]->data, &plan->dx_w, error);
  if (w == NULL) return FALSE;
  const PipelineOnednnArgument arguments[] = {{DNNL_ARG_DIFF_DST, &plan->dx_dy, from},
                                              {DNNL_ARG_WEIGHTS, &plan->dx_w, w},
                                              {DNNL_ARG_DIFF_SRC, &plan->dx, call->input_gradients[0]->data}};
  call->input_gradient_layouts[0] = pipeline_onednn_layout(call->input_gradients[0], &plan->dx);
  return pipeline_onednn_execute(onednn, &plan->backward_data, arguments, G_N_ELEMENTS(arguments), error);
}

static gboolean differentiate_winograd(PipelineGradientCall *call, PipelineOnednnPlan *plan,
                                       const PipelineOnednnWinograd *winograd, const dnnl_memory_desc_t *dy_at,
                                       gconstpointer dy, GError **error)
{
  const PipelineOnednn *onednn = call->device;
  float *dw = pipeline_gradient_of_input(call, 1), *db = pipeline_gradient_of_input(call, 2);
  gconstpointer from = pipeline_onednn_convert(onednn, &plan->reorders[REORDER_DY], dy_at, dy, &plan->y, error);
  gconstpointer x = from == NULL || dw == NULL
                        ? from
                        : pipeline_onednn_convert(onednn, &plan->reorders[REORDER_X_BACK], &plan->given,
                                                  call->call.inputs[0]->data, &plan->x, error);
  if (x == NULL) return FALSE;
  if (dw != NULL || db != NULL)
    winograd->loops->backward_weights(winograd, x, from, dw, db, winograd_memory(call, winograd));
  if (call->input_gradients[0] == NULL) return TRUE;
  call->input_gradient_layouts[0] = pipeline_onednn_layout(call->input_gradients[0], &plan->x);
  winograd->loops->backward_data(winograd, from, call->call.inputs[1]->data, call->input_gradients[0]->data,
                                 winograd_memory(call, winograd));
  return TRUE;
}

/* By the loop for few channels. */
static gboolean differentiate_narrow(PipelineGradientCall *call, PipelineOnednnPlan *plan,
                                     const dnnl_memory_desc_t *dy_at, gconstpointer dy, GError **error)
{
  const PipelineOnednn *onednn = call->device;
  dnnl_memory_desc_t plain_x;
  if (!pipeline_onednn_describe(call->call.inputs[0], NULL, &plain_x, error)) return FALSE;
  gconstpointer from = pipeline_onednn_convert(onednn, &plan->reorders[REORDER_DY_WEIGHTS], dy_at, dy, &plan->y, error);
  gconstpointer x = from == NULL ? NULL
                                 : pipeline_onednn_convert(onednn, &plan->reorders[REORDER_X_BACK], &plan->given,
                                                           call->call.inputs[0]->data, &plain_x, error);
  return x != NULL && pipeline_onednn_differentiate_narrow(call, plan, x, from, pipeline_gradient_of_input(call, 1),
                                                           pipeline_gradient_of_input(call, 2), error);
}

static gboolean differentiate_weights(PipelineGradientCall *call, PipelineOnednnPlan *plan,
                                      const dnnl_memory_desc_t *dy_at, gconstpointer dy, GError **error)
{
  const PipelineOnednn *onednn = call->device;
  gboolean plain = dnnl_memory_desc_equal(&plan->dw, &plan->plain_w) != 0;
  /* Asked for alone, the gradient of a bias still needs a place for that of the weights. */
  gpointer wanted = pipeline_gradient_of_input(call, 1), db = pipeline_gradient_of_input(call, 2);
  gpointer dw = plain && wanted != NULL ? wanted : pipeline_onednn_buffer(&plan->reorders[REORDER_DW], &plan->dw);
  if (db == NULL && pipeline_input(&call->call, 2) != NULL)
    db = pipeline_gradient_memory(call, 0, call->call.inputs[2]->n * sizeof(float));
  gconstpointer from =
      pipeline_onednn_convert(onednn, &plan->reorders[REORDER_DY_WEIGHTS], dy_at, dy, &plan->dw_dy, error);
  gconstpointer x = from == NULL ? NULL
                                 : pipeline_onednn_convert(onednn, &plan->reorders[REORDER_X_BACK], &plan->given,
                                                           call->call.inputs[0]->data, &plan->dw_x, error);
  if (x == NULL || dw == NULL) return FALSE;
  const PipelineOnednnArgument arguments[] = {{DNNL_ARG_DIFF_DST, &plan->dw_dy, from},
                                              {DNNL_ARG_SRC, &plan->dw_x, x},
                                              {DNNL_ARG_DIFF_WEIGHTS, &plan->dw, dw},
                                              {DNNL_ARG_DIFF_BIAS, &plan->b, db}};
  if (!pipeline_onednn_execute(onednn, &plan->backward_weights, arguments, G_N_ELEMENTS(arguments), error))
    return FALSE;
  return plain || wanted == NULL ||
         pipeline_onednn_copy(onednn, &plan->reorders[REORDER_DW], &plan->dw, dw, &plan->plain_w, wanted, error);
}

gboolean pipeline_onednn_convolution_backward(PipelineGradientCall *call, GError **error)
{
  dnnl_memory_desc_t dy_at;
  PipelineOnednnPlan *plan = pipeline_onednn_plan_of_input(call, 0, make_plan, error);
  if (plan == NULL ||
      !pipeline_onednn_describe(call->output_gradients[0], call->output_gradient_layouts[0], &dy_at, error))
    return FALSE;
  gconstpointer dy = call->output_gradients[0]->data;
  PipelineOnednnWinograd winograd;
  if (pipeline_onednn_read_winograd(call, &plan->x, &plan->y, &winograd))
    return differentiate_winograd(call, plan, &winograd, &dy_at, dy, error);
  gboolean weights = pipeline_gradient_of_input(call, 1) != NULL || pipeline_gradient_of_input(call, 2) != NULL;
  if (call->input_gradients[0] != NULL && !differentiate_data(call, plan, &dy_at, dy, error)) return FALSE;
  return !weights || (pipeline_onednn_is_narrow(call, plan) ? differentiate_narrow(call, plan, &dy_at, dy, error)
                                                            : differentiate_weights(call, plan, &dy_at, dy, error));
}
