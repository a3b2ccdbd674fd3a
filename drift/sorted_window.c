#include "drift/sorted_window_internal.h"

#include <math.h>
#include <string.h>

void drift_sorted_window_init(DriftSortedWindow *window, guint capacity)
{
  window->capacity = capacity;
  window->values = g_new0(double, capacity);
  window->order = g_new0(guint, capacity);
  drift_sorted_window_empty(window);
}

void drift_sorted_window_clear(DriftSortedWindow *window)
{
  g_clear_pointer(&window->values, g_free);
  g_clear_pointer(&window->order, g_free);
}

void drift_sorted_window_empty(DriftSortedWindow *window)
{
  window->n = window->head = 0;
}

gsize drift_sorted_window_bytes(const DriftSortedWindow *window)
{
  return window->capacity * (sizeof *window->values + sizeof *window->order);
}

guint drift_sorted_place(const double *sorted, guint n, double value)
{
  guint low = 0, high = n;
  while (low < high) {
    guint middle = (low + high) / 2;
    if (sorted[middle] <= value)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* First place in the order whose value is above `value`, or not below it. */
static guint place(const DriftSortedWindow *window, double value, gboolean above)
{
  guint low = 0, high = window->n;
  while (low < high) {
    guint middle = (low + high) / 2;
    double other = window->values[window->order[middle]];
    if (other < value || (above && other == value))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void drop(DriftSortedWindow *window, guint slot)
{
  guint at = place(window, window->values[slot], FALSE);
  while (window->order[at] != slot) at++;
  window->n--;
  memmove(window->order + at, window->order + at + 1, (window->n - at) * sizeof *window->order);
}

static void insert(DriftSortedWindow *window, guint slot)
{
  guint at = place(window, window->values[slot], TRUE);
  memmove(window->order + at + 1, window->order + at, (window->n - at) * sizeof *window->order);
  window->order[at] = slot;
  window->n++;
}

void drift_sorted_window_add(DriftSortedWindow *window, double value)
{
  if (window->n == window->capacity) drop(window, window->head);
  window->values[window->head] = value;
  insert(window, window->head);
  window->head = (window->head + 1) % window->capacity;
}

void drift_sorted_window_put(const DriftSortedWindow *window, GByteArray *raw)
{
  drift_put_u32(raw, window->n);
  drift_put_u32(raw, window->head);
  for (guint age = window->n; age > 0; age--)
    drift_put_double(raw, window->values[(window->head + window->capacity - age) % window->capacity]);
}

gboolean drift_sorted_window_get(DriftSortedWindow *window, DriftReader *reader)
{
  guint n = drift_get_u32(reader), head = drift_get_u32(reader);
  if (n > window->capacity || head >= window->capacity || (n < window->capacity && head != n % window->capacity))
    return FALSE;
  /* Oldest first into the slots they had: ties come out in order of arrival, as they went in. */
  drift_sorted_window_empty(window);
  for (guint age = n; age > 0; age--) {
    guint slot = (head + window->capacity - age) % window->capacity;
    window->values[slot] = drift_get_double(reader);
    if (isnan(window->values[slot])) return FALSE;
    insert(window, slot);
  }
  window->head = head;
  return TRUE;
}

/* Lets values[at] sink until no child is larger. */
static void sift_down(double *values, guint at, guint n)
{
  double value = values[at];
  for (guint child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && values[child + 1] > values[child]) child++;
    if (!(values[child] > value)) break;
    values[at] = values[child];
  }
  values[at] = value;
}

void drift_sort_in_place(double *values, guint n)
{
  for (guint i = n / 2; i-- > 0;) sift_down(values, i, n);
  for (guint last = n; last-- > 1;) {
    double largest = values[0];
    values[0] = values[last];
    values[last] = largest;
    sift_down(values, 0, last);
  }
}
