/* Operators on texts: StringConcat, StringSplit, StringNormalizer, RegexFullMatch. Texts are UTF-8. */
#include <string.h>

#include "pipeline/operator_internal.h"

static PipelineText keep(const PipelineCall *call, const gchar *text, gsize length)
{
  return (PipelineText){g_string_chunk_insert_len(call->texts, text, (gssize)length), length};
}

/* An empty text may have no address. */
static const gchar *start_of(const PipelineText *text)
{
  return text->text != NULL ? text->text : "";
}

static gboolean check_texts(const PipelineCall *call, guint n, GError **error)
{
  for (guint i = 0; i < n; i++)
    if (call->inputs[i]->type != ONNX_TYPE_STRING) return pipeline_operator_fail_type(call, i, error);
  return TRUE;
}

/* --- StringConcat
 * ------------------------------------------------------------------------------------------------------ */

gboolean pipeline_string_concat_infer(PipelineCall *call, GError **error)
{
  gint64 dims[ONNX_MAX_DIMENSIONS];
  guint n_dims;
  return check_texts(call, 2, error) && pipeline_broadcast_shape(call->inputs, 2, dims, &n_dims, error) &&
         pipeline_output_set(call, 0, ONNX_TYPE_STRING, n_dims, dims, error);
}

gboolean pipeline_string_concat_run(PipelineCall *call, GError **error)
{
  PipelineTensor *out = call->outputs[0];
  PipelineBroadcast walk;
  pipeline_broadcast_init(&walk, call->inputs, 2, out);
  for (gsize i = 0; i < out->n; i++) {
    const PipelineText *part[2];
    for (guint k = 0; k < 2; k++)
      part[k] = (const PipelineText *)call->inputs[k]->data + pipeline_broadcast_offset(&walk, k, i / walk.inner) +
                i % walk.inner * walk.strides[k][walk.n_dims - 1];
    if (!pipeline_charge_bytes(call, part[0]->length + part[1]->length, error)) return FALSE;
    g_autoptr(GString) joined = g_string_new_len(part[0]->text, (gssize)part[0]->length);
    g_string_append_len(joined, part[1]->text, (gssize)part[1]->length);
    ((PipelineText *)out->data)[i] = keep(call, joined->str, joined->len);
  }
  return TRUE;
}

/* --- RegexFullMatch
 * ---------------------------------------------------------------------------------------------------- */

gboolean pipeline_regex_prepare(PipelineCall *call, GError **error)
{
  g_autofree gchar *pattern = onnx_node_copy_string(call->node, "pattern", "");
  g_autofree gchar *whole = g_strdup_printf("\\A(?:%s)\\z", pattern);
  call->state = g_regex_new(whole, G_REGEX_OPTIMIZE, 0, error);
  call->state_free = (GDestroyNotify)g_regex_unref;
  return call->state != NULL;
}

gboolean pipeline_regex_infer(PipelineCall *call, GError **error)
{
  return check_texts(call, 1, error) && pipeline_output_like(call, 0, ONNX_TYPE_BOOL, call->inputs[0], error);
}

/* Patterns that look back too often end at PCRE's limit, as an error. */
gboolean pipeline_regex_run(PipelineCall *call, GError **error)
{
  const PipelineText *texts = call->inputs[0]->data;
  for (gsize i = 0; i < call->inputs[0]->n; i++) {
    GError *failure = NULL;
    if (!g_utf8_validate_len(start_of(&texts[i]), texts[i].length, NULL))
      return pipeline_operator_fail(error, "text %zu is not UTF-8", i);
    ((guint8 *)call->outputs[0]->data)[i] =
        g_regex_match_full(call->state, start_of(&texts[i]), (gssize)texts[i].length, 0, 0, NULL, &failure);
    if (failure == NULL) continue;
    g_propagate_error(error, failure);
    return FALSE;
  }
  return TRUE;
}

/* --- StringSplit
 * ------------------------------------------------------------------------------------------------------- */

static gboolean is_blank(gchar c)
{
  return g_ascii_isspace(c) || c == '\v';
}

/* The next part of *rest, or FALSE at the end. An empty delimiter: runs of white space, none at the ends. */
static gboolean next_part(const gchar *delimiter, gint64 left, PipelineText *rest, PipelineText *part)
{
  gsize n = strlen(delimiter), at = 0;
  if (rest->text == NULL) return FALSE;
  if (n == 0)
    while (rest->length > 0 && is_blank(rest->text[0])) rest->text++, rest->length--;
  if (n == 0 && rest->length == 0) return FALSE;
  *part = *rest;
  if (left != 0)
    for (; at + MAX(n, 1) <= rest->length; at++)
      if (n == 0 ? is_blank(rest->text[at]) : memcmp(rest->text + at, delimiter, n) == 0) {
        part->length = at;
        rest->text += at + MAX(n, 1);
        rest->length -= at + MAX(n, 1);
        return TRUE;
      }
  rest->text = NULL; /* the last part */
  while (n == 0 && left != 0 && part->length > 0 && is_blank(part->text[part->length - 1])) part->length--;
  return TRUE;
}

