#include "registry/decision.h"
#include "registry/store_internal.h"

/* One round trip while the lease is held: the renewal both moves the counter and proves that the term is ours. */
static gint64 renew(RegistryStore *store, const gchar *name, const gchar *me, gint64 now,
                    RegistryLeaseObservation *observed, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(name), REGISTRY_T(me), REGISTRY_I(observed->term)};
  g_autoptr(RegistryRows) rows =
      registry_store_query(store,
                           "UPDATE lease SET counter = counter + 1 WHERE name = $1 AND owner = $2 AND term = $3"
                           " RETURNING term, counter",
                           parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return -1;
  if (registry_rows_get_count(rows) == 0) return 0;
  *observed =
      (RegistryLeaseObservation){registry_rows_get_integer(rows, 0, 0), registry_rows_get_integer(rows, 0, 1), now};
  return observed->term;
}

/* Takes the lease in the state that was seen; 0 when it moved meanwhile. */
static gint64 take_over(RegistryStore *store, const gchar *name, const gchar *me, gint64 term, gint64 counter,
                        gint64 now, RegistryLeaseObservation *observed, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(name), REGISTRY_T(me), REGISTRY_I(term), REGISTRY_I(counter)};
  g_autoptr(RegistryRows) rows =
      registry_store_query(store,
                           "UPDATE lease SET owner = $2, term = term + 1, counter = counter + 1"
                           " WHERE name = $1 AND term = $3 AND counter = $4 RETURNING term, counter",
                           parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return -1;
  if (registry_rows_get_count(rows) == 0) return 0;
  *observed =
      (RegistryLeaseObservation){registry_rows_get_integer(rows, 0, 0), registry_rows_get_integer(rows, 0, 1), now};
  return observed->term;
}

/* term, counter, owner. Read first: an INSERT would wait for the leader's open transaction, even for a stopped
 * leader's. */
static RegistryRows *look(RegistryStore *store, const gchar *name, GError **error)
{
  static const gchar select[] = "SELECT term, counter, owner FROM lease WHERE name = $1";
  const RegistryValue parameters[] = {REGISTRY_T(name)};
  g_autoptr(RegistryRows) rows = registry_store_query(store, select, parameters, 1, error);
  if (rows == NULL || registry_rows_get_count(rows) > 0) return g_steal_pointer(&rows);
  if (!registry_store_execute(
          store, "INSERT INTO lease (name, owner, term, counter) VALUES ($1, '', 0, 0) ON CONFLICT DO NOTHING",
          parameters, 1, NULL, error))
    return NULL;
  return registry_store_query(store, select, parameters, 1, error);
}

gint64 registry_lease_hold(RegistryStore *store, const gchar *name, const gchar *me, gint64 lease_us,
                           gint64 monotonic_now, RegistryLeaseObservation *observed, GError **error)
{
  if (!registry_check_name("lease", name, error) || !registry_check_text("the lease's owner", me, error)) return -1;
  gint64 term = observed->term > 0 ? renew(store, name, me, monotonic_now, observed, error) : 0;
  if (term != 0) return term;
  g_autoptr(RegistryRows) rows = look(store, name, error);
  if (rows == NULL) return -1;
  gint64 seen_term = registry_rows_get_integer(rows, 0, 0), seen_counter = registry_rows_get_integer(rows, 0, 1);
  const gchar *owner = registry_rows_get_text(rows, 0, 2);
  /* Free; or ours from an earlier life of this process (nothing observed yet): the new term fences that life. */
  gboolean vacant = owner == NULL || owner[0] == '\0' || (observed->term == 0 && g_strcmp0(owner, me) == 0);
  gboolean still = seen_term == observed->term && seen_counter == observed->counter;
  if (vacant || (still && monotonic_now - observed->seen_at >= lease_us))
    return take_over(store, name, me, seen_term, seen_counter, monotonic_now, observed, error);
  if (!still) *observed = (RegistryLeaseObservation){seen_term, seen_counter, monotonic_now};
  return 0;
}

gboolean registry_lease_release(RegistryStore *store, const gchar *name, const gchar *me, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(name), REGISTRY_T(me)};
  return registry_store_execute(store,
                                "UPDATE lease SET owner = '', counter = counter + 1 WHERE name = $1 AND owner = $2",
                                parameters, 2, NULL, error);
}

gboolean registry_lease_check(RegistryStore *store, const gchar *name, const gchar *me, gint64 term, GError **error)
{
  if (!registry_store_in_transaction(store)) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "the lease is checked inside a decision transaction");
    return FALSE;
  }
  const RegistryValue parameters[] = {REGISTRY_T(name), REGISTRY_T(me), REGISTRY_I(term)};
  gint64 changed;
  /* The update changes nothing but locks the row until the transaction ends: nobody takes the lease meanwhile. */
  if (!registry_store_execute(store, "UPDATE lease SET counter = counter WHERE name = $1 AND owner = $2 AND term = $3",
                              parameters, G_N_ELEMENTS(parameters), &changed, error))
    return FALSE;
  if (changed > 0) return TRUE;
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED,
              "lease %s: term %" G_GINT64_FORMAT " of %s is over: another leader decides now", name, term, me);
  return registry_transaction_leave(store, FALSE, FALSE, error); /* the decision must not be committed */
}
