/* Convolutions by products of OpenBLAS with the input's windows as columns (Chellapilla, Puri, Simard 2006). */
#include "tests/cuda_shim/cudnn_internal.h"

#include <cblas.h>

using namespace cuda_shim;

/* Sizes of one convolution: x [n, c, in], w [k, c / groups, kernel], y [n, k, out]. */
struct Shape {
  int n, c, k, groups, in[2], kernel[2], out[2], pad[2], stride[2], dilation[2];
  bool flipped;
  size_t rows() const /* of the columns of a group: channels times window */
  {
    return static_cast<size_t>(c / groups) * static_cast<size_t>(kernel[0]) * static_cast<size_t>(kernel[1]);
  }
  size_t columns() const
  {
    return static_cast<size_t>(out[0]) * static_cast<size_t>(out[1]);
  }
};

static int output_size(const cudnnConvolutionStruct &convolution, int in, int kernel, int axis)
{
  int window = (kernel - 1) * convolution.dilation[axis] + 1, room = in + 2 * convolution.pad[axis] - window;
  return room < 0 ? 0 : 1 + room / convolution.stride[axis];
}

cudnnStatus_t cudnnGetConvolution2dForwardOutputDim(const cudnnConvolutionDescriptor_t convolution,
                                                    const cudnnTensorDescriptor_t input,
                                                    const cudnnFilterDescriptor_t filter, int *n, int *c, int *h,
                                                    int *w)
{
  CUDNN_CALL(cudnnGetConvolution2dForwardOutputDim);
  if (!convolution->set || !filter->set || input->n_dims != 4)
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "a descriptor is not set");
  if (input->dims[1] != filter->dims[1] * convolution->groups)
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "%d channels, the filter has %d in %d groups", input->dims[1],
                      filter->dims[1], convolution->groups);
  *n = input->dims[0];
  *c = filter->dims[0];
  *h = output_size(*convolution, input->dims[2], filter->dims[2], 0);
  *w = output_size(*convolution, input->dims[3], filter->dims[3], 1);
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t find_shape(const Call &call, const cudnnTensorStruct *x, const cudnnFilterStruct *w,
                                const cudnnConvolutionStruct *convolution, const cudnnTensorStruct *y, Shape *shape)
{
  if (x == nullptr || w == nullptr || convolution == nullptr || y == nullptr || !convolution->set || !w->set ||
      x->n_dims == 0 || y->n_dims == 0)
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "a descriptor is not set");
  if (x->n_dims != 4 || y->n_dims != 4)
    return refuse_dnn(CUDNN_STATUS_NOT_SUPPORTED, call, "the shim has two spatial dimensions");
  int groups = convolution->groups;
  if (x->dims[1] != w->dims[1] * groups || w->dims[0] % groups != 0)
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "%d channels; %d filters of %d channels in %d groups", x->dims[1],
                      w->dims[0], w->dims[1], groups);
  *shape = {x->dims[0],
            x->dims[1],
            w->dims[0],
            groups,
            {x->dims[2], x->dims[3]},
            {w->dims[2], w->dims[3]},
            {},
            {},
            {},
            {},
            convolution->mode == CUDNN_CONVOLUTION};
  for (int i = 0; i < 2; i++) {
    shape->out[i] = output_size(*convolution, shape->in[i], shape->kernel[i], i);
    shape->pad[i] = convolution->pad[i];
    shape->stride[i] = convolution->stride[i];
    shape->dilation[i] = convolution->dilation[i];
  }
  if (y->dims[0] != shape->n || y->dims[1] != shape->k || y->dims[2] != shape->out[0] || y->dims[3] != shape->out[1])
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "the output is [%d, %d, %d, %d], but [%d, %d, %d, %d] is described",
                      shape->n, shape->k, shape->out[0], shape->out[1], y->dims[0], y->dims[1], y->dims[2], y->dims[3]);
  return CUDNN_STATUS_SUCCESS;
}

