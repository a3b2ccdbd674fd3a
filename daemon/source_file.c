/* "file": topics are folders, partitions are files TOPIC/PARTITION.jsonl (see source_file_line.h). Durable, needs no
 * broker, one daemon. New lines and new partitions are noticed by inotify. */
#include "daemon/source_file_line.h"
#include "daemon/source_file_log.h"
#include "daemon/source.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

extern const SourceType source_file;

typedef struct {
  gchar *topic;
  gint32 partition;
  SourceFileLog *log;
  gboolean assigned; /* the caller was told of it */
  gboolean started, paused;
  gboolean must_seek;
  gint64 target;
} Partition;

typedef struct {
  Source base;
  gchar *directory;
  SourceCallbacks callbacks;
  gpointer user_data;
  gchar **traffic_topics;
  GPtrArray *partitions; /* of Partition*; a partition stays once it is known */
  guint turn;            /* the partition asked first at the next poll */
  int watch;             /* inotify */
  gboolean may_have_grown;
  SourceFileLine line; /* of the record given last */
  guint round_robin;
  GHashTable *unsynced; /* paths that were appended to since the last flush */
} FileSource;

static void partition_free(gpointer data)
{
  Partition *partition = data;
  source_file_log_free(partition->log);
  g_free(partition->topic);
  g_free(partition);
}

static gboolean check_topic(const gchar *topic, GError **error)
{
  if (*topic != '\0' && *topic != '.' && strchr(topic, '/') == NULL) return TRUE;
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_TOPIC, "'%s' is not the name of a topic", topic);
  return FALSE;
}

static gchar *partition_path(const FileSource *self, const gchar *topic, gint32 partition)
{
  return g_strdup_printf("%s/%s/%d.jsonl", self->directory, topic, partition);
}

static Partition *find_partition(FileSource *self, const gchar *topic, gint32 number)
{
  for (guint i = 0; i < self->partitions->len; i++) {
    Partition *partition = g_ptr_array_index(self->partitions, i);
    if (partition->partition == number && strcmp(partition->topic, topic) == 0) return partition;
  }
  return NULL;
}

static void watch_folder(FileSource *self, const gchar *topic)
{
  g_autofree gchar *folder = g_build_filename(self->directory, topic, NULL);
  /* Fails while the folder does not exist; the watch on the directory above tells when it does. */
  inotify_add_watch(self->watch, folder, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR);
}

static Partition *get_partition(FileSource *self, const gchar *topic, gint32 number)
{
  Partition *partition = find_partition(self, topic, number);
  if (partition != NULL) return partition;
  g_autofree gchar *path = partition_path(self, topic, number);
  partition = g_new0(Partition, 1);
  partition->topic = g_strdup(topic);
  partition->partition = number;
  partition->log = source_file_log_new(path);
  g_ptr_array_add(self->partitions, partition);
  watch_folder(self, topic);
  return partition;
}

/* "12.jsonl" -> 12; -1: not a partition. */
static gint32 partition_number(const gchar *name)
{
  g_auto(GStrv) parts = g_strsplit(name, ".", 2);
  guint64 number;
  if (parts[0] == NULL || g_strcmp0(parts[1], "jsonl") != 0 || (parts[0][0] == '0' && parts[0][1] != '\0') ||
      !g_ascii_string_to_unsigned(parts[0], 10, 0, 99999, &number, NULL))
    return -1;
  return (gint32)number;
}

static gint compare_numbers(gconstpointer a, gconstpointer b)
{
  return *(const gint32 *)a - *(const gint32 *)b;
}

/* gint32 numbers in order (new); empty when the topic does not exist. */
static GArray *list_partitions(const FileSource *self, const gchar *topic)
{
  GArray *numbers = g_array_new(FALSE, FALSE, sizeof(gint32));
  g_autofree gchar *folder = g_build_filename(self->directory, topic, NULL);
  g_autoptr(GDir) entries = g_dir_open(folder, 0, NULL);
  for (const gchar *name; entries != NULL && (name = g_dir_read_name(entries)) != NULL;) {
    gint32 number = partition_number(name);
    if (number >= 0) g_array_append_val(numbers, number);
  }
  g_array_sort(numbers, compare_numbers);
  return numbers;
}

