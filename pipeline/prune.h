/* Pruning: small weights become 0 and stay it, or whole units leave the graph; then the rest is trained on.
 *
 * Unstructured (Han et al. 2015): the weights of least magnitude, of each layer or of all layers together. With more
 * than one epoch of fine-tuning the share grows in the first half of them along a cubic s (1 − (1 − t)³) (Zhu and Gupta
 * 2017) and stays in the second; what is 0 stays 0, exactly. The file does not shrink by itself: zeros are stored.
 * Structured: units of Gemm, MatMul and Conv (onnx/compress.h) of least L1 norm of their weights (Li et al. 2017) or
 * least mean absolute activation on rows; the graph gets smaller and faster.
 */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "pipeline/trainer.h"

G_BEGIN_DECLS

typedef struct {
  double share; /* of weights or units, in (0, 1) */
  gboolean structured;
  gboolean global;     /* one ranking over all layers (units: of scores over their layer's mean); else in each layer */
  gboolean activation; /* structured: by activations instead of L1 norms */
  guint epochs;        /* of fine-tuning, 0: none. Needs labels and rows of numbers */
  guint batch_size;
  double learning_rate;
  guint64 max_rows; /* that activations are observed on */
  guint64 seed;
  const gchar *backend; /* as in pipeline/graph_trainer.h */
} PipelinePruneOptions;
void pipeline_prune_options_init(PipelinePruneOptions *options); /* half, in each layer, 4 epochs */

typedef struct {
  gchar *name;       /* of the weights */
  guint64 n, n_left; /* weights, or units */
} PipelinePrunedLayer;

typedef struct {
  GPtrArray *layers;                    /* of PipelinePrunedLayer* */
  guint64 n, n_left;                    /* of all of them */
  guint64 rows_trained, rows_validated; /* 0: no fine-tuning */
  gchar *warning;                       /* of the fine-tuning, or NULL */
} PipelinePruned;
void pipeline_pruned_clear(PipelinePruned *pruned);

/* New bytes. UNSUPPORTED: the model has nothing of the kind, or the share is less than one weight or unit; INVALID: an
 * option; DATA: fine-tuning lacks labels or numbers; else as pipeline_graph_train. progress as there, or NULL. */
GBytes *pipeline_prune(GBytes *onnx, const DriftSchema *schema, const DriftTable *table,
                       const PipelinePruneOptions *options, PipelineTrainProgressFunc progress, gpointer user_data,
                       PipelinePruned *result, GError **error);

G_END_DECLS
