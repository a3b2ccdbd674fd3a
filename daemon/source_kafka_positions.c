/* Which partitions are read, by which handle, from where.
 *
 * A seek only writes the wish into the position and marks it pending; kafka_positions_apply carries it out before the
 * next poll. Until then, and for whatever was on its way, records of the partition are dropped. So a seek is cheap, may
 * come from inside a rebalance callback, and never lets an older record through. Resuming after a pause is a seek to
 * the next expected record as well: librdkafka would go on from the last one it handed out before some earlier seek. */
#include "daemon/source_kafka_internal.h"

#include <string.h>

enum { SEEK_MS = 2000, RESOLVE_MS = 1000 };

KafkaPosition *kafka_position_find(KafkaSource *source, const gchar *topic, gint32 partition)
{
  const KafkaPosition key = {.topic = g_intern_string(topic), .partition = partition};
  return g_hash_table_lookup(source->positions, &key);
}

static gboolean is_traffic(const KafkaSource *source, const gchar *topic)
{
  for (guint i = 0; source->traffic_topics[i] != NULL; i++)
    if (strcmp(source->traffic_topics[i], topic) == 0) return TRUE;
  return FALSE;
}

KafkaPosition *kafka_position_get(KafkaSource *source, const gchar *topic, gint32 partition)
{
  KafkaPosition *position = kafka_position_find(source, topic, partition);
  if (position != NULL) return position;
  position = g_new0(KafkaPosition, 1);
  position->topic = g_intern_string(topic);
  position->partition = partition;
  position->is_traffic = is_traffic(source, topic);
  position->expected = -1;
  g_hash_table_add(source->positions, position);
  return position;
}

static gboolean belongs_to_member(const KafkaSource *source, const KafkaPosition *position)
{
  return !source->manual && position->is_traffic;
}

static void set_pending(KafkaSource *source, KafkaPosition *position, gboolean pending)
{
  if (position->pending != pending) source->n_pending += pending ? 1 : (guint)-1;
  position->pending = pending;
}

void kafka_position_seek(KafkaSource *source, KafkaPosition *position, gint64 offset)
{
  position->started = TRUE;
  position->target = offset;
  position->expected = offset >= 0 ? offset : -1;
  set_pending(source, position, TRUE);
}

void kafka_position_stop(KafkaSource *source, KafkaPosition *position)
{
  position->started = FALSE;
  position->expected = -1;
  set_pending(source, position, position->assigned);
}

void kafka_position_pause(KafkaSource *source, KafkaPosition *position, gboolean paused)
{
  if (position->paused == paused) return;
  position->paused = paused;
  if (!position->started) return;
  if (position->expected >= 0) position->target = position->expected;
  set_pending(source, position, TRUE);
}

/* --- lists of partitions for librdkafka ------------------------------------------------------------------------------
 */

typedef rd_kafka_topic_partition_list_t List;

/* A position that was not told where to begin is assigned at 0 and held, so that nothing is fetched. */
static void list_add(List *list, const KafkaPosition *position)
{
  rd_kafka_topic_partition_list_add(list, position->topic, position->partition)->offset =
      position->started ? position->target : 0;
}

static KafkaPosition *list_get(KafkaSource *source, const List *list, int index)
{
  return kafka_position_get(source, list->elems[index].topic, list->elems[index].partition);
}

static void take_native_error(KafkaSource *source, rd_kafka_error_t *native, const gchar *doing)
{
  if (native == NULL) return;
  g_autoptr(GError) error = NULL;
  g_set_error(&error, DAEMON_ERROR, DAEMON_ERROR_BROKER, "%s: %s", doing, rd_kafka_error_string(native));
  rd_kafka_error_destroy(native);
  kafka_source_report(source, NULL, -1, error);
}

/* Pauses those that must not be read and resumes the others. Only what changes is told to librdkafka: resuming a
 * partition that is not paused would make it drop what it has fetched. Always comes after a seek or an assignment. */
static void hold_and_resume(KafkaSource *source, rd_kafka_t *client, const List *list, gboolean resume_all)
{
  List *holds = rd_kafka_topic_partition_list_new(list->cnt), *resumes = rd_kafka_topic_partition_list_new(list->cnt);
  for (int i = 0; i < list->cnt; i++) {
    KafkaPosition *position = list_get(source, list, i);
    gboolean hold = !resume_all && (position->paused || !position->started || position->pending);
    if (hold != position->held) list_add(hold ? holds : resumes, position);
    position->held = hold;
  }
  if (holds->cnt > 0) rd_kafka_pause_partitions(client, holds);
  if (resumes->cnt > 0) rd_kafka_resume_partitions(client, resumes);
  rd_kafka_topic_partition_list_destroy(holds);
  rd_kafka_topic_partition_list_destroy(resumes);
}

