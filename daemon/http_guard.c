/* What is refused before a route is looked up. libmicrohttpd 0.9.75 accepts repeated Content-Length, Content-Length
 * beside Transfer-Encoding, and decodes %00 and %2e: requests that two programs read differently are closed here. */
#include "daemon/http_internal.h"

#include <string.h>

const gchar *http_request_get_header(const HttpRequest *request, const gchar *name)
{
  for (guint i = 0; i < request->headers->len; i++) {
    const HttpField *field = &g_array_index(request->headers, HttpField, i);
    if (g_ascii_strcasecmp(field->name, name) == 0) return field->value;
  }
  return NULL;
}

const gchar *http_request_get_query(const HttpRequest *request, const gchar *name)
{
  for (guint i = 0; i < request->query->len; i++) {
    const HttpField *field = &g_array_index(request->query, HttpField, i);
    if (g_str_equal(field->name, name)) return field->value;
  }
  return NULL;
}

static guint count_headers(const HttpRequest *request, const gchar *name)
{
  guint n = 0;
  for (guint i = 0; i < request->headers->len; i++) {
    if (g_ascii_strcasecmp(g_array_index(request->headers, HttpField, i).name, name) == 0) n++;
  }
  return n;
}

/* No route needs an escape in its path, so none is accepted there: what is not decoded cannot be decoded twice. */
static gboolean check_target(const HttpRequest *request, HttpResponse *response)
{
  const gchar *target = request->target;
  gsize length = strlen(target), path_length = strcspn(target, "?");
  if (length > HTTP_MAX_TARGET) {
    http_response_set_error(response, 414, "the target is longer than %d bytes", HTTP_MAX_TARGET);
    return FALSE;
  }
  if (*target != '/') {
    http_response_set_error(response, 400, "the target has to begin with /");
    return FALSE;
  }
  for (gsize i = 0; i < length; i++) {
    guchar c = (guchar)target[i];
    gboolean escape_in_path = c == '%' && i < path_length;
    gboolean zero = c == '%' && target[i + 1] == '0' && target[i + 2] == '0';
    gboolean dots = i + 1 < path_length && c == '/' && (target[i + 1] == '.' || target[i + 1] == '/');
    if (c > 0x20 && c < 0x7f && c != '#' && c != '\\' && !escape_in_path && !zero && !dots) continue;
    http_response_set_error(response, 400, "the target holds what is not accepted at byte %" G_GSIZE_FORMAT, i);
    return FALSE;
  }
  return TRUE;
}

/* Names are tokens (RFC 9110, 5.6.2): "Content-Length " or an empty name is read differently by different programs. */
static gboolean check_names(const HttpRequest *request, HttpResponse *response)
{
  for (guint i = 0; i < request->headers->len; i++) {
    const gchar *name = g_array_index(request->headers, HttpField, i).name;
    gboolean good = *name != '\0';
    for (; good && *name != '\0'; name++) good = g_ascii_isalnum(*name) || strchr("!#$%&'*+-.^_`|~", *name) != NULL;
    if (good) continue;
    http_response_set_error(response, 400, "a header's name is not a token");
    return FALSE;
  }
  return TRUE;
}

/* Nothing here takes a body, so a request with one is refused, and with it every way to smuggle a second request. */
static gboolean check_framing(const HttpRequest *request, HttpResponse *response)
{
  const gchar *length = http_request_get_header(request, "Content-Length");
  if (count_headers(request, "Transfer-Encoding") > 0 || count_headers(request, "Content-Length") > 1) {
    http_response_set_error(response, 400, "Transfer-Encoding or a repeated Content-Length is not accepted");
    return FALSE;
  }
  if (length != NULL && !g_str_equal(length, "0")) {
    http_response_set_error(response, 413, "a body is not accepted");
    return FALSE;
  }
  if (request->headers->len > HTTP_MAX_HEADERS) {
    http_response_set_error(response, 431, "more than %d headers", HTTP_MAX_HEADERS);
    return FALSE;
  }
  return TRUE;
}

/* Host without its port: "[::1]:9464" → "[::1]". */
static gboolean host_is_allowed(const gchar *value, const gchar *own)
{
  const gchar *const allowed[] = {"localhost", "127.0.0.1", "[::1]", own};
  gsize length = *value == '[' ? strcspn(value, "]") + 1 : strcspn(value, ":");
  if (length > strlen(value)) return FALSE;
  const gchar *port = value + length;
  if (*port == ':') port += 1 + strspn(port + 1, "0123456789");
  if (*port != '\0') return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(allowed); i++) {
    if (allowed[i] == NULL || strlen(allowed[i]) != length) continue;
    if (length > 0 && g_ascii_strncasecmp(value, allowed[i], length) == 0) return TRUE;
  }
  return FALSE;
}

/* DNS rebinding: a page of another site reaches this port under its own name; its Host or Origin gives it away. */
static gboolean check_origin(const HttpRequest *request, const gchar *own, HttpResponse *response)
{
  const gchar *host = http_request_get_header(request, "Host");
  if (count_headers(request, "Host") != 1) {
    http_response_set_error(response, 400, "exactly one Host is needed");
    return FALSE;
  }
  if (!host_is_allowed(host, own)) {
    http_response_set_error(response, 403, "this Host is not served here; use localhost or 127.0.0.1");
    return FALSE;
  }
  const gchar *origin = http_request_get_header(request, "Origin");
  if (count_headers(request, "Origin") == 0) return TRUE;
  if (count_headers(request, "Origin") == 1 && g_str_has_prefix(origin, "http://") &&
      g_ascii_strcasecmp(origin + strlen("http://"), host) == 0)
    return TRUE;
  http_response_set_error(response, 403, "requests of other origins are not served");
  return FALSE;
}

gboolean http_guard_check(const HttpRequest *request, const gchar *host, HttpResponse *response)
{
  if (!check_names(request, response) || !check_framing(request, response) || !check_target(request, response) ||
      !check_origin(request, host, response))
    return FALSE;
  if (g_str_equal(request->method, "GET") || g_str_equal(request->method, "HEAD")) return TRUE;
  http_response_set_error(response, 405, "only GET and HEAD are served");
  return FALSE;
}
