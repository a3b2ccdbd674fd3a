/* Slices and dependences in the verdict over one window. */
#include <math.h>

#include "drift/multiple_testing.h"
#include "drift/slice_internal.h"
#include "drift/window_internal.h"

#define MOST_SLICES 10
#define MAX_EVIDENCE_LOG 700

static void get_joint(const DriftAccumulator *profile, const DriftAccumulator *window, guint index, DriftJoint *joint)
{
  const DriftGridPairs *pairs = &profile->grid->joint;
  *joint = (DriftJoint){.n_a = pairs->partitions[pairs->pairs[index].first].n_parts,
                        .n_b = pairs->partitions[pairs->pairs[index].second].n_parts};
  for (guint cell = 0; cell < DRIFT_JOINT_CELLS; cell++) {
    joint->reference[cell] = (double)drift_counts_get(&profile->joint, index * DRIFT_JOINT_CELLS + cell);
    joint->window[cell] = (double)drift_counts_get(&window->joint, index * DRIFT_JOINT_CELLS + cell);
  }
  drift_joint_sum(joint);
}

/* --- dependences -------------------------------------------------------------------------------------------------- */

/* Those that drift by effect, the others by p, undefined last; the order of the grid among equals (the sort is stable).
 */
static gint compare_dependences(gconstpointer a, gconstpointer b, gpointer user_data)
{
  (void)user_data;
  const DriftDependence *left = *(DriftDependence *const *)a, *right = *(DriftDependence *const *)b;
  if (left->drift != right->drift) return left->drift ? -1 : 1;
  if (left->drift) return (left->effect < right->effect) - (left->effect > right->effect);
  if (isnan(left->p) || isnan(right->p)) return isnan(left->p) - isnan(right->p);
  return (left->p > right->p) - (left->p < right->p);
}

/* Holm's correction over the pairs, which holds whatever the features have in common. The evidence is that of features:
 * a dependence at its own level is as much evidence as a feature at its level. */
static void judge_dependences(const DriftWindowSettings *settings, DriftWindowVerdict *verdict)
{
  guint n = verdict->dependences->len;
  g_autofree double *p = g_new(double, n + 1), *adjusted = g_new(double, n + 1);
  double smallest = 1;
  for (guint i = 0; i < n; i++) p[i] = ((DriftDependence *)g_ptr_array_index(verdict->dependences, i))->p;
  drift_adjust_holm(p, n, adjusted);
  for (guint i = 0; i < n; i++) {
    DriftDependence *dependence = g_ptr_array_index(verdict->dependences, i);
    dependence->p_adjusted = adjusted[i];
    if (isnan(adjusted[i])) continue;
    smallest = fmin(smallest, adjusted[i]);
    dependence->drift = adjusted[i] <= settings->joint_level && dependence->effect >= settings->minimum_effect;
    verdict->drift = verdict->drift || dependence->drift;
  }
  double evidence = MAX_EVIDENCE_LOG;
  if (smallest > 0) evidence = -log(smallest) - log(settings->false_discovery_rate) + log(settings->joint_level);
  verdict->evidence_log = fmax(verdict->evidence_log, fmin(evidence, MAX_EVIDENCE_LOG));
  g_qsort_with_data(verdict->dependences->pdata, (gint)n, sizeof(gpointer), compare_dependences, NULL);
}

/* --- slices ------------------------------------------------------------------------------------------------------- */

/* Parts of every quantity: the grid's where it has them, else chosen from the profile. */
static DriftPartition *partitions_of(const DriftAccumulator *profile)
{
  const DriftGrid *grid = profile->grid;
  DriftPartition *partitions = g_new0(DriftPartition, grid->n_quantities);
  for (guint i = 0; i < grid->n_quantities; i++) {
    const DriftQuantity *quantity = &grid->quantities[i];
    DriftPartMarks marks = grid->joint.partitions[i].marks;
    if (grid->joint.partitions[i].part_of == NULL) {
      g_autofree guint64 *counts = g_new(guint64, quantity->n_bins + 1);
      for (guint bin = 0; bin < quantity->n_bins; bin++) counts[bin] = drift_counts_get(&profile->counts[i], bin);
      drift_part_marks_choose(quantity, counts, &marks);
    }
    drift_partition_init(&partitions[i], quantity, &marks);
  }
  return partitions;
}

static void sum_parts(const DriftAccumulator *accumulator, guint quantity, const DriftPartition *partition,
                      double parts[DRIFT_MAX_PARTS])
{
  const DriftCounts *counts = &accumulator->counts[quantity];
  for (guint part = 0; part < DRIFT_MAX_PARTS; part++) parts[part] = 0;
  for (guint cell = 0; cell < counts->n_cells; cell++)
    parts[partition->part_of[cell]] += (double)drift_counts_get(counts, cell);
}

