/* From rows to ONNX bytes: graph (built or given) → what is trained → fit → weights back into the same graph. */
#include "pipeline/graph_trainer_internal.h"

#include <math.h>
#include <string.h>

#include "pipeline/checksum.h"
#include "pipeline/graph_build.h"
#include "pipeline/finetune.h"
#include "pipeline/graph_fit_scale.h"
#include "pipeline/graph_checkpoint.h"
#include "pipeline/linear_graph.h"
#include "pipeline/memory.h"
#include "pipeline/model_spec.h"
#include "pipeline/multi_label.h"
#include "pipeline/network_build.h"

void pipeline_graph_train_options_init(PipelineGraphTrainOptions *options)
{
  *options = (PipelineGraphTrainOptions){.architecture = "cnn:32,64",
                                         .dropout = 0.5,
                                         .quantile = NAN,
                                         .validation_fraction = 0.1,
                                         .layer_decay = 1,
                                         .checkpoint_seconds = 5};
  pipeline_graph_fit_options_init(&options->fit);
  pipeline_graph_loss_options_init(&options->loss_options);
}

static gboolean check_options(const PipelineGraphTrainOptions *o, GError **error)
{
  const PipelineGraphFitOptions *fit = &o->fit;
  const struct {
    gboolean good;
    const gchar *message;
  } rules[] = {
      {fit->epochs >= 1 && fit->epochs <= 100000, "epochs must be from 1 to 100000"},
      {fit->batch_size >= 1 && fit->batch_size <= 65536, "the batch size must be from 1 to 65536"},
      {fit->learning_rate > 0 && fit->learning_rate <= 10, "the learning rate must be above 0, at most 10"},
      {fit->optimiser_options.weight_decay >= 0 && fit->optimiser_options.weight_decay <= 10,
       "the weight decay must be from 0 to 10"},
      {fit->optimiser_options.l1 >= 0 && fit->optimiser_options.l2 >= 0, "l1 and l2 must not be negative"},
      {fit->clip_norm >= 0 && fit->clip_value >= 0, "the limits of gradients must not be negative"},
      {o->dropout >= 0 && o->dropout < 1, "the dropout must be from 0 to below 1"},
      {o->loss_options.label_smoothing >= 0 && o->loss_options.label_smoothing < 1,
       "the label smoothing must be from 0 to below 1"},
      {o->validation_fraction >= 0 && o->test_fraction >= 0 && o->validation_fraction + o->test_fraction <= 0.9,
       "validation and test must leave a tenth of the rows to train on"},
      {o->loss_options.focal_gamma >= 0 && o->loss_options.focal_gamma <= 100, "the focal gamma must be from 0 to 100"},
      {o->loss_options.huber_delta > 0 && isfinite(o->loss_options.huber_delta), "the huber delta must be above 0"},
      {!(o->quantile <= 0) && !(o->quantile >= 1), "the quantile must lie between 0 and 1"},
      {fit->rehearsal_share > 0 && fit->rehearsal_share <= 0.9,
       "the share of rehearsed rows must be above 0, at most 0.9"},
      {o->layer_decay > 0 && o->layer_decay <= 1, "the decay of the rate by layer must be above 0, at most 1"},
      {fit->row_visits == 0 || fit->row_visits >= fit->batch_size, "the row visits must be at least one batch"},
      {o->checkpoint_seconds >= 0, "the seconds between checkpoints must not be negative"},
      {fit->micro_batch <= fit->batch_size, "the micro-batch must not be larger than the batch"},
      {fit->loss_scale > 0 && isfinite(fit->loss_scale), "the scale of the loss must be above 0"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(rules); i++) {
    if (rules[i].good) continue;
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, rules[i].message);
    return FALSE;
  }
  return TRUE;
}

/* --- the parts of one training ------------------------------------------------------------------------------------ */

