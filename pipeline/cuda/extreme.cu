/* The largest or smallest of each line of a tensor, a block a line, and its gradient: pipeline/gradient_reduce.c. */
#include "pipeline/cuda/device_internal.h"

#define EXTREME_THREADS 256u
#define NONE 0xffffffffu

/* Whether the value at `place` comes before the one at `other`: of equal ones the first, what is no number before all
 * others. NONE comes last. So the result is the same in whatever order values meet. */
static __device__ __forceinline__ bool comes_before(float value, uint32_t place, float than, uint32_t other,
                                                    int smallest)
{
  if (place == NONE || other == NONE) return place != NONE;
  bool odd = value != value, other_odd = than != than;
  if (odd != other_odd) return odd;
  if (odd || value == than) return place < other;
  return smallest ? value < than : value > than;
}

__global__ void extreme_kernel(PipelineCudaSum lines, int smallest, const float *x, float *y, uint32_t *chosen)
{
  __shared__ float values[EXTREME_THREADS];
  __shared__ uint32_t places[EXTREME_THREADS];
  int64_t base, at;
  float best = 0;
  uint32_t place = NONE;
  pipeline_cuda_place<1>(lines.kept, blockIdx.x, &base);
  for (unsigned i = threadIdx.x; i < lines.reduced.n; i += blockDim.x) {
    pipeline_cuda_place<1>(lines.reduced, i, &at);
    float value = x[base + at];
    if (!comes_before(value, (uint32_t)(base + at), best, place, smallest)) continue;
    best = value;
    place = (uint32_t)(base + at);
  }
  values[threadIdx.x] = best;
  places[threadIdx.x] = place;
  for (unsigned step = blockDim.x / 2; step > 0; step >>= 1) {
    __syncthreads();
    unsigned other = threadIdx.x + step;
    if (threadIdx.x >= step || !comes_before(values[other], places[other], best, place, smallest)) continue;
    values[threadIdx.x] = best = values[other];
    places[threadIdx.x] = place = places[other];
  }
  if (threadIdx.x > 0) return;
  y[blockIdx.x] = best;
  chosen[blockIdx.x] = place;
}

int pipeline_cuda_extreme(PipelineCudaDevice *device, const PipelineCudaSum *lines, int smallest, const float *x,
                          float *y, uint32_t *chosen)
{
  if (lines->kept.n == 0) return 0;
  unsigned threads = lines->reduced.n > 128 ? EXTREME_THREADS : 32;
  LAUNCH(extreme_kernel, (unsigned)lines->kept.n, threads, 0, device->stream, *lines, smallest, x, y, chosen);
  return pipeline_cuda_check_launch(device, "find the largest elements");
}

__global__ void extreme_backward_kernel(unsigned n, const uint32_t *chosen, const float *dy, float *dx)
{
  unsigned i = pipeline_cuda_index();
  if (i < n) dx[chosen[i]] = dy[i]; /* an element is of one line: no two threads meet */
}

int pipeline_cuda_extreme_backward(PipelineCudaDevice *device, size_t n_lines, size_t n, const uint32_t *chosen,
                                   const float *dy, float *dx)
{
  if (n_lines == 0 || n == 0) return 0;
  if (pipeline_cuda_check(device, cudaMemsetAsync(dx, 0, n * sizeof(float), device->stream), "clear a gradient"))
    return 1;
  LAUNCH(extreme_backward_kernel, pipeline_cuda_blocks(n_lines, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0,
         device->stream, (unsigned)n_lines, chosen, dy, dx);
  return pipeline_cuda_check_launch(device, "differentiate the largest elements");
}
