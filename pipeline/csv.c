/* Reading is in two passes over the bytes: the first finds each column's kind (one text cell anywhere makes the whole
 * column categorical, and its earlier cells must keep their spelling), the second fills the table. */
#include "pipeline/csv.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <glib/gstdio.h>

#include "pipeline/error.h"
#include "pipeline/output_file.h"

#define MAX_FILE_BYTES ((gsize)1 << 31)
#define MAX_RECORD_BYTES (1u << 20)
#define MAX_COLUMNS 4096u
#define MAX_ROWS 100000000u
#define READ_CHUNK (1u << 16)

typedef struct {
  const gchar *name; /* of the file, for messages */
  const gchar *text, *end;
  guint64 line;      /* of the record that was read last; 1-based */
  guint64 next_line; /* of the record to come */
  GString *cells;    /* unescaped cells of the record, each NUL-terminated */
  GArray *offsets;   /* of gsize: where each cell begins in `cells` */
} CsvReader;

static const gchar *record_cell(const CsvReader *reader, guint index)
{
  return reader->cells->str + g_array_index(reader->offsets, gsize, index);
}

static gboolean fail_at(const CsvReader *reader, guint64 line, guint column, const gchar *what, GError **error)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s, line %" G_GUINT64_FORMAT ", column %u: %s", reader->name,
              line, column, what);
  return FALSE;
}

/* Copies a quoted cell; *text stands behind the opening quote and ends behind the closing one. */
static gboolean read_quoted(CsvReader *reader, const gchar **text, guint column, GError **error)
{
  const gchar *p = *text;
  guint64 opened = reader->next_line;
  for (; p < reader->end; p++) {
    if (*p == '"') {
      if (p + 1 < reader->end && p[1] == '"') {
        p++;
      } else {
        *text = p + 1;
        return TRUE;
      }
    }
    if (*p == '\n') reader->next_line++;
    if (reader->cells->len >= MAX_RECORD_BYTES)
      return fail_at(reader, opened, column, "the record is longer than 1 MiB; is a closing quote missing?", error);
    g_string_append_c(reader->cells, *p);
  }
  return fail_at(reader, opened, column, "a quote that is opened here is never closed", error);
}

static gboolean read_plain(CsvReader *reader, const gchar **text, guint column, GError **error)
{
  const gchar *start = *text, *p = start;
  while (p < reader->end && *p != ',' && *p != '\n' && *p != '\r') {
    if (*p == '"')
      return fail_at(reader, reader->next_line, column, "a quote inside an unquoted cell; quote the cell", error);
    p++;
  }
  if ((gsize)(p - start) + reader->cells->len > MAX_RECORD_BYTES)
    return fail_at(reader, reader->next_line, column, "the record is longer than 1 MiB", error);
  g_string_append_len(reader->cells, start, p - start);
  *text = p;
  return TRUE;
}

/* Checks the cell that begins at `offset`; texts become dictionary entries and JSON, so they must be UTF-8. */
static gboolean check_cell(const CsvReader *reader, gsize offset, guint64 line, guint column, GError **error)
{
  const gchar *cell = reader->cells->str + offset;
  gsize length = reader->cells->len - offset;
  if (memchr(cell, 0, length)) return fail_at(reader, line, column, "a NUL byte; is this a text file?", error);
  if (!g_utf8_validate_len(cell, length, NULL))
    return fail_at(reader, line, column, "not UTF-8; convert the file with iconv", error);
  return TRUE;
}

