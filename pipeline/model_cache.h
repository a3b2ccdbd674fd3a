/* Loaded models of a warm worker, by version. Versions are immutable, so what is cached never goes stale. One thread.
 */
#pragma once

#include "pipeline/model.h"
#include "registry/artifact.h"
#include "registry/store.h"

G_BEGIN_DECLS

typedef struct _PipelineModelCache PipelineModelCache;
/* capacity: models kept; the one used longest ago goes first. */
PipelineModelCache *pipeline_model_cache_new(guint capacity);
void pipeline_model_cache_free(PipelineModelCache *cache);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineModelCache, pipeline_model_cache_free)
/* Borrowed until the next call. Loads through registry and artifacts on the first use of a version. */
PipelineModel *pipeline_model_cache_get(PipelineModelCache *cache, RegistryStore *store, RegistryArtifacts *artifacts,
                                        const gchar *model, gint64 version, GError **error);
/* The model's schema; borrowed until the cache is freed. */
const DriftSchema *pipeline_model_cache_get_schema(PipelineModelCache *cache, RegistryStore *store, const gchar *model,
                                                   GError **error);

G_END_DECLS
