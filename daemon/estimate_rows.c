#include "daemon/estimate_rows.h"

#include <math.h>
#include <string.h>

static const DriftColumn *find_column(const DriftTable *table, const gchar *name, const gchar *what, GError **error)
{
  const DriftColumn *column = drift_table_get_column(table, name);
  if (column == NULL) g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%s has no column \"%s\"", what, name);
  return column;
}

static const double *find_numbers(const DriftTable *table, const gchar *name, const gchar *what, GError **error)
{
  const DriftColumn *column = find_column(table, name, what, error);
  if (column == NULL) return NULL;
  if (column->kind == DRIFT_NUMERIC) return (const double *)(gpointer)column->numbers->data;
  for (guint64 i = 0; i < table->n_rows; i++) {
    DriftValue value = drift_column_get_value(column, i);
    if (value.kind == DRIFT_VALUE_MISSING) continue;
    g_autofree gchar *text = g_strndup(value.text, value.length);
    gchar *end;
    g_ascii_strtod(text, &end);
    if (end > text && *end == '\0') continue;
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "%s:%" G_GUINT64_FORMAT ": column \"%s\": \"%.*s\" is not a number", what, i + 2, name,
                (int)value.length, value.text);
    return NULL;
  }
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%s: column \"%s\" is not numeric", what, name);
  return NULL;
}

/* --- classes ------------------------------------------------------------------------------------------------------ */

static gint compare_classes(gconstpointer a, gconstpointer b)
{
  const gchar *x = *(const gchar *const *)a, *y = *(const gchar *const *)b;
  DriftValue first = drift_value_text(x, -1), second = drift_value_text(y, -1);
  double p, q;
  if (drift_value_to_number(&first, &p) && drift_value_to_number(&second, &q)) return p < q ? -1 : p > q;
  return strcmp(x, y);
}

/* The column's distinct values, at most three of them, ascending. */
static GPtrArray *distinct_values(const DriftColumn *column, guint64 n_rows)
{
  GPtrArray *values = g_ptr_array_new_with_free_func(g_free);
  for (guint64 i = 0; i < n_rows && values->len < 3; i++) {
    gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
    gsize length;
    DriftValue value = drift_column_get_value(column, i);
    const gchar *text = drift_value_to_text(&value, buffer, &length);
    if (text == NULL) continue;
    g_autofree gchar *copy = g_strndup(text, length);
    if (!g_ptr_array_find_with_equal_func(values, copy, g_str_equal, NULL))
      g_ptr_array_add(values, g_steal_pointer(&copy));
  }
  g_ptr_array_sort(values, compare_classes);
  return values;
}

/* Index of the positive one of two values; -1: they do not say. */
static gint guess_positive(const GPtrArray *values)
{
  static const gchar *const yes[] = {"1", "true", "yes"};
  for (guint v = 0; v < values->len; v++)
    for (guint i = 0; i < G_N_ELEMENTS(yes); i++)
      if (g_ascii_strcasecmp(values->pdata[v], yes[i]) == 0) return (gint)v;
  DriftValue larger = drift_value_text(values->pdata[values->len - 1], -1);
  double number;
  return values->len == 2 && drift_value_to_number(&larger, &number) ? 1 : -1;
}

static gboolean find_binary_classes(DriftSchema *schema, const DriftTable *reference, const EstimateColumns *columns,
                                    GError **error)
{
  const gchar *name = columns->label != NULL ? columns->label : columns->prediction;
  if (name == NULL) {
    drift_schema_add_class(schema, "0");
    drift_schema_add_class(schema, "1");
    return TRUE;
  }
  const DriftColumn *column = find_column(reference, name, columns->reference_name, error);
  if (column == NULL) return FALSE;
  g_autoptr(GPtrArray) values = distinct_values(column, reference->n_rows);
  gboolean guess = columns->positive == NULL && values->len > 0 && values->len < 3;
  gint positive = guess ? guess_positive(values) : -1;
  for (guint v = 0; columns->positive != NULL && v < values->len; v++)
    if (strcmp(values->pdata[v], columns->positive) == 0) positive = (gint)v;
  if (values->len == 0 || values->len > 2) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "the reference's column \"%s\" has %s values; for more than two classes give --proba CLASS=COLUMN for "
                "each",
                name, values->len == 0 ? "no" : "more than two");
    return FALSE;
  }
  if (values->len == 1 && positive < 0 && columns->positive == NULL) {
    /* "0" alone: the other class is 1 */
    drift_schema_add_class(schema, values->pdata[0]);
    drift_schema_add_class(schema, "1");
    return TRUE;
  }
  if (positive < 0) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "which class is \"%s\" the probability of? give --positive, \"%s\" or \"%s\"",
                columns->probabilities[0], (const gchar *)values->pdata[0],
                (const gchar *)values->pdata[values->len - 1]);
    return FALSE;
  }
  drift_schema_add_class(schema, values->len == 2 ? values->pdata[1 - positive] : "0");
  drift_schema_add_class(schema, values->pdata[positive]);
  return TRUE;
}