static Source *open_source(const SettingsBroker *settings, gboolean manual_assignment G_GNUC_UNUSED,
                           const SourceCallbacks *callbacks, gpointer user_data, GError **error)
{
  if (!g_file_test(settings->directory, G_FILE_TEST_IS_DIR)) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_BROKER,
                "%s: no such directory; create it, or set broker.directory to where the topics are",
                settings->directory);
    return NULL;
  }
  int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (watch < 0) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_BROKER,
                "cannot watch for new records: %s (fs.inotify.max_user_instances)", g_strerror(errno));
    return NULL;
  }
  FileSource *self = g_new0(FileSource, 1);
  self->base.type = &source_file;
  self->directory = g_strdup(settings->directory);
  if (callbacks != NULL) self->callbacks = *callbacks;
  self->user_data = user_data;
  self->traffic_topics = g_new0(gchar *, 1);
  self->partitions = g_ptr_array_new_with_free_func(partition_free);
  self->watch = watch;
  self->may_have_grown = TRUE;
  self->unsynced = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  inotify_add_watch(watch, self->directory, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
  return &self->base;
}

static gboolean subscribe(Source *source, const gchar *const *traffic_topics, GError **error)
{
  FileSource *self = (FileSource *)source;
  for (const gchar *const *topic = traffic_topics; *topic != NULL; topic++)
    if (!check_topic(*topic, error)) return FALSE;
  g_strfreev(self->traffic_topics);
  self->traffic_topics = g_strdupv((gchar **)traffic_topics);
  self->may_have_grown = TRUE;
  return TRUE;
}

static void assign_new_partitions(FileSource *self)
{
  if (!self->may_have_grown) return;
  self->may_have_grown = FALSE;
  for (guint i = 0; i < self->partitions->len; i++)
    watch_folder(self, ((Partition *)g_ptr_array_index(self->partitions, i))->topic);
  for (guint i = 0; self->traffic_topics[i] != NULL; i++) {
    const gchar *topic = self->traffic_topics[i];
    watch_folder(self, topic); /* before listing: what comes later is noticed */
    g_autoptr(GArray) numbers = list_partitions(self, topic);
    for (guint j = 0; j < numbers->len; j++) {
      gint32 number = g_array_index(numbers, gint32, j);
      Partition *partition = get_partition(self, topic, number);
      if (partition->assigned) continue;
      partition->assigned = TRUE;
      if (self->callbacks.assigned != NULL) self->callbacks.assigned(self->user_data, topic, number);
    }
  }
}

static gboolean seek(Source *source, const gchar *topic, gint32 number, gint64 offset, GError **error)
{
  if (!check_topic(topic, error)) return FALSE;
  Partition *partition = get_partition((FileSource *)source, topic, number);
  partition->started = TRUE;
  partition->must_seek = TRUE;
  partition->target = offset;
  return TRUE;
}

static gboolean stop(Source *source, const gchar *topic, gint32 number, GError **error G_GNUC_UNUSED)
{
  Partition *partition = find_partition((FileSource *)source, topic, number);
  if (partition != NULL) partition->started = FALSE;
  return TRUE;
}

static gboolean pause_partition(Source *source, const gchar *topic, gint32 number, gboolean paused,
                                GError **error G_GNUC_UNUSED)
{
  get_partition((FileSource *)source, topic, number)->paused = paused;
  return TRUE;
}

static gint32 count_partitions(Source *source, const gchar *topic, GError **error)
{
  if (!check_topic(topic, error)) return -1;
  g_autoptr(GArray) numbers = list_partitions((FileSource *)source, topic);
  return numbers->len == 0 ? 0 : g_array_index(numbers, gint32, numbers->len - 1) + 1;
}

