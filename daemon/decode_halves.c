#include "daemon/decode_halves.h"

#include <string.h>

#include "daemon/settings.h"

enum { FORMAT = 1 };

typedef struct {
  gchar *id;
  guint8 seen;     /* bit set of kinds */
  gint64 arrived;  /* clock */
  GBytes *content; /* of the half that waits; NULL: completed */
} Half;

struct _DecodeHalves {
  gint64 wait, clock;
  guint limit;
  gsize bytes;       /* of the contents */
  GQueue order;      /* of Half*, by arrival */
  GHashTable *by_id; /* id -> its GList in `order` */
};

static void half_free(gpointer data)
{
  Half *half = data;
  g_free(half->id);
  g_clear_pointer(&half->content, g_bytes_unref);
  g_free(half);
}

DecodeHalves *decode_halves_new(gint64 wait, guint limit)
{
  DecodeHalves *halves = g_new0(DecodeHalves, 1);
  halves->wait = wait;
  halves->limit = limit;
  halves->clock = G_MININT64;
  g_queue_init(&halves->order);
  halves->by_id = g_hash_table_new(g_str_hash, g_str_equal);
  return halves;
}

static void clear(DecodeHalves *halves)
{
  g_hash_table_remove_all(halves->by_id);
  g_queue_clear_full(&halves->order, half_free);
  halves->bytes = 0;
}

void decode_halves_free(DecodeHalves *halves)
{
  if (halves == NULL) return;
  clear(halves);
  g_hash_table_unref(halves->by_id);
  g_free(halves);
}

guint decode_halves_count(const DecodeHalves *halves)
{
  return halves->order.length;
}

static void push(DecodeHalves *halves, Half *half)
{
  g_queue_push_tail(&halves->order, half);
  g_hash_table_insert(halves->by_id, half->id, halves->order.tail);
  if (half->content != NULL) halves->bytes += g_bytes_get_size(half->content);
}

static void drop_content(DecodeHalves *halves, Half *half)
{
  if (half->content != NULL) halves->bytes -= g_bytes_get_size(half->content);
  g_clear_pointer(&half->content, g_bytes_unref);
}

static void give_up_oldest(DecodeHalves *halves, guint *n_expired)
{
  Half *oldest = g_queue_pop_head(&halves->order);
  g_hash_table_remove(halves->by_id, oldest->id);
  if (oldest->content != NULL) (*n_expired)++;
  drop_content(halves, oldest);
  half_free(oldest);
}

static gboolean is_over(const DecodeHalves *halves, const Half *half)
{
  /* Both are times of events, so that the difference does not overflow (years 1 to 9999). */
  return halves->clock - half->arrived > halves->wait;
}

static void make_room(DecodeHalves *halves, guint *n_expired)
{
  while (halves->order.length > 0 &&
         (halves->order.length > halves->limit || halves->bytes > DECODE_HALVES_MAXIMUM_BYTES ||
          is_over(halves, halves->order.head->data)))
    give_up_oldest(halves, n_expired);
}

DecodeHalfResult decode_halves_add(DecodeHalves *halves, const gchar *id, guint kind, GBytes *content, gint64 clock,
                                   GBytes **other, guint *n_expired)
{
  halves->clock = MAX(halves->clock, clock);
  make_room(halves, n_expired);
  GList *link = g_hash_table_lookup(halves->by_id, id);
  if (link != NULL) {
    Half *half = link->data;
    if (half->seen & 1u << kind) return DECODE_HALF_REPEATED;
    half->seen |= (guint8)(1u << kind);
    *other = g_bytes_ref(half->content);
    drop_content(halves, half);
    return DECODE_HALF_COMPLETES;
  }
  Half *half = g_new0(Half, 1);
  half->id = g_strdup(id);
  half->seen = (guint8)(1u << kind);
  half->arrived = halves->clock;
  half->content = g_bytes_ref(content);
  push(halves, half);
  make_room(halves, n_expired);
  return DECODE_HALF_WAITS;
}

