/* The labelled log of every model of a store, wherever its rows lie (store or segments), one line a (partition, label
 * partition): how many rows and the SHA-256 of their bytes. Where checkpoints and segments were cut does not show.
 *   labelled_log STORE ARTIFACTS MODEL */
#include <stdio.h>
#include <stdlib.h>

#include "registry/artifact.h"
#include "registry/shard.h"

enum { LABEL_PARTITIONS = 64 };

static gboolean print_log(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model, gint32 partition,
                          gint32 label_partition, GError **error)
{
  gint64 next = registry_labelled_log_next(store, model, partition, label_partition, error);
  if (next <= 0) return next == 0;
  g_autoptr(GBytes) rows =
      registry_labelled_log_read(store, artifacts, model, partition, label_partition, 0, next, error);
  if (rows == NULL) return FALSE;
  g_autofree gchar *digest = g_compute_checksum_for_bytes(G_CHECKSUM_SHA256, rows);
  printf("labelled_log %s/%d/%d rows %" G_GINT64_FORMAT " sha256:%s\n", model, partition, label_partition, next,
         digest);
  return TRUE;
}

static gboolean print_logs(const gchar *address, const gchar *directory, const gchar *model, GError **error)
{
  g_autoptr(RegistryStore) store = registry_store_open(address, error);
  g_autoptr(RegistryArtifacts) artifacts = store ? registry_artifacts_open(directory, error) : NULL;
  g_autoptr(GPtrArray) shards = artifacts ? registry_shard_list(store, model, error) : NULL;
  for (guint i = 0; shards && i < shards->len; i++)
    for (gint32 label_partition = 0; label_partition < LABEL_PARTITIONS; label_partition++)
      if (!print_log(store, artifacts, model, ((RegistryShardStatus *)shards->pdata[i])->partition, label_partition,
                     error))
        return FALSE;
  return shards != NULL;
}

int main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  if (argc == 4 && print_logs(argv[1], argv[2], argv[3], &error)) return EXIT_SUCCESS;
  fprintf(stderr, "labelled_log: %s\n", error ? error->message : "usage: labelled_log STORE ARTIFACTS MODEL");
  return EXIT_FAILURE;
}
