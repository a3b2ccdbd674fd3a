/* The leader follows a chain of jobs (daemon/chain.h): each step is part of the transaction that takes the end of the
 * stage before, so that a chain goes on exactly once however often a leader dies. */
#include "daemon/chain.h"
#include "daemon/leader_internal.h"

gint64 leader_find_trainable(LeaderModel *model, LeaderContext *context, gint64 version, GError **error)
{
  for (;;) {
    g_autoptr(RegistryVersion) known = registry_version_get(context->store, model->name, version, error);
    if (!known) return 0;
    if (g_strcmp0(known->kind, "compress") != 0 || known->parent == 0) return version;
    version = known->parent;
  }
}

/* The stage's figures, in the incident that asked for the chain. */
static gboolean note_stage(LeaderModel *model, LeaderContext *context, const json_t *entry, const gchar *job,
                           json_t *stage, GError **error)
{
  const gchar *cause = json_string_value(json_object_get(entry, "cause"));
  gint64 time = json_integer_value(json_object_get(entry, "time"));
  json_object_set(stage, "first_job", json_object_get(entry, "first_job"));
  return leader_extend_incident(model, context, cause, "stages", stage, error) &&
         leader_note_incident(model, context, cause, time, job, error, "%s",
                              json_string_value(json_object_get(stage, "text")));
}

static gboolean begin_stage(LeaderModel *model, LeaderContext *context, json_t *entry, GError **error)
{
  json_t *chain = json_object_get(entry, "chain");
  const gchar *cause = json_string_value(json_object_get(entry, "cause")), *kind = chain_get_kind(chain);
  g_autofree gchar *id = chain_make_id(chain, model->name);
  json_object_set_new(entry, "id", json_string(id));
  json_array_append(model->pending, entry);
  return leader_create_job(model, context, id, kind, LEADER_PRIORITY_STAGE, chain_make_spec(chain),
                           leader_open_incident(model, cause), error);
}

/* The job taken last, with the result that the gate judges. */
static RegistryJob *load_taken(LeaderContext *context, const json_t *chain, GError **error)
{
  const gchar *id = json_string_value(json_object_get(chain, "job"));
  g_autoptr(RegistryJob) job = registry_job_get(context->store, id, error);
  json_t *result = job && job->result ? json_loads(job->result, JSON_REJECT_DUPLICATES, NULL) : NULL;
  if (!job) return NULL;
  if (!result) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_STATE, "the result of job %s is gone: run `kedge verify`", id);
    return NULL;
  }
  json_t *judged = chain_make_result(chain, result);
  g_free(job->result);
  job->result = verdict_dump(judged);
  json_decref(judged);
  json_decref(result);
  return g_steal_pointer(&job);
}

gboolean leader_follow_chain(LeaderModel *model, LeaderContext *context, json_t *entry, const RegistryJob *job,
                             const json_t *result, LeaderChainEnd *end, GError **error)
{
  json_t *chain = json_object_get(entry, "chain"), *stage = NULL;
  *end = (LeaderChainEnd){.waits = FALSE};
  ChainStep step =
      chain_end_stage(chain, job->id, job->state, result, job->error ? job->error : "no reason given", &stage);
  g_autofree gchar *text = g_strdup(json_string_value(json_object_get(stage, "text")));
  gboolean good = note_stage(model, context, entry, job->id, stage, error);
  json_decref(stage);
  end->waits = step == CHAIN_NEXT;
  end->failed = step == CHAIN_FAILED ? g_steal_pointer(&text) : NULL;
  if (good && end->waits) return begin_stage(model, context, entry, error);
  if (good && step == CHAIN_JUDGE) good = (end->judged = load_taken(context, chain, error)) != NULL;
  return good;
}

void leader_chain_end_clear(LeaderChainEnd *end)
{
  g_clear_pointer(&end->failed, g_free);
  g_clear_pointer(&end->judged, registry_job_free);
}
