/* Losses (pipeline/graph_loss.c) and optimisers (pipeline/graph_optimiser.c). Losses run in double. */
#include "pipeline/cuda/device_internal.h"

/* --- losses: a warp a row -------------------------------------------------------------------------------------------
 */

#define LOSS_WARPS 8u

/* In each: lanes share the width; the gradient is of the row's loss, times `factor`; every lane returns the loss. */
#define LOSS(name)                                                                                                     \
  struct name##_loss {                                                                                                 \
    static __device__ double row(const PipelineCudaLoss &o, const float *x, const float *targets, unsigned lane,       \
                                 double factor, float *gradient);                                                      \
  };                                                                                                                   \
  __device__ double name##_loss::row(const PipelineCudaLoss &o, const float *x, const float *targets, unsigned lane,   \
                                     double factor, float *gradient)

static __device__ double log_sum_exp(const float *x, unsigned width, unsigned lane)
{
  float highest = -INFINITY;
  double sum = 0;
  for (unsigned i = lane; i < width; i += 32) highest = fmaxf(highest, x[i]);
  highest = pipeline_cuda_warp_max(highest);
  for (unsigned i = lane; i < width; i += 32) sum += exp((double)x[i] - (double)highest);
  return (double)highest + log(pipeline_cuda_warp_sum(sum));
}

LOSS(cross_entropy)
{
  unsigned width = (unsigned)o.width, target = (unsigned)targets[0];
  double total = log_sum_exp(x, width, lane), loss = 0, spread = o.label_smoothing / width;
  for (unsigned i = lane; i < width; i += 32) {
    double wanted = spread + (i == target ? 1 - o.label_smoothing : 0), log_p = (double)x[i] - total;
    if (wanted > 0) loss -= wanted * log_p;
    gradient[i] = (float)(factor * (exp(log_p) - wanted));
  }
  return pipeline_cuda_warp_sum(loss);
}

LOSS(focal)
{
  unsigned width = (unsigned)o.width, target = (unsigned)targets[0];
  double total = log_sum_exp(x, width, lane), log_p = (double)x[target] - total, p = exp(log_p);
  double rest = fmax(1 - p, 0.0), gamma = o.focal_gamma, power = pow(rest, gamma);
  double slope = (gamma > 0 && rest > 0 ? gamma * pow(rest, gamma - 1) * p * log_p : 0) - power;
  for (unsigned i = lane; i < width; i += 32)
    gradient[i] = (float)(factor * slope * ((i == target ? 1 : 0) - exp((double)x[i] - total)));
  return -power * log_p;
}

LOSS(binary)
{
  unsigned width = (unsigned)o.width;
  double loss = 0;
  for (unsigned i = lane; i < width; i += 32) {
    double value = (double)x[i], y = (double)targets[i] * (1 - o.label_smoothing) + o.label_smoothing / 2;
    double weight = (o.class_weights != nullptr ? (double)o.class_weights[i] : 1) / width;
    loss += weight * (fmax(value, 0.0) - value * y + log1p(exp(-fabs(value))));
    gradient[i] = (float)(factor * weight * (1 / (1 + exp(-value)) - y));
  }
  return pipeline_cuda_warp_sum(loss);
}

LOSS(squared)
{
  unsigned width = (unsigned)o.width;
  double loss = 0;
  for (unsigned i = lane; i < width; i += 32) {
    double d = ((double)x[i] - (double)targets[i]) / o.target_scale;
    loss += d * d / width;
    gradient[i] = (float)(factor * 2 * d / o.target_scale / width);
  }
  return pipeline_cuda_warp_sum(loss);
}

LOSS(huber)
{
  unsigned width = (unsigned)o.width;
  double loss = 0, delta = o.huber_delta;
  for (unsigned i = lane; i < width; i += 32) {
    double d = ((double)x[i] - (double)targets[i]) / o.target_scale, size = fabs(d);
    loss += (size <= delta ? d * d / 2 : delta * (size - delta / 2)) / width;
    gradient[i] = (float)(factor * fmin(fmax(d, -delta), delta) / o.target_scale / width);
  }
  return pipeline_cuda_warp_sum(loss);
}

LOSS(quantile)
{
  unsigned width = (unsigned)o.width;
  double loss = 0;
  for (unsigned i = lane; i < width; i += 32) {
    double tau = o.quantiles != nullptr ? (double)o.quantiles[i] : 0.5;
    double d = ((double)targets[0] - (double)x[i]) / o.target_scale;
    loss += (d > 0 ? tau * d : (tau - 1) * d) / width;
    gradient[i] = (float)(factor * (d > 0 ? -tau : 1 - tau) / o.target_scale / width);
  }
  return pipeline_cuda_warp_sum(loss);
}

