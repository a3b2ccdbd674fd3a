/* Kernels as they are usually written, against plain loops; each with threads in order and shuffled. */
#include "tests/cuda_shim/include/cuda_bf16.h"
#include "tests/cuda_shim/include/cuda_fp16.h"
#include "tests/cuda_shim/test_support.h"

#include <cmath>

#ifdef CUDA_SHIM_THREADS /* the system orders them; each costs a thread */
constexpr int orders = 1, softmax_rows = 4;
#else
constexpr int orders = 4, softmax_rows = 200;
#endif
static const char *const seeds[] = {"0", "1", "2", "3"};

static void set_seed(int number)
{
  setenv("CUDA_SHIM_SEED", seeds[number], 1); /* each test is a process of its own, so the shim has not looked yet */
}

/* --- softmax: a block a row, shuffles within warps, shared memory between them ---------------------------------------
 */
static __device__ float block_reduce(float value, bool largest)
{
  __shared__ float parts[32];
  for (int step = 16; step > 0; step /= 2) {
    float other = __shfl_down_sync(0xffffffffu, value, step);
    value = largest ? fmaxf(value, other) : value + other;
  }
  unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  if (lane == 0) parts[warp] = value;
  __syncthreads();
  value = parts[0];
  for (unsigned i = 1; i < warps; i++) value = largest ? fmaxf(value, parts[i]) : value + parts[i];
  __syncthreads();
  return value;
}

static __global__ void softmax(const float *x, float *y, int columns)
{
  x += blockIdx.x * static_cast<size_t>(columns);
  y += blockIdx.x * static_cast<size_t>(columns);
  float largest = -INFINITY, sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < columns; i += static_cast<int>(blockDim.x))
    largest = fmaxf(largest, x[i]);
  largest = block_reduce(largest, true);
  for (int i = static_cast<int>(threadIdx.x); i < columns; i += static_cast<int>(blockDim.x))
    sum += __expf(x[i] - largest);
  sum = block_reduce(sum, false);
  for (int i = static_cast<int>(threadIdx.x); i < columns; i += static_cast<int>(blockDim.x))
    y[i] = __expf(x[i] - largest) / sum;
}

START_TEST(test_softmax)
{
  set_seed(_i);
  constexpr size_t rows = softmax_rows, columns = 300;
  std::vector<float> x = numbers(rows * columns, 1);
  Device<float> from(x), to(rows * columns);
  LAUNCH(softmax, rows, 128, 0, nullptr, from.get(), to.get(), static_cast<int>(columns));
  OK(cudaGetLastError());
  std::vector<float> y = to.read();
  for (size_t r = 0; r < rows; r++) {
    double sum = 0;
    for (size_t c = 0; c < columns; c++) sum += std::exp(static_cast<double>(x[r * columns + c]));
    for (size_t c = 0; c < columns; c++)
      ck_assert_double_eq_tol(y[r * columns + c], std::exp(static_cast<double>(x[r * columns + c])) / sum, 1e-6);
  }
}
END_TEST

/* --- a transposition through a tile, and a sum in dynamic shared memory
 * ------------------------------------------------ */
static __global__ void transpose(const float *from, float *to, int rows, int columns)
{
  __shared__ float tile[16][17];
  int x = static_cast<int>(blockIdx.x * 16 + threadIdx.x), y = static_cast<int>(blockIdx.y * 16 + threadIdx.y);
  if (x < columns && y < rows) tile[threadIdx.y][threadIdx.x] = from[y * columns + x];
  __syncthreads();
  x = static_cast<int>(blockIdx.y * 16 + threadIdx.x);
  y = static_cast<int>(blockIdx.x * 16 + threadIdx.y);
  if (x < rows && y < columns) to[y * rows + x] = tile[threadIdx.x][threadIdx.y];
}

START_TEST(test_transpose)
{
  set_seed(_i);
  constexpr int rows = 45, columns = 37;
  std::vector<float> values = numbers(rows * columns, 3);
  Device<float> from(values), to(rows * columns);
  LAUNCH(transpose, dim3(3, 3), dim3(16, 16), 0, nullptr, from.get(), to.get(), rows, columns);
  std::vector<float> result = to.read();
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++)
      ck_assert_float_eq(result[static_cast<size_t>(c * rows + r)], values[static_cast<size_t>(r * columns + c)]);
}
END_TEST

