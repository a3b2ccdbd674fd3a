/* Holding, matching and letting go of predictions. */
#include "daemon/join_internal.h"

#include <string.h>

/* Index of the block that holds the sequence, or -1. */
static gint find_block(const Join *join, guint64 sequence)
{
  guint low = 0, high = join->blocks->len;
  while (low < high) {
    guint middle = (low + high) / 2;
    const JoinBlock *block = join->blocks->pdata[middle];
    if (sequence < block->first)
      high = middle;
    else if (sequence >= block->first + block->n_rows)
      low = middle + 1;
    else
      return (gint)middle;
  }
  return -1;
}

static guint evict_oldest(Join *join)
{
  for (guint i = 0; i < join->blocks->len; i++) {
    JoinBlock *block = join->blocks->pdata[i];
    guint lost = block->n_live;
    if (block->zipped == NULL) continue;
    join_drop_block(join, block);
    if (lost > 0) return lost;
  }
  return 0;
}

static gboolean is_over(const Join *join)
{
  return join->n_waiting >= join->max_waiting || join_get_memory(join) > join->max_bytes ||
         (join->n_waiting > 0 && join->next - join_get_first_live(join) >= JOIN_MAX_SPAN(join->max_waiting));
}

static guint make_room(Join *join)
{
  guint evicted = 0;
  if (is_over(join) && join->blocks->len == 0) join_seal(join);
  while (join->n_waiting > 0 && is_over(join)) {
    guint lost = evict_oldest(join);
    if (lost == 0 && join->tail_ends->len == 0) break;
    if (lost == 0) join_seal(join);
    evicted += lost;
  }
  join_trim(join);
  return evicted;
}

guint join_add(Join *join, guint64 hash, const DriftEvent *event, gint64 offset, gint64 time, gint64 arrival)
{
  /* The span is looked at once a block only: it needs a walk over the blocks. */
  gboolean full =
      join->n_waiting >= join->max_waiting || (join->tail_ends->len == 0 && (join->blocks->len > 0) && is_over(join));
  guint evicted = full ? make_room(join) : 0;
  DriftLabelledRow row = {.event = *event, .traffic_offset = offset, .label_offset = -1};
  gint64 head[3] = {GINT64_TO_LE(offset), GINT64_TO_LE(time), GINT64_TO_LE(arrival)};
  g_byte_array_append(join->tail, (const guint8 *)head, sizeof head);
  drift_labelled_row_append(join->tail, &row, join->n_features);
  guint32 end = join->tail->len, tag = join_tag(hash);
  guint8 stays = 0;
  g_array_append_val(join->tail_ends, end);
  g_array_append_val(join->tail_tags, tag);
  g_byte_array_append(join->tail_left, &stays, 1);
  join->tail_newest = MAX(join->tail_newest, time);
  join->tail_live++;
  join->n_waiting++;
  join_index_add(join, tag, join->next++);
  if (join->tail_ends->len >= JOIN_BLOCK_ROWS || join->tail->len >= JOIN_BLOCK_BYTES) join_seal(join);
  return evicted;
}

/* The row of a sequence; block is NULL for the tail. FALSE when it is not in memory or damaged. */
static gboolean read_row(Join *join, guint64 sequence, JoinBlock **block, guint32 *index, JoinRow *row)
{
  guint64 tail_first = join->next - join->tail_ends->len;
  if (sequence >= tail_first) {
    JoinPage page = {tail_first, join->tail_ends->len, (guint32 *)(void *)join->tail_ends->data, join->tail->data, 1};
    *block = NULL;
    *index = (guint32)(sequence - tail_first);
    *row = join_page_row(&page, *index);
    return TRUE;
  }
  gint found = find_block(join, sequence);
  if (found < 0) return FALSE;
  *block = join->blocks->pdata[found];
  if ((*block)->zipped == NULL) return FALSE;
  const JoinPage *page = join_read_block(join, *block);
  if (page == NULL) return FALSE;
  *index = (guint32)(sequence - (*block)->first);
  *row = join_page_row(page, *index);
  return TRUE;
}

