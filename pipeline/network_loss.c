#include "pipeline/network.h"

#include <math.h>

/* Loss of one row; its derivatives into gradient [n_outputs] unless NULL. */
typedef double (*RowLoss)(const PipelineLoss *loss, const float *outputs, float target, float *gradient);

static double softmax_row(const PipelineLoss *loss, const float *outputs, float target, float *gradient)
{
  guint n = loss->n_outputs, wanted = (guint)target;
  float highest = outputs[0];
  double sum = 0;
  for (guint j = 1; j < n; j++) highest = MAX(highest, outputs[j]);
  for (guint j = 0; j < n; j++) sum += exp((double)outputs[j] - highest);
  for (guint j = 0; gradient && j < n; j++)
    gradient[j] = (float)(exp((double)outputs[j] - highest) / sum - (j == wanted ? 1 : 0));
  return log(sum) - ((double)outputs[wanted] - highest);
}

static double sigmoid_row(const PipelineLoss *loss, const float *outputs, float target, float *gradient)
{
  (void)loss;
  double x = outputs[0], e = exp(-fabs(x));
  if (gradient) gradient[0] = (float)((x >= 0 ? 1 / (1 + e) : e / (1 + e)) - target);
  return (x > 0 ? x : 0) - x * target + log1p(e);
}

static double squared_row(const PipelineLoss *loss, const float *outputs, float target, float *gradient)
{
  double scale = loss->target_scale, difference = ((double)outputs[0] - target) / scale;
  if (gradient) gradient[0] = (float)(2 * difference / scale);
  return difference * difference;
}

static double quantile_row(const PipelineLoss *loss, const float *outputs, float target, float *gradient)
{
  double total = 0;
  for (guint j = 0; j < loss->n_outputs; j++) {
    double difference = (double)target - (double)outputs[j], share = loss->quantiles[j];
    total += difference > 0 ? share * difference : (share - 1) * difference;
    if (gradient) gradient[j] = (float)(difference < 0 ? 1 - share : -share);
  }
  return total;
}

static RowLoss row_loss(const PipelineLoss *loss)
{
  static const RowLoss rows[] = {[PIPELINE_LOSS_SOFTMAX] = softmax_row,
                                 [PIPELINE_LOSS_SIGMOID] = sigmoid_row,
                                 [PIPELINE_LOSS_SQUARED] = squared_row,
                                 [PIPELINE_LOSS_QUANTILE] = quantile_row};
  return rows[loss->kind];
}

double pipeline_loss_evaluate(const PipelineLoss *loss, const float *outputs, const float *targets,
                              const float *row_weights, guint n, float *gradient)
{
  RowLoss evaluate = row_loss(loss);
  guint width = loss->n_outputs;
  double total = 0, weight_sum = 0;
  for (guint i = 0; i < n; i++) weight_sum += row_weights ? row_weights[i] : 1;
  if (weight_sum <= 0) weight_sum = 1;
  for (guint i = 0; i < n; i++) {
    double weight = (row_weights ? row_weights[i] : 1) / weight_sum;
    float *row = gradient ? gradient + (gsize)i * width : NULL;
    total += weight * evaluate(loss, outputs + (gsize)i * width, targets[i], row);
    for (guint j = 0; row && j < width; j++) row[j] = (float)(row[j] * weight);
  }
  return total;
}

void pipeline_loss_rows(const PipelineLoss *loss, const float *outputs, const float *targets, guint n, double *losses)
{
  RowLoss evaluate = row_loss(loss);
  for (guint i = 0; i < n; i++) losses[i] = evaluate(loss, outputs + (gsize)i * loss->n_outputs, targets[i], NULL);
}

static gboolean is_value(const PipelineLoss *loss)
{
  return loss->kind == PIPELINE_LOSS_SQUARED || loss->kind == PIPELINE_LOSS_QUANTILE;
}

/* 1 or 0: is the row's class right? Of values the squared error in the label's units (of several quantiles: of the one
 * in the middle). */
static double row_merit(const PipelineLoss *loss, const float *outputs, float target)
{
  if (loss->kind == PIPELINE_LOSS_SQUARED) return ((double)outputs[0] - target) * ((double)outputs[0] - target);
  if (loss->kind == PIPELINE_LOSS_QUANTILE) {
    double difference = ((double)outputs[loss->n_outputs / 2] - (double)target) * loss->target_scale;
    return difference * difference;
  }
  if (loss->kind == PIPELINE_LOSS_SIGMOID) return (outputs[0] > 0) == (target > 0.5f);
  guint best = 0;
  for (guint j = 1; j < loss->n_outputs; j++)
    if (outputs[j] > outputs[best]) best = j;
  return best == (guint)target;
}

double pipeline_loss_metric(const PipelineLoss *loss, const float *outputs, const float *targets,
                            const float *row_weights, guint n)
{
  double total = 0, weight_sum = 0;
  for (guint i = 0; i < n; i++) {
    double weight = row_weights ? row_weights[i] : 1;
    total += weight * row_merit(loss, outputs + (gsize)i * loss->n_outputs, targets[i]);
    weight_sum += weight;
  }
  if (weight_sum <= 0) return NAN;
  return is_value(loss) ? -sqrt(total / weight_sum) : total / weight_sum;
}
