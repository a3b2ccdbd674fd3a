/* Coarse parts of a quantity: where they are cut, and which part a value is in. */
#include <math.h>
#include <stdlib.h>

#include "drift/grid_internal.h"

/* Below the reference's range, quantile parts of it, above it. */
static void choose_bins(const DriftQuantity *quantity, const guint64 *counts, DriftPartMarks *marks)
{
  guint64 total = 0, below = 0;
  guint last = quantity->n_bins - 1, parts = 1;
  if (last < 2) return; /* no range */
  for (guint bin = 1; bin < last; bin++) total += counts[bin];
  marks->at[marks->n++] = 1;
  for (guint bin = 1; bin + 1 < last && parts < DRIFT_QUANTILE_PARTS; bin++) {
    below += counts[bin];
    /* A part ends with the bin that reaches its share of the rows, unless nothing would be left above. */
    if (counts[bin] == 0 || below * DRIFT_QUANTILE_PARTS < total * parts || below >= total) continue;
    marks->at[marks->n++] = (guint16)(bin + 1);
    parts++;
  }
  marks->at[marks->n++] = (guint16)last;
}

typedef struct {
  guint16 code;
  guint64 count;
} RankedCode;

static gint compare_ranked(gconstpointer a, gconstpointer b)
{
  const RankedCode *left = a, *right = b;
  if (left->count != right->count) return left->count > right->count ? -1 : 1;
  return (gint)left->code - (gint)right->code;
}

static gint compare_codes(gconstpointer a, gconstpointer b)
{
  return (gint) * (const guint16 *)a - (gint) * (const guint16 *)b;
}

static void choose_categories(const DriftQuantity *quantity, const guint64 *counts, DriftPartMarks *marks)
{
  g_autoptr(GArray) ranked = g_array_new(FALSE, FALSE, sizeof(RankedCode));
  for (guint code = 0; code < quantity->n_bins; code++) {
    RankedCode entry = {(guint16)code, counts[code]};
    g_array_append_val(ranked, entry);
  }
  g_array_sort(ranked, compare_ranked);
  marks->n = MIN(ranked->len, DRIFT_VALUE_PARTS);
  for (guint i = 0; i < marks->n; i++) marks->at[i] = g_array_index(ranked, RankedCode, i).code;
  qsort(marks->at, marks->n, sizeof marks->at[0], compare_codes);
}

void drift_part_marks_choose(const DriftQuantity *quantity, const guint64 *counts, DriftPartMarks *marks)
{
  *marks = (DriftPartMarks){.n = 0};
  if (quantity->kind == DRIFT_NUMERIC)
    choose_bins(quantity, counts, marks);
  else
    choose_categories(quantity, counts, marks);
}

gboolean drift_part_marks_fit(const DriftQuantity *quantity, const DriftPartMarks *marks)
{
  gboolean numeric = quantity->kind == DRIFT_NUMERIC;
  if (marks->n > G_N_ELEMENTS(marks->at)) return FALSE;
  for (guint i = 0; i < marks->n; i++) {
    if (marks->at[i] >= quantity->n_bins || (i > 0 && marks->at[i] <= marks->at[i - 1])) return FALSE;
    if (numeric && marks->at[i] == 0) return FALSE;
  }
  return TRUE;
}

void drift_partition_init(DriftPartition *partition, const DriftQuantity *quantity, const DriftPartMarks *marks)
{
  gboolean numeric = quantity->kind == DRIFT_NUMERIC;
  guint n_cells = drift_quantity_n_cells(quantity);
  *partition = (DriftPartition){.marks = *marks, .n_parts = marks->n + 2, .part_of = g_new(guint8, n_cells)};
  guint8 part = 0, none = (guint8)(partition->n_parts - 1), any_other = (guint8)(none - 1);
  for (guint cell = 0; cell < quantity->n_bins; cell++) {
    gboolean marked = part < marks->n && marks->at[part] == cell;
    if (numeric) {
      part += marked;
      partition->part_of[cell] = part;
    } else {
      partition->part_of[cell] = marked ? part : any_other;
      part += marked;
    }
  }
  partition->part_of[drift_quantity_missing(quantity)] = none;
  partition->part_of[drift_quantity_unseen(quantity)] = numeric ? none : any_other;
}

