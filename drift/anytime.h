/* Sequential evidence that holds at any time one chooses to look: betting, confidence sequences, and the choice among
 * many streams. The detectors e-detector, conformal, betting and bernstein (detector.h) are built on the same updates.
 * All on the natural log scale. No allocation per update. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* ---- betting against a mean of zero ----
 * d in [-1, 1]; null: E[d | past] = 0, or <= 0 with `only_up`. The capital K starts at 1; P(K ever >= 1/alpha) <= alpha
 * whatever the dependence. The stake is an online Newton step. Source: S. Shekhar and A. Ramdas, Nonparametric
 * two-sample testing by betting, arXiv 2112.09162; for groups of people, B. Chugg et al., Auditing fairness by betting,
 * arXiv 2305.17570 (d = prediction for one of group A less that for one of group B). */
typedef struct {
  gboolean only_up;
  double log_capital, stake, curvature;
} DriftBetting;
void drift_betting_start(DriftBetting *betting, gboolean only_up);
/* Values outside [-1, 1] count as its ends; NaN is skipped. Returns ln K. */
double drift_betting_add(DriftBetting *betting, double d);

/* Two streams x and y, a pair at a time; null: the pairs' two halves have one law given the past. d = F(x) - F(y), F
 * the empirical distribution of the first values of both before this pair (at most DRIFT_PAIRED_VALUES). */
#define DRIFT_PAIRED_VALUES 512
typedef struct {
  DriftBetting betting;
  guint n;
  double values[DRIFT_PAIRED_VALUES]; /* sorted */
} DriftPairedBetting;
void drift_paired_betting_start(DriftPairedBetting *paired);
double drift_paired_betting_add(DriftPairedBetting *paired, double x, double y);

/* ---- confidence sequence of a mean ----
 * x in [0, 1] with one conditional mean given the past: the interval holds it at all times together with probability at
 * least 1 - alpha. Source: I. Waudby-Smith and A. Ramdas, Estimating means of bounded random variables by betting,
 * arXiv 2010.09686, the predictable plug-in empirical-Bernstein sequence. */
typedef struct {
  double alpha;
  guint64 t;
  double sum, deviations;              /* of x; of (x - estimate)^2 */
  double weights, weighted, penalties; /* of lambda; of lambda x; of (x - estimate before)^2 psi */
} DriftConfidenceSequence;
void drift_confidence_sequence_start(DriftConfidenceSequence *sequence, double alpha);
/* Values outside [0, 1] count as its ends; NaN is skipped. */
void drift_confidence_sequence_add(DriftConfidenceSequence *sequence, double x);
/* [0, 1] before any value. */
void drift_confidence_sequence_get(const DriftConfidenceSequence *sequence, double *low, double *high);

/* ---- many streams ----
 * log_e[k]: ln of stream k's e-value now; NaN: none yet, not rejected but counted. Both work under any dependence among
 * the streams. */
/* e-BH: the k largest with e >= K/(alpha k), k as large as can be: false discovery rate <= alpha (for e-processes at a
 * stopping time). Source: R. Wang and A. Ramdas, False discovery rate control with e-values, JRSS B 84 (2022) 822; over
 * streams arXiv 2501.04130. Returns how many; rejected[K]. */
guint drift_e_bh(const double *log_e, guint n_streams, double alpha, gboolean *rejected);
/* e-Bonferroni: e >= K/alpha: probability of any false rejection <= alpha; with e-detectors, the mean time to any false
 * alarm is at least 1/alpha. */
guint drift_e_bonferroni(const double *log_e, guint n_streams, double alpha, gboolean *rejected);

G_END_DECLS