static gboolean get_range(Source *source, const gchar *topic, gint32 number, gint64 *low, gint64 *high, GError **error)
{
  if (!check_topic(topic, error)) return FALSE;
  FileSource *self = (FileSource *)source;
  g_autofree gchar *path = partition_path(self, topic, number);
  if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_TOPIC, "%s: no such partition", path);
    return FALSE;
  }
  if (!source_file_log_count(get_partition(self, topic, number)->log, high, error)) return FALSE;
  *low = 0;
  return TRUE;
}

static gint64 get_high_mark(Source *source, const gchar *topic, gint32 number)
{
  gint64 low, high;
  return get_range(source, topic, number, &low, &high, NULL) ? high : -1;
}

static gchar *get_cluster_id(Source *source)
{
  g_autofree gchar *real = realpath(((FileSource *)source)->directory, NULL);
  return real == NULL ? NULL : g_strconcat("file:", real, NULL);
}

static void report_failure(FileSource *self, Partition *partition, const GError *error)
{
  partition->started = FALSE;
  if (self->callbacks.failed != NULL)
    self->callbacks.failed(self->user_data, partition->topic, partition->partition, error);
}

static const gchar *get_header(const SourceRecord *record, const gchar *name, gsize *length)
{
  const SourceFileLine *line = record->native;
  if (line == NULL) return NULL;
  const gchar *found = NULL;
  for (gchar **header = line->headers; header != NULL && header[0] != NULL; header += 2)
    if (strcmp(header[0], name) == 0) found = header[1];
  if (found != NULL) *length = strlen(found);
  return found;
}

/* TRUE: a record of this partition. */
static gboolean poll_partition(FileSource *self, Partition *partition, SourceRecord *record)
{
  if (!partition->started || partition->paused) return FALSE;
  g_autoptr(GError) error = NULL;
  if (partition->must_seek) {
    partition->must_seek = FALSE;
    if (!source_file_log_seek(partition->log, partition->target, &error)) {
      report_failure(self, partition, error);
      return FALSE;
    }
  }
  const gchar *text;
  gsize length;
  gint64 offset;
  SourceFileResult result = source_file_log_next(partition->log, &offset, &text, &length, &error);
  if (result == SOURCE_FILE_FAILED) report_failure(self, partition, error);
  if (result != SOURCE_FILE_LINE) return FALSE;
  source_file_line_clear(&self->line);
  source_file_line_parse(text, length, &self->line);
  *record = (SourceRecord){.topic = partition->topic,
                           .partition = partition->partition,
                           .offset = offset,
                           .timestamp = -1,
                           .key = (const guint8 *)self->line.key,
                           .key_length = self->line.key == NULL ? 0 : strlen(self->line.key),
                           .value = self->line.value,
                           .value_length = self->line.value_length,
                           .native = &self->line,
                           .get_header = get_header};
  return TRUE;
}

static gboolean poll_partitions(FileSource *self, SourceRecord *record)
{
  guint n = self->partitions->len;
  for (guint i = 0; i < n; i++) {
    guint index = (self->turn + i) % n;
    if (!poll_partition(self, g_ptr_array_index(self->partitions, index), record)) continue;
    self->turn = index + 1;
    return TRUE;
  }
  return FALSE;
}

static void wait_for_change(FileSource *self, gint64 timeout_us)
{
  struct pollfd watched = {.fd = self->watch, .events = POLLIN};
  int milliseconds = (int)((timeout_us + 999) / 1000);
  if (poll(&watched, 1, milliseconds) <= 0) return;
  _Alignas(struct inotify_event) gchar events[4096];
  gssize length;
  while ((length = read(self->watch, events, sizeof events)) > 0)
    for (gssize at = 0; at < length;) {
      const struct inotify_event *event = (const struct inotify_event *)(events + at);
      if (event->mask & (IN_CREATE | IN_MOVED_TO | IN_Q_OVERFLOW)) self->may_have_grown = TRUE;
      at += (gssize)(sizeof *event + event->len);
    }
}

