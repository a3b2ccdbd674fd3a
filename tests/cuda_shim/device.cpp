/* The device: what it is called and how large it is. CUDA_SHIM_DEVICES=0 leaves none. */
#include "tests/cuda_shim/shim.h"

#include <cstdio>

using namespace cuda_shim;

static thread_local int current;

/* Figures that differ between compute capabilities: CUDA C++ Programming Guide, "Technical Specifications". */
static const struct {
  cudaDeviceAttr attribute;
  int value; /* -1: computed */
} attributes[] = {
    {cudaDevAttrMaxThreadsPerBlock, 1024},
    {cudaDevAttrMaxBlockDimX, 1024},
    {cudaDevAttrMaxBlockDimY, 1024},
    {cudaDevAttrMaxBlockDimZ, 64},
    {cudaDevAttrMaxGridDimX, INT_MAX},
    {cudaDevAttrMaxGridDimY, 65535},
    {cudaDevAttrMaxGridDimZ, 65535},
    {cudaDevAttrMaxSharedMemoryPerBlock, 48 << 10},
    {cudaDevAttrTotalConstantMemory, 64 << 10},
    {cudaDevAttrWarpSize, 32},
    {cudaDevAttrClockRate, 1000000},
    {cudaDevAttrMultiProcessorCount, 4},
    {cudaDevAttrL2CacheSize, 4 << 20},
    {cudaDevAttrMaxThreadsPerMultiProcessor, -1},
    {cudaDevAttrComputeCapabilityMajor, -1},
    {cudaDevAttrComputeCapabilityMinor, -1},
    {cudaDevAttrMaxSharedMemoryPerMultiprocessor, -1},
    {cudaDevAttrMaxSharedMemoryPerBlockOptin, -1},
    {cudaDevAttrMemoryPoolsSupported, 1},
};

static int computed_attribute(cudaDeviceAttr attribute)
{
  const Settings &set = settings();
  switch (attribute) {
  case cudaDevAttrMaxThreadsPerMultiProcessor:
    return set.compute >= 80 ? 2048 : 1024;
  case cudaDevAttrComputeCapabilityMajor:
    return set.compute / 10;
  case cudaDevAttrComputeCapabilityMinor:
    return set.compute % 10;
  case cudaDevAttrMaxSharedMemoryPerBlockOptin:
    return static_cast<int>(set.shared);
  default:
    return static_cast<int>(set.shared) + 1024;
  }
}

cudaError_t cuda_shim::check_device(const Call &call, int device)
{
  if (settings().devices == 0) return refuse(cudaErrorNoDevice, call, "CUDA_SHIM_DEVICES is 0");
  if (settings().driver / 1000 < CUDART_VERSION / 1000)
    return refuse(cudaErrorInsufficientDriver, call, "CUDA_SHIM_DRIVER is %d", settings().driver);
  if (device < 0 || device >= settings().devices) return refuse(cudaErrorInvalidDevice, call, "device %d", device);
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
  CUDA_SHIM_CALL(cudaGetDeviceCount);
  cudaError_t error = check_device(call, 0);
  *count = error == cudaSuccess ? settings().devices : 0;
  return error;
}

cudaError_t cudaSetDevice(int device)
{
  CUDA_SHIM_CALL(cudaSetDevice);
  cudaError_t error = check_device(call, device);
  if (error == cudaSuccess) current = device;
  return error;
}

cudaError_t cudaGetDevice(int *device)
{
  CUDA_SHIM_CALL(cudaGetDevice);
  *device = current;
  return check_device(call, current);
}

cudaError_t cudaSetDeviceFlags(unsigned int)
{
  CUDA_SHIM_CALL(cudaSetDeviceFlags);
  return check_device(call, current);
}

cudaError_t cudaDeviceReset(void)
{
  CUDA_SHIM_CALL(cudaDeviceReset);
  wait_for_all();
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
  CUDA_SHIM_CALL(cudaDeviceGetAttribute);
  cudaError_t error = check_device(call, device);
  if (error != cudaSuccess) return error;
  for (const auto &known : attributes)
    if (known.attribute == attribute) {
      *value = known.value >= 0 ? known.value : computed_attribute(attribute);
      return cudaSuccess;
    }
  return refuse(cudaErrorInvalidValue, call, "attribute %d", attribute);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
  CUDA_SHIM_CALL(cudaGetDeviceProperties);
  cudaError_t error = check_device(call, device);
  if (error != cudaSuccess) return error;
  auto value = [](cudaDeviceAttr attribute) {
    int result = 0;
    cudaDeviceGetAttribute(&result, attribute, 0);
    return result;
  };
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "CUDA on the processor");
  properties->totalGlobalMem = settings().memory;
  properties->sharedMemPerBlock = static_cast<size_t>(value(cudaDevAttrMaxSharedMemoryPerBlock));
  properties->sharedMemPerBlockOptin = static_cast<size_t>(value(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  properties->sharedMemPerMultiprocessor = static_cast<size_t>(value(cudaDevAttrMaxSharedMemoryPerMultiprocessor));
  properties->totalConstMem = static_cast<size_t>(value(cudaDevAttrTotalConstantMemory));
  properties->regsPerBlock = 65536;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = value(cudaDevAttrMaxThreadsPerBlock);
  for (int i = 0; i < 3; i++) {
    properties->maxThreadsDim[i] = value(static_cast<cudaDeviceAttr>(cudaDevAttrMaxBlockDimX + i));
    properties->maxGridSize[i] = value(static_cast<cudaDeviceAttr>(cudaDevAttrMaxGridDimX + i));
  }
  properties->major = value(cudaDevAttrComputeCapabilityMajor);
  properties->minor = value(cudaDevAttrComputeCapabilityMinor);
  properties->multiProcessorCount = value(cudaDevAttrMultiProcessorCount);
  properties->maxThreadsPerMultiProcessor = value(cudaDevAttrMaxThreadsPerMultiProcessor);
  properties->l2CacheSize = value(cudaDevAttrL2CacheSize);
  properties->concurrentKernels = properties->asyncEngineCount = properties->unifiedAddressing = 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int length, int device)
{
  CUDA_SHIM_CALL(cudaDeviceGetPCIBusId);
  cudaError_t error = check_device(call, device);
  if (error == cudaSuccess) std::snprintf(id, static_cast<size_t>(length), "0000:00:00.%d", device);
  return error;
}

cudaError_t cudaDriverGetVersion(int *version)
{
  CUDA_SHIM_CALL(cudaDriverGetVersion);
  *version = settings().devices == 0 ? 0 : settings().driver;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
  CUDA_SHIM_CALL(cudaRuntimeGetVersion);
  *version = CUDART_VERSION;
  return cudaSuccess;
}
