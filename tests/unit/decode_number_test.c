/* Numbers of JSON events: the quick way of reading them gives the same doubles as the C library, and takes nothing that
 * is not JSON. */
#include "daemon/decode_internal.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static Decoder *decoder_new(void)
{
  SettingsTraffic settings = {.fields = {(gchar *)"request_id", (gchar *)"ts", (gchar *)"model", (gchar *)"version",
                                         (gchar *)"features", (gchar *)"prediction", (gchar *)"score",
                                         (gchar *)"latency_ms", (gchar *)"label"},
                              .only_model = (gchar *)""};
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_REGRESSION, "y");
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, FALSE, TRUE);
  return decoder_type_find("json")->create(&settings, NULL, schema, NULL);
}

/* As a feature and as the score, which are read at different places. */
static gboolean read_both(Decoder *decoder, const gchar *spelling, const gchar *after, double *feature, double *score)
{
  g_autofree gchar *text = g_strdup_printf("{\"request_id\":\"a\",\"ts\":1700000000,\"x\":%s%s,\"score\":%s%s}",
                                           spelling, after, spelling, after);
  gsize length = strlen(text);
  g_autofree guint8 *copy = g_memdup2(text, length);
  SourceRecord record = {.value = copy, .value_length = length};
  DecodedTraffic out = {0};
  if (decoder->type->traffic(decoder, &record, &out, NULL) != DECODE_OK) return FALSE;
  *feature = out.events[0].features[0].number;
  *score = out.events[0].score;
  return out.events[0].features[0].kind == DRIFT_VALUE_NUMBER;
}

static void assert_same(Decoder *decoder, const gchar *spelling)
{
  static const gchar *const after[] = {"", " ", "\n", "\t\r"};
  double expected = g_ascii_strtod(spelling, NULL), feature = 0, score = 0;
  for (guint i = 0; i < G_N_ELEMENTS(after); i++) {
    ck_assert_msg(read_both(decoder, spelling, after[i], &feature, &score), "%s is refused", spelling);
    ck_assert_msg(memcmp(&feature, &expected, sizeof expected) == 0, "%s: %.17g", spelling, feature);
    ck_assert_msg(memcmp(&score, &expected, sizeof expected) == 0, "%s: %.17g", spelling, score);
  }
}

START_TEST(reads_every_spelling_as_the_library_does)
{
  static const gchar *const spellings[] = {"0.5",
                                           "-0.0",
                                           "0.0",
                                           "1",
                                           "-1",
                                           "0",
                                           "12345678.12345678",
                                           "0.12345678",
                                           "0.123456789",
                                           "0.1234567890123456",
                                           "0.12345678901234567",
                                           "0.123456789012345678",
                                           "0.1234567890123456789",
                                           "0.9007199254740993",
                                           "9007199254740992.0",
                                           "9007199254740993.0",
                                           "900719925.4740993",
                                           "1234567890.12345678",
                                           "12345678901.5",
                                           "123456789.123456789",
                                           "999999999.9999999999",
                                           "1.5e3",
                                           "-2.25E-3",
                                           "0.00000000000000001",
                                           "0.000000000000000000001",
                                           "179769313486231570000.5",
                                           "0.1e-5"};
  Decoder *decoder = decoder_new();
  for (guint i = 0; i < G_N_ELEMENTS(spellings); i++) assert_same(decoder, spellings[i]);
  decoder->type->free(decoder);
}
END_TEST

START_TEST(reads_random_numbers_as_the_library_does)
{
  Decoder *decoder = decoder_new();
  g_autoptr(GRand) random = g_rand_new_with_seed(5);
  for (guint i = 0; i < 20000; i++) {
    gchar text[64], whole[24] = "";
    gint digits = g_rand_int_range(random, 0, 20), before = g_rand_int_range(random, 1, 12);
    for (gint d = 0; d < before; d++) whole[d] = (gchar)('0' + g_rand_int_range(random, d == 0 && before > 1, 10));
    g_snprintf(text, sizeof text, "%s%s%s", g_rand_boolean(random) ? "-" : "", whole, digits > 0 ? "." : "");
    for (gint d = 0; d < digits; d++) g_snprintf(text + strlen(text), 2, "%d", g_rand_int_range(random, 0, 10));
    assert_same(decoder, text);
    g_snprintf(text, sizeof text, "%.17g", g_rand_double(random));
    assert_same(decoder, text);
  }
  decoder->type->free(decoder);
}
END_TEST

START_TEST(refuses_what_is_not_json)
{
  static const gchar *const spellings[] = {
      "01.5", "-01.5", "1.",  ".5",  "+1.5", "1.5.5", "1.5x",  "1.5\"", "0x1.8", "1.12345678x", "1.1234567812345678x",
      "-",    "-.5",   "1,5", "1 5", "1.5]", "1.5:2", "--1.5", "1.5e",  "00.5"};
  Decoder *decoder = decoder_new();
  double feature, score;
  for (guint i = 0; i < G_N_ELEMENTS(spellings); i++)
    ck_assert_msg(!read_both(decoder, spellings[i], "", &feature, &score), "%s is taken", spellings[i]);
  static const gchar with_nul[] = "{\"request_id\":\"a\",\"ts\":1700000000,\"x\":1.5\0,\"score\":1.5}";
  SourceRecord record = {.value = (const guint8 *)with_nul, .value_length = sizeof with_nul - 1};
  DecodedTraffic out = {0};
  ck_assert_int_eq(decoder->type->traffic(decoder, &record, &out, NULL), DECODE_MALFORMED);
  decoder->type->free(decoder);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("decode_number");
  TCase *cases = tcase_create("all");
  tcase_add_test(cases, reads_every_spelling_as_the_library_does);
  tcase_add_test(cases, reads_random_numbers_as_the_library_does);
  tcase_add_test(cases, refuses_what_is_not_json);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  gint failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
