/* Walks all that must not change. Nothing is locked: a daemon may go on writing, since rows are read before the audit
 * records that must cover them, and records that came after the walk began excuse what they changed. */
#include <stdarg.h>
#include <string.h>

#include "registry/audit_internal.h"
#include "registry/digest.h"
#include "registry/store_internal.h"
#include "registry/verify_internal.h"

#define PAGE_ROWS 32 /* rows may carry large blobs */
#define AUDIT_PAGE 1000

void verify_report(Verify *verify, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_ptr_array_add(verify->findings, g_strdup_vprintf(format, arguments));
  va_end(arguments);
}

static void record_free(gpointer data)
{
  VerifyRecord *record = data;
  g_free(record->digest);
  g_free(record);
}

/* --- the chain --------------------------------------------------------------------------------------------------- */

static void note_row(Verify *verify, const RegistryRows *rows, guint i)
{
  const gchar *action = registry_rows_get_text(rows, i, 3), *digest = registry_rows_get_text(rows, i, 6);
  if (digest == NULL || action == NULL) return;
  gchar *key = g_strdup_printf("%.*s:%s", (int)strcspn(action, "."), action, registry_rows_get_text(rows, i, 4));
  VerifyRecord *record = g_new0(VerifyRecord, 1);
  record->sequence = registry_rows_get_integer(rows, i, 0);
  record->digest = g_strdup(digest);
  g_hash_table_replace(verify->audited, key, record);
}

static void check_link(Verify *verify, const RegistryRows *rows, guint i, gint64 *last, gchar **hash)
{
  gint64 sequence = registry_rows_get_integer(rows, i, 0);
  const gchar *stored = registry_rows_get_text(rows, i, 7);
  if (sequence != *last + 1)
    verify_report(verify, "audit: records %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT " are missing", *last + 1,
                  sequence - 1);
  RegistryValue record[7];
  for (guint k = 0; k < G_N_ELEMENTS(record); k++) record[k] = registry_rows_get_value(rows, i, k);
  g_autofree gchar *computed = registry_digest_chain(*hash, record, G_N_ELEMENTS(record));
  if (g_strcmp0(computed, stored) != 0)
    verify_report(verify, "audit: record %" G_GINT64_FORMAT " was changed, or one before it removed or moved",
                  sequence);
  verify->checked++;
  *last = sequence;
  g_free(*hash);
  *hash = g_strdup(stored != NULL ? stored : "");
}

static RegistryRows *read_audit_page(Verify *verify, gint64 after, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_I(after), REGISTRY_I(AUDIT_PAGE)};
  return registry_store_query(verify->store,
                              "SELECT sequence, at, actor, action, subject, detail, digest, hash FROM audit"
                              " WHERE sequence > $1 ORDER BY sequence LIMIT $2",
                              parameters, G_N_ELEMENTS(parameters), error);
}

/* The head is read before and after: what lies between was appended meanwhile. */
static RegistryRows *read_head(Verify *verify, GError **error)
{
  return registry_store_query(verify->store, "SELECT sequence, hash FROM audit_head WHERE id = 1", NULL, 0, error);
}

static gboolean check_chain(Verify *verify, const RegistryRows *head, GError **error)
{
  gint64 last = 0;
  g_autofree gchar *hash = g_strdup(""), *at_head = NULL;
  for (guint n = AUDIT_PAGE; n == AUDIT_PAGE;) {
    g_autoptr(RegistryRows) rows = read_audit_page(verify, last, error);
    if (rows == NULL) return FALSE;
    n = registry_rows_get_count(rows);
    for (guint i = 0; i < n; i++) {
      check_link(verify, rows, i, &last, &hash);
      note_row(verify, rows, i);
      if (last == verify->audit_head) at_head = g_strdup(hash);
    }
  }
  if (registry_rows_get_count(head) == 0)
    verify_report(verify, "audit: the head of the chain is missing");
  else if (last < verify->audit_head)
    verify_report(verify, "audit: cut off after record %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT, last,
                  verify->audit_head);
  else if (g_strcmp0(verify->audit_head == 0 ? "" : at_head, registry_rows_get_text(head, 0, 1)) != 0)
    verify_report(verify, "audit: the chain does not end in its head");
  return TRUE;
}

