#include "pipeline/tree_quantile.h"

#include <stdlib.h>
#include <string.h>

void pipeline_tree_quantile_gradients(const PipelineLoss *loss, const PipelineTreeSet *rows, const float *raw,
                                      float *gradients, float *hessians)
{
  guint width = loss->n_outputs;
  for (gsize i = 0; i < rows->n; i++)
    for (guint k = 0; k < width; k++) {
      double weight = rows->weights != NULL ? (double)rows->weights[i] : 1, share = loss->quantiles[k];
      gboolean below = rows->targets[i] < raw[i * width + k];
      gradients[i * width + k] = (float)(weight * (below ? 1 - share : -share));
      hessians[i * width + k] = (float)weight;
    }
}

typedef struct {
  float number, weight;
  guint32 leaf; /* node of the ensemble */
} Left;

static gint compare(gconstpointer a, gconstpointer b)
{
  const Left *x = a, *y = b;
  if (x->leaf != y->leaf) return x->leaf < y->leaf ? -1 : 1;
  return (x->number > y->number) - (x->number < y->number);
}

/* Of sorted ones. */
static float quantile(const Left *left, gsize n, double share)
{
  double total = 0, sum = 0;
  for (gsize i = 0; i < n; i++) total += (double)left[i].weight;
  for (gsize i = 0; i < n; i++) {
    sum += (double)left[i].weight;
    if (sum >= share * total) return left[i].number;
  }
  return n > 0 ? left[n - 1].number : 0;
}

float pipeline_tree_quantile(const float *numbers, const float *weights, gsize n, double share)
{
  g_autofree Left *left = g_new(Left, n + 1);
  for (gsize i = 0; i < n; i++) left[i] = (Left){numbers[i], weights != NULL ? weights[i] : 1, 0};
  qsort(left, n, sizeof *left, compare);
  return quantile(left, n, share);
}

static void fill_tree(PipelineTreeEnsemble *ensemble, guint tree, const PipelineLoss *loss, const PipelineTreeSet *rows,
                      const float *raw, double eta, Left *left)
{
  guint output = g_array_index(ensemble->outputs, guint32, tree),
        start = g_array_index(ensemble->starts, guint32, tree);
  guint n_nodes = pipeline_tree_ensemble_n_nodes(ensemble, tree);
  for (gsize i = 0; i < rows->n; i++)
    left[i] =
        (Left){rows->targets[i] - raw[i * ensemble->n_outputs + output], rows->weights != NULL ? rows->weights[i] : 1,
               pipeline_tree_ensemble_find_leaf(ensemble, tree, rows->x + i * ensemble->n_columns)};
  qsort(left, rows->n, sizeof *left, compare);
  PipelineTreeNode *nodes = &g_array_index(ensemble->nodes, PipelineTreeNode, start);
  for (guint i = 0; i < n_nodes; i++)
    if (nodes[i].yes == 0) nodes[i].value = 0;
  for (gsize first = 0, end; first < rows->n; first = end) {
    for (end = first + 1; end < rows->n && left[end].leaf == left[first].leaf; end++) {
    }
    nodes[left[first].leaf].value = (float)(eta * (double)quantile(left + first, end - first, loss->quantiles[output]));
  }
}

void pipeline_tree_quantile_fill(PipelineTreeEnsemble *ensemble, guint first_tree, const PipelineLoss *loss,
                                 const PipelineTreeSet *rows, const float *raw, double eta)
{
  g_autofree Left *left = g_new(Left, rows->n + 1);
  for (guint tree = first_tree; tree < pipeline_tree_ensemble_n_trees(ensemble); tree++)
    fill_tree(ensemble, tree, loss, rows, raw, eta, left);
}
