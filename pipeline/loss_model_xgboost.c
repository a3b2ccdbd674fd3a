#include "pipeline/loss_model_xgboost.h"

#include <math.h>
#include <xgboost/c_api.h>

#include "pipeline/error.h"

#define ROUNDS 100

static gboolean failed(GError **error)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "XGBoost: %s", XGBGetLastError());
  return FALSE;
}

/* targets and weights: [n] or NULL. */
static gboolean data_new(const DriftMatrix *features, const double *targets, const double *weights, DMatrixHandle *data,
                         GError **error)
{
  gsize cells = features->n * features->d;
  g_autofree float *values = g_try_new(float, MAX(cells, features->n) + 1);
  if (values == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "no memory for %zu rows of %u columns", features->n,
                features->d);
    return FALSE;
  }
  for (gsize i = 0; i < cells; i++) values[i] = (float)features->values[i];
  if (XGDMatrixCreateFromMat(values, features->n, features->d, NAN, data) != 0) return failed(error);
  const struct {
    const gchar *field;
    const double *numbers;
  } fields[] = {{"label", targets}, {"weight", weights}};
  for (guint f = 0; f < G_N_ELEMENTS(fields); f++) {
    if (fields[f].numbers == NULL) continue;
    for (gsize i = 0; i < features->n; i++) values[i] = (float)fields[f].numbers[i];
    if (XGDMatrixSetFloatInfo(*data, fields[f].field, values, features->n) == 0) continue;
    XGDMatrixFree(*data);
    return failed(error);
  }
  return TRUE;
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

static gboolean configure(BoosterHandle booster, DriftGoal goal, double start, guint64 seed, GError **error)
{
  static const gchar *const objectives[] = {
      [DRIFT_GOAL_PROBABILITY] = "binary:logistic", [DRIFT_GOAL_VALUE] = "reg:squarederror"};
  gchar start_text[G_ASCII_DTOSTR_BUF_SIZE];
  g_ascii_formatd(start_text, sizeof start_text, "%.9g", start);
  g_autofree gchar *seed_text = g_strdup_printf("%u", (guint)(seed & G_MAXINT32));
  const struct {
    const gchar *name, *value;
  } parameters[] = {{"objective", objectives[goal]},
                    {"base_score", start_text},
                    {"seed", seed_text},
                    {"nthread", "1"},
                    {"tree_method", "hist"},
                    {"max_depth", "6"},
                    {"eta", "0.1"},
                    {"min_child_weight", goal == DRIFT_GOAL_VALUE ? "20" : "1"},
                    {"verbosity", "0"}};
  for (guint i = 0; i < G_N_ELEMENTS(parameters); i++)
    if (XGBoosterSetParam(booster, parameters[i].name, parameters[i].value) != 0) return failed(error);
  return TRUE;
}

static void xgboost_free(gpointer model)
{
  XGBoosterFree(model);
}

static gpointer xgboost_fit_weighted(const DriftMatrix *features, const double *targets, const double *weights,
                                     DriftGoal goal, guint64 seed, GError **error)
{
  DMatrixHandle data;
  BoosterHandle booster = NULL;
  if (features->n == 0 || features->d == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "no rows or no columns to learn from");
    return NULL;
  }
  if (!data_new(features, targets, weights, &data, error)) return NULL;
  gboolean done = XGBoosterCreate(&data, 1, &booster) == 0 || failed(error);
  done = done && configure(booster, goal, start_of(targets, weights, features->n, goal), seed, error);
  for (int round = 0; done && round < ROUNDS; round++)
    done = XGBoosterUpdateOneIter(booster, round, data) == 0 || failed(error);
  XGDMatrixFree(data);
  if (!done && booster != NULL) g_clear_pointer(&booster, xgboost_free);
  return booster;
}

static gpointer xgboost_fit(const DriftMatrix *features, const double *targets, DriftGoal goal, guint64 seed,
                            GError **error)
{
  return xgboost_fit_weighted(features, targets, NULL, goal, seed, error);
}

static gboolean xgboost_predict(gconstpointer model, const DriftMatrix *features, double *predictions, GError **error)
{
  static const gchar configuration[] =
      "{\"type\": 0, \"training\": false, \"iteration_begin\": 0, \"iteration_end\": 0, \"strict_shape\": false}";
  DMatrixHandle data;
  const bst_ulong *shape;
  bst_ulong dimensions;
  const float *values;
  if (features->n == 0) return TRUE;
  if (!data_new(features, NULL, NULL, &data, error)) return FALSE;
  /* XGBoost's handles are not const, prediction leaves the model as it is */
  gboolean done =
      XGBoosterPredictFromDMatrix((BoosterHandle)model, data, configuration, &shape, &dimensions, &values) == 0 ||
      failed(error);
  for (gsize i = 0; done && i < features->n; i++) predictions[i] = values[i];
  XGDMatrixFree(data);
  return done;
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
