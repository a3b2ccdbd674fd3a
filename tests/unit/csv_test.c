#include <check.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "pipeline/csv.h"
#include "pipeline/error.h"
#include "pipeline/model_spec.h"

static gchar *write_file(const gchar *text, gssize length)
{
  gchar *path = NULL;
  int file = g_file_open_tmp("kedge-csv-XXXXXX", &path, NULL);
  ck_assert_int_ge(file, 0);
  close(file);
  ck_assert(g_file_set_contents(path, text, length, NULL));
  return path;
}

static DriftTable *read_text(const gchar *text, gssize length, GError **error)
{
  g_autofree gchar *path = write_file(text, length);
  DriftTable *table = pipeline_csv_read(path, error);
  g_unlink(path);
  return table;
}

static const DriftColumn *column(const DriftTable *table, const gchar *name)
{
  const DriftColumn *found = drift_table_get_column(table, name);
  ck_assert_msg(found != NULL, "no column %s", name);
  return found;
}

static gchar *text_at(const DriftTable *table, const gchar *name, guint64 row)
{
  DriftValue value = drift_column_get_value(column(table, name), row);
  return value.kind == DRIFT_VALUE_TEXT ? g_strndup(value.text, value.length) : NULL;
}

START_TEST(reads_quotes_crlf_bom_and_missing)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftTable) table =
      read_text("\xef\xbb\xbf"
                "a,\"b \"\"x\"\"\",c\r\n1,\"x,y\",\r\n-2.5e3,\"two\nlines\",7\r\n,\"\",nan\r\n\r\n",
                -1, &error);
  ck_assert_msg(table != NULL, "%s", error ? error->message : "");
  ck_assert_uint_eq(table->n_rows, 3);
  ck_assert_int_eq(column(table, "a")->kind, DRIFT_NUMERIC);
  ck_assert_double_eq(g_array_index(column(table, "a")->numbers, double, 1), -2500);
  ck_assert(isnan(g_array_index(column(table, "a")->numbers, double, 2)));
  g_autofree gchar *comma = text_at(table, "b \"x\"", 0), *lines = text_at(table, "b \"x\"", 1);
  ck_assert_str_eq(comma, "x,y");
  ck_assert_str_eq(lines, "two\nlines");
  ck_assert_int_eq(drift_column_get_value(column(table, "b \"x\""), 2).kind, DRIFT_VALUE_MISSING);
  ck_assert_int_eq(column(table, "c")->kind, DRIFT_NUMERIC);
  ck_assert(isnan(g_array_index(column(table, "c")->numbers, double, 2)));
}
END_TEST

/* One text anywhere makes the column categorical, and its numbers keep their spelling. */
START_TEST(kinds_by_every_cell)
{
  g_autoptr(DriftTable) table = read_text("n,t,hex,code\n1,1.50,0x10,007\n2,x,3,12\n", -1, NULL);
  ck_assert_ptr_nonnull(table);
  ck_assert_int_eq(column(table, "n")->kind, DRIFT_NUMERIC);
  ck_assert_int_eq(column(table, "t")->kind, DRIFT_CATEGORICAL);
  ck_assert_int_eq(column(table, "hex")->kind, DRIFT_CATEGORICAL);
  ck_assert_int_eq(column(table, "code")->kind, DRIFT_CATEGORICAL);
  g_autofree gchar *spelling = text_at(table, "t", 0), *zeros = text_at(table, "code", 0);
  ck_assert_str_eq(spelling, "1.50");
  ck_assert_str_eq(zeros, "007");
}
END_TEST

static const struct {
  const gchar *text;
  gssize length;
  const gchar *message; /* what the error must say */
} broken[] = {
    {"", 0, "empty"},
    {"a,b\n1,2\n3\n", -1, "line 3: 1 cells where the header has 2"},
    {"a,b\n1,2\n\n3,4\n", -1, "line 3: 1 cells"},
    {"a,b\n1,\"2\n", -1, "line 2, column 2: a quote that is opened"},
    {"a,b\n1,x\"y\n", -1, "line 2, column 2: a quote inside"},
    {"a,b\n1,\"x\"y\n", -1, "line 2, column 2: text behind"},
    {"a,a\n1,2\n", -1, "line 1, column 2: two columns are named \"a\""},
    {"a;b\n1;2\n", -1, "line 1, column 1: the header has one column alone"},
    {"a,\n1,2\n", -1, "line 1, column 2: this column of the header has no name"},
    {"a,b\n1,\xff\n", -1, "line 2, column 2: not UTF-8"},
    {"a,b\n1,x\0y\n", 10, "line 2, column 2: a NUL byte"},
    {"a,b\n\"1\n2\",3\n4\n", -1, "line 4: 1 cells"},
};

