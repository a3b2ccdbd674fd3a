/* Resize and Upsample: interpolation along one dimension after the other, in double.
 * Source of the formulas: https://onnx.ai/onnx/operators/onnx__Resize.html and its reference implementation. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

typedef enum { MODE_NEAREST, MODE_LINEAR, MODE_CUBIC } Mode;

typedef struct {
  guint n_dims;
  gint64 out[ONNX_MAX_DIMENSIONS];
  double scale[ONNX_MAX_DIMENSIONS], roi_start[ONNX_MAX_DIMENSIONS], roi_end[ONNX_MAX_DIMENSIONS];
  Mode mode;
  gboolean antialias, exclude_outside;
  double cubic, extrapolation;
  gchar transformation[24], nearest[24];
} Plan;

/* --- reading
 * ------------------------------------------------------------------------------------------------------------ */

static gboolean copy_choice(const PipelineCall *call, const gchar *name, const gchar *fallback,
                            const gchar *const *known, gchar *to, gsize size, GError **error)
{
  g_autofree gchar *text = onnx_node_copy_string(call->node, name, fallback);
  if (!g_strv_contains(known, text)) return pipeline_operator_fail(error, "%s '%s' is not supported", name, text);
  g_strlcpy(to, text, size);
  return TRUE;
}

static gboolean read_modes(const PipelineCall *call, Plan *plan, GError **error)
{
  static const gchar *const modes[] = {"nearest", "linear", "bilinear", "cubic", NULL};
  static const gchar *const nearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL};
  static const gchar *const transformations[] = {
      "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",   "align_corners",
      "asymmetric", "tf_crop_and_resize",   "tf_half_pixel_for_nn", NULL};
  gboolean old = call->opset < 11 || strcmp(call->operator->name, "Upsample") == 0;
  gchar mode[24];
  if (!copy_choice(call, "mode", "nearest", modes, mode, sizeof mode, error) ||
      !copy_choice(call, "nearest_mode", old ? "floor" : "round_prefer_floor", nearest, plan->nearest,
                   sizeof plan->nearest, error) ||
      !copy_choice(call, "coordinate_transformation_mode", old ? "asymmetric" : "half_pixel", transformations,
                   plan->transformation, sizeof plan->transformation, error))
    return FALSE;
  plan->mode = mode[0] == 'n' ? MODE_NEAREST : mode[0] == 'c' ? MODE_CUBIC : MODE_LINEAR;
  plan->antialias = onnx_node_get_int(call->node, "antialias", 0) != 0;
  plan->exclude_outside = onnx_node_get_int(call->node, "exclude_outside", 0) != 0;
  plan->cubic = (double)onnx_node_get_float(call->node, "cubic_coeff_a", -0.75f);
  plan->extrapolation = (double)onnx_node_get_float(call->node, "extrapolation_value", 0);
  return !(plan->antialias && plan->mode == MODE_NEAREST) ||
         pipeline_operator_fail(error, "antialias is not defined for mode nearest");
}

static const PipelineTensor *filled(const PipelineCall *call, guint index)
{
  const PipelineTensor *input = pipeline_input(call, index);
  return input != NULL && input->n > 0 ? input : NULL;
}

