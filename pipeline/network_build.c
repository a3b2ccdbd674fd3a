#include "pipeline/network_build.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/model_spec.h"
#include "pipeline/trainer_random.h"

#define ML "ai.onnx.ml"
#define MAX_HIDDEN_LAYERS 16u
#define MAX_WIDTH 65536u
#define MAX_WEIGHTS (64u << 20)

typedef struct {
  const DriftTable *table;
  const DriftSchema *schema;
  const PipelinePrepared *prepared; /* NULL: the default preprocessing */
  const guint64 *rows;
  guint64 n_rows;
  OnnxGraph *graph;
  GArray *constant; /* of gboolean, one per column of the feature matrix: it never varies in the rows */
  PipelineRandom random;
} Builder;

/* --- statistics of the rows --------------------------------------------------------------------------------------- */

/* Of the values as float32, which is what the graph will see. sd 0: the column does not vary. */
static gboolean mean_and_sd(const Builder *builder, const DriftColumn *column, double *mean, double *sd, GError **error)
{
  double sum = 0, squares = 0;
  guint64 n = 0;
  for (guint64 i = 0; i < builder->n_rows; i++) {
    double value = g_array_index(column->numbers, double, builder->rows[i]);
    if (isnan(value)) continue;
    if (fabs(value) > FLT_MAX) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                  "column \"%s\", row %" G_GUINT64_FORMAT ": %g is no float32", column->name, builder->rows[i], value);
      return FALSE;
    }
    sum += (float)value;
    n++;
  }
  *mean = n > 0 ? sum / (double)n : 0;
  for (guint64 i = 0; i < builder->n_rows; i++) {
    double value = g_array_index(column->numbers, double, builder->rows[i]);
    if (!isnan(value)) squares += ((float)value - *mean) * ((float)value - *mean);
  }
  *sd = n > 0 ? sqrt(squares / (double)n) : 0;
  if (*sd <= 1e-6 * fabs(*mean)) *sd = 0; /* no more than float32 rounding */
  return TRUE;
}

typedef struct {
  const gchar *text;
  guint64 count;
} Category;

static gint compare_frequency(gconstpointer a, gconstpointer b)
{
  const Category *x = a, *y = b;
  if (x->count != y->count) return x->count < y->count ? 1 : -1;
  return strcmp(x->text, y->text);
}

static gint compare_text(gconstpointer a, gconstpointer b)
{
  return strcmp(((const Category *)a)->text, ((const Category *)b)->text);
}

/* The categories of the rows, at most PIPELINE_MAX_ONE_HOT, sorted by text; a missing cell is the category "". */
static GArray *find_categories(const Builder *builder, const DriftColumn *column)
{
  guint n = column->dictionary->len;
  g_autofree guint64 *counts = g_new0(guint64, n + 1);
  for (guint64 i = 0; i < builder->n_rows; i++) {
    guint32 code = g_array_index(column->codes, guint32, builder->rows[i]);
    counts[code == DRIFT_CODE_MISSING ? n : code]++;
  }
  GArray *categories = g_array_new(FALSE, FALSE, sizeof(Category));
  for (guint i = 0; i <= n; i++) {
    Category category = {i == n ? "" : g_ptr_array_index(column->dictionary, i), counts[i]};
    if (category.count > 0) g_array_append_val(categories, category);
  }
  g_array_sort(categories, compare_frequency);
  if (categories->len > PIPELINE_MAX_ONE_HOT) g_array_set_size(categories, PIPELINE_MAX_ONE_HOT);
  g_array_sort(categories, compare_text);
  return categories;
}

/* --- inputs and preprocessing ------------------------------------------------------------------------------------- */

static OnnxNode *add_node(OnnxGraph *graph, const gchar *domain, const gchar *op_type, GPtrArray *inputs,
                          const gchar *output)
{
  g_ptr_array_add(inputs, NULL);
  OnnxNode *node = onnx_graph_add_node_strv(graph, domain, op_type, (const gchar *const *)inputs->pdata,
                                            (const gchar *const[]){output, NULL});
  g_ptr_array_set_size(inputs, (gint)inputs->len - 1);
  return node;
}

