#include "pipeline/loss_model_xgboost.h"

#include "pipeline/tree_xgboost.h"

#define ROUNDS 100

/* targets and weights: [n] or NULL. */
static PipelineTreeRows *rows_new(const DriftMatrix *features, const double *targets, const double *weights,
                                  GError **error)
{
  gsize cells = features->n * features->d;
  g_autofree float *values = g_try_new(float, MAX(cells, features->n) + 1);
  if (values == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "no memory for %zu rows of %u columns", features->n,
                features->d);
    return NULL;
  }
  for (gsize i = 0; i < cells; i++) values[i] = (float)features->values[i];
  g_autoptr(PipelineTreeRows) rows = pipeline_tree_rows_new(values, features->n, features->d, error);
  const struct {
    const gchar *field;
    const double *numbers;
  } fields[] = {{"label", targets}, {"weight", weights}};
  for (guint f = 0; rows != NULL && f < G_N_ELEMENTS(fields); f++) {
    if (fields[f].numbers == NULL) continue;
    for (gsize i = 0; i < features->n; i++) values[i] = (float)fields[f].numbers[i];
    if (!pipeline_tree_rows_set(rows, fields[f].field, values, features->n, error)) return NULL;
  }
  return g_steal_pointer(&rows);
}

/* What the trees start from: the mean, so that few rounds suffice far from .5. */
static double start_of(const double *targets, const double *weights, gsize n, DriftGoal goal)
{
  double sum = 0, total = 0;
  for (gsize i = 0; i < n; i++) {
    double weight = weights != NULL ? weights[i] : 1;
    sum += weight * targets[i];
    total += weight;
  }
  double mean = total > 0 ? sum / total : 0;
  return goal == DRIFT_GOAL_PROBABILITY ? CLAMP(mean, 1e-6, 1 - 1e-6) : mean;
}

static PipelineTreeBooster *booster_new(PipelineTreeRows *rows, DriftGoal goal, double start, guint64 seed,
                                        GError **error)
{
  static const gchar *const objectives[] = {
      [DRIFT_GOAL_PROBABILITY] = "binary:logistic", [DRIFT_GOAL_VALUE] = "reg:squarederror"};
  gchar start_text[G_ASCII_DTOSTR_BUF_SIZE];
  g_ascii_formatd(start_text, sizeof start_text, "%.9g", start);
  g_autofree gchar *seed_text = g_strdup_printf("%u", (guint)(seed & G_MAXINT32));
  const PipelineTreeParameter parameters[] = {{"objective", objectives[goal]},
                                              {"base_score", start_text},
                                              {"seed", seed_text},
                                              {"max_depth", "6"},
                                              {"eta", "0.1"},
                                              {"min_child_weight", goal == DRIFT_GOAL_VALUE ? "20" : "1"},
                                              {NULL, NULL}};
  return pipeline_tree_booster_new(&rows, 1, parameters, error);
}

static void xgboost_free(gpointer model)
{
  pipeline_tree_booster_free(model);
}

static gpointer xgboost_fit_weighted(const DriftMatrix *features, const double *targets, const double *weights,
                                     DriftGoal goal, guint64 seed, GError **error)
{
  g_autoptr(PipelineTreeRows) rows = rows_new(features, targets, weights, error);
  if (rows == NULL) return NULL;
  g_autoptr(PipelineTreeBooster) booster =
      booster_new(rows, goal, start_of(targets, weights, features->n, goal), seed, error);
  for (guint round = 0; booster != NULL && round < ROUNDS; round++)
    if (!pipeline_tree_booster_update(booster, rows, round, error)) return NULL;
  return g_steal_pointer(&booster);
}

static gpointer xgboost_fit(const DriftMatrix *features, const double *targets, DriftGoal goal, guint64 seed,
                            GError **error)
{
  return xgboost_fit_weighted(features, targets, NULL, goal, seed, error);
}

static gboolean xgboost_predict(gconstpointer model, const DriftMatrix *features, double *predictions, GError **error)
{
  gsize length;
  if (features->n == 0) return TRUE;
  g_autoptr(PipelineTreeRows) rows = rows_new(features, NULL, NULL, error);
  const float *values = rows != NULL ? pipeline_tree_booster_predict(model, rows, FALSE, &length, error) : NULL;
  for (gsize i = 0; values != NULL && i < features->n; i++) predictions[i] = (double)values[i];
  return values != NULL;
}

const DriftLearner pipeline_loss_model_xgboost = {
    .name = "xgboost",
    .summary = "100 boosted trees of depth 6",
    .takes_missing = TRUE,
    .fit = xgboost_fit,
    .predict = xgboost_predict,
    .free = xgboost_free,
    .fit_weighted = xgboost_fit_weighted,
};
