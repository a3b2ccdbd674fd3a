/* The end of a search: who wins, and by what.
 *
 * The loss on one set of validation rows, by which hundreds of trials were compared, flatters the luckiest of them. So
 * the best ones by it, the finalists, are trained to the highest rung, and then, with folds, compared again by the mean
 * loss over the folds of all rows but the test rows: each fold's model is trained as the winner will be, anew on the
 * fold's training rows for as many epochs or rounds as the trial's best had, without validation rows of its own.
 *
 * Finalists of folds are the best one of each family and the best trial of usual values (the first of a family), then
 * the next ones by loss: one stretch of rows says little about which family is right, and dozens of trials that differ
 * in the third decimal are one choice. The usual one wins unless another's loss is lower, fold by fold, by more than
 * the standard error of that difference: a choice that only chance or one stretch of time speaks for is not made (the
 * rule of one standard error, Breiman et al. 1984, in favour of the default).
 *
 * What is written can be the mean of several trials (pipeline/ensemble.h): one stretch of time, or a few thousand rows,
 * do not say which of the finalists is best, and their mean errs less than the one that chance prefers. */
#pragma once

#include "pipeline/search_state.h"

G_BEGIN_DECLS

/* Whether every fold has ended; then *mean and *error, the standard error of that mean over folds (either may be NULL),
 * are set. Always FALSE without folds. */
gboolean pipeline_search_folded(const PipelineSearchState *state, const PipelineSearchTrial *trial, double *mean,
                                double *error);
/* New, borrowed: trials that have a loss and did not fail, those with all folds first (lowest mean loss of the folds
 * first, but the usual values in front where the rule above says so), then by their loss, then by number. */
GPtrArray *pipeline_search_ranking(const PipelineSearchState *state);
/* The first of them; NULL: none. */
PipelineSearchTrial *pipeline_search_state_best(const PipelineSearchState *state);
/* The trials whose mean is the model of a search, the winner first; new, borrowed. n: so many of the ranking that have
 * finished, as far as there are. 0: all that have all folds, but for those whose loss is above the winner's, fold by
 * fold, by more than two standard errors of that difference. */
GPtrArray *pipeline_search_members(const PipelineSearchState *state, guint n);
/* New, borrowed, by loss: the n trials of lowest loss; with folds, the lowest of all, of each other part of the space
 * and of usual values (in that order, as far as n goes), then the next lowest. */
GPtrArray *pipeline_search_finalists(const PipelineSearchState *state, guint n);

/* The start event that brings the end nearer, new: one of the first n finalists a rung up; when all of them are
 * finished (and there is more than one) a fold of one, fold by fold. NULL: nothing before something ends, or all is
 * done. */
json_t *pipeline_search_state_finish(const PipelineSearchState *state, guint n);
/* Seconds that this needs with so many processes, by what the trials have needed; 0: nothing. */
double pipeline_search_state_remaining(const PipelineSearchState *state, guint n, guint workers);

G_END_DECLS
