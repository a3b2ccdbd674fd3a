/* "mixture": a version learns the labelled rows that came since it was made: a revision of an online mixture. */
#include "pipeline/job_training.h"
#include "pipeline/mixture.h"

#include <math.h>

#define PROMISE_ROWS 1000  /* the newest ones, beside those just learned */
#define REVISION_ROWS 2000 /* learned: a version is made even when it was no better so far */

typedef struct {
  gint64 first_row; /* of the data */
  DriftTable *rows; /* all of them, in order */
  gint64 learned;   /* first row that was learned */
  PipelineMixtureStep step;
  double error; /* of the newest PROMISE_ROWS */
  double promised;
  gint64 minimum_holdout;        /* rows learned, below which the gate would refuse to judge */
  PipelineComparison comparison; /* with the champion; n = 0: none */
  json_t *weights;
} Online;

static void online_free(Online *online)
{
  drift_table_free(online->rows);
  pipeline_mixture_step_clear(&online->step);
  json_decref(online->weights);
  g_free(online);
}

/* The usable rows of [offset, …): training->train is what the version's profile is made of, training->holdout what it
 * is measured on. */
static DriftTable *select_usable(const PipelineTraining *training, const DriftTable *table, guint64 offset)
{
  const DriftColumn *label = drift_table_get_column(table, training->schema->label);
  g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(guint64));
  for (guint64 row = offset; row < table->n_rows; row++) {
    DriftValue value = drift_column_get_value(label, row);
    if (drift_schema_class_of(training->schema, &value) >= 0) g_array_append_val(rows, row);
  }
  return drift_table_select(table, (const guint64 *)(gpointer)rows->data, rows->len);
}

static gboolean load(PipelineTraining *training, GError **error)
{
  Online *online = training->own;
  if (!pipeline_training_read_spec(training, error) ||
      !pipeline_job_spec_integer(training->spec, "first_row", 0, G_MAXINT64, &online->first_row, error) ||
      !pipeline_job_spec_integer(json_object_get(training->spec, "gate"), "minimum_holdout", 0, G_MAXINT64,
                                 &online->minimum_holdout, error))
    return FALSE;
  if (training->from == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "a mixture needs \"from\" in its spec: the version that learns");
    return FALSE;
  }
  g_autoptr(PipelineDataSet) set = pipeline_data_set_new(training->schema);
  if (!pipeline_data_ranges_read(training->context->store, training->context->artifacts, training->model,
                                 training->schema, training->data, set, error))
    return FALSE;
  online->rows = g_steal_pointer(&set->table);
  training->train = select_usable(training, online->rows, 0);
  training->n_data = training->train->n_rows;
  training->n_unusable = online->rows->n_rows - training->n_data;
  return TRUE;
}

/* The mixture of version "from" at a row from which on the data has every row. */
static PipelineMixture *open_mixture(PipelineTraining *training, GError **error)
{
  const Online *online = training->own;
  g_autoptr(PipelineMixture) mixture = NULL;
  if (pipeline_mixture_is_revision(training->from)) {
    mixture = pipeline_mixture_from_onnx(training->from, training->schema, error);
  } else {
    PipelineMixtureOptions options;
    pipeline_mixture_options_init(&options);
    options.seed = (guint64)training->seed;
    const gchar *usual = options.architecture;
    if (!pipeline_job_spec_text(training->spec, "architecture", &options.architecture, error)) return NULL;
    if (g_strcmp0(options.architecture, PIPELINE_ARCHITECTURE_AUTO) == 0) options.architecture = usual;
    mixture = pipeline_mixture_new(training->from, training->schema, &options, error);
    if (mixture != NULL) pipeline_mixture_begin_at(mixture, online->first_row);
  }
  if (mixture == NULL) return NULL;
  gint64 known = pipeline_mixture_get_rows(mixture);
  if (known < online->first_row || known > online->first_row + (gint64)online->rows->n_rows) {
    pipeline_job_log(training->context,
                     "the version knows the rows before %" G_GINT64_FORMAT ", the data begins at row %" G_GINT64_FORMAT
                     ": the rows between are lost to it",
                     known, online->first_row);
    pipeline_mixture_begin_at(mixture, online->first_row);
  }
  pipeline_mixture_forget_before(mixture, online->first_row);
  return g_steal_pointer(&mixture);
}

