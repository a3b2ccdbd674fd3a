/* cuBLAS by OpenBLAS: both are column-major. Arguments are checked as the library does, and that every matrix lies in
 * its allocation when the product runs. */
#include "tests/cuda_shim/include/cublas_v2.h"
#include "tests/cuda_shim/include/cuda_bf16.h"
#include "tests/cuda_shim/shim.h"

#include <cblas.h>
#include <cstdarg>
#include <cstdio>
#include <set>
#include <vector>

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasPointerMode_t mode = CUBLAS_POINTER_MODE_HOST;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
};

using namespace cuda_shim;

static std::set<cublasHandle_t> &handles = *new std::set<cublasHandle_t>; /* never destroyed */

static cublasStatus_t refuse_status(cublasStatus_t status, const Call &call, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static cublasStatus_t refuse_status(cublasStatus_t status, const Call &call, const char *format, ...)
{
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "cuda shim: %s: %s (%s)\n", call.function, text, cublasGetStatusName(status));
  return status;
}

#define CUBLAS_CALL(name)                                                                                              \
  Call call(name);                                                                                                     \
  if (call.injected != 0)                                                                                              \
  return refuse_status(static_cast<cublasStatus_t>(call.injected), call, "as CUDA_SHIM_FAIL asks")
#define CUBLAS_BEGIN(name)                                                                                             \
  CUBLAS_CALL(name);                                                                                                   \
  if (handles.count(handle) == 0) return refuse_status(CUBLAS_STATUS_NOT_INITIALIZED, call, "no handle")

/* A matrix, or a batch of them. */
struct Matrix {
  const char *name;
  const void *data;
  cudaDataType type;
  int rows, columns, leading; /* as stored */
  long long stride;
};
struct Scalar { /* of the host: read at the call; of the device: when the work runs */
  const float *device;
  float host;
  float get(const char *function) const
  {
    if (device == nullptr) return host;
    require_device(function, "alpha or beta", device, sizeof *device);
    return *device;
  }
};

static Scalar scalar(cublasHandle_t handle, const float *value)
{
  return handle->mode == CUBLAS_POINTER_MODE_HOST ? Scalar{nullptr, *value} : Scalar{value, 0};
}

static bool scalar_is_there(cublasHandle_t handle, const float *value)
{
  return value != nullptr && is_device(value) == (handle->mode == CUBLAS_POINTER_MODE_DEVICE);
}

static size_t element(cudaDataType type)
{
  return type == CUDA_R_16BF ? 2 : 4;
}

static size_t matrix_bytes(const Matrix &matrix, int batches)
{
  if (matrix.rows == 0 || matrix.columns == 0 || batches == 0) return 0;
  size_t one =
      static_cast<size_t>(matrix.leading) * static_cast<size_t>(matrix.columns - 1) + static_cast<size_t>(matrix.rows);
  return element(matrix.type) * (static_cast<size_t>(matrix.stride) * static_cast<size_t>(batches - 1) + one);
}

static cublasStatus_t finish(cudaError_t error)
{
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

static cublasStatus_t check_matrix(const Call &call, const Matrix &matrix)
{
  if (matrix.leading < (matrix.rows > 1 ? matrix.rows : 1))
    return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call, "the leading dimension of %s is %d, it has %d rows",
                         matrix.name, matrix.leading, matrix.rows);
  return CUBLAS_STATUS_SUCCESS;
}

/* --- products ------------------------------------------------------------------------------------------------------
 */
struct Product {
  cublasOperation_t transa, transb;
  int m, n, k, batches;
  Scalar alpha, beta;
  Matrix a, b, c;
};

/* Columns of bfloat16 as float32, without gaps. */
static std::vector<float> widen(const Matrix &matrix, const void *data)
{
  std::vector<float> wide(static_cast<size_t>(matrix.rows) * static_cast<size_t>(matrix.columns));
  const auto *narrow = static_cast<const __nv_bfloat16 *>(data);
  for (int j = 0; j < matrix.columns; j++)
    for (int i = 0; i < matrix.rows; i++)
      wide[static_cast<size_t>(j) * static_cast<size_t>(matrix.rows) + static_cast<size_t>(i)] =
          narrow[static_cast<size_t>(j) * static_cast<size_t>(matrix.leading) + static_cast<size_t>(i)];
  return wide;
}

