#include "pipeline/gradient.h"

#include <string.h>

#include "pipeline/gradient_internal.h"

#define BIT(i) (1u << (i))
#define FIRST BIT(0)
#define PAIR (BIT(0) | BIT(1))
#define TRIPLE (BIT(0) | BIT(1) | BIT(2))
#define LONG 3e-4 /* sums over time of many rounded outputs: measured 1.1e-4 */
#define RECURRENT (BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(5) | BIT(6))
#define SMOOTH 1e-4 /* fourth-order differences of float32 kernels: measured below 2e-5 */

/* Row: name, inputs with a gradient, infer, forward, backward, parameter, tolerance, examples.
 * Examples: see gradient_check.h; "?" is random, "?+" random and positive, "?d" well apart (for kinks). */
/* clang-format off */
const PipelineGradient pipeline_gradients[] = {
  /* products */
  {"Gemm", TRIPLE, pipeline_gradient_gemm_infer, pipeline_gradient_gemm_forward, pipeline_gemm_backward, NULL, SMOOTH,
   "f[3,4] ?; f[4,5] ?; f[5] ? | f[4,3] ?; f[5,4] ?; f[3,1] ? { transA=1 transB=1 alpha=0.5 beta=2.0 } | "
   "f[3,4] ?; f[5,4] ?; f[] ? { transB=1 } | f[4,3] ?; f[4,5] ? { transA=1 } | f[1,1] ?; f[1,1] ?; f[1,1] ?"},
  {"MatMul", PAIR, NULL, NULL, pipeline_matmul_backward, NULL, SMOOTH,
   "f[3,4] ?; f[4,5] ? | f[2,3,4] ?; f[4,5] ? | f[2,3,4] ?; f[2,4,5] ? | f[2,1,3,4] ?; f[3,4,2] ? | f[4] ?; f[4,3] ? | "
   "f[3,4] ?; f[4] ? | f[4] ?; f[4] ? | f[4] ?; f[2,4,3] ?"},
  {"Conv", TRIPLE, pipeline_gradient_convolution_infer, pipeline_convolution_forward, pipeline_convolution_backward, NULL,
   SMOOTH,
   "f[2,3,6,5] ?; f[4,3,3,3] ?; f[4] ? { pads=[1,1,1,1] } | f[1,2,7,6] ?; f[3,2,2,3] ? { strides=[2,1] dilations=[2,1] } | "
   "f[2,4,5,5] ?; f[4,2,3,3] ?; f[4] ? { group=2 pads=[0,1,1,2] } | f[1,3,5,5] ?; f[3,1,3,3] ? { group=3 auto_pad='SAME_UPPER' strides=[2,2] } | "
   "f[2,2,7,6] ?; f[3,2,3,3] ?; f[3] ? { strides=[2,3] pads=[1,1,1,1] } | "
   "f[2,2,9] ?; f[3,2,4] ?; f[3] ? { pads=[1,2] strides=[2] } | f[1,1,4,4] ?; f[1,1,4,4] ? { auto_pad='SAME_LOWER' }"},
  {"ConvTranspose", TRIPLE, pipeline_gradient_convolution_transpose_infer, NULL, pipeline_convolution_transpose_backward, NULL, SMOOTH,
   "f[2,3,4,3] ?; f[3,2,3,3] ?; f[2] ? | f[1,2,3,4] ?; f[2,3,2,3] ? { strides=[2,3] dilations=[2,1] pads=[1,0,1,0] } | "
   "f[2,4,3,3] ?; f[4,2,3,3] ?; f[4] ? { group=2 strides=[2,2] pads=[1,1,1,1] output_padding=[1,1] } | f[1,2,3,3] ?; f[2,1,3,3] ?; f[2] ? { group=2 pads=[0,1,2,1] strides=[2,1] } | "
   "f[1,1,4,4] ?; f[1,2,3,3] ? { auto_pad='SAME_UPPER' strides=[2,2] } | f[1,2,3,3] ?; f[2,1,3,2] ?; f[1] ? { output_shape=[6,7] strides=[2,2] } | "
   "f[2,2,5] ?; f[2,3,4] ?; f[3] ? { strides=[2] pads=[1,2] } | f[1,2,4] ?; f[2,1,2] ?; f[1] ? { strides=[3] output_padding=[2] }"},
  /* arithmetic with broadcasting */
  {"Add", PAIR, NULL, NULL, pipeline_binary_backward, &pipeline_partial_add, SMOOTH,
   "f[2,3] ?; f[2,3] ? | f[2,3] ?; f[3] ? | f[2,1,3] ?; f[4,1] ? | f[] ?; f[2,2] ? | @6 f[2,3,4] ?; f[3] ? { broadcast=1 axis=1 }"},
  {"Sub", PAIR, NULL, NULL, pipeline_binary_backward, &pipeline_partial_sub, SMOOTH,
   "f[2,3] ?; f[2,3] ? | f[3] ?; f[2,3] ? | f[2,1] ?; f[1,3] ? | f[1,3] ?; f[3] ?"},
  {"Mul", PAIR, NULL, NULL, pipeline_binary_backward, &pipeline_partial_mul, SMOOTH,
   "f[2,3] ?; f[2,3] ? | f[2,3] ?; f[2,1] ? | f[4,1,2] ?; f[3,1] ? | f[2,3] ?; f[] ? | @6 f[2,3,4] ?; f[2,3] ? { broadcast=1 axis=0 }"},
  {"Div", PAIR, NULL, NULL, pipeline_binary_backward, &pipeline_partial_div, SMOOTH,
   "f[2,3] ?; f[2,3] ?+ | f[3] ?; f[2,3] ?+ | f[2,3] ?; f[1] ?+"},
  {"Pow", PAIR, NULL, NULL, pipeline_binary_backward, &pipeline_partial_pow, SMOOTH,
   "f[2,3] ?+; f[2,3] ? | f[2,3] ?+; f[] ? | f[2,3] ?; i[] 2 | f[2,3] ?; f[] 3"},
  {"Min", PAIR, NULL, NULL, pipeline_binary_backward, &pipeline_partial_min, SMOOTH, "f[2,3] ?d; f[] 0.13 | f[2,3] ?d; f[3] 0 0.13 -0.13"},
  {"Max", PAIR, NULL, NULL, pipeline_binary_backward, &pipeline_partial_max, SMOOTH, "f[2,3] ?d; f[] 0.13 | f[2,3] ?d; f[3] 0 0.13 -0.13"},
  {"Sum", PIPELINE_GRADIENT_ALL, NULL, NULL, pipeline_sum_backward, NULL, SMOOTH, "f[2,3] ?; f[3] ?; f[] ? | f[2] ?"},
  {"Mean", PIPELINE_GRADIENT_ALL, NULL, NULL, pipeline_sum_backward, &pipeline_mean_gradient, SMOOTH,
   "f[2,3] ?; f[3] ?; f[] ? | f[2] ? | f[2,1,3] ?; f[4,1] ? | f[1,3] ?; f[3] ?; f[3] ?; f[3] ?"},
  {"PRelu", PAIR, NULL, NULL, pipeline_binary_backward, &pipeline_partial_prelu, SMOOTH,
   "f[2,3] ?d; f[2,3] ? | f[2,3] ?d; f[1] ? | f[2,3,2,2] ?d; f[3,1,1] ? | f[2,4] ?d; f[] ? | f[2,3,4] ?d; f[4] ? | "
   "@6 f[2,3,2,2] ?d; f[3] ?"},
  {"Where", BIT(1) | BIT(2), NULL, NULL, pipeline_where_backward, NULL, SMOOTH,
   "b[2,1] 1 0; f[2,3] ?; f[3] ? | b[3] 1 0 1; f[2,3] ?; f[] ?"},
  /* element by element */
  {"Relu", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_relu, SMOOTH, "f[3,5] ?d | f[1] ?d"},
  {"LeakyRelu", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_leaky_relu, SMOOTH, "f[3,5] ?d | f[7] ?d { alpha=0.3 }"},
  {"Elu", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_elu, SMOOTH, "f[3,5] ?d | f[7] ?d { alpha=0.5 }"},
  {"Selu", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_selu, SMOOTH, "f[3,5] ?d"},
  {"Gelu", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_gelu, SMOOTH, "f[3,5] ? | f[7] ? { approximate='tanh' }"},
  {"Sigmoid", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_sigmoid, SMOOTH, "f[3,5] ?"},
  {"HardSigmoid", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_hard_sigmoid, SMOOTH, "f[3,5] ?d { alpha=1.0 beta=0.5 }"},
  {"Tanh", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_tanh, SMOOTH, "f[3,5] ?"},
  {"Erf", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_erf, SMOOTH, "f[3,5] ?"},
  {"Softplus", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_softplus, SMOOTH, "f[3,5] ?"},
  {"Sqrt", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_sqrt, SMOOTH, "f[3,5] ?+"},
  {"Reciprocal", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_reciprocal, SMOOTH, "f[3,5] ?+"},
  {"Exp", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_exp, SMOOTH, "f[3,5] ?"},
  {"Log", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_log, SMOOTH, "f[3,5] ?+"},
  {"Neg", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_neg, SMOOTH, "f[3,5] ?"},
  {"Abs", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_abs, SMOOTH, "f[3,5] ?d"},
  /* ThresholdedRelu jumps at its threshold: examples lie on both sides of it. HardSwish bends at -3 and 3. */
  {"HardSwish", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_hard_swish, SMOOTH, "f[3,5] ?d | f[8,8] ?d"},
  {"Mish", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_mish, SMOOTH, "f[3,5] ? | f[8,8] ?d"},
  {"Softsign", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_softsign, SMOOTH, "f[3,5] ?d"},
  {"Celu", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_celu, SMOOTH, "f[3,5] ?d | f[7] ?d { alpha=0.5 }"},
  {"ThresholdedRelu", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_thresholded_relu, SMOOTH, "f[3,5] ?d { alpha=0.26 } | f[8] ?d { alpha=-0.13 } | f[6] ?+"},
  {"Sin", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_sin, SMOOTH, "f[3,5] ? | f[8,8] ?d"},
  {"Cos", FIRST, NULL, NULL, pipeline_unary_backward, &pipeline_derivative_cos, SMOOTH, "f[3,5] ? | f[8,8] ?d"},
  {"Clip", FIRST, NULL, NULL, pipeline_clip_backward, NULL, SMOOTH, "f[3,5] ?d; f[] -0.5; f[] 0.5 | f[4] ?d; f[] 0"},
  /* along an axis */
  {"Softmax", FIRST, NULL, NULL, pipeline_softmax_backward, NULL, SMOOTH, "f[3,5] ? | f[2,3,4] ? { axis=1 } | @11 f[2,3,2] ?"},
  {"LogSoftmax", FIRST, NULL, NULL, pipeline_softmax_backward, &pipeline_softmax_logarithm, SMOOTH, "f[3,5] ? | f[2,3,4] ? { axis=0 }"},
  {"ReduceSum", FIRST, NULL, NULL, pipeline_reduce_backward, NULL, SMOOTH,
   "f[2,3,4] ?; i[1] 1 | f[2,3,4] ?; i[2] 0 -1 { keepdims=0 } | f[2,3] ? { keepdims=0 } | f[2,3] ? { noop_with_empty_axes=1 }"},
  {"ReduceMean", FIRST, NULL, NULL, pipeline_reduce_backward, &pipeline_reduce_mean_gradient, SMOOTH,
   "f[2,3,4] ?; i[1] 1 | f[2,3,4,2] ?; i[2] 2 3 { keepdims=0 } | @13 f[2,3] ? { axes=[1] }"},
  /* Of equal elements the first one has the gradient. */
  {"ReduceMax", FIRST, NULL, NULL, pipeline_extreme_backward, NULL, SMOOTH,
   "f[2,3,4] ?d; i[1] 1 | f[2,3,4] ?d; i[2] 0 -1 { keepdims=0 } | f[2,3] ?d { keepdims=0 } | f[2,3] ?d { noop_with_empty_axes=1 } | "
   "@13 f[2,3,4] ?d { axes=[1] } | @17 f[2,3,2,2] ?d { axes=[2,-1] keepdims=0 } | @11 f[3,4] ?d | f[2,300] ?d; i[1] 1"},
  {"ReduceMin", FIRST, NULL, NULL, pipeline_extreme_backward, &pipeline_smallest_gradient, SMOOTH,
   "f[2,3,4] ?d; i[1] 1 | f[2,3,4] ?d; i[2] 0 -1 { keepdims=0 } | f[2,3] ?d { keepdims=0 } | f[2,3] ?d { noop_with_empty_axes=1 } | "
   "@13 f[2,3,4] ?d { axes=[1] } | @17 f[2,3,2,2] ?d { axes=[2,-1] keepdims=0 } | @11 f[3,4] ?d | f[2,300] ?d; i[1] 1"},
  /* pooling and normalisation */
  {"MaxPool", FIRST, pipeline_gradient_pool_infer, pipeline_max_pool_forward, pipeline_max_pool_backward, NULL, SMOOTH,
   "f[1,2,6,6] ?d { kernel_shape=[2,2] strides=[2,2] } | f[1,1,5,5] ?d { kernel_shape=[3,3] strides=[2,2] pads=[1,1,1,1] } | "
   "f[1,1,6,6] ?d { kernel_shape=[2,2] dilations=[2,2] } | f[1,2,7] ?d { kernel_shape=[3] strides=[2] ceil_mode=1 }"},
  {"AveragePool", FIRST, pipeline_gradient_pool_infer, pipeline_average_pool_forward, pipeline_average_pool_backward, NULL, SMOOTH,
   "f[1,2,6,6] ? { kernel_shape=[2,2] strides=[2,2] } | f[2,1,5,5] ? { kernel_shape=[3,3] strides=[2,2] pads=[1,1,1,1] } | "
   "f[2,1,5,5] ? { kernel_shape=[3,3] strides=[2,2] pads=[1,1,1,1] count_include_pad=1 } | f[1,2,6] ? { kernel_shape=[3] strides=[2] ceil_mode=1 }"},
  {"GlobalAveragePool", FIRST, pipeline_gradient_global_pool_infer, pipeline_global_average_pool_forward, pipeline_global_average_pool_backward,
   NULL, SMOOTH, "f[2,3,4,5] ? | f[2,3,4] ?"},
  {"GlobalMaxPool", FIRST, pipeline_gradient_global_pool_infer, NULL, pipeline_extreme_backward, NULL, SMOOTH,
   "f[2,3,4,5] ?d | f[2,3,4] ?d | f[1,2,2,3,2] ?d"},
  {"BatchNormalization", TRIPLE, pipeline_gradient_batch_normalization_infer, pipeline_gradient_batch_normalization_forward,
   pipeline_batch_normalization_backward, NULL, SMOOTH,
   "f[6,3] ?; f[3] ?+; f[3] ?; f[3] 0 0 0; f[3] 1 1 1 | f[3,2,2,3] ?; f[2] ?+; f[2] ?; f[2] 0 0; f[2] 1 1 { epsilon=0.01 momentum=0.5 }"},
  {"LayerNormalization", TRIPLE, pipeline_gradient_layer_normalization_infer, pipeline_layer_normalization_forward,
   pipeline_layer_normalization_backward, NULL, SMOOTH,
   "f[3,5] ?; f[5] ?; f[5] ? | f[2,3,4] ?; f[3,4] ?; f[3,4] ? { axis=1 } | f[2,6] ?; f[6] ? { epsilon=0.01 }"},
  {"InstanceNormalization", TRIPLE, pipeline_gradient_group_normalization_infer, pipeline_group_normalization_forward,
   pipeline_group_normalization_backward, NULL, SMOOTH,
   "f[2,3,8] ?; f[3] ?; f[3] ? | f[2,2,3,3] ?; f[2] ?; f[2] ? { epsilon=0.01 } | f[1,2,2,2,3] ?; f[2] ?; f[2] ? | f[4,1,20] ?; f[1] ?; f[1] ?"},
  {"GroupNormalization", TRIPLE, pipeline_gradient_group_normalization_infer, pipeline_group_normalization_forward,
   pipeline_group_normalization_backward, NULL, SMOOTH,
   "f[2,4,3] ?; f[4] ?; f[4] ? { num_groups=2 } | f[2,6,2,2] ?; f[6] ?; f[6] ? { num_groups=3 epsilon=0.01 } | f[3,6] ?; f[6] ?; f[6] ? { num_groups=1 } | "
   "@18 f[2,4,3] ?; f[2] ?; f[2] ? { num_groups=2 } | @20 f[1,6,2,2] ?; f[3] ?; f[3] ? { num_groups=3 epsilon=0.01 } | f[1,4,150] ?; f[4] ?; f[4] ? { num_groups=2 }"},
  {"Dropout", FIRST, NULL, pipeline_gradient_dropout_forward, pipeline_dropout_backward, NULL, SMOOTH, "f[4,8] ?; f[] 0.25 | f[5] ? | @11 f[9] ? { ratio=0.7 }"},
  /* sequences */
  {"LSTM", RECURRENT, pipeline_gradient_recurrent_infer, pipeline_recurrent_forward, pipeline_recurrent_backward, NULL, LONG,
   "f[4,2,3] ?; f[1,8,3] ?; f[1,8,2] ?; f[1,16] ? { hidden_size=2 } => 3 | f[3,2,2] ?; f[1,8,2] ?; f[1,8,2] ? { direction='reverse' hidden_size=2 } | "
   "f[3,2,2] ?; f[2,12,2] ?; f[2,12,3] ?; f[2,24] ? { direction='bidirectional' hidden_size=3 } => 3 | f[1,1,1] ?; f[1,4,1] ?; f[1,4,1] ?"},
  {"GRU", RECURRENT, pipeline_gradient_recurrent_infer, pipeline_recurrent_forward, pipeline_recurrent_backward, NULL, LONG,
   "f[4,2,3] ?; f[1,6,3] ?; f[1,6,2] ?; f[1,12] ? { hidden_size=2 } => 2 | f[4,2,3] ?; f[1,6,3] ?; f[1,6,2] ?; f[1,12] ? { hidden_size=2 linear_before_reset=1 } => 2 | "
   "f[3,2,2] ?; f[2,9,2] ?; f[2,9,3] ?; f[2,18] ? { direction='bidirectional' hidden_size=3 linear_before_reset=1 } => 2 | f[3,2,2] ?; f[1,6,2] ?; f[1,6,2] ? { direction='reverse' hidden_size=2 }"},
  /* shapes and places */
  {"Identity", FIRST, NULL, NULL, pipeline_copy_backward, NULL, SMOOTH, "f[2,3] ?"},
  {"Flatten", FIRST, NULL, NULL, pipeline_copy_backward, NULL, SMOOTH, "f[2,3,2] ?"},
  {"Reshape", FIRST, NULL, NULL, pipeline_copy_backward, NULL, SMOOTH, "f[2,3] ?; i[2] 3 -1 | f[4] ?; i[2] 2 2"},
  {"Squeeze", FIRST, NULL, NULL, pipeline_copy_backward, NULL, SMOOTH, "f[2,1,3] ?; i[1] 1"},
  {"Unsqueeze", FIRST, NULL, NULL, pipeline_copy_backward, NULL, SMOOTH, "f[2,3] ?; i[1] 0"},
  {"Cast", FIRST, NULL, NULL, pipeline_cast_backward, NULL, SMOOTH, "f[2,3] ? { to=1 }"},
  {"Transpose", FIRST, NULL, NULL, pipeline_move_backward, NULL, SMOOTH, "f[2,3] ? | f[2,3,4] ? { perm=[1,2,0] } | f[2,3,2,2] ? { perm=[0,2,1,3] }"},
  {"Pad", FIRST, NULL, NULL, pipeline_move_backward, NULL, SMOOTH,
   "f[2,3] ?; i[4] 1 0 0 2 | f[2,3] ?; i[4] 0 1 1 0; f[] 0.5 | f[1,4] ?; i[4] 0 2 0 1 { mode='reflect' } | f[2,2] ?; i[4] 1 1 0 2 { mode='edge' }"},
  {"Slice", FIRST, NULL, NULL, pipeline_move_backward, NULL, SMOOTH,
   "f[4,5] ?; i[2] 1 0; i[2] 3 5 | f[5] ?; i[1] -1; i[1] -9; i[1] 0; i[1] -2 | f[3,4] ?; i[1] 1; i[1] 3; i[1] 1"},
  {"Concat", PIPELINE_GRADIENT_ALL, NULL, NULL, pipeline_concat_backward, NULL, SMOOTH, "f[2,1] ?; f[2,3] ? { axis=1 } | f[1,2] ?; f[2,2] ?; f[1,2] ? { axis=0 }"},
  {"Split", FIRST, NULL, NULL, pipeline_split_backward, NULL, SMOOTH, "f[2,5] ?; i[2] 2 3 { axis=1 } => 2"},
  {"Gather", FIRST, NULL, NULL, pipeline_gather_backward, NULL, SMOOTH, "f[4,3] ?; i[5] 0 2 2 -1 1 | f[2,4] ?; i[2,2] 1 1 0 3 { axis=1 } | f[3] ?; i[] 2"},
  {"Expand", FIRST, NULL, NULL, pipeline_expand_backward, NULL, SMOOTH, "f[2,1] ?; i[2] 2 3 | f[3] ?; i[3] 2 1 3"},
  /* preprocessing: attacks go through it to the model's inputs */
  {"ai.onnx.ml:Scaler", FIRST, NULL, NULL, pipeline_scaler_backward, NULL, SMOOTH,
   "f[3,2] ? { offset=[0.5,-1.0] scale=[2.0,0.25] } | f[2,3] ? { scale=[3.0] } | f[4] ? { offset=[1.0] }"},
  {"ai.onnx.ml:Imputer", FIRST, NULL, NULL, pipeline_imputer_backward, NULL, SMOOTH,
   "f[3,2] ? { imputed_value_floats=[0.5,1.0] replaced_value_float=7.0 }"},
  /* what does not depend smoothly on its input: nothing flows back */
  {.name = "Shape"}, {.name = "Size"}, {.name = "ConstantOfShape"}, {.name = "Range"}, {.name = "Floor"}, {.name = "Ceil"},
  {.name = "Sign"}, {.name = "IsNaN"}, {.name = "Equal"}, {.name = "Less"}, {.name = "Greater"}, {.name = "LessOrEqual"},
  {.name = "GreaterOrEqual"}, {.name = "And"}, {.name = "Or"}, {.name = "Xor"}, {.name = "Not"}, {.name = "ArgMax"},
  {.name = "ArgMin"}, {.name = "CastLike"},
  {.name = NULL},
};
/* clang-format on */

