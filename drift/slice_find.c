/* All slices of two tables: which pairs are counted, the tests, the lists. */
#include <math.h>
#include <stdlib.h>

#include "drift/multiple_testing.h"
#include "drift/slice_rows_internal.h"

/* Dependences whose scatter over the reference is measured: a few milliseconds each. */
#define MOST_MEASURED 100

typedef struct {
  const DriftGrid *grid;
  const DriftSliceSettings *settings;
  const gboolean *outcomes;
  DriftPartition *partitions; /* [n_features] */
  DriftSliceSide reference, current;
  gboolean has_losses;
  guint8 *zeros;
  DriftSliceFamily families[DRIFT_N_SLICE_KINDS];
  GArray *dependences; /* of Dependence */
} Search;

typedef struct {
  guint a, b;
  DriftDependence test;
} Dependence;

typedef struct {
  guint a, b;
  double joint, loss; /* how much the pair differs on the screening rows, comparable among pairs */
  gboolean kept;
} Pair;

void drift_slice_settings_init(DriftSliceSettings *settings)
{
  *settings = (DriftSliceSettings){.most = 10,
                                   .most_pairs = 5000,
                                   .screening_rows = 10000,
                                   .joint_level = .01,
                                   .minimum_effect = .1,
                                   .confidence = .95};
}

/* --- one pair, one feature ---------------------------------------------------------------------------------------- */

static gboolean is_outcome(const Search *search, guint feature)
{
  return search->outcomes != NULL && search->outcomes[feature];
}

static void count_pair(const Search *search, const DriftSliceSide *reference, const DriftSliceSide *current, guint a,
                       guint b, DriftJoint *joint, DriftJoint *expected)
{
  *joint = (DriftJoint){.n_a = search->partitions[a].n_parts, .n_b = search->partitions[b].n_parts};
  drift_slice_count(reference, a, b, joint->reference);
  drift_slice_count(current, a, b, joint->window);
  drift_joint_sum(joint);
  drift_joint_fit(joint, expected);
}

/* b DRIFT_NO_FEATURE: one feature. FALSE: there is nothing to sum. */
static gboolean sum_losses(const Search *search, const DriftSliceSide *reference, const DriftSliceSide *current,
                           guint a, guint b, DriftLossTable *table)
{
  gboolean single = b == DRIFT_NO_FEATURE;
  if (!search->has_losses || is_outcome(search, a) || (!single && is_outcome(search, b))) return FALSE;
  table->n_a = search->partitions[a].n_parts;
  table->n_b = single ? 1 : search->partitions[b].n_parts;
  table->is_binary = search->current.is_binary;
  drift_slice_sum_losses(reference, a, b, search->zeros, table->reference);
  drift_slice_sum_losses(current, a, b, search->zeros, table->window);
  return TRUE;
}

static void test_losses(Search *search, guint a, guint b)
{
  DriftLossTable table;
  if (!sum_losses(search, &search->reference, &search->current, a, b, &table)) return;
  drift_loss_slices(&table, a, b, &search->families[DRIFT_SLICE_LOSS], &search->families[DRIFT_SLICE_LOSS_RISE]);
}

static void test_feature(Search *search, guint feature)
{
  double reference[DRIFT_MAX_PARTS] = {0}, current[DRIFT_MAX_PARTS] = {0};
  const guint8 *before = drift_slice_view_get(&search->reference.all, feature);
  const guint8 *now = drift_slice_view_get(&search->current.all, feature);
  for (guint64 i = 0; i < search->reference.all.n; i++) reference[before[i]]++;
  for (guint64 i = 0; i < search->current.all.n; i++) current[now[i]]++;
  drift_part_slices(reference, current, search->partitions[feature].n_parts, feature,
                    &search->families[DRIFT_SLICE_SHARE]);
  test_losses(search, feature, DRIFT_NO_FEATURE);
}

static void test_pair(Search *search, guint a, guint b)
{
  DriftJoint joint, expected;
  Dependence dependence = {.a = a, .b = b};
  count_pair(search, &search->reference, &search->current, a, b, &joint, &expected);
  drift_joint_test(&joint, &expected, 1, 1, &dependence.test);
  g_array_append_val(search->dependences, dependence);
  if (joint.n > 0 && joint.m > 0) drift_joint_slices(&joint, &expected, a, b, &search->families[DRIFT_SLICE_SHARE]);
  test_losses(search, a, b);
}

/* --- which pairs -------------------------------------------------------------------------------------------------- */

