/* Only the last dense layer is fitted anew: the hidden features stay, so that milliseconds and a few hundred rows are
 * enough for a first model after a change. */
#include <math.h>

#include "pipeline/network_hidden.h"
#include "pipeline/refit_ridge.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_rows.h"

#define CHUNK_ROWS 1024u

typedef struct {
  PipelineNetworkGraph *graph;
  PipelineTrainerRows *rows;
  guint layer;         /* index of the last dense layer */
  guint n_columns;     /* its inputs */
  float *hidden;       /* [rows->n, n_columns]: its inputs for the usable rows */
  double *weights;     /* [rows->n] or NULL */
  double shift, scale; /* of a regression: value = scale * output + shift */
} Refit;

static void refit_clear(Refit *refit)
{
  pipeline_network_graph_free(refit->graph);
  pipeline_trainer_rows_free(refit->rows);
  g_free(refit->hidden);
  g_free(refit->weights);
}

/* The last dense layer must be the end of the network, but for the rescaling of a regression. */
static gboolean find_last_layer(Refit *refit, GError **error)
{
  const PipelineNetwork *network = refit->graph->network;
  refit->scale = 1;
  refit->shift = 0;
  for (guint i = network->layers->len; i-- > 0;) {
    const PipelineLayer *layer = pipeline_network_get_layer(network, i);
    if (layer->kind == PIPELINE_LAYER_DENSE) {
      refit->layer = i;
      refit->n_columns = layer->n_in;
      if (layer->n_in <= PIPELINE_HIDDEN_MAX && layer->has_bias && refit->scale != 0) return TRUE;
      break;
    }
    if (layer->kind != PIPELINE_LAYER_AFFINE || network->loss.kind != PIPELINE_LOSS_SQUARED) break;
    refit->shift += refit->scale * layer->shift[0];
    refit->scale *= layer->scale[0];
  }
  g_set_error(
      error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
      "the last layer cannot be refitted: it must be a Gemm with a bias, at most %u inputs, and nothing but the "
      "head behind it",
      PIPELINE_HIDDEN_MAX);
  return FALSE;
}

/* Runs the network over the usable rows and keeps what enters the last layer. */
static gboolean read_hidden(Refit *refit, const DriftTable *table, const DriftSchema *schema, GError **error)
{
  g_autoptr(PipelineHiddenReader) reader = pipeline_hidden_reader_new(refit->graph, refit->layer, schema, NULL, error);
  g_autoptr(DriftTable) usable = drift_table_select(table, refit->rows->rows, refit->rows->n);
  refit->hidden = reader ? pipeline_hidden_reader_read(reader, usable, error) : NULL;
  return refit->hidden != NULL;
}

static gboolean read_weights(Refit *refit, const double *row_weights, GError **error)
{
  double sum = 0;
  if (!row_weights) return TRUE;
  refit->weights = g_new(double, refit->rows->n);
  for (guint64 i = 0; i < refit->rows->n; i++) {
    refit->weights[i] = row_weights[refit->rows->rows[i]];
    if (!(refit->weights[i] >= 0 && isfinite(refit->weights[i]))) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "the weight of row %" G_GUINT64_FORMAT " is %g",
                  refit->rows->rows[i], refit->weights[i]);
      return FALSE;
    }
    sum += refit->weights[i];
  }
  if (sum > 0) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "every row has weight 0");
  return FALSE;
}

static float target(const Refit *refit, guint64 i)
{
  return refit->rows->targets[refit->rows->rows[i]];
}

/* Puts output unit `unit` of the last layer at scale × coefficients (intercept last) + shift. */
static void set_unit(const Refit *refit, float *parameters, guint unit, const double *coefficients, double scale,
                     double shift)
{
  const PipelineLayer *layer = pipeline_network_get_layer(refit->graph->network, refit->layer);
  float *weight = parameters + layer->weight_offset + (gsize)unit * layer->n_in;
  for (guint k = 0; k < layer->n_in; k++) weight[k] = (float)(scale * coefficients[k]);
  parameters[layer->bias_offset + unit] = (float)(scale * coefficients[layer->n_in] + shift);
}

