#include "registry/job.h"

#include <string.h>

#include "registry/audit.h"
#include "registry/digest.h"
#include "registry/job_internal.h"
#include "registry/model.h"
#include "registry/shard_internal.h"
#include "registry/store_internal.h"

#define DEFAULT_ATTEMPTS 3
#define MAXIMUM_KINDS 16

void registry_job_free(RegistryJob *job)
{
  if (job == NULL) return;
  gchar *const texts[] = {job->id,     job->model,    job->kind,  job->state,    job->spec,
                          job->result, job->progress, job->error, job->incident, job->worker};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
  g_free(job);
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

/* What never changes after creation comes first (REGISTRY_JOB_FIXED columns, covered by `digest`), then what the claim
 * and the result write. */
#define JOB_COLUMNS                                                                                                    \
  "id, model, kind, priority, deadline, spec, incident, maximum_attempts, created_at, predicted_us, digest, state,"    \
  " result, progress, error, worker, token, heartbeat, attempts, started_at, finished_at, cancel_requested"

static RegistryJob *read_job(const RegistryRows *rows, guint i, GError **error)
{
  g_autofree gchar *what = g_strdup_printf("job %s", registry_rows_get_text(rows, i, 0));
  if (!registry_check_row(rows, i, REGISTRY_JOB_FIXED, 0, REGISTRY_JOB_FIXED, what, error)) return NULL;
  RegistryJob *job = g_new0(RegistryJob, 1);
  job->id = registry_rows_copy_text(rows, i, 0);
  job->model = registry_rows_copy_text(rows, i, 1);
  job->kind = registry_rows_copy_text(rows, i, 2);
  job->priority = (gint)registry_rows_get_integer(rows, i, 3);
  job->deadline = registry_rows_get_integer(rows, i, 4);
  job->spec = registry_rows_copy_text(rows, i, 5);
  job->incident = registry_rows_copy_text(rows, i, 6);
  job->maximum_attempts = (guint)registry_rows_get_integer(rows, i, 7);
  job->created_at = registry_rows_get_integer(rows, i, 8);
  job->predicted_us = registry_rows_get_integer(rows, i, 9);
  job->state = registry_rows_copy_text(rows, i, 11);
  job->result = registry_rows_copy_text(rows, i, 12);
  job->progress = registry_rows_copy_text(rows, i, 13);
  job->error = registry_rows_copy_text(rows, i, 14);
  job->worker = registry_rows_copy_text(rows, i, 15);
  job->token = registry_rows_get_integer(rows, i, 16);
  job->heartbeat = registry_rows_get_integer(rows, i, 17);
  job->attempts = (guint)registry_rows_get_integer(rows, i, 18);
  job->started_at = registry_rows_get_integer(rows, i, 19);
  job->finished_at = registry_rows_get_integer(rows, i, 20);
  job->cancel_requested = registry_rows_get_integer(rows, i, 21) != 0;
  return job;
}

RegistryJob *registry_job_get(RegistryStore *store, const gchar *id, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(id)};
  g_autoptr(RegistryRows) rows =
      registry_store_query(store, "SELECT " JOB_COLUMNS " FROM job WHERE id = $1", parameters, 1, error);
  if (rows == NULL) return NULL;
  if (registry_rows_get_count(rows) == 0) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND, "there is no job %s", id);
    return NULL;
  }
  return read_job(rows, 0, error);
}

GPtrArray *registry_job_list(RegistryStore *store, const gchar *model, const gchar *state, guint limit, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model), REGISTRY_T(state), REGISTRY_I(registry_limit(limit))};
  /* The newest `limit`, then turned round: what a reader wants of a long list is its end. */
  g_autoptr(RegistryRows) rows = registry_store_query(
      store,
      "SELECT " JOB_COLUMNS " FROM job WHERE (CAST($1 AS TEXT) IS NULL OR model = CAST($1 AS TEXT))"
      " AND (CAST($2 AS TEXT) IS NULL OR state = CAST($2 AS TEXT))"
      " ORDER BY sequence DESC, id DESC LIMIT $3",
      parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return NULL;
  g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)registry_job_free);
  for (guint i = registry_rows_get_count(rows); i > 0; i--) {
    RegistryJob *job = read_job(rows, i - 1, error);
    if (job == NULL) return NULL;
    g_ptr_array_add(list, job);
  }
  return g_steal_pointer(&list);
}

