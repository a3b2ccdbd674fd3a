/* Plans as text and as JSON, and what makes them complete. */
#include <math.h>
#include <string.h>
#include <jansson.h>

#include "pipeline/transform.h"

#define MAX_CHAINS 4096u
#define MAX_STEPS 8u

static gboolean invalid(GError **error, const gchar *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean invalid(GError **error, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *what = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "transformation: %s", what);
  return FALSE;
}

/* --- chains ------------------------------------------------------------------------------------------------------- */

void pipeline_chain_free(PipelineChain *chain)
{
  if (!chain) return;
  g_free(chain->columns[0]);
  g_free(chain->columns[1]);
  g_array_unref(chain->steps);
  g_free(chain);
}

static PipelineChain *chain_copy(const PipelineChain *chain)
{
  PipelineChain *copy = g_new0(PipelineChain, 1);
  copy->columns[0] = g_strdup(chain->columns[0]);
  copy->columns[1] = g_strdup(chain->columns[1]);
  copy->steps = g_array_copy(chain->steps);
  return copy;
}

static gboolean parse_step(const gchar *text, PipelineStep *step, GError **error)
{
  const gchar *colon = strchr(text, ':');
  g_autofree gchar *name = colon ? g_strndup(text, (gsize)(colon - text)) : g_strdup(text);
  const PipelineTransformation *row = pipeline_transformation_find(name, error);
  if (!row) return FALSE;
  *step = (PipelineStep){row, row->fallback};
  if (!colon) return TRUE;
  if (!row->parameter) return invalid(error, "\"%s\" takes no number", name);
  gchar *end = NULL;
  step->parameter = g_ascii_strtod(colon + 1, &end);
  if (end != colon + 1 && *end == '\0' && step->parameter >= row->least && step->parameter <= row->most) return TRUE;
  return invalid(error, "\"%s\": the number (%s) must be from %g to %g", text, row->parameter, row->least, row->most);
}

PipelineChain *pipeline_chain_new(const gchar *a, const gchar *b, const gchar *steps, GError **error)
{
  PipelineChain *chain = g_new0(PipelineChain, 1);
  chain->columns[0] = g_strdup(a);
  chain->columns[1] = g_strdup(b);
  chain->steps = g_array_new(FALSE, FALSE, sizeof(PipelineStep));
  g_auto(GStrv) parts = g_strsplit(steps, "+", -1);
  gboolean good = strcmp(steps, "drop") == 0 || g_strv_length(parts) <= MAX_STEPS ||
                  invalid(error, "\"%s\": at most %u steps", steps, MAX_STEPS);
  for (guint i = 0; good && strcmp(steps, "drop") != 0 && parts[i]; i++) {
    PipelineStep step;
    good = parse_step(parts[i], &step, error);
    if (good) g_array_append_val(chain->steps, step);
  }
  if (good) return chain;
  pipeline_chain_free(chain);
  return NULL;
}

static void append_step(GString *text, const PipelineStep *step)
{
  g_string_append(text, step->transformation->name);
  if (step->transformation->parameter) {
    gchar number[G_ASCII_DTOSTR_BUF_SIZE];
    g_string_append_printf(text, ":%s", g_ascii_formatd(number, sizeof number, "%.12g", step->parameter));
  }
}

gchar *pipeline_chain_format(const PipelineChain *chain)
{
  GString *text = g_string_new(chain->columns[0]);
  if (chain->columns[1]) g_string_append_printf(text, "*%s", chain->columns[1]);
  g_string_append_c(text, '=');
  if (chain->steps->len == 0) g_string_append(text, "drop");
  for (guint i = 0; i < chain->steps->len; i++) {
    if (i > 0) g_string_append_c(text, '+');
    append_step(text, &g_array_index(chain->steps, PipelineStep, i));
  }
  return g_string_free(text, FALSE);
}

/* --- plans -------------------------------------------------------------------------------------------------------- */

PipelinePlan *pipeline_plan_new(void)
{
  PipelinePlan *plan = g_new0(PipelinePlan, 1);
  plan->chains = g_ptr_array_new_with_free_func((GDestroyNotify)pipeline_chain_free);
  return plan;
}

