/* What memory of a device a training step will take, by the shapes of a forward. */
#include "pipeline/graph_device.h"
#include "pipeline/graph_pass_internal.h"

static void add_piece(GArray *pieces, PipelinePassPieceKind kind, guint64 bytes)
{
  const PipelinePassPiece piece = {kind, bytes};
  g_array_append_val(pieces, piece);
}

static gboolean has_gradient(const PipelinePassStep *step, guint input, const PipelinePassValue *value)
{
  guint32 mask = step->call.gradient->inputs;
  return value != NULL && value->needs &&
         (mask == PIPELINE_GRADIENT_ALL || (input < 31 && (mask & (1u << input)) != 0));
}

/* How many gradients meet at each value; heads have one from the loss. New, [values]. */
static guint *count_gradients(const PipelineGraphPass *pass)
{
  guint *counts = g_new0(guint, pass->values->len + 1);
  for (guint i = 0; i < pass->n_heads; i++) counts[pass->heads[i]]++;
  for (guint n = 0; n < pass->n_steps; n++) {
    const PipelinePassStep *step = &pass->steps[n];
    for (guint i = 0; step->differentiated && i < step->call.call.n_inputs; i++)
      if (has_gradient(step, i, pipeline_pass_get_value(pass, step->inputs[i]))) counts[step->inputs[i]]++;
  }
  return counts;
}

/* A second gradient has memory of its own until it is added to the first. */
static void add_gradients(GArray *pieces, const PipelinePassValue *value, guint count)
{
  for (guint i = value->device_gradients != NULL ? 1 : 0; i < count; i++)
    add_piece(pieces, PIPELINE_PASS_GRADIENT, value->tensor.n * sizeof(float));
}

static gboolean is_computed(const PipelineGraphPass *pass, const PipelinePassStep *step)
{
  return step->wanted && !pipeline_pass_is_constant_step(pass, step);
}

GArray *pipeline_graph_pass_list_pieces(PipelineGraphPass *pass)
{
  GArray *pieces = g_array_new(FALSE, FALSE, sizeof(PipelinePassPiece));
  g_autofree guint *counts = count_gradients(pass);
  for (guint i = 0; i < pass->graph->inputs->len; i++) {
    const PipelinePassValue *value = pipeline_pass_get_known(pass, pass->inputs[i]);
    if (!value->constant && value->tensor.type == ONNX_TYPE_FLOAT)
      add_piece(pieces, PIPELINE_PASS_VALUE, value->tensor.n * sizeof(float));
  }
  for (guint n = 0; n < pass->n_steps; n++) {
    PipelinePassStep *step = &pass->steps[n];
    PipelineGraphNeed need = {0};
    if (!is_computed(pass, step)) continue;
    for (guint i = 0; i < step->call.call.n_outputs; i++) {
      const PipelinePassValue *value = pipeline_pass_get_value(pass, step->outputs[i]);
      if (value != NULL && value->tensor.type == ONNX_TYPE_FLOAT)
        add_piece(pieces, PIPELINE_PASS_VALUE, value->tensor.n * sizeof(float));
    }
    if (!step->on_host) pass->backend->graph->need(&step->call, 1, &need);
    add_piece(pieces, PIPELINE_PASS_KEPT, need.kept);
  }
  for (guint i = 0; i < pass->values->len; i++) add_gradients(pieces, pipeline_pass_get_known(pass, i), counts[i]);
  return pieces;
}

guint64 pipeline_graph_pass_find_workspace(PipelineGraphPass *pass, double growth)
{
  gsize most = 0;
  for (guint n = 0; n < pass->n_steps; n++) {
    PipelinePassStep *step = &pass->steps[n];
    PipelineGraphNeed need = {0};
    if (is_computed(pass, step) && !step->on_host) pass->backend->graph->need(&step->call, growth, &need);
    most = MAX(most, need.workspace);
  }
  return most;
}
