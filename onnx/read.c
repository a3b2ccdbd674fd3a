/* ModelProto -> OnnxGraph. Every reader takes the modelled fields out of its message and packs what is left into
 * `preserved`. Messages belong to protobuf-c's tree throughout: a field that was taken is NULL in it. */
#include <string.h>

#include "onnx-ml.pb-c.h"
#include "onnx/graph_internal.h"

static void *allocate(void *unused, size_t size)
{
  (void)unused;
  return g_try_malloc(MAX(size, 1));
}

static void release(void *unused, void *memory)
{
  (void)unused;
  g_free(memory);
}

ProtobufCAllocator onnx_allocator = {.alloc = allocate, .free = release, .allocator_data = NULL};

#define invalid(error, ...) (g_set_error(error, ONNX_ERROR, ONNX_ERROR_INVALID, __VA_ARGS__), FALSE)

/* "" for an absent text. */
static gchar *take_text(char **field)
{
  gchar *text = g_steal_pointer(field);
  return text != NULL ? text : g_strdup("");
}

static GBytes *take_blob(ProtobufCBinaryData *blob)
{
  GBytes *bytes = blob->data != NULL ? g_bytes_new_take(blob->data, blob->len) : g_bytes_new_static("", 0);
  blob->data = NULL;
  blob->len = 0;
  return bytes;
}

static GPtrArray *take_blobs(size_t *n, ProtobufCBinaryData **blobs)
{
  GPtrArray *array = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  for (size_t i = 0; i < *n; i++) g_ptr_array_add(array, take_blob(&(*blobs)[i]));
  g_clear_pointer(blobs, g_free);
  *n = 0;
  return array;
}

/* The message's remaining fields, or NULL when nothing is left. */
static GBytes *pack_rest(const ProtobufCMessage *message)
{
  size_t size = protobuf_c_message_get_packed_size(message);
  if (size == 0) return NULL;
  guint8 *data = g_malloc(size);
  protobuf_c_message_pack(message, data);
  return g_bytes_new_take(data, size);
}

/* Frees the messages of a repeated field and forgets them. */
static void drop_messages(size_t *n, ProtobufCMessage ***messages)
{
  for (size_t i = 0; i < *n; i++) protobuf_c_message_free_unpacked((*messages)[i], &onnx_allocator);
  g_clear_pointer(messages, g_free);
  *n = 0;
}
#define DROP(n, messages) drop_messages(n, (ProtobufCMessage ***)(void *)(messages))

/* "ai.onnx" is another spelling of "". */
static gchar *take_domain(char **field)
{
  gchar *domain = take_text(field);
  if (strcmp(domain, "ai.onnx") == 0) domain[0] = '\0';
  return domain;
}

/* What reading needs beside the message at hand. */
typedef struct {
  OnnxGraph *graph;
  const OnnxLimits *limits;
  OnnxExternalFunc external; /* or NULL */
  gpointer external_data;
  guint64 external_bytes; /* so far */
} Reader;

/* --- tensors
 * ---------------------------------------------------------------------------------------------------------- */

/* Copies the typed field `values` [n] of protobuf into elements of the tensor's type; narrower types must fit. */
static gboolean narrow_int32(const Onnx__TensorProto *proto, guint8 *out, OnnxType type, GError **error)
{
  static const struct {
    OnnxType type;
    gint32 low, high;
  } ranges[] = {{ONNX_TYPE_INT32, G_MININT32, G_MAXINT32}, {ONNX_TYPE_INT16, G_MININT16, G_MAXINT16},
                {ONNX_TYPE_INT8, G_MININT8, G_MAXINT8},    {ONNX_TYPE_UINT16, 0, G_MAXUINT16},
                {ONNX_TYPE_UINT8, 0, G_MAXUINT8},          {ONNX_TYPE_BOOL, 0, 1},
                {ONNX_TYPE_FLOAT16, 0, G_MAXUINT16},       {ONNX_TYPE_BFLOAT16, 0, G_MAXUINT16}};
  gsize r = 0, size = onnx_type_get_size(type);
  while (ranges[r].type != type) r++;
  for (size_t i = 0; i < proto->n_int32_data; i++) {
    gint32 value = proto->int32_data[i];
    if (value < ranges[r].low || value > ranges[r].high)
      return invalid(error, "element %zu (%d) does not fit %s", i, value, onnx_type_get_name(type));
    memcpy(out + i * size, &value, size); /* little-endian: the low bytes come first */
  }
  return TRUE;
}

