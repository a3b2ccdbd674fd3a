/* A dense network as the target of an attack (pipeline/attack.h): its numeric features move, in units of their standard
 * deviations, behind whatever affine preprocessing stands in front of the layers. Categories stay. */
#pragma once

#include "pipeline/attack.h"
#include "pipeline/network.h"

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

/* Buffers for batches of at most the pass's max_rows rows; borrows pass, network and space. */
typedef struct _PipelineNetworkAttack PipelineNetworkAttack;
PipelineNetworkAttack *pipeline_network_attack_new(PipelinePass *pass, const PipelineNetwork *network,
                                                   const PipelineAttackSpace *space);
void pipeline_network_attack_free(PipelineNetworkAttack *attack);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineNetworkAttack, pipeline_network_attack_free)
/* PGD (pipeline_attack_climb) on x [n, n_inputs] with targets [n], L-infinity, `steps` steps of 2.5 epsilon / steps
 * from a random start. attacked [n, n_inputs] gets the moved rows, shifts [n, n_features] (NULL: not wanted) the moves
 * in standard deviations. */
gboolean pipeline_network_attack_run(PipelineNetworkAttack *attack, double epsilon, guint steps, const float *x,
                                     const float *targets, guint n, PipelineRandom *random, float *attacked,
                                     float *shifts, GError **error);

G_END_DECLS
