/* `kedge worker`: claims jobs and runs them until it is stopped. */
#include <unistd.h>

#include "daemon/command_store.h"
#include "daemon/stop_signal.h"
#include "pipeline/job_kinds.h"

extern const Command command_worker;

typedef struct {
  gchar *name;
  gboolean once;
  gint poll_ms, heartbeat_ms, lost_ms; /* 0: from the settings */
} Options;

/* The settings' values where no option was given; a worker also runs without a
 * settings file, unless one is named. */
static gboolean fill_from_settings(const CommandCommon *common, Options *options, GError **error)
{
  g_autoptr(GError) fault = NULL;
  g_autoptr(Settings) settings = command_load_settings(common, &fault);
  if (settings == NULL && common->config != NULL) {
    g_propagate_error(error, g_steal_pointer(&fault));
    return FALSE;
  }
  if (options->poll_ms == 0) options->poll_ms = settings != NULL ? (gint)settings->worker.poll_ms : 100;
  if (options->heartbeat_ms == 0)
    options->heartbeat_ms = settings != NULL ? (gint)settings->worker.heartbeat_ms : 10000;
  if (options->lost_ms == 0) options->lost_ms = settings != NULL ? (gint)settings->worker.lost_ms : 30000;
  if (options->name == NULL) options->name = g_strdup_printf("%s:%d", g_get_host_name(), (int)getpid());
  return TRUE;
}

static gboolean work(const CommandCommon *common, const Options *options, GCancellable *stop, GError **error)
{
  g_autofree gchar *uri = command_get_store_uri(common, error);
  g_autofree gchar *artifacts = uri != NULL ? command_get_artifacts_directory(common, error) : NULL;
  if (artifacts == NULL) return FALSE;
  g_autofree gchar *program = g_file_read_link("/proc/self/exe", error);
  if (program == NULL) return FALSE;
  PipelineWorkerOptions worker = {.store_uri = uri,
                                  .artifacts = artifacts,
                                  .name = options->name,
                                  .program = program,
                                  .settings_path = common->config,
                                  .poll_ms = (guint)options->poll_ms,
                                  .heartbeat_ms = (guint)options->heartbeat_ms,
                                  .lost_ms = (guint)options->lost_ms,
                                  .once = options->once};
  return pipeline_worker_run(&worker, stop, error);
}

static int run_worker(int argc, char **argv)
{
  Options options = {0};
  const GOptionEntry entries[] = {
      {"name", 0, 0, G_OPTION_ARG_STRING, &options.name, "name of this worker (HOST:PID)", "NAME"},
      {"once", 0, 0, G_OPTION_ARG_NONE, &options.once, "end when there is nothing to do", NULL},
      {"poll-ms", 0, 0, G_OPTION_ARG_INT, &options.poll_ms, "milliseconds between looks at the queue", "MS"},
      {"heartbeat-ms", 0, 0, G_OPTION_ARG_INT, &options.heartbeat_ms, "milliseconds between signs of life", "MS"},
      {"lost-ms", 0, 0, G_OPTION_ARG_INT, &options.lost_ms, "without a sign of life a job is lost after this", "MS"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_worker, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  int status;
  if (argc != 1 || options.poll_ms < 0 || options.heartbeat_ms < 0 || options.lost_ms < 0) {
    status = command_usage(&common, "no argument is taken, and milliseconds are positive");
  } else {
    g_autoptr(GCancellable) stop = stop_signal_listen();
    g_autoptr(GError) error = NULL;
    gboolean done = fill_from_settings(&common, &options, &error) && work(&common, &options, stop, &error);
    status = done ? COMMAND_DONE : command_fail(&common, error);
    command_common_clear(&common);
  }
  g_free(options.name);
  return status;
}

const Command command_worker = {
    .name = "worker",
    .arguments = "[--name NAME] [--once] [--poll-ms MS] [--heartbeat-ms MS] [--lost-ms MS]",
    .summary = "claim jobs and run them",
    .help = "Scoring of versions is done in the worker itself; every other job runs as `kedge job run` in a process "
            "group of its own. The name must be unique among the workers that live; a worker that is started again "
            "under its former name takes its orphaned jobs back at once, other jobs are rescued when their heartbeat "
            "has stood still for --lost-ms. SIGTERM stops it: a running job goes back to the queue and is resumed from "
            "its checkpoint by the next worker. What is not given comes from the settings' section \"worker\".",
    .run = run_worker,
};
