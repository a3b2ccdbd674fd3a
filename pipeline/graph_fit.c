#include "pipeline/graph_fit.h"

#include <math.h>
#include <string.h>

#include "pipeline/graph_fit_device.h"
#include "pipeline/graph_fit_micro.h"
#include "pipeline/graph_fit_parallel.h"
#include "pipeline/graph_fit_scale.h"
#include "pipeline/rehearsal.h"

void pipeline_graph_fit_options_init(PipelineGraphFitOptions *options)
{
  *options = (PipelineGraphFitOptions){.epochs = 10,
                                       .batch_size = 64,
                                       .learning_rate = 2e-3,
                                       .optimiser = pipeline_optimiser_find("adamw", NULL),
                                       .schedule = pipeline_schedule_find("cosine", NULL),
                                       .average_decay = 0.999,
                                       .average_start = 0.75,
                                       .rehearsal_share = 0.5,
                                       .loss_scale = 65536,
                                       .growth_steps = 2000,
                                       .seed = 1};
  pipeline_optimiser_options_init(&options->optimiser_options);
  pipeline_schedule_options_init(&options->schedule_options);
}

/* --- making ------------------------------------------------------------------------------------------------------- */

static void state_init(PipelineGraphFit *fit)
{
  gsize n = fit->plan->n_parameters, s = fit->plan->n_statistics;
  guint memories = fit->options.optimiser->n_memories;
  gboolean averages = fit->options.average != PIPELINE_AVERAGE_NONE;
  fit->state =
      (PipelineGraphFitState){.n_parameters = n,
                              .n_statistics = s,
                              .parameters = g_new0(float, n),
                              .m = memories > 0 ? g_new0(float, n) : NULL,
                              .v = memories > 1 ? g_new0(float, n) : NULL,
                              .average = averages ? g_new0(float, n) : NULL,
                              .best = g_new0(float, n),
                              .statistics = g_new0(float, s + 1),
                              .average_statistics = averages ? g_new0(float, s + 1) : NULL,
                              .best_statistics = g_new0(float, s + 1),
                              .loss_scale = pipeline_fit_scale_is_used(&fit->options) ? fit->options.loss_scale : 1,
                              .first_loss = NAN,
                              .first_norm = NAN,
                              .train_loss = NAN,
                              .validation_loss = NAN,
                              .validation_metric = NAN,
                              .test_loss = NAN,
                              .test_metric = NAN,
                              .gradient_norm = NAN,
                              .best_loss = INFINITY,
                              .best_metric = NAN,
                              .plateau_loss = INFINITY,
                              .robust_loss = NAN,
                              .robust_metric = NAN,
                              .best_robust_metric = NAN,
                              .best_attacked_metric = NAN,
                              .old_loss = NAN,
                              .old_metric = NAN,
                              .best_old_metric = NAN,
                              .least_loss = INFINITY,
                              .least_old_loss = INFINITY};
  pipeline_random_seed(&fit->state.random, fit->options.seed);
  fit->state.epoch_random = fit->state.random;
}

static gboolean make_pass(PipelineGraphFit *fit, const PipelineGradientBackend *backend, GError **error)
{
  g_autofree const gchar **names = pipeline_harden_list_wanted(&fit->options.harden, fit->graph, fit->plan);
  g_autofree const gchar **heads = g_new0(const gchar *, fit->n_heads + 1);
  for (guint i = 0; i < fit->n_heads; i++) heads[i] = fit->heads[i].value;
  const PipelineGraphPassOptions options = {
      .wanted = names, .heads = heads, .backend = backend, .precision = fit->options.precision};
  fit->pass = pipeline_graph_pass_new(fit->graph, &options, error);
  return fit->pass != NULL;
}

/* Parameters where losses and steps are computed; the state has their first values. */
static gboolean place_parameters(PipelineGraphFit *fit, const PipelineGradientBackend *backend, GError **error)
{
  if (!pipeline_fit_device_new(fit, backend, &fit->device, error)) return FALSE;
  if (fit->device != NULL && !pipeline_fit_device_copy(fit, TRUE, error)) return FALSE;
  for (guint i = 0; fit->device == NULL && i < fit->plan->parameters->len; i++) {
    const PipelineGraphParameter *parameter = &g_array_index(fit->plan->parameters, PipelineGraphParameter, i);
    if (!pipeline_graph_pass_bind(fit->pass, i, fit->state.parameters + parameter->offset,
                                  fit->gradients + parameter->offset, error))
      return FALSE;
  }
  return pipeline_graph_fit_copy_statistics(fit, fit->state.statistics, TRUE, error);
}