START_TEST(errors_name_the_place)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftTable) table = read_text(broken[_i].text, broken[_i].length, &error);
  ck_assert_ptr_null(table);
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA));
  ck_assert_msg(strstr(error->message, broken[_i].message) != NULL, "\"%s\" lacks \"%s\"", error->message,
                broken[_i].message);
}
END_TEST

START_TEST(long_records_and_wide_headers_are_refused)
{
  g_autoptr(GString) text = g_string_new("a\n\"");
  for (guint i = 0; i < (1u << 20) + 2; i++) g_string_append_c(text, 'x');
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(read_text(text->str, -1, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "1 MiB"));
  g_clear_error(&error);
  g_string_assign(text, "a");
  for (guint i = 0; i < 4096; i++) g_string_append_printf(text, ",c%u", i);
  ck_assert_ptr_null(read_text(text->str, -1, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "4096 columns"));
}
END_TEST

/* Seconds as `date -u -d … +%s` has them. A column is one of dates by its first cell that is not empty. */
START_TEST(dates_are_seconds)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftTable) table = read_text("day,time,local,text,number\n"
                                          ",2026-11-26T10:00:00Z,2026-11-26 10:00:00,soon,1\n"
                                          "2026-11-26,2026-11-26T10:00:00.75+02:00,,2026-11-26,2\n"
                                          "1969-12-31,1969-12-31T23:59:59.5Z,2024-02-29T23:59:59,,nan\n",
                                          -1, &error);
  ck_assert_msg(table != NULL, "%s", error ? error->message : "");
  const struct {
    const gchar *name;
    double cells[3];
  } wanted[] = {{"day", {NAN, 1795651200, -86400}},
                {"time", {1795687200, 1795680000, -1}},
                {"local", {1795687200, NAN, 1709251199}}};
  for (guint i = 0; i < G_N_ELEMENTS(wanted); i++)
    for (guint row = 0; row < 3; row++) {
      double is = g_array_index(column(table, wanted[i].name)->numbers, double, row), want = wanted[i].cells[row];
      ck_assert_msg(isnan(want) ? isnan(is) : is == want, "%s, row %u: %.17g", wanted[i].name, row, is);
    }
  ck_assert_int_eq(column(table, "text")->kind, DRIFT_CATEGORICAL);
  ck_assert_int_eq(column(table, "number")->kind, DRIFT_NUMERIC);
}
END_TEST

static const struct {
  const gchar *text, *says;
} bad_dates[] = {
    {"x,when\n1,2026-11-26\n2,\n3,tomorrow\n", ":4: column \"when\": \"tomorrow\" is not a date"},
    {"when\n2026-11-26\n2026-02-29\n", ":3: column \"when\": \"2026-02-29\" is not a date"},
    {"when\n2026-11-26\n7\n", ":3: column \"when\": \"7\" is not a date"},
    {"when\n2026-11-26T10:00:00Z\n2026-11-26T10:00:00\n",
     ":3: column \"when\": \"2026-11-26T10:00:00\" does not say its zone"},
    {"when\n2026-11-26\n2026-11-26T10:00:00\n2026-11-26T10:00:00Z\n",
     ":4: column \"when\": \"2026-11-26T10:00:00Z\" says its zone"},
};

START_TEST(cells_that_are_no_dates_are_named)
{
  g_autofree gchar *path = write_file(bad_dates[_i].text, -1);
  g_autoptr(GError) error = NULL, same = NULL;
  ck_assert_ptr_null(pipeline_csv_read(path, &error));
  ck_assert_ptr_null(pipeline_csv_open_rows(path, &same));
  g_unlink(path);
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA));
  ck_assert_ptr_nonnull(strstr(error->message, path));
  ck_assert_msg(strstr(error->message, bad_dates[_i].says) != NULL, "%s", error->message);
  ck_assert_str_eq(error->message, same->message);
}
END_TEST

