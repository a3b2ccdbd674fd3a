#include "pipeline/model_spec.h"

#include <math.h>
#include <string.h>
#include <jansson.h>

#include "drift/embedding.h"
#include "pipeline/error.h"

#define MAX_SPEC_BYTES (4u << 20)
#define MAX_FEATURES 4096u
#define MAX_CLASSES 1000u
#define MAX_INTEGER_CLASSES 20u

static const struct {
  const gchar *name;
  DriftTask task;
} tasks[] = {
    {"binary", DRIFT_TASK_BINARY}, {"multiclass", DRIFT_TASK_MULTICLASS}, {"regression", DRIFT_TASK_REGRESSION}};

static const struct {
  const gchar *name;
  DriftFeatureKind kind;
} kinds[] = {{"numeric", DRIFT_NUMERIC}, {"categorical", DRIFT_CATEGORICAL}};

static gboolean invalid(GError **error, const gchar *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean invalid(GError **error, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *what = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "model spec: %s", what);
  return FALSE;
}

static gboolean data_error(GError **error, const gchar *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean data_error(GError **error, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *what = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, what);
  return FALSE;
}

/* --- parse ------------------------------------------------------------------------------------------------------ */

static gboolean parse_task(const gchar *name, DriftTask *task, GError **error)
{
  for (guint i = 0; name && i < G_N_ELEMENTS(tasks); i++) {
    if (!g_str_equal(tasks[i].name, name)) continue;
    *task = tasks[i].task;
    return TRUE;
  }
  return invalid(error, "\"task\" must be \"binary\", \"multiclass\" or \"regression\"");
}

static gboolean parse_flag(json_t *object, const gchar *key, gboolean fallback, gboolean *flag, GError **error)
{
  json_t *value = json_object_get(object, key);
  if (value && !json_is_boolean(value)) return invalid(error, "\"%s\" of a feature must be true or false", key);
  *flag = value ? json_is_true(value) : fallback;
  return TRUE;
}

/* {"name": "e", "kind": "embedding", "elements": 64}: the numeric features e[0] … e[63]. */
static gboolean parse_embedding(DriftSchema *schema, json_t *item, const gchar *name, GError **error)
{
  gboolean sensitive = FALSE, input = TRUE;
  json_int_t n = json_integer_value(json_object_get(item, "elements"));
  guint left = MAX_FEATURES - drift_schema_n_features(schema);
  if (!parse_flag(item, "sensitive", FALSE, &sensitive, error) || !parse_flag(item, "input", TRUE, &input, error))
    return FALSE;
  if (n < 1 || n > left)
    return invalid(error, "\"elements\" of embedding \"%s\" must be a whole number of 1 to %u (%u features in all)",
                   name, left, MAX_FEATURES);
  for (json_int_t i = 0; i < n; i++) {
    g_autofree gchar *element = g_strdup_printf("%s[%" JSON_INTEGER_FORMAT "]", name, i);
    if (drift_schema_find_feature(schema, element) >= 0 || g_str_equal(element, schema->label))
      return invalid(error, "embedding \"%s\" has an element \"%s\", which is the name of another column", name,
                     element);
    drift_schema_add_feature(schema, element, DRIFT_NUMERIC, sensitive, input);
  }
  return TRUE;
}

static gboolean parse_feature(DriftSchema *schema, json_t *item, guint index, GError **error)
{
  const gchar *name = json_string_value(json_object_get(item, "name"));
  const gchar *kind = json_string_value(json_object_get(item, "kind"));
  if (!name || !*name) return invalid(error, "feature %u has no \"name\"", index);
  if (g_str_equal(name, schema->label)) return invalid(error, "feature \"%s\" is the label", name);
  if (drift_schema_find_feature(schema, name) >= 0) return invalid(error, "two features are named \"%s\"", name);
  if (kind && g_str_equal(kind, "embedding")) return parse_embedding(schema, item, name, error);
  for (guint i = 0; kind && i < G_N_ELEMENTS(kinds); i++) {
    if (!g_str_equal(kinds[i].name, kind)) continue;
    gboolean sensitive = FALSE, input = TRUE;
    if (!parse_flag(item, "sensitive", FALSE, &sensitive, error) || !parse_flag(item, "input", TRUE, &input, error))
      return FALSE;
    drift_schema_add_feature(schema, name, kinds[i].kind, sensitive, input);
    return TRUE;
  }
  return invalid(error, "\"kind\" of feature \"%s\" must be \"numeric\", \"categorical\" or \"embedding\"", name);
}

static gboolean parse_features(DriftSchema *schema, json_t *list, GError **error)
{
  if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > MAX_FEATURES)
    return invalid(error, "\"features\" must be a list of 1 to %u features", MAX_FEATURES);
  size_t i;
  json_t *item;
  json_array_foreach (list, i, item) {
    if (!parse_feature(schema, item, (guint)i, error)) return FALSE;
  }
  return TRUE;
}

