/* What a CUDA device can do for training: a table of plain C functions that libkedge-cuda.so exports and
 * pipeline/cuda_plugin.c loads. No GLib, no graphs, no CUDA types: tensors are float32 in device memory, row by row,
 * reached by pointers that the host must not follow.
 *
 * Every function that returns int gives 0, or another number when it failed: `message` then says why, with CUDA's name
 * of the error. Work is queued on one stream in order; only copy_out, finish and results_get wait. All results are the
 * same bits in every run on the same device: no atomic additions, deterministic cuDNN algorithms.
 *
 * Sizes are elements unless they say bytes. One thread at a time a device.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PIPELINE_CUDA_ABI 6u /* raised with every change of this file */
#define PIPELINE_CUDA_SYMBOL "pipeline_cuda_get_table"

typedef struct _PipelineCudaDevice PipelineCudaDevice;

/* --- walks: how element i of a result finds its operands -----------------------------------------------------------
 */

#define PIPELINE_CUDA_DIMS 9
#define PIPELINE_CUDA_OPERANDS 4

/* n elements over dims (row-major); operand k lies at Σ place[d] · strides[k][d]. Merge dims where possible: one
 * dimension costs no division. */
typedef struct {
  size_t n;
  uint32_t n_dims;
  uint32_t dims[PIPELINE_CUDA_DIMS];
  int64_t strides[PIPELINE_CUDA_OPERANDS][PIPELINE_CUDA_DIMS];
} PipelineCudaWalk;

/* --- what element-wise kernels compute (elementwise.cu) -------------------------------------------------------------
 */

#define PIPELINE_CUDA_UNARIES(X)                                                                                       \
  X(relu)                                                                                                              \
  X(leaky_relu)                                                                                                        \
  X(elu)                                                                                                               \
  X(selu)                                                                                                              \
  X(gelu)                                                                                                              \
  X(gelu_tanh)                                                                                                         \
  X(sigmoid)                                                                                                           \
  X(hard_sigmoid)                                                                                                      \
  X(tanh)                                                                                                              \
  X(erf)                                                                                                               \
  X(softplus)                                                                                                          \
  X(sqrt)                                                                                                              \
  X(reciprocal)                                                                                                        \
  X(exp)                                                                                                               \
  X(log)                                                                                                               \
  X(neg)                                                                                                               \
  X(abs)                                                                                                               \
  X(hard_swish)                                                                                                        \
  X(mish)                                                                                                              \
  X(softsign)                                                                                                          \
  X(celu)                                                                                                              \
  X(thresholded_relu)                                                                                                  \
  X(sin)                                                                                                               \
  X(cos)
#define PIPELINE_CUDA_BINARIES(X) X(add) X(sub) X(mul) X(div) X(pow) X(min) X(max) X(prelu)

#define PIPELINE_CUDA_GROUP 8u /* slots of results that are sent together */
#define PIPELINE_CUDA_GROUPS 4u

/* Dynamic scaling of losses: doubled after growth_steps steps with a finite norm, halved by each other one, which
 * changes no weight; between these bounds. */
#define PIPELINE_CUDA_SCALE_LEAST 1.0
#define PIPELINE_CUDA_SCALE_MOST 16777216.0

#define PIPELINE_CUDA_NAME(name) PIPELINE_CUDA_##name,
typedef enum { PIPELINE_CUDA_UNARIES(PIPELINE_CUDA_NAME) PIPELINE_CUDA_N_UNARIES } PipelineCudaUnary;
#undef PIPELINE_CUDA_NAME
#define PIPELINE_CUDA_NAME(name) PIPELINE_CUDA_##name##_of,
typedef enum { PIPELINE_CUDA_BINARIES(PIPELINE_CUDA_NAME) PIPELINE_CUDA_N_BINARIES } PipelineCudaBinary;
#undef PIPELINE_CUDA_NAME

/* --- arguments ------------------------------------------------------------------------------------------------------
 */

/* c = alpha · op(a) op(b) + beta · c, row-major as PipelineGemm; `count` of them, the operands `stride_…` apart. */
typedef struct {
  int transpose_a, transpose_b;
  size_t m, n, k, lda, ldb, ldc;
  float alpha, beta;
  size_t count, stride_a, stride_b, stride_c;
  int narrow; /* a and b are rounded to bfloat16 first; sums in float32 */
} PipelineCudaGemm;