PipelinePlan *pipeline_plan_copy(const PipelinePlan *plan)
{
  PipelinePlan *copy = pipeline_plan_new();
  for (guint i = 0; i < plan->chains->len; i++) g_ptr_array_add(copy->chains, chain_copy(plan->chains->pdata[i]));
  return copy;
}

void pipeline_plan_free(PipelinePlan *plan)
{
  if (!plan) return;
  g_ptr_array_unref(plan->chains);
  g_free(plan);
}

static gboolean parse_text(PipelinePlan *plan, const gchar *text, GError **error)
{
  g_auto(GStrv) parts = g_strsplit(text, ",", -1);
  for (guint i = 0; parts[i]; i++) {
    const gchar *equals = strrchr(parts[i], '='), *star = strchr(parts[i], '*');
    if (!equals || equals == parts[i])
      return invalid(error,
                     "\"%s\": write COLUMN=STEP+STEP, e.g. age=robust,price=log+standard,city=target,a*b=standard",
                     parts[i]);
    if (star && star > equals) star = NULL;
    g_autofree gchar *a = g_strndup(parts[i], (gsize)((star ? star : equals) - parts[i]));
    g_autofree gchar *b = star ? g_strndup(star + 1, (gsize)(equals - star - 1)) : NULL;
    PipelineChain *chain = pipeline_chain_new(a, b, equals + 1, error);
    if (!chain) return FALSE;
    g_ptr_array_add(plan->chains, chain);
  }
  return TRUE;
}

static gboolean parse_chain(PipelinePlan *plan, json_t *item, guint index, GError **error)
{
  json_t *columns = json_object_get(item, "columns"), *steps = json_object_get(item, "steps"), *step;
  const gchar *a = json_string_value(json_array_get(columns, 0)), *b = json_string_value(json_array_get(columns, 1));
  gsize n = json_array_size(columns), i;
  if (n < 1 || n > 2 || !a || (n == 2 && !b) || !json_is_array(steps))
    return invalid(error, "number %u of the plan needs \"columns\" (one or two names) and \"steps\" (a list)", index);
  g_autoptr(GString) text = g_string_new("");
  json_array_foreach (steps, i, step) {
    if (!json_is_string(step)) return invalid(error, "number %u of the plan: step %zu is no text", index, i);
    g_string_append_printf(text, "%s%s", i > 0 ? "+" : "", json_string_value(step));
  }
  PipelineChain *chain = pipeline_chain_new(a, b, text->len > 0 ? text->str : "drop", error);
  if (chain) g_ptr_array_add(plan->chains, chain);
  return chain != NULL;
}

static gboolean parse_json(PipelinePlan *plan, const gchar *text, GError **error)
{
  json_error_t problem;
  json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &problem), *item;
  json_t *list = json_object_get(root, "transform");
  gsize i;
  gboolean good = TRUE;
  if (!root) {
    g_autofree gchar *what = g_utf8_make_valid(problem.text, -1);
    good = invalid(error, "line %d, column %d: %s", problem.line, problem.column, what);
  } else if (!json_is_array(list) || json_array_size(list) > MAX_CHAINS) {
    good = invalid(error, "\"transform\" must be a list of at most %u chains", MAX_CHAINS);
  }
  json_array_foreach (list, i, item) {
    if (good) good = parse_chain(plan, item, (guint)i, error);
  }
  json_decref(root);
  return good;
}

PipelinePlan *pipeline_plan_parse(const gchar *text, GError **error)
{
  g_autoptr(PipelinePlan) plan = pipeline_plan_new();
  const gchar *first = text;
  while (g_ascii_isspace(*first)) first++;
  if (!(*first == '{' ? parse_json(plan, text, error) : parse_text(plan, text, error))) return NULL;
  return g_steal_pointer(&plan);
}

gchar *pipeline_plan_format(const PipelinePlan *plan)
{
  json_t *list = json_array(), *root = json_object();
  for (guint i = 0; i < plan->chains->len; i++) {
    const PipelineChain *chain = g_ptr_array_index(plan->chains, i);
    json_t *columns = json_array(), *steps = json_array();
    for (guint c = 0; c < 2 && chain->columns[c]; c++) json_array_append_new(columns, json_string(chain->columns[c]));
    for (guint s = 0; s < chain->steps->len; s++) {
      g_autoptr(GString) text = g_string_new("");
      append_step(text, &g_array_index(chain->steps, PipelineStep, s));
      json_array_append_new(steps, json_string(text->str));
    }
    json_array_append_new(list, json_pack("{s:o, s:o}", "columns", columns, "steps", steps));
  }
  json_object_set_new(root, "transform", list);
  char *dumped = json_dumps(root, JSON_COMPACT);
  gchar *text = g_strdup(dumped);
  free(dumped);
  json_decref(root);
  return text;
}

