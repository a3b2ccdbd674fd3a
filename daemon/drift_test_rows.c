/* The methods of `kedge drift test` that take whole rows: several numeric columns at once, or an embedding. */
#include <math.h>
#include <string.h>

#include "daemon/drift_test_internal.h"
#include "drift/detector_internal.h"
#include "drift/embedding.h"
#include "pipeline/error.h"
#include "pipeline/loss_model_xgboost.h"

#define FOLDS 5 /* of the classifier */

const gchar *const drift_test_rows_option_help[] = {
    "permutations=199    at most, where p is from permutations; a p is never below 1/(permutations + 1)",
    "seed=1              of permutations, frequencies, folds and halves",
    "scale=auto          auto: columns by their pooled mean and deviation, embeddings as they are; yes or no",
    "learner=logistic    of classifier: logistic or xgboost (boosted trees, slow)", NULL};

enum { PERMUTATIONS, SEED, SCALE, LEARNER, N_OPTIONS };
enum { SCALE_AUTO, SCALE_YES, SCALE_NO };
static const gchar *const scale_choices[] = {"auto", "yes", "no", NULL};
static const gchar *const learner_choices[] = {"logistic", "xgboost", NULL};
static const DriftLearner *const learners[] = {&drift_learner_logistic, &pipeline_loss_model_xgboost};
static const DriftOptionSpec specs[N_OPTIONS] = {[PERMUTATIONS] = {"permutations", 199, 1, 1e6, TRUE, NULL},
                                                 [SEED] = {"seed", 1, 0, 1e15, TRUE, NULL},
                                                 [SCALE] = {"scale", SCALE_AUTO, 0, 0, TRUE, scale_choices},
                                                 [LEARNER] = {"learner", 0, 0, 0, TRUE, learner_choices}};

/* Columns that are tested together. */
typedef struct {
  const gchar *name; /* of the embedding; NULL: the numeric columns */
  gchar **columns;
  double *values[2]; /* reference, current: [n][d] */
  DriftMatrix sides[2];
  gsize left_out[2];
  json_t *json; /* borrowed: its object in the report */
} Group;

static void group_clear(gpointer data)
{
  Group *group = data;
  g_strfreev(group->columns);
  g_free(group->values[0]);
  g_free(group->values[1]);
}

const DriftMultivariateMethod *drift_test_find_rows_method(const gchar *name, gboolean has_embeddings)
{
  if (strcmp(name, "multivariate-energy") == 0) return drift_multivariate_find("energy");
  gboolean is_column_method = drift_two_sample_find(name) != NULL;
  return is_column_method && !has_embeddings ? NULL : drift_multivariate_find(name);
}

const DriftMultivariateMethod *drift_test_default_rows_method(const DriftTestRequest *request)
{
  gboolean few = request->reference->n_rows + request->current->n_rows <= DRIFT_PAIRS_MAX_ROWS;
  return drift_multivariate_find(few ? "mmd" : "mmd-features");
}

gboolean drift_test_in_embedding(const DriftTestRequest *request, const gchar *column)
{
  g_autofree gchar *name = NULL;
  guint element;
  return request->embeddings != NULL && drift_embedding_split(column, &name, &element) &&
         g_strv_contains(request->embeddings, name);
}

/* --- groups ------------------------------------------------------------------------------------------------------- */

/* The columns chosen, or all numeric ones that are in no embedding. */
static gchar **numeric_columns(const DriftTestRequest *request)
{
  if (request->columns != NULL && *request->columns != NULL) return g_strdupv((gchar **)request->columns);
  g_autoptr(GStrvBuilder) names = g_strv_builder_new();
  for (guint i = 0; i < request->reference->columns->len; i++) {
    const DriftColumn *column = request->reference->columns->pdata[i];
    if (column->kind == DRIFT_NUMERIC) g_strv_builder_add(names, column->name);
  }
  return g_strv_builder_end(names);
}

