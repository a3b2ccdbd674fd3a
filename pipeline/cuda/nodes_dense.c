/* Gemm and MatMul: dA = dY Bᵀ, dB = Aᵀ dY, by cuBLAS. */
#include <string.h>

#include "pipeline/cuda/nodes.h"

gboolean pipeline_cuda_gemm_node_forward(PipelineGradientCall *call, GError **error)
{
  PipelineProduct gemm;
  if (!pipeline_gradient_read_gemm(&call->call, &gemm, error)) return FALSE;
  const PipelineTensor *c = pipeline_input(&call->call, 2);
  PipelineTensor *y = call->call.outputs[0];
  gboolean add = c != NULL && gemm.beta != 0;
  if (add && !pipeline_cuda_spread(call, c, gemm.beta, y, error)) return FALSE;
  gemm.beta = add ? 1 : 0;
  return pipeline_cuda_multiply(call, &gemm, call->call.inputs[0]->data, call->call.inputs[1]->data, y->data, error);
}

gboolean pipeline_cuda_gemm_node_backward(PipelineGradientCall *call, GError **error)
{
  PipelineProduct g;
  if (!pipeline_gradient_read_gemm(&call->call, &g, error) ||
      !pipeline_gradient_gemm_factors(call, &g, pipeline_cuda_multiply, error))
    return FALSE;
  return call->call.n_inputs < 3 || call->input_gradients[2] == NULL ||
         pipeline_cuda_sum_to(call, call->output_gradients[0], g.beta, call->input_gradients[2], error);
}

/* --- MatMul: stacks of matrices -------------------------------------------------------------------------------------
 */

/* Which operand of the product of a pair is where: strides between its neighbours in the innermost loop. */
typedef struct {
  PipelineProduct product;
  gsize steps[3]; /* of a, b, c */
} Batch;

static gboolean multiply_batch(PipelineGradientCall *call, const Batch *batch, gsize count, const float *a,
                               const float *b, float *c, GError **error)
{
  const PipelineProduct *p = &batch->product;
  if (count == 1 || p->k == 0) {
    for (gsize i = 0; i < count; i++)
      if (!pipeline_cuda_multiply(call, p, a + i * batch->steps[0], b + i * batch->steps[1], c + i * batch->steps[2],
                                  error))
        return FALSE;
    return TRUE;
  }
  PipelineCudaGemm gemm = pipeline_cuda_dense_gemm(call, p);
  gemm.count = count;
  gemm.stride_a = batch->steps[0];
  gemm.stride_b = batch->steps[1];
  gemm.stride_c = batch->steps[2];
  return PIPELINE_CUDA_RUN(call, gemm, &gemm, a, b, c);
}

static gboolean is_one_product(PipelineStacks *s, const PipelineTensor *y)
{
  if (s->b.n_dims > 0 || s->n == 0) return FALSE;
  s->m = y->n / s->n; /* one right matrix: all left ones are its rows */
  return TRUE;
}

gboolean pipeline_cuda_matmul_node_forward(PipelineGradientCall *call, GError **error)
{
  PipelineStacks s;
  PipelineTensor *y = call->call.outputs[0];
  const float *a = call->call.inputs[0]->data, *b = call->call.inputs[1]->data;
  float *c = y->data;
  if (!pipeline_gradient_read_stacks(&call->call, &s, error)) return FALSE;
  if (y->n == 0) return TRUE;
  gboolean one = is_one_product(&s, y);
  Batch batch = {.product = {FALSE, FALSE, s.m, s.n, s.k, 1, 0}};
  if (one) return pipeline_cuda_multiply(call, &batch.product, a, b, c, error);
  PipelineBroadcast walk;
  const PipelineTensor *pair[2] = {&s.a, &s.b};
  pipeline_broadcast_init(&walk, pair, 2, &s.stack);
  guint last = walk.n_dims - 1;
  batch.steps[0] = walk.strides[0][last] * s.m * s.k;
  batch.steps[1] = walk.strides[1][last] * s.k * s.n;
  batch.steps[2] = s.m * s.n;
  for (gsize row = 0; row < walk.outer; row++, c += walk.inner * s.m * s.n)
    if (!multiply_batch(call, &batch, walk.inner, a + pipeline_broadcast_offset(&walk, 0, row) * s.m * s.k,
                        b + pipeline_broadcast_offset(&walk, 1, row) * s.k * s.n, c, error))
      return FALSE;
  return TRUE;
}

