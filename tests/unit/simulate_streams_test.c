/* Benchmark streams: the definitions, the balance, the switches, the seed. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/simulate_streams.h"

static DriftTable *generate(const gchar *name, guint64 rows, guint32 seed)
{
  g_autoptr(GError) error = NULL;
  const SimulateStream *stream = simulate_stream_find(name);
  ck_assert_ptr_nonnull(stream);
  DriftTable *table = simulate_stream_generate(stream, rows, seed, &error);
  ck_assert_msg(table != NULL, "%s", error ? error->message : "");
  return table;
}

static double cell(const DriftTable *table, const gchar *column, guint64 row)
{
  DriftValue value = drift_column_get_value(drift_table_get_column(table, column), row);
  ck_assert_int_eq(value.kind, DRIFT_VALUE_NUMBER);
  return value.number;
}

static gboolean same(const DriftTable *a, const DriftTable *b)
{
  for (guint c = 0; c < a->columns->len; c++) {
    const DriftColumn *x = g_ptr_array_index(a->columns, c), *y = g_ptr_array_index(b->columns, c);
    const GArray *p = x->kind == DRIFT_NUMERIC ? x->numbers : x->codes,
                 *q = y->kind == DRIFT_NUMERIC ? y->numbers : y->codes;
    if (p->len != q->len || memcmp(p->data, q->data, p->len * g_array_get_element_size((GArray *)p)) != 0) return FALSE;
  }
  return TRUE;
}

START_TEST(a_seed_gives_one_stream)
{
  for (guint i = 0; simulate_streams[i]; i++) {
    const gchar *name = simulate_streams[i]->name;
    g_autoptr(DriftTable) first = generate(name, 500, 7), again = generate(name, 500, 7),
                          other = generate(name, 500, 8);
    ck_assert_uint_eq(first->n_rows, 500);
    ck_assert_msg(same(first, again), "%s differs from itself", name);
    ck_assert_msg(!same(first, other), "%s does not heed the seed", name);
    for (guint c = 0; c < first->columns->len; c++) {
      const DriftColumn *column = g_ptr_array_index(first->columns, c);
      ck_assert_uint_eq(column->kind == DRIFT_NUMERIC ? column->numbers->len : column->codes->len, 500);
    }
  }
}
END_TEST

/* The curves of J. Gama et al. 2004, written down again: functions 0 to 3 of sine. */
static gboolean sine(guint function, double x1, double x2)
{
  switch (function) {
  case 0:
    return x1 < sin(x2);
  case 1:
    return !(x1 < sin(x2));
  case 2:
    return x1 < .5 + .3 * sin(3 * G_PI * x2);
  default:
    return !(x1 < .5 + .3 * sin(3 * G_PI * x2));
  }
}

START_TEST(sine_switches_every_ten_thousand_rows)
{
  g_autoptr(DriftTable) table = generate("sine", 40000, 1);
  guint64 ones[4] = {0};
  for (guint64 row = 0; row < 40000; row++) {
    double x1 = cell(table, "x1", row), x2 = cell(table, "x2", row), label = cell(table, "class", row);
    ck_assert(x1 >= 0 && x1 < 1 && x2 >= 0 && x2 < 1);
    ck_assert_msg(label == sine((guint)(row / 10000), x1, x2), "row %llu", (unsigned long long)row);
    ones[row / 10000] += label > 0;
  }
  for (guint i = 0; i < 4; i++)
    ck_assert_msg(llabs((gint64)ones[i] - 5000) < 250, "concept %u: %llu ones", i, (unsigned long long)ones[i]);
}
END_TEST