static gboolean read_side(const DriftTestRequest *request, Group *group, guint side, GError **error)
{
  const DriftTable *table = side == 0 ? request->reference : request->current;
  const gchar *file = side == 0 ? request->reference_name : request->current_name;
  g_autoptr(GError) failure = NULL;
  gsize n;
  group->values[side] =
      drift_matrix_from_table(table, (const gchar *const *)group->columns, &n, &group->left_out[side], &failure);
  if (group->values[side] == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s: %s", file, failure->message);
    return FALSE;
  }
  group->sides[side] = (DriftMatrix){group->values[side], n, g_strv_length(group->columns)};
  return TRUE;
}

static gboolean read_group(const DriftTestRequest *request, Group *group, GError **error)
{
  g_autoptr(GError) failure = NULL;
  group->columns = group->name != NULL ? drift_embedding_columns(request->reference, group->name, &failure)
                                       : numeric_columns(request);
  if (group->columns == NULL || *group->columns == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s: %s", request->reference_name,
                failure != NULL ? failure->message : "no numeric column to test rows of");
    return FALSE;
  }
  return read_side(request, group, 0, error) && read_side(request, group, 1, error);
}

static GArray *read_groups(const DriftTestRequest *request, GError **error)
{
  g_autoptr(GArray) groups = g_array_new(FALSE, TRUE, sizeof(Group));
  g_array_set_clear_func(groups, group_clear);
  gboolean has_embeddings = request->embeddings != NULL && *request->embeddings != NULL;
  g_array_set_size(groups, has_embeddings ? g_strv_length((gchar **)request->embeddings) : 1);
  for (guint i = 0; i < groups->len; i++) {
    Group *group = &g_array_index(groups, Group, i);
    if (has_embeddings) group->name = request->embeddings[i];
    if (!read_group(request, group, error)) return NULL;
  }
  return g_steal_pointer(&groups);
}

/* By mean and deviation of both sides together: a rule that does not know which row is of which side, so that
 * permutation p's stay exact. */
static void scale_group(Group *group)
{
  guint d = group->sides[0].d;
  double n = (double)(group->sides[0].n + group->sides[1].n);
  for (guint k = 0; k < d; k++) {
    double mean = 0, squares = 0;
    for (guint side = 0; side < 2; side++)
      for (gsize i = 0; i < group->sides[side].n; i++) mean += group->values[side][i * d + k] / n;
    for (guint side = 0; side < 2; side++)
      for (gsize i = 0; i < group->sides[side].n; i++) squares += pow(group->values[side][i * d + k] - mean, 2) / n;
    double deviation = sqrt(squares);
    if (!(deviation > 1e-14 * fabs(mean))) deviation = 1; /* a constant column: what rounding leaves is no spread */
    for (guint side = 0; side < 2; side++)
      for (gsize i = 0; i < group->sides[side].n; i++)
        group->values[side][i * d + k] = (group->values[side][i * d + k] - mean) / deviation;
  }
}

