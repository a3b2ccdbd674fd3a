/* Element by element: the expressions of pipeline/operator_unary.c, gradient_unary.c, operator_binary.c and
 * gradient_binary.c. NaN goes in, NaN comes out. */
#include "pipeline/cuda/device_internal.h"

/* --- one operand ----------------------------------------------------------------------------------------------------
 */

/* y = f(x); dx = dy · f'(x), where y = f(x). */
#define UNARY(name, forward, derivative)                                                                               \
  struct name##_function {                                                                                             \
    static __device__ __forceinline__ float value(float x, float a, float b)                                           \
    {                                                                                                                  \
      (void)a;                                                                                                         \
      (void)b;                                                                                                         \
      return (forward);                                                                                                \
    }                                                                                                                  \
    static __device__ __forceinline__ float slope(float x, float y, float a, float b)                                  \
    {                                                                                                                  \
      (void)x;                                                                                                         \
      (void)y;                                                                                                         \
      (void)a;                                                                                                         \
      (void)b;                                                                                                         \
      return (derivative);                                                                                             \
    }                                                                                                                  \
  };

#define HALF_ROOT 0.70710678f /* √2 / 2 */

static __device__ __forceinline__ float gelu_tanh_slope(float x)
{
  float t = tanhf(0.7978845608f * (x + 0.044715f * x * x * x));
  return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.7978845608f * (1 + 3 * 0.044715f * x * x);
}

static __device__ __forceinline__ float mish_tanh(float x)
{
  return tanhf((x < 0 ? 0.0f : x) + log1pf(expf(-fabsf(x))));
}

static __device__ __forceinline__ float mish_slope(float x)
{
  float t = mish_tanh(x);
  return t + x * (1 - t * t) / (1 + expf(-x));
}

UNARY(relu, x<0 ? 0.0f : x, x> 0 ? 1.0f : 0.0f)
UNARY(leaky_relu, x < 0 ? a * x : x, x < 0 ? a : 1.0f)
UNARY(elu, x < 0 ? a * expm1f(x) : x, x < 0 ? y + a : 1.0f)
UNARY(selu, b *(x <= 0 ? a * expm1f(x) : x), x <= 0 ? y + a * b : b)
UNARY(gelu, 0.5f * x * (1 + erff(x * HALF_ROOT)),
      0.5f * (1 + erff(x * HALF_ROOT)) + x * (0.3989422804f * expf(-0.5f * x * x)))
UNARY(gelu_tanh, 0.5f * x * (1 + tanhf(0.7978845608f * (x + 0.044715f * x * x * x))), gelu_tanh_slope(x))
UNARY(sigmoid, 1 / (1 + expf(-x)), y *(1 - y))
UNARY(hard_sigmoid, a *x + b < 0 ? 0.0f : (a * x + b > 1 ? 1.0f : a * x + b), y > 0 && y < 1 ? a : 0.0f)
UNARY(tanh, tanhf(x), 1 - y * y)
UNARY(erf, erff(x), 1.1283791671f * expf(-x * x))
UNARY(softplus, (x < 0 ? 0.0f : x) + log1pf(expf(-fabsf(x))), 1 / (1 + expf(-x)))
UNARY(sqrt, sqrtf(x), 0.5f / y)
UNARY(reciprocal, 1 / x, -y *y)
UNARY(exp, expf(x), y)
UNARY(log, logf(x), 1 / x)
UNARY(neg, -x, -1.0f)
UNARY(abs, fabsf(x), x > 0 ? 1.0f : (x < 0 ? -1.0f : 0.0f))
UNARY(hard_swish, x *(x <= -3 ? 0.0f : (x >= 3 ? 1.0f : x / 6 + 0.5f)), x <= -3 ? 0.0f : (x >= 3 ? 1.0f : x / 3 + 0.5f))
UNARY(mish, x *mish_tanh(x), mish_slope(x))
UNARY(softsign, x / (1 + fabsf(x)), 1 / ((1 + fabsf(x)) * (1 + fabsf(x))))
UNARY(celu, x < 0 ? a * expm1f(x / a) : x, x < 0 ? y / a + 1 : 1.0f)
UNARY(thresholded_relu, x > a || x != x ? x : 0.0f, x > a ? 1.0f : 0.0f)
UNARY(sin, sinf(x), cosf(x))
UNARY(cos, cosf(x), -sinf(x))

template <class Function> __global__ void unary_kernel(const float *x, float *y, unsigned n, float a, float b)
{
  unsigned i = pipeline_cuda_index();
  if (i < n) y[i] = Function::value(x[i], a, b);
}

template <class Function>
__global__ void unary_backward_kernel(const float *x, const float *y, const float *dy, float *dx, unsigned n, float a,
                                      float b)
{
  unsigned i = pipeline_cuda_index();
  if (i < n) dx[i] = dy[i] * Function::slope(x[i], y[i], a, b);
}

