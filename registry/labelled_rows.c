/* Encodings of labelled rows: where rows end, and sealed segments. No store here. */
#include <string.h>

#include "registry/shard_internal.h"
#include "registry/store_internal.h"

RegistryRowBuffer *registry_row_buffer_new(void)
{
  RegistryRowBuffer *buffer = g_new0(RegistryRowBuffer, 1);
  buffer->bytes = g_byte_array_new();
  buffer->ends = g_array_new(FALSE, FALSE, sizeof(guint32));
  return buffer;
}

void registry_row_buffer_free(RegistryRowBuffer *buffer)
{
  if (buffer == NULL) return;
  if (buffer->bytes != NULL) g_byte_array_unref(buffer->bytes); /* NULL: taken */
  g_array_unref(buffer->ends);
  g_free(buffer);
}

GBytes *registry_ends_encode(const guint32 *ends, guint n)
{
  guint32 *encoded = g_new(guint32, n);
  for (guint i = 0; i < n; i++) encoded[i] = GUINT32_TO_LE(ends[i]);
  return g_bytes_new_take(encoded, n * sizeof *encoded);
}

static gboolean set_corrupt(const gchar *text, GError **error)
{
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_CORRUPT, "labelled rows: %s; `kedge verify` lists what is damaged",
              text);
  return FALSE;
}

GArray *registry_ends_decode(GBytes *bytes, guint64 n, gsize total, GError **error)
{
  gsize length = 0;
  const guint8 *data = bytes != NULL ? g_bytes_get_data(bytes, &length) : NULL;
  if (n == 0 || n > G_MAXUINT32 / 4 || length != n * 4) {
    set_corrupt("as many ends as rows were expected", error);
    return NULL;
  }
  g_autoptr(GArray) ends = g_array_sized_new(FALSE, FALSE, sizeof(guint32), (guint)n);
  g_array_set_size(ends, (guint)n);
  memcpy(ends->data, data, length);
  guint32 *values = (guint32 *)(gpointer)ends->data, last = 0;
  for (guint i = 0; i < n; i++) {
    values[i] = GUINT32_FROM_LE(values[i]);
    if (values[i] <= last || values[i] > total) {
      set_corrupt("the rows' ends do not ascend within their bytes", error);
      return NULL;
    }
    last = values[i];
  }
  if (last != total) {
    set_corrupt("the last row does not end with the bytes", error);
    return NULL;
  }
  return g_steal_pointer(&ends);
}

GBytes *registry_segment_encode(const RegistryRowBuffer *rows, gint64 first_row, GError **error)
{
  guint n = rows->ends->len;
  gsize size = REGISTRY_SEGMENT_HEADER + (gsize)n * 4 + rows->bytes->len;
  guint8 *data = g_try_malloc(size);
  if (data == NULL) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE,
                "no memory for a segment of %" G_GSIZE_FORMAT " bytes", size);
    return NULL;
  }
  guint32 count = GUINT32_TO_LE(n);
  gint64 first = GINT64_TO_LE(first_row);
  g_autoptr(GBytes) ends = registry_ends_encode((const guint32 *)(gconstpointer)rows->ends->data, n);
  memcpy(data, REGISTRY_SEGMENT_MAGIC, 8);
  memcpy(data + 8, &count, 4);
  memcpy(data + 12, &first, 8);
  memcpy(data + REGISTRY_SEGMENT_HEADER, g_bytes_get_data(ends, NULL), (gsize)n * 4);
  memcpy(data + REGISTRY_SEGMENT_HEADER + (gsize)n * 4, rows->bytes->data, rows->bytes->len);
  return g_bytes_new_take(data, size);
}

gboolean registry_segment_decode(GBytes *bytes, gint64 first_row, gint64 next_row, RegistryRowBuffer **rows,
                                 GError **error)
{
  gsize size;
  const guint8 *data = g_bytes_get_data(bytes, &size);
  guint32 count = 0;
  gint64 first = 0;
  if (size >= REGISTRY_SEGMENT_HEADER) {
    memcpy(&count, data + 8, 4);
    memcpy(&first, data + 12, 8);
  }
  guint64 n = GUINT32_FROM_LE(count);
  if (size < REGISTRY_SEGMENT_HEADER || memcmp(data, REGISTRY_SEGMENT_MAGIC, 8) != 0 ||
      GINT64_FROM_LE(first) != first_row || next_row - first_row != (gint64)n || n * 4 > size - REGISTRY_SEGMENT_HEADER)
    return set_corrupt("a sealed segment does not hold the rows its manifest names", error);
  gsize start = REGISTRY_SEGMENT_HEADER + n * 4;
  g_autoptr(GBytes) encoded = g_bytes_new_from_bytes(bytes, REGISTRY_SEGMENT_HEADER, n * 4);
  g_autoptr(GArray) ends = registry_ends_decode(encoded, n, size - start, error);
  if (ends == NULL) return FALSE;
  if (rows != NULL) {
    *rows = registry_row_buffer_new();
    g_byte_array_append((*rows)->bytes, data + start, (guint)(size - start));
    g_array_append_vals((*rows)->ends, ends->data, ends->len);
  }
  return TRUE;
}
