/* The columns that `kedge drift test` compares: found in both tables, of one kind, sorted or counted. */
#include <math.h>
#include <string.h>

#include "daemon/drift_test_internal.h"
#include "pipeline/error.h"

/* Lines of the file before this row: a cell in quotes may hold line ends, of header cells too. */
static guint64 line_of(const DriftTable *table, const gchar *name, guint64 row)
{
  gboolean is_lines = g_str_has_suffix(name, ".jsonl") || g_str_has_suffix(name, ".ndjson"); /* no header */
  guint64 line = row + (is_lines ? 1 : 2);
  for (guint i = 0; i < table->columns->len && !is_lines; i++) {
    const DriftColumn *column = table->columns->pdata[i];
    for (const gchar *end = column->name; (end = strchr(end, '\n')) != NULL; end++) line++;
    for (guint64 before = 0; before < row && column->kind == DRIFT_CATEGORICAL; before++) {
      DriftValue value = drift_column_get_value(column, before);
      const gchar *end = value.kind == DRIFT_VALUE_TEXT ? value.text : "";
      for (; (end = strchr(end, '\n')) != NULL; end++) line++;
    }
  }
  return line;
}

/* Names file, line and cell of the first text in a column that the reference has as numbers. */
static void fail_not_a_number(const DriftTestRequest *request, const DriftColumn *column, GError **error)
{
  for (guint64 row = 0; row < column->codes->len; row++) {
    DriftValue value = drift_column_get_value(column, row);
    double number;
    if (value.kind == DRIFT_VALUE_MISSING || drift_value_to_number(&value, &number)) continue;
    g_autofree gchar *shown = g_utf8_make_valid(value.text, MIN(value.length, 60));
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "%s:%" G_GUINT64_FORMAT ": column \"%s\": \"%s\" is not a number, and in %s the column is numeric",
                request->current_name, line_of(request->current, request->current_name, row), column->name, shown,
                request->reference_name);
    return;
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s: column \"%s\" is text, and in %s it is numeric",
              request->current_name, column->name, request->reference_name);
}

/* Whether every value of a column is one of that kind: of numbers, those that JSON may have as text ("1.5") too. */
static gboolean fits_kind(const DriftColumn *column, guint64 n_rows, DriftFeatureKind kind)
{
  for (guint64 row = 0; row < n_rows; row++) {
    DriftValue value = drift_column_get_value(column, row);
    double number;
    if (value.kind == DRIFT_VALUE_MISSING || (value.kind == DRIFT_VALUE_NUMBER && isnan(value.number))) continue;
    if (kind == DRIFT_CATEGORICAL || !drift_value_to_number(&value, &number)) return FALSE;
  }
  return TRUE;
}

/* The column in the other kind, in its place; values that do not fit that kind are missing. */
static void change_kind(DriftTable *table, guint index, DriftFeatureKind kind)
{
  DriftColumn *old = table->columns->pdata[index], *new = drift_table_add_column(table, old->name, kind);
  guint last = table->columns->len - 1;
  for (guint64 row = 0; row < table->n_rows; row++) {
    DriftValue value = drift_column_get_value(old, row);
    if (value.kind == DRIFT_VALUE_TEXT)
      drift_column_append_text(new, value.text, (gssize)value.length);
    else
      drift_column_append_missing(new);
  }
  table->columns->pdata[index] = new;
  table->columns->pdata[last] = old;
  g_ptr_array_remove_index(table->columns, last); /* frees it */
}

/* Gives columns of `table` the kind that their partners in `other` have, where all their values are of that kind. */
static void match_side(DriftTable *table, const DriftTable *other)
{
  for (guint i = 0; i < table->columns->len; i++) {
    const DriftColumn *column = table->columns->pdata[i], *partner = drift_table_get_column(other, column->name);
    if (partner == NULL || partner->kind == column->kind) continue;
    if (fits_kind(column, table->n_rows, partner->kind)) change_kind(table, i, partner->kind);
  }
}

void drift_test_match_kinds(DriftTable *reference, DriftTable *current)
{
  match_side(current, reference);
  match_side(reference, current);
}

