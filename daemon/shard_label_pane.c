/* Label panes: the few bytes a joined row, in label-offset order. */
#include "daemon/shard_internal.h"

static gchar *label_coverage(const Shard *shard, const ShardLabelPane *pane)
{
  /* With several traffic partitions a label without prediction is mostly that of another partition. */
  return g_strdup_printf("{\"matched\":%u,\"%s\":%" G_GUINT64_FORMAT ",\"duplicate\":%" G_GUINT64_FORMAT
                         ",\"sampled_out\":%" G_GUINT64_FORMAT ",\"dead_letters\":%" G_GUINT64_FORMAT "}",
                         pane->rows->len, shard->settings.n_traffic_partitions == 1 ? "unmatched" : "foreign",
                         pane->unmatched, pane->duplicates, pane->sampled_out, pane->dead_letters);
}

static void close_pane(Shard *shard, ShardTrack *track, const LabelEntry *last)
{
  ShardLabelPane *open = &track->pane;
  RegistryLabelPane *pane = g_new0(RegistryLabelPane, 1);
  pane->label_partition = track->partition;
  pane->number = open->number;
  pane->first_row = open->first_row;
  pane->next_row = track->next_row;
  pane->first_offset = open->first_offset;
  pane->next_offset = last->offset + 1;
  pane->watermark = track->resolved;
  pane->first_traffic_offset = open->first_traffic;
  pane->last_traffic_offset = open->last_traffic;
  pane->count = open->rows->len;
  pane->coverage = label_coverage(shard, open);
  pane->bytes = drift_label_rows_to_bytes((const DriftLabelRow *)(const void *)open->rows->data, open->rows->len);
  shard->pending_bytes += g_bytes_get_size(pane->bytes) + sizeof *pane + 128;
  g_ptr_array_add(shard->label_panes, pane);
  g_array_set_size(open->rows, 0);
  *open = (ShardLabelPane){.number = open->number + 1,
                           .first_row = track->next_row,
                           .first_offset = last->offset + 1,
                           .first_traffic = -1,
                           .last_traffic = -1,
                           .rows = open->rows};
}

void shard_label_pane_add(Shard *shard, ShardTrack *track, const LabelEntry *entry, const DriftLabelledRow *row)
{
  ShardLabelPane *pane = &track->pane;
  DriftLabelRow label_row;
  drift_label_row_from(shard->grid, row, &label_row);
  g_array_append_val(pane->rows, label_row);
  if (pane->first_traffic < 0 || row->traffic_offset < pane->first_traffic) pane->first_traffic = row->traffic_offset;
  if (row->traffic_offset > pane->last_traffic) pane->last_traffic = row->traffic_offset;
  track->next_row++;
  if (pane->rows->len >= shard->settings.label_rows) close_pane(shard, track, entry);
}
