#include "pipeline/graph_build.h"

#include <math.h>
#include <string.h>

#include "pipeline/graph_optimiser.h"
#include "pipeline/interval.h"
#include "pipeline/model_spec.h"
#include "pipeline/multi_label.h"
#include "pipeline/network_build.h"

#define MAX_WEIGHTS (64u << 20)

typedef struct {
  const PipelineGraphBuildOptions *options;
  OnnxGraph *graph;
  PipelineRandom random;
  PipelineGraphArchitecture architecture;
  gchar *value; /* the last one so far */
  guint number; /* of layers so far */
  guint64 n_weights;
} Builder;

static void builder_clear(Builder *builder)
{
  onnx_graph_free(builder->graph);
  g_free(builder->value);
}

/* --- nodes -------------------------------------------------------------------------------------------------------- */

/* op_type(value, constants…) -> a new value. `constants` are names separated by commas, or NULL. */
static OnnxNode *extend(Builder *builder, const gchar *op_type, const gchar *constants)
{
  g_autofree gchar *inputs =
      constants != NULL ? g_strdup_printf("%s,%s", builder->value, constants) : g_strdup(builder->value);
  gchar *output = g_strdup_printf("kedge.%s_%u", op_type, builder->graph->nodes->len + 1);
  OnnxNode *node = onnx_graph_add_node(builder->graph, "", op_type, inputs, output);
  g_free(builder->value);
  builder->value = output;
  return node;
}

static void take_floats(Builder *builder, const gchar *name, guint n_dims, const gint64 *dims, const float *values)
{
  onnx_graph_take_initialiser(builder->graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, n_dims, dims, values));
}

static void take_filled(Builder *builder, const gchar *name, gint64 n, float value)
{
  g_autofree float *values = g_new(float, (gsize)n);
  for (gint64 i = 0; i < n; i++) values[i] = value;
  take_floats(builder, name, 1, &n, values);
}

/* The layer whose inputs are the features that the options describe. */
static gboolean first_is_known(const Builder *builder)
{
  return builder->number == 1 && builder->options->standardised != NULL;
}

static gboolean take_random(Builder *builder, const gchar *name, guint n_dims, const gint64 *dims, gboolean last,
                            GError **error)
{
  gsize n = 1, receptive = 1;
  for (guint d = 0; d < n_dims; d++) n *= (gsize)dims[d];
  for (guint d = 2; d < n_dims; d++) receptive *= (gsize)dims[d];
  builder->n_weights += n;
  if (builder->n_weights > MAX_WEIGHTS) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "more than %u weights; choose narrower layers",
                MAX_WEIGHTS);
    return FALSE;
  }
  g_autofree float *values = g_new(float, n);
  const PipelineInitialiser *initialiser = pipeline_initialiser_find(last ? "glorot-uniform" : "he-uniform", NULL);
  pipeline_initialiser_fill(initialiser, (gsize)dims[1] * receptive, (gsize)dims[0] * receptive, &builder->random,
                            values, n);
  for (gsize i = 0; i < n && first_is_known(builder); i++)
    if (builder->options->standardised[i % (gsize)dims[1]]) values[i] = 0;
  take_floats(builder, name, n_dims, dims, values);
  return TRUE;
}

static gboolean is_image(const Builder *builder)
{
  return builder->architecture.image;
}

/* Of a value of n_dims sizes behind the rows: [channels, height, width] or [width]. Constants of batch normalisation
 * are a channel's, of layer normalisation an element's. */
static void add_normalisation(Builder *builder, guint n_dims, const gint64 *dims)
{
  static const gchar *const parts[] = {"scale", "bias", "mean", "variance"};
  gboolean batch = builder->architecture.norm == PIPELINE_GRAPH_NORM_BATCH;
  if (builder->architecture.norm == PIPELINE_GRAPH_NORM_NONE) return;
  gint64 n = 1;
  for (guint d = 0; d < (batch ? 1 : n_dims); d++) n *= dims[d];
  g_autoptr(GString) constants = g_string_new("");
  for (guint i = 0; i < (batch ? G_N_ELEMENTS(parts) : 2u); i++) {
    g_autofree gchar *name = g_strdup_printf("layer_%u.norm_%s", builder->number, parts[i]);
    g_autofree float *values = g_new(float, (gsize)n);
    for (gint64 k = 0; k < n; k++) values[k] = i == 0 || i == 3 ? 1 : 0;
    take_floats(builder, name, batch ? 1 : n_dims, dims, values);
    g_string_append_printf(constants, "%s%s", i > 0 ? "," : "", name);
  }
  OnnxNode *node = extend(builder, batch ? "BatchNormalization" : "LayerNormalization", constants->str);
  if (!batch) onnx_node_set_int(node, "axis", 1);
}

