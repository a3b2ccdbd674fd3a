/* The state of a mixture as JSON: everything that its graph does not say in full precision. */
#include "pipeline/mixture_internal.h"

#include <string.h>

#define FORMAT "kedge mixture 1"
#define MAX_SIZE (PIPELINE_HIDDEN_MAX + 1)
#define MAX_EXPERTS 256u

/* --- options: one table for writing and reading --------------------------------------------------------------------
 */

#define COUNT(field)                                                                                                   \
  {                                                                                                                    \
#field, G_STRUCT_OFFSET(PipelineMixtureOptions, field), TRUE                                                       \
  }
#define REAL(field)                                                                                                    \
  {                                                                                                                    \
#field, G_STRUCT_OFFSET(PipelineMixtureOptions, field), FALSE                                                      \
  }
static const struct {
  const gchar *name;
  gsize offset;
  gboolean count; /* guint; else double */
} members[] = {COUNT(block),     REAL(rate),        REAL(share),      COUNT(experts),    REAL(penalty),
               REAL(forgetting), REAL(alarm),       REAL(takeover),   COUNT(history),    COUNT(minimum_side),
               REAL(tokens),     COUNT(token_rows), COUNT(keep_rows), REAL(weight_decay)};

static json_t *options_to_json(const PipelineMixtureOptions *options)
{
  json_t *json = json_object(), *steps = json_array();
  for (guint i = 0; i < G_N_ELEMENTS(members); i++)
    json_object_set_new(json, members[i].name,
                        members[i].count ? json_integer(G_STRUCT_MEMBER(guint, options, members[i].offset))
                                         : json_real(G_STRUCT_MEMBER(double, options, members[i].offset)));
  for (guint i = 0; i < PIPELINE_MIXTURE_STEPS; i++) json_array_append_new(steps, json_integer(options->steps[i]));
  json_object_set_new(json, "steps", steps);
  json_object_set_new(json, "seed", json_integer((json_int_t)options->seed));
  json_object_set_new(json, "architecture", options->architecture ? json_string(options->architecture) : json_null());
  return json;
}

static gboolean options_from_json(const json_t *json, PipelineMixture *mixture)
{
  PipelineMixtureOptions *options = &mixture->options;
  const json_t *steps = json_object_get(json, "steps");
  for (guint i = 0; i < G_N_ELEMENTS(members); i++) {
    const json_t *member = json_object_get(json, members[i].name);
    gboolean good = members[i].count ? json_is_integer(member) && json_integer_value(member) >= 0 &&
                                           json_integer_value(member) <= G_MAXINT32
                                     : json_is_number(member);
    if (!good) return FALSE;
    if (members[i].count)
      G_STRUCT_MEMBER(guint, options, members[i].offset) = (guint)json_integer_value(member);
    else
      G_STRUCT_MEMBER(double, options, members[i].offset) = json_number_value(member);
  }
  if (json_array_size(steps) != PIPELINE_MIXTURE_STEPS || !json_is_integer(json_object_get(json, "seed"))) return FALSE;
  for (guint i = 0; i < PIPELINE_MIXTURE_STEPS; i++)
    options->steps[i] = (guint)json_integer_value(json_array_get(steps, i));
  options->seed = (guint64)json_integer_value(json_object_get(json, "seed"));
  mixture->architecture = g_strdup(json_string_value(json_object_get(json, "architecture")));
  options->architecture = mixture->architecture;
  return TRUE;
}

/* --- ridges: base64 of little-endian doubles, the upper triangle row by row ------------------------------------------
 */

static json_t *doubles_to_json(const double *values, gsize n)
{
  g_autofree guint64 *bits = g_new(guint64, n + 1);
  for (gsize i = 0; i < n; i++) {
    memcpy(&bits[i], &values[i], sizeof bits[i]);
    bits[i] = GUINT64_TO_LE(bits[i]);
  }
  g_autofree gchar *text = g_base64_encode((const guchar *)bits, n * sizeof *bits);
  return json_string(text);
}

static gboolean doubles_from_json(const json_t *json, double *values, gsize n)
{
  gsize length = 0;
  const gchar *text = json_string_value(json);
  g_autofree guchar *bytes = text != NULL ? g_base64_decode(text, &length) : NULL;
  if (bytes == NULL || length != n * sizeof *values) return FALSE;
  for (gsize i = 0; i < n; i++) {
    guint64 bits;
    memcpy(&bits, bytes + i * sizeof bits, sizeof bits);
    bits = GUINT64_FROM_LE(bits);
    memcpy(&values[i], &bits, sizeof bits);
  }
  return TRUE;
}

static json_t *head_to_json(const PipelineMixtureHead *head)
{
  gsize n = (gsize)head->size * (head->size + 1) / 2, at = 0;
  g_autofree double *triangle = g_new(double, n);
  for (guint i = 0; i < head->size; i++)
    for (guint k = i; k < head->size; k++) triangle[at++] = head->gram[(gsize)i * head->size + k];
  return json_pack("{s:i, s:i, s:o, s:o, s:o}", "size", (int)head->size, "classes", (int)head->n_classes, "gram",
                   doubles_to_json(triangle, n), "right",
                   doubles_to_json(head->right, (gsize)head->size * head->n_classes), "coefficients",
                   doubles_to_json(head->coefficients, (gsize)head->size * head->n_classes));
}

