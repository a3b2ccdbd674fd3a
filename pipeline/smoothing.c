#include "pipeline/smoothing.h"

#include <math.h>
#include <string.h>

#include "drift/distributions.h"
#include "pipeline/graph_optimiser.h"
#include "pipeline/trainer_rows.h"

void pipeline_smoothing_options_init(PipelineSmoothingOptions *options)
{
  *options =
      (PipelineSmoothingOptions){.sigma = 0.25, .first_samples = 100, .samples = 1000, .alpha = 0.001, .seed = 1};
}

void pipeline_smoothing_clear(PipelineSmoothing *smoothing)
{
  g_free(smoothing->rows);
  g_free(smoothing->labels);
  g_free(smoothing->decisions);
  g_free(smoothing->radii);
  memset(smoothing, 0, sizeof *smoothing);
}

double pipeline_smoothing_radius(guint count, guint n, double alpha, double sigma)
{
  if (count == 0 || n == 0) return 0;
  double low = count == n ? pow(alpha, 1.0 / n) : drift_beta_quantile(alpha, count, (double)n - count + 1);
  return low > 0.5 ? sigma * drift_normal_quantile(low) : 0;
}

guint64 pipeline_smoothing_count_certified(const PipelineSmoothing *smoothing, double radius)
{
  guint64 count = 0;
  for (guint64 i = 0; i < smoothing->n; i++)
    count += smoothing->decisions[i] == (gint)smoothing->labels[i] && smoothing->radii[i] >= radius ? 1 : 0;
  return count;
}

static gboolean check_options(const PipelineSmoothingOptions *options, GError **error)
{
  if (options->sigma > 0 && isfinite(options->sigma) && options->first_samples > 0 && options->samples > 0 &&
      options->alpha > 0 && options->alpha < 1)
    return TRUE;
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                      "smoothing needs a sigma above 0, samples, and an alpha between 0 and 1");
  return FALSE;
}

/* --- one row ------------------------------------------------------------------------------------------------------ */

typedef struct {
  const PipelineSmoothingOptions *options;
  PipelineAttackModel *attacked;
  DriftTable *rows;
  PipelineRobustnessBall ball; /* its scale */
  PipelineSmoothing *result;
  guint n_features;
  PipelineRandom random;
  float *points; /* [PIPELINE_ATTACK_ROWS, n_features] */
  guint *counts; /* [classes] */
} Certification;

static void certification_clear(Certification *certification)
{
  pipeline_attack_model_free(certification->attacked);
  drift_table_free(certification->rows);
  pipeline_robustness_ball_clear(&certification->ball);
  g_free(certification->points);
  g_free(certification->counts);
}

/* Classes of n noisy copies of row `row` of the batch into counts. */
static gboolean count_classes(Certification *certification, const double *numbers, guint row, guint n, guint n_classes,
                              GError **error)
{
  guint width = certification->n_features, rows[PIPELINE_ATTACK_ROWS], decisions[PIPELINE_ATTACK_ROWS];
  memset(certification->counts, 0, n_classes * sizeof(guint));
  for (guint i = 0; i < PIPELINE_ATTACK_ROWS; i++) rows[i] = row;
  for (guint done = 0; done < n; done += PIPELINE_ATTACK_ROWS) {
    guint part = MIN(PIPELINE_ATTACK_ROWS, n - done);
    for (guint i = 0; i < part; i++)
      for (guint f = 0; f < width; f++) {
        double scale = certification->options->sigma * certification->ball.scale[f];
        double noise = scale > 0 ? scale * pipeline_random_normal(&certification->random) : 0;
        certification->points[(gsize)i * width + f] = (float)(numbers[f] + noise);
      }
    if (!pipeline_attack_model_decide(certification->attacked, certification->points, rows, part, decisions, error))
      return FALSE;
    for (guint i = 0; i < part; i++) certification->counts[decisions[i]]++;
  }
  return TRUE;
}

