/* What a training on a graph learns: the head, its loss and weights, and the ball of adversarial training. */
#include <math.h>
#include <string.h>

#include "pipeline/graph_trainer_internal.h"

/* The value of an output that can be trained, seen through a ZipMap; NULL: it is no float. */
static const gchar *float_value(const OnnxGraph *graph, guint index)
{
  const OnnxValue *output = g_ptr_array_index(graph->outputs, index);
  if (output->type == ONNX_TYPE_FLOAT) return output->name;
  gint producer = output->type == ONNX_TYPE_UNDEFINED ? onnx_graph_find_producer(graph, output->name) : -1;
  const OnnxNode *node = producer >= 0 ? g_ptr_array_index(graph->nodes, producer) : NULL;
  return node != NULL && strcmp(node->op_type, "ZipMap") == 0 ? onnx_node_get_input(node, 0) : NULL;
}

/* The float output that a loss goes with; else the last float one. */
static const gchar *find_output(const OnnxGraph *graph)
{
  const gchar *found = NULL, *loss;
  for (guint i = 0; i < graph->outputs->len; i++) {
    const gchar *value = float_value(graph, i);
    if (value != NULL) found = value;
  }
  for (guint i = 0; i < graph->outputs->len; i++) {
    const gchar *value = float_value(graph, i);
    if (value == NULL) continue;
    pipeline_graph_find_head(graph, value, &loss);
    if (loss != NULL) found = value;
  }
  return found;
}

static guint count_classes(const PipelineGraphTraining *training)
{
  const PipelineGraphRows *rows = training->rows; /* several labels are no classes of one */
  return rows->labels != NULL || rows->schema->task == DRIFT_TASK_REGRESSION ? 0 : rows->schema->classes->len;
}

/* Inverse frequencies of the training rows, of mean 1 over them. */
static void balance_classes(PipelineGraphTraining *training)
{
  guint n = count_classes(training);
  g_autofree guint64 *counts = g_new0(guint64, n + 1);
  training->class_weights = g_new(float, n + 1);
  for (guint64 i = 0; i < training->data.n_train; i++)
    counts[(guint)training->rows->targets[training->data.train[i]]]++;
  for (guint c = 0; c < n; c++)
    training->class_weights[c] = counts[c] > 0 ? (float)training->data.n_train / (float)(n * counts[c]) : 0;
  training->head.options.class_weights = training->class_weights;
}

/* Differences of a regression are measured in standard deviations of the label. */
static double target_spread(const PipelineGraphTraining *training)
{
  const PipelineGraphData *data = &training->data;
  double sum = 0, squares = 0, n = (double)data->n_train;
  for (guint64 i = 0; i < data->n_train; i++) sum += (double)training->rows->targets[data->train[i]] / n;
  for (guint64 i = 0; i < data->n_train; i++) {
    double difference = (double)training->rows->targets[data->train[i]] - sum;
    squares += difference * difference / n;
  }
  return squares > 0 ? sqrt(squares) : 1;
}

/* The quantiles of an interval are the one thing that its model learns. */
static gboolean prepare_interval(PipelineGraphTraining *training, GError **error)
{
  const PipelineGraphTrainOptions *options = training->options;
  const gchar *problem = options->loss != NULL && strcmp(options->loss, "quantile") != 0
                             ? "an interval is learnt by the quantile loss; leave out the other one"
                         : !isnan(options->quantile) ? "an interval has its own quantiles; leave out the quantile"
                         : options->new_head         ? "a model with an interval keeps its head"
                         : training->data.n_validation == 0
                             ? "the margin of an interval is taken from validation rows, and there are none: give more "
                               "rows or a larger validation fraction (at least 50 rows)"
                             : NULL;
  if (problem != NULL) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, problem);
    return FALSE;
  }
  if (!pipeline_interval_check(training->level, training->rows->schema, error)) return FALSE;
  pipeline_interval_quantiles(training->level, training->quantiles);
  training->head = (PipelineGraphHead){.value = PIPELINE_INTERVAL_QUANTILES,
                                       .loss = pipeline_graph_loss_find("quantile", NULL),
                                       .options = options->loss_options,
                                       .weight = 1};
  training->head.options.quantiles = training->quantiles;
  training->head.options.target_scale = target_spread(training);
  return TRUE;
}

