/* "retrain": a new version from scratch or fine-tuned, on the rows since the change. */
#include "pipeline/job_training.h"

#include <glib/gstdio.h>

#include "pipeline/graph_trainer.h"
#include "pipeline/tree_ensemble.h"

/* One file a job; ids may hold any text. */
static gchar *checkpoint_path(const PipelineJobContext *context)
{
  if (context->state_directory == NULL) return NULL;
  g_autofree gchar *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, context->job->id, -1);
  g_autofree gchar *name = g_strndup(context->job->id, 80);
  for (gchar *c = name; *c != '\0'; c++)
    if (!g_ascii_isalnum(*c) && *c != '-' && *c != '_') *c = '-';
  return g_strdup_printf("%s/%s-%.16s.safetensors", context->state_directory, name, digest);
}

/* "auto" keeps the champion's family. */
static const gchar *choose_architecture(const PipelineTraining *training, const gchar *wanted, const gchar *fallback)
{
  if (!g_str_equal(wanted, PIPELINE_ARCHITECTURE_AUTO)) return wanted;
  return training->champion != NULL && pipeline_tree_onnx_is_ensemble(training->champion) ? "trees" : fallback;
}

static gboolean read_options(const PipelineTraining *training, PipelineTrainOptions *options, GError **error)
{
  const json_t *spec = training->spec;
  pipeline_train_options_init(options);
  const gchar *fallback = options->architecture;
  gint64 epochs = options->epochs, batch_size = options->batch_size, patience = options->patience, steps = 7;
  gboolean read = pipeline_job_spec_text(spec, "architecture", &options->architecture, error) &&
                  pipeline_job_spec_text(spec, "backend", &options->backend, error) &&
                  pipeline_job_spec_integer(spec, "epochs", 1, 1000000, &epochs, error) &&
                  pipeline_job_spec_integer(spec, "batch_size", 1, 1000000, &batch_size, error) &&
                  pipeline_job_spec_integer(spec, "patience", 0, 1000000, &patience, error) &&
                  pipeline_job_spec_integer(spec, "adversarial_steps", 0, 1000, &steps, error) &&
                  pipeline_job_spec_real(spec, "learning_rate", 1e-9, 10, &options->learning_rate, error) &&
                  pipeline_job_spec_real(spec, "weight_decay", 0, 10, &options->weight_decay, error) &&
                  pipeline_job_spec_real(spec, "validation_fraction", 0, .9, &options->validation_fraction, error) &&
                  pipeline_job_spec_real(spec, "checkpoint_seconds", 0, 1e6, &options->checkpoint_seconds, error) &&
                  pipeline_job_spec_real(spec, "adversarial_epsilon", 0, 100, &options->adversarial_epsilon, error);
  if (!read) return FALSE;
  options->architecture = choose_architecture(training, options->architecture, fallback);
  options->epochs = (guint)epochs;
  options->batch_size = (guint)batch_size;
  options->patience = (guint)patience;
  options->adversarial_steps = options->adversarial_epsilon > 0 ? (guint)MAX(steps, 1) : 0;
  options->seed = (guint64)training->seed;
  options->from = training->from;
  return TRUE;
}

static gboolean tell_progress(const PipelineTrainProgress *progress, gpointer user_data)
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

static gboolean train(PipelineTraining *training, const PipelineTrainOptions *options, GError **error)
{
  return pipeline_train(training->train, training->schema, options, tell_progress, training, &training->trained, error);
}

/* A checkpoint that cannot be used (damaged, of another program version) costs the work it held, not the job. */
static gboolean train_from_checkpoint(PipelineTraining *training, const PipelineTrainOptions *options, GError **error)
{
  g_autoptr(GError) fault = NULL;
  if (train(training, options, &fault)) return TRUE;
  gboolean may_be_the_checkpoint = g_error_matches(fault, PIPELINE_ERROR, PIPELINE_ERROR_INVALID) ||
                                   g_error_matches(fault, PIPELINE_ERROR, PIPELINE_ERROR_DATA);
  if (!may_be_the_checkpoint) {
    g_propagate_error(error, g_steal_pointer(&fault));
    return FALSE;
  }
  pipeline_job_log(training->context, "training begins anew: %s", fault->message);
  g_unlink(options->checkpoint);
  return train(training, options, error);
}

/* --- hardening: a second training, on the graph ------------------------------------------------------------------- */

/* The method of spec's "harden"; NULL without an error: none. */
static const PipelineHardenMethod *find_method(const PipelineTraining *training, GError **error)
{
  const gchar *name = "none";
  if (!pipeline_job_spec_text(training->spec, "harden", &name, error) || g_str_equal(name, "none")) return NULL;
  return pipeline_harden_find(name, error);
}

