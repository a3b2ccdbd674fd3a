/* MaxPool, AveragePool, GlobalAveragePool by oneDNN, in the layout of their input. */
#include <string.h>

#include "pipeline/onednn_internal.h"

typedef struct {
  dnnl_alg_kind_t algorithm;
  dnnl_dims_t stride, kernel, before, after;
} Geometry;

static gboolean is_global(const PipelineGradientCall *call)
{
  return strcmp(call->call.node->op_type, "GlobalAveragePool") == 0;
}

/* No dilation; a mean over a window that ceil_mode lets stand out is the reference's. */
gboolean pipeline_onednn_supports_pool(const PipelineGradientCall *call)
{
  const PipelineTensor *x = call->call.inputs[0];
  PipelineGradientWindow w;
  if (x->n == 0 || x->n_dims < 3 || x->n_dims > 4) return FALSE;
  if (is_global(call)) return TRUE;
  if (!pipeline_gradient_window_read(&call->call, NULL, &w, NULL)) return FALSE;
  gboolean largest = strcmp(call->call.node->op_type, "MaxPool") == 0;
  for (guint d = 0; d < 2; d++) {
    gint64 span = (gint64)((w.out[d] - 1) * w.stride[d] + w.kernel[d]);
    if (w.dilation[d] != 1 || w.before[d] >= (gint64)w.kernel[d] || w.after[d] >= (gint64)w.kernel[d]) return FALSE;
    if (span > (gint64)w.in[d] + w.before[d] + w.after[d] && !largest) return FALSE;
  }
  return TRUE;
}

static gboolean read_geometry(const PipelineGradientCall *call, Geometry *g, GError **error)
{
  const PipelineTensor *x = call->call.inputs[0];
  guint spatial = x->n_dims - 2;
  PipelineGradientWindow w = {.stride = {1, 1}};
  memset(g, 0, sizeof *g);
  if (!is_global(call) && !pipeline_gradient_window_read(&call->call, NULL, &w, error)) return FALSE;
  gboolean padding = onnx_node_get_int(call->call.node, "count_include_pad", 0) != 0;
  g->algorithm = strcmp(call->call.node->op_type, "MaxPool") == 0 ? dnnl_pooling_max
                 : padding                                        ? dnnl_pooling_avg_include_padding
                                                                  : dnnl_pooling_avg_exclude_padding;
  for (guint i = 0; i < spatial; i++) {
    guint d = i + 2 - spatial;
    g->stride[i] = (gint64)w.stride[d];
    g->kernel[i] = is_global(call) ? x->dims[2 + i] : (gint64)w.kernel[d];
    g->before[i] = w.before[d];
    if (is_global(call)) continue;
    /* As far as the last window reaches: less than the padding, or more with ceil_mode. */
    g->after[i] = (gint64)((w.out[d] - 1) * w.stride[d] + w.kernel[d]) - (gint64)w.in[d] - w.before[d];
  }
  return TRUE;
}

static gboolean plan_backward(const PipelineOnednn *onednn, PipelineOnednnPlan *plan, const Geometry *g,
                              dnnl_primitive_desc_t forward, GError **error)
{
  dnnl_pooling_desc_t description;
  if (!pipeline_onednn_check(dnnl_pooling_backward_desc_init(&description, g->algorithm, &plan->x, &plan->y, g->stride,
                                                             g->kernel, g->before, g->after),
                             "describe a gradient", error))
    return FALSE;
  dnnl_primitive_desc_t descriptor =
      pipeline_onednn_new_descriptor(onednn, &description, forward, "plan a gradient", error);
  if (descriptor == NULL) return FALSE;
  gboolean done = pipeline_onednn_create(&plan->backward_data, descriptor, "create a gradient", error);
  dnnl_primitive_desc_destroy(descriptor);
  return done;
}

