/* The part of a fit that several processes make together: each computes a slice of every batch, gradients and losses
 * are summed, so that all make the step of the whole batch. Used by graph_fit.c and graph_fit_epoch.c; every function
 * takes NULL for a process that trains alone, and then does nothing. */
#pragma once

#include "pipeline/graph_fit_internal.h"

G_BEGIN_DECLS

/* NULL without error: there is one process. After the parameters were placed; takes over fit->pass's slice and ready
 * function. UNSUPPORTED: adversarial training. */
gboolean pipeline_fit_parallel_new(PipelineGraphFit *fit, PipelineFitParallel **made, GError **error);
void pipeline_fit_parallel_free(PipelineFitParallel *parallel);
/* Which rows of a batch of n are computed here: *first to *first + *here; one that stands in when there is none. */
void pipeline_fit_parallel_cut(PipelineFitParallel *parallel, guint n, guint *first, guint *here);
/* Weight of those rows in the weight of all; targets [n, columns of the head] of the whole batch. 1 alone. */
double pipeline_fit_parallel_share(const PipelineFitParallel *parallel, const PipelineGraphHead *head, guint columns,
                                   const float *targets, const float *weights, guint n);
/* In front of the backward pass: the loss of the rows here is on its way, with whether this process wants to end. */
gboolean pipeline_fit_parallel_begin(PipelineFitParallel *parallel, double loss, gboolean wants_stop, GError **error);
/* Behind it: waits for gradients and loss; *stop: one of the processes wants to end. */
gboolean pipeline_fit_parallel_end(PipelineFitParallel *parallel, double *loss, gboolean *stop, GError **error);
/* Number `chunk` of pieces of measured rows is this process's. */
gboolean pipeline_fit_parallel_measures(const PipelineFitParallel *parallel, guint64 chunk);
gboolean pipeline_fit_parallel_sum(PipelineFitParallel *parallel, double *values, gsize n, GError **error);
/* The values of fit->pass belong to rows of the batch, not to one that stands in. */
gboolean pipeline_fit_parallel_counts(const PipelineFitParallel *parallel);

G_END_DECLS
