#include "pipeline/graph_pass_internal.h"

#include <string.h>

/* --- values ------------------------------------------------------------------------------------------------------- */

static guint add_value(PipelineGraphPass *pass, const gchar *name, gboolean constant)
{
  PipelinePassValue *value = g_new0(PipelinePassValue, 1);
  value->constant = constant;
  g_ptr_array_add(pass->values, value);
  g_hash_table_insert(pass->value_of, (gpointer)name, GUINT_TO_POINTER(pass->values->len));
  return pass->values->len - 1;
}

static guint find_value(const PipelineGraphPass *pass, const gchar *name)
{
  return name == NULL ? G_MAXUINT : GPOINTER_TO_UINT(g_hash_table_lookup(pass->value_of, name)) - 1;
}

PipelinePassValue *pipeline_pass_get_value(const PipelineGraphPass *pass, guint index)
{
  return index == G_MAXUINT ? NULL : g_ptr_array_index(pass->values, index);
}

/* Of an index that is never left out. */
PipelinePassValue *pipeline_pass_get_known(const PipelineGraphPass *pass, guint index)
{
  return g_ptr_array_index(pass->values, index);
}

/* In the memory of this process whatever the backend. */
static gboolean lies_here(const PipelineGraphPass *pass, const PipelineTensor *tensor)
{
  return pass->backend->host || tensor->type != ONNX_TYPE_FLOAT;
}

/* `tensor`, whose shape is set, gets device memory that only grows. */
gboolean pipeline_pass_provide(PipelineGraphPass *pass, PipelineTensor *tensor, gpointer *buffer, gsize *capacity,
                               GError **error)
{
  gsize bytes = tensor->n * pipeline_tensor_element_size(tensor->type);
  if (!pass->backend->host && lies_here(pass, tensor)) return pipeline_tensor_allocate(tensor, error);
  /* Layouts may fill channels up to a multiple of 16. */
  if (pass->backend->unpack != NULL && tensor->n_dims > 2 && tensor->dims[1] > 0)
    bytes = bytes / (gsize)tensor->dims[1] * (((gsize)tensor->dims[1] + 15) / 16 * 16);
  if (bytes > *capacity || *buffer == NULL) {
    if (*buffer != NULL) pass->backend->memory->release(pass->device, *buffer);
    *capacity = 0;
    *buffer = pass->backend->memory->allocate(pass->device, bytes, error);
    if (*buffer == NULL) return FALSE;
    *capacity = bytes;
  }
  tensor->data = *buffer;
  return TRUE;
}

gboolean pipeline_pass_provide_gradient(PipelineGraphPass *pass, PipelinePassValue *value, GError **error)
{
  PipelineTensor *gradient = &value->gradient;
  if (!pipeline_tensor_set_shape(gradient, ONNX_TYPE_FLOAT, value->tensor.n_dims, value->tensor.dims, error))
    return FALSE;
  float *bound = pass->backend->host ? value->host_gradients : value->device_gradients;
  if (bound != NULL) {
    gradient->data = bound;
    return TRUE;
  }
  return pipeline_pass_provide(pass, gradient, &value->buffers[1], &value->capacities[1], error);
}

/* The value in the memory of this process, or NULL with the error set. */
static PipelineTensor *mirror(PipelineGraphPass *pass, PipelinePassValue *value, GError **error)
{
  PipelineTensor *tensor = &value->tensor;
  if (lies_here(pass, tensor)) return tensor;
  if (value->mirrored) return &value->host;
  if (!pipeline_tensor_set_shape(&value->host, tensor->type, tensor->n_dims, tensor->dims, error) ||
      !pipeline_tensor_allocate(&value->host, error) ||
      !pass->backend->memory->copy_out(pass->device, value->host.data, tensor->data, tensor->n * sizeof(float), error))
    return NULL;
  value->mirrored = TRUE;
  return &value->host;
}

/* The elements of `host` into the device's memory. */
static gboolean copy_mirror_in(PipelineGraphPass *pass, PipelinePassValue *value, GError **error)
{
  const PipelineTensor *host = &value->host;
  value->mirrored = TRUE;
  return pipeline_tensor_set_shape(&value->tensor, host->type, host->n_dims, host->dims, error) &&
         pipeline_pass_provide(pass, &value->tensor, &value->buffers[0], &value->capacities[0], error) &&
         pass->backend->memory->copy_in(pass->device, value->tensor.data, host->data, host->n * sizeof(float), error);
}

