/* The CloudEvents decoder: modes, tensors, joining halves, its state, and the reason of every refusal. */
#include "daemon/decode_halves.h"
#include "daemon/decode_internal.h"

#include <check.h>
#include <math.h>
#include <string.h>

#define REQUEST "org.kubeflow.serving.inference.request"
#define RESPONSE "org.kubeflow.serving.inference.response"
#define IN1 "{\"inputs\":[{\"name\":\"i\",\"shape\":[1,3],\"datatype\":\"FP64\",\"data\":[1.5,\"k\",3]}]}"
#define OUT1                                                                                                           \
  "{\"model_name\":\"m\",\"model_version\":\"4\",\"outputs\":[{\"name\":\"predict\",\"shape\":[1],\"data\":[1]}]}"

static SettingsTraffic traffic_settings(void)
{
  return (SettingsTraffic){.fields = {(gchar *)"request_id", (gchar *)"ts", (gchar *)"model", (gchar *)"version",
                                      (gchar *)"features", (gchar *)"prediction", (gchar *)"score",
                                      (gchar *)"latency_ms", (gchar *)"label"},
                           .only_model = (gchar *)"",
                           .half_wait_ms = 1000,
                           .half_limit = 4};
}

static Decoder *decoder_new(const SettingsTraffic *settings)
{
  SettingsTraffic standard = traffic_settings();
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_feature(schema, "age", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "city", DRIFT_CATEGORICAL, FALSE, TRUE);
  drift_schema_add_feature(schema, "income", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "group", DRIFT_CATEGORICAL, TRUE, FALSE);
  drift_schema_add_class(schema, "no");
  drift_schema_add_class(schema, "yes");
  schema->positive_class = 1;
  return decoder_type_find("cloudevents")->create(settings != NULL ? settings : &standard, NULL, schema, NULL);
}

/* native: a NULL-terminated list name, value, … */
static const gchar *get_header(const SourceRecord *record, const gchar *name, gsize *length)
{
  for (const gchar *const *header = record->native; header != NULL && *header != NULL; header += 2)
    if (strcmp(header[0], name) == 0) {
      *length = strlen(header[1]);
      return header[1];
    }
  return NULL;
}

static DecodeReason decode(Decoder *decoder, const gchar *const *headers, const gchar *body, gint64 timestamp,
                           DecodedTraffic *out, GError **error)
{
  g_autofree guint8 *copy = g_memdup2(body, strlen(body));
  SourceRecord record = {.value = copy,
                         .value_length = strlen(body),
                         .timestamp = timestamp,
                         .native = (gpointer)headers,
                         .get_header = headers != NULL ? get_header : NULL};
  return decoder->type->traffic(decoder, &record, out, error);
}

/* A binary-mode event at `seconds`. */
static DecodeReason send_at(Decoder *decoder, const gchar *type, const gchar *id, guint seconds, const gchar *body,
                            DecodedTraffic *out)
{
  g_autofree gchar *time = g_strdup_printf("2024-01-01T00:%02u:%02uZ", seconds / 60, seconds % 60);
  const gchar *headers[] = {"ce_type", type, "ce_id", id, "ce_time", time, "content-type", "application/json", NULL};
  return decode(decoder, headers, body, -1, out, NULL);
}

static void assert_text(const DriftValue *value, const gchar *text)
{
  ck_assert_int_eq(value->kind, DRIFT_VALUE_TEXT);
  ck_assert_msg(value->length == strlen(text) && memcmp(value->text, text, value->length) == 0, "%.*s is not %s",
                (int)value->length, value->text, text);
}

static void assert_first(const DecodedTraffic *out)
{
  ck_assert_uint_eq(out->n_events, 1);
  const DriftEvent *event = out->events;
  assert_text(&event->request_id, "r1");
  ck_assert_int_eq(event->event_time, G_GINT64_CONSTANT(1704067200000000));
  ck_assert_int_eq(event->version, 4);
  ck_assert_double_eq(event->latency_ms, 2000);
  ck_assert_double_eq(event->features[0].number, 1.5);
  assert_text(&event->features[1], "k");
  ck_assert_double_eq(event->features[2].number, 3);
  ck_assert_int_eq(event->features[3].kind, DRIFT_VALUE_MISSING);
  ck_assert_double_eq(event->prediction.number, 1);
  ck_assert(isnan(event->score));
}

