/* A greedy search for transformations: column by column, then pair by pair, what lowers the loss of our own small model
 * on rows that it was not trained on, by more than chance. */
#pragma once

#include <jansson.h>

#include "pipeline/split.h"
#include "pipeline/transform.h"

G_BEGIN_DECLS

typedef struct {
  /* The order of the rows, which decides the folds. NULL and "time": forward chaining, half of the rows and then
   * blocks, each validated by models of the rows before it. "shuffle" and "stratified": stratified ones. "grouped" and
   * "blocks": of their kind. */
  const PipelineSplit *split;
  guint folds, trials;       /* a trial: one plan, two models a fold */
  double seconds;            /* no trial begins later; 0: any. What it decided depends on the machine's speed */
  guint64 max_rows;          /* evenly spaced ones of the training rows */
  const gchar *architecture; /* of the small model */
  guint epochs;
  guint64 seed;
} PipelinePlanSearchOptions;
void pipeline_plan_search_options_init(PipelinePlanSearchOptions *options);

typedef struct {
  guint trial, trials; /* done, at most */
  double loss;         /* of the best plan so far */
  const gchar *chain;  /* that was tried */
} PipelinePlanSearchProgress;
typedef void (*PipelinePlanSearchFunc)(const PipelinePlanSearchProgress *progress, gpointer user_data);

/* rows [n_rows] of the table: the training rows; nothing else is looked at. A candidate replaces a column's chains (or
 * adds a pair's) when
 *   every fold saves loss, and the mean over folds is more than one of its standard errors beyond a thousandth of the
 * loss, and the loss saved a row is 2.5 of its own standard errors, over all rows of all folds. *report: {"rows",
 * "folds", "split" (of the folds), "trials", "stopped": "done"|"trials"|"seconds", "loss_before", "loss", "chosen":
 * [{"chain", "every_fold_saves", "saved", "standard_error", "deviations"}], "tried": […]}; losses are mean log losses,
 * or squared errors over the variance of the label. The plan is complete; both are new. The same rows, options and
 * trials give the same plan. */
PipelinePlan *pipeline_plan_search(const DriftTable *table, const DriftSchema *schema, const guint64 *rows,
                                   guint64 n_rows, const PipelinePlanSearchOptions *options,
                                   PipelinePlanSearchFunc progress, gpointer user_data, json_t **report,
                                   GError **error);

G_END_DECLS
