#include "pipeline/executor.h"

#include <string.h>

#include "pipeline/operator_internal.h"

typedef struct {
  PipelineCall call;
  guint *inputs, *outputs; /* slots; G_MAXUINT: left out, or nobody asks */
  guint index;             /* of the node, for messages */
  gboolean constant;       /* computed once, when the executor was made */
  gboolean wanted;
} Step;

struct _PipelineExecutor {
  const OnnxGraph *graph;
  PipelineExecutorOptions options;
  PipelineBudget budget; /* of the run, or of making the plan */
  GHashTable *slot_of;   /* name -> slot + 1; names are borrowed from the graph */
  GArray *slots;         /* of PipelineTensor* */
  GArray *constant;      /* of gboolean, by slot */
  Step *steps;
  guint n_steps;
  guint *input_slots, *output_slots; /* by index in the graph */
  GStringChunk *texts, *constant_texts;
};

/* --- slots
 * ------------------------------------------------------------------------------------------------------------ */

static guint add_slot(PipelineExecutor *executor, const gchar *name, gboolean constant)
{
  guint slot = executor->slots->len;
  PipelineTensor *tensor = g_new0(PipelineTensor, 1);
  g_array_append_val(executor->slots, tensor);
  g_array_append_val(executor->constant, constant);
  g_hash_table_insert(executor->slot_of, (gpointer)name, GUINT_TO_POINTER(slot + 1));
  return slot;
}

static guint find_slot(const PipelineExecutor *executor, const gchar *name)
{
  return name == NULL ? G_MAXUINT : GPOINTER_TO_UINT(g_hash_table_lookup(executor->slot_of, name)) - 1;
}

static PipelineTensor *get_tensor(const PipelineExecutor *executor, guint slot)
{
  return slot == G_MAXUINT ? NULL : g_array_index(executor->slots, PipelineTensor *, slot);
}

static gboolean is_constant(const PipelineExecutor *executor, guint slot)
{
  return slot == G_MAXUINT || g_array_index(executor->constant, gboolean, slot);
}

/* --- one step
 * --------------------------------------------------------------------------------------------------------- */

static gboolean fail_step(const Step *step, GError **error)
{
  g_autofree gchar *where = onnx_node_describe(step->call.node, step->index);
  g_prefix_error(error, "%s: ", where);
  return FALSE;
}

static void reset_budget(PipelineExecutor *executor)
{
  executor->budget = (PipelineBudget){executor->options.max_bytes, executor->options.max_multiplications};
}

static gboolean run_step(Step *step, GError **error)
{
  PipelineCall *call = &step->call;
  if (!pipeline_call_infer(call, error)) return fail_step(step, error);
  for (guint i = 0; i < call->n_outputs; i++) {
    PipelineTensor *output = call->outputs[i];
    if (output == NULL) continue;
    if (!pipeline_charge_bytes(call, output->n * pipeline_tensor_element_size(output->type), error) ||
        !pipeline_tensor_allocate(output, error))
      return fail_step(step, error);
  }
  return pipeline_call_run(call, error) || fail_step(step, error);
}

/* --- making the plan
 * -------------------------------------------------------------------------------------------------- */

static gboolean load_initialisers(PipelineExecutor *executor, GError **error)
{
  const GPtrArray *initialisers = executor->graph->initialisers;
  for (guint i = 0; i < initialisers->len; i++) {
    const OnnxTensor *tensor = g_ptr_array_index(initialisers, i);
    guint slot = add_slot(executor, tensor->name, TRUE);
    if (!pipeline_tensor_set_onnx(get_tensor(executor, slot), tensor, error)) return FALSE;
  }
  return TRUE;
}

/* Names that some node reads or that are outputs of the graph. */
static GHashTable *collect_read(const OnnxGraph *graph)
{
  GHashTable *read = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint n = 0; n < graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    for (guint i = 0; i < node->inputs->len; i++) g_hash_table_add(read, g_ptr_array_index(node->inputs, i));
  }
  for (guint i = 0; i < graph->outputs->len; i++)
    g_hash_table_add(read, ((const OnnxValue *)g_ptr_array_index(graph->outputs, i))->name);
  return read;
}

