/* Limit laws of quadratic statistics: W = sum of chi-squared_1 times decreasing weights. Smirnov's formula:
 *   P(W > x) = 1/pi sum over k >= 1 of (-1)^(k+1) integral from 1/w_(2k-1) to 1/w_2k of exp(-xy/2) / (y sqrt|D(y)|) dy,
 * D(y) = product of (1 - y w_j), which is negative there. All terms but the first are tiny in the upper tail, so p
 * keeps its relative accuracy there. The ends of each stretch are inverse square roots; y as a function of an angle
 * removes them, and the trapezoid rule on a periodic function converges geometrically. */
#include "drift/two_sample_internal.h"

#define ANGLES 64
#define MAX_STRETCHES 400

/* The integrand's 1/(y sqrt|D(y)|) dy/dv on stretch k at a distance of from_start and from_end (v = from_start +
 * start of the stretch), and y there. */
typedef double (*Stretch)(guint k, double from_start, double from_end, double *y);

static double upper_tail(double x, double length, Stretch stretch)
{
  double sum = 0;
  for (guint k = 1; k <= MAX_STRETCHES; k++) {
    double part = 0, y;
    for (guint a = 0; a < ANGLES; a++) { /* midpoints */
      double angle = (a + .5) * G_PI / ANGLES, half = sin(angle / 2), rest = cos(angle / 2);
      double weight = stretch(k, length * half * half, length * rest * rest, &y);
      part += weight * exp(-x * y / 2) * length / 2 * sin(angle);
    }
    part /= ANGLES;
    sum += k % 2 == 1 ? part : -part;
    if (part < 1e-17 * fabs(sum) || part < 1e-300) break;
  }
  return CLAMP(sum, 0, 1);
}

/* Weights 1/(j pi)^2: with y = v^2, D = sin(v)/v, negative for v in ((2k-1) pi, 2k pi). */
static double cramer_von_mises_stretch(guint k, double from_start, double from_end, double *y)
{
  double v = (2.0 * k - 1) * G_PI + from_start;
  *y = v * v;
  return 2 / v * sqrt(v / sin(fmin(from_start, from_end)));
}

double drift_cramer_von_mises_limit_sf(double x)
{
  if (isnan(x)) return NAN;
  if (x < .003) return 1;
  return upper_tail(x, G_PI, cramer_von_mises_stretch);
}

/* Weights 1/(j(j+1)): with v = sqrt(1 + 4y), D = -cos(pi v / 2)/(pi y), negative for v in (4k-1, 4k+1). */
static double anderson_darling_stretch(guint k, double from_start, double from_end, double *y)
{
  double v = 4.0 * k - 1 + from_start;
  *y = (v * v - 1) / 4;
  return v / 2 / *y * sqrt(G_PI * *y / sin(G_PI / 2 * fmin(from_start, from_end)));
}

double drift_anderson_darling_limit_sf(double x)
{
  if (isnan(x)) return NAN;
  if (x < .03) return 1;
  return upper_tail(x, 2, anderson_darling_stretch);
}