static gboolean make_plan(const PipelineGradientCall *call, PipelineOnednnPlan *plan, GError **error)
{
  const PipelineTensor *y = call->call.outputs[0];
  const PipelineOnednn *onednn = call->device;
  dnnl_pooling_desc_t description;
  dnnl_memory_desc_t any;
  Geometry g;
  plan->x = plan->given;
  if (!read_geometry(call, &g, error) || !pipeline_onednn_describe_dims(y->n_dims, y->dims, TRUE, &any, error) ||
      !pipeline_onednn_check(dnnl_pooling_forward_desc_init(&description, dnnl_forward_training, g.algorithm, &plan->x,
                                                            &any, g.stride, g.kernel, g.before, g.after),
                             "describe a pool", error))
    return FALSE;
  dnnl_primitive_desc_t descriptor = pipeline_onednn_new_descriptor(onednn, &description, NULL, "plan a pool", error);
  if (descriptor == NULL) return FALSE;
  pipeline_onednn_query(descriptor, dnnl_query_dst_md, &plan->y);
  pipeline_onednn_query(descriptor, dnnl_query_workspace_md, &plan->workspace);
  gboolean done = pipeline_onednn_create(&plan->forward, descriptor, "create a pool", error) &&
                  plan_backward(onednn, plan, &g, descriptor, error);
  dnnl_primitive_desc_destroy(descriptor);
  return done;
}

static gpointer workspace_of(PipelineGradientCall *call, const PipelineOnednnPlan *plan)
{
  gsize bytes = plan->workspace.ndims > 0 ? dnnl_memory_desc_get_size(&plan->workspace) : 0;
  return bytes > 0 ? pipeline_gradient_memory(call, 0, bytes) : NULL;
}

gboolean pipeline_onednn_pool_forward(PipelineGradientCall *call, GError **error)
{
  PipelineOnednnPlan *plan = pipeline_onednn_plan_of_input(call, 0, make_plan, error);
  if (plan == NULL) return FALSE;
  call->output_layouts[0] = pipeline_onednn_layout(call->call.outputs[0], &plan->y);
  /* The workspace is of this plan, even if the input has another layout when the gradients come. */
  *(PipelineOnednnPlan **)pipeline_gradient_memory(call, 1, sizeof plan) = plan;
  if (pipeline_onednn_has_max_pool(call, plan)) return pipeline_onednn_max_pool(call, plan, NULL, error);
  const PipelineOnednnArgument arguments[] = {{DNNL_ARG_SRC, &plan->x, call->call.inputs[0]->data},
                                              {DNNL_ARG_DST, &plan->y, call->call.outputs[0]->data},
                                              {DNNL_ARG_WORKSPACE, &plan->workspace, workspace_of(call, plan)}};
  return pipeline_onednn_execute(call->device, &plan->forward, arguments, G_N_ELEMENTS(arguments), error);
}

gboolean pipeline_onednn_pool_backward(PipelineGradientCall *call, GError **error)
{
  dnnl_memory_desc_t dy_at;
  if (call->input_gradients[0] == NULL) return TRUE;
  PipelineOnednnPlan *plan = *(PipelineOnednnPlan **)call->memories[1];
  if (!pipeline_onednn_describe(call->output_gradients[0], call->output_gradient_layouts[0], &dy_at, error))
    return FALSE;
  gconstpointer dy = pipeline_onednn_convert(call->device, &plan->reorders[REORDER_DY], &dy_at,
                                             call->output_gradients[0]->data, &plan->y, error);
  if (dy == NULL) return FALSE;
  call->input_gradient_layouts[0] = pipeline_onednn_layout(call->input_gradients[0], &plan->x);
  if (pipeline_onednn_has_max_pool(call, plan)) return pipeline_onednn_max_pool(call, plan, dy, error);
  const PipelineOnednnArgument arguments[] = {{DNNL_ARG_DIFF_DST, &plan->y, dy},
                                              {DNNL_ARG_DIFF_SRC, &plan->x, call->input_gradients[0]->data},
                                              {DNNL_ARG_WORKSPACE, &plan->workspace, workspace_of(call, plan)}};
  return pipeline_onednn_execute(call->device, &plan->backward_data, arguments, G_N_ELEMENTS(arguments), error);
}
