/* IEEE 754 half precision and bfloat16 to and from float32, round to nearest even. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

float onnx_float16_to_float(guint16 half);
guint16 onnx_float16_from_float(float value);
float onnx_bfloat16_to_float(guint16 value);
guint16 onnx_bfloat16_from_float(float value);

G_END_DECLS
