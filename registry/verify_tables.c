/* What `kedge verify` looks at, one entry a table. The columns after the subject are those of the insert, in its order.
 * Tables without an entry hold nothing immutable: lease, outbox, job_queue, job_log, schema_version. */
#include "registry/artifact_internal.h"
#include "registry/shard_internal.h"
#include "registry/store_internal.h"
#include "registry/verify_internal.h"

/* A finding, unless the file could not be read for a reason that says nothing about it. */
static gboolean check_artifact(Verify *verify, const gchar *digest, const gchar *subject, GError **error)
{
  if (digest == NULL || verify->artifacts == NULL) return TRUE;
  verify->checked++;
  g_autoptr(GError) reason = NULL;
  if (registry_artifacts_check(verify->artifacts, digest, &reason)) return TRUE;
  if (g_error_matches(reason, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE)) {
    g_propagate_error(error, g_steal_pointer(&reason));
    return FALSE;
  }
  verify_report(verify, "%s: %s", subject, reason->message);
  return TRUE;
}

static gboolean check_version_files(Verify *verify, const RegistryRows *rows, guint row, GError **error)
{
  const gchar *subject = registry_rows_get_text(rows, row, 3);
  for (guint i = 2; i <= 4; i++)
    if (!check_artifact(verify, registry_rows_get_text(rows, row, VERIFY_CONTENT + i), subject, error)) return FALSE;
  return TRUE;
}

static gboolean check_segment(Verify *verify, const RegistryRows *rows, guint row, GError **error)
{
  if (verify->artifacts == NULL) return TRUE;
  verify->checked++;
  gint64 first = registry_rows_get_integer(rows, row, 0), next = registry_rows_get_integer(rows, row, 1);
  g_autoptr(GError) reason = NULL;
  g_autoptr(GBytes) bytes =
      registry_artifacts_get(verify->artifacts, registry_rows_get_text(rows, row, VERIFY_CONTENT + 5), &reason);
  if (bytes != NULL && registry_segment_decode(bytes, first, next, NULL, &reason)) return TRUE;
  if (g_error_matches(reason, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE)) {
    g_propagate_error(error, g_steal_pointer(&reason));
    return FALSE;
  }
  verify_report(verify, "%s: %s", registry_rows_get_text(rows, row, 3), reason->message);
  return TRUE;
}

static gboolean check_ends(Verify *verify, const RegistryRows *rows, guint row, GError **error G_GNUC_UNUSED)
{
  gint64 n = registry_rows_get_integer(rows, row, 1) - registry_rows_get_integer(rows, row, 0);
  g_autoptr(GBytes) ends = registry_rows_get_blob(rows, row, VERIFY_CONTENT + 5);
  g_autoptr(GBytes) bytes = registry_rows_get_blob(rows, row, VERIFY_CONTENT + 6);
  g_autoptr(GError) reason = NULL;
  g_autoptr(GArray) decoded =
      registry_ends_decode(ends, (guint64)n, bytes != NULL ? g_bytes_get_size(bytes) : 0, &reason);
  if (decoded == NULL) verify_report(verify, "%s: %s", registry_rows_get_text(rows, row, 3), reason->message);
  return TRUE;
}

#define TEXT(column) "CAST(" column " AS TEXT)"
#define OF_PARTITION "model || '/' || " TEXT("partition")
#define OF_LABELS OF_PARTITION " || '/' || " TEXT("label_partition")
/* A table whose key is one text: each row is a group of its own. */
#define ONE(condition) " WHERE " condition " AND CAST($2 AS BIGINT) <= 0 LIMIT $3"