/* Every class of these rows is one of `width`. */
static gboolean check_classes(const PipelineGraphData *data, const PipelineGraphHead *head, guint width,
                              const guint64 *rows, guint64 n_rows, GError **error)
{
  for (guint64 i = 0; i < n_rows; i++) {
    float target = data->targets[rows[i] * data->n_targets + head->first_target];
    if (target >= 0 && target < (float)width && target == floorf(target)) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "row %" G_GUINT64_FORMAT " has class %g, and output '%s' has %u", rows[i], (double)target, head->value,
                width);
    return FALSE;
  }
  return TRUE;
}

/* The heads have the width that their losses and the targets need, and every class exists. */
static gboolean check_heads(PipelineGraphFit *fit, GError **error)
{
  const guint64 *rows = fit->data->train;
  pipeline_graph_fit_gather(fit, rows, 1);
  if (!pipeline_graph_fit_forward(fit, 1, FALSE, error)) return FALSE;
  for (guint h = 0; h < fit->n_heads; h++) {
    const PipelineGraphHead *head = &fit->heads[h];
    const PipelineTensor *output = pipeline_graph_pass_get_head(fit->pass, h);
    guint width = (guint)output->n, needed = pipeline_graph_loss_n_targets(head->loss, width);
    g_autofree gchar *shape = pipeline_tensor_describe(output);
    if (output->type != ONNX_TYPE_FLOAT || output->n == 0 || head->first_target + needed > fit->data->n_targets) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                  "output '%s' is %s for one row, and there are %u targets", head->value, shape, fit->data->n_targets);
      return FALSE;
    }
    const PipelineGraphData *d = fit->data;
    const struct {
      const guint64 *rows;
      guint64 n;
    } parts[] = {{d->train, d->n_train},
                 {d->validation, d->n_validation},
                 {d->test, d->n_test},
                 {d->old, d->n_old},
                 {d->old_validation, d->n_old_validation}};
    for (guint p = 0; head->loss->is_class && p < G_N_ELEMENTS(parts); p++)
      if (!check_classes(d, head, width, parts[p].rows, parts[p].n, error)) return FALSE;
  }
  return TRUE;
}

static PipelineRehearsal epoch_of(const PipelineGraphFit *fit)
{
  const PipelineGraphData *data = fit->data;
  return (PipelineRehearsal){.fresh = data->train,
                             .old = data->old,
                             .n_fresh = data->n_train,
                             .n_old = data->n_old,
                             .batch_size = fit->options.batch_size,
                             .share = fit->options.rehearsal_share};
}

static gboolean check_precision(const PipelineGraphFitOptions *options, const PipelineGradientBackend *backend,
                                GError **error)
{
  gboolean alone = options->communicator == NULL || options->communicator->size == 1;
  if (backend->narrow_products != NULL && options->harden.method == NULL && alone) return TRUE;
  if (!alone)
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                        "several processes train in float32: leave out the precision bf16 or the other processes");
  else if (options->harden.method != NULL)
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                        "adversarial training is in float32: leave out the precision bf16 or the adversary");
  else
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "the backend '%s' has no products in bfloat16: take cuda, or reference, which rounds for comparison",
                backend->name);
  return FALSE;
}

