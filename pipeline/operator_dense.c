/* Gemm, MatMul. */
#include <string.h>

#include "pipeline/operator_internal.h"

/* --- Gemm
 * ------------------------------------------------------------------------------------------------------------- */

typedef struct {
  gboolean transpose_a, transpose_b;
  float alpha, beta;
  float *weights; /* B as [k, n], packed when B is a constant that the node transposes; else NULL */
} GemmState;

static void gemm_state_free(gpointer data)
{
  GemmState *state = data;
  g_free(state->weights);
  g_free(state);
}

/* PyTorch stores [n, k]: transposing once here spares it in every run. */
static void pack_weights(GemmState *state, const PipelineTensor *b)
{
  gsize n = (gsize)b->dims[0], k = (gsize)b->dims[1];
  const float *from = b->data;
  float *to = g_try_malloc(MAX(n * k, 1) * sizeof(float));
  if (to == NULL) return; /* transposed in every run instead */
  for (gsize j = 0; j < n; j++)
    for (gsize p = 0; p < k; p++) to[p * n + j] = from[j * k + p];
  state->weights = to;
}

gboolean pipeline_gemm_prepare(PipelineCall *call, GError **error)
{
  (void)error;
  GemmState *state = g_new0(GemmState, 1);
  state->transpose_a = onnx_node_get_int(call->node, "transA", 0) != 0;
  state->transpose_b = onnx_node_get_int(call->node, "transB", 0) != 0;
  state->alpha = onnx_node_get_float(call->node, "alpha", 1);
  state->beta = onnx_node_get_float(call->node, "beta", 1);
  const PipelineTensor *b = pipeline_input(call, 1);
  if (state->transpose_b && b != NULL && b->type == ONNX_TYPE_FLOAT && b->n_dims == 2) pack_weights(state, b);
  call->state = state;
  call->state_free = gemm_state_free;
  return TRUE;
}

gboolean pipeline_gemm_infer(PipelineCall *call, GError **error)
{
  const GemmState *state = call->state;
  const PipelineTensor *a = call->inputs[0], *b = call->inputs[1], *c = pipeline_input(call, 2);
  if (a->type != ONNX_TYPE_FLOAT && a->type != ONNX_TYPE_DOUBLE) return pipeline_operator_fail_type(call, 0, error);
  if (b->type != a->type || (c != NULL && c->type != a->type)) return pipeline_operator_fail_type(call, 1, error);
  if (a->n_dims != 2 || b->n_dims != 2) return pipeline_operator_fail(error, "its inputs are no matrices");
  gint64 m = a->dims[state->transpose_a ? 1 : 0], k = a->dims[state->transpose_a ? 0 : 1];
  gint64 kb = b->dims[state->transpose_b ? 1 : 0], n = b->dims[state->transpose_b ? 0 : 1];
  if (k != kb) {
    g_autofree gchar *left = pipeline_tensor_describe(a), *right = pipeline_tensor_describe(b);
    return pipeline_operator_fail(error, "matrices %s and %s do not fit together", left, right);
  }
  if (c != NULL) {
    gint64 dims[ONNX_MAX_DIMENSIONS];
    guint n_dims;
    PipelineTensor product = {.n_dims = 2, .dims = {m, n}};
    const PipelineTensor *pair[2] = {&product, c};
    if (!pipeline_broadcast_shape(pair, 2, dims, &n_dims, error)) return FALSE;
    if (n_dims != 2 || dims[0] != m || dims[1] != n)
      return pipeline_operator_fail(error, "the shape of its bias is larger than the product");
  }
  return pipeline_charge_multiplications(call, (double)m * (double)n * (double)k, error) &&
         pipeline_output_set(call, 0, a->type, 2, (gint64[]){m, n}, error);
}

