#include "daemon/source.h"

#include <string.h>

extern const SourceType source_kafka, source_file;
const SourceType *const source_types[] = {&source_kafka, &source_file, NULL};

const SourceType *source_type_find(const gchar *name)
{
  for (const SourceType *const *type = source_types; *type != NULL; type++)
    if (strcmp((*type)->name, name) == 0) return *type;
  return NULL;
}

/* MurmurHash2 with the seed of Kafka's Java producer (org.apache.kafka.common.utils.Utils.murmur2). */
static guint32 murmur2(const guint8 *bytes, gsize length)
{
  const guint32 multiplier = 0x5bd1e995;
  guint32 hash = 0x9747b28c ^ (guint32)length;
  for (; length >= 4; bytes += 4, length -= 4) {
    guint32 word = bytes[0] | (guint32)bytes[1] << 8 | (guint32)bytes[2] << 16 | (guint32)bytes[3] << 24;
    word *= multiplier;
    word ^= word >> 24;
    word *= multiplier;
    hash = hash * multiplier ^ word;
  }
  for (gsize i = length; i-- > 0;) hash ^= (guint32)bytes[i] << (8 * i);
  if (length > 0) hash *= multiplier;
  hash ^= hash >> 13;
  hash *= multiplier;
  return hash ^ hash >> 15;
}

gint32 source_partition_of(const gchar *key, gint32 n)
{
  return (gint32)((murmur2((const guint8 *)key, strlen(key)) & 0x7fffffff) % (guint32)n);
}