PipelineGraphFit *pipeline_graph_fit_new(const OnnxGraph *graph, const PipelineGraphPlan *plan,
                                         const PipelineGraphHead *heads, guint n_heads, const PipelineGraphData *data,
                                         const PipelineGraphFitOptions *options, const PipelineGradientBackend *backend,
                                         GError **error)
{
  g_return_val_if_fail(data->n_train > 0 && options->batch_size > 0 && n_heads > 0, NULL);
  g_autoptr(PipelineGraphFit) fit = g_new0(PipelineGraphFit, 1);
  fit->graph = graph;
  fit->plan = plan;
  fit->heads = heads;
  fit->n_heads = n_heads;
  fit->data = data;
  fit->backend = backend;
  fit->options = *options;
  fit->row_width = 1;
  for (guint d = 0; d < data->n_dims; d++) fit->row_width *= (gsize)data->dims[d];
  if (!pipeline_augment_check(&options->augment, fit->row_width, error) ||
      !pipeline_harden_check(&options->harden, options->augment.mixup > 0, n_heads, error))
    return NULL;
  if (options->precision == PIPELINE_PRECISION_BFLOAT16 && !check_precision(options, backend, error)) return NULL;
  gsize rows =
      MAX((gsize)options->batch_size * pipeline_harden_batch_factor(&options->harden), PIPELINE_FIT_EVALUATION_ROWS);
  state_init(fit);
  const PipelineRehearsal epoch = epoch_of(fit);
  guint64 all = fit->n_order = pipeline_rehearsal_count(&epoch);
  fit->order = g_new(guint64, all);
  if (options->row_visits > 0) { /* all of them are used */
    fit->options.epochs = (guint)MIN(options->epochs, (options->row_visits + all - 1) / all);
    fit->n_order = MIN(all, options->row_visits / fit->options.epochs);
  }
  fit->partner = g_new(guint64, rows);
  fit->x = g_new(float, rows * fit->row_width);
  fit->targets = g_new(float, rows * data->n_targets);
  fit->mixed_targets = g_new(float, rows * data->n_targets);
  fit->weights = g_new(float, rows);
  fit->gradients = g_new0(float, plan->n_parameters);
  fit->head_gradients = g_ptr_array_new_with_free_func((GDestroyNotify)g_array_unref);
  for (guint i = 0; i < n_heads; i++) g_ptr_array_add(fit->head_gradients, g_array_new(FALSE, TRUE, sizeof(float)));
  if (!make_pass(fit, backend, error) || !check_heads(fit, error) || !place_parameters(fit, backend, error) ||
      !pipeline_fit_parallel_new(fit, &fit->parallel, error))
    return NULL;
  if (!pipeline_fit_micro_begin(fit, error)) return NULL;
  if (options->harden.method != NULL && (fit->harden = pipeline_harden_new(fit, backend, error)) == NULL) return NULL;
  memcpy(fit->state.best, fit->state.parameters, plan->n_parameters * sizeof(float));
  if (fit->state.average != NULL) memcpy(fit->state.average, fit->state.parameters, plan->n_parameters * sizeof(float));
  if (fit->state.average_statistics != NULL)
    memcpy(fit->state.average_statistics, fit->state.statistics, plan->n_statistics * sizeof(float));
  if (!pipeline_graph_fit_push(fit, error)) return NULL;
  return g_steal_pointer(&fit);
}

void pipeline_graph_fit_free(PipelineGraphFit *fit)
{
  if (fit == NULL) return;
  PipelineGraphFitState *s = &fit->state;
  gpointer arrays[] = {s->parameters,
                       s->m,
                       s->v,
                       s->average,
                       s->best,
                       s->statistics,
                       s->average_statistics,
                       s->best_statistics,
                       s->perturbation,
                       fit->order,
                       fit->partner,
                       fit->x,
                       fit->targets,
                       fit->mixed_targets,
                       fit->weights,
                       fit->gradients,
                       fit->sums};
  pipeline_fit_device_free(fit->device, fit->pass);
  pipeline_fit_parallel_free(fit->parallel);
  pipeline_graph_pass_free(fit->pass); /* its values lie in those arrays */
  pipeline_harden_free(fit->harden);
  for (guint i = 0; i < G_N_ELEMENTS(arrays); i++) g_free(arrays[i]);
  g_clear_pointer(&fit->head_gradients, g_ptr_array_unref);
  g_free(fit);
}

PipelineGraphFitState *pipeline_graph_fit_get_state(PipelineGraphFit *fit)
{
  return &fit->state;
}

const PipelineGraphMemory *pipeline_graph_fit_get_memory(const PipelineGraphFit *fit)
{
  return fit->memory.rows > 0 ? &fit->memory : NULL;
}

gboolean pipeline_graph_fit_is_finished(const PipelineGraphFit *fit)
{
  return fit->state.finished || fit->state.epoch >= fit->options.epochs;
}