static void training_clear(PipelineGraphTraining *training)
{
  pipeline_cuda_monitor_free(training->monitor);
  pipeline_graph_fit_free(training->fit);
  pipeline_graph_plan_free(training->plan);
  onnx_graph_free(training->graph);
  g_free(training->order);
  pipeline_spill_free(training->joined);
  g_free(training->joined_targets);
  g_free(training->class_weights);
  g_free(training->harden_scale);
  g_free(training->harden_low);
  g_free(training->harden_high);
  g_free(training->fingerprint);
  g_free(training->environment);
  g_free(training->written_in);
  g_clear_pointer(&training->from, g_bytes_unref);
  pipeline_calibration_before_clear(&training->before);
  g_free(training->note);
}

static void split_rows(PipelineGraphTraining *training)
{
  const PipelineGraphTrainOptions *options = training->options;
  PipelineGraphData *data = &training->data;
  guint64 n = training->rows->n_rows;
  data->n_test = (guint64)((double)n * options->test_fraction + 0.5);
  data->n_validation = (guint64)((double)n * options->validation_fraction + 0.5);
  if (data->n_validation < PIPELINE_MIN_VALIDATION) data->n_validation = 0;
  data->n_train = n - data->n_test - data->n_validation;
  training->order = g_new(guint64, n + 1);
  for (guint64 i = 0; i < n; i++) training->order[i] = i;
  if (options->shuffle_split) { /* the test rows stay the last ones */
    PipelineRandom random;
    pipeline_random_seed(&random, options->fit.seed ^ G_GUINT64_CONSTANT(0x5ca1ab1e));
    pipeline_random_shuffle(&random, training->order, n - data->n_test);
  }
  data->train = training->order;
  data->validation = training->order + data->n_train;
  data->test = data->validation + data->n_validation;
}

/* Old rows lie behind the new ones; the last of them validate. */
static gboolean prepare_rows(PipelineGraphTraining *training, GError **error)
{
  const PipelineGraphRows *old = training->options->rehearsal;
  PipelineGraphData *data = &training->data;
  data->x = training->rows->x;
  data->targets = training->rows->targets;
  data->weights = training->rows->weights;
  data->n_targets = MAX(training->rows->n_labels, 1);
  data->n_rows = training->rows->n_rows;
  if (old == NULL) return TRUE;
  if (data->weights != NULL) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                        "rehearsed rows have no weights: leave out the weights or the rehearsal");
    return FALSE;
  }
  if (!pipeline_finetune_join(training->rows, old, &training->joined, &training->joined_targets, error)) return FALSE;
  data->x = pipeline_spill_get_data(training->joined);
  data->targets = training->joined_targets;
  data->n_rows += old->n_rows;
  guint64 n = training->rows->n_rows,
          n_validation = data->n_validation > 0
                             ? (guint64)((double)old->n_rows * training->options->validation_fraction + 0.5)
                             : 0;
  training->order = g_renew(guint64, training->order, data->n_rows + 1);
  for (guint64 i = n; i < data->n_rows; i++) training->order[i] = i;
  data->train = training->order;
  data->validation = data->train + data->n_train;
  data->test = data->validation + data->n_validation;
  data->n_old_validation = n_validation;
  data->n_old = old->n_rows - n_validation;
  data->old = training->order + n;
  data->old_validation = data->old + data->n_old;
  return TRUE;
}

/* The schema that the graph carries is the one of the rows, unless it has one already. */
static gboolean prepare_graph(PipelineGraphTraining *training, GError **error)
{
  const PipelineGraphTrainOptions *options = training->options;
  const PipelineGraphRows *rows = training->rows;
  if (options->from == NULL) {
    const PipelineGraphBuildOptions build = {.architecture = options->architecture,
                                             .dropout = options->dropout,
                                             .standardised = options->standardised,
                                             .seed = options->fit.seed,
                                             .interval = options->interval,
                                             .labels = rows->labels,
                                             .channels = options->channels > 0 ? options->channels : rows->channels,
                                             .height = options->height > 0 ? options->height : rows->height,
                                             .width = options->width > 0 ? options->width : rows->width,
                                             .common_scale =
                                                 options->fit.harden.method != NULL && options->harden_absolute};
    training->graph = pipeline_graph_build(&build, rows->schema, rows->x, rows->n_features, rows->targets,
                                           training->data.train, training->data.n_train, error);
    return training->graph != NULL;
  }
  g_autoptr(GError) cause = NULL;
  training->graph = onnx_graph_from_bytes(training->from, &cause);
  if (training->graph == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "%s", cause->message);
    return FALSE;
  }
  onnx_graph_simplify_for_training(training->graph);
  pipeline_linear_graph_expand(training->graph);
  if (onnx_graph_get_metadata(training->graph, PIPELINE_SCHEMA_KEY) == NULL) {
    g_autofree gchar *spec = pipeline_model_spec_format(rows->schema);
    onnx_graph_set_metadata(training->graph, PIPELINE_SCHEMA_KEY, spec);
  }
  return TRUE;
}

