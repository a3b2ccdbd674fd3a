#include "deploy/http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "deploy/target.h"

#ifndef KEDGE_VERSION
#define KEDGE_VERSION "0"
#endif
#define CONNECT_TIMEOUT_MS 5000

typedef struct {
  guint32 network, mask; /* host order */
} Range;

/* IANA special-purpose registries: everything that is not a host on the public internet. */
static const Range special_ranges[] = {
    {0x00000000, 0xff000000}, /* 0/8 this network */ {0x0a000000, 0xff000000},       /* 10/8 private */
    {0x64400000, 0xffc00000}, /* 100.64/10 shared */ {0x7f000000, 0xff000000},       /* 127/8 loopback */
    {0xa9fe0000, 0xffff0000}, /* 169.254/16 link-local */ {0xac100000, 0xfff00000},  /* 172.16/12 private */
    {0xc0000000, 0xffffff00}, /* 192.0.0/24 */ {0xc0000200, 0xffffff00},             /* 192.0.2/24 examples */
    {0xc0a80000, 0xffff0000}, /* 192.168/16 private */ {0xc6120000, 0xfffe0000},     /* 198.18/15 benchmarks */
    {0xc6336400, 0xffffff00}, /* 198.51.100/24 examples */ {0xcb007100, 0xffffff00}, /* 203.0.113/24 examples */
    {0xe0000000, 0xf0000000}, /* 224/4 multicast */ {0xf0000000, 0xf0000000},        /* 240/4 reserved */
};

static gboolean is_public_v4(guint32 address)
{
  for (guint i = 0; i < G_N_ELEMENTS(special_ranges); i++)
    if ((address & special_ranges[i].mask) == special_ranges[i].network) return FALSE;
  return TRUE;
}

static guint32 read_v4(const guint8 *bytes)
{
  return (guint32)bytes[0] << 24 | (guint32)bytes[1] << 16 | (guint32)bytes[2] << 8 | bytes[3];
}

static gboolean is_public_v6(const guint8 *a)
{
  static const guint8 mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  static const guint8 nat64[12] = {0, 0x64, 0xff, 0x9b};
  if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0) return is_public_v4(read_v4(a + 12));
  if (a[0] == 0x20 && a[1] == 0x02) return is_public_v4(read_v4(a + 2));          /* 6to4 wraps an IPv4 address */
  if (a[0] == 0x20 && a[1] == 0x01 && (a[2] & 0xfe) == 0) return FALSE;           /* 2001::/23, Teredo among them */
  if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0d && a[3] == 0xb8) return FALSE; /* examples */
  return (a[0] & 0xe0) == 0x20; /* 2000::/3 is all of the global unicast space in use */
}

gboolean deploy_http_address_is_public(const struct sockaddr *address)
{
  if (address->sa_family == AF_INET) {
    struct sockaddr_in v4;
    memcpy(&v4, address, sizeof v4);
    return is_public_v4(ntohl(v4.sin_addr.s_addr));
  }
  if (address->sa_family == AF_INET6) {
    struct sockaddr_in6 v6;
    memcpy(&v6, address, sizeof v6);
    return is_public_v6(v6.sin6_addr.s6_addr);
  }
  return FALSE;
}

typedef struct {
  const DeployHttpRequest *request;
  GString *body;
  gboolean address_refused, too_long;
} Call;

/* Checked on the very address that is connected to, so that a name that resolves differently the second time
 * (rebinding) gains nothing. */
