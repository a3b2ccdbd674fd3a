#include "pipeline/search.h"

#include <glib/gstdio.h>
#include <math.h>
#include <poll.h>
#include <string.h>

#include "pipeline/search_families.h"
#include "pipeline/search_final.h"
#include "pipeline/onednn.h"
#include "pipeline/search_journal.h"
#include "pipeline/worker_child.h"

#define LOOK_MS 200 /* how often a stop and the end of the budget are looked for */
#define MAX_WORKERS 256u

typedef struct {
  PipelineChild *child; /* NULL: free */
  guint trial, rung;
  gint fold; /* -1: a rung */
} Slot;

typedef struct {
  const PipelineSearchOptions *options;
  PipelineSearchState *state;
  PipelineSearchJournal *journal;
  Slot *slots; /* [options->workers] */
  gint64 begun;
  double before; /* seconds of earlier calls */
} Search;

static double elapsed(const Search *search)
{
  return search->before + (double)(g_get_monotonic_time() - search->begun) / 1e6;
}

static gboolean add_event(Search *search, json_t *event, GError **error)
{
  json_object_set_new(event, "elapsed", json_real(elapsed(search)));
  gboolean done = pipeline_search_journal_add(search->journal, event, search->state, error);
  if (done && search->options->progress != NULL) search->options->progress(search->state, search->options->user_data);
  return done;
}

/* --- the file of a trial ------------------------------------------------------------------------------------------ */

static gboolean write_json(const gchar *path, const json_t *json, GError **error)
{
  char *text = json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
  gboolean done = g_file_set_contents(path, text, -1, error);
  free(text);
  return done;
}

static PipelineSearchStage make_stage(const Search *search, const Slot *slot)
{
  const PipelineSearchTrial *trial = g_ptr_array_index(search->state->trials, slot->trial);
  PipelineSearchStage stage = {.number = slot->trial,
                               .rung = slot->rung,
                               .fold = slot->fold,
                               .family = trial->part->family,
                               .rule = search->state->rule,
                               .folder = search->options->folder};
  memcpy(stage.values, trial->values, sizeof stage.values);
  stage.best_epoch = (guint)json_integer_value(json_object_get(trial->outcome, "best_epoch"));
  return stage;
}

static gboolean write_stage(const Search *search, const PipelineSearchStage *stage, const gchar *path, GError **error)
{
  const PipelineSearchRule *rule = &stage->rule;
  json_t *json =
      json_pack("{s:s, s:I, s:I, s:s, s:o, s:I, s:I, s:I, s:i, s:I, s:O}", "folder", stage->folder, "trial",
                (json_int_t)stage->number, "rung", (json_int_t)stage->rung, "family", stage->family->name, "parameters",
                pipeline_search_values_format(stage->family, stage->values), "reduction", (json_int_t)rule->reduction,
                "rungs", (json_int_t)rule->n_rungs, "folds", (json_int_t)rule->folds, "fold", stage->fold, "best_epoch",
                (json_int_t)stage->best_epoch, "task", (json_t *)search->options->task);
  gboolean done = write_json(path, json, error);
  json_decref(json);
  return done;
}

gboolean pipeline_search_stage_read(const gchar *path, PipelineSearchStage *stage, gchar **folder, json_t **json,
                                    GError **error)
{
  json_error_t problem;
  const char *name = NULL, *where = NULL;
  json_int_t trial = 0, rung = 0, reduction = 0, rungs = 0, folds = 0, fold = -1, best_epoch = 0;
  json_t *parameters = NULL, *task = NULL, *read = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
  PipelineSearchStage made = {0};
  pipeline_search_rule_init(&made.rule);
  gboolean good = read != NULL && json_unpack(read, "{s:s, s:I, s:I, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:o}", "folder",
                                              &where, "trial", &trial, "rung", &rung, "family", &name, "parameters",
                                              &parameters, "reduction", &reduction, "rungs", &rungs, "folds", &folds,
                                              "fold", &fold, "best_epoch", &best_epoch, "task", &task) == 0;
  good = good && trial >= 0 && trial <= G_MAXINT32 && rungs >= 1 && rungs <= PIPELINE_SEARCH_MAX_RUNGS && rung >= 0 &&
         rung < rungs && reduction >= 2 && reduction <= 10 && folds >= 0 && folds <= PIPELINE_SEARCH_MAX_FOLDS &&
         fold >= -1 && fold < MAX(folds, 0) && best_epoch >= 0 && best_epoch <= G_MAXINT32 &&
         (made.family = pipeline_search_family_find(name)) != NULL && json_is_object(task);
  if (!good)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s: not the file of a trial: kedge search writes it",
                path);
  good = good && pipeline_search_values_parse(made.family, parameters, made.values, error);
  if (!good) {
    json_decref(read);
    return FALSE;
  }
  made.number = (guint)trial, made.rung = (guint)rung;
  made.rule.reduction = (guint)reduction, made.rule.n_rungs = (guint)rungs, made.rule.folds = (guint)folds;
  made.fold = (gint)fold, made.best_epoch = (guint)best_epoch;
  made.folder = *folder = g_strdup(where);
  *stage = made;
  *json = read;
  return TRUE;
}