START_TEST(binary_halves_join_in_any_order)
{
  for (guint order = 0; order < 2; order++) {
    Decoder *decoder = decoder_new(NULL);
    DecodedTraffic out;
    for (guint i = 0; i < 2; i++) {
      gboolean request = i == order;
      ck_assert_int_eq(request ? send_at(decoder, REQUEST, "r1", 0, IN1, &out)
                               : send_at(decoder, RESPONSE, "r1", 2, OUT1, &out),
                       DECODE_OK);
      if (i == 0) ck_assert_uint_eq(out.n_events, 0);
    }
    /* the wait is 1 s and the response comes 2 s later: only the second order is in time */
    if (order == 1) assert_first(&out);
    if (order == 0) ck_assert_uint_eq(out.n_expired, 1);
    decoder->type->free(decoder);
  }
}
END_TEST

START_TEST(structured_events)
{
  static const gchar body64[] = "eyJpbnB1dHMiOlt7Im5hbWUiOiJpIiwic2hhcGUiOlsxLDNdLCJkYXRhIjpbMS41LCJrIiwzXX1dfQ==";
  g_autofree gchar *request = g_strdup_printf("{\"data_base64\":\"%s\",\"specversion\":\"1.0\",\"id\":\"r1\",\"type\":"
                                              "\"%s\",\"time\":\"2024-01-01T00:00:00Z\"}",
                                              body64, REQUEST);
  g_autofree gchar *response = g_strdup_printf(
      "{\"specversion\":\"1.0\",\"type\":\"%s\",\"source\":\"x\",\"id\":\"r1\",\"time\":\"2024-01-01T01:00:02+01:00\","
      "\"datacontenttype\":\"application/json\",\"data\":%s}",
      RESPONSE, OUT1);
  const gchar *headers[] = {"content-type", "application/cloudevents+json; charset=UTF-8", NULL};
  SettingsTraffic settings = traffic_settings();
  settings.half_wait_ms = 60000;
  Decoder *decoder = decoder_new(&settings);
  DecodedTraffic out;
  g_autoptr(GError) error = NULL;
  ck_assert_msg(decode(decoder, headers, request, -1, &out, &error) == DECODE_OK, "%s", error ? error->message : "");
  ck_assert_int_eq(decode(decoder, NULL, response, -1, &out, NULL), DECODE_OK); /* without headers at all */
  assert_first(&out);
  /* both again: known, no second event */
  ck_assert_int_eq(decode(decoder, headers, request, -1, &out, NULL), DECODE_OK);
  ck_assert_uint_eq(out.n_events, 0);
  ck_assert_int_eq(decode(decoder, headers, response, -1, &out, NULL), DECODE_OK);
  ck_assert_uint_eq(out.n_events + out.n_expired, 0);
  decoder->type->free(decoder);
}
END_TEST

/* Decodes both bodies as one pair; returns the reason of the first that is refused. */
static DecodeReason pair(Decoder *decoder, const gchar *request, const gchar *response, DecodedTraffic *out)
{
  static guint n;
  g_autofree gchar *id = g_strdup_printf("p%u", n++);
  DecodeReason reason = send_at(decoder, REQUEST, id, 0, request, out);
  return reason != DECODE_OK ? reason : send_at(decoder, RESPONSE, id, 0, response, out);
}