/* Sizes; with a policy they are bounds of one common scale. */
static gboolean apply_sizes(const PipelineCall *call, const PipelineTensor *sizes, const gint64 *axes, guint n,
                            Plan *plan, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  gint64 values[ONNX_MAX_DIMENSIONS];
  guint n_values;
  gboolean stretch = pipeline_attribute_is(call, "keep_aspect_ratio_policy", "stretch", "stretch"),
           smaller = pipeline_attribute_is(call, "keep_aspect_ratio_policy", "stretch", "not_larger");
  double common = smaller ? INFINITY : 0;
  if (!pipeline_integers_read(sizes, values, ONNX_MAX_DIMENSIONS, &n_values, error)) return FALSE;
  if (n_values != n) return pipeline_operator_fail(error, "it has %u sizes for %u dimensions", n_values, n);
  for (guint i = 0; i < n; i++) {
    double scale = (double)values[i] / (double)x->dims[axes[i]];
    common = smaller ? MIN(common, scale) : MAX(common, scale);
    plan->out[axes[i]] = values[i];
    plan->scale[axes[i]] = scale;
  }
  for (guint i = 0; i < n && !stretch; i++) {
    double size = floor(common * (double)x->dims[axes[i]] + 0.5);
    if (!(size < 0x1p31)) return pipeline_operator_fail(error, "its output is too large");
    plan->out[axes[i]] = (gint64)size;
    plan->scale[axes[i]] = common;
  }
  return TRUE;
}

static gboolean apply_scales(const PipelineCall *call, const double *scales, guint n_scales, const gint64 *axes,
                             guint n, Plan *plan, GError **error)
{
  if (n_scales != n) return pipeline_operator_fail(error, "it has %u scales for %u dimensions", n_scales, n);
  for (guint i = 0; i < n; i++) {
    double size = floor((double)call->inputs[0]->dims[axes[i]] * scales[i]);
    if (!(scales[i] > 0) || !(size < 0x1p31))
      return pipeline_operator_fail(error, "scale %g is not supported", scales[i]);
    plan->out[axes[i]] = (gint64)size;
    plan->scale[axes[i]] = scales[i];
  }
  return TRUE;
}

/* Scales lie in input 1 (Resize 10, Upsample 9), input 2 (Resize 11 and later), or an attribute (Upsample 7). */
static gboolean read_scales(const PipelineCall *call, double *scales, guint *n, GError **error)
{
  gboolean old = call->opset < 11 || strcmp(call->operator->name, "Upsample") == 0;
  const PipelineTensor *input = filled(call, old ? 1 : 2);
  const OnnxAttribute *attribute = onnx_node_get_attribute(call->node, "scales");
  if (input == NULL && (attribute == NULL || attribute->kind != ONNX_ATTRIBUTE_FLOATS))
    return pipeline_operator_fail(error, "it has neither scales nor sizes");
  *n = input != NULL ? (guint)input->n : attribute->numbers->len;
  if (*n > ONNX_MAX_DIMENSIONS) return pipeline_operator_fail(error, "it has too many scales");
  for (guint i = 0; i < *n; i++)
    scales[i] =
        input != NULL ? pipeline_element_get_double(input, i) : (double)g_array_index(attribute->numbers, float, i);
  return TRUE;
}

static gboolean read_plan(const PipelineCall *call, Plan *plan, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *roi = call->opset >= 11 ? filled(call, 1) : NULL,
                       *sizes = filled(call, 3);
  gint64 axes[ONNX_MAX_DIMENSIONS];
  guint n;
  gboolean given;
  memset(plan, 0, sizeof *plan);
  plan->n_dims = x->n_dims;
  if (!read_modes(call, plan, error) || !pipeline_list_read(call, "axes", G_MAXUINT, axes, &n, &given, error))
    return FALSE;
  for (guint i = 0; i < n; i++) {
    guint axis;
    if (!pipeline_axis_resolve(axes[i], x->n_dims, FALSE, &axis, error)) return FALSE;
    axes[i] = axis;
  }
  if (!given) n = x->n_dims;
  for (guint d = 0; d < x->n_dims; d++) {
    if (!given) axes[d] = d;
    if (x->dims[d] == 0) return pipeline_operator_fail(error, "its input is empty");
    plan->out[d] = x->dims[d];
    plan->scale[d] = 1;
    plan->roi_end[d] = 1;
  }
  gboolean cropped = strcmp(plan->transformation, "tf_crop_and_resize") == 0;
  if (cropped && (roi == NULL || roi->n != 2 * n)) return pipeline_operator_fail(error, "its roi does not fit");
  for (guint i = 0; cropped && i < n; i++) {
    plan->roi_start[axes[i]] = pipeline_element_get_double(roi, i);
    plan->roi_end[axes[i]] = pipeline_element_get_double(roi, n + i);
  }
  if (sizes != NULL) return apply_sizes(call, sizes, axes, n, plan, error);
  double scales[ONNX_MAX_DIMENSIONS];
  guint n_scales = 0;
  return read_scales(call, scales, &n_scales, error) && apply_scales(call, scales, n_scales, axes, n, plan, error);
}

