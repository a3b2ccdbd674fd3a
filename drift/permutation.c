/* The permutation test of drift/statistics.h. */
#include "drift/statistics.h"

#include <math.h>
#include <string.h>

#define MAX_DRAWS 9999
#define ENOUGH_EXTREME 20
/* Above this many pooled rows drawing with replacement differs by less than the draws' own noise. */
#define MAX_EXPANDED (1u << 22)

typedef struct {
  guint n_cells;
  const double *pooled;
  double total;   /* pooled rows */
  double n_drawn; /* rows of the smaller side */
  guint16 *rows;  /* [total] cell of each pooled row, in an order that every draw shuffles on; NULL: see cumulative */
  double *cumulative;   /* [n_cells] when rows is NULL */
  double *drawn, *rest; /* [n_cells] the two sides of a draw */
  guint64 state;
} Shuffle;

static guint64 next_random(guint64 *state)
{
  guint64 z = *state += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15); /* splitmix64 */
  z = (z ^ z >> 30) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
  return z ^ z >> 31;
}

static guint64 random_below(guint64 *state, guint64 bound)
{
  return (guint64)((double)(next_random(state) >> 11) / 9007199254740992.0 * (double)bound);
}

static guint cell_at(const Shuffle *shuffle, double position)
{
  guint low = 0, high = shuffle->n_cells - 1;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (shuffle->cumulative[middle] <= position)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* The first n_drawn rows after that many steps of Fisher and Yates; the array stays a permutation for the next draw. */
static void draw(Shuffle *shuffle)
{
  memset(shuffle->drawn, 0, shuffle->n_cells * sizeof *shuffle->drawn);
  guint64 total = (guint64)shuffle->total, n = (guint64)shuffle->n_drawn;
  for (guint64 i = 0; i < n; i++) {
    if (shuffle->rows == NULL) {
      shuffle->drawn[cell_at(shuffle, (double)random_below(&shuffle->state, total))]++;
      continue;
    }
    guint64 j = i + random_below(&shuffle->state, total - i);
    guint16 cell = shuffle->rows[j];
    shuffle->rows[j] = shuffle->rows[i];
    shuffle->rows[i] = cell;
    shuffle->drawn[cell]++;
  }
  for (guint c = 0; c < shuffle->n_cells; c++) shuffle->rest[c] = fmax(0, shuffle->pooled[c] - shuffle->drawn[c]);
}

static void shuffle_init(Shuffle *shuffle, const double *pooled, guint n_cells, double n_drawn, guint64 seed)
{
  *shuffle = (Shuffle){.n_cells = n_cells, .pooled = pooled, .n_drawn = n_drawn, .state = seed};
  for (guint c = 0; c < n_cells; c++) shuffle->total += pooled[c];
  shuffle->drawn = g_new0(double, n_cells);
  shuffle->rest = g_new0(double, n_cells);
  if (shuffle->total > MAX_EXPANDED) {
    shuffle->cumulative = g_new(double, n_cells);
    double sum = 0;
    for (guint c = 0; c < n_cells; c++) shuffle->cumulative[c] = sum += pooled[c];
    return;
  }
  shuffle->rows = g_new(guint16, (gsize)shuffle->total + 1);
  gsize at = 0;
  for (guint c = 0; c < n_cells; c++)
    for (double i = 0; i < pooled[c]; i++) shuffle->rows[at++] = (guint16)c;
}

static void shuffle_clear(Shuffle *shuffle)
{
  g_free(shuffle->rows);
  g_free(shuffle->cumulative);
  g_free(shuffle->drawn);
  g_free(shuffle->rest);
}

enum { CHI_SQUARED, PSI, JS, N_STATISTICS };

static void compute(const double *reference, const double *window, guint n_cells, double *statistics)
{
  guint df;
  statistics[CHI_SQUARED] = drift_chi_squared(reference, window, n_cells, &df);
  statistics[PSI] = drift_psi(reference, window, n_cells);
  statistics[JS] = drift_js_divergence(reference, window, n_cells);
}

typedef struct {
  guint extreme, draws;
} Exceedance;

static double p_of(const Exceedance *exceedance)
{
  if (exceedance->extreme >= ENOUGH_EXTREME) return (double)exceedance->extreme / exceedance->draws;
  return (1.0 + exceedance->extreme) / (1.0 + exceedance->draws);
}

/* Draws that cost at most about 2e7 rows in all, but never fewer than 199. */
static guint draws_for(double n_drawn)
{
  return (guint)CLAMP(2e7 / MAX(n_drawn, 1), 199, MAX_DRAWS);
}

void drift_permutation_test(const double *reference, const double *window, guint n_cells, guint64 seed,
                            DriftPermutation *result)
{
  double n = 0, m = 0, observed[N_STATISTICS], drawn[N_STATISTICS], js_sum = 0;
  g_autofree double *pooled = g_new(double, n_cells);
  for (guint c = 0; c < n_cells; c++) {
    n += reference[c];
    m += window[c];
    pooled[c] = reference[c] + window[c];
  }
  *result = (DriftPermutation){NAN, NAN, NAN, NAN};
  if (n == 0 || m == 0) return;
  compute(reference, window, n_cells, observed);
  Shuffle shuffle;
  shuffle_init(&shuffle, pooled, n_cells, fmin(n, m), seed);
  Exceedance counts[N_STATISTICS] = {{0, 0}};
  guint draws = 0, open = N_STATISTICS;
  for (guint limit = draws_for(shuffle.n_drawn); draws < limit && open > 0; draws++) {
    draw(&shuffle);
    compute(m <= n ? shuffle.rest : shuffle.drawn, m <= n ? shuffle.drawn : shuffle.rest, n_cells, drawn);
    js_sum += drawn[JS];
    for (guint s = 0; s < N_STATISTICS; s++) {
      if (counts[s].extreme >= ENOUGH_EXTREME) continue;
      counts[s].draws++;
      /* Equal tables give equal sums up to rounding: those count as extreme. */
      if (drawn[s] >= observed[s] * (1 - 1e-12)) counts[s].extreme++;
      if (counts[s].extreme == ENOUGH_EXTREME) open--;
    }
  }
  *result = (DriftPermutation){.chi_squared_p = p_of(&counts[CHI_SQUARED]),
                               .psi_p = p_of(&counts[PSI]),
                               .js_p = p_of(&counts[JS]),
                               .js_mean = js_sum / draws};
  shuffle_clear(&shuffle);
}
