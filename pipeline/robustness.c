#include "pipeline/robustness.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "pipeline/trainer_rows.h"

void pipeline_robustness_options_init(PipelineRobustnessOptions *options)
{
  *options = (PipelineRobustnessOptions){.epsilon = 0.1, .range = PIPELINE_RANGE_DATA, .category_budget = 1, .seed = 1};
  pipeline_attack_options_init(&options->attack);
}

void pipeline_robustness_clear(PipelineRobustness *robustness)
{
  gpointer arrays[] = {robustness->rows,      robustness->labels, robustness->decisions,
                       robustness->right,     robustness->robust, robustness->queries,
                       robustness->distances, robustness->points, robustness->moved};
  for (guint i = 0; i < G_N_ELEMENTS(arrays); i++) g_free(arrays[i]);
  if (robustness->features != NULL) g_array_unref(robustness->features);
  if (robustness->categories != NULL) g_array_unref(robustness->categories);
  memset(robustness, 0, sizeof *robustness);
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

typedef struct {
  const PipelineRobustnessOptions *options;
  PipelineAttackModel *attacked;
  DriftTable *rows; /* those with a usable label */
  PipelineRobustnessBall ball;
  PipelineRobustness *result;
  GPtrArray *categories; /* that may move */
  double *numbers;       /* [n, features] */
  PipelineRandom random;
} Measurement;

static void measurement_clear(Measurement *measurement)
{
  pipeline_attack_model_free(measurement->attacked);
  drift_table_free(measurement->rows);
  pipeline_robustness_ball_clear(&measurement->ball);
  if (measurement->categories != NULL) g_ptr_array_unref(measurement->categories);
  g_free(measurement->numbers);
}

static gboolean choose_rows(Measurement *measurement, const DriftTable *table, const DriftSchema *schema,
                            GError **error)
{
  g_autoptr(PipelineTrainerRows) usable = pipeline_trainer_rows_new(table, schema, error);
  if (usable == NULL) return FALSE;
  PipelineRobustness *result = measurement->result;
  gsize n = usable->n;
  measurement->rows = drift_table_select(table, usable->rows, n);
  result->n = n;
  result->n_skipped = usable->n_skipped;
  result->rows = g_memdup2(usable->rows, n * sizeof(guint64));
  result->labels = g_new(guint, n + 1);
  for (gsize i = 0; i < n; i++) result->labels[i] = (guint)usable->targets[usable->rows[i]];
  return TRUE;
}

static gboolean allocate(Measurement *measurement, GError **error)
{
  PipelineRobustness *result = measurement->result;
  gsize n = result->n, total = n * result->features->len;
  result->decisions = g_new0(guint, n + 1);
  result->right = g_new0(gboolean, n + 1);
  result->robust = g_new0(gboolean, n + 1);
  result->queries = g_new0(guint64, n + 1);
  result->distances = g_new0(double, n + 1);
  result->categories = pipeline_robustness_list_categories(measurement->categories);
  result->moved = g_new0(const gchar *, n * result->categories->len + 1);
  result->points = g_try_new(float, total + 1);
  measurement->numbers = g_try_new(double, total + 1);
  if (result->points != NULL && measurement->numbers != NULL) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "no memory to attack %zu rows of %u numbers", n,
              result->features->len);
  return FALSE;
}

/* --- one batch ---------------------------------------------------------------------------------------------------- */

/* Clean decisions; *chosen of the rows of this batch that are right. */
static gboolean look_at_rows(Measurement *measurement, guint64 first, guint n, guint64 *chosen, guint *n_chosen,
                             GError **error)
{
  PipelineRobustness *result = measurement->result;
  gsize width = result->features->len;
  double *numbers = measurement->numbers + first * width;
  float *points = result->points + first * width;
  guint *decisions = result->decisions + first;
  if (!pipeline_attack_model_take(measurement->attacked, measurement->rows, first, n, result->labels + first, numbers,
                                  error))
    return FALSE;
  for (gsize i = 0; i < n * width; i++) points[i] = (float)numbers[i];
  if (!pipeline_attack_model_decide(measurement->attacked, points, NULL, n, decisions, error)) return FALSE;
  *n_chosen = 0;
  for (guint i = 0; i < n; i++) {
    result->right[first + i] = decisions[i] == result->labels[first + i];
    if (result->right[first + i]) chosen[(*n_chosen)++] = first + i;
  }
  return TRUE;
}

