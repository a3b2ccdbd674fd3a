/* What the files of onnx/ share; nobody else includes it. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "onnx/graph.h"

G_BEGIN_DECLS

/* protobuf-c over GLib's allocator, so that unpacked strings and bytes can be taken over without a copy. Allocation of
 * input-sized memory may fail: unpacking then returns NULL. */
extern ProtobufCAllocator onnx_allocator;

/* Walks the wire format of a ModelProto without recursion and refuses what protobuf-c must not see: nesting, number of
 * messages or memory beyond the caps, singular fields that appear twice (protobuf-c merges them in quadratic time),
 * groups, truncated fields, text that is not UTF-8. Errors name the offset. */
gboolean onnx_scan(const guint8 *data, gsize length, const OnnxLimits *limits, GError **error);

OnnxValue *onnx_value_new(const gchar *name, OnnxType type);
void onnx_value_free(OnnxValue *value);
OnnxAttribute *onnx_attribute_new(const gchar *name, OnnxAttributeKind kind);
void onnx_attribute_free(OnnxAttribute *attribute);
OnnxNode *onnx_node_new(const gchar *domain, const gchar *op_type);
void onnx_node_free(OnnxNode *node);
OnnxOpset *onnx_opset_new(const gchar *domain, gint64 version);
OnnxMetadata *onnx_metadata_new(const gchar *key, const gchar *value);

/* Number of elements of dims, or FALSE with INVALID (negative) or LIMIT (overflow, above ONNX_MAX_DECODED bytes). */
gboolean onnx_count_elements(const gint64 *dims, gsize n_dims, gsize element_size, gsize *count, GError **error);
/* TRUE when some node has an attribute that may hold a subgraph, whose names this program does not follow. */
gboolean onnx_graph_has_subgraphs(const OnnxGraph *graph);

G_END_DECLS
