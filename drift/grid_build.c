/* Makes a grid from reference data. */
#include "drift/grid_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/sample.h"

static const gchar *const output_columns[DRIFT_N_OUTPUTS] = {
    [DRIFT_OUTPUT_PREDICTION] = "prediction", [DRIFT_OUTPUT_SCORE] = "score", [DRIFT_OUTPUT_LATENCY] = "latency_ms"};

static gint compare_doubles(gconstpointer a, gconstpointer b)
{
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

/* Finite numbers of the column in ascending order. */
static GArray *sorted_numbers(const DriftColumn *column, guint64 n_rows)
{
  GArray *numbers = g_array_new(FALSE, FALSE, sizeof(double));
  gsize kept = 0;
  g_array_set_size(numbers, (guint)n_rows);
  double *values = (double *)(gpointer)numbers->data;
  for (guint64 row = 0; row < n_rows; row++) {
    double number;
    if (column->kind == DRIFT_NUMERIC) {
      number = g_array_index(column->numbers, double, row);
    } else {
      DriftValue value = drift_column_get_value(column, row);
      if (!drift_value_to_number(&value, &number)) continue;
    }
    if (isfinite(number)) values[kept++] = number + 0.0; /* -0 becomes 0 */
  }
  g_array_set_size(numbers, (guint)kept);
  /* Linear time; where its second array does not fit, the slower sort in place. */
  if (!drift_sort(values, kept)) g_array_sort(numbers, compare_doubles);
  return numbers;
}

static void set_quartiles(DriftQuantity *quantity, const GArray *sorted)
{
  for (guint quarter = 1; quarter < 4 && sorted->len > 0; quarter++) {
    double value = g_array_index(sorted, double, (guint64)sorted->len *quarter / 4);
    gboolean repeated = quantity->n_quartiles > 0 && quantity->quartiles[quantity->n_quartiles - 1] == value;
    gboolean last = value == g_array_index(sorted, double, sorted->len - 1);
    if (!repeated && !last) quantity->quartiles[quantity->n_quartiles++] = value;
  }
}

static void build_numeric(DriftQuantity *quantity, const DriftColumn *column, guint64 n_rows, guint max_bins)
{
  g_autoptr(GArray) sorted = sorted_numbers(column, n_rows);
  quantity->kind = DRIFT_NUMERIC;
  quantity->bins = drift_bins_new_quantiles((const double *)sorted->data, sorted->len, max_bins);
  set_quartiles(quantity, sorted);
  drift_quantity_finish(quantity);
}

typedef struct {
  gchar *text; /* owned by the table of counts */
  guint64 count;
} CategoryCount;

static gint compare_counts(gconstpointer a, gconstpointer b)
{
  const CategoryCount *left = a, *right = b;
  if (left->count != right->count) return left->count > right->count ? -1 : 1;
  return strcmp(left->text, right->text);
}

/* text -> guint64 count, in canonical texts. */
static GHashTable *count_categories(const DriftColumn *column, guint64 n_rows)
{
  GHashTable *counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  for (guint64 row = 0; row < n_rows; row++) {
    DriftValue value = drift_column_get_value(column, row);
    gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
    gsize length;
    const gchar *text = drift_value_to_text(&value, buffer, &length);
    if (text == NULL) continue;
    guint64 *count = g_hash_table_lookup(counts, text);
    if (count == NULL) {
      count = g_new0(guint64, 1);
      g_hash_table_insert(counts, g_strdup(text), count);
    }
    ++*count;
  }
  return counts;
}

static void build_categorical(DriftQuantity *quantity, const DriftColumn *column, guint64 n_rows)
{
  g_autoptr(GHashTable) counts = count_categories(column, n_rows);
  g_autoptr(GArray) ranked = g_array_new(FALSE, FALSE, sizeof(CategoryCount));
  GHashTableIter iter;
  gpointer text, count;
  g_hash_table_iter_init(&iter, counts);
  while (g_hash_table_iter_next(&iter, &text, &count)) {
    CategoryCount entry = {.text = text, .count = *(guint64 *)count};
    g_array_append_val(ranked, entry);
  }
  g_array_sort(ranked, compare_counts);
  guint n = MIN(ranked->len, DRIFT_GRID_MAX_CATEGORIES);
  g_autofree const gchar **texts = g_new0(const gchar *, n + 1);
  for (guint i = 0; i < n; i++) texts[i] = g_array_index(ranked, CategoryCount, i).text;
  quantity->kind = DRIFT_CATEGORICAL;
  quantity->categories = drift_categories_new(texts, n);
  drift_quantity_finish(quantity);
}

static void build_fixed(DriftQuantity *quantity, const double *edges, guint n_edges)
{
  quantity->kind = DRIFT_NUMERIC;
  quantity->bins = drift_bins_new(edges, n_edges);
  drift_quantity_finish(quantity);
}

/* Without reference scores: 64 equal bins of [0, 1]. */
static void build_fixed_score(DriftQuantity *quantity)
{
  double edges[65];
  edges[0] = nextafter(0, -1);
  for (guint i = 1; i < G_N_ELEMENTS(edges); i++) edges[i] = i / 64.0;
  build_fixed(quantity, edges, G_N_ELEMENTS(edges));
}

/* Without reference latencies: ten bins a decade from 1 microsecond to 1,000 seconds. */
static void build_fixed_latency(DriftQuantity *quantity)
{
  double edges[92];
  edges[0] = nextafter(0, -1);
  for (guint i = 1; i < G_N_ELEMENTS(edges); i++) edges[i] = pow(10, ((gint)i - 31) / 10.0);
  build_fixed(quantity, edges, G_N_ELEMENTS(edges));
}

const DriftColumn *drift_grid_output_column(const DriftSchema *schema, const DriftTable *table, DriftOutput output)
{
  const gchar *name = output_columns[output];
  if (drift_schema_find_feature(schema, name) >= 0 || g_strcmp0(schema->label, name) == 0) return NULL;
  return drift_table_get_column(table, name);
}

static void build_classes(DriftQuantity *quantity, const DriftSchema *schema)
{
  quantity->kind = DRIFT_CATEGORICAL;
  quantity->categories = drift_categories_new((const gchar *const *)schema->classes->pdata, schema->classes->len);
  drift_quantity_finish(quantity);
}

/* Regression without reference predictions takes the label's bins: predictions live on the same scale. */
static void build_outputs(DriftQuantity *outputs, const DriftSchema *schema, const DriftTable *reference,
                          guint max_bins)
{
  const DriftColumn *prediction = drift_grid_output_column(schema, reference, DRIFT_OUTPUT_PREDICTION);
  const DriftColumn *score = drift_grid_output_column(schema, reference, DRIFT_OUTPUT_SCORE);
  const DriftColumn *latency = drift_grid_output_column(schema, reference, DRIFT_OUTPUT_LATENCY);
  if (prediction == NULL && schema->label != NULL) prediction = drift_table_get_column(reference, schema->label);
  if (schema->task != DRIFT_TASK_REGRESSION)
    build_classes(&outputs[DRIFT_OUTPUT_PREDICTION], schema);
  else if (prediction == NULL)
    build_fixed(&outputs[DRIFT_OUTPUT_PREDICTION], NULL, 0);
  else
    build_numeric(&outputs[DRIFT_OUTPUT_PREDICTION], prediction, reference->n_rows, max_bins);
  if (score == NULL)
    build_fixed_score(&outputs[DRIFT_OUTPUT_SCORE]);
  else
    build_numeric(&outputs[DRIFT_OUTPUT_SCORE], score, reference->n_rows, max_bins);
  if (latency == NULL)
    build_fixed_latency(&outputs[DRIFT_OUTPUT_LATENCY]);
  else
    build_numeric(&outputs[DRIFT_OUTPUT_LATENCY], latency, reference->n_rows, max_bins);
}

static gboolean check_schema(const DriftSchema *schema, GError **error)
{
  guint n_classes = schema->classes->len;
  if (schema->task != DRIFT_TASK_REGRESSION && n_classes < 2) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "grid: classification of \"%s\" needs at least two classes in the schema, it has %u", schema->label,
                n_classes);
    return FALSE;
  }
  if (n_classes > DRIFT_GRID_MAX_CATEGORIES || drift_schema_n_features(schema) > DRIFT_GRID_MAX_FEATURES) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "grid: %u classes and %u features; the caps are %u and %u",
                n_classes, drift_schema_n_features(schema), DRIFT_GRID_MAX_CATEGORIES, DRIFT_GRID_MAX_FEATURES);
    return FALSE;
  }
  if (schema->task == DRIFT_TASK_BINARY && schema->positive_class >= n_classes) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "grid: the positive class has index %u, there are %u classes",
                schema->positive_class, n_classes);
    return FALSE;
  }
  return TRUE;
}

