/* An ONNX model in memory: plain structures that own what they point to, read from and written to ONNX bytes.
 *
 * What is modelled is a field below; everything else a file carries (newer protobuf fields, subgraph attributes, doc
 * strings of nodes, training info, functions, …) is kept as the raw bytes `preserved` of its message and written back.
 *
 * Building from scratch:
 *
 *     g_autoptr(OnnxGraph) graph = onnx_graph_new("mlp");
 *     onnx_graph_set_opset(graph, "", 17);
 *     onnx_graph_add_input(graph, "input", ONNX_TYPE_FLOAT, "N,6");
 *     onnx_graph_take_initialiser(graph, onnx_tensor_new("w", ONNX_TYPE_FLOAT, 2, (gint64[]){6, 2}, weights));
 *     OnnxNode *node = onnx_graph_add_node(graph, "", "MatMul", "input,w", "scores");
 *     node = onnx_graph_add_node(graph, "", "Softmax", "scores", "probabilities");
 *     onnx_node_set_int(node, "axis", 1);
 *     onnx_graph_add_output(graph, "probabilities", ONNX_TYPE_FLOAT, "N,2");
 *     g_autoptr(GBytes) bytes = onnx_graph_to_bytes(graph, &error);
 *
 * Source of the format: onnx.proto (IR 8) of Debian's libonnx-dev and https://onnx.ai/onnx/repo-docs/IR.html.
 */
#pragma once

#include <glib.h>

#include "onnx/error.h"

G_BEGIN_DECLS

/* Element types; the numbers are TensorProto.DataType. */
typedef enum {
  ONNX_TYPE_UNDEFINED = 0,
  ONNX_TYPE_FLOAT = 1,
  ONNX_TYPE_UINT8 = 2,
  ONNX_TYPE_INT8 = 3,
  ONNX_TYPE_UINT16 = 4,
  ONNX_TYPE_INT16 = 5,
  ONNX_TYPE_INT32 = 6,
  ONNX_TYPE_INT64 = 7,
  ONNX_TYPE_STRING = 8,
  ONNX_TYPE_BOOL = 9,
  ONNX_TYPE_FLOAT16 = 10,
  ONNX_TYPE_DOUBLE = 11,
  ONNX_TYPE_UINT32 = 12,
  ONNX_TYPE_UINT64 = 13,
  ONNX_TYPE_BFLOAT16 = 16
} OnnxType;
const gchar *
onnx_type_get_name(OnnxType type);       /* "float32", "int64", …; "type N" texts are never returned: "unknown" */
gsize onnx_type_get_size(OnnxType type); /* bytes of an element; 0 for strings and unknown types */

/* --- tensors ---------------------------------------------------------------------------------------------------- */

#define ONNX_MAX_DIMENSIONS 8

typedef struct {
  gchar *name; /* may be "" inside attributes */
  OnnxType type;
  guint n_dims;                     /* 0: a scalar */
  gint64 dims[ONNX_MAX_DIMENSIONS]; /* each ≥ 0; row-major */
  GBytes *bytes;      /* elements in native (little-endian) order; bool: one byte each; NULL for strings */
  GPtrArray *strings; /* of GBytes*, one per element; NULL for other types */
  GBytes *preserved;  /* raw protobuf fields that are not modelled, or NULL */
} OnnxTensor;

/* Copies `data` (n_elements × element size bytes). NULL data: zeros. Programming errors (a string type, more than
 * ONNX_MAX_DIMENSIONS) are asserted. */
OnnxTensor *onnx_tensor_new(const gchar *name, OnnxType type, guint n_dims, const gint64 *dims, gconstpointer data);
OnnxTensor *onnx_tensor_new_strings(const gchar *name, guint n_dims, const gint64 *dims, const gchar *const *strings);
OnnxTensor *onnx_tensor_copy(const OnnxTensor *tensor);
void onnx_tensor_free(OnnxTensor *tensor);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OnnxTensor, onnx_tensor_free)
gsize onnx_tensor_get_n_elements(const OnnxTensor *tensor);
/* New array of every element as float, or NULL with UNSUPPORTED (strings). Free with g_free. */
float *onnx_tensor_to_floats(const OnnxTensor *tensor, GError **error);
/* Replaces the data of a FLOAT tensor by `values` [n_elements]; dims stay. */
void onnx_tensor_set_floats(OnnxTensor *tensor, const float *values);

