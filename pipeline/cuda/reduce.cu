/* Sums over dimensions, and softmax along one. Sums run in double, always in the same order. */
#include "pipeline/cuda/device_internal.h"

#define COLUMNS 32u

/* --- sums -----------------------------------------------------------------------------------------------------------
 */

/* A block a result: the reduced dimensions lie close together. */
__global__ void sum_block_kernel(PipelineCudaSum sum, float factor, const float *from, float *to)
{
  __shared__ double parts[32];
  int64_t base, at;
  double total = 0;
  pipeline_cuda_place<1>(sum.kept, blockIdx.x, &base);
  for (unsigned i = threadIdx.x; i < sum.reduced.n; i += blockDim.x) {
    pipeline_cuda_place<1>(sum.reduced, i, &at);
    total += (double)from[base + at];
  }
  total = pipeline_cuda_block_sum(total, parts);
  if (threadIdx.x == 0) to[blockIdx.x] = (float)((double)factor * total);
}

/* Neighbouring results by neighbouring threads: the kept dimension is the innermost. block: 32 results by rows. */
__global__ void sum_columns_kernel(PipelineCudaSum sum, float factor, const float *from, float *to)
{
  __shared__ double parts[32][COLUMNS + 1];
  unsigned column = blockIdx.x * COLUMNS + threadIdx.x;
  int64_t base = 0, at;
  double total = 0;
  if (column < sum.kept.n) {
    pipeline_cuda_place<1>(sum.kept, column, &base);
    for (unsigned i = threadIdx.y; i < sum.reduced.n; i += blockDim.y) {
      pipeline_cuda_place<1>(sum.reduced, i, &at);
      total += (double)from[base + at];
    }
  }
  parts[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y > 0 || column >= sum.kept.n) return;
  for (unsigned i = 1; i < blockDim.y; i++) total += parts[i][threadIdx.x];
  to[column] = (float)((double)factor * total);
}

int pipeline_cuda_sum(PipelineCudaDevice *device, const PipelineCudaSum *sum, float factor, const float *from,
                      float *to)
{
  if (sum->kept.n == 0) return 0;
  unsigned last = sum->kept.n_dims > 0 ? sum->kept.n_dims - 1 : 0, inner = sum->reduced.n_dims - 1;
  bool columns = sum->kept.n > 1 && sum->kept.strides[0][last] == 1 &&
                 (sum->reduced.n <= 32 || sum->reduced.strides[0][inner] != 1);
  if (columns) {
    dim3 block(COLUMNS, sum->reduced.n > 128 ? 32 : 8);
    LAUNCH(sum_columns_kernel, pipeline_cuda_blocks(sum->kept.n, COLUMNS), block, 0, device->stream, *sum, factor, from,
           to);
  } else {
    unsigned threads = sum->reduced.n > 4096 ? 1024 : (sum->reduced.n > 128 ? 256 : 32);
    LAUNCH(sum_block_kernel, (unsigned)sum->kept.n, threads, 0, device->stream, *sum, factor, from, to);
  }
  return pipeline_cuda_check_launch(device, "sum");
}

/* --- softmax: a warp a line
 * --------------------------------------------------------------------------------------------
 */

#define WARPS 4u

__global__ void softmax_kernel(unsigned lines, unsigned length, unsigned inner, int logarithm, const float *x, float *y)
{
  unsigned line = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (line >= lines) return; /* the whole warp */
  size_t start = (size_t)(line / inner) * length * inner + line % inner;
  float highest = -INFINITY;
  double sum = 0;
  for (unsigned i = lane; i < length; i += 32) {
    float value = x[start + (size_t)i * inner];
    highest = fmaxf(highest, value);
  }
  highest = pipeline_cuda_warp_max(highest);
  for (unsigned i = lane; i < length; i += 32) sum += (double)expf(x[start + (size_t)i * inner] - highest);
  sum = pipeline_cuda_warp_sum(sum);
  float shift = (float)log(sum), factor = (float)(1 / sum);
  for (unsigned i = lane; i < length; i += 32) {
    size_t at = start + (size_t)i * inner;
    float below = x[at] - highest;
    y[at] = logarithm ? below - shift : expf(below) * factor;
  }
}

int pipeline_cuda_softmax(PipelineCudaDevice *device, size_t outer, size_t length, size_t inner, int logarithm,
                          const float *x, float *y)
{
  if (outer * length * inner == 0) return 0;
  LAUNCH(softmax_kernel, pipeline_cuda_blocks(outer * inner, WARPS), 32 * WARPS, 0, device->stream,
         (unsigned)(outer * inner), (unsigned)length, (unsigned)inner, logarithm, x, y);
  return pipeline_cuda_check_launch(device, "compute a softmax");
}

/* Softmax: dx = y (dy − Σ dy y). Its logarithm: dx = dy − eʸ Σ dy. */
__global__ void softmax_backward_kernel(unsigned lines, unsigned length, unsigned inner, int logarithm, const float *y,
                                        const float *dy, float *dx)
{
  unsigned line = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (line >= lines) return; /* the whole warp */
  size_t start = (size_t)(line / inner) * length * inner + line % inner;
  double sum = 0;
  for (unsigned i = lane; i < length; i += 32) {
    size_t at = start + (size_t)i * inner;
    sum += (double)dy[at] * (logarithm ? 1.0 : (double)y[at]);
  }
  float total = (float)pipeline_cuda_warp_sum(sum);
  for (unsigned i = lane; i < length; i += 32) {
    size_t at = start + (size_t)i * inner;
    dx[at] = logarithm ? dy[at] - expf(y[at]) * total : y[at] * (dy[at] - total);
  }
}

int pipeline_cuda_softmax_backward(PipelineCudaDevice *device, size_t outer, size_t length, size_t inner, int logarithm,
                                   const float *y, const float *dy, float *dx)
{
  if (outer * length * inner == 0) return 0;
  LAUNCH(softmax_backward_kernel, pipeline_cuda_blocks(outer * inner, WARPS), 32 * WARPS, 0, device->stream,
         (unsigned)(outer * inner), (unsigned)length, (unsigned)inner, logarithm, y, dy, dx);
  return pipeline_cuda_check_launch(device, "differentiate a softmax");
}
