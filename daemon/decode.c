#include "daemon/decode_internal.h"

#include <string.h>

extern const DecoderType decoder_json, decoder_cloudevents;
const DecoderType *const decoder_types[] = {&decoder_json, &decoder_cloudevents, NULL};

const DecoderType *decoder_type_find(const gchar *format)
{
  for (const DecoderType *const *type = decoder_types; *type != NULL; type++)
    if (strcmp((*type)->format, format) == 0) return *type;
  return NULL;
}

static const struct {
  const gchar *text, *help;
} reasons[DECODE_N_REASONS] = {
    [DECODE_OK] = {"ok", "Nothing is wrong."},
    [DECODE_MALFORMED] = {"malformed",
                          "The record is not complete, valid UTF-8 JSON: look at the producer's serialiser "
                          "and its maximum record size."},
    [DECODE_TOO_LARGE] = {"too_large", "A record may have 1 MiB and a request id 512 bytes: send only what the model "
                                       "saw."},
    [DECODE_TOO_DEEP] = {"too_deep", "Objects and lists may nest 16 levels: flatten the event."},
    [DECODE_WRONG_TYPE] = {"wrong_type",
                           "A field has a type it cannot have: a number feature sent as text, for example. "
                           "Correct the producer or the model's schema."},
    [DECODE_MISSING_FIELD] = {"missing_field", "Every event needs its request id and its time: check the names under "
                                               "`fields` in the settings."},
    [DECODE_NOT_FINITE] = {"not_finite", "NaN and Infinity are not JSON: send null for a missing number."},
    [DECODE_TOO_MANY] = {"too_many", "A batch may have 16384 rows and an object 20000 fields: send smaller batches."},
    [DECODE_UNSUPPORTED] = {"unsupported",
                            "This kind of event is unknown to the format set for the topic: check `format` "
                            "in the settings, or give the topic to inference events only."},
    [DECODE_HALF_EXPIRED] = {"half_expired",
                             "The other half of the request never came to the same partition: key request "
                             "and response events by the id that they share (the CloudEvents id), and "
                             "raise half_wait_ms if responses take longer."},
};

const gchar *decode_reason_text(DecodeReason reason)
{
  return reasons[reason].text;
}

const gchar *decode_reason_help(DecodeReason reason)
{
  return reasons[reason].help;
}

DecodeReason decode_refuse(GError **error, DecodeReason reason, const gchar *field, gsize byte, const gchar *format,
                           ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_autofree gchar *name = field == NULL ? NULL : g_utf8_make_valid(field, (gssize)strnlen(field, 100));
  if (field != NULL)
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_DECODE, "field '%s' at byte %" G_GSIZE_FORMAT ": %s", name, byte,
                text);
  else
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_DECODE, "byte %" G_GSIZE_FORMAT ": %s", byte, text);
  return reason;
}

/* The first byte after the string that begins at `at` (an opening quote). */
static const guint8 *skip_string(const guint8 *at, const guint8 *end)
{
  for (at++; at < end && *at != '"'; at++)
    if (*at == '\\') at++;
  return at < end ? at + 1 : end;
}

gboolean decode_has_not_finite(const guint8 *bytes, gsize length)
{
  static const gchar *const words[] = {"NaN", "nan", "Infinity", "inf", "Inf", NULL};
  const guint8 *end = bytes + length;
  for (const guint8 *at = bytes; at < end;) {
    if (*at == '"') {
      at = skip_string(at, end);
      continue;
    }
    for (guint i = 0; words[i] != NULL; i++)
      if ((gsize)(end - at) >= strlen(words[i]) && memcmp(at, words[i], strlen(words[i])) == 0) return TRUE;
    at++;
  }
  return FALSE;
}

guint decode_depth(const guint8 *bytes, gsize length, guint limit)
{
  const guint8 *end = bytes + length;
  guint depth = 0, deepest = 0;
  for (const guint8 *at = bytes; at < end && deepest <= limit;) {
    if (*at == '"') {
      at = skip_string(at, end);
      continue;
    }
    if (*at == '{' || *at == '[') depth++;
    deepest = MAX(deepest, depth);
    if ((*at == '}' || *at == ']') && depth > 0) depth--;
    at++;
  }
  return deepest;
}
