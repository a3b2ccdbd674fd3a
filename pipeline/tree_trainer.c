#include "pipeline/tree_trainer.h"

#include <math.h>
#include <string.h>

#include "pipeline/checksum.h"
#include "pipeline/network_features.h"
#include "pipeline/trainer_clean.h"
#include "pipeline/trainer_rows.h"
#include "pipeline/trainer_weights.h"
#include "pipeline/tree_boost.h"
#include "pipeline/tree_checkpoint.h"
#include "pipeline/network_build.h"
#include "pipeline/tree_graph.h"
#include "pipeline/tree_quantile.h"

gboolean pipeline_tree_is_asked(const PipelineTrainOptions *options)
{
  return options->from != NULL
             ? pipeline_tree_onnx_is_ensemble(options->from) || pipeline_tree_is_architecture(options->architecture)
             : pipeline_tree_is_architecture(options->architecture);
}

/* --- the parts of one training ------------------------------------------------------------------------------------ */

/* Rows of one purpose, gathered side by side. */
typedef struct {
  float *x, *targets, *weights; /* weights NULL: all 1 */
  gsize n;
} Rows;

typedef struct {
  const DriftTable *table;
  const DriftSchema *schema;
  const PipelineTrainOptions *options;
  PipelineTreeOptions tree_options;
  PipelineTrainerRows *rows;
  PipelineTrainerCleaning cleaning;
  PipelinePrepared *prepared; /* of options->plan, or NULL */
  PipelineTreeGraph graph;
  PipelineLoss loss;
  double target_shift; /* of quantiles: targets are (label − this) / loss.target_scale */
  PipelineReweighing reweighing;
  Rows train, validation, test;
  gchar *monotone; /* as XGBoost wants it, or NULL */
  PipelineTreeBoost *boost;
  guint n_start; /* trees of the model it started from */
  gchar *fingerprint;
  gint64 started, written; /* monotonic microseconds */
  guint first_round;       /* of this process */
} Training;

static void rows_clear(Rows *rows)
{
  g_free(rows->x);
  g_free(rows->targets);
  g_free(rows->weights);
}

static void training_clear(Training *training)
{
  pipeline_tree_boost_free(training->boost);
  pipeline_tree_graph_clear(&training->graph);
  pipeline_prepared_free(training->prepared);
  pipeline_trainer_cleaning_clear(&training->cleaning);
  pipeline_trainer_rows_free(training->rows);
  rows_clear(&training->train);
  rows_clear(&training->validation);
  rows_clear(&training->test);
  g_free(training->monotone);
  g_free(training->fingerprint);
}

static gboolean invalid(GError **error, const gchar *message)
{
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, message);
  return FALSE;
}

static gboolean read_options(Training *training, GError **error)
{
  const PipelineTrainOptions *options = training->options;
  PipelineTreeOptions *tree = &training->tree_options;
  const gchar *architecture = pipeline_tree_is_architecture(options->architecture) ? options->architecture : "trees";
  if (!pipeline_tree_options_parse(architecture, tree, error)) return FALSE;
  if (options->epochs > 0) tree->rounds = options->epochs;
  if (options->patience > 0) tree->patience = options->patience;
  if (options->backend != NULL) return invalid(error, "trees are trained by XGBoost: no backend can be chosen");
  if (options->adversarial_epsilon > 0)
    return invalid(error, "trees have no gradients: adversarial training is for networks (--arch mlp:64,64)");
  if (options->search_plan)
    return invalid(error, "the search for transformations judges them by a network; give trees the plan that it found "
                          "(kedge prepare --search --plan PLAN.json, then --transform PLAN.json)");
  if (options->plan != NULL && options->from != NULL)
    return invalid(error, "transformations are for new models: trees that are continued keep their preprocessing");
  if ((options->interval != 0 || options->quantile != 0) && options->from != NULL)
    return invalid(error, "an interval or quantile is for new models; leave out the model to start from");
  if (options->interval != 0 && options->quantile != 0)
    return invalid(error, "an interval has its own quantiles; leave out the quantile");
  if (options->interval != 0 && !pipeline_interval_check(options->interval, training->schema, error)) return FALSE;
  if (options->quantile != 0 && !pipeline_interval_check(options->quantile, training->schema, error)) return FALSE;
  if (tree->rounds > 100000) return invalid(error, "the rounds must be at most 100000");
  if (!(options->validation_fraction >= 0 && options->test_fraction >= 0 &&
        options->validation_fraction + options->test_fraction <= .9))
    return invalid(error, "validation and test must leave a tenth of the rows to train on");
  return options->checkpoint_seconds >= 0 || invalid(error, "the seconds between checkpoints must not be negative");
}

