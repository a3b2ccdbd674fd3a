/* Is a model of the settings registered, and with what grid? */
#include "daemon/consumer_internal.h"

#include "registry/model.h"

#define RETRY_US 1000000

ConsumerModel *consumer_model_new(const SettingsModel *settings)
{
  ConsumerModel *model = g_new0(ConsumerModel, 1);
  model->settings = settings;
  return model;
}

void consumer_model_free(ConsumerModel *model)
{
  if (model->grid != NULL) drift_grid_unref(model->grid);
  if (model->label_decoder != NULL) model->label_decoder->type->free(model->label_decoder);
  g_free(model->problem);
  g_free(model->decoded_text);
  g_free(model);
}

/* The first version that has a grid: it stays the model's grid for good, so that panes always add up. */
static gchar *find_grid(Consumer *consumer, const gchar *name, GError **error)
{
  g_autoptr(GPtrArray) versions = registry_version_list(consumer->store, name, error);
  for (guint i = 0; versions != NULL && i < versions->len; i++) {
    const RegistryVersion *version = versions->pdata[i];
    if (version->grid_digest != NULL) return g_strdup(version->grid_digest);
  }
  return NULL;
}

static gchar *how_to_register(const gchar *name, const gchar *what)
{
  return g_strdup_printf(
      "model %s %s: run `kedge model add %s --onnx MODEL.onnx --reference REFERENCE.csv --label COLUMN`", name, what,
      name);
}

static gboolean load(Consumer *consumer, ConsumerModel *model, GError **error)
{
  const gchar *name = model->settings->name;
  g_autoptr(RegistryModel) registered = registry_model_get(consumer->store, name, error);
  if (registered == NULL) return FALSE;
  g_autofree gchar *digest = find_grid(consumer, name, error);
  if (digest == NULL) {
    if (error == NULL || *error == NULL)
      consumer_set_text(&model->problem, how_to_register(name, "has no reference yet"));
    return FALSE;
  }
  if (consumer->artifacts == NULL) consumer->artifacts = registry_artifacts_open(consumer->settings->artifacts, error);
  if (consumer->artifacts == NULL) return FALSE;
  g_autoptr(GBytes) bytes = registry_artifacts_get(consumer->artifacts, digest, error);
  if (bytes == NULL) return FALSE;
  g_autoptr(DriftGrid) grid = drift_grid_from_bytes(bytes, error);
  if (grid == NULL) return FALSE;
  const DecoderType *type = decoder_type_find(model->settings->traffic.format);
  if (type == NULL) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "there is no format \"%s\"",
                model->settings->traffic.format);
    return FALSE;
  }
  model->label_decoder = type->create(&model->settings->traffic, NULL, drift_grid_get_schema(grid), error);
  if (model->label_decoder == NULL) return FALSE;
  model->grid = g_steal_pointer(&grid);
  return TRUE;
}

gboolean consumer_model_prepare(Consumer *consumer, ConsumerModel *model)
{
  if (model->grid != NULL) return TRUE;
  if (consumer->now < model->retry_at) return FALSE;
  model->retry_at = consumer->now + RETRY_US;
  consumer_set_text(&model->problem, NULL);
  g_autoptr(GError) error = NULL;
  if (load(consumer, model, &error)) return TRUE;
  const gchar *name = model->settings->name;
  if (g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND)) {
    consumer_set_text(&model->problem, how_to_register(name, "is not registered"));
  } else if (g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE)) {
    consumer_store_failed(consumer, error);
  } else if (error != NULL) {
    consumer_set_text(&model->problem, g_strdup_printf("model %s: %s", name, error->message));
  }
  return FALSE;
}
