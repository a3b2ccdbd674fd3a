/* Operators that order elements or run along an axis: TopK, Unique, CumSum, CumProd. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

/* -1, 0, 1; NaN is larger than everything and equal to itself. */
static gint compare_numbers(const PipelineTensor *tensor, gsize a, gsize b)
{
  if (tensor->type == ONNX_TYPE_STRING) {
    const PipelineText *x = (PipelineText *)tensor->data + a, *y = (PipelineText *)tensor->data + b;
    gsize shorter = MIN(x->length, y->length);
    gint order = shorter > 0 ? memcmp(x->text, y->text, shorter) : 0;
    return order != 0 ? order : (x->length > y->length) - (x->length < y->length);
  }
  if (tensor->type == ONNX_TYPE_UINT64) {
    guint64 x = ((const guint64 *)tensor->data)[a], y = ((const guint64 *)tensor->data)[b];
    return (x > y) - (x < y);
  }
  if (tensor->type == ONNX_TYPE_INT64) {
    gint64 x = ((const gint64 *)tensor->data)[a], y = ((const gint64 *)tensor->data)[b];
    return (x > y) - (x < y);
  }
  double x = pipeline_element_get_double(tensor, a), y = pipeline_element_get_double(tensor, b);
  if (isnan(x) || isnan(y)) return isnan(x) - isnan(y);
  return (x > y) - (x < y);
}

/* --- TopK
 * ------------------------------------------------------------------------------------------------------------- */

static gboolean read_k(const PipelineCall *call, gint64 *k, PipelineAround *around, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *given = pipeline_input(call, 1);
  *k = onnx_node_get_int(call->node, "k", -1); /* before set 10 */
  if (given != NULL) {
    if (given->type != ONNX_TYPE_INT64 || given->n != 1) return pipeline_operator_fail_type(call, 1, error);
    *k = *(const gint64 *)given->data;
  }
  if (!pipeline_type_is_number(in->type)) return pipeline_operator_fail_type(call, 0, error);
  if (!pipeline_around(in, onnx_node_get_int(call->node, "axis", -1), around, error)) return FALSE;
  return (*k >= 0 && *k <= (gint64)around->length) ||
         pipeline_operator_fail(error, "it wants %" G_GINT64_FORMAT " of %zu elements", *k, around->length);
}

gboolean pipeline_top_k_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gint64 k, dims[ONNX_MAX_DIMENSIONS];
  PipelineAround around;
  if (!read_k(call, &k, &around, error)) return FALSE;
  memcpy(dims, in->dims, sizeof dims);
  dims[around.axis] = k;
  return pipeline_output_set(call, 0, in->type, in->n_dims, dims, error) &&
         pipeline_output_set(call, 1, ONNX_TYPE_INT64, in->n_dims, dims, error);
}

typedef struct {
  const PipelineTensor *tensor;
  gsize start, step;
  gint sign;
} Line;

/* Of equal elements the one with the lower index comes first. */
static gint compare_places(gconstpointer a, gconstpointer b, gpointer data)
{
  const Line *line = data;
  gsize x = *(const gsize *)a, y = *(const gsize *)b;
  gint order = compare_numbers(line->tensor, line->start + x * line->step, line->start + y * line->step) * line->sign;
  return order != 0 ? order : (x > y) - (x < y);
}

gboolean pipeline_top_k_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  PipelineTensor *places = call->n_outputs > 1 ? call->outputs[1] : NULL;
  gboolean largest = onnx_node_get_int(call->node, "largest", 1) != 0;
  gsize size = onnx_type_get_size(in->type);
  gint64 k;
  PipelineAround around;
  if (!read_k(call, &k, &around, error)) return FALSE;
  g_autofree gsize *order = pipeline_scratch_new(call, around.length, sizeof(gsize), error);
  if (order == NULL) return FALSE;
  for (gsize l = 0; l < around.outer * around.inner; l++) {
    gsize outer = l / around.inner, inner = l % around.inner;
    Line line = {in, outer * around.length * around.inner + inner, around.inner, largest ? -1 : 1};
    for (gsize i = 0; i < around.length; i++) order[i] = i;
    g_qsort_with_data(order, (gint)around.length, sizeof(gsize), compare_places, &line);
    for (gsize i = 0; i < (gsize)k; i++) {
      gsize to = (outer * (gsize)k + i) * around.inner + inner;
      memcpy((guint8 *)call->outputs[0]->data + to * size,
             (const guint8 *)in->data + (line.start + order[i] * around.inner) * size, size);
      if (places != NULL) ((gint64 *)places->data)[to] = (gint64)order[i];
    }
  }
  return TRUE;
}

