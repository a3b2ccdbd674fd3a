/* Backward through the steps of a pass, and gradients that meet. */
#include <string.h>

#include "pipeline/graph_pass_internal.h"

static gboolean is_first_use(const PipelinePassStep *step, guint index)
{
  for (guint i = 0; i < index; i++)
    if (step->inputs[i] == step->inputs[index] && step->call.input_gradients[i] != NULL) return FALSE;
  return TRUE;
}

/* Where each input's gradient goes: its own memory, or a second one when there already is a part of it. */
static gboolean provide_inputs(PipelineGraphPass *pass, PipelinePassStep *step, GError **error)
{
  guint32 mask = step->call.gradient->inputs;
  for (guint i = 0; i < step->call.call.n_inputs; i++) {
    PipelinePassValue *value = pipeline_pass_get_value(pass, step->inputs[i]);
    gboolean has = mask == PIPELINE_GRADIENT_ALL || (i < 31 && (mask & (1u << i)) != 0);
    step->call.input_gradients[i] = NULL;
    if (value == NULL || !value->needs || !has) continue;
    if (!pipeline_pass_provide_gradient(pass, value, error)) return FALSE;
    if (!value->written && is_first_use(step, i)) {
      step->call.input_gradients[i] = &value->gradient;
      continue;
    }
    PipelineTensor *second = &step->second[i];
    if (!pipeline_tensor_set_shape(second, ONNX_TYPE_FLOAT, value->tensor.n_dims, value->tensor.dims, error) ||
        !pipeline_pass_provide(pass, second, &step->second_buffers[i], &step->second_capacities[i], error))
      return FALSE;
    step->call.input_gradients[i] = second;
  }
  return TRUE;
}

/* gradient += second, in their common layout or row by row. */
static gboolean add_second(PipelineGraphPass *pass, PipelinePassStep *step, guint index, PipelinePassValue *value,
                           GError **error)
{
  PipelineTensor *second = &step->second[index];
  gconstpointer layout = step->call.input_gradient_layouts[index];
  const PipelineGradientMemory *memory = pass->backend->memory;
  if (layout != NULL && value->layouts[1] != NULL && pass->backend->same_layout(layout, value->layouts[1]))
    return memory->add(pass->device, value->gradient.data, second->data, pass->backend->layout_elements(layout), error);
  if (!pipeline_pass_make_plain(pass, value, 1, error)) return FALSE;
  if (layout == NULL) return memory->add(pass->device, value->gradient.data, second->data, second->n, error);
  PipelinePassValue packed = {.tensor = *second, .layouts = {layout}}; /* a row by row copy for this once */
  gboolean done = pipeline_pass_make_plain(pass, &packed, 0, error) &&
                  memory->add(pass->device, value->gradient.data, packed.tensor.data, second->n, error);
  if (packed.buffers[0] != NULL) memory->release(pass->device, packed.buffers[0]);
  return done;
}

static gboolean add_seconds(PipelineGraphPass *pass, PipelinePassStep *step, GError **error)
{
  for (guint i = 0; i < step->call.call.n_inputs; i++) {
    if (step->call.input_gradients[i] == NULL) continue;
    PipelinePassValue *value = pipeline_pass_get_known(pass, step->inputs[i]);
    value->written = TRUE;
    if (step->call.input_gradients[i] == &value->gradient)
      value->layouts[1] = step->call.input_gradient_layouts[i];
    else if (!add_second(pass, step, i, value, error))
      return FALSE;
  }
  return TRUE;
}

/* Kernels may rely on the gradient of their first output. */
static gboolean provide_zero(PipelineGraphPass *pass, PipelinePassStep *step, GError **error)
{
  PipelinePassValue *value = pipeline_pass_get_known(pass, step->outputs[0]);
  step->call.output_gradients[0] = &value->gradient;
  return pipeline_pass_provide_gradient(pass, value, error) &&
         pass->backend->memory->clear(pass->device, value->gradient.data, value->tensor.n * sizeof(float), error);
}

/* The reference's backward on copies of the gradients; those of the inputs go back. */
static gboolean backward_on_host(PipelineGraphPass *pass, PipelinePassStep *step, GError **error)
{
  PipelineGradientCall *call = &step->call;
  const PipelineGradientMemory *memory = pass->backend->memory;
  guint n = call->call.n_inputs, all = n + call->call.n_outputs;
  g_autofree PipelineTensor **there = g_memdup2(call->input_gradients, (n + 1) * sizeof *there);
  if (step->copies == NULL) step->copies = g_new0(PipelineTensor, all + 1);
  for (guint i = 0; i < all; i++) {
    const PipelineTensor *gradient = i < n ? call->input_gradients[i] : call->output_gradients[i - n];
    PipelineTensor *copy = &step->copies[i];
    if (gradient == NULL) continue;
    if (!pipeline_tensor_set_shape(copy, gradient->type, gradient->n_dims, gradient->dims, error) ||
        !pipeline_tensor_allocate(copy, error))
      return FALSE;
    if (i < n)
      call->input_gradients[i] = copy;
    else if (memory->copy_out(pass->device, copy->data, gradient->data, gradient->n * sizeof(float), error))
      call->output_gradients[i - n] = copy;
    else
      return FALSE;
  }
  if (!pipeline_gradient_backward(call, &pipeline_gradient_backend_reference, error)) return FALSE;
  for (guint i = 0; i < n; i++) {
    call->input_gradients[i] = there[i];
    if (there[i] != NULL &&
        !memory->copy_in(pass->device, there[i]->data, step->copies[i].data, there[i]->n * sizeof(float), error))
      return FALSE;
  }
  return TRUE;
}

