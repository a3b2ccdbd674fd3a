#include "pipeline/graph_fit_micro.h"

#include <string.h>

#include "pipeline/graph_fit_device.h"
#include "pipeline/graph_fit_memory.h"

#define ROOM 0.95 /* of what is available beside the device's own that an estimate may fill */

/* Why a batch must go through in one piece, or NULL. */
static const gchar *find_obstacle(const PipelineGraphFit *fit)
{
  if (pipeline_graph_pass_uses_batch(fit->pass))
    return "the model normalises over its batch (BatchNormalization), so that passes of fewer rows would train another "
           "model: take a smaller batch, or freeze the normalisation";
  if (fit->parallel != NULL) return "several processes share each batch: take a smaller batch, or more processes";
  if (fit->options.harden.method != NULL) return "adversarial training takes whole batches: take a smaller batch";
  return NULL;
}

static gboolean fits(const PipelineGraphMemory *estimate)
{
  return estimate->available > estimate->device &&
         (double)(estimate->total - estimate->device) <= ROOM * (double)(estimate->available - estimate->device);
}

/* Half the rows of a chunk that is measured, then half those of a pass, until the estimate fits. */
static gboolean choose_rows(PipelineGraphFit *fit, const PipelineFitMemory *memory, GError **error)
{
  const PipelineGraphData *data = fit->data;
  PipelineGraphMemory *estimate = &fit->memory;
  guint rows = pipeline_fit_micro_rows(fit, (guint)MIN(fit->options.batch_size, fit->n_order)),
        evaluation = (guint)CLAMP(MAX(MAX(data->n_validation, data->n_test), data->n_old_validation), 1,
                                  PIPELINE_FIT_EVALUATION_ROWS);
  const guint all = evaluation;
  const gchar *obstacle = find_obstacle(fit);
  pipeline_fit_memory_estimate(memory, rows, evaluation, estimate);
  while (!fits(estimate) && (evaluation > rows || (rows > 1 && obstacle == NULL))) {
    if (evaluation > rows)
      evaluation = MAX(rows, evaluation / 2);
    else
      rows = evaluation = (rows + 1) / 2;
    pipeline_fit_memory_estimate(memory, rows, evaluation, estimate);
  }
  if (fits(estimate)) {
    if (rows < fit->options.batch_size && rows < fit->n_order) fit->state.micro_batch = rows;
    if (evaluation < all) fit->state.evaluation_rows = evaluation;
    return TRUE;
  }
  g_autofree gchar *figures = pipeline_graph_memory_describe(estimate);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MEMORY,
              "passes of %u rows are estimated to take %s of the device's memory, and %" G_GUINT64_FORMAT
              " are available: %s",
              rows, figures, estimate->available,
              obstacle != NULL ? obstacle : "take a smaller model, or a device with more memory");
  return FALSE;
}

static gboolean watch_memory(PipelineGraphFit *fit, GError **error)
{
  const PipelineGradientMemory *device = fit->backend->memory;
  PipelineFitMemory *memory;
  if (fit->options.device_memory > 0 && device->limit == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "the backend '%s' has no device whose memory could be limited: leave the limit out",
                fit->backend->name);
    return FALSE;
  }
  if (fit->options.device_memory > 0)
    device->limit(pipeline_graph_pass_get_device(fit->pass), fit->options.device_memory);
  if (fit->parallel != NULL) return TRUE; /* all processes must do alike */
  if (!pipeline_fit_memory_new(fit, &memory, error)) {
    g_prefix_error(error, "looking at passes of one row and two before the training: ");
    return FALSE;
  }
  gboolean done = memory == NULL || choose_rows(fit, memory, error);
  pipeline_fit_memory_free(memory);
  return done;
}

gboolean pipeline_fit_micro_begin(PipelineGraphFit *fit, GError **error)
{
  const gchar *obstacle = find_obstacle(fit);
  if (fit->options.micro_batch == 0 || fit->options.micro_batch >= fit->options.batch_size)
    return watch_memory(fit, error);
  if (obstacle != NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "batches cannot be cut into passes of %u rows: %s",
                fit->options.micro_batch, obstacle);
    return FALSE;
  }
  fit->state.micro_batch = fit->options.micro_batch;
  return watch_memory(fit, error);
}

guint pipeline_fit_micro_rows(const PipelineGraphFit *fit, guint n)
{
  return fit->state.micro_batch > 0 ? MIN(fit->state.micro_batch, n) : n;
}

guint pipeline_fit_micro_evaluation_rows(const PipelineGraphFit *fit)
{
  return fit->state.evaluation_rows > 0 ? fit->state.evaluation_rows : PIPELINE_FIT_EVALUATION_ROWS;
}

void pipeline_fit_micro_add(PipelineGraphFit *fit, gboolean first, gboolean last)
{
  gsize n = fit->state.n_parameters;
  if (fit->sums == NULL) fit->sums = g_new(float, n + 1);
  if (first)
    memcpy(fit->sums, fit->gradients, n * sizeof(float));
  else
    for (gsize i = 0; i < n; i++) fit->sums[i] += fit->gradients[i];
  if (last) memcpy(fit->gradients, fit->sums, n * sizeof(float));
}

/* --- what did not fit is tried again ------------------------------------------------------------------------------ */

static gboolean retry(PipelineGraphFit *fit, guint rows, const gchar *obstacle, guint *smaller, GError **failure)
{
  if (!g_error_matches(*failure, PIPELINE_ERROR, PIPELINE_ERROR_MEMORY)) return FALSE;
  if (rows <= 1)
    g_prefix_error(failure, "even one row in a pass is too much: ");
  else if (obstacle != NULL)
    g_prefix_error(failure, "%s; ", obstacle);
  if (rows <= 1 || obstacle != NULL) return FALSE;
  *smaller = (rows + 1) / 2;
  g_clear_error(failure);
  pipeline_graph_pass_release(fit->pass);
  pipeline_fit_device_disturb(fit->device);
  return TRUE;
}

gboolean pipeline_fit_micro_retry(PipelineGraphFit *fit, guint n, GError **failure)
{
  return retry(fit, pipeline_fit_micro_rows(fit, n), find_obstacle(fit), &fit->state.micro_batch, failure);
}

gboolean pipeline_fit_micro_retry_evaluation(PipelineGraphFit *fit, GError **failure)
{
  return retry(fit, pipeline_fit_micro_evaluation_rows(fit), fit->parallel != NULL ? find_obstacle(fit) : NULL,
               &fit->state.evaluation_rows, failure);
}
