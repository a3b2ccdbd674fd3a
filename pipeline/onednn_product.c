/* Gemm as an inner product: x [m, k] by weights [n, k] (or [k, n]) and a bias [n], the usual dense layer. Other forms
 * of Gemm are the reference's, whose products this backend multiplies too. */
#include "pipeline/onednn_internal.h"

#define LEAST_ROWS 256 /* for which weights are turned around */

gboolean pipeline_onednn_supports_gemm(const PipelineGradientCall *call)
{
  const OnnxNode *node = call->call.node;
  const PipelineTensor *x = call->call.inputs[0], *w = call->call.inputs[1], *b = pipeline_input(&call->call, 2);
  gint64 n = w->dims[onnx_node_get_int(node, "transB", 0) != 0 ? 0 : 1];
  return x->n > 0 && w->n > 0 && onnx_node_get_int(node, "transA", 0) == 0 &&
         onnx_node_get_float(node, "alpha", 1) == 1 &&
         (b == NULL || (onnx_node_get_float(node, "beta", 1) == 1 && (gint64)b->n == n && b->n_dims >= 1 &&
                        b->dims[b->n_dims - 1] == n));
}

static gboolean plan_backward(const PipelineOnednn *onednn, PipelineOnednnPlan *plan, const dnnl_memory_desc_t *any_w,
                              gboolean has_bias, dnnl_primitive_desc_t forward, GError **error)
{
  dnnl_inner_product_desc_t data, weights;
  dnnl_primitive_desc_t by_data = NULL, by_weights = NULL;
  gboolean done =
      pipeline_onednn_check(dnnl_inner_product_backward_data_desc_init(&data, &plan->x, any_w, &plan->y),
                            "describe a gradient", error) &&
      pipeline_onednn_check(dnnl_inner_product_backward_weights_desc_init(&weights, &plan->x, any_w,
                                                                          has_bias ? &plan->b : NULL, &plan->y),
                            "describe a gradient", error) &&
      (by_data = pipeline_onednn_new_descriptor(onednn, &data, forward, "plan a gradient", error)) != NULL &&
      (by_weights = pipeline_onednn_new_descriptor(onednn, &weights, forward, "plan a gradient", error)) != NULL;
  if (done) {
    pipeline_onednn_query(by_data, dnnl_query_weights_md, &plan->dx_w);
    pipeline_onednn_query(by_weights, dnnl_query_diff_weights_md, &plan->dw);
    done = pipeline_onednn_create(&plan->backward_data, by_data, "create a gradient", error) &&
           pipeline_onednn_create(&plan->backward_weights, by_weights, "create a gradient", error);
  }
  if (by_data != NULL) dnnl_primitive_desc_destroy(by_data);
  if (by_weights != NULL) dnnl_primitive_desc_destroy(by_weights);
  return done;
}

/* As they are, or as the product likes them best: to turn them around, forward and twice backward, takes longer than it
 * saves when few rows use them. */
static gboolean describe_weights(gint64 n_rows, const gint64 *dims, const dnnl_memory_desc_t *plain,
                                 dnnl_memory_desc_t *weights, GError **error)
{
  *weights = *plain;
  return n_rows < LEAST_ROWS || pipeline_onednn_describe_dims(2, dims, TRUE, weights, error);
}

static gboolean make_plan(const PipelineGradientCall *call, PipelineOnednnPlan *plan, GError **error)
{
  const PipelineOnednn *onednn = call->device;
  const PipelineTensor *x = call->call.inputs[0], *y = call->call.outputs[0];
  gboolean turned = onnx_node_get_int(call->call.node, "transB", 0) != 0;
  gboolean has_bias = pipeline_input(&call->call, 2) != NULL;
  const dnnl_dims_t weights = {y->dims[1], x->dims[1]};
  dnnl_memory_desc_t any_w;
  dnnl_inner_product_desc_t description;
  if (!pipeline_onednn_describe_dims(2, x->dims, FALSE, &plan->x, error) ||
      !pipeline_onednn_describe_dims(2, y->dims, FALSE, &plan->y, error) ||
      !pipeline_onednn_describe_dims(1, y->dims + 1, FALSE, &plan->b, error) ||
      !pipeline_onednn_check(
          dnnl_memory_desc_init_by_tag(&plan->plain_w, 2, weights, dnnl_f32, turned ? dnnl_ab : dnnl_ba),
          "describe weights", error) ||
      !describe_weights(x->dims[0], weights, &plan->plain_w, &any_w, error) ||
      !pipeline_onednn_check(dnnl_inner_product_forward_desc_init(&description, dnnl_forward_training, &plan->x, &any_w,
                                                                  has_bias ? &plan->b : NULL, &plan->y),
                             "describe a product", error))
    return FALSE;
  dnnl_primitive_desc_t descriptor =
      pipeline_onednn_new_descriptor(onednn, &description, NULL, "plan a product", error);
  if (descriptor == NULL) return FALSE;
  pipeline_onednn_query(descriptor, dnnl_query_weights_md, &plan->w);
  gboolean done = pipeline_onednn_create(&plan->forward, descriptor, "create a product", error) &&
                  plan_backward(onednn, plan, &any_w, has_bias, descriptor, error);
  dnnl_primitive_desc_destroy(descriptor);
  return done;
}