/* --- Unique
 * ----------------------------------------------------------------------------------------------------------- */

/* Slices along the axis (or single elements), and the distinct ones. */
typedef struct {
  PipelineAround around;
  const PipelineTensor *tensor;
  GArray *order; /* of gsize: one slice of each kind, in output order */
  gsize *kind;   /* [around.length]: which of them a slice equals */
} Distinct;

static gint compare_slices(const Distinct *distinct, gsize x, gsize y)
{
  const PipelineAround *around = &distinct->around;
  for (gsize o = 0; o < around->outer; o++)
    for (gsize i = 0; i < around->inner; i++) {
      gint order = compare_numbers(distinct->tensor, (o * around->length + x) * around->inner + i,
                                   (o * around->length + y) * around->inner + i);
      if (order != 0) return order;
    }
  return 0;
}

static gint compare_slices_stable(gconstpointer a, gconstpointer b, gpointer data)
{
  gsize x = *(const gsize *)a, y = *(const gsize *)b;
  gint order = compare_slices(data, x, y);
  return order != 0 ? order : (x > y) - (x < y);
}

static gint compare_sizes(gconstpointer a, gconstpointer b)
{
  gsize x = *(const gsize *)a, y = *(const gsize *)b;
  return (x > y) - (x < y);
}

static void distinct_free(gpointer data)
{
  Distinct *distinct = data;
  g_array_unref(distinct->order);
  g_free(distinct->kind);
  g_free(distinct);
}

/* The kinds in the order in which they first appear instead of sorted. */
static void order_by_appearance(Distinct *distinct)
{
  g_autofree gsize *place = g_new0(gsize, distinct->around.length + 1), *first = NULL;
  gsize n = distinct->order->len;
  first = g_memdup2(distinct->order->data, n * sizeof(gsize));
  g_array_sort(distinct->order, compare_sizes);
  for (gsize i = 0; i < n; i++) place[g_array_index(distinct->order, gsize, i)] = i;
  for (gsize i = 0; i < distinct->around.length; i++) distinct->kind[i] = place[first[distinct->kind[i]]];
}

static gboolean collect_distinct(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  PipelineAround around = {0, 1, in->n, 1};
  if (onnx_node_get_attribute(call->node, "axis") != NULL &&
      !pipeline_around(in, onnx_node_get_int(call->node, "axis", 0), &around, error))
    return FALSE;
  if (call->state != NULL) call->state_free(call->state);
  Distinct *distinct = g_new0(Distinct, 1);
  call->state = distinct;
  call->state_free = distinct_free;
  distinct->around = around;
  distinct->tensor = in;
  distinct->order = g_array_new(FALSE, FALSE, sizeof(gsize));
  distinct->kind = pipeline_scratch_new(call, around.length, sizeof(gsize), error);
  g_autofree gsize *sorted = pipeline_scratch_new(call, around.length, sizeof(gsize), error);
  if (distinct->kind == NULL || sorted == NULL) return FALSE;
  for (gsize i = 0; i < around.length; i++) sorted[i] = i;
  g_qsort_with_data(sorted, (gint)around.length, sizeof(gsize), compare_slices_stable, distinct);
  for (gsize i = 0; i < around.length; i++) {
    if (i == 0 || compare_slices(distinct, sorted[i - 1], sorted[i]) != 0)
      g_array_append_val(distinct->order, sorted[i]);
    distinct->kind[sorted[i]] = distinct->order->len - 1;
  }
  if (onnx_node_get_int(call->node, "sorted", 1) == 0) order_by_appearance(distinct);
  return TRUE;
}