/* Gradients of operands that were broadcast are added up, one product after the other. */
static gboolean add_pairs(PipelineGradientCall *call, const PipelineStacks *s, const PipelineBroadcast *walk,
                          guint operand, GError **error)
{
  const float *a = call->call.inputs[0]->data, *b = call->call.inputs[1]->data,
              *dy = pipeline_gradient_of_output(call, 0);
  const PipelineTensor *gradient = call->input_gradients[operand];
  const PipelineProduct of_a = {FALSE, TRUE, s->m, s->k, s->n, 1, 1}, of_b = {TRUE, FALSE, s->k, s->n, s->m, 1, 1};
  guint last = walk->n_dims - 1;
  if (!PIPELINE_CUDA_RUN(call, clear, gradient->data, gradient->n * sizeof(float))) return FALSE;
  for (gsize row = 0; row < walk->outer; row++)
    for (gsize i = 0; i < walk->inner; i++, dy += s->m * s->n) {
      gsize left = pipeline_broadcast_offset(walk, 0, row) + i * walk->strides[0][last];
      gsize right = pipeline_broadcast_offset(walk, 1, row) + i * walk->strides[1][last];
      float *to = (float *)gradient->data + (operand == 0 ? left * s->m * s->k : right * s->k * s->n);
      if (!(operand == 0 ? pipeline_cuda_multiply(call, &of_a, dy, b + right * s->k * s->n, to, error)
                         : pipeline_cuda_multiply(call, &of_b, a + left * s->m * s->k, dy, to, error)))
        return FALSE;
    }
  return TRUE;
}

/* The operand was not broadcast: each product writes its own part. */
static gboolean write_pairs(PipelineGradientCall *call, const PipelineStacks *s, const PipelineBroadcast *walk,
                            guint operand, GError **error)
{
  const float *a = call->call.inputs[0]->data, *b = call->call.inputs[1]->data,
              *dy = pipeline_gradient_of_output(call, 0);
  float *to = pipeline_gradient_of_input(call, operand);
  guint last = walk->n_dims - 1;
  gsize size_a = s->m * s->k, size_b = s->k * s->n, size_y = s->m * s->n;
  gsize step_a = walk->strides[0][last] * size_a, step_b = walk->strides[1][last] * size_b;
  const Batch of_a = {{FALSE, TRUE, s->m, s->k, s->n, 1, 0}, {size_y, step_b, step_a}};
  const Batch of_b = {{TRUE, FALSE, s->k, s->n, s->m, 1, 0}, {step_a, size_y, step_b}};
  for (gsize row = 0; row < walk->outer; row++, dy += walk->inner * size_y) {
    gsize left = pipeline_broadcast_offset(walk, 0, row) * size_a,
          right = pipeline_broadcast_offset(walk, 1, row) * size_b;
    if (!(operand == 0 ? multiply_batch(call, &of_a, walk->inner, dy, b + right, to + left, error)
                       : multiply_batch(call, &of_b, walk->inner, a + left, dy, to + right, error)))
      return FALSE;
  }
  return TRUE;
}

gboolean pipeline_cuda_matmul_node_backward(PipelineGradientCall *call, GError **error)
{
  PipelineStacks s;
  const PipelineTensor *y = call->call.outputs[0];
  if (!pipeline_gradient_read_stacks(&call->call, &s, error)) return FALSE;
  PipelineBroadcast walk;
  if (y->n > 0 && is_one_product(&s, y)) s.a.n_dims = s.stack.n_dims = 0;
  const PipelineTensor *pair[2] = {&s.a, &s.b};
  pipeline_broadcast_init(&walk, pair, 2, &s.stack);
  gsize n = walk.outer * walk.inner;
  for (guint i = 0; i < 2; i++) {
    const PipelineTensor *gradient = call->input_gradients[i];
    if (gradient == NULL) continue;
    gboolean whole = y->n > 0 && gradient->n == n * (i == 0 ? s.m * s.k : s.k * s.n);
    if (!(whole ? write_pairs(call, &s, &walk, i, error) : add_pairs(call, &s, &walk, i, error))) return FALSE;
  }
  return TRUE;
}
