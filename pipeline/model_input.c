#include <math.h>
#include <string.h>

#include "pipeline/model_internal.h"
#include "pipeline/transform.h"

/* --- binding
 * ---------------------------------------------------------------------------------------------------------- */

static void input_free(gpointer data)
{
  PipelineModelInput *input = data;
  g_array_unref(input->features);
  g_free(input);
}

static gboolean is_text(OnnxType type)
{
  return type == ONNX_TYPE_STRING;
}

static gboolean is_readable(OnnxType type)
{
  return type == ONNX_TYPE_FLOAT || type == ONNX_TYPE_DOUBLE || type == ONNX_TYPE_INT64 || type == ONNX_TYPE_INT32 ||
         is_text(type);
}

gboolean pipeline_model_names_match(const gchar *a, const gchar *b)
{
  for (; *a != '\0' && *b != '\0'; a++, b++) {
    gchar x = g_ascii_isalnum(*a) ? *a : '_', y = g_ascii_isalnum(*b) ? *b : '_';
    if (x != y) return FALSE;
  }
  return *a == *b;
}

#define MAX_WIDTH 1000000

/* Elements of a row of an image or another tensor of more than two dimensions; 0: a size is open. */
static guint count_elements(const OnnxValue *value)
{
  gint64 n = 1;
  for (guint d = 1; d < value->n_dims; d++) {
    if (value->dims[d].size < 1 || value->dims[d].size > MAX_WIDTH) return 0;
    n = MIN(n * value->dims[d].size, MAX_WIDTH);
  }
  return (guint)n;
}

/* Columns that the graph declares: 0 when it leaves them open. */
static gboolean declared_width(const OnnxValue *value, PipelineModelInput *input, guint *width, GError **error)
{
  guint n_dims = input->n_dims = value->has_shape ? value->n_dims : 2;
  *width = 0;
  if (n_dims == 1) *width = 1;
  if (n_dims == 2 && value->has_shape && value->dims[1].size >= 0) *width = (guint)MIN(value->dims[1].size, MAX_WIDTH);
  if (n_dims > 2) *width = count_elements(value);
  for (guint d = 1; n_dims > 2 && d < n_dims; d++) input->dims[d] = value->dims[d].size;
  if (is_readable(value->type) && (n_dims == 1 || n_dims == 2 || (n_dims > 2 && *width > 0))) return TRUE;
  g_set_error(
      error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
      "model input '%s' is %s with %u dimensions%s; rows of features are float32, float64, int64, int32 or string "
      "[N], [N, F] or [N, …] with every size given",
      value->name, onnx_type_get_name(value->type), n_dims, n_dims > 2 ? " of open sizes" : "");
  return FALSE;
}

static gboolean note_batch(const OnnxValue *value, guint *fixed_batch, GError **error)
{
  if (!value->has_shape || value->n_dims == 0 || value->dims[0].size <= 0) return TRUE;
  gint64 rows = value->dims[0].size;
  if (rows > 65536 || (*fixed_batch != 0 && *fixed_batch != rows)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "model input '%s' asks for exactly %" G_GINT64_FORMAT
                " rows; export the model with a free batch dimension",
                value->name, rows);
    return FALSE;
  }
  *fixed_batch = (guint)rows;
  return TRUE;
}

/* The input feature that `name` names exactly, else up to spelling; -1: none that is still free. */
static gint find_feature(const DriftSchema *schema, const gchar *name, const gboolean *used)
{
  for (guint pass = 0; pass < 2; pass++)
    for (guint f = 0; f < drift_schema_n_features(schema); f++) {
      const DriftFeature *feature = drift_schema_get_feature(schema, f);
      if (!feature->input || used[f]) continue;
      if (pass == 0 ? strcmp(feature->name, name) == 0 : pipeline_model_names_match(feature->name, name))
        return (gint)f;
    }
  return -1;
}

static void use_feature(PipelineModelInput *input, guint feature, gboolean *used)
{
  g_array_append_val(input->features, feature);
  used[feature] = TRUE;
}

/* Fills the input's columns with the free features in schema order: texts take categorical ones, numbers numeric ones,
 * an only input takes every kind. width 0: all of them. */
