/* The labelled log: sealed segments (artifacts) followed by the open tail (rows in the store). A tail row that a
 * segment covers only in part stays until it is covered whole, so the two may overlap; the bytes are the same. */
#include <string.h>

#include "registry/digest.h"
#include "registry/shard.h"
#include "registry/shard_internal.h"
#include "registry/store_internal.h"

typedef struct {
  const gchar *model;
  gint32 partition, label_partition;
} Log;

static gboolean append_rows(RegistryRowBuffer *rows, const guint8 *data, const guint32 *ends, guint first, guint next,
                            GError **error)
{
  guint32 start = first > 0 ? ends[first - 1] : 0;
  guint32 length = ends[next - 1] - start;
  if ((guint64)rows->bytes->len + length > REGISTRY_BLOB_MAXIMUM * 2) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID,
                "labelled rows: more than 1 GiB asked for at once: read a shorter range");
    return FALSE;
  }
  guint32 base = rows->bytes->len;
  g_byte_array_append(rows->bytes, data + start, length);
  for (guint i = first; i < next; i++) {
    guint32 end = base + (ends[i] - start);
    g_array_append_val(rows->ends, end);
  }
  return TRUE;
}

/* Rows [*cursor, limit) as far as [first, next) of this piece has them; moves the cursor. */
static gboolean take_piece(RegistryRowBuffer *rows, const guint8 *data, const GArray *ends, gint64 first, gint64 next,
                           gint64 *cursor, gint64 limit, GError **error)
{
  if (*cursor < first || *cursor >= next || *cursor >= limit) return TRUE;
  gint64 until = MIN(next, limit);
  if (!append_rows(rows, data, (const guint32 *)(gconstpointer)ends->data, (guint)(*cursor - first),
                   (guint)(until - first), error))
    return FALSE;
  *cursor = until;
  return TRUE;
}

static RegistryRows *query_tail(RegistryStore *store, const Log *log, gint64 first_row, gint64 next_row, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(log->model), REGISTRY_I(log->partition),
                                      REGISTRY_I(log->label_partition), REGISTRY_I(first_row), REGISTRY_I(next_row)};
  return registry_store_query(store,
                              "SELECT digest, model, partition, label_partition, first_row, next_row, ends, bytes"
                              " FROM labelled_rows WHERE model = $1 AND partition = $2 AND label_partition = $3"
                              " AND first_row < $5 AND next_row > $4 ORDER BY first_row",
                              parameters, G_N_ELEMENTS(parameters), error);
}

static RegistryRows *query_segments(RegistryStore *store, const Log *log, gint64 first_row, gint64 next_row,
                                    GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(log->model), REGISTRY_I(log->partition),
                                      REGISTRY_I(log->label_partition), REGISTRY_I(first_row), REGISTRY_I(next_row)};
  return registry_store_query(store,
                              "SELECT digest, model, partition, label_partition, first_row, next_row, artifact"
                              " FROM labelled_segment WHERE model = $1 AND partition = $2 AND label_partition = $3"
                              " AND first_row < $5 AND next_row > $4 ORDER BY first_row",
                              parameters, G_N_ELEMENTS(parameters), error);
}

static gboolean take_segment(RegistryRowBuffer *rows, RegistryArtifacts *artifacts, const RegistryRows *segments,
                             guint i, gint64 *cursor, gint64 limit, GError **error)
{
  gint64 first = registry_rows_get_integer(segments, i, 4), next = registry_rows_get_integer(segments, i, 5);
  if (*cursor < first || *cursor >= MIN(next, limit)) return TRUE;
  if (artifacts == NULL) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID,
                "labelled rows from %" G_GINT64_FORMAT " are sealed: the artifacts are needed to read them", first);
    return FALSE;
  }
  if (!registry_check_row(segments, i, 0, 1, 6, "a labelled segment", error)) return FALSE;
  g_autoptr(GBytes) bytes = registry_artifacts_get(artifacts, registry_rows_get_text(segments, i, 6), error);
  g_autoptr(RegistryRowBuffer) piece = NULL;
  if (bytes == NULL || !registry_segment_decode(bytes, first, next, &piece, error)) return FALSE;
  return take_piece(rows, piece->bytes->data, piece->ends, first, next, cursor, limit, error);
}

