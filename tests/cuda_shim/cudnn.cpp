/* cuDNN: handles, descriptors, and the way of tensors. */
#include "tests/cuda_shim/cudnn_internal.h"

#include <cstdarg>
#include <cstdio>
#include <set>

namespace cuda_shim
{
static std::set<cudnnHandle_t> &handles = *new std::set<cudnnHandle_t>; /* never destroyed */

bool is_cudnn(cudnnHandle_t handle)
{
  return handles.count(handle) != 0;
}

cudnnStatus_t refuse_dnn(cudnnStatus_t status, const Call &call, const char *format, ...)
{
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "cuda shim: %s: %s (%s)\n", call.function, text, cudnnGetErrorString(status));
  return status;
}

cudnnStatus_t submit_dnn(const Call &call, cudnnHandle_t handle, std::function<void()> run)
{
  return enqueue(call, handle->stream, call.function, std::move(run)) == cudaSuccess ? CUDNN_STATUS_SUCCESS
                                                                                     : CUDNN_STATUS_EXECUTION_FAILED;
}

static void pack(cudnnTensorStruct *tensor)
{
  int stride = 1;
  for (int i = tensor->n_dims; i-- > 0;) {
    tensor->strides[i] = stride;
    stride *= tensor->dims[i];
  }
}

cudnnTensorStruct filter_tensor(const cudnnFilterStruct &filter)
{
  cudnnTensorStruct tensor;
  tensor.n_dims = 4;
  for (int i = 0; i < 4; i++) tensor.dims[i] = filter.dims[i];
  pack(&tensor);
  return tensor;
}

bool same_dims(const cudnnTensorStruct &a, const cudnnTensorStruct &b)
{
  if (a.n_dims != b.n_dims) return false;
  for (int i = 0; i < a.n_dims; i++)
    if (a.dims[i] != b.dims[i]) return false;
  return true;
}

size_t elements(const cudnnTensorStruct &tensor)
{
  size_t n = 1;
  for (int i = 0; i < tensor.n_dims; i++) n *= static_cast<size_t>(tensor.dims[i]);
  return n;
}

size_t extent(const cudnnTensorStruct &tensor)
{
  size_t last = 0;
  for (int i = 0; i < tensor.n_dims; i++)
    last += static_cast<size_t>(tensor.dims[i] - 1) * static_cast<size_t>(tensor.strides[i]);
  return elements(tensor) == 0 ? 0 : sizeof(float) * (last + 1);
}

/* Calls for each element in row-major order with its number and its place in memory. */
template <class Visit> static void for_each(const cudnnTensorStruct &tensor, Visit visit)
{
  int index[CUDNN_DIM_MAX] = {};
  size_t n = elements(tensor), place = 0;
  for (size_t i = 0; i < n; i++) {
    visit(i, place);
    for (int d = tensor.n_dims; d-- > 0;) {
      place += static_cast<size_t>(tensor.strides[d]);
      if (++index[d] < tensor.dims[d]) break;
      place -= static_cast<size_t>(tensor.strides[d]) * static_cast<size_t>(tensor.dims[d]);
      index[d] = 0;
    }
  }
}

std::vector<float> gather(const char *function, const char *name, const cudnnTensorStruct &tensor, const void *data)
{
  require_device(function, name, data, extent(tensor));
  std::vector<float> values(elements(tensor));
  const auto *from = static_cast<const float *>(data);
  for_each(tensor, [&](size_t i, size_t place) { values[i] = from[place]; });
  return values;
}

void scatter(const char *function, const char *name, const cudnnTensorStruct &tensor, void *data,
             const std::vector<float> &values, float alpha, float beta)
{
  require_device(function, name, data, extent(tensor));
  auto *to = static_cast<float *>(data);
  for_each(tensor, [&](size_t i, size_t place) {
    float value = alpha * values[i];
    to[place] = beta == 0 ? value : value + beta * to[place];
  });
}
} // namespace cuda_shim

using namespace cuda_shim;

/* --- handles -------------------------------------------------------------------------------------------------------
 */
size_t cudnnGetVersion(void)
{
  return CUDNN_VERSION;
}

