/* "cloudevents": the inference loggers of KServe and Seldon. A request event carries the features, a response event the
 * prediction; both carry the same id, in the same partition when they are keyed by it. The second to come makes the
 * events: request id is the id, or ID#ROW (from 0) for the rows of a batch; the time is the request's; the latency is
 * the response's time minus the request's. */
#include "daemon/decode_half.h"
#include "daemon/decode_halves.h"

#include <math.h>
#include <string.h>

extern const DecoderType decoder_cloudevents;

enum { REQUEST, RESPONSE };

static const struct {
  const gchar *type;
  guint kind;
} event_types[] = {{"org.kubeflow.serving.inference.request", REQUEST},
                   {"org.kubeflow.serving.inference.response", RESPONSE},
                   {"io.seldon.serving.inference.request", REQUEST},
                   {"io.seldon.serving.inference.response", RESPONSE}};

typedef struct {
  Decoder base;
  DecodeInference *inference;
  DecodeJson *json; /* labels are flat JSON */
  DecodeHalves *halves;
  gchar *only_model;
  guint n_features;
  /* what the last call gave out */
  GArray *events, *values; /* DriftEvent; DriftValue */
  GString *ids;
  GBytes *request, *response;
} CloudEventsDecoder;

/* --- the envelope
 * ------------------------------------------------------------------------------------------------------ */

/* Attributes stand in headers ce_NAME (Kafka's binary mode); Seldon 1 leaves the prefix out. */
static const gchar *const type_headers[] = {"ce_type", "type", NULL};
static const gchar *const id_headers[] = {"ce_id", "requestid", "id", NULL};
static const gchar *const time_headers[] = {"ce_time", "time", NULL};
static const gchar *const service_headers[] = {"ce_inferenceservicename", "inferenceservicename", NULL};
static const gchar *const content_headers[] = {"content-type", "ce_datacontenttype", NULL};

/* The text (new) of the first of the headers that is there; NULL: none, or not UTF-8. */
static gchar *copy_header(const SourceRecord *record, const gchar *const *names)
{
  for (; record->get_header != NULL && *names != NULL; names++) {
    gsize length = 0;
    const gchar *value = record->get_header(record, *names, &length);
    if (value != NULL && g_utf8_validate(value, (gssize)length, NULL)) return g_strndup(value, length);
  }
  return NULL;
}

typedef struct {
  gchar *type, *id, *time, *service, *content; /* own; NULL: absent */
  const guint8 *body;
  gsize body_length;
} Event;

static void event_clear(Event *event)
{
  g_free(event->type);
  g_free(event->id);
  g_free(event->time);
  g_free(event->service);
  g_free(event->content);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Event, event_clear)

static DecodeReason read_structured(CloudEventsDecoder *self, const SourceRecord *record, Event *event, GError **error)
{
  DecodeEnvelope envelope;
  DecodeReason reason =
      decode_inference_envelope(self->inference, record->value, record->value_length, &envelope, error);
  if (reason != DECODE_OK) return reason;
  event->type = g_strdup(envelope.type);
  event->id = g_strdup(envelope.id);
  event->time = g_strdup(envelope.time);
  event->service = g_strdup(envelope.service);
  event->body = envelope.body;
  event->body_length = envelope.body_length;
  return DECODE_OK;
}

static DecodeReason read_event(CloudEventsDecoder *self, const SourceRecord *record, Event *event, GError **error)
{
  event->content = copy_header(record, content_headers);
  event->type = copy_header(record, type_headers);
  const gchar *content = event->content != NULL ? event->content : "";
  if (g_str_has_prefix(content, "application/cloudevents-batch"))
    return decode_refuse(error, DECODE_UNSUPPORTED, "content-type", 0, "batches of CloudEvents are not supported");
  if (g_str_has_prefix(content, "application/cloudevents") || event->type == NULL) {
    g_clear_pointer(&event->type, g_free);
    return read_structured(self, record, event, error);
  }
  if (*content != '\0' && !g_str_has_prefix(content, "application/json"))
    return decode_refuse(error, DECODE_UNSUPPORTED, "content-type", 0, "'%s' instead of application/json", content);
  event->id = copy_header(record, id_headers);
  event->time = copy_header(record, time_headers);
  event->service = copy_header(record, service_headers);
  event->body = record->value;
  event->body_length = record->value_length;
  return DECODE_OK;
}

static DecodeReason find_kind(const Event *event, guint *kind, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS(event_types); i++)
    if (strcmp(event->type, event_types[i].type) == 0) {
      *kind = event_types[i].kind;
      return DECODE_OK;
    }
  return decode_refuse(error, DECODE_UNSUPPORTED, "type", 0, "'%.200s' is not an inference request or response",
                       event->type);
}

static DecodeReason check_id(const Event *event, GError **error)
{
  if (event->id == NULL || *event->id == '\0') return decode_refuse(error, DECODE_MISSING_FIELD, "id", 0, "is missing");
  if (strlen(event->id) > DECODE_MAXIMUM_ID)
    return decode_refuse(error, DECODE_TOO_LARGE, "id", 0, "an id longer than 512 bytes");
  return DECODE_OK;
}

