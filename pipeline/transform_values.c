/* What the rows of the table of transformations compute their parameters from. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/transform_table.h"

void pipeline_values_free(PipelineValues *values)
{
  if (!values) return;
  g_free(values->numbers);
  g_free(values->texts);
  if (values->chunk) g_string_chunk_free(values->chunk);
  g_free(values);
}

PipelineTransformState *pipeline_transform_state_new(void)
{
  PipelineTransformState *state = g_new0(PipelineTransformState, 1);
  state->width = 1;
  state->numbers = g_array_new(FALSE, FALSE, sizeof(double));
  state->values = g_array_new(FALSE, FALSE, sizeof(double));
  state->keys = g_ptr_array_new_with_free_func(g_free);
  state->labels = g_ptr_array_new_with_free_func(g_free);
  return state;
}

void pipeline_transform_state_free(gpointer data)
{
  PipelineTransformState *state = data;
  g_array_unref(state->numbers);
  g_array_unref(state->values);
  g_ptr_array_unref(state->keys);
  g_ptr_array_unref(state->labels);
  g_free(state->training);
  g_free(state);
}

void pipeline_state_add(PipelineTransformState *state, double number)
{
  g_array_append_val(state->numbers, number);
}

double pipeline_state_get(const PipelineTransformState *state, guint index)
{
  return g_array_index(state->numbers, double, index);
}

static gint compare_texts(gconstpointer wanted, gconstpointer key)
{
  return strcmp(wanted, *(const gchar *const *)key);
}

gint pipeline_state_find(const PipelineTransformState *state, const gchar *text)
{
  const gpointer *found = state->keys->len == 0
                              ? NULL
                              : bsearch(text, state->keys->pdata, state->keys->len, sizeof(gpointer), compare_texts);
  return found ? (gint)(found - state->keys->pdata) : -1;
}

static gint compare_numbers(gconstpointer a, gconstpointer b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double *pipeline_fit_sorted(const PipelineTransformFit *fit, guint64 *n)
{
  double *sorted = g_new(double, MAX(fit->n_rows, 1));
  *n = 0;
  for (guint64 i = 0; i < fit->n_rows; i++) {
    double value = fit->inputs[0]->numbers[fit->rows[i]];
    if (isfinite(value)) sorted[(*n)++] = value;
  }
  qsort(sorted, *n, sizeof *sorted, compare_numbers);
  return sorted;
}

double pipeline_sorted_quantile(const double *sorted, guint64 n, double q)
{
  if (n == 0) return NAN;
  double at = q * (double)(n - 1);
  guint64 low = (guint64)at;
  return low + 1 >= n ? sorted[n - 1] : sorted[low] + (at - (double)low) * (sorted[low + 1] - sorted[low]);
}

void pipeline_fit_moments(const PipelineTransformFit *fit, double *mean, double *sd)
{
  const double *x = fit->inputs[0]->numbers;
  double sum = 0, squares = 0;
  guint64 n = 0;
  for (guint64 i = 0; i < fit->n_rows; i++)
    if (isfinite(x[fit->rows[i]])) sum += x[fit->rows[i]], n++;
  *mean = n > 0 ? sum / (double)n : 0;
  for (guint64 i = 0; i < fit->n_rows; i++) {
    double difference = x[fit->rows[i]] - *mean;
    if (isfinite(x[fit->rows[i]])) squares += difference * difference;
  }
  *sd = n > 0 ? sqrt(squares / (double)n) : 0;
  if (*sd <= 1e-6 * fabs(*mean)) *sd = 0; /* no more than float32 rounding */
}

static gint compare_frequency(gconstpointer a, gconstpointer b)
{
  const PipelineCategory *x = a, *y = b;
  if (x->count != y->count) return x->count < y->count ? 1 : -1;
  return strcmp(x->text, y->text);
}

static gint compare_category(gconstpointer a, gconstpointer b)
{
  return strcmp(((const PipelineCategory *)a)->text, ((const PipelineCategory *)b)->text);
}

GArray *pipeline_fit_categories(const PipelineTransformFit *fit, guint most)
{
  g_autoptr(GHashTable) index_of = g_hash_table_new(g_str_hash, g_str_equal);
  GArray *categories = g_array_new(FALSE, FALSE, sizeof(PipelineCategory));
  for (guint64 i = 0; i < fit->n_rows; i++) {
    const gchar *text = fit->inputs[0]->texts[fit->rows[i]];
    guint at = GPOINTER_TO_UINT(g_hash_table_lookup(index_of, text));
    if (at == 0) {
      PipelineCategory category = {text, 0};
      g_array_append_val(categories, category);
      at = categories->len;
      g_hash_table_insert(index_of, (gpointer)text, GUINT_TO_POINTER(at));
    }
    g_array_index(categories, PipelineCategory, at - 1).count++;
  }
  g_array_sort(categories, compare_frequency);
  if (categories->len > most) g_array_set_size(categories, most);
  g_array_sort(categories, compare_category);
  return categories;
}
