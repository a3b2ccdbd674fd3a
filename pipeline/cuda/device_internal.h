/* What the .cu files share: the device, checks, launches, sums of a block or a warp. */
#pragma once

#include <cstdio>
#include <cstring>

#include <cublas_v2.h>
#include <cudnn.h>

#include "pipeline/cuda/device.h"
#include "pipeline/cuda/launch.h"

#define PIPELINE_CUDA_SLOTS (PIPELINE_CUDA_GROUP * PIPELINE_CUDA_GROUPS)
#define PIPELINE_CUDA_SCRATCH ((size_t)8 << 20) /* bytes: partial sums of the longest reduction */
#define PIPELINE_CUDA_THREADS 256u
#define PIPELINE_CUDA_MAX_PARTS 256u /* blocks of a sum over everything */

struct Block; /* of the memory pool */

struct _PipelineCudaDevice {
  int number, multiprocessors;
  cudaStream_t stream;
  cublasHandle_t cublas;
  cudnnHandle_t cudnn;
  char message[512], description[512];
  bool lacks_memory; /* the message says so */
  struct Block *blocks;
  size_t n_blocks, block_capacity, own_bytes, used_bytes, held_bytes, peak_bytes, limit_bytes; /* limit: 0: none */
  unsigned char *staging; /* pinned: a ring of what is copied in */
  size_t staged;
  unsigned char *landing;                     /* pinned: for copies out */
  void *scratch, *blas_workspace, *workspace; /* workspace: of cuDNN, grows */
  size_t workspace_bytes;
  double *results, *host_results; /* [slots][2] on the device, and pinned */
  PipelineCudaStep *step;         /* on the device */
  double *scaling;                /* there: scale, steps since it changed */
  int major;                      /* of the compute capability */
  cudaEvent_t sent[PIPELINE_CUDA_GROUPS];
  bool recording;
  uint64_t changes;
};

/* Each sets device->message and returns 1 when it failed, else 0. */
int pipeline_cuda_fail(PipelineCudaDevice *device, const char *what, const char *name);
int pipeline_cuda_check(PipelineCudaDevice *device, cudaError_t error, const char *what);
int pipeline_cuda_check_launch(PipelineCudaDevice *device, const char *what);
int pipeline_cuda_check_blas(PipelineCudaDevice *device, cublasStatus_t status, const char *what);
int pipeline_cuda_check_dnn(PipelineCudaDevice *device, cudnnStatus_t status, const char *what);
int pipeline_cuda_provide_workspace(PipelineCudaDevice *device, size_t bytes);

static inline unsigned pipeline_cuda_blocks(size_t n, unsigned threads)
{
  return (unsigned)((n + threads - 1) / threads);
}

/* --- in kernels -----------------------------------------------------------------------------------------------------
 */

static __device__ __forceinline__ unsigned pipeline_cuda_index()
{
  return blockIdx.x * blockDim.x + threadIdx.x;
}

/* Offsets of element i in the first K operands. Tensors have fewer than 2³¹ elements. */
template <int K>
static __device__ __forceinline__ void pipeline_cuda_place(const PipelineCudaWalk &walk, unsigned i, int64_t *offsets)
{
  for (int k = 0; k < K; k++) offsets[k] = 0;
  for (unsigned d = walk.n_dims; d-- > 1;) {
    unsigned rest = i / walk.dims[d], place = i - rest * walk.dims[d];
    for (int k = 0; k < K; k++) offsets[k] += (int64_t)place * walk.strides[k][d];
    i = rest;
  }
  for (int k = 0; k < K; k++) offsets[k] += (int64_t)i * walk.strides[k][0];
}

