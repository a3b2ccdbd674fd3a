#include "pipeline/npy_internal.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "pipeline/error.h"

#define MAX_FILE_BYTES ((gsize)1 << 31)
#define MAX_HEADER_BYTES (PIPELINE_NPY_HEADER_BYTES - 12u)

/* --- elements ----------------------------------------------------------------------------------------------------- */

static double read_f2(const PipelineNpyElement *e)
{
  guint exponent = e->u2 >> 10 & 31, fraction = e->u2 & 1023;
  double size = exponent == 0    ? ldexp(fraction, -24)
                : exponent != 31 ? ldexp(fraction + 1024, (int)exponent - 25)
                : fraction == 0  ? INFINITY
                                 : NAN;
  return e->u2 >> 15 ? -size : size;
}

#define READ(member)                                                                                                   \
  static double read_##member(const PipelineNpyElement *e)                                                             \
  {                                                                                                                    \
    return (double)e->member;                                                                                          \
  }
READ(i1)
READ(u1)
READ(i2)
READ(u2)
READ(i4)
READ(u4)
READ(i8)
READ(u8)
READ(f4)
READ(f8)

static const PipelineNpyType element_types[] = {{"b1", 1, read_u1}, {"i1", 1, read_i1}, {"u1", 1, read_u1},
                                                {"i2", 2, read_i2}, {"u2", 2, read_u2}, {"i4", 4, read_i4},
                                                {"u4", 4, read_u4}, {"i8", 8, read_i8}, {"u8", 8, read_u8},
                                                {"f2", 2, read_f2}, {"f4", 4, read_f4}, {"f8", 8, read_f8}};

/* --- header ------------------------------------------------------------------------------------------------------- */

/* A place in the header's text, which is a Python dictionary of three known keys. */
typedef struct {
  const gchar *name;
  const gchar *at, *end;
} Cursor;

static gboolean fail(const gchar *name, gint code, GError **error, const gchar *format, ...) G_GNUC_PRINTF(4, 5);
static gboolean fail(const gchar *name, gint code, GError **error, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *what = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_set_error(error, PIPELINE_ERROR, code, "%s: %s", name, what);
  return FALSE;
}

static gboolean bad_header(const Cursor *cursor, const gchar *expected, GError **error)
{
  return fail(cursor->name, PIPELINE_ERROR_DATA, error, "its header is not of a .npy file: %s expected", expected);
}

static void skip_blanks(Cursor *cursor)
{
  while (cursor->at < cursor->end && strchr(" \t\n", *cursor->at) != NULL && *cursor->at != '\0') cursor->at++;
}

static gboolean take(Cursor *cursor, gchar letter)
{
  skip_blanks(cursor);
  if (cursor->at == cursor->end || *cursor->at != letter) return FALSE;
  cursor->at++;
  return TRUE;
}

static gboolean take_word(Cursor *cursor, const gchar *word)
{
  gsize length = strlen(word);
  skip_blanks(cursor);
  if ((gsize)(cursor->end - cursor->at) < length || memcmp(cursor->at, word, length) != 0) return FALSE;
  cursor->at += length;
  return TRUE;
}

/* A quoted text without escapes, at most size - 1 bytes. */
static gboolean take_text(Cursor *cursor, gchar *out, gsize size)
{
  skip_blanks(cursor);
  if (cursor->at == cursor->end || (*cursor->at != '\'' && *cursor->at != '"')) return FALSE;
  gchar quote = *cursor->at++;
  gsize length = 0;
  while (cursor->at < cursor->end && *cursor->at != quote) {
    if (*cursor->at == '\\' || length + 1 >= size) return FALSE;
    out[length++] = *cursor->at++;
  }
  out[length] = '\0';
  return take(cursor, quote);
}