/* Row by row from now on. which: 0 the value, 1 its gradient. */
gboolean pipeline_pass_make_plain(PipelineGraphPass *pass, PipelinePassValue *value, guint which, GError **error)
{
  PipelineTensor *tensor = which == 0 ? &value->tensor : &value->gradient;
  if (value->layouts[which] == NULL) return TRUE;
  gpointer packed = tensor->data, buffer = value->buffers[which];
  gsize capacity = value->capacities[which];
  if (!pipeline_pass_provide(pass, tensor, &value->spares[which], &value->spare_capacities[which], error) ||
      !pass->backend->unpack(pass->device, value->layouts[which], tensor, packed, tensor->data, error))
    return FALSE;
  value->buffers[which] = value->spares[which];
  value->capacities[which] = value->spare_capacities[which];
  value->spares[which] = buffer;
  value->spare_capacities[which] = capacity;
  value->layouts[which] = NULL;
  return TRUE;
}

/* The layouts of inputs as the kernel takes them; of outputs, in front of a backward, likewise. */
gboolean pipeline_pass_offer_layouts(PipelineGraphPass *pass, PipelinePassStep *step, gboolean backward, GError **error)
{
  PipelineGradientCall *call = &step->call;
  for (guint i = 0; i < call->call.n_inputs; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, step->inputs[i]);
    call->input_layouts[i] = value != NULL ? value->layouts[0] : NULL;
    call->input_gradient_layouts[i] = NULL;
  }
  for (guint i = 0; i < call->call.n_outputs; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, step->outputs[i]);
    call->output_layouts[i] = value != NULL && backward ? value->layouts[0] : NULL;
    call->output_gradient_layouts[i] = value != NULL && backward ? value->layouts[1] : NULL;
  }
  if (pipeline_gradient_takes_layouts(call, pass->backend)) return TRUE;
  for (guint i = 0; i < call->call.n_inputs; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, step->inputs[i]);
    if (value != NULL && !pipeline_pass_make_plain(pass, value, 0, error)) return FALSE;
    call->input_layouts[i] = NULL;
  }
  for (guint i = 0; backward && i < call->call.n_outputs; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, step->outputs[i]);
    if (value != NULL &&
        (!pipeline_pass_make_plain(pass, value, 0, error) || !pipeline_pass_make_plain(pass, value, 1, error)))
      return FALSE;
    call->output_layouts[i] = call->output_gradient_layouts[i] = NULL;
  }
  return TRUE;
}

/* --- making the plan ---------------------------------------------------------------------------------------------- */

gboolean pipeline_pass_fail_step(const PipelinePassStep *step, GError **error)
{
  g_autofree gchar *where = onnx_node_describe(step->call.call.node, step->index);
  g_prefix_error(error, "%s: ", where);
  return FALSE;
}

static gboolean has_products(const gchar *operator)
{
  static const gchar *const operators[] = {"Gemm", "MatMul", "Conv", "LSTM", "GRU", NULL};
  return g_strv_contains(operators, operator);
}

static void find_rows(const PipelineGraphPass *pass, PipelinePassStep *step)
{
  const OnnxNode *node = g_ptr_array_index(pass->graph->nodes, step->index);
  PipelineCall *call = &step->call.call;
  call->node = node;
  call->opset = onnx_graph_get_opset(pass->graph, node->domain);
  call->operator= pipeline_operator_find(node->domain, node->op_type, call->opset);
  step->call.precision = has_products(node->op_type) ? pass->precision : PIPELINE_PRECISION_FLOAT32;
  call->backend =
      step->call.precision == PIPELINE_PRECISION_BFLOAT16 ? pass->backend->narrow_products : pass->backend->products;
  step->call.gradient = pipeline_gradient_find(node->domain, node->op_type);
  step->call.device = pass->device;
}

