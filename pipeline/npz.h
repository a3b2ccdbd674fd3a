/* NumPy's archives of arrays (.npz): zip files of .npy members, stored or deflated.
 * Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html and APPNOTE.TXT 6.3.10 (PKWARE). */
#pragma once

#include "pipeline/npy.h"

G_BEGIN_DECLS

#define PIPELINE_NPZ_MAX_MEMBERS 4096u

typedef struct _PipelineNpz PipelineNpz;

/* DATA: no zip file, cut off, inconsistent; names the file. Members larger than 4 GiB, encrypted or packed otherwise
 * (seen when they are read), more than PIPELINE_NPZ_MAX_MEMBERS of them: UNSUPPORTED. */
PipelineNpz *pipeline_npz_open(const gchar *path, GError **error);
void pipeline_npz_free(PipelineNpz *npz);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineNpz, pipeline_npz_free)
guint pipeline_npz_get_n_arrays(const PipelineNpz *npz);
const gchar *pipeline_npz_get_name(const PipelineNpz *npz, guint index); /* "X", without ".npy"; borrowed */
/* The array of that name (pipeline_npy_parse_rows). DATA: there is none (known ones are named), its checksum or size
 * is wrong. */
PipelineArray *pipeline_npz_read(const PipelineNpz *npz, const gchar *name, GError **error);
/* The rows of that array, as pipeline_npy_parse_rows has them, one after another and of any number; the archive must
 * outlive the stream, and no other array of it may be read while one is visited. */
PipelineRowStream *pipeline_npz_open_rows(const PipelineNpz *npz, const gchar *name, GError **error);
/* The archive as a table: an array of one dimension is the column of its name, one of more the columns "x[0]", "x[1]",
 * … where it is the only such array (as kedge train names them), else "NAME[0]", …; elements in row-major order. DATA:
 * arrays of different numbers of rows; UNSUPPORTED: more than PIPELINE_NPY_MAX_COLUMNS columns. */
DriftTable *pipeline_npz_read_table(const gchar *path, GError **error);

G_END_DECLS