/* --- rows -------------------------------------------------------------------------------------------------------- */

/* Rows of audited tables are collected first ("table:subject" → digest) and compared when the chain was read. */
typedef struct {
  Verify *verify;
  const VerifyTable *table;
  GHashTable *computed;
  RegistryValue keys[3];
} Walk;

static void check_digest(Walk *walk, const RegistryRows *rows, guint i, guint n_columns)
{
  const gchar *stored = registry_rows_get_text(rows, i, 2), *subject = registry_rows_get_text(rows, i, 3);
  gchar *computed = registry_digest_row(rows, i, VERIFY_CONTENT, n_columns - VERIFY_CONTENT);
  walk->verify->checked++;
  if (registry_rows_is_null(rows, i, 2)) {
    g_hash_table_insert(walk->computed, g_strdup_printf("%s:%s", walk->table->table, subject), computed);
    return;
  }
  if (strcmp(stored, computed) != 0)
    verify_report(walk->verify, "%s %s: its content does not match its digest: it was changed", walk->table->table,
                  subject);
  g_free(computed);
}

static gboolean check_start(Walk *walk, gint64 first, GError **error)
{
  gint64 start;
  if (!registry_query_integer(walk->verify->store, walk->table->start, walk->keys, walk->table->n_keys, 0, &start,
                              error))
    return FALSE;
  if (first > start)
    verify_report(walk->verify, "%s of %s: rows %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT " are missing",
                  walk->table->table, (const gchar *)walk->keys[0].data, start, first - 1);
  return TRUE;
}

static gboolean check_number(Walk *walk, const RegistryRows *rows, guint i, gint64 *expected, gboolean is_first,
                             GError **error)
{
  const VerifyTable *table = walk->table;
  gint64 number = registry_rows_get_integer(rows, i, 0), next = registry_rows_get_integer(rows, i, 1);
  if (is_first && table->start != NULL) {
    if (!check_start(walk, number, error)) return FALSE;
  } else if (table->first >= 0 && number != *expected)
    verify_report(walk->verify, "%s %s: the one before it is missing (expected number %" G_GINT64_FORMAT ")",
                  table->table, registry_rows_get_text(rows, i, 3), *expected);
  *expected = MAX(next, number + 1);
  return TRUE;
}

static gboolean walk_group(Walk *walk, GError **error)
{
  const VerifyTable *table = walk->table;
  guint n_keys = table->n_keys;
  gint64 expected = MAX(table->first, 0), from = table->first >= 0 ? G_MININT64 : 0;
  gboolean is_first = TRUE;
  for (guint n = PAGE_ROWS; n == PAGE_ROWS;) {
    RegistryValue parameters[5] = {walk->keys[0], walk->keys[1], walk->keys[2]};
    parameters[n_keys] = REGISTRY_I(from);
    parameters[n_keys + 1] = REGISTRY_I(PAGE_ROWS);
    g_autoptr(RegistryRows) rows =
        registry_store_query(walk->verify->store, table->rows, parameters, n_keys + 2, error);
    if (rows == NULL) return FALSE;
    n = registry_rows_get_count(rows);
    for (guint i = 0; i < n; i++, is_first = FALSE) {
      check_digest(walk, rows, i, registry_rows_get_n_columns(rows));
      if (!check_number(walk, rows, i, &expected, is_first, error) ||
          (table->check != NULL && !table->check(walk->verify, rows, i, error)))
        return FALSE;
      from = registry_rows_get_integer(rows, i, 0) + 1;
    }
  }
  return TRUE;
}

static gboolean walk_groups(Walk *walk, GError **error)
{
  g_autoptr(RegistryRows) groups = registry_store_query(walk->verify->store, walk->table->groups, NULL, 0, error);
  if (groups == NULL) return FALSE;
  for (guint i = 0; i < registry_rows_get_count(groups); i++) {
    for (guint k = 0; k < walk->table->n_keys; k++) walk->keys[k] = registry_rows_get_value(groups, i, k);
    if (!walk_group(walk, error)) return FALSE;
  }
  return TRUE;
}

