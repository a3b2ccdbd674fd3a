/* Built with CUDA_SHIM_THREADS and ThreadSanitizer: a missing barrier is a data race, whatever the results are. */
#include "tests/cuda_shim/test_support.h"

template <bool barrier> static __global__ void rotate(float *data)
{
  __shared__ float part[32];
  part[threadIdx.x] = data[threadIdx.x];
  if (barrier) __syncthreads();
  data[threadIdx.x] = part[(threadIdx.x + 1) % blockDim.x];
}

/* A shuffle orders registers, not memory: __syncwarp does. */
template <bool barrier> static __global__ void shuffle(float *data)
{
  __shared__ float part[32];
  float value = data[threadIdx.x];
  part[threadIdx.x] = value;
  value = __shfl_down_sync(0xffffffffu, value, 1);
  if (barrier) __syncwarp();
  data[threadIdx.x] = value + part[(threadIdx.x + 7) % 32];
}

template <bool atomic> static __global__ void count(int *total)
{
  if (atomic)
    atomicAdd(total, 1);
  else
    *total += 1;
}

template <bool good> static void run_rotate()
{
  Device<float> data(numbers(32, 1));
  LAUNCH(rotate<good>, 2, 32, 0, nullptr, data.get());
  cudaDeviceSynchronize();
}

template <bool good> static void run_shuffle()
{
  Device<float> data(numbers(32, 1));
  LAUNCH(shuffle<good>, 2, 32, 0, nullptr, data.get());
  cudaDeviceSynchronize();
}

template <bool good> static void run_count()
{
  Device<int> total(std::vector<int>(1, 0));
  LAUNCH(count<good>, 2, 32, 0, nullptr, total.get());
  cudaDeviceSynchronize();
}

static const struct {
  const char *kernel;
  void (*good)(), (*bad)();
} kernels[] = {{"rotate", run_rotate<true>, run_rotate<false>},
               {"shuffle", run_shuffle<true>, run_shuffle<false>},
               {"count", run_count<true>, run_count<false>}};

START_TEST(test_races)
{
  int ended = 0;
  std::string good = child(kernels[_i].good, &ended), bad = child(kernels[_i].bad, &ended);
  ck_assert_msg(good.find("ThreadSanitizer") == std::string::npos, "%s", good.c_str());
  ck_assert_msg(bad.find("data race") != std::string::npos, "no data race: %s", bad.c_str());
  ck_assert_msg(bad.find(kernels[_i].kernel) != std::string::npos, "%s", bad.c_str());
}
END_TEST

int main()
{
  Suite *suite = suite_create("cuda_shim_races");
  TCase *tcase = tcase_create("races");
  tcase_set_timeout(tcase, 60);
  tcase_add_loop_test(tcase, test_races, 0, 3);
  suite_add_tcase(suite, tcase);
  return run_suite(suite);
}