/* Reads the record that begins at *text. */
static gboolean read_record(CsvReader *reader, const gchar **text, GError **error)
{
  guint64 line = reader->next_line;
  const gchar *p = *text;
  g_string_truncate(reader->cells, 0);
  g_array_set_size(reader->offsets, 0);
  for (;;) {
    gsize offset = reader->cells->len;
    guint column = reader->offsets->len + 1;
    if (column > MAX_COLUMNS) return fail_at(reader, line, column, "more than 4096 columns", error);
    gboolean quoted = p < reader->end && *p == '"';
    if (quoted) p++;
    if (!(quoted ? read_quoted(reader, &p, column, error) : read_plain(reader, &p, column, error))) return FALSE;
    if (!check_cell(reader, offset, line, column, error)) return FALSE;
    g_array_append_val(reader->offsets, offset);
    g_string_append_c(reader->cells, '\0');
    if (p >= reader->end || *p != ',') break;
    p++;
  }
  if (p < reader->end && *p == '\r') p++;
  if (p < reader->end) {
    if (*p != '\n' && p[-1] != '\r')
      return fail_at(reader, line, reader->offsets->len, "text behind a closing quote; double the quotes inside a cell",
                     error);
    if (*p == '\n') p++;
  }
  reader->line = line;
  reader->next_line++;
  *text = p;
  return TRUE;
}

static gboolean record_is_blank(const CsvReader *reader)
{
  return reader->offsets->len == 1 && record_cell(reader, 0)[0] == '\0';
}

static gboolean only_line_ends(const gchar *text, const gchar *end)
{
  while (text < end && (*text == '\n' || *text == '\r')) text++;
  return text == end;
}

/* A decimal number, "inf" or "nan", blanks around it allowed. Not hexadecimal, which g_ascii_strtod would take, and not
 * a code such as 007, which must keep its zeros (as drift_value_to_number has it). */
static gboolean parse_number(const gchar *cell, double *number)
{
  while (*cell == ' ' || *cell == '\t') cell++;
  if (*cell == '\0' || strpbrk(cell, "xXpP(")) return FALSE;
  const gchar *digits = cell + (*cell == '-' || *cell == '+');
  if (digits[0] == '0' && g_ascii_isdigit(digits[1])) return FALSE;
  gchar *end = NULL;
  *number = g_ascii_strtod(cell, &end);
  if (end == cell) return FALSE;
  while (*end == ' ' || *end == '\t') end++;
  return *end == '\0';
}

/* Calls `visit` for each data record after the header. */
typedef gboolean (*RecordFunc)(CsvReader *reader, gpointer user_data, GError **error);

static gboolean each_record(CsvReader *reader, const gchar *text, guint64 line, guint n_columns, RecordFunc visit,
                            gpointer user_data, GError **error)
{
  guint64 rows = 0;
  reader->next_line = line;
  while (text < reader->end) {
    if (n_columns > 1 && only_line_ends(text, reader->end)) break;
    if (!read_record(reader, &text, error)) return FALSE;
    if (n_columns == 1 && record_is_blank(reader) && text >= reader->end && text[-1] != '"' && text[-1] != '\n') break;
    if (reader->offsets->len != n_columns) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                  "%s, line %" G_GUINT64_FORMAT ": %u cells where the header has %u columns", reader->name,
                  reader->line, reader->offsets->len, n_columns);
      return FALSE;
    }
    if (++rows > MAX_ROWS) return fail_at(reader, reader->line, 1, "more than 100 million rows", error);
    if (!visit(reader, user_data, error)) return FALSE;
  }
  return TRUE;
}

static gboolean note_kinds(CsvReader *reader, gpointer user_data, GError **error)
{
  DriftFeatureKind *kinds = user_data;
  (void)error;
  for (guint i = 0; i < reader->offsets->len; i++) {
    double number;
    const gchar *cell = record_cell(reader, i);
    if (kinds[i] == DRIFT_NUMERIC && cell[0] != '\0' && !parse_number(cell, &number)) kinds[i] = DRIFT_CATEGORICAL;
  }
  return TRUE;
}

static gboolean append_record(CsvReader *reader, gpointer user_data, GError **error)
{
  DriftTable *table = user_data;
  (void)error;
  for (guint i = 0; i < reader->offsets->len; i++) {
    DriftColumn *column = g_ptr_array_index(table->columns, i);
    const gchar *cell = record_cell(reader, i);
    double number = NAN;
    if (cell[0] == '\0')
      drift_column_append_missing(column);
    else if (column->kind == DRIFT_CATEGORICAL)
      drift_column_append_text(column, cell, -1);
    else if (parse_number(cell, &number) && !isnan(number))
      drift_column_append_number(column, number);
    else
      drift_column_append_missing(column);
  }
  table->n_rows++;
  return TRUE;
}

