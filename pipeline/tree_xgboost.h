/* XGBoost behind plain calls: the only file that knows its C API (1.7). What is learnt leaves it as XGBoost's model
 * JSON (pipeline/tree_json.h) or as predictions. Source: https://xgboost.readthedocs.io/en/release_1.7.0/c.html
 *
 *     g_autoptr(PipelineTreeRows) rows = pipeline_tree_rows_new(x, n, d, &error);
 *     pipeline_tree_rows_set(rows, "label", y, n, &error);
 *     g_autoptr(PipelineTreeBooster) booster = pipeline_tree_booster_new(&rows, 1, parameters, &error);
 *     for (guint round = 0; round < 100; round++) pipeline_tree_booster_update(booster, rows, round, &error);
 */
#pragma once

#include "pipeline/error.h"

G_BEGIN_DECLS

/* A copy of x [n, d] in XGBoost's form; NaN is missing, infinite numbers are refused. */
typedef struct _PipelineTreeRows PipelineTreeRows;
PipelineTreeRows *pipeline_tree_rows_new(const float *x, gsize n, guint d, GError **error);
void pipeline_tree_rows_free(PipelineTreeRows *rows);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineTreeRows, pipeline_tree_rows_free)
/* field: "label" [n], "weight" [n] or "base_margin" [n * outputs]; copied. */
gboolean pipeline_tree_rows_set(PipelineTreeRows *rows, const gchar *field, const float *numbers, gsize length,
                                GError **error);

typedef struct {
  const gchar *name, *value;
} PipelineTreeParameter;

typedef struct _PipelineTreeBooster PipelineTreeBooster;
/* rows [n]: those it will be trained on or asked about again and again; they may be freed before it. parameters: ends
 * with an entry whose name is NULL. One thread, histogram splits and silence are set here. */
PipelineTreeBooster *pipeline_tree_booster_new(PipelineTreeRows *const *rows, guint n,
                                               const PipelineTreeParameter *parameters, GError **error);
void pipeline_tree_booster_free(PipelineTreeBooster *booster);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineTreeBooster, pipeline_tree_booster_free)
gboolean pipeline_tree_booster_update(PipelineTreeBooster *booster, PipelineTreeRows *rows, guint round,
                                      GError **error);
/* The same by gradients and second derivatives [length: n * outputs] of an objective of one's own. */
gboolean pipeline_tree_booster_update_by(PipelineTreeBooster *booster, PipelineTreeRows *rows, float *gradients,
                                         float *hessians, gsize length, GError **error);
/* Predictions of the rows, or their raw sums (margins); borrowed until the next call. NULL on failure. */
const float *pipeline_tree_booster_predict(const PipelineTreeBooster *booster, PipelineTreeRows *rows, gboolean raw,
                                           gsize *length, GError **error);
/* The model as JSON; new. */
GBytes *pipeline_tree_booster_to_json(const PipelineTreeBooster *booster, GError **error);

G_END_DECLS
