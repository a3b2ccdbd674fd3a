/* The JSON decoder: fields, types, times, caps, and the reason of every refusal. */
#include "daemon/decode_internal.h"

#include <check.h>
#include <math.h>
#include <string.h>

static SettingsTraffic traffic_settings(void)
{
  return (SettingsTraffic){.fields = {(gchar *)"request_id", (gchar *)"ts", (gchar *)"model", (gchar *)"version",
                                      (gchar *)"features", (gchar *)"prediction", (gchar *)"score",
                                      (gchar *)"latency_ms", (gchar *)"label"},
                           .only_model = (gchar *)""};
}

static DriftSchema *schema_new(void)
{
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_feature(schema, "age", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "city", DRIFT_CATEGORICAL, FALSE, TRUE);
  drift_schema_add_feature(schema, "in\"come", DRIFT_NUMERIC, FALSE, TRUE);
  return schema;
}

static Decoder *decoder_new(const SettingsTraffic *settings)
{
  SettingsTraffic standard = traffic_settings();
  g_autoptr(DriftSchema) schema = schema_new();
  return decoder_type_find("json")->create(settings != NULL ? settings : &standard, NULL, schema, NULL);
}

static DecodeReason decode_bytes(Decoder *decoder, const gchar *text, gsize length, DecodedTraffic *out, GError **error)
{
  /* An exact-size copy, so that the sanitizer sees a read beyond the record. */
  g_autofree guint8 *copy = g_memdup2(text, length);
  SourceRecord record = {.topic = "t", .value = copy, .value_length = length, .timestamp = -1};
  return decoder->type->traffic(decoder, &record, out, error);
}

static DecodeReason decode(Decoder *decoder, const gchar *text, DecodedTraffic *out, GError **error)
{
  return decode_bytes(decoder, text, strlen(text), out, error);
}

static void assert_text(const DriftValue *value, const gchar *text)
{
  ck_assert_int_eq(value->kind, DRIFT_VALUE_TEXT);
  ck_assert_msg(value->length == strlen(text) && memcmp(value->text, text, value->length) == 0, "%.*s is not %s",
                (int)value->length, value->text, text);
}

START_TEST(reads_an_event)
{
  Decoder *decoder = decoder_new(NULL);
  g_autoptr(GError) error = NULL;
  DecodedTraffic out;
  DecodeReason reason = decode(
      decoder,
      " {\"request_id\" : \"r\\u00e91\", \"ts\":\"2023-11-14T22:13:20.25Z\", \"model\":\"m\", \"version\":\"3\",\n"
      "  \"other\":[1,{\"a\":2}], \"features\":{\"age\":41.5, \"city\":\"K\\u00f6ln\", \"in\\\"come\":-1e3 , \"x\":{}},"
      "  \"prediction\":1, \"score\":0.75, \"latency_ms\":2} \n",
      &out, &error);
  ck_assert_msg(reason == DECODE_OK, "%s", error != NULL ? error->message : "");
  ck_assert_uint_eq(out.n_events, 1);
  const DriftEvent *event = out.events;
  assert_text(&event->request_id, "r\303\2511");
  ck_assert_int_eq(event->event_time, G_GINT64_CONSTANT(1700000000250000));
  ck_assert_int_eq(event->version, 3);
  ck_assert_double_eq(event->features[0].number, 41.5);
  assert_text(&event->features[1], "K\303\266ln");
  ck_assert_double_eq(event->features[2].number, -1000);
  ck_assert_int_eq(event->prediction.kind, DRIFT_VALUE_NUMBER);
  ck_assert_double_eq(event->prediction.number, 1);
  ck_assert_double_eq(event->score, .75);
  ck_assert_double_eq(event->latency_ms, 2);
  decoder->type->free(decoder);
}
END_TEST

