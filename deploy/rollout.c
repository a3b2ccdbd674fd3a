#include "deploy/rollout.h"

#include <jansson.h>
#include <math.h>

#include "drift/distributions.h"
#include "registry/decision.h"
#include "registry/model.h"

#define TENSORS_MAXIMUM 1024
#define DIMENSIONS_MAXIMUM 16
#define ALIAS_RACES_MAXIMUM 8

/* --- promotion and rollback ------------------------------------------------------------------------------------- */

/* The change just made is the newest of the history; its revision makes the outbox id deterministic. */
static gboolean put_rollout_item(RegistryStore *store, const gchar *model, const gchar *reason, GError **error)
{
  g_autoptr(GPtrArray) history = registry_alias_history(store, model, DEPLOY_CHAMPION, error);
  if (history == NULL) return FALSE;
  const RegistryAliasChange *change = g_ptr_array_index(history, history->len - 1);
  json_t *root = json_pack("{s:s, s:I, s:I, s:I, s:s?, s:s?}", "model", model, "version", (json_int_t)change->version,
                           "previous", (json_int_t)change->previous, "revision", (json_int_t)change->revision, "actor",
                           change->actor, "reason", reason);
  char *body = json_dumps(root, JSON_COMPACT);
  json_decref(root);
  if (body == NULL) {
    g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID, "the reason for the change of \"%s\" is not UTF-8", model);
    return FALSE;
  }
  g_autofree gchar *id = g_strdup_printf("rollout/%s/%" G_GINT64_FORMAT, model, change->revision);
  RegistryOutboxItem item = {.id = id, .kind = (gchar *)"rollout", .target = (gchar *)model, .body = body};
  gboolean put = registry_outbox_put(store, &item, error);
  free(body);
  return put;
}

static gboolean change_champion(RegistryStore *store, const gchar *model, gint64 version, gint64 expected,
                                const gchar *actor, const gchar *reason, GError **error)
{
  return registry_alias_set(store, model, DEPLOY_CHAMPION, version, expected, actor, reason, error) &&
         put_rollout_item(store, model, reason, error);
}

gboolean deploy_promote(RegistryStore *store, const gchar *model, gint64 version, gint64 expected, const gchar *actor,
                        const gchar *reason, GError **error)
{
  gboolean own = !registry_store_in_transaction(store);
  if (own && !registry_store_begin(store, error)) return FALSE;
  if (!change_champion(store, model, version, expected, actor, reason, error)) {
    if (own) registry_store_rollback(store);
    return FALSE;
  }
  return !own || registry_store_commit(store, error);
}

/* The version before the present one by the alias's history; 0 with error set when there is none. */
static gint64 find_former(RegistryStore *store, const gchar *model, gint64 *present, GError **error)
{
  g_autoptr(GPtrArray) history = registry_alias_history(store, model, DEPLOY_CHAMPION, error);
  if (history == NULL) return 0;
  *present = 0;
  for (guint i = history->len; i > 0; i--) {
    const RegistryAliasChange *change = g_ptr_array_index(history, i - 1);
    if (i == history->len) *present = change->version;
    if (change->version != *present && change->version > 0) return change->version;
  }
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND,
              "model \"%s\" has no earlier champion to go back to; kedge promote %s VERSION names any version", model,
              model);
  return 0;
}

static gboolean roll_back(RegistryStore *store, const gchar *model, const gchar *actor, const gchar *reason,
                          gint64 *version, GError **error)
{
  gint64 present = 0, former = find_former(store, model, &present, error);
  if (former == 0 || !change_champion(store, model, former, present, actor, reason, error)) return FALSE;
  *version = former;
  return TRUE;
}

gboolean deploy_rollback(RegistryStore *store, const gchar *model, const gchar *actor, const gchar *reason,
                         gint64 *version, GError **error)
{
  gboolean own = !registry_store_in_transaction(store);
  if (own && !registry_store_begin(store, error)) return FALSE;
  gint64 former = 0;
  if (!roll_back(store, model, actor, reason, &former, error)) {
    if (own) registry_store_rollback(store);
    return FALSE;
  }
  if (own && !registry_store_commit(store, error)) return FALSE;
  *version = former;
  return TRUE;
}

/* --- applying ----------------------------------------------------------------------------------------------------- */

/* The tensors of one side of the signature; `tensors` [n] borrow names from the JSON, dimensions are freed by clear. */
typedef struct {
  DeployTensor *tensors;
  guint n;
} Tensors;

static void tensors_clear(Tensors *tensors)
{
  for (guint i = 0; i < tensors->n; i++) g_free((gpointer)tensors->tensors[i].dimensions);
  g_free(tensors->tensors);
  *tensors = (Tensors){0};
}

