/* CSV with a header (RFC 4180) into a table. A column is numeric when every non-empty cell is a number. A column whose
 * first non-empty cell is a date (pipeline/date.h) is one of dates: every other one must be too, and it is read as
 * whole seconds since 1970, numeric; times without a zone are in UTC, and a column has none of them beside times with
 * one. */
#pragma once

#include "drift/table.h"
#include "pipeline/row_stream.h"

G_BEGIN_DECLS

/* path "-": standard input. Errors name file, line, column and the cell. Caps: line length, columns, rows. */
DriftTable *pipeline_csv_read(const gchar *path, GError **error);
/* The same, but the columns named in `texts` (NULL-terminated) are categorical whatever their cells look like: "1.0"
 * and "2026-11-26" stay as they are written. Names that the file lacks are ignored. */
DriftTable *pipeline_csv_read_as(const gchar *path, const gchar *const *texts, GError **error);
/* The same rows one after another, of a file of any size: its bytes are copied once into a spilled array. The cells'
 * errors come from here, while kinds are found and rows are counted. */
PipelineRowStream *pipeline_csv_open_rows(const gchar *path, GError **error);
gboolean pipeline_csv_write(const gchar *path, const DriftTable *table, GError **error);

G_END_DECLS
