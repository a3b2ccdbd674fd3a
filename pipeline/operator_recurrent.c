/* RNN, GRU, LSTM. X [T, N, I] (layout 1: [N, T, I]), W [D, G·H, I], R [D, G·H, H], B [D, 2·G·H], states [D, N, H]
 * (layout 1: [N, D, H]); D directions, G gates: RNN i, GRU z r h, LSTM i o f c. Row n ends after sequence_lens[n]
 * steps. Source of the formulas: https://onnx.ai/onnx/operators/onnx__LSTM.html and its siblings. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

/* --- activations
 * ------------------------------------------------------------------------------------------------------- */

typedef struct {
  const gchar *name;
  double (*apply)(double x, double alpha, double beta);
  guint n_parameters;
  double alpha, beta; /* defaults */
} Activation;

#define ACTIVATION(name, expression)                                                                                   \
  static double name(double x, double alpha, double beta)                                                              \
  {                                                                                                                    \
    (void)alpha;                                                                                                       \
    (void)beta;                                                                                                        \
    return expression;                                                                                                 \
  }
ACTIVATION(relu, x < 0 ? 0 : x)
ACTIVATION(tangent, tanh(x))
ACTIVATION(sigmoid, 1 / (1 + exp(-x)))
ACTIVATION(affine, alpha *x + beta)
ACTIVATION(leaky, x < 0 ? alpha * x : x)
ACTIVATION(thresholded, x >= alpha ? x : 0)
ACTIVATION(scaled_tangent, alpha *tanh(beta *x))
ACTIVATION(hard_sigmoid, CLAMP(alpha *x + beta, 0, 1))
ACTIVATION(elu, x < 0 ? alpha * expm1(x) : x)
ACTIVATION(softsign, x / (1 + fabs(x)))
ACTIVATION(softplus, log1p(exp(-fabs(x))) + (x < 0 ? 0 : x))

static const Activation activations[] = {
    {"Relu", relu, 0, 0, 0},
    {"Tanh", tangent, 0, 0, 0},
    {"Sigmoid", sigmoid, 0, 0, 0},
    {"Affine", affine, 2, 1, 0},
    {"LeakyRelu", leaky, 1, 0.01, 0},
    {"ThresholdedRelu", thresholded, 1, 1, 0},
    {"ScaledTanh", scaled_tangent, 2, 1, 1},
    {"HardSigmoid", hard_sigmoid, 2, 0.2, 0.5},
    {"Elu", elu, 1, 1, 0},
    {"Softsign", softsign, 0, 0, 0},
    {"Softplus", softplus, 0, 0, 0},
};

/* --- the node
 * ---------------------------------------------------------------------------------------------------------- */

typedef struct _Layer Layer;

struct _PipelineRecurrent {
  guint gates, n_activations;
  const gchar *defaults[3]; /* activations */
  /* One step of one row: gates [G·H] = x·W + b is given, R·h is `hidden` [G·H] with its bias. */
  void (*step)(const Layer *layer, guint direction, const float *gates, const float *hidden, float *h, float *c);
  gboolean resets_before; /* may need R_h·(r∘h): GRU */
};

struct _Layer {
  const PipelineRecurrent *kind;
  gsize steps, rows, inputs, hidden, directions;
  gboolean by_row, reverse_first, input_forget, linear_before_reset;
  double clip; /* INFINITY: none */
  Activation activations[6];
  const float *w, *r, *b, *peepholes;
};

static double activate(const Layer *layer, guint direction, guint index, double x)
{
  const Activation *activation = &layer->activations[direction * layer->kind->n_activations + index];
  return activation->apply(CLAMP(x, -layer->clip, layer->clip), activation->alpha, activation->beta);
}

static void step_rnn(const Layer *layer, guint direction, const float *gates, const float *hidden, float *h, float *c)
{
  (void)c;
  for (gsize i = 0; i < layer->hidden; i++)
    h[i] = (float)activate(layer, direction, 0, (double)gates[i] + (double)hidden[i]);
}

/* hidden[2H…] is R_h·h + bias; without linear_before_reset the caller has put R_h·(r∘h) + bias there. */
static void step_gru(const Layer *layer, guint direction, const float *gates, const float *hidden, float *h, float *c)
{
  (void)c;
  gsize n = layer->hidden;
  for (gsize i = 0; i < n; i++) {
    double z = activate(layer, direction, 0, (double)gates[i] + (double)hidden[i]);
    double r = activate(layer, direction, 0, (double)gates[n + i] + (double)hidden[n + i]);
    double inner = (double)gates[2 * n + i] + (layer->linear_before_reset ? r : 1) * (double)hidden[2 * n + i];
    h[i] = (float)((1 - z) * activate(layer, direction, 1, inner) + z * (double)h[i]);
  }
}