START_TEST(order_and_place_of_fields_do_not_matter)
{
  static const gchar *const texts[] = {
      "{\"request_id\":5,\"ts\":1700000000,\"features\":{\"age\":1,\"city\":2.50,\"in\\\"come\":3}}",
      "{\"features\":{\"in\\\"come\":3,\"city\":2.50,\"age\":1},\"ts\":1700000000,\"request_id\":5}",
      "{\"age\":1,\"city\":2.50,\"in\\\"come\":3,\"request_id\":5,\"ts\":1700000000000}",
      "{\"\\u0061ge\":1,\"features\":{\"city\":2.50},\"request_id\":5,\"in\\\"come\":3,\"ts\":1700000000000000}",
      "{\"age\":9,\"age\":\"no\",\"age\":1,\"city\":2.50,\"in\\\"come\":3,\"request_id\":5,\"ts\":1.7e9}",
  };
  Decoder *decoder = decoder_new(NULL);
  for (guint round = 0; round < 3; round++)
    for (guint i = 0; i < G_N_ELEMENTS(texts) - 1; i++) {
      g_autoptr(GError) error = NULL;
      DecodedTraffic out;
      ck_assert_msg(decode(decoder, texts[i], &out, &error) == DECODE_OK, "%s", error != NULL ? error->message : "");
      assert_text(&out.events->request_id, "5");
      ck_assert_int_eq(out.events->event_time, G_GINT64_CONSTANT(1700000000000000));
      ck_assert_double_eq(out.events->features[0].number, 1);
      assert_text(&out.events->features[1], "2.50");
      ck_assert_double_eq(out.events->features[2].number, 3);
      ck_assert_int_eq(out.events->prediction.kind, DRIFT_VALUE_MISSING);
      ck_assert(isnan(out.events->score) && isnan(out.events->latency_ms));
      ck_assert_int_eq(out.events->version, 0);
    }
  DecodedTraffic out;
  ck_assert_int_eq(decode(decoder, texts[4], &out, NULL), DECODE_WRONG_TYPE); /* the middle "age" is text */
  ck_assert_int_eq(decode(decoder, "{\"age\":9,\"age\":1,\"request_id\":5,\"ts\":1}", &out, NULL), DECODE_OK);
  ck_assert_double_eq(out.events->features[0].number, 1);              /* the last counts */
  ck_assert_int_eq(out.events->features[1].kind, DRIFT_VALUE_MISSING); /* nothing stays from the record before */
  decoder->type->free(decoder);
}
END_TEST

START_TEST(null_true_and_missing)
{
  Decoder *decoder = decoder_new(NULL);
  DecodedTraffic out;
  ck_assert_int_eq(decode(decoder,
                          "{\"request_id\":\"a\",\"ts\":1,\"age\":true,\"city\":false,\"prediction\":true,"
                          "\"score\":null,\"features\":null,\"version\":null}",
                          &out, NULL),
                   DECODE_OK);
  ck_assert_double_eq(out.events->features[0].number, 1);
  assert_text(&out.events->features[1], "false");
  assert_text(&out.events->prediction, "true");
  ck_assert_int_eq(out.events->features[2].kind, DRIFT_VALUE_MISSING);
  ck_assert(isnan(out.events->score));
  ck_assert_int_eq(decode(decoder, "{\"request_id\":\"a\",\"ts\":1,\"age\":null,\"city\":null}", &out, NULL),
                   DECODE_OK);
  ck_assert_int_eq(out.events->features[0].kind, DRIFT_VALUE_MISSING);
  ck_assert_int_eq(out.events->features[1].kind, DRIFT_VALUE_MISSING);
  decoder->type->free(decoder);
}
END_TEST