START_TEST(tensors_in_all_shapes)
{
  static const gchar *const requests[] = {
      "{\"inputs\":[{\"name\":\"age\",\"shape\":[2],\"data\":[1,4]},{\"name\":\"x\",\"shape\":[2],\"data\":[0,0]},"
      "{\"name\":\"city\",\"shape\":[2,1],\"datatype\":\"BYTES\",\"data\":[\"a\",\"b\"]},"
      "{\"name\":\"income\",\"shape\":[2,1],\"data\":[[3],[6]]}]}",
      "{\"id\":\"z\",\"inputs\":[{\"data\":[[1,\"a\",3],[4,\"b\",6]],\"shape\":[2,3],\"name\":\"\"}]}",
      "{\"inputs\":[{\"name\":\"t\",\"shape\":[2,3],\"data\":[1,\"a\",3,4,\"b\",6]}]}",
      "{\"inputs\":[{\"name\":\"t\",\"shape\":[2,1,4],\"data\":[[[1,\"a\",3,null]],[[4,\"b\",6,null]]]}]}",
  };
  static const gchar *const responses[] = {
      "{\"model_version\":7,\"outputs\":[{\"name\":\"prediction\",\"shape\":[2],\"data\":[\"no\",\"yes\"]},"
      "{\"name\":\"score\",\"shape\":[2,1],\"data\":[0.25,0.75]}]}",
      "{\"outputs\":[{\"name\":\"predict_proba\",\"shape\":[2,2],\"data\":[[0.75,0.25],[0.25,0.75]]}],"
      "\"model_version\":\"7\"}",
      "{\"outputs\":[{\"name\":\"any\",\"shape\":[2,2],\"data\":[0.75,0.25,0.25,0.75]}],\"model_version\":\"v7\"}",
      "{\"outputs\":[{\"name\":\"probabilities\",\"shape\":[2,2],\"data\":[0.75,0.25,0.25,0.75]},"
      "{\"name\":\"label\",\"shape\":[2],\"data\":[\"no\",\"yes\"]}]}",
  };
  Decoder *decoder = decoder_new(NULL);
  for (guint i = 0; i < G_N_ELEMENTS(requests); i++)
    for (guint j = 0; j < G_N_ELEMENTS(responses); j++) {
      DecodedTraffic out;
      ck_assert_int_eq(pair(decoder, requests[i], responses[j], &out), DECODE_OK);
      ck_assert_uint_eq(out.n_events, 2);
      ck_assert_double_eq(out.events[0].features[0].number, 1);
      ck_assert_double_eq(out.events[1].features[0].number, 4);
      assert_text(&out.events[1].features[1], "b");
      ck_assert_double_eq(out.events[1].features[2].number, 6);
      ck_assert_int_eq(out.events[1].features[3].kind, DRIFT_VALUE_MISSING);
      assert_text(&out.events[0].prediction, "no");
      assert_text(&out.events[1].prediction, "yes");
      ck_assert_double_eq(out.events[0].score, .25);
      ck_assert_double_eq(out.events[1].score, .75);
      ck_assert_int_eq(out.events[0].version, j < 2 ? 7 : 0);
      g_autofree gchar *id = g_strndup(out.events[1].request_id.text, out.events[1].request_id.length);
      ck_assert(g_str_has_suffix(id, "#1"));
    }
  DecodedTraffic out;
  ck_assert_int_eq(pair(decoder, "{\"inputs\":[{\"name\":\"t\",\"shape\":[3],\"data\":[true,\"a\",2]}]}", OUT1, &out),
                   DECODE_OK); /* one row without its dimension */
  ck_assert_double_eq(out.events->features[0].number, 1);
  decoder->type->free(decoder);
}
END_TEST