typedef void (*UnaryKernel)(const float *, float *, unsigned, float, float);
typedef void (*UnaryBackwardKernel)(const float *, const float *, const float *, float *, unsigned, float, float);
#define FORWARD_ROW(name) unary_kernel<name##_function>,
#define BACKWARD_ROW(name) unary_backward_kernel<name##_function>,
static const UnaryKernel unaries[] = {PIPELINE_CUDA_UNARIES(FORWARD_ROW)};
static const UnaryBackwardKernel unary_backwards[] = {PIPELINE_CUDA_UNARIES(BACKWARD_ROW)};

int pipeline_cuda_unary(PipelineCudaDevice *device, PipelineCudaUnary function, const float *x, float *y, size_t n,
                        float a, float b)
{
  if (n == 0) return 0;
  UnaryKernel kernel = unaries[function];
  LAUNCH(kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream, x, y,
         (unsigned)n, a, b);
  return pipeline_cuda_check_launch(device, "compute element by element");
}

int pipeline_cuda_unary_backward(PipelineCudaDevice *device, PipelineCudaUnary function, const float *x, const float *y,
                                 const float *dy, float *dx, size_t n, float a, float b)
{
  if (n == 0) return 0;
  UnaryBackwardKernel kernel = unary_backwards[function];
  LAUNCH(kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream, x, y, dy, dx,
         (unsigned)n, a, b);
  return pipeline_cuda_check_launch(device, "differentiate element by element");
}

/* --- two operands ---------------------------------------------------------------------------------------------------
 */

#define BINARY(name, forward, first, second)                                                                           \
  struct name##_function_of {                                                                                          \
    static __device__ __forceinline__ float value(float a, float b)                                                    \
    {                                                                                                                  \
      return (forward);                                                                                                \
    }                                                                                                                  \
    static __device__ __forceinline__ float slope(int operand, float a, float b)                                       \
    {                                                                                                                  \
      (void)a;                                                                                                         \
      (void)b;                                                                                                         \
      return operand == 0 ? (first) : (second);                                                                        \
    }                                                                                                                  \
  };

BINARY(add, a + b, 1.0f, 1.0f)
BINARY(sub, a - b, 1.0f, -1.0f)
BINARY(mul, a *b, b, a)
BINARY(div, a / b, 1 / b, -a / (b * b))
/* Where a derivative does not exist: powf's own NaN or infinity. */
BINARY(pow, powf(a, b), b == 0 ? 0.0f : b * powf(a, b - 1), a == 0 && b > 0 ? 0.0f : powf(a, b) * logf(a))
/* Of equal operands the first one is chosen. */
BINARY(min, a != a || a <= b ? a : b, a <= b ? 1.0f : 0.0f, a <= b ? 0.0f : 1.0f)
BINARY(max, a != a || a >= b ? a : b, a >= b ? 1.0f : 0.0f, a >= b ? 0.0f : 1.0f)
BINARY(prelu, a < 0 ? a * b : a, a < 0 ? b : 1.0f, a < 0 ? a : 0.0f)

template <class Function> __global__ void binary_kernel(PipelineCudaWalk walk, const float *a, const float *b, float *y)
{
  unsigned i = pipeline_cuda_index();
  if (i >= walk.n) return;
  int64_t at[2];
  pipeline_cuda_place<2>(walk, i, at);
  y[i] = Function::value(a[at[0]], b[at[1]]);
}

template <class Function>
__global__ void binary_backward_kernel(PipelineCudaWalk walk, int operand, const float *a, const float *b,
                                       const float *dy, float *out)
{
  unsigned i = pipeline_cuda_index();
  if (i >= walk.n) return;
  int64_t at[2];
  pipeline_cuda_place<2>(walk, i, at);
  out[i] = dy[i] * Function::slope(operand, a[at[0]], b[at[1]]);
}

typedef void (*BinaryKernel)(PipelineCudaWalk, const float *, const float *, float *);
typedef void (*BinaryBackwardKernel)(PipelineCudaWalk, int, const float *, const float *, const float *, float *);
#define BINARY_ROW(name) binary_kernel<name##_function_of>,
#define BINARY_BACKWARD_ROW(name) binary_backward_kernel<name##_function_of>,
static const BinaryKernel binaries[] = {PIPELINE_CUDA_BINARIES(BINARY_ROW)};
static const BinaryBackwardKernel binary_backwards[] = {PIPELINE_CUDA_BINARIES(BINARY_BACKWARD_ROW)};

