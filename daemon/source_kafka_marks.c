#include "daemon/source_kafka_internal.h"

#include <sys/eventfd.h>

/* Pauses between questions, and what one may take. */
enum { BUSY_MS = 10, IDLE_MS = 250, COUNT_EVERY_MS = 5000, COUNT_UNKNOWN_EVERY_MS = 500, ANSWER_MS = 1000 };

typedef struct {
  const gchar *topic;
  gint32 partition;
} Key;

struct _KafkaMarks {
  int waker;       /* the source's eventfd */
  GThread *thread; /* started by the first need */
  GMutex lock;     /* guards all below but the atomics */
  GCond wake;
  gboolean ending;
  GArray *items;    /* KafkaMarksItem */
  GHashTable *high; /* Key -> gint64* */
  rd_kafka_t *counter;
  gchar **topics;     /* interned names */
  GHashTable *counts; /* topic -> GINT */
  guint changes;
  guint failures, answered; /* number of the last failure; that of the last one before an answer was asked for */
  gint records;             /* atomic: grows with records delivered */
};

static guint key_hash(gconstpointer data)
{
  const Key *key = data;
  return g_direct_hash(key->topic) * 31 + (guint)key->partition;
}

static gboolean key_equal(gconstpointer a, gconstpointer b)
{
  const Key *x = a, *y = b;
  return x->topic == y->topic && x->partition == y->partition;
}

KafkaMarks *kafka_marks_new(int wake)
{
  KafkaMarks *marks = g_new0(KafkaMarks, 1);
  marks->waker = wake;
  g_mutex_init(&marks->lock);
  g_cond_init(&marks->wake);
  marks->items = g_array_new(FALSE, FALSE, sizeof(KafkaMarksItem));
  marks->high = g_hash_table_new_full(key_hash, key_equal, g_free, g_free);
  marks->topics = g_new0(gchar *, 1);
  marks->counts = g_hash_table_new(g_direct_hash, g_direct_equal);
  return marks;
}

/* Under the lock: an answer that came after a failure is news. */
static void take_answer(KafkaMarks *marks, guint failures)
{
  if (marks->answered != failures) eventfd_write(marks->waker, 1);
  marks->answered = failures;
}

/* Without the lock: waits for the broker. */
static void ask_mark(KafkaMarks *marks, const KafkaMarksItem *item)
{
  g_mutex_lock(&marks->lock);
  guint failures = marks->failures;
  g_mutex_unlock(&marks->lock);
  gint64 low, high;
  if (rd_kafka_query_watermark_offsets(item->client, item->topic, item->partition, &low, &high, ANSWER_MS) !=
      RD_KAFKA_RESP_ERR_NO_ERROR)
    return;
  Key *key = g_new(Key, 1);
  *key = (Key){item->topic, item->partition};
  g_mutex_lock(&marks->lock);
  take_answer(marks, failures);
  g_hash_table_replace(marks->high, key, g_memdup2(&high, sizeof high));
  g_mutex_unlock(&marks->lock);
}

static void ask_count(KafkaMarks *marks, rd_kafka_t *client, const gchar *topic)
{
  g_mutex_lock(&marks->lock);
  guint failures = marks->failures;
  g_mutex_unlock(&marks->lock);
  gint32 count = kafka_client_count(client, topic, ANSWER_MS, NULL);
  if (count < 0) return;
  g_mutex_lock(&marks->lock);
  take_answer(marks, failures);
  if (count != GPOINTER_TO_INT(g_hash_table_lookup(marks->counts, topic))) {
    g_hash_table_replace(marks->counts, (gpointer)topic, GINT_TO_POINTER(count));
    marks->changes++;
    eventfd_write(marks->waker, 1);
  }
  g_mutex_unlock(&marks->lock);
}

static gboolean is_count_due(KafkaMarks *marks, gint64 *due)
{
  gint64 now = g_get_monotonic_time();
  if (marks->counter == NULL || *marks->topics == NULL || now < *due) return FALSE;
  gboolean all_known = TRUE;
  for (guint i = 0; marks->topics[i] != NULL; i++)
    if (g_hash_table_lookup(marks->counts, marks->topics[i]) == NULL) all_known = FALSE;
  gboolean is_lost = marks->failures != marks->answered;
  *due = now + (all_known && !is_lost ? COUNT_EVERY_MS : COUNT_UNKNOWN_EVERY_MS) * 1000;
  return TRUE;
}

static void count_topics(KafkaMarks *marks, rd_kafka_t *client, gchar **topics)
{
  for (guint i = 0; topics[i] != NULL; i++) ask_count(marks, client, topics[i]);
  g_free(topics);
}