/* --- bytes: u8 format, i64 clock, u32 count, then of each: u32 length and id, u8 seen, i64 arrived, u32 length and
 * content when it waits. Little-endian. ------------------------------------------------------------------------------
 */

static void put(GByteArray *out, guint64 value, guint size)
{
  for (guint i = 0; i < size; i++) {
    guint8 byte = (guint8)(value >> (8 * i));
    g_byte_array_append(out, &byte, 1);
  }
}

static void put_block(GByteArray *out, gconstpointer bytes, gsize length)
{
  put(out, length, 4);
  g_byte_array_append(out, bytes, (guint)length);
}

GBytes *decode_halves_to_bytes(const DecodeHalves *halves)
{
  GByteArray *out = g_byte_array_new();
  put(out, FORMAT, 1);
  put(out, (guint64)halves->clock, 8);
  put(out, halves->order.length, 4);
  for (const GList *link = halves->order.head; link != NULL; link = link->next) {
    const Half *half = link->data;
    put_block(out, half->id, strlen(half->id));
    put(out, half->seen, 1);
    put(out, (guint64)half->arrived, 8);
    if (half->content == NULL) continue;
    gsize length;
    gconstpointer bytes = g_bytes_get_data(half->content, &length);
    put_block(out, bytes, length);
  }
  return g_byte_array_free_to_bytes(out);
}

typedef struct {
  const guint8 *at, *end;
  gboolean failed;
} Reader;

static guint64 get(Reader *reader, guint size)
{
  guint64 value = 0;
  if ((gsize)(reader->end - reader->at) < size) {
    reader->failed = TRUE;
    return 0;
  }
  for (guint i = 0; i < size; i++) value |= (guint64)reader->at[i] << (8 * i);
  reader->at += size;
  return value;
}

static const guint8 *get_block(Reader *reader, gsize *length)
{
  *length = get(reader, 4);
  if (reader->failed || (gsize)(reader->end - reader->at) < *length) {
    reader->failed = TRUE;
    return NULL;
  }
  reader->at += *length;
  return reader->at - *length;
}

static Half *get_half(Reader *reader)
{
  gsize length;
  const guint8 *id = get_block(reader, &length);
  guint8 seen = (guint8)get(reader, 1);
  gint64 arrived = (gint64)get(reader, 8);
  gboolean waits = seen == 1 || seen == 2;
  if (reader->failed || (!waits && seen != 3) || memchr(id, '\0', length) != NULL) return NULL;
  gsize content_length = 0;
  const guint8 *content = waits ? get_block(reader, &content_length) : NULL;
  if (reader->failed) return NULL;
  Half *half = g_new0(Half, 1);
  half->id = g_strndup((const gchar *)id, length);
  half->seen = seen;
  half->arrived = arrived;
  if (waits) half->content = g_bytes_new(content, content_length);
  return half;
}

gboolean decode_halves_restore(DecodeHalves *halves, GBytes *bytes, GError **error)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  if (data == NULL) data = (const guint8 *)""; /* empty bytes have none */
  Reader reader = {data, data + length, FALSE};
  DecodeHalves *fresh = decode_halves_new(halves->wait, halves->limit);
  gboolean good = get(&reader, 1) == FORMAT;
  fresh->clock = (gint64)get(&reader, 8);
  guint64 count = get(&reader, 4);
  for (guint64 i = 0; good && !reader.failed && i < count; i++) {
    Half *half = get_half(&reader);
    good = half != NULL && !g_hash_table_contains(fresh->by_id, half->id);
    if (good)
      push(fresh, half);
    else if (half != NULL)
      half_free(half);
  }
  good = good && !reader.failed && reader.at == reader.end;
  if (good) {
    DecodeHalves before = *halves;
    *halves = *fresh;
    *fresh = before;
  } else {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_STATE, "the stored halves of CloudEvents are damaged at byte %zu",
                (size_t)(reader.at - data));
  }
  decode_halves_free(fresh);
  return good;
}
