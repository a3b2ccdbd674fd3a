/* ai.onnx.ml: scaling, imputation, linear models. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

const float *pipeline_operator_floats(const PipelineCall *call, const gchar *name, guint *n)
{
  const OnnxAttribute *attribute = onnx_node_get_attribute(call->node, name);
  gboolean present = attribute != NULL && attribute->kind == ONNX_ATTRIBUTE_FLOATS;
  *n = present ? attribute->numbers->len : 0;
  return present ? (const float *)(gpointer)attribute->numbers->data : NULL;
}

double *pipeline_operator_tensor_numbers(const OnnxNode *node, const gchar *name, guint *n)
{
  const OnnxAttribute *attribute = onnx_node_get_attribute(node, name);
  PipelineTensor tensor = {0};
  *n = 0;
  if (attribute == NULL || attribute->kind != ONNX_ATTRIBUTE_TENSOR) return NULL;
  double *numbers = NULL;
  if (pipeline_tensor_set_onnx(&tensor, attribute->tensor, NULL) && pipeline_type_is_number(tensor.type) &&
      tensor.n < G_MAXINT32) {
    *n = (guint)tensor.n;
    numbers = g_new(double, *n + 1);
    for (guint i = 0; i < *n; i++) numbers[i] = pipeline_element_get_double(&tensor, i);
  }
  pipeline_tensor_clear(&tensor);
  return numbers;
}

gsize pipeline_operator_width(const PipelineTensor *in)
{
  return in->n_dims > 0 ? (gsize)in->dims[in->n_dims - 1] : 1;
}

/* --- Scaler, Normalizer, Binarizer, Imputer, FeatureVectorizer
 * ------------------------------------------------------------ */

/* Float output of the input's shape; each list has one number, or one a feature. */
gboolean pipeline_scaler_infer(PipelineCall *call, GError **error)
{
  static const gchar *const lists[] = {"offset", "scale"};
  const PipelineTensor *in = call->inputs[0];
  if (!pipeline_type_is_number(in->type)) return pipeline_operator_fail_type(call, 0, error);
  for (gsize i = 0; i < G_N_ELEMENTS(lists); i++) {
    guint n;
    pipeline_operator_floats(call, lists[i], &n);
    if (n > 1 && n != pipeline_operator_width(in))
      return pipeline_operator_fail(error, "'%s' has %u numbers for %zu features", lists[i], n,
                                    pipeline_operator_width(in));
  }
  return pipeline_output_like(call, 0, ONNX_TYPE_FLOAT, in, error);
}

gboolean pipeline_scaler_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *in = call->inputs[0];
  guint n_offset, n_scale;
  const float *offset = pipeline_operator_floats(call, "offset", &n_offset),
              *scale = pipeline_operator_floats(call, "scale", &n_scale);
  float *out = call->outputs[0]->data;
  gsize width = pipeline_operator_width(in);
  for (gsize i = 0; i < in->n; i++) {
    gsize column = i % width;
    float value = (float)pipeline_element_get_double(in, i);
    if (n_offset > 0) value -= offset[n_offset > 1 ? column : 0];
    out[i] = n_scale > 0 ? value * scale[n_scale > 1 ? column : 0] : value;
  }
  return TRUE;
}

gboolean pipeline_normalizer_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  float *out = call->outputs[0]->data;
  gsize width = pipeline_operator_width(in);
  g_autofree gchar *norm = onnx_node_copy_string(call->node, "norm", "MAX");
  gboolean max = strcmp(norm, "MAX") == 0, square = strcmp(norm, "L2") == 0;
  if (!max && !square && strcmp(norm, "L1") != 0) return pipeline_operator_fail(error, "its norm is '%s'", norm);
  for (gsize start = 0; width > 0 && start < in->n; start += width) {
    double sum = max ? -INFINITY : 0;
    for (gsize i = 0; i < width; i++) {
      double value = pipeline_element_get_double(in, start + i);
      sum = max ? MAX(sum, value) : sum + (square ? value * value : fabs(value));
    }
    double divisor = square ? sqrt(sum) : sum;
    for (gsize i = 0; i < width; i++) {
      double value = pipeline_element_get_double(in, start + i);
      out[start + i] = (float)(divisor != 0 ? value / divisor : value);
    }
  }
  return TRUE;
}

