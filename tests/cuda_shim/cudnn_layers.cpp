/* Pooling, batch normalisation, softmax, activations and sums of cuDNN, by plain loops; sums in double. */
#include "tests/cuda_shim/cudnn_internal.h"

#include <cmath>

using namespace cuda_shim;

static cudnnStatus_t check_same(const Call &call, std::initializer_list<cudnnTensorDescriptor_t> tensors)
{
  const cudnnTensorStruct *first = *tensors.begin();
  for (const cudnnTensorStruct *tensor : tensors) {
    if (tensor == nullptr || tensor->n_dims == 0)
      return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "a descriptor is not set");
    if (!same_dims(*tensor, *first))
      return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "the tensors have different dimensions");
  }
  return CUDNN_STATUS_SUCCESS;
}

#define REQUIRE_SAME(...)                                                                                              \
  do {                                                                                                                 \
    cudnnStatus_t same = check_same(call, {__VA_ARGS__});                                                              \
    if (same != CUDNN_STATUS_SUCCESS) return same;                                                                     \
  } while (0)

/* --- sums ----------------------------------------------------------------------------------------------------------
 */
/* c = alpha a + beta c; dimensions of a that are 1 repeat. */
cudnnStatus_t cudnnAddTensor(cudnnHandle_t handle, const void *alpha, const cudnnTensorDescriptor_t a_of, const void *a,
                             const void *beta, const cudnnTensorDescriptor_t c_of, void *c)
{
  CUDNN_BEGIN(cudnnAddTensor);
  CUDNN_FACTORS;
  cudnnTensorStruct of_a = *a_of, of_c = *c_of;
  if (of_a.n_dims != of_c.n_dims)
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "%d and %d dimensions", of_a.n_dims, of_c.n_dims);
  for (int i = 0; i < of_a.n_dims; i++)
    if (of_a.dims[i] != 1 && of_a.dims[i] != of_c.dims[i])
      return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "dimension %d is %d in A and %d in C", i, of_a.dims[i],
                        of_c.dims[i]);
  return submit_dnn(call, handle, [=] {
    std::vector<float> from = gather("cudnnAddTensor", "A", of_a, a), added(elements(of_c));
    for (size_t i = 0; i < added.size(); i++) {
      size_t rest = i, place = 0, step = 1;
      for (int d = of_c.n_dims; d-- > 0;) {
        auto size = static_cast<size_t>(of_c.dims[d]);
        if (of_a.dims[d] != 1) place += rest % size * step;
        step *= static_cast<size_t>(of_a.dims[d]);
        rest /= size;
      }
      added[i] = from[place];
    }
    scatter("cudnnAddTensor", "C", of_c, c, added, one, two);
  });
}

/* --- pooling -------------------------------------------------------------------------------------------------------
 */
cudnnStatus_t cudnnGetPooling2dForwardOutputDim(const cudnnPoolingDescriptor_t pooling,
                                                const cudnnTensorDescriptor_t input, int *n, int *c, int *h, int *w)
{
  CUDNN_CALL(cudnnGetPooling2dForwardOutputDim);
  if (!pooling->set || input->n_dims != 4) return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "a descriptor is not set");
  int out[2];
  for (int i = 0; i < 2; i++) {
    int room = input->dims[2 + i] + 2 * pooling->pad[i] - pooling->window[i];
    if (room < 0) return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "the window is larger than the input");
    out[i] = 1 + room / pooling->stride[i];
  }
  *n = input->dims[0];
  *c = input->dims[1];
  *h = out[0];
  *w = out[1];
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t check_pooling(const Call &call, const cudnnPoolingStruct *pooling, const cudnnTensorStruct *x,
                                   const cudnnTensorStruct *y)
{
  int dims[4];
  cudnnStatus_t status =
      cudnnGetPooling2dForwardOutputDim(const_cast<cudnnPoolingDescriptor_t>(pooling),
                                        const_cast<cudnnTensorDescriptor_t>(x), &dims[0], &dims[1], &dims[2], &dims[3]);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  for (int i = 0; i < 4; i++)
    if (y->n_dims != 4 || y->dims[i] != dims[i])
      return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "the output is [%d, %d, %d, %d]", dims[0], dims[1], dims[2],
                        dims[3]);
  return CUDNN_STATUS_SUCCESS;
}

