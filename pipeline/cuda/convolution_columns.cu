/* Convolutions on operands rounded to bfloat16, by products on tensor units whose sums and results are float32. The
 * source (x, or dy for the gradient by x) is turned to channels last and unfolded into columns [positions of the
 * result, taps channels] of bfloat16 (Chellapilla, Puri, Simard 2006, "High performance convolutional neural networks
 * for document processing"); some images at a time, so that the columns stay small. With a stride, columns of dy would
 * be zeros for the most part: there the product comes first, into columns of float32 that are folded into dx. One
 * group. */
#include "pipeline/cuda/device_internal.h"

#ifndef PIPELINE_CUDA_COLUMNS_BYTES /* less on tests/cuda_shim, so that small examples come in several pieces */
#define PIPELINE_CUDA_COLUMNS_BYTES ((size_t)64 << 20) /* of some images together */
#endif
#define IMAGE_BYTES ((size_t)256 << 20) /* of one; larger ones do not go this way */
/* Results of at most so many positions an image are computed for many images in one product, channels last, and turned
 * afterwards; larger ones one product an image, which writes them in place. 0: never together. */
#define TOGETHER 64u

#define VECTOR 8u         /* elements of bfloat16 in 16 bytes: rows are whole ones */
#define TILE 128u         /* of cuBLAS's products, roughly */
#define ENOUGH_TILES 264u /* twice the multiprocessors of an H100 or H200; fixed, so that the bits are */
#define LEAST_SUM 128u    /* positions, of a part of dw */
#define MAX_GRID 65535u   /* of y and z */
#define MAX_STEP ((size_t)1 << 20)
#define MAX_ELEMENTS ((size_t)1 << 31)
#define ALIGNMENT 256u /* bytes */
#define WARP 32u
#define CHANNELS 64u /* of a tile that is turned */

/* How a place of the result and a tap of the kernel find the source, along one axis:
 * (place · multiply + shift + tap · step) / divide, where that is whole and inside [0, from). */
typedef struct {
  unsigned from, to, kernel;
  int multiply, shift, step, divide;
} Axis;

/* One direction of a convolution: y from x, or dx from dy. */
typedef struct {
  Axis axes[2];
  unsigned channels, wide; /* of the source; with the zeros behind them */
  unsigned results, row;   /* channels of the result; elements of a row of the columns */
  bool direct;             /* the source itself is the columns */
} Direction;

typedef struct {
  Direction forward, back;
  bool folds;                                /* dx is folded from columns of float32 */
  size_t images, parts;                      /* at a time; of sums for dw */
  size_t x, y, columns, sums, turned, bytes; /* places in the workspace, weights at 0; its size */
} Plan;

static size_t round_up(size_t n, size_t unit)
{
  return (n + unit - 1) / unit * unit;
}

static size_t places(const Direction *d)
{
  return (size_t)d->axes[0].to * d->axes[1].to;
}

static size_t sources(const Direction *d)
{
  return (size_t)d->axes[0].from * d->axes[1].from;
}

static Direction make_direction(const PipelineCudaConvolution *s, bool back)
{
  Direction d = {};
  d.channels = (unsigned)(back ? s->filters : s->channels);
  d.results = (unsigned)(back ? s->channels : s->filters);
  d.wide = (unsigned)round_up(d.channels, VECTOR);
  d.row = (unsigned)round_up(d.channels * s->kernel[0] * s->kernel[1], VECTOR);
  d.direct = true;
  for (int i = 0; i < 2; i++) {
    int stride = (int)s->stride[i], pad = (int)s->pad[i], dilation = (int)s->dilation[i];
    d.axes[i].from = (unsigned)(back ? s->out[i] : s->in[i]);
    d.axes[i].to = (unsigned)(back ? s->in[i] : s->out[i]);
    d.axes[i].kernel = (unsigned)s->kernel[i];
    d.axes[i].multiply = back ? 1 : stride;
    d.axes[i].shift = back ? pad : -pad;
    d.axes[i].step = back ? -dilation : dilation;
    d.axes[i].divide = back ? stride : 1;
    d.direct = d.direct && s->kernel[i] == 1 && stride == 1 && pad == 0;
  }
  return d;
}

static size_t count_parts(size_t positions, size_t wanted)
{
  size_t parts = positions / LEAST_SUM < wanted ? positions / LEAST_SUM : wanted;
  while (parts > 1 && positions % parts != 0) parts--;
  return parts > 0 ? parts : 1;
}

