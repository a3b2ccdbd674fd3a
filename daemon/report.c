/* Models, versions and alias history as JSON. */
#include "daemon/report.h"

#include "daemon/report_internal.h"
#include "deploy/rollout.h"
#include "registry/model.h"

json_t *report_text(const gchar *text)
{
  if (text == NULL) return json_null();
  g_autofree gchar *valid = g_utf8_make_valid(text, -1);
  return json_string(valid);
}

json_t *report_time(gint64 microseconds)
{
  if (microseconds <= 0) return json_null();
  g_autoptr(GDateTime) seconds = g_date_time_new_from_unix_utc(microseconds / G_USEC_PER_SEC);
  if (seconds == NULL) return json_null();
  g_autofree gchar *text = g_date_time_format(seconds, "%Y-%m-%dT%H:%M:%S");
  g_autofree gchar *whole = g_strdup_printf("%s.%06dZ", text, (int)(microseconds % G_USEC_PER_SEC));
  return json_string(whole);
}

json_t *report_event_time(json_t *microseconds)
{
  return report_time(json_integer_value(microseconds));
}

json_t *report_json(const gchar *text)
{
  json_t *value = text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
  return value != NULL ? value : json_null();
}

json_t *report_id(gint64 number)
{
  return number != 0 ? json_integer(number) : json_null();
}

json_t *report_champion(RegistryStore *store, const gchar *model, GError **error)
{
  g_autoptr(GError) failure = NULL;
  gint64 version = registry_alias_get(store, model, DEPLOY_CHAMPION, &failure);
  if (version > 0) return json_integer(version);
  if (failure == NULL || g_error_matches(failure, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND)) return json_null();
  g_propagate_error(error, g_steal_pointer(&failure));
  return NULL;
}

static json_t *model_to_json(RegistryStore *store, const RegistryModel *model, GError **error)
{
  json_t *champion = report_champion(store, model->name, error);
  if (champion == NULL) return NULL;
  g_autoptr(GPtrArray) versions = registry_version_list(store, model->name, error);
  if (versions == NULL) {
    json_decref(champion);
    return NULL;
  }
  json_t *schema = report_json(model->spec);
  json_t *out = json_pack("{s:o, s:O*, s:O*, s:O*, s:I, s:o, s:I, s:o}", "name", report_text(model->name), "task",
                          json_object_get(schema, "task"), "label", json_object_get(schema, "label"), "classes",
                          json_object_get(schema, "classes"), "features",
                          (json_int_t)json_array_size(json_object_get(schema, "features")), "champion", champion,
                          "versions", (json_int_t)versions->len, "created_at", report_time(model->created_at));
  json_decref(schema);
  return out;
}

json_t *report_models(RegistryStore *store, GError **error)
{
  g_autoptr(GPtrArray) models = registry_model_list(store, error);
  if (models == NULL) return NULL;
  json_t *list = json_array();
  for (guint i = 0; i < models->len; i++) {
    json_t *model = model_to_json(store, g_ptr_array_index(models, i), error);
    if (model == NULL) {
      json_decref(list);
      return NULL;
    }
    json_array_append_new(list, model);
  }
  return list;
}

static json_t *tags_to_json(RegistryStore *store, const gchar *model, gint64 version, GError **error)
{
  g_autoptr(GHashTable) tags = registry_tag_list(store, model, version, error);
  if (tags == NULL) return NULL;
  json_t *out = json_object();
  GHashTableIter iter;
  gpointer key, value;
  g_hash_table_iter_init(&iter, tags);
  while (g_hash_table_iter_next(&iter, &key, &value)) json_object_set_new(out, key, report_text(value));
  return out;
}

json_t *report_model(RegistryStore *store, const gchar *name, GError **error)
{
  g_autoptr(RegistryModel) model = registry_model_get(store, name, error);
  if (model == NULL) return NULL;
  json_t *out = model_to_json(store, model, error);
  json_t *tags = out != NULL ? tags_to_json(store, name, 0, error) : NULL;
  if (tags == NULL) {
    json_decref(out);
    return NULL;
  }
  json_object_set_new(out, "schema", report_json(model->spec));
  json_object_set_new(out, "tags", tags);
  return out;
}

