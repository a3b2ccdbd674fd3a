/* Series as stretches: nothing is lost but detail, however long they are. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "daemon/series_shape.h"

/* The whole series is in the stretches, each the same number of rows long but the last. */
static void check_series(guint64 n)
{
  static SeriesShape shape;
  double sum = 0;
  shape = (SeriesShape){.width = 1};
  for (guint64 i = 0; i < n; i++) {
    double value = i % 10 == 9 ? NAN : (double)(i % 7);
    series_shape_add(&shape, value, i == n / 2 ? 5 : NAN);
    if (!isnan(value)) sum += value;
  }
  guint64 counted = 0;
  double total = 0, largest = -INFINITY, evidence = NAN;
  ck_assert_uint_eq(shape.n_rows, n);
  ck_assert_uint_eq(shape.n, (n + shape.width - 1) / shape.width);
  ck_assert(shape.n <= SERIES_SHAPE_SIZE && (shape.width == 1 || shape.n > SERIES_SHAPE_SIZE / 2));
  for (guint i = 0; i < shape.n; i++) {
    const SeriesStretch *stretch = &shape.stretches[i];
    counted += stretch->n;
    total += stretch->sum;
    largest = fmax(largest, stretch->maximum);
    evidence = fmax(evidence, stretch->evidence);
    ck_assert(stretch->n == 0 || stretch->minimum <= stretch->maximum);
  }
  ck_assert_uint_eq(counted, n - n / 10);
  ck_assert_double_eq(total, sum);
  ck_assert(n < 7 || largest == 6);
  ck_assert(n == 0 ? isnan(evidence) : evidence == 5);
}

START_TEST(any_length_is_held)
{
  static const guint64 lengths[] = {0, 1, 7, 511, 512, 513, 1024, 1025, 99999, 1 << 20};
  for (guint i = 0; i < G_N_ELEMENTS(lengths); i++) check_series(lengths[i]);
}
END_TEST

START_TEST(what_is_not_finite_has_no_value)
{
  SeriesShape shape = {.width = 1};
  series_shape_add(&shape, INFINITY, NAN);
  series_shape_add(&shape, NAN, 2);
  ck_assert_uint_eq(shape.n, 2);
  ck_assert_uint_eq(shape.stretches[0].n + shape.stretches[1].n, 0);
  ck_assert(isnan(shape.stretches[0].evidence) && shape.stretches[1].evidence == 2);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("series_shape");
  TCase *all = tcase_create("all");
  tcase_add_test(all, any_length_is_held);
  tcase_add_test(all, what_is_not_finite_has_no_value);
  suite_add_tcase(suite, all);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
