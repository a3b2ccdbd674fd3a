/* .npy files: every element type, both byte orders, both layouts; what is refused and how it is said. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <glib/gstdio.h>

#include "pipeline/error.h"
#include "pipeline/npy.h"

/* A file of format version 1 around the dictionary. */
static GByteArray *make_file(const gchar *dictionary, const void *values, gsize length)
{
  GByteArray *file = g_byte_array_new();
  guint8 head[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (guint8)(strlen(dictionary) + 1), 0};
  g_byte_array_append(file, head, sizeof head);
  g_byte_array_append(file, (const guint8 *)dictionary, (guint)strlen(dictionary));
  g_byte_array_append(file, (const guint8 *)"\n", 1);
  if (length > 0) g_byte_array_append(file, values, (guint)length);
  return file;
}

static PipelineArray *parse(const gchar *dictionary, const void *values, gsize length, GError **error)
{
  g_autoptr(GByteArray) file = make_file(dictionary, values, length);
  return pipeline_npy_parse(file->data, file->len, "a.npy", error);
}

static PipelineArray *parse_type(const gchar *type, const void *values, gsize length)
{
  g_autofree gchar *dictionary = g_strdup_printf("{'descr': '%s', 'fortran_order': False, 'shape': (2,), }", type);
  g_autoptr(GError) error = NULL;
  PipelineArray *array = parse(dictionary, values, length, &error);
  ck_assert_msg(array != NULL, "%s: %s", type, error != NULL ? error->message : "");
  ck_assert_uint_eq(array->n_rows, 2);
  ck_assert_uint_eq(array->n_columns, 1);
  ck_assert_uint_eq(array->n_dimensions, 1);
  return array;
}

START_TEST(every_type_in_both_orders)
{
  static const struct {
    const gchar *type;
    guint8 bytes[16];
    gsize length;
    double first, second;
  } cases[] = {
      {"|b1", {0, 1}, 2, 0, 1},
      {"|i1", {0xff, 0x7f}, 2, -1, 127},
      {"|u1", {0xff, 0}, 2, 255, 0},
      {"<i2", {0xfe, 0xff, 0x01, 0x02}, 4, -2, 513},
      {">i2", {0xff, 0xfe, 0x02, 0x01}, 4, -2, 513},
      {">u2", {0xff, 0xfe, 0x02, 0x01}, 4, 65534, 513},
      {"<i4", {0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0}, 8, -1, 65536},
      {">u4", {0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0}, 8, 4294967295.0, 65536},
      {"<i8", {1, 0, 0, 0, 0, 0, 0, 0x80, 7}, 16, -9223372036854775807.0, 7},
      {">u8", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 7}, 16, 18446744073709551615.0, 7},
      {"<f2", {0x00, 0x3e, 0x01, 0x80}, 4, 1.5, -0x1p-24},
      {">f2", {0x7b, 0xff, 0xfc, 0x00}, 4, 65504, -INFINITY},
      {"<f4", {0, 0, 0xc0, 0x3f, 0, 0, 0x80, 0xff}, 8, 1.5, -INFINITY},
      {">f4", {0x3f, 0xc0, 0, 0, 0xbf, 0x80, 0, 0}, 8, 1.5, -1},
      {"<f8", {0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f}, 16, 1.5, INFINITY},
      {">f8", {0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0xc0, 0}, 16, 1.5, -2}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(PipelineArray) array = parse_type(cases[i].type, cases[i].bytes, cases[i].length);
    ck_assert_msg(array->values[0] == cases[i].first && array->values[1] == cases[i].second, "%s: %.17g %.17g",
                  cases[i].type, array->values[0], array->values[1]);
  }
  g_autoptr(PipelineArray) missing = parse_type("<f2", (const guint8[]){0x01, 0x7e, 0, 0}, 4);
  ck_assert(isnan(missing->values[0]));
}
END_TEST

START_TEST(both_layouts_give_the_same_rows)
{
  const gint8 by_row[] = {1, 2, 3, 4, 5, 6}, by_column[] = {1, 4, 2, 5, 3, 6};
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineArray) c =
      parse("{'descr': '|i1', 'fortran_order': False, 'shape': (2, 3), }", by_row, sizeof by_row, &error);
  g_autoptr(PipelineArray) fortran = /* keys in another order, other quotes and blanks: the same dictionary */
      parse("{\"shape\":(2,3),\"fortran_order\":True , \"descr\":\"|i1\"}  ", by_column, sizeof by_column, &error);
  ck_assert_msg(c != NULL && fortran != NULL, "%s", error != NULL ? error->message : "");
  ck_assert_uint_eq(fortran->n_dimensions, 2);
  for (guint i = 0; i < 6; i++) ck_assert(c->values[i] == i + 1 && fortran->values[i] == i + 1);
}
END_TEST