/* Texts go into the grid's bytes and into reports: they must be UTF-8 and not absurdly long. */
static gboolean check_texts(const DriftColumn *column, GError **error)
{
  for (guint i = 0; column->dictionary != NULL && i < column->dictionary->len; i++) {
    const gchar *text = g_ptr_array_index(column->dictionary, i);
    gsize length = strlen(text);
    if (length <= DRIFT_GRID_MAX_TEXT && g_utf8_validate_len(text, length, NULL)) continue;
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "grid: column \"%s\" has a text of %" G_GSIZE_FORMAT
                " bytes that is not UTF-8 or longer than %u bytes: convert the file or leave the column out",
                column->name, length, DRIFT_GRID_MAX_TEXT);
    return FALSE;
  }
  return TRUE;
}

static gboolean check_reference(const DriftSchema *schema, const DriftTable *reference, GError **error)
{
  if (reference->n_rows == 0) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED, "grid: the reference has no rows, so no bins can be made");
    return FALSE;
  }
  for (guint i = 0; i < drift_schema_n_features(schema); i++) {
    const gchar *name = drift_schema_get_feature(schema, i)->name;
    const DriftColumn *column = drift_table_get_column(reference, name);
    if (column != NULL && !check_texts(column, error)) return FALSE;
    if (column != NULL) continue;
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "grid: the reference has no column \"%s\", which the schema names", name);
    return FALSE;
  }
  for (guint i = 0; i < reference->columns->len; i++) {
    const DriftColumn *column = g_ptr_array_index(reference->columns, i);
    guint cells = column->kind == DRIFT_NUMERIC ? column->numbers->len : column->codes->len;
    if (cells == reference->n_rows) continue;
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "grid: column \"%s\" has %u cells, the reference %" G_GUINT64_FORMAT " rows", column->name, cells,
                reference->n_rows);
    return FALSE;
  }
  return TRUE;
}