/* --- completing --------------------------------------------------------------------------------------------------- */

static const DriftFeature *find_input(const DriftSchema *schema, const gchar *name, GError **error)
{
  gint index = drift_schema_find_feature(schema, name);
  const DriftFeature *feature = index < 0 ? NULL : drift_schema_get_feature(schema, (guint)index);
  if (feature && feature->input) return feature;
  invalid(error, "\"%s\" is %s", name,
          strcmp(name, schema->label) == 0 ? "the label"
          : feature                        ? "a column that the model must not see"
                                           : "no column of the data");
  return NULL;
}

/* Puts "mean" in front where a number may be missing and no step says what then. */
static void add_imputation(PipelineChain *chain)
{
  const PipelineStep mean = {pipeline_transformation_find("mean", NULL), NAN};
  if (chain->steps->len == 0) return;
  const PipelineTransformation *first = g_array_index(chain->steps, PipelineStep, 0).transformation;
  if (first->takes == ONNX_TYPE_FLOAT && !first->takes_missing) g_array_prepend_val(chain->steps, mean);
}

static gboolean check_chain(PipelineChain *chain, const DriftSchema *schema, GError **error)
{
  g_autofree gchar *text = pipeline_chain_format(chain);
  const DriftFeature *features[2] = {NULL};
  for (guint i = 0; i < 2 && chain->columns[i]; i++)
    if (!(features[i] = find_input(schema, chain->columns[i], error))) return FALSE;
  if (features[1] && features[0]->kind != features[1]->kind)
    return invalid(error, "\"%s\": a number and a text cannot be joined; bin or encode them apart", text);
  if (features[0]->kind == DRIFT_NUMERIC) add_imputation(chain);
  OnnxType type = features[0]->kind == DRIFT_NUMERIC ? ONNX_TYPE_FLOAT : ONNX_TYPE_STRING;
  for (guint i = 0; i < chain->steps->len; i++) {
    const PipelineTransformation *row = g_array_index(chain->steps, PipelineStep, i).transformation;
    gboolean seconds = row->takes == ONNX_TYPE_DOUBLE && type == ONNX_TYPE_FLOAT && i == 0 && !features[1];
    if (row->takes != type && !seconds)
      return invalid(error, "\"%s\": \"%s\" takes %s here", text, row->name,
                     row->takes == ONNX_TYPE_STRING   ? "texts, and there are numbers"
                     : row->takes == ONNX_TYPE_DOUBLE ? "a column of seconds since 1970, not what is made"
                                                      : "numbers, and there are texts");
    if (row->ends && i + 1 < chain->steps->len)
      return invalid(error, "\"%s\": nothing can follow \"%s\"", text, row->name);
    type = row->gives;
  }
  return chain->steps->len == 0 || type == ONNX_TYPE_FLOAT ||
         invalid(error, "\"%s\" ends in texts; end it in one-hot, target or frequency", text);
}

gboolean pipeline_plan_complete(PipelinePlan *plan, const DriftSchema *schema, const gchar *numbers, GError **error)
{
  g_autoptr(GHashTable) begun = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < plan->chains->len; i++) {
    PipelineChain *chain = g_ptr_array_index(plan->chains, i);
    if (!check_chain(chain, schema, error)) return FALSE;
    if (!chain->columns[1]) g_hash_table_add(begun, chain->columns[0]);
  }
  for (guint i = 0; i < drift_schema_n_features(schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    if (!feature->input || g_hash_table_contains(begun, feature->name)) continue;
    const gchar *steps = feature->kind == DRIFT_NUMERIC ? numbers : "one-hot";
    g_ptr_array_add(plan->chains, pipeline_chain_new(feature->name, NULL, steps, NULL));
  }
  for (guint i = 0; i < plan->chains->len; i++)
    if (((PipelineChain *)g_ptr_array_index(plan->chains, i))->steps->len > 0) return TRUE;
  return invalid(error, "every column is dropped");
}