const float *pipeline_graph_fit_get_result(const PipelineGraphFit *fit, const float **statistics)
{
  const PipelineGraphFitState *state = &fit->state;
  gboolean best = state->best_epoch > 0, averaged = state->n_averaged > 0;
  *statistics = best ? state->best_statistics : averaged ? state->average_statistics : state->statistics;
  return best ? state->best : averaged ? state->average : state->parameters;
}

gboolean pipeline_graph_fit_copy_statistics(PipelineGraphFit *fit, float *values, gboolean out, GError **error)
{
  for (guint i = 0; i < fit->plan->statistics->len; i++) {
    const PipelineGraphStatistic *statistic = &g_array_index(fit->plan->statistics, PipelineGraphStatistic, i);
    if (!pipeline_graph_pass_copy_initialiser(fit->pass, statistic->name, values + statistic->offset, out, error))
      return FALSE;
  }
  return TRUE;
}

/* --- one batch ---------------------------------------------------------------------------------------------------- */

guint pipeline_graph_fit_epochs(const PipelineGraphFit *fit)
{
  return fit->options.epochs;
}

guint64 pipeline_graph_fit_epoch_rows(const PipelineGraphFit *fit)
{
  return fit->n_order;
}

double pipeline_graph_fit_learning_rate(const PipelineGraphFit *fit)
{
  guint64 batches = (fit->n_order + fit->options.batch_size - 1) / fit->options.batch_size;
  return fit->options.learning_rate *
         pipeline_schedule_factor(fit->options.schedule, &fit->options.schedule_options, fit->state.steps,
                                  batches * fit->options.epochs * pipeline_harden_count_steps(&fit->options.harden),
                                  fit->state.plateau_falls);
}

/* Targets and weights of n rows, and the numbers of those from `first` to first + here. */
static void gather(PipelineGraphFit *fit, const guint64 *rows, guint n, guint first, guint here)
{
  const PipelineGraphData *data = fit->data;
  for (guint i = 0; i < n; i++) {
    if (i >= first && i < first + here)
      memcpy(fit->x + i * fit->row_width, data->x + rows[i] * fit->row_width, fit->row_width * sizeof(float));
    memcpy(fit->targets + (gsize)i * data->n_targets, data->targets + rows[i] * data->n_targets,
           data->n_targets * sizeof(float));
    if (data->weights != NULL) fit->weights[i] = data->weights[rows[i]];
  }
}

void pipeline_graph_fit_gather(PipelineGraphFit *fit, const guint64 *rows, guint n)
{
  gather(fit, rows, n, 0, n);
}

gboolean pipeline_graph_fit_set_input(PipelineGraphFit *fit, PipelineGraphPass *pass, const float *x, guint n,
                                      GError **error)
{
  gint64 dims[ONNX_MAX_DIMENSIONS] = {n};
  for (guint d = 0; d < fit->data->n_dims; d++) dims[1 + d] = fit->data->dims[d];
  return pipeline_graph_pass_set_input(pass, 0, 1 + fit->data->n_dims, dims, x, error);
}

/* Rows first to first + n of those in x. */
static gboolean forward_rows(PipelineGraphFit *fit, guint first, guint n, gboolean training, GError **error)
{
  pipeline_graph_pass_keep_heads(fit->pass, FALSE);
  pipeline_fit_device_disturb(fit->device);
  return pipeline_graph_fit_set_input(fit, fit->pass, fit->x + first * fit->row_width, n, error) &&
         pipeline_graph_pass_forward(fit->pass, training, training ? &fit->state.random : NULL, error);
}

gboolean pipeline_graph_fit_forward(PipelineGraphFit *fit, guint n, gboolean training, GError **error)
{
  return forward_rows(fit, 0, n, training, error);
}

/* The columns of one head; new [n, columns]. */
static float *pick_targets(const PipelineGraphFit *fit, const PipelineGraphHead *head, const float *targets,
                           guint columns, guint n)
{
  float *picked = g_new(float, (gsize)n *columns);
  for (guint i = 0; i < n; i++)
    memcpy(picked + (gsize)i * columns, targets + (gsize)i * fit->data->n_targets + head->first_target,
           columns * sizeof(float));
  return picked;
}

/* A batch of which a pass of this process computes rows first to first + n. */
typedef struct {
  guint first, n, all;
  double share; /* of the targets; the others are those of mixed rows */
  double scale; /* of the gradient, not of the loss */
} Rows;