static size_t larger(size_t a, size_t b)
{
  return a > b ? a : b;
}

static bool is_together(const Direction *d)
{
  return places(d) <= TOGETHER;
}

static bool is_strided(const PipelineCudaConvolution *s)
{
  return s->stride[0] > 1 || s->stride[1] > 1;
}

/* Where the parts of the workspace lie: the same for all passes. */
static Plan make_plan(const PipelineCudaConvolution *s)
{
  Plan p = {};
  p.folds = is_strided(s);
  p.forward = make_direction(s, false);
  p.back = make_direction(s, true);
  const Direction *f = &p.forward, *b = &p.back;
  size_t narrow = sizeof(__nv_bfloat16);
  size_t columns =
      p.folds ? places(f) * f->row * sizeof(float) : larger(places(f) * f->row, places(b) * b->row) * narrow;
  size_t most = larger(1, PIPELINE_CUDA_COLUMNS_BYTES / columns);
  if (most > MAX_GRID) most = MAX_GRID;
  size_t passes = (s->batch + most - 1) / most;
  p.images = (s->batch + passes - 1) / passes;
  size_t tiles = (size_t)((f->results + TILE - 1) / TILE) * ((f->row + TILE - 1) / TILE);
  p.parts = count_parts(p.images * places(f), larger(1, ENOUGH_TILES / tiles));
  size_t together = larger(is_together(f) ? p.images * places(f) * f->results : 0,
                           !p.folds && is_together(b) ? p.images * places(b) * b->results : 0);
  p.x = round_up(larger((size_t)f->results * f->row, (size_t)b->results * b->row) * narrow, ALIGNMENT);
  p.y = p.x + round_up(p.images * sources(f) * f->wide * narrow, ALIGNMENT);
  p.columns = p.y + round_up(p.images * sources(b) * b->wide * narrow, ALIGNMENT);
  p.sums = p.columns + round_up(p.images * columns, ALIGNMENT);
  p.turned = p.sums + round_up(p.parts * f->results * f->row * sizeof(float), ALIGNMENT);
  p.bytes = p.turned + together * sizeof(float);
  return p;
}

size_t pipeline_cuda_convolution_columns_bytes(const PipelineCudaConvolution *s)
{
  size_t taps = s->kernel[0] * s->kernel[1], in = s->in[0] * s->in[1], out = s->out[0] * s->out[1];
  if (s->group != 1 || s->batch == 0 || in == 0 || out == 0 || s->channels == 0 || s->filters == 0 || taps > MAX_GRID ||
      s->channels > MAX_STEP || s->filters > MAX_STEP || in >= MAX_ELEMENTS || out >= MAX_ELEMENTS ||
      s->batch >= MAX_ELEMENTS)
    return 0;
  for (int i = 0; i < 2; i++)
    if (s->stride[i] > MAX_STEP || s->dilation[i] > MAX_STEP || s->pad[i] > MAX_STEP) return 0;
  size_t row_x = round_up(taps * s->channels, VECTOR), row_y = round_up(taps * s->filters, VECTOR);
  size_t most = IMAGE_BYTES / (is_strided(s) ? sizeof(float) : sizeof(__nv_bfloat16));
  if (row_x > most / out || (!is_strided(s) && row_y > most / in) || s->filters * row_x >= MAX_ELEMENTS ||
      s->channels * row_y >= MAX_ELEMENTS)
    return 0;
  return make_plan(s).bytes;
}

/* --- kernels --------------------------------------------------------------------------------------------------------
 */

/* -1: there is nothing. */
static __device__ __forceinline__ int find_source(const Axis &axis, unsigned place, unsigned tap)
{
  int at = (int)place * axis.multiply + axis.shift + (int)tap * axis.step;
  if (at < 0) return -1;
  if (axis.divide > 1) {
    if (at % axis.divide != 0) return -1;
    at /= axis.divide;
  }
  return at < (int)axis.from ? at : -1;
}

