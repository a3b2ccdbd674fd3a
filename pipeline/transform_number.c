/* Transformations of a number into a number: filling what is missing, bounding, scaling. */
#include <math.h>

#include "pipeline/transform_table.h"

#define ML "ai.onnx.ml"

/* --- missing numbers ---------------------------------------------------------------------------------------------- */

gboolean pipeline_fit_mean(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  double mean, sd;
  (void)error;
  pipeline_fit_moments(fit, &mean, &sd);
  pipeline_state_add(state, mean);
  return TRUE;
}

gboolean pipeline_fit_median(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  guint64 n;
  (void)error;
  g_autofree double *sorted = pipeline_fit_sorted(fit, &n);
  pipeline_state_add(state, n > 0 ? pipeline_sorted_quantile(sorted, n, .5) : 0);
  return TRUE;
}

gboolean pipeline_fit_constant(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  (void)error;
  pipeline_state_add(state, fit->parameter);
  return TRUE;
}

const gchar *pipeline_emit_mean(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  OnnxNode *node;
  float value = (float)pipeline_state_get(state, 0);
  const gchar *output = pipeline_emit_node(emit, ML, "Imputer", inputs, 1, &node);
  onnx_node_set_floats(node, "imputed_value_floats", &value, 1);
  onnx_node_set_float(node, "replaced_value_float", NAN);
  return output;
}

const gchar *pipeline_emit_median(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  return pipeline_emit_mean(emit, state, inputs);
}

const gchar *pipeline_emit_constant(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  return pipeline_emit_mean(emit, state, inputs);
}

gboolean pipeline_fit_missing(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  guint64 n = 0;
  (void)error;
  for (guint64 i = 0; i < fit->n_rows; i++) n += isnan(fit->inputs[0]->numbers[fit->rows[i]]);
  pipeline_state_add(state, (double)n / (double)fit->n_rows);
  return TRUE;
}

const gchar *pipeline_emit_missing(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  (void)state;
  return pipeline_emit_cast(emit, pipeline_emit_one(emit, "IsNaN", inputs[0]), ONNX_TYPE_FLOAT);
}

/* --- bounds ------------------------------------------------------------------------------------------------------- */

gboolean pipeline_fit_winsorise(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  guint64 n;
  (void)error;
  g_autofree double *sorted = pipeline_fit_sorted(fit, &n);
  pipeline_state_add(state, n > 0 ? pipeline_sorted_quantile(sorted, n, fit->parameter) : 0);
  pipeline_state_add(state, n > 0 ? pipeline_sorted_quantile(sorted, n, 1 - fit->parameter) : 0);
  return TRUE;
}

static const gchar *emit_clip(PipelineEmit *emit, const gchar *input, double low, double high)
{
  const gchar *bounds[] = {input, pipeline_emit_float(emit, low), pipeline_emit_float(emit, high)};
  return pipeline_emit_node(emit, "", "Clip", bounds, G_N_ELEMENTS(bounds), NULL);
}

const gchar *pipeline_emit_winsorise(PipelineEmit *emit, const PipelineTransformState *state,
                                     const gchar *const *inputs)
{
  return emit_clip(emit, inputs[0], pipeline_state_get(state, 0), pipeline_state_get(state, 1));
}

/* --- scales ------------------------------------------------------------------------------------------------------- */

/* A column that does not vary is centred and divided by its size, so that what it does later stays in bounds. */
static double usable_scale(double scale, double centre)
{
  return scale > 1e-6 * fabs(centre) && scale > 0 ? scale : fmax(1, fabs(centre));
}

gboolean pipeline_fit_standard(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  double mean, sd;
  (void)error;
  pipeline_fit_moments(fit, &mean, &sd);
  pipeline_state_add(state, mean);
  pipeline_state_add(state, usable_scale(sd, mean));
  return TRUE;
}

/* Median and interquartile range; where that is 0 the standard deviation. */
gboolean pipeline_fit_robust(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  guint64 n;
  double mean, sd;
  (void)error;
  g_autofree double *sorted = pipeline_fit_sorted(fit, &n);
  double median = n > 0 ? pipeline_sorted_quantile(sorted, n, .5) : 0;
  double range = n > 0 ? pipeline_sorted_quantile(sorted, n, .75) - pipeline_sorted_quantile(sorted, n, .25) : 0;
  pipeline_fit_moments(fit, &mean, &sd);
  pipeline_state_add(state, median);
  pipeline_state_add(state, range > 1e-6 * fabs(median) && range > 0 ? range : usable_scale(sd, median));
  return TRUE;
}

const gchar *pipeline_emit_standard(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  OnnxNode *node;
  float offset = (float)pipeline_state_get(state, 0), scale = (float)(1 / pipeline_state_get(state, 1));
  const gchar *output = pipeline_emit_node(emit, ML, "Scaler", inputs, 1, &node);
  onnx_node_set_floats(node, "offset", &offset, 1);
  onnx_node_set_floats(node, "scale", &scale, 1);
  return output;
}

const gchar *pipeline_emit_robust(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  return pipeline_emit_standard(emit, state, inputs);
}

