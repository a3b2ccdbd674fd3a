/* The operators: one visible table (operator_table.c) of arity, versions, shape inference, reference kernel and an
 * example that documents and tests each. The reference kernels are the specification of what a model computes; sums run
 * in a fixed order, so a row has the same bits in every batch.
 *
 * To add one: infer and run functions in a pipeline/operator_*.c, their prototypes in operator_internal.h, a row
 * there; one page on it in onnx/README.md.
 * Source of the semantics: https://onnx.ai/onnx/operators/ ; differences are in onnx/README.md.
 */
#pragma once

#include "onnx/graph.h"
#include "pipeline/backend.h"
#include "pipeline/tensor.h"

G_BEGIN_DECLS

typedef struct _PipelineOperator PipelineOperator;

/* What one run may still use; hostile files are small and ask for much. */
typedef struct {
  guint64 bytes;          /* of tensors and scratch */
  double multiplications; /* of products, convolutions and the like */
} PipelineBudget;

typedef struct _PipelineWiden PipelineWiden;

/* One node on its way through its operator. */
typedef struct {
  const PipelineOperator *operator;
  const OnnxNode *node;
  gint64 opset; /* of the operator's domain */
  const PipelineBackend *backend;
  const PipelineTensor **inputs; /* [n_inputs]; NULL: left out (in prepare: or not constant) */
  guint n_inputs;
  PipelineTensor **outputs; /* [n_outputs]; never NULL for index 0; NULL: nobody asks for it */
  guint n_outputs;
  PipelineBudget *budget;
  gboolean as_written;       /* Dropout and BatchNormalization obey training_mode; else they predict */
  gboolean lenient;          /* probing: values that a kernel would refuse (an unknown category) become neutral ones */
  GStringChunk *texts;       /* for texts that a kernel makes; lives until the next run */
  gpointer state;            /* made by prepare */
  GDestroyNotify state_free; /* or NULL */
  PipelineWiden *widen;      /* wider copies of inputs and outputs, when the row asks for them (operator_widen.c) */
} PipelineCall;

/* Element types that a row computes in a wider one: its functions then see only the wide type. */
typedef enum {
  PIPELINE_WIDEN_NONE = 0,
  PIPELINE_WIDEN_HALF = 1,     /* float16 and bfloat16 as float32; output 0 is rounded back */
  PIPELINE_WIDEN_HALF_ALL = 2, /* … every float32 output is */
  PIPELINE_WIDEN_INTEGERS = 4  /* int8, int16, uint8, uint16, uint32 as int64; output 0 drops the high bits again */
} PipelineWidenFlags;

struct _PipelineOperator {
  const gchar *domain; /* "" is ai.onnx */
  const gchar *name;
  gint64 since; /* first operator set version that this row describes */
  guint min_inputs, max_inputs, max_outputs;
  /* Reads attributes and constant inputs once; NULL: nothing to prepare. */
  gboolean (*prepare)(PipelineCall *call, GError **error);
  /* Sets type and shape of every output from the inputs. */
  gboolean (*infer)(PipelineCall *call, GError **error);
  /* Fills the outputs, whose memory the caller provided. */
  gboolean (*run)(PipelineCall *call, GError **error);
  gconstpointer parameter; /* tells rows apart that share functions */
  const gchar *example;    /* see pipeline/operator_example.c */
  guint widen;             /* PipelineWidenFlags */
};

extern const PipelineOperator pipeline_operators[]; /* ends with name NULL */

/* The row for that operator in that version of its domain, or NULL. */
const PipelineOperator *pipeline_operator_find(const gchar *domain, const gchar *name, gint64 opset);
/* Every node's operator is known, has its arity, and no subgraph. All unknown operators are named at once
 * (UNSUPPORTED). */
gboolean pipeline_operator_check_graph(const OnnxGraph *graph, GError **error);
/* The row's functions, through wider types where the row says so. */
gboolean pipeline_call_infer(PipelineCall *call, GError **error);
gboolean pipeline_call_run(PipelineCall *call, GError **error);
/* Frees state and wide copies. */
void pipeline_call_clear(PipelineCall *call);
/* Runs the example of the row with the reference backend and compares (1e-5 relative or absolute). */
gboolean pipeline_operator_selftest(const PipelineOperator *operator, GError ** error);

G_END_DECLS
