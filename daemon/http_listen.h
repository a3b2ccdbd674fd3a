/* Listening sockets of the HTTP server. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* "127.0.0.1:9464", "[::1]:9464", "localhost:9464"; port 0: any free one. Refuses addresses that are not loopback.
 * Returns the socket, *host (new) as written; -1 with error. */
int http_listen_tcp(const gchar *address, gchar **host, GError **error);
/* Replaces a socket file that nobody listens on; mode 0660. -1 with error. */
int http_listen_unix(const gchar *path, GError **error);
guint http_listen_get_port(int fd);

G_END_DECLS
