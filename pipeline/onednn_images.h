/* Images in the layouts of oneDNN whose channels lie next to each other, for loops of our own over them. */
#pragma once

#include "pipeline/onednn_internal.h"

G_BEGIN_DECLS

/* Loops work on so many channels at once; the arithmetic of each is the same whatever the width of the registers. */
#define PIPELINE_LANES 8
typedef float PipelineLanes __attribute__((vector_size(32), aligned(4), may_alias));
typedef gint32 PipelineLaneMask __attribute__((vector_size(32), aligned(4), may_alias)); /* all bits of a lane, or 0 */

/* Blocks of channels (nChw8c, nChw16c; the last one filled up with zeros), or channels last (nhwc). */
typedef struct {
  gsize batch, height, width;                          /* height 1 where there is one spatial dimension */
  gsize n_lanes;                                       /* groups of PIPELINE_LANES channels */
  gsize block;                                         /* channels that lie next to each other */
  gsize image_step, block_step, line_step, place_step; /* in elements */
} PipelineOnednnImages;

/* FALSE: the channels of that layout are apart, or no multiple of PIPELINE_LANES. */
gboolean pipeline_onednn_read_images(const dnnl_memory_desc_t *shape, PipelineOnednnImages *images);
/* Of the first element of image `image` and of the group `lanes`. */
gsize pipeline_onednn_find_lanes(const PipelineOnednnImages *images, gsize image, gsize lanes);
/* sums [n], of the first n channels: over all places of all images. */
void pipeline_onednn_sum_places(const PipelineOnednnImages *images, const float *values, gsize n, float *sums);

G_END_DECLS
