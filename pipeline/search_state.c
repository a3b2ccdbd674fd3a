#include "pipeline/search_state.h"

#include <math.h>
#include <string.h>

#include "pipeline/search_propose.h"

#define SPREAD G_GUINT64_CONSTANT(0x9e3779b97f4a7c15) /* between the seeds of trials; 2^64 over the golden ratio */

void pipeline_search_rule_init(PipelineSearchRule *rule)
{
  *rule = (PipelineSearchRule){.seed = 1, .reduction = 3, .n_rungs = 3, .finalists = 2};
}

void pipeline_search_rule_choose_folds(PipelineSearchRule *rule, guint64 n_rows, gboolean images)
{
  gboolean few = n_rows < PIPELINE_SEARCH_FEW_ROWS && !images;
  rule->folds = images || n_rows > PIPELINE_SEARCH_MANY_ROWS ? 0 : 5;
  rule->finalists = few ? 6 : rule->folds > 0 ? 3 : 2;
}

double pipeline_search_usual_validation(guint64 n_rows)
{
  return n_rows < PIPELINE_SEARCH_FEW_ROWS ? .2 : .1;
}

static void trial_free(gpointer data)
{
  PipelineSearchTrial *trial = data;
  json_decref(trial->outcome);
  g_free(trial->reason);
  g_free(trial);
}

PipelineSearchState *pipeline_search_state_new(const PipelineSearchSpace *space, const PipelineSearchRule *rule)
{
  g_return_val_if_fail(rule->n_rungs >= 1 && rule->n_rungs <= PIPELINE_SEARCH_MAX_RUNGS && rule->reduction >= 2 &&
                           rule->finalists >= 1 && rule->folds <= PIPELINE_SEARCH_MAX_FOLDS,
                       NULL);
  PipelineSearchState *state = g_new0(PipelineSearchState, 1);
  state->space = space;
  state->rule = *rule;
  state->trials = g_ptr_array_new_with_free_func(trial_free);
  return state;
}

void pipeline_search_state_free(PipelineSearchState *state)
{
  if (state == NULL) return;
  g_ptr_array_unref(state->trials);
  g_free(state);
}

guint pipeline_search_resource(const PipelineSearchRule *rule, const PipelineSearchFamily *family, guint rung)
{
  guint resource = family->units;
  for (guint k = 0; k < rung; k++) resource *= rule->reduction;
  return resource;
}

static PipelineSearchTrial *get_trial(const PipelineSearchState *state, guint i)
{
  return g_ptr_array_index(state->trials, i);
}

guint pipeline_search_state_count(const PipelineSearchState *state, PipelineTrialState which)
{
  guint n = 0;
  for (guint i = 0; i < state->trials->len; i++) n += get_trial(state, i)->state == which;
  return n;
}

/* --- events ------------------------------------------------------------------------------------------------------- */

static gboolean refuse(GError **error, const gchar *event, json_int_t number, const gchar *why)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "event \"%s\" of trial %" JSON_INTEGER_FORMAT ": %s",
              event != NULL ? event : "", number, why);
  return FALSE;
}

static gboolean begin_trial(PipelineSearchState *state, const json_t *event, GError **error)
{
  const gchar *name = json_string_value(json_object_get(event, "family"));
  const PipelineSearchPart *part = pipeline_search_space_find(state->space, name);
  if (part == NULL) return refuse(error, "start", state->trials->len, "its family is not in the space of this search");
  PipelineSearchTrial *trial = g_new0(PipelineSearchTrial, 1);
  trial->number = state->trials->len;
  trial->part = part;
  trial->loss = trial->metric = NAN;
  if (!pipeline_search_values_parse(part->family, json_object_get(event, "parameters"), trial->values, error)) {
    trial_free(trial);
    return FALSE;
  }
  g_ptr_array_add(state->trials, trial);
  return TRUE;
}

