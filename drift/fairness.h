/* Fairness of binary decisions over groups of people: rates by group, what differs between groups, with intervals.
 *
 * The favourable outcome is 1. A rate is a share of cells of the group's confusion table. Two conventions of a
 * difference are in use and both are here by name. Between groups (fairlearn's): the highest less the lowest group,
 * never negative; ratio lowest over highest. To a reference group (aif360's): a group less the reference (privileged)
 * group, signed; ratio group over reference.
 *
 * A rate whose denominator is empty is undefined: NaN with the reason in words. It takes no part in a comparison, and
 * the comparison counts it (n_left_out); fewer than two groups left: the comparison is undefined. Rows are taken as
 * independent. Formulas, intervals and their assumptions: drift/README.md, "Fairness". */
#pragma once

#include <glib.h>

#include "drift/fairness_group.h"

G_BEGIN_DECLS

/* A figure with its interval. low and high are NaN when no interval is stated for it. */
typedef struct {
  double value, low, high;
  guint64 n;              /* rows it was computed from: the denominator, or both together */
  const gchar *undefined; /* static: why value is NaN; NULL: it is a number */
  /* Of a metric over many groups, whose figure it is: the farthest group and the reference, the highest and the lowest
   * (of a ratio the lowest and the highest). Group indices, -1: none. */
  gint group, other;
} DriftFairnessValue;
DriftFairnessValue drift_fairness_undefined(const gchar *reason, guint64 n);

/* --- rates ------------------------------------------------------------------------------------------------------- */
typedef struct {
  guint64 tp, fp, fn, tn;
} DriftConfusion;

typedef enum {
  DRIFT_RATE_BASE,
  DRIFT_RATE_SELECTION,
  DRIFT_RATE_ACCURACY,
  DRIFT_RATE_ERROR,
  DRIFT_RATE_TRUE_POSITIVE,
  DRIFT_RATE_FALSE_NEGATIVE,
  DRIFT_RATE_FALSE_POSITIVE,
  DRIFT_RATE_TRUE_NEGATIVE,
  DRIFT_RATE_PRECISION,
  DRIFT_RATE_FALSE_DISCOVERY,
  DRIFT_RATE_NEGATIVE_PREDICTIVE,
  DRIFT_RATE_FALSE_OMISSION,
  DRIFT_N_RATES
} DriftFairnessRateKind;

typedef struct {
  const gchar *name;             /* "selection_rate" */
  const gchar *meaning;          /* "share predicted favourable" */
  const gchar *empty;            /* why undefined without a denominator */
  const gchar *empty_reference;  /* the same of the reference group, where two are compared */
  guint8 numerator, denominator; /* cells: 1 TP, 2 FP, 4 FN, 8 TN */
} DriftFairnessRate;
extern const DriftFairnessRate drift_fairness_rates[DRIFT_N_RATES];

guint64 drift_confusion_count(const DriftConfusion *counts, guint8 cells);
guint64 drift_confusion_total(const DriftConfusion *counts);
void drift_confusion_add(DriftConfusion *sum, const DriftConfusion *counts);

typedef struct {
  double confidence;     /* of intervals; .95 */
  guint64 minimum_group; /* smaller groups are shown and not compared; 30 */
  gint reference;        /* group index; -1: the largest group (the first of equals) */
  /* What a rate without a denominator is: NaN (undefined), the default. 0 is fairlearn's value, there to reproduce its
   * tables; it makes differences that are none. */
  double empty_rate;
} DriftFairnessSettings;
void drift_fairness_settings_init(DriftFairnessSettings *settings);

/* Wilson's interval. */
void drift_fairness_rate(const DriftConfusion *counts, DriftFairnessRateKind rate,
                         const DriftFairnessSettings *settings, DriftFairnessValue *value);
/* group - reference, with Newcombe's interval (method 10); group / reference, normal in the logarithm (half counts
 * where a count is 0 or all; the interval always contains the value). */
void drift_fairness_difference(const DriftConfusion *group, const DriftConfusion *reference, DriftFairnessRateKind rate,
                               const DriftFairnessSettings *settings, DriftFairnessValue *value);
