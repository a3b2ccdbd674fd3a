/* The memory pool: released blocks are kept and given out again, so that a step asks the driver for nothing. */
#include <cstdlib>

#include "pipeline/cuda/device_internal.h"

struct Block {
  void *data;
  size_t bytes;
  bool taken;
};

/* Sizes in eighths of a power of two: at most an eighth is lost, and batches of nearly the same size share blocks. */
size_t pipeline_cuda_memory_round(size_t bytes)
{
  size_t unit = 512;
  while (unit * 8 < bytes) unit *= 2;
  return (bytes + unit - 1) / unit * unit + (bytes == 0 ? unit : 0);
}

static void *pool_find(PipelineCudaDevice *device, size_t bytes)
{
  for (size_t i = 0; i < device->n_blocks; i++) {
    Block *block = &device->blocks[i];
    if (block->taken || block->bytes != bytes) continue;
    block->taken = true;
    device->used_bytes += bytes;
    return block->data;
  }
  return nullptr;
}

static int pool_add(PipelineCudaDevice *device, void *data, size_t bytes)
{
  if (device->n_blocks == device->block_capacity) {
    size_t capacity = device->block_capacity * 2 + 64;
    Block *blocks = static_cast<Block *>(realloc(device->blocks, capacity * sizeof(Block)));
    if (blocks == nullptr) return pipeline_cuda_fail(device, "note a piece of memory", "the host has no memory");
    device->blocks = blocks;
    device->block_capacity = capacity;
  }
  device->blocks[device->n_blocks++] = Block{data, bytes, true};
  device->used_bytes += bytes;
  device->held_bytes += bytes;
  if (device->held_bytes > device->peak_bytes) device->peak_bytes = device->held_bytes;
  return 0;
}

/* What nobody uses goes back to the driver. */
static void pool_trim(PipelineCudaDevice *device)
{
  size_t kept = 0;
  cudaStreamSynchronize(device->stream);
  for (size_t i = 0; i < device->n_blocks; i++) {
    if (device->blocks[i].taken) {
      device->blocks[kept++] = device->blocks[i];
      continue;
    }
    device->held_bytes -= device->blocks[i].bytes;
    cudaFree(device->blocks[i].data);
  }
  device->n_blocks = kept;
}

/* One of the pool's pieces goes back to the driver, when all that is queued is done. */
static void pool_drop(PipelineCudaDevice *device, void *data)
{
  cudaStreamSynchronize(device->stream);
  for (size_t i = 0; i < device->n_blocks; i++) {
    if (device->blocks[i].data != data) continue;
    device->held_bytes -= device->blocks[i].bytes;
    device->used_bytes -= device->blocks[i].bytes;
    device->blocks[i] = device->blocks[--device->n_blocks];
    cudaFree(data);
    return;
  }
}

static cudaError_t pool_ask(PipelineCudaDevice *device, void **data, size_t bytes)
{
  bool beyond = device->limit_bytes > 0 && device->held_bytes + bytes > device->limit_bytes;
  return beyond ? cudaErrorMemoryAllocation : cudaMalloc(data, bytes);
}

void *pipeline_cuda_allocate(PipelineCudaDevice *device, size_t bytes)
{
  size_t size = pipeline_cuda_memory_round(bytes);
  device->changes++;
  if (device->recording) {
    pipeline_cuda_fail(device, "allocate", "a step is being recorded");
    return nullptr;
  }
  void *data = pool_find(device, size);
  if (data != nullptr) return data;
  cudaError_t error = pool_ask(device, &data, size);
  if (error != cudaSuccess) {
    cudaGetLastError();
    pool_trim(device);
    error = pool_ask(device, &data, size);
  }
  if (error != cudaSuccess) {
    cudaGetLastError();
    device->lacks_memory = error == cudaErrorMemoryAllocation;
    snprintf(device->message, sizeof device->message,
             "CUDA cannot allocate %zu bytes beside the %zu in use: %s; a smaller batch needs less", bytes,
             device->used_bytes, cudaGetErrorName(error));
    return nullptr;
  }
  if (pool_add(device, data, size) == 0) return data;
  cudaFree(data);
  return nullptr;
}

void pipeline_cuda_release(PipelineCudaDevice *device, void *buffer)
{
  device->changes++;
  for (size_t i = 0; i < device->n_blocks; i++)
    if (device->blocks[i].data == buffer && device->blocks[i].taken) {
      device->blocks[i].taken = false;
      device->used_bytes -= device->blocks[i].bytes;
      return;
    }
}

/* Hardly anything else has the size of a workspace that became too small: it is not kept. */
int pipeline_cuda_provide_workspace(PipelineCudaDevice *device, size_t bytes)
{
  if (bytes <= device->workspace_bytes) return 0;
  if (device->recording) return pipeline_cuda_fail(device, "allocate", "a step is being recorded");
  if (device->workspace != nullptr) pool_drop(device, device->workspace);
  device->changes++;
  device->workspace = nullptr;
  device->workspace_bytes = 0;
  device->workspace = pipeline_cuda_allocate(device, bytes);
  if (device->workspace == nullptr) return 1;
  device->workspace_bytes = bytes;
  return 0;
}

void pipeline_cuda_memory_info(PipelineCudaDevice *device, PipelineCudaMemory *memory)
{
  *memory = PipelineCudaMemory{0, 0, device->own_bytes, device->used_bytes, device->held_bytes, device->peak_bytes};
  if (cudaMemGetInfo(&memory->free, &memory->total) != cudaSuccess) cudaGetLastError();
}

void pipeline_cuda_memory_mark(PipelineCudaDevice *device)
{
  device->peak_bytes = device->held_bytes;
}

void pipeline_cuda_memory_limit(PipelineCudaDevice *device, size_t bytes)
{
  device->limit_bytes = bytes;
}

int pipeline_cuda_lacks_memory(const PipelineCudaDevice *device)
{
  return device->lacks_memory;
}

/* The workspace comes back with the first call that needs one. */
void pipeline_cuda_memory_trim(PipelineCudaDevice *device)
{
  if (device->workspace != nullptr) pipeline_cuda_release(device, device->workspace);
  device->workspace = nullptr;
  device->workspace_bytes = 0;
  pool_trim(device);
}

void pipeline_cuda_memory_close(PipelineCudaDevice *device)
{
  for (size_t i = 0; i < device->n_blocks; i++) cudaFree(device->blocks[i].data);
  free(device->blocks);
}
