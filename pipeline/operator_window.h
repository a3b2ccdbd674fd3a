/* Windows that slide over the spatial dimensions of [N, C, D1, D2, …]: what convolutions and pools share. */
#pragma once

#include "pipeline/operator_internal.h"

G_BEGIN_DECLS

#define PIPELINE_SPATIAL_MAX (ONNX_MAX_DIMENSIONS - 2)

typedef struct {
  guint n; /* spatial dimensions, ≥ 1 */
  gint64 kernel[PIPELINE_SPATIAL_MAX], stride[PIPELINE_SPATIAL_MAX], dilation[PIPELINE_SPATIAL_MAX];
  gint64 before[PIPELINE_SPATIAL_MAX], after[PIPELINE_SPATIAL_MAX]; /* padding */
  gint64 in[PIPELINE_SPATIAL_MAX], out[PIPELINE_SPATIAL_MAX];
  gsize n_kernel, n_in, n_out; /* products */
} PipelineSpatial;

/* Reads strides, dilations, pads, auto_pad, ceil_mode and computes `out`. in: spatial dimensions [n]; kernel [n], or
 * NULL: attribute kernel_shape. */
gboolean pipeline_spatial_read(const PipelineCall *call, guint n, const gint64 *in, const gint64 *kernel,
                               PipelineSpatial *window, GError **error);
/* The same attributes without auto_pad and `out` (transposed convolutions compute theirs). */
gboolean pipeline_spatial_read_attributes(const PipelineCall *call, guint n, const gint64 *in, const gint64 *kernel,
                                          PipelineSpatial *window, GError **error);
/* Of a transposed convolution (inputs 0 and 1, of equal rank): `out` is the size of its result. In operator_conv.c. */
gboolean pipeline_spatial_read_transposed(const PipelineCall *call, PipelineSpatial *window, GError **error);
/* The products of the sizes; FALSE when one is too large to count. */
gboolean pipeline_spatial_count(PipelineSpatial *window, GError **error);
/* columns[k · (to - from) + p - from] = image[position of kernel element k in window p], 0 in the padding, for the
 * windows from ≤ p < to and one channel. */
void pipeline_spatial_gather(const PipelineSpatial *window, const float *image, gsize from, gsize to, float *columns);
/* The reverse: adds columns to image. */
void pipeline_spatial_scatter(const PipelineSpatial *window, const float *columns, gsize from, gsize to, float *image);

G_END_DECLS
