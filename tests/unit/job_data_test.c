/* Ranges of the labelled log as a table: contents, digests, coverage, order, refusals. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/data_range.h"
#include "pipeline/error.h"
#include "tests/support/job_fixture.h"

static GArray *parse(const gchar *text, GError **error)
{
  json_t *spec = json_loads(text, 0, NULL);
  ck_assert_ptr_nonnull(spec);
  GArray *ranges = pipeline_data_ranges_parse(spec, "data", error);
  json_decref(spec);
  return ranges;
}

START_TEST(rows_digests_and_coverage)
{
  JobFixture *fixture = job_fixture_open(_i);
  const JobRows rows = {.n_rows = 9000, .unknown_each = 100};
  job_fixture_append(fixture, &rows);
  g_autoptr(GError) error = NULL;
  g_autoptr(GArray) ranges =
      parse("{\"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": 8950, \"next_row\": 9000},"
            " {\"partition\": 0, \"label_partition\": 0, \"first_row\": 50, \"next_row\": 8900},"
            " {\"partition\": 0, \"label_partition\": 0, \"first_row\": 7, \"next_row\": 7}]}",
            &error);
  ck_assert_msg(ranges != NULL, "%s", error != NULL ? error->message : "");
  g_autoptr(PipelineDataSet) set = pipeline_data_set_new(fixture->schema);
  gboolean read =
      pipeline_data_ranges_read(fixture->store, fixture->artifacts, "loan", fixture->schema, ranges, set, &error);
  ck_assert_msg(read, "%s", error != NULL ? error->message : "");
  ck_assert_uint_eq(set->table->n_rows, 50 + 8850);
  for (guint i = 0; i < 2; i++) {
    const PipelineDataRange *range = &g_array_index(ranges, PipelineDataRange, i);
    g_autoptr(GBytes) bytes = job_fixture_bytes(fixture, &rows, range->first_row, range->next_row);
    g_autofree gchar *digest = g_compute_checksum_for_bytes(G_CHECKSUM_SHA256, bytes);
    ck_assert_str_eq(range->sha256, digest);
    ck_assert_int_eq(range->first_traffic_offset, range->first_row);
    ck_assert_int_eq(range->last_traffic_offset, range->next_row - 1);
    ck_assert_int_eq(range->first_label_offset, 10000 + range->first_row);
    ck_assert_int_eq(range->last_time, 1000000 * (range->next_row - 1));
  }
  DriftValue region = drift_column_get_value(drift_table_get_column(set->table, "region"), 50); /* row 50: 50 % 3 */
  ck_assert_int_eq(strncmp(region.text, "west", region.length), 0);
  DriftValue known = drift_column_get_value(drift_table_get_column(set->table, "repaid"), 51);
  ck_assert(known.kind == DRIFT_VALUE_TEXT);
  DriftValue unknown = drift_column_get_value(drift_table_get_column(set->table, "repaid"), 50 + 50); /* row 100 */
  ck_assert(unknown.kind == DRIFT_VALUE_MISSING);
  ck_assert_int_eq(g_array_index(set->versions, gint64, 0), 1);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(usable_rows_are_in_order_of_time)
{
  JobFixture *fixture = job_fixture_open(0);
  const JobRows rows = {.n_rows = 60, .unknown_each = 10};
  job_fixture_append(fixture, &rows);
  g_autoptr(GArray) ranges =
      parse("{\"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": 40, \"next_row\": 60},"
            " {\"partition\": 0, \"label_partition\": 0, \"first_row\": 0, \"next_row\": 20}]}",
            NULL);
  g_autoptr(PipelineDataSet) set = pipeline_data_set_new(fixture->schema);
  ck_assert(pipeline_data_ranges_read(fixture->store, NULL, "loan", fixture->schema, ranges, set, NULL));
  g_autoptr(GArray) order = pipeline_data_set_usable_by_time(set, fixture->schema);
  ck_assert_uint_eq(order->len, 36); /* 0, 10, 40, 50 have no known class */
  gint64 former = -1;
  for (guint i = 0; i < order->len; i++) {
    gint64 time = g_array_index(set->times, gint64, g_array_index(order, guint64, i));
    ck_assert(time > former);
    former = time;
  }
  ck_assert_int_eq(former, 59000000);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(a_result_names_what_was_read)
{
  JobFixture *fixture = job_fixture_open(0);
  const JobRows rows = {.n_rows = 10};
  job_fixture_append(fixture, &rows);
  g_autoptr(GArray) ranges =
      parse("{\"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": 2, \"next_row\": 5}]}", NULL);
  g_autoptr(PipelineDataSet) set = pipeline_data_set_new(fixture->schema);
  ck_assert(pipeline_data_ranges_read(fixture->store, NULL, "loan", fixture->schema, ranges, set, NULL));
  json_t *list = pipeline_data_ranges_to_json(ranges), *item = json_array_get(list, 0);
  ck_assert_uint_eq(strlen(json_string_value(json_object_get(item, "sha256"))), 64);
  ck_assert_int_eq(json_integer_value(json_object_get(item, "first_row")), 2);
  ck_assert_int_eq(json_integer_value(json_object_get(item, "last_label_offset")), 10004);
  ck_assert_int_eq(json_integer_value(json_object_get(item, "first_time")), 2000000);
  json_decref(list);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(rows_of_another_schema_are_named)
{
  JobFixture *fixture = job_fixture_open(0);
  const JobRows rows = {.n_rows = 10};
  job_fixture_append(fixture, &rows);
  drift_schema_add_feature(fixture->schema, "x2", DRIFT_NUMERIC, FALSE, TRUE);
  g_autoptr(GArray) ranges =
      parse("{\"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": 2, \"next_row\": 5}]}", NULL);
  g_autoptr(PipelineDataSet) set = pipeline_data_set_new(fixture->schema);
  g_autoptr(GError) error = NULL;
  ck_assert(!pipeline_data_ranges_read(fixture->store, NULL, "loan", fixture->schema, ranges, set, &error));
  ck_assert_msg(strstr(error->message, "row 2 of the labelled log") != NULL && strstr(error->message, "3 features"),
                "%s", error->message);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(rows_that_do_not_exist_are_an_error)
{
  JobFixture *fixture = job_fixture_open(0);
  const JobRows rows = {.n_rows = 10};
  job_fixture_append(fixture, &rows);
  g_autoptr(GArray) ranges =
      parse("{\"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": 5, \"next_row\": 11}]}", NULL);
  g_autoptr(PipelineDataSet) set = pipeline_data_set_new(fixture->schema);
  g_autoptr(GError) error = NULL;
  ck_assert(!pipeline_data_ranges_read(fixture->store, NULL, "loan", fixture->schema, ranges, set, &error));
  ck_assert_ptr_nonnull(error);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(bad_specs_are_refused)
{
  static const char *const bad[] = {
      "{\"data\": 3}",
      "{\"data\": [3]}",
      "{\"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": 5}]}",
      "{\"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": 5, \"next_row\": 4}]}",
      "{\"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": -1, \"next_row\": 4}]}",
      "{\"data\": [{\"partition\": -1, \"label_partition\": 0, \"first_row\": 0, \"next_row\": 4}]}",
      "{\"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": 0, \"next_row\": 9000000000000000000}]}",
  };
  for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    ck_assert_msg(parse(bad[i], &error) == NULL, "%s", bad[i]);
    ck_assert_ptr_nonnull(strstr(error->message, "data"));
  }
  g_autoptr(GArray) none = parse("{\"data\": null}", NULL);
  ck_assert_uint_eq(none->len, 0);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("job_data");
  TCase *tests = tcase_create("data");
  tcase_set_timeout(tests, 60);
  tcase_add_loop_test(tests, rows_digests_and_coverage, 0, test_stores_count());
  tcase_add_test(tests, usable_rows_are_in_order_of_time);
  tcase_add_test(tests, a_result_names_what_was_read);
  tcase_add_test(tests, rows_of_another_schema_are_named);
  tcase_add_test(tests, rows_that_do_not_exist_are_an_error);
  tcase_add_test(tests, bad_specs_are_refused);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