/* Between the values of the node `place`, in whose place it is computed. */
static void connect_step(PipelineGraphPass *pass, PipelinePassStep *step, guint place, gboolean *constant)
{
  PipelineCall *call = &step->call.call;
  const OnnxNode *node = g_ptr_array_index(pass->graph->nodes, place);
  call->n_inputs = node->inputs->len;
  call->n_outputs = node->outputs->len;
  call->inputs = g_new0(const PipelineTensor *, call->n_inputs + 1);
  call->outputs = g_new0(PipelineTensor *, call->n_outputs + 1);
  step->call.input_gradients = g_new0(PipelineTensor *, call->n_inputs + 1);
  step->call.output_gradients = g_new0(const PipelineTensor *, call->n_outputs + 1);
  step->inputs = g_new(guint, call->n_inputs + 1);
  step->outputs = g_new(guint, call->n_outputs + 1);
  step->second = g_new0(PipelineTensor, call->n_inputs + 1);
  step->second_buffers = g_new0(gpointer, call->n_inputs + 1);
  step->second_capacities = g_new0(gsize, call->n_inputs + 1);
  step->layouts = g_new0(gconstpointer, 2 * (call->n_inputs + call->n_outputs));
  step->call.host_inputs = g_new0(const PipelineTensor *, call->n_inputs + 1);
  step->call.input_layouts = step->layouts;
  step->call.input_gradient_layouts = step->layouts + call->n_inputs;
  step->call.output_layouts = step->layouts + 2 * call->n_inputs;
  step->call.output_gradient_layouts = step->layouts + 2 * call->n_inputs + call->n_outputs;
  *constant = TRUE;
  for (guint i = 0; i < call->n_inputs; i++) {
    PipelinePassValue *value =
        pipeline_pass_get_value(pass, step->inputs[i] = find_value(pass, onnx_node_get_input(node, i)));
    *constant = *constant && (value == NULL || (value->constant && !value->needs));
  }
  for (guint i = 0; i < call->n_outputs; i++) {
    const gchar *name = onnx_node_get_output(node, i);
    step->outputs[i] = name != NULL || i == 0 ? add_value(pass, name != NULL ? name : "", *constant) : G_MAXUINT;
    call->outputs[i] = step->outputs[i] != G_MAXUINT ? &pipeline_pass_get_value(pass, step->outputs[i])->tensor : NULL;
  }
}

/* What reaches the outputs: the inputs that the row differentiates. */
static void spread_needs(PipelineGraphPass *pass, PipelinePassStep *step)
{
  const PipelineGradient *gradient = step->call.gradient;
  gboolean reached = FALSE;
  for (guint i = 0; i < step->call.call.n_inputs; i++) {
    const PipelinePassValue *value = pipeline_pass_get_value(pass, step->inputs[i]);
    if (value == NULL || !value->needs) continue;
    if (gradient == NULL ||
        (gradient->inputs == PIPELINE_GRADIENT_ALL || (i < 31 && (gradient->inputs & (1u << i)) != 0)))
      reached = TRUE;
  }
  for (guint i = 0; reached && i < step->call.call.n_outputs; i++)
    if (step->outputs[i] != G_MAXUINT) pipeline_pass_get_value(pass, step->outputs[i])->needs = TRUE;
}

/* Where a backend with memory of its own finds the inputs of a step: in it, or, what it lacks, in copies. */
static gboolean place_inputs(PipelineGraphPass *pass, PipelinePassStep *step, GError **error)
{
  PipelineCall *call = &step->call.call;
  if (pass->backend->host) return TRUE;
  for (guint i = 0; i < call->n_inputs; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, step->inputs[i]);
    call->inputs[i] = value != NULL ? &value->tensor : NULL;
    step->call.host_inputs[i] = value == NULL                        ? NULL
                                : lies_here(pass, &value->tensor)    ? &value->tensor
                                : value->constant && value->mirrored ? &value->host
                                                                     : NULL;
  }
  for (guint i = 0; i < call->n_outputs; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, step->outputs[i]);
    call->outputs[i] = value != NULL ? &value->tensor : NULL;
  }
  step->on_host = pass->backend->mirrors && !pipeline_gradient_has_kernel(&step->call, pass->backend);
  for (guint i = 0; step->on_host && i < call->n_inputs; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, step->inputs[i]);
    if (value != NULL && (call->inputs[i] = mirror(pass, value, error)) == NULL) return FALSE;
  }
  return TRUE;
}

