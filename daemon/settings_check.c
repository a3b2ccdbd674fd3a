/* What one option alone cannot say: names, what must be unique, what contradicts what, what is unsafe. */
#include "daemon/settings_internal.h"

#include <gio/gio.h>
#include <string.h>

#include "pipeline/tree_options.h"

typedef gboolean (*Check)(const Settings *settings, const SettingsOrigin *origin, GError **error);

void settings_set_error(GError **error, const SettingsOrigin *origin, const gchar *path, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "%s:%u: %s: %s", origin->name,
              settings_places_line(origin->places, path), path, text);
}

G_GNUC_PRINTF(4, 5)
static gboolean refuse(GError **error, const SettingsOrigin *origin, const gchar *path, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  settings_set_error(error, origin, path, "%s", text);
  return FALSE;
}

static gboolean is_name(const gchar *text)
{
  if (!g_ascii_isalnum(*text) || strlen(text) > 128) return FALSE;
  for (const gchar *c = text; *c != '\0'; c++)
    if (!g_ascii_isalnum(*c) && strchr("._-", *c) == NULL) return FALSE;
  return TRUE;
}

/* Kafka's own rule. */
static gboolean is_topic(const gchar *text)
{
  if (*text == '\0' || strlen(text) > 249 || strcmp(text, ".") == 0 || strcmp(text, "..") == 0) return FALSE;
  for (const gchar *c = text; *c != '\0'; c++)
    if (!g_ascii_isalnum(*c) && strchr("._-", *c) == NULL) return FALSE;
  return TRUE;
}

static gboolean check_topic(const gchar *topic, const gchar *path, const SettingsOrigin *origin, GError **error)
{
  return is_topic(topic) ||
         refuse(error, origin, path, "'%s' is not a topic name: 1 to 249 letters, digits, '.', '_', '-'", topic);
}

/* --- the whole file ------------------------------------------------------------------------------------------------
 */

static gboolean check_store(const Settings *settings, const SettingsOrigin *origin, GError **error)
{
  if (g_str_has_prefix(settings->store, "sqlite:"))
    return settings->store[strlen("sqlite:")] != '\0' ||
           refuse(error, origin, "store", "names no file; write sqlite:/var/lib/kedge/kedge.db");
  if (!g_str_has_prefix(settings->store, "postgresql:"))
    return refuse(error, origin, "store",
                  "'%s' is neither sqlite:PATH nor postgresql:PARAMETERS (a libpq URL or key=value text)",
                  settings->store);
  if (settings->single_host || settings->artifacts_shared) return TRUE;
  return refuse(
      error, origin, settings_places_has(origin->places, "artifacts") ? "artifacts" : "store",
      "with a PostgreSQL store other hosts may run daemons and workers, which could not read the artifacts in "
      "'%s'; write artifacts_shared: true if every host mounts it, or single_host: true if there is only one",
      settings->artifacts);
}

static gboolean check_artifacts(const Settings *settings, const SettingsOrigin *origin, GError **error)
{
  return *settings->artifacts != '\0' || refuse(error, origin, "artifacts", "names no directory");
}

static gboolean is_loopback(const gchar *host)
{
  if (strcmp(host, "localhost") == 0) return TRUE;
  g_autoptr(GInetAddress) address = g_inet_address_new_from_string(host);
  return address != NULL && g_inet_address_get_is_loopback(address);
}

static gboolean check_listen(const Settings *settings, const SettingsOrigin *origin, GError **error)
{
  if (*settings->http.listen == '\0') return TRUE;
  g_autofree gchar *host = g_strdup(settings->http.listen);
  gchar *colon = strrchr(host, ':');
  guint64 port = 0;
  if (colon == NULL || !g_ascii_string_to_unsigned(colon + 1, 10, 0, 65535, &port, NULL))
    return refuse(error, origin, "http.listen", "'%s' is not ADDRESS:PORT", settings->http.listen);
  *colon = '\0';
  gsize length = strlen(host);
  if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
    memmove(host, host + 1, length);
    host[length - 2] = '\0';
  }
  return is_loopback(host) ||
         refuse(error, origin, "http.listen",
                "'%s' is not a loopback address, and nothing here asks who is calling; write 127.0.0.1:PORT and put an "
                "authenticating proxy in front",
                host);
}

