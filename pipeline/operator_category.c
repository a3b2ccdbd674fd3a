/* ai.onnx.ml: OneHotEncoder and LabelEncoder, both over a sorted list of keys. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/operator_internal.h"

/* A key: a text, or a number as comparable bits. */
typedef struct {
  PipelineText text; /* text.text NULL: a number */
  gint64 bits;
  guint index; /* place in the list as the model gives it */
} Key;

static gint compare_keys(gconstpointer a, gconstpointer b)
{
  const Key *x = a, *y = b;
  if (x->text.text == NULL) return (x->bits > y->bits) - (x->bits < y->bits);
  gsize common = MIN(x->text.length, y->text.length);
  gint order = common > 0 ? memcmp(x->text.text, y->text.text, common) : 0;
  return order != 0 ? order : (x->text.length > y->text.length) - (x->text.length < y->text.length);
}

/* Equal numbers have equal bits: one zero, one NaN. */
static gint64 float_bits(double number)
{
  gint64 bits;
  if (number == 0) number = 0;
  if (isnan(number)) number = NAN;
  memcpy(&bits, &number, sizeof bits);
  return bits;
}

static Key text_key(gconstpointer text, gsize length)
{
  return (Key){.text = {text != NULL ? text : "", length}};
}

/* Sorts; equal keys keep the model's order, and the first of them is found. */
static gint compare_with_index(gconstpointer a, gconstpointer b)
{
  gint order = compare_keys(a, b);
  const Key *x = a, *y = b;
  return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

static void sort_keys(Key *keys, guint n)
{
  for (guint i = 0; i < n; i++) keys[i].index = i;
  qsort(keys, n, sizeof *keys, compare_with_index);
}

/* Index of the key, or -1. */
static gint find_key(const Key *keys, guint n, const Key *wanted)
{
  guint low = 0, high = n;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (compare_keys(&keys[middle], wanted) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low < n && compare_keys(&keys[low], wanted) == 0 ? (gint)keys[low].index : -1;
}

/* The list in the attribute of that name as keys, or NULL. FLOATS become float bits, INTS integers. */
static Key *read_keys(const OnnxNode *node, const gchar *name, guint *n)
{
  const OnnxAttribute *attribute = onnx_node_get_attribute(node, name);
  if (attribute == NULL) return NULL;
  *n = attribute->kind == ONNX_ATTRIBUTE_STRINGS  ? attribute->texts->len
       : attribute->kind == ONNX_ATTRIBUTE_INTS   ? attribute->integers->len
       : attribute->kind == ONNX_ATTRIBUTE_FLOATS ? attribute->numbers->len
                                                  : 0;
  if (*n == 0) return NULL;
  Key *keys = g_new0(Key, *n);
  for (guint i = 0; i < *n; i++) {
    if (attribute->kind == ONNX_ATTRIBUTE_STRINGS) {
      gsize length;
      gconstpointer text = g_bytes_get_data(g_ptr_array_index(attribute->texts, i), &length);
      keys[i] = text_key(text, length);
    } else if (attribute->kind == ONNX_ATTRIBUTE_INTS) {
      keys[i].bits = g_array_index(attribute->integers, gint64, i);
    } else {
      keys[i].bits = float_bits((double)g_array_index(attribute->numbers, float, i));
    }
  }
  return keys;
}

static Key number_key(const PipelineTensor *tensor, gsize i)
{
  Key key = {0};
  key.bits = pipeline_type_is_floating(tensor->type) ? float_bits(pipeline_element_get_double(tensor, i))
                                                     : pipeline_element_get_integer(tensor, i);
  return key;
}

static Key key_at(const PipelineTensor *tensor, gsize i)
{
  const PipelineText *text = (const PipelineText *)tensor->data + i;
  return tensor->type == ONNX_TYPE_STRING ? text_key(text->text, text->length) : number_key(tensor, i);
}

/* The elements of the tensor in the attribute of that name; texts stay the attribute's. NULL: there is none. */
static Key *read_tensor_keys(const OnnxNode *node, const gchar *name, OnnxType *type, guint *n)
{
  const OnnxAttribute *attribute = onnx_node_get_attribute(node, name);
  PipelineTensor tensor = {0};
  if (attribute == NULL || attribute->kind != ONNX_ATTRIBUTE_TENSOR) return NULL;
  if (!pipeline_tensor_set_onnx(&tensor, attribute->tensor, NULL) || tensor.n == 0 || tensor.n > G_MAXINT32) {
    pipeline_tensor_clear(&tensor);
    return NULL;
  }
  *type = tensor.type;
  *n = (guint)tensor.n;
  Key *keys = g_new0(Key, *n);
  for (guint i = 0; i < *n; i++) keys[i] = key_at(&tensor, i);
  pipeline_tensor_clear(&tensor);
  return keys;
}

/* --- OneHotEncoder
 * ----------------------------------------------------------------------------------------------------- */

typedef struct {
  Key *keys;
  guint n;
  gboolean texts, zeros;
} OneHotState;

static void one_hot_free(gpointer data)
{
  OneHotState *state = data;
  g_free(state->keys);
  g_free(state);
}

gboolean pipeline_one_hot_prepare(PipelineCall *call, GError **error)
{
  OneHotState *state = g_new0(OneHotState, 1);
  call->state = state;
  call->state_free = one_hot_free;
  state->keys = read_keys(call->node, "cats_strings", &state->n);
  state->texts = state->keys != NULL;
  if (state->keys == NULL) state->keys = read_keys(call->node, "cats_int64s", &state->n);
  if (state->keys == NULL) return pipeline_operator_fail(error, "it has no categories");
  sort_keys(state->keys, state->n);
  state->zeros = onnx_node_get_int(call->node, "zeros", 1) != 0;
  return TRUE;
}

gboolean pipeline_one_hot_infer(PipelineCall *call, GError **error)
{
  const OneHotState *state = call->state;
  const PipelineTensor *in = call->inputs[0];
  gint64 dims[ONNX_MAX_DIMENSIONS + 1];
  gboolean fits = state->texts ? in->type == ONNX_TYPE_STRING : pipeline_type_is_number(in->type);
  if (!fits) return pipeline_operator_fail_type(call, 0, error);
  memcpy(dims, in->dims, sizeof in->dims);
  dims[in->n_dims] = state->n;
  return pipeline_output_set(call, 0, ONNX_TYPE_FLOAT, in->n_dims + 1, dims, error);
}

/* Numbers are truncated to integers, as ONNX Runtime does; NaN and what no int64 holds are no category. */
static gint one_hot_find(const OneHotState *state, const PipelineTensor *in, gsize i)
{
  Key key = {0};
  if (state->texts) {
    const PipelineText *text = (const PipelineText *)in->data + i;
    key = text_key(text->text, text->length);
  } else if (in->type == ONNX_TYPE_INT64) {
    key.bits = ((const gint64 *)in->data)[i];
  } else {
    double number = pipeline_element_get_double(in, i);
    if (!(number >= -0x1p62 && number <= 0x1p62)) return -1;
    key.bits = (gint64)number;
  }
  return find_key(state->keys, state->n, &key);
}

gboolean pipeline_one_hot_run(PipelineCall *call, GError **error)
{
  const OneHotState *state = call->state;
  const PipelineTensor *in = call->inputs[0];
  float *out = call->outputs[0]->data;
  memset(out, 0, call->outputs[0]->n * sizeof(float));
  for (gsize i = 0; i < in->n; i++, out += state->n) {
    gint found = one_hot_find(state, in, i);
    if (found >= 0) out[found] = 1;
    if (found >= 0 || state->zeros || call->lenient) continue;
    const PipelineText *text = state->texts ? (const PipelineText *)in->data + i : NULL;
    if (text != NULL)
      return pipeline_operator_fail(error, "'%.*s' is none of its %u categories", (int)MIN(text->length, 40),
                                    text->length > 0 ? text->text : "", state->n);
    return pipeline_operator_fail(error, "%g is none of its %u categories", pipeline_element_get_double(in, i),
                                  state->n);
  }
  return TRUE;
}

/* --- LabelEncoder
 * ------------------------------------------------------------------------------------------------------ */

typedef struct {
  Key *keys;   /* sorted; NULL: the input is an index into values */
  Key *values; /* in the model's order; NULL: the output is the index */
  guint n;
  OnnxType input, output;
  Key missing; /* the default */
} LabelState;

static void label_free(gpointer data)
{
  LabelState *state = data;
  g_free(state->keys);
  g_free(state->values);
  g_free(state);
}

static Key *read_side(const OnnxNode *node, const gchar *side, OnnxType *type, guint *n)
{
  static const struct {
    const gchar *suffix;
    OnnxType type;
  } kinds[] = {{"strings", ONNX_TYPE_STRING}, {"int64s", ONNX_TYPE_INT64}, {"floats", ONNX_TYPE_FLOAT}};
  for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
    g_autofree gchar *name = g_strdup_printf("%s_%s", side, kinds[i].suffix);
    *type = kinds[i].type;
    Key *keys = read_keys(node, name, n);
    if (keys != NULL) return keys;
  }
  g_autofree gchar *name = g_strdup_printf("%s_tensor", side); /* since set 4 */
  return read_tensor_keys(node, name, type, n);
}

static void read_default(const OnnxNode *node, LabelState *state)
{
  const OnnxAttribute *text = onnx_node_get_attribute(node, "default_string");
  OnnxType type;
  guint n;
  g_autofree Key *given = read_tensor_keys(node, "default_tensor", &type, &n);
  if (given != NULL && n == 1 && type == state->output) {
    state->missing = given[0];
    return;
  }
  if (state->output == ONNX_TYPE_STRING) {
    gsize length = 7;
    gconstpointer data = "_Unused";
    if (text != NULL && text->kind == ONNX_ATTRIBUTE_STRING) data = g_bytes_get_data(text->text, &length);
    state->missing = text_key(data, length);
  } else if (!pipeline_type_is_floating(state->output)) {
    state->missing.bits = onnx_node_get_int(node, "default_int64", -1);
  } else {
    state->missing.bits = float_bits((double)onnx_node_get_float(node, "default_float", -0.0f));
  }
}

gboolean pipeline_label_encoder_prepare(PipelineCall *call, GError **error)
{
  LabelState *state = g_new0(LabelState, 1);
  call->state = state;
  call->state_free = label_free;
  guint n_values = 0;
  if (call->opset < 2) { /* between text and index, in the direction that the input's type asks for */
    state->values = read_side(call->node, "classes", &state->output, &state->n);
    if (state->values == NULL) return pipeline_operator_fail(error, "it has no classes");
    state->keys = g_memdup2(state->values, state->n * sizeof(Key));
    sort_keys(state->keys, state->n);
    read_default(call->node, state);
    return TRUE;
  }
  state->keys = read_side(call->node, "keys", &state->input, &state->n);
  state->values = read_side(call->node, "values", &state->output, &n_values);
  if (state->keys == NULL || state->values == NULL || n_values != state->n)
    return pipeline_operator_fail(error, "it has %u keys and %u values", state->n, n_values);
  sort_keys(state->keys, state->n);
  read_default(call->node, state);
  return TRUE;
}

gboolean pipeline_label_encoder_infer(PipelineCall *call, GError **error)
{
  const LabelState *state = call->state;
  const PipelineTensor *in = call->inputs[0];
  if (call->opset >= 2) {
    if (in->type != state->input) return pipeline_operator_fail_type(call, 0, error);
    return pipeline_output_like(call, 0, state->output, in, error);
  }
  if (in->type != ONNX_TYPE_STRING && in->type != ONNX_TYPE_INT64) return pipeline_operator_fail_type(call, 0, error);
  return pipeline_output_like(call, 0, in->type == ONNX_TYPE_STRING ? ONNX_TYPE_INT64 : ONNX_TYPE_STRING, in, error);
}

static void put_key(PipelineTensor *out, gsize i, const Key *key)
{
  double number;
  memcpy(&number, &key->bits, sizeof number);
  if (out->type == ONNX_TYPE_STRING)
    ((PipelineText *)out->data)[i] = key->text;
  else if (pipeline_type_is_floating(out->type))
    pipeline_element_put_double(out, i, number);
  else
    pipeline_element_put_integer(out, i, key->bits);
}

gboolean pipeline_label_encoder_run(PipelineCall *call, GError **error)
{
  (void)error;
  const LabelState *state = call->state;
  const PipelineTensor *in = call->inputs[0];
  PipelineTensor *out = call->outputs[0];
  gboolean to_index = call->opset < 2 && in->type == ONNX_TYPE_STRING, from_index = call->opset < 2 && !to_index;
  for (gsize i = 0; i < in->n; i++) {
    Key key = key_at(in, i), index = {0};
    gint found;
    if (from_index)
      found = key.bits >= 0 && key.bits < state->n ? (gint)key.bits : -1;
    else
      found = find_key(state->keys, state->n, &key);
    index.bits = found >= 0 ? found : onnx_node_get_int(call->node, "default_int64", -1);
    if (to_index)
      put_key(out, i, &index);
    else
      put_key(out, i, found >= 0 ? &state->values[found] : &state->missing);
  }
  return TRUE;
}
