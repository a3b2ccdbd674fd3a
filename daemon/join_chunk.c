/* The bytes of the join buffer: chunks of rows that are written once, and marks that are written at each checkpoint. */
#include "daemon/join_internal.h"

#include <string.h>

gboolean join_has_fresh(const Join *join)
{
  return join->n_fresh > 0 || join->tail_ends->len > 0;
}

static void put_block(const JoinBlock *block, GByteArray *out)
{
  shard_put_u64(out, block->first);
  shard_put_u32(out, block->n_rows);
  shard_put_i64(out, block->newest_time);
  shard_put_u8(out, block->zipped != NULL);
  if (block->zipped == NULL) return; /* all its rows left before it was ever written */
  for (guint32 i = 0; i < block->n_rows; i++) shard_put_u32(out, block->tags[i]);
  shard_put_u32(out, block->raw_length);
  shard_put_bytes(out, block->zipped, block->zipped_length);
}

void join_take_chunk(Join *join, GByteArray *out)
{
  join_seal(join);
  shard_put_u32(out, join->n_fresh);
  for (guint i = join->blocks->len - join->n_fresh; i < join->blocks->len; i++) put_block(join->blocks->pdata[i], out);
  shard_put_u64(out, join->next);
  join->n_fresh = 0;
  join_trim(join);
}

/* Nothing of ours makes a block larger than its rows: one row is capped by the decoder's cap on a record. */
#define JOIN_MAX_RAW (64u * 1024 * 1024)

static JoinBlock *get_block(ShardReader *reader)
{
  JoinBlock *block = g_new0(JoinBlock, 1);
  gsize zipped_length = 0;
  block->first = shard_get_u64(reader);
  block->n_rows = shard_get_u32(reader);
  block->newest_time = shard_get_i64(reader);
  if (shard_get_u8(reader) == 0 || reader->failed) return block;
  const guint8 *tags = shard_get_span(reader, (gsize)block->n_rows * sizeof(guint32));
  block->raw_length = shard_get_u32(reader);
  const guint8 *zipped = shard_get_bytes(reader, &zipped_length);
  if (reader->failed || block->n_rows == 0 || block->n_rows > JOIN_BLOCK_ROWS || block->raw_length > JOIN_MAX_RAW) {
    reader->failed = TRUE;
    return block;
  }
  block->n_live = block->n_rows;
  block->tags = g_new(guint32, block->n_rows);
  for (guint32 i = 0; i < block->n_rows; i++) {
    memcpy(&block->tags[i], tags + i * sizeof(guint32), sizeof(guint32));
    block->tags[i] = GUINT32_FROM_LE(block->tags[i]);
  }
  block->zipped = g_memdup2(zipped, zipped_length);
  block->zipped_length = (guint32)zipped_length;
  return block;
}

gboolean join_restore_chunk(Join *join, ShardReader *reader, guint64 *next_sequence)
{
  guint32 n = shard_get_u32(reader);
  for (guint32 b = 0; b < n && !reader->failed; b++) {
    JoinBlock *block = get_block(reader);
    if (reader->failed || block->first < join->next) {
      reader->failed = TRUE;
      join_block_free(block);
      break;
    }
    join->next = block->first + block->n_rows;
    if (block->zipped == NULL) {
      join_block_free(block);
      continue;
    }
    for (guint32 i = 0; i < block->n_rows; i++) join_index_add(join, block->tags[i], block->first + i);
    join->n_waiting += block->n_rows;
    join_add_block(join, block);
  }
  guint64 next = shard_get_u64(reader);
  if (reader->failed || next < join->next) return FALSE;
  *next_sequence = join->next = next;
  return TRUE;
}

void join_put_marks(const Join *join, GByteArray *out)
{
  guint32 n = 0;
  for (guint i = 0; i < join->blocks->len; i++) n += ((JoinBlock *)join->blocks->pdata[i])->zipped != NULL;
  shard_put_u64(out, join->next);
  shard_put_u32(out, n);
  for (guint i = 0; i < join->blocks->len; i++) {
    const JoinBlock *block = join->blocks->pdata[i];
    if (block->zipped == NULL) continue;
    guint n_marks = block->matched == NULL ? 0 : block->matched->len;
    shard_put_u64(out, block->first);
    shard_put_bytes(out, block->left, block->left == NULL ? 0 : join_bitmap_size(block->n_rows));
    shard_put_u32(out, n_marks);
    for (guint m = 0; m < n_marks; m++) {
      const JoinMarks *marks = &g_array_index(block->matched, JoinMarks, m);
      shard_put_u32(out, (guint32)marks->label_partition);
      shard_put_bytes(out, marks->bits, join_bitmap_size(block->n_rows));
    }
  }
}

