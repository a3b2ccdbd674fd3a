/* One start of the streaming default: the reference, the scores of what follows it, and the evidence of a change. */
#include <math.h>
#include <string.h>

#include "drift/auto_internal.h"
#include "drift/sorted_window_internal.h"

/* Counts are discrete: binary series stay below the bound by about this (`make alarm-budget-stream`). */
#define BINARY_BONUS .8
#define SPREAD_PENALTY 1 /* added to the threshold of channel 1, so that two channels cost 1 + 1/e of one */

void auto_stretch_prepare(AutoStretch *stretch, const AutoSetup *setup)
{
  stretch->held = g_new0(double, setup->reference);
  stretch->distances = g_new0(double, setup->reference);
}

void auto_stretch_dispose(AutoStretch *stretch)
{
  g_free(stretch->held);
  g_free(stretch->distances);
}

void auto_stretch_start(AutoStretch *stretch, const AutoStretch *before, gint64 start_row)
{
  static const AutoGrid nothing;
  stretch->n_held = 0;
  stretch->frozen = stretch->binary = FALSE;
  stretch->start_row = start_row;
  stretch->median = 0;
  for (guint i = 0; i < 2; i++) auto_grid_clear(&stretch->grids[i], before != NULL ? &before->grids[i] : &nothing);
}

/* Normal score of the midrank of `value` among sorted[reference]. */
static double score(const AutoSetup *setup, const double *sorted, double value)
{
  guint above = drift_sorted_place(sorted, setup->reference, value), below = above;
  while (below > 0 && sorted[below - 1] == value) below--;
  return setup->scores[below + above];
}

static void feed(AutoStretch *stretch, const AutoSetup *setup, double value)
{
  if (stretch->binary) {
    auto_grid_add(&stretch->grids[0], value);
    return;
  }
  auto_grid_add(&stretch->grids[0], score(setup, stretch->held, value));
  auto_grid_add(&stretch->grids[1], score(setup, stretch->distances, fabs(value - stretch->median)));
}

static void sort_distances(AutoStretch *stretch, guint n)
{
  for (guint i = 0; i < n; i++) stretch->distances[i] = fabs(stretch->held[i] - stretch->median);
  drift_sort_in_place(stretch->distances, n); /* the C library's sort allocates */
}

static void freeze(AutoStretch *stretch, const AutoSetup *setup)
{
  guint n = setup->reference;
  double *held = stretch->held;
  double *arrived = setup->arrived;
  memcpy(arrived, held, n * sizeof *held);
  stretch->binary = TRUE;
  for (guint i = 0; i < n; i++) stretch->binary = stretch->binary && (arrived[i] == 0 || arrived[i] == 1);
  drift_sort_in_place(held, n);
  stretch->median = n % 2 == 1 ? held[n / 2] : held[n / 2 - 1] / 2 + held[n / 2] / 2;
  sort_distances(stretch, n);
  for (guint i = 0; i < 2; i++) auto_grid_start(&stretch->grids[i], stretch->binary, n, setup->minimum_effect);
  for (guint i = 0; i < n; i++) feed(stretch, setup, arrived[i]);
  stretch->frozen = TRUE;
}

void auto_stretch_add(AutoStretch *stretch, const AutoSetup *setup, double value)
{
  if (!stretch->frozen) {
    stretch->held[stretch->n_held++] = value;
    if (stretch->n_held == setup->reference) freeze(stretch, setup);
    return;
  }
  if (stretch->binary && value != 0 && value != 1) value = value >= .5; /* the series turned out not to be 0 or 1 */
  feed(stretch, setup, value);
}

double auto_stretch_evidence(const AutoStretch *stretch, guint *grid)
{
  *grid = 0;
  if (!stretch->frozen) return 0;
  double level = auto_grid_log_sum(&stretch->grids[0]);
  if (stretch->binary) return level + BINARY_BONUS;
  double spread = auto_grid_log_sum(&stretch->grids[1]) - SPREAD_PENALTY;
  *grid = spread > level;
  return MAX(level, spread);
}

void auto_stretch_put(const AutoStretch *stretch, GByteArray *raw)
{
  drift_put_u64(raw, stretch->n_held);
  drift_put_u8(raw, stretch->frozen != FALSE);
  drift_put_u8(raw, stretch->binary != FALSE);
  drift_put_i64(raw, stretch->start_row);
  drift_put_double(raw, stretch->median);
  for (guint64 i = 0; i < stretch->n_held; i++) drift_put_double(raw, stretch->held[i]);
  for (guint i = 0; i < 2; i++) auto_grid_put(&stretch->grids[i], raw);
}

static gboolean get_reference(AutoStretch *stretch, const AutoSetup *setup, DriftReader *reader)
{
  stretch->n_held = drift_get_u64(reader);
  guint8 frozen = drift_get_u8(reader), binary = drift_get_u8(reader);
  stretch->frozen = frozen != 0;
  stretch->binary = binary != 0;
  stretch->start_row = drift_get_i64(reader);
  stretch->median = drift_get_double(reader);
  if (frozen > 1 || binary > frozen || stretch->n_held > setup->reference || stretch->start_row < 0) return FALSE;
  if (stretch->frozen != (stretch->n_held == setup->reference) || !isfinite(stretch->median)) return FALSE;
  for (guint64 i = 0; i < stretch->n_held; i++) {
    stretch->held[i] = drift_get_double(reader);
    if (!isfinite(stretch->held[i])) return FALSE;
    if (stretch->frozen && i > 0 && stretch->held[i] < stretch->held[i - 1]) return FALSE;
  }
  return !reader->failed;
}

gboolean auto_stretch_get(AutoStretch *stretch, const AutoSetup *setup, DriftReader *reader)
{
  if (!get_reference(stretch, setup, reader)) return FALSE;
  for (guint i = 0; i < 2; i++)
    if (!auto_grid_get(&stretch->grids[i], reader)) return FALSE;
  if (!stretch->frozen) return TRUE;
  guint n = setup->reference;
  sort_distances(stretch, n);
  for (guint i = 0; i < (stretch->binary ? 1 : 2); i++) {
    const AutoGrid *grid = &stretch->grids[i];
    if (grid->held != n || grid->n < n || grid->n != stretch->grids[0].n || grid->binary != stretch->binary)
      return FALSE;
  }
  return TRUE;
}
