/* "search": a new version from a search for architecture and hyper-parameters on the job's rows. The trials are
 * processes of this program (`kedge search trial`); a job that was killed goes on with the journal in its folder. */
#include <stddef.h>

#include "pipeline/csv.h"
#include "pipeline/ensemble.h"
#include "pipeline/job_training.h"
#include "pipeline/model_spec.h"
#include "pipeline/search.h"
#include "pipeline/search_board.h"
#include "pipeline/search_final.h"

typedef struct {
  guint trials, workers;
  double seconds, validation_fraction;
  guint ensemble;
  const gchar *space;
} Options;

#define AT(member) offsetof(Options, member)
static const PipelineJobField fields[] = {
    {"trials", PIPELINE_FIELD_COUNT, AT(trials), 0, 1000000, NULL, "at most; 0: as many as the seconds allow"},
    {"seconds", PIPELINE_FIELD_REAL, AT(seconds), 0, 1e7, NULL,
     "of wall time over all attempts; 0: as long as it takes"},
    {"workers", PIPELINE_FIELD_COUNT, AT(workers), 1, 256, NULL, "processes of one thread at a time"},
    {"space", PIPELINE_FIELD_TEXT, AT(space), 0, 0, NULL, "families and ranges, as of `kedge search --space`"},
    {"ensemble", PIPELINE_FIELD_COUNT, AT(ensemble), 0, PIPELINE_MAX_ENSEMBLE, NULL,
     "trials whose mean is the version; 0: all finalists of folds that are not clearly worse"},
    {"validation_fraction", PIPELINE_FIELD_REAL, AT(validation_fraction), 0, .8, NULL, "0: the usual share"},
    {.name = NULL}};

static gboolean read_options(const json_t *spec, Options *options, GError **error)
{
  *options = (Options){.workers = 1, .ensemble = 1, .space = ""};
  if (!pipeline_job_fields_read(fields, spec, options, error)) return FALSE;
  if (options->trials > 0 || options->seconds > 0) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "the job's spec gives the search no budget: trials, seconds or both");
  return FALSE;
}

/* --- the search ----------------------------------------------------------------------------------------------------
 */

static void tell(const PipelineSearchState *state, gpointer user_data)
{
  PipelineTraining *training = user_data;
  const Options *options = training->own;
  const PipelineSearchTrial *best = pipeline_search_state_best(state);
  double by_time = options->seconds > 0 ? state->elapsed / options->seconds : 0;
  double by_trials = options->trials > 0 ? (double)state->trials->len / options->trials : 0;
  json_t *members = json_pack("{s:i, s:i, s:o}", "trials", (int)state->trials->len, "failed",
                              (int)pipeline_search_state_count(state, PIPELINE_TRIAL_FAILED), "loss",
                              best != NULL ? pipeline_job_real(best->loss) : json_null());
  pipeline_training_progress(training, "search", .1 + .6 * MIN(MAX(by_time, by_trials), 1), members);
}

static gboolean was_stopped(gpointer user_data)
{
  return !pipeline_job_check_cancel(((PipelineTraining *)user_data)->context, NULL);
}

/* What a trial is told of its rows, as daemon/command_search_trial.c reads it. */
static json_t *make_task(const PipelineTraining *training, const gchar *table, double validation)
{
  g_autofree gchar *schema = pipeline_model_spec_format(training->schema);
  return json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:I}", "data", table, "label", training->schema->label, "schema",
                   schema, "split", "time", "validation", validation, "test", 0., "seed", (json_int_t)training->seed);
}

static json_t *make_header(const PipelineTraining *training, const PipelineSearchState *state)
{
  return json_pack("{s:s, s:I, s:o, s:I, s:i, s:i, s:i, s:i}", "job", training->context->job->id, "rows",
                   (json_int_t)training->train->n_rows, "space", pipeline_search_space_describe(state->space), "seed",
                   (json_int_t)state->rule.seed, "reduction", (int)state->rule.reduction, "rungs",
                   (int)state->rule.n_rungs, "folds", (int)state->rule.folds, "finalists", (int)state->rule.finalists);
}

