/* Transformations of texts. A text that the training rows do not have is unseen; a missing one is the text "", which is
 * a category like others where the training rows have it. */
#include <math.h>
#include <string.h>

#include "pipeline/trainer_random.h"
#include "pipeline/transform_table.h"

#define ML "ai.onnx.ml"
#define MAX_ONE_HOT 256u
#define MAX_KEYS 100000u
#define UNSEEN "(unseen)"
#define TARGET_FOLDS 5u

/* --- maps --------------------------------------------------------------------------------------------------------- */

static void take_key(PipelineTransformState *state, const gchar *text)
{
  g_ptr_array_add(state->keys, g_strdup(text));
}

/* The map's value number `which` of every key; unseen texts get `fallback`. */
static const gchar *emit_map(PipelineEmit *emit, const PipelineTransformState *state, const gchar *input, guint which,
                             double fallback)
{
  OnnxNode *node;
  guint n = state->keys->len;
  g_autofree float *values = g_new(float, MAX(n, 1));
  for (guint i = 0; i < n; i++) values[i] = (float)g_array_index(state->values, double, i * state->n_values + which);
  const gchar *output = pipeline_emit_node(emit, ML, "LabelEncoder", &input, 1, &node);
  onnx_node_set_strings(node, "keys_strings", (const gchar *const *)state->keys->pdata, n);
  onnx_node_set_floats(node, "values_floats", values, n);
  onnx_node_set_float(node, "default_float", (float)fallback);
  return output;
}

/* --- one-hot, frequency ------------------------------------------------------------------------------------------- */

gboolean pipeline_fit_one_hot(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  (void)error;
  g_autoptr(GArray) categories = pipeline_fit_categories(fit, MAX_ONE_HOT);
  state->width = categories->len;
  for (guint i = 0; i < categories->len; i++) {
    take_key(state, g_array_index(categories, PipelineCategory, i).text);
    g_ptr_array_add(state->labels, g_strdup(g_array_index(categories, PipelineCategory, i).text));
  }
  return TRUE;
}

const gchar *pipeline_emit_one_hot(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  OnnxNode *node;
  const gchar *cube = pipeline_emit_node(emit, ML, "OneHotEncoder", inputs, 1, &node);
  onnx_node_set_strings(node, "cats_strings", (const gchar *const *)state->keys->pdata, state->keys->len);
  onnx_node_set_int(node, "zeros", 1);
  const gchar *flat = pipeline_emit_node(emit, "", "Flatten", &cube, 1, &node);
  onnx_node_set_int(node, "axis", 1);
  return flat;
}

gboolean pipeline_fit_frequency(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  (void)error;
  g_autoptr(GArray) categories = pipeline_fit_categories(fit, MAX_KEYS);
  state->n_values = 1;
  for (guint i = 0; i < categories->len; i++) {
    const PipelineCategory *category = &g_array_index(categories, PipelineCategory, i);
    double share = (double)category->count / (double)fit->n_rows;
    take_key(state, category->text);
    g_array_append_val(state->values, share);
  }
  return TRUE;
}

const gchar *pipeline_emit_frequency(PipelineEmit *emit, const PipelineTransformState *state,
                                     const gchar *const *inputs)
{
  return emit_map(emit, state, inputs[0], 0, 0);
}

/* --- unseen ------------------------------------------------------------------------------------------------------- */

gboolean pipeline_fit_unseen(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  (void)error;
  g_autoptr(GArray) categories = pipeline_fit_categories(fit, MAX_KEYS);
  for (guint i = 0; i < categories->len; i++) {
    const PipelineCategory *category = &g_array_index(categories, PipelineCategory, i);
    gboolean rare = (double)category->count < fit->parameter;
    take_key(state, category->text);
    g_ptr_array_add(state->labels, g_strdup(rare ? UNSEEN : category->text));
  }
  return TRUE;
}

const gchar *pipeline_emit_unseen(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  OnnxNode *node;
  const gchar *output = pipeline_emit_node(emit, ML, "LabelEncoder", inputs, 1, &node);
  onnx_node_set_strings(node, "keys_strings", (const gchar *const *)state->keys->pdata, state->keys->len);
  onnx_node_set_strings(node, "values_strings", (const gchar *const *)state->labels->pdata, state->labels->len);
  onnx_node_set_string(node, "default_string", UNSEEN);
  return output;
}

/* --- target ------------------------------------------------------------------------------------------------------- */

/* Columns of the target: the positive class, every class, or the value. */
static guint target_width(const PipelineTransformFit *fit)
{
  return fit->n_classes > 2 ? fit->n_classes : 1;
}

