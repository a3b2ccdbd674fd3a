/* Arrays in files, and rows that are read one after another. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "pipeline/csv.h"
#include "pipeline/npy.h"
#include "pipeline/spill.h"

static gchar *write_file(const gchar *name, const gchar *bytes, gsize length)
{
  gchar *path = g_strdup_printf("%s/kedge-spill-%d-%s", g_get_tmp_dir(), (int)getpid(), name);
  ck_assert(g_file_set_contents(path, bytes, (gssize)length, NULL));
  return path;
}

START_TEST(an_array_is_zeros_on_the_heap_or_in_a_file)
{
  for (guint use = 0; use < 2; use++) {
    g_autoptr(PipelineSpill) spill = pipeline_spill_new(1000, use, NULL);
    guint8 *bytes = pipeline_spill_get_data(spill);
    ck_assert_uint_eq(pipeline_spill_get_filed(spill), use == PIPELINE_SPILL_ALWAYS ? 1000 : 0);
    ck_assert_uint_eq(pipeline_spill_get_size(spill), 1000);
    for (guint i = 0; i < 1000; i++) ck_assert_uint_eq(bytes[i], 0);
    memset(bytes, 7, 1000);
    ck_assert_uint_eq(bytes[999], 7);
  }
  ck_assert_uint_eq(pipeline_spill_get_filed(NULL), 0);
  g_autoptr(PipelineSpill) none = pipeline_spill_new(0, PIPELINE_SPILL_ALWAYS, NULL);
  ck_assert_ptr_nonnull(pipeline_spill_get_data(none));
}
END_TEST

START_TEST(large_arrays_go_into_a_file)
{
  g_autoptr(PipelineSpill) at = pipeline_spill_new(PIPELINE_SPILL_BYTES, PIPELINE_SPILL_LARGE, NULL);
  g_autoptr(PipelineSpill) above = pipeline_spill_new(PIPELINE_SPILL_BYTES + 1, PIPELINE_SPILL_LARGE, NULL);
  ck_assert_uint_eq(pipeline_spill_get_filed(at), 0);
  ck_assert_uint_eq(pipeline_spill_get_filed(above), PIPELINE_SPILL_BYTES + 1);
}
END_TEST

START_TEST(a_folder_that_cannot_be_used_is_named)
{
  g_autoptr(GError) error = NULL;
  g_setenv("TMPDIR", "/nowhere", TRUE);
  ck_assert_ptr_null(pipeline_spill_new(3 << 20, PIPELINE_SPILL_ALWAYS, &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED));
  ck_assert_ptr_nonnull(strstr(error->message, "3 MiB"));
  ck_assert_ptr_nonnull(strstr(error->message, "/nowhere"));
}
END_TEST

START_TEST(more_than_the_disk_has_is_refused)
{
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(pipeline_spill_new(G_GUINT64_CONSTANT(1) << 55, PIPELINE_SPILL_ALWAYS, &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED));
  ck_assert_ptr_nonnull(strstr(error->message, "are free there"));
}
END_TEST

/* Rows as text, "1,nan,word;". */
static gboolean append(guint64 row, const double *numbers, const gchar *const *texts, gpointer user_data,
                       GError **error)
{
  GString *all = user_data;
  (void)error;
  g_string_append_printf(all, "%" G_GUINT64_FORMAT ":%g,%g,%s;", row, numbers[0], fabs(numbers[1]),
                         texts[2] != NULL ? texts[2] : "-");
  return TRUE;
}

START_TEST(rows_of_a_csv_come_as_often_as_wanted)
{
  static const gchar text[] = "a,b,\"c\"\r\n1,2,\"x\ny\"\r\n3,,\r\n-4.5,nan,7z\n";
  g_autofree gchar *path = write_file("a.csv", text, strlen(text));
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineRowStream) stream = pipeline_csv_open_rows(path, &error);
  g_unlink(path);
  ck_assert_ptr_nonnull(stream);
  ck_assert_uint_eq(stream->n_rows, 3);
  ck_assert_uint_eq(stream->n_columns, 3);
  ck_assert_str_eq(stream->names[2], "c");
  ck_assert_int_eq(stream->kinds[1], DRIFT_NUMERIC);
  ck_assert_int_eq(stream->kinds[2], DRIFT_CATEGORICAL);
  for (guint turn = 0; turn < 2; turn++) {
    g_autoptr(GString) all = g_string_new("");
    ck_assert(pipeline_row_stream_visit(stream, append, all, &error));
    ck_assert_str_eq(all->str, "0:1,2,x\ny;1:3,nan,-;2:-4.5,nan,7z;");
  }
  static const gchar *const filled[] = {"c", "nothing", NULL};
  g_autoptr(DriftTable) table = pipeline_row_stream_sketch(stream, filled, &error);
  ck_assert_uint_eq(table->n_rows, 3);
  ck_assert_uint_eq(drift_table_get_column(table, "a")->numbers->len, 0);
  ck_assert_int_eq(drift_column_get_value(drift_table_get_column(table, "c"), 1).kind, DRIFT_VALUE_MISSING);
  ck_assert_str_eq(drift_column_get_value(drift_table_get_column(table, "c"), 2).text, "7z");
}
END_TEST