START_TEST(mixed_reverses_and_comes_back)
{
  g_autoptr(DriftTable) table = generate("mixed", 40000, 1);
  guint64 ones[4] = {0};
  for (guint64 row = 0; row < 40000; row++) {
    double v = cell(table, "v", row), w = cell(table, "w", row), x = cell(table, "x", row), y = cell(table, "y", row);
    ck_assert((v == 0 || v == 1) && (w == 0 || w == 1));
    gboolean most = v + w + (y < .5 + .3 * sin(3 * G_PI * x)) >= 2;
    ck_assert(cell(table, "class", row) == (row / 10000 % 2 ? most : !most));
    ones[row / 10000] += cell(table, "class", row) > 0;
  }
  for (guint i = 0; i < 4; i++) ck_assert_int_lt(llabs((gint64)ones[i] - 5000), 250);
}
END_TEST

/* Labels follow the threshold of the quarter but for the noise. */
START_TEST(sea_changes_its_threshold_in_each_quarter)
{
  static const double thresholds[] = {8, 9, 7, 9.5};
  g_autoptr(DriftTable) table = generate("sea", 40000, 3);
  guint64 flipped[4] = {0};
  for (guint64 row = 0; row < 40000; row++)
    flipped[row / 10000] +=
        cell(table, "class", row) != (cell(table, "x1", row) + cell(table, "x2", row) > thresholds[row / 10000]);
  for (guint i = 0; i < 4; i++)
    ck_assert_msg(llabs((gint64)flipped[i] - 1000) < 150, "quarter %u: %llu", i, (unsigned long long)flipped[i]);
}
END_TEST

START_TEST(agrawal_denies_some_women)
{
  g_autoptr(DriftTable) table = generate("agrawal", 20000, 3);
  double approved[2] = {0}, n[2] = {0};
  for (guint64 row = 0; row < 20000; row++) {
    DriftValue sex = drift_column_get_value(drift_table_get_column(table, "sex"), row);
    gboolean woman = sex.length == 6;
    approved[woman] += cell(table, "class", row);
    n[woman]++;
  }
  ck_assert_double_eq_tol(approved[1] / n[1] / (approved[0] / n[0]), .9, .05);
}
END_TEST

START_TEST(what_cannot_be_made_is_said)
{
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(simulate_stream_find("nosuch"));
  ck_assert_ptr_null(simulate_stream_find(NULL));
  ck_assert_ptr_null(simulate_stream_generate(simulate_stream_find("sea"), 100000001, 1, &error));
  ck_assert(g_error_matches(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT));
  g_autoptr(DriftTable) usual = generate("agrawal", 0, 1);
  ck_assert_uint_eq(usual->n_rows, 20000);
}
END_TEST

START_TEST(a_shuffle_is_a_permutation_of_the_seed)
{
  enum { N = 1000 };
  g_autofree guint64 *plain = simulate_order(N, FALSE, 1), *one = simulate_order(N, TRUE, 1),
                     *again = simulate_order(N, TRUE, 1), *two = simulate_order(N, TRUE, 2);
  gboolean seen[N] = {FALSE};
  guint moved = 0;
  for (guint i = 0; i < N; i++) {
    ck_assert_uint_eq(plain[i], i);
    ck_assert_uint_lt(one[i], N);
    ck_assert(!seen[one[i]]);
    seen[one[i]] = TRUE;
    moved += one[i] != i;
  }
  ck_assert_uint_gt(moved, N - 20);
  ck_assert_mem_eq(one, again, N * sizeof *one);
  ck_assert_mem_ne(one, two, N * sizeof *one);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("simulate_streams");
  TCase *tcase = tcase_create("streams");
  tcase_set_timeout(tcase, 60);
  tcase_add_test(tcase, a_seed_gives_one_stream);
  tcase_add_test(tcase, sine_switches_every_ten_thousand_rows);
  tcase_add_test(tcase, mixed_reverses_and_comes_back);
  tcase_add_test(tcase, sea_changes_its_threshold_in_each_quarter);
  tcase_add_test(tcase, agrawal_denies_some_women);
  tcase_add_test(tcase, what_cannot_be_made_is_said);
  tcase_add_test(tcase, a_shuffle_is_a_permutation_of_the_seed);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
