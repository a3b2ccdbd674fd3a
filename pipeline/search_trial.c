#include "pipeline/search_trial.h"

#include <glib/gstdio.h>
#include <math.h>
#include <string.h>
#include <sys/resource.h>

#include "pipeline/ensemble.h"
#include "pipeline/evaluate.h"
#include "pipeline/network_features.h"
#include "pipeline/search_families.h"
#include "pipeline/search_final.h"

#define LATENCY_ROWS 512u

/* --- rows --------------------------------------------------------------------------------------------------------- */

static int compare_rows(gconstpointer a, gconstpointer b)
{
  guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;
  return (x > y) - (x < y);
}

/* New: those rows in the order of the table, which is that of time. */
static DriftTable *select_ordered(const DriftTable *table, guint64 *rows, guint64 n)
{
  qsort(rows, n, sizeof *rows, compare_rows);
  return drift_table_select(table, rows, n);
}

/* New: the validation rows of `seen`, divided as a trial divides them; NULL with error. */
static DriftTable *validation_rows(const PipelineSearchRows *rows, GError **error)
{
  g_autoptr(PipelineTrainerRows) usable = pipeline_trainer_rows_new(rows->seen, rows->schema, error);
  if (usable == NULL || !pipeline_split_rows(rows->split, rows->seen, rows->schema, usable, rows->validation, 0,
                                             PIPELINE_MIN_VALIDATION, rows->seed, error))
    return NULL;
  if (usable->n_validation == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "%" G_GUINT64_FORMAT " usable rows give fewer than %d validation rows: nothing could be compared; "
                "give more rows or a larger --validation",
                usable->n, PIPELINE_MIN_VALIDATION);
    return NULL;
  }
  return drift_table_select(rows->seen, usable->rows + usable->n_train, usable->n_validation);
}

gboolean pipeline_search_rows_init(const DriftTable *table, const DriftSchema *schema, const PipelineSplit *split,
                                   double validation, double test, guint64 seed, PipelineSearchRows *rows,
                                   GError **error)
{
  PipelineSearchRows made = {.schema = schema, .split = split, .validation = validation / (1 - test), .seed = seed};
  g_autoptr(PipelineTrainerRows) usable = pipeline_trainer_rows_new(table, schema, error);
  if (usable == NULL || !pipeline_split_rows(split, table, schema, usable, 0, test, 0, seed, error)) return FALSE;
  made.seen = select_ordered(table, usable->rows, usable->n_train);
  if (usable->n_test > 0) made.test = select_ordered(table, usable->rows + usable->n_train, usable->n_test);
  g_autoptr(DriftTable) checked = validation_rows(&made, error);
  if (checked == NULL) {
    pipeline_search_rows_clear(&made);
    return FALSE;
  }
  made.n_validation = checked->n_rows;
  *rows = made;
  return TRUE;
}

void pipeline_search_rows_clear(PipelineSearchRows *rows)
{
  g_clear_pointer(&rows->seen, drift_table_free);
  g_clear_pointer(&rows->test, drift_table_free);
}

/* --- one rung ----------------------------------------------------------------------------------------------------- */

gchar *pipeline_search_file(const gchar *folder, guint trial, gint rung, const gchar *ending)
{
  g_autofree gchar *name = rung < 0 ? g_strdup_printf("trial-%u.%s", trial, ending)
                                    : g_strdup_printf("trial-%u.rung-%d.%s", trial, rung, ending);
  return g_build_filename(folder, name, NULL);
}

gchar *pipeline_search_outcome_file(const PipelineSearchStage *stage)
{
  if (stage->fold < 0) return pipeline_search_file(stage->folder, stage->number, (gint)stage->rung, "json");
  g_autofree gchar *ending = g_strdup_printf("fold-%d.json", stage->fold);
  return pipeline_search_file(stage->folder, stage->number, -1, ending);
}

/* What the epochs of this rung were worth. */
typedef struct {
  guint limit, epochs, best_epoch;
  double loss, metric;
  PipelineTrainStopFunc stop;
  gpointer user_data;
} Watch;

static gboolean watch_epoch(const PipelineTrainProgress *progress, gpointer user_data)
{
  Watch *watch = user_data;
  watch->epochs = progress->epoch;
  if (isfinite(progress->validation_loss) && !(progress->validation_loss >= watch->loss)) {
    watch->loss = progress->validation_loss;
    watch->metric = progress->validation_metric;
    watch->best_epoch = progress->epoch;
  }
  return progress->epoch < watch->limit;
}

static gboolean was_stopped(gpointer user_data)
{
  const Watch *watch = user_data;
  return watch->stop != NULL && watch->stop(watch->user_data);
}

