#include "daemon/daemon_client.h"

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <math.h>
#include <string.h>

enum { MAX_ANSWER = 16 << 20, TIMEOUT_S = 2 };

static GSocketConnection *connect_to(const gchar *socket, const gchar *listen, GError **error)
{
  g_autoptr(GSocketClient) client = g_socket_client_new();
  g_socket_client_set_timeout(client, TIMEOUT_S);
  if (socket != NULL && *socket != '\0') {
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(socket);
    GSocketConnection *connection = g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address), NULL, error);
    if (connection != NULL || listen == NULL || *listen == '\0') return connection;
    g_clear_error(error);
  }
  return g_socket_client_connect_to_host(client, listen != NULL ? listen : "", 80, NULL, error);
}

static GByteArray *read_all(GInputStream *stream, GError **error)
{
  g_autoptr(GByteArray) out = g_byte_array_new();
  guint8 buffer[16384];
  gssize n;
  while ((n = g_input_stream_read(stream, buffer, sizeof buffer, NULL, error)) > 0) {
    if (out->len + (gsize)n > MAX_ANSWER) {
      g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "kedged's answer is too long");
      return NULL;
    }
    g_byte_array_append(out, buffer, (guint)n);
  }
  if (n < 0) return NULL;
  g_byte_array_append(out, (const guint8 *)"", 1);
  return g_steal_pointer(&out);
}

/* HTTP/1.0: the answer ends with the connection, so there is no framing to read. */
gchar *daemon_client_get(const gchar *socket, const gchar *listen, const gchar *path, GError **error)
{
  g_autoptr(GSocketConnection) connection = connect_to(socket, listen, error);
  if (connection == NULL) return NULL;
  g_autofree gchar *request = g_strdup_printf("GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path);
  GOutputStream *out = g_io_stream_get_output_stream(G_IO_STREAM(connection));
  if (!g_output_stream_write_all(out, request, strlen(request), NULL, NULL, error)) return NULL;
  g_autoptr(GByteArray) answer = read_all(g_io_stream_get_input_stream(G_IO_STREAM(connection)), error);
  if (answer == NULL) return NULL;
  const gchar *text = (const gchar *)answer->data, *body = strstr(text, "\r\n\r\n");
  if (!g_str_has_prefix(text, "HTTP/1.") || strlen(text) < 12 || body == NULL || strncmp(text + 8, " 200", 4) != 0) {
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "kedged does not answer %s with 200", path);
    return NULL;
  }
  return g_strdup(body + 4);
}

double daemon_client_find_metric(const gchar *text, const gchar *name, const gchar *labels)
{
  g_autofree gchar *prefix =
      labels != NULL ? g_strdup_printf("\n%s{%s} ", name, labels) : g_strdup_printf("\n%s ", name);
  const gchar *found = strstr(text, prefix);
  return found != NULL ? g_ascii_strtod(found + strlen(prefix), NULL) : NAN;
}
