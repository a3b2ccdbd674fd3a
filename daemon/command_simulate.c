/* `kedge simulate`: known benchmark streams or a file, as a CSV or as a model's traffic with delayed labels. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command_store.h"
#include "daemon/leader_internal.h"
#include "daemon/simulate_feed.h"
#include "daemon/simulate_story.h"
#include "daemon/simulate_streams.h"
#include "pipeline/csv.h"
#include "pipeline/model_spec.h"
#include "pipeline/output_file.h"

extern const Command command_simulate;

/* Event time of the first row sent: 2026-01-01T00:00:00Z, a row a second from there. */
static const gint64 FIRST_TIME = G_GINT64_CONSTANT(1767225600) * G_USEC_PER_SEC;

static const gint64 MAXIMUM_DELAY = 100000000;

typedef struct {
  gchar *file, *csv, *model, *predictions, *summary, *brokers, *topic, *labels_topic;
  gint64 rows, skip, warm_up, delay, pane, seed;
  gboolean shuffle, explain;
  double rate, timeout_s;
  gint poll_ms;
} Options;

/* --- the table --- */

static DriftTable *load_table(const gchar *name, const Options *options, GError **error)
{
  if (options->file) return pipeline_csv_read(options->file, error);
  const SimulateStream *stream = simulate_stream_find(name);
  if (stream) return simulate_stream_generate(stream, (guint64)options->rows, (guint32)options->seed, error);
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS,
              "there is no stream %s; known are sea, agrawal, hyperplane, sine, mixed, or give --file",
              name ? name : "");
  return NULL;
}

static gboolean write_csv(const Options *options, const DriftTable *table, const guint64 *order, guint64 n,
                          GError **error)
{
  guint64 skip = MIN((guint64)options->skip, n), count = n - skip;
  if (options->file && options->rows > 0) count = MIN(count, (guint64)options->rows);
  g_autoptr(DriftTable) selected = drift_table_select(table, order + skip, count);
  return pipeline_csv_write(options->csv, selected, error);
}

/* --- what is left behind --- */

static gboolean write_predictions(const gchar *path, const SimulateResult *result, const DriftSchema *schema,
                                  GError **error)
{
  g_autoptr(DriftTable) table = drift_table_new();
  DriftColumn *row = drift_table_add_column(table, "row", DRIFT_NUMERIC);
  DriftColumn *prediction =
      drift_table_add_column(table, "prediction", result->regression ? DRIFT_NUMERIC : DRIFT_CATEGORICAL);
  DriftColumn *version = drift_table_add_column(table, "version", DRIFT_NUMERIC);
  for (guint i = 0; i < result->predictions->len; i++) {
    const SimulatePrediction *p = &g_array_index(result->predictions, SimulatePrediction, i);
    drift_column_append_number(row, (double)p->row);
    drift_column_append_number(version, (double)p->version);
    if (result->regression)
      drift_column_append_number(prediction, p->value);
    else
      drift_column_append_text(prediction, g_ptr_array_index(schema->classes, p->predicted), -1);
  }
  table->n_rows = result->predictions->len;
  return pipeline_csv_write(path, table, error);
}

/* Seconds that the model's jobs took, by stage. */
static json_t *job_seconds(RegistryStore *store, const gchar *model, GError **error)
{
  g_autoptr(GPtrArray) jobs = registry_job_list(store, model, "done", 0, error);
  if (!jobs) return NULL;
  json_t *sums = json_object();
  for (guint i = 0; i < jobs->len; i++) {
    const RegistryJob *job = g_ptr_array_index(jobs, i);
    json_t *result = job->result ? json_loads(job->result, 0, NULL) : NULL,
           *seconds = json_object_get(result, "seconds");
    const char *stage;
    json_t *value;
    json_object_foreach (seconds, stage, value) {
      double before = json_number_value(json_object_get(sums, stage));
      json_object_set_new(sums, stage, json_real(before + json_number_value(value)));
    }
    if (json_is_number(seconds)) {
      double before = json_number_value(json_object_get(sums, job->kind));
      json_object_set_new(sums, job->kind, json_real(before + json_number_value(seconds)));
    }
    json_decref(result);
  }
  return sums;
}

static gint64 integer_of(const json_t *json, const gchar *key)
{
  return json_integer_value(json_object_get(json, key));
}

