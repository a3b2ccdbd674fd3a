/* The layers of a dense network alone as an ONNX graph: one input "features" [N, n_inputs], one output, behind it what
 * the loss goes with. What trains graphs trains them so (pipeline/trainer_fit_graph.h). */
#pragma once

#include "pipeline/network.h"

G_BEGIN_DECLS

GBytes *pipeline_network_to_onnx(const PipelineNetwork *network, GError **error);
/* The weights of such a graph become the network's. MODEL: it is not one of this network. */
gboolean pipeline_network_take_onnx(PipelineNetwork *network, GBytes *onnx, GError **error);

G_END_DECLS
