/* BatchNormalization and LayerNormalization: the formulas of pipeline/gradient_normalization.c. The running variance is
 * the population's, as ONNX defines. Sums run in double, always in the same order. */
#include "pipeline/cuda/device_internal.h"

#define STATISTICS_THREADS 256u

/* --- BatchNormalization
 * ------------------------------------------------------------------------------------------------ */

/* Two sums over the elements of a channel, in `parts` pieces: sums [channels, parts, 2]. Of x and x² (dy NULL), or of
 * dy and dy x̂. */
__global__ void channel_sums_kernel(PipelineCudaBatchNorm shape, const float *x, const float *kept, const float *dy,
                                    double *sums)
{
  __shared__ double shared[32];
  unsigned channel = blockIdx.x, n = (unsigned)(shape.batch * shape.inner), inner = (unsigned)shape.inner;
  float mean = kept != nullptr ? kept[channel] : 0.0f,
        inverse = kept != nullptr ? kept[shape.channels + channel] : 0.0f;
  double first = 0, second = 0;
  for (unsigned i = blockIdx.y * blockDim.x + threadIdx.x; i < n; i += gridDim.y * blockDim.x) {
    unsigned sample = i / inner;
    size_t at = ((size_t)sample * shape.channels + channel) * inner + (i - sample * inner);
    double value = (double)x[at];
    if (dy == nullptr) {
      first += value;
      second += value * value;
    } else {
      first += (double)dy[at];
      second += (double)dy[at] * (double)((x[at] - mean) * inverse);
    }
  }
  first = pipeline_cuda_block_sum(first, shared);
  second = pipeline_cuda_block_sum(second, shared);
  if (threadIdx.x > 0) return;
  sums[((size_t)channel * gridDim.y + blockIdx.y) * 2] = first;
  sums[((size_t)channel * gridDim.y + blockIdx.y) * 2 + 1] = second;
}

static __device__ __forceinline__ void add_parts(const double *sums, unsigned channel, unsigned parts, double *first,
                                                 double *second)
{
  *first = *second = 0;
  for (unsigned i = 0; i < parts; i++) {
    *first += sums[((size_t)channel * parts + i) * 2];
    *second += sums[((size_t)channel * parts + i) * 2 + 1];
  }
}

__global__ void channel_statistics_kernel(PipelineCudaBatchNorm shape, unsigned parts, const double *sums,
                                          float *running_mean, float *running_variance, float *kept)
{
  unsigned channel = pipeline_cuda_index();
  if (channel >= shape.channels) return;
  double mean = (double)running_mean[channel], variance = (double)running_variance[channel];
  if (shape.batch_wise) {
    double n = (double)(shape.batch * shape.inner), sum, squares, momentum = (double)shape.momentum;
    add_parts(sums, channel, parts, &sum, &squares);
    mean = sum / n;
    variance = fmax(squares / n - mean * mean, 0.0);
    running_mean[channel] = (float)(momentum * (double)running_mean[channel] + (1 - momentum) * mean);
    running_variance[channel] = (float)(momentum * (double)running_variance[channel] + (1 - momentum) * variance);
  }
  kept[channel] = (float)mean;
  kept[shape.channels + channel] = (float)(1 / sqrt(variance + (double)shape.epsilon));
}

__global__ void normalise_channels_kernel(PipelineCudaBatchNorm shape, unsigned n, const float *x, const float *scale,
                                          const float *bias, const float *kept, float *y)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  unsigned channel = i / (unsigned)shape.inner % (unsigned)shape.channels;
  y[i] = (x[i] - kept[channel]) * kept[shape.channels + channel] * scale[channel] + bias[channel];
}

/* The same for wide planes [inner] of a channel in a sample: a block a stretch of one, no division an element. */
#define PLANE_THREADS 128u
#define PLANE_STRETCH (8u * PLANE_THREADS)

static bool has_planes(const PipelineCudaBatchNorm *shape)
{
  return shape->inner >= PLANE_THREADS / 2;
}

static dim3 plane_grid(const PipelineCudaBatchNorm *shape)
{
  return dim3((unsigned)(shape->batch * shape->channels), pipeline_cuda_blocks(shape->inner, PLANE_STRETCH));
}

