#include "pipeline/rehearsal.h"

#include <math.h>
#include <string.h>

/* Old rows of a whole batch. */
static guint old_share(const PipelineRehearsal *rehearsal)
{
  if (rehearsal->n_old == 0 || rehearsal->batch_size < 2) return 0;
  guint wanted = (guint)lround(rehearsal->share * rehearsal->batch_size);
  return CLAMP(wanted, 1, rehearsal->batch_size - 1);
}

/* Old rows beside `fresh` new ones, of which a whole batch has `most`. */
static guint64 old_beside(guint64 fresh, guint64 most, guint old)
{
  return fresh == most ? old : (guint64)lround((double)old * (double)fresh / (double)most);
}

guint64 pipeline_rehearsal_count(const PipelineRehearsal *rehearsal)
{
  guint old = old_share(rehearsal), fresh = rehearsal->batch_size - old;
  guint64 whole = rehearsal->n_fresh / fresh, rest = rehearsal->n_fresh % fresh;
  return rehearsal->n_fresh + whole * old + old_beside(rest, fresh, old);
}

void pipeline_rehearsal_order(const PipelineRehearsal *rehearsal, PipelineRandom *random, guint64 *order)
{
  guint old = old_share(rehearsal), most = rehearsal->batch_size - old;
  g_autofree guint64 *fresh_rows = g_memdup2(rehearsal->fresh, rehearsal->n_fresh * sizeof(guint64));
  pipeline_random_shuffle(random, fresh_rows, rehearsal->n_fresh);
  g_autofree guint64 *old_rows = old > 0 ? g_memdup2(rehearsal->old, rehearsal->n_old * sizeof(guint64)) : NULL;
  if (old > 0) pipeline_random_shuffle(random, old_rows, rehearsal->n_old);
  guint64 place = 0, drawn = 0;
  for (guint64 start = 0; start < rehearsal->n_fresh; start += most) {
    guint64 fresh = MIN(most, rehearsal->n_fresh - start), beside = old_beside(fresh, most, old);
    memcpy(order + place, fresh_rows + start, fresh * sizeof(guint64));
    place += fresh;
    for (guint64 i = 0; i < beside; i++) order[place++] = old_rows[drawn++ % rehearsal->n_old];
  }
}