static gboolean walk_tables(Verify *verify, GHashTable *computed, GError **error)
{
  for (const VerifyTable *table = verify_tables; table->table != NULL; table++) {
    Walk walk = {.verify = verify, .table = table, .computed = computed};
    g_autoptr(GError) reason = NULL;
    if (walk_groups(&walk, &reason)) continue;
    if (!g_error_matches(reason, REGISTRY_ERROR, REGISTRY_ERROR_CORRUPT)) {
      g_propagate_error(error, g_steal_pointer(&reason));
      return FALSE;
    }
    verify_report(verify, "%s: %s", table->table, reason->message);
  }
  return TRUE;
}

/* --- rows against the chain -------------------------------------------------------------------------------------- */

static void compare_rows(Verify *verify, GHashTable *computed)
{
  GHashTableIter iterator;
  gpointer key, value;
  g_hash_table_iter_init(&iterator, computed);
  while (g_hash_table_iter_next(&iterator, &key, &value)) {
    VerifyRecord *record = g_hash_table_lookup(verify->audited, key);
    if (record != NULL) record->seen = TRUE;
    if (record == NULL)
      verify_report(verify, "%s: no audit record tells of it", (const gchar *)key);
    else if (strcmp(record->digest, value) != 0 && record->sequence <= verify->audit_head)
      verify_report(verify, "%s: its content is not what audit record %" G_GINT64_FORMAT " tells: it was changed",
                    (const gchar *)key, record->sequence);
  }
  g_hash_table_iter_init(&iterator, verify->audited);
  while (g_hash_table_iter_next(&iterator, &key, &value)) {
    const VerifyRecord *record = value;
    if (!record->seen && record->sequence <= verify->audit_head && strcmp(record->digest, REGISTRY_AUDIT_ROW_GONE) != 0)
      verify_report(verify, "%s: audit record %" G_GINT64_FORMAT " tells of it, but it is missing", (const gchar *)key,
                    record->sequence);
  }
}

/* The current aliases must be the last of their histories (one statement: one snapshot). */
static gboolean check_aliases(Verify *verify, GError **error)
{
  g_autoptr(RegistryRows) rows = registry_store_query(
      verify->store,
      "SELECT h.model, h.alias FROM alias_history h LEFT JOIN alias a ON a.model = h.model AND a.alias = h.alias"
      " WHERE h.revision = (SELECT MAX(l.revision) FROM alias_history l WHERE l.model = h.model AND l.alias = h.alias)"
      " AND COALESCE(a.version, 0) <> h.version"
      " UNION ALL SELECT a.model, a.alias FROM alias a"
      " WHERE NOT EXISTS (SELECT 1 FROM alias_history h WHERE h.model = a.model AND h.alias = a.alias)",
      NULL, 0, error);
  if (rows == NULL) return FALSE;
  for (guint i = 0; i < registry_rows_get_count(rows); i++)
    verify_report(verify, "alias:%s@%s: it does not point where its history ends", registry_rows_get_text(rows, i, 0),
                  registry_rows_get_text(rows, i, 1));
  return TRUE;
}

gboolean registry_verify(RegistryStore *store, RegistryArtifacts *artifacts, GPtrArray *findings, guint64 *checked,
                         GError **error)
{
  g_autoptr(GHashTable) audited = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, record_free);
  g_autoptr(GHashTable) computed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  g_autoptr(GPtrArray) found = g_ptr_array_new(); /* handed over only when the walk succeeds */
  Verify verify = {.store = store, .artifacts = artifacts, .findings = found, .audited = audited};
  g_autoptr(RegistryRows) head = read_head(&verify, error);
  gboolean ok = head != NULL;
  if (ok) verify.audit_head = registry_rows_get_integer(head, 0, 0);
  ok = ok && registry_store_check_integrity(store, found, error) && walk_tables(&verify, computed, error) &&
       check_chain(&verify, head, error) && check_aliases(&verify, error);
  if (ok) compare_rows(&verify, computed);
  for (guint i = 0; i < found->len; i++) {
    if (ok)
      g_ptr_array_add(findings, found->pdata[i]);
    else
      g_free(found->pdata[i]);
  }
  if (ok && checked != NULL) *checked = verify.checked;
  return ok;
}