/* The very last rows test; of the others the last, or random ones, validate. */
static gboolean split(Training *training, GError **error)
{
  const PipelineTrainOptions *options = training->options;
  PipelineTrainerRows *rows = training->rows = pipeline_trainer_rows_new(training->table, training->schema, error);
  if (rows == NULL) return FALSE;
  if (options->split != NULL)
    return pipeline_split_rows(options->split, training->table, training->schema, rows, options->validation_fraction,
                               options->test_fraction, PIPELINE_MIN_VALIDATION, options->seed, error);
  guint64 usable = rows->n, n_test = (guint64)((double)usable * options->test_fraction + .5);
  rows->n = usable - n_test;
  if (rows->n == 0) return invalid(error, "the test rows leave none to train on");
  double fraction = options->validation_fraction * (double)usable / (double)rows->n;
  pipeline_trainer_rows_split(rows, fraction, PIPELINE_MIN_VALIDATION, options->shuffle_split, options->seed);
  rows->n = usable;
  rows->n_test = n_test;
  return TRUE;
}

static gboolean learns_quantiles(const Training *training)
{
  return training->options->interval != 0 || training->options->quantile != 0;
}

/* --- where boosting starts ---------------------------------------------------------------------------------------- */

/* The weighted mean of the training rows' targets as a raw output; several classes start from 0. In single precision
 * and in XGBoost's own order of operations, so that its base_score means the same. */
static PipelineTreeEnsemble *make_start(const Training *training)
{
  const Rows *rows = &training->train;
  double sum = 0, total = 0;
  for (gsize i = 0; i < rows->n; i++) {
    double weight = rows->weights != NULL ? (double)rows->weights[i] : 1;
    sum += weight * (double)rows->targets[i];
    total += weight;
  }
  guint n_outputs = training->loss.n_outputs;
  g_autofree float *base = g_new0(float, n_outputs);
  if (training->loss.kind == PIPELINE_LOSS_SQUARED) base[0] = (float)(sum / total);
  for (guint k = 0; training->loss.kind == PIPELINE_LOSS_QUANTILE && k < n_outputs; k++)
    base[k] = pipeline_tree_quantile(rows->targets, rows->weights, rows->n, training->loss.quantiles[k]);
  if (training->loss.kind == PIPELINE_LOSS_SIGMOID) base[0] = -logf(1 / (float)CLAMP(sum / total, 1e-6, 1 - 1e-6) - 1);
  return pipeline_tree_ensemble_new(training->graph.n_columns, n_outputs, base);
}

/* The loss of a regression is measured in standard deviations of the label. */
static void choose_quantiles(Training *training)
{
  const PipelineTrainOptions *options = training->options;
  const PipelineTrainerRows *rows = training->rows;
  PipelineLoss *loss = &training->loss;
  *loss = (PipelineLoss){.kind = PIPELINE_LOSS_QUANTILE, .n_outputs = options->interval != 0 ? 3 : 1};
  if (options->interval != 0)
    pipeline_interval_quantiles(options->interval, loss->quantiles);
  else
    loss->quantiles[0] = options->quantile;
  pipeline_interval_moments(rows->targets, rows->rows, rows->n_train, &training->target_shift, &loss->target_scale);
}

static void choose_loss(Training *training)
{
  const DriftSchema *schema = training->schema;
  const PipelineTrainerRows *rows = training->rows;
  guint n_classes = schema->classes->len;
  training->loss = (PipelineLoss){.kind = schema->task == DRIFT_TASK_REGRESSION ? PIPELINE_LOSS_SQUARED
                                          : n_classes == 2                      ? PIPELINE_LOSS_SIGMOID
                                                                                : PIPELINE_LOSS_SOFTMAX,
                                  .n_outputs = schema->task == DRIFT_TASK_REGRESSION || n_classes == 2 ? 1 : n_classes,
                                  .target_scale = 1};
  if (learns_quantiles(training)) choose_quantiles(training);
  if (learns_quantiles(training) || schema->task != DRIFT_TASK_REGRESSION) return;
  double sum = 0, squares = 0, n = (double)rows->n_train;
  for (guint64 i = 0; i < rows->n_train; i++) sum += (double)rows->targets[rows->rows[i]];
  for (guint64 i = 0; i < rows->n_train; i++) {
    double difference = (double)rows->targets[rows->rows[i]] - sum / n;
    squares += difference * difference;
  }
  if (squares > 0) training->loss.target_scale = sqrt(squares / n);
}