/* The options lean on the recipe. */
static void fill_options(const PipelineSearchRows *rows, const PipelineSearchStage *stage, PipelineSearchRecipe *recipe,
                         PipelineTrainOptions *options)
{
  pipeline_train_options_init(options);
  pipeline_search_family_fill(stage->family, stage->values, rows->schema, recipe, options);
  options->epochs = pipeline_search_resource(&stage->rule, stage->family, stage->rule.n_rungs - 1);
  options->seed = rows->seed;
  options->split = rows->split;
  options->validation_fraction = rows->validation;
  options->channels = rows->channels, options->height = rows->height, options->width = rows->width;
}

/* Each rung trains on a copy, so that it begins at the same place however often it is begun. */
static gboolean copy_checkpoint(const PipelineSearchStage *stage, const gchar *path, GError **error)
{
  g_autofree gchar *text = NULL;
  gsize length = 0;
  g_unlink(path);
  if (stage->rung == 0) return TRUE;
  g_autofree gchar *below = pipeline_search_file(stage->folder, stage->number, (gint)stage->rung - 1, "checkpoint");
  return g_file_get_contents(below, &text, &length, error) && g_file_set_contents(path, text, (gssize)length, error);
}

static json_t *real_or_null(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

/* Of one row, over LATENCY_ROWS of the table, which has at least one. */
static gboolean time_model(PipelineModel *model, const DriftTable *table, PipelineEvaluation *evaluation,
                           GError **error)
{
  g_autofree guint64 *some = g_new(guint64, LATENCY_ROWS);
  for (guint i = 0; i < LATENCY_ROWS; i++) some[i] = i % table->n_rows;
  g_autoptr(DriftTable) timed = drift_table_select(table, some, LATENCY_ROWS);
  return pipeline_evaluate_latency(model, timed, evaluation, error);
}

static void describe_cost(const PipelineEvaluation *evaluation, gsize length, json_t *into)
{
  json_object_set_new(into, "bytes", json_integer((json_int_t)length));
  json_object_set_new(into, "latency_us", real_or_null(evaluation->latency_p50_us));
  json_object_set_new(into, "latency_rows", json_integer(LATENCY_ROWS));
}

/* Writes the model and adds what it costs and is worth. */
static gboolean describe_model(const PipelineSearchRows *rows, const PipelineSearchStage *stage, GBytes *onnx,
                               json_t *outcome, GError **error)
{
  PipelineEvaluation evaluation = {0};
  gsize length = 0;
  gconstpointer bytes = g_bytes_get_data(onnx, &length);
  g_autofree gchar *path = pipeline_search_file(stage->folder, stage->number, -1, "onnx");
  g_autoptr(DriftTable) validation = validation_rows(rows, error);
  if (validation == NULL) return FALSE;
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, rows->schema, NULL, error);
  gboolean done = model != NULL && pipeline_evaluate(model, validation, &evaluation, error) &&
                  time_model(model, validation, &evaluation, error) &&
                  g_file_set_contents(path, bytes, (gssize)length, error);
  if (done) {
    describe_cost(&evaluation, length, outcome);
    json_object_set_new(outcome, "auc", real_or_null(evaluation.auc));
  }
  pipeline_evaluation_clear(&evaluation);
  return done;
}

static json_t *describe_outcome(const Watch *watch, const PipelineTrainResult *result, double seconds)
{
  json_t *outcome = json_pack("{s:f, s:I, s:f, s:b}", "loss", watch->loss, "epochs", (json_int_t)watch->epochs,
                              "seconds", seconds, "finished", result->onnx != NULL);
  json_object_set_new(outcome, "metric", real_or_null(watch->metric));
  json_object_set_new(outcome, "best_epoch",
                      json_integer((json_int_t)(result->onnx != NULL ? result->best_epoch : watch->best_epoch)));
  return outcome;
}

