/* Chooses from the reference which pairs of quantities are counted together, and measures how their joint statistic
 * scatters over blocks of the reference. */
#include <math.h>
#include <stdlib.h>

#include "drift/slice_internal.h"

#define MOST_SAMPLE_ROWS 20000
#define LEAST_SAMPLE_ROWS 500
#define MOST_LOOK_UPS 2e9 /* cells looked up over all pairs: seconds, for 4,096 features too */
#define MOST_OF_PREDICTION 4
#define MOST_OF_FEATURE 4
#define SMALLEST_BLOCK 100
#define MOST_BLOCKS 64 /* of one size */

typedef struct {
  guint first, second; /* indices of candidates */
  float information;   /* nats, less its bias under independence */
} RankedPair;

typedef struct {
  const DriftQuantity *quantities;
  guint n_features;
  guint64 n_rows;             /* of the sample */
  guint n;                    /* candidates: features and, last, the prediction when the reference has it */
  guint *quantity;            /* [n] */
  const DriftColumn **column; /* [n] */
  DriftPartition *partitions; /* [n] */
  guint8 *parts;              /* [n * n_rows] */
} Choice;

/* --- the sample --------------------------------------------------------------------------------------------------- */

/* Parts of rows that lie evenly over the reference. */
static void sample_candidate(Choice *choice, guint index, guint64 reference_rows)
{
  const DriftQuantity *quantity = &choice->quantities[choice->quantity[index]];
  DriftPartMarks marks;
  drift_part_marks_sample(quantity, choice->column[index], reference_rows, choice->n_rows, &marks);
  drift_partition_init(&choice->partitions[index], quantity, &marks);
  guint8 *parts = choice->parts + index * choice->n_rows;
  for (guint64 i = 0; i < choice->n_rows; i++) {
    DriftValue value = drift_column_get_value(choice->column[index], reference_rows * i / choice->n_rows);
    parts[i] = drift_partition_of_value(&choice->partitions[index], quantity, &value);
  }
}

static void choice_init(Choice *choice, const DriftSchema *schema, const DriftQuantity *quantities,
                        const DriftTable *reference)
{
  guint n_features = drift_schema_n_features(schema);
  const DriftColumn *prediction = drift_grid_output_column(schema, reference, DRIFT_OUTPUT_PREDICTION);
  guint n = n_features + (prediction != NULL ? 1 : 0);
  double n_pairs = fmax(1, .5 * n * (n - 1.0));
  double rows = CLAMP(MOST_LOOK_UPS / n_pairs, LEAST_SAMPLE_ROWS, MOST_SAMPLE_ROWS);
  *choice = (Choice){.quantities = quantities,
                     .n_features = n_features,
                     .n_rows = MIN(reference->n_rows, (guint64)rows),
                     .n = n,
                     .quantity = g_new(guint, n + 1),
                     .column = g_new(const DriftColumn *, n + 1),
                     .partitions = g_new0(DriftPartition, n + 1)};
  choice->parts = g_malloc(MAX(1, n * choice->n_rows));
  for (guint i = 0; i < n; i++) {
    choice->quantity[i] = i < n_features ? i : n_features + DRIFT_OUTPUT_PREDICTION;
    choice->column[i] =
        i < n_features ? drift_table_get_column(reference, drift_schema_get_feature(schema, i)->name) : prediction;
    sample_candidate(choice, i, reference->n_rows);
  }
}

static void choice_clear(Choice *choice)
{
  for (guint i = 0; i < choice->n; i++) drift_partition_clear(&choice->partitions[i]);
  g_free(choice->partitions);
  g_free(choice->quantity);
  g_free(choice->column);
  g_free(choice->parts);
}

/* --- which pairs -------------------------------------------------------------------------------------------------- */

/* Mutual information of the sample less its mean under independence, (I - 1)(J - 1)/(2 n) (Miller 1955, Madow); NaN
 * when a side has a single part. */
