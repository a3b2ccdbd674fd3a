/* The rest of cuDNN: each backward pass against differences of its forward pass, and what is particular to cuDNN. */
#include "tests/cuda_shim/include/cudnn.h"
#include "tests/cuda_shim/test_support.h"

#include <cmath>
#include <functional>

#define GOOD(call) ck_assert_msg((call) == CUDNN_STATUS_SUCCESS, "%s", #call)

static const float one = 1, zero = 0;

/* A handle and the description of [2, 3, 4, 5]. */
struct Setting {
  cudnnHandle_t handle = nullptr;
  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  size_t n = 120;
  Setting()
  {
    GOOD(cudnnCreate(&handle));
    GOOD(cudnnCreateTensorDescriptor(&x));
    GOOD(cudnnCreateTensorDescriptor(&y));
    GOOD(cudnnSetTensor4dDescriptor(x, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 2, 3, 4, 5));
  }
  ~Setting()
  {
    cudnnDestroyTensorDescriptor(x);
    cudnnDestroyTensorDescriptor(y);
    cudnnDestroy(handle);
  }
  Setting(const Setting &) = delete;
  Setting &operator=(const Setting &) = delete;
};

/* The gradient of the outputs' projection on dy, against differences of second order. */
static void compare_with_differences(const std::function<std::vector<float>(const std::vector<float> &)> &forward,
                                     const std::vector<float> &x, const std::vector<float> &dy,
                                     const std::vector<float> &dx)
{
  for (size_t i = 0; i < x.size(); i += 7) {
    std::vector<float> more = x, less = x;
    double h = 1e-2, difference = 0;
    more[i] += static_cast<float>(h);
    less[i] -= static_cast<float>(h);
    std::vector<float> above = forward(more), below = forward(less);
    for (size_t j = 0; j < dy.size(); j++)
      difference +=
          static_cast<double>(dy[j]) * (static_cast<double>(above[j]) - static_cast<double>(below[j])) / (2 * h);
    ck_assert_double_eq_tol(dx[i], difference, 2e-3);
  }
}

static const cudnnPoolingMode_t pooling_modes[] = {CUDNN_POOLING_MAX, CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING,
                                                   CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING,
                                                   CUDNN_POOLING_MAX_DETERMINISTIC};

START_TEST(test_pooling)
{
  Setting set;
  cudnnPoolingDescriptor_t pooling = nullptr;
  int n, c, h, w;
  GOOD(cudnnCreatePoolingDescriptor(&pooling));
  GOOD(cudnnSetPooling2dDescriptor(pooling, pooling_modes[_i], CUDNN_PROPAGATE_NAN, 3, 2, 1, 0, 2, 1));
  GOOD(cudnnGetPooling2dForwardOutputDim(pooling, set.x, &n, &c, &h, &w));
  ck_assert(n == 2 && c == 3 && h == 2 && w == 4);
  GOOD(cudnnSetTensor4dDescriptor(set.y, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, n, c, h, w));
  size_t n_y = static_cast<size_t>(n * c * h * w);
  auto forward = [&](const std::vector<float> &values) {
    Device<float> x(values), y(n_y);
    GOOD(cudnnPoolingForward(set.handle, pooling, &one, set.x, x.get(), &zero, set.y, y.get()));
    return y.read();
  };
  std::vector<float> values(set.n), dy = numbers(n_y, 2);
  for (size_t i = 0; i < set.n; i++) values[i] = static_cast<float>(i * 37 % 120) * 0.1f - 5; /* far from each other */
  std::vector<float> out = forward(values);
  bool average = pooling_modes[_i] == CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING ||
                 pooling_modes[_i] == CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING;
  /* the first window has one row of padding */
  float corner[] = {values[0], values[1], values[5], values[6]}, sum = corner[0] + corner[1] + corner[2] + corner[3];
  float top = fmaxf(fmaxf(corner[0], corner[1]), fmaxf(corner[2], corner[3]));
  ck_assert_float_eq_tol(
      out[0], !average ? top : sum / (pooling_modes[_i] == CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING ? 6 : 4), 1e-6f);
  Device<float> x(values), y(out), of_dy(dy), dx(set.n);
  GOOD(cudnnPoolingBackward(set.handle, pooling, &one, set.y, y.get(), set.y, of_dy.get(), set.x, x.get(), &zero, set.x,
                            dx.get()));
  compare_with_differences(forward, values, dy, dx.read());
  GOOD(cudnnDestroyPoolingDescriptor(pooling));
}
END_TEST

