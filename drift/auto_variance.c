/* How far the mean of dependent values can stray. Blocks of 2^j values: 2^j times the variance of their means tends to
 * the long-run variance for long blocks, but a long block size has few blocks; its estimate counts only as far as it is
 * more than that many blocks would give by chance. The lag-1 term is exact for a first-order autoregression and is
 * there from the start. */
#include <math.h>

#include "drift/auto_internal.h"

#define SHORTEST_BLOCK 2 /* 2^2 values */
#define LEAST_BLOCKS 6
#define REACH 4      /* times[j] looks at blocks of up to 2^(j+4) values */
#define CHANCE 2     /* deviations of a block variance that are taken for chance, */
#define YOUNG 2000.0 /* less in a series shorter than this */

void auto_variance_start(AutoVariance *variance)
{
  *variance = (AutoVariance){0};
}

void auto_variance_add(AutoVariance *variance, double value)
{
  if (variance->n == 0) variance->first = value;
  variance->products += value * (variance->n > 0 ? variance->last : 0);
  variance->n++;
  variance->sum += value;
  variance->squares += value * value;
  variance->last = value;
}

void auto_variance_add_block(AutoVariance *variance, guint j, double sum)
{
  variance->block_squares[j] += sum * sum;
}

/* (1 + r) / (1 - r), at least 1. */
static double lag_one_time(const AutoVariance *variance, double mean, double spread)
{
  double n = (double)variance->n;
  double ends = variance->first + variance->last, pairs = n - 1;
  double covariance = (variance->products - mean * (2 * variance->sum - ends)) / pairs + mean * mean;
  double r = CLAMP(covariance / spread, 0, .99);
  return (1 + r) / (1 - r);
}

double auto_variance_times(const AutoVariance *variance, double times[AUTO_LEVELS])
{
  double n = (double)variance->n, mean = variance->sum / n, spread = variance->squares / n - mean * mean;
  for (guint j = 0; j < AUTO_LEVELS; j++) times[j] = 1;
  if (n < 2 || !(spread > 1e-12 * (1 + mean * mean))) return 0;
  double time = lag_one_time(variance, mean, spread), chance = CHANCE * MIN(1, n / YOUNG);
  for (guint j = 0; j < AUTO_LEVELS + REACH; j++) {
    double length = ldexp(1, (int)j), blocks = floor(n / length);
    if (j >= SHORTEST_BLOCK && j < AUTO_LEVELS && blocks >= LEAST_BLOCKS) {
      double of_means = (variance->block_squares[j] / blocks / length - length * mean * mean) * blocks / (blocks - 1);
      time = MAX(time, of_means / spread / (1 + chance * sqrt(2 / blocks)));
    }
    if (j >= REACH) times[j - REACH] = time;
  }
  return spread;
}