/* [channels, inner] of each image (blockIdx.z) as [inner, wide] of bfloat16, zeros behind the channels. */
__global__ void turn_narrow_kernel(const float *from, __nv_bfloat162 *to, unsigned channels, unsigned wide,
                                   unsigned inner)
{
  __shared__ float tile[CHANNELS][WARP + 1];
  unsigned lane = threadIdx.x % WARP, line = threadIdx.x / WARP, lines = blockDim.x / WARP;
  unsigned first = blockIdx.x * WARP, channel = blockIdx.y * CHANNELS;
  const float *image = from + (size_t)blockIdx.z * channels * inner;
  for (unsigned c = line; c < CHANNELS; c += lines) {
    bool inside = channel + c < channels && first + lane < inner;
    tile[c][lane] = inside ? image[(size_t)(channel + c) * inner + first + lane] : 0.0f;
  }
  __syncthreads();
  for (unsigned i = line; i < WARP; i += lines)
    if (first + i < inner && channel + 2 * lane < wide)
      to[(((size_t)blockIdx.z * inner + first + i) * wide + channel) / 2 + lane] =
          __floats2bfloat162_rn(tile[2 * lane][i], tile[2 * lane + 1][i]);
}

/* The way back, in float32: [inner, channels] of each image as [channels, inner], with the bias where there is one. */
__global__ void turn_back_kernel(const float *from, const float *bias, float *to, unsigned channels, unsigned inner)
{
  __shared__ float tile[WARP][WARP + 1];
  unsigned lane = threadIdx.x % WARP, line = threadIdx.x / WARP, lines = blockDim.x / WARP;
  unsigned first = blockIdx.x * WARP, channel = blockIdx.y * WARP;
  size_t image = (size_t)blockIdx.z * channels * inner;
  for (unsigned i = line; i < WARP; i += lines)
    if (first + i < inner && channel + lane < channels)
      tile[i][lane] = from[image + (size_t)(first + i) * channels + channel + lane];
  __syncthreads();
  for (unsigned c = line; c < WARP; c += lines)
    if (channel + c < channels && first + lane < inner)
      to[image + (size_t)(channel + c) * inner + first + lane] =
          tile[lane][c] + (bias != nullptr ? bias[channel + c] : 0.0f);
}

/* dx [channels, inner] of each image from columns [positions of dy, row], taps outside channels. d: from dy to dx. */
__global__ void fold_back_kernel(Direction d, unsigned row, const float *columns, float *dx)
{
  __shared__ float tile[WARP][WARP + 1];
  unsigned lane = threadIdx.x % WARP, line = threadIdx.x / WARP, lines = blockDim.x / WARP;
  unsigned first = blockIdx.x * WARP, channel = blockIdx.y * WARP, inner = d.axes[0].to * d.axes[1].to;
  for (unsigned i = line; i < WARP; i += lines) {
    float sum = 0;
    unsigned place = first + i;
    for (unsigned a = 0; a < d.axes[0].kernel && place < inner && channel + lane < d.results; a++) {
      int h = find_source(d.axes[0], place / d.axes[1].to, a);
      for (unsigned b = 0; h >= 0 && b < d.axes[1].kernel; b++) {
        int w = find_source(d.axes[1], place % d.axes[1].to, b);
        size_t position = ((size_t)blockIdx.z * d.axes[0].from + (unsigned)h) * d.axes[1].from + (unsigned)w;
        if (w >= 0) sum += columns[position * row + (size_t)(a * d.axes[1].kernel + b) * d.results + channel + lane];
      }
    }
    tile[i][lane] = sum;
  }
  __syncthreads();
  for (unsigned c = line; c < WARP; c += lines)
    if (channel + c < d.results && first + lane < inner)
      dx[((size_t)blockIdx.z * d.results + channel + c) * inner + first + lane] = tile[lane][c];
}

/* Channels in whole vectors: each thread copies one. blockIdx.y: the tap, z: the image. */
__global__ void unfold_vectors_kernel(Direction d, const uint4 *from, uint4 *to)
{
  unsigned i = pipeline_cuda_index(), vectors = d.wide / VECTOR, n = d.axes[0].to * d.axes[1].to;
  unsigned place = i / vectors, vector = i - place * vectors, tap = blockIdx.y;
  if (place >= n) return;
  int h = find_source(d.axes[0], place / d.axes[1].to, tap / d.axes[1].kernel);
  int w = find_source(d.axes[1], place % d.axes[1].to, tap % d.axes[1].kernel);
  size_t image = (size_t)blockIdx.z * d.axes[0].from;
  uint4 value = make_uint4(0, 0, 0, 0);
  if (h >= 0 && w >= 0) value = from[((image + (unsigned)h) * d.axes[1].from + (unsigned)w) * vectors + vector];
  to[((size_t)blockIdx.z * n + place) * (d.row / VECTOR) + tap * vectors + vector] = value;
}

