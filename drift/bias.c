/* Rates by group of each sensitive feature against a reference group, with intervals.
 * The reference group of a feature is the first in the grid's order (the most frequent category of the reference data;
 * the lowest quarter of a number) that has at least minimum_group rows here: it does not change from window to window
 * while both are large. */
#include "drift/window_internal.h"

#include <math.h>

#include "drift/statistics.h"

typedef struct {
  guint64 n, selected;         /* rows with a known prediction; of them predicted positive */
  guint64 positives, recalled; /* of them labelled positive; of those predicted positive */
} GroupCounts;

typedef struct {
  const DriftGrid *grid;
  const DriftQuantity *quantity;
  const gchar *attribute;
  const DriftWindowSettings *settings;
  guint reference; /* group code */
  const GroupCounts *groups;
} Attribute;

static void count_groups(const DriftSchema *schema, const DriftLabelRow *rows, guint n, guint attribute,
                         GroupCounts *groups, guint n_groups)
{
  gint32 positive = (gint32)schema->positive_class;
  for (guint i = 0; i < n; i++) {
    if (attribute >= rows[i].n_groups || rows[i].groups[attribute] >= n_groups || rows[i].predicted_class < 0) continue;
    GroupCounts *group = &groups[rows[i].groups[attribute]];
    gboolean selected = rows[i].predicted_class == positive;
    group->n++;
    group->selected += selected;
    if (rows[i].label_class != positive) continue;
    group->positives++;
    group->recalled += selected;
  }
}

/* A verdict with both rates and their intervals; the metric's own value is still undefined. */
static DriftBiasVerdict *bias_new(const Attribute *attribute, guint group, const gchar *metric, guint64 successes,
                                  guint64 n, guint64 reference_successes, guint64 n_reference)
{
  double confidence = attribute->settings->confidence;
  DriftBiasVerdict *verdict = g_new0(DriftBiasVerdict, 1);
  *verdict =
      (DriftBiasVerdict){.metric = metric,
                         .attribute = g_strdup(attribute->attribute),
                         .group = drift_quantity_group_name(attribute->quantity, group),
                         .reference_group = drift_quantity_group_name(attribute->quantity, attribute->reference),
                         .n_group = n,
                         .n_reference = n_reference,
                         .rate_group = n > 0 ? (double)successes / (double)n : NAN,
                         .rate_reference = n_reference > 0 ? (double)reference_successes / (double)n_reference : NAN,
                         .value = NAN,
                         .low = NAN,
                         .high = NAN};
  drift_wilson_interval((double)successes, (double)n, confidence, &verdict->rate_group_low, &verdict->rate_group_high);
  drift_wilson_interval((double)reference_successes, (double)n_reference, confidence, &verdict->rate_reference_low,
                        &verdict->rate_reference_high);
  return verdict;
}

static DriftBiasVerdict *selection_rate(const Attribute *attribute, guint code)
{
  const GroupCounts *group = &attribute->groups[code], *reference = &attribute->groups[attribute->reference];
  DriftBiasVerdict *verdict =
      bias_new(attribute, code, "selection_rate", group->selected, group->n, reference->selected, reference->n);
  verdict->value = verdict->rate_group;
  verdict->low = verdict->rate_group_low;
  verdict->high = verdict->rate_group_high;
  return verdict;
}

/* Either group may be the disadvantaged one: with the bound .8 a ratio above 1/.8 is as far from equal. */
static DriftBiasVerdict *disparate_impact(const Attribute *attribute, guint code)
{
  const GroupCounts *group = &attribute->groups[code], *reference = &attribute->groups[attribute->reference];
  DriftBiasVerdict *verdict =
      bias_new(attribute, code, "disparate_impact", group->selected, group->n, reference->selected, reference->n);
  if (reference->selected == 0) {
    verdict->undefined = "the reference group's selection rate is 0";
    return verdict;
  }
  verdict->value = verdict->rate_group / verdict->rate_reference;
  drift_ratio_interval((double)group->selected, (double)group->n, (double)reference->selected, (double)reference->n,
                       attribute->settings->confidence, &verdict->low, &verdict->high);
  verdict->low = fmin(verdict->low, verdict->value);
  verdict->high = fmax(verdict->high, verdict->value);
  double bound = attribute->settings->disparate_impact_bound;
  verdict->breach = bound > 0 && (verdict->high < bound || verdict->low > 1 / bound);
  return verdict;
}