gint64 registry_job_count_open(RegistryStore *store, const gchar *model, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model)};
  gint64 n;
  gboolean ok =
      registry_query_integer(store, "SELECT count(*) FROM job WHERE state IN ('queued', 'running') AND model = $1",
                             parameters, 1, 0, &n, error);
  return ok ? n : -1;
}

/* --- creating ---------------------------------------------------------------------------------------------------- */

static gboolean check_job(const RegistryJob *job, GError **error)
{
  if (!registry_check_text("the job's id", job->id, error) || !registry_check_name("job kind", job->kind, error))
    return FALSE;
  return job->model == NULL || registry_check_name("model", job->model, error);
}

/* Locks the queue (its one row) and returns the next number of `counter`. */
static gboolean next_number(RegistryStore *store, const gchar *sql, gint64 *number, GError **error)
{
  return registry_query_integer(store, sql, NULL, 0, 0, number, error);
}

static gboolean insert_job(RegistryStore *store, const RegistryJob *job, GError **error)
{
  gint64 known, sequence;
  const RegistryValue id[] = {REGISTRY_T(job->id)};
  if (!next_number(store, "UPDATE job_queue SET sequence = sequence + 1 WHERE id = 1 RETURNING sequence", &sequence,
                   error) ||
      !registry_query_integer(store, "SELECT count(*) FROM job WHERE id = $1", id, 1, 0, &known, error))
    return FALSE;
  if (known > 0) return TRUE;
  RegistryValue parameters[] = {
      id[0],
      REGISTRY_T(job->model),
      REGISTRY_T(job->kind),
      REGISTRY_I(job->priority),
      REGISTRY_I(job->deadline),
      REGISTRY_T(job->spec),
      REGISTRY_T(job->incident),
      REGISTRY_I(job->maximum_attempts > 0 ? job->maximum_attempts : DEFAULT_ATTEMPTS),
      REGISTRY_I(registry_store_now(store)),
      REGISTRY_I(job->predicted_us),
      REGISTRY_N,
      REGISTRY_I(sequence),
  };
  g_autofree gchar *digest = registry_digest_values(parameters, REGISTRY_JOB_FIXED);
  parameters[REGISTRY_JOB_FIXED] = REGISTRY_T(digest);
  return registry_store_execute(
      store,
      "INSERT INTO job (id, model, kind, priority, deadline, spec, incident, maximum_attempts,"
      " created_at, predicted_us, digest, sequence, state, token, heartbeat, attempts,"
      " started_at, finished_at, cancel_requested)"
      " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'queued', 0, 0, 0, 0, 0, 0)",
      parameters, G_N_ELEMENTS(parameters), NULL, error);
}

gboolean registry_job_create(RegistryStore *store, const RegistryJob *job, GError **error)
{
  gboolean own;
  if (!check_job(job, error) || !registry_transaction_enter(store, &own, error)) return FALSE;
  return registry_transaction_leave(store, own, insert_job(store, job, error), error);
}

/* --- claiming ---------------------------------------------------------------------------------------------------- */

/* The best job that may run; `list` restricts the kinds. A job without a deadline comes after those with one. */
static gchar *candidate_sql(guint n_kinds, guint first_parameter)
{
  GString *list = g_string_new("");
  for (guint i = 0; i < n_kinds; i++) g_string_append_printf(list, "%s$%u", i > 0 ? ", " : "", first_parameter + i);
  gchar *sql =
      g_strdup_printf("SELECT c.id FROM job c WHERE c.state = 'queued'%s%s%s AND NOT EXISTS (SELECT 1 FROM job r"
                      " WHERE r.state = 'running' AND r.kind = c.kind AND r.model = c.model) ORDER BY c.priority DESC,"
                      " CASE WHEN c.deadline = 0 THEN 1 ELSE 0 END, c.deadline, c.sequence, c.id LIMIT 1",
                      n_kinds > 0 ? " AND c.kind IN (" : "", list->str, n_kinds > 0 ? ")" : "");
  g_string_free(list, TRUE);
  return sql;
}

