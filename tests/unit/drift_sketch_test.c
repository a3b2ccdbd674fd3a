/* The sketches: error within their bounds, merging, bytes. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/bytes_internal.h"
#include "drift/frequent.h"
#include "drift/hyperloglog.h"
#include "drift/kll.h"
#include "drift/schema.h"

/* --- KLL ---------------------------------------------------------------------------------------------------------- */

#define N 20000u

/* A permutation of 0 … N - 1: the true rank of x is x / N (exclusive). */
static double value_at(guint i)
{
  return (double)(i * 7919u % N);
}

static DriftKll *sketch_of(guint from, guint to, guint k, guint64 seed)
{
  DriftKll *sketch = drift_kll_new(k, seed, NULL);
  for (guint i = from; i < to; i++) drift_kll_update(sketch, value_at(i));
  return sketch;
}

static double worst_error(const DriftKll *sketch)
{
  double worst = 0;
  g_autoptr(DriftKllView) view = drift_kll_view_new(sketch);
  for (guint i = 1; i < 100; i++) {
    double x = N * (i / 100.0);
    worst = fmax(worst, fabs(drift_kll_view_rank(view, x, FALSE) - x / N));
    worst = fmax(worst, fabs(drift_kll_view_quantile(view, i / 100.0) / N - i / 100.0));
  }
  return worst;
}

/* The bound for one question holds in 99 % of seeds; the one for all questions at once is the larger. */
START_TEST(kll_keeps_its_bound_and_merging_keeps_it)
{
  const guint seeds = 60, k = 200;
  guint whole_bad = 0, merged_bad = 0;
  for (guint64 seed = 1; seed <= seeds; seed++) {
    g_autoptr(DriftKll) whole = sketch_of(0, N, k, seed), merged = sketch_of(0, N / 10, k, seed);
    whole_bad += worst_error(whole) > drift_kll_rank_error(k, TRUE);
    for (guint part = 1; part < 10; part++) {
      g_autoptr(DriftKll) other = sketch_of(part * (N / 10), (part + 1) * (N / 10), k, 1000 * seed + part);
      ck_assert(drift_kll_merge(merged, other, NULL));
    }
    ck_assert_uint_eq(drift_kll_get_n(merged), N);
    merged_bad += worst_error(merged) > drift_kll_rank_error(k, TRUE);
    ck_assert_uint_lt(drift_kll_get_retained(merged), 3 * k + 100);
    ck_assert_double_eq(drift_kll_get_min(merged), 0);
    ck_assert_double_eq(drift_kll_get_max(merged), N - 1);
  }
  ck_assert_uint_le(whole_bad, 2);
  ck_assert_uint_le(merged_bad, 2);
}
END_TEST

START_TEST(kll_is_exact_while_it_keeps_everything)
{
  g_autoptr(DriftKll) sketch = drift_kll_new(200, 1, NULL);
  for (guint i = 0; i < 100; i++) drift_kll_update(sketch, 99 - i);
  drift_kll_update(sketch, NAN);
  g_autoptr(DriftKllView) view = drift_kll_view_new(sketch);
  ck_assert_uint_eq(drift_kll_get_n(sketch), 100);
  ck_assert_uint_eq(drift_kll_get_missing(sketch), 1);
  ck_assert_double_eq(drift_kll_view_quantile(view, .5), 49);
  ck_assert_double_eq(drift_kll_view_rank(view, 49, TRUE), .5);
  ck_assert_double_eq(drift_kll_view_rank(view, 49, FALSE), .49);
  ck_assert_double_eq(drift_kll_view_rank(view, INFINITY, TRUE), 1);
  ck_assert(isnan(drift_kll_view_quantile(view, 1.1)) && isnan(drift_kll_view_rank(view, NAN, TRUE)));
  g_autoptr(DriftKll) empty = drift_kll_new(8, 1, NULL);
  g_autoptr(DriftKllView) nothing = drift_kll_view_new(empty);
  ck_assert(isnan(drift_kll_view_quantile(nothing, .5)) && isnan(drift_kll_get_min(empty)));
  ck_assert(drift_kll_merge(sketch, empty, NULL));
  ck_assert_uint_eq(drift_kll_get_k(sketch), 200); /* nothing came in */
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(drift_kll_new(7, 1, &error));
}
END_TEST