/* The bound on what bins lose is 1/bins, sampling noise is of the order 1/sqrt(rows): a quarter of that is enough. */
static guint default_bins(guint64 n_rows)
{
  return (guint)CLAMP(4 * sqrt((double)n_rows), 16, DRIFT_GRID_MAX_BINS);
}

DriftGrid *drift_grid_new(const DriftSchema *schema, const DriftTable *reference, guint max_bins, GError **error)
{
  return drift_grid_new_with_pairs(schema, reference, max_bins, 0, error);
}

DriftGrid *drift_grid_new_with_pairs(const DriftSchema *schema, const DriftTable *reference, guint max_bins,
                                     guint max_pairs, GError **error)
{
  if (!check_schema(schema, error) || !check_reference(schema, reference, error)) return NULL;
  guint bins = max_bins == 0 ? default_bins(reference->n_rows) : MIN(max_bins, DRIFT_GRID_MAX_BINS);
  guint n_features = drift_schema_n_features(schema);
  DriftQuantity *quantities = g_new0(DriftQuantity, n_features + DRIFT_N_OUTPUTS);
  for (guint i = 0; i < n_features; i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    const DriftColumn *column = drift_table_get_column(reference, feature->name);
    if (feature->kind == DRIFT_NUMERIC)
      build_numeric(&quantities[i], column, reference->n_rows, bins);
    else
      build_categorical(&quantities[i], column, reference->n_rows);
  }
  build_outputs(quantities + n_features, schema, reference, bins);
  DriftGridPairs joint = {.n = 0};
  drift_grid_pairs_choose(schema, quantities, reference, MIN(max_pairs, DRIFT_GRID_MAX_PAIRS), &joint);
  g_autoptr(DriftGrid) grid = drift_grid_new_take(drift_schema_copy(schema), quantities, &joint);
  if (grid->raw_length > DRIFT_GRID_MAX_BYTES) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT,
                "grid: %" G_GSIZE_FORMAT " bytes, the cap is %u: use fewer bins or features", grid->raw_length,
                DRIFT_GRID_MAX_BYTES);
    return NULL;
  }
  return g_steal_pointer(&grid);
}
