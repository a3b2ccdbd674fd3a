/* The one outgoing HTTP call of this folder: a POST with the guards of the security notes. The only user of libcurl. */
#pragma once

#include <glib.h>
#include <sys/socket.h>

G_BEGIN_DECLS

#define DEPLOY_HTTP_MAX_RESPONSE 65536 /* bytes; a longer answer is cut off, which is an error */
#define DEPLOY_HTTP_MAX_BODY (1024 * 1024)

typedef struct {
  const gchar *name; /* what error texts call the peer; the URL may hold a secret and is never printed */
  const gchar *url;
  const gchar *const *headers; /* "Name: value", NULL-terminated, or NULL */
  const gchar *body;
  guint timeout_ms; /* of the whole call, at least 1; connecting gets at most 5 s of it */
  gboolean allow_plain_http;
  gboolean allow_private_address; /* else the connected peer must have a public address */
} DeployHttpRequest;

typedef struct {
  glong status;
  GString *body; /* at most DEPLOY_HTTP_MAX_RESPONSE */
} DeployHttpResponse;
void deploy_http_response_clear(DeployHttpResponse *response);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DeployHttpResponse, deploy_http_response_clear)

/* TRUE with any HTTP status (redirects are not followed). UNREACHABLE: no answer within the time; REFUSED: the peer's
 * address is not allowed; INVALID: the request cannot be made. No proxy is used: it would hide the peer's address. */
gboolean deploy_http_post(const DeployHttpRequest *request, DeployHttpResponse *response, GError **error);

/* FALSE for loopback, link-local, private, shared, reserved, multicast addresses, also where IPv6 wraps one. */
gboolean deploy_http_address_is_public(const struct sockaddr *address);

G_END_DECLS