START_TEST(a_bad_cell_is_named_as_in_a_table)
{
  static const gchar *const texts[] = {"a,b\n1,2\n3\n", "a,a\n1,2\n", "", "a,b\n1,\"2\n"};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
    g_autofree gchar *path = write_file("bad.csv", texts[i], strlen(texts[i]));
    g_autoptr(GError) error = NULL, same = NULL;
    ck_assert_ptr_null(pipeline_csv_open_rows(path, &error));
    ck_assert_ptr_null(pipeline_csv_read(path, &same));
    ck_assert_str_eq(error->message, same->message);
    g_unlink(path);
  }
}
END_TEST

static gchar *write_npy(const gchar *kind, const gchar *order, guint n_rows, gconstpointer values, gsize length)
{
  g_autofree gchar *header =
      g_strdup_printf("{'descr': '%s', 'fortran_order': %s, 'shape': (%u, 3), }\n", kind, order, n_rows);
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  const guint8 size[] = {(guint8)strlen(header), 0};
  g_byte_array_append(bytes, (const guint8 *)"\x93NUMPY\x01\x00", 8);
  g_byte_array_append(bytes, size, 2);
  g_byte_array_append(bytes, (const guint8 *)header, (guint)strlen(header));
  g_byte_array_append(bytes, values, (guint)length);
  return write_file("a.npy", (const gchar *)bytes->data, bytes->len);
}

static gboolean sum_rows(guint64 row, const double *numbers, const gchar *const *texts, gpointer user_data,
                         GError **error)
{
  double *sum = user_data;
  (void)texts, (void)error;
  *sum += (double)(row + 1) * (numbers[0] + 10 * numbers[1] + 100 * numbers[2]);
  return TRUE;
}

START_TEST(rows_of_an_array_of_any_type)
{
  const float floats[] = {1, 2, 3, 4, 5, 6};
  const guint8 swapped[] = {0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6};
  const struct {
    const gchar *kind;
    gconstpointer values;
    gsize length;
  } cases[] = {{"<f4", floats, sizeof floats}, {">i2", swapped, sizeof swapped}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree gchar *path = write_npy(cases[i].kind, "False", 2, cases[i].values, cases[i].length);
    g_autoptr(GError) error = NULL;
    g_autoptr(PipelineRowStream) stream = pipeline_npy_open_rows(path, &error);
    ck_assert_ptr_nonnull(stream);
    ck_assert_str_eq(stream->names[2], "x[2]");
    for (guint turn = 0; turn < 2; turn++) {
      double sum = 0;
      ck_assert(pipeline_row_stream_visit(stream, sum_rows, &sum, &error));
      ck_assert_double_eq(sum, 321 + 2 * 654);
    }
    g_unlink(path);
  }
}
END_TEST

START_TEST(arrays_that_cannot_be_read_by_rows_are_refused)
{
  const float floats[] = {1, 2, 3, 4, 5, 6};
  const struct {
    const gchar *order;
    gsize length;
    const gchar *says;
  } cases[] = {{"True", sizeof floats, "C order"}, {"False", sizeof floats - 1, "cut off"}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree gchar *path = write_npy("<f4", cases[i].order, 2, floats, cases[i].length);
    g_autoptr(GError) error = NULL;
    ck_assert_ptr_null(pipeline_npy_open_rows(path, &error));
    ck_assert_ptr_nonnull(strstr(error->message, cases[i].says));
    g_unlink(path);
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("spill");
  TCase *arrays = tcase_create("arrays"), *rows = tcase_create("rows");
  tcase_add_test(arrays, an_array_is_zeros_on_the_heap_or_in_a_file);
  tcase_add_test(arrays, large_arrays_go_into_a_file);
  tcase_add_test(arrays, a_folder_that_cannot_be_used_is_named);
  tcase_add_test(arrays, more_than_the_disk_has_is_refused);
  tcase_add_test(rows, rows_of_a_csv_come_as_often_as_wanted);
  tcase_add_test(rows, a_bad_cell_is_named_as_in_a_table);
  tcase_add_test(rows, rows_of_an_array_of_any_type);
  tcase_add_test(rows, arrays_that_cannot_be_read_by_rows_are_refused);
  suite_add_tcase(suite, arrays);
  suite_add_tcase(suite, rows);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failures = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
