#include "pipeline/distil.h"

#include <math.h>
#include <string.h>

#include "pipeline/graph_build.h"
#include "pipeline/graph_fit.h"
#include "pipeline/graph_merge.h"
#include "pipeline/graph_trainer.h"
#include "pipeline/model.h"
#include "pipeline/trainer_front.h"
#include "pipeline/trainer_graph.h"
#include "pipeline/trainer_rows.h"

#define LEAST_PROBABILITY 1e-12 /* ln p is taken of it */

void pipeline_distil_options_init(PipelineDistilOptions *options)
{
  *options = (PipelineDistilOptions){.temperature = 4, .label_share = 0.1, .validation_fraction = 0.1, .seed = 1};
}

/* --- the loss ----------------------------------------------------------------------------------------------------- */

/* ln Σ exp(x / t). */
static double log_sum_exp(const float *x, guint n, double t)
{
  double highest = -INFINITY, sum = 0;
  for (guint i = 0; i < n; i++) highest = MAX(highest, (double)x[i] / t);
  for (guint i = 0; i < n; i++) sum += exp((double)x[i] / t - highest);
  return highest + log(sum);
}

static double distil_row(const PipelineGraphLossOptions *options, const float *outputs, guint width,
                         const float *targets, float *gradient)
{
  double t = options->temperature, label = (double)targets[width], share = label < 0 ? 0 : options->label_share;
  double soft = log_sum_exp(outputs, width, t), hard = log_sum_exp(outputs, width, 1), loss = 0;
  for (guint i = 0; i < width; i++) {
    double z = (double)outputs[i], log_soft = z / t - soft, log_hard = z - hard, q = (double)targets[i];
    gboolean wanted = (double)i == label;
    loss -= (1 - share) * t * t * q * log_soft + (wanted ? share * log_hard : 0);
    if (gradient != NULL)
      gradient[i] = (float)((1 - share) * t * (exp(log_soft) - q) + share * (exp(log_hard) - (wanted ? 1 : 0)));
  }
  return loss;
}

static guint largest(const float *x, guint n)
{
  guint best = 0;
  for (guint i = 1; i < n; i++)
    if (x[i] > x[best]) best = i;
  return best;
}

static double distil_merit(const float *outputs, guint width, const float *targets)
{
  return largest(outputs, width) == largest(targets, width);
}

const PipelineGraphLoss pipeline_distil_loss = {.name = "distillation",
                                                .summary = "what another model says, softened, and labels",
                                                .row = distil_row,
                                                .merit = distil_merit,
                                                .metric = "agreement",
                                                .extra_targets = 1};

/* --- what the teacher says ---------------------------------------------------------------------------------------- */

typedef struct {
  const PipelineDistilOptions *options;
  const DriftSchema *schema;
  gboolean image;              /* the student takes rows as pixels */
  DriftTable *labelled;        /* with the teacher's answers as its label */
  PipelineTrainerRows *rows;   /* all of them; the last ones validate */
  PipelineTrainerFront *front; /* of tables; NULL: of images */
  PipelineGraphRows *inner;    /* what the layers are trained on */
  guint n_classes;             /* 0: a value */
  guint n_targets;
  float *targets; /* [n_rows, n_targets] */
  guint64 *order; /* 0, 1, … */
  OnnxGraph *graph;
  PipelineGraphPlan *plan;
  PipelineGraphFitOptions fit_options;
  PipelineGraphFit *fit;
  PipelineGraphHead head;
  PipelineGraphData data;
} Distilling;

static void distilling_clear(Distilling *d)
{
  pipeline_graph_fit_free(d->fit);
  pipeline_graph_plan_free(d->plan);
  onnx_graph_free(d->graph);
  pipeline_graph_rows_free(d->inner);
  pipeline_trainer_front_free(d->front);
  pipeline_trainer_rows_free(d->rows);
  drift_table_free(d->labelled);
  g_free(d->targets);
  g_free(d->order);
}

/* The table with the teacher's answers in place of its label column. */
static DriftTable *label_table(PipelineModel *teacher, const DriftTable *table, const float *outputs)
{
  const DriftSchema *schema = pipeline_model_get_schema(teacher);
  gboolean value = schema->task == DRIFT_TASK_REGRESSION;
  g_autofree guint64 *all = g_new(guint64, table->n_rows + 1);
  for (guint64 i = 0; i < table->n_rows; i++) all[i] = i;
  DriftTable *labelled = drift_table_select(table, all, table->n_rows);
  DriftColumn *old = drift_table_get_column(labelled, schema->label);
  if (old != NULL) g_ptr_array_remove(labelled->columns, old);
  DriftColumn *label = drift_table_add_column(labelled, schema->label, value ? DRIFT_NUMERIC : DRIFT_CATEGORICAL);
  guint width = pipeline_model_get_n_outputs(teacher);
  for (guint64 i = 0; i < table->n_rows; i++) {
    const float *row = outputs + i * width;
    if (value)
      drift_column_append_number(label, (double)row[0]);
    else
      drift_column_append_text(label, g_ptr_array_index(schema->classes, pipeline_model_decide(teacher, row)), -1);
  }
  return labelled;
}

