/* Units that can be removed from a graph, and their removal from everything that they run through. */
#include <math.h>
#include <string.h>

#include "onnx/compress.h"
#include "onnx/product.h"

/* Operators that treat every unit by itself. shape: only the arrangement changes, or nothing when predicting. */
static const struct {
  const gchar *op_type;
  gboolean shape;
} passing[] = {
    {"Relu", FALSE},          {"LeakyRelu", FALSE},   {"Elu", FALSE},
    {"Selu", FALSE},          {"Gelu", FALSE},        {"Sigmoid", FALSE},
    {"HardSigmoid", FALSE},   {"Tanh", FALSE},        {"Softplus", FALSE},
    {"Erf", FALSE},           {"Abs", FALSE},         {"Clip", FALSE},
    {"MaxPool", FALSE},       {"AveragePool", FALSE}, {"GlobalAveragePool", FALSE},
    {"GlobalMaxPool", FALSE}, {"Dropout", TRUE},      {"Identity", TRUE},
};

typedef struct {
  const OnnxGraph *graph;
  OnnxUnits *units;
  const gchar *value; /* so far */
  gboolean conv, flat;
} Walk;

static void units_free(gpointer data)
{
  OnnxUnits *units = data;
  g_free(units->name);
  g_free(units->activation);
  g_array_unref(units->slices);
  g_free(units);
}

static void slice_clear(gpointer slice)
{
  g_free(((OnnxUnitSlice *)slice)->name);
}

/* FALSE: something else reads the tensor too. */
static gboolean add_slice(Walk *walk, const OnnxTensor *tensor, guint axis, gsize block, gboolean incoming)
{
  OnnxUnitSlice slice = {g_strdup(tensor->name), axis, block, incoming};
  g_array_append_val(walk->units->slices, slice);
  return onnx_graph_count_readers(walk->graph, tensor->name) == 1;
}

static const OnnxTensor *find_floats(const OnnxGraph *graph, const gchar *name)
{
  const OnnxTensor *tensor = name != NULL ? onnx_graph_find_initialiser(graph, name) : NULL;
  return tensor != NULL && tensor->type == ONNX_TYPE_FLOAT ? tensor : NULL;
}

/* A constant beside the units: one number for all, or one a unit along the axis that they have in the value. */
static gboolean pass_constant(Walk *walk, const OnnxNode *node)
{
  guint side = strcmp(onnx_node_get_input(node, 0), walk->value) == 0 ? 1 : 0;
  const OnnxTensor *tensor = find_floats(walk->graph, onnx_node_get_input(node, side));
  if (tensor == NULL || walk->flat) return FALSE;
  gsize n = onnx_tensor_get_n_elements(tensor);
  if (n == 1) return TRUE;
  for (guint d = 0; d < tensor->n_dims; d++) {
    gboolean placed = walk->conv ? d + 3 <= tensor->n_dims : d + 1 == tensor->n_dims;
    if (placed && n == walk->units->n_units && (gsize)tensor->dims[d] == n) return add_slice(walk, tensor, d, 1, FALSE);
  }
  return FALSE;
}

static gboolean pass_normalisation(Walk *walk, const OnnxNode *node)
{
  for (guint i = 1; i < 5; i++) {
    const OnnxTensor *tensor = find_floats(walk->graph, onnx_node_get_input(node, i));
    if (tensor == NULL || onnx_tensor_get_n_elements(tensor) != walk->units->n_units || tensor->n_dims != 1 ||
        !add_slice(walk, tensor, 0, 1, FALSE))
      return FALSE;
  }
  return !walk->flat && strcmp(onnx_node_get_input(node, 0), walk->value) == 0;
}

/* Flatten behind the batch, or a Reshape to [batch, −1]. */
static gboolean pass_flatten(Walk *walk, const OnnxNode *node)
{
  if (onnx_node_is(node, "Flatten")) return onnx_node_get_int(node, "axis", 1) == 1;
  const OnnxTensor *shape = onnx_graph_find_initialiser(walk->graph, onnx_node_get_input(node, 1));
  if (shape == NULL || shape->type != ONNX_TYPE_INT64 || onnx_tensor_get_n_elements(shape) != 2) return FALSE;
  const gint64 *sizes = g_bytes_get_data(shape->bytes, NULL);
  return sizes[1] == -1;
}

static gboolean pass(Walk *walk, const OnnxNode *node)
{
  static const gchar *const with_constants[] = {"Add", "Sub", "Mul", "Div", NULL};
  for (gsize i = 0; i < G_N_ELEMENTS(passing); i++) {
    if (!onnx_node_is(node, passing[i].op_type)) continue;
    if (!passing[i].shape && !walk->flat) {
      g_free(walk->units->activation);
      walk->units->activation = g_strdup(onnx_node_get_output(node, 0));
    }
    return TRUE;
  }
  if (onnx_node_is(node, "Flatten") || onnx_node_is(node, "Reshape")) {
    gboolean good = pass_flatten(walk, node);
    walk->flat = walk->flat || walk->conv;
    return good;
  }
  if (node->domain[0] != '\0') return FALSE;
  if (onnx_node_is(node, "BatchNormalization")) return pass_normalisation(walk, node);
  return g_strv_contains(with_constants, node->op_type) && pass_constant(walk, node);
}