static json_t *run_rung(const PipelineSearchRows *rows, const PipelineSearchStage *stage, PipelineTrainStopFunc stop,
                        gpointer user_data, GError **error)
{
  PipelineTrainOptions options;
  g_auto(PipelineSearchRecipe) recipe = {NULL, NULL};
  PipelineTrainResult result = {0};
  g_autoptr(GError) cause = NULL;
  gint64 begun = g_get_monotonic_time();
  Watch watch = {.limit = pipeline_search_resource(&stage->rule, stage->family, stage->rung),
                 .loss = NAN,
                 .metric = NAN,
                 .stop = stop,
                 .user_data = user_data};
  fill_options(rows, stage, &recipe, &options);
  g_autofree gchar *checkpoint = pipeline_search_file(stage->folder, stage->number, (gint)stage->rung, "checkpoint");
  options.checkpoint = checkpoint;
  options.checkpoint_seconds = G_MAXINT32; /* only at the end of the rung */
  options.stop = was_stopped;
  if (!copy_checkpoint(stage, checkpoint, error)) return NULL;
  gboolean done = pipeline_train(rows->seen, rows->schema, &options, watch_epoch, &watch, &result, &cause);
  gboolean at_limit = g_error_matches(cause, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED) && watch.epochs >= watch.limit;
  if (done && isfinite(result.validation_loss)) { /* the best of all rungs */
    watch.loss = result.validation_loss;
    watch.metric = result.validation_metric;
    watch.epochs = result.epochs;
  }
  if ((!done && !at_limit) || !isfinite(watch.loss)) {
    if (cause != NULL)
      g_propagate_error(error, g_steal_pointer(&cause));
    else
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DIVERGED, "no epoch had a finite loss on the validation rows");
    pipeline_train_result_clear(&result);
    return NULL;
  }
  json_t *outcome = describe_outcome(&watch, &result, (double)(g_get_monotonic_time() - begun) / 1e6);
  if (result.onnx != NULL && !describe_model(rows, stage, result.onnx, outcome, error))
    g_clear_pointer(&outcome, json_decref);
  pipeline_train_result_clear(&result);
  return outcome;
}

/* --- the winner --------------------------------------------------------------------------------------------------- */

/* On all rows of the table, none of which validates. */
static GBytes *fit(const DriftTable *table, const PipelineSearchRows *rows, const PipelineSearchStage *stage,
                   guint best_epoch, GError **error)
{
  PipelineTrainOptions options;
  g_auto(PipelineSearchRecipe) recipe = {NULL, NULL};
  PipelineTrainResult result = {0};
  fill_options(rows, stage, &recipe, &options);
  options.validation_fraction = 0;
  options.epochs = MAX(1u, best_epoch);
  if (!pipeline_train(table, rows->schema, &options, NULL, NULL, &result, error)) return NULL;
  GBytes *onnx = g_bytes_ref(result.onnx);
  pipeline_train_result_clear(&result);
  return onnx;
}

GBytes *pipeline_search_refit(const PipelineSearchRows *rows, const PipelineSearchStage *stage, guint best_epoch,
                              GError **error)
{
  return fit(rows->seen, rows, stage, best_epoch, error);
}

guint pipeline_search_best_epoch(const PipelineSearchTrial *trial)
{
  return (guint)json_integer_value(json_object_get(trial->outcome, "best_epoch"));
}

static GBytes *refit_trial(const PipelineSearchRows *rows, const PipelineSearchState *state,
                           const PipelineSearchTrial *trial, const gchar *folder, GError **error)
{
  PipelineSearchStage stage = {.number = trial->number,
                               .rung = state->rule.n_rungs - 1,
                               .fold = -1,
                               .family = trial->part->family,
                               .rule = state->rule,
                               .folder = folder};
  memcpy(stage.values, trial->values, sizeof stage.values);
  GBytes *onnx = pipeline_search_refit(rows, &stage, pipeline_search_best_epoch(trial), error);
  if (onnx == NULL) g_prefix_error(error, "trial %u, fitted again to all rows: ", trial->number);
  return onnx;
}

static GBytes *read_trial(const PipelineSearchTrial *trial, const gchar *folder, GError **error)
{
  gchar *bytes = NULL;
  gsize length = 0;
  g_autofree gchar *path = pipeline_search_file(folder, trial->number, -1, "onnx");
  return g_file_get_contents(path, &bytes, &length, error) ? g_bytes_new_take(bytes, length) : NULL;
}

GBytes *pipeline_search_model(const PipelineSearchRows *rows, const PipelineSearchState *state,
                              const GPtrArray *members, const gchar *folder, gboolean refit, GError **error)
{
  g_autoptr(GPtrArray) models = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  for (guint i = 0; i < members->len; i++) {
    const PipelineSearchTrial *trial = g_ptr_array_index(members, i);
    GBytes *onnx = refit ? refit_trial(rows, state, trial, folder, error) : read_trial(trial, folder, error);
    if (onnx == NULL) return NULL;
    g_ptr_array_add(models, onnx);
  }
  return pipeline_ensemble_new((GBytes *const *)models->pdata, models->len, rows->schema, error);
}

json_t *pipeline_search_cost(const PipelineSearchRows *rows, GBytes *onnx, GError **error)
{
  PipelineEvaluation evaluation = {0};
  json_t *cost = NULL;
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, rows->schema, NULL, error);
  if (model != NULL && time_model(model, rows->seen, &evaluation, error))
    describe_cost(&evaluation, g_bytes_get_size(onnx), cost = json_object());
  pipeline_evaluation_clear(&evaluation);
  return cost;
}

