/* Products against plain loops: transposes, leading dimensions, batches, bfloat16, where alpha and beta lie. */
#include "tests/cuda_shim/include/cublas_v2.h"
#include "tests/cuda_shim/include/cuda_bf16.h"
#include "tests/cuda_shim/test_support.h"

#include <cmath>

#define GOOD(call) ck_assert_msg((call) == CUBLAS_STATUS_SUCCESS, "%s", #call)

/* Column-major matrices with room beyond the rows. */
struct Case {
  cublasOperation_t transa, transb;
  int m, n, k, lda, ldb, ldc;
  float alpha, beta;
};
static const Case cases[] = {
    {CUBLAS_OP_N, CUBLAS_OP_N, 3, 5, 4, 3, 4, 3, 1, 0},     {CUBLAS_OP_N, CUBLAS_OP_N, 3, 5, 4, 7, 6, 5, 2, 0.5f},
    {CUBLAS_OP_T, CUBLAS_OP_N, 3, 5, 4, 4, 4, 3, 1, 1},     {CUBLAS_OP_N, CUBLAS_OP_T, 6, 2, 3, 6, 2, 6, -1, 0},
    {CUBLAS_OP_T, CUBLAS_OP_T, 17, 9, 33, 40, 9, 20, 1, 0}, {CUBLAS_OP_C, CUBLAS_OP_N, 1, 1, 8, 8, 8, 1, 1, 0},
    {CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 0, 4, 1, 4, 1, 2},
};
constexpr int n_cases = sizeof cases / sizeof *cases;

static float at(const std::vector<float> &matrix, size_t start, int ld, cublasOperation_t operation, int i, int j)
{
  int row = operation == CUBLAS_OP_N ? i : j, column = operation == CUBLAS_OP_N ? j : i;
  return matrix[start + static_cast<size_t>(column * ld + row)];
}

static void compare(const Case &c, const std::vector<float> &a, const std::vector<float> &b,
                    const std::vector<float> &before, const std::vector<float> &after, size_t start_a, size_t start_b,
                    size_t start_c)
{
  for (int j = 0; j < c.n; j++)
    for (int i = 0; i < c.ldc && start_c + static_cast<size_t>(j * c.ldc + i) < after.size(); i++) {
      size_t place = start_c + static_cast<size_t>(j * c.ldc + i);
      double sum = 0;
      for (int k = 0; i < c.m && k < c.k; k++)
        sum += static_cast<double>(at(a, start_a, c.lda, c.transa, i, k)) *
               static_cast<double>(at(b, start_b, c.ldb, c.transb, k, j));
      double expected =
          c.alpha * sum + (c.beta == 0 ? 0 : static_cast<double>(c.beta) * static_cast<double>(before[place]));
      if (i < c.m)
        ck_assert_double_eq_tol(after[place], expected, 1e-5);
      else if (!std::isnan(before[place]))
        ck_assert_float_eq(after[place], before[place]); /* beyond the rows: untouched */
    }
}

static size_t size_a(const Case &c)
{
  return static_cast<size_t>(c.lda * (c.transa == CUBLAS_OP_N ? c.k : c.m));
}

static size_t size_b(const Case &c)
{
  return static_cast<size_t>(c.ldb * (c.transb == CUBLAS_OP_N ? c.n : c.k));
}

START_TEST(test_product)
{
  const Case &c = cases[_i];
  cublasHandle_t handle = nullptr;
  GOOD(cublasCreate(&handle));
  std::vector<float> a = numbers(size_a(c) + 1, 1), b = numbers(size_b(c) + 1, 2),
                     before = numbers(static_cast<size_t>(c.ldc * c.n), 3);
  if (c.beta == 0) before.assign(before.size(), NAN); /* then nothing of it is read */
  Device<float> of_a(a), of_b(b), of_c(before);
  GOOD(cublasSgemm(handle, c.transa, c.transb, c.m, c.n, c.k, &c.alpha, of_a.get(), c.lda, of_b.get(), c.ldb, &c.beta,
                   of_c.get(), c.ldc));
  compare(c, a, b, before, of_c.read(), 0, 0, 0);
  /* alpha and beta on the device, read when the product runs */
  Device<float> again(before), factors(std::vector<float>{c.alpha, c.beta});
  ck_assert_int_eq(cublasSgemm(handle, c.transa, c.transb, c.m, c.n, c.k, factors.get(), of_a.get(), c.lda, of_b.get(),
                               c.ldb, factors.get() + 1, again.get(), c.ldc),
                   CUBLAS_STATUS_INVALID_VALUE);
  GOOD(cublasSetPointerMode(handle, CUBLAS_POINTER_MODE_DEVICE));
  GOOD(cublasSgemm(handle, c.transa, c.transb, c.m, c.n, c.k, factors.get(), of_a.get(), c.lda, of_b.get(), c.ldb,
                   factors.get() + 1, again.get(), c.ldc));
  compare(c, a, b, before, again.read(), 0, 0, 0);
  GOOD(cublasDestroy(handle));
}
END_TEST

