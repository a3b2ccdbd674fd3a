/* Errors of the ONNX side. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define ONNX_ERROR (onnx_error_quark())
GQuark onnx_error_quark(void);
typedef enum {
  ONNX_ERROR_PARSE,       /* the bytes are no ONNX model: the offset is named */
  ONNX_ERROR_LIMIT,       /* larger, deeper or more numerous than a stated cap */
  ONNX_ERROR_INVALID,     /* an ONNX model that breaks ONNX's own rules: node, value or tensor is named */
  ONNX_ERROR_UNSUPPORTED, /* valid, but outside of what this program reads: it is named */
} OnnxError;

G_END_DECLS
