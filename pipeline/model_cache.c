#include "pipeline/model_cache.h"

#include "pipeline/model_spec.h"
#include "registry/model.h"

typedef struct {
  PipelineModel *model;
  guint64 used; /* the cache's clock at its last use */
} Entry;

struct _PipelineModelCache {
  GHashTable *entries; /* "model/version" -> Entry */
  GHashTable *schemas; /* model -> DriftSchema */
  guint capacity;
  guint64 clock;
};

static void entry_free(gpointer data)
{
  Entry *entry = data;
  pipeline_model_free(entry->model);
  g_free(entry);
}

static void schema_free(gpointer data)
{
  drift_schema_free(data);
}

PipelineModelCache *pipeline_model_cache_new(guint capacity)
{
  PipelineModelCache *cache = g_new0(PipelineModelCache, 1);
  cache->entries = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, entry_free);
  cache->schemas = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, schema_free);
  cache->capacity = MAX(capacity, 1);
  return cache;
}

void pipeline_model_cache_free(PipelineModelCache *cache)
{
  if (cache == NULL) return;
  g_hash_table_unref(cache->entries);
  g_hash_table_unref(cache->schemas);
  g_free(cache);
}

const DriftSchema *pipeline_model_cache_get_schema(PipelineModelCache *cache, RegistryStore *store, const gchar *model,
                                                   GError **error)
{
  DriftSchema *schema = g_hash_table_lookup(cache->schemas, model);
  if (schema != NULL) return schema;
  g_autoptr(RegistryModel) record = registry_model_get(store, model, error);
  if (record == NULL) return NULL;
  schema = pipeline_model_spec_parse(record->spec, error);
  if (schema != NULL) g_hash_table_insert(cache->schemas, g_strdup(model), schema);
  return schema;
}

static PipelineModel *load(PipelineModelCache *cache, RegistryStore *store, RegistryArtifacts *artifacts,
                           const gchar *model, gint64 version, GError **error)
{
  const DriftSchema *schema = pipeline_model_cache_get_schema(cache, store, model, error);
  if (schema == NULL) return NULL;
  g_autoptr(RegistryVersion) record = registry_version_get(store, model, version, error);
  if (record == NULL) return NULL;
  g_autoptr(GBytes) onnx = registry_artifacts_get(artifacts, record->onnx_digest, error);
  if (onnx == NULL) return NULL;
  PipelineModel *loaded = pipeline_model_load(onnx, schema, NULL, error);
  if (loaded == NULL) g_prefix_error(error, "%s/%" G_GINT64_FORMAT ": ", model, version);
  return loaded;
}

static void drop_oldest(PipelineModelCache *cache)
{
  GHashTableIter iterator;
  gpointer key = NULL, value = NULL, oldest = NULL;
  guint64 used = G_MAXUINT64;
  g_hash_table_iter_init(&iterator, cache->entries);
  while (g_hash_table_iter_next(&iterator, &key, &value)) {
    const Entry *entry = value;
    if (entry->used >= used) continue;
    used = entry->used;
    oldest = key;
  }
  if (oldest != NULL) g_hash_table_remove(cache->entries, oldest);
}

PipelineModel *pipeline_model_cache_get(PipelineModelCache *cache, RegistryStore *store, RegistryArtifacts *artifacts,
                                        const gchar *model, gint64 version, GError **error)
{
  g_autofree gchar *key = g_strdup_printf("%s/%" G_GINT64_FORMAT, model, version);
  Entry *entry = g_hash_table_lookup(cache->entries, key);
  if (entry == NULL) {
    PipelineModel *loaded = load(cache, store, artifacts, model, version, error);
    if (loaded == NULL) return NULL;
    if (g_hash_table_size(cache->entries) >= cache->capacity) drop_oldest(cache);
    entry = g_new0(Entry, 1);
    entry->model = loaded;
    g_hash_table_insert(cache->entries, g_steal_pointer(&key), entry);
  }
  entry->used = ++cache->clock;
  return entry->model;
}