static gboolean run_trials(PipelineTraining *training, const gchar *folder, double validation,
                           PipelineSearchState *state, GError **error)
{
  const Options *options = training->own;
  g_autofree gchar *table = g_build_filename(folder, "rows.csv", NULL);
  g_autofree gchar *program = g_file_read_link("/proc/self/exe", error);
  if (program == NULL || !pipeline_csv_write(table, training->train, error)) return FALSE;
  json_t *task = make_task(training, table, validation), *header = make_header(training, state);
  const PipelineSearchOptions search = {.folder = folder,
                                        .program = program,
                                        .task = task,
                                        .header = header,
                                        .workers = options->workers,
                                        .trials = options->trials,
                                        .seconds = options->seconds,
                                        .stop = was_stopped,
                                        .progress = tell,
                                        .user_data = training};
  gboolean done = pipeline_search_run(&search, state, error);
  json_decref(task);
  json_decref(header);
  return done;
}

/* --- the winner ----------------------------------------------------------------------------------------------------
 */

static gboolean take_winner(PipelineTraining *training, const PipelineSearchRows *rows, const gchar *folder,
                            const PipelineSearchState *state, GError **error)
{
  g_autoptr(GPtrArray) members = pipeline_search_members(state, ((const Options *)training->own)->ensemble);
  const PipelineSearchTrial *best = g_ptr_array_index(members, 0);
  guint epochs = pipeline_search_best_epoch(best);
  training->trained.onnx = pipeline_search_model(rows, state, members, folder, TRUE, error);
  if (training->trained.onnx == NULL) return FALSE;
  training->trained.epochs = training->trained.best_epoch = epochs;
  training->trained.validation_loss = best->loss;
  training->trained.validation_metric = best->metric;
  json_t *board = pipeline_search_board(state, rows->n_validation);
  json_object_set_new(training->results, "search",
                      json_pack("{s:i, s:i, s:f, s:I, s:o, s:O}", "trials", (int)state->trials->len, "failed",
                                (int)pipeline_search_state_count(state, PIPELINE_TRIAL_FAILED), "seconds",
                                state->elapsed, "rows_validation", (json_int_t)rows->n_validation, "members",
                                pipeline_search_describe_members(members), "winner", json_array_get(board, 0)));
  json_decref(board);
  return TRUE;
}

static gboolean search(PipelineTraining *training, const gchar *folder, PipelineSearchState *state, GError **error)
{
  const Options *options = training->own;
  PipelineSplit split = {0};
  PipelineSearchRows rows = {0};
  double validation = options->validation_fraction > 0 ? options->validation_fraction
                                                       : pipeline_search_usual_validation(training->train->n_rows);
  gboolean done = pipeline_split_parse("time", &split, error) &&
                  pipeline_search_rows_init(training->train, training->schema, &split, validation, 0,
                                            (guint64)training->seed, &rows, error) &&
                  run_trials(training, folder, validation, state, error) &&
                  take_winner(training, &rows, folder, state, error);
  pipeline_search_rows_clear(&rows);
  pipeline_split_clear(&split);
  return done;
}

static gboolean learn(PipelineTraining *training, GError **error)
{
  PipelineSearchRule rule;
  Options *options = training->own;
  if (!read_options(training->spec, options, error)) return FALSE;
  pipeline_search_rule_init(&rule);
  rule.seed = (guint64)training->seed;
  pipeline_search_rule_choose_folds(&rule, training->train->n_rows, FALSE);
  g_autoptr(PipelineSearchSpace) space = pipeline_search_space_parse(options->space, error);
  g_autofree gchar *folder = space != NULL && pipeline_search_space_fit(space, 0, 0, error)
                                 ? pipeline_training_make_folder(training, "search", error)
                                 : NULL;
  if (folder == NULL) return FALSE;
  g_autoptr(PipelineSearchState) state = pipeline_search_state_new(space, &rule);
  if (!search(training, folder, state, error)) return FALSE;
  pipeline_training_remove_folder(folder);
  return TRUE;
}

static gboolean check(const json_t *spec, GError **error)
{
  Options options;
  if (!read_options(spec, &options, error)) return FALSE;
  g_autoptr(PipelineSearchSpace) space = pipeline_search_space_parse(options.space, error);
  return space != NULL && pipeline_search_space_fit(space, 0, 0, error);
}

static gboolean run(PipelineJobContext *context, GError **error)
{
  Options options;
  const PipelineTrainingStages stages = {
      .load = pipeline_training_load, .learn = learn, .judge = pipeline_training_judge, .own = &options};
  return pipeline_training_run_stages(context, &stages, error);
}

const PipelineJobKind pipeline_job_kind_search = {
    .kind = "search",
    .summary = "search for architecture and hyper-parameters of a new version",
    .fields = fields,
    .check = check,
    .run = run,
};
