/* What happens at the end of an epoch: averaging, validation, plateau, early stopping, monitors. */
#include <math.h>
#include <string.h>

#include "pipeline/graph_fit_micro.h"
#include "pipeline/graph_fit_parallel.h"

#define EXPLODED_LOSS 1e4       /* times the first epoch's loss */
#define EXPLODED_GRADIENT 1e6   /* times the first epoch's mean norm */
#define VANISHED_GRADIENT 1e-12 /* times the first epoch's mean norm, or at all */

/* Weighted sums over the validation rows. */
typedef struct {
  double loss, merit, weight;
} Sums;

static void add_chunk(PipelineGraphFit *fit, guint n, Sums *sums)
{
  const float *weights = fit->data->weights != NULL ? fit->weights : NULL;
  for (guint h = 0; h < fit->n_heads; h++) {
    const PipelineGraphHead *head = &fit->heads[h];
    const PipelineTensor *output = pipeline_graph_pass_get_head(fit->pass, h);
    guint width = (guint)(output->n / n), columns = pipeline_graph_loss_n_targets(head->loss, width);
    g_autofree float *targets = g_new(float, (gsize)n *columns);
    double weight = 0, merit;
    for (guint i = 0; i < n; i++)
      memcpy(targets + (gsize)i * columns, fit->targets + (gsize)i * fit->data->n_targets + head->first_target,
             columns * sizeof(float));
    merit = pipeline_graph_loss_merit(head->loss, output->data, width, targets, weights, n, &weight);
    sums->loss +=
        head->weight * weight *
        pipeline_graph_loss_evaluate(head->loss, &head->options, output->data, width, targets, weights, n, NULL);
    if (h > 0) continue;
    sums->merit += merit;
    sums->weight += weight;
  }
}

/* Of the *n rows in x, or as many of them as memory has room for. */
static gboolean forward_chunk(PipelineGraphFit *fit, guint *n, GError **error)
{
  for (;;) {
    g_autoptr(GError) failure = NULL;
    if (pipeline_graph_fit_forward(fit, *n, FALSE, &failure)) return TRUE;
    if (!pipeline_fit_micro_retry_evaluation(fit, &failure)) {
      g_propagate_error(error, g_steal_pointer(&failure));
      return FALSE;
    }
    *n = MIN(*n, pipeline_fit_micro_evaluation_rows(fit));
  }
}

/* attacked: at the points that PGD finds, else at the rows. */
static gboolean measure_at(PipelineGraphFit *fit, const guint64 *rows, guint64 n_rows, gboolean attacked, double *loss,
                           double *metric, GError **error)
{
  Sums sums = {0};
  guint n;
  for (guint64 start = 0; start < n_rows; start += n) {
    n = (guint)MIN(pipeline_fit_micro_evaluation_rows(fit), n_rows - start);
    if (!pipeline_fit_parallel_measures(fit->parallel, start / PIPELINE_FIT_EVALUATION_ROWS)) continue;
    pipeline_graph_fit_gather(fit, rows + start, n);
    if (attacked && !pipeline_harden_attack(fit->harden, start, n, error)) return FALSE;
    if (!forward_chunk(fit, &n, error)) return FALSE;
    add_chunk(fit, n, &sums);
  }
  double together[] = {sums.loss, sums.merit, sums.weight};
  if (!pipeline_fit_parallel_sum(fit->parallel, together, G_N_ELEMENTS(together), error)) return FALSE;
  sums = (Sums){.loss = together[0], .merit = together[1], .weight = together[2]};
  *loss = sums.weight > 0 ? sums.loss / sums.weight : NAN;
  *metric = sums.weight > 0 ? sums.merit / sums.weight : NAN;
  return TRUE;
}

static gboolean measure(PipelineGraphFit *fit, const guint64 *rows, guint64 n_rows, double *loss, double *metric,
                        GError **error)
{
  return measure_at(fit, rows, n_rows, FALSE, loss, metric, error);
}

