/* Activations, arithmetic with broadcasting, Where, Clip, Dropout. */
#include <math.h>
#include <string.h>

#include "pipeline/cuda/nodes.h"

/* --- one operand ----------------------------------------------------------------------------------------------------
 */

static const struct {
  const gchar *operator;
  PipelineCudaUnary function;
  const gchar *alpha_name, *beta_name; /* attributes, or NULL */
  float alpha, beta;                   /* their defaults */
} unaries[] = {
    {"Relu", PIPELINE_CUDA_relu, NULL, NULL, 0, 0},
    {"LeakyRelu", PIPELINE_CUDA_leaky_relu, "alpha", NULL, 0.01f, 0},
    {"Elu", PIPELINE_CUDA_elu, "alpha", NULL, 1, 0},
    {"Selu", PIPELINE_CUDA_selu, "alpha", "gamma", 1.67326319217681884765625f, 1.05070102214813232421875f},
    {"Gelu", PIPELINE_CUDA_gelu, NULL, NULL, 0, 0},
    {"Sigmoid", PIPELINE_CUDA_sigmoid, NULL, NULL, 0, 0},
    {"HardSigmoid", PIPELINE_CUDA_hard_sigmoid, "alpha", "beta", 0.2f, 0.5f},
    {"Tanh", PIPELINE_CUDA_tanh, NULL, NULL, 0, 0},
    {"Erf", PIPELINE_CUDA_erf, NULL, NULL, 0, 0},
    {"Softplus", PIPELINE_CUDA_softplus, NULL, NULL, 0, 0},
    {"Sqrt", PIPELINE_CUDA_sqrt, NULL, NULL, 0, 0},
    {"Reciprocal", PIPELINE_CUDA_reciprocal, NULL, NULL, 0, 0},
    {"Exp", PIPELINE_CUDA_exp, NULL, NULL, 0, 0},
    {"Log", PIPELINE_CUDA_log, NULL, NULL, 0, 0},
    {"Neg", PIPELINE_CUDA_neg, NULL, NULL, 0, 0},
    {"Abs", PIPELINE_CUDA_abs, NULL, NULL, 0, 0},
    {"HardSwish", PIPELINE_CUDA_hard_swish, NULL, NULL, 0, 0},
    {"Mish", PIPELINE_CUDA_mish, NULL, NULL, 0, 0},
    {"Softsign", PIPELINE_CUDA_softsign, NULL, NULL, 0, 0},
    {"Celu", PIPELINE_CUDA_celu, "alpha", NULL, 1, 0},
    {"ThresholdedRelu", PIPELINE_CUDA_thresholded_relu, "alpha", NULL, 1, 0},
    {"Sin", PIPELINE_CUDA_sin, NULL, NULL, 0, 0},
    {"Cos", PIPELINE_CUDA_cos, NULL, NULL, 0, 0},
};

typedef struct {
  PipelineCudaUnary function;
  float a, b;
} Unary;

static Unary read_unary(const PipelineGradientCall *call)
{
  const OnnxNode *node = call->call.node;
  guint i = 0;
  while (strcmp(unaries[i].operator, node->op_type) != 0) i++; /* the table of kernels names no other */
  Unary unary = {
      .function = unaries[i].function,
      .a = unaries[i].alpha_name != NULL ? onnx_node_get_float(node, unaries[i].alpha_name, unaries[i].alpha) : 0,
      .b = unaries[i].beta_name != NULL ? onnx_node_get_float(node, unaries[i].beta_name, unaries[i].beta) : 0};
  if (unary.function == PIPELINE_CUDA_gelu && pipeline_attribute_is(&call->call, "approximate", "none", "tanh"))
    unary.function = PIPELINE_CUDA_gelu_tanh;
  return unary;
}

gboolean pipeline_cuda_unary_node_forward(PipelineGradientCall *call, GError **error)
{
  Unary unary = read_unary(call);
  const PipelineTensor *x = call->call.inputs[0];
  return PIPELINE_CUDA_RUN(call, unary, unary.function, x->data, call->call.outputs[0]->data, x->n, unary.a, unary.b);
}

gboolean pipeline_cuda_unary_node_backward(PipelineGradientCall *call, GError **error)
{
  Unary unary = read_unary(call);
  const PipelineTensor *x = call->call.inputs[0];
  float *dx = pipeline_gradient_of_input(call, 0);
  return dx == NULL || PIPELINE_CUDA_RUN(call, unary_backward, unary.function, x->data, call->call.outputs[0]->data,
                                         pipeline_gradient_of_output(call, 0), dx, x->n, unary.a, unary.b);
}