/* Any number of channels: each thread gathers the elements of one vector of a row. blockIdx.z: the image. */
__global__ void unfold_elements_kernel(Direction d, const __nv_bfloat16 *from, uint4 *to)
{
  unsigned i = pipeline_cuda_index(), vectors = d.row / VECTOR, n = d.axes[0].to * d.axes[1].to;
  unsigned place = i / vectors, k = (i - place * vectors) * VECTOR, taps = d.axes[0].kernel * d.axes[1].kernel;
  if (place >= n) return;
  unsigned row = place / d.axes[1].to, column = place % d.axes[1].to, tap = k / d.channels, channel = k % d.channels;
  size_t image = (size_t)blockIdx.z * d.axes[0].from;
  __nv_bfloat16 values[VECTOR];
  for (unsigned j = 0; j < VECTOR; j++) {
    int h = -1, w = -1;
    if (tap < taps) {
      h = find_source(d.axes[0], row, tap / d.axes[1].kernel);
      w = find_source(d.axes[1], column, tap % d.axes[1].kernel);
    }
    values[j] = h >= 0 && w >= 0 ? from[((image + (unsigned)h) * d.axes[1].from + (unsigned)w) * d.wide + channel]
                                 : __float2bfloat16_rn(0.0f);
    if (++channel == d.channels) {
      channel = 0;
      tap++;
    }
  }
  uint4 packed;
  memcpy(&packed, values, sizeof packed);
  to[((size_t)blockIdx.z * n + place) * vectors + k / VECTOR] = packed;
}

/* to [results, row]: w[result · result_step + channel · channel_step + tap] at tap · channels + channel. */
__global__ void order_weights_kernel(const float *w, __nv_bfloat16 *to, unsigned n, unsigned row, unsigned channels,
                                     unsigned taps, unsigned result_step, unsigned channel_step)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  unsigned result = i / row, k = i - result * row, tap = k / channels, channel = k - tap * channels;
  to[i] =
      __float2bfloat16_rn(tap < taps ? w[(size_t)result * result_step + (size_t)channel * channel_step + tap] : 0.0f);
}

/* The parts of dw added up, always in the same order, and turned to [filters, channels, taps]. */
__global__ void sum_weights_kernel(const float *partial, float *dw, unsigned filters, unsigned row, unsigned channels,
                                   unsigned taps, unsigned parts)
{
  unsigned i = pipeline_cuda_index(), used = channels * taps;
  if (i >= filters * used) return;
  unsigned filter = i / used, k = i - filter * used, tap = k / channels, channel = k - tap * channels;
  float sum = 0;
  for (unsigned part = 0; part < parts; part++) sum += partial[((size_t)part * filters + filter) * row + k];
  dw[((size_t)filter * channels + channel) * taps + tap] = sum;
}

/* --- passes ---------------------------------------------------------------------------------------------------------
 */

static int turn(PipelineCudaDevice *device, const float *from, void *to, const Direction *d, size_t images)
{
  unsigned inner = (unsigned)sources(d);
  dim3 grid(pipeline_cuda_blocks(inner, WARP), pipeline_cuda_blocks(d->wide, CHANNELS), (unsigned)images);
  LAUNCH(turn_narrow_kernel, grid, PIPELINE_CUDA_THREADS, 0, device->stream, from, static_cast<__nv_bfloat162 *>(to),
         d->channels, d->wide, inner);
  return pipeline_cuda_check_launch(device, "round the operand of a convolution to bfloat16");
}

/* The columns of `from` (channels last), which may be itself; NULL: failed. */
static const void *unfold(PipelineCudaDevice *device, const Direction *d, size_t images, const void *from, void *to)
{
  bool whole = d->channels % VECTOR == 0;
  size_t n = places(d) * (whole ? d->wide : d->row) / VECTOR;
  unsigned taps = d->axes[0].kernel * d->axes[1].kernel;
  dim3 grid(pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), whole ? taps : 1, (unsigned)images);
  if (d->direct) return from;
  if (whole)
    LAUNCH(unfold_vectors_kernel, grid, PIPELINE_CUDA_THREADS, 0, device->stream, *d, static_cast<const uint4 *>(from),
           static_cast<uint4 *>(to));
  else
    LAUNCH(unfold_elements_kernel, grid, PIPELINE_CUDA_THREADS, 0, device->stream, *d,
           static_cast<const __nv_bfloat16 *>(from), static_cast<uint4 *>(to));
  return pipeline_cuda_check_launch(device, "unfold the operand of a convolution") ? nullptr : to;
}

