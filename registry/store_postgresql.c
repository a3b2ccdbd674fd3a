/* PostgreSQL through libpq. The only file that includes libpq-fe.h.
 *
 * The connection stays in pipeline mode: a batch, the BEGIN before it and the preparation of statements seen for the
 * first time travel together and cost one round trip. Every value is a bound parameter: integers, reals and text as
 * text, blobs as binary; results come back as binary. */
#include <libpq-fe.h>
#include <string.h>

#include "registry/store_internal.h"

typedef struct {
  PGconn *handle;
  GHashTable *prepared; /* SQL text (owned) → name of the prepared statement (owned) */
  guint64 next_name;
  gboolean begin_pending; /* BEGIN is sent with the first statement */
} PostgresqlConnection;

/* --- errors ------------------------------------------------------------------------------------------------------ */

typedef struct {
  const gchar *sqlstate; /* prefix */
  RegistryError error;
  const gchar *advice;
} SqlState;

/* The first match counts, so the longer prefixes come first. */
static const SqlState SQLSTATES[] = {
    {"23505", REGISTRY_ERROR_CONFLICT, "the key exists"},
    {"23", REGISTRY_ERROR_INVALID, "a value is outside what the table allows"},
    {"22", REGISTRY_ERROR_INVALID, "a value cannot be stored"},
    {"53100", REGISTRY_ERROR_UNAVAILABLE, "the server's disk is full: free some space, work goes on by itself"},
    {"53300", REGISTRY_ERROR_UNAVAILABLE, "the server has no connection left: raise max_connections"},
    {"53", REGISTRY_ERROR_UNAVAILABLE, "the server is out of resources"},
    {"55P03", REGISTRY_ERROR_UNAVAILABLE, "a row stayed locked by another session; it will be tried again"},
    {"57014", REGISTRY_ERROR_UNAVAILABLE, "the statement ran into its time-out; it will be tried again"},
    {"57P", REGISTRY_ERROR_UNAVAILABLE, "the server is shutting down or starting; it will be tried again"},
    {"25P03", REGISTRY_ERROR_UNAVAILABLE, "the session was idle in a transaction for too long and was ended"},
    {"25006", REGISTRY_ERROR_UNAVAILABLE, "the server is read-only (a standby?): connect to the primary"},
    {"40", REGISTRY_ERROR_UNAVAILABLE, "another transaction was in the way; it will be tried again"},
    {"08", REGISTRY_ERROR_UNAVAILABLE, "the connection broke; it will be tried again"},
    {"58", REGISTRY_ERROR_UNAVAILABLE, "the server cannot read or write its disk: look at its log"},
    {"XX001", REGISTRY_ERROR_CORRUPT, "the server found damaged data: restore from a backup"},
    {"XX002", REGISTRY_ERROR_CORRUPT, "the server found a damaged index: REINDEX"},
};

static void set_broken(PostgresqlConnection *connection, const gchar *doing, GError **error)
{
  g_autofree gchar *reason = g_strdup(PQerrorMessage(connection->handle));
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE,
              "PostgreSQL: %s: the connection is broken: %s (is the server up? it will be tried again)", doing,
              g_strstrip(reason));
}

static void set_result_error(PostgresqlConnection *connection, const PGresult *result, const gchar *doing,
                             GError **error)
{
  const gchar *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const gchar *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const gchar *detail = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
  if (state == NULL) {
    set_broken(connection, doing, error);
    return;
  }
  const SqlState *match = NULL;
  for (guint i = 0; match == NULL && i < G_N_ELEMENTS(SQLSTATES); i++)
    if (g_str_has_prefix(state, SQLSTATES[i].sqlstate)) match = &SQLSTATES[i];
  g_set_error(error, REGISTRY_ERROR, match != NULL ? match->error : REGISTRY_ERROR_SQL,
              "PostgreSQL: %s: %s [%s%s%s] (%s)", doing, message != NULL ? message : "error", state,
              detail != NULL ? " " : "", detail != NULL ? detail : "",
              match != NULL ? match->advice : "unexpected answer of the database");
}

