/* "harden": a version trained on against attacks, keeping its architecture. */
#include <glib/gstdio.h>
#include <stddef.h>

#include "pipeline/job_training.h"
#include "pipeline/tree_ensemble.h"

typedef struct {
  const gchar *method, *norm, *unit, *range, *backend;
  double epsilon, step_size, beta, learning_rate, weight_decay, validation_fraction, checkpoint_seconds;
  guint steps, replays, epochs, batch_size, patience;
} Options;

static const gchar *const methods[] = {"pgd", "free", "fast", "trades", NULL}; /* of pipeline_harden_methods */

#define AT(member) offsetof(Options, member)
static const PipelineJobField fields[] = {
    {"method", PIPELINE_FIELD_CHOICE, AT(method), 0, 0, methods, "pgd, free, fast or trades"},
    {"epsilon", PIPELINE_FIELD_REAL, AT(epsilon), 1e-12, 1e6, NULL, "radius that the version shall stand"},
    {"norm", PIPELINE_FIELD_CHOICE, AT(norm), 0, 0, pipeline_job_field_norms, "of the radius"},
    {"unit", PIPELINE_FIELD_CHOICE, AT(unit), 0, 0, pipeline_job_field_units, "of the radius"},
    {"range", PIPELINE_FIELD_CHOICE, AT(range), 0, 0, pipeline_job_field_ranges, "of moved numbers"},
    {"steps", PIPELINE_FIELD_COUNT, AT(steps), 1, 1000, NULL, "of pgd and trades"},
    {"step_size", PIPELINE_FIELD_REAL, AT(step_size), 0, 1e6, NULL, "0: the method's"},
    {"replays", PIPELINE_FIELD_COUNT, AT(replays), 0, 1000, NULL, "of free; 0: 4"},
    {"beta", PIPELINE_FIELD_REAL, AT(beta), 0, 1e6, NULL, "of trades; 0: 6"},
    {"epochs", PIPELINE_FIELD_COUNT, AT(epochs), 1, 100000, NULL, "passes over the rows"},
    {"batch_size", PIPELINE_FIELD_COUNT, AT(batch_size), 1, 65536, NULL, "rows a step"},
    {"patience", PIPELINE_FIELD_COUNT, AT(patience), 0, 100000, NULL, "epochs without a better loss; 0: never"},
    {"learning_rate", PIPELINE_FIELD_REAL, AT(learning_rate), 1e-9, 10, NULL, "falling along a cosine"},
    {"weight_decay", PIPELINE_FIELD_REAL, AT(weight_decay), 0, 10, NULL, "decoupled"},
    {"validation_fraction", PIPELINE_FIELD_REAL, AT(validation_fraction), 0, .9, NULL,
     "of the training rows, the last"},
    {"checkpoint_seconds", PIPELINE_FIELD_REAL, AT(checkpoint_seconds), 0, 1e6, NULL, "between checkpoints, at least"},
    {"backend", PIPELINE_FIELD_TEXT, AT(backend), 0, 0, NULL, "cuda, onednn or reference"},
    {.name = NULL}};

static void options_init(Options *options)
{
  PipelineGraphTrainOptions graph;
  pipeline_graph_train_options_init(&graph);
  *options = (Options){.method = "pgd",
                       .norm = "inf",
                       .unit = "sd",
                       .range = "data",
                       .steps = 7,
                       .epochs = graph.fit.epochs,
                       .batch_size = graph.fit.batch_size,
                       .patience = graph.fit.patience,
                       .learning_rate = graph.fit.learning_rate,
                       .weight_decay = graph.fit.optimiser_options.weight_decay,
                       .validation_fraction = graph.validation_fraction,
                       .checkpoint_seconds = graph.checkpoint_seconds};
}

static gboolean read_options(const json_t *spec, Options *options, GError **error)
{
  options_init(options);
  if (!pipeline_job_fields_read(fields, spec, options, error)) return FALSE;
  if (options->epsilon > 0) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "epsilon is missing from the job's spec: the radius that the version shall stand, above 0");
  return FALSE;
}

/* --- on the graph ------------------------------------------------------------------------------------------------- */

gboolean pipeline_training_graph_refused(const GError *error)
{
  return g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA) ||
         g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL) ||
         g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED);
}

gboolean pipeline_training_harden(PipelineTraining *training, const PipelineGraphTrainOptions *options, GError **error)
{
  PipelineTrainResult result = {0};
  const PipelineHardenOptions *harden = &options->fit.harden;
  g_autoptr(PipelineGraphRows) rows = pipeline_graph_rows_from_table(training->train, training->schema, error);
  if (rows == NULL || !pipeline_graph_train(rows, options, pipeline_training_tell, training, &result, error))
    return FALSE;
  pipeline_job_log(training->context, "hardened by %s at epsilon %g: metric under PGD %.4f%s%s", harden->method->name,
                   harden->epsilon, result.robust_metric, result.warning != NULL ? "; " : "",
                   result.warning != NULL ? result.warning : "");
  pipeline_train_result_clear(&training->trained);
  training->trained = result;
  return TRUE;
}

