/* One checkpoint: everything a shard learned since the last one, in one transaction behind one fence. The statements
 * travel as one batch, so that PostgreSQL costs two round trips (batch, COMMIT). */
#include <string.h>

#include "registry/digest.h"
#include "registry/shard.h"
#include "registry/shard_internal.h"
#include "registry/store_internal.h"

#define MAXIMUM_PARAMETERS 15

/* What a statement must have changed, else what is wrong. */
typedef struct {
  RegistryStatement statement; /* sql and n set; parameters set when all steps are known */
  RegistryValue parameters[MAXIMUM_PARAMETERS];
  gboolean must_change;
  RegistryError error;
  gchar *otherwise; /* text of the error */
} Step;

typedef struct {
  const RegistryCheckpoint *checkpoint;
  gint64 now;
  GPtrArray *steps; /* of Step* */
  GPtrArray *texts; /* of gchar*: digests and JSON that parameters borrow */
  GPtrArray *blobs; /* of GBytes* */
} Batch;

static void step_free(gpointer data)
{
  Step *step = data;
  g_free(step->otherwise);
  g_free(step);
}

static Step *add_step(Batch *batch, const gchar *sql, const RegistryValue *parameters, guint n)
{
  Step *step = g_new0(Step, 1);
  step->statement.sql = sql;
  step->statement.n = n;
  memcpy(step->parameters, parameters, n * sizeof *parameters);
  g_ptr_array_add(batch->steps, step);
  return step;
}

/* A row whose last parameter is the digest over those before it. */
static Step *add_digested(Batch *batch, const gchar *sql, RegistryValue *parameters, guint n)
{
  gchar *digest = registry_digest_values(parameters, n - 1);
  g_ptr_array_add(batch->texts, digest);
  parameters[n - 1] = REGISTRY_T(digest);
  return add_step(batch, sql, parameters, n);
}

static void require_change(Step *step, RegistryError error, gchar *otherwise)
{
  step->must_change = TRUE;
  step->error = error;
  step->otherwise = otherwise;
}

/* The fence comes first: it locks the row, and nothing else matters when it changes none. */
static void add_fence(Batch *batch)
{
  const RegistryCheckpoint *c = batch->checkpoint;
  RegistryValue parameters[] = {
      REGISTRY_T(c->model),        REGISTRY_I(c->partition),  REGISTRY_I(c->next_offset),     REGISTRY_I(c->watermark),
      REGISTRY_I(c->idle ? 1 : 0), REGISTRY_T(c->consumed),   registry_value_bytes(c->state), REGISTRY_N,
      REGISTRY_I(c->epoch),        REGISTRY_I(c->base_offset)};
  gchar *digest = registry_digest_values(parameters, 7);
  g_ptr_array_add(batch->texts, digest);
  parameters[7] = REGISTRY_T(digest);
  Step *step = add_step(batch,
                        "UPDATE shard SET next_offset = $3, watermark = $4, idle = $5, consumed = $6, state = $7,"
                        " digest = $8 WHERE model = $1 AND partition = $2 AND epoch = $9 AND next_offset = $10",
                        parameters, G_N_ELEMENTS(parameters));
  require_change(step, REGISTRY_ERROR_FENCED,
                 g_strdup_printf("shard %s/%d is no longer ours at epoch %" G_GINT64_FORMAT
                                 " and offset %" G_GINT64_FORMAT
                                 ": another owner acquired it; drop its memory and acquire it again",
                                 c->model, c->partition, c->epoch, c->base_offset));
}

static void add_pane(Batch *batch, const RegistryPane *pane)
{
  const RegistryCheckpoint *c = batch->checkpoint;
  RegistryValue parameters[] = {REGISTRY_T(c->model),
                                REGISTRY_I(c->partition),
                                REGISTRY_I(pane->number),
                                REGISTRY_T(pane->grid_id),
                                REGISTRY_I(pane->first_offset),
                                REGISTRY_I(pane->next_offset),
                                REGISTRY_I(pane->first_time),
                                REGISTRY_I(pane->last_time),
                                REGISTRY_I(pane->watermark),
                                REGISTRY_I((gint64)pane->count),
                                REGISTRY_T(pane->coverage),
                                registry_value_bytes(pane->bytes),
                                REGISTRY_N};
  Step *step =
      add_digested(batch,
                   "INSERT INTO pane (model, partition, number, grid_id, first_offset, next_offset, first_time,"
                   " last_time, watermark, events, coverage, bytes, digest)"
                   " SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 WHERE $3 ="
                   " COALESCE((SELECT MAX(number) + 1 FROM pane WHERE model = $1 AND partition = $2), 0)",
                   parameters, G_N_ELEMENTS(parameters));
  require_change(step, REGISTRY_ERROR_INVALID,
                 g_strdup_printf("pane %" G_GINT64_FORMAT " of %s/%d does not follow the last one stored", pane->number,
                                 c->model, c->partition));
}

