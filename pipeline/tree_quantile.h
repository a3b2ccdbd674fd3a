/* Boosting of quantiles. XGBoost 1.7 has no such objective (reg:quantileerror came with 2.0), so that its rounds take
 * our gradients of the pinball loss (Koenker and Bassett 1978) and only choose the splits; a leaf then says the
 * quantile of what is left of its rows (Friedman 2001, "Greedy function approximation", algorithm 3, with a quantile
 * for the median), as XGBoost 2's adaptive leaves do. */
#pragma once

#include "pipeline/tree_boost.h"

G_BEGIN_DECLS

/* Gradients and second derivatives (the weight: the loss has none) of each row and output, [n, n_outputs]. */
void pipeline_tree_quantile_gradients(const PipelineLoss *loss, const PipelineTreeSet *rows, const float *raw,
                                      float *gradients, float *hessians);
/* Sets the leaves of the trees from first_tree on, of which the set's raw outputs [n, n_outputs] have nothing yet: eta
 * times the weighted quantile of target − output over the rows that reach them; 0 where none does. */
void pipeline_tree_quantile_fill(PipelineTreeEnsemble *ensemble, guint first_tree, const PipelineLoss *loss,
                                 const PipelineTreeSet *rows, const float *raw, double eta);
/* The weighted quantile of numbers [n], weights [n] or NULL (all 1): the least number that has at least that share of
 * the weight at or below it. */
float pipeline_tree_quantile(const float *numbers, const float *weights, gsize n, double share);

G_END_DECLS
