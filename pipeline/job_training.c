#include "pipeline/job_training.h"

#include <glib/gstdio.h>

static void training_clear(PipelineTraining *training)
{
  json_decref(training->spec);
  json_decref(training->evaluation);
  json_decref(training->results);
  drift_schema_free(training->schema);
  g_clear_pointer(&training->from, g_bytes_unref);
  g_clear_pointer(&training->champion, g_bytes_unref);
  g_clear_pointer(&training->data, g_array_unref);
  g_clear_pointer(&training->rehearsal, g_array_unref);
  g_clear_pointer(&training->train, drift_table_free);
  g_clear_pointer(&training->holdout, drift_table_free);
  pipeline_train_result_clear(&training->trained);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PipelineTraining, training_clear)

void pipeline_training_progress(PipelineTraining *training, const gchar *stage, double fraction, json_t *members)
{
  json_t *progress = json_pack("{s:s, s:f, s:I}", "stage", stage, "fraction", fraction, "rows",
                               (json_int_t)(training->train != NULL ? training->train->n_rows : 0));
  if (members != NULL) json_object_update(progress, members);
  json_decref(members);
  pipeline_job_progress(training->context, progress);
}

gboolean pipeline_training_tell(const PipelineTrainProgress *progress, gpointer user_data)
{
  PipelineTraining *training = user_data;
  double done = progress->epochs > 0 ? (double)progress->epoch / progress->epochs : 0;
  json_t *members = json_object();
  json_object_set_new(members, "epoch", json_integer(progress->epoch));
  json_object_set_new(members, "epochs", json_integer(progress->epochs));
  json_object_set_new(members, "rows_seen", json_integer((json_int_t)progress->rows_seen));
  json_object_set_new(members, "loss", pipeline_job_real(progress->loss));
  json_object_set_new(members, "validation_loss", pipeline_job_real(progress->validation_loss));
  json_object_set_new(members, "metric", pipeline_job_real(progress->validation_metric));
  json_object_set_new(members, "samples_per_second", pipeline_job_real(progress->samples_per_second));
  json_object_set_new(members, "seconds", pipeline_job_real(progress->seconds));
  pipeline_training_progress(training, "train", .1 + .7 * MIN(done, 1), members);
  return pipeline_job_check_cancel(training->context, NULL);
}

gboolean pipeline_training_resume(PipelineTraining *training, const gchar *checkpoint, PipelineTrainingCall call,
                                  gconstpointer options, GError **error)
{
  if (checkpoint == NULL || !g_file_test(checkpoint, G_FILE_TEST_EXISTS)) return call(training, options, error);
  pipeline_job_log(training->context, "resuming from the checkpoint of an earlier attempt");
  g_autoptr(GError) fault = NULL;
  if (call(training, options, &fault)) return TRUE;
  gboolean may_be_the_checkpoint = g_error_matches(fault, PIPELINE_ERROR, PIPELINE_ERROR_INVALID) ||
                                   g_error_matches(fault, PIPELINE_ERROR, PIPELINE_ERROR_DATA);
  if (!may_be_the_checkpoint) {
    g_propagate_error(error, g_steal_pointer(&fault));
    return FALSE;
  }
  pipeline_job_log(training->context, "training begins anew: %s", fault->message);
  g_unlink(checkpoint);
  return call(training, options, error);
}

void pipeline_training_remove_folder(const gchar *folder)
{
  g_autoptr(GDir) directory = g_dir_open(folder, 0, NULL);
  for (const gchar *name; directory != NULL && (name = g_dir_read_name(directory)) != NULL;) {
    g_autofree gchar *path = g_build_filename(folder, name, NULL);
    g_unlink(path);
  }
  g_rmdir(folder);
}

gchar *pipeline_training_make_folder(const PipelineTraining *training, const gchar *name, GError **error)
{
  g_autofree gchar *template = g_strdup_printf("kedge-%s-XXXXXX", name);
  gchar *folder = pipeline_job_state_path(training->context, name);
  if (folder == NULL) folder = g_dir_make_tmp(template, error);
  if (folder == NULL || g_mkdir_with_parents(folder, 0750) == 0) return folder;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s: the job's folder cannot be made", folder);
  g_free(folder);
  return NULL;
}

gboolean pipeline_training_need_from(const PipelineTraining *training, const gchar *what, GError **error)
{
  if (training->from != NULL) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "%s needs \"from\" in its spec: the version that it begins with", what);
  return FALSE;
}

static double seconds_since(gint64 *mark)
{
  gint64 now = g_get_monotonic_time(), begun = *mark;
  *mark = now;
  return (double)(now - begun) / 1e6;
}

gboolean pipeline_training_run(PipelineJobContext *context, PipelineLearner learner, GError **error)
{
  const PipelineTrainingStages stages = {
      .load = pipeline_training_load, .learn = learner, .judge = pipeline_training_judge};
  return pipeline_training_run_stages(context, &stages, error);
}

gboolean pipeline_training_run_stages(PipelineJobContext *context, const PipelineTrainingStages *stages, GError **error)
{
  g_auto(PipelineTraining)
      training = {.context = context, .settle = stages->settle, .results = json_object(), .own = stages->own};
  gint64 mark = g_get_monotonic_time();
  pipeline_training_progress(&training, "load", 0, NULL);
  if (!stages->load(&training, error) || !pipeline_job_check_cancel(context, error)) return FALSE;
  training.seconds_load = seconds_since(&mark);
  pipeline_training_progress(&training, "train", .1, NULL);
  if (!stages->learn(&training, error) || !pipeline_job_check_cancel(context, error)) return FALSE;
  training.seconds_train = seconds_since(&mark);
  if (training.trained.epochs > 0)
    pipeline_job_log(context, "trained in %.2f s: best epoch %u of %u", training.seconds_train,
                     training.trained.best_epoch, training.trained.epochs);
  pipeline_training_progress(&training, "evaluate", .8, NULL);
  if (!stages->judge(&training, error) || !pipeline_job_check_cancel(context, error)) return FALSE;
  json_object_update(training.evaluation, training.results);
  training.seconds_evaluate = seconds_since(&mark);
  pipeline_training_progress(&training, "register", .95, NULL);
  return training.unchanged ? pipeline_training_finish_unchanged(&training, error)
                            : pipeline_training_register(&training, error);
}