/* The shape of a row as the graph's one input declares it, else [n_features]. */
static gboolean prepare_input(PipelineGraphTraining *training, GError **error)
{
  PipelineGraphData *data = &training->data;
  const OnnxValue *input = NULL;
  guint fed = 0;
  for (guint i = 0; i < training->graph->inputs->len; i++) {
    const OnnxValue *candidate = g_ptr_array_index(training->graph->inputs, i);
    if (!onnx_graph_is_fed(training->graph, candidate)) continue;
    input = candidate;
    fed++;
  }
  if (fed != 1 || input->type != ONNX_TYPE_FLOAT || input != g_ptr_array_index(training->graph->inputs, 0)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "the model has %u inputs; training on a graph needs one float input", fed);
    return FALSE;
  }
  gsize n = 1;
  for (guint d = 1; input->has_shape && d < input->n_dims; d++) {
    gint64 size = input->dims[d].size;
    if (size < 1 && input->n_dims == 2) size = (gint64)training->rows->n_features;
    data->dims[data->n_dims++] = size;
    n *= (gsize)MAX(size, 0);
  }
  if (data->n_dims == 0) data->dims[data->n_dims++] = (gint64)(n = training->rows->n_features);
  if (n == training->rows->n_features) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
              "the model's input '%s' takes %zu numbers a row, the data have %zu", input->name, n,
              training->rows->n_features);
  return FALSE;
}

static gboolean prepare(PipelineGraphTraining *training, GError **error)
{
  const PipelineGraphTrainOptions *options = training->options;
  split_rows(training);
  if (training->data.n_train == 0) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "there is no row to train on");
    return FALSE;
  }
  if (!pipeline_calibration_begin(options->from, training->rows->schema, &options->calibration,
                                  training->data.n_validation, &training->before, &training->from, error) ||
      !prepare_rows(training, error) || !prepare_graph(training, error) || !prepare_input(training, error) ||
      !pipeline_graph_training_prepare_head(training, error))
    return FALSE;
  training->plan = pipeline_graph_plan_new(training->graph, options->freeze, error);
  if (training->plan == NULL) return FALSE;
  pipeline_finetune_decay_rates(training->plan, options->layer_decay);
  training->backend = pipeline_gradient_backend_choose(options->backend, training->graph, &training->note, error);
  if (training->backend == NULL) return FALSE;
  if (training->backend->monitor != NULL) training->monitor = training->backend->monitor();
  PipelineGraphFitOptions fit = options->fit;
  if (fit.augment.channels == 0) {
    fit.augment.channels = options->channels > 0 ? options->channels : training->rows->channels;
    fit.augment.height = options->height > 0 ? options->height : training->rows->height;
    fit.augment.width = options->width > 0 ? options->width : training->rows->width;
  }
  pipeline_graph_training_prepare_ball(training, &fit.harden);
  training->fit = pipeline_graph_fit_new(training->graph, training->plan, &training->head, 1, &training->data, &fit,
                                         training->backend, error);
  return training->fit != NULL && pipeline_graph_training_check_logits(training, error) &&
         pipeline_graph_training_check_quantiles(training, error);
}

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

