/* LSTM and GRU: products by cuBLAS, cells by kernels of our own. What the input adds to the gates is one product for
 * the whole sequence, and so are the gradients of x, W and R; only what goes through h runs step by step.
 *
 * States lie by time: gates [directions, time, batch, gates · hidden], h and c [directions, time, batch, hidden], where
 * c is R_h h + b for GRU. The step after time t is t + 1, or t − 1 for a direction that runs from the end. */
#include <string.h>

#include "pipeline/cuda/nodes.h"

typedef PipelineGradientRecurrent Recurrent;

/* The buffers of a node. */
enum { STATES, ZEROS, FLOW, SPARE };

typedef struct {
  float *gates, *h, *c; /* of a direction */
} States;

/* Of one direction on its way back: gradients of h and c [batch, hidden]; of the gates before their activation as W and
 * as R see them [time, batch, gates · hidden]; spare: [3, batch, hidden]; resets: r ⊙ h [time, batch, hidden], lasts:
 * of the last gate [time, batch, hidden]. */
typedef struct {
  float *dh, *dc, *of_w, *of_r, *spare, *resets, *lasts;
} Flow;

static gboolean from_end(const Recurrent *r, gsize direction)
{
  return direction == 1 || r->backwards;
}

static gsize time_of(const Recurrent *r, gsize direction, gsize step)
{
  return from_end(r, direction) ? r->time - 1 - step : step;
}

/* Elements of the buffers, by name. */
static gsize count_states(const Recurrent *r)
{
  return r->directions * r->time * r->batch * r->hidden * (r->gates + 2);
}

static gsize count_flow(const Recurrent *r)
{
  gsize n = r->batch * r->hidden, steps = r->time * n, width = steps * r->gates;
  return 3 * n + (r->lstm ? 1 : 2) * width + (r->lstm ? 0 : 2 * steps);
}

static gboolean find_states(PipelineGradientCall *call, const Recurrent *r, gsize direction, States *states,
                            GError **error)
{
  gsize n = r->time * r->batch * r->hidden, all = r->directions * n;
  float *memory = pipeline_cuda_buffer(call, STATES, MAX(count_states(r), 1) * sizeof(float), error);
  if (memory == NULL) return FALSE;
  *states = (States){.gates = memory + direction * n * r->gates,
                     .h = memory + all * r->gates + direction * n,
                     .c = memory + all * (r->gates + 1) + direction * n};
  return TRUE;
}

/* h or c in front of a step: of the step before, the initial one, or zeros. which: 5 h, 6 c. */
static const float *before_of(PipelineGradientCall *call, const Recurrent *r, const States *states, gsize direction,
                              gsize step, guint which, GError **error)
{
  gsize n = r->batch * r->hidden;
  if (step > 0) return (which == 5 ? states->h : states->c) + time_of(r, direction, step - 1) * n;
  const float *initial = pipeline_gradient_input(call, which);
  if (initial != NULL) return initial + direction * n;
  float *zeros = pipeline_cuda_buffer(call, ZEROS, MAX(n, 1) * sizeof(float), error);
  return zeros != NULL && PIPELINE_CUDA_RUN(call, clear, zeros, n * sizeof(float)) ? zeros : NULL;
}

static const float *weights_of(const PipelineGradientCall *call, const Recurrent *r, guint input, gsize direction)
{
  gsize width = r->gates * r->hidden;
  const float *all = pipeline_gradient_input(call, input);
  if (all == NULL) return NULL;
  return all + direction * width * (input == 1 ? r->in : input == 2 ? r->hidden : 2);
}

/* A row of numbers as a tensor. */
static PipelineTensor row_of(gconstpointer data, gsize n)
{
  return (PipelineTensor){.type = ONNX_TYPE_FLOAT, .n_dims = 1, .dims = {(gint64)n}, .n = n, .data = (gpointer)data};
}

/* --- forward
 * ---------------------------------------------------------------------------------------------------------- */

