/* "retrain": a new version from scratch or fine-tuned, on the rows since the change. */
#include "pipeline/job_gang.h"

#include <glib/gstdio.h>

#include "pipeline/graph_trainer.h"
#include "pipeline/tree_ensemble.h"

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

static gboolean train_alone(PipelineTraining *training, gconstpointer options, GError **error)
{
  return pipeline_train(training->train, training->schema, options, pipeline_training_tell, training,
                        &training->trained, error);
}

/* By as many processes as the spec asks for and the machine, the model and the rows allow; else by one, and the log
 * says why. */
static gboolean train(PipelineTraining *training, gconstpointer options, GError **error)
{
  gint64 processes = 1;
  g_autoptr(GError) reason = NULL;
  if (!pipeline_job_spec_integer(training->spec, "processes", 1, PIPELINE_JOB_PROCESSES, &processes, error))
    return FALSE;
  if (processes == 1) return train_alone(training, options, error);
  g_autofree gchar *obstacle = pipeline_job_gang_obstacle(options);
  if (obstacle == NULL) {
    if (pipeline_job_gang_train(training, options, (guint)processes, &reason)) return TRUE;
    if (!pipeline_training_graph_refused(reason)) {
      g_propagate_error(error, g_steal_pointer(&reason));
      return FALSE;
    }
    const PipelineTrainOptions *own = options;
    if (own->checkpoint != NULL) g_unlink(own->checkpoint); /* of a training on the graph */
  }
  pipeline_job_log(training->context, "trained by one process instead of %d: %s", (gint)processes,
                   obstacle != NULL ? obstacle : reason->message);
  return train_alone(training, options, error);
}

/* --- hardening: a second training, on the graph ------------------------------------------------------------------- */

/* The method of spec's "harden"; NULL without an error: none. */
static const PipelineHardenMethod *find_method(const PipelineTraining *training, GError **error)
{
  const gchar *name = "none";
  if (!pipeline_job_spec_text(training->spec, "harden", &name, error) || g_str_equal(name, "none")) return NULL;
  return pipeline_harden_find(name, error);
}

/* What the graph cannot take (texts, missing numbers, no gradients) is trained anew against PGD by the trainer that
 * made it. */
static gboolean harden(PipelineTraining *training, const PipelineTrainOptions *options,
                       const PipelineHardenMethod *method, GError **error)
{
  g_autoptr(GError) reason = NULL;
  PipelineGraphTrainOptions graph;
  pipeline_graph_train_options_init(&graph);
  graph.from = training->trained.onnx;
  graph.backend = options->backend;
  graph.validation_fraction = options->validation_fraction;
  graph.fit.seed = options->seed;
  graph.fit.harden = (PipelineHardenOptions){
      .method = method, .epsilon = options->adversarial_epsilon, .steps = options->adversarial_steps};
  if (pipeline_training_harden(training, &graph, &reason)) return TRUE;
  if (!pipeline_training_graph_refused(reason)) {
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
  g_autofree gchar *checkpoint = pipeline_job_state_path(training->context, "safetensors");
  options.checkpoint = checkpoint;
  g_autoptr(GError) unknown = NULL;
  const PipelineHardenMethod *method = find_method(training, &unknown);
  if (unknown != NULL) {
    g_propagate_error(error, g_steal_pointer(&unknown));
    return FALSE;
  }
  gboolean hardens = method != NULL && options.adversarial_epsilon > 0;
  PipelineTrainOptions plain = options;
  if (hardens) plain.adversarial_epsilon = 0;
  if (!pipeline_training_resume(training, checkpoint, train, &plain, error) ||
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