int pipeline_cuda_binary(PipelineCudaDevice *device, PipelineCudaBinary function, const PipelineCudaWalk *walk,
                         const float *a, const float *b, float *y)
{
  if (walk->n == 0) return 0;
  BinaryKernel kernel = binaries[function];
  LAUNCH(kernel, pipeline_cuda_blocks(walk->n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream, *walk,
         a, b, y);
  return pipeline_cuda_check_launch(device, "compute element by element");
}

int pipeline_cuda_binary_backward(PipelineCudaDevice *device, PipelineCudaBinary function, int operand,
                                  const PipelineCudaWalk *walk, const float *a, const float *b, const float *dy,
                                  float *out)
{
  if (walk->n == 0) return 0;
  BinaryBackwardKernel kernel = binary_backwards[function];
  LAUNCH(kernel, pipeline_cuda_blocks(walk->n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream, *walk,
         operand, a, b, dy, out);
  return pipeline_cuda_check_launch(device, "differentiate element by element");
}

/* --- Where, Clip and small helpers
 * ------------------------------------------------------------------------------------ */

__global__ void choose_kernel(PipelineCudaWalk walk, const uint8_t *condition, const float *a, const float *b, float *y)
{
  unsigned i = pipeline_cuda_index();
  if (i >= walk.n) return;
  int64_t at[3];
  pipeline_cuda_place<3>(walk, i, at);
  y[i] = condition[at[0]] != 0 ? (a != nullptr ? a[at[1]] : 0.0f) : (b != nullptr ? b[at[2]] : 0.0f);
}

int pipeline_cuda_choose(PipelineCudaDevice *device, const PipelineCudaWalk *walk, const uint8_t *condition,
                         const float *a, const float *b, float *y)
{
  if (walk->n == 0) return 0;
  LAUNCH(choose_kernel, pipeline_cuda_blocks(walk->n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream,
         *walk, condition, a, b, y);
  return pipeline_cuda_check_launch(device, "choose elements");
}

__global__ void clip_kernel(const float *x, const float *low, const float *high, const float *dy, float *out,
                            unsigned n)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  float value = x[i], least = low != nullptr ? *low : -INFINITY, most = high != nullptr ? *high : INFINITY;
  if (dy != nullptr)
    out[i] = value >= least && value <= most ? dy[i] : 0.0f;
  else
    out[i] = value < least ? (least > most ? most : least) : (value > most ? most : value);
}

int pipeline_cuda_clip(PipelineCudaDevice *device, const float *x, const float *low, const float *high, const float *dy,
                       float *out, size_t n)
{
  if (n == 0) return 0;
  LAUNCH(clip_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream, x, low,
         high, dy, out, (unsigned)n);
  return pipeline_cuda_check_launch(device, "clip");
}

__global__ void multiply_add_kernel(float *to, const float *from, float rest, float share, unsigned n)
{
  unsigned i = pipeline_cuda_index();
  if (i < n) to[i] = rest * to[i] + share * from[i];
}

int pipeline_cuda_multiply_add(PipelineCudaDevice *device, float *to, const float *from, float share, size_t n)
{
  if (n == 0) return 0;
  LAUNCH(multiply_add_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream,
         to, from, 1 - share, share, (unsigned)n);
  return pipeline_cuda_check_launch(device, "average");
}

__global__ void add_kernel(float *to, const float *from, unsigned n)
{
  unsigned i = pipeline_cuda_index();
  if (i < n) to[i] += from[i];
}

int pipeline_cuda_add(PipelineCudaDevice *device, float *to, const float *from, size_t n)
{
  if (n == 0) return 0;
  LAUNCH(add_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream, to, from,
         (unsigned)n);
  return pipeline_cuda_check_launch(device, "add");
}

__global__ void fill_kernel(float *to, const float *value, unsigned n)
{
  unsigned i = pipeline_cuda_index();
  if (i < n) to[i] = value != nullptr ? *value : 0.0f;
}

int pipeline_cuda_fill(PipelineCudaDevice *device, float *to, const float *value, size_t n)
{
  if (n == 0) return 0;
  LAUNCH(fill_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream, to,
         value, (unsigned)n);
  return pipeline_cuda_check_launch(device, "fill");
}

__global__ void ascend_kernel(float *x, const float *g, const float *origin, float step, float epsilon, float low,
                              float high, unsigned n)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  float moved = x[i] + (g[i] > 0 ? step : (g[i] < 0 ? -step : 0.0f));
  moved = fminf(fmaxf(moved, origin[i] - epsilon), origin[i] + epsilon);
  x[i] = fminf(fmaxf(moved, low), high);
}

int pipeline_cuda_ascend(PipelineCudaDevice *device, float *x, const float *g, const float *origin, float step,
                         float epsilon, float low, float high, size_t n)
{
  if (n == 0) return 0;
  LAUNCH(ascend_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream, x, g,
         origin, step, epsilon, low, high, (unsigned)n);
  return pipeline_cuda_check_launch(device, "take a step of an attack");
}
