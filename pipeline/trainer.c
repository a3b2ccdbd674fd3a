/* From a table to ONNX bytes: rows → graph (built or given) → feature matrix → fit → weights back into the graph. */
#include "pipeline/trainer.h"

#include <math.h>
#include <string.h>

#include "pipeline/checksum.h"
#include "pipeline/ensemble.h"
#include "pipeline/gradient.h"
#include "pipeline/memory.h"
#include "pipeline/model_spec.h"
#include "pipeline/network_build.h"
#include "pipeline/network_features.h"
#include "pipeline/network_graph.h"
#include "pipeline/prepare_search.h"
#include "pipeline/trainer_checkpoint.h"
#include "pipeline/trainer_fit.h"
#include "pipeline/trainer_fit_graph.h"
#include "pipeline/trainer_graph.h"
#include "pipeline/trainer_rows.h"
#include "pipeline/trainer_clean.h"
#include "pipeline/trainer_weights.h"
#include "pipeline/tree_trainer.h"

#define MAX_EPOCHS 100000u
#define MAX_BATCH 65536u

void pipeline_train_options_init(PipelineTrainOptions *options)
{
  *options = (PipelineTrainOptions){.architecture = "mlp:64,64",
                                    .patience = 0,
                                    .learning_rate = 5e-3,
                                    .weight_decay = 0.5,
                                    .validation_fraction = 0.1,
                                    .seed = 1,
                                    .adversarial_steps = 7,
                                    .checkpoint_seconds = 5};
}

void pipeline_train_result_clear(PipelineTrainResult *result)
{
  g_clear_pointer(&result->onnx, g_bytes_unref);
  g_free(result->plan);
  g_free(result->cleaning);
  g_free(result->warning);
  g_free(result->backend);
  pipeline_calibration_clear(&result->calibration);
  memset(result, 0, sizeof *result);
}

static gboolean check_options(const PipelineTrainOptions *options, GError **error)
{
  const struct {
    gboolean good;
    const gchar *message;
  } rules[] = {
      {options->from || options->architecture, "an architecture or a model to start from is needed"},
      {options->epochs <= MAX_EPOCHS, "epochs must be at most 100000"},
      {options->batch_size <= MAX_BATCH, "the batch size must be at most 65536"},
      {options->learning_rate > 0 && options->learning_rate <= 10, "the learning rate must be above 0, at most 10"},
      {options->weight_decay >= 0 && options->weight_decay <= 10, "the weight decay must be from 0 to 10"},
      {options->validation_fraction >= 0 && options->validation_fraction <= 0.9,
       "the validation fraction must be from 0 to 0.9"},
      {options->adversarial_epsilon >= 0 && options->adversarial_epsilon <= 100,
       "the adversarial epsilon must be from 0 to 100 standard deviations"},
      {options->adversarial_epsilon == 0 || (options->adversarial_steps > 0 && options->adversarial_steps <= 1000),
       "the adversarial steps must be from 1 to 1000"},
      {options->interval == 0 && options->quantile == 0,
       "intervals and quantiles are for trees, or trained on a graph (pipeline/graph_trainer.h)"},
      {options->monotone == NULL && (options->test_fraction == 0 || options->split) && !options->balanced,
       "monotone constraints are for trees (--arch trees)"},
      {options->checkpoint_seconds >= 0, "the seconds between checkpoints must not be negative"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(rules); i++) {
    if (rules[i].good) continue;
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, rules[i].message);
    return FALSE;
  }
  return TRUE;
}

/* Small batches, 30 epochs as far as 3,500 steps go (pipeline/README.md, "Defaults"). */
void pipeline_trainer_choose_schedule(const PipelineTrainOptions *options, guint64 n_train, guint *batch_size,
                                      guint *epochs)
{
  *batch_size = options->batch_size;
  if (*batch_size == 0) *batch_size = n_train < 200 ? 16 : n_train < 10000 ? 32 : n_train < 50000 ? 128 : 256;
  *epochs = options->epochs;
  if (*epochs == 0) *epochs = (guint)CLAMP(ceil(3500 / ceil((double)n_train / *batch_size)), 10, 30);
}

