#include "drift/mersenne_twister.h"

#define SHIFT 397u

void drift_twister_init(DriftTwister *twister, guint32 seed)
{
  guint32 *state = twister->state;
  state[0] = seed;
  for (guint i = 1; i < DRIFT_TWISTER_WORDS; i++) state[i] = 1812433253u * (state[i - 1] ^ state[i - 1] >> 30) + i;
  twister->at = DRIFT_TWISTER_WORDS;
}

static inline guint32 twist(guint32 upper, guint32 lower, guint32 far)
{
  guint32 joined = (upper & 0x80000000u) | (lower & 0x7fffffffu);
  return far ^ joined >> 1 ^ (-(joined & 1) & 0x9908b0dfu);
}

static inline guint32 temper(guint32 y)
{
  y ^= y >> 11;
  y ^= y << 7 & 0x9d2c5680u;
  y ^= y << 15 & 0xefc60000u;
  return y ^ y >> 18;
}

void drift_twister_refill(DriftTwister *twister)
{
  guint32 *state = twister->state;
  for (guint i = 0; i < DRIFT_TWISTER_WORDS - SHIFT; i++) state[i] = twist(state[i], state[i + 1], state[i + SHIFT]);
  for (guint i = DRIFT_TWISTER_WORDS - SHIFT; i < DRIFT_TWISTER_WORDS - 1; i++)
    state[i] = twist(state[i], state[i + 1], state[i + SHIFT - DRIFT_TWISTER_WORDS]);
  state[DRIFT_TWISTER_WORDS - 1] = twist(state[DRIFT_TWISTER_WORDS - 1], state[0], state[SHIFT - 1]);
  for (guint i = 0; i < DRIFT_TWISTER_WORDS; i++) twister->numbers[i] = temper(state[i]);
  twister->at = 0;
}