static RegistryRows *claim_locked(RegistryStore *store, RegistryValue *parameters, guint n_kinds, GError **error)
{
  gint64 token;
  if (!next_number(store, "UPDATE job_queue SET token = token + 1 WHERE id = 1 RETURNING token", &token, error))
    return NULL;
  parameters[2] = REGISTRY_I(token);
  g_autofree gchar *candidate = candidate_sql(n_kinds, 4);
  g_autofree gchar *sql =
      g_strdup_printf("UPDATE job SET state = 'running', worker = $1, started_at = $2, token = $3, progress = NULL,"
                      " attempts = attempts + 1, heartbeat = heartbeat + 1 WHERE id = (%s) AND state = 'queued'"
                      " RETURNING " JOB_COLUMNS,
                      candidate);
  return registry_store_query(store, sql, parameters, 3 + n_kinds, error);
}

RegistryJob *registry_job_claim(RegistryStore *store, const gchar *worker, const gchar *const *kinds, GError **error)
{
  guint n_kinds = kinds != NULL ? g_strv_length((gchar **)kinds) : 0;
  if (!registry_check_text("worker", worker, error)) return NULL;
  if (n_kinds > MAXIMUM_KINDS) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "at most %d kinds of jobs", MAXIMUM_KINDS);
    return NULL;
  }
  RegistryValue parameters[3 + MAXIMUM_KINDS] = {REGISTRY_T(worker), REGISTRY_I(registry_store_now(store)), REGISTRY_N};
  for (guint i = 0; i < n_kinds; i++) parameters[3 + i] = REGISTRY_T(kinds[i]);
  /* An idle worker polls without writing: look first, lock then. */
  g_autofree gchar *look = candidate_sql(n_kinds, 1);
  g_autoptr(RegistryRows) seen = registry_store_query(store, look, parameters + 3, n_kinds, error);
  if (seen == NULL || registry_rows_get_count(seen) == 0) return NULL;
  gboolean own;
  if (!registry_transaction_enter(store, &own, error)) return NULL;
  g_autoptr(RegistryRows) rows = claim_locked(store, parameters, n_kinds, error);
  g_autoptr(RegistryJob) job = NULL;
  gboolean ok = rows != NULL;
  if (ok && registry_rows_get_count(rows) > 0) ok = (job = read_job(rows, 0, error)) != NULL;
  return registry_transaction_leave(store, own, ok, error) ? g_steal_pointer(&job) : NULL;
}

/* --- what the claimant says -------------------------------------------------------------------------------------- */

static gboolean set_fenced(const gchar *id, gint64 token, GError **error)
{
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED,
              "job %s: claim %" G_GINT64_FORMAT " is over (finished, rescued or claimed again): its result is refused",
              id, token);
  return FALSE;
}

gboolean registry_job_heartbeat(RegistryStore *store, const gchar *id, gint64 token, const gchar *progress,
                                gboolean *cancel, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(id), REGISTRY_I(token), REGISTRY_T(progress)};
  g_autoptr(RegistryRows) rows =
      registry_store_query(store,
                           "UPDATE job SET heartbeat = heartbeat + 1, progress = COALESCE($3, progress)"
                           " WHERE id = $1 AND token = $2 AND state = 'running' RETURNING cancel_requested",
                           parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return FALSE;
  if (registry_rows_get_count(rows) == 0) return set_fenced(id, token, error);
  if (cancel != NULL) *cancel = registry_rows_get_integer(rows, 0, 0) != 0;
  return TRUE;
}

static gboolean finish_locked(RegistryStore *store, const gchar *id, gint64 token, const gchar *state,
                              const gchar *result, const gchar *error_text, GError **error)
{
  const RegistryValue covered[] = {REGISTRY_T(id), REGISTRY_T(state), REGISTRY_T(result), REGISTRY_T(error_text)};
  g_autofree gchar *digest = registry_digest_values(covered, G_N_ELEMENTS(covered));
  const RegistryValue parameters[] = {covered[0],        REGISTRY_I(token), covered[1],
                                      covered[2],        covered[3],        REGISTRY_I(registry_store_now(store)),
                                      REGISTRY_T(digest)};
  gint64 changed;
  if (!registry_store_execute(
          store,
          "UPDATE job SET state = $3, result = $4, error = $5, finished_at = $6, result_digest = $7,"
          " heartbeat = heartbeat + 1 WHERE id = $1 AND token = $2 AND state = 'running'",
          parameters, G_N_ELEMENTS(parameters), &changed, error))
    return FALSE;
  return changed > 0 || set_fenced(id, token, error);
}

