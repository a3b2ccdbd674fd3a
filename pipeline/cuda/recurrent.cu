/* Cells of LSTM and GRU, one step: the element-wise parts of pipeline/gradient_recurrent.c. */
#include "pipeline/cuda/device_internal.h"

static __device__ __forceinline__ float sigmoid(float x)
{
  return 1 / (1 + expf(-x));
}

#define CELL_LAUNCH(kernel, ...)                                                                                       \
  do {                                                                                                                 \
    size_t n = cell->batch * cell->hidden;                                                                             \
    if (n == 0) return 0;                                                                                              \
    LAUNCH(kernel, pipeline_cuda_blocks(n, PIPELINE_CUDA_THREADS), PIPELINE_CUDA_THREADS, 0, device->stream,           \
           (unsigned)n, (unsigned)cell->hidden, __VA_ARGS__);                                                          \
    return pipeline_cuda_check_launch(device, "compute a recurrent cell");                                             \
  } while (0)

/* i: element [batch, hidden]; its gates lie `hidden` apart in a row of `gates` · hidden. */
static __device__ __forceinline__ size_t gate_of(unsigned i, unsigned hidden, unsigned gates)
{
  return (size_t)(i / hidden) * gates * hidden + i % hidden;
}

__global__ void lstm_kernel(unsigned n, unsigned hidden, float *gates, const float *c_before, float *c, float *h)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  float *g = gates + gate_of(i, hidden, 4);
  float in = sigmoid(g[0]), out = sigmoid(g[hidden]), forget = sigmoid(g[2 * hidden]), new_c = tanhf(g[3 * hidden]);
  float state = forget * c_before[i] + in * new_c;
  g[0] = in;
  g[hidden] = out;
  g[2 * hidden] = forget;
  g[3 * hidden] = new_c;
  c[i] = state;
  h[i] = out * tanhf(state);
}

int pipeline_cuda_lstm(PipelineCudaDevice *device, const PipelineCudaCell *cell, float *gates, const float *c_before,
                       float *c, float *h)
{
  CELL_LAUNCH(lstm_kernel, gates, c_before, c, h);
}

__global__ void lstm_backward_kernel(unsigned n, unsigned hidden, const float *gates, const float *c_before,
                                     const float *c, const float *dh, float *dc, float *out)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  const float *g = gates + gate_of(i, hidden, 4);
  float *to = out + gate_of(i, hidden, 4), in = g[0], o = g[hidden], f = g[2 * hidden], new_c = g[3 * hidden];
  float t = tanhf(c[i]), of_c = dc[i] + dh[i] * o * (1 - t * t);
  to[0] = of_c * new_c * in * (1 - in);
  to[hidden] = dh[i] * t * o * (1 - o);
  to[2 * hidden] = of_c * c_before[i] * f * (1 - f);
  to[3 * hidden] = of_c * in * (1 - new_c * new_c);
  dc[i] = of_c * f;
}

int pipeline_cuda_lstm_backward(PipelineCudaDevice *device, const PipelineCudaCell *cell, const float *gates,
                                const float *c_before, const float *c, const float *dh, float *dc, float *out)
{
  CELL_LAUNCH(lstm_backward_kernel, gates, c_before, c, dh, dc, out);
}

__global__ void gru_gates_kernel(unsigned n, unsigned hidden, int linear, float *gates, const float *recurrent,
                                 const float *bias, const float *h_before, float *reset)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  unsigned k = i % hidden;
  float *g = gates + gate_of(i, hidden, 3);
  const float *r = recurrent + gate_of(i, hidden, 2);
  g[0] = sigmoid(g[0] + r[0] + (bias != nullptr ? bias[k] : 0.0f));
  g[hidden] = sigmoid(g[hidden] + r[hidden] + (bias != nullptr ? bias[hidden + k] : 0.0f));
  reset[i] = linear ? h_before[i] : h_before[i] * g[hidden];
}

int pipeline_cuda_gru_gates(PipelineCudaDevice *device, const PipelineCudaCell *cell, float *gates,
                            const float *recurrent, const float *bias_r, const float *h_before, float *reset)
{
  CELL_LAUNCH(gru_gates_kernel, cell->linear, gates, recurrent, bias_r, h_before, reset);
}

__global__ void gru_state_kernel(unsigned n, unsigned hidden, int linear, float *gates, float *inner, const float *bias,
                                 const float *h_before, float *h)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  float *g = gates + gate_of(i, hidden, 3);
  float part = inner[i] + (bias != nullptr ? bias[2 * hidden + i % hidden] : 0.0f);
  float now = tanhf(g[2 * hidden] + (linear ? g[hidden] * part : part));
  inner[i] = part;
  g[2 * hidden] = now;
  h[i] = (1 - g[0]) * now + g[0] * h_before[i];
}

int pipeline_cuda_gru_state(PipelineCudaDevice *device, const PipelineCudaCell *cell, float *gates, float *inner,
                            const float *bias_r, const float *h_before, float *h)
{
  CELL_LAUNCH(gru_state_kernel, cell->linear, gates, inner, bias_r, h_before, h);
}

__global__ void gru_backward_state_kernel(unsigned n, unsigned hidden, const float *gates, const float *h_before,
                                          float *dh, float *out, float *last)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  const float *g = gates + gate_of(i, hidden, 3);
  float *to = out + gate_of(i, hidden, 3), of_h = dh[i], z = g[0], now = g[2 * hidden];
  to[0] = of_h * (h_before[i] - now) * z * (1 - z);
  to[2 * hidden] = last[i] = of_h * (1 - z) * (1 - now * now);
  dh[i] = of_h * z;
}

int pipeline_cuda_gru_backward_state(PipelineCudaDevice *device, const PipelineCudaCell *cell, const float *gates,
                                     const float *h_before, float *dh, float *out, float *last)
{
  CELL_LAUNCH(gru_backward_state_kernel, gates, h_before, dh, out, last);
}

__global__ void gru_backward_gates_kernel(unsigned n, unsigned hidden, int linear, const float *gates,
                                          const float *inner, const float *h_before, const float *last,
                                          const float *through, float *dh, float *out, float *of_r, float *reset)
{
  unsigned i = pipeline_cuda_index();
  if (i >= n) return;
  size_t at = gate_of(i, hidden, 3);
  float r = gates[at + hidden], dr = linear ? last[i] * inner[i] : through[i] * h_before[i];
  out[at + hidden] = dr * r * (1 - r);
  of_r[at] = out[at];
  of_r[at + hidden] = out[at + hidden];
  of_r[at + 2 * hidden] = linear ? last[i] * r : 0.0f;
  reset[i] = h_before[i] * r;
  if (!linear) dh[i] += through[i] * r;
}

int pipeline_cuda_gru_backward_gates(PipelineCudaDevice *device, const PipelineCudaCell *cell, const float *gates,
                                     const float *inner, const float *h_before, const float *last, const float *through,
                                     float *dh, float *out, float *of_r, float *reset)
{
  CELL_LAUNCH(gru_backward_gates_kernel, cell->linear, gates, inner, h_before, last, through, dh, out, of_r, reset);
}