static DriftBiasVerdict *equal_opportunity(const Attribute *attribute, guint code)
{
  const GroupCounts *group = &attribute->groups[code], *reference = &attribute->groups[attribute->reference];
  DriftBiasVerdict *verdict = bias_new(attribute, code, "equal_opportunity_difference", group->recalled,
                                       group->positives, reference->recalled, reference->positives);
  if (group->positives == 0)
    verdict->undefined = "no row of the group is labelled positive (n = 0)";
  else if (reference->positives == 0)
    verdict->undefined = "no row of the reference group is labelled positive (n = 0)";
  if (verdict->undefined != NULL) return verdict;
  verdict->value = verdict->rate_group - verdict->rate_reference;
  drift_difference_interval((double)group->recalled, (double)group->positives, (double)reference->recalled,
                            (double)reference->positives, attribute->settings->confidence, &verdict->low,
                            &verdict->high);
  return verdict;
}

static void measure_attribute(Attribute *attribute, guint n_groups, GPtrArray *verdicts)
{
  guint64 least = MAX(attribute->settings->minimum_group, 1);
  attribute->reference = 0;
  while (attribute->reference < n_groups && attribute->groups[attribute->reference].n < least) attribute->reference++;
  for (guint code = attribute->reference; code < n_groups; code++) {
    if (attribute->groups[code].n < least) continue;
    g_ptr_array_add(verdicts, selection_rate(attribute, code));
    if (code == attribute->reference) continue;
    g_ptr_array_add(verdicts, disparate_impact(attribute, code));
    g_ptr_array_add(verdicts, equal_opportunity(attribute, code));
  }
}

static double distance_from_equal(const DriftBiasVerdict *verdict)
{
  return verdict->value > 0 ? fabs(log(verdict->value)) : INFINITY;
}

/* Breaches first, the worst ratio ahead; the others stay in order (the sort is stable). */
static gint compare_bias(gconstpointer a, gconstpointer b, gpointer user_data)
{
  (void)user_data;
  const DriftBiasVerdict *left = *(DriftBiasVerdict *const *)a, *right = *(DriftBiasVerdict *const *)b;
  if (left->breach != right->breach) return left->breach ? -1 : 1;
  if (!left->breach) return 0;
  double difference = distance_from_equal(right) - distance_from_equal(left);
  return (difference > 0) - (difference < 0);
}

void drift_bias_measure(const DriftGrid *grid, const DriftLabelRow *rows, guint n, const DriftWindowSettings *settings,
                        GPtrArray *verdicts)
{
  if (grid->schema->task != DRIFT_TASK_BINARY || n == 0) return;
  for (guint i = 0; i < grid->n_sensitive; i++) {
    const DriftQuantity *quantity = &grid->quantities[grid->sensitive[i]];
    guint n_groups = drift_quantity_n_groups(quantity);
    g_autofree GroupCounts *groups = g_new0(GroupCounts, n_groups);
    count_groups(grid->schema, rows, n, i, groups, n_groups);
    Attribute attribute = {.grid = grid,
                           .quantity = quantity,
                           .attribute = drift_schema_get_feature(grid->schema, grid->sensitive[i])->name,
                           .settings = settings,
                           .groups = groups};
    measure_attribute(&attribute, n_groups, verdicts);
  }
  g_qsort_with_data(verdicts->pdata, (gint)verdicts->len, sizeof(gpointer), compare_bias, NULL);
}
