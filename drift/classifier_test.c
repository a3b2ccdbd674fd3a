/* Can a classifier tell the two samples apart? */
#include <math.h>
#include <string.h>

#include "drift/multivariate.h"
#include "drift/order.h"
#include "drift/two_sample_internal.h"

typedef struct {
  const DriftLearner *learner;
  gsize total;
  guint d, folds;
  guint64 seed;
  double *rows;    /* [total][d] standardised; the reference first */
  double *sides;   /* [total] 0 reference, 1 current */
  guint8 *fold_of; /* [total] */
  double *train, *train_sides, *test, *test_sides, *scores;
  guint32 *order;
} Sides;

static gboolean sides_init(Sides *sides, const DriftMatrix *reference, const DriftMatrix *current)
{
  gsize total = sides->total;
  guint d = sides->d;
  double **blocks[] = {&sides->rows, &sides->train, &sides->test};
  double **columns[] = {&sides->sides, &sides->train_sides, &sides->test_sides, &sides->scores};
  gboolean fits = TRUE;
  for (guint i = 0; i < G_N_ELEMENTS(blocks); i++) fits &= (*blocks[i] = g_try_new(double, total *d)) != NULL;
  for (guint i = 0; i < G_N_ELEMENTS(columns); i++) fits &= (*columns[i] = g_try_new(double, total)) != NULL;
  fits &= (sides->fold_of = g_try_new(guint8, total)) != NULL;
  fits &= (sides->order = g_try_new(guint32, total)) != NULL;
  if (!fits) return FALSE;
  memcpy(sides->rows, reference->values, reference->n * d * sizeof(double));
  memcpy(sides->rows + reference->n * d, current->values, current->n * d * sizeof(double));
  for (gsize i = 0; i < total; i++) sides->sides[i] = i < reference->n ? 0 : 1;
  const DriftMatrix pooled = {sides->rows, total, d};
  g_autofree double *means = g_new0(double, d), *scales = g_new(double, d);
  for (gsize i = 0; i < total; i++)
    for (guint k = 0; k < d; k++) means[k] += sides->rows[i * d + k] / (double)total;
  drift_matrix_scales(&pooled, means, scales);
  for (gsize i = 0; i < total; i++)
    for (guint k = 0; k < d; k++) sides->rows[i * d + k] = (sides->rows[i * d + k] - means[k]) / scales[k];
  return TRUE;
}

static void sides_clear(Sides *sides)
{
  gpointer owned[] = {sides->rows,       sides->train,  sides->test,    sides->sides, sides->train_sides,
                      sides->test_sides, sides->scores, sides->fold_of, sides->order};
  for (guint i = 0; i < G_N_ELEMENTS(owned); i++) g_free(owned[i]);
}

/* Each side dealt to the folds in a seeded order, so that every fold has both. */
static void deal_folds(Sides *sides, guint64 *state)
{
  for (guint side = 0; side < 2; side++) {
    gsize n = 0;
    for (gsize i = 0; i < sides->total; i++)
      if (sides->sides[i] == side) sides->order[n++] = (guint32)i;
    for (gsize i = n; i-- > 1;) {
      gsize j = (gsize)(drift_random_uniform(state) * (double)(i + 1));
      guint32 row = sides->order[i];
      sides->order[i] = sides->order[j];
      sides->order[j] = row;
    }
    for (gsize i = 0; i < n; i++) sides->fold_of[sides->order[i]] = (guint8)(i % sides->folds);
  }
}

static gboolean score_fold(Sides *sides, guint fold, double *auc, GError **error)
{
  gsize n_train = 0, n_test = 0, d = sides->d;
  for (gsize i = 0; i < sides->total; i++) {
    gboolean held_out = sides->fold_of[i] == fold;
    double *to = held_out ? sides->test + n_test * d : sides->train + n_train * d;
    memcpy(to, sides->rows + i * d, d * sizeof(double));
    if (held_out)
      sides->test_sides[n_test++] = sides->sides[i];
    else
      sides->train_sides[n_train++] = sides->sides[i];
  }
  const DriftMatrix train = {sides->train, n_train, sides->d}, test = {sides->test, n_test, sides->d};
  gpointer model = sides->learner->fit(&train, sides->train_sides, DRIFT_GOAL_PROBABILITY, sides->seed, error);
  gboolean done = model != NULL && sides->learner->predict(model, &test, sides->scores, error);
  if (done && !drift_order(sides->scores, n_test, sides->order)) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for %zu rows", n_test);
    done = FALSE;
  }
  if (done) *auc += drift_expected_roc_auc(sides->test_sides, sides->scores, sides->order, n_test) / sides->folds;
  if (model != NULL) sides->learner->free(model);
  return done;
}

static gboolean cross_validate(Sides *sides, guint64 *state, double *auc, GError **error)
{
  *auc = 0;
  deal_folds(sides, state);
  for (guint fold = 0; fold < sides->folds; fold++)
    if (!score_fold(sides, fold, auc, error)) return FALSE;
  return TRUE;
}

static void permute_sides(Sides *sides, guint64 *state)
{
  for (gsize i = sides->total; i-- > 1;) {
    gsize j = (gsize)(drift_random_uniform(state) * (double)(i + 1));
    double side = sides->sides[i];
    sides->sides[i] = sides->sides[j];
    sides->sides[j] = side;
  }
}

static gboolean permute(Sides *sides, guint permutations, guint64 *state, DriftClassifierTest *test, GError **error)
{
  guint extreme = 0, draws = 0;
  double auc;
  while (draws < permutations && extreme < DRIFT_ENOUGH_EXTREME) {
    permute_sides(sides, state);
    if (!cross_validate(sides, state, &auc, error)) return FALSE;
    draws++;
    if (auc >= test->auc) extreme++;
  }
  test->p = draws > 0 ? drift_permutation_p(extreme, draws) : NAN;
  return TRUE;
}

gboolean drift_classifier_test(const DriftMatrix *reference, const DriftMatrix *current, const DriftLearner *learner,
                               guint folds, const DriftPermutationSettings *settings, DriftClassifierTest *result,
                               GError **error)
{
  if (folds < 2 || folds > 20) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%u folds; 2 to 20 are allowed", folds);
    return FALSE;
  }
  if (!drift_matrix_check(reference, current, folds, error)) return FALSE;
  guint64 state = settings != NULL ? settings->seed : 0;
  DriftClassifierTest test = {NAN, NAN};
  Sides sides = {
      .learner = learner, .total = reference->n + current->n, .d = reference->d, .folds = folds, .seed = state};
  gboolean done = sides.total <= G_MAXUINT32 && sides_init(&sides, reference, current);
  if (!done)
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for %zu rows", sides.total);
  else
    done = cross_validate(&sides, &state, &test.auc, error) &&
           permute(&sides, settings != NULL ? settings->permutations : 0, &state, &test, error);
  if (done) *result = test;
  sides_clear(&sides);
  return done;
}