static void take_in_order(PipelineModelInput *input, guint width, gboolean any_kind, const DriftSchema *schema,
                          gboolean *used)
{
  DriftFeatureKind kind = is_text(input->type) ? DRIFT_CATEGORICAL : DRIFT_NUMERIC;
  for (guint f = 0; f < drift_schema_n_features(schema) && (width == 0 || input->features->len < width); f++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, f);
    if (feature->input && !used[f] && (any_kind || feature->kind == kind)) use_feature(input, f, used);
  }
}

static gboolean check_bound(const OnnxGraph *graph, const DriftSchema *schema, const GPtrArray *inputs,
                            const guint *widths, const gboolean *used, GError **error)
{
  for (guint i = 0; i < inputs->len; i++) {
    const PipelineModelInput *input = g_ptr_array_index(inputs, i);
    const OnnxValue *value = g_ptr_array_index(graph->inputs, input->index);
    if (input->features->len > 0 && (widths[i] == 0 || input->features->len == widths[i])) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "model input '%s' has %u columns (%s), but the schema has %u features left for it", value->name,
                widths[i], onnx_type_get_name(value->type), input->features->len);
    return FALSE;
  }
  for (guint f = 0; f < drift_schema_n_features(schema); f++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, f);
    if (!feature->input || used[f]) continue;
    g_set_error(
        error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
        "the model has no input for feature '%s'; if it does not use it, declare the feature with \"input\": false, or "
        "name it with --label where it is the label",
        feature->name);
    return FALSE;
  }
  return TRUE;
}

GPtrArray *pipeline_model_inputs_bind(const OnnxGraph *graph, const DriftSchema *schema, guint *fixed_batch,
                                      GError **error)
{
  g_autoptr(GPtrArray) inputs = g_ptr_array_new_with_free_func(input_free);
  g_autofree gboolean *used = g_new0(gboolean, drift_schema_n_features(schema) + 1);
  g_autofree guint *widths = g_new0(guint, graph->inputs->len + 1);
  *fixed_batch = 0;
  for (guint i = 0; i < graph->inputs->len; i++) {
    const OnnxValue *value = g_ptr_array_index(graph->inputs, i);
    PipelineModelInput *input = g_new0(PipelineModelInput, 1);
    input->features = g_array_new(FALSE, FALSE, sizeof(guint));
    g_ptr_array_add(inputs, input);
    input->index = i;
    input->type = value->type;
    input->seconds = value->type == ONNX_TYPE_INT64 && onnx_graph_get_metadata(graph, PIPELINE_PLAN_KEY) != NULL;
    if (!declared_width(value, input, &widths[i], error) || !note_batch(value, fixed_batch, error)) return NULL;
    if (graph->inputs->len > 1 && widths[i] == 0) widths[i] = 1;
    gint feature = widths[i] <= 1 ? find_feature(schema, value->name, used) : -1;
    if (feature >= 0) use_feature(input, (guint)feature, used);
  }
  for (guint i = 0; i < inputs->len; i++) {
    PipelineModelInput *input = g_ptr_array_index(inputs, i);
    gboolean open = input->features->len == 0 || (widths[i] == 0 && inputs->len == 1);
    if (!open) continue;
    if (inputs->len == 1 && input->features->len > 0) { /* a name that matched one of many: take them in order */
      memset(used, 0, drift_schema_n_features(schema) * sizeof(gboolean));
      g_array_set_size(input->features, 0);
    }
    take_in_order(input, widths[i], inputs->len == 1, schema, used);
  }
  return check_bound(graph, schema, inputs, widths, used, error) ? g_steal_pointer(&inputs) : NULL;
}

/* --- filling
 * ---------------------------------------------------------------------------------------------------------- */

static gboolean fail_value(const DriftFeature *feature, guint64 row, const gchar *what, GError **error)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "row %" G_GUINT64_FORMAT ", feature '%s': %s", row,
              feature->name, what);
  return FALSE;
}

/* Missing and unreadable numbers are NaN; but text in a categorical feature must be a number when the model takes one.
 */
static gboolean to_number(const DriftFeature *feature, const DriftValue *value, guint64 row, double *number,
                          GError **error)
{
  if (value->kind == DRIFT_VALUE_NUMBER) {
    *number = value->number;
    return TRUE;
  }
  if (value->kind == DRIFT_VALUE_TEXT && drift_value_to_number(value, number)) return TRUE;
  *number = NAN;
  if (feature->kind == DRIFT_NUMERIC || value->kind == DRIFT_VALUE_MISSING) return TRUE;
  return fail_value(feature, row, "its text is no number, but the model takes numbers for it", error);
}

