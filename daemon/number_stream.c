#include "daemon/number_stream.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/settings.h"
#include "pipeline/npy.h"

#define MAX_RECORD_BYTES (1u << 20)
#define MAX_COLUMNS 4096u
#define MAX_SHOWN_LETTERS 60 /* of a cell in a message; whole letters, or the message is no UTF-8 */

struct _NumberStream {
  FILE *file;
  gchar *name, *column;
  guint index; /* of the column */
  guint n_columns;
  guint64 line, next_line; /* of the record read last, of the one to come; from 1 */
  GPtrArray *cells;        /* of the record: gchar*, into text */
  GString *text;
  gboolean has_first;   /* the first record is data and has not been given out */
  PipelineArray *array; /* a .npy file instead of text; then file is NULL */
  guint64 next_row;     /* of the array */
};

static gboolean fail(const NumberStream *stream, GError **error, const gchar *format, ...) G_GNUC_PRINTF(3, 4);
static gboolean fail(const NumberStream *stream, GError **error, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *what = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_DECODE, "%s:%" G_GUINT64_FORMAT ": %s", stream->name, stream->line,
              what);
  return FALSE;
}

/* Reads a record's characters into text, each cell ended by a NUL, and their offsets. *more: there was a record. */
static gboolean read_text(NumberStream *stream, GArray *offsets, gboolean *more, GError **error)
{
  gsize offset = 0;
  gboolean quoted = FALSE, was_quoted = FALSE, any = FALSE;
  int c;
  stream->line = stream->next_line;
  g_string_truncate(stream->text, 0);
  g_array_append_val(offsets, offset);
  while ((c = getc_unlocked(stream->file)) != EOF) {
    any = TRUE;
    if (c == '\n') stream->next_line++;
    if (stream->text->len > MAX_RECORD_BYTES)
      return fail(stream, error, "the record is longer than 1 MiB; is a closing quote missing?");
    if (c == '"' && (quoted || stream->text->len == g_array_index(offsets, gsize, offsets->len - 1))) {
      if (quoted) { /* a doubled quote is one of the text */
        int next = getc_unlocked(stream->file);
        if (next == '"')
          g_string_append_c(stream->text, '"');
        else
          quoted = FALSE;
        if (next != '"' && next != EOF) ungetc(next, stream->file);
      } else {
        quoted = was_quoted = TRUE;
      }
    } else if (c == '\n' && !quoted) {
      break;
    } else if (c == ',' && !quoted) {
      g_string_append_c(stream->text, '\0');
      offset = stream->text->len;
      if (offsets->len == MAX_COLUMNS) return fail(stream, error, "more than 4096 columns");
      g_array_append_val(offsets, offset);
    } else if (c == '\0') {
      return fail(stream, error, "a NUL byte; is this a text file?");
    } else {
      g_string_append_c(stream->text, (gchar)c);
    }
  }
  if (quoted) return fail(stream, error, "a quote that is opened here is never closed");
  if (ferror(stream->file)) return fail(stream, error, "%s", g_strerror(errno));
  if (!was_quoted && stream->text->len > 0 && stream->text->str[stream->text->len - 1] == '\r')
    g_string_truncate(stream->text, stream->text->len - 1);
  *more = any;
  return TRUE;
}

static gboolean read_record(NumberStream *stream, gboolean *more, GError **error)
{
  g_autoptr(GArray) offsets = g_array_new(FALSE, FALSE, sizeof(gsize));
  if (!read_text(stream, offsets, more, error)) return FALSE;
  g_ptr_array_set_size(stream->cells, 0);
  for (guint i = 0; i < offsets->len; i++)
    g_ptr_array_add(stream->cells, stream->text->str + g_array_index(offsets, gsize, i));
  return TRUE;
}

/* A decimal number, inf or nan, blanks around it allowed; NaN for nothing. */
static gboolean parse_number(const gchar *cell, double *number)
{
  g_autofree gchar *text = g_strstrip(g_strdup(cell));
  *number = NAN;
  if (*text == '\0') return TRUE;
  if (strpbrk(text, "xXpP(") != NULL) return FALSE;
  gchar *end;
  double value = g_ascii_strtod(text, &end);
  if (end == text || *end != '\0') return FALSE;
  *number = value;
  return TRUE;
}

static gboolean choose_column(NumberStream *stream, const gchar *column, GError **error)
{
  g_autoptr(GString) known = g_string_new(NULL);
  for (guint i = 0; i < stream->cells->len; i++) {
    const gchar *name = g_ptr_array_index(stream->cells, i);
    g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", name);
    if (column == NULL ? stream->cells->len > 1 : strcmp(name, column) != 0) continue;
    stream->index = i;
    stream->column = g_strdup(name);
    return TRUE;
  }
  if (!g_utf8_validate(known->str, -1, NULL)) return fail(stream, error, "the header is not UTF-8");
  if (column == NULL) return fail(stream, error, "several columns; choose one by --column: %s", known->str);
  return fail(stream, error, "no column \"%s\"; there are %s", column, known->str);
}

/* A byte order mark is no part of the first name. */
static gboolean skip_mark(NumberStream *stream)
{
  int c = getc_unlocked(stream->file);
  if (c == 0xef) return getc_unlocked(stream->file) == 0xbb && getc_unlocked(stream->file) == 0xbf;
  if (c != EOF) ungetc(c, stream->file);
  return TRUE;
}

