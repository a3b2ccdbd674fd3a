/* Static quantisation: which values and nodes, and the QuantizeLinear and DequantizeLinear around them.
 * Source of the arithmetic: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
 * Integer-Arithmetic-Only Inference"; of the places of the pairs: ONNX Runtime's QDQ format
 * (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html). */
#include <float.h>
#include <math.h>
#include <string.h>

#include "onnx/compress.h"
#include "onnx/product.h"

/* Nodes between products that compute on 8 bits as they are. same: the output is made of the input's elements, so that
 * it keeps their scale. */
static const struct {
  const gchar *op_type;
  gboolean same;
} passing[] = {
    {"MaxPool", TRUE},   {"Flatten", TRUE},  {"Reshape", TRUE},      {"Transpose", TRUE},          {"Squeeze", TRUE},
    {"Unsqueeze", TRUE}, {"Identity", TRUE}, {"AveragePool", FALSE}, {"GlobalAveragePool", FALSE},
};

static gint find_passing(const OnnxNode *node)
{
  for (gsize i = 0; i < G_N_ELEMENTS(passing); i++)
    if (onnx_node_is(node, passing[i].op_type)) return (gint)i;
  return -1;
}

/* --- what is kept in floating point ------------------------------------------------------------------------------- */

static gboolean is_kept(const OnnxQuantizeOptions *options, const OnnxNode *node, const OnnxTensor *weight,
                        gboolean first, gboolean last, gboolean *used)
{
  gboolean kept = FALSE;
  for (guint i = 0; options->keep != NULL && options->keep[i] != NULL; i++) {
    const gchar *pattern = options->keep[i];
    gboolean found = (first && strcmp(pattern, "first") == 0) || (last && strcmp(pattern, "last") == 0) ||
                     g_pattern_match_simple(pattern, node->name) || g_pattern_match_simple(pattern, weight->name);
    used[i] = used[i] || found;
    kept = kept || found;
  }
  return kept;
}

static gboolean check_used(const OnnxQuantizeOptions *options, const gboolean *used, GError **error)
{
  for (guint i = 0; options->keep != NULL && options->keep[i] != NULL; i++) {
    if (used[i]) continue;
    g_set_error(error, ONNX_ERROR, ONNX_ERROR_INVALID,
                "no layer matches '%s', which is to stay in floating point; write first, last, or a pattern of names "
                "of nodes or weights",
                options->keep[i]);
    return FALSE;
  }
  return TRUE;
}

static gboolean choose_products(OnnxQuantizePlan *plan, const OnnxGraph *graph, const OnnxQuantizeOptions *options,
                                GError **error)
{
  g_autoptr(GPtrArray) products = g_ptr_array_new();
  OnnxProduct product;
  for (guint n = 0; n < graph->nodes->len; n++) {
    OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    if (onnx_product_read(graph, node, &product)) g_ptr_array_add(products, node);
  }
  if (products->len == 0) {
    g_set_error_literal(error, ONNX_ERROR, ONNX_ERROR_UNSUPPORTED,
                        "the model has no Conv, Gemm or MatMul with constant float weights, which is what 8 bits make "
                        "smaller");
    return FALSE;
  }
  g_autofree gboolean *used = g_new0(gboolean, options->keep != NULL ? g_strv_length((gchar **)options->keep) + 1 : 1);
  for (guint i = 0; i < products->len; i++) {
    OnnxNode *node = g_ptr_array_index(products, i);
    onnx_product_read(graph, node, &product);
    if (is_kept(options, node, product.weight, i == 0, i + 1 == products->len, used))
      plan->n_kept++;
    else
      g_hash_table_add(plan->nodes, node);
  }
  plan->n_products = products->len - plan->n_kept;
  if (!check_used(options, used, error)) return FALSE;
  if (plan->n_products > 0) return TRUE;
  g_set_error(error, ONNX_ERROR, ONNX_ERROR_UNSUPPORTED,
              "all %u layers of the model are to stay in floating point: nothing is left for 8 bits", products->len);
  return FALSE;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

/* Values that come out of 8-bit products and sums, also through Relu and what passes; sums join the nodes. */
static GHashTable *follow(OnnxQuantizePlan *plan, const OnnxGraph *graph)
{
  GHashTable *derived = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint n = 0; n < graph->nodes->len; n++) {
    OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    const gchar *a = onnx_node_get_input(node, 0), *b = onnx_node_get_input(node, 1);
    gboolean from = a != NULL && g_hash_table_contains(derived, a);
    gboolean found = g_hash_table_contains(plan->nodes, node);
    if (onnx_node_is(node, "Add") && from && b != NULL && g_hash_table_contains(derived, b)) {
      g_hash_table_add(plan->nodes, node);
      plan->n_sums++;
      found = TRUE;
    }
    found = found || (from && (find_passing(node) >= 0 || onnx_node_is(node, "Relu")));
    if (found && onnx_node_get_output(node, 0) != NULL)
      g_hash_table_add(derived, (gpointer)onnx_node_get_output(node, 0));
  }
  return derived;
}