static gboolean parse_classes(DriftSchema *schema, json_t *root, GError **error)
{
  json_t *list = json_object_get(root, "classes");
  if (schema->task == DRIFT_TASK_REGRESSION)
    return json_array_size(list) == 0 || invalid(error, "a regression has no \"classes\"");
  gsize n = json_array_size(list), least = 2, most = schema->task == DRIFT_TASK_BINARY ? 2 : MAX_CLASSES;
  if (n < least || n > most) return invalid(error, "\"classes\" must be a list of %zu to %zu texts", least, most);
  for (gsize i = 0; i < n; i++) {
    const gchar *name = json_string_value(json_array_get(list, i));
    if (!name || !*name) return invalid(error, "class %zu is not a text", i);
    if (g_ptr_array_find_with_equal_func(schema->classes, name, g_str_equal, NULL))
      return invalid(error, "class \"%s\" is listed twice", name);
    drift_schema_add_class(schema, name);
  }
  if (schema->task != DRIFT_TASK_BINARY) return TRUE;
  json_t *positive = json_object_get(root, "positive_class");
  if (!positive) {
    schema->positive_class = 1;
    return TRUE;
  }
  const gchar *name = json_string_value(positive);
  if (!name || !g_ptr_array_find_with_equal_func(schema->classes, name, g_str_equal, &schema->positive_class))
    return invalid(error, "\"positive_class\" is not one of the classes");
  return TRUE;
}

static DriftSchema *parse_root(json_t *root, GError **error)
{
  DriftTask task = DRIFT_TASK_BINARY;
  const gchar *label = json_string_value(json_object_get(root, "label"));
  if (!parse_task(json_string_value(json_object_get(root, "task")), &task, error)) return NULL;
  if (!label || !*label) {
    invalid(error, "\"label\" must name the label column");
    return NULL;
  }
  g_autoptr(DriftSchema) schema = drift_schema_new(task, label);
  if (!parse_classes(schema, root, error) || !parse_features(schema, json_object_get(root, "features"), error))
    return NULL;
  return g_steal_pointer(&schema);
}

DriftSchema *pipeline_model_spec_parse(const gchar *json, GError **error)
{
  g_return_val_if_fail(json != NULL, NULL);
  if (strlen(json) > MAX_SPEC_BYTES) {
    invalid(error, "longer than 4 MiB");
    return NULL;
  }
  json_error_t problem;
  json_t *root = json_loads(json, JSON_REJECT_DUPLICATES, &problem);
  if (!root) {
    g_autofree gchar *what = g_utf8_make_valid(problem.text, -1); /* jansson cuts what it quotes within a letter */
    invalid(error, "line %d, column %d: %s", problem.line, problem.column, what);
    return NULL;
  }
  DriftSchema *schema = parse_root(root, error);
  json_decref(root);
  return schema;
}

/* --- format ----------------------------------------------------------------------------------------------------- */

/* The feature `index`, or the embedding that begins there; *n: the features it stands for. */
static json_t *format_feature(const DriftSchema *schema, guint index, guint *n)
{
  const DriftFeature *feature = drift_schema_get_feature(schema, index);
  g_autofree gchar *embedding = NULL;
  *n = drift_embedding_run(schema, index, &embedding);
  if (*n > 1)
    return json_pack("{s:s, s:s, s:i, s:b, s:b}", "name", embedding, "kind", "embedding", "elements", (int)*n,
                     "sensitive", feature->sensitive, "input", feature->input);
  *n = 1;
  return json_pack("{s:s, s:s, s:b, s:b}", "name", feature->name, "kind",
                   kinds[feature->kind == DRIFT_CATEGORICAL].name, "sensitive", feature->sensitive, "input",
                   feature->input);
}

gchar *pipeline_model_spec_format(const DriftSchema *schema)
{
  g_return_val_if_fail(schema != NULL, NULL);
  json_t *root = json_object(), *classes = json_array(), *features = json_array();
  const gchar *task = tasks[0].name;
  for (guint i = 0; i < G_N_ELEMENTS(tasks); i++)
    if (tasks[i].task == schema->task) task = tasks[i].name;
  json_object_set_new(root, "task", json_string(task));
  json_object_set_new(root, "label", json_string(schema->label));
  for (guint i = 0; i < schema->classes->len; i++)
    json_array_append_new(classes, json_string(g_ptr_array_index(schema->classes, i)));
  json_object_set_new(root, "classes", classes);
  if (schema->task == DRIFT_TASK_BINARY && schema->positive_class < schema->classes->len)
    json_object_set_new(root, "positive_class",
                        json_string(g_ptr_array_index(schema->classes, schema->positive_class)));
  for (guint i = 0, n; i < drift_schema_n_features(schema); i += n)
    json_array_append_new(features, format_feature(schema, i, &n));
  json_object_set_new(root, "features", features);
  char *dumped = json_dumps(root, JSON_COMPACT);
  gchar *text = g_strdup(dumped);
  free(dumped);
  json_decref(root);
  return text;
}

