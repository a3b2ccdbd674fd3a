#include "pipeline/trainer_graph.h"

#include <string.h>

#include "pipeline/graph_architecture.h"
#include "pipeline/trainer_clean.h"
#include "pipeline/trainer_front.h"
#include "pipeline/trainer_weights.h"

gboolean pipeline_trainer_graph_is_asked(const PipelineTrainOptions *options)
{
  return options->from == NULL && options->architecture != NULL &&
         pipeline_graph_architecture_needs_graph(options->architecture);
}

/* --- the parts of one training ------------------------------------------------------------------------------------ */

typedef struct {
  const DriftTable *table;
  const DriftSchema *schema;
  const PipelineTrainOptions *options;
  PipelineTrainerRows *rows;
  PipelineTrainerFront *front; /* NULL: of images */
  PipelineTrainerCleaning cleaning;
  PipelineReweighing reweighing;
  PipelineGraphRows *inner; /* what the layers are trained on: training, validation, test rows */
} Training;

static void training_clear(Training *training)
{
  pipeline_trainer_rows_free(training->rows);
  pipeline_trainer_front_free(training->front);
  pipeline_graph_rows_free(training->inner);
  pipeline_trainer_cleaning_clear(&training->cleaning);
}

static gboolean is_image(const Training *training)
{
  return training->options->channels > 0;
}

/* --- the preprocessing -------------------------------------------------------------------------------------------- */

static gboolean add_front(Training *training, GError **error)
{
  const PipelineTrainOptions *options = training->options;
  const PipelineTrainerRows *rows = training->rows;
  g_autoptr(PipelinePlan) found = NULL;
  training->front = pipeline_trainer_front_new(training->schema, error);
  if (training->front == NULL) return FALSE;
  if (options->search_plan && !pipeline_trainer_search_plan(training->table, training->schema, options, rows->rows,
                                                            rows->n_train, &found, error))
    return FALSE;
  return pipeline_trainer_front_fit(training->front, training->table, rows, found != NULL ? found : options->plan,
                                    options->seed, error);
}

/* --- what the layers are trained on ------------------------------------------------------------------------------- */

DriftSchema *pipeline_trainer_graph_schema(const DriftSchema *schema, guint width)
{
  DriftSchema *inner = drift_schema_new(schema->task, schema->label);
  for (guint c = 0; c < schema->classes->len; c++) drift_schema_add_class(inner, g_ptr_array_index(schema->classes, c));
  inner->positive_class = schema->positive_class;
  for (guint i = 0; i < width; i++) {
    g_autofree gchar *name = g_strdup_printf("x[%u]", i);
    drift_schema_add_feature(inner, name, DRIFT_NUMERIC, FALSE, TRUE);
  }
  return inner;
}

PipelineGraphRows *pipeline_trainer_graph_rows(DriftSchema *schema, const float *x, gsize width, const guint64 *places,
                                               const PipelineTrainerRows *rows, guint64 n, GError **error)
{
  g_autoptr(PipelineGraphRows) inner = g_new0(PipelineGraphRows, 1);
  inner->schema = schema;
  inner->spill = pipeline_spill_new(n * width * sizeof(float), PIPELINE_SPILL_LARGE, error);
  if (inner->spill == NULL) return NULL;
  inner->x = pipeline_spill_get_data(inner->spill);
  inner->n_rows = n;
  inner->n_skipped = rows->n_skipped;
  inner->n_features = width;
  inner->targets = g_new(float, n + 1);
  inner->numbers = g_new(guint64, n + 1);
  for (guint64 i = 0; i < n; i++) {
    guint64 row = inner->numbers[i] = rows->rows[i];
    inner->targets[i] = rows->targets[row];
    memcpy(inner->x + i * width, x + (places != NULL ? places[row] : row) * width, width * sizeof(float));
  }
  return g_steal_pointer(&inner);
}

void pipeline_trainer_graph_take_weights(PipelineGraphRows *rows, const float *weights)
{
  if (weights == NULL) return;
  rows->weights = g_new(float, rows->n_rows + 1);
  for (guint64 i = 0; i < rows->n_rows; i++) rows->weights[i] = weights[rows->numbers[i]];
}

static gboolean take_prepared(Training *training, GError **error)
{
  training->inner = pipeline_trainer_front_read(training->front, training->table, training->rows, error);
  return training->inner != NULL;
}

static gboolean take_pixels(Training *training, GError **error)
{
  const PipelineTrainOptions *options = training->options;
  g_autoptr(PipelineGraphRows) all = pipeline_graph_rows_from_table(training->table, training->schema, error);
  if (all == NULL) return FALSE;
  const PipelineTrainerRows *rows = training->rows;
  g_autofree guint64 *places = g_new(guint64, training->table->n_rows + 1);
  for (guint64 i = 0; i < all->n_rows; i++) places[all->numbers[i]] = i;
  training->inner = pipeline_trainer_graph_rows(drift_schema_copy(all->schema), all->x, all->n_features, places, rows,
                                                rows->n_train + rows->n_validation + rows->n_test, error);
  if (training->inner == NULL) return FALSE;
  training->inner->channels = options->channels;
  training->inner->height = options->height;
  training->inner->width = options->width;
  return TRUE;
}

static gboolean take_weights(Training *training, GError **error)
{
  float *weights = NULL;
  if (!pipeline_trainer_weights(training->table, training->schema, training->options, training->rows,
                                &training->reweighing, &weights, error))
    return FALSE;
  pipeline_trainer_graph_take_weights(training->inner, weights);
  g_free(weights);
  return TRUE;
}

