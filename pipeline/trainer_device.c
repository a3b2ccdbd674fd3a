#include "pipeline/trainer_device.h"

#include "pipeline/graph_trainer.h"
#include "pipeline/network_build.h"
#include "pipeline/trainer_graph.h"
#include "pipeline/trainer_rows.h"

gboolean pipeline_train_needs_graph(const PipelineTrainOptions *options)
{
  return g_strcmp0(options->backend, pipeline_gradient_backend_cuda.name) == 0;
}

static gboolean check(const PipelineTrainOptions *o, GError **error)
{
  const struct {
    gboolean asked;
    const gchar *what;
  } rules[] = {{o->split != NULL, "a split"},
               {o->plan != NULL || o->search_plan, "transformations"},
               {o->reweigh != NULL, "reweighing"},
               {o->clean != NULL, "cleaning"},
               {o->adversarial_epsilon > 0, "adversarial training of a dense network (a graph has its own)"}};
  for (guint i = 0; i < G_N_ELEMENTS(rules); i++) {
    if (!rules[i].asked) continue;
    g_set_error(
        error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s the graph, which does not take %s: leave it out, or %s",
        o->communicator != NULL ? "several processes train a given model on" : "the backend 'cuda' trains on",
        rules[i].what, o->communicator != NULL ? "train by one process" : "take the backend onednn or reference");
    return FALSE;
  }
  return TRUE;
}

/* The first weights and the scaling of columns are those of the other backends. */
static GBytes *build(const DriftTable *table, const DriftSchema *schema, const PipelineTrainOptions *options,
                     GError **error)
{
  g_autoptr(PipelineTrainerRows) rows = pipeline_trainer_rows_new(table, schema, error);
  if (rows == NULL) return NULL;
  pipeline_trainer_rows_split(rows, options->validation_fraction, PIPELINE_MIN_VALIDATION, options->shuffle_split,
                              options->seed);
  return pipeline_network_build(options->architecture, table, schema, rows->rows, rows->n_train,
                                schema->task == DRIFT_TASK_REGRESSION ? rows->targets : NULL, options->seed, error);
}

static void fill(const PipelineTrainOptions *options, guint64 n_rows, GBytes *from, PipelineGraphTrainOptions *graph)
{
  pipeline_graph_train_options_init(graph);
  graph->from = from;
  graph->backend = options->backend;
  graph->validation_fraction = options->validation_fraction;
  graph->shuffle_split = options->shuffle_split;
  graph->checkpoint = options->checkpoint;
  graph->checkpoint_seconds = options->checkpoint_seconds;
  graph->calibration = options->calibration;
  graph->stop = options->stop;
  graph->fit.learning_rate = options->learning_rate;
  graph->fit.optimiser_options.weight_decay = options->weight_decay;
  graph->fit.patience = options->patience;
  graph->fit.communicator = options->communicator;
  graph->fit.seed = options->seed;
  pipeline_trainer_choose_schedule(options, (guint64)((double)n_rows * (1 - options->validation_fraction)),
                                   &graph->fit.batch_size, &graph->fit.epochs);
}

gboolean pipeline_train_on_graph(const DriftTable *table, const DriftSchema *schema,
                                 const PipelineTrainOptions *options, PipelineTrainProgressFunc progress,
                                 gpointer user_data, PipelineTrainResult *result, GError **error)
{
  PipelineGraphTrainOptions graph;
  g_autoptr(GBytes) from = NULL;
  g_autoptr(PipelineGraphRows) rows =
      check(options, error) ? pipeline_graph_rows_from_table(table, schema, error) : NULL;
  gboolean ready =
      rows != NULL &&
      (options->row_weights == NULL ||
       pipeline_graph_rows_set_weights(rows, options->row_weights, table->n_rows, error)) &&
      (from = options->from != NULL ? g_bytes_ref(options->from) : build(table, schema, options, error)) != NULL;
  if (!pipeline_communicator_agree(options->communicator, ready, error) || !ready) return FALSE;
  fill(options, rows->n_rows, from, &graph);
  return pipeline_graph_train(rows, &graph, progress, user_data, result, error);
}