gboolean pipeline_graph_training_prepare_head(PipelineGraphTraining *training, GError **error)
{
  training->level = pipeline_interval_get_level(training->graph);
  if (!isnan(training->level)) return prepare_interval(training, error);
  const PipelineGraphTrainOptions *options = training->options;
  const gchar *output = find_output(training->graph), *natural = NULL;
  guint classes = count_classes(training);
  if (output == NULL) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "the model has no float output to train");
    return FALSE;
  }
  if (options->from != NULL && options->new_head) {
    PipelineRandom random;
    pipeline_random_seed(&random, options->fit.seed);
    if (!pipeline_graph_replace_head(training->graph, output, MAX(classes, 1), &random, error)) return FALSE;
  }
  const gchar *value = pipeline_graph_find_head(training->graph, output, &natural);
  const gchar *name = options->loss != NULL            ? options->loss
                      : training->rows->labels != NULL ? "binary"
                      : classes == 0                   ? "squared"
                      : natural != NULL                ? natural
                                                       : "cross-entropy";
  training->head = (PipelineGraphHead){
      .value = value, .loss = pipeline_graph_loss_find(name, error), .options = options->loss_options, .weight = 1};
  if (training->head.loss == NULL) return FALSE;
  if (training->head.loss->is_class && classes == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "the loss '%s' needs classes; the label is a number",
                name);
    return FALSE;
  }
  if (!isnan(options->quantile)) training->head.options.quantiles = &options->quantile;
  if (options->balanced && training->head.loss->is_class) balance_classes(training);
  if (classes == 0 && training->rows->labels == NULL) training->head.options.target_scale = target_spread(training);
  return TRUE;
}

/* A class output without Softmax or Sigmoid is taken as logits; probabilities made in another way are refused. */
gboolean pipeline_graph_training_check_logits(PipelineGraphTraining *training, GError **error)
{
  enum { PROBED = 64 };
  g_autoptr(GArray) outputs = g_array_new(FALSE, FALSE, sizeof(float));
  guint64 n = MIN(training->data.n_train, PROBED);
  const gchar *natural;
  pipeline_graph_find_head(training->graph, find_output(training->graph), &natural);
  if (natural != NULL || count_classes(training) == 0) return TRUE;
  if (!pipeline_graph_fit_predict(training->fit, training->data.train, n, outputs, error)) return FALSE;
  guint width = outputs->len / (guint)n;
  gboolean probabilities = width > 1;
  for (guint64 i = 0; i < n && probabilities; i++) {
    double sum = 0;
    for (guint k = 0; k < width; k++) {
      double p = (double)g_array_index(outputs, float, i *width + k);
      probabilities = probabilities && p >= 0;
      sum += p;
    }
    probabilities = probabilities && fabs(sum - 1) < 1e-4;
  }
  if (!probabilities) return TRUE;
  g_set_error(
      error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
      "the model's output '%s' is probabilities that no Softmax or Sigmoid makes at its end: a loss needs logits",
      find_output(training->graph));
  return FALSE;
}

/* Units and ranges of adversarial training, from the training rows. */
void pipeline_graph_training_prepare_ball(PipelineGraphTraining *training, PipelineHardenOptions *harden)
{
  const PipelineGraphTrainOptions *options = training->options;
  const PipelineGraphData *data = &training->data;
  gsize width = training->rows->n_features;
  if (harden->method == NULL) return;
  harden->scale = training->harden_scale = g_new(double, width + 1);
  harden->low = training->harden_low = g_new(double, width + 1);
  harden->high = training->harden_high = g_new(double, width + 1);
  pipeline_graph_rows_measure(data->x, width, data->train, data->n_train, training->harden_scale, training->harden_low,
                              training->harden_high);
  gboolean seen = options->harden_range == PIPELINE_RANGE_DATA, given = options->harden_range == PIPELINE_RANGE_GIVEN;
  for (gsize k = 0; k < width; k++) {
    if (options->harden_absolute) training->harden_scale[k] = 1;
    if (seen) continue;
    training->harden_low[k] = given ? options->harden_low : NAN;
    training->harden_high[k] = given ? options->harden_high : NAN;
  }
}

/* One quantile for each output, as the loss reads them. */
gboolean pipeline_graph_training_check_quantiles(PipelineGraphTraining *training, GError **error)
{
  guint wanted = isnan(training->level) ? 1 : G_N_ELEMENTS(training->quantiles);
  g_autoptr(GArray) outputs = g_array_new(FALSE, FALSE, sizeof(float));
  if (training->head.options.quantiles == NULL) return TRUE;
  if (!pipeline_graph_fit_predict(training->fit, training->data.train, 1, outputs, error)) return FALSE;
  if (outputs->len == wanted) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "'%s' has %u numbers a row; %u of them can be quantiles",
              training->head.value, outputs->len, wanted);
  return FALSE;
}
