/* Embeddings: names of elements, JSON arrays in a CSV, the schema's kind, and `kedge drift test` on them. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/drift_test.h"
#include "drift/embedding.h"
#include "pipeline/embedding.h"
#include "pipeline/model_spec.h"

START_TEST(names_split)
{
  static const struct {
    const gchar *column, *name;
    guint element;
  } cases[] = {
      {"e[0]", "e", 0}, {"e[12]", "e", 12}, {"a[1][2]", "a[1]", 2}, {"é[3]", "é", 3}, {"e[999999]", "e", 999999}};
  static const gchar *const others[] = {"e", "[0]", "e[]", "e[01]", "e[x]", "e[1", "e[1]x", "e[-1]", "e[1000000]", ""};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree gchar *name = NULL;
    guint element;
    ck_assert(drift_embedding_split(cases[i].column, &name, &element));
    ck_assert_str_eq(name, cases[i].name);
    ck_assert_uint_eq(element, cases[i].element);
  }
  for (guint i = 0; i < G_N_ELEMENTS(others); i++) {
    gchar *name = NULL;
    guint element;
    ck_assert_msg(!drift_embedding_split(others[i], &name, &element), "%s", others[i]);
    ck_assert_ptr_null(name);
  }
}
END_TEST

static DriftTable *table_of(const gchar *const *cells)
{
  DriftTable *table = drift_table_new();
  DriftColumn *column = drift_table_add_column(table, "e", DRIFT_CATEGORICAL);
  for (; *cells != NULL; cells++, table->n_rows++) {
    if (**cells == '\0')
      drift_column_append_missing(column);
    else
      drift_column_append_text(column, *cells, -1);
  }
  return table;
}

START_TEST(arrays_become_columns)
{
  g_autoptr(DriftTable) table = table_of((const gchar *const[]){"[1, 2.5]", "", "[-3,null]", NULL});
  ck_assert(pipeline_embedding_expand(table, "e", "f.csv", NULL));
  ck_assert(pipeline_embedding_expand(table, "e", "f.csv", NULL)); /* nothing left to do */
  g_auto(GStrv) columns = drift_embedding_columns(table, "e", NULL);
  ck_assert_uint_eq(g_strv_length(columns), 2);
  ck_assert_ptr_null(drift_table_get_column(table, "e"));
  const double expected[2][3] = {{1, NAN, -3}, {2.5, NAN, NAN}};
  for (guint c = 0; c < 2; c++)
    for (guint row = 0; row < 3; row++) {
      DriftValue value = drift_column_get_value(drift_table_get_column(table, columns[c]), row);
      ck_assert(isnan(expected[c][row]) ? value.kind == DRIFT_VALUE_MISSING : value.number == expected[c][row]);
    }
}
END_TEST

START_TEST(bad_arrays_are_named)
{
  static const struct {
    const gchar *cells[4], *message;
  } cases[] = {{{"[1]", "[1, 2]"}, "f.csv:3: column \"e\": 2 elements where the rows before have 1"},
               {{"[1]", "", "x7"}, "f.csv:4: column \"e\": \"x7\" is not a JSON array of numbers"},
               {{"[1, \"a\"]"}, "f.csv:2: column \"e\": element 1 is not a number"},
               {{"[]"}, "f.csv:2: column \"e\": 0 elements"},
               {{"{\"a\": 1}"}, "is not a JSON array of numbers"},
               {{"[1", "[1]"}, "f.csv:2: column \"e\": \"[1\" is not a JSON array"},
               {{""}, "no row has a vector"}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(DriftTable) table = table_of(cases[i].cells);
    g_autoptr(GError) error = NULL;
    ck_assert(!pipeline_embedding_expand(table, "e", "f.csv", &error));
    ck_assert_msg(strstr(error->message, cases[i].message) != NULL, "%s", error->message);
    ck_assert_ptr_nonnull(drift_table_get_column(table, "e"));
    ck_assert_uint_eq(table->columns->len, 1);
  }
  g_autoptr(DriftTable) table = drift_table_new();
  drift_table_add_column(table, "e[0]", DRIFT_NUMERIC);
  drift_table_add_column(table, "e[2]", DRIFT_NUMERIC);
  g_autoptr(GError) error = NULL, none = NULL;
  ck_assert_ptr_null(drift_embedding_columns(table, "e", &error));
  ck_assert_ptr_nonnull(strstr(error->message, "column \"e[1]\" is missing"));
  ck_assert_ptr_null(drift_embedding_columns(table, "f", &none));
  ck_assert_ptr_nonnull(strstr(none->message, "no embedding \"f\""));
}
END_TEST

