/* What the gradient kernels share, and the functions and parameters that the table in gradient.c names. */
#pragma once

#include "pipeline/gradient.h"
#include "pipeline/operator_internal.h"

G_BEGIN_DECLS

/* --- helpers (gradient_support.c) --------------------------------------------------------------------------------- */

/* The gradient of output `index`, or NULL: zero. */
const float *pipeline_gradient_of_output(const PipelineGradientCall *call, guint index);
/* The memory for the gradient of input `index`, or NULL: not wanted. */
float *pipeline_gradient_of_input(const PipelineGradientCall *call, guint index);
const float *pipeline_gradient_input(const PipelineGradientCall *call, guint index); /* NULL: left out */
/* `to` has the shape that was broadcast to that of `from`: sums over what was repeated, times `factor`. */
void pipeline_gradient_sum_to(const PipelineTensor *from, float factor, PipelineTensor *to);
/* c [m, n] = alpha · op(a) op(b) + beta · c, dense rows. */
typedef struct {
  gboolean transpose_a, transpose_b;
  gsize m, n, k;
  float alpha, beta;
} PipelineProduct;
gboolean pipeline_gradient_multiply(const PipelineGradientCall *call, const PipelineProduct *product, const float *a,
                                    const float *b, float *c, GError **error);

/* One backend's products. */
typedef gboolean (*PipelineMultiplyFunc)(const PipelineGradientCall *call, const PipelineProduct *product,
                                         const float *a, const float *b, float *c, GError **error);
/* Gradients of both factors of a Gemm as products. */
gboolean pipeline_gradient_gemm_factors(PipelineGradientCall *call, const PipelineProduct *g,
                                        PipelineMultiplyFunc multiply, GError **error);

/* --- what nodes say, for the kernels of every backend; each file has the error texts ---------------------------------
 */

/* gradient_dense.c. Gemm: its product. MatMul: stacks of matrices; a vector is a row (left) or a column (right). */
gboolean pipeline_gradient_read_gemm(const PipelineCall *call, PipelineProduct *gemm, GError **error);
typedef struct {
  PipelineTensor a, b, stack; /* shapes without the two matrix dimensions */
  gsize m, k, n;
} PipelineStacks;
gboolean pipeline_gradient_read_stacks(const PipelineCall *call, PipelineStacks *stacks, GError **error);
/* gradient_reduce.c. The tensor as [outer, length, inner] around the axis of a softmax; before operator set 13 all from
 * the axis on is one. The shape of a reduction's result with every reduced dimension kept as 1. */
gboolean pipeline_gradient_softmax_axis(const PipelineCall *call, gsize *outer, gsize *length, gsize *inner,
                                        GError **error);
gboolean pipeline_gradient_kept_shape(const PipelineCall *call, PipelineTensor *kept, GError **error);
/* The same of ReduceMax, ReduceMin and GlobalMaxPool; the result's shape is known. */
gboolean pipeline_gradient_extreme_shape(const PipelineCall *call, PipelineTensor *kept, GError **error);
/* gradient_move.c. Slice, Transpose, Pad: which element of input 0, counted from 1, each output element is (0: what the
 * operator fills in); and what that depends on: shape and the values of all other inputs. New. */
gboolean pipeline_gradient_find_origins(const PipelineCall *call, gint64 *origins, GError **error);
GByteArray *pipeline_gradient_describe_move(const PipelineCall *call);
/* Of input 1 (NULL: attribute `ratio`); the next mask of n elements, 0 or what kept elements grow by. */
float pipeline_gradient_dropout_ratio(const PipelineCall *call, const PipelineTensor *input);
void pipeline_gradient_dropout_mask(PipelineGradientCall *call, float ratio, float *mask, gsize n);
/* gradient_normalization.c */
gboolean pipeline_gradient_read_layer_norm(const PipelineCall *call, gsize *rows, gsize *width, GError **error);
/* gradient_group_normalization.c. The tensor as [batch, groups, each, width]: statistics of a group in a sample; scale
 * and bias [groups, each], one number for `width` neighbours. */
typedef struct {
  gsize batch, groups, each, width;
} PipelineGroupNorm;
gboolean pipeline_gradient_read_group_norm(const PipelineCall *call, PipelineGroupNorm *shape, GError **error);
/* gradient_recurrent.c */
typedef struct {
  gsize time, batch, in, hidden, directions;
  guint gates;
  gboolean lstm, linear; /* linear: linear_before_reset */
  gboolean backwards;    /* the only direction runs from the end */
} PipelineGradientRecurrent;
gboolean pipeline_gradient_read_recurrent(const PipelineCall *call, PipelineGradientRecurrent *recurrent,
                                          GError **error);

/* A sliding window of Conv and the pools over [n, channels, height, width]; one spatial dimension counts as height 1.
 */
typedef struct {
  gsize batch, channels;
  gsize in[2], out[2];
  gsize kernel[2], stride[2], dilation[2];
  gint64 before[2], after[2]; /* padding */
} PipelineGradientWindow;
/* From attributes and the input's shape; kernel [2]: NULL: attribute kernel_shape. */
gboolean pipeline_gradient_window_read(const PipelineCall *call, const gint64 *kernel, PipelineGradientWindow *window,
                                       GError **error);
/* Of a ConvTranspose, as the convolution from its result to its input: `in` is the size of the result. */
gboolean pipeline_gradient_transposed_window_read(const PipelineCall *call, PipelineGradientWindow *window,
                                                  GError **error);