/* The name of the tensor that holds all numeric inputs [N, n_numeric]. */
static const gchar *join_numbers(OnnxGraph *graph, GPtrArray *numeric, gboolean has_text)
{
  if (!has_text) {
    g_autofree gchar *shape = g_strdup_printf("N,%u", numeric->len);
    onnx_graph_add_input(graph, "features", ONNX_TYPE_FLOAT, shape);
    return "features";
  }
  for (guint i = 0; i < numeric->len; i++)
    onnx_graph_add_input(graph, g_ptr_array_index(numeric, i), ONNX_TYPE_FLOAT, "N,1");
  if (numeric->len == 1) return g_ptr_array_index(numeric, 0);
  onnx_node_set_int(add_node(graph, "", "Concat", numeric, "kedge.numbers"), "axis", 1);
  return "kedge.numbers";
}

static gboolean add_numbers(Builder *builder, GPtrArray *numeric, gboolean has_text, GPtrArray *parts, GError **error)
{
  g_autofree float *means = g_new(float, numeric->len), *scales = g_new(float, numeric->len);
  for (guint i = 0; i < numeric->len; i++) {
    double mean, sd;
    const DriftColumn *column = drift_table_get_column(builder->table, g_ptr_array_index(numeric, i));
    if (!mean_and_sd(builder, column, &mean, &sd, error)) return FALSE;
    gboolean constant = sd == 0;
    means[i] = (float)mean;
    scales[i] = (float)(1 / (constant ? MAX(1, fabs(mean)) : sd));
    g_array_append_val(builder->constant, constant);
  }
  const gchar *joined = join_numbers(builder->graph, numeric, has_text);
  OnnxNode *imputer = onnx_graph_add_node_strv(builder->graph, ML, "Imputer", (const gchar *const[]){joined, NULL},
                                               (const gchar *const[]){"kedge.imputed", NULL});
  onnx_node_set_floats(imputer, "imputed_value_floats", means, numeric->len);
  onnx_node_set_float(imputer, "replaced_value_float", NAN);
  OnnxNode *scaler = onnx_graph_add_node(builder->graph, ML, "Scaler", "kedge.imputed", "kedge.scaled");
  onnx_node_set_floats(scaler, "offset", means, numeric->len);
  onnx_node_set_floats(scaler, "scale", scales, numeric->len);
  g_ptr_array_add(parts, g_strdup("kedge.scaled"));
  return TRUE;
}

static void add_category(Builder *builder, const gchar *name, guint number, GPtrArray *parts)
{
  g_autoptr(GArray) categories = find_categories(builder, drift_table_get_column(builder->table, name));
  g_autofree const gchar **texts = g_new0(const gchar *, categories->len + 1);
  for (guint i = 0; i < categories->len; i++) {
    gboolean constant = categories->len == 1;
    texts[i] = g_array_index(categories, Category, i).text;
    g_array_append_val(builder->constant, constant);
  }
  g_autofree gchar *encoded = g_strdup_printf("kedge.category_%u", number);
  gchar *flat = g_strdup_printf("kedge.one_hot_%u", number);
  onnx_graph_add_input(builder->graph, name, ONNX_TYPE_STRING, "N,1");
  OnnxNode *encoder = onnx_graph_add_node_strv(builder->graph, ML, "OneHotEncoder", (const gchar *const[]){name, NULL},
                                               (const gchar *const[]){encoded, NULL});
  onnx_node_set_strings(encoder, "cats_strings", texts, categories->len);
  onnx_node_set_int(encoder, "zeros", 1);
  OnnxNode *flatten = onnx_graph_add_node(builder->graph, "", "Flatten", encoded, flat);
  onnx_node_set_int(flatten, "axis", 1);
  g_ptr_array_add(parts, flat);
}

gboolean pipeline_network_check_feature_name(const gchar *name, GError **error)
{
  if (!g_str_equal(name, "label") && !g_str_equal(name, "probabilities") && !g_str_equal(name, "value") &&
      !g_str_has_prefix(name, "kedge."))
    return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "a feature cannot be named \"%s\": the ONNX graph uses that name for an output; rename the column", name);
  return FALSE;
}

static gboolean check_feature(const Builder *builder, const DriftFeature *feature, GError **error)
{
  const DriftColumn *column = drift_table_get_column(builder->table, feature->name);
  if (!column || column->kind != feature->kind) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "column \"%s\" is %s", feature->name,
                !column                         ? "not in the data"
                : column->kind == DRIFT_NUMERIC ? "numeric in the data and categorical in the schema"
                                                : "categorical in the data and numeric in the schema");
    return FALSE;
  }
  return pipeline_network_check_feature_name(feature->name, error);
}