/* --- two operands ---------------------------------------------------------------------------------------------------
 */

static const struct {
  const gchar *operator;
  PipelineCudaBinary function;
} binaries[] = {{"Add", PIPELINE_CUDA_add_of}, {"Sub", PIPELINE_CUDA_sub_of},    {"Mul", PIPELINE_CUDA_mul_of},
                {"Div", PIPELINE_CUDA_div_of}, {"Pow", PIPELINE_CUDA_pow_of},    {"Min", PIPELINE_CUDA_min_of},
                {"Max", PIPELINE_CUDA_max_of}, {"PRelu", PIPELINE_CUDA_prelu_of}};

static PipelineCudaBinary read_binary(const PipelineGradientCall *call)
{
  guint i = 0;
  while (strcmp(binaries[i].operator, call->call.node->op_type) != 0) i++; /* the table of kernels names no other */
  return binaries[i].function;
}

typedef struct {
  const PipelineTensor *pair[2];
  PipelineTensor view;
  const float *operands[2];
  PipelineCudaWalk walk;
} Pair;

static gboolean read_pair(PipelineGradientCall *call, const PipelineTensor *output, Pair *pair, GError **error)
{
  if (!pipeline_pair(&call->call, pair->pair, &pair->view, error)) return FALSE;
  for (guint i = 0; i < 2; i++) {
    pair->operands[i] = pipeline_cuda_floats(call, pair->pair[i], 1 + i, error);
    if (pair->operands[i] == NULL) return FALSE;
  }
  pipeline_cuda_walk(&pair->walk, pair->pair, 2, output);
  return TRUE;
}

gboolean pipeline_cuda_binary_node_forward(PipelineGradientCall *call, GError **error)
{
  Pair pair;
  PipelineTensor *y = call->call.outputs[0];
  return read_pair(call, y, &pair, error) &&
         PIPELINE_CUDA_RUN(call, binary, read_binary(call), &pair.walk, pair.operands[0], pair.operands[1], y->data);
}

/* The shape of an input's gradient as the walk sees it: before set 7 with trailing dimensions of 1. */
static PipelineTensor as_operand(const PipelineTensor *gradient, const PipelineTensor *operand)
{
  PipelineTensor shape = *gradient;
  shape.n_dims = operand->n_dims;
  memcpy(shape.dims, operand->dims, sizeof shape.dims);
  return shape;
}

gboolean pipeline_cuda_binary_node_backward(PipelineGradientCall *call, GError **error)
{
  Pair pair;
  const PipelineTensor *dy = call->output_gradients[0];
  PipelineCudaBinary function = read_binary(call);
  if (!read_pair(call, dy, &pair, error)) return FALSE;
  for (guint i = 0; i < 2; i++) {
    if (call->input_gradients[i] == NULL) continue;
    PipelineTensor whole = *dy, dx = as_operand(call->input_gradients[i], pair.pair[i]);
    gboolean direct = dx.n == dy->n;
    if (function == PIPELINE_CUDA_add_of || (function == PIPELINE_CUDA_sub_of)) {
      float sign = function == PIPELINE_CUDA_sub_of && i == 1 ? -1 : 1;
      if (!pipeline_cuda_sum_to(call, dy, sign, &dx, error)) return FALSE;
      continue;
    }
    whole.data = direct ? dx.data : pipeline_cuda_buffer(call, 0, dy->n * sizeof(float), error);
    if (whole.data == NULL ||
        !PIPELINE_CUDA_RUN(call, binary_backward, function, (int)i, &pair.walk, pair.operands[0], pair.operands[1],
                           dy->data, whole.data) ||
        (!direct && !pipeline_cuda_sum_to(call, &whole, 1, &dx, error)))
      return FALSE;
  }
  return TRUE;
}

/* --- Sum, and Mean: the parameter of the row tells them apart
 * ---------------------------------------------------------
 */

static float share_of(const PipelineGradientCall *call)
{
  return call->gradient->parameter != NULL ? 1 / (float)call->call.n_inputs : 1;
}

