#include "pipeline/harden.h"

#include <math.h>
#include <string.h>

#include "pipeline/graph_fit_internal.h"

#define COLLAPSE 0.5       /* of the best accuracy under PGD */
#define COLLAPSE_LEAST 0.2 /* best accuracy that can collapse */
#define WATCHED_SHARE 0.15 /* of an epoch's passes */
#define WATCHED_LEAST 64
#define WATCHED_MOST 512
#define DEFAULT_REPLAYS 4u
#define DEFAULT_BETA 6.0

struct _PipelineHarden {
  PipelineGraphFit *fit;
  PipelineGraphPass *pass; /* in prediction mode, gradient of the input alone */
  PipelineAttackBall ball;
  float *points;     /* [rows, width] */
  float *target;     /* of trades: logits of the clean rows; else NULL */
  GArray *head;      /* of float: gradient of the divergence */
  gboolean diverges; /* the present climb raises the divergence from target, not the loss */
};

/* --- the table ---------------------------------------------------------------------------------------------------- */

static double learn_pgd(PipelineHarden *harden, guint n, double *norm, GError **error);
static double learn_free(PipelineHarden *harden, guint n, double *norm, GError **error);
static double learn_trades(PipelineHarden *harden, guint n, double *norm, GError **error);

const PipelineHardenMethod pipeline_harden_methods[] = {
    {.name = "pgd",
     .summary = "PGD on every batch: the strongest, steps + 1 times the cost",
     .norm_2 = TRUE,
     .steps = 7,
     .step_factor = 2.5,
     .learn = learn_pgd},
    {.name = "free",
     .summary = "every batch replayed, one backward pass for weights and rows",
     .needs_input_gradient = TRUE,
     .replays = TRUE,
     .steps = 1,
     .step_factor = 1,
     .learn = learn_free},
    {.name = "fast",
     .summary = "one large step from a random start; watched for catastrophic overfitting",
     .norm_2 = TRUE,
     .steps = 1,
     .step_factor = 1.25,
     .learn = learn_pgd},
    {.name = "trades",
     .summary = "clean loss plus beta times the divergence that PGD finds",
     .doubles = TRUE,
     .one_class_loss = TRUE,
     .norm_2 = TRUE,
     .steps = 7,
     .step_factor = 2.5,
     .learn = learn_trades},
    {.name = NULL}};

const PipelineHardenMethod *pipeline_harden_find(const gchar *name, GError **error)
{
  g_autoptr(GString) known = g_string_new("");
  for (const PipelineHardenMethod *method = pipeline_harden_methods; method->name != NULL; method++) {
    if (strcmp(method->name, name) == 0) return method;
    g_string_append_printf(known, "%s%s", known->len > 0 ? ", " : "", method->name);
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "there is no adversarial training '%s'; known are %s",
              name, known->str);
  return NULL;
}

gboolean pipeline_harden_check(const PipelineHardenOptions *options, gboolean mixed, guint n_heads, GError **error)
{
  const PipelineHardenMethod *method = options->method;
  if (method == NULL) return TRUE;
  const struct {
    gboolean good;
    const gchar *message;
  } rules[] = {
      {options->epsilon > 0 && isfinite(options->epsilon), "adversarial training needs an epsilon above 0"},
      {options->steps <= 1000, "the adversarial steps must be at most 1000"},
      {options->step_size >= 0 && isfinite(options->step_size), "the adversarial step size must not be negative"},
      {options->replays <= 100, "the replays must be at most 100"},
      {options->beta >= 0 && options->beta <= 1e6, "beta must be from 0 to 1000000"},
      {!mixed, "mixup and adversarial training exclude each other"},
      {!method->one_class_loss || n_heads == 1, "trades trains models of one output"},
      {options->norm == PIPELINE_NORM_INFINITY || method->norm_2, "free adversarial training is for the norm inf"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(rules); i++) {
    if (rules[i].good) continue;
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, rules[i].message);
    return FALSE;
  }
  return TRUE;
}