#define HEAD "{\"request_id\":\"a\",\"ts\":1,"
static const struct {
  const gchar *text;
  DecodeReason reason;
  const gchar *mentions;
} refusals[] = {
    {"", DECODE_MALFORMED, "byte 0"},
    {"{", DECODE_MALFORMED, ""},
    {"{}", DECODE_MISSING_FIELD, "'request_id'"},
    {"[]", DECODE_WRONG_TYPE, "not a JSON object"},
    {"3", DECODE_WRONG_TYPE, "not a JSON object"},
    {"\"x\"", DECODE_WRONG_TYPE, "not a JSON object"},
    {"nonsense", DECODE_MALFORMED, ""},
    {HEAD "\"age\":1", DECODE_MALFORMED, ""},
    {HEAD "\"age\":}", DECODE_MALFORMED, ""},
    {HEAD "\"age\" 1}", DECODE_MALFORMED, ""},
    {HEAD "\"age\":1,}", DECODE_MALFORMED, ""},
    {HEAD "\"age\":1}}", DECODE_MALFORMED, ""},
    {HEAD "\"age\":1} x", DECODE_MALFORMED, ""},
    {HEAD "\"age\":1}{}", DECODE_MALFORMED, ""},
    {HEAD "\"age\":01}", DECODE_MALFORMED, "'age' at byte 31"},
    {HEAD "\"age\":1.}", DECODE_MALFORMED, "'age'"},
    {HEAD "\"age\":tru}", DECODE_MALFORMED, "'age'"},
    {HEAD "\"age\":nul}", DECODE_MALFORMED, "'age'"},
    {HEAD "\"city\":\"\\x\"}", DECODE_MALFORMED, "'city'"},
    {HEAD "\"city\":\"\377\"}", DECODE_MALFORMED, ""},
    {HEAD "\"city\":\"a\nb\"}", DECODE_MALFORMED, ""},
    {HEAD "\"z\":@}", DECODE_MALFORMED, ""},
    {HEAD "\"age\":\"41\"}", DECODE_WRONG_TYPE, "'age' at byte 31: text where a number belongs"},
    {HEAD "\"age\":[1]}", DECODE_WRONG_TYPE, "'age'"},
    {HEAD "\"city\":{\"a\":1}}", DECODE_WRONG_TYPE, "'city'"},
    {HEAD "\"features\":[1,2]}", DECODE_WRONG_TYPE, "'features'"},
    {HEAD "\"score\":\"0.5\"}", DECODE_WRONG_TYPE, "'score'"},
    {HEAD "\"version\":\"v3\"}", DECODE_WRONG_TYPE, "'version'"},
    {HEAD "\"version\":-1}", DECODE_WRONG_TYPE, "'version'"},
    {HEAD "\"version\":1.5}", DECODE_WRONG_TYPE, "'version'"},
    {HEAD "\"prediction\":[0.1,0.9]}", DECODE_WRONG_TYPE, "'prediction'"},
    {HEAD "\"age\":NaN}", DECODE_NOT_FINITE, "'age'"},
    {HEAD "\"age\":nan}", DECODE_NOT_FINITE, "'age'"},
    {HEAD "\"age\":Infinity}", DECODE_NOT_FINITE, "'age'"},
    {HEAD "\"age\":-Infinity}", DECODE_NOT_FINITE, "'age'"},
    {HEAD "\"age\":1e999}", DECODE_NOT_FINITE, "too large"},
    {HEAD "\"score\":-1e999}", DECODE_NOT_FINITE, "'score'"},
    {HEAD "\"unknown\":NaN}", DECODE_NOT_FINITE, ""},
    {"{\"request_id\":1.5,\"ts\":1}", DECODE_WRONG_TYPE, "'request_id'"},
    {"{\"request_id\":true,\"ts\":1}", DECODE_WRONG_TYPE, "'request_id'"},
    {"{\"request_id\":\"a\\u0000b\",\"ts\":1}", DECODE_WRONG_TYPE, "NUL"},
    {"{\"request_id\":\"\",\"ts\":1}", DECODE_MISSING_FIELD, "'request_id'"},
    {"{\"request_id\":null,\"ts\":1}", DECODE_MISSING_FIELD, "'request_id'"},
    {"{\"request_id\":\"a\"}", DECODE_MISSING_FIELD, "'ts'"},
    {"{\"request_id\":\"a\",\"ts\":null}", DECODE_MISSING_FIELD, "'ts'"},
    {"{\"request_id\":\"a\",\"ts\":\"2023-11-14 22:13:20\"}", DECODE_WRONG_TYPE, "zone"},
    {"{\"request_id\":\"a\",\"ts\":\"yesterday\"}", DECODE_WRONG_TYPE, "RFC 3339"},
    {"{\"request_id\":\"a\",\"ts\":1e300}", DECODE_WRONG_TYPE, "years"},
    {"{\"request_id\":\"a\",\"ts\":true}", DECODE_WRONG_TYPE, "'ts'"},
};