void pipeline_trainer_graph_options(const PipelineTrainOptions *options, guint64 n_train,
                                    PipelineGraphTrainOptions *graph)
{
  pipeline_graph_train_options_init(graph);
  graph->backend = options->backend;
  graph->checkpoint = options->checkpoint;
  graph->checkpoint_seconds = options->checkpoint_seconds;
  graph->stop = options->stop;
  graph->fit.communicator = options->communicator;
  graph->fit.seed = options->seed;
  graph->fit.patience = options->patience;
  graph->fit.learning_rate = options->learning_rate;
  graph->fit.optimiser_options.weight_decay = options->weight_decay;
  pipeline_trainer_choose_schedule(options, n_train, &graph->fit.batch_size, &graph->fit.epochs);
}

static void fill_options(const Training *training, PipelineGraphTrainOptions *graph)
{
  const PipelineTrainOptions *options = training->options;
  const PipelineTrainerRows *rows = training->rows;
  double n = (double)training->inner->n_rows;
  pipeline_trainer_graph_options(options, rows->n_train, graph);
  graph->architecture = options->architecture;
  graph->dropout = options->dropout;
  graph->calibration = options->calibration;
  graph->standardised = training->front != NULL ? (const gboolean *)training->front->prefix.constant->data : NULL;
  graph->validation_fraction = (double)rows->n_validation / n;
  graph->test_fraction = (double)rows->n_test / n;
}

/* --- one graph ---------------------------------------------------------------------------------------------------- */

static gboolean join_result(const Training *training, PipelineTrainResult *result, GError **error)
{
  if (training->front == NULL) return TRUE;
  GBytes *onnx = pipeline_trainer_front_join(training->front, result->onnx, error);
  if (onnx == NULL) return FALSE;
  g_bytes_unref(result->onnx);
  result->onnx = onnx;
  return TRUE;
}

gboolean pipeline_trainer_graph_run(const DriftTable *table, const DriftSchema *schema,
                                    const PipelineTrainOptions *options, PipelineTrainProgressFunc progress,
                                    gpointer user_data, PipelineTrainResult *result, GError **error)
{
  Training training = {.table = table, .schema = schema, .options = options};
  PipelineGraphTrainOptions graph;
  PipelineTrainResult made = {0};
  if (options->adversarial_epsilon > 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "adversarial training of tables is for chains of dense layers; leave out what is behind the \"+\" of "
                "\"%s\"",
                options->architecture);
    return FALSE;
  }
  training.rows = pipeline_trainer_divide(training.table, training.schema, options, error);
  gboolean done = training.rows != NULL &&
                  pipeline_trainer_clean(&training.table, schema, training.rows, options, &training.cleaning, error) &&
                  (is_image(&training) ? take_pixels(&training, error)
                                       : add_front(&training, error) && take_prepared(&training, error)) &&
                  take_weights(&training, error);
  done = pipeline_communicator_agree(options->communicator, done, error);
  if (done) {
    fill_options(&training, &graph);
    done = pipeline_graph_train(training.inner, &graph, progress, user_data, &made, error) &&
           join_result(&training, &made, error);
  }
  if (done) {
    made.reweighing = training.reweighing;
    made.cleaning = g_strdup(training.cleaning.report);
    if (training.front != NULL && training.front->prepared != NULL)
      made.plan = pipeline_prepared_format_plan(training.front->prepared);
    *result = made;
  } else {
    pipeline_train_result_clear(&made);
  }
  training_clear(&training);
  return done;
}

/* --- a graph as it is given --------------------------------------------------------------------------------------- */

static gboolean check_whole(const PipelineTrainOptions *o, GError **error)
{
  const struct {
    gboolean asked;
    const gchar *what;
  } rules[] = {{o->split != NULL, "a split"}, {o->reweigh != NULL, "reweighing"}, {o->clean != NULL, "cleaning"}};
  for (guint i = 0; i < G_N_ELEMENTS(rules); i++) {
    if (!rules[i].asked) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "the model is no chain of dense layers and is trained as a whole graph, which does not take %s: leave "
                "it out",
                rules[i].what);
    return FALSE;
  }
  return TRUE;
}

gboolean pipeline_trainer_graph_tune(const DriftTable *table, const DriftSchema *schema,
                                     const PipelineTrainOptions *options, PipelineTrainProgressFunc progress,
                                     gpointer user_data, PipelineTrainResult *result, GError **error)
{
  PipelineGraphTrainOptions graph;
  g_autoptr(PipelineGraphRows) rows =
      check_whole(options, error) ? pipeline_graph_rows_from_table(table, schema, error) : NULL;
  gboolean ready = rows != NULL && (options->row_weights == NULL ||
                                    pipeline_graph_rows_set_weights(rows, options->row_weights, table->n_rows, error));
  if (!pipeline_communicator_agree(options->communicator, ready, error)) return FALSE;
  pipeline_trainer_graph_options(options, (guint64)((double)rows->n_rows * (1 - options->validation_fraction)), &graph);
  graph.from = options->from;
  graph.validation_fraction = options->validation_fraction;
  graph.shuffle_split = options->shuffle_split;
  graph.calibration = options->calibration;
  return pipeline_graph_train(rows, &graph, progress, user_data, result, error);
}
