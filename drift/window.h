/* The verdict over one window: what the leader computes from a sum of panes, and what `kedge replay` recomputes.
 * A pure function of (grid, profile with its baseline, window accumulator, label rows, settings).
 */
#pragma once

#include <glib.h>

#include "drift/accumulator.h"
#include "drift/baseline.h"
#include "drift/slices.h"

G_BEGIN_DECLS

/* Few bytes a labelled row: what label panes keep. Group codes index the grid's categories of each sensitive feature
 * in schema order (G_MAXUINT16: unseen or missing). */
typedef struct {
  gint64 version;
  gint64 label_offset;
  gint64 label_time;
  gint32 predicted_class;              /* -1: not a known class */
  gint32 label_class;                  /* -1: not a known class */
  double score;                        /* NaN: absent */
  double predicted_value, label_value; /* regression; NaN otherwise */
  guint16 groups[8];                   /* first n_groups valid */
  guint8 n_groups;
} DriftLabelRow;

/* The label row of a joined row. */
void drift_label_row_from(const DriftGrid *grid, const DriftLabelledRow *row, DriftLabelRow *out);
GBytes *drift_label_rows_to_bytes(const DriftLabelRow *rows, guint n); /* compressed, canonical */
GArray *drift_label_rows_from_bytes(GBytes *bytes, GError **error);    /* of DriftLabelRow */
/* 0 right, 1 wrong (classification); squared error (regression). NaN when undefined. */
double drift_label_row_error(const DriftSchema *schema, const DriftLabelRow *row);

typedef struct {
  double minimum_effect;        /* smallest Jensen-Shannon distance (base 2) or KS D that may raise drift; default .1 */
  double false_discovery_rate;  /* Benjamini-Hochberg level over features and outputs */
  double quality_level;         /* the same over quality rates; 0: they are not judged */
  double joint_level;           /* the same over dependences of pairs of features; 0: they are not judged */
  double missing_rate_increase; /* absolute rise of missing/unseen/out-of-range rate that may raise a quality verdict */
  double disparate_impact_bound; /* 0: no bound; else e.g. .8 */
  guint minimum_group;           /* smallest group whose rates are shown with a verdict */
  double confidence;             /* of intervals; .95 */
  guint32 bias_metrics;          /* bits of drift_bias_metrics (bias.h); the default three */
  guint bias_crossed;            /* so many sensitive features are crossed at most; 1: each alone */
} DriftWindowSettings;
void drift_window_settings_init(DriftWindowSettings *settings);

/* How a window's share of the alarm budget is spent. The rest is kept back: far tails of limit laws are not exact. */
#define DRIFT_BUDGET_WINDOW .1   /* features and outputs of the window itself */
#define DRIFT_BUDGET_HORIZON .05 /* features and outputs of the sums of 2 … 32 windows, equal parts */
#define DRIFT_BUDGET_QUALITY .025
#define DRIFT_BUDGET_JOINT .025
/* Levels for the sum of the last 2^scale windows (0: the window itself; see drift/horizon.h). `events`: those of one
 * window that no window before it had; `budget`: false alarms allowed in `per_events`. A level is at most .05. */
void drift_window_settings_spend(DriftWindowSettings *settings, double budget, double per_events, double events,
                                 guint scale);

typedef struct {
  gchar *feature;    /* owned; "(score)", "(latency)", "(prediction)" for the model's own outputs */
  const gchar *kind; /* static: "numeric" or "categorical" */
  guint64 n_reference, n_window;
  double ks, ks_p; /* numeric; NaN when undefined */
  double psi, psi_p, js, js_p, chi_squared, chi_squared_p;
  guint chi_squared_df;
  const gchar *undefined; /* static text saying why there is no test (p is NaN), or NULL */
  const gchar *test;      /* static: the statistic whose p enters the correction; "none" when undefined */
  double p, p_adjusted, effect;
  double inflation;        /* variance of the comparison's shares as a multiple of that of independent rows */
  const gchar *dependence; /* static: where the inflation is from */
  double missing_reference, missing_window;  /* rates */
  double unseen_window, out_of_range_window; /* rates */
  double mean_reference, mean_window;        /* NaN for categorical */
  gboolean drift, quality;                   /* verdicts of this feature */
} DriftFeatureVerdict;

typedef struct {
  const gchar *metric; /* static: a name of drift_bias_metrics */
  gchar *attribute;    /* sensitive feature, or several crossed: "race|sex" */
  gchar *group, *reference_group;
  guint64 n_group, n_reference;
  double rate_group, rate_group_low, rate_group_high;
  double rate_reference, rate_reference_low, rate_reference_high;
  double value, low, high; /* the metric with its interval; NaN: undefined (see undefined) */
  const gchar *undefined;  /* static text saying why, or NULL */
  gboolean breach;         /* the whole interval lies beyond the bound */
} DriftBiasVerdict;

typedef struct {
  guint64 n;                                                   /* labelled rows */
  double accuracy, accuracy_low, accuracy_high, auc, log_loss; /* NaN: undefined */
  double mae, rmse;                                            /* regression */
} DriftPerformance;

typedef struct {
  gboolean drift;              /* any feature or output drifts */
  gboolean quality;            /* missing, unseen or out-of-range */
  gboolean bias;               /* any breach */
  double evidence_log;         /* ln(1/smallest adjusted p), capped at 700 */
  GPtrArray *features;         /* of DriftFeatureVerdict*, ranked: strongest cause first */
  GPtrArray *bias_verdicts;    /* of DriftBiasVerdict* */
  const gchar *bias_undefined; /* static: why there are none, or NULL */
  GPtrArray *slices;      /* of DriftSlice*, worst first; NULL: the grid has no joint histograms, or joint_level is 0 */
  GPtrArray *dependences; /* of DriftDependence*, strongest first; NULL with slices */
  DriftPerformance performance;
} DriftWindowVerdict;

/* `labels` may be NULL (n_labels 0). MISMATCH when profile and window are of different grids. Every quantity has its
 * entry in `features`, also those that could not be tested (see undefined). Bias is of binary classification. */
DriftWindowVerdict *drift_window_evaluate(const DriftAccumulator *profile, const DriftAccumulator *window,
                                          const DriftLabelRow *labels, guint n_labels,
                                          const DriftWindowSettings *settings, GError **error);
/* The same with the profile's baseline (NULL: rows are taken as independent). MISMATCH when it is of another grid. */
DriftWindowVerdict *drift_window_evaluate_with(const DriftAccumulator *profile, const DriftBaseline *baseline,
                                               const DriftAccumulator *window, const DriftLabelRow *labels,
                                               guint n_labels, const DriftWindowSettings *settings, GError **error);
void drift_window_verdict_free(DriftWindowVerdict *verdict);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftWindowVerdict, drift_window_verdict_free)

G_END_DECLS
