/* "attack": how robust a version is on the held-out rows; the report becomes its tag "robustness". */
#include <stddef.h>

#include "pipeline/job_training.h"
#include "pipeline/robustness_report.h"
#include "registry/model.h"

typedef struct {
  const gchar *attacks, *norm, *unit, *range, *loss, *immutable, *integer, *one_hot, *mutable_categories;
  double epsilon;
  guint steps, restarts, queries, rows, category_budget;
} Options;

static const gchar *const losses[] = {"cross-entropy", "margin", NULL};

#define AT(member) offsetof(Options, member)
static const PipelineJobField fields[] = {
    {"attacks", PIPELINE_FIELD_TEXT, AT(attacks), 0, 0, NULL, "fgsm, pgd, square, hopskipjump: A,B"},
    {"epsilon", PIPELINE_FIELD_REAL, AT(epsilon), 1e-12, 1e6, NULL, "radius of the ball"},
    {"norm", PIPELINE_FIELD_CHOICE, AT(norm), 0, 0, pipeline_job_field_norms, "of the ball"},
    {"unit", PIPELINE_FIELD_CHOICE, AT(unit), 0, 0, pipeline_job_field_units, "of the radius"},
    {"range", PIPELINE_FIELD_CHOICE, AT(range), 0, 0, pipeline_job_field_ranges, "of moved numbers"},
    {"loss", PIPELINE_FIELD_CHOICE, AT(loss), 0, 0, losses, "that the attack raises"},
    {"steps", PIPELINE_FIELD_COUNT, AT(steps), 1, 100000, NULL, "of pgd"},
    {"restarts", PIPELINE_FIELD_COUNT, AT(restarts), 1, 1000, NULL, "of pgd"},
    {"queries", PIPELINE_FIELD_COUNT, AT(queries), 1, 10000000, NULL, "of square and hopskipjump, a row"},
    {"rows", PIPELINE_FIELD_COUNT, AT(rows), 1, 1e9, NULL, "held-out rows that are attacked, the last"},
    {"immutable", PIPELINE_FIELD_TEXT, AT(immutable), 0, 0, NULL, "features that cannot change: A,B"},
    {"integer", PIPELINE_FIELD_TEXT, AT(integer), 0, 0, NULL, "features of whole numbers: A,B"},
    {"one_hot", PIPELINE_FIELD_TEXT, AT(one_hot), 0, 0, NULL, "groups of one-hot columns: a+b+c,d+e"},
    {"mutable_categories", PIPELINE_FIELD_TEXT, AT(mutable_categories), 0, 0, NULL,
     "texts, and one-hot groups a+b+c, that may change: A,B"},
    {"category_budget", PIPELINE_FIELD_COUNT, AT(category_budget), 1, 1000, NULL, "of them, a row"},
    {.name = NULL}};

static gboolean read_options(const json_t *spec, Options *options, GError **error)
{
  PipelineRobustnessOptions usual;
  pipeline_robustness_options_init(&usual);
  *options = (Options){.attacks = "pgd",
                       .norm = "inf",
                       .unit = "sd",
                       .range = "data",
                       .loss = "cross-entropy",
                       .immutable = "",
                       .integer = "",
                       .one_hot = "",
                       .mutable_categories = "",
                       .category_budget = usual.category_budget,
                       .steps = usual.attack.steps,
                       .restarts = usual.attack.restarts,
                       .queries = usual.attack.queries,
                       .rows = 500};
  if (!pipeline_job_fields_read(fields, spec, options, error)) return FALSE;
  if (options->epsilon > 0) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "epsilon is missing from the job's spec: the radius of the ball, above 0");
  return FALSE;
}

static void fill_options(const Options *options, gint64 seed, PipelineRobustnessOptions *robustness)
{
  pipeline_robustness_options_init(robustness);
  robustness->norm = g_str_equal(options->norm, "2") ? PIPELINE_NORM_2 : PIPELINE_NORM_INFINITY;
  robustness->absolute = g_str_equal(options->unit, "absolute");
  robustness->range = g_str_equal(options->range, "none") ? PIPELINE_RANGE_NONE : PIPELINE_RANGE_DATA;
  robustness->loss = g_str_equal(options->loss, "margin") ? PIPELINE_ATTACK_MARGIN : PIPELINE_ATTACK_CROSS_ENTROPY;
  robustness->attack.steps = options->steps;
  robustness->attack.restarts = options->restarts;
  robustness->attack.queries = options->queries;
  robustness->seed = (guint64)seed;
}