__global__ void normalise_planes_kernel(PipelineCudaBatchNorm shape, const float *x, const float *scale,
                                        const float *bias, const float *kept, float *y)
{
  unsigned channel = blockIdx.x % (unsigned)shape.channels, end = (blockIdx.y + 1) * PLANE_STRETCH;
  size_t start = (size_t)blockIdx.x * shape.inner;
  float mean = kept[channel], factor = kept[shape.channels + channel] * scale[channel], shift = bias[channel];
  if (end > shape.inner) end = (unsigned)shape.inner;
  for (unsigned i = blockIdx.y * PLANE_STRETCH + threadIdx.x; i < end; i += PLANE_THREADS)
    y[start + i] = (x[start + i] - mean) * factor + shift;
}

__global__ void differentiate_planes_kernel(PipelineCudaBatchNorm shape, const float *x, const float *scale,
                                            const float *kept, const float *sums, const float *dy, float *dx)
{
  unsigned channel = blockIdx.x % (unsigned)shape.channels, end = (blockIdx.y + 1) * PLANE_STRETCH;
  size_t start = (size_t)blockIdx.x * shape.inner;
  float mean = kept[channel], inverse = kept[shape.channels + channel], factor = scale[channel] * inverse;
  float count = (float)(shape.batch * shape.inner), sum = 0, product = 0;
  if (shape.batch_wise) {
    sum = sums[channel] / count;
    product = sums[shape.channels + channel] / count;
  }
  if (end > shape.inner) end = (unsigned)shape.inner;
  for (unsigned i = blockIdx.y * PLANE_STRETCH + threadIdx.x; i < end; i += PLANE_THREADS)
    dx[start + i] = factor * (dy[start + i] - sum - (x[start + i] - mean) * inverse * product);
}

/* Pieces of a channel so that all multiprocessors have work, and the partial sums fit the scratch memory. */
static unsigned count_parts(const PipelineCudaDevice *device, const PipelineCudaBatchNorm *shape)
{
  size_t n = shape->batch * shape->inner, most = PIPELINE_CUDA_SCRATCH / (shape->channels * 2 * sizeof(double));
  size_t wanted = (4 * (size_t)device->multiprocessors + shape->channels - 1) / shape->channels;
  size_t useful = (n + 4 * STATISTICS_THREADS - 1) / (4 * STATISTICS_THREADS);
  size_t parts = wanted < useful ? wanted : useful;
  parts = parts < most ? parts : most;
  return parts > 0 ? (unsigned)parts : 1;
}

int pipeline_cuda_batch_norm(PipelineCudaDevice *device, const PipelineCudaBatchNorm *shape, const float *x,
                             const float *scale, const float *bias, float *running_mean, float *running_variance,
                             float *kept, float *y)
{
  size_t n = shape->batch * shape->channels * shape->inner;
  double *sums = static_cast<double *>(device->scratch);
  unsigned parts = count_parts(device, shape);
  if (shape->channels * 2 * sizeof(double) > PIPELINE_CUDA_SCRATCH)
    return pipeline_cuda_fail(device, "normalise so many channels", "more than 524288");
  if (shape->batch_wise && n > 0) {
    dim3 grid((unsigned)shape->channels, parts);
    LAUNCH(channel_sums_kernel, grid, STATISTICS_THREADS, 0, device->stream, *shape, x, nullptr, nullptr, sums);
  }
  if (shape->channels > 0)
    LAUNCH(channel_statistics_kernel, pipeline_cuda_blocks(shape->channels, 128), 128, 0, device->stream, *shape, parts,
           sums, running_mean, running_variance, kept);
  if (n > 0 && has_planes(shape))
    LAUNCH(normalise_planes_kernel, plane_grid(shape), PLANE_THREADS, 0, device->stream, *shape, x, scale, bias, kept,
           y);
  else if (n > 0)
    LAUNCH(normalise_channels_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0,
           device->stream, *shape, (unsigned)n, x, scale, bias, kept, y);
  return pipeline_cuda_check_launch(device, "normalise a batch");
}

__global__ void channel_gradients_kernel(PipelineCudaBatchNorm shape, unsigned parts, const double *partial,
                                         float *sums, float *dscale, float *dbias)
{
  unsigned channel = pipeline_cuda_index();
  double sum, product;
  if (channel >= shape.channels) return;
  add_parts(partial, channel, parts, &sum, &product);
  sums[channel] = (float)sum;
  sums[shape.channels + channel] = (float)product;
  if (dscale != nullptr) dscale[channel] = (float)product;
  if (dbias != nullptr) dbias[channel] = (float)sum;
}

