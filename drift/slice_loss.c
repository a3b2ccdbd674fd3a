/* Slices in which the model errs more than elsewhere, or more than it did. Losses are 0 and 1, or any numbers. */
#include <math.h>

#include "drift/distributions.h"
#include "drift/slice_internal.h"
#include "drift/statistics.h"

/* Rows on every side of a comparison. Only counts of rows decide, never losses. */
#define LEAST_ROWS 30

static guint at(guint a, guint b)
{
  return a * DRIFT_MAX_PARTS + b;
}

static double mean_of(const DriftLoss *loss)
{
  return loss->n > 0 ? loss->sum / loss->n : NAN;
}

/* Squared standard error of the mean. For rates with a success and a failure added (Agresti and Caffo 2000), so that
 * none of no errors is not certainty. */
static double error_of(const DriftLoss *loss, gboolean is_binary)
{
  if (is_binary) {
    double rate = (loss->sum + 1) / (loss->n + 2);
    return rate * (1 - rate) / (loss->n + 2);
  }
  double mean = mean_of(loss);
  return fmax(0, loss->squares / loss->n - mean * mean) / (loss->n - 1);
}

static DriftLoss less(const DriftLoss *all, const DriftLoss *part)
{
  return (DriftLoss){all->n - part->n, all->sum - part->sum, all->squares - part->squares};
}

/* P(the mean is so much above the other's by chance): likelihood ratio of two rates, Welch's t else. */
static double p_higher(const DriftLoss *loss, const DriftLoss *other, gboolean is_binary)
{
  if (loss->n < LEAST_ROWS || other->n < LEAST_ROWS) return NAN;
  double difference = mean_of(loss) - mean_of(other);
  if (!(difference > 0)) return 1;
  if (is_binary) return drift_slice_p_two_rates(loss->sum, loss->n, other->sum, other->n) / 2;
  double a = error_of(loss, FALSE), b = error_of(other, FALSE);
  if (!(a + b > 0)) return NAN;
  double df = (a + b) * (a + b) / (a * a / (loss->n - 1) + b * b / (other->n - 1));
  return drift_student_t_sf(difference / sqrt(a + b), df);
}

/* P(the mean rose so much more than the others' by chance). */
static double p_rose_more(const DriftLoss *now, const DriftLoss *before, const DriftLoss *other_now,
                          const DriftLoss *other_before, gboolean is_binary)
{
  const DriftLoss *const all[] = {now, before, other_now, other_before};
  double variance = 0;
  for (guint i = 0; i < G_N_ELEMENTS(all); i++) {
    if (all[i]->n < LEAST_ROWS) return NAN;
    variance += error_of(all[i], is_binary);
  }
  double difference = mean_of(now) - mean_of(before) - (mean_of(other_now) - mean_of(other_before));
  return variance > 0 ? drift_normal_sf(difference / sqrt(variance)) : NAN;
}

static void interval_of(const DriftLoss *loss, const DriftLoss *other, gboolean is_binary, double confidence,
                        DriftSliceCandidate *candidate)
{
  candidate->difference = mean_of(loss) - mean_of(other);
  if (is_binary) {
    drift_difference_interval(loss->sum, loss->n, other->sum, other->n, confidence, &candidate->low, &candidate->high);
    return;
  }
  double half = drift_normal_quantile(.5 + confidence / 2) * sqrt(error_of(loss, FALSE) + error_of(other, FALSE));
  candidate->low = candidate->difference - half;
  candidate->high = candidate->difference + half;
}

/* One cell with the rests of its row and column on both sides. */
typedef struct {
  const DriftLoss *before, *now;
  DriftLoss rest_before[2], rest_now[2];
  guint n_rests; /* 1: one condition, all other rows */
  gboolean is_binary;
} Cell;

static DriftSliceCandidate candidate_of(const Cell *cell, guint a, guint i, guint b, guint j, double p, double other)
{
  return (DriftSliceCandidate){.features = {a, b},
                               .parts = {(guint8)i, (guint8)j},
                               .n_reference = (guint64)cell->before->n,
                               .n_window = (guint64)cell->now->n,
                               .reference = mean_of(cell->before),
                               .window = mean_of(cell->now),
                               .other = other,
                               .effect = mean_of(cell->now) - other,
                               .p = p};
}