/* --- values: declared inputs, outputs, intermediate shapes ----------------------------------------------------------
 */

typedef struct {
  gint64 size;   /* ≥ 0, or -1: unknown or symbolic */
  gchar *symbol; /* "N", …, or NULL */
} OnnxDimension;

typedef struct {
  gchar *name;
  OnnxType type;      /* UNDEFINED: not a tensor (sequence, map, …); its type is in `preserved` */
  gboolean has_shape; /* FALSE: any rank */
  guint n_dims;       /* ≤ ONNX_MAX_DIMENSIONS */
  OnnxDimension dims[ONNX_MAX_DIMENSIONS];
  GBytes *preserved;
} OnnxValue;

/* --- nodes ----------------------------------------------------------------------------------------------------------
 */

/* The numbers are AttributeProto.AttributeType. Other kinds (graphs, sparse tensors, types) are OTHER: only kept. */
typedef enum {
  ONNX_ATTRIBUTE_OTHER = 0,
  ONNX_ATTRIBUTE_FLOAT = 1,
  ONNX_ATTRIBUTE_INT = 2,
  ONNX_ATTRIBUTE_STRING = 3,
  ONNX_ATTRIBUTE_TENSOR = 4,
  ONNX_ATTRIBUTE_FLOATS = 6,
  ONNX_ATTRIBUTE_INTS = 7,
  ONNX_ATTRIBUTE_STRINGS = 8
} OnnxAttributeKind;

typedef struct {
  gchar *name;
  OnnxAttributeKind kind;
  float number;       /* FLOAT */
  gint64 integer;     /* INT */
  GBytes *text;       /* STRING: bytes, not NUL-terminated; else NULL */
  OnnxTensor *tensor; /* TENSOR; else NULL */
  GArray *numbers;    /* FLOATS: of float; else NULL */
  GArray *integers;   /* INTS: of gint64; else NULL */
  GPtrArray *texts;   /* STRINGS: of GBytes*; else NULL */
  GBytes *preserved;
} OnnxAttribute;

typedef struct {
  gchar *domain;         /* "" is ai.onnx ("ai.onnx" is read as ""); "ai.onnx.ml", … */
  gchar *op_type;        /* "Gemm", … */
  gchar *name;           /* may be "" */
  GPtrArray *inputs;     /* of gchar*, owned: value names in order; "" marks an optional input left out */
  GPtrArray *outputs;    /* of gchar*, owned */
  GPtrArray *attributes; /* of OnnxAttribute*, owned */
  GBytes *preserved;
} OnnxNode;

/* Borrowed, or NULL when there is none of that name. */
const OnnxAttribute *onnx_node_get_attribute(const OnnxNode *node, const gchar *name);
/* The value, or the default when the attribute is absent or of another kind. */
gint64 onnx_node_get_int(const OnnxNode *node, const gchar *name, gint64 default_value);
float onnx_node_get_float(const OnnxNode *node, const gchar *name, float default_value);
gchar *onnx_node_copy_string(const OnnxNode *node, const gchar *name, const gchar *default_value); /* NUL-terminated */
/* The list [*n], borrowed; NULL and 0 when the attribute is absent or of another kind. */
const gint64 *onnx_node_get_ints(const OnnxNode *node, const gchar *name, guint *n);
const float *onnx_node_get_floats(const OnnxNode *node, const gchar *name, guint *n);
const gchar *onnx_node_get_input(const OnnxNode *node, guint index);  /* NULL when absent or "" */
const gchar *onnx_node_get_output(const OnnxNode *node, guint index); /* NULL when absent or "" */
/* Each replaces an attribute of that name. */
void onnx_node_set_int(OnnxNode *node, const gchar *name, gint64 value);
void onnx_node_set_float(OnnxNode *node, const gchar *name, float value);
void onnx_node_set_string(OnnxNode *node, const gchar *name, const gchar *value);
void onnx_node_set_ints(OnnxNode *node, const gchar *name, const gint64 *values, guint n);
void onnx_node_set_floats(OnnxNode *node, const gchar *name, const float *values, guint n);
void onnx_node_set_strings(OnnxNode *node, const gchar *name, const gchar *const *values, guint n);
void onnx_node_take_tensor(OnnxNode *node, const gchar *name, OnnxTensor *tensor);
/* "Gemm node 'fc1' (number 3)" style text for messages; `index` from onnx_graph->nodes. Free with g_free. */
gchar *onnx_node_describe(const OnnxNode *node, guint index);

