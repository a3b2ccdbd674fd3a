/* What a baseline says of one comparison, and the laws of the statistics under it. */
#include <math.h>

#include "drift/baseline_internal.h"
#include "drift/distributions.h"
#include "drift/statistics.h"

/* An excess stands out by so many standard errors of independent rows; one that does not counts less LEAST of them. */
#define BELIEVED 2
#define LEAST 1
/* From so many quantities, and such a share of them, where it stands out, dependence is taken to be in all of them:
 * with hundreds of quantities some that have it look independent by chance. Independent ones stand out in a tenth. */
#define COMMON_LEAST 3
#define COMMON_SHARE (1. / 3)
/* Squares that the mean over thresholds is worth: (sum of eigenvalues)^2 / sum of squares of the Brownian bridge. */
#define STEPS_FREEDOM 2.5
/* Where one direction has all the excess (a shift), the bridge's first has 6/pi^2 of the mean over thresholds, and the
 * middle threshold 4/3 of the mean excess. */
#define STEPS_TO_FIRST (G_PI * G_PI / 6)
#define STEPS_TO_LARGEST (4.0 / 3)
/* The least share of all directions' excess that the first one has: dependence and seasons of a series are most of all
 * of its level (AR(1) .5: .6; a swing of the mean: .8), and the eigenvalues' spread is known worse than their mean. */
#define LEVEL_SHARE .5
/* Eigenvalues that differ less are taken as equal; p above TAIL as by equal ones. */
#define NEARLY_EQUAL 1.05
#define TAIL .02
/* Cramer's V squared of the reference's halves from which it is no stretch of one law. */
#define UNSTEADY .1

const DriftDispersion drift_dispersion_independent = {.cells = 1,
                                                      .cells_freedom = INFINITY,
                                                      .first = 1,
                                                      .first_freedom = INFINITY,
                                                      .steps = 1,
                                                      .steps_freedom = INFINITY,
                                                      .missing = 1};

gboolean drift_baseline_is_unsteady(const DriftBaseline *baseline, guint quantity)
{
  return baseline->quantities[quantity].halves >= UNSTEADY;
}

static double n_blocks(const DriftBaseline *baseline, guint scale)
{
  return floor((double)baseline->n_rows / (double)drift_baseline_block(scale));
}

/* A multiple of the variance, where it was found (-1: nowhere), and its freedom. */
typedef struct {
  double value, freedom;
  gint scale;
} Multiple;

/* One of the three figures of a scale, by its offset. */
static double figure(const DriftBaselineQuantity *quantity, guint scale, gsize offset)
{
  return *(const double *)(gconstpointer)((const gchar *)&quantity->scales[scale] + offset);
}

/* Number of block sizes up to the first that a window of `rows` rows does not exceed. */
static guint scales_for(const DriftBaseline *baseline, double rows)
{
  guint n = 0;
  while (n < baseline->n_scales && (n == 0 || (double)drift_baseline_block(n - 1) < rows)) n++;
  return n;
}

static gboolean stands_out(const DriftBaseline *baseline, const DriftBaselineQuantity *quantity, guint n_scales,
                           gsize offset, double squares)
{
  for (guint scale = 0; scale < n_scales; scale++) {
    double error = sqrt(2 / ((n_blocks(baseline, scale) - 1) * squares));
    if (figure(quantity, scale, offset) > 1 + BELIEVED * error) return TRUE;
  }
  return FALSE;
}

void drift_baseline_finish(DriftBaseline *baseline)
{
  guint n = 0, n_out = 0, scales = baseline->n_scales;
  for (guint q = 0; q < baseline->n_quantities; q++) {
    const DriftBaselineQuantity *quantity = &baseline->quantities[q];
    if (quantity->freedom == 0 || quantity->halves >= UNSTEADY) continue;
    n++;
    n_out += stands_out(baseline, quantity, scales, offsetof(DriftBaselineScale, cells), quantity->freedom) ||
             stands_out(baseline, quantity, scales, offsetof(DriftBaselineScale, steps), STEPS_FREEDOM);
  }
  baseline->common = n_out >= COMMON_LEAST && n_out >= COMMON_SHARE * n;
}