gboolean pipeline_cuda_sum_node_forward(PipelineGradientCall *call, GError **error)
{
  PipelineTensor *y = call->call.outputs[0];
  if (!pipeline_cuda_spread(call, call->call.inputs[0], 1, y, error)) return FALSE;
  for (guint i = 1; i < call->call.n_inputs; i++) {
    PipelineCudaWalk walk;
    const PipelineTensor *pair[2] = {y, call->call.inputs[i]};
    pipeline_cuda_walk(&walk, pair, 2, y);
    if (!PIPELINE_CUDA_RUN(call, binary, PIPELINE_CUDA_add_of, &walk, y->data, pair[1]->data, y->data)) return FALSE;
  }
  float share = share_of(call);
  return share == 1 || pipeline_cuda_spread(call, y, share, y, error); /* in place: each element from itself */
}

gboolean pipeline_cuda_sum_node_backward(PipelineGradientCall *call, GError **error)
{
  for (guint i = 0; i < call->call.n_inputs; i++)
    if (call->input_gradients[i] != NULL &&
        !pipeline_cuda_sum_to(call, call->output_gradients[0], share_of(call), call->input_gradients[i], error))
      return FALSE;
  return TRUE;
}

/* --- Where, Clip
 * ------------------------------------------------------------------------------------------------------ */

static gboolean choose(PipelineGradientCall *call, const PipelineTensor *output, const float *a, const float *b,
                       const PipelineTensor *const *shapes, float *to, GError **error)
{
  PipelineCudaWalk walk;
  const PipelineTensor *condition = call->call.inputs[0];
  const guint8 *there = pipeline_cuda_constant(call, 1, condition->data, condition->n, error);
  if (there == NULL) return FALSE;
  pipeline_cuda_walk(&walk, shapes, 3, output);
  return PIPELINE_CUDA_RUN(call, choose, &walk, there, a, b, to);
}

gboolean pipeline_cuda_where_node_forward(PipelineGradientCall *call, GError **error)
{
  const PipelineTensor *const *inputs = call->call.inputs;
  PipelineTensor *y = call->call.outputs[0];
  return choose(call, y, inputs[1]->data, inputs[2]->data, inputs, y->data, error);
}

gboolean pipeline_cuda_where_node_backward(PipelineGradientCall *call, GError **error)
{
  const PipelineTensor *dy = call->output_gradients[0], *shapes[3] = {call->call.inputs[0], dy, dy};
  for (guint i = 1; i < 3; i++) {
    PipelineTensor whole = *dy;
    if (call->input_gradients[i] == NULL) continue;
    whole.data = pipeline_cuda_buffer(call, 0, dy->n * sizeof(float), error);
    if (whole.data == NULL ||
        !choose(call, dy, i == 1 ? dy->data : NULL, i == 2 ? dy->data : NULL, shapes, whole.data, error) ||
        !pipeline_cuda_sum_to(call, &whole, 1, call->input_gradients[i], error))
      return FALSE;
  }
  return TRUE;
}

/* The bounds on the device: inputs, before set 11 attributes. */
static gboolean find_bound(PipelineGradientCall *call, const gchar *name, guint index, const float **bound,
                           GError **error)
{
  const PipelineTensor *input = pipeline_input(&call->call, index);
  *bound = NULL;
  if (input != NULL && input->n > 0) {
    *bound = input->data;
    return TRUE;
  }
  if (onnx_node_get_attribute(call->call.node, name) == NULL) return TRUE;
  float value = onnx_node_get_float(call->call.node, name, 0);
  *bound = pipeline_cuda_constant(call, index, &value, sizeof value, error);
  return *bound != NULL;
}

static gboolean clip(PipelineGradientCall *call, const float *dy, float *to, GError **error)
{
  const float *low, *high;
  const PipelineTensor *x = call->call.inputs[0];
  return find_bound(call, "min", 1, &low, error) && find_bound(call, "max", 2, &high, error) &&
         PIPELINE_CUDA_RUN(call, clip, x->data, low, high, dy, to, x->n);
}

gboolean pipeline_cuda_clip_node_forward(PipelineGradientCall *call, GError **error)
{
  return clip(call, NULL, call->call.outputs[0]->data, error);
}

gboolean pipeline_cuda_clip_node_backward(PipelineGradientCall *call, GError **error)
{
  float *dx = pipeline_gradient_of_input(call, 0);
  return dx == NULL || clip(call, pipeline_gradient_of_output(call, 0), dx, error);
}

/* --- Dropout: the same masks from the same generator as the reference
 * -------------------------------------------------
 */

static float ratio_of(const PipelineGradientCall *call)
{
  return pipeline_gradient_dropout_ratio(&call->call, call->call.n_inputs > 1 ? call->host_inputs[1] : NULL);
}

