/* Rehearsal: rows of an older world in every batch, so that a model that learns new rows does not forget the old ones
 * (McCloskey and Cohen 1989 for the forgetting; Robins, Connection Science 7 (1995) 123 for the remedy). */
#pragma once

#include "pipeline/trainer_random.h"

G_BEGIN_DECLS

/* The rows of one epoch: each new row once, and in every batch of batch_size rows round(share · batch_size) old ones
 * (at least one, and at least one new one; the last, shorter batch has them in the same proportion). n_old 0: the new
 * rows alone. */
typedef struct {
  const guint64 *fresh, *old; /* row numbers; borrowed */
  guint64 n_fresh, n_old;
  guint batch_size;
  double share; /* in (0, 1) */
} PipelineRehearsal;

guint64 pipeline_rehearsal_count(const PipelineRehearsal *rehearsal); /* rows of an epoch */
/* order [pipeline_rehearsal_count] = a random order of them, batch by batch. Old rows are drawn without repetition
 * until all were used once, then again in the same order. */
void pipeline_rehearsal_order(const PipelineRehearsal *rehearsal, PipelineRandom *random, guint64 *order);

G_END_DECLS
