/* float16 of CUDA C++ (IEEE 754 binary16), rounded to the nearest even. */
#pragma once

#include "cuda_shim_math.h"

struct __half {
  uint16_t bits;
  __half() = default;
  __half(float value)
  {
    uint32_t wide = cuda_shim_bits<uint32_t>(value), magnitude = wide & 0x7fffffffu, rounded;
    if (magnitude > 0x7f800000u) { /* NaN */
      bits = 0x7fff;
      return;
    }
    if (magnitude >= 0x477ff000u)
      rounded = 0x7c00u;              /* from 65520 on: infinite */
    else if (magnitude < 0x38800000u) /* subnormal: the last place of a float of [0.5, 1) is 2^-24 */
      rounded = cuda_shim_bits<uint32_t>(cuda_shim_bits<float>(magnitude) + 0.5f) - 0x3f000000u;
    else
      rounded = (magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13;
    bits = static_cast<uint16_t>(rounded | (wide >> 16 & 0x8000u));
  }
  operator float() const
  {
    uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31u, fraction = bits & 0x3ffu;
    if (exponent == 0) return cuda_shim_bits<float>(sign | 0x3f800000u) * static_cast<float>(fraction) / 16777216.0f;
    return cuda_shim_bits<float>(sign | (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13);
  }
};
struct alignas(4) __half2 {
  __half x, y;
};
typedef __half half;
typedef __half2 half2;

static inline __half __float2half(float value)
{
  return __half(value);
}
static inline __half __float2half_rn(float value)
{
  return __half(value);
}
static inline float __half2float(__half value)
{
  return value;
}
static inline __half2 __floats2half2_rn(float x, float y)
{
  return {__half(x), __half(y)};
}
