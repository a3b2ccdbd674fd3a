/* The families of models of a search: one table each, and what its values mean to pipeline_train. */
#pragma once

#include "pipeline/search_space.h"

G_BEGIN_DECLS

void pipeline_search_recipe_clear(PipelineSearchRecipe *recipe);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PipelineSearchRecipe, pipeline_search_recipe_clear)
/* Fills options and recipe, on which the options then lean; values [n_dimensions] lie in the family's table. */
void pipeline_search_family_fill(const PipelineSearchFamily *family, const double *values, const DriftSchema *schema,
                                 PipelineSearchRecipe *recipe, PipelineTrainOptions *options);

const PipelineSearchFamily *pipeline_search_family_find(const gchar *name); /* or NULL */
/* The whole table, for documentation: NULL-terminated. */
const PipelineSearchFamily *const *pipeline_search_families(void);

G_END_DECLS
