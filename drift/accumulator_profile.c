#include "drift/accumulator_profile.h"

#include <math.h>
#include <string.h>

#include "drift/accumulator_internal.h"
#include "drift/profile_internal.h"

/* The name of a quantity as data sets have it. */
static const gchar *name_of(const DriftGrid *grid, guint quantity)
{
  static const gchar *const outputs[DRIFT_N_OUTPUTS] = {"prediction", "score", "latency_ms"};
  return quantity < grid->n_features ? drift_schema_get_feature(grid->schema, quantity)->name
                                     : outputs[quantity - grid->n_features];
}

/* Where a share of the values lies, linear in its bin; bins beyond the reference end at the extremes seen. */
static double quantile(const DriftTally *tally, const DriftBins *bins, guint64 n, double share)
{
  double wanted = share * (double)n, before = 0;
  for (guint bin = 0; bin <= bins->n_edges; bin++) {
    double count = (double)drift_counts_get(&tally->counts, bin);
    if (count == 0 || before + count < wanted) {
      before += count;
      continue;
    }
    double low = bin == 0 ? tally->moments.minimum : fmax(bins->edges[bin - 1], tally->moments.minimum);
    double high = bin == bins->n_edges ? tally->moments.maximum : fmin(bins->edges[bin], tally->moments.maximum);
    return low + (high - low) * (wanted - before) / count;
  }
  return tally->moments.maximum;
}

static void describe_numbers(const DriftTally *tally, const DriftQuantity *quantity, const DriftSummary *summary,
                             DriftColumnProfile *out)
{
  out->whole = FALSE;
  out->n_infinite = 0;
  out->minimum = summary->minimum;
  out->maximum = summary->maximum;
  out->mean = summary->mean;
  out->deviation = summary->deviation;
  for (guint q = 0; q < 3; q++)
    out->quartiles[q] = tally->moments.n > 0 ? quantile(tally, quantity->bins, summary->n, .25 * (q + 1)) : NAN;
  for (guint bin = 0; bin < quantity->n_bins; bin++) out->n_distinct += drift_counts_get(&tally->counts, bin) > 0;
  /* A bin's values need not be equal. */
  if (out->n_distinct == 1 && summary->minimum < summary->maximum) out->n_distinct = 2;
}

static void describe_categories(const DriftTally *tally, const DriftQuantity *quantity, const DriftSummary *summary,
                                DriftColumnProfile *out)
{
  for (guint code = 0; code < quantity->n_bins; code++) {
    guint64 count = drift_counts_get(&tally->counts, code);
    if (count == 0) continue;
    out->n_distinct++;
    drift_profile_add_category(out, drift_categories_get(quantity->categories, code), count);
  }
  g_ptr_array_sort(out->categories, drift_profile_compare_categories);
  out->open = summary->unseen > 0;
  out->n_distinct += summary->unseen > 0;
}

DriftProfile *drift_profile_from_accumulator(const DriftAccumulator *accumulator)
{
  const DriftGrid *grid = accumulator->grid;
  DriftProfile *profile = drift_profile_new_empty();
  profile->n_rows = accumulator->n_events;
  profile->duplicate_limit = 1; /* not known */
  for (guint i = 0; i < grid->n_quantities; i++) {
    const DriftQuantity *quantity = &grid->quantities[i];
    const DriftTally tally = drift_accumulator_tally(accumulator, i);
    DriftSummary summary;
    drift_accumulator_summarise(accumulator, i, &summary);
    if (i >= grid->n_features && summary.n + summary.unseen == 0) continue;
    DriftColumnProfile *out = drift_profile_add_column(profile, name_of(grid, i), quantity->kind);
    out->n = summary.n + summary.unseen;
    out->n_missing = summary.missing;
    out->missing_limit = drift_profile_limit(out->n_missing, out->n + out->n_missing);
    if (quantity->kind == DRIFT_NUMERIC)
      describe_numbers(&tally, quantity, &summary, out);
    else
      describe_categories(&tally, quantity, &summary, out);
  }
  return profile;
}

/* --- violations --------------------------------------------------------------------------------------------------- */

static void add(GPtrArray *violations, DriftViolationKind kind, const gchar *column, guint64 count, gchar *example)
{
  if (count > 0)
    drift_profile_add_violation(violations, kind, column, count, -1, example);
  else
    g_free(example);
}

static gchar *number_text(double number)
{
  const DriftValue value = drift_value_number(number);
  gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
  gsize length;
  const gchar *text = drift_value_to_text(&value, buffer, &length);
  return text != NULL ? g_strndup(text, length) : NULL;
}

