/* cuDNN against plain loops in double. */
#include "tests/cuda_shim/include/cudnn.h"
#include "tests/cuda_shim/test_support.h"

#include <cmath>

#define GOOD(call) ck_assert_msg((call) == CUDNN_STATUS_SUCCESS, "%s", #call)

struct Case {
  int n, c, k, groups, in[2], kernel[2], pad[2], stride[2], dilation[2];
  cudnnConvolutionMode_t mode;
};
static const Case cases[] = {
    {2, 3, 4, 1, {5, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, CUDNN_CROSS_CORRELATION},
    {1, 4, 6, 2, {7, 5}, {3, 2}, {1, 0}, {2, 1}, {1, 1}, CUDNN_CROSS_CORRELATION},
    {3, 3, 3, 3, {8, 8}, {3, 3}, {2, 2}, {1, 2}, {2, 2}, CUDNN_CROSS_CORRELATION},
    {2, 2, 3, 1, {4, 4}, {2, 3}, {0, 1}, {1, 1}, {1, 1}, CUDNN_CONVOLUTION},
    {1, 1, 1, 1, {1, 9}, {1, 3}, {0, 0}, {1, 3}, {1, 1}, CUDNN_CROSS_CORRELATION},
};
constexpr int n_cases = sizeof cases / sizeof *cases;

struct Convolution {
  cudnnHandle_t handle;
  cudnnTensorDescriptor_t x, y;
  cudnnFilterDescriptor_t w;
  cudnnConvolutionDescriptor_t convolution;
  int out[2];
  size_t n_x, n_w, n_y;
};

static Convolution describe(const Case &c)
{
  Convolution made = {};
  int n = 0, k = 0;
  GOOD(cudnnCreate(&made.handle));
  GOOD(cudnnCreateTensorDescriptor(&made.x));
  GOOD(cudnnCreateTensorDescriptor(&made.y));
  GOOD(cudnnCreateFilterDescriptor(&made.w));
  GOOD(cudnnCreateConvolutionDescriptor(&made.convolution));
  GOOD(cudnnSetTensor4dDescriptor(made.x, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, c.n, c.c, c.in[0], c.in[1]));
  GOOD(cudnnSetFilter4dDescriptor(made.w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, c.k, c.c / c.groups, c.kernel[0],
                                  c.kernel[1]));
  GOOD(cudnnSetConvolution2dDescriptor(made.convolution, c.pad[0], c.pad[1], c.stride[0], c.stride[1], c.dilation[0],
                                       c.dilation[1], c.mode, CUDNN_DATA_FLOAT));
  GOOD(cudnnSetConvolutionGroupCount(made.convolution, c.groups));
  GOOD(cudnnSetConvolutionMathType(made.convolution, CUDNN_FMA_MATH));
  GOOD(cudnnGetConvolution2dForwardOutputDim(made.convolution, made.x, made.w, &n, &k, &made.out[0], &made.out[1]));
  ck_assert(n == c.n && k == c.k);
  GOOD(cudnnSetTensor4dDescriptor(made.y, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, n, k, made.out[0], made.out[1]));
  made.n_x = static_cast<size_t>(c.n * c.c * c.in[0] * c.in[1]);
  made.n_w = static_cast<size_t>(c.k * c.c / c.groups * c.kernel[0] * c.kernel[1]);
  made.n_y = static_cast<size_t>(n * k * made.out[0] * made.out[1]);
  return made;
}

static void forget(Convolution *made)
{
  GOOD(cudnnDestroyTensorDescriptor(made->x));
  GOOD(cudnnDestroyTensorDescriptor(made->y));
  GOOD(cudnnDestroyFilterDescriptor(made->w));
  GOOD(cudnnDestroyConvolutionDescriptor(made->convolution));
  GOOD(cudnnDestroy(made->handle));
}

/* Visits every product x · w that an output is the sum of. */
template <class Visit> static void products(const Case &c, const int *out, Visit visit)
{
  int per_group = c.c / c.groups, filters = c.k / c.groups;
  for (int n = 0; n < c.n; n++)
    for (int k = 0; k < c.k; k++)
      for (int oh = 0; oh < out[0]; oh++)
        for (int ow = 0; ow < out[1]; ow++)
          for (int ch = 0; ch < per_group; ch++)
            for (int kh = 0; kh < c.kernel[0]; kh++)
              for (int kw = 0; kw < c.kernel[1]; kw++) {
                int h = oh * c.stride[0] - c.pad[0] + kh * c.dilation[0],
                    w = ow * c.stride[1] - c.pad[1] + kw * c.dilation[1];
                if (h < 0 || h >= c.in[0] || w < 0 || w >= c.in[1]) continue;
                bool turned = c.mode == CUDNN_CONVOLUTION;
                int fh = turned ? c.kernel[0] - 1 - kh : kh, fw = turned ? c.kernel[1] - 1 - kw : kw;
                visit(static_cast<size_t>(((n * c.c + k / filters * per_group + ch) * c.in[0] + h) * c.in[1] + w),
                      static_cast<size_t>(((k * per_group + ch) * c.kernel[0] + fh) * c.kernel[1] + fw),
                      static_cast<size_t>(((n * c.k + k) * out[0] + oh) * out[1] + ow));
              }
}

static void compare(const std::vector<double> &sums, float alpha, float beta, const std::vector<float> &before,
                    const std::vector<float> &after)
{
  ck_assert_uint_eq(sums.size(), after.size());
  for (size_t i = 0; i < sums.size(); i++)
    ck_assert_double_eq_tol(after[i],
                            static_cast<double>(alpha) * sums[i] +
                                (beta == 0 ? 0 : static_cast<double>(beta) * static_cast<double>(before[i])),
                            2e-5);
}

START_TEST(test_forward)
{
  const Case &c = cases[_i];
  Convolution made = describe(c);
  std::vector<float> x = numbers(made.n_x, 1), w = numbers(made.n_w, 2), before = numbers(made.n_y, 3);
  std::vector<double> sums(made.n_y);
  products(c, made.out,
           [&](size_t i, size_t j, size_t o) { sums[o] += static_cast<double>(x[i]) * static_cast<double>(w[j]); });
  size_t bytes = 0;
  auto algorithm = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
  GOOD(cudnnGetConvolutionForwardWorkspaceSize(made.handle, made.x, made.w, made.convolution, made.y, algorithm,
                                               &bytes));
  ck_assert_uint_gt(bytes, 0);
  Device<float> of_x(x), of_w(w), of_y(before), fresh(made.n_y);
  Device<char> workspace(bytes);
  float one = 1, zero = 0, alpha = 2, beta = -0.5f;
  ck_assert_int_eq(cudnnConvolutionForward(made.handle, &one, made.x, of_x.get(), made.w, of_w.get(), made.convolution,
                                           algorithm, workspace.get(), bytes - 1, &zero, made.y, of_y.get()),
                   CUDNN_STATUS_BAD_PARAM);
  GOOD(cudnnConvolutionForward(made.handle, &alpha, made.x, of_x.get(), made.w, of_w.get(), made.convolution, algorithm,
                               workspace.get(), bytes, &beta, made.y, of_y.get()));
  GOOD(cudnnConvolutionForward(made.handle, &one, made.x, of_x.get(), made.w, of_w.get(), made.convolution, algorithm,
                               workspace.get(), bytes, &zero, made.y, fresh.get()));
  compare(sums, alpha, beta, before, of_y.read());
  compare(sums, 1, 0, before, fresh.read()); /* NaN before, and not read */
  forget(&made);
}
END_TEST

START_TEST(test_backward)
{
  const Case &c = cases[_i];
  Convolution made = describe(c);
  std::vector<float> x = numbers(made.n_x, 1), w = numbers(made.n_w, 2), dy = numbers(made.n_y, 3);
  std::vector<double> dx(made.n_x), dw(made.n_w), db(static_cast<size_t>(c.k));
  products(c, made.out, [&](size_t i, size_t j, size_t o) {
    dx[i] += static_cast<double>(dy[o]) * static_cast<double>(w[j]);
    dw[j] += static_cast<double>(dy[o]) * static_cast<double>(x[i]);
  });
  for (size_t i = 0; i < made.n_y; i++)
    db[i / static_cast<size_t>(made.out[0] * made.out[1]) % static_cast<size_t>(c.k)] += static_cast<double>(dy[i]);
  size_t data = 0, filter = 0;
  GOOD(cudnnGetConvolutionBackwardDataWorkspaceSize(made.handle, made.w, made.y, made.convolution, made.x,
                                                    CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, &data));
  GOOD(cudnnGetConvolutionBackwardFilterWorkspaceSize(made.handle, made.x, made.y, made.convolution, made.w,
                                                      CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, &filter));
  Device<float> of_x(x), of_w(w), of_dy(dy), of_dx(made.n_x), of_dw(w), of_db(static_cast<size_t>(c.k));
  Device<char> workspace(data > filter ? data : filter);
  float one = 1, zero = 0, beta = 3;
  cudnnTensorDescriptor_t bias = nullptr;
  GOOD(cudnnCreateTensorDescriptor(&bias));
  GOOD(cudnnSetTensor4dDescriptor(bias, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1, c.k, 1, 1));
  GOOD(cudnnConvolutionBackwardData(made.handle, &one, made.w, of_w.get(), made.y, of_dy.get(), made.convolution,
                                    CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, workspace.get(), data, &zero, made.x,
                                    of_dx.get()));
  GOOD(cudnnConvolutionBackwardFilter(made.handle, &one, made.x, of_x.get(), made.y, of_dy.get(), made.convolution,
                                      CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, workspace.get(), filter, &beta, made.w,
                                      of_dw.get()));
  GOOD(cudnnConvolutionBackwardBias(made.handle, &one, made.y, of_dy.get(), &zero, bias, of_db.get()));
  compare(dx, 1, 0, {}, of_dx.read());
  compare(dw, 1, beta, w, of_dw.read());
  compare(db, 1, 0, {}, of_db.read());
  GOOD(cudnnDestroyTensorDescriptor(bias));
  forget(&made);
}
END_TEST

/* NHWC is strides; so is a window of a larger tensor. */
START_TEST(test_strides)
{
  const Case &c = cases[0];
  Convolution made = describe(c);
  std::vector<float> x = numbers(made.n_x, 1), w = numbers(made.n_w, 2), channels_last(made.n_x);
  std::vector<double> sums(made.n_y);
  products(c, made.out,
           [&](size_t i, size_t j, size_t o) { sums[o] += static_cast<double>(x[i]) * static_cast<double>(w[j]); });
  for (size_t i = 0; i < made.n_x; i++) {
    size_t plane = static_cast<size_t>(c.in[0] * c.in[1]), image = i / plane / static_cast<size_t>(c.c),
           channel = i / plane % static_cast<size_t>(c.c);
    channels_last[(image * plane + i % plane) * static_cast<size_t>(c.c) + channel] = x[i];
  }
  GOOD(cudnnSetTensor4dDescriptor(made.x, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, c.n, c.c, c.in[0], c.in[1]));
  GOOD(cudnnSetTensor4dDescriptorEx(made.y, CUDNN_DATA_FLOAT, c.n, c.k, made.out[0], made.out[1],
                                    4 * c.k * made.out[0] * made.out[1], 4 * made.out[0] * made.out[1], 4 * made.out[1],
                                    4));
  size_t bytes = 0, extent = 0;
  GOOD(cudnnGetConvolutionForwardWorkspaceSize(made.handle, made.x, made.w, made.convolution, made.y,
                                               CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, &bytes));
  GOOD(cudnnGetTensorSizeInBytes(made.y, &extent));
  ck_assert_uint_eq(extent, (made.n_y * 4 - 3) * sizeof(float));
  Device<float> of_x(channels_last), of_w(w), of_y(extent / sizeof(float));
  Device<char> workspace(bytes);
  float one = 1, zero = 0;
  GOOD(cudnnConvolutionForward(made.handle, &one, made.x, of_x.get(), made.w, of_w.get(), made.convolution,
                               CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, workspace.get(), bytes, &zero, made.y,
                               of_y.get()));
  std::vector<float> all = of_y.read(), y(made.n_y);
  for (size_t i = 0; i < made.n_y; i++) y[i] = all[4 * i];
  compare(sums, 1, 0, {}, y);
  ck_assert(std::isnan(all[1])); /* between the elements nothing is written */
  forget(&made);
}
END_TEST

START_TEST(test_refusals)
{
  Convolution made = describe(cases[1]);
  size_t bytes = 0;
  int n, k, h, w, given = 0;
  cudnnConvolutionBwdFilterAlgoPerf_t results[8];
  GOOD(cudnnGetConvolutionBackwardFilterAlgorithm_v7(made.handle, made.x, made.y, made.convolution, made.w, 8, &given,
                                                     results));
  ck_assert_int_ge(given, 3);
  ck_assert_int_eq(results[0].determinism, CUDNN_NON_DETERMINISTIC);
  GOOD(cudnnSetConvolutionGroupCount(made.convolution, 4));
  ck_assert_int_eq(cudnnGetConvolution2dForwardOutputDim(made.convolution, made.x, made.w, &n, &k, &h, &w),
                   CUDNN_STATUS_BAD_PARAM);
  GOOD(cudnnSetConvolutionGroupCount(made.convolution, 2));
  GOOD(cudnnSetTensor4dDescriptor(made.y, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1, 6, made.out[0], made.out[1] + 1));
  ck_assert_int_eq(cudnnGetConvolutionForwardWorkspaceSize(made.handle, made.x, made.w, made.convolution, made.y,
                                                           CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, &bytes),
                   CUDNN_STATUS_BAD_PARAM);
  ck_assert_int_eq(cudnnSetTensor4dDescriptor(made.x, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 0, 1, 1, 1),
                   CUDNN_STATUS_BAD_PARAM);
  ck_assert_int_eq(cudnnSetTensor4dDescriptor(made.x, CUDNN_TENSOR_NCHW, CUDNN_DATA_HALF, 1, 1, 1, 1),
                   CUDNN_STATUS_NOT_SUPPORTED);
  ck_assert_int_eq(cudnnSetStream(nullptr, nullptr), CUDNN_STATUS_NOT_INITIALIZED);
  ck_assert_str_eq(cudnnGetErrorString(CUDNN_STATUS_BAD_PARAM), "CUDNN_STATUS_BAD_PARAM");
  forget(&made);
}
END_TEST

int main()
{
  Suite *suite = suite_create("cuda_shim_cudnn");
  TCase *tcase = tcase_create("convolutions");
  tcase_add_loop_test(tcase, test_forward, 0, n_cases);
  tcase_add_loop_test(tcase, test_backward, 0, n_cases);
  tcase_add_test(tcase, test_strides);
  tcase_add_test(tcase, test_refusals);
  suite_add_tcase(suite, tcase);
  return run_suite(suite);
}
