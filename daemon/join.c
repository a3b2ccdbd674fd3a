#include "daemon/join_internal.h"

#include <string.h>

Join *join_new(guint n_features, guint max_waiting, gsize max_bytes)
{
  Join *join = g_new0(Join, 1);
  join->n_features = n_features;
  join->features = g_new0(DriftValue, n_features + 1);
  join->max_waiting = MAX(max_waiting, 1u);
  join->max_bytes = max_bytes;
  join->blocks = g_ptr_array_new_with_free_func((GDestroyNotify)join_block_free);
  join->tail = g_byte_array_new();
  join->tail_ends = g_array_new(FALSE, FALSE, sizeof(guint32));
  join->tail_tags = g_array_new(FALSE, FALSE, sizeof(guint32));
  join->tail_left = g_byte_array_new();
  join->tail_newest = G_MININT64;
  join->slot_mask = 255;
  join->slots = g_new0(JoinSlot, join->slot_mask + 1);
  join->zip = shard_zip_new();
  return join;
}

void join_free_matched(GArray *list)
{
  if (list == NULL) return;
  for (guint i = 0; i < list->len; i++) g_free(g_array_index(list, JoinMarks, i).bits);
  g_array_unref(list);
}

void join_block_free(JoinBlock *block)
{
  g_free(block->zipped);
  g_free(block->tags);
  g_free(block->left);
  join_free_matched(block->matched);
  g_free(block);
}

void join_free(Join *join)
{
  if (join == NULL) return;
  g_ptr_array_unref(join->blocks);
  g_byte_array_unref(join->tail);
  g_array_unref(join->tail_ends);
  g_array_unref(join->tail_tags);
  g_byte_array_unref(join->tail_left);
  join_free_matched(join->tail_matched);
  for (guint i = 0; i < JOIN_CACHE_BLOCKS; i++) {
    g_free(join->cache[i].ends);
    g_free(join->cache[i].bytes);
  }
  g_free(join->slots);
  g_free(join->features);
  shard_zip_free(join->zip);
  g_free(join);
}

guint8 *join_matched_bits(GArray **list, gint32 label_partition, gsize size, gboolean make)
{
  if (*list == NULL && !make) return NULL;
  if (*list == NULL) *list = g_array_new(FALSE, FALSE, sizeof(JoinMarks));
  for (guint i = 0; i < (*list)->len; i++)
    if (g_array_index(*list, JoinMarks, i).label_partition == label_partition)
      return g_array_index(*list, JoinMarks, i).bits;
  if (!make) return NULL;
  JoinMarks marks = {label_partition, g_malloc0(size)};
  g_array_append_val(*list, marks);
  return marks.bits;
}

/* --- index ----------------------------------------------------------------------------------------------------- */

static void index_place(JoinSlot *slots, guint32 mask, JoinSlot slot)
{
  guint32 i = slot.tag >> 1 & mask;
  while (slots[i].tag != 0) i = (i + 1) & mask;
  slots[i] = slot;
}

void join_index_add(Join *join, guint32 tag, guint64 sequence)
{
  if (join->n_slots * 2 > join->slot_mask) {
    guint32 mask = join->slot_mask * 2 + 1;
    JoinSlot *slots = g_new0(JoinSlot, (gsize)mask + 1);
    for (guint32 i = 0; i <= join->slot_mask; i++)
      if (join->slots[i].tag != 0) index_place(slots, mask, join->slots[i]);
    g_free(join->slots);
    join->slots = slots;
    join->slot_mask = mask;
  }
  index_place(join->slots, join->slot_mask, (JoinSlot){tag, (guint32)sequence});
  join->n_slots++;
}

/* Backward-shift deletion: no tombstones, so that probes stay short for ever. */
static void index_delete(Join *join, guint32 hole)
{
  for (guint32 i = (hole + 1) & join->slot_mask; join->slots[i].tag != 0; i = (i + 1) & join->slot_mask) {
    guint32 home = join->slots[i].tag >> 1 & join->slot_mask;
    if (((i - home) & join->slot_mask) < ((i - hole) & join->slot_mask)) continue;
    join->slots[hole] = join->slots[i];
    hole = i;
  }
  join->slots[hole].tag = 0;
  join->n_slots--;
}

void join_index_remove(Join *join, guint32 tag, guint64 sequence)
{
  for (guint32 i = tag >> 1 & join->slot_mask; join->slots[i].tag != 0; i = (i + 1) & join->slot_mask)
    if (join->slots[i].tag == tag && join->slots[i].sequence == (guint32)sequence) {
      index_delete(join, i);
      return;
    }
}

/* --- blocks ------------------------------------------------------------------------------------------------------ */

gsize join_block_memory(const JoinBlock *block)
{
  return sizeof *block + block->zipped_length + block->n_rows * sizeof *block->tags + 48; /* 48: malloc, list entry */
}

void join_add_block(Join *join, JoinBlock *block)
{
  g_ptr_array_add(join->blocks, block);
  join->block_bytes += join_block_memory(block);
}

