/* Proposals of the tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kégl 2011): the observations are
 * divided into the good ones (a share of the lowest losses) and the others, each dimension's density of both is
 * estimated, and of candidates drawn from the good ones' density that with the largest ratio of the two is proposed.
 *
 * Numbers live on [0, 1] (in the logarithm where the dimension says so); their density is a mixture of one truncated
 * normal an observation, as wide as the larger distance to its neighbours (at least 1 / min(100, n + 1)), and of the
 * uniform density, which counts as one observation. Choices count observations, plus one for each choice. */
#pragma once

#include "pipeline/search_space.h"

G_BEGIN_DECLS

#define PIPELINE_SEARCH_STARTUP 8u /* observations below which a proposal is drawn uniformly */

/* values [n, n_dimensions of the part] with losses [n]; proposal [n_dimensions]. The same arguments and state of the
 * random numbers give the same proposal. */
void pipeline_search_propose(const PipelineSearchPart *part, const double *values, const double *losses, guint n,
                             PipelineRandom *random, double *proposal);
/* The same for a choice alone: of n observations chosen [n] with losses [n] in n_choices; the index. */
guint pipeline_search_propose_choice(const guint *chosen, const double *losses, guint n, guint n_choices,
                                     PipelineRandom *random);
void pipeline_search_draw(const PipelineSearchPart *part, PipelineRandom *random, double *values); /* uniformly */

G_END_DECLS
