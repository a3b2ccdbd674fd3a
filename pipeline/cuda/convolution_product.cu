/* Gradients of a convolution as products of matrices: x unfolded into columns [channels kernel, batch out], dy with its
 * filters outside [filters, batch out]. For the shapes where cuDNN's deterministic algorithms are slow (the table of
 * preferences in convolution.cu). Chellapilla, Puri, Simard 2006, "High performance convolutional neural networks for
 * document processing". No dilation, one group. */
#include "pipeline/cuda/device_internal.h"

#define TILE 128u         /* of cuBLAS's products, roughly */
#define ENOUGH_TILES 132u /* multiprocessors of the device that was measured; fixed, so that the bits are */
#define MAX_ROWS 65535u   /* of a grid */
#define MAX_ELEMENTS ((size_t)1 << 31)

typedef struct {
  size_t positions, rows, columns, swapped, partial; /* partial: elements of one part of dw */
  unsigned parts;
} Sizes;

/* A small dw is summed in parts of whole images, so that all multiprocessors have work. */
static unsigned count_parts(const PipelineCudaConvolution *s, size_t rows)
{
  size_t tiles = (s->filters + TILE - 1) / TILE * ((rows + TILE - 1) / TILE), parts = ENOUGH_TILES / tiles;
  if (parts > s->batch) parts = s->batch;
  if (parts < 1) return 1;
  while (s->batch % parts != 0) parts--;
  return (unsigned)parts;
}

static Sizes find_sizes(const PipelineCudaConvolution *s)
{
  Sizes z;
  z.positions = s->batch * s->out[0] * s->out[1];
  z.rows = s->channels * s->kernel[0] * s->kernel[1];
  z.columns = z.rows * z.positions;
  z.swapped = s->filters * z.positions;
  z.partial = s->filters * z.rows;
  z.parts = count_parts(s, z.rows);
  return z;
}

size_t pipeline_cuda_convolution_product_bytes(const PipelineCudaConvolution *s)
{
  if (s->group != 1 || s->dilation[0] != 1 || s->dilation[1] != 1 || s->batch == 0) return 0;
  Sizes z = find_sizes(s);
  size_t in = s->batch * s->in[0] * s->in[1];
  if (z.rows > MAX_ROWS || s->filters > MAX_ROWS || z.columns >= MAX_ELEMENTS || z.swapped >= MAX_ELEMENTS ||
      s->channels * in >= MAX_ELEMENTS || z.partial >= MAX_ELEMENTS)
    return 0;
  return (z.columns + z.swapped + z.parts * z.partial) * sizeof(float);
}

/* blockIdx.y: the row (channel, place in the kernel). */
__global__ void unfold_kernel(PipelineCudaConvolution s, unsigned positions, const float *x, float *columns)
{
  unsigned i = pipeline_cuda_index(), row = blockIdx.y, taps = (unsigned)(s.kernel[0] * s.kernel[1]);
  if (i >= positions) return;
  unsigned channel = row / taps, tap = row % taps, inner = (unsigned)(s.out[0] * s.out[1]), wide = (unsigned)s.out[1];
  unsigned image = i / inner, place = i % inner;
  int h = (int)(place / wide * (unsigned)s.stride[0] + tap / (unsigned)s.kernel[1]) - (int)s.pad[0];
  int w = (int)(place % wide * (unsigned)s.stride[1] + tap % (unsigned)s.kernel[1]) - (int)s.pad[1];
  bool inside = h >= 0 && h < (int)s.in[0] && w >= 0 && w < (int)s.in[1];
  const float *from = x + ((size_t)image * s.channels + channel) * s.in[0] * s.in[1];
  columns[(size_t)row * positions + i] = inside ? from[(unsigned)h * (unsigned)s.in[1] + (unsigned)w] : 0.0f;
}

/* blockIdx.y: the filter. */
__global__ void swap_filters_kernel(unsigned positions, unsigned inner, unsigned filters, const float *dy, float *to)
{
  unsigned i = pipeline_cuda_index(), filter = blockIdx.y;
  if (i >= positions) return;
  unsigned image = i / inner, place = i % inner;
  to[(size_t)filter * positions + i] = dy[((size_t)image * filters + filter) * inner + place];
}