static gboolean drops(const PipelineGradientCall *call)
{
  return call->training && call->random != NULL && ratio_of(call) > 0;
}

static gboolean multiply_mask(PipelineGradientCall *call, const float *from, float *to, GError **error)
{
  PipelineCudaWalk walk;
  const PipelineTensor *x = call->call.inputs[0], *pair[2] = {x, x};
  const float *mask = pipeline_cuda_buffer(call, 0, x->n * sizeof(float), error);
  pipeline_cuda_walk(&walk, pair, 2, x);
  return mask != NULL && PIPELINE_CUDA_RUN(call, binary, PIPELINE_CUDA_mul_of, &walk, from, mask, to);
}

/* The mask of this step. */
gboolean pipeline_cuda_dropout_refresh(PipelineGradientCall *call, GError **error)
{
  gsize n = call->call.inputs[0]->n;
  if (call->call.inputs[0]->type != ONNX_TYPE_FLOAT || !drops(call)) return TRUE;
  float *mask = pipeline_gradient_memory(call, 0, n * sizeof(float));
  gpointer there = pipeline_cuda_buffer(call, 0, n * sizeof(float), error);
  pipeline_gradient_dropout_mask(call, ratio_of(call), mask, n);
  return there != NULL && PIPELINE_CUDA_RUN(call, copy_in, there, mask, n * sizeof(float));
}

gboolean pipeline_cuda_dropout_node_forward(PipelineGradientCall *call, GError **error)
{
  const PipelineTensor *x = call->call.inputs[0];
  PipelineTensor *y = call->call.outputs[0], *shown = call->call.n_outputs > 1 ? call->call.outputs[1] : NULL;
  if (!drops(call)) {
    if (shown != NULL) memset(shown->data, 1, shown->n);
    return pipeline_cuda_copy(call, y->data, x->data, x->n, error);
  }
  if (!call->refreshed && !pipeline_cuda_dropout_refresh(call, error)) return FALSE;
  return multiply_mask(call, x->data, y->data, error);
}

gboolean pipeline_cuda_dropout_node_backward(PipelineGradientCall *call, GError **error)
{
  float *dx = pipeline_gradient_of_input(call, 0);
  const float *dy = pipeline_gradient_of_output(call, 0);
  if (dx == NULL) return TRUE;
  if (!drops(call)) return pipeline_cuda_copy(call, dx, dy, call->call.inputs[0]->n, error);
  return multiply_mask(call, dy, dx, error);
}

/* --- Scaler (ai.onnx.ml): (x − offset) · scale, each one number or one a feature ------------------------------------
 */

/* to = from (function) list; the list's numbers in buffer `buffer`. No list: a copy, or nothing when it is in place. */
static gboolean apply_list(PipelineGradientCall *call, const gchar *name, PipelineCudaBinary function, guint buffer,
                           const float *from, float *to, GError **error)
{
  const PipelineTensor *x = call->call.inputs[0];
  guint n;
  const float *list = pipeline_operator_floats(&call->call, name, &n);
  PipelineTensor row = {.type = ONNX_TYPE_FLOAT, .n_dims = 1, .dims = {n}, .n = n};
  const PipelineTensor *pair[2] = {x, &row};
  PipelineCudaWalk walk;
  if (n == 0) return from == to || pipeline_cuda_copy(call, to, from, x->n, error);
  row.data = (gpointer)pipeline_cuda_constant(call, buffer, list, n * sizeof(float), error);
  pipeline_cuda_walk(&walk, pair, 2, x);
  return row.data != NULL && PIPELINE_CUDA_RUN(call, binary, function, &walk, from, row.data, to);
}

gboolean pipeline_cuda_scaler_node_forward(PipelineGradientCall *call, GError **error)
{
  float *y = call->call.outputs[0]->data;
  return apply_list(call, "offset", PIPELINE_CUDA_sub_of, 1, call->call.inputs[0]->data, y, error) &&
         apply_list(call, "scale", PIPELINE_CUDA_mul_of, 2, y, y, error);
}

gboolean pipeline_cuda_scaler_node_backward(PipelineGradientCall *call, GError **error)
{
  float *dx = pipeline_gradient_of_input(call, 0);
  return dx == NULL ||
         apply_list(call, "scale", PIPELINE_CUDA_mul_of, 2, pipeline_gradient_of_output(call, 0), dx, error);
}
