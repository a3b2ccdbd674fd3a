#include "pipeline/trainer_fit.h"

#include <math.h>
#include <string.h>

#define BETA_1 0.9f
#define BETA_2 0.999f
#define ADAM_EPSILON 1e-8f
#define EVALUATION_ROWS 1024u
#define EXPLOSION 1e4 /* times the first epoch's loss */

struct _PipelineFit {
  PipelineNetwork *network;
  const PipelineFitData *data;
  PipelineFitOptions options;
  PipelineFitState state;
  PipelinePass *pass;
  PipelineNetworkAttack *attack;           /* or NULL */
  guint64 *order;                          /* [n_train] */
  float *x, *attacked, *targets, *weights; /* of one batch or evaluation chunk */
  float *output_gradient, *gradient;
  gboolean *decays; /* [n_parameters]: a weight, not a bias */
};

static void mark_weights(PipelineFit *fit)
{
  fit->decays = g_new0(gboolean, fit->network->n_parameters);
  for (guint i = 0; i < fit->network->layers->len; i++) {
    const PipelineLayer *layer = pipeline_network_get_layer(fit->network, i);
    if (layer->kind != PIPELINE_LAYER_DENSE) continue;
    for (gsize j = 0; j < (gsize)layer->n_in * layer->n_out; j++) fit->decays[layer->weight_offset + j] = TRUE;
  }
}

PipelineFit *pipeline_fit_new(PipelineNetwork *network, const PipelineNetworkBackend *backend,
                              const PipelineFitData *data, const PipelineFitOptions *options,
                              const PipelineAttackSpace *space, GError **error)
{
  g_return_val_if_fail(data->n_train > 0 && options->batch_size > 0, NULL);
  g_autoptr(PipelineFit) fit = g_new0(PipelineFit, 1);
  gsize n = network->n_parameters;
  guint rows = (guint)MAX(MIN(options->batch_size, data->n_train), MIN(EVALUATION_ROWS, data->n_validation));
  fit->network = network;
  fit->data = data;
  fit->options = *options;
  fit->state = (PipelineFitState){.n_parameters = n,
                                  .parameters = network->parameters,
                                  .moment = g_new0(float, n),
                                  .square = g_new0(float, n),
                                  .best = g_memdup2(network->parameters, n * sizeof(float)),
                                  .best_loss = INFINITY,
                                  .best_metric = NAN,
                                  .first_loss = NAN,
                                  .train_loss = NAN,
                                  .validation_loss = NAN,
                                  .validation_metric = NAN};
  pipeline_random_seed(&fit->state.random, options->seed);
  fit->order = g_new(guint64, data->n_train);
  fit->x = g_new(float, (gsize)rows * network->n_inputs);
  fit->attacked = g_new(float, (gsize)rows * network->n_inputs);
  fit->targets = g_new(float, rows);
  fit->weights = g_new(float, rows);
  fit->output_gradient = g_new(float, (gsize)rows * network->loss.n_outputs);
  fit->gradient = g_new0(float, n);
  mark_weights(fit);
  fit->pass = pipeline_pass_new(network, backend, rows, error);
  if (!fit->pass) return NULL;
  if (options->adversarial_epsilon > 0) fit->attack = pipeline_network_attack_new(fit->pass, network, space);
  return g_steal_pointer(&fit);
}

void pipeline_fit_free(PipelineFit *fit)
{
  if (!fit) return;
  pipeline_network_attack_free(fit->attack);
  pipeline_pass_free(fit->pass);
  g_free(fit->state.moment);
  g_free(fit->state.square);
  g_free(fit->state.best);
  g_free(fit->order);
  g_free(fit->x);
  g_free(fit->attacked);
  g_free(fit->targets);
  g_free(fit->weights);
  g_free(fit->output_gradient);
  g_free(fit->gradient);
  g_free(fit->decays);
  g_free(fit);
}

PipelineFitState *pipeline_fit_get_state(PipelineFit *fit)
{
  return &fit->state;
}

gboolean pipeline_fit_is_finished(const PipelineFit *fit)
{
  return fit->state.finished || fit->state.epoch >= fit->options.epochs;
}

const float *pipeline_fit_get_result(const PipelineFit *fit)
{
  return fit->state.best_epoch > 0 ? fit->state.best : fit->state.parameters;
}

