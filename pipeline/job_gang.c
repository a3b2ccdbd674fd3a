#include "pipeline/job_gang.h"

#include <math.h>

#include "pipeline/csv.h"
#include "pipeline/gang.h"
#include "pipeline/model_spec.h"
#include "pipeline/tree_trainer.h"

#define TELL_MICROSECONDS 200000 /* between what the first process tells */

static const gchar table_file[] = "rows.csv", task_file[] = "task.json", from_file[] = "from.onnx",
                   model_file[] = "model.onnx", outcome_file[] = "outcome.json", progress_file[] = "progress.json";

/* --- files of the folder ------------------------------------------------------------------------------------------ */

static gchar *file_of(const gchar *folder, const gchar *name)
{
  return g_build_filename(folder, name, NULL);
}

static gchar *failure_of(const gchar *folder, guint rank)
{
  g_autofree gchar *name = g_strdup_printf("failure-%u.json", rank);
  return file_of(folder, name);
}

static gboolean refuse_file(GError **error, const GError *cause)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "a training by several processes needs a file: %s",
              cause->message);
  return FALSE;
}

/* As a whole or not at all. Takes the reference. */
static gboolean write_json(const gchar *path, json_t *value, GError **error)
{
  g_autoptr(GError) cause = NULL;
  g_autofree gchar *text = pipeline_job_dump(value);
  return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &cause) ||
         refuse_file(error, cause);
}

static gboolean write_bytes(const gchar *path, GBytes *bytes, GError **error)
{
  g_autoptr(GError) cause = NULL;
  gsize n;
  const gchar *data = g_bytes_get_data(bytes, &n);
  return g_file_set_contents_full(path, data, (gssize)n, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &cause) ||
         refuse_file(error, cause);
}

static GBytes *read_bytes(const gchar *path, GError **error)
{
  g_autoptr(GError) cause = NULL;
  gchar *data;
  gsize n;
  if (g_file_get_contents(path, &data, &n, &cause)) return g_bytes_new_take(data, n);
  refuse_file(error, cause);
  return NULL;
}