/* alias → version it points to now, from the history. */
static json_t *current_aliases(RegistryStore *store, const gchar *model, GError **error)
{
  g_autoptr(GPtrArray) history = registry_alias_history(store, model, NULL, error);
  if (history == NULL) return NULL;
  json_t *aliases = json_object();
  for (guint i = 0; i < history->len; i++) {
    const RegistryAliasChange *change = g_ptr_array_index(history, i);
    if (change->version == 0)
      json_object_del(aliases, change->alias);
    else
      json_object_set_new(aliases, change->alias, json_integer(change->version));
  }
  return aliases;
}

static json_t *version_to_json(const RegistryVersion *version, json_t *aliases)
{
  json_t *names = json_array();
  gboolean champion = FALSE;
  const gchar *alias;
  json_t *target;
  json_object_foreach (aliases, alias, target) {
    if (json_integer_value(target) != version->version) continue;
    json_array_append_new(names, report_text(alias));
    if (g_str_equal(alias, DEPLOY_CHAMPION)) champion = TRUE;
  }
  return json_pack("{s:o, s:I, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "model",
                   report_text(version->model), "version", (json_int_t)version->version, "kind",
                   report_text(version->kind), "parent", report_id(version->parent), "champion", champion, "aliases",
                   names, "incident", report_text(version->incident), "job", report_text(version->job), "onnx_digest",
                   report_text(version->onnx_digest), "grid_digest", report_text(version->grid_digest),
                   "profile_digest", report_text(version->profile_digest), "data_set", report_json(version->data_set),
                   "metrics", report_json(version->metrics), "created_at", report_time(version->created_at));
}

json_t *report_versions(RegistryStore *store, const gchar *model, guint limit, GError **error)
{
  g_autoptr(RegistryModel) known = registry_model_get(store, model, error);
  if (known == NULL) return NULL;
  g_autoptr(GPtrArray) versions = registry_version_list(store, model, error);
  if (versions == NULL) return NULL;
  json_t *aliases = current_aliases(store, model, error);
  if (aliases == NULL) return NULL;
  json_t *list = json_array();
  for (guint i = versions->len; i > 0 && (limit == 0 || versions->len - i < limit); i--)
    json_array_append_new(list, version_to_json(g_ptr_array_index(versions, i - 1), aliases));
  json_decref(aliases);
  return list;
}

json_t *report_version(RegistryStore *store, const gchar *model, gint64 number, GError **error)
{
  g_autoptr(RegistryVersion) version = registry_version_get(store, model, number, error);
  if (version == NULL) return NULL;
  json_t *tags = tags_to_json(store, model, number, error);
  if (tags == NULL) return NULL;
  json_t *aliases = current_aliases(store, model, error);
  if (aliases == NULL) {
    json_decref(tags);
    return NULL;
  }
  json_t *out = version_to_json(version, aliases);
  json_decref(aliases);
  json_object_set_new(out, "tags", tags);
  return out;
}

json_t *report_history(RegistryStore *store, const gchar *model, const gchar *alias, GError **error)
{
  g_autoptr(RegistryModel) known = registry_model_get(store, model, error);
  if (known == NULL) return NULL;
  g_autoptr(GPtrArray) history = registry_alias_history(store, model, alias, error);
  if (history == NULL) return NULL;
  json_t *list = json_array();
  for (guint i = 0; i < history->len; i++) {
    const RegistryAliasChange *change = g_ptr_array_index(history, i);
    json_array_append_new(list,
                          json_pack("{s:o, s:o, s:o, s:I, s:o, s:o, s:o}", "alias", report_text(change->alias),
                                    "version", report_id(change->version), "previous", report_id(change->previous),
                                    "revision", (json_int_t)change->revision, "actor", report_text(change->actor),
                                    "reason", report_text(change->reason), "at", report_time(change->at)));
  }
  return list;
}
