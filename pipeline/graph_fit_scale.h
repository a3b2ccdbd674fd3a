/* Dynamic scaling of losses (Micikevicius et al. 2018, "Mixed Precision Training", section 3.2): the gradient of the
 * loss is multiplied by a scale, a power of two times the first one, and the gradients of the weights divided by it, so
 * that small ones do not vanish on the way. A step whose gradients are not finite changes no weight and halves the
 * scale; options.growth_steps good ones in a row double it. Of trainings in bfloat16; others have scale 1. */
#pragma once

#include "pipeline/graph_fit.h"

G_BEGIN_DECLS

#define PIPELINE_SCALE_LEAST 1
#define PIPELINE_SCALE_MOST 16777216

gboolean pipeline_fit_scale_is_used(const PipelineGraphFitOptions *options);
/* After a step of this norm. FALSE: it is not finite, and a smaller scale cannot help. */
gboolean pipeline_fit_scale_follow(const PipelineGraphFitOptions *options, PipelineGraphFitState *state, double norm);

G_END_DECLS