static gboolean gather(const Training *training, const float *x, const float *weights, guint64 first, guint64 n,
                       Rows *out, GError **error)
{
  gsize width = training->graph.n_columns;
  const PipelineTrainerRows *rows = training->rows;
  out->n = n;
  out->x = g_try_new(float, n *width + 1);
  out->targets = g_try_new(float, n + 1);
  if (weights != NULL) out->weights = g_try_new(float, n + 1);
  if (out->x == NULL || out->targets == NULL || (weights != NULL && out->weights == NULL)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "no memory for %" G_GUINT64_FORMAT
                " rows of %zu columns; use fewer rows, or a network that is trained on "
                "a graph, whose rows need not fit into memory",
                n, width);
    return FALSE;
  }
  for (guint64 i = 0; i < n; i++) {
    guint64 row = rows->rows[first + i];
    memcpy(out->x + i * width, x + row * width, width * sizeof(float));
    out->targets[i] = learns_quantiles(training)
                          ? (float)(((double)rows->targets[row] - training->target_shift) / training->loss.target_scale)
                          : rows->targets[row];
    if (weights != NULL) out->weights[i] = weights[row];
  }
  return TRUE;
}

static gboolean read_rows(Training *training, GError **error)
{
  const PipelineTrainerRows *rows = training->rows;
  PipelineTreeGraph *graph = &training->graph;
  g_autofree float *weights = NULL;
  g_autoptr(PipelineFeatureReader) reader =
      pipeline_feature_reader_new_at(graph->graph, graph->features, graph->n_columns, TRUE, training->schema, error);
  if (reader != NULL) pipeline_feature_reader_set_names(reader, graph->columns);
  g_autofree float *x = reader != NULL ? pipeline_feature_reader_read(reader, training->table, error) : NULL;
  if (x != NULL && training->prepared != NULL) pipeline_prepared_overwrite(training->prepared, rows->rows, x);
  return x != NULL &&
         pipeline_trainer_weights(training->table, training->schema, training->options, rows, &training->reweighing,
                                  &weights, error) &&
         gather(training, x, weights, 0, rows->n_train, &training->train, error) &&
         gather(training, x, weights, rows->n_train, rows->n_validation, &training->validation, error) &&
         gather(training, x, weights, rows->n_train + rows->n_validation, rows->n_test, &training->test, error);
}

/* --- monotone constraints ----------------------------------------------------------------------------------------- */

static gboolean find_constraint(const Training *training, const gchar *text, gint *signs, GError **error)
{
  const GPtrArray *columns = training->graph.columns;
  g_autofree gchar *name = g_strdup(text);
  gchar *equals = strrchr(name, '=');
  const gchar *sign = equals != NULL ? equals + 1 : "";
  if (equals != NULL) *equals = '\0';
  gint way = g_str_equal(sign, "+1") || g_str_equal(sign, "1") ? 1 : g_str_equal(sign, "-1") ? -1 : 0;
  if (way == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "\"%s\": write COLUMN=+1 (never falling) or COLUMN=-1 (never rising)", text);
    return FALSE;
  }
  for (guint i = 0; i < columns->len; i++)
    if (g_str_equal(g_ptr_array_index(columns, i), name)) {
      signs[i] = way;
      return TRUE;
    }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "monotone constraint: \"%s\" is no numeric input of the model", name);
  return FALSE;
}

static gboolean read_monotone(Training *training, GError **error)
{
  const gchar *const *list = training->options->monotone;
  guint n = training->graph.n_columns;
  if (list == NULL || *list == NULL) return TRUE;
  if (training->loss.kind == PIPELINE_LOSS_SOFTMAX)
    return invalid(error,
                   "monotone constraints are for two classes or a value: of several classes none can be constrained "
                   "alone");
  g_autofree gint *signs = g_new0(gint, n);
  for (; *list != NULL; list++)
    if (!find_constraint(training, *list, signs, error)) return FALSE;
  g_autoptr(GString) text = g_string_new("(");
  for (guint i = 0; i < n; i++) g_string_append_printf(text, "%s%d", i > 0 ? "," : "", signs[i]);
  g_string_append_c(text, ')');
  training->monotone = g_string_free(g_steal_pointer(&text), FALSE);
  return TRUE;
}

/* --- preparing ---------------------------------------------------------------------------------------------------- */