static gboolean read_header(NumberStream *stream, const gchar *column, GError **error)
{
  gboolean more;
  stream->line = 1;
  if (!skip_mark(stream)) return fail(stream, error, "the file begins with a damaged byte order mark");
  if (!read_record(stream, &more, error)) return FALSE;
  if (!more) return fail(stream, error, "empty; a header line is needed");
  stream->n_columns = stream->cells->len;
  double number;
  const gchar *first = g_ptr_array_index(stream->cells, 0);
  if (column == NULL && stream->n_columns == 1 && *first != '\0' && parse_number(first, &number)) {
    stream->has_first = TRUE;
    stream->column = g_strdup("value");
    return TRUE;
  }
  return choose_column(stream, column, error);
}

/* The array's column "x", or "x[3]". */
static gboolean choose_array_column(NumberStream *stream, const gchar *column, GError **error)
{
  for (guint64 i = 0; i < stream->array->n_columns; i++) {
    g_autofree gchar *name =
        stream->array->n_dimensions == 1 ? g_strdup("x") : g_strdup_printf("x[%" G_GUINT64_FORMAT "]", i);
    if (column == NULL ? stream->array->n_columns > 1 : strcmp(name, column) != 0) continue;
    stream->index = (guint)i;
    stream->column = g_steal_pointer(&name);
    return TRUE;
  }
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_DECODE, "%s: %s \"%s\"; the array has %s", stream->name,
              column != NULL ? "no column" : "several columns; choose one by --column,",
              column != NULL ? column : "x[0]",
              stream->array->n_dimensions == 1 ? "the column \"x\"" : "columns \"x[0]\", \"x[1]\", …");
  return FALSE;
}

static NumberStream *open_array(const gchar *path, const gchar *column, GError **error)
{
  g_autoptr(NumberStream) stream = g_new0(NumberStream, 1);
  stream->name = g_strdup(path);
  stream->array = pipeline_npy_read(path, error);
  return stream->array != NULL && choose_array_column(stream, column, error) ? g_steal_pointer(&stream) : NULL;
}

NumberStream *number_stream_open(const gchar *path, const gchar *column, GError **error)
{
  if (g_str_has_suffix(path, ".npy")) return open_array(path, column, error);
  gboolean is_standard = strcmp(path, "-") == 0;
  FILE *file = is_standard ? stdin : fopen(path, "rb");
  if (file == NULL) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_DECODE, "%s: %s", path, g_strerror(errno));
    return NULL;
  }
  g_autoptr(NumberStream) stream = g_new0(NumberStream, 1);
  stream->file = file;
  stream->name = g_strdup(is_standard ? "standard input" : path);
  stream->next_line = 1;
  stream->cells = g_ptr_array_new();
  stream->text = g_string_new(NULL);
  return read_header(stream, column, error) ? g_steal_pointer(&stream) : NULL;
}

static gboolean is_blank(const NumberStream *stream)
{
  return stream->cells->len == 1 && *(const gchar *)g_ptr_array_index(stream->cells, 0) == '\0';
}

static gboolean next_of_array(NumberStream *stream, double *number)
{
  if (stream->next_row == stream->array->n_rows) return FALSE;
  *number = stream->array->values[stream->next_row++ * stream->array->n_columns + stream->index];
  return TRUE;
}

gboolean number_stream_next(NumberStream *stream, double *number, GError **error)
{
  if (stream->array != NULL) return next_of_array(stream, number);
  gboolean more = stream->has_first;
  if (!more && !read_record(stream, &more, error)) return FALSE;
  stream->has_first = FALSE;
  /* A blank line ends a file; in a file of one column it is an empty cell, unless nothing follows. */
  while (more && is_blank(stream) && stream->n_columns > 1)
    if (!read_record(stream, &more, error)) return FALSE;
  if (!more) return FALSE;
  if (stream->cells->len != stream->n_columns)
    return fail(stream, error, "%u cells, the header has %u", stream->cells->len, stream->n_columns);
  const gchar *cell = g_ptr_array_index(stream->cells, stream->index);
  if (parse_number(cell, number)) return TRUE;
  g_autofree gchar *shown = g_utf8_make_valid(cell, -1), *name = g_utf8_make_valid(stream->column, -1);
  if (g_utf8_strlen(shown, -1) > MAX_SHOWN_LETTERS) *g_utf8_offset_to_pointer(shown, MAX_SHOWN_LETTERS) = '\0';
  return fail(stream, error, "column \"%s\": \"%s\" is not a number", name, shown);
}

guint number_stream_next_many(NumberStream *stream, double *numbers, guint most, GError **error)
{
  if (stream->array == NULL) return most > 0 && number_stream_next(stream, numbers, error);
  guint n = 0;
  while (n < most && next_of_array(stream, &numbers[n])) n++;
  return n;
}

const gchar *number_stream_get_column(const NumberStream *stream)
{
  return stream->column;
}

void number_stream_close(NumberStream *stream)
{
  if (stream == NULL) return;
  if (stream->file != NULL && stream->file != stdin) fclose(stream->file);
  pipeline_array_free(stream->array);
  g_free(stream->name);
  g_free(stream->column);
  if (stream->cells != NULL) g_ptr_array_unref(stream->cells);
  if (stream->text != NULL) g_string_free(stream->text, TRUE);
  g_free(stream);
}