/* Shape of a result with that many channels, of the input's rank. */
gboolean pipeline_gradient_window_output(PipelineCall *call, guint index, OnnxType type,
                                         const PipelineGradientWindow *window, gsize channels, GError **error);

/* gradient_convolution.c */
typedef struct {
  PipelineGradientWindow window;
  gsize m, group;     /* channels of the result */
  gsize depth, width; /* of the patch matrix of one group: rows (channels / group · kernel), columns (places) */
} PipelineConvolution;
gboolean pipeline_gradient_read_convolution(const PipelineCall *call, PipelineConvolution *convolution, GError **error);
/* The patches [depth, width] of one group, whose first channel in one sample is x; back: added up there. */
void pipeline_gradient_walk_patches(const PipelineConvolution *convolution, float *x, float *patches, gboolean back);
/* gradient_convolution_transpose.c: the convolution whose input is the result, and whose result the input. */
gboolean pipeline_gradient_read_transposed(const PipelineCall *call, PipelineConvolution *convolution, GError **error);

/* --- functions that the table names ------------------------------------------------------------------------------- */

#define INFER(name) gboolean name(PipelineCall *call, GError **error)
#define KERNEL(name) gboolean name(PipelineGradientCall *call, GError **error)

/* gradient_unary.c */
typedef struct _PipelineDerivative PipelineDerivative;
extern const PipelineDerivative pipeline_derivative_relu, pipeline_derivative_leaky_relu, pipeline_derivative_elu,
    pipeline_derivative_selu, pipeline_derivative_gelu, pipeline_derivative_sigmoid, pipeline_derivative_hard_sigmoid,
    pipeline_derivative_tanh, pipeline_derivative_erf, pipeline_derivative_softplus, pipeline_derivative_sqrt,
    pipeline_derivative_reciprocal, pipeline_derivative_exp, pipeline_derivative_log, pipeline_derivative_neg,
    pipeline_derivative_abs, pipeline_derivative_hard_swish, pipeline_derivative_mish, pipeline_derivative_softsign,
    pipeline_derivative_celu, pipeline_derivative_thresholded_relu, pipeline_derivative_sin, pipeline_derivative_cos;
KERNEL(pipeline_unary_backward);
KERNEL(pipeline_clip_backward);

/* gradient_binary.c */
typedef struct _PipelinePartial PipelinePartial;
extern const PipelinePartial pipeline_partial_add, pipeline_partial_sub, pipeline_partial_mul, pipeline_partial_div,
    pipeline_partial_pow, pipeline_partial_min, pipeline_partial_max, pipeline_partial_prelu;
KERNEL(pipeline_binary_backward);
KERNEL(pipeline_scaler_backward);
KERNEL(pipeline_imputer_backward);
extern const gint pipeline_mean_gradient;
KERNEL(pipeline_sum_backward);
KERNEL(pipeline_where_backward);

/* gradient_dense.c */
INFER(pipeline_gradient_gemm_infer);
KERNEL(pipeline_gradient_gemm_forward);
KERNEL(pipeline_gemm_backward);
KERNEL(pipeline_matmul_backward);

/* gradient_reduce.c: Softmax, reductions, GlobalMaxPool */
KERNEL(pipeline_softmax_backward);
extern const gint pipeline_reduce_mean_gradient;
KERNEL(pipeline_reduce_backward);
extern const gint pipeline_smallest_gradient;
KERNEL(pipeline_extreme_backward);

/* gradient_move.c */
KERNEL(pipeline_copy_backward);
KERNEL(pipeline_cast_backward);
KERNEL(pipeline_move_backward);
KERNEL(pipeline_concat_backward);
KERNEL(pipeline_split_backward);
KERNEL(pipeline_gather_backward);
KERNEL(pipeline_expand_backward);
KERNEL(pipeline_gradient_dropout_forward);
KERNEL(pipeline_dropout_backward);

/* gradient_convolution.c */
INFER(pipeline_gradient_convolution_infer);
KERNEL(pipeline_convolution_forward);
KERNEL(pipeline_convolution_backward);

/* gradient_convolution_transpose.c */
INFER(pipeline_gradient_convolution_transpose_infer);
KERNEL(pipeline_convolution_transpose_backward);

/* gradient_pool.c */
INFER(pipeline_gradient_pool_infer);
KERNEL(pipeline_max_pool_forward);
KERNEL(pipeline_max_pool_backward);
KERNEL(pipeline_average_pool_forward);
KERNEL(pipeline_average_pool_backward);
INFER(pipeline_gradient_global_pool_infer);
KERNEL(pipeline_global_average_pool_forward);
KERNEL(pipeline_global_average_pool_backward);

/* gradient_normalization.c */
INFER(pipeline_gradient_batch_normalization_infer);
KERNEL(pipeline_gradient_batch_normalization_forward);
KERNEL(pipeline_batch_normalization_backward);
INFER(pipeline_gradient_layer_normalization_infer);
KERNEL(pipeline_layer_normalization_forward);
KERNEL(pipeline_layer_normalization_backward);

/* gradient_group_normalization.c */
INFER(pipeline_gradient_group_normalization_infer);
KERNEL(pipeline_group_normalization_forward);
KERNEL(pipeline_group_normalization_backward);

/* gradient_recurrent.c */
INFER(pipeline_gradient_recurrent_infer);
KERNEL(pipeline_recurrent_forward);
KERNEL(pipeline_recurrent_backward);

#undef INFER
#undef KERNEL

G_END_DECLS