gboolean registry_job_finish(RegistryStore *store, const gchar *id, gint64 token, const gchar *state,
                             const gchar *result, const gchar *error_text, GError **error)
{
  const gchar *const states[] = {"done", "failed", "cancelled", NULL};
  if (!g_strv_contains(states, state)) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "a job ends as done, failed or cancelled, not %s",
                state);
    return FALSE;
  }
  gboolean own;
  if (!registry_transaction_enter(store, &own, error)) return FALSE;
  return registry_transaction_leave(store, own, finish_locked(store, id, token, state, result, error_text, error),
                                    error);
}

/* --- rescue and cancel ------------------------------------------------------------------------------------------- */

#define LOST_TEXT "the worker stopped answering"

static gboolean end_lost(RegistryStore *store, const RegistryJob *job, GError **error)
{
  if (job->cancel_requested) return finish_locked(store, job->id, job->token, "cancelled", NULL, NULL, error);
  if (job->attempts >= job->maximum_attempts)
    return finish_locked(store, job->id, job->token, "failed", NULL, LOST_TEXT, error);
  const RegistryValue parameters[] = {REGISTRY_T(job->id), REGISTRY_I(job->token)};
  return registry_store_execute(store,
                                "UPDATE job SET state = 'queued', worker = NULL, error = '" LOST_TEXT "'"
                                " WHERE id = $1 AND token = $2 AND state = 'running'",
                                parameters, G_N_ELEMENTS(parameters), NULL, error);
}

static gboolean rescue_locked(RegistryStore *store, const gchar *id, gint64 token, gint64 heartbeat, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(id), REGISTRY_I(token), REGISTRY_I(heartbeat)};
  /* The counter moves on, so that the row is locked and a heartbeat on its way comes too late or is seen. */
  g_autoptr(RegistryRows) rows =
      registry_store_query(store,
                           "UPDATE job SET heartbeat = heartbeat + 1 WHERE id = $1 AND token = $2 AND heartbeat = $3"
                           " AND state = 'running' RETURNING " JOB_COLUMNS,
                           parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return FALSE;
  if (registry_rows_get_count(rows) == 0) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED, "job %s moved on: it needs no rescue", id);
    return FALSE;
  }
  g_autoptr(RegistryJob) job = read_job(rows, 0, error);
  return job != NULL && end_lost(store, job, error);
}

gboolean registry_job_rescue(RegistryStore *store, const gchar *id, gint64 token, gint64 heartbeat, GError **error)
{
  gboolean own;
  if (!registry_transaction_enter(store, &own, error)) return FALSE;
  return registry_transaction_leave(store, own, rescue_locked(store, id, token, heartbeat, error), error);
}

static gboolean cancel_locked(RegistryStore *store, const gchar *id, const gchar *actor, GError **error)
{
  g_autofree gchar *digest = NULL;
  const RegistryValue covered[] = {REGISTRY_T(id), REGISTRY_T("cancelled"), REGISTRY_N, REGISTRY_N};
  digest = registry_digest_values(covered, G_N_ELEMENTS(covered));
  const RegistryValue parameters[] = {REGISTRY_T(id), REGISTRY_I(registry_store_now(store)), REGISTRY_T(digest)};
  g_autoptr(RegistryRows) rows =
      registry_store_query(store,
                           "UPDATE job SET cancel_requested = 1,"
                           " finished_at = CASE WHEN state = 'queued' THEN CAST($2 AS BIGINT) ELSE finished_at END,"
                           " error = CASE WHEN state = 'queued' THEN NULL ELSE error END,"
                           " result_digest = CASE WHEN state = 'queued' THEN CAST($3 AS TEXT) ELSE result_digest END,"
                           " state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END"
                           " WHERE id = $1 AND state IN ('queued', 'running') RETURNING state",
                           parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return FALSE;
  if (registry_rows_get_count(rows) > 0)
    return registry_audit_append(store, actor, "job.cancel", id, registry_rows_get_text(rows, 0, 0), error);
  g_autoptr(RegistryJob) job = registry_job_get(store, id, error);
  if (job != NULL)
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_CONFLICT, "job %s has ended already: %s", id, job->state);
  return FALSE;
}

gboolean registry_job_cancel(RegistryStore *store, const gchar *id, const gchar *actor, GError **error)
{
  gboolean own;
  if (!registry_transaction_enter(store, &own, error)) return FALSE;
  return registry_transaction_leave(store, own, cancel_locked(store, id, actor, error), error);
}
