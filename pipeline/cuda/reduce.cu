/* Sums over dimensions, and softmax along one. Sums run in double, always in the same order. */
#include "pipeline/cuda/device_internal.h"

#define COLUMNS 32u

/* --- sums -----------------------------------------------------------------------------------------------------------
 */

/* Few results of many terms are summed in parts of `stretch` terms, blockIdx.y the part, so that all multiprocessors
 * have work: partial sums [parts, results] first, then these. partial NULL: one part, straight into `to`. */
typedef struct {
  unsigned parts, stretch;
  double *partial;
} Parts;

static __device__ __forceinline__ void put_sum(const PipelineCudaSum &sum, const Parts &parts, unsigned result,
                                               float factor, double total, float *to)
{
  if (parts.partial == nullptr)
    to[result] = (float)((double)factor * total);
  else
    parts.partial[(size_t)blockIdx.y * sum.kept.n + result] = total;
}

static __device__ __forceinline__ unsigned end_of_part(const PipelineCudaSum &sum, const Parts &parts)
{
  unsigned end = (blockIdx.y + 1) * parts.stretch;
  return end < sum.reduced.n ? end : (unsigned)sum.reduced.n;
}

/* A block a result: the reduced dimensions lie close together. */
__global__ void sum_block_kernel(PipelineCudaSum sum, Parts parts, float factor, const float *from, float *to)
{
  __shared__ double shared[32];
  int64_t base, at;
  double total = 0;
  unsigned end = end_of_part(sum, parts);
  pipeline_cuda_place<1>(sum.kept, blockIdx.x, &base);
  for (unsigned i = blockIdx.y * parts.stretch + threadIdx.x; i < end; i += blockDim.x) {
    pipeline_cuda_place<1>(sum.reduced, i, &at);
    total += (double)from[base + at];
  }
  total = pipeline_cuda_block_sum(total, shared);
  if (threadIdx.x == 0) put_sum(sum, parts, blockIdx.x, factor, total, to);
}

/* Neighbouring results by neighbouring threads: the kept dimension is the innermost. block: 32 results by rows. */
__global__ void sum_columns_kernel(PipelineCudaSum sum, Parts parts, float factor, const float *from, float *to)
{
  __shared__ double shared[32][COLUMNS + 1];
  unsigned column = blockIdx.x * COLUMNS + threadIdx.x, end = end_of_part(sum, parts);
  int64_t base = 0, at;
  double total = 0;
  if (column < sum.kept.n) {
    pipeline_cuda_place<1>(sum.kept, column, &base);
    for (unsigned i = blockIdx.y * parts.stretch + threadIdx.y; i < end; i += blockDim.y) {
      pipeline_cuda_place<1>(sum.reduced, i, &at);
      total += (double)from[base + at];
    }
  }
  shared[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y > 0 || column >= sum.kept.n) return;
  for (unsigned i = 1; i < blockDim.y; i++) total += shared[i][threadIdx.x];
  put_sum(sum, parts, column, factor, total, to);
}

__global__ void sum_parts_kernel(unsigned n, Parts parts, float factor, float *to)
{
  unsigned i = pipeline_cuda_index();
  double total = 0;
  if (i >= n) return;
  for (unsigned part = 0; part < parts.parts; part++) total += parts.partial[(size_t)part * n + i];
  to[i] = (float)((double)factor * total);
}

/* blocks: of one part; least: terms that are worth a block. */
static Parts divide(const PipelineCudaDevice *device, size_t blocks, size_t results, size_t terms, size_t least)
{
  size_t wanted = 4 * (size_t)device->multiprocessors / blocks, useful = terms / least;
  size_t most = PIPELINE_CUDA_SCRATCH / (results * sizeof(double)), n = wanted < useful ? wanted : useful;
  n = n < most ? n : most;
  if (n <= 1) return Parts{1, (unsigned)terms, nullptr};
  return Parts{(unsigned)n, (unsigned)((terms + n - 1) / n), static_cast<double *>(device->scratch)};
}

int pipeline_cuda_sum(PipelineCudaDevice *device, const PipelineCudaSum *sum, float factor, const float *from,
                      float *to)
{
  size_t results = sum->kept.n, terms = sum->reduced.n;
  if (results == 0) return 0;
  unsigned last = sum->kept.n_dims > 0 ? sum->kept.n_dims - 1 : 0, inner = sum->reduced.n_dims - 1;
  bool columns = results > 1 && sum->kept.strides[0][last] == 1 && (terms <= 32 || sum->reduced.strides[0][inner] != 1);
  unsigned blocks = columns ? pipeline_cuda_blocks(results, COLUMNS) : (unsigned)results;
  Parts parts = divide(device, blocks, results, terms, columns ? 64 : 2048);
  dim3 grid(blocks, parts.parts);
  if (columns) {
    dim3 block(COLUMNS, parts.stretch > 128 ? 32 : 8);
    LAUNCH(sum_columns_kernel, grid, block, 0, device->stream, *sum, parts, factor, from, to);
  } else {
    unsigned threads = parts.stretch > 4096 ? 1024 : (parts.stretch > 128 ? 256 : 32);
    LAUNCH(sum_block_kernel, grid, threads, 0, device->stream, *sum, parts, factor, from, to);
  }
  if (parts.partial != nullptr)
    LAUNCH(sum_parts_kernel, pipeline_cuda_blocks(results, 64), 64, 0, device->stream, (unsigned)results, parts, factor,
           to);
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
