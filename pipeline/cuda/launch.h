/* How kernels are written so that the same .cu compiles by nvcc and, through a shim that runs kernels on the CPU, by a
 * C++ compiler. Everything else in the .cu files is the plain CUDA runtime, cuBLAS and cuDNN.
 *
 *     LAUNCH(kernel, grid, block, shared_bytes, stream, arguments…)   a template in parentheses: (kernel<A, B>)
 *     DYNAMIC_SHARED(float, name);                                    the kernel's dynamic shared memory, as an array
 */
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#ifdef __CUDACC__
#define LAUNCH(kernel, grid, block, shared, stream, ...) kernel<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__)
#define DYNAMIC_SHARED(type, name)                                                                                     \
  extern __shared__ __align__(16) unsigned char kedge_dynamic_shared[];                                                \
  type *name = reinterpret_cast<type *>(kedge_dynamic_shared)
#else
#include "cuda_shim_launch.h" /* defines both */
#endif