static const gchar *column_of(const gchar *probability)
{
  const gchar *equals = strrchr(probability, '=');
  return equals != NULL ? equals + 1 : probability;
}

static gboolean find_named_classes(DriftSchema *schema, const EstimateColumns *columns, GError **error)
{
  for (guint i = 0; columns->probabilities[i] != NULL; i++) {
    const gchar *equals = strrchr(columns->probabilities[i], '=');
    if (equals == NULL || equals == columns->probabilities[i] || equals[1] == '\0') {
      g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "--proba %s: with several, each is CLASS=COLUMN",
                  columns->probabilities[i]);
      return FALSE;
    }
    g_autofree gchar *name = g_strndup(columns->probabilities[i], (gsize)(equals - columns->probabilities[i]));
    drift_schema_add_class(schema, name);
  }
  return TRUE;
}

/* --- classification ----------------------------------------------------------------------------------------------- */

static guint32 *class_column(const DriftSchema *schema, const DriftTable *table, const gchar *name, const gchar *what,
                             GError **error)
{
  const DriftColumn *column = find_column(table, name, what, error);
  guint32 *classes = column != NULL ? g_new(guint32, table->n_rows + 1) : NULL;
  for (guint64 i = 0; classes != NULL && i < table->n_rows; i++) {
    gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
    gsize length = 0;
    DriftValue value = drift_column_get_value(column, i);
    gint class = drift_schema_class_of(schema, &value);
    classes[i] = class >= 0 ? (guint32) class : DRIFT_CODE_MISSING;
    if (class >= 0 || value.kind == DRIFT_VALUE_MISSING) continue;
    const gchar *text = drift_value_to_text(&value, buffer, &length);
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "%s:%" G_GUINT64_FORMAT ": \"%.*s\" in column \"%s\" is none of the classes", what, i + 2, (int)length,
                text, name);
    g_clear_pointer(&classes, g_free);
  }
  return classes;
}

/* A side's columns; the label may be absent from the current data. */
static gboolean fill_side(ClassificationRows *rows, DriftCbpeRows *side, const DriftTable *table, const gchar *what,
                          gboolean label_needed, const EstimateColumns *columns, GError **error)
{
  guint k = g_strv_length((gchar **)columns->probabilities);
  const double **scores = g_new0(const double *, k);
  g_ptr_array_add(rows->owned, scores);
  *side = (DriftCbpeRows){.n = table->n_rows, .n_scores = k, .scores = scores};
  for (guint s = 0; s < k; s++) {
    const gchar *whole = columns->probabilities[s];
    const gchar *name = k == 1 && drift_table_get_column(table, whole) != NULL ? whole : column_of(whole);
    scores[s] = find_numbers(table, name, what, error);
    if (scores[s] == NULL) return FALSE;
  }
  if (columns->prediction != NULL) {
    guint32 *predicted = class_column(rows->schema, table, columns->prediction, what, error);
    if (predicted == NULL) return FALSE;
    g_ptr_array_add(rows->owned, predicted);
    side->predicted = predicted;
  }
  if (columns->label == NULL || (!label_needed && drift_table_get_column(table, columns->label) == NULL)) return TRUE;
  guint32 *truth = class_column(rows->schema, table, columns->label, what, error);
  if (truth == NULL) return FALSE;
  g_ptr_array_add(rows->owned, truth);
  side->truth = truth;
  return TRUE;
}

gboolean classification_rows_init(ClassificationRows *rows, const DriftTable *reference, const DriftTable *current,
                                  const EstimateColumns *columns, GError **error)
{
  guint k = g_strv_length((gchar **)columns->probabilities);
  *rows = (ClassificationRows){.owned = g_ptr_array_new_with_free_func(g_free)};
  rows->schema = drift_schema_new(k == 1 ? DRIFT_TASK_BINARY : DRIFT_TASK_MULTICLASS,
                                  columns->label != NULL ? columns->label : "label");
  return (k == 1 ? find_binary_classes(rows->schema, reference, columns, error)
                 : find_named_classes(rows->schema, columns, error)) &&
         fill_side(rows, &rows->reference, reference, columns->reference_name, TRUE, columns, error) &&
         fill_side(rows, &rows->current, current, columns->current_name, FALSE, columns, error);
}