/* gates = x Wᵀ + b for all steps; LSTM and GRU's z, r, h alike get W's bias, LSTM also R's. */
static gboolean fill_gates(PipelineGradientCall *call, const Recurrent *r, gsize direction, const States *states,
                           GError **error)
{
  gsize width = r->gates * r->hidden, rows = r->time * r->batch;
  const float *bias = weights_of(call, r, 3, direction);
  const PipelineProduct product = {FALSE, TRUE, rows, width, r->in, 1, bias != NULL};
  PipelineTensor gates = {.type = ONNX_TYPE_FLOAT,
                          .n_dims = 2,
                          .dims = {(gint64)rows, (gint64)width},
                          .n = rows * width,
                          .data = states->gates};
  PipelineTensor of_w = row_of(bias, width);
  if (bias != NULL && !pipeline_cuda_spread(call, &of_w, 1, &gates, error)) return FALSE;
  if (bias != NULL && r->lstm) {
    PipelineTensor of_r = row_of(bias + width, width);
    const PipelineTensor *pair[2] = {&gates, &of_r};
    PipelineCudaWalk walk;
    pipeline_cuda_walk(&walk, pair, 2, &gates);
    if (!PIPELINE_CUDA_RUN(call, binary, PIPELINE_CUDA_add_of, &walk, gates.data, of_r.data, gates.data)) return FALSE;
  }
  return pipeline_cuda_multiply(call, &product, call->call.inputs[0]->data, weights_of(call, r, 1, direction),
                                states->gates, error);
}

static gboolean step_lstm(PipelineGradientCall *call, const Recurrent *r, gsize direction, const States *states,
                          gsize step, GError **error)
{
  gsize width = 4 * r->hidden, n = r->batch * r->hidden, t = time_of(r, direction, step);
  const PipelineCudaCell cell = {r->batch, r->hidden, FALSE};
  const PipelineProduct product = {FALSE, TRUE, r->batch, width, r->hidden, 1, 1};
  float *gates = states->gates + t * r->batch * width;
  const float *h = before_of(call, r, states, direction, step, 5, error);
  if (h == NULL || !pipeline_cuda_multiply(call, &product, h, weights_of(call, r, 2, direction), gates, error))
    return FALSE;
  const float *c = before_of(call, r, states, direction, step, 6, error);
  return c != NULL && PIPELINE_CUDA_RUN(call, lstm, &cell, gates, c, states->c + t * n, states->h + t * n);
}

static gboolean step_gru(PipelineGradientCall *call, const Recurrent *r, gsize direction, const States *states,
                         gsize step, GError **error)
{
  gsize hidden = r->hidden, width = 3 * hidden, n = r->batch * hidden, t = time_of(r, direction, step);
  const PipelineCudaCell cell = {r->batch, hidden, r->linear};
  const PipelineProduct of_h = {FALSE, TRUE, r->batch, 2 * hidden, hidden, 1, 0},
                        of_last = {FALSE, TRUE, r->batch, hidden, hidden, 1, 0};
  const float *rw = weights_of(call, r, 2, direction), *bias = weights_of(call, r, 3, direction);
  const float *rb = bias != NULL ? bias + width : NULL, *h = before_of(call, r, states, direction, step, 5, error);
  float *gates = states->gates + t * r->batch * width, *inner = states->c + t * n;
  float *recurrent = pipeline_cuda_buffer(call, SPARE, MAX(3 * n, 1) * sizeof(float), error);
  if (h == NULL || recurrent == NULL) return FALSE;
  float *reset = recurrent + 2 * n;
  return pipeline_cuda_multiply(call, &of_h, h, rw, recurrent, error) &&
         PIPELINE_CUDA_RUN(call, gru_gates, &cell, gates, recurrent, rb, h, reset) &&
         pipeline_cuda_multiply(call, &of_last, reset, rw + 2 * hidden * hidden, inner, error) &&
         PIPELINE_CUDA_RUN(call, gru_state, &cell, gates, inner, rb, h, states->h + t * n);
}

