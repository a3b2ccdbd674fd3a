/* What a kernel on the processor sees of its CUDA thread: indices, barriers, exchanges within a warp. Threads of a
 * block are fibers of one thread of the operating system, or (CUDA_SHIM_THREADS) threads of it, for ThreadSanitizer. */
#pragma once

#include "vector_types.h"

#include <cstdint>
#include <cstring>
#include <type_traits>

#ifdef CUDA_SHIM_THREADS
#define CUDA_SHIM_THREAD_LOCAL thread_local
#else
#define CUDA_SHIM_THREAD_LOCAL
#endif

enum CudaShimBarrier { CUDA_SHIM_BARRIER, CUDA_SHIM_BARRIER_COUNT, CUDA_SHIM_BARRIER_AND, CUDA_SHIM_BARRIER_OR };
enum CudaShimExchange {
  CUDA_SHIM_WARP_BARRIER,
  CUDA_SHIM_SHUFFLE,
  CUDA_SHIM_SHUFFLE_UP,
  CUDA_SHIM_SHUFFLE_DOWN,
  CUDA_SHIM_SHUFFLE_XOR,
  CUDA_SHIM_BALLOT
};
/* Where a thread of the block is. */
struct CudaShimIndex {
  uint3 thread, block;
  dim3 block_size, grid_size;
};

extern CUDA_SHIM_THREAD_LOCAL const CudaShimIndex *cuda_shim_index; /* NULL outside kernels */

/* Waits until every thread of the block is at this very line: else the program ends with a message. */
int cuda_shim_barrier(CudaShimBarrier kind, int predicate, const char *file, int line);
/* Waits for the lanes of `mask`; returns the value of the lane that `operand` says (CUDA C++ Programming Guide, "Warp
 * Shuffle Functions"), or the mask of the lanes with value not 0. Bits of NaN where CUDA leaves the result undefined.
 */
uint64_t cuda_shim_exchange(CudaShimExchange kind, uint32_t mask, uint64_t value, int operand, int width,
                            const char *file, int line);
uint32_t cuda_shim_active_mask(void);
/* The first byte of the block's dynamic shared memory; aligned to 16. */
void *cuda_shim_dynamic_shared(void);

#define threadIdx (cuda_shim_index->thread)
#define blockIdx (cuda_shim_index->block)
#define blockDim (cuda_shim_index->block_size)
#define gridDim (cuda_shim_index->grid_size)
constexpr int warpSize = 32;

static inline void __syncthreads(const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
  cuda_shim_barrier(CUDA_SHIM_BARRIER, 0, file, line);
}
static inline int __syncthreads_count(int predicate, const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
  return cuda_shim_barrier(CUDA_SHIM_BARRIER_COUNT, predicate, file, line);
}
static inline int __syncthreads_and(int predicate, const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
  return cuda_shim_barrier(CUDA_SHIM_BARRIER_AND, predicate, file, line);
}
static inline int __syncthreads_or(int predicate, const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
  return cuda_shim_barrier(CUDA_SHIM_BARRIER_OR, predicate, file, line);
}
static inline void __syncwarp(unsigned mask = 0xffffffffu, const char *file = __builtin_FILE(),
                              int line = __builtin_LINE())
{
  cuda_shim_exchange(CUDA_SHIM_WARP_BARRIER, mask, 0, 0, 32, file, line);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate, const char *file = __builtin_FILE(),
                                     int line = __builtin_LINE())
{
  return static_cast<unsigned>(cuda_shim_exchange(CUDA_SHIM_BALLOT, mask, predicate != 0, 0, 32, file, line));
}
static inline int __any_sync(unsigned mask, int predicate, const char *file = __builtin_FILE(),
                             int line = __builtin_LINE())
{
  return __ballot_sync(mask, predicate, file, line) != 0;
}
static inline int __all_sync(unsigned mask, int predicate, const char *file = __builtin_FILE(),
                             int line = __builtin_LINE())
{
  return __ballot_sync(mask, !predicate, file, line) == 0;
}
static inline unsigned __activemask(void)
{
  return cuda_shim_active_mask();
}

template <class Value>
static inline Value cuda_shim_shuffle(CudaShimExchange kind, unsigned mask, Value value, int operand, int width,
                                      const char *file, int line)
{
  static_assert(std::is_trivially_copyable<Value>::value && sizeof(Value) <= 8, "shuffles move at most 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(Value));
  bits = cuda_shim_exchange(kind, mask, bits, operand, width, file, line);
  std::memcpy(&value, &bits, sizeof(Value));
  return value;
}
#define CUDA_SHIM_SHUFFLE_FUNCTION(name, kind, operand_type)                                                           \
  template <class Value>                                                                                               \
  static inline Value name(unsigned mask, Value value, operand_type operand, int width = 32,                           \
                           const char *file = __builtin_FILE(), int line = __builtin_LINE())                           \
  {                                                                                                                    \
    return cuda_shim_shuffle(kind, mask, value, static_cast<int>(operand), width, file, line);                         \
  }
CUDA_SHIM_SHUFFLE_FUNCTION(__shfl_sync, CUDA_SHIM_SHUFFLE, int)
CUDA_SHIM_SHUFFLE_FUNCTION(__shfl_up_sync, CUDA_SHIM_SHUFFLE_UP, unsigned)
CUDA_SHIM_SHUFFLE_FUNCTION(__shfl_down_sync, CUDA_SHIM_SHUFFLE_DOWN, unsigned)
CUDA_SHIM_SHUFFLE_FUNCTION(__shfl_xor_sync, CUDA_SHIM_SHUFFLE_XOR, int)
#undef CUDA_SHIM_SHUFFLE_FUNCTION
