/* Attention, RotaryEmbedding, SwiGLU, TensorScatter: the pieces of transformers. Computed in double; 16-bit floats are
 * rounded after every step of the operator's definition, as softmax does.
 * Source of the formulas: https://onnx.ai/onnx/operators/onnx__Attention.html and its reference implementation. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

/* Q, K, V as [batch, head, row, feature], whatever the layout: 4-D, or 3-D [batch, row, head · feature]. */
typedef struct {
  const PipelineTensor *tensor, *past; /* past: earlier rows [batch, head, row, feature], or NULL */
  gsize batch, heads, rows, features;  /* rows with the past ones */
} Heads;

typedef struct {
  Heads q, k, v;
  gsize group; /* heads of q that share one of k and v */
  const PipelineTensor *mask, *lengths;
  double scale, cap;
  gboolean causal;
  gint64 offset, left, right; /* rows before q's first one; window, -1: unbounded */
  OnnxType type, softmax_type;
} Attention;

static double rounded(OnnxType type, double value)
{
  guint64 bits = 0;
  PipelineTensor scalar = {.type = type, .data = &bits};
  if (type != ONNX_TYPE_FLOAT16 && type != ONNX_TYPE_BFLOAT16) return value;
  pipeline_element_put_double(&scalar, 0, value);
  return pipeline_element_get_double(&scalar, 0);
}

static gboolean read_heads(const PipelineCall *call, guint input, guint past, const gchar *attribute, Heads *heads,
                           GError **error)
{
  const PipelineTensor *tensor = call->inputs[input], *before = pipeline_input(call, past);
  if (!pipeline_type_is_floating(tensor->type)) return pipeline_operator_fail_type(call, input, error);
  gint64 n = onnx_node_get_int(call->node, attribute, 0);
  gboolean flat = tensor->n_dims == 3;
  if ((!flat && tensor->n_dims != 4) || (flat && (n < 1 || tensor->dims[2] % n != 0)))
    return pipeline_operator_fail(error, "input %u does not fall into heads", input);
  *heads = (Heads){.tensor = tensor, .past = before, .batch = (gsize)tensor->dims[0]};
  heads->heads = (gsize)(flat ? n : tensor->dims[1]);
  heads->rows = (gsize)tensor->dims[flat ? 1 : 2];
  heads->features = (gsize)(flat ? tensor->dims[2] / n : tensor->dims[3]);
  if (before == NULL) return TRUE;
  if (before->n_dims != 4 || before->type != tensor->type || before->dims[0] != tensor->dims[0] ||
      (gsize)before->dims[1] != heads->heads || (gsize)before->dims[3] != heads->features)
    return pipeline_operator_fail(error, "input %u does not continue the past one", input);
  heads->rows += (gsize)before->dims[2];
  return TRUE;
}

static double head_get(const Heads *heads, gsize batch, gsize head, gsize row, gsize feature)
{
  gsize earlier = heads->past != NULL ? (gsize)heads->past->dims[2] : 0, own = heads->rows - earlier;
  if (row < earlier)
    return pipeline_element_get_double(heads->past,
                                       ((batch * heads->heads + head) * earlier + row) * heads->features + feature);
  row -= earlier;
  gsize at = heads->tensor->n_dims == 4 ? (batch * heads->heads + head) * own + row
                                        : (batch * own + row) * heads->heads + head;
  return pipeline_element_get_double(heads->tensor, at * heads->features + feature);
}

static gboolean check_mask(const Attention *attention, GError **error)
{
  const PipelineTensor *mask = attention->mask;
  const gsize whole[4] = {attention->q.batch, attention->q.heads, attention->q.rows, attention->k.rows};
  if (mask == NULL) return TRUE;
  gboolean fits =
      mask->n_dims >= 1 && mask->n_dims <= 4 && (mask->type == ONNX_TYPE_BOOL || pipeline_type_is_floating(mask->type));
  for (guint d = 0; fits && d < mask->n_dims; d++) {
    gsize wanted = whole[4 - mask->n_dims + d], given = (gsize)mask->dims[d];
    /* Keys beyond a shorter mask are masked. */
    fits = given == 1 || given == wanted || (d + 1 == mask->n_dims && given < wanted);
  }
  return fits || pipeline_operator_fail(error, "its mask does not fit");
}