gboolean pipeline_search_stage_end(const PipelineSearchStage *stage, json_t *outcome, const GError *failure,
                                   GError **error)
{
  g_autofree gchar *path = pipeline_search_outcome_file(stage);
  json_t *json = outcome != NULL ? json_incref(outcome) : json_pack("{s:s}", "failed", failure->message);
  gboolean done = write_json(path, json, error);
  json_decref(json);
  return done;
}

/* --- processes ---------------------------------------------------------------------------------------------------- */

typedef struct {
  const Search *search;
  const PipelineSearchStage *stage;
} Launch;

/* In the process of the trial. */
static int run_trial(gpointer user_data)
{
  const Launch *launch = user_data;
  const PipelineSearchOptions *options = launch->search->options;
  g_autoptr(GError) failure = NULL;
  pipeline_onednn_use_one_thread(); /* trials are what runs side by side */
  json_t *outcome = options->trial(launch->stage, options->trial_data, &failure);
  gboolean done = pipeline_search_stage_end(launch->stage, outcome, failure, NULL);
  json_decref(outcome);
  return done ? 0 : 1;
}

/* For callers that have threads; one thread each, as there. */
static PipelineChild *start_program(const Search *search, const gchar *file, GError **error)
{
  static const gchar *const threads[] = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"};
  const gchar *argv[] = {search->options->program, "search", "trial", file, NULL};
  g_auto(GStrv) environment = g_get_environ();
  for (guint i = 0; i < G_N_ELEMENTS(threads); i++) environment = g_environ_setenv(environment, threads[i], "1", TRUE);
  return pipeline_child_spawn(argv, (const gchar *const *)environment, error);
}

/* fold -1: the rung that the trial is on. */
static gboolean launch(Search *search, Slot *slot, guint number, gint fold, GError **error)
{
  const PipelineSearchTrial *trial = g_ptr_array_index(search->state->trials, number);
  slot->trial = number;
  slot->rung = trial->rung;
  slot->fold = fold;
  const PipelineSearchStage stage = make_stage(search, slot);
  Launch what = {search, &stage};
  g_autofree gchar *file = pipeline_search_file(stage.folder, number, -1, "json");
  g_autofree gchar *outcome = pipeline_search_outcome_file(&stage);
  g_unlink(outcome);
  if (!write_stage(search, &stage, file, error)) return FALSE;
  slot->child = search->options->trial != NULL ? pipeline_child_fork(run_trial, &what, error)
                                               : start_program(search, file, error);
  return slot->child != NULL;
}

/* The event that the end of a process is: what it left, or how it ended. */
static json_t *read_outcome(const Search *search, const Slot *slot, const gchar *ended)
{
  json_error_t problem;
  const PipelineSearchStage stage = make_stage(search, slot);
  g_autofree gchar *path = pipeline_search_outcome_file(&stage);
  json_t *outcome = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
  const gchar *failed = json_string_value(json_object_get(outcome, "failed"));
  gboolean good = failed == NULL && json_is_number(json_object_get(outcome, "loss"));
  json_t *event = json_pack("{s:s, s:I, s:I}", "event", good ? "end" : "failed", "trial", (json_int_t)slot->trial,
                            "rung", (json_int_t)slot->rung);
  if (slot->fold >= 0) json_object_set_new(event, "fold", json_integer(slot->fold));
  if (good)
    json_object_update_missing(event, outcome);
  else
    json_object_set_new(event, "reason", json_string(failed != NULL ? failed : ended));
  json_decref(outcome);
  return event;
}

