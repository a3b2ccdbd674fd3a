/* Writing NumPy's archives of arrays (.npz), members stored; the same arrays give the same bytes. Formats as in
 * pipeline/npz.h. */
#pragma once

#include "pipeline/error.h"

G_BEGIN_DECLS

typedef struct _PipelineNpzWriter PipelineNpzWriter;

PipelineNpzWriter *pipeline_npz_writer_new(void);
void pipeline_npz_writer_free(PipelineNpzWriter *writer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineNpzWriter, pipeline_npz_writer_free)
/* Arrays of n_dims dimensions, row by row; copied. Names are members of the archive, without ".npy". */
void pipeline_npz_writer_add_floats(PipelineNpzWriter *writer, const gchar *name, guint n_dims, const guint64 *dims,
                                    const float *values);
void pipeline_npz_writer_add_integers(PipelineNpzWriter *writer, const gchar *name, guint n_dims, const guint64 *dims,
                                      const gint64 *values);
void pipeline_npz_writer_add_doubles(PipelineNpzWriter *writer, const gchar *name, guint n_dims, const guint64 *dims,
                                     const double *values);
/* One dimension of UTF-8 texts, as NumPy's fixed-width Unicode ("<U9"). */
void pipeline_npz_writer_add_texts(PipelineNpzWriter *writer, const gchar *name, const gchar *const *texts, guint64 n);
/* Writes the file, whole or not at all. DATA: it cannot be written; UNSUPPORTED: an
 * array is larger than 4 GiB. */
gboolean pipeline_npz_writer_write(PipelineNpzWriter *writer, const gchar *path, GError **error);
/* The array that was added first, as a .npy file. */
gboolean pipeline_npz_writer_write_npy(PipelineNpzWriter *writer, const gchar *path, GError **error);

G_END_DECLS
