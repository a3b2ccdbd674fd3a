#include "pipeline/pseudo_label.h"

#include <math.h>
#include <string.h>

#include "pipeline/model.h"
#include "pipeline/refit_ridge.h"
#include "pipeline/trainer_rows.h"

#define SMALLEST_PROBABILITY 1e-7

void pipeline_pseudo_options_init(PipelinePseudoOptions *options)
{
  *options = (PipelinePseudoOptions){.confidence = .95, .weight = 1, .balance = 2, .rounds = 1};
}

void pipeline_pseudo_labels_clear(PipelinePseudoLabels *labels)
{
  g_free(labels->taken);
  memset(labels, 0, sizeof *labels);
}

/* --- one self-training -------------------------------------------------------------------------------------------- */

typedef struct {
  const DriftTable *table, *unlabelled;
  const DriftSchema *schema;
  const PipelineTrainOptions *options;
  const PipelinePseudoOptions *pseudo;
  PipelineTrainProgressFunc progress;
  gpointer user_data;
  guint classes;
  PipelineTrainerRows *rows; /* of the table, split */
  guint *labels;             /* [unlabelled->n_rows]: the class, or classes: not taken */
  double *confidences;       /* [unlabelled->n_rows] */
  PipelinePseudoLabels told;
} Pseudo;

static void pseudo_clear(Pseudo *pseudo)
{
  pipeline_trainer_rows_free(pseudo->rows);
  g_free(pseudo->labels);
  g_free(pseudo->confidences);
  pipeline_pseudo_labels_clear(&pseudo->told);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pseudo, pseudo_clear)

static gboolean check(const Pseudo *pseudo, GError **error)
{
  const PipelinePseudoOptions *o = pseudo->pseudo;
  const struct {
    gboolean good;
    const gchar *message;
  } rules[] = {
      {pseudo->schema->task != DRIFT_TASK_REGRESSION, "pseudo-labels are classes: a regression has none"},
      {o->confidence > 1.0 / MAX(pseudo->classes, 2) && o->confidence < 1,
       "the confidence of pseudo-labels must be above 1 / classes and below 1"},
      {o->weight > 0 && o->weight <= 100, "the weight of pseudo-labelled rows must be above 0, at most 100"},
      {o->balance >= 1, "the balance of pseudo-labels must be at least 1"},
      {o->rounds >= 1 && o->rounds <= 100, "the rounds of pseudo-labels must be from 1 to 100"},
      {!pseudo->options->shuffle_split && !pseudo->options->split && !(pseudo->options->test_fraction > 0),
       "with unlabelled rows the last labelled rows validate; they cannot be split in another way"},
      {!pseudo->options->checkpoint, "with unlabelled rows no checkpoint is kept"},
      {pseudo->options->reweigh == NULL, "row weights of groups cannot be made for rows without labels"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(rules); i++) {
    if (rules[i].good) continue;
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, rules[i].message);
    return FALSE;
  }
  return TRUE;
}

static gboolean split(Pseudo *pseudo, GError **error)
{
  pseudo->rows = pipeline_trainer_rows_new(pseudo->table, pseudo->schema, error);
  if (!pseudo->rows) return FALSE;
  pipeline_trainer_rows_split(pseudo->rows, pseudo->options->validation_fraction, PIPELINE_MIN_VALIDATION, FALSE,
                              pseudo->options->seed);
  if (pseudo->rows->n_validation > 0) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
              "%" G_GUINT64_FORMAT
              " labelled rows leave no validation rows (at least %d), which tell how sure the model "
              "may be: give more labelled rows, or a larger share to validate",
              pseudo->rows->n, PIPELINE_MIN_VALIDATION);
  return FALSE;
}

/* --- confidence --------------------------------------------------------------------------------------------------- */

/* New [n, classes]: logarithms of the model's probabilities. */
static double *score(const Pseudo *pseudo, PipelineModel *model, const DriftTable *table, GError **error)
{
  gsize n = table->n_rows * pseudo->classes;
  g_autofree float *outputs = g_new(float, n + 1);
  if (!pipeline_model_predict_table(model, table, outputs, error)) return NULL;
  double *scores = g_new(double, n + 1);
  for (gsize i = 0; i < n; i++) scores[i] = log(MAX((double)outputs[i], SMALLEST_PROBABILITY));
  return scores;
}

