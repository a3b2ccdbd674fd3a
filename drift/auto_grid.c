/* Candidate change points of one channel. Level j holds the prefixes of the series whose lengths are multiples of 2^j;
 * its candidates are 16 to 31 multiples back (level 0: 5 to 31), and it is evaluated whenever the series' length is a
 * multiple: fixed memory, about 45 likelihood ratios a value however long the series is. Each candidate stands for the
 * 2^j rows to the next one. */
#include <math.h>
#include <string.h>

#include "drift/auto_internal.h"

#define FIRST_LAG 16 /* in multiples; half of AUTO_SLOTS, so that levels join without gap */
#define SHORTEST_LAG 5
#define FIRST_CANDIDATE 30
#define SMALL_RATIO 2     /* likelihood ratios up to this are left out of the sum: they cost time and say nothing */
#define LARGEST_RATIO 600 /* whose exponential is finite */
#define REFRESH 16        /* values between two looks at the variance */
#define OWN_CHANCE 2      /* deviations of the newer rows' variance that are taken for chance */
/* What was learned of autocorrelation counts after a start for CARRY times as many values as it was learned from, at
 * least CARRY_AT_LEAST. A series that alarms within EARLY references is taken to be dependent, not changed; it has seen
 * no long blocks, so that times that grow to the longest block seen grow on for GROWTH_REACH doublings. */
#define CARRY 1
#define CARRY_AT_LEAST 3000
#define EARLY 7
#define GROWTH_REACH 3
#define LEAST_LEARNED 2  /* shorter times are chance */
#define CHANCE 2         /* deviations of a block variance that are taken for chance, */
#define LEARNED_CHANCE 4 /* of what is carried over, */
#define YOUNG 2000       /* less in proportion while fewer values are known: a young series is taken for dependent */
#define CAUTION 1 /* autocorrelation that so few values cannot show: the times are 1 + CAUTION (held/n)^2 longer */
#define LARGEST_TIME 1000
#define CEILING_DELAY 1.25

/* Prior variances of the change in standard deviations, and their weights. */
static const struct {
  double g, weight;
} priors[] = {{1, .03}, {1 / 4.0, .07}, {1 / 16.0, .2}, {1 / 64.0, .4}, {1 / 256.0, .3}};

/* Times that still grow at the longest block grow on. */
static void extrapolate(double times[AUTO_LEVELS])
{
  guint last = 0;
  for (guint j = 1; j < AUTO_LEVELS; j++)
    if (times[j] > times[j - 1]) last = j;
  if (last == 0 || times[last - 1] < LEAST_LEARNED) return;
  double growth = times[last] / times[last - 1];
  for (guint j = last + 1; j < AUTO_LEVELS; j++)
    times[j] = MIN(times[j - 1] * (j - last <= GROWTH_REACH ? growth : 1), LARGEST_TIME);
}

void auto_grid_clear(AutoGrid *grid, const AutoGrid *before)
{
  double n = (double)before->n, learned[AUTO_LEVELS] = {0};
  if (n > 0) auto_variance_times(&before->variance, LEARNED_CHANCE * MIN(1, n / YOUNG), learned);
  for (guint j = 0; n > 0 && j < AUTO_LEVELS; j++) {
    double precision = before->ceilings[j] * (before->binary ? 1 : before->spread);
    if (n >= EARLY * (double)before->held) learned[j] = MIN(learned[j], 1 / precision);
    learned[j] = MIN(learned[j], LARGEST_TIME);
    if (learned[j] < LEAST_LEARNED) learned[j] = 0;
  }
  if (n < EARLY * (double)before->held) extrapolate(learned);
  memset(grid, 0, sizeof *grid);
  memcpy(grid->least_times, learned, sizeof learned);
  grid->known = before->n >= YOUNG ? before->n : 0;
  grid->least_n = (guint64)(n > 0 ? CARRY * MAX(n, CARRY_AT_LEAST) : 0);
}

void auto_grid_start(AutoGrid *grid, gboolean binary, guint64 held, double minimum_effect)
{
  grid->binary = binary;
  grid->held = held;
  grid->minimum_effect = minimum_effect;
  grid->ceiling_n = held;
  auto_variance_start(&grid->variance);
}

