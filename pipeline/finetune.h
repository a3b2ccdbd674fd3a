/* What fine-tuning adds to training on a graph: old rows beside the new ones, and learning rates that fall with the
 * distance from the head. */
#pragma once

#include "pipeline/graph_plan.h"
#include "pipeline/graph_trainer.h"

G_BEGIN_DECLS

/* New arrays *joined, x [n, n_features] of float, and targets [n], n = rows->n_rows + old->n_rows: the rows, then the
 * old ones. DATA when their numbers of features differ or their classes are not the same. */
gboolean pipeline_finetune_join(const PipelineGraphRows *rows, const PipelineGraphRows *old, PipelineSpill **joined,
                                float **targets, GError **error);

/* Discriminative learning rates (Howard and Ruder 2018, https://arxiv.org/abs/1801.06146): the rate of each parameter
 * becomes decay^d, d the number of layers with weights between it and the last one. decay in (0, 1]. */
void pipeline_finetune_decay_rates(PipelineGraphPlan *plan, double decay);

G_END_DECLS
