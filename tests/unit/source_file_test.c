/* The file source: offsets, seek, growth, damage, headers, new partitions. */
#include "daemon/source.h"
#include "daemon/source_file_line.h"

#include <check.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  gchar *directory;
  Source *source;
  GString *log; /* what the callbacks were told */
} Fixture;

static void on_assigned(gpointer data, const gchar *topic, gint32 partition)
{
  Fixture *fixture = data;
  g_string_append_printf(fixture->log, "+%s/%d ", topic, partition);
  ck_assert(fixture->source->type->seek(fixture->source, topic, partition, 0, NULL));
}

static void on_failed(gpointer data, const gchar *topic, gint32 partition, const GError *error)
{
  Fixture *fixture = data;
  ck_assert_uint_eq(error->domain, DAEMON_ERROR);
  g_string_append_printf(fixture->log, "!%s/%d:%d ", topic, partition, error->code);
}

static void set_up(Fixture *fixture)
{
  static const SourceCallbacks callbacks = {.assigned = on_assigned, .failed = on_failed};
  fixture->directory = g_dir_make_tmp("kedge-file-XXXXXX", NULL);
  fixture->log = g_string_new(NULL);
  SettingsBroker settings = {.directory = fixture->directory};
  fixture->source = source_type_find("file")->open(&settings, TRUE, &callbacks, fixture, NULL);
  ck_assert_ptr_nonnull(fixture->source);
}

