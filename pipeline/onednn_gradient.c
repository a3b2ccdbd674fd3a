/* The oneDNN backend of the gradient table: its kernels, its device, and what the kernels share. One thread: two of
 * the library's collapse on a loaded machine. */
#include <string.h>

#include "pipeline/onednn_internal.h"

#define CLOSE 2e-5 /* sums in another order, fused: measured below 5e-6 */

static const PipelineGradientKernel kernels[] = {
    {"Gemm", pipeline_onednn_supports_gemm, pipeline_onednn_gemm_forward, pipeline_onednn_gemm_backward, CLOSE, FALSE},
    {"Conv", pipeline_onednn_supports_convolution, pipeline_onednn_convolution_forward,
     pipeline_onednn_convolution_backward, CLOSE, TRUE},
    {"MaxPool", pipeline_onednn_supports_pool, pipeline_onednn_pool_forward, pipeline_onednn_pool_backward, CLOSE,
     TRUE},
    {"AveragePool", pipeline_onednn_supports_pool, pipeline_onednn_pool_forward, pipeline_onednn_pool_backward, CLOSE,
     TRUE},
    {"GlobalAveragePool", pipeline_onednn_supports_pool, pipeline_onednn_pool_forward, pipeline_onednn_pool_backward,
     CLOSE, TRUE},
    {"BatchNormalization", pipeline_onednn_supports_batch_normalization, pipeline_onednn_batch_normalization_forward,
     pipeline_onednn_batch_normalization_backward, CLOSE, TRUE},
    {"Add", pipeline_onednn_supports_add, pipeline_onednn_add_forward, pipeline_onednn_add_backward, CLOSE, TRUE},
    {"Relu", pipeline_onednn_supports_eltwise, pipeline_onednn_eltwise_forward, pipeline_onednn_eltwise_backward, CLOSE,
     TRUE},
    {"LeakyRelu", pipeline_onednn_supports_eltwise, pipeline_onednn_eltwise_forward, pipeline_onednn_eltwise_backward,
     CLOSE, TRUE},
    {"Elu", pipeline_onednn_supports_eltwise, pipeline_onednn_eltwise_forward, pipeline_onednn_eltwise_backward, CLOSE,
     TRUE},
    {"Gelu", pipeline_onednn_supports_eltwise, pipeline_onednn_eltwise_forward, pipeline_onednn_eltwise_backward, CLOSE,
     TRUE},
    {"Sigmoid", pipeline_onednn_supports_eltwise, pipeline_onednn_eltwise_forward, pipeline_onednn_eltwise_backward,
     CLOSE, TRUE},
    {"Tanh", pipeline_onednn_supports_eltwise, pipeline_onednn_eltwise_forward, pipeline_onednn_eltwise_backward, CLOSE,
     TRUE},
    {"HardSwish", pipeline_onednn_supports_eltwise, pipeline_onednn_eltwise_forward, pipeline_onednn_eltwise_backward,
     CLOSE, TRUE},
    {"Mish", pipeline_onednn_supports_eltwise, pipeline_onednn_eltwise_forward, pipeline_onednn_eltwise_backward, CLOSE,
     TRUE},
    {.name = NULL},
};

gboolean pipeline_onednn_check(dnnl_status_t status, const gchar *what, GError **error)
{
  if (status == dnnl_success) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "oneDNN cannot %s (status %d); use the backend \"reference\"", what, (int)status);
  return FALSE;
}

/* --- descriptions ------------------------------------------------------------------------------------------------- */

static const dnnl_format_tag_t plain_tags[] = {dnnl_format_tag_undef, dnnl_a, dnnl_ab, dnnl_abc, dnnl_abcd, dnnl_abcde};

