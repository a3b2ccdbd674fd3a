#include "pipeline/network_build.h"

#include <math.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/graph_prefix.h"
#include "pipeline/model_spec.h"
#include "pipeline/trainer_random.h"

#define ML "ai.onnx.ml"
#define MAX_HIDDEN_LAYERS 16u
#define MAX_WIDTH PIPELINE_MAX_COLUMNS
#define MAX_WEIGHTS (64u << 20)

typedef struct {
  const DriftTable *table;
  const DriftSchema *schema;
  const PipelinePrepared *prepared; /* NULL: the default preprocessing */
  const guint64 *rows;
  guint64 n_rows;
  OnnxGraph *graph;
  PipelineGraphPrefix *prefix;
  PipelineRandom random;
} Builder;

/* --- layers ------------------------------------------------------------------------------------------------------- */

/* Uniform in ±sqrt(gain / fan): He (6 / n_in) before a Relu, Glorot (6 / (n_in + n_out)) before the head. */
static float *random_weights(Builder *builder, guint n_in, guint n_out, gboolean first, gboolean hidden)
{
  float *weight = g_new(float, (gsize)n_in *n_out);
  double bound = sqrt(6.0 / (hidden ? n_in : n_in + n_out));
  for (gsize i = 0; i < (gsize)n_in * n_out; i++) {
    weight[i] = (float)(bound * (2 * pipeline_random_uniform(&builder->random) - 1));
    if (first && g_array_index(builder->prefix->constant, gboolean, i % n_in)) weight[i] = 0;
  }
  return weight;
}

static void add_gemm(Builder *builder, guint number, guint n_in, guint n_out, const gchar *input, const gchar *output,
                     gboolean hidden)
{
  g_autofree gchar *weight_name = g_strdup_printf("kedge.layer_%u.weight", number);
  g_autofree gchar *bias_name = g_strdup_printf("kedge.layer_%u.bias", number);
  g_autofree float *weight = random_weights(builder, n_in, n_out, number == 1, hidden);
  onnx_graph_take_initialiser(builder->graph,
                              onnx_tensor_new(weight_name, ONNX_TYPE_FLOAT, 2, (gint64[]){n_out, n_in}, weight));
  onnx_graph_take_initialiser(builder->graph, onnx_tensor_new(bias_name, ONNX_TYPE_FLOAT, 1, (gint64[]){n_out}, NULL));
  OnnxNode *gemm =
      onnx_graph_add_node_strv(builder->graph, "", "Gemm", (const gchar *const[]){input, weight_name, bias_name, NULL},
                               (const gchar *const[]){output, NULL});
  onnx_node_set_int(gemm, "transB", 1);
}

/* Hidden layers and the last one; its output is named `output`. */
static void add_layers(Builder *builder, const GArray *widths, guint n_outputs, const gchar *features,
                       const gchar *output)
{
  guint n_in = builder->prefix->constant->len;
  g_autofree gchar *input = g_strdup(features);
  for (guint i = 0; i < widths->len; i++) {
    guint width = g_array_index(widths, guint, i);
    g_autofree gchar *sum = g_strdup_printf("kedge.layer_%u", i + 1);
    gchar *active = g_strdup_printf("kedge.layer_%u.relu", i + 1);
    add_gemm(builder, i + 1, n_in, width, input, sum, TRUE);
    onnx_graph_add_node(builder->graph, "", "Relu", sum, active);
    g_free(input);
    input = active;
    n_in = width;
  }
  add_gemm(builder, widths->len + 1, n_in, n_outputs, input, output, FALSE);
}

/* --- heads -------------------------------------------------------------------------------------------------------- */

/* The class names as integers, or NULL when one is not spelled as one. */
static gint64 *integer_classes(const DriftSchema *schema)
{
  g_autofree gint64 *numbers = g_new(gint64, schema->classes->len);
  for (guint i = 0; i < schema->classes->len; i++) {
    const gchar *name = g_ptr_array_index(schema->classes, i);
    numbers[i] = g_ascii_strtoll(name, NULL, 10);
    g_autofree gchar *spelled = g_strdup_printf("%" G_GINT64_FORMAT, numbers[i]);
    if (!g_str_equal(spelled, name)) return NULL;
  }
  return g_steal_pointer(&numbers);
}

void pipeline_network_add_label(OnnxGraph *graph, const DriftSchema *schema)
{
  const gint64 n = schema->classes->len, all = -1;
  g_autofree gint64 *numbers = integer_classes(schema);
  g_autofree gchar *shape = g_strdup_printf("N,%" G_GINT64_FORMAT, n);
  OnnxNode *best = onnx_graph_add_node(graph, "", "ArgMax", "probabilities", "kedge.best");
  onnx_node_set_int(best, "axis", 1);
  onnx_node_set_int(best, "keepdims", 0);
  onnx_graph_take_initialiser(
      graph, numbers ? onnx_tensor_new("kedge.classes", ONNX_TYPE_INT64, 1, &n, numbers)
                     : onnx_tensor_new_strings("kedge.classes", 1, &n, (const gchar *const *)schema->classes->pdata));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("kedge.flat", ONNX_TYPE_INT64, 1, (gint64[]){1}, &all));
  onnx_graph_add_node(graph, ML, "ArrayFeatureExtractor", "kedge.classes,kedge.best", "kedge.named");
  onnx_graph_add_node(graph, "", "Reshape", "kedge.named,kedge.flat", "label");
  onnx_graph_add_output(graph, "label", numbers ? ONNX_TYPE_INT64 : ONNX_TYPE_STRING, "N");
  onnx_graph_add_output(graph, "probabilities", ONNX_TYPE_FLOAT, shape);
}

