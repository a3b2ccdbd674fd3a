/* Tables as CSV. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/csv.h"
#include "pipeline/error.h"
#include "pipeline/output_file.h"

static void append_quoted(GString *out, const gchar *text, gsize length)
{
  gboolean plain = length > 0 && text[0] != ' ' && text[length - 1] != ' ';
  for (gsize i = 0; plain && i < length; i++) plain = !strchr(",\"\r\n", text[i]);
  if (plain) {
    g_string_append_len(out, text, length);
    return;
  }
  g_string_append_c(out, '"');
  for (gsize i = 0; i < length; i++) {
    if (text[i] == '"') g_string_append_c(out, '"');
    g_string_append_c(out, text[i]);
  }
  g_string_append_c(out, '"');
}

/* The shortest decimal that reads back as the same double. */
static void append_number(GString *out, double number)
{
  gchar text[G_ASCII_DTOSTR_BUF_SIZE];
  for (int digits = 15; digits <= 17; digits++) {
    g_autofree gchar *format = g_strdup_printf("%%.%dg", digits);
    g_ascii_formatd(text, sizeof text, format, number);
    if (g_ascii_strtod(text, NULL) == number) break;
  }
  g_string_append(out, text);
}

static void append_row(GString *out, const DriftTable *table, guint64 row)
{
  for (guint i = 0; i < table->columns->len; i++) {
    DriftValue value = drift_column_get_value(g_ptr_array_index(table->columns, i), row);
    if (i > 0) g_string_append_c(out, ',');
    if (value.kind == DRIFT_VALUE_NUMBER)
      append_number(out, value.number);
    else if (value.kind == DRIFT_VALUE_TEXT)
      append_quoted(out, value.text, value.length);
    else if (table->columns->len == 1)
      g_string_append(out, "\"\""); /* a bare empty line would read as no row at all */
  }
  g_string_append_c(out, '\n');
}

gboolean pipeline_csv_write(const gchar *path, const DriftTable *table, GError **error)
{
  g_return_val_if_fail(path != NULL && table != NULL, FALSE);
  g_autoptr(GString) out = g_string_new(NULL);
  for (guint i = 0; i < table->columns->len; i++) {
    const DriftColumn *column = g_ptr_array_index(table->columns, i);
    if (i > 0) g_string_append_c(out, ',');
    append_quoted(out, column->name, strlen(column->name));
  }
  g_string_append_c(out, '\n');
  for (guint64 row = 0; row < table->n_rows; row++) append_row(out, table, row);

  if (g_str_equal(path, "-")) {
    if (fwrite(out->str, 1, out->len, stdout) == out->len && fflush(stdout) == 0) return TRUE;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot write to standard output: %s", g_strerror(errno));
    return FALSE;
  }
  g_autoptr(GError) cause = NULL;
  if (pipeline_output_file_write(path, out->str, out->len, &cause)) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot write %s: %s", path, cause->message);
  return FALSE;
}