static PipelineMixtureHead *head_from_json(const json_t *json, guint classes)
{
  json_int_t size = json_integer_value(json_object_get(json, "size"));
  if (size < 1 || size > (json_int_t)MAX_SIZE || json_integer_value(json_object_get(json, "classes")) != classes)
    return NULL;
  PipelineMixtureHead *head = pipeline_mixture_head_new((guint)size, classes);
  gsize n = (gsize)size * (gsize)(size + 1) / 2, at = 0;
  g_autofree double *triangle = g_new(double, n);
  if (doubles_from_json(json_object_get(json, "gram"), triangle, n) &&
      doubles_from_json(json_object_get(json, "right"), head->right, (gsize)size * classes) &&
      doubles_from_json(json_object_get(json, "coefficients"), head->coefficients, (gsize)size * classes)) {
    for (guint i = 0; i < head->size; i++)
      for (guint k = i; k < head->size; k++) head->gram[(gsize)i * head->size + k] = triangle[at++];
    return head;
  }
  pipeline_mixture_head_free(head);
  return NULL;
}

/* --- experts ------------------------------------------------------------------------------------------------------ */

static json_t *experts_to_json(const PipelineMixture *mixture)
{
  json_t *experts = json_array();
  for (guint i = 0; i < mixture->experts->len; i++) {
    const PipelineExpert *expert = pipeline_mixture_get_expert(mixture, i);
    json_t *entry =
        json_pack("{s:s, s:s, s:f, s:I, s:I}", "name", expert->name, "kind", pipeline_expert_kinds[expert->kind],
                  "weight", expert->weight, "change", (json_int_t)expert->change, "rows", (json_int_t)expert->rows);
    if (expert->head != NULL) json_object_set_new(entry, "ridge", head_to_json(expert->head));
    json_array_append_new(experts, entry);
  }
  return experts;
}

static gboolean expert_from_json(PipelineMixture *mixture, const json_t *json, guint index)
{
  const gchar *name = json_string_value(json_object_get(json, "name"));
  const gchar *kind = json_string_value(json_object_get(json, "kind"));
  PipelineExpertKind wanted = MIN(index, PIPELINE_EXPERT_TRAINED);
  const json_t *weight = json_object_get(json, "weight");
  if (name == NULL || strchr(name, '/') != NULL || g_strcmp0(kind, pipeline_expert_kinds[wanted]) != 0 ||
      !json_is_number(weight) || !(json_number_value(weight) >= 0 && json_number_value(weight) <= 1))
    return FALSE;
  PipelineExpert *expert = pipeline_expert_new(wanted, name);
  g_ptr_array_add(mixture->experts, expert);
  expert->weight = json_number_value(weight);
  expert->change = json_integer_value(json_object_get(json, "change"));
  expert->rows = json_integer_value(json_object_get(json, "rows"));
  if (wanted != PIPELINE_EXPERT_STEADY && wanted != PIPELINE_EXPERT_RESET) return TRUE;
  expert->head = head_from_json(json_object_get(json, "ridge"), mixture->schema->classes->len);
  return expert->head != NULL;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

gchar *pipeline_mixture_state_format(const PipelineMixture *mixture)
{
  g_autofree gchar *errors = g_malloc(mixture->errors->len + 1);
  for (guint i = 0; i < mixture->errors->len; i++) errors[i] = (gchar)('0' + mixture->errors->data[i]);
  errors[mixture->errors->len] = '\0';
  json_t *json = json_pack("{s:s, s:o, s:I, s:s, s:I, s:i, s:f, s:i, s:o}", "format", FORMAT, "options",
                           options_to_json(&mixture->options), "rows", (json_int_t)mixture->rows, "errors", errors,
                           "change", (json_int_t)mixture->change, "step", (int)mixture->step, "tokens", mixture->tokens,
                           "made", (int)mixture->made, "experts", experts_to_json(mixture));
  char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
  gchar *copy = g_strdup(text);
  free(text);
  json_decref(json);
  return copy;
}

static gboolean errors_from_text(PipelineMixture *mixture, const gchar *text)
{
  gsize n = strlen(text);
  if (n > mixture->options.history || (gint64)n > mixture->rows) return FALSE;
  for (gsize i = 0; i < n; i++) {
    guint8 error = (guint8)(text[i] - '0');
    if (error > 2) return FALSE;
    g_byte_array_append(mixture->errors, &error, 1);
  }
  return TRUE;
}

static gboolean parse(PipelineMixture *mixture, json_t *json)
{
  const gchar *format = NULL, *errors = NULL;
  json_t *options = NULL, *experts = NULL;
  json_int_t rows = 0, change = 0;
  int step = 0, made = 0;
  if (json_unpack(json, "{s:s, s:o, s:I, s:s, s:I, s:i, s:F, s:i, s:o}", "format", &format, "options", &options, "rows",
                  &rows, "errors", &errors, "change", &change, "step", &step, "tokens", &mixture->tokens, "made", &made,
                  "experts", &experts) != 0 ||
      !g_str_equal(format, FORMAT) || !options_from_json(options, mixture))
    return FALSE;
  size_t n = json_array_size(experts);
  if (rows < 0 || change < -1 || change > rows || step < 0 || made < 0 || n < PIPELINE_EXPERT_TRAINED ||
      n > MIN(mixture->options.experts, MAX_EXPERTS))
    return FALSE;
  mixture->rows = rows;
  mixture->change = change;
  mixture->step = (guint)step;
  mixture->made = (guint)made;
  if (!errors_from_text(mixture, errors)) return FALSE;
  for (size_t i = 0; i < n; i++)
    if (!expert_from_json(mixture, json_array_get(experts, i), (guint)i)) return FALSE;
  return TRUE;
}

gboolean pipeline_mixture_state_parse(PipelineMixture *mixture, const gchar *text, GError **error)
{
  json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
  gboolean good = json != NULL && parse(mixture, json);
  json_decref(json);
  if (!good)
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                        "the mixture's state in the model's metadata (\"" PIPELINE_MIXTURE_KEY
                        "\") cannot be read: it was written by another release or damaged");
  return good;
}
