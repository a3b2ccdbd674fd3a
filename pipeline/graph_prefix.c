/* Inputs and preprocessing of a new graph. */
#include "pipeline/graph_prefix.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define ML "ai.onnx.ml"

typedef struct {
  const DriftTable *table;
  const DriftSchema *schema;
  const guint64 *rows;
  guint64 n_rows;
  OnnxGraph *graph;
  gboolean standardise;
  PipelineGraphPrefix *prefix;
} Builder;

void pipeline_graph_prefix_clear(PipelineGraphPrefix *prefix)
{
  g_clear_pointer(&prefix->columns, g_ptr_array_unref);
  g_clear_pointer(&prefix->constant, g_array_unref);
  g_clear_pointer(&prefix->features, g_free);
}

static void add_column(Builder *builder, gchar *name, gboolean constant)
{
  g_ptr_array_add(builder->prefix->columns, name);
  g_array_append_val(builder->prefix->constant, constant);
}

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
    add_column(builder, g_strdup(g_ptr_array_index(numeric, i)), constant);
    means[i] = (float)mean;
    scales[i] = (float)(1 / (constant ? MAX(1, fabs(mean)) : sd));
  }
  const gchar *joined = join_numbers(builder->graph, numeric, has_text);
  if (!builder->standardise) {
    g_ptr_array_add(parts, g_strdup(joined));
    return TRUE;
  }
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
    texts[i] = g_array_index(categories, Category, i).text;
    add_column(builder, g_strdup_printf("%s=%s", name, texts[i]), categories->len == 1);
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

gboolean pipeline_graph_check_feature_name(const gchar *name, GError **error)
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
  return pipeline_graph_check_feature_name(feature->name, error);
}

static gboolean add_parts(Builder *builder, GPtrArray *numeric, GPtrArray *text, GError **error)
{
  g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func(g_free);
  if (numeric->len > 0 && !add_numbers(builder, numeric, text->len > 0, parts, error)) return FALSE;
  for (guint i = 0; i < text->len; i++) add_category(builder, g_ptr_array_index(text, i), i, parts);
  builder->prefix->features = g_strdup(parts->len > 1 ? "kedge.features" : g_ptr_array_index(parts, 0));
  if (parts->len > 1)
    onnx_node_set_int(add_node(builder->graph, "", "Concat", parts, builder->prefix->features), "axis", 1);
  if (builder->prefix->columns->len <= PIPELINE_MAX_COLUMNS) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "%u columns after one-hot encoding; at most %u are supported", builder->prefix->columns->len,
              PIPELINE_MAX_COLUMNS);
  return FALSE;
}

gboolean pipeline_graph_prefix_add(OnnxGraph *graph, const DriftTable *table, const DriftSchema *schema,
                                   const guint64 *rows, guint64 n_rows, gboolean standardise,
                                   PipelineGraphPrefix *prefix, GError **error)
{
  Builder builder = {.table = table,
                     .schema = schema,
                     .rows = rows,
                     .n_rows = n_rows,
                     .graph = graph,
                     .standardise = standardise,
                     .prefix = prefix};
  g_autoptr(GPtrArray) numeric = g_ptr_array_new(), text = g_ptr_array_new();
  prefix->columns = g_ptr_array_new_with_free_func(g_free);
  prefix->constant = g_array_new(FALSE, FALSE, sizeof(gboolean));
  for (guint i = 0; i < drift_schema_n_features(schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    if (!feature->input) continue;
    if (!check_feature(&builder, feature, error)) return FALSE;
    g_ptr_array_add(feature->kind == DRIFT_NUMERIC ? numeric : text, feature->name);
  }
  if (numeric->len + text->len > 0) return add_parts(&builder, numeric, text, error);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "no feature of the schema is an input of the model");
  return FALSE;
}
