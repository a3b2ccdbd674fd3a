/* Models and their tags. */
#include "registry/model.h"

#include <string.h>

#include "registry/audit_internal.h"
#include "registry/digest.h"
#include "registry/model_internal.h"
#include "registry/store_internal.h"

#define TAG_KEY_MAXIMUM 250     /* bytes, as MLflow's clients expect */
#define TAG_VALUE_MAXIMUM 65536 /* bytes */

void registry_model_free(RegistryModel *model)
{
  if (model == NULL) return;
  g_free(model->name);
  g_free(model->spec);
  g_free(model);
}

/* --- models ------------------------------------------------------------------------------------------------------ */

static gboolean insert_model(RegistryStore *store, const gchar *name, const gchar *spec, const gchar *actor,
                             GError **error)
{
  const RegistryValue row[] = {REGISTRY_T(name), REGISTRY_T(spec), REGISTRY_I(registry_store_now(store))};
  gint64 changed;
  if (!registry_store_execute(store,
                              "INSERT INTO model (name, spec, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                              row, G_N_ELEMENTS(row), &changed, error))
    return FALSE;
  if (changed == 0) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_CONFLICT, "a model named %s exists already", name);
    return FALSE;
  }
  g_autofree gchar *digest = registry_digest_values(row, G_N_ELEMENTS(row));
  return registry_audit_append_row(store, actor, "model.create", name, NULL, digest, error);
}

gboolean registry_model_create(RegistryStore *store, const gchar *name, const gchar *spec, const gchar *actor,
                               GError **error)
{
  gboolean own;
  if (!registry_check_name("model", name, error) || !registry_transaction_enter(store, &own, error)) return FALSE;
  return registry_transaction_leave(store, own, insert_model(store, name, spec, actor, error), error);
}

static RegistryModel *read_model(const RegistryRows *rows, guint i)
{
  RegistryModel *model = g_new0(RegistryModel, 1);
  model->name = registry_rows_copy_text(rows, i, 0);
  model->spec = registry_rows_copy_text(rows, i, 1);
  model->created_at = registry_rows_get_integer(rows, i, 2);
  return model;
}

RegistryModel *registry_model_get(RegistryStore *store, const gchar *name, GError **error)
{
  if (!registry_check_name("model", name, error)) return NULL;
  const RegistryValue parameters[] = {REGISTRY_T(name)};
  g_autoptr(RegistryRows) rows =
      registry_store_query(store, "SELECT name, spec, created_at FROM model WHERE name = $1", parameters, 1, error);
  if (rows == NULL) return NULL;
  if (registry_rows_get_count(rows) > 0) return read_model(rows, 0);
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND,
              "there is no model named %s: `kedge model list` names all", name);
  return NULL;
}

GPtrArray *registry_model_list(RegistryStore *store, GError **error)
{
  g_autoptr(RegistryRows) rows =
      registry_store_query(store, "SELECT name, spec, created_at FROM model ORDER BY name", NULL, 0, error);
  if (rows == NULL) return NULL;
  GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)registry_model_free);
  for (guint i = 0; i < registry_rows_get_count(rows); i++) g_ptr_array_add(list, read_model(rows, i));
  return list;
}

gboolean registry_model_lock(RegistryStore *store, const gchar *name, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(name)};
  gint64 changed;
  if (!registry_store_execute(store, "UPDATE model SET created_at = created_at WHERE name = $1", parameters, 1,
                              &changed, error))
    return FALSE;
  if (changed == 0)
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND,
                "there is no model named %s: `kedge model list` names all", name);
  return changed > 0;
}

/* --- tags -------------------------------------------------------------------------------------------------------- */

static gboolean check_tag(const gchar *key, const gchar *value, GError **error)
{
  if (!registry_check_text("the tag's key", key, error)) return FALSE;
  if (strlen(key) <= TAG_KEY_MAXIMUM && (value == NULL || strlen(value) <= TAG_VALUE_MAXIMUM)) return TRUE;
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID,
              "a tag has a key of at most %d and a value of at most %d bytes", TAG_KEY_MAXIMUM, TAG_VALUE_MAXIMUM);
  return FALSE;
}

static gboolean write_tag(RegistryStore *store, const RegistryValue *row, gboolean remove, gint64 *changed,
                          GError **error)
{
  if (remove)
    return registry_store_execute(store, "DELETE FROM tag WHERE model = $1 AND version = $2 AND name = $3", row, 3,
                                  changed, error);
  return registry_store_execute(store,
                                "INSERT INTO tag (model, version, name, value) VALUES ($1, $2, $3, $4)"
                                " ON CONFLICT (model, version, name) DO UPDATE SET value = excluded.value",
                                row, 4, changed, error);
}

static gboolean set_tag(RegistryStore *store, const gchar *model, gint64 version, const gchar *key, const gchar *value,
                        const gchar *actor, GError **error)
{
  if (!registry_model_lock(store, model, error)) return FALSE;
  if (version != 0 && !registry_version_exists(store, model, version, error)) return FALSE;
  const RegistryValue row[] = {REGISTRY_T(model), REGISTRY_I(version), REGISTRY_T(key), REGISTRY_T(value)};
  gint64 changed;
  if (!write_tag(store, row, value == NULL, &changed, error)) return FALSE;
  if (changed == 0) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND, "there is no tag of that key to delete");
    return FALSE;
  }
  g_autofree gchar *subject = g_strdup_printf("%s/%" G_GINT64_FORMAT "?%s", model, version, key);
  g_autofree gchar *digest = value != NULL ? registry_digest_values(row, G_N_ELEMENTS(row)) : NULL;
  return registry_audit_append_row(store, actor, value != NULL ? "tag.set" : "tag.delete", subject, value,
                                   value != NULL ? digest : REGISTRY_AUDIT_ROW_GONE, error);
}

gboolean registry_tag_set(RegistryStore *store, const gchar *model, gint64 version, const gchar *key,
                          const gchar *value, const gchar *actor, GError **error)
{
  gboolean own;
  if (!registry_check_name("model", model, error) || !check_tag(key, value, error) ||
      !registry_transaction_enter(store, &own, error))
    return FALSE;
  return registry_transaction_leave(store, own, set_tag(store, model, version, key, value, actor, error), error);
}

GHashTable *registry_tag_list(RegistryStore *store, const gchar *model, gint64 version, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model), REGISTRY_I(version)};
  g_autoptr(RegistryRows) rows = registry_store_query(
      store, "SELECT name, value FROM tag WHERE model = $1 AND version = $2", parameters, 2, error);
  if (rows == NULL) return NULL;
  GHashTable *tags = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  for (guint i = 0; i < registry_rows_get_count(rows); i++)
    g_hash_table_insert(tags, registry_rows_copy_text(rows, i, 0), registry_rows_copy_text(rows, i, 1));
  return tags;
}
