#include <math.h>
#include <string.h>

#include "drift/learner.h"
#include "drift/linear_internal.h"

#define STEPS 100
#define HALVINGS 40

typedef struct {
  guint d;
  double weights[]; /* [d + 1], the intercept last */
} Logistic;

static double linear(const double *weights, const double *row, guint d)
{
  double sum = weights[d];
  for (guint k = 0; k < d; k++) sum += weights[k] * row[k];
  return sum;
}

/* ln(1 + exp(x)) without overflow. */
static double softplus(double x)
{
  return fmax(x, 0) + log1p(exp(-fabs(x)));
}

/* Rows with their targets; row_weights NULL: all 1. */
typedef struct {
  const DriftMatrix *features;
  const double *targets, *row_weights;
} Rows;

static double weight_of(const Rows *rows, gsize i)
{
  return rows->row_weights != NULL ? rows->row_weights[i] : 1;
}

static double loss_of(const Rows *rows, const double *weights)
{
  const DriftMatrix *features = rows->features;
  guint d = features->d;
  double loss = 0;
  for (guint k = 0; k < d; k++) loss += .5 * weights[k] * weights[k];
  for (gsize i = 0; i < features->n; i++) {
    double z = linear(weights, features->values + i * d, d);
    loss += weight_of(rows, i) * (softplus(z) - rows->targets[i] * z);
  }
  return loss;
}

/* Gradient and the lower triangle of the Hessian. */
static void derivatives(const Rows *rows, const double *weights, double *gradient, double *hessian)
{
  const DriftMatrix *features = rows->features;
  guint d = features->d, size = d + 1;
  memset(hessian, 0, (gsize)size * size * sizeof *hessian);
  for (guint k = 0; k < d; k++) {
    gradient[k] = weights[k];
    hessian[k * size + k] = 1;
  }
  gradient[d] = 0;
  for (gsize i = 0; i < features->n; i++) {
    const double *row = features->values + i * d;
    double p = 1 / (1 + exp(-linear(weights, row, d))), weight = weight_of(rows, i);
    double residual = weight * (p - rows->targets[i]), curvature = weight * (p * (1 - p));
    for (guint j = 0; j < d; j++) {
      gradient[j] += residual * row[j];
      for (guint k = 0; k <= j; k++) hessian[j * size + k] += curvature * row[j] * row[k];
      hessian[d * size + j] += curvature * row[j];
    }
    gradient[d] += residual;
    hessian[d * size + d] += curvature;
  }
}

/* One step, halved until the loss does not rise. TRUE: it moved. */
static gboolean newton_step(const Rows *rows, double *weights, double *gradient, double *hessian, double *trial,
                            double *loss)
{
  const DriftMatrix *features = rows->features;
  guint size = features->d + 1;
  double largest = 0;
  derivatives(rows, weights, gradient, hessian);
  for (guint k = 0; k < size; k++) largest = fmax(largest, fabs(gradient[k]));
  if (largest < 1e-10 * (double)features->n) return FALSE;
  hessian[(gsize)size * size - 1] += 1e-12 * (double)features->n; /* rows told apart perfectly leave none */
  if (!drift_cholesky(hessian, size)) return FALSE;
  drift_cholesky_solve(hessian, size, gradient);
  double step = 1;
  for (guint halving = 0; halving < HALVINGS; halving++, step /= 2) {
    for (guint k = 0; k < size; k++) trial[k] = weights[k] - step * gradient[k];
    double next = loss_of(rows, trial);
    if (!(next < *loss)) continue;
    memcpy(weights, trial, size * sizeof *weights);
    *loss = next;
    return TRUE;
  }
  return FALSE;
}

static gpointer logistic_fit_weighted(const DriftMatrix *features, const double *targets, const double *row_weights,
                                      DriftGoal goal, guint64 seed, GError **error)
{
  const Rows rows = {features, targets, row_weights};
  guint size = features->d + 1;
  (void)seed;
  if (goal != DRIFT_GOAL_PROBABILITY || features->n == 0 || features->d == 0 ||
      features->d > DRIFT_MATRIX_MAX_COLUMNS) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "logistic regression predicts probabilities from at least one row and one column, at most %u",
                DRIFT_MATRIX_MAX_COLUMNS);
    return NULL;
  }
  Logistic *model = g_malloc0(sizeof *model + size * sizeof(double));
  g_autofree double *gradient = g_new(double, size), *trial = g_new(double, size),
                    *hessian = g_new(double, (gsize)size *size);
  model->d = features->d;
  double loss = loss_of(&rows, model->weights);
  for (guint step = 0; step < STEPS; step++)
    if (!newton_step(&rows, model->weights, gradient, hessian, trial, &loss)) break;
  return model;
}

static gpointer logistic_fit(const DriftMatrix *features, const double *targets, DriftGoal goal, guint64 seed,
                             GError **error)
{
  return logistic_fit_weighted(features, targets, NULL, goal, seed, error);
}

static gboolean logistic_predict(gconstpointer model, const DriftMatrix *features, double *predictions, GError **error)
{
  const Logistic *logistic = model;
  if (features->d != logistic->d) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH, "%u columns, the model was fitted to %u", features->d,
                logistic->d);
    return FALSE;
  }
  for (gsize i = 0; i < features->n; i++)
    predictions[i] = 1 / (1 + exp(-linear(logistic->weights, features->values + i * features->d, features->d)));
  return TRUE;
}

const DriftLearner drift_learner_logistic = {
    .name = "logistic",
    .summary = "logistic regression, ridge penalty 1/2",
    .takes_missing = FALSE,
    .fit = logistic_fit,
    .predict = logistic_predict,
    .free = g_free,
    .fit_weighted = logistic_fit_weighted,
};