static __device__ __forceinline__ double pipeline_cuda_warp_sum(double value)
{
  for (int step = 16; step > 0; step >>= 1) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

static __device__ __forceinline__ float pipeline_cuda_warp_max(float value)
{
  for (int step = 16; step > 0; step >>= 1) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
  return value;
}

/* Of all threads of a block of whole warps (one dimension, at most 1024 threads), to all of them, always in the same
 * order. parts: shared memory [32]; may be used again after the next barrier of the caller. */
static __device__ __forceinline__ double pipeline_cuda_block_sum(double value, double *parts)
{
  value = pipeline_cuda_warp_sum(value);
  __syncthreads();
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  double sum = 0;
  for (unsigned i = 0; i < blockDim.x / 32; i++) sum += parts[i];
  return sum;
}

/* --- the functions of the table, by file -----------------------------------------------------------------------------
 */

/* memory.cu */
void *pipeline_cuda_allocate(PipelineCudaDevice *, size_t);
void pipeline_cuda_release(PipelineCudaDevice *, void *);
void pipeline_cuda_memory_info(PipelineCudaDevice *, PipelineCudaMemory *);
void pipeline_cuda_memory_mark(PipelineCudaDevice *);
void pipeline_cuda_memory_limit(PipelineCudaDevice *, size_t);
void pipeline_cuda_memory_trim(PipelineCudaDevice *);
void pipeline_cuda_memory_close(PipelineCudaDevice *);
size_t pipeline_cuda_memory_round(size_t);
int pipeline_cuda_lacks_memory(const PipelineCudaDevice *);
/* elementwise.cu */
int pipeline_cuda_unary(PipelineCudaDevice *, PipelineCudaUnary, const float *, float *, size_t, float, float);
int pipeline_cuda_unary_backward(PipelineCudaDevice *, PipelineCudaUnary, const float *, const float *, const float *,
                                 float *, size_t, float, float);
int pipeline_cuda_binary(PipelineCudaDevice *, PipelineCudaBinary, const PipelineCudaWalk *, const float *,
                         const float *, float *);
int pipeline_cuda_binary_backward(PipelineCudaDevice *, PipelineCudaBinary, int, const PipelineCudaWalk *,
                                  const float *, const float *, const float *, float *);
int pipeline_cuda_choose(PipelineCudaDevice *, const PipelineCudaWalk *, const uint8_t *, const float *, const float *,
                         float *);
int pipeline_cuda_clip(PipelineCudaDevice *, const float *, const float *, const float *, const float *, float *,
                       size_t);
int pipeline_cuda_multiply_add(PipelineCudaDevice *, float *, const float *, float, size_t);
int pipeline_cuda_add(PipelineCudaDevice *, float *, const float *, size_t);
int pipeline_cuda_fill(PipelineCudaDevice *, float *, const float *, size_t);
int pipeline_cuda_ascend(PipelineCudaDevice *, float *, const float *, const float *, float, float, float, float,
                         size_t);
/* reduce.cu */
int pipeline_cuda_sum(PipelineCudaDevice *, const PipelineCudaSum *, float, const float *, float *);
int pipeline_cuda_softmax(PipelineCudaDevice *, size_t, size_t, size_t, int, const float *, float *);
int pipeline_cuda_softmax_backward(PipelineCudaDevice *, size_t, size_t, size_t, int, const float *, const float *,
                                   float *);
/* extreme.cu */
int pipeline_cuda_extreme(PipelineCudaDevice *, const PipelineCudaSum *, int, const float *, float *, uint32_t *);
int pipeline_cuda_extreme_backward(PipelineCudaDevice *, size_t, size_t, const uint32_t *, const float *, float *);
/* product.cu, convolution.cu, pool.cu */
int pipeline_cuda_gemm(PipelineCudaDevice *, const PipelineCudaGemm *, const float *, const float *, float *);
/* Operands of bfloat16 on the device; the result is float32. */
int pipeline_cuda_gemm_bfloat16(PipelineCudaDevice *, const PipelineCudaGemm *, const void *, const void *, float *);
int pipeline_cuda_require_bfloat16(PipelineCudaDevice *); /* 1: the device has no products in it */
PipelineCudaConvolutionPlan *pipeline_cuda_convolution_plan(PipelineCudaDevice *, const PipelineCudaConvolution *);
size_t pipeline_cuda_convolution_bytes(const PipelineCudaConvolutionPlan *);
void pipeline_cuda_convolution_free(PipelineCudaDevice *, PipelineCudaConvolutionPlan *);
int pipeline_cuda_convolution_forward(PipelineCudaDevice *, PipelineCudaConvolutionPlan *, const float *, const float *,
                                      const float *, float *);
int pipeline_cuda_convolution_backward(PipelineCudaDevice *, PipelineCudaConvolutionPlan *, const float *,
                                       const float *, const float *, float *, float *);
/* convolution_product.cu. Bytes of workspace, 0: not this shape. dx and dw may be NULL. */
size_t pipeline_cuda_convolution_product_bytes(const PipelineCudaConvolution *);
int pipeline_cuda_convolution_product(PipelineCudaDevice *, const PipelineCudaConvolution *, const float *,
                                      const float *, const float *, float *, float *);
/* convolution_columns.cu: in bfloat16. Bytes of workspace, 0: not this shape. bias, dx and dw may be NULL; *added: the
 * result has the bias already. */
size_t pipeline_cuda_convolution_columns_bytes(const PipelineCudaConvolution *);
int pipeline_cuda_convolution_columns_forward(PipelineCudaDevice *, const PipelineCudaConvolution *, const float *,
                                              const float *, const float *, float *, bool *);
int pipeline_cuda_convolution_columns_backward(PipelineCudaDevice *, const PipelineCudaConvolution *, const float *,
                                               const float *, const float *, float *, float *);
int pipeline_cuda_max_pool(PipelineCudaDevice *, const PipelineCudaPool *, const float *, float *, uint32_t *);
int pipeline_cuda_max_pool_backward(PipelineCudaDevice *, const PipelineCudaPool *, const uint32_t *, const float *,
                                    float *);
int pipeline_cuda_average_pool(PipelineCudaDevice *, const PipelineCudaPool *, const float *, float *);
int pipeline_cuda_average_pool_backward(PipelineCudaDevice *, const PipelineCudaPool *, const float *, float *);
/* normalization.cu */
int pipeline_cuda_batch_norm(PipelineCudaDevice *, const PipelineCudaBatchNorm *, const float *, const float *,
                             const float *, float *, float *, float *, float *);
int pipeline_cuda_batch_norm_backward(PipelineCudaDevice *, const PipelineCudaBatchNorm *, const float *, const float *,
                                      const float *, const float *, float *, float *, float *, float *);
int pipeline_cuda_layer_norm(PipelineCudaDevice *, size_t, size_t, float, const float *, const float *, const float *,
                             float *, float *);
int pipeline_cuda_layer_norm_backward(PipelineCudaDevice *, size_t, size_t, const float *, const float *, const float *,
                                      const float *, float *, float *, float *);
/* group_normalization.cu */
int pipeline_cuda_group_norm(PipelineCudaDevice *, const PipelineCudaGroupNorm *, const float *, const float *,
                             const float *, float *, float *);
int pipeline_cuda_group_norm_backward(PipelineCudaDevice *, const PipelineCudaGroupNorm *, const float *, const float *,
                                      const float *, const float *, float *, float *, float *);
/* place.cu */
int pipeline_cuda_move(PipelineCudaDevice *, const PipelineCudaWalk *, float, const float *, float *);
int pipeline_cuda_gather(PipelineCudaDevice *, size_t, size_t, size_t, const int32_t *, size_t, const float *, float *);
int pipeline_cuda_gather_backward(PipelineCudaDevice *, size_t, size_t, size_t, const int32_t *, const int32_t *,
                                  size_t, const float *, float *);
int pipeline_cuda_pick(PipelineCudaDevice *, const int32_t *, const float *, const float *, float *, size_t);
/* recurrent.cu */
int pipeline_cuda_lstm(PipelineCudaDevice *, const PipelineCudaCell *, float *, const float *, float *, float *);
int pipeline_cuda_lstm_backward(PipelineCudaDevice *, const PipelineCudaCell *, const float *, const float *,
                                const float *, const float *, float *, float *);
int pipeline_cuda_gru_gates(PipelineCudaDevice *, const PipelineCudaCell *, float *, const float *, const float *,
                            const float *, float *);
int pipeline_cuda_gru_state(PipelineCudaDevice *, const PipelineCudaCell *, float *, float *, const float *,
                            const float *, float *);
int pipeline_cuda_gru_backward_state(PipelineCudaDevice *, const PipelineCudaCell *, const float *, const float *,
                                     float *, float *, float *);
int pipeline_cuda_gru_backward_gates(PipelineCudaDevice *, const PipelineCudaCell *, const float *, const float *,
                                     const float *, const float *, const float *, float *, float *, float *, float *);
/* learn.cu */
int pipeline_cuda_loss(PipelineCudaDevice *, const PipelineCudaLoss *, const float *, const float *, float *);
int pipeline_cuda_update(PipelineCudaDevice *, const PipelineCudaUpdate *);