/* softmax(ln p / T). */
static void soften(const float *p, guint n, double temperature, float *q)
{
  double sum = 0;
  for (guint i = 0; i < n; i++) sum += pow(MAX((double)p[i], LEAST_PROBABILITY), 1 / temperature);
  for (guint i = 0; i < n; i++) q[i] = (float)(pow(MAX((double)p[i], LEAST_PROBABILITY), 1 / temperature) / sum);
}

static void make_targets(Distilling *d, const float *outputs, const PipelineTrainerRows *labels,
                         PipelineDistilled *result)
{
  guint64 n = d->labelled->n_rows;
  d->n_targets = d->n_classes > 0 ? d->n_classes + 1 : 1;
  d->targets = g_new(float, n * d->n_targets + 1);
  for (guint64 i = 0; i < n; i++) {
    float label = labels != NULL ? labels->targets[i] : NAN, *target = d->targets + i * d->n_targets;
    result->n_labelled += !isnan(label);
    if (d->n_classes > 0) {
      soften(outputs + i * d->n_classes, d->n_classes, d->options->temperature, target);
      target[d->n_classes] = isnan(label) ? -1 : label;
    } else {
      double share = isnan(label) ? 0 : d->options->label_share;
      target[0] = (float)((1 - share) * (double)outputs[i] + (share > 0 ? share * (double)label : 0));
    }
  }
}

/* Every answer is finite, since all rows teach. */
static gboolean check_answers(const float *outputs, guint64 n_rows, guint width, GError **error)
{
  guint64 n_bad = 0, first = 0;
  for (guint64 i = n_rows; i-- > 0;) {
    gboolean bad = FALSE;
    for (guint k = 0; k < width; k++) bad |= !isfinite(outputs[i * width + k]);
    n_bad += bad;
    if (bad) first = i;
  }
  if (n_bad == 0) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
              "the model answers %" G_GUINT64_FORMAT " of the %" G_GUINT64_FORMAT
              " rows by no finite number, the first of them row %" G_GUINT64_FORMAT ": leave these rows out",
              n_bad, n_rows, first + 1);
  return FALSE;
}

static gboolean ask_teacher(Distilling *d, GBytes *onnx, const DriftTable *table, PipelineDistilled *result,
                            GError **error)
{
  g_autoptr(PipelineModel) teacher = pipeline_model_load(onnx, d->schema, NULL, error);
  if (teacher == NULL) return FALSE;
  if (!isnan(pipeline_model_get_interval(teacher))) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                        "the model predicts an interval, which a student does not learn: train a smaller one by "
                        "kedge train --interval");
    return FALSE;
  }
  guint width = pipeline_model_get_n_outputs(teacher);
  g_autofree float *outputs = g_new(float, table->n_rows *width + 1);
  if (!pipeline_model_predict_table(teacher, table, outputs, error)) return FALSE;
  if (!check_answers(outputs, table->n_rows, width, error)) return FALSE;
  d->n_classes = d->schema->task == DRIFT_TASK_REGRESSION ? 0 : width;
  d->labelled = label_table(teacher, table, outputs);
  d->rows = pipeline_trainer_rows_new(d->labelled, d->schema, error);
  if (d->rows == NULL) return FALSE;
  g_autoptr(PipelineTrainerRows) labels = pipeline_trainer_rows_new(table, d->schema, NULL);
  make_targets(d, outputs, labels, result);
  return TRUE;
}

/* --- the student -------------------------------------------------------------------------------------------------- */

/* Channels, height and width by the first Reshape of the teacher to [batch, C, H, W]. */
static void find_image(GBytes *onnx, guint sizes[3])
{
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, NULL);
  for (guint n = 0; graph != NULL && n < graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    const gchar *name = onnx_node_get_input(node, 1);
    const OnnxTensor *shape = name != NULL ? onnx_graph_find_initialiser(graph, name) : NULL;
    if (strcmp(node->op_type, "Reshape") != 0 || shape == NULL || shape->type != ONNX_TYPE_INT64 ||
        onnx_tensor_get_n_elements(shape) != 4)
      continue;
    const gint64 *dims = g_bytes_get_data(shape->bytes, NULL);
    for (guint i = 0; i < 3; i++) sizes[i] = dims[i + 1] > 0 && dims[i + 1] <= 65536 ? (guint)dims[i + 1] : 0;
    return;
  }
}

