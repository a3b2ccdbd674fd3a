/* Threads of a block as fibers: each runs until it waits or returns. A fiber that returns takes the next thread at
 * once, so a kernel without barriers needs one fiber. A seed shuffles who begins and who goes on
 * first, and lets some blocks run a warp as far as it gets before another goes on. */
#ifndef CUDA_SHIM_THREADS
#include "tests/cuda_shim/block.h"
#include "tests/cuda_shim/fiber.h"

#include <algorithm>
#include <utility>

const CudaShimIndex *cuda_shim_index;

namespace cuda_shim
{
struct State {
  Block block;
  bool running = false;
  Lane *lane = nullptr;
  Fiber host;                /* stands for the thread that runs the block */
  std::vector<Fiber *> idle; /* of no lane */
  std::vector<Lane *> fresh; /* the next one is the last */
  std::vector<Lane *> ready;
  std::vector<Lane *> released;
  size_t next_ready = 0;   /* those before it have gone on */
  bool last_first = false; /* who became ready last goes on first, as far as it can */
  bool warps_together = false;
};
static State &now = *new State; /* never destroyed, nor are its fibers */

Block *current_block()
{
  return now.running ? &now.block : nullptr;
}

Lane *current_lane()
{
  return now.lane;
}

static void set_lane(Lane *lane)
{
  now.lane = lane;
  cuda_shim_index = lane == nullptr ? nullptr : &lane->index;
}

/* The life of a fiber: fresh lanes as long as there are any, then idle. */
static void fiber_life()
{
  fiber_entered(&now.host);
  for (Fiber *self = nullptr;;) {
    Lane *lane = now.fresh.back();
    now.fresh.pop_back();
    if (self == nullptr) self = static_cast<Fiber *>(lane->carrier);
    lane->carrier = self;
    lane->state = LANE_RUNNING;
    set_lane(lane);
    now.block.grid->kernel->run();
    lane->state = LANE_DONE;
    now.block.done++;
    set_lane(nullptr);
    if (!now.fresh.empty() && now.next_ready == now.ready.size()) {
      now.fresh.back()->carrier = self;
      continue;
    }
    now.idle.push_back(self);
    fiber_switch(self, &now.host);
  }
}

static void shuffle(Lane **lanes, size_t n)
{
  for (size_t i = n; i > 1; i--) std::swap(lanes[i - 1], lanes[random_next(&now.block.seed) % i]);
}

/* All lanes mixed, or the warps and, within each, its lanes: then one warp can get far ahead of another. */
static void arrange(std::vector<Lane *> *lanes)
{
  if (now.block.seed == 0) return;
  shuffle(lanes->data(), lanes->size());
  if (!now.warps_together) return;
  unsigned warps = static_cast<unsigned>(now.block.lanes.size() + 31) / 32,
           turn = static_cast<unsigned>(random_next(&now.block.seed) % warps);
  std::stable_sort(lanes->begin(), lanes->end(), [=](const Lane *a, const Lane *b) {
    return (a->number / 32 + turn) % warps < (b->number / 32 + turn) % warps;
  });
}

void wait_at(Lane *lane, const char *file, int line, LaneState state)
{
  lane->file = file;
  lane->line = line;
  now.released.clear();
  (state == LANE_AT_BARRIER ? block_at_barrier : block_at_exchange)(&now.block, lane, &now.released);
  arrange(&now.released);
  now.ready.insert(now.ready.end(), now.released.begin(), now.released.end());
  set_lane(nullptr);
  fiber_switch(static_cast<Fiber *>(lane->carrier), &now.host);
  set_lane(lane);
}

static Lane *next_ready()
{
  Lane *lane = now.last_first ? now.ready.back() : now.ready[now.next_ready++];
  if (now.last_first) now.ready.pop_back();
  if (now.next_ready == now.ready.size()) {
    now.ready.clear();
    now.next_ready = 0;
  }
  return lane;
}

void run_block(const Grid &grid, uint3 place, uint64_t seed)
{
  block_begin(&now.block, grid, place, seed);
  now.running = true;
  now.last_first = now.warps_together = false;
  if (seed != 0) {
    uint64_t manner = random_next(&now.block.seed);
    now.last_first = (manner & 3) != 0;
    now.warps_together = (manner & 4) != 0;
  }
  now.host = Fiber(); /* the caller may be another thread than the last one */
  now.fresh.clear();
  for (size_t i = now.block.lanes.size(); i-- > 0;) now.fresh.push_back(&now.block.lanes[i]);
  arrange(&now.fresh);
  while (now.block.done < now.block.lanes.size()) {
    if (now.next_ready < now.ready.size()) {
      Lane *lane = next_ready();
      fiber_switch(&now.host, static_cast<Fiber *>(lane->carrier));
    } else if (!now.fresh.empty()) {
      if (now.idle.empty()) now.idle.push_back(fiber_new(fiber_life));
      Fiber *fiber = now.idle.back();
      now.idle.pop_back();
      now.fresh.back()->carrier = fiber;
      fiber_switch(&now.host, fiber);
    } else {
      block_stalled(&now.block);
    }
  }
  now.running = false;
}
} // namespace cuda_shim
#endif
