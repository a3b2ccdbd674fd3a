/* The training of a dense network on a feature matrix (pipeline/trainer_fit.h) by what trains graphs
 * (pipeline/graph_trainer.h): on a CUDA device, or by several processes. First weights, order of rows, steps and rates
 * are the same, so that the weights differ by rounding alone. */
#pragma once

#include "pipeline/network.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_rows.h"

G_BEGIN_DECLS

/* The backend is one that only graphs know, or several processes train. */
gboolean pipeline_fit_needs_graph(const PipelineTrainOptions *options);
/* Before anything is read. INVALID: adversarial training; UNSUPPORTED: there is no such device, and why. */
gboolean pipeline_fit_check_graph(const PipelineTrainOptions *options, GError **error);

typedef struct _PipelineFitGraph PipelineFitGraph;
/* Copies of x [rows of the table, n_inputs] and weights [rows of the table] (NULL: all count alike) what trains and
 * validates, and the network's layers; targets are those of the network's loss. */
PipelineFitGraph *pipeline_fit_graph_new(const PipelineNetwork *network, const DriftSchema *schema,
                                         const PipelineTrainerRows *rows, const float *x, const float *weights,
                                         GError **error);
void pipeline_fit_graph_free(PipelineFitGraph *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineFitGraph, pipeline_fit_graph_free)
/* The network's parameters become those of the best epoch. `made` has what is to say of the training; its onnx is NULL.
 */
gboolean pipeline_fit_graph_run(const PipelineFitGraph *self, const PipelineTrainOptions *options,
                                PipelineNetwork *network, PipelineTrainProgressFunc progress, gpointer user_data,
                                PipelineTrainResult *made, GError **error);

G_END_DECLS