static gboolean narrow_uint64(const Onnx__TensorProto *proto, guint8 *out, OnnxType type, GError **error)
{
  gsize size = onnx_type_get_size(type);
  for (size_t i = 0; i < proto->n_uint64_data; i++) {
    if (type == ONNX_TYPE_UINT32 && proto->uint64_data[i] > G_MAXUINT32)
      return invalid(error, "element %zu does not fit uint32", i);
    memcpy(out + i * size, &proto->uint64_data[i], size);
  }
  return TRUE;
}

/* Where each type's elements lie when they are not in raw_data. */
typedef enum { FIELD_FLOAT, FIELD_INT32, FIELD_INT64, FIELD_DOUBLE, FIELD_UINT64 } TypedField;

static TypedField typed_field(OnnxType type)
{
  switch (type) {
  case ONNX_TYPE_FLOAT:
    return FIELD_FLOAT;
  case ONNX_TYPE_INT64:
    return FIELD_INT64;
  case ONNX_TYPE_DOUBLE:
    return FIELD_DOUBLE;
  case ONNX_TYPE_UINT32:
  case ONNX_TYPE_UINT64:
    return FIELD_UINT64;
  default:
    return FIELD_INT32;
  }
}

static gboolean read_typed(const Onnx__TensorProto *proto, OnnxTensor *tensor, gsize n, GError **error)
{
  TypedField field = typed_field(tensor->type);
  const size_t counts[] = {proto->n_float_data, proto->n_int32_data, proto->n_int64_data, proto->n_double_data,
                           proto->n_uint64_data};
  const void *const plain[] = {proto->float_data, NULL, proto->int64_data, proto->double_data, NULL};
  if (counts[field] != n) return invalid(error, "it holds %zu elements, its dimensions ask for %zu", counts[field], n);
  gsize size = n * onnx_type_get_size(tensor->type);
  guint8 *data = g_try_malloc(MAX(size, 1));
  if (data == NULL) return invalid(error, "there is not enough memory for its %zu bytes", size);
  tensor->bytes = g_bytes_new_take(data, size);
  if (field == FIELD_INT32) return narrow_int32(proto, data, tensor->type, error);
  if (field == FIELD_UINT64) return narrow_uint64(proto, data, tensor->type, error);
  if (size > 0) memcpy(data, plain[field], size);
  return TRUE;
}

static gboolean read_elements(Onnx__TensorProto *proto, OnnxTensor *tensor, gsize n, GError **error)
{
  gsize n_typed = proto->n_float_data + proto->n_int32_data + proto->n_int64_data + proto->n_double_data +
                  proto->n_uint64_data + proto->n_string_data;
  gboolean raw = proto->has_raw_data && proto->raw_data.len > 0;
  if (raw && n_typed > 0) return invalid(error, "it holds both raw and typed data");
  if (n_typed > n) return invalid(error, "it holds %zu elements, its dimensions ask for %zu", n_typed, n);
  if (tensor->type == ONNX_TYPE_STRING) {
    if (raw || proto->n_string_data != n)
      return invalid(error, "it holds %zu texts, its dimensions ask for %zu", proto->n_string_data, n);
    tensor->strings = take_blobs(&proto->n_string_data, &proto->string_data);
    return TRUE;
  }
  if (!raw) return read_typed(proto, tensor, n, error);
  gsize size = n * onnx_type_get_size(tensor->type);
  if (proto->raw_data.len != size)
    return invalid(error, "it holds %zu bytes, its dimensions ask for %zu", proto->raw_data.len, size);
  tensor->bytes = take_blob(&proto->raw_data);
  return TRUE;
}