static void split(Distilling *d, PipelineDistilled *result)
{
  PipelineTrainerRows *rows = d->rows;
  rows->n_validation = (guint64)((double)rows->n * d->options->validation_fraction + 0.5);
  if (rows->n_validation < PIPELINE_MIN_VALIDATION) rows->n_validation = 0;
  rows->n_train = rows->n - rows->n_validation;
  result->n_train = rows->n_train;
  result->n_validation = rows->n_validation;
}

/* Pixels as they are, or what the preprocessing of a new model makes of a table. */
static gboolean read_rows(Distilling *d, GError **error)
{
  if (d->image) {
    d->inner = pipeline_graph_rows_from_table(d->labelled, d->schema, error);
    if (d->inner == NULL)
      g_prefix_error(error,
                     "\"%s\" is for images, rows of numbers of which none is missing: write mlp:16 for a table: ",
                     d->options->architecture);
  } else {
    d->front = pipeline_trainer_front_new(d->schema, error);
    if (d->front == NULL || !pipeline_trainer_front_fit(d->front, d->labelled, d->rows, NULL, d->options->seed, error))
      return FALSE;
    d->inner = pipeline_trainer_front_read(d->front, d->labelled, d->rows, error);
  }
  return d->inner != NULL;
}

static void fill_data(Distilling *d)
{
  guint64 n = d->inner->n_rows;
  PipelineGraphData *data = &d->data;
  d->order = g_new(guint64, n + 1);
  for (guint64 i = 0; i < n; i++) d->order[i] = i;
  data->n_train = d->rows->n_train;
  data->n_validation = d->rows->n_validation;
  data->train = d->order;
  data->validation = d->order + data->n_train;
  data->test = d->order + n;
  data->x = d->inner->x;
  data->n_dims = 1;
  data->dims[0] = (gint64)d->inner->n_features;
  data->targets = d->targets;
  data->n_targets = d->n_targets;
  data->n_rows = n;
}

/* Standard deviation of the targets of a regression. */
static double spread(const Distilling *d)
{
  double mean = 0, squares = 0, n = (double)d->data.n_train;
  for (guint64 i = 0; i < d->data.n_train; i++) mean += (double)d->targets[i] / n;
  for (guint64 i = 0; i < d->data.n_train; i++)
    squares += ((double)d->targets[i] - mean) * ((double)d->targets[i] - mean) / n;
  return squares > 0 ? sqrt(squares) : 1;
}

static gboolean build_graph(Distilling *d, GBytes *teacher, GError **error)
{
  const PipelineDistilOptions *o = d->options;
  guint sizes[3] = {o->channels, o->height, o->width};
  if (sizes[0] == 0) find_image(teacher, sizes);
  const PipelineGraphBuildOptions options = {
      .architecture = o->architecture,
      .seed = o->seed,
      .channels = sizes[0],
      .height = sizes[1],
      .width = sizes[2],
      .standardised = d->front != NULL ? (const gboolean *)d->front->prefix.constant->data : NULL};
  d->graph = pipeline_graph_build(&options, d->inner->schema, d->inner->x, d->inner->n_features, d->inner->targets,
                                  d->order, d->data.n_train, error);
  return d->graph != NULL;
}

/* What the options leave open. Images: 20 epochs of batches of 64, rate .002. Tables have few rows: as many epochs,
 * from 20 to 100, as give 3,500 steps, at a higher rate. The teacher's answers have no noise that would be learnt by
 * heart. */
static void choose_schedule(Distilling *d, PipelineDistilled *result)
{
  const PipelineDistilOptions *o = d->options;
  PipelineGraphFitOptions *fit = &d->fit_options;
  guint usual_batch = 64, usual_epochs = 20, unused;
  if (!d->image) {
    const PipelineTrainOptions options = {.batch_size = o->batch_size};
    pipeline_trainer_choose_schedule(&options, d->data.n_train, &usual_batch, &unused);
    usual_epochs = (guint)CLAMP(ceil(3500 / ceil((double)d->data.n_train / usual_batch)), 20, 100);
  }
  pipeline_graph_fit_options_init(fit);
  fit->batch_size = o->batch_size > 0 ? o->batch_size : usual_batch;
  fit->epochs = result->epochs = o->epochs > 0 ? o->epochs : usual_epochs;
  fit->learning_rate = o->learning_rate > 0 ? o->learning_rate : d->image ? 2e-3 : 1e-2;
  fit->seed = o->seed;
}

