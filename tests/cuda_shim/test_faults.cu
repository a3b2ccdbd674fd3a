/* Faults that kernels and their callers really have, each in a process of its own: the shim names kernel, block and
 * place. */
#include "tests/cuda_shim/include/cublas_v2.h"
#include "tests/cuda_shim/test_support.h"

#include <cmath>
#include <csignal>

static void demand(void (*function)(), int signal, const std::vector<const char *> &words)
{
  int ended = 0;
  std::string text = child(function, &ended);
  if (address_sanitizer && text.find("AddressSanitizer: use-after-poison") != std::string::npos)
    return; /* it saw it first */
  ck_assert_msg(ended == signal || address_sanitizer, "ended by signal %d, not %d: %s", ended, signal, text.c_str());
  for (const char *word : words)
    ck_assert_msg(text.find(word) != std::string::npos, "\"%s\" is not in: %s", word, text.c_str());
}

/* --- a thread returns before a barrier ------------------------------------------------------------------------------
 */
static __global__ void early_return(float *data, int n)
{
  __shared__ float part[64];
  int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n) return;
  part[threadIdx.x] = data[i];
  __syncthreads();
  data[i] = part[0];
}

static void run_early_return()
{
  Device<float> data(numbers(100, 1));
  LAUNCH(early_return, 2, 64, 0, nullptr, data.get(), 100);
  cudaDeviceSynchronize();
}

START_TEST(test_early_return)
{
  demand(run_early_return, SIGABRT,
         {"kernel early_return, block (1,0,0): barrier divergence",
          "thread (0,0,0) waits at __syncthreads of test_faults.cu:", "thread (36,0,0) has returned"});
}
END_TEST

/* --- threads wait at different barriers -----------------------------------------------------------------------------
 */
static __global__ void two_barriers(float *data)
{
  if (threadIdx.x < 16) {
    data[threadIdx.x] = 0;
    __syncthreads();
  } else {
    __syncthreads();
  }
}

static void run_two_barriers()
{
  Device<float> data(64);
  LAUNCH(two_barriers, 1, 64, 0, nullptr, data.get());
  cudaDeviceSynchronize();
}

START_TEST(test_two_barriers)
{
  demand(run_two_barriers, SIGABRT,
         {"kernel two_barriers, block (0,0,0)", "barrier divergence", "thread (0,0,0)", "thread (16,0,0)"});
}
END_TEST

/* --- a barrier is missing -------------------------------------------------------------------------------------------
 */
template <bool barrier> static __global__ void reverse(const float *from, float *to)
{
  __shared__ float part[64];
  part[threadIdx.x] = from[threadIdx.x];
  if (barrier) __syncthreads();
  to[threadIdx.x] = part[blockDim.x - 1 - threadIdx.x];
}

/* A neighbour's value in a loop: wrong only where the second barrier of a round is missing. */
template <bool barrier> static __global__ void rotate(float *data, int rounds)
{
  __shared__ float part[64];
  float value = data[threadIdx.x];
  for (int i = 0; i < rounds; i++) {
    part[threadIdx.x] = value;
    __syncthreads();
    value = part[(threadIdx.x + 1) % blockDim.x];
    if (barrier) __syncthreads();
  }
  data[threadIdx.x] = value;
}

static int wrong_reversed(bool barrier)
{
  std::vector<float> values = numbers(64, 2);
  Device<float> from(values), to(64);
  if (barrier)
    LAUNCH(reverse<true>, 1, 64, 0, nullptr, from.get(), to.get());
  else
    LAUNCH(reverse<false>, 1, 64, 0, nullptr, from.get(), to.get());
  std::vector<float> result = to.read();
  int wrong = 0;
  for (size_t i = 0; i < 64; i++) wrong += !(result[i] == values[63 - i]);
  return wrong;
}

static int wrong_rotated(bool barrier)
{
  std::vector<float> values = numbers(64, 2);
  Device<float> data(values);
  if (barrier)
    LAUNCH(rotate<true>, 1, 64, 0, nullptr, data.get(), 5);
  else
    LAUNCH(rotate<false>, 1, 64, 0, nullptr, data.get(), 5);
  std::vector<float> result = data.read();
  int wrong = 0;
  for (size_t i = 0; i < 64; i++) wrong += !(result[i] == values[(i + 5) % 64]);
  return wrong;
}

START_TEST(test_missing_barrier)
{
  ck_assert_int_eq(wrong_reversed(true), 0);
  ck_assert_int_gt(wrong_reversed(false), 0);
}
END_TEST

START_TEST(test_missing_barrier_shuffled)
{
  setenv("CUDA_SHIM_SEED", "7", 1);
  ck_assert_int_eq(wrong_reversed(true), 0);
  ck_assert_int_gt(wrong_reversed(false), 0);
  ck_assert_int_eq(wrong_rotated(true), 0);
  ck_assert_int_gt(wrong_rotated(false), 0);
}
END_TEST