START_TEST(refuses_with_a_reason)
{
  Decoder *decoder = decoder_new(NULL);
  g_autoptr(GError) error = NULL;
  DecodedTraffic out;
  DecodeReason reason = decode(decoder, refusals[_i].text, &out, &error);
  ck_assert_msg(reason == refusals[_i].reason, "%s: %s (%s)", refusals[_i].text, decode_reason_text(reason),
                error != NULL ? error->message : "");
  ck_assert(g_error_matches(error, DAEMON_ERROR, DAEMON_ERROR_DECODE));
  ck_assert_msg(strstr(error->message, refusals[_i].mentions) != NULL, "%s lacks %s", error->message,
                refusals[_i].mentions);
  /* and the decoder goes on */
  ck_assert_int_eq(decode(decoder, HEAD "\"age\":1}", &out, NULL), DECODE_OK);
  decoder->type->free(decoder);
}
END_TEST

static gchar *nested(guint depth, const gchar *open, const gchar *inner, const gchar *close)
{
  GString *text = g_string_new(HEAD "\"z\":");
  for (guint i = 0; i < depth; i++) g_string_append(text, open);
  g_string_append(text, inner);
  for (guint i = 0; i < depth; i++) g_string_append(text, close);
  g_string_append_c(text, '}');
  return g_string_free(text, FALSE);
}