static void forget_checkpoint(const Search *search, const Slot *slot, gint rung)
{
  g_autofree gchar *path = pipeline_search_file(search->options->folder, slot->trial, rung, "checkpoint");
  g_unlink(path);
}

static gboolean collect(Search *search, Slot *slot, GError **error)
{
  g_autofree gchar *text = NULL;
  if (slot->child == NULL || !pipeline_child_wait(slot->child, 0, &text)) return TRUE;
  g_clear_pointer(&slot->child, pipeline_child_free);
  json_t *event = read_outcome(search, slot, text);
  gboolean done = add_event(search, event, error);
  json_decref(event);
  if (!done) return FALSE;
  const PipelineSearchTrial *trial = g_ptr_array_index(search->state->trials, slot->trial);
  if (slot->fold >= 0) return TRUE;
  if (slot->rung > 0) forget_checkpoint(search, slot, (gint)slot->rung - 1);
  if (trial->state != PIPELINE_TRIAL_WAITING) forget_checkpoint(search, slot, (gint)slot->rung);
  return TRUE;
}

static guint count_running(const Search *search)
{
  guint n = 0;
  for (guint i = 0; i < search->options->workers; i++) n += search->slots[i].child != NULL;
  return n;
}

static void wait_for_any(const Search *search)
{
  struct pollfd ends[MAX_WORKERS];
  nfds_t n = 0;
  for (guint i = 0; i < search->options->workers; i++)
    if (search->slots[i].child != NULL)
      ends[n++] = (struct pollfd){.fd = pipeline_child_get_fd(search->slots[i].child), .events = POLLIN};
  poll(ends, n, LOOK_MS);
}

static gboolean is_running(const Search *search, guint number, gint fold)
{
  for (guint i = 0; i < search->options->workers; i++)
    if (search->slots[i].child != NULL && search->slots[i].trial == number && search->slots[i].fold == fold)
      return TRUE;
  return FALSE;
}

/* --- the search --------------------------------------------------------------------------------------------------- */

static gboolean is_over(const Search *search)
{
  return search->options->seconds > 0 && elapsed(search) >= search->options->seconds;
}

/* Over the time nothing is finished but the best one. */
static guint count_finalists(const Search *search)
{
  return is_over(search) ? 1 : search->state->rule.finalists;
}

static gboolean time_is_up(const Search *search)
{
  const PipelineSearchOptions *options = search->options;
  return options->seconds > 0 &&
         elapsed(search) +
                 pipeline_search_state_remaining(search->state, search->state->rule.finalists, options->workers) >=
             options->seconds;
}

static gboolean is_finalist(const Search *search, const PipelineSearchTrial *trial, guint n)
{
  g_autoptr(GPtrArray) finalists = pipeline_search_finalists(search->state, n);
  return finalists->len == 0 || g_ptr_array_find(finalists, trial, NULL);
}

/* A trial or fold that the journal says runs and no process does: an earlier call was killed. Without time only those
 * of finalists. */
static gboolean find_lost(const Search *search, guint *number, gint *fold)
{
  gboolean late = time_is_up(search);
  for (guint i = 0; i < search->state->trials->len; i++) {
    const PipelineSearchTrial *trial = g_ptr_array_index(search->state->trials, i);
    gboolean rung = trial->state == PIPELINE_TRIAL_RUNNING && !is_running(search, i, -1);
    gint lost = -1;
    for (guint f = 0; f < search->state->rule.folds && lost < 0 && !is_over(search); f++)
      if (trial->folds[f].state == PIPELINE_FOLD_RUNNING && !is_running(search, i, (gint)f)) lost = (gint)f;
    if ((!rung && lost < 0) || (late && !is_finalist(search, trial, count_finalists(search)))) continue;
    *number = i;
    *fold = rung ? -1 : lost;
    return TRUE;
  }
  return FALSE;
}