static gchar *describe_options(const PipelineGraphTraining *training)
{
  const PipelineGraphTrainOptions *o = training->options;
  const PipelineGraphFitOptions *f = &o->fit;
  const PipelineOptimiserOptions *a = &f->optimiser_options;
  const PipelineScheduleOptions *s = &f->schedule_options;
  const PipelineGraphLossOptions *l = &training->head.options;
  double quantile = l->quantiles != NULL ? l->quantiles[0] : 0.5;
  return g_strdup_printf(
      "%a %u %u %u %a %s %a %a %a %a %a %a %a %s %" G_GUINT64_FORMAT
      " %a %a %a %u %a %a %d %a %a %a %a %u %a %u %u %u %u "
      "%" G_GUINT64_FORMAT " %s %a %a %a %a %d %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %s %a %a %" G_GUINT64_FORMAT
      " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %u %d %a %u",
      quantile, f->epochs, f->batch_size, f->patience, f->learning_rate, f->optimiser->name, a->momentum, a->beta_1,
      a->beta_2, a->epsilon, a->weight_decay, a->l1, a->l2, f->schedule->name, s->warm_up, s->period, s->gamma,
      s->floor, s->patience, f->clip_norm, f->clip_value, (int)f->average, f->average_decay, f->average_start,
      f->augment.noise, f->augment.mixup, f->augment.shift, f->augment.flip, f->augment.cutout, f->augment.channels,
      f->augment.height, f->augment.width, f->seed, training->head.loss->name, l->label_smoothing, l->focal_gamma,
      l->huber_delta, l->target_scale, (int)o->balanced, training->data.n_train, training->data.n_validation,
      training->head.value, f->rehearsal_share, o->layer_decay, f->row_visits, training->data.n_old,
      training->data.n_old_validation, f->micro_batch, (int)f->precision, f->loss_scale, f->growth_steps);
}

static gchar *describe_harden(const PipelineGraphTraining *training)
{
  const PipelineGraphTrainOptions *o = training->options;
  const PipelineHardenOptions *h = &o->fit.harden;
  if (h->method == NULL) return g_strdup("");
  return g_strdup_printf("%s %d %a %u %a %u %a %d %d %a %a", h->method->name, (int)h->norm, h->epsilon, h->steps,
                         h->step_size, h->replays, h->beta, (int)o->harden_absolute, (int)o->harden_range,
                         o->harden_low, o->harden_high);
}

/* Of the options, the rows and the first weights: what a checkpoint belongs to. */
static gchar *make_fingerprint(PipelineGraphTraining *training)
{
  g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
  g_autofree gchar *text = describe_options(training), *harden = describe_harden(training);
  const PipelineGraphFitState *state = pipeline_graph_fit_get_state(training->fit);
  const PipelineGraphRows *rows = training->rows;
  pipeline_checksum_update(checksum, text, strlen(text));
  pipeline_checksum_update(checksum, harden, strlen(harden));
  for (guint i = 0; i < training->plan->parameters->len; i++) {
    const gchar *name = g_array_index(training->plan->parameters, PipelineGraphParameter, i).name;
    pipeline_checksum_update(checksum, name, strlen(name) + 1);
  }
  pipeline_checksum_update(checksum, state->parameters, state->n_parameters * sizeof(float));
  if (training->from != NULL)
    pipeline_checksum_update(checksum, g_bytes_get_data(training->from, NULL), g_bytes_get_size(training->from));
  if (rows->weights != NULL) pipeline_checksum_update(checksum, rows->weights, rows->n_rows * sizeof(float));
  pipeline_checksum_update(checksum, training->data.x, training->data.n_rows * rows->n_features * sizeof(float));
  pipeline_checksum_update(checksum, training->data.targets,
                           training->data.n_rows * training->data.n_targets * sizeof(float));
  pipeline_checksum_update(checksum, training->order, training->data.n_rows * sizeof(guint64));
  return g_strdup(g_checksum_get_string(checksum));
}

