/* `kedge job train`: one of the processes that train a job's model together. */
#include <string.h>

#include "daemon/command_train_internal.h"
#include "pipeline/gang.h"
#include "pipeline/job_gang.h"

extern const Command command_job_train;

static int run_member(CommandCommon *common, const gchar *task, PipelineCommunicator *all)
{
  g_autoptr(GError) error = NULL;
  command_train_signals_begin();
  gboolean done = pipeline_job_gang_member(task, all, command_train_signals_came, NULL, &error);
  command_train_signals_end();
  if (done) return COMMAND_DONE;
  /* The file that it left says it to the job; here it is said to who looks at the worker's log. */
  if (all->rank == 0 || !g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_PEER)) command_fail(common, error);
  return COMMAND_FAILED;
}

static int run_job_train(int argc, char **argv)
{
  g_autofree gchar *kind = NULL;
  g_autoptr(GError) error = NULL;
  CommandCommon common;
  const GOptionEntry entries[] = {{"parallel", 0, 0, G_OPTION_ARG_STRING, &kind,
                                   "how the processes talk: mpi, or single for one alone (default)", "KIND"},
                                  G_OPTION_ENTRY_NULL};
  if (!command_parse(&command_job_train, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  if (argc != 2) return command_usage(&common, "one FILE is needed");
  PipelineCommunicator *all = pipeline_communicator_open(kind != NULL ? kind : "single", &error);
  int status = all != NULL ? run_member(&common, argv[1], all) : command_fail(&common, error);
  command_common_clear(&common);
  if (all != NULL && status != COMMAND_DONE && all->apart)
    pipeline_communicator_abort(all, all->lost ? PIPELINE_GANG_LOST : status);
  pipeline_communicator_close(all);
  return status;
}

const Command command_job_train = {
    .name = "job train",
    .arguments = "FILE [--parallel KIND]",
    .summary = "one of the processes of a job's training (jobs with processes above 1 start these)",
    .help = "FILE is task.json of the job's folder beside the artifacts: options, with the rows beside it. The first\n"
            "process leaves the model there, one that fails why. SIGUSR1 ends them after the same batch.",
    .run = run_job_train,
};
