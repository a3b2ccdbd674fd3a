/* Threads of one process in the place of processes that train together: a second implementation of
 * pipeline/communicator.h. Sums run in the order of the ranks. Stricter than MPI: values are not-a-number from the
 * start of a sum to its wait, so that who reads or writes them too early shows it, and calls that do not match fail. */
#pragma once

#include "pipeline/communicator.h"

typedef struct _ThreadGang ThreadGang;

/* Runs `run` in n threads at once, each with its communicator; returns when all have. */
void thread_gang_run(guint n, void (*run)(PipelineCommunicator *communicator, gpointer data), gpointer data);
/* Sums that rank 0 has started so far, as "d2 f640 f16": type and number of elements. New. */
gchar *thread_gang_describe(PipelineCommunicator *communicator);
