/* An ensemble of boosted trees in memory: what boosting appends to, what a checkpoint keeps, what becomes a node of an
 * ONNX graph. A row's raw output is the base value plus one leaf of each of that output's trees, added in single
 * precision in the order of the trees, as XGBoost does. */
#pragma once

#include "onnx/graph.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

typedef struct {
  guint32 yes, no;     /* numbers of nodes within the tree; yes 0: a leaf (the root, 0, is nobody's child) */
  guint32 column;      /* of the feature matrix */
  guint32 missing_yes; /* where NaN goes */
  float value;         /* yes: x < value; of a leaf: what it adds */
  float gain, cover;   /* of the split: loss reduction, sum of second derivatives; 0: not known */
} PipelineTreeNode;

typedef struct {
  guint n_columns, n_outputs;
  float *base;     /* [n_outputs] */
  GArray *nodes;   /* of PipelineTreeNode: all trees, one behind the other */
  GArray *starts;  /* of guint32, a tree: its first node */
  GArray *outputs; /* of guint32, a tree: the output it adds to */
} PipelineTreeEnsemble;

PipelineTreeEnsemble *pipeline_tree_ensemble_new(guint n_columns, guint n_outputs, const float *base);
void pipeline_tree_ensemble_free(PipelineTreeEnsemble *ensemble);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineTreeEnsemble, pipeline_tree_ensemble_free)
guint pipeline_tree_ensemble_n_trees(const PipelineTreeEnsemble *ensemble);
guint pipeline_tree_ensemble_n_nodes(const PipelineTreeEnsemble *ensemble, guint tree);
/* Node `node` of the tree; borrowed. */
const PipelineTreeNode *pipeline_tree_ensemble_get(const PipelineTreeEnsemble *ensemble, guint tree, guint node);
/* Keeps the first n trees. */
void pipeline_tree_ensemble_truncate(PipelineTreeEnsemble *ensemble, guint n);
/* The leaf that x [n_columns] reaches. */
guint pipeline_tree_ensemble_find_leaf(const PipelineTreeEnsemble *ensemble, guint tree, const float *x);
/* raw [n, n_outputs]: the base values, or what it holds plus the trees from first_tree on. x [n, n_columns]. */
void pipeline_tree_ensemble_start(const PipelineTreeEnsemble *ensemble, gsize n, float *raw);
void pipeline_tree_ensemble_add(const PipelineTreeEnsemble *ensemble, guint first_tree, const float *x, gsize n,
                                float *raw);

/* Moves the thresholds of the trees from first_tree on to the middle between the values of x [n, n_columns] on either
 * side (tree_centre.c). The rows of x reach the leaves that they reached; a value that another program computes with
 * another rounding, as the logarithm in front of the trees, no longer falls on the other side of a threshold that is
 * that value. */
void pipeline_tree_ensemble_centre(PipelineTreeEnsemble *ensemble, guint first_tree, const float *x, gsize n);

/* Importance by column, over the trees from first_tree on. Arrays [n_columns] are added to. */
void pipeline_tree_ensemble_add_importance(const PipelineTreeEnsemble *ensemble, guint first_tree, double *gain,
                                           double *cover, double *splits);

/* --- XGBoost's model JSON: tree_json.cpp
 * ------------------------------------------------------------------------------
 */

/* Appends the trees of a model as XGBoosterSaveModelToBuffer writes it. UNSUPPORTED with the reason: DART, gblinear,
 * categorical splits; INVALID: what is no such model, or does not fit the ensemble's columns and outputs. Deleted nodes
 * are left out; the ensemble is as it was on failure. Format: doc/model.schema of XGBoost 1.7. */
gboolean pipeline_tree_ensemble_append_json(PipelineTreeEnsemble *ensemble, GBytes *json, GError **error);

/* --- ai.onnx.ml's TreeEnsembleClassifier and TreeEnsembleRegressor: tree_onnx.c
 * ---------------------------------------- */

/* Index of the only node of that kind in the graph; -1: none, or several. */
gint pipeline_tree_onnx_find(const OnnxGraph *graph);
/* The model can be read and is an ensemble of trees (also one that boosting cannot continue). */
gboolean pipeline_tree_onnx_is_ensemble(GBytes *onnx);
/* Sets the trees of such a node: one output of a classifier is the logit of its second class. */
void pipeline_tree_onnx_write(const PipelineTreeEnsemble *ensemble, gboolean classifier, OnnxNode *node);
/* From such a node; n_columns: width of its input. UNSUPPORTED with the reason when its trees are not a sum of leaves
 * with one weight each (logistic of one output, softmax of several, or plain). */
PipelineTreeEnsemble *pipeline_tree_onnx_read(const OnnxNode *node, guint n_columns, GError **error);

G_END_DECLS