static json_t *incident_counts(RegistryStore *store, const gchar *model, gint64 *total, GError **error)
{
  g_autoptr(GPtrArray) incidents = registry_incident_list(store, model, FALSE, 0, error);
  if (!incidents) return NULL;
  json_t *counts = json_object();
  for (guint i = 0; i < incidents->len; i++) {
    const RegistryIncident *incident = g_ptr_array_index(incidents, i);
    json_object_set_new(counts, incident->kind, json_integer(integer_of(counts, incident->kind) + 1));
  }
  *total = incidents->len;
  return counts;
}

static json_t *summarise(const SimulateFeed *feed, const SimulateResult *result, double seconds, GError **error)
{
  gint64 n_incidents = 0;
  json_t *kinds = incident_counts(feed->store, feed->model->name, &n_incidents, error);
  json_t *stages = kinds ? job_seconds(feed->store, feed->model->name, error) : NULL;
  if (!stages) {
    json_decref(kinds);
    return NULL;
  }
  g_autofree gchar *text = registry_leader_progress_get(feed->store, feed->model->name, NULL);
  json_t *progress = text ? json_loads(text, 0, NULL) : NULL;
  json_object_set_new(stages, "wait", json_real(result->wait_seconds));
  json_object_set_new(stages, "predict", json_real(result->score_seconds));
  json_object_set_new(stages, "send", json_real(result->send_seconds));
  json_object_set_new(stages, "total", json_real(seconds));
  json_t *json = json_pack(
      "{s:s, s:I, s:I, s:o, s:o, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "model", feed->model->name,
      "rows", (json_int_t)result->predictions->len, "labelled", (json_int_t)result->n, "served_accuracy",
      verdict_number(result->served), "static_accuracy", verdict_number(result->static_served), "incidents",
      (json_int_t)n_incidents, "incidents_by_kind", kinds, "retrainings",
      (json_int_t)integer_of(progress, "retrainings"), "refits", (json_int_t)integer_of(progress, "refits"),
      "training_failures", (json_int_t)integer_of(progress, "training_failures"), "gate_refusals",
      (json_int_t)integer_of(progress, "gate_refusals"), "promotions", (json_int_t)integer_of(progress, "promotions"),
      "rollbacks", (json_int_t)integer_of(progress, "rollbacks"), "windows",
      (json_int_t)integer_of(progress, "windows"), "label_panes", (json_int_t)integer_of(progress, "label_panes"),
      "seconds", stages);
  json_decref(progress);
  return json;
}

static gchar *merit_text(const json_t *json, const gchar *key)
{
  const json_t *value = json_object_get(json, key);
  return json_is_number(value) ? g_strdup_printf("%.4f", json_number_value(value)) : g_strdup("undefined: no labels");
}

static void print_summary(const json_t *json, gboolean regression)
{
  static const struct {
    const gchar *key, *label;
  } counts[] = {{"rows", "rows served"},
                {"incidents", "incidents"},
                {"retrainings", "retrainings"},
                {"refits", "last-layer refits"},
                {"gate_refusals", "gate refusals"},
                {"promotions", "promotions"},
                {"rollbacks", "rollbacks"},
                {"training_failures", "failed trainings"}};
  const gchar *unit = regression ? "mean absolute error" : "accuracy";
  CommandTable *table = command_table_new((const gchar *const[]){"", ">value", NULL});
  g_autofree gchar *served = merit_text(json, "served_accuracy"), *kept = merit_text(json, "static_accuracy");
  g_autofree gchar *served_label = g_strdup_printf("%s served", unit),
                   *kept_label = g_strdup_printf("%s of the first version kept", unit);
  command_table_add(table, served_label, served, NULL);
  command_table_add(table, kept_label, kept, NULL);
  for (guint i = 0; i < G_N_ELEMENTS(counts); i++) {
    g_autofree gchar *value = g_strdup_printf("%" G_GINT64_FORMAT, integer_of(json, counts[i].key));
    command_table_add(table, counts[i].label, value, NULL);
  }
  g_autofree gchar *seconds =
      g_strdup_printf("%.1f s", json_number_value(json_object_get(json_object_get(json, "seconds"), "total")));
  command_table_add(table, "time", seconds, NULL);
  command_table_print(table);
}

/* --- feeding --- */

static gboolean show_progress(const SimulateProgress *progress, gpointer user_data)
{
  g_autofree gchar *text = g_strdup_printf("%" G_GUINT64_FORMAT " rows, %.4f served, version %" G_GINT64_FORMAT,
                                           progress->sent, progress->served, progress->champion);
  command_progress_update(user_data, progress->fraction, text);
  return TRUE;
}

