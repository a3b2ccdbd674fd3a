/* Arrays row by row. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <glib/gstdio.h>

#include "pipeline/error.h"
#include "pipeline/npy_internal.h"

#define CHUNK_BYTES ((gsize)1 << 20) /* at least one row */

typedef struct {
  PipelineNpySource source;
  PipelineNpyHeader header;
  gsize start; /* of the values */
} NpyRows;

static void rows_free(gpointer data)
{
  NpyRows *rows = data;
  rows->source.free_data(rows->source.data);
  g_free(rows->source.name);
  g_free(rows);
}

static gboolean fail(const NpyRows *rows, gint code, const gchar *what, GError **error)
{
  g_set_error(error, PIPELINE_ERROR, code, "%s: %s", rows->source.name, what);
  return FALSE;
}

static gboolean read_exactly(NpyRows *rows, guint8 *bytes, gsize n, GError **error)
{
  gssize held = rows->source.read(rows->source.data, bytes, n, error);
  if (held < 0) return FALSE;
  return (gsize)held == n || fail(rows, PIPELINE_ERROR_DATA, "it ends early; was it cut off?", error);
}

static void read_numbers(const PipelineNpyHeader *header, const guint8 *bytes, double *numbers, gsize n)
{
  for (gsize k = 0; k < n; k++) numbers[k] = pipeline_npy_read_element(header, bytes + k * header->type->size);
}

/* The commonest elements, without a call each. */
static void read_floats(const guint8 *bytes, double *numbers, gsize n)
{
  for (gsize k = 0; k < n; k++) {
    float value;
    memcpy(&value, bytes + k * sizeof value, sizeof value);
    numbers[k] = (double)value;
  }
}

static gboolean visit_values(PipelineRowStream *stream, PipelineRowFunc row, gpointer user_data, GError **error)
{
  NpyRows *rows = stream->source;
  const PipelineNpyHeader *header = &rows->header;
  gsize width = stream->n_columns * header->type->size;
  guint64 at_once = MAX(1, CHUNK_BYTES / width);
  gboolean floats = !header->swapped && strcmp(header->type->code, "f4") == 0;
  g_autofree guint8 *chunk = g_malloc(MAX(at_once * width, rows->start));
  g_autofree double *numbers = g_new(double, stream->n_columns);
  g_autofree const gchar **texts = g_new0(const gchar *, stream->n_columns);
  if (!rows->source.rewind(rows->source.data, error) || !read_exactly(rows, chunk, rows->start, error)) return FALSE;
  for (guint64 first = 0; first < stream->n_rows; first += at_once) {
    guint64 n = MIN(at_once, stream->n_rows - first);
    if (!read_exactly(rows, chunk, n * width, error)) return FALSE;
    for (guint64 i = 0; i < n; i++) {
      if (floats)
        read_floats(chunk + i * width, numbers, stream->n_columns);
      else
        read_numbers(header, chunk + i * width, numbers, stream->n_columns);
      if (!row(first + i, numbers, texts, user_data, error)) return FALSE;
    }
  }
  guint8 spare; /* an archive compares its checksum at the end */
  gssize more = rows->source.read(rows->source.data, &spare, 1, error);
  return more == 0 || (more > 0 && fail(rows, PIPELINE_ERROR_DATA, "it grew while it was read", error));
}

static gboolean check_size(const NpyRows *rows, guint64 n_rows, guint64 n_columns, GError **error)
{
  const PipelineNpyHeader *header = &rows->header;
  if (header->fortran && n_columns > 1)
    return fail(rows, PIPELINE_ERROR_UNSUPPORTED,
                "it is in Fortran order, column after column; save it in C order (numpy.ascontiguousarray)", error);
  if (n_columns == 0 || n_columns > PIPELINE_NPY_MAX_COLUMNS || n_rows > PIPELINE_NPY_MAX_ROWS) {
    g_autofree gchar *what = g_strdup_printf("%" G_GUINT64_FORMAT " rows of %" G_GUINT64_FORMAT
                                             " columns; 1 to %u columns and 100 million rows are read",
                                             n_rows, n_columns, PIPELINE_NPY_MAX_COLUMNS);
    return fail(rows, PIPELINE_ERROR_UNSUPPORTED, what, error);
  }
  return n_rows * n_columns * header->type->size == rows->source.n_bytes - rows->start ||
         fail(rows, PIPELINE_ERROR_DATA, "it has more or fewer bytes of values than its shape takes; was it cut off?",
              error);
}

static gboolean read_shape(NpyRows *rows, PipelineRowStream *stream, GError **error)
{
  PipelineNpyHeader *header = &rows->header;
  gsize length = (gsize)MIN(rows->source.n_bytes, PIPELINE_NPY_HEADER_BYTES);
  g_autofree guint8 *bytes = g_malloc(length + 1);
  if (!rows->source.rewind(rows->source.data, error) || !read_exactly(rows, bytes, length, error) ||
      !pipeline_npy_read_header(bytes, length, rows->source.name, header, &rows->start, error))
    return FALSE;
  guint64 n_columns = header->n_dimensions == 2 ? header->shape[1] : 1;
  if (!check_size(rows, header->shape[0], n_columns, error)) return FALSE;
  stream->n_rows = header->shape[0];
  stream->n_columns = (guint)n_columns;
  stream->n_row_dims = header->n_row_dims;
  memcpy(stream->row_dims, header->row_dims, sizeof stream->row_dims);
  stream->kinds = g_new(DriftFeatureKind, stream->n_columns);
  stream->names = g_new0(gchar *, stream->n_columns + 1);
  for (guint k = 0; k < stream->n_columns; k++) {
    stream->kinds[k] = DRIFT_NUMERIC;
    stream->names[k] = header->n_dimensions == 1 ? g_strdup("x") : g_strdup_printf("x[%u]", k);
  }
  return TRUE;
}

PipelineRowStream *pipeline_npy_rows_new(PipelineNpySource source, gboolean fold, GError **error)
{
  NpyRows *rows = g_new0(NpyRows, 1);
  g_autoptr(PipelineRowStream) stream = g_new0(PipelineRowStream, 1);
  rows->source = source;
  rows->header.fold = fold;
  *stream = (PipelineRowStream){.source = rows, .visit = visit_values, .free_source = rows_free};
  return read_shape(rows, stream, error) ? g_steal_pointer(&stream) : NULL;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static gboolean file_rewind(gpointer data, GError **error)
{
  if (fseeko(data, 0, SEEK_SET) == 0) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot read the array again: %s", g_strerror(errno));
  return FALSE;
}

static gssize file_read(gpointer data, guint8 *bytes, gsize n, GError **error)
{
  gsize held = fread(bytes, 1, n, data);
  if (!ferror((FILE *)data)) return (gssize)held;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot read the array: %s", g_strerror(errno));
  return -1;
}

static void file_free(gpointer data)
{
  fclose(data);
}

PipelineRowStream *pipeline_npy_open_rows(const gchar *path, GError **error)
{
  struct stat status;
  FILE *file = g_fopen(path, "rbe");
  if (file == NULL || fstat(fileno(file), &status) != 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s: cannot open: %s", path, g_strerror(errno));
    if (file != NULL) fclose(file);
    return NULL;
  }
  const PipelineNpySource source = {.name = g_strdup(path),
                                    .n_bytes = (guint64)status.st_size,
                                    .data = file,
                                    .rewind = file_rewind,
                                    .read = file_read,
                                    .free_data = file_free};
  return pipeline_npy_rows_new(source, FALSE, error);
}