#define IN(inner) "{\"inputs\":[" inner "]}"
static const struct {
  const gchar *request, *response;
  DecodeReason reason;
} refusals[] = {
    {"", OUT1, DECODE_MALFORMED},
    {"{", OUT1, DECODE_MALFORMED},
    {"[]", OUT1, DECODE_WRONG_TYPE},
    {"{}", OUT1, DECODE_UNSUPPORTED},
    {"{\"instances\":[[1,2,3]]}", OUT1, DECODE_UNSUPPORTED},
    {IN(""), OUT1, DECODE_WRONG_TYPE},
    {IN("1"), OUT1, DECODE_WRONG_TYPE},
    {IN("{\"name\":\"t\",\"shape\":[1,3]}"), OUT1, DECODE_UNSUPPORTED},
    {IN("{\"name\":\"t\",\"shape\":[1,3],\"parameters\":{\"binary_data_size\":24}}"), OUT1, DECODE_UNSUPPORTED},
    {IN("{\"name\":\"t\",\"data\":[1,2,3]}"), OUT1, DECODE_MISSING_FIELD},
    {IN("{\"name\":3,\"shape\":[1,3],\"data\":[1,2,3]}"), OUT1, DECODE_WRONG_TYPE},
    {IN("{\"name\":\"t\",\"shape\":[1,3],\"data\":[1,2]}"), OUT1, DECODE_WRONG_TYPE},
    {IN("{\"name\":\"t\",\"shape\":[-1,3],\"data\":[1,2,3]}"), OUT1, DECODE_WRONG_TYPE},
    {IN("{\"name\":\"t\",\"shape\":[1.5],\"data\":[1,2,3]}"), OUT1, DECODE_WRONG_TYPE},
    {IN("{\"name\":\"t\",\"shape\":[1000000,1000000,1000000,1000000],\"data\":[]}"), OUT1, DECODE_TOO_MANY},
    {IN("{\"name\":\"t\",\"shape\":[9223372036854775807,2],\"data\":[]}"), OUT1, DECODE_TOO_MANY},
    {IN("{\"name\":\"t\",\"shape\":[1,7],\"data\":[1,2,3,4,5,6,7]}"), OUT1, DECODE_WRONG_TYPE},
    {IN("{\"name\":\"t\",\"shape\":[1,3],\"data\":[\"x\",\"a\",3]}"), OUT1, DECODE_WRONG_TYPE},
    {IN("{\"name\":\"t\",\"shape\":[1,3],\"data\":[{},\"a\",3]}"), OUT1, DECODE_WRONG_TYPE},
    {IN("{\"name\":\"t\",\"shape\":[1,3],\"data\":[NaN,\"a\",3]}"), OUT1, DECODE_NOT_FINITE},
    {IN("{\"name\":\"t\",\"shape\":[1,3],\"data\":[-Infinity,\"a\",3]}"), OUT1, DECODE_NOT_FINITE},
    {IN("{\"name\":\"age\",\"shape\":[2],\"data\":[1,2]},{\"name\":\"income\",\"shape\":[1],\"data\":[1]}"), OUT1,
     DECODE_WRONG_TYPE},
    {IN("{\"name\":\"age\",\"shape\":[1,2],\"data\":[1,2]}"), OUT1, DECODE_WRONG_TYPE},
    {IN("{\"name\":\"t\",\"shape\":[1],\"data\":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}"), OUT1, DECODE_TOO_DEEP},
    {IN1, "{\"outputs\":[]}", DECODE_MISSING_FIELD},
    {IN1, "{\"predictions\":[1]}", DECODE_UNSUPPORTED},
    {IN1, "{\"outputs\":[{\"name\":\"predict\",\"shape\":[2],\"data\":[1,2]}]}", DECODE_WRONG_TYPE},
    {IN1, "{\"outputs\":[{\"name\":\"predict\",\"shape\":[1,2],\"data\":[1,2]}]}", DECODE_WRONG_TYPE},
    {IN1, "{\"outputs\":[{\"name\":\"score\",\"shape\":[1,3],\"data\":[1,2,3]}]}", DECODE_WRONG_TYPE},
    {IN1, "{\"outputs\":[{\"name\":\"score\",\"shape\":[1],\"data\":[\"x\"]}]}", DECODE_WRONG_TYPE},
    {IN1, "{\"outputs\":[{\"name\":\"score\",\"shape\":[1,2],\"data\":[\"x\",1]}]}", DECODE_WRONG_TYPE},
};

