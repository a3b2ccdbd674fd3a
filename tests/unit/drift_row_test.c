/* Schema, values, row format and table. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/table.h"

static DriftSchema *make_schema(void)
{
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_feature(schema, "age", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "race", DRIFT_CATEGORICAL, TRUE, FALSE);
  drift_schema_add_class(schema, "0");
  drift_schema_add_class(schema, "1.0");
  schema->positive_class = 1;
  return schema;
}

START_TEST(class_names_match_as_text_or_number)
{
  g_autoptr(DriftSchema) schema = make_schema();
  DriftValue values[] = {drift_value_number(1), drift_value_text("1", -1), drift_value_text("1.0", -1),
                         drift_value_text("10", 1)};
  for (guint i = 0; i < G_N_ELEMENTS(values); i++) ck_assert_int_eq(drift_schema_class_of(schema, &values[i]), 1);
  DriftValue zero = drift_value_number(-0.0), other = drift_value_text("yes", -1), missing = drift_value_missing();
  ck_assert_int_eq(drift_schema_class_of(schema, &zero), 0);
  ck_assert_int_eq(drift_schema_class_of(schema, &other), -1);
  ck_assert_int_eq(drift_schema_class_of(schema, &missing), -1);
}
END_TEST

START_TEST(schema_copy_is_equal_and_independent)
{
  g_autoptr(DriftSchema) schema = make_schema();
  DriftSchema *copy = drift_schema_copy(schema);
  ck_assert_uint_eq(drift_schema_n_features(copy), 2);
  ck_assert(drift_schema_get_feature(copy, 1)->sensitive && !drift_schema_get_feature(copy, 1)->input);
  ck_assert_int_eq(drift_schema_find_feature(copy, "race"), 1);
  ck_assert_int_eq(drift_schema_find_feature(copy, "nothing"), -1);
  ck_assert_uint_eq(copy->positive_class, 1);
  drift_schema_free(copy);
}
END_TEST

START_TEST(number_texts_follow_json)
{
  const struct {
    const gchar *text;
    gboolean is_number;
  } cases[] = {{"1", TRUE},   {"-1.5e3", TRUE}, {"0", TRUE},    {"0.5", TRUE},  {"01", FALSE},
               {"+1", FALSE}, {" 1", FALSE},    {"nan", FALSE}, {"0x1", FALSE}, {"1.", FALSE},
               {"", FALSE},   {"-", FALSE},     {"1e", FALSE},  {"inf", FALSE}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    DriftValue value = drift_value_text(cases[i].text, -1);
    double number;
    ck_assert_msg(drift_value_to_number(&value, &number) == cases[i].is_number, "%s", cases[i].text);
  }
}
END_TEST

START_TEST(numbers_have_one_spelling)
{
  const gchar *same[] = {"1", "1.0", "1e0", "10e-1"};
  gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
  gsize length;
  for (guint i = 0; i < G_N_ELEMENTS(same); i++) {
    DriftValue value = drift_value_text(same[i], -1);
    ck_assert_str_eq(drift_value_to_text(&value, buffer, &length), "1");
  }
  const double numbers[] = {0.1, 1.0 / 3, 1e300, 5e-324, -1234567.125, 9007199254740993.0, INFINITY};
  for (guint i = 0; i < G_N_ELEMENTS(numbers); i++) {
    DriftValue value = drift_value_number(numbers[i]);
    ck_assert(g_ascii_strtod(drift_value_to_text(&value, buffer, &length), NULL) == numbers[i]);
  }
  DriftValue negative_zero = drift_value_number(-0.0);
  ck_assert_str_eq(drift_value_to_text(&negative_zero, buffer, &length), "0");
}
END_TEST

static DriftLabelledRow make_row(const DriftValue *features)
{
  DriftLabelledRow row = {.traffic_offset = 7, .label_offset = -1, .label_time = G_MAXINT64};
  row.event.request_id = drift_value_text("id-1", -1);
  row.event.event_time = -5;
  row.event.version = 3;
  row.event.prediction = drift_value_number(1);
  row.event.score = NAN;
  row.event.latency_ms = 1.25;
  row.event.features = features;
  row.label = drift_value_text("", -1);
  return row;
}

START_TEST(rows_round_trip)
{
  DriftValue features[] = {drift_value_number(INFINITY), drift_value_text("a\xc3\xa9", -1), drift_value_missing()};
  DriftLabelledRow row = make_row(features);
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  drift_labelled_row_append(bytes, &row, 3);
  gsize first = bytes->len;
  drift_labelled_row_append(bytes, &row, 2);

  DriftLabelledRow read;
  DriftValue read_features[3];
  guint n;
  gsize used = drift_labelled_row_parse(bytes->data, bytes->len, &read, read_features, 3, &n, NULL);
  ck_assert_uint_eq(used, first);
  ck_assert_uint_eq(n, 3);
  ck_assert_int_eq(read.traffic_offset, 7);
  ck_assert_int_eq(read.event.event_time, -5);
  ck_assert(isnan(read.event.score) && read.event.latency_ms == 1.25);
  ck_assert(isinf(read_features[0].number) && read_features[2].kind == DRIFT_VALUE_MISSING);
  ck_assert(read_features[1].length == 3 && memcmp(read_features[1].text, "a\xc3\xa9", 3) == 0);
  g_autoptr(GByteArray) again = g_byte_array_new();
  drift_labelled_row_append(again, &read, n);
  ck_assert(again->len == first && memcmp(again->data, bytes->data, first) == 0);
  ck_assert(drift_labelled_row_parse(bytes->data + used, bytes->len - used, &read, read_features, 3, &n, NULL) > 0);
  ck_assert_uint_eq(n, 2);
}
END_TEST

START_TEST(damaged_rows_are_refused)
{
  DriftValue features[] = {drift_value_number(1), drift_value_text("abc", -1)};
  DriftLabelledRow row = make_row(features), read = {.traffic_offset = 99};
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  drift_labelled_row_append(bytes, &row, 2);
  DriftValue read_features[2];
  for (gsize length = 0; length < bytes->len; length++) {
    g_autofree guint8 *exact = g_memdup2(bytes->data, length); /* so that a sanitizer sees a read past the end */
    g_autoptr(GError) error = NULL;
    ck_assert_uint_eq(drift_labelled_row_parse(exact, length, &read, read_features, 2, NULL, &error), 0);
    ck_assert(g_error_matches(error, DRIFT_ERROR, DRIFT_ERROR_INVALID));
    ck_assert_int_eq(read.traffic_offset, 99);
  }
  g_autoptr(GError) limit = NULL;
  ck_assert_uint_eq(drift_labelled_row_parse(bytes->data, bytes->len, &read, read_features, 1, NULL, &limit), 0);
  ck_assert(g_error_matches(limit, DRIFT_ERROR, DRIFT_ERROR_LIMIT));
  bytes->data[0] = 200;
  g_autoptr(GError) version = NULL;
  ck_assert_uint_eq(drift_labelled_row_parse(bytes->data, bytes->len, &read, read_features, 2, NULL, &version), 0);
  ck_assert(g_error_matches(version, DRIFT_ERROR, DRIFT_ERROR_MISMATCH));
  bytes->data[0] = 1;
  for (guint i = 0; i < bytes->len * 255; i++) {
    g_autofree guint8 *flipped = g_memdup2(bytes->data, bytes->len);
    flipped[i / 255] ^= (guint8)(i % 255 + 1);
    drift_labelled_row_parse(flipped, bytes->len, &read, read_features, 2, NULL, NULL); /* must not crash */
  }
}
END_TEST