/* Each element of dx gathers what its columns hold; blockIdx.y: the channel. */
__global__ void fold_kernel(PipelineCudaConvolution s, unsigned n, unsigned positions, const float *columns, float *dx)
{
  unsigned i = pipeline_cuda_index(), channel = blockIdx.y, inner = (unsigned)(s.in[0] * s.in[1]);
  if (i >= n) return;
  unsigned image = i / inner, place = i % inner, kernel_h = (unsigned)s.kernel[0], kernel_w = (unsigned)s.kernel[1];
  unsigned step_h = (unsigned)s.stride[0], step_w = (unsigned)s.stride[1];
  unsigned h = place / (unsigned)s.in[1] + (unsigned)s.pad[0], w = place % (unsigned)s.in[1] + (unsigned)s.pad[1];
  const float *from = columns + (size_t)channel * kernel_h * kernel_w * positions + (size_t)image * s.out[0] * s.out[1];
  float sum = 0;
  unsigned row = h / step_h;
  for (unsigned a = h % step_h; a < kernel_h && a <= h; a += step_h, row--) {
    if (row >= (unsigned)s.out[0]) continue;
    unsigned column = w / step_w;
    for (unsigned b = w % step_w; b < kernel_w && b <= w; b += step_w, column--)
      if (column < (unsigned)s.out[1])
        sum += from[(size_t)(a * kernel_w + b) * positions + row * (unsigned)s.out[1] + column];
  }
  dx[((size_t)image * s.channels + channel) * inner + place] = sum;
}

__global__ void sum_parts_kernel(unsigned n, unsigned parts, const float *partial, float *to)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  float sum = 0;
  for (unsigned part = 0; part < parts; part++) sum += partial[(size_t)part * n + i];
  to[i] = sum;
}

static dim3 grid_of(size_t n, size_t rows)
{
  return dim3(pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), (unsigned)rows);
}

/* swapped: dy, filters outside. Parts are of whole images: a part is a stretch of every row. */
static int by_weights(PipelineCudaDevice *device, const PipelineCudaConvolution *s, const Sizes *z, const float *x,
                      const float *swapped, float *columns, float *partial, float *dw)
{
  const char *what = "differentiate a convolution by its weights";
  LAUNCH(unfold_kernel, grid_of(z->positions, z->rows), PIPELINE_CUDA_THREADS, 0, device->stream, *s,
         (unsigned)z->positions, x, columns);
  if (pipeline_cuda_check_launch(device, what)) return 1;
  PipelineCudaGemm gemm = {};
  gemm.m = s->filters;
  gemm.n = z->rows;
  gemm.k = z->positions / z->parts;
  gemm.lda = gemm.ldb = z->positions;
  gemm.ldc = z->rows;
  gemm.transpose_b = 1;
  gemm.alpha = 1;
  gemm.count = z->parts;
  gemm.stride_a = gemm.stride_b = gemm.k;
  gemm.stride_c = z->partial;
  if (pipeline_cuda_gemm(device, &gemm, swapped, columns, z->parts == 1 ? dw : partial)) return 1;
  if (z->parts == 1) return 0;
  LAUNCH(sum_parts_kernel, pipeline_cuda_blocks(z->partial, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0,
         device->stream, (unsigned)z->partial, z->parts, partial, dw);
  return pipeline_cuda_check_launch(device, what);
}

static int by_input(PipelineCudaDevice *device, const PipelineCudaConvolution *s, const Sizes *z, const float *w,
                    const float *swapped, float *columns, float *dx)
{
  size_t n = s->batch * s->in[0] * s->in[1];
  PipelineCudaGemm gemm = {};
  gemm.m = z->rows;
  gemm.n = z->positions;
  gemm.k = s->filters;
  gemm.lda = z->rows;
  gemm.ldb = gemm.ldc = z->positions;
  gemm.transpose_a = 1;
  gemm.alpha = 1;
  gemm.count = 1;
  if (pipeline_cuda_gemm(device, &gemm, w, swapped, columns)) return 1;
  LAUNCH(fold_kernel, grid_of(n, s->channels), PIPELINE_CUDA_THREADS, 0, device->stream, *s, (unsigned)n,
         (unsigned)z->positions, columns, dx);
  return pipeline_cuda_check_launch(device, "differentiate a convolution by its input");
}

int pipeline_cuda_convolution_product(PipelineCudaDevice *device, const PipelineCudaConvolution *s, const float *x,
                                      const float *w, const float *dy, float *dx, float *dw)
{
  Sizes z = find_sizes(s);
  if (pipeline_cuda_provide_workspace(device, pipeline_cuda_convolution_product_bytes(s))) return 1;
  float *columns = static_cast<float *>(device->workspace), *swapped = columns + z.columns;
  LAUNCH(swap_filters_kernel, grid_of(z.positions, s->filters), PIPELINE_CUDA_THREADS, 0, device->stream,
         (unsigned)z.positions, (unsigned)(s->out[0] * s->out[1]), (unsigned)s->filters, dy, swapped);
  if (pipeline_cuda_check_launch(device, "differentiate a convolution") ||
      (dw != nullptr && by_weights(device, s, &z, x, swapped, columns, swapped + z.swapped, dw)))
    return 1;
  return dx != nullptr ? by_input(device, s, &z, w, swapped, columns, dx) : 0;
}
