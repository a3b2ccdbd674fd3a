/* What libkedge-mpi.so offers: MPI as a table of plain C functions, so that the programs do not need MPI to run. Loaded
 * by pipeline/communicator_mpi.c. Functions that can fail return 0, or a code of MPI's whose text `describe` has. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PIPELINE_MPI_ABI 1u
#define PIPELINE_MPI_SYMBOL "pipeline_mpi_get_table"

typedef struct {
  uint32_t abi, size; /* PIPELINE_MPI_ABI, sizeof(PipelineMpiTable) */
  /* Once a program. *rank in [0, *processes). */
  int (*open)(int *rank, int *processes);
  void (*close)(void);
  /* Sums n elements over all processes in place (doubles: of double, else of float). *request is to be freed by wait,
   * or by a poll that sets *done. n ≤ PIPELINE_MPI_MAX_ELEMENTS. */
  int (*start_sum)(void *values, size_t n, int doubles, void **request);
  int (*poll)(void **request, int *done);
  int (*wait)(void **request);
  int (*broadcast)(void *bytes, size_t n, int root);
  int (*barrier)(void);
  void (*abort)(int status); /* ends all processes; does not return */
  void (*describe)(int code, char *text, size_t size);
} PipelineMpiTable;

#define PIPELINE_MPI_MAX_ELEMENTS ((size_t)1 << 30)

const PipelineMpiTable *pipeline_mpi_get_table(void);
