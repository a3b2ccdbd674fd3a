#include "pipeline/trainer_random.h"

static guint64 rotate(guint64 x, guint bits)
{
  return (x << bits) | (x >> (64 - bits));
}

guint64 pipeline_random_at(guint64 seed, guint64 index)
{
  guint64 z = seed + (index + 1) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

void pipeline_random_seed(PipelineRandom *random, guint64 seed)
{
  for (guint i = 0; i < 4; i++) random->state[i] = pipeline_random_at(seed, i);
}

guint64 pipeline_random_next(PipelineRandom *random)
{
  guint64 *s = random->state, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return result;
}

double pipeline_random_uniform(PipelineRandom *random)
{
  return (double)(pipeline_random_next(random) >> 11) * 0x1p-53;
}

guint64 pipeline_random_below(PipelineRandom *random, guint64 bound)
{
  guint64 threshold = (0 - bound) % bound; /* numbers below it would favour small results */
  for (;;) {
    guint64 number = pipeline_random_next(random);
    if (number >= threshold) return number % bound;
  }
}

void pipeline_random_shuffle(PipelineRandom *random, guint64 *values, gsize n)
{
  for (gsize i = n; i > 1; i--) {
    gsize j = pipeline_random_below(random, i);
    guint64 swap = values[i - 1];
    values[i - 1] = values[j];
    values[j] = swap;
  }
}