/* --- the parts of one training ------------------------------------------------------------------------------------ */

typedef struct {
  const DriftTable *table;
  const DriftSchema *schema;
  const PipelineTrainOptions *options;
  PipelineFitOptions fit_options;
  PipelineTrainerRows *rows;
  PipelineNetworkGraph *graph;
  PipelineTrainerCleaning cleaning;
  PipelinePrepared *prepared; /* or NULL */
  PipelineSpill *matrix;      /* of features */
  float *x;                   /* the same */
  float *weights;             /* or NULL */
  PipelineReweighing reweighing;
  PipelineAttackSpace *space; /* or NULL */
  PipelineFitData data;
  PipelineFit *fit; /* or NULL: */
  PipelineFitGraph *fit_graph;
  gchar *fingerprint;
  GBytes *from; /* without its calibration, or NULL */
  PipelineCalibrationBefore before;
  gint64 started, written; /* monotonic microseconds: begin, last checkpoint */
  guint first_epoch;       /* of this process */
} Training;

static void training_clear(Training *training)
{
  pipeline_fit_free(training->fit);
  pipeline_fit_graph_free(training->fit_graph);
  pipeline_attack_space_free(training->space);
  pipeline_network_graph_free(training->graph);
  pipeline_prepared_free(training->prepared);
  pipeline_trainer_cleaning_clear(&training->cleaning);
  pipeline_trainer_rows_free(training->rows);
  pipeline_spill_free(training->matrix);
  g_free(training->weights);
  g_free(training->fingerprint);
  g_clear_pointer(&training->from, g_bytes_unref);
  pipeline_calibration_before_clear(&training->before);
}

/* The default one. */
static GBytes *build_default(const Training *training, GError **error)
{
  const PipelineTrainerRows *rows = training->rows;
  return pipeline_network_build(training->options->architecture, training->table, training->schema, rows->rows,
                                rows->n_train, rows->targets, training->options->seed, error);
}

/* A new network behind the transformations of the plan. */
static GBytes *build_prepared(Training *training, const PipelinePlan *plan, GError **error)
{
  const PipelineTrainOptions *options = training->options;
  const PipelineTrainerRows *rows = training->rows;
  const PipelinePrepareData data =
      pipeline_trainer_rows_prepare(rows, training->table, training->schema, options->seed);
  training->prepared = pipeline_plan_fit_copy(plan, &data, PIPELINE_PLAN_STANDARD, error);
  if (!training->prepared) return NULL;
  return pipeline_network_build_prepared(options->architecture, training->prepared, rows->rows, rows->n_train,
                                         rows->targets, options->seed, error);
}

gboolean pipeline_trainer_search_plan(const DriftTable *table, const DriftSchema *schema,
                                      const PipelineTrainOptions *options, const guint64 *rows, guint64 n_rows,
                                      PipelinePlan **plan, GError **error)
{
  PipelinePlanSearchOptions search;
  json_t *report = NULL;
  pipeline_plan_search_options_init(&search);
  search.split = options->split;
  search.seed = options->seed;
  *plan = pipeline_plan_search(table, schema, rows, n_rows, &search, NULL, NULL, &report, error);
  gboolean good = *plan != NULL;
  if (json_array_size(json_object_get(report, "chosen")) == 0) g_clear_pointer(plan, pipeline_plan_free);
  json_decref(report);
  return good;
}

/* A search that finds nothing leaves the default bit for bit. */
static GBytes *build_searched(Training *training, GError **error)
{
  g_autoptr(PipelinePlan) plan = NULL;
  if (!pipeline_trainer_search_plan(training->table, training->schema, training->options, training->rows->rows,
                                    training->rows->n_train, &plan, error))
    return NULL;
  return plan != NULL ? build_prepared(training, plan, error) : build_default(training, error);
}