static void tear_down(Fixture *fixture)
{
  fixture->source->type->close(fixture->source);
  g_autofree gchar *command = g_strdup_printf("rm -r '%s'", fixture->directory);
  ck_assert(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
  g_string_free(fixture->log, TRUE);
  g_free(fixture->directory);
}

static void append(const Fixture *fixture, const gchar *name, const gchar *text)
{
  g_autofree gchar *path = g_build_filename(fixture->directory, name, NULL);
  g_autofree gchar *folder = g_path_get_dirname(path);
  ck_assert_int_eq(g_mkdir_with_parents(folder, 0700), 0);
  FILE *file = g_fopen(path, "a");
  ck_assert_ptr_nonnull(file);
  fputs(text, file);
  fclose(file);
}

static void assert_record(Fixture *fixture, const gchar *topic, gint32 partition, gint64 offset, const gchar *value)
{
  SourceRecord record;
  ck_assert_msg(fixture->source->type->poll(fixture->source, 0, &record, NULL), "no record, expected %s", value);
  ck_assert_str_eq(record.topic, topic);
  ck_assert_int_eq(record.partition, partition);
  ck_assert_int_eq(record.offset, offset);
  ck_assert_msg(record.value_length == strlen(value) && memcmp(record.value, value, record.value_length) == 0,
                "%.*s is not %s", (int)record.value_length, record.value, value);
  ck_assert_int_eq(record.timestamp, -1);
}

static void assert_nothing(Fixture *fixture)
{
  SourceRecord record;
  g_autoptr(GError) error = NULL;
  ck_assert(!fixture->source->type->poll(fixture->source, 0, &record, &error));
  ck_assert_ptr_null(error);
}

static void subscribe(Fixture *fixture, const gchar *topic)
{
  const gchar *topics[] = {topic, NULL};
  ck_assert(fixture->source->type->subscribe(fixture->source, topics, NULL));
}

START_TEST(lines_are_records)
{
  Fixture fixture;
  set_up(&fixture);
  append(&fixture, "t/0.jsonl", "a\nb\n\npart");
  append(&fixture, "t/2.jsonl", "x\n");
  append(&fixture, "t/notes.txt", "no\n");
  append(&fixture, "t/01.jsonl", "no\n");
  subscribe(&fixture, "t");
  assert_record(&fixture, "t", 0, 0, "a");
  assert_record(&fixture, "t", 2, 0, "x"); /* in turns */
  ck_assert_str_eq(fixture.log->str, "+t/0 +t/2 ");
  assert_record(&fixture, "t", 0, 1, "b");
  assert_record(&fixture, "t", 0, 2, "");
  assert_nothing(&fixture); /* the last line has no end yet */
  append(&fixture, "t/0.jsonl", "ial\nc\n");
  assert_record(&fixture, "t", 0, 3, "partial");
  assert_record(&fixture, "t", 0, 4, "c");
  assert_nothing(&fixture);
  ck_assert_int_eq(fixture.source->type->count_partitions(fixture.source, "t", NULL), 3);
  ck_assert_int_eq(fixture.source->type->count_partitions(fixture.source, "none", NULL), 0);
  tear_down(&fixture);
}
END_TEST

START_TEST(seeks_by_line_number)
{
  Fixture fixture;
  set_up(&fixture);
  GString *text = g_string_new(NULL);
  for (guint i = 0; i < 5000; i++) g_string_append_printf(text, "line %u%*s\n", i, (int)(i % 97), "");
  append(&fixture, "t/0.jsonl", text->str);
  g_string_free(text, TRUE);
  const SourceType *type = fixture.source->type;
  static const gint64 offsets[] = {4999, 0, 1023, 1024, 1025, 2048, 3333, 4096, 1};
  for (guint i = 0; i < G_N_ELEMENTS(offsets); i++) {
    ck_assert(type->seek(fixture.source, "t", 0, offsets[i], NULL));
    for (gint64 offset = offsets[i]; offset < MIN(offsets[i] + 3, 5000); offset++) {
      g_autofree gchar *value = g_strdup_printf("line %" G_GINT64_FORMAT "%*s", offset, (int)(offset % 97), "");
      assert_record(&fixture, "t", 0, offset, value);
    }
  }
  gint64 low, high;
  ck_assert(type->get_range(fixture.source, "t", 0, &low, &high, NULL));
  ck_assert_int_eq(low, 0);
  ck_assert_int_eq(high, 5000);
  ck_assert_int_eq(type->get_high_mark(fixture.source, "t", 0), 5000);
  ck_assert(type->seek(fixture.source, "t", 0, SOURCE_LATEST, NULL));
  assert_nothing(&fixture);
  append(&fixture, "t/0.jsonl", "new\n");
  assert_record(&fixture, "t", 0, 5000, "new");
  ck_assert(type->seek(fixture.source, "t", 0, SOURCE_EARLIEST, NULL));
  assert_record(&fixture, "t", 0, 0, "line 0");
  ck_assert(type->pause(fixture.source, "t", 0, TRUE, NULL));
  assert_nothing(&fixture);
  ck_assert(type->pause(fixture.source, "t", 0, FALSE, NULL));
  assert_record(&fixture, "t", 0, 1, "line 1 ");
  ck_assert(type->stop(fixture.source, "t", 0, NULL));
  assert_nothing(&fixture);
  ck_assert(type->seek(fixture.source, "t", 0, 5001, NULL)); /* the end: waits */
  assert_nothing(&fixture);
  ck_assert_str_eq(fixture.log->str, "");
  ck_assert(type->seek(fixture.source, "t", 0, 5002, NULL));
  assert_nothing(&fixture);
  ck_assert_str_eq(fixture.log->str, "!t/0:5 ");
  ck_assert_int_eq(DAEMON_ERROR_OFFSET, 5);
  tear_down(&fixture);
}
END_TEST

START_TEST(replaced_and_shortened_files_fail_aloud)
{
  Fixture fixture;
  set_up(&fixture);
  append(&fixture, "t/0.jsonl", "a\nb\n");
  subscribe(&fixture, "t");
  assert_record(&fixture, "t", 0, 0, "a");
  assert_record(&fixture, "t", 0, 1, "b");
  g_autofree gchar *path = g_build_filename(fixture.directory, "t/0.jsonl", NULL);
  ck_assert_int_eq(truncate(path, 2), 0);
  assert_nothing(&fixture);
  ck_assert_str_eq(fixture.log->str, "+t/0 !t/0:5 ");
  assert_nothing(&fixture); /* told once */
  ck_assert(fixture.source->type->seek(fixture.source, "t", 0, 1, NULL));
  append(&fixture, "t/0.jsonl", "c\n");
  assert_record(&fixture, "t", 0, 1, "c");
  /* another file of the same name, even a longer one */
  g_autofree gchar *other = g_build_filename(fixture.directory, "t/new", NULL);
  append(&fixture, "t/new", "k\nl\nm\nn\n");
  ck_assert_int_eq(g_rename(other, path), 0);
  assert_nothing(&fixture);
  ck_assert_str_eq(fixture.log->str, "+t/0 !t/0:5 !t/0:5 ");
  ck_assert(fixture.source->type->seek(fixture.source, "t", 0, 2, NULL));
  assert_record(&fixture, "t", 0, 2, "m");
  ck_assert_int_eq(g_unlink(path), 0);
  assert_record(&fixture, "t", 0, 3, "n"); /* was read ahead */
  assert_nothing(&fixture);
  ck_assert_str_eq(fixture.log->str, "+t/0 !t/0:5 !t/0:5 !t/0:5 ");
  tear_down(&fixture);
}
END_TEST

START_TEST(long_lines_are_cut_and_passed)
{
  Fixture fixture;
  set_up(&fixture);
  gsize length = 5 << 20;
  g_autofree gchar *line = g_strnfill(length, 'x');
  append(&fixture, "t/0.jsonl", "a\n");
  append(&fixture, "t/0.jsonl", line);
  subscribe(&fixture, "t");
  assert_record(&fixture, "t", 0, 0, "a");
  assert_nothing(&fixture);
  append(&fixture, "t/0.jsonl", "\nb\n");
  SourceRecord record;
  ck_assert(fixture.source->type->poll(fixture.source, 0, &record, NULL));
  ck_assert_int_eq(record.offset, 1);
  ck_assert_uint_eq(record.value_length, 2 << 20);
  ck_assert(record.value[0] == 'x' && record.value[record.value_length - 1] == 'x');
  assert_record(&fixture, "t", 0, 2, "b");
  tear_down(&fixture);
}
END_TEST

START_TEST(what_is_produced_comes_back)
{
  Fixture fixture;
  set_up(&fixture);
  const SourceType *type = fixture.source->type;
  const gchar *headers[] = {"ce_id", "7\"", "reason", "na\xc3\xafve", "reason", "last", NULL};
  static const gchar binary[] = "line\nwith \x1e and \0 zero";
  g_autoptr(GBytes) plain = g_bytes_new_static("{\"a\":1}", 7), raw = g_bytes_new_static(binary, sizeof binary - 1),
                    empty = g_bytes_new_static("", 0), marked = g_bytes_new_static("\x1e{", 2);
  ck_assert(type->produce(fixture.source, "t", NULL, plain, NULL, NULL));
  ck_assert(type->produce(fixture.source, "t", "key", raw, headers, NULL));
  ck_assert(type->send(fixture.source, "t", 0, NULL, empty, NULL, NULL));
  ck_assert(type->send(fixture.source, "t", 0, NULL, marked, NULL, NULL));
  ck_assert(type->flush(fixture.source, 1000, NULL));
  subscribe(&fixture, "t");
  assert_record(&fixture, "t", 0, 0, "{\"a\":1}");
  SourceRecord record;
  gsize length;
  ck_assert(type->poll(fixture.source, 0, &record, NULL));
  ck_assert(record.value_length == sizeof binary - 1 && memcmp(record.value, binary, record.value_length) == 0);
  ck_assert(record.key_length == 3 && memcmp(record.key, "key", 3) == 0);
  const gchar *header = type->get_header(&record, "ce_id", &length);
  ck_assert(length == 2 && memcmp(header, "7\"", 2) == 0);
  ck_assert_str_eq(type->get_header(&record, "reason", &length), "last");
  ck_assert_ptr_null(type->get_header(&record, "other", &length));
  assert_record(&fixture, "t", 0, 2, "");
  assert_record(&fixture, "t", 0, 3, "\x1e{");
  /* a line that only looks like a preamble is a value */
  append(&fixture, "t/0.jsonl", "\x1e{\"headers\":[1]}\x1eq\n");
  assert_record(&fixture, "t", 0, 4, "\x1e{\"headers\":[1]}\x1eq");
  /* a writer that died in a line does not swallow the next record */
  append(&fixture, "t/0.jsonl", "torn");
  ck_assert(type->produce(fixture.source, "t", NULL, plain, NULL, NULL));
  assert_record(&fixture, "t", 0, 5, "torn");
  assert_record(&fixture, "t", 0, 6, "{\"a\":1}");
  g_autoptr(GError) error = NULL;
  ck_assert(!type->produce(fixture.source, "../t", NULL, plain, NULL, &error));
  ck_assert(g_error_matches(error, DAEMON_ERROR, DAEMON_ERROR_TOPIC));
  tear_down(&fixture);
}
END_TEST

typedef struct {
  Fixture *fixture;
  const gchar *name, *text;
} Later;

static gpointer append_later(gpointer data)
{
  Later *later = data;
  append(later->fixture, later->name, later->text);
  return NULL;
}

START_TEST(waiting_ends_when_something_comes)
{
  Fixture fixture;
  set_up(&fixture);
  subscribe(&fixture, "t");
  static const gchar *const names[] = {"t/0.jsonl", "t/0.jsonl", "t/1.jsonl"};
  static const gchar *const values[] = {"a", "b", "c"};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    g_autofree gchar *line = g_strconcat(values[i], "\n", NULL);
    Later later = {&fixture, names[i], line};
    GThread *thread = g_thread_new("append", append_later, &later);
    SourceRecord record;
    ck_assert_msg(fixture.source->type->poll(fixture.source, 20000, &record, NULL), "%s never came", values[i]);
    ck_assert(record.value_length == 1 && record.value[0] == values[i][0]);
    g_thread_join(thread);
  }
  ck_assert_str_eq(fixture.log->str, "+t/0 +t/1 ");
  tear_down(&fixture);
}
END_TEST

