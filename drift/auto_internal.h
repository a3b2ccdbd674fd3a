/* The parts of the streaming default, auto.c: one channel's grid of candidate change points, and its variance. */
#pragma once

#include "drift/detector_internal.h"

G_BEGIN_DECLS

#define AUTO_MAX_REFERENCE 20000
#define AUTO_LEVELS 26 /* rows looked back on: 32 * 2^25, a thousand million */
#define AUTO_SLOTS 32  /* a level, a power of two */

/* Variance of the mean of a dependent series: variance, lag-1 autocorrelation, and the variances of block sums. */
typedef struct {
  guint64 n;
  double sum, squares, products; /* products: of neighbours */
  double first, last;
  double block_squares[AUTO_LEVELS]; /* sum of the squared sums of complete blocks of 2^j values */
} AutoVariance;

void auto_variance_start(AutoVariance *variance);
void auto_variance_add(AutoVariance *variance, double value);
/* The sum of the newest 2^j values, which complete a block. */
void auto_variance_add_block(AutoVariance *variance, guint j, double sum);
/* Autocorrelation times, at least 1: n times the variance of the mean of n values over their variance. times[j] is for
 * n of about 2^(j+4) and looks at no longer blocks than that needs; a block size counts as far as it exceeds what
 * `deviations` of chance would give its number of blocks. Returns the variance, 0 for a constant series. */
double auto_variance_times(const AutoVariance *variance, double deviations, double times[AUTO_LEVELS]);

/* Prefix of the series: its sum, its mean, one over its long-run variance (binary: over its autocorrelation time), the
 * sum of its squares. */
typedef struct {
  double sum, mean, precision, squares;
} AutoPrefix;

typedef struct {
  gboolean binary;
  guint64 n, held; /* values; how many are taken in before the first evaluation */
  double
      least_times[AUTO_LEVELS]; /* autocorrelation times learned before the start, which count up to least_n values */
  guint64 least_n;
  guint64 known;         /* values that what was learned before the start rests on */
  double minimum_effect; /* in standard deviations; binary: difference of rates */
  double sum, spread;    /* spread: variance, refreshed now and then, as are times and precisions */
  double times[AUTO_LEVELS], precisions[AUTO_LEVELS];
  double ceilings[AUTO_LEVELS], next_ceilings[AUTO_LEVELS]; /* precisions of the first ceiling_n values, which
                                                               candidates among them go by */
  guint64 ceiling_n, next_ceiling_n;
  AutoVariance variance;
  double level_sums[AUTO_LEVELS]; /* Bayes factors of a level's candidates at its last evaluation, times the spacing */
  double total;                   /* R */
  AutoPrefix prefixes[AUTO_LEVELS][AUTO_SLOTS]; /* level j: the last prefixes whose length is a multiple of 2^j */
} AutoGrid;

/* Empties the grid; what `before` knows of autocorrelation counts for a while. `before` may be empty. */
void auto_grid_clear(AutoGrid *grid, const AutoGrid *before);
/* Of an emptied grid. */
void auto_grid_start(AutoGrid *grid, gboolean binary, guint64 held, double minimum_effect);
/* Whether the sum is above 1. */
gboolean auto_grid_add(AutoGrid *grid, double value);
/* ln R, at least 0. */
double auto_grid_log_sum(const AutoGrid *grid);
/* Number of values before the candidate with the largest likelihood ratio. */
guint64 auto_grid_most_likely(const AutoGrid *grid);
/* Log of the odds that the change came at value `from` or later, not before. */
double auto_grid_log_odds_since(const AutoGrid *grid, guint64 from);
void auto_grid_put(const AutoGrid *grid, GByteArray *raw);
gboolean auto_grid_get(AutoGrid *grid, DriftReader *reader);

/* What follows from the options. */
typedef struct {
  guint reference;
  double minimum_effect;
  double *arrived; /* [reference] for a reference in order of arrival while it is sorted */
  double *scores;  /* [2 reference + 1] normal score by twice the midrank */
} AutoSetup;

/* A series from one start on: its reference, and the grids that everything since the start is taken into. */
typedef struct {
  guint64 n_held;  /* values of the reference so far */
  gboolean frozen; /* the reference is complete and `grids` run */
  gboolean binary;
  gint64 start_row; /* row of the first value */
  double median;
  AutoGrid grids[2]; /* one a channel; binary series have the first only */
  double *held;      /* [reference] in order of arrival until frozen, then sorted */
  double *distances; /* [reference] sorted distances from the median */
} AutoStretch;

void auto_stretch_prepare(AutoStretch *stretch, const AutoSetup *setup);
void auto_stretch_dispose(AutoStretch *stretch);
/* Starts empty at start_row; its grids learn from those of `before`, NULL: nothing is known. */
void auto_stretch_start(AutoStretch *stretch, const AutoStretch *before, gint64 start_row);
void auto_stretch_add(AutoStretch *stretch, const AutoSetup *setup, double value);
/* ln R less the channel's penalty, the larger of the channels, 0 before it is frozen; *grid is its. */
double auto_stretch_evidence(const AutoStretch *stretch, guint *grid);
void auto_stretch_put(const AutoStretch *stretch, GByteArray *raw);
/* FALSE for what no run can have made. */
gboolean auto_stretch_get(AutoStretch *stretch, const AutoSetup *setup, DriftReader *reader);

G_END_DECLS