START_TEST(long_cells_are_shown_in_whole_letters)
{
  g_autoptr(GString) text = g_string_new("when\n2026-11-26\n.");
  g_autoptr(GError) error = NULL;
  for (guint i = 0; i < 300; i++) g_string_append(text, "Ω");
  ck_assert_ptr_null(read_text(text->str, -1, &error));
  ck_assert(g_utf8_validate(error->message, -1, NULL));
  ck_assert_uint_lt(strlen(error->message), 600);
}
END_TEST

START_TEST(missing_files_are_named)
{
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(pipeline_csv_read("/nonexistent/data.csv", &error));
  ck_assert_ptr_nonnull(strstr(error->message, "/nonexistent/data.csv"));
}
END_TEST

START_TEST(written_tables_read_back)
{
  g_autoptr(DriftTable) table =
      read_text("x,t\n0.1,\"a \"\"b\"\"\"\n1e300,\"c,\nd\"\n,\n-0.30000000000000004,\" e\"\n", -1, NULL);
  g_autofree gchar *path = write_file("", 0);
  ck_assert(pipeline_csv_write(path, table, NULL));
  g_autoptr(DriftTable) again = pipeline_csv_read(path, NULL);
  ck_assert_ptr_nonnull(again);
  ck_assert_uint_eq(again->n_rows, 4);
  for (guint64 row = 0; row < 4; row++) {
    double a = g_array_index(column(table, "x")->numbers, double, row);
    double b = g_array_index(column(again, "x")->numbers, double, row);
    ck_assert(a == b || (isnan(a) && isnan(b)));
    g_autofree gchar *s = text_at(table, "t", row), *t = text_at(again, "t", row);
    ck_assert_int_eq(g_strcmp0(s, t), 0);
  }
  g_unlink(path);
}
END_TEST

START_TEST(one_column_keeps_its_missing_cells)
{
  g_autoptr(DriftTable) table = read_text("x\n1\n\n2\n", -1, NULL);
  ck_assert_ptr_nonnull(table);
  ck_assert_uint_eq(table->n_rows, 3);
  g_autofree gchar *path = write_file("", 0);
  ck_assert(pipeline_csv_write(path, table, NULL));
  g_autoptr(DriftTable) again = pipeline_csv_read(path, NULL);
  ck_assert_uint_eq(again->n_rows, 3);
  ck_assert(isnan(g_array_index(column(again, "x")->numbers, double, 1)));
  g_unlink(path);
}
END_TEST

START_TEST(texts_stay_as_they_are_written)
{
  g_autofree gchar *path = NULL;
  g_autoptr(GError) error = NULL;
  const gchar *text = "code,day,x\n1.0,2026-11-26,1.0\n2.0,,2\n,2026-11-27,3\n";
  int file = g_file_open_tmp("csv-XXXXXX", &path, NULL);
  ck_assert_int_ge(file, 0);
  close(file);
  ck_assert(g_file_set_contents(path, text, -1, NULL));
  g_autoptr(DriftTable) table =
      pipeline_csv_read_as(path, (const gchar *const[]){"code", "day", "no such", NULL}, &error);
  g_unlink(path);
  ck_assert_msg(table != NULL, "%s", error ? error->message : "");
  const DriftColumn *code = drift_table_get_column(table, "code"), *day = drift_table_get_column(table, "day");
  ck_assert_int_eq(code->kind, DRIFT_CATEGORICAL);
  ck_assert_str_eq(g_ptr_array_index(code->dictionary, 0), "1.0");
  ck_assert_uint_eq(g_array_index(code->codes, guint32, 2), DRIFT_CODE_MISSING);
  ck_assert_str_eq(g_ptr_array_index(day->dictionary, 0), "2026-11-26");
  ck_assert_int_eq(drift_table_get_column(table, "x")->kind, DRIFT_NUMERIC);
}
END_TEST

/* --- model specs -------------------------------------------------------------------------------------------------- */

START_TEST(spec_is_inferred_and_read_back)
{
  g_autoptr(DriftTable) table = read_text("age,sex,id,y\n30,M,1,1\n40,F,2,0\n50,M,3,1\n", -1, NULL);
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftSchema) schema = pipeline_model_spec_infer(table, "y", (const gchar *const[]){"sex", NULL},
                                                            (const gchar *const[]){"id", NULL}, &error);
  ck_assert_msg(schema != NULL, "%s", error ? error->message : "");
  ck_assert_int_eq(schema->task, DRIFT_TASK_BINARY);
  ck_assert_uint_eq(drift_schema_n_features(schema), 2);
  ck_assert(drift_schema_get_feature(schema, 1)->sensitive);
  ck_assert_str_eq(g_ptr_array_index(schema->classes, schema->positive_class), "1");
  g_autofree gchar *json = pipeline_model_spec_format(schema);
  g_autoptr(DriftSchema) again = pipeline_model_spec_parse(json, &error);
  ck_assert_msg(again != NULL, "%s", error ? error->message : "");
  g_autofree gchar *json_again = pipeline_model_spec_format(again);
  ck_assert_str_eq(json, json_again);
}
END_TEST

