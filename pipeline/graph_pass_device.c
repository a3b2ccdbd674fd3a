/* A pass whose backend has memory of its own: what stays there, and what a recorded step needs before it is replayed.
 */
#include "pipeline/graph_pass_internal.h"

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
    if (!value->constant || value->needs) value->mirrored = FALSE;
  }
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