START_TEST(what_cannot_be_read_is_refused_with_its_reason)
{
  static const struct {
    const gchar *dictionary, *message;
  } cases[] = {
      {"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "pickled programs"},
      {"{'descr': '<U4', 'fortran_order': False, 'shape': (1,), }", "values of type \"<U4\""},
      {"{'descr': '<c16', 'fortran_order': False, 'shape': (1,), }", "values of type \"<c16\""},
      {"{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (1,), }", "values of type \"<M8[ns]\""},
      {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "structured values"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 1), }", "more than two dimensions"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (), }", "a single value"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", "8 bytes of values where its shape takes 16"},
      {"{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }", "8 bytes of values where its shape takes 4"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 5000), }", "4096 columns"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999999999, 4096), }", "100 million rows"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }", "\"shape\""},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (1 1), }", "\"shape\""},
      {"{'descr': '<f8', 'fortran_order': 0, 'shape': (1,), }", "True or False"},
      {"{'descr': '<f8', 'fortran_order': False}", "\"descr\", \"fortran_order\" and \"shape\""},
      {"{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", "each key once"},
      {"{'descr': '<f8', 'more': 1}", "\"descr\", \"fortran_order\" or \"shape\""},
      {"{'descr': '<f8' 'fortran_order': False, 'shape': (1,)}", "\",\""},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), } x", "nothing behind"},
      {"{'descr", "a key"},
      {"", "\"{\""}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    const double value = 1;
    g_autoptr(GError) error = NULL;
    ck_assert_msg(parse(cases[i].dictionary, &value, sizeof value, &error) == NULL, "%s", cases[i].dictionary);
    ck_assert_ptr_nonnull(error);
    ck_assert_msg(g_str_has_prefix(error->message, "a.npy: ") && strstr(error->message, cases[i].message) != NULL,
                  "%s: %s", cases[i].dictionary, error->message);
  }
}
END_TEST

/* Cut anywhere it is refused; the version and the header's length are believed no further than the bytes reach. */
START_TEST(cut_files_are_refused)
{
  const double values[] = {1, 2};
  g_autoptr(GByteArray) file =
      make_file("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", values, sizeof values);
  for (guint length = 0; length < file->len; length++) {
    g_autofree guint8 *exact = g_memdup2(file->data, length); /* so that a sanitizer sees what is read behind */
    g_autoptr(GError) error = NULL;
    ck_assert_ptr_null(pipeline_npy_parse(exact, length, "a.npy", &error));
    ck_assert_ptr_nonnull(error);
  }
  for (guint version = 0; version < 256; version++) {
    g_autoptr(GError) error = NULL;
    file->data[6] = (guint8)version;
    g_autoptr(PipelineArray) array = pipeline_npy_parse(file->data, file->len, "a.npy", &error);
    ck_assert((array != NULL) == (version == 1));
  }
}
END_TEST

START_TEST(a_table_has_the_columns_of_an_embedding)
{
  const float values[] = {1, 2, NAN, 4, 5, 6};
  g_autofree gchar *path = g_build_filename(g_get_tmp_dir(), "npy_test_XXXXXX", NULL);
  int descriptor = g_mkstemp(path);
  ck_assert_int_ge(descriptor, 0);
  g_close(descriptor, NULL);
  g_autoptr(GByteArray) file =
      make_file("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", values, sizeof values);
  ck_assert(g_file_set_contents(path, (const gchar *)file->data, file->len, NULL));
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftTable) table = pipeline_npy_read_table(path, &error);
  ck_assert_ptr_nonnull(table);
  ck_assert_uint_eq(table->n_rows, 3);
  DriftValue value = drift_column_get_value(drift_table_get_column(table, "x[0]"), 1);
  ck_assert_int_eq(value.kind, DRIFT_VALUE_MISSING);
  value = drift_column_get_value(drift_table_get_column(table, "x[1]"), 2);
  ck_assert(value.number == 6);
  g_unlink(path);
  ck_assert_ptr_null(pipeline_npy_read_table(path, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "cannot open"));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("npy");
  TCase *all = tcase_create("all");
  tcase_add_test(all, every_type_in_both_orders);
  tcase_add_test(all, both_layouts_give_the_same_rows);
  tcase_add_test(all, what_cannot_be_read_is_refused_with_its_reason);
  tcase_add_test(all, cut_files_are_refused);
  tcase_add_test(all, a_table_has_the_columns_of_an_embedding);
  suite_add_tcase(suite, all);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failures = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