static gboolean resume(PipelineGraphTraining *training, GError **error)
{
  gboolean found;
  PipelineCommunicator *all = training->options->fit.communicator;
  if (training->options->checkpoint == NULL && all == NULL) return TRUE;
  training->fingerprint = make_fingerprint(training);
  if (all != NULL &&
      !pipeline_communicator_compare(all, training->fingerprint, "rows, options or first weights", error))
    return FALSE;
  if (training->options->checkpoint == NULL) return TRUE;
  training->environment = pipeline_checkpoint_environment(training->backend, all != NULL ? all->size : 1);
  if (!pipeline_graph_checkpoint_read(training->options->checkpoint, pipeline_graph_fit_get_state(training->fit),
                                      training->plan, training->fingerprint, training->environment, &found,
                                      &training->written_in, error))
    return FALSE;
  return !found || pipeline_graph_fit_restore(training->fit, error);
}

static gboolean write_checkpoint(PipelineGraphTraining *training, gboolean now, GError **error)
{
  gint64 time = g_get_monotonic_time();
  const PipelineCommunicator *all = training->options->fit.communicator;
  if (training->options->checkpoint == NULL || (all != NULL && all->rank > 0)) return TRUE;
  if (!now && (double)(time - training->written) < training->options->checkpoint_seconds * 1e6) return TRUE;
  training->written = time;
  if (!pipeline_graph_fit_pull(training->fit, error)) return FALSE;
  return pipeline_graph_checkpoint_write(training->options->checkpoint, pipeline_graph_fit_get_state(training->fit),
                                         training->plan, training->graph, training->fingerprint, training->environment,
                                         error);
}

/* --- the run ------------------------------------------------------------------------------------------------------ */

static double seconds_of(const PipelineGraphTraining *training)
{
  return (double)(g_get_monotonic_time() - training->started) / 1e6;
}

/* Accuracy, or -rmse as elsewhere: the fit counts mean squares. */
static double metric_of(const PipelineGraphTraining *training, double merit)
{
  return training->rows->schema->task == DRIFT_TASK_REGRESSION && merit <= 0 ? -sqrt(-merit) : merit;
}

static gboolean report(PipelineGraphTraining *training, PipelineTrainProgressFunc progress, gpointer user_data)
{
  const PipelineGraphFitState *state = pipeline_graph_fit_get_state(training->fit);
  double seconds = seconds_of(training);
  PipelineCudaFigures device = pipeline_cuda_monitor_read(training->monitor);
  const PipelineTrainProgress now = {.epoch = state->epoch,
                                     .epochs = pipeline_graph_fit_epochs(training->fit),
                                     .rows_seen = (guint64)state->epoch * pipeline_graph_fit_epoch_rows(training->fit),
                                     .loss = state->train_loss,
                                     .validation_loss = state->validation_loss,
                                     .validation_metric = metric_of(training, state->validation_metric),
                                     .learning_rate = pipeline_graph_fit_learning_rate(training->fit),
                                     .samples_per_second = (double)training->rows_done / MAX(1e-9, seconds),
                                     .seconds = seconds,
                                     .test_loss = state->test_loss,
                                     .test_metric = metric_of(training, state->test_metric),
                                     .gradient_norm = state->gradient_norm,
                                     .dead_share = state->dead_share,
                                     .robust_metric = state->robust_metric,
                                     .device = training->backend->monitor != NULL ? &device : NULL,
                                     .memory = pipeline_graph_fit_get_memory(training->fit),
                                     .micro_batch = state->micro_batch,
                                     .loss_scale =
                                         pipeline_fit_scale_is_used(&training->options->fit) ? state->loss_scale : 0,
                                     .skipped_steps = state->skipped_steps};
  return progress == NULL || progress(&now, user_data);
}

