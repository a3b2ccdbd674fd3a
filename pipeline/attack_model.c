#include "pipeline/attack_model.h"

#include <math.h>
#include <string.h>

#include "pipeline/graph_pass.h"
#include "pipeline/graph_plan.h"
#include "pipeline/calibration.h"
#include "pipeline/model_internal.h"

/* Where the number of a feature enters the graph. */
typedef struct {
  guint feature;       /* of the schema */
  guint input, column; /* place in model->inputs and its column */
} Entry;

struct _PipelineAttackModel {
  PipelineModel *model;
  PipelineAttackLoss loss;
  GArray *features; /* of guint: schema indices */
  GArray *entries;  /* of Entry, by feature */
  guint n_classes;
  /* the batch */
  guint n;
  DriftValue *values;    /* [n, features of the schema] */
  DriftValue *candidate; /* [PIPELINE_ATTACK_ROWS, features of the schema] */
  guint labels[PIPELINE_ATTACK_ROWS];
  float *outputs; /* [PIPELINE_ATTACK_ROWS, n_classes] */
  /* gradients */
  PipelineGraphPass *pass; /* NULL: there are none */
  gchar *reason;
  gboolean direct;      /* points are the graph's only input as they are */
  gboolean checked;     /* the logits decide as the model does */
  float *padded_points; /* [PIPELINE_ATTACK_ROWS, n_features], or NULL */
  guint *padded_rows;   /* [PIPELINE_ATTACK_ROWS] */
  guint *column_of;     /* [n_classes]: of the logits; NULL: not known yet */
  guint *wanted;        /* [model inputs]: place in the pass's wanted values, or G_MAXUINT */
  GArray *head;         /* of float: gradient of the logits */
  GArray *gradient;     /* of float: of the points */
};

/* --- making ------------------------------------------------------------------------------------------------------- */

static void find_entries(PipelineAttackModel *attacked)
{
  const DriftSchema *schema = attacked->model->schema;
  for (guint f = 0; f < drift_schema_n_features(schema); f++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, f);
    if (!feature->input || feature->kind != DRIFT_NUMERIC) continue;
    Entry entry = {.feature = f, .input = G_MAXUINT};
    for (guint i = 0; i < attacked->model->inputs->len; i++) {
      const PipelineModelInput *input = g_ptr_array_index(attacked->model->inputs, i);
      for (guint c = 0; c < input->features->len; c++)
        if (g_array_index(input->features, guint, c) == f) entry.input = i, entry.column = c;
    }
    g_array_append_val(attacked->features, f);
    g_array_append_val(attacked->entries, entry);
  }
}

static gboolean is_float(const PipelineAttackModel *attacked, guint input)
{
  return ((const PipelineModelInput *)g_ptr_array_index(attacked->model->inputs, input))->type == ONNX_TYPE_FLOAT;
}

/* One float input whose columns are the features in order. */
static gboolean is_direct(const PipelineAttackModel *attacked)
{
  if (attacked->model->inputs->len != 1 || !is_float(attacked, 0)) return FALSE;
  const PipelineModelInput *input = g_ptr_array_index(attacked->model->inputs, 0);
  if (input->features->len != attacked->features->len) return FALSE;
  for (guint f = 0; f < attacked->entries->len; f++)
    if (g_array_index(attacked->entries, Entry, f).column != f) return FALSE;
  return TRUE;
}

static const OnnxValue *graph_input(const PipelineAttackModel *attacked, guint input)
{
  const PipelineModelInput *of_model = g_ptr_array_index(attacked->model->inputs, input);
  return g_ptr_array_index(attacked->model->graph->inputs, of_model->index);
}

static void make_pass(PipelineAttackModel *attacked)
{
  PipelineModel *model = attacked->model;
  g_autoptr(GPtrArray) wanted = g_ptr_array_new();
  g_autoptr(GError) error = NULL;
  const OnnxValue *output = g_ptr_array_index(model->graph->outputs, model->output.index);
  /* What a calibration leaves in order: its own steps are flat in places, where no gradient would say where to go. */
  g_autofree gchar *raw = g_strconcat(PIPELINE_CALIBRATION_RAW, output->name, NULL);
  attacked->checked = onnx_graph_find_producer(model->graph, raw) >= 0; /* its threshold decides otherwise, and may */
  const gchar *value = attacked->checked ? raw : output->name;
  const gchar *loss, *heads[] = {pipeline_graph_find_head(model->graph, value, &loss), NULL};
  attacked->wanted = g_new(guint, model->inputs->len + 1);
  for (guint i = 0; i < model->inputs->len; i++) {
    attacked->wanted[i] = is_float(attacked, i) ? wanted->len : G_MAXUINT;
    if (is_float(attacked, i)) g_ptr_array_add(wanted, graph_input(attacked, i)->name);
  }
  if (wanted->len == 0 || model->fixed_batch != 0) {
    attacked->reason =
        g_strdup(wanted->len == 0 ? "the model has no float32 input"
                                  : "the model takes batches of one size only; export it with a free one");
    return;
  }
  g_ptr_array_add(wanted, NULL);
  const PipelineGradientBackend *backend = pipeline_gradient_backend_find(NULL, model->graph, &error);
  const PipelineGraphPassOptions options = {
      .wanted = (const gchar *const *)wanted->pdata, .heads = heads, .backend = backend};
  attacked->pass = backend != NULL ? pipeline_graph_pass_new(model->graph, &options, &error) : NULL;
  if (attacked->pass == NULL) attacked->reason = g_strdup(error->message);
  attacked->direct = is_direct(attacked);
}