/* --- the graph -------------------------------------------------------------------------------------------------------
 */

typedef struct {
  gchar *domain; /* "" is ai.onnx */
  gint64 version;
} OnnxOpset;

typedef struct {
  gchar *key, *value;
} OnnxMetadata;

typedef struct {
  /* the model */
  gint64 ir_version;
  GPtrArray *opsets;                                             /* of OnnxOpset* */
  gchar *producer_name, *producer_version, *domain, *doc_string; /* "" when absent */
  gint64 model_version;
  GPtrArray *metadata; /* of OnnxMetadata* */
  /* its graph */
  gchar *name;
  GPtrArray *inputs;       /* of OnnxValue*; before IR 4 initialisers are listed here too (see onnx_graph_is_fed) */
  GPtrArray *outputs;      /* of OnnxValue* */
  GPtrArray *values;       /* of OnnxValue*: declared shapes of intermediate values; informative, may be emptied */
  GPtrArray *initialisers; /* of OnnxTensor* */
  GPtrArray *nodes;        /* of OnnxNode*, in topological order */
  GBytes *preserved_model, *preserved_graph;
} OnnxGraph;

#define ONNX_IR_MIN 3
#define ONNX_IR_MAX 14
#define ONNX_OPSET_MIN 6
#define ONNX_OPSET_MAX 28
#define ONNX_MAX_BYTES (256u << 20)    /* of a file */
#define ONNX_MAX_DECODED (1024u << 20) /* of memory a file may ask for when decoded */
#define ONNX_MAX_DEPTH 32              /* of nested messages: subgraphs at most 8 deep */
#define ONNX_MAX_MESSAGES 1000000u     /* nodes, attributes, tensors, …, in total */

/* What one file may ask for, all of it together. */
typedef struct {
  gsize max_bytes;     /* of the file */
  guint64 max_decoded; /* bytes of memory when decoded, with data that lie in other files */
  guint max_depth;     /* of nested messages, at most ONNX_MAX_DEPTH */
  guint max_messages;
} OnnxLimits;
#define ONNX_LIMITS_INIT                                                                                               \
  {                                                                                                                    \
    ONNX_MAX_BYTES, ONNX_MAX_DECODED, ONNX_MAX_DEPTH, ONNX_MAX_MESSAGES                                                \
  }

/* Where the elements of a tensor lie that are not in the model's file. */
typedef struct {
  const gchar *location; /* a path relative to the model's folder, UTF-8 */
  guint64 offset;
  gsize length;        /* what the tensor's type and dimensions ask for */
  gboolean to_the_end; /* the model gives no length: they must end with the file */
} OnnxExternal;
/* Returns exactly `length` bytes, or NULL with the error set. */
typedef GBytes *(*OnnxExternalFunc)(const OnnxExternal *external, gpointer data, GError **error);

/* An empty model: IR 8, no opset, producer "kedge". */
OnnxGraph *onnx_graph_new(const gchar *name);
void onnx_graph_free(OnnxGraph *graph);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OnnxGraph, onnx_graph_free)
OnnxGraph *onnx_graph_copy(const OnnxGraph *graph);

/* Reads and checks a model. Refuses, naming offset, node, value or tensor: broken or oversized protobuf, IR or opset
 * out of range, external data, wrong tensor sizes, duplicate names, and whatever onnx_graph_check refuses. Operators
 * that are unknown to this program are no error here. */
OnnxGraph *onnx_graph_from_bytes(GBytes *bytes, GError **error);
/* The same under other limits (NULL: the ones above), with external data from `read` (NULL: refused). */
OnnxGraph *onnx_graph_from_bytes_with(GBytes *bytes, const OnnxLimits *limits, OnnxExternalFunc read, gpointer data,
                                      GError **error);
