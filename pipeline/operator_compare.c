/* Comparisons, logic and Where. */
#include <string.h>

#include "pipeline/operator_internal.h"

struct _PipelineCompare {
  gboolean (*numbers)(double a, double b);  /* every number type but 64-bit integers */
  gboolean (*integers)(gint64 a, gint64 b); /* int64, exactly */
  gboolean (*positive)(guint64 a, guint64 b);
  gboolean texts, booleans_only; /* works on strings too; only on bool */
};

#define COMPARE(name, expression, on_texts, only_booleans)                                                             \
  static gboolean name##_numbers(double a, double b)                                                                   \
  {                                                                                                                    \
    return (expression);                                                                                               \
  }                                                                                                                    \
  static gboolean name##_integers(gint64 a, gint64 b)                                                                  \
  {                                                                                                                    \
    return (expression);                                                                                               \
  }                                                                                                                    \
  static gboolean name##_positive(guint64 a, guint64 b)                                                                \
  {                                                                                                                    \
    return (expression);                                                                                               \
  }                                                                                                                    \
  const PipelineCompare pipeline_compare_##name = {name##_numbers, name##_integers, name##_positive, on_texts,         \
                                                   only_booleans};

COMPARE(equal, a == b, TRUE, FALSE)
COMPARE(less, a < b, FALSE, FALSE)
COMPARE(greater, a > b, FALSE, FALSE)
COMPARE(less_or_equal, a <= b, FALSE, FALSE)
COMPARE(greater_or_equal, a >= b, FALSE, FALSE)
COMPARE(and, a != 0 && b != 0, FALSE, TRUE)
COMPARE(or, a != 0 || b != 0, FALSE, TRUE)
COMPARE(xor, (a != 0) != (b != 0), FALSE, TRUE)

gboolean pipeline_compare_infer(PipelineCall *call, GError **error)
{
  const PipelineCompare *compare = call->operator->parameter;
  OnnxType type = call->inputs[0]->type;
  gboolean fits = compare->booleans_only
                      ? type == ONNX_TYPE_BOOL
                      : pipeline_type_is_number(type) || (type == ONNX_TYPE_STRING && compare->texts);
  if (!fits) return pipeline_operator_fail_type(call, 0, error);
  if (call->inputs[1]->type != type) return pipeline_operator_fail_type(call, 1, error);
  gint64 dims[ONNX_MAX_DIMENSIONS];
  guint n_dims;
  PipelineTensor view;
  const PipelineTensor *pair[2];
  return pipeline_pair(call, pair, &view, error) && pipeline_broadcast_shape(pair, 2, dims, &n_dims, error) &&
         pipeline_output_set(call, 0, ONNX_TYPE_BOOL, n_dims, dims, error);
}

static gboolean same_text(const PipelineText *a, const PipelineText *b)
{
  return a->length == b->length && (a->length == 0 || memcmp(a->text, b->text, a->length) == 0);
}

static gboolean compare_elements(const PipelineCompare *compare, const PipelineTensor *a, gsize i,
                                 const PipelineTensor *b, gsize j)
{
  if (a->type == ONNX_TYPE_STRING) return same_text((PipelineText *)a->data + i, (PipelineText *)b->data + j);
  if (a->type == ONNX_TYPE_INT64) return compare->integers(((gint64 *)a->data)[i], ((gint64 *)b->data)[j]);
  if (a->type == ONNX_TYPE_UINT64) return compare->positive(((guint64 *)a->data)[i], ((guint64 *)b->data)[j]);
  return compare->numbers(pipeline_element_get_double(a, i), pipeline_element_get_double(b, j));
}

gboolean pipeline_compare_run(PipelineCall *call, GError **error)
{
  const PipelineCompare *compare = call->operator->parameter;
  const PipelineTensor *a = call->inputs[0], *b = call->inputs[1];
  guint8 *out = call->outputs[0]->data;
  PipelineBroadcast walk;
  PipelineTensor view;
  const PipelineTensor *pair[2];
  if (!pipeline_pair(call, pair, &view, error)) return FALSE;
  pipeline_broadcast_init(&walk, pair, 2, call->outputs[0]);
  guint last = walk.n_dims - 1;
  if (call->outputs[0]->n == 0) return TRUE;
  for (gsize row = 0; row < walk.outer; row++) {
    gsize i = pipeline_broadcast_offset(&walk, 0, row), j = pipeline_broadcast_offset(&walk, 1, row);
    for (gsize k = 0; k < walk.inner; k++)
      *out++ = (guint8)compare_elements(compare, a, i + k * walk.strides[0][last], b, j + k * walk.strides[1][last]);
  }
  return TRUE;
}

gboolean pipeline_where_infer(PipelineCall *call, GError **error)
{
  if (call->inputs[0]->type != ONNX_TYPE_BOOL) return pipeline_operator_fail_type(call, 0, error);
  if (call->inputs[1]->type != call->inputs[2]->type) return pipeline_operator_fail_type(call, 2, error);
  gint64 dims[ONNX_MAX_DIMENSIONS];
  guint n_dims;
  return pipeline_broadcast_shape(call->inputs, 3, dims, &n_dims, error) &&
         pipeline_output_set(call, 0, call->inputs[1]->type, n_dims, dims, error);
}

gboolean pipeline_where_run(PipelineCall *call, GError **error)
{
  (void)error;
  PipelineTensor *out = call->outputs[0];
  gsize size = pipeline_tensor_element_size(out->type);
  guint8 *to = out->data;
  PipelineBroadcast walk;
  pipeline_broadcast_init(&walk, call->inputs, 3, out);
  guint last = walk.n_dims - 1;
  if (out->n == 0) return TRUE;
  for (gsize row = 0; row < walk.outer; row++) {
    gsize start[3];
    for (guint i = 0; i < 3; i++) start[i] = pipeline_broadcast_offset(&walk, i, row);
    for (gsize k = 0; k < walk.inner; k++, to += size) {
      gboolean condition = ((const guint8 *)call->inputs[0]->data)[start[0] + k * walk.strides[0][last]] != 0;
      guint pick = condition ? 1 : 2;
      memcpy(to, (const guint8 *)call->inputs[pick]->data + (start[pick] + k * walk.strides[pick][last]) * size, size);
    }
  }
  return TRUE;
}
