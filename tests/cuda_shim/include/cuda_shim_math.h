/* Intrinsics of device code: atomics, conversions, fast mathematics. The fast functions are the exact ones here: what
 * a device rounds differently is not shown. */
#pragma once

#include <climits>
#include <cmath>
#include <math.h>
#include <cstdint>
#include <cstring>

template <class To, class From> static inline To cuda_shim_bits(From from)
{
  static_assert(sizeof(To) == sizeof(From), "the same number of bits");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

/* --- atomics: relaxed, as on the device; the old value is returned -------------------------------------------------
 */
template <class Value, class Change> static inline Value cuda_shim_atomic(Value *address, Change change)
{
  Value old, next;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  do {
    next = change(old);
  } while (!__atomic_compare_exchange(address, &old, &next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}
#define CUDA_SHIM_ATOMIC(name, type, expression)                                                                       \
  static inline type name(type *address, type value)                                                                   \
  {                                                                                                                    \
    return cuda_shim_atomic(address, [value](type old) -> type { return expression; });                                \
  }
#define CUDA_SHIM_ATOMIC_INTEGERS(name, expression)                                                                    \
  CUDA_SHIM_ATOMIC(name, int, expression)                                                                              \
  CUDA_SHIM_ATOMIC(name, unsigned, expression)                                                                         \
  CUDA_SHIM_ATOMIC(name, unsigned long long, expression)
CUDA_SHIM_ATOMIC_INTEGERS(atomicAdd, old + value)
CUDA_SHIM_ATOMIC(atomicAdd, float, old + value)
CUDA_SHIM_ATOMIC(atomicAdd, double, old + value)
CUDA_SHIM_ATOMIC(atomicSub, int, old - value)
CUDA_SHIM_ATOMIC(atomicSub, unsigned, old - value)
CUDA_SHIM_ATOMIC_INTEGERS(atomicMax, old > value ? old : value)
CUDA_SHIM_ATOMIC_INTEGERS(atomicMin, old < value ? old : value)
CUDA_SHIM_ATOMIC_INTEGERS(atomicAnd, old &value)
CUDA_SHIM_ATOMIC_INTEGERS(atomicOr, old | value)
CUDA_SHIM_ATOMIC_INTEGERS(atomicXor, old ^ value)
CUDA_SHIM_ATOMIC_INTEGERS(atomicExch, ((void)old, value))
CUDA_SHIM_ATOMIC(atomicExch, float, ((void)old, value))
CUDA_SHIM_ATOMIC(atomicInc, unsigned, old >= value ? 0 : old + 1)
CUDA_SHIM_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1)
#undef CUDA_SHIM_ATOMIC_INTEGERS
#undef CUDA_SHIM_ATOMIC
#define CUDA_SHIM_COMPARE_AND_SWAP(type)                                                                               \
  static inline type atomicCAS(type *address, type compare, type value)                                                \
  {                                                                                                                    \
    __atomic_compare_exchange(address, &compare, &value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);                   \
    return compare;                                                                                                    \
  }
CUDA_SHIM_COMPARE_AND_SWAP(int)
CUDA_SHIM_COMPARE_AND_SWAP(unsigned)
CUDA_SHIM_COMPARE_AND_SWAP(unsigned long long)
#undef CUDA_SHIM_COMPARE_AND_SWAP

/* A fence alone orders nothing here that the atomics do not: fibers are one thread, and ThreadSanitizer knows none. */
static inline void __threadfence(void)
{
}
static inline void __threadfence_block(void)
{
}
static inline void __threadfence_system(void)
{
}

/* --- bits ------------------------------------------------------------------------------------------------------- */
static inline int __float_as_int(float value)
{
  return cuda_shim_bits<int>(value);
}
static inline unsigned __float_as_uint(float value)
{
  return cuda_shim_bits<unsigned>(value);
}
static inline float __int_as_float(int value)
{
  return cuda_shim_bits<float>(value);
}
static inline float __uint_as_float(unsigned value)
{
  return cuda_shim_bits<float>(value);
}
static inline long long __double_as_longlong(double value)
{
  return cuda_shim_bits<long long>(value);
}
static inline double __longlong_as_double(long long value)
{
  return cuda_shim_bits<double>(value);
}
static inline int __popc(unsigned value)
{
  return __builtin_popcount(value);
}
static inline int __popcll(unsigned long long value)
{
  return __builtin_popcountll(value);
}
static inline int __clz(int value)
{
  return value == 0 ? 32 : __builtin_clz(static_cast<unsigned>(value));
}
static inline int __clzll(long long value)
{
  return value == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(value));
}
static inline int __ffs(int value)
{
  return __builtin_ffs(value);
}
static inline int __ffsll(long long value)
{
  return __builtin_ffsll(value);
}
static inline unsigned __brev(unsigned value)
{
  unsigned reversed = 0;
  for (int i = 0; i < 32; i++) reversed |= (value >> i & 1u) << (31 - i);
  return reversed;
}
static inline unsigned __umulhi(unsigned a, unsigned b)
{
  return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}
static inline int __mulhi(int a, int b)
{
  return static_cast<int>(static_cast<int64_t>(a) * b >> 32);
}
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
  uint64_t low_a = a & 0xffffffffu, high_a = a >> 32, low_b = b & 0xffffffffu, high_b = b >> 32;
  uint64_t middle = low_a * high_b + (low_a * low_b >> 32), other = high_a * low_b + (middle & 0xffffffffu);
  return high_a * high_b + (middle >> 32) + (other >> 32);
}
template <class Value> static inline Value __ldg(const Value *address)
{
  return *address;
}