/* The largest multiple over the block sizes. Where one of them stands out, there is dependence and every size's
 * estimate is taken in full; else what is left of it after one standard error of independent rows. `squares`: how many
 * independent squares one block is worth. */
static Multiple find_multiple(const DriftBaseline *baseline, const DriftBaselineQuantity *quantity, double rows,
                              gsize offset, double squares)
{
  Multiple found = {.value = 1, .freedom = INFINITY, .scale = -1};
  guint n = scales_for(baseline, rows);
  gboolean believed = baseline->common || stands_out(baseline, quantity, n, offset, squares);
  for (guint scale = 0; scale < n; scale++) {
    double freedom = (n_blocks(baseline, scale) - 1) * squares, error = sqrt(2 / freedom);
    double value = figure(quantity, scale, offset) - (believed ? 0 : LEAST * error);
    if (value > found.value)
      found = (Multiple){.value = value, .freedom = believed ? freedom : INFINITY, .scale = (gint)scale};
  }
  return found;
}

/* The largest eigenvalue that mean and squares allow, the others being equal; what the estimate's own error would give
 * is taken off. Eigenvalues that differ are worth fewer squares. */
static double first_of(const DriftBaseline *baseline, const DriftBaselineQuantity *quantity, Multiple *cells,
                       const Multiple *steps)
{
  double d = quantity->freedom, first = cells->value;
  if (cells->scale >= 0 && isfinite(cells->freedom) && d > 1) {
    const DriftBaselineScale *scale = &quantity->scales[cells->scale];
    double equal = d * scale->cells * scale->cells, blocks = n_blocks(baseline, (guint)cells->scale);
    double spread = fmax(0, scale->squares - equal - 2 * equal / (blocks - 1));
    first = scale->cells + sqrt(spread * (d - 1) / d);
    cells->freedom *= equal / (equal + spread);
    first = fmax(first, 1 + LEVEL_SHARE * d * (cells->value - 1));
  }
  return fmax(first, 1 + (steps->value - 1) * STEPS_TO_FIRST);
}

typedef struct {
  Multiple cells, steps, missing, first;
} Side;

static Side side_of(const DriftBaseline *baseline, const DriftBaselineQuantity *quantity, double rows)
{
  Side side = {.cells = find_multiple(baseline, quantity, rows, offsetof(DriftBaselineScale, cells), quantity->freedom),
               .steps = find_multiple(baseline, quantity, rows, offsetof(DriftBaselineScale, steps), STEPS_FREEDOM),
               .missing = find_multiple(baseline, quantity, rows, offsetof(DriftBaselineScale, missing), 1)};
  side.first = side.cells;
  side.first.value = first_of(baseline, quantity, &side.cells, &side.steps);
  /* One direction of as many blocks. */
  if (isfinite(side.cells.freedom)) side.first.freedom = n_blocks(baseline, (guint)side.cells.scale) - 1;
  /* The same for the bridge: its first direction has all the excess. */
  double other = side.steps.value - .392;
  side.steps.freedom *= side.steps.value * side.steps.value / (other * other + .0305) / STEPS_FREEDOM;
  return side;
}

/* Both estimates come from the same blocks: their errors add. */
static double join(const Multiple *reference, const Multiple *window, double n, double m, double *freedom)
{
  double a = reference->value / n, b = window->value / m,
         error = a / sqrt(reference->freedom) + b / sqrt(window->freedom);
  *freedom = error > 0 ? (a + b) * (a + b) / (error * error) : INFINITY;
  return (a + b) / (1 / n + 1 / m);
}

