#include <string.h>

#include "onnx-ml.pb-c.h"
#include "onnx/graph_internal.h"

/* One open message. */
typedef struct {
  const ProtobufCMessageDescriptor *descriptor;
  gsize end;
  guint64 seen; /* bit per singular field (or oneof) met so far */
} Frame;

typedef struct {
  const guint8 *data;
  gsize length, offset;
  const OnnxLimits *limits;
  Frame frames[ONNX_MAX_DEPTH];
  guint depth;
  guint64 memory;
  guint messages;
} Scan;

/* Memory that protobuf-c holds for one field while it parses, beyond the value itself: its scanned member, the slot in
 * a repeated array, the allocator's header. Rounded up. */
#define FIELD_OVERHEAD 64

static gboolean fail(const Scan *scan, OnnxError code, GError **error, const gchar *what)
{
  const gchar *message = scan->depth > 0 ? scan->frames[scan->depth - 1].descriptor->short_name : "model";
  g_set_error(error, ONNX_ERROR, code, "not a usable ONNX file: %s at byte %zu (in %s)", what, scan->offset, message);
  return FALSE;
}

static gboolean read_varint(Scan *scan, gsize end, guint64 *value, GError **error)
{
  *value = 0;
  for (guint i = 0; i < 10; i++) {
    if (scan->offset >= end) return fail(scan, ONNX_ERROR_PARSE, error, "a number is cut off");
    guint8 byte = scan->data[scan->offset++];
    *value |= (guint64)(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) return TRUE;
  }
  return fail(scan, ONNX_ERROR_PARSE, error, "a number has more than 10 bytes");
}

static gboolean charge(Scan *scan, guint64 bytes, GError **error)
{
  scan->memory += bytes;
  if (scan->memory <= scan->limits->max_decoded) return TRUE;
  g_autofree gchar *text = g_strdup_printf("the model would need more than %" G_GUINT64_FORMAT " MiB of memory",
                                           scan->limits->max_decoded >> 20);
  return fail(scan, ONNX_ERROR_LIMIT, error, text);
}

/* Bytes of one element of a fixed-size type, 0 for varints. */
static gsize fixed_size(ProtobufCType type)
{
  switch (type) {
  case PROTOBUF_C_TYPE_FLOAT:
  case PROTOBUF_C_TYPE_FIXED32:
  case PROTOBUF_C_TYPE_SFIXED32:
    return 4;
  case PROTOBUF_C_TYPE_DOUBLE:
  case PROTOBUF_C_TYPE_FIXED64:
  case PROTOBUF_C_TYPE_SFIXED64:
    return 8;
  default:
    return 0;
  }
}

static guint expected_wire_type(ProtobufCType type)
{
  switch (type) {
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_BYTES:
  case PROTOBUF_C_TYPE_MESSAGE:
    return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
  default:
    break;
  }
  gsize size = fixed_size(type);
  if (size == 4) return PROTOBUF_C_WIRE_TYPE_32BIT;
  if (size == 8) return PROTOBUF_C_WIRE_TYPE_64BIT;
  return PROTOBUF_C_WIRE_TYPE_VARINT;
}

static gboolean scan_packed(Scan *scan, ProtobufCType type, gsize end, GError **error)
{
  gsize size = fixed_size(type), length = end - scan->offset, count = 0;
  if (size > 0) {
    if (length % size != 0) return fail(scan, ONNX_ERROR_PARSE, error, "a packed array ends inside an element");
    count = length / size;
  } else {
    guint run = 0; /* bytes of the current varint */
    for (gsize i = scan->offset; i < end; i++) {
      run = scan->data[i] & 0x80 ? run + 1 : 0;
      count += run == 0;
      if (run >= 10) return fail(scan, ONNX_ERROR_PARSE, error, "a number has more than 10 bytes");
    }
    if (run != 0) return fail(scan, ONNX_ERROR_PARSE, error, "a packed array ends inside an element");
  }
  scan->offset = end;
  return charge(scan, 8 * (guint64)count, error);
}

static gboolean open_message(Scan *scan, const ProtobufCMessageDescriptor *descriptor, gsize end, GError **error)
{
  if (scan->depth >= MIN(scan->limits->max_depth, ONNX_MAX_DEPTH))
    return fail(scan, ONNX_ERROR_LIMIT, error, "messages nest too deeply");
  if (++scan->messages > scan->limits->max_messages) {
    g_autofree gchar *text = g_strdup_printf("more than %u parts", scan->limits->max_messages);
    return fail(scan, ONNX_ERROR_LIMIT, error, text);
  }
  scan->frames[scan->depth++] = (Frame){.descriptor = descriptor, .end = end};
  return charge(scan, descriptor->sizeof_message, error);
}

