/* Rewrites that make a graph smaller: BatchNormalization folded away, weights and activations in 8 bits, units removed.
 * What is to be rewritten is found here, from the graph alone; the numbers that a rewrite needs (ranges of activations,
 * units to keep) come from whoever has rows (pipeline/quantize.h, pipeline/prune.h).
 */
#pragma once

#include "onnx/graph.h"

G_BEGIN_DECLS

/* BatchNormalization behind a Conv or Gemm with constant weights that nothing else reads becomes part of its weights
 * and bias (Jacob et al. 2018, section 3.2). Call onnx_graph_simplify before. Returns how many were folded. */
guint onnx_graph_fold_normalisation(OnnxGraph *graph);

/* --- 8-bit integers ----------------------------------------------------------------------------------------------- */

typedef struct {
  OnnxType activations; /* INT8 or UINT8 */
  /* Weights use all 8 bits. Else 7: pairs of products then fit 16 bits, which processors without VNNI add with
   * saturation (ONNX Runtime does so with activations of both types). */
  gboolean full_range;
  gboolean per_tensor; /* one scale for the weights of a node; else one for each output channel */
  /* Products that stay in floating point: "first", "last", or patterns ("*", "?") of names of nodes or weights;
   * NULL: none. */
  const gchar *const *keep;
} OnnxQuantizeOptions;

/* A value that becomes 8-bit. */
typedef struct {
  gchar *name;
  guint same; /* index of the value whose scale it shares: its own, or that of the value in front of a MaxPool, … */
} OnnxQuantizeValue;

typedef struct {
  GArray *values;                   /* of OnnxQuantizeValue, in the order of the nodes that make them */
  GHashTable *nodes;                /* set of OnnxNode* (borrowed): products and sums that compute on 8 bits */
  guint n_products, n_sums, n_kept; /* Conv, Gemm, MatMul; Add; products that stay in floating point */
} OnnxQuantizePlan;

/* What can be computed on 8 bits: Conv, Gemm and MatMul with constant weights (Gemm without transA), Add of two such
 * branches, and the pools and changes of shape between them. The graph must stay as it is until it is quantised.
 * UNSUPPORTED, with the reason: there is no such product, all are kept, it is 8-bit already, the operator set is older
 * than 13 (scales of channels); INVALID: a pattern that matches nothing. */
OnnxQuantizePlan *onnx_quantize_plan_new(const OnnxGraph *graph, const OnnxQuantizeOptions *options, GError **error);
void onnx_quantize_plan_free(OnnxQuantizePlan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OnnxQuantizePlan, onnx_quantize_plan_free)

typedef struct {
  float low, high; /* finite; widened to hold 0 */
} OnnxQuantizeRange;

/* The scale and zero point of that range in INT8 (−128 … 127) or UINT8 (0 … 255), asymmetric; 0 is exact. */
void onnx_quantize_scale(OnnxQuantizeRange range, OnnxType type, float *scale, gint *zero_point);

/* Writes QuantizeLinear and DequantizeLinear behind every value of the plan, and the weights as INT8 (symmetric) with
 * DequantizeLinear behind them, biases as INT32 of scale activation × weight. ranges [plan->values->len] by value;
 * those of values that share another's scale are not read. */
void onnx_graph_quantize(OnnxGraph *graph, const OnnxQuantizePlan *plan, const OnnxQuantizeOptions *options,
                         const OnnxQuantizeRange *ranges);

/* --- units -------------------------------------------------------------------------------------------------------- */

/* A tensor of which every unit owns `block` consecutive indices of one axis. */
typedef struct {
  gchar *name;
  guint axis;
  gsize block;
  gboolean incoming; /* the weights that make the unit: its norm is theirs */
} OnnxUnitSlice;

/* The units of one layer: outputs of a Gemm, MatMul or channels of a Conv that only the next layer reads. */
typedef struct {
  gchar *name;       /* of the weights that make them */
  gchar *activation; /* the value that the next layer takes, in front of changes of shape */
  gboolean image;    /* units are axis 1 of the activation; else its last axis */
  guint n_units;
  GArray *slices; /* of OnnxUnitSlice */
} OnnxUnits;

/* Of OnnxUnits*: every layer whose units can be removed. From the product over bias, normalisation, elementwise
 * activations, pools and Flatten to the next Gemm, MatMul or Conv, each value read once and each weight used once; a
 * layer that a skip, a recurrence or a graph output reads is not in the list. */
GPtrArray *onnx_graph_find_units(const OnnxGraph *graph);
/* Sum of the absolute incoming weights of each unit; new [n_units]. */
double *onnx_units_norms(const OnnxGraph *graph, const OnnxUnits *units);
/* Keeps the units with kept[unit], at least one, in every slice; declared shapes of intermediate values are dropped. */
void onnx_graph_keep_units(OnnxGraph *graph, const OnnxUnits *units, const gboolean *kept);

G_END_DECLS
