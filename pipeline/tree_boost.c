#include "pipeline/tree_boost.h"

#include <math.h>
#include <string.h>

#include "pipeline/tree_quantile.h"
#include "pipeline/tree_xgboost.h"

#define LOSS_EVERY 25 /* rounds: the loss of all training rows costs about as much as a tenth of a round */

struct _PipelineTreeBoost {
  PipelineTreeSet train, validation;
  PipelineLoss loss;
  PipelineTreeOptions options;
  PipelineTreeRows *train_rows, *validation_rows; /* validation: NULL when there are none */
  float *raw, *validation_raw;                    /* of the ensemble, [n, n_outputs] */
  PipelineTreeEnsemble *ensemble;
  guint n_start;                /* its trees before the first round */
  PipelineTreeBooster *booster; /* of the open stretch, or NULL */
  GArray *parameters;           /* of PipelineTreeParameter, owned texts */
  guint64 seed;
  PipelineTreeState state, at_stretch;
};

static void parameter_clear(gpointer data)
{
  PipelineTreeParameter *parameter = data;
  g_free((gchar *)parameter->name);
  g_free((gchar *)parameter->value);
}

static void add_parameter(const gchar *name, const gchar *value, gpointer data)
{
  PipelineTreeParameter parameter = {g_strdup(name), g_strdup(value)};
  g_array_append_val((GArray *)data, parameter);
}

static void make_parameters(PipelineTreeBoost *boost, const gchar *monotone, guint64 seed)
{
  static const gchar *const objectives[] = {[PIPELINE_LOSS_SOFTMAX] = "multi:softprob",
                                            [PIPELINE_LOSS_SIGMOID] = "binary:logistic",
                                            [PIPELINE_LOSS_SQUARED] = "reg:squarederror",
                                            /* its gradients are ours: a name that makes none of its own */
                                            [PIPELINE_LOSS_QUANTILE] = "reg:squarederror"};
  GArray *parameters = boost->parameters = g_array_new(TRUE, FALSE, sizeof(PipelineTreeParameter));
  g_array_set_clear_func(parameters, parameter_clear);
  gchar base[G_ASCII_DTOSTR_BUF_SIZE];
  float start = boost->ensemble->base[0];
  double mean = boost->loss.kind == PIPELINE_LOSS_SIGMOID ? 1 / (1 + exp(-(double)start)) : (double)start;
  g_ascii_formatd(base, sizeof base, "%.9g", mean);
  boost->seed = seed;
  g_autofree gchar *seed_text = g_strdup_printf("%u", (guint)(seed & G_MAXINT32));
  g_autofree gchar *classes = g_strdup_printf("%u", boost->loss.n_outputs);
  add_parameter("objective", objectives[boost->loss.kind], parameters);
  add_parameter("base_score", base, parameters);
  add_parameter("seed", seed_text, parameters);
  add_parameter("seed_per_iteration", "1", parameters);
  if (boost->loss.n_outputs > 1) add_parameter("num_class", classes, parameters);
  if (monotone != NULL) add_parameter("monotone_constraints", monotone, parameters);
  pipeline_tree_options_foreach(&boost->options, add_parameter, parameters);
}

/* --- validation --------------------------------------------------------------------------------------------------- */

static void validate(PipelineTreeBoost *boost, const float *raw)
{
  const PipelineTreeSet *rows = &boost->validation;
  PipelineTreeState *state = &boost->state;
  state->validation_loss =
      pipeline_loss_evaluate(&boost->loss, raw, rows->targets, rows->weights, (guint)rows->n, NULL);
  state->validation_metric = pipeline_loss_metric(&boost->loss, raw, rows->targets, rows->weights, (guint)rows->n);
  if (!(state->validation_loss < state->best_loss) && !isnan(state->best_loss)) return;
  state->best_loss = state->validation_loss;
  state->best_metric = state->validation_metric;
  state->best_round = state->round;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static PipelineTreeRows *make_rows(const PipelineTreeSet *set, guint n_columns, GError **error)
{
  g_autoptr(PipelineTreeRows) rows = pipeline_tree_rows_new(set->x, set->n, n_columns, error);
  if (rows == NULL || !pipeline_tree_rows_set(rows, "label", set->targets, set->n, error)) return NULL;
  if (set->weights != NULL && !pipeline_tree_rows_set(rows, "weight", set->weights, set->n, error)) return NULL;
  return g_steal_pointer(&rows);
}

/* The raw outputs of the whole ensemble. */
static void make_raw(PipelineTreeBoost *boost)
{
  const PipelineTreeSet *sets[] = {&boost->train, &boost->validation};
  float *raws[] = {boost->raw, boost->validation_raw};
  for (guint i = 0; i < G_N_ELEMENTS(sets); i++) {
    pipeline_tree_ensemble_start(boost->ensemble, sets[i]->n, raws[i]);
    pipeline_tree_ensemble_add(boost->ensemble, 0, sets[i]->x, sets[i]->n, raws[i]);
  }
}

PipelineTreeBoost *pipeline_tree_boost_new(const PipelineTreeSet *train, const PipelineTreeSet *validation,
                                           const PipelineLoss *loss, const PipelineTreeOptions *options,
                                           const gchar *monotone, guint64 seed, PipelineTreeEnsemble *start,
                                           GError **error)
{
  g_autoptr(PipelineTreeBoost) boost = g_new0(PipelineTreeBoost, 1);
  boost->train = *train;
  boost->validation = *validation;
  boost->loss = *loss;
  boost->options = *options;
  boost->ensemble = start;
  boost->n_start = pipeline_tree_ensemble_n_trees(start);
  boost->state = (PipelineTreeState){
      .best_loss = NAN, .best_metric = NAN, .train_loss = NAN, .validation_loss = NAN, .validation_metric = NAN};
  make_parameters(boost, monotone, seed);
  boost->raw = g_try_new(float, train->n * loss->n_outputs + 1);
  boost->validation_raw = g_try_new(float, validation->n * loss->n_outputs + 1);
  if (boost->raw == NULL || boost->validation_raw == NULL || train->n > G_MAXINT32) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "no memory for %zu rows; use fewer", train->n);
    return NULL;
  }
  boost->train_rows = make_rows(train, start->n_columns, error);
  if (boost->train_rows == NULL) return NULL;
  if (validation->n > 0 && (boost->validation_rows = make_rows(validation, start->n_columns, error)) == NULL)
    return NULL;
  make_raw(boost);
  if (validation->n > 0 && boost->n_start > 0) validate(boost, boost->validation_raw);
  boost->at_stretch = boost->state;
  return g_steal_pointer(&boost);
}

