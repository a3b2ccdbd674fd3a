#include "pipeline/search_final.h"

#include <math.h>

#define MEMBER_ERRORS 2

gboolean pipeline_search_folded(const PipelineSearchState *state, const PipelineSearchTrial *trial, double *mean,
                                double *error)
{
  guint k = state->rule.folds;
  double sum = 0, squares = 0;
  for (guint f = 0; f < k; f++) {
    if (trial->folds[f].state != PIPELINE_FOLD_ENDED) return FALSE;
    sum += trial->folds[f].loss / k;
  }
  if (k == 0) return FALSE;
  for (guint f = 0; f < k; f++) squares += (trial->folds[f].loss - sum) * (trial->folds[f].loss - sum);
  if (mean != NULL) *mean = sum;
  if (error != NULL) *error = k > 1 ? sqrt(squares / (k - 1) / k) : NAN;
  return TRUE;
}

/* --- rankings ----------------------------------------------------------------------------------------------------- */

static int compare_losses(gconstpointer a, gconstpointer b)
{
  const PipelineSearchTrial *x = *(PipelineSearchTrial *const *)a, *y = *(PipelineSearchTrial *const *)b;
  if (x->loss != y->loss) return x->loss < y->loss ? -1 : 1;
  return (x->number > y->number) - (x->number < y->number);
}

static int compare_folded(gconstpointer a, gconstpointer b, gpointer data)
{
  const PipelineSearchTrial *x = *(PipelineSearchTrial *const *)a, *y = *(PipelineSearchTrial *const *)b;
  double left = 0, right = 0;
  gboolean has_left = pipeline_search_folded(data, x, &left, NULL),
           has_right = pipeline_search_folded(data, y, &right, NULL);
  if (has_left != has_right) return has_left ? -1 : 1;
  if (has_left && left != right) return left < right ? -1 : 1;
  return compare_losses(a, b);
}

static GPtrArray *list_measured(const PipelineSearchState *state)
{
  GPtrArray *list = g_ptr_array_new();
  for (guint i = 0; i < state->trials->len; i++) {
    PipelineSearchTrial *trial = g_ptr_array_index(state->trials, i);
    if (trial->state != PIPELINE_TRIAL_FAILED && !isnan(trial->loss)) g_ptr_array_add(list, trial);
  }
  return list;
}

/* The usual values of a family are its first trial. */
static gboolean is_usual(const PipelineSearchState *state, const PipelineSearchTrial *trial)
{
  for (guint i = 0; i < trial->number; i++)
    if (((const PipelineSearchTrial *)g_ptr_array_index(state->trials, i))->part == trial->part) return FALSE;
  return TRUE;
}

/* Lower on the same folds by more than so many standard errors of the mean difference. Both have all folds. */
static gboolean is_better(const PipelineSearchState *state, const PipelineSearchTrial *one,
                          const PipelineSearchTrial *other, double errors)
{
  guint k = state->rule.folds;
  double mean = 0, squares = 0;
  for (guint f = 0; f < k; f++) mean += (other->folds[f].loss - one->folds[f].loss) / k;
  for (guint f = 0; f < k; f++) {
    double difference = other->folds[f].loss - one->folds[f].loss - mean;
    squares += difference * difference;
  }
  return k > 1 && mean > errors * sqrt(squares / (k - 1) / k);
}

/* The usual values stay unless the first of the list is better than them beyond what folds differ by. */
static void prefer_usual(const PipelineSearchState *state, GPtrArray *list)
{
  for (guint i = 0; i < list->len; i++) {
    PipelineSearchTrial *trial = g_ptr_array_index(list, i);
    if (!pipeline_search_folded(state, trial, NULL, NULL)) return;
    if (!is_usual(state, trial)) continue;
    if (i == 0 || is_better(state, g_ptr_array_index(list, 0), trial, 1)) return;
    g_ptr_array_steal_index(list, i);
    g_ptr_array_insert(list, 0, trial);
    return;
  }
}

GPtrArray *pipeline_search_ranking(const PipelineSearchState *state)
{
  GPtrArray *list = list_measured(state);
  g_ptr_array_sort_with_data(list, compare_folded, (gpointer)state);
  prefer_usual(state, list);
  return list;
}

PipelineSearchTrial *pipeline_search_state_best(const PipelineSearchState *state)
{
  g_autoptr(GPtrArray) list = pipeline_search_ranking(state);
  return list->len > 0 ? g_ptr_array_index(list, 0) : NULL;
}

/* Whether nothing in front of it in the list is of its part of the space. */
static gboolean is_first_of_part(const PipelineSearchState *state, const GPtrArray *list, guint index)
{
  const PipelineSearchTrial *trial = g_ptr_array_index(list, index);
  (void)state;
  for (guint i = 0; i < index; i++)
    if (((const PipelineSearchTrial *)g_ptr_array_index(list, i))->part == trial->part) return FALSE;
  return TRUE;
}

