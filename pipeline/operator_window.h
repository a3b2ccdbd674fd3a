/* Windows that slide over the spatial dimensions of [N, C, D1, D2, …]: what convolutions and pools share. */
#pragma once

#include "pipeline/operator_internal.h"

G_BEGIN_DECLS

#define PIPELINE_WINDOW_MAX (ONNX_MAX_DIMENSIONS - 2)

typedef struct {
  guint n; /* spatial dimensions, ≥ 1 */
  gint64 kernel[PIPELINE_WINDOW_MAX], stride[PIPELINE_WINDOW_MAX], dilation[PIPELINE_WINDOW_MAX];
  gint64 before[PIPELINE_WINDOW_MAX], after[PIPELINE_WINDOW_MAX]; /* padding */
  gint64 in[PIPELINE_WINDOW_MAX], out[PIPELINE_WINDOW_MAX];
  gsize n_kernel, n_in, n_out; /* products */
} PipelineWindow;

/* Reads strides, dilations, pads, auto_pad, ceil_mode and computes `out`. in: spatial dimensions [n]; kernel [n], or
 * NULL: attribute kernel_shape. */
gboolean pipeline_window_read(const PipelineCall *call, guint n, const gint64 *in, const gint64 *kernel,
                              PipelineWindow *window, GError **error);
/* The same attributes without auto_pad and `out` (transposed convolutions compute theirs). */
gboolean pipeline_window_read_attributes(const PipelineCall *call, guint n, const gint64 *in, const gint64 *kernel,
                                         PipelineWindow *window, GError **error);
/* The products of the sizes; FALSE when one is too large to count. */
gboolean pipeline_window_count(PipelineWindow *window, GError **error);
/* columns[k · (to - from) + p - from] = image[position of kernel element k in window p], 0 in the padding, for the
 * windows from ≤ p < to and one channel. */
void pipeline_window_gather(const PipelineWindow *window, const float *image, gsize from, gsize to, float *columns);
/* The reverse: adds columns to image. */
void pipeline_window_scatter(const PipelineWindow *window, const float *columns, gsize from, gsize to, float *image);

G_END_DECLS
