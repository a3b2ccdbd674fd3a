/* LSTM (Hochreiter and Schmidhuber 1997, with forget gates) and GRU (Cho et al. 2014; linear_before_reset 0 and 1), by
 * backpropagation through time. One or two directions; the standard activations; whole sequences (no sequence_lens),
 * no peepholes, layout 0.
 *
 * ONNX: x [time, batch, in], W [directions, gates · hidden, in], R [directions, gates · hidden, hidden],
 * B [directions, 2 · gates · hidden] (of W, then of R), initial h (and c) [directions, batch, hidden]; outputs
 * Y [time, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden]. Gates: LSTM i o f c, GRU z r h. */
#include <math.h>
#include <string.h>

#include "pipeline/gradient_internal.h"
#include "pipeline/wide.h"

/* What forward keeps of a step [batch, …]: activated gates, the new h, and c (LSTM) or R_h h + b (linear GRU). */
typedef struct {
  float *gates, *h, *c;
} StepState;

static gboolean refuse(GError **error, const gchar *what)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "%s is not trained through", what);
  return FALSE;
}

gboolean pipeline_gradient_read_recurrent(const PipelineCall *call, PipelineGradientRecurrent *r, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *w = call->inputs[1], *rw = call->inputs[2];
  g_autofree gchar *direction = onnx_node_copy_string(call->node, "direction", "forward");
  memset(r, 0, sizeof *r);
  r->lstm = strcmp(call->node->op_type, "LSTM") == 0;
  r->linear = onnx_node_get_int(call->node, "linear_before_reset", 0) != 0;
  r->gates = r->lstm ? 4 : 3;
  r->backwards = strcmp(direction, "reverse") == 0;
  for (guint i = 0; i < 3; i++)
    if (call->inputs[i]->type != ONNX_TYPE_FLOAT || call->inputs[i]->n_dims != 3)
      return pipeline_operator_fail_type(call, i, error);
  if (pipeline_input(call, 4) != NULL) return refuse(error, "sequence_lens");
  if (pipeline_input(call, 7) != NULL) return refuse(error, "a peephole");
  if (onnx_node_get_int(call->node, "layout", 0) != 0) return refuse(error, "layout 1");
  if (onnx_node_get_int(call->node, "input_forget", 0) != 0) return refuse(error, "input_forget");
  if (onnx_node_get_attribute(call->node, "clip") != NULL) return refuse(error, "clip");
  if (onnx_node_get_attribute(call->node, "activations") != NULL) return refuse(error, "a choice of activations");
  r->time = (gsize)x->dims[0];
  r->batch = (gsize)x->dims[1];
  r->in = (gsize)x->dims[2];
  r->directions = (gsize)w->dims[0];
  r->hidden = (gsize)rw->dims[2];
  gsize rows = r->gates * r->hidden;
  if (r->time == 0) return pipeline_operator_fail(error, "its sequences are empty");
  if ((gsize)w->dims[1] != rows || (gsize)rw->dims[1] != rows || (gsize)w->dims[2] != r->in ||
      (gsize)rw->dims[0] != r->directions || r->directions > 2)
    return pipeline_operator_fail(error, "its weights do not fit its input");
  const struct {
    guint input;
    gsize n;
  } sizes[] = {{3, r->directions * 2 * rows},
               {5, r->directions * r->batch * r->hidden},
               {6, r->directions * r->batch * r->hidden}};
  for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
    const PipelineTensor *given = pipeline_input(call, sizes[i].input);
    if (given != NULL && (given->type != ONNX_TYPE_FLOAT || given->n != sizes[i].n))
      return pipeline_operator_fail(error, "input %u does not have %zu numbers", sizes[i].input, sizes[i].n);
  }
  return TRUE;
}

