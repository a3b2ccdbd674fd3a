#include "drift/statistics.h"

#include <math.h>
#include <stdlib.h>

#include "drift/distributions.h"

static double sum_of(const double *counts, guint n)
{
  double sum = 0;
  for (guint i = 0; i < n; i++) sum += counts[i];
  return sum;
}

double drift_ks_distance(const double *reference, const double *window, guint n_cells)
{
  double n = sum_of(reference, n_cells), m = sum_of(window, n_cells);
  if (n == 0 || m == 0) return NAN;
  double below_reference = 0, below_window = 0, largest = 0;
  for (guint i = 0; i < n_cells; i++) {
    below_reference += reference[i];
    below_window += window[i];
    double distance = fabs(below_reference * m - below_window * n);
    if (distance > largest) largest = distance;
  }
  return largest / n / m;
}

/* Kolmogorov's survival function: the alternating series for large arguments, the theta series for small ones. */
static double kolmogorov_sf(double x)
{
  double sum = 0;
  if (x <= 0) return 1;
  if (x < 1.18) {
    for (gint k = 1; k <= 9; k += 2) sum += exp(-k * k * G_PI * G_PI / (8 * x * x));
    return CLAMP(1 - sqrt(2 * G_PI) / x * sum, 0, 1);
  }
  for (gint k = 1; k <= 8; k++) sum += (k % 2 == 1 ? 2 : -2) * exp(-2.0 * k * k * x * x);
  return CLAMP(sum, 0, 1);
}

double drift_ks_p(double distance, double n_reference, double n_window)
{
  if (isnan(distance) || n_reference == 0 || n_window == 0) return NAN;
  return kolmogorov_sf(distance * sqrt(n_reference / (n_reference + n_window) * n_window));
}

double drift_chi_squared(const double *reference, const double *window, guint n_cells, guint *df)
{
  double n = sum_of(reference, n_cells), m = sum_of(window, n_cells), statistic = 0;
  guint filled = 0;
  *df = 0;
  if (n == 0 || m == 0) return NAN;
  for (guint i = 0; i < n_cells; i++) {
    double pooled = reference[i] + window[i];
    if (pooled == 0) continue;
    filled++;
    /* Both rows of the column at once: (a m - b n)^2 / (n m (a + b)); the same to the bit for exchanged sides. */
    double difference = reference[i] / n - window[i] / m;
    statistic += difference * difference / pooled * (n * m);
  }
  *df = filled - 1;
  return filled < 2 ? 0 : statistic;
}

static double likelihood_term(double count, double expected)
{
  return count > 0 ? 2 * count * log(count / expected) : 0;
}

double drift_likelihood_ratio(const double *reference, const double *window, guint n_cells)
{
  double n = sum_of(reference, n_cells), m = sum_of(window, n_cells), sum = 0;
  if (n == 0 || m == 0) return NAN;
  for (guint i = 0; i < n_cells; i++) {
    double share = (reference[i] + window[i]) / (n + m);
    sum += likelihood_term(reference[i], n * share) + likelihood_term(window[i], m * share);
  }
  return fmax(0, sum);
}

double drift_psi(const double *reference, const double *window, guint n_cells)
{
  double n = sum_of(reference, n_cells), m = sum_of(window, n_cells), sum = 0;
  if (n == 0 || m == 0) return NAN;
  for (guint i = 0; i < n_cells; i++) {
    double p = (reference[i] + .5) / (n + .5 * n_cells), q = (window[i] + .5) / (m + .5 * n_cells);
    sum += fabs(p - q) * log(fmax(p, q) / fmin(p, q)); /* the same to the bit for exchanged sides */
  }
  return sum;
}

static double js_term(double share, double middle)
{
  return share > 0 ? share * log(share / middle) : 0;
}

double drift_js_divergence(const double *reference, const double *window, guint n_cells)
{
  double n = sum_of(reference, n_cells), m = sum_of(window, n_cells), sum = 0;
  if (n == 0 || m == 0) return NAN;
  for (guint i = 0; i < n_cells; i++) {
    double p = reference[i] / n, q = window[i] / m, middle = (p + q) / 2;
    sum += js_term(p, middle) + js_term(q, middle);
  }
  return CLAMP(sum / 2, 0, G_LN2);
}