const PipelineGradient *pipeline_gradient_find(const gchar *domain, const gchar *name)
{
  g_autofree gchar *full = domain[0] != '\0' ? g_strconcat(domain, ":", name, NULL) : g_strdup(name);
  for (const PipelineGradient *row = pipeline_gradients; row->name != NULL; row++)
    if (strcmp(row->name, full) == 0) return row;
  return NULL;
}

/* --- one node ----------------------------------------------------------------------------------------------------- */

gboolean pipeline_gradient_infer(PipelineGradientCall *call, GError **error)
{
  const PipelineGradient *gradient = call->gradient;
  if (gradient != NULL && gradient->infer != NULL) return gradient->infer(&call->call, error);
  return call->call.operator->infer(&call->call, error);
}

/* The backend's kernel for this node at these shapes, or NULL: the reference's. */
static const PipelineGradientKernel *choose_kernel(const PipelineGradientCall *call,
                                                   const PipelineGradientBackend *backend)
{
  if (call->gradient == NULL) return NULL;
  const PipelineGradientKernel *kernel = pipeline_gradient_kernel_find(backend, call->gradient->name);
  return kernel != NULL && (kernel->supports == NULL || kernel->supports(call)) ? kernel : NULL;
}

gboolean pipeline_gradient_has_kernel(const PipelineGradientCall *call, const PipelineGradientBackend *backend)
{
  return choose_kernel(call, backend) != NULL;
}

gboolean pipeline_gradient_takes_layouts(const PipelineGradientCall *call, const PipelineGradientBackend *backend)
{
  const PipelineGradientKernel *kernel = choose_kernel(call, backend);
  return kernel != NULL && kernel->layouts;
}

gboolean pipeline_gradient_forward(PipelineGradientCall *call, const PipelineGradientBackend *backend, GError **error)
{
  const PipelineGradientKernel *kernel = choose_kernel(call, backend);
  if (kernel != NULL && kernel->forward != NULL) return kernel->forward(call, error);
  if (call->gradient != NULL && call->gradient->forward != NULL) return call->gradient->forward(call, error);
  return call->call.operator->run(&call->call, error);
}

gboolean pipeline_gradient_backward(PipelineGradientCall *call, const PipelineGradientBackend *backend, GError **error)
{
  const PipelineGradientKernel *kernel = choose_kernel(call, backend);
  if (kernel != NULL && kernel->backward != NULL) return kernel->backward(call, error);
  return call->gradient->backward(call, error);
}
