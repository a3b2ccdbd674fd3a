#include "pipeline/job_training.h"

static void training_clear(PipelineTraining *training)
{
  json_decref(training->spec);
  json_decref(training->evaluation);
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
  g_auto(PipelineTraining) training = {.context = context, .own = stages->own};
  gint64 mark = g_get_monotonic_time();
  pipeline_training_progress(&training, "load", 0, NULL);
  if (!stages->load(&training, error) || !pipeline_job_check_cancel(context, error)) return FALSE;
  training.seconds_load = seconds_since(&mark);
  pipeline_training_progress(&training, "train", .1, NULL);
  if (!stages->learn(&training, error) || !pipeline_job_check_cancel(context, error)) return FALSE;
  training.seconds_train = seconds_since(&mark);
  pipeline_job_log(context, "trained in %.2f s: best epoch %u of %u", training.seconds_train,
                   training.trained.best_epoch, training.trained.epochs);
  pipeline_training_progress(&training, "evaluate", .8, NULL);
  if (!stages->judge(&training, error) || !pipeline_job_check_cancel(context, error)) return FALSE;
  training.seconds_evaluate = seconds_since(&mark);
  pipeline_training_progress(&training, "register", .95, NULL);
  return training.unchanged ? pipeline_training_finish_unchanged(&training, error)
                            : pipeline_training_register(&training, error);
}