guint pipeline_harden_batch_factor(const PipelineHardenOptions *options)
{
  return options->method != NULL && options->method->doubles ? 2 : 1;
}

guint pipeline_harden_count_steps(const PipelineHardenOptions *options)
{
  if (options->method == NULL || !options->method->replays) return 1;
  return options->replays > 0 ? options->replays : DEFAULT_REPLAYS;
}

static const gchar *input_name(const OnnxGraph *graph)
{
  return ((const OnnxValue *)g_ptr_array_index(graph->inputs, 0))->name;
}

const gchar **pipeline_harden_list_wanted(const PipelineHardenOptions *options, const OnnxGraph *graph,
                                          const PipelineGraphPlan *plan)
{
  const gchar **names = pipeline_graph_plan_list_names(plan);
  if (options->method == NULL || !options->method->needs_input_gradient) return names;
  names = g_renew(const gchar *, names, plan->parameters->len + 2);
  names[plan->parameters->len] = input_name(graph);
  names[plan->parameters->len + 1] = NULL;
  return names;
}

/* --- making ------------------------------------------------------------------------------------------------------- */

static PipelineGraphPass *make_pass(PipelineGraphFit *fit, const PipelineGradientBackend *backend, GError **error)
{
  g_autoptr(GPtrArray) variables = g_ptr_array_new();
  g_autofree const gchar **heads = g_new0(const gchar *, fit->n_heads + 1);
  for (guint i = 0; i < fit->plan->parameters->len; i++)
    g_ptr_array_add(variables, (gpointer)g_array_index(fit->plan->parameters, PipelineGraphParameter, i).name);
  for (guint i = 0; i < fit->plan->statistics->len; i++)
    g_ptr_array_add(variables, (gpointer)g_array_index(fit->plan->statistics, PipelineGraphStatistic, i).name);
  g_ptr_array_add(variables, NULL);
  for (guint i = 0; i < fit->n_heads; i++) heads[i] = fit->heads[i].value;
  const gchar *wanted[] = {input_name(fit->graph), NULL};
  const PipelineGraphPassOptions options = {
      .wanted = wanted, .heads = heads, .backend = backend, .variables = (const gchar *const *)variables->pdata};
  return pipeline_graph_pass_new(fit->graph, &options, error);
}

PipelineHarden *pipeline_harden_new(PipelineGraphFit *fit, const PipelineGradientBackend *backend, GError **error)
{
  const PipelineHardenOptions *options = &fit->options.harden;
  gsize width = fit->row_width, rows = MAX((gsize)fit->options.batch_size * pipeline_harden_batch_factor(options),
                                           PIPELINE_FIT_EVALUATION_ROWS);
  gboolean classes = fit->heads[0].loss->is_class || (strcmp(fit->heads[0].loss->name, "binary") == 0 &&
                                                      pipeline_graph_pass_get_head(fit->pass, 0)->n == 1);
  if (options->method->one_class_loss && !classes) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "%s needs classes and a cross-entropy, not the loss '%s'", options->method->name,
                fit->heads[0].loss->name);
    return NULL;
  }
  PipelineHarden *harden = g_new0(PipelineHarden, 1);
  harden->fit = fit;
  harden->ball = (PipelineAttackBall){.n_features = (guint)width,
                                      .norm = options->norm,
                                      .epsilon = options->epsilon,
                                      .scale = options->scale,
                                      .low = options->low,
                                      .high = options->high};
  harden->points = g_new(float, rows *width + 1);
  harden->head = g_array_new(FALSE, TRUE, sizeof(float));
  if (options->method->replays) {
    fit->state.n_perturbation = (gsize)fit->options.batch_size * width;
    fit->state.perturbation = g_new0(float, fit->state.n_perturbation);
  }
  harden->pass = make_pass(fit, backend, error);
  if (harden->pass != NULL) return harden;
  pipeline_harden_free(harden);
  return NULL;
}