/* Visits each window: its output, and the places of its elements in the packed input. */
template <class Visit>
static void pooling_windows(const cudnnPoolingStruct &p, const cudnnTensorStruct &x, const cudnnTensorStruct &y,
                            Visit visit)
{
  std::vector<size_t> places;
  size_t number = 0;
  for (int plane = 0; plane < x.dims[0] * x.dims[1]; plane++)
    for (int oh = 0; oh < y.dims[2]; oh++)
      for (int ow = 0; ow < y.dims[3]; ow++, number++) {
        places.clear();
        for (int kh = 0; kh < p.window[0]; kh++)
          for (int kw = 0; kw < p.window[1]; kw++) {
            int h = oh * p.stride[0] - p.pad[0] + kh, w = ow * p.stride[1] - p.pad[1] + kw;
            if (h >= 0 && h < x.dims[2] && w >= 0 && w < x.dims[3])
              places.push_back((static_cast<size_t>(plane) * static_cast<size_t>(x.dims[2]) + static_cast<size_t>(h)) *
                                   static_cast<size_t>(x.dims[3]) +
                               static_cast<size_t>(w));
          }
        visit(number, places);
      }
}

static bool is_average(const cudnnPoolingStruct &p)
{
  return p.mode == CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING || p.mode == CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING;
}

static double divisor(const cudnnPoolingStruct &p, const std::vector<size_t> &places)
{
  return p.mode == CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING ? static_cast<double>(p.window[0]) * p.window[1]
                                                               : static_cast<double>(places.size());
}

static size_t largest(const std::vector<float> &x, const std::vector<size_t> &places)
{
  size_t best = places[0];
  for (size_t place : places)
    if (x[place] > x[best] || std::isnan(x[place])) best = place;
  return best;
}

cudnnStatus_t cudnnPoolingForward(cudnnHandle_t handle, const cudnnPoolingDescriptor_t pooling, const void *alpha,
                                  const cudnnTensorDescriptor_t x_of, const void *x, const void *beta,
                                  const cudnnTensorDescriptor_t y_of, void *y)
{
  CUDNN_BEGIN(cudnnPoolingForward);
  CUDNN_FACTORS;
  cudnnStatus_t status = check_pooling(call, pooling, x_of, y_of);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  cudnnPoolingStruct p = *pooling;
  cudnnTensorStruct of_x = *x_of, of_y = *y_of;
  return submit_dnn(call, handle, [=] {
    std::vector<float> in = gather("cudnnPoolingForward", "x", of_x, x), out(elements(of_y));
    pooling_windows(p, of_x, of_y, [&](size_t number, const std::vector<size_t> &places) {
      double sum = 0;
      for (size_t place : places) sum += static_cast<double>(in[place]);
      out[number] = is_average(p) ? static_cast<float>(sum / divisor(p, places)) : in[largest(in, places)];
    });
    scatter("cudnnPoolingForward", "y", of_y, y, out, one, two);
  });
}

cudnnStatus_t cudnnPoolingBackward(cudnnHandle_t handle, const cudnnPoolingDescriptor_t pooling, const void *alpha,
                                   const cudnnTensorDescriptor_t y_of, const void *y,
                                   const cudnnTensorDescriptor_t dy_of, const void *dy,
                                   const cudnnTensorDescriptor_t x_of, const void *x, const void *beta,
                                   const cudnnTensorDescriptor_t dx_of, void *dx)
{
  CUDNN_BEGIN(cudnnPoolingBackward);
  CUDNN_FACTORS;
  REQUIRE_SAME(y_of, dy_of);
  REQUIRE_SAME(x_of, dx_of);
  cudnnStatus_t status = check_pooling(call, pooling, x_of, y_of);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  cudnnPoolingStruct p = *pooling;
  cudnnTensorStruct of_x = *x_of, of_y = *y_of, of_dy = *dy_of, of_dx = *dx_of;
  return submit_dnn(call, handle, [=] {
    std::vector<float> in = gather("cudnnPoolingBackward", "x", of_x, x),
                       out = gather("cudnnPoolingBackward", "dy", of_dy, dy), result;
    if (!is_average(p)) gather("cudnnPoolingBackward", "y", of_y, y); /* it has to be there */
    std::vector<double> sums(in.size());
    pooling_windows(p, of_x, of_y, [&](size_t number, const std::vector<size_t> &places) {
      if (!is_average(p))
        sums[largest(in, places)] += static_cast<double>(out[number]);
      else
        for (size_t place : places) sums[place] += static_cast<double>(out[number]) / divisor(p, places);
    });
    result.assign(sums.begin(), sums.end());
    scatter("cudnnPoolingBackward", "dx", of_dx, dx, result, one, two);
  });
}