static void step_lstm(const Layer *layer, guint direction, const float *gates, const float *hidden, float *h, float *c)
{
  gsize n = layer->hidden;
  const float *p = layer->peepholes != NULL ? layer->peepholes + direction * 3 * n : NULL;
  for (gsize k = 0; k < n; k++) {
    double before = (double)c[k];
    double in = (double)gates[k] + (double)hidden[k] + (p != NULL ? (double)p[k] * before : 0);
    double forget =
        (double)gates[2 * n + k] + (double)hidden[2 * n + k] + (p != NULL ? (double)p[2 * n + k] * before : 0);
    double i = activate(layer, direction, 0, in);
    double f = layer->input_forget ? 1 - i : activate(layer, direction, 0, forget);
    double g = activate(layer, direction, 1, (double)gates[3 * n + k] + (double)hidden[3 * n + k]);
    double now = f * before + i * g;
    double out = (double)gates[n + k] + (double)hidden[n + k] + (p != NULL ? (double)p[n + k] * now : 0);
    c[k] = (float)now;
    h[k] = (float)(activate(layer, direction, 0, out) * activate(layer, direction, 2, now));
  }
}

const PipelineRecurrent pipeline_recurrent_rnn = {1, 1, {"Tanh"}, step_rnn, FALSE};
const PipelineRecurrent pipeline_recurrent_gru = {3, 2, {"Sigmoid", "Tanh"}, step_gru, TRUE};
const PipelineRecurrent pipeline_recurrent_lstm = {4, 3, {"Sigmoid", "Tanh", "Tanh"}, step_lstm, FALSE};

static gboolean find_activation(const gchar *name, gsize length, Activation *activation)
{
  for (gsize i = 0; i < G_N_ELEMENTS(activations); i++)
    if (strlen(activations[i].name) == length && g_ascii_strncasecmp(activations[i].name, name, length) == 0) {
      *activation = activations[i];
      return TRUE;
    }
  return FALSE;
}

/* Numbers of activation_alpha / _beta are used up in order by the activations that take one. */
static void take_parameter(const OnnxAttribute *list, guint *used, double *value)
{
  if (list == NULL || list->kind != ONNX_ATTRIBUTE_FLOATS || *used >= list->numbers->len) return;
  *value = (double)g_array_index(list->numbers, float, (*used)++);
}

static gboolean read_activations(const PipelineCall *call, Layer *layer, GError **error)
{
  const OnnxAttribute *names = onnx_node_get_attribute(call->node, "activations");
  const OnnxAttribute *alphas = onnx_node_get_attribute(call->node, "activation_alpha"),
                      *betas = onnx_node_get_attribute(call->node, "activation_beta");
  guint per_direction = layer->kind->n_activations, n = per_direction * (guint)layer->directions, alpha = 0, beta = 0;
  if (names != NULL && (names->kind != ONNX_ATTRIBUTE_STRINGS || names->texts->len != n))
    return pipeline_operator_fail(error, "it does not name %u activations", n);
  for (guint i = 0; i < n; i++) {
    gsize length = strlen(layer->kind->defaults[i % per_direction]);
    const gchar *name = layer->kind->defaults[i % per_direction];
    if (names != NULL) name = g_bytes_get_data(g_ptr_array_index(names->texts, i), &length);
    if (name == NULL || !find_activation(name, length, &layer->activations[i]))
      return pipeline_operator_fail(error, "activation '%.*s' is unknown", (int)MIN(length, 40),
                                    name != NULL ? name : "");
    Activation *activation = &layer->activations[i];
    if (activation->n_parameters > 0) take_parameter(alphas, &alpha, &activation->alpha);
    if (activation->n_parameters > 1) take_parameter(betas, &beta, &activation->beta);
  }
  return TRUE;
}

static gboolean has_shape(const PipelineTensor *tensor, guint n_dims, const gsize *dims)
{
  if (tensor == NULL) return TRUE;
  if (tensor->type != ONNX_TYPE_FLOAT || tensor->n_dims != n_dims) return FALSE;
  for (guint d = 0; d < n_dims; d++)
    if (tensor->dims[d] != (gint64)dims[d]) return FALSE;
  return TRUE;
}

