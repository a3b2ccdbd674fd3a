/* What the files transform_*.c share. */
#pragma once

#include "pipeline/transform.h"

G_BEGIN_DECLS

/* All rows of the inputs through one step of a graph of its own. New. */
PipelineValues *pipeline_transform_run(const PipelineTransformation *row, const PipelineTransformState *state,
                                       const PipelineValues *const *inputs, GError **error);

G_END_DECLS
