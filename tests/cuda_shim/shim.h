/* What the parts of the shim share. One lock is held in every call of the API; device memory can be reached only while
 * an Access lives: in kernels, and in the calls that touch it. */
#pragma once

#include "tests/cuda_shim/include/cuda_shim_launch.h"

#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace cuda_shim
{
/* From the environment, read once: see README.md. */
struct Settings {
  uint64_t seed = 0;    /* CUDA_SHIM_SEED: order of threads and blocks; 0: ascending */
  bool deferred = true; /* CUDA_SHIM_DEFERRED=0: streams run at once, not when something waits for them */
  bool protect = true;  /* CUDA_SHIM_PROTECT=0: the host may reach device memory */
  size_t memory = 0;    /* CUDA_SHIM_MEMORY: of the device, MiB; 4096 */
  int devices = 1;      /* CUDA_SHIM_DEVICES */
  int compute = 80;     /* CUDA_SHIM_COMPUTE: 75, 80, 90 */
  int driver = 13000;   /* CUDA_SHIM_DRIVER: version of the driver, 1000 major + 10 minor */
  size_t shared = 0;    /* bytes of shared memory a block may ask for, which the compute capability says */
  std::string fail;     /* CUDA_SHIM_FAIL=FUNCTION:N:ERROR: the N-th call of it returns that number */
};
const Settings &settings();

/* Lock of everything; each call of the API begins with one. */
class Call
{
  std::lock_guard<std::recursive_mutex> guard_;

public:
  explicit Call(const char *function);
  const char *function;
  int injected; /* the error that CUDA_SHIM_FAIL wants of this call; 0: none */
};
/* The first line of a function of the runtime API. */
#define CUDA_SHIM_CALL(name)                                                                                           \
  cuda_shim::Call call(#name);                                                                                         \
  if (call.injected != 0) return refuse(static_cast<cudaError_t>(call.injected), call, "as CUDA_SHIM_FAIL asks")
/* Remembers the error for cudaGetLastError, and says on standard error what was wrong. */
cudaError_t refuse(cudaError_t error, const Call &call, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Ends the program with SIGABRT: what a device would answer with an illegal address, a hang or wrong numbers. */
[[noreturn]] void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));
void set_last_error(cudaError_t error);
/* There is such a device, and its driver is new enough. */
cudaError_t check_device(const Call &call, int device);

/* --- memory (memory.cpp) -------------------------------------------------------------------------------------------
 */
constexpr unsigned char POISON = 0xff; /* floats of this byte are NaN */
class Access
{
public:
  Access();
  ~Access();
  Access(const Access &) = delete;
  Access &operator=(const Access &) = delete;
};
bool is_device(const void *pointer); /* within the device's addresses, allocated or not */
bool is_pinned(const void *pointer);
/* Whether all bytes are of one live allocation; else says why not. */
bool in_allocation(const void *pointer, size_t bytes, std::string *why);
/* Ends the program when the bytes are not of one live allocation, naming the call and its argument. */
void require_device(const char *function, const char *argument, const void *pointer, size_t bytes);
/* Ends the program when something was written beside an allocation or into a freed one; `after` says what has run. */
void check_zones(const std::string &after);
/* Memory of the host with bytes of NaN around it, for the dynamic shared memory of blocks. */
void fill_zone(void *from, size_t bytes);
bool zone_is_intact(const void *from, size_t bytes);

/* --- streams (stream.cpp) ------------------------------------------------------------------------------------------
 */
/* Puts work into the stream: it runs with Access when something waits for it. */
cudaError_t enqueue(const Call &call, cudaStream_t stream, const std::string &name, std::function<void()> run);
/* Runs all that was put into the stream so far. */
cudaError_t wait_for(const Call &call, cudaStream_t stream);
void wait_for_all();
bool is_stream(cudaStream_t stream);
bool is_capturing(cudaStream_t stream);
bool any_capture();

/* --- kernels (kernel.cpp, block.cpp) -------------------------------------------------------------------------------
 */
/* What a block of a kernel is run with. */
struct Grid {
  const CudaShimKernel *kernel;
  dim3 grid, block;
  size_t shared_bytes;
  void *dynamic_shared;
};
void run_block(const Grid &grid, uint3 block, uint64_t seed);
/* Where the running kernel is, for messages: "kernel k, block (0,0,0), thread (1,0,0)"; empty: none runs. */
std::string where();

uint64_t random_next(uint64_t *state);
} // namespace cuda_shim