/* What is known of the variance by now. A constant series has none yet: one value of size 1 is added to its squares. */
static void look(AutoGrid *grid)
{
  double n = (double)grid->n, known = n + (double)grid->known;
  double spread = auto_variance_times(&grid->variance, CHANCE * MIN(1, known / YOUNG), grid->times);
  double youth = (double)grid->held / known, caution = 1 + CAUTION * youth * youth;
  grid->spread = spread + 1 / n;
  for (guint j = 0; j < AUTO_LEVELS; j++) {
    grid->times[j] *= caution;
    if (grid->n < grid->least_n) grid->times[j] = MAX(grid->times[j], grid->least_times[j]);
    grid->precisions[j] = grid->binary ? 1 / grid->times[j] : 1 / (spread * grid->times[j] + 1 / n);
  }
}

/* Values of before the change only may tell the variance, or the change would hide itself; but a candidate early in a
 * long series would then go by few values. So candidates before the last doubling of the series' length go by the
 * values up to there, once it is so long past that a change found now is not in them. */
static void refresh(AutoGrid *grid)
{
  gboolean at_ceiling = grid->n == grid->held || grid->n == 2 * grid->next_ceiling_n;
  if (grid->n % REFRESH != 0 && !at_ceiling) return;
  look(grid);
  if (grid->n == grid->held) memcpy(grid->ceilings, grid->precisions, sizeof grid->ceilings);
  if (at_ceiling) {
    memcpy(grid->next_ceilings, grid->precisions, sizeof grid->next_ceilings);
    grid->next_ceiling_n = grid->n;
  }
  if ((double)grid->n < CEILING_DELAY * (double)grid->next_ceiling_n) return;
  memcpy(grid->ceilings, grid->next_ceilings, sizeof grid->ceilings);
  grid->ceiling_n = grid->next_ceiling_n;
}

static double entropy_term(double count, double n, double rate)
{
  return count > 0 ? count * log(count / (n * rate)) : 0;
}

/* n1 kl(p1 || p) + n2 kl(p2 || p). */
static double binary_ratio(double ones1, double n1, double ones2, double n2)
{
  double rate = (ones1 + ones2) / (n1 + n2);
  return entropy_term(ones1, n1, rate) + entropy_term(n1 - ones1, n1, 1 - rate) + entropy_term(ones2, n2, rate) +
         entropy_term(n2 - ones2, n2, 1 - rate);
}

/* Log-likelihood ratio of a change behind level j's prefix of `length` multiples; 0 where it is small. *n_e: the rows
 * it rests on, after autocorrelation. */
static double log_ratio(const AutoGrid *grid, guint j, guint64 length, double *n_e)
{
  const AutoPrefix *prefix = &grid->prefixes[j][length % AUTO_SLOTS];
  double k = (double)(gint64)(length << j), n = (double)(gint64)grid->n, w = n - k;
  double difference = (grid->sum - prefix->sum) / w - prefix->mean, rows = k * w / n;
  double precision = k < (double)grid->ceiling_n ? grid->ceilings[j] : prefix->precision;
  double mean = grid->sum / n;
  double scale = grid->binary ? precision / (mean * (1 - mean) + 1 / (n * n)) : precision;
  double z2 = difference * difference * rows * scale;
  if (z2 <= (grid->binary ? SMALL_RATIO : 2 * SMALL_RATIO)) return 0;
  double effect = fabs(difference);
  if (!grid->binary) effect /= sqrt(grid->spread);
  if (effect < grid->minimum_effect) return 0;
  if (grid->binary) {
    *n_e = rows * precision;
    return precision * binary_ratio(prefix->sum, k, grid->sum - prefix->sum, w);
  }
  /* Few values of a skewed law: their own variance counts if it is the larger beyond chance. */
  double newer = (grid->variance.squares - prefix->squares) / w, newer_mean = (grid->sum - prefix->sum) / w;
  double own = (newer - newer_mean * newer_mean) / (1 + OWN_CHANCE * sqrt(2 / w)) / grid->spread;
  *n_e = rows * precision * grid->spread;
  return z2 / 2 / MAX(1, own);
}

