/* Projected gradient descent (Madry et al. 2018, https://arxiv.org/abs/1706.06083) against a dense network, in the
 * L-infinity ball around each row's numeric features, measured in units of each feature's standard deviation.
 * Categories stay. */
#pragma once

#include "pipeline/network.h"
#include "pipeline/trainer_random.h"

G_BEGIN_DECLS

/* How the feature matrix moves when the attacked features do: moving feature[e] by one standard deviation moves
 * column[e] by gain[e]. Entries are sparse and sorted by feature. */
typedef struct {
  guint n_features; /* attacked features */
  guint n_entries;
  guint *feature, *column; /* [n_entries] */
  float *gain;             /* [n_entries] */
} PipelineAttackSpace;
/* Space in which every one of n columns is a feature of its own with the given gains [n]; gains are copied. */
PipelineAttackSpace *pipeline_attack_space_new(guint n, const float *gains);
void pipeline_attack_space_add(PipelineAttackSpace *space, guint feature, guint column, float gain);
void pipeline_attack_space_free(PipelineAttackSpace *space);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineAttackSpace, pipeline_attack_space_free)

typedef struct {
  double epsilon;      /* radius, in standard deviations */
  guint steps;         /* of size 2.5 epsilon / steps */
  gboolean keep_worst; /* deliver the point of the highest loss on the way, not the last one */
} PipelineAttackOptions;

/* Buffers for batches of at most the pass's max_rows rows; borrows pass and space. */
typedef struct _PipelineAttack PipelineAttack;
PipelineAttack *pipeline_attack_new(PipelinePass *pass, const PipelineNetwork *network,
                                    const PipelineAttackSpace *space);
void pipeline_attack_free(PipelineAttack *attack);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineAttack, pipeline_attack_free)
/* Attacks x [n, n_inputs] with targets [n], from a random start. attacked [n, n_inputs] gets the moved rows, shifts
 * [n, n_features] (NULL: not wanted) the moves in standard deviations. */
gboolean pipeline_attack_run(PipelineAttack *attack, const PipelineAttackOptions *options, const float *x,
                             const float *targets, guint n, PipelineRandom *random, float *attacked, float *shifts,
                             GError **error);

G_END_DECLS
