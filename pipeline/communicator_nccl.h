/* "nccl": the processes of mpirun or srun, each with a CUDA device; gradients are summed by NCCL, what is small by MPI.
 */
#pragma once

#include "pipeline/communicator.h"

G_BEGIN_DECLS

extern const PipelineCommunicatorKind pipeline_communicator_nccl;

G_END_DECLS
