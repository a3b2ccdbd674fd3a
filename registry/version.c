/* Immutable versions, and names that resolve to one. */
#include <string.h>

#include "registry/audit_internal.h"
#include "registry/digest.h"
#include "registry/model_internal.h"
#include "registry/store_internal.h"

void registry_version_free(RegistryVersion *version)
{
  if (version == NULL) return;
  gchar *const texts[] = {version->model,  version->onnx_digest, version->grid_digest, version->profile_digest,
                          version->kind,   version->incident,    version->job,         version->data_set,
                          version->metrics};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
  g_free(version);
}

gboolean registry_version_exists(RegistryStore *store, const gchar *model, gint64 version, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model), REGISTRY_I(version)};
  gint64 n;
  if (!registry_query_integer(store, "SELECT count(*) FROM version WHERE model = $1 AND version = $2", parameters, 2, 0,
                              &n, error))
    return FALSE;
  if (n == 0)
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND,
                "model %s has no version %" G_GINT64_FORMAT ": `kedge version list %s` names all", model, version,
                model);
  return n > 0;
}

/* --- creating ---------------------------------------------------------------------------------------------------- */

static gboolean check_version(const RegistryVersion *version, GError **error)
{
  if (!registry_check_name("model", version->model, error) || !registry_check_name("kind", version->kind, error))
    return FALSE;
  const gchar *const digests[] = {version->onnx_digest, version->grid_digest, version->profile_digest};
  for (guint i = 0; i < G_N_ELEMENTS(digests); i++) {
    if (i > 0 && digests[i] == NULL) continue;
    if (registry_digest_is_valid(digests[i])) continue;
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID,
                "a version's files are named by their SHA-256 (64 hex digits), as registry_artifacts_put returns it");
    return FALSE;
  }
  return TRUE;
}

static gint64 find_by_job(RegistryStore *store, const RegistryVersion *version, gboolean *ok, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(version->model), REGISTRY_T(version->job)};
  gint64 number = 0;
  *ok = registry_query_integer(store, "SELECT version FROM version WHERE model = $1 AND job = $2", parameters, 2, 0,
                               &number, error);
  return number;
}