void pipeline_tree_boost_free(PipelineTreeBoost *boost)
{
  if (boost == NULL) return;
  pipeline_tree_booster_free(boost->booster);
  pipeline_tree_rows_free(boost->train_rows);
  pipeline_tree_rows_free(boost->validation_rows);
  pipeline_tree_ensemble_free(boost->ensemble);
  g_clear_pointer(&boost->parameters, g_array_unref);
  g_free(boost->raw);
  g_free(boost->validation_raw);
  g_free(boost);
}

const PipelineTreeState *pipeline_tree_boost_get_state(const PipelineTreeBoost *boost)
{
  return &boost->state;
}

const PipelineTreeEnsemble *pipeline_tree_boost_get_ensemble(const PipelineTreeBoost *boost, PipelineTreeState *state)
{
  *state = boost->at_stretch;
  return boost->ensemble;
}

void pipeline_tree_boost_resume(PipelineTreeBoost *boost, PipelineTreeEnsemble *ensemble,
                                const PipelineTreeState *state)
{
  pipeline_tree_ensemble_free(boost->ensemble);
  boost->ensemble = ensemble;
  boost->state = boost->at_stretch = *state;
  make_raw(boost);
}

/* --- rounds ------------------------------------------------------------------------------------------------------- */

static gboolean open_stretch(PipelineTreeBoost *boost, GError **error)
{
  PipelineTreeRows *rows[] = {boost->train_rows, boost->validation_rows};
  guint width = boost->loss.n_outputs, n = boost->validation_rows != NULL ? 2 : 1;
  if (!pipeline_tree_rows_set(rows[0], "base_margin", boost->raw, boost->train.n * width, error)) return FALSE;
  if (n == 2 &&
      !pipeline_tree_rows_set(rows[1], "base_margin", boost->validation_raw, boost->validation.n * width, error))
    return FALSE;
  boost->booster =
      pipeline_tree_booster_new(rows, n, (const PipelineTreeParameter *)(gpointer)boost->parameters->data, error);
  return boost->booster != NULL;
}

/* Copies the raw outputs of the rows; they are cached in the booster. */
static gboolean keep_raw(PipelineTreeBoost *boost, PipelineTreeRows *rows, gsize n, float *raw, GError **error)
{
  gsize length;
  const float *values = pipeline_tree_booster_predict(boost->booster, rows, TRUE, &length, error);
  if (values == NULL) return FALSE;
  memcpy(raw, values, n * boost->loss.n_outputs * sizeof(float));
  return TRUE;
}

static gboolean close_stretch(PipelineTreeBoost *boost, GError **error)
{
  g_autoptr(GBytes) json = pipeline_tree_booster_to_json(boost->booster, error);
  if (json == NULL || !pipeline_tree_ensemble_append_json(boost->ensemble, json, error)) return FALSE;
  if (!boost->state.finished &&
      (!keep_raw(boost, boost->train_rows, boost->train.n, boost->raw, error) ||
       (boost->validation_rows != NULL &&
        !keep_raw(boost, boost->validation_rows, boost->validation.n, boost->validation_raw, error))))
    return FALSE;
  g_clear_pointer(&boost->booster, pipeline_tree_booster_free);
  boost->at_stretch = boost->state;
  return TRUE;
}