static json_t *describe_group(const Group *group, gboolean scaled)
{
  return json_pack("{s:s, s:b, s:i, s:b, s:I, s:I, s:I, s:I, s:b, s:[]}", "group",
                   group->name != NULL ? group->name : "numeric columns", "embedding", group->name != NULL, "columns",
                   (int)group->sides[0].d, "scaled", scaled, "n_reference", (json_int_t)group->sides[0].n, "n_current",
                   (json_int_t)group->sides[1].n, "left_out_reference", (json_int_t)group->left_out[0],
                   "left_out_current", (json_int_t)group->left_out[1], "drift", FALSE, "tests");
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static gboolean run_classifier(const Group *group, const double *options, const DriftPermutationSettings *permutations,
                               DriftTestResult *result, GError **error)
{
  DriftClassifierTest test;
  if (!drift_classifier_test(&group->sides[0], &group->sides[1], learners[(guint)options[LEARNER]], FOLDS, permutations,
                             &test, error))
    return FALSE;
  *result = (DriftTestResult){test.auc, test.p, NAN, "permutation", NULL};
  return TRUE;
}

/* Its result as JSON; *p NaN and "undefined" with the reason where the method has none for these rows. */
static json_t *run_method(const DriftMultivariateMethod *method, const Group *group, const double *options, double *p,
                          GError **error)
{
  const DriftPermutationSettings permutations = {(guint)options[PERMUTATIONS], (guint64)options[SEED]};
  g_autoptr(GError) failure = NULL;
  DriftTestResult result;
  gboolean done = strcmp(method->name, "classifier") == 0
                      ? run_classifier(group, options, &permutations, &result, &failure)
                      : method->test(&group->sides[0], &group->sides[1], &permutations, &result, &failure);
  *p = NAN;
  if (done) {
    *p = result.p;
    return drift_test_result_to_json(method->name, &result);
  }
  if (g_error_matches(failure, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED))
    return json_pack("{s:s, s:n, s:n, s:s}", "method", method->name, "statistic", "p", "undefined", failure->message);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s of %s: %s", method->name,
              group->name != NULL ? group->name : "the numeric columns", failure->message);
  return NULL;
}

/* One method on every group; the correction runs over them. */
static gboolean run_on_groups(const DriftMultivariateMethod *method, const GArray *groups, const double *options,
                              const DriftTestSettings *settings, gboolean *drift, GError **error)
{
  g_autofree double *p = g_new(double, groups->len), *adjusted = g_new(double, groups->len);
  g_autofree json_t **results = g_new0(json_t *, groups->len);
  for (guint i = 0; i < groups->len; i++) {
    const Group *group = &g_array_index(groups, Group, i);
    results[i] = run_method(method, group, options, &p[i], error);
    if (results[i] == NULL) return FALSE;
    json_array_append_new(json_object_get(group->json, "tests"), results[i]);
  }
  settings->adjust->adjust(p, groups->len, adjusted);
  for (guint i = 0; i < groups->len; i++) {
    gboolean found = adjusted[i] <= settings->level;
    json_object_set_new(results[i], "p_adjusted", drift_test_number(adjusted[i]));
    json_object_set_new(results[i], "drift", json_boolean(found));
    if (found) json_object_set_new(g_array_index(groups, Group, i).json, "drift", json_true());
    *drift |= found;
  }
  return TRUE;
}

static gboolean read_options(GHashTable *options, double *values, GError **error)
{
  g_autoptr(GHashTable) own = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < N_OPTIONS; i++) {
    gpointer text = g_hash_table_lookup(options, specs[i].key);
    if (text != NULL) g_hash_table_insert(own, (gpointer)specs[i].key, text);
  }
  return drift_options_read("drift test", own, specs, N_OPTIONS, values, error);
}

gboolean drift_test_rows(const DriftTestRequest *request, const DriftTestSettings *settings, const GPtrArray *methods,
                         json_t *report, gboolean *drift, GError **error)
{
  double options[N_OPTIONS];
  if (methods->len == 0) return TRUE;
  if (!read_options(request->options, options, error)) return FALSE;
  g_autoptr(GArray) groups = read_groups(request, error);
  if (groups == NULL) return FALSE;
  json_t *list = json_array();
  json_object_set_new(report, "groups", list);
  for (guint i = 0; i < groups->len; i++) {
    Group *group = &g_array_index(groups, Group, i);
    gboolean scaled = options[SCALE] == SCALE_YES || (options[SCALE] == SCALE_AUTO && group->name == NULL);
    if (scaled) scale_group(group);
    group->json = describe_group(group, scaled);
    json_array_append_new(list, group->json);
  }
  for (guint i = 0; i < methods->len; i++)
    if (!run_on_groups(methods->pdata[i], groups, options, settings, drift, error)) return FALSE;
  return TRUE;
}
