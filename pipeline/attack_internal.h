/* What the files of attacks share: attack.c (table and frame), attack_gradient.c, attack_square.c,
 * attack_hopskipjump.c. */
#pragma once

#include "pipeline/attack.h"

G_BEGIN_DECLS

/* One run on one batch. */
struct _PipelineAttackSearch {
  const PipelineAttackOptions *options;
  const PipelineAttackTarget *target;
  const PipelineAttackBall *ball;
  const PipelineAttackBounds *bounds;
  PipelineRandom *random;
  float *best;      /* [n, n_features]: what is delivered */
  double *highest;  /* [n]: its loss */
  gboolean *fooled; /* [n] */
  guint64 *queries; /* [n] */
};

/* Of the ball: 1 where it has none. */
double pipeline_attack_scale(const PipelineAttackBall *ball, guint feature);
gboolean pipeline_attack_has_integers(const PipelineAttackBall *ball);
/* A random point of the row's ball and bounds. */
void pipeline_attack_start(const PipelineAttackSearch *search, guint row, float *point);
/* Back into the ball (Euclidean norm) and the row's bounds. */
void pipeline_attack_project(const PipelineAttackSearch *search, guint row, float *point);
/* The point with whole numbers where they are asked for, still in the ball: towards the row in the Euclidean norm. */
void pipeline_attack_settle(const PipelineAttackSearch *search, guint row, const float *point, float *settled);
/* Keeps a point when it is wrong or of the highest loss so far. TRUE: the row is fooled. */
gboolean pipeline_attack_note(PipelineAttackSearch *search, guint row, const float *point, double loss,
                              gboolean fooled);

gboolean pipeline_attack_run_fgsm(PipelineAttackSearch *search, GError **error);
gboolean pipeline_attack_run_pgd(PipelineAttackSearch *search, GError **error);
gboolean pipeline_attack_run_square(PipelineAttackSearch *search, GError **error);
gboolean pipeline_attack_run_hopskipjump(PipelineAttackSearch *search, GError **error);

G_END_DECLS
