/* Joint tables of two features on both sides. The null throughout is the log-linear model without a three-way
 * interaction: each side has its own margins, both share the odds ratios. */
#include <math.h>
#include <string.h>

#include "drift/distributions.h"
#include "drift/slice_internal.h"
#include "drift/statistics.h"

/* Expected rows on the smaller side from which the limit laws hold. */
#define ENOUGH_EXPECTED 5
#define ENOUGH_ON_AVERAGE 10 /* the same of a cell of independent parts: associated ones have thinner cells */
#define FAR_TAIL .01         /* p below which Pearson's limit law is not trusted by itself */
#define MOST_ROUNDS 200
#define CLOSE_ENOUGH .01 /* rows by which a fitted margin may be off: far below sampling noise */

G_STATIC_ASSERT(DRIFT_MAX_PARTS == 8);

static guint at(guint a, guint b)
{
  return a * DRIFT_MAX_PARTS + b;
}

void drift_joint_sum(DriftJoint *joint)
{
  joint->n = joint->m = 0;
  for (guint a = 0; a < joint->n_a; a++)
    for (guint b = 0; b < joint->n_b; b++) {
      joint->n += joint->reference[at(a, b)];
      joint->m += joint->window[at(a, b)];
    }
}

/* Eight rows at a time: parts are below 8, so that a shift of the eight bytes keeps them apart; four tables, because
 * neighbouring rows often fall into one cell and would wait for each other. */
void drift_count_joint(const guint8 *first, const guint8 *second, guint64 n_rows, guint32 cells[DRIFT_JOINT_CELLS])
{
  guint32 tables[4][DRIFT_JOINT_CELLS] = {{0}};
  guint64 row = 0;
  for (; row + 8 <= n_rows; row += 8) {
    guint64 a, b;
    memcpy(&a, first + row, sizeof a);
    memcpy(&b, second + row, sizeof b);
    guint64 both = a << 3 | b;
    for (guint i = 0; i < 8; i++) tables[i % 4][both >> 8 * i & (DRIFT_JOINT_CELLS - 1)]++;
  }
  for (; row < n_rows; row++) tables[0][first[row] << 3 | second[row]]++;
  for (guint i = 0; i < DRIFT_JOINT_CELLS; i++) cells[i] = tables[0][i] + tables[1][i] + tables[2][i] + tables[3][i];
}

/* --- the fit: iterative proportional fitting (Deming and Stephan 1940) -------------------------------------------- */

static void margins_of(const double *cells, guint n_a, guint n_b, double *rows, double *columns)
{
  for (guint a = 0; a < n_a; a++) rows[a] = 0;
  for (guint b = 0; b < n_b; b++) columns[b] = 0;
  for (guint a = 0; a < n_a; a++)
    for (guint b = 0; b < n_b; b++) {
      rows[a] += cells[at(a, b)];
      columns[b] += cells[at(a, b)];
    }
}

/* Scales rows, then columns, to the margins wanted; returns how far off the rows and columns were at most. */
static double scale_side(double *cells, guint n_a, guint n_b, const double *rows, const double *columns)
{
  double is_rows[DRIFT_MAX_PARTS], is_columns[DRIFT_MAX_PARTS], off = 0;
  margins_of(cells, n_a, n_b, is_rows, is_columns);
  for (guint a = 0; a < n_a; a++) {
    off = fmax(off, fabs(is_rows[a] - rows[a]));
    double factor = is_rows[a] > 0 ? rows[a] / is_rows[a] : 0;
    for (guint b = 0; b < n_b; b++) cells[at(a, b)] *= factor;
  }
  margins_of(cells, n_a, n_b, is_rows, is_columns);
  for (guint b = 0; b < n_b; b++) {
    off = fmax(off, fabs(is_columns[b] - columns[b]));
    double factor = is_columns[b] > 0 ? columns[b] / is_columns[b] : 0;
    for (guint a = 0; a < n_a; a++) cells[at(a, b)] *= factor;
  }
  return off;
}