static __global__ void sum(const float *values, int n, float *result)
{
  DYNAMIC_SHARED(float, part);
  float own = 0;
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < n;
       i += static_cast<int>(gridDim.x * blockDim.x))
    own += values[i];
  part[threadIdx.x] = own;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
  }
  if (threadIdx.x == 0) atomicAdd(result, part[0]);
}

START_TEST(test_sum)
{
  set_seed(_i);
  std::vector<float> values(10000, 0.5f);
  Device<float> from(values), result(std::vector<float>(1, 0.0f));
  LAUNCH(sum, 7, 256, 256 * sizeof(float), nullptr, from.get(), 10000, result.get());
  ck_assert_float_eq(result.read()[0], 5000.0f);
}
END_TEST

/* --- every shuffle at every width, against CUDA's rules
 * ---------------------------------------------------------------- */
static __global__ void shuffles(int *out, int width, int operand)
{
  int lane = static_cast<int>(threadIdx.x);
  out[lane] = __shfl_sync(0xffffffffu, lane, operand, width);
  out[32 + lane] = __shfl_up_sync(0xffffffffu, lane, static_cast<unsigned>(operand), width);
  out[64 + lane] = __shfl_down_sync(0xffffffffu, lane, static_cast<unsigned>(operand), width);
  out[96 + lane] = __shfl_xor_sync(0xffffffffu, lane, operand, width);
}

START_TEST(test_shuffles)
{
  set_seed(_i);
  Device<int> out(128);
  for (int width = 1; width <= 32; width *= 2)
    for (int operand = 0; operand < 32; operand++) {
      LAUNCH(shuffles, 1, 32, 0, nullptr, out.get(), width, operand);
      std::vector<int> result = out.read();
      for (int lane = 0; lane < 32; lane++) {
        int base = lane / width * width, up = lane - operand, down = lane + operand, other = lane ^ operand;
        auto at = static_cast<size_t>(lane);
        ck_assert_int_eq(result[at], base + operand % width);
        ck_assert_int_eq(result[32 + at], up < base ? lane : up);
        ck_assert_int_eq(result[64 + at], down >= base + width ? lane : down);
        ck_assert_int_eq(result[96 + at], other >= base + width ? lane : other);
      }
    }
}
END_TEST

static __global__ void votes(unsigned *out, float *undefined)
{
  unsigned lane = threadIdx.x % 32;
  unsigned low = __ballot_sync(0xffffffffu, lane % 3 == 0);
  if (lane < 8) { /* part of the warp goes its own way */
    low += __shfl_sync(0xffu, lane, 3);
    float nobody = __shfl_sync(0xffu, 1.0f, 20); /* of a lane that is not there */
    if (threadIdx.x == 0) *undefined = nobody;
  }
  __syncwarp();
  int all = __all_sync(0xffffffffu, lane < 32), any = __any_sync(0xffffffffu, lane == 31),
      none = __any_sync(0xffffffffu, 0);
  int counted = __syncthreads_count(threadIdx.x < 40), both = __syncthreads_and(1),
      either = __syncthreads_or(threadIdx.x == 63);
  out[threadIdx.x] = low;
  out[64 + threadIdx.x] =
      static_cast<unsigned>(all * 100000 + any * 10000 + none * 1000 + counted * 10 + both + either);
}

START_TEST(test_votes)
{
  set_seed(_i);
  Device<unsigned> out(128);
  Device<float> undefined(1);
  LAUNCH(votes, 1, 64, 0, nullptr, out.get(), undefined.get());
  std::vector<unsigned> result = out.read();
  for (size_t i = 0; i < 64; i++) {
    ck_assert_uint_eq(result[i], 0x49249249u + (i % 32 < 8 ? 3 : 0));
    ck_assert_uint_eq(result[64 + i], 110402);
  }
  ck_assert(std::isnan(undefined.read()[0]));
}
END_TEST

/* --- what nobody has written is NaN
 * -------------------------------------------------------------------------------------- */
static __global__ void read_shared(float *out, bool write)
{
  __shared__ float still[32];
  DYNAMIC_SHARED(float, dynamic);
  out[threadIdx.x] = still[threadIdx.x];
  out[32 + threadIdx.x] = dynamic[threadIdx.x];
  if (write) still[threadIdx.x] = dynamic[threadIdx.x] = 1;
}

START_TEST(test_poison)
{
  Device<float> fresh(10), out(64);
  for (float value : fresh.read()) ck_assert(std::isnan(value));
  for (int round = 0; round < 2; round++) { /* the second launch does not see what the first has left */
    LAUNCH(read_shared, 2, 32, 128, nullptr, out.get(), true);
    for (float value : out.read()) ck_assert(std::isnan(value));
  }
}
END_TEST