/* The rows that had left, leave again. */
static gboolean get_left(Join *join, JoinBlock *block, ShardReader *reader)
{
  gsize length;
  const guint8 *left = shard_get_bytes(reader, &length);
  if (reader->failed || (length != 0 && length != join_bitmap_size(block->n_rows))) return FALSE;
  if (length == 0) return TRUE;
  for (guint32 i = 0; i < block->n_rows; i++) {
    if (!join_bit(left, i)) continue;
    join_index_remove(join, block->tags[i], block->first + i);
    block->n_live--;
    join->n_waiting--;
  }
  block->left = g_memdup2(left, length);
  return TRUE;
}

static gboolean get_block_marks(Join *join, JoinBlock *block, ShardReader *reader)
{
  if (!get_left(join, block, reader)) return FALSE;
  guint32 n_marks = shard_get_u32(reader);
  for (guint32 m = 0; m < n_marks && !reader->failed; m++) {
    gsize length;
    gint32 label_partition = (gint32)shard_get_u32(reader);
    const guint8 *bits = shard_get_bytes(reader, &length);
    if (reader->failed || length != join_bitmap_size(block->n_rows)) return FALSE;
    memcpy(join_matched_bits(&block->matched, label_partition, length, TRUE), bits, length);
  }
  return !reader->failed;
}

gboolean join_get_marks(Join *join, ShardReader *reader)
{
  guint at = 0;
  guint64 next = shard_get_u64(reader);
  guint32 n = shard_get_u32(reader);
  if (reader->failed || next < join->next) return FALSE;
  for (guint32 i = 0; i < n; i++) {
    guint64 first = shard_get_u64(reader);
    /* A block that has no marks was dropped before the checkpoint. */
    while (at < join->blocks->len && ((JoinBlock *)join->blocks->pdata[at])->first < first)
      join_drop_block(join, join->blocks->pdata[at++]);
    if (reader->failed || at >= join->blocks->len || ((JoinBlock *)join->blocks->pdata[at])->first != first ||
        !get_block_marks(join, join->blocks->pdata[at++], reader))
      return FALSE;
  }
  while (at < join->blocks->len) join_drop_block(join, join->blocks->pdata[at++]);
  join->next = next;
  join_trim(join);
  return !reader->failed;
}

typedef struct {
  Join *join;
  gint64 earliest_time;
  guint32 n;
  GByteArray *out;
} Canonical;

static int compare_marks(gconstpointer a, gconstpointer b)
{
  gint32 x = ((const JoinMarks *)a)->label_partition, y = ((const JoinMarks *)b)->label_partition;
  return x < y ? -1 : x > y;
}

static void put_canonical_block(Canonical *canonical, const JoinPage *page, const guint8 *left, GArray *matched)
{
  if (matched != NULL) g_array_sort(matched, compare_marks);
  for (guint32 i = 0; i < page->n_rows; i++) {
    JoinRow row = join_page_row(page, i);
    if (join_bit(left, i) || row.time < canonical->earliest_time) continue;
    canonical->n++;
    shard_put_i64(canonical->out, row.offset);
    shard_put_i64(canonical->out, row.time);
    shard_put_i64(canonical->out, row.arrival);
    shard_put_bytes(canonical->out, row.bytes, row.length);
    for (guint m = 0; matched != NULL && m < matched->len; m++)
      if (join_bit(g_array_index(matched, JoinMarks, m).bits, i))
        shard_put_u32(canonical->out, (guint32)g_array_index(matched, JoinMarks, m).label_partition);
    shard_put_u32(canonical->out, G_MAXUINT32);
  }
}

void join_put_canonical(Join *join, gint64 earliest_time, GByteArray *out)
{
  Canonical canonical = {join, earliest_time, 0, out};
  join_seal(join);
  for (guint i = 0; i < join->blocks->len; i++) {
    const JoinBlock *block = join->blocks->pdata[i];
    const JoinPage *page = block->zipped == NULL ? NULL : join_read_block(join, block);
    if (page != NULL) put_canonical_block(&canonical, page, block->left, block->matched);
  }
  shard_put_u32(out, canonical.n);
}
