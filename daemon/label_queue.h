/* Labels of one label partition that wait for their turn, in label-offset order. Part of the shard's state. */
#pragma once

#include "daemon/shard_bytes.h"

G_BEGIN_DECLS

/* At either a label partition is paused: bounds memory and state, changes no result. */
#define LABEL_QUEUE_MAX_ENTRIES 20000u
#define LABEL_QUEUE_MAX_BYTES (4u * 1024 * 1024)

typedef struct _LabelQueue LabelQueue;

typedef struct {
  gint64 offset;
  gint64 label_time;    /* as the label says */
  gint64 time;          /* capped at the broker's time + skew */
  gint64 arrival;       /* watermark of the label partition once it had arrived */
  guint64 hash;         /* shard_hash of the request id; 0: a record that could not be decoded (no id, no label) */
  DriftValue id, label; /* borrowed */
} LabelEntry;

LabelQueue *label_queue_new(void);
void label_queue_free(LabelQueue *queue);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LabelQueue, label_queue_free)
void label_queue_push(LabelQueue *queue, const LabelEntry *entry); /* copies */
/* FALSE when empty; borrows until the next push or pop. */
gboolean label_queue_peek(const LabelQueue *queue, LabelEntry *entry);
void label_queue_pop(LabelQueue *queue);
guint label_queue_get_length(const LabelQueue *queue);
double label_queue_get_fill(const LabelQueue *queue); /* share of what it may hold; >= 1: full */
gsize label_queue_get_memory(const LabelQueue *queue);

void label_queue_put(const LabelQueue *queue, GByteArray *out);   /* canonical: the same entries give the same bytes */
gboolean label_queue_get(LabelQueue *queue, ShardReader *reader); /* into an empty queue */

G_END_DECLS