static gboolean prepare_graph(Training *training, GError **error)
{
  const PipelineTrainOptions *options = training->options;
  PipelineTrainerRows *rows = training->rows;
  g_autoptr(GBytes) onnx = training->from         ? g_bytes_ref(training->from)
                           : options->search_plan ? build_searched(training, error)
                           : options->plan        ? build_prepared(training, options->plan, error)
                                                  : build_default(training, error);
  if (onnx) training->graph = pipeline_network_graph_read(onnx, training->schema, error);
  if (!training->graph) return FALSE;
  pipeline_network_graph_map_targets(training->graph, rows->targets, training->table->n_rows);
  if (!onnx_graph_get_metadata(training->graph->graph, PIPELINE_SCHEMA_KEY)) {
    g_autofree gchar *spec = pipeline_model_spec_format(training->schema);
    onnx_graph_set_metadata(training->graph->graph, PIPELINE_SCHEMA_KEY, spec);
  }
  return TRUE;
}

/* The loss of a regression is measured in standard deviations of the label, so that rates and losses mean the same in
 * every unit. */
static void choose_target_scale(Training *training)
{
  const PipelineTrainerRows *rows = training->rows;
  double sum = 0, squares = 0, n = (double)rows->n_train;
  for (guint64 i = 0; i < rows->n_train; i++) sum += rows->targets[rows->rows[i]];
  for (guint64 i = 0; i < rows->n_train; i++) {
    double difference = rows->targets[rows->rows[i]] - sum / n;
    squares += difference * difference;
  }
  training->graph->network->loss.target_scale = squares > 0 ? sqrt(squares / n) : 1;
}

static gboolean prepare_data(Training *training, GError **error)
{
  g_autoptr(PipelineFeatureReader) reader = pipeline_feature_reader_new(training->graph, training->schema, error);
  if (!reader) return FALSE;
  if (training->prepared) pipeline_feature_reader_set_names(reader, training->prepared->names);
  training->matrix = pipeline_feature_reader_spill(reader, training->table, error);
  if (!training->matrix) return FALSE;
  training->x = pipeline_spill_get_data(training->matrix);
  if (!pipeline_trainer_weights(training->table, training->schema, training->options, training->rows,
                                &training->reweighing, &training->weights, error))
    return FALSE;
  if (training->prepared) pipeline_prepared_overwrite(training->prepared, training->rows->rows, training->x);
  if (training->options->adversarial_epsilon > 0) {
    training->space = pipeline_feature_reader_find_space(reader, training->table, error);
    if (!training->space) return FALSE;
  }
  if (training->schema->task == DRIFT_TASK_REGRESSION) choose_target_scale(training);
  PipelineTrainerRows *rows = training->rows;
  training->data = (PipelineFitData){.x = training->x,
                                     .targets = rows->targets,
                                     .weights = training->weights,
                                     .train = rows->rows,
                                     .validation = rows->rows + rows->n_train,
                                     .n_rows = training->table->n_rows,
                                     .n_train = rows->n_train,
                                     .n_validation = rows->n_validation};
  return TRUE;
}

static gboolean prepare_fit(Training *training, GError **error)
{
  const PipelineTrainOptions *options = training->options;
  training->fit_options = (PipelineFitOptions){.patience = options->patience,
                                               .learning_rate = options->learning_rate,
                                               .weight_decay = options->weight_decay,
                                               .adversarial_epsilon = options->adversarial_epsilon,
                                               .adversarial_steps = options->adversarial_steps,
                                               .seed = options->seed};
  pipeline_trainer_choose_schedule(options, training->rows->n_train, &training->fit_options.batch_size,
                                   &training->fit_options.epochs);
  const PipelineNetworkBackend *backend = pipeline_network_backend_find(options->backend, error);
  if (!backend) return FALSE;
  training->fit = pipeline_fit_new(training->graph->network, backend, &training->data, &training->fit_options,
                                   training->space, error);
  return training->fit != NULL;
}