void pipeline_harden_free(PipelineHarden *harden)
{
  if (harden == NULL) return;
  pipeline_graph_pass_free(harden->pass);
  g_array_unref(harden->head);
  g_free(harden->points);
  g_free(harden->target);
  g_free(harden);
}

/* --- the fit as a target ------------------------------------------------------------------------------------------ */

/* Row of logits as log-probabilities; one logit is of the second of two classes. */
static void log_softmax(const float *z, guint width, double *logs)
{
  guint n = MAX(width, 2);
  double top = -INFINITY, sum = 0;
  for (guint c = 0; c < n; c++) logs[c] = width > 1 ? (double)z[c] : c == 0 ? 0 : (double)z[0];
  for (guint c = 0; c < n; c++) top = MAX(top, logs[c]);
  for (guint c = 0; c < n; c++) sum += exp(logs[c] - top);
  for (guint c = 0; c < n; c++) logs[c] -= top + log(sum);
}

/* KL(p ‖ q) of a row's logits z and z'. Gradients [width] by z and by z', scaled, or NULL. */
static double divergence(const float *z, const float *moved, guint width, double factor, float *by_z, float *by_moved)
{
  guint n = MAX(width, 2);
  g_autofree double *p = g_new(double, n), *q = g_new(double, n);
  double kl = 0;
  log_softmax(z, width, p);
  log_softmax(moved, width, q);
  for (guint c = 0; c < n; c++) kl += exp(p[c]) * (p[c] - q[c]);
  for (guint c = 0; c < width; c++) {
    guint k = width > 1 ? c : 1;
    if (by_z != NULL) by_z[c] = (float)(factor * exp(p[k]) * (p[k] - q[k] - kl));
    if (by_moved != NULL) by_moved[c] = (float)(factor * (exp(q[k]) - exp(p[k])));
  }
  return kl;
}

static const float *divergence_gradient(PipelineHarden *harden, guint n)
{
  const PipelineTensor *logits = pipeline_graph_pass_get_head(harden->pass, 0);
  guint width = (guint)(logits->n / n);
  g_array_set_size(harden->head, (guint)logits->n);
  float *gradient = (float *)(gpointer)harden->head->data;
  for (guint i = 0; i < n; i++)
    divergence(harden->target + (gsize)i * width, (const float *)logits->data + (gsize)i * width, width, 1, NULL,
               gradient + (gsize)i * width);
  return gradient;
}

/* A climb asks for the whole batch in order; targets are the fit's. */
static gboolean answer(gpointer self, const float *points, const guint *rows, guint n, PipelineAttackAnswer *answer,
                       GError **error)
{
  PipelineHarden *harden = self;
  PipelineGraphFit *fit = harden->fit;
  g_autofree const float **gradients = g_new0(const float *, fit->n_heads + 1);
  (void)rows;
  if (!pipeline_graph_fit_set_input(fit, harden->pass, points, n, error) ||
      !pipeline_graph_pass_forward(harden->pass, FALSE, NULL, error))
    return FALSE;
  for (guint h = 0; h < fit->n_heads && !harden->diverges; h++) {
    pipeline_graph_fit_evaluate_head(fit, harden->pass, h, n, 1);
    gradients[h] = (const float *)(gpointer)((GArray *)g_ptr_array_index(fit->head_gradients, h))->data;
  }
  if (harden->diverges) gradients[0] = divergence_gradient(harden, n);
  if (!pipeline_graph_pass_backward(harden->pass, gradients, error)) return FALSE;
  answer->gradient = pipeline_graph_pass_get_gradient(harden->pass, 0)->data;
  return TRUE;
}

/* The present weights and statistics. */
static gboolean take_weights(PipelineHarden *harden, GError **error)
{
  PipelineGraphFit *fit = harden->fit;
  guint n = fit->plan->parameters->len;
  for (guint i = 0; i < n; i++) {
    const PipelineGraphParameter *parameter = &g_array_index(fit->plan->parameters, PipelineGraphParameter, i);
    if (!pipeline_graph_pass_set_variable(harden->pass, i, fit->state.parameters + parameter->offset, error))
      return FALSE;
  }
  for (guint i = 0; i < fit->plan->statistics->len; i++) {
    const PipelineGraphStatistic *statistic = &g_array_index(fit->plan->statistics, PipelineGraphStatistic, i);
    if (!pipeline_graph_pass_set_variable(harden->pass, n + i, fit->state.statistics + statistic->offset, error))
      return FALSE;
  }
  return TRUE;
}

