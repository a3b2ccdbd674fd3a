/* Models, immutable versions, aliases with compare-and-set and full history, tags, lineage. */
#pragma once

#include <glib.h>

#include "registry/store.h"

G_BEGIN_DECLS

/* [A-Za-z0-9][A-Za-z0-9._-]{0,127} — model names, aliases, feature-free identifiers everywhere. */
gboolean registry_name_is_valid(const gchar *name);

typedef struct {
  gchar *name;
  gchar *spec;       /* JSON: the schema (pipeline/model_spec.h) */
  gint64 created_at; /* microseconds, wall clock */
} RegistryModel;
void registry_model_free(RegistryModel *model);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RegistryModel, registry_model_free)

typedef struct {
  gchar *model;
  gint64 version;        /* 1, 2, … without gaps; assigned by create */
  gchar *onnx_digest;    /* SHA-256 hex of the artifact model.onnx */
  gchar *grid_digest;    /* artifact: grid bytes; NULL: none */
  gchar *profile_digest; /* artifact: accumulator bytes on that grid; NULL: none */
  gint64 parent;         /* version it was made from; 0: none */
  gchar *kind;           /* "imported", "retrain", "adapt", "harden", "compress", … */
  gchar *incident;       /* id or NULL */
  gchar *job;            /* id or NULL */
  gchar *data_set;       /* JSON: labelled-log ranges with offsets and SHA-256; or NULL */
  gchar *metrics;        /* JSON, as the job measured; or NULL */
  gint64 created_at;
} RegistryVersion;
void registry_version_free(RegistryVersion *version);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RegistryVersion, registry_version_free)

gboolean registry_model_create(RegistryStore *store, const gchar *name, const gchar *spec, const gchar *actor,
                               GError **error);
RegistryModel *registry_model_get(RegistryStore *store, const gchar *name, GError **error);
GPtrArray *registry_model_list(RegistryStore *store, GError **error); /* of RegistryModel*, owned, by name */

/* Takes every field of `version` but version and created_at; returns the number, or 0 on error.
 * Idempotent per (model, job) when job is not NULL: the same job registers once and gets the same number back. */
gint64 registry_version_create(RegistryStore *store, const RegistryVersion *version, const gchar *actor,
                               GError **error);
RegistryVersion *registry_version_get(RegistryStore *store, const gchar *model, gint64 version, GError **error);
GPtrArray *registry_version_list(RegistryStore *store, const gchar *model, GError **error); /* oldest first */

typedef struct {
  gchar *model, *alias;
  gint64 version;  /* 0: the alias was deleted */
  gint64 previous; /* 0: none */
  gint64 revision; /* 1, 2, … per (model, alias) */
  gchar *actor, *reason;
  gint64 at; /* microseconds, wall clock */
} RegistryAliasChange;
void registry_alias_change_free(RegistryAliasChange *change);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RegistryAliasChange, registry_alias_change_free)

/* Version the alias points to; 0 and NOT_FOUND when there is none. */
gint64 registry_alias_get(RegistryStore *store, const gchar *model, const gchar *alias, GError **error);
/* Compare-and-set: CONFLICT unless the alias points to `expected` (0: no alias yet; -1: whatever it is). */
gboolean registry_alias_set(RegistryStore *store, const gchar *model, const gchar *alias, gint64 version,
                            gint64 expected, const gchar *actor, const gchar *reason, GError **error);
GPtrArray *registry_alias_history(RegistryStore *store, const gchar *model, const gchar *alias /* NULL: all */,
                                  GError **error); /* of RegistryAliasChange*, oldest first */
/* Version that the alias pointed to at that wall-clock time; 0: none. */
gint64 registry_alias_at(RegistryStore *store, const gchar *model, const gchar *alias, gint64 at, GError **error);

gboolean registry_tag_set(RegistryStore *store, const gchar *model, gint64 version /* 0: the model */, const gchar *key,
                          const gchar *value /* NULL: delete */, const gchar *actor, GError **error);
GHashTable *registry_tag_list(RegistryStore *store, const gchar *model, gint64 version, GError **error);

/* "NAME@ALIAS" or "NAME/VERSION" → model (new string) and version. */
gboolean registry_resolve(RegistryStore *store, const gchar *reference, gchar **model, gint64 *version, GError **error);

G_END_DECLS