gboolean pipeline_binarizer_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *in = call->inputs[0];
  float threshold = onnx_node_get_float(call->node, "threshold", 0), *out = call->outputs[0]->data;
  for (gsize i = 0; i < in->n; i++) out[i] = pipeline_element_get_double(in, i) > (double)threshold;
  return TRUE;
}

/* How many replacements the attribute of the input's type has; 0: none. */
static guint count_replacements(const PipelineCall *call, OnnxType type)
{
  guint n = 0;
  if (type == ONNX_TYPE_INT64)
    onnx_node_get_ints(call->node, "imputed_value_int64s", &n);
  else
    pipeline_operator_floats(call, "imputed_value_floats", &n);
  return n;
}

gboolean pipeline_imputer_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  if (in->type != ONNX_TYPE_FLOAT && in->type != ONNX_TYPE_INT64) return pipeline_operator_fail_type(call, 0, error);
  guint n = count_replacements(call, in->type);
  if (n != 1 && n != pipeline_operator_width(in))
    return pipeline_operator_fail(error, "it has %u replacements for %zu features", n, pipeline_operator_width(in));
  return pipeline_output_like(call, 0, in->type, in, error);
}

static void impute_integers(const PipelineCall *call)
{
  const PipelineTensor *in = call->inputs[0];
  guint n;
  const gint64 *replacements = onnx_node_get_ints(call->node, "imputed_value_int64s", &n), *x = in->data;
  gint64 missing = onnx_node_get_int(call->node, "replaced_value_int64", 0), *out = call->outputs[0]->data;
  gsize width = pipeline_operator_width(in);
  for (gsize i = 0; i < in->n; i++) out[i] = x[i] == missing ? replacements[n > 1 ? i % width : 0] : x[i];
}

static void impute_floats(const PipelineCall *call)
{
  const PipelineTensor *in = call->inputs[0];
  guint n;
  const float *replacements = pipeline_operator_floats(call, "imputed_value_floats", &n), *x = in->data;
  float missing = onnx_node_get_float(call->node, "replaced_value_float", 0), *out = call->outputs[0]->data;
  gsize width = pipeline_operator_width(in);
  for (gsize i = 0; i < in->n; i++) {
    gboolean replace = isnan(missing) ? isnan(x[i]) : x[i] == missing;
    out[i] = replace ? replacements[n > 1 ? i % width : 0] : x[i];
  }
}

gboolean pipeline_imputer_run(PipelineCall *call, GError **error)
{
  (void)error;
  (call->inputs[0]->type == ONNX_TYPE_INT64 ? impute_integers : impute_floats)(call);
  return TRUE;
}

/* Joins columns of several inputs as floats; the widths are those of the inputs (inputdimensions must agree). */
gboolean pipeline_feature_vectorizer_infer(PipelineCall *call, GError **error)
{
  gint64 rows = -1, width = 0;
  for (guint i = 0; i < call->n_inputs; i++) {
    const PipelineTensor *in = call->inputs[i];
    if (in == NULL || !pipeline_type_is_number(in->type)) return pipeline_operator_fail_type(call, i, error);
    if (in->n_dims != 2 || (rows >= 0 && in->dims[0] != rows))
      return pipeline_operator_fail(error, "input %u is no matrix of as many rows as the first", i);
    rows = in->dims[0];
    width += in->dims[1];
  }
  return pipeline_output_set(call, 0, ONNX_TYPE_FLOAT, 2, (gint64[]){rows, width}, error);
}

gboolean pipeline_feature_vectorizer_run(PipelineCall *call, GError **error)
{
  (void)error;
  PipelineTensor *out = call->outputs[0];
  float *to = out->data;
  for (gint64 row = 0; row < out->dims[0]; row++)
    for (guint i = 0; i < call->n_inputs; i++)
      for (gint64 column = 0; column < call->inputs[i]->dims[1]; column++)
        *to++ = (float)pipeline_element_get_double(call->inputs[i], (gsize)(row * call->inputs[i]->dims[1] + column));
  return TRUE;
}