static gboolean check_width(const Builder *builder, GError **error)
{
  if (builder->constant->len <= MAX_WIDTH) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "%u columns after one-hot encoding; at most %u are supported", builder->constant->len, MAX_WIDTH);
  return FALSE;
}

/* Inputs and transformations that were fitted. */
static gboolean add_prepared(Builder *builder, const gchar **features, GError **error)
{
  const PipelinePrepared *prepared = builder->prepared;
  for (guint i = 0; i < drift_schema_n_features(builder->schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(builder->schema, i);
    if (feature->input && !pipeline_network_check_feature_name(feature->name, error)) return FALSE;
  }
  pipeline_prepared_emit(prepared, builder->graph);
  g_autofree gchar *plan = pipeline_prepared_format_plan(prepared);
  onnx_graph_set_metadata(builder->graph, PIPELINE_PLAN_KEY, plan);
  g_array_append_vals(builder->constant, prepared->constant, prepared->names->len);
  *features = PIPELINE_PREPARED_FEATURES;
  return check_width(builder, error);
}

/* Adds inputs and preprocessing; *features is the name of the feature matrix. */
static gboolean add_prefix(Builder *builder, const gchar **features, GError **error)
{
  g_autoptr(GPtrArray) numeric = g_ptr_array_new(), text = g_ptr_array_new();
  g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < drift_schema_n_features(builder->schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(builder->schema, i);
    if (!feature->input) continue;
    if (!check_feature(builder, feature, error)) return FALSE;
    g_ptr_array_add(feature->kind == DRIFT_NUMERIC ? numeric : text, feature->name);
  }
  if (numeric->len + text->len == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "no feature of the schema is an input of the model");
    return FALSE;
  }
  if (numeric->len > 0 && !add_numbers(builder, numeric, text->len > 0, parts, error)) return FALSE;
  for (guint i = 0; i < text->len; i++) add_category(builder, g_ptr_array_index(text, i), i, parts);
  *features = "kedge.features";
  if (parts->len > 1)
    onnx_node_set_int(add_node(builder->graph, "", "Concat", parts, "kedge.features"), "axis", 1);
  else
    *features = numeric->len > 0 ? "kedge.scaled" : "kedge.one_hot_0";
  return check_width(builder, error);
}

/* --- layers ------------------------------------------------------------------------------------------------------- */

/* Uniform in ±sqrt(gain / fan): He (6 / n_in) before a Relu, Glorot (6 / (n_in + n_out)) before the head. */
static float *random_weights(Builder *builder, guint n_in, guint n_out, gboolean first, gboolean hidden)
{
  float *weight = g_new(float, (gsize)n_in *n_out);
  double bound = sqrt(6.0 / (hidden ? n_in : n_in + n_out));
  for (gsize i = 0; i < (gsize)n_in * n_out; i++) {
    weight[i] = (float)(bound * (2 * pipeline_random_uniform(&builder->random) - 1));
    if (first && g_array_index(builder->constant, gboolean, i % n_in)) weight[i] = 0;
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
  guint n_in = builder->constant->len;
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

void pipeline_network_add_classifier_head(OnnxGraph *graph, const DriftSchema *schema)
{
  const gint64 n = schema->classes->len, all = -1;
  g_autofree gint64 *numbers = integer_classes(schema);
  g_autofree gchar *shape = g_strdup_printf("N,%" G_GINT64_FORMAT, n);
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Softmax", "kedge.logits", "probabilities"), "axis", 1);
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

static GBytes *build(Builder *builder, const GArray *widths, const float *targets, GError **error)
{
  const DriftSchema *schema = builder->schema;
  gboolean regression = schema->task == DRIFT_TASK_REGRESSION;
  guint n_outputs = regression ? 1 : schema->classes->len;
  const gchar *features = NULL;
  onnx_graph_set_opset(builder->graph, "", 17);
  onnx_graph_set_opset(builder->graph, ML, 3);
  if (!(builder->prepared ? add_prepared(builder, &features, error) : add_prefix(builder, &features, error)) ||
      !check_size(widths, builder->constant->len, n_outputs, error))
    return NULL;
  add_layers(builder, widths, n_outputs, features, "kedge.logits");
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
  g_autoptr(GArray) constant = g_array_new(FALSE, FALSE, sizeof(gboolean));
  builder->graph = graph, builder->constant = constant;
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