/* scores [n, n_targets] = hidden features times coefficients. */
static double *score_rows(const Refit *refit, const double *coefficients, guint n_targets)
{
  double *scores = g_new(double, refit->rows->n *n_targets);
  for (guint64 i = 0; i < refit->rows->n; i++)
    for (guint t = 0; t < n_targets; t++) {
      const double *c = coefficients + (gsize)t * (refit->n_columns + 1);
      const float *h = refit->hidden + i * refit->n_columns;
      double sum = c[refit->n_columns];
      for (guint k = 0; k < refit->n_columns; k++) sum += c[k] * h[k];
      scores[i * n_targets + t] = sum;
    }
  return scores;
}

static gboolean fit_regression(const Refit *refit, double penalty, float *parameters, GError **error)
{
  guint64 n = refit->rows->n;
  g_autofree double *targets = g_new(double, n), *coefficients = g_new(double, refit->n_columns + 1);
  for (guint64 i = 0; i < n; i++) targets[i] = (target(refit, i) - refit->shift) / refit->scale;
  if (!pipeline_ridge_solve(refit->hidden, targets, refit->weights, n, refit->n_columns, 1, penalty, coefficients,
                            error))
    return FALSE;
  set_unit(refit, parameters, 0, coefficients, 1, 0);
  return TRUE;
}

/* One output: the logit itself. Two: ±half of it, so that softmax gives the same probability. */
static gboolean fit_binary(const Refit *refit, double penalty, float *parameters, GError **error)
{
  guint64 n = refit->rows->n;
  g_autofree double *targets = g_new(double, n), *coefficients = g_new(double, refit->n_columns + 1);
  g_autofree guint8 *labels = g_new(guint8, n);
  double slope, intercept;
  for (guint64 i = 0; i < n; i++) {
    labels[i] = target(refit, i) > 0.5f;
    targets[i] = labels[i] ? 1 : -1;
  }
  if (!pipeline_ridge_solve(refit->hidden, targets, refit->weights, n, refit->n_columns, 1, penalty, coefficients,
                            error))
    return FALSE;
  g_autofree double *scores = score_rows(refit, coefficients, 1);
  pipeline_calibrate_binary(scores, labels, refit->weights, n, &slope, &intercept);
  if (refit->graph->network->loss.n_outputs == 1) {
    set_unit(refit, parameters, 0, coefficients, slope, intercept);
  } else {
    set_unit(refit, parameters, 0, coefficients, -slope / 2, -intercept / 2);
    set_unit(refit, parameters, 1, coefficients, slope / 2, intercept / 2);
  }
  return TRUE;
}

/* One against the rest; one scale for all turns scores into logits. */
static gboolean fit_multiclass(const Refit *refit, double penalty, float *parameters, GError **error)
{
  guint64 n = refit->rows->n;
  guint n_classes = refit->graph->network->loss.n_outputs, size = refit->n_columns + 1;
  g_autofree double *targets = g_new(double, n *n_classes), *coefficients = g_new(double, (gsize)n_classes *size);
  g_autofree guint *labels = g_new(guint, n);
  for (guint64 i = 0; i < n; i++) {
    labels[i] = (guint)target(refit, i);
    for (guint k = 0; k < n_classes; k++) targets[i * n_classes + k] = k == labels[i] ? 1 : -1;
  }
  if (!pipeline_ridge_solve(refit->hidden, targets, refit->weights, n, refit->n_columns, n_classes, penalty,
                            coefficients, error))
    return FALSE;
  g_autofree double *scores = score_rows(refit, coefficients, n_classes);
  double scale = pipeline_calibrate_scale(scores, labels, refit->weights, n, n_classes);
  for (guint k = 0; k < n_classes; k++) set_unit(refit, parameters, k, coefficients + (gsize)k * size, scale, 0);
  return TRUE;
}