/* A number that may be null. */
static double real_of(const json_t *object, const gchar *name)
{
  const json_t *value = json_object_get(object, name);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

static gint64 whole_of(const json_t *object, const gchar *name)
{
  return json_integer_value(json_object_get(object, name));
}

/* --- the task ----------------------------------------------------------------------------------------------------- */

/* What a process is told; the names are its own. New. */
static json_t *make_task(const PipelineTraining *training, const PipelineTrainOptions *o)
{
  g_autofree gchar *schema = pipeline_model_spec_format(training->schema);
  json_t *reweigh = o->reweigh != NULL ? json_array() : NULL;
  for (guint i = 0; o->reweigh != NULL && o->reweigh[i] != NULL; i++)
    json_array_append_new(reweigh, json_string(o->reweigh[i]));
  return json_pack("{s:s, s:b, s:s*, s:s*, s:i, s:i, s:i, s:f, s:f, s:f, s:s*, s:f, s:I, s:o*}", "schema", schema,
                   "from", o->from != NULL, "architecture", o->architecture, "backend", o->backend, "epochs",
                   (int)o->epochs, "batch_size", (int)o->batch_size, "patience", (int)o->patience, "learning_rate",
                   o->learning_rate, "weight_decay", o->weight_decay, "validation_fraction", o->validation_fraction,
                   "checkpoint", o->checkpoint, "checkpoint_seconds", o->checkpoint_seconds, "seed",
                   (json_int_t)o->seed, "reweigh", reweigh);
}

typedef struct {
  json_t *json;
  gchar *folder;
  DriftSchema *schema;
  DriftTable *table;
  GBytes *from;
  const gchar **reweigh;
  gint64 told; /* monotonic */
  PipelineCommunicator *communicator;
  PipelineTrainStopFunc stop;
  gpointer user_data;
} Member;

static void member_clear(Member *member)
{
  json_decref(member->json);
  drift_schema_free(member->schema);
  g_clear_pointer(&member->table, drift_table_free);
  g_clear_pointer(&member->from, g_bytes_unref);
  g_free(member->folder);
  g_free(member->reweigh);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Member, member_clear)

static gboolean read_task(const gchar *path, Member *member, PipelineTrainOptions *options, GError **error)
{
  json_error_t problem;
  const char *schema = "", *checkpoint = NULL;
  json_t *reweigh = NULL;
  int from = 0, epochs = 0, batch_size = 0, patience = 0;
  json_int_t seed = 0;
  g_autofree gchar *table = file_of(member->folder, table_file), *start = file_of(member->folder, from_file);
  pipeline_train_options_init(options);
  member->json = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
  if (json_unpack_ex(
          member->json, &problem, 0, "{s:s, s:b, s?s, s?s, s:i, s:i, s:i, s:F, s:F, s:F, s?s, s:F, s:I, s?o}", "schema",
          &schema, "from", &from, "architecture", &options->architecture, "backend", &options->backend, "epochs",
          &epochs, "batch_size", &batch_size, "patience", &patience, "learning_rate", &options->learning_rate,
          "weight_decay", &options->weight_decay, "validation_fraction", &options->validation_fraction, "checkpoint",
          &checkpoint, "checkpoint_seconds", &options->checkpoint_seconds, "seed", &seed, "reweigh", &reweigh) != 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s is no task of a training: %s", path, problem.text);
    return FALSE;
  }
  if (epochs < 0 || batch_size < 0 || patience < 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s is no task of a training: a number is negative", path);
    return FALSE;
  }
  options->checkpoint = (gchar *)checkpoint; /* of the task */
  options->epochs = (guint)epochs;
  options->batch_size = (guint)batch_size;
  options->patience = (guint)patience;
  options->seed = (guint64)seed;
  member->reweigh = g_new0(const gchar *, json_array_size(reweigh) + 1);
  for (gsize i = 0; i < json_array_size(reweigh); i++) {
    member->reweigh[i] = json_string_value(json_array_get(reweigh, i));
    if (member->reweigh[i] == NULL) break;
  }
  if (reweigh != NULL) options->reweigh = member->reweigh;
  if ((member->schema = pipeline_model_spec_parse(schema, error)) == NULL ||
      (member->table = pipeline_csv_read(table, error)) == NULL)
    return FALSE;
  options->from = member->from = from ? read_bytes(start, error) : NULL;
  return !from || member->from != NULL;
}

/* --- one of the processes ----------------------------------------------------------------------------------------- */

/* The first one tells, but not so often that telling takes the time. A line that cannot be written costs no work. */
static gboolean tell(const PipelineTrainProgress *progress, gpointer user_data)
{
  Member *member = user_data;
  gint64 now = g_get_monotonic_time();
  gboolean due = progress->epoch == progress->epochs || now - member->told >= TELL_MICROSECONDS;
  if (member->communicator->rank > 0 || !due) return TRUE;
  member->told = now;
  g_autofree gchar *path = file_of(member->folder, progress_file);
  json_t *line = json_pack("{s:i, s:i, s:I}", "epoch", (int)progress->epoch, "epochs", (int)progress->epochs,
                           "rows_seen", (json_int_t)progress->rows_seen);
  json_object_set_new(line, "loss", pipeline_job_real(progress->loss));
  json_object_set_new(line, "validation_loss", pipeline_job_real(progress->validation_loss));
  json_object_set_new(line, "validation_metric", pipeline_job_real(progress->validation_metric));
  json_object_set_new(line, "samples_per_second", pipeline_job_real(progress->samples_per_second));
  json_object_set_new(line, "seconds", pipeline_job_real(progress->seconds));
  write_json(path, line, NULL);
  return TRUE;
}

static gboolean should_stop(gpointer user_data)
{
  const Member *member = user_data;
  return member->stop != NULL && member->stop(member->user_data);
}

static gboolean write_outcome(const gchar *folder, const PipelineTrainResult *result, GError **error)
{
  g_autofree gchar *model = file_of(folder, model_file), *path = file_of(folder, outcome_file);
  json_t *outcome = json_pack("{s:i, s:i, s:I, s:I, s:I, s:s*, s:s*}", "epochs", (int)result->epochs, "best_epoch",
                              (int)result->best_epoch, "n_train", (json_int_t)result->n_train, "n_validation",
                              (json_int_t)result->n_validation, "n_skipped", (json_int_t)result->n_skipped, "warning",
                              result->warning, "backend", result->backend);
  json_object_set_new(outcome, "train_loss", pipeline_job_real(result->train_loss));
  json_object_set_new(outcome, "validation_loss", pipeline_job_real(result->validation_loss));
  json_object_set_new(outcome, "validation_metric", pipeline_job_real(result->validation_metric));
  json_object_set_new(outcome, "seconds", pipeline_job_real(result->seconds));
  json_object_set_new(outcome, "samples_per_second", pipeline_job_real(result->samples_per_second));
  gboolean written = write_bytes(model, result->onnx, error);
  if (written) return write_json(path, outcome, error);
  json_decref(outcome);
  return FALSE;
}

gboolean pipeline_job_gang_member(const gchar *task, PipelineCommunicator *communicator, PipelineTrainStopFunc stop,
                                  gpointer user_data, GError **error)
{
  g_auto(Member)
      member = {.communicator = communicator, .stop = stop, .user_data = user_data, .folder = g_path_get_dirname(task)};
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  g_autoptr(GError) failure = NULL;
  gboolean ready = read_task(task, &member, &options, &failure);
  options.stop = should_stop;
  options.communicator = communicator;
  gboolean done = pipeline_communicator_agree(communicator, ready, &failure) &&
                  pipeline_train(member.table, member.schema, &options, tell, &member, &result, &failure) &&
                  (communicator->rank > 0 || write_outcome(member.folder, &result, &failure));
  pipeline_train_result_clear(&result);
  if (done) return TRUE;
  g_autofree gchar *path = failure_of(member.folder, communicator->rank);
  write_json(path,
             json_pack("{s:i, s:s}", "code", failure->domain == PIPELINE_ERROR ? failure->code : -1, "message",
                       failure->message),
             NULL);
  g_propagate_error(error, g_steal_pointer(&failure));
  return FALSE;
}

/* --- the starter -------------------------------------------------------------------------------------------------- */

gchar *pipeline_job_gang_obstacle(const PipelineTrainOptions *options)
{
  g_autoptr(GError) missing = NULL;
  g_auto(GStrv) environment = g_get_environ();
  const gchar *const argv[] = {"kedge", NULL};
  const PipelineGang gang = {.argv = argv};
  if (pipeline_tree_is_asked(options)) return g_strdup("trees are boosted by one process");
  if (options->from != NULL && options->reweigh != NULL)
    return g_strdup("reweighed rows fine-tune a version in one process");
  if (options->adversarial_epsilon > 0) return g_strdup("adversarial training is for one process");
  if (!pipeline_communicator_check("mpi", &missing)) return g_strdup(missing->message);
  g_auto(GStrv) words = pipeline_gang_list_words(&gang, 2, environment, &missing);
  return words == NULL ? g_strdup(missing->message) : NULL;
}

typedef struct {
  PipelineTraining *training;
  const gchar *folder;
  gint64 told; /* the last epoch */
} Starter;

static void note_start(const gchar *text, gpointer data)
{
  Starter *starter = data;
  pipeline_job_log(starter->training->context, "%s", text);
}

/* Hands on what the first process told; FALSE when the job shall stop. */
static gboolean goes_on(gpointer data)
{
  Starter *starter = data;
  g_autofree gchar *path = file_of(starter->folder, progress_file);
  json_t *line = json_load_file(path, 0, NULL);
  gint64 epoch = whole_of(line, "epoch");
  gboolean news = line != NULL && epoch != starter->told;
  starter->told = epoch;
  const PipelineTrainProgress progress = {.epoch = (guint)epoch,
                                          .epochs = (guint)whole_of(line, "epochs"),
                                          .rows_seen = (guint64)whole_of(line, "rows_seen"),
                                          .loss = real_of(line, "loss"),
                                          .validation_loss = real_of(line, "validation_loss"),
                                          .validation_metric = real_of(line, "validation_metric"),
                                          .samples_per_second = real_of(line, "samples_per_second"),
                                          .seconds = real_of(line, "seconds")};
  json_decref(line);
  return news ? pipeline_training_tell(&progress, starter->training)
              : pipeline_job_check_cancel(starter->training->context, NULL);
}

static gboolean lay_out(const PipelineTraining *training, const PipelineTrainOptions *options, const gchar *folder,
                        GError **error)
{
  g_autofree gchar *table = file_of(folder, table_file), *task = file_of(folder, task_file),
                   *from = file_of(folder, from_file);
  return pipeline_csv_write(table, training->train, error) &&
         (options->from == NULL || write_bytes(from, options->from, error)) &&
         write_json(task, make_task(training, options), error);
}

/* The first process's failure that is its own; what the others only heard of comes last. */
static void take_failure(const gchar *folder, guint processes, gint status, GError **error)
{
  g_autoptr(GError) found = NULL;
  for (guint rank = 0; rank < processes; rank++) {
    g_autofree gchar *path = failure_of(folder, rank);
    json_t *failure = json_load_file(path, 0, NULL);
    const gchar *message = json_string_value(json_object_get(failure, "message"));
    gint64 code = whole_of(failure, "code");
    if (message != NULL && (found == NULL || g_error_matches(found, PIPELINE_ERROR, PIPELINE_ERROR_PEER))) {
      g_clear_error(&found);
      found = g_error_new_literal(PIPELINE_ERROR, code >= 0 ? (gint)code : PIPELINE_ERROR_UNSUPPORTED, message);
    }
    json_decref(failure);
  }
  if (found != NULL)
    g_propagate_error(error, g_steal_pointer(&found));
  else
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "the training by %u processes ended with status %d and without a word", processes, status);
}

