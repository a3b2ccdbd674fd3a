/* The wire: sockets, libmicrohttpd, the server's thread. Everything about requests is decided in http_dispatch. */
#include "daemon/http.h"

#include <gio/gio.h>
#include <microhttpd.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/http_internal.h"
#include "daemon/http_listen.h"

enum { MAX_CONNECTIONS = 128, IDLE_TIMEOUT_S = 15, BEAT_MS = 1000, DRAIN_MS = 2000 };

typedef struct {
  struct MHD_Daemon *daemon;
  int fd; /* listening; -1: none. libmicrohttpd closes it with the daemon */
  gboolean is_unix;
  HttpServer *server; /* borrowed */
} Listener;

struct _HttpServer {
  Settings *settings;
  gchar *host; /* of http.listen; NULL: none */
  HttpContext context;
  Listener listeners[2]; /* TCP, Unix */
  int stop_fd;           /* eventfd */
  GThread *thread;
};

/* Per request: what libmicrohttpd shows only before it decodes. */
typedef struct {
  gchar *target;
} Exchange;

/* --- one request ----------------------------------------------------------------------------------------------- */

static void *begin_exchange(void *data, const char *target, struct MHD_Connection *connection)
{
  (void)data;
  (void)connection;
  Exchange *exchange = g_new0(Exchange, 1);
  exchange->target = g_strdup(target);
  return exchange;
}

static void end_exchange(void *data, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
  (void)data;
  (void)connection;
  (void)code;
  Exchange *exchange = *state;
  if (exchange == NULL) return;
  g_free(exchange->target);
  g_free(exchange);
  *state = NULL;
}

static enum MHD_Result collect(void *data, enum MHD_ValueKind kind, const char *name, const char *value)
{
  (void)kind;
  HttpField field = {name, value != NULL ? value : ""};
  g_array_append_val((GArray *)data, field);
  return MHD_YES;
}

/* On the Unix socket the kernel says who asks (SO_PEERCRED): root and our own user may do everything. */
static HttpRole get_role(const Listener *listener, struct MHD_Connection *connection)
{
  if (!listener->is_unix) return HTTP_ROLE_VIEWER; /* loopback only, see http_listen_tcp */
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  struct ucred peer = {0};
  socklen_t length = sizeof peer;
  if (info == NULL || getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return HTTP_ROLE_NONE;
  gchar uid[16];
  g_snprintf(uid, sizeof uid, "%u", (guint)peer.uid);
  g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_DEBUG, "HTTP_PEER_UID", uid, "MESSAGE",
                   "request on the Unix socket from uid %s, pid %d", uid, (int)peer.pid);
  return peer.uid == 0 || peer.uid == geteuid() ? HTTP_ROLE_ADMIN : HTTP_ROLE_VIEWER;
}

static void add_headers(struct MHD_Response *answer, const HttpResponse *response)
{
  static const gchar *const fields[][2] = {
      {"X-Content-Type-Options", "nosniff"},
      {"Content-Security-Policy",
       "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"},
      {"Cross-Origin-Resource-Policy", "same-origin"},
      {"Referrer-Policy", "no-referrer"},
      {"X-Frame-Options", "DENY"},
      {"Cache-Control", "no-store"}};
  for (guint i = 0; i < G_N_ELEMENTS(fields); i++) MHD_add_response_header(answer, fields[i][0], fields[i][1]);
  MHD_add_response_header(answer, "Content-Type", response->content_type);
  if (response->status == 405) MHD_add_response_header(answer, "Allow", "GET, HEAD");
  /* After a refusal nothing more is read from the connection: what follows may be the rest of an attack. */
  if (response->status >= 400 && response->status != 404 && response->status != 503)
    MHD_add_response_header(answer, "Connection", "close");
}

static enum MHD_Result send_response(HttpServer *server, struct MHD_Connection *connection, HttpResponse *response)
{
  gsize length = 0;
  gconstpointer bytes = response->body != NULL ? g_bytes_get_data(response->body, &length) : "";
  struct MHD_Response *answer = MHD_create_response_from_buffer(length, (void *)bytes, MHD_RESPMEM_MUST_COPY);
  if (answer == NULL) return MHD_NO;
  add_headers(answer, response);
  enum MHD_Result queued = MHD_queue_response(connection, response->status, answer);
  MHD_destroy_response(answer);
  gchar status[32];
  g_snprintf(status, sizeof status, "status=\"%u\"", response->status);
  metrics_add(server->context.metrics, "kedge_http_requests_total", status, 1);
  return queued;
}

static enum MHD_Result handle(void *data, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_size, void **state)
{
  (void)url; /* already decoded: the target as sent counts */
  (void)upload;
  Listener *listener = data;
  Exchange *exchange = *state;
  if (*upload_size > 0) return MHD_NO;
  if (exchange == NULL) return MHD_NO;
  g_autoptr(GArray) headers = g_array_new(FALSE, FALSE, sizeof(HttpField));
  g_autoptr(GArray) query = g_array_new(FALSE, FALSE, sizeof(HttpField));
  MHD_get_connection_values(connection, MHD_HEADER_KIND, collect, headers);
  MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, collect, query);
  HttpRequest request = {.method = method,
                         .target = exchange->target,
                         .version = version,
                         .headers = headers,
                         .query = query,
                         .role = get_role(listener, connection)};
  HttpResponse response = {0};
  http_dispatch(&listener->server->context, &request, listener->server->host, &response);
  enum MHD_Result result = send_response(listener->server, connection, &response);
  g_clear_pointer(&response.body, g_bytes_unref);
  return result;
}