/* Deterministic: equal graphs give equal bytes. Refuses graphs that onnx_graph_check refuses, or larger than
 * ONNX_MAX_BYTES. */
GBytes *onnx_graph_to_bytes(const OnnxGraph *graph, GError **error);
/* ONNX's rules of structure: every node input produced before it, unique value names, outputs produced, an opset for
 * every domain used, a type and rank for every input and output that is a tensor. */
gboolean onnx_graph_check(const OnnxGraph *graph, GError **error);

/* domain "" is ai.onnx. */
void onnx_graph_set_opset(OnnxGraph *graph, const gchar *domain, gint64 version);
gint64 onnx_graph_get_opset(const OnnxGraph *graph, const gchar *domain);             /* 0: not imported */
void onnx_graph_set_metadata(OnnxGraph *graph, const gchar *key, const gchar *value); /* NULL value removes */
const gchar *onnx_graph_get_metadata(const OnnxGraph *graph, const gchar *key);

/* shape: sizes and symbols separated by commas, "N,6"; "?" is unknown; "" a scalar; NULL: any rank. Returns it,
 * borrowed. */
OnnxValue *onnx_graph_add_input(OnnxGraph *graph, const gchar *name, OnnxType type, const gchar *shape);
OnnxValue *onnx_graph_add_output(OnnxGraph *graph, const gchar *name, OnnxType type, const gchar *shape);
/* The declared input, output or value of that name, borrowed, or NULL. */
const OnnxValue *onnx_graph_find_value(const OnnxGraph *graph, const gchar *name);
/* TRUE for inputs that the caller feeds: not defaulted by an initialiser of the same name. */
gboolean onnx_graph_is_fed(const OnnxGraph *graph, const OnnxValue *input);

/* Takes the tensor; one of the same name is replaced in place. */
void onnx_graph_take_initialiser(OnnxGraph *graph, OnnxTensor *tensor);
OnnxTensor *onnx_graph_find_initialiser(const OnnxGraph *graph, const gchar *name); /* borrowed or NULL */
gboolean onnx_graph_remove_initialiser(OnnxGraph *graph, const gchar *name);

/* Appends a node; inputs and outputs are names separated by commas (no name of ours has a comma; for arbitrary names
 * use onnx_graph_add_node_strv). Returns it, borrowed. */
OnnxNode *onnx_graph_add_node(OnnxGraph *graph, const gchar *domain, const gchar *op_type, const gchar *inputs,
                              const gchar *outputs);
OnnxNode *onnx_graph_add_node_strv(OnnxGraph *graph, const gchar *domain, const gchar *op_type,
                                   const gchar *const *inputs, const gchar *const *outputs);
void onnx_graph_remove_node(OnnxGraph *graph, guint index);
/* Index of the node that outputs `value`, or -1 (an input, an initialiser, nothing). */
gint onnx_graph_find_producer(const OnnxGraph *graph, const gchar *value);
/* Number of node inputs that read `value`; graph outputs count too. */
guint onnx_graph_count_readers(const OnnxGraph *graph, const gchar *value);

/* Renames a value everywhere: inputs, outputs, initialisers, nodes. FALSE (INVALID) when `to` is taken already.
 * Names inside subgraph attributes are not followed: refused with UNSUPPORTED when any node has one. */
gboolean onnx_graph_rename_value(OnnxGraph *graph, const gchar *from, const gchar *to, GError **error);
/* Lets every reader of `from` read `to` instead (node inputs only). */
void onnx_graph_redirect(OnnxGraph *graph, const gchar *from, const gchar *to);

/* --- rewrites that keep the meaning (source: onnx/README.md, "Rewrites") ---------------------------------------------
 */

/* Constant nodes become initialisers; Identity of an initialiser becomes an own copy of it (exporters share equal
 * initialisers that way; they must part before training); other Identity and inference Dropout nodes disappear unless
 * they name a graph output; nodes and initialisers that nothing reads are removed. */
void onnx_graph_simplify(OnnxGraph *graph);
/* The same, but Dropout stays: training drops by it. */
void onnx_graph_simplify_for_training(OnnxGraph *graph);

G_END_DECLS