static gboolean note_singular(Scan *scan, const ProtobufCFieldDescriptor *field, GError **error)
{
  if (field->label == PROTOBUF_C_LABEL_REPEATED) return TRUE;
  Frame *frame = &scan->frames[scan->depth - 1];
  guint index = (guint)(field - frame->descriptor->fields);
  if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) /* all members of a oneof share the first member's bit */
    while (index > 0 && frame->descriptor->fields[index - 1].quantifier_offset == field->quantifier_offset) index--;
  if (frame->seen & (G_GUINT64_CONSTANT(1) << index))
    return fail(scan, ONNX_ERROR_PARSE, error, "a field that may appear once appears twice");
  frame->seen |= G_GUINT64_CONSTANT(1) << index;
  return TRUE;
}

static gboolean scan_length_prefixed(Scan *scan, const ProtobufCFieldDescriptor *field, GError **error)
{
  guint64 length;
  gsize end = scan->frames[scan->depth - 1].end;
  if (!read_varint(scan, end, &length, error)) return FALSE;
  if (length > end - scan->offset) return fail(scan, ONNX_ERROR_PARSE, error, "a field is longer than what is left");
  end = scan->offset + (gsize)length;
  if (field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE) return open_message(scan, field->descriptor, end, error);
  gboolean blob = field == NULL || field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES;
  if (!blob) return scan_packed(scan, field->type, end, error);
  if (field != NULL && field->type == PROTOBUF_C_TYPE_STRING &&
      !g_utf8_validate_len((const gchar *)scan->data + scan->offset, (gsize)length, NULL))
    return fail(scan, ONNX_ERROR_PARSE, error, "a text is not UTF-8 or holds a NUL");
  scan->offset = end;
  return charge(scan, length, error);
}

static gboolean scan_field(Scan *scan, GError **error)
{
  const Frame *frame = &scan->frames[scan->depth - 1];
  guint64 key;
  if (!read_varint(scan, frame->end, &key, error)) return FALSE;
  guint64 number = key >> 3;
  guint wire_type = key & 7;
  if (number == 0 || number > 0x1fffffff) return fail(scan, ONNX_ERROR_PARSE, error, "an impossible field number");
  const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(frame->descriptor, (unsigned)number);
  if (field != NULL) {
    gboolean packed = field->label == PROTOBUF_C_LABEL_REPEATED && wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    if (!packed && wire_type != expected_wire_type(field->type))
      return fail(scan, ONNX_ERROR_PARSE, error, "a field has the wrong wire type");
    if (!note_singular(scan, field, error)) return FALSE;
  }
  if (!charge(scan, FIELD_OVERHEAD, error)) return FALSE;
  gsize left = frame->end - scan->offset, size = wire_type == PROTOBUF_C_WIRE_TYPE_32BIT ? 4 : 8;
  guint64 ignored;
  switch (wire_type) {
  case PROTOBUF_C_WIRE_TYPE_VARINT:
    return read_varint(scan, frame->end, &ignored, error);
  case PROTOBUF_C_WIRE_TYPE_32BIT:
  case PROTOBUF_C_WIRE_TYPE_64BIT:
    if (left < size) return fail(scan, ONNX_ERROR_PARSE, error, "a number is cut off");
    scan->offset += size;
    return TRUE;
  case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
    return scan_length_prefixed(scan, field, error);
  default:
    return fail(scan, ONNX_ERROR_PARSE, error, "an unknown wire type");
  }
}

gboolean onnx_scan(const guint8 *data, gsize length, const OnnxLimits *limits, GError **error)
{
  Scan scan = {.data = data, .length = length, .limits = limits};
  if (length > limits->max_bytes) {
    g_autofree gchar *text = g_strdup_printf("the file is larger than %zu MiB", limits->max_bytes >> 20);
    return fail(&scan, ONNX_ERROR_LIMIT, error, text);
  }
  if (length == 0) return fail(&scan, ONNX_ERROR_PARSE, error, "the file is empty");
  if (!open_message(&scan, &onnx__model_proto__descriptor, length, error)) return FALSE;
  while (scan.depth > 0) {
    if (scan.offset == scan.frames[scan.depth - 1].end)
      scan.depth--;
    else if (!scan_field(&scan, error))
      return FALSE;
  }
  return TRUE;
}
