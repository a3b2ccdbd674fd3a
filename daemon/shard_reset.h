/* An operator's reset of a stored shard: where its traffic (and labels) begin anew. Fences the owner, which then takes
 * the shard up again from there. */
#pragma once

#include "registry/store.h"

G_BEGIN_DECLS

/* traffic, labels: an offset, SOURCE_EARLIEST, SOURCE_LATEST (resolved by the consumer), or SHARD_KEEP. Panes and
 * labelled log go on with their numbers; what the state knows of the old records (digests, cluster id) is forgotten.
 * Written to the audit as "shard.reset". NOT_FOUND: the partition has no state. */
gboolean shard_reset_stored(RegistryStore *store, const gchar *model, gint32 partition, gint64 traffic, gint64 labels,
                            const gchar *actor, GError **error);

G_END_DECLS
