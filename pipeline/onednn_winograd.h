/* Convolutions of 3 x 3 with stride 1 by Winograd's minimal filtering F(2 x 2, 3 x 3) (Lavin and Gray 2016, "Fast
 * Algorithms for Convolutional Neural Networks"): 4 multiplications for a result and channel where the direct algorithm
 * has 9, with rounding errors of the same size. oneDNN 2.6 has it for AVX-512 only, and not for training.
 *
 * With the tiles d [4, 4] of x, which overlap by 2, and those of y [2, 2]:
 *
 *     y = Aᵀ [Σ over channels of (G g Gᵀ) ⊙ (Bᵀ d B)] A        dg = Gᵀ [Σ over tiles of (A dy Aᵀ) ⊙ (Bᵀ d B)] G
 *
 * The gradient by x is a convolution of dy with the kernels turned around. Each of the 16 products of elements is one
 * of matrices: [tiles, channels] by [channels, results].
 */
#pragma once

#include "pipeline/onednn_images.h"

G_BEGIN_DECLS

typedef struct _PipelineOnednnWinogradLoops PipelineOnednnWinogradLoops;

/* What is computed: `window` of the forward convolution; weights [results, channels, 3, 3]. */
typedef struct {
  const PipelineOnednnWinogradLoops *loops; /* by which */
  PipelineGradientWindow window;
  PipelineOnednnImages x, y;
  gsize channels, results;
} PipelineOnednnWinograd;

/* Of one width of vectors (pipeline/onednn_winograd_loops.h). */
struct _PipelineOnednnWinogradLoops {
  gsize lanes; /* channels that lie next to each other in the layouts of both ends */
  gboolean (*is_supported)(void);
  /* Bytes of working memory that any of the three takes. */
  gsize (*memory_size)(const PipelineOnednnWinograd *winograd);
  /* bias [results] or NULL. */
  void (*forward)(const PipelineOnednnWinograd *winograd, const float *x, const float *weights, const float *bias,
                  float *y, gpointer memory);
  void (*backward_data)(const PipelineOnednnWinograd *winograd, const float *dy, const float *weights, float *dx,
                        gpointer memory);
  /* dw [results, channels, 3, 3] or NULL, db [results] or NULL. */
  void (*backward_weights)(const PipelineOnednnWinograd *winograd, const float *x, const float *dy, float *dw,
                           float *db, gpointer memory);
};

extern const PipelineOnednnWinogradLoops pipeline_onednn_winograd_avx2, pipeline_onednn_winograd_avx512;

/* FALSE: this node, or these layouts of x and y, are oneDNN's. */
gboolean pipeline_onednn_read_winograd(const PipelineGradientCall *call, const dnnl_memory_desc_t *x,
                                       const dnnl_memory_desc_t *y, PipelineOnednnWinograd *winograd);

G_END_DECLS
