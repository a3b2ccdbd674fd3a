/* Processes started by mpirun or srun, through libkedge-mpi.so. */
#include "pipeline/communicator.h"
#include "pipeline/mpi/plugin_table.h"
#include "pipeline/plugin.h"

static const PipelinePlugin plugin = {.library = "libkedge-mpi.so",
                                      .variable = "KEDGE_MPI_PLUGIN",
                                      .symbol = PIPELINE_MPI_SYMBOL,
                                      .abi = PIPELINE_MPI_ABI,
                                      .size = sizeof(PipelineMpiTable)};

static gboolean check(PipelineCommunicator *communicator, int code, const gchar *what, GError **error)
{
  const PipelineMpiTable *table = communicator->state;
  if (code == 0) return TRUE;
  communicator->lost = TRUE;
  gchar text[256] = "";
  table->describe(code, text, sizeof text);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "MPI cannot %s: %s", what, text);
  return FALSE;
}

static gboolean mpi_check(GError **error)
{
  return pipeline_plugin_load(&plugin, error) != NULL;
}

static gboolean mpi_open(PipelineCommunicator *communicator, GError **error)
{
  const PipelineMpiTable *table = pipeline_plugin_load(&plugin, error);
  int rank = 0, size = 1;
  communicator->state = (gpointer)table;
  if (table == NULL || !check(communicator, table->open(&rank, &size), "start", error)) return FALSE;
  communicator->rank = (guint)rank;
  communicator->size = (guint)size;
  return TRUE;
}

static void mpi_close(PipelineCommunicator *communicator)
{
  const PipelineMpiTable *table = communicator->state;
  table->close();
}

static gboolean mpi_start(PipelineCommunicator *communicator, PipelineSumType type, gpointer values, gsize n,
                          PipelineSum **sum, GError **error)
{
  const PipelineMpiTable *table = communicator->state;
  if (n <= PIPELINE_MPI_MAX_ELEMENTS)
    return check(communicator, table->start_sum(values, n, type == PIPELINE_SUM_DOUBLES, sum), "add up", error);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "MPI adds up at most %zu numbers at once, not %zu",
              PIPELINE_MPI_MAX_ELEMENTS, n);
  return FALSE;
}

static gboolean mpi_poll(PipelineCommunicator *communicator, PipelineSum **sum, GError **error)
{
  const PipelineMpiTable *table = communicator->state;
  int done;
  return check(communicator, table->poll(sum, &done), "add up", error);
}

static gboolean mpi_wait(PipelineCommunicator *communicator, PipelineSum **sum, GError **error)
{
  const PipelineMpiTable *table = communicator->state;
  return check(communicator, table->wait(sum), "add up", error);
}

static gboolean mpi_broadcast(PipelineCommunicator *communicator, gpointer bytes, gsize n, guint root, GError **error)
{
  const PipelineMpiTable *table = communicator->state;
  for (gsize done = 0; done < n; done += MIN(n - done, PIPELINE_MPI_MAX_ELEMENTS))
    if (!check(communicator,
               table->broadcast((guint8 *)bytes + done, MIN(n - done, PIPELINE_MPI_MAX_ELEMENTS), (int)root),
               "send to all", error))
      return FALSE;
  return TRUE;
}

static gboolean mpi_barrier(PipelineCommunicator *communicator, GError **error)
{
  const PipelineMpiTable *table = communicator->state;
  return check(communicator, table->barrier(), "wait for all", error);
}

static void mpi_abort(PipelineCommunicator *communicator, gint status)
{
  const PipelineMpiTable *table = communicator->state;
  table->abort(status);
}

const PipelineCommunicatorKind pipeline_communicator_mpi = {.name = "mpi",
                                                            .summary = "the processes of mpirun or srun",
                                                            .check = mpi_check,
                                                            .open = mpi_open,
                                                            .close = mpi_close,
                                                            .start = mpi_start,
                                                            .poll = mpi_poll,
                                                            .wait = mpi_wait,
                                                            .broadcast = mpi_broadcast,
                                                            .barrier = mpi_barrier,
                                                            .abort = mpi_abort};