static gboolean is_usual_at(const PipelineSearchState *state, const GPtrArray *list, guint index)
{
  return is_usual(state, g_ptr_array_index(list, index));
}

/* Moves the first of the list from place on for which `is_wanted` holds to that place; FALSE: there is none. */
static gboolean bring_forward(const PipelineSearchState *state, GPtrArray *list, guint place,
                              gboolean (*is_wanted)(const PipelineSearchState *, const GPtrArray *, guint index))
{
  for (guint i = place; i < list->len; i++) {
    if (!is_wanted(state, list, i)) continue;
    g_ptr_array_insert(list, (gint)place, g_ptr_array_steal_index(list, i));
    return TRUE;
  }
  return FALSE;
}

GPtrArray *pipeline_search_members(const PipelineSearchState *state, guint n)
{
  GPtrArray *list = pipeline_search_ranking(state);
  guint kept = MIN(list->len, 1); /* the winner */
  for (guint i = 1; i < list->len && (n == 0 || kept < n); i++) {
    PipelineSearchTrial *trial = g_ptr_array_index(list, i);
    gboolean folded = pipeline_search_folded(state, trial, NULL, NULL);
    gboolean good = n > 0 ? trial->state == PIPELINE_TRIAL_FINISHED
                          : folded && !is_better(state, list->pdata[0], trial, MEMBER_ERRORS);
    if (good) list->pdata[kept++] = trial; /* an array of borrowed trials */
  }
  g_ptr_array_set_size(list, (gint)kept);
  return list;
}

GPtrArray *pipeline_search_finalists(const PipelineSearchState *state, guint n)
{
  GPtrArray *list = list_measured(state);
  g_ptr_array_sort(list, compare_losses);
  if (list->len > n && n > 1 && state->rule.folds > 0) {
    guint place = 1;
    gboolean has_usual = is_usual_at(state, list, 0);
    while (place + !has_usual < n && bring_forward(state, list, place, is_first_of_part))
      has_usual = is_usual_at(state, list, place++) || has_usual;
    if (!has_usual) bring_forward(state, list, place, is_usual_at);
  }
  if (list->len > n) g_ptr_array_set_size(list, (gint)n);
  g_ptr_array_sort(list, compare_losses);
  return list;
}

/* --- what is to be done ------------------------------------------------------------------------------------------- */

static json_t *fold_event(const PipelineSearchState *state, const GPtrArray *finalists)
{
  for (guint f = 0; f < state->rule.folds; f++)
    for (guint i = 0; i < finalists->len; i++) {
      const PipelineSearchTrial *trial = g_ptr_array_index(finalists, i);
      if (trial->state == PIPELINE_TRIAL_FINISHED && trial->folds[f].state == PIPELINE_FOLD_NONE)
        return json_pack("{s:s, s:I, s:I, s:I}", "event", "start", "trial", (json_int_t)trial->number, "rung",
                         (json_int_t)state->rule.n_rungs - 1, "fold", (json_int_t)f);
    }
  return NULL;
}

json_t *pipeline_search_state_finish(const PipelineSearchState *state, guint n)
{
  gboolean all = TRUE;
  g_autoptr(GPtrArray) finalists = pipeline_search_finalists(state, n);
  for (guint i = 0; i < finalists->len; i++) {
    const PipelineSearchTrial *trial = g_ptr_array_index(finalists, i);
    if (trial->state == PIPELINE_TRIAL_WAITING)
      return json_pack("{s:s, s:I, s:I}", "event", "start", "trial", (json_int_t)trial->number, "rung",
                       (json_int_t)trial->n_ended);
    all = all && trial->state == PIPELINE_TRIAL_FINISHED;
  }
  return all && finalists->len > 1 ? fold_event(state, finalists) : NULL;
}

double pipeline_search_state_remaining(const PipelineSearchState *state, guint n, guint workers)
{
  double sum = 0, longest = 0;
  g_autoptr(GPtrArray) finalists = pipeline_search_finalists(state, n);
  for (guint i = 0; i < finalists->len; i++) {
    const PipelineSearchTrial *trial = g_ptr_array_index(finalists, i);
    guint all = pipeline_search_resource(&state->rule, trial->part->family, state->rule.n_rungs - 1), folds = 0;
    double each = trial->epochs > 0 ? trial->seconds / trial->epochs : 0;
    double rungs = trial->state != PIPELINE_TRIAL_FINISHED && all > trial->epochs ? each * (all - trial->epochs) : 0;
    for (guint f = 0; f < state->rule.folds && n > 1; f++)
      folds += trial->folds[f].state == PIPELINE_FOLD_NONE || trial->folds[f].state == PIPELINE_FOLD_RUNNING;
    double whole = trial->state == PIPELINE_TRIAL_FINISHED ? trial->seconds : trial->seconds + rungs;
    sum += rungs + folds * whole;
    longest = MAX(longest, rungs + (folds > 0 ? whole : 0));
  }
  return MAX(longest, sum / workers);
}
