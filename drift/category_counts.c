#include "drift/category_counts.h"

#include <math.h>
#include <string.h>

/* The text of a value -> its counts. */
typedef struct {
  double reference, current;
} Cell;

static Cell *cell_of(GHashTable *cells, const DriftValue *value)
{
  gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
  gsize length;
  const gchar *text = drift_value_to_text(value, buffer, &length);
  if (text == NULL) return NULL;
  g_autofree gchar *name = g_strndup(text, length);
  Cell *cell = g_hash_table_lookup(cells, name);
  if (cell != NULL) return cell;
  cell = g_new0(Cell, 1);
  g_hash_table_insert(cells, g_steal_pointer(&name), cell);
  return cell;
}

/* Counts by code first, so that each category's text is looked up once. */
static guint64 count_codes(GHashTable *cells, const DriftColumn *column, guint64 start, guint64 end, gboolean current)
{
  guint64 missing = 0;
  g_autofree double *counts = g_new0(double, column->dictionary->len + 1);
  for (guint64 row = start; row < end; row++) {
    guint32 code = g_array_index(column->codes, guint32, row);
    if (code == DRIFT_CODE_MISSING)
      missing++;
    else
      counts[code]++;
  }
  for (guint code = 0; code < column->dictionary->len; code++) {
    if (counts[code] == 0) continue;
    DriftValue value = drift_value_text(column->dictionary->pdata[code], -1);
    Cell *cell = cell_of(cells, &value);
    *(current ? &cell->current : &cell->reference) += counts[code];
  }
  return missing;
}

static guint64 count_numbers(GHashTable *cells, const DriftColumn *column, guint64 start, guint64 end, gboolean current)
{
  guint64 missing = 0;
  for (guint64 row = start; row < end; row++) {
    DriftValue value = drift_column_get_value(column, row);
    Cell *cell = cell_of(cells, &value);
    if (cell == NULL)
      missing++;
    else
      (*(current ? &cell->current : &cell->reference))++;
  }
  return missing;
}

static guint64 count(GHashTable *cells, const DriftColumn *column, guint64 start, guint64 end, gboolean current)
{
  return column->kind == DRIFT_CATEGORICAL ? count_codes(cells, column, start, end, current)
                                           : count_numbers(cells, column, start, end, current);
}

static gint compare_names(const void *a, const void *b)
{
  return strcmp(*(const gchar *const *)a, *(const gchar *const *)b);
}

DriftCategoryCounts *drift_category_counts_new(const DriftColumn *reference, guint64 reference_start,
                                               guint64 reference_end, const DriftColumn *current, guint64 current_start,
                                               guint64 current_end)
{
  g_autoptr(GHashTable) cells = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  DriftCategoryCounts *counts = g_new0(DriftCategoryCounts, 1);
  counts->reference_missing = count(cells, reference, reference_start, reference_end, FALSE);
  counts->current_missing = count(cells, current, current_start, current_end, TRUE);
  guint n = g_hash_table_size(cells);
  counts->n_cells = n;
  counts->names = g_new0(gchar *, n + 1);
  counts->reference = g_new0(double, n + 1);
  counts->current = g_new0(double, n + 1);
  GHashTableIter iter;
  gpointer name;
  guint at = 0;
  g_hash_table_iter_init(&iter, cells);
  while (g_hash_table_iter_next(&iter, &name, NULL)) counts->names[at++] = g_strdup(name);
  qsort(counts->names, n, sizeof *counts->names, compare_names);
  for (guint c = 0; c < n; c++) {
    const Cell *cell = g_hash_table_lookup(cells, counts->names[c]);
    counts->reference[c] = cell->reference;
    counts->current[c] = cell->current;
  }
  return counts;
}

void drift_category_counts_free(DriftCategoryCounts *counts)
{
  if (counts == NULL) return;
  g_strfreev(counts->names);
  g_free(counts->reference);
  g_free(counts->current);
  g_free(counts);
}
