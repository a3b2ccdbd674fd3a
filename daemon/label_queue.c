#include "daemon/label_queue.h"

#include <string.h>

typedef struct {
  LabelEntry entry;   /* its texts are NULL here: they lie in `text` */
  guint64 text_start; /* counted from the first byte ever pushed */
} Item;

struct _LabelQueue {
  GArray *items; /* of Item; [head, len) are waiting */
  guint head;
  GByteArray *text;  /* id, then label text, of each item */
  guint64 text_base; /* what text->data[0] counts as */
};

LabelQueue *label_queue_new(void)
{
  LabelQueue *queue = g_new0(LabelQueue, 1);
  queue->items = g_array_new(FALSE, FALSE, sizeof(Item));
  queue->text = g_byte_array_new();
  return queue;
}

void label_queue_free(LabelQueue *queue)
{
  if (queue == NULL) return;
  g_array_unref(queue->items);
  g_byte_array_unref(queue->text);
  g_free(queue);
}

static guint32 text_length(const DriftValue *value)
{
  return value->kind == DRIFT_VALUE_TEXT ? value->length : 0;
}

/* Forgets what was popped once it is the larger half, so that a pop costs constant time on average. */
static void compact(LabelQueue *queue)
{
  if (queue->head * 2 < queue->items->len) return;
  guint64 start = queue->head < queue->items->len ? g_array_index(queue->items, Item, queue->head).text_start
                                                  : queue->text_base + queue->text->len;
  if (start > queue->text_base) g_byte_array_remove_range(queue->text, 0, (guint)(start - queue->text_base));
  if (queue->head > 0) g_array_remove_range(queue->items, 0, queue->head);
  queue->text_base = start;
  queue->head = 0;
}

void label_queue_push(LabelQueue *queue, const LabelEntry *entry)
{
  Item item = {*entry, queue->text_base + queue->text->len};
  guint32 id_length = text_length(&entry->id), label_length = text_length(&entry->label);
  if (id_length > 0) g_byte_array_append(queue->text, (const guint8 *)entry->id.text, id_length);
  if (label_length > 0) g_byte_array_append(queue->text, (const guint8 *)entry->label.text, label_length);
  item.entry.id.text = item.entry.label.text = NULL;
  g_array_append_val(queue->items, item);
}

static void read_item(const LabelQueue *queue, guint index, LabelEntry *entry)
{
  const Item *item = &g_array_index(queue->items, Item, index);
  const gchar *text = (const gchar *)queue->text->data + (item->text_start - queue->text_base);
  *entry = item->entry;
  if (entry->id.kind == DRIFT_VALUE_TEXT) entry->id.text = text;
  if (entry->label.kind == DRIFT_VALUE_TEXT) entry->label.text = text + text_length(&entry->id);
}

gboolean label_queue_peek(const LabelQueue *queue, LabelEntry *entry)
{
  if (queue->head >= queue->items->len) return FALSE;
  read_item(queue, queue->head, entry);
  return TRUE;
}

void label_queue_pop(LabelQueue *queue)
{
  if (queue->head >= queue->items->len) return;
  queue->head++;
  compact(queue);
}

guint label_queue_get_length(const LabelQueue *queue)
{
  return queue->items->len - queue->head;
}

double label_queue_get_fill(const LabelQueue *queue)
{
  double entries = (double)label_queue_get_length(queue) / LABEL_QUEUE_MAX_ENTRIES;
  return MAX(entries, (double)queue->text->len / LABEL_QUEUE_MAX_BYTES);
}

gsize label_queue_get_memory(const LabelQueue *queue)
{
  return sizeof *queue + queue->items->len * sizeof(Item) + queue->text->len;
}

void label_queue_put(const LabelQueue *queue, GByteArray *out)
{
  shard_put_u32(out, label_queue_get_length(queue));
  for (guint i = queue->head; i < queue->items->len; i++) {
    LabelEntry entry;
    read_item(queue, i, &entry);
    shard_put_i64(out, entry.offset);
    shard_put_i64(out, entry.label_time);
    shard_put_i64(out, entry.time);
    shard_put_i64(out, entry.arrival);
    shard_put_u64(out, entry.hash);
    shard_put_value(out, &entry.id);
    shard_put_value(out, &entry.label);
  }
}

gboolean label_queue_get(LabelQueue *queue, ShardReader *reader)
{
  guint32 n = shard_get_u32(reader);
  for (guint32 i = 0; i < n && !reader->failed; i++) {
    LabelEntry entry;
    entry.offset = shard_get_i64(reader);
    entry.label_time = shard_get_i64(reader);
    entry.time = shard_get_i64(reader);
    entry.arrival = shard_get_i64(reader);
    entry.hash = shard_get_u64(reader);
    entry.id = shard_get_value(reader);
    entry.label = shard_get_value(reader);
    if (!reader->failed) label_queue_push(queue, &entry);
  }
  return !reader->failed;
}