static gboolean take_tail(RegistryRowBuffer *rows, const RegistryRows *tail, guint i, gint64 *cursor, gint64 limit,
                          GError **error)
{
  gint64 first = registry_rows_get_integer(tail, i, 4), next = registry_rows_get_integer(tail, i, 5);
  if (!registry_check_row(tail, i, 0, 1, 7, "a labelled row", error)) return FALSE;
  g_autoptr(GBytes) encoded = registry_rows_get_blob(tail, i, 6);
  g_autoptr(GBytes) bytes = registry_rows_get_blob(tail, i, 7);
  gsize size;
  const guint8 *data = g_bytes_get_data(bytes, &size);
  g_autoptr(GArray) ends = registry_ends_decode(encoded, (guint64)(next - first), size, error);
  return ends != NULL && take_piece(rows, data, ends, first, next, cursor, limit, error);
}

gboolean registry_labelled_log_collect(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model,
                                       gint32 partition, gint32 label_partition, gint64 first_row, gint64 next_row,
                                       RegistryRowBuffer *rows, GError **error)
{
  const Log log = {model, partition, label_partition};
  if (first_row < 0 || next_row < first_row) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID,
                "labelled rows [%" G_GINT64_FORMAT ", %" G_GINT64_FORMAT ") is not a range", first_row, next_row);
    return FALSE;
  }
  if (first_row == next_row) return TRUE;
  /* The tail before the manifest: rows sealed in between are then in both, never in neither. */
  g_autoptr(RegistryRows) tail = query_tail(store, &log, first_row, next_row, error);
  if (tail == NULL) return FALSE;
  gint64 tail_first = registry_rows_get_count(tail) > 0 ? registry_rows_get_integer(tail, 0, 4) : next_row;
  gint64 cursor = first_row;
  if (tail_first > first_row) {
    g_autoptr(RegistryRows) segments = query_segments(store, &log, first_row, tail_first, error);
    if (segments == NULL) return FALSE;
    for (guint i = 0; i < registry_rows_get_count(segments); i++)
      if (!take_segment(rows, artifacts, segments, i, &cursor, MIN(tail_first, next_row), error)) return FALSE;
  }
  for (guint i = 0; i < registry_rows_get_count(tail); i++)
    if (!take_tail(rows, tail, i, &cursor, next_row, error)) return FALSE;
  if (cursor == next_row) return TRUE;
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND,
              "labelled row %" G_GINT64_FORMAT " of %s/%d/%d is not in the log", cursor, model, partition,
              label_partition);
  return FALSE;
}

GBytes *registry_labelled_log_read(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model,
                                   gint32 partition, gint32 label_partition, gint64 first_row, gint64 next_row,
                                   GError **error)
{
  g_autoptr(RegistryRowBuffer) rows = registry_row_buffer_new();
  if (!registry_labelled_log_collect(store, artifacts, model, partition, label_partition, first_row, next_row, rows,
                                     error))
    return NULL;
  return g_byte_array_free_to_bytes(g_steal_pointer(&rows->bytes));
}

gint64 registry_labelled_log_next(RegistryStore *store, const gchar *model, gint32 partition, gint32 label_partition,
                                  GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model), REGISTRY_I(partition), REGISTRY_I(label_partition)};
  gint64 next;
  gboolean ok = registry_query_integer(store, "SELECT " REGISTRY_LABELLED_LOG_END, parameters, G_N_ELEMENTS(parameters),
                                       0, &next, error);
  return ok ? next : -1;
}

/* --- sealing ----------------------------------------------------------------------------------------------------- */

