/* Radix sorts of row numbers by their doubles, and the two areas that need it. */
#include "drift/order.h"

#include <math.h>
#include <string.h>

#include "drift/sort_internal.h"

#define SMALL 32

typedef struct {
  guint64 key;
  guint32 row;
} Item;

static guint64 key_of(double value)
{
  guint64 bits;
  value += 0.0; /* -0 and 0 are one value */
  memcpy(&bits, &value, sizeof bits);
  guint64 sign = (guint64)((gint64)bits >> 63);
  return bits ^ (sign | G_GUINT64_CONSTANT(1) << 63);
}

/* FALSE, with the items still a permutation that keeps equal ones in their order, after more than `most` moves. */
static gboolean insertion_sort(Item *items, gsize n, gsize most)
{
  for (gsize i = 1; i < n; i++) {
    Item item = items[i];
    gsize j = i;
    if (G_LIKELY(items[i - 1].key <= item.key)) continue;
    for (; j > 0 && items[j - 1].key > item.key; j--) items[j] = items[j - 1];
    items[j] = item;
    if (most < i - j) return FALSE;
    most -= i - j;
  }
  return TRUE;
}

/* By places (sort_internal.h), the rows first alone, then with their keys. FALSE: not in order; items may be anything.
 */
static gboolean sort_by_value(const double *values, gsize n, Item *items, guint32 *rows)
{
  DriftRuler ruler;
  if (n < DRIFT_PLACES_FROM || !drift_ruler_init(&ruler, values, n)) return FALSE;
  g_autofree guint32 *counts = g_new0(guint32, 2 * DRIFT_DIGITS);
  guint32 *upper = counts + DRIFT_DIGITS;
  if (!drift_ruler_count(&ruler, values, n, counts)) return FALSE;
  drift_ruler_begin(counts);
  drift_ruler_begin(upper);
  for (gsize i = 0; i < n; i++) rows[counts[drift_ruler_place(&ruler, values[i]) & (DRIFT_DIGITS - 1)]++] = (guint32)i;
  for (gsize i = 0; i < n; i++) {
    double value = values[rows[i]];
    items[upper[drift_ruler_place(&ruler, value) >> DRIFT_DIGIT_BITS]++] = (Item){key_of(value), rows[i]};
  }
  return insertion_sort(items, n, 4 * n);
}

/* One byte at a time from the lowest; bytes that all rows share are skipped. Returns where the result is. */
static Item *radix_sort(Item *items, Item *scratch, gsize n)
{
  static const guint n_bytes = 8;
  guint32 counts[8][256] = {{0}};
  for (gsize i = 0; i < n; i++)
    for (guint byte = 0; byte < n_bytes; byte++) counts[byte][items[i].key >> byte * 8 & 255]++;
  for (guint byte = 0; byte < n_bytes; byte++) {
    guint32 at = 0;
    if (counts[byte][items[0].key >> byte * 8 & 255] == n) continue;
    for (guint digit = 0; digit < 256; digit++) {
      guint32 count = counts[byte][digit];
      counts[byte][digit] = at;
      at += count;
    }
    for (gsize i = 0; i < n; i++) scratch[counts[byte][items[i].key >> byte * 8 & 255]++] = items[i];
    Item *swap = items;
    items = scratch;
    scratch = swap;
  }
  return items;
}

gboolean drift_order(const double *values, gsize n, guint32 *order)
{
  if (n == 0) return TRUE;
  g_autofree Item *items = g_try_new(Item, 2 * n);
  if (items == NULL || n > G_MAXUINT32) return FALSE;
  Item *sorted = items;
  if (!sort_by_value(values, n, items, order)) {
    for (gsize i = 0; i < n; i++) items[i] = (Item){key_of(values[i]), (guint32)i};
    if (n > SMALL || !insertion_sort(items, n, SMALL * SMALL)) sorted = radix_sort(items, items + n, n);
  }
  for (gsize i = 0; i < n; i++) order[i] = sorted[i].row;
  return TRUE;
}

/* The rows of the next lower score: they end before *at, which moves to their beginning; *positive is their sum. */
static gsize next_lower(const double *positive, const double *score, const guint32 *order, gsize *at, double *sum)
{
  gsize end = *at, begin = end;
  double value = score[order[end - 1]];
  for (*sum = 0; begin > 0 && score[order[begin - 1]] == value; begin--) *sum += positive[order[begin - 1]];
  *at = begin;
  return end - begin;
}

double drift_expected_roc_auc(const double *positive, const double *score, const guint32 *order, gsize n)
{
  double true_positives = 0, false_positives = 0, area = 0, sum;
  for (gsize at = n; at > 0;) {
    gsize rows = next_lower(positive, score, order, &at, &sum);
    double negatives = (double)rows - sum;
    area += negatives * (true_positives + sum / 2);
    true_positives += sum;
    false_positives += negatives;
  }
  return true_positives > 0 && false_positives > 0 ? area / (true_positives * false_positives) : NAN;
}

double drift_expected_average_precision(const double *positive, const double *score, const guint32 *order, gsize n,
                                        gboolean by_row)
{
  double true_positives = 0, area = 0, sum;
  gsize seen = 0;
  for (gsize at = n; at > 0;) {
    gsize rows = next_lower(positive, score, order, &at, &sum);
    double mean = sum / (double)rows;
    for (gsize i = 1; by_row && i <= rows; i++) area += mean * (true_positives + mean * (double)i) / (double)(seen + i);
    seen += rows;
    true_positives += sum;
    if (!by_row) area += sum * true_positives / (double)seen;
  }
  return true_positives > 0 ? area / true_positives : NAN;
}