/* Y [time, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden]. */
static gboolean give_outputs(PipelineGradientCall *call, const Recurrent *r, gsize direction, const States *states,
                             GError **error)
{
  gsize n = r->batch * r->hidden, last = time_of(r, direction, r->time - 1) * n;
  PipelineCudaWalk walk = {.n = r->time * n, .n_dims = 2, .dims = {(guint32)r->time, (guint32)n}};
  pipeline_cuda_walk_dense(&walk, 0);
  walk.strides[1][0] = (gint64)(r->directions * n);
  walk.strides[1][1] = 1;
  if (!PIPELINE_CUDA_RUN(call, move, &walk, 1, states->h, (float *)call->call.outputs[0]->data + direction * n))
    return FALSE;
  for (guint o = 1; o < MIN(call->call.n_outputs, 3); o++)
    if (call->call.outputs[o] != NULL && !pipeline_cuda_copy(call, (float *)call->call.outputs[o]->data + direction * n,
                                                             (o == 1 ? states->h : states->c) + last, n, error))
      return FALSE;
  return TRUE;
}

gboolean pipeline_cuda_recurrent_node_forward(PipelineGradientCall *call, GError **error)
{
  Recurrent r;
  States states;
  if (!pipeline_gradient_read_recurrent(&call->call, &r, error)) return FALSE;
  for (gsize d = 0; d < r.directions; d++) {
    if (!find_states(call, &r, d, &states, error) || !fill_gates(call, &r, d, &states, error)) return FALSE;
    for (gsize s = 0; s < r.time; s++)
      if (!(r.lstm ? step_lstm(call, &r, d, &states, s, error) : step_gru(call, &r, d, &states, s, error)))
        return FALSE;
    if (!give_outputs(call, &r, d, &states, error)) return FALSE;
  }
  return TRUE;
}

/* --- backward
 * --------------------------------------------------------------------------------------------------------- */

static gboolean back_lstm(PipelineGradientCall *call, const Recurrent *r, gsize direction, const States *states,
                          gsize step, const Flow *flow, GError **error)
{
  gsize width = 4 * r->hidden, n = r->batch * r->hidden, t = time_of(r, direction, step);
  const PipelineCudaCell cell = {r->batch, r->hidden, FALSE};
  const PipelineProduct to_h = {FALSE, FALSE, r->batch, r->hidden, width, 1, 0};
  float *out = flow->of_w + t * r->batch * width;
  const float *c = before_of(call, r, states, direction, step, 6, error);
  return c != NULL &&
         PIPELINE_CUDA_RUN(call, lstm_backward, &cell, states->gates + t * r->batch * width, c, states->c + t * n,
                           flow->dh, flow->dc, out) &&
         pipeline_cuda_multiply(call, &to_h, out, weights_of(call, r, 2, direction), flow->dh, error);
}

static gboolean back_gru(PipelineGradientCall *call, const Recurrent *r, gsize direction, const States *states,
                         gsize step, const Flow *flow, GError **error)
{
  gsize hidden = r->hidden, width = 3 * hidden, n = r->batch * hidden, t = time_of(r, direction, step);
  const PipelineCudaCell cell = {r->batch, hidden, r->linear};
  const PipelineProduct back = {FALSE, FALSE, r->batch, hidden, hidden, 1, 0},
                        to_h = {FALSE, FALSE, r->batch, hidden, width, 1, 1};
  const float *gates = states->gates + t * r->batch * width, *rw = weights_of(call, r, 2, direction);
  const float *h = before_of(call, r, states, direction, step, 5, error);
  float *out = flow->of_w + t * r->batch * width, *of_r = flow->of_r + t * r->batch * width;
  float *last = flow->lasts + t * n;
  return h != NULL && PIPELINE_CUDA_RUN(call, gru_backward_state, &cell, gates, h, flow->dh, out, last) &&
         (r->linear || pipeline_cuda_multiply(call, &back, last, rw + 2 * hidden * hidden, flow->spare, error)) &&
         PIPELINE_CUDA_RUN(call, gru_backward_gates, &cell, gates, states->c + t * n, h, last, flow->spare, flow->dh,
                           out, of_r, flow->resets + t * n) &&
         pipeline_cuda_multiply(call, &to_h, of_r, rw, flow->dh, error);
}