/* The Add of a constant bias that alone reads a MatMul, and the input of it that is the bias; or NULL. */
static OnnxNode *find_bias(const OnnxGraph *graph, const OnnxNode *node, guint *side)
{
  OnnxProduct product;
  const gchar *output = onnx_node_get_output(node, 0);
  OnnxNode *sum = onnx_node_is(node, "MatMul") ? onnx_graph_find_only_reader(graph, output) : NULL;
  if (sum == NULL || !onnx_node_is(sum, "Add") || !onnx_product_read(graph, node, &product)) return NULL;
  *side = g_strcmp0(onnx_node_get_input(sum, 0), output) == 0 ? 1 : 0;
  const OnnxTensor *bias = onnx_graph_find_initialiser(graph, onnx_node_get_input(sum, *side));
  gboolean good = bias != NULL && bias->type == ONNX_TYPE_FLOAT && (bias->n_dims == 1 || bias->n_dims == 2) &&
                  bias->dims[bias->n_dims - 1] == product.n_outputs &&
                  onnx_tensor_get_n_elements(bias) == (gsize)product.n_outputs;
  return good ? sum : NULL;
}

/* Behind the node, its bias and its own Relu. active: there is one. */
static const gchar *find_result(const OnnxGraph *graph, const OnnxNode *node, gboolean *active)
{
  guint side;
  const OnnxNode *bias = find_bias(graph, node, &side);
  const gchar *output = onnx_node_get_output(bias != NULL ? bias : node, 0);
  const OnnxNode *reader = onnx_graph_find_only_reader(graph, output);
  *active = reader != NULL && onnx_node_is(reader, "Relu");
  return *active ? onnx_node_get_output(reader, 0) : output;
}

static gboolean is_graph_output(const OnnxGraph *graph, const gchar *name)
{
  for (guint i = 0; i < graph->outputs->len; i++)
    if (strcmp(((const OnnxValue *)g_ptr_array_index(graph->outputs, i))->name, name) == 0) return TRUE;
  return FALSE;
}

/* Set of names of values: what products and sums take, what convolutions, sums and products with a Relu give, and what
 * lies between. The last logits stay floats. */
static GHashTable *choose_values(OnnxQuantizePlan *plan, const OnnxGraph *graph)
{
  g_autoptr(GHashTable) derived = follow(plan, graph);
  GHashTable *chosen = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint n = graph->nodes->len; n-- > 0;) {
    OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    const gchar *input = onnx_node_get_input(node, 0), *output = onnx_node_get_output(node, 0);
    if (g_hash_table_contains(plan->nodes, node)) {
      gboolean sum = onnx_node_is(node, "Add"), active;
      const gchar *result = find_result(graph, node, &active);
      g_hash_table_add(chosen, (gpointer)input);
      if (sum) g_hash_table_add(chosen, (gpointer)onnx_node_get_input(node, 1));
      if ((sum || active || onnx_node_is(node, "Conv")) && !is_graph_output(graph, result))
        g_hash_table_add(chosen, (gpointer)result);
    } else if (find_passing(node) >= 0 && output != NULL && g_hash_table_contains(chosen, output) && input != NULL &&
               g_hash_table_contains(derived, input)) {
      g_hash_table_add(chosen, (gpointer)input);
    }
  }
  return chosen;
}

static gint find_value(const OnnxQuantizePlan *plan, const gchar *name)
{
  for (guint i = 0; name != NULL && i < plan->values->len; i++)
    if (strcmp(g_array_index(plan->values, OnnxQuantizeValue, i).name, name) == 0) return (gint)i;
  return -1;
}

