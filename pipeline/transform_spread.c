/* Transformations of a number by the places of the training values (quantile, bins), of seconds, of two numbers. */
#include <math.h>

#include "pipeline/transform_table.h"

#define ML "ai.onnx.ml"

/* --- quantile ----------------------------------------------------------------------------------------------------- */

/* Share of sorted values below x plus half of those equal to it. */
static double middle_rank(const double *sorted, guint64 n, double x)
{
  guint64 below = 0, most = n;
  for (guint64 high = n; below < high;) {
    guint64 middle = below + (high - below) / 2;
    if (sorted[middle] < x)
      below = middle + 1;
    else
      high = middle;
  }
  guint64 end = below;
  while (end < most) {
    guint64 middle = end + (most - end) / 2;
    if (sorted[middle] <= x)
      end = middle + 1;
    else
      most = middle;
  }
  return ((double)below + (double)end) / 2 / (double)n;
}

/* Knots: distinct quantiles, and their middle ranks moved to [-sqrt 3, sqrt 3], which has mean 0 and sd 1. As
 * numbers: count of knots, places, heights. */
gboolean pipeline_fit_quantile(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  guint64 n;
  (void)error;
  g_autofree double *sorted = pipeline_fit_sorted(fit, &n);
  g_autoptr(GArray) knots = g_array_new(FALSE, FALSE, sizeof(double));
  guint wanted = (guint)fit->parameter;
  for (guint i = 0; n > 0 && i < wanted; i++) {
    double value = (double)(float)pipeline_sorted_quantile(sorted, n, (double)i / (wanted - 1));
    if (knots->len == 0 || value > g_array_index(knots, double, knots->len - 1)) g_array_append_val(knots, value);
  }
  pipeline_state_add(state, knots->len);
  for (guint i = 0; i < knots->len; i++) pipeline_state_add(state, g_array_index(knots, double, i));
  for (guint i = 0; i < knots->len; i++)
    pipeline_state_add(state, sqrt(12) * (middle_rank(sorted, n, g_array_index(knots, double, i)) - .5));
  return TRUE;
}

/* First height + sum over pieces of slope * min(max(x - left, 0), length): constant beyond the ends, also at
 * infinities. */
const gchar *pipeline_emit_quantile(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  guint n = (guint)pipeline_state_get(state, 0);
  if (n < 2) /* a column that does not vary is 0, whatever comes */
    return pipeline_emit_cast(emit, pipeline_emit_one(emit, "IsNaN", inputs[0]), ONNX_TYPE_FLOAT);
  const double *left = &g_array_index(state->numbers, double, 1), *height = left + n;
  g_autofree double *lengths = g_new(double, n - 1), *slopes = g_new(double, n - 1);
  for (guint i = 0; i + 1 < n; i++) {
    lengths[i] = left[i + 1] - left[i];
    slopes[i] = (height[i + 1] - height[i]) / lengths[i];
  }
  const gchar *over = pipeline_emit_two(emit, "Sub", inputs[0], pipeline_emit_floats(emit, left, n - 1));
  over = pipeline_emit_one(emit, "Relu", over);
  over = pipeline_emit_two(emit, "Min", over, pipeline_emit_floats(emit, lengths, n - 1));
  over = pipeline_emit_two(emit, "Mul", over, pipeline_emit_floats(emit, slopes, n - 1));
  const gchar *axes[] = {over, pipeline_emit_integers(emit, (const gint64[]){1}, 1)};
  const gchar *sum = pipeline_emit_node(emit, "", "ReduceSum", axes, 2, NULL);
  return pipeline_emit_two(emit, "Add", sum, pipeline_emit_float(emit, height[0]));
}

/* --- bins --------------------------------------------------------------------------------------------------------- */

/* Inner edges: distinct quantiles above the smallest value. A bin is [edge, next edge). */
gboolean pipeline_fit_bins(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  guint64 n;
  (void)error;
  g_autofree double *sorted = pipeline_fit_sorted(fit, &n);
  guint wanted = (guint)fit->parameter;
  double last = n > 0 ? sorted[0] : INFINITY;
  for (guint i = 1; n > 0 && i < wanted; i++) {
    double edge = (double)(float)pipeline_sorted_quantile(sorted, n, (double)i / wanted);
    if (edge <= last) continue;
    pipeline_state_add(state, edge);
    last = edge;
  }
  state->width = state->numbers->len + 1;
  for (guint i = 0; i < state->width; i++) {
    if (i + 1 == state->width)
      g_ptr_array_add(state->labels,
                      i == 0 ? g_strdup("any") : g_strdup_printf(">=%.6g", pipeline_state_get(state, i - 1)));
    else
      g_ptr_array_add(state->labels, g_strdup_printf("<%.6g", pipeline_state_get(state, i)));
  }
  return TRUE;
}

/* at or above the lower edge (the first is minus infinity), and not at or above the upper one (the last is NaN, which
 * nothing is): a missing number is in no bin, an infinite one in the outer ones. */