/* A step that the backend lacks, after its outputs have shapes. */
static gboolean run_on_host(PipelineGraphPass *pass, PipelinePassStep *step, GError **error)
{
  PipelineCall *call = &step->call.call;
  for (guint i = 0; i < call->n_outputs; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, step->outputs[i]);
    if (value == NULL || lies_here(pass, &value->tensor)) continue;
    if (!pipeline_tensor_set_shape(&value->host, value->tensor.type, value->tensor.n_dims, value->tensor.dims, error) ||
        !pipeline_tensor_allocate(&value->host, error))
      return FALSE;
    call->outputs[i] = &value->host;
  }
  if (!pipeline_gradient_forward(&step->call, &pipeline_gradient_backend_reference, error)) return FALSE;
  for (guint i = 0; i < call->n_outputs; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, step->outputs[i]);
    if (value != NULL && !lies_here(pass, &value->tensor) && !copy_mirror_in(pass, value, error)) return FALSE;
  }
  /* The only inputs that a kernel writes: running statistics. */
  gboolean writes = step->call.training && !step->call.frozen && strcmp(call->node->op_type, "BatchNormalization") == 0;
  for (guint i = 3; writes && i < 5; i++)
    if (!copy_mirror_in(pass, pipeline_pass_get_known(pass, step->inputs[i]), error)) return FALSE;
  return TRUE;
}

gboolean pipeline_pass_run_forward(PipelineGraphPass *pass, PipelinePassStep *step, guint64 *bytes, GError **error)
{
  PipelineCall *call = &step->call.call;
  if (!place_inputs(pass, step, error) || !pipeline_gradient_infer(&step->call, error))
    return pipeline_pass_fail_step(step, error);
  for (guint i = 0; i < call->n_outputs; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, step->outputs[i]);
    if (value == NULL) continue;
    *bytes += value->tensor.n * pipeline_tensor_element_size(value->tensor.type);
    if (*bytes > PIPELINE_GRAPH_MAX_BYTES) {
      g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                          "the graph needs more than 8 GiB for one batch; a smaller batch needs less");
      return pipeline_pass_fail_step(step, error);
    }
    value->mirrored = FALSE;
    if (!pipeline_pass_provide(pass, &value->tensor, &value->buffers[0], &value->capacities[0], error))
      return pipeline_pass_fail_step(step, error);
  }
  if (step->on_host) return run_on_host(pass, step, error) || pipeline_pass_fail_step(step, error);
  if (!pipeline_pass_offer_layouts(pass, step, FALSE, error) ||
      !pipeline_gradient_forward(&step->call, pass->backend, error))
    return pipeline_pass_fail_step(step, error);
  step->call.refreshed = FALSE;
  for (guint i = 0; i < call->n_outputs; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, step->outputs[i]);
    if (value != NULL) value->layouts[0] = step->call.output_layouts[i];
  }
  return TRUE;
}

/* Its forward is the operator's own kernel, which may want to prepare. */
static gboolean uses_operator(const PipelinePassStep *step)
{
  return step->call.gradient == NULL || step->call.gradient->forward == NULL;
}

/* index: of the node that is computed in the place of the node `place`. */
static gboolean make_step(PipelineGraphPass *pass, guint place, guint index, guint64 *bytes, GError **error)
{
  PipelinePassStep *step = &pass->steps[pass->n_steps++];
  PipelineCall *call = &step->call.call;
  gboolean constant;
  step->index = index;
  find_rows(pass, step);
  connect_step(pass, step, place, &constant);
  /* Only what never changes may be prepared for. */
  for (guint i = 0; i < call->n_inputs; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, step->inputs[i]);
    call->inputs[i] = NULL;
    if (value == NULL || !value->constant || value->needs) continue;
    if ((call->inputs[i] = mirror(pass, value, error)) == NULL) return pipeline_pass_fail_step(step, error);
  }
  if (call->operator->prepare != NULL && uses_operator(step) && !call->operator->prepare(call, error))
    return pipeline_pass_fail_step(step, error);
  for (guint i = 0; i < call->n_inputs; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, step->inputs[i]);
    call->inputs[i] = value != NULL ? &value->tensor : NULL;
  }
  call->texts = pass->texts;
  spread_needs(pass, step);
  return !constant || pipeline_pass_run_forward(pass, step, bytes, error);
}