static void add_activation(Builder *builder)
{
  const PipelineGraphActivation *activation = builder->architecture.activation;
  g_autofree gchar *input = g_strdup(builder->value);
  extend(builder, activation->op_type, NULL);
  if (activation->gates) extend(builder, "Mul", input);
}

static void add_dropout(Builder *builder)
{
  float ratio = (float)builder->options->dropout;
  if (!(ratio > 0)) return;
  take_floats(builder, "kedge.dropout", 0, NULL, &ratio);
  extend(builder, "Dropout", "kedge.dropout");
}

/* A linear map; without a bias: of a shortcut. */
static gboolean add_gemm(Builder *builder, gint64 n_in, gint64 n_out, gboolean bias, gboolean last, GError **error)
{
  guint number = ++builder->number;
  g_autofree gchar *weight = g_strdup_printf("layer_%u.weight", number),
                   *offset = g_strdup_printf("layer_%u.bias", number);
  g_autofree gchar *constants = bias ? g_strdup_printf("%s,%s", weight, offset) : g_strdup(weight);
  if (!take_random(builder, weight, 2, (gint64[]){n_out, n_in}, last, error)) return FALSE;
  if (bias) take_filled(builder, offset, n_out, 0);
  onnx_node_set_int(extend(builder, "Gemm", constants), "transB", 1);
  return TRUE;
}

/* Adds `from`, through a linear map where the widths differ, to the value so far. */
static gboolean add_dense_shortcut(Builder *builder, const gchar *from, gint64 n_in, gint64 n_out, GError **error)
{
  g_autofree gchar *sum = g_strdup(builder->value);
  g_free(builder->value);
  builder->value = g_strdup(from);
  if (n_in != n_out && !add_gemm(builder, n_in, n_out, FALSE, FALSE, error)) return FALSE;
  extend(builder, "Add", sum);
  return TRUE;
}

/* A hidden layer. residual: adds its input. */
static gboolean add_dense(Builder *builder, gint64 n_in, gint64 n_out, gboolean residual, GError **error)
{
  g_autofree gchar *input = g_strdup(builder->value);
  if (!add_gemm(builder, n_in, n_out, TRUE, FALSE, error)) return FALSE;
  add_normalisation(builder, 1, &n_out);
  add_activation(builder);
  if (residual && !add_dense_shortcut(builder, input, n_in, n_out, error)) return FALSE;
  add_dropout(builder);
  return TRUE;
}

/* No bias: the normalisation has one; without normalisation it has its own. */
static gboolean add_convolution(Builder *builder, gint64 n_in, gint64 n_out, guint kernel, GError **error)
{
  guint number = ++builder->number;
  gint64 half = kernel / 2;
  g_autofree gchar *weight = g_strdup_printf("layer_%u.weight", number),
                   *bias = g_strdup_printf("layer_%u.bias", number), *constants = g_strdup(weight);
  const gint64 pads[] = {half, half, half, half};
  if (!take_random(builder, weight, 4, (gint64[]){n_out, n_in, kernel, kernel}, FALSE, error)) return FALSE;
  if (builder->architecture.norm == PIPELINE_GRAPH_NORM_NONE) {
    take_filled(builder, bias, n_out, 0);
    g_free(constants);
    constants = g_strdup_printf("%s,%s", weight, bias);
  }
  OnnxNode *node = extend(builder, "Conv", constants);
  onnx_node_set_ints(node, "kernel_shape", (const gint64[]){kernel, kernel}, 2);
  onnx_node_set_ints(node, "pads", pads, 4);
  return TRUE;
}