static gboolean prepare_fit(Distilling *d, GError **error)
{
  const PipelineDistilOptions *o = d->options;
  d->plan = pipeline_graph_plan_new(d->graph, NULL, error);
  const PipelineGradientBackend *backend = pipeline_gradient_backend_find(o->backend, d->graph, error);
  if (d->plan == NULL || backend == NULL) return FALSE;
  const gchar *unused;
  d->head = (PipelineGraphHead){.weight = 1};
  pipeline_graph_loss_options_init(&d->head.options);
  d->head.loss = d->n_classes > 0 ? &pipeline_distil_loss : pipeline_graph_loss_find("squared", NULL);
  d->head.value = pipeline_graph_find_head(d->graph, d->n_classes > 0 ? "probabilities" : "value", &unused);
  d->head.options.temperature = o->temperature;
  d->head.options.label_share = o->label_share;
  if (d->n_classes == 0) d->head.options.target_scale = spread(d);
  d->fit = pipeline_graph_fit_new(d->graph, d->plan, &d->head, 1, &d->data, &d->fit_options, backend, error);
  return d->fit != NULL;
}

static gboolean learn(Distilling *d, PipelineTrainProgressFunc progress, gpointer user_data, PipelineDistilled *result,
                      GError **error)
{
  const PipelineGraphFitState *state = pipeline_graph_fit_get_state(d->fit);
  gint64 started = g_get_monotonic_time();
  while (!pipeline_graph_fit_is_finished(d->fit)) {
    gboolean epoch_done;
    if (!pipeline_graph_fit_step(d->fit, &epoch_done, error)) return FALSE;
    const PipelineTrainProgress now = {.epoch = state->epoch,
                                       .epochs = d->fit_options.epochs,
                                       .rows_seen = state->epoch * d->data.n_train,
                                       .loss = state->train_loss,
                                       .validation_loss = state->validation_loss,
                                       .validation_metric = state->validation_metric};
    if (!epoch_done || progress == NULL || progress(&now, user_data)) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED, "distillation was stopped after epoch %u of %u",
                state->epoch, d->fit_options.epochs);
    return FALSE;
  }
  result->best_epoch = state->best_epoch > 0 ? state->best_epoch : state->epoch;
  result->seconds = (double)(g_get_monotonic_time() - started) / 1e6;
  return TRUE;
}

static GBytes *deliver(Distilling *d, GError **error)
{
  const float *statistics, *values = pipeline_graph_fit_get_result(d->fit, &statistics);
  pipeline_graph_plan_store(d->plan, d->graph, values, statistics);
  pipeline_graph_set_prediction(d->graph);
  g_autoptr(GBytes) layers = pipeline_graph_write(d->graph, error);
  if (layers == NULL) return NULL;
  return d->front != NULL ? pipeline_trainer_front_join(d->front, layers, error) : g_steal_pointer(&layers);
}

static gboolean check_options(const PipelineDistilOptions *o, const DriftTable *table, GError **error)
{
  const gchar *problem =
      !(o->temperature >= 1 && o->temperature <= 100)      ? "the temperature must be from 1 to 100"
      : !(o->label_share >= 0 && o->label_share <= 1)      ? "the label share must be from 0 to 1"
      : o->epochs > 100000 || o->batch_size > 65536        ? "epochs must be at most 100000, the batch size 65536"
      : !(o->learning_rate >= 0 && o->learning_rate <= 10) ? "the learning rate must be from 0 (the usual one) to 10"
      : table->n_rows < 2                                  ? "there are no rows to learn from"
                                                           : NULL;
  if (problem != NULL) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, problem);
  return problem == NULL;
}

GBytes *pipeline_distil(GBytes *teacher, const DriftSchema *schema, const DriftTable *table,
                        const PipelineDistilOptions *options, PipelineTrainProgressFunc progress, gpointer user_data,
                        PipelineDistilled *result, GError **error)
{
  PipelineGraphArchitecture architecture;
  *result = (PipelineDistilled){0};
  if (!check_options(options, table, error) ||
      !pipeline_graph_architecture_parse(options->architecture, &architecture, error))
    return NULL;
  Distilling d = {.options = options, .schema = schema, .image = architecture.image};
  GBytes *onnx = NULL;
  if (ask_teacher(&d, teacher, table, result, error)) {
    split(&d, result);
    if (read_rows(&d, error)) {
      fill_data(&d);
      choose_schedule(&d, result);
      if (build_graph(&d, teacher, error) && prepare_fit(&d, error) && learn(&d, progress, user_data, result, error))
        onnx = deliver(&d, error);
    }
  }
  distilling_clear(&d);
  return onnx;
}