/* How far chi-squared is above its mean, in its standard deviations. */
static double differs_jointly(const Search *search, const DriftSliceSide *reference, const DriftSliceSide *current,
                              guint a, guint b)
{
  DriftJoint joint, expected;
  DriftDependence test;
  count_pair(search, reference, current, a, b, &joint, &expected);
  drift_joint_test(&joint, &expected, 1, 1, &test);
  return isnan(test.p) ? -INFINITY : (test.chi_squared - test.df) / sqrt(2 * test.df);
}

/* -ln of the smallest p of the pair's slices. */
static double differs_in_losses(const Search *search, const DriftSliceSide *reference, const DriftSliceSide *current,
                                guint a, guint b)
{
  DriftLossTable table;
  double smallest = 1;
  if (!sum_losses(search, reference, current, a, b, &table)) return -INFINITY;
  DriftSliceFamily families[2];
  drift_slice_family_init(&families[0], DRIFT_SLICE_LOSS, 1, .95, 0, 0);
  drift_slice_family_init(&families[1], DRIFT_SLICE_LOSS_RISE, 1, .95, 0, 0);
  drift_loss_slices(&table, a, b, &families[0], &families[1]);
  for (guint f = 0; f < 2; f++) {
    for (guint i = 0; i < families[f].candidates->len; i++)
      smallest = fmin(smallest, g_array_index(families[f].candidates, DriftSliceCandidate, i).p);
    drift_slice_family_clear(&families[f]);
  }
  return -log(fmax(smallest, 1e-300));
}

static gint compare_places(const Pair *left, const Pair *right)
{
  if (left->a != right->a) return left->a < right->a ? -1 : 1;
  return (left->b > right->b) - (left->b < right->b);
}

static gint compare_joint(const void *a, const void *b)
{
  const Pair *left = a, *right = b;
  if (left->joint != right->joint) return left->joint > right->joint ? -1 : 1;
  return compare_places(left, right);
}

static gint compare_loss(const void *a, const void *b)
{
  const Pair *left = a, *right = b;
  if (left->loss != right->loss) return left->loss > right->loss ? -1 : 1;
  return compare_places(left, right);
}

/* The first pairs of the order that are not kept yet. */
static void keep(Pair *pairs, guint64 n, guint64 most)
{
  for (guint64 i = 0; i < n && most > 0; i++) {
    if (pairs[i].kept) continue;
    pairs[i].kept = TRUE;
    most--;
  }
}

/* With losses half of the pairs are chosen by them. */
static void screen(const Search *search, Pair *pairs, guint64 n)
{
  guint64 most = search->settings->most_pairs, by_loss = search->has_losses ? most / 2 : 0;
  DriftSliceSide reference, current;
  drift_slice_side_sample(&search->reference, search->settings->screening_rows, &reference);
  drift_slice_side_sample(&search->current, search->settings->screening_rows, &current);
  for (guint64 i = 0; i < n; i++) {
    pairs[i].joint = differs_jointly(search, &reference, &current, pairs[i].a, pairs[i].b);
    if (by_loss > 0) pairs[i].loss = differs_in_losses(search, &reference, &current, pairs[i].a, pairs[i].b);
  }
  qsort(pairs, n, sizeof *pairs, compare_joint);
  keep(pairs, n, most - by_loss);
  qsort(pairs, n, sizeof *pairs, compare_loss);
  keep(pairs, n, by_loss);
  drift_slice_side_clear(&reference);
  drift_slice_side_clear(&current);
}

static GArray *list_pairs(const Search *search)
{
  guint n = search->grid->n_features;
  GArray *pairs = g_array_new(FALSE, FALSE, sizeof(Pair));
  for (guint a = 0; a < n; a++)
    for (guint b = a + 1; b < n; b++) {
      Pair pair = {.a = a, .b = b};
      g_array_append_val(pairs, pair);
    }
  Pair *all = (Pair *)(gpointer)pairs->data;
  if (pairs->len > search->settings->most_pairs)
    screen(search, all, pairs->len);
  else
    keep(all, pairs->len, pairs->len);
  return pairs;
}

/* A pair left out was chosen to be so by the data: its slices count as tests that found nothing. */
static void leave_out(Search *search, const Pair *pair)
{
  guint64 n = (guint64)search->partitions[pair->a].n_parts * search->partitions[pair->b].n_parts;
  gboolean of_losses = search->has_losses && !is_outcome(search, pair->a) && !is_outcome(search, pair->b);
  search->families[DRIFT_SLICE_SHARE].n_tests += n;
  if (!of_losses) return;
  search->families[DRIFT_SLICE_LOSS].n_tests += n;
  search->families[DRIFT_SLICE_LOSS_RISE].n_tests += n;
}

/* --- results ------------------------------------------------------------------------------------------------------ */