size_t cudnnGetCudartVersion(void)
{
  return CUDART_VERSION;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
  static const struct {
    cudnnStatus_t status;
    const char *name;
  } statuses[] = {
      {CUDNN_STATUS_SUCCESS, "CUDNN_STATUS_SUCCESS"},
      {CUDNN_STATUS_NOT_INITIALIZED, "CUDNN_STATUS_NOT_INITIALIZED"},
      {CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH, "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH"},
      {CUDNN_STATUS_BAD_PARAM, "CUDNN_STATUS_BAD_PARAM"},
      {CUDNN_STATUS_NOT_SUPPORTED, "CUDNN_STATUS_NOT_SUPPORTED"},
      {CUDNN_STATUS_INTERNAL_ERROR, "CUDNN_STATUS_INTERNAL_ERROR"},
      {CUDNN_STATUS_EXECUTION_FAILED, "CUDNN_STATUS_EXECUTION_FAILED"},
  };
  for (const auto &known : statuses)
    if (known.status == status) return known.name;
  return "CUDNN_UNKNOWN_STATUS";
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
  CUDNN_CALL(cudnnCreate);
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return CUDNN_STATUS_NOT_INITIALIZED;
  *handle = new cudnnContext;
  handles.insert(*handle);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
  CUDNN_BEGIN(cudnnDestroy);
  handles.erase(handle);
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
  CUDNN_BEGIN(cudnnSetStream);
  if (!is_stream(stream)) return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "no stream");
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t *stream)
{
  CUDNN_BEGIN(cudnnGetStream);
  *stream = handle->stream;
  return CUDNN_STATUS_SUCCESS;
}

/* --- tensors -------------------------------------------------------------------------------------------------------
 */
#define CUDNN_DESCRIPTOR(Type, Kind)                                                                                   \
  cudnnStatus_t cudnnCreate##Kind##Descriptor(Type *made)                                                              \
  {                                                                                                                    \
    CUDNN_CALL(cudnnCreate##Kind##Descriptor);                                                                         \
    *made = new std::remove_pointer_t<Type>;                                                                           \
    return CUDNN_STATUS_SUCCESS;                                                                                       \
  }                                                                                                                    \
  cudnnStatus_t cudnnDestroy##Kind##Descriptor(Type descriptor)                                                        \
  {                                                                                                                    \
    CUDNN_CALL(cudnnDestroy##Kind##Descriptor);                                                                        \
    delete descriptor;                                                                                                 \
    return CUDNN_STATUS_SUCCESS;                                                                                       \
  }
CUDNN_DESCRIPTOR(cudnnTensorDescriptor_t, Tensor)
CUDNN_DESCRIPTOR(cudnnFilterDescriptor_t, Filter)
CUDNN_DESCRIPTOR(cudnnConvolutionDescriptor_t, Convolution)
CUDNN_DESCRIPTOR(cudnnPoolingDescriptor_t, Pooling)
CUDNN_DESCRIPTOR(cudnnActivationDescriptor_t, Activation)

cudnnStatus_t cudnnSetTensorNdDescriptor(cudnnTensorDescriptor_t tensor, cudnnDataType_t type, int n_dims,
                                         const int dims[], const int strides[])
{
  CUDNN_CALL(cudnnSetTensorNdDescriptor);
  if (tensor == nullptr || n_dims < 3 || n_dims > CUDNN_DIM_MAX)
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "%d dimensions; 3 to %d", n_dims, CUDNN_DIM_MAX);
  if (type != CUDNN_DATA_FLOAT)
    return refuse_dnn(CUDNN_STATUS_NOT_SUPPORTED, call, "type %d; the shim has float32", type);
  size_t n = 1;
  for (int i = 0; i < n_dims; i++) {
    if (dims[i] < 1 || strides[i] < 1)
      return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "dimension %d is %d with stride %d", i, dims[i], strides[i]);
    n *= static_cast<size_t>(dims[i]);
    if (n > INT_MAX) return refuse_dnn(CUDNN_STATUS_NOT_SUPPORTED, call, "more than 2^31 - 1 elements");
  }
  tensor->type = type;
  tensor->n_dims = n_dims;
  for (int i = 0; i < n_dims; i++) {
    tensor->dims[i] = dims[i];
    tensor->strides[i] = strides[i];
  }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t tensor, cudnnDataType_t type, int n, int c, int h,
                                           int w, int n_stride, int c_stride, int h_stride, int w_stride)
{
  const int dims[] = {n, c, h, w}, strides[] = {n_stride, c_stride, h_stride, w_stride};
  return cudnnSetTensorNdDescriptor(tensor, type, 4, dims, strides);
}

cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t tensor, cudnnTensorFormat_t format,
                                         cudnnDataType_t type, int n, int c, int h, int w)
{
  return format == CUDNN_TENSOR_NCHW ? cudnnSetTensor4dDescriptorEx(tensor, type, n, c, h, w, c * h * w, h * w, w, 1)
                                     : cudnnSetTensor4dDescriptorEx(tensor, type, n, c, h, w, h * w * c, 1, w * c, c);
}

cudnnStatus_t cudnnGetTensorNdDescriptor(const cudnnTensorDescriptor_t tensor, int wanted, cudnnDataType_t *type,
                                         int *n_dims, int dims[], int strides[])
{
  CUDNN_CALL(cudnnGetTensorNdDescriptor);
  *type = tensor->type;
  *n_dims = tensor->n_dims;
  for (int i = 0; i < wanted && i < tensor->n_dims; i++) {
    dims[i] = tensor->dims[i];
    strides[i] = tensor->strides[i];
  }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetTensor4dDescriptor(const cudnnTensorDescriptor_t tensor, cudnnDataType_t *type, int *n, int *c,
                                         int *h, int *w, int *n_stride, int *c_stride, int *h_stride, int *w_stride)
{
  CUDNN_CALL(cudnnGetTensor4dDescriptor);
  if (tensor->n_dims != 4) return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "it has %d dimensions", tensor->n_dims);
  int *dims[] = {n, c, h, w}, *strides[] = {n_stride, c_stride, h_stride, w_stride};
  *type = tensor->type;
  for (int i = 0; i < 4; i++) {
    *dims[i] = tensor->dims[i];
    *strides[i] = tensor->strides[i];
  }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetTensorSizeInBytes(const cudnnTensorDescriptor_t tensor, size_t *bytes)
{
  CUDNN_CALL(cudnnGetTensorSizeInBytes);
  *bytes = extent(*tensor);
  return CUDNN_STATUS_SUCCESS;
}

/* --- filters, windows, activations ---------------------------------------------------------------------------------
 */
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t filter, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w)
{
  CUDNN_CALL(cudnnSetFilter4dDescriptor);
  if (type != CUDNN_DATA_FLOAT || format != CUDNN_TENSOR_NCHW)
    return refuse_dnn(CUDNN_STATUS_NOT_SUPPORTED, call, "the shim has filters of float32 in NCHW");
  if (k < 1 || c < 1 || h < 1 || w < 1)
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "dimensions %d, %d, %d, %d", k, c, h, w);
  *filter = {true, {k, c, h, w}};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetFilter4dDescriptor(const cudnnFilterDescriptor_t filter, cudnnDataType_t *type,
                                         cudnnTensorFormat_t *format, int *k, int *c, int *h, int *w)
{
  CUDNN_CALL(cudnnGetFilter4dDescriptor);
  *type = CUDNN_DATA_FLOAT;
  *format = CUDNN_TENSOR_NCHW;
  int *dims[] = {k, c, h, w};
  for (int i = 0; i < 4; i++) *dims[i] = filter->dims[i];
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t convolution, int pad_h, int pad_w,
                                              int stride_h, int stride_w, int dilation_h, int dilation_w,
                                              cudnnConvolutionMode_t mode, cudnnDataType_t computation)
{
  CUDNN_CALL(cudnnSetConvolution2dDescriptor);
  if (pad_h < 0 || pad_w < 0 || stride_h < 1 || stride_w < 1 || dilation_h < 1 || dilation_w < 1)
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "pads %d, %d, strides %d, %d, dilations %d, %d", pad_h, pad_w,
                      stride_h, stride_w, dilation_h, dilation_w);
  int groups = convolution->groups;
  cudnnMathType_t math = convolution->math;
  *convolution = {true,   {pad_h, pad_w}, {stride_h, stride_w}, {dilation_h, dilation_w},
                  groups, mode,           computation,          math};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolution2dDescriptor(const cudnnConvolutionDescriptor_t convolution, int *pad_h, int *pad_w,
                                              int *stride_h, int *stride_w, int *dilation_h, int *dilation_w,
                                              cudnnConvolutionMode_t *mode, cudnnDataType_t *computation)
{
  CUDNN_CALL(cudnnGetConvolution2dDescriptor);
  int *pads[] = {pad_h, pad_w}, *strides[] = {stride_h, stride_w}, *dilations[] = {dilation_h, dilation_w};
  for (int i = 0; i < 2; i++) {
    *pads[i] = convolution->pad[i];
    *strides[i] = convolution->stride[i];
    *dilations[i] = convolution->dilation[i];
  }
  *mode = convolution->mode;
  *computation = convolution->computation;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t convolution, int groups)
{
  CUDNN_CALL(cudnnSetConvolutionGroupCount);
  if (groups < 1) return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "%d groups", groups);
  convolution->groups = groups;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionGroupCount(cudnnConvolutionDescriptor_t convolution, int *groups)
{
  CUDNN_CALL(cudnnGetConvolutionGroupCount);
  *groups = convolution->groups;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t convolution, cudnnMathType_t type)
{
  CUDNN_CALL(cudnnSetConvolutionMathType);
  if (type < CUDNN_DEFAULT_MATH || type > CUDNN_FMA_MATH)
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "type %d", type);
  convolution->math = type;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionMathType(cudnnConvolutionDescriptor_t convolution, cudnnMathType_t *type)
{
  CUDNN_CALL(cudnnGetConvolutionMathType);
  *type = convolution->math;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetPooling2dDescriptor(cudnnPoolingDescriptor_t pooling, cudnnPoolingMode_t mode,
                                          cudnnNanPropagation_t nan, int window_h, int window_w, int pad_h, int pad_w,
                                          int stride_h, int stride_w)
{
  CUDNN_CALL(cudnnSetPooling2dDescriptor);
  if (window_h < 1 || window_w < 1 || pad_h < 0 || pad_w < 0 || stride_h < 1 || stride_w < 1 || pad_h >= window_h ||
      pad_w >= window_w)
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "window %d, %d, pads %d, %d, strides %d, %d", window_h, window_w,
                      pad_h, pad_w, stride_h, stride_w);
  *pooling = {true, mode, nan, {window_h, window_w}, {pad_h, pad_w}, {stride_h, stride_w}};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetPooling2dDescriptor(const cudnnPoolingDescriptor_t pooling, cudnnPoolingMode_t *mode,
                                          cudnnNanPropagation_t *nan, int *window_h, int *window_w, int *pad_h,
                                          int *pad_w, int *stride_h, int *stride_w)
{
  CUDNN_CALL(cudnnGetPooling2dDescriptor);
  int *windows[] = {window_h, window_w}, *pads[] = {pad_h, pad_w}, *strides[] = {stride_h, stride_w};
  for (int i = 0; i < 2; i++) {
    *windows[i] = pooling->window[i];
    *pads[i] = pooling->pad[i];
    *strides[i] = pooling->stride[i];
  }
  *mode = pooling->mode;
  *nan = pooling->nan;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t activation, cudnnActivationMode_t mode,
                                           cudnnNanPropagation_t nan, double coefficient)
{
  CUDNN_CALL(cudnnSetActivationDescriptor);
  if (mode < CUDNN_ACTIVATION_SIGMOID || mode > CUDNN_ACTIVATION_IDENTITY)
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "mode %d", mode);
  *activation = {true, mode, nan, coefficient};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetActivationDescriptor(const cudnnActivationDescriptor_t activation, cudnnActivationMode_t *mode,
                                           cudnnNanPropagation_t *nan, double *coefficient)
{
  CUDNN_CALL(cudnnGetActivationDescriptor);
  *mode = activation->mode;
  *nan = activation->nan;
  *coefficient = activation->coefficient;
  return CUDNN_STATUS_SUCCESS;
}
