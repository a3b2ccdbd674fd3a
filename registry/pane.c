#include "registry/digest.h"
#include "registry/shard.h"
#include "registry/shard_internal.h"
#include "registry/store_internal.h"

void registry_pane_free(RegistryPane *pane)
{
  if (pane == NULL) return;
  g_free(pane->grid_id);
  g_free(pane->coverage);
  if (pane->bytes != NULL) g_bytes_unref(pane->bytes);
  g_free(pane);
}

void registry_label_pane_free(RegistryLabelPane *pane)
{
  if (pane == NULL) return;
  g_free(pane->coverage);
  if (pane->bytes != NULL) g_bytes_unref(pane->bytes);
  g_free(pane);
}

/* Columns: 0 digest, then what it covers, in the order of checkpoint.c. */
static RegistryPane *read_pane(const RegistryRows *rows, guint i)
{
  RegistryPane *pane = g_new0(RegistryPane, 1);
  pane->number = registry_rows_get_integer(rows, i, 3);
  pane->grid_id = registry_rows_copy_text(rows, i, 4);
  pane->first_offset = registry_rows_get_integer(rows, i, 5);
  pane->next_offset = registry_rows_get_integer(rows, i, 6);
  pane->first_time = registry_rows_get_integer(rows, i, 7);
  pane->last_time = registry_rows_get_integer(rows, i, 8);
  pane->watermark = registry_rows_get_integer(rows, i, 9);
  pane->count = (guint64)registry_rows_get_integer(rows, i, 10);
  pane->coverage = registry_rows_copy_text(rows, i, 11);
  pane->bytes = registry_rows_get_blob(rows, i, 12);
  return pane;
}

#define PANE_COLUMNS                                                                                                   \
  "SELECT digest, model, partition, number, grid_id, first_offset, next_offset, first_time, last_time, watermark,"     \
  " events, coverage"
#define PANE_CONDITION " FROM pane WHERE model = $1 AND partition = $2 AND number >= $3 ORDER BY number LIMIT $4"

GPtrArray *registry_pane_list(RegistryStore *store, const gchar *model, gint32 partition, gint64 from, guint limit,
                              gboolean with_bytes, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model), REGISTRY_I(partition), REGISTRY_I(from),
                                      REGISTRY_I(registry_limit(limit))};
  const gchar *sql = with_bytes ? PANE_COLUMNS ", bytes" PANE_CONDITION : PANE_COLUMNS PANE_CONDITION;
  g_autoptr(RegistryRows) rows = registry_store_query(store, sql, parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return NULL;
  g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)registry_pane_free);
  for (guint i = 0; i < registry_rows_get_count(rows); i++) {
    g_autofree gchar *what =
        g_strdup_printf("pane %" G_GINT64_FORMAT " of %s/%d", registry_rows_get_integer(rows, i, 3), model, partition);
    if (with_bytes && !registry_check_row(rows, i, 0, 1, 12, what, error)) return NULL;
    g_ptr_array_add(list, read_pane(rows, i));
  }
  return g_steal_pointer(&list);
}

static RegistryLabelPane *read_label_pane(const RegistryRows *rows, guint i)
{
  RegistryLabelPane *pane = g_new0(RegistryLabelPane, 1);
  pane->label_partition = (gint32)registry_rows_get_integer(rows, i, 3);
  pane->number = registry_rows_get_integer(rows, i, 4);
  pane->first_row = registry_rows_get_integer(rows, i, 5);
  pane->next_row = registry_rows_get_integer(rows, i, 6);
  pane->first_offset = registry_rows_get_integer(rows, i, 7);
  pane->next_offset = registry_rows_get_integer(rows, i, 8);
  pane->watermark = registry_rows_get_integer(rows, i, 9);
  pane->first_traffic_offset = registry_rows_get_integer(rows, i, 10);
  pane->last_traffic_offset = registry_rows_get_integer(rows, i, 11);
  pane->count = (guint64)registry_rows_get_integer(rows, i, 12);
  pane->coverage = registry_rows_copy_text(rows, i, 13);
  pane->bytes = registry_rows_get_blob(rows, i, 14);
  return pane;
}

#define LABEL_PANE_COLUMNS                                                                                             \
  "SELECT digest, model, partition, label_partition, number, first_row, next_row, first_offset, next_offset,"          \
  " watermark, first_traffic_offset, last_traffic_offset, events, coverage"
#define LABEL_PANE_CONDITION                                                                                           \
  " FROM label_pane WHERE model = $1 AND partition = $2 AND label_partition = $3 AND number >= $4"                     \
  " ORDER BY number LIMIT $5"

GPtrArray *registry_label_pane_list(RegistryStore *store, const gchar *model, gint32 partition, gint32 label_partition,
                                    gint64 from, guint limit, gboolean with_bytes, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model), REGISTRY_I(partition), REGISTRY_I(label_partition),
                                      REGISTRY_I(from), REGISTRY_I(registry_limit(limit))};
  const gchar *sql =
      with_bytes ? LABEL_PANE_COLUMNS ", bytes" LABEL_PANE_CONDITION : LABEL_PANE_COLUMNS LABEL_PANE_CONDITION;
  g_autoptr(RegistryRows) rows = registry_store_query(store, sql, parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return NULL;
  g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)registry_label_pane_free);
  for (guint i = 0; i < registry_rows_get_count(rows); i++) {
    g_autofree gchar *what = g_strdup_printf("label pane %" G_GINT64_FORMAT " of %s/%d/%d",
                                             registry_rows_get_integer(rows, i, 4), model, partition, label_partition);
    if (with_bytes && !registry_check_row(rows, i, 0, 1, 14, what, error)) return NULL;
    g_ptr_array_add(list, read_label_pane(rows, i));
  }
  return g_steal_pointer(&list);
}