/* Exactly-once counting rests on these; a property that changes one of them would break it silently. */
static const gchar *const reserved_properties[] = {
    "bootstrap.servers",          "metadata.broker.list",     "group.id",    "auto.offset.reset",
    "enable.auto.commit",         "enable.auto.offset.store", "check.crcs",  "session.timeout.ms",
    "queued.max.messages.kbytes", "enable.partition.eof",     "partitioner", NULL};

static gboolean check_broker(const Settings *settings, const SettingsOrigin *origin, GError **error)
{
  if (*settings->broker.group == '\0') return refuse(error, origin, "broker.group", "is empty");
  if (*settings->broker.brokers == '\0') return refuse(error, origin, "broker.brokers", "is empty");
  for (guint i = 0; settings->broker.properties[i] != NULL; i++) {
    g_autofree gchar *path = g_strdup_printf("broker.properties[%u]", i);
    g_auto(GStrv) parts = g_strsplit(settings->broker.properties[i], "=", 2);
    if (g_strv_length(parts) != 2 || *parts[0] == '\0')
      return refuse(error, origin, path, "'%s' is not key=value", settings->broker.properties[i]);
    if (g_strv_contains(reserved_properties, parts[0]))
      return refuse(error, origin, path, "%s cannot be set here: kedge sets it, and its counts rest on it", parts[0]);
  }
  return TRUE;
}

static gboolean check_times(const Settings *settings, const SettingsOrigin *origin, GError **error)
{
  return settings->worker.lost_ms >= 2 * settings->worker.heartbeat_ms ||
         refuse(error, origin, "worker.lost_ms",
                "%u is less than two heartbeats of %u ms: a living job would be taken for lost",
                settings->worker.lost_ms, settings->worker.heartbeat_ms);
}

/* --- models and webhooks -------------------------------------------------------------------------------------------
 */

static gboolean check_model_topics(const SettingsModel *model, const gchar *at, const SettingsOrigin *origin,
                                   GError **error)
{
  const struct {
    const gchar *member, *topic;
  } topics[] = {{"traffic.topic", model->traffic.topic},
                {"labels.topic", model->labels.topic},
                {"dead_letter_topic", model->dead_letter_topic}};
  for (guint i = 0; i < G_N_ELEMENTS(topics); i++) {
    g_autofree gchar *path = g_strconcat(at, ".", topics[i].member, NULL);
    gboolean may_be_empty = i == 1;
    if (may_be_empty && *topics[i].topic == '\0') continue;
    if (!check_topic(topics[i].topic, path, origin, error)) return FALSE;
    for (guint j = 0; j < i; j++)
      if (strcmp(topics[i].topic, topics[j].topic) == 0)
        return refuse(error, origin, path, "'%s' is already this model's %s; use a topic of its own", topics[i].topic,
                      topics[j].member);
  }
  return TRUE;
}

static gboolean check_model_window(const SettingsModel *model, const gchar *at, const SettingsOrigin *origin,
                                   GError **error)
{
  const gchar *member = NULL, *text = NULL;
  if (model->window.events == 0 && model->window.duration_ms == 0) {
    member = "window.duration_ms";
    text = "a window needs a length: write events, or duration_ms with events: 0";
  } else if (model->window.events > 0 && model->window.duration_ms > 0) {
    member = "window.duration_ms";
    text = "a window has one length: write events: 0 to have it by time, or leave duration_ms out";
  } else if (model->window.events > 0 && model->window.slide_events > model->window.events) {
    member = "window.slide_events";
    text = "is longer than the window, so that events between windows would never be looked at";
  } else if (model->window.events == 0 && model->window.slide_ms > model->window.duration_ms) {
    member = "window.slide_ms";
    text = "is longer than the window, so that events between windows would never be looked at";
  } else if (model->window.events > 0 && model->window.pane_events > model->window.events) {
    member = "window.pane_events";
    text = "is longer than the window, which is a sum of panes";
  }
  if (member == NULL) return TRUE;
  g_autofree gchar *path = g_strconcat(at, ".", member, NULL);
  return refuse(error, origin, path, "%s", text);
}

