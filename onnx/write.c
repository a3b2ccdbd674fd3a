/* OnnxGraph -> ModelProto. Each message begins as what was preserved of it; the modelled fields are set on top. All of
 * it is allocated by onnx_allocator and freed by protobuf-c. */
#include <string.h>

#include "onnx-ml.pb-c.h"
#include "onnx/graph_internal.h"

/* A new message of that kind holding the preserved fields. Preserved bytes were packed by us: they always unpack. */
static gpointer message_new(const ProtobufCMessageDescriptor *descriptor, GBytes *preserved)
{
  gsize length = 0;
  const guint8 *data = preserved != NULL ? g_bytes_get_data(preserved, &length) : (const guint8 *)"";
  ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, &onnx_allocator, length, data);
  g_assert(message != NULL);
  return message;
}

static gpointer *slots(gsize n)
{
  return n > 0 ? g_new0(gpointer, n) : NULL;
}

/* Empty texts are left out, as exporters do. */
static void set_text(char **field, const gchar *text)
{
  if (*field != NULL) g_free(*field);
  *field = text[0] != '\0' ? g_strdup(text) : NULL;
}

static char **copy_names(const GPtrArray *names)
{
  char **copies = (char **)slots(names->len);
  for (guint i = 0; i < names->len; i++) copies[i] = g_strdup(g_ptr_array_index(names, i));
  return copies;
}

static void set_blob(ProtobufCBinaryData *blob, GBytes *bytes)
{
  gsize length;
  gconstpointer data = g_bytes_get_data(bytes, &length);
  blob->data = g_memdup2(data, length);
  blob->len = blob->data != NULL ? length : 0;
}

static ProtobufCBinaryData *copy_blobs(const GPtrArray *texts)
{
  ProtobufCBinaryData *blobs = texts->len > 0 ? g_new0(ProtobufCBinaryData, texts->len) : NULL;
  for (guint i = 0; i < texts->len; i++) set_blob(&blobs[i], g_ptr_array_index(texts, i));
  return blobs;
}

static Onnx__TensorProto *write_tensor(const OnnxTensor *tensor)
{
  Onnx__TensorProto *proto = message_new(&onnx__tensor_proto__descriptor, tensor->preserved);
  set_text(&proto->name, tensor->name);
  proto->has_data_type = TRUE;
  proto->data_type = (gint32)tensor->type;
  proto->n_dims = tensor->n_dims;
  proto->dims = tensor->n_dims > 0 ? g_memdup2(tensor->dims, tensor->n_dims * sizeof(gint64)) : NULL;
  if (tensor->type == ONNX_TYPE_STRING) {
    proto->n_string_data = tensor->strings->len;
    proto->string_data = copy_blobs(tensor->strings);
    return proto;
  }
  proto->has_raw_data = TRUE;
  set_blob(&proto->raw_data, tensor->bytes);
  return proto;
}

/* --- values
 * ----------------------------------------------------------------------------------------------------------- */

static Onnx__TensorShapeProto *shape_with_dims(Onnx__TensorShapeProto *preserved, guint n_dims)
{
  if (preserved != NULL && preserved->n_dim == n_dims) return preserved;
  if (preserved != NULL) protobuf_c_message_free_unpacked(&preserved->base, &onnx_allocator);
  Onnx__TensorShapeProto *shape = message_new(&onnx__tensor_shape_proto__descriptor, NULL);
  shape->n_dim = n_dims;
  shape->dim = (Onnx__TensorShapeProto__Dimension **)slots(n_dims);
  for (guint i = 0; i < n_dims; i++)
    shape->dim[i] = message_new(&onnx__tensor_shape_proto__dimension__descriptor, NULL);
  return shape;
}

static void write_dimension(Onnx__TensorShapeProto__Dimension *dim, const OnnxDimension *dimension)
{
  if (dimension->symbol != NULL) {
    dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    dim->dim_param = g_strdup(dimension->symbol);
  } else if (dimension->size >= 0) {
    dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    dim->dim_value = dimension->size;
  }
}

