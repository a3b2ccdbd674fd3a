/* Thresholds between values instead of on them. */
#include <math.h>
#include <stdlib.h>

#include "pipeline/tree_ensemble.h"

static gint compare(gconstpointer a, gconstpointer b)
{
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* The finite values of a column, sorted; *n_values of them. New. */
static float *sort_column(const float *x, gsize n, guint n_columns, guint column, gsize *n_values)
{
  float *values = g_new(float, MAX(n, 1));
  *n_values = 0;
  for (gsize row = 0; row < n; row++)
    if (isfinite(x[row * n_columns + column])) values[(*n_values)++] = x[row * n_columns + column];
  qsort(values, *n_values, sizeof *values, compare);
  return values;
}

/* As rows go left when x < threshold: above all values that went there, at most at the first that did not. */
static float centre(const float *values, gsize n, float threshold)
{
  gsize low = 0, high = n; /* the first value that is not below */
  while (low < high) {
    gsize middle = low + (high - low) / 2;
    if (values[middle] < threshold)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == 0 || low == n) return threshold;
  float between = (float)(((double)values[low - 1] + (double)values[low]) / 2);
  return between > values[low - 1] ? between : threshold; /* neighbours have nothing between them */
}

void pipeline_tree_ensemble_centre(PipelineTreeEnsemble *ensemble, guint first_tree, const float *x, gsize n)
{
  guint n_trees = pipeline_tree_ensemble_n_trees(ensemble);
  guint first = first_tree < n_trees ? g_array_index(ensemble->starts, guint32, first_tree) : ensemble->nodes->len;
  for (guint column = 0; column < ensemble->n_columns; column++) {
    g_autofree float *values = NULL;
    gsize n_values = 0;
    for (guint i = first; i < ensemble->nodes->len; i++) {
      PipelineTreeNode *node = &g_array_index(ensemble->nodes, PipelineTreeNode, i);
      if (node->yes == 0 || node->column != column) continue;
      if (values == NULL) values = sort_column(x, n, ensemble->n_columns, column, &n_values);
      node->value = centre(values, n_values, node->value);
    }
  }
}