static void multiply(const Product &p, float alpha, float beta, const void *a, const void *b, void *c)
{
  if (p.m == 0 || p.n == 0) return;
  std::vector<float> wide[3];
  const Matrix *matrices[] = {&p.a, &p.b, &p.c};
  const void *data[] = {a, b, c};
  int leading[3];
  for (int i = 0; i < 3; i++) {
    leading[i] = matrices[i]->leading;
    if (matrices[i]->type != CUDA_R_16BF) continue;
    wide[i] = widen(*matrices[i], data[i]);
    data[i] = wide[i].data();
    leading[i] = matrices[i]->rows > 1 ? matrices[i]->rows : 1;
  }
  auto *result = static_cast<float *>(const_cast<void *>(data[2]));
  if (beta == 0) /* what was there does not matter, even NaN */
    for (int j = 0; j < p.n; j++)
      std::memset(result + static_cast<size_t>(j) * static_cast<size_t>(leading[2]), 0,
                  sizeof(float) * static_cast<size_t>(p.m));
  cblas_sgemm(CblasColMajor, p.transa == CUBLAS_OP_N ? CblasNoTrans : CblasTrans,
              p.transb == CUBLAS_OP_N ? CblasNoTrans : CblasTrans, p.m, p.n, p.k, alpha,
              static_cast<const float *>(data[0]), leading[0], static_cast<const float *>(data[1]), leading[1], beta,
              result, leading[2]);
  if (p.c.type != CUDA_R_16BF) return;
  for (int j = 0; j < p.n; j++)
    for (int i = 0; i < p.m; i++)
      static_cast<__nv_bfloat16 *>(
          c)[static_cast<size_t>(j) * static_cast<size_t>(p.c.leading) + static_cast<size_t>(i)] =
          result[static_cast<size_t>(j) * static_cast<size_t>(leading[2]) + static_cast<size_t>(i)];
}

static const void *batch(const Matrix &matrix, int number)
{
  return static_cast<const unsigned char *>(matrix.data) +
         static_cast<long long>(element(matrix.type)) * matrix.stride * number;
}

static void run_product(const Product &p, const char *function)
{
  float alpha = p.alpha.get(function), beta = p.beta.get(function);
  for (const Matrix *matrix : {&p.a, &p.b, &p.c})
    require_device(function, matrix->name, matrix->data, matrix_bytes(*matrix, p.batches));
  for (int i = 0; i < p.batches; i++)
    multiply(p, alpha, beta, batch(p.a, i), batch(p.b, i), const_cast<void *>(batch(p.c, i)));
}

static cublasStatus_t check_product(const Call &call, cublasHandle_t handle, const Product &p, const float *alpha,
                                    const float *beta)
{
  if (p.m < 0 || p.n < 0 || p.k < 0 || p.batches < 0)
    return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call, "m %d, n %d, k %d, batches %d", p.m, p.n, p.k, p.batches);
  for (cublasOperation_t operation : {p.transa, p.transb})
    if (operation != CUBLAS_OP_N && operation != CUBLAS_OP_T && operation != CUBLAS_OP_C)
      return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call, "operation %d", operation);
  for (const Matrix *matrix : {&p.a, &p.b, &p.c})
    if (check_matrix(call, *matrix) != CUBLAS_STATUS_SUCCESS) return CUBLAS_STATUS_INVALID_VALUE;
  if (!scalar_is_there(handle, alpha) || !scalar_is_there(handle, beta))
    return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call, "alpha or beta is not where the pointer mode says");
  if (p.batches > 1 && p.m > 0 && p.n > 0 && p.c.stride >= 0 &&
      p.c.stride < static_cast<long long>(p.c.leading) * (p.n - 1) + p.m)
    return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call, "the results of the batch overlap: stride %lld",
                         p.c.stride);
  return CUBLAS_STATUS_SUCCESS;
}

static Product product(cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k)
{
  Product p = {};
  p.transa = transa;
  p.transb = transb;
  p.m = m;
  p.n = n;
  p.k = k;
  p.batches = 1;
  p.a = {"A", nullptr, CUDA_R_32F, transa == CUBLAS_OP_N ? m : k, transa == CUBLAS_OP_N ? k : m, 0, 0};
  p.b = {"B", nullptr, CUDA_R_32F, transb == CUBLAS_OP_N ? k : n, transb == CUBLAS_OP_N ? n : k, 0, 0};
  p.c = {"C", nullptr, CUDA_R_32F, m, n, 0, 0};
  return p;
}

static void set(Matrix *matrix, const void *data, int leading, long long stride)
{
  matrix->data = data;
  matrix->leading = leading;
  matrix->stride = stride;
}

static cublasStatus_t submit(const Call &call, cublasHandle_t handle, Product p, const float *alpha, const float *beta)
{
  cublasStatus_t status = check_product(call, handle, p, alpha, beta);
  if (status != CUBLAS_STATUS_SUCCESS || p.m == 0 || p.n == 0 || p.batches == 0) return status;
  p.alpha = scalar(handle, alpha);
  p.beta = scalar(handle, beta);
  const char *function = call.function;
  return finish(enqueue(call, handle->stream, function, [p, function] { run_product(p, function); }));
}

cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n,
                              int k, const float *alpha, const float *a, int lda, const float *b, int ldb,
                              const float *beta, float *c, int ldc)
{
  CUBLAS_BEGIN("cublasSgemm");
  Product p = product(transa, transb, m, n, k);
  set(&p.a, a, lda, 0);
  set(&p.b, b, ldb, 0);
  set(&p.c, c, ldc, 0);
  return submit(call, handle, p, alpha, beta);
}

cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                         int m, int n, int k, const float *alpha, const float *a, int lda,
                                         long long stride_a, const float *b, int ldb, long long stride_b,
                                         const float *beta, float *c, int ldc, long long stride_c, int batches)
{
  CUBLAS_BEGIN("cublasSgemmStridedBatched");
  Product p = product(transa, transb, m, n, k);
  p.batches = batches;
  set(&p.a, a, lda, stride_a);
  set(&p.b, b, ldb, stride_b);
  set(&p.c, c, ldc, stride_c);
  return submit(call, handle, p, alpha, beta);
}

cublasStatus_t cublasSgemmBatched(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m,
                                  int n, int k, const float *alpha, const float *const a[], int lda,
                                  const float *const b[], int ldb, const float *beta, float *const c[], int ldc,
                                  int batches)
{
  CUBLAS_BEGIN("cublasSgemmBatched");
  Product p = product(transa, transb, m, n, k);
  set(&p.a, nullptr, lda, 0);
  set(&p.b, nullptr, ldb, 0);
  set(&p.c, nullptr, ldc, 0);
  cublasStatus_t status = check_product(call, handle, p, alpha, beta);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  if (batches < 0) return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call, "batches %d", batches);
  p.alpha = scalar(handle, alpha);
  p.beta = scalar(handle, beta);
  return finish(enqueue(call, handle->stream, "cublasSgemmBatched", [=]() mutable {
    size_t bytes = sizeof(void *) * static_cast<size_t>(batches);
    require_device("cublasSgemmBatched", "array A", a, bytes);
    require_device("cublasSgemmBatched", "array B", b, bytes);
    require_device("cublasSgemmBatched", "array C", c, bytes);
    for (int i = 0; i < batches; i++) {
      p.a.data = a[i];
      p.b.data = b[i];
      p.c.data = c[i];
      run_product(p, "cublasSgemmBatched");
    }
  }));
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                          int m, int n, int k, const void *alpha, const void *a, cudaDataType type_a,
                                          int lda, long long stride_a, const void *b, cudaDataType type_b, int ldb,
                                          long long stride_b, const void *beta, void *c, cudaDataType type_c, int ldc,
                                          long long stride_c, int batches, cublasComputeType_t compute,
                                          cublasGemmAlgo_t)
{
  CUBLAS_BEGIN("cublasGemmStridedBatchedEx");
  bool known = (type_a == CUDA_R_32F && type_c == CUDA_R_32F) ||
               (type_a == CUDA_R_16BF && (type_c == CUDA_R_32F || type_c == CUDA_R_16BF));
  if (!known || type_a != type_b || compute < CUBLAS_COMPUTE_32F || compute > CUBLAS_COMPUTE_32F_FAST_TF32)
    return refuse_status(CUBLAS_STATUS_NOT_SUPPORTED, call, "types %d, %d, %d, computation %d", type_a, type_b, type_c,
                         compute);
  Product p = product(transa, transb, m, n, k);
  p.batches = batches;
  p.a.type = type_a;
  p.b.type = type_b;
  p.c.type = type_c;
  set(&p.a, a, lda, stride_a);
  set(&p.b, b, ldb, stride_b);
  set(&p.c, c, ldc, stride_c);
  return submit(call, handle, p, static_cast<const float *>(alpha), static_cast<const float *>(beta));
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n,
                            int k, const void *alpha, const void *a, cudaDataType type_a, int lda, const void *b,
                            cudaDataType type_b, int ldb, const void *beta, void *c, cudaDataType type_c, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm)
{
  return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, a, type_a, lda, 0, b, type_b, ldb, 0, beta,
                                    c, type_c, ldc, 0, 1, compute, algorithm);
}

/* --- vectors -------------------------------------------------------------------------------------------------------
 */
static size_t vector_bytes(int n, int increment)
{
  return n == 0 ? 0 : sizeof(float) * (static_cast<size_t>(std::abs(increment)) * static_cast<size_t>(n - 1) + 1);
}