static gboolean harden_graph(PipelineTraining *training, gconstpointer options, GError **error)
{
  return pipeline_training_harden(training, options, error);
}

static gboolean fill_graph(const PipelineTraining *training, const Options *options, PipelineGraphTrainOptions *graph,
                           GError **error)
{
  pipeline_graph_train_options_init(graph);
  graph->from = training->from;
  graph->backend = options->backend;
  graph->validation_fraction = options->validation_fraction;
  graph->checkpoint_seconds = options->checkpoint_seconds;
  graph->fit.seed = (guint64)training->seed;
  graph->fit.epochs = options->epochs;
  graph->fit.batch_size = options->batch_size;
  graph->fit.patience = options->patience;
  graph->fit.learning_rate = options->learning_rate;
  graph->fit.optimiser_options.weight_decay = options->weight_decay;
  graph->harden_absolute = g_str_equal(options->unit, "absolute");
  graph->harden_range = g_str_equal(options->range, "none") ? PIPELINE_RANGE_NONE : PIPELINE_RANGE_DATA;
  graph->fit.harden =
      (PipelineHardenOptions){.method = pipeline_harden_find(options->method, error),
                              .norm = g_str_equal(options->norm, "2") ? PIPELINE_NORM_2 : PIPELINE_NORM_INFINITY,
                              .epsilon = options->epsilon,
                              .steps = options->steps,
                              .step_size = options->step_size,
                              .replays = options->replays,
                              .beta = options->beta};
  return graph->fit.harden.method != NULL;
}

/* --- rows of texts, or with missing numbers: the trainer of dense layers ------------------------------------------ */

static gboolean train_dense(PipelineTraining *training, gconstpointer options, GError **error)
{
  return pipeline_train(training->train, training->schema, options, pipeline_training_tell, training,
                        &training->trained, error);
}

static gboolean harden_dense(PipelineTraining *training, const Options *options, gchar *checkpoint, GError **error)
{
  PipelineTrainOptions dense;
  pipeline_train_options_init(&dense);
  dense.from = training->from;
  dense.backend = options->backend;
  dense.epochs = options->epochs;
  dense.batch_size = options->batch_size;
  dense.patience = options->patience;
  dense.learning_rate = options->learning_rate;
  dense.weight_decay = options->weight_decay;
  dense.validation_fraction = options->validation_fraction;
  dense.seed = (guint64)training->seed;
  dense.adversarial_epsilon = options->epsilon;
  dense.adversarial_steps = options->steps;
  dense.checkpoint = checkpoint;
  dense.checkpoint_seconds = options->checkpoint_seconds;
  return pipeline_training_resume(training, checkpoint, train_dense, &dense, error);
}

/* That trainer knows PGD in standard deviations, norm inf, without ranges. */
static gboolean is_plain(const Options *options)
{
  return g_str_equal(options->norm, "inf") && g_str_equal(options->unit, "sd") && options->step_size == 0;
}

/* --- the kind ----------------------------------------------------------------------------------------------------- */

static gboolean learn(PipelineTraining *training, GError **error)
{
  Options options;
  PipelineGraphTrainOptions graph;
  g_autoptr(GError) reason = NULL;
  if (!read_options(training->spec, &options, error) || !pipeline_training_need_from(training, "hardening", error) ||
      !fill_graph(training, &options, &graph, error))
    return FALSE;
  if (pipeline_tree_onnx_is_ensemble(training->from)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "an ensemble of trees has no gradients and cannot be trained against attacks");
    return FALSE;
  }
  training->judges_from = TRUE;
  if (training->robust_epsilon == 0 && is_plain(&options)) training->robust_epsilon = options.epsilon;
  g_autofree gchar *checkpoint = pipeline_job_state_path(training->context, "safetensors");
  g_autofree gchar *dense_checkpoint = pipeline_job_state_path(training->context, "dense.safetensors");
  graph.checkpoint = checkpoint;
  gboolean done = pipeline_training_resume(training, checkpoint, harden_graph, &graph, &reason);
  if (!done && pipeline_training_graph_refused(reason) && is_plain(&options)) {
    pipeline_job_log(training->context, "not on the graph: %s; trained against PGD by the dense trainer",
                     reason->message);
    g_clear_error(&reason);
    done = harden_dense(training, &options, dense_checkpoint, &reason);
  }
  if (reason != NULL) g_propagate_error(error, g_steal_pointer(&reason));
  if (done && checkpoint != NULL) g_unlink(checkpoint), g_unlink(dense_checkpoint);
  return done;
}

static gboolean check(const json_t *spec, GError **error)
{
  Options options;
  return read_options(spec, &options, error);
}

static gboolean run(PipelineJobContext *context, GError **error)
{
  return pipeline_training_run(context, learn, error);
}

const PipelineJobKind pipeline_job_kind_harden = {
    .kind = "harden",
    .summary = "train a version on against attacks",
    .fields = fields,
    .check = check,
    .run = run,
};
