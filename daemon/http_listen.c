#include "daemon/http_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gio/gio.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/settings.h"

enum { BACKLOG = 64 };

static int fail(const gchar *address, const gchar *what, GError **error)
{
  int number = errno;
  g_set_error(error, G_IO_ERROR, (gint)g_io_error_from_errno(number), "http: %s: %s: %s", address, what,
              g_strerror(number));
  return -1;
}

/* "HOST:PORT" → host (new, brackets kept) and port. */
static gboolean split(const gchar *address, gchar **host, guint16 *port, GError **error)
{
  const gchar *colon = strrchr(address, ':');
  guint64 number = 0;
  if (colon == NULL || colon == address || !g_ascii_string_to_unsigned(colon + 1, 10, 0, G_MAXUINT16, &number, NULL)) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "http.listen: \"%s\" is not ADDRESS:PORT", address);
    return FALSE;
  }
  *host = g_strndup(address, (gsize)(colon - address));
  *port = (guint16)number;
  return TRUE;
}

static GInetAddress *parse_host(const gchar *host)
{
  if (g_str_equal(host, "localhost")) return g_inet_address_new_loopback(G_SOCKET_FAMILY_IPV4);
  gsize length = strlen(host);
  if (length > 2 && host[0] == '[' && host[length - 1] == ']') {
    g_autofree gchar *inner = g_strndup(host + 1, length - 2);
    return g_inet_address_new_from_string(inner);
  }
  return g_inet_address_new_from_string(host);
}

static int bind_and_listen(const gchar *name, const struct sockaddr *address, socklen_t length, GError **error)
{
  int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail(name, "no socket", error);
  int one = 1;
  if (address->sa_family != AF_UNIX) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, address, length) == 0 && listen(fd, BACKLOG) == 0) return fd;
  fail(name, "cannot listen", error);
  close(fd);
  return -1;
}

int http_listen_tcp(const gchar *address, gchar **host, GError **error)
{
  g_autofree gchar *name = NULL;
  guint16 port = 0;
  if (!split(address, &name, &port, error)) return -1;
  g_autoptr(GInetAddress) inet = parse_host(name);
  if (inet == NULL || !g_inet_address_get_is_loopback(inet)) {
    g_set_error(
        error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS,
        "http.listen: %s is not a loopback address; kedged serves 127.0.0.1, [::1] and its Unix socket only, put "
        "a proxy with authentication before it",
        name);
    return -1;
  }
  g_autoptr(GSocketAddress) socket_address = g_inet_socket_address_new(inet, port);
  struct sockaddr_storage native = {0};
  gssize length = g_socket_address_get_native_size(socket_address);
  if (!g_socket_address_to_native(socket_address, &native, sizeof native, error)) return -1;
  int fd = bind_and_listen(address, (const struct sockaddr *)&native, (socklen_t)length, error);
  if (fd >= 0) *host = g_steal_pointer(&name);
  return fd;
}

/* A socket file that nobody answers on was left by a process that died. */
static void remove_stale(const gchar *path, const struct sockaddr_un *address)
{
  struct stat status;
  if (lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode)) return;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  if (connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED) unlink(path);
  close(fd);
}

int http_listen_unix(const gchar *path, GError **error)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "http.socket: %s is longer than %" G_GSIZE_FORMAT " bytes",
                path, sizeof address.sun_path - 1);
    return -1;
  }
  memcpy(address.sun_path, path, strlen(path) + 1);
  remove_stale(path, &address);
  int fd = bind_and_listen(path, (const struct sockaddr *)&address, sizeof address, error);
  if (fd >= 0 && chmod(path, 0660) != 0) {
    fail(path, "chmod", error);
    close(fd);
    return -1;
  }
  return fd;
}

guint http_listen_get_port(int fd)
{
  struct sockaddr_storage address = {0};
  socklen_t length = sizeof address;
  if (getsockname(fd, (struct sockaddr *)&address, &length) != 0) return 0;
  if (address.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
  if (address.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)(void *)&address)->sin6_port);
  return 0;
}
