/* Vector types of CUDA C++: plain structs with CUDA's names, sizes and alignments. */
#pragma once

#define CUDA_SHIM_VECTOR(type, name, two, four)                                                                        \
  struct name##1                                                                                                       \
  {                                                                                                                    \
    type x;                                                                                                            \
  };                                                                                                                   \
  struct alignas(two) name##2                                                                                          \
  {                                                                                                                    \
    type x, y;                                                                                                         \
  };                                                                                                                   \
  struct name##3                                                                                                       \
  {                                                                                                                    \
    type x, y, z;                                                                                                      \
  };                                                                                                                   \
  struct alignas(four) name##4                                                                                         \
  {                                                                                                                    \
    type x, y, z, w;                                                                                                   \
  };                                                                                                                   \
  static inline name##1 make_##name##1(type x)                                                                         \
  {                                                                                                                    \
    return {x};                                                                                                        \
  }                                                                                                                    \
  static inline name##2 make_##name##2(type x, type y)                                                                 \
  {                                                                                                                    \
    return {x, y};                                                                                                     \
  }                                                                                                                    \
  static inline name##3 make_##name##3(type x, type y, type z)                                                         \
  {                                                                                                                    \
    return {x, y, z};                                                                                                  \
  }                                                                                                                    \
  static inline name##4 make_##name##4(type x, type y, type z, type w)                                                 \
  {                                                                                                                    \
    return {x, y, z, w};                                                                                               \
  }

CUDA_SHIM_VECTOR(signed char, char, 2, 4)
CUDA_SHIM_VECTOR(unsigned char, uchar, 2, 4)
CUDA_SHIM_VECTOR(short, short, 4, 8)
CUDA_SHIM_VECTOR(unsigned short, ushort, 4, 8)
CUDA_SHIM_VECTOR(int, int, 8, 16)
CUDA_SHIM_VECTOR(unsigned int, uint, 8, 16)
CUDA_SHIM_VECTOR(long, long, 16, 16)
CUDA_SHIM_VECTOR(unsigned long, ulong, 16, 16)
CUDA_SHIM_VECTOR(long long, longlong, 16, 16)
CUDA_SHIM_VECTOR(unsigned long long, ulonglong, 16, 16)
CUDA_SHIM_VECTOR(float, float, 8, 16)
CUDA_SHIM_VECTOR(double, double, 16, 16)
#undef CUDA_SHIM_VECTOR

struct dim3 {
  unsigned int x, y, z;
  constexpr dim3(unsigned int vx = 1, unsigned int vy = 1, unsigned int vz = 1) : x(vx), y(vy), z(vz)
  {
  }
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z)
  {
  }
};
