/* libkedge-nccl.so: the only file that knows NCCL (NVIDIA, https://docs.nvidia.com/deeplearning/nccl/). Values lie in
 * the memory of the host: they are copied to the device, summed, and copied back in one stream, while the host goes on.
 */
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/cuda/nccl_table.h"

#define LIBRARY "libnccl.so.2"

/* --- NCCL's functions ----------------------------------------------------------------------------------------------
 */

typedef struct {
  ncclResult_t (*get_unique_id)(ncclUniqueId *id);
  ncclResult_t (*comm_init_rank)(ncclComm_t *comm, int processes, ncclUniqueId id, int rank);
  ncclResult_t (*all_reduce)(const void *from, void *to, size_t n, ncclDataType_t type, ncclRedOp_t operation,
                             ncclComm_t comm, cudaStream_t stream);
  ncclResult_t (*comm_abort)(ncclComm_t comm);
  ncclResult_t (*comm_destroy)(ncclComm_t comm);
  const char *(*get_error_string)(ncclResult_t code);
} Nccl;

/* Names and places in Nccl. */
static const struct {
  const char *name;
  size_t offset;
} symbols[] = {
    {"ncclGetUniqueId", offsetof(Nccl, get_unique_id)}, {"ncclCommInitRank", offsetof(Nccl, comm_init_rank)},
    {"ncclAllReduce", offsetof(Nccl, all_reduce)},      {"ncclCommAbort", offsetof(Nccl, comm_abort)},
    {"ncclCommDestroy", offsetof(Nccl, comm_destroy)},  {"ncclGetErrorString", offsetof(Nccl, get_error_string)}};

static int load(Nccl *nccl, char *why)
{
  void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL); /* counted, and never unloaded */
  if (library == NULL) {
    snprintf(why, PIPELINE_NCCL_WHY, "%s cannot be loaded (NVIDIA's NCCL; pip: nvidia-nccl-cu13)", LIBRARY);
    return 1;
  }
  for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
    void *found = dlsym(library, symbols[i].name);
    if (found == NULL) {
      snprintf(why, PIPELINE_NCCL_WHY, "%s has no %s: it is too old", LIBRARY, symbols[i].name);
      return 1;
    }
    memcpy((char *)nccl + symbols[i].offset, &found, sizeof found);
  }
  return 0;
}

static int check_nccl(const Nccl *nccl, ncclResult_t code, const char *what, char *why)
{
  if (code == ncclSuccess) return 0;
  snprintf(why, PIPELINE_NCCL_WHY, "NCCL cannot %s: %s", what, nccl->get_error_string(code));
  return 1;
}

static int check_cuda(cudaError_t code, const char *what, char *why)
{
  if (code == cudaSuccess) return 0;
  snprintf(why, PIPELINE_NCCL_WHY, "CUDA cannot %s: %s", what, cudaGetErrorString(code));
  return 1;
}

/* --- sums ----------------------------------------------------------------------------------------------------------
 */

typedef struct Request {
  float *there; /* on the device */
  size_t capacity;
  cudaEvent_t done;
  struct Request *next; /* of those that are free */
} Request;

typedef struct {
  Nccl nccl;
  ncclComm_t comm;
  cudaStream_t stream;
  Request *free;
} All;

static int make_id(char *id, char *why)
{
  Nccl nccl;
  ncclUniqueId made;
  _Static_assert(sizeof made == PIPELINE_NCCL_ID, "the size of NCCL's id");
  if (load(&nccl, why) || check_nccl(&nccl, nccl.get_unique_id(&made), "begin", why)) return 1;
  memcpy(id, &made, sizeof made);
  return 0;
}

static void free_requests(All *all)
{
  while (all->free != NULL) {
    Request *request = all->free;
    all->free = request->next;
    cudaFree(request->there);
    cudaEventDestroy(request->done);
    free(request);
  }
}

static void close_all(void *data)
{
  All *all = data;
  if (all == NULL) return;
  if (all->comm != NULL) all->nccl.comm_destroy(all->comm);
  free_requests(all);
  if (all->stream != NULL) cudaStreamDestroy(all->stream);
  free(all);
}

static int open_all(int rank, int processes, int device, const char *id, void **made, char *why)
{
  All *all = calloc(1, sizeof *all);
  ncclUniqueId known;
  memcpy(&known, id, sizeof known);
  if (all == NULL) {
    snprintf(why, PIPELINE_NCCL_WHY, "there is no memory");
    return 1;
  }
  if (load(&all->nccl, why) || check_cuda(cudaSetDevice(device), "use the device", why) ||
      check_cuda(cudaStreamCreateWithFlags(&all->stream, cudaStreamNonBlocking), "make a stream", why) ||
      check_nccl(&all->nccl, all->nccl.comm_init_rank(&all->comm, processes, known, rank), "meet the others", why)) {
    close_all(all);
    return 1;
  }
  *made = all;
  return 0;
}

/* One that is free, for n floats. */
static Request *take_request(All *all, size_t n, char *why)
{
  Request *request = all->free;
  if (request != NULL)
    all->free = request->next;
  else if ((request = calloc(1, sizeof *request)) == NULL ||
           check_cuda(cudaEventCreateWithFlags(&request->done, cudaEventDisableTiming), "make an event", why)) {
    free(request);
    return NULL;
  }
  if (request->capacity >= n) return request;
  cudaFree(request->there);
  request->there = NULL;
  request->capacity = 0;
  if (check_cuda(cudaMalloc((void **)&request->there, n * sizeof(float)), "allocate", why)) {
    request->next = all->free;
    all->free = request;
    return NULL;
  }
  request->capacity = n;
  return request;
}

static int start_sum(void *data, float *values, size_t n, void **made, char *why)
{
  All *all = data;
  Request *request = take_request(all, n, why);
  if (request == NULL) return 1;
  *made = request;
  return check_cuda(cudaMemcpyAsync(request->there, values, n * sizeof(float), cudaMemcpyHostToDevice, all->stream),
                    "copy", why) ||
         check_nccl(&all->nccl,
                    all->nccl.all_reduce(request->there, request->there, n, ncclFloat, ncclSum, all->comm, all->stream),
                    "add up", why) ||
         check_cuda(cudaMemcpyAsync(values, request->there, n * sizeof(float), cudaMemcpyDeviceToHost, all->stream),
                    "copy", why) ||
         check_cuda(cudaEventRecord(request->done, all->stream), "record", why);
}

static int is_done(void *all, void *request)
{
  (void)all;
  return cudaEventQuery(((Request *)request)->done) != cudaErrorNotReady;
}

static int wait_for(void *data, void **taken, char *why)
{
  All *all = data;
  Request *request = *taken;
  *taken = NULL;
  int failed = check_cuda(cudaEventSynchronize(request->done), "add up", why);
  request->next = all->free;
  all->free = request;
  return failed;
}

const PipelineNcclTable *pipeline_nccl_get_table(void)
{
  static const PipelineNcclTable table = {.abi = PIPELINE_NCCL_ABI,
                                          .size = sizeof table,
                                          .make_id = make_id,
                                          .open = open_all,
                                          .close = close_all,
                                          .start_sum = start_sum,
                                          .is_done = is_done,
                                          .wait = wait_for};
  return &table;
}
