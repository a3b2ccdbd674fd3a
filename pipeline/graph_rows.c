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
  g_strfreev(rows->labels);
  if (rows->spill != NULL)
    pipeline_spill_free(rows->spill);
  else
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

/* Room for n rows. */
static gboolean take_room(PipelineGraphRows *rows, guint64 n, PipelineSpillUse use, GError **error)
{
  rows->spill = pipeline_spill_new(n * rows->n_features * sizeof(float), use, error);
  if (rows->spill == NULL) return FALSE;
  rows->x = pipeline_spill_get_data(rows->spill);
  rows->targets = g_try_new(float, n + 1);
  rows->numbers = g_try_new(guint64, n + 1);
  if (rows->targets != NULL && rows->numbers != NULL) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "no memory for labels and places of %" G_GUINT64_FORMAT " rows", n);
  return FALSE;
}

/* --- tables ------------------------------------------------------------------------------------------------------- */

/* Places of the schema's inputs among the table's columns; of guint. */
static GArray *find_inputs(const DriftTable *table, const DriftSchema *schema, GError **error)
{
  g_autoptr(GArray) places = g_array_new(FALSE, FALSE, sizeof(guint));
  for (guint i = 0; i < drift_schema_n_features(schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    DriftColumn *column = drift_table_get_column(table, feature->name);
    guint place = 0;
    if (!feature->input) continue;
    if (column == NULL || column->kind != DRIFT_NUMERIC) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "column \"%s\" is %s; training on a graph needs numbers",
                  feature->name, column == NULL ? "not in the data" : "text");
      return NULL;
    }
    g_ptr_array_find(table->columns, column, &place);
    g_array_append_val(places, place);
  }
  return g_steal_pointer(&places);
}

/* What the rows of a table, or of a stream, become. */
typedef struct {
  PipelineGraphRows *rows;
  const DriftTable *table;
  PipelineTrainerRows *usable;
  GArray *places;
  guint64 n; /* rows filled so far */
} TableRows;

static void table_rows_clear(TableRows *all)
{
  pipeline_graph_rows_free(all->rows);
  pipeline_trainer_rows_free(all->usable);
  g_clear_pointer(&all->places, g_array_unref);
}

/* Everything but x. */
static gboolean table_rows_begin(TableRows *all, const DriftTable *table, const DriftSchema *schema,
                                 PipelineSpillUse use, GError **error)
{
  *all = (TableRows){.table = table, .usable = pipeline_trainer_rows_new(table, schema, error)};
  if (all->usable == NULL || (all->places = find_inputs(table, schema, error)) == NULL) return FALSE;
  PipelineGraphRows *rows = all->rows = g_new0(PipelineGraphRows, 1);
  rows->schema = drift_schema_copy(schema);
  rows->n_rows = all->usable->n;
  rows->n_skipped = all->usable->n_skipped;
  rows->n_features = all->places->len;
  if (!take_room(rows, rows->n_rows, use, error)) return FALSE;
  for (guint64 i = 0; i < rows->n_rows; i++) {
    rows->numbers[i] = all->usable->rows[i];
    rows->targets[i] = all->usable->targets[rows->numbers[i]];
  }
  return TRUE;
}

static gboolean take_value(TableRows *all, guint feature, double value, GError **error)
{
  PipelineGraphRows *rows = all->rows;
  const DriftColumn *column = g_ptr_array_index(all->table->columns, g_array_index(all->places, guint, feature));
  rows->x[all->n * rows->n_features + feature] = (float)value;
  if (!isnan(value)) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
              "row %" G_GUINT64_FORMAT ", column \"%s\" is missing; training on a graph needs every number",
              rows->numbers[all->n] + 1, column->name);
  return FALSE;
}

static gboolean fill_from_table(TableRows *all, GError **error)
{
  const PipelineGraphRows *rows = all->rows;
  for (; all->n < rows->n_rows; all->n++)
    for (guint c = 0; c < all->places->len; c++) {
      const DriftColumn *column = g_ptr_array_index(all->table->columns, g_array_index(all->places, guint, c));
      if (!take_value(all, c, g_array_index(column->numbers, double, rows->numbers[all->n]), error)) return FALSE;
    }
  return TRUE;
}

PipelineGraphRows *pipeline_graph_rows_from_table(const DriftTable *table, const DriftSchema *schema, GError **error)
{
  TableRows all;
  gboolean done = table_rows_begin(&all, table, schema, PIPELINE_SPILL_LARGE, error) && fill_from_table(&all, error);
  PipelineGraphRows *rows = done ? g_steal_pointer(&all.rows) : NULL;
  table_rows_clear(&all);
  return rows;
}

/* user_data: TableRows. Rows without a usable label are passed by. */
static gboolean take_row(guint64 row, const double *numbers, const gchar *const *texts, gpointer user_data,
                         GError **error)
{
  TableRows *all = user_data;
  (void)texts;
  if (all->n == all->rows->n_rows || all->rows->numbers[all->n] != row) return TRUE;
  for (guint c = 0; c < all->places->len; c++)
    if (!take_value(all, c, numbers[g_array_index(all->places, guint, c)], error)) return FALSE;
  all->n++;
  return TRUE;
}

