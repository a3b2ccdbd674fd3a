/* Descriptors of cuDNN, and tensors between the device and packed arrays. */
#pragma once

#include "tests/cuda_shim/include/cudnn.h"
#include "tests/cuda_shim/shim.h"

#include <vector>

struct cudnnContext {
  cudaStream_t stream = nullptr;
};
struct cudnnTensorStruct {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  int n_dims = 0; /* 0: not set yet */
  int dims[CUDNN_DIM_MAX] = {}, strides[CUDNN_DIM_MAX] = {};
};
struct cudnnFilterStruct {
  bool set = false;
  int dims[4] = {}; /* filters, channels of a group, height, width; packed */
};
struct cudnnConvolutionStruct {
  bool set = false;
  int pad[2] = {}, stride[2] = {}, dilation[2] = {}, groups = 1;
  cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  cudnnDataType_t computation = CUDNN_DATA_FLOAT;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};
struct cudnnPoolingStruct {
  bool set = false;
  cudnnPoolingMode_t mode = CUDNN_POOLING_MAX;
  cudnnNanPropagation_t nan = CUDNN_PROPAGATE_NAN;
  int window[2] = {}, pad[2] = {}, stride[2] = {};
};
struct cudnnActivationStruct {
  bool set = false;
  cudnnActivationMode_t mode = CUDNN_ACTIVATION_IDENTITY;
  cudnnNanPropagation_t nan = CUDNN_PROPAGATE_NAN;
  double coefficient = 0;
};

namespace cuda_shim
{
bool is_cudnn(cudnnHandle_t handle);
cudnnStatus_t refuse_dnn(cudnnStatus_t status, const Call &call, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
cudnnStatus_t submit_dnn(const Call &call, cudnnHandle_t handle, std::function<void()> run);
cudnnTensorStruct filter_tensor(const cudnnFilterStruct &filter); /* as a packed tensor */
bool same_dims(const cudnnTensorStruct &a, const cudnnTensorStruct &b);
size_t elements(const cudnnTensorStruct &tensor);
/* Bytes from the first element to the end of the last one. */
size_t extent(const cudnnTensorStruct &tensor);
/* The elements in row-major order; the program ends when they do not lie in one allocation. */
std::vector<float> gather(const char *function, const char *name, const cudnnTensorStruct &tensor, const void *data);
/* data = alpha values + beta data; what was there is not read when beta is 0. */
void scatter(const char *function, const char *name, const cudnnTensorStruct &tensor, void *data,
             const std::vector<float> &values, float alpha, float beta);
} // namespace cuda_shim

#define CUDNN_CALL(name)                                                                                               \
  Call call(#name);                                                                                                    \
  if (call.injected != 0) return refuse_dnn(static_cast<cudnnStatus_t>(call.injected), call, "as CUDA_SHIM_FAIL asks")
#define CUDNN_BEGIN(name)                                                                                              \
  CUDNN_CALL(name);                                                                                                    \
  if (!is_cudnn(handle)) return refuse_dnn(CUDNN_STATUS_NOT_INITIALIZED, call, "no handle")
/* alpha and beta are float32 of the host. */
#define CUDNN_FACTORS                                                                                                  \
  if (alpha == nullptr || beta == nullptr) return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "no alpha or no beta");     \
  float one = *static_cast<const float *>(alpha), two = *static_cast<const float *>(beta)
