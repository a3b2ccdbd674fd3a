#include "deploy/target_types.h"

#include <jansson.h>
#include <string.h>

#include "deploy/http.h"
#include "registry/model.h"

G_DEFINE_QUARK(deploy - error - quark, deploy_error)

const DeployTargetType *const deploy_target_types[] = {
    &deploy_target_directory,
    &deploy_target_triton,
    NULL,
};

static const DeployTargetType *find_type(const gchar *name, GError **error)
{
  g_autoptr(GString) known = g_string_new(NULL);
  for (guint i = 0; deploy_target_types[i] != NULL; i++) {
    if (g_strcmp0(deploy_target_types[i]->type, name) == 0) return deploy_target_types[i];
    g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", deploy_target_types[i]->type);
  }
  g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID, "unknown target type \"%s\"; known are: %s",
              name != NULL ? name : "", known->str);
  return NULL;
}

gboolean deploy_target_apply(const DeployTargetSettings *settings, const DeployRelease *release, GError **error)
{
  const DeployTargetType *type = find_type(settings->type, error);
  if (type == NULL) return FALSE;
  if (settings->path == NULL || settings->path[0] == '\0') {
    g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID,
                "the %s target of model \"%s\" has no path: set targets.path", type->type,
                release->model != NULL ? release->model : "");
    return FALSE;
  }
  if (!registry_name_is_valid(release->model)) {
    g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID,
                "a model name that is not [A-Za-z0-9][A-Za-z0-9._-]{0,127} cannot be placed in %s", settings->path);
    return FALSE;
  }
  if (release->version < 1 || release->onnx == NULL) {
    g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID, "version %" G_GINT64_FORMAT " of model \"%s\" %s",
                release->version, release->model,
                release->version < 1 ? "is not a version number" : "has no ONNX bytes");
    return FALSE;
  }
  return type->apply(settings, release, error);
}

/* The server's own words, made safe to print: they say which tensor or operator it refused. */
static gchar *refusal_text(const DeployHttpResponse *response)
{
  json_t *root = json_loadb(response->body->str, response->body->len, JSON_REJECT_DUPLICATES, NULL);
  const gchar *text = json_string_value(json_object_get(root, "error"));
  gchar *safe = g_strndup(text != NULL ? text : "no reason given", 300);
  for (gchar *c = safe; *c != '\0'; c++)
    if (!g_ascii_isprint(*c)) *c = '?';
  json_decref(root);
  return safe;
}

gboolean deploy_load_call(const DeployTargetSettings *settings, const gchar *model, GError **error)
{
  if (settings->url == NULL || settings->url[0] == '\0') return TRUE;
  gsize length = strlen(settings->url);
  while (length > 0 && settings->url[length - 1] == '/') length--;
  g_autofree gchar *url = g_strdup_printf("%.*s/v2/repository/models/%s/load", (int)length, settings->url, model);
  g_autofree gchar *name = g_strdup_printf("the load call of model \"%s\"", model);
  const gchar *const headers[] = {"Content-Type: application/json", NULL};
  /* A model server stands in the operator's own network: private addresses and plain HTTP are its normal case. */
  DeployHttpRequest request = {.name = name,
                               .url = url,
                               .headers = headers,
                               .body = "{}",
                               .timeout_ms = 30000,
                               .allow_plain_http = TRUE,
                               .allow_private_address = TRUE};
  g_auto(DeployHttpResponse) response = {0};
  if (!deploy_http_post(&request, &response, error)) return FALSE;
  if (response.status / 100 == 2) return TRUE;
  g_autofree gchar *text = refusal_text(&response);
  g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_REFUSED,
              "%s was answered with HTTP status %ld (%s); the files are in place in %s", name, response.status, text,
              settings->path);
  return FALSE;
}