gboolean pipeline_gradient_recurrent_infer(PipelineCall *call, GError **error)
{
  PipelineGradientRecurrent r;
  if (!pipeline_gradient_read_recurrent(call, &r, error)) return FALSE;
  const gint64 all[] = {(gint64)r.time, (gint64)r.directions, (gint64)r.batch, (gint64)r.hidden};
  return pipeline_output_set(call, 0, ONNX_TYPE_FLOAT, 4, all, error) &&
         pipeline_output_set(call, 1, ONNX_TYPE_FLOAT, 3, all + 1, error) &&
         pipeline_output_set(call, 2, ONNX_TYPE_FLOAT, 3, all + 1, error);
}

/* --- places ------------------------------------------------------------------------------------------------------- */

/* The place in time of step `s` (from 0) of a direction. */
static gsize time_of(const PipelineGradientRecurrent *r, gsize direction, gsize s)
{
  return direction == 1 || r->backwards ? r->time - 1 - s : s;
}

static StepState state_of(PipelineGradientCall *call, const PipelineGradientRecurrent *r, gsize direction, gsize s)
{
  gsize n = r->batch * r->hidden, step = direction * r->time + s, steps = r->directions * r->time;
  float *memory = pipeline_gradient_memory(call, 0, steps * n * (r->gates + 2) * sizeof(float));
  return (StepState){.gates = memory + step * n * r->gates,
                     .h = memory + steps * n * r->gates + step * n,
                     .c = memory + steps * n * (r->gates + 1) + step * n};
}

/* h or c in front of step s: of the step before, the initial one, or zeros. which: 5 h, 6 c. */
static const float *before_of(PipelineGradientCall *call, const PipelineGradientRecurrent *r, gsize direction, gsize s,
                              guint which)
{
  gsize n = r->batch * r->hidden;
  if (s > 0) {
    StepState state = state_of(call, r, direction, s - 1);
    return which == 5 ? state.h : state.c;
  }
  const float *initial = pipeline_gradient_input(call, which);
  if (initial != NULL) return initial + direction * n;
  float *zeros = pipeline_gradient_memory(call, 1, n * sizeof(float));
  memset(zeros, 0, n * sizeof(float));
  return zeros;
}

/* e^x within 2 units of the last place, of plain arithmetic so that loops of it become vectors: the C library's expf
 * and tanhf took half of a training. Source: Cephes' expf (Moshier 1989): x = n ln 2 + r, a polynomial in r, n by bits.
 */
static inline float exponential(float x)
{
  const float shift = 0x1.8p23f; /* a float of this size has no fraction: n lies in its low bits */
  x = x > 88 ? 88 : x;
  x = x < -87 ? -87 : x;
  float shifted = x * 1.44269504f + shift, n = shifted - shift;
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1;
  guint32 bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + 0x3f800000;
  float scale;
  memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}

static inline float sigmoid(float x)
{
  return 1 / (1 + exponential(-x));
}