/* The entries of external_data; `length` may be left out. */
static gboolean read_external_entries(const Onnx__TensorProto *proto, OnnxExternal *external, GError **error)
{
  gboolean has_length = FALSE;
  for (size_t i = 0; i < proto->n_external_data; i++) {
    const gchar *key = proto->external_data[i]->key, *value = proto->external_data[i]->value;
    guint64 number = 0;
    if (key == NULL || value == NULL) return invalid(error, "an entry of its external data is empty");
    gboolean is_number = strcmp(key, "offset") == 0 || strcmp(key, "length") == 0;
    if (is_number && !g_ascii_string_to_unsigned(value, 10, 0, G_MAXINT64, &number, NULL))
      return invalid(error, "the %s of its external data is '%.40s', no number", key, value);
    if (strcmp(key, "location") == 0) {
      external->location = value;
    } else if (strcmp(key, "offset") == 0) {
      external->offset = number;
    } else if (strcmp(key, "length") == 0) {
      has_length = TRUE;
      if (number != external->length)
        return invalid(error, "its external data have %s bytes, its dimensions ask for %zu", value, external->length);
    } else if (strcmp(key, "checksum") != 0) { /* SHA-1, which ONNX's own reader does not check either */
      return invalid(error, "its external data have the unknown entry '%.40s'", key);
    }
  }
  external->to_the_end = !has_length;
  return external->location != NULL || invalid(error, "its external data have no location");
}

static gboolean read_external(Reader *reader, const Onnx__TensorProto *proto, OnnxTensor *tensor, gsize n,
                              GError **error)
{
  OnnxExternal external = {.length = n * onnx_type_get_size(tensor->type)};
  if (reader->external == NULL) {
    g_set_error_literal(error, ONNX_ERROR, ONNX_ERROR_UNSUPPORTED,
                        "its data lie in another file; put the whole model into one file first "
                        "(onnx.save_model(onnx.load(FILE), OUT, save_as_external_data=False))");
    return FALSE;
  }
  if (tensor->type == ONNX_TYPE_STRING) return invalid(error, "texts cannot lie in another file");
  if (proto->has_raw_data && proto->raw_data.len > 0) return invalid(error, "it holds data and external data");
  if (!read_external_entries(proto, &external, error)) return FALSE;
  reader->external_bytes += external.length;
  if (reader->external_bytes > reader->limits->max_decoded) {
    g_set_error(error, ONNX_ERROR, ONNX_ERROR_LIMIT,
                "the data beside the model have more than %" G_GUINT64_FORMAT " MiB",
                reader->limits->max_decoded >> 20);
    return FALSE;
  }
  tensor->bytes = reader->external(&external, reader->external_data, error);
  return tensor->bytes != NULL;
}

