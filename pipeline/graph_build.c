#include "pipeline/graph_build.h"

#include <math.h>
#include <string.h>

#include "pipeline/graph_optimiser.h"
#include "pipeline/interval.h"
#include "pipeline/model_spec.h"
#include "pipeline/multi_label.h"
#include "pipeline/network_build.h"

#define MAX_LAYERS 16u
#define MAX_WIDTH 65536u
#define MAX_WEIGHTS (64u << 20)
#define DENSE_BEHIND_CONVOLUTIONS 128u

typedef struct {
  const PipelineGraphBuildOptions *options;
  OnnxGraph *graph;
  PipelineRandom random;
  GArray *widths; /* of guint */
  gchar *value;   /* the last one so far */
  guint number;   /* of layers so far */
  guint64 n_weights;
} Builder;

static void builder_clear(Builder *builder)
{
  onnx_graph_free(builder->graph);
  g_clear_pointer(&builder->widths, g_array_unref);
  g_free(builder->value);
}

gboolean pipeline_graph_is_architecture(const gchar *architecture)
{
  return g_str_equal(architecture, "cnn") || g_str_has_prefix(architecture, "cnn:");
}

static gboolean parse_widths(Builder *builder, GError **error)
{
  const gchar *architecture = builder->options->architecture, *list = strchr(architecture, ':');
  gboolean cnn = pipeline_graph_is_architecture(architecture), good = cnn || g_str_has_prefix(architecture, "mlp:");
  g_auto(GStrv) parts = g_strsplit(list != NULL ? list + 1 : "32,64", ",", -1);
  builder->widths = g_array_new(FALSE, FALSE, sizeof(guint));
  for (guint i = 0; good && parts[i] != NULL; i++) {
    guint64 width = 0;
    good = g_ascii_string_to_unsigned(parts[i], 10, 1, MAX_WIDTH, &width, NULL) && builder->widths->len < MAX_LAYERS;
    guint narrow = (guint)width;
    g_array_append_val(builder->widths, narrow);
  }
  if (good) return TRUE;
  g_set_error(
      error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
      "architecture \"%s\": write \"mlp:64,64\" (widths of hidden layers) or \"cnn:32,64\" (channels), at most %u",
      architecture, MAX_LAYERS);
  return FALSE;
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
  take_floats(builder, name, n_dims, dims, values);
  return TRUE;
}

static void add_normalisation(Builder *builder, gint64 n)
{
  static const gchar *const parts[] = {"scale", "bias", "mean", "variance"};
  g_autoptr(GString) constants = g_string_new("");
  for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
    g_autofree gchar *name = g_strdup_printf("layer_%u.norm_%s", builder->number, parts[i]);
    take_filled(builder, name, n, i == 0 || i == 3 ? 1 : 0);
    g_string_append_printf(constants, "%s%s", i > 0 ? "," : "", name);
  }
  extend(builder, "BatchNormalization", constants->str);
}

/* normal: in front of the activation. last: neither. */
static gboolean add_dense(Builder *builder, gint64 n_in, gint64 n_out, gboolean normal, gboolean last, GError **error)
{
  guint number = ++builder->number;
  g_autofree gchar *weight = g_strdup_printf("layer_%u.weight", number),
                   *bias = g_strdup_printf("layer_%u.bias", number);
  g_autofree gchar *constants = g_strdup_printf("%s,%s", weight, bias);
  if (!take_random(builder, weight, 2, (gint64[]){n_out, n_in}, last, error)) return FALSE;
  take_filled(builder, bias, n_out, 0);
  onnx_node_set_int(extend(builder, "Gemm", constants), "transB", 1);
  if (last) return TRUE;
  if (normal) add_normalisation(builder, n_out);
  extend(builder, "Relu", NULL);
  if (builder->options->dropout > 0) {
    float ratio = (float)builder->options->dropout;
    take_floats(builder, "kedge.dropout", 0, NULL, &ratio);
    extend(builder, "Dropout", "kedge.dropout");
  }
  return TRUE;
}

static gboolean add_convolution(Builder *builder, gint64 n_in, gint64 n_out, GError **error)
{
  guint number = ++builder->number;
  g_autofree gchar *weight = g_strdup_printf("layer_%u.weight", number);
  const gint64 pads[] = {1, 1, 1, 1}, two[] = {2, 2};
  if (!take_random(builder, weight, 4, (gint64[]){n_out, n_in, 3, 3}, FALSE, error)) return FALSE;
  OnnxNode *node = extend(builder, "Conv", weight); /* no bias: the normalisation has one */
  onnx_node_set_ints(node, "kernel_shape", (const gint64[]){3, 3}, 2);
  onnx_node_set_ints(node, "pads", pads, 4);
  add_normalisation(builder, n_out);
  extend(builder, "Relu", NULL);
  node = extend(builder, "MaxPool", NULL);
  onnx_node_set_ints(node, "kernel_shape", two, 2);
  onnx_node_set_ints(node, "strides", two, 2);
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

static gboolean add_convolutions(Builder *builder, gsize *n_features, GError **error)
{
  const PipelineGraphBuildOptions *o = builder->options;
  guint height = o->height, width = o->width;
  gint64 channels = (gint64)o->channels;
  if ((gsize)o->channels * o->height * o->width != *n_features || *n_features == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "\"%s\" needs rows that are images: their size is given as %u × %u × %u (channels, height, width), and "
                "there are %zu features",
                o->architecture, o->channels, o->height, o->width, *n_features);
    return FALSE;
  }
  const gint64 shape[] = {-1, channels, height, width};
  onnx_graph_take_initialiser(builder->graph, onnx_tensor_new("kedge.image", ONNX_TYPE_INT64, 1, (gint64[]){4}, shape));
  extend(builder, "Reshape", "kedge.image");
  for (guint i = 0; i < builder->widths->len; i++) {
    guint next = g_array_index(builder->widths, guint, i);
    if (height < 2 || width < 2) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                  "\"%s\": images of %u × %u are too small for %u poolings", o->architecture, o->height, o->width,
                  builder->widths->len);
      return FALSE;
    }
    if (!add_convolution(builder, channels, next, error)) return FALSE;
    channels = next;
    height /= 2, width /= 2;
  }
  extend(builder, "Flatten", NULL);
  *n_features = (gsize)channels * height * width;
  return TRUE;
}

static gboolean add_layers(Builder *builder, gsize n_features, guint n_outputs, GError **error)
{
  if (pipeline_graph_is_architecture(builder->options->architecture)) {
    if (!add_convolutions(builder, &n_features, error) ||
        !add_dense(builder, (gint64)n_features, DENSE_BEHIND_CONVOLUTIONS, TRUE, FALSE, error))
      return FALSE;
    n_features = DENSE_BEHIND_CONVOLUTIONS;
  } else {
    for (guint i = 0; i < builder->widths->len; i++) {
      guint width = g_array_index(builder->widths, guint, i);
      if (!add_dense(builder, (gint64)n_features, width, FALSE, FALSE, error)) return FALSE;
      n_features = width;
    }
  }
  if (!add_dense(builder, (gint64)n_features, n_outputs, FALSE, TRUE, error)) return FALSE;
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
  if (parse_widths(&builder, error)) {
    add_standardisation(&builder, x, n_features, rows, n_rows,
                        options->common_scale || pipeline_graph_is_architecture(options->architecture));
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