/* Loss of head `index` and its gradient; with mixed rows the mean of both targets' losses. */
static double evaluate_rows(PipelineGraphFit *fit, PipelineGraphPass *pass, guint index, const Rows *rows)
{
  const PipelineGraphHead *head = &fit->heads[index];
  const PipelineTensor *output = pipeline_graph_pass_get_head(pass, index);
  guint width = (guint)(output->n / rows->n), columns = pipeline_graph_loss_n_targets(head->loss, width);
  GArray *gradient = g_ptr_array_index(fit->head_gradients, index);
  g_array_set_size(gradient, (guint)output->n);
  g_autofree float *second = rows->share < 1 ? g_new(float, output->n) : NULL;
  const float *weights = fit->data->weights != NULL ? fit->weights : NULL;
  double loss = 0;
  for (guint turn = 0; turn < (rows->share < 1 ? 2u : 1u); turn++) {
    g_autofree float *targets =
        pick_targets(fit, head, turn == 0 ? fit->targets : fit->mixed_targets, columns, rows->all);
    float *into = turn == 0 ? (float *)(gpointer)gradient->data : second;
    double part =
        head->weight * (turn == 0 ? rows->share : 1 - rows->share) *
        (fit->parallel != NULL ? pipeline_fit_parallel_share(fit->parallel, head, columns, targets, weights, rows->all)
                               : pipeline_graph_loss_share(head->loss, &head->options, columns, targets, weights,
                                                           rows->first, rows->n, rows->all));
    loss += part * pipeline_graph_loss_evaluate(head->loss, &head->options, output->data, width,
                                                targets + (gsize)rows->first * columns,
                                                weights != NULL ? weights + rows->first : NULL, rows->n, into);
    for (gsize i = 0; part != 1 && rows->scale == 1 && i < output->n; i++) into[i] *= (float)part;
    for (gsize i = 0; rows->scale != 1 && i < output->n; i++) into[i] = (float)((double)into[i] * part * rows->scale);
  }
  for (gsize i = 0; second != NULL && i < output->n; i++) g_array_index(gradient, float, i) += second[i];
  return loss;
}

double pipeline_graph_fit_evaluate_head(PipelineGraphFit *fit, PipelineGraphPass *pass, guint index, guint n,
                                        double share)
{
  const Rows rows = {.n = n, .all = n, .share = share, .scale = 1};
  return evaluate_rows(fit, pass, index, &rows);
}

float pipeline_graph_fit_average_decay(PipelineGraphFit *fit)
{
  double t = (double)fit->state.n_averaged++;
  return (float)MIN(fit->options.average_decay, (1 + t) / (10 + t));
}

static gboolean update(PipelineGraphFit *fit, GError **error)
{
  PipelineGraphFitState *state = &fit->state;
  double rate = pipeline_graph_fit_learning_rate(fit);
  state->steps++;
  for (guint i = 0; i < fit->plan->parameters->len; i++) {
    const PipelineGraphParameter *p = &g_array_index(fit->plan->parameters, PipelineGraphParameter, i);
    const PipelineOptimiserStep step = {.w = state->parameters + p->offset,
                                        .m = state->m != NULL ? state->m + p->offset : NULL,
                                        .v = state->v != NULL ? state->v + p->offset : NULL,
                                        .g = fit->gradients + p->offset,
                                        .n = p->n,
                                        .decays = p->decays,
                                        .rate = rate * p->rate,
                                        .step = state->steps};
    fit->options.optimiser->step(&fit->options.optimiser_options, &step);
  }
  if (fit->options.project != NULL)
    fit->options.project(fit->plan, state->parameters, state->steps, fit->options.project_data);
  /* A checkpoint may be written after any batch. */
  if (!pipeline_graph_fit_copy_statistics(fit, state->statistics, TRUE, error)) return FALSE;
  if (fit->options.average != PIPELINE_AVERAGE_EMA) return TRUE;
  float decay = pipeline_graph_fit_average_decay(fit);
  for (gsize i = 0; i < state->n_parameters; i++)
    state->average[i] = decay * state->average[i] + (1 - decay) * state->parameters[i];
  for (gsize i = 0; i < state->n_statistics; i++)
    state->average_statistics[i] = decay * state->average_statistics[i] + (1 - decay) * state->statistics[i];
  return TRUE;
}

