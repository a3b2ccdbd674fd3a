/* What can be chosen of boosted trees, as text: "trees", "trees:depth=6,rounds=500". One table. */
#pragma once

#include "pipeline/error.h"

G_BEGIN_DECLS

typedef struct {
  guint depth, rounds, bins;
  guint patience; /* rounds without a better validation loss before it stops; 0: no early stopping */
  double eta, subsample, colsample, lambda, alpha, gamma, min_child_weight, scale_pos_weight;
} PipelineTreeOptions;

gboolean pipeline_tree_is_architecture(const gchar *architecture); /* "trees", "trees:…" */
/* INVALID names the option that is unknown or out of its range; UNSUPPORTED says why a booster is refused. */
gboolean pipeline_tree_options_parse(const gchar *architecture, PipelineTreeOptions *options, GError **error);
/* Calls `take` with every option of XGBoost by its name there. */
void pipeline_tree_options_foreach(const PipelineTreeOptions *options,
                                   void (*take)(const gchar *name, const gchar *value, gpointer data), gpointer data);

G_END_DECLS