/* On validation rows; without them on training rows, which only shows a collapse. */
static gboolean measure_robust(PipelineGraphFit *fit, GError **error)
{
  const PipelineGraphData *data = fit->data;
  gboolean held_out = data->n_validation > 0;
  guint64 n = pipeline_harden_count_watched(fit, held_out ? data->n_validation : data->n_train);
  return measure_at(fit, held_out ? data->validation : data->train, n, TRUE, &fit->state.robust_loss,
                    &fit->state.robust_metric, error);
}

static gboolean validate(PipelineGraphFit *fit, GError **error)
{
  const PipelineGraphData *data = fit->data;
  PipelineGraphFitState *state = &fit->state;
  return measure(fit, data->validation, data->n_validation, &state->validation_loss, &state->validation_metric,
                 error) &&
         measure(fit, data->test, data->n_test, &state->test_loss, &state->test_metric, error) &&
         (fit->harden == NULL || measure_robust(fit, error)) &&
         measure(fit, data->old_validation, data->n_old_validation, &state->old_loss, &state->old_metric, error);
}

gboolean pipeline_graph_fit_measure(PipelineGraphFit *fit, const guint64 *rows, guint64 n, double *loss, double *metric,
                                    GError **error)
{
  PipelineGraphFitState *state = &fit->state;
  const float *statistics, *result = pipeline_graph_fit_get_result(fit, &statistics);
  g_autofree float *kept = g_memdup2(state->parameters, state->n_parameters * sizeof(float));
  g_autofree float *kept_statistics = g_memdup2(state->statistics, (state->n_statistics + 1) * sizeof(float));
  if (result != state->parameters) memcpy(state->parameters, result, state->n_parameters * sizeof(float));
  if (statistics != state->statistics) memcpy(state->statistics, statistics, state->n_statistics * sizeof(float));
  gboolean done = pipeline_graph_fit_push(fit, error) &&
                  pipeline_graph_fit_copy_statistics(fit, state->statistics, FALSE, error) &&
                  measure(fit, rows, n, loss, metric, error);
  memcpy(state->parameters, kept, state->n_parameters * sizeof(float));
  memcpy(state->statistics, kept_statistics, state->n_statistics * sizeof(float));
  return pipeline_graph_fit_push(fit, done ? error : NULL) &&
         pipeline_graph_fit_copy_statistics(fit, state->statistics, FALSE, done ? error : NULL) && done;
}

gboolean pipeline_graph_fit_predict(PipelineGraphFit *fit, const guint64 *rows, guint64 n, GArray *outputs,
                                    GError **error)
{
  guint count;
  for (guint64 start = 0; start < n; start += count) {
    count = (guint)MIN(pipeline_fit_micro_evaluation_rows(fit), n - start);
    pipeline_graph_fit_gather(fit, rows + start, count);
    if (!forward_chunk(fit, &count, error)) return FALSE;
    const PipelineTensor *head = pipeline_graph_pass_get_head(fit->pass, 0);
    g_array_append_vals(outputs, head->data, (guint)head->n);
  }
  return TRUE;
}

/* The averaged weights take the place of the trained ones, or give it back. */
static gboolean swap_averaged(PipelineGraphFit *fit, GError **error)
{
  PipelineGraphFitState *state = &fit->state;
  for (gsize i = 0; i < state->n_parameters; i++) {
    float swap = state->parameters[i];
    state->parameters[i] = state->average[i];
    state->average[i] = swap;
  }
  for (gsize i = 0; i < state->n_statistics; i++) {
    float swap = state->statistics[i];
    state->statistics[i] = state->average_statistics[i];
    state->average_statistics[i] = swap;
  }
  return pipeline_graph_fit_push(fit, error) &&
         pipeline_graph_fit_copy_statistics(fit, state->statistics, FALSE, error);
}

