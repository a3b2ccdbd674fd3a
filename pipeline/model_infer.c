/* The schema of a model that carries none: what the graph names, else what the table shows. */
#include <math.h>
#include <string.h>

#include "pipeline/model_internal.h"
#include "pipeline/model_spec.h"

#define MAX_DISTINCT 1000u /* values of a label, beyond which they are no classes */

/* --- what the graph declares
 * -------------------------------------------------------------------------------------------- */

typedef struct {
  guint n_columns;         /* of the widest float output [N, C] or [N]; 0: none that says so */
  gboolean is_probability; /* … by its last operator or its name, where it has one column */
  gboolean is_regressor;   /* its last operator is one of values */
} Declared;

static gboolean says_probability(const OnnxGraph *graph, const OnnxValue *value)
{
  const OnnxNode *node = pipeline_model_origin(graph, value->name);
  g_autofree gchar *name = g_ascii_strdown(value->name, -1);
  return strstr(name, "prob") || strstr(name, "logit") || (node && g_str_equal(node->op_type, "Sigmoid"));
}

/* One of them, or several side by side. */
static gboolean says_value(const OnnxGraph *graph, const gchar *value)
{
  static const gchar *const regressors[] = {"TreeEnsembleRegressor", "LinearRegressor", "SVMRegressor", NULL};
  const OnnxNode *node = pipeline_model_origin(graph, value);
  if (!node || g_strv_contains(regressors, node->op_type)) return node != NULL;
  if (!g_str_equal(node->op_type, "Concat")) return FALSE;
  for (guint i = 0; i < node->inputs->len; i++) {
    const OnnxNode *part = pipeline_model_origin(graph, g_ptr_array_index(node->inputs, i));
    if (!part || !g_strv_contains(regressors, part->op_type)) return FALSE;
  }
  return TRUE;
}

/* As classes its columns would be scores, which they are not. */
static gboolean check_one_value(Declared declared, GError **error)
{
  if (!declared.is_regressor || declared.n_columns < 2) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
              "the model is a regression of %u values a row, and kedge watches and measures one: `kedge predict MODEL "
              "DATA.npz` (or .npy) writes all of them",
              declared.n_columns);
  return FALSE;
}

static Declared read_declared(const OnnxGraph *graph)
{
  Declared declared = {0};
  for (guint i = 0; i < graph->outputs->len; i++) {
    const OnnxValue *value = g_ptr_array_index(graph->outputs, i);
    gboolean real = value->type == ONNX_TYPE_FLOAT || value->type == ONNX_TYPE_DOUBLE;
    if (!real || !value->has_shape || value->n_dims < 1 || value->n_dims > 2) continue;
    gint64 n = value->n_dims == 1 ? 1 : value->dims[1].size;
    if (n <= (gint64)declared.n_columns || n > G_MAXUINT16) continue;
    declared.n_columns = (guint)n;
    declared.is_probability = says_probability(graph, value);
    declared.is_regressor = says_value(graph, value->name);
  }
  return declared;
}

/* --- classes
 * ------------------------------------------------------------------------------------------------------------ */

static DriftSchema *schema_of_classes(GPtrArray *names, const gchar *label)
{
  DriftSchema *schema = drift_schema_new(names->len == 2 ? DRIFT_TASK_BINARY : DRIFT_TASK_MULTICLASS, label);
  for (guint i = 0; i < names->len; i++) drift_schema_add_class(schema, g_ptr_array_index(names, i));
  schema->positive_class = names->len == 2 ? 1 : 0;
  return schema;
}

/* NULL: fewer than two, or names that no class can have. */
static DriftSchema *schema_of_labels(const PipelineModelLabels *labels, const gchar *label)
{
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < labels->n; i++) {
    gchar *name = labels->texts ? g_strndup(labels->texts[i].text, labels->texts[i].length)
                                : g_strdup_printf("%" G_GINT64_FORMAT, labels->integers[i]);
    g_ptr_array_add(names, name);
    if (*name == '\0' || !g_utf8_validate(name, -1, NULL)) return NULL;
  }
  return names->len < 2 ? NULL : schema_of_classes(names, label);
}

static DriftSchema *schema_of_positions(guint n, const gchar *label)
{
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < n; i++) g_ptr_array_add(names, g_strdup_printf("%u", i));
  return schema_of_classes(names, label);
}

static gboolean has_class(const DriftSchema *schema, const DriftValue *value)
{
  return drift_schema_class_of(schema, value) >= 0;
}

/* Every value of the column is a class of the schema, and it has one. */
static gboolean classes_cover(const DriftSchema *schema, const DriftColumn *column)
{
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_double_hash, g_double_equal, g_free, NULL);
  guint n = 0;
  if (column->kind == DRIFT_CATEGORICAL) {
    g_autofree gboolean *used = g_new0(gboolean, column->dictionary->len + 1);
    for (guint row = 0; row < column->codes->len; row++) {
      guint32 code = g_array_index(column->codes, guint32, row);
      if (code != DRIFT_CODE_MISSING) used[code] = TRUE;
    }
    for (guint i = 0; i < column->dictionary->len; i++) {
      if (!used[i]) continue;
      const DriftValue value = drift_value_text(g_ptr_array_index(column->dictionary, i), -1);
      if (!has_class(schema, &value)) return FALSE;
      n++;
    }
    return n > 0;
  }
  for (guint row = 0; row < column->numbers->len; row++) {
    double number = g_array_index(column->numbers, double, row);
    if (isnan(number) || g_hash_table_contains(seen, &number)) continue;
    const DriftValue value = {.kind = DRIFT_VALUE_NUMBER, .number = number};
    if (!has_class(schema, &value) || g_hash_table_size(seen) == MAX_DISTINCT) return FALSE;
    g_hash_table_add(seen, g_memdup2(&number, sizeof number));
  }
  return g_hash_table_size(seen) > 0;
}

