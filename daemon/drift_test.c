#include "daemon/drift_test_internal.h"

#include <math.h>
#include <string.h>

#include "drift/detector_internal.h"
#include "pipeline/error.h"

/* --- settings and options ----------------------------------------------------------------------------------------- */

const gchar *const drift_test_option_help[] = {
    "level=0.01          share of false discoveries among the columns called drifted (of adjust=bh)",
    "minimum_effect=0.1  auto: smaller changes are no drift however certain",
    "order=time          auto: the reference's rows are in the order of time, so that what they swing by themselves is "
    "allowed for; none: they are independent",
    "adjust=bh           correction over the columns: bh, by, holm, bonferroni or none", NULL};

static gboolean read_settings(GHashTable *options, DriftTestSettings *settings, GError **error)
{
  static const DriftOptionSpec specs[] = {{"level", .01, 1e-12, .5, FALSE, NULL},
                                          {"minimum_effect", .1, 0, 1, FALSE, NULL}};
  g_autoptr(GHashTable) own = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < G_N_ELEMENTS(specs); i++) {
    gpointer text = g_hash_table_lookup(options, specs[i].key);
    if (text != NULL) g_hash_table_insert(own, (gpointer)specs[i].key, text);
  }
  double values[2];
  if (!drift_options_read("drift test", own, specs, 2, values, error)) return FALSE;
  const gchar *adjust = g_hash_table_lookup(options, "adjust");
  *settings = (DriftTestSettings){values[0], values[1], drift_adjustment_find(adjust != NULL ? adjust : "bh"), TRUE};
  const gchar *order = g_hash_table_lookup(options, "order");
  settings->ordered = order == NULL || g_str_equal(order, "time");
  if (!settings->ordered && !g_str_equal(order, "none")) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "option order=%s: it is one of time, none", order);
    return FALSE;
  }
  if (settings->adjust != NULL) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "option adjust=%s: it is one of bh, by, holm, bonferroni, none", adjust);
  return FALSE;
}

gboolean drift_test_help_has_key(const gchar *const *help, const gchar *key)
{
  gsize length = strlen(key);
  for (; *help != NULL; help++)
    if (strncmp(*help, key, length) == 0 && (*help)[length] == '=') return TRUE;
  return FALSE;
}

/* The options of `method` alone. */
static GHashTable *options_for(const DriftTwoSampleMethod *method, GHashTable *options)
{
  GHashTable *own = g_hash_table_new(g_str_hash, g_str_equal);
  GHashTableIter iter;
  gpointer key, value;
  g_hash_table_iter_init(&iter, options);
  while (g_hash_table_iter_next(&iter, &key, &value))
    if (drift_test_help_has_key(method->option_help, key)) g_hash_table_insert(own, key, value);
  return own;
}

/* What is asked for, by name. */
typedef struct {
  gboolean wants_auto;
  GPtrArray *columns; /* of DriftTwoSampleMethod: of single columns */
  GPtrArray *rows;    /* of DriftMultivariateMethod: of whole rows */
} Methods;

static void methods_clear(Methods *methods)
{
  g_clear_pointer(&methods->columns, g_ptr_array_unref);
  g_clear_pointer(&methods->rows, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Methods, methods_clear)

static gboolean unknown_method(const gchar *name, GError **error)
{
  g_autoptr(GString) known = g_string_new("auto");
  for (const DriftTwoSampleMethod *method = drift_two_sample_methods; method->name != NULL; method++)
    g_string_append_printf(known, ", %s", method->name);
  for (const DriftMultivariateMethod *method = drift_multivariate_methods; method->name != NULL; method++)
    if (drift_two_sample_find(method->name) == NULL) g_string_append_printf(known, ", %s", method->name);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "no method \"%s\"; it is one of %s, multivariate-energy",
              name, known->str);
  return FALSE;
}