static void add_value(OnnxQuantizePlan *plan, const gchar *name, gint same)
{
  OnnxQuantizeValue value = {g_strdup(name), same >= 0 ? (guint)same : plan->values->len};
  g_array_append_val(plan->values, value);
}

static void list_values(OnnxQuantizePlan *plan, const OnnxGraph *graph)
{
  g_autoptr(GHashTable) chosen = choose_values(plan, graph);
  for (guint i = 0; i < graph->inputs->len; i++) {
    const gchar *name = ((const OnnxValue *)g_ptr_array_index(graph->inputs, i))->name;
    if (g_hash_table_contains(chosen, name)) add_value(plan, name, -1);
  }
  for (guint n = 0; n < graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    gint pass = find_passing(node), before = find_value(plan, onnx_node_get_input(node, 0));
    for (guint o = 0; o < node->outputs->len; o++) {
      const gchar *name = onnx_node_get_output(node, o);
      if (name == NULL || !g_hash_table_contains(chosen, name)) continue;
      gboolean shares = pass >= 0 && passing[pass].same && before >= 0;
      add_value(plan, name, shares ? (gint)g_array_index(plan->values, OnnxQuantizeValue, before).same : -1);
    }
  }
}

static void value_clear(gpointer value)
{
  g_free(((OnnxQuantizeValue *)value)->name);
}

static gboolean check_graph(const OnnxGraph *graph, GError **error)
{
  for (guint n = 0; n < graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    if (!onnx_node_is(node, "DequantizeLinear")) continue;
    g_autofree gchar *where = onnx_node_describe(node, n);
    g_set_error(error, ONNX_ERROR, ONNX_ERROR_UNSUPPORTED, "the model computes on 8 bits already (%s)", where);
    return FALSE;
  }
  gint64 opset = onnx_graph_get_opset(graph, "");
  if (opset >= 13) return TRUE;
  g_set_error(
      error, ONNX_ERROR, ONNX_ERROR_UNSUPPORTED,
      "the model's operator set is %" G_GINT64_FORMAT
      "; 8-bit weights with scales of their own for each channel need 13: export it again with opset_version 13 "
      "or later",
      opset);
  return FALSE;
}

OnnxQuantizePlan *onnx_quantize_plan_new(const OnnxGraph *graph, const OnnxQuantizeOptions *options, GError **error)
{
  g_autoptr(OnnxQuantizePlan) plan = g_new0(OnnxQuantizePlan, 1);
  plan->values = g_array_new(FALSE, FALSE, sizeof(OnnxQuantizeValue));
  g_array_set_clear_func(plan->values, value_clear);
  plan->nodes = g_hash_table_new(NULL, NULL);
  if (!check_graph(graph, error) || !choose_products(plan, graph, options, error)) return NULL;
  list_values(plan, graph);
  return g_steal_pointer(&plan);
}

void onnx_quantize_plan_free(OnnxQuantizePlan *plan)
{
  if (plan == NULL) return;
  g_array_unref(plan->values);
  g_hash_table_unref(plan->nodes);
  g_free(plan);
}

/* --- numbers ------------------------------------------------------------------------------------------------------ */

void onnx_quantize_scale(OnnxQuantizeRange range, OnnxType type, float *scale, gint *zero_point)
{
  gint lowest = type == ONNX_TYPE_UINT8 ? 0 : -128;
  double low = MIN((double)range.low, 0), high = MAX((double)range.high, 0), step = (high - low) / 255;
  if (!(step >= (double)FLT_MIN)) { /* nothing but zeros */
    *scale = 1;
    *zero_point = 0;
    return;
  }
  *scale = (float)step;
  *zero_point = CLAMP((gint)nearbyint(lowest - low / (double)*scale), lowest, lowest + 255);
}

/* A vector of one number an index, or a scalar when n is 0. */
static void take_constant(OnnxGraph *graph, const gchar *name, OnnxType type, gint64 n, gconstpointer data)
{
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, type, n > 0 ? 1 : 0, &n, data));
}

static OnnxNode *new_node(OnnxGraph *graph, const gchar *op_type, const gchar *x, const gchar *scale, const gchar *zero,
                          const gchar *y, guint position)
{
  const gchar *const inputs[] = {x, scale, zero, NULL}, *const outputs[] = {y, NULL};
  OnnxNode *node = onnx_graph_add_node_strv(graph, "", op_type, inputs, outputs);
  g_free(node->name);
  node->name = g_strdup(y);
  g_ptr_array_steal_index(graph->nodes, graph->nodes->len - 1);
  g_ptr_array_insert(graph->nodes, (gint)position, node);
  return node;
}