/* Inputs: X, W, R, B, sequence_lens, initial_h, and for LSTM initial_c, P. */
static gboolean check_shapes(const PipelineCall *call, const Layer *layer, GError **error)
{
  gsize d = layer->directions, g = layer->kind->gates, h = layer->hidden;
  gsize state[3] = {layer->by_row ? layer->rows : d, layer->by_row ? d : layer->rows, h};
  const PipelineTensor *lengths = pipeline_input(call, 4);
  if (!has_shape(call->inputs[1], 3, (gsize[]){d, g * h, layer->inputs}) ||
      !has_shape(call->inputs[2], 3, (gsize[]){d, g * h, h}) ||
      !has_shape(pipeline_input(call, 3), 2, (gsize[]){d, 2 * g * h}) ||
      !has_shape(pipeline_input(call, 5), 3, state) || !has_shape(pipeline_input(call, 6), 3, state) ||
      !has_shape(pipeline_input(call, 7), 2, (gsize[]){d, 3 * h}))
    return pipeline_operator_fail(error, "the shapes of its inputs do not fit together");
  if (lengths == NULL) return TRUE;
  if (lengths->type != ONNX_TYPE_INT32 || lengths->n != layer->rows) return pipeline_operator_fail_type(call, 4, error);
  for (gsize n = 0; n < lengths->n; n++)
    if (((const gint32 *)lengths->data)[n] < 0 || (gsize)((const gint32 *)lengths->data)[n] > layer->steps)
      return pipeline_operator_fail(error, "the length of sequence %zu does not fit", n);
  return TRUE;
}

static gboolean read_layer(const PipelineCall *call, Layer *layer, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *r = call->inputs[2];
  memset(layer, 0, sizeof *layer);
  layer->kind = call->operator->parameter;
  if (x->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 0, error);
  if (x->n_dims != 3 || r->n_dims != 3) return pipeline_operator_fail(error, "its inputs do not have 3 dimensions");
  layer->by_row = onnx_node_get_int(call->node, "layout", 0) != 0;
  layer->steps = (gsize)x->dims[layer->by_row ? 1 : 0];
  layer->rows = (gsize)x->dims[layer->by_row ? 0 : 1];
  layer->inputs = (gsize)x->dims[2];
  layer->hidden = (gsize)r->dims[2];
  g_autofree gchar *direction = onnx_node_copy_string(call->node, "direction", "forward");
  layer->reverse_first = strcmp(direction, "reverse") == 0;
  layer->directions = strcmp(direction, "bidirectional") == 0 ? 2 : 1;
  if (layer->directions == 1 && !layer->reverse_first && strcmp(direction, "forward") != 0)
    return pipeline_operator_fail(error, "direction '%s' is unknown", direction);
  layer->input_forget = onnx_node_get_int(call->node, "input_forget", 0) != 0;
  layer->linear_before_reset = onnx_node_get_int(call->node, "linear_before_reset", 0) != 0;
  layer->clip = onnx_node_get_attribute(call->node, "clip") == NULL
                    ? INFINITY
                    : fabs((double)onnx_node_get_float(call->node, "clip", 0));
  return check_shapes(call, layer, error) && read_activations(call, layer, error);
}

gboolean pipeline_recurrent_infer(PipelineCall *call, GError **error)
{
  Layer layer;
  if (!read_layer(call, &layer, error)) return FALSE;
  gint64 t = (gint64)layer.steps, n = (gint64)layer.rows, d = (gint64)layer.directions, h = (gint64)layer.hidden;
  gint64 all[4] = {layer.by_row ? n : t, layer.by_row ? t : d, layer.by_row ? d : n, h};
  gint64 state[3] = {layer.by_row ? n : d, layer.by_row ? d : n, h};
  double products = (double)t * (double)n * (double)d * (double)h * layer.kind->gates;
  return pipeline_output_set(call, 0, ONNX_TYPE_FLOAT, 4, all, error) &&
         pipeline_output_set(call, 1, ONNX_TYPE_FLOAT, 3, state, error) &&
         pipeline_output_set(call, 2, ONNX_TYPE_FLOAT, 3, state, error) &&
         pipeline_charge_multiplications(call, products * (double)(layer.inputs + layer.hidden), error);
}

/* --- running
 * ------------------------------------------------------------------------------------------------------------ */

static gsize state_offset(const Layer *layer, guint direction, gsize row)
{
  return (layer->by_row ? row * layer->directions + direction : direction * layer->rows + row) * layer->hidden;
}

static gsize output_offset(const Layer *layer, guint direction, gsize step, gsize row)
{
  gsize outer = layer->by_row ? (row * layer->steps + step) * layer->directions + direction
                              : (step * layer->directions + direction) * layer->rows + row;
  return outer * layer->hidden;
}