/* The next layer takes the units: TRUE, and the walk is at its end. */
static gboolean arrive(Walk *walk, const OnnxNode *node, const OnnxProduct *product)
{
  gboolean conv = onnx_node_is(node, "Conv");
  gsize n = walk->units->n_units, inputs = (gsize)product->n_inputs, block = inputs / n;
  if (strcmp(onnx_node_get_input(node, 0), walk->value) != 0 || inputs % n != 0 || (!walk->flat && block != 1))
    return FALSE;
  if (conv != (walk->conv && !walk->flat) || (conv && onnx_node_get_int(node, "group", 1) != 1)) return FALSE;
  return add_slice(walk, product->weight, product->input_axis, block, FALSE);
}

static OnnxUnits *walk_from(const OnnxGraph *graph, const OnnxNode *node)
{
  OnnxProduct product;
  if (!onnx_product_read(graph, node, &product) || !product.own_bias) return NULL;
  OnnxUnits *units = g_new0(OnnxUnits, 1);
  units->slices = g_array_new(FALSE, FALSE, sizeof(OnnxUnitSlice));
  g_array_set_clear_func(units->slices, slice_clear);
  units->name = g_strdup(product.weight->name);
  units->n_units = (guint)product.n_outputs;
  units->activation = g_strdup(onnx_node_get_output(node, 0));
  Walk walk = {
      .graph = graph, .units = units, .value = onnx_node_get_output(node, 0), .conv = onnx_node_is(node, "Conv")};
  units->image = walk.conv;
  gboolean good = onnx_node_get_int(node, "group", 1) == 1 && add_slice(&walk, product.weight, product.axis, 1, TRUE) &&
                  (product.bias == NULL || add_slice(&walk, product.bias, product.bias->n_dims - 1, 1, FALSE));
  while (good) {
    const OnnxNode *reader = onnx_graph_find_only_reader(graph, walk.value);
    OnnxProduct next;
    if (reader != NULL && onnx_product_read(graph, reader, &next)) {
      if (arrive(&walk, reader, &next)) return units;
      break;
    }
    good = reader != NULL && pass(&walk, reader);
    if (good) walk.value = onnx_node_get_output(reader, 0);
  }
  units_free(units);
  return NULL;
}

GPtrArray *onnx_graph_find_units(const OnnxGraph *graph)
{
  GPtrArray *all = g_ptr_array_new_with_free_func(units_free);
  for (guint n = 0; n < graph->nodes->len; n++) {
    OnnxUnits *units = walk_from(graph, g_ptr_array_index(graph->nodes, n));
    if (units != NULL) g_ptr_array_add(all, units);
  }
  return all;
}

/* Elements behind the axis. */
static gsize inner_of(const OnnxTensor *tensor, guint axis)
{
  gsize inner = 1;
  for (guint d = axis + 1; d < tensor->n_dims; d++) inner *= (gsize)tensor->dims[d];
  return inner;
}

double *onnx_units_norms(const OnnxGraph *graph, const OnnxUnits *units)
{
  double *norms = g_new0(double, units->n_units);
  for (guint s = 0; s < units->slices->len; s++) {
    const OnnxUnitSlice *slice = &g_array_index(units->slices, OnnxUnitSlice, s);
    const OnnxTensor *tensor = onnx_graph_find_initialiser(graph, slice->name);
    if (!slice->incoming) continue;
    g_autofree float *values = onnx_tensor_to_floats(tensor, NULL);
    gsize n = onnx_tensor_get_n_elements(tensor), inner = inner_of(tensor, slice->axis);
    for (gsize i = 0; i < n; i++) norms[i / inner / slice->block % units->n_units] += fabs((double)values[i]);
  }
  return norms;
}

static OnnxTensor *gather(const OnnxTensor *tensor, const OnnxUnitSlice *slice, guint n_units, const gboolean *kept)
{
  gsize inner = inner_of(tensor, slice->axis), n = onnx_tensor_get_n_elements(tensor), filled = 0;
  g_autofree float *from = onnx_tensor_to_floats(tensor, NULL), *to = g_new(float, n);
  gint64 dims[ONNX_MAX_DIMENSIONS], left = 0;
  for (guint u = 0; u < n_units; u++) left += kept[u] ? (gint64)slice->block : 0;
  for (guint d = 0; d < tensor->n_dims; d++) dims[d] = d == slice->axis ? left : tensor->dims[d];
  for (gsize i = 0; i < n; i++)
    if (kept[i / inner % (gsize)tensor->dims[slice->axis] / slice->block]) to[filled++] = from[i];
  return onnx_tensor_new(tensor->name, ONNX_TYPE_FLOAT, tensor->n_dims, dims, to);
}

void onnx_graph_keep_units(OnnxGraph *graph, const OnnxUnits *units, const gboolean *kept)
{
  for (guint s = 0; s < units->slices->len; s++) {
    const OnnxUnitSlice *slice = &g_array_index(units->slices, OnnxUnitSlice, s);
    const OnnxTensor *tensor = onnx_graph_find_initialiser(graph, slice->name);
    onnx_graph_take_initialiser(graph, gather(tensor, slice, units->n_units, kept));
  }
  g_ptr_array_set_size(graph->values, 0);
}