static PipelineTreeSet set_of(const Rows *rows)
{
  return (PipelineTreeSet){.x = rows->x, .targets = rows->targets, .weights = rows->weights, .n = rows->n};
}

/* A new graph, behind the plan of transformations where there is one. */
static gboolean build_graph(Training *training, GError **error)
{
  const PipelineTrainOptions *options = training->options;
  const PipelineTrainerRows *rows = training->rows;
  const PipelinePrepareData data =
      pipeline_trainer_rows_prepare(rows, training->table, training->schema, options->seed);
  if (options->plan == NULL)
    return pipeline_tree_graph_build(training->table, training->schema, rows->rows, rows->n_train,
                                     learns_quantiles(training), &training->graph, error);
  training->prepared = pipeline_plan_fit_copy(options->plan, &data, PIPELINE_PLAN_KEEP, error);
  return training->prepared != NULL &&
         pipeline_tree_graph_build_prepared(training->prepared, learns_quantiles(training), &training->graph, error);
}

static gboolean prepare(Training *training, GError **error)
{
  const PipelineTrainOptions *options = training->options;
  if (!read_options(training, error) || !split(training, error) ||
      !pipeline_trainer_clean(&training->table, training->schema, training->rows, options, &training->cleaning, error))
    return FALSE;
  g_autoptr(PipelineTreeEnsemble) start = NULL;
  if (options->from != NULL
          ? !pipeline_tree_graph_read(options->from, training->schema, &training->graph, &start, error)
          : !build_graph(training, error))
    return FALSE;
  choose_loss(training);
  if (options->interval != 0 && training->rows->n_validation == 0)
    return invalid(error,
                   "the margin of an interval is taken from validation rows, and there are none: give more rows or "
                   "a larger share of them");
  if (!read_rows(training, error) || !read_monotone(training, error)) return FALSE;
  if (start == NULL) start = make_start(training);
  training->n_start = pipeline_tree_ensemble_n_trees(start);
  PipelineTreeSet train = set_of(&training->train), validation = set_of(&training->validation);
  training->boost = pipeline_tree_boost_new(&train, &validation, &training->loss, &training->tree_options,
                                            training->monotone, options->seed, g_steal_pointer(&start), error);
  return training->boost != NULL;
}

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

static void digest_option(const gchar *name, const gchar *value, gpointer data)
{
  g_checksum_update(data, (const guchar *)name, -1);
  g_checksum_update(data, (const guchar *)value, -1);
}

/* SHA-256 over everything that decides how the training goes. */
static gchar *make_fingerprint(Training *training)
{
  PipelineTreeState state;
  const PipelineTreeEnsemble *start = pipeline_tree_boost_get_ensemble(training->boost, &state);
  const Rows *sets[] = {&training->train, &training->validation};
  g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
  g_autofree gchar *text = g_strdup_printf(
      "%u %u %" G_GUINT64_FORMAT " %d %a %a %u %u %s", training->tree_options.rounds, training->tree_options.patience,
      training->options->seed, (int)training->loss.kind, training->loss.quantiles[0], training->loss.target_scale,
      start->n_columns, start->n_outputs, training->monotone != NULL ? training->monotone : "");
  pipeline_checksum_update(checksum, text, strlen(text));
  pipeline_tree_options_foreach(&training->tree_options, digest_option, checksum);
  pipeline_checksum_update(checksum, start->nodes->data, start->nodes->len * sizeof(PipelineTreeNode));
  pipeline_checksum_update(checksum, start->base, start->n_outputs * sizeof(float));
  for (guint i = 0; i < G_N_ELEMENTS(sets); i++) {
    pipeline_checksum_update(checksum, sets[i]->x, sets[i]->n * start->n_columns * sizeof(float));
    pipeline_checksum_update(checksum, sets[i]->targets, sets[i]->n * sizeof(float));
    if (sets[i]->weights != NULL) pipeline_checksum_update(checksum, sets[i]->weights, sets[i]->n * sizeof(float));
  }
  return g_strdup(g_checksum_get_string(checksum));
}

static gboolean resume(Training *training, GError **error)
{
  PipelineTreeState state;
  PipelineTreeEnsemble *ensemble = NULL;
  if (training->options->checkpoint == NULL) return TRUE;
  training->fingerprint = make_fingerprint(training);
  const PipelineTreeEnsemble *like = pipeline_tree_boost_get_ensemble(training->boost, &state);
  if (!pipeline_tree_checkpoint_read(training->options->checkpoint, like, training->fingerprint, &ensemble, &state,
                                     error))
    return FALSE;
  if (ensemble != NULL) pipeline_tree_boost_resume(training->boost, ensemble, &state);
  return TRUE;
}

