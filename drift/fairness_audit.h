/* Auditing fairness for ever: a bet against "the groups' mean outcomes are equal" that can be looked at after every
 * row. Chugg, Cortes-Gomez, Wilder and Ramdas, "Auditing Fairness by Betting" (arXiv 2305.17570), with online Newton
 * steps.
 *
 * Null: at each time, given the past, both groups' outcomes have means that differ by at most `margin`; which group
 * comes next may depend on the past but not on the outcome to come. Then P(alarm ever) <= alpha, whatever the number of
 * rows, looks, or groups (each group against the reference at alpha / (groups - 1)). Nothing is assumed about laws or
 * variances. The outcome is what shall be equal: the prediction for demographic parity; for equal opportunity feed only
 * rows labelled favourable; for error rates 1 - right. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  double alpha;    /* P(a false alarm ever); .05 */
  double margin;   /* difference that is still fair, in [0, 1); 0 */
  guint n_groups;  /* 2 to 1,024 */
  guint reference; /* the group that the others are compared with */
} DriftFairnessAuditSettings;

typedef struct _DriftFairnessAudit DriftFairnessAudit;

typedef struct {
  gdouble log_evidence;    /* ln of the largest wealth so far; the alarm is at ln((groups - 1) / alpha) */
  gdouble p;               /* anytime-valid, corrected for the groups; min(1, (groups - 1) / wealth) */
  guint64 n, n_reference;  /* rows of the group and of the reference that entered pairs */
  gdouble mean_difference; /* mean of group less reference over the pairs; NaN without pairs */
  gboolean alarm;          /* stays */
} DriftFairnessEvidence;

/* INVALID for settings out of range. */
DriftFairnessAudit *drift_fairness_audit_new(const DriftFairnessAuditSettings *settings, GError **error);
void drift_fairness_audit_free(DriftFairnessAudit *audit);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftFairnessAudit, drift_fairness_audit_free)
/* One row: its group and its outcome in [0, 1]. TRUE when this row raised the first alarm of a group. NaN, outcomes
 * outside [0, 1] and unknown groups are counted as skipped and change nothing. O(1), for the reference O(groups). */
gboolean drift_fairness_audit_update(DriftFairnessAudit *audit, guint group, double outcome);
void drift_fairness_audit_get(const DriftFairnessAudit *audit, guint group, DriftFairnessEvidence *evidence);
guint64 drift_fairness_audit_get_skipped(const DriftFairnessAudit *audit);
void drift_fairness_audit_reset(DriftFairnessAudit *audit);
/* The same settings. */
gboolean drift_fairness_audit_is_like(const DriftFairnessAudit *audit, const DriftFairnessAudit *other);
/* Restored from its bytes an audit continues identically. About 130 bytes a group in memory. */
GBytes *drift_fairness_audit_to_bytes(const DriftFairnessAudit *audit);
DriftFairnessAudit *drift_fairness_audit_from_bytes(GBytes *bytes, GError **error);

G_END_DECLS
