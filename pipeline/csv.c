/* Reading is in two passes over the bytes: the first finds each column's kind (one text cell anywhere makes the whole
 * column categorical, and its earlier cells must keep their spelling), the second fills the table. */
#include "pipeline/csv.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <glib/gstdio.h>

#include "pipeline/date.h"
#include "pipeline/error.h"

#define MAX_FILE_BYTES ((gsize)1 << 31)
#define MAX_RECORD_BYTES (1u << 20)
#define MAX_COLUMNS 4096u
#define MAX_ROWS 100000000u
#define MAX_SHOWN 100 /* letters of a cell in a message */
#define READ_CHUNK (1u << 16)

/* What the cells of a column have shown so far. */
typedef struct {
  DriftFeatureKind kind;
  gboolean text;  /* the caller says so */
  gboolean seen;  /* a cell that is not empty */
  gboolean dates; /* that first one is a date: all must be */
  PipelineDate first;
} CsvColumn;

typedef struct {
  const gchar *name; /* of the file, for messages */
  const gchar *text, *end;
  guint64 line;              /* of the record that was read last; 1-based */
  guint64 next_line;         /* of the record to come */
  GString *cells;            /* unescaped cells of the record, each NUL-terminated */
  GArray *offsets;           /* of gsize: where each cell begins in `cells` */
  gchar **names;             /* of the columns; owned, NULL before the header is read */
  const gchar *const *texts; /* names of columns that are texts whatever they hold; NULL: none */
  CsvColumn *columns;
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

/* --- cells -------------------------------------------------------------------------------------------------------- */

static gboolean fail_date(const CsvReader *reader, guint column, const gchar *cell, GError **error)
{
  const CsvColumn *noted = &reader->columns[column];
  PipelineDate date;
  g_autofree gchar *shown = g_utf8_substring(cell, 0, MIN(g_utf8_strlen(cell, -1), MAX_SHOWN));
  gboolean is_date = pipeline_date_parse(cell, strlen(cell), &date);
  g_set_error(
      error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s:%" G_GUINT64_FORMAT ": column \"%s\": \"%s\" %s", reader->name,
      reader->line, reader->names[column], shown,
      !is_date ? "is not a date, as the column's first cell is (2026-11-26, 2026-11-26T10:00:00Z, or with an offset "
                 "such as +02:00); leave the cell empty where it is missing"
      : noted->first.has_zone ? "does not say its zone, as the column's first cell does; add Z or an offset"
                              : "says its zone, which the column's first cell does not; write all of them alike");
  return FALSE;
}

/* A day alone goes with every time; times with and without a zone do not go together. */
static gboolean is_date_like(const CsvColumn *column, const gchar *cell, PipelineDate *date)
{
  if (!pipeline_date_parse(cell, strlen(cell), date)) return FALSE;
  return !date->has_time || !column->first.has_time || date->has_zone == column->first.has_zone;
}

static gboolean note_cell(CsvReader *reader, guint index, const gchar *cell, GError **error)
{
  CsvColumn *column = &reader->columns[index];
  PipelineDate date;
  double number;
  if (cell[0] == '\0' || column->text) return TRUE;
  if (!column->seen) {
    column->seen = TRUE;
    column->dates = pipeline_date_parse(cell, strlen(cell), &column->first);
  }
  if (column->dates) {
    if (!is_date_like(column, cell, &date)) return fail_date(reader, index, cell, error);
    if (!column->first.has_time && date.has_time) column->first = date;
    return TRUE;
  }
  if (column->kind == DRIFT_NUMERIC && !parse_number(cell, &number)) column->kind = DRIFT_CATEGORICAL;
  return TRUE;
}

/* The number of a cell of a numeric column, of a date its seconds since 1970 (a fraction is cut off); NaN: missing. */
static double read_number(const CsvColumn *column, const gchar *cell)
{
  PipelineDate date;
  double number = NAN;
  if (column->dates)
    return pipeline_date_parse(cell, strlen(cell), &date) ? floor((double)date.microseconds / 1e6) : NAN;
  return parse_number(cell, &number) ? number : NAN;
}

static gboolean note_kinds(CsvReader *reader, gpointer user_data, GError **error)
{
  (void)user_data;
  for (guint i = 0; i < reader->offsets->len; i++)
    if (!note_cell(reader, i, record_cell(reader, i), error)) return FALSE;
  return TRUE;
}

static gboolean append_record(CsvReader *reader, gpointer user_data, GError **error)
{
  DriftTable *table = user_data;
  (void)error;
  for (guint i = 0; i < reader->offsets->len; i++) {
    DriftColumn *column = g_ptr_array_index(table->columns, i);
    const gchar *cell = record_cell(reader, i);
    double number = column->kind == DRIFT_NUMERIC ? read_number(&reader->columns[i], cell) : NAN;
    if (cell[0] != '\0' && column->kind == DRIFT_CATEGORICAL)
      drift_column_append_text(column, cell, -1);
    else if (!isnan(number))
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
  if (reader->offsets->len == 1 && strpbrk(record_cell(reader, 0), ";\t|"))
    return fail_at(reader, reader->line, 1,
                   "the header has one column alone, with a semicolon, tab or bar in its name; cells are separated by "
                   "commas: write the file so",
                   error);
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

/* The header's names into the reader, and *text behind it. */
static gboolean read_names(CsvReader *reader, const gchar **text, GError **error)
{
  *text = reader->text;
  if (reader->end - *text >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0) *text += 3;
  if (*text == reader->end) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s is empty; the first line must name the columns",
                reader->name);
    return FALSE;
  }
  if (!read_record(reader, text, error) || !check_header(reader, error)) return FALSE;
  guint n_columns = reader->offsets->len;
  reader->names = g_new0(gchar *, n_columns + 1);
  reader->columns = g_new0(CsvColumn, n_columns);
  for (guint i = 0; i < n_columns; i++) reader->names[i] = g_strdup(record_cell(reader, i));
  for (guint i = 0; i < n_columns; i++) {
    CsvColumn *column = &reader->columns[i];
    column->text = reader->texts && g_strv_contains(reader->texts, reader->names[i]);
    column->kind = column->text ? DRIFT_CATEGORICAL : DRIFT_NUMERIC;
  }
  return TRUE;
}

static DriftTable *parse(CsvReader *reader, GError **error)
{
  const gchar *text;
  if (!read_names(reader, &text, error)) return NULL;
  guint n_columns = g_strv_length(reader->names);
  guint64 line = reader->next_line;
  if (!each_record(reader, text, line, n_columns, note_kinds, NULL, error)) return NULL;

  g_autoptr(DriftTable) table = drift_table_new();
  for (guint i = 0; i < n_columns; i++) drift_table_add_column(table, reader->names[i], reader->columns[i].kind);
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
  g_strfreev(reader->names);
  g_free(reader->columns);
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
  return note_kinds(reader, NULL, error);
}

static gboolean pass_record(CsvReader *reader, gpointer user_data, GError **error)
{
  CsvRows *rows = user_data;
  for (guint i = 0; i < reader->offsets->len; i++) {
    const gchar *cell = record_cell(reader, i);
    gboolean text = rows->kinds[i] == DRIFT_CATEGORICAL;
    rows->texts[i] = text && cell[0] != '\0' ? cell : NULL;
    rows->numbers[i] = text ? NAN : read_number(&reader->columns[i], cell);
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
  if (!read_names(&rows->reader, &rows->text, error)) return NULL;
  stream->names = g_strdupv(rows->reader.names);
  rows->line = rows->reader.next_line;
  stream->n_columns = g_strv_length(stream->names);
  stream->kinds = g_new(DriftFeatureKind, stream->n_columns);
  rows->numbers = g_new(double, stream->n_columns);
  rows->texts = g_new0(const gchar *, stream->n_columns);
  gboolean done =
      each_record(&rows->reader, rows->text, rows->line, stream->n_columns, note_kinds_and_count, stream, error);
  for (guint i = 0; i < stream->n_columns; i++) stream->kinds[i] = rows->reader.columns[i].kind;
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

static gboolean too_large(const gchar *path, GError **error)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "%s is larger than 2 GiB, the most that is read as a table in memory; split it", path);
  return FALSE;
}

static GByteArray *read_everything(const gchar *path, FILE *file, GError **error)
{
  struct stat status;
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  guint8 *chunk = g_alloca(READ_CHUNK);
  if (fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode) && (guint64)status.st_size >= MAX_FILE_BYTES) {
    too_large(path, error); /* before 2 GiB of it have been read */
    return NULL;
  }
  for (gsize n; (n = fread(chunk, 1, READ_CHUNK, file)) > 0;) {
    if (bytes->len + n >= MAX_FILE_BYTES) {
      too_large(path, error);
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
  return pipeline_csv_read_as(path, NULL, error);
}

DriftTable *pipeline_csv_read_as(const gchar *path, const gchar *const *texts, GError **error)
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
  reader.texts = texts;
  DriftTable *table = parse(&reader, error);
  reader_clear(&reader);
  return table;
}