const gchar *pipeline_emit_bins(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  guint n = state->width;
  g_autofree double *lower = g_new(double, n), *upper = g_new(double, n);
  for (guint i = 0; i < n; i++) {
    lower[i] = i > 0 ? pipeline_state_get(state, i - 1) : -INFINITY;
    upper[i] = i + 1 < n ? pipeline_state_get(state, i) : NAN;
  }
  const gchar *reached = pipeline_emit_two(emit, "GreaterOrEqual", inputs[0], pipeline_emit_floats(emit, lower, n));
  const gchar *passed = pipeline_emit_two(emit, "GreaterOrEqual", inputs[0], pipeline_emit_floats(emit, upper, n));
  const gchar *within = pipeline_emit_two(emit, "And", reached, pipeline_emit_one(emit, "Not", passed));
  return pipeline_emit_cast(emit, within, ONNX_TYPE_FLOAT);
}

/* --- seconds ------------------------------------------------------------------------------------------------------ */

#define DAY 86400
#define YEAR 31556952 /* of the Gregorian calendar on average: 365.2425 days */
#define MOST_SECONDS 1e15

gboolean pipeline_fit_calendar(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  static const gchar *const names[] = {"hour_sin",  "hour_cos", "year_sin", "year_cos", "monday", "tuesday",
                                       "wednesday", "thursday", "friday",   "saturday", "sunday"};
  for (guint64 i = 0; i < fit->n_rows; i++) {
    double seconds = fit->inputs[0]->numbers[fit->rows[i]];
    if (isnan(seconds) || fabs(seconds) <= MOST_SECONDS) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "column \"%s\", row %" G_GUINT64_FORMAT ": %g is no time in seconds since 1970; divide milliseconds by "
                "1000",
                fit->column, fit->rows[i], seconds);
    return FALSE;
  }
  state->width = G_N_ELEMENTS(names);
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) g_ptr_array_add(state->labels, g_strdup(names[i]));
  return TRUE;
}

static const gchar *emit_wave(PipelineEmit *emit, const gchar *seconds, gint64 period, const gchar *function)
{
  const gchar *within = pipeline_emit_two(emit, "Mod", seconds, pipeline_emit_integer(emit, period));
  const gchar *angle = pipeline_emit_two(emit, "Mul", pipeline_emit_cast(emit, within, ONNX_TYPE_FLOAT),
                                         pipeline_emit_float(emit, 2 * G_PI / (double)period));
  return pipeline_emit_one(emit, function, angle);
}

/* 1970-01-01 was a Thursday, the fourth day. */
static const gchar *emit_weekday(PipelineEmit *emit, const gchar *seconds)
{
  static const gint64 days[] = {0, 1, 2, 3, 4, 5, 6};
  const gchar *shifted = pipeline_emit_two(emit, "Add", seconds, pipeline_emit_integer(emit, 3 * DAY));
  const gchar *in_week = pipeline_emit_two(emit, "Mod", shifted, pipeline_emit_integer(emit, 7 * DAY));
  const gchar *day = pipeline_emit_two(emit, "Div", in_week, pipeline_emit_integer(emit, DAY));
  const gchar *one_hot = pipeline_emit_two(emit, "Equal", day, pipeline_emit_integers(emit, days, 7));
  return pipeline_emit_cast(emit, one_hot, ONNX_TYPE_FLOAT);
}

/* Whole seconds since 1970 (UTC). A missing or infinite time makes zeros of everything. */
const gchar *pipeline_emit_calendar(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  (void)state;
  const gchar *size = pipeline_emit_one(emit, "Abs", inputs[0]);
  const gchar *known = pipeline_emit_two(emit, "LessOrEqual", pipeline_emit_cast(emit, size, ONNX_TYPE_FLOAT),
                                         pipeline_emit_float(emit, MOST_SECONDS));
  const gchar *zero = pipeline_emit_cast(emit, pipeline_emit_float(emit, 0), ONNX_TYPE_DOUBLE);
  const gchar *choices[] = {known, inputs[0], zero};
  const gchar *usable = pipeline_emit_one(emit, "Floor", pipeline_emit_node(emit, "", "Where", choices, 3, NULL));
  const gchar *seconds = pipeline_emit_cast(emit, usable, ONNX_TYPE_INT64);
  const gchar *parts[] = {emit_wave(emit, seconds, DAY, "Sin"), emit_wave(emit, seconds, DAY, "Cos"),
                          emit_wave(emit, seconds, YEAR, "Sin"), emit_wave(emit, seconds, YEAR, "Cos"),
                          emit_weekday(emit, seconds)};
  const gchar *all = pipeline_emit_concat(emit, parts, G_N_ELEMENTS(parts));
  return pipeline_emit_two(emit, "Mul", all, pipeline_emit_cast(emit, known, ONNX_TYPE_FLOAT));
}

/* --- two numbers -------------------------------------------------------------------------------------------------- */

gboolean pipeline_fit_product(const PipelineTransformFit *fit, PipelineTransformState *state, GError **error)
{
  (void)fit, (void)state, (void)error;
  return TRUE;
}

const gchar *pipeline_emit_product(PipelineEmit *emit, const PipelineTransformState *state, const gchar *const *inputs)
{
  (void)state;
  return pipeline_emit_two(emit, "Mul", inputs[0], inputs[1]);
}