/* Of the matrix only what is measured at the end is still needed beside the graph's rows. */
static gboolean prepare_fit_graph(Training *training, GError **error)
{
  training->fit_graph = pipeline_fit_graph_new(training->graph->network, training->schema, training->rows, training->x,
                                               training->weights, error);
  if (!training->fit_graph) return FALSE;
  if (training->rows->n_test == 0) g_clear_pointer(&training->matrix, pipeline_spill_free);
  return TRUE;
}

static gboolean prepare(Training *training, GError **error)
{
  const PipelineTrainOptions *options = training->options;
  gboolean on_graph = pipeline_fit_needs_graph(options);
  if (on_graph && !pipeline_fit_check_graph(options, error)) return FALSE;
  training->rows = pipeline_trainer_divide(training->table, training->schema, options, error);
  if (training->rows == NULL ||
      !pipeline_trainer_clean(&training->table, training->schema, training->rows, options, &training->cleaning, error))
    return FALSE;
  return pipeline_calibration_begin(options->from, training->schema, &options->calibration,
                                    training->rows->n_validation, &training->before, &training->from, error) &&
         prepare_graph(training, error) && prepare_data(training, error) &&
         (on_graph ? prepare_fit_graph : prepare_fit)(training, error);
}

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

/* SHA-256 over everything that decides how the training goes. */
static gchar *make_fingerprint(const Training *training)
{
  const PipelineNetwork *network = training->graph->network;
  const PipelineFitOptions *options = &training->fit_options;
  const PipelineFitData *data = &training->data;
  g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
  g_autofree gchar *text = g_strdup_printf(
      "%u %u %u %a %a %a %u %" G_GUINT64_FORMAT " %u %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %s", options->epochs,
      options->batch_size, options->patience, options->learning_rate, options->weight_decay,
      options->adversarial_epsilon, options->adversarial_steps, options->seed, network->n_inputs, data->n_train,
      data->n_validation, training->options->backend ? training->options->backend : "");
  pipeline_checksum_update(checksum, text, strlen(text));
  pipeline_checksum_update(checksum, network->parameters, network->n_parameters * sizeof(float));
  pipeline_checksum_update(checksum, data->x, data->n_rows * network->n_inputs * sizeof(float));
  pipeline_checksum_update(checksum, data->targets, data->n_rows * sizeof(float));
  pipeline_checksum_update(checksum, data->train, (data->n_train + data->n_validation) * sizeof(guint64));
  if (data->weights) pipeline_checksum_update(checksum, data->weights, data->n_rows * sizeof(float));
  return g_strdup(g_checksum_get_string(checksum));
}

static gboolean resume(Training *training, GError **error)
{
  gboolean found;
  if (!training->options->checkpoint) return TRUE;
  training->fingerprint = make_fingerprint(training);
  return pipeline_checkpoint_read(training->options->checkpoint, pipeline_fit_get_state(training->fit),
                                  training->fingerprint, &found, error);
}

static gboolean write_checkpoint(Training *training, gboolean now, GError **error)
{
  gint64 time = g_get_monotonic_time();
  if (!training->options->checkpoint) return TRUE;
  if (!now && (double)(time - training->written) < training->options->checkpoint_seconds * 1e6) return TRUE;
  training->written = time;
  return pipeline_checkpoint_write(training->options->checkpoint, pipeline_fit_get_state(training->fit),
                                   training->fingerprint, error);
}

/* --- the run ------------------------------------------------------------------------------------------------------ */

static double seconds_since(gint64 start)
{
  return (double)(g_get_monotonic_time() - start) / 1e6;
}