static Onnx__ValueInfoProto *write_value(const OnnxValue *value)
{
  Onnx__ValueInfoProto *proto = message_new(&onnx__value_info_proto__descriptor, value->preserved);
  set_text(&proto->name, value->name);
  if (value->type == ONNX_TYPE_UNDEFINED) return proto;
  if (proto->type == NULL) proto->type = message_new(&onnx__type_proto__descriptor, NULL);
  if (proto->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
    proto->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    proto->type->tensor_type = message_new(&onnx__type_proto__tensor__descriptor, NULL);
  }
  Onnx__TypeProto__Tensor *tensor = proto->type->tensor_type;
  tensor->has_elem_type = TRUE;
  tensor->elem_type = (gint32)value->type;
  if (!value->has_shape) return proto;
  tensor->shape = shape_with_dims(tensor->shape, value->n_dims);
  for (guint i = 0; i < value->n_dims; i++) write_dimension(tensor->shape->dim[i], &value->dims[i]);
  return proto;
}

static Onnx__ValueInfoProto **write_values(const GPtrArray *values)
{
  Onnx__ValueInfoProto **protos = (Onnx__ValueInfoProto **)slots(values->len);
  for (guint i = 0; i < values->len; i++) protos[i] = write_value(g_ptr_array_index(values, i));
  return protos;
}

/* --- nodes
 * ------------------------------------------------------------------------------------------------------------ */

static gpointer copy_array(const GArray *array, gsize element_size)
{
  return g_memdup2(array->data, array->len * element_size);
}

static Onnx__AttributeProto *write_attribute(const OnnxAttribute *attribute)
{
  Onnx__AttributeProto *proto = message_new(&onnx__attribute_proto__descriptor, attribute->preserved);
  set_text(&proto->name, attribute->name);
  if (attribute->kind == ONNX_ATTRIBUTE_OTHER) return proto;
  proto->has_type = TRUE;
  proto->type = (Onnx__AttributeProto__AttributeType)attribute->kind;
  switch (attribute->kind) {
  case ONNX_ATTRIBUTE_FLOAT:
    proto->has_f = TRUE;
    proto->f = attribute->number;
    break;
  case ONNX_ATTRIBUTE_INT:
    proto->has_i = TRUE;
    proto->i = attribute->integer;
    break;
  case ONNX_ATTRIBUTE_STRING:
    proto->has_s = TRUE;
    set_blob(&proto->s, attribute->text);
    break;
  case ONNX_ATTRIBUTE_TENSOR:
    proto->t = write_tensor(attribute->tensor);
    break;
  case ONNX_ATTRIBUTE_FLOATS:
    proto->n_floats = attribute->numbers->len;
    proto->floats = copy_array(attribute->numbers, sizeof(float));
    break;
  case ONNX_ATTRIBUTE_INTS:
    proto->n_ints = attribute->integers->len;
    proto->ints = copy_array(attribute->integers, sizeof(gint64));
    break;
  default:
    proto->n_strings = attribute->texts->len;
    proto->strings = copy_blobs(attribute->texts);
    break;
  }
  return proto;
}

static Onnx__NodeProto *write_node(const OnnxNode *node)
{
  Onnx__NodeProto *proto = message_new(&onnx__node_proto__descriptor, node->preserved);
  set_text(&proto->domain, node->domain);
  set_text(&proto->op_type, node->op_type);
  set_text(&proto->name, node->name);
  proto->n_input = node->inputs->len;
  proto->input = copy_names(node->inputs);
  proto->n_output = node->outputs->len;
  proto->output = copy_names(node->outputs);
  proto->n_attribute = node->attributes->len;
  proto->attribute = (Onnx__AttributeProto **)slots(node->attributes->len);
  for (guint i = 0; i < node->attributes->len; i++)
    proto->attribute[i] = write_attribute(g_ptr_array_index(node->attributes, i));
  return proto;
}

/* --- graph and model
 * -------------------------------------------------------------------------------------------------- */