/* --- the pipeline ------------------------------------------------------------------------------------------------ */

typedef enum { COMMAND_PLAIN, COMMAND_PREPARE, COMMAND_STATEMENT } CommandKind;
typedef struct {
  CommandKind kind;
  const gchar *sql;
  RegistryStatement *statement;
} PendingCommand;

static gboolean send_plain(PostgresqlConnection *connection, const gchar *sql, GArray *pending)
{
  PendingCommand command = {COMMAND_PLAIN, sql, NULL};
  g_array_append_val(pending, command);
  return PQsendQueryParams(connection->handle, sql, 0, NULL, NULL, NULL, NULL, 1) == 1;
}

static gboolean send_prepare(PostgresqlConnection *connection, const gchar *sql, GArray *pending)
{
  PendingCommand command = {COMMAND_PREPARE, sql, NULL};
  g_array_append_val(pending, command);
  gchar *name = g_strdup_printf("k%" G_GUINT64_FORMAT, connection->next_name++);
  g_hash_table_insert(connection->prepared, g_strdup(sql), name);
  return PQsendPrepare(connection->handle, name, sql, 0, NULL) == 1;
}

typedef struct {
  const char **values;
  int *lengths, *formats;
  gchar (*numbers)[G_ASCII_DTOSTR_BUF_SIZE];
} Parameters;

static void set_parameter(Parameters *parameters, guint i, const RegistryValue *value)
{
  parameters->formats[i] = value->type == REGISTRY_BLOB;
  parameters->lengths[i] = value->type == REGISTRY_BLOB ? (int)value->length : 0;
  parameters->values[i] = NULL;
  switch (value->type) {
  case REGISTRY_NULL:
    break;
  case REGISTRY_INTEGER:
    g_snprintf(parameters->numbers[i], sizeof parameters->numbers[i], "%" G_GINT64_FORMAT, value->integer);
    parameters->values[i] = parameters->numbers[i];
    break;
  case REGISTRY_REAL:
    g_ascii_dtostr(parameters->numbers[i], sizeof parameters->numbers[i], value->real);
    parameters->values[i] = parameters->numbers[i];
    break;
  case REGISTRY_TEXT:
    parameters->values[i] = value->data;
    break;
  case REGISTRY_BLOB:
    parameters->values[i] = value->data != NULL ? value->data : "";
    break;
  }
}

static gboolean send_statement(PostgresqlConnection *connection, RegistryStatement *statement, GArray *pending)
{
  PendingCommand command = {COMMAND_STATEMENT, statement->sql, statement};
  g_array_append_val(pending, command);
  guint n = statement->n;
  g_autofree const char **values = g_new(const char *, n + 1);
  g_autofree int *lengths = g_new(int, n + 1);
  g_autofree int *formats = g_new(int, n + 1);
  g_autofree gpointer numbers = g_malloc((n + 1) * G_ASCII_DTOSTR_BUF_SIZE);
  Parameters parameters = {values, lengths, formats, numbers};
  for (guint i = 0; i < n; i++) set_parameter(&parameters, i, &statement->parameters[i]);
  const gchar *name = g_hash_table_lookup(connection->prepared, statement->sql);
  return PQsendQueryPrepared(connection->handle, name, (int)n, values, lengths, formats, 1) == 1;
}

static gboolean send_all(PostgresqlConnection *connection, RegistryStatement *statements, guint n, GArray *pending)
{
  if (g_hash_table_size(connection->prepared) + n > REGISTRY_PREPARED_MAXIMUM) {
    if (!send_plain(connection, "DEALLOCATE ALL", pending)) return FALSE;
    g_hash_table_remove_all(connection->prepared);
  }
  if (connection->begin_pending) {
    connection->begin_pending = FALSE;
    if (!send_plain(connection, "BEGIN", pending)) return FALSE;
  }
  for (guint i = 0; i < n; i++) {
    if (!g_hash_table_contains(connection->prepared, statements[i].sql) &&
        !send_prepare(connection, statements[i].sql, pending))
      return FALSE;
    if (!send_statement(connection, &statements[i], pending)) return FALSE;
  }
  return PQpipelineSync(connection->handle) == 1;
}

