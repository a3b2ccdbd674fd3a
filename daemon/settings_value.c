/* One option's text <-> its place in the record: a table of kinds, each with its parser, printer and clearer. */
#include "daemon/settings_internal.h"

#include <errno.h>
#include <math.h>
#include <string.h>

typedef struct {
  const gchar *text; /* for documentation and messages */
  gboolean (*store)(const SettingsOption *option, const gchar *text, gpointer place, gchar **why);
  gchar *(*format)(const SettingsOption *option, gconstpointer place);
  void (*clear)(gpointer place);
} Kind;

static gboolean in_range(const SettingsOption *option, double value, gchar **why)
{
  if (value >= option->minimum && value <= option->maximum) return TRUE;
  *why = g_strdup_printf("must be between %.15g and %.15g%s%s", option->minimum, option->maximum,
                         option->unit != NULL ? " " : "", option->unit != NULL ? option->unit : "");
  return FALSE;
}

static gboolean store_boolean(const SettingsOption *option G_GNUC_UNUSED, const gchar *text, gpointer place,
                              gchar **why)
{
  gboolean yes = strcmp(text, "true") == 0;
  if (!yes && strcmp(text, "false") != 0) {
    *why = g_strdup_printf("'%s' is neither true nor false", text);
    return FALSE;
  }
  *(gboolean *)place = yes;
  return TRUE;
}

static gchar *format_boolean(const SettingsOption *option G_GNUC_UNUSED, gconstpointer place)
{
  return g_strdup(*(const gboolean *)place ? "true" : "false");
}

static gboolean parse_whole(const gchar *text, gint64 *value, gchar **why)
{
  gchar *end = NULL;
  errno = 0;
  *value = g_ascii_strtoll(text, &end, 10);
  if (errno == 0 && end != text && *end == '\0' && !g_ascii_isspace(*text) && *text != '+') return TRUE;
  *why = g_strdup_printf("'%s' is not a whole number in decimal digits", text);
  return FALSE;
}

static gboolean store_int64(const SettingsOption *option, const gchar *text, gpointer place, gchar **why)
{
  gint64 value;
  if (!parse_whole(text, &value, why) || !in_range(option, (double)value, why)) return FALSE;
  *(gint64 *)place = value;
  return TRUE;
}

static gchar *format_int64(const SettingsOption *option G_GNUC_UNUSED, gconstpointer place)
{
  return g_strdup_printf("%" G_GINT64_FORMAT, *(const gint64 *)place);
}

static gboolean store_uint(const SettingsOption *option, const gchar *text, gpointer place, gchar **why)
{
  gint64 value;
  if (!store_int64(option, text, &value, why)) return FALSE;
  *(guint *)place = (guint)value;
  return TRUE;
}

static gchar *format_uint(const SettingsOption *option G_GNUC_UNUSED, gconstpointer place)
{
  return g_strdup_printf("%u", *(const guint *)place);
}

static gboolean store_uint64(const SettingsOption *option, const gchar *text, gpointer place, gchar **why)
{
  g_autoptr(GError) error = NULL;
  guint64 value;
  if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &value, &error)) {
    *why = g_strdup_printf("'%s' is not a whole number in decimal digits from 0 to 18446744073709551615", text);
    return FALSE;
  }
  if (!in_range(option, (double)value, why)) return FALSE;
  *(guint64 *)place = value;
  return TRUE;
}

static gchar *format_uint64(const SettingsOption *option G_GNUC_UNUSED, gconstpointer place)
{
  return g_strdup_printf("%" G_GUINT64_FORMAT, *(const guint64 *)place);
}

static gboolean store_double(const SettingsOption *option, const gchar *text, gpointer place, gchar **why)
{
  gchar *end = NULL;
  double value = g_ascii_strtod(text, &end);
  if (end == text || *end != '\0' || !isfinite(value) || strpbrk(text, "xX \t") != NULL) {
    *why = g_strdup_printf("'%s' is not a number", text);
    return FALSE;
  }
  if (!in_range(option, value, why)) return FALSE;
  *(double *)place = value;
  return TRUE;
}

static gchar *format_double(const SettingsOption *option G_GNUC_UNUSED, gconstpointer place)
{
  gchar buffer[G_ASCII_DTOSTR_BUF_SIZE];
  double value = *(const double *)place;
  g_ascii_formatd(buffer, sizeof buffer, "%.15g", value);
  if (g_ascii_strtod(buffer, NULL) != value) g_ascii_dtostr(buffer, sizeof buffer, value);
  return g_strdup(buffer);
}

static gboolean store_text(const SettingsOption *option G_GNUC_UNUSED, const gchar *text, gpointer place, gchar **why)
{
  for (const gchar *c = text; *c != '\0'; c++)
    if (g_ascii_iscntrl(*c)) {
      *why = g_strdup("contains a control character");
      return FALSE;
    }
  g_free(*(gchar **)place);
  *(gchar **)place = g_strdup(text);
  return TRUE;
}

