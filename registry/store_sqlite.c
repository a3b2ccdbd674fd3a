/* SQLite: one file on a local disk, one writer at a time. The only file that includes sqlite3.h. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "registry/store_internal.h"

#define BUSY_TIMEOUT_MS 5000

typedef struct {
  sqlite3 *handle;
  GHashTable *prepared; /* SQL text (owned) → sqlite3_stmt* (owned) */
} SqliteConnection;

/* --- errors ------------------------------------------------------------------------------------------------------ */

typedef struct {
  int code; /* primary or extended */
  RegistryError error;
  const gchar *advice;
} SqliteErrorCode;

static const SqliteErrorCode ERROR_CODES[] = {
    {SQLITE_CONSTRAINT_UNIQUE, REGISTRY_ERROR_CONFLICT, "the key exists"},
    {SQLITE_CONSTRAINT_PRIMARYKEY, REGISTRY_ERROR_CONFLICT, "the key exists"},
    {SQLITE_CONSTRAINT_ROWID, REGISTRY_ERROR_CONFLICT, "the key exists"},
    {SQLITE_CONSTRAINT, REGISTRY_ERROR_INVALID, "a value is outside what the table allows"},
    {SQLITE_TOOBIG, REGISTRY_ERROR_INVALID, "a value is too large"},
    {SQLITE_BUSY, REGISTRY_ERROR_UNAVAILABLE,
     "another process keeps the database locked: one daemon per SQLite file; use PostgreSQL for several"},
    {SQLITE_LOCKED, REGISTRY_ERROR_UNAVAILABLE, "the database is locked; it will be tried again"},
    {SQLITE_FULL, REGISTRY_ERROR_UNAVAILABLE, "the disk is full: free some space, work goes on by itself"},
    {SQLITE_IOERR, REGISTRY_ERROR_UNAVAILABLE, "reading or writing the disk failed: look at its health and free space"},
    {SQLITE_CANTOPEN, REGISTRY_ERROR_UNAVAILABLE,
     "the file cannot be opened: its folder must exist and be writable for this user, with space left"},
    {SQLITE_READONLY, REGISTRY_ERROR_UNAVAILABLE, "the file or its folder is read-only for this user"},
    {SQLITE_PERM, REGISTRY_ERROR_UNAVAILABLE, "the file or its folder is not accessible for this user"},
    {SQLITE_PROTOCOL, REGISTRY_ERROR_UNAVAILABLE, "the database's locks are contended; it will be tried again"},
    {SQLITE_NOMEM, REGISTRY_ERROR_UNAVAILABLE, "memory ran out"},
    {SQLITE_CORRUPT, REGISTRY_ERROR_CORRUPT, "the database file is damaged: restore it from a backup"},
    {SQLITE_NOTADB, REGISTRY_ERROR_CORRUPT, "the file is not an SQLite database"},
};

static const SqliteErrorCode *find_error_code(int extended)
{
  static const SqliteErrorCode other = {0, REGISTRY_ERROR_SQL, "unexpected answer of the database"};
  for (guint i = 0; i < G_N_ELEMENTS(ERROR_CODES); i++)
    if (ERROR_CODES[i].code == extended || ERROR_CODES[i].code == (extended & 0xff)) return &ERROR_CODES[i];
  return &other;
}

static gboolean fail(sqlite3 *handle, const gchar *doing, GError **error)
{
  const SqliteErrorCode *code = find_error_code(sqlite3_extended_errcode(handle));
  const char *file = sqlite3_db_filename(handle, "main");
  g_set_error(error, REGISTRY_ERROR, code->error, "SQLite %s: %s: %s (%s)", file != NULL ? file : "", doing,
              sqlite3_errmsg(handle), code->advice);
  return FALSE;
}

/* --- connect ----------------------------------------------------------------------------------------------------- */

/* Creates the file with mode 0600 by link(): no descriptor of the database is ever closed here, because that would
 * drop the locks which another connection of this process holds on it. */
static gboolean create_private_file(const gchar *path, GError **error)
{
  if (g_file_test(path, G_FILE_TEST_EXISTS)) return TRUE;
  g_autofree gchar *temporary = g_strconcat(path, ".new-XXXXXX", NULL);
  int descriptor = g_mkstemp_full(temporary, O_RDWR | O_CLOEXEC, 0600);
  gboolean ok = descriptor >= 0 && close(descriptor) == 0 && (link(temporary, path) == 0 || errno == EEXIST);
  int reason = errno;
  if (descriptor >= 0) g_unlink(temporary);
  if (!ok)
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE,
                "cannot create the store %s: %s; its folder must exist and be writable for this user", path,
                g_strerror(reason));
  return ok;
}

static gboolean execute_plain(sqlite3 *handle, const gchar *sql, GError **error)
{
  return sqlite3_exec(handle, sql, NULL, NULL, NULL) == SQLITE_OK || fail(handle, sql, error);
}

