#include "onnx/float16.h"

#include <string.h>

static float from_bits(guint32 bits)
{
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static guint32 to_bits(float value)
{
  guint32 bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

float onnx_float16_to_float(guint16 half)
{
  guint32 sign = (guint32)(half & 0x8000) << 16, exponent = (half >> 10) & 31, mantissa = half & 0x3ff;
  if (exponent == 31) return from_bits(sign | 0x7f800000 | mantissa << 13);
  if (exponent > 0) return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
  float magnitude = (float)mantissa * 0x1p-24f; /* subnormal or zero: exact */
  return sign ? -magnitude : magnitude;
}

guint16 onnx_float16_from_float(float value)
{
  guint32 bits = to_bits(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return (guint16)(sign | 0x7e00);  /* NaN */
  if (magnitude >= 0x477ff000) return (guint16)(sign | 0x7c00); /* rounds to infinity: 65520 and above */
  if (magnitude < 0x38800000) {                                 /* below 2^-14: subnormal, by adding a magic number */
    float shifted = from_bits(magnitude) + 0.5f;
    return (guint16)(sign | (to_bits(shifted) - to_bits(0.5f)));
  }
  guint32 rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return (guint16)(sign | (rounded - (112u << 23)) >> 13);
}

float onnx_bfloat16_to_float(guint16 value)
{
  return from_bits((guint32)value << 16);
}

guint16 onnx_bfloat16_from_float(float value)
{
  guint32 bits = to_bits(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return (guint16)(bits >> 16 | 0x40);
  return (guint16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