/* The settings with the broker and topics given on the command line; shallow copies that borrow. */
static gboolean choose_model(const Options *options, const Settings *settings, Settings *used, SettingsModel *model,
                             GError **error)
{
  const SettingsModel *found = settings_find_model(settings, options->model);
  if (!found) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "the settings %s have no model %s", settings->path,
                options->model);
    return FALSE;
  }
  *used = *settings;
  *model = *found;
  if (options->brokers) used->broker.brokers = options->brokers;
  if (options->topic) model->traffic.topic = options->topic;
  if (options->labels_topic) model->labels.topic = options->labels_topic;
  return TRUE;
}

static gboolean conclude(const CommandCommon *common, const Options *options, const SimulateFeed *feed,
                         const SimulateResult *result, double seconds, GError **error)
{
  g_autoptr(RegistryModel) registered = registry_model_get(feed->store, feed->model->name, error);
  g_autoptr(DriftSchema) schema = registered ? pipeline_model_spec_parse(registered->spec, error) : NULL;
  if (!schema) return FALSE;
  if (options->predictions && !write_predictions(options->predictions, result, schema, error)) return FALSE;
  json_t *json = summarise(feed, result, seconds, error);
  if (!json) return FALSE;
  char *text = json_dumps(json, JSON_INDENT(2));
  gboolean good = !options->summary || pipeline_output_file_write(options->summary, text, strlen(text), error);
  free(text);
  g_autofree gchar *story = good && options->explain ? simulate_story(feed, result, error) : NULL;
  good = good && (story || !options->explain);
  if (story && !common->json)
    fputs(story, stdout);
  else if (good && !common->json && !common->quiet)
    print_summary(json, result->regression);
  if (good && common->json)
    command_print_json(json);
  else
    json_decref(json);
  return good;
}

static gboolean feed_model(const CommandCommon *common, const Options *options, const DriftTable *table,
                           const guint64 *order, GError **error)
{
  g_autoptr(Settings) settings = command_load_settings(common, error);
  Settings used;
  SettingsModel model;
  if (!settings || !choose_model(options, settings, &used, &model, error)) return FALSE;
  g_autoptr(RegistryStore) store = command_open_store(common, error);
  g_autoptr(RegistryArtifacts) artifacts = store ? command_open_artifacts(common, error) : NULL;
  if (!artifacts) return FALSE;
  SimulateFeed feed = {.settings = &used,
                       .model = &model,
                       .store = store,
                       .artifacts = artifacts,
                       .table = table,
                       .order = order,
                       .n_rows = table->n_rows,
                       .warm_up = MIN((guint64)options->warm_up, table->n_rows),
                       .delay = (guint64)options->delay,
                       .pane = (guint64)options->pane,
                       .first_time = FIRST_TIME,
                       .interval_us = G_USEC_PER_SEC,
                       .rows_per_second = options->rate,
                       .timeout_us = (gint64)(options->timeout_s * G_USEC_PER_SEC),
                       .poll_ms = (guint)options->poll_ms};
  gint64 started = g_get_monotonic_time();
  SimulateResult result = {0};
  CommandProgress *progress = command_progress_new(common, "simulate");
  gboolean good = simulate_feed(&feed, show_progress, progress, &result, error);
  double seconds = (double)(g_get_monotonic_time() - started) / G_USEC_PER_SEC;
  command_progress_finish(progress, good ? "all rows sent, consumed and decided" : "stopped");
  good = good && conclude(common, options, &feed, &result, seconds, error);
  simulate_result_clear(&result);
  return good;
}

static int simulate(const CommandCommon *common, const Options *options, const gchar *stream)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftTable) table = load_table(stream, options, &error);
  if (!table) return command_fail(common, error);
  g_autofree guint64 *order = simulate_order(table->n_rows, options->shuffle, (guint32)options->seed);
  gboolean good = !options->csv || write_csv(options, table, order, table->n_rows, &error);
  if (good && options->model) good = feed_model(common, options, table, order, &error);
  return good ? COMMAND_DONE : command_fail(common, error);
}

static const gchar *usage_error(const Options *options, int argc)
{
  if ((argc == 2) == (options->file != NULL)) return "give either a STREAM or --file D.csv";
  if (!options->csv && !options->model) return "give --csv OUT.csv, --model NAME, or both";
  if (options->rows < 0 || options->skip < 0 || options->warm_up < 0 || options->delay < 1 || options->pane < 1)
    return "--rows, --skip, --warm-up must not be negative, --delay and --pane must be at least 1";
  if (options->delay > MAXIMUM_DELAY) return "--delay must be at most 100,000,000 rows";
  if (options->poll_ms < 2 || options->timeout_s <= 0) return "--poll-ms must be at least 2, --timeout positive";
  return NULL;
}

