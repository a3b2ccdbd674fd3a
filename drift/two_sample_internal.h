/* What the files of the two-sample tests share. */
#pragma once

#include <math.h>

#include "drift/two_sample.h"

G_BEGIN_DECLS

/* Exact sums of ranks and of squares of counts, which overflow 64 bits. */
__extension__ typedef __int128 DriftWide;

#define DRIFT_NO_VALUES "a side has no values"
#define DRIFT_HAS_INFINITIES "a side has infinite values"
#define DRIFT_TOO_FAR_APART "the values are too large to be subtracted or summed"

static inline void drift_result_undefined(DriftTestResult *result, const gchar *reason)
{
  *result = (DriftTestResult){.statistic = NAN, .p = NAN, .df = NAN, .undefined = reason};
}

/* The next distinct value of the pooled samples: how many of each side hold it. FALSE at the end. Start with zeros. */
typedef struct {
  const DriftSample *reference, *current;
  gsize i, j;           /* values of each side before this one */
  gsize n_here, m_here; /* of each side that are this value */
  double value;
} DriftPooled;
static inline gboolean drift_pooled_next(DriftPooled *pooled)
{
  const DriftSample *a = pooled->reference, *b = pooled->current;
  gsize i = pooled->i += pooled->n_here, j = pooled->j += pooled->m_here;
  pooled->n_here = pooled->m_here = 0;
  if (i >= a->n && j >= b->n) return FALSE;
  double value = j >= b->n || (i < a->n && a->sorted[i] < b->sorted[j]) ? a->sorted[i] : b->sorted[j];
  while (i < a->n && a->sorted[i] == value) i++;
  while (j < b->n && b->sorted[j] == value) j++;
  pooled->n_here = i - pooled->i;
  pooled->m_here = j - pooled->j;
  pooled->value = value;
  return TRUE;
}

/* Uniform over 64 bits (splitmix64): the same numbers on every machine. */
static inline guint64 drift_random_next(guint64 *state)
{
  guint64 z = *state += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
  return z ^ z >> 31;
}
/* In [0, 1). */
static inline double drift_random_uniform(guint64 *state)
{
  return (double)(drift_random_next(state) >> 11) / 9007199254740992.0;
}

/* The count of a permutation test. */
#define DRIFT_ENOUGH_EXTREME 20
static inline double drift_permutation_p(guint extreme, guint draws)
{
  return extreme >= DRIFT_ENOUGH_EXTREME ? (double)extreme / draws : (1.0 + extreme) / (1.0 + draws);
}

G_END_DECLS
