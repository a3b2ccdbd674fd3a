/* Copies and fills: that each pointer is what the direction says, and that the bytes lie in one allocation. */
#include "tests/cuda_shim/shim.h"

#include <vector>

namespace cuda_shim
{
/* Rows of `width` bytes, `pitch` bytes apart. */
struct Copy {
  unsigned char *to;
  const unsigned char *from;
  size_t to_pitch, from_pitch, width, height;
};
static const struct {
  cudaMemcpyKind kind;
  bool to_device, from_device;
  const char *name;
} directions[] = {
    {cudaMemcpyHostToHost, false, false, "cudaMemcpyHostToHost"},
    {cudaMemcpyHostToDevice, true, false, "cudaMemcpyHostToDevice"},
    {cudaMemcpyDeviceToHost, false, true, "cudaMemcpyDeviceToHost"},
    {cudaMemcpyDeviceToDevice, true, true, "cudaMemcpyDeviceToDevice"},
};

static void run_copy(const Copy &copy)
{
  for (size_t row = 0; row < copy.height; row++)
    std::memmove(copy.to + row * copy.to_pitch, copy.from + row * copy.from_pitch, copy.width);
}

static cudaError_t check(const Call &call, const Copy &copy, cudaMemcpyKind kind)
{
  bool to_device = is_device(copy.to), from_device = is_device(copy.from);
  if (copy.to == nullptr || copy.from == nullptr) return refuse(cudaErrorInvalidValue, call, "a pointer is NULL");
  if (copy.to_pitch < copy.width || copy.from_pitch < copy.width)
    return refuse(cudaErrorInvalidPitchValue, call, "a pitch is less than the width %zu", copy.width);
  if (kind < 0 || kind > cudaMemcpyDefault) return refuse(cudaErrorInvalidMemcpyDirection, call, "kind %d", kind);
  if (kind != cudaMemcpyDefault &&
      (directions[kind].to_device != to_device || directions[kind].from_device != from_device))
    return refuse(cudaErrorInvalidValue, call, "%s, but the destination is %s memory and the source %s memory",
                  directions[kind].name, to_device ? "device" : "host", from_device ? "device" : "host");
  std::string why;
  if (to_device && !in_allocation(copy.to, (copy.height - 1) * copy.to_pitch + copy.width, &why))
    return refuse(cudaErrorInvalidValue, call, "destination: %s", why.c_str());
  if (from_device && !in_allocation(copy.from, (copy.height - 1) * copy.from_pitch + copy.width, &why))
    return refuse(cudaErrorInvalidValue, call, "source: %s", why.c_str());
  return cudaSuccess;
}

/* Memory of the host that is not pinned is read before the call returns, and written before it returns. */
static cudaError_t copy_rows(const Call &call, Copy copy, cudaMemcpyKind kind, cudaStream_t stream)
{
  if (copy.width == 0 || copy.height == 0)
    return is_stream(stream) ? cudaSuccess : refuse(cudaErrorInvalidResourceHandle, call, "no stream");
  cudaError_t error = check(call, copy, kind);
  if (error != cudaSuccess) return error;
  bool captures = is_capturing(stream);
  if (!captures && !is_device(copy.from) && !is_pinned(copy.from)) {
    auto staged = std::make_shared<std::vector<unsigned char>>(copy.width * copy.height);
    run_copy({staged->data(), copy.from, copy.width, copy.from_pitch, copy.width, copy.height});
    copy.from = staged->data();
    copy.from_pitch = copy.width;
    error = enqueue(call, stream, call.function, [copy, staged] { run_copy(copy); });
  } else {
    error = enqueue(call, stream, call.function, [copy] { run_copy(copy); });
  }
  if (error != cudaSuccess || captures || is_device(copy.to) || is_pinned(copy.to)) return error;
  return wait_for(call, stream);
}

static cudaError_t fill(const Call &call, void *to, int value, size_t bytes, cudaStream_t stream)
{
  std::string why;
  if (bytes > 0 && !in_allocation(to, bytes, &why)) return refuse(cudaErrorInvalidValue, call, "%s", why.c_str());
  return enqueue(call, stream, call.function, [to, value, bytes] {
    if (bytes > 0) std::memset(to, value, bytes);
  });
}

static Copy one_row(void *to, const void *from, size_t bytes)
{
  return {static_cast<unsigned char *>(to), static_cast<const unsigned char *>(from), bytes, bytes, bytes, 1};
}
} // namespace cuda_shim

using namespace cuda_shim;

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
  CUDA_SHIM_CALL(cudaMemcpyAsync);
  return copy_rows(call, one_row(to, from, bytes), kind, stream);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
  CUDA_SHIM_CALL(cudaMemcpy);
  cudaError_t error = copy_rows(call, one_row(to, from, bytes), kind, nullptr);
  if (error != cudaSuccess || bytes == 0 || (is_device(to) && is_device(from))) return error;
  return wait_for(call, nullptr);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                              size_t height, enum cudaMemcpyKind kind, cudaStream_t stream)
{
  CUDA_SHIM_CALL(cudaMemcpy2DAsync);
  return copy_rows(
      call,
      {static_cast<unsigned char *>(to), static_cast<const unsigned char *>(from), to_pitch, from_pitch, width, height},
      kind, stream);
}

cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                         enum cudaMemcpyKind kind)
{
  CUDA_SHIM_CALL(cudaMemcpy2D);
  cudaError_t error = cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, width, height, kind, nullptr);
  return error != cudaSuccess ? error : wait_for(call, nullptr);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
  CUDA_SHIM_CALL(cudaMemsetAsync);
  return fill(call, to, value, bytes, stream);
}

cudaError_t cudaMemset(void *to, int value, size_t bytes)
{
  CUDA_SHIM_CALL(cudaMemset);
  return fill(call, to, value, bytes, nullptr);
}
