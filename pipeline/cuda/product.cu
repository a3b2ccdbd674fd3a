/* Products of matrices by cuBLAS, in float32 or on operands rounded to bfloat16. */
#include "pipeline/cuda/device_internal.h"

#define FIRST_WITH_BFLOAT16 8 /* compute capability */
#define ALIGNMENT 256u        /* bytes */

__global__ void narrow_kernel(const float *from, __nv_bfloat16 *to, size_t n)
{
  for (size_t i = pipeline_cuda_index(); i < n; i += (size_t)gridDim.x * blockDim.x)
    to[i] = __float2bfloat16_rn(from[i]);
}

/* Elements from the first to the last of `count` matrices. */
static size_t span(size_t rows, size_t columns, size_t leading, size_t count, size_t stride)
{
  return rows == 0 || columns == 0 ? 0 : (count - 1) * stride + (rows - 1) * leading + columns;
}

static int narrow(PipelineCudaDevice *device, const float *from, void *to, size_t n)
{
  size_t blocks = (n + PIPELINE_CUDA_THREADS - 1) / PIPELINE_CUDA_THREADS;
  if (n == 0) return 0;
  LAUNCH(narrow_kernel, (unsigned)(blocks < 65535 ? blocks : 65535), PIPELINE_CUDA_THREADS, 0, device->stream, from,
         static_cast<__nv_bfloat16 *>(to), n);
  return pipeline_cuda_check_launch(device, "round to bfloat16");
}

int pipeline_cuda_require_bfloat16(PipelineCudaDevice *device)
{
  if (device->major >= FIRST_WITH_BFLOAT16) return 0;
  return pipeline_cuda_fail(device, "multiply in bfloat16", "the device is older than compute capability 8.0");
}

int pipeline_cuda_gemm_bfloat16(PipelineCudaDevice *device, const PipelineCudaGemm *g, const void *a, const void *b,
                                float *c)
{
  cublasOperation_t of_a = g->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  cublasOperation_t of_b = g->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
  return pipeline_cuda_check_blas(
      device,
      cublasGemmStridedBatchedEx(device->cublas, of_b, of_a, (int)g->n, (int)g->m, (int)g->k, &g->alpha, b, CUDA_R_16BF,
                                 (int)g->ldb, (long long)g->stride_b, a, CUDA_R_16BF, (int)g->lda,
                                 (long long)g->stride_a, &g->beta, c, CUDA_R_32F, (int)g->ldc, (long long)g->stride_c,
                                 (int)g->count, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
      "multiply matrices in bfloat16");
}

/* The copies lie in the workspace, one behind the other. */
static int multiply_narrow(PipelineCudaDevice *device, const PipelineCudaGemm *g, const float *a, const float *b,
                           float *c)
{
  size_t n_a = span(g->transpose_a ? g->k : g->m, g->transpose_a ? g->m : g->k, g->lda, g->count, g->stride_a);
  size_t n_b = span(g->transpose_b ? g->n : g->k, g->transpose_b ? g->k : g->n, g->ldb, g->count, g->stride_b);
  size_t place_b = (n_a * sizeof(__nv_bfloat16) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (pipeline_cuda_require_bfloat16(device) ||
      pipeline_cuda_provide_workspace(device, place_b + n_b * sizeof(__nv_bfloat16)))
    return 1;
  unsigned char *narrow_a = static_cast<unsigned char *>(device->workspace), *narrow_b = narrow_a + place_b;
  if (narrow(device, a, narrow_a, n_a) || narrow(device, b, narrow_b, n_b)) return 1;
  return pipeline_cuda_gemm_bfloat16(device, g, narrow_a, narrow_b, c);
}

/* Row-major c = op(a) op(b) is column-major cᵀ = op(b)ᵀ op(a)ᵀ. */
int pipeline_cuda_gemm(PipelineCudaDevice *device, const PipelineCudaGemm *g, const float *a, const float *b, float *c)
{
  cublasOperation_t of_a = g->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  cublasOperation_t of_b = g->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
  if (g->m == 0 || g->n == 0 || g->count == 0) return 0;
  if (g->narrow) return multiply_narrow(device, g, a, b, c);
  if (g->count == 1)
    return pipeline_cuda_check_blas(device,
                                    cublasSgemm(device->cublas, of_b, of_a, (int)g->n, (int)g->m, (int)g->k, &g->alpha,
                                                b, (int)g->ldb, a, (int)g->lda, &g->beta, c, (int)g->ldc),
                                    "multiply matrices");
  return pipeline_cuda_check_blas(device,
                                  cublasSgemmStridedBatched(device->cublas, of_b, of_a, (int)g->n, (int)g->m, (int)g->k,
                                                            &g->alpha, b, (int)g->ldb, (long long)g->stride_b, a,
                                                            (int)g->lda, (long long)g->stride_a, &g->beta, c,
                                                            (int)g->ldc, (long long)g->stride_c, (int)g->count),
                                  "multiply matrices");
}