static gboolean to_seconds(const DriftFeature *feature, const DriftValue *value, guint64 row, gint64 *seconds,
                           GError **error)
{
  double number;
  if (!to_number(feature, value, row, &number, error)) return FALSE;
  if (fabs(number) > (double)((gint64)1 << 53))
    return fail_value(feature, row, "it is no time in seconds since 1970", error);
  *seconds = isnan(number) ? G_MININT64 : (gint64)floor(number);
  return TRUE;
}

static gboolean to_integer(const DriftFeature *feature, const DriftValue *value, guint64 row, gint64 limit,
                           gint64 *integer, GError **error)
{
  double number;
  if (!to_number(feature, value, row, &number, error)) return FALSE;
  if (!(fabs(number) <= (double)limit) || number != floor(number))
    return fail_value(feature, row, "it is missing or no integer, but the model takes integers for it", error);
  *integer = (gint64)number;
  return TRUE;
}

/* Missing is the empty text; numbers are written as drift writes them. */
static PipelineText to_text(GStringChunk *texts, const DriftValue *value)
{
  if (value->kind == DRIFT_VALUE_TEXT) return (PipelineText){value->text, value->length};
  if (value->kind == DRIFT_VALUE_MISSING) return (PipelineText){"", 0};
  gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
  gsize length;
  const gchar *text = drift_value_to_text(value, buffer, &length);
  return (PipelineText){g_string_chunk_insert_len(texts, text, (gssize)length), length};
}

static gboolean fill_cell(PipelineModel *model, const PipelineModelInput *input, PipelineTensor *tensor, gsize at,
                          const DriftFeature *feature, const DriftValue *value, guint64 row, GError **error)
{
  double number;
  gint64 integer;
  switch (tensor->type) {
  case ONNX_TYPE_FLOAT:
    if (!to_number(feature, value, row, &number, error)) return FALSE;
    ((float *)tensor->data)[at] = (float)number;
    return TRUE;
  case ONNX_TYPE_DOUBLE:
    return to_number(feature, value, row, &((double *)tensor->data)[at], error);
  case ONNX_TYPE_INT64:
    if (input->seconds) return to_seconds(feature, value, row, &((gint64 *)tensor->data)[at], error);
    return to_integer(feature, value, row, (gint64)1 << 53, &((gint64 *)tensor->data)[at], error);
  case ONNX_TYPE_INT32:
    if (!to_integer(feature, value, row, G_MAXINT32, &integer, error)) return FALSE;
    ((gint32 *)tensor->data)[at] = (gint32)integer;
    return TRUE;
  default:
    ((PipelineText *)tensor->data)[at] = to_text(model->texts, value);
    return TRUE;
  }
}

gboolean pipeline_model_inputs_fill(PipelineModel *model, const DriftValue *features, guint n_rows, guint padded,
                                    guint64 first_row, GError **error)
{
  guint n_features = drift_schema_n_features(model->schema);
  g_string_chunk_clear(model->texts);
  for (guint i = 0; i < model->inputs->len; i++) {
    const PipelineModelInput *input = g_ptr_array_index(model->inputs, i);
    PipelineTensor *tensor = pipeline_executor_get_input(model->executor, input->index);
    guint width = input->features->len;
    gint64 dims[ONNX_MAX_DIMENSIONS] = {padded, width};
    for (guint d = 1; input->n_dims > 2 && d < input->n_dims; d++) dims[d] = input->dims[d];
    if (!pipeline_tensor_set_shape(tensor, input->type, input->n_dims, dims, error) ||
        !pipeline_tensor_allocate(tensor, error))
      return FALSE;
    for (guint row = 0; row < padded; row++) {
      guint source = MIN(row, n_rows - 1);
      const DriftValue *values = features + (gsize)source * n_features;
      for (guint column = 0; column < width; column++) {
        guint f = g_array_index(input->features, guint, column);
        if (!fill_cell(model, input, tensor, (gsize)row * width + column, drift_schema_get_feature(model->schema, f),
                       &values[f], first_row + source, error))
          return FALSE;
      }
    }
  }
  return TRUE;
}