static gboolean load_initialisers(PipelineGraphPass *pass, GError **error)
{
  for (guint i = 0; i < pass->graph->initialisers->len; i++) {
    const OnnxTensor *tensor = g_ptr_array_index(pass->graph->initialisers, i);
    PipelinePassValue *value = pipeline_pass_get_value(pass, add_value(pass, tensor->name, TRUE));
    if (!pipeline_tensor_set_onnx(&value->tensor, tensor, error)) return FALSE;
    if (lies_here(pass, &value->tensor)) continue;
    value->host = value->tensor;
    value->tensor = (PipelineTensor){.type = ONNX_TYPE_FLOAT};
    if (!copy_mirror_in(pass, value, error)) return FALSE;
  }
  return TRUE;
}

static gboolean find_named(PipelineGraphPass *pass, const gchar *const *names, const gchar *role, guint **found,
                           guint *n, GError **error)
{
  *n = names != NULL ? g_strv_length((gchar **)names) : 0;
  *found = g_new(guint, *n + 1);
  for (guint i = 0; i < *n; i++) {
    (*found)[i] = find_value(pass, names[i]);
    if ((*found)[i] != G_MAXUINT) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "the graph has no value '%s' (%s)", names[i], role);
    return FALSE;
  }
  return TRUE;
}

/* Which steps heads need, which ones gradients flow through, and whether each of those has one. */
static gboolean trace_heads(PipelineGraphPass *pass, GError **error)
{
  g_autofree gboolean *asked = g_new0(gboolean, pass->values->len + 1),
                      *flows = g_new0(gboolean, pass->values->len + 1);
  for (guint i = 0; i < pass->n_heads; i++) asked[pass->heads[i]] = flows[pass->heads[i]] = TRUE;
  for (guint n = pass->n_steps; n-- > 0;) {
    PipelinePassStep *step = &pass->steps[n];
    gboolean receives = FALSE;
    for (guint i = 0; i < step->call.call.n_outputs; i++) {
      if (step->outputs[i] == G_MAXUINT) continue;
      step->wanted = step->wanted || asked[step->outputs[i]];
      receives = receives || (flows[step->outputs[i]] && pipeline_pass_get_value(pass, step->outputs[i])->needs);
    }
    const PipelineGradient *gradient = step->call.gradient;
    step->differentiated = receives && (gradient == NULL || gradient->inputs != 0);
    if (step->differentiated && gradient == NULL) {
      g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                          "it has no gradient: freeze the weights in front of it, or train another part of the model");
      return pipeline_pass_fail_step(step, error);
    }
    for (guint i = 0; i < step->call.call.n_inputs; i++) {
      if (step->inputs[i] == G_MAXUINT) continue;
      if (step->wanted) asked[step->inputs[i]] = TRUE;
      if (step->differentiated) flows[step->inputs[i]] = TRUE;
    }
  }
  return TRUE;
}

static void mark_frozen(PipelineGraphPass *pass)
{
  for (guint n = 0; n < pass->n_steps; n++) {
    PipelinePassStep *step = &pass->steps[n];
    step->call.frozen = TRUE;
    for (guint i = 1; i < step->call.call.n_inputs; i++) {
      const PipelinePassValue *value = pipeline_pass_get_value(pass, step->inputs[i]);
      if (value != NULL && value->needs) step->call.frozen = FALSE;
    }
  }
}

static gboolean make_plan(PipelineGraphPass *pass, const PipelineGraphPassOptions *options, GError **error)
{
  const OnnxGraph *graph = pass->graph;
  guint64 bytes = 0;
  /* Arity first: kernels rely on it. */
  if (!pipeline_operator_check_graph(graph, error) || !load_initialisers(pass, error)) return FALSE;
  pass->inputs = g_new(guint, graph->inputs->len + 1);
  for (guint i = 0; i < graph->inputs->len; i++) {
    const OnnxValue *input = g_ptr_array_index(graph->inputs, i);
    guint value = find_value(pass, input->name);
    pass->inputs[i] = value != G_MAXUINT ? value : add_value(pass, input->name, FALSE);
  }
  if (!find_named(pass, options->wanted, "to train", &pass->wanted, &pass->n_wanted, error)) return FALSE;
  for (guint i = 0; i < pass->n_wanted; i++) {
    PipelinePassValue *value = pipeline_pass_get_known(pass, pass->wanted[i]);
    value->needs = TRUE;
    value->mirrored = FALSE; /* it will change there */
  }
  if (!find_named(pass, options->variables, "variable", &pass->variables, &pass->n_variables, error)) return FALSE;
  for (guint i = 0; i < pass->n_variables; i++) {
    PipelinePassValue *value = pipeline_pass_get_known(pass, pass->variables[i]);
    value->constant = FALSE;
    value->mirrored = FALSE;
  }
  pass->steps = g_new0(PipelinePassStep, graph->nodes->len + 1);
  g_autofree guint *order = pipeline_pass_find_order(graph, options->heads);
  for (guint n = 0; n < graph->nodes->len; n++)
    if (!make_step(pass, n, order[n], &bytes, error)) return FALSE;
  if (!find_named(pass, options->heads, "output", &pass->heads, &pass->n_heads, error)) return FALSE;
  pass->host_heads = g_new0(PipelineTensor, pass->n_heads + 1);
  pipeline_pass_name_moved(pass, order);
  mark_frozen(pass);
  if (!trace_heads(pass, error)) return FALSE;
  pipeline_pass_find_first_steps(pass);
  return TRUE;
}