/* An output that a side has no value of at all was not logged there: its share is no change of the traffic. */
static gboolean is_logged(const double *parts, guint n_parts)
{
  double values = 0;
  for (guint part = 0; part + 1 < n_parts; part++) values += parts[part];
  return values > 0;
}

static void test_single(const DriftAccumulator *profile, const DriftAccumulator *window,
                        const DriftPartition *partitions, DriftSliceFamily *family)
{
  const DriftGrid *grid = profile->grid;
  for (guint i = 0; i < grid->n_quantities; i++) {
    double reference[DRIFT_MAX_PARTS], now[DRIFT_MAX_PARTS];
    guint n_parts = partitions[i].n_parts;
    sum_parts(profile, i, &partitions[i], reference);
    sum_parts(window, i, &partitions[i], now);
    if (i >= grid->n_features && (!is_logged(reference, n_parts) || !is_logged(now, n_parts))) continue;
    drift_part_slices(reference, now, n_parts, i, family);
  }
}

/* Of the quantities that a candidate names: in most windows there is none, and texts take longer than tests. */
static DriftParts *name_parts(const DriftGrid *grid, const DriftPartition *partitions, const DriftSliceFamily *family)
{
  DriftParts *parts = g_new0(DriftParts, grid->n_quantities);
  for (guint c = 0; c < family->candidates->len; c++)
    for (guint k = 0; k < 2; k++) {
      guint i = g_array_index(family->candidates, DriftSliceCandidate, c).features[k];
      if (i == DRIFT_NO_FEATURE || parts[i].feature != NULL) continue;
      drift_parts_init(&parts[i], drift_grid_quantity_name(grid, i), &grid->quantities[i], &partitions[i]);
    }
  return parts;
}

static void judge_pairs(const DriftAccumulator *profile, const DriftAccumulator *window, DriftSliceFamily *family,
                        DriftWindowVerdict *verdict)
{
  const DriftGrid *grid = profile->grid;
  for (guint i = 0; i < grid->joint.n; i++) {
    const DriftGridPair *pair = &grid->joint.pairs[i];
    DriftJoint joint, expected;
    DriftDependence *dependence = g_new(DriftDependence, 1);
    get_joint(profile, window, i, &joint);
    drift_joint_fit(&joint, &expected);
    drift_joint_test(&joint, &expected, pair->inflation, pair->concentration, dependence);
    dependence->features[0] = g_strdup(drift_grid_quantity_name(grid, pair->first));
    dependence->features[1] = g_strdup(drift_grid_quantity_name(grid, pair->second));
    g_ptr_array_add(verdict->dependences, dependence);
    if (joint.n > 0 && joint.m > 0) drift_joint_slices(&joint, &expected, pair->first, pair->second, family);
  }
}

static void judge_traffic(const DriftAccumulator *profile, const DriftAccumulator *window,
                          const DriftWindowSettings *settings, DriftWindowVerdict *verdict)
{
  const DriftGrid *grid = profile->grid;
  DriftPartition *partitions = partitions_of(profile);
  DriftSliceFamily family;
  drift_slice_family_init(&family, DRIFT_SLICE_SHARE, DRIFT_SLICE_LEVEL, settings->confidence, profile->n_events,
                          window->n_events);
  test_single(profile, window, partitions, &family);
  judge_pairs(profile, window, &family, verdict);
  judge_dependences(settings, verdict);
  DriftParts *parts = name_parts(grid, partitions, &family);
  verdict->slices = drift_slice_family_list(&family, parts, MOST_SLICES);
  drift_slice_family_clear(&family);
  for (guint i = 0; i < grid->n_quantities; i++) {
    drift_partition_clear(&partitions[i]);
    drift_parts_clear(&parts[i]);
  }
  g_free(partitions);
  g_free(parts);
}

void drift_window_judge_slices(const DriftAccumulator *profile, const DriftAccumulator *window,
                               const DriftLabelRow *labels, guint n_labels, const DriftWindowSettings *settings,
                               DriftWindowVerdict *verdict)
{
  const DriftGrid *grid = profile->grid;
  if (grid->joint.n == 0) return;
  verdict->dependences = g_ptr_array_new_with_free_func(drift_dependence_free);
  if (window->n_events > 0)
    judge_traffic(profile, window, settings, verdict);
  else
    verdict->slices = drift_slices_of_labels(grid, labels, n_labels, settings, MOST_SLICES);
}
