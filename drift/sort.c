/* Radix sort on the bits of doubles: about 10 ns a value where a comparison sort takes 80. */
#include <string.h>

#include "drift/sample.h"

#define SMALL 48
#define LARGE 4096 /* from here wider digits pay for their longer tables */

/* Order-preserving: negative numbers reversed, positive ones above them. */
static guint64 key_of(guint64 bits)
{
  guint64 sign = (guint64)((gint64)bits >> 63);
  return bits ^ (sign | G_GUINT64_CONSTANT(1) << 63);
}

static guint64 bits_of(guint64 key)
{
  guint64 mask = (key >> 63) - 1;
  return key ^ (mask | G_GUINT64_CONSTANT(1) << 63);
}

/* Insertion sort of what is nearly in order; FALSE, with the keys still a permutation, when that takes more than `most`
 * moves. */
static gboolean finish_nearly_sorted(guint64 *keys, gsize n, gsize most)
{
  for (gsize i = 1; i < n; i++) {
    guint64 key = keys[i];
    if (G_LIKELY(keys[i - 1] <= key)) continue;
    gsize j = i;
    for (; j > 0 && keys[j - 1] > key; j--) keys[j] = keys[j - 1];
    keys[j] = key;
    if (most < i - j) return FALSE;
    most -= i - j;
  }
  return TRUE;
}

/* FALSE: all keys share this digit, nothing to do. */
static gboolean scatter(const guint64 *from, guint64 *to, gsize n, guint32 *counts, guint n_digits, guint shift)
{
  if (counts[(from[0] >> shift) & (n_digits - 1)] == n) return FALSE;
  guint32 at = 0;
  for (guint d = 0; d < n_digits; d++) {
    guint32 count = counts[d];
    counts[d] = at;
    at += count;
  }
  for (gsize i = 0; i < n; i++) to[counts[(from[i] >> shift) & (n_digits - 1)]++] = from[i];
  return TRUE;
}

/* Least significant digit first, the bits [low, low + passes * bits). */
static void radix_sort(guint64 *keys, guint64 *scratch, gsize n, guint low, guint bits, guint passes)
{
  guint n_digits = 1u << bits;
  guint64 mask = n_digits - 1;
  g_autofree guint32 *counts = g_new0(guint32, passes * n_digits);
  for (gsize i = 0; i < n; i++) {
    guint64 rest = keys[i] >> low;
    for (guint pass = 0; pass < passes; pass++, rest >>= bits) counts[pass * n_digits + (rest & mask)]++;
  }
  guint64 *from = keys, *to = scratch;
  for (guint pass = 0; pass < passes; pass++) {
    if (!scatter(from, to, n, counts + pass * n_digits, n_digits, low + pass * bits)) continue;
    guint64 *swap = from;
    from = to;
    to = swap;
  }
  if (from != keys) memcpy(keys, from, n * sizeof *keys);
}

/* The highest bits that differ at all are enough to bring most samples into order but for a few neighbours. */
#define LEADING_PASSES 3

static void sort_keys(guint64 *keys, guint64 *scratch, gsize n)
{
  guint64 any = 0, all = ~G_GUINT64_CONSTANT(0);
  for (gsize i = 0; i < n; i++) any |= keys[i], all &= keys[i];
  guint64 differing = any ^ all;
  if (differing == 0) return;
  guint high = 64 - (guint)__builtin_clzll(differing), bits = n < LARGE ? 8 : 11, leading = LEADING_PASSES * bits;
  radix_sort(keys, scratch, n, high > leading ? high - leading : 0, bits, LEADING_PASSES);
  if (high > leading && !finish_nearly_sorted(keys, n, 4 * n))
    radix_sort(keys, scratch, n, 0, bits, (high + bits - 1) / bits);
}

gboolean drift_sort(double *values, gsize n)
{
  G_STATIC_ASSERT(sizeof(double) == sizeof(guint64));
  if (n < 2) return TRUE;
  g_autofree guint64 *keys = g_try_new(guint64, 2 * n);
  if (keys == NULL) return FALSE;
  memcpy(keys, values, n * sizeof *keys);
  for (gsize i = 0; i < n; i++) keys[i] = key_of(keys[i]);
  if (n <= SMALL)
    finish_nearly_sorted(keys, n, SMALL * SMALL);
  else
    sort_keys(keys, keys + n, n);
  for (gsize i = 0; i < n; i++) keys[i] = bits_of(keys[i]);
  memcpy(values, keys, n * sizeof *keys);
  return TRUE;
}