/* --- activations ---------------------------------------------------------------------------------------------------
 */
static double activate(const cudnnActivationStruct &a, double x)
{
  switch (a.mode) {
  case CUDNN_ACTIVATION_SIGMOID:
    return 1 / (1 + std::exp(-x));
  case CUDNN_ACTIVATION_RELU:
    return x < 0 ? 0 : x; /* NaN stays */
  case CUDNN_ACTIVATION_TANH:
    return std::tanh(x);
  case CUDNN_ACTIVATION_CLIPPED_RELU:
    return x < 0 ? 0 : x > a.coefficient ? a.coefficient : x;
  case CUDNN_ACTIVATION_ELU:
    return x < 0 ? a.coefficient * std::expm1(x) : x;
  default:
    return x;
  }
}

static double slope(const cudnnActivationStruct &a, double x, double y)
{
  switch (a.mode) {
  case CUDNN_ACTIVATION_SIGMOID:
    return y * (1 - y);
  case CUDNN_ACTIVATION_RELU:
    return x > 0;
  case CUDNN_ACTIVATION_TANH:
    return 1 - y * y;
  case CUDNN_ACTIVATION_CLIPPED_RELU:
    return x > 0 && x < a.coefficient;
  case CUDNN_ACTIVATION_ELU:
    return x < 0 ? y + a.coefficient : 1;
  default:
    return 1;
  }
}

cudnnStatus_t cudnnActivationForward(cudnnHandle_t handle, cudnnActivationDescriptor_t activation, const void *alpha,
                                     const cudnnTensorDescriptor_t x_of, const void *x, const void *beta,
                                     const cudnnTensorDescriptor_t y_of, void *y)
{
  CUDNN_BEGIN(cudnnActivationForward);
  CUDNN_FACTORS;
  REQUIRE_SAME(x_of, y_of);
  cudnnActivationStruct a = *activation;
  cudnnTensorStruct of_x = *x_of, of_y = *y_of;
  return submit_dnn(call, handle, [=] {
    std::vector<float> values = gather("cudnnActivationForward", "x", of_x, x);
    for (float &value : values) value = static_cast<float>(activate(a, static_cast<double>(value)));
    scatter("cudnnActivationForward", "y", of_y, y, values, one, two);
  });
}

cudnnStatus_t cudnnActivationBackward(cudnnHandle_t handle, cudnnActivationDescriptor_t activation, const void *alpha,
                                      const cudnnTensorDescriptor_t y_of, const void *y,
                                      const cudnnTensorDescriptor_t dy_of, const void *dy,
                                      const cudnnTensorDescriptor_t x_of, const void *x, const void *beta,
                                      const cudnnTensorDescriptor_t dx_of, void *dx)
{
  CUDNN_BEGIN(cudnnActivationBackward);
  CUDNN_FACTORS;
  REQUIRE_SAME(y_of, dy_of, x_of, dx_of);
  cudnnActivationStruct a = *activation;
  cudnnTensorStruct of_y = *y_of, of_dy = *dy_of, of_x = *x_of, of_dx = *dx_of;
  return submit_dnn(call, handle, [=] {
    const char *function = "cudnnActivationBackward";
    std::vector<float> out = gather(function, "y", of_y, y), result = gather(function, "dy", of_dy, dy),
                       in = gather(function, "x", of_x, x);
    for (size_t i = 0; i < in.size(); i++)
      result[i] = static_cast<float>(static_cast<double>(result[i]) *
                                     slope(a, static_cast<double>(in[i]), static_cast<double>(out[i])));
    scatter(function, "dx", of_dx, dx, result, one, two);
  });
}