START_TEST(kll_restored_at_any_index_continues_identically)
{
  const guint stops[] = {0, 1, 199, 200, 201, 3000, 7777};
  for (guint s = 0; s < G_N_ELEMENTS(stops); s++) {
    g_autoptr(DriftKll) sketch = sketch_of(0, stops[s], 64, 5);
    g_autoptr(GBytes) bytes = drift_kll_to_bytes(sketch);
    g_autoptr(DriftKll) restored = drift_kll_from_bytes(bytes, NULL);
    ck_assert_ptr_nonnull(restored);
    for (guint i = stops[s]; i < stops[s] + 4000; i++) {
      drift_kll_update(sketch, value_at(i));
      drift_kll_update(restored, value_at(i));
    }
    g_autoptr(GBytes) a = drift_kll_to_bytes(sketch), b = drift_kll_to_bytes(restored);
    ck_assert(g_bytes_equal(a, b));
  }
}
END_TEST

/* --- HyperLogLog -------------------------------------------------------------------------------------------------- */

START_TEST(hyperloglog_counts_within_its_bound)
{
  const guint precision = 12, counts[] = {0, 1, 10, 1000, 20000, 200000}, seeds = 12;
  double bound = drift_hyperloglog_relative_error(precision);
  for (guint c = 0; c < G_N_ELEMENTS(counts); c++) {
    double squares = 0;
    for (guint seed = 0; seed < seeds; seed++) {
      g_autoptr(DriftHyperLogLog) sketch = drift_hyperloglog_new(precision, NULL);
      for (guint i = 0; i < counts[c]; i++) drift_hyperloglog_update_number(sketch, seed * 1e9 + i);
      double estimate = drift_hyperloglog_estimate(sketch), error = counts[c] > 0 ? estimate / counts[c] - 1 : estimate;
      /* Of few values one collision is much. */
      ck_assert_double_lt(fabs(error), fmax(4 * bound, counts[c] > 0 ? 1.5 / counts[c] : 0));
      squares += error * error;
    }
    if (counts[c] >= 1000)
      ck_assert_double_lt(sqrt(squares / seeds),
                          1.5 * bound); /* the root mean square of 12 is within 1.5 of its mean */
  }
}
END_TEST

START_TEST(hyperloglog_merging_is_exact_in_any_order)
{
  g_autoptr(DriftHyperLogLog) whole = drift_hyperloglog_new(10, NULL), a = drift_hyperloglog_new(10, NULL),
                              b = drift_hyperloglog_new(10, NULL), other = drift_hyperloglog_new(11, NULL);
  for (guint i = 0; i < 5000; i++) {
    gchar text[16];
    g_snprintf(text, sizeof text, "v%u", i % 3000);
    drift_hyperloglog_update(whole, text, strlen(text));
    drift_hyperloglog_update(i % 2 ? a : b, text, strlen(text));
  }
  ck_assert_double_eq_tol(drift_hyperloglog_estimate(whole), 3000, 300);
  g_autoptr(GBytes) a_bytes = drift_hyperloglog_to_bytes(a);
  g_autoptr(DriftHyperLogLog) a_again = drift_hyperloglog_from_bytes(a_bytes, NULL);
  ck_assert(drift_hyperloglog_merge(a, b, NULL) && drift_hyperloglog_merge(a, b, NULL));
  ck_assert(drift_hyperloglog_merge(b, a_again, NULL));
  g_autoptr(GBytes) one = drift_hyperloglog_to_bytes(whole), two = drift_hyperloglog_to_bytes(a),
                    three = drift_hyperloglog_to_bytes(b);
  ck_assert(g_bytes_equal(one, two) && g_bytes_equal(one, three));
  g_autoptr(GError) error = NULL;
  ck_assert(!drift_hyperloglog_merge(a, other, &error));
  ck_assert_int_eq(error->code, DRIFT_ERROR_MISMATCH);
}
END_TEST

/* --- frequent items ----------------------------------------------------------------------------------------------- */

/* Value i occurs about N / i times. */
static guint zipf(GRand *random)
{
  return (guint)exp(g_rand_double(random) * log(5000));
}

static void check_bounds(const DriftFrequent *sketch, const guint64 *truth, guint n_values, guint k)
{
  guint64 error = drift_frequent_get_error(sketch);
  ck_assert_uint_le(error, drift_frequent_get_n(sketch) / (k + 1));
  for (guint v = 0; v < n_values; v++) {
    g_autofree gchar *text = g_strdup_printf("value %u", v);
    guint64 count = drift_frequent_get_count(sketch, text, strlen(text));
    ck_assert_uint_le(count, truth[v]);
    ck_assert_uint_le(truth[v], count + error);
  }
}

