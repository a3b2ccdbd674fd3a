/* Settings, errors, the lock. */
#include "tests/cuda_shim/shim.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>

namespace cuda_shim
{
static thread_local cudaError_t last_error = cudaSuccess;
static std::recursive_mutex &everything = *new std::recursive_mutex; /* never destroyed */

static long number(const char *name, long otherwise)
{
  const char *text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::strtol(text, nullptr, 10);
}

static Settings read_settings()
{
  Settings read;
  read.seed = static_cast<uint64_t>(number("CUDA_SHIM_SEED", 0));
  read.deferred = number("CUDA_SHIM_DEFERRED", 1) != 0;
  read.protect = number("CUDA_SHIM_PROTECT", 1) != 0;
  read.memory = static_cast<size_t>(number("CUDA_SHIM_MEMORY", 4096)) << 20;
  read.devices = static_cast<int>(number("CUDA_SHIM_DEVICES", 1));
  read.compute = static_cast<int>(number("CUDA_SHIM_COMPUTE", 80));
  read.driver = static_cast<int>(number("CUDA_SHIM_DRIVER", CUDART_VERSION));
  /* CUDA C++ Programming Guide, "Technical Specifications per Compute Capability". */
  read.shared = (read.compute >= 90 ? 227 : read.compute >= 80 ? 163 : 64) * size_t{1024};
  const char *fail = std::getenv("CUDA_SHIM_FAIL");
  read.fail = fail == nullptr ? "" : fail;
  return read;
}

const Settings &settings()
{
  static const Settings &read = *new Settings(read_settings()); /* never destroyed */
  return read;
}

/* The error that this call is to answer with. */
static int injected_error(const char *function)
{
  static auto &calls = *new std::map<std::string, long>;
  const std::string &fail = settings().fail;
  size_t colon = fail.find(':');
  if (colon == std::string::npos || fail.compare(0, colon, function) != 0) return 0;
  char *rest = nullptr;
  long nth = std::strtol(fail.c_str() + colon + 1, &rest, 10);
  return ++calls[function] == nth && *rest == ':' ? std::atoi(rest + 1) : 0;
}

Call::Call(const char *name) : guard_(everything), function(name), injected(injected_error(name))
{
}

void set_last_error(cudaError_t error)
{
  last_error = error;
}

cudaError_t refuse(cudaError_t error, const Call &call, const char *format, ...)
{
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "cuda shim: %s: %s (%s)\n", call.function, text, cudaGetErrorName(error));
  set_last_error(error);
  return error;
}

void fault(const char *format, ...)
{
  std::string place = where();
  std::fprintf(stderr, "cuda shim: %s%s", place.c_str(), place.empty() ? "" : ": ");
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
  std::fflush(stderr);
  std::abort();
}

/* splitmix64: Steele, Lea, Flood 2014. */
uint64_t random_next(uint64_t *state)
{
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}
} // namespace cuda_shim

using namespace cuda_shim;

cudaError_t cudaGetLastError(void)
{
  cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError(void)
{
  return last_error;
}

static const struct {
  cudaError_t error;
  const char *name, *text;
} errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidPitchValue, "cudaErrorInvalidPitchValue", "invalid pitch argument"},
    {cudaErrorInvalidSymbol, "cudaErrorInvalidSymbol", "invalid device symbol"},
    {cudaErrorInvalidDevicePointer, "cudaErrorInvalidDevicePointer", "invalid device pointer"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    {cudaErrorHostMemoryAlreadyRegistered, "cudaErrorHostMemoryAlreadyRegistered",
     "part or all of the requested memory range is already mapped"},
    {cudaErrorHostMemoryNotRegistered, "cudaErrorHostMemoryNotRegistered",
     "pointer does not correspond to a registered memory region"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorGraphExecUpdateFailure, "cudaErrorGraphExecUpdateFailure",
     "the graph update was not performed because it included changes which violated constraints"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

const char *cudaGetErrorName(cudaError_t error)
{
  for (const auto &known : errors)
    if (known.error == error) return known.name;
  return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
  for (const auto &known : errors)
    if (known.error == error) return known.text;
  return "unrecognized error code";
}