static json_t *weights_to_json(const PipelineMixture *mixture)
{
  json_t *weights = json_object();
  const gchar *name;
  double weight = NAN;
  for (guint i = 0; (name = pipeline_mixture_get_weight(mixture, i, &weight)) != NULL; i++)
    json_object_set_new(weights, name, pipeline_job_real(weight));
  return weights;
}

static gboolean learn(PipelineTraining *training, GError **error)
{
  Online *online = training->own;
  g_autoptr(PipelineMixture) mixture = open_mixture(training, error);
  if (mixture == NULL) return FALSE;
  guint n_known = 0;
  online->learned = pipeline_mixture_get_rows(mixture);
  if (!pipeline_mixture_learn(mixture, online->rows, online->first_row,
                              online->first_row + (gint64)online->rows->n_rows, &online->step, error))
    return FALSE;
  if (online->step.n_rows > 0 && online->step.n_rows == online->step.n_unusable) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "none of the %u rows since row %" G_GINT64_FORMAT " has a usable label: wait for more labels",
                online->step.n_rows, online->learned);
    return FALSE;
  }
  online->error = pipeline_mixture_get_error(mixture, PROMISE_ROWS, &n_known);
  online->weights = weights_to_json(mixture);
  g_autofree gchar *experts = pipeline_mixture_describe(mixture);
  pipeline_job_log(training->context,
                   "learned %u rows from row %" G_GINT64_FORMAT ": %u alarms, %u takeovers, %u trainings; weights: %s",
                   online->step.n_rows, online->learned, online->step.alarms, online->step.takeovers,
                   online->step.trainings, experts);
  guint64 offset = (guint64)(online->learned - online->first_row);
  training->holdout = select_usable(training, online->rows, offset);
  training->trained = (PipelineTrainResult){.onnx = pipeline_mixture_to_onnx(mixture, error),
                                            .epochs = online->step.trainings,
                                            .best_epoch = online->step.trainings,
                                            .n_train = online->step.n_rows,
                                            .n_skipped = online->step.n_unusable,
                                            .train_loss = NAN,
                                            .validation_loss = NAN,
                                            .validation_metric = NAN};
  return training->trained.onnx != NULL;
}

/* --- judging: nothing was held out, but each row was answered before it was learned ---------------------------------
 */

/* Right (1) or wrong (0) of the champion on the held-out rows; new. */
static double *score_champion(const PipelineTraining *training, GError **error)
{
  const DriftTable *rows = training->holdout;
  g_autoptr(PipelineModel) champion = pipeline_model_load(training->champion, training->schema, NULL, error);
  if (champion == NULL) return NULL;
  guint width = pipeline_model_get_n_outputs(champion);
  g_autofree float *outputs = g_new(float, rows->n_rows *width + 1);
  if (!pipeline_model_predict_table(champion, rows, outputs, error)) return NULL;
  const DriftColumn *label = drift_table_get_column(rows, training->schema->label);
  double *scores = g_new(double, rows->n_rows + 1);
  for (guint64 row = 0; row < rows->n_rows; row++) {
    DriftValue value = drift_column_get_value(label, row);
    scores[row] =
        (gint)pipeline_model_decide(champion, outputs + row * width) == drift_schema_class_of(training->schema, &value);
  }
  return scores;
}

