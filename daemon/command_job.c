/* `kedge job list | show | follow | cancel | run`. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command_store.h"
#include "daemon/report.h"
#include "daemon/stop_signal.h"
#include "pipeline/job_kinds.h"

extern const Command command_job_list, command_job_show, command_job_follow, command_job_cancel, command_job_run;

#define LIST_LIMIT 50

static void print_nothing(json_t *report)
{
  (void)report;
}

/* --- list ------------------------------------------------------------------------------------------------------- */

static gchar *progress_text(json_t *job)
{
  json_t *progress = json_object_get(job, "progress"), *error = json_object_get(job, "error");
  const gchar *state = json_string_value(json_object_get(job, "state"));
  if (g_strcmp0(state, "failed") == 0) return command_text(error);
  if (g_strcmp0(state, "running") != 0 || progress == NULL) return g_strdup("");
  const gchar *stage = json_string_value(json_object_get(progress, "stage"));
  return g_strdup_printf("%s %.0f %%", stage != NULL ? stage : "",
                         100 * json_number_value(json_object_get(progress, "fraction")));
}

static void print_jobs(json_t *jobs)
{
  static const gchar *const headers[] = {"JOB",       "MODEL",         "KIND",     "STATE",
                                         ">ATTEMPTS", "CREATED (UTC)", "PROGRESS", NULL};
  CommandTable *table = command_table_new(headers);
  gsize i;
  json_t *job;
  json_array_foreach (jobs, i, job) {
    g_autofree gchar *id = command_text(json_object_get(job, "id"));
    g_autofree gchar *model = command_text(json_object_get(job, "model"));
    g_autofree gchar *kind = command_text(json_object_get(job, "kind"));
    g_autofree gchar *state = command_text(json_object_get(job, "state"));
    g_autofree gchar *attempts = command_text(json_object_get(job, "attempts"));
    g_autofree gchar *created = command_text_time(json_object_get(job, "created_at"));
    g_autofree gchar *progress = progress_text(job);
    command_table_add(table, id, model, kind, state, attempts, created, progress, NULL);
  }
  command_table_print(table);
}

static int run_list(int argc, char **argv)
{
  g_autofree gchar *model = NULL, *state = NULL;
  gint limit = LIST_LIMIT;
  const GOptionEntry entries[] = {
      {"model", 0, 0, G_OPTION_ARG_STRING, &model, "only this model's", "NAME"},
      {"state", 0, 0, G_OPTION_ARG_STRING, &state, "queued, running, done, failed or cancelled", "STATE"},
      {"limit", 0, 0, G_OPTION_ARG_INT, &limit, "the newest N (50; 0: all)", "N"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_job_list, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  if (argc != 1 || limit < 0) return command_usage(&common, "no argument is taken, and --limit is at least 0");
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryStore) store = command_open_store(&common, &error);
  json_t *report = store != NULL ? report_jobs(store, model, state, (guint)limit, &error) : NULL;
  return command_report(&common, report, error, print_jobs);
}

const Command command_job_list = {
    .name = "job list",
    .arguments = "[--model NAME] [--state STATE] [--limit N]",
    .summary = "list the jobs, newest first",
    .help = "--json prints [{\"id\", \"model\", \"kind\", \"state\", \"incident\", \"worker\", \"attempts\", "
            "\"progress\", \"result\", \"error\", \"created_at\", \"started_at\", \"finished_at\", "
            "\"predicted_seconds\"}].",
    .run = run_list,
};

/* --- show ------------------------------------------------------------------------------------------------------- */

static void print_job(json_t *job)
{
  command_print_fields(job, "log");
  gsize i;
  json_t *value;
  json_array_foreach (json_object_get(job, "log"), i, value) printf("%s\n", json_string_value(value));
}

static int run_show(int argc, char **argv)
{
  CommandCommon common;
  if (!command_parse(&command_job_show, &argc, &argv, NULL, &common)) return COMMAND_USAGE;
  if (argc != 2) return command_usage(&common, "one job ID is needed");
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryStore) store = command_open_store(&common, &error);
  json_t *report = store != NULL ? report_job(store, argv[1], &error) : NULL;
  return command_report(&common, report, error, print_job);
}