static void read_tensors(const json_t *list, Tensors *out)
{
  gsize n = MIN(json_array_size(list), TENSORS_MAXIMUM);
  out->tensors = g_new0(DeployTensor, MAX(n, 1));
  out->n = (guint)n;
  for (gsize i = 0; i < n; i++) {
    const json_t *item = json_array_get(list, i), *dimensions = json_object_get(item, "dimensions");
    gsize rank = MIN(json_array_size(dimensions), DIMENSIONS_MAXIMUM);
    gint64 *copy = g_new0(gint64, MAX(rank, 1));
    for (gsize d = 0; d < rank; d++) copy[d] = json_integer_value(json_array_get(dimensions, d));
    out->tensors[i] = (DeployTensor){.name = json_string_value(json_object_get(item, "name")),
                                     .type = json_string_value(json_object_get(item, "type")),
                                     .dimensions = copy,
                                     .n_dimensions = (guint)rank};
  }
}

static gboolean apply_to_all(const DeployRelease *release, const DeployTargetSettings *targets, guint n, GError **error)
{
  g_autoptr(GString) texts = g_string_new(NULL);
  g_autoptr(GError) first = NULL;
  guint failed = 0;
  for (guint i = 0; i < n; i++) {
    g_autoptr(GError) fault = NULL;
    if (deploy_target_apply(&targets[i], release, &fault)) continue;
    g_string_append_printf(texts, "%s%s", failed++ > 0 ? "; " : "", fault->message);
    if (first == NULL) first = g_steal_pointer(&fault);
  }
  if (failed == 0) return TRUE;
  g_set_error(error, first->domain, first->code, "%u of %u targets of %s/%" G_GINT64_FORMAT " failed: %s", failed, n,
              release->model, release->version, texts->str);
  return FALSE;
}

static gboolean apply_version(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model, gint64 number,
                              const DeployTargetSettings *targets, guint n_targets, GError **error)
{
  RegistryVersion *version = registry_version_get(store, model, number, error);
  if (version == NULL) return FALSE;
  g_autoptr(GBytes) onnx = registry_artifacts_get(artifacts, version->onnx_digest, error);
  registry_version_free(version);
  if (onnx == NULL) return FALSE;
  g_autoptr(GHashTable) tags = registry_tag_list(store, model, number, error);
  if (tags == NULL) return FALSE;
  const gchar *signature = g_hash_table_lookup(tags, DEPLOY_SIGNATURE_TAG);
  json_t *root = signature != NULL ? json_loads(signature, JSON_REJECT_DUPLICATES, NULL) : NULL;
  Tensors inputs, outputs;
  read_tensors(json_object_get(root, "inputs"), &inputs);
  read_tensors(json_object_get(root, "outputs"), &outputs);
  DeployRelease release = {.model = model,
                           .version = number,
                           .onnx = onnx,
                           .inputs = inputs.tensors,
                           .n_inputs = inputs.n,
                           .outputs = outputs.tensors,
                           .n_outputs = outputs.n};
  gboolean applied = apply_to_all(&release, targets, n_targets, error);
  tensors_clear(&inputs);
  tensors_clear(&outputs);
  json_decref(root);
  return applied;
}

gboolean deploy_rollout_apply(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model,
                              const DeployTargetSettings *targets, guint n_targets, gint64 *applied, GError **error)
{
  /* The alias may move while files are written: what is applied last must be what it says at the end. */
  gint64 done = 0;
  for (guint race = 0; race < ALIAS_RACES_MAXIMUM; race++) {
    gint64 champion = registry_alias_get(store, model, DEPLOY_CHAMPION, error);
    if (champion == 0) return FALSE;
    if (champion == done) {
      *applied = done;
      return TRUE;
    }
    if (!apply_version(store, artifacts, model, champion, targets, n_targets, error)) return FALSE;
    done = champion;
  }
  g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_REFUSED,
              "the champion of \"%s\" changed %d times while it was rolled out; it is tried again", model,
              ALIAS_RACES_MAXIMUM);
  return FALSE;
}

/* --- the watch -----------------------------------------------------------------------------------------------------
 */

gboolean deploy_watch_disappoints(guint64 errors, guint64 rows, double promised_error, double margin, double alpha,
                                  double *p_value)
{
  double probability = CLAMP(promised_error + margin, 0, 1), p = NAN;
  if (promised_error >= 0 && promised_error <= 1 && isfinite(margin) && errors <= rows)
    p = drift_binomial_tail((double)errors, (double)rows, probability);
  if (p_value != NULL) *p_value = p;
  return p <= alpha;
}