/* --- the host dereferences device memory -----------------------------------------------------------------------------
 */
static void run_host_dereference()
{
  float *data = nullptr;
  cudaMalloc(&data, 100);
  volatile float *at = data;
  at[3] = 1;
}

START_TEST(test_host_dereference)
{
  demand(run_host_dereference, SIGSEGV,
         {"the host reads or writes device memory", "byte 12 of an allocation of 100 bytes"});
}
END_TEST

static __global__ void store(float *data)
{
  data[threadIdx.x] = 1;
}

static void run_host_pointer()
{
  float values[32];
  LAUNCH(store, 1, 32, 0, nullptr, values);
}

START_TEST(test_host_pointer_in_kernel)
{
  demand(run_host_pointer, SIGABRT, {"kernel store: parameter 1", "is memory of the host"});
}
END_TEST

/* --- a block is too large --------------------------------------------------------------------------------------------
 */
static void run_too_large()
{
  Device<float> data(2048);
  LAUNCH(store, 1, 2048, 0, nullptr, data.get());
  if (cudaGetLastError() != cudaErrorInvalidConfiguration) abort();
  LAUNCH(store, 1, dim3(4, 4, 65), 0, nullptr, data.get());
  if (cudaGetLastError() != cudaErrorInvalidConfiguration) abort();
  LAUNCH(store, 1, 32, 49153, nullptr, data.get());
  if (cudaGetLastError() != cudaErrorInvalidConfiguration) abort();
  LAUNCH(store, 0, 32, 0, nullptr, data.get());
  if (cudaGetLastError() != cudaErrorInvalidConfiguration) abort();
  if (cudaFuncSetAttribute(store, cudaFuncAttributeMaxDynamicSharedMemorySize, 1 << 20) != cudaErrorInvalidValue)
    abort();
  if (cudaFuncSetAttribute(store, cudaFuncAttributeMaxDynamicSharedMemorySize, 60000) != cudaSuccess) abort();
  cudaGetLastError();
  LAUNCH(store, 1, 32, 49153, nullptr, data.get());
  if (cudaGetLastError() != cudaSuccess) abort();
}

START_TEST(test_too_large)
{
  demand(run_too_large, 0,
         {"store: a block of (2048,1,1) threads; at most 1024 (cudaErrorInvalidConfiguration)",
          "49153 bytes of dynamic shared memory, 49152 are allowed"});
}
END_TEST

/* --- a wrong leading dimension
 * ---------------------------------------------------------------------------------------- */
static void run_leading_dimension()
{
  cublasHandle_t handle = nullptr;
  Device<float> a(numbers(12, 1)), b(numbers(20, 2)), c(15);
  float one = 1, zero = 0;
  cublasCreate(&handle);
  /* A is 3 × 4 and B 4 × 5: leading dimensions 3, 4, 3. */
  if (cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 3, 5, 4, &one, a.get(), 2, b.get(), 4, &zero, c.get(), 3) !=
      CUBLAS_STATUS_INVALID_VALUE)
    abort();
  if (cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_T, 3, 5, 4, &one, a.get(), 3, b.get(), 4, &zero, c.get(), 3) !=
      CUBLAS_STATUS_INVALID_VALUE)
    abort();
  if (cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 3, 5, 4, &one, a.get(), 3, b.get(), 4, &zero, c.get(), 1) !=
      CUBLAS_STATUS_INVALID_VALUE)
    abort();
  if (cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 3, 5, 4, &one, a.get(), 3, b.get(), 4, &zero, c.get(), 3) !=
      CUBLAS_STATUS_SUCCESS)
    abort();
  /* Large enough for the rows, but the matrix goes beyond its allocation. */
  cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 3, 5, 4, &one, a.get(), 4, b.get(), 4, &zero, c.get(), 3);
  cudaDeviceSynchronize();
}

START_TEST(test_leading_dimension)
{
  demand(run_leading_dimension, SIGABRT,
         {"cublasSgemm: the leading dimension of A is 2, it has 3 rows (CUBLAS_STATUS_INVALID_VALUE)",
          "the leading dimension of B is 4, it has 5 rows", "the leading dimension of C is 1, it has 3 rows",
          "cublasSgemm: A: 60 bytes at"});
}
END_TEST

/* --- memory ----------------------------------------------------------------------------------------------------------
 */
static void run_out_of_bounds()
{
  Device<float> data(30);
  LAUNCH(store, 1, 32, 0, nullptr, data.get());
  cudaDeviceSynchronize();
}

