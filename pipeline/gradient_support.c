#include <string.h>

#include "pipeline/gradient_internal.h"
#include "pipeline/operator_window.h"

const float *pipeline_gradient_of_output(const PipelineGradientCall *call, guint index)
{
  const PipelineTensor *tensor = index < call->call.n_outputs ? call->output_gradients[index] : NULL;
  return tensor != NULL ? tensor->data : NULL;
}

float *pipeline_gradient_of_input(const PipelineGradientCall *call, guint index)
{
  PipelineTensor *tensor = index < call->call.n_inputs ? call->input_gradients[index] : NULL;
  return tensor != NULL ? tensor->data : NULL;
}

const float *pipeline_gradient_input(const PipelineGradientCall *call, guint index)
{
  const PipelineTensor *tensor = pipeline_input(&call->call, index);
  return tensor != NULL ? tensor->data : NULL;
}

gpointer pipeline_gradient_memory(PipelineGradientCall *call, guint index, gsize bytes)
{
  g_return_val_if_fail(index < PIPELINE_GRADIENT_MEMORIES, NULL);
  if (bytes > call->capacities[index] || call->memories[index] == NULL) {
    call->memories[index] = g_realloc(call->memories[index], MAX(bytes, 1));
    call->capacities[index] = MAX(bytes, 1);
  }
  return call->memories[index];
}

void pipeline_gradient_call_clear(PipelineGradientCall *call)
{
  for (guint i = 0; i < PIPELINE_GRADIENT_MEMORIES; i++) {
    g_clear_pointer(&call->memories[i], g_free);
    call->capacities[i] = 0;
  }
  if (call->cached_free != NULL && call->cached != NULL) call->cached_free(call->cached);
  call->cached = NULL;
}

/* Sums run in double: a bias of a large batch adds up many small terms. */
void pipeline_gradient_sum_to(const PipelineTensor *from, float factor, PipelineTensor *to)
{
  const float *in = from->data;
  float *out = to->data;
  if (from->n == to->n) {
    for (gsize i = 0; i < to->n; i++) out[i] = factor * in[i];
    return;
  }
  PipelineBroadcast walk;
  const PipelineTensor *source = to;
  pipeline_broadcast_init(&walk, &source, 1, from);
  g_autofree double *sums = g_new0(double, MAX(to->n, 1));
  gsize step = walk.strides[0][walk.n_dims - 1];
  for (gsize row = 0; from->n > 0 && row < walk.outer; row++, in += walk.inner) {
    double *sum = sums + pipeline_broadcast_offset(&walk, 0, row);
    for (gsize i = 0; i < walk.inner; i++) sum[i * step] += (double)in[i];
  }
  for (gsize i = 0; i < to->n; i++) out[i] = (float)((double)factor * sums[i]);
}

gboolean pipeline_gradient_multiply(const PipelineGradientCall *call, const PipelineProduct *product, const float *a,
                                    const float *b, float *c, GError **error)
{
  const PipelineProduct *p = product;
  if (p->m == 0 || p->n == 0) return TRUE;
  if (p->k == 0) {
    for (gsize i = 0; p->beta == 0 && i < p->m * p->n; i++) c[i] = 0;
    return TRUE;
  }
  const PipelineGemm gemm = {.transpose_a = p->transpose_a,
                             .transpose_b = p->transpose_b,
                             .m = p->m,
                             .n = p->n,
                             .k = p->k,
                             .alpha = p->alpha,
                             .beta = p->beta,
                             .a = a,
                             .lda = p->transpose_a ? p->m : p->k,
                             .b = b,
                             .ldb = p->transpose_b ? p->k : p->n,
                             .c = c,
                             .ldc = p->n};
  return call->call.backend->gemm(&gemm, error);
}

/* --- windows ------------------------------------------------------------------------------------------------------ */

static gboolean check_image(const PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  if (x->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 0, error);
  if (x->n_dims == 3 || x->n_dims == 4) return TRUE;
  g_autofree gchar *shape = pipeline_tensor_describe(x);
  return pipeline_operator_fail(error, "its input %s does not have one or two spatial dimensions", shape);
}

/* Of one or two dimensions; one is the last of two. */
static PipelineGradientWindow window_of(const PipelineTensor *x, const PipelineSpatial *given)
{
  PipelineGradientWindow window = {.batch = (gsize)x->dims[0], .channels = (gsize)x->dims[1]};
  for (guint d = 0; d < 2; d++) {
    gboolean real = d + given->n >= 2;
    guint i = real ? d + given->n - 2 : 0;
    window.in[d] = real ? (gsize)given->in[i] : 1;
    window.out[d] = real ? (gsize)given->out[i] : 1;
    window.kernel[d] = real ? (gsize)given->kernel[i] : 1;
    window.stride[d] = real ? (gsize)given->stride[i] : 1;
    window.dilation[d] = real ? (gsize)given->dilation[i] : 1;
    window.before[d] = real ? given->before[i] : 0;
    window.after[d] = real ? given->after[i] : 0;
  }
  return window;
}

gboolean pipeline_gradient_window_read(const PipelineCall *call, const gint64 *kernel, PipelineGradientWindow *window,
                                       GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  PipelineSpatial given;
  if (!check_image(call, error) || !pipeline_spatial_read(call, x->n_dims - 2, x->dims + 2, kernel, &given, error))
    return FALSE;
  *window = window_of(x, &given);
  return TRUE;
}

gboolean pipeline_gradient_transposed_window_read(const PipelineCall *call, PipelineGradientWindow *window,
                                                  GError **error)
{
  PipelineSpatial given;
  if (!check_image(call, error) || !pipeline_spatial_read_transposed(call, &given, error)) return FALSE;
  *window = window_of(call->inputs[0], &given);
  for (guint d = 0; d < 2; d++) {
    gsize in = window->in[d];
    window->in[d] = window->out[d];
    window->out[d] = in;
  }
  return TRUE;
}

gboolean pipeline_gradient_window_output(PipelineCall *call, guint index, OnnxType type,
                                         const PipelineGradientWindow *window, gsize channels, GError **error)
{
  gint64 dims[4] = {(gint64)window->batch, (gint64)channels, (gint64)window->out[0], (gint64)window->out[1]};
  if (call->inputs[0]->n_dims == 3) dims[2] = dims[3];
  return pipeline_output_set(call, index, type, call->inputs[0]->n_dims, dims, error);
}