const Command command_job_show = {
    .name = "job show",
    .arguments = "ID",
    .summary = "show one job with its spec, result and log",
    .help = "--json prints the fields of `kedge job list`, \"spec\" and \"log\".",
    .run = run_show,
};

/* --- follow ----------------------------------------------------------------------------------------------------- */

static gboolean is_open(const RegistryJob *job)
{
  return g_str_equal(job->state, "queued") || g_str_equal(job->state, "running");
}

/* The running job that was created last, else the queued one; new, or NULL without an error: none is open. */
static gchar *find_open(RegistryStore *store, GError **error)
{
  static const gchar *const states[] = {"running", "queued"};
  for (guint i = 0; i < G_N_ELEMENTS(states); i++) {
    g_autoptr(GPtrArray) jobs = registry_job_list(store, NULL, states[i], 1, error);
    if (jobs == NULL) return NULL;
    if (jobs->len > 0) return g_strdup(((const RegistryJob *)g_ptr_array_index(jobs, 0))->id);
  }
  return NULL;
}

static void draw(CommandProgress *bar, const RegistryJob *job)
{
  json_t *progress = job->progress != NULL ? json_loads(job->progress, 0, NULL) : NULL;
  const gchar *stage = json_string_value(json_object_get(progress, "stage"));
  g_autoptr(GString) text = g_string_new(stage != NULL ? stage : job->state);
  json_t *epoch = json_object_get(progress, "epoch"), *loss = json_object_get(progress, "loss");
  json_t *metric = json_object_get(progress, "metric"), *rate = json_object_get(progress, "samples_per_second");
  if (epoch != NULL)
    g_string_append_printf(text, ", epoch %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT, json_integer_value(epoch),
                           json_integer_value(json_object_get(progress, "epochs")));
  if (json_is_number(loss)) g_string_append_printf(text, ", loss %.4f", json_number_value(loss));
  if (json_is_number(metric)) g_string_append_printf(text, ", metric %.4f", json_number_value(metric));
  if (json_is_number(rate)) g_string_append_printf(text, ", %.0f rows/s", json_number_value(rate));
  command_progress_update(bar, json_number_value(json_object_get(progress, "fraction")), text->str);
  json_decref(progress);
}

/* Until the job has ended; the job then, or NULL. */
static RegistryJob *follow(RegistryStore *store, const CommandCommon *common, const gchar *id, guint poll_ms,
                           GError **error)
{
  RegistryJob *job = registry_job_get(store, id, error);
  if (job == NULL) return NULL;
  g_autofree gchar *title = g_strdup_printf("%s %s", job->kind, job->id);
  CommandProgress *bar = command_progress_new(common, title);
  while (job != NULL && is_open(job)) {
    draw(bar, job);
    g_usleep((gulong)poll_ms * 1000);
    registry_job_free(job);
    job = registry_job_get(store, id, error);
  }
  g_autofree gchar *end = job == NULL ? g_strdup("lost sight of it")
                          : job->error != NULL && !g_str_equal(job->state, "done")
                              ? g_strdup_printf("%s: %s", job->state, job->error)
                              : g_strdup(job->state);
  command_progress_finish(bar, end);
  return job;
}