gboolean pipeline_onednn_describe_dims(guint n, const gint64 *dims, gboolean any, dnnl_memory_desc_t *shape,
                                       GError **error)
{
  dnnl_dims_t all = {0};
  g_return_val_if_fail(n > 0 && n < G_N_ELEMENTS(plain_tags), FALSE);
  memcpy(all, dims, n * sizeof *dims);
  dnnl_format_tag_t tag = any ? dnnl_format_tag_any : plain_tags[n];
  return pipeline_onednn_check(dnnl_memory_desc_init_by_tag(shape, (int)n, all, dnnl_f32, tag), "describe a tensor",
                               error);
}

gboolean pipeline_onednn_describe(const PipelineTensor *tensor, gconstpointer layout, dnnl_memory_desc_t *shape,
                                  GError **error)
{
  if (layout == NULL) return pipeline_onednn_describe_dims(tensor->n_dims, tensor->dims, FALSE, shape, error);
  memcpy(shape, layout, sizeof *shape);
  return TRUE;
}

gconstpointer pipeline_onednn_layout(const PipelineTensor *tensor, const dnnl_memory_desc_t *shape)
{
  dnnl_memory_desc_t plain;
  return pipeline_onednn_describe(tensor, NULL, &plain, NULL) && dnnl_memory_desc_equal(&plain, shape) ? NULL : shape;
}

dnnl_primitive_desc_t pipeline_onednn_new_descriptor(const PipelineOnednn *onednn, gconstpointer description,
                                                     dnnl_primitive_desc_t hint, const gchar *what, GError **error)
{
  dnnl_primitive_desc_t descriptor = NULL;
  dnnl_status_t status = dnnl_primitive_desc_create(&descriptor, description, NULL, onednn->engine, hint);
  return pipeline_onednn_check(status, what, error) ? descriptor : NULL;
}

void pipeline_onednn_query(dnnl_primitive_desc_t descriptor, dnnl_query_t what, dnnl_memory_desc_t *shape)
{
  const dnnl_memory_desc_t *found = dnnl_primitive_desc_query_md(descriptor, what, 0);
  if (found != NULL) *shape = *found;
}

/* --- plans -------------------------------------------------------------------------------------------------------- */

static void plan_free(gpointer data)
{
  PipelineOnednnPlan *plan = data;
  pipeline_onednn_primitive_clear(&plan->forward);
  pipeline_onednn_primitive_clear(&plan->backward_data);
  pipeline_onednn_primitive_clear(&plan->backward_weights);
  for (guint i = 0; i < N_REORDERS; i++) {
    pipeline_onednn_primitive_clear(&plan->reorders[i].change);
    free(plan->reorders[i].buffer);
  }
  g_free(plan);
}

static void plans_free(gpointer data)
{
  g_ptr_array_unref(data);
}

static const gint64 *weights_of(const PipelineGradientCall *call)
{
  static const gint64 none[ONNX_MAX_DIMENSIONS];
  return call->call.n_inputs > 1 && call->call.inputs[1] != NULL ? call->call.inputs[1]->dims : none;
}

static PipelineOnednnPlan *find_plan(PipelineGradientCall *call, const dnnl_memory_desc_t *given, guint flags)
{
  GPtrArray *plans = call->cached;
  for (guint i = 0; plans != NULL && i < plans->len; i++) {
    PipelineOnednnPlan *plan = g_ptr_array_index(plans, i);
    if (plan->flags == flags && dnnl_memory_desc_equal(&plan->given, given) &&
        memcmp(plan->weights, weights_of(call), sizeof plan->weights) == 0)
      return plan;
  }
  return NULL;
}

static PipelineOnednnPlan *add_plan(PipelineGradientCall *call, const dnnl_memory_desc_t *given, guint flags)
{
  if (call->cached == NULL) {
    call->cached = g_ptr_array_new_with_free_func(plan_free);
    call->cached_free = plans_free;
  }
  PipelineOnednnPlan *plan = g_new0(PipelineOnednnPlan, 1);
  plan->given = *given;
  plan->flags = flags;
  memcpy(plan->weights, weights_of(call), sizeof plan->weights);
  g_ptr_array_add(call->cached, plan);
  return plan;
}