void drift_joint_fit(const DriftJoint *joint, DriftJoint *expected)
{
  guint n_a = joint->n_a, n_b = joint->n_b;
  double rows[2][DRIFT_MAX_PARTS], columns[2][DRIFT_MAX_PARTS], off = INFINITY, total = joint->n + joint->m;
  *expected = (DriftJoint){.n_a = n_a, .n_b = n_b, .n = joint->n, .m = joint->m};
  margins_of(joint->reference, n_a, n_b, rows[0], columns[0]);
  margins_of(joint->window, n_a, n_b, rows[1], columns[1]);
  for (guint a = 0; a < n_a; a++)
    for (guint b = 0; b < n_b; b++) {
      double both = joint->reference[at(a, b)] + joint->window[at(a, b)];
      expected->reference[at(a, b)] = total > 0 ? both * joint->n / total : 0;
      expected->window[at(a, b)] = total > 0 ? both * joint->m / total : 0;
    }
  for (guint round = 0; round < MOST_ROUNDS && off > CLOSE_ENOUGH; round++) {
    off = fmax(scale_side(expected->reference, n_a, n_b, rows[0], columns[0]),
               scale_side(expected->window, n_a, n_b, rows[1], columns[1]));
    for (guint a = 0; a < n_a; a++)
      for (guint b = 0; b < n_b; b++) {
        double both = joint->reference[at(a, b)] + joint->window[at(a, b)];
        double is = expected->reference[at(a, b)] + expected->window[at(a, b)], factor = is > 0 ? both / is : 0;
        expected->reference[at(a, b)] *= factor;
        expected->window[at(a, b)] *= factor;
      }
  }
}

/* --- the test of a pair ------------------------------------------------------------------------------------------- */

/* Neighbouring parts joined until each has `least` pooled rows; what is left over is a part from half of that, else
 * joins the last. Returns how many there are. */
static guint join_parts(const double *pooled, guint n, double least, guint *part)
{
  guint used = 0;
  double open = 0;
  for (guint i = 0; i < n; i++) {
    part[i] = used;
    open += pooled[i];
    if (open >= least) {
      used++;
      open = 0;
    }
  }
  if (open >= least / 2) used++;
  for (guint i = 0; i < n; i++) part[i] = MIN(part[i], MAX(used, 1) - 1);
  return MAX(used, 1);
}

/* Parts so large that a cell of independent features is expected to hold enough rows of the smaller side. */
static void coarsen(const DriftJoint *joint, DriftJoint *coarse)
{
  double pooled[DRIFT_JOINT_CELLS], rows[DRIFT_MAX_PARTS], columns[DRIFT_MAX_PARTS];
  guint row_of[DRIFT_MAX_PARTS], column_of[DRIFT_MAX_PARTS];
  for (guint i = 0; i < DRIFT_JOINT_CELLS; i++) pooled[i] = joint->reference[i] + joint->window[i];
  margins_of(pooled, joint->n_a, joint->n_b, rows, columns);
  double least = (joint->n + joint->m) * sqrt(ENOUGH_ON_AVERAGE / fmax(1, fmin(joint->n, joint->m)));
  *coarse = (DriftJoint){.n_a = join_parts(rows, joint->n_a, least, row_of),
                         .n_b = join_parts(columns, joint->n_b, least, column_of),
                         .n = joint->n,
                         .m = joint->m};
  for (guint a = 0; a < joint->n_a; a++)
    for (guint b = 0; b < joint->n_b; b++) {
      coarse->reference[at(row_of[a], column_of[b])] += joint->reference[at(a, b)];
      coarse->window[at(row_of[a], column_of[b])] += joint->window[at(a, b)];
    }
}

static double js_term(double share, double middle)
{
  return share > 0 ? share * log(share / middle) : 0;
}

/* The window's share of a cell if its features were associated as in the reference. The fit is of both sides together,
 * so that a large window pulls it along: what is left is blown up by what the window had in it. */
static double unexplained(double count, double expected, double expected_reference, double m)
{
  if (!(expected_reference > 0)) return count / m;
  double excess = (count - expected) / m * (expected + expected_reference) / expected_reference;
  return CLAMP(count / m - excess, 0, 1);
}

