/* A pass whose backend has memory of its own: what stays there, and what a recorded step needs before it is replayed.
 */
#include "pipeline/graph_device.h"
#include "pipeline/graph_pass_internal.h"

#include <string.h>

static gboolean is_input(const PipelineGraphPass *pass, guint value)
{
  for (guint i = 0; i < pass->graph->inputs->len; i++)
    if (pass->inputs[i] == value) return TRUE;
  return FALSE;
}

void pipeline_graph_pass_keep_heads(PipelineGraphPass *pass, gboolean keep)
{
  pass->keep_heads = keep;
}

const PipelineTensor *pipeline_graph_pass_get_device_head(const PipelineGraphPass *pass, guint index)
{
  return &pipeline_pass_get_known(pass, pass->heads[index])->tensor;
}

float *pipeline_graph_pass_get_head_gradient(PipelineGraphPass *pass, guint index, GError **error)
{
  PipelinePassValue *value = pipeline_pass_get_known(pass, pass->heads[index]);
  return pipeline_pass_provide_gradient(pass, value, error) ? value->gradient.data : NULL;
}

gpointer pipeline_graph_pass_get_device(PipelineGraphPass *pass)
{
  return pass->device;
}

float *pipeline_graph_pass_get_device_input(PipelineGraphPass *pass, guint index)
{
  return pipeline_pass_get_known(pass, pass->inputs[index])->tensor.data;
}

const float *pipeline_graph_pass_get_device_gradient(PipelineGraphPass *pass, guint index)
{
  return pipeline_pass_get_known(pass, pass->wanted[index])->gradient.data;
}

void pipeline_graph_pass_invalidate(PipelineGraphPass *pass)
{
  for (guint i = 0; i < pass->values->len; i++) {
    PipelinePassValue *value = pipeline_pass_get_known(pass, i);
    gboolean keeps = (value->constant && !value->needs) || is_input(pass, i); /* inputs are set here */
    if (!keeps) value->mirrored = FALSE;
  }
  for (guint n = 0; n < pass->n_steps; n++) pass->steps[n].call.refreshed = FALSE;
}

gchar *pipeline_graph_pass_list_mirrored(const PipelineGraphPass *pass)
{
  g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
  GString *list = g_string_new("");
  for (guint n = 0; n < pass->n_steps; n++) {
    const gchar *name = pass->steps[n].call.call.node->op_type;
    if (pass->steps[n].on_host && g_hash_table_add(seen, (gpointer)name))
      g_string_append_printf(list, "%s%s", list->len > 0 ? ", " : "", name);
  }
  return g_string_free(list, FALSE);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static void release_buffer(const PipelineGraphPass *pass, gpointer *buffer, gsize *capacity)
{
  if (*buffer != NULL) pass->backend->memory->release(pass->device, *buffer);
  *buffer = NULL;
  *capacity = 0;
}

static void release_value(const PipelineGraphPass *pass, PipelinePassValue *value, gboolean computed)
{
  for (guint k = computed ? 0 : 1; k < 2; k++) {
    release_buffer(pass, &value->buffers[k], &value->capacities[k]);
    release_buffer(pass, &value->spares[k], &value->spare_capacities[k]);
  }
  if (!computed) return;
  if (value->tensor.type == ONNX_TYPE_FLOAT) value->tensor.data = NULL;
  value->mirrored = FALSE;
}

void pipeline_graph_pass_release(PipelineGraphPass *pass)
{
  for (guint n = 0; n < pass->n_steps; n++) {
    PipelinePassStep *step = &pass->steps[n];
    for (guint i = 0; i < step->call.call.n_inputs; i++)
      release_buffer(pass, &step->second_buffers[i], &step->second_capacities[i]);
    if (!step->wanted || pipeline_pass_is_constant_step(pass, step)) continue;
    pipeline_gradient_call_clear(&step->call);
    for (guint i = 0; i < step->call.call.n_outputs; i++)
      if (step->outputs[i] != G_MAXUINT) release_value(pass, pipeline_pass_get_known(pass, step->outputs[i]), TRUE);
  }
  for (guint i = 0; i < pass->values->len; i++) release_value(pass, pipeline_pass_get_known(pass, i), FALSE);
  for (guint i = 0; !pass->backend->host && i < pass->graph->inputs->len; i++)
    if (!pipeline_pass_get_known(pass, pass->inputs[i])->constant)
      release_value(pass, pipeline_pass_get_known(pass, pass->inputs[i]), TRUE);
  if (pass->backend->memory->trim != NULL) pass->backend->memory->trim(pass->device);
}

gboolean pipeline_graph_pass_uses_batch(const PipelineGraphPass *pass)
{
  for (guint n = 0; n < pass->n_steps; n++) {
    const PipelineGradientCall *call = &pass->steps[n].call;
    if (pass->steps[n].wanted && !call->frozen && strcmp(call->call.node->op_type, "BatchNormalization") == 0)
      return TRUE;
  }
  return FALSE;
}

/* --- in front of a replay
 * --------------------------------------------------------------------------------------------- */

/* A step on this side takes nothing from the device but inputs, which are here too, and gives it nothing. */
static gboolean is_apart(const PipelineGraphPass *pass, const PipelinePassStep *step)
{
  for (guint i = 0; i < step->call.call.n_inputs; i++) {
    const PipelinePassValue *value = pipeline_pass_get_value(pass, step->inputs[i]);
    if (value != NULL && value->tensor.type == ONNX_TYPE_FLOAT && !value->constant && !is_input(pass, step->inputs[i]))
      return FALSE;
  }
  for (guint i = 0; i < step->call.call.n_outputs; i++) {
    const PipelinePassValue *value = pipeline_pass_get_value(pass, step->outputs[i]);
    if (value != NULL && value->tensor.type == ONNX_TYPE_FLOAT) return FALSE;
  }
  return TRUE;
}

gboolean pipeline_graph_pass_can_refresh(const PipelineGraphPass *pass)
{
  for (guint n = 0; n < pass->n_steps; n++) {
    const PipelinePassStep *step = &pass->steps[n];
    if (!step->wanted || pipeline_pass_is_constant_step(pass, step)) continue;
    if (step->on_host && !is_apart(pass, step)) return FALSE;
  }
  return TRUE;
}

gboolean pipeline_graph_pass_refresh(PipelineGraphPass *pass, PipelineRandom *random, GError **error)
{
  guint64 bytes = 0;
  for (guint n = 0; n < pass->n_steps; n++) {
    PipelinePassStep *step = &pass->steps[n];
    if (!step->wanted || pipeline_pass_is_constant_step(pass, step)) continue;
    step->call.training = TRUE;
    step->call.random = random;
    if (step->on_host) {
      if (!pipeline_pass_run_forward(pass, step, &bytes, error)) return FALSE;
      continue;
    }
    if (!pass->backend->graph->refresh(&step->call, error)) return pipeline_pass_fail_step(step, error);
    step->call.refreshed = TRUE;
  }
  return TRUE;
}
