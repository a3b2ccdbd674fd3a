/* `kedge status`: everything at one look. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/command_store.h"
#include "daemon/daemon_client.h"
#include "daemon/report.h"

extern const Command command_status;

static void print_models(json_t *models)
{
  static const gchar *const headers[] = {"MODEL",        ">CHAMPION", ">VERSIONS",   ">WINDOWS",
                                         ">LABEL PANES", ">ACCURACY", ">N LABELLED", ">INCIDENTS",
                                         ">JOBS",        "STATE",     NULL};
  CommandTable *table = command_table_new(headers);
  gsize i;
  json_t *model;
  json_array_foreach (models, i, model) {
    json_t *progress = json_object_get(model, "progress");
    json_t *performance = json_object_get(json_object_get(model, "last_performance"), "performance");
    g_autofree gchar *champion = command_text(json_object_get(model, "champion"));
    g_autofree gchar *versions = command_text_count(json_object_get(model, "versions"));
    g_autofree gchar *windows = command_text_count(json_object_get(progress, "windows"));
    g_autofree gchar *panes = command_text_count(json_object_get(progress, "label_panes"));
    g_autofree gchar *accuracy = command_text_real(json_object_get(performance, "accuracy"), 4);
    g_autofree gchar *n = command_text_count(json_object_get(performance, "n"));
    g_autofree gchar *incidents = command_text_count(json_object_get(model, "incidents_open"));
    g_autofree gchar *jobs = command_text_count(json_object_get(model, "jobs_open"));
    json_t *settled = json_object_get(progress, "settled");
    const gchar *state = settled == NULL ? "no decision yet" : json_is_true(settled) ? "settled" : "deciding";
    command_table_add(table, json_string_value(json_object_get(model, "name")), champion, versions, windows, panes,
                      accuracy, n, incidents, jobs, state, NULL);
  }
  command_table_print(table);
}

static void print_shards(json_t *models)
{
  static const gchar *const headers[] = {"SHARD",          "OWNER",           ">EPOCH", ">NEXT OFFSET",
                                         ">LAG (RECORDS)", "WATERMARK (UTC)", "IDLE",   NULL};
  CommandTable *table = command_table_new(headers);
  gsize i, j, n = 0;
  json_t *model, *shard;
  json_array_foreach (models, i, model)
    json_array_foreach (json_object_get(model, "shards"), j, shard) {
      n++;
      g_autofree gchar *name =
          g_strdup_printf("%s/%" JSON_INTEGER_FORMAT, json_string_value(json_object_get(model, "name")),
                          json_integer_value(json_object_get(shard, "partition")));
      g_autofree gchar *owner = command_text(json_object_get(shard, "owner"));
      g_autofree gchar *epoch = command_text(json_object_get(shard, "epoch"));
      g_autofree gchar *next = command_text_count(json_object_get(shard, "next_offset"));
      g_autofree gchar *lag = command_text_count(json_object_get(shard, "lag_records"));
      g_autofree gchar *watermark = command_text_time(json_object_get(shard, "watermark"));
      g_autofree gchar *idle = command_text(json_object_get(shard, "idle"));
      command_table_add(table, name, owner, epoch, next, lag, watermark, idle, NULL);
    }
  if (n > 0)
    putchar('\n'), command_table_print(table);
  else
    command_table_free(table);
}

static void print_incidents(json_t *incidents)
{
  static const gchar *const headers[] = {"OPEN INCIDENT", "MODEL", "KIND", "SINCE (EVENT TIME)", "SUMMARY", NULL};
  if (json_array_size(incidents) == 0) return;
  CommandTable *table = command_table_new(headers);
  gsize i;
  json_t *incident;
  json_array_foreach (incidents, i, incident) {
    g_autofree gchar *id = command_text(json_object_get(incident, "id"));
    g_autofree gchar *model = command_text(json_object_get(incident, "model"));
    g_autofree gchar *kind = command_text(json_object_get(incident, "kind"));
    g_autofree gchar *opened = command_text_time(json_object_get(incident, "opened_at"));
    g_autofree gchar *summary = command_text(json_object_get(incident, "summary"));
    command_table_add(table, id, model, kind, opened, summary, NULL);
  }
  putchar('\n');
  command_table_print(table);
}

enum { BAR_CELLS = 20 };

static gchar *bar_text(double fraction)
{
  GString *bar = g_string_new(NULL);
  guint full = (guint)(CLAMP(fraction, 0, 1) * BAR_CELLS);
  for (guint i = 0; i < BAR_CELLS; i++) g_string_append(bar, i < full ? "█" : "·");
  g_string_append_printf(bar, " %3.0f %%", CLAMP(fraction, 0, 1) * 100);
  return g_string_free(bar, FALSE);
}

static void print_jobs(json_t *jobs)
{
  static const gchar *const headers[] = {"OPEN JOB", "MODEL", "KIND", "STATE", "STAGE", "PROGRESS", NULL};
  if (json_array_size(jobs) == 0) return;
  CommandTable *table = command_table_new(headers);
  gsize i;
  json_t *job;
  json_array_foreach (jobs, i, job) {
    json_t *progress = json_object_get(job, "progress"), *fraction = json_object_get(progress, "fraction");
    g_autofree gchar *id = command_text(json_object_get(job, "id"));
    g_autofree gchar *model = command_text(json_object_get(job, "model"));
    g_autofree gchar *kind = command_text(json_object_get(job, "kind"));
    g_autofree gchar *state = command_text(json_object_get(job, "state"));
    g_autofree gchar *stage = command_text(json_object_get(progress, "stage"));
    g_autofree gchar *bar = json_is_number(fraction) ? bar_text(json_number_value(fraction)) : g_strdup("–");
    command_table_add(table, id, model, kind, state, stage, bar, NULL);
  }
  putchar('\n');
  command_table_print(table);
}

static void print_status(json_t *status)
{
  g_autofree gchar *daemon = command_text(json_object_get(status, "daemon"));
  g_autofree gchar *leader = command_text(json_object_get(json_object_get(status, "leader"), "owner"));
  printf("store %s; leader %s; kedged %s\n\n", json_string_value(json_object_get(status, "backend")), leader, daemon);
  json_t *models = json_object_get(status, "models");
  if (json_array_size(models) == 0)
    puts("no models; `kedge model add` registers one");
  else
    print_models(models);
  print_shards(models);
  print_incidents(json_object_get(status, "incidents"));
  print_jobs(json_object_get(status, "jobs"));
}

/* The store knows what was consumed; how much the broker still holds only the daemon knows. */
static void add_lag(json_t *status, const CommandCommon *common)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Settings) settings = command_load_settings(common, &error);
  g_autofree gchar *metrics =
      settings != NULL ? daemon_client_get(settings->http.socket, settings->http.listen, "/metrics", &error) : NULL;
  json_object_set_new(status, "daemon", json_string(metrics != NULL ? "answers" : "does not answer"));
  gsize i, j;
  json_t *model, *shard;
  json_array_foreach (json_object_get(status, "models"), i, model)
    json_array_foreach (json_object_get(model, "shards"), j, shard) {
      g_autofree gchar *labels = g_strdup_printf("model=\"%s\",partition=\"%" JSON_INTEGER_FORMAT "\"",
                                                 json_string_value(json_object_get(model, "name")),
                                                 json_integer_value(json_object_get(shard, "partition")));
      double lag = metrics != NULL ? daemon_client_find_metric(metrics, "kedge_lag_records", labels) : NAN;
      json_object_set_new(shard, "lag_records", isnan(lag) ? json_null() : json_integer((json_int_t)lag));
    }
}

