/* The maps: how each is fitted, applied to numbers, and written as nodes. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "pipeline/calibration_internal.h"
#include "pipeline/refit_ridge.h"

static double log_of(double p)
{
  return log(fmax(p, PIPELINE_CALIBRATION_FLOOR));
}

/* values [n] → softmax, in place. */
static void softmax(double *values, guint n)
{
  double highest = values[0], sum = 0;
  for (guint k = 1; k < n; k++) highest = fmax(highest, values[k]);
  for (guint k = 0; k < n; k++) sum += values[k] = exp(values[k] - highest);
  for (guint k = 0; k < n; k++) values[k] /= sum;
}

/* nodes->value becomes ln max(p, floor). */
static void write_logarithm(PipelineCalibrationNodes *nodes)
{
  const double floor_value = PIPELINE_CALIBRATION_FLOOR;
  const gchar *smallest = pipeline_calibration_constant(nodes, 0, 1, &floor_value);
  pipeline_calibration_add(nodes, "Max", (const gchar *const[]){nodes->value, smallest, NULL});
  pipeline_calibration_add(nodes, "Log", (const gchar *const[]){nodes->value, NULL});
}

static void write_softmax(PipelineCalibrationNodes *nodes)
{
  onnx_node_set_int(pipeline_calibration_add(nodes, "Softmax", (const gchar *const[]){nodes->value, NULL}), "axis", 1);
}

/* --- temperature -------------------------------------------------------------------------------------------------- */

static gboolean fit_temperature(PipelineCalibrationFit *fit, const PipelineCalibrationRows *rows, GError **error)
{
  (void)error;
  g_autofree double *logarithms = g_new(double, rows->n * rows->n_classes);
  for (gsize i = 0; i < rows->n * rows->n_classes; i++) logarithms[i] = log_of(rows->p[i]);
  fit->slope = pipeline_calibrate_scale(logarithms, rows->labels, NULL, rows->n, rows->n_classes);
  return TRUE;
}

static void apply_temperature(const PipelineCalibrationFit *fit, const PipelineCalibrationRows *rows, double *p)
{
  for (gsize i = 0; i < rows->n; i++) {
    double *row = p + i * rows->n_classes;
    for (guint k = 0; k < rows->n_classes; k++) row[k] = fit->slope * log_of(rows->p[i * rows->n_classes + k]);
    softmax(row, rows->n_classes);
  }
}

static void write_temperature(const PipelineCalibrationFit *fit, PipelineCalibrationNodes *nodes)
{
  write_logarithm(nodes);
  const gchar *slope = pipeline_calibration_constant(nodes, 0, 1, &fit->slope);
  pipeline_calibration_add(nodes, "Mul", (const gchar *const[]){nodes->value, slope, NULL});
  write_softmax(nodes);
}

/* --- platt -------------------------------------------------------------------------------------------------------- */

static double logit_of(const PipelineCalibrationRows *rows, gsize i)
{
  const double *row = rows->p + 2 * i;
  return log_of(row[rows->positive]) - log_of(row[1 - rows->positive]);
}

static gboolean fit_platt(PipelineCalibrationFit *fit, const PipelineCalibrationRows *rows, GError **error)
{
  (void)error;
  g_autofree double *scores = g_new(double, rows->n);
  g_autofree guint8 *labels = g_new(guint8, rows->n);
  for (gsize i = 0; i < rows->n; i++) {
    scores[i] = logit_of(rows, i);
    labels[i] = rows->labels[i] == rows->positive;
  }
  pipeline_calibrate_binary(scores, labels, NULL, rows->n, &fit->slope, &fit->intercept);
  return TRUE;
}

static void apply_platt(const PipelineCalibrationFit *fit, const PipelineCalibrationRows *rows, double *p)
{
  for (gsize i = 0; i < rows->n; i++) {
    double logits[2] = {0, 0};
    logits[rows->positive] = fit->slope * logit_of(rows, i) + fit->intercept;
    softmax(logits, 2);
    memcpy(p + 2 * i, logits, sizeof logits);
  }
}

/* [ln p] × weights + bias has a·logit + b in the positive column and 0 in the other. */
static void write_platt(const PipelineCalibrationFit *fit, PipelineCalibrationNodes *nodes)
{
  guint positive = nodes->positive;
  double weights[4] = {0}, bias[2] = {0};
  weights[2 * positive + positive] = fit->slope;
  weights[2 * (1 - positive) + positive] = -fit->slope;
  bias[positive] = fit->intercept;
  write_logarithm(nodes);
  const gchar *weight = pipeline_calibration_constant(nodes, 2, 2, weights);
  pipeline_calibration_add(nodes, "MatMul", (const gchar *const[]){nodes->value, weight, NULL});
  const gchar *shift = pipeline_calibration_constant(nodes, 0, 2, bias);
  pipeline_calibration_add(nodes, "Add", (const gchar *const[]){nodes->value, shift, NULL});
  write_softmax(nodes);
}