PipelineAttackModel *pipeline_attack_model_new(PipelineModel *model, PipelineAttackLoss loss, GError **error)
{
  if (model->schema->task == DRIFT_TASK_REGRESSION) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "a regression has no accuracy");
    return NULL;
  }
  g_autoptr(PipelineAttackModel) attacked = g_new0(PipelineAttackModel, 1);
  gsize n_schema = drift_schema_n_features(model->schema);
  attacked->model = model;
  attacked->loss = loss;
  attacked->n_classes = model->n_outputs;
  attacked->features = g_array_new(FALSE, FALSE, sizeof(guint));
  attacked->entries = g_array_new(FALSE, FALSE, sizeof(Entry));
  attacked->head = g_array_new(FALSE, TRUE, sizeof(float));
  attacked->gradient = g_array_new(FALSE, TRUE, sizeof(float));
  attacked->values = g_new0(DriftValue, PIPELINE_ATTACK_ROWS * n_schema + 1);
  attacked->candidate = g_new0(DriftValue, PIPELINE_ATTACK_ROWS * n_schema + 1);
  attacked->outputs = g_new(float, (gsize)PIPELINE_ATTACK_ROWS * model->n_outputs);
  find_entries(attacked);
  if (attacked->features->len == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "nothing to attack: the model has no numeric input");
    return NULL;
  }
  make_pass(attacked);
  return g_steal_pointer(&attacked);
}

void pipeline_attack_model_free(PipelineAttackModel *attacked)
{
  if (attacked == NULL) return;
  pipeline_graph_pass_free(attacked->pass);
  g_array_unref(attacked->features);
  g_array_unref(attacked->entries);
  g_array_unref(attacked->head);
  g_array_unref(attacked->gradient);
  g_free(attacked->values);
  g_free(attacked->candidate);
  g_free(attacked->outputs);
  g_free(attacked->wanted);
  g_free(attacked->column_of);
  g_free(attacked->padded_points);
  g_free(attacked->padded_rows);
  g_free(attacked->reason);
  g_free(attacked);
}

const GArray *pipeline_attack_model_get_features(const PipelineAttackModel *attacked)
{
  return attacked->features;
}

const gchar *pipeline_attack_model_get_reason(const PipelineAttackModel *attacked)
{
  return attacked->reason;
}

/* --- the batch ---------------------------------------------------------------------------------------------------- */

gboolean pipeline_attack_model_take(PipelineAttackModel *attacked, const DriftTable *table, guint64 first, guint n,
                                    const guint *labels, double *numbers, GError **error)
{
  const DriftSchema *schema = attacked->model->schema;
  guint n_schema = drift_schema_n_features(schema), n_features = attacked->features->len;
  g_return_val_if_fail(n <= PIPELINE_ATTACK_ROWS, FALSE);
  attacked->n = n;
  memcpy(attacked->labels, labels, n * sizeof(guint));
  for (guint i = 0; i < n; i++)
    drift_table_get_features(table, schema, first + i, attacked->values + (gsize)i * n_schema);
  for (guint i = 0; i < n * n_features; i++) {
    guint feature = g_array_index(attacked->features, guint, i % n_features);
    const DriftValue *value = &attacked->values[(gsize)(i / n_features) * n_schema + feature];
    double number = NAN;
    if (value->kind == DRIFT_VALUE_NUMBER)
      number = value->number;
    else if (value->kind == DRIFT_VALUE_TEXT)
      drift_value_to_number(value, &number);
    if (isinf(number)) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "row %" G_GUINT64_FORMAT ", feature '%s' is infinite",
                  first + i / n_features + 1, drift_schema_get_feature(schema, feature)->name);
      return FALSE;
    }
    numbers[i] = number;
  }
  return TRUE;
}