static gboolean check_model_targets(const SettingsModel *model, const gchar *at, const SettingsOrigin *origin,
                                    GError **error)
{
  for (guint i = 0; i < model->n_targets; i++) {
    const SettingsTarget *target = &model->targets[i];
    g_autofree gchar *path = g_strdup_printf("%s.targets[%u].path", at, i);
    if (!g_path_is_absolute(target->path))
      return refuse(error, origin, path, "'%s' is not an absolute path", target->path);
    g_autofree gchar *url = g_strdup_printf("%s.targets[%u].url", at, i);
    if (*target->url != '\0' && !g_str_has_prefix(target->url, "http://") && !g_str_has_prefix(target->url, "https://"))
      return refuse(error, origin, url, "'%s' begins neither with http:// nor https://", target->url);
  }
  return TRUE;
}

static gboolean check_name(const gchar *name, const gchar *at, const SettingsOrigin *origin, GError **error)
{
  g_autofree gchar *path = g_strconcat(at, ".name", NULL);
  return is_name(name) ||
         refuse(error, origin, path,
                "'%s' is not a name: a letter or digit, then up to 127 letters, digits, '.', '_', '-'", name);
}

static gboolean check_models(const Settings *settings, const SettingsOrigin *origin, GError **error)
{
  g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < settings->n_models; i++) {
    const SettingsModel *model = &settings->models[i];
    g_autofree gchar *at = g_strdup_printf("models[%u]", i);
    g_autofree gchar *name_path = g_strconcat(at, ".name", NULL);
    if (!check_name(model->name, at, origin, error)) return FALSE;
    if (!g_hash_table_add(seen, model->name))
      return refuse(error, origin, name_path, "'%s' is the name of an earlier model too", model->name);
    if (!check_model_topics(model, at, origin, error) || !check_model_window(model, at, origin, error) ||
        !check_model_targets(model, at, origin, error) || !settings_check_chain(model, at, origin, error))
      return FALSE;
    g_autofree gchar *architecture = g_strconcat(at, ".policy.architecture", NULL);
    if (*model->policy.architecture == '\0')
      return refuse(error, origin, architecture, "is empty; write auto, mlp:64,64 or trees");
    PipelineTreeOptions trees;
    g_autoptr(GError) cause = NULL;
    if (pipeline_tree_is_architecture(model->policy.architecture) &&
        !pipeline_tree_options_parse(model->policy.architecture, &trees, &cause))
      return refuse(error, origin, architecture, "%s", cause->message);
  }
  return TRUE;
}

static gboolean check_webhooks(const Settings *settings, const SettingsOrigin *origin, GError **error)
{
  g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < settings->n_webhooks; i++) {
    const SettingsWebhook *webhook = &settings->webhooks[i];
    g_autofree gchar *at = g_strdup_printf("webhooks[%u]", i);
    g_autofree gchar *name_path = g_strconcat(at, ".name", NULL), *url_path = g_strconcat(at, ".url", NULL);
    if (!check_name(webhook->name, at, origin, error)) return FALSE;
    if (!g_hash_table_add(seen, webhook->name))
      return refuse(error, origin, name_path, "'%s' is the name of an earlier webhook too", webhook->name);
    gboolean plain = webhook->allow_plain_http && g_str_has_prefix(webhook->url, "http://");
    if (!plain && !g_str_has_prefix(webhook->url, "https://"))
      return refuse(error, origin, url_path, "'%s' does not begin with https:// (http:// needs allow_plain_http: true)",
                    webhook->url);
  }
  return TRUE;
}

static const Check checks[] = {check_store, check_artifacts, check_listen,   check_broker,
                               check_times, check_models,    check_webhooks, NULL};

gboolean settings_check(const Settings *settings, const SettingsOrigin *origin, GError **error)
{
  for (const Check *check = checks; *check != NULL; check++)
    if (!(*check)(settings, origin, error)) return FALSE;
  return TRUE;
}