START_TEST(topics_that_share_a_directory)
{
  Fixture fixture;
  set_up(&fixture);
  append(&fixture, "t/0.jsonl", "a\n");
  append(&fixture, "l/0.jsonl", "y\nz\n");
  subscribe(&fixture, "t");
  assert_record(&fixture, "t", 0, 0, "a");
  assert_nothing(&fixture); /* labels are followed by seek only */
  ck_assert(fixture.source->type->seek(fixture.source, "l", 0, 1, NULL));
  assert_record(&fixture, "l", 0, 1, "z");
  ck_assert_str_eq(fixture.log->str, "+t/0 ");
  g_autofree gchar *id = fixture.source->type->get_cluster_id(fixture.source);
  ck_assert(g_str_has_prefix(id, "file:/"));
  gint64 low, high;
  g_autoptr(GError) error = NULL;
  ck_assert(!fixture.source->type->get_range(fixture.source, "t", 9, &low, &high, &error));
  ck_assert(g_error_matches(error, DAEMON_ERROR, DAEMON_ERROR_TOPIC));
  tear_down(&fixture);
}
END_TEST

START_TEST(opening_says_what_is_missing)
{
  SettingsBroker settings = {.directory = (gchar *)"/no/such/folder"};
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(source_type_find("file")->open(&settings, TRUE, NULL, NULL, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "/no/such/folder: no such directory"));
}
END_TEST