/* Both parents must have been left behind: the larger p is a p (intersection-union). */
static void test_worse(const Cell *cell, guint a, guint i, guint b, guint j, DriftSliceFamily *family)
{
  double p = 0;
  const DriftLoss *highest = &cell->rest_now[0];
  for (guint r = 0; r < cell->n_rests; r++) {
    double one = p_higher(cell->now, &cell->rest_now[r], cell->is_binary);
    if (isnan(one)) return;
    p = fmax(p, one);
    if (mean_of(&cell->rest_now[r]) > mean_of(highest)) highest = &cell->rest_now[r];
  }
  if (!drift_slice_family_test(family, p)) return;
  DriftSliceCandidate candidate = candidate_of(cell, a, i, b, j, p, mean_of(highest));
  interval_of(cell->now, highest, cell->is_binary, family->confidence, &candidate);
  drift_slice_family_add(family, &candidate);
}

static void test_rise(const Cell *cell, guint a, guint i, guint b, guint j, DriftSliceFamily *family)
{
  double p = p_higher(cell->now, cell->before, cell->is_binary), elsewhere = cell->n_rests == 2 ? -INFINITY : 0;
  if (isnan(p)) return;
  for (guint r = 0; r < cell->n_rests && cell->n_rests == 2; r++) {
    double one = p_rose_more(cell->now, cell->before, &cell->rest_now[r], &cell->rest_before[r], cell->is_binary);
    if (isnan(one)) return;
    p = fmax(p, one);
    elsewhere = fmax(elsewhere, mean_of(&cell->rest_now[r]) - mean_of(&cell->rest_before[r]));
  }
  if (!drift_slice_family_test(family, p)) return;
  DriftSliceCandidate candidate = candidate_of(cell, a, i, b, j, p, mean_of(cell->before) + elsewhere);
  interval_of(cell->now, cell->before, cell->is_binary, family->confidence, &candidate);
  drift_slice_family_add(family, &candidate);
}

typedef struct {
  DriftLoss all, rows[DRIFT_MAX_PARTS], columns[DRIFT_MAX_PARTS];
} Margins;

static void add(DriftLoss *into, const DriftLoss *from)
{
  into->n += from->n;
  into->sum += from->sum;
  into->squares += from->squares;
}

static void sum_margins(const DriftLoss *cells, guint n_a, guint n_b, Margins *margins)
{
  *margins = (Margins){{0, 0, 0}, {{0, 0, 0}}, {{0, 0, 0}}};
  for (guint i = 0; i < n_a; i++)
    for (guint j = 0; j < n_b; j++) {
      add(&margins->all, &cells[at(i, j)]);
      add(&margins->rows[i], &cells[at(i, j)]);
      add(&margins->columns[j], &cells[at(i, j)]);
    }
}

void drift_loss_slices(const DriftLossTable *table, guint a, guint b, DriftSliceFamily *worse, DriftSliceFamily *rise)
{
  Margins before, now;
  gboolean single = b == DRIFT_NO_FEATURE;
  sum_margins(table->reference, table->n_a, table->n_b, &before);
  sum_margins(table->window, table->n_a, table->n_b, &now);
  for (guint i = 0; i < table->n_a; i++)
    for (guint j = 0; j < table->n_b; j++) {
      const DriftLoss *cell_before = &table->reference[at(i, j)], *cell_now = &table->window[at(i, j)];
      Cell cell = {.before = cell_before, .now = cell_now, .n_rests = single ? 1 : 2, .is_binary = table->is_binary};
      cell.rest_before[0] = less(single ? &before.all : &before.rows[i], cell_before);
      cell.rest_now[0] = less(single ? &now.all : &now.rows[i], cell_now);
      cell.rest_before[1] = less(&before.columns[j], cell_before);
      cell.rest_now[1] = less(&now.columns[j], cell_now);
      if (worse != NULL) test_worse(&cell, a, i, b, j, worse);
      if (rise != NULL) test_rise(&cell, a, i, b, j, rise);
    }
}