PipelineGraphPass *pipeline_graph_pass_new(const OnnxGraph *graph, const PipelineGraphPassOptions *options,
                                           GError **error)
{
  g_autoptr(PipelineGraphPass) pass = g_new0(PipelineGraphPass, 1);
  pass->graph = graph;
  pass->backend = options->backend;
  pass->precision = options->precision;
  pass->value_of = g_hash_table_new(g_str_hash, g_str_equal);
  pass->values = g_ptr_array_new();
  pass->texts = g_string_chunk_new(4096);
  if (pass->backend->open != NULL) {
    pass->device = pass->backend->open(error);
    if (pass->device == NULL) return NULL;
  }
  return make_plan(pass, options, error) ? g_steal_pointer(&pass) : NULL;
}

static void step_clear(PipelineGraphPass *pass, PipelinePassStep *step)
{
  PipelineCall *call = &step->call.call;
  pipeline_gradient_call_clear(&step->call);
  if (call->state != NULL && call->state_free != NULL) call->state_free(call->state);
  for (guint i = 0; step->second_buffers != NULL && i < call->n_inputs; i++)
    if (step->second_buffers[i] != NULL) pass->backend->memory->release(pass->device, step->second_buffers[i]);
  g_free(call->inputs);
  g_free(call->outputs);
  g_free(step->call.input_gradients);
  g_free(step->call.output_gradients);
  g_free(step->inputs);
  g_free(step->outputs);
  g_free(step->second);
  g_free(step->second_buffers);
  g_free(step->second_capacities);
  g_free(step->layouts);
  g_free(step->call.host_inputs);
  for (guint i = 0; step->copies != NULL && i < call->n_inputs + call->n_outputs; i++)
    pipeline_tensor_clear(&step->copies[i]);
  g_free(step->copies);
}

void pipeline_graph_pass_free(PipelineGraphPass *pass)
{
  if (pass == NULL) return;
  for (guint n = 0; n < pass->n_steps; n++) step_clear(pass, &pass->steps[n]);
  for (guint i = 0; i < pass->values->len; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, i);
    for (guint k = 0; k < 2; k++) {
      if (value->buffers[k] != NULL) pass->backend->memory->release(pass->device, value->buffers[k]);
      if (value->spares[k] != NULL) pass->backend->memory->release(pass->device, value->spares[k]);
    }
    pipeline_tensor_clear(&value->tensor);
    pipeline_tensor_clear(&value->host);
    pipeline_tensor_clear(&value->host_gradient);
    g_free(value);
  }
  if (pass->device != NULL && pass->backend->close != NULL) pass->backend->close(pass->device);
  g_ptr_array_free(pass->values, TRUE);
  g_hash_table_destroy(pass->value_of);
  g_string_chunk_free(pass->texts);
  g_free(pass->steps);
  g_free(pass->inputs);
  g_free(pass->wanted);
  g_free(pass->variables);
  for (guint i = 0; pass->host_heads != NULL && i < pass->n_heads; i++) pipeline_tensor_clear(&pass->host_heads[i]);
  g_free(pass->host_heads);
  g_free(pass->heads);
  g_free(pass);
}

/* --- inputs and parameters ---------------------------------------------------------------------------------------- */

PipelineTensor *pipeline_graph_pass_get_input(PipelineGraphPass *pass, guint index)
{
  PipelinePassValue *value = pipeline_pass_get_known(pass, pass->inputs[index]);
  if (pass->backend->host) return &value->tensor;
  value->handed = TRUE;
  return &value->host;
}