/* Manifest and removal of the covered tail in one transaction; *sealed FALSE: somebody else sealed those rows. */
static gboolean commit_segment(RegistryStore *store, const Log *log, gint64 first, gint64 next, const gchar *artifact,
                               gboolean *sealed, GError **error)
{
  RegistryValue segment[] = {REGISTRY_T(log->model),
                             REGISTRY_I(log->partition),
                             REGISTRY_I(log->label_partition),
                             REGISTRY_I(first),
                             REGISTRY_I(next),
                             REGISTRY_T(artifact),
                             REGISTRY_N};
  g_autofree gchar *digest = registry_digest_values(segment, G_N_ELEMENTS(segment) - 1);
  segment[G_N_ELEMENTS(segment) - 1] = REGISTRY_T(digest);
  const RegistryValue covered[] = {segment[0], segment[1], segment[2]};
  RegistryStatement statements[] = {
      {.sql = "INSERT INTO labelled_segment (model, partition, label_partition, first_row, next_row, artifact, digest)"
              " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
       .parameters = segment,
       .n = G_N_ELEMENTS(segment)},
      {.sql = "DELETE FROM labelled_rows WHERE model = $1 AND partition = $2 AND label_partition = $3"
              " AND next_row <= (SELECT MAX(s.next_row) FROM labelled_segment s WHERE s.model = $1 AND s.partition = $2"
              " AND s.label_partition = $3)",
       .parameters = covered,
       .n = G_N_ELEMENTS(covered)},
  };
  gboolean ok = registry_store_execute_batch(store, statements, G_N_ELEMENTS(statements), error);
  *sealed = ok && statements[0].changed > 0;
  return ok;
}

static gboolean seal_log(RegistryStore *store, RegistryArtifacts *artifacts, const Log *log, gint64 sealed_until,
                         gint64 rows_per_segment, guint *n_sealed, GError **error)
{
  gint64 next = registry_labelled_log_next(store, log->model, log->partition, log->label_partition, error);
  if (next < 0) return FALSE;
  for (gint64 first = sealed_until; next - first >= rows_per_segment; first += rows_per_segment) {
    g_autoptr(RegistryRowBuffer) rows = registry_row_buffer_new();
    if (!registry_labelled_log_collect(store, artifacts, log->model, log->partition, log->label_partition, first,
                                       first + rows_per_segment, rows, error))
      return FALSE;
    g_autoptr(GBytes) bytes = registry_segment_encode(rows, first, error);
    g_autofree gchar *artifact = bytes != NULL ? registry_artifacts_put(artifacts, bytes, error) : NULL;
    gboolean sealed;
    if (artifact == NULL || !commit_segment(store, log, first, first + rows_per_segment, artifact, &sealed, error))
      return FALSE;
    if (!sealed) return TRUE;
    if (n_sealed != NULL) (*n_sealed)++;
  }
  return TRUE;
}

gboolean registry_labelled_log_seal(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model,
                                    gint64 rows_per_segment, guint *n_sealed, GError **error)
{
  if (rows_per_segment < 1 || artifacts == NULL) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "sealing needs artifacts and at least 1 row a segment");
    return FALSE;
  }
  const RegistryValue parameters[] = {REGISTRY_T(model)};
  g_autoptr(RegistryRows) logs = registry_store_query(
      store,
      "SELECT t.partition, t.label_partition, COALESCE((SELECT MAX(s.next_row) FROM labelled_segment s"
      " WHERE s.model = $1 AND s.partition = t.partition AND s.label_partition = t.label_partition), 0)"
      " FROM (SELECT DISTINCT partition, label_partition FROM labelled_rows WHERE model = $1) AS t"
      " ORDER BY t.partition, t.label_partition",
      parameters, G_N_ELEMENTS(parameters), error);
  if (logs == NULL) return FALSE;
  guint sealed = 0;
  for (guint i = 0; i < registry_rows_get_count(logs); i++) {
    const Log log = {model, (gint32)registry_rows_get_integer(logs, i, 0),
                     (gint32)registry_rows_get_integer(logs, i, 1)};
    if (!seal_log(store, artifacts, &log, registry_rows_get_integer(logs, i, 2), rows_per_segment, &sealed, error))
      return FALSE;
  }
  if (n_sealed != NULL) *n_sealed = sealed;
  return TRUE;
}