cublasStatus_t cublasSaxpy_v2(cublasHandle_t handle, int n, const float *alpha, const float *x, int incx, float *y,
                              int incy)
{
  CUBLAS_BEGIN("cublasSaxpy");
  if (n <= 0) return CUBLAS_STATUS_SUCCESS;
  if (!scalar_is_there(handle, alpha)) return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call, "no alpha");
  Scalar factor = scalar(handle, alpha);
  return finish(enqueue(call, handle->stream, "cublasSaxpy", [=] {
    require_device("cublasSaxpy", "x", x, vector_bytes(n, incx));
    require_device("cublasSaxpy", "y", y, vector_bytes(n, incy));
    cblas_saxpy(n, factor.get("cublasSaxpy"), x, incx, y, incy);
  }));
}

cublasStatus_t cublasSscal_v2(cublasHandle_t handle, int n, const float *alpha, float *x, int incx)
{
  CUBLAS_BEGIN("cublasSscal");
  if (n <= 0) return CUBLAS_STATUS_SUCCESS;
  if (!scalar_is_there(handle, alpha)) return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call, "no alpha");
  Scalar factor = scalar(handle, alpha);
  return finish(enqueue(call, handle->stream, "cublasSscal", [=] {
    require_device("cublasSscal", "x", x, vector_bytes(n, incx));
    cblas_sscal(n, factor.get("cublasSscal"), x, incx);
  }));
}

cublasStatus_t cublasSgemv_v2(cublasHandle_t handle, cublasOperation_t trans, int m, int n, const float *alpha,
                              const float *a, int lda, const float *x, int incx, const float *beta, float *y, int incy)
{
  CUBLAS_BEGIN("cublasSgemv");
  Matrix matrix = {"A", a, CUDA_R_32F, m, n, lda, 0};
  if (m < 0 || n < 0 || incx == 0 || incy == 0)
    return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call, "m %d, n %d, increments %d, %d", m, n, incx, incy);
  if (check_matrix(call, matrix) != CUBLAS_STATUS_SUCCESS) return CUBLAS_STATUS_INVALID_VALUE;
  if (!scalar_is_there(handle, alpha) || !scalar_is_there(handle, beta))
    return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call, "alpha or beta is not where the pointer mode says");
  Scalar one = scalar(handle, alpha), two = scalar(handle, beta);
  int in = trans == CUBLAS_OP_N ? n : m, out = trans == CUBLAS_OP_N ? m : n;
  return finish(enqueue(call, handle->stream, "cublasSgemv", [=] {
    require_device("cublasSgemv", "A", a, matrix_bytes(matrix, 1));
    require_device("cublasSgemv", "x", x, vector_bytes(in, incx));
    require_device("cublasSgemv", "y", y, vector_bytes(out, incy));
    float before = two.get("cublasSgemv");
    for (int i = 0; before == 0 && i < out; i++) y[static_cast<size_t>(i) * static_cast<size_t>(std::abs(incy))] = 0;
    cblas_sgemv(CblasColMajor, trans == CUBLAS_OP_N ? CblasNoTrans : CblasTrans, m, n, one.get("cublasSgemv"), a, lda,
                x, incx, before, y, incy);
  }));
}

/* C = alpha op(A) + beta op(B); a matrix with factor 0 is not read. */
cublasStatus_t cublasSgeam(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n,
                           const float *alpha, const float *a, int lda, const float *beta, const float *b, int ldb,
                           float *c, int ldc)
{
  CUBLAS_BEGIN("cublasSgeam");
  bool plain_a = transa == CUBLAS_OP_N, plain_b = transb == CUBLAS_OP_N;
  Matrix matrices[] = {{"A", a, CUDA_R_32F, plain_a ? m : n, plain_a ? n : m, lda, 0},
                       {"B", b, CUDA_R_32F, plain_b ? m : n, plain_b ? n : m, ldb, 0},
                       {"C", c, CUDA_R_32F, m, n, ldc, 0}};
  if (m < 0 || n < 0) return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call, "m %d, n %d", m, n);
  for (const Matrix &matrix : matrices)
    if (matrix.data != nullptr && check_matrix(call, matrix) != CUBLAS_STATUS_SUCCESS)
      return CUBLAS_STATUS_INVALID_VALUE;
  if (!scalar_is_there(handle, alpha) || !scalar_is_there(handle, beta))
    return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call, "alpha or beta is not where the pointer mode says");
  Scalar first = scalar(handle, alpha), second = scalar(handle, beta);
  return finish(enqueue(call, handle->stream, "cublasSgeam", [=] {
    float one = first.get("cublasSgeam"), two = second.get("cublasSgeam");
    if (one != 0) require_device("cublasSgeam", "A", a, matrix_bytes(matrices[0], 1));
    if (two != 0) require_device("cublasSgeam", "B", b, matrix_bytes(matrices[1], 1));
    require_device("cublasSgeam", "C", c, matrix_bytes(matrices[2], 1));
    for (ptrdiff_t j = 0; j < n; j++)
      for (ptrdiff_t i = 0; i < m; i++)
        c[j * ldc + i] = (one == 0 ? 0 : one * a[plain_a ? j * lda + i : i * lda + j]) +
                         (two == 0 ? 0 : two * b[plain_b ? j * ldb + i : i * ldb + j]);
  }));
}

