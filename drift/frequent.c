#include "drift/frequent.h"

#include <string.h>

#include "drift/bytes_internal.h"
#include "drift/schema.h"

#define MAGIC "KFRQ"
#define VERSION 1
#define MAX_COUNT ((guint64)1 << 62)
#define MAX_BYTES (32u << 20)
#define KEPT_BYTES 235u /* of a text too long; then "…#" and 16 digits */

struct _DriftFrequent {
  guint n_counters;
  guint64 n, error;
  GHashTable *counts; /* gchar* -> guint64*, owned; at most n_counters */
};

DriftFrequent *drift_frequent_new(guint n_counters, GError **error)
{
  if (n_counters < 1 || n_counters > DRIFT_FREQUENT_MAX_COUNTERS) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "frequent items: 1 to %u counters, not %u",
                DRIFT_FREQUENT_MAX_COUNTERS, n_counters);
    return NULL;
  }
  DriftFrequent *sketch = g_new0(DriftFrequent, 1);
  sketch->n_counters = n_counters;
  sketch->counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  return sketch;
}

void drift_frequent_free(DriftFrequent *sketch)
{
  if (sketch == NULL) return;
  g_hash_table_unref(sketch->counts);
  g_free(sketch);
}

/* The key in `buffer`. */
static void make_key(const gchar *text, gsize length, gchar buffer[DRIFT_FREQUENT_MAX_TEXT + 1])
{
  length = strnlen(text, length);
  if (length <= DRIFT_FREQUENT_MAX_TEXT) {
    memcpy(buffer, text, length);
    buffer[length] = '\0';
    return;
  }
  gsize kept = KEPT_BYTES;
  while (kept > 0 && ((guint8)text[kept] & 0xc0) == 0x80) kept--; /* whole characters */
  memcpy(buffer, text, kept);
  g_snprintf(buffer + kept, (gulong)(DRIFT_FREQUENT_MAX_TEXT + 1 - kept), "…#%016" G_GINT64_MODIFIER "x",
             drift_digest((const guint8 *)text, length));
}

/* Takes `by` from every counter and drops those that reach 0. */
static void take_from_all(DriftFrequent *sketch, guint64 by)
{
  GHashTableIter iter;
  gpointer count;
  g_hash_table_iter_init(&iter, sketch->counts);
  while (g_hash_table_iter_next(&iter, NULL, &count)) {
    guint64 *value = count;
    if (*value <= by)
      g_hash_table_iter_remove(&iter);
    else
      *value -= by;
  }
  sketch->error += by;
}

static guint64 smallest_count(const DriftFrequent *sketch)
{
  GHashTableIter iter;
  gpointer count;
  guint64 smallest = G_MAXUINT64;
  g_hash_table_iter_init(&iter, sketch->counts);
  while (g_hash_table_iter_next(&iter, NULL, &count)) smallest = MIN(smallest, *(guint64 *)count);
  return smallest;
}

static void insert(GHashTable *counts, const gchar *key, guint64 count)
{
  g_hash_table_insert(counts, g_strdup(key), g_memdup2(&count, sizeof count));
}

void drift_frequent_update(DriftFrequent *sketch, const gchar *text, gsize length, guint64 count)
{
  gchar key[DRIFT_FREQUENT_MAX_TEXT + 1];
  count = MIN(count, MAX_COUNT - sketch->n);
  if (count == 0) return;
  make_key(text, length, key);
  sketch->n += count;
  guint64 *found = g_hash_table_lookup(sketch->counts, key);
  if (found != NULL) {
    *found += count;
    return;
  }
  /* Each round costs k steps and takes k + 1 times `by` out of n, so that all rounds together cost at most n steps. */
  while (count > 0 && g_hash_table_size(sketch->counts) >= sketch->n_counters) {
    guint64 by = MIN(count, smallest_count(sketch));
    take_from_all(sketch, by);
    count -= by;
  }
  if (count > 0) insert(sketch->counts, key, count);
}

static gint compare_items(gconstpointer a, gconstpointer b)
{
  const DriftFrequentItem *left = *(DriftFrequentItem *const *)a, *right = *(DriftFrequentItem *const *)b;
  if (left->count != right->count) return left->count > right->count ? -1 : 1;
  return strcmp(left->text, right->text);
}

static void item_free(gpointer data)
{
  DriftFrequentItem *item = data;
  g_free(item->text);
  g_free(item);
}

GPtrArray *drift_frequent_get_items(const DriftFrequent *sketch)
{
  GPtrArray *items = g_ptr_array_new_with_free_func(item_free);
  GHashTableIter iter;
  gpointer key, count;
  g_hash_table_iter_init(&iter, sketch->counts);
  while (g_hash_table_iter_next(&iter, &key, &count)) {
    DriftFrequentItem *item = g_new(DriftFrequentItem, 1);
    *item = (DriftFrequentItem){.text = g_strdup(key), .count = *(guint64 *)count};
    g_ptr_array_add(items, item);
  }
  g_ptr_array_sort(items, compare_items);
  return items;
}

