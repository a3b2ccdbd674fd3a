/* Sums over the processes of one machine, through memory that they share: MPI's own need a round of messages a step and
 * go on only while somebody asks for them, which costs more than a small model's step. Every process lays its values
 * down and adds up what all laid down, in the order of their ranks, so that all get the same bits. Sums are cut into
 * pieces; pieces go through a ring of slots in the order of the starts, which is the same everywhere. Plain C over a
 * block of memory: nothing of MPI's (plugin.c), and threads can stand for processes (tests/unit/shared_sum_test.c). */
#pragma once

#include <stddef.h>

typedef struct PipelineSharedSums PipelineSharedSums; /* a process's view of the block; one thread each */
typedef struct PipelineSharedSum PipelineSharedSum;   /* one sum that is under way */

/* Bytes of the block for so many processes (at least 1). */
size_t pipeline_shared_sums_size(unsigned processes);
/* block: of that size, zero when the first process comes, on a boundary of 64 bytes; borrowed. rank in [0, processes).
 * idle: called at least every tenth of a second while this process waits, with data; what it returns ends the wait when
 * it is not 0. NULL: memory. */
PipelineSharedSums *pipeline_shared_sums_new(void *block, unsigned rank, unsigned processes, int (*idle)(void *data),
                                             void *data);
void pipeline_shared_sums_free(PipelineSharedSums *sums);

/* Sums values [n] of float (or of double) over the processes, in place: they are the callee's until it is done. Does
 * not wait. NULL: memory. */
PipelineSharedSum *pipeline_shared_sum_start(PipelineSharedSums *sums, void *values, size_t n, int doubles);
/* Goes on as far as the others are; *sum is freed and becomes NULL when it is done. */
void pipeline_shared_sum_poll(PipelineSharedSums *sums, PipelineSharedSum **sum);
/* Waits; *sum is freed and becomes NULL. 0, or what idle said. */
int pipeline_shared_sum_wait(PipelineSharedSums *sums, PipelineSharedSum **sum);
