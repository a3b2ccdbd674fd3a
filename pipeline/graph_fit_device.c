#include "pipeline/graph_fit_device.h"

#include <string.h>

#include "pipeline/graph_device.h"
#include "pipeline/graph_fit_micro.h"
#include "pipeline/graph_fit_scale.h"

#define MAX_SLOTS 256u
#define ALIGNMENT 64u /* elements */

/* A step whose results are not here yet. */
typedef struct {
  guint rows;
  guint64 step;
} Queued;

struct _PipelineFitDevice {
  const PipelineGradientBackend *backend;
  const PipelineGraphDevice *graph;
  gpointer device;
  /* Parameters one after the other, each at an address that vectors of any width like; zeros between them. */
  gsize n, *offsets;              /* [n parameters] */
  float *w, *m, *v, *g, *average; /* [n] */
  float *sums;                    /* [n]: gradients of the passes of a batch so far; NULL: not yet needed */
  float *spare;                   /* [n], of this process */
  guint8 *decays;
  float *targets, *weights;           /* of one batch */
  float **class_weights, **quantiles; /* [n_heads]; NULL: none */
  guint n_heads;
  guint64 queued, sent, received; /* steps */
  Queued steps[MAX_SLOTS];
  /* A step as it was recorded: of so many rows, while nothing has moved. */
  gpointer recording;
  guint rows;
  guint64 changes;
  guint same;          /* steps before this one that were of `rows` rows and left everything in its place */
  guint64 replayed;    /* steps */
  gboolean unrecorded; /* it cannot be: something of the device's is computed here in each step */
  gboolean disturbed;  /* the pass has computed something else since */
};

/* --- making ------------------------------------------------------------------------------------------------------- */

static gpointer upload(PipelineFitDevice *d, gconstpointer data, gsize bytes, GError **error)
{
  const PipelineGradientMemory *memory = d->backend->memory;
  gpointer there = memory->allocate(d->device, MAX(bytes, 1), error);
  if (there != NULL && data != NULL && !memory->copy_in(d->device, there, data, bytes, error)) {
    memory->release(d->device, there);
    return NULL;
  }
  return there;
}

static gboolean upload_heads(PipelineFitDevice *d, const PipelineGraphFit *fit, GError **error)
{
  d->n_heads = fit->n_heads;
  d->class_weights = g_new0(float *, fit->n_heads);
  d->quantiles = g_new0(float *, fit->n_heads);
  for (guint h = 0; h < fit->n_heads; h++) {
    const PipelineGraphLossOptions *options = &fit->heads[h].options;
    gsize width = pipeline_graph_pass_get_head(fit->pass, h)->n;
    if (options->class_weights != NULL &&
        (d->class_weights[h] = upload(d, options->class_weights, width * sizeof(float), error)) == NULL)
      return FALSE;
    if (options->quantiles == NULL) continue;
    g_autofree float *quantiles = g_new(float, width + 1);
    for (gsize i = 0; i < width; i++) quantiles[i] = (float)options->quantiles[i];
    if ((d->quantiles[h] = upload(d, quantiles, width * sizeof(float), error)) == NULL) return FALSE;
  }
  return TRUE;
}

static const PipelineGraphParameter *get_parameter(const PipelineGraphFit *fit, guint index)
{
  return &g_array_index(fit->plan->parameters, PipelineGraphParameter, index);
}