static gboolean read_type(Cursor *cursor, PipelineNpyHeader *header, GError **error)
{
  gchar text[16];
  if (!take_text(cursor, text, sizeof text))
    return fail(cursor->name, PIPELINE_ERROR_UNSUPPORTED, error,
                "it holds structured values; save an array of numbers (of one dtype)");
  gchar order = *text;
  header->swapped = order == (G_BYTE_ORDER == G_LITTLE_ENDIAN ? '>' : '<');
  for (guint i = 0; strchr("<>|=", order) != NULL && order != '\0' && i < G_N_ELEMENTS(element_types); i++)
    if (strcmp(text + 1, element_types[i].code) == 0) header->type = &element_types[i];
  if (header->type != NULL) return TRUE;
  g_autofree gchar *shown = g_utf8_make_valid(text, -1);
  return fail(
      cursor->name, PIPELINE_ERROR_UNSUPPORTED, error,
      "it holds values of type \"%s\"; numbers and truth values are read (f2, f4, f8, i1 to i8, u1 to u8, b1)%s", shown,
      strchr(text, 'O') != NULL ? ", never objects, which are pickled programs" : "");
}

static gboolean read_order(Cursor *cursor, PipelineNpyHeader *header, GError **error)
{
  header->fortran = take_word(cursor, "True");
  return header->fortran || take_word(cursor, "False") || bad_header(cursor, "\"fortran_order\": True or False", error);
}

static gboolean read_shape(Cursor *cursor, PipelineNpyHeader *header, GError **error)
{
  static const gchar expected[] = "\"shape\": (rows,) or (rows, columns)";
  if (!take(cursor, '(')) return bad_header(cursor, expected, error);
  while (!take(cursor, ')')) {
    guint64 size = 0;
    guint n_digits = 0;
    skip_blanks(cursor);
    for (; cursor->at < cursor->end && g_ascii_isdigit(*cursor->at) && n_digits < 18; cursor->at++, n_digits++)
      size = size * 10 + (guint64)(*cursor->at - '0');
    gboolean last = !take(cursor, ',');
    if (n_digits == 0 || (last && (cursor->at == cursor->end || *cursor->at != ')')))
      return bad_header(cursor, expected, error);
    if (header->n_dimensions > 0 && header->n_row_dims < G_N_ELEMENTS(header->row_dims))
      header->row_dims[header->n_row_dims++] = size;
    else if (header->n_dimensions > 0)
      return fail(cursor->name, PIPELINE_ERROR_UNSUPPORTED, error, "it has more than nine dimensions");
    if (header->n_dimensions == 2 && header->fold) {
      if (size != 0 && header->shape[1] > PIPELINE_NPY_MAX_VALUES / size) /* refused by check_size */
        size = 1, header->shape[1] = G_MAXUINT32;
      header->shape[1] *= size;
      continue;
    }
    if (header->n_dimensions == 2)
      return fail(cursor->name, PIPELINE_ERROR_UNSUPPORTED, error,
                  "it has more than two dimensions; reshape it to (rows, columns)");
    header->shape[header->n_dimensions++] = size;
  }
  if (header->n_dimensions > 0) return TRUE;
  return fail(cursor->name, PIPELINE_ERROR_UNSUPPORTED, error, "it is a single value; an array is needed");
}

static const struct {
  const gchar *key;
  gboolean (*read)(Cursor *cursor, PipelineNpyHeader *header, GError **error);
} keys[] = {{"descr", read_type}, {"fortran_order", read_order}, {"shape", read_shape}};

static gboolean read_member(Cursor *cursor, PipelineNpyHeader *header, GError **error)
{
  gchar key[32];
  if (!take_text(cursor, key, sizeof key) || !take(cursor, ':')) return bad_header(cursor, "a key", error);
  for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
    if (strcmp(key, keys[i].key) != 0) continue;
    if (header->found & 1u << i) return bad_header(cursor, "each key once", error);
    header->found |= 1u << i;
    return keys[i].read(cursor, header, error);
  }
  return bad_header(cursor, "\"descr\", \"fortran_order\" or \"shape\"", error);
}