START_TEST(tasks_follow_the_label)
{
  g_autoptr(DriftTable) table = read_text("x,real,text,ten,one\n1,0.5,b,10,1\n2,1.5,a,9,1\n3,2,c,8,1\n", -1, NULL);
  g_autoptr(DriftSchema) real = pipeline_model_spec_infer(table, "real", NULL, NULL, NULL);
  g_autoptr(DriftSchema) text = pipeline_model_spec_infer(table, "text", NULL, NULL, NULL);
  g_autoptr(DriftSchema) ten = pipeline_model_spec_infer(table, "ten", NULL, NULL, NULL);
  ck_assert_int_eq(real->task, DRIFT_TASK_REGRESSION);
  ck_assert_int_eq(text->task, DRIFT_TASK_MULTICLASS);
  ck_assert_str_eq(g_ptr_array_index(text->classes, 0), "a");
  ck_assert_str_eq(g_ptr_array_index(ten->classes, 2), "10"); /* by number, not by text */
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(pipeline_model_spec_infer(table, "one", NULL, NULL, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "only one value"));
}
END_TEST

static const gchar *const bad_specs[] = {
    "",
    "[]",
    "{\"task\":\"binary\"}",
    "{\"task\":\"binary\",\"label\":\"y\",\"label\":\"z\"}",
    "{\"task\":\"ranking\",\"label\":\"y\",\"features\":[{\"name\":\"x\",\"kind\":\"numeric\"}]}",
    "{\"task\":\"binary\",\"label\":\"y\",\"classes\":[\"0\"],\"features\":[{\"name\":\"x\",\"kind\":\"numeric\"}]}",
    "{\"task\":\"binary\",\"label\":\"y\",\"classes\":[\"0\",\"0\"],\"features\":[{\"name\":\"x\",\"kind\":\"numeric\"}"
    "]}",
    "{\"task\":\"binary\",\"label\":\"y\",\"classes\":[\"0\",\"1\"],\"positive_class\":\"2\",\"features\":[{\"name\":"
    "\"x\",\"kind\":\"numeric\"}]}",
    "{\"task\":\"regression\",\"label\":\"y\",\"features\":[{\"name\":\"y\",\"kind\":\"numeric\"}]}",
    "{\"task\":\"regression\",\"label\":\"y\",\"features\":[{\"name\":\"x\",\"kind\":\"weird\"}]}",
    "{\"task\":\"regression\",\"label\":\"y\",\"features\":[]}"};

START_TEST(bad_specs_are_refused)
{
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(pipeline_model_spec_parse(bad_specs[_i], &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("csv");
  TCase *csv = tcase_create("csv"), *spec = tcase_create("model_spec");
  tcase_add_test(csv, reads_quotes_crlf_bom_and_missing);
  tcase_add_test(csv, kinds_by_every_cell);
  tcase_add_loop_test(csv, errors_name_the_place, 0, G_N_ELEMENTS(broken));
  tcase_add_test(csv, long_records_and_wide_headers_are_refused);
  tcase_add_test(csv, dates_are_seconds);
  tcase_add_loop_test(csv, cells_that_are_no_dates_are_named, 0, G_N_ELEMENTS(bad_dates));
  tcase_add_test(csv, long_cells_are_shown_in_whole_letters);
  tcase_add_test(csv, missing_files_are_named);
  tcase_add_test(csv, written_tables_read_back);
  tcase_add_test(csv, one_column_keeps_its_missing_cells);
  tcase_add_test(spec, texts_stay_as_they_are_written);
  tcase_add_test(spec, spec_is_inferred_and_read_back);
  tcase_add_test(spec, tasks_follow_the_label);
  tcase_add_loop_test(spec, bad_specs_are_refused, 0, G_N_ELEMENTS(bad_specs));
  suite_add_tcase(suite, csv);
  suite_add_tcase(suite, spec);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
