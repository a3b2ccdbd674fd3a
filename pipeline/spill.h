/* Arrays that need not fit into memory: a large one lies in an unlinked temporary file that is mapped, so that the page
 * cache holds what is in use and the system writes the rest away; a small one lies on the heap. The only file that maps
 * writable memory of a file. */
#pragma once

#include "pipeline/error.h"

G_BEGIN_DECLS

#define PIPELINE_SPILL_BYTES ((guint64)256 << 20) /* larger arrays go into a file */

typedef enum { PIPELINE_SPILL_LARGE, PIPELINE_SPILL_ALWAYS } PipelineSpillUse;

typedef struct _PipelineSpill PipelineSpill;
/* Zeros, of that many bytes, writable. The file (O_TMPFILE) lies in $TMPDIR, else in /var/tmp; its blocks are taken at
 * once, so that a disk that is full is found here: UNSUPPORTED, naming the folder, what is needed and what is free. */
PipelineSpill *pipeline_spill_new(guint64 n_bytes, PipelineSpillUse use, GError **error);
/* The bytes of the file at `path`, read once into an array. DATA: it cannot be read, or is cut meanwhile. */
PipelineSpill *pipeline_spill_read(const gchar *path, PipelineSpillUse use, GError **error);
void pipeline_spill_free(PipelineSpill *spill);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineSpill, pipeline_spill_free)
gpointer pipeline_spill_get_data(const PipelineSpill *spill); /* aligned for every type */
guint64 pipeline_spill_get_size(const PipelineSpill *spill);
/* Bytes in a file: the size, or 0 when they lie on the heap; 0 of NULL. */
guint64 pipeline_spill_get_filed(const PipelineSpill *spill);

G_END_DECLS