static gboolean find_methods(const DriftTestRequest *request, Methods *methods, GError **error)
{
  static const gchar *const only_auto[] = {"auto", NULL};
  gboolean has_embeddings = request->embeddings != NULL && *request->embeddings != NULL;
  gboolean is_default = request->methods == NULL || *request->methods == NULL;
  methods->columns = g_ptr_array_new();
  methods->rows = g_ptr_array_new();
  if (is_default && has_embeddings) g_ptr_array_add(methods->rows, (gpointer)drift_test_default_rows_method(request));
  for (const gchar *const *name = is_default ? only_auto : request->methods; *name != NULL; name++) {
    const DriftTwoSampleMethod *method = drift_two_sample_find(*name);
    const DriftMultivariateMethod *rows_method = drift_test_find_rows_method(*name, has_embeddings);
    gboolean is_auto = strcmp(*name, "auto") == 0;
    methods->wants_auto |= is_auto;
    if (method != NULL) g_ptr_array_add(methods->columns, (gpointer)method);
    if (rows_method != NULL) g_ptr_array_add(methods->rows, (gpointer)rows_method);
    if (!is_auto && method == NULL && rows_method == NULL) return unknown_method(*name, error);
  }
  return TRUE;
}

static gboolean check_options(GHashTable *options, const Methods *methods, GError **error)
{
  GHashTableIter iter;
  gpointer key;
  g_hash_table_iter_init(&iter, options);
  while (g_hash_table_iter_next(&iter, &key, NULL)) {
    gboolean known = drift_test_help_has_key(drift_test_option_help, key) ||
                     (methods->rows->len > 0 && drift_test_help_has_key(drift_test_rows_option_help, key));
    for (guint i = 0; i < methods->columns->len; i++)
      known |= drift_test_help_has_key(((const DriftTwoSampleMethod *)methods->columns->pdata[i])->option_help, key);
    if (known) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "no chosen method has an option \"%s\"; `kedge drift test --methods` lists them", (const gchar *)key);
    return FALSE;
  }
  return TRUE;
}

/* --- columns ------------------------------------------------------------------------------------------------------ */

/* Names file, line and cell of the first text in a column that the reference has as numbers. The line holds when no
 * cell before it spans lines. */
static void fail_not_a_number(const DriftTestRequest *request, const DriftColumn *column, GError **error)
{
  for (guint64 row = 0; row < column->codes->len; row++) {
    DriftValue value = drift_column_get_value(column, row);
    double number;
    if (value.kind == DRIFT_VALUE_MISSING || drift_value_to_number(&value, &number)) continue;
    g_autofree gchar *shown = g_utf8_make_valid(value.text, MIN(value.length, 60));
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "%s:%" G_GUINT64_FORMAT ": column \"%s\": \"%s\" is not a number, and in %s the column is numeric",
                request->current_name, row + 2, column->name, shown, request->reference_name);
    return;
  }
}

static gboolean find_column(const DriftTestRequest *request, const gchar *name, DriftTestColumn *column, GError **error)
{
  *column = (DriftTestColumn){.reference = drift_table_get_column(request->reference, name),
                              .current = drift_table_get_column(request->current, name)};
  if (column->reference == NULL || column->current == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s:1: no column \"%s\"; choose columns with --column",
                column->reference == NULL ? request->reference_name : request->current_name, name);
    return FALSE;
  }
  column->numeric = column->reference->kind == DRIFT_NUMERIC;
  if (column->numeric && column->current->kind == DRIFT_CATEGORICAL) {
    fail_not_a_number(request, column->current, error);
    return FALSE;
  }
  return TRUE;
}

static gboolean prepare_column(const DriftTestRequest *request, DriftTestColumn *column, GError **error)
{
  const DriftColumn *a = column->reference, *b = column->current;
  if (!column->numeric) {
    column->data.counts = drift_category_counts_new(a, 0, request->reference->n_rows, b, 0, request->current->n_rows);
    return TRUE;
  }
  column->data.reference = drift_sample_new((const double *)(gpointer)a->numbers->data, a->numbers->len, error);
  if (column->data.reference == NULL) return FALSE;
  column->data.current = drift_sample_new((const double *)(gpointer)b->numbers->data, b->numbers->len, error);
  return column->data.current != NULL;
}

static void columns_free(DriftTestColumn *columns, guint n)
{
  for (guint i = 0; i < n; i++) {
    drift_sample_free((DriftSample *)columns[i].data.reference);
    drift_sample_free((DriftSample *)columns[i].data.current);
    drift_category_counts_free((DriftCategoryCounts *)columns[i].data.counts);
  }
  g_free(columns);
}

