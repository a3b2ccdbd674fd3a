/* The adaptation policy of one model: when its errors rose, since when, what to train on which rows, and when an older
 * version of the pool is the better one. A pure state machine over error bits: no I/O, no clock, no randomness, so that
 * the same rows give the same decisions, on any store and after any crash.
 *
 * Rows are the model's labelled rows in the leader's order, numbered from 0. "Errors" are 0 (right), 1 (wrong) or 2
 * (not known) of one version on each row.
 *
 *  - Abrupt change: Bernoulli generalised likelihood ratio on the champion's errors (drift/change.h), divided by tau,
 * the factor by which autocorrelation inflates the variance of block means (von Neumann's successive differences, so
 * that a level shift does not count). Alarm at g / tau > ln(rows / budget) + ADAPT_GLR_MARGIN.
 *  - Slow loss: the error of the last ADAPT_LEVEL_ROWS rows lies significantly above what the first
 *    champion promised (a later version that serves well closes the incident; it does not lower the bar).
 *  - Training starts at the estimated change point, in growing steps; while a slow loss lasts, every `refresh_rows`.
 *  - An older version that is better on the latest rows by a margin and beyond chance is promoted again.
 * Figures behind the constants: pipeline/README.md and tests/loop/README.md.
 */
#pragma once

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

#define ADAPT_HISTORY 2500 /* rows of error bits kept for each version */
#define ADAPT_LEVEL_ROWS 1000
#define ADAPT_GLR_MARGIN 13.5 /* union bound over splits and panes needs ~4; the rest is reserve for dependence */
#define ADAPT_MAXIMUM_STEPS 8

typedef struct {
  double budget, per_rows;          /* at most `budget` false alarms in `per_rows` labelled rows */
  double promise_margin;            /* .03: a loss smaller than this is not worth an incident */
  double level_z;                   /* 4 standard errors beyond promise + margin */
  double recall_slack;              /* .05: an older version takes over when it is within this of the error before */
  double pool_margin, pool_z;       /* .05 and 4 standard errors: when the pool's best replaces the champion */
  guint pool_rows;                  /* 200: rows on which the pool is compared */
  guint pool;                       /* 12 versions; 0: no pool */
  guint steps[ADAPT_MAXIMUM_STEPS]; /* rows since the change at which a model is trained; 0 ends the list */
  guint refit_until;                /* steps up to here refit the last layer, later ones train the whole model */
  double retrain_need;              /* .03: a full training only while the error exceeds the promise by this */
  guint refresh_rows;               /* 1000: distance of refreshes while a slow loss lasts; 0: none */
  guint refresh_window;             /* 1500 rows a refresh trains on */
  guint maximum_rows;               /* 4000 rows a training uses at the most */
  guint minimum_rows;               /* 50: no training on fewer */
  double holdout_fraction;          /* .2: the newest rows, for the gate */
  gboolean served; /* FALSE. TRUE: the errors are those of whatever version served each row, as one series; there is no
                    * pool and nothing is trained here: the model learns online (pipeline/mixture.h) */
} AdaptSettings;
void adapt_settings_init(AdaptSettings *settings);
json_t *adapt_settings_to_json(const AdaptSettings *settings);
gboolean adapt_settings_from_json(const json_t *json, AdaptSettings *settings);

typedef struct _Adapt Adapt;
/* champion: the version serving now; promise: the error rate it promised, measured on promise_rows rows (NaN, 0: not
 * known; then the first ADAPT_LEVEL_ROWS rows are taken as the promise). */
Adapt *adapt_new(gint64 champion, double promise, guint promise_rows);
/* Before the first pane: rows below `row` were labelled before there was a champion. */
void adapt_begin_at(Adapt *adapt, gint64 row);
void adapt_free(Adapt *adapt);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Adapt, adapt_free)

typedef enum { ADAPT_TRAIN_NONE, ADAPT_TRAIN_REFIT, ADAPT_TRAIN_RETRAIN } AdaptTraining;

/* What one pane of labelled rows led to. */
typedef struct {
  gboolean alarm;             /* abrupt change found on this pane */
  double glr, tau, threshold; /* statistic before division; NaN: too few rows */
  gint64 change_row;          /* first row after the change (alarm only) */
  double error_before, error_after;
  guint64 n_before, n_after;
  gboolean level_alarm;
  double level_error, level_z, promise; /* NaN: undefined yet */
  guint level_rows;
  gboolean opened, closed;                            /* the performance incident */
  gint64 promote;                                     /* version of the pool to promote; 0: none */
  const gchar *promote_why;                           /* static: "recall" or "pool" */
  double promote_gain, promote_error, champion_error; /* on promote_rows rows */
  guint promote_rows;
  AdaptTraining training;
  gint64 training_first, training_next; /* rows [first, next) of which the last holdout_fraction are held out */
} AdaptStep;

/* The versions whose errors adapt_pane wants: the pool with the champion, ascending; borrowed. */
const gint64 *adapt_get_versions(const Adapt *adapt, guint *n);
gint64 adapt_get_champion(const Adapt *adapt);
gint64 adapt_get_rows(const Adapt *adapt);
gboolean adapt_is_open(const Adapt *adapt);
/* errors: [n_versions][n_rows] in the order of adapt_get_versions. */
void adapt_pane(Adapt *adapt, const AdaptSettings *settings, const guint8 *const *errors, guint n_rows,
                AdaptStep *step);
/* A trained version joins the pool; promoted: it is the champion now. Evicts the oldest version that is neither the
 * first nor the champion. */
void adapt_add_version(Adapt *adapt, const AdaptSettings *settings, gint64 version, gboolean promoted);
/* Errors of a version on rows [first, first + n), e.g. of a new one on the rows before it was made. */
void adapt_set_errors(Adapt *adapt, gint64 version, gint64 first, const guint8 *errors, guint n);
/* Another version serves now (an operator's promotion, a rollback). */
void adapt_set_champion(Adapt *adapt, const AdaptSettings *settings, gint64 version);
/* Canonical. */
json_t *adapt_to_json(const Adapt *adapt);
Adapt *adapt_from_json(const json_t *json, GError **error);

/* The champion's minus the other version's error rate on the newest n rows, and its standard error (blocks of 25 rows).
 * FALSE: one of them is not in the pool, or some of the rows are not known; outputs untouched. */
gboolean adapt_compare(const Adapt *adapt, gint64 other, guint n, double *gain, double *standard_error);
/* That of the champion's known errors; NaN with fewer than 200 of them. */
double adapt_get_autocorrelation(const Adapt *adapt);

G_END_DECLS