START_TEST(test_batches)
{
  const Case &c = cases[_i];
  cublasHandle_t handle = nullptr;
  GOOD(cublasCreate(&handle));
  size_t step_a = size_a(c) + 3, step_b = size_b(c) + 1, step_c = static_cast<size_t>(c.ldc * c.n) + 2;
  std::vector<float> a = numbers(3 * step_a, 1), b = numbers(3 * step_b, 2), before = numbers(3 * step_c, 3);
  Device<float> of_a(a), of_b(b), strided(before), listed(before), shared(before);
  GOOD(cublasSgemmStridedBatched(handle, c.transa, c.transb, c.m, c.n, c.k, &c.alpha, of_a.get(), c.lda,
                                 static_cast<long long>(step_a), of_b.get(), c.ldb, static_cast<long long>(step_b),
                                 &c.beta, strided.get(), c.ldc, static_cast<long long>(step_c), 3));
  GOOD(cublasSgemmStridedBatched(handle, c.transa, c.transb, c.m, c.n, c.k, &c.alpha, of_a.get(), c.lda, 0, of_b.get(),
                                 c.ldb, static_cast<long long>(step_b), &c.beta, shared.get(), c.ldc,
                                 static_cast<long long>(step_c), 3));
  std::vector<const float *> list_a, list_b;
  std::vector<float *> list_c;
  for (size_t i = 0; i < 3; i++) {
    list_a.push_back(of_a.get() + i * step_a);
    list_b.push_back(of_b.get() + i * step_b);
    list_c.push_back(listed.get() + i * step_c);
  }
  Device<const float *> arrays_a(list_a), arrays_b(list_b);
  Device<float *> arrays_c(list_c);
  GOOD(cublasSgemmBatched(handle, c.transa, c.transb, c.m, c.n, c.k, &c.alpha, arrays_a.get(), c.lda, arrays_b.get(),
                          c.ldb, &c.beta, arrays_c.get(), c.ldc, 3));
  for (size_t i = 0; i < 3; i++) {
    compare(c, a, b, before, strided.read(), i * step_a, i * step_b, i * step_c);
    compare(c, a, b, before, listed.read(), i * step_a, i * step_b, i * step_c);
    compare(c, a, b, before, shared.read(), 0, i * step_b, i * step_c);
  }
  GOOD(cublasDestroy(handle));
}
END_TEST

START_TEST(test_bfloat16_product)
{
  const Case &c = cases[_i];
  cublasHandle_t handle = nullptr;
  GOOD(cublasCreate(&handle));
  std::vector<float> a = numbers(size_a(c) + 1, 1), b = numbers(size_b(c) + 1, 2),
                     before = numbers(static_cast<size_t>(c.ldc * c.n), 3);
  std::vector<__nv_bfloat16> narrow_a(a.begin(), a.end()), narrow_b(b.begin(), b.end());
  a.assign(narrow_a.begin(), narrow_a.end());
  b.assign(narrow_b.begin(), narrow_b.end());
  Device<__nv_bfloat16> of_a(narrow_a), of_b(narrow_b);
  Device<float> of_c(before);
  GOOD(cublasGemmEx(handle, c.transa, c.transb, c.m, c.n, c.k, &c.alpha, of_a.get(), CUDA_R_16BF, c.lda, of_b.get(),
                    CUDA_R_16BF, c.ldb, &c.beta, of_c.get(), CUDA_R_32F, c.ldc, CUBLAS_COMPUTE_32F,
                    CUBLAS_GEMM_DEFAULT));
  compare(c, a, b, before, of_c.read(), 0, 0, 0);
  GOOD(cublasDestroy(handle));
}
END_TEST

