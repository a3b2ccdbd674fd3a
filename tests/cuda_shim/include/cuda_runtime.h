/* CUDA C++ for a compiler of C++: the words of the language, and the runtime API. */
#pragma once

#include "cuda_runtime_api.h"
#include "cuda_shim_math.h"
#include "cuda_shim_thread.h"

#include <math.h> /* functions of <cmath> in the global namespace too, as in CUDA C++ */

#define CUDA_SHIM 1

#define __global__
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
/* One block runs at a time: its shared arrays are static ones, in a section of their own that is filled with NaN
 * before each block. (gcc leaves those of templates out of the section: clang is asked to compile kernels.) */
#define __shared__ static __attribute__((used, section("cuda_shim_shared")))

template <class T> static inline cudaError_t cudaMalloc(T **pointer, size_t bytes)
{
  return cudaMalloc(reinterpret_cast<void **>(pointer), bytes);
}
template <class T> static inline cudaError_t cudaMallocAsync(T **pointer, size_t bytes, cudaStream_t stream)
{
  return cudaMallocAsync(reinterpret_cast<void **>(pointer), bytes, stream);
}
template <class T> static inline cudaError_t cudaMallocHost(T **pointer, size_t bytes)
{
  return cudaMallocHost(reinterpret_cast<void **>(pointer), bytes);
}
static inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph)
{
  return cudaGraphInstantiate(executable, graph, 0);
}
static inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event)
{
  return cudaStreamWaitEvent(stream, event, 0);
}

/* A kernel's permission to use more dynamic shared memory than 48 KiB a block. */
cudaError_t cuda_shim_set_attribute(const void *kernel, cudaFuncAttribute attribute, int value);
cudaError_t cuda_shim_occupancy(int *blocks, int block_size, size_t shared_bytes);
template <class... Parameters>
static inline cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute attribute, int value)
{
  return cuda_shim_set_attribute(reinterpret_cast<const void *>(kernel), attribute, value);
}
template <class... Parameters>
static inline cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void (*)(Parameters...),
                                                                        int block_size, size_t shared_bytes)
{
  return cuda_shim_occupancy(blocks, block_size, shared_bytes);
}