/* Moves x [n, width] in place. */
static gboolean climb(PipelineHarden *harden, guint steps, double size, guint n, PipelineRandom *random, float *x,
                      GError **error)
{
  PipelineAttackOptions options;
  pipeline_attack_options_init(&options);
  options.steps = steps;
  options.step_size = size;
  const PipelineAttackTarget target = {
      .self = harden, .n_features = harden->ball.n_features, .has_gradient = TRUE, .answer = answer};
  g_autoptr(PipelineAttackBounds) bounds = pipeline_attack_bounds_new_float(&harden->ball, x, n);
  if (!take_weights(harden, error) ||
      !pipeline_attack_climb(&options, &target, &harden->ball, bounds, random, harden->points, error))
    return FALSE;
  memcpy(x, harden->points, (gsize)n * harden->ball.n_features * sizeof(float));
  return TRUE;
}

static guint count_climb(const PipelineHardenOptions *options)
{
  return options->steps > 0 && options->method->steps > 1 ? options->steps : options->method->steps;
}

static gboolean climb_by_method(PipelineHarden *harden, guint n, float *x, GError **error)
{
  const PipelineHardenOptions *options = &harden->fit->options.harden;
  guint steps = count_climb(options);
  double size = options->step_size > 0 ? options->step_size : options->method->step_factor * options->epsilon / steps;
  return climb(harden, steps, size, n, &harden->fit->state.random, x, error);
}

/* --- learning ----------------------------------------------------------------------------------------------------- */

static double learn_pgd(PipelineHarden *harden, guint n, double *norm, GError **error)
{
  if (!climb_by_method(harden, n, harden->fit->x, error)) return NAN;
  return pipeline_graph_fit_learn(harden->fit, n, 1, norm, error);
}

/* The perturbation stays from batch to batch (places in the batch, not rows). */
static double learn_free(PipelineHarden *harden, guint n, double *norm, GError **error)
{
  PipelineGraphFit *fit = harden->fit;
  const PipelineHardenOptions *options = &fit->options.harden;
  gsize width = fit->row_width, total = n * width;
  double first = NAN, size = options->step_size > 0 ? options->step_size : options->epsilon;
  guint replays = pipeline_harden_count_steps(options);
  g_autoptr(PipelineAttackBounds) bounds = pipeline_attack_bounds_new_float(&harden->ball, fit->x, n);
  for (guint r = 0; r < replays; r++) {
    for (gsize i = 0; i < total; i++)
      fit->x[i] = CLAMP(bounds->base[i] + fit->state.perturbation[i], bounds->low[i], bounds->high[i]);
    g_autoptr(GError) failure = NULL;
    double loss = pipeline_graph_fit_learn(fit, n, 1, norm, &failure);
    if (r == 0) first = loss;
    if (failure != NULL || !isfinite(loss) || !isfinite(*norm)) {
      if (failure != NULL) g_propagate_error(error, g_steal_pointer(&failure));
      return loss;
    }
    const float *gradient = pipeline_graph_pass_get_gradient(fit->pass, fit->plan->parameters->len)->data;
    for (gsize i = 0; i < total; i++) {
      double scale = harden->ball.scale != NULL ? harden->ball.scale[i % width] : 1, reach = options->epsilon * scale;
      double sign = (gradient[i] > 0) - (gradient[i] < 0);
      fit->state.perturbation[i] =
          (float)CLAMP((double)fit->state.perturbation[i] + size * scale * sign, -reach, reach);
    }
  }
  return first;
}