START_TEST(refuses_bodies_with_a_reason)
{
  Decoder *decoder = decoder_new(NULL);
  DecodedTraffic out;
  DecodeReason reason = pair(decoder, refusals[_i].request, refusals[_i].response, &out);
  ck_assert_msg(reason == refusals[_i].reason, "%s %s: %s", refusals[_i].request, refusals[_i].response,
                decode_reason_text(reason));
  ck_assert_int_eq(pair(decoder, IN1, OUT1, &out), DECODE_OK);
  ck_assert_uint_eq(out.n_events, 1);
  decoder->type->free(decoder);
}
END_TEST

START_TEST(refuses_envelopes_with_a_reason)
{
  static const struct {
    const gchar *headers[9], *body;
    DecodeReason reason;
  } cases[] = {
      {{"ce_type", "org.example.other", "ce_id", "a", "ce_time", "2024-01-01T00:00:00Z"}, IN1, DECODE_UNSUPPORTED},
      {{"ce_type", REQUEST, "ce_time", "2024-01-01T00:00:00Z"}, IN1, DECODE_MISSING_FIELD},
      {{"ce_type", REQUEST, "ce_id", "", "ce_time", "2024-01-01T00:00:00Z"}, IN1, DECODE_MISSING_FIELD},
      {{"ce_type", REQUEST, "ce_id", "a"}, IN1, DECODE_MISSING_FIELD},
      {{"ce_type", REQUEST, "ce_id", "a", "ce_time", "noon"}, IN1, DECODE_WRONG_TYPE},
      {{"ce_type", REQUEST, "ce_id", "a", "content-type", "application/x-protobuf"}, IN1, DECODE_UNSUPPORTED},
      {{"content-type", "application/cloudevents-batch+json"}, "[]", DECODE_UNSUPPORTED},
      {{"content-type", "application/cloudevents+json"}, "[]", DECODE_WRONG_TYPE},
      {{"content-type", "application/cloudevents+json"}, "{\"specversion\":\"1.0\",\"type\":3}", DECODE_WRONG_TYPE},
      {{NULL}, "{\"request_id\":\"a\"}", DECODE_UNSUPPORTED},
      {{NULL}, "nonsense", DECODE_MALFORMED},
  };
  Decoder *decoder = decoder_new(NULL);
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GError) error = NULL;
    DecodedTraffic out;
    DecodeReason reason = decode(decoder, cases[i].headers, cases[i].body, -1, &out, &error);
    ck_assert_msg(reason == cases[i].reason, "case %u: %s", i, decode_reason_text(reason));
    ck_assert(g_error_matches(error, DAEMON_ERROR, DAEMON_ERROR_DECODE));
  }
  /* without a time the broker's counts; Seldon's headers have no prefix */
  DecodedTraffic out;
  const gchar *request[] = {"type", "io.seldon.serving.inference.request", "requestid", "s", NULL};
  const gchar *response[] = {"type", "io.seldon.serving.inference.response", "requestid", "s", NULL};
  ck_assert_int_eq(decode(decoder, request, IN1, 5000000, &out, NULL), DECODE_OK);
  ck_assert_int_eq(decode(decoder, response, OUT1, 5500000, &out, NULL), DECODE_OK);
  ck_assert_uint_eq(out.n_events, 1);
  ck_assert_int_eq(out.events->event_time, 5000000);
  ck_assert_double_eq(out.events->latency_ms, 500);
  decoder->type->free(decoder);
}
END_TEST

