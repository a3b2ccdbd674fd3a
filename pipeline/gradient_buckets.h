/* Gradients summed over processes while the backward pass goes on. Parameters lie one after the other in node order;
 * backward completes them from the end, so buckets are cut from there, and the sum of a bucket starts when its last
 * gradient is complete (Li et al. 2020, "PyTorch Distributed", https://arxiv.org/abs/2006.15704). Sums are in place. */
#pragma once

#include "pipeline/communicator.h"

G_BEGIN_DECLS

typedef struct _PipelineGradientBuckets PipelineGradientBuckets;

#define PIPELINE_BUCKET_ELEMENTS ((gsize)1 << 16) /* 256 KiB: a bucket holds at least as many, but for the first */

/* gradients [sum of sizes] is borrowed, as the communicator is; sizes [n]: elements of each parameter. */
PipelineGradientBuckets *pipeline_gradient_buckets_new(PipelineCommunicator *communicator, float *gradients,
                                                       const gsize *sizes, guint n, gsize elements);
void pipeline_gradient_buckets_free(PipelineGradientBuckets *buckets);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineGradientBuckets, pipeline_gradient_buckets_free)
guint pipeline_gradient_buckets_count(const PipelineGradientBuckets *buckets);
/* The gradient of parameter `index` is complete; every one once between two finishes, in the same order in all
 * processes. Starts what can start and lets go on what is under way. */
gboolean pipeline_gradient_buckets_ready(PipelineGradientBuckets *buckets, guint index, GError **error);
/* Waits for all sums. Every parameter must have been ready. */
gboolean pipeline_gradient_buckets_finish(PipelineGradientBuckets *buckets, GError **error);

G_END_DECLS