START_TEST(schemas_have_embeddings)
{
  static const gchar spec[] = "{\"task\": \"regression\", \"label\": \"y\", \"features\": [{\"name\": \"a\", \"kind\": "
                              "\"numeric\"}, {\"name\": \"e\", \"kind\": \"embedding\", \"elements\": 3, \"input\": "
                              "false}, {\"name\": \"f[0]\", \"kind\": \"numeric\"}]}";
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftSchema) schema = pipeline_model_spec_parse(spec, &error);
  ck_assert_msg(schema != NULL, "%s", error != NULL ? error->message : "");
  ck_assert_uint_eq(drift_schema_n_features(schema), 5);
  ck_assert_str_eq(drift_schema_get_feature(schema, 3)->name, "e[2]");
  ck_assert(!drift_schema_get_feature(schema, 3)->input && drift_schema_get_feature(schema, 4)->input);
  g_autofree gchar *name = NULL;
  ck_assert_uint_eq(drift_embedding_run(schema, 1, &name), 3);
  ck_assert_str_eq(name, "e");
  g_autofree gchar *text = pipeline_model_spec_format(schema);
  ck_assert_ptr_nonnull(strstr(text, "{\"name\":\"e\",\"kind\":\"embedding\",\"elements\":3,"));
  ck_assert_ptr_nonnull(strstr(text, "{\"name\":\"f[0]\",\"kind\":\"numeric\","));
  g_autoptr(DriftSchema) again = pipeline_model_spec_parse(text, NULL);
  ck_assert_uint_eq(drift_schema_n_features(again), 5);
  static const gchar *const wrong[] = {
      "{\"name\": \"e\", \"kind\": \"embedding\"}", "{\"name\": \"e\", \"kind\": \"embedding\", \"elements\": 4097}",
      "{\"name\": \"e\", \"kind\": \"embedding\", \"elements\": 2}, {\"name\": \"e[1]\", \"kind\": \"numeric\"}",
      "{\"name\": \"e[1]\", \"kind\": \"numeric\"}, {\"name\": \"e\", \"kind\": \"embedding\", \"elements\": 2}"};
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    g_autofree gchar *bad =
        g_strdup_printf("{\"task\": \"regression\", \"label\": \"y\", \"features\": [%s]}", wrong[i]);
    ck_assert_msg(pipeline_model_spec_parse(bad, NULL) == NULL, "%s", bad);
  }
}
END_TEST

/* Vectors whose elements each stay the same and whose first two go together only in the reference. */
static DriftTable *vectors(guint n, double together, guint seed)
{
  DriftTable *table = drift_table_new();
  const gchar *const names[] = {"e[0]", "e[1]", "e[2]", "single"};
  GRand *random = g_rand_new_with_seed(seed);
  for (guint c = 0; c < 4; c++) drift_table_add_column(table, names[c], DRIFT_NUMERIC);
  for (guint row = 0; row < n; row++) {
    double first = g_rand_double(random), other = g_rand_double(random);
    drift_column_append_number(table->columns->pdata[0], first);
    drift_column_append_number(table->columns->pdata[1], g_rand_double(random) < together ? first : other);
    drift_column_append_number(table->columns->pdata[2], row % 50 == 49 ? NAN : g_rand_double(random));
    drift_column_append_number(table->columns->pdata[3], g_rand_double(random));
  }
  table->n_rows = n;
  g_rand_free(random);
  return table;
}

static json_t *report_of(const DriftTable *reference, const DriftTable *current, const gchar *embedding,
                         const gchar *method, GError **error)
{
  g_autoptr(GHashTable) options = g_hash_table_new(g_str_hash, g_str_equal);
  const gchar *const methods[] = {method, NULL}, *const embeddings[] = {embedding, NULL};
  const DriftTestRequest request = {.reference = reference,
                                    .current = current,
                                    .reference_name = "R.csv",
                                    .current_name = "C.csv",
                                    .embeddings = embeddings,
                                    .methods = methods,
                                    .options = options};
  return drift_test_report(&request, error);
}

START_TEST(rows_are_tested_as_vectors)
{
  static const gchar *const methods[] = {NULL, "mmd", "mmd-features", "energy", "mahalanobis", "pca", NULL};
  g_autoptr(DriftTable) reference = vectors(500, .98, 1), same = vectors(500, .98, 2), broken = vectors(500, 0, 3);
  for (guint i = 0; i < G_N_ELEMENTS(methods) - 1; i++) {
    json_t *quiet = report_of(reference, same, "e", methods[i], NULL),
           *loud = report_of(reference, broken, "e", methods[i], NULL);
    const json_t *group = json_array_get(json_object_get(loud, "groups"), 0);
    ck_assert_msg(json_is_false(json_object_get(quiet, "drift")), "%s", methods[i]);
    ck_assert_msg(json_is_true(json_object_get(loud, "drift")), "%s", methods[i]);
    ck_assert(json_is_true(json_object_get(group, "drift")));
    ck_assert_str_eq(json_string_value(json_object_get(group, "group")), "e");
    ck_assert_int_eq(json_integer_value(json_object_get(group, "left_out_reference")), 10);
    ck_assert_uint_eq(json_array_size(json_object_get(loud, "columns")), 1); /* elements are no columns any more */
    g_autofree gchar *page = drift_test_html(loud);
    ck_assert_ptr_nonnull(strstr(page, "in 1 of 1 groups of whole rows"));
    json_decref(quiet);
    json_decref(loud);
  }
}
END_TEST

/* Without embeddings a method of rows takes the numeric columns together, scaled; "energy" is of single columns. */
START_TEST(columns_are_tested_together)
{
  g_autoptr(DriftTable) reference = vectors(500, .98, 1), broken = vectors(500, 0, 3);
  json_t *together = report_of(reference, broken, NULL, "multivariate-energy", NULL),
         *single = report_of(reference, broken, NULL, "energy", NULL);
  const json_t *group = json_array_get(json_object_get(together, "groups"), 0);
  ck_assert_int_eq(json_integer_value(json_object_get(group, "columns")), 4);
  ck_assert(json_is_true(json_object_get(group, "scaled")) && json_is_true(json_object_get(group, "drift")));
  ck_assert(json_object_get(single, "groups") == NULL && json_is_false(json_object_get(single, "drift")));
  json_decref(together);
  json_decref(single);
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(report_of(reference, broken, "q", "mmd", &error));
  ck_assert_ptr_nonnull(strstr(error->message, "R.csv: no embedding \"q\""));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("embedding");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_test(all, names_split);
  tcase_add_test(all, arrays_become_columns);
  tcase_add_test(all, bad_arrays_are_named);
  tcase_add_test(all, schemas_have_embeddings);
  tcase_add_test(all, rows_are_tested_as_vectors);
  tcase_add_test(all, columns_are_tested_together);
  suite_add_tcase(suite, all);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