static gboolean read_attention(const PipelineCall *call, Attention *attention, GError **error)
{
  memset(attention, 0, sizeof *attention);
  if (!read_heads(call, 0, G_MAXUINT, "q_num_heads", &attention->q, error) ||
      !read_heads(call, 1, 4, "kv_num_heads", &attention->k, error) ||
      !read_heads(call, 2, 5, "kv_num_heads", &attention->v, error))
    return FALSE;
  Heads *q = &attention->q, *k = &attention->k, *v = &attention->v;
  if (k->heads == 0 || q->heads % k->heads != 0 || k->heads != v->heads || q->batch != k->batch ||
      q->batch != v->batch || k->rows != v->rows || q->features != k->features ||
      (k->past == NULL) != (v->past == NULL))
    return pipeline_operator_fail(error, "its queries, keys and values do not fit together");
  attention->group = q->heads / k->heads;
  attention->mask = pipeline_input(call, 3);
  attention->lengths = pipeline_input(call, 6);
  attention->type = q->tensor->type;
  attention->softmax_type = (OnnxType)onnx_node_get_int(call->node, "softmax_precision", attention->type);
  double given = (double)onnx_node_get_float(call->node, "scale", 0);
  attention->scale = rounded(attention->type, sqrt(given != 0 ? given : 1 / sqrt((double)q->features)));
  attention->cap = (double)onnx_node_get_float(call->node, "softcap", 0);
  attention->causal = onnx_node_get_int(call->node, "is_causal", 0) != 0;
  attention->left = onnx_node_get_int(call->node, "left_window_size", -1);
  attention->right = onnx_node_get_int(call->node, "right_window_size", -1);
  attention->offset = k->past != NULL ? k->past->dims[2] : 0;
  if (attention->lengths != NULL &&
      (attention->lengths->type != ONNX_TYPE_INT64 || attention->lengths->n != q->batch || k->past != NULL))
    return pipeline_operator_fail_type(call, 6, error);
  return check_mask(attention, error);
}

gboolean pipeline_attention_infer(PipelineCall *call, GError **error)
{
  Attention a;
  if (!read_attention(call, &a, error)) return FALSE;
  gint64 b = (gint64)a.q.batch, h = (gint64)a.q.heads, rows = (gint64)a.q.rows, keys = (gint64)a.k.rows,
         kh = (gint64)a.k.heads, d = (gint64)a.k.features, dv = (gint64)a.v.features;
  gboolean flat = a.q.tensor->n_dims == 3;
  gint64 out[4] = {b, flat ? rows : h, flat ? h * dv : rows, dv};
  return pipeline_output_set(call, 0, a.type, flat ? 3 : 4, out, error) &&
         pipeline_output_set(call, 1, a.k.tensor->type, 4, (gint64[]){b, kh, keys, d}, error) &&
         pipeline_output_set(call, 2, a.v.tensor->type, 4, (gint64[]){b, kh, keys, dv}, error) &&
         pipeline_output_set(call, 3, a.type, 4, (gint64[]){b, h, rows, keys}, error) &&
         pipeline_charge_multiplications(call, (double)(b * h) * (double)rows * (double)keys * (double)(d + dv), error);
}

/* 0 where row i may look at key j, -INFINITY where it may not, or what a mask of numbers says. */
static double bias(const Attention *a, gsize batch, gsize head, gsize i, gsize j)
{
  const PipelineTensor *mask = a->mask;
  const gsize at[4] = {batch, head, i, j};
  double value = 0;
  gint64 offset = a->lengths != NULL ? ((const gint64 *)a->lengths->data)[batch] - (gint64)a->q.rows : a->offset;
  gint64 ahead = (gint64)j - ((gint64)i + offset);
  if (a->causal && ahead > 0) return -INFINITY;
  if ((a->left >= 0 && -ahead > a->left) || (a->right >= 0 && ahead > a->right)) return -INFINITY;
  if (a->lengths != NULL && (gint64)j >= ((const gint64 *)a->lengths->data)[batch]) return -INFINITY;
  if (mask == NULL) return 0;
  gsize index = 0;
  for (guint d = 0; d < mask->n_dims; d++) {
    gsize size = (gsize)mask->dims[d], place = at[4 - mask->n_dims + d];
    if (size > 1 && place >= size) return -INFINITY;
    if (d + 1 == mask->n_dims && size == 1 && a->k.rows > 1 && place > 0) return -INFINITY;
    index = index * size + (size == 1 ? 0 : place);
  }
  value = pipeline_element_get_double(mask, index);
  return mask->type == ONNX_TYPE_BOOL ? (value != 0 ? 0 : -INFINITY) : value;
}

