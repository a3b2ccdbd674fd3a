#include "pipeline/tree_ensemble.h"

#include <math.h>

PipelineTreeEnsemble *pipeline_tree_ensemble_new(guint n_columns, guint n_outputs, const float *base)
{
  PipelineTreeEnsemble *ensemble = g_new0(PipelineTreeEnsemble, 1);
  ensemble->n_columns = n_columns;
  ensemble->n_outputs = n_outputs;
  ensemble->base = g_memdup2(base, n_outputs * sizeof(float));
  ensemble->nodes = g_array_new(FALSE, FALSE, sizeof(PipelineTreeNode));
  ensemble->starts = g_array_new(FALSE, FALSE, sizeof(guint32));
  ensemble->outputs = g_array_new(FALSE, FALSE, sizeof(guint32));
  return ensemble;
}

void pipeline_tree_ensemble_free(PipelineTreeEnsemble *ensemble)
{
  if (ensemble == NULL) return;
  g_free(ensemble->base);
  g_array_unref(ensemble->nodes);
  g_array_unref(ensemble->starts);
  g_array_unref(ensemble->outputs);
  g_free(ensemble);
}

guint pipeline_tree_ensemble_n_trees(const PipelineTreeEnsemble *ensemble)
{
  return ensemble->starts->len;
}

guint pipeline_tree_ensemble_n_nodes(const PipelineTreeEnsemble *ensemble, guint tree)
{
  guint32 start = g_array_index(ensemble->starts, guint32, tree);
  gboolean last = tree + 1 == ensemble->starts->len;
  return (last ? ensemble->nodes->len : g_array_index(ensemble->starts, guint32, tree + 1)) - start;
}

const PipelineTreeNode *pipeline_tree_ensemble_get(const PipelineTreeEnsemble *ensemble, guint tree, guint node)
{
  return &g_array_index(ensemble->nodes, PipelineTreeNode, g_array_index(ensemble->starts, guint32, tree) + node);
}

void pipeline_tree_ensemble_truncate(PipelineTreeEnsemble *ensemble, guint n)
{
  if (n >= ensemble->starts->len) return;
  g_array_set_size(ensemble->nodes, g_array_index(ensemble->starts, guint32, n));
  g_array_set_size(ensemble->starts, n);
  g_array_set_size(ensemble->outputs, n);
}

guint pipeline_tree_ensemble_find_leaf(const PipelineTreeEnsemble *ensemble, guint tree, const float *x)
{
  const PipelineTreeNode *root = pipeline_tree_ensemble_get(ensemble, tree, 0), *node = root;
  while (node->yes != 0) {
    float value = x[node->column];
    gboolean yes = isnan(value) ? node->missing_yes != 0 : value < node->value;
    node = root + (yes ? node->yes : node->no);
  }
  return (guint)(node - root);
}

void pipeline_tree_ensemble_start(const PipelineTreeEnsemble *ensemble, gsize n, float *raw)
{
  for (gsize i = 0; i < n; i++)
    for (guint k = 0; k < ensemble->n_outputs; k++) raw[i * ensemble->n_outputs + k] = ensemble->base[k];
}

void pipeline_tree_ensemble_add(const PipelineTreeEnsemble *ensemble, guint first_tree, const float *x, gsize n,
                                float *raw)
{
  for (gsize i = 0; i < n; i++)
    for (guint tree = first_tree; tree < ensemble->starts->len; tree++) {
      guint leaf = pipeline_tree_ensemble_find_leaf(ensemble, tree, x + i * ensemble->n_columns);
      raw[i * ensemble->n_outputs + g_array_index(ensemble->outputs, guint32, tree)] +=
          pipeline_tree_ensemble_get(ensemble, tree, leaf)->value;
    }
}

void pipeline_tree_ensemble_add_importance(const PipelineTreeEnsemble *ensemble, guint first_tree, double *gain,
                                           double *cover, double *splits)
{
  if (first_tree >= ensemble->starts->len) return;
  for (guint i = g_array_index(ensemble->starts, guint32, first_tree); i < ensemble->nodes->len; i++) {
    const PipelineTreeNode *node = &g_array_index(ensemble->nodes, PipelineTreeNode, i);
    if (node->yes == 0) continue;
    gain[node->column] += (double)node->gain;
    cover[node->column] += (double)node->cover;
    splits[node->column]++;
  }
}
