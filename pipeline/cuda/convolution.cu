/* Convolutions by cuDNN, in float32. Those in bfloat16 go to convolution_columns.cu; shapes that it does not take are
 * computed here from rounded copies of the operands: the same numbers, at the speed of float32. */
#include <cstdlib>

#include "pipeline/cuda/device_internal.h"

/* --- convolutions
 * ----------------------------------------------------------------------------------------------------- */

struct _PipelineCudaConvolutionPlan {
  PipelineCudaConvolution shape;
  cudnnTensorDescriptor_t x, y;
  cudnnFilterDescriptor_t w;
  cudnnConvolutionDescriptor_t convolution;
  cudnnConvolutionFwdAlgo_t forward;
  cudnnConvolutionBwdDataAlgo_t backward_data;
  cudnnConvolutionBwdFilterAlgo_t backward_filter;
  size_t forward_bytes, data_bytes, filter_bytes;
  bool data_by_product, filter_by_product;
  bool by_columns;                   /* all passes, in bfloat16 */
  size_t w_place, dy_place, rounded; /* bytes: of rounded copies in front of cuDNN's workspace; else 0 */
};

static int describe(PipelineCudaDevice *device, PipelineCudaConvolutionPlan *plan)
{
  const PipelineCudaConvolution *s = &plan->shape;
  const char *what = "describe a convolution";
  return pipeline_cuda_check_dnn(device, cudnnCreateTensorDescriptor(&plan->x), what) ||
         pipeline_cuda_check_dnn(device, cudnnCreateTensorDescriptor(&plan->y), what) ||
         pipeline_cuda_check_dnn(device, cudnnCreateFilterDescriptor(&plan->w), what) ||
         pipeline_cuda_check_dnn(device, cudnnCreateConvolutionDescriptor(&plan->convolution), what) ||
         pipeline_cuda_check_dnn(device,
                                 cudnnSetTensor4dDescriptor(plan->x, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, (int)s->batch,
                                                            (int)s->channels, (int)s->in[0], (int)s->in[1]),
                                 what) ||
         pipeline_cuda_check_dnn(device,
                                 cudnnSetTensor4dDescriptor(plan->y, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, (int)s->batch,
                                                            (int)s->filters, (int)s->out[0], (int)s->out[1]),
                                 what) ||
         pipeline_cuda_check_dnn(device,
                                 cudnnSetFilter4dDescriptor(plan->w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW,
                                                            (int)s->filters, (int)(s->channels / s->group),
                                                            (int)s->kernel[0], (int)s->kernel[1]),
                                 what) ||
         pipeline_cuda_check_dnn(device,
                                 cudnnSetConvolution2dDescriptor(plan->convolution, (int)s->pad[0], (int)s->pad[1],
                                                                 (int)s->stride[0], (int)s->stride[1],
                                                                 (int)s->dilation[0], (int)s->dilation[1],
                                                                 CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
                                 what) ||
         pipeline_cuda_check_dnn(device, cudnnSetConvolutionGroupCount(plan->convolution, (int)s->group), what) ||
         pipeline_cuda_check_dnn(device, cudnnSetConvolutionMathType(plan->convolution, CUDNN_FMA_MATH), what);
}

#define MAX_ALGORITHMS 16
#define MAX_WORKSPACE ((size_t)1 << 30)

#define WIDE 64         /* channels and filters */
#define NARROW 8        /* channels */
#define USE_COLUMNS 1   /* in bfloat16; 0: all of cuDNN's in float32 on rounded operands */
#define BY_PRODUCT 1000 /* no algorithm of cuDNN's: convolution_product.cu */

enum { ALGORITHM_FORWARD, ALGORITHM_BACKWARD_DATA, ALGORITHM_BACKWARD_FILTER };

static bool is_wide_3x3(const PipelineCudaConvolution *s)
{
  return s->kernel[0] == 3 && s->kernel[1] == 3 && s->stride[0] == 1 && s->stride[1] == 1 && s->dilation[0] == 1 &&
         s->dilation[1] == 1 && s->group == 1 && s->channels >= WIDE && s->filters >= WIDE;
}

static bool is_narrow(const PipelineCudaConvolution *s)
{
  return s->channels <= NARROW && s->group == 1 && s->stride[0] == 1 && s->stride[1] == 1;
}

static bool is_narrow_to_wide(const PipelineCudaConvolution *s)
{
  return is_narrow(s) && s->filters >= WIDE;
}

static bool is_strided(const PipelineCudaConvolution *s)
{
  return s->stride[0] > 1 || s->stride[1] > 1;
}

static bool is_strided_1x1(const PipelineCudaConvolution *s)
{
  return s->kernel[0] == 1 && s->kernel[1] == 1 && s->stride[0] > 1 && s->group == 1;
}

/* Where cuDNN's order of merit misses its fastest deterministic algorithm: measured on an H200, cuDNN 9.19, every
 * convolution of ResNet-18 (32 x 32) and LeNet (bench_cudnn). A table, not a measurement at run time, for that would
 * let chance choose the bits of a training. */
static const struct {
  int pass;
  bool (*holds)(const PipelineCudaConvolution *shape);
  int algorithm;
} preferences[] = {
    {ALGORITHM_FORWARD, is_wide_3x3, CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED},
    {ALGORITHM_FORWARD, is_narrow, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM},
    {ALGORITHM_FORWARD, is_strided_1x1, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM},
    {ALGORITHM_BACKWARD_DATA, is_wide_3x3, CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED},
    {ALGORITHM_BACKWARD_FILTER, is_wide_3x3, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED},
    {ALGORITHM_BACKWARD_DATA, is_strided, BY_PRODUCT},
    {ALGORITHM_BACKWARD_FILTER, is_strided, BY_PRODUCT},
    {ALGORITHM_BACKWARD_FILTER, is_narrow_to_wide, BY_PRODUCT},
    {ALGORITHM_BACKWARD_FILTER, is_narrow, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT},
};

static int preferred_algorithm(int pass, const PipelineCudaConvolution *shape)
{
  for (const auto &row : preferences)
    if (row.pass == pass && row.holds(shape)) return row.algorithm;
  return -1;
}

/* Of those that give the same bits each time, within the workspace: the preferred one, else the first in cuDNN's own
 * order of merit. The convolution's mode keeps all of them in float32. */
template <class Result> static const Result *choose_algorithm(const Result *results, int n, int preferred)
{
  const Result *first = nullptr;
  for (int i = 0; i < n; i++) {
    if (results[i].status != CUDNN_STATUS_SUCCESS || results[i].determinism != CUDNN_DETERMINISTIC ||
        results[i].memory > MAX_WORKSPACE || results[i].mathType == CUDNN_TENSOR_OP_MATH ||
        results[i].mathType == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION)
      continue;
    if ((int)results[i].algo == preferred) return &results[i];
    if (first == nullptr) first = &results[i];
  }
  return first;
}

static int choose_algorithms(PipelineCudaDevice *device, PipelineCudaConvolutionPlan *p)
{
  cudnnConvolutionFwdAlgoPerf_t forward[MAX_ALGORITHMS];
  cudnnConvolutionBwdDataAlgoPerf_t data[MAX_ALGORITHMS];
  cudnnConvolutionBwdFilterAlgoPerf_t filter[MAX_ALGORITHMS];
  const char *what = "choose how to compute a convolution";
  int n_forward = 0, n_data = 0, n_filter = 0;
  if (pipeline_cuda_check_dnn(device,
                              cudnnGetConvolutionForwardAlgorithm_v7(device->cudnn, p->x, p->w, p->convolution, p->y,
                                                                     MAX_ALGORITHMS, &n_forward, forward),
                              what) ||
      pipeline_cuda_check_dnn(device,
                              cudnnGetConvolutionBackwardDataAlgorithm_v7(device->cudnn, p->w, p->y, p->convolution,
                                                                          p->x, MAX_ALGORITHMS, &n_data, data),
                              what) ||
      pipeline_cuda_check_dnn(device,
                              cudnnGetConvolutionBackwardFilterAlgorithm_v7(device->cudnn, p->x, p->y, p->convolution,
                                                                            p->w, MAX_ALGORITHMS, &n_filter, filter),
                              what))
    return 1;
  const cudnnConvolutionFwdAlgoPerf_t *of_y =
      choose_algorithm(forward, n_forward, preferred_algorithm(ALGORITHM_FORWARD, &p->shape));
  const cudnnConvolutionBwdDataAlgoPerf_t *of_x =
      choose_algorithm(data, n_data, preferred_algorithm(ALGORITHM_BACKWARD_DATA, &p->shape));
  const cudnnConvolutionBwdFilterAlgoPerf_t *of_w =
      choose_algorithm(filter, n_filter, preferred_algorithm(ALGORITHM_BACKWARD_FILTER, &p->shape));
  p->forward = of_y != nullptr ? of_y->algo : CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM;
  p->backward_data = of_x != nullptr ? of_x->algo : CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
  p->backward_filter = of_w != nullptr ? of_w->algo : CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
  return 0;
}

/* Where neither the shape nor the workspace forbids it. */
static bool prefers_product(int pass, const PipelineCudaConvolution *shape)
{
  size_t bytes = pipeline_cuda_convolution_product_bytes(shape);
  return preferred_algorithm(pass, shape) == BY_PRODUCT && bytes > 0 && bytes <= MAX_WORKSPACE;
}

static int find_workspaces(PipelineCudaDevice *device, PipelineCudaConvolutionPlan *p)
{
  const char *what = "choose how to compute a convolution";
  return pipeline_cuda_check_dnn(device,
                                 cudnnGetConvolutionForwardWorkspaceSize(device->cudnn, p->x, p->w, p->convolution,
                                                                         p->y, p->forward, &p->forward_bytes),
                                 what) ||
         pipeline_cuda_check_dnn(device,
                                 cudnnGetConvolutionBackwardDataWorkspaceSize(device->cudnn, p->w, p->y, p->convolution,
                                                                              p->x, p->backward_data, &p->data_bytes),
                                 what) ||
         pipeline_cuda_check_dnn(device,
                                 cudnnGetConvolutionBackwardFilterWorkspaceSize(device->cudnn, p->x, p->y,
                                                                                p->convolution, p->w,
                                                                                p->backward_filter, &p->filter_bytes),
                                 what);
}

size_t pipeline_cuda_convolution_bytes(const PipelineCudaConvolutionPlan *plan)
{
  if (plan->by_columns) return pipeline_cuda_convolution_columns_bytes(&plan->shape);
  size_t product = pipeline_cuda_convolution_product_bytes(&plan->shape), most = plan->forward_bytes;
  size_t data = plan->data_by_product ? product : plan->data_bytes;
  size_t filter = plan->filter_by_product ? product : plan->filter_bytes;
  if (data > most) most = data;
  return plan->rounded + (filter > most ? filter : most);
}

void pipeline_cuda_convolution_free(PipelineCudaDevice *device, PipelineCudaConvolutionPlan *plan)
{
  (void)device;
  if (plan->convolution != nullptr) cudnnDestroyConvolutionDescriptor(plan->convolution);
  if (plan->w != nullptr) cudnnDestroyFilterDescriptor(plan->w);
  if (plan->y != nullptr) cudnnDestroyTensorDescriptor(plan->y);
  if (plan->x != nullptr) cudnnDestroyTensorDescriptor(plan->x);
  free(plan);
}

static size_t count_weights(const PipelineCudaConvolution *s)
{
  return s->filters * (s->channels / s->group) * s->kernel[0] * s->kernel[1];
}

static size_t room_for(size_t n)
{
  const size_t alignment = 256;
  return (n * sizeof(float) + alignment - 1) / alignment * alignment;
}

static void plan_narrow(PipelineCudaConvolutionPlan *plan)
{
  const PipelineCudaConvolution *s = &plan->shape;
  plan->by_columns = USE_COLUMNS && pipeline_cuda_convolution_columns_bytes(s) > 0;
  if (plan->by_columns) return;
  plan->w_place = room_for(s->batch * s->channels * s->in[0] * s->in[1]);
  plan->dy_place = plan->w_place + room_for(count_weights(s));
  plan->rounded = plan->dy_place + room_for(s->batch * s->filters * s->out[0] * s->out[1]);
}

PipelineCudaConvolutionPlan *pipeline_cuda_convolution_plan(PipelineCudaDevice *device,
                                                            const PipelineCudaConvolution *shape)
{
  if (shape->narrow && pipeline_cuda_require_bfloat16(device)) return nullptr;
  PipelineCudaConvolutionPlan *plan = static_cast<PipelineCudaConvolutionPlan *>(calloc(1, sizeof *plan));
  if (plan == nullptr) {
    pipeline_cuda_fail(device, "plan a convolution", "the host has no memory");
    return nullptr;
  }
  plan->shape = *shape;
  if (shape->narrow) {
    plan_narrow(plan);
    if (plan->by_columns) return plan;
  } else {
    plan->data_by_product = prefers_product(ALGORITHM_BACKWARD_DATA, shape);
    plan->filter_by_product = prefers_product(ALGORITHM_BACKWARD_FILTER, shape);
  }
  if (describe(device, plan) == 0 && choose_algorithms(device, plan) == 0 && find_workspaces(device, plan) == 0)
    return plan;
  pipeline_cuda_convolution_free(device, plan);
  return nullptr;
}

__global__ void round_kernel(const float *from, float *to, size_t n)
{
  for (size_t i = pipeline_cuda_index(); i < n; i += (size_t)gridDim.x * blockDim.x)
    to[i] = __bfloat162float(__float2bfloat16_rn(from[i]));
}

/* *values: becomes the rounded copy at `bytes` of the workspace. */
static int round_to(PipelineCudaDevice *device, const float **values, size_t n, size_t bytes)
{
  size_t blocks = (n + PIPELINE_CUDA_THREADS - 1) / PIPELINE_CUDA_THREADS;
  float *to = reinterpret_cast<float *>(static_cast<unsigned char *>(device->workspace) + bytes);
  if (*values == nullptr || n == 0) return 0;
  LAUNCH(round_kernel, (unsigned)(blocks < 65535 ? blocks : 65535), PIPELINE_CUDA_THREADS, 0, device->stream, *values,
         to, n);
  *values = to;
  return pipeline_cuda_check_launch(device, "round the operand of a convolution to bfloat16");
}

/* x (or NULL), w and dy (or NULL), where they have to be rounded. The workspace is there. */
static int round_operands(PipelineCudaDevice *device, const PipelineCudaConvolutionPlan *plan, const float **x,
                          const float **w, const float **dy)
{
  const PipelineCudaConvolution *s = &plan->shape;
  if (plan->rounded == 0) return 0;
  return round_to(device, x, s->batch * s->channels * s->in[0] * s->in[1], 0) ||
         round_to(device, w, count_weights(s), plan->w_place) ||
         round_to(device, dy, s->batch * s->filters * s->out[0] * s->out[1], plan->dy_place);
}

static void *workspace_of(PipelineCudaDevice *device, const PipelineCudaConvolutionPlan *plan)
{
  return plan->rounded == 0 ? device->workspace : static_cast<unsigned char *>(device->workspace) + plan->rounded;
}

__global__ void add_bias_kernel(float *y, const float *bias, unsigned n, unsigned filters, unsigned inner)
{
  unsigned i = pipeline_cuda_index();
  if (i < n) y[i] += bias[i / inner % filters];
}

static int forward_by_library(PipelineCudaDevice *device, PipelineCudaConvolutionPlan *plan, const float *x,
                              const float *w, float *y)
{
  const float one = 1, zero = 0, *unused = nullptr;
  return pipeline_cuda_provide_workspace(device, plan->rounded + plan->forward_bytes) ||
         round_operands(device, plan, &x, &w, &unused) ||
         pipeline_cuda_check_dnn(device,
                                 cudnnConvolutionForward(device->cudnn, &one, plan->x, x, plan->w, w, plan->convolution,
                                                         plan->forward, workspace_of(device, plan), plan->forward_bytes,
                                                         &zero, plan->y, y),
                                 "compute a convolution");
}

int pipeline_cuda_convolution_forward(PipelineCudaDevice *device, PipelineCudaConvolutionPlan *plan, const float *x,
                                      const float *w, const float *bias, float *y)
{
  const PipelineCudaConvolution *s = &plan->shape;
  size_t inner = s->out[0] * s->out[1], n = s->batch * s->filters * inner;
  bool added = false;
  if (plan->by_columns ? pipeline_cuda_convolution_columns_forward(device, s, x, w, bias, y, &added)
                       : forward_by_library(device, plan, x, w, y))
    return 1;
  if (bias == nullptr || n == 0 || added) return 0;
  LAUNCH(add_bias_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream, y,
         bias, (unsigned)n, (unsigned)s->filters, (unsigned)inner);
  return pipeline_cuda_check_launch(device, "add the bias of a convolution");
}

int pipeline_cuda_convolution_backward(PipelineCudaDevice *device, PipelineCudaConvolutionPlan *plan, const float *x,
                                       const float *w, const float *dy, float *dx, float *dw)
{
  const float one = 1, zero = 0, *unused = nullptr;
  if (plan->by_columns) return pipeline_cuda_convolution_columns_backward(device, &plan->shape, x, w, dy, dx, dw);
  float *product_dx = plan->data_by_product ? dx : nullptr, *product_dw = plan->filter_by_product ? dw : nullptr;
  if ((product_dx != nullptr || product_dw != nullptr) &&
      pipeline_cuda_convolution_product(device, &plan->shape, x, w, dy, product_dx, product_dw))
    return 1;
  if (plan->data_by_product) dx = nullptr;
  if (plan->filter_by_product) dw = nullptr;
  size_t bytes = dx != nullptr ? plan->data_bytes : 0;
  if (dw != nullptr && plan->filter_bytes > bytes) bytes = plan->filter_bytes;
  if (pipeline_cuda_provide_workspace(device, plan->rounded + bytes) ||
      round_operands(device, plan, dw != nullptr ? &x : &unused, &w, &dy))
    return 1;
  void *workspace = workspace_of(device, plan);
  if (dw != nullptr &&
      pipeline_cuda_check_dnn(device,
                              cudnnConvolutionBackwardFilter(device->cudnn, &one, plan->x, x, plan->y, dy,
                                                             plan->convolution, plan->backward_filter, workspace,
                                                             plan->filter_bytes, &zero, plan->w, dw),
                              "differentiate a convolution by its weights"))
    return 1;
  if (dx == nullptr) return 0;
  return pipeline_cuda_check_dnn(device,
                                 cudnnConvolutionBackwardData(device->cudnn, &one, plan->w, w, plan->y, dy,
                                                              plan->convolution, plan->backward_data, workspace,
                                                              plan->data_bytes, &zero, plan->x, dx),
                                 "differentiate a convolution by its input");
}