static gboolean find_column(const DriftTestRequest *request, const gchar *name, DriftTestColumn *column, GError **error)
{
  *column = (DriftTestColumn){.reference = drift_table_get_column(request->reference, name),
                              .current = drift_table_get_column(request->current, name)};
  if (column->reference == NULL || column->current == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s:1: no column \"%s\"; choose columns with --column",
                column->reference == NULL ? request->reference_name : request->current_name, name);
    return FALSE;
  }
  column->numeric = column->reference->kind == DRIFT_NUMERIC;
  if (column->numeric && column->current->kind == DRIFT_CATEGORICAL) {
    fail_not_a_number(request, column->current, error);
    return FALSE;
  }
  return TRUE;
}

static gboolean prepare_column(const DriftTestRequest *request, DriftTestColumn *column, GError **error)
{
  const DriftColumn *a = column->reference, *b = column->current;
  if (!column->numeric) {
    column->data.counts = drift_category_counts_new(a, 0, request->reference->n_rows, b, 0, request->current->n_rows);
    return TRUE;
  }
  column->data.reference = drift_sample_new((const double *)(gpointer)a->numbers->data, a->numbers->len, error);
  if (column->data.reference == NULL) return FALSE;
  column->data.current = drift_sample_new((const double *)(gpointer)b->numbers->data, b->numbers->len, error);
  return column->data.current != NULL;
}

void drift_test_columns_free(DriftTestColumn *columns, guint n)
{
  for (guint i = 0; i < n; i++) {
    drift_sample_free((DriftSample *)columns[i].data.reference);
    drift_sample_free((DriftSample *)columns[i].data.current);
    drift_category_counts_free((DriftCategoryCounts *)columns[i].data.counts);
  }
  g_free(columns);
}

static gboolean is_named_twice(const gchar *const *names, guint index)
{
  for (guint i = 0; i < index; i++)
    if (strcmp(names[i], names[index]) == 0) return TRUE;
  return FALSE;
}

DriftTestColumn *drift_test_columns_new(const DriftTestRequest *request, guint *n, GError **error)
{
  gboolean all = request->columns == NULL || *request->columns == NULL;
  guint wanted = all ? request->reference->columns->len : g_strv_length((gchar **)request->columns);
  DriftTestColumn *columns = g_new0(DriftTestColumn, wanted + 1);
  *n = 0;
  for (guint i = 0; i < wanted; i++) {
    const gchar *name = all ? ((const DriftColumn *)request->reference->columns->pdata[i])->name : request->columns[i];
    if (all && drift_test_in_embedding(request, name)) continue; /* tested as a vector */
    DriftTestColumn *column = &columns[(*n)++];
    gboolean twice = !all && is_named_twice(request->columns, i);
    if (twice) /* it would count twice in the corrections */
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "--column %s is given twice", name);
    if (!twice && find_column(request, name, column, error) && prepare_column(request, column, error)) continue;
    drift_test_columns_free(columns, *n);
    return NULL;
  }
  return columns;
}

json_t *drift_test_describe_column(const DriftTestColumn *column)
{
  json_int_t n, m, missing_n, missing_m;
  if (column->numeric) {
    n = (json_int_t)column->data.reference->n, missing_n = (json_int_t)column->data.reference->n_missing;
    m = (json_int_t)column->data.current->n, missing_m = (json_int_t)column->data.current->n_missing;
  } else {
    const DriftCategoryCounts *counts = column->data.counts;
    double sums[2] = {0, 0};
    for (guint c = 0; c < counts->n_cells; c++) sums[0] += counts->reference[c], sums[1] += counts->current[c];
    n = (json_int_t)sums[0], missing_n = (json_int_t)counts->reference_missing;
    m = (json_int_t)sums[1], missing_m = (json_int_t)counts->current_missing;
  }
  return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:[]}", "column", column->reference->name, "kind",
                   column->numeric ? "numeric" : "categorical", "n_reference", n, "n_current", m, "missing_reference",
                   missing_n, "missing_current", missing_m, "distribution", drift_test_distribution(column), "tests");
}
