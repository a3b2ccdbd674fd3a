/* Tables and arrays as rows of numbers with targets. */
#include <math.h>
#include <string.h>

#include "pipeline/graph_trainer.h"
#include "pipeline/trainer_rows.h"

#define MAX_CLASSES 1000u

void pipeline_graph_rows_free(PipelineGraphRows *rows)
{
  if (rows == NULL) return;
  drift_schema_free(rows->schema);
  g_free(rows->x);
  g_free(rows->targets);
  g_free(rows->weights);
  g_free(rows->numbers);
  g_free(rows);
}

gboolean pipeline_graph_rows_set_weights(PipelineGraphRows *rows, const double *weights, guint64 n, GError **error)
{
  double sum = 0;
  g_autofree float *narrow = g_new(float, rows->n_rows + 1);
  for (guint64 i = 0; i < rows->n_rows; i++) {
    double weight = rows->numbers[i] < n ? weights[rows->numbers[i]] : NAN;
    narrow[i] = (float)weight;
    sum += weight;
    if (weight >= 0 && isfinite(weight)) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "the weight of row %" G_GUINT64_FORMAT " is %g; weights are numbers from 0", rows->numbers[i] + 1,
                weight);
    return FALSE;
  }
  if (!(sum > 0)) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "every row has weight 0");
    return FALSE;
  }
  g_free(rows->weights);
  rows->weights = g_steal_pointer(&narrow);
  return TRUE;
}

static GPtrArray *find_inputs(const DriftTable *table, const DriftSchema *schema, GError **error)
{
  g_autoptr(GPtrArray) columns = g_ptr_array_new();
  for (guint i = 0; i < drift_schema_n_features(schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    DriftColumn *column = drift_table_get_column(table, feature->name);
    if (!feature->input) continue;
    if (column == NULL || column->kind != DRIFT_NUMERIC) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "column \"%s\" is %s; training on a graph needs numbers",
                  feature->name, column == NULL ? "not in the data" : "text");
      return NULL;
    }
    g_ptr_array_add(columns, column);
  }
  return g_steal_pointer(&columns);
}

PipelineGraphRows *pipeline_graph_rows_from_table(const DriftTable *table, const DriftSchema *schema, GError **error)
{
  g_autoptr(PipelineTrainerRows) usable = pipeline_trainer_rows_new(table, schema, error);
  g_autoptr(GPtrArray) columns = usable != NULL ? find_inputs(table, schema, error) : NULL;
  if (columns == NULL) return NULL;
  g_autoptr(PipelineGraphRows) rows = g_new0(PipelineGraphRows, 1);
  rows->schema = drift_schema_copy(schema);
  rows->n_rows = usable->n;
  rows->n_skipped = usable->n_skipped;
  rows->n_features = columns->len;
  rows->x = g_new(float, usable->n * columns->len + 1);
  rows->targets = g_new(float, usable->n + 1);
  rows->numbers = g_memdup2(usable->rows, usable->n * sizeof *usable->rows);
  for (guint64 i = 0; i < usable->n; i++) {
    rows->targets[i] = usable->targets[usable->rows[i]];
    for (guint c = 0; c < columns->len; c++) {
      const DriftColumn *column = g_ptr_array_index(columns, c);
      double value = g_array_index(column->numbers, double, usable->rows[i]);
      if (isnan(value)) {
        g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                    "row %" G_GUINT64_FORMAT ", column \"%s\" is missing; training on a graph needs every number",
                    usable->rows[i] + 1, column->name);
        return NULL;
      }
      rows->x[i * columns->len + c] = (float)value;
    }
  }
  return g_steal_pointer(&rows);
}

DriftTable *pipeline_graph_rows_tabulate(const PipelineGraphRows *rows, const guint64 *which, guint64 n)
{
  const DriftSchema *schema = rows->schema;
  DriftTable *table = drift_table_new();
  gboolean value = schema->task == DRIFT_TASK_REGRESSION;
  gsize column = 0;
  for (guint f = 0; f < drift_schema_n_features(schema); f++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, f);
    if (!feature->input) continue;
    DriftColumn *numbers = drift_table_add_column(table, feature->name, DRIFT_NUMERIC);
    for (guint64 i = 0; i < n; i++)
      drift_column_append_number(numbers, (double)rows->x[which[i] * rows->n_features + column]);
    column++;
  }
  DriftColumn *label = drift_table_add_column(table, schema->label, value ? DRIFT_NUMERIC : DRIFT_CATEGORICAL);
  for (guint64 i = 0; i < n; i++) {
    float target = rows->targets[which[i]];
    if (value)
      drift_column_append_number(label, (double)target);
    else
      drift_column_append_text(label, g_ptr_array_index(schema->classes, (guint)target), -1);
  }
  table->n_rows = n;
  return table;
}

