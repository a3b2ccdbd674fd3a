/* Matrix products in plain C, the specification: each element is a sum over k in ascending order, one multiplication
 * and one addition a term, whatever the shape. Vectors run over columns, so they do not change that order. */
#include <string.h>

#include "pipeline/backend.h"

typedef float Vector __attribute__((vector_size(16)));
#define LANES 4
#define TILE_ROWS 4
#define TILE_COLUMNS 8 /* two vectors */
#define ROW_COLUMNS 32 /* of a row alone: eight vectors */

static Vector load(const float *from)
{
  Vector vector;
  memcpy(&vector, from, sizeof vector);
  return vector;
}

/* c = alpha · sum + beta · c for `n` columns. */
static void store(float *c, const float *sum, gsize n, const PipelineGemm *gemm)
{
  for (gsize j = 0; j < n; j++) {
    float product = gemm->alpha == 1.0f ? sum[j] : gemm->alpha * sum[j];
    c[j] = gemm->beta == 0.0f ? product : product + (gemm->beta == 1.0f ? c[j] : gemm->beta * c[j]);
  }
}

/* A full tile of 4 rows and 8 columns. a: first row, row stride lda; b: first column of the tile. */
static void multiply_tile(const PipelineGemm *gemm, const float *a, const float *b, float *c)
{
  Vector sums[TILE_ROWS][2] = {{{0}}};
  for (gsize p = 0; p < gemm->k; p++) {
    Vector left = load(b + p * gemm->ldb), right = load(b + p * gemm->ldb + LANES);
    for (gsize i = 0; i < TILE_ROWS; i++) {
      float x = a[i * gemm->lda + p];
      sums[i][0] += left * x;
      sums[i][1] += right * x;
    }
  }
  for (gsize i = 0; i < TILE_ROWS; i++) store(c + i * gemm->ldc, (const float *)sums[i], TILE_COLUMNS, gemm);
}

/* One row and n_vectors * 4 columns: a constant where it is called, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void multiply_row_of(const PipelineGemm *gemm, const float *a,
                                                                  const float *b, float *c, gsize n_vectors)
{
  Vector sums[ROW_COLUMNS / LANES] = {{0}};
  for (gsize p = 0; p < gemm->k; p++, b += gemm->ldb)
    for (gsize v = 0; v < n_vectors; v++) sums[v] += load(b + v * LANES) * a[p];
  store(c, (const float *)sums, n_vectors * LANES, gemm);
}

/* One row and `columns`, a multiple of 8: many at once, because each sum waits for its last addition. */
static void multiply_row(const PipelineGemm *gemm, const float *a, const float *b, float *c, gsize columns)
{
  gsize j = 0;
  for (; j + ROW_COLUMNS <= columns; j += ROW_COLUMNS) multiply_row_of(gemm, a, b + j, c + j, ROW_COLUMNS / LANES);
  for (; j < columns; j += TILE_COLUMNS) multiply_row_of(gemm, a, b + j, c + j, TILE_COLUMNS / LANES);
}

/* One row and the last columns (fewer than 8). */
static void multiply_rest(const PipelineGemm *gemm, const float *a, const float *b, float *c, gsize n)
{
  float sums[TILE_COLUMNS] = {0};
  for (gsize p = 0; p < gemm->k; p++)
    for (gsize j = 0; j < n; j++) sums[j] += b[p * gemm->ldb + j] * a[p];
  store(c, sums, n, gemm);
}

static void multiply_plain(const PipelineGemm *gemm)
{
  gsize columns = gemm->n - gemm->n % TILE_COLUMNS, rows = gemm->m - gemm->m % TILE_ROWS;
  for (gsize j = 0; j < columns; j += TILE_COLUMNS)
    for (gsize i = 0; i < rows; i += TILE_ROWS)
      multiply_tile(gemm, gemm->a + i * gemm->lda, gemm->b + j, gemm->c + i * gemm->ldc + j);
  for (gsize i = rows; i < gemm->m; i++)
    multiply_row(gemm, gemm->a + i * gemm->lda, gemm->b, gemm->c + i * gemm->ldc, columns);
  if (columns == gemm->n) return;
  for (gsize i = 0; i < gemm->m; i++)
    multiply_rest(gemm, gemm->a + i * gemm->lda, gemm->b + columns, gemm->c + i * gemm->ldc + columns,
                  gemm->n - columns);
}

/* from [rows, columns] with stride -> new [columns, rows]. NULL when memory runs out. */
static float *transpose(const float *from, gsize rows, gsize columns, gsize stride)
{
  float *to = g_try_malloc(MAX(rows * columns, 1) * sizeof(float));
  if (to == NULL) return NULL;
  for (gsize i = 0; i < rows; i++)
    for (gsize j = 0; j < columns; j++) to[j * rows + i] = from[i * stride + j];
  return to;
}

static gboolean multiply(const PipelineGemm *gemm, GError **error)
{
  PipelineGemm plain = *gemm;
  g_autofree float *a = NULL, *b = NULL;
  if (gemm->transpose_a) {
    plain.a = a = transpose(gemm->a, gemm->k, gemm->m, gemm->lda);
    plain.lda = gemm->k;
  }
  if (gemm->transpose_b) {
    plain.b = b = transpose(gemm->b, gemm->n, gemm->k, gemm->ldb);
    plain.ldb = gemm->n;
  }
  if ((gemm->transpose_a && a == NULL) || (gemm->transpose_b && b == NULL)) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "not enough memory for a transposed matrix");
    return FALSE;
  }
  multiply_plain(&plain);
  return TRUE;
}

static gboolean supports(const gchar *domain, const gchar *op_type)
{
  return domain[0] == '\0' && (strcmp(op_type, "Gemm") == 0 || strcmp(op_type, "MatMul") == 0);
}

/* Rounding of k float additions: k · 2^-24 of Σ|a||b|; 64 terms at most in the comparison. */
static gboolean selftest(GError **error)
{
  double difference = pipeline_backend_compare(&pipeline_backend_reference, error);
  if (difference < 0) return FALSE;
  if (difference <= 66 * 0x1p-24) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "reference products differ by %g", difference);
  return FALSE;
}

const PipelineBackend pipeline_backend_reference = {
    .name = "reference",
    .summary = "plain C, the specification",
    .rank = 1,
    .row_exact = TRUE,
    .supports = supports,
    .gemm = multiply,
    .selftest = selftest,
};
