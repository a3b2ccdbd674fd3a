/* Threads of a block as threads of the operating system (CUDA_SHIM_THREADS), so that ThreadSanitizer sees two of them
 * at one place of memory without a barrier between. What CUDA does not order is hidden from it here: a shuffle
 * exchanges registers and says nothing of memory. Slow: for small shapes. */
#ifdef CUDA_SHIM_THREADS
#include "tests/cuda_shim/block.h"

#include <condition_variable>
#include <pthread.h>

thread_local const CudaShimIndex *cuda_shim_index;

#if defined(__SANITIZE_THREAD__)
#define SHIM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SHIM_TSAN 1
#endif
#endif
#ifdef SHIM_TSAN
extern "C" {
void AnnotateIgnoreSyncBegin(const char *file, int line);
void AnnotateIgnoreSyncEnd(const char *file, int line);
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
}
#endif

namespace cuda_shim
{
static struct {
  std::mutex mutex;
  std::condition_variable changed;
  Block block;
  bool running = false;
  size_t moving = 0; /* lanes that neither wait nor are done */
} now;
static thread_local Lane *own;

/* While it lives, ThreadSanitizer does not see the shim's data; nor, when `order` is hidden, that its lock orders. */
class Unseen
{
  bool order_;

public:
  explicit Unseen(bool order) : order_(order)
  {
#ifdef SHIM_TSAN
    if (order_) AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
  }
  ~Unseen()
  {
#ifdef SHIM_TSAN
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    if (order_) AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
#endif
  }
  Unseen(const Unseen &) = delete;
  Unseen &operator=(const Unseen &) = delete;
};

Block *current_block()
{
  return now.running ? &now.block : nullptr;
}

Lane *current_lane()
{
  return own;
}

void wait_at(Lane *lane, const char *file, int line, LaneState state)
{
  Unseen unseen(state == LANE_AT_EXCHANGE && lane->exchange != CUDA_SHIM_WARP_BARRIER);
  std::unique_lock<std::mutex> lock(now.mutex);
  lane->file = file;
  lane->line = line;
  std::vector<Lane *> released;
  (state == LANE_AT_BARRIER ? block_at_barrier : block_at_exchange)(&now.block, lane, &released);
  now.moving += released.size();
  if (--now.moving == 0) block_stalled(&now.block);
  if (!released.empty()) now.changed.notify_all();
  now.changed.wait(lock, [lane] { return lane->state == LANE_RUNNING; });
}

static void *lane_life(void *data)
{
  own = static_cast<Lane *>(data);
  cuda_shim_index = &own->index;
  now.block.grid->kernel->run();
  Unseen unseen(true); /* an end orders nothing */
  std::lock_guard<std::mutex> lock(now.mutex);
  own->state = LANE_DONE;
  now.block.done++;
  if (--now.moving == 0 && now.block.done < now.block.lanes.size()) block_stalled(&now.block);
  own = nullptr;
  return nullptr;
}

void run_block(const Grid &grid, uint3 place, uint64_t seed)
{
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, size_t{512} << 10);
  block_begin(&now.block, grid, place, seed);
  now.running = true;
  now.moving = now.block.lanes.size();
  std::vector<pthread_t> threads(now.block.lanes.size());
  for (Lane &lane : now.block.lanes) lane.state = LANE_RUNNING;
  for (size_t i = 0; i < threads.size(); i++)
    if (pthread_create(&threads[i], &attributes, lane_life, &now.block.lanes[i]) != 0)
      fault("thread %zu of a block cannot be made", i);
  for (pthread_t thread : threads) pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  now.running = false;
}
} // namespace cuda_shim
#endif
