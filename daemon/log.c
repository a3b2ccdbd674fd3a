#include "daemon/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  gboolean journald, debug;
} LogTarget;

static const gchar *level_name(GLogLevelFlags level)
{
  if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL)) return "error";
  if (level & G_LOG_LEVEL_WARNING) return "warning";
  if (level & G_LOG_LEVEL_MESSAGE) return "notice";
  return level & G_LOG_LEVEL_INFO ? "info" : "debug";
}

/* Fields that GLib adds for itself say nothing to an operator. */
static gboolean is_own_field(const gchar *key)
{
  static const gchar *const others[] = {"MESSAGE", "PRIORITY", "GLIB_DOMAIN", "CODE_FILE", "CODE_LINE", "CODE_FUNC"};
  for (guint i = 0; i < G_N_ELEMENTS(others); i++) {
    if (g_str_equal(key, others[i])) return FALSE;
  }
  return !g_str_has_prefix(key, "GLIB_");
}

static gchar *field_text(const GLogField *field)
{
  gchar *text =
      field->length < 0 ? g_utf8_make_valid(field->value, -1) : g_utf8_make_valid(field->value, field->length);
  /* One line an entry, and nothing that drives a terminal. */
  for (gchar *c = text; *c != '\0'; c++) {
    if (g_ascii_iscntrl(*c)) *c = ' ';
  }
  return text;
}

static gchar *format_line(GLogLevelFlags level, const GLogField *fields, gsize n_fields)
{
  g_autoptr(GDateTime) now = g_date_time_new_now_utc();
  g_autofree gchar *time = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
  g_autofree gchar *message = NULL;
  g_autoptr(GString) rest = g_string_new(NULL);
  for (gsize i = 0; i < n_fields; i++) {
    if (g_str_equal(fields[i].key, "MESSAGE")) {
      g_free(message);
      message = field_text(&fields[i]);
    } else if (is_own_field(fields[i].key)) {
      g_autofree gchar *value = field_text(&fields[i]);
      g_string_append_printf(rest, " %s=%s", fields[i].key, value);
    }
  }
  return g_strdup_printf("%s.%03dZ %s %s%s\n", time, g_date_time_get_microsecond(now) / 1000, level_name(level),
                         message != NULL ? message : "", rest->str);
}

static GLogWriterOutput write_log(GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  const LogTarget *target = user_data;
  if (level & G_LOG_LEVEL_DEBUG && !target->debug) return G_LOG_WRITER_HANDLED;
  if (target->journald && g_log_writer_journald(level, fields, n_fields, NULL) == G_LOG_WRITER_HANDLED)
    return G_LOG_WRITER_HANDLED;
  g_autofree gchar *line = format_line(level, fields, n_fields);
  fputs(line, stderr);
  return G_LOG_WRITER_HANDLED;
}

void log_start(void)
{
  LogTarget *target = g_new0(LogTarget, 1); /* lives as long as the process */
  target->journald = g_log_writer_is_journald(STDERR_FILENO);
  target->debug = g_strcmp0(g_getenv("KEDGE_DEBUG"), "1") == 0;
  g_log_set_writer_func(write_log, target, g_free);
}