static gboolean write_checkpoint(Training *training, gboolean now, GError **error)
{
  PipelineTreeState state;
  gint64 time = g_get_monotonic_time();
  if (training->options->checkpoint == NULL) return TRUE;
  if (!now && (double)(time - training->written) < training->options->checkpoint_seconds * 1e6) return TRUE;
  const PipelineTreeEnsemble *ensemble = pipeline_tree_boost_get_ensemble(training->boost, &state);
  if (!now && state.round != pipeline_tree_boost_get_state(training->boost)->round) return TRUE; /* within a stretch */
  training->written = time;
  return pipeline_tree_checkpoint_write(training->options->checkpoint, ensemble, &state, training->fingerprint, error);
}

/* --- the run ------------------------------------------------------------------------------------------------------ */

static double seconds_since(gint64 start)
{
  return (double)(g_get_monotonic_time() - start) / 1e6;
}

static double samples_per_second(const Training *training)
{
  guint rounds = pipeline_tree_boost_get_state(training->boost)->round - training->first_round;
  return (double)rounds * (double)training->train.n / MAX(1e-9, seconds_since(training->started));
}

static gboolean report(const Training *training, PipelineTrainProgressFunc progress, gpointer user_data)
{
  const PipelineTreeState *state = pipeline_tree_boost_get_state(training->boost);
  const PipelineTrainProgress now = {.epoch = state->round,
                                     .epochs = training->tree_options.rounds,
                                     .rows_seen = (guint64)state->round * training->train.n,
                                     .loss = state->train_loss,
                                     .validation_loss = state->validation_loss,
                                     .validation_metric = state->validation_metric,
                                     .learning_rate = training->tree_options.eta,
                                     .samples_per_second = samples_per_second(training),
                                     .seconds = seconds_since(training->started),
                                     .test_loss = NAN,
                                     .test_metric = NAN,
                                     .gradient_norm = NAN,
                                     .dead_share = NAN,
                                     .robust_metric = NAN};
  return progress == NULL || progress(&now, user_data);
}

static gboolean run_rounds(Training *training, PipelineTrainProgressFunc progress, gpointer user_data, GError **error)
{
  const PipelineTreeState *state = pipeline_tree_boost_get_state(training->boost);
  training->first_round = state->round;
  training->started = training->written = g_get_monotonic_time();
  while (!state->finished) {
    if (!pipeline_tree_boost_round(training->boost, error)) return FALSE;
    gboolean go_on =
        report(training, progress, user_data) && !(training->options->stop && training->options->stop(user_data));
    if (!write_checkpoint(training, !go_on || state->finished, error)) return FALSE;
    if (go_on || state->finished) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED, "training was stopped after round %u of %u",
                state->round, training->tree_options.rounds);
    return FALSE;
  }
  return TRUE;
}

/* Loss and metric of the final trees on some rows; NaN when there are none. */
static void measure(const Training *training, const PipelineTreeEnsemble *ensemble, const Rows *rows, double *loss,
                    double *metric)
{
  *loss = *metric = NAN;
  if (rows->n == 0) return;
  g_autofree float *raw = g_new(float, rows->n * ensemble->n_outputs);
  pipeline_tree_ensemble_start(ensemble, rows->n, raw);
  pipeline_tree_ensemble_add(ensemble, 0, rows->x, rows->n, raw);
  *loss = pipeline_loss_evaluate(&training->loss, raw, rows->targets, rows->weights, (guint)rows->n, NULL);
  *metric = pipeline_loss_metric(&training->loss, raw, rows->targets, rows->weights, (guint)rows->n);
}

/* Behind transformations a threshold is no number of the data, which every program reads alike, but a result that each
 * rounds in its own way. What was measured on validation rows is measured again. */
static void centre(Training *training, PipelineTreeEnsemble *ensemble, PipelineTreeState *state)
{
  if (onnx_graph_get_metadata(training->graph.graph, PIPELINE_PLAN_KEY) == NULL) return;
  pipeline_tree_ensemble_centre(ensemble, training->n_start, training->train.x, training->train.n);
  measure(training, ensemble, &training->validation, &state->best_loss, &state->best_metric);
}