/* out = beta · C, broadcast; element by element in either type. */
static void spread_bias(const PipelineTensor *c, float beta, PipelineTensor *out)
{
  PipelineBroadcast walk;
  pipeline_broadcast_init(&walk, &c, 1, out);
  guint last = walk.n_dims - 1;
  if (out->n == 0) return;
  for (gsize row = 0; row < walk.outer; row++) {
    gsize start = pipeline_broadcast_offset(&walk, 0, row), step = walk.strides[0][last];
    if (out->type == ONNX_TYPE_FLOAT) {
      const float *from = (const float *)c->data + start;
      float *to = (float *)out->data + row * walk.inner;
      for (gsize i = 0; i < walk.inner; i++) to[i] = beta == 1 ? from[i * step] : beta * from[i * step];
    } else {
      const double *from = (const double *)c->data + start;
      double *to = (double *)out->data + row * walk.inner;
      for (gsize i = 0; i < walk.inner; i++) to[i] = (double)beta * from[i * step];
    }
  }
}

static void gemm_double(const GemmState *state, const PipelineTensor *a, const PipelineTensor *b, PipelineTensor *out,
                        gboolean add)
{
  gsize m = (gsize)out->dims[0], n = (gsize)out->dims[1], k = (gsize)a->dims[state->transpose_a ? 0 : 1];
  const double *x = a->data, *y = b->data;
  double *z = out->data;
  for (gsize i = 0; i < m; i++)
    for (gsize j = 0; j < n; j++) {
      double sum = 0;
      for (gsize p = 0; p < k; p++)
        sum += x[state->transpose_a ? p * m + i : i * k + p] * y[state->transpose_b ? j * k + p : p * n + j];
      z[i * n + j] = (double)state->alpha * sum + (add ? z[i * n + j] : 0);
    }
}

gboolean pipeline_gemm_run(PipelineCall *call, GError **error)
{
  const GemmState *state = call->state;
  const PipelineTensor *a = call->inputs[0], *b = call->inputs[1], *c = pipeline_input(call, 2);
  PipelineTensor *out = call->outputs[0];
  gboolean add = c != NULL && state->beta != 0;
  if (add) spread_bias(c, state->beta, out);
  if (out->type == ONNX_TYPE_DOUBLE) {
    gemm_double(state, a, b, out, add);
    return TRUE;
  }
  gboolean packed = state->weights != NULL;
  PipelineGemm gemm = {.transpose_a = state->transpose_a,
                       .transpose_b = state->transpose_b && !packed,
                       .m = (gsize)out->dims[0],
                       .n = (gsize)out->dims[1],
                       .k = (gsize)a->dims[state->transpose_a ? 0 : 1],
                       .alpha = state->alpha,
                       .beta = add ? 1 : 0,
                       .a = a->data,
                       .lda = (gsize)a->dims[1],
                       .b = packed ? state->weights : b->data,
                       .ldb = packed ? (gsize)out->dims[1] : (gsize)b->dims[1],
                       .c = out->data,
                       .ldc = (gsize)out->dims[1]};
  return call->backend->gemm(&gemm, error);
}

/* --- MatMul
 * ----------------------------------------------------------------------------------------------------------- */

/* The operands as stacks of matrices: a vector becomes a row (left) or a column (right). */
typedef struct {
  PipelineTensor a, b; /* shapes without the two matrix dimensions */
  gint64 m, k, n, kb;
} MatMulShape;

static void split_shape(const PipelineTensor *a, const PipelineTensor *b, MatMulShape *shape)
{
  memset(shape, 0, sizeof *shape);
  shape->m = a->n_dims >= 2 ? a->dims[a->n_dims - 2] : 1;
  shape->k = a->dims[a->n_dims - 1];
  shape->kb = b->n_dims >= 2 ? b->dims[b->n_dims - 2] : b->dims[0];
  shape->n = b->n_dims >= 2 ? b->dims[b->n_dims - 1] : 1;
  shape->a.n_dims = a->n_dims >= 2 ? a->n_dims - 2 : 0;
  shape->b.n_dims = b->n_dims >= 2 ? b->n_dims - 2 : 0;
  memcpy(shape->a.dims, a->dims, sizeof a->dims);
  memcpy(shape->b.dims, b->dims, sizeof b->dims);
}