gboolean pipeline_graph_fit_update(PipelineGraphFit *fit, double loss, double *norm, GError **error)
{
  *norm =
      pipeline_gradient_clip(fit->gradients, fit->state.n_parameters, fit->options.clip_norm, fit->options.clip_value);
  if (isfinite(loss) && isfinite(*norm)) return update(fit, error);
  /* Else the weights stay as they are: the monitor stops it, or the scale of the loss falls. */
  if (isfinite(loss) && pipeline_fit_scale_is_used(&fit->options)) fit->state.steps++;
  return TRUE;
}

/* Forward and backward of some rows of a batch: their part of its loss, and of its gradients. */
static gboolean pass_rows(PipelineGraphFit *fit, const Rows *rows, double *loss, GError **error)
{
  g_autofree const float **gradients = g_new0(const float *, fit->n_heads + 1);
  if (!forward_rows(fit, rows->first, rows->n, TRUE, error)) return FALSE;
  for (guint h = 0; h < fit->n_heads; h++) {
    *loss += evaluate_rows(fit, fit->pass, h, rows);
    gradients[h] = (const float *)(gpointer)((GArray *)g_ptr_array_index(fit->head_gradients, h))->data;
  }
  return pipeline_fit_parallel_begin(fit->parallel, *loss, fit->wants_stop, error) &&
         pipeline_graph_pass_backward(fit->pass, gradients, error) &&
         pipeline_fit_parallel_end(fit->parallel, loss, &fit->is_stopped, error);
}

double pipeline_graph_fit_learn(PipelineGraphFit *fit, guint n, double share, double *norm, GError **error)
{
  guint size = pipeline_fit_micro_rows(fit, n);
  double loss = 0;
  for (guint first = 0; first < n; first += size) {
    Rows rows = {.first = first, .n = MIN(size, n - first), .all = n, .share = share, .scale = fit->state.loss_scale};
    if (size == n) pipeline_fit_parallel_cut(fit->parallel, n, &rows.first, &rows.n);
    if (!pass_rows(fit, &rows, &loss, error)) return NAN;
    if (size < n) pipeline_fit_micro_add(fit, first == 0, first + size >= n);
  }
  for (gsize i = 0; fit->state.loss_scale != 1 && i < fit->state.n_parameters; i++)
    fit->gradients[i] *= (float)(1 / fit->state.loss_scale);
  return pipeline_graph_fit_update(fit, loss, norm, error) ? loss : NAN;
}

static double train_batch(PipelineGraphFit *fit, const guint64 *rows, guint n, double *norm, GError **error)
{
  const PipelineAugmentOptions *augment = &fit->options.augment;
  double share = 1;
  guint first = 0, here = n;
  /* What is drawn is drawn for the whole batch. */
  if (!pipeline_augment_draws(augment)) pipeline_fit_parallel_cut(fit->parallel, n, &first, &here);
  gather(fit, rows, n, first, here);
  pipeline_augment_rows(augment, &fit->state.random, fit->x, n, fit->row_width);
  if (fit->harden != NULL) return fit->options.harden.method->learn(fit->harden, n, norm, error);
  if (augment->mixup > 0) {
    share = pipeline_augment_mix(augment, &fit->state.random, fit->x, n, fit->row_width, fit->partner);
    for (guint i = 0; i < n; i++)
      memcpy(fit->mixed_targets + (gsize)i * fit->data->n_targets,
             fit->targets + (gsize)fit->partner[i] * fit->data->n_targets, fit->data->n_targets * sizeof(float));
  }
  return pipeline_graph_fit_learn(fit, n, share, norm, error);
}

/* The order of the present epoch, again after a resume. */
static void begin_epoch(PipelineGraphFit *fit)
{
  PipelineGraphFitState *state = &fit->state;
  PipelineRandom random = state->position == 0 ? state->random : state->epoch_random;
  if (state->position == 0) state->epoch_random = state->random;
  const PipelineRehearsal epoch = epoch_of(fit);
  pipeline_rehearsal_order(&epoch, &random, fit->order);
  if (state->position == 0) state->random = random;
}