json_t *pipeline_search_test(const PipelineSearchRows *rows, GBytes *onnx, GError **error)
{
  PipelineEvaluation evaluation = {0};
  json_t *report = NULL;
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, rows->schema, NULL, error);
  if (model != NULL && pipeline_evaluate(model, rows->test, &evaluation, error)) {
    const struct {
      const gchar *name;
      double value;
      gboolean regression;
    } figures[] = {{"accuracy", evaluation.accuracy, FALSE},
                   {"auc", evaluation.auc, FALSE},
                   {"log_loss", evaluation.log_loss, FALSE},
                   {"rmse", evaluation.rmse, TRUE},
                   {"mae", evaluation.mae, TRUE}};
    report = json_pack("{s:I}", "rows", (json_int_t)evaluation.n);
    for (guint i = 0; i < G_N_ELEMENTS(figures); i++)
      if (figures[i].regression == (rows->schema->task == DRIFT_TASK_REGRESSION))
        json_object_set_new(report, figures[i].name, real_or_null(figures[i].value));
  }
  pipeline_evaluation_clear(&evaluation);
  return report;
}

/* --- one fold ----------------------------------------------------------------------------------------------------- */

/* Tables of the rows that the fold is trained on and measured on; new. */
static gboolean divide_fold(const PipelineSearchRows *rows, const PipelineSearchStage *stage, DriftTable **train,
                            DriftTable **measured, GError **error)
{
  g_autoptr(PipelineTrainerRows) usable = pipeline_trainer_rows_new(rows->seen, rows->schema, error);
  if (usable == NULL) return FALSE;
  g_autofree guint8 *part = g_new(guint8, rows->seen->n_rows + 1);
  g_autofree guint64 *first = g_new(guint64, usable->n + 1), *second = g_new(guint64, usable->n + 1);
  guint64 n_first = 0, n_second = 0;
  if (!pipeline_split_folds(rows->split, rows->seen, rows->schema, usable, stage->rule.folds, rows->seed, part, error))
    return FALSE;
  for (guint64 i = 0; i < usable->n; i++) {
    guint64 row = usable->rows[i];
    PipelineSplitUse use = pipeline_split_use(rows->split, part[row], (guint)stage->fold);
    if (use == PIPELINE_USE_TRAIN) first[n_first++] = row;
    if (use == PIPELINE_USE_VALIDATE) second[n_second++] = row;
  }
  *train = select_ordered(rows->seen, first, n_first);
  *measured = select_ordered(rows->seen, second, n_second);
  return TRUE;
}

/* Of the label over the rows; 1: it does not vary. */
static double label_variance(const DriftTable *table, const DriftSchema *schema)
{
  double sd = pipeline_column_sd(drift_table_get_column(table, schema->label));
  return sd > 0 ? sd * sd : 1;
}

static json_t *run_fold(const PipelineSearchRows *rows, const PipelineSearchStage *stage, GError **error)
{
  PipelineEvaluation evaluation = {0};
  json_t *outcome = NULL;
  gint64 begun = g_get_monotonic_time();
  g_autoptr(DriftTable) train = NULL, measured = NULL;
  if (!divide_fold(rows, stage, &train, &measured, error)) return NULL;
  g_autoptr(GBytes) onnx = fit(train, rows, stage, stage->best_epoch, error);
  if (onnx == NULL) return NULL;
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, rows->schema, NULL, error);
  if (model != NULL && pipeline_evaluate(model, measured, &evaluation, error)) {
    gboolean regression = rows->schema->task == DRIFT_TASK_REGRESSION;
    double loss =
        regression ? evaluation.rmse * evaluation.rmse / label_variance(train, rows->schema) : evaluation.log_loss;
    if (isfinite(loss))
      outcome =
          json_pack("{s:f, s:f, s:f}", "loss", loss, "metric", regression ? -evaluation.rmse : evaluation.accuracy,
                    "seconds", (double)(g_get_monotonic_time() - begun) / 1e6);
    else
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DIVERGED, "fold %d: the loss is not finite", stage->fold + 1);
  }
  pipeline_evaluation_clear(&evaluation);
  return outcome;
}

/* Of this process, user and system. */
static double cpu_seconds(void)
{
  struct rusage usage = {0};
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

json_t *pipeline_search_trial_run(const PipelineSearchRows *rows, const PipelineSearchStage *stage,
                                  PipelineTrainStopFunc stop, gpointer user_data, GError **error)
{
  json_t *outcome = stage->fold >= 0 ? run_fold(rows, stage, error) : run_rung(rows, stage, stop, user_data, error);
  if (outcome != NULL) json_object_set_new(outcome, "cpu_seconds", json_real(cpu_seconds()));
  return outcome;
}