START_TEST(caps_hold)
{
  Decoder *decoder = decoder_new(NULL);
  DecodedTraffic out;
  g_autofree gchar *deepest = nested(15, "[", "1", "]"), *too_deep = nested(16, "[", "1", "]");
  ck_assert_int_eq(decode(decoder, deepest, &out, NULL), DECODE_OK);
  ck_assert_int_eq(decode(decoder, too_deep, &out, NULL), DECODE_TOO_DEEP);
  g_autofree gchar *very_deep = nested(100000, "{\"a\":", "1", "}");
  ck_assert_int_eq(decode(decoder, very_deep, &out, NULL), DECODE_TOO_DEEP);
  g_autofree gchar *brackets = g_strnfill(100000, '[');
  ck_assert_int_eq(decode(decoder, brackets, &out, NULL), DECODE_TOO_DEEP);
  g_autofree gchar *in_string = nested(1, "", "\"[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"", "");
  ck_assert_int_eq(decode(decoder, in_string, &out, NULL), DECODE_OK);

  g_autofree gchar *spaces = g_strnfill(DECODE_MAXIMUM_BYTES + 1, ' ');
  g_autoptr(GError) error = NULL;
  ck_assert_int_eq(decode(decoder, spaces, &out, &error), DECODE_TOO_LARGE);
  memcpy(spaces, HEAD "\"age\":2}", strlen(HEAD "\"age\":2}"));
  ck_assert_int_eq(decode_bytes(decoder, spaces, DECODE_MAXIMUM_BYTES, &out, NULL), DECODE_OK);
  ck_assert_double_eq(out.events->features[0].number, 2);

  GString *wide = g_string_new(HEAD "\"age\":1");
  for (guint i = 0; i < DECODE_MAXIMUM_FIELDS; i++) g_string_append_printf(wide, ",\"f%u\":1", i);
  g_string_append_c(wide, '}');
  ck_assert_int_eq(decode(decoder, wide->str, &out, NULL), DECODE_TOO_MANY);
  g_string_free(wide, TRUE);

  g_autofree gchar *filler = g_strnfill(DECODE_MAXIMUM_ID + 1, 'i');
  g_autofree gchar *long_id = g_strdup_printf("{\"request_id\":\"%s\",\"ts\":1}", filler);
  ck_assert_int_eq(decode(decoder, long_id, &out, NULL), DECODE_TOO_LARGE);
  ck_assert_int_eq(decode_bytes(decoder, "{\0}", 3, &out, NULL), DECODE_MALFORMED);
  decoder->type->free(decoder);
}
END_TEST

/* Every prefix of a record is refused and none reads beyond its end; every one-byte change is decoded or refused. */
START_TEST(damaged_records_are_survived)
{
  static const gchar text[] =
      "{\"request_id\":\"a\",\"ts\":1700000000.5,\"features\":{\"age\":1.5e2,\"city\":\"x\\u0041\","
      "\"in\\\"come\":-3},\"z\":[{},[null]],\"score\":0.5}";
  Decoder *decoder = decoder_new(NULL);
  DecodedTraffic out;
  for (gsize i = 0; i < strlen(text); i++) ck_assert_int_ne(decode_bytes(decoder, text, i, &out, NULL), DECODE_OK);
  for (gsize i = 0; i < strlen(text); i++)
    for (guint byte = 0; byte < 256; byte += 3) {
      gchar copy[sizeof text];
      memcpy(copy, text, sizeof text);
      copy[i] = (gchar)byte;
      g_autoptr(GError) error = NULL;
      DecodeReason reason = decode_bytes(decoder, copy, strlen(text), &out, &error);
      ck_assert((reason == DECODE_OK) == (error == NULL));
    }
  ck_assert_int_eq(decode(decoder, text, &out, NULL), DECODE_OK);
  assert_text(&out.events->features[1], "xA");
  decoder->type->free(decoder);
}
END_TEST

START_TEST(labels)
{
  Decoder *decoder = decoder_new(NULL);
  static const struct {
    const gchar *text;
    DecodeReason reason;
  } cases[] = {{"{\"request_id\":\"a\",\"label\":1,\"ts\":5}", DECODE_OK},
               {"{\"ts\":5,\"label\":\"yes\",\"request_id\":12,\"x\":[]}", DECODE_OK},
               {"{\"request_id\":\"a\",\"ts\":5}", DECODE_MISSING_FIELD},
               {"{\"request_id\":\"a\",\"label\":null,\"ts\":5}", DECODE_MISSING_FIELD},
               {"{\"label\":1,\"ts\":5}", DECODE_MISSING_FIELD},
               {"{\"request_id\":\"a\",\"label\":1}", DECODE_MISSING_FIELD},
               {"{\"request_id\":\"a\",\"label\":[1],\"ts\":5}", DECODE_WRONG_TYPE},
               {"{\"request_id\":\"a\",\"label\":NaN,\"ts\":5}", DECODE_NOT_FINITE}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GError) error = NULL;
    DecodedLabel label;
    SourceRecord record = {.value = (const guint8 *)cases[i].text, .value_length = strlen(cases[i].text)};
    DecodeReason reason = decoder->type->label(decoder, &record, &label, &error);
    ck_assert_msg(reason == cases[i].reason, "%s: %s", cases[i].text, decode_reason_text(reason));
    ck_assert((reason == DECODE_OK) == (error == NULL));
    if (i == 1) assert_text(&label.label, "yes");
    if (i == 0) {
      ck_assert_double_eq(label.label.number, 1);
      ck_assert_int_eq(label.time, 5000000);
    }
  }
  decoder->type->free(decoder);
}
END_TEST

START_TEST(other_models_and_top_level_only)
{
  SettingsTraffic settings = traffic_settings();
  settings.only_model = (gchar *)"m";
  settings.fields.features = (gchar *)"";
  Decoder *decoder = decoder_new(&settings);
  DecodedTraffic out;
  ck_assert_int_eq(decode(decoder, HEAD "\"model\":\"m\",\"features\":{\"age\":2}}", &out, NULL), DECODE_OK);
  ck_assert_uint_eq(out.n_events, 1);
  ck_assert_int_eq(out.events->features[0].kind, DRIFT_VALUE_MISSING);
  ck_assert_int_eq(decode(decoder, HEAD "\"model\":\"n\"}", &out, NULL), DECODE_OK);
  ck_assert_uint_eq(out.n_events, 0);
  ck_assert_int_eq(decode(decoder, HEAD "\"age\":1}", &out, NULL), DECODE_OK);
  ck_assert_uint_eq(out.n_events, 0);
  decoder->type->free(decoder);
}
END_TEST

