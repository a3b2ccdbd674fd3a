/* Randomised smoothing (Cohen, Rosenfeld and Kolter 2019, https://arxiv.org/abs/1902.02918): the class that a model
 * gives most often to a row with normal noise on its numbers, and a radius within which that class cannot change, both
 * with a stated confidence. It certifies the smoothed classifier, not the model. */
#pragma once

#include "pipeline/robustness.h"

G_BEGIN_DECLS

#define PIPELINE_SMOOTHING_ABSTAINS (-1)

typedef struct {
  double sigma; /* of the noise, in units as PipelineRobustnessOptions */
  gboolean absolute;
  guint first_samples;           /* that choose the class; 100 */
  guint samples;                 /* that count it; 1000 */
  double alpha;                  /* P(a statement about a row is wrong) is at most this; .001 */
  const gchar *const *immutable; /* get no noise: the radius is for changes of the other numbers. NULL: none */
  const DriftTable *reference;   /* for standard deviations; NULL: the rows */
  guint64 seed;
} PipelineSmoothingOptions;
void pipeline_smoothing_options_init(PipelineSmoothingOptions *options);

/* Of the n rows with a usable label; arrays [n]. */
typedef struct {
  guint64 n, n_skipped, n_abstained;
  guint64 n_right; /* the smoothed classifier decides, and rightly */
  guint64 *rows;   /* of the table */
  guint *labels;
  gint *decisions; /* class, or PIPELINE_SMOOTHING_ABSTAINS */
  double *radii;   /* Euclidean, in the unit of sigma: the decision cannot change nearer than this; 0: abstained */
  double seconds;
} PipelineSmoothing;
void pipeline_smoothing_clear(PipelineSmoothing *smoothing);
/* INVALID: options, unknown names; DATA; UNSUPPORTED: a regression, or no numeric input. */
gboolean pipeline_smoothing_certify(PipelineModel *model, const DriftTable *table,
                                    const PipelineSmoothingOptions *options, PipelineSmoothing *smoothing,
                                    GError **error);
/* Rows that are decided rightly with a radius of at least `radius`. */
guint64 pipeline_smoothing_count_certified(const PipelineSmoothing *smoothing, double radius);
/* sigma Φ⁻¹(p), where p is the lower end of Clopper and Pearson's one-sided interval of `count` in `n` at 1 - alpha; 0
 * when p is not above 1/2. */
double pipeline_smoothing_radius(guint count, guint n, double alpha, double sigma);

G_END_DECLS