static gboolean is_external(const Onnx__TensorProto *proto)
{
  return proto->n_external_data > 0 || proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

static gboolean read_tensor_data(Reader *reader, Onnx__TensorProto *proto, OnnxTensor *tensor, GError **error)
{
  gboolean known = tensor->type == ONNX_TYPE_STRING || onnx_type_get_size(tensor->type) > 0;
  if (!known || proto->segment != NULL || proto->n_dims > ONNX_MAX_DIMENSIONS) {
    g_set_error(error, ONNX_ERROR, ONNX_ERROR_UNSUPPORTED,
                "element type number %d, %zu dimensions%s: not read by this program (at most %d dimensions of bool, "
                "string, integers of 8 to 64 bits, floats of 16 to 64 bits)",
                proto->data_type, proto->n_dims, proto->segment != NULL ? ", in segments" : "", ONNX_MAX_DIMENSIONS);
    return FALSE;
  }
  gsize n, element_size = tensor->type == ONNX_TYPE_STRING ? sizeof(GBytes *) : onnx_type_get_size(tensor->type);
  if (!onnx_count_elements(proto->dims, proto->n_dims, element_size, &n, error)) return FALSE;
  tensor->n_dims = (guint)proto->n_dims;
  if (proto->n_dims > 0) memcpy(tensor->dims, proto->dims, proto->n_dims * sizeof(gint64));
  if (is_external(proto)) return read_external(reader, proto, tensor, n, error);
  return read_elements(proto, tensor, n, error);
}

static void clear_tensor_fields(Onnx__TensorProto *proto)
{
  proto->has_data_type = proto->has_raw_data = proto->has_data_location = FALSE;
  g_clear_pointer(&proto->raw_data.data, g_free);
  proto->n_dims = proto->n_float_data = proto->n_int32_data = proto->n_int64_data = 0;
  proto->n_double_data = proto->n_uint64_data = 0;
  DROP(&proto->n_external_data, &proto->external_data);
  g_clear_pointer(&proto->dims, g_free);
  g_clear_pointer(&proto->float_data, g_free);
  g_clear_pointer(&proto->int32_data, g_free);
  g_clear_pointer(&proto->int64_data, g_free);
  g_clear_pointer(&proto->double_data, g_free);
  g_clear_pointer(&proto->uint64_data, g_free);
}

/* `where` begins the message, e.g. "initialiser" or "Constant node 'c', attribute 'value':  tensor". */
static OnnxTensor *read_tensor(Reader *reader, Onnx__TensorProto *proto, const gchar *where, GError **error)
{
  g_autoptr(OnnxTensor) tensor = g_new0(OnnxTensor, 1);
  tensor->name = take_text(&proto->name);
  tensor->type = (OnnxType)(proto->has_data_type ? proto->data_type : 0);
  if (!read_tensor_data(reader, proto, tensor, error)) {
    g_prefix_error(error, "%s '%s': ", where, tensor->name);
    return NULL;
  }
  clear_tensor_fields(proto);
  tensor->preserved = pack_rest(&proto->base);
  return g_steal_pointer(&tensor);
}

/* --- values
 * ----------------------------------------------------------------------------------------------------------- */

/* Takes sizes and symbols out of the shape; denotations and unknown fields stay. */
static gboolean read_shape(Onnx__TensorShapeProto *shape, OnnxValue *value, GError **error)
{
  value->has_shape = TRUE;
  if (shape->n_dim > ONNX_MAX_DIMENSIONS)
    return invalid(error, "'%s' has %zu dimensions; at most %d are read", value->name, shape->n_dim,
                   ONNX_MAX_DIMENSIONS);
  value->n_dims = (guint)shape->n_dim;
  for (guint i = 0; i < value->n_dims; i++) {
    Onnx__TensorShapeProto__Dimension *dim = shape->dim[i];
    OnnxDimension *out = &value->dims[i];
    out->size = -1;
    if (dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE) {
      if (dim->dim_value < -1) return invalid(error, "'%s': dimension %u is negative", value->name, i);
      out->size = dim->dim_value; /* some exporters write -1 for unknown */
    } else if (dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM) {
      out->symbol = take_text(&dim->dim_param);
    }
    dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE__NOT_SET;
  }
  return TRUE;
}

/* TRUE when the type message still says something after its modelled fields were taken. */
static gboolean type_has_rest(const Onnx__TypeProto *type)
{
  const Onnx__TypeProto__Tensor *tensor = type->tensor_type;
  if (type->denotation != NULL || type->base.n_unknown_fields > 0 || tensor->base.n_unknown_fields > 0) return TRUE;
  if (tensor->shape == NULL) return FALSE;
  if (tensor->shape->base.n_unknown_fields > 0) return TRUE;
  for (size_t i = 0; i < tensor->shape->n_dim; i++)
    if (protobuf_c_message_get_packed_size(&tensor->shape->dim[i]->base) > 0) return TRUE;
  return FALSE;
}

static OnnxValue *read_value(Onnx__ValueInfoProto *proto, GError **error)
{
  OnnxValue *value = onnx_value_new("", ONNX_TYPE_UNDEFINED);
  g_free(value->name);
  value->name = take_text(&proto->name);
  if (proto->type != NULL && proto->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
    Onnx__TypeProto__Tensor *tensor = proto->type->tensor_type;
    value->type = (OnnxType)(tensor->has_elem_type ? tensor->elem_type : 0);
    tensor->has_elem_type = FALSE;
    if (tensor->shape != NULL && !read_shape(tensor->shape, value, error)) {
      onnx_value_free(value);
      return NULL;
    }
    if (!type_has_rest(proto->type)) {
      protobuf_c_message_free_unpacked(&proto->type->base, &onnx_allocator);
      proto->type = NULL;
    }
  }
  value->preserved = pack_rest(&proto->base);
  return value;
}

/* --- nodes
 * ------------------------------------------------------------------------------------------------------------ */

/* Models of the first days carry no type: the field that is present tells. */
static OnnxAttributeKind attribute_kind(const Onnx__AttributeProto *proto)
{
  if (proto->ref_attr_name != NULL) return ONNX_ATTRIBUTE_OTHER;
  if (proto->has_type && proto->type != 0) {
    OnnxAttributeKind kind = (OnnxAttributeKind)proto->type;
    gboolean modelled = kind >= ONNX_ATTRIBUTE_FLOAT && kind <= ONNX_ATTRIBUTE_STRINGS && kind != 5;
    return modelled ? kind : ONNX_ATTRIBUTE_OTHER;
  }
  if (proto->has_f) return ONNX_ATTRIBUTE_FLOAT;
  if (proto->has_i) return ONNX_ATTRIBUTE_INT;
  if (proto->has_s) return ONNX_ATTRIBUTE_STRING;
  if (proto->t != NULL) return ONNX_ATTRIBUTE_TENSOR;
  if (proto->n_floats > 0) return ONNX_ATTRIBUTE_FLOATS;
  if (proto->n_ints > 0) return ONNX_ATTRIBUTE_INTS;
  if (proto->n_strings > 0) return ONNX_ATTRIBUTE_STRINGS;
  return ONNX_ATTRIBUTE_OTHER;
}

static GArray *take_array(size_t *n, void **values, guint element_size)
{
  GArray *array = g_array_sized_new(FALSE, FALSE, element_size, (guint)*n);
  if (*n > 0) g_array_append_vals(array, *values, (guint)*n);
  g_clear_pointer(values, g_free);
  *n = 0;
  return array;
}

/* Takes the value of attribute->kind; a lone `t` that is absent is INVALID. */
static gboolean read_attribute_value(Reader *reader, Onnx__AttributeProto *proto, OnnxAttribute *attribute,
                                     GError **error)
{
  switch (attribute->kind) {
  case ONNX_ATTRIBUTE_FLOAT:
    attribute->number = proto->f;
    proto->has_f = FALSE;
    return TRUE;
  case ONNX_ATTRIBUTE_INT:
    attribute->integer = proto->i;
    proto->has_i = FALSE;
    return TRUE;
  case ONNX_ATTRIBUTE_STRING:
    attribute->text = take_blob(&proto->s);
    proto->has_s = FALSE;
    return TRUE;
  case ONNX_ATTRIBUTE_TENSOR:
    if (proto->t == NULL) return invalid(error, "attribute '%s' lacks its tensor", attribute->name);
    attribute->tensor = read_tensor(reader, proto->t, "tensor", error);
    protobuf_c_message_free_unpacked(&proto->t->base, &onnx_allocator);
    proto->t = NULL;
    return attribute->tensor != NULL;
  case ONNX_ATTRIBUTE_FLOATS:
    attribute->numbers = take_array(&proto->n_floats, (void **)(void *)&proto->floats, sizeof(float));
    return TRUE;
  case ONNX_ATTRIBUTE_INTS:
    attribute->integers = take_array(&proto->n_ints, (void **)(void *)&proto->ints, sizeof(gint64));
    return TRUE;
  case ONNX_ATTRIBUTE_STRINGS:
    attribute->texts = take_blobs(&proto->n_strings, &proto->strings);
    return TRUE;
  default:
    return TRUE;
  }
}

static gboolean read_attribute(Reader *reader, Onnx__AttributeProto *proto, OnnxNode *node, GError **error)
{
  OnnxAttribute *attribute = onnx_attribute_new("", attribute_kind(proto));
  g_ptr_array_add(node->attributes, attribute);
  g_free(attribute->name);
  attribute->name = take_text(&proto->name);
  if (!read_attribute_value(reader, proto, attribute, error)) {
    g_prefix_error(error, "%s node '%s', attribute '%s': ", node->op_type, node->name, attribute->name);
    return FALSE;
  }
  if (attribute->kind != ONNX_ATTRIBUTE_OTHER) proto->has_type = FALSE;
  attribute->preserved = pack_rest(&proto->base);
  return TRUE;
}

static void take_names(size_t *n, char ***names, GPtrArray *out)
{
  for (size_t i = 0; i < *n; i++) g_ptr_array_add(out, take_text(&(*names)[i]));
  g_clear_pointer(names, g_free);
  *n = 0;
}

static gboolean read_node(Reader *reader, Onnx__NodeProto *proto, GError **error)
{
  OnnxNode *node = onnx_node_new("", "");
  g_ptr_array_add(reader->graph->nodes, node);
  g_free(node->domain);
  node->domain = take_domain(&proto->domain);
  g_free(node->op_type);
  node->op_type = take_text(&proto->op_type);
  g_free(node->name);
  node->name = take_text(&proto->name);
  take_names(&proto->n_input, &proto->input, node->inputs);
  take_names(&proto->n_output, &proto->output, node->outputs);
  for (size_t i = 0; i < proto->n_attribute; i++)
    if (!read_attribute(reader, proto->attribute[i], node, error)) return FALSE;
  DROP(&proto->n_attribute, &proto->attribute);
  node->preserved = pack_rest(&proto->base);
  return TRUE;
}

/* --- graph and model
 * -------------------------------------------------------------------------------------------------- */

static gboolean read_values(size_t *n, Onnx__ValueInfoProto ***protos, GPtrArray *out, GError **error)
{
  for (size_t i = 0; i < *n; i++) {
    OnnxValue *value = read_value((*protos)[i], error);
    if (value == NULL) return FALSE;
    g_ptr_array_add(out, value);
  }
  DROP(n, protos);
  return TRUE;
}

static gboolean read_graph(Reader *reader, Onnx__GraphProto *proto, GError **error)
{
  OnnxGraph *graph = reader->graph;
  g_free(graph->name);
  graph->name = take_text(&proto->name);
  if (proto->n_sparse_initializer > 0) {
    g_set_error_literal(error, ONNX_ERROR, ONNX_ERROR_UNSUPPORTED, "sparse initialisers are not read");
    return FALSE;
  }
  if (!read_values(&proto->n_input, &proto->input, graph->inputs, error) ||
      !read_values(&proto->n_output, &proto->output, graph->outputs, error) ||
      !read_values(&proto->n_value_info, &proto->value_info, graph->values, error))
    return FALSE;
  for (size_t i = 0; i < proto->n_initializer; i++) {
    OnnxTensor *tensor = read_tensor(reader, proto->initializer[i], "initialiser", error);
    if (tensor == NULL) return FALSE;
    g_ptr_array_add(graph->initialisers, tensor);
  }
  DROP(&proto->n_initializer, &proto->initializer);
  for (size_t i = 0; i < proto->n_node; i++)
    if (!read_node(reader, proto->node[i], error)) return FALSE;
  DROP(&proto->n_node, &proto->node);
  graph->preserved_graph = pack_rest(&proto->base);
  return TRUE;
}

#define MAX_OPSETS 64

static gboolean read_opsets(Onnx__ModelProto *proto, OnnxGraph *graph, GError **error)
{
  if (proto->n_opset_import == 0) return invalid(error, "the model imports no operator set");
  if (proto->n_opset_import > MAX_OPSETS)
    return invalid(error, "the model imports more than %d operator sets", MAX_OPSETS);
  for (size_t i = 0; i < proto->n_opset_import; i++) {
    Onnx__OperatorSetIdProto *opset = proto->opset_import[i];
    g_autofree gchar *domain = take_domain(&opset->domain);
    gint64 version = opset->has_version ? opset->version : 0;
    if (version != 0 && onnx_graph_get_opset(graph, domain) == version) continue; /* skl2onnx repeats itself */
    g_ptr_array_add(graph->opsets, onnx_opset_new(domain, version));
  }
  DROP(&proto->n_opset_import, &proto->opset_import);
  return TRUE;
}

static void read_metadata(Onnx__ModelProto *proto, OnnxGraph *graph)
{
  for (size_t i = 0; i < proto->n_metadata_props; i++) {
    g_autofree gchar *key = take_text(&proto->metadata_props[i]->key);
    g_autofree gchar *value = take_text(&proto->metadata_props[i]->value);
    g_ptr_array_add(graph->metadata, onnx_metadata_new(key, value));
  }
  DROP(&proto->n_metadata_props, &proto->metadata_props);
}

static void replace_text(gchar **field, char **from)
{
  g_free(*field);
  *field = take_text(from);
}

static gboolean read_model(Reader *reader, Onnx__ModelProto *proto, GError **error)
{
  OnnxGraph *graph = reader->graph;
  if (proto->graph == NULL) return invalid(error, "the file holds no graph: it is no ONNX model");
  graph->ir_version = proto->has_ir_version ? proto->ir_version : 0;
  graph->model_version = proto->has_model_version ? proto->model_version : 0;
  proto->has_ir_version = proto->has_model_version = FALSE;
  replace_text(&graph->producer_name, &proto->producer_name);
  replace_text(&graph->producer_version, &proto->producer_version);
  replace_text(&graph->domain, &proto->domain);
  replace_text(&graph->doc_string, &proto->doc_string);
  read_metadata(proto, graph);
  if (!read_opsets(proto, graph, error) || !read_graph(reader, proto->graph, error)) return FALSE;
  protobuf_c_message_free_unpacked(&proto->graph->base, &onnx_allocator);
  proto->graph = NULL;
  graph->preserved_model = pack_rest(&proto->base);
  return onnx_graph_check(graph, error);
}

OnnxGraph *onnx_graph_from_bytes(GBytes *bytes, GError **error)
{
  return onnx_graph_from_bytes_with(bytes, NULL, NULL, NULL, error);
}

OnnxGraph *onnx_graph_from_bytes_with(GBytes *bytes, const OnnxLimits *limits, OnnxExternalFunc read, gpointer data,
                                      GError **error)
{
  static const OnnxLimits usual = ONNX_LIMITS_INIT;
  gsize length;
  const guint8 *start = g_bytes_get_data(bytes, &length);
  if (limits == NULL) limits = &usual;
  if (!onnx_scan(start, length, limits, error)) return NULL;
  Onnx__ModelProto *proto = onnx__model_proto__unpack(&onnx_allocator, length, start);
  if (proto == NULL) {
    g_set_error_literal(error, ONNX_ERROR, ONNX_ERROR_PARSE, "not a usable ONNX file: protobuf cannot decode it");
    return NULL;
  }
  g_autoptr(OnnxGraph) graph = onnx_graph_new("");
  Reader reader = {.graph = graph, .limits = limits, .external = read, .external_data = data};
  gboolean done = read_model(&reader, proto, error);
  onnx__model_proto__free_unpacked(proto, &onnx_allocator);
  return done ? g_steal_pointer(&graph) : NULL;
}