static void check_range(const DriftColumnProfile *expected, const DriftTally *tally, const DriftQuantity *quantity,
                        GPtrArray *violations)
{
  const DriftBins *bins = quantity->bins;
  gboolean is_low = tally->moments.n > 0 && tally->moments.minimum < expected->minimum;
  gboolean is_high = tally->moments.n > 0 && tally->moments.maximum > expected->maximum;
  if (!is_low && !is_high) return;
  guint64 outside = 0;
  for (guint bin = 0; bin <= bins->n_edges && bins->n_edges > 0; bin++) {
    gboolean below = bin < bins->n_edges && bins->edges[bin] < expected->minimum;
    gboolean above = bin > 0 && bins->edges[bin - 1] >= expected->maximum;
    if (below || above) outside += drift_counts_get(&tally->counts, bin);
  }
  gboolean is_lower = is_low && (!is_high || expected->minimum - tally->moments.minimum >
                                                 tally->moments.maximum - expected->maximum); /* the farther one */
  add(violations, DRIFT_VIOLATION_RANGE, expected->name, MAX(outside, 1),
      number_text(is_lower ? tally->moments.minimum : tally->moments.maximum));
}

static void check_categories(const DriftColumnProfile *expected, const DriftTally *tally, const DriftQuantity *quantity,
                             guint64 unseen, GPtrArray *violations)
{
  if (expected->open) return;
  g_autoptr(GHashTable) known = drift_profile_category_set(expected);
  const gchar *example = NULL;
  for (guint code = 0; code < quantity->n_bins; code++) {
    const gchar *text = drift_categories_get(quantity->categories, code);
    guint64 count = drift_counts_get(&tally->counts, code);
    if (count == 0 || g_hash_table_contains(known, text)) continue;
    unseen += count;
    if (example == NULL) example = text;
  }
  add(violations, DRIFT_VIOLATION_UNSEEN, expected->name, unseen, g_strdup(example));
}

static void check_quantity(const DriftColumnProfile *expected, const DriftColumnProfile *found, const DriftTally *tally,
                           const DriftQuantity *quantity, guint64 unseen, GPtrArray *violations)
{
  guint64 all = found->n + found->n_missing;
  if (quantity->kind == DRIFT_NUMERIC) /* text in a numeric feature is all that is unseen there */
    add(violations, DRIFT_VIOLATION_TYPE, expected->name, expected->kind == DRIFT_NUMERIC ? unseen : 0, NULL);
  else if (expected->kind == DRIFT_NUMERIC)
    add(violations, DRIFT_VIOLATION_TYPE, expected->name, found->n, NULL);
  if (quantity->kind == DRIFT_NUMERIC && expected->kind == DRIFT_NUMERIC)
    check_range(expected, tally, quantity, violations);
  if (quantity->kind == DRIFT_CATEGORICAL && expected->kind == DRIFT_CATEGORICAL)
    check_categories(expected, tally, quantity, unseen, violations);
  if (all > 0 && (double)found->n_missing / (double)all > expected->missing_limit)
    add(violations, DRIFT_VIOLATION_MISSING, expected->name, found->n_missing, NULL);
  if (found->n_distinct == 1 && expected->n_distinct > 1 && found->n >= 10)
    add(violations, DRIFT_VIOLATION_CONSTANT, expected->name, found->n,
        quantity->kind == DRIFT_NUMERIC ? number_text(found->minimum)
        : found->categories->len > 0    ? g_strdup(((const DriftProfileCategory *)found->categories->pdata[0])->text)
                                        : NULL);
}

/* Index of the column of that name, or -1. */
static gint find_column(const DriftProfile *profile, const gchar *name)
{
  for (guint i = 0; i < profile->columns->len; i++)
    if (strcmp(((const DriftColumnProfile *)profile->columns->pdata[i])->name, name) == 0) return (gint)i;
  return -1;
}

static gint find_quantity(const DriftGrid *grid, const gchar *name)
{
  for (guint i = 0; i < grid->n_quantities; i++)
    if (strcmp(name_of(grid, i), name) == 0) return (gint)i;
  return -1;
}

GPtrArray *drift_profile_check_accumulator(const DriftProfile *profile, const DriftAccumulator *accumulator)
{
  GPtrArray *violations = drift_profile_violations_new();
  g_autoptr(DriftProfile) found = drift_profile_from_accumulator(accumulator);
  for (guint i = 0; i < profile->columns->len; i++) {
    const DriftColumnProfile *expected = profile->columns->pdata[i];
    gint index = find_column(found, expected->name), quantity = find_quantity(accumulator->grid, expected->name);
    if (index < 0 && strcmp(expected->name, accumulator->grid->schema->label) == 0) continue; /* comes later, if ever */
    if (index < 0) {
      add(violations, DRIFT_VIOLATION_NO_COLUMN, expected->name, accumulator->n_events, NULL);
      continue;
    }
    const DriftTally tally = drift_accumulator_tally(accumulator, (guint)quantity);
    DriftSummary summary;
    drift_accumulator_summarise(accumulator, (guint)quantity, &summary);
    check_quantity(expected, found->columns->pdata[index], &tally, &accumulator->grid->quantities[quantity],
                   summary.unseen, violations);
  }
  for (guint i = 0; i < found->columns->len; i++) {
    const gchar *name = ((const DriftColumnProfile *)found->columns->pdata[i])->name;
    if (find_column(profile, name) < 0) add(violations, DRIFT_VIOLATION_NEW_COLUMN, name, accumulator->n_events, NULL);
  }
  return violations;
}