/* --- the server ------------------------------------------------------------------------------------------------ */

static gboolean start_listener(Listener *listener, GError **error)
{
  if (listener->fd < 0) return TRUE;
  /* Not strict: http_guard_check demands Host itself. libmicrohttpd 0.9.75 writes the head of that refusal twice. */
  listener->daemon = MHD_start_daemon(
      MHD_USE_EPOLL, 0, NULL, NULL, handle, listener, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)listener->fd,
      MHD_OPTION_URI_LOG_CALLBACK, begin_exchange, NULL, MHD_OPTION_NOTIFY_COMPLETED, end_exchange, NULL,
      MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_MAX_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, -1, MHD_OPTION_END);
  if (listener->daemon != NULL) return TRUE;
  g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_FAILED, "http: libmicrohttpd cannot start on the socket");
  return FALSE;
}

HttpServer *http_server_new(Settings *settings, Health *health, Metrics *metrics, GError **error)
{
  HttpServer *server = g_new0(HttpServer, 1);
  server->settings = settings_ref(settings);
  server->context = (HttpContext){.store_uri = settings->store, .health = health, .metrics = metrics};
  server->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  server->listeners[0] = (Listener){.fd = -1, .server = server};
  server->listeners[1] = (Listener){.fd = -1, .is_unix = TRUE, .server = server};
  const gchar *listen_on = settings->http.listen, *path = settings->http.socket;
  gboolean bound = TRUE;
  if (listen_on != NULL && *listen_on != '\0')
    bound = (server->listeners[0].fd = http_listen_tcp(listen_on, &server->host, error)) >= 0;
  if (bound && path != NULL && *path != '\0') bound = (server->listeners[1].fd = http_listen_unix(path, error)) >= 0;
  if (!bound || !start_listener(&server->listeners[0], error) || !start_listener(&server->listeners[1], error)) {
    http_server_free(server);
    return NULL;
  }
  return server;
}

guint http_server_get_port(const HttpServer *server)
{
  return server->listeners[0].fd >= 0 ? http_listen_get_port(server->listeners[0].fd) : 0;
}

static int wait_ms(const HttpServer *server)
{
  int wait = BEAT_MS;
  for (guint i = 0; i < G_N_ELEMENTS(server->listeners); i++) {
    MHD_UNSIGNED_LONG_LONG timeout = 0;
    struct MHD_Daemon *daemon = server->listeners[i].daemon;
    if (daemon != NULL && MHD_get_timeout(daemon, &timeout) == MHD_YES && timeout < (guint)wait) wait = (int)timeout;
  }
  return wait;
}

static gboolean is_busy(const HttpServer *server)
{
  for (guint i = 0; i < G_N_ELEMENTS(server->listeners); i++) {
    if (server->listeners[i].daemon == NULL) continue;
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->listeners[i].daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    if (info != NULL && info->num_connections > 0) return TRUE;
  }
  return FALSE;
}

static void turn(HttpServer *server, int timeout_ms)
{
  struct pollfd fds[3] = {{.fd = server->stop_fd, .events = POLLIN}};
  nfds_t n = 1;
  for (guint i = 0; i < G_N_ELEMENTS(server->listeners); i++) {
    if (server->listeners[i].daemon == NULL) continue;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->listeners[i].daemon, MHD_DAEMON_INFO_EPOLL_FD);
    fds[n++] = (struct pollfd){.fd = info->epoll_fd, .events = POLLIN};
  }
  poll(fds, n, timeout_ms);
  for (guint i = 0; i < G_N_ELEMENTS(server->listeners); i++) {
    if (server->listeners[i].daemon != NULL) MHD_run(server->listeners[i].daemon);
  }
}

static gboolean stop_is_asked(const HttpServer *server)
{
  eventfd_t value;
  return eventfd_read(server->stop_fd, &value) == 0;
}

static gpointer serve(gpointer data)
{
  HttpServer *server = data;
  while (!stop_is_asked(server)) {
    turn(server, wait_ms(server));
    health_beat(server->context.health, "http");
  }
  /* No new connections; those that have begun get their answer. */
  for (guint i = 0; i < G_N_ELEMENTS(server->listeners); i++) {
    if (server->listeners[i].daemon != NULL) close(MHD_quiesce_daemon(server->listeners[i].daemon));
  }
  gint64 deadline = g_get_monotonic_time() + DRAIN_MS * 1000;
  while (is_busy(server) && g_get_monotonic_time() < deadline) turn(server, 20);
  g_clear_pointer(&server->context.store, registry_store_close);
  return NULL;
}

gboolean http_server_start(HttpServer *server, GError **error)
{
  health_set(server->context.health, "http", TRUE, NULL);
  server->thread = g_thread_try_new("http", serve, server, error);
  return server->thread != NULL;
}

void http_server_stop(HttpServer *server)
{
  if (server->thread == NULL) return;
  eventfd_write(server->stop_fd, 1);
  g_thread_join(g_steal_pointer(&server->thread));
}

void http_server_free(HttpServer *server)
{
  if (server == NULL) return;
  http_server_stop(server);
  for (guint i = 0; i < G_N_ELEMENTS(server->listeners); i++) {
    Listener *listener = &server->listeners[i];
    if (listener->daemon != NULL)
      MHD_stop_daemon(listener->daemon);
    else if (listener->fd >= 0)
      close(listener->fd);
    if (listener->is_unix && listener->fd >= 0) unlink(server->settings->http.socket);
  }
  if (server->stop_fd >= 0) close(server->stop_fd);
  g_free(server->host);
  settings_unref(server->settings);
  g_free(server);
}
