/* Reductions over axes. Sums run in double in ascending index order. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

struct _PipelineReduce {
  double initial;
  double (*step)(double sum, double value);
  double (*finish)(double sum, gsize n);
  gint64 (*step_integer)(gint64 sum, gint64 value); /* on int32 and int64, exactly; NULL: through double */
  gint64 initial_integer;
  gboolean needs_elements; /* of no integers there is no result */
  gboolean exponential;    /* adds exp(value - highest) instead of the value, finishes by adding the highest */
};

static double add(double sum, double value)
{
  return sum + value;
}

static double add_absolute(double sum, double value)
{
  return sum + fabs(value);
}

static double add_square(double sum, double value)
{
  return sum + value * value;
}

static double multiply(double product, double value)
{
  return product * value;
}

static double larger(double a, double b)
{
  return isnan(a) || a > b ? a : b;
}

static double smaller(double a, double b)
{
  return isnan(a) || a < b ? a : b;
}

static double identity(double sum, gsize n)
{
  (void)n;
  return sum;
}

static double divide(double sum, gsize n)
{
  return sum / (double)n;
}

static double root(double sum, gsize n)
{
  (void)n;
  return sqrt(sum);
}

static double logarithm(double sum, gsize n)
{
  (void)n;
  return log(sum);
}

static gint64 add_integer(gint64 a, gint64 b)
{
  return (gint64)((guint64)a + (guint64)b);
}

static gint64 multiply_integer(gint64 a, gint64 b)
{
  return (gint64)((guint64)a * (guint64)b);
}

static gint64 larger_integer(gint64 a, gint64 b)
{
  return MAX(a, b);
}

static gint64 smaller_integer(gint64 a, gint64 b)
{
  return MIN(a, b);
}

const PipelineReduce pipeline_reduce_sum = {0, add, identity, add_integer, 0, FALSE, FALSE};
const PipelineReduce pipeline_reduce_mean = {0, add, divide, NULL, 0, FALSE, FALSE};
const PipelineReduce pipeline_reduce_max = {-INFINITY, larger, identity, larger_integer, G_MININT64, TRUE, FALSE};
const PipelineReduce pipeline_reduce_min = {INFINITY, smaller, identity, smaller_integer, G_MAXINT64, TRUE, FALSE};
const PipelineReduce pipeline_reduce_prod = {1, multiply, identity, multiply_integer, 1, FALSE, FALSE};
const PipelineReduce pipeline_reduce_l1 = {0, add_absolute, identity, NULL, 0, FALSE, FALSE};
const PipelineReduce pipeline_reduce_l2 = {0, add_square, root, NULL, 0, FALSE, FALSE};
const PipelineReduce pipeline_reduce_sum_square = {0, add_square, identity, NULL, 0, FALSE, FALSE};
const PipelineReduce pipeline_reduce_log_sum = {0, add, logarithm, NULL, 0, FALSE, FALSE};
const PipelineReduce pipeline_reduce_log_sum_exp = {0, add, logarithm, NULL, 0, FALSE, TRUE};

/* Which dimensions are reduced. */
static gboolean read_axes(PipelineCall *call, gboolean reduced[ONNX_MAX_DIMENSIONS], GError **error)
{
  guint n_dims = call->inputs[0]->n_dims, n;
  gint64 axes[ONNX_MAX_DIMENSIONS];
  gboolean present;
  if (!pipeline_list_read(call, "axes", 1, axes, &n, &present, error)) return FALSE;
  gboolean all = n == 0 && onnx_node_get_int(call->node, "noop_with_empty_axes", 0) == 0;
  for (guint d = 0; d < n_dims; d++) reduced[d] = all;
  for (guint i = 0; i < n; i++) {
    guint axis;
    if (!pipeline_axis_resolve(axes[i], n_dims, FALSE, &axis, error)) return FALSE;
    reduced[axis] = TRUE;
  }
  return TRUE;
}