/* Divergence in nats, without its mean under the null, as a distance in base 2. */
static double distance(double divergence, double null_mean)
{
  return sqrt(fmax(0, divergence - null_mean) / G_LN2);
}

static guint n_filled(const double *margins, guint n)
{
  guint filled = 0;
  for (guint i = 0; i < n; i++) filled += margins[i] > 0;
  return filled;
}

/* A cell's part of the likelihood ratio statistic; at least 0. */
static double deviance(double count, double expected)
{
  return 2 * ((count > 0 ? count * log(count / expected) : 0) - count + expected);
}

/* *ratio: the likelihood ratio statistic of the cells that enter chi-squared. */
static void sum_cells(const DriftJoint *joint, const DriftJoint *expected, double inflation,
                      DriftDependence *dependence, double *ratio)
{
  double pooled[DRIFT_JOINT_CELLS], rows[DRIFT_MAX_PARTS], columns[DRIFT_MAX_PARTS], divergence = 0;
  guint kept = 0, filled = 0;
  dependence->chi_squared = *ratio = 0;
  for (guint i = 0; i < DRIFT_JOINT_CELLS; i++) pooled[i] = joint->reference[i] + joint->window[i];
  margins_of(pooled, joint->n_a, joint->n_b, rows, columns);
  for (guint a = 0; a < joint->n_a; a++)
    for (guint b = 0; b < joint->n_b; b++) {
      guint cell = at(a, b);
      double e = expected->reference[cell], f = expected->window[cell], excess = joint->window[cell] - f;
      if (pooled[cell] == 0) continue;
      filled++;
      double share = joint->window[cell] / joint->m, other = unexplained(joint->window[cell], f, e, joint->m);
      divergence += (js_term(share, (share + other) / 2) + js_term(other, (share + other) / 2)) / 2;
      if (fmin(e, f) < ENOUGH_EXPECTED) continue;
      kept++;
      dependence->chi_squared += excess * excess * (1 / e + 1 / f);
      *ratio += deviance(joint->reference[cell], e) + deviance(joint->window[cell], f);
    }
  guint free_rows = n_filled(rows, joint->n_a) - 1, free_columns = n_filled(columns, joint->n_b) - 1;
  /* Empty cells are known to be so once the pooled table is given. */
  double all = (double)(free_rows * free_columns) - ((free_rows + 1) * (free_columns + 1) - filled);
  dependence->df = fmin(fmax(0, all), kept);
  dependence->chi_squared /= inflation;
  dependence->effect = distance(divergence, inflation * fmax(0, all) / 8 * (1 / joint->n + 1 / joint->m));
}

void drift_joint_test(const DriftJoint *joint, const DriftJoint *expected, double inflation, double concentration,
                      DriftDependence *dependence)
{
  *dependence = (DriftDependence){.n_reference = (guint64)joint->n,
                                  .n_window = (guint64)joint->m,
                                  .chi_squared = NAN,
                                  .inflation = inflation,
                                  .effect = NAN,
                                  .p = NAN,
                                  .p_adjusted = NAN};
  if (joint->n == 0 || joint->m == 0) {
    dependence->undefined = joint->n == 0 ? "the reference has no rows (n = 0)" : "the window has no rows (n = 0)";
    return;
  }
  DriftJoint coarse, fitted;
  double ratio;
  coarsen(joint, &coarse);
  gboolean same = coarse.n_a == joint->n_a && coarse.n_b == joint->n_b;
  if (!same) drift_joint_fit(&coarse, &fitted);
  sum_cells(&coarse, same ? expected : &fitted, inflation, dependence, &ratio);
  if (dependence->df >= 1) {
    /* Cells left out make the sum smaller than chi-squared with so many degrees of freedom: p is an upper bound. With
     * dependent rows the sum is of unequally weighted squares: Satterthwaite's degrees of freedom. */
    dependence->chi_squared /= concentration;
    dependence->df /= concentration;
    dependence->p = drift_chi_squared_sf(dependence->chi_squared, dependence->df);
    /* Far out Pearson's statistic has the tail of thin cells' Poisson counts; there the likelihood ratio's p is right.
     */
    if (dependence->p < FAR_TAIL)
      dependence->p = fmax(dependence->p, drift_chi_squared_sf(ratio / inflation / concentration, dependence->df));
    return;
  }
  dependence->undefined = "too few rows, or a single part, in the joint table";
  dependence->chi_squared = dependence->effect = NAN;
}

