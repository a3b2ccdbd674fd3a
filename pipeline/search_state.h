/* What a search knows: its trials and their rungs, and what it does next, by asynchronous successive halving (Li et al.
 * 2020, "A system for massively parallel hyperparameter tuning") with the proposals of pipeline/search_propose.h.
 *
 * A trial climbs rungs; rung k trains it to units · reduction^k epochs or rounds in all, and its loss there is the
 * lowest on the validation rows so far. Whoever asks for work gets, from the highest rung down, the best trial among
 * the first n / reduction of the n of its family that ended that rung which was not promoted yet; else a new trial.
 * Rungs are compared within a family, because an epoch and a round are different things.
 *
 * All knowledge comes through events, which is what the journal (pipeline/search_journal.h) holds:
 *     {"event": "start", "trial", "rung", "family", "parameters"}      ({"family", "parameters"} on rung 0)
 *     {"event": "end", "trial", "rung", "loss", "metric", "epochs", "best_epoch", "seconds", "finished", …}
 *     {"event": "failed", "trial", "rung", "reason"}
 * each with "elapsed", the seconds of the search so far. So a search is rebuilt by applying them again. With "fold",
 * from 0, an event is about that fold of a finished trial (pipeline/search_final.h), whose end has "loss", "metric",
 * "seconds". */
#pragma once

#include "pipeline/search_space.h"

G_BEGIN_DECLS

#define PIPELINE_SEARCH_MAX_RUNGS 6u
#define PIPELINE_SEARCH_MAX_FOLDS 20u

typedef enum {
  PIPELINE_TRIAL_RUNNING,
  PIPELINE_TRIAL_WAITING,  /* has ended a rung below the highest */
  PIPELINE_TRIAL_FINISHED, /* nothing more would change it: it has a model */
  PIPELINE_TRIAL_FAILED
} PipelineTrialState;

typedef enum { PIPELINE_FOLD_NONE, PIPELINE_FOLD_RUNNING, PIPELINE_FOLD_ENDED, PIPELINE_FOLD_FAILED } PipelineFoldState;

typedef struct {
  PipelineFoldState state;
  double loss, metric; /* when it has ended */
} PipelineSearchFold;

typedef struct {
  guint number;
  const PipelineSearchPart *part;
  double values[PIPELINE_SEARCH_MAX_DIMENSIONS];
  PipelineTrialState state;
  guint rung;    /* the one that runs or ended last */
  guint n_ended; /* rungs with a loss: 0 … n_ended - 1 */
  double losses[PIPELINE_SEARCH_MAX_RUNGS];
  double loss, metric; /* of the best epoch so far; NaN: none yet */
  double seconds;      /* of all rungs */
  PipelineSearchFold folds[PIPELINE_SEARCH_MAX_FOLDS];
  guint epochs;    /* so far */
  json_t *outcome; /* of the last rung that ended, or NULL: the event */
  gchar *reason;   /* of a failure, of it or of a fold, or NULL */
} PipelineSearchTrial;

typedef struct {
  guint64 seed;
  guint reduction, n_rungs;
  guint finalists, folds; /* folds: 0 or 2 to PIPELINE_SEARCH_MAX_FOLDS */
} PipelineSearchRule;
void pipeline_search_rule_init(PipelineSearchRule *rule); /* seed 1, reduction 3, 3 rungs, 2 finalists, no folds */
/* What one set of validation rows says is chance of few rows, and of one stretch of time of more: 5 folds of a table,
 * for 6 finalists of few rows, else 3. Many rows, for which folds cost much, or images: none. */
#define PIPELINE_SEARCH_FEW_ROWS 12000u
#define PIPELINE_SEARCH_MANY_ROWS 100000u
void pipeline_search_rule_choose_folds(PipelineSearchRule *rule, guint64 n_rows, gboolean images);
/* The usual share of validation rows: a tenth of few rows tells trials apart badly. */
double pipeline_search_usual_validation(guint64 n_rows);

typedef struct {
  const PipelineSearchSpace *space; /* borrowed */
  PipelineSearchRule rule;
  GPtrArray *trials; /* of PipelineSearchTrial*, by number */
  double elapsed;    /* of the last event */
} PipelineSearchState;

PipelineSearchState *pipeline_search_state_new(const PipelineSearchSpace *space, const PipelineSearchRule *rule);
void pipeline_search_state_free(PipelineSearchState *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineSearchState, pipeline_search_state_free)
/* DATA: an event that cannot follow those before it. Unknown members are kept, unknown events refused. */
gboolean pipeline_search_state_apply(PipelineSearchState *state, const json_t *event, GError **error);

/* The start event of what is to be done next, new; NULL: nothing before something ends. may_propose: new trials are
 * allowed; else promotions only. It depends on the events so far and nothing else. */
json_t *pipeline_search_state_next(const PipelineSearchState *state, gboolean may_propose);
/* Epochs or rounds in all that a trial of the family has had at the end of a rung. */
guint pipeline_search_resource(const PipelineSearchRule *rule, const PipelineSearchFamily *family, guint rung);
guint pipeline_search_state_count(const PipelineSearchState *state, PipelineTrialState which);

G_END_DECLS