void join_seal(Join *join)
{
  guint32 n = join->tail_ends->len;
  if (n == 0) return;
  JoinBlock *block = g_new0(JoinBlock, 1);
  block->first = join->next - n;
  block->n_rows = n;
  block->n_live = join->tail_live;
  block->newest_time = join->tail_newest;
  block->tags = g_memdup2(join->tail_tags->data, n * sizeof(guint32));
  g_autoptr(GByteArray) raw = g_byte_array_sized_new(n * 4 + join->tail->len);
  for (guint32 i = 0; i < n; i++) shard_put_u32(raw, g_array_index(join->tail_ends, guint32, i));
  g_byte_array_append(raw, join->tail->data, join->tail->len);
  gsize zipped_length;
  block->zipped = shard_zip_pack(join->zip, raw->data, raw->len, &zipped_length);
  block->zipped_length = (guint32)zipped_length;
  block->raw_length = raw->len;
  for (guint32 i = 0; i < n; i++) {
    if (join->tail_left->data[i] == 0) continue;
    if (block->left == NULL) block->left = g_malloc0(join_bitmap_size(n));
    block->left[i >> 3] |= (guint8)(1u << (i & 7));
  }
  for (guint m = 0; join->tail_matched != NULL && m < join->tail_matched->len; m++) {
    const JoinMarks *marks = &g_array_index(join->tail_matched, JoinMarks, m);
    guint8 *bits = join_matched_bits(&block->matched, marks->label_partition, join_bitmap_size(n), TRUE);
    for (guint32 i = 0; i < n; i++)
      if (marks->bits[i] != 0) bits[i >> 3] |= (guint8)(1u << (i & 7));
  }
  join_free_matched(g_steal_pointer(&join->tail_matched));
  join_add_block(join, block);
  join->n_fresh++;
  if (block->n_live == 0) join_drop_block(join, block);
  g_byte_array_set_size(join->tail, 0);
  g_byte_array_set_size(join->tail_left, 0);
  g_array_set_size(join->tail_ends, 0);
  g_array_set_size(join->tail_tags, 0);
  join->tail_newest = G_MININT64;
  join->tail_live = 0;
}

void join_drop_block(Join *join, JoinBlock *block)
{
  if (block->zipped == NULL) return;
  for (guint32 i = 0; i < block->n_rows; i++)
    if (!join_bit(block->left, i)) join_index_remove(join, block->tags[i], block->first + i);
  join->n_waiting -= block->n_live;
  join->block_bytes -= join_block_memory(block);
  block->n_live = 0;
  g_clear_pointer(&block->zipped, g_free);
  g_clear_pointer(&block->tags, g_free);
  g_clear_pointer(&block->left, g_free);
  join_free_matched(g_steal_pointer(&block->matched));
}

/* Blocks that a chunk holds and whose rows are all gone leave the list from the front. */
void join_trim(Join *join)
{
  guint n = 0;
  while (n + join->n_fresh < join->blocks->len && ((JoinBlock *)join->blocks->pdata[n])->zipped == NULL) n++;
  if (n > 0) g_ptr_array_remove_range(join->blocks, 0, n);
}

const JoinPage *join_read_block(Join *join, const JoinBlock *block)
{
  JoinPage *page = &join->cache[0];
  for (guint i = 0; i < JOIN_CACHE_BLOCKS; i++) {
    JoinPage *other = &join->cache[i];
    if (other->used != 0 && other->first == block->first && other->n_rows == block->n_rows) {
      other->used = ++join->clock;
      return other;
    }
    if (other->used < page->used) page = other;
  }
  gsize head = (gsize)block->n_rows * sizeof(guint32);
  g_autofree guint8 *raw = g_malloc(block->raw_length);
  if (block->raw_length < head ||
      !shard_zip_unpack(join->zip, block->zipped, block->zipped_length, raw, block->raw_length))
    return NULL;
  guint32 *ends = g_new(guint32, block->n_rows);
  gsize length = block->raw_length - head, last = 0;
  for (guint32 i = 0; i < block->n_rows; i++) {
    memcpy(&ends[i], raw + i * sizeof(guint32), sizeof(guint32));
    ends[i] = GUINT32_FROM_LE(ends[i]);
    if (ends[i] > length || ends[i] < last + JOIN_ROW_HEAD) {
      g_free(ends);
      return NULL;
    }
    last = ends[i];
  }
  g_free(page->ends);
  g_free(page->bytes);
  memmove(raw, raw + head, length);
  *page = (JoinPage){block->first, block->n_rows, ends, g_steal_pointer(&raw), ++join->clock};
  return page;
}

static JoinRow row_at(const guint8 *bytes, gsize length)
{
  ShardReader reader;
  shard_reader_init(&reader, bytes, length);
  JoinRow row = {0};
  row.offset = shard_get_i64(&reader);
  row.time = shard_get_i64(&reader);
  row.arrival = shard_get_i64(&reader);
  row.bytes = reader.at;
  row.length = (gsize)(reader.end - reader.at);
  return row;
}

JoinRow join_page_row(const JoinPage *page, guint32 i)
{
  guint32 start = i == 0 ? 0 : page->ends[i - 1];
  return row_at(page->bytes + start, page->ends[i] - start);
}