static gboolean apply_start(PipelineSearchState *state, PipelineSearchTrial *trial, json_int_t rung,
                            const json_t *event, GError **error)
{
  if (trial == NULL) {
    if (rung != 0) return refuse(error, "start", state->trials->len, "it does not begin on rung 0");
    return begin_trial(state, event, error);
  }
  if (trial->state != PIPELINE_TRIAL_WAITING || rung != trial->n_ended || rung >= state->rule.n_rungs)
    return refuse(error, "start", trial->number, "it cannot begin this rung now");
  trial->state = PIPELINE_TRIAL_RUNNING;
  trial->rung = (guint)rung;
  return TRUE;
}

static gboolean apply_end(PipelineSearchState *state, PipelineSearchTrial *trial, const json_t *event, GError **error)
{
  const json_t *loss = json_object_get(event, "loss");
  if (!json_is_number(loss)) return refuse(error, "end", trial->number, "it has no loss");
  double value = json_number_value(loss);
  if (isnan(trial->loss) || value < trial->loss) {
    const json_t *metric = json_object_get(event, "metric");
    trial->loss = value;
    trial->metric = json_is_number(metric) ? json_number_value(metric) : NAN;
  }
  gboolean finished = json_is_true(json_object_get(event, "finished"));
  guint last = finished ? state->rule.n_rungs - 1 : trial->rung; /* more epochs would not change it */
  for (guint k = trial->rung; k <= last; k++) trial->losses[k] = trial->loss;
  trial->n_ended = last + 1;
  trial->epochs = (guint)json_integer_value(json_object_get(event, "epochs"));
  trial->seconds += json_number_value(json_object_get(event, "seconds"));
  trial->state = finished ? PIPELINE_TRIAL_FINISHED : PIPELINE_TRIAL_WAITING;
  json_decref(trial->outcome);
  trial->outcome = json_deep_copy(event);
  return TRUE;
}

static gboolean apply_failed(PipelineSearchTrial *trial, const json_t *event)
{
  trial->state = PIPELINE_TRIAL_FAILED;
  trial->reason = g_strdup(json_string_value(json_object_get(event, "reason")));
  return TRUE;
}

/* About a fold: it begins once and ends once. */
static gboolean apply_fold(PipelineSearchState *state, PipelineSearchTrial *trial, const gchar *kind,
                           const json_t *event, GError **error)
{
  json_int_t f = json_integer_value(json_object_get(event, "fold"));
  const json_t *loss = json_object_get(event, "loss"), *metric = json_object_get(event, "metric");
  gboolean start = g_str_equal(kind, "start"), end = g_str_equal(kind, "end");
  if (trial == NULL || trial->state != PIPELINE_TRIAL_FINISHED || f < 0 || f >= state->rule.folds ||
      trial->folds[f].state != (start ? PIPELINE_FOLD_NONE : PIPELINE_FOLD_RUNNING))
    return refuse(error, kind, trial != NULL ? trial->number : state->trials->len,
                  "that fold of it cannot begin or end now");
  if (end && !json_is_number(loss)) return refuse(error, kind, trial->number, "its fold has no loss");
  trial->folds[f] =
      (PipelineSearchFold){start ? PIPELINE_FOLD_RUNNING
                           : end ? PIPELINE_FOLD_ENDED
                                 : PIPELINE_FOLD_FAILED,
                           json_number_value(loss), json_is_number(metric) ? json_number_value(metric) : NAN};
  if (!start && !end && trial->reason == NULL)
    trial->reason = g_strdup(json_string_value(json_object_get(event, "reason")));
  return TRUE;
}

static gboolean apply_rung(PipelineSearchState *state, PipelineSearchTrial *trial, const gchar *kind, json_int_t rung,
                           const json_t *event, GError **error)
{
  if (g_str_equal(kind, "start")) return apply_start(state, trial, rung, event, error);
  if (trial == NULL || trial->state != PIPELINE_TRIAL_RUNNING || trial->rung != rung)
    return refuse(error, kind, trial != NULL ? trial->number : state->trials->len, "this rung of it was not running");
  return g_str_equal(kind, "end") ? apply_end(state, trial, event, error) : apply_failed(trial, event);
}

