/* The last values of a series, in order of arrival and in order of size: for detectors that compare distributions. */
#pragma once

#include "drift/bytes_internal.h"

G_BEGIN_DECLS

typedef struct {
  guint capacity, n, head; /* head: the slot the next value takes */
  double *values;          /* [capacity] by slot, a ring */
  guint *order;            /* [n] slots by value */
} DriftSortedWindow;

void drift_sorted_window_init(DriftSortedWindow *window, guint capacity);
void drift_sorted_window_clear(DriftSortedWindow *window);
void drift_sorted_window_empty(DriftSortedWindow *window);
gsize drift_sorted_window_bytes(const DriftSortedWindow *window);
/* The oldest value leaves when it is full. Not NaN. */
void drift_sorted_window_add(DriftSortedWindow *window, double value);
/* Slot of the oldest value of a full window. */
static inline guint drift_sorted_window_oldest(const DriftSortedWindow *window)
{
  return window->head;
}
/* Same slots, same order after get: a restored window continues identically. get refuses NaN and counts above capacity.
 */
void drift_sorted_window_put(const DriftSortedWindow *window, GByteArray *raw);
gboolean drift_sorted_window_get(DriftSortedWindow *window, DriftReader *reader);

/* First place in sorted[n] whose value is greater than `value`. */
guint drift_sorted_place(const double *sorted, guint n, double value);

/* Ascending, without memory of its own (heapsort): for detectors, which allocate nothing an event. No NaN. */
void drift_sort_in_place(double *values, guint n);

G_END_DECLS
