/* The metrics of CBPE as a table over a view of rows. */
#pragma once

#include "drift/cbpe.h"

G_BEGIN_DECLS

/* Rows that lack nothing of what was asked for. `positive` is what metrics weigh by: calibrated probabilities for an
 * estimate, 0 and 1 for what was realised; so both are one formula. */
typedef struct {
  gsize n;
  guint n_scores, n_classes;
  const double **raw;      /* [n_scores][n] ranks rows */
  const double **positive; /* [n_scores][n] */
  const guint32 *predicted, *truth;
  gboolean realized;
  guint32 **orders;           /* [n_scores] of raw, made when first asked for */
  DriftConfusion *confusions; /* [n_scores], likewise */
  GPtrArray *copies;          /* what the view had to copy */
} CbpeView;

enum { CBPE_NEEDS_SCORES = 1, CBPE_NEEDS_PREDICTION = 2, CBPE_NEEDS_TRUTH = 4 };

/* Rows [first, first + n) that have what `needs` says; positive: from `calibrated` columns ([n_scores] of all rows), or
 * from the truth when NULL. */
CbpeView *cbpe_view_new(const DriftCbpeRows *rows, gsize first, gsize n, guint needs, double *const *calibrated);
void cbpe_view_free(CbpeView *view);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CbpeView, cbpe_view_free)
/* NULL: no memory. */
const guint32 *cbpe_view_order(CbpeView *view, guint score);
/* Of the column's class against the rest; needs predictions. */
const DriftConfusion *cbpe_view_confusion(CbpeView *view, guint column);

/* The views of one stretch of rows, each made when first asked for: metrics with the same needs share theirs, and so
 * orders and confusion matrices. Start with views = {NULL}. */
typedef struct {
  const DriftCbpeRows *rows;
  gsize first, n;
  double *const *calibrated;
  CbpeView *views[8]; /* by needs */
} CbpeViews;
CbpeView *cbpe_views_get(CbpeViews *views, guint needs); /* borrowed */
void cbpe_views_clear(CbpeViews *views);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CbpeViews, cbpe_views_clear)

/* Chunks' settings as copied, with the number of classes. */
typedef struct {
  gsize chunk_size;
  guint n_scores, n_classes;
  DriftConfusionScale confusion_scale;
  gchar **class_names; /* NULL: numbers */
  double *business_value;
  gboolean business_value_per_prediction;
  guint64 seed;
} CbpeSettings;

typedef struct {
  const gchar *name;
  guint needs;      /* of an estimate */
  double low, high; /* range */
  /* FALSE: undefined where the truth or the predictions of a chunk are all one class (what is realised; nannyml). */
  gboolean one_class_allowed;
  double (*measure)(CbpeView *view, const CbpeSettings *settings, guint element, const gchar **undefined);
  /* The sampling error of n rows is this over sqrt(n), or times sqrt(n) where is_total says so. */
  double (*error_coefficient)(CbpeView *reference, const CbpeSettings *settings, guint element);
  gboolean (*is_total)(const CbpeSettings *settings);                  /* NULL: no */
  gchar *(*element_name)(const CbpeSettings *settings, guint element); /* NULL: one element, named as the metric */
  guint (*n_elements)(const CbpeSettings *settings);
} CbpeMetric;

extern const CbpeMetric cbpe_binary_metrics[], cbpe_multiclass_metrics[]; /* end with a NULL name */

/* Elements of the confusion matrix and what they are worth, for any number of classes. */
double cbpe_confusion_measure(CbpeView *view, const CbpeSettings *settings, guint element, const gchar **undefined);
double cbpe_confusion_error(CbpeView *reference, const CbpeSettings *settings, guint element);
gboolean cbpe_confusion_is_total(const CbpeSettings *settings);
gchar *cbpe_confusion_name(const CbpeSettings *settings, guint element);
guint cbpe_confusion_n_elements(const CbpeSettings *settings);
double cbpe_business_measure(CbpeView *view, const CbpeSettings *settings, guint element, const gchar **undefined);
double cbpe_business_error(CbpeView *reference, const CbpeSettings *settings, guint element);
gboolean cbpe_business_is_total(const CbpeSettings *settings);

/* Variance of (negatives below) / negatives over the rarer class's rows, ties half, and that class's share: AUC as a
 * Mann-Whitney statistic. column: of the one class against the rest. */
double cbpe_auc_variance(CbpeView *reference, guint column, double *share);
/* Variance of average precision over 50 samples of half the rows drawn with replacement; *sample: that half. */
double cbpe_ap_variance(CbpeView *reference, guint column, guint64 seed, double *sample);

/* Whether calibration lowers the held-out calibration error; then *calibration is that of all rows, new. outcomes are 0
 * and 1. */
gboolean cbpe_needs_calibration(const double *scores, const double *outcomes, gsize n, DriftIsotonic **calibration);

G_END_DECLS