static __device__ __forceinline__ double weight_of_row(const PipelineCudaLoss &o, const float *targets, unsigned row)
{
  double weight = o.row_weights != nullptr ? (double)o.row_weights[row] : 1;
  if (o.class_weights == nullptr || (o.kind != PIPELINE_CUDA_CROSS_ENTROPY && o.kind != PIPELINE_CUDA_FOCAL))
    return weight;
  return weight * (double)o.class_weights[(unsigned)targets[(size_t)row * o.n_targets + o.first_target]];
}

/* losses [n + 1]: of each row, times its share; the last element is the sum of weights, which the kernel before left
 * (0: each row has the same). */
template <class Loss>
__global__ void loss_kernel(PipelineCudaLoss o, const float *outputs, const float *targets, float *gradient,
                            double *losses, const double *scaling)
{
  unsigned row = blockIdx.x * LOSS_WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= o.n) return; /* the whole warp */
  bool weighted = o.row_weights != nullptr || o.class_weights != nullptr;
  double sum = weighted ? losses[o.n] : (double)o.n;
  double share = o.weight * (sum > 0 ? weight_of_row(o, targets, row) / sum : 0);
  double loss = Loss::row(o, outputs + (size_t)row * o.width, targets + (size_t)row * o.n_targets + o.first_target,
                          lane, o.scaled ? share * scaling[0] : share, gradient + (size_t)row * o.width);
  if (lane == 0) losses[row] = share * loss;
}

__global__ void loss_weights_kernel(PipelineCudaLoss o, const float *targets, double *losses)
{
  __shared__ double parts[32];
  double sum = 0;
  for (unsigned row = threadIdx.x; row < o.n; row += blockDim.x) sum += weight_of_row(o, targets, row);
  sum = pipeline_cuda_block_sum(sum, parts);
  if (threadIdx.x == 0) losses[o.n] = sum;
}

__global__ void loss_total_kernel(unsigned n, int add, const double *losses, const PipelineCudaStep *step,
                                  double *results)
{
  __shared__ double parts[32];
  double sum = 0;
  for (unsigned row = threadIdx.x; row < n; row += blockDim.x) sum += losses[row];
  sum = pipeline_cuda_block_sum(sum, parts);
  double *result = results + 2 * step->slot;
  if (threadIdx.x == 0) *result = add ? *result + sum : sum;
}

typedef void (*LossKernel)(PipelineCudaLoss, const float *, const float *, float *, double *, const double *);
static const LossKernel loss_kernels[PIPELINE_CUDA_N_LOSSES] = {
    loss_kernel<cross_entropy_loss>, loss_kernel<focal_loss>, loss_kernel<binary_loss>,
    loss_kernel<squared_loss>,       loss_kernel<huber_loss>, loss_kernel<quantile_loss>};

int pipeline_cuda_loss(PipelineCudaDevice *device, const PipelineCudaLoss *loss, const float *outputs,
                       const float *targets, float *gradient)
{
  double *losses = static_cast<double *>(device->scratch);
  if (loss->n == 0) return 0;
  if ((loss->n + 1) * sizeof(double) > PIPELINE_CUDA_SCRATCH)
    return pipeline_cuda_fail(device, "compute the loss of so many rows", "more than 1048575");
  if (loss->row_weights != nullptr || loss->class_weights != nullptr)
    LAUNCH(loss_weights_kernel, 1, 256, 0, device->stream, *loss, targets, losses);
  LossKernel kernel = loss_kernels[loss->kind];
  LAUNCH(kernel, pipeline_cuda_blocks(loss->n, LOSS_WARPS), 32 * LOSS_WARPS, 0, device->stream, *loss, outputs, targets,
         gradient, losses, device->scaling);
  LAUNCH(loss_total_kernel, 1, 256, 0, device->stream, (unsigned)loss->n, loss->add, losses, device->step,
         device->results);
  return pipeline_cuda_check_launch(device, "compute a loss");
}

/* --- optimisers -----------------------------------------------------------------------------------------------------
 */

__global__ void norm_kernel(const float *g, unsigned n, double *parts)
{
  __shared__ double shared[32];
  double sum = 0;
  for (unsigned i = pipeline_cuda_index(); i < n; i += gridDim.x * blockDim.x) sum += (double)g[i] * (double)g[i];
  sum = pipeline_cuda_block_sum(sum, shared);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

/* One step for one weight; slope: of loss and penalties. */
#define STEP(name)                                                                                                     \
  struct name##_step {                                                                                                 \
    static __device__ __forceinline__ void apply(const PipelineCudaUpdate &u, const PipelineCudaStep &s, unsigned i,   \
                                                 float slope);                                                         \
  };                                                                                                                   \
  __device__ __forceinline__ void name##_step::apply(const PipelineCudaUpdate &u, const PipelineCudaStep &s,           \
                                                     unsigned i, float slope)

STEP(sgd)
{
  u.w[i] -= s.rate * slope;
}

