/* What libkedge-nccl.so offers: sums over processes with a CUDA device each, by NVIDIA's NCCL, as a table of plain C
 * functions. Loaded by pipeline/communicator_nccl.c; libnccl.so.2 itself is loaded by `open`. Functions that can fail
 * return 0, or 1 with the reason, one line, in why [PIPELINE_NCCL_WHY]. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PIPELINE_NCCL_ABI 1u
#define PIPELINE_NCCL_SYMBOL "pipeline_nccl_get_table"
#define PIPELINE_NCCL_ID 128 /* bytes */
#define PIPELINE_NCCL_WHY 256

typedef struct {
  uint32_t abi, size; /* PIPELINE_NCCL_ABI, sizeof(PipelineNcclTable) */
  /* On the first process: what the others need to find it. */
  int (*make_id)(char *id, char *why);
  /* On all of them with the same id; waits for the others. device: its number. */
  int (*open)(int rank, int processes, int device, const char *id, void **all, char *why);
  void (*close)(void *all);
  /* Sums n floats of the host in place, in the device's memory on the way. *request is to be freed by wait. */
  int (*start_sum)(void *all, float *values, size_t n, void **request, char *why);
  int (*is_done)(void *all, void *request); /* wait will not wait */
  int (*wait)(void *all, void **request, char *why);
} PipelineNcclTable;

__attribute__((visibility("default"))) const PipelineNcclTable *pipeline_nccl_get_table(void);
