/* Launches: whether the device would take them; then block after block, in the order that the seed says. */
#include "tests/cuda_shim/shim.h"

#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

namespace cuda_shim
{
constexpr size_t ZONE = 256, WITHOUT_ASKING = size_t{48} << 10;
using Allowed = std::map<const void *, size_t>;
static Allowed &allowed =
    *new Allowed; /* never destroyed; dynamic shared memory by kernel, of those that asked for more */

static cudaError_t check_launch(const Call &call, const CudaShimKernel &kernel, dim3 grid, dim3 block, size_t shared)
{
  uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || grid.x == 0 || grid.y == 0 || grid.z == 0)
    return refuse(cudaErrorInvalidConfiguration, call, "%s: grid (%u,%u,%u) of blocks (%u,%u,%u) is empty", kernel.name,
                  grid.x, grid.y, grid.z, block.x, block.y, block.z);
  if (block.x > 1024 || block.y > 1024 || block.z > 64 || threads > 1024)
    return refuse(cudaErrorInvalidConfiguration, call, "%s: a block of (%u,%u,%u) threads; at most 1024", kernel.name,
                  block.x, block.y, block.z);
  if (grid.x > INT_MAX || grid.y > 65535 || grid.z > 65535)
    return refuse(cudaErrorInvalidConfiguration, call, "%s: a grid of (%u,%u,%u) blocks", kernel.name, grid.x, grid.y,
                  grid.z);
  auto found = allowed.find(kernel.function);
  size_t limit = found == allowed.end() ? WITHOUT_ASKING : found->second;
  if (shared > limit)
    return refuse(cudaErrorInvalidConfiguration, call,
                  "%s: %zu bytes of dynamic shared memory, %zu are allowed (cudaFuncSetAttribute asks for more)",
                  kernel.name, shared, limit);
  return cudaSuccess;
}

/* The order of the blocks: 0, 1, … or shuffled. */
static std::vector<size_t> block_order(size_t blocks, uint64_t *seed)
{
  std::vector<size_t> order(blocks);
  for (size_t i = 0; i < blocks; i++) order[i] = i;
  for (size_t i = blocks; *seed != 0 && i > 1; i--) std::swap(order[i - 1], order[random_next(seed) % i]);
  return order;
}

static void run_grid(const CudaShimKernel &kernel, dim3 grid, dim3 block, size_t shared_bytes)
{
  std::unique_ptr<unsigned char, decltype(&std::free)> room(
      static_cast<unsigned char *>(std::aligned_alloc(ZONE, (2 * ZONE + shared_bytes + ZONE - 1) / ZONE * ZONE)),
      &std::free);
  unsigned char *shared = room.get() + ZONE;
  fill_zone(room.get(), ZONE);
  fill_zone(shared + shared_bytes, ZONE);
  Grid launch = {&kernel, grid, block, shared_bytes, shared};
  uint64_t seed = settings().seed;
  for (size_t index : block_order(size_t{grid.x} * grid.y * grid.z, &seed)) {
    std::memset(shared, POISON, shared_bytes);
    if (kernel.shared_start != nullptr)
      std::memset(kernel.shared_start, POISON, static_cast<size_t>(kernel.shared_stop - kernel.shared_start));
    uint3 place = {static_cast<unsigned>(index % grid.x), static_cast<unsigned>(index / grid.x % grid.y),
                   static_cast<unsigned>(index / grid.x / grid.y)};
    run_block(launch, place, seed == 0 ? 0 : random_next(&seed));
    if (!zone_is_intact(room.get(), ZONE) || !zone_is_intact(shared + shared_bytes, ZONE))
      fault("kernel %s, block (%u,%u,%u): something was written beside the %zu bytes of dynamic shared memory",
            kernel.name, place.x, place.y, place.z, shared_bytes);
  }
}
} // namespace cuda_shim

using namespace cuda_shim;

cudaError_t cuda_shim_launch_kernel(CudaShimKernel kernel, dim3 grid, dim3 block, size_t shared_bytes,
                                    cudaStream_t stream)
{
  Call call("launch");
  if (call.injected != 0) return refuse(static_cast<cudaError_t>(call.injected), call, "as CUDA_SHIM_FAIL asks");
  cudaError_t error = check_launch(call, kernel, grid, block, shared_bytes);
  if (error != cudaSuccess) return error;
  std::string name = std::string("kernel ") + kernel.name;
  return enqueue(call, stream, name,
                 [kernel, grid, block, shared_bytes] { run_grid(kernel, grid, block, shared_bytes); });
}

cudaError_t cuda_shim_set_attribute(const void *kernel, cudaFuncAttribute attribute, int value)
{
  CUDA_SHIM_CALL(cudaFuncSetAttribute);
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      static_cast<size_t>(value) > settings().shared)
    return refuse(cudaErrorInvalidValue, call, "%d bytes of dynamic shared memory; the device has %zu a block", value,
                  settings().shared);
  allowed[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}

cudaError_t cuda_shim_occupancy(int *blocks, int block_size, size_t shared_bytes)
{
  CUDA_SHIM_CALL(cudaOccupancyMaxActiveBlocksPerMultiprocessor);
  if (block_size < 1 || block_size > 1024) return refuse(cudaErrorInvalidValue, call, "%d threads", block_size);
  size_t by_threads = 2048 / static_cast<size_t>(block_size), by_shared = settings().shared / (shared_bytes + 1);
  *blocks = static_cast<int>(by_threads < by_shared ? by_threads : by_shared);
  return cudaSuccess;
}

void cuda_shim_check_pointer(const char *kernel, int number, const void *pointer)
{
  if (pointer == nullptr || is_device(pointer) || is_pinned(pointer)) return;
  fault("kernel %s: parameter %d, %p, is memory of the host", kernel, number, pointer);
}
