/* Evasion attacks: points near given rows that a model gets wrong. One visible table of attacks (attack.c), each
 * against anything that answers for points (a network, a graph, a model), within a norm ball, ranges and whole numbers.
 *
 *     PipelineAttackBounds *bounds = pipeline_attack_bounds_new(&ball, rows, n);
 *     pipeline_attack_run(&options, &target, &ball, bounds, &random, points, fooled, queries, &error);
 *
 * Sources: fgsm: Goodfellow et al. 2015 (https://arxiv.org/abs/1412.6572); pgd: Madry et al. 2018
 * (https://arxiv.org/abs/1706.06083); square: Andriushchenko et al. 2020 (https://arxiv.org/abs/1912.00049), random
 * sets of features instead of squares; hopskipjump: Chen et al. 2020 (https://arxiv.org/abs/1904.02144).
 */
#pragma once

#include "pipeline/error.h"
#include "pipeline/trainer_random.h"

G_BEGIN_DECLS

typedef enum { PIPELINE_NORM_INFINITY, PIPELINE_NORM_2 } PipelineNorm;

/* Which numbers a feature may take at all. */
typedef enum {
  PIPELINE_RANGE_NONE,
  PIPELINE_RANGE_DATA, /* lowest to highest number of each feature in the data */
  PIPELINE_RANGE_GIVEN /* the same for every feature */
} PipelineRangeKind;

/* --- where a point may go ----------------------------------------------------------------------------------------- */

/* Borrowed arrays [n_features]. */
typedef struct {
  guint n_features;
  PipelineNorm norm;
  double epsilon;           /* radius, in units of scale */
  const double *scale;      /* one unit; 0: the feature stays. NULL: all 1 */
  const gboolean *integer;  /* moves by whole numbers; NULL: none */
  const double *low, *high; /* range; a row outside may stay or come nearer. NULL: none */
} PipelineAttackBall;

/* What the ball leaves to each of n rows, as the float32 numbers that models take; rounded inwards. */
typedef struct {
  guint n, n_features;
  double *rows;      /* [n, n_features]: as given */
  float *base;       /* [n, n_features]: the same as float32 */
  float *low, *high; /* [n, n_features]; equal where the feature stays (also where it is missing: NaN) */
} PipelineAttackBounds;
PipelineAttackBounds *pipeline_attack_bounds_new(const PipelineAttackBall *ball, const double *rows, guint n);
/* The same for float rows. */
PipelineAttackBounds *pipeline_attack_bounds_new_float(const PipelineAttackBall *ball, const float *rows, guint n);
void pipeline_attack_bounds_free(PipelineAttackBounds *bounds);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineAttackBounds, pipeline_attack_bounds_free)

/* Distance of a point from its row in the ball's norm, in units of scale; a number that equals the rounded row's has
 * not moved. Infinite when a feature moved that must stay. */
double pipeline_attack_distance(const PipelineAttackBall *ball, const double *row, const float *point);
/* The point keeps to radius, ranges, whole numbers and fixed features, computed in double without tolerance. */
gboolean pipeline_attack_holds(const PipelineAttackBall *ball, const double *row, const float *point);

/* --- what is attacked --------------------------------------------------------------------------------------------- */

/* What is known about n points. Arrays of the caller; gradient is the target's, valid until the next answer. */
typedef struct {
  gboolean want_gradient;
  double *losses;        /* [n]: what an attack raises */
  gboolean *fooled;      /* [n]: the class is not the row's; NULL: not wanted */
  const float *gradient; /* [n, n_features] of losses */
} PipelineAttackAnswer;

typedef struct {
  gpointer self;
  guint n_features;
  gboolean has_gradient;
  /* points [n, n_features]; point i belongs to row rows[i] of the batch, whose label the target knows. */
  gboolean (*answer)(gpointer self, const float *points, const guint *rows, guint n, PipelineAttackAnswer *answer,
                     GError **error);
} PipelineAttackTarget;

/* --- attacks: one table ------------------------------------------------------------------------------------------- */

typedef struct _PipelineAttackType PipelineAttackType;

typedef struct {
  const PipelineAttackType *type;
  guint steps;           /* of pgd; 40 */
  guint restarts;        /* pgd from so many random starts; 1 */
  double step_size;      /* in units of scale; 0: 2.5 epsilon / steps */
  gboolean random_start; /* else from the row itself (restarts after the first are random); TRUE */
  gboolean early_exit;   /* leave a row as soon as it is wrong; TRUE */
  guint queries;         /* of square and hopskipjump: answers a row at most; 1000 */
} PipelineAttackOptions;
void pipeline_attack_options_init(PipelineAttackOptions *options);

typedef struct _PipelineAttackSearch PipelineAttackSearch; /* attack_internal.h */

struct _PipelineAttackType {
  const gchar *name, *summary;
  gboolean needs_gradient;
  gboolean norm_2; /* works in the Euclidean norm, too */
  gboolean (*run)(PipelineAttackSearch *search, GError **error);
};
extern const PipelineAttackType pipeline_attack_types[]; /* ends with name NULL */
/* INVALID lists the known ones. */
const PipelineAttackType *pipeline_attack_find(const gchar *name, GError **error);

/* Attacks every row of `bounds`. points [n, n_features] gets a wrong point of the row, else the one of highest loss on
 * the way (hopskipjump: the row); fooled [n] and queries [n] (answers asked for the row) may be NULL. Every point keeps
 * to the bounds and to the radius. UNSUPPORTED: the attack needs gradients or another norm. */
gboolean pipeline_attack_run(const PipelineAttackOptions *options, const PipelineAttackTarget *target,
                             const PipelineAttackBall *ball, const PipelineAttackBounds *bounds, PipelineRandom *random,
                             float *points, gboolean *fooled, guint64 *queries, GError **error);
/* The inner maximisation of adversarial training: `steps` steps of `step_size` from a random start (or the row), the
 * last point, whatever its loss. points [n, n_features]. */
gboolean pipeline_attack_climb(const PipelineAttackOptions *options, const PipelineAttackTarget *target,
                               const PipelineAttackBall *ball, const PipelineAttackBounds *bounds,
                               PipelineRandom *random, float *points, GError **error);

G_END_DECLS
