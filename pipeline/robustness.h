/* How robust a model is: its accuracy on labelled rows when an attack (pipeline/attack.h) may move each row's numbers
 * within a ball, ranges and other constraints. The model itself has the last word on every point. */
#pragma once

#include "drift/table.h"
#include "pipeline/attack.h"
#include "pipeline/attack_model.h"

G_BEGIN_DECLS

typedef struct {
  PipelineAttackOptions attack;
  PipelineAttackLoss loss; /* that the attack raises; cross-entropy */
  PipelineNorm norm;
  double epsilon;
  gboolean absolute;       /* epsilon in units of the features; else in standard deviations of each in the reference */
  PipelineRangeKind range; /* of the reference; PIPELINE_RANGE_DATA */
  double low, high;        /* of PIPELINE_RANGE_GIVEN */
  const gchar *const *immutable; /* features that stay; NULL: none */
  const gchar *const *integer;   /* numbers that move by whole numbers; NULL: none */
  const gchar *const *one_hot;   /* groups "a+b+c" of numbers of which one is 1 and the others 0: they stay; NULL */
  /* Texts that may become another known value (of the reference), and groups "a+b+c" as above whose 1 may move, at most
   * category_budget of them a row: L0. They are searched for greedily, by the model's answers, before the attack moves
   * the numbers. NULL: texts and groups stay. */
  const gchar *const *mutable_categories;
  guint category_budget;       /* 1 */
  const DriftTable *reference; /* for standard deviations and ranges; NULL: the attacked rows */
  guint64 seed;
} PipelineRobustnessOptions;
void pipeline_robustness_options_init(PipelineRobustnessOptions *options);

/* Of the n rows with a usable label. Arrays [n]; points [n, features] of rows that were not attacked are the rows. */
typedef struct {
  guint64 n, n_skipped;        /* skipped: label missing or no class of the schema */
  guint64 n_right;             /* rows that the model gets right as they are: those are attacked */
  guint64 n_robust;            /* of them: still right at the point found */
  double seconds, cpu_seconds; /* of the attack, without the last look by the model; CPU: of this thread */
  guint64 *rows;               /* of the table */
  guint *labels, *decisions;   /* classes: the true one, the model's at the point */
  gboolean *right, *robust;
  guint64 *queries;
  double *distances; /* of the point, in the norm and unit of epsilon */
  GArray *features;  /* of guint: schema indices of the columns of points */
  float *points;
  GArray *categories;  /* of guint: schema indices of the texts that may move, PIPELINE_ROBUSTNESS_GROUP; NULL: none */
  const gchar **moved; /* [n, categories]: the value (of a group the column) moved to; NULL: it stayed. Interned */
} PipelineRobustness;
#define PIPELINE_ROBUSTNESS_GROUP G_MAXUINT /* a category of one-hot numbers */
void pipeline_robustness_clear(PipelineRobustness *robustness);

/* INVALID: options, unknown names; DATA: fractions in a whole number, a group that is not one-hot (row and column are
 * named); UNSUPPORTED: the attack does not work with this model (regression, no gradients, no numeric input). */
gboolean pipeline_robustness_measure(PipelineModel *model, const DriftTable *table,
                                     const PipelineRobustnessOptions *options, PipelineRobustness *robustness,
                                     GError **error);
/* The attacked rows with the numbers of the points; what has not moved is as it was. New. */
DriftTable *pipeline_robustness_tabulate(const PipelineRobustness *robustness, const DriftSchema *schema,
                                         const DriftTable *table);
/* Rows that every one of n measurements (of the same rows) left right. */
guint64 pipeline_robustness_count_worst(const PipelineRobustness *const *measured, guint n);

/* --- texts and groups (robustness_category.c) -----------------------------------------------------------------------
 */

/* "a+b+c", unless a feature is named so. */
gboolean pipeline_robustness_is_group(const DriftSchema *schema, const gchar *name);
/* What may move: texts with their known values, at most 100 of each, the most frequent, and groups; opaque, in order.
 * features: of guint, schema indices of the columns of points. INVALID: no feature, no text, said to be immutable, or a
 * group with a part that is no number of a point. */
GPtrArray *pipeline_robustness_categories_new(const PipelineRobustnessOptions *options, const DriftSchema *schema,
                                              const GArray *features, const DriftTable *rows, GError **error);
GArray *pipeline_robustness_list_categories(const GPtrArray *categories); /* of guint: see PipelineRobustness; new */
/* Moves texts and groups of the n rows of the target's batch, whose numbers are points [n, features]: there groups
 * move. queries [n] are added to; moved [n, categories] gets what moved. */
gboolean pipeline_robustness_move_categories(PipelineAttackModel *attacked, const GPtrArray *categories, guint budget,
                                             float *points, guint n, guint64 *queries, const gchar **moved,
                                             GError **error);
/* What moved, into the table of the attacked rows. */
void pipeline_robustness_tabulate_categories(const PipelineRobustness *robustness, const DriftSchema *schema,
                                             DriftTable *moved);
/* Texts and groups of that row that moved. */
guint pipeline_robustness_count_moved(const PipelineRobustness *robustness, guint64 row);

/* --- the ball of a table (robustness_ball.c) ---------------------------------------------------------------------- */

typedef struct {
  PipelineAttackBall ball; /* points into the arrays below */
  double *scale, *low, *high;
  gboolean *integer;
} PipelineRobustnessBall;
/* Where the feature of that name is in a point: at features->len, when it is no number of it. */
guint pipeline_robustness_find_column(const DriftSchema *schema, const GArray *features, const gchar *name);
/* features: of guint, schema indices of the columns of points; rows: those that are attacked. */
gboolean pipeline_robustness_ball_init(PipelineRobustnessBall *ball, const PipelineRobustnessOptions *options,
                                       const DriftSchema *schema, const GArray *features, const DriftTable *rows,
                                       GError **error);
void pipeline_robustness_ball_clear(PipelineRobustnessBall *ball);

G_END_DECLS