static gboolean read_header(Cursor *cursor, PipelineNpyHeader *header, GError **error)
{
  if (!take(cursor, '{')) return bad_header(cursor, "\"{\"", error);
  gboolean more = TRUE;
  while (!take(cursor, '}')) {
    if (!more) return bad_header(cursor, "\",\"", error);
    if (!read_member(cursor, header, error)) return FALSE;
    more = take(cursor, ',');
  }
  skip_blanks(cursor);
  if (cursor->at != cursor->end) return bad_header(cursor, "nothing behind \"}\"", error);
  return header->found == (1u << G_N_ELEMENTS(keys)) - 1 ||
         bad_header(cursor, "\"descr\", \"fortran_order\" and \"shape\"", error);
}

/* Where the header's text is. */
static gboolean find_header(const guint8 *bytes, gsize length, Cursor *cursor, GError **error)
{
  if (length < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0)
    return fail(cursor->name, PIPELINE_ERROR_DATA, error, "no .npy file: it does not begin as one");
  if (bytes[6] < 1 || bytes[6] > 3)
    return fail(cursor->name, PIPELINE_ERROR_UNSUPPORTED, error, "format version %u; 1 to 3 are read", bytes[6]);
  gsize start = bytes[6] == 1 ? 10 : 12;
  if (length < start) return bad_header(cursor, "its length", error);
  gsize size = bytes[8] | (gsize)bytes[9] << 8;
  if (bytes[6] > 1) size |= (gsize)bytes[10] << 16 | (gsize)bytes[11] << 24;
  if (size > MAX_HEADER_BYTES || size > length - start)
    return fail(cursor->name, PIPELINE_ERROR_DATA, error,
                "its header of %" G_GSIZE_FORMAT " bytes is longer than the file or than 64 KiB", size);
  cursor->at = (const gchar *)bytes + start;
  cursor->end = cursor->at + size;
  return TRUE;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static gboolean check_size(const PipelineNpyHeader *header, gsize n_bytes, const gchar *name, GError **error)
{
  guint64 rows = header->shape[0], columns = header->n_dimensions == 2 ? header->shape[1] : 1;
  if (columns == 0 || columns > PIPELINE_NPY_MAX_COLUMNS || rows > PIPELINE_NPY_MAX_ROWS ||
      rows * columns > PIPELINE_NPY_MAX_VALUES)
    return fail(name, PIPELINE_ERROR_UNSUPPORTED, error,
                "%" G_GUINT64_FORMAT " rows of %" G_GUINT64_FORMAT
                " columns; 1 to %u columns, 100 million rows and %u values in all are read",
                rows, columns, PIPELINE_NPY_MAX_COLUMNS, PIPELINE_NPY_MAX_VALUES);
  if (rows * columns * header->type->size == n_bytes) return TRUE;
  return fail(name, PIPELINE_ERROR_DATA, error,
              "it has %" G_GSIZE_FORMAT " bytes of values where its shape takes %" G_GUINT64_FORMAT "; was it cut off?",
              n_bytes, rows * columns * header->type->size);
}

static void read_values(const PipelineNpyHeader *header, const guint8 *bytes, PipelineArray *array)
{
  gsize size = header->type->size;
  for (guint64 row = 0; row < array->n_rows; row++)
    for (guint64 column = 0; column < array->n_columns; column++) {
      guint64 index = header->fortran ? column * array->n_rows + row : row * array->n_columns + column;
      array->values[row * array->n_columns + column] = pipeline_npy_read_element(header, bytes + index * size);
    }
}

double pipeline_npy_read_element(const PipelineNpyHeader *header, const guint8 *at)
{
  PipelineNpyElement element = {{0}};
  gsize size = header->type->size;
  for (gsize i = 0; i < size; i++) element.bytes[i] = at[header->swapped ? size - 1 - i : i];
  return header->type->read(&element);
}

gboolean pipeline_npy_read_header(const guint8 *bytes, gsize length, const gchar *name, PipelineNpyHeader *header,
                                  gsize *start, GError **error)
{
  Cursor cursor = {.name = name};
  if (!find_header(bytes, length, &cursor, error) || !read_header(&cursor, header, error)) return FALSE;
  *start = (gsize)((const guint8 *)cursor.end - bytes);
  return header->n_row_dims <= 1 || !header->fortran ||
         fail(name, PIPELINE_ERROR_UNSUPPORTED, error, "more than two dimensions in Fortran order; save it in C order");
}

static PipelineArray *parse(const guint8 *bytes, gsize length, const gchar *name, gboolean fold, GError **error)
{
  PipelineNpyHeader header = {.fold = fold};
  gsize start;
  if (!pipeline_npy_read_header(bytes, length, name, &header, &start, error)) return NULL;
  const guint8 *values = bytes + start;
  if (!check_size(&header, length - start, name, error)) return NULL;
  g_autoptr(PipelineArray) array = g_new0(PipelineArray, 1);
  array->n_dimensions = header.n_dimensions;
  array->n_rows = header.shape[0];
  array->n_columns = header.n_dimensions == 2 ? header.shape[1] : 1;
  array->n_row_dims = header.n_row_dims;
  memcpy(array->row_dims, header.row_dims, sizeof header.row_dims);
  array->values = g_try_new(double, MAX(array->n_rows * array->n_columns, 1));
  if (array->values == NULL) {
    fail(name, PIPELINE_ERROR_UNSUPPORTED, error, "no memory for %" G_GUINT64_FORMAT " values",
         array->n_rows * array->n_columns);
    return NULL;
  }
  read_values(&header, values, array);
  return g_steal_pointer(&array);
}

PipelineArray *pipeline_npy_parse(const guint8 *bytes, gsize length, const gchar *name, GError **error)
{
  return parse(bytes, length, name, FALSE, error);
}

PipelineArray *pipeline_npy_parse_rows(const guint8 *bytes, gsize length, const gchar *name, GError **error)
{
  return parse(bytes, length, name, TRUE, error);
}

void pipeline_array_free(PipelineArray *array)
{
  if (array == NULL) return;
  g_free(array->values);
  g_free(array);
}

static PipelineArray *read_file(const gchar *path, gboolean fold, GError **error)
{
  GStatBuf status;
  g_autofree gchar *bytes = NULL;
  gsize length;
  /* Not mapped: a file that is cut while it is read would end the program. */
  if (g_stat(path, &status) == 0 && (guint64)status.st_size <= MAX_FILE_BYTES) {
    if (!g_file_get_contents(path, &bytes, &length, error)) return NULL;
    return parse((const guint8 *)bytes, length, path, fold, error);
  }
  int code = errno;
  if (g_access(path, F_OK) == 0)
    fail(path, PIPELINE_ERROR_UNSUPPORTED, error,
         "larger than 2 GiB, the most that is read as a table in memory; split it");
  else
    fail(path, PIPELINE_ERROR_DATA, error, "cannot open: %s", g_strerror(code));
  return NULL;
}

PipelineArray *pipeline_npy_read(const gchar *path, GError **error)
{
  return read_file(path, FALSE, error);
}

PipelineArray *pipeline_npy_read_rows(const gchar *path, GError **error)
{
  return read_file(path, TRUE, error);
}

DriftTable *pipeline_npy_read_table(const gchar *path, GError **error)
{
  g_autoptr(PipelineArray) array = pipeline_npy_read(path, error);
  if (array == NULL) return NULL;
  DriftTable *table = drift_table_new();
  for (guint64 k = 0; k < array->n_columns; k++) {
    g_autofree gchar *name = array->n_dimensions == 1 ? g_strdup("x") : g_strdup_printf("x[%" G_GUINT64_FORMAT "]", k);
    DriftColumn *column = drift_table_add_column(table, name, DRIFT_NUMERIC);
    for (guint64 row = 0; row < array->n_rows; row++)
      drift_column_append_number(column, array->values[row * array->n_columns + k]);
  }
  table->n_rows = array->n_rows;
  return table;
}