static gboolean run(PipelineGraphTraining *training, PipelineTrainProgressFunc progress, gpointer user_data,
                    GError **error)
{
  const PipelineGraphFitState *state = pipeline_graph_fit_get_state(training->fit);
  training->started = training->written = g_get_monotonic_time();
  while (!pipeline_graph_fit_is_finished(training->fit)) {
    guint64 before = state->position;
    gboolean epoch_done, go_on = TRUE;
    if (!pipeline_graph_fit_step(training->fit, &epoch_done, error)) return FALSE;
    training->rows_done +=
        epoch_done ? pipeline_graph_fit_epoch_rows(training->fit) - before : state->position - before;
    if (epoch_done) go_on = report(training, progress, user_data);
    if (training->options->stop != NULL && training->options->stop(user_data)) go_on = FALSE;
    if (!go_on) pipeline_graph_fit_ask_stop(training->fit);
    go_on = !pipeline_graph_fit_is_stopped(training->fit);
    gboolean finished = pipeline_graph_fit_is_finished(training->fit);
    if (!write_checkpoint(training, !go_on || finished, error)) return FALSE;
    if (go_on || finished) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED,
                "training was stopped after epoch %u of %u, row %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                " of the next one",
                state->epoch, pipeline_graph_fit_epochs(training->fit), state->position,
                pipeline_graph_fit_epoch_rows(training->fit));
    return FALSE;
  }
  return TRUE;
}

static GBytes *export_graph(const PipelineGraphTraining *training, GError **error)
{
  const float *statistics, *values = pipeline_graph_fit_get_result(training->fit, &statistics);
  g_autoptr(GError) cause = NULL;
  pipeline_graph_plan_store(training->plan, training->graph, values, statistics);
  pipeline_graph_set_prediction(training->graph);
  GBytes *onnx = onnx_graph_to_bytes(training->graph, &cause);
  if (onnx == NULL) g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "%s", cause->message);
  return onnx;
}

/* Fits calibration and decision to the validation rows. */
static gboolean calibrate(const PipelineGraphTraining *training, GBytes **onnx, PipelineCalibration *calibration,
                          gchar **warning, GError **error)
{
  const PipelineGraphData *data = &training->data;
  const PipelineCalibrationOptions *asked = &training->options->calibration;
  gboolean needed = asked->method != NULL || asked->threshold != NULL || training->before.method != NULL ||
                    training->before.rule != NULL; /* a table of many rows is made for nothing else */
  g_autoptr(DriftTable) validation =
      needed && data->n_validation > 0
          ? pipeline_graph_rows_tabulate(training->rows, data->validation, data->n_validation)
          : NULL;
  return pipeline_calibration_end(onnx, training->rows->schema, validation, asked, &training->before, calibration,
                                  warning, error);
}

/* The margin of an interval, from the validation rows. */
static gboolean conformalise(const PipelineGraphTraining *training, GBytes **onnx, PipelineInterval *interval,
                             GError **error)
{
  const PipelineGraphData *data = &training->data;
  if (isnan(training->level)) return TRUE;
  g_autoptr(DriftTable) validation = pipeline_graph_rows_tabulate(training->rows, data->validation, data->n_validation);
  GBytes *wider = pipeline_interval_conformalise(*onnx, training->rows->schema, validation, interval, error);
  if (wider == NULL) return FALSE;
  g_bytes_unref(*onnx);
  *onnx = wider;
  return TRUE;
}