gboolean pipeline_unique_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  if (in->n == 0) return pipeline_operator_fail(error, "its input is empty");
  if (!collect_distinct(call, error)) return FALSE;
  const Distinct *distinct = call->state;
  gint64 n = distinct->order->len, length = (gint64)distinct->around.length, dims[ONNX_MAX_DIMENSIONS];
  memcpy(dims, in->dims, sizeof dims);
  gboolean flat = onnx_node_get_attribute(call->node, "axis") == NULL;
  dims[flat ? 0 : distinct->around.axis] = n;
  return pipeline_output_set(call, 0, in->type, flat ? 1 : in->n_dims, dims, error) &&
         pipeline_output_set(call, 1, ONNX_TYPE_INT64, 1, &n, error) &&
         pipeline_output_set(call, 2, ONNX_TYPE_INT64, 1, &length, error) &&
         pipeline_output_set(call, 3, ONNX_TYPE_INT64, 1, &n, error);
}

gboolean pipeline_unique_run(PipelineCall *call, GError **error)
{
  (void)error;
  const Distinct *distinct = call->state;
  const PipelineAround *around = &distinct->around;
  gsize n = distinct->order->len, bytes = around->inner * pipeline_tensor_element_size(call->inputs[0]->type);
  gint64 *extra[4] = {NULL, NULL, NULL, NULL};
  for (guint i = 1; i < call->n_outputs; i++) extra[i] = call->outputs[i] != NULL ? call->outputs[i]->data : NULL;
  for (gsize k = 0; k < n; k++) {
    gsize first = g_array_index(distinct->order, gsize, k);
    if (extra[1] != NULL) extra[1][k] = (gint64)first;
    if (extra[3] != NULL) extra[3][k] = 0;
    for (gsize o = 0; o < around->outer; o++)
      memcpy((guint8 *)call->outputs[0]->data + (o * n + k) * bytes,
             (const guint8 *)call->inputs[0]->data + (o * around->length + first) * bytes, bytes);
  }
  for (gsize i = 0; i < around->length; i++) {
    if (extra[2] != NULL) extra[2][i] = (gint64)distinct->kind[i];
    if (extra[3] != NULL) extra[3][distinct->kind[i]]++;
  }
  return TRUE;
}

/* --- CumSum, CumProd (parameter non-NULL: product)
 * ---------------------------------------------------------------------------- */

const gint pipeline_cumulate_product = 1;

static gboolean cumulate_around(const PipelineCall *call, PipelineAround *around, GError **error)
{
  gint64 axis;
  guint n;
  if (!pipeline_integers_read(call->inputs[1], &axis, 1, &n, error)) return FALSE;
  if (n != 1) return pipeline_operator_fail(error, "its axis is not one number");
  return pipeline_around(call->inputs[0], axis, around, error);
}

gboolean pipeline_cumulate_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  PipelineAround around;
  if (!pipeline_type_is_number(in->type) || in->type == ONNX_TYPE_BOOL)
    return pipeline_operator_fail_type(call, 0, error);
  return cumulate_around(call, &around, error) && pipeline_output_like(call, 0, in->type, in, error);
}

gboolean pipeline_cumulate_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  PipelineTensor *out = call->outputs[0];
  gboolean product = call->operator->parameter != NULL, floating = pipeline_type_is_floating(in->type);
  gboolean exclusive = onnx_node_get_int(call->node, "exclusive", 0) != 0,
           reverse = onnx_node_get_int(call->node, "reverse", 0) != 0;
  PipelineAround around;
  if (!cumulate_around(call, &around, error)) return FALSE;
  for (gsize line = 0; line < around.outer * around.inner; line++) {
    gsize start = line / around.inner * around.length * around.inner + line % around.inner;
    double number = product;
    guint64 integer = product;
    for (gsize i = 0; i < around.length; i++) {
      gsize at = start + (reverse ? around.length - 1 - i : i) * around.inner;
      double before = number;
      guint64 before_integer = integer;
      if (floating) {
        double value = pipeline_element_get_double(in, at);
        number = product ? number * value : number + value;
        pipeline_element_put_double(out, at, exclusive ? before : number);
      } else {
        guint64 value = (guint64)pipeline_element_get_integer(in, at);
        integer = product ? integer * value : integer + value;
        pipeline_element_put_integer(out, at, (gint64)(exclusive ? before_integer : integer));
      }
    }
  }
  return TRUE;
}