/* --- carrying out what was wished ------------------------------------------------------------------------------------
 */

/* Turns SOURCE_EARLIEST and SOURCE_LATEST into an offset once, so that a pause before the first record forgets nothing.
 * FALSE: the broker does not answer now. */
static gboolean resolve_target(rd_kafka_t *client, KafkaPosition *position)
{
  if (!position->started || position->target >= 0) return TRUE;
  gint64 low, high;
  if (rd_kafka_query_watermark_offsets(client, position->topic, position->partition, &low, &high, RESOLVE_MS) !=
      RD_KAFKA_RESP_ERR_NO_ERROR)
    return FALSE;
  position->target = position->expected = position->target == SOURCE_EARLIEST ? low : high;
  return TRUE;
}

/* Partitions in the assignment: seek. One that librdkafka is still starting refuses, and is tried again. */
static void seek_assigned(KafkaSource *source, rd_kafka_t *client, List *list)
{
  if (list->cnt == 0) return;
  rd_kafka_error_t *failure = rd_kafka_seek_partitions(client, list, SEEK_MS);
  for (int i = 0; i < list->cnt; i++)
    if (failure == NULL && list->elems[i].err == RD_KAFKA_RESP_ERR_NO_ERROR)
      set_pending(source, list_get(source, list, i), FALSE);
  if (failure != NULL) rd_kafka_error_destroy(failure);
  hold_and_resume(source, client, list, FALSE);
}

static void assign_new(KafkaSource *source, rd_kafka_t *client, List *list)
{
  if (list->cnt == 0) return;
  rd_kafka_error_t *failure = rd_kafka_incremental_assign(client, list);
  for (int i = 0; failure == NULL && i < list->cnt; i++) {
    KafkaPosition *position = list_get(source, list, i);
    position->assigned = TRUE;
    position->broken = FALSE;
    set_pending(source, position, FALSE);
  }
  take_native_error(source, failure, "cannot follow partitions");
  hold_and_resume(source, client, list, FALSE);
}

/* Leaves the assignment: positions that nobody wants any more, and broken ones, which are assigned anew afterwards. */
static void unassign(KafkaSource *source, rd_kafka_t *client, List *list)
{
  if (list->cnt == 0) return;
  hold_and_resume(source, client, list, TRUE); /* the pause would outlive the assignment */
  take_native_error(source, rd_kafka_incremental_unassign(client, list), "cannot leave partitions");
  for (int i = 0; i < list->cnt; i++) {
    KafkaPosition *position = list_get(source, list, i);
    position->assigned = FALSE;
    if (!position->started) set_pending(source, position, FALSE);
  }
}

static void tell_marks(KafkaSource *source)
{
  g_autoptr(GArray) items = g_array_new(FALSE, FALSE, sizeof(KafkaMarksItem));
  GHashTableIter iterator;
  KafkaPosition *position;
  g_hash_table_iter_init(&iterator, source->positions);
  while (g_hash_table_iter_next(&iterator, (gpointer *)&position, NULL)) {
    KafkaMarksItem item = {belongs_to_member(source, position) ? source->member : source->follower, position->topic,
                           position->partition};
    if (position->assigned && position->started) g_array_append_val(items, item);
  }
  kafka_marks_set_items(source->marks, items);
  source->items_changed = FALSE;
}

/* Sorts the pending positions of one handle by what has to be done about them. */
static void apply_to(KafkaSource *source, rd_kafka_t *client, gboolean member)
{
  List *seeks = rd_kafka_topic_partition_list_new(4), *assigns = rd_kafka_topic_partition_list_new(4),
       *leaves = rd_kafka_topic_partition_list_new(4);
  GHashTableIter iterator;
  KafkaPosition *position;
  g_hash_table_iter_init(&iterator, source->positions);
  while (g_hash_table_iter_next(&iterator, (gpointer *)&position, NULL)) {
    if (!position->pending || belongs_to_member(source, position) != member) continue;
    if (member && !position->assigned) continue; /* not ours: the rebalance will ask again */
    gboolean leaves_now = position->assigned && (position->broken || (!member && !position->started));
    if (!leaves_now && !resolve_target(client, position)) continue;
    if (leaves_now) list_add(leaves, position);
    if (!leaves_now && position->assigned) list_add(seeks, position);
    if (!position->assigned || (leaves_now && position->started && resolve_target(client, position)))
      list_add(assigns, position);
  }
  unassign(source, client, leaves);
  assign_new(source, client, assigns);
  seek_assigned(source, client, seeks);
  rd_kafka_topic_partition_list_destroy(seeks);
  rd_kafka_topic_partition_list_destroy(assigns);
  rd_kafka_topic_partition_list_destroy(leaves);
}

