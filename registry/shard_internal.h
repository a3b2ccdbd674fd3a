/* For the files of this folder only: how labelled rows are kept. */
#pragma once

#include "registry/shard.h"

G_BEGIN_DECLS

/* A sealed segment's artifact: "kedgelog", u32 rows, i64 first row, u32 ends[rows] (offset just past each row, counted
 * from the first row's byte), then the rows' bytes; little-endian. */
#define REGISTRY_SEGMENT_MAGIC "kedgelog"
#define REGISTRY_SEGMENT_HEADER 20 /* bytes */

/* Consecutive rows with where each one ends. */
typedef struct {
  GByteArray *bytes;
  GArray *ends; /* of guint32, relative to bytes */
} RegistryRowBuffer;
RegistryRowBuffer *registry_row_buffer_new(void);
void registry_row_buffer_free(RegistryRowBuffer *buffer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RegistryRowBuffer, registry_row_buffer_free)

/* u32 array ↔ little-endian bytes. decode: NULL (CORRUPT) unless they ascend from > 0 to total in n steps. */
GBytes *registry_ends_encode(const guint32 *ends, guint n);
GArray *registry_ends_decode(GBytes *bytes, guint64 n, gsize total, GError **error);

GBytes *registry_segment_encode(const RegistryRowBuffer *rows, gint64 first_row, GError **error);
/* CORRUPT unless it is a whole segment of rows [first_row, next_row). rows may be NULL (check only). */
gboolean registry_segment_decode(GBytes *bytes, gint64 first_row, gint64 next_row, RegistryRowBuffer **rows,
                                 GError **error);

/* SQL: the row after the last one of the log ($1 model, $2 partition, $3 label partition). */
#define REGISTRY_LABELLED_LOG_END                                                                                      \
  "COALESCE((SELECT next_row FROM labelled_rows WHERE model = $1 AND partition = $2 AND label_partition = $3"          \
  " ORDER BY first_row DESC LIMIT 1), (SELECT next_row FROM labelled_segment WHERE model = $1 AND partition = $2"      \
  " AND label_partition = $3 ORDER BY first_row DESC LIMIT 1), 0)"

/* Appends rows [first, next) of the log (read as registry_labelled_log_read says) to `rows`. */
gboolean registry_labelled_log_collect(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model,
                                       gint32 partition, gint32 label_partition, gint64 first_row, gint64 next_row,
                                       RegistryRowBuffer *rows, GError **error);

/* Refuses a row whose stored digest (column `digest_column`) is not that of columns [first, first + n). CORRUPT. */
gboolean registry_check_row(const RegistryRows *rows, guint row, guint digest_column, guint first, guint n,
                            const gchar *what, GError **error);

G_END_DECLS
