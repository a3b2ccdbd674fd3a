/* The outbox thread: one sender a kind of item, in a visible table. */
#include "daemon/outbox.h"

#include <jansson.h>
#include <string.h>

#include "daemon/service_thread.h"
#include "daemon/source.h"
#include "deploy/rollout.h"
#include "deploy/webhook.h"
#include "registry/decision.h"

enum { BATCH = 50, RETRY_FIRST_MS = 200, RETRY_LAST_MS = 5000, ITEM_RETRY_LAST_S = 3600, WEBHOOK_ATTEMPTS = 60 };
#define FAILURE_LOOK_US 500000

struct _Outbox {
  ServiceThread service;
  Health *health;
  Metrics *metrics;
  Source *producer;  /* for dead letters; opened when the first one is due */
  gchar *failure;    /* what failed last and may still wait for another try; NULL: nothing */
  gint64 failure_at; /* monotonic: when to look whether it still does */
};

/* Sends one item. FALSE with error: try again later; *drop: never again (gone, unknown target). */
typedef gboolean (*OutboxSend)(Outbox *outbox, const RegistryOutboxItem *item, gboolean *drop, GError **error);

static const SettingsWebhook *find_webhook(const Settings *settings, const gchar *name)
{
  for (guint i = 0; i < settings->n_webhooks; i++)
    if (g_strcmp0(settings->webhooks[i].name, name) == 0) return &settings->webhooks[i];
  return NULL;
}

static gboolean send_webhook(Outbox *outbox, const RegistryOutboxItem *item, gboolean *drop, GError **error)
{
  const SettingsWebhook *webhook = find_webhook(outbox->service.settings, item->target);
  if (!webhook) {
    *drop = TRUE;
    g_message("notification %s dropped: webhook %s is no longer in the settings", item->id, item->target);
    return TRUE;
  }
  DeployWebhookSettings settings = {.name = webhook->name,
                                    .url = webhook->url,
                                    .secret_file = webhook->secret_file,
                                    .allow_plain_http = webhook->allow_plain_http,
                                    .allow_private_address = webhook->allow_private_address,
                                    .timeout_ms = webhook->timeout_ms};
  gboolean gone = FALSE, sent = deploy_webhook_send(&settings, item->id, g_get_real_time() / G_USEC_PER_SEC, item->body,
                                                    &gone, error);
  *drop = gone || (!sent && item->attempts >= WEBHOOK_ATTEMPTS);
  return sent;
}

static void ignore_assignment(gpointer user_data, const gchar *topic, gint32 partition)
{
  (void)user_data;
  (void)topic;
  (void)partition;
}

static void ignore_revocation(gpointer user_data, const gchar *topic, gint32 partition, gboolean lost)
{
  (void)lost;
  ignore_assignment(user_data, topic, partition);
}

static void note_failure(gpointer user_data, const gchar *topic, gint32 partition, const GError *error)
{
  (void)user_data;
  g_debug("outbox: %s/%d: %s", topic ? topic : "broker", partition, error->message);
}

static gboolean open_producer(Outbox *outbox, GError **error)
{
  static const SourceCallbacks callbacks = {ignore_assignment, ignore_revocation, note_failure, NULL};
  if (outbox->producer) return TRUE;
  const SettingsBroker *broker = &outbox->service.settings->broker;
  const SourceType *type = source_type_find(broker->source);
  outbox->producer = type ? type->open(broker, TRUE, &callbacks, outbox, error) : NULL;
  return outbox->producer != NULL;
}

static gboolean send_dead_letter(Outbox *outbox, const RegistryOutboxItem *item, gboolean *drop, GError **error)
{
  (void)drop;
  if (!open_producer(outbox, error)) return FALSE;
  json_t *body = json_loads(item->body ? item->body : "{}", 0, NULL);
  const gchar *reason = json_string_value(json_object_get(body, "reason"));
  const gchar *source = json_string_value(json_object_get(body, "source"));
  const gchar *const headers[] = {
      "kedge-id", item->id, "kedge-reason", reason ? reason : "unknown", "kedge-source", source ? source : "unknown",
      NULL};
  g_autoptr(GBytes) empty = g_bytes_new_static("", 0);
  gboolean sent = outbox->producer->type->produce(outbox->producer, item->target, item->id,
                                                  item->payload ? item->payload : empty, headers, error);
  json_decref(body);
  return sent;
}

static gboolean send_rollout(Outbox *outbox, const RegistryOutboxItem *item, gboolean *drop, GError **error)
{
  const SettingsModel *model = settings_find_model(outbox->service.settings, item->target);
  *drop = model == NULL; /* promoted by hand, not served by this daemon's settings */
  if (!model || model->n_targets == 0) return TRUE;
  g_autofree DeployTargetSettings *targets = g_new0(DeployTargetSettings, model->n_targets);
  for (guint i = 0; i < model->n_targets; i++)
    targets[i] =
        (DeployTargetSettings){.type = model->targets[i].type,
                               .path = model->targets[i].path,
                               .url = model->targets[i].url && *model->targets[i].url ? model->targets[i].url : NULL,
                               .keep_versions = model->targets[i].keep_versions};
  gint64 applied = 0;
  return deploy_rollout_apply(outbox->service.store, outbox->service.artifacts, item->target, targets, model->n_targets,
                              &applied, error);
}

static const struct {
  const gchar *kind;
  OutboxSend send;
} senders[] = {/* rollouts first: a webhook that times out must not hold them up */
               {"rollout", send_rollout},
               {"dead_letter", send_dead_letter},
               {"webhook", send_webhook}};