static gboolean tell(const gchar *attack, double epsilon, double fraction, gpointer user_data)
{
  PipelineTraining *training = user_data;
  pipeline_training_progress(training, "attack", .1 + .8 * fraction,
                             json_pack("{s:s, s:f}", "attack", attack, "epsilon", epsilon));
  return pipeline_job_check_cancel(training->context, NULL);
}

static gchar **split_names(const gchar *names)
{
  return *names != '\0' ? g_strsplit(names, ",", -1) : NULL;
}

static gboolean measure(PipelineTraining *training, const Options *options, const DriftTable *rows,
                        PipelineRobustnessOptions *robustness, PipelineRobustnessReport *report, GError **error)
{
  g_auto(GStrv) immutable = split_names(options->immutable), integer = split_names(options->integer),
                one_hot = split_names(options->one_hot), categories = split_names(options->mutable_categories);
  robustness->immutable = (const gchar *const *)immutable;
  robustness->integer = (const gchar *const *)integer;
  robustness->one_hot = (const gchar *const *)one_hot;
  robustness->mutable_categories = (const gchar *const *)categories;
  robustness->category_budget = options->category_budget;
  robustness->reference = training->train;
  g_array_append_val(report->epsilons, options->epsilon);
  g_autoptr(PipelineModel) model = pipeline_model_load(training->from, training->schema, NULL, error);
  return model != NULL && pipeline_robustness_report_add_types(report, options->attacks, error) &&
         pipeline_robustness_report_measure(report, model, rows, robustness, tell, training, error);
}

static gboolean learn(PipelineTraining *training, GError **error)
{
  Options options;
  PipelineRobustnessOptions robustness;
  PipelineRobustnessReport report;
  if (!read_options(training->spec, &options, error) || !pipeline_training_need_from(training, "an attack", error))
    return FALSE;
  if (training->holdout->n_rows == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "no row is held out, so that there is none to attack: a larger holdout_fraction, or more rows");
    return FALSE;
  }
  fill_options(&options, training->seed, &robustness);
  pipeline_robustness_report_init(&report, &robustness);
  g_autoptr(DriftTable) last = pipeline_training_last_rows(training->holdout, options.rows);
  gboolean done = measure(training, &options, last != NULL ? last : training->holdout, &robustness, &report, error);
  if (done) json_object_set_new(training->results, "robustness", pipeline_robustness_report_describe(&report));
  pipeline_robustness_report_clear(&report);
  return done;
}

/* No version is made; what was measured is the result. */
static gboolean judge(PipelineTraining *training, GError **error)
{
  (void)error;
  const json_t *report = json_object_get(training->results, "robustness");
  const json_t *worst = json_array_get(json_object_get(report, "worst"), 0);
  training->unchanged = TRUE;
  training->evaluation = json_pack("{s:I}", "attacked", (json_int_t)training->from_version);
  pipeline_job_log(training->context,
                   "version %" G_GINT64_FORMAT " under attack at epsilon %g: %" JSON_INTEGER_FORMAT
                   " of %" JSON_INTEGER_FORMAT " held-out rows stay right, of %" JSON_INTEGER_FORMAT " that were",
                   training->from_version, json_number_value(json_object_get(worst, "epsilon")),
                   json_integer_value(json_object_get(worst, "rows_robust")),
                   json_integer_value(json_object_get(report, "rows")),
                   json_integer_value(json_object_get(report, "rows_right")));
  return TRUE;
}

static gboolean settle(PipelineTraining *training, GError **error)
{
  const PipelineJobContext *context = training->context;
  g_autofree gchar *text = pipeline_job_dump(json_incref(json_object_get(training->evaluation, "robustness")));
  return registry_tag_set(context->store, training->model, training->from_version, "robustness", text,
                          context->job->worker, error);
}

static gboolean check(const json_t *spec, GError **error)
{
  Options options;
  PipelineRobustnessOptions robustness;
  PipelineRobustnessReport report;
  if (!read_options(spec, &options, error)) return FALSE;
  fill_options(&options, 1, &robustness);
  pipeline_robustness_report_init(&report, &robustness);
  gboolean good = pipeline_robustness_report_add_types(&report, options.attacks, error);
  pipeline_robustness_report_clear(&report);
  return good;
}

static gboolean run(PipelineJobContext *context, GError **error)
{
  const PipelineTrainingStages stages = {
      .load = pipeline_training_load, .learn = learn, .judge = judge, .settle = settle};
  return pipeline_training_run_stages(context, &stages, error);
}

const PipelineJobKind pipeline_job_kind_attack = {
    .kind = "attack",
    .summary = "measure how robust a version is",
    .fields = fields,
    .check = check,
    .run = run,
};
