#include "pipeline/search.h"

#include <glib/gstdio.h>
#include <math.h>
#include <poll.h>
#include <string.h>

#include "pipeline/search_journal.h"
#include "pipeline/worker_child.h"

#define LOOK_MS 200 /* how often a stop and the end of the budget are looked for */
#define MAX_WORKERS 256u

typedef struct {
  PipelineChild *child; /* NULL: free */
  guint trial, rung;
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

static gboolean write_stage(const Search *search, const PipelineSearchTrial *trial, const gchar *path, GError **error)
{
  const PipelineSearchRule *rule = &search->state->rule;
  json_t *json = json_pack(
      "{s:s, s:I, s:I, s:s, s:o, s:I, s:I, s:O}", "folder", search->options->folder, "trial", (json_int_t)trial->number,
      "rung", (json_int_t)trial->rung, "family", trial->part->family->name, "parameters",
      pipeline_search_values_format(trial->part->family, trial->values), "reduction", (json_int_t)rule->reduction,
      "rungs", (json_int_t)rule->n_rungs, "task", (json_t *)search->options->task);
  gboolean done = write_json(path, json, error);
  json_decref(json);
  return done;
}

gboolean pipeline_search_stage_read(const gchar *path, PipelineSearchStage *stage, gchar **folder, json_t **json,
                                    GError **error)
{
  json_error_t problem;
  const char *name = NULL, *where = NULL;
  json_int_t trial = 0, rung = 0, reduction = 0, rungs = 0;
  json_t *parameters = NULL, *task = NULL, *read = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
  PipelineSearchStage made = {0};
  pipeline_search_rule_init(&made.rule);
  gboolean good =
      read != NULL && json_unpack(read, "{s:s, s:I, s:I, s:s, s:o, s:I, s:I, s:o}", "folder", &where, "trial", &trial,
                                  "rung", &rung, "family", &name, "parameters", &parameters, "reduction", &reduction,
                                  "rungs", &rungs, "task", &task) == 0;
  good = good && trial >= 0 && trial <= G_MAXINT32 && rungs >= 1 && rungs <= PIPELINE_SEARCH_MAX_RUNGS && rung >= 0 &&
         rung < rungs && reduction >= 2 && reduction <= 10 &&
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
  made.rule.reduction = (guint)reduction, made.rule.n_rungs = (guint)rungs;
  made.folder = *folder = g_strdup(where);
  *stage = made;
  *json = read;
  return TRUE;
}

gboolean pipeline_search_stage_end(const PipelineSearchStage *stage, json_t *outcome, const GError *failure,
                                   GError **error)
{
  g_autofree gchar *path = pipeline_search_file(stage->folder, stage->number, (gint)stage->rung, "json");
  json_t *json = outcome != NULL ? json_incref(outcome) : json_pack("{s:s}", "failed", failure->message);
  gboolean done = write_json(path, json, error);
  json_decref(json);
  return done;
}

/* --- processes ---------------------------------------------------------------------------------------------------- */

/* One thread each: trials are what runs side by side. */
static gchar **trial_environment(void)
{
  static const gchar *const threads[] = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"};
  gchar **environment = g_get_environ();
  for (guint i = 0; i < G_N_ELEMENTS(threads); i++) environment = g_environ_setenv(environment, threads[i], "1", TRUE);
  return environment;
}

static gboolean launch(Search *search, Slot *slot, guint number, GError **error)
{
  const PipelineSearchTrial *trial = g_ptr_array_index(search->state->trials, number);
  const gchar *folder = search->options->folder;
  g_autofree gchar *file = pipeline_search_file(folder, number, -1, "json");
  g_autofree gchar *outcome = pipeline_search_file(folder, number, (gint)trial->rung, "json");
  const gchar *argv[] = {search->options->program, "search", "trial", file, NULL};
  g_auto(GStrv) environment = trial_environment();
  g_unlink(outcome);
  if (!write_stage(search, trial, file, error)) return FALSE;
  slot->trial = number;
  slot->rung = trial->rung;
  slot->child = pipeline_child_spawn(argv, (const gchar *const *)environment, error);
  return slot->child != NULL;
}

/* The event that the end of a process is: what it left, or how it ended. */
static json_t *read_outcome(const Search *search, const Slot *slot, const gchar *ended)
{
  json_error_t problem;
  g_autofree gchar *path = pipeline_search_file(search->options->folder, slot->trial, (gint)slot->rung, "json");
  json_t *outcome = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
  const gchar *failed = json_string_value(json_object_get(outcome, "failed"));
  gboolean good = failed == NULL && json_is_number(json_object_get(outcome, "loss"));
  json_t *event = json_pack("{s:s, s:I, s:I}", "event", good ? "end" : "failed", "trial", (json_int_t)slot->trial,
                            "rung", (json_int_t)slot->rung);
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

static gboolean is_running(const Search *search, guint number)
{
  for (guint i = 0; i < search->options->workers; i++)
    if (search->slots[i].child != NULL && search->slots[i].trial == number) return TRUE;
  return FALSE;
}

/* --- the search --------------------------------------------------------------------------------------------------- */

static gboolean time_is_up(const Search *search)
{
  const PipelineSearchOptions *options = search->options;
  return options->seconds > 0 && elapsed(search) + pipeline_search_state_remaining(search->state) >= options->seconds;
}

/* A trial that the journal says runs and no process does: an earlier call was killed. Without time only the best. */
static gint find_lost(const Search *search)
{
  const PipelineSearchTrial *best = pipeline_search_state_best(search->state);
  gboolean late = time_is_up(search);
  for (guint i = 0; i < search->state->trials->len; i++) {
    const PipelineSearchTrial *trial = g_ptr_array_index(search->state->trials, i);
    if (late && best != NULL && best != trial) continue;
    if (trial->state == PIPELINE_TRIAL_RUNNING && !is_running(search, i)) return (gint)i;
  }
  return -1;
}

/* Starts what is to be done in a free slot. *idle: there is nothing. */
static gboolean fill_slot(Search *search, Slot *slot, gboolean *idle, GError **error)
{
  const PipelineSearchOptions *options = search->options;
  PipelineSearchState *state = search->state;
  gint lost = find_lost(search);
  *idle = FALSE;
  if (lost >= 0) return launch(search, slot, (guint)lost, error);
  gboolean may_propose = options->trials == 0 || state->trials->len < options->trials;
  json_t *event = time_is_up(search) ? NULL : pipeline_search_state_next(state, may_propose);
  if (event == NULL && count_running(search) == 0) event = pipeline_search_state_finish(state);
  *idle = event == NULL;
  if (event == NULL) return TRUE;
  guint number = (guint)json_integer_value(json_object_get(event, "trial"));
  gboolean done = add_event(search, event, error) && launch(search, slot, number, error);
  json_decref(event);
  return done;
}

/* Ends what runs when the seconds are spent, but the best trial. In the journal it goes on running: a call with a
 * larger budget begins that rung again. */
static void end_late(Search *search)
{
  const PipelineSearchTrial *best = pipeline_search_state_best(search->state);
  if (best == NULL || search->options->seconds == 0 || elapsed(search) < search->options->seconds) return;
  for (guint i = 0; i < search->options->workers; i++) {
    Slot *slot = &search->slots[i];
    if (slot->child != NULL && slot->trial != best->number) g_clear_pointer(&slot->child, pipeline_child_free);
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