static gboolean take_outcome(PipelineTraining *training, const gchar *folder, GError **error)
{
  g_autofree gchar *model = file_of(folder, model_file), *path = file_of(folder, outcome_file);
  GBytes *onnx = read_bytes(model, error);
  if (onnx == NULL) return FALSE;
  json_t *outcome = json_load_file(path, 0, NULL);
  training->trained = (PipelineTrainResult){.onnx = onnx,
                                            .epochs = (guint)whole_of(outcome, "epochs"),
                                            .best_epoch = (guint)whole_of(outcome, "best_epoch"),
                                            .n_train = (guint64)whole_of(outcome, "n_train"),
                                            .n_validation = (guint64)whole_of(outcome, "n_validation"),
                                            .n_skipped = (guint64)whole_of(outcome, "n_skipped"),
                                            .train_loss = real_of(outcome, "train_loss"),
                                            .validation_loss = real_of(outcome, "validation_loss"),
                                            .validation_metric = real_of(outcome, "validation_metric"),
                                            .seconds = real_of(outcome, "seconds"),
                                            .samples_per_second = real_of(outcome, "samples_per_second"),
                                            .test_loss = NAN,
                                            .test_metric = NAN,
                                            .robust_metric = NAN};
  const gchar *warning = json_string_value(json_object_get(outcome, "warning"));
  training->trained.warning = g_strdup(warning);
  training->trained.backend = g_strdup(json_string_value(json_object_get(outcome, "backend")));
  if (warning != NULL) pipeline_job_log(training->context, "%s", warning);
  json_decref(outcome);
  return TRUE;
}