const VerifyTable verify_tables[] = {
    {"model", "SELECT name FROM model ORDER BY name", 1,
     "SELECT 0, 1, NULL, name, name, spec, created_at FROM model" ONE("name = $1"), -1, NULL, NULL},
    {"version", "SELECT DISTINCT model FROM version ORDER BY model", 1,
     "SELECT version, version + 1, NULL, model || '/' || " TEXT(
         "version") ", model, version, onnx_digest, grid_digest, profile_digest, parent, kind, incident, job, "
                    "data_set, metrics,"
                    " created_at FROM version WHERE model = $1 AND version >= $2 ORDER BY version LIMIT $3",
     1, NULL, check_version_files},
    {"alias", "SELECT DISTINCT model, alias FROM alias_history ORDER BY model, alias", 2,
     "SELECT revision, revision + 1, NULL, model || '@' || alias || '#' || " TEXT(
         "revision") ", model, alias, revision, version, previous, actor, reason, at FROM alias_history"
                     " WHERE model = $1 AND alias = $2 AND revision >= $3 ORDER BY revision LIMIT $4",
     1, NULL, NULL},
    {"tag", "SELECT model, version, name FROM tag ORDER BY model, version, name", 3,
     "SELECT 0, 1, NULL, model || '/' || " TEXT(
         "version") " || '?' || name, model, version, name, value FROM tag"
                    " WHERE model = $1 AND version = $2 AND name = $3 AND CAST($4 AS BIGINT) <= 0 LIMIT $5",
     -1, NULL, NULL},
    {"job", "SELECT id FROM job ORDER BY sequence", 1,
     "SELECT 0, 1, digest, id, id, model, kind, priority, deadline, spec, incident, maximum_attempts, created_at,"
     " predicted_us FROM job" ONE("id = $1"),
     -1, NULL, NULL},
    {"result of job", "SELECT id FROM job WHERE state IN ('done', 'failed', 'cancelled') ORDER BY sequence", 1,
     "SELECT 0, 1, COALESCE(result_digest, ''), id, id, state, result, error FROM job" ONE("id = $1"), -1, NULL, NULL},
    {"shard", "SELECT model, partition FROM shard WHERE digest IS NOT NULL ORDER BY model, partition", 2,
     "SELECT 0, 1, COALESCE(digest, ''), " OF_PARTITION
     ", model, partition, next_offset, watermark, idle, consumed, state"
     " FROM shard"
     " WHERE model = $1 AND partition = $2 AND CAST($3 AS BIGINT) <= 0 LIMIT $4",
     -1, NULL, NULL},
    {"join chunk", "SELECT model, partition, number FROM join_chunk ORDER BY model, partition, number", 3,
     "SELECT 0, 1, digest, " OF_PARTITION
     " || ' ' || " TEXT("number") ", model, partition, number, bytes"
                                  " FROM join_chunk WHERE model = $1 AND partition = $2 AND number = $3 AND CAST($4 AS "
                                  "BIGINT) <= 0 LIMIT $5",
     -1, NULL, NULL},
    {"pane", "SELECT DISTINCT model, partition FROM pane ORDER BY model, partition", 2,
     "SELECT number, number + 1, digest, " OF_PARTITION
     " || ' ' || " TEXT("number") ", model, partition, number, grid_id, first_offset, next_offset, first_time, "
                                  "last_time, watermark, events,"
                                  " coverage, bytes FROM pane WHERE model = $1 AND partition = $2 AND number >= $3 "
                                  "ORDER BY number LIMIT $4",
     0, NULL, NULL},
    {"label pane",
     "SELECT DISTINCT model, partition, label_partition FROM label_pane"
     " ORDER BY model, partition, label_partition",
     3,
     "SELECT number, number + 1, digest, " OF_LABELS
     " || ' ' || " TEXT("number") ", model, partition, label_partition, number, first_row, next_row, first_offset, "
                                  "next_offset, watermark,"
                                  " first_traffic_offset, last_traffic_offset, events, coverage, bytes FROM label_pane"
                                  " WHERE model = $1 AND partition = $2 AND label_partition = $3 AND number >= $4 "
                                  "ORDER BY number LIMIT $5",
     0, NULL, NULL},
    {"labelled segment",
     "SELECT DISTINCT model, partition, label_partition FROM labelled_segment"
     " ORDER BY model, partition, label_partition",
     3,
     "SELECT first_row, next_row, digest, " OF_LABELS " || ' ' || " TEXT(
         "first_row") ", model, partition, label_partition, first_row, next_row, artifact FROM labelled_segment"
                      " WHERE model = $1 AND partition = $2 AND label_partition = $3 AND first_row >= $4 ORDER BY "
                      "first_row LIMIT $5",
     0, NULL, check_segment},
    {"labelled rows",
     "SELECT DISTINCT model, partition, label_partition FROM labelled_rows"
     " ORDER BY model, partition, label_partition",
     3,
     "SELECT first_row, next_row, digest, " OF_LABELS " || ' ' || " TEXT(
         "first_row") ", model, partition, label_partition, first_row, next_row, ends, bytes FROM labelled_rows"
                      " WHERE model = $1 AND partition = $2 AND label_partition = $3 AND first_row >= $4 ORDER BY "
                      "first_row LIMIT $5",
     0,
     "SELECT COALESCE((SELECT MAX(next_row) FROM labelled_segment WHERE model = $1 AND partition = $2"
     " AND label_partition = $3), 0)",
     check_ends},
    {"leader state", "SELECT model FROM leader_state ORDER BY model", 1,
     "SELECT 0, 1, digest, model, model, state, progress FROM leader_state" ONE("model = $1"), -1, NULL, NULL},
    {"verdict", "SELECT DISTINCT model, kind FROM verdict ORDER BY model, kind", 2,
     "SELECT number, number + 1, digest, id, id, model, kind, number, event_time, drift, panes, settings, body"
     " FROM verdict WHERE model = $1 AND kind = $2 AND number >= $3 ORDER BY number LIMIT $4",
     0, NULL, NULL},
    {"incident", "SELECT id FROM incident ORDER BY id", 1,
     "SELECT 0, 1, digest, id, id, model, kind, state, opened_at, updated_at, closed_at, verdict, summary, body"
     " FROM incident" ONE("id = $1"),
     -1, NULL, NULL},
    {NULL, NULL, 0, NULL, 0, NULL, NULL},
};