DriftValue pipeline_attack_model_get_value(const PipelineAttackModel *attacked, guint row, guint feature)
{
  return attacked->values[(gsize)row * drift_schema_n_features(attacked->model->schema) + feature];
}

void pipeline_attack_model_set_value(PipelineAttackModel *attacked, guint row, guint feature, const DriftValue *value)
{
  attacked->values[(gsize)row * drift_schema_n_features(attacked->model->schema) + feature] = *value;
}

/* The batch's rows with the numbers of n points; only numbers that moved are written. */
static const DriftValue *fill_candidates(PipelineAttackModel *attacked, const float *points, const guint *rows, guint n)
{
  guint n_schema = drift_schema_n_features(attacked->model->schema), n_features = attacked->features->len;
  for (guint i = 0; i < n; i++) {
    DriftValue *values = attacked->candidate + (gsize)i * n_schema;
    memcpy(values, attacked->values + (gsize)(rows != NULL ? rows[i] : i) * n_schema, n_schema * sizeof(DriftValue));
    for (guint f = 0; f < n_features; f++) {
      float point = points[(gsize)i * n_features + f];
      DriftValue *value = &values[g_array_index(attacked->features, guint, f)];
      if (isnan(point) || (value->kind == DRIFT_VALUE_NUMBER && (float)value->number == point)) continue;
      *value = (DriftValue){.kind = DRIFT_VALUE_NUMBER, .number = (double)point};
    }
  }
  return attacked->candidate;
}

/* --- answers by the model ----------------------------------------------------------------------------------------- */

static double margin_of(const float *scores, guint n_classes, guint label)
{
  double other = -INFINITY;
  for (guint c = 0; c < n_classes; c++)
    if (c != label) other = MAX(other, (double)scores[c]);
  return other - (double)scores[label];
}

static gboolean predict(PipelineAttackModel *attacked, const float *points, const guint *rows, guint n, GError **error)
{
  return pipeline_model_predict(attacked->model, fill_candidates(attacked, points, rows, n), n, attacked->outputs,
                                error);
}

/* Probabilities: the margin, or minus the logarithm of the own class's. */
static gboolean answer_by_model(PipelineAttackModel *attacked, const float *points, const guint *rows, guint n,
                                const PipelineAttackAnswer *answer, GError **error)
{
  if (!predict(attacked, points, rows, n, error)) return FALSE;
  for (guint i = 0; i < n; i++) {
    const float *p = attacked->outputs + (gsize)i * attacked->n_classes;
    guint label = attacked->labels[rows[i]];
    answer->losses[i] = attacked->loss == PIPELINE_ATTACK_MARGIN ? margin_of(p, attacked->n_classes, label)
                                                                 : -log(MAX(1e-30, (double)p[label]));
    if (answer->fooled != NULL) answer->fooled[i] = pipeline_model_decide(attacked->model, p) != label;
  }
  return TRUE;
}

/* --- answers by the graph ----------------------------------------------------------------------------------------- */

/* Points as the only input takes them: [n], [n, features], or images and other rows of more dimensions. */
static gboolean feed_direct(PipelineAttackModel *attacked, const float *points, guint n, GError **error)
{
  const PipelineModelInput *input = g_ptr_array_index(attacked->model->inputs, 0);
  gint64 dims[ONNX_MAX_DIMENSIONS] = {n, attacked->features->len};
  for (guint d = 1; input->n_dims > 2 && d < input->n_dims; d++) dims[d] = input->dims[d];
  return pipeline_graph_pass_set_input(attacked->pass, input->index, input->n_dims, dims, points, error);
}

static gboolean feed(PipelineAttackModel *attacked, const float *points, const guint *rows, guint n, GError **error)
{
  PipelineModel *model = attacked->model;
  if (attacked->direct) return feed_direct(attacked, points, n, error);
  if (!pipeline_model_inputs_fill(model, fill_candidates(attacked, points, rows, n), n, n, 0, error)) return FALSE;
  for (guint i = 0; i < model->inputs->len; i++) {
    guint index = ((const PipelineModelInput *)g_ptr_array_index(model->inputs, i))->index;
    PipelineTensor *filled = pipeline_executor_get_input(model->executor, index);
    if (filled->type == ONNX_TYPE_FLOAT) {
      if (!pipeline_graph_pass_set_input(attacked->pass, index, filled->n_dims, filled->dims, filled->data, error))
        return FALSE;
      continue;
    }
    PipelineTensor *input = pipeline_graph_pass_get_input(attacked->pass, index);
    if (!pipeline_tensor_set_shape(input, filled->type, filled->n_dims, filled->dims, error)) return FALSE;
    input->data = filled->data;
  }
  return TRUE;
}

