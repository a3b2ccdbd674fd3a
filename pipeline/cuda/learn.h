/* Losses and optimisers of the backend "cuda". */
#pragma once

#include "pipeline/graph_device.h"

extern const PipelineGraphDevice pipeline_cuda_graph;