/* Temperature scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599) on the validation rows. */
static gboolean calibrate(Pseudo *pseudo, PipelineModel *model, GError **error)
{
  const PipelineTrainerRows *rows = pseudo->rows;
  const guint64 *validation = rows->rows + rows->n_train;
  g_autoptr(DriftTable) table = drift_table_select(pseudo->table, validation, rows->n_validation);
  g_autofree double *scores = score(pseudo, model, table, error);
  if (!scores) return FALSE;
  g_autofree guint *labels = g_new(guint, rows->n_validation);
  for (guint64 i = 0; i < rows->n_validation; i++) labels[i] = (guint)rows->targets[validation[i]];
  pseudo->told.scale = pipeline_calibrate_scale(scores, labels, NULL, rows->n_validation, pseudo->classes);
  pseudo->told.n_calibration = rows->n_validation;
  return TRUE;
}

/* The likeliest class of the scaled scores [classes] and its probability. */
static guint likeliest(const double *scores, guint classes, double scale, double *probability)
{
  guint best = 0;
  double sum = 0;
  for (guint c = 1; c < classes; c++)
    if (scores[c] > scores[best]) best = c;
  for (guint c = 0; c < classes; c++) sum += exp(scale * (scores[c] - scores[best]));
  *probability = 1 / sum;
  return best;
}

static gint compare_doubles_down(gconstpointer a, gconstpointer b)
{
  const double *x = a, *y = b;
  return *x > *y ? -1 : *x < *y;
}

/* Of each class at most `balance` times its share of the labelled rows; the surest stay. */
static void balance_classes(Pseudo *pseudo)
{
  const PipelineTrainerRows *rows = pseudo->rows;
  g_autofree guint64 *labelled = g_new0(guint64, pseudo->classes);
  for (guint64 i = 0; i < rows->n_train; i++) labelled[(guint)rows->targets[rows->rows[i]]]++;
  for (guint c = 0; c < pseudo->classes; c++) {
    g_autoptr(GArray) sure = g_array_new(FALSE, FALSE, sizeof(double));
    for (guint64 i = 0; i < pseudo->unlabelled->n_rows; i++)
      if (pseudo->labels[i] == c) g_array_append_val(sure, pseudo->confidences[i]);
    double share = (double)labelled[c] / (double)rows->n_train;
    guint64 most = (guint64)floor(pseudo->pseudo->balance * share * (double)pseudo->told.n_confident), left = most;
    pseudo->told.taken[c] = 0;
    g_array_sort(sure, compare_doubles_down);
    double least = sure->len > most && most > 0 ? g_array_index(sure, double, most - 1) : 0;
    for (guint64 i = 0; i < pseudo->unlabelled->n_rows; i++) {
      if (pseudo->labels[i] != c) continue;
      if (left == 0 || pseudo->confidences[i] < least) {
        pseudo->labels[i] = pseudo->classes;
      } else {
        left--;
        pseudo->told.taken[c]++;
      }
    }
  }
}

/* Labels of the unlabelled rows by the teacher. */
static gboolean label_rows(Pseudo *pseudo, GBytes *teacher, GError **error)
{
  g_autoptr(PipelineModel) model = pipeline_model_load(teacher, pseudo->schema, NULL, error);
  if (!model || !calibrate(pseudo, model, error)) return FALSE;
  g_autofree double *scores = score(pseudo, model, pseudo->unlabelled, error);
  if (!scores) return FALSE;
  PipelinePseudoLabels *told = &pseudo->told;
  told->n_confident = told->n_taken = 0;
  for (guint64 i = 0; i < pseudo->unlabelled->n_rows; i++) {
    pseudo->labels[i] = likeliest(scores + i * pseudo->classes, pseudo->classes, told->scale, &pseudo->confidences[i]);
    gboolean sure = pseudo->confidences[i] >= pseudo->pseudo->confidence;
    if (!sure) pseudo->labels[i] = pseudo->classes;
    told->n_confident += sure;
  }
  balance_classes(pseudo);
  for (guint c = 0; c < pseudo->classes; c++) told->n_taken += told->taken[c];
  return TRUE;
}

/* --- the student -------------------------------------------------------------------------------------------------- */

static void append_value(DriftColumn *into, const DriftColumn *from, guint64 row)
{
  DriftValue value = from ? drift_column_get_value(from, row) : (DriftValue){.kind = DRIFT_VALUE_MISSING};
  gboolean fits = value.kind != DRIFT_VALUE_MISSING && from->kind == into->kind;
  if (!fits)
    drift_column_append_missing(into);
  else if (into->kind == DRIFT_NUMERIC)
    drift_column_append_number(into, value.number);
  else
    drift_column_append_text(into, value.text, (gssize)value.length);
}

