/* How long each function of the device's table takes, waited for one by one: what bench_gpu shows as "PROFILE". */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/gpu/profile.h"

/* clang-format off */
#define FUNCTIONS(X) \
  X(unary) X(unary_backward) X(binary) X(binary_backward) X(choose) X(clip) X(move) X(fill) X(add) \
  X(multiply_add) X(sum) X(softmax) X(softmax_backward) X(gemm) X(convolution_forward) X(convolution_backward) \
  X(max_pool) X(max_pool_backward) X(average_pool) X(average_pool_backward) X(batch_norm) \
  X(batch_norm_backward) X(layer_norm) X(layer_norm_backward) X(gather) X(gather_backward) X(pick) X(lstm) \
  X(lstm_backward) X(gru_gates) X(gru_state) X(gru_backward_state) X(gru_backward_gates) X(loss) X(update) \
  X(ascend) X(clear) X(copy)
/* clang-format on */

#define ROW_NAME(name) ROW_##name,
enum { FUNCTIONS(ROW_NAME) N_ROWS };
#define ROW_TEXT(name) {#name, 0, 0},
static struct {
  const gchar *name;
  double seconds;
  guint calls;
} entries[] = {FUNCTIONS(ROW_TEXT)};
static const PipelineCudaTable *real;

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double begin(PipelineCudaDevice *device)
{
  real->finish(device);
  return now();
}

static int end(PipelineCudaDevice *device, guint row, double start, int status)
{
  real->finish(device);
  entries[row].seconds += now() - start;
  entries[row].calls++;
  return status;
}

