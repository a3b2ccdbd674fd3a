/* libkedge-mpi.so: the only file that includes mpi.h. One communicator of its own over all processes, used by one
 * thread. On one machine sums go through memory that the processes share (shared_sum.h), else through MPI. Errors are
 * returned; a process that dies is noticed by whoever started the gang. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/prctl.h>

#include "pipeline/mpi/plugin_table.h"
#include "pipeline/mpi/shared_sum.h"

#define SPIN_SECONDS 1e-4

/* One a program, as MPI_Init is. */
static MPI_Comm all = MPI_COMM_NULL;
static MPI_Win window = MPI_WIN_NULL;
static PipelineSharedSums *shared; /* NULL: several machines, or no memory to share */

/* MPI goes on: it notices when its daemon has gone. */
static int look_around(void *data)
{
  (void)data;
  int found;
  return MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, all, &found, MPI_STATUS_IGNORE);
}

/* Loads and stores of C's atomics order what is shared (MPI-4.0 12.4: the model is unified where memory can be shared).
 * What fails somewhere is left out everywhere. */
static int open_shared(int rank, int processes)
{
  MPI_Comm machine;
  void *block = NULL;
  int neighbours = 0, unit;
  MPI_Aint size = rank == 0 ? (MPI_Aint)pipeline_shared_sums_size((unsigned)processes) : 0;
  int code = MPI_Comm_split_type(all, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
  if (code != MPI_SUCCESS) return code;
  MPI_Comm_size(machine, &neighbours);
  int good = neighbours == processes &&
             MPI_Win_allocate_shared(size, 1, MPI_INFO_NULL, machine, &block, &window) == MPI_SUCCESS &&
             MPI_Win_shared_query(window, 0, &size, &unit, &block) == MPI_SUCCESS;
  if (good && rank == 0) memset(block, 0, (size_t)size);
  if (good) shared = pipeline_shared_sums_new(block, (unsigned)rank, (unsigned)processes, look_around, NULL);
  good = good && shared != NULL;
  code = MPI_Allreduce(MPI_IN_PLACE, &good, 1, MPI_INT, MPI_MIN, all); /* behind it the block is zero for all */
  MPI_Comm_free(&machine);
  if (code == MPI_SUCCESS && good) return code;
  pipeline_shared_sums_free(shared);
  shared = NULL;
  return code;
}

static int open_all(int *rank, int *processes)
{
  prctl(PR_SET_TIMERSLACK, 1000UL); /* nanoseconds: short sleeps are short */
  int provided, code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
  if (code == MPI_SUCCESS) code = MPI_Comm_dup(MPI_COMM_WORLD, &all);
  if (code == MPI_SUCCESS) code = MPI_Comm_set_errhandler(all, MPI_ERRORS_RETURN);
  if (code == MPI_SUCCESS) code = MPI_Comm_rank(all, rank);
  if (code == MPI_SUCCESS) code = MPI_Comm_size(all, processes);
  return code == MPI_SUCCESS ? open_shared(*rank, *processes) : code;
}

static void close_all(void)
{
  pipeline_shared_sums_free(shared);
  shared = NULL;
  if (window != MPI_WIN_NULL) MPI_Win_free(&window);
  MPI_Comm_free(&all);
  MPI_Finalize();
}

static int start_sum(void *values, size_t n, int doubles, void **request)
{
  if (shared != NULL) {
    *request = pipeline_shared_sum_start(shared, values, n, doubles);
    return *request != NULL ? MPI_SUCCESS : MPI_ERR_NO_MEM;
  }
  MPI_Request *started = malloc(sizeof *started);
  if (started == NULL) return MPI_ERR_NO_MEM;
  int code = MPI_Iallreduce(MPI_IN_PLACE, values, (int)n, doubles ? MPI_DOUBLE : MPI_FLOAT, MPI_SUM, all, started);
  if (code == MPI_SUCCESS)
    *request = started;
  else
    free(started);
  return code;
}

static int poll_request(void **request, int *done)
{
  if (shared != NULL) {
    PipelineSharedSum *sum = *request;
    pipeline_shared_sum_poll(shared, &sum);
    *request = sum;
    *done = sum == NULL;
    return MPI_SUCCESS;
  }
  int code = MPI_Test(*request, done, MPI_STATUS_IGNORE);
  if (code != MPI_SUCCESS || !*done) return code;
  free(*request);
  *request = NULL;
  return code;
}

static double seconds_now(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* MPI's own wait spins for ever. A process that waits longer than the others need when nothing else runs waits for one
 * that has no core: sleeping leaves it one, and on a busy machine keeps this one's claim to be next. */
static int wait_for(MPI_Request *request)
{
  struct timespec pause = {.tv_nsec = 20000};
  int done = 0, code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
  for (double begin = seconds_now(); code == MPI_SUCCESS && !done;) {
    if (seconds_now() - begin > SPIN_SECONDS) {
      nanosleep(&pause, NULL);
      pause.tv_nsec += pause.tv_nsec / 4; /* later by a fifth of the wait at the most */
      if (pause.tv_nsec > 500000) pause.tv_nsec = 500000;
    }
    code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
  }
  return code;
}

static int wait_request(void **request)
{
  if (shared != NULL) {
    PipelineSharedSum *sum = *request;
    int said = pipeline_shared_sum_wait(shared, &sum);
    *request = NULL;
    return said;
  }
  int code = wait_for(*request);
  free(*request);
  *request = NULL;
  return code;
}

static int broadcast(void *bytes, size_t n, int root)
{
  MPI_Request request;
  int code = MPI_Ibcast(bytes, (int)n, MPI_BYTE, root, all, &request);
  return code == MPI_SUCCESS ? wait_for(&request) : code;
}

static int barrier(void)
{
  MPI_Request request;
  int code = MPI_Ibarrier(all, &request);
  return code == MPI_SUCCESS ? wait_for(&request) : code;
}

static void abort_all(int status)
{
  MPI_Abort(MPI_COMM_WORLD, status);
  _Exit(status);
}

static void describe(int code, char *text, size_t size)
{
  char found[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  if (MPI_Error_string(code, found, &length) != MPI_SUCCESS) length = snprintf(found, sizeof found, "code %d", code);
  snprintf(text, size, "%.*s", length, found);
}

const PipelineMpiTable *pipeline_mpi_get_table(void)
{
  static const PipelineMpiTable table = {.abi = PIPELINE_MPI_ABI,
                                         .size = sizeof table,
                                         .open = open_all,
                                         .close = close_all,
                                         .start_sum = start_sum,
                                         .poll = poll_request,
                                         .wait = wait_request,
                                         .broadcast = broadcast,
                                         .barrier = barrier,
                                         .abort = abort_all,
                                         .describe = describe};
  return &table;
}
