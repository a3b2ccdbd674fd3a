/* Gradients of the weights of a convolution with few input channels (grey images) by a loop of our own: oneDNN 2.6
 * fills one channel up to a whole register of them, and computes eight times what is asked for.
 *
 *     dW[m, c, ky, kx] = Σ over images and places of dy[m, oy, ox] · x[c, oy · stride + ky · dilation, ox · … + kx · …]
 *
 * PIPELINE_LANES results m are computed at once; sums run by image, and those of images are added. */
#include <string.h>

#include "pipeline/onednn_images.h"
#include "pipeline/wide.h"

enum { MOST_CHANNELS = 2, MOST_TAPS = 4 };

/* One line of places of dy, and how x goes along with it. */
typedef struct {
  gsize width, place_step; /* of dy */
  gsize stride, dilation;  /* of x, horizontally */
} Line;

/* sums[k] += Σ over places of dy · x[k · dilation] */
#define ADD_LINE(n_taps)                                                                                               \
  WIDE static void add_line_##n_taps(const Line *line, const float *dy, const float *x, PipelineLanes *sums)           \
  {                                                                                                                    \
    PipelineLanes sum[n_taps];                                                                                         \
    for (gsize k = 0; k < (n_taps); k++) sum[k] = sums[k];                                                             \
    for (gsize place = 0; place < line->width; place++, dy += line->place_step, x += line->stride)                     \
      for (gsize k = 0; k < (n_taps); k++) sum[k] += *(const PipelineLanes *)dy * x[k * line->dilation];               \
    for (gsize k = 0; k < (n_taps); k++) sums[k] = sum[k];                                                             \
  }
ADD_LINE(1)
ADD_LINE(2)
ADD_LINE(3)
ADD_LINE(4)
#undef ADD_LINE

typedef void (*AddLineFunc)(const Line *line, const float *dy, const float *x, PipelineLanes *sums);
static const AddLineFunc add_line[MOST_TAPS + 1] = {NULL, add_line_1, add_line_2, add_line_3, add_line_4};

gboolean pipeline_onednn_is_narrow(const PipelineGradientCall *call, const PipelineOnednnPlan *plan)
{
  PipelineOnednnImages dy;
  PipelineGradientWindow w;
  const PipelineTensor *weights = call->call.inputs[1];
  return call->call.inputs[0]->dims[1] <= MOST_CHANNELS && weights->dims[1] == call->call.inputs[0]->dims[1] &&
         pipeline_onednn_read_images(&plan->y, &dy) &&
         pipeline_gradient_window_read(&call->call, weights->dims + 2, &w, NULL) && w.before[0] >= 0 &&
         w.before[1] >= 0;
}

/* Every element of x that a window sees, with the padding around it: [batch · channels, height, width]. */
typedef struct {
  gsize height, width;
  float *values;
} Padded;

static void pad(const PipelineGradientWindow *w, const float *x, Padded *padded)
{
  gsize rows = MIN(w->in[0], padded->height - MIN(padded->height, (gsize)w->before[0])),
        columns = MIN(w->in[1], padded->width - MIN(padded->width, (gsize)w->before[1]));
  memset(padded->values, 0, w->batch * w->channels * padded->height * padded->width * sizeof(float));
  for (gsize plane = 0; plane < w->batch * w->channels; plane++)
    for (gsize row = 0; row < rows; row++)
      memcpy(padded->values + (plane * padded->height + (gsize)w->before[0] + row) * padded->width +
                 (gsize)w->before[1],
             x + (plane * w->in[0] + row) * w->in[1], columns * sizeof(float));
}

/* One image and one group of results: sums [channels, kernel] += */
static void add_image(const PipelineGradientWindow *w, const Padded *padded, const float *x, const Line *line,
                      const float *dy, gsize line_step, PipelineLanes *sums)
{
  for (gsize oy = 0; oy < w->out[0]; oy++, dy += line_step)
    for (gsize row = 0; row < w->channels * w->kernel[0]; row++) {
      gsize c = row / w->kernel[0], y = oy * w->stride[0] + row % w->kernel[0] * w->dilation[0];
      const float *from = x + (c * padded->height + y) * padded->width;
      for (gsize k = 0; k < w->kernel[1]; k += MOST_TAPS)
        add_line[MIN(MOST_TAPS, w->kernel[1] - k)](line, dy, from + k * w->dilation[1], sums + row * w->kernel[1] + k);
    }
}

/* One group of results, of all images: totals [channels, kernel] */
static void add_group(const PipelineGradientWindow *w, const Padded *padded, const PipelineOnednnImages *images,
                      const float *dy, gsize group, PipelineLanes *sums, PipelineLanes *totals)
{
  const Line line = {images->width, images->place_step, w->stride[1], w->dilation[1]};
  gsize taps = w->channels * w->kernel[0] * w->kernel[1];
  memset(totals, 0, taps * sizeof *totals);
  for (gsize i = 0; i < images->batch; i++) {
    const float *of_image = dy + pipeline_onednn_find_lanes(images, i, group);
    memset(sums, 0, taps * sizeof *sums);
    add_image(w, padded, padded->values + i * w->channels * padded->height * padded->width, &line, of_image,
              images->line_step, sums);
    for (gsize k = 0; k < taps; k++) totals[k] += sums[k];
  }
}

gboolean pipeline_onednn_differentiate_narrow(PipelineGradientCall *call, const PipelineOnednnPlan *plan,
                                              const float *x, const float *dy, float *dw, float *db, GError **error)
{
  PipelineGradientWindow w;
  PipelineOnednnImages images;
  const PipelineTensor *weights = call->call.inputs[1];
  if (!pipeline_gradient_window_read(&call->call, weights->dims + 2, &w, error) ||
      !pipeline_onednn_read_images(&plan->y, &images))
    return FALSE;
  gsize taps = w.channels * w.kernel[0] * w.kernel[1], m = (gsize)weights->dims[0];
  Padded padded = {.height = (w.out[0] - 1) * w.stride[0] + (w.kernel[0] - 1) * w.dilation[0] + 1,
                   .width = (w.out[1] - 1) * w.stride[1] + (w.kernel[1] - 1) * w.dilation[1] + 1};
  padded.values =
      pipeline_gradient_memory(call, 1, w.batch * w.channels * padded.height * padded.width * sizeof(float));
  PipelineLanes *sums = pipeline_gradient_memory(call, 2, 2 * taps * sizeof *sums), *totals = sums + taps;
  if (db != NULL) pipeline_onednn_sum_places(&images, dy, m, db);
  if (dw != NULL) pad(&w, x, &padded);
  for (gsize group = 0; dw != NULL && group < images.n_lanes; group++) {
    add_group(&w, &padded, &images, dy, group, sums, totals);
    const float *found = (const float *)totals;
    for (gsize r = group * PIPELINE_LANES; r < MIN(m, (group + 1) * PIPELINE_LANES); r++, found++)
      for (gsize k = 0; k < taps; k++) dw[r * taps + k] = found[k * PIPELINE_LANES];
  }
  return TRUE;
}
