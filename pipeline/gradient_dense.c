/* Gemm and MatMul: dA = dY Bᵀ, dB = Aᵀ dY. */
#include <string.h>

#include "pipeline/gradient_internal.h"

/* --- Gemm --------------------------------------------------------------------------------------------------------- */

gboolean pipeline_gradient_read_gemm(const PipelineCall *call, PipelineProduct *gemm, GError **error)
{
  const PipelineTensor *a = call->inputs[0], *b = call->inputs[1];
  if (a->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 0, error);
  if (b->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 1, error);
  if (a->n_dims != 2 || b->n_dims != 2) return pipeline_operator_fail(error, "its inputs are no matrices");
  gemm->transpose_a = onnx_node_get_int(call->node, "transA", 0) != 0;
  gemm->transpose_b = onnx_node_get_int(call->node, "transB", 0) != 0;
  gemm->alpha = onnx_node_get_float(call->node, "alpha", 1);
  gemm->beta = onnx_node_get_float(call->node, "beta", 1);
  gemm->m = (gsize)a->dims[gemm->transpose_a ? 1 : 0];
  gemm->k = (gsize)a->dims[gemm->transpose_a ? 0 : 1];
  gemm->n = (gsize)b->dims[gemm->transpose_b ? 0 : 1];
  if ((gsize)b->dims[gemm->transpose_b ? 1 : 0] == gemm->k) return TRUE;
  g_autofree gchar *left = pipeline_tensor_describe(a), *right = pipeline_tensor_describe(b);
  return pipeline_operator_fail(error, "matrices %s and %s do not fit together", left, right);
}

gboolean pipeline_gradient_gemm_infer(PipelineCall *call, GError **error)
{
  PipelineProduct gemm;
  if (!pipeline_gradient_read_gemm(call, &gemm, error)) return FALSE;
  PipelineTensor product = {.n_dims = 2, .dims = {(gint64)gemm.m, (gint64)gemm.n}};
  const PipelineTensor *pair[2] = {&product, pipeline_input(call, 2)};
  gint64 dims[ONNX_MAX_DIMENSIONS];
  guint n_dims = 2;
  if (pair[1] != NULL && pair[1]->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 2, error);
  if (pair[1] != NULL && !pipeline_broadcast_shape(pair, 2, dims, &n_dims, error)) return FALSE;
  if (pair[1] != NULL && (n_dims != 2 || dims[0] != product.dims[0] || dims[1] != product.dims[1]))
    return pipeline_operator_fail(error, "the shape of its bias is larger than the product");
  return pipeline_output_set(call, 0, ONNX_TYPE_FLOAT, 2, product.dims, error);
}

gboolean pipeline_gradient_gemm_forward(PipelineGradientCall *call, GError **error)
{
  PipelineProduct gemm;
  if (!pipeline_gradient_read_gemm(&call->call, &gemm, error)) return FALSE;
  const PipelineTensor *c = pipeline_input(&call->call, 2);
  PipelineTensor *y = call->call.outputs[0];
  gboolean add = c != NULL && gemm.beta != 0;
  if (add) {
    PipelineBroadcast walk;
    pipeline_broadcast_init(&walk, &c, 1, y);
    gsize step = walk.strides[0][walk.n_dims - 1];
    for (gsize row = 0; y->n > 0 && row < walk.outer; row++) {
      const float *from = (const float *)c->data + pipeline_broadcast_offset(&walk, 0, row);
      float *to = (float *)y->data + row * walk.inner;
      for (gsize i = 0; i < walk.inner; i++) to[i] = gemm.beta * from[i * step];
    }
  }
  const PipelineProduct product = {gemm.transpose_a, gemm.transpose_b, gemm.m, gemm.n, gemm.k, gemm.alpha, add ? 1 : 0};
  return pipeline_gradient_multiply(call, &product, call->call.inputs[0]->data, call->call.inputs[1]->data, y->data,
                                    error);
}

gboolean pipeline_gradient_gemm_factors(PipelineGradientCall *call, const PipelineProduct *g,
                                        PipelineMultiplyFunc multiply, GError **error)
{
  const float *a = call->call.inputs[0]->data, *b = call->call.inputs[1]->data;
  const float *dy = pipeline_gradient_of_output(call, 0);
  float *da = pipeline_gradient_of_input(call, 0), *db = pipeline_gradient_of_input(call, 1);
  /* A stored transposed has its gradient transposed too: (dY Bᵀ)ᵀ = B dYᵀ. */
  const PipelineProduct plain_a = {FALSE, !g->transpose_b, g->m, g->k, g->n, g->alpha, 0};
  const PipelineProduct turned_a = {g->transpose_b, TRUE, g->k, g->m, g->n, g->alpha, 0};
  const PipelineProduct plain_b = {!g->transpose_a, FALSE, g->k, g->n, g->m, g->alpha, 0};
  const PipelineProduct turned_b = {TRUE, g->transpose_a, g->n, g->k, g->m, g->alpha, 0};
  if (da != NULL &&
      !(g->transpose_a ? multiply(call, &turned_a, b, dy, da, error) : multiply(call, &plain_a, dy, b, da, error)))
    return FALSE;
  return db == NULL ||
         (g->transpose_b ? multiply(call, &turned_b, dy, a, db, error) : multiply(call, &plain_b, a, dy, db, error));
}