/* Lines of a tensor: to[i] = factor · Σ of from over `reduced`, or the largest of these. Kept and reduced dimensions
 * with their strides in `from`. */
typedef struct {
  PipelineCudaWalk kept, reduced; /* strides[0] of each */
} PipelineCudaSum;

/* Conv of two spatial dimensions with the same padding at both ends. */
typedef struct {
  size_t batch, channels, filters, group;
  size_t in[2], out[2], kernel[2], stride[2], dilation[2], pad[2];
  int narrow; /* x, w and dy are rounded to bfloat16 first; sums and results in float32 */
} PipelineCudaConvolution;
typedef struct _PipelineCudaConvolutionPlan PipelineCudaConvolutionPlan;

/* A pool over `images` images; `after` is only read by the average with padding. */
typedef struct {
  size_t images;
  int64_t in[2], out[2], kernel[2], stride[2], dilation[2], before[2], after[2];
  int with_padding;
} PipelineCudaPool;

typedef struct {
  size_t batch, channels, inner;
  float epsilon, momentum;
  int batch_wise; /* statistics of the batch, which the running ones follow; else the running ones */
} PipelineCudaBatchNorm;

/* x as [batch, groups, each, width]: statistics of a group in a sample; scale and bias [groups, each]. */
typedef struct {
  size_t batch, groups, each, width;
  float epsilon;
} PipelineCudaGroupNorm;

typedef enum {
  PIPELINE_CUDA_CROSS_ENTROPY,
  PIPELINE_CUDA_FOCAL,
  PIPELINE_CUDA_BINARY,
  PIPELINE_CUDA_SQUARED,
  PIPELINE_CUDA_HUBER,
  PIPELINE_CUDA_QUANTILE,
  PIPELINE_CUDA_N_LOSSES
} PipelineCudaLossKind;
/* As in pipeline/graph_loss.h. Pointers are device memory or NULL. */
typedef struct {
  PipelineCudaLossKind kind;
  double label_smoothing, focal_gamma, huber_delta, target_scale;
  const float *class_weights;               /* [width] */
  const float *quantiles;                   /* [width] */
  const float *row_weights;                 /* [n] */
  double weight;                            /* of this head: the loss and its gradient are times this */
  size_t n, width, n_targets, first_target; /* targets [n, n_targets], this head's from first_target on */
  int add;                                  /* the loss is added to the one of the heads before */
  int scaled;                               /* the gradient, not the loss, is times the scale of the device */
} PipelineCudaLoss;

typedef enum {
  PIPELINE_CUDA_SGD,
  PIPELINE_CUDA_MOMENTUM,
  PIPELINE_CUDA_NESTEROV,
  PIPELINE_CUDA_RMSPROP,
  PIPELINE_CUDA_ADAM,
  PIPELINE_CUDA_ADAMW,
  PIPELINE_CUDA_N_OPTIMISERS
} PipelineCudaOptimiserKind;
/* As in pipeline/graph_optimiser.h, for all parameters at once. */
typedef struct {
  PipelineCudaOptimiserKind kind;
  size_t n;
  float *w, *m, *v;      /* [n]; m, v: those that it has */
  const float *g;        /* [n] */
  const uint8_t *decays; /* [n]: regularised */
  float momentum, beta_1, beta_2, epsilon, l1, l2;
  float clip_norm, clip_value; /* 0: none */
  uint32_t growth_steps;       /* > 0: g is times the scale, which this step may change; 0: there is none */
} PipelineCudaUpdate;

/* What changes from step to step, so that a recorded step can be replayed. */
typedef struct {
  float rate, kept; /* kept: of adamw, 1 − rate · decay */
  float size, root; /* of adam: rate / (1 − β₁ᵗ), 1 / √(1 − β₂ᵗ) */
  uint32_t slot;    /* of its results: double loss, double norm */
} PipelineCudaStep;

/* Bytes. own: what the device keeps for itself from the start. used: of the pool's pieces that are taken; held: of all
 * pieces that the pool has from the driver; peak: the most that it has held since the device was opened or memory_mark.
 * free, total: of the device, 0 where the driver does not say. */