gboolean pipeline_reduce_infer(PipelineCall *call, GError **error)
{
  const PipelineReduce *reduce = call->operator->parameter;
  const PipelineTensor *in = call->inputs[0];
  gboolean known = in->type == ONNX_TYPE_FLOAT || in->type == ONNX_TYPE_DOUBLE || in->type == ONNX_TYPE_INT32 ||
                   in->type == ONNX_TYPE_INT64 || (in->type == ONNX_TYPE_BOOL && reduce->needs_elements);
  if (!known) return pipeline_operator_fail_type(call, 0, error);
  gboolean reduced[ONNX_MAX_DIMENSIONS], keep = onnx_node_get_int(call->node, "keepdims", 1) != 0;
  if (!read_axes(call, reduced, error)) return FALSE;
  gint64 dims[ONNX_MAX_DIMENSIONS];
  guint n_dims = 0;
  for (guint d = 0; d < in->n_dims; d++)
    if (!reduced[d] || keep) dims[n_dims++] = reduced[d] ? 1 : in->dims[d];
  return pipeline_output_set(call, 0, in->type, n_dims, dims, error);
}

/* A walk over some dimensions of a tensor: index -> element offset. */
typedef struct {
  guint n;
  gsize dims[ONNX_MAX_DIMENSIONS], strides[ONNX_MAX_DIMENSIONS], count;
} Walk;

static void walk_init(Walk *walk, const PipelineTensor *tensor, const gboolean *reduced, gboolean wanted)
{
  gsize strides[ONNX_MAX_DIMENSIONS];
  pipeline_strides(tensor, strides);
  walk->n = 0;
  walk->count = 1;
  for (guint d = 0; d < tensor->n_dims; d++) {
    if (reduced[d] != wanted) continue;
    walk->dims[walk->n] = (gsize)tensor->dims[d];
    walk->strides[walk->n++] = strides[d];
    walk->count *= (gsize)tensor->dims[d];
  }
}

static gsize walk_offset(const Walk *walk, gsize index)
{
  gsize offset = 0;
  for (guint d = walk->n; d-- > 0;) {
    offset += index % walk->dims[d] * walk->strides[d];
    index /= walk->dims[d];
  }
  return offset;
}

static gint64 reduce_integers(const PipelineReduce *reduce, const PipelineTensor *in, const Walk *inner, gsize base)
{
  gint64 sum = reduce->initial_integer;
  for (gsize i = 0; i < inner->count; i++)
    sum = reduce->step_integer(sum, pipeline_element_get_integer(in, base + walk_offset(inner, i)));
  return sum;
}

static double reduce_numbers(const PipelineReduce *reduce, const PipelineTensor *in, const Walk *inner, gsize base)
{
  double sum = reduce->initial, highest = 0;
  for (gsize i = 0; reduce->exponential && i < inner->count; i++) {
    double value = pipeline_element_get_double(in, base + walk_offset(inner, i));
    highest = i == 0 ? value : larger(highest, value);
  }
  gboolean shift = reduce->exponential && isfinite(highest);
  for (gsize i = 0; i < inner->count; i++) {
    double value = pipeline_element_get_double(in, base + walk_offset(inner, i));
    sum = reduce->step(sum, !reduce->exponential ? value : exp(shift ? value - highest : value));
  }
  return reduce->finish(sum, inner->count) + (shift ? highest : 0);
}

gboolean pipeline_reduce_run(PipelineCall *call, GError **error)
{
  const PipelineReduce *reduce = call->operator->parameter;
  const PipelineTensor *in = call->inputs[0];
  PipelineTensor *out = call->outputs[0];
  gboolean reduced[ONNX_MAX_DIMENSIONS];
  if (!read_axes(call, reduced, error)) return FALSE;
  Walk outer, inner;
  walk_init(&outer, in, reduced, FALSE);
  walk_init(&inner, in, reduced, TRUE);
  gboolean integer = !pipeline_type_is_floating(in->type);
  if (integer && in->type != ONNX_TYPE_BOOL && reduce->needs_elements && inner.count == 0 && out->n > 0)
    return pipeline_operator_fail(error, "it looks for the extreme of no integers");
  for (gsize o = 0; o < outer.count; o++) {
    gsize base = walk_offset(&outer, o);
    if (integer && inner.count == 0 && reduce->needs_elements)
      pipeline_element_put_integer(out, o, reduce->initial > 0); /* of no truth values the highest is false */
    else if (integer && reduce->step_integer != NULL)
      pipeline_element_put_integer(out, o, reduce_integers(reduce, in, &inner, base));
    else
      pipeline_element_put_double(out, o, reduce_numbers(reduce, in, &inner, base));
  }
  return TRUE;
}