/* The model's own word on the points found. */
static gboolean judge(Measurement *measurement, const guint64 *chosen, guint n, const float *points, GError **error)
{
  PipelineRobustness *result = measurement->result;
  gsize width = result->features->len;
  guint decisions[PIPELINE_ATTACK_ROWS];
  if (!pipeline_attack_model_decide(measurement->attacked, points, NULL, n, decisions, error)) return FALSE;
  for (guint i = 0; i < n; i++) {
    guint64 row = chosen[i];
    const double *numbers = measurement->numbers + row * width;
    const float *point = points + (gsize)i * width;
    g_return_val_if_fail(pipeline_attack_holds(&measurement->ball.ball, numbers, point), FALSE);
    result->robust[row] = decisions[i] == result->labels[row];
    result->decisions[row] = decisions[i];
    result->distances[row] = pipeline_attack_distance(&measurement->ball.ball, numbers, point);
    memcpy(result->points + row * width, point, width * sizeof(float));
  }
  return TRUE;
}

static double cpu_seconds(void)
{
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Texts and groups first: the numbers [n, features] are then moved around the row that is left. */
static gboolean move_categories(Measurement *measurement, const guint64 *chosen, guint n, double *numbers,
                                GError **error)
{
  PipelineRobustness *result = measurement->result;
  gsize width = result->categories->len, n_features = result->features->len;
  g_autofree float *points = g_new(float, n *n_features + 1);
  for (gsize i = 0; i < n * n_features; i++) points[i] = (float)numbers[i];
  g_autofree const gchar **moved = g_new0(const gchar *, n *width + 1);
  g_autofree guint64 *queries = g_new0(guint64, n + 1);
  if (!pipeline_robustness_move_categories(measurement->attacked, measurement->categories,
                                           measurement->options->category_budget, points, n, queries, moved, error))
    return FALSE;
  for (gsize i = 0; i < n * n_features; i++)
    if (points[i] != (float)numbers[i] && !isnan(points[i])) numbers[i] = (double)points[i];
  for (guint i = 0; i < n; i++) {
    memcpy(measurement->numbers + chosen[i] * n_features, numbers + i * n_features, n_features * sizeof(double));
    result->queries[chosen[i]] = queries[i];
    memcpy(result->moved + chosen[i] * width, moved + i * width, width * sizeof *moved);
  }
  return TRUE;
}

static gboolean attack_rows(Measurement *measurement, const guint64 *chosen, guint n, GError **error)
{
  PipelineRobustness *result = measurement->result;
  gsize width = result->features->len;
  g_autoptr(DriftTable) rows = drift_table_select(measurement->rows, chosen, n);
  g_autofree double *numbers = g_new(double, n *width + 1);
  g_autofree float *points = g_new(float, n *width + 1);
  g_autofree guint64 *queries = g_new0(guint64, n + 1);
  guint labels[PIPELINE_ATTACK_ROWS];
  for (guint i = 0; i < n; i++) labels[i] = result->labels[chosen[i]];
  if (!pipeline_attack_model_take(measurement->attacked, rows, 0, n, labels, numbers, error)) return FALSE;
  const PipelineAttackTarget target = pipeline_attack_model_get_target(measurement->attacked);
  gint64 started = g_get_monotonic_time();
  double cpu_started = cpu_seconds();
  if (!move_categories(measurement, chosen, n, numbers, error)) return FALSE;
  g_autoptr(PipelineAttackBounds) bounds = pipeline_attack_bounds_new(&measurement->ball.ball, numbers, n);
  if (!pipeline_attack_run(&measurement->options->attack, &target, &measurement->ball.ball, bounds,
                           &measurement->random, points, NULL, queries, error))
    return FALSE;
  result->seconds += (double)(g_get_monotonic_time() - started) / 1e6;
  result->cpu_seconds += cpu_seconds() - cpu_started;
  for (guint i = 0; i < n; i++) result->queries[chosen[i]] += queries[i];
  return judge(measurement, chosen, n, points, error);
}

static gboolean run(Measurement *measurement, GError **error)
{
  PipelineRobustness *result = measurement->result;
  guint64 chosen[PIPELINE_ATTACK_ROWS];
  for (guint64 first = 0; first < result->n; first += PIPELINE_ATTACK_ROWS) {
    guint n = (guint)MIN(PIPELINE_ATTACK_ROWS, result->n - first), n_chosen;
    if (!look_at_rows(measurement, first, n, chosen, &n_chosen, error)) return FALSE;
    if (n_chosen > 0 && !attack_rows(measurement, chosen, n_chosen, error)) return FALSE;
  }
  for (guint64 i = 0; i < result->n; i++) {
    result->n_right += result->right[i] ? 1 : 0;
    result->n_robust += result->robust[i] ? 1 : 0;
  }
  return TRUE;
}

gboolean pipeline_robustness_measure(PipelineModel *model, const DriftTable *table,
                                     const PipelineRobustnessOptions *options, PipelineRobustness *robustness,
                                     GError **error)
{
  const DriftSchema *schema = pipeline_model_get_schema(model);
  PipelineRobustness result = {0};
  Measurement measurement = {.options = options, .result = &result};
  pipeline_random_seed(&measurement.random, options->seed);
  gboolean done = FALSE;
  measurement.attacked = pipeline_attack_model_new(model, options->loss, error);
  if (measurement.attacked != NULL && choose_rows(&measurement, table, schema, error)) {
    const gchar *reason = pipeline_attack_model_get_reason(measurement.attacked);
    result.features = g_array_copy((GArray *)pipeline_attack_model_get_features(measurement.attacked));
    if (options->attack.type->needs_gradient && reason != NULL)
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                  "the attack %s follows gradients, and this model has none: %s; square and hopskipjump need none",
                  options->attack.type->name, reason);
    else
      done =
          (measurement.categories =
               pipeline_robustness_categories_new(options, schema, result.features, measurement.rows, error)) != NULL &&
          allocate(&measurement, error) &&
          pipeline_robustness_ball_init(&measurement.ball, options, schema, result.features, measurement.rows, error) &&
          run(&measurement, error);
  }
  measurement_clear(&measurement);
  if (done)
    *robustness = result;
  else
    pipeline_robustness_clear(&result);
  return done;
}