/* dims: channels, height, width of what comes in; set to those of what goes on. */
static gboolean add_stage(Builder *builder, gint64 *dims, gint64 n_out, GError **error)
{
  const PipelineGraphArchitecture *architecture = &builder->architecture;
  const gint64 two[] = {2, 2};
  gint64 n_in = dims[0];
  g_autofree gchar *input = g_strdup(builder->value);
  for (guint block = 1; block <= architecture->blocks; block++) {
    if (!add_convolution(builder, dims[0], n_out, architecture->kernel, error)) return FALSE;
    dims[0] = n_out;
    add_normalisation(builder, 3, dims);
    if (block < architecture->blocks || !architecture->residual) add_activation(builder);
  }
  if (architecture->residual) {
    g_autofree gchar *sum = g_strdup(builder->value);
    g_free(builder->value);
    builder->value = g_steal_pointer(&input);
    if (n_in != n_out && !add_convolution(builder, n_in, n_out, 1, error)) return FALSE;
    extend(builder, "Add", sum);
    add_activation(builder);
  }
  OnnxNode *node = extend(builder, architecture->average_pool ? "AveragePool" : "MaxPool", NULL);
  onnx_node_set_ints(node, "kernel_shape", two, 2);
  onnx_node_set_ints(node, "strides", two, 2);
  dims[1] /= 2, dims[2] /= 2;
  return TRUE;
}

/* --- parts -------------------------------------------------------------------------------------------------------- */

/* (x − mean) / sd: of all pixels together, or of each feature; one that does not vary is only centred. */
static void add_standardisation(Builder *builder, const float *x, gsize width, const guint64 *rows, guint64 n_rows,
                                gboolean together)
{
  gsize n = together ? 1 : width;
  g_autofree double *sums = g_new0(double, n), *squares = g_new0(double, n);
  g_autofree float *means = g_new(float, n), *factors = g_new(float, n);
  double count = (double)n_rows * (together ? (double)width : 1);
  for (guint64 i = 0; i < n_rows; i++)
    for (gsize k = 0; k < width; k++) sums[together ? 0 : k] += (double)x[rows[i] * width + k] / count;
  for (guint64 i = 0; i < n_rows; i++)
    for (gsize k = 0; k < width; k++) {
      double difference = (double)x[rows[i] * width + k] - sums[together ? 0 : k];
      squares[together ? 0 : k] += difference * difference / count;
    }
  for (gsize k = 0; k < n; k++) {
    double sd = sqrt(squares[k]);
    means[k] = (float)sums[k];
    factors[k] = sd > 1e-6 * fabs(sums[k]) && sd > 0 ? (float)(1 / sd) : 1;
  }
  const gint64 dims = (gint64)n;
  take_floats(builder, "kedge.mean", 1, &dims, means);
  take_floats(builder, "kedge.factor", 1, &dims, factors);
  extend(builder, "Sub", "kedge.mean");
  extend(builder, "Mul", "kedge.factor");
}

static gboolean check_image(const PipelineGraphBuildOptions *o, guint n_stages, gsize n_features, GError **error)
{
  if ((gsize)o->channels * o->height * o->width != n_features || n_features == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "\"%s\" needs rows that are images: their size is given as %u × %u × %u (channels, height, width), and "
                "there are %zu features",
                o->architecture, o->channels, o->height, o->width, n_features);
    return FALSE;
  }
  if (MIN(o->height, o->width) >> n_stages > 0) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "\"%s\": images of %u × %u are too small for %u poolings",
              o->architecture, o->height, o->width, n_stages);
  return FALSE;
}

/* *n_features: of what goes on. */
static gboolean add_stages(Builder *builder, gsize *n_features, GError **error)
{
  const PipelineGraphBuildOptions *o = builder->options;
  const PipelineGraphArchitecture *architecture = &builder->architecture;
  const gint64 shape[] = {-1, o->channels, o->height, o->width};
  gint64 dims[] = {o->channels, o->height, o->width};
  if (!check_image(o, architecture->n_widths, *n_features, error)) return FALSE;
  onnx_graph_take_initialiser(builder->graph, onnx_tensor_new("kedge.image", ONNX_TYPE_INT64, 1, (gint64[]){4}, shape));
  extend(builder, "Reshape", "kedge.image");
  for (guint i = 0; i < architecture->n_widths; i++)
    if (!add_stage(builder, dims, architecture->widths[i], error)) return FALSE;
  if (architecture->dense == 0) {
    extend(builder, "GlobalAveragePool", NULL);
    dims[1] = dims[2] = 1;
  }
  extend(builder, "Flatten", NULL);
  *n_features = (gsize)(dims[0] * dims[1] * dims[2]);
  return TRUE;
}