Outbox *outbox_new(Settings *settings, Health *health, Metrics *metrics, GError **error)
{
  (void)error;
  Outbox *outbox = g_new0(Outbox, 1);
  service_thread_init(&outbox->service, settings);
  outbox->health = health;
  outbox->metrics = metrics;
  outbox->failure = g_strdup("an item failed before this daemon started and waits for another try");
  return outbox;
}

void outbox_free(Outbox *outbox)
{
  if (!outbox) return;
  service_thread_clear(&outbox->service);
  g_free(outbox->failure);
  g_free(outbox);
}

static void close_producer(Outbox *outbox)
{
  if (outbox->producer) outbox->producer->type->close(outbox->producer);
  outbox->producer = NULL;
}

/* FALSE: stop. */
static gboolean pause_thread(Outbox *outbox, gint64 milliseconds)
{
  gboolean reloaded, go_on = service_thread_rest(&outbox->service, milliseconds, &reloaded);
  if (reloaded) close_producer(outbox);
  return go_on;
}

/* Doubling from a second to an hour, with jitter, so that receivers are not met by all at once. */
static gint64 next_attempt(guint attempts)
{
  gint64 seconds = MIN((gint64)1 << MIN(attempts, 12), ITEM_RETRY_LAST_S);
  return g_get_real_time() + seconds * G_USEC_PER_SEC / 2 + g_random_int_range(0, (gint32)(seconds * 500)) * 1000;
}

static gboolean deliver(Outbox *outbox, OutboxSend send, const RegistryOutboxItem *item, GError **error)
{
  g_autoptr(GError) local = NULL;
  gboolean drop = FALSE;
  health_beat(outbox->health, "outbox");
  gboolean sent = send(outbox, item, &drop, &local);
  if (drop && local) g_warning("outbox: %s to %s is given up: %s", item->id, item->target, local->message);
  if (sent || drop) return registry_outbox_done(outbox->service.store, item->id, error);
  const gchar *text = local ? local->message : "refused";
  g_message("outbox: %s to %s: %s; will be tried again", item->id, item->target, text);
  if (g_str_equal(item->kind, "dead_letter")) close_producer(outbox);
  g_free(outbox->failure);
  outbox->failure = g_strdup_printf("%s to %s: %s", item->kind, item->target, text);
  outbox->failure_at = g_get_monotonic_time() + FAILURE_LOOK_US;
  health_set(outbox->health, "outbox", FALSE, outbox->failure);
  return registry_outbox_retry(outbox->service.store, item->id, next_attempt(item->attempts), text, error);
}

/* Ready again only when nothing that failed waits any more, whoever delivered it: between two tries nothing is due. */
static gboolean tell_health(Outbox *outbox, GError **error)
{
  if (!outbox->failure) {
    health_set(outbox->health, "outbox", TRUE, NULL);
    return TRUE;
  }
  if (g_get_monotonic_time() < outbox->failure_at) return TRUE;
  outbox->failure_at = g_get_monotonic_time() + FAILURE_LOOK_US;
  g_autoptr(GPtrArray) items = registry_outbox_due(outbox->service.store, NULL, G_MAXINT64, BATCH, error);
  if (!items) return FALSE;
  gboolean waits = items->len == BATCH;
  for (guint i = 0; i < items->len; i++)
    waits = waits || ((RegistryOutboxItem *)g_ptr_array_index(items, i))->attempts > 0;
  if (!waits) g_clear_pointer(&outbox->failure, g_free);
  health_set(outbox->health, "outbox", !waits, outbox->failure);
  return TRUE;
}

static gboolean pass(Outbox *outbox, guint *n_items, GError **error)
{
  if (!service_thread_open(&outbox->service, error)) return FALSE;
  for (guint k = 0; k < G_N_ELEMENTS(senders); k++) {
    g_autoptr(GPtrArray) items =
        registry_outbox_due(outbox->service.store, senders[k].kind, g_get_real_time(), BATCH, error);
    if (!items) return FALSE;
    for (guint i = 0; i < items->len; i++)
      if (!deliver(outbox, senders[k].send, g_ptr_array_index(items, i), error)) return FALSE;
    *n_items += items->len;
  }
  metrics_set(outbox->metrics, "kedge_outbox_pending", NULL, *n_items);
  return *n_items > 0 || tell_health(outbox, error);
}

static gpointer run(gpointer data)
{
  Outbox *outbox = data;
  gint64 retry = RETRY_FIRST_MS;
  for (gint64 wait = 0; pause_thread(outbox, wait);) {
    g_autoptr(GError) error = NULL;
    guint n_items = 0;
    health_beat(outbox->health, "outbox");
    if (pass(outbox, &n_items, &error)) {
      retry = RETRY_FIRST_MS;
      wait = n_items >= BATCH ? 0 : outbox->service.settings->leader.poll_ms;
      continue;
    }
    health_set(outbox->health, "outbox", FALSE, error->message);
    g_warning("outbox: %s", error->message);
    wait = retry;
    retry = MIN(retry * 2, RETRY_LAST_MS);
  }
  close_producer(outbox);
  service_thread_close(&outbox->service);
  return NULL;
}

void outbox_start(Outbox *outbox)
{
  service_thread_start(&outbox->service, "kedge-outbox", run, outbox);
}

void outbox_reload(Outbox *outbox, Settings *settings)
{
  service_thread_reload(&outbox->service, settings);
}

void outbox_stop(Outbox *outbox)
{
  service_thread_stop(&outbox->service);
}
