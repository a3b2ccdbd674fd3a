#include "daemon/metrics.h"

#include <math.h>

#include "daemon/metrics_internal.h"

/* The table: what kedged measures. Add a row here, then call metrics_add / _set / _observe with its name. */
const MetricsDefinition metrics_definitions[] = {
    {"kedge_build_info", METRICS_GAUGE, "version", "Version of the running kedged; the value is always 1."},
    {"kedge_events_total", METRICS_COUNTER, "model,partition", "Prediction events taken into panes."},
    {"kedge_labels_total", METRICS_COUNTER, "model,partition", "Labels joined with their prediction."},
    {"kedge_dead_letters_total", METRICS_COUNTER, "model,reason", "Records refused and sent to the dead-letter topic."},
    {"kedge_duplicates_total", METRICS_COUNTER, "model,partition", "Events dropped because their request id was seen."},
    {"kedge_late_total", METRICS_COUNTER, "model,partition", "Events older than the watermark minus the late limit."},
    {"kedge_join_waiting", METRICS_GAUGE, "model,partition", "Predictions waiting for their label."},
    {"kedge_watermark_seconds", METRICS_GAUGE, "model,partition", "Traffic watermark, seconds since the Unix epoch."},
    {"kedge_lag_records", METRICS_GAUGE, "model,partition", "Records in the broker that are not consumed yet."},
    {"kedge_checkpoint_seconds", METRICS_HISTOGRAM, "model", "Time of one checkpoint transaction."},
    {"kedge_checkpoints_total", METRICS_COUNTER, "model", "Checkpoints written."},
    {"kedge_fenced_total", METRICS_COUNTER, "model",
     "Writes refused because another daemon owns the shard or the lease."},
    {"kedge_panes_total", METRICS_COUNTER, "model", "Panes closed and stored."},
    {"kedge_verdicts_total", METRICS_COUNTER, "model", "Verdicts written by the leader."},
    {"kedge_incidents_open", METRICS_GAUGE, "model,kind", "Incidents that are open now."},
    {"kedge_incidents_total", METRICS_COUNTER, "model,kind", "Incidents opened."},
    {"kedge_jobs_open", METRICS_GAUGE, "model", "Jobs queued or running."},
    {"kedge_jobs_total", METRICS_COUNTER, "model,kind,state",
     "Jobs whose end the leader has taken, by kind and how they ended; scores that it gave up are not among them."},
    {"kedge_job_seconds_total", METRICS_COUNTER, "model,kind",
     "Run time of those jobs (their last attempt) in seconds."},
    {"kedge_promotions_total", METRICS_COUNTER, "model", "Versions promoted to champion by the daemon."},
    {"kedge_rollbacks_total", METRICS_COUNTER, "model", "Rollbacks made by the daemon."},
    {"kedge_outbox_pending", METRICS_GAUGE, "kind", "Outbox items that are not delivered yet."},
    {"kedge_drift_evidence", METRICS_GAUGE, "model",
     "Evidence of the last window: natural logarithm of 1 / smallest adjusted p-value."},
    {"kedge_accuracy", METRICS_GAUGE, "model", "Accuracy on the labelled rows of the last window, a ratio."},
    {"kedge_disparate_impact", METRICS_GAUGE, "model,attribute,group",
     "Selection rate of the group over that of its reference group in the last window."},
    {"kedge_bias_audit_p", METRICS_GAUGE, "model,attribute,rate,group",
     "Bias audit: p-value, valid at any time, of the group being treated like its reference group."},
    {"kedge_leader", METRICS_GAUGE, NULL, "1 while this daemon holds the leader lease."},
    {"kedge_ready", METRICS_GAUGE, NULL, "1 while every part of the daemon is ready; /readyz says why not."},
    {"kedge_reloads_total", METRICS_COUNTER, "result", "Reloads of the settings by SIGHUP, by result."},
    {"kedge_http_requests_total", METRICS_COUNTER, "status", "HTTP requests answered, by status code."},
    {"process_cpu_seconds_total", METRICS_COUNTER, NULL, "User and system CPU time spent in seconds."},
    {"process_resident_memory_bytes", METRICS_GAUGE, NULL, "Resident memory size in bytes."},
    {"process_start_time_seconds", METRICS_GAUGE, NULL, "Start time of the process since the Unix epoch in seconds."},
    {"process_open_fds", METRICS_GAUGE, NULL, "Number of open file descriptors."},
    {NULL, METRICS_COUNTER, NULL, NULL}};

