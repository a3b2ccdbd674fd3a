/* Slices of labelled rows: all that is known of them is their groups of sensitive features, so conditions are those. */
#include <math.h>
#include <stdlib.h>

#include "drift/slice_internal.h"
#include "drift/window_internal.h"

typedef struct {
  guint group;
  guint64 count;
} RankedGroup;

static gint compare_groups(gconstpointer a, gconstpointer b)
{
  const RankedGroup *left = a, *right = b;
  if (left->count != right->count) return left->count > right->count ? -1 : 1;
  return (left->group > right->group) - (left->group < right->group);
}

/* The most frequent groups of the rows are parts of their own, then "any other", then "no value". part_of: [n_groups].
 */
static void choose_parts(const DriftGrid *grid, guint sensitive, const DriftLabelRow *rows, guint n, guint8 *part_of,
                         DriftParts *parts)
{
  guint feature = grid->sensitive[sensitive];
  const DriftQuantity *quantity = &grid->quantities[feature];
  const gchar *name = drift_grid_quantity_name(grid, feature);
  guint n_groups = drift_quantity_n_groups(quantity);
  g_autofree RankedGroup *ranked = g_new0(RankedGroup, n_groups + 1);
  for (guint i = 0; i < n_groups; i++) ranked[i].group = i;
  for (guint i = 0; i < n; i++)
    if (sensitive < rows[i].n_groups && rows[i].groups[sensitive] < n_groups) ranked[rows[i].groups[sensitive]].count++;
  qsort(ranked, n_groups, sizeof *ranked, compare_groups);
  guint kept = MIN(n_groups, DRIFT_VALUE_PARTS);
  *parts = (DriftParts){.feature = g_strdup(name), .n_parts = kept + 2};
  for (guint i = 0; i < n_groups; i++) part_of[ranked[i].group] = (guint8)MIN(i, kept);
  for (guint i = 0; i < kept; i++) {
    g_autofree gchar *group = drift_quantity_group_name(quantity, ranked[i].group);
    gboolean numeric = quantity->kind == DRIFT_NUMERIC;
    parts->conditions[i] = g_strdup_printf(numeric ? "%s %s" : "%s = %s", name, group);
  }
  parts->conditions[kept] = g_strdup_printf("%s is any other", name);
  parts->conditions[kept + 1] = g_strdup_printf("%s has no value", name);
}

/* Losses by the parts of one or two features; missing ones are left out. */
static void fill_table(const guint8 *first, const guint8 *second, const double *losses, guint n, DriftLossTable *table)
{
  for (guint i = 0; i < n; i++) {
    if (isnan(losses[i])) continue;
    DriftLoss *cell = &table->window[first[i] * DRIFT_MAX_PARTS + (second != NULL ? second[i] : 0)];
    cell->n++;
    cell->sum += losses[i];
    cell->squares += losses[i] * losses[i];
  }
}

GPtrArray *drift_slices_of_labels(const DriftGrid *grid, const DriftLabelRow *rows, guint n,
                                  const DriftWindowSettings *settings, guint most)
{
  guint n_features = grid->n_sensitive;
  gboolean is_binary = grid->schema->task != DRIFT_TASK_REGRESSION;
  DriftParts parts[DRIFT_MAX_SENSITIVE];
  g_autofree guint8 *codes = g_malloc(MAX(1, (gsize)n * n_features));
  g_autofree double *losses = g_new(double, n + 1);
  guint64 n_defined = 0;
  for (guint i = 0; i < n; i++) {
    losses[i] = drift_label_row_error(grid->schema, &rows[i]);
    n_defined += !isnan(losses[i]);
  }
  for (guint f = 0; f < n_features; f++) {
    guint n_groups = drift_quantity_n_groups(&grid->quantities[grid->sensitive[f]]);
    g_autofree guint8 *part_of = g_malloc(n_groups + 1);
    choose_parts(grid, f, rows, n, part_of, &parts[f]);
    for (guint i = 0; i < n; i++) {
      guint group = f < rows[i].n_groups ? rows[i].groups[f] : G_MAXUINT16;
      codes[(gsize)f * n + i] = group < n_groups ? part_of[group] : (guint8)(parts[f].n_parts - 1);
    }
  }
  DriftSliceFamily family;
  drift_slice_family_init(&family, DRIFT_SLICE_LOSS, DRIFT_SLICE_LEVEL, settings->confidence, 0, n_defined);
  for (guint a = 0; a < n_features; a++)
    for (guint b = a; b < n_features; b++) { /* b == a: one condition */
      DriftLossTable table = {.n_a = parts[a].n_parts, .n_b = b == a ? 1 : parts[b].n_parts, .is_binary = is_binary};
      fill_table(codes + (gsize)a * n, b == a ? NULL : codes + (gsize)b * n, losses, n, &table);
      drift_loss_slices(&table, a, b == a ? DRIFT_NO_FEATURE : b, &family, NULL);
    }
  GPtrArray *slices = drift_slice_family_list(&family, parts, most);
  drift_slice_family_clear(&family);
  for (guint f = 0; f < n_features; f++) drift_parts_clear(&parts[f]);
  return slices;
}
