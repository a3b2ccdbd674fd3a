#include "drift/multiple_testing.h"

#include <math.h>
#include <string.h>

#include "drift/distributions.h"
#include "drift/statistics.h"

static guint count_tests(const double *p, guint n)
{
  guint tests = 0;
  for (guint i = 0; i < n; i++) tests += !isnan(p[i]);
  return tests;
}

static void adjust_none(const double *p, guint n, double *adjusted)
{
  memcpy(adjusted, p, n * sizeof(double));
}

void drift_adjust_bonferroni(const double *p, guint n, double *adjusted)
{
  guint tests = count_tests(p, n);
  for (guint i = 0; i < n; i++) adjusted[i] = isnan(p[i]) ? NAN : MIN(1, p[i] * tests);
}

/* Equal p-values in input order, so that the result does not depend on the sort. */
static gint compare_by_p(gconstpointer a, gconstpointer b, gpointer data)
{
  const double *p = data;
  guint i = *(const guint *)a, j = *(const guint *)b;
  if (p[i] != p[j]) return p[i] < p[j] ? -1 : 1;
  return i < j ? -1 : i > j;
}

void drift_adjust_holm(const double *p, guint n, double *adjusted)
{
  g_autofree guint *order = g_new(guint, n + 1);
  guint tests = 0;
  for (guint i = 0; i < n; i++)
    if (!isnan(p[i])) order[tests++] = i;
  g_qsort_with_data(order, (gint)tests, sizeof(guint), compare_by_p, (gpointer)p);
  for (guint i = 0; i < n; i++) adjusted[i] = p[i];
  double largest = 0;
  for (guint k = 0; k < tests; k++) {
    largest = MAX(largest, MIN(1, p[order[k]] * (tests - k)));
    adjusted[order[k]] = largest;
  }
}

void drift_adjust_benjamini_yekutieli(const double *p, guint n, double *adjusted)
{
  /* Benjamini-Hochberg's values times the harmonic number; its clip at 1 changes nothing, as the factor is >= 1. */
  double harmonic = 0;
  for (guint i = count_tests(p, n); i > 0; i--) harmonic += 1.0 / i;
  drift_benjamini_hochberg(p, n, adjusted);
  for (guint i = 0; i < n; i++)
    if (!isnan(adjusted[i])) adjusted[i] = MIN(1, adjusted[i] * harmonic);
}

const DriftAdjustment drift_adjustments[] = {
    {"bh", "Benjamini-Hochberg: share of false rejections, independent or positively dependent tests",
     drift_benjamini_hochberg},
    {"by", "Benjamini-Yekutieli: share of false rejections, any dependence", drift_adjust_benjamini_yekutieli},
    {"holm", "Holm: chance of any false rejection, any dependence", drift_adjust_holm},
    {"bonferroni", "Bonferroni: chance of any false rejection, any dependence", drift_adjust_bonferroni},
    {"none", "no correction", adjust_none},
    {NULL, NULL, NULL},
};

const DriftAdjustment *drift_adjustment_find(const gchar *name)
{
  for (const DriftAdjustment *adjustment = drift_adjustments; adjustment->name != NULL; adjustment++)
    if (g_strcmp0(adjustment->name, name) == 0) return adjustment;
  return NULL;
}

double drift_fisher_combination(const double *p, guint n, double *statistic)
{
  double sum = 0;
  guint tests = count_tests(p, n);
  for (guint i = 0; i < n; i++)
    if (!isnan(p[i])) sum -= 2 * log(p[i]);
  *statistic = tests > 0 ? sum : NAN;
  return tests > 0 ? drift_chi_squared_sf(sum, 2.0 * tests) : NAN;
}
