/* A loaded model as the target of an attack (pipeline/attack.h): the numbers of its inputs are the features, texts
 * stay. Gradients flow through the model's own graph from its logits to its inputs (pipeline/graph_pass.h). */
#pragma once

#include "drift/table.h"
#include "pipeline/attack.h"
#include "pipeline/model.h"

G_BEGIN_DECLS

#define PIPELINE_ATTACK_ROWS 256u /* rows of one batch */

typedef enum {
  PIPELINE_ATTACK_CROSS_ENTROPY,
  PIPELINE_ATTACK_MARGIN /* largest score of another class less that of the row's own */
} PipelineAttackLoss;

typedef struct _PipelineAttackModel PipelineAttackModel;
/* Borrows the model, which answers others meanwhile only between calls. A model without gradients is no error: the
 * target's has_gradient is FALSE and pipeline_attack_model_get_reason says why. UNSUPPORTED: a regression, or a model
 * without numeric inputs. */
PipelineAttackModel *pipeline_attack_model_new(PipelineModel *model, PipelineAttackLoss loss, GError **error);
void pipeline_attack_model_free(PipelineAttackModel *attacked);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineAttackModel, pipeline_attack_model_free)
/* Schema indices of the features that points are made of, in order; of guint; borrowed. */
const GArray *pipeline_attack_model_get_features(const PipelineAttackModel *attacked);
const gchar *pipeline_attack_model_get_reason(const PipelineAttackModel *attacked); /* NULL: it has gradients */
PipelineAttackTarget pipeline_attack_model_get_target(PipelineAttackModel *attacked);
/* The batch of the next answers: n <= PIPELINE_ATTACK_ROWS rows of the table from `first` on with labels [n] (classes
 * of the schema). numbers [n, n_features] gets their numbers. */
gboolean pipeline_attack_model_take(PipelineAttackModel *attacked, const DriftTable *table, guint64 first, guint n,
                                    const guint *labels, double *numbers, GError **error);
/* What row i of the batch has in a feature of the schema: texts may be exchanged (borrowed until the next batch). */
DriftValue pipeline_attack_model_get_value(const PipelineAttackModel *attacked, guint row, guint feature);
void pipeline_attack_model_set_value(PipelineAttackModel *attacked, guint row, guint feature, const DriftValue *value);
/* decisions [n]: the classes that the model itself gives to points [n <= PIPELINE_ATTACK_ROWS, n_features] of rows [n]
 * of the batch (NULL: in order). */
gboolean pipeline_attack_model_decide(PipelineAttackModel *attacked, const float *points, const guint *rows, guint n,
                                      guint *decisions, GError **error);

G_END_DECLS