static double target_of(const PipelineTransformFit *fit, guint64 row, guint which)
{
  float target = fit->targets[row];
  if (fit->n_classes == 0) return (double)target;
  return (guint)target == (fit->n_classes > 2 ? which : fit->positive);
}

typedef struct {
  double *sums, *all; /* [n_keys][width], [width] */
  double *counts, n;  /* [n_keys] */
  guint width;
} TargetSums;

static void sums_init(TargetSums *sums, guint n_keys, guint width)
{
  *sums = (TargetSums){g_new0(double, (gsize)MAX(n_keys, 1) * width), g_new0(double, width),
                       g_new0(double, MAX(n_keys, 1)), 0, width};
}

static void sums_clear(TargetSums *sums)
{
  g_free(sums->sums);
  g_free(sums->all);
  g_free(sums->counts);
}

static void sums_add(TargetSums *sums, const PipelineTransformFit *fit, guint64 row, guint key, double sign)
{
  sums->counts[key] += sign, sums->n += sign;
  for (guint k = 0; k < sums->width; k++) {
    double target = sign * target_of(fit, row, k);
    sums->sums[(gsize)key * sums->width + k] += target;
    sums->all[k] += target;
  }
}

/* The mean of the key, drawn to the mean of all as by `smoothing` rows of that mean (Micci-Barreca 2001). */
static double smoothed(const TargetSums *sums, guint key, guint k, double smoothing)
{
  double mean = sums->n > 0 ? sums->all[k] / sums->n : 0, n = sums->counts[key] + smoothing;
  return n > 0 ? (sums->sums[(gsize)key * sums->width + k] + smoothing * mean) / n : mean;
}

/* Every training row's value from the rows of the other folds alone. */
static void fit_out_of_fold(const PipelineTransformFit *fit, PipelineTransformState *state, const guint *key_of,
                            guint n_keys)
{
  PipelineRandom random;
  g_autofree guint64 *order = g_new(guint64, fit->n_rows);
  TargetSums others;
  for (guint64 i = 0; i < fit->n_rows; i++) order[i] = i;
  pipeline_random_seed(&random, fit->seed);
  pipeline_random_shuffle(&random, order, fit->n_rows);
  state->training = g_new(double, fit->n_rows * state->width);
  for (guint f = 0; f < TARGET_FOLDS; f++) {
    sums_init(&others, n_keys, state->width);
    for (guint64 i = 0; i < fit->n_rows; i++)
      if (i % TARGET_FOLDS != f) sums_add(&others, fit, fit->rows[order[i]], key_of[order[i]], 1);
    for (guint64 i = f; i < fit->n_rows; i += TARGET_FOLDS)
      for (guint k = 0; k < state->width; k++)
        state->training[order[i] * state->width + k] =
            (double)(float)smoothed(&others, key_of[order[i]], k, fit->parameter);
    sums_clear(&others);
  }
}

gboolean pipeline_fit_target(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  if (!fit->targets) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "column \"%s\": \"target\" needs labels", fit->column);
    return FALSE;
  }
  g_autoptr(GArray) categories = pipeline_fit_categories(fit, MAX_KEYS);
  g_autofree guint *key_of = g_new(guint, fit->n_rows);
  TargetSums all;
  state->width = state->n_values = target_width(fit);
  sums_init(&all, categories->len + 1, state->width);
  for (guint i = 0; i < categories->len; i++) take_key(state, g_array_index(categories, PipelineCategory, i).text);
  for (guint64 i = 0; i < fit->n_rows; i++) {
    gint key = pipeline_state_find(state, fit->inputs[0]->texts[fit->rows[i]]);
    key_of[i] = key < 0 ? state->keys->len : (guint)key; /* beyond the most frequent: as unseen */
    sums_add(&all, fit, fit->rows[i], key_of[i], 1);
  }
  for (guint i = 0; i < state->keys->len; i++)
    for (guint k = 0; k < state->width; k++) {
      double value = smoothed(&all, i, k, fit->parameter);
      g_array_append_val(state->values, value);
    }
  for (guint k = 0; k < state->width; k++) {
    pipeline_state_add(state, all.all[k] / all.n);
    if (state->width > 1) g_ptr_array_add(state->labels, g_strdup(fit->class_names[k]));
  }
  fit_out_of_fold(fit, state, key_of, state->keys->len + 1);
  sums_clear(&all);
  return TRUE;
}

