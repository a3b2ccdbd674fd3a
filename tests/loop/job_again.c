/* A job as one that the store has, with another id and more members in its spec, as the leader would create it.
 *   job_again STORE JOB NEW_ID '{"epochs": 3000}' */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "registry/job.h"

static gchar *merge(const gchar *spec, const gchar *more)
{
  json_t *merged = json_loads(spec, JSON_REJECT_DUPLICATES, NULL),
         *own = json_loads(more, JSON_REJECT_DUPLICATES, NULL);
  gchar *text = json_object_update(merged, own) == 0 ? json_dumps(merged, JSON_COMPACT) : NULL;
  json_decref(merged);
  json_decref(own);
  return text;
}

static gboolean create(gchar **words, GError **error)
{
  g_autoptr(RegistryStore) store = registry_store_open(words[0], error);
  g_autoptr(RegistryJob) job = store != NULL ? registry_job_get(store, words[1], error) : NULL;
  if (job == NULL) return FALSE;
  RegistryJob again = *job;
  again.id = words[2];
  again.spec = merge(job->spec, words[3]);
  gboolean created = again.spec != NULL && registry_job_create(store, &again, error);
  free(again.spec);
  return created;
}

int main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  if (argc == 5 && create(argv + 1, &error)) return EXIT_SUCCESS;
  fprintf(stderr, "job_again: %s\n", error != NULL ? error->message : "STORE JOB NEW_ID JSON");
  return EXIT_FAILURE;
}
