/* A search for architecture and hyper-parameters: trials in processes of their own, a budget, a journal. */
#pragma once

#include "pipeline/search_trial.h"

G_BEGIN_DECLS

typedef struct {
  const gchar *folder;  /* journal, checkpoints, outcomes, models */
  gboolean must_be_new; /* refuse a folder with a journal */
  /* What a trial is, in a process of its own (a fork, which shares the rows that were read): pipeline_search_trial_run
   * or the like; the outcome, new, or NULL with error. NULL: for callers that have threads, `program` is started. */
  json_t *(*trial)(const PipelineSearchStage *stage, gpointer data, GError **error);
  gpointer trial_data;
  const gchar *program;       /* argv[0] of a trial; its arguments are "search trial FILE" */
  const json_t *task;         /* by which that finds the rows; copied into the file of each trial */
  const json_t *header;       /* which search this is: the journal's first line */
  guint workers;              /* processes at a time */
  guint trials;               /* at most; 0: any */
  double seconds;             /* of wall time, over all calls of this search; 0: any */
  PipelineTrainStopFunc stop; /* or NULL */
  void (*progress)(const PipelineSearchState *state, gpointer user_data); /* or NULL: after each event */
  gpointer user_data;
} PipelineSearchOptions;

/* Runs until the budget is spent and the finalists (pipeline/search_final.h) are done. No new trial begins when what is
 * left of the seconds is what they still need; trials that run when the seconds are spent are ended and not counted,
 * and no more is begun than what the best one needs to be finished. Trials that the journal leaves running are begun
 * again. CANCELLED when stopped: the same call goes on. DATA: every trial failed; the message has the last reason. */
gboolean pipeline_search_run(const PipelineSearchOptions *options, PipelineSearchState *state, GError **error);

/* The file of a trial, as the process reads it; *task: borrowed from *json, which is new. */
gboolean pipeline_search_stage_read(const gchar *path, PipelineSearchStage *stage, gchar **folder, json_t **json,
                                    GError **error);
/* Where the process leaves its outcome: {"failed": reason} or as pipeline_search_trial_run. */
gboolean pipeline_search_stage_end(const PipelineSearchStage *stage, json_t *outcome, const GError *failure,
                                   GError **error);

G_END_DECLS