START_TEST(test_vectors)
{
  cublasHandle_t handle = nullptr;
  GOOD(cublasCreate(&handle));
  std::vector<float> x = numbers(12, 1), y = numbers(12, 2);
  Device<float> of_x(x), of_y(y), sum(12), product(std::vector<float>(4, NAN));
  float two = 2, minus = -1, zero = 0;
  GOOD(cublasSaxpy(handle, 6, &two, of_x.get(), 2, of_y.get(), 1));
  GOOD(cublasSscal(handle, 12, &minus, of_x.get(), 1));
  std::vector<float> result = of_y.read(), scaled = of_x.read();
  for (size_t i = 0; i < 6; i++) ck_assert_float_eq_tol(result[i], y[i] + 2 * x[2 * i], 1e-6f);
  for (size_t i = 0; i < 12; i++) ck_assert_float_eq(scaled[i], -x[i]);
  /* x is 3 × 4 here, its transpose is added to y as 4 × 3 */
  GOOD(cublasSgeam(handle, CUBLAS_OP_T, CUBLAS_OP_N, 4, 3, &two, of_x.get(), 3, &minus, of_y.get(), 4, sum.get(), 4));
  std::vector<float> added = sum.read();
  for (size_t i = 0; i < 4; i++)
    for (size_t j = 0; j < 3; j++)
      ck_assert_float_eq_tol(added[j * 4 + i], 2 * scaled[i * 3 + j] - result[j * 4 + i], 1e-6f);
  GOOD(cublasSgemv(handle, CUBLAS_OP_T, 3, 4, &two, of_x.get(), 3, of_y.get(), 1, &zero, product.get(), 1));
  std::vector<float> multiplied = product.read();
  for (size_t j = 0; j < 4; j++) {
    double expected = 0;
    for (size_t i = 0; i < 3; i++)
      expected += 2.0 * static_cast<double>(scaled[j * 3 + i]) * static_cast<double>(result[i]);
    ck_assert_double_eq_tol(multiplied[j], expected, 1e-6);
  }
  GOOD(cublasDestroy(handle));
}
END_TEST

START_TEST(test_handles)
{
  cublasHandle_t handle = nullptr;
  cudaStream_t stream = nullptr, found = nullptr;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
  Device<float> workspace(1024);
  float host[4];
  ck_assert_int_eq(cublasSetStream(handle, nullptr), CUBLAS_STATUS_NOT_INITIALIZED);
  GOOD(cublasCreate(&handle));
  OK(cudaStreamCreate(&stream));
  GOOD(cublasSetStream(handle, stream));
  GOOD(cublasGetStream(handle, &found));
  ck_assert_ptr_eq(found, stream);
  GOOD(cublasSetMathMode(handle, CUBLAS_PEDANTIC_MATH));
  GOOD(cublasGetMathMode(handle, &math));
  ck_assert_int_eq(math, CUBLAS_PEDANTIC_MATH);
  GOOD(cublasSetWorkspace(handle, workspace.get(), 4096));
  ck_assert_int_eq(cublasSetWorkspace(handle, workspace.get(), 4097), CUBLAS_STATUS_INVALID_VALUE);
  ck_assert_int_eq(cublasSetWorkspace(handle, host, 16), CUBLAS_STATUS_INVALID_VALUE);
  ck_assert_str_eq(cublasGetStatusName(CUBLAS_STATUS_NOT_SUPPORTED), "CUBLAS_STATUS_NOT_SUPPORTED");
  GOOD(cublasDestroy(handle));
  ck_assert_int_eq(cublasDestroy(handle), CUBLAS_STATUS_NOT_INITIALIZED);
}
END_TEST

int main()
{
  Suite *suite = suite_create("cuda_shim_cublas");
  TCase *tcase = tcase_create("cublas");
  for (const TTest *test : {test_product, test_batches, test_bfloat16_product})
    tcase_add_loop_test(tcase, test, 0, n_cases);
  tcase_add_test(tcase, test_vectors);
  tcase_add_test(tcase, test_handles);
  suite_add_tcase(suite, tcase);
  return run_suite(suite);
}