static double bayes_factor(double ratio, double n_e)
{
  double sum = 0;
  for (guint i = 0; i < G_N_ELEMENTS(priors); i++) {
    double a = priors[i].g * n_e;
    sum += priors[i].weight * exp(ratio * a / (1 + a)) / sqrt(1 + a);
  }
  return sum;
}

static void evaluate(AutoGrid *grid, guint j)
{
  guint64 length = grid->n >> j;
  double sum = 0;
  for (guint64 i = j == 0 ? SHORTEST_LAG : FIRST_LAG; i < AUTO_SLOTS; i++) {
    if (length < i || (length - i) << j < FIRST_CANDIDATE) break;
    double n_e, ratio = log_ratio(grid, j, length - i, &n_e);
    if (ratio > SMALL_RATIO) sum += bayes_factor(MIN(ratio, LARGEST_RATIO), n_e);
  }
  grid->level_sums[j] = sum * (double)(G_GINT64_CONSTANT(1) << j);
}

static void keep_prefix(AutoGrid *grid)
{
  AutoPrefix prefix = {grid->sum, grid->sum / (double)grid->n, 0, grid->variance.squares};
  for (guint j = 0; j < AUTO_LEVELS && grid->n % (G_GUINT64_CONSTANT(1) << j) == 0; j++) {
    guint64 length = grid->n >> j;
    double before = length > 1 ? grid->prefixes[j][(length - 1) % AUTO_SLOTS].sum : 0;
    auto_variance_add_block(&grid->variance, j, grid->sum - before);
    prefix.precision = grid->precisions[j];
    grid->prefixes[j][length % AUTO_SLOTS] = prefix;
  }
}

gboolean auto_grid_add(AutoGrid *grid, double value)
{
  grid->n++;
  grid->sum += value;
  auto_variance_add(&grid->variance, value);
  refresh(grid);
  keep_prefix(grid);
  if (grid->n <= grid->held) return FALSE;
  for (guint j = 0; j < AUTO_LEVELS && grid->n % (G_GUINT64_CONSTANT(1) << j) == 0; j++) evaluate(grid, j);
  double sum = 0;
  for (guint j = 0; j < AUTO_LEVELS && grid->n >> j >= FIRST_LAG; j++) sum += grid->level_sums[j];
  grid->total = sum;
  return sum > 1;
}

double auto_grid_log_sum(const AutoGrid *grid)
{
  return grid->total > 1 ? log(grid->total) : 0;
}

guint64 auto_grid_most_likely(const AutoGrid *grid)
{
  guint64 best = 0;
  double largest = -1;
  for (guint j = 0; j < AUTO_LEVELS; j++) {
    guint64 length = grid->n >> j;
    for (guint64 i = j == 0 ? SHORTEST_LAG : FIRST_LAG; i < AUTO_SLOTS; i++) {
      if (length < i || (length - i) << j < FIRST_CANDIDATE) break;
      double n_e, ratio = log_ratio(grid, j, length - i, &n_e);
      if (ratio <= largest) continue;
      largest = ratio;
      best = (length - i) << j;
    }
  }
  return best;
}

double auto_grid_log_odds_since(const AutoGrid *grid, guint64 from)
{
  double sums[2] = {1, 1};
  for (guint j = 0; j < AUTO_LEVELS; j++) {
    guint64 length = grid->n >> j;
    for (guint64 i = j == 0 ? SHORTEST_LAG : FIRST_LAG; i < AUTO_SLOTS; i++) {
      if (length < i || (length - i) << j < FIRST_CANDIDATE) break;
      double n_e, ratio = log_ratio(grid, j, length - i, &n_e);
      if (ratio > SMALL_RATIO)
        sums[(length - i) << j >= from] += ldexp(bayes_factor(MIN(ratio, LARGEST_RATIO), n_e), (int)j);
    }
  }
  return log(sums[1] / sums[0]);
}

/* Levels that hold anything. */
static guint levels_of(const AutoGrid *grid)
{
  guint levels = 0;
  while (levels < AUTO_LEVELS && grid->n >> levels > 0) levels++;
  return levels;
}

