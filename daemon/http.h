/* The HTTP server of kedged: /metrics, /healthz, /readyz, the dashboard and the read-only API under /api/v1/, on a
 * loopback port and a Unix socket. One thread, with its own store connection. Routes: daemon/http_routes.c. */
#pragma once

#include "daemon/health.h"
#include "daemon/metrics.h"
#include "daemon/settings.h"

G_BEGIN_DECLS

typedef struct _HttpServer HttpServer;
/* Binds; refuses an address that is not loopback (there is no authentication yet). Borrows health and metrics,
 * references settings. Either address may be "". */
HttpServer *http_server_new(Settings *settings, Health *health, Metrics *metrics, GError **error);
/* The port in use (of http.listen with port 0 too); 0: no TCP. */
guint http_server_get_port(const HttpServer *server);
gboolean http_server_start(HttpServer *server, GError **error);
void http_server_stop(HttpServer *server); /* answers what it has begun, joins the thread */
void http_server_free(HttpServer *server);

G_END_DECLS