START_TEST(test_activations)
{
  Setting set;
  cudnnActivationDescriptor_t activation = nullptr;
  GOOD(cudnnCreateActivationDescriptor(&activation));
  GOOD(cudnnSetActivationDescriptor(activation, static_cast<cudnnActivationMode_t>(_i), CUDNN_PROPAGATE_NAN, 0.5));
  auto forward = [&](const std::vector<float> &values) {
    Device<float> x(values), y(set.n);
    GOOD(cudnnActivationForward(set.handle, activation, &one, set.x, x.get(), &zero, set.x, y.get()));
    return y.read();
  };
  std::vector<float> values = numbers(set.n, 1), dy = numbers(set.n, 2);
  for (float &value : values) /* away from the kinks */
    if (fabsf(value) < 0.02f || fabsf(value - 0.5f) < 0.02f) value += 0.05f;
  Device<float> x(values), y(forward(values)), of_dy(dy), dx(set.n);
  GOOD(cudnnActivationBackward(set.handle, activation, &one, set.x, y.get(), set.x, of_dy.get(), set.x, x.get(), &zero,
                               set.x, dx.get()));
  compare_with_differences(forward, values, dy, dx.read());
  GOOD(cudnnDestroyActivationDescriptor(activation));
}
END_TEST

START_TEST(test_softmax_modes)
{
  Setting set;
  auto algorithm = static_cast<cudnnSoftmaxAlgorithm_t>(_i % 3);
  cudnnSoftmaxMode_t mode = _i < 3 ? CUDNN_SOFTMAX_MODE_CHANNEL : CUDNN_SOFTMAX_MODE_INSTANCE;
  auto forward = [&](const std::vector<float> &values) {
    Device<float> x(values), y(set.n);
    GOOD(cudnnSoftmaxForward(set.handle, algorithm, mode, &one, set.x, x.get(), &zero, set.x, y.get()));
    return y.read();
  };
  std::vector<float> values = numbers(set.n, 1), dy = numbers(set.n, 2), out = forward(values);
  double sum = 0;
  for (size_t i = 0; i < set.n / 2; i += mode == CUDNN_SOFTMAX_MODE_CHANNEL ? 20 : 1)
    sum += algorithm == CUDNN_SOFTMAX_LOG ? std::exp(static_cast<double>(out[i])) : static_cast<double>(out[i]);
  ck_assert_double_eq_tol(sum, 1, 1e-5);
  Device<float> y(out), of_dy(dy), dx(set.n);
  GOOD(cudnnSoftmaxBackward(set.handle, algorithm, mode, &one, set.x, y.get(), set.x, of_dy.get(), &zero, set.x,
                            dx.get()));
  compare_with_differences(forward, values, dy, dx.read());
}
END_TEST