gboolean pipeline_string_split_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gint64 dims[ONNX_MAX_DIMENSIONS + 1] = {0}, limit = onnx_node_get_int(call->node, "maxsplit", -1), most = 0;
  g_autofree gchar *delimiter = onnx_node_copy_string(call->node, "delimiter", "");
  if (!check_texts(call, 1, error)) return FALSE;
  for (gsize i = 0; i < in->n; i++) {
    PipelineText rest = ((const PipelineText *)in->data)[i], part;
    if (rest.text == NULL) rest.text = "";
    gint64 count = 0;
    while (next_part(delimiter, limit < 0 ? -1 : limit - count, &rest, &part)) count++;
    most = MAX(most, count);
  }
  memcpy(dims, in->dims, in->n_dims * sizeof(gint64));
  dims[in->n_dims] = most;
  return pipeline_output_set(call, 0, ONNX_TYPE_STRING, in->n_dims + 1, dims, error) &&
         pipeline_output_set(call, 1, ONNX_TYPE_INT64, in->n_dims, in->dims, error);
}

gboolean pipeline_string_split_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *in = call->inputs[0];
  PipelineTensor *out = call->outputs[0], *counts = call->n_outputs > 1 ? call->outputs[1] : NULL;
  gint64 limit = onnx_node_get_int(call->node, "maxsplit", -1), width = out->dims[out->n_dims - 1];
  g_autofree gchar *delimiter = onnx_node_copy_string(call->node, "delimiter", "");
  for (gsize i = 0; i < in->n; i++) {
    PipelineText rest = ((const PipelineText *)in->data)[i], part, *row = (PipelineText *)out->data + i * (gsize)width;
    if (rest.text == NULL) rest.text = "";
    gint64 count = 0;
    while (next_part(delimiter, limit < 0 ? -1 : limit - count, &rest, &part)) row[count++] = part;
    if (counts != NULL) ((gint64 *)counts->data)[i] = count;
    for (; count < width; count++) row[count] = (PipelineText){"", 0};
  }
  return TRUE;
}

/* --- StringNormalizer: case and stop words
 * ------------------------------------------------------------------------------ */

static gboolean read_case(const PipelineCall *call, gchar *action, GError **error)
{
  g_autofree gchar *text = onnx_node_copy_string(call->node, "case_change_action", "NONE");
  *action = text[0];
  return strcmp(text, "LOWER") == 0 || strcmp(text, "UPPER") == 0 || strcmp(text, "NONE") == 0 ||
         pipeline_operator_fail(error, "case_change_action '%s' is unknown", text);
}

static gchar *change_case(const gchar *text, gsize length, gchar action)
{
  return action == 'L'   ? g_utf8_strdown(text, (gssize)length)
         : action == 'U' ? g_utf8_strup(text, (gssize)length)
                         : g_strndup(text, length);
}

/* A text is dropped when it equals a stop word: exactly, or with both in the new case. */
static gboolean is_stop_word(const PipelineCall *call, const gchar *text, gchar action, gboolean sensitive)
{
  const OnnxAttribute *words = onnx_node_get_attribute(call->node, "stopwords");
  if (words == NULL || words->kind != ONNX_ATTRIBUTE_STRINGS) return FALSE;
  for (guint i = 0; i < words->texts->len; i++) {
    gsize length;
    const gchar *word = g_bytes_get_data(g_ptr_array_index(words->texts, i), &length);
    if (!g_utf8_validate_len(word, length, NULL)) continue;
    g_autofree gchar *wanted = change_case(word, length, sensitive ? 'N' : action);
    if (strcmp(wanted, text) == 0) return TRUE;
  }
  return FALSE;
}

/* The texts that are left, normalised, in call->state: a GPtrArray of gchar*. */
gboolean pipeline_string_normalizer_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gboolean sensitive = onnx_node_get_int(call->node, "is_case_sensitive", 0) != 0;
  gchar action;
  if (!check_texts(call, 1, error) || !read_case(call, &action, error)) return FALSE;
  if (in->n_dims != 1 && !(in->n_dims == 2 && in->dims[0] == 1))
    return pipeline_operator_fail(error, "its input is neither [C] nor [1, C]");
  if (call->state != NULL) g_ptr_array_unref(call->state);
  GPtrArray *left = g_ptr_array_new_with_free_func(g_free);
  call->state = left;
  call->state_free = (GDestroyNotify)g_ptr_array_unref;
  for (gsize i = 0; i < in->n; i++) {
    const PipelineText *text = (const PipelineText *)in->data + i;
    if (!g_utf8_validate_len(start_of(text), text->length, NULL))
      return pipeline_operator_fail(error, "text %zu is not UTF-8", i);
    g_autofree gchar *plain = g_strndup(start_of(text), text->length);
    gchar *changed = change_case(start_of(text), text->length, action);
    if (changed[0] == '\0' || is_stop_word(call, sensitive ? plain : changed, action, sensitive))
      g_free(changed);
    else
      g_ptr_array_add(left, changed);
  }
  if (left->len == 0) g_ptr_array_add(left, g_strdup(""));
  gint64 dims[2] = {1, left->len};
  return pipeline_output_set(call, 0, ONNX_TYPE_STRING, in->n_dims, in->n_dims == 1 ? dims + 1 : dims, error);
}

gboolean pipeline_string_normalizer_run(PipelineCall *call, GError **error)
{
  (void)error;
  const GPtrArray *left = call->state;
  for (guint i = 0; i < left->len; i++) {
    const gchar *text = g_ptr_array_index(left, i);
    ((PipelineText *)call->outputs[0]->data)[i] = keep(call, text, strlen(text));
  }
  return TRUE;
}