/* --- mathematics ------------------------------------------------------------------------------------------------ */
/* Macros, for the C library has functions of these names. */
#define __expf(x) expf(x)
#define __exp10f(x) exp10f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
static inline float __fdividef(float x, float y)
{
  return x / y;
}
static inline float __fadd_rn(float x, float y)
{
  return x + y;
}
static inline float __fsub_rn(float x, float y)
{
  return x - y;
}
static inline float __fmul_rn(float x, float y)
{
  return x * y;
}
static inline float __fdiv_rn(float x, float y)
{
  return x / y;
}
static inline float __fmaf_rn(float x, float y, float z)
{
  return std::fma(x, y, z);
}
static inline float __frcp_rn(float x)
{
  return 1.0f / x;
}
static inline float __fsqrt_rn(float x)
{
  return std::sqrt(x);
}
static inline float __frsqrt_rn(float x)
{
  return 1.0f / std::sqrt(x);
}
static inline double __dadd_rn(double x, double y)
{
  return x + y;
}
static inline double __dmul_rn(double x, double y)
{
  return x * y;
}
static inline float __saturatef(float x)
{
  return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; /* NaN becomes 0 */
}
static inline float rsqrtf(float x)
{
  return 1.0f / std::sqrt(x);
}
static inline double rsqrt(double x)
{
  return 1.0 / std::sqrt(x);
}
static inline float rcbrtf(float x)
{
  return 1.0f / std::cbrt(x);
}
static inline float normcdff(float x)
{
  return 0.5f * std::erfc(-x * 0.70710678118654752f);
}
static inline double normcdf(double x)
{
  return 0.5 * std::erfc(-x * 0.70710678118654752);
}
static inline int __float2int_rn(float x)
{
  return static_cast<int>(std::nearbyint(x));
}
static inline int __float2int_rz(float x)
{
  return static_cast<int>(x);
}
static inline int __float2int_rd(float x)
{
  return static_cast<int>(std::floor(x));
}
static inline int __float2int_ru(float x)
{
  return static_cast<int>(std::ceil(x));
}
static inline float __int2float_rn(int x)
{
  return static_cast<float>(x);
}
static inline float __double2float_rn(double x)
{
  return static_cast<float>(x);
}

#define CUDA_SHIM_MIN_MAX(type)                                                                                        \
  static inline type min(type a, type b)                                                                               \
  {                                                                                                                    \
    return a < b ? a : b;                                                                                              \
  }                                                                                                                    \
  static inline type max(type a, type b)                                                                               \
  {                                                                                                                    \
    return a > b ? a : b;                                                                                              \
  }
CUDA_SHIM_MIN_MAX(int)
CUDA_SHIM_MIN_MAX(unsigned)
CUDA_SHIM_MIN_MAX(long)
CUDA_SHIM_MIN_MAX(unsigned long)
CUDA_SHIM_MIN_MAX(long long)
CUDA_SHIM_MIN_MAX(unsigned long long)
#undef CUDA_SHIM_MIN_MAX
static inline float min(float a, float b)
{
  return std::fmin(a, b);
}
static inline float max(float a, float b)
{
  return std::fmax(a, b);
}
static inline double min(double a, double b)
{
  return std::fmin(a, b);
}
static inline double max(double a, double b)
{
  return std::fmax(a, b);
}
