#include "pipeline/graph_fit_scale.h"

#include <math.h>

gboolean pipeline_fit_scale_is_used(const PipelineGraphFitOptions *options)
{
  return options->precision == PIPELINE_PRECISION_BFLOAT16;
}

gboolean pipeline_fit_scale_follow(const PipelineGraphFitOptions *options, PipelineGraphFitState *state, double norm)
{
  state->scaled_steps++;
  if (!isfinite(norm)) {
    if (state->loss_scale <= PIPELINE_SCALE_LEAST) return FALSE;
    state->loss_scale = MAX(state->loss_scale / 2, PIPELINE_SCALE_LEAST);
    state->skipped_steps++;
    state->scaled_steps = 0;
  } else if (state->scaled_steps >= options->growth_steps) {
    state->loss_scale = MIN(state->loss_scale * 2, PIPELINE_SCALE_MOST);
    state->scaled_steps = 0;
  }
  return TRUE;
}
