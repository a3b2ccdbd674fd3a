/* Batch normalisation of cuDNN (Ioffe, Szegedy 2015): the running variance is the unbiased one, what is kept for
 * backward is the inverse of the deviation. Sums in double. */
#include "tests/cuda_shim/cudnn_internal.h"

#include <cmath>

using namespace cuda_shim;

/* The statistics are of each channel (spatial), or of each element of an image. */
struct Groups {
  size_t groups, inner; /* element i belongs to group i / inner % groups */
  size_t of(size_t i) const
  {
    return i / inner % groups;
  }
};

static Groups find_groups(const cudnnTensorStruct &x, cudnnBatchNormMode_t mode)
{
  size_t image = elements(x) / static_cast<size_t>(x.dims[0]);
  if (mode == CUDNN_BATCHNORM_PER_ACTIVATION) return {image, 1};
  return {static_cast<size_t>(x.dims[1]), image / static_cast<size_t>(x.dims[1])};
}

cudnnStatus_t cudnnDeriveBNTensorDescriptor(cudnnTensorDescriptor_t derived, const cudnnTensorDescriptor_t x,
                                            cudnnBatchNormMode_t mode)
{
  CUDNN_CALL(cudnnDeriveBNTensorDescriptor);
  int dims[CUDNN_DIM_MAX], strides[CUDNN_DIM_MAX], stride = 1;
  for (int i = 0; i < x->n_dims; i++)
    dims[i] = i == 0 || (i > 1 && mode != CUDNN_BATCHNORM_PER_ACTIVATION) ? 1 : x->dims[i];
  for (int i = x->n_dims; i-- > 0;) {
    strides[i] = stride;
    stride *= dims[i];
  }
  return cudnnSetTensorNdDescriptor(derived, CUDNN_DATA_FLOAT, x->n_dims, dims, strides);
}

static cudnnStatus_t check(const Call &call, cudnnBatchNormMode_t mode, const cudnnTensorStruct *x,
                           std::initializer_list<const cudnnTensorStruct *> same, const cudnnTensorStruct *parameters,
                           double epsilon)
{
  for (const cudnnTensorStruct *tensor : same)
    if (tensor->n_dims < 4 || !same_dims(*tensor, *x))
      return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "the tensors differ, or have less than 4 dimensions");
  if (parameters->n_dims == 0 || elements(*parameters) != find_groups(*x, mode).groups)
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "%zu parameters, %zu are normalised", elements(*parameters),
                      find_groups(*x, mode).groups);
  if (!(epsilon >= CUDNN_BN_MIN_EPSILON)) return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "epsilon %g", epsilon);
  return CUDNN_STATUS_SUCCESS;
}

struct Statistics {
  std::vector<double> mean, variance; /* of the population */
};

static Statistics measure(const std::vector<float> &x, const Groups &groups)
{
  Statistics found = {std::vector<double>(groups.groups), std::vector<double>(groups.groups)};
  double n = static_cast<double>(x.size() / groups.groups);
  for (size_t i = 0; i < x.size(); i++) found.mean[groups.of(i)] += static_cast<double>(x[i]) / n;
  for (size_t i = 0; i < x.size(); i++) {
    double difference = static_cast<double>(x[i]) - found.mean[groups.of(i)];
    found.variance[groups.of(i)] += difference * difference / n;
  }
  return found;
}

/* running = (1 - factor) running + factor now; what was there is not read when the factor is 1. */
static void update(const char *function, const cudnnTensorStruct &of, void *running, const std::vector<double> &now,
                   double factor)
{
  std::vector<float> values(now.begin(), now.end());
  if (running != nullptr)
    scatter(function, "running statistics", of, running, values, static_cast<float>(factor),
            static_cast<float>(1 - factor));
}

cudnnStatus_t cudnnBatchNormalizationForwardTraining(cudnnHandle_t handle, cudnnBatchNormMode_t mode, const void *alpha,
                                                     const void *beta, const cudnnTensorDescriptor_t x_of,
                                                     const void *x, const cudnnTensorDescriptor_t y_of, void *y,
                                                     const cudnnTensorDescriptor_t parameters, const void *scale,
                                                     const void *bias, double factor, void *running_mean,
                                                     void *running_variance, double epsilon, void *saved_mean,
                                                     void *saved_inverse_deviation)
{
  CUDNN_BEGIN(cudnnBatchNormalizationForwardTraining);
  CUDNN_FACTORS;
  cudnnStatus_t status = check(call, mode, x_of, {x_of, y_of}, parameters, epsilon);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  if ((running_mean == nullptr) != (running_variance == nullptr) ||
      (saved_mean == nullptr) != (saved_inverse_deviation == nullptr))
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "mean and variance are both there, or neither");
  cudnnTensorStruct of_x = *x_of, of_y = *y_of, of = *parameters;
  return submit_dnn(call, handle, [=] {
    const char *function = "cudnnBatchNormalizationForwardTraining";
    Groups groups = find_groups(of_x, mode);
    std::vector<float> values = gather(function, "x", of_x, x), scales = gather(function, "scale", of, scale),
                       biases = gather(function, "bias", of, bias);
    Statistics found = measure(values, groups);
    std::vector<double> inverse(groups.groups), unbiased = found.variance;
    double n = static_cast<double>(values.size() / groups.groups);
    for (size_t g = 0; g < groups.groups; g++) {
      inverse[g] = 1 / std::sqrt(found.variance[g] + epsilon);
      unbiased[g] *= n > 1 ? n / (n - 1) : 1;
    }
    for (size_t i = 0; i < values.size(); i++) {
      size_t g = groups.of(i);
      values[i] = static_cast<float>(static_cast<double>(scales[g]) * (static_cast<double>(values[i]) - found.mean[g]) *
                                         inverse[g] +
                                     static_cast<double>(biases[g]));
    }
    scatter(function, "y", of_y, y, values, one, two);
    update(function, of, running_mean, found.mean, factor);
    update(function, of, running_variance, unbiased, factor);
    update(function, of, saved_mean, found.mean, 1);
    update(function, of, saved_inverse_deviation, inverse, 1);
  });
}