gboolean pipeline_resize_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  Plan plan;
  if (!pipeline_type_is_number(x->type)) return pipeline_operator_fail_type(call, 0, error);
  return read_plan(call, &plan, error) && pipeline_output_set(call, 0, x->type, x->n_dims, plan.out, error);
}

/* --- one dimension
 * ---------------------------------------------------------------------------------------------------- */

/* Where output index y lies in the input. */
static double coordinate(const Plan *plan, guint d, gint64 in, gint64 y)
{
  double at = (double)y, scale = plan->scale[d], length = (double)in, width = scale * length;
  const gchar *how = plan->transformation;
  if (strcmp(how, "align_corners") == 0) return width == 1 ? 0 : at * (length - 1) / (width - 1);
  if (strcmp(how, "asymmetric") == 0) return at / scale;
  if (strcmp(how, "tf_half_pixel_for_nn") == 0) return (at + 0.5) / scale;
  if (strcmp(how, "tf_crop_and_resize") == 0) {
    double span = (plan->roi_end[d] - plan->roi_start[d]) * (length - 1);
    return plan->roi_start[d] * (length - 1) + (width == 1 ? span / 2 : at * span / (width - 1));
  }
  if (strcmp(how, "pytorch_half_pixel") == 0 && width == 1) return -0.5;
  double offset = 0;
  if (strcmp(how, "half_pixel_symmetric") == 0) offset = length / 2 * (1 - (double)plan->out[d] / width);
  return offset + (at + 0.5) / scale - 0.5;
}

static double cubic_weight(double x, double a)
{
  x = fabs(x);
  if (x <= 1) return (a + 2) * x * x * x - (a + 3) * x * x + 1;
  return x < 2 ? a * x * x * x - 5 * a * x * x + 8 * a * x - 4 * a : 0;
}

static double linear_weight(double x, double unused)
{
  (void)unused;
  return MAX(1 - fabs(x), 0);
}

static gint64 nearest_index(const Plan *plan, double x)
{
  double low = floor(x);
  gboolean up = FALSE;
  if (x != low)
    up = strcmp(plan->nearest, "ceil") == 0 || (strcmp(plan->nearest, "round_prefer_floor") == 0 && x - low > 0.5) ||
         (strcmp(plan->nearest, "round_prefer_ceil") == 0 && x - low >= 0.5);
  return (gint64)low + up;
}

/* Weights of the input elements first, first + 1, … around x. At most `capacity`; returns their number. */
static gsize weigh(const Plan *plan, guint d, double x, double *weights, gsize capacity, gint64 *first)
{
  if (plan->mode == MODE_NEAREST) {
    *first = nearest_index(plan, x);
    weights[0] = 1;
    return 1;
  }
  double (*weight)(double, double) = plan->mode == MODE_CUBIC ? cubic_weight : linear_weight;
  double squeeze = plan->antialias ? MIN(plan->scale[d], 1) : 1, reach = plan->mode == MODE_CUBIC ? 2 : 1, sum = 0;
  double ratio = x == floor(x) ? 1 : x - floor(x); /* the element to the left is preferred */
  gint64 base = (gint64)(x == floor(x) ? x - 1 : floor(x)), start = (gint64)floor(-reach / squeeze) + 1,
         end = (plan->mode == MODE_CUBIC || plan->antialias) ? 2 - start : 2;
  gsize n = 0;
  for (gint64 i = start; i < end && n < capacity; i++)
    sum += weights[n++] = weight(squeeze * ((double)i - ratio), plan->cubic);
  for (gsize i = 0; i < n && plan->antialias; i++) weights[i] /= sum;
  *first = base + start;
  return n;
}