void auto_grid_put(const AutoGrid *grid, GByteArray *raw)
{
  const double reals[] = {grid->sum,
                          grid->spread,
                          grid->total,
                          grid->variance.sum,
                          grid->variance.squares,
                          grid->variance.products,
                          grid->variance.first,
                          grid->variance.last};
  const guint64 counts[] = {grid->n, grid->held, grid->ceiling_n, grid->next_ceiling_n, grid->least_n, grid->known};
  drift_put_u8(raw, grid->binary != FALSE);
  drift_put_double(raw, grid->minimum_effect);
  for (guint i = 0; i < G_N_ELEMENTS(counts); i++) drift_put_u64(raw, counts[i]);
  for (guint i = 0; i < G_N_ELEMENTS(reals); i++) drift_put_double(raw, reals[i]);
  for (guint j = 0; j < AUTO_LEVELS; j++) {
    const double level[] = {grid->times[j],
                            grid->precisions[j],
                            grid->ceilings[j],
                            grid->next_ceilings[j],
                            grid->least_times[j],
                            grid->level_sums[j],
                            grid->variance.block_squares[j]};
    for (guint i = 0; i < G_N_ELEMENTS(level); i++) drift_put_double(raw, level[i]);
  }
  for (guint j = 0; j < levels_of(grid); j++)
    for (guint i = 0; i < AUTO_SLOTS; i++) {
      drift_put_double(raw, grid->prefixes[j][i].sum);
      drift_put_double(raw, grid->prefixes[j][i].mean);
      drift_put_double(raw, grid->prefixes[j][i].precision);
      drift_put_double(raw, grid->prefixes[j][i].squares);
    }
}

/* A finite number that is not negative. */
static gboolean get_positive(DriftReader *reader, double *value)
{
  *value = drift_get_double(reader);
  return *value >= 0 && isfinite(*value);
}

static gboolean get_real(DriftReader *reader, double *value)
{
  *value = drift_get_double(reader);
  return isfinite(*value);
}

static gboolean get_levels(AutoGrid *grid, DriftReader *reader)
{
  for (guint j = 0; j < AUTO_LEVELS; j++) {
    double *const level[] = {&grid->times[j],
                             &grid->precisions[j],
                             &grid->ceilings[j],
                             &grid->next_ceilings[j],
                             &grid->least_times[j],
                             &grid->level_sums[j],
                             &grid->variance.block_squares[j]};
    for (guint i = 0; i < G_N_ELEMENTS(level); i++)
      if (!get_positive(reader, level[i])) return FALSE;
  }
  for (guint j = 0; j < levels_of(grid); j++)
    for (guint i = 0; i < AUTO_SLOTS; i++) {
      AutoPrefix *prefix = &grid->prefixes[j][i];
      if (!get_real(reader, &prefix->sum) || !get_real(reader, &prefix->mean) ||
          !get_positive(reader, &prefix->precision) || !get_positive(reader, &prefix->squares))
        return FALSE;
    }
  return TRUE;
}

gboolean auto_grid_get(AutoGrid *grid, DriftReader *reader)
{
  guint64 *const counts[] = {&grid->n,       &grid->held, &grid->ceiling_n, &grid->next_ceiling_n,
                             &grid->least_n, &grid->known};
  double *const reals[] = {&grid->sum,
                           &grid->spread,
                           &grid->total,
                           &grid->variance.sum,
                           &grid->variance.squares,
                           &grid->variance.products,
                           &grid->variance.first,
                           &grid->variance.last};
  guint8 binary = drift_get_u8(reader);
  grid->binary = binary != 0;
  if (binary > 1 || !get_positive(reader, &grid->minimum_effect)) return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(counts); i++) *counts[i] = drift_get_u64(reader);
  for (guint i = 0; i < G_N_ELEMENTS(reals); i++)
    if (!get_real(reader, reals[i])) return FALSE;
  grid->variance.n = grid->n;
  if (grid->n > G_MAXINT64 / 4 || grid->held > AUTO_MAX_REFERENCE || grid->ceiling_n > MAX(grid->n, grid->held) ||
      grid->next_ceiling_n > grid->n || !(grid->spread >= 0) || !(grid->total >= 0))
    return FALSE;
  return get_levels(grid, reader);
}