static void step_init(PipelineExecutor *executor, Step *step, guint index, GHashTable *read,
                      const PipelineBackend *backend)
{
  const OnnxNode *node = g_ptr_array_index(executor->graph->nodes, index);
  PipelineCall *call = &step->call;
  step->index = index;
  step->constant = TRUE;
  step->wanted = TRUE;
  call->node = node;
  call->opset = onnx_graph_get_opset(executor->graph, node->domain);
  call->operator= pipeline_operator_find(node->domain, node->op_type, call->opset);
  call->backend = backend;
  call->budget = &executor->budget;
  call->as_written = executor->options.as_written;
  call->n_inputs = node->inputs->len;
  call->n_outputs = node->outputs->len;
  call->inputs = g_new0(const PipelineTensor *, call->n_inputs + 1);
  call->outputs = g_new0(PipelineTensor *, call->n_outputs + 1);
  step->inputs = g_new(guint, call->n_inputs + 1);
  step->outputs = g_new(guint, call->n_outputs + 1);
  for (guint i = 0; i < call->n_inputs; i++) {
    step->inputs[i] = find_slot(executor, onnx_node_get_input(node, i));
    step->constant = step->constant && is_constant(executor, step->inputs[i]);
    if (is_constant(executor, step->inputs[i])) call->inputs[i] = get_tensor(executor, step->inputs[i]);
  }
  for (guint i = 0; i < call->n_outputs; i++) {
    const gchar *name = onnx_node_get_output(node, i);
    step->outputs[i] = name != NULL ? add_slot(executor, name, step->constant) : G_MAXUINT;
    gboolean asked = i == 0 || (name != NULL && g_hash_table_contains(read, name));
    call->outputs[i] = asked ? get_tensor(executor, step->outputs[i]) : NULL;
  }
  if (call->outputs[0] != NULL) return;
  /* The first output has no name: kernels need a place for it all the same. */
  step->outputs[0] = add_slot(executor, "", FALSE);
  call->outputs[0] = get_tensor(executor, step->outputs[0]);
}

/* Prepares with the constant inputs only, then computes the step at once when all are constant. */
static gboolean step_prepare(PipelineExecutor *executor, Step *step, GError **error)
{
  PipelineCall *call = &step->call;
  if (call->operator->prepare != NULL && !call->operator->prepare(call, error)) return fail_step(step, error);
  for (guint i = 0; i < call->n_inputs; i++) call->inputs[i] = get_tensor(executor, step->inputs[i]);
  call->texts = step->constant ? executor->constant_texts : executor->texts;
  return !step->constant || run_step(step, error);
}

static gboolean make_plan(PipelineExecutor *executor, const PipelineBackend *backend, GError **error)
{
  const OnnxGraph *graph = executor->graph;
  if (!load_initialisers(executor, error)) return FALSE;
  executor->input_slots = g_new(guint, graph->inputs->len + 1);
  for (guint i = 0; i < graph->inputs->len; i++) {
    const OnnxValue *input = g_ptr_array_index(graph->inputs, i);
    guint slot = find_slot(executor, input->name);
    executor->input_slots[i] = slot != G_MAXUINT ? slot : add_slot(executor, input->name, FALSE);
  }
  g_autoptr(GHashTable) read = collect_read(graph);
  reset_budget(executor);
  executor->steps = g_new0(Step, graph->nodes->len + 1);
  for (guint n = 0; n < graph->nodes->len; n++) {
    Step *step = &executor->steps[n];
    executor->n_steps = n + 1;
    step_init(executor, step, n, read, backend);
    if (!step_prepare(executor, step, error)) return FALSE;
  }
  executor->output_slots = g_new(guint, graph->outputs->len + 1);
  for (guint i = 0; i < graph->outputs->len; i++)
    executor->output_slots[i] = find_slot(executor, ((const OnnxValue *)g_ptr_array_index(graph->outputs, i))->name);
  return TRUE;
}

/* What is no tensor, or has elements that no operator computes on, could never be fed. */
static gboolean check_inputs(const OnnxGraph *graph, GError **error)
{
  for (guint i = 0; i < graph->inputs->len; i++) {
    const OnnxValue *input = g_ptr_array_index(graph->inputs, i);
    if (pipeline_tensor_element_size(input->type) > 0) continue;
    if (input->type == ONNX_TYPE_UNDEFINED)
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                  "input '%s' is no tensor (sequences, maps and optional values are not supported)", input->name);
    else
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                  "input '%s' has element type number %d, which is not supported", input->name, (gint)input->type);
    return FALSE;
  }
  return TRUE;
}