/* --- arrays ------------------------------------------------------------------------------------------------------- */

static gint compare_numbers(gconstpointer a, gconstpointer b)
{
  const double *x = a, *y = b;
  return *x < *y ? -1 : *x > *y;
}

/* The different labels, sorted, when all are whole and few; else NULL. */
static GArray *find_classes(const PipelineArray *labels)
{
  g_autoptr(GArray) sorted = g_array_new(FALSE, FALSE, sizeof(double));
  g_autoptr(GArray) classes = g_array_new(FALSE, FALSE, sizeof(double));
  for (guint64 i = 0; i < labels->n_rows; i++) {
    if (!(labels->values[i] >= 0) || labels->values[i] != floor(labels->values[i])) return NULL;
    g_array_append_val(sorted, labels->values[i]);
  }
  g_array_sort(sorted, compare_numbers);
  for (guint i = 0; i < sorted->len; i++) {
    double value = g_array_index(sorted, double, i);
    if (classes->len > 0 && g_array_index(classes, double, classes->len - 1) == value) continue;
    if (classes->len == MAX_CLASSES) return NULL;
    g_array_append_val(classes, value);
  }
  return classes->len > 1 ? g_steal_pointer(&classes) : NULL;
}

static DriftSchema *make_schema(const GArray *classes, gsize n_features, const gchar *label)
{
  DriftTask task = classes == NULL     ? DRIFT_TASK_REGRESSION
                   : classes->len == 2 ? DRIFT_TASK_BINARY
                                       : DRIFT_TASK_MULTICLASS;
  DriftSchema *schema = drift_schema_new(task, label);
  for (guint i = 0; classes != NULL && i < classes->len; i++) {
    g_autofree gchar *name = g_strdup_printf("%.0f", g_array_index(classes, double, i));
    drift_schema_add_class(schema, name);
  }
  if (task == DRIFT_TASK_BINARY) schema->positive_class = 1;
  for (gsize i = 0; i < n_features; i++) {
    g_autofree gchar *name = g_strdup_printf("x[%zu]", i);
    drift_schema_add_feature(schema, name, DRIFT_NUMERIC, FALSE, TRUE);
  }
  return schema;
}

static gboolean fill(PipelineGraphRows *rows, const PipelineArray *x, const PipelineArray *labels,
                     const GArray *classes, GError **error)
{
  for (guint64 i = 0; i < x->n_rows; i++) {
    double label = labels->values[i];
    for (gsize k = 0; k < rows->n_features; k++) {
      double value = x->values[i * rows->n_features + k];
      if (!isfinite(value)) {
        g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                    "row %" G_GUINT64_FORMAT ", element %zu is no finite number", i, k);
        return FALSE;
      }
      rows->x[rows->n_rows * rows->n_features + k] = (float)value;
    }
    if (isnan(label)) {
      rows->n_skipped++;
      continue;
    }
    guint place = 0;
    if (classes != NULL) g_array_binary_search((GArray *)classes, &label, compare_numbers, &place);
    rows->numbers[rows->n_rows] = i;
    rows->targets[rows->n_rows++] = classes != NULL ? (float)place : (float)label;
  }
  return TRUE;
}

PipelineGraphRows *pipeline_graph_rows_from_arrays(const PipelineArray *x, const PipelineArray *labels,
                                                   const gchar *label, GError **error)
{
  if (labels->n_columns != 1 || labels->n_rows != x->n_rows || x->n_rows == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "%" G_GUINT64_FORMAT " rows and %" G_GUINT64_FORMAT " × %" G_GUINT64_FORMAT
                " labels; one label a row is needed",
                x->n_rows, labels->n_rows, labels->n_columns);
    return NULL;
  }
  g_autoptr(GArray) classes = find_classes(labels);
  g_autoptr(PipelineGraphRows) rows = g_new0(PipelineGraphRows, 1);
  rows->n_features = x->n_columns;
  rows->schema = make_schema(classes, rows->n_features, label);
  rows->x = g_new(float, x->n_rows * rows->n_features + 1);
  rows->targets = g_new(float, x->n_rows + 1);
  rows->numbers = g_new(guint64, x->n_rows + 1);
  if (x->n_row_dims == 2 || x->n_row_dims == 3) {
    rows->channels = x->n_row_dims == 3 ? (guint)x->row_dims[0] : 1;
    rows->height = (guint)x->row_dims[x->n_row_dims - 2];
    rows->width = (guint)x->row_dims[x->n_row_dims - 1];
  }
  return fill(rows, x, labels, classes, error) ? g_steal_pointer(&rows) : NULL;
}