__global__ void differentiate_channels_kernel(PipelineCudaBatchNorm shape, unsigned n, const float *x,
                                              const float *scale, const float *kept, const float *sums, const float *dy,
                                              float *dx)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  unsigned channel = i / (unsigned)shape.inner % (unsigned)shape.channels;
  float inverse = kept[shape.channels + channel], normal = (x[i] - kept[channel]) * inverse, mean = 0;
  if (shape.batch_wise)
    mean = (sums[channel] + normal * sums[shape.channels + channel]) / (float)(shape.batch * shape.inner);
  dx[i] = scale[channel] * inverse * (dy[i] - mean);
}

int pipeline_cuda_batch_norm_backward(PipelineCudaDevice *device, const PipelineCudaBatchNorm *shape, const float *x,
                                      const float *scale, const float *kept, const float *dy, float *sums, float *dx,
                                      float *dscale, float *dbias)
{
  size_t n = shape->batch * shape->channels * shape->inner;
  double *partial = static_cast<double *>(device->scratch);
  unsigned parts = count_parts(device, shape);
  if (shape->channels == 0) return 0;
  dim3 grid((unsigned)shape->channels, parts);
  LAUNCH(channel_sums_kernel, grid, STATISTICS_THREADS, 0, device->stream, *shape, x, kept, dy, partial);
  LAUNCH(channel_gradients_kernel, pipeline_cuda_blocks(shape->channels, 128), 128, 0, device->stream, *shape, parts,
         partial, sums, dscale, dbias);
  if (dx != nullptr && n > 0 && has_planes(shape))
    LAUNCH(differentiate_planes_kernel, plane_grid(shape), PLANE_THREADS, 0, device->stream, *shape, x, scale, kept,
           sums, dy, dx);
  else if (dx != nullptr && n > 0)
    LAUNCH(differentiate_channels_kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0,
           device->stream, *shape, (unsigned)n, x, scale, kept, sums, dy, dx);
  return pipeline_cuda_check_launch(device, "differentiate a batch normalisation");
}

/* --- LayerNormalization: a block a row
 * --------------------------------------------------------------------------------- */

#define ROW_THREADS 128u

__global__ void layer_norm_kernel(unsigned rows, unsigned width, float epsilon, const float *x, const float *scale,
                                  const float *bias, float *kept, float *y)
{
  __shared__ double shared[32];
  unsigned row = blockIdx.x;
  size_t start = (size_t)row * width;
  double sum = 0, squares = 0;
  for (unsigned i = threadIdx.x; i < width; i += blockDim.x) sum += (double)x[start + i];
  double mean = pipeline_cuda_block_sum(sum, shared) / width;
  for (unsigned i = threadIdx.x; i < width; i += blockDim.x) {
    double difference = (double)x[start + i] - mean;
    squares += difference * difference;
  }
  double inverse = 1 / sqrt(pipeline_cuda_block_sum(squares, shared) / width + (double)epsilon);
  for (unsigned i = threadIdx.x; i < width; i += blockDim.x)
    y[start + i] = (float)(((double)x[start + i] - mean) * inverse) * scale[i] + (bias != nullptr ? bias[i] : 0.0f);
  if (threadIdx.x > 0) return;
  kept[row] = (float)mean;
  kept[rows + row] = (float)inverse;
}

int pipeline_cuda_layer_norm(PipelineCudaDevice *device, size_t rows, size_t width, float epsilon, const float *x,
                             const float *scale, const float *bias, float *kept, float *y)
{
  if (rows * width == 0) return 0;
  LAUNCH(layer_norm_kernel, (unsigned)rows, ROW_THREADS, 0, device->stream, (unsigned)rows, (unsigned)width, epsilon, x,
         scale, bias, kept, y);
  return pipeline_cuda_check_launch(device, "normalise a layer");
}