/* Columns of the logits by class; one logit stands for (0, z), where 1 is the class of the second column of the model's
 * output, or the positive one. */
static void map_columns(PipelineAttackModel *attacked, guint width)
{
  const PipelineModelOutput *output = &attacked->model->output;
  if (attacked->column_of != NULL) return;
  attacked->column_of = g_new0(guint, attacked->n_classes + 1);
  if (width == 1) {
    guint yes = output->n_columns == 2 && output->class_of != NULL ? output->class_of[1]
                                                                   : attacked->model->schema->positive_class;
    attacked->column_of[yes] = 1;
    return;
  }
  for (guint c = 0; c < width; c++) attacked->column_of[output->class_of != NULL ? output->class_of[c] : c] = c;
}

/* Loss of one row of logits z [n]; gradient [n]. *fooled: another column than `own` has the largest one. */
static double evaluate_logits(PipelineAttackLoss loss, const float *z, guint n, guint own, gboolean *fooled,
                              float *gradient)
{
  guint best = own == 0 ? 1 : 0;
  for (guint c = 0; c < n; c++)
    if (c != own && z[c] > z[best]) best = c;
  *fooled = z[best] > z[own];
  if (loss == PIPELINE_ATTACK_MARGIN) {
    for (guint c = 0; c < n && gradient != NULL; c++) gradient[c] = c == own ? -1 : c == best ? 1 : 0;
    return (double)z[best] - (double)z[own];
  }
  float top = MAX(z[best], z[own]), sum = 0;
  for (guint c = 0; c < n; c++) {
    float part = expf(z[c] - top);
    sum += part;
    if (gradient != NULL) gradient[c] = part;
  }
  for (guint c = 0; c < n && gradient != NULL; c++) gradient[c] /= sum;
  if (gradient != NULL) {
    gradient[own] = 0; /* p - 1 as minus the others: nothing is lost where p is nearly 1 */
    float others = 0;
    for (guint c = 0; c < n; c++) others += gradient[c];
    gradient[own] = -others;
  }
  return (double)(top - z[own]) + log((double)sum);
}

static double evaluate_row(const PipelineAttackModel *attacked, const float *z, guint width, guint label,
                           gboolean *fooled, float *gradient)
{
  guint own = attacked->column_of[label];
  if (width > 1) return evaluate_logits(attacked->loss, z, width, own, fooled, gradient);
  const float pair[2] = {0, z[0]};
  float by_pair[2];
  double loss = evaluate_logits(attacked->loss, pair, 2, own, fooled, by_pair);
  if (gradient != NULL) gradient[0] = by_pair[1];
  return loss;
}

/* The logits must decide as the model does: else they are not its logits. */
static gboolean check_head(PipelineAttackModel *attacked, const float *points, const guint *rows, guint n,
                           const gboolean *fooled, GError **error)
{
  guint differ = 0;
  if (!predict(attacked, points, rows, n, error)) return FALSE;
  for (guint i = 0; i < n; i++) {
    const float *p = attacked->outputs + (gsize)i * attacked->n_classes;
    gboolean wrong = pipeline_model_decide(attacked->model, p) != attacked->labels[rows[i]];
    differ += wrong != fooled[i];
  }
  attacked->checked = TRUE;
  if (differ <= n / 50 + 1) return TRUE; /* ties and rounding */
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "what is in front of the model's output decides otherwise than the model on %u of %u rows: no gradients; "
              "use --attack square or hopskipjump",
              differ, n);
  return FALSE;
}

/* Of the features, from the gradients of the graph's inputs. */
static const float *collect_gradient(PipelineAttackModel *attacked, guint n)
{
  guint n_features = attacked->features->len;
  if (attacked->direct) return pipeline_graph_pass_get_gradient(attacked->pass, 0)->data;
  g_array_set_size(attacked->gradient, n * n_features);
  float *gradient = (float *)(gpointer)attacked->gradient->data;
  for (guint f = 0; f < n_features; f++) {
    const Entry *entry = &g_array_index(attacked->entries, Entry, f);
    guint wanted = attacked->wanted[entry->input];
    const PipelineTensor *of_input =
        wanted != G_MAXUINT ? pipeline_graph_pass_get_gradient(attacked->pass, wanted) : NULL;
    gsize width = of_input != NULL ? of_input->n / n : 0;
    for (guint i = 0; i < n; i++)
      gradient[(gsize)i * n_features + f] =
          of_input != NULL ? ((const float *)of_input->data)[i * width + entry->column] : 0;
  }
  return gradient;
}

