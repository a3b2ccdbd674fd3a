/* CSV with a header (RFC 4180) into a table; a column is numeric when every non-empty cell is a number. */
#pragma once

#include "drift/table.h"
#include "pipeline/row_stream.h"

G_BEGIN_DECLS

/* path "-": standard input. Errors name file, line, column and the cell. Caps: line length, columns, rows. */
DriftTable *pipeline_csv_read(const gchar *path, GError **error);
/* The same rows one after another, of a file of any size: its bytes are copied once into a spilled array. The cells'
 * errors come from here, while kinds are found and rows are counted. */
PipelineRowStream *pipeline_csv_open_rows(const gchar *path, GError **error);
gboolean pipeline_csv_write(const gchar *path, const DriftTable *table, GError **error);

G_END_DECLS
