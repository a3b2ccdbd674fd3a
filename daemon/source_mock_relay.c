#include "daemon/source_mock_relay.h"

#include "daemon/settings.h"

struct _SourceMockRelay {
  GSocketService *service;
  GSocketConnectable *target;
};

/* Two connections and the two directions between them; closed when both directions have ended. */
typedef struct {
  GIOStream *client, *broker;
} Pair;

static void on_spliced(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
  Pair *pair = data;
  g_io_stream_splice_finish(result, NULL); /* a cut connection is the clients' matter: they reconnect */
  g_object_unref(pair->client);
  g_object_unref(pair->broker);
  g_free(pair);
}

static void on_connected(GObject *object, GAsyncResult *result, gpointer data)
{
  GIOStream *client = data;
  GSocketConnection *broker = g_socket_client_connect_finish(G_SOCKET_CLIENT(object), result, NULL);
  if (broker == NULL) {
    g_io_stream_close(client, NULL, NULL);
    g_object_unref(client);
    return;
  }
  Pair *pair = g_new(Pair, 1);
  *pair = (Pair){client, G_IO_STREAM(broker)};
  g_io_stream_splice_async(client, pair->broker, G_IO_STREAM_SPLICE_CLOSE_STREAM1 | G_IO_STREAM_SPLICE_CLOSE_STREAM2,
                           G_PRIORITY_DEFAULT, NULL, on_spliced, pair);
}

static gboolean on_incoming(GSocketService *service G_GNUC_UNUSED, GSocketConnection *connection,
                            GObject *origin G_GNUC_UNUSED, gpointer data)
{
  SourceMockRelay *relay = data;
  g_autoptr(GSocketClient) client = g_socket_client_new();
  g_socket_client_connect_async(client, relay->target, NULL, on_connected, g_object_ref(connection));
  return TRUE;
}

static GSocketAddress *parse_loopback(const gchar *listen, GError **error)
{
  g_autoptr(GSocketConnectable) parsed = g_network_address_parse(listen, 0, error);
  if (parsed == NULL) return NULL;
  GNetworkAddress *network = G_NETWORK_ADDRESS(parsed);
  g_autoptr(GInetAddress) address = g_inet_address_new_from_string(g_network_address_get_hostname(network));
  if (address != NULL && g_inet_address_get_is_loopback(address) && g_network_address_get_port(network) != 0)
    return g_inet_socket_address_new(address, g_network_address_get_port(network));
  g_set_error(
      error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS,
      "'%s' is not a loopback address with a port, as 127.0.0.1:9092 is; the embedded broker serves this host only",
      listen);
  return NULL;
}

SourceMockRelay *source_mock_relay_new(const gchar *listen, const gchar *target, GError **error)
{
  g_autoptr(GSocketAddress) address = parse_loopback(listen, error);
  if (address == NULL) return NULL;
  g_autoptr(GSocketService) service = g_socket_service_new();
  if (!g_socket_listener_add_address(G_SOCKET_LISTENER(service), address, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP,
                                     NULL, NULL, error)) {
    g_prefix_error(error, "cannot listen on %s: ", listen);
    return NULL;
  }
  SourceMockRelay *relay = g_new0(SourceMockRelay, 1);
  relay->service = g_steal_pointer(&service);
  relay->target = g_network_address_parse(target, 0, NULL);
  g_signal_connect(relay->service, "incoming", G_CALLBACK(on_incoming), relay);
  return relay;
}

void source_mock_relay_free(SourceMockRelay *relay)
{
  if (relay == NULL) return;
  g_socket_service_stop(relay->service);
  g_socket_listener_close(G_SOCKET_LISTENER(relay->service));
  g_object_unref(relay->service);
  g_object_unref(relay->target);
  g_free(relay);
}