cudnnStatus_t cudnnBatchNormalizationForwardInference(cudnnHandle_t handle, cudnnBatchNormMode_t mode,
                                                      const void *alpha, const void *beta,
                                                      const cudnnTensorDescriptor_t x_of, const void *x,
                                                      const cudnnTensorDescriptor_t y_of, void *y,
                                                      const cudnnTensorDescriptor_t parameters, const void *scale,
                                                      const void *bias, const void *mean, const void *variance,
                                                      double epsilon)
{
  CUDNN_BEGIN(cudnnBatchNormalizationForwardInference);
  CUDNN_FACTORS;
  cudnnStatus_t status = check(call, mode, x_of, {x_of, y_of}, parameters, epsilon);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  cudnnTensorStruct of_x = *x_of, of_y = *y_of, of = *parameters;
  return submit_dnn(call, handle, [=] {
    const char *function = "cudnnBatchNormalizationForwardInference";
    Groups groups = find_groups(of_x, mode);
    std::vector<float> values = gather(function, "x", of_x, x), scales = gather(function, "scale", of, scale),
                       biases = gather(function, "bias", of, bias), means = gather(function, "mean", of, mean),
                       variances = gather(function, "variance", of, variance);
    for (size_t i = 0; i < values.size(); i++) {
      size_t g = groups.of(i);
      double normal = (static_cast<double>(values[i]) - static_cast<double>(means[g])) /
                      std::sqrt(static_cast<double>(variances[g]) + epsilon);
      values[i] = static_cast<float>(static_cast<double>(scales[g]) * normal + static_cast<double>(biases[g]));
    }
    scatter(function, "y", of_y, y, values, one, two);
  });
}

cudnnStatus_t cudnnBatchNormalizationBackward(cudnnHandle_t handle, cudnnBatchNormMode_t mode, const void *alpha,
                                              const void *beta, const void *alpha_parameters,
                                              const void *beta_parameters, const cudnnTensorDescriptor_t x_of,
                                              const void *x, const cudnnTensorDescriptor_t dy_of, const void *dy,
                                              const cudnnTensorDescriptor_t dx_of, void *dx,
                                              const cudnnTensorDescriptor_t parameters, const void *scale, void *dscale,
                                              void *dbias, double epsilon, const void *saved_mean,
                                              const void *saved_inverse_deviation)
{
  CUDNN_BEGIN(cudnnBatchNormalizationBackward);
  CUDNN_FACTORS;
  cudnnStatus_t status = check(call, mode, x_of, {x_of, dy_of, dx_of}, parameters, epsilon);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  if (alpha_parameters == nullptr || beta_parameters == nullptr ||
      (saved_mean == nullptr) != (saved_inverse_deviation == nullptr))
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "factors or saved statistics are missing");
  float three = *static_cast<const float *>(alpha_parameters), four = *static_cast<const float *>(beta_parameters);
  cudnnTensorStruct of_x = *x_of, of_dy = *dy_of, of_dx = *dx_of, of = *parameters;
  return submit_dnn(call, handle, [=] {
    const char *function = "cudnnBatchNormalizationBackward";
    Groups groups = find_groups(of_x, mode);
    std::vector<float> in = gather(function, "x", of_x, x), out = gather(function, "dy", of_dy, dy),
                       scales = gather(function, "scale", of, scale);
    Statistics found = measure(in, groups);
    std::vector<double> inverse(groups.groups), sums(groups.groups), products(groups.groups);
    for (size_t g = 0; g < groups.groups; g++) inverse[g] = 1 / std::sqrt(found.variance[g] + epsilon);
    if (saved_mean != nullptr) {
      std::vector<float> kept = gather(function, "saved mean", of, saved_mean),
                         deviations = gather(function, "saved deviation", of, saved_inverse_deviation);
      found.mean.assign(kept.begin(), kept.end());
      inverse.assign(deviations.begin(), deviations.end());
    }
    auto normal = [&](size_t i) {
      return (static_cast<double>(in[i]) - found.mean[groups.of(i)]) * inverse[groups.of(i)];
    };
    for (size_t i = 0; i < in.size(); i++) {
      sums[groups.of(i)] += static_cast<double>(out[i]);
      products[groups.of(i)] += static_cast<double>(out[i]) * normal(i);
    }
    double n = static_cast<double>(in.size() / groups.groups);
    std::vector<float> result(in.size());
    for (size_t i = 0; i < in.size(); i++) {
      size_t g = groups.of(i);
      result[i] = static_cast<float>(static_cast<double>(scales[g]) * inverse[g] *
                                     (static_cast<double>(out[i]) - sums[g] / n - normal(i) * products[g] / n));
    }
    scatter(function, "dx", of_dx, dx, result, one, two);
    scatter(function, "dscale", of, dscale, {products.begin(), products.end()}, three, four);
    scatter(function, "dbias", of, dbias, {sums.begin(), sums.end()}, three, four);
  });
}