/* scores [keys] of query i before the softmax; FALSE when every key is masked. */
static gboolean score_row(const Attention *a, gsize batch, gsize head, gsize i, double *raw, double *scores)
{
  gboolean open = FALSE;
  for (gsize j = 0; j < a->k.rows; j++) {
    double sum = 0, extra = bias(a, batch, head, i, j);
    for (gsize d = 0; d < a->q.features; d++)
      sum += rounded(a->type, head_get(&a->q, batch, head, i, d) * a->scale) *
             rounded(a->type, head_get(&a->k, batch, head / a->group, j, d) * a->scale);
    raw[j] = rounded(a->type, sum);
    if (a->cap > 0) raw[j] = rounded(a->type, rounded(a->type, tanh(rounded(a->type, raw[j] / a->cap))) * a->cap);
    scores[j] = rounded(a->type, raw[j] + extra);
    open = open || extra > -INFINITY;
  }
  return open;
}

static void softmax_row(const Attention *a, double *scores)
{
  double highest = -INFINITY, sum = 0;
  for (gsize j = 0; j < a->k.rows; j++) highest = MAX(highest, scores[j]);
  for (gsize j = 0; j < a->k.rows; j++) {
    scores[j] = rounded(a->softmax_type, exp(rounded(a->softmax_type, scores[j] - highest)));
    sum += scores[j];
  }
  sum = rounded(a->softmax_type, sum);
  for (gsize j = 0; j < a->k.rows; j++)
    scores[j] = rounded(a->type, rounded(a->softmax_type, sum != 0 ? scores[j] / sum : 0));
}

static void write_scores(PipelineCall *call, gsize start, const double *scores, gsize n)
{
  for (gsize j = 0; j < n; j++) pipeline_element_put_double(call->outputs[3], start + j, scores[j]);
}

static void attend_row(PipelineCall *call, const Attention *a, gsize batch, gsize head, gsize i, double *raw,
                       double *scores)
{
  PipelineTensor *out = call->outputs[0];
  gboolean wanted = call->n_outputs > 3 && call->outputs[3] != NULL;
  gint64 mode = onnx_node_get_int(call->node, "qk_matmul_output_mode", 0);
  gsize row = (batch * a->q.heads + head) * a->q.rows + i;
  gboolean open = score_row(a, batch, head, i, raw, scores);
  if (wanted && mode < 3) write_scores(call, row * a->k.rows, mode == 2 ? scores : raw, a->k.rows);
  if (open)
    softmax_row(a, scores);
  else
    memset(scores, 0, a->k.rows * sizeof(double));
  if (wanted && mode == 3) write_scores(call, row * a->k.rows, scores, a->k.rows);
  for (gsize d = 0; d < a->v.features; d++) {
    double sum = 0;
    for (gsize j = 0; j < a->k.rows; j++)
      if (scores[j] != 0) sum += scores[j] * head_get(&a->v, batch, head / a->group, j, d);
    gsize at = out->n_dims == 4 ? row : (batch * a->q.rows + i) * a->q.heads + head;
    pipeline_element_put_double(out, at * a->v.features + d, sum);
  }
}

