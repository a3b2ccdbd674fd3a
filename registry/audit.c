#include "registry/audit.h"

#include "registry/audit_internal.h"
#include "registry/digest.h"
#include "registry/store_internal.h"

static gboolean append_locked(RegistryStore *store, const RegistryValue *record /* 5: actor … digest */, GError **error)
{
  /* Locks the head; its hash is still that of the last record. */
  g_autoptr(RegistryRows) head = registry_store_query(
      store, "UPDATE audit_head SET sequence = sequence + 1 WHERE id = 1 RETURNING sequence, hash", NULL, 0, error);
  if (head == NULL) return FALSE;
  if (registry_rows_get_count(head) == 0) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_CORRUPT, "the head of the audit chain is missing");
    return FALSE;
  }
  RegistryValue row[] = {REGISTRY_I(registry_rows_get_integer(head, 0, 0)),
                         REGISTRY_I(registry_store_now(store)),
                         record[0],
                         record[1],
                         record[2],
                         record[3],
                         record[4],
                         REGISTRY_N};
  g_autofree gchar *hash = registry_digest_chain(registry_rows_get_text(head, 0, 1), row, 7);
  row[7] = REGISTRY_T(hash);
  RegistryStatement statements[] = {
      {.sql = "INSERT INTO audit (sequence, at, actor, action, subject, detail, digest, hash)"
              " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
       .parameters = row,
       .n = G_N_ELEMENTS(row)},
      {.sql = "UPDATE audit_head SET hash = $1 WHERE id = 1", .parameters = &row[7], .n = 1},
  };
  return registry_store_execute_batch(store, statements, G_N_ELEMENTS(statements), error);
}

gboolean registry_audit_append_row(RegistryStore *store, const gchar *actor, const gchar *action, const gchar *subject,
                                   const gchar *detail, const gchar *row_digest, GError **error)
{
  if (!registry_check_text("actor", actor, error) || !registry_check_text("action", action, error) ||
      !registry_check_text("subject", subject, error))
    return FALSE;
  const RegistryValue record[] = {REGISTRY_T(actor), REGISTRY_T(action), REGISTRY_T(subject), REGISTRY_T(detail),
                                  REGISTRY_T(row_digest)};
  gboolean own;
  if (!registry_transaction_enter(store, &own, error)) return FALSE;
  return registry_transaction_leave(store, own, append_locked(store, record, error), error);
}

gboolean registry_audit_append(RegistryStore *store, const gchar *actor, const gchar *action, const gchar *subject,
                               const gchar *detail, GError **error)
{
  return registry_audit_append_row(store, actor, action, subject, detail, NULL, error);
}