/* Starts what is to be done in a free slot. *idle: there is nothing. */
static gboolean fill_slot(Search *search, Slot *slot, gboolean *idle, GError **error)
{
  const PipelineSearchOptions *options = search->options;
  PipelineSearchState *state = search->state;
  guint number;
  gint fold;
  *idle = FALSE;
  if (find_lost(search, &number, &fold)) return launch(search, slot, number, fold, error);
  gboolean may_propose = options->trials == 0 || state->trials->len < options->trials;
  json_t *event = time_is_up(search) ? NULL : pipeline_search_state_next(state, may_propose);
  if (event == NULL) event = pipeline_search_state_finish(state, count_finalists(search));
  *idle = event == NULL;
  if (event == NULL) return TRUE;
  const json_t *of_fold = json_object_get(event, "fold");
  number = (guint)json_integer_value(json_object_get(event, "trial"));
  fold = of_fold != NULL ? (gint)json_integer_value(of_fold) : -1;
  gboolean done = add_event(search, event, error) && launch(search, slot, number, fold, error);
  json_decref(event);
  return done;
}

/* Ends what runs when the seconds are spent, but the best trial. In the journal it goes on running: a call with a
 * larger budget begins that rung or fold again. */
static void end_late(Search *search)
{
  if (!is_over(search)) return;
  for (guint i = 0; i < search->options->workers; i++) {
    Slot *slot = &search->slots[i];
    if (slot->child == NULL || slot->fold >= 0) continue;
    if (!is_finalist(search, g_ptr_array_index(search->state->trials, slot->trial), 1))
      g_clear_pointer(&slot->child, pipeline_child_free);
  }
}

static gboolean step(Search *search, gboolean *over, GError **error)
{
  const PipelineSearchOptions *options = search->options;
  gboolean idle = FALSE;
  for (guint i = 0; i < options->workers; i++)
    if (!collect(search, &search->slots[i], error)) return FALSE;
  if (options->stop != NULL && options->stop(options->user_data)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED, "the search was stopped after %u trials",
                search->state->trials->len);
    return FALSE;
  }
  end_late(search);
  for (guint i = 0; i < options->workers && !idle; i++)
    if (search->slots[i].child == NULL && !fill_slot(search, &search->slots[i], &idle, error)) return FALSE;
  *over = idle && count_running(search) == 0;
  if (!*over) wait_for_any(search);
  return TRUE;
}

static gboolean conclude(const Search *search, GError **error)
{
  if (pipeline_search_state_best(search->state) != NULL) return TRUE;
  const gchar *reason = NULL;
  for (guint i = 0; i < search->state->trials->len; i++) {
    const PipelineSearchTrial *trial = g_ptr_array_index(search->state->trials, i);
    if (trial->reason != NULL) reason = trial->reason;
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "none of %u trials ended a rung: %s",
              search->state->trials->len, reason != NULL ? reason : "the budget is too small for one");
  return FALSE;
}

gboolean pipeline_search_run(const PipelineSearchOptions *options, PipelineSearchState *state, GError **error)
{
  if (options->workers < 1 || options->workers > MAX_WORKERS || (options->trials == 0 && options->seconds == 0)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "a search has 1 to %u workers and a budget of trials or "
                "seconds",
                MAX_WORKERS);
    return FALSE;
  }
  g_autofree gchar *path = g_build_filename(options->folder, "journal.jsonl", NULL);
  if (g_mkdir_with_parents(options->folder, 0755) != 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s: the folder cannot be made", options->folder);
    return FALSE;
  }
  g_autoptr(PipelineSearchJournal) journal =
      pipeline_search_journal_open(path, options->header, options->must_be_new, state, error);
  if (journal == NULL) return FALSE;
  Search search = {options, state, journal, g_new0(Slot, options->workers), g_get_monotonic_time(), state->elapsed};
  gboolean over = FALSE, good = TRUE;
  while (good && !over) good = step(&search, &over, error);
  for (guint i = 0; i < options->workers; i++) pipeline_child_free(search.slots[i].child);
  g_free(search.slots);
  return good && conclude(&search, error);
}
