/* MaxPool, AveragePool of one or two spatial dimensions, GlobalAveragePool. */
#include <math.h>
#include <string.h>

#include "pipeline/gradient_internal.h"

gboolean pipeline_gradient_pool_infer(PipelineCall *call, GError **error)
{
  PipelineGradientWindow window;
  if (!pipeline_gradient_window_read(call, NULL, &window, error)) return FALSE;
  if (call->n_outputs > 1 && call->outputs[1] != NULL)
    return pipeline_operator_fail(error, "its second output (Indices) is read: that is not trained through");
  return pipeline_gradient_window_output(call, 0, ONNX_TYPE_FLOAT, &window, window.channels, error);
}

/* The inside of the window at output place (oy, ox): first and past the last tap of each dimension. */
typedef struct {
  gint64 start[2];
  gsize from[2], to[2];
} Taps;

static void find_taps(const PipelineGradientWindow *w, gsize oy, gsize ox, Taps *taps)
{
  const gsize place[2] = {oy, ox};
  for (guint d = 0; d < 2; d++) {
    gint64 start = (gint64)(place[d] * w->stride[d]) - w->before[d], step = (gint64)w->dilation[d];
    gint64 from = start < 0 ? (-start + step - 1) / step : 0;
    gint64 to = ((gint64)w->in[d] - start + step - 1) / step; /* taps before the end of the input */
    taps->start[d] = start;
    taps->from[d] = (gsize)from;
    taps->to[d] = (gsize)CLAMP(to, from, MAX((gint64)w->kernel[d], from));
  }
}

static gsize tap_index(const PipelineGradientWindow *w, const Taps *taps, gsize ky, gsize kx)
{
  return (gsize)(taps->start[0] + (gint64)(ky * w->dilation[0])) * w->in[1] +
         (gsize)(taps->start[1] + (gint64)(kx * w->dilation[1]));
}

/* Where the largest element is, the first of equal ones; G_MAXUINT32: the window lies in the padding. NaN wins. */
static guint32 find_largest(const PipelineGradientWindow *w, const Taps *taps, const float *x, float *largest)
{
  guint32 best = G_MAXUINT32;
  *largest = -INFINITY;
  for (gsize ky = taps->from[0]; ky < taps->to[0]; ky++)
    for (gsize kx = taps->from[1]; kx < taps->to[1]; kx++) {
      gsize i = tap_index(w, taps, ky, kx);
      if (best != G_MAXUINT32 && !(x[i] > *largest || (isnan(x[i]) && !isnan(*largest)))) continue;
      *largest = x[i];
      best = (guint32)i;
    }
  return best;
}

gboolean pipeline_max_pool_forward(PipelineGradientCall *call, GError **error)
{
  PipelineGradientWindow w;
  if (!pipeline_gradient_window_read(&call->call, NULL, &w, error)) return FALSE;
  const float *x = call->call.inputs[0]->data;
  float *y = call->call.outputs[0]->data;
  guint32 *chosen = pipeline_gradient_memory(call, 0, call->call.outputs[0]->n * sizeof(guint32));
  for (gsize image = 0; image < w.batch * w.channels; image++, x += w.in[0] * w.in[1])
    for (gsize oy = 0; oy < w.out[0]; oy++)
      for (gsize ox = 0; ox < w.out[1]; ox++) {
        Taps taps;
        find_taps(&w, oy, ox, &taps);
        *chosen++ = find_largest(&w, &taps, x, y++);
      }
  return TRUE;
}

gboolean pipeline_max_pool_backward(PipelineGradientCall *call, GError **error)
{
  PipelineGradientWindow w;
  if (!pipeline_gradient_window_read(&call->call, NULL, &w, error)) return FALSE;
  const float *dy = pipeline_gradient_of_output(call, 0);
  const guint32 *chosen = call->memories[0];
  float *dx = pipeline_gradient_of_input(call, 0);
  if (dx == NULL) return TRUE;
  memset(dx, 0, call->call.inputs[0]->n * sizeof(float));
  for (gsize image = 0; image < w.batch * w.channels; image++, dx += w.in[0] * w.in[1])
    for (gsize i = 0; i < w.out[0] * w.out[1]; i++, dy++, chosen++)
      if (*chosen != G_MAXUINT32) dx[*chosen] += *dy;
  return TRUE;
}