/* --- handles -------------------------------------------------------------------------------------------------------
 */
cublasStatus_t cublasCreate_v2(cublasHandle_t *handle)
{
  CUBLAS_CALL("cublasCreate");
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasContext;
  handles.insert(*handle);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle)
{
  CUBLAS_BEGIN("cublasDestroy");
  handles.erase(handle);
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion_v2(cublasHandle_t handle, int *version)
{
  CUBLAS_BEGIN("cublasGetVersion");
  *version = CUBLAS_VERSION;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
  CUBLAS_BEGIN("cublasSetStream");
  if (!is_stream(stream)) return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call, "no stream");
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetStream_v2(cublasHandle_t handle, cudaStream_t *stream)
{
  CUBLAS_BEGIN("cublasGetStream");
  *stream = handle->stream;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t bytes)
{
  CUBLAS_BEGIN("cublasSetWorkspace");
  std::string why;
  if (bytes > 0 && (!in_allocation(workspace, bytes, &why) || reinterpret_cast<uintptr_t>(workspace) % 256 != 0))
    return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call,
                         "a workspace is %zu bytes of the device, aligned to 256: %s", bytes, why.c_str());
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t handle, cublasPointerMode_t mode)
{
  CUBLAS_BEGIN("cublasSetPointerMode");
  handle->mode = mode;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetPointerMode_v2(cublasHandle_t handle, cublasPointerMode_t *mode)
{
  CUBLAS_BEGIN("cublasGetPointerMode");
  *mode = handle->mode;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
  CUBLAS_BEGIN("cublasSetMathMode");
  int kind = mode & ~CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
  if (kind < 0 || kind > CUBLAS_TF32_TENSOR_OP_MATH)
    return refuse_status(CUBLAS_STATUS_INVALID_VALUE, call, "mode %d", mode);
  handle->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetMathMode(cublasHandle_t handle, cublasMath_t *mode)
{
  CUBLAS_BEGIN("cublasGetMathMode");
  *mode = handle->math;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetAtomicsMode(cublasHandle_t handle, cublasAtomicsMode_t)
{
  CUBLAS_BEGIN("cublasSetAtomicsMode");
  return CUBLAS_STATUS_SUCCESS;
}

static const struct {
  cublasStatus_t status;
  const char *name, *text;
} statuses[] = {
    {CUBLAS_STATUS_SUCCESS, "CUBLAS_STATUS_SUCCESS", "success"},
    {CUBLAS_STATUS_NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED", "the library was not initialized"},
    {CUBLAS_STATUS_ALLOC_FAILED, "CUBLAS_STATUS_ALLOC_FAILED", "the resource allocation failed"},
    {CUBLAS_STATUS_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE", "an unsupported value or parameter was passed"},
    {CUBLAS_STATUS_ARCH_MISMATCH, "CUBLAS_STATUS_ARCH_MISMATCH", "the device lacks a feature"},
    {CUBLAS_STATUS_MAPPING_ERROR, "CUBLAS_STATUS_MAPPING_ERROR", "an access to device memory failed"},
    {CUBLAS_STATUS_EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED", "the program failed to execute"},
    {CUBLAS_STATUS_INTERNAL_ERROR, "CUBLAS_STATUS_INTERNAL_ERROR", "an internal operation failed"},
    {CUBLAS_STATUS_NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED", "the functionality is not supported"},
    {CUBLAS_STATUS_LICENSE_ERROR, "CUBLAS_STATUS_LICENSE_ERROR", "the license check failed"},
};

const char *cublasGetStatusName(cublasStatus_t status)
{
  for (const auto &known : statuses)
    if (known.status == status) return known.name;
  return "CUBLAS_STATUS_UNKNOWN";
}

const char *cublasGetStatusString(cublasStatus_t status)
{
  for (const auto &known : statuses)
    if (known.status == status) return known.text;
  return "an unknown status";
}