/* Rows are plain whoever made them. */
static PipelineOnednnPlan *get_plan(PipelineGradientCall *call, GError **error)
{
  dnnl_memory_desc_t given;
  if (!pipeline_onednn_describe(call->call.inputs[0], NULL, &given, error)) return NULL;
  return pipeline_onednn_plan_for(call, &given, 0, make_plan, error);
}

gboolean pipeline_onednn_gemm_forward(PipelineGradientCall *call, GError **error)
{
  PipelineOnednnPlan *plan = get_plan(call, error);
  gconstpointer w = plan == NULL ? NULL
                                 : pipeline_onednn_convert(call->device, &plan->reorders[REORDER_W], &plan->plain_w,
                                                           call->call.inputs[1]->data, &plan->w, error);
  if (w == NULL) return FALSE;
  const PipelineOnednnArgument arguments[] = {{DNNL_ARG_SRC, &plan->x, call->call.inputs[0]->data},
                                              {DNNL_ARG_WEIGHTS, &plan->w, w},
                                              {DNNL_ARG_BIAS, &plan->b, pipeline_gradient_input(call, 2)},
                                              {DNNL_ARG_DST, &plan->y, call->call.outputs[0]->data}};
  return pipeline_onednn_execute(call->device, &plan->forward, arguments, G_N_ELEMENTS(arguments), error);
}

static gboolean differentiate_data(PipelineGradientCall *call, PipelineOnednnPlan *plan, GError **error)
{
  gconstpointer w = pipeline_onednn_convert(call->device, &plan->reorders[REORDER_W_BACK], &plan->plain_w,
                                            call->call.inputs[1]->data, &plan->dx_w, error);
  if (w == NULL) return FALSE;
  const PipelineOnednnArgument arguments[] = {{DNNL_ARG_DIFF_DST, &plan->y, call->output_gradients[0]->data},
                                              {DNNL_ARG_WEIGHTS, &plan->dx_w, w},
                                              {DNNL_ARG_DIFF_SRC, &plan->x, call->input_gradients[0]->data}};
  return pipeline_onednn_execute(call->device, &plan->backward_data, arguments, G_N_ELEMENTS(arguments), error);
}

static gboolean differentiate_weights(PipelineGradientCall *call, PipelineOnednnPlan *plan, GError **error)
{
  gboolean plain = dnnl_memory_desc_equal(&plan->dw, &plan->plain_w) != 0;
  gpointer wanted = pipeline_gradient_of_input(call, 1), db = pipeline_gradient_of_input(call, 2);
  gpointer dw = plain && wanted != NULL ? wanted : pipeline_onednn_buffer(&plan->reorders[REORDER_DW], &plan->dw);
  if (db == NULL && pipeline_input(&call->call, 2) != NULL)
    db = pipeline_gradient_memory(call, 0, call->call.inputs[2]->n * sizeof(float));
  if (dw == NULL) return FALSE;
  const PipelineOnednnArgument arguments[] = {{DNNL_ARG_DIFF_DST, &plan->y, call->output_gradients[0]->data},
                                              {DNNL_ARG_SRC, &plan->x, call->call.inputs[0]->data},
                                              {DNNL_ARG_DIFF_WEIGHTS, &plan->dw, dw},
                                              {DNNL_ARG_DIFF_BIAS, &plan->b, db}};
  if (!pipeline_onednn_execute(call->device, &plan->backward_weights, arguments, G_N_ELEMENTS(arguments), error))
    return FALSE;
  return plain || wanted == NULL ||
         pipeline_onednn_copy(call->device, &plan->reorders[REORDER_DW], &plan->dw, dw, &plan->plain_w, wanted, error);
}

gboolean pipeline_onednn_gemm_backward(PipelineGradientCall *call, GError **error)
{
  PipelineOnednnPlan *plan = get_plan(call, error);
  if (plan == NULL) return FALSE;
  gboolean weights = pipeline_gradient_of_input(call, 1) != NULL || pipeline_gradient_of_input(call, 2) != NULL;
  return (call->input_gradients[0] == NULL || differentiate_data(call, plan, error)) &&
         (!weights || differentiate_weights(call, plan, error));
}