PipelineOnednnPlan *pipeline_onednn_plan_for(PipelineGradientCall *call, const dnnl_memory_desc_t *given, guint flags,
                                             PipelineOnednnMake make, GError **error)
{
  PipelineOnednnPlan *plan = find_plan(call, given, flags);
  if (plan != NULL) return plan;
  plan = add_plan(call, given, flags);
  if (make(call, plan, error)) return plan;
  g_ptr_array_remove(call->cached, plan);
  return NULL;
}

PipelineOnednnPlan *pipeline_onednn_plan_of_input(PipelineGradientCall *call, guint flags, PipelineOnednnMake make,
                                                  GError **error)
{
  dnnl_memory_desc_t given;
  if (!pipeline_onednn_describe(call->call.inputs[0], call->input_layouts[0], &given, error)) return NULL;
  return pipeline_onednn_plan_for(call, &given, flags, make, error);
}

/* --- running ------------------------------------------------------------------------------------------------------ */

gboolean pipeline_onednn_create(PipelineOnednnPrimitive *primitive, dnnl_primitive_desc_t descriptor, const gchar *what,
                                GError **error)
{
  return pipeline_onednn_check(dnnl_primitive_create(&primitive->primitive, descriptor), what, error);
}

void pipeline_onednn_primitive_clear(PipelineOnednnPrimitive *primitive)
{
  for (guint i = 0; i < PIPELINE_ONEDNN_ARGUMENTS; i++)
    if (primitive->memories[i] != NULL) dnnl_memory_destroy(primitive->memories[i]);
  if (primitive->primitive != NULL) dnnl_primitive_destroy(primitive->primitive);
  memset(primitive, 0, sizeof *primitive);
}

gboolean pipeline_onednn_execute(const PipelineOnednn *onednn, PipelineOnednnPrimitive *primitive,
                                 const PipelineOnednnArgument *arguments, guint n, GError **error)
{
  dnnl_exec_arg_t list[PIPELINE_ONEDNN_ARGUMENTS];
  int made = 0;
  g_return_val_if_fail(n <= PIPELINE_ONEDNN_ARGUMENTS, FALSE);
  for (guint i = 0; i < n; i++) {
    dnnl_memory_t *memory = &primitive->memories[i];
    void *data = (void *)arguments[i].data;
    if (data == NULL) continue;
    dnnl_status_t status = *memory == NULL ? dnnl_memory_create(memory, arguments[i].shape, onednn->engine, data)
                                           : dnnl_memory_set_data_handle_v2(*memory, data, onednn->stream);
    if (!pipeline_onednn_check(status, "hold a tensor", error)) return FALSE;
    list[made++] = (dnnl_exec_arg_t){arguments[i].argument, *memory};
  }
  return pipeline_onednn_check(dnnl_primitive_execute(primitive->primitive, onednn->stream, made, list), "compute",
                               error) &&
         pipeline_onednn_check(dnnl_stream_wait(onednn->stream), "finish", error);
}

static gboolean prepare_reorder(const PipelineOnednn *onednn, PipelineOnednnReorder *reorder,
                                const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, GError **error)
{
  dnnl_primitive_desc_t descriptor = NULL;
  if (reorder->change.primitive != NULL && dnnl_memory_desc_equal(&reorder->from, from) &&
      dnnl_memory_desc_equal(&reorder->to, to))
    return TRUE;
  pipeline_onednn_primitive_clear(&reorder->change);
  reorder->from = *from;
  reorder->to = *to;
  if (!pipeline_onednn_check(
          dnnl_reorder_primitive_desc_create(&descriptor, from, onednn->engine, to, onednn->engine, NULL),
          "plan a change of layout", error))
    return FALSE;
  gboolean done = pipeline_onednn_create(&reorder->change, descriptor, "create a change of layout", error);
  dnnl_primitive_desc_destroy(descriptor);
  return done;
}

