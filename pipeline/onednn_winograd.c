#include "pipeline/onednn_winograd.h"

#define LEAST_CHANNELS 16
#define LEAST_SIDE 4
#define LEAST_ALL 32 /* tiles of a batch: fewer are not worth the transformation of the weights */

static const PipelineOnednnWinogradLoops *const all_loops[] = {&pipeline_onednn_winograd_avx2,
                                                               &pipeline_onednn_winograd_avx512};

/* For the blocks in which both ends lie, or NULL. */
static const PipelineOnednnWinogradLoops *find_loops(const PipelineOnednnWinograd *winograd)
{
  for (guint i = 0; i < G_N_ELEMENTS(all_loops); i++)
    if (winograd->x.block == all_loops[i]->lanes && winograd->y.block == all_loops[i]->lanes &&
        all_loops[i]->is_supported())
      return all_loops[i];
  return NULL;
}

gboolean pipeline_onednn_read_winograd(const PipelineGradientCall *call, const dnnl_memory_desc_t *x,
                                       const dnnl_memory_desc_t *y, PipelineOnednnWinograd *winograd)
{
  const PipelineTensor *w = call->call.inputs[1];
  PipelineGradientWindow *window = &winograd->window;
  if (w->n_dims != 4 || !pipeline_gradient_window_read(&call->call, w->dims + 2, window, NULL)) return FALSE;
  for (guint d = 0; d < 2; d++)
    if (window->kernel[d] != 3 || window->stride[d] != 1 || window->dilation[d] != 1 || window->out[d] < LEAST_SIDE)
      return FALSE;
  if (window->batch * ((window->out[0] + 1) / 2) * ((window->out[1] + 1) / 2) < LEAST_ALL) return FALSE;
  winograd->results = (gsize)w->dims[0];
  winograd->channels = (gsize)w->dims[1];
  if (winograd->channels != window->channels || MIN(winograd->channels, winograd->results) < LEAST_CHANNELS ||
      !pipeline_onednn_read_images(x, &winograd->x) || !pipeline_onednn_read_images(y, &winograd->y))
    return FALSE;
  winograd->loops = find_loops(winograd);
  return winograd->loops != NULL;
}