/* A cosine from the full rate to a hundredth of it: high rates explore, low ones settle, no plateau to detect. */
double pipeline_fit_learning_rate(const PipelineFit *fit)
{
  double batches = ceil((double)fit->data->n_train / fit->options.batch_size);
  double progress = MIN(1, (double)fit->state.steps / (batches * fit->options.epochs));
  return fit->options.learning_rate * (0.01 + 0.99 * 0.5 * (1 + cos(G_PI * progress)));
}

static void gather(PipelineFit *fit, const guint64 *rows, guint n)
{
  const PipelineFitData *data = fit->data;
  gsize width = fit->network->n_inputs;
  for (guint i = 0; i < n; i++) {
    memcpy(fit->x + i * width, data->x + rows[i] * width, width * sizeof(float));
    fit->targets[i] = data->targets[rows[i]];
    if (data->weights) fit->weights[i] = data->weights[rows[i]];
  }
}

/* Kingma and Ba 2015 (https://arxiv.org/abs/1412.6980) with the decay apart (Loshchilov and Hutter 2019,
 * https://arxiv.org/abs/1711.05101). */
static void adam_step(PipelineFit *fit)
{
  PipelineFitState *state = &fit->state;
  double rate = pipeline_fit_learning_rate(fit);
  state->steps++;
  double correction_1 = 1 - pow(BETA_1, (double)state->steps), correction_2 = 1 - pow(BETA_2, (double)state->steps);
  float step = (float)(rate / correction_1), root = (float)(1 / sqrt(correction_2));
  float decay = (float)(rate * fit->options.weight_decay);
  float *restrict w = state->parameters, *restrict m = state->moment, *restrict v = state->square;
  const float *restrict g = fit->gradient;
  for (gsize i = 0; i < state->n_parameters; i++) {
    m[i] = BETA_1 * m[i] + (1 - BETA_1) * g[i];
    v[i] = BETA_2 * v[i] + (1 - BETA_2) * g[i] * g[i];
    if (fit->decays[i]) w[i] -= decay * w[i];
    w[i] -= step * m[i] / (sqrtf(v[i]) * root + ADAM_EPSILON);
  }
}

/* Returns the batch's loss before the step; NaN with error set when a backend fails. */
static double train_batch(PipelineFit *fit, const guint64 *rows, guint n, GError **error)
{
  const float *x = fit->x;
  gather(fit, rows, n);
  if (fit->attack) {
    if (!pipeline_network_attack_run(fit->attack, fit->options.adversarial_epsilon, fit->options.adversarial_steps,
                                     fit->x, fit->targets, n, &fit->state.random, fit->attacked, NULL, error))
      return NAN;
    x = fit->attacked;
  }
  const float *outputs = pipeline_pass_forward(fit->pass, x, n, error);
  if (!outputs) return NAN;
  double loss = pipeline_loss_evaluate(&fit->network->loss, outputs, fit->targets,
                                       fit->data->weights ? fit->weights : NULL, n, fit->output_gradient);
  if (!pipeline_pass_backward(fit->pass, fit->output_gradient, fit->gradient, NULL, error)) return NAN;
  adam_step(fit);
  return loss;
}

/* Loss and metric over the validation rows. */
static gboolean validate(PipelineFit *fit, GError **error)
{
  const PipelineFitData *data = fit->data;
  const PipelineLoss *loss = &fit->network->loss;
  guint chunk = pipeline_pass_get_max_rows(fit->pass);
  double total = 0, merit = 0, weight_sum = 0;
  for (guint64 start = 0; start < data->n_validation; start += chunk) {
    guint n = (guint)MIN(chunk, data->n_validation - start);
    gather(fit, data->validation + start, n);
    const float *outputs = pipeline_pass_forward(fit->pass, fit->x, n, error);
    if (!outputs) return FALSE;
    const float *weights = data->weights ? fit->weights : NULL;
    double part = 0;
    for (guint i = 0; i < n; i++) part += weights ? weights[i] : 1;
    if (part <= 0) continue;
    double metric = pipeline_loss_metric(loss, outputs, fit->targets, weights, n);
    total += part * pipeline_loss_evaluate(loss, outputs, fit->targets, weights, n, NULL);
    merit += part * (loss->kind == PIPELINE_LOSS_SQUARED ? metric * metric : metric);
    weight_sum += part;
  }
  fit->state.validation_loss = weight_sum > 0 ? total / weight_sum : NAN;
  merit = weight_sum > 0 ? merit / weight_sum : NAN;
  fit->state.validation_metric = loss->kind == PIPELINE_LOSS_SQUARED ? -sqrt(merit) : merit;
  return TRUE;
}

