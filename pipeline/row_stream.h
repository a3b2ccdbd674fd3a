/* Rows of a file, one after another, as often as wanted, without a table of them in memory. Readers: pipeline/csv.h,
 * pipeline/npy.h, pipeline/npz.h. */
#pragma once

#include "drift/table.h"
#include "pipeline/spill.h"

G_BEGIN_DECLS

/* numbers [n_columns], NaN: missing, or a column of texts; texts [n_columns], NULL: missing, or a column of numbers;
 * both are valid until the function returns. row counts from 0. */
typedef gboolean (*PipelineRowFunc)(guint64 row, const double *numbers, const gchar *const *texts, gpointer user_data,
                                    GError **error);

typedef struct _PipelineRowStream PipelineRowStream;
struct _PipelineRowStream {
  gchar **names;           /* of the columns */
  DriftFeatureKind *kinds; /* [n_columns] */
  guint n_columns;
  guint64 n_rows;
  guint n_row_dims; /* of an array: of a row, as in PipelineArray; else 0 */
  guint64 row_dims[8];
  gpointer source; /* of the reader, which brings the two functions */
  gboolean (*visit)(PipelineRowStream *stream, PipelineRowFunc row, gpointer user_data, GError **error);
  GDestroyNotify free_source;
};

/* All rows from the first one on. */
gboolean pipeline_row_stream_visit(PipelineRowStream *stream, PipelineRowFunc row, gpointer user_data, GError **error);
void pipeline_row_stream_free(PipelineRowStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineRowStream, pipeline_row_stream_free)

/* A table of all columns of which only those named in `filled` (NULL-terminated; others are ignored) have their cells:
 * what a schema is inferred from. */
DriftTable *pipeline_row_stream_sketch(PipelineRowStream *stream, const gchar *const *filled, GError **error);

G_END_DECLS