static gboolean check_header(const CsvReader *reader, GError **error)
{
  g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < reader->offsets->len; i++) {
    const gchar *name = record_cell(reader, i);
    if (name[0] == '\0') return fail_at(reader, reader->line, i + 1, "this column of the header has no name", error);
    if (!g_hash_table_add(seen, (gpointer)name)) {
      g_autofree gchar *what = g_strdup_printf("two columns are named \"%s\"", name);
      return fail_at(reader, reader->line, i + 1, what, error);
    }
  }
  return TRUE;
}

/* The header's names, and *text behind it. */
static gchar **read_names(CsvReader *reader, const gchar **text, GError **error)
{
  *text = reader->text;
  if (reader->end - *text >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0) *text += 3;
  if (*text == reader->end) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s is empty; the first line must name the columns",
                reader->name);
    return NULL;
  }
  if (!read_record(reader, text, error) || !check_header(reader, error)) return NULL;
  guint n_columns = reader->offsets->len;
  gchar **names = g_new0(gchar *, n_columns + 1);
  for (guint i = 0; i < n_columns; i++) names[i] = g_strdup(record_cell(reader, i));
  return names;
}

static DriftTable *parse(CsvReader *reader, GError **error)
{
  const gchar *text;
  g_auto(GStrv) names = read_names(reader, &text, error);
  if (!names) return NULL;
  guint n_columns = g_strv_length(names);
  guint64 line = reader->next_line;
  g_autofree DriftFeatureKind *kinds = g_new(DriftFeatureKind, n_columns);
  for (guint i = 0; i < n_columns; i++) kinds[i] = DRIFT_NUMERIC;
  if (!each_record(reader, text, line, n_columns, note_kinds, kinds, error)) return NULL;

  g_autoptr(DriftTable) table = drift_table_new();
  for (guint i = 0; i < n_columns; i++) drift_table_add_column(table, names[i], kinds[i]);
  if (!each_record(reader, text, line, n_columns, append_record, table, error)) return NULL;
  return g_steal_pointer(&table);
}

static void reader_init(CsvReader *reader, const gchar *name, const gchar *text, gsize length)
{
  *reader = (CsvReader){.name = name,
                        .text = text,
                        .end = text + length,
                        .next_line = 1,
                        .cells = g_string_new(NULL),
                        .offsets = g_array_new(FALSE, FALSE, sizeof(gsize))};
}

static void reader_clear(CsvReader *reader)
{
  g_string_free(reader->cells, TRUE);
  g_array_unref(reader->offsets);
}

/* --- rows without a table ----------------------------------------------------------------------------------------- */

typedef struct {
  gchar *path;
  PipelineSpill *bytes;
  CsvReader reader;
  const gchar *text; /* behind the header */
  guint64 line;
  double *numbers; /* [n_columns] */
  const gchar **texts;
  /* Of the present visit. */
  PipelineRowFunc row;
  gpointer user_data;
  guint64 n_rows;
  const DriftFeatureKind *kinds;
} CsvRows;

static void rows_free(gpointer data)
{
  CsvRows *rows = data;
  reader_clear(&rows->reader);
  pipeline_spill_free(rows->bytes);
  g_free(rows->path);
  g_free(rows->numbers);
  g_free(rows->texts);
  g_free(rows);
}

static gboolean note_kinds_and_count(CsvReader *reader, gpointer user_data, GError **error)
{
  PipelineRowStream *stream = user_data;
  stream->n_rows++;
  return note_kinds(reader, stream->kinds, error);
}

