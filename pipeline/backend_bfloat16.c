#include "pipeline/backend.h"

#include <math.h>
#include <string.h>

float pipeline_round_bfloat16(float value)
{
  guint32 bits;
  if (isnan(value)) return value;
  memcpy(&bits, &value, sizeof bits);
  bits = (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* The matrix without gaps, rounded; new. */
static float *round_matrix(const float *from, gsize rows, gsize columns, gsize stride)
{
  float *to = g_new(float, rows *columns + 1);
  for (gsize i = 0; i < rows; i++)
    for (gsize k = 0; k < columns; k++) to[i * columns + k] = pipeline_round_bfloat16(from[i * stride + k]);
  return to;
}

static gboolean multiply(const PipelineGemm *gemm, GError **error)
{
  PipelineGemm rounded = *gemm;
  gsize rows_a = gemm->transpose_a ? gemm->k : gemm->m, rows_b = gemm->transpose_b ? gemm->n : gemm->k;
  rounded.lda = gemm->transpose_a ? gemm->m : gemm->k;
  rounded.ldb = gemm->transpose_b ? gemm->k : gemm->n;
  g_autofree float *a = round_matrix(gemm->a, rows_a, rounded.lda, gemm->lda),
                   *b = round_matrix(gemm->b, rows_b, rounded.ldb, gemm->ldb);
  rounded.a = a;
  rounded.b = b;
  return pipeline_backend_reference.gemm(&rounded, error);
}

const PipelineBackend pipeline_backend_bfloat16 = {
    .name = "bfloat16",
    .summary = "the reference on operands rounded to bfloat16",
    .gemm = multiply,
};
