/* Streams with known changes, by which online detectors are measured: 10,000 rows each unless a length is given. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define POWER_ROWS 10000

typedef struct {
  gint begin, end; /* the transition: end = begin where it is abrupt */
} PowerChange;

typedef struct _PowerRandom PowerRandom;

typedef struct {
  const gchar *name;
  gboolean is_error; /* 0 or 1, else a value */
  gboolean is_hard;  /* a null that breaks the assumption of independent rows or of a continuous law */
  guint n_changes;   /* 0: a null */
  PowerChange changes[4];
  /* The value of a row of a stream of `rows`; `random` is the stream's own, with memory for what depends on the past.
   */
  double (*value)(gint64 row, PowerRandom *random);
} PowerStream;

extern const PowerStream power_streams[]; /* ends with a NULL name */
const PowerStream *power_stream_find(const gchar *name);

struct _PowerRandom {
  guint64 state;
  gboolean has_spare;
  double spare, memory[3];
};
void power_random_seed(PowerRandom *random, const PowerStream *stream, guint64 seed);
double power_uniform(PowerRandom *random);
double power_normal(PowerRandom *random);

G_END_DECLS
