#include "drift/grid_internal.h"

#include <string.h>

#include "drift/bytes_internal.h"

static const gchar *const output_names[DRIFT_N_OUTPUTS] = {
    [DRIFT_OUTPUT_PREDICTION] = "(prediction)", [DRIFT_OUTPUT_SCORE] = "(score)", [DRIFT_OUTPUT_LATENCY] = "(latency)"};

void drift_quantity_finish(DriftQuantity *quantity)
{
  quantity->n_bins =
      quantity->kind == DRIFT_NUMERIC ? drift_bins_n(quantity->bins) : drift_categories_n(quantity->categories);
}

void drift_quantities_free(DriftQuantity *quantities, guint n)
{
  for (guint i = 0; i < n; i++) {
    drift_bins_free(quantities[i].bins);
    drift_categories_free(quantities[i].categories);
  }
  g_free(quantities);
}

static void collect_sensitive(DriftGrid *grid)
{
  for (guint i = 0; i < grid->n_features && grid->n_sensitive < DRIFT_MAX_SENSITIVE; i++)
    if (drift_schema_get_feature(grid->schema, i)->sensitive) grid->sensitive[grid->n_sensitive++] = i;
}

void drift_grid_pairs_init(DriftGridPairs *joint, guint n_quantities)
{
  joint->pairs = g_new0(DriftGridPair, joint->n);
  joint->partitions = g_new0(DriftPartition, n_quantities);
}

void drift_grid_pairs_clear(DriftGridPairs *joint, guint n_quantities)
{
  for (guint i = 0; joint->partitions != NULL && i < n_quantities; i++) drift_partition_clear(&joint->partitions[i]);
  g_free(joint->partitions);
  g_free(joint->pairs);
  *joint = (DriftGridPairs){.n = 0};
}

static void place_lanes(DriftGrid *grid)
{
  grid->lanes = g_aligned_alloc0(drift_grid_n_lanes(grid), sizeof *grid->lanes, DRIFT_ALIGNMENT);
  grid->edges = g_new0(DriftEdges, grid->n_quantities);
  for (guint i = 0; i < grid->n_quantities; i++) {
    const DriftBins *bins = grid->quantities[i].bins;
    DriftBinsLanes *lanes = &grid->lanes[i / DRIFT_LANES];
    guint lane = i % DRIFT_LANES;
    if (bins == NULL) continue;
    lanes->low[lane] = bins->low;
    lanes->scale[lane] = bins->scale;
    lanes->last_cell[lane] = bins->last_cell;
    lanes->centre[lane] = bins->centre;
    lanes->unit[lane] = bins->unit;
    lanes->n_numeric += i < grid->n_features;
    grid->edges[i] = (DriftEdges){bins->edges, bins->hints};
  }
}

DriftGrid *drift_grid_new_take(DriftSchema *schema, DriftQuantity *quantities, DriftGridPairs *joint)
{
  DriftGrid *grid = g_new0(DriftGrid, 1);
  g_atomic_ref_count_init(&grid->references);
  grid->schema = schema;
  grid->n_features = drift_schema_n_features(schema);
  grid->n_quantities = grid->n_features + DRIFT_N_OUTPUTS;
  grid->quantities = quantities;
  place_lanes(grid);
  if (joint != NULL) {
    grid->joint = *joint;
    *joint = (DriftGridPairs){.n = 0};
  }
  for (guint i = 0; i < grid->joint.n; i++) {
    DriftGridPair *pair = &grid->joint.pairs[i];
    pair->first_part = grid->joint.partitions[pair->first].part_of;
    pair->second_part = grid->joint.partitions[pair->second].part_of;
  }
  collect_sensitive(grid);
  g_autoptr(GBytes) bytes = drift_grid_to_bytes(grid);
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  DriftReader reader;
  drift_reader_init(&reader, data, length);
  drift_get_block(&reader, 5); /* magic and version of the frame */
  grid->raw_length = drift_get_u32(&reader);
  grid->digest = drift_get_u64(&reader);
  g_snprintf(grid->id, sizeof grid->id, "%016" G_GINT64_MODIFIER "x", grid->digest);
  return grid;
}

DriftGrid *drift_grid_ref(DriftGrid *grid)
{
  g_atomic_ref_count_inc(&grid->references);
  return grid;
}

void drift_grid_unref(DriftGrid *grid)
{
  if (grid == NULL || !g_atomic_ref_count_dec(&grid->references)) return;
  drift_grid_pairs_clear(&grid->joint, grid->n_quantities);
  drift_quantities_free(grid->quantities, grid->n_quantities);
  g_aligned_free(grid->lanes);
  g_free(grid->edges);
  drift_schema_free(grid->schema);
  g_free(grid);
}

const gchar *drift_grid_get_id(const DriftGrid *grid)
{
  return grid->id;
}

const DriftSchema *drift_grid_get_schema(const DriftGrid *grid)
{
  return grid->schema;
}

guint drift_grid_n_pairs(const DriftGrid *grid)
{
  return grid->joint.n;
}

const DriftQuantity *drift_grid_get_output(const DriftGrid *grid, DriftOutput output)
{
  return &grid->quantities[grid->n_features + output];
}

const gchar *drift_grid_quantity_name(const DriftGrid *grid, guint quantity)
{
  if (quantity >= grid->n_features) return output_names[quantity - grid->n_features];
  return drift_schema_get_feature(grid->schema, quantity)->name;
}

guint16 drift_quantity_group_of(const DriftQuantity *quantity, const DriftValue *value)
{
  if (quantity->kind == DRIFT_CATEGORICAL) {
    gint code = drift_categories_find(quantity->categories, value);
    return code < 0 ? G_MAXUINT16 : (guint16)code;
  }
  double number;
  if (!drift_value_to_number(value, &number) || quantity->bins->n_edges == 0) return G_MAXUINT16;
  guint group = 0;
  while (group < quantity->n_quartiles && number > quantity->quartiles[group]) group++;
  return (guint16)group;
}

guint drift_quantity_n_groups(const DriftQuantity *quantity)
{
  if (quantity->kind == DRIFT_CATEGORICAL) return drift_categories_n(quantity->categories);
  return quantity->n_quartiles + 1;
}

gchar *drift_quantity_group_name(const DriftQuantity *quantity, guint group)
{
  if (quantity->kind == DRIFT_CATEGORICAL) return g_strdup(drift_categories_get(quantity->categories, group));
  if (quantity->n_quartiles == 0) return g_strdup("all");
  if (group == 0) return g_strdup_printf("<= %g", quantity->quartiles[0]);
  if (group == quantity->n_quartiles) return g_strdup_printf("> %g", quantity->quartiles[group - 1]);
  return g_strdup_printf("%g to %g", quantity->quartiles[group - 1], quantity->quartiles[group]);
}