static gboolean add_hidden(Builder *builder, gsize *n_features, GError **error)
{
  const PipelineGraphArchitecture *architecture = &builder->architecture;
  if (!is_image(builder)) {
    for (guint i = 0; i < architecture->n_widths; i++) {
      gint64 width = architecture->widths[i];
      if (!add_dense(builder, (gint64)*n_features, width, architecture->residual && i > 0, error)) return FALSE;
      *n_features = (gsize)width;
    }
    return TRUE;
  }
  if (!add_stages(builder, n_features, error)) return FALSE;
  if (architecture->dense == 0) return TRUE;
  if (!add_dense(builder, (gint64)*n_features, architecture->dense, FALSE, error)) return FALSE;
  *n_features = architecture->dense;
  return TRUE;
}

static gboolean add_layers(Builder *builder, gsize n_features, guint n_outputs, GError **error)
{
  if (!add_hidden(builder, &n_features, error) || !add_gemm(builder, (gint64)n_features, n_outputs, TRUE, TRUE, error))
    return FALSE;
  g_autoptr(GError) cause = NULL;
  if (onnx_graph_rename_value(builder->graph, builder->value, "kedge.logits", &cause)) return TRUE;
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
  return FALSE;
}

/* A sigmoid a label. */
static void add_labels_head(Builder *builder, const DriftSchema *schema)
{
  gchar *const *labels = builder->options->labels;
  g_autofree gchar *shape = g_strdup_printf("N,%u", g_strv_length((gchar **)labels)),
                   *names = pipeline_labels_format(labels, schema);
  onnx_graph_add_node(builder->graph, "", "Sigmoid", "kedge.logits", "probabilities");
  onnx_graph_add_output(builder->graph, "probabilities", ONNX_TYPE_FLOAT, shape);
  onnx_graph_set_metadata(builder->graph, PIPELINE_LABELS_KEY, names);
}

static guint count_outputs(const PipelineGraphBuildOptions *options, const DriftSchema *schema)
{
  if (options->labels != NULL) return g_strv_length((gchar **)options->labels);
  return options->interval > 0 ? 3 : schema->task == DRIFT_TASK_REGRESSION ? 1 : schema->classes->len;
}

OnnxGraph *pipeline_graph_build(const PipelineGraphBuildOptions *options, const DriftSchema *schema, const float *x,
                                gsize n_features, const float *targets, const guint64 *rows, guint64 n_rows,
                                GError **error)
{
  gboolean regression = schema->task == DRIFT_TASK_REGRESSION;
  Builder builder = {.options = options, .graph = onnx_graph_new("kedge"), .value = g_strdup("features")};
  g_autofree gchar *shape = g_strdup_printf("N,%zu", n_features), *spec = pipeline_model_spec_format(schema);
  OnnxGraph *graph = NULL;
  pipeline_random_seed(&builder.random, options->seed);
  onnx_graph_set_opset(builder.graph, "", 17);
  onnx_graph_set_opset(builder.graph, "ai.onnx.ml", 3);
  onnx_graph_add_input(builder.graph, "features", ONNX_TYPE_FLOAT, shape);
  if (options->labels == NULL) onnx_graph_set_metadata(builder.graph, PIPELINE_SCHEMA_KEY, spec);
  if (pipeline_graph_architecture_parse(options->architecture, &builder.architecture, error)) {
    onnx_graph_set_opset(builder.graph, "", builder.architecture.activation->opset);
    if (options->standardised == NULL)
      add_standardisation(&builder, x, n_features, rows, n_rows, options->common_scale || is_image(&builder));
    if (add_layers(&builder, n_features, count_outputs(options, schema), error)) {
      if (options->labels != NULL)
        add_labels_head(&builder, schema);
      else if (options->interval > 0)
        pipeline_interval_add_head(builder.graph, targets, rows, n_rows, options->interval);
      else if (regression)
        pipeline_network_add_regression_head(builder.graph, targets, rows, n_rows);
      else
        pipeline_network_add_classifier_head(builder.graph, schema);
      graph = g_steal_pointer(&builder.graph);
    }
  }
  builder_clear(&builder);
  return graph;
}