static void add_label_pane(Batch *batch, const RegistryLabelPane *pane)
{
  const RegistryCheckpoint *c = batch->checkpoint;
  RegistryValue parameters[] = {REGISTRY_T(c->model),
                                REGISTRY_I(c->partition),
                                REGISTRY_I(pane->label_partition),
                                REGISTRY_I(pane->number),
                                REGISTRY_I(pane->first_row),
                                REGISTRY_I(pane->next_row),
                                REGISTRY_I(pane->first_offset),
                                REGISTRY_I(pane->next_offset),
                                REGISTRY_I(pane->watermark),
                                REGISTRY_I(pane->first_traffic_offset),
                                REGISTRY_I(pane->last_traffic_offset),
                                REGISTRY_I((gint64)pane->count),
                                REGISTRY_T(pane->coverage),
                                registry_value_bytes(pane->bytes),
                                REGISTRY_N};
  Step *step =
      add_digested(batch,
                   "INSERT INTO label_pane (model, partition, label_partition, number, first_row, next_row,"
                   " first_offset, next_offset, watermark, first_traffic_offset, last_traffic_offset, events, coverage,"
                   " bytes, digest) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15 WHERE $4 ="
                   " COALESCE((SELECT MAX(number) + 1 FROM label_pane WHERE model = $1 AND partition = $2"
                   " AND label_partition = $3), 0)",
                   parameters, G_N_ELEMENTS(parameters));
  require_change(step, REGISTRY_ERROR_INVALID,
                 g_strdup_printf("label pane %" G_GINT64_FORMAT " of %s/%d/%d does not follow the last one stored",
                                 pane->number, c->model, c->partition, pane->label_partition));
}

static void add_labelled_rows(Batch *batch, const RegistryLabelledRows *rows)
{
  const RegistryCheckpoint *c = batch->checkpoint;
  GBytes *ends = registry_ends_encode(rows->ends, rows->n_rows);
  g_ptr_array_add(batch->blobs, ends);
  RegistryValue parameters[] = {REGISTRY_T(c->model),
                                REGISTRY_I(c->partition),
                                REGISTRY_I(rows->label_partition),
                                REGISTRY_I(rows->first_row),
                                REGISTRY_I(rows->first_row + rows->n_rows),
                                registry_value_bytes(ends),
                                registry_value_bytes(rows->bytes),
                                REGISTRY_N};
  /* The tail may be empty (all sealed): then the last segment says where the log ends. */
  Step *step = add_digested(
      batch,
      "INSERT INTO labelled_rows (model, partition, label_partition, first_row, next_row, ends, bytes, digest)"
      " SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE $4 = " REGISTRY_LABELLED_LOG_END,
      parameters, G_N_ELEMENTS(parameters));
  require_change(step, REGISTRY_ERROR_INVALID,
                 g_strdup_printf("labelled row %" G_GINT64_FORMAT " of %s/%d/%d does not follow the last one stored",
                                 rows->first_row, c->model, c->partition, rows->label_partition));
}

static void add_join_chunk(Batch *batch)
{
  const RegistryCheckpoint *c = batch->checkpoint;
  RegistryValue parameters[] = {REGISTRY_T(c->model), REGISTRY_I(c->partition), REGISTRY_I(c->join_chunk_number),
                                registry_value_bytes(c->join_chunk), REGISTRY_N};
  if (c->join_chunk != NULL)
    add_digested(batch, "INSERT INTO join_chunk (model, partition, number, bytes, digest) VALUES ($1, $2, $3, $4, $5)",
                 parameters, G_N_ELEMENTS(parameters));
  const RegistryValue dead[] = {REGISTRY_T(c->model), REGISTRY_I(c->partition), REGISTRY_I(c->join_chunk_first_live)};
  if (c->join_chunk_first_live > 0)
    add_step(batch, "DELETE FROM join_chunk WHERE model = $1 AND partition = $2 AND number < $3", dead,
             G_N_ELEMENTS(dead));
}

static void append_json_text(GString *json, const gchar *text)
{
  g_string_append_c(json, '"');
  for (const gchar *c = text != NULL ? text : ""; *c != '\0'; c++) {
    if (*c == '"' || *c == '\\')
      g_string_append_printf(json, "\\%c", *c);
    else if ((guchar)*c < 0x20)
      g_string_append_printf(json, "\\u%04x", (guint)*c);
    else
      g_string_append_c(json, *c);
  }
  g_string_append_c(json, '"');
}