void drift_fairness_ratio(const DriftConfusion *group, const DriftConfusion *reference, DriftFairnessRateKind rate,
                          const DriftFairnessSettings *settings, DriftFairnessValue *value);

/* --- the table --------------------------------------------------------------------------------------------------- */
typedef struct {
  const DriftFairnessRows *rows; /* borrowed */
  const DriftGrouping *grouping; /* borrowed */
  DriftFairnessSettings settings;
  guint n_groups;
  DriftConfusion *groups; /* [n_groups] */
  DriftConfusion overall; /* all groups together */
  guint64 n_left_out;     /* rows without label, prediction or group */
  guint reference;        /* group index; the settings' or the largest */
} DriftFairness;

/* INVALID for settings out of range, UNDEFINED when no row is left. O(rows). */
DriftFairness *drift_fairness_new(const DriftFairnessRows *rows, const DriftGrouping *grouping,
                                  const DriftFairnessSettings *settings, GError **error);
void drift_fairness_free(DriftFairness *fairness);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftFairness, drift_fairness_free)
/* At least minimum_group rows. */
gboolean drift_fairness_is_compared(const DriftFairness *fairness, guint group);

/* Between groups. The intervals are simultaneous over all pairs (each pair at 1 - (1 - confidence) / pairs), so that
 * choosing the extreme groups is paid for: with the stated confidence the true range lies inside. */
typedef struct {
  DriftFairnessValue difference, ratio;
  guint highest, lowest; /* group indices; the first of equals */
  guint n_left_out;      /* groups too small or undefined in this rate */
} DriftFairnessRange;
void drift_fairness_between(const DriftFairness *fairness, DriftFairnessRateKind rate, DriftFairnessRange *range);
/* The same at a confidence of its own. */
void drift_fairness_between_at(const DriftFairness *fairness, DriftFairnessRateKind rate, double confidence,
                               DriftFairnessRange *range);
/* Largest |group - overall|; smallest of min(r, 1/r), r = group / overall. No interval: the group is in the overall. */
void drift_fairness_to_overall(const DriftFairness *fairness, DriftFairnessRateKind rate, DriftFairnessRange *range);

/* --- named metrics ------------------------------------------------------------------------------------------------ */
typedef enum {
  DRIFT_METRIC_DIFFERENCE, /* 0 is fair; the distance from it is |value| */
  DRIFT_METRIC_RATIO,      /* 1 is fair; either side may be worse off */
  DRIFT_METRIC_INDEX       /* 0 is equal; never negative */
} DriftMetricForm;
typedef enum {
  DRIFT_CONVENTION_BETWEEN,   /* highest less lowest group */
  DRIFT_CONVENTION_REFERENCE, /* group less the reference group, the group farthest from equal; intervals hold for all
                                of them at once */
  DRIFT_CONVENTION_FACET,     /* SageMaker Clarify: the rest less the group, the group farthest from equal */
  DRIFT_CONVENTION_ROWS       /* of rows, not of groups */
} DriftMetricConvention;
const gchar *drift_metric_convention_text(DriftMetricConvention convention);

typedef struct _DriftFairnessMetric DriftFairnessMetric;
struct _DriftFairnessMetric {
  const gchar *name, *meaning;
  DriftMetricForm form;
  DriftMetricConvention convention;
  void (*compute)(const DriftFairnessMetric *metric, const DriftFairness *fairness, DriftFairnessValue *value);
  guint parameter; /* a rate, or what compute says */
  /* DRIFT_CONVENTION_REFERENCE only, else NULL: one group against the reference, at the settings' confidence. */
  void (*compare)(const DriftFairnessMetric *metric, const DriftConfusion *group, const DriftConfusion *reference,
                  const DriftFairnessSettings *settings, DriftFairnessValue *value);
};
extern const DriftFairnessMetric drift_fairness_metrics[]; /* ends with a NULL name */
const DriftFairnessMetric *
drift_fairness_metric_find(const gchar *name); /* also by an alias ("tpr_ratio", …); NULL: none */
void drift_fairness_metric_compute(const DriftFairnessMetric *metric, const DriftFairness *fairness,
                                   DriftFairnessValue *value);