/* --- scores and labels
 * -------------------------------------------------------------------------------------------------- */

gboolean pipeline_transform_read(const OnnxNode *node, PipelineTransform *transform, GError **error)
{
  static const gchar *const names[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"};
  g_autofree gchar *name = onnx_node_copy_string(node, "post_transform", "NONE");
  for (guint i = 0; i < G_N_ELEMENTS(names); i++)
    if (strcmp(names[i], name) == 0) {
      *transform = (PipelineTransform)i;
      return TRUE;
    }
  return pipeline_operator_fail(error, "post_transform '%s' is not read", name);
}

void pipeline_transform_apply(PipelineTransform transform, float *scores, gsize n)
{
  if (transform == PIPELINE_TRANSFORM_NONE || n == 0) return;
  if (transform == PIPELINE_TRANSFORM_LOGISTIC) {
    for (gsize i = 0; i < n; i++) scores[i] = 1 / (1 + expf(-scores[i]));
    return;
  }
  float highest = scores[0];
  double sum = 0;
  for (gsize i = 1; i < n; i++) highest = MAX(highest, scores[i]);
  for (gsize i = 0; i < n; i++) {
    gboolean zero = transform == PIPELINE_TRANSFORM_SOFTMAX_ZERO && fabsf(scores[i]) <= 1e-7f;
    scores[i] = zero ? 0 : expf(scores[i] - highest);
    sum += (double)scores[i];
  }
  for (gsize i = 0; i < n; i++) scores[i] = (float)((double)scores[i] / sum);
}

static const OnnxAttribute *get_labels(const OnnxNode *node)
{
  const OnnxAttribute *texts = onnx_node_get_attribute(node, "classlabels_strings");
  if (texts != NULL && texts->kind == ONNX_ATTRIBUTE_STRINGS && texts->texts->len > 0) return texts;
  const OnnxAttribute *integers = onnx_node_get_attribute(node, "classlabels_ints"); /* LinearClassifier's spelling */
  if (integers == NULL) integers = onnx_node_get_attribute(node, "classlabels_int64s");
  return integers != NULL && integers->kind == ONNX_ATTRIBUTE_INTS ? integers : NULL;
}

guint pipeline_class_labels_count(const OnnxNode *node)
{
  const OnnxAttribute *labels = get_labels(node);
  if (labels == NULL) return 0;
  return labels->kind == ONNX_ATTRIBUTE_STRINGS ? labels->texts->len : labels->integers->len;
}

OnnxType pipeline_class_labels_type(const OnnxNode *node)
{
  const OnnxAttribute *labels = get_labels(node);
  return labels != NULL && labels->kind == ONNX_ATTRIBUTE_STRINGS ? ONNX_TYPE_STRING : ONNX_TYPE_INT64;
}

void pipeline_class_label_write(const OnnxNode *node, guint index, PipelineTensor *output, gsize row)
{
  const OnnxAttribute *labels = get_labels(node);
  if (output->type == ONNX_TYPE_INT64) {
    ((gint64 *)output->data)[row] = labels != NULL ? g_array_index(labels->integers, gint64, index) : (gint64)index;
    return;
  }
  PipelineText *text = (PipelineText *)output->data + row;
  text->text = g_bytes_get_data(g_ptr_array_index(labels->texts, index), &text->length);
}

/* --- linear models
 * ------------------------------------------------------------------------------------------------------ */

/* scores [rows, n] = x [rows, width] · coefficients [n, width]ᵀ + intercepts. Sums in double, ascending. */
static void linear_scores(const PipelineCall *call, guint n, gsize row, float *scores)
{
  const PipelineTensor *in = call->inputs[0];
  guint n_coefficients, n_intercepts;
  const float *coefficients = pipeline_operator_floats(call, "coefficients", &n_coefficients);
  const float *intercepts = pipeline_operator_floats(call, "intercepts", &n_intercepts);
  gsize width = pipeline_operator_width(in);
  for (guint c = 0; c < n; c++) {
    double sum = n_intercepts > c ? (double)intercepts[c] : 0;
    for (gsize i = 0; i < width; i++)
      sum += (double)coefficients[c * width + i] * pipeline_element_get_double(in, row * width + i);
    scores[c] = (float)sum;
  }
}

/* The rows of a [N, F] or [F] input, and how many scores the coefficients give. */
static gboolean linear_shape(const PipelineCall *call, gint64 *rows, guint *n_scores, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  guint n;
  gsize width = pipeline_operator_width(in);
  pipeline_operator_floats(call, "coefficients", &n);
  if (!pipeline_type_is_number(in->type)) return pipeline_operator_fail_type(call, 0, error);
  if (in->n_dims == 0 || in->n_dims > 2 || width == 0 || n == 0 || n % width != 0)
    return pipeline_operator_fail(error, "its %u coefficients do not fit an input of %zu features", n, width);
  *rows = in->n_dims == 2 ? in->dims[0] : 1;
  *n_scores = (guint)(n / width);
  return TRUE;
}

gboolean pipeline_linear_regressor_infer(PipelineCall *call, GError **error)
{
  gint64 rows;
  guint n;
  PipelineTransform transform;
  if (!linear_shape(call, &rows, &n, error) || !pipeline_transform_read(call->node, &transform, error)) return FALSE;
  if (onnx_node_get_int(call->node, "targets", 1) != n) return pipeline_operator_fail(error, "it has %u targets", n);
  return pipeline_output_set(call, 0, ONNX_TYPE_FLOAT, 2, (gint64[]){rows, n}, error);
}

gboolean pipeline_linear_regressor_run(PipelineCall *call, GError **error)
{
  PipelineTensor *out = call->outputs[0];
  gsize n = (gsize)out->dims[1];
  PipelineTransform transform;
  if (!pipeline_transform_read(call->node, &transform, error)) return FALSE;
  for (gsize row = 0; row < (gsize)out->dims[0]; row++) {
    float *scores = (float *)out->data + row * n;
    linear_scores(call, (guint)n, row, scores);
    pipeline_transform_apply(transform, scores, n);
  }
  return TRUE;
}

/* One score for two labels is the second class's. */
gboolean pipeline_linear_classifier_infer(PipelineCall *call, GError **error)
{
  gint64 rows;
  guint n, n_labels = pipeline_class_labels_count(call->node);
  PipelineTransform transform;
  if (!linear_shape(call, &rows, &n, error) || !pipeline_transform_read(call->node, &transform, error)) return FALSE;
  gboolean fits = n_labels == 0 || n_labels == n || (n == 1 && n_labels == 2);
  if (!fits) return pipeline_operator_fail(error, "it has %u scores for %u labels", n, n_labels);
  OnnxType type = pipeline_class_labels_type(call->node);
  return pipeline_output_set(call, 0, type, 1, (gint64[]){rows}, error) &&
         pipeline_output_set(call, 1, ONNX_TYPE_FLOAT, 2, (gint64[]){rows, MAX(n, n_labels)}, error);
}

gboolean pipeline_linear_classifier_run(PipelineCall *call, GError **error)
{
  gint64 rows;
  guint n, n_labels = pipeline_class_labels_count(call->node);
  PipelineTransform transform;
  if (!linear_shape(call, &rows, &n, error) || !pipeline_transform_read(call->node, &transform, error)) return FALSE;
  guint width = MAX(n, n_labels);
  g_autofree float *made = g_new(float, width);
  PipelineTensor *labels = call->outputs[0], *output = call->n_outputs > 1 ? call->outputs[1] : NULL;
  for (gsize row = 0; row < (gsize)rows; row++) {
    float *scores = output != NULL ? (float *)output->data + row * width : made;
    guint best = 0;
    linear_scores(call, n, row, scores);
    if (n == 1 && width == 2) {
      best = scores[0] > 0;
      scores[1] = transform == PIPELINE_TRANSFORM_LOGISTIC ? 1 / (1 + expf(-scores[0])) : scores[0];
      scores[0] = 1 - scores[1];
    } else {
      for (guint c = 1; c < n; c++)
        if (scores[c] > scores[best]) best = c;
      if (n == 1) best = 0;
      pipeline_transform_apply(transform, scores, n);
    }
    if (labels != NULL) pipeline_class_label_write(call->node, best, labels, row);
  }
  return TRUE;
}
