#include "pipeline/json_lines.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <jansson.h>
#include <glib/gstdio.h>

#include "pipeline/error.h"

#define MAX_LINE_BYTES (1u << 20)
#define MAX_COLUMNS 4096u
#define MAX_ROWS 100000000u
#define MAX_CELLS ((guint64)1 << 28)

typedef struct {
  const gchar *name; /* of the file, for messages */
  FILE *file;
  guint64 line; /* of the text, from 1 */
  GString *text;
  DriftTable *table;
  GHashTable *index_of; /* column name -> index + 1; borrows the names */
} Reader;

static gboolean fail(const Reader *reader, gint code, GError **error, const gchar *format, ...) G_GNUC_PRINTF(4, 5);
static gboolean fail(const Reader *reader, gint code, GError **error, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *what = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_set_error(error, PIPELINE_ERROR, code, "%s:%" G_GUINT64_FORMAT ": %s", reader->name, reader->line, what);
  return FALSE;
}

/* --- columns ------------------------------------------------------------------------------------------------------ */

static guint64 length_of(const DriftColumn *column)
{
  return column->kind == DRIFT_NUMERIC ? column->numbers->len : column->codes->len;
}

static DriftColumn *find_column(Reader *reader, const gchar *name, GError **error)
{
  guint index = GPOINTER_TO_UINT(g_hash_table_lookup(reader->index_of, name));
  if (index > 0) return reader->table->columns->pdata[index - 1];
  if (reader->table->columns->len == MAX_COLUMNS) {
    fail(reader, PIPELINE_ERROR_UNSUPPORTED, error, "more than %u columns", MAX_COLUMNS);
    return NULL;
  }
  DriftColumn *column = drift_table_add_column(reader->table, name, DRIFT_NUMERIC);
  g_hash_table_insert(reader->index_of, column->name, GUINT_TO_POINTER(reader->table->columns->len));
  for (guint64 row = 0; row < reader->table->n_rows; row++) drift_column_append_missing(column);
  return column;
}

/* The column as texts, its numbers in their shortest spelling. */
static DriftColumn *make_text(Reader *reader, DriftColumn *column)
{
  GPtrArray *columns = reader->table->columns;
  guint index = GPOINTER_TO_UINT(g_hash_table_lookup(reader->index_of, column->name)) - 1, last = columns->len;
  DriftColumn *texts = drift_table_add_column(reader->table, column->name, DRIFT_CATEGORICAL);
  for (guint64 row = 0; row < column->numbers->len; row++) {
    DriftValue value = drift_column_get_value(column, row);
    if (value.kind == DRIFT_VALUE_NUMBER)
      drift_column_append_number(texts, value.number);
    else
      drift_column_append_missing(texts);
  }
  columns->pdata[index] = texts;
  columns->pdata[last] = column;
  g_hash_table_replace(reader->index_of, texts->name, GUINT_TO_POINTER(index + 1));
  g_ptr_array_remove_index(columns, last); /* frees the numbers */
  return texts;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static gboolean add_cell(Reader *reader, const gchar *name, const json_t *value, GError **error)
{
  DriftColumn *column = find_column(reader, name, error);
  if (column == NULL) return FALSE;
  if (length_of(column) > reader->table->n_rows) /* of an array and of a member with the name of its element */
    return fail(reader, PIPELINE_ERROR_DATA, error, "two values of \"%s\"", name);
  const gchar *text = json_is_boolean(value) ? (json_is_true(value) ? "true" : "false") : json_string_value(value);
  if (json_is_null(value)) {
    drift_column_append_missing(column);
  } else if (json_is_number(value)) {
    drift_column_append_number(column, json_number_value(value));
  } else {
    if (column->kind == DRIFT_NUMERIC) column = make_text(reader, column);
    drift_column_append_text(column, text, json_is_string(value) ? (gssize)json_string_length(value) : -1);
  }
  return TRUE;
}

static gboolean add_array(Reader *reader, const gchar *name, const json_t *array, GError **error)
{
  for (gsize i = 0; i < json_array_size(array); i++) {
    const json_t *value = json_array_get(array, i);
    g_autofree gchar *element = g_strdup_printf("%s[%" G_GSIZE_FORMAT "]", name, i);
    if (!json_is_number(value) && !json_is_null(value))
      return fail(reader, PIPELINE_ERROR_DATA, error,
                  "\"%s\" is not a number; arrays of numbers are read as embeddings", element);
    if (!add_cell(reader, element, value, error)) return FALSE;
  }
  return TRUE;
}

static gboolean add_member(Reader *reader, const gchar *name, const json_t *value, GError **error)
{
  if (*name == '\0') return fail(reader, PIPELINE_ERROR_DATA, error, "a member without a name");
  if (json_is_object(value))
    return fail(reader, PIPELINE_ERROR_DATA, error,
                "\"%s\" is an object; only \"features\" may hold members of its own", name);
  return json_is_array(value) ? add_array(reader, name, value, error) : add_cell(reader, name, value, error);
}

static gboolean add_members(Reader *reader, json_t *object, GError **error)
{
  const gchar *name;
  json_t *value;
  json_object_foreach (object, name, value)
    if (!add_member(reader, name, value, error)) return FALSE;
  return TRUE;
}

static gboolean add_event(Reader *reader, json_t *event, GError **error)
{
  static const gchar *const outputs[] = {"prediction", "score", "latency_ms"};
  json_t *features = json_object_get(event, "features");
  if (!json_is_object(features)) return add_members(reader, event, error);
  if (!add_members(reader, features, error)) return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(outputs); i++) {
    const json_t *value = json_object_get(event, outputs[i]);
    if (value != NULL && !add_member(reader, outputs[i], value, error)) return FALSE;
  }
  return TRUE;
}