/* --- results ------------------------------------------------------------------------------------------------------ */

DriftTable *pipeline_robustness_tabulate(const PipelineRobustness *robustness, const DriftSchema *schema,
                                         const DriftTable *table)
{
  DriftTable *moved = drift_table_select(table, robustness->rows, robustness->n);
  guint width = robustness->features->len;
  for (guint f = 0; f < width; f++) {
    const gchar *name = drift_schema_get_feature(schema, g_array_index(robustness->features, guint, f))->name;
    DriftColumn *column = drift_table_get_column(moved, name);
    for (guint64 i = 0; i < robustness->n; i++) {
      double *number = &g_array_index(column->numbers, double, i);
      float point = robustness->points[i * width + f];
      if (!isnan(point) && (float)*number != point) *number = (double)point;
    }
  }
  pipeline_robustness_tabulate_categories(robustness, schema, moved);
  return moved;
}

guint64 pipeline_robustness_count_worst(const PipelineRobustness *const *measured, guint n)
{
  guint64 count = 0;
  for (guint64 row = 0; n > 0 && row < measured[0]->n; row++) {
    gboolean robust = TRUE;
    for (guint i = 0; i < n; i++) robust = robust && measured[i]->robust[row];
    count += robust ? 1 : 0;
  }
  return count;
}
