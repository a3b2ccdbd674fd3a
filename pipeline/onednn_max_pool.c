/* MaxPool in oneDNN's layouts by loops of our own: those of oneDNN 2.6 take five times as long with AVX2, most of it
 * for the places of the maxima. */
#include <math.h>
#include <string.h>

#include "pipeline/onednn_images.h"
#include "pipeline/wide.h"

enum { NOWHERE = 255 }; /* a place within a window, which has at most so many: it lies in the padding */

typedef guint8 Places __attribute__((vector_size(PIPELINE_LANES), aligned(1), may_alias));

static gboolean read_ends(const PipelineOnednnPlan *plan, PipelineOnednnImages *x, PipelineOnednnImages *y)
{
  return pipeline_onednn_read_images(&plan->x, x) && pipeline_onednn_read_images(&plan->y, y) &&
         x->n_lanes == y->n_lanes;
}

gboolean pipeline_onednn_has_max_pool(const PipelineGradientCall *call, const PipelineOnednnPlan *plan)
{
  PipelineOnednnImages x, y;
  PipelineGradientWindow w;
  return strcmp(call->call.node->op_type, "MaxPool") == 0 && read_ends(plan, &x, &y) &&
         pipeline_gradient_window_read(&call->call, NULL, &w, NULL) && w.kernel[0] * w.kernel[1] < NOWHERE;
}

/* First and past the last tap of one dimension that lie inside of the image. */
static void find_taps(const PipelineGradientWindow *w, guint dimension, gsize place, gint64 *start, gsize *from,
                      gsize *to)
{
  *start = (gint64)(place * w->stride[dimension]) - w->before[dimension];
  *from = (gsize)MAX(-*start, 0);
  *to =
      (gsize)CLAMP((gint64)w->in[dimension] - *start, (gint64)*from, MAX((gint64)w->kernel[dimension], (gint64)*from));
}

/* One group of channels of one image. The first of equal elements; NaN wins. places [out, lanes]. */
WIDE static void find_largest(const PipelineGradientWindow *w, const PipelineOnednnImages *ends, const float *x,
                              float *y, Places *places)
{
  gint64 line, column;
  gsize ky0, ky1, kx0, kx1;
  for (gsize oy = 0; oy < w->out[0]; oy++) {
    find_taps(w, 0, oy, &line, &ky0, &ky1);
    for (gsize ox = 0; ox < w->out[1]; ox++, places++) {
      find_taps(w, 1, ox, &column, &kx0, &kx1);
      gboolean empty = ky0 >= ky1 || kx0 >= kx1;
      const float *first =
          x + (gsize)(line + (gint64)ky0) * ends[0].line_step + (gsize)(column + (gint64)kx0) * ends[0].place_step;
      PipelineLanes largest = (PipelineLanes){0} - INFINITY;
      if (!empty) largest = *(const PipelineLanes *)first;
      PipelineLaneMask where = (PipelineLaneMask){0} + (gint32)(empty ? NOWHERE : ky0 * w->kernel[1] + kx0);
      for (gsize ky = ky0; ky < ky1; ky++, first += ends[0].line_step)
        for (gsize kx = kx0; kx < kx1; kx++) {
          PipelineLanes tap = *(const PipelineLanes *)(first + (kx - kx0) * ends[0].place_step);
          PipelineLaneMask number = (PipelineLaneMask){0} + (gint32)(ky * w->kernel[1] + kx);
          PipelineLaneMask better = ~(tap <= largest) & (largest == largest);
          largest = (PipelineLanes)((better & (PipelineLaneMask)tap) | (~better & (PipelineLaneMask)largest));
          where = (better & number) | (~better & where);
        }
      *(PipelineLanes *)(y + oy * ends[1].line_step + ox * ends[1].place_step) = largest;
      *places = __builtin_convertvector(where, Places);
    }
  }
}

/* Of one group of channels of one image; where windows overlap or leave places out, its dx is 0 before. */
WIDE static void spread(const PipelineGradientWindow *w, const PipelineOnednnImages *ends, gboolean tiles, float *dx,
                        const float *dy, const Places *places)
{
  gint64 line, column;
  gsize ky0, ky1, kx0, kx1;
  for (gsize oy = 0; oy < w->out[0]; oy++) {
    find_taps(w, 0, oy, &line, &ky0, &ky1);
    for (gsize ox = 0; ox < w->out[1]; ox++, places++) {
      find_taps(w, 1, ox, &column, &kx0, &kx1);
      PipelineLaneMask gradient = *(const PipelineLaneMask *)(dy + oy * ends[1].line_step + ox * ends[1].place_step);
      PipelineLaneMask where = __builtin_convertvector(*places, PipelineLaneMask);
      for (gsize ky = ky0; ky < ky1; ky++)
        for (gsize kx = kx0; kx < kx1; kx++) {
          PipelineLanes *sum = (PipelineLanes *)(dx + (gsize)(line + (gint64)ky) * ends[0].line_step +
                                                 (gsize)(column + (gint64)kx) * ends[0].place_step);
          PipelineLanes term = (PipelineLanes)(gradient & (where == (gint32)(ky * w->kernel[1] + kx)));
          if (!tiles) term += *sum;
          *sum = term;
        }
    }
  }
}

/* Every place of the image is in one window. */
static gboolean is_tiled(const PipelineGradientWindow *w)
{
  gboolean tiled = TRUE;
  for (guint d = 0; d < 2; d++)
    tiled = tiled && w->before[d] == 0 && w->stride[d] == w->kernel[d] && w->out[d] * w->kernel[d] == w->in[d];
  return tiled;
}

WIDE static void clear(const PipelineOnednnImages *images, float *x)
{
  for (gsize line = 0; line < images->height; line++)
    for (gsize place = 0; place < images->width; place++)
      *(PipelineLanes *)(x + line * images->line_step + place * images->place_step) = (PipelineLanes){0};
}

gboolean pipeline_onednn_max_pool(PipelineGradientCall *call, const PipelineOnednnPlan *plan, const float *dy,
                                  GError **error)
{
  PipelineGradientWindow w;
  PipelineOnednnImages ends[2];
  if (!pipeline_gradient_window_read(&call->call, NULL, &w, error) || !read_ends(plan, &ends[0], &ends[1]))
    return FALSE;
  const float *x = call->call.inputs[0]->data;
  float *y = call->call.outputs[0]->data, *dx = dy != NULL ? call->input_gradients[0]->data : NULL;
  gboolean tiles = is_tiled(&w);
  gsize all = w.out[0] * w.out[1], groups = ends[0].n_lanes;
  Places *places = pipeline_gradient_memory(call, 0, ends[0].batch * groups * all * sizeof *places);
  for (gsize i = 0; i < ends[0].batch * groups; i++, places += all) {
    gsize in = pipeline_onednn_find_lanes(&ends[0], i / groups, i % groups),
          out = pipeline_onednn_find_lanes(&ends[1], i / groups, i % groups);
    if (dy == NULL) {
      find_largest(&w, ends, x + in, y + out, places);
    } else {
      if (!tiles) clear(&ends[0], dx + in);
      spread(&w, ends, tiles, dx + in, dy + out, places);
    }
  }
  return TRUE;
}