START_TEST(test_out_of_bounds)
{
  demand(run_out_of_bounds, SIGABRT, {"kernel store: something was written beside an allocation of 120 bytes"});
}
END_TEST

static __global__ void load(const float *data, float *out)
{
  out[threadIdx.x] = data[threadIdx.x];
}

static void run_read_out_of_bounds()
{
  Device<float> data(numbers(30, 1)), out(32);
  LAUNCH(load, 1, 32, 0, nullptr, data.get(), out.get());
  if (!std::isnan(out.read()[30])) abort();
  if (std::isnan(out.read()[29])) abort();
}

/* NaN lies beside an allocation; AddressSanitizer sees the read itself. */
START_TEST(test_read_out_of_bounds)
{
  int ended = 0;
  std::string text = child(run_read_out_of_bounds, &ended);
  ck_assert_int_eq(ended, 0);
  ck_assert_int_eq(text.find("use-after-poison") != std::string::npos, address_sanitizer);
}
END_TEST

static __global__ void store_shared(int n)
{
  DYNAMIC_SHARED(float, part);
  part[n] = 1;
}

static void run_out_of_shared()
{
  LAUNCH(store_shared, 1, 1, 64, nullptr, 16);
  cudaDeviceSynchronize();
}

START_TEST(test_out_of_dynamic_shared)
{
  demand(run_out_of_shared, SIGABRT,
         {"kernel store_shared, block (0,0,0): something was written beside the 64 bytes of dynamic shared memory"});
}
END_TEST

static void run_use_after_free()
{
  float *data = nullptr;
  cudaMalloc(&data, 128);
  cudaFree(data);
  LAUNCH(store, 1, 32, 0, nullptr, data);
  for (int i = 0; i < 40; i++) {
    cudaMalloc(&data, 1 << 20);
    cudaFree(data);
  }
}

START_TEST(test_use_after_free)
{
  demand(run_use_after_free, SIGABRT, {"something was written into an allocation of 128 bytes", "after it was freed"});
}
END_TEST

static void run_wrong_copies()
{
  Device<float> data(numbers(8, 1));
  float values[16] = {};
  if (cudaMemcpy(values, data.get(), 4, cudaMemcpyHostToDevice) != cudaErrorInvalidValue) abort();
  if (cudaMemcpy(values, data.get(), 36, cudaMemcpyDeviceToHost) != cudaErrorInvalidValue) abort();
  if (cudaMemset(values, 0, 4) != cudaErrorInvalidValue) abort();
  if (cudaFree(values) != cudaErrorInvalidValue) abort();
  if (cudaFree(data.get() + 1) != cudaErrorInvalidValue) abort();
  if (cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(values)) != cudaErrorInvalidResourceHandle) abort();
}

START_TEST(test_wrong_copies)
{
  demand(run_wrong_copies, 0,
         {"cudaMemcpy: cudaMemcpyHostToDevice, but the destination is host memory and the source device memory "
          "(cudaErrorInvalidValue)",
          "source: 36 bytes at", "byte 0 of an allocation of 32 bytes", "is no device memory",
          "no allocation begins at"});
}
END_TEST

/* --- warps -----------------------------------------------------------------------------------------------------------
 */
static __global__ void lane_missing(float *data)
{
  if (threadIdx.x == 5) return;
  data[threadIdx.x] = __shfl_down_sync(0xffffffffu, data[threadIdx.x], 1);
}

static void run_lane_missing()
{
  Device<float> data(numbers(32, 1));
  LAUNCH(lane_missing, 1, 32, 0, nullptr, data.get());
  cudaDeviceSynchronize();
}

static __global__ void not_in_mask(float *data)
{
  data[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, data[threadIdx.x], 1);
}

static void run_not_in_mask()
{
  Device<float> data(numbers(32, 1));
  LAUNCH(not_in_mask, 1, 32, 0, nullptr, data.get());
  cudaDeviceSynchronize();
}

START_TEST(test_shuffle_faults)
{
  demand(run_lane_missing, SIGABRT,
         {"kernel lane_missing, block (0,0,0)", "thread (0,0,0) waits in __shfl_down_sync with mask ffffffff",
          "thread (5,0,0) has returned"});
  demand(run_not_in_mask, SIGABRT, {"kernel not_in_mask", "the mask 0000ffff lacks the thread that calls"});
}
END_TEST

int main()
{
  return run_tests("cuda_shim_faults",
                   {test_early_return, test_two_barriers, test_missing_barrier, test_missing_barrier_shuffled,
                    test_host_dereference, test_host_pointer_in_kernel, test_too_large, test_leading_dimension,
                    test_out_of_bounds, test_read_out_of_bounds, test_out_of_dynamic_shared, test_use_after_free,
                    test_wrong_copies, test_shuffle_faults});
}