/* What callers have filled goes where kernels look for it. */
static gboolean take_inputs(PipelineGraphPass *pass, GError **error)
{
  for (guint i = 0; !pass->backend->host && i < pass->graph->inputs->len; i++) {
    PipelinePassValue *value = pipeline_pass_get_known(pass, pass->inputs[i]);
    if (!value->handed) continue;
    if (value->host.type == ONNX_TYPE_FLOAT) {
      if (!copy_mirror_in(pass, value, error)) return FALSE;
      continue;
    }
    gpointer memory = value->tensor.memory;
    gsize capacity = value->tensor.capacity;
    value->tensor = value->host; /* borrows its elements */
    value->tensor.memory = memory;
    value->tensor.capacity = capacity;
  }
  return TRUE;
}

gboolean pipeline_graph_pass_set_input(PipelineGraphPass *pass, guint index, guint n_dims, const gint64 *dims,
                                       const float *data, GError **error)
{
  PipelinePassValue *value = pipeline_pass_get_known(pass, pass->inputs[index]);
  PipelineTensor *tensor = &value->tensor;
  if (!pipeline_tensor_set_shape(tensor, ONNX_TYPE_FLOAT, n_dims, dims, error)) return FALSE;
  if (pass->backend->host) {
    tensor->data = (gpointer)data; /* no kernel writes an input */
    return TRUE;
  }
  value->handed = FALSE;
  if (!pipeline_tensor_set_shape(&value->host, ONNX_TYPE_FLOAT, n_dims, dims, error)) return FALSE;
  value->host.data = (gpointer)data;
  return copy_mirror_in(pass, value, error);
}

gsize pipeline_graph_pass_get_size(const PipelineGraphPass *pass, guint index)
{
  return pipeline_pass_get_known(pass, pass->wanted[index])->tensor.n;
}

gboolean pipeline_graph_pass_bind(PipelineGraphPass *pass, guint index, float *values, float *gradients, GError **error)
{
  PipelinePassValue *value = pipeline_pass_get_known(pass, pass->wanted[index]);
  gsize bytes = value->tensor.n * sizeof(float);
  if (!pass->backend->memory->copy_out(pass->device, values, value->tensor.data, bytes, error)) return FALSE;
  value->host_values = values;
  value->host_gradients = gradients;
  if (pass->backend->host) value->tensor.data = values;
  return TRUE;
}

gboolean pipeline_graph_pass_set_variable(PipelineGraphPass *pass, guint index, const float *values, GError **error)
{
  PipelinePassValue *value = pipeline_pass_get_known(pass, pass->variables[index]);
  PipelineTensor *tensor = &value->tensor;
  value->mirrored = FALSE;
  if (!pass->backend->host)
    return pass->backend->memory->copy_in(pass->device, tensor->data, values, tensor->n * sizeof(float), error);
  tensor->data = (gpointer)values; /* no kernel writes an input in prediction */
  return TRUE;
}

gboolean pipeline_graph_pass_bind_device(PipelineGraphPass *pass, guint index, float *values, float *gradients,
                                         GError **error)
{
  PipelinePassValue *value = pipeline_pass_get_known(pass, pass->wanted[index]);
  gsize bytes = value->tensor.n * sizeof(float);
  const PipelineGradientMemory *memory = pass->backend->memory;
  g_return_val_if_fail(!pass->backend->host, FALSE);
  if (!memory->copy(pass->device, values, value->tensor.data, bytes, error)) return FALSE;
  if (value->buffers[0] != NULL) memory->release(pass->device, value->buffers[0]); /* in the order of the stream */
  value->buffers[0] = NULL;
  value->capacities[0] = 0;
  value->tensor.data = values;
  value->device_gradients = gradients;
  value->host_values = value->host_gradients = NULL;
  return TRUE;
}

gboolean pipeline_graph_pass_copy_initialiser(PipelineGraphPass *pass, const gchar *name, float *values, gboolean out,
                                              GError **error)
{
  PipelinePassValue *value = pipeline_pass_get_value(pass, find_value(pass, name));
  g_return_val_if_fail(value != NULL && value->constant && value->tensor.type == ONNX_TYPE_FLOAT, FALSE);
  gsize bytes = value->tensor.n * sizeof(float);
  if (!out) value->mirrored = FALSE;
  return out ? pass->backend->memory->copy_out(pass->device, values, value->tensor.data, bytes, error)
             : pass->backend->memory->copy_in(pass->device, value->tensor.data, values, bytes, error);
}

