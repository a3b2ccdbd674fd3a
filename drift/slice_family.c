/* Slices tested together: Holm's correction, ranking, and no slice twice. */
#include <math.h>
#include <stdlib.h>

#include "drift/distributions.h"
#include "drift/slice_internal.h"

void drift_slice_family_init(DriftSliceFamily *family, DriftSliceKind kind, double level, double confidence,
                             guint64 rows_reference, guint64 rows_window)
{
  *family = (DriftSliceFamily){.kind = kind,
                               .level = level,
                               .confidence = confidence,
                               .rows_reference = rows_reference,
                               .rows_window = rows_window,
                               .candidates = g_array_new(FALSE, FALSE, sizeof(DriftSliceCandidate))};
}

void drift_slice_family_clear(DriftSliceFamily *family)
{
  g_clear_pointer(&family->candidates, g_array_unref);
}

gboolean drift_slice_family_test(DriftSliceFamily *family, double p)
{
  if (isnan(p)) return FALSE;
  family->n_tests++;
  return p <= family->level;
}

void drift_slice_family_add(DriftSliceFamily *family, const DriftSliceCandidate *candidate)
{
  g_array_append_val(family->candidates, *candidate);
}

/* Ties are broken by features and parts, so that the list does not depend on the order of tests. */
static gint compare_places(const DriftSliceCandidate *left, const DriftSliceCandidate *right)
{
  for (guint i = 0; i < 2; i++)
    if (left->features[i] != right->features[i]) return left->features[i] < right->features[i] ? -1 : 1;
  for (guint i = 0; i < 2; i++)
    if (left->parts[i] != right->parts[i]) return left->parts[i] < right->parts[i] ? -1 : 1;
  return 0;
}

static gint compare_p(gconstpointer a, gconstpointer b)
{
  const DriftSliceCandidate *left = a, *right = b;
  if (left->p != right->p) return left->p < right->p ? -1 : 1;
  return compare_places(left, right);
}

static gint compare_effect(gconstpointer a, gconstpointer b)
{
  const DriftSliceCandidate *left = a, *right = b;
  if (left->effect != right->effect) return left->effect > right->effect ? -1 : 1;
  return compare_places(left, right);
}

/* Sorted by p, only those that Holm rejects. Tests above the level are not stored, and every stored p is smaller, so
 * the ranks of these are right. */
static void keep_rejected(DriftSliceFamily *family)
{
  GArray *candidates = family->candidates;
  g_array_sort(candidates, compare_p);
  guint kept = 0;
  while (kept < candidates->len &&
         g_array_index(candidates, DriftSliceCandidate, kept).p * (double)(family->n_tests - kept) <= family->level)
    kept++;
  g_array_set_size(candidates, kept);
}

static DriftSlice *finish(const DriftSliceFamily *family, const DriftSliceCandidate *candidate, const DriftParts *parts,
                          double p_adjusted)
{
  DriftSlice *slice = g_new0(DriftSlice, 1);
  *slice = (DriftSlice){.kind = family->kind,
                        .n_conditions = candidate->features[1] == DRIFT_NO_FEATURE ? 1 : 2,
                        .n_reference = candidate->n_reference,
                        .n_window = candidate->n_window,
                        .rows_reference = family->rows_reference,
                        .rows_window = family->rows_window,
                        .reference = candidate->reference,
                        .window = candidate->window,
                        .other = candidate->other,
                        .difference = candidate->difference,
                        .low = candidate->low,
                        .high = candidate->high,
                        .effect = candidate->effect,
                        .p = candidate->p,
                        .p_adjusted = p_adjusted};
  for (guint i = 0; i < slice->n_conditions; i++) {
    const DriftParts *of = &parts[candidate->features[i]];
    slice->features[i] = g_strdup(of->feature);
    slice->conditions[i] = g_strdup(of->conditions[candidate->parts[i]]);
  }
  return slice;
}

/* A slice of the same features on the same side of what it is compared with is on the list already. */
static gboolean is_repeated(GHashTable *listed, const DriftSliceCandidate *candidate)
{
  gchar *key =
      g_strdup_printf("%u %u %d", candidate->features[0], candidate->features[1], candidate->window > candidate->other);
  return !g_hash_table_add(listed, key);
}

typedef struct {
  DriftSliceCandidate candidate; /* first: compare_effect reads it */
  double p_adjusted;
} Ranked;

GPtrArray *drift_slice_family_list(DriftSliceFamily *family, const DriftParts *parts, guint most)
{
  GPtrArray *slices = g_ptr_array_new_with_free_func(drift_slice_free);
  g_autoptr(GHashTable) listed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr(GArray) ranked = g_array_new(FALSE, FALSE, sizeof(Ranked));
  double largest = 0; /* adjusted p never falls with rank */
  keep_rejected(family);
  for (guint i = 0; i < family->candidates->len; i++) {
    Ranked entry = {.candidate = g_array_index(family->candidates, DriftSliceCandidate, i)};
    largest = fmax(largest, fmin(1, entry.candidate.p * (double)(family->n_tests - i)));
    entry.p_adjusted = largest;
    g_array_append_val(ranked, entry);
  }
  g_array_sort(ranked, compare_effect);
  for (guint i = 0; i < ranked->len && slices->len < most; i++) {
    const Ranked *entry = &g_array_index(ranked, Ranked, i);
    if (is_repeated(listed, &entry->candidate)) continue;
    g_ptr_array_add(slices, finish(family, &entry->candidate, parts, entry->p_adjusted));
  }
  return slices;
}

/* --- the test ----------------------------------------------------------------------------------------------------- */

static double term(double observed, double expected)
{
  return observed > 0 ? observed * log(observed / expected) : 0;
}

double drift_slice_p_two_rates(double count, double n, double other_count, double n_other)
{
  if (!(n > 0) || !(n_other > 0)) return NAN;
  double total = n + n_other, both = count + other_count;
  double expected = both / total * n, apart = fabs(count - expected) - .5;
  if (apart <= 0 || both == 0 || both == total) return 1;
  double moved = count > expected ? expected + apart : expected - apart, rest = both - moved;
  double ratio = term(moved, expected) + term(n - moved, n - expected) + term(rest, both - expected) +
                 term(n_other - rest, n_other - both + expected);
  return 2 * drift_normal_sf(sqrt(fmax(0, 2 * ratio)));
}
