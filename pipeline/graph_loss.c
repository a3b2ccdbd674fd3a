#include "pipeline/graph_loss.h"

#include <math.h>
#include <string.h>

void pipeline_graph_loss_options_init(PipelineGraphLossOptions *options)
{
  *options = (PipelineGraphLossOptions){.focal_gamma = 2, .huber_delta = 1, .target_scale = 1};
}

/* --- classes ------------------------------------------------------------------------------------------------------ */

static double log_sum_exp(const float *x, guint n)
{
  double highest = -INFINITY, sum = 0;
  for (guint i = 0; i < n; i++) highest = MAX(highest, (double)x[i]);
  for (guint i = 0; i < n; i++) sum += exp((double)x[i] - highest);
  return highest + log(sum);
}

/* −Σ q log p with q = (1 − ε) [class is the target] + ε / classes (Szegedy et al. 2016). */
static double cross_entropy_row(const PipelineGraphLossOptions *options, const float *outputs, guint width,
                                const float *targets, float *gradient)
{
  double total = log_sum_exp(outputs, width), loss = 0, spread = options->label_smoothing / width;
  for (guint i = 0; i < width; i++) {
    double wanted = spread + (i == (guint)targets[0] ? 1 - options->label_smoothing : 0);
    double log_p = (double)outputs[i] - total;
    if (wanted > 0) loss -= wanted * log_p;
    if (gradient != NULL) gradient[i] = (float)(exp(log_p) - wanted);
  }
  return loss;
}

/* −(1 − p)^γ log p of the target (Lin et al. 2017). dL/dp · dp/dx_i = ... with dp/dx_i = p ([i = t] − p_i). */
static double focal_row(const PipelineGraphLossOptions *options, const float *outputs, guint width,
                        const float *targets, float *gradient)
{
  guint target = (guint)targets[0];
  double total = log_sum_exp(outputs, width), log_p = (double)outputs[target] - total, p = exp(log_p);
  double rest = MAX(1 - p, 0), gamma = options->focal_gamma, power = pow(rest, gamma);
  double slope = (gamma > 0 && rest > 0 ? gamma * pow(rest, gamma - 1) * p * log_p : 0) - power; /* p · dL/dp */
  for (guint i = 0; gradient != NULL && i < width; i++)
    gradient[i] = (float)(slope * ((i == target ? 1 : 0) - exp((double)outputs[i] - total)));
  return -power * log_p;
}

/* Each output by itself (several labels a row): −y log σ(x) − (1 − y) log(1 − σ(x)), mean over outputs. */
static double binary_row(const PipelineGraphLossOptions *options, const float *outputs, guint width,
                         const float *targets, float *gradient)
{
  double loss = 0;
  for (guint i = 0; i < width; i++) {
    double x = (double)outputs[i],
           y = (double)targets[i] * (1 - options->label_smoothing) + options->label_smoothing / 2;
    double weight = (options->class_weights != NULL ? (double)options->class_weights[i] : 1) / width;
    loss += weight * (MAX(x, 0) - x * y + log1p(exp(-fabs(x))));
    if (gradient != NULL) gradient[i] = (float)(weight * (1 / (1 + exp(-x)) - y));
  }
  return loss;
}

static double class_merit(const float *outputs, guint width, const float *targets)
{
  guint best = 0;
  for (guint i = 1; i < width; i++)
    if (outputs[i] > outputs[best]) best = i;
  return best == (guint)targets[0];
}

static double binary_merit(const float *outputs, guint width, const float *targets)
{
  double right = 0;
  for (guint i = 0; i < width; i++) right += (outputs[i] > 0) == (targets[i] > 0.5f);
  return right / width;
}

/* --- numbers ------------------------------------------------------------------------------------------------------ */

static double squared_row(const PipelineGraphLossOptions *options, const float *outputs, guint width,
                          const float *targets, float *gradient)
{
  double loss = 0, scale = options->target_scale;
  for (guint i = 0; i < width; i++) {
    double d = ((double)outputs[i] - (double)targets[i]) / scale;
    loss += d * d / width;
    if (gradient != NULL) gradient[i] = (float)(2 * d / scale / width);
  }
  return loss;
}

/* Huber 1964: d² / 2 within δ, then δ (|d| − δ / 2). */
static double huber_row(const PipelineGraphLossOptions *options, const float *outputs, guint width,
                        const float *targets, float *gradient)
{
  double loss = 0, scale = options->target_scale, delta = options->huber_delta;
  for (guint i = 0; i < width; i++) {
    double d = ((double)outputs[i] - (double)targets[i]) / scale, size = fabs(d);
    loss += (size <= delta ? d * d / 2 : delta * (size - delta / 2)) / width;
    if (gradient != NULL) gradient[i] = (float)(CLAMP(d, -delta, delta) / scale / width);
  }
  return loss;
}