/* --- with and without a label
 * ------------------------------------------------------------------------------------------- */

/* Takes what the graph says where the table agrees; NULL: the table alone decides. */
static DriftSchema *schema_beside_label(DriftSchema *named, Declared declared, const DriftColumn *column)
{
  g_autoptr(DriftSchema) owned = named;
  if (named) return classes_cover(named, column) ? g_steal_pointer(&owned) : NULL;
  if (declared.n_columns > 1) {
    g_autoptr(DriftSchema) positions = schema_of_positions(declared.n_columns, column->name);
    return classes_cover(positions, column) ? g_steal_pointer(&positions) : NULL;
  }
  if (declared.n_columns != 1 || column->kind != DRIFT_NUMERIC) return NULL;
  if (declared.is_regressor) return drift_schema_new(DRIFT_TASK_REGRESSION, column->name);
  g_autoptr(DriftSchema) two = schema_of_positions(2, column->name);
  double first = NAN, second = NAN;
  for (guint row = 0; row < column->numbers->len; row++) {
    double number = g_array_index(column->numbers, double, row);
    if (isnan(number) || number == first || number == second) continue;
    if (!isnan(first) && !isnan(second)) return drift_schema_new(DRIFT_TASK_REGRESSION, column->name);
    *(isnan(first) ? &first : &second) = number;
  }
  return declared.is_probability && classes_cover(two, column) ? g_steal_pointer(&two) : NULL;
}

/* A name for the label that no column has. */
static gchar *free_label(const DriftTable *table)
{
  g_autoptr(GString) name = g_string_new("label");
  while (drift_table_get_column(table, name->str)) g_string_append_c(name, '_');
  return g_strdup(name->str);
}

static DriftSchema *schema_without_label(DriftSchema *named, Declared declared, const gchar *label, GError **error)
{
  if (named) return named;
  if (declared.n_columns > 1) return schema_of_positions(declared.n_columns, label);
  if (declared.n_columns == 1 && declared.is_probability && !declared.is_regressor)
    return schema_of_positions(2, label);
  if (declared.n_columns == 1) return drift_schema_new(DRIFT_TASK_REGRESSION, label);
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                      "the model names no classes and declares no float output [N, C]; give --label COLUMN and data "
                      "with that column, from which they are inferred");
  return NULL;
}

/* Where every input of the graph has one column and finds its name in the table, the others are not the model's. */
static void keep_unnamed_out(const OnnxGraph *graph, DriftSchema *schema)
{
  guint n = drift_schema_n_features(schema), n_found = 0;
  g_autofree gboolean *named = g_new0(gboolean, n + 1);
  for (guint i = 0; i < graph->inputs->len; i++) {
    const OnnxValue *value = g_ptr_array_index(graph->inputs, i);
    if (!value->has_shape || value->n_dims > 2 || (value->n_dims == 2 && value->dims[1].size != 1)) return;
    guint f = 0;
    while (f < n && (named[f] || !pipeline_model_names_match(drift_schema_get_feature(schema, f)->name, value->name)))
      f++;
    if (f == n) return;
    named[f] = TRUE;
    n_found++;
  }
  for (guint f = 0; n_found > 0 && f < n; f++)
    ((DriftFeature *)g_ptr_array_index(schema->features, f))->input = named[f];
}

/* The task and classes; NULL without an error: the table alone decides. */
static DriftSchema *infer_task(const OnnxGraph *graph, const DriftTable *table, const gchar *label, GError **error)
{
  const DriftColumn *column = label ? drift_table_get_column(table, label) : NULL;
  g_autofree gchar *name = label ? g_strdup(label) : free_label(table);
  const PipelineBackend *backend = pipeline_backend_find("reference", TRUE, error);
  g_autoptr(PipelineExecutor) executor = backend ? pipeline_executor_new(graph, backend, error) : NULL;
  PipelineModelLabels labels = {0};
  Declared declared = read_declared(graph);
  if (!executor || (label && !column)) return NULL;
  DriftSchema *named = NULL;
  if (pipeline_model_labels_find(graph, executor, declared.n_columns, &labels)) named = schema_of_labels(&labels, name);
  pipeline_model_labels_clear(&labels);
  if (!named && !check_one_value(declared, error)) return NULL;
  return column ? schema_beside_label(named, declared, column) : schema_without_label(named, declared, name, error);
}

DriftSchema *pipeline_model_infer_schema(GBytes *onnx, const DriftTable *table, const gchar *label, GError **error)
{
  g_autoptr(GError) failure = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, &failure);
  if (graph) onnx_graph_simplify(graph);
  g_autoptr(DriftSchema) schema = graph ? infer_task(graph, table, label, &failure) : NULL;
  if (failure) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, failure->message);
    return NULL;
  }
  if (!schema) {
    schema = pipeline_model_spec_infer(table, label, NULL, NULL, error);
  } else if (!pipeline_model_spec_infer_features(schema, table, label, NULL, NULL, error)) {
    return NULL;
  }
  if (schema) keep_unnamed_out(graph, schema);
  return g_steal_pointer(&schema);
}
