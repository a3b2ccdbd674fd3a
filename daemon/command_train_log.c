/* The log of a training: a JSON object a line. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <glib/gstdio.h>

#include "daemon/command_train_internal.h"

static const double thresholds[] = {0.9, 0.95, 0.97, 0.98, 0.985, 0.99};

struct _CommandTrainLog {
  FILE *file;
  gchar *path;
  gboolean reached[G_N_ELEMENTS(thresholds)], measured;
};

CommandTrainLog *command_train_log_open(const gchar *path, GError **error)
{
  FILE *file = g_fopen(path, "ae");
  if (file == NULL) {
    g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(errno), "cannot write the log %s: %s", path,
                g_strerror(errno));
    return NULL;
  }
  CommandTrainLog *log = g_new0(CommandTrainLog, 1);
  log->file = file;
  log->path = g_strdup(path);
  return log;
}

void command_train_log_free(CommandTrainLog *log)
{
  if (log == NULL) return;
  fclose(log->file);
  g_free(log->path);
  g_free(log);
}

static void set_real(json_t *line, const gchar *name, double value)
{
  json_object_set_new(line, name, isfinite(value) ? json_real(value) : json_null());
}

static void set_device(json_t *line, const PipelineCudaFigures *device)
{
  const PipelineCudaFigures figures = device != NULL ? *device : pipeline_cuda_monitor_read(NULL);
  set_real(line, "device_utilisation_percent", figures.utilisation_percent);
  set_real(line, "device_memory_mib", figures.memory_mib);
  set_real(line, "device_temperature_celsius", figures.temperature_celsius);
}

/* Takes the line. */
static gboolean write_line(CommandTrainLog *log, json_t *line)
{
  char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9));
  gboolean done = fprintf(log->file, "%s\n", text) > 0 && fflush(log->file) == 0;
  free(text);
  json_decref(line);
  return done;
}

/* Time to accuracy: the end of the first epoch at which it is reached. */
static gboolean log_reached(CommandTrainLog *log, const PipelineTrainProgress *progress)
{
  gboolean test = isfinite(progress->test_metric);
  double metric = test ? progress->test_metric : progress->validation_metric;
  for (guint i = 0; i < G_N_ELEMENTS(thresholds); i++) {
    if (log->reached[i] || !(metric >= thresholds[i])) continue;
    log->reached[i] = TRUE;
    json_t *line = json_pack("{s:s, s:s, s:f, s:I}", "event", "reached", "metric", test ? "test" : "validation",
                             "value", thresholds[i], "epoch", (json_int_t)progress->epoch);
    set_real(line, "seconds", progress->seconds);
    if (!write_line(log, line)) return FALSE;
  }
  return TRUE;
}

/* Once, in front of the first epoch. */
static gboolean log_memory(CommandTrainLog *log, const PipelineGraphMemory *m)
{
  if (m == NULL || log->measured) return TRUE;
  log->measured = TRUE;
  const struct {
    const gchar *name;
    guint64 bytes;
  } parts[] = {
      {"device", m->device},       {"weights", m->weights},         {"gradients", m->gradients},
      {"optimiser", m->optimiser}, {"activations", m->activations}, {"activation_gradients", m->activation_gradients},
      {"kept", m->kept},           {"workspace", m->workspace},     {"other", m->other}};
  json_t *line = json_pack("{s:s, s:I, s:I, s:I}", "event", "memory", "estimated_bytes", (json_int_t)m->total,
                           "available_bytes", (json_int_t)m->available, "pass_rows", (json_int_t)m->rows);
  json_t *bytes = json_object();
  for (guint i = 0; i < G_N_ELEMENTS(parts); i++)
    json_object_set_new(bytes, parts[i].name, json_integer((json_int_t)parts[i].bytes));
  json_object_set_new(line, "parts_bytes", bytes);
  return write_line(log, line);
}

gboolean command_train_log_epoch(CommandTrainLog *log, const PipelineTrainProgress *progress)
{
  if (log == NULL) return TRUE;
  if (!log_memory(log, progress->memory)) return FALSE;
  json_t *line = json_pack("{s:s, s:I}", "event", "epoch", "epoch", (json_int_t)progress->epoch);
  set_real(line, "loss", progress->loss);
  set_real(line, "validation_loss", progress->validation_loss);
  set_real(line, "validation_metric", progress->validation_metric);
  set_real(line, "test_loss", progress->test_loss);
  set_real(line, "test_metric", progress->test_metric);
  set_real(line, "learning_rate", progress->learning_rate);
  set_real(line, "gradient_norm", progress->gradient_norm);
  set_real(line, "dead_share", progress->dead_share);
  set_real(line, "robust_metric", progress->robust_metric);
  set_real(line, "samples_per_second", progress->samples_per_second);
  set_real(line, "seconds", progress->seconds);
  set_device(line, progress->device);
  if (progress->micro_batch > 0)
    json_object_set_new(line, "micro_batch", json_integer((json_int_t)progress->micro_batch));
  if (progress->loss_scale > 0) {
    set_real(line, "loss_scale", progress->loss_scale);
    json_object_set_new(line, "skipped_steps", json_integer((json_int_t)progress->skipped_steps));
  }
  return write_line(log, line) && log_reached(log, progress);
}

gboolean command_train_log_end(CommandTrainLog *log, const PipelineTrainResult *result, GError **error)
{
  if (log == NULL) return TRUE;
  json_t *line = json_pack("{s:s, s:I}", "event", "end", "epoch", (json_int_t)result->epochs);
  json_object_set_new(line, "best_epoch", json_integer((json_int_t)result->best_epoch));
  set_real(line, "validation_metric", result->validation_metric);
  set_real(line, "test_metric", result->test_metric);
  set_real(line, "samples_per_second", result->samples_per_second);
  set_real(line, "seconds", result->seconds);
  if (result->backend != NULL) json_object_set_new(line, "backend", json_string(result->backend));
  if (result->warning != NULL) json_object_set_new(line, "warning", json_string(result->warning));
  if (write_line(log, line)) return TRUE;
  g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot write the log %s: %s", log->path, g_strerror(errno));
  return FALSE;
}