/* How many elements the mean of a window is over: those inside, or also the padding (not what ceil_mode adds). */
static double count_taps(const PipelineGradientWindow *w, const Taps *taps, gboolean with_padding)
{
  if (!with_padding) return (double)(taps->to[0] - taps->from[0]) * (double)(taps->to[1] - taps->from[1]);
  double count = 1;
  for (guint d = 0; d < 2; d++) {
    gint64 end = (gint64)w->in[d] + w->after[d], step = (gint64)w->dilation[d];
    count *= (double)MIN((gint64)w->kernel[d], (end - taps->start[d] + step - 1) / step);
  }
  return count;
}

/* Forward (y from x) or back (dx += dy); the element-wise weights are the same. */
static void average(const PipelineGradientWindow *w, const float *x, float *y, const float *dy, float *dx,
                    gboolean with_padding)
{
  for (gsize oy = 0; oy < w->out[0]; oy++)
    for (gsize ox = 0; ox < w->out[1]; ox++) {
      Taps taps;
      find_taps(w, oy, ox, &taps);
      double count = MAX(count_taps(w, &taps, with_padding), 1), sum = 0;
      for (gsize ky = taps.from[0]; ky < taps.to[0]; ky++)
        for (gsize kx = taps.from[1]; kx < taps.to[1]; kx++) {
          gsize i = tap_index(w, &taps, ky, kx);
          if (dx != NULL)
            dx[i] += (float)((double)*dy / count);
          else
            sum += (double)x[i];
        }
      if (dx == NULL) *y++ = (float)(sum / count);
      if (dx != NULL) dy++;
    }
}

static gboolean average_pool(PipelineGradientCall *call, const float *dy, float *dx, GError **error)
{
  PipelineGradientWindow w;
  if (!pipeline_gradient_window_read(&call->call, NULL, &w, error)) return FALSE;
  gboolean with_padding = onnx_node_get_int(call->call.node, "count_include_pad", 0) != 0;
  const float *x = call->call.inputs[0]->data;
  float *y = call->call.outputs[0]->data;
  gsize in = w.in[0] * w.in[1], out = w.out[0] * w.out[1];
  if (dx != NULL) memset(dx, 0, call->call.inputs[0]->n * sizeof(float));
  for (gsize i = 0; i < w.batch * w.channels; i++)
    average(&w, x + i * in, y + i * out, dx != NULL ? dy + i * out : NULL, dx != NULL ? dx + i * in : NULL,
            with_padding);
  return TRUE;
}

gboolean pipeline_average_pool_forward(PipelineGradientCall *call, GError **error)
{
  return average_pool(call, NULL, NULL, error);
}

gboolean pipeline_average_pool_backward(PipelineGradientCall *call, GError **error)
{
  float *dx = pipeline_gradient_of_input(call, 0);
  return dx == NULL || average_pool(call, pipeline_gradient_of_output(call, 0), dx, error);
}

/* --- GlobalAveragePool: the mean over all spatial dimensions -------------------------------------------------------
 */

gboolean pipeline_gradient_global_pool_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  gint64 dims[ONNX_MAX_DIMENSIONS];
  if (x->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 0, error);
  if (x->n_dims < 3) return pipeline_operator_fail(error, "its input has no spatial dimensions");
  for (guint d = 0; d < x->n_dims; d++) dims[d] = d < 2 ? x->dims[d] : 1;
  return pipeline_output_set(call, 0, x->type, x->n_dims, dims, error);
}

gboolean pipeline_global_average_pool_forward(PipelineGradientCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *y = call->call.outputs[0];
  const float *x = call->call.inputs[0]->data;
  gsize size = y->n > 0 ? call->call.inputs[0]->n / y->n : 0;
  for (gsize i = 0; i < y->n; i++) {
    double sum = 0;
    for (gsize k = 0; k < size; k++) sum += (double)*x++;
    ((float *)y->data)[i] = (float)(sum / (double)size);
  }
  return TRUE;
}

gboolean pipeline_global_average_pool_backward(PipelineGradientCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *y = call->call.outputs[0];
  float *dx = pipeline_gradient_of_input(call, 0);
  gsize size = y->n > 0 ? call->call.inputs[0]->n / y->n : 0;
  for (gsize i = 0; dx != NULL && i < y->n; i++)
    for (gsize k = 0; k < size; k++) *dx++ = pipeline_gradient_of_output(call, 0)[i] / (float)size;
  return TRUE;
}