/* Loss and metric of the refitted layer on the rows it was fitted to. */
static gboolean measure(const Refit *refit, const float *parameters, PipelineTrainResult *result, GError **error)
{
  const PipelineNetwork *network = refit->graph->network;
  const PipelineLayer *layer = pipeline_network_get_layer(network, refit->layer);
  g_autoptr(PipelineNetwork) last = pipeline_network_new(refit->n_columns);
  pipeline_network_add_dense(last, layer->n_out, parameters + layer->weight_offset, parameters + layer->bias_offset);
  const float scale = (float)refit->scale, shift = (float)refit->shift;
  if (network->loss.kind == PIPELINE_LOSS_SQUARED) pipeline_network_add_affine(last, &scale, &shift);
  guint64 n = refit->rows->n;
  g_autofree float *targets = g_new(float, n);
  g_autoptr(PipelinePass) pass = pipeline_pass_new(last, &pipeline_network_backend_reference, CHUNK_ROWS, error);
  if (!pass) return FALSE;
  result->train_loss = 0;
  for (guint64 i = 0; i < n; i++) targets[i] = target(refit, i);
  for (guint64 start = 0; start < n; start += CHUNK_ROWS) {
    guint m = (guint)MIN(CHUNK_ROWS, n - start);
    const float *outputs = pipeline_pass_forward(pass, refit->hidden + start * refit->n_columns, m, error);
    if (!outputs) return FALSE;
    result->train_loss +=
        pipeline_loss_evaluate(&network->loss, outputs, targets + start, NULL, m, NULL) * (double)m / (double)n;
  }
  return TRUE;
}

static gboolean fit_last_layer(Refit *refit, double penalty, float *parameters, GError **error)
{
  switch (refit->graph->network->loss.kind) {
  case PIPELINE_LOSS_SQUARED:
    return fit_regression(refit, penalty, parameters, error);
  case PIPELINE_LOSS_SIGMOID:
    return fit_binary(refit, penalty, parameters, error);
  case PIPELINE_LOSS_SOFTMAX:
    return refit->graph->network->loss.n_outputs == 2 ? fit_binary(refit, penalty, parameters, error)
                                                      : fit_multiclass(refit, penalty, parameters, error);
  case PIPELINE_LOSS_QUANTILE: /* no network has it */
    break;
  }
  g_return_val_if_reached(FALSE);
}

static gboolean run(Refit *refit, GBytes *onnx, const DriftTable *table, const DriftSchema *schema, double penalty,
                    const double *row_weights, PipelineTrainResult *result, GError **error)
{
  refit->graph = pipeline_network_graph_read(onnx, schema, error);
  if (!refit->graph || !find_last_layer(refit, error)) return FALSE;
  refit->rows = pipeline_trainer_rows_new(table, schema, error);
  if (refit->rows) pipeline_network_graph_map_targets(refit->graph, refit->rows->targets, table->n_rows);
  if (!refit->rows || !read_weights(refit, row_weights, error) || !read_hidden(refit, table, schema, error))
    return FALSE;
  const PipelineNetwork *network = refit->graph->network;
  g_autofree float *parameters = g_memdup2(network->parameters, network->n_parameters * sizeof(float));
  if (!fit_last_layer(refit, penalty, parameters, error) || !measure(refit, parameters, result, error)) return FALSE;
  result->onnx = pipeline_network_graph_write(refit->graph, parameters, error);
  return result->onnx != NULL;
}

gboolean pipeline_refit_last_layer(GBytes *onnx, const DriftTable *table, const DriftSchema *schema, double penalty,
                                   const double *row_weights, PipelineTrainResult *result, GError **error)
{
  g_return_val_if_fail(onnx && table && schema && result, FALSE);
  if (!(penalty >= 0 && isfinite(penalty))) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "the penalty must be a number from 0, not %g", penalty);
    return FALSE;
  }
  Refit refit = {0};
  PipelineCalibrationBefore before = {0};
  g_autoptr(GBytes) raw = NULL;
  PipelineTrainResult fitted = {.epochs = 1, .best_epoch = 1, .validation_loss = NAN, .validation_metric = NAN};
  gint64 started = g_get_monotonic_time();
  const PipelineCalibrationOptions again = {.method = "none"};
  gboolean done = pipeline_calibration_begin(onnx, schema, &again, 0, &before, &raw, error) &&
                  run(&refit, raw, table, schema, penalty, row_weights, &fitted, error) &&
                  pipeline_calibration_end(&fitted.onnx, schema, table, &again, &before, &fitted.calibration,
                                           &fitted.warning, error);
  pipeline_calibration_before_clear(&before);
  if (done) {
    fitted.n_train = refit.rows->n;
    fitted.n_skipped = refit.rows->n_skipped;
    fitted.seconds = (double)(g_get_monotonic_time() - started) / 1e6;
    fitted.samples_per_second = (double)refit.rows->n / MAX(1e-9, fitted.seconds);
    *result = fitted;
  }
  refit_clear(&refit);
  return done;
}
