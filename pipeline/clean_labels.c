/* Confident learning (Northcutt, Jiang and Chuang 2021, JAIR 70): which labels our own model, trained on the other
 * rows, contradicts with confidence. */
#include <math.h>

#include "pipeline/clean_internal.h"
#include "pipeline/prepare_folds.h"

#define FOLDS 5u
#define ARCHITECTURE "mlp:32"
#define MIN_ROWS 100u

/* Self-confidence of each class: the mean probability of class j over rows that are labelled j. */
static void find_thresholds(const float *p, const guint *given, guint64 n, guint n_classes, double *thresholds)
{
  g_autofree double *counts = g_new0(double, n_classes);
  for (guint j = 0; j < n_classes; j++) thresholds[j] = 0;
  for (guint64 i = 0; i < n; i++) {
    thresholds[given[i]] += (double)p[i * n_classes + given[i]];
    counts[given[i]]++;
  }
  for (guint j = 0; j < n_classes; j++) thresholds[j] = counts[j] > 0 ? thresholds[j] / counts[j] : INFINITY;
}

/* The likeliest class of those that reach their threshold; the given one when none does. */
static guint confident_class(const float *p, guint given, guint n_classes, const double *thresholds)
{
  guint best = given;
  double most = -1;
  for (guint j = 0; j < n_classes; j++)
    if ((double)p[j] >= thresholds[j] && (double)p[j] > most) most = (double)p[j], best = j;
  return best;
}

static json_t *describe(const DriftSchema *schema, const guint64 *joint, const double *thresholds, guint64 n,
                        guint64 issues, guint64 dropped)
{
  guint n_classes = schema->classes->len;
  json_t *pairs = json_array(), *limits = json_object();
  for (guint i = 0; i < n_classes; i++) {
    json_object_set_new(limits, g_ptr_array_index(schema->classes, i),
                        isfinite(thresholds[i]) ? json_real(thresholds[i]) : json_null());
    for (guint j = 0; j < n_classes; j++)
      if (i != j && joint[i * n_classes + j] > 0)
        json_array_append_new(pairs, json_pack("{s:s, s:s, s:I}", "given", g_ptr_array_index(schema->classes, i),
                                               "likely", g_ptr_array_index(schema->classes, j), "rows",
                                               (json_int_t)joint[i * n_classes + j]));
  }
  return json_pack("{s:I, s:I, s:I, s:o, s:o}", "rows_judged", (json_int_t)n, "issues", (json_int_t)issues, "dropped",
                   (json_int_t)dropped, "pairs", pairs, "thresholds", limits);
}

/* Probabilities of the training rows, out of fold; new [n_train][classes]. */
static float *predict(const DriftTable *training, const DriftSchema *schema, guint64 seed, GError **error)
{
  PipelineSplit split = {0};
  PipelineTrainOptions options;
  pipeline_train_options_init(&options);
  options.architecture = ARCHITECTURE;
  options.seed = seed;
  g_autoptr(PipelineTrainerRows) rows = pipeline_trainer_rows_new(training, schema, error);
  g_autofree guint8 *fold = g_new(guint8, MAX(training->n_rows, 1));
  g_autofree float *p = g_new(float, training->n_rows * schema->classes->len);
  if (!rows || !pipeline_split_parse("stratified", &split, error)) return NULL;
  gboolean done = pipeline_split_folds(&split, training, schema, rows, FOLDS, seed, fold, error) &&
                  pipeline_predict_folds(training, schema, &split, fold, FOLDS, &options, p, error);
  pipeline_split_clear(&split);
  return done ? g_steal_pointer(&p) : NULL;
}

json_t *pipeline_clean_labels(const DriftTable *table, const DriftSchema *schema, PipelineTrainerRows *rows,
                              const PipelineCleanOptions *options, GError **error)
{
  guint n_classes = schema->classes->len;
  guint64 n = rows->n_train, issues = 0, dropped = 0;
  if (schema->task == DRIFT_TASK_REGRESSION || n < MIN_ROWS) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "cleaning of labels: %s",
                n < MIN_ROWS ? "fewer than 100 training rows are too few to judge a label by"
                             : "a regression has no classes to confuse");
    return NULL;
  }
  g_autoptr(DriftTable) training = drift_table_select(table, rows->rows, n);
  g_autofree float *p = predict(training, schema, options->seed, error);
  if (!p) return NULL;
  g_autofree guint *given = g_new(guint, n);
  g_autofree double *thresholds = g_new(double, n_classes);
  g_autofree guint64 *joint = g_new0(guint64, (gsize)n_classes * n_classes);
  g_autofree gboolean *drop = g_new0(gboolean, n);
  for (guint64 i = 0; i < n; i++) given[i] = (guint)rows->targets[rows->rows[i]];
  find_thresholds(p, given, n, n_classes, thresholds);
  for (guint64 i = 0; i < n; i++) {
    guint likely = confident_class(p + i * n_classes, given[i], n_classes, thresholds);
    joint[given[i] * n_classes + likely]++;
    drop[i] = likely != given[i];
    issues += drop[i] != FALSE;
  }
  if (options->drop_labels) dropped = pipeline_clean_drop(rows, drop);
  return describe(schema, joint, thresholds, n, issues, dropped);
}
