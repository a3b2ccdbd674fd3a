/* `policy.chain`: stages that a training goes through before the gate: a retraining (or search), hardening,
 * compression, an attack that measures. Each stage is a job; its version's parent is that of the stage before; the last
 * version that is taken goes to the gate. A stage that fails, or loses more accuracy than chain_maximum_loss against
 * the version it began with (both on the same held-out rows), is left out with its reason, and the next one begins with
 * the last version that was taken. A chain whose first stage fails, or one of whose stages is cancelled, has failed.
 *
 * The state is JSON in the leader's state, so that it is stored in the transaction that creates the next stage's job:
 *   {"stages": [{"kind", "options"}, …], "at": stage that runs, "base": members of every stage's spec,
 *    "maximum_loss", "tail": of job ids, "job" and "version": taken last (null, 0), "robust": {…} of an attack or null}
 * Everything here is a function of it and of what a job said.
 */
#pragma once

#include <jansson.h>

#include "daemon/settings.h"

G_BEGIN_DECLS

/* Options of a stage as the spec of its job kind has them (pipeline/job_kinds.h); new. An empty object where the stage
 * has none of its own (retrain). */
json_t *chain_stage_options(const SettingsPolicy *policy, const gchar *kind);

/* base: taken; kind: of the first stage's job ("refit" where the policy asks for one); tail: of the ids of the stages'
 * jobs, MODEL/KIND/TAIL. New. */
json_t *chain_new(const SettingsPolicy *policy, const gchar *kind, const gchar *tail, json_t *base);

typedef enum {
  CHAIN_NEXT,  /* the next stage is to be started */
  CHAIN_JUDGE, /* the job taken last is what the gate judges */
  CHAIN_FAILED /* nothing goes to the gate */
} ChainStep;
/* The stage that runs has ended: `state`, `result` (NULL: none) and `why` of its job. *stage (new): what is said of it,
 * {"stage", "job", "outcome": "taken" | "left out" | "measured" | "failed", "version", "text" and figures}. */
ChainStep chain_end_stage(json_t *chain, const gchar *job, const gchar *state, const json_t *result, const gchar *why,
                          json_t **stage);

/* Of the stage that is to be started. */
const gchar *chain_get_kind(const json_t *chain);
gchar *chain_make_id(const json_t *chain, const gchar *model); /* deterministic; new */
json_t *chain_make_spec(const json_t *chain);                  /* new */

/* What the gate judges: the result of the job taken last, with what an attack measured; new. */
json_t *chain_make_result(const json_t *chain, const json_t *result);

G_END_DECLS
