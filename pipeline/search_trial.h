/* One trial of a search on one rung: what a process of its own does. Also what is done with the winner. */
#pragma once

#include "pipeline/search_state.h"

G_BEGIN_DECLS

/* The rows of a search. Trials get `seen` alone: the test rows are in none of their tables. */
typedef struct {
  DriftTable *seen, *test;   /* owned; test: NULL without test rows */
  const DriftSchema *schema; /* borrowed, like the split */
  const PipelineSplit *split;
  double validation; /* share of `seen` */
  guint64 n_validation;
  guint64 seed;
  guint channels, height, width; /* of a row as an image; 0: it is none */
} PipelineSearchRows;
/* Sets the test rows apart (`test` of all usable rows, as the split divides) and makes validation, a share of all
 * usable rows, one of the seen ones. DATA: fewer than PIPELINE_MIN_VALIDATION validation rows, or a part is empty. */
gboolean pipeline_search_rows_init(const DriftTable *table, const DriftSchema *schema, const PipelineSplit *split,
                                   double validation, double test, guint64 seed, PipelineSearchRows *rows,
                                   GError **error);
void pipeline_search_rows_clear(PipelineSearchRows *rows);

typedef struct {
  guint number, rung;
  const PipelineSearchFamily *family;
  double values[PIPELINE_SEARCH_MAX_DIMENSIONS];
  PipelineSearchRule rule;
  const gchar *folder; /* where checkpoints, outcomes and models are */
  gint fold;           /* -1: a rung; else that fold (pipeline/search_final.h) */
  guint best_epoch;    /* of a fold: epochs or rounds that it is trained */
} PipelineSearchStage;

/* Files of a search in its folder; new. */
gchar *pipeline_search_file(const gchar *folder, guint trial, gint rung, const gchar *ending); /* rung -1: of no rung */
gchar *pipeline_search_outcome_file(const PipelineSearchStage *stage);                         /* new */

/* Trains from the checkpoint of the rung below (0: from scratch) to the end of this one and leaves a checkpoint; on the
 * highest rung, or when early stopping ends it, leaves the model "trial-N.onnx" too. The rung begun again after a crash
 * gives the same. The outcome, new: {"loss", "metric", "epochs", "best_epoch", "seconds", "cpu_seconds" (of this
 * process) "finished"} and, when finished, {"bytes", "latency_us" (median of one row, over "latency_rows" calls), "auc"
 * (validation rows; null: undefined)}. Of a fold: {"loss", "metric", "seconds", "cpu_seconds"}. NULL with error. stop:
 * ends it, CANCELLED. */
json_t *pipeline_search_trial_run(const PipelineSearchRows *rows, const PipelineSearchStage *stage,
                                  PipelineTrainStopFunc stop, gpointer user_data, GError **error);

/* One trial fitted again to training and validation rows together, as many epochs or rounds as its best had; new. */
GBytes *pipeline_search_refit(const PipelineSearchRows *rows, const PipelineSearchStage *stage, guint best_epoch,
                              GError **error);
/* The mean of the members (pipeline/search_final.h), fitted again or (refit FALSE) as they were compared; of one: that
 * one; new. */
GBytes *pipeline_search_model(const PipelineSearchRows *rows, const PipelineSearchState *state,
                              const GPtrArray *members, const gchar *folder, gboolean refit, GError **error);
guint pipeline_search_best_epoch(const PipelineSearchTrial *trial); /* of the last rung that ended */
/* {"bytes", "latency_us" (median of one row over "latency_rows" calls)} of a model; new, NULL with error. */
json_t *pipeline_search_cost(const PipelineSearchRows *rows, GBytes *onnx, GError **error);
/* {"rows", "accuracy", "auc", "log_loss"} or {"rows", "rmse", "mae"} on the test rows; new, NULL with error. */
json_t *pipeline_search_test(const PipelineSearchRows *rows, GBytes *onnx, GError **error);

G_END_DECLS