/* --- isotonic ----------------------------------------------------------------------------------------------------- */

#define SMALLEST_SUM 1e-9 /* added to each class, so that a row of zeros becomes equal shares */

static gboolean fit_isotonic(PipelineCalibrationFit *fit, const PipelineCalibrationRows *rows, GError **error)
{
  g_autofree double *scores = g_new(double, rows->n), *outcomes = g_new(double, rows->n);
  double n = (double)rows->n;
  fit->n_isotonic = rows->n_classes == 2 ? 1 : rows->n_classes;
  fit->isotonic = g_new0(DriftIsotonic *, fit->n_isotonic);
  for (guint k = 0; k < fit->n_isotonic; k++) {
    guint class = rows->n_classes == 2 ? rows->positive : k;
    for (gsize i = 0; i < rows->n; i++) {
      scores[i] = rows->p[i * rows->n_classes + class];
      outcomes[i] = rows->labels[i] == class;
    }
    fit->isotonic[k] = drift_isotonic_fit(scores, outcomes, rows->n, error);
    if (fit->isotonic[k] == NULL) return FALSE;
    for (gsize j = 0; j < fit->isotonic[k]->n_knots; j++)
      fit->isotonic[k]->y[j] = CLAMP(fit->isotonic[k]->y[j], 1 / (n + 2), (n + 1) / (n + 2));
  }
  return TRUE;
}

static void apply_isotonic(const PipelineCalibrationFit *fit, const PipelineCalibrationRows *rows, double *p)
{
  guint n_classes = rows->n_classes;
  for (gsize i = 0; i < rows->n; i++) {
    const double *from = rows->p + i * n_classes;
    double *row = p + i * n_classes, sum = 0;
    if (n_classes == 2) {
      drift_isotonic_apply(fit->isotonic[0], &from[rows->positive], 1, &row[rows->positive]);
      row[1 - rows->positive] = 1 - row[rows->positive];
      continue;
    }
    for (guint k = 0; k < n_classes; k++) {
      drift_isotonic_apply(fit->isotonic[k], &from[k], 1, &row[k]);
      sum += row[k] += SMALLEST_SUM;
    }
    for (guint k = 0; k < n_classes; k++) row[k] /= sum;
  }
}

/* y₀ + Σ Δyⱼ min(max((p − xⱼ) / Δxⱼ, 0), 1) of column `column` of `from`: each step lies between 0 and Δyⱼ in
 * whatever rounding, so that the function never falls. Returns the value [N, 1], new. */
static gchar *write_steps(const DriftIsotonic *isotonic, PipelineCalibrationNodes *nodes, const gchar *from,
                          guint column)
{
  gsize n = isotonic->n_knots - 1;
  const double zero = 0, one = 1;
  g_autofree double *inverse = g_new(double, n + 1), *rise = g_new(double, n + 1);
  g_autofree double *weights = g_new0(double, nodes->n_columns);
  for (gsize j = 0; j < n; j++) {
    inverse[j] = fmin(1 / (isotonic->x[j + 1] - isotonic->x[j]), 1e37);
    rise[j] = isotonic->y[j + 1] - isotonic->y[j];
  }
  inverse[n] = rise[n] = 0; /* a lone knot has no step: one that never rises stands in */
  gint64 steps = (gint64)MAX(n, 1);
  weights[column] = 1;
  const gchar *selection = pipeline_calibration_constant(nodes, nodes->n_columns, 1, weights);
  pipeline_calibration_add(nodes, "MatMul", (const gchar *const[]){from, selection, NULL});
  const gchar *knots = pipeline_calibration_constant(nodes, 0, steps, isotonic->x);
  pipeline_calibration_add(nodes, "Sub", (const gchar *const[]){nodes->value, knots, NULL});
  const gchar *factors = pipeline_calibration_constant(nodes, 0, steps, inverse);
  pipeline_calibration_add(nodes, "Mul", (const gchar *const[]){nodes->value, factors, NULL});
  const gchar *low = pipeline_calibration_constant(nodes, 0, 1, &zero);
  pipeline_calibration_add(nodes, "Max", (const gchar *const[]){nodes->value, low, NULL});
  const gchar *high = pipeline_calibration_constant(nodes, 0, 1, &one);
  pipeline_calibration_add(nodes, "Min", (const gchar *const[]){nodes->value, high, NULL});
  const gchar *rises = pipeline_calibration_constant(nodes, steps, 1, rise);
  pipeline_calibration_add(nodes, "MatMul", (const gchar *const[]){nodes->value, rises, NULL});
  const gchar *first = pipeline_calibration_constant(nodes, 0, 1, isotonic->y);
  pipeline_calibration_add(nodes, "Add", (const gchar *const[]){nodes->value, first, NULL});
  return g_strdup(nodes->value);
}

