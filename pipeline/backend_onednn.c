/* Matrix products by oneDNN's sgemm, the one call that is the same in its C APIs 1 to 3. Its kernels depend on the
 * shape: a row has other low bits in another batch, so this backend is never the default for prediction. */
#include <dlfcn.h>
#include <dnnl.h>
#include <string.h>

#include "pipeline/backend.h"
#include "pipeline/onednn_internal.h"

void pipeline_onednn_use_one_thread(void)
{
  union {
    void *object;
    void (*function)(int);
  } symbol = {.object = dlsym(RTLD_DEFAULT, "omp_set_num_threads")};
  if (symbol.object != NULL) symbol.function(1);
}

static gboolean multiply(const PipelineGemm *gemm, GError **error)
{
  pipeline_onednn_use_one_thread();
  dnnl_status_t status =
      dnnl_sgemm(gemm->transpose_a ? 'T' : 'N', gemm->transpose_b ? 'T' : 'N', (dnnl_dim_t)gemm->m, (dnnl_dim_t)gemm->n,
                 (dnnl_dim_t)gemm->k, gemm->alpha, gemm->a, (dnnl_dim_t)gemm->lda, gemm->b, (dnnl_dim_t)gemm->ldb,
                 gemm->beta, gemm->c, (dnnl_dim_t)gemm->ldc);
  if (status == dnnl_success) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "oneDNN refuses a product (status %d)", (gint)status);
  return FALSE;
}

/* Under MemoryDenyWriteExecute no kernel can be made. */
static gboolean is_available(GError **error)
{
  float one = 1, result = 0;
  PipelineGemm gemm = {
      .m = 1, .n = 1, .k = 1, .alpha = 1, .a = &one, .lda = 1, .b = &one, .ldb = 1, .c = &result, .ldc = 1};
  return multiply(&gemm, error);
}

static gboolean supports(const gchar *domain, const gchar *op_type)
{
  return domain[0] == '\0' && (strcmp(op_type, "Gemm") == 0 || strcmp(op_type, "MatMul") == 0);
}

/* At most 64 terms in another order and fused: twice the rounding of the reference. */
static gboolean selftest(GError **error)
{
  double difference = pipeline_backend_compare(&pipeline_backend_onednn, error);
  if (difference < 0) return FALSE;
  if (difference <= 2 * 66 * 0x1p-24) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "oneDNN's products differ by %g", difference);
  return FALSE;
}

const PipelineBackend pipeline_backend_onednn = {
    .name = "onednn",
    .summary = "oneDNN's sgemm, one thread",
    .rank = 2,
    .row_exact = FALSE,
    .is_available = is_available,
    .supports = supports,
    .gemm = multiply,
    .selftest = selftest,
};
