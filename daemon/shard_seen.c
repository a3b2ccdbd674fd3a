#include "daemon/shard_seen.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct {
  guint64 *slots; /* open addressing, 0: empty; size is mask + 1 */
  guint64 mask;
  guint count;
} SeenTable;

typedef struct {
  guint64 generation;
  guint first; /* index into fresh of the generation's first hash */
} SeenRun;

struct _ShardSeen {
  gint64 span_us;
  guint capacity;
  gboolean keep_fresh;
  guint64 generation; /* of `tables[0]`; tables[1] holds the one before */
  gint64 started;     /* watermark at which the current generation began */
  SeenTable tables[2];
  GArray *fresh; /* of guint64: added since the last take, oldest first */
  GArray *runs;  /* of SeenRun: which generation each stretch of fresh belongs to */
};

#define SEEN_FIRST_SLOTS 1024u
#define HUGE_PAGE ((gsize)2 << 20)

/* Look-ups are at random places: in huge pages, where the system offers them, they cost half of what they do in small
 * ones. */
static guint64 *new_slots(guint64 n)
{
  gsize size = n * sizeof(guint64);
  void *slots = NULL;
  if (size < HUGE_PAGE) return g_aligned_alloc0(n, sizeof(guint64), 64);
  slots = g_aligned_alloc(n, sizeof(guint64), HUGE_PAGE);
  madvise(slots, size, MADV_HUGEPAGE);
  memset(slots, 0, size);
  return slots;
}

static void seen_table_init(SeenTable *table)
{
  table->mask = SEEN_FIRST_SLOTS - 1;
  table->slots = new_slots(SEEN_FIRST_SLOTS);
  table->count = 0;
}

static void seen_table_clear(SeenTable *table)
{
  memset(table->slots, 0, (table->mask + 1) * sizeof *table->slots);
  table->count = 0;
}

static gboolean seen_table_has(const SeenTable *table, guint64 hash)
{
  for (guint64 i = hash & table->mask;; i = (i + 1) & table->mask) {
    if (table->slots[i] == hash) return TRUE;
    if (table->slots[i] == 0) return FALSE;
  }
}

static void seen_table_place(SeenTable *table, guint64 hash)
{
  guint64 i = hash & table->mask;
  while (table->slots[i] != 0 && table->slots[i] != hash) i = (i + 1) & table->mask;
  if (table->slots[i] == 0) table->count++;
  table->slots[i] = hash;
}

static void seen_table_add(SeenTable *table, guint64 hash)
{
  if ((guint64)table->count * 2 > table->mask) {
    SeenTable bigger = {.mask = table->mask * 2 + 1};
    bigger.slots = new_slots(bigger.mask + 1);
    for (guint64 i = 0; i <= table->mask; i++)
      if (table->slots[i] != 0) seen_table_place(&bigger, table->slots[i]);
    g_aligned_free(table->slots);
    *table = bigger;
  }
  seen_table_place(table, hash);
}

ShardSeen *shard_seen_new(gint64 span_us, guint capacity, gboolean keep_fresh)
{
  ShardSeen *seen = g_new0(ShardSeen, 1);
  seen->span_us = span_us;
  seen->keep_fresh = keep_fresh;
  seen->capacity = MAX(capacity, 1u);
  seen->generation = 1;
  seen->started = G_MININT64;
  seen_table_init(&seen->tables[0]);
  seen_table_init(&seen->tables[1]);
  seen->fresh = g_array_new(FALSE, FALSE, sizeof(guint64));
  seen->runs = g_array_new(FALSE, FALSE, sizeof(SeenRun));
  return seen;
}

void shard_seen_free(ShardSeen *seen)
{
  if (seen == NULL) return;
  g_aligned_free(seen->tables[0].slots);
  g_aligned_free(seen->tables[1].slots);
  g_array_unref(seen->fresh);
  g_array_unref(seen->runs);
  g_free(seen);
}

static void seen_rotate(ShardSeen *seen, gint64 watermark)
{
  SeenTable oldest = seen->tables[1];
  seen->tables[1] = seen->tables[0];
  seen->tables[0] = oldest;
  seen_table_clear(&seen->tables[0]);
  seen->generation++;
  seen->started = watermark;
}

static void seen_advance(ShardSeen *seen, gint64 watermark)
{
  if (seen->started == G_MININT64) seen->started = watermark;
  gint64 age = watermark - seen->started;
  if (age <= seen->span_us && seen->tables[0].count < seen->capacity) return;
  seen_rotate(seen, watermark);
  /* After a jump of two spans the former generation is too old as well. */
  if (age > 2 * seen->span_us) seen_rotate(seen, watermark);
}

void shard_seen_prefetch(const ShardSeen *seen, guint64 hash)
{
  for (guint t = 0; t < 2; t++) __builtin_prefetch(&seen->tables[t].slots[hash & seen->tables[t].mask]);
}

