/* Waiting until everything up to given offsets is consumed, decided and carried out: what `kedge wait` and the
 * simulator stand on. Reads the store only. */
#pragma once

#include "registry/store.h"

G_BEGIN_DECLS

typedef struct {
  gint32 partition;
  gint64 next; /* first offset that need not have been consumed */
} WaitOffset;

typedef struct {
  const gchar *model;
  const WaitOffset *traffic, *labels; /* borrowed */
  guint n_traffic, n_labels;
} WaitTarget;

/* One look. TRUE when the target is reached; FALSE without error when not, *missing (may be NULL) then says in a new
 * text what is awaited. Reached means:
 *   each traffic partition is checkpointed up to `next` (registry_shard_list, `consumed`);
 *   each label partition is, by every shard that follows it, and at least one does;
 *   the leader has seen all of that and is settled (daemon/leader.h);
 *   no job of the model is queued or running; no rollout of the model is due. */
gboolean wait_check(RegistryStore *store, const WaitTarget *target, gchar **missing, GError **error);

/* Looks every poll_ms until reached. FALSE: DAEMON_ERROR_TIMEOUT with what is missing, or the store's error; a store
 * that is UNAVAILABLE is tried again until the time-out. timeout_us < 0: no time-out. */
gboolean wait_for(RegistryStore *store, const WaitTarget *target, gint64 timeout_us, guint poll_ms, GError **error);

/* "0:4100,1:250" → array of WaitOffset (new); NULL with error. "" gives an empty array. */
GArray *wait_parse_offsets(const gchar *text, GError **error);

G_END_DECLS
