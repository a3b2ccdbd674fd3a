#include "pipeline/search_board.h"

#include <math.h>

#include "pipeline/search_final.h"

static json_t *real_or_null(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

/* What the folds said, where all of them have ended; else null. */
static void describe_folds(const PipelineSearchState *state, const PipelineSearchTrial *trial, json_t *entry)
{
  double mean = NAN, error = NAN;
  pipeline_search_folded(state, trial, &mean, &error);
  json_object_set_new(entry, "fold_loss", real_or_null(mean));
  json_object_set_new(entry, "fold_error", real_or_null(error));
}

static json_t *describe(const PipelineSearchState *state, const PipelineSearchTrial *trial, guint rank,
                        guint64 n_validation)
{
  static const gchar *const kept[] = {"best_epoch", "bytes", "latency_us", "latency_rows", "auc"};
  const PipelineSearchFamily *family = trial->part->family;
  double accuracy = trial->metric; /* -rmse is never above 0 */
  gboolean has_error = accuracy >= 0 && accuracy <= 1 && n_validation > 0;
  json_t *entry =
      json_pack("{s:I, s:I, s:s, s:o, s:s, s:f}", "rank", (json_int_t)rank, "trial", (json_int_t)trial->number,
                "family", family->name, "parameters", pipeline_search_values_format(family, trial->values), "state",
                trial->state == PIPELINE_TRIAL_FINISHED ? "finished" : "stopped", "loss", trial->loss);
  json_object_set_new(entry, "metric", real_or_null(accuracy));
  json_object_set_new(entry, "standard_error",
                      has_error ? json_real(sqrt(accuracy * (1 - accuracy) / (double)n_validation)) : json_null());
  json_object_set_new(entry, "unit", json_string(family->unit));
  json_object_set_new(entry, "epochs", json_integer((json_int_t)trial->epochs));
  json_object_set_new(entry, "seconds", json_real(trial->seconds));
  describe_folds(state, trial, entry);
  for (guint i = 0; i < G_N_ELEMENTS(kept); i++) {
    json_t *member = json_object_get(trial->outcome, kept[i]);
    json_object_set_new(entry, kept[i], member != NULL ? json_incref(member) : json_null());
  }
  return entry;
}

/* The entry's costs: loss, latency, bytes; FALSE: it has no model. */
static gboolean read_costs(const json_t *entry, double *costs)
{
  static const gchar *const names[] = {"loss", "latency_us", "bytes"};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    const json_t *member = json_object_get(entry, names[i]);
    if (!json_is_number(member)) return FALSE;
    costs[i] = json_number_value(member);
  }
  return TRUE;
}

static gboolean beats(const double *a, const double *b)
{
  gboolean better = FALSE;
  for (guint i = 0; i < 3; i++) {
    if (a[i] > b[i]) return FALSE;
    better = better || a[i] < b[i];
  }
  return better;
}

static void mark_front(json_t *board)
{
  for (gsize i = 0; i < json_array_size(board); i++) {
    double own[3], other[3];
    json_t *entry = json_array_get(board, i);
    gboolean front = read_costs(entry, own);
    for (gsize j = 0; front && j < json_array_size(board); j++)
      front = !read_costs(json_array_get(board, j), other) || !beats(other, own);
    json_object_set_new(entry, "pareto", json_boolean(front));
  }
}

json_t *pipeline_search_board(const PipelineSearchState *state, guint64 n_validation)
{
  json_t *board = json_array();
  g_autoptr(GPtrArray) list = pipeline_search_ranking(state);
  for (guint i = 0; i < list->len; i++)
    json_array_append_new(board, describe(state, g_ptr_array_index(list, i), i + 1, n_validation));
  mark_front(board);
  return board;
}

json_t *pipeline_search_describe_members(const GPtrArray *members)
{
  json_t *numbers = json_array();
  for (guint i = 0; i < members->len; i++) {
    const PipelineSearchTrial *trial = g_ptr_array_index(members, i);
    json_array_append_new(numbers, json_integer((json_int_t)trial->number));
  }
  return numbers;
}

json_t *pipeline_search_failures(const PipelineSearchState *state)
{
  json_t *list = json_array();
  for (guint i = 0; i < state->trials->len; i++) {
    const PipelineSearchTrial *trial = g_ptr_array_index(state->trials, i);
    if (trial->state != PIPELINE_TRIAL_FAILED && trial->reason == NULL) continue;
    json_t *entry =
        json_pack("{s:I, s:s, s:o, s:s}", "trial", (json_int_t)trial->number, "family", trial->part->family->name,
                  "parameters", pipeline_search_values_format(trial->part->family, trial->values), "reason",
                  trial->reason != NULL ? trial->reason : "unknown");
    json_array_append_new(list, entry);
  }
  return list;
}