STEP(momentum)
{
  u.m[i] = u.momentum * u.m[i] + slope;
  u.w[i] -= s.rate * u.m[i];
}

STEP(nesterov)
{
  u.m[i] = u.momentum * u.m[i] + slope;
  u.w[i] -= s.rate * (slope + u.momentum * u.m[i]);
}

STEP(rmsprop)
{
  u.m[i] = u.beta_2 * u.m[i] + (1 - u.beta_2) * slope * slope;
  u.w[i] -= s.rate * slope / (sqrtf(u.m[i]) + u.epsilon);
}

STEP(adam)
{
  float m = u.beta_1 * u.m[i] + (1 - u.beta_1) * slope, v = u.beta_2 * u.v[i] + (1 - u.beta_2) * slope * slope;
  u.m[i] = m;
  u.v[i] = v;
  u.w[i] -= s.size * m / (sqrtf(v) * s.root + u.epsilon);
}

STEP(adamw)
{
  if (u.decays[i]) u.w[i] *= s.kept;
  adam_step::apply(u, s, i, slope);
}

static __device__ __forceinline__ bool is_finite(double x)
{
  return x - x == 0;
}

/* Every block adds up the same partial sums of the norm. What is not finite changes nothing: the host stops then. */
template <class Step>
__global__ void update_kernel(PipelineCudaUpdate u, const PipelineCudaStep *step, const double *parts, unsigned n_parts,
                              const double *scaling, double *results)
{
  __shared__ double shared[32];
  double sum = 0;
  for (unsigned i = threadIdx.x; i < n_parts; i += blockDim.x) sum += parts[i];
  double scale = u.growth_steps > 0 ? scaling[0] : 1;
  double norm = sqrt(pipeline_cuda_block_sum(sum, shared)) / scale, *result = results + 2 * step->slot;
  const PipelineCudaStep s = *step;
  unsigned i = pipeline_cuda_index();
  if (i == 0) result[1] = norm;
  if (i >= u.n || !is_finite(norm) || !is_finite(result[0])) return;
  float g = u.g[i] * (float)(1 / scale), w = u.w[i];
  if (u.clip_norm > 0 && norm > (double)u.clip_norm) g *= (float)((double)u.clip_norm / norm);
  if (u.clip_value > 0) g = fminf(fmaxf(g, -u.clip_value), u.clip_value);
  if (u.decays[i] && (u.l1 != 0 || u.l2 != 0)) g += u.l1 * (w > 0 ? 1.0f : (w < 0 ? -1.0f : 0.0f)) + u.l2 * w;
  Step::apply(u, s, i, g);
}

/* What becomes of the scale (device.h): after all blocks of the step have read it. */
__global__ void scale_kernel(uint32_t growth_steps, const PipelineCudaStep *step, const double *results,
                             double *scaling)
{
  double steps = scaling[1] + 1;
  if (!is_finite(results[2 * step->slot + 1])) {
    scaling[0] = fmax(scaling[0] / 2, PIPELINE_CUDA_SCALE_LEAST);
    steps = 0;
  } else if (steps >= (double)growth_steps) {
    scaling[0] = fmin(scaling[0] * 2, PIPELINE_CUDA_SCALE_MOST);
    steps = 0;
  }
  scaling[1] = steps;
}

typedef void (*UpdateKernel)(PipelineCudaUpdate, const PipelineCudaStep *, const double *, unsigned, const double *,
                             double *);
static const UpdateKernel update_kernels[PIPELINE_CUDA_N_OPTIMISERS] = {
    update_kernel<sgd_step>,     update_kernel<momentum_step>, update_kernel<nesterov_step>,
    update_kernel<rmsprop_step>, update_kernel<adam_step>,     update_kernel<adamw_step>};

int pipeline_cuda_update(PipelineCudaDevice *device, const PipelineCudaUpdate *update)
{
  double *parts = static_cast<double *>(device->scratch);
  if (update->n == 0) return 0;
  unsigned wanted = pipeline_cuda_blocks(update->n, 4 * PIPELINE_CUDA_THREADS);
  unsigned n_parts = wanted < PIPELINE_CUDA_MAX_PARTS ? wanted : PIPELINE_CUDA_MAX_PARTS;
  UpdateKernel kernel = update_kernels[update->kind];
  LAUNCH(norm_kernel, n_parts, PIPELINE_CUDA_THREADS, 0, device->stream, update->g, (unsigned)update->n, parts);
  LAUNCH(kernel, pipeline_cuda_blocks(update->n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream,
         *update, device->step, parts, n_parts, device->scaling, device->results);
  if (update->growth_steps > 0)
    LAUNCH(scale_kernel, 1, 1, 0, device->stream, update->growth_steps, device->step, device->results, device->scaling);
  return pipeline_cuda_check_launch(device, "take a step of the optimiser");
}
