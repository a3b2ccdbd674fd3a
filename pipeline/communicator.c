#include "pipeline/communicator.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/communicator_nccl.h"

const PipelineCommunicatorKind *const pipeline_communicator_kinds[] = {
    &pipeline_communicator_single,
    &pipeline_communicator_mpi,
    &pipeline_communicator_nccl,
    NULL,
};

/* --- one process: its values are the sums ------------------------------------------------------------------------- */

static gboolean single_open(PipelineCommunicator *communicator, GError **error)
{
  (void)error;
  communicator->size = 1;
  return TRUE;
}

static gboolean single_start(PipelineCommunicator *communicator, PipelineSumType type, gpointer values, gsize n,
                             PipelineSum **sum, GError **error)
{
  (void)communicator;
  (void)type;
  (void)values;
  (void)n;
  (void)error;
  *sum = NULL;
  return TRUE;
}

static gboolean single_broadcast(PipelineCommunicator *communicator, gpointer bytes, gsize n, guint root,
                                 GError **error)
{
  (void)communicator;
  (void)bytes;
  (void)n;
  (void)root;
  (void)error;
  return TRUE;
}

static gboolean single_barrier(PipelineCommunicator *communicator, GError **error)
{
  (void)communicator;
  (void)error;
  return TRUE;
}

const PipelineCommunicatorKind pipeline_communicator_single = {.name = "single",
                                                               .summary = "this process alone",
                                                               .open = single_open,
                                                               .start = single_start,
                                                               .broadcast = single_broadcast,
                                                               .barrier = single_barrier};

/* --- any kind ----------------------------------------------------------------------------------------------------- */

static const PipelineCommunicatorKind *find_kind(const gchar *name, GError **error)
{
  g_autoptr(GString) known = g_string_new("");
  for (guint i = 0; pipeline_communicator_kinds[i] != NULL; i++) {
    const PipelineCommunicatorKind *kind = pipeline_communicator_kinds[i];
    g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", kind->name);
    if (strcmp(kind->name, name) == 0) return kind;
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "processes cannot talk by '%s'; known: %s", name,
              known->str);
  return NULL;
}

gboolean pipeline_communicator_check(const gchar *name, GError **error)
{
  const PipelineCommunicatorKind *kind = find_kind(name, error);
  return kind != NULL && (kind->check == NULL || kind->check(error));
}

PipelineCommunicator *pipeline_communicator_open(const gchar *name, GError **error)
{
  const PipelineCommunicatorKind *kind = find_kind(name, error);
  if (kind == NULL) return NULL;
  PipelineCommunicator *communicator = g_new0(PipelineCommunicator, 1);
  communicator->kind = kind;
  if (kind->open(communicator, error)) return communicator;
  g_free(communicator);
  return NULL;
}

void pipeline_communicator_close(PipelineCommunicator *communicator)
{
  if (communicator == NULL) return;
  if (communicator->kind->close != NULL) communicator->kind->close(communicator);
  g_free(communicator);
}

gboolean pipeline_communicator_start(PipelineCommunicator *communicator, PipelineSumType type, gpointer values, gsize n,
                                     PipelineSum **sum, GError **error)
{
  return communicator->kind->start(communicator, type, values, n, sum, error);
}

gboolean pipeline_communicator_poll(PipelineCommunicator *communicator, PipelineSum **sum, GError **error)
{
  return *sum == NULL || communicator->kind->poll(communicator, sum, error);
}

gboolean pipeline_communicator_wait(PipelineCommunicator *communicator, PipelineSum **sum, GError **error)
{
  return *sum == NULL || communicator->kind->wait(communicator, sum, error);
}

gboolean pipeline_communicator_sum_doubles(PipelineCommunicator *communicator, double *values, gsize n, GError **error)
{
  PipelineSum *sum = NULL;
  return pipeline_communicator_start(communicator, PIPELINE_SUM_DOUBLES, values, n, &sum, error) &&
         pipeline_communicator_wait(communicator, &sum, error);
}

gboolean pipeline_communicator_broadcast(PipelineCommunicator *communicator, gpointer bytes, gsize n, guint root,
                                         GError **error)
{
  return communicator->kind->broadcast(communicator, bytes, n, root, error);
}

gboolean pipeline_communicator_barrier(PipelineCommunicator *communicator, GError **error)
{
  return communicator->kind->barrier(communicator, error);
}

void pipeline_communicator_abort(PipelineCommunicator *communicator, gint status)
{
  if (communicator->kind->abort != NULL) communicator->kind->abort(communicator, status);
  exit(status);
}

gboolean pipeline_communicator_agree(PipelineCommunicator *communicator, gboolean done, GError **error)
{
  if (communicator == NULL) return done;
  g_autofree double *failed = g_new0(double, communicator->size);
  g_autoptr(GError) lost = NULL;
  guint first = 0;
  failed[communicator->rank] = done ? 0 : 1;
  if (!pipeline_communicator_sum_doubles(communicator, failed, communicator->size, &lost)) {
    if (done) g_propagate_error(error, g_steal_pointer(&lost));
    return FALSE;
  }
  while (first < communicator->size && failed[first] == 0) first++;
  if (first == communicator->size) return TRUE;
  if (first == communicator->rank) return FALSE;
  if (!done) g_clear_error(error);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_PEER, "process %u of %u says why it could not go on", first + 1,
              communicator->size);
  return FALSE;
}

gboolean pipeline_communicator_compare(PipelineCommunicator *communicator, const gchar *text, const gchar *what,
                                       GError **error)
{
  enum { DIGEST = 64 }; /* of SHA-256, in hexadecimal digits */
  gchar first[DIGEST + 1];
  g_autofree gchar *mine = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
  memcpy(first, mine, sizeof first);
  if (!pipeline_communicator_broadcast(communicator, first, DIGEST, 0, error)) return FALSE;
  double others = memcmp(first, mine, DIGEST) != 0;
  if (!pipeline_communicator_sum_doubles(communicator, &others, 1, error)) return FALSE;
  if (others == 0) return TRUE;
  if (communicator->rank > 0)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_PEER, "the processes do not have the same %s", what);
  else
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "%.0f of %u processes do not have the same %s as the first", others, communicator->size, what);
  return FALSE;
}