static json_t *make_status(RegistryStore *store, const CommandCommon *common, GError **error)
{
  json_t *status = report_status(store, error);
  if (status != NULL) add_lag(status, common);
  return status;
}

/* Redraws until interrupted; only on a terminal. */
static int follow(CommandCommon *common, RegistryStore *store, double seconds)
{
  for (;;) {
    g_autoptr(GError) error = NULL;
    json_t *status = make_status(store, common, &error);
    if (status == NULL) return command_report(common, NULL, error, print_status);
    fputs("\033[H\033[2J", stdout);
    print_status(status);
    fflush(stdout);
    json_decref(status);
    g_usleep((gulong)(seconds * G_USEC_PER_SEC));
  }
}

static int run_status(int argc, char **argv)
{
  double seconds = 0;
  const GOptionEntry entries[] = {
      {"follow", 'f', 0, G_OPTION_ARG_DOUBLE, &seconds, "draw again every S seconds (terminal only)", "S"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_status, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  if (argc != 1 || seconds < 0) return command_usage(&common, "no argument is taken, and no negative --follow");
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryStore) store = command_open_store(&common, &error);
  if (store != NULL && seconds > 0 && !common.json && isatty(STDOUT_FILENO))
    return follow(&common, store, MAX(seconds, .1));
  json_t *status = store != NULL ? make_status(store, &common, &error) : NULL;
  return command_report(&common, status, error, print_status);
}

const Command command_status = {
    .name = "status",
    .arguments = "[--follow S]",
    .summary = "models, shards, windows, open incidents and jobs at one look",
    .help =
        "Reads the store; the lag comes from kedged when it answers on its socket.\n"
        "\n"
        "--json prints {\"backend\", \"daemon\", \"leader\", \"models\": [the fields of `kedge model list` and "
        "\"shards\": [{\"partition\", \"owner\", \"epoch\", \"next_offset\", \"consumed\", \"watermark\", \"idle\", "
        "\"lag_records\"}], \"progress\", \"incidents_open\", \"jobs_open\", \"last_window\", \"last_performance\"}], "
        "\"incidents\", "
        "\"jobs\"}.",
    .run = run_status,
};