static void write_present(PipelineCall *call, guint output, const Heads *heads)
{
  PipelineTensor *out = output < call->n_outputs ? call->outputs[output] : NULL;
  for (gsize i = 0; out != NULL && i < out->n; i++) {
    gsize feature = i % heads->features, row = i / heads->features % heads->rows,
          head = i / heads->features / heads->rows % heads->heads,
          batch = i / heads->features / heads->rows / heads->heads;
    pipeline_element_put_double(out, i, head_get(heads, batch, head, row, feature));
  }
}

gboolean pipeline_attention_run(PipelineCall *call, GError **error)
{
  Attention a;
  if (!read_attention(call, &a, error)) return FALSE;
  g_autofree double *scores = pipeline_scratch_new(call, 2 * a.k.rows, sizeof(double), error);
  if (scores == NULL) return FALSE;
  for (gsize batch = 0; batch < a.q.batch; batch++)
    for (gsize head = 0; head < a.q.heads; head++)
      for (gsize i = 0; i < a.q.rows; i++) attend_row(call, &a, batch, head, i, scores + a.k.rows, scores);
  write_present(call, 1, &a.k);
  write_present(call, 2, &a.v);
  return TRUE;
}

/* --- RotaryEmbedding: pairs of features turned by the angle of their position
 * -------------------------------------------------------- */

typedef struct {
  Heads x;
  gsize turned; /* features that are turned, half of them a pair's first */
  gboolean interleaved;
  const PipelineTensor *cosines, *sines, *positions;
} Rotary;

static gboolean read_rotary(const PipelineCall *call, Rotary *rotary, GError **error)
{
  memset(rotary, 0, sizeof *rotary);
  if (!read_heads(call, 0, G_MAXUINT, "num_heads", &rotary->x, error)) return FALSE;
  gint64 dim = onnx_node_get_int(call->node, "rotary_embedding_dim", 0);
  rotary->turned = dim > 0 ? (gsize)dim : rotary->x.features;
  rotary->interleaved = onnx_node_get_int(call->node, "interleaved", 0) != 0;
  rotary->cosines = call->inputs[1];
  rotary->sines = call->inputs[2];
  rotary->positions = pipeline_input(call, 3);
  gsize rows = rotary->x.batch * rotary->x.rows, half = rotary->turned / 2;
  for (guint i = 1; i <= 2; i++) {
    const PipelineTensor *cache = call->inputs[i];
    if (!pipeline_type_is_floating(cache->type)) return pipeline_operator_fail_type(call, i, error);
    if (cache->n_dims < 2 || (gsize)cache->dims[cache->n_dims - 1] != half || rotary->turned > rotary->x.features ||
        cache->n != rotary->cosines->n || (rotary->positions == NULL && cache->n != rows * half))
      return pipeline_operator_fail(error, "its cosines and sines do not fit its input");
  }
  if (rotary->positions == NULL) return TRUE;
  return (rotary->positions->type == ONNX_TYPE_INT64 && rotary->positions->n == rows) ||
         pipeline_operator_fail_type(call, 3, error);
}

gboolean pipeline_rotary_infer(PipelineCall *call, GError **error)
{
  Rotary rotary;
  return read_rotary(call, &rotary, error) &&
         pipeline_output_like(call, 0, call->inputs[0]->type, call->inputs[0], error);
}

gboolean pipeline_rotary_run(PipelineCall *call, GError **error)
{
  Rotary rotary;
  if (!read_rotary(call, &rotary, error)) return FALSE;
  const Heads *x = &rotary.x;
  gsize half = rotary.turned / 2;
  for (gsize i = 0; i < call->inputs[0]->n; i++) {
    gsize d = i % x->features, rest = i / x->features;
    gsize row = x->tensor->n_dims == 4 ? rest % x->rows : rest / x->heads % x->rows, batch = rest / x->heads / x->rows;
    if (d >= 2 * half) {
      pipeline_element_put_double(call->outputs[0], i, pipeline_element_get_double(x->tensor, i));
      continue;
    }
    gsize pair = rotary.interleaved ? d / 2 : d % half, place = batch * x->rows + row;
    gboolean second = rotary.interleaved ? d % 2 == 1 : d >= half;
    gsize distance = rotary.interleaved ? 1 : half, first = second ? i - distance : i;
    if (rotary.positions != NULL &&
        !pipeline_index_at(rotary.positions, place, (gint64)(rotary.cosines->n / MAX(half, 1)), &place, error))
      return FALSE;
    double cosine = pipeline_element_get_double(rotary.cosines, place * half + pair),
           sine = pipeline_element_get_double(rotary.sines, place * half + pair);
    double a = pipeline_element_get_double(x->tensor, first),
           b = pipeline_element_get_double(x->tensor, first + distance);
    pipeline_element_put_double(call->outputs[0], i, second ? sine * a + cosine * b : cosine * a - sine * b);
  }
  return TRUE;
}

