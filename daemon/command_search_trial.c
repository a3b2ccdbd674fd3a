/* `kedge search trial`: one rung of one trial in a process of its own. */
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon/command_search_internal.h"
#include "pipeline/model_spec.h"

#define FEW_ROWS 12000u /* below it a tenth of them tells trials apart badly */

extern const Command command_search_trial;

/* --- the task ----------------------------------------------------------------------------------------------------- */

void command_search_task_clear(SearchTask *task)
{
  gchar *const texts[] = {task->data, task->label, task->exclude, task->positive, task->split, task->schema};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
  *task = (SearchTask){0};
}

json_t *command_search_task_format(const SearchTask *task)
{
  return json_pack("{s:s, s:s, s:s*, s:s*, s:s, s:f, s:f, s:I}", "data", task->data, "label", task->label, "exclude",
                   task->exclude, "positive", task->positive, "split", task->split, "validation", task->validation,
                   "test", task->test, "seed", (json_int_t)task->seed);
}

gboolean command_search_task_parse(const json_t *json, SearchTask *task, GError **error)
{
  const char *data, *label, *exclude = NULL, *positive = NULL, *split, *schema = NULL;
  json_int_t seed = 0;
  SearchTask made = {0};
  if (json_unpack((json_t *)json, "{s:s, s:s, s?s, s?s, s?s, s:s, s:F, s:F, s:I}", "data", &data, "label", &label,
                  "exclude", &exclude, "positive", &positive, "schema", &schema, "split", &split, "validation",
                  &made.validation, "test", &made.test, "seed", &seed) != 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "the file of the trial does not say which rows it has");
    return FALSE;
  }
  made.data = g_strdup(data), made.label = g_strdup(label), made.exclude = g_strdup(exclude);
  made.positive = g_strdup(positive), made.split = g_strdup(split), made.schema = g_strdup(schema), made.seed = seed;
  *task = made;
  return TRUE;
}

gboolean command_search_world_read(SearchTask *task, SearchWorld *world, GError **error)
{
  g_autoptr(DriftTable) table = command_read_table(task->data, error);
  if (table == NULL) return FALSE;
  if (task->validation == 0) task->validation = table->n_rows < FEW_ROWS ? .2 : .1;
  world->schema = task->schema != NULL
                      ? pipeline_model_spec_parse(task->schema, error)
                      : command_infer_schema(table, task->label, NULL, task->exclude, task->positive, error);
  return world->schema != NULL && pipeline_split_parse(task->split, &world->split, error) &&
         pipeline_search_rows_init(table, world->schema, &world->split, task->validation, task->test,
                                   (guint64)task->seed, &world->rows, error);
}

void command_search_world_clear(SearchWorld *world)
{
  pipeline_search_rows_clear(&world->rows);
  pipeline_split_clear(&world->split);
  g_clear_pointer(&world->schema, drift_schema_free);
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static json_t *run_stage(const PipelineSearchStage *stage, const json_t *json, GError **error)
{
  SearchTask task = {0};
  SearchWorld world = {0};
  json_t *outcome = NULL;
  if (command_search_task_parse(json_object_get(json, "task"), &task, error) &&
      command_search_world_read(&task, &world, error))
    outcome = pipeline_search_trial_run(&world.rows, stage, NULL, NULL, error);
  command_search_world_clear(&world);
  command_search_task_clear(&task);
  return outcome;
}

static gboolean run_file(const gchar *path, GError **error)
{
  PipelineSearchStage stage;
  g_autofree gchar *folder = NULL;
  json_t *json = NULL;
  g_autoptr(GError) failure = NULL;
  if (!pipeline_search_stage_read(path, &stage, &folder, &json, error)) return FALSE;
  json_t *outcome = run_stage(&stage, json, &failure);
  gboolean done = pipeline_search_stage_end(&stage, outcome, failure, error);
  json_decref(outcome);
  json_decref(json);
  return done;
}

static int run_search_trial(int argc, char **argv)
{
  CommandCommon common;
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* a search that was killed leaves nothing running */
  if (!command_parse(&command_search_trial, &argc, &argv, NULL, &common)) return COMMAND_USAGE;
  if (argc != 2) return command_usage(&common, "one FILE is needed");
  g_autoptr(GError) error = NULL;
  int status = run_file(argv[1], &error) ? COMMAND_DONE : command_fail(&common, error);
  command_common_clear(&common);
  return status;
}

const Command command_search_trial = {
    .name = "search trial",
    .arguments = "FILE",
    .summary = "one rung of one trial of a search (kedge search starts these)",
    .help = "FILE is trial-N.json of a search's folder: rows, parameters, rung. Trains to the end of the rung and "
            "leaves\n"
            "its outcome beside it, trial-N.rung-R.json; of use by hand to see why a trial failed. It ends with the\n"
            "process that started it.",
    .run = run_search_trial,
};
