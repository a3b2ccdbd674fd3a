/* Pools with any padding and dilation: pipeline/gradient_pool.c, one thread an element. Backward each input gathers
 * from the windows over it, so that no addition depends on the order of threads. */
#include "pipeline/cuda/device_internal.h"

/* The pool in 32 bits, which devices divide faster: an image has fewer than 2³¹ elements. */
typedef struct {
  int in[2], out[2], kernel[2], stride[2], dilation[2], before[2], after[2], with_padding;
} Window;

static Window narrow(const PipelineCudaPool *pool)
{
  Window window;
  for (int d = 0; d < 2; d++) {
    window.in[d] = (int)pool->in[d];
    window.out[d] = (int)pool->out[d];
    window.kernel[d] = (int)pool->kernel[d];
    window.stride[d] = (int)pool->stride[d];
    window.dilation[d] = (int)pool->dilation[d];
    window.before[d] = (int)pool->before[d];
    window.after[d] = (int)pool->after[d];
  }
  window.with_padding = pool->with_padding;
  return window;
}

typedef struct {
  int start[2], from[2], to[2]; /* taps inside the input: from ≤ tap < to */
} Taps;

static __device__ __forceinline__ Taps find_taps(const Window &pool, int oy, int ox)
{
  const int place[2] = {oy, ox};
  Taps taps;
  for (int d = 0; d < 2; d++) {
    int start = place[d] * pool.stride[d] - pool.before[d], step = pool.dilation[d];
    int from = start < 0 ? (-start + step - 1) / step : 0, to = (pool.in[d] - start + step - 1) / step;
    taps.start[d] = start;
    taps.from[d] = from;
    taps.to[d] = to > pool.kernel[d] ? pool.kernel[d] : to;
    if (taps.to[d] < from) taps.to[d] = from;
  }
  return taps;
}

#define NONE 0xffffffffu

__global__ void max_pool_kernel(Window pool, unsigned n, const float *x, float *y, uint32_t *chosen)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  unsigned out = (unsigned)(pool.out[0] * pool.out[1]), image = i / out, place = i - image * out;
  Taps taps = find_taps(pool, place / (unsigned)pool.out[1], place % (unsigned)pool.out[1]);
  const float *from = x + (size_t)image * (unsigned)(pool.in[0] * pool.in[1]);
  uint32_t best = NONE;
  float largest = -INFINITY;
  for (int ky = taps.from[0]; ky < taps.to[0]; ky++)
    for (int kx = taps.from[1]; kx < taps.to[1]; kx++) {
      int at = (taps.start[0] + ky * pool.dilation[0]) * pool.in[1] + taps.start[1] + kx * pool.dilation[1];
      float value = from[at];
      if (best != NONE && !(value > largest || (value != value && largest == largest))) continue;
      largest = value;
      best = (uint32_t)at;
    }
  y[i] = largest;
  chosen[i] = best;
}

int pipeline_cuda_max_pool(PipelineCudaDevice *device, const PipelineCudaPool *pool, const float *x, float *y,
                           uint32_t *chosen)
{
  size_t n = pool->images * (size_t)(pool->out[0] * pool->out[1]);
  if (n == 0) return 0;
  LAUNCH(max_pool_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream,
         narrow(pool), (unsigned)n, x, y, chosen);
  return pipeline_cuda_check_launch(device, "compute a pool");
}

/* The windows that may cover input place `at` of dimension d. */
static __device__ __forceinline__ void find_windows(const Window &pool, int d, int at, int *first, int *last)
{
  int low = at + pool.before[d] - (pool.kernel[d] - 1) * pool.dilation[d], high = at + pool.before[d];
  *first = low <= 0 ? 0 : (low + pool.stride[d] - 1) / pool.stride[d];
  *last = high / pool.stride[d];
  if (*last >= pool.out[d]) *last = pool.out[d] - 1;
}

__global__ void max_pool_backward_kernel(Window pool, unsigned n, const uint32_t *chosen, const float *dy, float *dx)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  unsigned in = (unsigned)(pool.in[0] * pool.in[1]), image = i / in, place = i - image * in;
  int first[2], last[2];
  float sum = 0;
  find_windows(pool, 0, place / (unsigned)pool.in[1], &first[0], &last[0]);
  find_windows(pool, 1, place % (unsigned)pool.in[1], &first[1], &last[1]);
  size_t start = (size_t)image * (unsigned)(pool.out[0] * pool.out[1]);
  for (int oy = first[0]; oy <= last[0]; oy++)
    for (int ox = first[1]; ox <= last[1]; ox++) {
      size_t at = start + (size_t)(oy * pool.out[1] + ox);
      if (chosen[at] == place) sum += dy[at];
    }
  dx[i] = sum;
}

