/* Processes that train together: sums of what each has, one visible table of ways to talk (communicator.c). Every
 * process calls the same functions in the same order with the same sizes; all get the same bits. One thread a process.
 *
 *     g_autoptr(PipelineCommunicator) all = pipeline_communicator_open("mpi", &error);
 *     PipelineSum *sum = pipeline_communicator_start(all, PIPELINE_SUM_FLOATS, gradients, n, &error);
 *     …                                                       // meanwhile something else
 *     pipeline_communicator_wait(all, &sum, &error);          // gradients hold the sums over all processes
 *
 * A process that dies is not noticed here: whoever started the processes (mpirun, srun) ends the others.
 */
#pragma once

#include <glib.h>

#include "pipeline/error.h"

G_BEGIN_DECLS

typedef struct _PipelineCommunicator PipelineCommunicator;
typedef void PipelineSum; /* one that is under way; of the kind of communicator */
typedef enum { PIPELINE_SUM_FLOATS, PIPELINE_SUM_DOUBLES } PipelineSumType;

typedef struct {
  const gchar *name, *summary;
  gboolean (*check)(GError **error);                                    /* what it needs is installed; NULL: nothing */
  gboolean (*open)(PipelineCommunicator *communicator, GError **error); /* sets rank, size and state */
  void (*close)(PipelineCommunicator *communicator);
  gboolean (*start)(PipelineCommunicator *communicator, PipelineSumType type, gpointer values, gsize n,
                    PipelineSum **sum, GError **error);
  /* Lets it go on without waiting; *sum becomes NULL when it is done. */
  gboolean (*poll)(PipelineCommunicator *communicator, PipelineSum **sum, GError **error);
  gboolean (*wait)(PipelineCommunicator *communicator, PipelineSum **sum, GError **error);
  gboolean (*broadcast)(PipelineCommunicator *communicator, gpointer bytes, gsize n, guint root, GError **error);
  gboolean (*barrier)(PipelineCommunicator *communicator, GError **error);
  void (*abort)(PipelineCommunicator *communicator, gint status); /* NULL: this process alone ends */
} PipelineCommunicatorKind;

struct _PipelineCommunicator {
  const PipelineCommunicatorKind *kind;
  guint rank, size; /* rank in [0, size) */
  gboolean apart;   /* this process has left the others in the middle of something: only abort ends all */
  gboolean lost;    /* the others cannot be reached any more */
  gpointer state;
};

extern const PipelineCommunicatorKind *const pipeline_communicator_kinds[]; /* NULL-terminated */
extern const PipelineCommunicatorKind pipeline_communicator_single, pipeline_communicator_mpi;

/* "single": this process alone; "mpi": those that mpirun or srun started. INVALID lists the known ones; UNSUPPORTED in
 * one line: what is missing. Once a program for mpi. */
PipelineCommunicator *pipeline_communicator_open(const gchar *name, GError **error);
/* Whether what such processes need is on this machine: the errors of open that come before anything is started. */
gboolean pipeline_communicator_check(const gchar *name, GError **error);
/* Waits for the others where the kind asks for it. */
void pipeline_communicator_close(PipelineCommunicator *communicator);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineCommunicator, pipeline_communicator_close)

/* Sums values [n] over the processes in place; they stay the callee's until it is done. FALSE: UNSUPPORTED, the others
 * cannot be reached. */
gboolean pipeline_communicator_start(PipelineCommunicator *communicator, PipelineSumType type, gpointer values, gsize n,
                                     PipelineSum **sum, GError **error);
/* Both take *sum NULL: it is done already. */
gboolean pipeline_communicator_poll(PipelineCommunicator *communicator, PipelineSum **sum, GError **error);
gboolean pipeline_communicator_wait(PipelineCommunicator *communicator, PipelineSum **sum, GError **error);
/* The same and waits. */
gboolean pipeline_communicator_sum_doubles(PipelineCommunicator *communicator, double *values, gsize n, GError **error);
gboolean pipeline_communicator_broadcast(PipelineCommunicator *communicator, gpointer bytes, gsize n, guint root,
                                         GError **error);
gboolean pipeline_communicator_barrier(PipelineCommunicator *communicator, GError **error);
/* Ends all processes with this exit status; does not return. */
void pipeline_communicator_abort(PipelineCommunicator *communicator, gint status) G_GNUC_NORETURN;

/* A step that every process must have done: TRUE on all when it was done everywhere. Else FALSE on all; the lowest of
 * those that failed keeps its error, those of the others are replaced by PEER ("process 2 says why"). communicator
 * NULL: returns `done`. */
gboolean pipeline_communicator_agree(PipelineCommunicator *communicator, gboolean done, GError **error);
/* All processes have the same text; else INVALID on the first, PEER on the others, saying so: `what` is "rows", for
 * example. */
gboolean pipeline_communicator_compare(PipelineCommunicator *communicator, const gchar *text, const gchar *what,
                                       GError **error);

G_END_DECLS
