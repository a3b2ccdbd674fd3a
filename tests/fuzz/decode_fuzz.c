/* libFuzzer over the decoders: `make fuzz-decode`. The first byte chooses what the rest is: an event or label of flat
 * JSON, a CloudEvent in either mode (with its other half sent before), or stored halves. */
#include <string.h>

#include "daemon/decode.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

static const gchar request_type[] = "org.kubeflow.serving.inference.request";
static const gchar response_type[] = "org.kubeflow.serving.inference.response";
static const gchar request_body[] = "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],\"data\":[1,\"a\"]}]}";

static const gchar *get_header(const SourceRecord *record, const gchar *name, gsize *length)
{
  const gchar *value = strcmp(name, "ce_type") == 0 ? record->native : strcmp(name, "ce_id") == 0 ? "id" : NULL;
  if (value != NULL) *length = strlen(value);
  return value;
}

static Decoder *decoder_new(const gchar *format)
{
  gchar none[] = "", id[] = "request_id", time[] = "ts", version[] = "version", features[] = "features";
  gchar prediction[] = "prediction", score[] = "score", latency[] = "latency_ms", label[] = "label";
  const SettingsTraffic settings = {.fields = {id, time, none, version, features, prediction, score, latency, label},
                                    .only_model = none,
                                    .half_wait_ms = 1000,
                                    .half_limit = 8};
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "c", DRIFT_CATEGORICAL, FALSE, TRUE);
  drift_schema_add_class(schema, "0");
  drift_schema_add_class(schema, "1");
  Decoder *decoder = decoder_type_find(format)->create(&settings, NULL, schema, NULL);
  drift_schema_free(schema);
  return decoder;
}

/* Reads every byte that was given out, so that the sanitizer sees what is not there. */
static void touch(const DecodedTraffic *out)
{
  static volatile guint sum;
  for (guint i = 0; i < out->n_events; i++) {
    const DriftValue *values[] = {&out->events[i].request_id, &out->events[i].prediction, &out->events[i].features[0],
                                  &out->events[i].features[1]};
    for (guint j = 0; j < G_N_ELEMENTS(values); j++)
      for (guint k = 0; values[j]->kind == DRIFT_VALUE_TEXT && k < values[j]->length; k++)
        sum += (guint8)values[j]->text[k];
  }
}

static void feed(Decoder *decoder, const gchar *type, const guint8 *bytes, gsize length)
{
  SourceRecord record = {.value = bytes,
                         .value_length = length,
                         .timestamp = 1000000,
                         .native = (gpointer)type,
                         .get_header = type != NULL ? get_header : NULL};
  DecodedTraffic out = {0};
  GError *error = NULL;
  DecodeReason reason = decoder->type->traffic(decoder, &record, &out, &error);
  if ((reason == DECODE_OK) != (error == NULL)) __builtin_trap();
  if (reason == DECODE_OK) touch(&out);
  g_clear_error(&error);
}

static void feed_label(Decoder *decoder, const guint8 *bytes, gsize length)
{
  SourceRecord record = {.value = bytes, .value_length = length};
  DecodedLabel label;
  GError *error = NULL;
  DecodeReason reason = decoder->type->label(decoder, &record, &label, &error);
  if ((reason == DECODE_OK) != (error == NULL)) __builtin_trap();
  g_clear_error(&error);
}

static void feed_state(Decoder *decoder, const guint8 *bytes, gsize length)
{
  GBytes *state = g_bytes_new(bytes, length);
  if (decoder->type->restore(decoder, state, NULL)) {
    GBytes *again = decoder->type->to_bytes(decoder);
    if (!g_bytes_equal(state, again)) __builtin_trap(); /* canonical: one spelling for each state */
    g_bytes_unref(again);
    feed(decoder, request_type, (const guint8 *)request_body, strlen(request_body));
  }
  g_bytes_unref(state);
}

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
  static Decoder *json;
  if (json == NULL) json = decoder_new("json");
  if (size == 0) return 0;
  guint8 kind = data[0] % 6;
  data++;
  size--;
  if (kind == 0) feed(json, NULL, data, size);
  if (kind == 1) feed_label(json, data, size);
  if (kind < 2) return 0;
  Decoder *events = decoder_new("cloudevents"); /* fresh: what an input does must not depend on the inputs before */
  if (kind == 2) feed(events, NULL, data, size);
  if (kind == 3) feed(events, request_type, data, size);
  if (kind == 4) {
    feed(events, request_type, (const guint8 *)request_body, strlen(request_body));
    feed(events, response_type, data, size);
  }
  if (kind == 5) feed_state(events, data, size);
  events->type->free(events);
  return 0;
}