static gboolean set_wal(sqlite3 *handle, GError **error)
{
  sqlite3_stmt *statement = NULL;
  gboolean is_wal = FALSE;
  gboolean ok = sqlite3_prepare_v2(handle, "PRAGMA journal_mode = WAL", -1, &statement, NULL) == SQLITE_OK &&
                sqlite3_step(statement) == SQLITE_ROW;
  if (ok) is_wal = g_strcmp0((const gchar *)sqlite3_column_text(statement, 0), "wal") == 0;
  if (!ok) fail(handle, "switching to write-ahead logging", error);
  sqlite3_finalize(statement);
  if (ok && !is_wal)
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE,
                "SQLite %s: write-ahead logging is not possible there: put the store on a local disk",
                sqlite3_db_filename(handle, "main"));
  return ok && is_wal;
}

static void sqlite_disconnect(gpointer data)
{
  SqliteConnection *connection = data;
  g_hash_table_unref(connection->prepared);
  sqlite3_close(connection->handle);
  g_free(connection);
}

static void finalize_statement(gpointer statement)
{
  sqlite3_finalize(statement);
}

static gpointer sqlite_connect(const gchar *uri, GError **error)
{
  const gchar *path = uri + strlen("sqlite:");
  if (path[0] == '\0') {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "the store's URI names no file: sqlite:PATH");
    return NULL;
  }
  if (!create_private_file(path, error)) return NULL;
  SqliteConnection *connection = g_new0(SqliteConnection, 1);
  connection->prepared = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, finalize_statement);
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
  gboolean ok = sqlite3_open_v2(path, &connection->handle, flags, NULL) == SQLITE_OK;
  if (!ok) fail(connection->handle, "opening", error);
  ok = ok && sqlite3_busy_timeout(connection->handle, BUSY_TIMEOUT_MS) == SQLITE_OK &&
       set_wal(connection->handle, error) &&
       execute_plain(connection->handle,
                     "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF", error);
  if (!ok) g_clear_pointer(&connection, sqlite_disconnect);
  return connection;
}

static gboolean sqlite_is_healthy(gpointer data)
{
  SqliteConnection *connection = data;
  return sqlite3_exec(connection->handle, "SELECT count(*) FROM sqlite_master", NULL, NULL, NULL) == SQLITE_OK;
}

/* --- statements -------------------------------------------------------------------------------------------------- */

static sqlite3_stmt *get_prepared(SqliteConnection *connection, const gchar *sql, GError **error)
{
  sqlite3_stmt *statement = g_hash_table_lookup(connection->prepared, sql);
  if (statement != NULL) return statement;
  if (sqlite3_prepare_v3(connection->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK) {
    fail(connection->handle, sql, error);
    return NULL;
  }
  if (statement == NULL) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_SQL, "empty SQL statement");
    return NULL;
  }
  if (g_hash_table_size(connection->prepared) >= REGISTRY_PREPARED_MAXIMUM)
    g_hash_table_remove_all(connection->prepared);
  g_hash_table_insert(connection->prepared, g_strdup(sql), statement);
  return statement;
}

static int bind_value(sqlite3_stmt *statement, int index, const RegistryValue *value)
{
  switch (value->type) {
  case REGISTRY_NULL:
    return sqlite3_bind_null(statement, index);
  case REGISTRY_INTEGER:
    return sqlite3_bind_int64(statement, index, value->integer);
  case REGISTRY_REAL:
    return sqlite3_bind_double(statement, index, value->real);
  case REGISTRY_TEXT:
    return sqlite3_bind_text(statement, index, value->data, -1, SQLITE_STATIC);
  case REGISTRY_BLOB: /* a NULL pointer would bind NULL */
    return sqlite3_bind_blob64(statement, index, value->data != NULL ? value->data : "", value->length, SQLITE_STATIC);
  }
  return SQLITE_MISUSE;
}

/* "$2" is a name for SQLite, numbered by first appearance: the number is taken from the name. */
static gboolean bind_parameters(sqlite3 *handle, sqlite3_stmt *statement, const RegistryStatement *what, GError **error)
{
  int n = sqlite3_bind_parameter_count(statement);
  gboolean ok = (guint)n == what->n;
  for (int i = 1; ok && i <= n; i++) {
    const char *name = sqlite3_bind_parameter_name(statement, i);
    guint64 number = name != NULL && name[0] == '$' ? g_ascii_strtoull(name + 1, NULL, 10) : 0;
    ok = number >= 1 && number <= what->n;
    if (ok && bind_value(statement, i, &what->parameters[number - 1]) != SQLITE_OK)
      return fail(handle, what->sql, error);
  }
  if (!ok)
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_SQL, "%u values for the %d parameters of: %s", what->n, n,
                what->sql);
  return ok;
}