/* Always quoted: a bare word could read as a number, a boolean or null elsewhere. */
static gchar *quote(const gchar *text)
{
  GString *out = g_string_new("\"");
  for (const gchar *c = text; *c != '\0'; c++) {
    if (*c == '"' || *c == '\\') g_string_append_c(out, '\\');
    g_string_append_c(out, *c);
  }
  g_string_append_c(out, '"');
  return g_string_free(out, FALSE);
}

static gchar *format_text(const SettingsOption *option G_GNUC_UNUSED, gconstpointer place)
{
  return quote(*(gchar *const *)place);
}

static void clear_text(gpointer place)
{
  g_clear_pointer((gchar **)place, g_free);
}

static gboolean is_choice(const SettingsOption *option, const gchar *text, gint *index, gchar **why)
{
  for (gint i = 0; option->choices[i] != NULL; i++)
    if (strcmp(option->choices[i], text) == 0) {
      *index = i;
      return TRUE;
    }
  g_autofree gchar *choices = g_strjoinv(", ", (gchar **)option->choices);
  *why = g_strdup_printf("'%s' is not one of: %s", text, choices);
  return FALSE;
}

static gboolean store_choice(const SettingsOption *option, const gchar *text, gpointer place, gchar **why)
{
  gint index;
  return is_choice(option, text, &index, why) && store_text(option, text, place, why);
}

static gboolean store_index(const SettingsOption *option, const gchar *text, gpointer place, gchar **why)
{
  return is_choice(option, text, place, why);
}

static gchar *format_index(const SettingsOption *option, gconstpointer place)
{
  return quote(option->choices[*(const gint *)place]);
}

/* One more item at the end of the list. */
static gboolean store_item(const SettingsOption *option, const gchar *text, gpointer place, gchar **why)
{
  g_autofree gchar *item = NULL;
  gint index;
  if (option->choices != NULL && !is_choice(option, text, &index, why)) return FALSE;
  if (!store_text(option, text, &item, why)) return FALSE;
  gchar ***list = place;
  guint n = *list == NULL ? 0 : g_strv_length(*list);
  *list = g_renew(gchar *, *list, n + 2);
  (*list)[n] = g_steal_pointer(&item);
  (*list)[n + 1] = NULL;
  return TRUE;
}

static gchar *format_items(const SettingsOption *option G_GNUC_UNUSED, gconstpointer place)
{
  GString *out = g_string_new("[");
  gchar **list = *(gchar * *const *)place;
  for (guint i = 0; list != NULL && list[i] != NULL; i++) {
    g_autofree gchar *item = quote(list[i]);
    g_string_append_printf(out, "%s%s", i > 0 ? ", " : "", item);
  }
  g_string_append_c(out, ']');
  return g_string_free(out, FALSE);
}

static void clear_items(gpointer place)
{
  g_clear_pointer((gchar ***)place, g_strfreev);
}

static const Kind kinds[] = {
    [SETTINGS_BOOLEAN] = {"true or false", store_boolean, format_boolean, NULL},
    [SETTINGS_UINT] = {"whole number", store_uint, format_uint, NULL},
    [SETTINGS_INT64] = {"whole number", store_int64, format_int64, NULL},
    [SETTINGS_UINT64] = {"whole number", store_uint64, format_uint64, NULL},
    [SETTINGS_DOUBLE] = {"number", store_double, format_double, NULL},
    [SETTINGS_TEXT] = {"text", store_text, format_text, clear_text},
    [SETTINGS_CHOICE] = {"word", store_choice, format_text, clear_text},
    [SETTINGS_INDEX] = {"word", store_index, format_index, NULL},
    [SETTINGS_TEXT_LIST] = {"list of texts", store_item, format_items, clear_items},
    [SETTINGS_SECTION] = {"section", NULL, NULL, NULL},
    [SETTINGS_LIST] = {"list of sections", NULL, NULL, NULL},
};

const gchar *settings_kind_text(SettingsKind kind)
{
  return kinds[kind].text;
}

gboolean settings_value_store(const SettingsOption *option, const gchar *text, gpointer record, gchar **why)
{
  return kinds[option->kind].store(option, text, (guint8 *)record + option->offset, why);
}

gchar *settings_value_format(const SettingsOption *option, gconstpointer record)
{
  return kinds[option->kind].format(option, (const guint8 *)record + option->offset);
}

void settings_record_clear(const SettingsOption *options, gpointer record)
{
  for (const SettingsOption *option = options; option->key != NULL; option++) {
    guint8 *place = (guint8 *)record + option->offset;
    if (option->kind == SETTINGS_SECTION) {
      settings_record_clear(option->section, record);
    } else if (option->kind == SETTINGS_LIST) {
      guint8 *items = *(guint8 **)place;
      guint n = *(guint *)((guint8 *)record + option->count_offset);
      for (guint i = 0; i < n; i++) settings_record_clear(option->section, items + i * option->size);
      g_free(items);
      *(guint8 **)place = NULL;
    } else if (kinds[option->kind].clear != NULL) {
      kinds[option->kind].clear(place);
    }
  }
}