static gchar **copy_names(gchar **names)
{
  return g_memdup2(names, sizeof *names * (g_strv_length(names) + 1)); /* the names themselves are interned */
}

static gpointer run(gpointer data)
{
  KafkaMarks *marks = data;
  guint turn = 0;
  gint seen_records = 0;
  gint64 count_due = 0;
  g_mutex_lock(&marks->lock);
  while (!marks->ending) {
    KafkaMarksItem item = {0};
    if (marks->items->len > 0) item = g_array_index(marks->items, KafkaMarksItem, turn++ % marks->items->len);
    rd_kafka_t *counter = marks->counter;
    gchar **topics = is_count_due(marks, &count_due) ? copy_names(marks->topics) : NULL;
    g_mutex_unlock(&marks->lock);
    if (topics != NULL) count_topics(marks, counter, topics);
    if (item.client != NULL) ask_mark(marks, &item);
    gint records = g_atomic_int_get(&marks->records);
    gint64 pause = records != seen_records ? BUSY_MS : IDLE_MS;
    seen_records = records;
    g_mutex_lock(&marks->lock);
    if (!marks->ending) g_cond_wait_until(&marks->wake, &marks->lock, g_get_monotonic_time() + pause * 1000);
  }
  g_mutex_unlock(&marks->lock);
  return NULL;
}

static void start_and_wake(KafkaMarks *marks)
{
  if (marks->ending) return;
  if (marks->thread == NULL) marks->thread = g_thread_new("kafka-marks", run, marks);
  g_cond_signal(&marks->wake);
}

void kafka_marks_stop(KafkaMarks *marks)
{
  g_mutex_lock(&marks->lock);
  marks->ending = TRUE;
  g_cond_signal(&marks->wake);
  g_mutex_unlock(&marks->lock);
  if (marks->thread != NULL) g_thread_join(g_steal_pointer(&marks->thread));
}

void kafka_marks_free(KafkaMarks *marks)
{
  g_array_unref(marks->items);
  g_hash_table_unref(marks->high);
  g_hash_table_unref(marks->counts);
  g_free(marks->topics);
  g_cond_clear(&marks->wake);
  g_mutex_clear(&marks->lock);
  g_free(marks);
}

void kafka_marks_set_items(KafkaMarks *marks, const GArray *items)
{
  g_mutex_lock(&marks->lock);
  g_array_set_size(marks->items, 0);
  if (items->len > 0) g_array_append_vals(marks->items, items->data, items->len);
  start_and_wake(marks);
  g_mutex_unlock(&marks->lock);
}

void kafka_marks_set_topics(KafkaMarks *marks, rd_kafka_t *client, gchar **topics)
{
  g_mutex_lock(&marks->lock);
  g_free(marks->topics);
  marks->topics = copy_names(topics);
  marks->counter = client;
  start_and_wake(marks);
  g_mutex_unlock(&marks->lock);
}

gint64 kafka_marks_get_high(KafkaMarks *marks, const gchar *topic, gint32 partition)
{
  const Key key = {g_intern_string(topic), partition};
  g_mutex_lock(&marks->lock);
  const gint64 *high = g_hash_table_lookup(marks->high, &key);
  gint64 result = high == NULL ? -1 : *high;
  g_mutex_unlock(&marks->lock);
  return result;
}

gint32 kafka_marks_get_count(KafkaMarks *marks, const gchar *topic)
{
  g_mutex_lock(&marks->lock);
  gint32 count = GPOINTER_TO_INT(g_hash_table_lookup(marks->counts, g_intern_string(topic)));
  g_mutex_unlock(&marks->lock);
  return count;
}

void kafka_marks_note_record(KafkaMarks *marks)
{
  /* One writer: it needs no locked instruction, which would be felt at millions of records a second. */
  __atomic_store_n(&marks->records, (gint)((guint)marks->records + 1), __ATOMIC_RELAXED);
}

void kafka_marks_note_failure(KafkaMarks *marks)
{
  g_mutex_lock(&marks->lock);
  marks->failures++;
  if (marks->thread != NULL) g_cond_signal(&marks->wake);
  g_mutex_unlock(&marks->lock);
}

gboolean kafka_marks_has_recovered(KafkaMarks *marks)
{
  g_mutex_lock(&marks->lock);
  gboolean answered = marks->answered == marks->failures;
  g_mutex_unlock(&marks->lock);
  return answered;
}

guint kafka_marks_get_changes(KafkaMarks *marks)
{
  g_mutex_lock(&marks->lock);
  guint changes = marks->changes;
  g_mutex_unlock(&marks->lock);
  return changes;
}
