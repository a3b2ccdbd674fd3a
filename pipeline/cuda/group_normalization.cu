/* InstanceNormalization and GroupNormalization: pipeline/gradient_group_normalization.c. A line is what shares its
 * statistics: a group of channels in one sample. Sums run in double, always in the same order. */
#include "pipeline/cuda/device_internal.h"

#define LINE_THREADS 256u

/* The shape in 32 bits, which devices divide faster: a tensor has fewer than 2³¹ elements. */
typedef struct {
  unsigned batch, groups, each, width;
  float epsilon;
} Groups;

static Groups narrow(const PipelineCudaGroupNorm *shape)
{
  return Groups{(unsigned)shape->batch, (unsigned)shape->groups, (unsigned)shape->each, (unsigned)shape->width,
                shape->epsilon};
}

/* A block a line. kept [2, lines]. */
__global__ void group_norm_kernel(Groups shape, const float *x, const float *scale, const float *bias, float *kept,
                                  float *y)
{
  __shared__ double shared[32];
  unsigned line = blockIdx.x, n = shape.each * shape.width, first = line % shape.groups * shape.each;
  size_t start = (size_t)line * n;
  double sum = 0, squares = 0;
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) sum += (double)x[start + i];
  double mean = pipeline_cuda_block_sum(sum, shared) / n;
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
    double difference = (double)x[start + i] - mean;
    squares += difference * difference;
  }
  double inverse = 1 / sqrt(pipeline_cuda_block_sum(squares, shared) / n + (double)shape.epsilon);
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
    unsigned weight = first + i / shape.width;
    y[start + i] = (float)(((double)x[start + i] - mean) * inverse) * scale[weight] + bias[weight];
  }
  if (threadIdx.x > 0) return;
  kept[line] = (float)mean;
  kept[shape.batch * shape.groups + line] = (float)inverse;
}

int pipeline_cuda_group_norm(PipelineCudaDevice *device, const PipelineCudaGroupNorm *shape, const float *x,
                             const float *scale, const float *bias, float *kept, float *y)
{
  if (shape->batch * shape->groups * shape->each * shape->width == 0) return 0;
  LAUNCH(group_norm_kernel, (unsigned)(shape->batch * shape->groups), LINE_THREADS, 0, device->stream, narrow(shape), x,
         scale, bias, kept, y);
  return pipeline_cuda_check_launch(device, "normalise groups");
}

__global__ void group_norm_backward_kernel(Groups shape, const float *x, const float *scale, const float *kept,
                                           const float *dy, float *dx)
{
  __shared__ double shared[32];
  unsigned line = blockIdx.x, n = shape.each * shape.width, first = line % shape.groups * shape.each;
  size_t start = (size_t)line * n;
  float mean = kept[line], inverse = kept[shape.batch * shape.groups + line];
  double sum = 0, product = 0;
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
    double g = (double)dy[start + i] * (double)scale[first + i / shape.width];
    sum += g;
    product += g * (double)((x[start + i] - mean) * inverse);
  }
  sum = pipeline_cuda_block_sum(sum, shared);
  product = pipeline_cuda_block_sum(product, shared);
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
    double g = (double)dy[start + i] * (double)scale[first + i / shape.width];
    double normal = (double)((x[start + i] - mean) * inverse);
    dx[start + i] = (float)((double)inverse * (g - (sum + normal * product) / n));
  }
}

/* A block a weight: over all samples, `width` elements in each. */
__global__ void group_norm_weights_kernel(Groups shape, const float *x, const float *kept, const float *dy,
                                          float *dscale, float *dbias)
{
  __shared__ double shared[32];
  unsigned weight = blockIdx.x, weights = shape.groups * shape.each, n = shape.batch * shape.width;
  double product = 0, sum = 0;
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
    unsigned sample = i / shape.width, line = sample * shape.groups + weight / shape.each;
    size_t at = ((size_t)sample * weights + weight) * shape.width + (i - sample * shape.width);
    product += (double)dy[at] * (double)((x[at] - kept[line]) * kept[shape.batch * shape.groups + line]);
    sum += (double)dy[at];
  }
  product = pipeline_cuda_block_sum(product, shared);
  sum = pipeline_cuda_block_sum(sum, shared);
  if (threadIdx.x > 0) return;
  if (dscale != nullptr) dscale[weight] = (float)product;
  if (dbias != nullptr) dbias[weight] = (float)sum;
}

int pipeline_cuda_group_norm_backward(PipelineCudaDevice *device, const PipelineCudaGroupNorm *shape, const float *x,
                                      const float *scale, const float *kept, const float *dy, float *dx, float *dscale,
                                      float *dbias)
{
  size_t weights = shape->groups * shape->each;
  if (dx != nullptr && shape->batch * weights * shape->width > 0)
    LAUNCH(group_norm_backward_kernel, (unsigned)(shape->batch * shape->groups), LINE_THREADS, 0, device->stream,
           narrow(shape), x, scale, kept, dy, dx);
  if ((dscale != nullptr || dbias != nullptr) && weights > 0)
    LAUNCH(group_norm_weights_kernel, (unsigned)weights, LINE_THREADS, 0, device->stream, narrow(shape), x, kept, dy,
           dscale, dbias);
  return pipeline_cuda_check_launch(device, "differentiate a normalisation of groups");
}