static void place(PipelineFitDevice *d, const PipelineGraphFit *fit)
{
  d->offsets = g_new(gsize, fit->plan->parameters->len + 1);
  for (guint i = 0; i < fit->plan->parameters->len; i++) {
    d->offsets[i] = d->n;
    d->n += (get_parameter(fit, i)->n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }
  d->spare = g_new0(float, d->n + 1);
}

static gboolean make_arrays(PipelineFitDevice *d, const PipelineGraphFit *fit, GError **error)
{
  const PipelineGraphFitState *state = &fit->state;
  gsize bytes = d->n * sizeof(float), rows = fit->options.batch_size;
  g_autofree guint8 *decays = g_new0(guint8, d->n + 1);
  for (guint i = 0; i < fit->plan->parameters->len; i++)
    for (gsize k = 0; k < get_parameter(fit, i)->n; k++)
      decays[d->offsets[i] + k] = get_parameter(fit, i)->decays != FALSE;
  const float *zeros = d->spare;
  d->w = upload(d, zeros, bytes, error);
  d->g = d->w != NULL ? upload(d, zeros, bytes, error) : NULL;
  d->decays = d->g != NULL ? upload(d, decays, d->n, error) : NULL;
  d->targets = d->decays != NULL ? upload(d, NULL, rows * fit->data->n_targets * sizeof(float), error) : NULL;
  d->weights = d->targets != NULL ? upload(d, NULL, rows * sizeof(float), error) : NULL;
  if (d->weights == NULL) return FALSE;
  if (state->m != NULL && (d->m = upload(d, zeros, bytes, error)) == NULL) return FALSE;
  if (state->v != NULL && (d->v = upload(d, zeros, bytes, error)) == NULL) return FALSE;
  if (fit->options.average == PIPELINE_AVERAGE_EMA && (d->average = upload(d, zeros, bytes, error)) == NULL)
    return FALSE;
  return TRUE;
}

static gboolean computes_there(const PipelineGraphFit *fit, const PipelineGradientBackend *backend)
{
  if (backend->host || backend->graph == NULL || fit->options.augment.mixup > 0 || fit->options.harden.method != NULL ||
      fit->options.project != NULL || (fit->options.communicator != NULL && fit->options.communicator->size > 1))
    return FALSE;
  for (guint i = 0; i < fit->plan->parameters->len; i++)
    if (get_parameter(fit, i)->rate != 1) return FALSE;
  if (fit->options.average == PIPELINE_AVERAGE_EMA && fit->plan->n_statistics > 0) return FALSE;
  for (guint h = 0; h < fit->n_heads; h++)
    if (!backend->graph->supports(fit->heads[h].loss, fit->options.optimiser)) return FALSE;
  return TRUE;
}

gboolean pipeline_fit_device_new(PipelineGraphFit *fit, const PipelineGradientBackend *backend,
                                 PipelineFitDevice **made, GError **error)
{
  *made = NULL;
  if (!computes_there(fit, backend)) return TRUE;
  g_return_val_if_fail(backend->graph->group * backend->graph->n_groups <= MAX_SLOTS, FALSE);
  PipelineFitDevice *d = g_new0(PipelineFitDevice, 1);
  d->backend = backend;
  d->graph = backend->graph;
  d->device = pipeline_graph_pass_get_device(fit->pass);
  place(d, fit);
  gboolean done = make_arrays(d, fit, error) && upload_heads(d, fit, error);
  for (guint i = 0; done && i < fit->plan->parameters->len; i++)
    done = pipeline_graph_pass_bind_device(fit->pass, i, d->w + d->offsets[i], d->g + d->offsets[i], error);
  if (done)
    *made = d;
  else
    pipeline_fit_device_free(d, fit->pass);
  return done;
}

void pipeline_fit_device_free(PipelineFitDevice *d, PipelineGraphPass *pass)
{
  if (d == NULL || pass == NULL) return;
  if (d->recording != NULL) d->graph->forget(d->device, d->recording);
  gpointer arrays[] = {d->w, d->m, d->v, d->g, d->sums, d->average, d->decays, d->targets, d->weights};
  const PipelineGradientMemory *memory = d->backend->memory;
  for (guint i = 0; i < G_N_ELEMENTS(arrays); i++)
    if (arrays[i] != NULL) memory->release(d->device, arrays[i]);
  for (guint h = 0; h < d->n_heads; h++) {
    if (d->class_weights[h] != NULL) memory->release(d->device, d->class_weights[h]);
    if (d->quantiles[h] != NULL) memory->release(d->device, d->quantiles[h]);
  }
  g_free(d->offsets);
  g_free(d->spare);
  g_free(d->class_weights);
  g_free(d->quantiles);
  g_free(d);
}

/* --- results: they arrive in groups, some steps later, and are counted in the order of the steps
 * ---------------------- */

static gboolean receive_group(PipelineGraphFit *fit, GError **error)
{
  PipelineFitDevice *d = fit->device;
  guint slots = d->graph->group * d->graph->n_groups;
  double results[MAX_SLOTS][2];
  guint group = (guint)(d->received / d->graph->group % d->graph->n_groups);
  guint64 end = MIN(d->received - d->received % d->graph->group + d->graph->group, d->sent);
  if (!d->graph->receive(d->device, group, results, error)) return FALSE;
  while (d->received < end) {
    const Queued *step = &d->steps[d->received % slots];
    const double *result = results[d->received % d->graph->group];
    d->received++;
    if (!pipeline_graph_fit_count(fit, step->rows, step->step, result[0], result[1], error)) return FALSE;
  }
  return TRUE;
}

gboolean pipeline_fit_device_drain(PipelineGraphFit *fit, GError **error)
{
  PipelineFitDevice *d = fit->device;
  if (d->sent < d->queued) {
    guint group = (guint)(d->sent / d->graph->group % d->graph->n_groups);
    if (!d->graph->send(d->device, group, error)) return FALSE;
    d->sent = d->queued;
  }
  while (d->received < d->sent)
    if (!receive_group(fit, error)) return FALSE;
  return TRUE;
}

/* After a step was queued: a full group is sent; the oldest is waited for before its slots are used again. */
static gboolean advance(PipelineGraphFit *fit, GError **error)
{
  PipelineFitDevice *d = fit->device;
  guint slots = d->graph->group * d->graph->n_groups;
  d->queued++;
  if (d->queued % d->graph->group != 0) return TRUE;
  guint group = (guint)((d->queued - 1) / d->graph->group % d->graph->n_groups);
  if (!d->graph->send(d->device, group, error)) return FALSE;
  d->sent = d->queued;
  while (d->queued + d->graph->group > d->received + slots)
    if (!receive_group(fit, error)) return FALSE;
  return TRUE;
}

/* --- one step -------------------------------------------------------------------------------------------------------
 */

static gboolean copy_batch(PipelineGraphFit *fit, guint n, GError **error)
{
  PipelineFitDevice *d = fit->device;
  const PipelineGradientMemory *memory = d->backend->memory;
  gsize columns = fit->data->n_targets;
  return memory->copy_in(d->device, d->targets, fit->targets, n * columns * sizeof(float), error) &&
         (fit->data->weights == NULL ||
          memory->copy_in(d->device, d->weights, fit->weights, n * sizeof(float), error)) &&
         pipeline_graph_fit_set_input(fit, fit->pass, fit->x, pipeline_fit_micro_rows(fit, n), error);
}

/* Rows first to first + n of a batch of `all`. */
typedef struct {
  guint first, n, all;
} Rows;

static gboolean queue_losses(PipelineGraphFit *fit, const Rows *rows, GError **error)
{
  PipelineFitDevice *d = fit->device;
  const guint n = rows->n, columns = fit->data->n_targets;
  const float *weights = fit->data->weights != NULL ? fit->weights : NULL;
  for (guint h = 0; h < fit->n_heads; h++) {
    const PipelineGraphHead *head = &fit->heads[h];
    const PipelineTensor *output = pipeline_graph_pass_get_device_head(fit->pass, h);
    const PipelineGraphDeviceLoss loss = {.loss = head->loss,
                                          .options = &head->options,
                                          .class_weights = d->class_weights[h],
                                          .quantiles = d->quantiles[h],
                                          .outputs = output->data,
                                          .targets = d->targets + (gsize)rows->first * columns,
                                          .row_weights = fit->data->weights != NULL ? d->weights + rows->first : NULL,
                                          .gradient = pipeline_graph_pass_get_head_gradient(fit->pass, h, error),
                                          .weight = head->weight *
                                                    pipeline_graph_loss_share(head->loss, &head->options, columns,
                                                                              fit->targets + head->first_target,
                                                                              weights, rows->first, n, rows->all),
                                          .n = n,
                                          .width = output->n / n,
                                          .n_targets = fit->data->n_targets,
                                          .first_target = head->first_target,
                                          .add = h > 0 || rows->first > 0,
                                          .scaled = pipeline_fit_scale_is_used(&fit->options)};
    if (loss.gradient == NULL || !d->graph->loss(d->device, &loss, error)) return FALSE;
  }
  return TRUE;
}

/* The gradients of one more pass of a batch. */
static gboolean add_gradients(PipelineFitDevice *d, gboolean first, GError **error)
{
  const PipelineGradientMemory *memory = d->backend->memory;
  gsize bytes = d->n * sizeof(float);
  if (d->sums == NULL && (d->sums = memory->allocate(d->device, bytes, error)) == NULL) return FALSE;
  return first ? memory->copy(d->device, d->sums, d->g, bytes, error)
               : memory->add(d->device, d->sums, d->g, d->n, error);
}

static gboolean queue_passes(PipelineGraphFit *fit, guint n, GError **error)
{
  guint size = pipeline_fit_micro_rows(fit, n);
  for (guint first = 0; first < n; first += size) {
    const Rows rows = {.first = first, .n = MIN(size, n - first), .all = n};
    if (first > 0 && !pipeline_graph_fit_set_input(fit, fit->pass, fit->x + first * fit->row_width, rows.n, error))
      return FALSE;
    if (!pipeline_graph_pass_forward(fit->pass, TRUE, &fit->state.random, error) || !queue_losses(fit, &rows, error) ||
        !pipeline_graph_pass_backward(fit->pass, NULL, error) ||
        (size < n && !add_gradients(fit->device, first == 0, error)))
      return FALSE;
  }
  return TRUE;
}

static gboolean queue_all(PipelineGraphFit *fit, guint n, GError **error)
{
  PipelineFitDevice *d = fit->device;
  gboolean parts = pipeline_fit_micro_rows(fit, n) < n;
  pipeline_graph_pass_keep_heads(fit->pass, TRUE);
  if (!queue_passes(fit, n, error)) return FALSE;
  const PipelineGraphDeviceUpdate update = {
      .optimiser = fit->options.optimiser,
      .options = &fit->options.optimiser_options,
      .n = d->n,
      .w = d->w,
      .m = d->m,
      .v = d->v,
      .g = parts ? d->sums : d->g,
      .decays = d->decays,
      .clip_norm = fit->options.clip_norm,
      .clip_value = fit->options.clip_value,
      .growth_steps = pipeline_fit_scale_is_used(&fit->options) ? MAX(fit->options.growth_steps, 1) : 0};
  return d->graph->update(d->device, &update, error);
}

/* --- recordings: one call in the place of many
 * ------------------------------------------------------------------------- */

#define SAME_BEFORE 2u /* steps that ran alike before one is recorded: then memory and plans are there */

static void forget(PipelineFitDevice *d)
{
  if (d->recording != NULL) d->graph->forget(d->device, d->recording);
  d->recording = NULL;
}

/* After a step that was queued call by call. */
static void learn_of_step(PipelineGraphFit *fit, guint n, guint64 before)
{
  PipelineFitDevice *d = fit->device;
  if (d->unrecorded) return;
  d->unrecorded = !pipeline_graph_pass_can_refresh(fit->pass);
  d->disturbed = FALSE;
  gboolean alike = d->rows == n && before == d->graph->changes(d->device) && before == d->changes;
  d->same = alike ? d->same + 1 : 0;
  if (alike) return;
  forget(d);
  d->rows = n;
  d->changes = d->graph->changes(d->device);
}

/* NULL: it cannot be recorded, and nothing has happened. */
static gpointer record(PipelineGraphFit *fit, guint n)
{
  PipelineFitDevice *d = fit->device;
  g_autoptr(GError) ignored = NULL;
  if (!d->graph->record_begin(d->device, &ignored)) return NULL;
  gboolean queued = queue_all(fit, n, &ignored);
  gpointer recording = d->graph->record_end(d->device, ignored == NULL ? &ignored : NULL);
  if (queued && d->graph->changes(d->device) == d->changes) return recording;
  if (recording != NULL) d->graph->forget(d->device, recording);
  return NULL;
}

/* The last step of an epoch runs call by call: monitors look at its values. */
static gboolean replay(PipelineGraphFit *fit, guint n, gboolean *done, GError **error)
{
  PipelineFitDevice *d = fit->device;
  gboolean last = fit->state.position + n >= fit->n_order;
  *done = FALSE;
  if (d->unrecorded || d->disturbed || last || pipeline_fit_micro_rows(fit, n) < n || d->rows != n ||
      d->changes != d->graph->changes(d->device))
    return TRUE;
  if (d->recording == NULL && d->same < SAME_BEFORE) return TRUE;
  const PipelineRandom random = fit->state.random;
  if (!pipeline_graph_pass_refresh(fit->pass, &fit->state.random, error)) return FALSE;
  if (d->recording == NULL) d->recording = record(fit, n);
  if (d->recording == NULL) { /* call by call then, with the same random numbers */
    d->unrecorded = TRUE;
    fit->state.random = random;
    pipeline_graph_pass_invalidate(fit->pass);
    return TRUE;
  }
  *done = TRUE;
  d->replayed++;
  pipeline_graph_pass_invalidate(fit->pass);
  return d->graph->replay(d->device, d->recording, error);
}

void pipeline_fit_device_disturb(PipelineFitDevice *d)
{
  if (d != NULL) d->disturbed = TRUE;
}

guint64 pipeline_graph_fit_get_replayed(const PipelineGraphFit *fit)
{
  return fit->device != NULL ? fit->device->replayed : 0;
}

gboolean pipeline_fit_device_step(PipelineGraphFit *fit, guint n, GError **error)
{
  PipelineFitDevice *d = fit->device;
  PipelineGraphFitState *state = &fit->state;
  gboolean replayed;
  const PipelineGraphDeviceStep step = {.options = &fit->options.optimiser_options,
                                        .rate = pipeline_graph_fit_learning_rate(fit),
                                        .step = state->steps + 1,
                                        .slot = (guint)(d->queued % (d->graph->group * d->graph->n_groups))};
  if (!copy_batch(fit, n, error) || !d->graph->begin(d->device, &step, error) || !replay(fit, n, &replayed, error))
    return FALSE;
  if (!replayed) {
    guint64 before = d->graph->changes(d->device);
    if (!queue_all(fit, n, error)) return FALSE;
    if (pipeline_fit_micro_rows(fit, n) == n) learn_of_step(fit, n, before);
  }
  state->steps++;
  if (d->average != NULL &&
      !d->graph->average(d->device, d->average, d->w, 1 - pipeline_graph_fit_average_decay(fit), d->n, error))
    return FALSE;
  d->steps[step.slot] = (Queued){.rows = n, .step = state->steps};
  return advance(fit, error);
}

/* --- agreeing with the state
 * ------------------------------------------------------------------------------------------ */

gboolean pipeline_fit_device_copy(PipelineGraphFit *fit, gboolean out, GError **error)
{
  PipelineFitDevice *d = fit->device;
  PipelineGraphFitState *state = &fit->state;
  const PipelineGradientMemory *memory = d->backend->memory;
  const struct {
    float *there, *here;
  } arrays[] = {{d->w, state->parameters}, {d->m, state->m}, {d->v, state->v}, {d->average, state->average}};
  gsize bytes = d->n * sizeof(float);
  if (!out && !d->graph->set_scale(d->device, state->loss_scale, state->scaled_steps, error)) return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(arrays); i++) {
    if (arrays[i].there == NULL || arrays[i].here == NULL) continue;
    if (out && !memory->copy_out(d->device, d->spare, arrays[i].there, bytes, error)) return FALSE;
    for (guint k = 0; k < fit->plan->parameters->len; k++) {
      const PipelineGraphParameter *p = get_parameter(fit, k);
      float *here = arrays[i].here + p->offset, *spare = d->spare + d->offsets[k];
      memcpy(out ? here : spare, out ? spare : here, p->n * sizeof(float));
    }
    if (!out && !memory->copy_in(d->device, arrays[i].there, d->spare, bytes, error)) return FALSE;
  }
  return TRUE;
}
