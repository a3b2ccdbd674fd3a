#include "pipeline/worker_child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/error.h"

struct _PipelineChild {
  pid_t pid;
  int fd; /* of the process */
  gboolean reaped;
  int status;
};

static int spawn(const gchar *const *argv, const gchar *const *environment, pid_t *pid)
{
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  int failed = posix_spawnp(pid, argv[0], &actions, &attributes, (char *const *)argv, (char *const *)environment);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return failed;
}

/* Takes over watching; on failure the process is ended. */
static PipelineChild *watch(pid_t pid, GError **error)
{
  PipelineChild *child = g_new0(PipelineChild, 1);
  child->pid = pid;
  child->fd = pidfd_open(pid, 0);
  if (child->fd >= 0) return child;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "process %d cannot be watched: %s", (int)pid,
              g_strerror(errno));
  pipeline_child_free(child);
  return NULL;
}

G_GNUC_NORETURN static void become_child(pid_t parent, int (*run)(gpointer), gpointer user_data)
{
  sigset_t none;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1); /* it ended in between */
  setpgid(0, 0);
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  close_range(3, ~0u, 0);
  _exit(run(user_data));
}

PipelineChild *pipeline_child_fork(int (*run)(gpointer user_data), gpointer user_data, GError **error)
{
  pid_t parent = getpid(), pid = fork();
  if (pid == 0) become_child(parent, run, user_data);
  if (pid < 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "a process cannot be started: %s",
                g_strerror(errno));
    return NULL;
  }
  setpgid(pid, pid); /* here too: whoever comes first */
  return watch(pid, error);
}

PipelineChild *pipeline_child_spawn(const gchar *const *argv, const gchar *const *environment, GError **error)
{
  pid_t pid = 0;
  int failed = spawn(argv, environment, &pid);
  if (failed != 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "%s cannot be started: %s", argv[0],
                g_strerror(failed));
    return NULL;
  }
  return watch(pid, error);
}

int pipeline_child_get_fd(const PipelineChild *child)
{
  return child->fd;
}

static gchar *describe(int status)
{
  if (WIFSIGNALED(status))
    return g_strdup_printf("ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return g_strdup_printf("ended with exit status %d", WEXITSTATUS(status));
}

gboolean pipeline_child_wait(PipelineChild *child, guint timeout_ms, gchar **text)
{
  if (!child->reaped) {
    struct pollfd ended = {.fd = child->fd, .events = POLLIN};
    if (timeout_ms > 0) poll(&ended, 1, (int)MIN(timeout_ms, G_MAXINT));
    if (waitpid(child->pid, &child->status, WNOHANG) != child->pid) return FALSE;
    child->reaped = TRUE;
    /* What the child started and left behind must not go on computing for a job that is over. */
    kill(-child->pid, SIGKILL);
  }
  if (text != NULL) *text = describe(child->status);
  return TRUE;
}

void pipeline_child_terminate(PipelineChild *child)
{
  if (!child->reaped) kill(-child->pid, SIGTERM);
}

void pipeline_child_kill(PipelineChild *child)
{
  if (!child->reaped) kill(-child->pid, SIGKILL);
}

void pipeline_child_free(PipelineChild *child)
{
  if (child == NULL) return;
  if (!child->reaped) {
    kill(-child->pid, SIGKILL);
    while (waitpid(child->pid, &child->status, 0) < 0 && errno == EINTR) continue;
  }
  if (child->fd >= 0) close(child->fd);
  g_free(child);
}
