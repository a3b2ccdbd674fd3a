/* The route table: what is not in it does not exist, and every route names the least role that may ask. */
#include "daemon/http_internal.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/dashboard.h"

#define TEXT_PLAIN "text/plain; charset=utf-8"
#define TEXT_METRICS "text/plain; version=0.0.4; charset=utf-8"
#define APPLICATION_JSON "application/json"

/* A part of the daemon that makes no progress for so long is dead, not slow (PostgreSQL's statement time-out is less).
 */
#define MAX_SILENCE_US (60 * G_USEC_PER_SEC)

void http_response_set_text(HttpResponse *response, guint status, const gchar *content_type, gchar *text)
{
  response->status = status;
  response->content_type = content_type;
  g_clear_pointer(&response->body, g_bytes_unref);
  response->body = g_bytes_new_take(text, strlen(text));
}

void http_response_set_error(HttpResponse *response, guint status, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_autofree gchar *valid = g_utf8_make_valid(text, -1);
  json_t *value = json_pack("{s:s}", "error", valid);
  gchar *dumped = json_dumps(value, JSON_COMPACT);
  http_response_set_text(response, status, APPLICATION_JSON, g_strconcat(dumped, "\n", NULL));
  free(dumped);
  json_decref(value);
}

RegistryStore *http_context_get_store(HttpContext *context, HttpResponse *response)
{
  g_autoptr(GError) error = NULL;
  if (context->store == NULL)
    context->store = registry_store_open(context->store_uri, &error);
  else if (!registry_store_reconnect(context->store, &error)) {
    http_response_set_error(response, 503, "%s", error->message);
    return NULL;
  }
  if (context->store == NULL) http_response_set_error(response, 503, "%s", error->message);
  return context->store;
}

static void handle_metrics(HttpContext *context, const HttpRequest *request, HttpResponse *response)
{
  (void)request;
  metrics_set(context->metrics, "kedge_ready", NULL, health_is_ready(context->health, NULL) ? 1 : 0);
  http_response_set_text(response, 200, TEXT_METRICS, metrics_format(context->metrics));
}

static void handle_healthz(HttpContext *context, const HttpRequest *request, HttpResponse *response)
{
  (void)request;
  gchar *who = NULL;
  if (health_is_alive(context->health, MAX_SILENCE_US, &who))
    http_response_set_text(response, 200, TEXT_PLAIN, g_strdup("alive\n"));
  else
    http_response_set_text(response, 503, TEXT_PLAIN, g_strconcat("no progress: ", who, "\n", NULL));
  g_free(who);
}

static void handle_readyz(HttpContext *context, const HttpRequest *request, HttpResponse *response)
{
  (void)request;
  gchar *why = NULL;
  if (health_is_ready(context->health, &why))
    http_response_set_text(response, 200, TEXT_PLAIN, g_strdup("ready\n"));
  else
    http_response_set_text(response, 503, TEXT_PLAIN, why);
}

static void handle_asset(HttpContext *context, const HttpRequest *request, HttpResponse *response)
{
  (void)context;
  g_autofree gchar *path = g_strndup(request->target, strcspn(request->target, "?"));
  DashboardAsset asset;
  if (!dashboard_find(path, &asset)) {
    http_response_set_error(response, 404, "%s is not compiled in", path);
    return;
  }
  response->status = 200;
  response->content_type = asset.content_type;
  response->body = g_bytes_new_static(asset.bytes, asset.length);
}

const HttpRoute http_routes[] = {
    {"/", HTTP_ROLE_VIEWER, "the dashboard", handle_asset},
    {"/static/dashboard.js", HTTP_ROLE_VIEWER, "its program", handle_asset},
    {"/static/charts.js", HTTP_ROLE_VIEWER, "its charts", handle_asset},
    {"/static/dashboard.css", HTTP_ROLE_VIEWER, "its style", handle_asset},
    {"/static/icon.svg", HTTP_ROLE_VIEWER, "its icon", handle_asset},
    {"/metrics", HTTP_ROLE_VIEWER, "Prometheus metrics", handle_metrics},
    {"/healthz", HTTP_ROLE_VIEWER, "200 while every part makes progress", handle_healthz},
    {"/readyz", HTTP_ROLE_VIEWER, "200 when everything works; 503 says why not", handle_readyz},
    {"/api/v1/status", HTTP_ROLE_VIEWER, "everything at one look", http_api_status},
    {"/api/v1/models", HTTP_ROLE_VIEWER, "models", http_api_models},
    {"/api/v1/versions", HTTP_ROLE_VIEWER, "?model=NAME[&limit=N]: versions, newest first", http_api_versions},
    {"/api/v1/windows", HTTP_ROLE_VIEWER,
     "?model=NAME[&kind=window|horizon|performance|label&limit=N]: the newest verdicts, oldest first",
     http_api_windows},
    {"/api/v1/incidents", HTTP_ROLE_VIEWER, "[?model=NAME&open=1&limit=N]: incidents, newest first",
     http_api_incidents},
    {"/api/v1/jobs", HTTP_ROLE_VIEWER, "[?model=NAME&state=STATE&limit=N]: jobs, newest first", http_api_jobs},
    {NULL, HTTP_ROLE_NONE, NULL, NULL}};

static const HttpRoute *find_route(const gchar *target)
{
  gsize length = strcspn(target, "?");
  for (const HttpRoute *route = http_routes; route->path != NULL; route++) {
    if (strlen(route->path) == length && strncmp(route->path, target, length) == 0) return route;
  }
  return NULL;
}

void http_dispatch(HttpContext *context, const HttpRequest *request, const gchar *host, HttpResponse *response)
{
  if (!http_guard_check(request, host, response)) return;
  const HttpRoute *route = find_route(request->target);
  /* The same answer for a caller without any role, so that it learns nothing of the table. */
  if (request->role == HTTP_ROLE_NONE)
    http_response_set_error(response, 403, "not allowed");
  else if (route == NULL)
    http_response_set_error(response, 404, "there is nothing here; / is the dashboard");
  else if (request->role < route->role)
    http_response_set_error(response, 403, "not allowed");
  else
    route->handle(context, request, response);
}