/* value ─▶ QuantizeLinear ─▶ DequantizeLinear ─▶ its readers. Position: behind what makes the value. */
static void quantize_value(OnnxGraph *graph, const gchar *value, OnnxType type, float scale, gint zero)
{
  g_autofree gchar *scale_name = g_strdup_printf("kedge.int8.%s.scale", value),
                   *zero_name = g_strdup_printf("kedge.int8.%s.zero", value),
                   *integers = g_strdup_printf("kedge.int8.%s.quantized", value),
                   *floats = g_strdup_printf("kedge.int8.%s.dequantized", value), *own = g_strdup(value);
  const gint8 small = (gint8)zero; /* UINT8: the same bits */
  take_constant(graph, scale_name, ONNX_TYPE_FLOAT, 0, &scale);
  take_constant(graph, zero_name, type, 0, &small);
  onnx_graph_redirect(graph, value, floats);
  guint position = (guint)(onnx_graph_find_producer(graph, own) + 1);
  new_node(graph, "QuantizeLinear", own, scale_name, zero_name, integers, position);
  new_node(graph, "DequantizeLinear", integers, scale_name, zero_name, floats, position + 1);
}

/* Scales [channels or 1] of symmetric weights; a bias must fit 32 bits at scale input × weight. */
static float *choose_scales(const OnnxProduct *product, const float *weights, const float *bias, float input_scale,
                            gint largest, gboolean per_tensor)
{
  gsize channels = (gsize)product->n_outputs, n = onnx_tensor_get_n_elements(product->weight);
  gsize n_scales = per_tensor ? 1 : channels;
  float *scales = g_new0(float, n_scales);
  for (gsize i = 0; i < n; i++) {
    gsize at = per_tensor ? 0 : onnx_product_channel(product, i);
    scales[at] = MAX(scales[at], fabsf(weights[i]));
  }
  for (gsize i = 0; i < n_scales; i++) scales[i] /= (float)largest;
  for (gsize c = 0; bias != NULL && c < channels; c++) {
    float least = fabsf(bias[c]) / (input_scale * 0x1p30f), *scale = &scales[per_tensor ? 0 : c];
    *scale = MAX(*scale, least);
  }
  for (gsize i = 0; i < n_scales; i++)
    if (!(scales[i] >= FLT_MIN)) scales[i] = 1;
  return scales;
}

/* tensor ─▶ DequantizeLinear ─▶ the node's input `index`. n_scales 0: one scale. */
static void dequantize_input(OnnxGraph *graph, OnnxNode *node, guint index, OnnxTensor *integers, gint64 axis,
                             const float *scales, gint64 n_scales)
{
  g_autofree gchar *scale_name = g_strdup_printf("%s.scale", integers->name),
                   *zero_name = g_strdup_printf("%s.zero", integers->name),
                   *floats = g_strdup_printf("%s.dequantized", integers->name), *name = g_strdup(integers->name);
  take_constant(graph, scale_name, ONNX_TYPE_FLOAT, n_scales, scales);
  take_constant(graph, zero_name, integers->type, n_scales, NULL);
  onnx_product_take_input(graph, node, index, integers);
  g_free(g_ptr_array_index(node->inputs, index));
  g_ptr_array_index(node->inputs, index) = g_strdup(floats);
  guint position = 0;
  g_ptr_array_find(graph->nodes, node, &position);
  OnnxNode *added = new_node(graph, "DequantizeLinear", name, scale_name, zero_name, floats, position);
  if (n_scales > 0) onnx_node_set_int(added, "axis", axis);
}

static void quantize_bias(OnnxGraph *graph, OnnxNode *node, guint index, const gchar *stem, const float *bias,
                          gsize channels, const float *scales, gboolean per_tensor, float input_scale)
{
  g_autofree gint32 *integers = g_new(gint32, channels);
  g_autofree float *products = g_new(float, channels);
  g_autofree gchar *name = g_strdup_printf("kedge.int8.%s.bias", stem);
  const gint64 dims = (gint64)channels;
  for (gsize c = 0; c < channels; c++) {
    products[c] = scales[per_tensor ? 0 : c] * input_scale;
    integers[c] = (gint32)nearbyint((double)bias[c] / (double)products[c]);
  }
  dequantize_input(graph, node, index, onnx_tensor_new(name, ONNX_TYPE_INT32, 1, &dims, integers), 0, products,
                   per_tensor ? 0 : dims);
}