static gboolean compare_as_learned(PipelineTraining *training, GError **error)
{
  Online *online = training->own;
  guint64 n = 0;
  g_autofree double *scores = g_new(double, online->step.errors->len + 1);
  for (guint i = 0; i < online->step.errors->len; i++)
    if (online->step.errors->data[i] < 2) scores[n++] = online->step.errors->data[i] == 0;
  double wrong = 0;
  for (guint64 i = 0; i < n; i++) wrong += 1 - scores[i];
  online->promised = n > 0 ? MAX(wrong / (double)n, online->error) : online->error;
  if (training->champion == NULL || n == 0) return TRUE;
  g_autofree double *champion = score_champion(training, error);
  if (champion == NULL) return FALSE;
  PipelineComparison *comparison = &online->comparison;
  pipeline_compare_scores(champion, scores, n, training->confidence, (guint64)training->seed, comparison);
  pipeline_job_log(
      training->context,
      "%" G_GUINT64_FORMAT " rows before they were learned: champion %.4f, mixture %.4f, gain %.4f (%.4f to "
      "%.4f)",
      comparison->n, comparison->champion, comparison->challenger, comparison->gain, comparison->low, comparison->high);
  return TRUE;
}

/* A version is worth making when it got more rows right than the champion, when it trained (which would have to be done
 * again), or when much was learned. Else the next job learns these rows again, and more; also when the gate could not
 * judge it, because it sees the rows of this job alone. */
static gboolean is_unchanged(const PipelineTraining *training)
{
  const Online *online = training->own;
  if ((gint64)training->holdout->n_rows < MAX(online->minimum_holdout, 1)) return TRUE; /* 1: less than a block */
  return training->champion != NULL && !(online->comparison.gain > 0) && online->step.trainings == 0 &&
         online->step.n_rows < REVISION_ROWS;
}

static void say_what_was_learned(PipelineTraining *training)
{
  Online *online = training->own;
  json_t *evaluation = training->evaluation;
  json_object_set_new(evaluation, "promised_error", pipeline_job_real(online->promised));
  if (online->comparison.n > 0)
    json_object_set_new(evaluation, "comparison", pipeline_job_comparison(&online->comparison));
  json_object_set_new(evaluation, "mixture",
                      json_pack("{s:i, s:I, s:i, s:i, s:i, s:I, s:O}", "rows", (int)online->step.n_rows, "first_row",
                                (json_int_t)online->learned, "alarms", (int)online->step.alarms, "takeovers",
                                (int)online->step.takeovers, "trainings", (int)online->step.trainings, "change_row",
                                (json_int_t)online->step.change_row, "experts", online->weights));
}

/* The table may hold up to a block of rows behind what was learned. */
static gboolean judge(PipelineTraining *training, GError **error)
{
  Online *online = training->own;
  guint64 learned = online->step.n_rows - online->step.n_unusable;
  if (training->holdout->n_rows > learned) {
    g_autofree guint64 *rows = g_new(guint64, learned + 1);
    for (guint64 i = 0; i < learned; i++) rows[i] = i;
    DriftTable *cut = drift_table_select(training->holdout, rows, learned);
    drift_table_free(training->holdout);
    training->holdout = cut;
  }
  if (!compare_as_learned(training, error)) return FALSE;
  training->unchanged = is_unchanged(training);
  if (training->unchanged)
    pipeline_training_judge_nothing(training); /* most jobs end here: a pane's worth of rows changes few answers */
  else if (!pipeline_training_judge(training, error))
    return FALSE;
  say_what_was_learned(training);
  return TRUE;
}

/* `own` belongs to this frame: the stages see it through the training. */
static gboolean run(PipelineJobContext *context, GError **error)
{
  Online *online = g_new0(Online, 1);
  const PipelineTrainingStages stages = {.load = load, .learn = learn, .judge = judge, .own = online};
  gboolean done = pipeline_training_run_stages(context, &stages, error);
  online_free(online);
  return done;
}

const PipelineJobKind pipeline_job_kind_mixture = {
    .kind = "mixture",
    .summary = "a version learns new labelled rows online",
    .run = run,
};
