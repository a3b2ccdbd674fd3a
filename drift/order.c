/* Radix sort of row numbers by the bits of their doubles, and the two areas that need it. */
#include "drift/order.h"

#include <math.h>
#include <string.h>

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

static void insertion_sort(Item *items, gsize n)
{
  for (gsize i = 1; i < n; i++) {
    Item item = items[i];
    gsize j = i;
    for (; j > 0 && items[j - 1].key > item.key; j--) items[j] = items[j - 1];
    items[j] = item;
  }
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
  for (gsize i = 0; i < n; i++) items[i] = (Item){key_of(values[i]), (guint32)i};
  Item *sorted = items;
  if (n <= 32)
    insertion_sort(items, n);
  else
    sorted = radix_sort(items, items + n, n);
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