/* dW += gᵀ h over all steps, where h is of the step before: neighbours in time, and the initial one. */
static gboolean add_recurrent(PipelineGradientCall *call, const Recurrent *r, gsize direction, const States *states,
                              const float *of_r, float *dr, GError **error)
{
  gsize width = r->gates * r->hidden, n = r->batch * r->hidden, rows = (r->time - 1) * r->batch;
  gsize first = time_of(r, direction, 0);
  const PipelineProduct one = {TRUE, FALSE, width, r->hidden, r->batch, 1, 0},
                        rest = {TRUE, FALSE, width, r->hidden, rows, 1, 1};
  gsize later = from_end(r, direction) ? 0 : 1, earlier = 1 - later; /* where the two stretches begin */
  const float *initial = before_of(call, r, states, direction, 0, 5, error);
  if (initial == NULL || !pipeline_cuda_multiply(call, &one, of_r + first * r->batch * width, initial, dr, error))
    return FALSE;
  return rows == 0 ||
         pipeline_cuda_multiply(call, &rest, of_r + later * r->batch * width, states->h + earlier * n, dr, error);
}

static gboolean give_weights(PipelineGradientCall *call, const Recurrent *r, gsize direction, const States *states,
                             const Flow *flow, GError **error)
{
  gsize hidden = r->hidden, width = r->gates * hidden, rows = r->time * r->batch;
  const float *of_r = r->lstm ? flow->of_w : flow->of_r, *x = call->call.inputs[0]->data;
  float *dx = pipeline_gradient_of_input(call, 0), *dw = pipeline_gradient_of_input(call, 1),
        *dr = pipeline_gradient_of_input(call, 2), *db = pipeline_gradient_of_input(call, 3);
  const PipelineProduct to_x = {FALSE, FALSE, rows, r->in, width, 1, direction > 0},
                        to_w = {TRUE, FALSE, width, r->in, rows, 1, 0},
                        to_last = {TRUE, FALSE, hidden, hidden, rows, 1, 0};
  if (dx != NULL && !pipeline_cuda_multiply(call, &to_x, flow->of_w, weights_of(call, r, 1, direction), dx, error))
    return FALSE;
  if (dw != NULL && !pipeline_cuda_multiply(call, &to_w, flow->of_w, x, dw + direction * width * r->in, error))
    return FALSE;
  if (dr != NULL) dr += direction * width * hidden;
  if (dr != NULL && !add_recurrent(call, r, direction, states, of_r, dr, error)) return FALSE;
  /* R_h of a GRU that is not linear sees r ⊙ h and the gradient of the last gate, which of_r leaves out. */
  if (dr != NULL && !r->lstm && !r->linear &&
      !pipeline_cuda_multiply(call, &to_last, flow->lasts, flow->resets, dr + 2 * hidden * hidden, error))
    return FALSE;
  if (db == NULL) return TRUE;
  for (guint i = 0; i < 2; i++) {
    PipelineTensor all = {.type = ONNX_TYPE_FLOAT,
                          .n_dims = 2,
                          .dims = {(gint64)rows, (gint64)width},
                          .n = rows * width,
                          .data = (gpointer)(i == 0 ? flow->of_w : of_r)};
    PipelineTensor bias = row_of(db + (2 * direction + i) * width, width);
    if (!pipeline_cuda_sum_to(call, &all, 1, &bias, error)) return FALSE;
  }
  if (r->lstm || r->linear) return TRUE;
  PipelineTensor lasts = {.type = ONNX_TYPE_FLOAT,
                          .n_dims = 2,
                          .dims = {(gint64)rows, (gint64)hidden},
                          .n = rows * hidden,
                          .data = flow->lasts};
  PipelineTensor bias = row_of(db + (2 * direction + 1) * width + 2 * hidden, hidden);
  return pipeline_cuda_sum_to(call, &lasts, 1, &bias, error);
}

