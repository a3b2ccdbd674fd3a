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
    "adjust=bh           correction over the columns of a chosen method: bh, by, holm, bonferroni or none; auto's is "
    "bh",
    NULL};

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
    if ((method != NULL && g_ptr_array_find(methods->columns, method, NULL)) ||
        (rows_method != NULL && g_ptr_array_find(methods->rows, rows_method, NULL))) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "--method %s is given twice", *name);
      return FALSE;
    }
    methods->wants_auto |= is_auto;
    if (method != NULL) g_ptr_array_add(methods->columns, (gpointer)method);
    if (rows_method != NULL) g_ptr_array_add(methods->rows, (gpointer)rows_method);
    if (!is_auto && method == NULL && rows_method == NULL) return unknown_method(*name, error);
  }
  return TRUE;
}

/* Without it the key would be read and have no effect. */
static gboolean has_use(const gchar *key, const Methods *methods)
{
  gboolean is_of_auto = g_str_equal(key, "minimum_effect") || g_str_equal(key, "order");
  if (g_str_equal(key, "adjust")) return methods->columns->len + methods->rows->len > 0;
  return methods->wants_auto || !is_of_auto;
}

static gboolean check_options(GHashTable *options, const Methods *methods, GError **error)
{
  GHashTableIter iter;
  gpointer key;
  g_hash_table_iter_init(&iter, options);
  while (g_hash_table_iter_next(&iter, &key, NULL)) {
    gboolean known = (drift_test_help_has_key(drift_test_option_help, key) && has_use(key, methods)) ||
                     (methods->rows->len > 0 && drift_test_help_has_key(drift_test_rows_option_help, key));
    for (guint i = 0; i < methods->columns->len; i++)
      known |= drift_test_help_has_key(((const DriftTwoSampleMethod *)methods->columns->pdata[i])->option_help, key);
    if (known) continue;
    if (g_str_equal(key, "adjust")) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                  "option adjust is of chosen methods; auto corrects by Benjamini-Hochberg");
      return FALSE;
    }
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "no chosen method has an option \"%s\"; `kedge drift test --methods` lists them", (const gchar *)key);
    return FALSE;
  }
  return TRUE;
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

/* A test with a p of its own, or the verdict of auto with one. What auto shows beside its verdict has no say. */
static gboolean is_tested(const json_t *column)
{
  gsize i;
  json_t *test;
  if (json_is_number(json_object_get(json_object_get(column, "verdict"), "p_adjusted"))) return TRUE;
  json_array_foreach (json_object_get(column, "tests"), i, test)
    if (json_is_number(json_object_get(test, "p_adjusted"))) return TRUE;
  return FALSE;
}

static gboolean is_any_group_tested(const json_t *groups)
{
  gsize i;
  json_t *group;
  json_array_foreach ((json_t *)groups, i, group)
    if (is_tested(group)) return TRUE;
  return FALSE;
}

/* "untested": the columns that no defined test answers for; "drift": null when there is no other answer. */
static void conclude(json_t *report, const Methods *methods, gboolean drift)
{
  json_t *untested = json_array(), *columns = json_object_get(report, "columns"), *column;
  gsize i;
  gboolean any = is_any_group_tested(json_object_get(report, "groups"));
  gboolean by_column = methods->wants_auto || methods->columns->len > 0;
  json_array_foreach (columns, i, column) {
    if (!by_column) break;
    if (is_tested(column))
      any = TRUE;
    else
      json_array_append(untested, json_object_get(column, "column"));
  }
  json_object_set_new(report, "untested", untested);
  json_object_set_new(report, "drift", drift ? json_true() : any ? json_false() : json_null());
}

static gboolean fill_report(const DriftTestRequest *request, const DriftTestSettings *settings, const Methods *methods,
                            DriftTestColumn *columns, guint n, json_t *report, GError **error)
{
  gboolean drift = FALSE;
  for (guint i = 0; i < n; i++) {
    columns[i].json = drift_test_describe_column(&columns[i]);
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
  conclude(report, methods, drift);
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
  DriftTestColumn *columns = drift_test_columns_new(request, &n, error);
  if (columns == NULL) return NULL;
  json_t *report = json_pack("{s:{s:s, s:I}, s:{s:s, s:I}, s:f, s:f, s:s, s:s, s:b, s:b, s:o, s:[]}", "reference",
                             "file", request->reference_name, "rows", (json_int_t)request->reference->n_rows, "current",
                             "file", request->current_name, "rows", (json_int_t)request->current->n_rows, "level",
                             settings.level, "minimum_effect", settings.minimum_effect, "adjust", settings.adjust->name,
                             "order", settings.ordered ? "time" : "none", "auto", methods.wants_auto, "drift", FALSE,
                             "ignored_columns", ignored_columns(request), "columns");
  if (report == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "a name is not UTF-8");
  } else if (!fill_report(request, &settings, &methods, columns, n, report, error)) {
    json_decref(report);
    report = NULL;
  }
  drift_test_columns_free(columns, n);
  return report;
}
