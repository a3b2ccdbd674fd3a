/* The store: SQLite or PostgreSQL behind one interface, the same SQL text for both ($1 parameters, ON CONFLICT,
 * RETURNING). A connection belongs to one thread. Domain functions of this folder take a store and work inside the
 * caller's transaction when one is open, else in one of their own. Inside the caller's transaction a failed write
 * dooms it: every later statement and the commit fail, the caller must roll back (on both databases alike).
 *
 * Isolation: SQLite writers hold the one write lock from BEGIN (IMMEDIATE). PostgreSQL runs READ COMMITTED; whatever
 * is compared and set, fenced or numbered is locked first by an UPDATE of its row, and each statement after that sees
 * what was committed before the lock was given. No function relies on a snapshot.
 *
 * Text must be valid UTF-8 without NUL (INVALID otherwise). SQL is written for both: columns of type BIGINT, a cast
 * where PostgreSQL could not tell a parameter's type (CAST($1 AS TEXT) IS NULL), no FOR UPDATE, every parameter used.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define REGISTRY_ERROR (registry_error_quark())
GQuark registry_error_quark(void);
typedef enum {
  REGISTRY_ERROR_UNAVAILABLE,    /* cannot connect, connection lost, disk full, busy: try again later */
  REGISTRY_ERROR_UNKNOWN_COMMIT, /* the connection broke during COMMIT: read back before trying again */
  REGISTRY_ERROR_CONFLICT,       /* compare-and-set lost, unique key exists */
  REGISTRY_ERROR_FENCED,         /* epoch, term or token is no longer ours */
  REGISTRY_ERROR_NOT_FOUND,
  REGISTRY_ERROR_INVALID, /* an argument outside its documented range */
  REGISTRY_ERROR_CORRUPT, /* bytes do not match their digest, chain is broken */
  REGISTRY_ERROR_SCHEMA,  /* the store's schema is newer than this program */
  REGISTRY_ERROR_SQL      /* anything else the database said */
} RegistryError;

typedef struct _RegistryStore RegistryStore;
typedef struct _RegistryRows RegistryRows;

typedef enum { REGISTRY_NULL, REGISTRY_INTEGER, REGISTRY_REAL, REGISTRY_TEXT, REGISTRY_BLOB } RegistryValueType;
typedef struct {
  RegistryValueType type;
  gint64 integer;
  double real;
  const void *data; /* TEXT (NUL-terminated) or BLOB; borrowed */
  gsize length;     /* of BLOB */
} RegistryValue;
#define REGISTRY_I(x) ((RegistryValue){.type = REGISTRY_INTEGER, .integer = (x)})
#define REGISTRY_R(x) ((RegistryValue){.type = REGISTRY_REAL, .real = (x)})
#define REGISTRY_T(x) ((RegistryValue){.type = (x) ? REGISTRY_TEXT : REGISTRY_NULL, .data = (x)})
#define REGISTRY_B(p, n) ((RegistryValue){.type = REGISTRY_BLOB, .data = (p), .length = (n)})
#define REGISTRY_N ((RegistryValue){.type = REGISTRY_NULL})

/* uri: "sqlite:PATH" or "postgresql://…" / "postgresql:…" (libpq connection string after the scheme).
 * Opens, checks the schema and migrates it forward under a lock. */
RegistryStore *registry_store_open(const gchar *uri, GError **error);
void registry_store_close(RegistryStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RegistryStore, registry_store_close)
const gchar *registry_store_get_backend(const RegistryStore *store); /* "sqlite" or "postgresql" */
/* Reconnects after UNAVAILABLE; no-op when healthy. */
gboolean registry_store_reconnect(RegistryStore *store, GError **error);

gboolean registry_store_begin(RegistryStore *store, GError **error);
gboolean registry_store_commit(RegistryStore *store, GError **error);
void registry_store_rollback(RegistryStore *store);
gboolean registry_store_in_transaction(const RegistryStore *store);

/* changed may be NULL. */
gboolean registry_store_execute(RegistryStore *store, const gchar *sql, const RegistryValue *parameters, guint n,
                                gint64 *changed, GError **error);
RegistryRows *registry_store_query(RegistryStore *store, const gchar *sql, const RegistryValue *parameters, guint n,
                                   GError **error);
guint registry_rows_get_count(const RegistryRows *rows);
gboolean registry_rows_is_null(const RegistryRows *rows, guint row, guint column);
gint64 registry_rows_get_integer(const RegistryRows *rows, guint row, guint column);
double registry_rows_get_real(const RegistryRows *rows, guint row, guint column);
const gchar *registry_rows_get_text(const RegistryRows *rows, guint row, guint column); /* borrowed */
GBytes *registry_rows_get_blob(const RegistryRows *rows, guint row, guint column);      /* new reference */
void registry_rows_free(RegistryRows *rows);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RegistryRows, registry_rows_free)

/* Several statements in order, in the caller's transaction or in one of their own; one round trip on PostgreSQL.
 * Each statement's `changed` is set on success (0 for a SELECT, whose rows are dropped). */
typedef struct {
  const gchar *sql;
  const RegistryValue *parameters;
  guint n;
  gint64 changed;
} RegistryStatement;
gboolean registry_store_execute_batch(RegistryStore *store, RegistryStatement *statements, guint n, GError **error);

/* The wall clock behind created_at, alias times and the like, in microseconds; default g_get_real_time. */
typedef gint64 (*RegistryClock)(gpointer user_data);
void registry_store_set_clock(RegistryStore *store, RegistryClock clock, gpointer user_data);
gint64 registry_store_now(const RegistryStore *store);

G_END_DECLS