static gint64 insert_version(RegistryStore *store, const RegistryVersion *version, const gchar *actor, GError **error)
{
  const RegistryValue model[] = {REGISTRY_T(version->model)};
  gint64 number;
  if (!registry_query_integer(store, "SELECT COALESCE(MAX(version), 0) + 1 FROM version WHERE model = $1", model, 1, 1,
                              &number, error))
    return 0;
  /* The order of the columns is that of the digest in the audit record (verify.c). */
  const RegistryValue row[] = {model[0],
                               REGISTRY_I(number),
                               REGISTRY_T(version->onnx_digest),
                               REGISTRY_T(version->grid_digest),
                               REGISTRY_T(version->profile_digest),
                               REGISTRY_I(version->parent),
                               REGISTRY_T(version->kind),
                               REGISTRY_T(version->incident),
                               REGISTRY_T(version->job),
                               REGISTRY_T(version->data_set),
                               REGISTRY_T(version->metrics),
                               REGISTRY_I(registry_store_now(store))};
  if (!registry_store_execute(store,
                              "INSERT INTO version (model, version, onnx_digest, grid_digest, profile_digest, parent,"
                              " kind, incident, job, data_set, metrics, created_at)"
                              " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                              row, G_N_ELEMENTS(row), NULL, error))
    return 0;
  g_autofree gchar *digest = registry_digest_values(row, G_N_ELEMENTS(row));
  g_autofree gchar *subject = g_strdup_printf("%s/%" G_GINT64_FORMAT, version->model, number);
  return registry_audit_append_row(store, actor, "version.create", subject, version->onnx_digest, digest, error)
             ? number
             : 0;
}

static gint64 create_locked(RegistryStore *store, const RegistryVersion *version, const gchar *actor, GError **error)
{
  if (!registry_model_lock(store, version->model, error)) return 0;
  if (version->job != NULL) {
    gboolean ok;
    gint64 known = find_by_job(store, version, &ok, error);
    if (!ok || known > 0) return known;
  }
  if (version->parent != 0 && !registry_version_exists(store, version->model, version->parent, error)) return 0;
  return insert_version(store, version, actor, error);
}

gint64 registry_version_create(RegistryStore *store, const RegistryVersion *version, const gchar *actor, GError **error)
{
  gboolean own;
  if (!check_version(version, error) || !registry_transaction_enter(store, &own, error)) return 0;
  gint64 number = create_locked(store, version, actor, error);
  return registry_transaction_leave(store, own, number > 0, error) ? number : 0;
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

#define VERSION_COLUMNS                                                                                                \
  "SELECT model, version, onnx_digest, grid_digest, profile_digest, parent, kind, incident, job, data_set, metrics,"   \
  " created_at FROM version "

static RegistryVersion *read_version(const RegistryRows *rows, guint i)
{
  RegistryVersion *version = g_new0(RegistryVersion, 1);
  version->model = registry_rows_copy_text(rows, i, 0);
  version->version = registry_rows_get_integer(rows, i, 1);
  version->onnx_digest = registry_rows_copy_text(rows, i, 2);
  version->grid_digest = registry_rows_copy_text(rows, i, 3);
  version->profile_digest = registry_rows_copy_text(rows, i, 4);
  version->parent = registry_rows_get_integer(rows, i, 5);
  version->kind = registry_rows_copy_text(rows, i, 6);
  version->incident = registry_rows_copy_text(rows, i, 7);
  version->job = registry_rows_copy_text(rows, i, 8);
  version->data_set = registry_rows_copy_text(rows, i, 9);
  version->metrics = registry_rows_copy_text(rows, i, 10);
  version->created_at = registry_rows_get_integer(rows, i, 11);
  return version;
}

RegistryVersion *registry_version_get(RegistryStore *store, const gchar *model, gint64 version, GError **error)
{
  if (!registry_check_name("model", model, error)) return NULL;
  const RegistryValue parameters[] = {REGISTRY_T(model), REGISTRY_I(version)};
  g_autoptr(RegistryRows) rows =
      registry_store_query(store, VERSION_COLUMNS "WHERE model = $1 AND version = $2", parameters, 2, error);
  if (rows == NULL) return NULL;
  if (registry_rows_get_count(rows) > 0) return read_version(rows, 0);
  registry_version_exists(store, model, version, error);
  return NULL;
}

GPtrArray *registry_version_list(RegistryStore *store, const gchar *model, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model)};
  g_autoptr(RegistryRows) rows =
      registry_store_query(store, VERSION_COLUMNS "WHERE model = $1 ORDER BY version", parameters, 1, error);
  if (rows == NULL) return NULL;
  GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)registry_version_free);
  for (guint i = 0; i < registry_rows_get_count(rows); i++) g_ptr_array_add(list, read_version(rows, i));
  return list;
}

/* --- names ------------------------------------------------------------------------------------------------------- */

static gboolean set_unreadable(const gchar *reference, GError **error)
{
  g_autofree gchar *shown = g_strndup(reference, 64);
  g_autofree gchar *escaped = g_strescape(shown, NULL);
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID,
              "\"%s\" names no version: write NAME@ALIAS or NAME/VERSION", escaped);
  return FALSE;
}

static gboolean resolve_number(RegistryStore *store, const gchar *model, const gchar *text, gint64 *number,
                               GError **error)
{
  guint64 parsed;
  if (!g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT64, &parsed, NULL)) return FALSE;
  *number = (gint64)parsed;
  return registry_version_exists(store, model, *number, error);
}

gboolean registry_resolve(RegistryStore *store, const gchar *reference, gchar **model, gint64 *version, GError **error)
{
  gsize length = strcspn(reference, "@/");
  g_autofree gchar *name = g_strndup(reference, length);
  const gchar *rest = reference + length;
  if (rest[0] == '\0' || !registry_name_is_valid(name)) return set_unreadable(reference, error);
  gint64 number = 0;
  g_autoptr(GError) reason = NULL;
  if (rest[0] == '@') {
    number = registry_alias_get(store, name, rest + 1, &reason);
  } else if (!resolve_number(store, name, rest + 1, &number, &reason)) {
    if (reason == NULL) return set_unreadable(reference, error);
    number = 0;
  }
  if (number == 0) {
    g_propagate_error(error, g_steal_pointer(&reason));
    return FALSE;
  }
  *model = g_steal_pointer(&name);
  *version = number;
  return TRUE;
}