/* Is the value beyond the bound? Difference, index: |value| > bound. Ratio: below min(bound, 1/bound) or above its
 * inverse. *certain: the whole interval is beyond (FALSE without an interval). NaN is beyond nothing: look at
 * `undefined` first. */
gboolean drift_fairness_metric_breaches(const DriftFairnessMetric *metric, const DriftFairnessValue *value,
                                        double bound, gboolean *certain);

/* --- scores ------------------------------------------------------------------------------------------------------- */
#define DRIFT_CALIBRATION_BINS 10
typedef struct {
  guint64 n, positives;
  double mean_score;           /* NaN for an empty bin */
  DriftFairnessValue observed; /* rate of favourable labels, Wilson */
} DriftCalibrationBin;
typedef struct {
  guint64 n;                /* rows with a score */
  DriftFairnessValue auc;   /* half a win for a tie; DeLong's interval */
  DriftFairnessValue gap;   /* mean(label - score): 0 is calibrated in the large; normal interval */
  DriftFairnessValue error; /* expected calibration error over ten equal bins of [0, 1]; no interval */
  DriftFairnessValue brier; /* mean squared error of the score; normal interval */
  DriftCalibrationBin bins[DRIFT_CALIBRATION_BINS]; /* [0, .1), …, [.9, 1] */
} DriftGroupScores;
/* One per group, new; NULL when the rows have no score. Scores outside [0, 1] leave all but the AUC undefined.
 * O(n log n). */
DriftGroupScores *drift_fairness_scores(const DriftFairness *fairness);
/* Largest less smallest calibration gap over the compared groups, simultaneous interval over pairs. */
void drift_fairness_calibration_difference(const DriftFairness *fairness, DriftFairnessValue *value);

/* --- inequality of benefits (aif360; Speicher et al. 2018) -------------------------------------------------------- */
/* Benefit b = 1 + prediction - label. Generalised entropy of order alpha (0: mean log deviation, 1: Theil);
 * delta-method interval. Undefined when all benefits are 0, and for alpha <= 0 when any is. */
void drift_generalised_entropy(const DriftConfusion *counts, double alpha, double confidence,
                               DriftFairnessValue *value);
/* The part between groups: everyone has his group's mean benefit. groups[i] of counts; no interval. */
void drift_between_group_entropy(const DriftConfusion *groups, guint n_groups, double alpha, DriftFairnessValue *value);

/* --- SageMaker Clarify -------------------------------------------------------------------------------------------- */
/* A group (facet d) against the rest of the rows (facet a), by labels alone. */
typedef enum {
  DRIFT_CLARIFY_CI,   /* class imbalance (n_a - n_d) / (n_a + n_d) */
  DRIFT_CLARIFY_DPL,  /* difference in proportions of labels q_a - q_d */
  DRIFT_CLARIFY_KL,   /* sum P_a ln(P_a / P_d) */
  DRIFT_CLARIFY_JS,   /* (KL(P_a|P) + KL(P_d|P)) / 2, P the mean of both */
  DRIFT_CLARIFY_LP,   /* L2 norm of P_a - P_d */
  DRIFT_CLARIFY_TVD,  /* half the L1 norm */
  DRIFT_CLARIFY_KS,   /* largest |P_a - P_d| */
  DRIFT_CLARIFY_CDDL, /* conditional demographic disparity in labels */
  DRIFT_N_CLARIFY
} DriftClarifyKind;
typedef struct {
  const gchar *name, *meaning;
} DriftClarifyMetric;
extern const DriftClarifyMetric drift_clarify_metrics[DRIFT_N_CLARIFY];
/* values[DRIFT_N_CLARIFY]. */
void drift_fairness_clarify(const DriftFairness *fairness, guint group, DriftFairnessValue *values);
/* Demographic disparity of a group: its share of the rejected less its share of the accepted, averaged over the strata
 * by their size (rows->stratum; without strata all rows are one). Strata without accepted or without rejected rows have
 * none and are left out (Clarify counts them as rate 0); undefined when all are. predicted: by predictions, else by
 * labels. No interval. */
void drift_fairness_conditional_disparity(const DriftFairness *fairness, guint group, gboolean predicted,
                                          DriftFairnessValue *value);

G_END_DECLS