/* With counts Poisson about n pi and m pi, a = 1/(n pi) and b = 1/(m pi), a cell's part of eight divergences has the
 * mean pi (a + b + (a^2 + b^2)/2 - (a + b)^2/8) up to third powers. */
double drift_js_null_mean(const double *reference, const double *window, guint n_cells)
{
  double n = sum_of(reference, n_cells), m = sum_of(window, n_cells), second = 0;
  guint filled = 0;
  for (guint i = 0; i < n_cells; i++) {
    double share = (reference[i] + window[i]) / (n + m);
    if (share == 0) continue;
    double a = 1 / (n * share), b = 1 / (m * share);
    filled++;
    second += share * ((a * a + b * b) / 2 - (a + b) * (a + b) / 8);
  }
  return filled < 2 ? 0 : ((filled - 1) * (1 / n + 1 / m) + second) / 8;
}

typedef struct {
  double p;
  guint index;
} RankedP;

static gint compare_ranked(const void *a, const void *b)
{
  const RankedP *left = a, *right = b;
  if (left->p != right->p) return left->p < right->p ? -1 : 1;
  return (left->index > right->index) - (left->index < right->index);
}

void drift_benjamini_hochberg(const double *p, guint n, double *adjusted)
{
  g_autofree RankedP *ranked = g_new(RankedP, n);
  guint defined = 0;
  for (guint i = 0; i < n; i++) {
    adjusted[i] = NAN;
    if (!isnan(p[i])) ranked[defined++] = (RankedP){.p = p[i], .index = i};
  }
  if (defined == 0) return;
  qsort(ranked, defined, sizeof *ranked, compare_ranked);
  double smallest = 1;
  for (guint i = defined; i-- > 0;) {
    smallest = fmin(smallest, ranked[i].p * defined / (i + 1));
    adjusted[ranked[i].index] = smallest;
  }
}

void drift_wilson_interval(double successes, double n, double confidence, double *low, double *high)
{
  *low = *high = NAN;
  if (!(n > 0)) return;
  double z = drift_normal_quantile(.5 + confidence / 2), rate = successes / n;
  double centre = (rate + z * z / (2 * n)) / (1 + z * z / n);
  double half = z * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n);
  *low = successes <= 0 ? 0 : fmax(0, centre - half);
  *high = successes >= n ? 1 : fmin(1, centre + half);
}

void drift_difference_interval(double successes, double n, double reference_successes, double n_reference,
                               double confidence, double *low, double *high)
{
  double low1, high1, low2, high2;
  drift_wilson_interval(successes, n, confidence, &low1, &high1);
  drift_wilson_interval(reference_successes, n_reference, confidence, &low2, &high2);
  double p1 = successes / n, p2 = reference_successes / n_reference, difference = p1 - p2;
  *low = difference - sqrt((p1 - low1) * (p1 - low1) + (high2 - p2) * (high2 - p2));
  *high = difference + sqrt((high1 - p1) * (high1 - p1) + (p2 - low2) * (p2 - low2));
}

void drift_ratio_interval(double successes, double n, double reference_successes, double n_reference, double confidence,
                          double *low, double *high)
{
  *low = *high = NAN;
  if (!(n > 0) || !(n_reference > 0)) return;
  double a = successes, b = reference_successes, total_a = n, total_b = n_reference;
  if (a == 0 || b == 0 || a == n || b == n_reference) {
    a += .5;
    b += .5;
    total_a += 1;
    total_b += 1;
  }
  double z = drift_normal_quantile(.5 + confidence / 2), middle = log(a / total_a) - log(b / total_b);
  double half = z * sqrt((1 - a / total_a) / a + (1 - b / total_b) / b);
  *low = exp(middle - half);
  *high = exp(middle + half);
}

double drift_rate_rise_p(double reference_count, double n_reference, double window_count, double n_window)
{
  if (!(n_reference > 0) || !(n_window > 0)) return NAN;
  double share = n_window / (n_reference + n_window);
  return drift_binomial_tail(window_count, window_count + reference_count, share);
}