static double information_of(const Choice *choice, guint first, guint second)
{
  guint32 cells[DRIFT_JOINT_CELLS];
  double rows[DRIFT_MAX_PARTS] = {0}, columns[DRIFT_MAX_PARTS] = {0}, n = (double)choice->n_rows, sum = 0;
  guint n_a = choice->partitions[first].n_parts, n_b = choice->partitions[second].n_parts, filled[2] = {0, 0};
  drift_count_joint(choice->parts + first * choice->n_rows, choice->parts + second * choice->n_rows, choice->n_rows,
                    cells);
  for (guint a = 0; a < n_a; a++)
    for (guint b = 0; b < n_b; b++) {
      double count = cells[a * DRIFT_MAX_PARTS + b];
      rows[a] += count;
      columns[b] += count;
      if (count > 0) sum += count * log(count);
    }
  for (guint i = 0; i < DRIFT_MAX_PARTS; i++) {
    filled[0] += rows[i] > 0;
    filled[1] += columns[i] > 0;
    if (rows[i] > 0) sum -= rows[i] * log(rows[i]);
    if (columns[i] > 0) sum -= columns[i] * log(columns[i]);
  }
  if (filled[0] < 2 || filled[1] < 2) return NAN;
  return sum / n + log(n) - (filled[0] - 1) * (filled[1] - 1) / (2 * n);
}

static gint compare_pairs(gconstpointer a, gconstpointer b)
{
  const RankedPair *left = a, *right = b;
  if (left->information != right->information) return left->information > right->information ? -1 : 1;
  if (left->first != right->first) return left->first < right->first ? -1 : 1;
  return (left->second > right->second) - (left->second < right->second);
}

static GArray *rank_pairs(const Choice *choice)
{
  GArray *ranked = g_array_new(FALSE, FALSE, sizeof(RankedPair));
  for (guint first = 0; first < choice->n; first++)
    for (guint second = first + 1; second < choice->n; second++) {
      double information = information_of(choice, first, second);
      if (isnan(information)) continue;
      RankedPair pair = {first, second, (float)information};
      g_array_append_val(ranked, pair);
    }
  g_array_sort(ranked, compare_pairs);
  return ranked;
}

/* Takes in rank order; pairs with the prediction first, up to their own number. */
static GArray *take_pairs(const Choice *choice, const GArray *ranked, guint max_pairs)
{
  GArray *taken = g_array_new(FALSE, FALSE, sizeof(RankedPair));
  g_autofree guint *uses = g_new0(guint, choice->n + 1);
  guint of_prediction = 0;
  for (guint pass = 0; pass < 2; pass++)
    for (guint i = 0; i < ranked->len && taken->len < max_pairs; i++) {
      const RankedPair *pair = &g_array_index(ranked, RankedPair, i);
      gboolean with_prediction = pair->second >= choice->n_features;
      if (with_prediction != (pass == 0)) continue;
      if (with_prediction && of_prediction >= MOST_OF_PREDICTION) break;
      if (uses[pair->first] >= MOST_OF_FEATURE || (!with_prediction && uses[pair->second] >= MOST_OF_FEATURE)) continue;
      uses[pair->first]++;
      uses[pair->second]++;
      of_prediction += with_prediction;
      g_array_append_val(taken, *pair);
    }
  return taken;
}

static gint compare_places(gconstpointer a, gconstpointer b)
{
  const DriftGridPair *left = a, *right = b;
  if (left->first != right->first) return left->first < right->first ? -1 : 1;
  return (left->second > right->second) - (left->second < right->second);
}

/* --- dispersion over blocks --------------------------------------------------------------------------------------- */

typedef struct {
  double mean, variance; /* of chi-squared over its degrees of freedom; 1 and 2/df for independent rows */
  double df;             /* mean degrees of freedom of a block */
  guint n_blocks;
} Scatter;

/* Blocks of `size` neighbouring rows against all other rows. */
static void scatter_of(const guint8 *first, const guint8 *second, guint64 n_rows, guint64 size, const DriftJoint *all,
                       Scatter *scatter)
{
  guint64 n_blocks = n_rows / size, n_used = MIN(n_blocks, MOST_BLOCKS);
  double sum = 0, squares = 0, df = 0;
  *scatter = (Scatter){.n_blocks = 0};
  for (guint64 i = 0; i < n_used; i++) {
    guint64 start = n_blocks * i / n_used * size;
    guint32 cells[DRIFT_JOINT_CELLS];
    DriftJoint joint = *all, expected;
    drift_count_joint(first + start, second + start, size, cells);
    for (guint cell = 0; cell < DRIFT_JOINT_CELLS; cell++) {
      joint.window[cell] = cells[cell];
      joint.reference[cell] = all->reference[cell] - cells[cell];
    }
    drift_joint_sum(&joint);
    drift_joint_fit(&joint, &expected);
    DriftDependence test;
    drift_joint_test(&joint, &expected, 1, 1, &test);
    if (isnan(test.p)) continue;
    double ratio = test.chi_squared / test.df;
    sum += ratio;
    squares += ratio * ratio;
    df += test.df;
    scatter->n_blocks++;
  }
  if (scatter->n_blocks < 2) return;
  scatter->mean = sum / scatter->n_blocks;
  scatter->variance = fmax(0, squares - sum * scatter->mean) / (scatter->n_blocks - 1);
  scatter->df = df / scatter->n_blocks;
}