static gint compare_dependences(gconstpointer a, gconstpointer b)
{
  const Dependence *left = a, *right = b;
  if (left->test.drift != right->test.drift) return left->test.drift ? -1 : 1;
  double x = left->test.drift ? -left->test.effect : left->test.p,
         y = right->test.drift ? -right->test.effect : right->test.p;
  if (isnan(x) != isnan(y)) return isnan(x) ? 1 : -1;
  if (!isnan(x) && x != y) return x < y ? -1 : 1;
  if (left->a != right->a) return left->a < right->a ? -1 : 1;
  return (left->b > right->b) - (left->b < right->b);
}

/* The strongest candidates for drift get what their statistic scatters by itself over the reference; the others, should
 * there be so many, the largest of it. */
static void correct_candidates(Search *search, guint64 n)
{
  GArray *tests = search->dependences;
  DriftGridPair largest = {.inflation = 1, .concentration = 1};
  for (guint i = 0; i < tests->len; i++) {
    DriftDependence *test = &g_array_index(tests, Dependence, i).test;
    test->drift =
        test->p * (double)n <= search->settings->joint_level && test->effect >= search->settings->minimum_effect;
  }
  g_array_sort(tests, compare_dependences);
  for (guint i = 0; i < tests->len && g_array_index(tests, Dependence, i).test.drift; i++) {
    Dependence *dependence = &g_array_index(tests, Dependence, i);
    DriftGridPair pair = largest;
    DriftJoint joint, expected;
    if (i < MOST_MEASURED)
      drift_pair_measure_scatter(drift_slice_view_get(&search->reference.all, dependence->a),
                                 drift_slice_view_get(&search->reference.all, dependence->b), search->reference.all.n,
                                 search->partitions[dependence->a].n_parts, search->partitions[dependence->b].n_parts,
                                 &pair);
    largest.inflation = fmax(largest.inflation, pair.inflation);
    largest.concentration = fmax(largest.concentration, pair.concentration);
    count_pair(search, &search->reference, &search->current, dependence->a, dependence->b, &joint, &expected);
    drift_joint_test(&joint, &expected, pair.inflation, pair.concentration, &dependence->test);
  }
}

/* Holm over all pairs, those left out with p = 1. */
static void judge_dependences(Search *search, DriftSlices *result)
{
  GArray *tests = search->dependences;
  correct_candidates(search, tests->len + result->n_pairs_left_out);
  guint64 n = tests->len + result->n_pairs_left_out;
  g_autofree double *p = g_new(double, n + 1), *adjusted = g_new(double, n + 1);
  for (guint64 i = 0; i < n; i++) p[i] = i < tests->len ? g_array_index(tests, Dependence, i).test.p : 1;
  drift_adjust_holm(p, (guint)n, adjusted);
  for (guint i = 0; i < tests->len; i++) {
    DriftDependence *test = &g_array_index(tests, Dependence, i).test;
    test->p_adjusted = adjusted[i];
    test->drift = adjusted[i] <= search->settings->joint_level && test->effect >= search->settings->minimum_effect;
    result->n_dependences += test->drift;
  }
  g_array_sort(tests, compare_dependences);
  for (guint i = 0; i < MIN(tests->len, search->settings->most); i++) {
    const Dependence *dependence = &g_array_index(tests, Dependence, i);
    DriftDependence *copy = g_memdup2(&dependence->test, sizeof dependence->test);
    copy->features[0] = g_strdup(drift_grid_quantity_name(search->grid, dependence->a));
    copy->features[1] = g_strdup(drift_grid_quantity_name(search->grid, dependence->b));
    g_ptr_array_add(result->dependences, copy);
  }
}

static double mean_loss(const DriftSliceSide *side)
{
  double sum = 0;
  for (guint64 i = 0; i < side->known.n; i++) sum += side->known.losses[i];
  return side->known.n > 0 ? sum / (double)side->known.n : NAN;
}

static void list_slices(Search *search, DriftSlices *result)
{
  guint n = search->grid->n_features;
  DriftParts *parts = g_new0(DriftParts, n + 1);
  for (guint f = 0; f < n; f++)
    drift_parts_init(&parts[f], drift_grid_quantity_name(search->grid, f), &search->grid->quantities[f],
                     &search->partitions[f]);
  for (guint kind = 0; kind < DRIFT_N_SLICE_KINDS; kind++) {
    result->n_tests[kind] = search->families[kind].n_tests;
    result->slices[kind] = drift_slice_family_list(&search->families[kind], parts, search->settings->most);
  }
  for (guint f = 0; f < n; f++) drift_parts_clear(&parts[f]);
  g_free(parts);
}