gboolean pipeline_matmul_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *a = call->inputs[0], *b = call->inputs[1];
  gboolean known = a->type == ONNX_TYPE_FLOAT || a->type == ONNX_TYPE_DOUBLE || a->type == ONNX_TYPE_INT32 ||
                   a->type == ONNX_TYPE_INT64 || a->type == ONNX_TYPE_UINT64;
  if (!known) return pipeline_operator_fail_type(call, 0, error);
  if (b->type != a->type) return pipeline_operator_fail_type(call, 1, error);
  if (a->n_dims == 0 || b->n_dims == 0) return pipeline_operator_fail(error, "it multiplies a scalar");
  MatMulShape shape;
  split_shape(a, b, &shape);
  if (shape.k != shape.kb) {
    g_autofree gchar *left = pipeline_tensor_describe(a), *right = pipeline_tensor_describe(b);
    return pipeline_operator_fail(error, "matrices %s and %s do not fit together", left, right);
  }
  gint64 dims[ONNX_MAX_DIMENSIONS];
  guint n_dims;
  const PipelineTensor *pair[2] = {&shape.a, &shape.b};
  if (!pipeline_broadcast_shape(pair, 2, dims, &n_dims, error)) return FALSE;
  double products = (double)pipeline_dims_product(dims, 0, n_dims) * (double)shape.m * (double)shape.n;
  if (!pipeline_charge_multiplications(call, products * (double)shape.k, error)) return FALSE;
  if (a->n_dims >= 2) dims[n_dims++] = shape.m;
  if (b->n_dims >= 2) dims[n_dims++] = shape.n;
  return pipeline_output_set(call, 0, a->type, n_dims, dims, error);
}

#define MULTIPLY(type, sum_type)                                                                                       \
  for (gsize i = 0; i < m; i++)                                                                                        \
    for (gsize j = 0; j < n; j++) {                                                                                    \
      sum_type sum = 0;                                                                                                \
      for (gsize p = 0; p < k; p++)                                                                                    \
        sum += (sum_type)((const type *)a)[i * k + p] * (sum_type)((const type *)b)[p * n + j];                        \
      ((type *)c)[i * n + j] = (type)sum;                                                                              \
    }

static gboolean multiply(const PipelineCall *call, OnnxType type, gconstpointer a, gconstpointer b, gpointer c, gsize m,
                         gsize n, gsize k, GError **error)
{
  if (type == ONNX_TYPE_FLOAT) {
    PipelineGemm gemm = {.m = m, .n = n, .k = k, .alpha = 1, .a = a, .lda = k, .b = b, .ldb = n, .c = c, .ldc = n};
    return call->backend->gemm(&gemm, error);
  }
  if (type == ONNX_TYPE_DOUBLE)
    MULTIPLY(double, double)
  else if (type == ONNX_TYPE_INT32)
    MULTIPLY(gint32, guint32)
  else
    MULTIPLY(gint64, guint64)
  return TRUE;
}

gboolean pipeline_matmul_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *a = call->inputs[0], *b = call->inputs[1];
  PipelineTensor *out = call->outputs[0];
  if (out->n == 0) return TRUE;
  MatMulShape shape;
  split_shape(a, b, &shape);
  gsize m = (gsize)shape.m, n = (gsize)shape.n, k = (gsize)shape.k, size = onnx_type_get_size(a->type);
  if (shape.b.n_dims == 0) /* one right matrix: all left ones are its rows */
    return multiply(call, a->type, a->data, b->data, out->data, out->n / n, n, k, error);
  PipelineTensor stack = {.n_dims = MAX(shape.a.n_dims, shape.b.n_dims)};
  memcpy(stack.dims, out->dims, stack.n_dims * sizeof(gint64));
  PipelineBroadcast walk;
  const PipelineTensor *pair[2] = {&shape.a, &shape.b};
  pipeline_broadcast_init(&walk, pair, 2, &stack);
  guint last = walk.n_dims - 1;
  guint8 *to = out->data;
  for (gsize row = 0; row < walk.outer; row++)
    for (gsize i = 0; i < walk.inner; i++, to += m * n * size) {
      gsize left = pipeline_broadcast_offset(&walk, 0, row) + i * walk.strides[0][last];
      gsize right = pipeline_broadcast_offset(&walk, 1, row) + i * walk.strides[1][last];
      if (!multiply(call, a->type, (const guint8 *)a->data + left * m * k * size,
                    (const guint8 *)b->data + right * k * n * size, to, m, n, k, error))
        return FALSE;
    }
  return TRUE;
}
