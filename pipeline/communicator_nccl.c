#include "pipeline/communicator_nccl.h"

#include "pipeline/cuda/nccl_table.h"
#include "pipeline/plugin.h"

static const PipelinePlugin plugin = {.library = "libkedge-nccl.so",
                                      .variable = "KEDGE_NCCL_PLUGIN",
                                      .symbol = PIPELINE_NCCL_SYMBOL,
                                      .abi = PIPELINE_NCCL_ABI,
                                      .size = sizeof(PipelineNcclTable)};

typedef struct {
  PipelineCommunicator *mpi; /* starts NCCL, and sums what is small */
  const PipelineNcclTable *table;
  gpointer all;
} Nccl;

typedef struct {
  gpointer request; /* of NCCL; NULL: of MPI */
  PipelineSum *sum;
} Sum;

static gboolean fail(PipelineCommunicator *communicator, const gchar *why, GError **error)
{
  communicator->lost = TRUE;
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, why);
  return FALSE;
}

/* Unless the user names one: the number of this process among those on its machine, as mpirun and srun tell it. */
static gint find_device(void)
{
  static const gchar *const names[] = {"KEDGE_CUDA_DEVICE", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID"};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    guint64 number;
    const gchar *text = g_getenv(names[i]);
    if (text == NULL || !g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT, &number, NULL)) continue;
    g_setenv(names[0], text, FALSE); /* the backend takes the same one */
    return (gint)number;
  }
  return 0;
}

static void close_all(PipelineCommunicator *communicator)
{
  Nccl *nccl = communicator->state;
  if (nccl->all != NULL) nccl->table->close(nccl->all);
  pipeline_communicator_close(nccl->mpi);
  g_free(nccl);
}

/* Every step is agreed on, so that nobody waits for one that has no device. */
static gboolean meet(Nccl *nccl, GError **error)
{
  gchar id[PIPELINE_NCCL_ID] = {0}, why[PIPELINE_NCCL_WHY] = "";
  PipelineCommunicator *mpi = nccl->mpi;
  gboolean done = mpi->rank > 0 || nccl->table->make_id(id, why) == 0 || fail(mpi, why, error);
  if (!pipeline_communicator_agree(mpi, done, error) || !pipeline_communicator_broadcast(mpi, id, sizeof id, 0, error))
    return FALSE;
  done = nccl->table->open((gint)mpi->rank, (gint)mpi->size, find_device(), id, &nccl->all, why) == 0 ||
         fail(mpi, why, error);
  return pipeline_communicator_agree(mpi, done, error);
}

static gboolean open_all(PipelineCommunicator *communicator, GError **error)
{
  Nccl *nccl = g_new0(Nccl, 1);
  communicator->state = nccl;
  nccl->mpi = pipeline_communicator_open("mpi", error);
  if (nccl->mpi != NULL) {
    nccl->table = pipeline_plugin_load(&plugin, error);
    communicator->rank = nccl->mpi->rank;
    communicator->size = nccl->mpi->size;
    if (pipeline_communicator_agree(nccl->mpi, nccl->table != NULL, error) && meet(nccl, error)) return TRUE;
  }
  close_all(communicator);
  return FALSE;
}

static gboolean start(PipelineCommunicator *communicator, PipelineSumType type, gpointer values, gsize n,
                      PipelineSum **started, GError **error)
{
  Nccl *nccl = communicator->state;
  gchar why[PIPELINE_NCCL_WHY] = "";
  Sum *sum = g_new0(Sum, 1);
  *started = sum;
  if (type == PIPELINE_SUM_FLOATS)
    return nccl->table->start_sum(nccl->all, values, n, &sum->request, why) == 0 || fail(communicator, why, error);
  return pipeline_communicator_start(nccl->mpi, type, values, n, &sum->sum, error);
}

static gboolean wait(PipelineCommunicator *communicator, PipelineSum **waited, GError **error)
{
  Nccl *nccl = communicator->state;
  g_autofree Sum *sum = *waited;
  gchar why[PIPELINE_NCCL_WHY] = "";
  *waited = NULL;
  if (sum->request == NULL) return pipeline_communicator_wait(nccl->mpi, &sum->sum, error);
  return nccl->table->wait(nccl->all, &sum->request, why) == 0 || fail(communicator, why, error);
}

static gboolean poll(PipelineCommunicator *communicator, PipelineSum **polled, GError **error)
{
  Nccl *nccl = communicator->state;
  Sum *sum = *polled;
  if (sum->request == NULL) return pipeline_communicator_poll(nccl->mpi, &sum->sum, error);
  return !nccl->table->is_done(nccl->all, sum->request) || wait(communicator, polled, error);
}

static gboolean broadcast(PipelineCommunicator *communicator, gpointer bytes, gsize n, guint root, GError **error)
{
  Nccl *nccl = communicator->state;
  return pipeline_communicator_broadcast(nccl->mpi, bytes, n, root, error);
}

static gboolean barrier(PipelineCommunicator *communicator, GError **error)
{
  Nccl *nccl = communicator->state;
  return pipeline_communicator_barrier(nccl->mpi, error);
}

static void end_all(PipelineCommunicator *communicator, gint status)
{
  Nccl *nccl = communicator->state;
  pipeline_communicator_abort(nccl->mpi, status);
}

const PipelineCommunicatorKind pipeline_communicator_nccl = {.name = "nccl",
                                                             .summary = "the same with a CUDA device each, by NCCL",
                                                             .open = open_all,
                                                             .close = close_all,
                                                             .start = start,
                                                             .poll = poll,
                                                             .wait = wait,
                                                             .broadcast = broadcast,
                                                             .barrier = barrier,
                                                             .abort = end_all};