/* Windows of one group of one image, a column for each output; or, `back`, columns added to the image. */
static void windows(const Shape &s, float *image, float *columns, bool back)
{
  size_t row = 0;
  for (int c = 0; c < s.c / s.groups; c++)
    for (int kh = 0; kh < s.kernel[0]; kh++)
      for (int kw = 0; kw < s.kernel[1]; kw++, row++)
        for (int oh = 0; oh < s.out[0]; oh++)
          for (int ow = 0; ow < s.out[1]; ow++) {
            int h = oh * s.stride[0] - s.pad[0] + kh * s.dilation[0],
                w = ow * s.stride[1] - s.pad[1] + kw * s.dilation[1];
            bool inside = h >= 0 && h < s.in[0] && w >= 0 && w < s.in[1];
            size_t at = (static_cast<size_t>(c) * static_cast<size_t>(s.in[0]) + static_cast<size_t>(h)) *
                            static_cast<size_t>(s.in[1]) +
                        static_cast<size_t>(w);
            float *column = columns + row * s.columns() + static_cast<size_t>(oh) * static_cast<size_t>(s.out[1]) +
                            static_cast<size_t>(ow);
            if (back && inside)
              image[at] += *column;
            else if (!back)
              *column = inside ? image[at] : 0.0f;
          }
}

/* The window of each filter turned around: a convolution instead of a cross-correlation, and back. */
static void flip(const Shape &s, std::vector<float> *w)
{
  size_t window = static_cast<size_t>(s.kernel[0]) * static_cast<size_t>(s.kernel[1]);
  for (size_t i = 0; s.flipped && i < w->size(); i += window)
    for (size_t j = 0; j < window / 2; j++) std::swap((*w)[i + j], (*w)[i + window - 1 - j]);
}

enum Direction { FORWARD, BACKWARD_DATA, BACKWARD_FILTER };

/* What is wanted of x, w and y is written, from the two others; all packed. */
static void convolve(const Shape &s, Direction direction, std::vector<float> *x, std::vector<float> *w,
                     std::vector<float> *y)
{
  size_t rows = s.rows(), columns = s.columns(), filters = static_cast<size_t>(s.k / s.groups);
  size_t image = static_cast<size_t>(s.c / s.groups) * static_cast<size_t>(s.in[0]) * static_cast<size_t>(s.in[1]);
  std::vector<float> column(rows * columns);
  auto m = static_cast<blasint>(filters), n = static_cast<blasint>(columns), k = static_cast<blasint>(rows);
  for (int i = 0; i < s.n; i++)
    for (int g = 0; g < s.groups; g++) {
      size_t number = static_cast<size_t>(i) * static_cast<size_t>(s.groups) + static_cast<size_t>(g);
      float *of_x = x->data() + number * image, *of_y = y->data() + number * filters * columns;
      float *of_w = w->data() + static_cast<size_t>(g) * filters * rows;
      if (direction == BACKWARD_DATA) {
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, k, n, m, 1, of_w, k, of_y, n, 0, column.data(), n);
        windows(s, of_x, column.data(), true);
        continue;
      }
      windows(s, of_x, column.data(), false);
      if (direction == FORWARD)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, of_w, k, column.data(), n, 0, of_y, n);
      else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, k, n, 1, of_y, n, column.data(), n, 1, of_w, k);
    }
}

/* --- algorithms and workspaces: what they ask for is that of a library that keeps the columns of one group ----------
 */
static size_t workspace(const Shape &shape, int algorithm)
{
  return sizeof(float) * shape.rows() * shape.columns() + 256 * static_cast<size_t>(algorithm + 1);
}