/* Koenker and Bassett 1978: τ d above the prediction, (1 − τ) |d| below; output i is the quantile quantiles[i]. */
static double quantile_row(const PipelineGraphLossOptions *options, const float *outputs, guint width,
                           const float *targets, float *gradient)
{
  double loss = 0, scale = options->target_scale;
  for (guint i = 0; i < width; i++) {
    double tau = options->quantiles != NULL ? options->quantiles[i] : 0.5;
    double d = ((double)targets[0] - (double)outputs[i]) / scale;
    loss += (d > 0 ? tau * d : (tau - 1) * d) / width;
    if (gradient != NULL) gradient[i] = (float)((d > 0 ? -tau : 1 - tau) / scale / width);
  }
  return loss;
}

static double squared_merit(const float *outputs, guint width, const float *targets)
{
  double sum = 0;
  for (guint i = 0; i < width; i++)
    sum += ((double)outputs[i] - (double)targets[i]) * ((double)outputs[i] - (double)targets[i]);
  return -sum / width;
}

/* The middle output against the one target. */
static double quantile_merit(const float *outputs, guint width, const float *targets)
{
  double difference = (double)outputs[width / 2] - (double)targets[0];
  return -difference * difference;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

const PipelineGraphLoss pipeline_graph_losses[] = {
    {"cross-entropy", "one class of several; outputs are logits", TRUE, TRUE, cross_entropy_row, class_merit,
     "accuracy", 0},
    {"focal", "one class of several, hard rows count more", TRUE, TRUE, focal_row, class_merit, "accuracy", 0},
    {"binary", "each output yes or no (several labels a row); outputs are logits", FALSE, FALSE, binary_row,
     binary_merit, "accuracy", 0},
    {"squared", "the mean", FALSE, FALSE, squared_row, squared_merit, "-mse", 0},
    {"huber", "the mean, outliers count linearly", FALSE, FALSE, huber_row, squared_merit, "-mse", 0},
    {"quantile", "a quantile an output", FALSE, TRUE, quantile_row, quantile_merit, "-mse", 0},
    {.name = NULL},
};

const PipelineGraphLoss *pipeline_graph_loss_find(const gchar *name, GError **error)
{
  g_autoptr(GString) known = g_string_new("");
  for (const PipelineGraphLoss *loss = pipeline_graph_losses; loss->name != NULL; loss++) {
    if (strcmp(loss->name, name) == 0) return loss;
    g_string_append_printf(known, "%s%s", known->len > 0 ? ", " : "", loss->name);
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "there is no loss '%s'; known: %s", name, known->str);
  return NULL;
}

guint pipeline_graph_loss_n_targets(const PipelineGraphLoss *loss, guint width)
{
  return (loss->one_target ? 1 : width) + loss->extra_targets;
}

static double weight_of_row(const PipelineGraphLoss *loss, const PipelineGraphLossOptions *options,
                            const float *row_weights, guint row, const float *targets)
{
  double weight = row_weights != NULL ? (double)row_weights[row] : 1;
  return loss->is_class && options->class_weights != NULL ? weight * (double)options->class_weights[(guint)targets[0]]
                                                          : weight;
}

static double sum_weights(const PipelineGraphLoss *loss, const PipelineGraphLossOptions *options, guint n_targets,
                          const float *targets, const float *row_weights, guint n)
{
  double sum = 0;
  for (guint i = 0; i < n; i++) sum += weight_of_row(loss, options, row_weights, i, targets + (gsize)i * n_targets);
  return sum;
}

double pipeline_graph_loss_share(const PipelineGraphLoss *loss, const PipelineGraphLossOptions *options,
                                 guint n_targets, const float *targets, const float *row_weights, guint first, guint n,
                                 guint all)
{
  if (n == all) return 1;
  double whole = sum_weights(loss, options, n_targets, targets, row_weights, all);
  double part = sum_weights(loss, options, n_targets, targets + (gsize)first * n_targets,
                            row_weights != NULL ? row_weights + first : NULL, n);
  return whole > 0 ? part / whole : 0;
}

double pipeline_graph_loss_evaluate(const PipelineGraphLoss *loss, const PipelineGraphLossOptions *options,
                                    const float *outputs, guint width, const float *targets, const float *row_weights,
                                    guint n, float *gradient)
{
  guint n_targets = pipeline_graph_loss_n_targets(loss, width);
  double total = 0, sum = sum_weights(loss, options, n_targets, targets, row_weights, n);
  for (guint i = 0; i < n; i++) {
    double weight = sum > 0 ? weight_of_row(loss, options, row_weights, i, targets + i * n_targets) / sum : 0;
    float *row = gradient != NULL ? gradient + (gsize)i * width : NULL;
    total += weight * loss->row(options, outputs + (gsize)i * width, width, targets + (gsize)i * n_targets, row);
    for (guint k = 0; row != NULL && k < width; k++) row[k] *= (float)weight;
  }
  return total;
}

double pipeline_graph_loss_merit(const PipelineGraphLoss *loss, const float *outputs, guint width, const float *targets,
                                 const float *row_weights, guint n, double *weight)
{
  guint n_targets = pipeline_graph_loss_n_targets(loss, width);
  double sum = 0;
  *weight = 0;
  for (guint i = 0; i < n; i++) {
    double w = row_weights != NULL ? (double)row_weights[i] : 1;
    sum += w * loss->merit(outputs + (gsize)i * width, width, targets + (gsize)i * n_targets);
    *weight += w;
  }
  return sum;
}
