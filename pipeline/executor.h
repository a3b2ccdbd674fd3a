/* Runs an ONNX graph: a plan of nodes over numbered tensors, made once, run for any number of rows.
 *
 *     g_autoptr(PipelineExecutor) executor = pipeline_executor_new(graph, backend, &error);
 *     PipelineTensor *input = pipeline_executor_get_input(executor, 0);      // set shape, allocate, fill
 *     pipeline_executor_run(executor, &error);
 *     const PipelineTensor *output = pipeline_executor_get_output(executor, 0);
 *
 * Memory grows to the largest batch and stays: nothing is allocated per row. One thread at a time.
 */
#pragma once

#include "onnx/graph.h"
#include "pipeline/backend.h"
#include "pipeline/tensor.h"

G_BEGIN_DECLS

typedef struct _PipelineExecutor PipelineExecutor;

typedef struct {
  guint64 max_bytes;          /* of all tensors and scratch that one run fills (not of inputs and initialisers) */
  double max_multiplications; /* of one run */
  gboolean as_written; /* Dropout and BatchNormalization obey training_mode; FALSE: they predict, whatever it says */
} PipelineExecutorOptions;
#define PIPELINE_EXECUTOR_OPTIONS_INIT                                                                                 \
  {                                                                                                                    \
    .max_bytes = G_GUINT64_CONSTANT(1) << 30, .max_multiplications = 0x1p36, .as_written = FALSE                       \
  }

/* Borrows the graph, which must not change while the executor lives; call onnx_graph_simplify before. Nodes whose
 * inputs are all constant are computed here, once. Errors (MODEL, UNSUPPORTED) name node and operator. */
PipelineExecutor *pipeline_executor_new(const OnnxGraph *graph, const PipelineBackend *backend, GError **error);
PipelineExecutor *pipeline_executor_new_with_options(const OnnxGraph *graph, const PipelineBackend *backend,
                                                     const PipelineExecutorOptions *options, GError **error);
void pipeline_executor_free(PipelineExecutor *executor);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineExecutor, pipeline_executor_free)

/* The tensor of graph->inputs[index], for the caller to fill before each run; the executor never writes it. */
PipelineTensor *pipeline_executor_get_input(PipelineExecutor *executor, guint index);
/* The tensor of graph->outputs[index] after a run; borrowed until the next. */
const PipelineTensor *pipeline_executor_get_output(const PipelineExecutor *executor, guint index);
/* Only the nodes that outputs with wanted[index] need are run from now on. */
void pipeline_executor_want_outputs(PipelineExecutor *executor, const gboolean *wanted);
/* lenient: for probing shapes with made-up inputs (see PipelineCall). */
gboolean pipeline_executor_run(PipelineExecutor *executor, gboolean lenient, GError **error);
/* The tensor of that name, as the last run left it; NULL when no input, initialiser or node has the name. */
const PipelineTensor *pipeline_executor_get_value(const PipelineExecutor *executor, const gchar *name);
/* The value of that name when it is constant (an initialiser or folded), else NULL. */
const PipelineTensor *pipeline_executor_get_constant(const PipelineExecutor *executor, const gchar *name);

G_END_DECLS