START_TEST(keys_are_spread_as_by_java)
{
  /* org.apache.kafka.common.utils.UtilsTest.testMurmur2 */
  static const struct {
    const gchar *key;
    gint32 hash;
  } cases[] = {{"21", -973932308},
               {"foobar", -790332482},
               {"a-little-bit-long-string", -985981536},
               {"a-little-bit-longer-string", -1486304829},
               {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    gint32 positive = cases[i].hash & 0x7fffffff;
    ck_assert_int_eq(source_partition_of(cases[i].key, G_MAXINT32), positive % G_MAXINT32);
    ck_assert_int_eq(source_partition_of(cases[i].key, 7), positive % 7);
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("source_file");
  TCase *group = tcase_create("all");
  tcase_set_timeout(group, 60);
  tcase_add_test(group, lines_are_records);
  tcase_add_test(group, seeks_by_line_number);
  tcase_add_test(group, replaced_and_shortened_files_fail_aloud);
  tcase_add_test(group, long_lines_are_cut_and_passed);
  tcase_add_test(group, what_is_produced_comes_back);
  tcase_add_test(group, waiting_ends_when_something_comes);
  tcase_add_test(group, topics_that_share_a_directory);
  tcase_add_test(group, opening_says_what_is_missing);
  tcase_add_test(group, keys_are_spread_as_by_java);
  suite_add_tcase(suite, group);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