static gboolean find_flow(PipelineGradientCall *call, const Recurrent *r, Flow *flow, GError **error)
{
  gsize n = r->batch * r->hidden, steps = r->time * n, width = steps * r->gates;
  float *memory = pipeline_cuda_buffer(call, FLOW, MAX(count_flow(r), 1) * sizeof(float), error);
  if (memory == NULL) return FALSE;
  *flow = (Flow){.dh = memory, .dc = memory + n, .spare = memory + 2 * n, .of_w = memory + 3 * n};
  flow->of_r = flow->of_w + (r->lstm ? 0 : width);
  flow->resets = flow->of_r + width;
  flow->lasts = flow->resets + (r->lstm ? 0 : steps);
  return TRUE;
}

/* The gradients of the last h and c, or zeros. */
static gboolean begin_flow(PipelineGradientCall *call, gsize n, gsize direction, const Flow *flow, GError **error)
{
  for (guint o = 1; o < 3; o++) {
    const float *given = pipeline_gradient_of_output(call, o);
    float *to = o == 1 ? flow->dh : flow->dc;
    if (!(given != NULL ? pipeline_cuda_copy(call, to, given + direction * n, n, error)
                        : PIPELINE_CUDA_RUN(call, clear, to, n * sizeof(float))))
      return FALSE;
  }
  return TRUE;
}

gboolean pipeline_cuda_recurrent_node_backward(PipelineGradientCall *call, GError **error)
{
  Recurrent r;
  States states;
  Flow flow;
  if (!pipeline_gradient_read_recurrent(&call->call, &r, error) || !find_flow(call, &r, &flow, error)) return FALSE;
  gsize n = r.batch * r.hidden;
  const float *dy = pipeline_gradient_of_output(call, 0);
  float *dh = pipeline_gradient_of_input(call, 5), *dc = pipeline_gradient_of_input(call, 6);
  for (gsize d = 0; d < r.directions; d++) {
    if (!find_states(call, &r, d, &states, error) || !begin_flow(call, n, d, &flow, error)) return FALSE;
    for (gsize s = r.time; s-- > 0;) {
      if (dy != NULL && !PIPELINE_CUDA_RUN(call, add, flow.dh, dy + (time_of(&r, d, s) * r.directions + d) * n, n))
        return FALSE;
      if (!(r.lstm ? back_lstm(call, &r, d, &states, s, &flow, error)
                   : back_gru(call, &r, d, &states, s, &flow, error)))
        return FALSE;
    }
    if (!give_weights(call, &r, d, &states, &flow, error)) return FALSE;
    if ((dh != NULL && !pipeline_cuda_copy(call, dh + d * n, flow.dh, n, error)) ||
        (dc != NULL && !pipeline_cuda_copy(call, dc + d * n, flow.dc, n, error)))
      return FALSE;
  }
  return TRUE;
}

void pipeline_cuda_recurrent_node_need(PipelineGradientCall *call, double growth, PipelineGraphNeed *need)
{
  Recurrent r;
  if (!pipeline_gradient_read_recurrent(&call->call, &r, NULL)) return;
  gsize zeros = r.batch * r.hidden, spare = r.lstm ? 0 : 3 * zeros;
  if (call->precision == PIPELINE_PRECISION_BFLOAT16) /* gradients of the gates beside x or W */
    need->workspace = (gsize)(sizeof(guint16) * ((double)(r.time * r.batch * (r.hidden * r.gates + r.in)) * growth +
                                                 (double)(r.hidden * r.gates * (r.in + r.hidden))));
  need->kept = (gsize)((double)((count_states(&r) + count_flow(&r) + zeros + spare) * sizeof(float)) * growth);
}
