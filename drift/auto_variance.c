/* How far the mean of dependent values can stray. Blocks of 2^j values: 2^j times the variance of their means tends to
 * the long-run variance for long blocks, but a long block size has few blocks. What a block variance has above the
 * quantile of chance (chi-squared) is shrunk like James and Stein's estimate: near the quantile it is nothing, far
 * above it counts in full, so that real dependence is not underrated. Doubling the block at most doubles the time,
 * since the mean of two block means varies no more than one of them. The lag-1 term is exact for a first-order
 * autoregression and is there from the start. */
#include <math.h>

#include "drift/auto_internal.h"

#define SHORTEST_BLOCK 2 /* 2^2 values */
#define LEAST_BLOCKS 6
#define REACH 5 /* times[j] looks at blocks of up to 2^(j+4) values */

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

/* Wilson and Hilferty: quantile of a chi-squared variable over its degrees of freedom. */
static double likely(double deviations, double freedom)
{
  double unit = 2 / (9 * freedom), root = 1 - unit + deviations * sqrt(unit);
  return root * root * root;
}

double auto_variance_times(const AutoVariance *variance, double deviations, double times[AUTO_LEVELS])
{
  double n = (double)variance->n, mean = variance->sum / n, spread = variance->squares / n - mean * mean;
  for (guint j = 0; j < AUTO_LEVELS; j++) times[j] = 1;
  if (n < 2 || !(spread > 1e-12 * (1 + mean * mean))) return 0;
  double raw = 2, time = lag_one_time(variance, mean, spread);
  for (guint j = 0; j < AUTO_LEVELS + REACH; j++) {
    double length = ldexp(1, (int)j), blocks = floor(n / length);
    if (j >= SHORTEST_BLOCK && j < AUTO_LEVELS && blocks >= LEAST_BLOCKS) {
      double of_means = (variance->block_squares[j] / blocks / length - length * mean * mean) * blocks / (blocks - 1);
      double excess, by_chance = MAX(0, likely(deviations, blocks - 1) - 1);
      raw = CLAMP(of_means / spread, 1, 2 * raw);
      excess = raw - 1;
      if (excess > by_chance) time = MAX(time, 1 + excess * (1 - by_chance * by_chance / (excess * excess)));
    }
    if (j >= REACH) times[j - REACH] = time;
  }
  return spread;
}
