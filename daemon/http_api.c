/* /api/v1/…: the reports of daemon/report.h over HTTP, with capped sizes. Errors are {"error": text}. */
#include "daemon/http_internal.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/report.h"
#include "registry/model.h"

enum { DEFAULT_LIMIT = 100, MAX_LIMIT = 1000 };

/* Takes the report; NULL: answers the error. A lost connection is dropped, so that the next request opens a new one. */
static void answer(HttpContext *context, HttpResponse *response, json_t *report, const GError *error)
{
  if (report != NULL) {
    gchar *text = json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(17));
    http_response_set_text(response, 200, "application/json", g_strdup(text));
    free(text);
    json_decref(report);
    return;
  }
  guint status = 500;
  if (g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND)) status = 404;
  if (g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID)) status = 400;
  if (g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE)) {
    status = 503;
    g_clear_pointer(&context->store, registry_store_close);
  }
  http_response_set_error(response, status, "%s", error != NULL ? error->message : "failed without a message");
}

static gboolean get_limit(const HttpRequest *request, guint *limit, HttpResponse *response)
{
  const gchar *text = http_request_get_query(request, "limit");
  guint64 value = DEFAULT_LIMIT;
  if (text != NULL && !g_ascii_string_to_unsigned(text, 10, 1, MAX_LIMIT, &value, NULL)) {
    http_response_set_error(response, 400, "limit has to be a number from 1 to %d", MAX_LIMIT);
    return FALSE;
  }
  *limit = (guint)value;
  return TRUE;
}

/* *model NULL: not named. */
static gboolean get_model(const HttpRequest *request, gboolean needed, const gchar **model, HttpResponse *response)
{
  *model = http_request_get_query(request, "model");
  if (*model == NULL && !needed) return TRUE;
  if (*model != NULL && registry_name_is_valid(*model)) return TRUE;
  http_response_set_error(response, 400, *model == NULL ? "?model=NAME is needed" : "this is not a model's name");
  return FALSE;
}

/* The lag of the shards that this daemon consumes; null for those of others. */
static void add_lag(HttpContext *context, json_t *status)
{
  gsize i, j;
  json_t *model, *shard;
  json_array_foreach (json_object_get(status, "models"), i, model)
    json_array_foreach (json_object_get(model, "shards"), j, shard) {
      gchar partition[16];
      double lag = 0;
      g_snprintf(partition, sizeof partition, "%d", (int)json_integer_value(json_object_get(shard, "partition")));
      g_autofree gchar *labels =
          metrics_label("model", json_string_value(json_object_get(model, "name")), "partition", partition, NULL);
      gboolean known = metrics_get(context->metrics, "kedge_lag_records", labels, &lag);
      json_object_set_new(shard, "lag_records", known ? json_integer((json_int_t)lag) : json_null());
    }
}

void http_api_status(HttpContext *context, const HttpRequest *request, HttpResponse *response)
{
  (void)request;
  g_autoptr(GError) error = NULL;
  RegistryStore *store = http_context_get_store(context, response);
  if (store == NULL) return;
  json_t *status = report_status(store, &error);
  gchar *why = NULL;
  gboolean ready = health_is_ready(context->health, &why);
  if (status != NULL) {
    add_lag(context, status);
    json_object_set_new(status, "ready", json_boolean(ready));
    json_object_set_new(status, "why_not_ready", ready ? json_null() : json_string(why));
    json_object_set_new(status, "version", json_string(KEDGE_VERSION));
  }
  g_free(why);
  answer(context, response, status, error);
}

void http_api_models(HttpContext *context, const HttpRequest *request, HttpResponse *response)
{
  (void)request;
  g_autoptr(GError) error = NULL;
  RegistryStore *store = http_context_get_store(context, response);
  if (store == NULL) return;
  /* A statement of its own: C does not say in which order arguments are evaluated. */
  json_t *report = report_models(store, &error);
  answer(context, response, report, error);
}

void http_api_versions(HttpContext *context, const HttpRequest *request, HttpResponse *response)
{
  g_autoptr(GError) error = NULL;
  const gchar *model;
  guint limit;
  if (!get_model(request, TRUE, &model, response) || !get_limit(request, &limit, response)) return;
  RegistryStore *store = http_context_get_store(context, response);
  if (store == NULL) return;
  json_t *report = report_versions(store, model, limit, &error);
  answer(context, response, report, error);
}

void http_api_windows(HttpContext *context, const HttpRequest *request, HttpResponse *response)
{
  g_autoptr(GError) error = NULL;
  const gchar *model, *kind = http_request_get_query(request, "kind");
  guint limit;
  if (!get_model(request, TRUE, &model, response) || !get_limit(request, &limit, response)) return;
  RegistryStore *store = http_context_get_store(context, response);
  if (store == NULL) return;
  json_t *report = report_verdicts(store, model, kind != NULL ? kind : "window", limit, &error);
  answer(context, response, report, error);
}

void http_api_incidents(HttpContext *context, const HttpRequest *request, HttpResponse *response)
{
  g_autoptr(GError) error = NULL;
  const gchar *model;
  guint limit;
  if (!get_model(request, FALSE, &model, response) || !get_limit(request, &limit, response)) return;
  gboolean open_only = g_strcmp0(http_request_get_query(request, "open"), "1") == 0;
  RegistryStore *store = http_context_get_store(context, response);
  if (store == NULL) return;
  json_t *report = report_incidents(store, model, open_only, limit, &error);
  answer(context, response, report, error);
}

void http_api_jobs(HttpContext *context, const HttpRequest *request, HttpResponse *response)
{
  static const gchar *const states[] = {"queued", "running", "done", "failed", "cancelled", NULL};
  g_autoptr(GError) error = NULL;
  const gchar *model, *state = http_request_get_query(request, "state");
  guint limit;
  if (!get_model(request, FALSE, &model, response) || !get_limit(request, &limit, response)) return;
  if (state != NULL && !g_strv_contains(states, state)) {
    http_response_set_error(response, 400, "state is one of queued, running, done, failed, cancelled");
    return;
  }
  RegistryStore *store = http_context_get_store(context, response);
  if (store == NULL) return;
  json_t *report = report_jobs(store, model, state, limit, &error);
  answer(context, response, report, error);
}
