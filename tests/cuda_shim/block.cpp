#include "tests/cuda_shim/block.h"

#include <cstdio>

namespace cuda_shim
{
static const char *const exchange_names[] = {"__syncwarp",       "__shfl_sync",     "__shfl_up_sync",
                                             "__shfl_down_sync", "__shfl_xor_sync", "a vote"};

void block_begin(Block *block, const Grid &grid, uint3 place, uint64_t seed)
{
  unsigned n = grid.block.x * grid.block.y * grid.block.z;
  block->grid = &grid;
  block->place = place;
  block->seed = seed;
  block->at_barrier = block->done = 0;
  block->lanes.assign(n, Lane{});
  for (unsigned i = 0; i < n; i++) {
    Lane &lane = block->lanes[i];
    lane.number = i;
    lane.index.thread = {i % grid.block.x, i / grid.block.x % grid.block.y, i / grid.block.x / grid.block.y};
    lane.index.block = place;
    lane.index.block_size = grid.block;
    lane.index.grid_size = grid.grid;
  }
}

static const char *short_name(const char *file)
{
  const char *slash = std::strrchr(file, '/');
  return slash == nullptr ? file : slash + 1;
}

static std::string describe(const Lane &lane)
{
  char text[256];
  uint3 at = lane.index.thread;
  if (lane.state == LANE_DONE)
    std::snprintf(text, sizeof text, "thread (%u,%u,%u) has returned", at.x, at.y, at.z);
  else if (lane.state == LANE_AT_BARRIER)
    std::snprintf(text, sizeof text, "thread (%u,%u,%u) waits at __syncthreads of %s:%d", at.x, at.y, at.z,
                  short_name(lane.file), lane.line);
  else
    std::snprintf(text, sizeof text, "thread (%u,%u,%u) waits in %s with mask %08x of %s:%d", at.x, at.y, at.z,
                  exchange_names[lane.exchange], lane.mask, short_name(lane.file), lane.line);
  return text;
}

/* The first lane in each situation that occurs. */
void block_stalled(const Block *block)
{
  std::string text;
  std::vector<const Lane *> told;
  for (const Lane &lane : block->lanes) {
    bool known = false;
    for (const Lane *other : told)
      known |= other->state == lane.state &&
               (lane.state == LANE_DONE || (other->file == lane.file && other->line == lane.line));
    if (known || told.size() > 5) continue;
    told.push_back(&lane);
    text += (text.empty() ? "" : ", ") + describe(lane);
  }
  fault("barrier divergence: %s", text.c_str());
}

static void release_barrier(Block *block, std::vector<Lane *> *released)
{
  int count = 0, n = static_cast<int>(block->lanes.size());
  for (const Lane &lane : block->lanes) {
    count += lane.predicate != 0;
    if (lane.line != block->lanes[0].line || std::strcmp(lane.file, block->lanes[0].file) != 0) block_stalled(block);
  }
  block->at_barrier = 0;
  for (Lane &lane : block->lanes) {
    int all = lane.barrier == CUDA_SHIM_BARRIER_AND ? count == n : count > 0;
    lane.result = static_cast<uint64_t>(lane.barrier == CUDA_SHIM_BARRIER_COUNT ? count : all);
    lane.state = LANE_RUNNING;
    released->push_back(&lane);
  }
}

void block_at_barrier(Block *block, Lane *lane, std::vector<Lane *> *released)
{
  lane->state = LANE_AT_BARRIER;
  if (++block->at_barrier == block->lanes.size()) release_barrier(block, released);
}

/* Lanes of the mask that the block has: the last warp may be shorter. */
static uint32_t existing(const Block *block, unsigned first, uint32_t mask)
{
  size_t lanes = block->lanes.size() - first;
  return lanes >= 32 ? mask : mask & ((1u << lanes) - 1);
}

static uint64_t received(const Block *block, const Lane &lane, unsigned first, uint32_t mask)
{
  if (lane.exchange == CUDA_SHIM_WARP_BARRIER) return 0;
  if (lane.exchange == CUDA_SHIM_BALLOT) {
    uint64_t ballot = 0;
    for (unsigned i = 0; i < 32; i++)
      if (mask >> i & 1 && block->lanes[first + i].value != 0) ballot |= uint64_t{1} << i;
    return ballot;
  }
  int here = static_cast<int>(lane.number - first), segment = here & ~(lane.width - 1);
  int64_t from = here, operand = lane.operand;
  if (lane.exchange == CUDA_SHIM_SHUFFLE)
    from = segment + (operand & (lane.width - 1));
  else if (lane.exchange == CUDA_SHIM_SHUFFLE_UP)
    from = here - static_cast<int64_t>(static_cast<uint32_t>(operand));
  else if (lane.exchange == CUDA_SHIM_SHUFFLE_DOWN)
    from = here + static_cast<int64_t>(static_cast<uint32_t>(operand));
  else
    from = here ^ static_cast<int>(operand);
  if (lane.exchange == CUDA_SHIM_SHUFFLE_UP && from < segment) from = here;
  if (lane.exchange != CUDA_SHIM_SHUFFLE && (from >= segment + lane.width || from < 0)) from = here;
  if (!(mask >> from & 1)) return ~uint64_t{0}; /* undefined: bits of NaN */
  return block->lanes[first + static_cast<unsigned>(from)].value;
}

void block_at_exchange(Block *block, Lane *lane, std::vector<Lane *> *released)
{
  unsigned first = lane->number & ~31u;
  uint32_t mask = existing(block, first, lane->mask);
  if (!(lane->mask >> (lane->number - first) & 1))
    fault("%s of %s:%d: the mask %08x lacks the thread that calls", exchange_names[lane->exchange],
          short_name(lane->file), lane->line, lane->mask);
  if (lane->width < 1 || lane->width > 32 || (lane->width & (lane->width - 1)) != 0)
    fault("%s of %s:%d: the width %d is no power of two up to 32", exchange_names[lane->exchange],
          short_name(lane->file), lane->line, lane->width);
  lane->state = LANE_AT_EXCHANGE;
  for (unsigned i = 0; i < 32; i++) {
    if (!(mask >> i & 1)) continue;
    const Lane &other = block->lanes[first + i];
    if (other.state != LANE_AT_EXCHANGE || other.exchange != lane->exchange || other.mask != lane->mask) return;
  }
  for (unsigned i = 0; i < 32; i++)
    if (mask >> i & 1) block->lanes[first + i].result = received(block, block->lanes[first + i], first, mask);
  for (unsigned i = 0; i < 32; i++)
    if (mask >> i & 1) {
      block->lanes[first + i].state = LANE_RUNNING;
      released->push_back(&block->lanes[first + i]);
    }
}

uint32_t block_active(const Block *block, const Lane *lane)
{
  unsigned first = lane->number & ~31u;
  uint32_t active = 0;
  for (unsigned i = first; i < first + 32 && i < block->lanes.size(); i++)
    if (block->lanes[i].state == LANE_RUNNING || block->lanes[i].state == LANE_FRESH) active |= 1u << (i - first);
  return active;
}

std::string where()
{
  const Block *block = current_block();
  if (block == nullptr) return "";
  char text[256];
  uint3 at = block->place;
  int length =
      std::snprintf(text, sizeof text, "kernel %s, block (%u,%u,%u)", block->grid->kernel->name, at.x, at.y, at.z);
  if (const Lane *lane = current_lane())
    std::snprintf(text + length, sizeof text - static_cast<size_t>(length), ", thread (%u,%u,%u)", lane->index.thread.x,
                  lane->index.thread.y, lane->index.thread.z);
  return text;
}
} // namespace cuda_shim