void pipeline_network_add_classifier_head(OnnxGraph *graph, const DriftSchema *schema)
{
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Softmax", "kedge.logits", "probabilities"), "axis", 1);
  pipeline_network_add_label(graph, schema);
}

/* From standardised to the label's units. */
void pipeline_network_add_regression_head(OnnxGraph *graph, const float *targets, const guint64 *rows, guint64 n_rows)
{
  double mean = 0, squares = 0;
  for (guint64 i = 0; i < n_rows; i++) mean += targets[rows[i]] / (double)n_rows;
  for (guint64 i = 0; i < n_rows; i++) {
    double difference = targets[rows[i]] - mean;
    squares += difference * difference / (double)n_rows;
  }
  float scale = squares > 0 ? (float)sqrt(squares) : 1, shift = (float)mean;
  onnx_graph_take_initialiser(graph, onnx_tensor_new("kedge.value_scale", ONNX_TYPE_FLOAT, 1, (gint64[]){1}, &scale));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("kedge.value_shift", ONNX_TYPE_FLOAT, 1, (gint64[]){1}, &shift));
  onnx_graph_add_node(graph, "", "Mul", "kedge.logits,kedge.value_scale", "kedge.value_scaled");
  onnx_graph_add_node(graph, "", "Add", "kedge.value_scaled,kedge.value_shift", "value");
  onnx_graph_add_output(graph, "value", ONNX_TYPE_FLOAT, "N,1");
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static GArray *parse_architecture(const gchar *architecture, GError **error)
{
  g_autoptr(GArray) widths = g_array_new(FALSE, FALSE, sizeof(guint));
  gboolean good = g_str_has_prefix(architecture, "mlp:");
  g_auto(GStrv) parts = good && architecture[4] ? g_strsplit(architecture + 4, ",", -1) : NULL;
  for (guint i = 0; parts && parts[i] && good; i++) {
    guint64 width = 0;
    good = g_ascii_string_to_unsigned(parts[i], 10, 1, MAX_WIDTH, &width, NULL) && widths->len < MAX_HIDDEN_LAYERS;
    guint narrow = (guint)width;
    g_array_append_val(widths, narrow);
  }
  if (good) return g_steal_pointer(&widths);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "architecture \"%s\": write \"mlp:\" and the widths of at most %u hidden layers, e.g. \"mlp:64,64\"",
              architecture, MAX_HIDDEN_LAYERS);
  return NULL;
}

static gboolean check_size(const GArray *widths, guint n_in, guint n_out, GError **error)
{
  guint64 total = 0, before = n_in;
  for (guint i = 0; i <= widths->len; i++) {
    guint width = i < widths->len ? g_array_index(widths, guint, i) : n_out;
    total += before * width;
    before = width;
  }
  if (total <= MAX_WEIGHTS) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "%" G_GUINT64_FORMAT " weights; at most %u are supported: choose narrower layers", total, MAX_WEIGHTS);
  return FALSE;
}

static gboolean add_prefix(Builder *builder, GError **error)
{
  if (builder->prepared) return pipeline_prepared_add_prefix(builder->prepared, builder->graph, builder->prefix, error);
  return pipeline_graph_prefix_add(builder->graph, builder->table, builder->schema, builder->rows, builder->n_rows,
                                   TRUE, builder->prefix, error);
}

static GBytes *build(Builder *builder, const GArray *widths, const float *targets, GError **error)
{
  const DriftSchema *schema = builder->schema;
  gboolean regression = schema->task == DRIFT_TASK_REGRESSION;
  guint n_outputs = regression ? 1 : schema->classes->len;
  onnx_graph_set_opset(builder->graph, "", 17);
  onnx_graph_set_opset(builder->graph, ML, 3);
  if (!add_prefix(builder, error) || !check_size(widths, builder->prefix->constant->len, n_outputs, error)) return NULL;
  add_layers(builder, widths, n_outputs, builder->prefix->features, "kedge.logits");
  if (regression)
    pipeline_network_add_regression_head(builder->graph, targets, builder->rows, builder->n_rows);
  else
    pipeline_network_add_classifier_head(builder->graph, schema);
  g_autofree gchar *spec = pipeline_model_spec_format(schema);
  onnx_graph_set_metadata(builder->graph, PIPELINE_SCHEMA_KEY, spec);
  g_autoptr(GError) cause = NULL;
  GBytes *bytes = onnx_graph_to_bytes(builder->graph, &cause);
  if (!bytes) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
  return bytes;
}

static GBytes *build_seeded(Builder *builder, const gchar *architecture, const float *targets, guint64 seed,
                            GError **error)
{
  g_autoptr(GArray) widths = parse_architecture(architecture, error);
  if (!widths) return NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_new("kedge");
  g_auto(PipelineGraphPrefix) prefix = {.features = NULL};
  builder->graph = graph, builder->prefix = &prefix;
  pipeline_random_seed(&builder->random, seed);
  return build(builder, widths, targets, error);
}

GBytes *pipeline_network_build(const gchar *architecture, const DriftTable *table, const DriftSchema *schema,
                               const guint64 *rows, guint64 n_rows, const float *targets, guint64 seed, GError **error)
{
  g_return_val_if_fail(n_rows > 0, NULL);
  Builder builder = {.table = table, .schema = schema, .rows = rows, .n_rows = n_rows};
  return build_seeded(&builder, architecture, targets, seed, error);
}

GBytes *pipeline_network_build_prepared(const gchar *architecture, const PipelinePrepared *prepared,
                                        const guint64 *rows, guint64 n_rows, const float *targets, guint64 seed,
                                        GError **error)
{
  g_return_val_if_fail(n_rows > 0, NULL);
  Builder builder = {.schema = prepared->schema, .prepared = prepared, .rows = rows, .n_rows = n_rows};
  return build_seeded(&builder, architecture, targets, seed, error);
}