static gboolean harden_on_graph(PipelineTraining *training, const PipelineTrainOptions *options,
                                const PipelineHardenMethod *method, GError **error)
{
  PipelineGraphTrainOptions graph;
  PipelineTrainResult result = {0};
  g_autoptr(PipelineGraphRows) rows = pipeline_graph_rows_from_table(training->train, training->schema, error);
  if (rows == NULL) return FALSE;
  pipeline_graph_train_options_init(&graph);
  graph.from = training->trained.onnx;
  graph.backend = options->backend;
  graph.validation_fraction = options->validation_fraction;
  graph.fit.seed = options->seed;
  graph.fit.harden = (PipelineHardenOptions){
      .method = method, .epsilon = options->adversarial_epsilon, .steps = options->adversarial_steps};
  if (!pipeline_graph_train(rows, &graph, tell_progress, training, &result, error)) return FALSE;
  pipeline_job_log(training->context, "hardened by %s at epsilon %g: metric under PGD %.4f%s%s", method->name,
                   options->adversarial_epsilon, result.robust_metric, result.warning != NULL ? "; " : "",
                   result.warning != NULL ? result.warning : "");
  pipeline_train_result_clear(&training->trained);
  training->trained = result;
  return TRUE;
}

/* What the graph cannot take (texts, missing numbers, no gradients) is trained anew against PGD by the trainer that
 * made it. */
static gboolean harden(PipelineTraining *training, const PipelineTrainOptions *options,
                       const PipelineHardenMethod *method, GError **error)
{
  g_autoptr(GError) reason = NULL;
  if (harden_on_graph(training, options, method, &reason)) return TRUE;
  if (!g_error_matches(reason, PIPELINE_ERROR, PIPELINE_ERROR_DATA) &&
      !g_error_matches(reason, PIPELINE_ERROR, PIPELINE_ERROR_MODEL) &&
      !g_error_matches(reason, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED)) {
    g_propagate_error(error, g_steal_pointer(&reason));
    return FALSE;
  }
  pipeline_job_log(training->context, "%s is not for this model: %s; it is trained against PGD instead", method->name,
                   reason->message);
  PipelineTrainOptions anew = *options;
  anew.checkpoint = NULL;
  pipeline_train_result_clear(&training->trained);
  return train(training, &anew, error);
}

static gchar **sensitive_names(const DriftSchema *schema)
{
  GPtrArray *names = g_ptr_array_new();
  for (guint i = 0; i < drift_schema_n_features(schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    if (feature->sensitive) g_ptr_array_add(names, g_strdup(feature->name));
  }
  g_ptr_array_add(names, NULL);
  return (gchar **)g_ptr_array_free(names, FALSE);
}

static gboolean learn(PipelineTraining *training, GError **error)
{
  PipelineTrainOptions options;
  if (!read_options(training, &options, error)) return FALSE;
  g_auto(GStrv) sensitive = sensitive_names(training->schema);
  if (json_is_true(json_object_get(training->spec, "reweigh"))) {
    if (training->schema->task == DRIFT_TASK_BINARY && *sensitive != NULL)
      options.reweigh = (const gchar *const *)sensitive;
    else
      pipeline_job_log(training->context, "rows are not reweighed: that needs two classes and a sensitive feature");
  }
  g_autofree gchar *checkpoint = checkpoint_path(training->context);
  if (checkpoint != NULL && g_mkdir_with_parents(training->context->state_directory, 0750) == 0)
    options.checkpoint = checkpoint;
  gboolean resumes = options.checkpoint != NULL && g_file_test(checkpoint, G_FILE_TEST_EXISTS);
  if (resumes) pipeline_job_log(training->context, "resuming from the checkpoint of an earlier attempt");
  g_autoptr(GError) unknown = NULL;
  const PipelineHardenMethod *method = find_method(training, &unknown);
  if (unknown != NULL) {
    g_propagate_error(error, g_steal_pointer(&unknown));
    return FALSE;
  }
  gboolean hardens = method != NULL && options.adversarial_epsilon > 0;
  PipelineTrainOptions plain = options;
  if (hardens) plain.adversarial_epsilon = 0;
  if (!(resumes ? train_from_checkpoint(training, &plain, error) : train(training, &plain, error)) ||
      (hardens && !harden(training, &options, method, error)))
    return FALSE;
  if (checkpoint != NULL) g_unlink(checkpoint);
  return TRUE;
}

static gboolean run(PipelineJobContext *context, GError **error)
{
  return pipeline_training_run(context, learn, error);
}

const PipelineJobKind pipeline_job_kind_retrain = {
    .kind = "retrain",
    .summary = "train a new version on the rows since the change",
    .run = run,
};
