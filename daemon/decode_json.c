/* "json": one flat JSON object a record. Stateless; the work is in decode_json.cpp. */
#include "daemon/decode_internal.h"

#include <string.h>

extern const DecoderType decoder_json;

typedef struct {
  Decoder base;
  DecodeJson *json;
  DriftEvent event;
} JsonDecoder;

static Decoder *create(const SettingsTraffic *settings, const SettingsFields *label_fields, const DriftSchema *schema,
                       GError **error G_GNUC_UNUSED)
{
  JsonDecoder *self = g_new0(JsonDecoder, 1);
  self->base.type = &decoder_json;
  self->json = decode_json_new(settings, label_fields, schema);
  return &self->base;
}

static DecodeReason read_traffic(Decoder *decoder, const SourceRecord *record, DecodedTraffic *out, GError **error)
{
  JsonDecoder *self = (JsonDecoder *)decoder;
  gboolean is_ours = FALSE;
  out->n_expired = 0;
  DecodeReason reason =
      decode_json_traffic(self->json, record->value, record->value_length, &self->event, &is_ours, error);
  if (reason != DECODE_OK) return reason;
  out->events = &self->event;
  out->n_events = is_ours ? 1 : 0;
  return DECODE_OK;
}

static DecodeReason read_label(Decoder *decoder, const SourceRecord *record, DecodedLabel *out, GError **error)
{
  return decode_json_label(((JsonDecoder *)decoder)->json, record->value, record->value_length, out, error);
}

static void release(Decoder *decoder)
{
  decode_json_free(((JsonDecoder *)decoder)->json);
  g_free(decoder);
}

static gboolean check_example(Decoder *decoder, GError **error)
{
  static const gchar example[] = "{\"request_id\":7,\"ts\":1700000000,\"features\":{\"x\":2.5},\"prediction\":\"a\"}";
  SourceRecord record = {.value = (const guint8 *)example, .value_length = strlen(example)};
  DecodedTraffic traffic = {0};
  if (read_traffic(decoder, &record, &traffic, error) != DECODE_OK) return FALSE;
  const DriftEvent *event = traffic.events;
  if (traffic.n_events == 1 && event->event_time == G_GINT64_CONSTANT(1700000000000000) &&
      event->features[0].kind == DRIFT_VALUE_NUMBER && event->features[0].number == 2.5)
    return TRUE;
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_DECODE, "the JSON decoder misreads its own example");
  return FALSE;
}

static gboolean selftest(GError **error)
{
  SettingsTraffic settings = {.fields = {.request_id = (gchar *)"request_id",
                                         .time = (gchar *)"ts",
                                         .model = (gchar *)"model",
                                         .version = (gchar *)"version",
                                         .features = (gchar *)"features",
                                         .prediction = (gchar *)"prediction",
                                         .score = (gchar *)"score",
                                         .latency = (gchar *)"latency_ms",
                                         .label = (gchar *)"label"},
                              .only_model = (gchar *)""};
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_REGRESSION, "y");
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, FALSE, TRUE);
  Decoder *decoder = create(&settings, NULL, schema, error);
  gboolean good = check_example(decoder, error);
  release(decoder);
  return good;
}

const DecoderType decoder_json = {
    .format = "json",
    .summary = "one flat JSON object an event: request_id, ts, features, prediction, score",
    .create = create,
    .traffic = read_traffic,
    .label = read_label,
    .free = release,
    .selftest = selftest,
};