/* out [n] = bias + matrix [n, k] · vector [k] */
static void multiply_vector(const float *matrix, const float *vector, const float *bias, float *out, gsize n, gsize k)
{
  for (gsize i = 0; i < n; i++) {
    double sum = bias != NULL ? (double)bias[i] : 0;
    for (gsize j = 0; j < k; j++) sum += (double)matrix[i * k + j] * (double)vector[j];
    out[i] = (float)sum;
  }
}

/* GRU without linear_before_reset: the third gate sees r∘h in place of h. */
static void reset_hidden(const Layer *layer, guint direction, const float *r, const float *bias, const float *gates,
                         float *hidden, const float *h, float *scratch)
{
  gsize n = layer->hidden;
  for (gsize i = 0; i < n; i++)
    scratch[i] = (float)(activate(layer, direction, 0, (double)gates[n + i] + (double)hidden[n + i]) * (double)h[i]);
  multiply_vector(r + 2 * n * n, scratch, bias != NULL ? bias + 2 * n : NULL, hidden + 2 * n, n, n);
}

/* One direction of one row: steps 0 … length - 1, or the other way round. h, c: the states, in place. */
static void run_row(const PipelineCall *call, const Layer *layer, guint direction, gsize row, float *h, float *c,
                    float *scratch)
{
  const PipelineTensor *lengths = pipeline_input(call, 4), *bias = pipeline_input(call, 3);
  gsize n = layer->kind->gates * layer->hidden;
  const float *w = (const float *)call->inputs[1]->data + direction * n * layer->inputs,
              *r = (const float *)call->inputs[2]->data + direction * n * layer->hidden,
              *b = bias != NULL ? (const float *)bias->data + direction * 2 * n : NULL;
  float *gates = scratch, *hidden = scratch + n, *y = call->outputs[0]->data;
  gsize length = lengths != NULL ? (gsize)((const gint32 *)lengths->data)[row] : layer->steps;
  gboolean reverse = direction == 1 || layer->reverse_first;
  for (gsize i = 0; i < length; i++) {
    gsize step = reverse ? length - 1 - i : i;
    gsize at = layer->by_row ? row * layer->steps + step : step * layer->rows + row;
    multiply_vector(w, (const float *)call->inputs[0]->data + at * layer->inputs, b, gates, n, layer->inputs);
    multiply_vector(r, h, b != NULL ? b + n : NULL, hidden, n, layer->hidden);
    if (layer->kind->resets_before && !layer->linear_before_reset)
      reset_hidden(layer, direction, r, b != NULL ? b + n : NULL, gates, hidden, h, scratch + 2 * n);
    layer->kind->step(layer, direction, gates, hidden, h, c);
    memcpy(y + output_offset(layer, direction, step, row), h, layer->hidden * sizeof(float));
  }
}

static void load_state(const PipelineTensor *initial, gsize offset, float *state, gsize n)
{
  if (initial != NULL)
    memcpy(state, (const float *)initial->data + offset, n * sizeof(float));
  else
    memset(state, 0, n * sizeof(float));
}

gboolean pipeline_recurrent_run(PipelineCall *call, GError **error)
{
  Layer layer;
  if (!read_layer(call, &layer, error)) return FALSE;
  gsize h = layer.hidden;
  layer.peepholes = pipeline_input(call, 7) != NULL ? call->inputs[7]->data : NULL;
  g_autofree float *scratch = pipeline_scratch_new(call, (2 * layer.kind->gates + 3) * h, sizeof(float), error);
  if (scratch == NULL || h == 0) return scratch != NULL;
  float *state = scratch + (2 * layer.kind->gates + 1) * h, *cell = state + h;
  if (call->outputs[0]->n > 0) memset(call->outputs[0]->data, 0, call->outputs[0]->n * sizeof(float));
  for (guint d = 0; d < layer.directions; d++)
    for (gsize row = 0; row < layer.rows; row++) {
      gsize offset = state_offset(&layer, d, row);
      load_state(pipeline_input(call, 5), offset, state, h);
      load_state(pipeline_input(call, 6), offset, cell, h);
      run_row(call, &layer, d, row, state, cell, scratch);
      if (call->n_outputs > 1 && call->outputs[1] != NULL)
        memcpy((float *)call->outputs[1]->data + offset, state, h * sizeof(float));
      if (call->n_outputs > 2 && call->outputs[2] != NULL)
        memcpy((float *)call->outputs[2]->data + offset, cell, h * sizeof(float));
    }
  return TRUE;
}