START_TEST(test_batch_normalization)
{
  Setting set;
  cudnnBatchNormMode_t mode = _i == 0 ? CUDNN_BATCHNORM_SPATIAL : CUDNN_BATCHNORM_PER_ACTIVATION;
  GOOD(cudnnDeriveBNTensorDescriptor(set.y, set.x, mode));
  size_t groups = _i == 0 ? 3 : 60, each = 120 / groups;
  std::vector<float> values = numbers(set.n, 1), dy = numbers(set.n, 2), scales = numbers(groups, 3),
                     biases = numbers(groups, 4);
  Device<float> scale(scales), bias(biases), mean(std::vector<float>(groups, 1)),
      variance(std::vector<float>(groups, 2)), saved_mean(groups), saved_deviation(groups), dscale(groups),
      dbias(groups);
  double epsilon = 0.1;
  auto forward = [&](const std::vector<float> &in) {
    Device<float> x(in), y(set.n);
    GOOD(cudnnBatchNormalizationForwardTraining(set.handle, mode, &one, &zero, set.x, x.get(), set.x, y.get(), set.y,
                                                scale.get(), bias.get(), 0, nullptr, nullptr, epsilon, nullptr,
                                                nullptr));
    return y.read();
  };
  Device<float> x(values), y(set.n), of_dy(dy), dx(set.n);
  GOOD(cudnnBatchNormalizationForwardTraining(set.handle, mode, &one, &zero, set.x, x.get(), set.x, y.get(), set.y,
                                              scale.get(), bias.get(), 0.25, mean.get(), variance.get(), epsilon,
                                              saved_mean.get(), saved_deviation.get()));
  double sum = 0, squares = 0;
  for (size_t i = 0; i < set.n; i++)
    if (_i == 0 ? i / 20 % 3 == 1 : i % 60 == 1) sum += static_cast<double>(values[i]);
  sum /= static_cast<double>(each);
  for (size_t i = 0; i < set.n; i++)
    if (_i == 0 ? i / 20 % 3 == 1 : i % 60 == 1)
      squares += (static_cast<double>(values[i]) - sum) * (static_cast<double>(values[i]) - sum);
  ck_assert_double_eq_tol(mean.read()[1], 0.75 * 1 + 0.25 * sum, 1e-5);
  ck_assert_double_eq_tol(variance.read()[1], 0.75 * 2 + 0.25 * squares / static_cast<double>(each - 1),
                          1e-5); /* unbiased */
  ck_assert_double_eq_tol(saved_deviation.read()[1], 1 / std::sqrt(squares / static_cast<double>(each) + epsilon),
                          1e-5);
  GOOD(cudnnBatchNormalizationBackward(set.handle, mode, &one, &zero, &one, &zero, set.x, x.get(), set.x, of_dy.get(),
                                       set.x, dx.get(), set.y, scale.get(), dscale.get(), dbias.get(), epsilon,
                                       saved_mean.get(), saved_deviation.get()));
  compare_with_differences(forward, values, dy, dx.read());
  double total = 0;
  for (size_t i = 0; i < set.n; i++)
    if (_i == 0 ? i / 20 % 3 == 2 : i % 60 == 2) total += static_cast<double>(dy[i]);
  ck_assert_double_eq_tol(dbias.read()[2], total, 1e-5);
  /* prediction with the running statistics */
  GOOD(cudnnBatchNormalizationForwardInference(set.handle, mode, &one, &zero, set.x, x.get(), set.x, y.get(), set.y,
                                               scale.get(), bias.get(), mean.get(), variance.get(), epsilon));
  double expected = (static_cast<double>(values[0]) - static_cast<double>(mean.read()[0])) /
                        std::sqrt(static_cast<double>(variance.read()[0]) + epsilon) * static_cast<double>(scales[0]) +
                    static_cast<double>(biases[0]);
  ck_assert_double_eq_tol(y.read()[0], expected, 1e-5);
}
END_TEST

START_TEST(test_add_tensor)
{
  Setting set;
  std::vector<float> bias = numbers(3, 1), before = numbers(set.n, 2);
  GOOD(cudnnSetTensor4dDescriptor(set.y, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1, 3, 1, 1));
  Device<float> a(bias), c(before);
  float two = 2, half = 0.5f;
  GOOD(cudnnAddTensor(set.handle, &two, set.y, a.get(), &half, set.x, c.get()));
  std::vector<float> after = c.read();
  for (size_t i = 0; i < set.n; i++) ck_assert_float_eq_tol(after[i], 2 * bias[i / 20 % 3] + 0.5f * before[i], 1e-6f);
  GOOD(cudnnSetTensor4dDescriptor(set.y, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1, 2, 1, 1));
  ck_assert_int_eq(cudnnAddTensor(set.handle, &two, set.y, a.get(), &half, set.x, c.get()), CUDNN_STATUS_BAD_PARAM);
}
END_TEST

int main()
{
  Suite *suite = suite_create("cuda_shim_layers");
  TCase *tcase = tcase_create("layers");
  tcase_set_timeout(tcase, 60);
  tcase_add_loop_test(tcase, test_pooling, 0, 4);
  tcase_add_loop_test(tcase, test_activations, 0, 6);
  tcase_add_loop_test(tcase, test_softmax_modes, 0, 6);
  tcase_add_loop_test(tcase, test_batch_normalization, 0, 2);
  tcase_add_test(tcase, test_add_tensor);
  suite_add_tcase(suite, tcase);
  return run_suite(suite);
}