START_TEST(frequent_items_keep_their_bound_and_merging_keeps_it)
{
  const guint k = 50, n_values = 5001;
  g_autofree guint64 *truth = g_new0(guint64, n_values), *total = g_new0(guint64, n_values);
  g_autoptr(GRand) random = g_rand_new_with_seed(4);
  g_autoptr(DriftFrequent) merged = drift_frequent_new(k, NULL);
  for (guint part = 0; part < 4; part++) {
    g_autoptr(DriftFrequent) sketch = drift_frequent_new(k, NULL);
    memset(truth, 0, n_values * sizeof *truth);
    for (guint i = 0; i < 20000; i++) {
      guint value = zipf(random), weight = 1 + (i % 100 == 0) * 7;
      g_autofree gchar *text = g_strdup_printf("value %u", value);
      drift_frequent_update(sketch, text, strlen(text), weight);
      truth[value] += weight;
      total[value] += weight;
    }
    check_bounds(sketch, truth, n_values, k);
    ck_assert(drift_frequent_merge(merged, sketch, NULL));
  }
  check_bounds(merged, total, n_values, k);
  g_autoptr(GPtrArray) items = drift_frequent_get_items(merged);
  ck_assert_uint_le(items->len, k);
  ck_assert_str_eq(((DriftFrequentItem *)items->pdata[0])->text, "value 1");
}
END_TEST

START_TEST(frequent_items_merge_commutes_and_long_texts_stay_apart)
{
  g_autoptr(DriftFrequent) a = drift_frequent_new(3, NULL), b = drift_frequent_new(3, NULL);
  const gchar *const words = "aaaabbbcxyzzzz";
  for (guint i = 0; i < 14; i++) drift_frequent_update(i < 8 ? a : b, words + i, 1, 1);
  g_autoptr(GBytes) bytes = drift_frequent_to_bytes(a);
  g_autoptr(DriftFrequent) a_again = drift_frequent_from_bytes(bytes, NULL);
  ck_assert(drift_frequent_merge(a, b, NULL) && drift_frequent_merge(b, a_again, NULL));
  g_autoptr(GBytes) ab = drift_frequent_to_bytes(a), ba = drift_frequent_to_bytes(b);
  ck_assert(g_bytes_equal(ab, ba));
  g_autoptr(DriftFrequent) longs = drift_frequent_new(8, NULL);
  g_autofree gchar *first = g_strnfill(1000, 'x'), *second = g_strnfill(1001, 'x');
  drift_frequent_update(longs, first, 1000, 2);
  drift_frequent_update(longs, second, 1001, 3);
  ck_assert_uint_eq(drift_frequent_get_count(longs, first, 1000), 2);
  ck_assert_uint_eq(drift_frequent_get_count(longs, second, 1001), 3);
}
END_TEST

/* --- bytes -------------------------------------------------------------------------------------------------------- */

static GBytes *kll_bytes(void)
{
  g_autoptr(DriftKll) sketch = sketch_of(0, 3000, 32, 2);
  return drift_kll_to_bytes(sketch);
}

static GBytes *hyperloglog_bytes(void)
{
  g_autoptr(DriftHyperLogLog) sketch = drift_hyperloglog_new(6, NULL);
  for (guint i = 0; i < 300; i++) drift_hyperloglog_update_number(sketch, i);
  return drift_hyperloglog_to_bytes(sketch);
}

static GBytes *frequent_bytes(void)
{
  g_autoptr(DriftFrequent) sketch = drift_frequent_new(20, NULL);
  for (guint i = 0; i < 300; i++) {
    gchar text[2] = {(gchar)('a' + i * i % 26), '\0'};
    drift_frequent_update(sketch, text, 1, 1);
  }
  return drift_frequent_to_bytes(sketch);
}

/* Reads, and if that gives a sketch, uses it in every way: whatever the bytes were, it has to hold its invariants. */
static gboolean kll_reads(GBytes *bytes, GError **error)
{
  g_autoptr(DriftKll) sketch = drift_kll_from_bytes(bytes, error), own = sketch_of(0, 500, 16, 3);
  if (sketch == NULL) return FALSE;
  g_autoptr(GBytes) again = drift_kll_to_bytes(sketch);
  g_autoptr(DriftKll) twin = drift_kll_from_bytes(again, NULL);
  ck_assert_ptr_nonnull(twin);
  for (guint i = 0; i < 500; i++) drift_kll_update(sketch, i);
  if (drift_kll_merge(sketch, twin, NULL)) ck_assert(drift_kll_merge(sketch, own, NULL));
  g_autoptr(DriftKllView) view = drift_kll_view_new(sketch);
  ck_assert(!isnan(drift_kll_view_quantile(view, .5)));
  ck_assert_double_eq(drift_kll_view_rank(view, INFINITY, TRUE), 1);
  return TRUE;
}

static gboolean hyperloglog_reads(GBytes *bytes, GError **error)
{
  g_autoptr(DriftHyperLogLog) sketch = drift_hyperloglog_from_bytes(bytes, error);
  if (sketch == NULL) return FALSE;
  drift_hyperloglog_update_number(sketch, 1);
  ck_assert(drift_hyperloglog_merge(sketch, sketch, NULL));
  ck_assert(drift_hyperloglog_estimate(sketch) > 0);
  return TRUE;
}