gboolean pipeline_gemm_backward(PipelineGradientCall *call, GError **error)
{
  PipelineProduct g;
  if (!pipeline_gradient_read_gemm(&call->call, &g, error) ||
      !pipeline_gradient_gemm_factors(call, &g, pipeline_gradient_multiply, error))
    return FALSE;
  if (call->call.n_inputs > 2 && call->input_gradients[2] != NULL)
    pipeline_gradient_sum_to(call->output_gradients[0], g.beta, call->input_gradients[2]);
  return TRUE;
}

/* --- MatMul ------------------------------------------------------------------------------------------------------- */

gboolean pipeline_gradient_read_stacks(const PipelineCall *call, PipelineStacks *s, GError **error)
{
  const PipelineTensor *a = call->inputs[0], *b = call->inputs[1];
  memset(s, 0, sizeof *s);
  s->m = a->n_dims >= 2 ? (gsize)a->dims[a->n_dims - 2] : 1;
  s->k = (gsize)a->dims[a->n_dims - 1];
  s->n = b->n_dims >= 2 ? (gsize)b->dims[b->n_dims - 1] : 1;
  s->a.n_dims = a->n_dims >= 2 ? a->n_dims - 2 : 0;
  s->b.n_dims = b->n_dims >= 2 ? b->n_dims - 2 : 0;
  memcpy(s->a.dims, a->dims, sizeof a->dims);
  memcpy(s->b.dims, b->dims, sizeof b->dims);
  const PipelineTensor *pair[2] = {&s->a, &s->b};
  return pipeline_broadcast_shape(pair, 2, s->stack.dims, &s->stack.n_dims, error);
}

/* One pair of matrices; both gradients are added to. */
static gboolean add_pair(PipelineGradientCall *call, const PipelineStacks *s, gsize left, gsize right, const float *dy,
                         GError **error)
{
  const float *a = (const float *)call->call.inputs[0]->data + left * s->m * s->k;
  const float *b = (const float *)call->call.inputs[1]->data + right * s->k * s->n;
  float *da = pipeline_gradient_of_input(call, 0), *db = pipeline_gradient_of_input(call, 1);
  const PipelineProduct of_a = {FALSE, TRUE, s->m, s->k, s->n, 1, 1}, of_b = {TRUE, FALSE, s->k, s->n, s->m, 1, 1};
  return (da == NULL || pipeline_gradient_multiply(call, &of_a, dy, b, da + left * s->m * s->k, error)) &&
         (db == NULL || pipeline_gradient_multiply(call, &of_b, a, dy, db + right * s->k * s->n, error));
}

gboolean pipeline_matmul_backward(PipelineGradientCall *call, GError **error)
{
  PipelineStacks s;
  if (!pipeline_gradient_read_stacks(&call->call, &s, error)) return FALSE;
  const float *dy = pipeline_gradient_of_output(call, 0);
  for (guint i = 0; i < 2; i++)
    if (call->input_gradients[i] != NULL)
      memset(call->input_gradients[i]->data, 0, call->input_gradients[i]->n * sizeof(float));
  if (call->call.outputs[0]->n == 0) return TRUE;
  if (s.b.n_dims == 0) { /* one right matrix: all left ones are its rows */
    s.m = call->call.outputs[0]->n / s.n;
    return add_pair(call, &s, 0, 0, dy, error);
  }
  PipelineBroadcast walk;
  const PipelineTensor *pair[2] = {&s.a, &s.b};
  pipeline_broadcast_init(&walk, pair, 2, &s.stack);
  guint last = walk.n_dims - 1;
  for (gsize row = 0; row < walk.outer; row++)
    for (gsize i = 0; i < walk.inner; i++, dy += s.m * s.n)
      if (!add_pair(call, &s, pipeline_broadcast_offset(&walk, 0, row) + i * walk.strides[0][last],
                    pipeline_broadcast_offset(&walk, 1, row) + i * walk.strides[1][last], dy, error))
        return FALSE;
  return TRUE;
}
