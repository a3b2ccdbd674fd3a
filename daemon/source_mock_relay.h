/* A TCP relay: the embedded broker listens on a port of the system's choice; this gives it a fixed one to bootstrap
 * from (after that clients talk to the broker's own port, which its metadata names). Runs in the default main context.
 */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

typedef struct _SourceMockRelay SourceMockRelay;
/* listen: "127.0.0.1:9092", loopback only. target: "HOST:PORT". */
SourceMockRelay *source_mock_relay_new(const gchar *listen, const gchar *target, GError **error);
void source_mock_relay_free(SourceMockRelay *relay);

G_END_DECLS