static gboolean frequent_reads(GBytes *bytes, GError **error)
{
  g_autoptr(DriftFrequent) sketch = drift_frequent_from_bytes(bytes, error);
  if (sketch == NULL) return FALSE;
  for (guint i = 0; i < 500; i++) {
    gchar text[3] = {(gchar)('a' + i % 26), (gchar)('a' + i / 26), '\0'};
    drift_frequent_update(sketch, text, 2, 1 + i);
  }
  g_autoptr(GBytes) again = drift_frequent_to_bytes(sketch);
  g_autoptr(DriftFrequent) twin = drift_frequent_from_bytes(again, NULL);
  ck_assert_ptr_nonnull(twin);
  drift_frequent_merge(sketch, twin, NULL);
  g_autoptr(GPtrArray) items = drift_frequent_get_items(sketch);
  ck_assert_uint_gt(items->len, 0);
  return TRUE;
}

static const struct {
  GBytes *(*make)(void);
  gboolean (*read)(GBytes *bytes, GError **error);
  const gchar *magic;
} formats[] = {{kll_bytes, kll_reads, "KKLL"},
               {hyperloglog_bytes, hyperloglog_reads, "KHLL"},
               {frequent_bytes, frequent_reads, "KFRQ"}};

START_TEST(damaged_bytes_are_refused)
{
  g_autoptr(GBytes) bytes = formats[_i].make();
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  ck_assert(formats[_i].read(bytes, NULL));
  for (gsize cut = 0; cut < length; cut++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) part = g_bytes_new(data, cut);
    ck_assert(!formats[_i].read(part, &error));
    ck_assert_ptr_nonnull(error);
  }
  for (gsize at = 0; at < length; at++) {
    g_autoptr(GError) error = NULL;
    g_autofree guint8 *copy = g_memdup2(data, length);
    copy[at] ^= 0x15;
    g_autoptr(GBytes) damaged = g_bytes_new(copy, length);
    ck_assert(!formats[_i].read(damaged, &error));
    if (at == 4) ck_assert_int_eq(error->code, DRIFT_ERROR_MISMATCH); /* the version byte */
  }
}
END_TEST

/* The digest guards against damage, not against malice: bytes with a right digest and wrong contents. */
START_TEST(hostile_contents_are_refused_or_harmless)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(6);
  g_autoptr(GBytes) bytes = formats[_i].make();
  g_autoptr(GBytes) raw = drift_frame_unpack(formats[_i].magic, 1, 1 << 20, "test", bytes, NULL);
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  guint refused = 0;
  for (guint round = 0; round < 4000; round++) {
    g_autoptr(GByteArray) hostile = g_byte_array_new();
    g_byte_array_append(hostile, data, (guint)length);
    guint changes = 1 + (guint)g_rand_int_range(random, 0, 3);
    for (guint c = 0; c < changes; c++) {
      gsize within = g_rand_boolean(random) ? MIN(length, 64) : length;
      hostile->data[g_rand_int_range(random, 0, (gint)within)] = (guint8)g_rand_int_range(random, 0, 256);
    }
    if (g_rand_int_range(random, 0, 4) == 0)
      g_byte_array_set_size(hostile, (guint)g_rand_int_range(random, 0, (gint)length));
    g_autoptr(GBytes) frame = drift_frame_pack(formats[_i].magic, 1, hostile);
    g_autoptr(GError) error = NULL;
    gboolean read = formats[_i].read(frame, &error);
    ck_assert(read == (error == NULL));
    refused += !read;
  }
  ck_assert_uint_gt(refused, 1000);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_sketch");
  TCase *tests = tcase_create("sketch");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, kll_keeps_its_bound_and_merging_keeps_it);
  tcase_add_test(tests, kll_is_exact_while_it_keeps_everything);
  tcase_add_test(tests, kll_restored_at_any_index_continues_identically);
  tcase_add_test(tests, hyperloglog_counts_within_its_bound);
  tcase_add_test(tests, hyperloglog_merging_is_exact_in_any_order);
  tcase_add_test(tests, frequent_items_keep_their_bound_and_merging_keeps_it);
  tcase_add_test(tests, frequent_items_merge_commutes_and_long_texts_stay_apart);
  tcase_add_loop_test(tests, damaged_bytes_are_refused, 0, G_N_ELEMENTS(formats));
  tcase_add_loop_test(tests, hostile_contents_are_refused_or_harmless, 0, G_N_ELEMENTS(formats));
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