/* --- results ----------------------------------------------------------------------------------------------------- */

/* Type numbers of the server's catalogue (src/include/catalog/pg_type.dat); they never change. */
enum {
  TYPE_BOOL = 16,
  TYPE_BYTEA = 17,
  TYPE_NAME = 19,
  TYPE_INT8 = 20,
  TYPE_INT2 = 21,
  TYPE_INT4 = 23,
  TYPE_TEXT = 25,
  TYPE_FLOAT8 = 701,
  TYPE_UNKNOWN = 705,
  TYPE_VARCHAR = 1043,
  TYPE_VOID = 2278
};

static guint64 big_endian(const char *data, int length)
{
  guint64 word = 0;
  for (int i = 0; i < length; i++) word = word << 8 | (guint8)data[i];
  return word;
}

static gboolean add_cell(RegistryRows *rows, Oid type, const char *data, int length)
{
  guint64 word = length <= 8 ? big_endian(data, length) : 0;
  double real;
  switch (type) {
  case TYPE_BOOL:
    registry_rows_add_integer(rows, word != 0);
    return TRUE;
  case TYPE_INT2:
    registry_rows_add_integer(rows, (gint16)word);
    return TRUE;
  case TYPE_INT4:
    registry_rows_add_integer(rows, (gint32)word);
    return TRUE;
  case TYPE_INT8:
    registry_rows_add_integer(rows, (gint64)word);
    return TRUE;
  case TYPE_FLOAT8:
    memcpy(&real, &word, sizeof real);
    registry_rows_add_real(rows, real);
    return TRUE;
  case TYPE_NAME:
  case TYPE_TEXT:
  case TYPE_UNKNOWN:
  case TYPE_VARCHAR:
    registry_rows_add_text(rows, data, (gsize)length);
    return TRUE;
  case TYPE_BYTEA:
    registry_rows_add_blob(rows, data, (gsize)length);
    return TRUE;
  case TYPE_VOID:
    registry_rows_add_null(rows);
    return TRUE;
  default:
    return FALSE;
  }
}

static RegistryRows *copy_rows(const PGresult *result, GError **error)
{
  int n_columns = PQnfields(result), n_rows = PQntuples(result);
  g_autoptr(RegistryRows) rows = registry_rows_new((guint)n_columns);
  for (int i = 0; i < n_rows; i++)
    for (int k = 0; k < n_columns; k++) {
      if (PQgetisnull(result, i, k))
        registry_rows_add_null(rows);
      else if (!add_cell(rows, PQftype(result, k), PQgetvalue(result, i, k), PQgetlength(result, i, k))) {
        g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_SQL,
                    "PostgreSQL: column %s has type %u: cast it to BIGINT, "
                    "TEXT, BYTEA or DOUBLE PRECISION",
                    PQfname(result, k), PQftype(result, k));
        return NULL;
      }
    }
  return g_steal_pointer(&rows);
}