static gboolean poll_source(Source *source, guint timeout_ms, SourceRecord *record, GError **error G_GNUC_UNUSED)
{
  FileSource *self = (FileSource *)source;
  gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
  for (;;) {
    assign_new_partitions(self);
    if (poll_partitions(self, record)) return TRUE;
    gint64 left = deadline - g_get_monotonic_time();
    if (left <= 0) return FALSE;
    wait_for_change(self, left);
  }
}

static void commit(Source *source G_GNUC_UNUSED, const gchar *topic G_GNUC_UNUSED, gint32 partition G_GNUC_UNUSED,
                   gint64 next_offset G_GNUC_UNUSED)
{
}

static gboolean append_record(FileSource *self, const gchar *topic, gint32 number, const gchar *key, GBytes *value,
                              const gchar *const *headers, gboolean durable, GError **error)
{
  if (!check_topic(topic, error)) return FALSE;
  g_autofree gchar *folder = g_build_filename(self->directory, topic, NULL);
  if (g_mkdir_with_parents(folder, 0750) != 0) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_BROKER, "%s: cannot create: %s", folder, g_strerror(errno));
    return FALSE;
  }
  if (number < 0) {
    gint32 n = MAX(count_partitions(&self->base, topic, NULL), 1);
    number = key != NULL ? source_partition_of(key, n) : (gint32)(self->round_robin++ % (guint)n);
  }
  GString *line = source_file_line_format(key, value, headers);
  if (line == NULL) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_BROKER, "a key or header for topic '%s' is not UTF-8", topic);
    return FALSE;
  }
  g_autofree gchar *path = partition_path(self, topic, number);
  gboolean good = source_file_append(path, line->str, line->len, durable, error);
  g_string_free(line, TRUE);
  if (good && !durable) g_hash_table_add(self->unsynced, g_steal_pointer(&path));
  return good;
}

static gboolean produce(Source *source, const gchar *topic, const gchar *key, GBytes *value,
                        const gchar *const *headers, GError **error)
{
  return append_record((FileSource *)source, topic, -1, key, value, headers, TRUE, error);
}

static gboolean send_record(Source *source, const gchar *topic, gint32 partition, const gchar *key, GBytes *value,
                            const gchar *const *headers, GError **error)
{
  return append_record((FileSource *)source, topic, partition, key, value, headers, FALSE, error);
}

static gboolean flush(Source *source, guint timeout_ms G_GNUC_UNUSED, GError **error)
{
  FileSource *self = (FileSource *)source;
  GHashTableIter iterator;
  gpointer path;
  g_hash_table_iter_init(&iterator, self->unsynced);
  while (g_hash_table_iter_next(&iterator, &path, NULL)) {
    if (!source_file_append(path, "", 0, TRUE, error)) return FALSE;
    g_hash_table_iter_remove(&iterator);
  }
  return TRUE;
}

static void close_source(Source *source)
{
  FileSource *self = (FileSource *)source;
  close(self->watch);
  source_file_line_clear(&self->line);
  g_ptr_array_unref(self->partitions);
  g_hash_table_unref(self->unsynced);
  g_strfreev(self->traffic_topics);
  g_free(self->directory);
  g_free(self);
}

const SourceType source_file = {
    .name = "file",
    .summary = "files TOPIC/PARTITION.jsonl, one record a line: durable, without a broker",
    .open = open_source,
    .subscribe = subscribe,
    .seek = seek,
    .stop = stop,
    .pause = pause_partition,
    .count_partitions = count_partitions,
    .get_range = get_range,
    .get_high_mark = get_high_mark,
    .get_cluster_id = get_cluster_id,
    .poll = poll_source,
    .get_header = get_header,
    .commit = commit,
    .produce = produce,
    .send = send_record,
    .flush = flush,
    .close = close_source,
};