/* The mean of weights at ends of epochs; a running mean needs no sum. */
static void average_epoch(PipelineGraphFit *fit)
{
  PipelineGraphFitState *state = &fit->state;
  if (fit->options.average != PIPELINE_AVERAGE_SWA || state->epoch < fit->options.average_start * fit->options.epochs)
    return;
  float share = (float)(1.0 / (double)++state->n_averaged);
  for (gsize i = 0; i < state->n_parameters; i++)
    state->average[i] += share * (state->parameters[i] - state->average[i]);
  for (gsize i = 0; i < state->n_statistics; i++)
    state->average_statistics[i] += share * (state->statistics[i] - state->average_statistics[i]);
}

/* --- monitors ----------------------------------------------------------------------------------------------------- */

/* Share of the channels of a Relu's output that are 0 in the whole batch. */
static gboolean count_dead(PipelineGraphFit *fit, const PipelineTensor *output, double *share, GError **error)
{
  *share = 0;
  if (output == NULL || output->data == NULL || output->type != ONNX_TYPE_FLOAT || output->n_dims < 2 || output->n == 0)
    return TRUE;
  gsize batch = (gsize)output->dims[0], channels = (gsize)output->dims[1], inner = output->n / (batch * channels),
        dead = 0;
  const float *y = output->data;
  g_autofree double *alive = g_new0(double, channels + 1);
  for (gsize c = 0; pipeline_fit_parallel_counts(fit->parallel) && c < channels; c++)
    for (gsize i = 0; i < batch && alive[c] == 0; i++)
      for (gsize k = 0; k < inner && alive[c] == 0; k++) alive[c] = y[(i * channels + c) * inner + k] != 0;
  if (!pipeline_fit_parallel_sum(fit->parallel, alive, channels, error)) return FALSE;
  for (gsize c = 0; c < channels; c++) dead += alive[c] == 0;
  *share = (double)dead / (double)channels;
  return TRUE;
}

/* Looks at the last batch of the epoch. Sets dead_share to the worst layer's; *worst its name, or NULL. */
static gboolean watch_units(PipelineGraphFit *fit, const gchar **worst, GError **error)
{
  *worst = NULL;
  fit->state.dead_share = 0;
  for (guint n = 0; n < fit->graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(fit->graph->nodes, n);
    const gchar *name = onnx_node_get_output(node, 0);
    double share;
    if (strcmp(node->op_type, "Relu") != 0 || name == NULL) continue;
    if (!count_dead(fit, pipeline_graph_pass_get_value(fit->pass, name), &share, error)) return FALSE;
    if (share <= fit->state.dead_share) continue;
    fit->state.dead_share = share;
    *worst = name;
  }
  return TRUE;
}

static gboolean diverged(const PipelineGraphFit *fit, GError **error, const gchar *what)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DIVERGED,
              "training diverged in epoch %u: %s (loss %g, norm of gradients %g, learning rate %g)", fit->state.epoch,
              what, fit->state.train_loss, fit->state.gradient_norm, fit->options.learning_rate);
  return FALSE;
}

static gboolean watch(const PipelineGraphFit *fit, const gchar *dead_layer, GError **error)
{
  const PipelineGraphFitState *state = &fit->state;
  gboolean finite = TRUE;
  for (gsize i = 0; finite && i < state->n_parameters; i++) finite = isfinite(state->parameters[i]);
  if (!finite) return diverged(fit, error, "a weight is not finite; lower the learning rate");
  if (fit->data->n_validation > 0 && !isfinite(state->validation_loss))
    return diverged(fit, error, "the validation loss is not finite; look for extreme values");
  if (state->train_loss > EXPLODED_LOSS * MAX(1, state->first_loss))
    return diverged(fit, error, "the loss exploded; lower the learning rate");
  if (state->gradient_norm > EXPLODED_GRADIENT * MAX(state->first_norm, 1e-6))
    return diverged(fit, error, "the gradients exploded; lower the learning rate or clip them");
  if (state->gradient_norm <= VANISHED_GRADIENT * state->first_norm && state->train_loss > 1e-3)
    return diverged(fit, error, "the gradients vanished; look at first weights, activations and learning rate");
  if (state->dead_share < 1) return TRUE;
  g_autofree gchar *what =
      g_strdup_printf("every unit of '%s' is dead (0 for every row); lower the learning rate", dead_layer);
  return diverged(fit, error, what);
}