#define TIMED(name, parameters, arguments)                                                                             \
  static int timed_##name parameters                                                                                   \
  {                                                                                                                    \
    double start = begin(device);                                                                                      \
    return end(device, ROW_##name, start, real->name arguments);                                                       \
  }

TIMED(unary,
      (PipelineCudaDevice * device, PipelineCudaUnary function, const float *x, float *y, size_t n, float a, float b),
      (device, function, x, y, n, a, b))
TIMED(unary_backward,
      (PipelineCudaDevice * device, PipelineCudaUnary function, const float *x, const float *y, const float *dy,
       float *dx, size_t n, float a, float b),
      (device, function, x, y, dy, dx, n, a, b))
TIMED(binary,
      (PipelineCudaDevice * device, PipelineCudaBinary function, const PipelineCudaWalk *walk, const float *a,
       const float *b, float *y),
      (device, function, walk, a, b, y))
TIMED(binary_backward,
      (PipelineCudaDevice * device, PipelineCudaBinary function, int operand, const PipelineCudaWalk *walk,
       const float *a, const float *b, const float *dy, float *out),
      (device, function, operand, walk, a, b, dy, out))
TIMED(choose,
      (PipelineCudaDevice * device, const PipelineCudaWalk *walk, const uint8_t *condition, const float *a,
       const float *b, float *y),
      (device, walk, condition, a, b, y))
TIMED(clip,
      (PipelineCudaDevice * device, const float *x, const float *low, const float *high, const float *dy, float *out,
       size_t n),
      (device, x, low, high, dy, out, n))
TIMED(move, (PipelineCudaDevice * device, const PipelineCudaWalk *walk, float factor, const float *from, float *to),
      (device, walk, factor, from, to))
TIMED(fill, (PipelineCudaDevice * device, float *to, const float *value, size_t n), (device, to, value, n))
TIMED(add, (PipelineCudaDevice * device, float *to, const float *from, size_t n), (device, to, from, n))
TIMED(multiply_add, (PipelineCudaDevice * device, float *to, const float *from, float share, size_t n),
      (device, to, from, share, n))
TIMED(sum, (PipelineCudaDevice * device, const PipelineCudaSum *sum, float factor, const float *from, float *to),
      (device, sum, factor, from, to))
TIMED(softmax,
      (PipelineCudaDevice * device, size_t outer, size_t length, size_t inner, int logarithm, const float *x, float *y),
      (device, outer, length, inner, logarithm, x, y))
TIMED(softmax_backward,
      (PipelineCudaDevice * device, size_t outer, size_t length, size_t inner, int logarithm, const float *y,
       const float *dy, float *dx),
      (device, outer, length, inner, logarithm, y, dy, dx))
TIMED(gemm, (PipelineCudaDevice * device, const PipelineCudaGemm *gemm, const float *a, const float *b, float *c),
      (device, gemm, a, b, c))
TIMED(convolution_forward,
      (PipelineCudaDevice * device, PipelineCudaConvolutionPlan *plan, const float *x, const float *w,
       const float *bias, float *y),
      (device, plan, x, w, bias, y))
TIMED(convolution_backward,
      (PipelineCudaDevice * device, PipelineCudaConvolutionPlan *plan, const float *x, const float *w, const float *dy,
       float *dx, float *dw),
      (device, plan, x, w, dy, dx, dw))
TIMED(max_pool, (PipelineCudaDevice * device, const PipelineCudaPool *pool, const float *x, float *y, uint32_t *chosen),
      (device, pool, x, y, chosen))
TIMED(max_pool_backward,
      (PipelineCudaDevice * device, const PipelineCudaPool *pool, const uint32_t *chosen, const float *dy, float *dx),
      (device, pool, chosen, dy, dx))
TIMED(average_pool, (PipelineCudaDevice * device, const PipelineCudaPool *pool, const float *x, float *y),
      (device, pool, x, y))
TIMED(average_pool_backward, (PipelineCudaDevice * device, const PipelineCudaPool *pool, const float *dy, float *dx),
      (device, pool, dy, dx))
TIMED(batch_norm,
      (PipelineCudaDevice * device, const PipelineCudaBatchNorm *shape, const float *x, const float *scale,
       const float *bias, float *running_mean, float *running_variance, float *kept, float *y),
      (device, shape, x, scale, bias, running_mean, running_variance, kept, y))
TIMED(batch_norm_backward,
      (PipelineCudaDevice * device, const PipelineCudaBatchNorm *shape, const float *x, const float *scale,
       const float *kept, const float *dy, float *sums, float *dx, float *dscale, float *dbias),
      (device, shape, x, scale, kept, dy, sums, dx, dscale, dbias))
TIMED(layer_norm,
      (PipelineCudaDevice * device, size_t rows, size_t width, float epsilon, const float *x, const float *scale,
       const float *bias, float *kept, float *y),
      (device, rows, width, epsilon, x, scale, bias, kept, y))
TIMED(layer_norm_backward,
      (PipelineCudaDevice * device, size_t rows, size_t width, const float *x, const float *scale, const float *kept,
       const float *dy, float *dx, float *dscale, float *dbias),
      (device, rows, width, x, scale, kept, dy, dx, dscale, dbias))
TIMED(gather,
      (PipelineCudaDevice * device, size_t outer, size_t length, size_t inner, const int32_t *index, size_t n,
       const float *x, float *y),
      (device, outer, length, inner, index, n, x, y))
TIMED(gather_backward,
      (PipelineCudaDevice * device, size_t outer, size_t length, size_t inner, const int32_t *starts,
       const int32_t *list, size_t n, const float *dy, float *dx),
      (device, outer, length, inner, starts, list, n, dy, dx))
TIMED(pick,
      (PipelineCudaDevice * device, const int32_t *origin, const float *value, const float *x, float *y, size_t n),
      (device, origin, value, x, y, n))
TIMED(lstm,
      (PipelineCudaDevice * device, const PipelineCudaCell *cell, float *gates, const float *c_before, float *c,
       float *h),
      (device, cell, gates, c_before, c, h))
TIMED(lstm_backward,
      (PipelineCudaDevice * device, const PipelineCudaCell *cell, const float *gates, const float *c_before,
       const float *c, const float *dh, float *dc, float *out),
      (device, cell, gates, c_before, c, dh, dc, out))
TIMED(gru_gates,
      (PipelineCudaDevice * device, const PipelineCudaCell *cell, float *gates, const float *recurrent,
       const float *bias_r, const float *h_before, float *reset),
      (device, cell, gates, recurrent, bias_r, h_before, reset))
TIMED(gru_state,
      (PipelineCudaDevice * device, const PipelineCudaCell *cell, float *gates, float *inner, const float *bias_r,
       const float *h_before, float *h),
      (device, cell, gates, inner, bias_r, h_before, h))
TIMED(gru_backward_state,
      (PipelineCudaDevice * device, const PipelineCudaCell *cell, const float *gates, const float *h_before, float *dh,
       float *out, float *last),
      (device, cell, gates, h_before, dh, out, last))
TIMED(gru_backward_gates,
      (PipelineCudaDevice * device, const PipelineCudaCell *cell, const float *gates, const float *inner,
       const float *h_before, const float *last, const float *through, float *dh, float *out, float *of_r,
       float *reset),
      (device, cell, gates, inner, h_before, last, through, dh, out, of_r, reset))
TIMED(loss,
      (PipelineCudaDevice * device, const PipelineCudaLoss *loss, const float *outputs, const float *targets,
       float *gradient),
      (device, loss, outputs, targets, gradient))
TIMED(update, (PipelineCudaDevice * device, const PipelineCudaUpdate *update), (device, update))
TIMED(ascend,
      (PipelineCudaDevice * device, float *x, const float *g, const float *origin, float step, float epsilon, float low,
       float high, size_t n),
      (device, x, g, origin, step, epsilon, low, high, n))
TIMED(clear, (PipelineCudaDevice * device, void *buffer, size_t bytes), (device, buffer, bytes))
TIMED(copy, (PipelineCudaDevice * device, void *to, const void *from, size_t bytes), (device, to, from, bytes))

#define PUT(name) timed.name = timed_##name;

const PipelineCudaTable *profile_begin(const PipelineCudaTable *table)
{
  static PipelineCudaTable timed;
  real = table;
  timed = *table;
  FUNCTIONS(PUT)
  for (guint i = 0; i < N_ROWS; i++) entries[i].seconds = 0, entries[i].calls = 0;
  return &timed;
}

void profile_print(const gchar *name, guint steps)
{
  double total = 0;
  for (guint i = 0; i < N_ROWS; i++) total += entries[i].seconds;
  printf("PROFILE %s: %.0f us a step one by one:", name, 1e6 * total / steps);
  for (guint turn = 0; turn < 8; turn++) {
    guint most = 0;
    for (guint i = 0; i < N_ROWS; i++)
      if (entries[i].seconds > entries[most].seconds) most = i;
    if (entries[most].seconds <= 0) break;
    printf(" %s %.0f us (%u)", entries[most].name, 1e6 * entries[most].seconds / steps, entries[most].calls / steps);
    entries[most].seconds = 0;
  }
  printf("\n");
}