PipelineGraphRows *pipeline_graph_rows_from_stream(PipelineRowStream *stream, const DriftTable *sketch,
                                                   const DriftSchema *schema, GError **error)
{
  TableRows all;
  gboolean done = table_rows_begin(&all, sketch, schema, PIPELINE_SPILL_ALWAYS, error) &&
                  pipeline_row_stream_visit(stream, take_row, &all, error);
  PipelineGraphRows *rows = done ? g_steal_pointer(&all.rows) : NULL;
  table_rows_clear(&all);
  return rows;
}

/* Row by row: they may lie in a file. */
void pipeline_graph_rows_measure(const float *x, gsize width, const guint64 *rows, guint64 n_rows, double *sd,
                                 double *low, double *high)
{
  double n = (double)n_rows;
  g_autofree double *means = g_new0(double, width + 1);
  for (gsize k = 0; k < width; k++) sd[k] = 0, low[k] = INFINITY, high[k] = -INFINITY;
  for (guint64 i = 0; i < n_rows; i++)
    for (gsize k = 0; k < width; k++) {
      double value = (double)x[rows[i] * width + k];
      means[k] += value / n;
      low[k] = MIN(low[k], value);
      high[k] = MAX(high[k], value);
    }
  for (guint64 i = 0; i < n_rows; i++)
    for (gsize k = 0; k < width; k++) {
      double difference = (double)x[rows[i] * width + k] - means[k];
      sd[k] += difference * difference / n;
    }
  for (gsize k = 0; k < width; k++) sd[k] = sqrt(sd[k]);
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

typedef struct {
  PipelineGraphRows *rows;
  const PipelineArray *labels;
  GArray *classes; /* or NULL */
} ArrayRows;

static void array_rows_clear(ArrayRows *all)
{
  pipeline_graph_rows_free(all->rows);
  g_clear_pointer(&all->classes, g_array_unref);
}

/* x: n_rows of n_columns. */
static gboolean array_rows_begin(ArrayRows *all, const PipelineArray *labels, const gchar *label, guint64 n_rows,
                                 guint64 n_columns, PipelineSpillUse use, GError **error)
{
  *all = (ArrayRows){.labels = labels};
  if (labels->n_columns != 1 || labels->n_rows != n_rows || n_rows == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "%" G_GUINT64_FORMAT " rows and %" G_GUINT64_FORMAT " × %" G_GUINT64_FORMAT
                " labels; one label a row is needed",
                n_rows, labels->n_rows, labels->n_columns);
    return FALSE;
  }
  all->classes = find_classes(labels);
  all->rows = g_new0(PipelineGraphRows, 1);
  all->rows->n_features = n_columns;
  all->rows->schema = make_schema(all->classes, n_columns, label);
  return take_room(all->rows, n_rows, use, error);
}

/* user_data: ArrayRows. */
static gboolean take_array_row(guint64 row, const double *numbers, const gchar *const *texts, gpointer user_data,
                               GError **error)
{
  ArrayRows *all = user_data;
  PipelineGraphRows *rows = all->rows;
  double label = all->labels->values[row];
  (void)texts;
  for (gsize k = 0; k < rows->n_features; k++) {
    rows->x[rows->n_rows * rows->n_features + k] = (float)numbers[k];
    if (isfinite(numbers[k])) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "row %" G_GUINT64_FORMAT ", element %zu is no finite number", row, k);
    return FALSE;
  }
  if (isnan(label)) {
    rows->n_skipped++;
    return TRUE;
  }
  guint place = 0;
  if (all->classes != NULL) g_array_binary_search(all->classes, &label, compare_numbers, &place);
  rows->numbers[rows->n_rows] = row;
  rows->targets[rows->n_rows++] = all->classes != NULL ? (float)place : (float)label;
  return TRUE;
}

static void set_image(PipelineGraphRows *rows, guint n_row_dims, const guint64 *row_dims)
{
  if (n_row_dims != 2 && n_row_dims != 3) return;
  rows->channels = n_row_dims == 3 ? (guint)row_dims[0] : 1;
  rows->height = (guint)row_dims[n_row_dims - 2];
  rows->width = (guint)row_dims[n_row_dims - 1];
}

PipelineGraphRows *pipeline_graph_rows_from_arrays(const PipelineArray *x, const PipelineArray *labels,
                                                   const gchar *label, GError **error)
{
  ArrayRows all;
  gboolean done = array_rows_begin(&all, labels, label, x->n_rows, x->n_columns, PIPELINE_SPILL_LARGE, error);
  for (guint64 i = 0; done && i < x->n_rows; i++)
    done = take_array_row(i, x->values + i * x->n_columns, NULL, &all, error);
  if (done) set_image(all.rows, x->n_row_dims, x->row_dims);
  PipelineGraphRows *rows = done ? g_steal_pointer(&all.rows) : NULL;
  array_rows_clear(&all);
  return rows;
}

PipelineGraphRows *pipeline_graph_rows_from_array_stream(PipelineRowStream *x, const PipelineArray *labels,
                                                         const gchar *label, GError **error)
{
  ArrayRows all;
  gboolean done = array_rows_begin(&all, labels, label, x->n_rows, x->n_columns, PIPELINE_SPILL_ALWAYS, error) &&
                  pipeline_row_stream_visit(x, take_array_row, &all, error);
  if (done) set_image(all.rows, x->n_row_dims, x->row_dims);
  PipelineGraphRows *rows = done ? g_steal_pointer(&all.rows) : NULL;
  array_rows_clear(&all);
  return rows;
}
