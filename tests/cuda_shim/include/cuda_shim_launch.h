/* Launches of kernels without the triple angle brackets:
 *
 *     LAUNCH(kernel, grid, block, shared_bytes, stream, arguments…)   a template in parentheses: (kernel<A, B>)
 *     DYNAMIC_SHARED(float, name);                                    the kernel's dynamic shared memory, as an array
 */
#pragma once

#include "cuda_runtime.h"

#include <functional>
#include <tuple>

/* The section of this program or library in which static shared memory lies; NULL: it has none. */
extern char cuda_shim_shared_start[] __asm__("__start_cuda_shim_shared") __attribute__((weak, visibility("hidden")));
extern char cuda_shim_shared_stop[] __asm__("__stop_cuda_shim_shared") __attribute__((weak, visibility("hidden")));

struct CudaShimKernel {
  const char *name;
  const void *function;
  char *shared_start, *shared_stop;
  std::function<void()> run; /* one thread of it */
};
/* Puts the kernel into the stream, or says by the return value, and by cudaGetLastError, why it cannot run. */
cudaError_t cuda_shim_launch_kernel(CudaShimKernel kernel, dim3 grid, dim3 block, size_t shared_bytes,
                                    cudaStream_t stream);

/* Ends the program when the parameter points to memory that a device cannot reach. */
void cuda_shim_check_pointer(const char *kernel, int number, const void *pointer);
template <class Value> static inline void cuda_shim_check_parameter(const char *kernel, int number, const Value &value)
{
  if constexpr (std::is_pointer<Value>::value && !std::is_function<std::remove_pointer_t<Value>>::value)
    cuda_shim_check_pointer(kernel, number, value);
}

template <class... Parameters, class... Arguments>
cudaError_t cuda_shim_launch(const char *name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                             size_t shared_bytes, cudaStream_t stream, Arguments... arguments)
{
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "as many arguments as the kernel has parameters");
  static_assert((sizeof(Parameters) + ... + 0) <= 4096,
                "parameters of a kernel are at most 4096 bytes on every device");
  std::tuple<std::decay_t<Parameters>...> values(static_cast<std::decay_t<Parameters>>(arguments)...);
  std::apply(
      [name](const auto &...value) {
        int number = 1;
        (cuda_shim_check_parameter(name, number++, value), ...);
      },
      values);
  return cuda_shim_launch_kernel({name, reinterpret_cast<const void *>(kernel), cuda_shim_shared_start,
                                  cuda_shim_shared_stop, [kernel, values] { std::apply(kernel, values); }},
                                 grid, block, shared_bytes, stream);
}

#define LAUNCH(kernel, grid, block, shared, stream, ...)                                                               \
  ((void)cuda_shim_launch(#kernel, kernel, (grid), (block), (shared), (stream), __VA_ARGS__))
#define DYNAMIC_SHARED(type, name) type *name = static_cast<type *>(cuda_shim_dynamic_shared())
