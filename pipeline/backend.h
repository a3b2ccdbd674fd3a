/* Compute backends: who multiplies matrices. One visible table; "reference" is the specification, every other backend
 * is compared with it under a stated bound (its selftest). All other operators run on the reference kernels whatever
 * the backend. To add one: a file pipeline/backend_NAME.c and a line in the table of pipeline/backend.c.
 */
#pragma once

#include <glib.h>

#include "pipeline/error.h"

G_BEGIN_DECLS

/* C[m,n] = alpha · op(A)[m,k] · op(B)[k,n] + beta · C; all row-major with row strides lda, ldb, ldc; op transposes when
 * asked. beta 0 does not read C. C overlaps neither A nor B. */
typedef struct {
  gboolean transpose_a, transpose_b;
  gsize m, n, k;
  float alpha, beta;
  const float *a, *b;
  gsize lda, ldb;
  float *c;
  gsize ldc;
} PipelineGemm;

typedef struct {
  const gchar *name, *summary;
  guint rank;         /* the default is the highest rank that is available */
  gboolean row_exact; /* each row of C has the same bits whatever m is: then a batch predicts as row by row */
  gboolean (*is_available)(GError **error);                        /* NULL: always */
  gboolean (*supports)(const gchar *domain, const gchar *op_type); /* has a kernel of its own for */
  gboolean (*gemm)(const PipelineGemm *gemm, GError **error);
  gboolean (*selftest)(GError **error); /* against the reference */
} PipelineBackend;

/* Products whose operands are rounded to bfloat16 and whose sums run in float32: what a device's tensor units compute,
 * and the reference for them. Not in the table. */
extern const PipelineBackend pipeline_backend_bfloat16;
/* The nearest number with 8 bits of precision, ties to the even one. */
float pipeline_round_bfloat16(float value);

/* NULL-terminated. */
extern const PipelineBackend *const pipeline_backends[];
extern const PipelineBackend pipeline_backend_reference, pipeline_backend_onednn;
/* By name; NULL name: the highest rank that is available, for prediction only row_exact ones (`row_exact` TRUE). NULL
 * with INVALID (unknown name: the error lists the known ones) or UNSUPPORTED (not available here: why). */
const PipelineBackend *pipeline_backend_find(const gchar *name, gboolean row_exact, GError **error);
/* The largest |difference| of backend and reference over a fixed set of gemm shapes, relative to Σ|a||b| of each
 * element; what a backend's selftest compares with its bound. Negative with error set when the backend failed. */
double pipeline_backend_compare(const PipelineBackend *backend, GError **error);

G_END_DECLS