gboolean pipeline_graph_fit_count(PipelineGraphFit *fit, guint n, guint64 step, double loss, double norm,
                                  GError **error)
{
  gboolean scaled = pipeline_fit_scale_is_used(&fit->options) && isfinite(loss);
  gboolean good =
      scaled ? pipeline_fit_scale_follow(&fit->options, &fit->state, norm) : isfinite(loss) && isfinite(norm);
  if (good) {
    fit->state.epoch_loss += loss * (double)n;
    if (isfinite(norm))
      fit->state.epoch_norm += norm * (double)n;
    else
      fit->state.epoch_skipped += n;
    return TRUE;
  }
  g_set_error(
      error, PIPELINE_ERROR, PIPELINE_ERROR_DIVERGED,
      "training diverged in epoch %u, step %" G_GUINT64_FORMAT
      ": the loss is %g, the norm of the gradients %g; lower the learning rate (it was %g), clip the gradients, "
      "and look for extreme values",
      fit->state.epoch + 1, step, loss, norm, fit->options.learning_rate);
  return FALSE;
}

/* A batch whose losses and step are computed here. */
static gboolean step_here(PipelineGraphFit *fit, const guint64 *rows, guint n, GError **error)
{
  double norm = NAN;
  guint64 step = fit->state.steps + 1;
  g_autoptr(GError) failure = NULL;
  double loss = train_batch(fit, rows, n, &norm, &failure);
  if (failure == NULL) return pipeline_graph_fit_count(fit, n, step, loss, norm, error);
  g_propagate_error(error, g_steal_pointer(&failure));
  return FALSE;
}

/* A batch that is only queued: nothing waits for its results. */
static gboolean step_there(PipelineGraphFit *fit, const guint64 *rows, guint n, GError **error)
{
  pipeline_graph_fit_gather(fit, rows, n);
  pipeline_augment_rows(&fit->options.augment, &fit->state.random, fit->x, n, fit->row_width);
  return pipeline_fit_device_step(fit, n, error);
}

/* A step that finds no memory is taken again, in smaller passes. */
static gboolean step_within_memory(PipelineGraphFit *fit, const guint64 *rows, guint n, GError **error)
{
  const PipelineRandom random = fit->state.random;
  for (;;) {
    g_autoptr(GError) failure = NULL;
    if (fit->device != NULL ? step_there(fit, rows, n, &failure) : step_here(fit, rows, n, &failure)) return TRUE;
    if (!pipeline_fit_micro_retry(fit, n, &failure)) {
      g_propagate_error(error, g_steal_pointer(&failure));
      return FALSE;
    }
    fit->state.random = random;
  }
}

gboolean pipeline_graph_fit_step(PipelineGraphFit *fit, gboolean *epoch_done, GError **error)
{
  PipelineGraphFitState *state = &fit->state;
  if (state->position == 0) begin_epoch(fit);
  guint n = (guint)MIN(fit->options.batch_size, fit->n_order - state->position);
  const guint64 *rows = fit->order + state->position;
  if (!step_within_memory(fit, rows, n, error)) return FALSE;
  state->position += n;
  *epoch_done = state->position >= fit->n_order;
  if (!*epoch_done) return TRUE;
  return pipeline_graph_fit_pull(fit, error) && pipeline_graph_fit_end_epoch(fit, error);
}

void pipeline_graph_fit_ask_stop(PipelineGraphFit *fit)
{
  fit->wants_stop = TRUE;
  if (fit->parallel == NULL) fit->is_stopped = TRUE;
}

gboolean pipeline_graph_fit_is_stopped(const PipelineGraphFit *fit)
{
  return fit->is_stopped;
}

gboolean pipeline_graph_fit_pull(PipelineGraphFit *fit, GError **error)
{
  return fit->device == NULL || (pipeline_fit_device_drain(fit, error) && pipeline_fit_device_copy(fit, TRUE, error) &&
                                 pipeline_graph_fit_copy_statistics(fit, fit->state.statistics, TRUE, error));
}

gboolean pipeline_graph_fit_push(PipelineGraphFit *fit, GError **error)
{
  return fit->device == NULL || pipeline_fit_device_copy(fit, FALSE, error);
}

gboolean pipeline_graph_fit_restore(PipelineGraphFit *fit, GError **error)
{
  if (fit->state.position > 0) begin_epoch(fit);
  return pipeline_graph_fit_push(fit, error) &&
         pipeline_graph_fit_copy_statistics(fit, fit->state.statistics, FALSE, error);
}