__global__ void layer_norm_backward_kernel(unsigned rows, unsigned width, const float *x, const float *scale,
                                           const float *kept, const float *dy, float *dx)
{
  __shared__ double shared[32];
  unsigned row = blockIdx.x;
  size_t start = (size_t)row * width;
  float mean = kept[row], inverse = kept[rows + row];
  double sum = 0, product = 0;
  for (unsigned i = threadIdx.x; i < width; i += blockDim.x) {
    double g = (double)dy[start + i] * (double)scale[i];
    sum += g;
    product += g * (double)((x[start + i] - mean) * inverse);
  }
  sum = pipeline_cuda_block_sum(sum, shared);
  product = pipeline_cuda_block_sum(product, shared);
  for (unsigned i = threadIdx.x; i < width; i += blockDim.x) {
    double g = (double)dy[start + i] * (double)scale[i], normal = (double)((x[start + i] - mean) * inverse);
    dx[start + i] = (float)((double)inverse * (g - (sum + normal * product) / width));
  }
}

/* Over rows, `stretch` of them by blockIdx.y: 32 columns a block. sums [parts, 2, width]. */
__global__ void layer_norm_weights_kernel(unsigned rows, unsigned width, unsigned stretch, const float *x,
                                          const float *kept, const float *dy, double *partial)
{
  __shared__ double products[8][33], sums[8][33];
  unsigned column = blockIdx.x * 32 + threadIdx.x, end = (blockIdx.y + 1) * stretch;
  double product = 0, sum = 0;
  if (end > rows) end = rows;
  for (unsigned row = blockIdx.y * stretch + threadIdx.y; column < width && row < end; row += 8) {
    size_t at = (size_t)row * width + column;
    product += (double)dy[at] * (double)((x[at] - kept[row]) * kept[rows + row]);
    sum += (double)dy[at];
  }
  products[threadIdx.y][threadIdx.x] = product;
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= width) return;
  for (unsigned i = 1; i < 8; i++) {
    product += products[i][threadIdx.x];
    sum += sums[i][threadIdx.x];
  }
  partial[(size_t)(2 * blockIdx.y) * width + column] = product;
  partial[(size_t)(2 * blockIdx.y + 1) * width + column] = sum;
}

__global__ void layer_norm_parts_kernel(unsigned width, unsigned parts, const double *partial, float *dscale,
                                        float *dbias)
{
  unsigned column = pipeline_cuda_index();
  double product = 0, sum = 0;
  if (column >= width) return;
  for (unsigned part = 0; part < parts; part++) {
    product += partial[(size_t)(2 * part) * width + column];
    sum += partial[(size_t)(2 * part + 1) * width + column];
  }
  if (dscale != nullptr) dscale[column] = (float)product;
  if (dbias != nullptr) dbias[column] = (float)sum;
}

static unsigned count_row_parts(const PipelineCudaDevice *device, size_t rows, size_t width)
{
  size_t blocks = pipeline_cuda_blocks(width, 32), wanted = 4 * (size_t)device->multiprocessors / blocks;
  size_t useful = (rows + 31) / 32, most = PIPELINE_CUDA_SCRATCH / (2 * width * sizeof(double));
  size_t parts = wanted < useful ? wanted : useful;
  parts = parts < most ? parts : most;
  return parts > 0 ? (unsigned)parts : 1;
}

int pipeline_cuda_layer_norm_backward(PipelineCudaDevice *device, size_t rows, size_t width, const float *x,
                                      const float *scale, const float *kept, const float *dy, float *dx, float *dscale,
                                      float *dbias)
{
  if (width == 0) return 0;
  if (dx != nullptr && rows > 0)
    LAUNCH(layer_norm_backward_kernel, (unsigned)rows, ROW_THREADS, 0, device->stream, (unsigned)rows, (unsigned)width,
           x, scale, kept, dy, dx);
  if (2 * width * sizeof(double) > PIPELINE_CUDA_SCRATCH)
    return pipeline_cuda_fail(device, "differentiate so wide a layer normalisation", "more than 524288");
  if (dscale != nullptr || dbias != nullptr) {
    unsigned parts = count_row_parts(device, rows, width), stretch = pipeline_cuda_blocks(rows, parts);
    double *partial = static_cast<double *>(device->scratch);
    dim3 grid(pipeline_cuda_blocks(width, 32), parts), block(32, 8);
    LAUNCH(layer_norm_weights_kernel, grid, block, 0, device->stream, (unsigned)rows, (unsigned)width, stretch, x, kept,
           dy, partial);
    LAUNCH(layer_norm_parts_kernel, pipeline_cuda_blocks(width, 64), 64, 0, device->stream, (unsigned)width, parts,
           partial, dscale, dbias);
  }
  return pipeline_cuda_check_launch(device, "differentiate a layer normalisation");
}