/* Of this process: epochs before a resume are not in its time. */
static double samples_per_second(const Training *training)
{
  const PipelineFitState *state = pipeline_fit_get_state(training->fit);
  double rows = (double)(state->epoch - training->first_epoch) * (double)training->rows->n_train;
  return rows / MAX(1e-9, seconds_since(training->started));
}

static gboolean report(const Training *training, PipelineTrainProgressFunc progress, gpointer user_data)
{
  const PipelineFitState *state = pipeline_fit_get_state(training->fit);
  const PipelineTrainProgress now = {.epoch = state->epoch,
                                     .epochs = training->fit_options.epochs,
                                     .rows_seen = (guint64)state->epoch * training->rows->n_train,
                                     .loss = state->train_loss,
                                     .validation_loss = state->validation_loss,
                                     .validation_metric = state->validation_metric,
                                     .learning_rate = pipeline_fit_learning_rate(training->fit),
                                     .samples_per_second = samples_per_second(training),
                                     .seconds = seconds_since(training->started),
                                     .test_loss = NAN,
                                     .test_metric = NAN,
                                     .gradient_norm = NAN,
                                     .dead_share = NAN,
                                     .robust_metric = NAN};
  return !progress || progress(&now, user_data);
}

static gboolean run_epochs(Training *training, PipelineTrainProgressFunc progress, gpointer user_data, GError **error)
{
  const PipelineFitState *state = pipeline_fit_get_state(training->fit);
  training->first_epoch = state->epoch;
  training->started = training->written = g_get_monotonic_time();
  while (!pipeline_fit_is_finished(training->fit)) {
    if (!pipeline_fit_epoch(training->fit, error)) return FALSE;
    gboolean go_on =
        report(training, progress, user_data) && !(training->options->stop && training->options->stop(user_data));
    gboolean finished = pipeline_fit_is_finished(training->fit);
    if (!write_checkpoint(training, !go_on || finished, error)) return FALSE;
    if (go_on || finished) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED, "training was stopped after epoch %u of %u",
                state->epoch, training->fit_options.epochs);
    return FALSE;
  }
  return TRUE;
}

/* What the network is worth on the test rows. */
static gboolean measure_test(const Training *training, PipelineTrainResult *result, GError **error)
{
  const PipelineTrainerRows *rows = training->rows;
  result->n_test = rows->n_test;
  return rows->n_test == 0 || pipeline_fit_measure(training->graph->network, &training->data,
                                                   rows->rows + rows->n_train + rows->n_validation, rows->n_test,
                                                   &result->test_loss, &result->test_metric, error);
}

/* Fits calibration and decision to the validation rows. */
static gboolean calibrate(const Training *training, GBytes **onnx, PipelineCalibration *calibration, gchar **warning,
                          GError **error)
{
  const PipelineTrainerRows *rows = training->rows;
  g_autoptr(DriftTable) validation =
      rows->n_validation > 0 ? drift_table_select(training->table, rows->rows + rows->n_train, rows->n_validation)
                             : NULL;
  return pipeline_calibration_end(onnx, training->schema, validation, &training->options->calibration,
                                  &training->before, calibration, warning, error);
}

/* Backends of dense networks have the names of those of graphs, and their libraries. */
static gchar *describe_backend(const Training *training)
{
  const PipelineNetworkBackend *dense = pipeline_network_backend_find(training->options->backend, NULL);
  const PipelineGradientBackend *backend = pipeline_gradient_backend_find(dense->name, NULL, NULL);
  return backend != NULL ? pipeline_gradient_backend_describe(backend) : g_strdup(dense->name);
}