START_TEST(times)
{
  static const struct {
    const gchar *text;
    gint64 time; /* -1: refused */
  } cases[] = {{"1970-01-01T00:00:00Z", 0},
               {"1970-01-01T00:00:01.000001Z", 1000001},
               {"1970-01-01t01:00:00.1234567+01:00", 123456},
               {"2024-02-29T12:00:00-05:30", G_GINT64_CONSTANT(1709227800000000)},
               {"2000-02-29 00:00:00z", G_GINT64_CONSTANT(951782400000000)},
               {"1969-12-31T23:59:59Z", -1000000},
               {"2016-12-31T23:59:60Z", G_GINT64_CONSTANT(1483228800000000)},
               {"2023-02-29T00:00:00Z", -1},
               {"2023-13-01T00:00:00Z", -1},
               {"2023-00-01T00:00:00Z", -1},
               {"2023-01-01T24:00:00Z", -1},
               {"2023-01-01T00:60:00Z", -1},
               {"2023-01-01T00:00:00", -1},
               {"2023-01-01T00:00:00.Z", -1},
               {"2023-01-01T00:00:00+0100", -1},
               {"2023-01-01T00:00:00+24:00", -1},
               {"2023-01-01T00:00:00Zx", -1},
               {"2023-01-01", -1},
               {"", -1}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    gint64 time = -7;
    gboolean good = decode_time_parse(cases[i].text, strlen(cases[i].text), &time);
    ck_assert_msg(good == (cases[i].time != -1), "%s", cases[i].text);
    ck_assert_msg(time == (good ? cases[i].time : -7), "%s: %" G_GINT64_FORMAT, cases[i].text, time);
  }
  gint64 time;
  ck_assert(decode_time_from_integer(1700000000, &time) && time == G_GINT64_CONSTANT(1700000000000000));
  ck_assert(decode_time_from_integer(1700000000123, &time) && time == G_GINT64_CONSTANT(1700000000123000));
  ck_assert(decode_time_from_integer(1700000000123456, &time) && time == G_GINT64_CONSTANT(1700000000123456));
  ck_assert(decode_time_from_integer(1700000000123456789, &time) && time == G_GINT64_CONSTANT(1700000000123456));
  ck_assert(decode_time_from_integer(0, &time) && time == 0);
  ck_assert(decode_time_from_integer(G_MININT64, &time));
  ck_assert(decode_time_from_number(1700000000.5, &time) && time == G_GINT64_CONSTANT(1700000000500000));
  ck_assert(decode_time_from_number(1700000000500., &time) && time == G_GINT64_CONSTANT(1700000000500000));
  ck_assert(!decode_time_from_number(NAN, &time) && !decode_time_from_number(INFINITY, &time));
  ck_assert(!decode_time_from_number(-9.9e10, &time));
}
END_TEST

START_TEST(every_type_passes_its_selftest)
{
  for (const DecoderType *const *type = decoder_types; *type != NULL; type++) {
    g_autoptr(GError) error = NULL;
    ck_assert_msg((*type)->selftest(&error), "%s: %s", (*type)->format, error != NULL ? error->message : "");
    ck_assert_ptr_eq(decoder_type_find((*type)->format), *type);
  }
  ck_assert_ptr_null(decoder_type_find("avro"));
  for (guint i = 0; i < DECODE_N_REASONS; i++) {
    ck_assert_ptr_nonnull(decode_reason_text(i));
    ck_assert_ptr_nonnull(decode_reason_help(i));
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("decode_json");
  TCase *group = tcase_create("all");
  tcase_add_test(group, reads_an_event);
  tcase_add_test(group, order_and_place_of_fields_do_not_matter);
  tcase_add_test(group, null_true_and_missing);
  tcase_add_loop_test(group, refuses_with_a_reason, 0, G_N_ELEMENTS(refusals));
  tcase_add_test(group, caps_hold);
  tcase_add_test(group, damaged_records_are_survived);
  tcase_add_test(group, labels);
  tcase_add_test(group, other_models_and_top_level_only);
  tcase_add_test(group, times);
  tcase_add_test(group, every_type_passes_its_selftest);
  suite_add_tcase(suite, group);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
