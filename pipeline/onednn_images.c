#include "pipeline/onednn_images.h"

#include <string.h>

#include "pipeline/wide.h"

gboolean pipeline_onednn_read_images(const dnnl_memory_desc_t *shape, PipelineOnednnImages *images)
{
  const dnnl_blocking_desc_t *blocking = &shape->format_desc.blocking;
  gint last = shape->ndims - 1;
  if (shape->format_kind != dnnl_blocked || shape->data_type != dnnl_f32 || shape->offset0 != 0 ||
      (shape->ndims != 3 && shape->ndims != 4))
    return FALSE;
  gboolean blocked = blocking->inner_nblks == 1 && blocking->inner_idxs[0] == 1;
  gboolean channels_last = blocking->inner_nblks == 0 && blocking->strides[1] == 1;
  if (!blocked && !channels_last) return FALSE;
  *images = (PipelineOnednnImages){.batch = (gsize)shape->dims[0],
                                   .height = shape->ndims == 4 ? (gsize)shape->dims[2] : 1,
                                   .width = (gsize)shape->dims[last],
                                   .n_lanes = (gsize)shape->padded_dims[1] / PIPELINE_LANES,
                                   .block = (gsize)(blocked ? blocking->inner_blks[0] : shape->dims[1]),
                                   .image_step = (gsize)blocking->strides[0],
                                   .block_step = (gsize)blocking->strides[1],
                                   .line_step = shape->ndims == 4 ? (gsize)blocking->strides[2] : 0,
                                   .place_step = (gsize)blocking->strides[last]};
  return images->block % PIPELINE_LANES == 0;
}

gsize pipeline_onednn_find_lanes(const PipelineOnednnImages *images, gsize image, gsize lanes)
{
  gsize channel = lanes * PIPELINE_LANES;
  return image * images->image_step + channel / images->block * images->block_step + channel % images->block;
}

/* Of one image and group of channels: total += */
WIDE static void sum_image(const PipelineOnednnImages *images, const float *values, PipelineLanes *total)
{
  PipelineLanes sum = {0};
  for (gsize line = 0; line < images->height; line++)
    for (gsize place = 0; place < images->width; place++)
      sum += *(const PipelineLanes *)(values + line * images->line_step + place * images->place_step);
  *total += sum;
}

void pipeline_onednn_sum_places(const PipelineOnednnImages *images, const float *values, gsize n, float *sums)
{
  for (gsize group = 0; group * PIPELINE_LANES < n; group++) {
    PipelineLanes total = {0};
    for (gsize i = 0; i < images->batch; i++)
      sum_image(images, values + pipeline_onednn_find_lanes(images, i, group), &total);
    memcpy(sums + group * PIPELINE_LANES, &total, MIN(PIPELINE_LANES, n - group * PIPELINE_LANES) * sizeof(float));
  }
}