static json_t *describe_column(const DriftTestColumn *column)
{
  json_int_t n, m, missing_n, missing_m;
  if (column->numeric) {
    n = (json_int_t)column->data.reference->n, missing_n = (json_int_t)column->data.reference->n_missing;
    m = (json_int_t)column->data.current->n, missing_m = (json_int_t)column->data.current->n_missing;
  } else {
    const DriftCategoryCounts *counts = column->data.counts;
    double sums[2] = {0, 0};
    for (guint c = 0; c < counts->n_cells; c++) sums[0] += counts->reference[c], sums[1] += counts->current[c];
    n = (json_int_t)sums[0], missing_n = (json_int_t)counts->reference_missing;
    m = (json_int_t)sums[1], missing_m = (json_int_t)counts->current_missing;
  }
  return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:[]}", "column", column->reference->name, "kind",
                   column->numeric ? "numeric" : "categorical", "n_reference", n, "n_current", m, "missing_reference",
                   missing_n, "missing_current", missing_m, "distribution", drift_test_distribution(column), "tests");
}

/* --- methods ------------------------------------------------------------------------------------------------------ */

json_t *drift_test_number(double value)
{
  if (isnan(value)) return json_null();
  return isinf(value) ? json_string(value > 0 ? "inf" : "-inf") : json_real(value);
}

json_t *drift_test_result_to_json(const gchar *method, const DriftTestResult *result)
{
  json_t *json = json_pack("{s:s, s:o, s:o}", "method", method, "statistic", drift_test_number(result->statistic), "p",
                           drift_test_number(result->p));
  if (!isnan(result->df)) json_object_set_new(json, "df", json_real(result->df));
  if (result->p_from != NULL) json_object_set_new(json, "p_from", json_string(result->p_from));
  if (result->undefined != NULL) json_object_set_new(json, "undefined", json_string(result->undefined));
  return json;
}

/* One method on every column that it takes; the correction runs over them. */
static gboolean run_method(const DriftTwoSampleMethod *method, GHashTable *options, const DriftTestSettings *settings,
                           DriftTestColumn *columns, guint n, gboolean *drift, GError **error)
{
  g_autofree double *p = g_new(double, n + 1), *adjusted = g_new(double, n + 1);
  g_autofree json_t **results = g_new0(json_t *, n + 1);
  g_autoptr(GHashTable) own = options_for(method, options);
  for (guint i = 0; i < n; i++) {
    DriftTestResult result;
    p[i] = NAN;
    if (!(columns[i].numeric ? method->numeric : method->categorical)) continue;
    if (!method->run(method, &columns[i].data, own, &result, error)) return FALSE;
    p[i] = result.p;
    results[i] = drift_test_result_to_json(method->name, &result);
    json_array_append_new(json_object_get(columns[i].json, "tests"), results[i]);
  }
  settings->adjust->adjust(p, n, adjusted);
  for (guint i = 0; i < n; i++) {
    if (results[i] == NULL) continue;
    gboolean found = adjusted[i] <= settings->level;
    json_object_set_new(results[i], "p_adjusted", drift_test_number(adjusted[i]));
    json_object_set_new(results[i], "drift", json_boolean(found));
    if (found) json_object_set_new(columns[i].json, "drift", json_true());
    *drift |= found;
  }
  return TRUE;
}

/* What auto shows beside its verdict: cheap and without a say in it. */
static gboolean run_companions(DriftTestColumn *columns, guint n, GError **error)
{
  static const gchar *const names[] = {"ks", "wasserstein", "chi2", "cramers_v", NULL};
  g_autoptr(GHashTable) none = g_hash_table_new(g_str_hash, g_str_equal);
  g_hash_table_insert(none, (gpointer) "permutations", (gpointer) "0");
  for (guint i = 0; i < n; i++)
    for (const gchar *const *name = names; *name != NULL; name++) {
      const DriftTwoSampleMethod *method = drift_two_sample_find(*name);
      DriftTestResult result;
      if (method->numeric && method->categorical == columns[i].numeric) continue; /* chi2 and V: of categories only */
      if (!(columns[i].numeric ? method->numeric : method->categorical)) continue;
      g_autoptr(GHashTable) own = options_for(method, none);
      if (!method->run(method, &columns[i].data, own, &result, error)) return FALSE;
      json_array_append_new(json_object_get(columns[i].json, "tests"),
                            drift_test_result_to_json(method->name, &result));
    }
  return TRUE;
}