static gboolean row_fits(Join *join, JoinRow *row, const JoinQuery *query)
{
  if (row->arrival > query->latest_arrival || row->time < query->earliest_time) return FALSE;
  guint n_features;
  if (drift_labelled_row_parse(row->bytes, row->length, &row->parsed, join->features, join->n_features, &n_features,
                               NULL) == 0)
    return FALSE;
  const DriftValue *id = &row->parsed.event.request_id;
  return n_features == join->n_features && id->kind == DRIFT_VALUE_TEXT && id->length == query->id_length &&
         memcmp(id->text, query->id, query->id_length) == 0;
}

/* Finds the lowest sequence, above `after`, that carries the tag. */
static gboolean next_candidate(const Join *join, guint32 tag, guint64 after, gboolean first, guint64 *sequence)
{
  gboolean found = FALSE;
  for (guint32 i = tag >> 1 & join->slot_mask; join->slots[i].tag != 0; i = (i + 1) & join->slot_mask) {
    if (join->slots[i].tag != tag) continue;
    guint64 candidate = join->next - (guint32)((guint32)join->next - join->slots[i].sequence);
    if ((!first && candidate <= after) || (found && candidate >= *sequence)) continue;
    *sequence = candidate;
    found = TRUE;
  }
  return found;
}

static void let_go(Join *join, JoinBlock *block, guint32 index, guint32 tag, guint64 sequence)
{
  join_index_remove(join, tag, sequence);
  join->n_waiting--;
  if (block == NULL) {
    join->tail_left->data[index] = 1;
    join->tail_live--;
    return;
  }
  if (block->left == NULL) block->left = g_malloc0(join_bitmap_size(block->n_rows));
  block->left[index >> 3] |= (guint8)(1u << (index & 7));
  if (--block->n_live == 0) join_drop_block(join, block);
}

/* Marks the row for the label partition; FALSE when it had been marked. */
static gboolean mark_matched(Join *join, JoinBlock *block, guint32 index, gint32 label_partition)
{
  if (block == NULL) {
    guint8 *bytes = join_matched_bits(&join->tail_matched, label_partition, JOIN_BLOCK_ROWS, TRUE);
    if (bytes[index] != 0) return FALSE;
    bytes[index] = 1;
    return TRUE;
  }
  guint8 *bits = join_matched_bits(&block->matched, label_partition, join_bitmap_size(block->n_rows), TRUE);
  if (join_bit(bits, index)) return FALSE;
  bits[index >> 3] |= (guint8)(1u << (index & 7));
  return TRUE;
}

JoinResult join_match(Join *join, const JoinQuery *query, JoinRow *out)
{
  guint32 tag = join_tag(query->hash), index;
  guint64 sequence = 0;
  for (gboolean first = TRUE; next_candidate(join, tag, sequence, first, &sequence); first = FALSE) {
    JoinBlock *block;
    if (!read_row(join, sequence, &block, &index, out) || !row_fits(join, out, query)) continue;
    if (!query->leaves) return mark_matched(join, block, index, query->label_partition) ? JOIN_MATCH : JOIN_DUPLICATE;
    let_go(join, block, index, tag, sequence); /* the row's bytes stay: they lie in the tail or in the cache */
    return JOIN_MATCH;
  }
  return JOIN_NONE;
}

void join_expire(Join *join, gint64 earliest_time)
{
  for (guint i = 0; i < join->blocks->len; i++) {
    JoinBlock *block = join->blocks->pdata[i];
    if (block->zipped != NULL && block->newest_time < earliest_time) join_drop_block(join, block);
  }
  join_trim(join);
}

guint64 join_get_waiting(const Join *join)
{
  return join->n_waiting;
}

gsize join_get_memory(const Join *join)
{
  return sizeof *join + join->block_bytes + join->tail->len + ((gsize)join->slot_mask + 1) * sizeof(JoinSlot);
}

guint64 join_get_next_sequence(const Join *join)
{
  return join->next;
}

guint64 join_get_first_live(const Join *join)
{
  for (guint i = 0; i < join->blocks->len; i++) {
    const JoinBlock *block = join->blocks->pdata[i];
    if (block->zipped != NULL) return block->first;
  }
  return join->tail_live > 0 ? join->next - join->tail_ends->len : join->next;
}