/* The event's time, or the broker's when it has none. */
static DecodeReason find_time(const Event *event, const SourceRecord *record, gint64 *time, GError **error)
{
  if (event->time != NULL) {
    if (decode_time_parse(event->time, strlen(event->time), time)) return DECODE_OK;
    return decode_refuse(error, DECODE_WRONG_TYPE, "time", 0, "'%.100s' is not a time as in RFC 3339 with a zone",
                         event->time);
  }
  if (record->timestamp < 0) return decode_refuse(error, DECODE_MISSING_FIELD, "time", 0, "is missing");
  *time = record->timestamp;
  return DECODE_OK;
}

/* --- from two halves to events
 * ----------------------------------------------------------------------------------------- */

static DecodeReason make_half(CloudEventsDecoder *self, const Event *event, guint kind, gint64 time, GBytes **half,
                              GError **error)
{
  DecodeReason reason;
  if (kind == REQUEST) {
    DecodeRequest request;
    reason = decode_inference_request(self->inference, event->body, event->body_length, &request, error);
    if (reason == DECODE_OK) *half = decode_half_of_request(&request, self->n_features, time);
  } else {
    DecodeResponse response;
    reason = decode_inference_response(self->inference, event->body, event->body_length, &response, error);
    if (reason == DECODE_OK) *half = decode_half_of_response(&response, time);
  }
  return reason;
}

static void set_ids(CloudEventsDecoder *self, const gchar *id)
{
  DriftEvent *events = (DriftEvent *)self->events->data;
  g_string_truncate(self->ids, 0);
  for (guint row = 0; row < self->events->len; row++) {
    gsize start = self->ids->len;
    g_string_append(self->ids, id);
    if (self->events->len > 1) g_string_append_printf(self->ids, "#%u", row);
    events[row].request_id = (DriftValue){.kind = DRIFT_VALUE_TEXT, .length = (guint32)(self->ids->len - start)};
  }
  const gchar *text = self->ids->str; /* moves no more */
  for (guint row = 0; row < self->events->len; row++) {
    events[row].request_id.text = text;
    text += events[row].request_id.length;
  }
}

static DecodeReason join(CloudEventsDecoder *self, const gchar *id, DecodedTraffic *out, GError **error)
{
  DecodeHalfReader request, response;
  decode_half_open(&request, self->request);
  decode_half_open(&response, self->response);
  if (request.n_rows != response.n_rows || request.n_rows > DECODE_MAXIMUM_ROWS)
    return decode_refuse(error, DECODE_WRONG_TYPE, "outputs", 0, "%u rows of output for %u rows of input (request %s)",
                         response.n_rows, request.n_rows, id);
  g_array_set_size(self->values, request.n_rows * self->n_features);
  g_array_set_size(self->events, request.n_rows);
  for (guint i = 0; i < self->values->len; i++)
    g_array_index(self->values, DriftValue, i) = decode_half_get_value(&request);
  gboolean has_latency = response.time >= request.time;
  for (guint row = 0; row < request.n_rows; row++) {
    DriftEvent *event = &g_array_index(self->events, DriftEvent, row);
    event->event_time = request.time;
    event->version = response.version;
    event->prediction = decode_half_get_value(&response);
    event->score = decode_half_get_double(&response);
    event->latency_ms = has_latency ? (double)(response.time - request.time) / 1000 : NAN;
    event->features = (const DriftValue *)(gpointer)self->values->data + (gsize)row * self->n_features;
  }
  if (request.failed || response.failed)
    return decode_refuse(error, DECODE_MALFORMED, NULL, 0, "the stored half of request %s is damaged", id);
  set_ids(self, id);
  out->events = (DriftEvent *)(gpointer)self->events->data;
  out->n_events = self->events->len;
  return DECODE_OK;
}

static DecodeReason take_half(CloudEventsDecoder *self, const Event *event, guint kind, gint64 time,
                              const SourceRecord *record, DecodedTraffic *out, GError **error)
{
  g_autoptr(GBytes) half = NULL;
  DecodeReason reason = make_half(self, event, kind, time, &half, error);
  if (reason != DECODE_OK) return reason;
  gint64 clock = record->timestamp >= 0 ? MIN(time, record->timestamp) : time;
  GBytes *other = NULL;
  if (decode_halves_add(self->halves, event->id, kind, half, clock, &other, &out->n_expired) != DECODE_HALF_COMPLETES)
    return DECODE_OK;
  g_clear_pointer(&self->request, g_bytes_unref);
  g_clear_pointer(&self->response, g_bytes_unref);
  self->request = kind == REQUEST ? g_steal_pointer(&half) : other;
  self->response = kind == REQUEST ? other : g_steal_pointer(&half);
  return join(self, event->id, out, error);
}

/* --- the decoder
 * ------------------------------------------------------------------------------------------------------- */