gboolean pipeline_search_state_apply(PipelineSearchState *state, const json_t *event, GError **error)
{
  const gchar *kind = json_string_value(json_object_get(event, "event"));
  const json_t *number = json_object_get(event, "trial"), *rung = json_object_get(event, "rung"),
               *fold = json_object_get(event, "fold"), *seconds = json_object_get(event, "elapsed");
  json_int_t n = json_integer_value(number), k = json_integer_value(rung);
  if (kind == NULL || !json_is_integer(number) || !json_is_integer(rung) || n < 0 || n > state->trials->len || k < 0 ||
      (fold != NULL && !json_is_integer(fold)))
    return refuse(error, kind, n, "it has no event, trial or rung, or trials before it are missing");
  if (!g_str_equal(kind, "start") && !g_str_equal(kind, "end") && !g_str_equal(kind, "failed"))
    return refuse(error, kind, n, "there is no such event");
  PipelineSearchTrial *trial = n < state->trials->len ? get_trial(state, (guint)n) : NULL;
  if (fold != NULL ? !apply_fold(state, trial, kind, event, error) : !apply_rung(state, trial, kind, k, event, error))
    return FALSE;
  if (json_is_number(seconds)) state->elapsed = json_number_value(seconds);
  return TRUE;
}

/* --- what is next ------------------------------------------------------------------------------------------------- */

static json_t *start_event(guint number, guint rung)
{
  return json_pack("{s:s, s:I, s:I}", "event", "start", "trial", (json_int_t)number, "rung", (json_int_t)rung);
}

static int compare_at(gconstpointer a, gconstpointer b, gpointer rung)
{
  const PipelineSearchTrial *x = *(PipelineSearchTrial *const *)a, *y = *(PipelineSearchTrial *const *)b;
  guint k = GPOINTER_TO_UINT(rung);
  if (x->losses[k] != y->losses[k]) return x->losses[k] < y->losses[k] ? -1 : 1;
  return (x->number > y->number) - (x->number < y->number);
}

/* New, borrowed trials: those of the part that ended the rung, best first. *n_all: with those that failed on it. */
static GPtrArray *ended(const PipelineSearchState *state, const PipelineSearchPart *part, guint rung, guint *n_all)
{
  GPtrArray *list = g_ptr_array_new();
  *n_all = 0;
  for (guint i = 0; i < state->trials->len; i++) {
    PipelineSearchTrial *trial = get_trial(state, i);
    if (trial->part != part) continue;
    if (trial->n_ended > rung) g_ptr_array_add(list, trial);
    *n_all += trial->n_ended > rung || (trial->state == PIPELINE_TRIAL_FAILED && trial->rung == rung);
  }
  g_ptr_array_sort_with_data(list, compare_at, GUINT_TO_POINTER(rung));
  return list;
}

static const PipelineSearchTrial *promotable(const PipelineSearchState *state, guint rung)
{
  for (guint p = 0; p < state->space->parts->len; p++) {
    guint n_all = 0;
    g_autoptr(GPtrArray) list = ended(state, g_ptr_array_index(state->space->parts, p), rung, &n_all);
    for (guint i = 0; i < list->len && i < n_all / state->rule.reduction; i++) {
      const PipelineSearchTrial *trial = g_ptr_array_index(list, i);
      if (trial->state == PIPELINE_TRIAL_WAITING && trial->n_ended == rung + 1) return trial;
    }
  }
  return NULL;
}

