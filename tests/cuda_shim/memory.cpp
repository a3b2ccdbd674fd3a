/* Device memory: one range of addresses that nobody can reach outside kernels and calls of the API. New memory holds
 * NaN; zones of NaN of another pattern lie around each allocation and are looked at whenever something has run. Freed
 * memory is NaN too, and is given out again only after a while. */
#include "tests/cuda_shim/shim.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SHIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHIM_ASAN 1
#endif
#endif
#ifdef SHIM_ASAN
#include <sanitizer/asan_interface.h>
#define UNCHECKED __attribute__((no_sanitize_address))
#else
#define UNCHECKED
#define ASAN_POISON_MEMORY_REGION(from, bytes) ((void)(from), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(from, bytes) ((void)(from), (void)(bytes))
#endif

namespace cuda_shim
{
constexpr size_t ZONE = 256, ALIGNMENT = 256, STEP = size_t{1} << 20, QUARANTINE = size_t{16} << 20;

struct Span { /* [start, start + size): zone, bytes of the caller rounded up, zone */
  size_t size, bytes;
};
struct Arena {
  unsigned char *base = nullptr;
  size_t size = 0, committed = 0, used = 0;
  unsigned open = 0;
  std::map<size_t, Span> live, resting; /* by offset */
  std::map<size_t, size_t> free;        /* offset, size */
  std::deque<size_t> queue;             /* of `resting`, oldest first */
  size_t resting_bytes = 0;
};
/* Never destroyed: a program may still free its device while it ends. */
static Arena &arena = *new Arena;
using Pinned = std::map<uintptr_t, std::pair<size_t, bool>>;
static Pinned &pinned = *new Pinned; /* bytes, whether we own them */
static struct sigaction previous_segv;

/* Room for zones and for what rests, so that the stated size can be allocated. */
static size_t addresses()
{
  return 2 * arena.size + (size_t{1} << 30);
}

static unsigned char zone_byte(const void *address)
{
  return reinterpret_cast<uintptr_t>(address) & 1 ? 0xff : 0xed; /* NaN of 2, 4 and 8 bytes */
}

UNCHECKED void fill_zone(void *from, size_t bytes)
{
  auto *at = static_cast<unsigned char *>(from);
  for (size_t i = 0; i < bytes; i++) at[i] = zone_byte(at + i);
}

UNCHECKED bool zone_is_intact(const void *from, size_t bytes)
{
  auto *at = static_cast<const unsigned char *>(from);
  for (size_t i = 0; i < bytes; i++)
    if (at[i] != zone_byte(at + i)) return false;
  return true;
}

static bool still_poison(const unsigned char *at, size_t bytes)
{
  ASAN_UNPOISON_MEMORY_REGION(at, bytes);
  return bytes == 0 || (*at == POISON && std::memcmp(at, at + 1, bytes - 1) == 0);
}

/* Which allocation an address belongs to, in words. */
static std::string describe(const void *pointer)
{
  char text[160];
  size_t offset = static_cast<size_t>(static_cast<const unsigned char *>(pointer) - arena.base);
  for (const auto *spans : {&arena.live, &arena.resting}) {
    auto next = spans->upper_bound(offset);
    if (next == spans->begin()) continue;
    --next;
    if (offset >= next->first + next->second.size) continue;
    std::snprintf(text, sizeof text, "byte %td of %s allocation of %zu bytes",
                  static_cast<ptrdiff_t>(offset) - static_cast<ptrdiff_t>(next->first + ZONE),
                  spans == &arena.live ? "an" : "a freed", next->second.bytes);
    return text;
  }
  return "of no allocation";
}

static void on_fault(int, siginfo_t *information, void *)
{
  char text[512];
  std::string place = where();
  void *address = information->si_addr;
  int length;
  if (place.empty() && is_device(address))
    length = std::snprintf(text, sizeof text,
                           "cuda shim: the host reads or writes device memory at %p, %s: cudaMemcpy copies it\n",
                           address, describe(address).c_str());
  else
    length = std::snprintf(text, sizeof text, "cuda shim: %s%sno memory at %p%s%s\n", place.c_str(),
                           place.empty() ? "" : ": ", address, is_device(address) ? ", " : "",
                           is_device(address) ? describe(address).c_str() : "");
  ssize_t written = write(STDERR_FILENO, text, static_cast<size_t>(length));
  (void)written;
  sigaction(SIGSEGV, &previous_segv, nullptr); /* the instruction runs again and meets what was there before */
}

static void reserve()
{
  if (arena.base != nullptr) return;
  arena.size = settings().memory;
  void *mapped = mmap(nullptr, addresses(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) fault("no addresses for %zu bytes of device memory: CUDA_SHIM_MEMORY", arena.size);
  arena.base = static_cast<unsigned char *>(mapped);
  madvise(mapped, addresses(), MADV_HUGEPAGE); /* fewer pages to protect */
  arena.free[0] = addresses();
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &previous_segv);
}

static void protect(size_t from, size_t to, int protection)
{
  if (to > from && mprotect(arena.base + from, to - from, protection) != 0) fault("mprotect: %s", std::strerror(errno));
}

Access::Access()
{
  reserve();
  if (arena.open++ == 0 && settings().protect) protect(0, arena.committed, PROT_READ | PROT_WRITE);
}

Access::~Access()
{
  if (--arena.open == 0 && settings().protect) protect(0, arena.committed, PROT_NONE);
}

static void commit(size_t end)
{
  if (end <= arena.committed) return;
  size_t committed = (end + STEP - 1) / STEP * STEP;
  protect(arena.committed, committed, PROT_READ | PROT_WRITE);
  arena.committed = committed;
}

bool is_device(const void *pointer)
{
  auto *at = static_cast<const unsigned char *>(pointer);
  return arena.base != nullptr && at >= arena.base && at < arena.base + addresses();
}

bool is_pinned(const void *pointer)
{
  auto next = pinned.upper_bound(reinterpret_cast<uintptr_t>(pointer));
  if (next == pinned.begin()) return false;
  --next;
  return reinterpret_cast<uintptr_t>(pointer) < next->first + next->second.first;
}

bool in_allocation(const void *pointer, size_t bytes, std::string *why)
{
  char text[256];
  if (!is_device(pointer)) {
    std::snprintf(text, sizeof text, "%p is no device memory", pointer);
    *why = text;
    return false;
  }
  size_t offset = static_cast<size_t>(static_cast<const unsigned char *>(pointer) - arena.base);
  auto next = arena.live.upper_bound(offset);
  if (next != arena.live.begin()) {
    --next;
    size_t start = next->first + ZONE;
    if (offset >= start && offset + bytes <= start + next->second.bytes) return true;
  }
  std::snprintf(text, sizeof text, "%zu bytes at %p do not fit: %s", bytes, pointer, describe(pointer).c_str());
  *why = text;
  return false;
}

void require_device(const char *function, const char *argument, const void *pointer, size_t bytes)
{
  std::string why;
  if (bytes > 0 && !in_allocation(pointer, bytes, &why)) fault("%s: %s: %s", function, argument, why.c_str());
}

static void check_span(const std::string &after, size_t start, const Span &span)
{
  const unsigned char *user = arena.base + start + ZONE;
  size_t tail = span.size - ZONE - span.bytes;
  if (!zone_is_intact(arena.base + start, ZONE) || !zone_is_intact(user + span.bytes, tail))
    fault("%s: something was written beside an allocation of %zu bytes at %p", after.c_str(), span.bytes,
          static_cast<const void *>(user));
}

void check_zones(const std::string &after)
{
  Access access;
  for (const auto &entry : arena.live) check_span(after, entry.first, entry.second);
}

/* Gives addresses back, joined with free neighbours. */
static void give_back(size_t start, size_t size)
{
  auto after = arena.free.lower_bound(start);
  if (after != arena.free.begin()) {
    auto before = std::prev(after);
    if (before->first + before->second == start) {
      start = before->first;
      size += before->second;
      arena.free.erase(before);
    }
  }
  if (after != arena.free.end() && start + size == after->first) {
    size += after->second;
    arena.free.erase(after);
  }
  arena.free[start] = size;
}

/* Ends the rest of freed memory: nobody may have written there. */
static void wake(size_t limit)
{
  Access access;
  while (arena.resting_bytes > limit) {
    size_t start = arena.queue.front();
    arena.queue.pop_front();
    Span span = arena.resting.at(start);
    if (!still_poison(arena.base + start + ZONE, span.bytes))
      fault("something was written into an allocation of %zu bytes at %p after it was freed", span.bytes,
            static_cast<void *>(arena.base + start + ZONE));
    ASAN_POISON_MEMORY_REGION(arena.base + start, span.size);
    arena.resting.erase(start);
    arena.resting_bytes -= span.size;
    give_back(start, span.size);
  }
}

static void *allocate(size_t bytes)
{
  reserve();
  if (bytes > arena.size - arena.used) return nullptr;
  size_t size = ZONE + (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + ZONE;
  auto free = arena.free.begin();
  while (free != arena.free.end() && free->second < size) ++free;
  if (free == arena.free.end()) {
    wake(0);
    for (free = arena.free.begin(); free != arena.free.end() && free->second < size;) ++free;
    if (free == arena.free.end()) return nullptr;
  }
  size_t start = free->first, left = free->second - size;
  arena.free.erase(free);
  if (left > 0) arena.free[start + size] = left;
  Access access;
  commit(start + size);
  unsigned char *user = arena.base + start + ZONE;
  ASAN_UNPOISON_MEMORY_REGION(arena.base + start, size);
  std::memset(user, POISON, bytes);
  fill_zone(arena.base + start, ZONE);
  fill_zone(user + bytes, size - ZONE - bytes);
  ASAN_POISON_MEMORY_REGION(arena.base + start, ZONE);
  ASAN_POISON_MEMORY_REGION(user + bytes, size - ZONE - bytes);
  arena.live[start] = {size, bytes};
  arena.used += bytes;
  return user;
}

/* FALSE: no live allocation begins there. */
static bool release(void *pointer)
{
  if (!is_device(pointer)) return false;
  size_t start = static_cast<size_t>(static_cast<unsigned char *>(pointer) - arena.base) - ZONE;
  auto found = arena.live.find(start);
  if (found == arena.live.end()) return false;
  Access access;
  Span span = found->second;
  check_span("before an allocation was freed", start, span);
  std::memset(pointer, POISON, span.bytes);
  ASAN_POISON_MEMORY_REGION(pointer, span.bytes);
  arena.live.erase(found);
  arena.used -= span.bytes;
  arena.resting[start] = span;
  arena.queue.push_back(start);
  arena.resting_bytes += span.size;
  wake(QUARANTINE);
  return true;
}
} // namespace cuda_shim

using namespace cuda_shim;

static cudaError_t device_memory(const Call &call, void **pointer, size_t bytes)
{
  if (pointer == nullptr) return refuse(cudaErrorInvalidValue, call, "no place for the pointer");
  *pointer = nullptr;
  cudaError_t error = check_device(call, 0);
  if (error != cudaSuccess || bytes == 0) return error;
  void *made = allocate(bytes);
  if (made == nullptr)
    return refuse(cudaErrorMemoryAllocation, call, "%zu bytes: %zu of %zu are in use", bytes, arena.used, arena.size);
  *pointer = made;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void **pointer, size_t bytes)
{
  CUDA_SHIM_CALL(cudaMalloc);
  if (any_capture()) return refuse(cudaErrorStreamCaptureUnsupported, call, "a stream is capturing");
  return device_memory(call, pointer, bytes);
}

cudaError_t cudaMallocAsync(void **pointer, size_t bytes, cudaStream_t stream)
{
  CUDA_SHIM_CALL(cudaMallocAsync);
  if (!is_stream(stream)) return refuse(cudaErrorInvalidResourceHandle, call, "no stream");
  if (is_capturing(stream)) return refuse(cudaErrorStreamCaptureUnsupported, call, "the shim captures no allocations");
  return device_memory(call, pointer, bytes);
}

cudaError_t cudaFree(void *pointer)
{
  CUDA_SHIM_CALL(cudaFree);
  if (pointer == nullptr) return cudaSuccess;
  if (any_capture()) return refuse(cudaErrorStreamCaptureUnsupported, call, "a stream is capturing");
  wait_for_all();
  if (!release(pointer))
    return refuse(cudaErrorInvalidValue, call, "no allocation begins at %p: %s", pointer,
                  is_device(pointer) ? describe(pointer).c_str() : "it is no device memory");
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void *pointer, cudaStream_t stream)
{
  CUDA_SHIM_CALL(cudaFreeAsync);
  if (pointer == nullptr) return cudaSuccess;
  if (is_capturing(stream)) return refuse(cudaErrorStreamCaptureUnsupported, call, "the shim captures no allocations");
  std::string why;
  if (!in_allocation(pointer, 1, &why)) return refuse(cudaErrorInvalidValue, call, "%s", why.c_str());
  return enqueue(call, stream, "cudaFreeAsync", [pointer] {
    if (!release(pointer)) fault("cudaFreeAsync: no allocation begins at %p", pointer);
  });
}

cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned int)
{
  CUDA_SHIM_CALL(cudaHostAlloc);
  if (pointer == nullptr) return refuse(cudaErrorInvalidValue, call, "no place for the pointer");
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  *pointer = std::malloc(bytes);
  if (*pointer == nullptr) return refuse(cudaErrorMemoryAllocation, call, "%zu bytes", bytes);
  std::memset(*pointer, POISON, bytes);
  pinned[reinterpret_cast<uintptr_t>(*pointer)] = {bytes, true};
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void **pointer, size_t bytes)
{
  CUDA_SHIM_CALL(cudaMallocHost);
  return cudaHostAlloc(pointer, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void *pointer)
{
  CUDA_SHIM_CALL(cudaFreeHost);
  if (pointer == nullptr) return cudaSuccess;
  auto found = pinned.find(reinterpret_cast<uintptr_t>(pointer));
  if (found == pinned.end() || !found->second.second)
    return refuse(cudaErrorInvalidValue, call, "cudaMallocHost did not make %p", pointer);
  wait_for_all();
  pinned.erase(found);
  std::free(pointer);
  return cudaSuccess;
}

cudaError_t cudaHostRegister(void *pointer, size_t bytes, unsigned int)
{
  CUDA_SHIM_CALL(cudaHostRegister);
  if (pointer == nullptr || bytes == 0) return refuse(cudaErrorInvalidValue, call, "no memory");
  if (is_pinned(pointer)) return refuse(cudaErrorHostMemoryAlreadyRegistered, call, "%p", pointer);
  pinned[reinterpret_cast<uintptr_t>(pointer)] = {bytes, false};
  return cudaSuccess;
}

cudaError_t cudaHostUnregister(void *pointer)
{
  CUDA_SHIM_CALL(cudaHostUnregister);
  auto found = pinned.find(reinterpret_cast<uintptr_t>(pointer));
  if (found == pinned.end() || found->second.second)
    return refuse(cudaErrorHostMemoryNotRegistered, call, "%p", pointer);
  wait_for_all();
  pinned.erase(found);
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *pointer)
{
  CUDA_SHIM_CALL(cudaPointerGetAttributes);
  std::string why;
  void *same = const_cast<void *>(pointer);
  if (is_device(pointer) && in_allocation(pointer, 1, &why))
    *attributes = {cudaMemoryTypeDevice, 0, same, nullptr};
  else if (is_pinned(pointer))
    *attributes = {cudaMemoryTypeHost, 0, same, same};
  else
    *attributes = {cudaMemoryTypeUnregistered, -2, nullptr, same};
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
  CUDA_SHIM_CALL(cudaMemGetInfo);
  reserve();
  *free = arena.size - arena.used;
  *total = arena.size;
  return cudaSuccess;
}
