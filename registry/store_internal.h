/* For the files of this folder only: the table that a database fills in, rows under construction, transactions. */
#pragma once

#include "registry/store.h"

G_BEGIN_DECLS

/* --- a database -------------------------------------------------------------------------------------------------- */

typedef struct {
  const gchar *name;   /* "sqlite", "postgresql" */
  const gchar *scheme; /* "sqlite:"; the URI begins with it */
  /* Words of CREATE TABLE in which the databases differ. */
  const gchar *type_integer, *type_text, *type_blob, *table_options;
  const gchar *migration_lock; /* statement that waits for the migration lock, or NULL: BEGIN already took it */
  gpointer (*connect)(const gchar *uri, GError **error);
  void (*disconnect)(gpointer connection);
  gboolean (*is_healthy)(gpointer connection); /* asks the database */
  gboolean (*begin)(gpointer connection, GError **error);
  gboolean (*commit)(gpointer connection, GError **error);
  void (*rollback)(gpointer connection);
  /* Runs the statements in order, sets `changed` of each; stops at the first error. rows: of the last statement, or
   * NULL when nobody wants them. */
  gboolean (*run)(gpointer connection, RegistryStatement *statements, guint n, RegistryRows **rows, GError **error);
  /* The database's own consistency check; lines are appended to findings. NULL: none. */
  gboolean (*check)(gpointer connection, GPtrArray *findings, GError **error);
} RegistryBackend;

extern const RegistryBackend registry_backend_sqlite, registry_backend_postgresql;
extern const RegistryBackend *const registry_backends[]; /* NULL-terminated; adding one is a file and a line */

const RegistryBackend *registry_store_get_backend_table(const RegistryStore *store);
gboolean registry_store_check_integrity(RegistryStore *store, GPtrArray *findings, GError **error);
/* Forward to the newest schema, under a lock; SCHEMA when the store is newer. */
gboolean registry_migrate(RegistryStore *store, GError **error);

/* Statements kept prepared per connection; beyond that the cache starts again (callers may build SQL texts). */
#define REGISTRY_PREPARED_MAXIMUM 256
#define REGISTRY_BLOB_MAXIMUM ((gsize)512 << 20) /* bytes; below the limits of both databases */

/* --- rows -------------------------------------------------------------------------------------------------------- */

RegistryRows *registry_rows_new(guint n_columns);
void registry_rows_add_null(RegistryRows *rows);
void registry_rows_add_integer(RegistryRows *rows, gint64 value);
void registry_rows_add_real(RegistryRows *rows, double value);
void registry_rows_add_text(RegistryRows *rows, const gchar *text, gsize length); /* copied */
void registry_rows_add_blob(RegistryRows *rows, const void *data, gsize length);  /* copied */
guint registry_rows_get_n_columns(const RegistryRows *rows);
RegistryValue registry_rows_get_value(const RegistryRows *rows, guint row, guint column); /* borrows from rows */
gchar *registry_rows_copy_text(const RegistryRows *rows, guint row, guint column);        /* new, or NULL for NULL */

/* --- transactions of domain functions ---------------------------------------------------------------------------- */

/* Joins the open transaction (*own FALSE) or begins one. */
gboolean registry_transaction_enter(RegistryStore *store, gboolean *own, GError **error);
/* Commits or rolls back what enter began; a joined transaction is doomed when ok is FALSE. Returns success of both. */
gboolean registry_transaction_leave(RegistryStore *store, gboolean own, gboolean ok, GError **error);

/* --- small things used all over ---------------------------------------------------------------------------------- */

RegistryValue registry_value_bytes(GBytes *bytes); /* borrows; NULL gives NULL */
gint64 registry_limit(guint limit);                /* 0 means all */
/* One row, one column; `missing` when there is no row or it is NULL. */
gboolean registry_query_integer(RegistryStore *store, const gchar *sql, const RegistryValue *parameters, guint n,
                                gint64 missing, gint64 *value, GError **error);
gboolean registry_check_name(const gchar *what, const gchar *name, GError **error); /* INVALID */
gboolean registry_check_text(const gchar *what, const gchar *text, GError **error); /* not NULL, not empty: INVALID */

G_END_DECLS