void drift_partition_clear(DriftPartition *partition)
{
  g_clear_pointer(&partition->part_of, g_free);
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

guint drift_quantity_cell_of(const DriftQuantity *quantity, const DriftValue *value)
{
  double number;
  if (value->kind == DRIFT_VALUE_MISSING) return drift_quantity_missing(quantity);
  if (quantity->kind == DRIFT_CATEGORICAL) {
    gint code = drift_categories_find(quantity->categories, value);
    return code < 0 ? drift_quantity_unseen(quantity) : (guint)code;
  }
  if (!drift_value_to_number(value, &number)) return drift_quantity_unseen(quantity);
  return drift_bins_find(quantity->bins, number);
}

guint8 drift_partition_of_value(const DriftPartition *partition, const DriftQuantity *quantity, const DriftValue *value)
{
  return partition->part_of[drift_quantity_cell_of(quantity, value)];
}

void drift_part_marks_sample(const DriftQuantity *quantity, const DriftColumn *column, guint64 n_rows,
                             guint64 sample_rows, DriftPartMarks *marks)
{
  g_autofree guint64 *counts = g_new0(guint64, drift_quantity_n_cells(quantity));
  for (guint64 i = 0; i < sample_rows; i++) {
    DriftValue value = drift_column_get_value(column, n_rows * i / sample_rows);
    counts[drift_quantity_cell_of(quantity, &value)]++;
  }
  drift_part_marks_choose(quantity, counts, marks);
}

/* A part is the number of ends below the value: no look-up of bins, and no branch. */
static void encode_numbers(const DriftPartition *partition, const DriftQuantity *quantity, const double *numbers,
                           guint64 n_rows, guint8 *parts)
{
  double ends[DRIFT_VALUE_PARTS];
  guint n = partition->marks.n;
  for (guint i = 0; i < DRIFT_VALUE_PARTS; i++)
    ends[i] = i < n ? quantity->bins->edges[partition->marks.at[i] - 1] : INFINITY;
  guint8 none = (guint8)(partition->n_parts - 1);
  for (guint64 row = 0; row < n_rows; row++) {
    double x = numbers[row];
    guint8 part = 0;
    for (guint i = 0; i < DRIFT_VALUE_PARTS; i++) part += x > ends[i];
    parts[row] = isnan(x) ? none : part;
  }
}

static void encode_codes(const DriftPartition *partition, const DriftQuantity *quantity, const DriftColumn *column,
                         guint64 n_rows, guint8 *parts)
{
  guint n = column->dictionary->len;
  g_autofree guint8 *of_code = g_new(guint8, n + 1);
  for (guint code = 0; code < n; code++) {
    DriftValue value = drift_value_text(g_ptr_array_index(column->dictionary, code), -1);
    of_code[code] = drift_partition_of_value(partition, quantity, &value);
  }
  for (guint64 row = 0; row < n_rows; row++) {
    guint32 code = g_array_index(column->codes, guint32, row);
    parts[row] = code == DRIFT_CODE_MISSING ? (guint8)(partition->n_parts - 1) : of_code[code];
  }
}

void drift_partition_encode(const DriftPartition *partition, const DriftQuantity *quantity, const DriftColumn *column,
                            guint64 n_rows, guint8 *parts)
{
  if (column->kind == DRIFT_CATEGORICAL) {
    encode_codes(partition, quantity, column, n_rows, parts);
  } else if (quantity->kind == DRIFT_NUMERIC) {
    encode_numbers(partition, quantity, (const double *)(gpointer)column->numbers->data, n_rows, parts);
  } else {
    for (guint64 row = 0; row < n_rows; row++) {
      DriftValue value = drift_column_get_value(column, row);
      parts[row] = drift_partition_of_value(partition, quantity, &value);
    }
  }
}