static void append_label(const Pseudo *pseudo, DriftColumn *into, guint label)
{
  const gchar *name = g_ptr_array_index(pseudo->schema->classes, label);
  if (into->kind == DRIFT_NUMERIC)
    drift_column_append_number(into, g_ascii_strtod(name, NULL));
  else
    drift_column_append_text(into, name, -1);
}

/* The rows taken, with their labels, then the labelled rows: the last ones validate, as before. *weights [n_rows]. */
static DriftTable *join(const Pseudo *pseudo, double **weights)
{
  const DriftTable *table = pseudo->table;
  DriftTable *joined = drift_table_new();
  for (guint c = 0; c < table->columns->len; c++) {
    const DriftColumn *source = g_ptr_array_index(table->columns, c);
    const DriftColumn *fresh = drift_table_get_column(pseudo->unlabelled, source->name);
    DriftColumn *column = drift_table_add_column(joined, source->name, source->kind);
    gboolean label = g_str_equal(source->name, pseudo->schema->label);
    for (guint64 i = 0; i < pseudo->unlabelled->n_rows; i++) {
      if (pseudo->labels[i] == pseudo->classes) continue;
      if (label)
        append_label(pseudo, column, pseudo->labels[i]);
      else
        append_value(column, fresh, i);
    }
    for (guint64 i = 0; i < table->n_rows; i++) append_value(column, source, i);
  }
  guint64 taken = pseudo->told.n_taken;
  joined->n_rows = taken + table->n_rows;
  *weights = g_new(double, joined->n_rows + 1);
  for (guint64 i = 0; i < joined->n_rows; i++)
    (*weights)[i] = i < taken                      ? pseudo->pseudo->weight
                    : pseudo->options->row_weights ? pseudo->options->row_weights[i - taken]
                                                   : 1;
  return joined;
}

static gboolean train_student(const Pseudo *pseudo, PipelineTrainResult *student, GError **error)
{
  g_autofree double *weights = NULL;
  g_autoptr(DriftTable) joined = join(pseudo, &weights);
  PipelineTrainOptions options = *pseudo->options;
  options.row_weights = weights;
  /* the same validation rows as the teacher's */
  options.validation_fraction =
      ((double)pseudo->rows->n_validation + .5) / (double)(pseudo->told.n_taken + pseudo->rows->n);
  return pipeline_train(joined, pseudo->schema, &options, pseudo->progress, pseudo->user_data, student, error);
}

static gboolean run(Pseudo *pseudo, PipelineTrainResult *trained, GError **error)
{
  if (!pipeline_train(pseudo->table, pseudo->schema, pseudo->options, pseudo->progress, pseudo->user_data, trained,
                      error))
    return FALSE;
  pseudo->told.teacher_metric = trained->validation_metric;
  for (guint round = 0; round < pseudo->pseudo->rounds; round++) {
    PipelineTrainResult student = {0};
    if (!label_rows(pseudo, trained->onnx, error)) return FALSE;
    if (pseudo->told.n_taken == 0) return TRUE;
    if (!train_student(pseudo, &student, error)) return FALSE;
    student.n_skipped = trained->n_skipped;
    student.seconds += trained->seconds;
    pipeline_train_result_clear(trained);
    *trained = student;
    pseudo->told.rounds = round + 1;
  }
  return TRUE;
}

gboolean pipeline_train_pseudo(const DriftTable *table, const DriftTable *unlabelled, const DriftSchema *schema,
                               const PipelineTrainOptions *options, const PipelinePseudoOptions *pseudo,
                               PipelineTrainProgressFunc progress, gpointer user_data, PipelineTrainResult *result,
                               PipelinePseudoLabels *labels, GError **error)
{
  g_auto(Pseudo) self = {.table = table,
                         .unlabelled = unlabelled,
                         .schema = schema,
                         .options = options,
                         .pseudo = pseudo,
                         .progress = progress,
                         .user_data = user_data,
                         .classes = schema->task == DRIFT_TASK_REGRESSION ? 0 : schema->classes->len};
  if (!check(&self, error) || !split(&self, error)) return FALSE;
  self.labels = g_new0(guint, unlabelled->n_rows + 1);
  self.confidences = g_new0(double, unlabelled->n_rows + 1);
  self.told = (PipelinePseudoLabels){
      .n_unlabelled = unlabelled->n_rows, .n_classes = self.classes, .taken = g_new0(guint64, self.classes)};
  PipelineTrainResult trained = {0};
  if (!run(&self, &trained, error)) {
    pipeline_train_result_clear(&trained);
    return FALSE;
  }
  *result = trained;
  *labels = self.told;
  self.told.taken = NULL;
  return TRUE;
}
