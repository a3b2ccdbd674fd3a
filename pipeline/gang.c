#include "pipeline/gang.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <glib-unix.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* --- what is executed --------------------------------------------------------------------------------------------- */

/* Unless the user says otherwise: cores are shared with others, so waiting yields and nobody is bound; every process
 * has one thread; memory of other processes is not read directly, which containers forbid. */
static const struct {
  const gchar *name, *value;
} settings[] = {{"OMP_NUM_THREADS", "1"},
                {"OPENBLAS_NUM_THREADS", "1"},
                {"OMPI_MCA_mpi_yield_when_idle", "1"},
                {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
                {"OMPI_MCA_hwloc_base_binding_policy", "none"},
                {"OMPI_MCA_orte_execute_quiet", "1"}, /* what went wrong is said by who knows it */
                {"OMPI_MCA_btl_vader_single_copy_mechanism", "none"}};

/* In an allocation, and not in a step of it already. */
static gboolean is_allocation(gchar **environment)
{
  return g_environ_getenv(environment, "SLURM_JOB_ID") != NULL &&
         g_environ_getenv(environment, "SLURM_STEP_ID") == NULL;
}

gchar **pipeline_gang_list_words(const PipelineGang *gang, guint processes, gchar **environment, GError **error)
{
  gboolean slurm = is_allocation(environment);
  const gchar *launcher = processes == 1 ? NULL : slurm ? "srun" : "mpirun";
  g_autofree gchar *found = launcher != NULL ? g_find_program_in_path(launcher) : NULL;
  if (launcher != NULL && found == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "%s is not there: %u processes need %s", launcher,
                processes, slurm ? "Slurm's client" : "Open MPI (Debian: openmpi-bin)");
    return NULL;
  }
  GPtrArray *words = g_ptr_array_new();
  if (launcher != NULL) {
    g_ptr_array_add(words, g_steal_pointer(&found));
    g_ptr_array_add(words, g_strdup("-n"));
    g_ptr_array_add(words, g_strdup_printf("%u", processes));
    if (slurm) {
      g_ptr_array_add(words, g_strdup("--mpi=pmix"));
      g_ptr_array_add(words, g_strdup("--kill-on-bad-exit=1"));
    } else if (geteuid() == 0) { /* in a container there often is nobody else */
      g_ptr_array_add(words, g_strdup("--allow-run-as-root"));
    }
  }
  for (guint i = 0; gang->argv[i] != NULL; i++) g_ptr_array_add(words, g_strdup(gang->argv[i]));
  g_ptr_array_add(words, g_strdup("--parallel"));
  g_ptr_array_add(words, g_strdup(processes == 1 ? "single" : "mpi"));
  g_ptr_array_add(words, NULL);
  return (gchar **)g_ptr_array_free(words, FALSE);
}

/* --- one start ---------------------------------------------------------------------------------------------------- */

#define ASK_MILLISECONDS 200

typedef struct {
  const PipelineGang *gang;
  GMainLoop *loop;
  GPid pid;
  gint status;
  guint signals; /* that have come */
} Running;

static gboolean forward(gpointer data)
{
  Running *running = data;
  kill(running->pid, running->signals++ == 0 ? SIGUSR1 : SIGTERM);
  return G_SOURCE_CONTINUE;
}

static gboolean ask(gpointer data)
{
  Running *running = data;
  if (running->signals == 0 && !running->gang->goes_on(running->gang->data)) forward(running);
  return G_SOURCE_CONTINUE;
}

static void note_end(GPid pid, gint status, gpointer data)
{
  Running *running = data;
  running->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  g_spawn_close_pid(pid);
  g_main_loop_quit(running->loop);
}

/* Between fork and exec: a group of its own, so that a terminal's Ctrl-C comes here alone, and no life after this one.
 */
static void set_up_child(gpointer data)
{
  sigset_t none;
  (void)data;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL); /* the caller may have blocked what shall reach them */
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static gboolean run_once(gchar **words, gchar **environment, Running *running, GError **error)
{
  g_autoptr(GError) cause = NULL;
  if (!g_spawn_async(NULL, words, environment, G_SPAWN_DO_NOT_REAP_CHILD, set_up_child, NULL, &running->pid, &cause)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "the processes cannot be started: %s",
                cause->message);
    return FALSE;
  }
  running->loop = g_main_loop_new(NULL, FALSE);
  gboolean asks = running->gang->goes_on != NULL;
  guint sources[] = {asks ? g_timeout_add(ASK_MILLISECONDS, ask, running) : g_unix_signal_add(SIGINT, forward, running),
                     asks ? 0 : g_unix_signal_add(SIGTERM, forward, running)};
  g_child_watch_add(running->pid, note_end, running);
  g_main_loop_run(running->loop);
  for (guint i = 0; i < G_N_ELEMENTS(sources); i++)
    if (sources[i] > 0) g_source_remove(sources[i]);
  g_main_loop_unref(running->loop);
  return TRUE;
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static gboolean has_died(gint status)
{
  return status == PIPELINE_GANG_LOST || status >= 128;
}

gboolean pipeline_gang_run(const PipelineGang *gang, gint *status, GError **error)
{
  g_auto(GStrv) environment = g_get_environ();
  Running running = {.gang = gang};
  guint processes = gang->processes;
  for (guint i = 0; i < G_N_ELEMENTS(settings); i++)
    environment = g_environ_setenv(environment, settings[i].name, settings[i].value, FALSE);
  for (guint restart = 0;; restart++) {
    g_auto(GStrv) words = pipeline_gang_list_words(gang, processes, environment, error);
    if (words == NULL || !run_once(words, environment, &running, error)) return FALSE;
    *status = running.status;
    if (!has_died(running.status) || running.signals > 0 || restart >= gang->restarts) return TRUE;
    guint left = MAX(processes - 1, 1);
    g_autofree gchar *text = g_strdup_printf("one of %u processes died (exit status %d); starting again with %u",
                                             processes, running.status, left);
    if (gang->tell != NULL) gang->tell(text, gang->data);
    processes = left;
  }
}