/* Where the logits of the clean rows are, for the climb. */
static gboolean note_target(PipelineHarden *harden, guint n, GError **error)
{
  PipelineGraphFit *fit = harden->fit;
  if (!take_weights(harden, error) || !pipeline_graph_fit_set_input(fit, harden->pass, fit->x, n, error) ||
      !pipeline_graph_pass_forward(harden->pass, FALSE, NULL, error))
    return FALSE;
  const PipelineTensor *logits = pipeline_graph_pass_get_head(harden->pass, 0);
  harden->target = g_renew(float, harden->target, logits->n + 1);
  memcpy(harden->target, logits->data, logits->n * sizeof(float));
  return TRUE;
}

static double learn_trades(PipelineHarden *harden, guint n, double *norm, GError **error)
{
  PipelineGraphFit *fit = harden->fit;
  const PipelineHardenOptions *options = &fit->options.harden;
  double beta = options->beta > 0 ? options->beta : DEFAULT_BETA, factor = beta / n, loss = 0;
  gsize total = n * fit->row_width;
  if (!note_target(harden, n, error)) return NAN;
  harden->diverges = TRUE;
  memcpy(fit->x + total, fit->x, total * sizeof(float)); /* rows, then moved rows */
  gboolean done = climb_by_method(harden, n, fit->x + total, error);
  harden->diverges = FALSE;
  if (!done || !pipeline_graph_fit_forward(fit, 2 * n, TRUE, error)) return NAN;
  const PipelineTensor *logits = pipeline_graph_pass_get_head(fit->pass, 0);
  guint width = (guint)(logits->n / (2 * n));
  const PipelineGraphHead *head = &fit->heads[0];
  g_array_set_size(harden->head, (guint)logits->n);
  float *gradient = (float *)(gpointer)harden->head->data;
  const float *z = logits->data, *weights = fit->data->weights != NULL ? fit->weights : NULL;
  loss = pipeline_graph_loss_evaluate(head->loss, &head->options, z, width, fit->targets, weights, n, gradient);
  g_autofree float *by_z = g_new(float, width);
  for (guint i = 0; i < n; i++) {
    gsize at = (gsize)i * width, moved = (gsize)(n + i) * width;
    loss += factor * divergence(z + at, z + moved, width, factor, by_z, gradient + moved);
    for (guint c = 0; c < width; c++) gradient[at + c] += by_z[c];
  }
  if (!pipeline_graph_pass_backward(fit->pass, (const float *[]){gradient}, error)) return NAN;
  return pipeline_graph_fit_update(fit, loss, norm, error) ? loss : NAN;
}

/* --- watching ----------------------------------------------------------------------------------------------------- */

guint64 pipeline_harden_count_watched(const PipelineGraphFit *fit, guint64 n)
{
  const PipelineHardenOptions *options = &fit->options.harden;
  double passes = options->method->replays ? pipeline_harden_count_steps(options) : count_climb(options) + 1;
  double affordable = WATCHED_SHARE * passes * (double)fit->data->n_train / (PIPELINE_HARDEN_WATCH_STEPS + 1);
  return MIN(n, (guint64)CLAMP(affordable, WATCHED_LEAST, WATCHED_MOST));
}

gboolean pipeline_harden_attack(PipelineHarden *harden, guint64 first, guint n, GError **error)
{
  PipelineRandom random;
  pipeline_random_seed(&random, harden->fit->options.seed ^ (first + 1) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15));
  return climb(harden, PIPELINE_HARDEN_WATCH_STEPS, 2.5 * harden->ball.epsilon / PIPELINE_HARDEN_WATCH_STEPS, n,
               &random, harden->fit->x, error);
}

gboolean pipeline_harden_has_collapsed(PipelineGraphFit *fit)
{
  PipelineGraphFitState *state = &fit->state;
  if (!(state->best_robust_metric >= state->robust_metric)) state->best_robust_metric = state->robust_metric;
  return state->best_robust_metric >= COLLAPSE_LEAST && state->robust_metric < COLLAPSE * state->best_robust_metric;
}