const PipelineTensor *pipeline_graph_pass_get_head(const PipelineGraphPass *pass, guint index)
{
  return pass->backend->host ? &pipeline_pass_get_known(pass, pass->heads[index])->tensor : &pass->host_heads[index];
}

const PipelineTensor *pipeline_graph_pass_get_gradient(PipelineGraphPass *pass, guint index)
{
  PipelinePassValue *value = pipeline_pass_get_known(pass, pass->wanted[index]);
  const PipelineTensor *gradient = &value->gradient;
  PipelineTensor *copy = &value->host_gradient;
  if (pass->backend->host) return gradient;
  if (!pipeline_tensor_set_shape(copy, gradient->type, gradient->n_dims, gradient->dims, NULL) ||
      !pipeline_tensor_allocate(copy, NULL) ||
      !pass->backend->memory->copy_out(pass->device, copy->data, gradient->data, gradient->n * sizeof(float), NULL))
    return NULL;
  return copy;
}

const PipelineTensor *pipeline_graph_pass_get_value(PipelineGraphPass *pass, const gchar *name)
{
  PipelinePassValue *value = pipeline_pass_get_value(pass, find_value(pass, name));
  if (value == NULL || !pipeline_pass_make_plain(pass, value, 0, NULL)) return NULL;
  return mirror(pass, value, NULL);
}

/* --- running ------------------------------------------------------------------------------------------------------ */

gboolean pipeline_pass_is_constant_step(const PipelineGraphPass *pass, const PipelinePassStep *step)
{
  const PipelinePassValue *first = pipeline_pass_get_known(pass, step->outputs[0]);
  return first->constant;
}

/* A backend with memory of its own: parameters in before a forward, gradients out after a backward, heads out. */
gboolean pipeline_pass_copy_parameters(PipelineGraphPass *pass, gboolean in, GError **error)
{
  for (guint i = 0; !pass->backend->host && i < pass->n_wanted; i++) {
    PipelinePassValue *value = pipeline_pass_get_known(pass, pass->wanted[i]);
    gsize bytes = value->tensor.n * sizeof(float);
    if (value->host_values == NULL) continue;
    if (in) value->mirrored = FALSE; /* for steps that are computed here */
    if (!(in ? pass->backend->memory->copy_in(pass->device, value->tensor.data, value->host_values, bytes, error)
             : pass->backend->memory->copy_out(pass->device, value->host_gradients, value->gradient.data, bytes,
                                               error)))
      return FALSE;
  }
  return TRUE;
}

static gboolean copy_heads(PipelineGraphPass *pass, GError **error)
{
  for (guint i = 0; i < pass->n_heads; i++) {
    PipelinePassValue *value = pipeline_pass_get_known(pass, pass->heads[i]);
    if (!pipeline_pass_make_plain(pass, value, 0, error)) return FALSE;
    if (pass->backend->host || pass->keep_heads) continue;
    const PipelineTensor *head = &value->tensor;
    PipelineTensor *copy = &pass->host_heads[i];
    if (!pipeline_tensor_set_shape(copy, head->type, head->n_dims, head->dims, error) ||
        !pipeline_tensor_allocate(copy, error) ||
        !pass->backend->memory->copy_out(pass->device, copy->data, head->data, head->n * sizeof(float), error))
      return FALSE;
  }
  return TRUE;
}

gboolean pipeline_graph_pass_forward(PipelineGraphPass *pass, gboolean training, PipelineRandom *random, GError **error)
{
  guint64 bytes = 0;
  if (!pipeline_pass_copy_parameters(pass, TRUE, error) || !take_inputs(pass, error)) return FALSE;
  g_string_chunk_clear(pass->texts);
  for (guint n = 0; n < pass->n_steps; n++) {
    PipelinePassStep *step = &pass->steps[n];
    if (!step->wanted || pipeline_pass_is_constant_step(pass, step)) continue;
    step->call.training = training;
    step->call.random = random;
    step->call.slice = training ? pass->slice : NULL;
    if (!pipeline_pass_run_forward(pass, step, &bytes, error)) return FALSE;
  }
  return copy_heads(pass, error);
}
