/* The random numbers of the learning side: xoshiro256** seeded by SplitMix64 (Blackman and Vigna 2018,
 * https://prng.di.unimi.it). The same seed gives the same numbers on every machine; the state is what a checkpoint
 * keeps. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  guint64 state[4];
} PipelineRandom;

/* Number `index` of the stream that SplitMix64 makes of a seed, without those in front of it. */
guint64 pipeline_random_at(guint64 seed, guint64 index);
void pipeline_random_seed(PipelineRandom *random, guint64 seed);
guint64 pipeline_random_next(PipelineRandom *random);
double pipeline_random_uniform(PipelineRandom *random);                         /* in [0, 1), 53 bits */
guint64 pipeline_random_below(PipelineRandom *random, guint64 bound);           /* in [0, bound), unbiased; bound > 0 */
void pipeline_random_shuffle(PipelineRandom *random, guint64 *values, gsize n); /* Fisher-Yates */

G_END_DECLS