/* Backends prepare for every new number of rows: only powers of two are asked for, filled up with the last point. */
static guint pad(PipelineAttackModel *attacked, const float **points, const guint **rows, guint n)
{
  guint padded = 16, width = attacked->features->len;
  while (padded < n) padded *= 2;
  if (padded == n) return n;
  if (attacked->padded_points == NULL) {
    attacked->padded_points = g_new(float, (gsize)PIPELINE_ATTACK_ROWS *width);
    attacked->padded_rows = g_new(guint, PIPELINE_ATTACK_ROWS);
  }
  for (guint i = 0; i < padded; i++) {
    guint from = MIN(i, n - 1);
    memcpy(attacked->padded_points + (gsize)i * width, *points + (gsize)from * width, width * sizeof(float));
    attacked->padded_rows[i] = (*rows)[from];
  }
  *points = attacked->padded_points;
  *rows = attacked->padded_rows;
  return padded;
}

static gboolean check_logits(const PipelineAttackModel *attacked, const PipelineTensor *logits, guint n, GError **error)
{
  guint width = (guint)(logits->n / n);
  if (logits->n == (gsize)n * width && (width == attacked->n_classes || (width == 1 && attacked->n_classes == 2)))
    return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "%zu logits for %u rows of %u classes", logits->n, n,
              attacked->n_classes);
  return FALSE;
}

static gboolean answer_by_graph(PipelineAttackModel *attacked, const float *points, const guint *rows, guint n,
                                PipelineAttackAnswer *answer, GError **error)
{
  guint padded = pad(attacked, &points, &rows, n);
  if (!feed(attacked, points, rows, padded, error) || !pipeline_graph_pass_forward(attacked->pass, FALSE, NULL, error))
    return FALSE;
  const PipelineTensor *logits = pipeline_graph_pass_get_head(attacked->pass, 0);
  if (!check_logits(attacked, logits, padded, error)) return FALSE;
  guint width = (guint)(logits->n / padded);
  map_columns(attacked, width);
  g_array_set_size(attacked->head, padded * width);
  float *gradient = (float *)(gpointer)attacked->head->data;
  memset(gradient + (gsize)n * width, 0, (gsize)(padded - n) * width * sizeof(float));
  for (guint i = 0; i < n; i++)
    answer->losses[i] =
        evaluate_row(attacked, (const float *)logits->data + (gsize)i * width, width, attacked->labels[rows[i]],
                     &answer->fooled[i], answer->want_gradient ? gradient + (gsize)i * width : NULL);
  if (answer->want_gradient) {
    if (!pipeline_graph_pass_backward(attacked->pass, (const float *[]){gradient}, error)) return FALSE;
    answer->gradient = collect_gradient(attacked, padded);
  }
  return attacked->checked || check_head(attacked, points, rows, n, answer->fooled, error);
}

/* --- the target --------------------------------------------------------------------------------------------------- */

/* Any number of points, in pieces that the buffers hold; gradients only of one piece. */
static gboolean answer(gpointer self, const float *points, const guint *rows, guint n, PipelineAttackAnswer *answer,
                       GError **error)
{
  PipelineAttackModel *attacked = self;
  if (answer->want_gradient || (attacked->pass != NULL && n <= PIPELINE_ATTACK_ROWS && answer->fooled != NULL))
    return answer_by_graph(attacked, points, rows, n, answer, error);
  for (guint start = 0; start < n; start += PIPELINE_ATTACK_ROWS) {
    PipelineAttackAnswer part = {.losses = answer->losses + start,
                                 .fooled = answer->fooled != NULL ? answer->fooled + start : NULL};
    if (!answer_by_model(attacked, points + (gsize)start * attacked->features->len, rows + start,
                         MIN(PIPELINE_ATTACK_ROWS, n - start), &part, error))
      return FALSE;
  }
  return TRUE;
}

PipelineAttackTarget pipeline_attack_model_get_target(PipelineAttackModel *attacked)
{
  return (PipelineAttackTarget){.self = attacked,
                                .n_features = attacked->features->len,
                                .has_gradient = attacked->pass != NULL,
                                .answer = answer};
}

gboolean pipeline_attack_model_decide(PipelineAttackModel *attacked, const float *points, const guint *rows, guint n,
                                      guint *decisions, GError **error)
{
  if (!predict(attacked, points, rows, n, error)) return FALSE;
  for (guint i = 0; i < n; i++)
    decisions[i] = pipeline_model_decide(attacked->model, attacked->outputs + (gsize)i * attacked->n_classes);
  return TRUE;
}