static gboolean is_success(const PGresult *result)
{
  ExecStatusType status = PQresultStatus(result);
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

/* Takes one command's result. *failed: an earlier command failed, so that this one was skipped. */
static void take_result(PostgresqlConnection *connection, const PendingCommand *command, RegistryRows **rows,
                        gboolean *failed, GError **error)
{
  PGresult *result = PQgetResult(connection->handle);
  gboolean ok = result != NULL && is_success(result);
  if (!ok && command->kind == COMMAND_PREPARE) g_hash_table_remove(connection->prepared, command->sql);
  if (!ok && !*failed) {
    if (result != NULL)
      set_result_error(connection, result, command->sql, error);
    else
      set_broken(connection, command->sql, error);
    *failed = TRUE;
  } else if (ok && command->kind == COMMAND_STATEMENT) {
    gboolean is_select = g_str_has_prefix(PQcmdStatus(result), "SELECT");
    command->statement->changed = is_select ? 0 : g_ascii_strtoll(PQcmdTuples(result), NULL, 10);
    if (rows != NULL && (*rows = copy_rows(result, error)) == NULL) *failed = TRUE;
  }
  while (result != NULL) {
    PQclear(result);
    result = PQstatus(connection->handle) == CONNECTION_OK ? PQgetResult(connection->handle) : NULL;
  }
}

static void take_sync(PostgresqlConnection *connection)
{
  while (PQstatus(connection->handle) == CONNECTION_OK) {
    PGresult *result = PQgetResult(connection->handle);
    gboolean done = result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    gboolean odd = result == NULL && PQtransactionStatus(connection->handle) != PQTRANS_ACTIVE;
    PQclear(result);
    if (done || odd) return;
  }
}

static gboolean postgresql_run(gpointer data, RegistryStatement *statements, guint n, RegistryRows **rows,
                               GError **error)
{
  PostgresqlConnection *connection = data;
  g_autoptr(GArray) pending = g_array_new(FALSE, FALSE, sizeof(PendingCommand));
  if (PQstatus(connection->handle) != CONNECTION_OK || !send_all(connection, statements, n, pending)) {
    set_broken(connection, n > 0 ? statements[0].sql : "", error);
    return FALSE;
  }
  g_autoptr(RegistryRows) found = NULL;
  gboolean failed = FALSE;
  for (guint i = 0; i < pending->len; i++) {
    const PendingCommand *command = &g_array_index(pending, PendingCommand, i);
    gboolean last = i + 1 == pending->len;
    take_result(connection, command, rows != NULL && last ? &found : NULL, &failed, error);
  }
  take_sync(connection);
  if (failed) return FALSE;
  if (rows != NULL) *rows = g_steal_pointer(&found);
  return TRUE;
}

/* --- transactions ------------------------------------------------------------------------------------------------ */

static gboolean postgresql_begin(gpointer data, GError **error)
{
  PostgresqlConnection *connection = data;
  if (PQstatus(connection->handle) != CONNECTION_OK) {
    set_broken(connection, "BEGIN", error);
    return FALSE;
  }
  connection->begin_pending = TRUE;
  return TRUE;
}

/* One command without parameters; *tag (new) is the server's word for what it did. */
static gboolean run_command(PostgresqlConnection *connection, const gchar *sql, gchar **tag, GError **error)
{
  if (PQsendQueryParams(connection->handle, sql, 0, NULL, NULL, NULL, NULL, 1) != 1 ||
      PQpipelineSync(connection->handle) != 1) {
    set_broken(connection, sql, error);
    return FALSE;
  }
  PGresult *result = PQgetResult(connection->handle);
  gboolean ok = result != NULL && is_success(result);
  if (ok && tag != NULL) *tag = g_strdup(PQcmdStatus(result));
  if (!ok && result != NULL) set_result_error(connection, result, sql, error);
  if (!ok && result == NULL) set_broken(connection, sql, error);
  PQclear(result);
  take_sync(connection);
  return ok;
}

static gboolean postgresql_commit(gpointer data, GError **error)
{
  PostgresqlConnection *connection = data;
  if (connection->begin_pending) { /* nothing was done in it */
    connection->begin_pending = FALSE;
    return TRUE;
  }
  if (PQstatus(connection->handle) != CONNECTION_OK) {
    set_broken(connection, "before COMMIT", error);
    return FALSE;
  }
  g_autofree gchar *tag = NULL;
  g_autoptr(GError) reason = NULL;
  if (run_command(connection, "COMMIT", &tag, &reason)) {
    if (g_strcmp0(tag, "COMMIT") == 0) return TRUE;
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_SQL, "PostgreSQL rolled the transaction back at COMMIT");
    return FALSE;
  }
  if (PQstatus(connection->handle) != CONNECTION_OK)
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_UNKNOWN_COMMIT,
                "%s; whether the transaction was committed is not known: read back before trying again",
                reason->message);
  else
    g_propagate_error(error, g_steal_pointer(&reason));
  return FALSE;
}