/* Upper bounds of the histogram buckets, seconds: from a local commit to a stalled disk. */
static const double bucket_bounds[] = {.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};
#define N_BUCKETS G_N_ELEMENTS(bucket_bounds)

typedef struct {
  double value; /* counter, gauge; sum of a histogram */
  guint64 count;
  guint64 buckets[N_BUCKETS]; /* not cumulative */
} Series;

struct _Metrics {
  GMutex mutex;
  GHashTable *index_of; /* name (borrowed) → index + 1 */
  GPtrArray *series;    /* per definition: GHashTable labels → Series* */
};

Metrics *metrics_new(void)
{
  Metrics *metrics = g_new0(Metrics, 1);
  g_mutex_init(&metrics->mutex);
  metrics->index_of = g_hash_table_new(g_str_hash, g_str_equal);
  metrics->series = g_ptr_array_new_with_free_func((GDestroyNotify)g_hash_table_unref);
  for (guint i = 0; metrics_definitions[i].name != NULL; i++) {
    const MetricsDefinition *definition = &metrics_definitions[i];
    GHashTable *table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_hash_table_insert(metrics->index_of, (gpointer)definition->name, GUINT_TO_POINTER(i + 1));
    if (definition->labels == NULL) g_hash_table_insert(table, g_strdup(""), g_new0(Series, 1));
    g_ptr_array_add(metrics->series, table);
  }
  metrics_set(metrics, "kedge_build_info", "version=\"" KEDGE_VERSION "\"", 1);
  return metrics;
}

void metrics_free(Metrics *metrics)
{
  if (metrics == NULL) return;
  g_ptr_array_unref(metrics->series);
  g_hash_table_unref(metrics->index_of);
  g_mutex_clear(&metrics->mutex);
  g_free(metrics);
}

/* With the mutex held. NULL: the name is not in the table or has another type, a programming error that is logged. */
static Series *get_series(Metrics *metrics, const gchar *name, const gchar *labels, gboolean histogram)
{
  guint index = GPOINTER_TO_UINT(g_hash_table_lookup(metrics->index_of, name));
  if (index == 0) {
    g_critical("metric %s is not in the table of daemon/metrics.c", name);
    return NULL;
  }
  if ((metrics_definitions[index - 1].type == METRICS_HISTOGRAM) != histogram) {
    g_critical("metric %s is used as another type than the table of daemon/metrics.c says", name);
    return NULL;
  }
  GHashTable *table = g_ptr_array_index(metrics->series, index - 1);
  const gchar *key = labels != NULL ? labels : "";
  Series *series = g_hash_table_lookup(table, key);
  if (series == NULL) {
    series = g_new0(Series, 1);
    g_hash_table_insert(table, g_strdup(key), series);
  }
  return series;
}

void metrics_add(Metrics *metrics, const gchar *name, const gchar *labels, double delta)
{
  g_mutex_lock(&metrics->mutex);
  Series *series = get_series(metrics, name, labels, FALSE);
  if (series != NULL) series->value += delta;
  g_mutex_unlock(&metrics->mutex);
}

void metrics_set(Metrics *metrics, const gchar *name, const gchar *labels, double value)
{
  g_mutex_lock(&metrics->mutex);
  Series *series = get_series(metrics, name, labels, FALSE);
  if (series != NULL) series->value = value;
  g_mutex_unlock(&metrics->mutex);
}

gboolean metrics_get(Metrics *metrics, const gchar *name, const gchar *labels, double *value)
{
  guint index = GPOINTER_TO_UINT(g_hash_table_lookup(metrics->index_of, name));
  g_return_val_if_fail(index > 0 && metrics_definitions[index - 1].type != METRICS_HISTOGRAM, FALSE);
  g_mutex_lock(&metrics->mutex);
  GHashTable *table = g_ptr_array_index(metrics->series, index - 1);
  const Series *series = g_hash_table_lookup(table, labels != NULL ? labels : "");
  if (series != NULL) *value = series->value;
  g_mutex_unlock(&metrics->mutex);
  return series != NULL;
}

void metrics_observe(Metrics *metrics, const gchar *name, const gchar *labels, double value)
{
  g_mutex_lock(&metrics->mutex);
  Series *series = get_series(metrics, name, labels, TRUE);
  if (series != NULL) {
    series->value += value;
    series->count++;
    for (guint i = 0; i < N_BUCKETS; i++) {
      if (value > bucket_bounds[i]) continue;
      series->buckets[i]++;
      break;
    }
  }
  g_mutex_unlock(&metrics->mutex);
}

