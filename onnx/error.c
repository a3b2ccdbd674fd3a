#include "onnx/error.h"

GQuark onnx_error_quark(void)
{
  return g_quark_from_static_string("onnx-error-quark");
}