static gboolean run(PipelineTraining *training, const PipelineTrainOptions *options, guint processes,
                    const gchar *folder, GError **error)
{
  g_autoptr(GError) cause = NULL;
  g_autofree gchar *task = file_of(folder, task_file), *program = g_file_read_link("/proc/self/exe", &cause);
  Starter starter = {.training = training, .folder = folder};
  gint status;
  if (program == NULL) return refuse_file(error, cause);
  const gchar *const argv[] = {program, "job", "train", task, NULL};
  const PipelineGang gang = {.argv = argv,
                             .processes = processes,
                             .restarts = processes - 1,
                             .tell = note_start,
                             .goes_on = goes_on,
                             .data = &starter};
  if (!lay_out(training, options, folder, error) || !pipeline_gang_run(&gang, &status, error) ||
      !pipeline_job_check_cancel(training->context, error))
    return FALSE;
  if (status == 0) return take_outcome(training, folder, error);
  take_failure(folder, processes, status, error);
  return FALSE;
}

gboolean pipeline_job_gang_train(PipelineTraining *training, const PipelineTrainOptions *options, guint processes,
                                 GError **error)
{
  g_autofree gchar *folder = pipeline_training_make_folder(training, "gang", error);
  if (folder == NULL) return FALSE;
  pipeline_job_log(training->context, "training by %u processes", processes);
  gboolean done = run(training, options, processes, folder, error);
  pipeline_training_remove_folder(folder);
  return done;
}
