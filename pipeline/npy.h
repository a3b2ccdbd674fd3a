/* NumPy's array files (.npy, format versions 1 to 3) as numbers.
 * Source: NEP 1 and https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
#pragma once

#include <glib.h>

#include "drift/table.h"
#include "pipeline/row_stream.h"

G_BEGIN_DECLS

#define PIPELINE_NPY_MAX_VALUES (1u << 28) /* two gigabytes as doubles */
#define PIPELINE_NPY_MAX_COLUMNS 4096u     /* as of a CSV */

/* An array of one or two dimensions, row by row whatever the file's order. */
typedef struct {
  guint n_dimensions;        /* 1 or 2 */
  guint64 n_rows, n_columns; /* n_columns 1 for one dimension */
  guint n_row_dims;          /* of a row: more than 1 only from pipeline_npy_parse_rows */
  guint64 row_dims[8];
  double *values; /* [n_rows][n_columns]; whole numbers beyond 2^53 are rounded */
} PipelineArray;

/* Bytes of a .npy file: numbers (f2, f4, f8, i1 to i8, u1 to u8) and truth values (b1) of either byte order, C or
 * Fortran order. `name` is for messages. Objects (which hold pickled programs), texts, times, complex and structured
 * values are UNSUPPORTED; DATA: no .npy file, or more or fewer bytes than its shape takes. */
PipelineArray *pipeline_npy_parse(const guint8 *bytes, gsize length, const gchar *name, GError **error);
/* The same for arrays of up to 8 dimensions in C order: those behind the first become columns (images, one a row). */
PipelineArray *pipeline_npy_parse_rows(const guint8 *bytes, gsize length, const gchar *name, GError **error);
void pipeline_array_free(PipelineArray *array);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineArray, pipeline_array_free)

/* A file of at most 2 GiB. */
PipelineArray *pipeline_npy_read(const gchar *path, GError **error);
/* The same for arrays of up to 8 dimensions (pipeline_npy_parse_rows). */
PipelineArray *pipeline_npy_read_rows(const gchar *path, GError **error);
/* The rows of a file of any size, C order, one after another; the columns are named as pipeline_npy_read_table names
 * them. UNSUPPORTED: Fortran order, more than PIPELINE_NPY_MAX_COLUMNS columns. */
PipelineRowStream *pipeline_npy_open_rows(const gchar *path, GError **error);
/* The same as a table: one dimension is the column "x", two are "x[0]", "x[1]", …: an embedding named "x". NaN is
 * missing. */
DriftTable *pipeline_npy_read_table(const gchar *path, GError **error);

G_END_DECLS