static gboolean pass_record(CsvReader *reader, gpointer user_data, GError **error)
{
  CsvRows *rows = user_data;
  for (guint i = 0; i < reader->offsets->len; i++) {
    const gchar *cell = record_cell(reader, i);
    gboolean text = rows->kinds[i] == DRIFT_CATEGORICAL;
    rows->texts[i] = text && cell[0] != '\0' ? cell : NULL;
    if (text || !parse_number(cell, &rows->numbers[i])) rows->numbers[i] = NAN;
  }
  return rows->row(rows->n_rows++, rows->numbers, rows->texts, rows->user_data, error);
}

static gboolean visit_rows(PipelineRowStream *stream, PipelineRowFunc row, gpointer user_data, GError **error)
{
  CsvRows *rows = stream->source;
  rows->row = row;
  rows->user_data = user_data;
  rows->n_rows = 0;
  rows->kinds = stream->kinds;
  return each_record(&rows->reader, rows->text, rows->line, stream->n_columns, pass_record, rows, error);
}

PipelineRowStream *pipeline_csv_open_rows(const gchar *path, GError **error)
{
  g_autoptr(PipelineSpill) bytes = pipeline_spill_read(path, PIPELINE_SPILL_ALWAYS, error);
  if (!bytes) return NULL;
  CsvRows *rows = g_new0(CsvRows, 1);
  g_autoptr(PipelineRowStream) stream = g_new0(PipelineRowStream, 1);
  *stream = (PipelineRowStream){.source = rows, .visit = visit_rows, .free_source = rows_free};
  rows->path = g_strdup(path);
  rows->bytes = g_steal_pointer(&bytes);
  reader_init(&rows->reader, rows->path, pipeline_spill_get_data(rows->bytes), pipeline_spill_get_size(rows->bytes));
  stream->names = read_names(&rows->reader, &rows->text, error);
  if (!stream->names) return NULL;
  rows->line = rows->reader.next_line;
  stream->n_columns = g_strv_length(stream->names);
  stream->kinds = g_new(DriftFeatureKind, stream->n_columns);
  for (guint i = 0; i < stream->n_columns; i++) stream->kinds[i] = DRIFT_NUMERIC;
  rows->numbers = g_new(double, stream->n_columns);
  rows->texts = g_new0(const gchar *, stream->n_columns);
  gboolean done =
      each_record(&rows->reader, rows->text, rows->line, stream->n_columns, note_kinds_and_count, stream, error);
  return done ? g_steal_pointer(&stream) : NULL;
}

/* --- whole files -------------------------------------------------------------------------------------------------- */

static FILE *open_input(const gchar *path, GError **error)
{
  if (g_str_equal(path, "-")) return stdin;
  FILE *file = g_fopen(path, "rbe");
  if (!file) {
    int code = errno;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot open %s: %s", path, g_strerror(code));
  }
  return file;
}

static GByteArray *read_everything(const gchar *path, FILE *file, GError **error)
{
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  guint8 *chunk = g_alloca(READ_CHUNK);
  for (gsize n; (n = fread(chunk, 1, READ_CHUNK, file)) > 0;) {
    if (bytes->len + n >= MAX_FILE_BYTES) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "%s is larger than 2 GiB; split it", path);
      return NULL;
    }
    g_byte_array_append(bytes, chunk, (guint)n);
  }
  if (ferror(file)) {
    int code = errno;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot read %s: %s", path, g_strerror(code));
    return NULL;
  }
  return g_steal_pointer(&bytes);
}

DriftTable *pipeline_csv_read(const gchar *path, GError **error)
{
  g_return_val_if_fail(path != NULL, NULL);
  FILE *file = open_input(path, error);
  if (!file) return NULL;
  const gchar *name = file == stdin ? "standard input" : path;
  g_autoptr(GByteArray) bytes = read_everything(name, file, error);
  if (file != stdin) fclose(file);
  if (!bytes) return NULL;

  CsvReader reader;
  reader_init(&reader, name, bytes->data ? (const gchar *)bytes->data : "", bytes->len);
  DriftTable *table = parse(&reader, error);
  reader_clear(&reader);
  return table;
}

/* --- writing -------------------------------------------------------------------------------------------------- */

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
