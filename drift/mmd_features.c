/* Maximum mean discrepancy by random Fourier frequencies: k(x, y) = E cos(w'(x - y)), w normal with deviation 1/sigma.
 */
#include <math.h>
#include <string.h>

#include "drift/pairs_internal.h"
#include "drift/two_sample_internal.h"

#define MAX_FEATURES 65536
#define MAX_SUMS ((gsize)1 << 26)

typedef struct {
  const DriftMatrix *reference, *current;
  guint n_features, permutations;
  double *frequencies; /* [n_features][d] */
  double *row;         /* [2 n_features] cosines, then sines, of one row */
  double *sums;        /* [1 + permutations][2 n_features] over the rows that are the reference's in that draw */
  double *all;         /* [2 n_features] */
  gsize *missing;      /* [1 + permutations] rows that a draw still takes */
} Features;

static double random_normal(guint64 *state)
{
  double u = 1 - drift_random_uniform(state), angle = 2 * G_PI * drift_random_uniform(state);
  return sqrt(-2 * log(u)) * cos(angle);
}

static gboolean features_init(Features *features, double sigma, guint64 seed, GError **error)
{
  gsize width = 2 * (gsize)features->n_features, d = features->reference->d;
  guint64 state = seed ^ G_GUINT64_CONSTANT(0x5851f42d4c957f2d);
  gboolean fits = features->n_features > 0 && features->n_features <= MAX_FEATURES &&
                  features->permutations < MAX_SUMS / MAX(width, 1);
  features->frequencies = fits ? g_try_new(double, features->n_features *d) : NULL;
  features->sums = fits ? g_try_new0(double, (1 + (gsize)features->permutations) * width) : NULL;
  if (features->frequencies == NULL || features->sums == NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT,
                "%u random features (at most %u) with %u permutations need too much memory", features->n_features,
                MAX_FEATURES, features->permutations);
    return FALSE;
  }
  features->row = g_new(double, width);
  features->all = g_new0(double, width);
  features->missing = g_new(gsize, 1 + (gsize)features->permutations);
  for (guint p = 0; p <= features->permutations; p++) features->missing[p] = features->reference->n;
  for (gsize i = 0; i < features->n_features * d; i++) features->frequencies[i] = random_normal(&state) / sigma;
  return TRUE;
}

static void features_clear(Features *features)
{
  g_free(features->frequencies);
  g_free(features->sums);
  g_free(features->row);
  g_free(features->all);
  g_free(features->missing);
}

static void compute_row(Features *features, const double *x)
{
  guint d = features->reference->d, count = features->n_features;
  for (guint f = 0; f < count; f++) {
    double angle = 0;
    for (guint k = 0; k < d; k++) angle += features->frequencies[(gsize)f * d + k] * x[k];
    features->row[f] = cos(angle);
    features->row[count + f] = sin(angle);
  }
}

static void add_row(double *sums, const double *row, gsize width)
{
  for (gsize f = 0; f < width; f++) sums[f] += row[f];
}

/* Draw 0 is the split itself; the others take each row with the chance that leaves n in the end. */
static void accumulate(Features *features, guint64 seed)
{
  gsize n = features->reference->n, total = n + features->current->n, width = 2 * (gsize)features->n_features;
  guint d = features->reference->d;
  guint64 state = seed;
  for (gsize i = 0; i < total; i++) {
    compute_row(features, i < n ? features->reference->values + i * d : features->current->values + (i - n) * d);
    add_row(features->all, features->row, width);
    if (i < n) add_row(features->sums, features->row, width);
    for (guint p = 1; p <= features->permutations; p++) {
      if (!(drift_random_uniform(&state) * (double)(total - i) < (double)features->missing[p])) continue;
      features->missing[p]--;
      add_row(features->sums + p * width, features->row, width);
    }
  }
}

/* Mean over frequencies of the squared distance of the two mean points on the circle; *deviation of one frequency's. */
static double discrepancy(const Features *features, const double *sums, gboolean unbiased, double *deviation)
{
  double n = (double)features->reference->n, m = (double)features->current->n, total = 0, squares = 0;
  guint count = features->n_features;
  for (guint f = 0; f < count; f++) {
    double a = sums[f] / n, b = sums[count + f] / n;
    double c = (features->all[f] - sums[f]) / m, e = (features->all[count + f] - sums[count + f]) / m;
    double value = (a - c) * (a - c) + (b - e) * (b - e);
    /* without the pairs of a row with itself */
    if (unbiased) value += (a * a + b * b - 1) / (n - 1) + (c * c + e * e - 1) / (m - 1);
    total += value;
    squares += value * value;
  }
  double mean = total / count;
  *deviation = count > 1 ? sqrt(fmax(0, squares / count - mean * mean) * count / (count - 1.0)) : 2;
  return mean;
}

gboolean drift_mmd_features(const DriftMatrix *reference, const DriftMatrix *current, double sigma, guint n_features,
                            const DriftPermutationSettings *settings, DriftMmd *result, GError **error)
{
  Features features = {.reference = reference,
                       .current = current,
                       .n_features = n_features,
                       .permutations = settings != NULL ? settings->permutations : 0};
  guint64 seed = settings != NULL ? settings->seed : 0;
  double used, deviation, ignored;
  gboolean done = drift_matrix_check(reference, current, 2, error) &&
                  drift_bandwidth(reference, current, sigma, seed, &used, error) &&
                  features_init(&features, used, seed, error);
  if (done) {
    gsize width = 2 * (gsize)n_features;
    guint extreme = 0;
    accumulate(&features, seed);
    double observed = discrepancy(&features, features.sums, TRUE, &ignored);
    for (guint p = 1; p <= features.permutations; p++)
      if (discrepancy(&features, features.sums + p * width, TRUE, &ignored) >= observed - 1e-12) extreme++;
    result->sigma = used;
    result->unbiased = observed;
    result->biased = discrepancy(&features, features.sums, FALSE, &deviation);
    result->standard_error = deviation / sqrt(n_features);
    result->p = features.permutations > 0 ? (1.0 + extreme) / (1.0 + features.permutations) : NAN;
  }
  features_clear(&features);
  return done;
}