/* --- SwiGLU: a · sigmoid(alpha · a) · b
 * -------------------------------------------------------------------------------------- */

gboolean pipeline_swiglu_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *a = call->inputs[0], *b = call->inputs[1];
  if (!pipeline_type_is_floating(a->type)) return pipeline_operator_fail_type(call, 0, error);
  if (b->type != a->type || b->n_dims != a->n_dims || memcmp(a->dims, b->dims, a->n_dims * sizeof(gint64)) != 0)
    return pipeline_operator_fail(error, "its inputs differ in type or shape");
  return pipeline_output_like(call, 0, a->type, a, error);
}

gboolean pipeline_swiglu_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *a = call->inputs[0];
  double alpha = (double)onnx_node_get_float(call->node, "alpha", 1);
  for (gsize i = 0; i < a->n; i++) {
    double x = pipeline_element_get_double(a, i), gate = rounded(a->type, 1 / (1 + exp(-alpha * x)));
    pipeline_element_put_double(call->outputs[0], i,
                                rounded(a->type, x * gate) * pipeline_element_get_double(call->inputs[1], i));
  }
  return TRUE;
}

/* --- TensorScatter: writes new rows into a cache, each sequence from its own place
 * ------------------------------------------------- */

static gboolean cache_around(const PipelineCall *call, PipelineAround *around, GError **error)
{
  return pipeline_around(call->inputs[0], onnx_node_get_int(call->node, "axis", -2), around, error);
}

gboolean pipeline_tensor_scatter_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *cache = call->inputs[0], *update = call->inputs[1], *places = pipeline_input(call, 2);
  PipelineAround around;
  if (!cache_around(call, &around, error)) return FALSE;
  gboolean fits = update->type == cache->type && update->n_dims == cache->n_dims && around.axis > 0 &&
                  (places == NULL || (places->type == ONNX_TYPE_INT64 && places->n == (gsize)cache->dims[0]));
  for (guint d = 0; fits && d < cache->n_dims; d++)
    fits = d == around.axis ? update->dims[d] <= cache->dims[d] : update->dims[d] == cache->dims[d];
  if (!fits) return pipeline_operator_fail(error, "its cache, update and indices do not fit together");
  return pipeline_output_like(call, 0, cache->type, cache, error);
}

gboolean pipeline_tensor_scatter_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *cache = call->inputs[0], *update = call->inputs[1], *places = pipeline_input(call, 2);
  gboolean circular = pipeline_attribute_is(call, "mode", "linear", "circular");
  PipelineAround around;
  if (!cache_around(call, &around, error) || !pipeline_copy_run(call, error)) return FALSE;
  gsize bytes = around.inner * pipeline_tensor_element_size(cache->type), rows = (gsize)update->dims[around.axis];
  for (gsize o = 0; o < around.outer; o++) {
    gsize batch = o / (around.outer / (gsize)cache->dims[0]);
    gint64 start = places != NULL ? ((const gint64 *)places->data)[batch] : 0;
    for (gsize i = 0; i < rows && bytes > 0; i++) {
      gint64 at = start + (gint64)i;
      if (circular && around.length > 0) at %= (gint64)around.length;
      if (at < 0 || at >= (gint64)around.length)
        return pipeline_operator_fail(error, "row %" G_GINT64_FORMAT " lies outside of the cache", at);
      memcpy((guint8 *)call->outputs[0]->data + (o * around.length + (gsize)at) * bytes,
             (const guint8 *)update->data + (o * rows + i) * bytes, bytes);
    }
  }
  return TRUE;
}