/* Filters in whole vectors: for dx [filters, channels taps] is only turned. */
static int order_weights(PipelineCudaDevice *device, const PipelineCudaConvolution *s, const Direction *d, bool back,
                         const float *w, void *to)
{
  unsigned n = d->results * d->row, taps = (unsigned)(s->kernel[0] * s->kernel[1]);
  unsigned filter_step = (unsigned)s->channels * taps;
  dim3 grid(pipeline_cuda_blocks(filter_step, WARP), pipeline_cuda_blocks(d->channels, CHANNELS));
  if (back && d->channels % VECTOR == 0)
    LAUNCH(turn_narrow_kernel, grid, PIPELINE_CUDA_THREADS, 0, device->stream, w, static_cast<__nv_bfloat162 *>(to),
           d->channels, d->channels, filter_step);
  else
    LAUNCH(order_weights_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0,
           device->stream, w, static_cast<__nv_bfloat16 *>(to), n, d->row, d->channels, taps, back ? taps : filter_step,
           back ? filter_step : taps);
  return pipeline_cuda_check_launch(device, "round the weights of a convolution to bfloat16");
}

/* result [images, results, places] = weights [results, row] · columnsᵀ of each image. *added: the bias is in it. */
static int multiply(PipelineCudaDevice *device, const Direction *d, size_t images, const void *weights,
                    const void *columns, const float *bias, float *together, float *result, bool *added)
{
  PipelineCudaGemm gemm = {};
  size_t n = places(d);
  gemm.transpose_b = 1;
  gemm.k = gemm.lda = gemm.ldb = d->row;
  gemm.alpha = 1;
  *added = is_together(d);
  if (!*added) {
    gemm.m = d->results;
    gemm.n = gemm.ldc = n;
    gemm.count = images;
    gemm.stride_b = n * d->row;
    gemm.stride_c = n * d->results;
    return pipeline_cuda_gemm_bfloat16(device, &gemm, weights, columns, result);
  }
  gemm.m = images * n;
  gemm.n = gemm.ldc = d->results;
  gemm.count = 1;
  if (pipeline_cuda_gemm_bfloat16(device, &gemm, columns, weights, together)) return 1;
  dim3 grid(pipeline_cuda_blocks(n, WARP), pipeline_cuda_blocks(d->results, WARP), (unsigned)images);
  LAUNCH(turn_back_kernel, grid, PIPELINE_CUDA_THREADS, 0, device->stream, together, bias, result, d->results,
         (unsigned)n);
  return pipeline_cuda_check_launch(device, "turn the result of a convolution");
}

static size_t rest(const PipelineCudaConvolution *s, const Plan *p, size_t first)
{
  return s->batch - first < p->images ? s->batch - first : p->images;
}

int pipeline_cuda_convolution_columns_forward(PipelineCudaDevice *device, const PipelineCudaConvolution *s,
                                              const float *x, const float *w, const float *bias, float *y, bool *added)
{
  const Plan p = make_plan(s);
  const Direction *d = &p.forward;
  if (pipeline_cuda_provide_workspace(device, p.bytes)) return 1;
  unsigned char *room = static_cast<unsigned char *>(device->workspace);
  float *turned = reinterpret_cast<float *>(room + p.turned);
  if (order_weights(device, s, d, false, w, room)) return 1;
  for (size_t first = 0; first < s->batch; first += p.images) {
    size_t images = rest(s, &p, first);
    if (turn(device, x + first * s->channels * sources(d), room + p.x, d, images)) return 1;
    const void *columns = unfold(device, d, images, room + p.x, room + p.columns);
    if (columns == nullptr ||
        multiply(device, d, images, room, columns, bias, turned, y + first * s->filters * places(d), added))
      return 1;
  }
  return 0;
}

/* The sums of some images for dw, added to those before them. */
static int add_weights(PipelineCudaDevice *device, const Plan *p, size_t images, const void *y, const void *columns,
                       float beta, float *partial)
{
  const Direction *d = &p->forward;
  PipelineCudaGemm gemm = {};
  size_t positions = images * places(d), parts = count_parts(positions, p->parts);
  gemm.transpose_a = 1;
  gemm.m = d->results;
  gemm.n = gemm.ldb = gemm.ldc = d->row;
  gemm.k = positions / parts;
  gemm.lda = p->back.wide;
  gemm.alpha = 1;
  gemm.beta = beta;
  gemm.count = parts;
  gemm.stride_a = gemm.k * gemm.lda;
  gemm.stride_b = gemm.k * gemm.ldb;
  gemm.stride_c = gemm.m * gemm.ldc;
  return pipeline_cuda_gemm_bfloat16(device, &gemm, y, columns, partial);
}

