/* Batches in several passes, whose gradients are added up, for models whose batches do not fit into the memory of a
 * device. Used by graph_fit*.c. */
#pragma once

#include "pipeline/graph_fit_internal.h"

G_BEGIN_DECLS

/* After the pass is made: the rows of a pass, as options ask for or as an estimate of the device's memory allows.
 * INVALID: the model or the training cannot be cut; MEMORY: even one row does not fit, with the figures. */
gboolean pipeline_fit_micro_begin(PipelineGraphFit *fit, GError **error);
guint pipeline_fit_micro_rows(const PipelineGraphFit *fit, guint n); /* of a pass, of a batch of n */
guint pipeline_fit_micro_evaluation_rows(const PipelineGraphFit *fit);
/* The gradients of one more pass; after the last one fit->gradients are those of the batch. */
void pipeline_fit_micro_add(PipelineGraphFit *fit, gboolean first, gboolean last);
/* After a step of n rows that failed: TRUE with *failure freed when it can be tried again in smaller passes, for which
 * all memory that a pass can do without was given back. Else the failure says why not. */
gboolean pipeline_fit_micro_retry(PipelineGraphFit *fit, guint n, GError **failure);
/* The same after a measurement in chunks of evaluation_rows. */
gboolean pipeline_fit_micro_retry_evaluation(PipelineGraphFit *fit, GError **failure);

G_END_DECLS