struct Algorithm {
  int number;
  cudnnStatus_t status;
  cudnnDeterminism_t determinism;
  cudnnMathType_t math;
};
/* Each list begins with what a caller that wants the same bits each time, in float32, has to pass over. */
static const Algorithm forward_algorithms[] = {
    {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, CUDNN_STATUS_SUCCESS, CUDNN_DETERMINISTIC, CUDNN_TENSOR_OP_MATH},
    {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, CUDNN_STATUS_SUCCESS, CUDNN_DETERMINISTIC, CUDNN_FMA_MATH},
    {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, CUDNN_STATUS_SUCCESS, CUDNN_DETERMINISTIC, CUDNN_FMA_MATH},
    {CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD, CUDNN_STATUS_NOT_SUPPORTED, CUDNN_DETERMINISTIC, CUDNN_FMA_MATH},
};
static const Algorithm data_algorithms[] = {
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, CUDNN_STATUS_SUCCESS, CUDNN_NON_DETERMINISTIC, CUDNN_FMA_MATH},
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, CUDNN_STATUS_SUCCESS, CUDNN_DETERMINISTIC, CUDNN_TENSOR_OP_MATH},
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, CUDNN_STATUS_SUCCESS, CUDNN_DETERMINISTIC, CUDNN_FMA_MATH},
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD, CUDNN_STATUS_NOT_SUPPORTED, CUDNN_DETERMINISTIC, CUDNN_FMA_MATH},
};
static const Algorithm filter_algorithms[] = {
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, CUDNN_STATUS_SUCCESS, CUDNN_NON_DETERMINISTIC, CUDNN_FMA_MATH},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3, CUDNN_STATUS_SUCCESS, CUDNN_NON_DETERMINISTIC, CUDNN_FMA_MATH},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, CUDNN_STATUS_SUCCESS, CUDNN_DETERMINISTIC, CUDNN_TENSOR_OP_MATH},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, CUDNN_STATUS_SUCCESS, CUDNN_DETERMINISTIC, CUDNN_FMA_MATH},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED, CUDNN_STATUS_NOT_SUPPORTED, CUDNN_DETERMINISTIC,
     CUDNN_FMA_MATH},
};

template <class Result, class Number, size_t N>
static cudnnStatus_t list(const Algorithm (&algorithms)[N], const Shape &shape, int wanted, int *given, Result *results,
                          Number)
{
  int n = wanted < static_cast<int>(N) ? wanted : static_cast<int>(N);
  for (int i = 0; i < n; i++) {
    const Algorithm &known = algorithms[i];
    results[i] = {};
    results[i].algo = static_cast<Number>(known.number);
    results[i].status = known.status;
    results[i].time = -1;
    results[i].memory = known.status == CUDNN_STATUS_SUCCESS ? workspace(shape, known.number) : 0;
    results[i].determinism = known.determinism;
    results[i].mathType = known.math;
  }
  *given = n;
  return CUDNN_STATUS_SUCCESS;
}