/* --- integers by atomics, vectors, bfloat16
 * ------------------------------------------------------------------------------ */
static __global__ void atomics(int *counts, unsigned *largest, float4 *vector)
{
  int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(&counts[i % 3], 1);
  atomicMax(largest, static_cast<unsigned>(i));
  if (i == 0) *vector = make_float4(rsqrtf(4), __saturatef(2), fmaf(2, 3, 4), __int_as_float(0x40400000));
}

START_TEST(test_atomics)
{
  set_seed(_i);
  Device<int> counts(std::vector<int>(3, 0));
  Device<unsigned> largest(std::vector<unsigned>(1, 0));
  Device<float4> vector(1);
  LAUNCH(atomics, 4, 75, 0, nullptr, counts.get(), largest.get(), vector.get());
  for (int count : counts.read()) ck_assert_int_eq(count, 100);
  ck_assert_uint_eq(largest.read()[0], 299);
  float4 v = vector.read()[0];
  ck_assert(v.x == 0.5f && v.y == 1.0f && v.z == 10.0f && v.w == 3.0f);
}
END_TEST

START_TEST(test_bfloat16)
{
  ck_assert_float_eq(__bfloat162float(__float2bfloat16(1.0f)), 1.0f);
  ck_assert_float_eq(__bfloat162float(__float2bfloat16(1.00390625f)), 1.0f);      /* a tie goes to the even one */
  ck_assert_float_eq(__bfloat162float(__float2bfloat16(1.01171875f)), 1.015625f); /* and here up */
  ck_assert_float_eq(__bfloat162float(__float2bfloat16(3.4e38f)), INFINITY);
  ck_assert(std::isnan(__bfloat162float(__float2bfloat16(NAN))));
}
END_TEST

/* Every number there and back; between two neighbours the even one, and just beside the middle the nearer one. */
START_TEST(test_float16)
{
  for (unsigned bits = 0; bits < 0x10000; bits++) {
    __half value(0), next(0);
    value.bits = static_cast<uint16_t>(bits);
    next.bits = static_cast<uint16_t>(bits + 1);
    bool finite = (bits & 0x7fffu) < 0x7c00u;
    if ((bits & 0x7fffu) > 0x7c00u)
      ck_assert(std::isnan(__half2float(value)) && std::isnan(__half2float(__half(NAN))));
    else
      ck_assert_uint_eq(__half(__half2float(value)).bits, bits);
    if (!finite || (next.bits & 0x7fffu) >= 0x7c00u) continue;
    float middle = 0.5f * (__half2float(value) + __half2float(next));
    ck_assert_uint_eq(__half(middle).bits, bits % 2 == 0 ? bits : bits + 1);
    ck_assert_uint_eq(__half(std::nextafter(middle, 0.0f)).bits, bits);
  }
  ck_assert_float_eq(__half2float(__float2half(1.0f)), 1.0f);
  ck_assert_float_eq(__half2float(__float2half(65519.0f)), 65504.0f);
  ck_assert_float_eq(__half2float(__float2half(65520.0f)), INFINITY);
}
END_TEST

/* --- the grid: every block and thread once, in any order
 * ------------------------------------------------------------------ */
static __global__ void mark(int *out)
{
  unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] += 1;
}

START_TEST(test_grid)
{
  set_seed(_i);
  Device<int> out(std::vector<int>(2 * 3 * 4 * 5 * 6 * 7, 0));
  LAUNCH(mark, dim3(2, 3, 4), dim3(5, 6, 7), 0, nullptr, out.get());
  for (int count : out.read()) ck_assert_int_eq(count, 1);
}
END_TEST

int main()
{
  Suite *suite = suite_create("cuda_shim_kernels");
  TCase *shuffled = tcase_create("every order"), *once = tcase_create("once");
  tcase_set_timeout(shuffled, 120);
  for (const TTest *test : {test_softmax, test_transpose, test_sum, test_shuffles, test_votes, test_atomics, test_grid})
    tcase_add_loop_test(shuffled, test, 0, orders);
  tcase_add_test(once, test_poison);
  tcase_add_test(once, test_bfloat16);
  tcase_add_test(once, test_float16);
  suite_add_tcase(suite, shuffled);
  suite_add_tcase(suite, once);
  return run_suite(suite);
}
