/* Limits of memory (ulimit -v, a job's memory_bytes) that libraries below us do not survive. */
#pragma once

#include "pipeline/error.h"

G_BEGIN_DECLS

/* What a training takes beyond its rows: kernels that oneDNN generates, buffers of OpenBLAS, weights and batches.
 * oneDNN 2.6 writes through NULL when there is no room for a kernel, and OpenBLAS's threads wait for theirs for ever.
 */
#define PIPELINE_TRAINING_BYTES (128u << 20)

/* UNSUPPORTED when less than `bytes` of address space can still be had; the text says what to do. Touches no memory. */
gboolean pipeline_memory_require(gsize bytes, GError **error);

G_END_DECLS
