/* Networks and rows for check_gpu and bench_gpu: the same ones as in bench_torch.py. */
#pragma once

#include "pipeline/graph_fit.h"

G_BEGIN_DECLS

typedef struct {
  const gchar *name;
  OnnxGraph *(*build)(PipelineRandom *random);
  guint n_dims;
  gint64 dims[3]; /* of one row */
  guint outputs;  /* classes; 1: a yes or no (binary) */
  guint tokens;   /* inputs are token numbers below this; 0: uniform numbers */
} Network;

extern const Network networks[]; /* ends with name NULL */
const Network *network_find(const gchar *name);

/* A network with random rows; owns all but the network. */
typedef struct {
  const Network *network;
  OnnxGraph *graph;
  PipelineGraphPlan *plan;
  float *x, *targets;
  guint64 *rows;
  PipelineGraphHead head;
  PipelineGraphData data;
} World;
World *network_world_new(const Network *network, guint n_rows, guint n_validation, GError **error);
void network_world_free(World *world);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(World, network_world_free)

G_END_DECLS