/* The paper's CERTIFY: few samples choose the class, fresh ones count it. */
static gboolean certify_row(Certification *certification, const double *numbers, guint row, guint64 at, guint n_classes,
                            GError **error)
{
  const PipelineSmoothingOptions *options = certification->options;
  PipelineSmoothing *result = certification->result;
  guint top = 0;
  if (!count_classes(certification, numbers, row, options->first_samples, n_classes, error)) return FALSE;
  for (guint c = 1; c < n_classes; c++)
    if (certification->counts[c] > certification->counts[top]) top = c;
  if (!count_classes(certification, numbers, row, options->samples, n_classes, error)) return FALSE;
  double radius =
      pipeline_smoothing_radius(certification->counts[top], options->samples, options->alpha, options->sigma);
  result->radii[at] = radius;
  result->decisions[at] = radius > 0 ? (gint)top : PIPELINE_SMOOTHING_ABSTAINS;
  result->n_abstained += radius > 0 ? 0 : 1;
  result->n_right += radius > 0 && top == result->labels[at] ? 1 : 0;
  return TRUE;
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static gboolean prepare(Certification *certification, PipelineModel *model, const DriftTable *table, GError **error)
{
  const PipelineSmoothingOptions *options = certification->options;
  const DriftSchema *schema = pipeline_model_get_schema(model);
  PipelineSmoothing *result = certification->result;
  certification->attacked = pipeline_attack_model_new(model, PIPELINE_ATTACK_CROSS_ENTROPY, error);
  g_autoptr(PipelineTrainerRows) usable =
      certification->attacked != NULL ? pipeline_trainer_rows_new(table, schema, error) : NULL;
  if (usable == NULL) return FALSE;
  const GArray *features = pipeline_attack_model_get_features(certification->attacked);
  result->n = usable->n;
  result->n_skipped = usable->n_skipped;
  result->rows = g_memdup2(usable->rows, usable->n * sizeof(guint64));
  result->labels = g_new(guint, usable->n + 1);
  result->decisions = g_new(gint, usable->n + 1);
  result->radii = g_new(double, usable->n + 1);
  for (guint64 i = 0; i < usable->n; i++) result->labels[i] = (guint)usable->targets[usable->rows[i]];
  certification->n_features = features->len;
  certification->rows = drift_table_select(table, usable->rows, usable->n);
  certification->points = g_new(float, (gsize)PIPELINE_ATTACK_ROWS * features->len);
  certification->counts = g_new0(guint, pipeline_model_get_n_outputs(model) + 1);
  PipelineRobustnessOptions ball;
  pipeline_robustness_options_init(&ball);
  ball.absolute = options->absolute;
  ball.immutable = options->immutable;
  ball.reference = options->reference;
  ball.range = PIPELINE_RANGE_NONE;
  return pipeline_robustness_ball_init(&certification->ball, &ball, schema, features, certification->rows, error);
}

static gboolean run(Certification *certification, guint n_classes, GError **error)
{
  PipelineSmoothing *result = certification->result;
  gsize width = certification->n_features;
  g_autofree double *numbers = g_new(double, PIPELINE_ATTACK_ROWS *width + 1);
  for (guint64 first = 0; first < result->n; first += PIPELINE_ATTACK_ROWS) {
    guint n = (guint)MIN(PIPELINE_ATTACK_ROWS, result->n - first);
    if (!pipeline_attack_model_take(certification->attacked, certification->rows, first, n, result->labels + first,
                                    numbers, error))
      return FALSE;
    for (guint i = 0; i < n; i++)
      if (!certify_row(certification, numbers + i * width, i, first + i, n_classes, error)) return FALSE;
  }
  return TRUE;
}

gboolean pipeline_smoothing_certify(PipelineModel *model, const DriftTable *table,
                                    const PipelineSmoothingOptions *options, PipelineSmoothing *smoothing,
                                    GError **error)
{
  PipelineSmoothing result = {0};
  Certification certification = {.options = options, .result = &result};
  gint64 started = g_get_monotonic_time();
  if (!check_options(options, error)) return FALSE;
  pipeline_random_seed(&certification.random, options->seed);
  gboolean done =
      prepare(&certification, model, table, error) && run(&certification, pipeline_model_get_n_outputs(model), error);
  certification_clear(&certification);
  result.seconds = (double)(g_get_monotonic_time() - started) / 1e6;
  if (done)
    *smoothing = result;
  else
    pipeline_smoothing_clear(&result);
  return done;
}