typedef struct {
  size_t free, total, own, used, held, peak;
} PipelineCudaMemory;

typedef struct {
  size_t batch, hidden;
  int linear; /* GRU: linear_before_reset */
} PipelineCudaCell;

/* --- the table ------------------------------------------------------------------------------------------------------
 */

typedef struct {
  uint32_t abi, size; /* PIPELINE_CUDA_ABI, sizeof(PipelineCudaTable) */

  int (*count)(void);                                  /* devices that CUDA shows; 0: none, or no driver */
  int (*bus_id)(int number, char *text, size_t bytes); /* "00000000:17:00.0"; not 0: not known */
  /* NULL: `message` [bytes] says in one line why there is none. number: of the device, from 0. */
  PipelineCudaDevice *(*open)(int number, char *message, size_t bytes);
  void (*close)(PipelineCudaDevice *device);
  const char *(*message)(const PipelineCudaDevice *device);
  const char *(*describe)(const PipelineCudaDevice *device); /* name, compute capability, versions */

  /* memory: a pool that keeps what is released until close */
  void *(*allocate)(PipelineCudaDevice *device, size_t bytes); /* NULL: failed */
  void (*release)(PipelineCudaDevice *device, void *buffer);
  int (*copy_in)(PipelineCudaDevice *device, void *to, const void *from, size_t bytes);  /* from may change at once */
  int (*copy_out)(PipelineCudaDevice *device, void *to, const void *from, size_t bytes); /* waits */
  int (*copy)(PipelineCudaDevice *device, void *to, const void *from, size_t bytes);
  int (*clear)(PipelineCudaDevice *device, void *buffer, size_t bytes);
  int (*finish)(PipelineCudaDevice *device); /* waits for all that is queued */
  void (*memory_info)(PipelineCudaDevice *device, PipelineCudaMemory *memory);
  void (*memory_mark)(PipelineCudaDevice *device);                /* the peak is counted anew */
  void (*memory_limit)(PipelineCudaDevice *device, size_t bytes); /* that the pool holds at most; 0: any */
  void (*memory_trim)(PipelineCudaDevice *device);                /* what nobody uses goes back to the driver */
  size_t (*memory_round)(size_t bytes);                           /* of a piece of the pool for so many */
  int (*lacks_memory)(const PipelineCudaDevice *device);          /* that was why the last call failed */

  /* element by element */
  int (*unary)(PipelineCudaDevice *device, PipelineCudaUnary function, const float *x, float *y, size_t n, float a,
               float b);
  int (*unary_backward)(PipelineCudaDevice *device, PipelineCudaUnary function, const float *x, const float *y,
                        const float *dy, float *dx, size_t n, float a, float b);
  int (*binary)(PipelineCudaDevice *device, PipelineCudaBinary function, const PipelineCudaWalk *walk, const float *a,
                const float *b, float *y);
  /* out = dy · ∂y/∂operand; walk: a, b */
  int (*binary_backward)(PipelineCudaDevice *device, PipelineCudaBinary function, int operand,
                         const PipelineCudaWalk *walk, const float *a, const float *b, const float *dy, float *out);
  /* walk: condition, a, b. a or b NULL: zero there. */
  int (*choose)(PipelineCudaDevice *device, const PipelineCudaWalk *walk, const uint8_t *condition, const float *a,
                const float *b, float *y);
  /* low, high: one element or NULL; dy NULL: forward, else out = dy inside and 0 outside */
  int (*clip)(PipelineCudaDevice *device, const float *x, const float *low, const float *high, const float *dy,
              float *out, size_t n);
  /* to (strides[1]) = factor · from (strides[0]) */
  int (*move)(PipelineCudaDevice *device, const PipelineCudaWalk *walk, float factor, const float *from, float *to);
  int (*fill)(PipelineCudaDevice *device, float *to, const float *value, size_t n); /* value: one element or NULL: 0 */
  int (*add)(PipelineCudaDevice *device, float *to, const float *from, size_t n);   /* to += from */
  int (*multiply_add)(PipelineCudaDevice *device, float *to, const float *from, float share, size_t n);
  /* to = (1 − share) · to + share · from */

  /* sums and lines */
  int (*sum)(PipelineCudaDevice *device, const PipelineCudaSum *sum, float factor, const float *from, float *to);
  int (*softmax)(PipelineCudaDevice *device, size_t outer, size_t length, size_t inner, int logarithm, const float *x,
                 float *y);
  int (*softmax_backward)(PipelineCudaDevice *device, size_t outer, size_t length, size_t inner, int logarithm,
                          const float *y, const float *dy, float *dx);
  /* y: of each line the largest element, or the smallest, the first of equal ones, what is no number before all others;
   * chosen: which element of x it is. No line is empty. */
  int (*extreme)(PipelineCudaDevice *device, const PipelineCudaSum *lines, int smallest, const float *x, float *y,
                 uint32_t *chosen);
  /* dx [n] = 0, but dy [n_lines] at the chosen ones */
  int (*extreme_backward)(PipelineCudaDevice *device, size_t n_lines, size_t n, const uint32_t *chosen, const float *dy,
                          float *dx);

  /* products and windows */
  int (*gemm)(PipelineCudaDevice *device, const PipelineCudaGemm *gemm, const float *a, const float *b, float *c);
  PipelineCudaConvolutionPlan *(*convolution_plan)(PipelineCudaDevice *device, const PipelineCudaConvolution *shape);
  /* Of workspace, for all passes. */
  size_t (*convolution_bytes)(const PipelineCudaConvolutionPlan *plan);
  void (*convolution_free)(PipelineCudaDevice *device, PipelineCudaConvolutionPlan *plan);
  int (*convolution_forward)(PipelineCudaDevice *device, PipelineCudaConvolutionPlan *plan, const float *x,
                             const float *w, const float *bias, float *y);
  /* dx, dw: NULL: not wanted */
  int (*convolution_backward)(PipelineCudaDevice *device, PipelineCudaConvolutionPlan *plan, const float *x,
                              const float *w, const float *dy, float *dx, float *dw);
  int (*max_pool)(PipelineCudaDevice *device, const PipelineCudaPool *pool, const float *x, float *y,
                  uint32_t *chosen); /* [n of y] */
  int (*max_pool_backward)(PipelineCudaDevice *device, const PipelineCudaPool *pool, const uint32_t *chosen,
                           const float *dy, float *dx);
  int (*average_pool)(PipelineCudaDevice *device, const PipelineCudaPool *pool, const float *x, float *y);
  int (*average_pool_backward)(PipelineCudaDevice *device, const PipelineCudaPool *pool, const float *dy, float *dx);

  /* normalisation; kept: [2, channels], [2, rows] or [2, batch · groups], mean and 1 / √(variance + ε), written by
   * forward */
  int (*batch_norm)(PipelineCudaDevice *device, const PipelineCudaBatchNorm *shape, const float *x, const float *scale,
                    const float *bias, float *running_mean, float *running_variance, float *kept, float *y);
  /* dx, dscale, dbias: NULL: not wanted; sums: [2, channels] */
  int (*batch_norm_backward)(PipelineCudaDevice *device, const PipelineCudaBatchNorm *shape, const float *x,
                             const float *scale, const float *kept, const float *dy, float *sums, float *dx,
                             float *dscale, float *dbias);
  int (*layer_norm)(PipelineCudaDevice *device, size_t rows, size_t width, float epsilon, const float *x,
                    const float *scale, const float *bias, float *kept, float *y);
  int (*layer_norm_backward)(PipelineCudaDevice *device, size_t rows, size_t width, const float *x, const float *scale,
                             const float *kept, const float *dy, float *dx, float *dscale, float *dbias);
  int (*group_norm)(PipelineCudaDevice *device, const PipelineCudaGroupNorm *shape, const float *x, const float *scale,
                    const float *bias, float *kept, float *y);
  int (*group_norm_backward)(PipelineCudaDevice *device, const PipelineCudaGroupNorm *shape, const float *x,
                             const float *scale, const float *kept, const float *dy, float *dx, float *dscale,
                             float *dbias);

  /* places: index in [0, length) on the device, checked by the caller; starts [length + 1] and list: for each place
   * which i of the n have it, in order */
  int (*gather)(PipelineCudaDevice *device, size_t outer, size_t length, size_t inner, const int32_t *index, size_t n,
                const float *x, float *y);
  int (*gather_backward)(PipelineCudaDevice *device, size_t outer, size_t length, size_t inner, const int32_t *starts,
                         const int32_t *list, size_t n, const float *dy, float *dx);
  /* y[i] = origin[i] > 0 ? x[origin[i] − 1] : value (one element or NULL: 0) */
  int (*pick)(PipelineCudaDevice *device, const int32_t *origin, const float *value, const float *x, float *y,
              size_t n);

  /* recurrent cells of one step: gates [batch, gates · hidden] hold the sums on entry (ONNX's order), activated after
   */
  int (*lstm)(PipelineCudaDevice *device, const PipelineCudaCell *cell, float *gates, const float *c_before, float *c,
              float *h);
  /* dh, dc: of this step's h and c; dc becomes that of c_before. out [batch, 4 · hidden]. */
  int (*lstm_backward)(PipelineCudaDevice *device, const PipelineCudaCell *cell, const float *gates,
                       const float *c_before, const float *c, const float *dh, float *dc, float *out);
  /* GRU in two parts around the product with R_h. recurrent [batch, 2 · hidden] = h R_zr; bias_r [3 · hidden] or NULL
   */
  int (*gru_gates)(PipelineCudaDevice *device, const PipelineCudaCell *cell, float *gates, const float *recurrent,
                   const float *bias_r, const float *h_before, float *reset);
  int (*gru_state)(PipelineCudaDevice *device, const PipelineCudaCell *cell, float *gates, float *inner,
                   const float *bias_r, const float *h_before, float *h);
  int (*gru_backward_state)(PipelineCudaDevice *device, const PipelineCudaCell *cell, const float *gates,
                            const float *h_before, float *dh, float *out, float *last);
  /* through: last · R_h (not linear). of_r [batch, 3 · hidden]: as R sees it; reset: r ⊙ h, for R_h's gradient. */
  int (*gru_backward_gates)(PipelineCudaDevice *device, const PipelineCudaCell *cell, const float *gates,
                            const float *inner, const float *h_before, const float *last, const float *through,
                            float *dh, float *out, float *of_r, float *reset);

  /* Losses, optimisers: results go into the step's slot of a ring that results_get reads. */
  int (*step_begin)(PipelineCudaDevice *device, const PipelineCudaStep *step);
  int (*loss)(PipelineCudaDevice *device, const PipelineCudaLoss *loss, const float *outputs, const float *targets,
              float *gradient);
  /* The scale of gradients and the steps since it changed: PIPELINE_CUDA_SCALE_… say how it goes on. Waits for nothing.
   */
  int (*scale_set)(PipelineCudaDevice *device, double scale, uint64_t steps);
  /* The norm of g into the slot; unless loss and norm are finite, w, m and v stay as they are. */
  int (*update)(PipelineCudaDevice *device, const PipelineCudaUpdate *update);
  int (*results_send)(PipelineCudaDevice *device, unsigned group); /* queues the copy of a group's slots to the host */
  /* Waits for that copy; results [PIPELINE_CUDA_GROUP][2]. */
  int (*results_get)(PipelineCudaDevice *device, unsigned group, double (*results)[2]);
  /* PGD: x = clamp(x + step · sign(g), origin ± epsilon), inside [low, high] */
  int (*ascend)(PipelineCudaDevice *device, float *x, const float *g, const float *origin, float step, float epsilon,
                float low, float high, size_t n);

  /* What is queued the same way each time: record between begin and end (nothing is computed then, and copies to and
   * from the host and new memory are refused), then replay while `changes` has the same number. */
  uint64_t (*changes)(const PipelineCudaDevice *device); /* of what memory lies where */
  int (*record_begin)(PipelineCudaDevice *device);
  void *(*record_end)(PipelineCudaDevice *device); /* NULL: failed */
  int (*replay)(PipelineCudaDevice *device, void *recording);
  void (*recording_free)(PipelineCudaDevice *device, void *recording);
} PipelineCudaTable;

/* The one symbol of the library. */
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const PipelineCudaTable *
pipeline_cuda_get_table(void);
typedef const PipelineCudaTable *(*PipelineCudaGetTable)(void);

#ifdef __cplusplus
}
#endif
