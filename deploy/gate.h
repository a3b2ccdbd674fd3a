/* The gate judges what the job measured. A table of rules; each refusal is a sentence with its figures. */
#pragma once

#include <glib.h>

#include "registry/store.h"

G_BEGIN_DECLS

typedef struct {
  double minimum_gain;           /* of the mean paired gain; default 0 */
  gboolean require_significance; /* the interval's lower end must be >= minimum_gain */
  double maximum_loss;           /* the interval's lower end must be > -maximum_loss; 0: no bound */
  double disparate_impact_bound; /* challenger's worst ratio must be >= this; 0: no bound */
  double robust_accuracy_bound;  /* challenger's robust accuracy must be >= this; 0: no bound */
  double latency_p99_bound_us;   /* 0: no bound */
  double size_bound_bytes;       /* of the ONNX file; 0: no bound */
  guint64 minimum_holdout;       /* rows */
} DeployGatePolicy;
void deploy_gate_policy_init(DeployGatePolicy *policy);

typedef struct {
  const gchar *rule; /* static */
  gboolean passed;
  gboolean applies;
  gchar *text; /* "disparate impact .61 (race=African-American vs Caucasian) is below the bound .80, n = 1,204" */
} DeployGateFinding;

typedef struct {
  gboolean passed;
  GPtrArray *findings; /* of DeployGateFinding* */
} DeployGateResult;
void deploy_gate_result_free(DeployGateResult *result);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DeployGateResult, deploy_gate_result_free)

/* measured: the job's result JSON (pipeline/job_kinds.h). */
DeployGateResult *deploy_gate_judge(const DeployGatePolicy *policy, const gchar *measured, GError **error);
gchar *deploy_gate_result_to_json(const DeployGateResult *result);

G_END_DECLS