static void take_scatter(const Scatter *scatter, gboolean upper, DriftGridPair *pair)
{
  double error = 2 * sqrt(2 / (scatter->df * scatter->n_blocks)),
         spread_error = 2 * sqrt(2.0 / (scatter->n_blocks - 1));
  double excess = fmax(1, scatter->mean) * (upper ? 1 + error : 1);
  if (excess <= pair->inflation) return;
  gboolean certain = scatter->mean > 1 + error;
  double spread = scatter->variance * scatter->df / (2 * scatter->mean * scatter->mean);
  pair->inflation = excess;
  pair->concentration = certain ? CLAMP(spread * (1 + spread_error), 1, scatter->df) : 1;
}

/* A mean beyond what independent rows show by chance counts at the upper end of its error. So does that of the smallest
 * blocks whatever it is: there are most of them, and a small reference has to leave room for what it cannot show. */
void drift_pair_measure_scatter(const guint8 *first, const guint8 *second, guint64 n_rows, guint n_a, guint n_b,
                                DriftGridPair *pair)
{
  guint32 cells[DRIFT_JOINT_CELLS];
  DriftJoint all = {.n_a = n_a, .n_b = n_b};
  drift_count_joint(first, second, n_rows, cells);
  for (guint cell = 0; cell < DRIFT_JOINT_CELLS; cell++) all.reference[cell] = cells[cell];
  pair->inflation = pair->concentration = 1;
  for (guint64 size = n_rows / 4; size >= SMALLEST_BLOCK; size /= 2) {
    Scatter scatter;
    scatter_of(first, second, n_rows, size, &all, &scatter);
    if (scatter.n_blocks < 2) continue;
    double error = 2 * sqrt(2 / (scatter.df * scatter.n_blocks));
    take_scatter(&scatter, scatter.mean > 1 + error || size / 2 < SMALLEST_BLOCK, pair);
  }
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

/* The taken pairs with the partitions of their quantities. */
static void fill(const Choice *choice, const GArray *taken, guint n_quantities, DriftGridPairs *joint)
{
  joint->n = taken->len;
  drift_grid_pairs_init(joint, n_quantities);
  for (guint i = 0; i < taken->len; i++) {
    const RankedPair *pair = &g_array_index(taken, RankedPair, i);
    const guint sides[2] = {pair->first, pair->second};
    joint->pairs[i] = (DriftGridPair){.first = choice->quantity[pair->first], .second = choice->quantity[pair->second]};
    for (guint side = 0; side < 2; side++) {
      guint quantity = choice->quantity[sides[side]];
      if (joint->partitions[quantity].part_of != NULL) continue;
      drift_partition_init(&joint->partitions[quantity], &choice->quantities[quantity],
                           &choice->partitions[sides[side]].marks);
    }
  }
  qsort(joint->pairs, joint->n, sizeof *joint->pairs, compare_places);
}

void drift_grid_pairs_choose(const DriftSchema *schema, const DriftQuantity *quantities, const DriftTable *reference,
                             guint max_pairs, DriftGridPairs *joint)
{
  guint n_features = drift_schema_n_features(schema), n_quantities = n_features + DRIFT_N_OUTPUTS;
  *joint = (DriftGridPairs){.n = 0};
  if (max_pairs == 0) return;
  Choice choice;
  choice_init(&choice, schema, quantities, reference);
  g_autoptr(GArray) ranked = rank_pairs(&choice), taken = take_pairs(&choice, ranked, max_pairs);
  if (taken->len > 0) fill(&choice, taken, n_quantities, joint);
  g_autofree guint8 *first = g_malloc(MAX(1, reference->n_rows)), *second = g_malloc(MAX(1, reference->n_rows));
  for (guint i = 0; i < joint->n; i++) {
    DriftGridPair *pair = &joint->pairs[i];
    const DriftPartition *a = &joint->partitions[pair->first], *b = &joint->partitions[pair->second];
    /* Candidates are the features in order, then the prediction. */
    guint index = pair->second < n_features ? pair->second : n_features;
    drift_partition_encode(a, &quantities[pair->first], choice.column[pair->first], reference->n_rows, first);
    drift_partition_encode(b, &quantities[pair->second], choice.column[index], reference->n_rows, second);
    drift_pair_measure_scatter(first, second, reference->n_rows, a->n_parts, b->n_parts, pair);
  }
  choice_clear(&choice);
}