static void exclude(gint64 in, gint64 first, double *weights, gsize n)
{
  double sum = 0;
  for (gsize i = 0; i < n; i++) {
    gint64 at = first + (gint64)i;
    if (at < 0 || at >= in) weights[i] = 0;
    sum += weights[i];
  }
  for (gsize i = 0; i < n && sum != 0; i++) weights[i] /= sum;
}

/* from [outer, in, inner] -> to [outer, out, inner] */
static gboolean resize_dimension(const PipelineCall *call, const Plan *plan, guint d, gsize outer, gint64 in,
                                 gsize inner, const double *from, double *to, GError **error)
{
  gint64 out = plan->out[d];
  double reach = 4 / (plan->antialias ? MIN(plan->scale[d], 1) : 1) + 6;
  if (!(reach < 1e6)) return pipeline_operator_fail(error, "its scale is too small");
  if (!pipeline_charge_multiplications(call, reach * (double)outer * (double)out * (double)inner, error)) return FALSE;
  g_autofree double *weights = pipeline_scratch_new(call, (gsize)reach, sizeof(double), error);
  if (weights == NULL) return FALSE;
  gboolean cropped = strcmp(plan->transformation, "tf_crop_and_resize") == 0;
  for (gint64 y = 0; y < out; y++) {
    gint64 first;
    double x = coordinate(plan, d, in, y);
    gboolean beyond = cropped && (x < 0 || x > (double)(in - 1));
    x = x >= -0x1p40 ? MIN(x, 0x1p40) : -0x1p40; /* also NaN */
    gsize n = weigh(plan, d, x, weights, (gsize)reach, &first);
    if (plan->exclude_outside) exclude(in, first, weights, n);
    for (gsize o = 0; o < outer; o++)
      for (gsize i = 0; i < inner; i++) {
        double sum = 0;
        for (gsize k = 0; k < n; k++)
          sum += weights[k] * from[(o * (gsize)in + (gsize)CLAMP(first + (gint64)k, 0, in - 1)) * inner + i];
        to[(o * (gsize)out + (gsize)y) * inner + i] = beyond ? plan->extrapolation : sum;
      }
  }
  return TRUE;
}

gboolean pipeline_resize_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  Plan plan;
  if (!read_plan(call, &plan, error)) return FALSE;
  g_autofree double *values = pipeline_scratch_new(call, x->n, sizeof(double), error);
  if (values == NULL) return FALSE;
  for (gsize i = 0; i < x->n; i++) values[i] = pipeline_element_get_double(x, i);
  gint64 dims[ONNX_MAX_DIMENSIONS];
  memcpy(dims, x->dims, sizeof dims);
  gboolean cropped = strcmp(plan.transformation, "tf_crop_and_resize") == 0;
  for (guint d = 0; d < x->n_dims; d++) {
    gboolean whole = !cropped || (plan.roi_start[d] == 0 && plan.roi_end[d] == 1);
    if (fabs(plan.scale[d] - 1) <= 1e-9 && plan.out[d] == dims[d] && whole) continue;
    gsize outer = pipeline_dims_product(dims, 0, d), inner = pipeline_dims_product(dims, d + 1, x->n_dims);
    double *next = pipeline_scratch_new(call, outer * (gsize)plan.out[d] * inner, sizeof(double), error);
    gboolean done = next != NULL && resize_dimension(call, &plan, d, outer, dims[d], inner, values, next, error);
    g_free(values);
    values = next;
    if (!done) return FALSE;
    dims[d] = plan.out[d];
  }
  for (gsize i = 0; i < call->outputs[0]->n; i++) pipeline_element_put_double(call->outputs[0], i, values[i]);
  return TRUE;
}