#define CONVOLUTION_QUERY(name, x, w, y)                                                                               \
  CUDNN_BEGIN(name);                                                                                                   \
  Shape shape;                                                                                                         \
  cudnnStatus_t status = find_shape(call, x, w, convolution, y, &shape);                                               \
  if (status != CUDNN_STATUS_SUCCESS) return status

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t handle, const cudnnTensorDescriptor_t x,
                                                     const cudnnFilterDescriptor_t w,
                                                     const cudnnConvolutionDescriptor_t convolution,
                                                     const cudnnTensorDescriptor_t y, const int wanted, int *given,
                                                     cudnnConvolutionFwdAlgoPerf_t *results)
{
  CONVOLUTION_QUERY(cudnnGetConvolutionForwardAlgorithm_v7, x, w, y);
  return list(forward_algorithms, shape, wanted, given, results, CUDNN_CONVOLUTION_FWD_ALGO_GEMM);
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t handle, const cudnnFilterDescriptor_t w,
                                                          const cudnnTensorDescriptor_t dy,
                                                          const cudnnConvolutionDescriptor_t convolution,
                                                          const cudnnTensorDescriptor_t dx, const int wanted,
                                                          int *given, cudnnConvolutionBwdDataAlgoPerf_t *results)
{
  CONVOLUTION_QUERY(cudnnGetConvolutionBackwardDataAlgorithm_v7, dx, w, dy);
  return list(data_algorithms, shape, wanted, given, results, CUDNN_CONVOLUTION_BWD_DATA_ALGO_0);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t handle, const cudnnTensorDescriptor_t x,
                                                            const cudnnTensorDescriptor_t dy,
                                                            const cudnnConvolutionDescriptor_t convolution,
                                                            const cudnnFilterDescriptor_t dw, const int wanted,
                                                            int *given, cudnnConvolutionBwdFilterAlgoPerf_t *results)
{
  CONVOLUTION_QUERY(cudnnGetConvolutionBackwardFilterAlgorithm_v7, x, dw, dy);
  return list(filter_algorithms, shape, wanted, given, results, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0);
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t handle, const cudnnTensorDescriptor_t x,
                                                      const cudnnFilterDescriptor_t w,
                                                      const cudnnConvolutionDescriptor_t convolution,
                                                      const cudnnTensorDescriptor_t y,
                                                      cudnnConvolutionFwdAlgo_t algorithm, size_t *bytes)
{
  CONVOLUTION_QUERY(cudnnGetConvolutionForwardWorkspaceSize, x, w, y);
  *bytes = workspace(shape, algorithm);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t handle, const cudnnFilterDescriptor_t w,
                                                           const cudnnTensorDescriptor_t dy,
                                                           const cudnnConvolutionDescriptor_t convolution,
                                                           const cudnnTensorDescriptor_t dx,
                                                           cudnnConvolutionBwdDataAlgo_t algorithm, size_t *bytes)
{
  CONVOLUTION_QUERY(cudnnGetConvolutionBackwardDataWorkspaceSize, dx, w, dy);
  *bytes = workspace(shape, algorithm);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t handle, const cudnnTensorDescriptor_t x,
                                                             const cudnnTensorDescriptor_t dy,
                                                             const cudnnConvolutionDescriptor_t convolution,
                                                             const cudnnFilterDescriptor_t dw,
                                                             cudnnConvolutionBwdFilterAlgo_t algorithm, size_t *bytes)
{
  CONVOLUTION_QUERY(cudnnGetConvolutionBackwardFilterWorkspaceSize, x, dw, dy);
  *bytes = workspace(shape, algorithm);
  return CUDNN_STATUS_SUCCESS;
}

/* --- execution -----------------------------------------------------------------------------------------------------
 */
/* An algorithm that its list does not offer for these shapes is refused as the library refuses it. */
template <size_t N>
static cudnnStatus_t check_execution(const Call &call, const Algorithm (&algorithms)[N], const Shape &shape,
                                     int algorithm, const void *room, size_t bytes)
{
  bool known = false;
  for (const Algorithm &one : algorithms) known |= one.number == algorithm && one.status == CUDNN_STATUS_SUCCESS;
  if (!known) return refuse_dnn(CUDNN_STATUS_NOT_SUPPORTED, call, "algorithm %d", algorithm);
  size_t needed = workspace(shape, algorithm);
  if (bytes < needed || room == nullptr)
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "a workspace of %zu bytes at %p; algorithm %d needs %zu", bytes,
                      room, algorithm, needed);
  return CUDNN_STATUS_SUCCESS;
}

