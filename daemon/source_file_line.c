#include "daemon/source_file_line.h"

#include <jansson.h>
#include <string.h>

enum { MARK = 0x1e };

void source_file_line_clear(SourceFileLine *line)
{
  g_free(line->decoded);
  g_free(line->key);
  g_strfreev(line->headers);
  memset(line, 0, sizeof *line);
}

static gboolean take_preamble(json_t *preamble, SourceFileLine *line)
{
  json_t *headers = json_object_get(preamble, "headers"), *item;
  line->key = g_strdup(json_string_value(json_object_get(preamble, "key")));
  line->headers = g_new0(gchar *, json_array_size(headers) + 1);
  gsize i;
  json_array_foreach (headers, i, item) {
    if (!json_is_string(item)) return FALSE;
    line->headers[i] = g_strdup(json_string_value(item));
  }
  return json_array_size(headers) % 2 == 0;
}

void source_file_line_parse(const gchar *text, gsize length, SourceFileLine *line)
{
  memset(line, 0, sizeof *line);
  line->value = (const guint8 *)text;
  line->value_length = length;
  if (length == 0 || text[0] != MARK) return;
  const gchar *mark = memchr(text + 1, MARK, length - 1);
  if (mark == NULL) return;
  json_t *preamble = json_loadb(text + 1, (gsize)(mark - text - 1), JSON_REJECT_DUPLICATES, NULL);
  if (!json_is_object(preamble) || !take_preamble(preamble, line)) {
    json_decref(preamble);
    source_file_line_clear(line);
    line->value = (const guint8 *)text;
    line->value_length = length;
    return;
  }
  line->value = (const guint8 *)mark + 1;
  line->value_length = length - (gsize)(mark + 1 - text);
  if (json_is_true(json_object_get(preamble, "base64"))) {
    g_autofree gchar *encoded = g_strndup(mark + 1, line->value_length);
    line->decoded = g_base64_decode(encoded, &line->value_length);
    line->value = line->decoded;
  }
  json_decref(preamble);
}

static json_t *make_preamble(const gchar *key, const gchar *const *headers, gboolean encoded)
{
  json_t *preamble = json_object();
  if (key != NULL && json_object_set_new(preamble, "key", json_string(key)) != 0) goto refused;
  if (headers != NULL && *headers != NULL) {
    json_t *list = json_array();
    json_object_set_new(preamble, "headers", list);
    for (; *headers != NULL; headers++)
      if (json_array_append_new(list, json_string(*headers)) != 0) goto refused;
  }
  if (encoded) json_object_set_new(preamble, "base64", json_true());
  return preamble;
refused:
  json_decref(preamble);
  return NULL;
}

GString *source_file_line_format(const gchar *key, GBytes *value, const gchar *const *headers)
{
  gsize length;
  const gchar *text = g_bytes_get_data(value, &length);
  gboolean encoded = length > 0 && (memchr(text, '\n', length) != NULL || text[0] == MARK);
  GString *out = g_string_new(NULL);
  if (encoded || key != NULL || (headers != NULL && *headers != NULL)) {
    json_t *preamble = make_preamble(key, headers, encoded);
    if (preamble == NULL) {
      g_string_free(out, TRUE);
      return NULL;
    }
    char *dumped = json_dumps(preamble, JSON_COMPACT);
    g_string_append_printf(out, "%c%s%c", MARK, dumped, MARK);
    free(dumped);
    json_decref(preamble);
  }
  if (encoded) {
    g_autofree gchar *base64 = g_base64_encode((const guchar *)text, length);
    g_string_append(out, base64);
  } else if (length > 0) {
    g_string_append_len(out, text, (gssize)length);
  }
  g_string_append_c(out, '\n');
  return out;
}
