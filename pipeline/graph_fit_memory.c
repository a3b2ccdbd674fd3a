#include "pipeline/graph_fit_memory.h"

#include "pipeline/graph_fit_internal.h"

struct _PipelineFitMemory {
  PipelineGraphFit *fit;
  GArray *one, *two; /* pieces (pipeline/graph_pass.h) of passes of one row and of two */
  PipelineGradientRoom room;
};

static gboolean list_pieces(PipelineGraphFit *fit, guint rows, GArray **pieces, GError **error)
{
  const guint64 which[] = {fit->data->train[0], fit->data->train[fit->data->n_train > 1 ? 1 : 0]};
  pipeline_graph_fit_gather(fit, which, rows);
  if (!pipeline_graph_fit_forward(fit, rows, FALSE, error)) return FALSE;
  *pieces = pipeline_graph_pass_list_pieces(fit->pass);
  return TRUE;
}

gboolean pipeline_fit_memory_new(PipelineGraphFit *fit, PipelineFitMemory **made, GError **error)
{
  const PipelineGradientBackend *backend = fit->backend;
  *made = NULL;
  if (backend->memory->read == NULL || backend->graph == NULL) return TRUE;
  PipelineFitMemory *memory = g_new0(PipelineFitMemory, 1);
  memory->fit = fit;
  gboolean done = list_pieces(fit, 1, &memory->one, error) && list_pieces(fit, 2, &memory->two, error) &&
                  memory->one->len == memory->two->len;
  if (!done) {
    pipeline_fit_memory_free(memory);
    return FALSE;
  }
  pipeline_graph_pass_release(fit->pass);
  backend->memory->read(pipeline_graph_pass_get_device(fit->pass), &memory->room);
  *made = memory;
  return TRUE;
}

void pipeline_fit_memory_free(PipelineFitMemory *memory)
{
  if (memory == NULL) return;
  g_clear_pointer(&memory->one, g_array_unref);
  g_clear_pointer(&memory->two, g_array_unref);
  g_free(memory);
}

static guint64 size_of(const PipelineFitMemory *memory, guint64 bytes)
{
  const PipelineGraphFit *fit = memory->fit;
  return bytes == 0 ? 0 : fit->backend->memory->round(pipeline_graph_pass_get_device(fit->pass), bytes);
}

/* What is there whatever the rows. */
static void add_fixed(const PipelineFitMemory *memory, PipelineGraphMemory *estimate)
{
  const PipelineGraphFit *fit = memory->fit;
  const PipelineGradientRoom *room = &memory->room;
  guint64 weights = size_of(memory, fit->plan->n_parameters * sizeof(float));
  guint moments = fit->options.optimiser->n_memories + (fit->options.average == PIPELINE_AVERAGE_EMA);
  estimate->device = room->own;
  estimate->weights = weights;
  if (fit->device != NULL) {
    estimate->gradients = weights;
    estimate->optimiser = moments * weights;
  }
  guint64 known = estimate->device + estimate->weights + estimate->gradients + estimate->optimiser;
  estimate->other = room->used > known ? room->used - known : 0;
}

/* Pieces grow with the rows from the size that they have for one. */
static void add_pieces(const PipelineFitMemory *memory, guint rows, guint evaluation, PipelineGraphMemory *estimate)
{
  for (guint i = 0; i < memory->one->len; i++) {
    const PipelinePassPiece *one = &g_array_index(memory->one, PipelinePassPiece, i),
                            *two = &g_array_index(memory->two, PipelinePassPiece, i);
    guint64 growth = two->bytes > one->bytes ? two->bytes - one->bytes : 0;
    guint most = one->kind == PIPELINE_PASS_VALUE ? MAX(rows, evaluation) : rows;
    guint64 bytes = size_of(memory, one->bytes + growth * (most - 1));
    if (one->kind == PIPELINE_PASS_VALUE) estimate->activations += bytes;
    if (one->kind == PIPELINE_PASS_GRADIENT) estimate->activation_gradients += bytes;
    if (one->kind == PIPELINE_PASS_KEPT) estimate->kept += bytes;
  }
}

void pipeline_fit_memory_estimate(const PipelineFitMemory *memory, guint rows, guint evaluation,
                                  PipelineGraphMemory *estimate)
{
  PipelineGraphFit *fit = memory->fit;
  const PipelineGradientRoom *room = &memory->room;
  *estimate = (PipelineGraphMemory){.rows = rows, .evaluation_rows = evaluation};
  add_fixed(memory, estimate);
  if (rows < fit->options.batch_size) estimate->gradients += estimate->weights; /* their sums */
  add_pieces(memory, rows, evaluation, estimate);
  estimate->workspace = size_of(memory, pipeline_graph_pass_find_workspace(fit->pass, (double)rows / 2));
  estimate->total = estimate->device + estimate->weights + estimate->gradients + estimate->optimiser + estimate->other +
                    estimate->activations + estimate->activation_gradients + estimate->kept + estimate->workspace;
  estimate->available = room->free > 0 ? room->free + room->held : G_MAXINT64; /* the driver may not say */
  if (room->limit > 0) estimate->available = MIN(estimate->available, room->limit);
}

gchar *pipeline_graph_memory_describe(const PipelineGraphMemory *m)
{
  return g_strdup_printf("%" G_GUINT64_FORMAT " bytes (device %" G_GUINT64_FORMAT ", weights %" G_GUINT64_FORMAT
                         ", gradients %" G_GUINT64_FORMAT ", optimiser %" G_GUINT64_FORMAT
                         ", activations %" G_GUINT64_FORMAT ", their gradients %" G_GUINT64_FORMAT
                         ", kept by operators %" G_GUINT64_FORMAT ", workspace %" G_GUINT64_FORMAT
                         ", other %" G_GUINT64_FORMAT ")",
                         m->total, m->device, m->weights, m->gradients, m->optimiser, m->activations,
                         m->activation_gradients, m->kept, m->workspace, m->other);
}
