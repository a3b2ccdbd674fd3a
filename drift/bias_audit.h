/* The audit of a live model's decisions for as long as it serves: a bet (fairness_audit.h) for each sensitive feature
 * and rate, fed with the model's label rows in their order.
 *
 * Null: in every sensitive feature, given the past, each group's rate and the reference group's differ by at most
 * `margin`; which group comes next may depend on the past but not on the outcome to come. Then P(any alarm ever) <=
 * alpha: the bets share alpha alike, and within one its groups do. Groups are those of the grid that have minimum_group
 * rows in the reference data (all quarters of a number); the reference group is the first of them in the grid's order.
 * So what is bet on is known before the first row. Rows of other groups are left out and counted. */
#pragma once

#include <glib.h>

#include "drift/fairness_audit.h"
#include "drift/window.h"

G_BEGIN_DECLS

typedef struct {
  const gchar *name;    /* "selection_rate" */
  const gchar *meaning; /* of which rows what outcome */
} DriftBiasAuditRate;
extern const DriftBiasAuditRate drift_bias_audit_rates[]; /* ends with a NULL name */
gint drift_bias_audit_rate_find(const gchar *name);       /* index, -1: none */

typedef struct {
  double alpha;        /* P(any false alarm ever), in (0, 1) */
  double margin;       /* difference of rates that is still fair, in [0, 1) */
  guint32 rates;       /* bits of drift_bias_audit_rates, at least one */
  guint minimum_group; /* rows of the reference data */
} DriftBiasAuditSettings;

typedef struct _DriftBiasAudit DriftBiasAudit;

/* What one group's bet against the reference group says; texts are borrowed from the audit. */
typedef struct {
  const gchar *attribute, *rate, *group, *reference_group;
  DriftFairnessEvidence evidence; /* p: corrected for this feature's groups */
  double p;                       /* corrected for all bets of the audit; the alarm is at p <= alpha */
} DriftBiasAuditFinding;

/* UNDEFINED with the reason where there is nothing to bet on: no binary decisions, no sensitive feature, no two groups.
 * INVALID for settings out of range. */
DriftBiasAudit *drift_bias_audit_new(const DriftAccumulator *profile, const DriftBiasAuditSettings *settings,
                                     GError **error);
void drift_bias_audit_free(DriftBiasAudit *audit);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftBiasAudit, drift_bias_audit_free)
/* TRUE when this row raised the first alarm of a group. Rows without a known label or prediction change nothing. */
gboolean drift_bias_audit_update(DriftBiasAudit *audit, const DriftLabelRow *row);
guint drift_bias_audit_n(const DriftBiasAudit *audit);
/* index < n; findings of one (attribute, rate) are neighbours. */
void drift_bias_audit_get(const DriftBiasAudit *audit, guint index, DriftBiasAuditFinding *finding);
/* Restored from its bytes an audit continues identically; it needs no grid. */
GBytes *drift_bias_audit_to_bytes(const DriftBiasAudit *audit);
DriftBiasAudit *drift_bias_audit_from_bytes(GBytes *bytes, GError **error);

G_END_DECLS