static Onnx__GraphProto *write_graph(const OnnxGraph *graph)
{
  Onnx__GraphProto *proto = message_new(&onnx__graph_proto__descriptor, graph->preserved_graph);
  set_text(&proto->name, graph->name[0] != '\0' ? graph->name : "graph"); /* ONNX's checker requires one */
  proto->n_input = graph->inputs->len;
  proto->input = write_values(graph->inputs);
  proto->n_output = graph->outputs->len;
  proto->output = write_values(graph->outputs);
  proto->n_value_info = graph->values->len;
  proto->value_info = write_values(graph->values);
  proto->n_initializer = graph->initialisers->len;
  proto->initializer = (Onnx__TensorProto **)slots(graph->initialisers->len);
  for (guint i = 0; i < graph->initialisers->len; i++)
    proto->initializer[i] = write_tensor(g_ptr_array_index(graph->initialisers, i));
  proto->n_node = graph->nodes->len;
  proto->node = (Onnx__NodeProto **)slots(graph->nodes->len);
  for (guint i = 0; i < graph->nodes->len; i++) proto->node[i] = write_node(g_ptr_array_index(graph->nodes, i));
  return proto;
}

static Onnx__OperatorSetIdProto *write_opset(const OnnxOpset *opset)
{
  Onnx__OperatorSetIdProto *proto = message_new(&onnx__operator_set_id_proto__descriptor, NULL);
  proto->domain = g_strdup(opset->domain); /* present even when empty: checkers read it */
  proto->has_version = TRUE;
  proto->version = opset->version;
  return proto;
}

static Onnx__StringStringEntryProto *write_metadata(const OnnxMetadata *metadata)
{
  Onnx__StringStringEntryProto *proto = message_new(&onnx__string_string_entry_proto__descriptor, NULL);
  proto->key = g_strdup(metadata->key);
  proto->value = g_strdup(metadata->value);
  return proto;
}

static Onnx__ModelProto *write_model(const OnnxGraph *graph)
{
  Onnx__ModelProto *proto = message_new(&onnx__model_proto__descriptor, graph->preserved_model);
  proto->has_ir_version = TRUE;
  proto->ir_version = graph->ir_version;
  proto->has_model_version = graph->model_version != 0;
  proto->model_version = graph->model_version;
  set_text(&proto->producer_name, graph->producer_name);
  set_text(&proto->producer_version, graph->producer_version);
  set_text(&proto->domain, graph->domain);
  set_text(&proto->doc_string, graph->doc_string);
  proto->n_opset_import = graph->opsets->len;
  proto->opset_import = (Onnx__OperatorSetIdProto **)slots(graph->opsets->len);
  for (guint i = 0; i < graph->opsets->len; i++)
    proto->opset_import[i] = write_opset(g_ptr_array_index(graph->opsets, i));
  proto->n_metadata_props = graph->metadata->len;
  proto->metadata_props = (Onnx__StringStringEntryProto **)slots(graph->metadata->len);
  for (guint i = 0; i < graph->metadata->len; i++)
    proto->metadata_props[i] = write_metadata(g_ptr_array_index(graph->metadata, i));
  proto->graph = write_graph(graph);
  return proto;
}

/* Sum of all tensor bytes: a cheap lower bound of the file's size. */
static guint64 initialiser_bytes(const OnnxGraph *graph)
{
  guint64 total = 0;
  for (guint i = 0; i < graph->initialisers->len; i++) {
    const OnnxTensor *tensor = g_ptr_array_index(graph->initialisers, i);
    if (tensor->bytes != NULL) total += g_bytes_get_size(tensor->bytes);
  }
  return total;
}

GBytes *onnx_graph_to_bytes(const OnnxGraph *graph, GError **error)
{
  if (!onnx_graph_check(graph, error)) return NULL;
  gsize size = 0;
  guint8 *data = NULL;
  if (initialiser_bytes(graph) <= ONNX_MAX_BYTES) {
    Onnx__ModelProto *proto = write_model(graph);
    size = onnx__model_proto__get_packed_size(proto);
    data = size <= ONNX_MAX_BYTES ? g_try_malloc(size) : NULL;
    if (data != NULL) onnx__model_proto__pack(proto, data);
    onnx__model_proto__free_unpacked(proto, &onnx_allocator);
  }
  if (data == NULL) {
    g_set_error_literal(error, ONNX_ERROR, ONNX_ERROR_LIMIT,
                        "the model is larger than the 256 MiB that this program reads and writes");
    return NULL;
  }
  return g_bytes_new_take(data, size);
}
