/* Tests of moments: Welch, Student, Levene. */
#include <float.h>

#include "drift/distributions.h"
#include "drift/two_sample_internal.h"

#define TOO_FEW "fewer than two values on a side"
#define EQUAL_CONSTANTS "both sides are the same constant"

/* Smaller sums of squares have lost digits, or all of them: only a constant may have none. */
static gboolean is_too_close(const DriftSample *sample, const DriftSampleMoments *moments)
{
  return sample->sorted[0] < sample->sorted[sample->n - 1] && moments->squares < DBL_MIN / DBL_EPSILON;
}

typedef struct {
  double n, m;
  DriftSampleMoments a, b; /* reference, current */
} Moments;

static double difference_of_means(const Moments *s)
{
  return (s->a.mean - s->b.mean) + (s->a.mean_rest - s->b.mean_rest);
}

static gboolean moments_of(const DriftSample *reference, const DriftSample *current, Moments *s,
                           DriftTestResult *result)
{
  drift_result_undefined(result, NULL);
  if (reference->n < 2 || current->n < 2)
    result->undefined = TOO_FEW;
  else if (reference->n_infinite + current->n_infinite > 0)
    result->undefined = DRIFT_HAS_INFINITIES;
  if (result->undefined != NULL) return FALSE;
  *s = (Moments){(double)reference->n, (double)current->n, drift_sample_moments(reference),
                 drift_sample_moments(current)};
  if (isnan(s->a.mean) || isnan(s->b.mean))
    result->undefined = "the values are too large to be squared";
  else if (is_too_close(reference, &s->a) || is_too_close(current, &s->b))
    result->undefined = "the values differ by too little to be squared";
  return result->undefined == NULL;
}

static void finish_t(const Moments *s, double variance, double df, DriftTestResult *result)
{
  double difference = difference_of_means(s);
  result->df = df;
  if (variance == 0 && difference == 0) {
    result->undefined = EQUAL_CONSTANTS;
    return;
  }
  result->statistic = difference / sqrt(variance);
  result->p = fmin(1, 2 * drift_student_t_sf(fabs(result->statistic), df));
  result->p_from = "Student's t";
}

void drift_welch_t(const DriftSample *reference, const DriftSample *current, DriftTestResult *result)
{
  Moments s;
  if (!moments_of(reference, current, &s, result)) return;
  double a = s.a.squares / (s.n - 1) / s.n, b = s.b.squares / (s.m - 1) / s.m;
  /* Without variance the degrees of freedom have no meaning; 1 as scipy. */
  double df = a + b > 0 ? (a + b) * (a + b) / (a * a / (s.n - 1) + b * b / (s.m - 1)) : 1;
  finish_t(&s, a + b, df, result);
}

void drift_student_t(const DriftSample *reference, const DriftSample *current, DriftTestResult *result)
{
  Moments s;
  if (!moments_of(reference, current, &s, result)) return;
  double df = s.n + s.m - 2;
  finish_t(&s, (s.a.squares + s.b.squares) / df * (1 / s.n + 1 / s.m), df, result);
}

/* Moments of |x - median|. */
static gboolean deviations_of(const DriftSample *sample, DriftSampleMoments *moments)
{
  double median = drift_sample_quantile(sample, .5);
  g_autofree double *values = g_try_new(double, sample->n + 1);
  if (values == NULL) return FALSE;
  for (gsize i = 0; i < sample->n; i++) values[i] = fabs(sample->sorted[i] - median);
  const DriftSample deviations = {.sorted = values, .n = sample->n}; /* moments need no order */
  *moments = drift_sample_moments(&deviations);
  return TRUE;
}

void drift_levene(const DriftSample *reference, const DriftSample *current, DriftTestResult *result)
{
  Moments s;
  if (!moments_of(reference, current, &s, result)) return;
  if (!deviations_of(reference, &s.a) || !deviations_of(current, &s.b)) {
    result->undefined = "not enough memory";
    return;
  }
  double total = s.n + s.m, difference = difference_of_means(&s);
  double between = s.n * s.m / total * difference * difference, within = s.a.squares + s.b.squares;
  result->df = total - 2;
  if (within == 0 && between == 0) {
    result->undefined = "no value deviates from its side's median";
    return;
  }
  result->statistic = (total - 2) * between / within;
  result->p = drift_fisher_f_sf(result->statistic, 1, total - 2);
  result->p_from = "Fisher's F";
}