/* The fit itself; network->parameters become what it has found. */
static gboolean fit(Training *training, PipelineTrainProgressFunc progress, gpointer user_data,
                    PipelineTrainResult *made, GError **error)
{
  const PipelineFitState *state = pipeline_fit_get_state(training->fit);
  if (!resume(training, error) || !run_epochs(training, progress, user_data, error)) return FALSE;
  *made = (PipelineTrainResult){.backend = describe_backend(training),
                                .epochs = state->epoch,
                                .best_epoch = state->best_epoch > 0 ? state->best_epoch : state->epoch,
                                .n_train = training->rows->n_train,
                                .n_validation = training->rows->n_validation,
                                .n_skipped = training->rows->n_skipped,
                                .spilled_bytes = pipeline_spill_get_filed(training->matrix),
                                .train_loss = state->train_loss,
                                .validation_loss = state->best_epoch > 0 ? state->best_loss : NAN,
                                .validation_metric = state->best_metric,
                                .seconds = seconds_since(training->started),
                                .samples_per_second = samples_per_second(training),
                                .calibration = {.threshold = NAN},
                                .test_loss = NAN,
                                .test_metric = NAN,
                                .robust_metric = NAN};
  memmove(state->parameters, pipeline_fit_get_result(training->fit), state->n_parameters * sizeof(float));
  return TRUE;
}

/* Completes what the fit has made by what is around the layers. */
static gboolean deliver(const Training *training, PipelineTrainResult *made, GError **error)
{
  made->onnx = pipeline_network_graph_write(training->graph, training->graph->network->parameters, error);
  if (!made->onnx || !calibrate(training, &made->onnx, &made->calibration, &made->warning, error)) return FALSE;
  if (made->calibration.n > 0) made->validation_metric = made->calibration.accuracy_after;
  made->reweighing = training->reweighing;
  made->cleaning = g_strdup(training->cleaning.report);
  if (training->prepared) made->plan = pipeline_prepared_format_plan(training->prepared);
  return measure_test(training, made, error);
}

static gboolean run(Training *training, PipelineTrainProgressFunc progress, gpointer user_data,
                    PipelineTrainResult *result, GError **error)
{
  PipelineTrainResult made = {.onnx = NULL};
  if (!(training->fit ? fit(training, progress, user_data, &made, error)
                      : pipeline_fit_graph_run(training->fit_graph, training->options, training->graph->network,
                                               progress, user_data, &made, error)))
    return FALSE;
  gboolean done = deliver(training, &made, error);
  if (done)
    *result = made;
  else
    pipeline_train_result_clear(&made);
  return done;
}

gboolean pipeline_train(const DriftTable *table, const DriftSchema *schema, const PipelineTrainOptions *options,
                        PipelineTrainProgressFunc progress, gpointer user_data, PipelineTrainResult *result,
                        GError **error)
{
  g_return_val_if_fail(table && schema && options && result, FALSE);
  if (options->from != NULL && !pipeline_ensemble_check_single(options->from, error)) return FALSE;
  if (pipeline_tree_is_asked(options))
    return pipeline_tree_train(table, schema, options, progress, user_data, result, error);
  if (!check_options(options, error) || !pipeline_memory_require(PIPELINE_TRAINING_BYTES, error)) return FALSE;
  if (pipeline_trainer_graph_is_asked(options))
    return pipeline_trainer_graph_run(table, schema, options, progress, user_data, result, error);
  Training training = {.table = table, .schema = schema, .options = options};
  g_autoptr(GError) cause = NULL;
  gboolean ready = prepare(&training, &cause), done = FALSE,
           whole = !ready && options->from && pipeline_fit_needs_graph(options) &&
                   g_error_matches(cause, PIPELINE_ERROR, PIPELINE_ERROR_MODEL); /* no chain of dense layers */
  if (!whole && pipeline_communicator_agree(options->communicator, ready, &cause))
    done = run(&training, progress, user_data, result, &cause);
  training_clear(&training);
  if (whole) return pipeline_trainer_graph_tune(table, schema, options, progress, user_data, result, error);
  if (cause) g_propagate_error(error, g_steal_pointer(&cause));
  return done;
}