static gboolean check_divergence(const PipelineFit *fit, GError **error)
{
  const PipelineFitState *state = &fit->state;
  gboolean finite = isfinite(state->train_loss) && (fit->data->n_validation == 0 || !isinf(state->validation_loss));
  for (gsize i = 0; finite && i < state->n_parameters; i++) finite = isfinite(state->parameters[i]);
  if (finite && state->train_loss <= EXPLOSION * MAX(1, state->first_loss)) return TRUE;
  g_set_error(
      error, PIPELINE_ERROR, PIPELINE_ERROR_DIVERGED,
      "training diverged in epoch %u (loss %g); lower the learning rate (it was %g) and look for extreme values",
      state->epoch + 1, state->train_loss, fit->options.learning_rate);
  return FALSE;
}

static void remember_best(PipelineFit *fit)
{
  PipelineFitState *state = &fit->state;
  if (fit->data->n_validation == 0) return;
  if (state->validation_loss < state->best_loss) {
    state->best_loss = state->validation_loss;
    state->best_metric = state->validation_metric;
    state->best_epoch = state->epoch;
    memcpy(state->best, state->parameters, state->n_parameters * sizeof(float));
  } else if (fit->options.patience > 0 && state->epoch - state->best_epoch >= fit->options.patience) {
    state->finished = TRUE;
  }
}

gboolean pipeline_fit_epoch(PipelineFit *fit, GError **error)
{
  PipelineFitState *state = &fit->state;
  guint64 n_train = fit->data->n_train;
  double total = 0;
  memcpy(fit->order, fit->data->train, n_train * sizeof(guint64));
  pipeline_random_shuffle(&state->random, fit->order, n_train);
  for (guint64 start = 0; start < n_train; start += fit->options.batch_size) {
    guint n = (guint)MIN(fit->options.batch_size, n_train - start);
    g_autoptr(GError) failure = NULL;
    total += (double)n * train_batch(fit, fit->order + start, n, &failure);
    if (failure) {
      g_propagate_error(error, g_steal_pointer(&failure));
      return FALSE;
    }
  }
  state->train_loss = total / (double)n_train;
  if (isnan(state->first_loss)) state->first_loss = state->train_loss;
  if (fit->data->n_validation > 0 && !validate(fit, error)) return FALSE;
  if (!check_divergence(fit, error)) return FALSE;
  state->epoch++;
  remember_best(fit);
  return TRUE;
}

gboolean pipeline_fit_measure(const PipelineNetwork *network, const PipelineFitData *data, const guint64 *rows,
                              guint64 n_rows, double *loss, double *metric, GError **error)
{
  gboolean squared = network->loss.kind == PIPELINE_LOSS_SQUARED;
  gsize width = network->n_inputs;
  guint n = (guint)MIN(n_rows, EVALUATION_ROWS);
  g_autoptr(PipelinePass) pass = pipeline_pass_new(network, &pipeline_network_backend_reference, n, error);
  if (!pass) return FALSE;
  g_autofree float *x = g_new(float, n *width), *targets = g_new(float, n);
  double losses = 0, merits = 0;
  for (guint64 start = 0; start < n_rows; start += n) {
    guint count = (guint)MIN(n, n_rows - start);
    for (guint i = 0; i < count; i++) {
      memcpy(x + i * width, data->x + rows[start + i] * width, width * sizeof(float));
      targets[i] = data->targets[rows[start + i]];
    }
    const float *outputs = pipeline_pass_forward(pass, x, count, error);
    if (!outputs) return FALSE;
    double part = pipeline_loss_metric(&network->loss, outputs, targets, NULL, count);
    losses += count * pipeline_loss_evaluate(&network->loss, outputs, targets, NULL, count, NULL);
    merits += count * (squared ? part * part : part);
  }
  *loss = losses / (double)n_rows;
  *metric = squared ? -sqrt(merits / (double)n_rows) : merits / (double)n_rows;
  return TRUE;
}