using namespace cuda_shim;

/* The line of the kernel that calls, or the end of the program. */
static Lane *calling_lane(const char *file, int line)
{
  Lane *lane = current_lane();
  if (lane == nullptr) fault("a function of device code is called by the host at %s:%d", short_name(file), line);
  return lane;
}

int cuda_shim_barrier(CudaShimBarrier kind, int predicate, const char *file, int line)
{
  Lane *lane = calling_lane(file, line);
  lane->barrier = kind;
  lane->predicate = predicate;
  wait_at(lane, file, line, LANE_AT_BARRIER);
  return static_cast<int>(lane->result);
}

uint64_t cuda_shim_exchange(CudaShimExchange kind, uint32_t mask, uint64_t value, int operand, int width,
                            const char *file, int line)
{
  Lane *lane = calling_lane(file, line);
  lane->exchange = kind;
  lane->mask = mask;
  lane->value = value;
  lane->operand = operand;
  lane->width = width;
  wait_at(lane, file, line, LANE_AT_EXCHANGE);
  return lane->result;
}

uint32_t cuda_shim_active_mask(void)
{
  return block_active(current_block(), calling_lane("", 0));
}

void *cuda_shim_dynamic_shared(void)
{
  calling_lane("", 0);
  return current_block()->grid->dynamic_shared;
}
