/* A small graph and rows that it learns: features -> Gemm -> BatchNormalization -> Relu -> Dropout -> Gemm -> Softmax.
 */
#pragma once

#include "pipeline/graph_fit.h"

#define GRAPH_WORLD_WIDTH 6
#define GRAPH_WORLD_HIDDEN 16
#define GRAPH_WORLD_CLASSES 3
#define GRAPH_WORLD_ROWS 300

/* Everything one training needs. */
typedef struct {
  OnnxGraph *graph;
  PipelineGraphPlan *plan;
  PipelineGraphHead head;
  PipelineGraphData data;
  PipelineGraphFitOptions options;
  float *x, *targets;
  guint64 *rows;
} GraphWorld;

void graph_world_take_random(OnnxGraph *graph, const gchar *name, gint64 rows, gint64 columns, PipelineRandom *random);
void graph_world_take_constant(OnnxGraph *graph, const gchar *name, gint64 n, float value);
OnnxGraph *graph_world_new_graph(void);
void graph_world_init(GraphWorld *world);
void graph_world_clear(GraphWorld *world);
PipelineGraphFit *graph_world_fit(GraphWorld *world);       /* on the reference */
void graph_world_run(PipelineGraphFit *fit, guint64 steps); /* up to so many batches */