void kafka_positions_apply(KafkaSource *source)
{
  if (source->n_pending > 0) {
    g_autoptr(GError) error = NULL;
    rd_kafka_t *follower = kafka_source_get_follower(source, &error);
    if (follower != NULL)
      apply_to(source, follower, FALSE);
    else
      kafka_source_report(source, NULL, -1, error);
    if (source->member != NULL) apply_to(source, source->member, TRUE);
    source->items_changed = TRUE;
  }
  if (source->items_changed) tell_marks(source);
}

/* --- gaining and losing traffic partitions ---------------------------------------------------------------------------
 */

void kafka_positions_discover(KafkaSource *source)
{
  guint changes = kafka_marks_get_changes(source->marks);
  if (!source->manual || changes == source->seen_changes) return;
  source->seen_changes = changes;
  for (guint i = 0; source->traffic_topics[i] != NULL; i++) {
    const gchar *topic = source->traffic_topics[i];
    gint32 count = kafka_marks_get_count(source->marks, topic);
    for (gint32 partition = 0; partition < count; partition++) {
      if (kafka_position_find(source, topic, partition) != NULL) continue;
      kafka_position_get(source, topic, partition);
      if (source->callbacks.assigned != NULL) source->callbacks.assigned(source->user_data, topic, partition);
    }
  }
}

static gboolean is_cooperative(rd_kafka_t *client)
{
  return g_strcmp0(rd_kafka_rebalance_protocol(client), "COOPERATIVE") == 0;
}

static void gain(KafkaSource *source, rd_kafka_t *client, List *list)
{
  for (int i = 0; i < list->cnt; i++) {
    KafkaPosition *position = list_get(source, list, i);
    position->assigned = TRUE;
    position->started = position->paused = position->held = position->broken = FALSE;
    position->expected = -1;
    set_pending(source, position, FALSE);
  }
  for (int i = 0; i < list->cnt && source->callbacks.assigned != NULL; i++)
    source->callbacks.assigned(source->user_data, list->elems[i].topic, list->elems[i].partition);
  for (int i = 0; i < list->cnt; i++) {
    KafkaPosition *position = list_get(source, list, i);
    gboolean known = position->started && resolve_target(client, position);
    list->elems[i].offset = known ? position->target : 0;
    set_pending(source, position, position->started && !known);
  }
  if (is_cooperative(client))
    take_native_error(source, rd_kafka_incremental_assign(client, list), "cannot take partitions");
  else
    rd_kafka_assign(client, list);
  hold_and_resume(source, client, list, FALSE);
}

static void lose(KafkaSource *source, rd_kafka_t *client, List *list)
{
  gboolean lost = rd_kafka_assignment_lost(client);
  for (int i = 0; i < list->cnt && source->callbacks.revoked != NULL; i++)
    source->callbacks.revoked(source->user_data, list->elems[i].topic, list->elems[i].partition, lost);
  for (int i = 0; i < list->cnt; i++) {
    KafkaPosition *position = list_get(source, list, i);
    position->assigned = position->started = FALSE;
    set_pending(source, position, FALSE);
  }
  hold_and_resume(source, client, list, TRUE);
  if (is_cooperative(client))
    take_native_error(source, rd_kafka_incremental_unassign(client, list), "cannot give partitions back");
  else
    rd_kafka_assign(client, NULL);
}

void kafka_positions_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                               void *opaque)
{
  KafkaSource *source = opaque;
  if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
    gain(source, client, list);
  } else if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
    lose(source, client, list);
  } else {
    g_autoptr(GError) error = NULL;
    kafka_set_error(&error, code, "the group could not share out its partitions");
    kafka_source_report(source, NULL, -1, error);
    rd_kafka_assign(client, NULL);
  }
  source->items_changed = TRUE;
}