static void join(PipelineCalibrationNodes *nodes, GPtrArray *columns)
{
  g_ptr_array_add(columns, NULL);
  onnx_node_set_int(pipeline_calibration_add(nodes, "Concat", (const gchar *const *)columns->pdata), "axis", 1);
}

static void write_isotonic(const PipelineCalibrationFit *fit, PipelineCalibrationNodes *nodes)
{
  const double one = 1, smallest = SMALLEST_SUM;
  g_autofree gchar *from = g_strdup(nodes->value);
  g_autoptr(GPtrArray) columns = g_ptr_array_new_with_free_func(g_free);
  if (fit->n_isotonic == 1) {
    gchar *positive = write_steps(fit->isotonic[0], nodes, from, nodes->positive);
    const gchar *whole = pipeline_calibration_constant(nodes, 0, 1, &one);
    pipeline_calibration_add(nodes, "Sub", (const gchar *const[]){whole, positive, NULL});
    gchar *negative = g_strdup(nodes->value);
    g_ptr_array_add(columns, nodes->positive == 0 ? positive : negative);
    g_ptr_array_add(columns, nodes->positive == 0 ? negative : positive);
    join(nodes, columns);
    return;
  }
  for (guint c = 0; c < nodes->n_columns; c++)
    g_ptr_array_add(columns, write_steps(fit->isotonic[nodes->class_of[c]], nodes, from, c));
  join(nodes, columns);
  const gchar *little = pipeline_calibration_constant(nodes, 0, 1, &smallest);
  pipeline_calibration_add(nodes, "Add", (const gchar *const[]){nodes->value, little, NULL});
  g_autofree gchar *shares = g_strdup(nodes->value);
  g_autofree double *ones = g_new(double, nodes->n_columns);
  for (guint c = 0; c < nodes->n_columns; c++) ones[c] = 1;
  const gchar *all = pipeline_calibration_constant(nodes, nodes->n_columns, 1, ones);
  pipeline_calibration_add(nodes, "MatMul", (const gchar *const[]){shares, all, NULL});
  g_autofree gchar *sum = g_strdup(nodes->value);
  pipeline_calibration_add(nodes, "Div", (const gchar *const[]){shares, sum, NULL});
}

/* --- none, and the table ------------------------------------------------------------------------------------------ */

static gboolean fit_none(PipelineCalibrationFit *fit, const PipelineCalibrationRows *rows, GError **error)
{
  (void)fit, (void)rows, (void)error;
  return TRUE;
}

static void apply_none(const PipelineCalibrationFit *fit, const PipelineCalibrationRows *rows, double *p)
{
  (void)fit;
  memcpy(p, rows->p, rows->n * rows->n_classes * sizeof *p);
}

static void write_none(const PipelineCalibrationFit *fit, PipelineCalibrationNodes *nodes)
{
  (void)fit, (void)nodes;
}

/* In the order in which "auto" prefers equally good ones. */
const PipelineCalibrationMap pipeline_calibration_maps[] = {
    {"none", FALSE, fit_none, apply_none, write_none},
    {"temperature", FALSE, fit_temperature, apply_temperature, write_temperature},
    {"platt", TRUE, fit_platt, apply_platt, write_platt},
    {"isotonic", FALSE, fit_isotonic, apply_isotonic, write_isotonic},
    {.name = NULL},
};

const PipelineCalibrationMap *pipeline_calibration_map_find(const gchar *name, GError **error)
{
  g_autoptr(GString) known = g_string_new("auto");
  for (const PipelineCalibrationMap *map = pipeline_calibration_maps; map->name != NULL; map++) {
    if (strcmp(map->name, name) == 0) return map;
    g_string_append_printf(known, ", %s", map->name);
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "there is no calibration '%s'; known: %s", name,
              known->str);
  return NULL;
}

void pipeline_calibration_fit_clear(PipelineCalibrationFit *fit)
{
  for (guint k = 0; fit->isotonic != NULL && k < fit->n_isotonic; k++)
    if (fit->isotonic[k] != NULL) drift_isotonic_free(fit->isotonic[k]);
  g_free(fit->isotonic);
  *fit = (PipelineCalibrationFit){0};
}