/* --- powers ------------------------------------------------------------------------------------------------------- */

/* sign(x) ln(1 + |x|): log1p where x >= 0, and as much the other way below. Nothing is learnt. */
gboolean pipeline_fit_keep(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  (void)fit, (void)state, (void)error;
  return TRUE;
}

const gchar *pipeline_emit_keep(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  (void)state;
  return pipeline_emit_one(emit, "Identity", inputs[0]);
}

gboolean pipeline_fit_log(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  (void)fit, (void)state, (void)error;
  return TRUE;
}

const gchar *pipeline_emit_log(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  (void)state;
  const gchar *size = pipeline_emit_one(emit, "Abs", inputs[0]);
  const gchar *log = pipeline_emit_one(emit, "Log", pipeline_emit_two(emit, "Add", size, pipeline_emit_float(emit, 1)));
  return pipeline_emit_two(emit, "Mul", pipeline_emit_one(emit, "Sign", inputs[0]), log);
}

/* Near 0 (and 2) the powers lose their digits in float32, and the logarithm is as near. */
#define LAMBDA_NEAR 1e-3

static double power_or_log(double base, double exponent)
{
  return fabs(exponent) < LAMBDA_NEAR ? log(base) : (pow(base, exponent) - 1) / exponent;
}

double pipeline_yeo_johnson(double x, double lambda)
{
  return x >= 0 ? power_or_log(x + 1, lambda) : -power_or_log(1 - x, 2 - lambda);
}

/* Without constants: -n/2 log(variance of the transformed) + (lambda - 1) sum sign(x) log(1 + |x|). */
static double log_likelihood(const double *x, guint64 n, double lambda)
{
  double sum = 0, squares = 0, jacobian = 0;
  for (guint64 i = 0; i < n; i++) {
    sum += pipeline_yeo_johnson(x[i], lambda) / (double)n;
    jacobian += copysign(log1p(fabs(x[i])), x[i]);
  }
  for (guint64 i = 0; i < n; i++) {
    double difference = pipeline_yeo_johnson(x[i], lambda) - sum;
    squares += difference * difference / (double)n;
  }
  return squares > 0 ? -.5 * (double)n * log(squares) + (lambda - 1) * jacobian : -INFINITY;
}

/* The maximum by golden sections in [-5, 5]. */
static double find_lambda(const double *x, guint64 n)
{
  const double golden = (sqrt(5) - 1) / 2;
  double low = -5, high = 5;
  double a = high - golden * (high - low), b = low + golden * (high - low);
  double at_a = log_likelihood(x, n, a), at_b = log_likelihood(x, n, b);
  while (high - low > 1e-6) {
    if (at_a >= at_b) {
      high = b, b = a, at_b = at_a;
      a = high - golden * (high - low), at_a = log_likelihood(x, n, a);
    } else {
      low = a, a = b, at_a = at_b;
      b = low + golden * (high - low), at_b = log_likelihood(x, n, b);
    }
  }
  return (low + high) / 2;
}

/* lambda by maximum likelihood (Yeo and Johnson 2000, Biometrika 87), 1 for a column that does not vary; and bounds one
 * range beyond the training values, so that no power of a later value is infinite. */
gboolean pipeline_fit_yeo_johnson(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  guint64 n;
  (void)error;
  g_autofree double *sorted = pipeline_fit_sorted(fit, &n);
  double low = n > 0 ? sorted[0] : 0, high = n > 0 ? sorted[n - 1] : 0, range = high - low;
  pipeline_state_add(state, range > 1e-6 * fabs(high) ? find_lambda(sorted, n) : 1);
  pipeline_state_add(state, low - range);
  pipeline_state_add(state, high + range);
  return TRUE;
}

static const gchar *emit_power(PipelineEmit *emit, const gchar *base, double exponent)
{
  if (fabs(exponent) < LAMBDA_NEAR) return pipeline_emit_one(emit, "Log", base);
  const gchar *power = pipeline_emit_two(emit, "Pow", base, pipeline_emit_float(emit, exponent));
  power = pipeline_emit_two(emit, "Sub", power, pipeline_emit_float(emit, 1));
  return pipeline_emit_two(emit, "Div", power, pipeline_emit_float(emit, exponent));
}

/* The half of the wrong sign is held at 0, where it adds nothing. */
const gchar *pipeline_emit_yeo_johnson(PipelineEmit *emit, const PipelineTransformState *state,
                                       const gchar *const *inputs)
{
  double lambda = pipeline_state_get(state, 0);
  const gchar *x = emit_clip(emit, inputs[0], pipeline_state_get(state, 1), pipeline_state_get(state, 2));
  const gchar *one = pipeline_emit_float(emit, 1);
  const gchar *above = pipeline_emit_two(emit, "Add", pipeline_emit_one(emit, "Relu", x), one);
  const gchar *below =
      pipeline_emit_two(emit, "Add", pipeline_emit_one(emit, "Relu", pipeline_emit_one(emit, "Neg", x)), one);
  return pipeline_emit_two(emit, "Sub", emit_power(emit, above, lambda), emit_power(emit, below, 2 - lambda));
}
