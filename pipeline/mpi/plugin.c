/* libkedge-mpi.so: the only file that includes mpi.h. One communicator of its own over all processes, used by one
 * thread. Errors are returned; a process that dies is noticed by whoever started the gang. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <sys/prctl.h>

#include "pipeline/mpi/plugin_table.h"

#define SPIN_SECONDS 1e-4

static MPI_Comm all = MPI_COMM_NULL; /* one a program, as MPI_Init is */

static int open_all(int *rank, int *processes)
{
  prctl(PR_SET_TIMERSLACK, 1000UL); /* nanoseconds: short sleeps are short */
  int provided, code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
  if (code == MPI_SUCCESS) code = MPI_Comm_dup(MPI_COMM_WORLD, &all);
  if (code == MPI_SUCCESS) code = MPI_Comm_set_errhandler(all, MPI_ERRORS_RETURN);
  if (code == MPI_SUCCESS) code = MPI_Comm_rank(all, rank);
  return code == MPI_SUCCESS ? MPI_Comm_size(all, processes) : code;
}

static void close_all(void)
{
  MPI_Comm_free(&all);
  MPI_Finalize();
}

static int start_sum(void *values, size_t n, int doubles, void **request)
{
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