START_TEST(halves_are_bounded_and_expire)
{
  Decoder *decoder = decoder_new(NULL); /* 1 s, 4 ids */
  DecodedTraffic out;
  guint expired = 0;
  for (guint i = 0; i < 6; i++) {
    g_autofree gchar *id = g_strdup_printf("r%u", i);
    ck_assert_int_eq(send_at(decoder, REQUEST, id, 10, IN1, &out), DECODE_OK);
    expired += out.n_expired;
  }
  ck_assert_uint_eq(expired, 2); /* r0 and r1 had to go */
  ck_assert_int_eq(send_at(decoder, RESPONSE, "r5", 11, OUT1, &out), DECODE_OK);
  ck_assert_uint_eq(out.n_events, 1);
  ck_assert_uint_eq(out.n_expired, 0);
  ck_assert_int_eq(send_at(decoder, RESPONSE, "r4", 12, OUT1, &out), DECODE_OK);
  ck_assert_uint_eq(out.n_events, 0);  /* its request was given up a second ago */
  ck_assert_uint_eq(out.n_expired, 3); /* r2 r3 r4; r5 was complete */
  /* a clock that goes back expires nothing */
  ck_assert_int_eq(send_at(decoder, REQUEST, "r4", 1, IN1, &out), DECODE_OK);
  ck_assert_uint_eq(out.n_events, 1);
  /* … and a half that comes then is as old as the clock, not as its own time */
  ck_assert_int_eq(send_at(decoder, REQUEST, "r7", 2, IN1, &out), DECODE_OK);
  ck_assert_int_eq(send_at(decoder, RESPONSE, "r7", 12, OUT1, &out), DECODE_OK);
  ck_assert_uint_eq(out.n_events, 1);
  ck_assert_ptr_nonnull(strstr(decode_reason_help(DECODE_HALF_EXPIRED), "key request and response events by the id"));
  decoder->type->free(decoder);
}
END_TEST

START_TEST(contents_that_wait_are_bounded_in_bytes)
{
  DecodeHalves *halves = decode_halves_new(1000, 1000000);
  g_autofree gchar *filler = g_strnfill(1 << 20, 'x');
  g_autoptr(GBytes) content = g_bytes_new_static(filler, 1 << 20);
  guint expired = 0;
  GBytes *other = NULL;
  for (guint i = 0; i < 40; i++) {
    g_autofree gchar *id = g_strdup_printf("%u", i);
    ck_assert_int_eq(decode_halves_add(halves, id, 0, content, 0, &other, &expired), DECODE_HALF_WAITS);
  }
  ck_assert_uint_eq(decode_halves_count(halves), 16);
  ck_assert_uint_eq(expired, 24);
  decode_halves_free(halves);
}
END_TEST

START_TEST(state_is_canonical_and_goes_on)
{
  Decoder *a = decoder_new(NULL), *b = decoder_new(NULL);
  DecodedTraffic out;
  send_at(a, REQUEST, "done", 0, IN1, &out);
  send_at(a, RESPONSE, "done", 0, OUT1, &out);
  send_at(a, REQUEST, "r1", 0, IN1, &out);
  send_at(a, RESPONSE, "r2", 0, OUT1, &out);
  g_autoptr(GBytes) state = a->type->to_bytes(a);
  g_autoptr(GError) error = NULL;
  ck_assert_msg(b->type->restore(b, state, &error), "%s", error != NULL ? error->message : "");
  g_autoptr(GBytes) again = b->type->to_bytes(b);
  ck_assert(g_bytes_equal(state, again));
  Decoder *both[] = {a, b};
  for (guint i = 0; i < 2; i++) {
    ck_assert_int_eq(send_at(both[i], RESPONSE, "done", 1, OUT1, &out), DECODE_OK);
    ck_assert_uint_eq(out.n_events, 0);
    ck_assert_int_eq(send_at(both[i], RESPONSE, "r1", 1, OUT1, &out), DECODE_OK);
    ck_assert_uint_eq(out.n_events, 1);
    assert_text(&out.events->features[1], "k");
    ck_assert_int_eq(send_at(both[i], REQUEST, "r2", 1, IN1, &out), DECODE_OK);
    ck_assert_uint_eq(out.n_events, 1);
    ck_assert_int_eq(out.events->version, 4);
  }
  g_autoptr(GBytes) later_a = a->type->to_bytes(a), later_b = b->type->to_bytes(b);
  ck_assert(g_bytes_equal(later_a, later_b));
  /* every truncation and many damages are refused, and the state stays */
  gsize length;
  const guint8 *bytes = g_bytes_get_data(state, &length);
  for (gsize i = 0; i < length; i++) {
    g_autofree guint8 *part = g_memdup2(bytes, i);
    g_autoptr(GBytes) truncated = g_bytes_new(part, i);
    ck_assert(!b->type->restore(b, truncated, NULL));
  }
  g_autoptr(GBytes) unharmed = b->type->to_bytes(b);
  ck_assert(g_bytes_equal(later_b, unharmed));
  for (gsize i = 0; i < length; i++) {
    g_autofree guint8 *copy = g_memdup2(bytes, length);
    copy[i] ^= 0x41;
    g_autoptr(GBytes) damaged = g_bytes_new(copy, length);
    if (!b->type->restore(b, damaged, NULL)) continue;
    send_at(b, RESPONSE, "r1", 1, OUT1, &out); /* whatever it says, it is survived */
    send_at(b, REQUEST, "r2", 1, IN1, &out);
  }
  a->type->free(a);
  b->type->free(b);
}
END_TEST