static void postgresql_rollback(gpointer data)
{
  PostgresqlConnection *connection = data;
  if (!connection->begin_pending && PQstatus(connection->handle) == CONNECTION_OK &&
      PQtransactionStatus(connection->handle) != PQTRANS_IDLE)
    run_command(connection, "ROLLBACK", NULL, NULL);
  connection->begin_pending = FALSE;
}

/* --- connect ----------------------------------------------------------------------------------------------------- */

static void drop_notice(void *argument G_GNUC_UNUSED, const PGresult *result G_GNUC_UNUSED)
{
}

static void postgresql_disconnect(gpointer data)
{
  PostgresqlConnection *connection = data;
  g_hash_table_unref(connection->prepared);
  PQfinish(connection->handle);
  g_free(connection);
}

/* A stopped or cut-off owner must lose its row locks well before the lease and session time-outs pass. */
static const gchar SESSION_SETTINGS[] = "SET statement_timeout = '15s'; SET lock_timeout = '3s'; "
                                        "SET idle_in_transaction_session_timeout = '5s'; "
                                        "SET default_transaction_isolation = 'read committed'";

/* The caller's connection string comes after the defaults and before what is not his to choose. */
static PGconn *connect_by_string(const gchar *text)
{
  const char *const keywords[] = {
      "connect_timeout",      "tcp_user_timeout", "keepalives_idle",  "keepalives_interval", "keepalives_count",
      "target_session_attrs", "dbname",           "application_name", "client_encoding",     NULL};
  const char *const values[] = {"5", "10000", "10", "5", "3", "read-write", text, "kedge", "UTF8", NULL};
  return PQconnectdbParams(keywords, values, 1);
}

static gpointer postgresql_connect(const gchar *uri, GError **error)
{
  const gchar *rest = uri + strlen("postgresql:");
  PQconninfoOption *options = PQconninfoParse(g_str_has_prefix(rest, "//") ? uri : rest, NULL);
  if (options == NULL) {
    /* libpq's message may quote a piece of a password: it is not repeated. */
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID,
                "the store's PostgreSQL connection string cannot be read: after postgresql: give key=value pairs "
                "(host=… dbname=… user=…) or write postgresql://user@host/database");
    return NULL;
  }
  PQconninfoFree(options);
  PostgresqlConnection *connection = g_new0(PostgresqlConnection, 1);
  connection->prepared = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  connection->handle = connect_by_string(g_str_has_prefix(rest, "//") ? uri : rest);
  gboolean ok = PQstatus(connection->handle) == CONNECTION_OK;
  if (ok) {
    PQsetNoticeReceiver(connection->handle, drop_notice, NULL);
    PGresult *result = PQexec(connection->handle, SESSION_SETTINGS);
    ok = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
  }
  if (!ok || PQenterPipelineMode(connection->handle) != 1) {
    g_autofree gchar *reason = g_strdup(PQerrorMessage(connection->handle));
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE,
                "PostgreSQL: cannot connect: %s (check host, database, user and that the server is up)",
                g_strstrip(reason));
    g_clear_pointer(&connection, postgresql_disconnect);
  }
  return connection;
}

static gboolean postgresql_is_healthy(gpointer data)
{
  PostgresqlConnection *connection = data;
  if (PQstatus(connection->handle) != CONNECTION_OK) return FALSE;
  return connection->begin_pending || run_command(connection, "SELECT 1", NULL, NULL);
}

const RegistryBackend registry_backend_postgresql = {
    .name = "postgresql",
    .scheme = "postgresql:",
    .type_integer = "BIGINT",
    .type_text = "TEXT COLLATE \"C\"",
    .type_blob = "BYTEA",
    .table_options = "",
    .migration_lock = "SELECT pg_advisory_xact_lock(7234017283807667300)",
    .connect = postgresql_connect,
    .disconnect = postgresql_disconnect,
    .is_healthy = postgresql_is_healthy,
    .begin = postgresql_begin,
    .commit = postgresql_commit,
    .rollback = postgresql_rollback,
    .run = postgresql_run,
};