/* The workspace holds anything afterwards. */
static void spend(const char *function, void *room, size_t bytes)
{
  require_device(function, "the workspace", room, bytes);
  std::memset(room, POISON, bytes);
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void *alpha, const cudnnTensorDescriptor_t x_of,
                                      const void *x, const cudnnFilterDescriptor_t w_of, const void *w,
                                      const cudnnConvolutionDescriptor_t convolution,
                                      cudnnConvolutionFwdAlgo_t algorithm, void *room, size_t bytes, const void *beta,
                                      const cudnnTensorDescriptor_t y_of, void *y)
{
  CONVOLUTION_QUERY(cudnnConvolutionForward, x_of, w_of, y_of);
  status = check_execution(call, forward_algorithms, shape, algorithm, room, bytes);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  CUDNN_FACTORS;
  cudnnTensorStruct of_x = *x_of, of_w = filter_tensor(*w_of), of_y = *y_of;
  return submit_dnn(call, handle, [=] {
    const char *function = "cudnnConvolutionForward";
    std::vector<float> in = gather(function, "x", of_x, x), weights = gather(function, "w", of_w, w),
                       out(elements(of_y));
    spend(function, room, workspace(shape, algorithm));
    flip(shape, &weights);
    convolve(shape, FORWARD, &in, &weights, &out);
    scatter(function, "y", of_y, y, out, one, two);
  });
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void *alpha, const cudnnFilterDescriptor_t w_of,
                                           const void *w, const cudnnTensorDescriptor_t dy_of, const void *dy,
                                           const cudnnConvolutionDescriptor_t convolution,
                                           cudnnConvolutionBwdDataAlgo_t algorithm, void *room, size_t bytes,
                                           const void *beta, const cudnnTensorDescriptor_t dx_of, void *dx)
{
  CONVOLUTION_QUERY(cudnnConvolutionBackwardData, dx_of, w_of, dy_of);
  status = check_execution(call, data_algorithms, shape, algorithm, room, bytes);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  CUDNN_FACTORS;
  cudnnTensorStruct of_x = *dx_of, of_w = filter_tensor(*w_of), of_y = *dy_of;
  return submit_dnn(call, handle, [=] {
    const char *function = "cudnnConvolutionBackwardData";
    std::vector<float> in(elements(of_x)), weights = gather(function, "w", of_w, w),
                                           out = gather(function, "dy", of_y, dy);
    spend(function, room, workspace(shape, algorithm));
    flip(shape, &weights);
    convolve(shape, BACKWARD_DATA, &in, &weights, &out);
    scatter(function, "dx", of_x, dx, in, one, two);
  });
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void *alpha,
                                             const cudnnTensorDescriptor_t x_of, const void *x,
                                             const cudnnTensorDescriptor_t dy_of, const void *dy,
                                             const cudnnConvolutionDescriptor_t convolution,
                                             cudnnConvolutionBwdFilterAlgo_t algorithm, void *room, size_t bytes,
                                             const void *beta, const cudnnFilterDescriptor_t dw_of, void *dw)
{
  CONVOLUTION_QUERY(cudnnConvolutionBackwardFilter, x_of, dw_of, dy_of);
  status = check_execution(call, filter_algorithms, shape, algorithm, room, bytes);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  CUDNN_FACTORS;
  cudnnTensorStruct of_x = *x_of, of_w = filter_tensor(*dw_of), of_y = *dy_of;
  return submit_dnn(call, handle, [=] {
    const char *function = "cudnnConvolutionBackwardFilter";
    std::vector<float> in = gather(function, "x", of_x, x), weights(elements(of_w)),
                       out = gather(function, "dy", of_y, dy);
    spend(function, room, workspace(shape, algorithm));
    convolve(shape, BACKWARD_FILTER, &in, &weights, &out);
    flip(shape, &weights);
    scatter(function, "dw", of_w, dw, weights, one, two);
  });
}

cudnnStatus_t cudnnConvolutionBackwardBias(cudnnHandle_t handle, const void *alpha, const cudnnTensorDescriptor_t dy_of,
                                           const void *dy, const void *beta, const cudnnTensorDescriptor_t db_of,
                                           void *db)
{
  CUDNN_BEGIN(cudnnConvolutionBackwardBias);
  CUDNN_FACTORS;
  cudnnTensorStruct of_dy = *dy_of, of_db = *db_of;
  if (of_dy.n_dims != of_db.n_dims || elements(of_db) != static_cast<size_t>(of_db.dims[1]) ||
      of_db.dims[1] != of_dy.dims[1])
    return refuse_dnn(CUDNN_STATUS_BAD_PARAM, call, "the bias is not one number for each of %d channels",
                      of_dy.dims[1]);
  return submit_dnn(call, handle, [=] {
    const char *function = "cudnnConvolutionBackwardBias";
    std::vector<float> out = gather(function, "dy", of_dy, dy), bias;
    auto channels = static_cast<size_t>(of_dy.dims[1]);
    size_t inner = out.size() / static_cast<size_t>(of_dy.dims[0]) / channels;
    std::vector<double> sums(channels);
    for (size_t i = 0; i < out.size(); i++) sums[i / inner % channels] += out[i];
    bias.assign(sums.begin(), sums.end());
    scatter(function, "db", of_db, db, bias, one, two);
  });
}