/* What follows the trees of quantiles, and the margin of an interval, from the validation rows. */
static void add_head(Training *training)
{
  const PipelineTrainerRows *rows = training->rows;
  OnnxGraph *graph = training->graph.graph;
  if (training->options->interval != 0)
    pipeline_interval_add_plain_head(graph, rows->targets, rows->rows, rows->n_train, training->options->interval);
  else if (training->options->quantile != 0)
    pipeline_network_add_regression_head(graph, rows->targets, rows->rows, rows->n_train);
}

static gboolean conformalise(const Training *training, GBytes **onnx, PipelineInterval *interval, GError **error)
{
  const PipelineTrainerRows *rows = training->rows;
  if (training->options->interval == 0) return TRUE;
  g_autoptr(DriftTable) validation =
      drift_table_select(training->table, rows->rows + rows->n_train, rows->n_validation);
  GBytes *wider = pipeline_interval_conformalise(*onnx, training->schema, validation, interval, error);
  if (wider == NULL) return FALSE;
  g_bytes_unref(*onnx);
  *onnx = wider;
  return TRUE;
}

/* Fits calibration and decision to the validation rows. */
static gboolean calibrate(const Training *training, const PipelineCalibrationBefore *before, GBytes **onnx,
                          PipelineCalibration *calibration, gchar **warning, GError **error)
{
  const PipelineTrainerRows *rows = training->rows;
  g_autoptr(DriftTable) validation =
      rows->n_validation > 0 ? drift_table_select(training->table, rows->rows + rows->n_train, rows->n_validation)
                             : NULL;
  return pipeline_calibration_end(onnx, training->schema, validation, &training->options->calibration, before,
                                  calibration, warning, error);
}

static gboolean deliver(Training *training, const PipelineCalibrationBefore *before, PipelineTrainResult *result,
                        GError **error)
{
  PipelineCalibration calibration = {.threshold = NAN};
  PipelineInterval interval = {.level = NAN};
  gchar *warning = NULL;
  PipelineTreeState state = *pipeline_tree_boost_get_state(training->boost);
  g_autoptr(PipelineTreeEnsemble) ensemble = pipeline_tree_boost_steal_result(training->boost);
  centre(training, ensemble, &state);
  add_head(training);
  GBytes *onnx = pipeline_tree_graph_write(&training->graph, training->schema, ensemble, training->n_start, error);
  if (onnx == NULL) return FALSE;
  if (!calibrate(training, before, &onnx, &calibration, &warning, error) ||
      !conformalise(training, &onnx, &interval, error)) {
    g_bytes_unref(onnx);
    return FALSE;
  }
  *result =
      (PipelineTrainResult){.onnx = onnx,
                            .calibration = calibration,
                            .interval = interval,
                            .warning = warning,
                            .backend = g_strdup("xgboost"),
                            .epochs = state.round,
                            .best_epoch = training->validation.n > 0 ? state.best_round : state.round,
                            .n_train = training->rows->n_train,
                            .n_validation = training->rows->n_validation,
                            .n_skipped = training->rows->n_skipped,
                            .train_loss = state.train_loss,
                            .validation_loss = state.best_loss,
                            .validation_metric = calibration.n > 0 ? calibration.accuracy_after : state.best_metric,
                            .seconds = seconds_since(training->started),
                            .samples_per_second = samples_per_second(training),
                            .reweighing = training->reweighing,
                            .cleaning = g_strdup(training->cleaning.report),
                            .plan = training->prepared ? pipeline_prepared_format_plan(training->prepared) : NULL};
  measure(training, ensemble, &training->test, &result->test_loss, &result->test_metric);
  result->n_test = training->test.n;
  result->robust_metric = result->old_validation_metric = NAN;
  return TRUE;
}

gboolean pipeline_tree_train(const DriftTable *table, const DriftSchema *schema, const PipelineTrainOptions *options,
                             PipelineTrainProgressFunc progress, gpointer user_data, PipelineTrainResult *result,
                             GError **error)
{
  PipelineTrainOptions plain = *options; /* whose model has no calibration */
  PipelineCalibrationBefore before = {0};
  g_autoptr(GBytes) raw = NULL;
  Training training = {.table = table, .schema = schema, .options = &plain};
  if (!pipeline_calibration_begin(options->from, schema, &options->calibration, 1, &before, &raw, error)) return FALSE;
  plain.from = raw;
  gboolean done = prepare(&training, error) && resume(&training, error) &&
                  run_rounds(&training, progress, user_data, error) && deliver(&training, &before, result, error);
  training_clear(&training);
  pipeline_calibration_before_clear(&before);
  return done;
}