static void add_dead_letter(Batch *batch, const RegistryDeadLetter *letter)
{
  GString *json = g_string_new("{\"reason\": ");
  append_json_text(json, letter->reason);
  g_string_append(json, ", \"source\": ");
  append_json_text(json, letter->source);
  g_string_append_c(json, '}');
  gchar *body = g_string_free(json, FALSE);
  g_ptr_array_add(batch->texts, body);
  const RegistryValue parameters[] = {REGISTRY_T(letter->id), REGISTRY_T(letter->topic), REGISTRY_T(body),
                                      registry_value_bytes(letter->payload), REGISTRY_I(batch->now)};
  add_step(batch,
           "INSERT INTO outbox (id, kind, target, state, body, payload, attempts, not_before, created_at)"
           " VALUES ($1, 'dead_letter', $2, 'due', $3, $4, 0, 0, $5) ON CONFLICT (id) DO NOTHING",
           parameters, G_N_ELEMENTS(parameters));
}

/* --- arguments --------------------------------------------------------------------------------------------------- */

static gboolean check_labelled_rows(const RegistryLabelledRows *rows, GError **error)
{
  gsize total = rows->bytes != NULL ? g_bytes_get_size(rows->bytes) : 0;
  gboolean ok = rows->n_rows > 0 && rows->ends != NULL && rows->ends[rows->n_rows - 1] == total;
  for (guint i = 1; ok && i < rows->n_rows; i++) ok = rows->ends[i] > rows->ends[i - 1];
  if (!ok)
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID,
                "labelled rows from %" G_GINT64_FORMAT ": ends must ascend and the last be the size of the bytes",
                rows->first_row);
  return ok && rows->ends[0] > 0;
}

static gboolean check_checkpoint(const RegistryCheckpoint *c, GError **error)
{
  if (!registry_check_name("model", c->model, error)) return FALSE;
  if (c->next_offset < 0 || c->state == NULL) { /* an operator's reset may go back */
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "checkpoint of %s/%d: needs a state and an offset",
                c->model, c->partition);
    return FALSE;
  }
  for (guint i = 0; c->labelled_rows != NULL && i < c->labelled_rows->len; i++)
    if (!check_labelled_rows(c->labelled_rows->pdata[i], error)) return FALSE;
  return TRUE;
}

/* --- all together ------------------------------------------------------------------------------------------------ */

static void fill_batch(Batch *batch)
{
  const RegistryCheckpoint *c = batch->checkpoint;
  add_fence(batch);
  for (guint i = 0; c->panes != NULL && i < c->panes->len; i++) add_pane(batch, c->panes->pdata[i]);
  for (guint i = 0; c->label_panes != NULL && i < c->label_panes->len; i++)
    add_label_pane(batch, c->label_panes->pdata[i]);
  for (guint i = 0; c->labelled_rows != NULL && i < c->labelled_rows->len; i++)
    add_labelled_rows(batch, c->labelled_rows->pdata[i]);
  add_join_chunk(batch);
  for (guint i = 0; c->dead_letters != NULL && i < c->dead_letters->len; i++)
    add_dead_letter(batch, c->dead_letters->pdata[i]);
}

static gboolean run_batch(RegistryStore *store, Batch *batch, GError **error)
{
  guint n = batch->steps->len;
  g_autofree RegistryStatement *statements = g_new(RegistryStatement, n);
  for (guint i = 0; i < n; i++) {
    Step *step = batch->steps->pdata[i];
    statements[i] = step->statement;
    statements[i].parameters = step->parameters;
  }
  g_autoptr(GError) reason = NULL;
  gboolean ok = registry_store_execute_batch(store, statements, n, &reason);
  /* A fenced owner's rows may also collide with the new owner's: the fence is the reason then. */
  gboolean collided = g_error_matches(reason, REGISTRY_ERROR, REGISTRY_ERROR_CONFLICT);
  for (guint i = 0; (ok || (collided && i == 0)) && i < n; i++) {
    const Step *step = batch->steps->pdata[i];
    if (!step->must_change || statements[i].changed > 0) continue;
    g_clear_error(&reason);
    g_set_error_literal(&reason, REGISTRY_ERROR, (gint)step->error, step->otherwise);
    ok = collided = FALSE;
  }
  if (reason != NULL) g_propagate_error(error, g_steal_pointer(&reason));
  return ok;
}

gboolean registry_shard_checkpoint(RegistryStore *store, const RegistryCheckpoint *checkpoint, GError **error)
{
  if (!check_checkpoint(checkpoint, error)) return FALSE;
  gboolean own;
  if (!registry_transaction_enter(store, &own, error)) return FALSE;
  g_autoptr(GPtrArray) steps = g_ptr_array_new_with_free_func(step_free);
  g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GPtrArray) blobs = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  Batch batch = {checkpoint, registry_store_now(store), steps, texts, blobs};
  fill_batch(&batch);
  return registry_transaction_leave(store, own, run_batch(store, &batch, error), error);
}