void drift_baseline_disperse(const DriftBaseline *baseline, guint quantity, double n, double m,
                             DriftDispersion *dispersion)
{
  *dispersion = drift_dispersion_independent;
  if (baseline == NULL || baseline->n_scales == 0 || !(n > 0) || !(m > 0)) return;
  const DriftBaselineQuantity *of = &baseline->quantities[quantity];
  if (of->halves >= UNSTEADY) return;
  double freedom;
  Side reference = side_of(baseline, of, (double)baseline->n_rows), window = side_of(baseline, of, m);
  if (of->freedom > 0) {
    dispersion->cells = join(&reference.cells, &window.cells, n, m, &dispersion->cells_freedom);
    dispersion->first = join(&reference.first, &window.first, n, m, &dispersion->first_freedom);
    double steps = join(&reference.steps, &window.steps, n, m, &dispersion->steps_freedom);
    dispersion->steps = 1 + (steps - 1) * STEPS_TO_LARGEST;
  }
  dispersion->missing = join(&reference.missing, &window.missing, n, m, &freedom);
  if (isfinite(freedom)) dispersion->missing *= 1 + BELIEVED * sqrt(2 / freedom);
}

double drift_baseline_get_inflation(const DriftBaseline *baseline, guint quantity, double rows)
{
  const DriftBaselineQuantity *of = &baseline->quantities[quantity];
  if (of->freedom == 0 || of->halves >= UNSTEADY) return 1;
  return find_multiple(baseline, of, rows, offsetof(DriftBaselineScale, cells), of->freedom).value;
}

/* exp(-x/2) becomes (1 + x/f)^(-f/2): what dividing by an estimate worth f squares does to a tail (as Fisher's F to
 * chi-squared). */
static double allow_for_estimate(double x, double freedom)
{
  return isfinite(freedom) ? freedom * log1p(x / freedom) : x;
}

/* P(first chi-squared_1 + rest chi-squared_(df - 1) > x): over the normal variate of the first. */
static double weighted_sf(double x, double df, double first, double rest)
{
  enum { STEPS = 40 };
  double end = fmax(sqrt(x / first), 1) + 1, width = end / STEPS, sum = 0;
  if (df <= 1) return drift_chi_squared_sf(x / first, 1);
  for (guint i = 0; i < STEPS; i++) {
    double u = (i + .5) * width, left = x - first * u * u;
    sum += exp(-u * u / 2) * (left > 0 ? drift_chi_squared_sf(left / rest, df - 1) : 1);
  }
  return fmin(1, 2 * (sum * width / sqrt(2 * G_PI) + drift_normal_sf(end)));
}

double drift_dispersed_chi_squared_sf(double x, double df, const DriftDispersion *dispersion)
{
  if (!(df > 0)) return drift_chi_squared_sf(x, df);
  double mean = dispersion->cells, first = fmin(fmax(dispersion->first, mean), df * mean);
  if (mean == 1 && first == 1) return drift_chi_squared_sf(x, df);
  double allowed = mean * allow_for_estimate(x / mean, dispersion->cells_freedom);
  double rest = df > 1 ? fmax((df * mean - first) / (df - 1), .5) : first;
  /* Unequal eigenvalues matter in the tail only. There the first one decides, and its own error counts. */
  double by_mean = drift_chi_squared_sf(allowed / mean, df);
  if (first < NEARLY_EQUAL * rest || by_mean > TAIL) return by_mean;
  return weighted_sf(fmin(allowed, first * allow_for_estimate(x / first, dispersion->first_freedom)), df, first, rest);
}

double drift_dispersed_ks_p(double distance, double n, double m, const DriftDispersion *dispersion)
{
  if (dispersion->steps == 1) return drift_ks_p(distance, n, m);
  /* Kolmogorov's tail is 2 exp(-2 x^2). */
  double square = distance * distance * (n / (n + m) * m) / dispersion->steps;
  double allowed = allow_for_estimate(4 * square, dispersion->steps_freedom) / 4;
  return drift_ks_p(sqrt(allowed / (n / (n + m) * m)), n, m);
}