/* Catastrophic overfitting (Wong et al. 2020): the model has learnt the attack, not the task. With validation rows the
 * best weights are there to be delivered. */
static gboolean watch_collapse(PipelineGraphFit *fit, GError **error)
{
  PipelineGraphFitState *state = &fit->state;
  if (fit->harden == NULL || !pipeline_harden_has_collapsed(fit)) return TRUE;
  state->collapsed_epoch = state->epoch;
  state->finished = TRUE;
  if (fit->data->n_validation > 0) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DIVERGED,
              "catastrophic overfitting in epoch %u: accuracy under PGD fell from %.3f to %.3f on training rows; train "
              "with pgd, a smaller epsilon or validation rows, of which the best weights can be kept",
              state->epoch, state->best_robust_metric, state->robust_metric);
  return FALSE;
}

/* --- the end of an epoch ------------------------------------------------------------------------------------------ */

static void follow_plateau(PipelineGraphFit *fit, double loss)
{
  PipelineGraphFitState *state = &fit->state;
  if (loss < state->plateau_loss * (1 - 1e-4)) {
    state->plateau_loss = loss;
    state->plateau_epochs = 0;
  } else if (++state->plateau_epochs > fit->options.schedule_options.patience) {
    state->plateau_falls++;
    state->plateau_epochs = 0;
  }
}

static void remember_best(PipelineGraphFit *fit)
{
  PipelineGraphFitState *state = &fit->state;
  if (fit->data->n_validation == 0) return;
  gboolean both = fit->data->n_old_validation > 0;
  double loss = fit->harden != NULL ? state->robust_loss : state->validation_loss;
  if (both) loss = (loss + state->old_loss) / 2;
  if (state->validation_loss < state->least_loss || (both && state->old_loss < state->least_old_loss))
    state->improved_epoch = state->epoch;
  state->least_loss = MIN(state->least_loss, state->validation_loss);
  if (both) state->least_old_loss = MIN(state->least_old_loss, state->old_loss);
  if (loss < state->best_loss) {
    state->best_loss = loss;
    state->best_metric = state->validation_metric;
    state->best_attacked_metric = state->robust_metric;
    state->best_old_metric = state->old_metric;
    state->best_epoch = state->epoch;
    memcpy(state->best, state->parameters, state->n_parameters * sizeof(float));
    memcpy(state->best_statistics, state->statistics, state->n_statistics * sizeof(float));
  } else if (fit->options.patience > 0 && state->epoch - state->improved_epoch >= fit->options.patience) {
    state->finished = TRUE;
  }
}

gboolean pipeline_graph_fit_end_epoch(PipelineGraphFit *fit, GError **error)
{
  PipelineGraphFitState *state = &fit->state;
  double n = (double)fit->n_order;
  state->train_loss = state->epoch_loss / n;
  double taken = n - (double)state->epoch_skipped; /* rows of steps whose gradients were finite */
  state->gradient_norm = taken > 0 ? state->epoch_norm / taken : NAN;
  if (isnan(state->first_loss)) state->first_loss = state->train_loss;
  if (isnan(state->first_norm)) state->first_norm = state->gradient_norm;
  state->epoch++;
  state->position = 0;
  state->epoch_loss = state->epoch_norm = 0;
  state->epoch_skipped = 0;
  const gchar *dead_layer;
  if (!watch_units(fit, &dead_layer, error)) return FALSE;
  average_epoch(fit);
  gboolean averaged = state->n_averaged > 0;
  if (averaged && !swap_averaged(fit, error)) return FALSE;
  gboolean done = validate(fit, error);
  if (done) done = watch(fit, dead_layer, error);
  if (done) done = watch_collapse(fit, error);
  if (done) remember_best(fit);
  if (averaged && !swap_averaged(fit, done ? error : NULL)) return FALSE;
  follow_plateau(fit, fit->data->n_validation > 0 ? state->validation_loss : state->train_loss);
  return done && pipeline_graph_fit_compare(fit, error);
}
