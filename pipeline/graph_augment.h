/* Changes to training rows that keep their label: more data than there is. */
#pragma once

#include "pipeline/error.h"
#include "pipeline/trainer_random.h"

G_BEGIN_DECLS

typedef struct {
  double noise; /* standard deviation of a normal number added to every element; 0: none */
  double mixup; /* α of Beta(α, α): pairs of rows are mixed with their targets (Zhang et al. 2018); 0: none */
  guint shift;  /* images: moved by up to so many pixels each way, edges are filled with 0 */
  double flip;  /* images: share that is mirrored left to right */
  guint cutout; /* images: side of a square that becomes 0 (DeVries and Taylor 2017); 0: none */
  guint channels, height, width; /* of a row as an image; 0: it is none */
} PipelineAugmentOptions;

/* INVALID: values out of range, or image changes on rows of row_width elements that are no such images. */
gboolean pipeline_augment_check(const PipelineAugmentOptions *options, gsize row_width, GError **error);
gboolean pipeline_augment_draws(const PipelineAugmentOptions *options); /* rows are changed by random numbers */
/* Changes x [n, row_width] in place. */
void pipeline_augment_rows(const PipelineAugmentOptions *options, PipelineRandom *random, float *x, guint n,
                           gsize row_width);
/* x = λ x + (1 − λ) x of partner rows, in place; partner [n] gets their numbers. Returns λ in [.5, 1]. */
double pipeline_augment_mix(const PipelineAugmentOptions *options, PipelineRandom *random, float *x, guint n,
                            gsize row_width, guint64 *partner);

G_END_DECLS