/* --- infer ------------------------------------------------------------------------------------------------------ */

static gint compare_numbers(gconstpointer a, gconstpointer b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static gint compare_texts(gconstpointer a, gconstpointer b)
{
  return strcmp(*(const gchar *const *)a, *(const gchar *const *)b);
}

/* Names of the integer values of a numeric label in increasing order, or NULL when it is a quantity. */
static GPtrArray *integer_classes(const DriftColumn *label)
{
  double values[MAX_INTEGER_CLASSES];
  guint n = 0;
  for (guint row = 0; row < label->numbers->len; row++) {
    double value = g_array_index(label->numbers, double, row);
    if (isnan(value)) continue;
    if (value != floor(value) || fabs(value) > 1e15) return NULL;
    guint i = 0;
    while (i < n && values[i] != value) i++;
    if (i < n) continue;
    if (n == MAX_INTEGER_CLASSES) return NULL;
    values[n++] = value == 0 ? 0 : value; /* -0 and 0 are one class */
  }
  qsort(values, n, sizeof values[0], compare_numbers);
  GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < n; i++) g_ptr_array_add(names, g_strdup_printf("%.0f", values[i]));
  return names;
}

static GPtrArray *text_classes(const DriftColumn *label)
{
  /* A selection of rows keeps the whole dictionary: only texts that a row has are classes. */
  g_autofree gboolean *used = g_new0(gboolean, label->dictionary->len + 1);
  for (guint row = 0; row < label->codes->len; row++) {
    guint32 code = g_array_index(label->codes, guint32, row);
    if (code != DRIFT_CODE_MISSING) used[code] = TRUE;
  }
  GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < label->dictionary->len; i++)
    if (used[i]) g_ptr_array_add(names, g_strdup(g_ptr_array_index(label->dictionary, i)));
  g_ptr_array_sort(names, compare_texts);
  return names;
}

static DriftSchema *infer_label(const DriftColumn *column, GError **error)
{
  g_autoptr(GPtrArray) names = column->kind == DRIFT_NUMERIC ? integer_classes(column) : text_classes(column);
  if (!names) return drift_schema_new(DRIFT_TASK_REGRESSION, column->name);
  if (names->len < 2) {
    data_error(error, "label \"%s\" has %s; there is nothing to learn", column->name,
               names->len == 0 ? "no value" : "only one value");
    return NULL;
  }
  if (names->len > MAX_CLASSES) {
    data_error(error, "label \"%s\" has %u different texts; at most %u classes are supported", column->name, names->len,
               MAX_CLASSES);
    return NULL;
  }
  DriftSchema *schema = drift_schema_new(names->len == 2 ? DRIFT_TASK_BINARY : DRIFT_TASK_MULTICLASS, column->name);
  for (guint i = 0; i < names->len; i++) drift_schema_add_class(schema, g_ptr_array_index(names, i));
  schema->positive_class = names->len == 2 ? 1 : 0;
  return schema;
}

static gboolean check_sensitive(const DriftTable *table, const gchar *label, const gchar *const *names, GError **error)
{
  for (; names && *names; names++) {
    if (!drift_table_get_column(table, *names))
      return data_error(error, "sensitive column \"%s\" is not in the data", *names);
    if (g_str_equal(*names, label))
      return data_error(error, "column \"%s\" is the label and cannot be sensitive", label);
  }
  return TRUE;
}

gboolean pipeline_model_spec_infer_features(DriftSchema *schema, const DriftTable *table, const gchar *label,
                                            const gchar *const *sensitive, const gchar *const *exclude, GError **error)
{
  for (guint i = 0; i < table->columns->len; i++) {
    const DriftColumn *column = g_ptr_array_index(table->columns, i);
    if (g_strcmp0(column->name, label) == 0 || (exclude && g_strv_contains(exclude, column->name))) continue;
    gboolean is_sensitive = sensitive && g_strv_contains(sensitive, column->name);
    drift_schema_add_feature(schema, column->name, column->kind, is_sensitive, TRUE);
  }
  guint n = drift_schema_n_features(schema);
  return (n > 0 && n <= MAX_FEATURES) ||
         data_error(error, "the data has %u feature columns; 1 to %u are supported", n, MAX_FEATURES);
}

DriftSchema *pipeline_model_spec_infer(const DriftTable *table, const gchar *label, const gchar *const *sensitive,
                                       const gchar *const *exclude, GError **error)
{
  g_return_val_if_fail(table != NULL && label != NULL, NULL);
  const DriftColumn *label_column = drift_table_get_column(table, label);
  if (!label_column) {
    data_error(error, "label column \"%s\" is not in the data", label);
    return NULL;
  }
  if (!check_sensitive(table, label, sensitive, error)) return NULL;
  g_autoptr(DriftSchema) schema = infer_label(label_column, error);
  if (!schema) return NULL;
  return pipeline_model_spec_infer_features(schema, table, label, sensitive, exclude, error) ? g_steal_pointer(&schema)
                                                                                             : NULL;
}
