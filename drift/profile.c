#include "drift/profile_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/sample.h"

static void category_free(gpointer data)
{
  DriftProfileCategory *category = data;
  g_free(category->text);
  g_free(category);
}

static void column_free(gpointer data)
{
  DriftColumnProfile *column = data;
  g_free(column->name);
  g_ptr_array_unref(column->categories);
  g_free(column);
}

DriftProfile *drift_profile_new_empty(void)
{
  DriftProfile *profile = g_new0(DriftProfile, 1);
  profile->columns = g_ptr_array_new_with_free_func(column_free);
  return profile;
}

DriftColumnProfile *drift_profile_add_column(DriftProfile *profile, const gchar *name, DriftFeatureKind kind)
{
  DriftColumnProfile *column = g_new0(DriftColumnProfile, 1);
  column->name = g_strdup(name);
  column->kind = kind;
  column->minimum = column->maximum = column->mean = column->deviation = NAN;
  column->quartiles[0] = column->quartiles[1] = column->quartiles[2] = NAN;
  column->categories = g_ptr_array_new_with_free_func(category_free);
  g_ptr_array_add(profile->columns, column);
  return column;
}

void drift_profile_add_category(DriftColumnProfile *column, const gchar *text, guint64 count)
{
  DriftProfileCategory *category = g_new(DriftProfileCategory, 1);
  *category = (DriftProfileCategory){g_strdup(text), count};
  g_ptr_array_add(column->categories, category);
}

void drift_profile_free(DriftProfile *profile)
{
  if (profile == NULL) return;
  g_ptr_array_unref(profile->columns);
  g_free(profile);
}

/* A rate plus three standard errors: another sample of the same law rarely exceeds it. */
double drift_profile_limit(guint64 count, guint64 total)
{
  if (count == 0 || total == 0) return 0;
  double rate = (double)count / (double)total;
  return fmin(1, rate + 3 * sqrt(rate * (1 - rate) / (double)total));
}

static gboolean describe_numbers(const DriftColumn *column, DriftColumnProfile *out, GError **error)
{
  g_autoptr(DriftSample) sample =
      drift_sample_new((const double *)(gpointer)column->numbers->data, column->numbers->len, error);
  if (sample == NULL) return FALSE;
  out->n = sample->n;
  out->n_missing = sample->n_missing;
  out->n_infinite = sample->n_infinite;
  out->whole = sample->n > 0;
  if (sample->n == 0) return TRUE;
  for (gsize i = 0; i < sample->n; i++) {
    double value = sample->sorted[i];
    if (i == 0 || value != sample->sorted[i - 1]) out->n_distinct++;
    if (isinf(value) || value != floor(value)) out->whole = FALSE;
  }
  DriftSampleMoments moments = drift_sample_moments(sample);
  out->minimum = sample->sorted[0];
  out->maximum = sample->sorted[sample->n - 1];
  out->mean = moments.mean;
  out->deviation = sample->n > 1 ? sqrt(moments.squares / (double)(sample->n - 1)) : NAN;
  for (guint q = 0; q < 3; q++) out->quartiles[q] = drift_sample_quantile(sample, .25 * (q + 1));
  return TRUE;
}

gint drift_profile_compare_categories(gconstpointer a, gconstpointer b)
{
  const DriftProfileCategory *left = *(DriftProfileCategory *const *)a, *right = *(DriftProfileCategory *const *)b;
  if (left->count != right->count) return left->count > right->count ? -1 : 1;
  return strcmp(left->text, right->text);
}

static void describe_categories(const DriftColumn *column, DriftColumnProfile *out)
{
  g_autofree guint64 *counts = g_new0(guint64, column->dictionary->len + 1);
  for (guint row = 0; row < column->codes->len; row++) {
    guint32 code = g_array_index(column->codes, guint32, row);
    if (code == DRIFT_CODE_MISSING)
      out->n_missing++;
    else
      counts[code]++;
  }
  for (guint code = 0; code < column->dictionary->len; code++) {
    out->n += counts[code];
    if (counts[code] == 0) continue;
    out->n_distinct++;
    drift_profile_add_category(out, column->dictionary->pdata[code], counts[code]);
  }
  g_ptr_array_sort(out->categories, drift_profile_compare_categories);
  out->open = out->categories->len > DRIFT_PROFILE_MAX_CATEGORIES;
  if (out->open) g_ptr_array_set_size(out->categories, DRIFT_PROFILE_MAX_CATEGORIES);
}