static int run_follow(int argc, char **argv)
{
  gint poll_ms = 200;
  const GOptionEntry entries[] = {
      {"poll-ms", 0, 0, G_OPTION_ARG_INT, &poll_ms, "milliseconds between looks (200; at least 2)", "MS"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_job_follow, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  if (argc > 2 || poll_ms < 2) return command_usage(&common, "at most one job ID is taken; --poll-ms is at least 2");
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryStore) store = command_open_store(&common, &error);
  g_autofree gchar *id = store == NULL ? NULL : argc == 2 ? g_strdup(argv[1]) : find_open(store, &error);
  if (id == NULL && error == NULL)
    g_set_error(&error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND, "no job is queued or running; name one by its ID");
  g_autoptr(RegistryJob) job = id != NULL ? follow(store, &common, id, (guint)poll_ms, &error) : NULL;
  gboolean done = job != NULL && g_str_equal(job->state, "done");
  json_t *report = job != NULL ? report_job(store, id, &error) : NULL;
  int status = command_report(&common, report, error, print_nothing);
  return status == COMMAND_DONE && !done ? COMMAND_FAILED : status;
}

const Command command_job_follow = {
    .name = "job follow",
    .arguments = "[ID] [--poll-ms MS]",
    .summary = "follow a job to its end with a live bar",
    .help = "Without ID: the running job that was created last, else the queued one. The exit status is 0 when the job "
            "is done and 1 when it failed or was cancelled. --json prints the job at its end as `kedge job show` does.",
    .run = run_follow,
};

/* --- cancel ----------------------------------------------------------------------------------------------------- */

static int run_cancel(int argc, char **argv)
{
  CommandCommon common;
  if (!command_parse(&command_job_cancel, &argc, &argv, NULL, &common)) return COMMAND_USAGE;
  if (argc != 2) return command_usage(&common, "one job ID is needed");
  g_autoptr(GError) error = NULL;
  g_autofree gchar *actor = command_get_actor();
  g_autoptr(RegistryStore) store = command_open_store(&common, &error);
  json_t *report = NULL;
  if (store != NULL && registry_job_cancel(store, argv[1], actor, &error)) report = report_job(store, argv[1], &error);
  return command_report(&common, report, error, print_nothing);
}

const Command command_job_cancel = {
    .name = "job cancel",
    .arguments = "ID",
    .summary = "cancel a queued or running job",
    .help = "A running job is asked to stop; its worker ends its whole process group by TERM and, 30 seconds later, by "
            "KILL. Its checkpoint stays. --json prints the job as `kedge job show` does.",
    .run = run_cancel,
};

/* --- run (what workers start) ------------------------------------------------------------------------------------- */

static gboolean run_claimed(const CommandCommon *common, const gchar *id, gint64 token, gint heartbeat_ms,
                            GCancellable *stop, GError **error)
{
  g_autofree gchar *uri = command_get_store_uri(common, error);
  g_autofree gchar *folder = uri != NULL ? command_get_artifacts_directory(common, error) : NULL;
  if (folder == NULL) return FALSE;
  g_autoptr(RegistryStore) store = registry_store_open(uri, error);
  g_autoptr(RegistryArtifacts) artifacts = store != NULL ? registry_artifacts_open(folder, error) : NULL;
  if (artifacts == NULL) return FALSE;
  g_autofree gchar *state = pipeline_job_state_directory(folder);
  PipelineJobRunOptions options = {.store_uri = uri, .state_directory = state, .heartbeat_ms = (guint)heartbeat_ms};
  return pipeline_job_run(store, artifacts, id, token, &options, stop, error);
}

static int run_run(int argc, char **argv)
{
  gint64 token = 0;
  gint heartbeat_ms = 10000;
  const GOptionEntry entries[] = {
      {"token", 0, 0, G_OPTION_ARG_INT64, &token, "fencing token of the claim", "N"},
      {"heartbeat", 0, 0, G_OPTION_ARG_INT, &heartbeat_ms, "milliseconds between signs of life (10000)", "MS"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_job_run, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  if (argc != 2 || token <= 0 || heartbeat_ms < 1)
    return command_usage(&common, "a job ID and --token N of its claim are needed");
  g_autoptr(GCancellable) stop = stop_signal_listen();
  g_autoptr(GError) error = NULL;
  gboolean ran = run_claimed(&common, argv[1], token, heartbeat_ms, stop, &error);
  int status = ran ? COMMAND_DONE : command_fail(&common, error);
  command_common_clear(&common);
  return status;
}

const Command command_job_run = {
    .name = "job run",
    .arguments = "ID --token N [--heartbeat MS]",
    .summary = "run a claimed job in this process (started by workers)",
    .help = "Workers start this for every job that they do not do themselves; a batch system can run the same command. "
            "The token is the one that the claim gave: a result with a token that is no longer valid is refused. The "
            "process dies with the process that started it. SIGTERM stops it; training leaves a checkpoint in the "
            "folder \"jobs\" beside the artifacts, from which the next attempt goes on with the same result. The exit "
            "status is 0 when the outcome (also a failure of the job itself) is stored.",
    .run = run_run,
};
