#include <math.h>
#include <string.h>

#include "pipeline/transform_table.h"

static gchar *new_name(PipelineEmit *emit, const gchar *what)
{
  gchar *name = g_strdup_printf("%s.%s_%u", emit->prefix, what, ++emit->number);
  g_ptr_array_add(emit->names, name);
  return name;
}

const gchar *pipeline_emit_node(PipelineEmit *emit, const gchar *domain, const gchar *op_type,
                                const gchar *const *inputs, guint n_inputs, OnnxNode **last)
{
  g_autofree const gchar **list = g_new0(const gchar *, n_inputs + 1);
  memcpy(list, inputs, n_inputs * sizeof *inputs);
  const gchar *output = new_name(emit, op_type);
  OnnxNode *node = onnx_graph_add_node_strv(emit->graph, domain, op_type, list, (const gchar *const[]){output, NULL});
  if (last) *last = node;
  return output;
}

const gchar *pipeline_emit_one(PipelineEmit *emit, const gchar *op_type, const gchar *a)
{
  return pipeline_emit_node(emit, "", op_type, &a, 1, NULL);
}

const gchar *pipeline_emit_two(PipelineEmit *emit, const gchar *op_type, const gchar *a, const gchar *b)
{
  return pipeline_emit_node(emit, "", op_type, (const gchar *const[]){a, b}, 2, NULL);
}

static const gchar *take(PipelineEmit *emit, OnnxType type, guint n_dims, const gint64 *dims, gconstpointer data)
{
  const gchar *name = new_name(emit, "constant");
  onnx_graph_take_initialiser(emit->graph, onnx_tensor_new(name, type, n_dims, dims, data));
  return name;
}

const gchar *pipeline_emit_float(PipelineEmit *emit, double value)
{
  float number = (float)value;
  return take(emit, ONNX_TYPE_FLOAT, 0, NULL, &number);
}

const gchar *pipeline_emit_floats(PipelineEmit *emit, const double *values, guint n)
{
  g_autofree float *numbers = g_new(float, MAX(n, 1));
  for (guint i = 0; i < n; i++) numbers[i] = (float)values[i];
  return take(emit, ONNX_TYPE_FLOAT, 2, (const gint64[]){1, n}, numbers);
}

const gchar *pipeline_emit_integer(PipelineEmit *emit, gint64 value)
{
  return take(emit, ONNX_TYPE_INT64, 0, NULL, &value);
}

const gchar *pipeline_emit_integers(PipelineEmit *emit, const gint64 *values, guint n)
{
  return take(emit, ONNX_TYPE_INT64, 1, (const gint64[]){n}, values);
}

const gchar *pipeline_emit_cast(PipelineEmit *emit, const gchar *input, OnnxType type)
{
  OnnxNode *node;
  const gchar *output = pipeline_emit_node(emit, "", "Cast", &input, 1, &node);
  onnx_node_set_int(node, "to", type);
  return output;
}

const gchar *pipeline_emit_concat(PipelineEmit *emit, const gchar *const *inputs, guint n)
{
  OnnxNode *node;
  if (n == 1) return inputs[0];
  const gchar *output = pipeline_emit_node(emit, "", "Concat", inputs, n, &node);
  onnx_node_set_int(node, "axis", 1);
  return output;
}

const gchar *pipeline_emit_seconds(PipelineEmit *emit, const gchar *input)
{
  const double missing = NAN;
  const gchar *is_missing = pipeline_emit_two(emit, "Equal", input, pipeline_emit_integer(emit, G_MININT64));
  const gchar *inputs[] = {is_missing, take(emit, ONNX_TYPE_DOUBLE, 0, NULL, &missing),
                           pipeline_emit_cast(emit, input, ONNX_TYPE_DOUBLE)};
  return pipeline_emit_node(emit, "", "Where", inputs, G_N_ELEMENTS(inputs), NULL);
}
