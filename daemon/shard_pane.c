/* Traffic panes: when one closes, what it says, and how its length adapts; dead letters. */
#include "daemon/shard_internal.h"

#include <string.h>

#define DAY_US (G_GINT64_CONSTANT(86400) * 1000000)
/* Lengths stay far from overflow: 10 events x 2^30 is more than any partition carries in a day. */
#define MAX_FACTOR (G_GUINT64_CONSTANT(1) << 30)

static gint64 floor_divide(gint64 a, gint64 b)
{
  return a / b - (a % b < 0);
}

void shard_pane_reset(Shard *shard)
{
  ShardPane *pane = &shard->pane;
  *pane = (ShardPane){.number = pane->number, .slot = pane->slot, .first_offset = -1};
  if (shard->watermark == SHARD_TIME_NONE) pane->slot = G_MININT64;
  drift_accumulator_reset(shard->accumulator);
}

static gint64 slot_of(const Shard *shard, gint64 time)
{
  return floor_divide(time, shard->settings.pane_us * (gint64)shard->pane_factor);
}

void shard_pane_before_record(Shard *shard, gint64 offset, gint64 newest_time)
{
  if (newest_time == SHARD_TIME_NONE) return;
  gint64 slot = slot_of(shard, newest_time);
  if (slot <= shard->pane.slot) return;
  if (shard->pane.events > 0) shard_pane_close(shard, offset);
  shard->pane.slot = slot_of(shard, newest_time); /* again: closing may have made panes longer */
}

void shard_pane_after_record(Shard *shard)
{
  guint64 length = (guint64)shard->settings.pane_events * shard->pane_factor;
  if (length > 0 && shard->pane.events >= length) shard_pane_close(shard, shard->next_offset);
}

static gboolean can_double(const Shard *shard)
{
  if (shard->pane_factor >= MAX_FACTOR) return FALSE;
  if (shard->settings.pane_events > 0) return TRUE;
  gint64 longer = shard->settings.pane_us * (gint64)shard->pane_factor * 2;
  return longer <= shard->settings.pane_limit_us && shard->settings.pane_limit_us % longer == 0;
}

/* At most panes_per_day panes of one length in a day of event time, then half as many of twice the length, and so on;
 * after a day with less than half of the bound the length halves again. A function of event time alone. */
static void adapt_length(Shard *shard)
{
  guint64 bound = shard->settings.panes_per_day;
  gint64 day = floor_divide(shard->watermark, DAY_US);
  if (bound == 0) return;
  if (day > shard->day) {
    if (shard->day != G_MININT64 && shard->day_panes * 2 < bound && shard->pane_factor > 1) shard->pane_factor /= 2;
    shard->day = day;
    shard->day_panes = 0;
  }
  if (++shard->day_panes < bound || !can_double(shard)) return;
  shard->pane_factor *= 2;
  shard->day_panes = bound / 2;
}

static gchar *pane_coverage(const ShardPane *pane)
{
  GString *json = g_string_new(NULL);
  g_string_printf(json,
                  "{\"records\":%" G_GUINT64_FORMAT ",\"events\":%" G_GUINT64_FORMAT ",\"late\":%" G_GUINT64_FORMAT
                  ",\"duplicates\":%" G_GUINT64_FORMAT ",\"held\":%" G_GUINT64_FORMAT
                  ",\"sampled_out\":%" G_GUINT64_FORMAT ",\"evicted\":%" G_GUINT64_FORMAT ",\"dead_letters\":{",
                  pane->records, pane->events, pane->late, pane->duplicates, pane->held, pane->sampled_out,
                  pane->evicted);
  const gchar *comma = "";
  for (guint i = 0; i < DECODE_N_REASONS; i++) {
    if (pane->dead_letters[i] == 0) continue;
    g_string_append_printf(json, "%s\"%s\":%" G_GUINT64_FORMAT, comma, decode_reason_text((DecodeReason)i),
                           pane->dead_letters[i]);
    comma = ",";
  }
  g_string_append(json, "}}");
  return g_string_free(json, FALSE);
}

void shard_pane_close(Shard *shard, gint64 next_offset)
{
  const ShardPane *open = &shard->pane;
  RegistryPane *pane = g_new0(RegistryPane, 1);
  pane->number = open->number;
  pane->grid_id = g_strdup(drift_grid_get_id(shard->grid));
  pane->first_offset = open->first_offset;
  pane->next_offset = next_offset;
  pane->first_time = open->first_time;
  pane->last_time = open->last_time;
  pane->watermark = shard->watermark;
  pane->count = open->events;
  pane->coverage = pane_coverage(open);
  pane->bytes = drift_accumulator_to_bytes(shard->accumulator);
  shard->pending_bytes += g_bytes_get_size(pane->bytes) + sizeof *pane + 256;
  g_ptr_array_add(shard->panes, pane);
  shard->pane.number++;
  adapt_length(shard);
  shard_pane_reset(shard);
}

void shard_dead_letter_free(RegistryDeadLetter *letter)
{
  g_free(letter->id);
  g_free(letter->topic);
  g_free(letter->reason);
  g_free(letter->source);
  if (letter->payload != NULL) g_bytes_unref(letter->payload);
  g_free(letter);
}

void shard_add_dead_letter(Shard *shard, const gchar *topic, const SourceRecord *record, DecodeReason reason,
                           const gchar *text)
{
  RegistryDeadLetter *letter = g_new0(RegistryDeadLetter, 1);
  gsize length = MIN(record->value_length, SHARD_DEAD_LETTER_BYTES);
  letter->id = g_strdup_printf("%s/%d/%" G_GINT64_FORMAT, topic, record->partition, record->offset);
  letter->source = g_strdup(letter->id);
  letter->topic = g_strdup(shard->settings.dead_letter_topic);
  letter->reason = text == NULL ? g_strdup(decode_reason_text(reason))
                                : g_strdup_printf("%s: %.400s", decode_reason_text(reason), text);
  letter->payload = g_bytes_new(length == 0 ? NULL : record->value, length);
  shard->pending_bytes += length + sizeof *letter + 256;
  g_ptr_array_add(shard->dead_letters, letter);
}
