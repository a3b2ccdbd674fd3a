/* A pass whose backend has memory of its own: what stays there, and what a recorded step needs before it is replayed.
 */
#include "pipeline/graph_device.h"
#include "pipeline/graph_pass_internal.h"

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