/* --- the report --------------------------------------------------------------------------------------------------- */

static json_t *ignored_columns(const DriftTestRequest *request)
{
  json_t *names = json_array();
  for (guint i = 0; i < request->current->columns->len; i++) {
    const gchar *name = ((const DriftColumn *)request->current->columns->pdata[i])->name;
    if (drift_table_get_column(request->reference, name) == NULL) json_array_append_new(names, json_string(name));
  }
  return names;
}

static DriftTestColumn *prepare_columns(const DriftTestRequest *request, guint *n, GError **error)
{
  gboolean all = request->columns == NULL || *request->columns == NULL;
  guint wanted = all ? request->reference->columns->len : g_strv_length((gchar **)request->columns);
  DriftTestColumn *columns = g_new0(DriftTestColumn, wanted + 1);
  *n = 0;
  for (guint i = 0; i < wanted; i++) {
    const gchar *name = all ? ((const DriftColumn *)request->reference->columns->pdata[i])->name : request->columns[i];
    if (all && drift_test_in_embedding(request, name)) continue; /* tested as a vector */
    DriftTestColumn *column = &columns[(*n)++];
    if (find_column(request, name, column, error) && prepare_column(request, column, error)) continue;
    columns_free(columns, *n);
    return NULL;
  }
  return columns;
}

static gboolean fill_report(const DriftTestRequest *request, const DriftTestSettings *settings, const Methods *methods,
                            DriftTestColumn *columns, guint n, json_t *report, GError **error)
{
  gboolean drift = FALSE;
  for (guint i = 0; i < n; i++) {
    columns[i].json = describe_column(&columns[i]);
    json_object_set_new(columns[i].json, "drift", json_false());
    json_array_append_new(json_object_get(report, "columns"), columns[i].json);
  }
  if (methods->wants_auto && n > 0 &&
      (!drift_test_auto(request, settings, columns, n, report, &drift, error) || !run_companions(columns, n, error)))
    return FALSE;
  if (methods->wants_auto && n > 0 && !drift_test_slices(request, settings, columns, n, report, &drift, error))
    return FALSE;
  for (guint i = 0; i < methods->columns->len; i++)
    if (!run_method(methods->columns->pdata[i], request->options, settings, columns, n, &drift, error)) return FALSE;
  if (!drift_test_rows(request, settings, methods->rows, report, &drift, error)) return FALSE;
  json_object_set_new(report, "drift", json_boolean(drift));
  return TRUE;
}

json_t *drift_test_report(const DriftTestRequest *request, GError **error)
{
  DriftTestSettings settings;
  g_auto(Methods) methods = {0};
  guint n;
  if (!find_methods(request, &methods, error) || !read_settings(request->options, &settings, error) ||
      !check_options(request->options, &methods, error))
    return NULL;
  DriftTestColumn *columns = prepare_columns(request, &n, error);
  if (columns == NULL) return NULL;
  json_t *report =
      json_pack("{s:{s:s, s:I}, s:{s:s, s:I}, s:f, s:f, s:s, s:b, s:b, s:o, s:[]}", "reference", "file",
                request->reference_name, "rows", (json_int_t)request->reference->n_rows, "current", "file",
                request->current_name, "rows", (json_int_t)request->current->n_rows, "level", settings.level,
                "minimum_effect", settings.minimum_effect, "adjust", settings.adjust->name, "auto", methods.wants_auto,
                "drift", FALSE, "ignored_columns", ignored_columns(request), "columns");
  if (report == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "a name is not UTF-8");
  } else if (!fill_report(request, &settings, &methods, columns, n, report, error)) {
    json_decref(report);
    report = NULL;
  }
  columns_free(columns, n);
  return report;
}
