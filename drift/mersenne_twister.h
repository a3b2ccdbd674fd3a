/* MT19937 (Matsumoto and Nishimura 1998) as GRand and numpy have it, for splits that must be nannyml's: a fit draws
 * some 30 numbers a row, and from here they come several times faster than one g_rand_int each. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define DRIFT_TWISTER_WORDS 624u

typedef struct {
  guint32 state[DRIFT_TWISTER_WORDS], numbers[DRIFT_TWISTER_WORDS]; /* numbers: what is drawn next */
  guint at;
} DriftTwister;

/* The numbers of g_rand_new_with_seed(seed). */
void drift_twister_init(DriftTwister *twister, guint32 seed);
/* The next DRIFT_TWISTER_WORDS numbers, from the first; called by drift_twister_next. */
void drift_twister_refill(DriftTwister *twister);

static inline guint32 drift_twister_next(DriftTwister *twister)
{
  if (G_UNLIKELY(twister->at == DRIFT_TWISTER_WORDS)) drift_twister_refill(twister);
  return twister->numbers[twister->at++];
}

G_END_DECLS
