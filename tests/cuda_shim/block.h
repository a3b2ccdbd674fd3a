/* One block on its way: what its threads wait for, and who goes on when. The rules are the same for fibers
 * (block_fiber.cpp) and for threads of the operating system (block_thread.cpp), which only differ in how a thread
 * waits. */
#pragma once

#include "tests/cuda_shim/shim.h"

#include <vector>

namespace cuda_shim
{
enum LaneState { LANE_FRESH, LANE_RUNNING, LANE_AT_BARRIER, LANE_AT_EXCHANGE, LANE_DONE };

/* A CUDA thread. */
struct Lane {
  CudaShimIndex index;
  unsigned number; /* x fastest */
  LaneState state;
  const char *file; /* where it waits */
  int line;
  CudaShimBarrier barrier;
  CudaShimExchange exchange;
  int predicate, operand, width;
  uint32_t mask;
  uint64_t value, result;
  void *carrier; /* its fiber or its thread */
};

struct Block {
  const Grid *grid;
  uint3 place;
  uint64_t seed;
  std::vector<Lane> lanes;
  unsigned at_barrier = 0, done = 0;
};

void block_begin(Block *block, const Grid &grid, uint3 place, uint64_t seed);
/* The lane has come to a barrier or an exchange and says so in its fields. The lanes that go on because of it, itself
 * perhaps among them, are set to LANE_RUNNING and put at the end of `released`. */
void block_at_barrier(Block *block, Lane *lane, std::vector<Lane *> *released);
void block_at_exchange(Block *block, Lane *lane, std::vector<Lane *> *released);
/* No lane can run and not all are done: ends the program, and says who waits for whom. */
[[noreturn]] void block_stalled(const Block *block);
/* Lanes of the warp that are on their way; others have returned, or wait elsewhere. */
uint32_t block_active(const Block *block, const Lane *lane);

/* What the two ways to wait provide. */
Block *current_block(); /* NULL: no kernel runs */
Lane *current_lane();
void wait_at(Lane *lane, const char *file, int line, LaneState state);
} // namespace cuda_shim
