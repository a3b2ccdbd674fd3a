#include <check.h>
#include <stdlib.h>

#include "daemon/health.h"

static gint64 now_us;
static gint64 fake_time(void)
{
  return now_us;
}

START_TEST(ready_only_when_every_component_is)
{
  Health *health = health_new();
  gchar *why = NULL;
  ck_assert(health_is_ready(health, &why));
  health_set(health, "leader", TRUE, NULL);
  health_set(health, "consumer", FALSE, "broker 127.0.0.1:9092 is unreachable");
  ck_assert(!health_is_ready(health, &why));
  ck_assert_str_eq(why, "consumer: broker 127.0.0.1:9092 is unreachable\n");
  g_free(why);
  health_set(health, "consumer", TRUE, NULL);
  ck_assert(health_is_ready(health, NULL));
  health_free(health);
}
END_TEST

START_TEST(alive_while_every_component_beats)
{
  Health *health = health_new();
  now_us = 1000;
  health_set_clock(health, fake_time);
  health_beat(health, "consumer");
  health_beat(health, "leader");
  now_us += 10 * G_USEC_PER_SEC;
  health_beat(health, "leader");
  gchar *who = NULL;
  ck_assert(health_is_alive(health, 10 * G_USEC_PER_SEC, &who));
  ck_assert(!health_is_alive(health, 9 * G_USEC_PER_SEC, &who));
  ck_assert_str_eq(who, "consumer (no progress for 10.0 s)");
  g_free(who);
  health_free(health);
}
END_TEST

START_TEST(summary_is_one_line)
{
  Health *health = health_new();
  gchar *text = health_summary(health);
  ck_assert_str_eq(text, "starting");
  g_free(text);
  health_set(health, "leader", TRUE, "term 3");
  text = health_summary(health);
  ck_assert_str_eq(text, "ready; leader: term 3");
  g_free(text);
  health_set(health, "consumer", FALSE, "two\nlines");
  text = health_summary(health);
  ck_assert_str_eq(text, "waiting; leader: term 3; consumer: two lines");
  g_free(text);
  health_free(health);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("health");
  TCase *tcase = tcase_create("health");
  tcase_add_test(tcase, ready_only_when_every_component_is);
  tcase_add_test(tcase, alive_while_every_component_beats);
  tcase_add_test(tcase, summary_is_one_line);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