gboolean pipeline_onednn_copy(const PipelineOnednn *onednn, PipelineOnednnReorder *reorder,
                              const dnnl_memory_desc_t *from, gconstpointer data, const dnnl_memory_desc_t *to,
                              gpointer into, GError **error)
{
  const PipelineOnednnArgument arguments[] = {{DNNL_ARG_FROM, from, data}, {DNNL_ARG_TO, to, into}};
  return prepare_reorder(onednn, reorder, from, to, error) &&
         pipeline_onednn_execute(onednn, &reorder->change, arguments, 2, error);
}

gpointer pipeline_onednn_buffer(PipelineOnednnReorder *reorder, const dnnl_memory_desc_t *shape)
{
  gsize bytes = (dnnl_memory_desc_get_size(shape) + 63) / 64 * 64;
  if (bytes > reorder->capacity) {
    free(reorder->buffer);
    reorder->buffer = aligned_alloc(64, bytes);
    reorder->capacity = reorder->buffer != NULL ? bytes : 0;
  }
  return reorder->buffer;
}

gconstpointer pipeline_onednn_convert(const PipelineOnednn *onednn, PipelineOnednnReorder *reorder,
                                      const dnnl_memory_desc_t *from, gconstpointer data, const dnnl_memory_desc_t *to,
                                      GError **error)
{
  if (dnnl_memory_desc_equal(from, to)) return data;
  gpointer buffer = pipeline_onednn_buffer(reorder, to);
  if (buffer == NULL) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "not enough memory for a change of layout");
    return NULL;
  }
  return pipeline_onednn_copy(onednn, reorder, from, data, to, buffer, error) ? buffer : NULL;
}

/* --- the device --------------------------------------------------------------------------------------------------- */

static void close_device(gpointer device)
{
  PipelineOnednn *onednn = device;
  if (onednn->stream != NULL) dnnl_stream_destroy(onednn->stream);
  if (onednn->engine != NULL) dnnl_engine_destroy(onednn->engine);
  g_free(onednn);
}

/* Under MemoryDenyWriteExecute no kernel can be made: a product is tried. */
static gpointer open_device(GError **error)
{
  PipelineOnednn *onednn = g_new0(PipelineOnednn, 1);
  pipeline_onednn_use_one_thread();
  if (pipeline_onednn_check(dnnl_engine_create(&onednn->engine, dnnl_cpu, 0), "start", error) &&
      pipeline_onednn_check(dnnl_stream_create(&onednn->stream, onednn->engine, dnnl_stream_in_order), "start",
                            error) &&
      pipeline_backend_onednn.is_available(error))
    return onednn;
  close_device(onednn);
  return NULL;
}

static gboolean unpack(gpointer device, gconstpointer layout, const PipelineTensor *shape, gconstpointer from,
                       gpointer to, GError **error)
{
  PipelineOnednnReorder reorder = {.buffer = NULL};
  dnnl_memory_desc_t plain;
  gboolean done = pipeline_onednn_describe(shape, NULL, &plain, error) &&
                  pipeline_onednn_copy(device, &reorder, layout, from, &plain, to, error);
  pipeline_onednn_primitive_clear(&reorder.change);
  return done;
}

static gsize layout_elements(gconstpointer layout)
{
  return dnnl_memory_desc_get_size(layout) / sizeof(float);
}

static gboolean same_layout(gconstpointer a, gconstpointer b)
{
  return dnnl_memory_desc_equal(a, b) != 0;
}

static gchar *describe(void)
{
  const dnnl_version_t *version = dnnl_version();
  return g_strdup_printf("onednn %d.%d.%d, isa %#x", version->major, version->minor, version->patch,
                         (guint)dnnl_get_effective_cpu_isa());
}

const PipelineGradientBackend pipeline_gradient_backend_onednn = {
    .name = "onednn",
    .summary = "oneDNN, one thread; what it lacks by the reference",
    .rank = 2,
    .products = &pipeline_backend_onednn,
    .host = TRUE,
    .kernels = kernels,
    .open = open_device,
    .close = close_device,
    .memory = &pipeline_gradient_memory_host,
    .unpack = unpack,
    .layout_elements = layout_elements,
    .same_layout = same_layout,
    .describe = describe,
};
