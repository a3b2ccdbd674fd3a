#include <math.h>
#include <string.h>

#include "tests/power/streams.h"

#define DAY 1440
#define BURN_IN 500

static guint64 next_bits(PowerRandom *random) /* splitmix64 */
{
  guint64 z = random->state += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

double power_uniform(PowerRandom *random)
{
  return (double)(next_bits(random) >> 11) / 9007199254740992.0;
}

double power_normal(PowerRandom *random)
{
  if (random->has_spare) {
    random->has_spare = FALSE;
    return random->spare;
  }
  double radius = sqrt(-2 * log(1 - power_uniform(random))), angle = 2 * G_PI * power_uniform(random);
  random->spare = radius * sin(angle);
  random->has_spare = TRUE;
  return radius * cos(angle);
}

static double ramp(gint64 row)
{
  return CLAMP(((double)row - 4000) / 2000, 0, 1);
}

/* ---- values ---- */

static double normal(gint64 row, PowerRandom *random)
{
  (void)row;
  return power_normal(random);
}

static double abrupt_one(gint64 row, PowerRandom *random)
{
  return power_normal(random) + (row >= 5000 ? 1 : 0);
}

static double abrupt_half(gint64 row, PowerRandom *random)
{
  return power_normal(random) + (row >= 5000 ? .5 : 0);
}

static double gradual(gint64 row, PowerRandom *random)
{
  double value = power_normal(random);
  return value + (power_uniform(random) < ramp(row));
}

static double incremental(gint64 row, PowerRandom *random)
{
  return power_normal(random) + ramp(row);
}

static double recurring(gint64 row, PowerRandom *random)
{
  return power_normal(random) + (double)(row / 2500 % 2);
}

static double variance(gint64 row, PowerRandom *random)
{
  return power_normal(random) * (row >= 5000 ? 2 : 1);
}

static double student_3(gint64 row, PowerRandom *random)
{
  (void)row;
  double value = power_normal(random), squares = 0;
  for (guint i = 0; i < 3; i++) {
    double other = power_normal(random);
    squares += other * other;
  }
  return value / sqrt(squares / 3);
}

static double autoregressive(gint64 row, PowerRandom *random)
{
  (void)row;
  return random->memory[0] = .5 * random->memory[0] + sqrt(.75) * power_normal(random);
}

static double arma(gint64 row, PowerRandom *random)
{
  (void)row;
  double shock = power_normal(random);
  random->memory[0] = .95 * random->memory[0] + shock - .8 * random->memory[1];
  random->memory[1] = shock;
  return random->memory[0];
}

static double garch(gint64 row, PowerRandom *random)
{
  (void)row;
  random->memory[1] = .05 + .1 * random->memory[0] * random->memory[0] + .85 * random->memory[1];
  return random->memory[0] = sqrt(random->memory[1]) * power_normal(random);
}

static double daily_sine(gint64 row, PowerRandom *random)
{
  return power_normal(random) + .5 * sin(2 * G_PI * (double)row / DAY);
}

static double rounded(gint64 row, PowerRandom *random)
{
  (void)row;
  return rint(power_normal(random));
}

static double zero_inflated(gint64 row, PowerRandom *random)
{
  (void)row;
  double value = exp(power_normal(random));
  return power_uniform(random) < .9 ? 0 : value;
}

/* ---- errors ---- */

static double error_at(double rate, PowerRandom *random)
{
  return power_uniform(random) < rate;
}

static double error_null(gint64 row, PowerRandom *random)
{
  (void)row;
  return error_at(.2, random);
}

static double error_rare(gint64 row, PowerRandom *random)
{
  (void)row;
  return error_at(.02, random);
}

static double error_rise(gint64 row, PowerRandom *random)
{
  return error_at(row >= 5000 ? .35 : .2, random);
}

static double error_small(gint64 row, PowerRandom *random)
{
  return error_at(row >= 5000 ? .25 : .2, random);
}

static double error_drop(gint64 row, PowerRandom *random)
{
  return error_at(row >= 5000 ? .2 : .35, random);
}

static double error_gradual(gint64 row, PowerRandom *random)
{
  return error_at(power_uniform(random) < ramp(row) ? .35 : .2, random);
}

static double error_incremental(gint64 row, PowerRandom *random)
{
  return error_at(.2 + .15 * ramp(row), random);
}

static double error_recurring(gint64 row, PowerRandom *random)
{
  return error_at(row / 2500 % 2 == 0 ? .2 : .35, random);
}

#define ABRUPT                                                                                                         \
  1,                                                                                                                   \
  {                                                                                                                    \
    {                                                                                                                  \
      5000, 5000                                                                                                       \
    }                                                                                                                  \
  }
#define RAMP                                                                                                           \
  1,                                                                                                                   \
  {                                                                                                                    \
    {                                                                                                                  \
      4000, 6000                                                                                                       \
    }                                                                                                                  \
  }
#define TOGGLES                                                                                                        \
  3,                                                                                                                   \
  {                                                                                                                    \
    {2500, 2500}, {5000, 5000},                                                                                        \
    {                                                                                                                  \
      7500, 7500                                                                                                       \
    }                                                                                                                  \
  }
#define NONE                                                                                                           \
  0,                                                                                                                   \
  {                                                                                                                    \
    {                                                                                                                  \
      0, 0                                                                                                             \
    }                                                                                                                  \
  }

const PowerStream power_streams[] = {{"abrupt-1", FALSE, FALSE, ABRUPT, abrupt_one},
                                     {"abrupt-.5", FALSE, FALSE, ABRUPT, abrupt_half},
                                     {"gradual", FALSE, FALSE, RAMP, gradual},
                                     {"incremental", FALSE, FALSE, RAMP, incremental},
                                     {"recurring", FALSE, FALSE, TOGGLES, recurring},
                                     {"variance", FALSE, FALSE, ABRUPT, variance},
                                     {"none", FALSE, FALSE, NONE, normal},
                                     {"t3", FALSE, FALSE, NONE, student_3},
                                     {"ar1", FALSE, FALSE, NONE, autoregressive},
                                     {"error-rise", TRUE, FALSE, ABRUPT, error_rise},
                                     {"error-small", TRUE, FALSE, ABRUPT, error_small},
                                     {"error-drop", TRUE, FALSE, ABRUPT, error_drop},
                                     {"error-gradual", TRUE, FALSE, RAMP, error_gradual},
                                     {"error-incremental", TRUE, FALSE, RAMP, error_incremental},
                                     {"error-recurring", TRUE, FALSE, TOGGLES, error_recurring},
                                     {"error-none", TRUE, FALSE, NONE, error_null},
                                     {"error-rare", TRUE, FALSE, NONE, error_rare},
                                     {"arma", FALSE, TRUE, NONE, arma},
                                     {"garch", FALSE, TRUE, NONE, garch},
                                     {"daily-sine", FALSE, TRUE, NONE, daily_sine},
                                     {"rounded", FALSE, TRUE, NONE, rounded},
                                     {"zero-inflated", FALSE, TRUE, NONE, zero_inflated},
                                     {NULL, FALSE, FALSE, NONE, NULL}};

const PowerStream *power_stream_find(const gchar *name)
{
  for (const PowerStream *stream = power_streams; stream->name != NULL; stream++)
    if (strcmp(stream->name, name) == 0) return stream;
  return NULL;
}

void power_random_seed(PowerRandom *random, const PowerStream *stream, guint64 seed)
{
  /* Two rounds: states a step apart would be one series, shifted. */
  *random = (PowerRandom){.state = seed};
  random->state = next_bits(random) ^ g_str_hash(stream->name);
  random->state = next_bits(random);
  random->memory[1] = stream->value == garch ? 1 : 0;
  if (stream->value != autoregressive && stream->value != arma && stream->value != garch) return;
  for (guint i = 0; i < BURN_IN; i++) stream->value(0, random); /* series with memory begin in their stationary law */
}