/* Within 2e-7, absolutely. */
static inline float fast_tanh(float x)
{
  return 1 - 2 / (1 + exponential(2 * x));
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

/* to [batch, columns] of `stride`-wide rows = bias (W's, R's) of those gates. */
static void fill_bias(const PipelineGradientRecurrent *r, const float *w_bias, const float *r_bias, float *to)
{
  gsize width = r->gates * r->hidden;
  for (gsize b = 0; b < r->batch; b++)
    for (gsize k = 0; k < width; k++)
      to[b * width + k] = (w_bias != NULL ? w_bias[k] : 0) + (r_bias != NULL ? r_bias[k] : 0);
}

/* One row: gates [4 · hidden] before their activation. */
WIDE static void activate_lstm_row(gsize hidden, const float *restrict c_before, float *restrict gates,
                                   float *restrict c, float *restrict h)
{
  const float *i = gates, *o = gates + hidden, *f = gates + 2 * hidden, *new = gates + 3 * hidden;
  for (gsize k = 0; k < 3 * hidden; k++) gates[k] = sigmoid(gates[k]);
  for (gsize k = 3 * hidden; k < 4 * hidden; k++) gates[k] = fast_tanh(gates[k]);
  for (gsize k = 0; k < hidden; k++) {
    c[k] = f[k] * c_before[k] + i[k] * new[k];
    h[k] = o[k] * fast_tanh(c[k]);
  }
}

static void activate_lstm(const PipelineGradientRecurrent *r, const float *c_before, StepState *state)
{
  for (gsize b = 0; b < r->batch; b++)
    activate_lstm_row(r->hidden, c_before + b * r->hidden, state->gates + b * 4 * r->hidden, state->c + b * r->hidden,
                      state->h + b * r->hidden);
}

static gboolean forward_lstm(PipelineGradientCall *call, const PipelineGradientRecurrent *r, gsize d, gsize s,
                             const float *h, GError **error)
{
  StepState state = state_of(call, r, d, s);
  gsize width = 4 * r->hidden;
  const float *x = (const float *)call->call.inputs[0]->data + time_of(r, d, s) * r->batch * r->in;
  const float *w = (const float *)call->call.inputs[1]->data + d * width * r->in;
  const float *rw = (const float *)call->call.inputs[2]->data + d * width * r->hidden;
  const float *bias = pipeline_gradient_input(call, 3);
  if (bias != NULL) bias += d * 2 * width;
  const PipelineProduct of_x = {FALSE, TRUE, r->batch, width, r->in, 1, 1},
                        of_h = {FALSE, TRUE, r->batch, width, r->hidden, 1, 1};
  fill_bias(r, bias, bias != NULL ? bias + width : NULL, state.gates);
  if (!pipeline_gradient_multiply(call, &of_x, x, w, state.gates, error) ||
      !pipeline_gradient_multiply(call, &of_h, h, rw, state.gates, error))
    return FALSE;
  activate_lstm(r, before_of(call, r, d, s, 6), &state);
  return TRUE;
}

/* Three products: x W for all gates, h R for z and r, and R_h of h (linear) or of r ⊙ h. */
static gboolean forward_gru(PipelineGradientCall *call, const PipelineGradientRecurrent *r, gsize d, gsize s,
                            const float *h, GError **error)
{
  StepState state = state_of(call, r, d, s);
  gsize hidden = r->hidden, width = 3 * hidden, n = r->batch * hidden;
  const float *x = (const float *)call->call.inputs[0]->data + time_of(r, d, s) * r->batch * r->in;
  const float *w = (const float *)call->call.inputs[1]->data + d * width * r->in;
  const float *rw = (const float *)call->call.inputs[2]->data + d * width * hidden,
              *bias = pipeline_gradient_input(call, 3);
  const float *rb = bias != NULL ? bias + d * 2 * width + width : NULL;
  float *recurrent = pipeline_gradient_memory(call, 2, (r->batch * 2 * hidden + n) * sizeof(float));
  float *reset = recurrent + r->batch * 2 * hidden;
  const PipelineProduct of_x = {FALSE, TRUE, r->batch, width, r->in, 1, 1};
  const PipelineProduct of_h = {FALSE, TRUE, r->batch, 2 * hidden, hidden, 1, 0},
                        of_last = {FALSE, TRUE, r->batch, hidden, hidden, 1, 0};
  fill_bias(r, bias != NULL ? bias + d * 2 * width : NULL, NULL, state.gates);
  if (!pipeline_gradient_multiply(call, &of_x, x, w, state.gates, error) ||
      !pipeline_gradient_multiply(call, &of_h, h, rw, recurrent, error))
    return FALSE;
  for (gsize b = 0; b < r->batch; b++)
    for (gsize k = 0; k < 2 * hidden; k++) {
      float *gate = state.gates + b * width + k;
      *gate = sigmoid(*gate + recurrent[b * 2 * hidden + k] + (rb != NULL ? rb[k] : 0));
    }
  for (gsize b = 0; b < r->batch; b++)
    for (gsize k = 0; k < hidden; k++)
      reset[b * hidden + k] = r->linear ? h[b * hidden + k] : h[b * hidden + k] * state.gates[b * width + hidden + k];
  if (!pipeline_gradient_multiply(call, &of_last, reset, rw + 2 * hidden * hidden, state.c, error)) return FALSE;
  for (gsize b = 0; b < r->batch; b++)
    for (gsize k = 0; k < hidden; k++) {
      float *g = state.gates + b * width + k, *inner = state.c + b * hidden + k;
      *inner += rb != NULL ? rb[2 * hidden + k] : 0;
      g[2 * hidden] = fast_tanh(g[2 * hidden] + (r->linear ? g[hidden] * *inner : *inner));
      state.h[b * hidden + k] = (1 - g[0]) * g[2 * hidden] + g[0] * h[b * hidden + k];
    }
  return TRUE;
}

gboolean pipeline_recurrent_forward(PipelineGradientCall *call, GError **error)
{
  PipelineGradientRecurrent r;
  if (!pipeline_gradient_read_recurrent(&call->call, &r, error)) return FALSE;
  gsize n = r.batch * r.hidden;
  for (gsize d = 0; d < r.directions; d++)
    for (gsize s = 0; s < r.time; s++) {
      const float *h = before_of(call, &r, d, s, 5);
      if (!(r.lstm ? forward_lstm(call, &r, d, s, h, error) : forward_gru(call, &r, d, s, h, error))) return FALSE;
      StepState state = state_of(call, &r, d, s);
      memcpy((float *)call->call.outputs[0]->data + (time_of(&r, d, s) * r.directions + d) * n, state.h,
             n * sizeof(float));
      for (guint o = 1; s + 1 == r.time && o < call->call.n_outputs; o++)
        if (call->call.outputs[o] != NULL)
          memcpy((float *)call->call.outputs[o]->data + d * n, o == 1 ? state.h : state.c, n * sizeof(float));
    }
  return TRUE;
}

/* --- backward ----------------------------------------------------------------------------------------------------- */

/* Of one direction while its steps are walked back: gradients of h and c [batch, hidden], of the gates before their
 * activation as W sees them and as R sees them [batch, gates · hidden] (one array for LSTM). */
typedef struct {
  float *dh, *dc, *of_w, *of_r, *spare;
} Flow;

/* One row; leaves 0 in dh: R's part is added by the caller. */
WIDE static void backward_lstm_row(gsize hidden, const float *restrict gates, const float *restrict c_after,
                                   const float *restrict c_before, float *restrict dh, float *restrict dc,
                                   float *restrict out)
{
  for (gsize k = 0; k < hidden; k++) {
    float i = gates[k], o = gates[hidden + k], f = gates[2 * hidden + k], c = gates[3 * hidden + k];
    float t = fast_tanh(c_after[k]), of_h = dh[k], of_c = dc[k] + of_h * o * (1 - t * t);
    out[k] = of_c * c * i * (1 - i);
    out[hidden + k] = of_h * t * o * (1 - o);
    out[2 * hidden + k] = of_c * c_before[k] * f * (1 - f);
    out[3 * hidden + k] = of_c * i * (1 - c * c);
    dc[k] = of_c * f;
    dh[k] = 0;
  }
}

static void backward_lstm(const PipelineGradientRecurrent *r, const StepState *state, const float *c_before, Flow *flow)
{
  gsize hidden = r->hidden;
  for (gsize b = 0; b < r->batch; b++)
    backward_lstm_row(hidden, state->gates + b * 4 * hidden, state->c + b * hidden, c_before + b * hidden,
                      flow->dh + b * hidden, flow->dc + b * hidden, flow->of_w + b * 4 * hidden);
}

/* rw_h: R of the last gate. Leaves in flow->dh what does not go through R of z and r (nor, linear, of h). */
static gboolean backward_gru(PipelineGradientCall *call, const PipelineGradientRecurrent *r, const StepState *state,
                             const float *h, const float *rw_h, Flow *flow, GError **error)
{
  gsize hidden = r->hidden, width = 3 * hidden;
  const PipelineProduct back = {FALSE, FALSE, r->batch, hidden, hidden, 1, 0};
  float *last = flow->spare, *through = flow->spare + r->batch * hidden;
  for (gsize b = 0; b < r->batch; b++)
    for (gsize k = 0; k < hidden; k++) {
      const float *g = state->gates + b * width + k;
      float dh = flow->dh[b * hidden + k], z = g[0], n = g[2 * hidden], *out = flow->of_w + b * width + k;
      out[0] = dh * (h[b * hidden + k] - n) * z * (1 - z);
      out[2 * hidden] = last[b * hidden + k] = dh * (1 - z) * (1 - n * n);
      flow->dh[b * hidden + k] = dh * z;
    }
  if (!r->linear && !pipeline_gradient_multiply(call, &back, last, rw_h, through, error)) return FALSE;
  for (gsize b = 0; b < r->batch; b++)
    for (gsize k = 0; k < hidden; k++) {
      float *out = flow->of_w + b * width + k, *of_r = flow->of_r + b * width + k;
      float reset = state->gates[b * width + hidden + k];
      float dr =
          r->linear ? last[b * hidden + k] * state->c[b * hidden + k] : through[b * hidden + k] * h[b * hidden + k];
      out[hidden] = dr * reset * (1 - reset);
      of_r[0] = out[0];
      of_r[hidden] = out[hidden];
      of_r[2 * hidden] = r->linear ? last[b * hidden + k] * reset : 0;
      if (!r->linear) flow->dh[b * hidden + k] += through[b * hidden + k] * reset;
    }
  return TRUE;
}

static void add_columns(const PipelineGradientRecurrent *r, const float *restrict rows, float *restrict sums)
{
  gsize width = r->gates * r->hidden;
  for (gsize b = 0; b < r->batch; b++)
    for (gsize k = 0; k < width; k++) sums[k] += rows[b * width + k];
}

/* A GRU that is not linear in front of its reset: R_h sees r ⊙ h and the gradient of the last gate. */
static gboolean add_reset_part(PipelineGradientCall *call, const PipelineGradientRecurrent *r, const StepState *state,
                               const float *h, float *drw, float *drb, Flow *flow, GError **error)
{
  gsize hidden = r->hidden, width = 3 * hidden;
  float *reset = flow->spare + r->batch * hidden;
  const PipelineProduct of_r = {TRUE, FALSE, hidden, hidden, r->batch, 1, 1};
  for (gsize b = 0; b < r->batch; b++)
    for (gsize k = 0; k < hidden; k++) {
      reset[b * hidden + k] = h[b * hidden + k] * state->gates[b * width + hidden + k];
      if (drb != NULL) drb[2 * hidden + k] += flow->spare[b * hidden + k];
    }
  return drw == NULL || pipeline_gradient_multiply(call, &of_r, flow->spare, reset, drw + 2 * hidden * hidden, error);
}

static gboolean backward_step(PipelineGradientCall *call, const PipelineGradientRecurrent *r, gsize d, gsize s,
                              Flow *flow, GError **error)
{
  gsize width = r->gates * r->hidden, at = time_of(r, d, s) * r->batch * r->in;
  const float *rw = (const float *)call->call.inputs[2]->data + d * width * r->hidden;
  const float *w = (const float *)call->call.inputs[1]->data + d * width * r->in,
              *x = (const float *)call->call.inputs[0]->data + at;
  const float *h = before_of(call, r, d, s, 5);
  float *dx = pipeline_gradient_of_input(call, 0), *dw = pipeline_gradient_of_input(call, 1),
        *drw = pipeline_gradient_of_input(call, 2), *db = pipeline_gradient_of_input(call, 3);
  StepState state = state_of(call, r, d, s);
  if (drw != NULL) drw += d * width * r->hidden;
  if (db != NULL) db += d * 2 * width;
  if (r->lstm)
    backward_lstm(r, &state, before_of(call, r, d, s, 6), flow);
  else if (!backward_gru(call, r, &state, h, rw + 2 * r->hidden * r->hidden, flow, error))
    return FALSE;
  const float *of_r = r->lstm ? flow->of_w : flow->of_r;
  h = before_of(call, r, d, s, 5); /* the zeros in front of the first step share memory with those of c */
  const PipelineProduct to_x = {FALSE, FALSE, r->batch, r->in, width, 1, 1},
                        to_h = {FALSE, FALSE, r->batch, r->hidden, width, 1, 1};
  const PipelineProduct to_w = {TRUE, FALSE, width, r->in, r->batch, 1, 1},
                        to_r = {TRUE, FALSE, width, r->hidden, r->batch, 1, 1};
  if (db != NULL) add_columns(r, flow->of_w, db);
  if (db != NULL) add_columns(r, of_r, db + width);
  return pipeline_gradient_multiply(call, &to_h, of_r, rw, flow->dh, error) &&
         (dx == NULL || pipeline_gradient_multiply(call, &to_x, flow->of_w, w, dx + at, error)) &&
         (dw == NULL || pipeline_gradient_multiply(call, &to_w, flow->of_w, x, dw + d * width * r->in, error)) &&
         (drw == NULL || pipeline_gradient_multiply(call, &to_r, of_r, h, drw, error)) &&
         (r->lstm || r->linear || add_reset_part(call, r, &state, h, drw, db != NULL ? db + width : NULL, flow, error));
}

static void add(float *to, const float *from, gsize n)
{
  for (gsize i = 0; from != NULL && i < n; i++) to[i] += from[i];
}

gboolean pipeline_recurrent_backward(PipelineGradientCall *call, GError **error)
{
  PipelineGradientRecurrent r;
  if (!pipeline_gradient_read_recurrent(&call->call, &r, error)) return FALSE;
  gsize n = r.batch * r.hidden, width = r.batch * r.gates * r.hidden;
  float *memory = pipeline_gradient_memory(call, 3, (4 * n + 2 * width) * sizeof(float));
  Flow flow = {
      .dh = memory, .dc = memory + n, .spare = memory + 2 * n, .of_w = memory + 4 * n, .of_r = memory + 4 * n + width};
  const float *dy = pipeline_gradient_of_output(call, 0), *last_h = pipeline_gradient_of_output(call, 1),
              *last_c = pipeline_gradient_of_output(call, 2);
  for (guint i = 0; i < call->call.n_inputs; i++)
    if (call->input_gradients[i] != NULL)
      memset(call->input_gradients[i]->data, 0, call->input_gradients[i]->n * sizeof(float));
  for (gsize d = 0; d < r.directions; d++) {
    memset(memory, 0, 2 * n * sizeof(float));
    add(flow.dh, last_h != NULL ? last_h + d * n : NULL, n);
    add(flow.dc, last_c != NULL ? last_c + d * n : NULL, n);
    for (gsize s = r.time; s-- > 0;) {
      add(flow.dh, dy != NULL ? dy + (time_of(&r, d, s) * r.directions + d) * n : NULL, n);
      if (!backward_step(call, &r, d, s, &flow, error)) return FALSE;
    }
    float *dh = pipeline_gradient_of_input(call, 5), *dc = pipeline_gradient_of_input(call, 6);
    if (dh != NULL) memcpy(dh + d * n, flow.dh, n * sizeof(float));
    if (dc != NULL) memcpy(dc + d * n, flow.dc, n * sizeof(float));
  }
  return TRUE;
}