static Decoder *create(const SettingsTraffic *settings, const SettingsFields *label_fields, const DriftSchema *schema,
                       GError **error G_GNUC_UNUSED)
{
  CloudEventsDecoder *self = g_new0(CloudEventsDecoder, 1);
  self->base.type = &decoder_cloudevents;
  self->inference = decode_inference_new(&settings->fields, schema);
  self->json = decode_json_new(settings, label_fields, schema);
  self->halves = decode_halves_new(settings->half_wait_ms * 1000, settings->half_limit);
  self->only_model = g_strdup(settings->only_model != NULL ? settings->only_model : "");
  self->n_features = drift_schema_n_features(schema);
  self->events = g_array_new(FALSE, TRUE, sizeof(DriftEvent));
  self->values = g_array_new(FALSE, TRUE, sizeof(DriftValue));
  self->ids = g_string_new(NULL);
  return &self->base;
}

static void release(Decoder *decoder)
{
  CloudEventsDecoder *self = (CloudEventsDecoder *)decoder;
  decode_inference_free(self->inference);
  decode_json_free(self->json);
  decode_halves_free(self->halves);
  g_free(self->only_model);
  g_array_unref(self->events);
  g_array_unref(self->values);
  g_string_free(self->ids, TRUE);
  g_clear_pointer(&self->request, g_bytes_unref);
  g_clear_pointer(&self->response, g_bytes_unref);
  g_free(self);
}

static DecodeReason read_traffic(Decoder *decoder, const SourceRecord *record, DecodedTraffic *out, GError **error)
{
  CloudEventsDecoder *self = (CloudEventsDecoder *)decoder;
  g_auto(Event) event = {0};
  guint kind = REQUEST;
  gint64 time = 0;
  *out = (DecodedTraffic){0};
  if (record->value_length > DECODE_MAXIMUM_BYTES)
    return decode_refuse(error, DECODE_TOO_LARGE, NULL, 0, "the record is larger than 1 MiB");
  DecodeReason reason = read_event(self, record, &event, error);
  if (reason == DECODE_OK) reason = find_kind(&event, &kind, error);
  if (reason == DECODE_OK) reason = check_id(&event, error);
  if (reason == DECODE_OK) reason = find_time(&event, record, &time, error);
  if (reason != DECODE_OK) return reason;
  if (*self->only_model != '\0' && g_strcmp0(event.service, self->only_model) != 0) return DECODE_OK;
  return take_half(self, &event, kind, time, record, out, error);
}

static DecodeReason read_label(Decoder *decoder, const SourceRecord *record, DecodedLabel *out, GError **error)
{
  CloudEventsDecoder *self = (CloudEventsDecoder *)decoder;
  return decode_json_label(self->json, record->value, record->value_length, out, error);
}

static GBytes *to_bytes(const Decoder *decoder)
{
  return decode_halves_to_bytes(((const CloudEventsDecoder *)decoder)->halves);
}

static gboolean restore(Decoder *decoder, GBytes *bytes, GError **error)
{
  return decode_halves_restore(((CloudEventsDecoder *)decoder)->halves, bytes, error);
}

static gboolean check_example(Decoder *decoder, GError **error)
{
  static const gchar *const examples[] = {
      "{\"specversion\":\"1.0\",\"id\":\"7\",\"type\":\"org.kubeflow.serving.inference.request\","
      "\"time\":\"2024-01-01T00:00:00Z\",\"data\":{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"data\":[2.5]}]}}",
      "{\"specversion\":\"1.0\",\"id\":\"7\",\"type\":\"org.kubeflow.serving.inference.response\","
      "\"time\":\"2024-01-01T00:00:01Z\",\"data\":{\"outputs\":[{\"name\":\"predict\",\"shape\":[1],\"data\":[4]}]}}"};
  DecodedTraffic traffic = {0};
  for (guint i = 0; i < G_N_ELEMENTS(examples); i++) {
    SourceRecord record = {.value = (const guint8 *)examples[i], .value_length = strlen(examples[i]), .timestamp = -1};
    if (read_traffic(decoder, &record, &traffic, error) != DECODE_OK) return FALSE;
  }
  if (traffic.n_events == 1 && traffic.events->features[0].number == 2.5 && traffic.events->prediction.number == 4 &&
      traffic.events->latency_ms == 1000)
    return TRUE;
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_DECODE, "the CloudEvents decoder misreads its own example");
  return FALSE;
}

static gboolean selftest(GError **error)
{
  gchar none[] = "", prediction[] = "prediction", score[] = "score", id[] = "request_id", time[] = "ts",
        label[] = "label";
  SettingsTraffic settings = {.fields = {id, time, none, none, none, prediction, score, none, label},
                              .only_model = none,
                              .half_wait_ms = 60000,
                              .half_limit = 10};
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_REGRESSION, "y");
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, FALSE, TRUE);
  Decoder *decoder = create(&settings, NULL, schema, error);
  gboolean good = check_example(decoder, error);
  release(decoder);
  return good;
}

const DecoderType decoder_cloudevents = {
    .format = "cloudevents",
    .summary = "KServe's and Seldon's inference logger: CloudEvents with Open Inference Protocol bodies",
    .create = create,
    .traffic = read_traffic,
    .label = read_label,
    .to_bytes = to_bytes,
    .restore = restore,
    .free = release,
    .selftest = selftest,
};