gboolean drift_frequent_merge(DriftFrequent *sketch, const DriftFrequent *other, GError **error)
{
  g_return_val_if_fail(sketch != other, FALSE);
  if (sketch->n_counters != other->n_counters) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH, "frequent items: %u and %u counters cannot be merged",
                sketch->n_counters, other->n_counters);
    return FALSE;
  }
  if (sketch->n + other->n > MAX_COUNT) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "frequent items: together more than 2^62 counts");
    return FALSE;
  }
  GHashTableIter iter;
  gpointer key, count;
  g_hash_table_iter_init(&iter, other->counts);
  while (g_hash_table_iter_next(&iter, &key, &count)) {
    guint64 *found = g_hash_table_lookup(sketch->counts, key);
    if (found != NULL)
      *found += *(guint64 *)count;
    else
      insert(sketch->counts, key, *(guint64 *)count);
  }
  sketch->n += other->n;
  sketch->error += other->error;
  if (g_hash_table_size(sketch->counts) <= sketch->n_counters) return TRUE;
  /* The largest of the counts that do not fit is taken from all: k + 1 counters lose it, as in single updates. */
  g_autoptr(GPtrArray) items = drift_frequent_get_items(sketch);
  const DriftFrequentItem *first_out = g_ptr_array_index(items, sketch->n_counters);
  take_from_all(sketch, first_out->count);
  return TRUE;
}

guint64 drift_frequent_get_n(const DriftFrequent *sketch)
{
  return sketch->n;
}

guint64 drift_frequent_get_error(const DriftFrequent *sketch)
{
  return sketch->error;
}

guint64 drift_frequent_get_count(const DriftFrequent *sketch, const gchar *text, gsize length)
{
  gchar key[DRIFT_FREQUENT_MAX_TEXT + 1];
  make_key(text, length, key);
  const guint64 *found = g_hash_table_lookup(sketch->counts, key);
  return found != NULL ? *found : 0;
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

GBytes *drift_frequent_to_bytes(const DriftFrequent *sketch)
{
  g_autoptr(GByteArray) raw = g_byte_array_new();
  g_autoptr(GPtrArray) items = drift_frequent_get_items(sketch);
  drift_put_u32(raw, sketch->n_counters);
  drift_put_u64(raw, sketch->n);
  drift_put_u64(raw, sketch->error);
  drift_put_u32(raw, items->len);
  for (guint i = 0; i < items->len; i++) {
    const DriftFrequentItem *item = g_ptr_array_index(items, i);
    drift_put_u64(raw, item->count);
    drift_put_string(raw, item->text);
  }
  return drift_frame_pack(MAGIC, VERSION, raw);
}

/* Any bytes but NUL: values of traffic need not be UTF-8. */
static gboolean get_item(DriftReader *reader, DriftFrequent *sketch, guint64 *sum)
{
  gchar key[DRIFT_FREQUENT_MAX_TEXT + 1];
  guint64 count = drift_get_u64(reader);
  gsize length = drift_get_u32(reader);
  const guint8 *text = length <= DRIFT_FREQUENT_MAX_TEXT ? drift_get_block(reader, length) : NULL;
  if (text == NULL || count == 0 || count > MAX_COUNT - *sum || memchr(text, 0, length) != NULL) return FALSE;
  *sum += count;
  memcpy(key, text, length);
  key[length] = '\0';
  if (g_hash_table_contains(sketch->counts, key)) return FALSE;
  insert(sketch->counts, key, count);
  return TRUE;
}

static DriftFrequent *read_sketch(DriftReader *reader)
{
  guint64 sum = 0;
  g_autoptr(DriftFrequent) sketch = drift_frequent_new(drift_get_u32(reader), NULL);
  if (sketch == NULL) return NULL;
  sketch->n = drift_get_u64(reader);
  sketch->error = drift_get_u64(reader);
  guint n = drift_get_u32(reader);
  if (n > sketch->n_counters || sketch->n > MAX_COUNT) return NULL;
  for (guint i = 0; i < n; i++)
    if (!get_item(reader, sketch, &sum)) return NULL;
  /* Every unit of error took k + 1 counts. */
  gboolean fits = !reader->failed && drift_reader_left(reader) == 0 && sum <= sketch->n &&
                  sketch->error <= (sketch->n - sum) / ((guint64)sketch->n_counters + 1);
  return fits ? g_steal_pointer(&sketch) : NULL;
}

DriftFrequent *drift_frequent_from_bytes(GBytes *bytes, GError **error)
{
  g_autoptr(GBytes) raw = drift_frame_unpack(MAGIC, VERSION, MAX_BYTES, "frequent items sketch", bytes, error);
  if (raw == NULL) return NULL;
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  DriftReader reader;
  drift_reader_init(&reader, data, length);
  DriftFrequent *sketch = read_sketch(&reader);
  if (sketch == NULL)
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "frequent items sketch: the state is not one that this program could have written");
  return sketch;
}