/* The first trials go round the families; then their losses say which is worth more. */
static const PipelineSearchPart *choose_part(const PipelineSearchState *state, PipelineRandom *random)
{
  const GPtrArray *parts = state->space->parts;
  guint n = 0, number = state->trials->len;
  if (number < 4 * parts->len) return g_ptr_array_index(parts, number % parts->len);
  g_autofree guint *chosen = g_new(guint, number);
  g_autofree double *losses = g_new(double, number);
  for (guint i = 0; i < number; i++) {
    const PipelineSearchTrial *trial = get_trial(state, i);
    gboolean failed = trial->state == PIPELINE_TRIAL_FAILED;
    if (!failed && isnan(trial->loss)) continue;
    losses[n] = failed ? HUGE_VAL : trial->loss;
    for (guint p = 0; p < parts->len; p++)
      if (g_ptr_array_index(parts, p) == trial->part) chosen[n] = p;
    n++;
  }
  return g_ptr_array_index(parts, pipeline_search_propose_choice(chosen, losses, n, parts->len, random));
}

/* Before there is anything to learn from: half of the dimensions stay usual, since most corners of a large space are
 * bad and what is usual is not. */
static void stay_usual(const PipelineSearchPart *part, PipelineRandom *random, double *proposal)
{
  double usual[PIPELINE_SEARCH_MAX_DIMENSIONS];
  pipeline_search_part_usual(part, usual);
  for (guint d = 0; d < part->family->n_dimensions; d++)
    if (pipeline_random_uniform(random) < .5) proposal[d] = usual[d];
}

/* Learns from the highest rung that enough trials have ended; a failed trial is the worst there is. */
static void propose(const PipelineSearchState *state, const PipelineSearchPart *part, PipelineRandom *random,
                    double *proposal)
{
  guint number = state->trials->len, n_dimensions = part->family->n_dimensions, n = 0, n_seen = 0;
  g_autofree double *values = g_new(double, (gsize)MAX(1, number) * n_dimensions);
  g_autofree double *losses = g_new(double, MAX(1, number));
  guint rung = state->rule.n_rungs;
  do {
    rung--;
    n = n_seen = 0;
    for (guint i = 0; i < number; i++) {
      const PipelineSearchTrial *trial = get_trial(state, i);
      gboolean failed = trial->state == PIPELINE_TRIAL_FAILED;
      if (trial->part != part || (!failed && trial->n_ended <= rung)) continue;
      memcpy(values + (gsize)n * n_dimensions, trial->values, n_dimensions * sizeof(double));
      losses[n++] = failed ? HUGE_VAL : trial->losses[rung];
      n_seen += !failed;
    }
  } while (rung > 0 && n_seen < PIPELINE_SEARCH_STARTUP);
  pipeline_search_propose(part, values, losses, n, random, proposal);
  if (n < PIPELINE_SEARCH_STARTUP) stay_usual(part, random, proposal);
}

static gboolean is_first(const PipelineSearchState *state, const PipelineSearchPart *part)
{
  for (guint i = 0; i < state->trials->len; i++)
    if (get_trial(state, i)->part == part) return FALSE;
  return TRUE;
}

static json_t *new_trial(const PipelineSearchState *state)
{
  double values[PIPELINE_SEARCH_MAX_DIMENSIONS];
  PipelineRandom random;
  guint number = state->trials->len;
  pipeline_random_seed(&random, state->rule.seed + SPREAD * (number + 1));
  const PipelineSearchPart *part = choose_part(state, &random);
  if (is_first(state, part))
    pipeline_search_part_usual(part, values);
  else
    propose(state, part, &random, values);
  json_t *event = start_event(number, 0);
  json_object_set_new(event, "family", json_string(part->family->name));
  json_object_set_new(event, "parameters", pipeline_search_values_format(part->family, values));
  return event;
}

json_t *pipeline_search_state_next(const PipelineSearchState *state, gboolean may_propose)
{
  for (guint k = state->rule.n_rungs - 1; k-- > 0;) {
    const PipelineSearchTrial *trial = promotable(state, k);
    if (trial != NULL) return start_event(trial->number, k + 1);
  }
  return may_propose ? new_trial(state) : NULL;
}