const gchar *pipeline_emit_target(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  g_autofree const gchar **parts = g_new(const gchar *, state->width);
  for (guint k = 0; k < state->width; k++) parts[k] = emit_map(emit, state, inputs[0], k, pipeline_state_get(state, k));
  return pipeline_emit_concat(emit, parts, state->width);
}

/* --- pairs -------------------------------------------------------------------------------------------------------- */

static void add_pair(PipelineTransformState *state, const gchar *a, const gchar *b)
{
  take_key(state, a);
  g_ptr_array_add(state->labels, g_strdup(b));
}

/* keys and labels: first and second text of every pair that the training rows have, the most frequent 100,000. */
gboolean pipeline_fit_cross(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  (void)error;
  g_autoptr(GStringChunk) chunk = g_string_chunk_new(4096);
  g_autofree const gchar **pairs = g_new(const gchar *, fit->inputs[0]->n_rows + 1);
  for (guint64 i = 0; i < fit->n_rows; i++) {
    guint64 row = fit->rows[i];
    const gchar *a = fit->inputs[0]->texts[row], *b = fit->inputs[1]->texts[row];
    g_autofree gchar *pair = g_strdup_printf("%zu:%s%s", strlen(a), a, b);
    pairs[row] = g_string_chunk_insert_const(chunk, pair);
  }
  const PipelineValues joined = {
      .type = ONNX_TYPE_STRING, .width = 1, .n_rows = fit->inputs[0]->n_rows, .texts = pairs};
  PipelineTransformFit pair_fit = *fit;
  pair_fit.inputs[0] = &joined;
  g_autoptr(GArray) categories = pipeline_fit_categories(&pair_fit, MAX_KEYS);
  for (guint i = 0; i < categories->len; i++) {
    gchar *text = NULL;
    guint64 length = g_ascii_strtoull(g_array_index(categories, PipelineCategory, i).text, &text, 10);
    g_autofree gchar *a = g_strndup(text + 1, length);
    add_pair(state, a, text + 1 + length);
  }
  return TRUE;
}

/* Codes of both texts, one number of both codes, the pair's text: "" for what the training rows do not have. */
const gchar *pipeline_emit_cross(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  GPtrArray *sides[] = {state->keys, state->labels};
  const gchar *codes[2];
  guint n_pairs = state->keys->len, sizes[2];
  g_autofree gint64 *numbers = g_new0(gint64, MAX(n_pairs, 1));
  g_auto(GStrv) names = g_new0(gchar *, n_pairs + 1);
  for (guint side = 0; side < 2; side++) {
    OnnxNode *node;
    g_autoptr(GHashTable) code_of = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) texts = g_ptr_array_new();
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(gint64));
    for (guint i = 0; i < n_pairs; i++) {
      const gchar *text = g_ptr_array_index(sides[side], i);
      gint64 code = GPOINTER_TO_INT(g_hash_table_lookup(code_of, text));
      if (code == 0) {
        g_ptr_array_add(texts, (gpointer)text);
        code = texts->len;
        g_array_append_val(list, code);
        g_hash_table_insert(code_of, (gpointer)text, GINT_TO_POINTER((gint)code));
      }
      numbers[i] = numbers[i] * ((gint64)MAX_KEYS + 1) + code;
    }
    sizes[side] = texts->len;
    codes[side] = pipeline_emit_node(emit, ML, "LabelEncoder", &inputs[side], 1, &node);
    onnx_node_set_strings(node, "keys_strings", (const gchar *const *)texts->pdata, sizes[side]);
    onnx_node_set_ints(node, "values_int64s", (const gint64 *)(gpointer)list->data, sizes[side]);
    onnx_node_set_int(node, "default_int64", 0);
  }
  for (guint i = 0; i < n_pairs; i++)
    names[i] = g_strdup_printf("%s × %s", (const gchar *)sides[0]->pdata[i], (const gchar *)sides[1]->pdata[i]);
  OnnxNode *node;
  const gchar *high = pipeline_emit_two(emit, "Mul", codes[0], pipeline_emit_integer(emit, (gint64)MAX_KEYS + 1));
  const gchar *both = pipeline_emit_two(emit, "Add", high, codes[1]);
  const gchar *output = pipeline_emit_node(emit, ML, "LabelEncoder", &both, 1, &node);
  onnx_node_set_ints(node, "keys_int64s", numbers, n_pairs);
  onnx_node_set_strings(node, "values_strings", (const gchar *const *)names, n_pairs);
  onnx_node_set_string(node, "default_string", "");
  return output;
}
