/* bfloat16 of CUDA C++: the upper half of a float32, rounded to the nearest even. */
#pragma once

#include "cuda_shim_math.h"

struct __nv_bfloat16 {
  uint16_t bits;
  __nv_bfloat16() = default;
  __nv_bfloat16(float value)
  {
    uint32_t wide = cuda_shim_bits<uint32_t>(value);
    bool nan = (wide & 0x7fffffffu) > 0x7f800000u;
    bits = nan ? 0x7fff : static_cast<uint16_t>((wide + 0x7fffu + (wide >> 16 & 1u)) >> 16);
  }
  operator float() const
  {
    return cuda_shim_bits<float>(static_cast<uint32_t>(bits) << 16);
  }
};
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;

static inline __nv_bfloat16 __float2bfloat16(float value)
{
  return __nv_bfloat16(value);
}
static inline __nv_bfloat16 __float2bfloat16_rn(float value)
{
  return __nv_bfloat16(value);
}
static inline float __bfloat162float(__nv_bfloat16 value)
{
  return value;
}
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
  return {__nv_bfloat16(x), __nv_bfloat16(y)};
}
static inline float __low2float(__nv_bfloat162 value)
{
  return value.x;
}
static inline float __high2float(__nv_bfloat162 value)
{
  return value.y;
}
