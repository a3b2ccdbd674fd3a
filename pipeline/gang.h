/* Processes that train together, started as one: through `srun` inside of a Slurm allocation, else through `mpirun` on
 * this machine, a single one by itself. A process that dies ends the others (the starter sees to that); what is left
 * starts again, one process fewer, from its last checkpoint. */
#pragma once

#include <glib.h>

#include "pipeline/error.h"

G_BEGIN_DECLS

/* A process that has lost the others ends with it: they are worth another start. */
#define PIPELINE_GANG_LOST 75

typedef struct {
  const gchar *const *argv;                       /* program and arguments of each process, NULL-terminated */
  guint processes;                                /* at least 1 */
  guint restarts;                                 /* at the most */
  void (*tell)(const gchar *text, gpointer data); /* of each new start; or NULL */
  /* Asked several times a second; FALSE ends them as a first signal does. NULL: signals are listened to here; with it
   * they are the caller's. */
  gboolean (*goes_on)(gpointer data);
  gpointer data;
} PipelineGang;

/* What is executed to start so many: launcher, its options, "--parallel" with "mpi" (or "single") behind the arguments.
 * environment: as g_get_environ; it says whether this is a Slurm allocation. Free with g_strfreev. UNSUPPORTED: neither
 * mpirun nor srun is there. */
gchar **pipeline_gang_list_words(const PipelineGang *gang, guint processes, gchar **environment, GError **error);
/* Runs them to their end. SIGINT and SIGTERM reach every process as SIGUSR1, a second one ends them at once; they end
 * with this process. *status: their exit status, 128 + n by signal n, after the last start. UNSUPPORTED: they cannot be
 * started. */
gboolean pipeline_gang_run(const PipelineGang *gang, gint *status, GError **error);

G_END_DECLS