/* columns [positions of dy, row] = dy · weights of the forward pass, folded. */
static int fold(PipelineCudaDevice *device, const Plan *p, size_t images, const void *weights, const void *dy,
                float *columns, float *dx)
{
  const Direction *d = &p->back;
  PipelineCudaGemm gemm = {};
  gemm.m = images * sources(d);
  gemm.n = gemm.ldb = gemm.ldc = p->forward.row;
  gemm.k = d->channels;
  gemm.lda = d->wide;
  gemm.alpha = 1;
  gemm.count = 1;
  if (pipeline_cuda_gemm_bfloat16(device, &gemm, dy, weights, columns)) return 1;
  dim3 grid(pipeline_cuda_blocks(places(d), WARP), pipeline_cuda_blocks(d->results, WARP), (unsigned)images);
  LAUNCH(fold_back_kernel, grid, PIPELINE_CUDA_THREADS, 0, device->stream, *d, p->forward.row, columns, dx);
  return pipeline_cuda_check_launch(device, "differentiate a convolution by its input");
}

static int differentiate_images(PipelineCudaDevice *device, const Plan *p, size_t images, bool is_first, const float *x,
                                const float *dy, float *dx, float *dw)
{
  unsigned char *room = static_cast<unsigned char *>(device->workspace);
  float *sums = reinterpret_cast<float *>(room + p->sums), *turned = reinterpret_cast<float *>(room + p->turned);
  if (turn(device, dy, room + p->y, &p->back, images)) return 1;
  if (dw != nullptr) {
    if (turn(device, x, room + p->x, &p->forward, images)) return 1;
    const void *columns = unfold(device, &p->forward, images, room + p->x, room + p->columns);
    if (columns == nullptr || add_weights(device, p, images, room + p->y, columns, is_first ? 0 : 1, sums)) return 1;
  }
  if (dx == nullptr) return 0;
  if (p->folds) return fold(device, p, images, room, room + p->y, reinterpret_cast<float *>(room + p->columns), dx);
  bool added;
  const void *columns = unfold(device, &p->back, images, room + p->y, room + p->columns);
  return columns == nullptr || multiply(device, &p->back, images, room, columns, nullptr, turned, dx, &added);
}

/* One part in whole vectors is only turned: [taps, channels] of each filter. */
static int sum_weights(PipelineCudaDevice *device, const Plan *p, const float *partial, float *dw)
{
  const Direction *d = &p->forward;
  unsigned taps = d->axes[0].kernel * d->axes[1].kernel, n = d->results * d->channels * taps;
  dim3 grid(pipeline_cuda_blocks(taps, WARP), pipeline_cuda_blocks(d->channels, WARP), d->results);
  if (p->parts == 1 && d->channels % VECTOR == 0 && d->results <= MAX_GRID)
    LAUNCH(turn_back_kernel, grid, PIPELINE_CUDA_THREADS, 0, device->stream, partial,
           static_cast<const float *>(nullptr), dw, d->channels, taps);
  else
    LAUNCH(sum_weights_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream,
           partial, dw, d->results, d->row, d->channels, taps, (unsigned)p->parts);
  return pipeline_cuda_check_launch(device, "differentiate a convolution by its weights");
}

int pipeline_cuda_convolution_columns_backward(PipelineCudaDevice *device, const PipelineCudaConvolution *s,
                                               const float *x, const float *w, const float *dy, float *dx, float *dw)
{
  const Plan p = make_plan(s);
  const Direction *d = &p.forward;
  if (pipeline_cuda_provide_workspace(device, p.bytes)) return 1;
  unsigned char *room = static_cast<unsigned char *>(device->workspace);
  if (dx != nullptr && order_weights(device, s, p.folds ? &p.forward : &p.back, !p.folds, w, room)) return 1;
  for (size_t first = 0; first < s->batch; first += p.images) {
    size_t of_x = first * s->channels * sources(d), of_y = first * s->filters * places(d);
    if (differentiate_images(device, &p, rest(s, &p, first), first == 0, x + of_x, dy + of_y,
                             dx != nullptr ? dx + of_x : nullptr, dw))
      return 1;
  }
  return dw != nullptr ? sum_weights(device, &p, reinterpret_cast<const float *>(room + p.sums), dw) : 0;
}