START_TEST(tables_hold_cells_and_select_rows)
{
  g_autoptr(DriftSchema) schema = make_schema();
  g_autoptr(DriftTable) table = drift_table_new();
  DriftColumn *race = drift_table_add_column(table, "race", DRIFT_CATEGORICAL);
  DriftColumn *age = drift_table_add_column(table, "age", DRIFT_NUMERIC);
  g_autofree gchar *long_text = g_strnfill(1000, 'x');
  drift_column_append_text(race, "abc", 1);
  drift_column_append_text(race, long_text, -1);
  drift_column_append_missing(race);
  drift_column_append_text(race, "a", -1);
  for (guint i = 0; i < 3; i++) drift_column_append_number(age, i);
  drift_column_append_missing(age);
  table->n_rows = 4;
  ck_assert_uint_eq(race->dictionary->len, 2);

  const guint64 rows[] = {3, 1, 1};
  g_autoptr(DriftTable) selected = drift_table_select(table, rows, 3);
  DriftValue features[2];
  drift_table_get_features(selected, schema, 0, features);
  ck_assert(features[0].kind == DRIFT_VALUE_MISSING);
  ck_assert(features[1].length == 1 && features[1].text[0] == 'a');
  drift_table_get_features(selected, schema, 2, features);
  ck_assert(features[0].number == 1 && features[1].length == 1000);
  ck_assert_ptr_null(drift_table_get_column(table, "none"));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_row");
  TCase *tests = tcase_create("row");
  tcase_add_test(tests, class_names_match_as_text_or_number);
  tcase_add_test(tests, schema_copy_is_equal_and_independent);
  tcase_add_test(tests, number_texts_follow_json);
  tcase_add_test(tests, numbers_have_one_spelling);
  tcase_add_test(tests, rows_round_trip);
  tcase_add_test(tests, damaged_rows_are_refused);
  tcase_add_test(tests, tables_hold_cells_and_select_rows);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