static void append_escaped(GString *out, const gchar *text, gboolean quotes)
{
  for (const gchar *c = text; *c != '\0'; c++) {
    if (*c == '\\')
      g_string_append(out, "\\\\");
    else if (*c == '\n')
      g_string_append(out, "\\n");
    else if (*c == '"' && quotes)
      g_string_append(out, "\\\"");
    else
      g_string_append_c(out, *c);
  }
}

gchar *metrics_label(const gchar *key, ...)
{
  GString *out = g_string_new(NULL);
  va_list arguments;
  va_start(arguments, key);
  for (const gchar *name = key; name != NULL; name = va_arg(arguments, const gchar *)) {
    const gchar *value = va_arg(arguments, const gchar *);
    /* The exposition is UTF-8; a label may come from the network. */
    g_autofree gchar *valid = g_utf8_make_valid(value != NULL ? value : "", -1);
    if (out->len > 0) g_string_append_c(out, ',');
    g_string_append_printf(out, "%s=\"", name);
    append_escaped(out, valid, TRUE);
    g_string_append_c(out, '"');
  }
  va_end(arguments);
  return g_string_free(out, FALSE);
}

static void append_number(GString *out, double value)
{
  gchar buffer[G_ASCII_DTOSTR_BUF_SIZE];
  if (isnan(value))
    g_string_append(out, "NaN");
  else if (isinf(value))
    g_string_append(out, value > 0 ? "+Inf" : "-Inf");
  else
    g_string_append(out, g_ascii_dtostr(buffer, sizeof buffer, value));
}

static void append_sample(GString *out, const gchar *name, const gchar *suffix, const gchar *labels, const gchar *bound,
                          double value)
{
  g_string_append(out, name);
  g_string_append(out, suffix);
  if (*labels != '\0' || bound != NULL) {
    g_string_append_c(out, '{');
    g_string_append(out, labels);
    if (bound != NULL) g_string_append_printf(out, "%sle=\"%s\"", *labels != '\0' ? "," : "", bound);
    g_string_append_c(out, '}');
  }
  g_string_append_c(out, ' ');
  append_number(out, value);
  g_string_append_c(out, '\n');
}

static void append_histogram(GString *out, const gchar *name, const gchar *labels, const Series *series)
{
  guint64 cumulative = 0;
  for (guint i = 0; i < N_BUCKETS; i++) {
    gchar bound[G_ASCII_DTOSTR_BUF_SIZE];
    g_ascii_formatd(bound, sizeof bound, "%g", bucket_bounds[i]);
    cumulative += series->buckets[i];
    append_sample(out, name, "_bucket", labels, bound, (double)cumulative);
  }
  append_sample(out, name, "_bucket", labels, "+Inf", (double)series->count);
  append_sample(out, name, "_sum", labels, NULL, series->value);
  append_sample(out, name, "_count", labels, NULL, (double)series->count);
}

static void append_definition(GString *out, const MetricsDefinition *definition, GHashTable *table)
{
  static const gchar *const type_names[] = {"counter", "gauge", "histogram"};
  g_string_append_printf(out, "# HELP %s ", definition->name);
  append_escaped(out, definition->help, FALSE);
  g_string_append_printf(out, "\n# TYPE %s %s\n", definition->name, type_names[definition->type]);
  /* Sorted, so that two scrapes can be compared by eye. */
  GList *keys = g_list_sort(g_hash_table_get_keys(table), (GCompareFunc)g_strcmp0);
  for (GList *key = keys; key != NULL; key = key->next) {
    const Series *series = g_hash_table_lookup(table, key->data);
    if (definition->type == METRICS_HISTOGRAM)
      append_histogram(out, definition->name, key->data, series);
    else
      append_sample(out, definition->name, "", key->data, NULL, series->value);
  }
  g_list_free(keys);
}

gchar *metrics_format(Metrics *metrics)
{
  metrics_update_process(metrics);
  GString *out = g_string_sized_new(8192);
  g_mutex_lock(&metrics->mutex);
  for (guint i = 0; metrics_definitions[i].name != NULL; i++) {
    GHashTable *table = g_ptr_array_index(metrics->series, i);
    if (g_hash_table_size(table) > 0) append_definition(out, &metrics_definitions[i], table);
  }
  g_mutex_unlock(&metrics->mutex);
  return g_string_free(out, FALSE);
}