void classification_rows_clear(ClassificationRows *rows)
{
  drift_schema_free(rows->schema);
  if (rows->owned != NULL) g_ptr_array_unref(rows->owned);
}

/* --- regression --------------------------------------------------------------------------------------------------- */

static gboolean choose_features(RegressionRows *rows, const DriftTable *reference, const DriftTable *current,
                                const EstimateColumns *columns, GError **error)
{
  for (guint i = 0; columns->features != NULL && columns->features[i] != NULL; i++) {
    if (find_column(reference, columns->features[i], columns->reference_name, error) == NULL ||
        find_column(current, columns->features[i], columns->current_name, error) == NULL)
      return FALSE;
    g_ptr_array_add(rows->names, g_strdup(columns->features[i]));
  }
  for (guint i = 0; columns->features == NULL && i < reference->columns->len; i++) {
    const DriftColumn *column = reference->columns->pdata[i];
    if (g_strcmp0(column->name, columns->prediction) != 0 && g_strcmp0(column->name, columns->label) != 0 &&
        drift_table_get_column(current, column->name) != NULL)
      g_ptr_array_add(rows->names, g_strdup(column->name));
  }
  return TRUE;
}

/* The cell as a number: categories by the reference's dictionary. */
static double feature_value(const DriftColumn *dictionary, const DriftColumn *column, guint64 row)
{
  gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
  gsize length;
  DriftValue value = drift_column_get_value(column, row);
  if (value.kind == DRIFT_VALUE_MISSING) return NAN;
  if (dictionary->kind == DRIFT_NUMERIC) return value.kind == DRIFT_VALUE_NUMBER ? value.number : NAN;
  const gchar *text = drift_value_to_text(&value, buffer, &length);
  g_autofree gchar *key = g_strndup(text, length);
  return (double)GPOINTER_TO_UINT(g_hash_table_lookup(dictionary->code_of, key)) - 1;
}

static gboolean fill_features(RegressionRows *rows, DriftDleRows *side, const DriftTable *reference,
                              const DriftTable *table, const gchar *what, GError **error)
{
  guint d = rows->names->len;
  gsize n = table->n_rows;
  double *values = g_try_new(double, n *MAX(d, 1) + 1);
  if (values == NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for %zu rows of %u features", n, d);
    return FALSE;
  }
  g_ptr_array_add(rows->owned, values);
  side->features = (DriftMatrix){values, n, d};
  for (guint k = 0; k < d; k++) {
    const gchar *name = rows->names->pdata[k];
    const DriftColumn *dictionary = drift_table_get_column(reference, name);
    const DriftColumn *column = drift_table_get_column(table, name);
    if (dictionary->kind == DRIFT_NUMERIC && find_numbers(table, name, what, error) == NULL) return FALSE;
    for (gsize i = 0; i < n; i++) values[i * d + k] = feature_value(dictionary, column, i);
  }
  return TRUE;
}

gboolean regression_rows_init(RegressionRows *rows, const DriftTable *reference, const DriftTable *current,
                              const EstimateColumns *columns, GError **error)
{
  *rows = (RegressionRows){.names = g_ptr_array_new_with_free_func(g_free),
                           .owned = g_ptr_array_new_with_free_func(g_free)};
  if (!choose_features(rows, reference, current, columns, error) ||
      !fill_features(rows, &rows->reference, reference, reference, columns->reference_name, error) ||
      !fill_features(rows, &rows->current, reference, current, columns->current_name, error))
    return FALSE;
  rows->reference.predicted = find_numbers(reference, columns->prediction, columns->reference_name, error);
  rows->reference.truth = rows->reference.predicted != NULL
                              ? find_numbers(reference, columns->label, columns->reference_name, error)
                              : NULL;
  if (rows->reference.truth == NULL) return FALSE;
  rows->current.predicted = find_numbers(current, columns->prediction, columns->current_name, error);
  if (rows->current.predicted == NULL) return FALSE;
  if (drift_table_get_column(current, columns->label) == NULL) return TRUE;
  rows->current.truth = find_numbers(current, columns->label, columns->current_name, error);
  return rows->current.truth != NULL;
}

void regression_rows_clear(RegressionRows *rows)
{
  g_ptr_array_unref(rows->names);
  g_ptr_array_unref(rows->owned);
}