static void add_row(RegistryRows *rows, sqlite3_stmt *statement, int n_columns)
{
  for (int i = 0; i < n_columns; i++) {
    switch (sqlite3_column_type(statement, i)) {
    case SQLITE_INTEGER:
      registry_rows_add_integer(rows, sqlite3_column_int64(statement, i));
      break;
    case SQLITE_FLOAT:
      registry_rows_add_real(rows, sqlite3_column_double(statement, i));
      break;
    case SQLITE_TEXT: {
      const char *text = (const char *)sqlite3_column_text(statement, i);
      registry_rows_add_text(rows, text, (gsize)sqlite3_column_bytes(statement, i));
      break;
    }
    case SQLITE_BLOB: {
      const void *data = sqlite3_column_blob(statement, i);
      registry_rows_add_blob(rows, data, (gsize)sqlite3_column_bytes(statement, i));
      break;
    }
    default:
      registry_rows_add_null(rows);
    }
  }
}

static gboolean run_one(SqliteConnection *connection, RegistryStatement *what, RegistryRows **rows, GError **error)
{
  sqlite3 *handle = connection->handle;
  sqlite3_stmt *statement = get_prepared(connection, what->sql, error);
  if (statement == NULL) return FALSE;
  int n_columns = sqlite3_column_count(statement);
  g_autoptr(RegistryRows) found = registry_rows_new((guint)n_columns);
  sqlite3_int64 before = sqlite3_total_changes64(handle);
  gboolean ok = bind_parameters(handle, statement, what, error);
  if (ok) {
    int status;
    while ((status = sqlite3_step(statement)) == SQLITE_ROW)
      if (rows != NULL) add_row(found, statement, n_columns);
    if (status != SQLITE_DONE) ok = fail(handle, what->sql, error);
  }
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  if (!ok) return FALSE;
  what->changed = sqlite3_total_changes64(handle) - before;
  if (rows != NULL) *rows = g_steal_pointer(&found);
  return TRUE;
}

static gboolean sqlite_run(gpointer data, RegistryStatement *statements, guint n, RegistryRows **rows, GError **error)
{
  for (guint i = 0; i < n; i++)
    if (!run_one(data, &statements[i], i + 1 == n ? rows : NULL, error)) return FALSE;
  return TRUE;
}

/* --- transactions ------------------------------------------------------------------------------------------------ */

static gboolean run_text(SqliteConnection *connection, const gchar *sql, GError **error)
{
  RegistryStatement statement = {.sql = sql};
  return run_one(connection, &statement, NULL, error);
}

static gboolean sqlite_begin(gpointer data, GError **error)
{
  return run_text(data, "BEGIN IMMEDIATE", error);
}

static gboolean sqlite_commit(gpointer data, GError **error)
{
  SqliteConnection *connection = data;
  if (sqlite3_get_autocommit(connection->handle)) {
    /* SQLite rolls back by itself after some errors (disk full, I/O). */
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE, "SQLite rolled the transaction back");
    return FALSE;
  }
  g_autoptr(GError) reason = NULL;
  if (run_text(connection, "COMMIT", &reason)) return TRUE;
  int code = sqlite3_extended_errcode(connection->handle);
  if ((code & 0xff) == SQLITE_IOERR)
    /* The commit record may be in the log all the same (a failed fsync), to be found after a crash. */
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_UNKNOWN_COMMIT, "%s", reason->message);
  else
    g_propagate_error(error, g_steal_pointer(&reason));
  return FALSE;
}

static void sqlite_rollback(gpointer data)
{
  SqliteConnection *connection = data;
  if (!sqlite3_get_autocommit(connection->handle)) run_text(connection, "ROLLBACK", NULL);
}

static gboolean sqlite_check(gpointer data, GPtrArray *findings, GError **error)
{
  RegistryStatement statement = {.sql = "PRAGMA integrity_check(100)"};
  g_autoptr(RegistryRows) rows = NULL;
  g_autoptr(GError) reason = NULL;
  if (!run_one(data, &statement, &rows, &reason)) {
    if (!g_error_matches(reason, REGISTRY_ERROR, REGISTRY_ERROR_CORRUPT)) {
      g_propagate_error(error, g_steal_pointer(&reason));
      return FALSE;
    }
    g_ptr_array_add(findings, g_strdup(reason->message));
    return TRUE;
  }
  for (guint i = 0; i < registry_rows_get_count(rows); i++) {
    const gchar *line = registry_rows_get_text(rows, i, 0);
    if (g_strcmp0(line, "ok") != 0) g_ptr_array_add(findings, g_strdup_printf("SQLite integrity check: %s", line));
  }
  return TRUE;
}

const RegistryBackend registry_backend_sqlite = {
    .name = "sqlite",
    .scheme = "sqlite:",
    .type_integer = "INTEGER",
    .type_text = "TEXT",
    .type_blob = "BLOB",
    .table_options = " STRICT",
    .connect = sqlite_connect,
    .disconnect = sqlite_disconnect,
    .is_healthy = sqlite_is_healthy,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .run = sqlite_run,
    .check = sqlite_check,
};