gboolean shard_seen_has(const ShardSeen *seen, guint64 hash)
{
  return seen_table_has(&seen->tables[0], hash) || seen_table_has(&seen->tables[1], hash);
}

gboolean shard_seen_add(ShardSeen *seen, guint64 hash, gint64 watermark)
{
  seen_advance(seen, watermark);
  if (shard_seen_has(seen, hash)) return TRUE;
  seen_table_add(&seen->tables[0], hash);
  if (!seen->keep_fresh) return FALSE;
  if (seen->runs->len == 0 || g_array_index(seen->runs, SeenRun, seen->runs->len - 1).generation != seen->generation) {
    SeenRun run = {seen->generation, seen->fresh->len};
    g_array_append_val(seen->runs, run);
  }
  g_array_append_val(seen->fresh, hash);
  return FALSE;
}

guint shard_seen_get_count(const ShardSeen *seen)
{
  return seen->tables[0].count + seen->tables[1].count;
}

guint64 shard_seen_get_oldest(const ShardSeen *seen)
{
  return seen->generation - 1;
}

gsize shard_seen_get_memory(const ShardSeen *seen)
{
  return sizeof *seen + (seen->tables[0].mask + seen->tables[1].mask + 2 + seen->fresh->len) * sizeof(guint64);
}

void shard_seen_put_head(const ShardSeen *seen, GByteArray *out)
{
  shard_put_u64(out, seen->generation);
  shard_put_i64(out, seen->started);
}

gboolean shard_seen_get_head(ShardSeen *seen, ShardReader *reader)
{
  seen->generation = shard_get_u64(reader);
  seen->started = shard_get_i64(reader);
  return !reader->failed && seen->generation > 0;
}

gboolean shard_seen_has_fresh(const ShardSeen *seen)
{
  return seen->fresh->len > 0;
}

guint64 shard_seen_take_fresh(ShardSeen *seen, GByteArray *out)
{
  guint64 newest = 0;
  shard_put_u32(out, seen->runs->len);
  for (guint i = 0; i < seen->runs->len; i++) {
    const SeenRun *run = &g_array_index(seen->runs, SeenRun, i);
    guint next = i + 1 < seen->runs->len ? g_array_index(seen->runs, SeenRun, i + 1).first : seen->fresh->len;
    newest = run->generation;
    shard_put_u64(out, run->generation);
    shard_put_u32(out, next - run->first);
    shard_put_u64s(out, &g_array_index(seen->fresh, guint64, run->first), next - run->first);
  }
  g_array_set_size(seen->fresh, 0);
  g_array_set_size(seen->runs, 0);
  return newest;
}

guint64 shard_seen_restore_fresh(ShardSeen *seen, ShardReader *reader)
{
  guint64 newest = 0;
  guint32 n_runs = shard_get_u32(reader);
  for (guint32 i = 0; i < n_runs && !reader->failed; i++) {
    guint64 generation = shard_get_u64(reader);
    guint32 count = shard_get_u32(reader);
    SeenTable *table = generation == seen->generation       ? &seen->tables[0]
                       : generation + 1 == seen->generation ? &seen->tables[1]
                                                            : NULL;
    for (guint32 j = 0; j < count && !reader->failed; j++) {
      guint64 hash = shard_get_u64(reader);
      if (table != NULL && hash != 0 && table->count < seen->capacity) seen_table_add(table, hash);
    }
    newest = MAX(newest, generation);
  }
  return newest;
}

static int compare_hashes(const void *a, const void *b)
{
  guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;
  return x < y ? -1 : x > y;
}

void shard_seen_put_canonical(const ShardSeen *seen, GByteArray *out)
{
  shard_seen_put_head(seen, out);
  for (guint t = 0; t < 2; t++) {
    const SeenTable *table = &seen->tables[t];
    g_autofree guint64 *hashes = g_new(guint64, table->count + 1);
    guint n = 0;
    for (guint64 i = 0; i <= table->mask; i++)
      if (table->slots[i] != 0) hashes[n++] = table->slots[i];
    qsort(hashes, n, sizeof *hashes, compare_hashes);
    shard_put_u32(out, n);
    for (guint i = 0; i < n; i++) shard_put_u64(out, hashes[i]);
  }
}

gboolean shard_seen_get_canonical(ShardSeen *seen, ShardReader *reader)
{
  if (!shard_seen_get_head(seen, reader)) return FALSE;
  for (guint t = 0; t < 2; t++) {
    guint32 n = shard_get_u32(reader);
    for (guint32 i = 0; i < n && !reader->failed; i++) {
      guint64 hash = shard_get_u64(reader);
      if (hash != 0) seen_table_add(&seen->tables[t], hash);
    }
  }
  return !reader->failed;
}