DriftProfile *drift_profile_new(const DriftTable *table, GError **error)
{
  g_autoptr(DriftProfile) profile = drift_profile_new_empty();
  gint64 first;
  profile->n_rows = table->n_rows;
  if (!drift_table_count_duplicates(table, &profile->n_duplicates, &first, error)) return NULL;
  profile->duplicate_limit = drift_profile_limit(profile->n_duplicates, profile->n_rows);
  for (guint i = 0; i < table->columns->len; i++) {
    const DriftColumn *column = table->columns->pdata[i];
    DriftColumnProfile *out = drift_profile_add_column(profile, column->name, column->kind);
    if (column->kind == DRIFT_CATEGORICAL)
      describe_categories(column, out);
    else if (!describe_numbers(column, out, error))
      return NULL;
    out->missing_limit = drift_profile_limit(out->n_missing, out->n + out->n_missing);
  }
  return g_steal_pointer(&profile);
}

/* --- duplicates --------------------------------------------------------------------------------------------------- */

typedef struct {
  guint64 hash, row;
} HashedRow;

static guint64 mix(guint64 hash, guint64 value)
{
  hash = (hash ^ value) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  return hash ^ hash >> 29;
}

/* Equal cells have equal words: -0 is 0, every missing cell is the same. */
static guint64 cell_word(const DriftColumn *column, guint64 row)
{
  if (column->kind == DRIFT_CATEGORICAL) return g_array_index(column->codes, guint32, row);
  double number = g_array_index(column->numbers, double, row);
  guint64 word;
  if (isnan(number)) return G_GUINT64_CONSTANT(0x7ff8000000000001);
  if (number == 0) number = 0;
  memcpy(&word, &number, sizeof word);
  return word;
}

static gboolean rows_equal(const DriftTable *table, guint64 a, guint64 b)
{
  for (guint c = 0; c < table->columns->len; c++)
    if (cell_word(table->columns->pdata[c], a) != cell_word(table->columns->pdata[c], b)) return FALSE;
  return TRUE;
}

static gint compare_hashed(const void *a, const void *b)
{
  const HashedRow *left = a, *right = b;
  if (left->hash != right->hash) return left->hash < right->hash ? -1 : 1;
  return (left->row > right->row) - (left->row < right->row);
}

gboolean drift_table_count_duplicates(const DriftTable *table, guint64 *n_duplicates, gint64 *first_row, GError **error)
{
  guint64 n = table->n_rows;
  g_autofree HashedRow *rows = g_try_new(HashedRow, n + 1);
  if (rows == NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT,
                "not enough memory to look for duplicates of %" G_GUINT64_FORMAT " rows", n);
    return FALSE;
  }
  for (guint64 row = 0; row < n; row++) {
    rows[row] = (HashedRow){0, row};
    for (guint c = 0; c < table->columns->len; c++)
      rows[row].hash = mix(rows[row].hash, cell_word(table->columns->pdata[c], row));
  }
  qsort(rows, n, sizeof *rows, compare_hashed);
  *n_duplicates = 0;
  *first_row = -1;
  for (guint64 i = 1; i < n; i++) {
    /* Rows of one hash are nearly always equal; compared with all of them in case they are not. */
    for (guint64 j = i; j-- > 0 && rows[j].hash == rows[i].hash;) {
      if (!rows_equal(table, rows[j].row, rows[i].row)) continue;
      (*n_duplicates)++;
      if (*first_row < 0 || (gint64)rows[i].row < *first_row) *first_row = (gint64)rows[i].row;
      break;
    }
  }
  return TRUE;
}
