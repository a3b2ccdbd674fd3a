/* What commands draw for people: tables and progress bars. */
#include "daemon/command.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct _CommandTable {
  guint n_columns;
  gboolean *right; /* [n_columns] */
  GPtrArray *rows; /* of gchar** with n_columns cells; row 0 are the headers */
};

guint command_terminal_width(void)
{
  struct winsize size;
  if (!isatty(STDOUT_FILENO)) return 0;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

CommandTable *command_table_new(const gchar *const *headers)
{
  CommandTable *table = g_new0(CommandTable, 1);
  table->n_columns = g_strv_length((gchar **)headers);
  table->right = g_new0(gboolean, table->n_columns);
  table->rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
  gchar **row = g_new0(gchar *, table->n_columns + 1);
  for (guint i = 0; i < table->n_columns; i++) {
    table->right[i] = headers[i][0] == '>';
    row[i] = g_strdup(headers[i] + (table->right[i] ? 1 : 0));
  }
  g_ptr_array_add(table->rows, row);
  return table;
}

void command_table_free(CommandTable *table)
{
  if (table == NULL) return;
  g_ptr_array_unref(table->rows);
  g_free(table->right);
  g_free(table);
}

/* Cells are one line of valid UTF-8 without control characters: a text from the network must not drive the terminal. */
static gchar *clean_cell(const gchar *text)
{
  gchar *valid = g_utf8_make_valid(text, -1);
  for (gchar *c = valid; *c != '\0'; c = g_utf8_next_char(c)) {
    gunichar code = g_utf8_get_char(c);
    if (code < 0x20 || code == 0x7f)
      *c = ' ';
    else if (code >= 0x80 && code < 0xa0)
      c[0] = ' ', c[1] = ' ';
  }
  return valid;
}

void command_table_add(CommandTable *table, ...)
{
  gchar **row = g_new0(gchar *, table->n_columns + 1);
  va_list arguments;
  va_start(arguments, table);
  guint i = 0;
  for (const gchar *cell; (cell = va_arg(arguments, const gchar *)) != NULL;) {
    if (i < table->n_columns) row[i++] = clean_cell(cell);
  }
  va_end(arguments);
  while (i < table->n_columns) row[i++] = g_strdup("");
  g_ptr_array_add(table->rows, row);
}

static guint text_width(const gchar *text)
{
  guint width = 0;
  for (; *text != '\0'; text = g_utf8_next_char(text)) {
    gunichar c = g_utf8_get_char(text);
    if (!g_unichar_iszerowidth(c)) width += g_unichar_iswide(c) ? 2 : 1;
  }
  return width;
}

/* Shrinks the widest left-aligned columns (never below 8) until the lines fit; numbers are never cut. */
static void fit_widths(const CommandTable *table, guint *widths, guint width)
{
  for (;;) {
    guint total = 2 * (table->n_columns - 1), widest = table->n_columns;
    for (guint i = 0; i < table->n_columns; i++) {
      total += widths[i];
      if (!table->right[i] && widths[i] > 8 && (widest == table->n_columns || widths[i] > widths[widest])) widest = i;
    }
    if (total <= width || widest == table->n_columns) return;
    widths[widest] -= MIN(total - width, widths[widest] - 8);
  }
}

static void append_cell(GString *out, const gchar *text, guint width, gboolean right, gboolean last)
{
  guint used = text_width(text);
  g_autofree gchar *cut = NULL;
  if (used > width) {
    GString *kept = g_string_new(NULL);
    guint kept_width = 0;
    for (const gchar *c = text; kept_width + (g_unichar_iswide(g_utf8_get_char(c)) ? 2 : 1) < width;
         c = g_utf8_next_char(c)) {
      kept_width += g_unichar_iswide(g_utf8_get_char(c)) ? 2 : 1;
      g_string_append_unichar(kept, g_utf8_get_char(c));
    }
    g_string_append(kept, "…");
    used = kept_width + 1;
    text = cut = g_string_free(kept, FALSE);
  }
  guint padding = width > used ? width - used : 0;
  if (right)
    g_string_append_printf(out, "%*s%s", (int)padding, "", text);
  else
    g_string_append_printf(out, "%s%*s", text, last ? 0 : (int)padding, "");
}

gchar *command_table_format(const CommandTable *table, guint width)
{
  g_autofree guint *widths = g_new0(guint, table->n_columns);
  for (guint r = 0; r < table->rows->len; r++) {
    gchar **row = g_ptr_array_index(table->rows, r);
    for (guint i = 0; i < table->n_columns; i++) widths[i] = MAX(widths[i], text_width(row[i]));
  }
  if (width > 0) fit_widths(table, widths, width);
  GString *out = g_string_new(NULL);
  for (guint r = 0; r < table->rows->len; r++) {
    gchar **row = g_ptr_array_index(table->rows, r);
    gsize start = out->len;
    for (guint i = 0; i < table->n_columns; i++) {
      if (i > 0) g_string_append(out, "  ");
      append_cell(out, row[i], widths[i], table->right[i], i + 1 == table->n_columns);
    }
    while (out->len > start && out->str[out->len - 1] == ' ') g_string_truncate(out, out->len - 1);
    g_string_append_c(out, '\n');
  }
  return g_string_free(out, FALSE);
}

void command_table_print(CommandTable *table)
{
  g_autofree gchar *text = command_table_format(table, command_terminal_width());
  fputs(text, stdout);
  command_table_free(table);
}

/* --- cells ---------------------------------------------------------------------------------------------------- */

#define UNDEFINED "–"

gchar *command_text_count(json_t *value)
{
  if (!json_is_integer(value)) return g_strdup(UNDEFINED);
  json_int_t number = json_integer_value(value);
  g_autofree gchar *digits = g_strdup_printf("%" G_GUINT64_FORMAT, number < 0 ? -(guint64)number : (guint64)number);
  gsize length = strlen(digits);
  GString *out = g_string_new(number < 0 ? "-" : "");
  for (gsize i = 0; i < length; i++) {
    if (i > 0 && (length - i) % 3 == 0) g_string_append_c(out, ',');
    g_string_append_c(out, digits[i]);
  }
  return g_string_free(out, FALSE);
}

gchar *command_text_real(json_t *value, guint decimals)
{
  if (!json_is_number(value)) return g_strdup(UNDEFINED);
  return g_strdup_printf("%.*f", (int)decimals, json_number_value(value));
}

gchar *command_text_time(json_t *value)
{
  const gchar *text = json_string_value(value);
  if (text == NULL) return g_strdup(UNDEFINED);
  gchar *out = g_strndup(text, strlen("2026-11-26T10:48:05"));
  return g_strdelimit(out, "T", ' ');
}

gchar *command_text(json_t *value)
{
  if (json_is_string(value)) return g_strdup(json_string_value(value));
  if (json_is_integer(value)) return g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
  if (json_is_real(value)) return g_strdup_printf("%.6g", json_real_value(value));
  if (json_is_boolean(value)) return g_strdup(json_is_true(value) ? "yes" : "no");
  return g_strdup(UNDEFINED);
}

void command_print_fields(json_t *object, const gchar *left_out)
{
  static const gchar *const headers[] = {"FIELD", "VALUE", NULL};
  CommandTable *table = command_table_new(headers);
  const gchar *key;
  json_t *value;
  json_object_foreach (object, key, value) {
    if (g_strcmp0(key, left_out) == 0) continue;
    gboolean nested = json_is_object(value) || json_is_array(value);
    char *dumped = nested ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    g_autofree gchar *text = nested ? g_strdup(dumped) : command_text(value);
    free(dumped);
    command_table_add(table, key, text, NULL);
  }
  g_autofree gchar *text = command_table_format(table, 0);
  fputs(text, stdout);
  command_table_free(table);
}

/* --- progress ------------------------------------------------------------------------------------------------ */

enum { BAR_WIDTH = 30, REDRAW_INTERVAL_US = 100000 };

struct _CommandProgress {
  gchar *title;
  gboolean silent, terminal;
  gint last_tenth;
  gint64 drawn_at, started_at; /* monotonic, microseconds */
};

CommandProgress *command_progress_new(const CommandCommon *common, const gchar *title)
{
  CommandProgress *progress = g_new0(CommandProgress, 1);
  progress->title = g_strdup(title);
  progress->silent = common->quiet || common->json;
  progress->terminal = isatty(STDERR_FILENO);
  progress->last_tenth = -1;
  progress->drawn_at = G_MININT64;
  progress->started_at = g_get_monotonic_time();
  return progress;
}

static void draw_bar(const CommandProgress *progress, double fraction, const gchar *text)
{
  guint full = (guint)(fraction * BAR_WIDTH);
  fprintf(stderr, "\r\033[K%s [", progress->title);
  for (guint i = 0; i < BAR_WIDTH; i++) fputs(i < full ? "█" : "·", stderr);
  fprintf(stderr, "] %3.0f %%  %s", fraction * 100, text != NULL ? text : "");
  fflush(stderr);
}

void command_progress_update(CommandProgress *progress, double fraction, const gchar *text)
{
  if (progress->silent) return;
  fraction = isnan(fraction) ? 0 : CLAMP(fraction, 0, 1);
  if (progress->terminal) {
    gint64 now = g_get_monotonic_time();
    if (fraction < 1 && now < progress->drawn_at + REDRAW_INTERVAL_US && progress->drawn_at != G_MININT64) return;
    progress->drawn_at = now;
    draw_bar(progress, fraction, text);
    return;
  }
  gint tenth = (gint)(fraction * 10);
  if (tenth <= progress->last_tenth) return;
  progress->last_tenth = tenth;
  fprintf(stderr, "%s: %d %%%s%s\n", progress->title, tenth * 10, text != NULL ? "  " : "", text != NULL ? text : "");
}

void command_progress_finish(CommandProgress *progress, const gchar *text)
{
  if (!progress->silent) {
    double seconds = (double)(g_get_monotonic_time() - progress->started_at) / G_USEC_PER_SEC;
    fprintf(stderr, "%s%s: %s (%.1f s)\n", progress->terminal ? "\r\033[K" : "", progress->title,
            text != NULL ? text : "done", seconds);
  }
  g_free(progress->title);
  g_free(progress);
}