int pipeline_cuda_max_pool_backward(PipelineCudaDevice *device, const PipelineCudaPool *pool, const uint32_t *chosen,
                                    const float *dy, float *dx)
{
  size_t n = pool->images * (size_t)(pool->in[0] * pool->in[1]);
  if (n == 0) return 0;
  LAUNCH(max_pool_backward_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0,
         device->stream, narrow(pool), (unsigned)n, chosen, dy, dx);
  return pipeline_cuda_check_launch(device, "differentiate a pool");
}

/* How many elements the mean of a window is over: those inside, or also the padding (not what ceil_mode adds). */
static __device__ __forceinline__ float count_taps(const Window &pool, const Taps &taps)
{
  int count = 1;
  for (int d = 0; d < 2; d++) {
    int step = pool.dilation[d], inside = taps.to[d] - taps.from[d];
    int padded = (pool.in[d] + pool.after[d] - taps.start[d] + step - 1) / step;
    if (padded > pool.kernel[d]) padded = pool.kernel[d];
    count *= pool.with_padding ? padded : inside;
  }
  return count > 0 ? (float)count : 1.0f;
}

__global__ void average_pool_kernel(Window pool, unsigned n, const float *x, float *y)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  unsigned out = (unsigned)(pool.out[0] * pool.out[1]), image = i / out, place = i - image * out;
  Taps taps = find_taps(pool, place / (unsigned)pool.out[1], place % (unsigned)pool.out[1]);
  const float *from = x + (size_t)image * (unsigned)(pool.in[0] * pool.in[1]);
  float sum = 0;
  for (int ky = taps.from[0]; ky < taps.to[0]; ky++)
    for (int kx = taps.from[1]; kx < taps.to[1]; kx++)
      sum += from[(taps.start[0] + ky * pool.dilation[0]) * pool.in[1] + taps.start[1] + kx * pool.dilation[1]];
  y[i] = sum / count_taps(pool, taps);
}

int pipeline_cuda_average_pool(PipelineCudaDevice *device, const PipelineCudaPool *pool, const float *x, float *y)
{
  size_t n = pool->images * (size_t)(pool->out[0] * pool->out[1]);
  if (n == 0) return 0;
  LAUNCH(average_pool_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream,
         narrow(pool), (unsigned)n, x, y);
  return pipeline_cuda_check_launch(device, "compute a pool");
}

__global__ void average_pool_backward_kernel(Window pool, unsigned n, const float *dy, float *dx)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  unsigned in = (unsigned)(pool.in[0] * pool.in[1]), image = i / in, place = i - image * in;
  int y = place / (unsigned)pool.in[1], x = place % (unsigned)pool.in[1], first[2], last[2];
  float sum = 0;
  find_windows(pool, 0, y, &first[0], &last[0]);
  find_windows(pool, 1, x, &first[1], &last[1]);
  size_t start = (size_t)image * (unsigned)(pool.out[0] * pool.out[1]);
  for (int oy = first[0]; oy <= last[0]; oy++)
    for (int ox = first[1]; ox <= last[1]; ox++) {
      Taps taps = find_taps(pool, oy, ox);
      if ((y - taps.start[0]) % pool.dilation[0] != 0 || (x - taps.start[1]) % pool.dilation[1] != 0) continue;
      sum += dy[start + (size_t)(oy * pool.out[1] + ox)] / count_taps(pool, taps);
    }
  dx[i] = sum;
}

int pipeline_cuda_average_pool_backward(PipelineCudaDevice *device, const PipelineCudaPool *pool, const float *dy,
                                        float *dx)
{
  size_t n = pool->images * (size_t)(pool->in[0] * pool->in[1]);
  if (n == 0) return 0;
  LAUNCH(average_pool_backward_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0,
         device->stream, narrow(pool), (unsigned)n, dy, dx);
  return pipeline_cuda_check_launch(device, "differentiate a pool");
}