/* Whether it ends; now and then the loss of the training rows. raw: their outputs, or NULL: those of the booster. */
static gboolean finish_round(PipelineTreeBoost *boost, const float *raw, GError **error)
{
  PipelineTreeState *state = &boost->state;
  const PipelineTreeOptions *options = &boost->options;
  gsize length;
  state->finished = state->round >= options->rounds || (boost->validation_rows != NULL && options->patience > 0 &&
                                                        state->round - state->best_round >= options->patience);
  state->train_loss = NAN;
  if (state->round % LOSS_EVERY != 0 && !state->finished) return TRUE;
  if (raw == NULL) raw = pipeline_tree_booster_predict(boost->booster, boost->train_rows, TRUE, &length, error);
  if (raw == NULL) return FALSE;
  state->train_loss = pipeline_loss_evaluate(&boost->loss, raw, boost->train.targets, boost->train.weights,
                                             (guint)boost->train.n, NULL);
  if (isfinite(state->train_loss)) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DIVERGED,
              "boosting diverged in round %u: the loss is not finite; look for extreme labels and weights",
              state->round);
  return FALSE;
}

static gboolean measure(PipelineTreeBoost *boost, GError **error)
{
  gsize length;
  if (boost->validation_rows != NULL) {
    const float *raw = pipeline_tree_booster_predict(boost->booster, boost->validation_rows, TRUE, &length, error);
    if (raw == NULL) return FALSE;
    validate(boost, raw);
  }
  return finish_round(boost, NULL, error);
}

/* --- quantiles ---------------------------------------------------------------------------------------------------- */

/* A booster of this round alone; such rounds do not number themselves, so that each has a seed of its own. */
static PipelineTreeBooster *open_round(PipelineTreeBoost *boost, GError **error)
{
  PipelineTreeRows *rows[] = {boost->train_rows};
  for (guint i = 0; i < boost->parameters->len; i++) {
    PipelineTreeParameter *parameter = &g_array_index(boost->parameters, PipelineTreeParameter, i);
    if (!g_str_equal(parameter->name, "seed")) continue;
    g_free((gchar *)parameter->value);
    parameter->value = g_strdup_printf("%u", (guint)((boost->seed + boost->state.round) & G_MAXINT32));
  }
  return pipeline_tree_booster_new(rows, 1, (const PipelineTreeParameter *)(gpointer)boost->parameters->data, error);
}

static gboolean add_quantile_trees(PipelineTreeBoost *boost, GError **error)
{
  gsize n = boost->train.n * boost->loss.n_outputs;
  guint first = pipeline_tree_ensemble_n_trees(boost->ensemble);
  g_autofree float *gradients = g_new(float, n), *hessians = g_new(float, n);
  pipeline_tree_quantile_gradients(&boost->loss, &boost->train, boost->raw, gradients, hessians);
  g_autoptr(PipelineTreeBooster) booster = open_round(boost, error);
  if (booster == NULL || !pipeline_tree_booster_update_by(booster, boost->train_rows, gradients, hessians, n, error))
    return FALSE;
  g_autoptr(GBytes) json = pipeline_tree_booster_to_json(booster, error);
  if (json == NULL || !pipeline_tree_ensemble_append_json(boost->ensemble, json, error)) return FALSE;
  pipeline_tree_quantile_fill(boost->ensemble, first, &boost->loss, &boost->train, boost->raw, boost->options.eta);
  pipeline_tree_ensemble_add(boost->ensemble, first, boost->train.x, boost->train.n, boost->raw);
  pipeline_tree_ensemble_add(boost->ensemble, first, boost->validation.x, boost->validation.n, boost->validation_raw);
  return TRUE;
}

/* Every round is a stretch. */
static gboolean quantile_round(PipelineTreeBoost *boost, GError **error)
{
  if (!add_quantile_trees(boost, error)) return FALSE;
  boost->state.round++;
  if (boost->validation.n > 0) validate(boost, boost->validation_raw);
  if (!finish_round(boost, boost->raw, error)) return FALSE;
  boost->at_stretch = boost->state;
  return TRUE;
}

gboolean pipeline_tree_boost_round(PipelineTreeBoost *boost, GError **error)
{
  PipelineTreeState *state = &boost->state;
  g_return_val_if_fail(!state->finished, FALSE);
  if (boost->loss.kind == PIPELINE_LOSS_QUANTILE) return quantile_round(boost, error);
  if (boost->booster == NULL && !open_stretch(boost, error)) return FALSE;
  if (!pipeline_tree_booster_update(boost->booster, boost->train_rows, state->round, error)) return FALSE;
  state->round++;
  if (!measure(boost, error)) return FALSE;
  if (state->finished || state->round % PIPELINE_TREE_STRETCH == 0) return close_stretch(boost, error);
  return TRUE;
}

PipelineTreeEnsemble *pipeline_tree_boost_steal_result(PipelineTreeBoost *boost)
{
  if (boost->validation.n > 0)
    pipeline_tree_ensemble_truncate(boost->ensemble, boost->n_start + boost->state.best_round * boost->loss.n_outputs);
  return g_steal_pointer(&boost->ensemble);
}