void drift_slices_free(DriftSlices *slices)
{
  if (slices == NULL) return;
  for (guint kind = 0; kind < DRIFT_N_SLICE_KINDS; kind++) g_clear_pointer(&slices->slices[kind], g_ptr_array_unref);
  g_clear_pointer(&slices->dependences, g_ptr_array_unref);
  g_free(slices);
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

static gboolean all_are_binary(const double *losses, guint64 n)
{
  for (guint64 i = 0; i < n; i++)
    if (isfinite(losses[i]) && losses[i] != 0 && losses[i] != 1) return FALSE;
  return TRUE;
}

static gboolean check_columns(const DriftGrid *grid, const DriftTable *table, const gchar *side, GError **error)
{
  for (guint f = 0; f < grid->n_features; f++) {
    const gchar *name = drift_grid_quantity_name(grid, f);
    if (drift_table_get_column(table, name) != NULL) continue;
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "slices: the %s rows have no column \"%s\"", side, name);
    return FALSE;
  }
  if (table->n_rows <= G_MAXUINT32) return TRUE;
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT,
              "slices: %" G_GUINT64_FORMAT " %s rows, the cap is 2^32 - 1: take a sample", table->n_rows, side);
  return FALSE;
}

static void search_init(Search *search, const DriftGrid *grid, const DriftSliceRows *rows,
                        const DriftSliceSettings *settings)
{
  *search = (Search){.grid = grid,
                     .settings = settings,
                     .outcomes = rows->outcomes,
                     .partitions = drift_slice_partitions(grid, rows->reference),
                     .has_losses = rows->reference_losses != NULL && rows->current_losses != NULL,
                     .zeros = g_malloc0(MAX(1, MAX(rows->reference->n_rows, rows->current->n_rows))),
                     .dependences = g_array_new(FALSE, FALSE, sizeof(Dependence))};
  gboolean is_binary = search->has_losses && all_are_binary(rows->reference_losses, rows->reference->n_rows) &&
                       all_are_binary(rows->current_losses, rows->current->n_rows);
  drift_slice_side_init(&search->reference, grid, search->partitions, rows->reference,
                        search->has_losses ? rows->reference_losses : NULL, is_binary);
  drift_slice_side_init(&search->current, grid, search->partitions, rows->current,
                        search->has_losses ? rows->current_losses : NULL, is_binary);
  for (guint kind = 0; kind < DRIFT_N_SLICE_KINDS; kind++) {
    gboolean share = kind == DRIFT_SLICE_SHARE;
    drift_slice_family_init(&search->families[kind], (DriftSliceKind)kind, DRIFT_SLICE_LEVEL, settings->confidence,
                            share ? search->reference.all.n : search->reference.known.n,
                            share ? search->current.all.n : search->current.known.n);
  }
}

static void search_clear(Search *search)
{
  for (guint f = 0; f < search->grid->n_features; f++) drift_partition_clear(&search->partitions[f]);
  g_free(search->partitions);
  g_free(search->zeros);
  drift_slice_side_clear(&search->reference);
  drift_slice_side_clear(&search->current);
  for (guint kind = 0; kind < DRIFT_N_SLICE_KINDS; kind++) drift_slice_family_clear(&search->families[kind]);
  g_array_unref(search->dependences);
}

DriftSlices *drift_slices_find(const DriftGrid *grid, const DriftSliceRows *rows, const DriftSliceSettings *settings,
                               GError **error)
{
  if (!check_columns(grid, rows->reference, "reference", error) ||
      !check_columns(grid, rows->current, "current", error))
    return NULL;
  Search search;
  search_init(&search, grid, rows, settings);
  DriftSlices *result = g_new0(DriftSlices, 1);
  result->dependences = g_ptr_array_new_with_free_func(drift_dependence_free);
  for (guint f = 0; f < grid->n_features; f++) test_feature(&search, f);
  g_autoptr(GArray) pairs = list_pairs(&search);
  result->n_pairs = pairs->len;
  for (guint i = 0; i < pairs->len; i++) {
    const Pair *pair = &g_array_index(pairs, Pair, i);
    if (pair->kept) {
      test_pair(&search, pair->a, pair->b);
      continue;
    }
    leave_out(&search, pair);
    result->n_pairs_left_out++;
  }
  judge_dependences(&search, result);
  list_slices(&search, result);
  result->losses_reference = search.reference.known.n;
  result->losses_current = search.current.known.n;
  result->mean_loss_reference = mean_loss(&search.reference);
  result->mean_loss_current = mean_loss(&search.current);
  search_clear(&search);
  return result;
}
