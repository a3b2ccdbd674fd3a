/* Radix sorts of doubles: 5 to 8 ns a value where a comparison sort takes 80. */
#include <math.h>
#include <string.h>

#include "drift/sample.h"
#include "drift/sort_internal.h"

#define SMALL 48
#define LARGE 4096 /* from here wider digits pay for their longer tables */

/* The bits of a double where it is. */
typedef guint64 Key __attribute__((may_alias));

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
static gboolean finish_nearly_sorted(Key *keys, gsize n, gsize most)
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
static gboolean scatter(const Key *from, Key *to, gsize n, guint32 *counts, guint n_digits, guint shift)
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
static void radix_sort(Key *keys, Key *scratch, gsize n, guint low, guint bits, guint passes)
{
  guint n_digits = 1u << bits;
  guint64 mask = n_digits - 1;
  g_autofree guint32 *counts = g_new0(guint32, passes * n_digits);
  for (gsize i = 0; i < n; i++) {
    guint64 rest = keys[i] >> low;
    for (guint pass = 0; pass < passes; pass++, rest >>= bits) counts[pass * n_digits + (rest & mask)]++;
  }
  Key *from = keys, *to = scratch;
  for (guint pass = 0; pass < passes; pass++) {
    if (!scatter(from, to, n, counts + pass * n_digits, n_digits, low + pass * bits)) continue;
    Key *swap = from;
    from = to;
    to = swap;
  }
  if (from != keys) memcpy(keys, from, n * sizeof *keys);
}

/* The highest bits that differ at all are enough to bring most samples into order but for a few neighbours. */
#define LEADING_PASSES 3

static void sort_keys(Key *keys, Key *scratch, gsize n)
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

/* --- by value ----------------------------------------------------------------------------------------------------- */

/* Two chains of comparisons that do not wait for each other. */
static void find_range(const double *values, gsize n, double *low, double *high)
{
  double low_even = values[0], low_odd = values[0], high_even = values[0], high_odd = values[0];
  for (gsize i = 1; i + 1 < n; i += 2) {
    double odd = values[i], even = values[i + 1];
    low_odd = odd < low_odd ? odd : low_odd;
    high_odd = odd > high_odd ? odd : high_odd;
    low_even = even < low_even ? even : low_even;
    high_even = even > high_even ? even : high_even;
  }
  *low = fmin(fmin(low_odd, low_even), values[n - 1]);
  *high = fmax(fmax(high_odd, high_even), values[n - 1]);
}

gboolean drift_ruler_init(DriftRuler *ruler, const double *values, gsize n)
{
  double high;
  find_range(values, n, &ruler->low, &high);
  ruler->scale = (DRIFT_DIGITS * DRIFT_DIGITS - 1) / (high - ruler->low);
  return isfinite(high - ruler->low) && isfinite(ruler->scale) && ruler->scale > 0;
}

gboolean drift_ruler_count(const DriftRuler *ruler, const double *values, gsize n, guint32 *counts)
{
  double pairs = 0; /* of values at the same place, as the upper digit tells: each may need moving by one */
  for (gsize i = 0; i < n; i++) {
    guint32 place = drift_ruler_place(ruler, values[i]);
    counts[place & (DRIFT_DIGITS - 1)]++;
    counts[DRIFT_DIGITS + (place >> DRIFT_DIGIT_BITS)]++;
  }
  for (guint d = DRIFT_DIGITS; d < 2 * DRIFT_DIGITS; d++) pairs += (double)counts[d] * counts[d];
  return pairs / (2 * DRIFT_DIGITS) < (double)n / 2;
}

void drift_ruler_begin(guint32 *counts)
{
  guint32 at = 0;
  for (guint d = 0; d < DRIFT_DIGITS; d++) {
    guint32 count = counts[d];
    counts[d] = at;
    at += count;
  }
}

static void scatter_values(const DriftRuler *ruler, const double *from, double *to, gsize n, guint32 *counts,
                           guint shift)
{
  const DriftRuler own = *ruler; /* which no store can change: in registers */
  drift_ruler_begin(counts);
  for (gsize i = 0; i < n; i++) {
    double x = from[i];
    to[counts[(drift_ruler_place(&own, x) >> shift) & (DRIFT_DIGITS - 1)]++] = x;
  }
}

static guint64 bits_in_order(double value)
{
  guint64 bits;
  memcpy(&bits, &value, sizeof bits);
  return key_of(bits);
}

/* As finish_nearly_sorted, on values: equal ones are looked at closely because of the two zeros. */
static gboolean finish_values(double *values, gsize n, gsize most)
{
  for (gsize i = 1; i < n; i++) {
    double value = values[i];
    if (G_LIKELY(values[i - 1] < value)) continue;
    guint64 key = bits_in_order(value);
    gsize j = i;
    for (; j > 0 && bits_in_order(values[j - 1]) > key; j--) values[j] = values[j - 1];
    values[j] = value;
    if (most < i - j) return FALSE;
    most -= i - j;
  }
  return TRUE;
}

/* FALSE: not in order, still a permutation. */
static gboolean sort_by_value(double *values, double *scratch, gsize n)
{
  DriftRuler ruler;
  if (!drift_ruler_init(&ruler, values, n)) return FALSE;
  g_autofree guint32 *counts = g_new0(guint32, 2 * DRIFT_DIGITS);
  if (!drift_ruler_count(&ruler, values, n, counts)) return FALSE;
  scatter_values(&ruler, values, scratch, n, counts, 0);
  scatter_values(&ruler, scratch, values, n, counts + DRIFT_DIGITS, DRIFT_DIGIT_BITS);
  return finish_values(values, n, 4 * n);
}

gboolean drift_sort(double *values, gsize n)
{
  G_STATIC_ASSERT(sizeof(double) == sizeof(Key));
  Key *keys = (Key *)(gpointer)values;
  g_autofree double *scratch = n > SMALL ? g_try_new(double, n) : NULL;
  if (n > SMALL && scratch == NULL) return FALSE;
  if (n >= DRIFT_PLACES_FROM && sort_by_value(values, scratch, n)) return TRUE;
  for (gsize i = 0; i < n; i++) keys[i] = key_of(keys[i]);
  if (n <= SMALL)
    finish_nearly_sorted(keys, n, SMALL * SMALL);
  else
    sort_keys(keys, (Key *)(gpointer)scratch, n);
  for (gsize i = 0; i < n; i++) keys[i] = bits_of(keys[i]);
  return TRUE;
}