static void quantize_product(OnnxGraph *graph, OnnxNode *node, const OnnxQuantizeOptions *options, float input_scale)
{
  OnnxProduct product;
  onnx_product_read(graph, node, &product);
  gsize n = onnx_tensor_get_n_elements(product.weight), channels = (gsize)product.n_outputs;
  gint largest = options->full_range ? 127 : 63;
  gboolean gemm = onnx_node_is(node, "Gemm");
  float alpha = gemm ? onnx_node_get_float(node, "alpha", 1) : 1,
        beta = gemm ? onnx_node_get_float(node, "beta", 1) : 1;
  guint side = 2;
  OnnxNode *sum = find_bias(graph, node, &side);
  const OnnxTensor *added = sum != NULL        ? onnx_graph_find_initialiser(graph, onnx_node_get_input(sum, side))
                            : product.own_bias ? product.bias
                                               : NULL;
  g_autofree float *weights = onnx_tensor_to_floats(product.weight, NULL);
  g_autofree float *bias = added != NULL ? onnx_tensor_to_floats(added, NULL) : NULL;
  for (gsize i = 0; i < n; i++) weights[i] *= alpha;
  for (gsize c = 0; bias != NULL && c < channels; c++) bias[c] *= beta;
  g_autofree float *scales = choose_scales(&product, weights, bias, input_scale, largest, options->per_tensor);
  g_autofree gint8 *integers = g_new(gint8, n);
  for (gsize i = 0; i < n; i++) {
    double scale = (double)scales[options->per_tensor ? 0 : onnx_product_channel(&product, i)];
    integers[i] = (gint8)CLAMP(nearbyint((double)weights[i] / scale), -largest, largest);
  }
  const gchar *stem = onnx_node_get_output(node, 0);
  g_autofree gchar *name = g_strdup_printf("kedge.int8.%s.weight", stem);
  OnnxTensor *small = onnx_tensor_new(name, ONNX_TYPE_INT8, product.weight->n_dims, product.weight->dims, integers);
  guint axis = product.axis;
  dequantize_input(graph, node, 1, small, axis, scales, options->per_tensor ? 0 : (gint64)channels);
  if (bias != NULL)
    quantize_bias(graph, sum != NULL ? sum : node, side, stem, bias, channels, scales, options->per_tensor,
                  input_scale);
  if (gemm) onnx_node_set_float(node, "alpha", 1);
  if (gemm && bias != NULL) onnx_node_set_float(node, "beta", 1);
}

void onnx_graph_quantize(OnnxGraph *graph, const OnnxQuantizePlan *plan, const OnnxQuantizeOptions *options,
                         const OnnxQuantizeRange *ranges)
{
  g_autofree float *scales = g_new(float, plan->values->len + 1);
  g_autoptr(GPtrArray) products = g_ptr_array_new();
  g_autoptr(GArray) input_scales = g_array_new(FALSE, FALSE, sizeof(float));
  for (guint n = 0; n < graph->nodes->len; n++) {
    OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    if (g_hash_table_contains(plan->nodes, node) && !onnx_node_is(node, "Add")) g_ptr_array_add(products, node);
  }
  for (guint p = 0; p < products->len; p++) {
    gint value = find_value(plan, onnx_node_get_input(g_ptr_array_index(products, p), 0));
    gint zero;
    float scale;
    onnx_quantize_scale(ranges[g_array_index(plan->values, OnnxQuantizeValue, value).same], options->activations,
                        &scale, &zero);
    g_array_append_val(input_scales, scale);
  }
  for (guint v = 0; v < plan->values->len; v++) {
    const OnnxQuantizeValue *value = &g_array_index(plan->values, OnnxQuantizeValue, v);
    gint zero;
    onnx_quantize_scale(ranges[value->same], options->activations, &scales[v], &zero);
    quantize_value(graph, value->name, options->activations, scales[v], zero);
  }
  for (guint p = 0; p < products->len; p++)
    quantize_product(graph, g_ptr_array_index(products, p), options, g_array_index(input_scales, float, p));
  g_ptr_array_set_size(graph->values, 0);
  onnx_graph_simplify(graph); /* drops the float weights */
}