START_TEST(damaged_bodies_are_survived)
{
  Decoder *decoder = decoder_new(NULL);
  static const gchar body[] = "{\"inputs\":[{\"name\":\"age\",\"shape\":[2],\"data\":[1.5e1,4]},{\"name\":\"city\","
                              "\"shape\":[2,1],\"data\":[[\"a\\u0041\"],[\"b\"]]}],\"id\":\"x\"}";
  DecodedTraffic out;
  for (gsize i = 0; i < strlen(body); i++) {
    g_autofree gchar *part = g_strndup(body, i);
    ck_assert_int_ne(send_at(decoder, REQUEST, "d", 0, part, &out), DECODE_OK);
    for (guint byte = 1; byte < 256; byte += 5) {
      g_autofree gchar *copy = g_strdup(body);
      copy[i] = (gchar)byte;
      send_at(decoder, REQUEST, "d", 0, copy, &out);
    }
  }
  decoder->type->free(decoder);
}
END_TEST

START_TEST(labels_and_other_models)
{
  SettingsTraffic settings = traffic_settings();
  settings.only_model = (gchar *)"m";
  Decoder *decoder = decoder_new(&settings);
  static const gchar text[] = "{\"request_id\":\"a#1\",\"label\":\"yes\",\"ts\":5}";
  SourceRecord record = {.value = (const guint8 *)text, .value_length = strlen(text)};
  DecodedLabel label;
  ck_assert_int_eq(decoder->type->label(decoder, &record, &label, NULL), DECODE_OK);
  assert_text(&label.request_id, "a#1");
  DecodedTraffic out;
  for (guint i = 0; i < 2; i++) {
    const gchar *service = i == 0 ? "other" : "m";
    const gchar *request[] = {"ce_type", REQUEST, "ce_id", "a", "ce_inferenceservicename", service, NULL};
    const gchar *response[] = {"ce_type", RESPONSE, "ce_id", "a", "ce_inferenceservicename", service, NULL};
    ck_assert_int_eq(decode(decoder, request, IN1, 0, &out, NULL), DECODE_OK);
    ck_assert_int_eq(decode(decoder, response, OUT1, 0, &out, NULL), DECODE_OK);
    ck_assert_uint_eq(out.n_events, i);
  }
  decoder->type->free(decoder);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("decode_cloudevents");
  TCase *group = tcase_create("all");
  tcase_add_test(group, binary_halves_join_in_any_order);
  tcase_add_test(group, structured_events);
  tcase_add_test(group, tensors_in_all_shapes);
  tcase_add_loop_test(group, refuses_bodies_with_a_reason, 0, G_N_ELEMENTS(refusals));
  tcase_add_test(group, refuses_envelopes_with_a_reason);
  tcase_add_test(group, halves_are_bounded_and_expire);
  tcase_add_test(group, contents_that_wait_are_bounded_in_bytes);
  tcase_add_test(group, state_is_canonical_and_goes_on);
  tcase_add_test(group, damaged_bodies_are_survived);
  tcase_add_test(group, labels_and_other_models);
  suite_add_tcase(suite, group);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
