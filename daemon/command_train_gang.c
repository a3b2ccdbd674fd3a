/* `kedge train --processes N` starts N processes of itself, `--parallel mpi` is one of them. */
#include <stdio.h>
#include <string.h>

#include "daemon/command_train_internal.h"
#include "pipeline/gang.h"

void command_train_gang_entries(TrainArguments *a, GArray *entries)
{
  const GOptionEntry own[] = {
      {"processes", 0, 0, G_OPTION_ARG_INT, &a->processes,
       "train on the graph by N processes (mpirun; inside of a Slurm allocation srun), each with a part of every batch",
       "N"},
      {"restarts", 0, 0, G_OPTION_ARG_INT, &a->restarts,
       "with --processes: new starts, each with one process fewer, after one has died (default N - 1)", "R"},
      {"parallel", 0, 0, G_OPTION_ARG_STRING, &a->parallel,
       "this is one of the processes that mpirun or srun started: mpi, or nccl with a CUDA device each (single: one "
       "alone)",
       "KIND"}};
  g_array_append_vals(entries, own, G_N_ELEMENTS(own));
}

const gchar *command_train_gang_check(const TrainArguments *a)
{
  if (a->restarts >= 0 && a->processes == 0) return "--restarts goes with --processes";
  if (a->processes == 0 && !a->parallel) return NULL;
  if (a->processes < 0 || a->processes > 1024) return "--processes must be from 1 to 1024";
  if (a->processes > 0 && a->parallel) return "--processes starts the processes of which --parallel is one";
  if (g_str_equal(a->data, "-")) return "several processes cannot read their rows from standard input; name a file";
  if (a->calibrate_only || a->unlabelled || a->split || a->transform || a->clean.what)
    return "--processes and --parallel do not go with --calibrate-only, --unlabelled, --split, --transform and --clean";
  if (a->harden.method || a->adversarial_epsilon > 0)
    return "adversarial training is for one process: leave out --processes and --parallel";
  return NULL;
}

/* --- the starter -------------------------------------------------------------------------------------------------- */

static void tell(const gchar *text, gpointer data)
{
  const TrainArguments *a = data;
  if (a->checkpoint)
    fprintf(stderr, "kedge train: %s from %s\n", text, a->checkpoint);
  else
    fprintf(stderr, "kedge train: %s from the first row, for there is no --checkpoint\n", text);
}

/* argv of this command (argv[0]: its name) without what is for the starter. */
static gchar **list_arguments(const gchar *program, char **argv)
{
  static const gchar *const own[] = {"--processes", "--restarts"};
  GPtrArray *words = g_ptr_array_new();
  g_ptr_array_add(words, g_strdup(program));
  for (guint i = 0; argv[i] != NULL; i++) {
    gboolean mine = FALSE;
    for (guint k = 0; !mine && k < G_N_ELEMENTS(own); k++) {
      gsize length = strlen(own[k]);
      mine = strncmp(argv[i], own[k], length) == 0 && (argv[i][length] == '\0' || argv[i][length] == '=');
      if (mine && argv[i][length] == '\0' && argv[i + 1] != NULL) i++;
    }
    if (!mine) g_ptr_array_add(words, g_strdup(argv[i]));
  }
  g_ptr_array_add(words, NULL);
  return (gchar **)g_ptr_array_free(words, FALSE);
}

int command_train_gang_start(CommandCommon *common, TrainArguments *a, char **argv)
{
  g_autofree gchar *program = g_file_read_link("/proc/self/exe", NULL);
  g_auto(GStrv) arguments = list_arguments(program ? program : "kedge", argv);
  const PipelineGang gang = {.argv = (const gchar *const *)arguments,
                             .processes = (guint)a->processes,
                             .restarts = (guint)(a->restarts < 0 ? a->processes - 1 : a->restarts),
                             .tell = tell,
                             .data = a};
  g_autoptr(GError) error = NULL;
  int status = COMMAND_FAILED;
  if (!pipeline_gang_run(&gang, &status, &error)) status = command_fail(common, error);
  command_common_clear(common);
  return status > COMMAND_NO ? COMMAND_FAILED : status;
}

/* --- one of the processes ----------------------------------------------------------------------------------------- */

gboolean command_train_leads(const TrainArguments *a)
{
  return !a->communicator || a->communicator->rank == 0;
}

/* What all of them know is said by the first; what happened to one alone, by that one. */
static gboolean says(const TrainArguments *a, const GError *error)
{
  return command_train_leads(a) || !(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_PEER) ||
                                     g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_DIVERGED) ||
                                     g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED));
}

int command_train_gang_member(CommandCommon *common, TrainArguments *a)
{
  g_autoptr(GError) error = NULL;
  a->communicator = pipeline_communicator_open(a->parallel, &error);
  if (!a->communicator) {
    if (!g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_PEER))
      return command_report(common, NULL, error, command_train_print);
    command_common_clear(common);
    return COMMAND_FAILED;
  }
  PipelineCommunicator *all = a->communicator;
  if (!command_train_leads(a)) common->quiet = TRUE;
  json_t *report = command_train_execute(common, a, "train", &error);
  if (error && !command_train_leads(a)) g_prefix_error(&error, "process %u of %u: ", all->rank + 1, all->size);
  int status = error ? COMMAND_FAILED : COMMAND_DONE;
  if (report || (error && says(a, error)))
    status = command_report(common, report, error, command_train_print);
  else
    command_common_clear(common);
  fflush(NULL);
  if (status != COMMAND_DONE && all->apart) pipeline_communicator_abort(all, all->lost ? PIPELINE_GANG_LOST : status);
  pipeline_communicator_close(all);
  a->communicator = NULL;
  return status;
}