PipelineExecutor *pipeline_executor_new(const OnnxGraph *graph, const PipelineBackend *backend, GError **error)
{
  PipelineExecutorOptions options = PIPELINE_EXECUTOR_OPTIONS_INIT;
  return pipeline_executor_new_with_options(graph, backend, &options, error);
}

PipelineExecutor *pipeline_executor_new_with_options(const OnnxGraph *graph, const PipelineBackend *backend,
                                                     const PipelineExecutorOptions *options, GError **error)
{
  if (!pipeline_operator_check_graph(graph, error) || !check_inputs(graph, error)) return NULL;
  g_autoptr(PipelineExecutor) executor = g_new0(PipelineExecutor, 1);
  executor->graph = graph;
  executor->options = *options;
  executor->slot_of = g_hash_table_new(g_str_hash, g_str_equal);
  executor->slots = g_array_new(FALSE, FALSE, sizeof(PipelineTensor *));
  executor->constant = g_array_new(FALSE, FALSE, sizeof(gboolean));
  executor->texts = g_string_chunk_new(1024);
  executor->constant_texts = g_string_chunk_new(64);
  return make_plan(executor, backend, error) ? g_steal_pointer(&executor) : NULL;
}

void pipeline_executor_free(PipelineExecutor *executor)
{
  if (executor == NULL) return;
  for (guint n = 0; n < executor->n_steps; n++) {
    Step *step = &executor->steps[n];
    pipeline_call_clear(&step->call);
    g_free(step->call.inputs);
    g_free(step->call.outputs);
    g_free(step->inputs);
    g_free(step->outputs);
  }
  g_free(executor->steps);
  for (guint i = 0; i < executor->slots->len; i++) {
    PipelineTensor *tensor = get_tensor(executor, i);
    pipeline_tensor_clear(tensor);
    g_free(tensor);
  }
  g_array_unref(executor->slots);
  g_array_unref(executor->constant);
  g_hash_table_unref(executor->slot_of);
  g_free(executor->input_slots);
  g_free(executor->output_slots);
  g_string_chunk_free(executor->texts);
  g_string_chunk_free(executor->constant_texts);
  g_free(executor);
}

/* --- running
 * ------------------------------------------------------------------------------------------------------------ */

PipelineTensor *pipeline_executor_get_input(PipelineExecutor *executor, guint index)
{
  return get_tensor(executor, executor->input_slots[index]);
}

const PipelineTensor *pipeline_executor_get_output(const PipelineExecutor *executor, guint index)
{
  return get_tensor(executor, executor->output_slots[index]);
}

void pipeline_executor_want_outputs(PipelineExecutor *executor, const gboolean *wanted)
{
  g_autofree gboolean *needed = g_new0(gboolean, executor->slots->len + 1);
  for (guint i = 0; i < executor->graph->outputs->len; i++)
    if (wanted[i]) needed[executor->output_slots[i]] = TRUE;
  for (guint n = executor->n_steps; n-- > 0;) {
    Step *step = &executor->steps[n];
    step->wanted = FALSE;
    for (guint i = 0; i < step->call.n_outputs; i++)
      if (step->outputs[i] != G_MAXUINT && needed[step->outputs[i]]) step->wanted = TRUE;
    for (guint i = 0; step->wanted && i < step->call.n_inputs; i++)
      if (step->inputs[i] != G_MAXUINT) needed[step->inputs[i]] = TRUE;
  }
}

gboolean pipeline_executor_run(PipelineExecutor *executor, gboolean lenient, GError **error)
{
  reset_budget(executor);
  g_string_chunk_clear(executor->texts);
  for (guint n = 0; n < executor->n_steps; n++) {
    Step *step = &executor->steps[n];
    step->call.lenient = lenient;
    if (step->wanted && !step->constant && !run_step(step, error)) return FALSE;
  }
  return TRUE;
}

const PipelineTensor *pipeline_executor_get_value(const PipelineExecutor *executor, const gchar *name)
{
  return get_tensor(executor, find_slot(executor, name));
}

const PipelineTensor *pipeline_executor_get_constant(const PipelineExecutor *executor, const gchar *name)
{
  guint slot = find_slot(executor, name);
  return slot != G_MAXUINT && is_constant(executor, slot) ? get_tensor(executor, slot) : NULL;
}