/* --- slices ------------------------------------------------------------------------------------------------------- */

/* The rule sees pooled counts only, so that under the null it favours no side. */
static gboolean has_support(double pooled, double n, double m)
{
  return pooled * fmin(n, m) / (n + m) >= ENOUGH_EXPECTED;
}

/* Distance of (in, out) from (in, out) of `other`. */
static double effect_of(double share, double other, double n, double m)
{
  double in = (share + other) / 2, out = 1 - in;
  double divergence = js_term(share, in) + js_term(other, in) + js_term(1 - share, out) + js_term(1 - other, out);
  return distance(divergence / 2, (1 / n + 1 / m) / 8);
}

static void finish_share(DriftSliceFamily *family, DriftSliceCandidate *candidate, double n, double m, double other)
{
  double a = (double)candidate->n_reference, b = (double)candidate->n_window;
  candidate->reference = a / n;
  candidate->window = b / m;
  candidate->other = other;
  candidate->difference = candidate->window - candidate->reference;
  drift_difference_interval(b, m, a, n, family->confidence, &candidate->low, &candidate->high);
  candidate->effect = effect_of(candidate->window, other, n, m);
  drift_slice_family_add(family, candidate);
}

/* Given the pooled count of the cell the window's is nearly binomial; that the expectation is fitted only takes
 * variance away. */
static double p_of_cell(double count, double expected, double other_expected)
{
  double apart = fabs(count - expected) - .5;
  if (apart <= 0) return 1;
  double sign = count > expected ? 1 : -1, moved = expected + sign * apart, rest = other_expected - sign * apart;
  double ratio = (moved > 0 ? moved * log(moved / expected) : 0) + (rest > 0 ? rest * log(rest / other_expected) : 0);
  return 2 * drift_normal_sf(sqrt(fmax(0, 2 * ratio)));
}

void drift_joint_slices(const DriftJoint *joint, const DriftJoint *expected, guint a, guint b, DriftSliceFamily *family)
{
  for (guint i = 0; i < joint->n_a; i++)
    for (guint j = 0; j < joint->n_b; j++) {
      guint cell = at(i, j);
      double before = joint->reference[cell], now = joint->window[cell];
      if (!has_support(before + now, joint->n, joint->m)) continue;
      double p = p_of_cell(now, expected->window[cell], expected->reference[cell]);
      if (!drift_slice_family_test(family, p)) continue;
      DriftSliceCandidate candidate = {.features = {a, b},
                                       .parts = {(guint8)i, (guint8)j},
                                       .n_reference = (guint64)before,
                                       .n_window = (guint64)now,
                                       .p = p};
      double other = unexplained(now, expected->window[cell], expected->reference[cell], joint->m);
      finish_share(family, &candidate, joint->n, joint->m, other);
    }
}

void drift_part_slices(const double *reference, const double *window, guint n_parts, guint feature,
                       DriftSliceFamily *family)
{
  double n = 0, m = 0;
  for (guint part = 0; part < n_parts; part++) n += reference[part], m += window[part];
  for (guint part = 0; part < n_parts; part++) {
    if (n == 0 || m == 0 || !has_support(reference[part] + window[part], n, m)) continue;
    double p = drift_slice_p_two_rates(window[part], m, reference[part], n);
    if (!drift_slice_family_test(family, p)) continue;
    DriftSliceCandidate candidate = {.features = {feature, DRIFT_NO_FEATURE},
                                     .parts = {(guint8)part, 0},
                                     .n_reference = (guint64)reference[part],
                                     .n_window = (guint64)window[part],
                                     .p = p};
    finish_share(family, &candidate, n, m, reference[part] / n);
  }
}