/* --- softmax -------------------------------------------------------------------------------------------------------
 */
/* Visits the first element of each group that sums to 1, with its size and the step between its elements. */
template <class Visit> static void softmax_groups(const cudnnTensorStruct &x, cudnnSoftmaxMode_t mode, Visit visit)
{
  size_t n = static_cast<size_t>(x.dims[0]), all = elements(x) / n;
  size_t size = mode == CUDNN_SOFTMAX_MODE_CHANNEL ? static_cast<size_t>(x.dims[1]) : all, step = all / size;
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < step; j++) visit(i * all + j, size, step);
}

cudnnStatus_t cudnnSoftmaxForward(cudnnHandle_t handle, cudnnSoftmaxAlgorithm_t algorithm, cudnnSoftmaxMode_t mode,
                                  const void *alpha, const cudnnTensorDescriptor_t x_of, const void *x,
                                  const void *beta, const cudnnTensorDescriptor_t y_of, void *y)
{
  CUDNN_BEGIN(cudnnSoftmaxForward);
  CUDNN_FACTORS;
  REQUIRE_SAME(x_of, y_of);
  cudnnTensorStruct of_x = *x_of, of_y = *y_of;
  return submit_dnn(call, handle, [=] {
    std::vector<float> values = gather("cudnnSoftmaxForward", "x", of_x, x);
    softmax_groups(of_x, mode, [&](size_t first, size_t size, size_t step) {
      double top = algorithm == CUDNN_SOFTMAX_FAST ? 0 : -HUGE_VAL, sum = 0; /* FAST subtracts nothing, and overflows */
      for (size_t i = 0; i < size && algorithm != CUDNN_SOFTMAX_FAST; i++)
        top = std::fmax(top, static_cast<double>(values[first + i * step]));
      for (size_t i = 0; i < size; i++)
        sum += static_cast<double>(static_cast<float>(std::exp(static_cast<double>(values[first + i * step]) - top)));
      for (size_t i = 0; i < size; i++) {
        double value = static_cast<double>(values[first + i * step]) - top;
        values[first + i * step] =
            static_cast<float>(algorithm == CUDNN_SOFTMAX_LOG ? value - std::log(sum) : std::exp(value) / sum);
      }
    });
    scatter("cudnnSoftmaxForward", "y", of_y, y, values, one, two);
  });
}

cudnnStatus_t cudnnSoftmaxBackward(cudnnHandle_t handle, cudnnSoftmaxAlgorithm_t algorithm, cudnnSoftmaxMode_t mode,
                                   const void *alpha, const cudnnTensorDescriptor_t y_of, const void *y,
                                   const cudnnTensorDescriptor_t dy_of, const void *dy, const void *beta,
                                   const cudnnTensorDescriptor_t dx_of, void *dx)
{
  CUDNN_BEGIN(cudnnSoftmaxBackward);
  CUDNN_FACTORS;
  REQUIRE_SAME(y_of, dy_of, dx_of);
  cudnnTensorStruct of_y = *y_of, of_dy = *dy_of, of_dx = *dx_of;
  return submit_dnn(call, handle, [=] {
    std::vector<float> out = gather("cudnnSoftmaxBackward", "y", of_y, y),
                       result = gather("cudnnSoftmaxBackward", "dy", of_dy, dy);
    bool log = algorithm == CUDNN_SOFTMAX_LOG;
    softmax_groups(of_y, mode, [&](size_t first, size_t size, size_t step) {
      double sum = 0;
      for (size_t i = 0; i < size; i++)
        sum += static_cast<double>(result[first + i * step]) * (log ? 1 : static_cast<double>(out[first + i * step]));
      for (size_t i = 0; i < size; i++) {
        size_t at = first + i * step;
        double from = static_cast<double>(out[at]), gradient = static_cast<double>(result[at]);
        result[at] = static_cast<float>(log ? gradient - std::exp(from) * sum : from * (gradient - sum));
      }
    });
    scatter("cudnnSoftmaxBackward", "dx", of_dx, dx, result, one, two);
  });
}