static gboolean deliver(PipelineGraphTraining *training, PipelineTrainResult *result, GError **error)
{
  const PipelineGraphFitState *state = pipeline_graph_fit_get_state(training->fit);
  double seconds = seconds_of(training), test_loss, test_metric;
  if (!pipeline_graph_fit_measure(training->fit, training->data.test, training->data.n_test, &test_loss, &test_metric,
                                  error))
    return FALSE;
  PipelineCalibration calibration = {.threshold = NAN};
  gchar *warning = NULL;
  GBytes *onnx = export_graph(training, error);
  if (onnx == NULL) return FALSE;
  PipelineInterval interval = {.level = NAN};
  if (!calibrate(training, &onnx, &calibration, &warning, error) || !conformalise(training, &onnx, &interval, error)) {
    g_bytes_unref(onnx);
    return FALSE;
  }
  *result = (PipelineTrainResult){
      .onnx = onnx,
      .calibration = calibration,
      .interval = interval,
      .warning = warning,
      .backend = pipeline_gradient_backend_describe(training->backend),
      .epochs = state->epoch,
      .best_epoch = state->best_epoch > 0 ? state->best_epoch : state->epoch,
      .n_train = training->data.n_train,
      .n_validation = training->data.n_validation,
      .n_skipped = training->rows->n_skipped,
      .spilled_bytes = pipeline_spill_get_filed(training->rows->spill) + pipeline_spill_get_filed(training->joined),
      .train_loss = state->train_loss,
      .validation_loss = state->best_epoch > 0 ? state->best_loss : NAN,
      .validation_metric = calibration.n > 0 ? calibration.accuracy_after : metric_of(training, state->best_metric),
      .seconds = seconds,
      .samples_per_second = (double)training->rows_done / MAX(1e-9, seconds),
      .n_test = training->data.n_test,
      .n_old = training->data.n_old,
      .n_old_validation = training->data.n_old_validation,
      .row_visits = state->epoch * pipeline_graph_fit_epoch_rows(training->fit),
      .old_validation_metric = metric_of(training, state->best_old_metric),
      .test_loss = test_loss,
      .test_metric = metric_of(training, test_metric),
      .robust_metric = state->best_epoch > 0 ? state->best_attacked_metric : state->robust_metric};
  gchar *note = NULL;
  if (state->collapsed_epoch > 0)
    note = g_strdup_printf(
        "catastrophic overfitting in epoch %u: accuracy under PGD fell from %.3f to %.3f on the validation rows; the "
        "training was stopped and the weights of epoch %u are delivered; use pgd or a smaller epsilon",
        state->collapsed_epoch, state->best_robust_metric, state->robust_metric, state->best_epoch);
  else if (training->options->fit.harden.method != NULL && state->best_epoch == 1 && state->epoch >= 5)
    result->warning =
        g_strdup("the loss under attack on the validation rows was lowest after the first epoch, whose weights "
                 "are delivered: the epsilon is too large for this model and these rows, or the learning rate");
  else if (training->written_in != NULL)
    note = g_strdup_printf("the checkpoint was written in another environment (%s; here: %s): the model is "
                           "sound, but not the same to the bit as that of an unbroken training",
                           training->written_in, training->environment);
  else
    note = g_strdup(training->note);
  if (note != NULL) pipeline_calibration_join_warning(&result->warning, note);
  g_free(note);
  if (state->micro_batch == 0 || state->micro_batch == training->options->fit.micro_batch) return TRUE;
  g_autofree gchar *passes = g_strdup_printf(
      "batches went through in passes of at most %u rows, for which the device had memory", state->micro_batch);
  pipeline_calibration_join_warning(&result->warning, passes);
  return TRUE;
}

/* What all processes find alike: they are still at the same place. */
static gboolean is_common(const GError *error)
{
  return g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_DIVERGED) ||
         g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED) ||
         g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_PEER);
}

static gboolean check_before(const PipelineGraphRows *rows, const PipelineGraphTrainOptions *options, GError **error)
{
  return check_options(options, error) && pipeline_labels_check(rows, options, error) &&
         pipeline_memory_require(PIPELINE_TRAINING_BYTES, error) &&
         (options->interval == 0 || pipeline_interval_check(options->interval, rows->schema, error));
}

gboolean pipeline_graph_train(const PipelineGraphRows *rows, const PipelineGraphTrainOptions *options,
                              PipelineTrainProgressFunc progress, gpointer user_data, PipelineTrainResult *result,
                              GError **error)
{
  g_return_val_if_fail(rows != NULL && options != NULL && result != NULL, FALSE);
  PipelineGraphTraining training = {.rows = rows, .options = options};
  PipelineCommunicator *all = options->fit.communicator;
  g_autoptr(GError) failure = NULL;
  gboolean done = pipeline_communicator_agree(
                      all, check_before(rows, options, &failure) && prepare(&training, &failure), &failure) &&
                  pipeline_communicator_agree(all, resume(&training, &failure), &failure) &&
                  pipeline_graph_fit_compare(training.fit, &failure);
  if (done) {
    done = run(&training, progress, user_data, &failure) && deliver(&training, result, &failure);
    if (!done && all != NULL) all->apart = !is_common(failure);
  }
  training_clear(&training);
  if (!done) g_propagate_error(error, g_steal_pointer(&failure));
  return done;
}
