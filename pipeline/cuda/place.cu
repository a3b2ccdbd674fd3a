/* Elements that move: Transpose, Slice, Concat, Split, Expand, Pad, Gather. */
#include "pipeline/cuda/device_internal.h"

__global__ void move_kernel(PipelineCudaWalk walk, float factor, const float *from, float *to)
{
  unsigned i = pipeline_cuda_index();
  if (i >= walk.n) return;
  int64_t at[2];
  pipeline_cuda_place<2>(walk, i, at);
  to[at[1]] = factor * from[at[0]];
}

int pipeline_cuda_move(PipelineCudaDevice *device, const PipelineCudaWalk *walk, float factor, const float *from,
                       float *to)
{
  if (walk->n == 0) return 0;
  LAUNCH(move_kernel, pipeline_cuda_blocks(walk->n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream,
         *walk, factor, from, to);
  return pipeline_cuda_check_launch(device, "move elements");
}

__global__ void gather_kernel(unsigned total, unsigned length, unsigned inner, const int32_t *index, unsigned n,
                              const float *x, float *y)
{
  unsigned i = pipeline_cuda_index();
  if (i >= total) return;
  unsigned k = i % inner, place = i / inner % n, outer = i / inner / n;
  y[i] = x[((size_t)outer * length + (unsigned)index[place]) * inner + k];
}

int pipeline_cuda_gather(PipelineCudaDevice *device, size_t outer, size_t length, size_t inner, const int32_t *index,
                         size_t n, const float *x, float *y)
{
  size_t total = outer * n * inner;
  if (total == 0) return 0;
  LAUNCH(gather_kernel, pipeline_cuda_blocks(total, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream,
         (unsigned)total, (unsigned)length, (unsigned)inner, index, (unsigned)n, x, y);
  return pipeline_cuda_check_launch(device, "gather");
}

/* Each element sums the places that read it, in their order: the same bits each time. */
__global__ void gather_backward_kernel(unsigned total, unsigned length, unsigned inner, const int32_t *starts,
                                       const int32_t *list, unsigned n, const float *dy, float *dx)
{
  unsigned i = pipeline_cuda_index();
  if (i >= total) return;
  unsigned k = i % inner, place = i / inner % length, outer = i / inner / length;
  float sum = 0;
  for (int32_t j = starts[place]; j < starts[place + 1]; j++)
    sum += dy[((size_t)outer * n + (unsigned)list[j]) * inner + k];
  dx[i] = sum;
}

int pipeline_cuda_gather_backward(PipelineCudaDevice *device, size_t outer, size_t length, size_t inner,
                                  const int32_t *starts, const int32_t *list, size_t n, const float *dy, float *dx)
{
  size_t total = outer * length * inner;
  if (total == 0) return 0;
  LAUNCH(gather_backward_kernel, pipeline_cuda_blocks(total, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0,
         device->stream, (unsigned)total, (unsigned)length, (unsigned)inner, starts, list, (unsigned)n, dy, dx);
  return pipeline_cuda_check_launch(device, "give gathered gradients back");
}

__global__ void pick_kernel(const int32_t *origin, const float *value, const float *x, float *y, unsigned n)
{
  unsigned i = pipeline_cuda_index();
  if (i < n) y[i] = origin[i] > 0 ? x[origin[i] - 1] : (value != nullptr ? *value : 0.0f);
}

int pipeline_cuda_pick(PipelineCudaDevice *device, const int32_t *origin, const float *value, const float *x, float *y,
                       size_t n)
{
  if (n == 0) return 0;
  LAUNCH(pick_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream, origin,
         value, x, y, (unsigned)n);
  return pipeline_cuda_check_launch(device, "pick elements");
}