static gboolean run_backward(PipelineGraphPass *pass, PipelinePassStep *step, GError **error)
{
  gboolean any = FALSE;
  for (guint i = 0; i < step->call.call.n_outputs; i++) {
    const PipelinePassValue *value = pipeline_pass_get_value(pass, step->outputs[i]);
    step->call.output_gradients[i] = value != NULL && value->written ? &value->gradient : NULL;
    any = any || step->call.output_gradients[i] != NULL;
  }
  if (!any) return TRUE; /* what it computes does not reach a head in this graph */
  if (step->call.output_gradients[0] == NULL && !provide_zero(pass, step, error))
    return pipeline_pass_fail_step(step, error);
  gboolean done = provide_inputs(pass, step, error);
  if (done && step->on_host)
    done = backward_on_host(pass, step, error);
  else if (done)
    done = pipeline_pass_offer_layouts(pass, step, TRUE, error) &&
           pipeline_gradient_backward(&step->call, pass->backend, error);
  return (done && add_seconds(pass, step, error)) || pipeline_pass_fail_step(step, error);
}

void pipeline_graph_pass_set_slice(PipelineGraphPass *pass, const PipelineGradientSlice *slice)
{
  pass->slice = slice;
}

void pipeline_graph_pass_set_ready(PipelineGraphPass *pass, PipelineGraphPassReadyFunc ready, gpointer data)
{
  pass->ready = ready;
  pass->ready_data = data;
}

void pipeline_pass_find_first_steps(PipelineGraphPass *pass)
{
  for (guint i = 0; i < pass->n_wanted; i++) pipeline_pass_get_known(pass, pass->wanted[i])->first_step = G_MAXUINT;
  for (guint n = pass->n_steps; n-- > 0;)
    for (guint i = 0; pass->steps[n].differentiated && i < pass->steps[n].call.call.n_inputs; i++) {
      PipelinePassValue *value = pipeline_pass_get_value(pass, pass->steps[n].inputs[i]);
      if (value != NULL) value->first_step = n;
    }
}

/* The gradient of wanted[index] row by row, 0 where no head asked for it. */
static gboolean complete_wanted(PipelineGraphPass *pass, guint index, GError **error)
{
  PipelinePassValue *value = pipeline_pass_get_known(pass, pass->wanted[index]);
  const PipelineGradientMemory *memory = pass->backend->memory;
  if (!pipeline_pass_make_plain(pass, value, 1, error)) return FALSE;
  return value->written || (pipeline_pass_provide_gradient(pass, value, error) &&
                            memory->clear(pass->device, value->gradient.data, value->tensor.n * sizeof(float), error));
}

/* Those that no step before `step` (in front of it in the graph) adds to. */
static gboolean complete_after(PipelineGraphPass *pass, guint step, GError **error)
{
  for (guint i = 0; i < pass->n_wanted; i++) {
    if (pipeline_pass_get_known(pass, pass->wanted[i])->first_step != step) continue;
    if (!complete_wanted(pass, i, error)) return FALSE;
    if (pass->ready != NULL && pass->backend->host && !pass->ready(i, pass->ready_data, error)) return FALSE;
  }
  return TRUE;
}

gboolean pipeline_graph_pass_backward(PipelineGraphPass *pass, const float *const *head_gradients, GError **error)
{
  const PipelineGradientMemory *memory = pass->backend->memory;
  for (guint i = 0; i < pass->values->len; i++) {
    pipeline_pass_get_known(pass, i)->written = FALSE;
    pipeline_pass_get_known(pass, i)->layouts[1] = NULL;
  }
  for (guint i = 0; i < pass->n_heads; i++) {
    PipelinePassValue *value = pipeline_pass_get_known(pass, pass->heads[i]);
    if (head_gradients == NULL) { /* it is there already */
      value->written = TRUE;
      continue;
    }
    if (head_gradients[i] == NULL) continue;
    if (!pipeline_pass_provide_gradient(pass, value, error) ||
        !memory->copy_in(pass->device, value->gradient.data, head_gradients[i], value->tensor.n * sizeof(float), error))
      return FALSE;
    value->written = TRUE;
  }
  if (!complete_after(pass, G_MAXUINT, error)) return FALSE;
  for (guint n = pass->n_steps; n-- > 0;)
    if (pass->steps[n].differentiated &&
        !(run_backward(pass, &pass->steps[n], error) && complete_after(pass, n, error)))
      return FALSE;
  if (!pipeline_pass_copy_parameters(pass, FALSE, error)) return FALSE;
  for (guint i = 0; pass->ready != NULL && !pass->backend->host && i < pass->n_wanted; i++)
    if (!pass->ready(i, pass->ready_data, error)) return FALSE;
  return TRUE;
}