static gboolean finish_row(Reader *reader, GError **error)
{
  DriftTable *table = reader->table;
  table->n_rows++;
  for (guint i = 0; i < table->columns->len; i++) {
    DriftColumn *column = table->columns->pdata[i];
    if (length_of(column) < table->n_rows) drift_column_append_missing(column);
  }
  if (table->n_rows <= MAX_ROWS && table->n_rows * table->columns->len <= MAX_CELLS) return TRUE;
  return fail(reader, PIPELINE_ERROR_UNSUPPORTED, error, "more than %u lines or %u cells; split the file", MAX_ROWS,
              (guint)MAX_CELLS);
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

/* The next line into text; *more: there was one. */
static gboolean read_line(Reader *reader, gboolean *more, GError **error)
{
  int c = EOF;
  reader->line++;
  g_string_truncate(reader->text, 0);
  while ((c = getc_unlocked(reader->file)) != EOF && c != '\n') {
    if (reader->text->len == MAX_LINE_BYTES)
      return fail(reader, PIPELINE_ERROR_UNSUPPORTED, error, "the line is longer than 1 MiB");
    g_string_append_c(reader->text, (gchar)c);
  }
  if (ferror(reader->file)) return fail(reader, PIPELINE_ERROR_DATA, error, "%s", g_strerror(errno));
  *more = c != EOF || reader->text->len > 0;
  return TRUE;
}

static gboolean is_blank(const GString *text)
{
  return strspn(text->str, " \t\r") == text->len;
}

static gboolean read_event(Reader *reader, GError **error)
{
  json_error_t problem;
  json_t *event = json_loadb(reader->text->str, reader->text->len, JSON_REJECT_DUPLICATES, &problem);
  if (event == NULL) {
    g_autofree gchar *what = g_utf8_make_valid(problem.text, -1); /* jansson cuts what it quotes within a letter */
    return fail(reader, PIPELINE_ERROR_DATA, error, "column %d: %s", problem.column, what);
  }
  gboolean good = json_is_object(event) ? add_event(reader, event, error) && finish_row(reader, error)
                                        : fail(reader, PIPELINE_ERROR_DATA, error, "not a JSON object");
  json_decref(event);
  return good;
}

static gboolean read_lines(Reader *reader, GError **error)
{
  gboolean more;
  for (;;) {
    if (!read_line(reader, &more, error)) return FALSE;
    if (!more) return TRUE;
    if (!is_blank(reader->text) && !read_event(reader, error)) return FALSE;
  }
}

DriftTable *pipeline_json_lines_read(const gchar *path, GError **error)
{
  gboolean is_standard = g_str_equal(path, "-");
  FILE *file = is_standard ? stdin : g_fopen(path, "rbe");
  if (file == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot open %s: %s", path, g_strerror(errno));
    return NULL;
  }
  g_autoptr(DriftTable) table = drift_table_new();
  g_autoptr(GHashTable) index_of = g_hash_table_new(g_str_hash, g_str_equal);
  Reader reader = {.name = is_standard ? "standard input" : path,
                   .file = file,
                   .text = g_string_new(NULL),
                   .table = table,
                   .index_of = index_of};
  gboolean done = read_lines(&reader, error);
  g_string_free(reader.text, TRUE);
  if (!is_standard) fclose(file);
  return done ? g_steal_pointer(&table) : NULL;
}