static curl_socket_t open_socket(void *user_data, curlsocktype purpose, struct curl_sockaddr *address)
{
  Call *call = user_data;
  if (purpose != CURLSOCKTYPE_IPCXN) return CURL_SOCKET_BAD;
  if (!call->request->allow_private_address && !deploy_http_address_is_public(&address->addr)) {
    call->address_refused = TRUE;
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t receive(char *data, size_t size, size_t n, void *user_data)
{
  Call *call = user_data;
  gsize length = size * n, room = DEPLOY_HTTP_MAX_RESPONSE - call->body->len;
  g_string_append_len(call->body, data, (gssize)MIN(length, room));
  call->too_long = length > room;
  return MIN(length, room); /* less than given: curl stops */
}

static CURL *new_handle(void)
{
  static gsize initialised = 0;
  if (g_once_init_enter(&initialised)) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    g_once_init_leave(&initialised, 1);
  }
  return curl_easy_init();
}

static void set_guards(CURL *handle, const DeployHttpRequest *request, Call *call)
{
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, request->allow_plain_http ? "http,https" : "https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_PROXY, "");
  curl_easy_setopt(handle, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(handle, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, open_socket);
  curl_easy_setopt(handle, CURLOPT_OPENSOCKETDATA, call);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, (long)MIN(request->timeout_ms, CONNECT_TIMEOUT_MS));
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, receive);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, call);
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "kedge/" KEDGE_VERSION);
}

static gboolean explain(const DeployHttpRequest *request, const Call *call, CURLcode code, GError **error)
{
  if (call->address_refused)
    g_set_error(
        error, DEPLOY_ERROR, DEPLOY_ERROR_REFUSED,
        "%s: its host has a loopback, link-local or private address; set allow_private_address if that is meant",
        request->name);
  else if (call->too_long)
    g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_REFUSED, "%s: the answer is longer than %d bytes", request->name,
                DEPLOY_HTTP_MAX_RESPONSE);
  else if (code == CURLE_UNSUPPORTED_PROTOCOL)
    g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID, "%s: its URL must begin with %s", request->name,
                request->allow_plain_http ? "https:// or http://" : "https:// (or set allow_plain_http)");
  else if (code == CURLE_URL_MALFORMAT)
    g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID, "%s: its URL is not a URL", request->name);
  else /* strerror, not the error buffer: that one quotes parts of the URL */
    g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_UNREACHABLE, "%s: %s (within %u ms); it is tried again",
                request->name, curl_easy_strerror(code), request->timeout_ms);
  return FALSE;
}

static gboolean check(const DeployHttpRequest *request, GError **error)
{
  const gchar *fault = NULL;
  if (request->url == NULL || request->url[0] == '\0')
    fault = "it has no URL";
  else if (request->timeout_ms == 0 || request->timeout_ms > 600000)
    fault = "its time-out must be 1 to 600000 ms";
  else if (strlen(request->body) > DEPLOY_HTTP_MAX_BODY)
    fault = "the body is longer than 1 MiB";
  for (guint i = 0; fault == NULL && request->headers != NULL && request->headers[i] != NULL; i++)
    if (strpbrk(request->headers[i], "\r\n") != NULL) fault = "a header contains a line break";
  if (fault == NULL) return TRUE;
  g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID, "%s: %s", request->name, fault);
  return FALSE;
}

gboolean deploy_http_post(const DeployHttpRequest *request, DeployHttpResponse *response, GError **error)
{
  if (!check(request, error)) return FALSE;
  CURL *handle = new_handle();
  if (handle == NULL) {
    g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_IO, "%s: libcurl cannot be initialised", request->name);
    return FALSE;
  }
  Call call = {.request = request, .body = g_string_new(NULL)};
  set_guards(handle, request, &call);
  struct curl_slist *headers = NULL;
  for (guint i = 0; request->headers != NULL && request->headers[i] != NULL; i++)
    headers = curl_slist_append(headers, request->headers[i]);
  headers = curl_slist_append(headers, "Expect:"); /* no second round trip for a long body */
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(handle, CURLOPT_URL, request->url);
  curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(request->body));
  curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request->body);
  CURLcode code = curl_easy_perform(handle);
  glong status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  curl_slist_free_all(headers);
  curl_easy_cleanup(handle);
  if (code != CURLE_OK) {
    explain(request, &call, code, error);
    g_string_free(call.body, TRUE);
    return FALSE;
  }
  response->status = status;
  response->body = call.body;
  return TRUE;
}

void deploy_http_response_clear(DeployHttpResponse *response)
{
  if (response->body != NULL) g_string_free(response->body, TRUE);
  *response = (DeployHttpResponse){0};
}
