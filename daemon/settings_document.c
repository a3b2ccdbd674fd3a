/* The table of options as documentation, and settings as YAML. */
#include "daemon/settings_internal.h"

#include <string.h>

typedef void (*OptionWriter)(GString *out, const SettingsOption *option, const gchar *path, guint depth);

static void each_option(GString *out, const SettingsOption *options, const gchar *prefix, guint depth,
                        OptionWriter write)
{
  for (; options->key != NULL; options++) {
    gboolean is_list = options->kind == SETTINGS_LIST;
    g_autofree gchar *path = g_strconcat(prefix, *prefix != '\0' ? "." : "", options->key, is_list ? "[]" : "", NULL);
    write(out, options, path, depth);
    if (options->section != NULL) each_option(out, options->section, path, depth + 1, write);
  }
}

/* "whole number, ms, 0 to 60000; default 100" */
static gchar *describe(const SettingsOption *option)
{
  GString *out = g_string_new(settings_kind_text(option->kind));
  if (option->choices != NULL) {
    g_autofree gchar *choices = g_strjoinv(", ", (gchar **)option->choices);
    g_string_append_printf(out, ": %s", choices);
  }
  if (option->unit != NULL) g_string_append_printf(out, ", %s", option->unit);
  if (option->maximum > option->minimum)
    g_string_append_printf(out, ", %.15g to %.15g", option->minimum, option->maximum);
  if (option->required) g_string_append(out, "; required");
  if (option->fallback != NULL) g_string_append_printf(out, "; default %s", option->fallback);
  if (option->computed != NULL) g_string_append_printf(out, "; default: %s", option->computed);
  return g_string_free(out, FALSE);
}

static void write_markdown(GString *out, const SettingsOption *option, const gchar *path, guint depth)
{
  if (option->section != NULL) {
    g_string_append_printf(out, "\n%.*s `%s`\n\n%s\n\n", (int)depth + 2, "######", path, option->help);
    return;
  }
  g_autofree gchar *description = describe(option);
  g_string_append_printf(out, "* `%s` (%s): %s\n", path, description, option->help);
}

gchar *settings_document_markdown(void)
{
  GString *out = g_string_new("# Settings: kedge.yaml\n\nA `[]` stands for the items of a list.\n\n");
  each_option(out, settings_options, "", 0, write_markdown);
  return g_string_free(out, FALSE);
}

static void append_roff(GString *out, const gchar *text)
{
  for (const gchar *c = text; *c != '\0'; c++) {
    if (*c == '\\')
      g_string_append(out, "\\e");
    else if (*c == '-')
      g_string_append(out, "\\-");
    else if ((*c == '.' || *c == '\'') && (c == text || c[-1] == '\n'))
      g_string_append_printf(out, "\\&%c", *c);
    else
      g_string_append_c(out, *c);
  }
}

static void write_man(GString *out, const SettingsOption *option, const gchar *path, guint depth G_GNUC_UNUSED)
{
  if (option->section != NULL) {
    g_string_append_printf(out, ".SS %s\n", path);
    append_roff(out, option->help);
    g_string_append_c(out, '\n');
    return;
  }
  g_autofree gchar *description = describe(option);
  g_string_append_printf(out, ".TP\n.B %s\n", path);
  append_roff(out, option->help);
  g_string_append(out, "\n.br\n(");
  append_roff(out, description);
  g_string_append(out, ")\n");
}

gchar *settings_document_man(void)
{
  GString *out = g_string_new(".SH OPTIONS\n");
  each_option(out, settings_options, "", 0, write_man);
  return g_string_free(out, FALSE);
}

/* --- settings as YAML ----------------------------------------------------------------------------------------------
 */

static gboolean is_secret(const gchar *property)
{
  static const gchar *const marks[] = {"password", "secret", "token", "key.pem", "jaas", "oauthbearer.config", NULL};
  gsize key = strcspn(property, "=");
  for (guint i = 0; marks[i] != NULL; i++)
    if (g_strstr_len(property, (gssize)key, marks[i]) != NULL) return TRUE;
  return FALSE;
}

/* "postgresql://user:PASSWORD@host/db?password=...", "postgresql:host=h password=..." -> the passwords replaced by ***
 */
static gchar *mask_uri(const gchar *uri)
{
  g_autoptr(GRegex) user = g_regex_new("(://[^:/@]*):[^@/]*@", 0, 0, NULL);
  g_autoptr(GRegex) query =
      g_regex_new("([?&]password=)[^&]*|([: ]password *= *)('(?:[^'\\\\]|\\\\.)*'|[^ ]*)", 0, 0, NULL);
  g_autofree gchar *first = g_regex_replace(user, uri, -1, 0, "\\1:***@", 0, NULL);
  return g_regex_replace(query, first, -1, 0, "\\1\\2***", 0, NULL);
}

static gchar *format_masked(const SettingsOption *option, gconstpointer record)
{
  if (option->section == NULL && strcmp(option->key, "properties") == 0) {
    g_auto(GStrv) masked = g_strdupv(*(gchar * *const *)((const guint8 *)record + option->offset));
    for (guint i = 0; masked[i] != NULL; i++)
      if (is_secret(masked[i])) {
        gchar *property = g_strdup_printf("%.*s=***", (int)strcspn(masked[i], "="), masked[i]);
        g_free(masked[i]);
        masked[i] = property;
      }
    SettingsOption plain = *option;
    plain.offset = 0;
    return settings_value_format(&plain, &masked);
  }
  if (strcmp(option->key, "store") == 0) {
    g_autofree gchar *masked = mask_uri(*(gchar *const *)((const guint8 *)record + option->offset));
    SettingsOption plain = *option;
    plain.offset = 0;
    return settings_value_format(&plain, &masked);
  }
  return settings_value_format(option, record);
}

static void append_yaml(GString *out, const SettingsOption *options, gconstpointer record, guint indent,
                        gboolean is_item)
{
  for (const SettingsOption *option = options; option->key != NULL; option++) {
    gboolean first = is_item && option == options;
    g_string_append_printf(out, "%*s%s%s:", (int)(first ? indent - 2 : indent), "", first ? "- " : "", option->key);
    if (option->kind == SETTINGS_SECTION) {
      g_string_append_c(out, '\n');
      append_yaml(out, option->section, record, indent + 2, FALSE);
    } else if (option->kind == SETTINGS_LIST) {
      const guint8 *items = *(const guint8 *const *)((const guint8 *)record + option->offset);
      guint n = *(const guint *)((const guint8 *)record + option->count_offset);
      g_string_append(out, n == 0 ? " []\n" : "\n");
      for (guint i = 0; i < n; i++) append_yaml(out, option->section, items + i * option->size, indent + 4, TRUE);
    } else {
      g_autofree gchar *value = format_masked(option, record);
      g_string_append_printf(out, " %s\n", value);
    }
  }
}

gchar *settings_to_yaml(const Settings *settings)
{
  GString *out = g_string_new(NULL);
  append_yaml(out, settings_options, settings, 0, FALSE);
  return g_string_free(out, FALSE);
}
