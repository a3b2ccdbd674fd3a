/* Shared by the daemon/http*.c files only. Nothing here knows libmicrohttpd: daemon/http.c does. */
#pragma once

#include "daemon/health.h"
#include "daemon/metrics.h"
#include "registry/store.h"

G_BEGIN_DECLS

/* --- who may do what ------------------------------------------------------------------------------------------- */

/* Ordered: a later one may do what an earlier one may. */
typedef enum { HTTP_ROLE_NONE, HTTP_ROLE_VIEWER, HTTP_ROLE_OPERATOR, HTTP_ROLE_DEPLOYER, HTTP_ROLE_ADMIN } HttpRole;

/* --- one request ----------------------------------------------------------------------------------------------- */

typedef struct {
  const gchar *name, *value; /* borrowed */
} HttpField;

typedef struct {
  const gchar *method;
  const gchar *target;  /* as sent: path and query, nothing decoded */
  const gchar *version; /* "HTTP/1.1" */
  GArray *headers;      /* of HttpField */
  GArray *query;        /* of HttpField, decoded */
  HttpRole role;
} HttpRequest;

const gchar *http_request_get_header(const HttpRequest *request, const gchar *name); /* any case; NULL: absent */
const gchar *http_request_get_query(const HttpRequest *request, const gchar *name);  /* NULL: absent */

typedef struct {
  guint status;
  const gchar *content_type; /* static */
  GBytes *body;              /* owned; NULL: empty */
} HttpResponse;
void http_response_set_text(HttpResponse *response, guint status, const gchar *content_type, gchar *text /* taken */);
/* {"error": text}, the text formatted. */
void http_response_set_error(HttpResponse *response, guint status, const gchar *format, ...) G_GNUC_PRINTF(3, 4);

/* --- guards: what is refused before a route is looked up (daemon/http_guard.c) --------------------------------- */

#define HTTP_MAX_TARGET 2048 /* bytes of path and query */
#define HTTP_MAX_HEADERS 64
#define HTTP_MAX_MEMORY 16384 /* bytes of one connection: request line and all headers */

/* TRUE: go on. FALSE: *response says why; the connection is closed. host: the host part of http.listen, allowed beside
 * localhost, 127.0.0.1 and [::1]. */
gboolean http_guard_check(const HttpRequest *request, const gchar *host, HttpResponse *response);

/* --- routes: the visible table (daemon/http_routes.c) ----------------------------------------------------------- */

typedef struct {
  const gchar *store_uri;
  RegistryStore *store; /* opened at the first use; NULL: not yet, or lost */
  Health *health;
  Metrics *metrics;
} HttpContext;
/* NULL: response says 503 with the reason. */
RegistryStore *http_context_get_store(HttpContext *context, HttpResponse *response);

typedef struct {
  const gchar *path; /* exact */
  HttpRole role;     /* the least that may ask */
  const gchar *summary;
  void (*handle)(HttpContext *context, const HttpRequest *request, HttpResponse *response);
} HttpRoute;
extern const HttpRoute http_routes[]; /* ends with path NULL */
/* Guards, role, route: everything but the wire. */
void http_dispatch(HttpContext *context, const HttpRequest *request, const gchar *host, HttpResponse *response);

/* The handlers of /api/v1/ (daemon/http_api.c). */
void http_api_status(HttpContext *context, const HttpRequest *request, HttpResponse *response);
void http_api_models(HttpContext *context, const HttpRequest *request, HttpResponse *response);
void http_api_versions(HttpContext *context, const HttpRequest *request, HttpResponse *response);
void http_api_windows(HttpContext *context, const HttpRequest *request, HttpResponse *response);
void http_api_incidents(HttpContext *context, const HttpRequest *request, HttpResponse *response);
void http_api_jobs(HttpContext *context, const HttpRequest *request, HttpResponse *response);

G_END_DECLS