static int run_simulate(int argc, char **argv)
{
  Options o = {.delay = 500, .pane = 100, .seed = 1, .timeout_s = 600, .poll_ms = 5};
  const GOptionEntry entries[] = {
      {"file", 0, 0, G_OPTION_ARG_FILENAME, &o.file, "CSV with a header instead of a stream", "D.csv"},
      {"rows", 0, 0, G_OPTION_ARG_INT64, &o.rows, "rows of the stream, or of the CSV written (0: all)", "N"},
      {"skip", 0, 0, G_OPTION_ARG_INT64, &o.skip, "rows left out at the start of the CSV written", "N"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &o.seed, "seed of the stream and of --shuffle (1)", "S"},
      {"shuffle", 0, 0, G_OPTION_ARG_NONE, &o.shuffle, "shuffle all rows first", NULL},
      {"csv", 0, 0, G_OPTION_ARG_FILENAME, &o.csv, "write the rows as CSV (-: standard output)", "OUT.csv"},
      {"model", 0, 0, G_OPTION_ARG_STRING, &o.model, "send the rows as traffic of this model", "NAME"},
      {"warm-up", 0, 0, G_OPTION_ARG_INT64, &o.warm_up, "rows at the start that are not sent (0)", "N"},
      {"delay", 0, 0, G_OPTION_ARG_INT64, &o.delay, "a label is sent just before the row so many later (500)", "ROWS"},
      {"pane", 0, 0, G_OPTION_ARG_INT64, &o.pane, "wait for the daemon after so many labels (100)", "ROWS"},
      {"rate", 0, 0, G_OPTION_ARG_DOUBLE, &o.rate, "rows a second at most (0: as fast as the daemon follows)", "R"},
      {"timeout", 0, 0, G_OPTION_ARG_DOUBLE, &o.timeout_s, "seconds that one wait may take (600)", "S"},
      {"poll-ms", 0, 0, G_OPTION_ARG_INT, &o.poll_ms, "milliseconds between looks at the store (5)", "MS"},
      {"predictions", 0, 0, G_OPTION_ARG_FILENAME, &o.predictions, "write row,prediction,version", "P.csv"},
      {"summary", 0, 0, G_OPTION_ARG_FILENAME, &o.summary, "write the summary as JSON", "S.json"},
      {"explain", 0, 0, G_OPTION_ARG_NONE, &o.explain, "say in words what happened, instead of the summary", NULL},
      {"brokers", 0, 0, G_OPTION_ARG_STRING, &o.brokers, "instead of the settings' brokers", "HOST:PORT"},
      {"topic", 0, 0, G_OPTION_ARG_STRING, &o.topic, "instead of the model's traffic topic", "T"},
      {"labels-topic", 0, 0, G_OPTION_ARG_STRING, &o.labels_topic, "instead of the model's label topic", "T"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_simulate, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  const gchar *wrong = usage_error(&o, argc);
  int status = wrong ? command_usage(&common, "%s", wrong) : simulate(&common, &o, argc == 2 ? argv[1] : NULL);
  gchar *const owned[] = {o.file, o.csv, o.model, o.predictions, o.summary, o.brokers, o.topic, o.labels_topic};
  for (guint i = 0; i < G_N_ELEMENTS(owned); i++) g_free(owned[i]);
  command_common_clear(&common);
  return status;
}

const Command command_simulate = {
    .name = "simulate",
    .arguments = "STREAM|--file D.csv [--rows N] [--seed S] [--shuffle] [--csv OUT.csv] [--model NAME [--warm-up N] "
                 "[--delay ROWS] [--rate R] [--predictions P.csv] [--summary S.json] [--explain]]",
    .summary = "send a benchmark stream or a file as traffic with delayed labels, or write it as CSV",
    .help =
        "Streams: sea, agrawal (with a sensitive attribute), hyperplane, sine, mixed; the label is the column class. "
        "With --model the rows are scored by the champion of the moment and sent to the model's topics of the "
        "settings; the label of a row is sent just before the row --delay later. After every --pane labels the "
        "command waits until all is consumed, decided and carried out, so that training takes no stream time.\n"
        "\n"
        "--json prints the summary: {\"model\", \"rows\", \"labelled\", \"served_accuracy\", \"static_accuracy\" "
        "(of the first version, had it been kept), \"incidents\", \"incidents_by_kind\", \"retrainings\", "
        "\"refits\", \"training_failures\", \"gate_refusals\", \"promotions\", \"rollbacks\", \"windows\", "
        "\"label_panes\", \"seconds\": {stage: seconds}}. For regression both accuracies are mean absolute errors.",
    .run = run_simulate,
};
