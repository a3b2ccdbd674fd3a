/* Transformations: every row of the table against its formula, on what the fitted graph makes of numbers, missing and
 * infinite ones, and of seen, unseen and missing texts; plans; what training is given. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/executor.h"
#include "pipeline/model.h"
#include "pipeline/network_build.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_random.h"
#include "pipeline/transform.h"

enum { ROWS = 600, TRAINING = 500 };

typedef struct {
  DriftTable *table;
  DriftSchema *schema;
  guint64 rows[TRAINING];
  float targets[ROWS];
} World;

static void add_text(DriftColumn *column, const gchar *text)
{
  if (text)
    drift_column_append_text(column, text, -1);
  else
    drift_column_append_missing(column);
}

/* x, z: numbers, some missing, infinite ones behind the training rows; t: seconds; c, d: texts, unseen ones behind. */
static World make_world(guint n_classes)
{
  static const gchar *const cities[] = {"oslo", "rome", "bonn", "a b", "Ωμ", NULL}, *const sizes[] = {"S", "M", "L"};
  World world = {.table = drift_table_new(),
                 .schema = drift_schema_new(n_classes > 2   ? DRIFT_TASK_MULTICLASS
                                            : n_classes > 0 ? DRIFT_TASK_BINARY
                                                            : DRIFT_TASK_REGRESSION,
                                            "y")};
  PipelineRandom random;
  pipeline_random_seed(&random, 3);
  DriftColumn *x = drift_table_add_column(world.table, "x", DRIFT_NUMERIC);
  DriftColumn *z = drift_table_add_column(world.table, "z", DRIFT_NUMERIC);
  DriftColumn *t = drift_table_add_column(world.table, "t", DRIFT_NUMERIC);
  DriftColumn *c = drift_table_add_column(world.table, "c", DRIFT_CATEGORICAL);
  DriftColumn *d = drift_table_add_column(world.table, "d", DRIFT_CATEGORICAL);
  DriftColumn *k = drift_table_add_column(world.table, "k", DRIFT_NUMERIC);
  for (guint i = 0; i < ROWS; i++) {
    double u = pipeline_random_uniform(&random), v = pipeline_random_uniform(&random);
    double number = i % 3 == 0 ? -2 * u : exp(4 * u), seconds = floor((v - .2) * 2e9);
    guint64 city = MIN(pipeline_random_below(&random, 6), pipeline_random_below(&random, 6));
    if (i >= TRAINING && i % 9 == 0) number = INFINITY;
    if (i >= TRAINING && i % 9 == 1) number = -INFINITY;
    drift_column_append_number(x, i % 7 == 2 ? NAN : number);
    drift_column_append_number(z, i % 11 == 2 ? NAN : u - v);
    drift_column_append_number(t, i % 13 == 2 ? NAN : seconds);
    add_text(c, i >= TRAINING && i % 5 == 0 ? "paris" : i == 77 ? "once" : cities[city]);
    add_text(d, i >= TRAINING && i % 6 == 0 ? "XXL" : sizes[pipeline_random_below(&random, 3)]);
    drift_column_append_number(k, 5);
    world.targets[i] = n_classes == 0 ? (float)(u + (double)city) : (float)((city + (u < .3)) % n_classes);
    if (i < TRAINING) world.rows[i] = i;
  }
  world.table->n_rows = ROWS;
  for (guint i = 0; i < n_classes; i++) {
    g_autofree gchar *name = g_strdup_printf("class%u", i);
    drift_schema_add_class(world.schema, name);
  }
  world.schema->positive_class = 1;
  for (guint i = 0; i < world.table->columns->len; i++) {
    const DriftColumn *column = g_ptr_array_index(world.table->columns, i);
    drift_schema_add_feature(world.schema, column->name, column->kind, FALSE, TRUE);
  }
  return world;
}

static void world_clear(World *world)
{
  drift_table_free(world->table);
  drift_schema_free(world->schema);
}

static PipelinePrepared *fit(const World *world, const gchar *text)
{
  GError *error = NULL;
  g_autofree gchar *whole = g_strdup_printf("x=drop,z=drop,t=drop,c=drop,d=drop,k=drop,%s", text);
  g_autoptr(PipelinePlan) plan = pipeline_plan_parse(whole, &error);
  ck_assert_msg(plan != NULL, "%s", error ? error->message : "");
  ck_assert_msg(pipeline_plan_complete(plan, world->schema, PIPELINE_PLAN_STANDARD, &error), "%s",
                error ? error->message : "");
  const PipelinePrepareData data = {.table = world->table,
                                    .schema = world->schema,
                                    .rows = world->rows,
                                    .n_rows = TRAINING,
                                    .targets = world->targets,
                                    .seed = 8};
  PipelinePrepared *prepared = pipeline_plan_fit(plan, &data, &error);
  ck_assert_msg(prepared != NULL, "%s", error ? error->message : "");
  return prepared;
}

static void fill(PipelineTensor *tensor, const OnnxValue *value, const DriftTable *table)
{
  const DriftColumn *column = drift_table_get_column(table, value->name);
  ck_assert_ptr_nonnull(column);
  ck_assert(pipeline_tensor_set_shape(tensor, value->type, 2, (const gint64[]){ROWS, 1}, NULL));
  ck_assert(pipeline_tensor_allocate(tensor, NULL));
  for (guint i = 0; i < ROWS; i++) {
    DriftValue cell = drift_column_get_value(column, i);
    if (value->type == ONNX_TYPE_STRING)
      ((PipelineText *)tensor->data)[i] =
          cell.kind == DRIFT_VALUE_TEXT ? (PipelineText){cell.text, cell.length} : (PipelineText){"", 0};
    else if (value->type == ONNX_TYPE_INT64)
      ((gint64 *)tensor->data)[i] = cell.kind == DRIFT_VALUE_NUMBER ? (gint64)cell.number : G_MININT64;
    else
      pipeline_element_put_double(tensor, i, g_array_index(column->numbers, double, i));
  }
}

/* What the whole graph makes of every row; new [ROWS, names]. */
static float *run(const World *world, const PipelinePrepared *prepared)
{
  GError *error = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_new("test");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_set_opset(graph, "ai.onnx.ml", 3);
  pipeline_prepared_emit(prepared, graph);
  onnx_graph_add_output(graph, PIPELINE_PREPARED_FEATURES, ONNX_TYPE_FLOAT, "N,?");
  ck_assert_msg(onnx_graph_check(graph, &error), "%s", error ? error->message : "");
  onnx_graph_simplify(graph);
  g_autoptr(PipelineExecutor) executor = pipeline_executor_new(graph, &pipeline_backend_reference, &error);
  ck_assert_msg(executor != NULL, "%s", error ? error->message : "");
  for (guint i = 0; i < graph->inputs->len; i++)
    fill(pipeline_executor_get_input(executor, i), graph->inputs->pdata[i], world->table);
  ck_assert_msg(pipeline_executor_run(executor, FALSE, &error), "%s", error ? error->message : "");
  const PipelineTensor *output = pipeline_executor_get_output(executor, 0);
  ck_assert_uint_eq(output->n, (gsize)ROWS * prepared->names->len);
  return g_memdup2(output->data, output->n * sizeof(float));
}

/* --- formulas ----------------------------------------------------------------------------------------------------- */

/* Sorted finite training values of a numeric column. */
static gint compare(gconstpointer a, gconstpointer b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double number_at(const World *world, const gchar *name, guint row)
{
  return (double)(float)g_array_index(drift_table_get_column(world->table, name)->numbers, double, row);
}

static guint sorted(const World *world, const gchar *name, double *values)
{
  guint n = 0;
  for (guint i = 0; i < TRAINING; i++) {
    double x = number_at(world, name, i);
    if (isfinite(x)) values[n++] = x;
  }
  qsort(values, n, sizeof *values, compare);
  return n;
}

static double quantile(const double *values, guint n, double q)
{
  double at = q * (n - 1);
  guint low = (guint)at;
  return low + 1 < n ? values[low] + (at - low) * (values[low + 1] - values[low]) : values[n - 1];
}

typedef struct {
  double sorted[ROWS], mean, sd;
  guint n;
} Numbers;

static Numbers describe(const World *world, const gchar *name)
{
  Numbers numbers = {.n = sorted(world, name, numbers.sorted)};
  for (guint i = 0; i < numbers.n; i++) numbers.mean += numbers.sorted[i] / numbers.n;
  for (guint i = 0; i < numbers.n; i++) numbers.sd += pow(numbers.sorted[i] - numbers.mean, 2) / numbers.n;
  numbers.sd = sqrt(numbers.sd);
  return numbers;
}

static double filled(double x, double value)
{
  return isnan(x) ? value : x;
}

/* The value of column k that row `row` must have. */
typedef double (*Formula)(const World *world, const PipelinePrepared *prepared, guint row, guint k);

#define X number_at(world, "x", row)
#define FORMULA(name)                                                                                                  \
  static double name(const World *world, const PipelinePrepared *prepared, guint row, guint k)                         \
  {                                                                                                                    \
    (void)prepared, (void)k;                                                                                           \
    const Numbers f = describe(world, "x");                                                                            \
    double mean_x = filled(X, f.mean), low = f.sorted[0], high = f.sorted[f.n - 1];                                    \
    (void)mean_x, (void)low, (void)high;
#define END }

FORMULA(of_mean) return mean_x;
END FORMULA(of_median) return filled(X, quantile(f.sorted, f.n, .5));
END FORMULA(of_constant) return filled(X, -3.5);
END FORMULA(of_keep) return X;
END FORMULA(of_missing) return isnan(X);
END FORMULA(of_log) return copysign(log1p(fabs(mean_x)), mean_x);
END

    /* Imputed first: the mean is among the values then. */
    static double
    of_robust(const World *world, const PipelinePrepared *prepared, guint row, guint k)
{
  (void)prepared, (void)k;
  Numbers f = describe(world, "x");
  for (guint i = 0; i < TRAINING; i++)
    if (isnan(number_at(world, "x", i))) f.sorted[f.n++] = (double)(float)f.mean;
  qsort(f.sorted, f.n, sizeof f.sorted[0], compare);
  return (filled(X, f.mean) - quantile(f.sorted, f.n, .5)) /
         (quantile(f.sorted, f.n, .75) - quantile(f.sorted, f.n, .25));
}

static const PipelineTransformState *last_state(const PipelinePrepared *prepared)
{
  const PipelineFittedChain *chain = g_ptr_array_index(prepared->chains, 0);
  return g_ptr_array_index(chain->states, chain->states->len - 1);
}

FORMULA(of_yeo_johnson)
double lambda = pipeline_state_get(last_state(prepared), 0), range = high - low;
double x = fmin(fmax(mean_x, low - range), high + range);
return x >= 0 ? (pow(x + 1, lambda) - 1) / lambda : -(pow(1 - x, 2 - lambda) - 1) / (2 - lambda);
END

    FORMULA(of_quantile) const PipelineTransformState *state = last_state(prepared);
guint n = (guint)pipeline_state_get(state, 0);
const double *places = &g_array_index(state->numbers, double, 1), *heights = places + n;
if (mean_x <= places[0]) return heights[0];
for (guint i = 1; i < n; i++)
  if (mean_x <= places[i])
    return heights[i - 1] + (mean_x - places[i - 1]) / (places[i] - places[i - 1]) * (heights[i] - heights[i - 1]);
return heights[n - 1];
END

    FORMULA(of_bins) const GArray *edges = last_state(prepared)->numbers;
ck_assert_uint_eq(edges->len, 3);
for (guint i = 0; i < edges->len; i++)
  ck_assert_double_eq_tol(g_array_index(edges, double, i), quantile(f.sorted, f.n, (i + 1) / 4.), 1e-5);
guint bin = 0;
while (bin < edges->len && X >= g_array_index(edges, double, bin)) bin++;
return !isnan(X) && bin == k;
END

    static double
    of_calendar(const World *world, const PipelinePrepared *prepared, guint row, guint k)
{
  (void)prepared;
  double t = g_array_index(drift_table_get_column(world->table, "t")->numbers, double, row);
  if (isnan(t)) return 0;
  g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc((gint64)t);
  double day = 2 * G_PI *
               (g_date_time_get_hour(time) * 3600 + g_date_time_get_minute(time) * 60 + g_date_time_get_second(time)) /
               86400;
  double year = 2 * G_PI * fmod(fmod(t, 31556952) + 31556952, 31556952) / 31556952;
  const double waves[] = {sin(day), cos(day), sin(year), cos(year)};
  return k < 4 ? waves[k] : (guint)g_date_time_get_day_of_week(time) == k - 3;
}

static const gchar *text_at(const World *world, const gchar *name, guint row)
{
  DriftValue value = drift_column_get_value(drift_table_get_column(world->table, name), row);
  return value.kind == DRIFT_VALUE_TEXT ? value.text : "";
}

static guint count_text(const World *world, const gchar *text)
{
  guint n = 0;
  for (guint i = 0; i < TRAINING; i++) n += strcmp(text_at(world, "c", i), text) == 0;
  return n;
}

static double of_one_hot(const World *world, const PipelinePrepared *prepared, guint row, guint k)
{
  const gchar *name = g_ptr_array_index(prepared->names, k);
  ck_assert(g_str_has_prefix(name, "c="));
  return strcmp(name + 2, text_at(world, "c", row)) == 0;
}

static double of_unseen(const World *world, const PipelinePrepared *prepared, guint row, guint k)
{
  const gchar *name = (gchar *)g_ptr_array_index(prepared->names, k) + 2, *text = text_at(world, "c", row);
  gboolean rare = count_text(world, text) < 15;
  return strcmp(name, rare ? "(unseen)" : text) == 0;
}

static double of_frequency(const World *world, const PipelinePrepared *prepared, guint row, guint k)
{
  (void)prepared, (void)k;
  return (double)count_text(world, text_at(world, "c", row)) / TRAINING;
}

static double of_target(const World *world, const PipelinePrepared *prepared, guint row, guint k)
{
  const guint n_classes = world->schema->classes->len;
  double sum = 0, all = 0, n = 0;
  (void)prepared;
  for (guint i = 0; i < TRAINING; i++) {
    double y = n_classes == 0  ? (double)world->targets[i]
               : n_classes > 2 ? (guint)world->targets[i] == k
                               : world->targets[i] == 1;
    gboolean same = strcmp(text_at(world, "c", i), text_at(world, "c", row)) == 0;
    all += y / TRAINING, sum += same ? y : 0, n += same;
  }
  return (sum + 10 * all) / (n + 10);
}

static double of_product(const World *world, const PipelinePrepared *prepared, guint row, guint k)
{
  (void)prepared, (void)k;
  return filled(X * number_at(world, "z", row), 0.25);
}

static double of_cross(const World *world, const PipelinePrepared *prepared, guint row, guint k)
{
  g_autofree gchar *pair = g_strdup_printf("c*d=%s × %s", text_at(world, "c", row), text_at(world, "d", row));
  return strcmp(pair, g_ptr_array_index(prepared->names, k)) == 0;
}

static const struct {
  const gchar *row, *plan;
  guint width; /* 0: any */
  Formula formula;
} cases[] = {
    {"keep", "x=keep", 1, of_keep},
    {"mean", "x=mean", 1, of_mean},
    {"median", "x=median", 1, of_median},
    {"constant", "x=constant:-3.5", 1, of_constant},
    {"missing", "x=missing", 1, of_missing},
    {"winsorise", "x=winsorise:0.05", 1, NULL},
    {"standard", "z=drop,x=standard", 1, NULL},
    {"robust", "x=robust", 1, of_robust},
    {"log", "x=log", 1, of_log},
    {"yeo-johnson", "x=yeo-johnson", 1, of_yeo_johnson},
    {"quantile", "x=quantile:9", 1, of_quantile},
    {"bins", "x=bins:4", 4, of_bins},
    {"calendar", "t=calendar", 11, of_calendar},
    {"unseen", "c=unseen:15+one-hot", 0, of_unseen},
    {"one-hot", "c=one-hot", 7, of_one_hot},
    {"frequency", "c=frequency", 1, of_frequency},
    {"target", "c=target:10", 1, of_target},
    {"product", "x*z=constant:0.25", 1, of_product},
    {"cross", "c*d=one-hot", 0, of_cross},
};

/* Steps whose training values are those behind "mean": their formulas on those. */
static double of_filled(const World *world, guint row, const gchar *name)
{
  Numbers f = describe(world, "x"), g = {.n = 0};
  for (guint i = 0; i < TRAINING; i++) g.sorted[g.n++] = (double)(float)filled(number_at(world, "x", i), f.mean);
  qsort(g.sorted, g.n, sizeof g.sorted[0], compare);
  for (guint i = 0; i < g.n; i++) g.mean += g.sorted[i] / g.n;
  for (guint i = 0; i < g.n; i++) g.sd += pow(g.sorted[i] - g.mean, 2) / g.n;
  double x = filled(X, f.mean);
  return strcmp(name, "standard") == 0 ? (x - g.mean) / sqrt(g.sd)
                                       : fmin(fmax(x, quantile(g.sorted, g.n, .05)), quantile(g.sorted, g.n, .95));
}

static void check_value(double is, double wanted, const gchar *plan, guint row, guint k)
{
  gboolean same = isnan(wanted)      ? isnan(is)
                  : isfinite(wanted) ? fabs(is - wanted) <= 2e-5 * fmax(1, fabs(wanted))
                                     : is == wanted;
  ck_assert_msg(same, "%s, row %u, column %u: %.9g instead of %.9g", plan, row, k, is, wanted);
}

static void check_case(const World *world, guint i)
{
  g_autoptr(PipelinePrepared) prepared = fit(world, cases[i].plan);
  g_autofree float *made = run(world, prepared);
  guint width = prepared->names->len;
  gboolean several = world->schema->classes->len > 2 && strcmp(cases[i].row, "target") == 0;
  if (cases[i].width > 0) ck_assert_uint_eq(width, several ? world->schema->classes->len : cases[i].width);
  for (guint row = 0; row < ROWS; row++)
    for (guint k = 0; k < width; k++) {
      double wanted =
          cases[i].formula ? cases[i].formula(world, prepared, row, k) : of_filled(world, row, cases[i].row);
      check_value((double)made[row * width + k], wanted, cases[i].plan, row, k);
    }
}

START_TEST(every_row_computes_its_formula)
{
  World world = make_world(2);
  ck_assert_str_eq(cases[_i].row, pipeline_transformations[_i].name);
  check_case(&world, (guint)_i);
  world_clear(&world);
}
END_TEST

START_TEST(targets_of_several_classes_and_of_values)
{
  World world = make_world(_i ? 3 : 0);
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++)
    if (strcmp(cases[i].row, "target") == 0) check_case(&world, i);
  world_clear(&world);
}
END_TEST

/* scipy.stats.yeojohnson of 0, 1, …, 99 squared: lambda 0.366…; of those negated 2 less that. */
START_TEST(lambda_is_the_likeliest)
{
  World world = make_world(2);
  DriftColumn *x = drift_table_get_column(world.table, "x");
  for (guint i = 0; i < ROWS; i++) g_array_index(x->numbers, double, i) = (i % 100) * (i % 100) * (_i ? -1. : 1.);
  g_autoptr(PipelinePrepared) prepared = fit(&world, "x=yeo-johnson");
  double lambda = pipeline_state_get(last_state(prepared), 0), best = -INFINITY, at_best = 0;
  for (double l = -1; l <= 3; l += .001) { /* the likelihood on a grid */
    double sum = 0, squares = 0, logs = 0;
    for (guint i = 0; i < TRAINING; i++) {
      double v = g_array_index(x->numbers, double, i);
      sum += pipeline_yeo_johnson(v, l) / TRAINING, logs += copysign(log1p(fabs(v)), v);
    }
    for (guint i = 0; i < TRAINING; i++)
      squares += pow(pipeline_yeo_johnson(g_array_index(x->numbers, double, i), l) - sum, 2) / TRAINING;
    double likelihood = -.5 * TRAINING * log(squares) + (l - 1) * logs;
    if (likelihood > best) best = likelihood, at_best = l;
  }
  ck_assert_double_eq_tol(lambda, at_best, 1.1e-3);
  world_clear(&world);
}
END_TEST

START_TEST(a_column_that_never_varies_is_harmless)
{
  static const gchar *const plans[] = {"k=standard", "k=robust", "k=yeo-johnson+standard",
                                       "k=quantile", "k=bins",   "k=winsorise+log"};
  World world = make_world(2);
  for (guint i = 0; i < G_N_ELEMENTS(plans); i++) {
    g_autoptr(PipelinePrepared) prepared = fit(&world, plans[i]);
    g_autofree float *made = run(&world, prepared);
    for (guint row = 0; row < ROWS; row++) ck_assert_msg(isfinite(made[row]) && fabsf(made[row]) < 10, "%s", plans[i]);
    ck_assert(prepared->constant[0]);
  }
  world_clear(&world);
}
END_TEST

/* Out-of-fold: a text that one row has must not tell that row's own label. */
START_TEST(training_rows_do_not_see_their_own_label)
{
  World world = make_world(2);
  g_autoptr(PipelinePrepared) prepared = fit(&world, "x=standard,c=target:0+standard,c=target:0");
  g_autofree float *made = run(&world, prepared), *own = g_memdup2(made, (gsize)ROWS * 3 * sizeof(float));
  pipeline_prepared_overwrite(prepared, world.rows, own);
  guint differ[3] = {0};
  for (guint row = 0; row < ROWS; row++)
    for (guint k = 0; k < 3; k++) differ[k] += own[row * 3 + k] != made[row * 3 + k];
  ck_assert_uint_eq(differ[0], 0);
  ck_assert_uint_gt(differ[1], TRAINING / 2);
  ck_assert_uint_gt(differ[2], TRAINING / 2);
  ck_assert_mem_eq(own + TRAINING * 3, made + TRAINING * 3, (ROWS - TRAINING) * 3 * sizeof(float));
  /* "once" is row 77's alone: the graph knows its label, its training value is the others' mean */
  ck_assert_float_eq_tol(made[77 * 3 + 2], world.targets[77], 1e-6f);
  ck_assert_float_gt(own[77 * 3 + 2], .3f);
  ck_assert_float_lt(own[77 * 3 + 2], .7f);
  world_clear(&world);
}
END_TEST

START_TEST(plans_are_read_and_written)
{
  World world = make_world(2);
  const gchar *text = "x=winsorise:0.02+log,c*d=target,x=missing,k=drop";
  g_autoptr(PipelinePlan) plan = pipeline_plan_parse(text, NULL);
  ck_assert(pipeline_plan_complete(plan, world.schema, PIPELINE_PLAN_STANDARD, NULL));
  g_autofree gchar *json = pipeline_plan_format(plan);
  g_autoptr(PipelinePlan) again = pipeline_plan_parse(json, NULL);
  ck_assert(pipeline_plan_complete(again, world.schema, PIPELINE_PLAN_STANDARD, NULL));
  g_autofree gchar *twice = pipeline_plan_format(again);
  ck_assert_str_eq(json, twice);
  static const gchar *const wanted[] = {"x=mean+winsorise:0.02+log", "c*d=target:20",   "x=missing", "k=drop",
                                        "z=mean+standard",           "t=mean+standard", "c=one-hot", "d=one-hot"};
  ck_assert_uint_eq(plan->chains->len, G_N_ELEMENTS(wanted));
  for (guint i = 0; i < G_N_ELEMENTS(wanted); i++) {
    g_autofree gchar *chain = pipeline_chain_format(plan->chains->pdata[i]);
    ck_assert_str_eq(chain, wanted[i]);
  }
  world_clear(&world);
}
END_TEST

START_TEST(plans_that_cannot_be_are_refused)
{
  static const struct {
    const gchar *plan, *says;
  } bad[] = {
      {"x", "write COLUMN=STEP"},
      {"x=sqrt", "there is no transformation \"sqrt\""},
      {"x=product", "there is no transformation"},
      {"x=standard:3", "takes no number"},
      {"x=winsorise:0.7", "from 0 to 0.49"},
      {"x=winsorise:", "from 0 to 0.49"},
      {"nobody=log", "no column of the data"},
      {"y=log", "the label"},
      {"c=log", "\"log\" takes numbers"},
      {"x=target", "\"target\" takes texts"},
      {"x=log+calendar", "takes a column of seconds"},
      {"x*c=standard", "cannot be joined"},
      {"x=bins+standard", "nothing can follow \"bins\""},
      {"c=unseen", "ends in texts"},
      {"x=drop,z=drop,t=drop,c=drop,d=drop,k=drop", "every column is dropped"},
      {"x=log+log+log+log+log+log+log+log+log", "at most 8 steps"},
      {"{\"transform\": 3}", "must be a list"},
      {"{\"transform\": [{\"columns\": [], \"steps\": []}]}", "number 0 of the plan"},
      {"{\"transform\": [{\"columns\": [\"x\"], \"steps\": [1]}]}", "step 0 is no text"},
      {"{\"transform\"", "line 1"},
  };
  World world = make_world(2);
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(PipelinePlan) plan = pipeline_plan_parse(bad[i].plan, &error);
    if (plan)
      ck_assert_msg(!pipeline_plan_complete(plan, world.schema, PIPELINE_PLAN_STANDARD, &error), "%s", bad[i].plan);
    ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID));
    ck_assert_msg(strstr(error->message, bad[i].says) != NULL, "%s: %s", bad[i].plan, error->message);
  }
  world_clear(&world);
}
END_TEST

/* A trained model carries its plan and predicts from raw rows; the same seed gives the same bytes. */
START_TEST(models_carry_their_transformations)
{
  World world = make_world(2);
  DriftColumn *y = drift_table_add_column(world.table, "y", DRIFT_CATEGORICAL);
  for (guint i = 0; i < ROWS; i++) {
    DriftColumn *x = drift_table_get_column(world.table, "x");
    add_text(y, world.targets[i] == 1 ? "class1" : "class0");
    if (isinf(g_array_index(x->numbers, double, i))) g_array_index(x->numbers, double, i) = 1e6;
  }
  g_autoptr(PipelinePlan) plan =
      pipeline_plan_parse("x=yeo-johnson+standard,c=target,t=calendar,c*d=target:5+standard", NULL);
  PipelineTrainOptions options;
  PipelineTrainResult result = {0}, again = {0};
  GError *error = NULL;
  pipeline_train_options_init(&options);
  options.plan = plan;
  options.epochs = 3;
  ck_assert_msg(pipeline_train(world.table, world.schema, &options, NULL, NULL, &result, &error), "%s",
                error ? error->message : "");
  ck_assert(pipeline_train(world.table, world.schema, &options, NULL, NULL, &again, NULL));
  ck_assert(g_bytes_equal(result.onnx, again.onnx));
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(result.onnx, NULL);
  ck_assert_ptr_nonnull(strstr(onnx_graph_get_metadata(graph, PIPELINE_PLAN_KEY), "yeo-johnson"));
  g_autoptr(PipelineModel) model = pipeline_model_load(result.onnx, world.schema, NULL, NULL);
  float outputs[ROWS * 2];
  ck_assert(pipeline_model_predict_table(model, world.table, outputs, NULL));
  for (guint i = 0; i < ROWS; i++) ck_assert_float_eq_tol(outputs[2 * i] + outputs[2 * i + 1], 1, 1e-5f);
  options.from = result.onnx; /* and can be trained on */
  options.plan = NULL;
  pipeline_train_result_clear(&again);
  ck_assert(pipeline_train(world.table, world.schema, &options, NULL, NULL, &again, NULL));
  pipeline_train_result_clear(&result);
  pipeline_train_result_clear(&again);
  world_clear(&world);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("transform");
  TCase *tests = tcase_create("transform");
  suite_add_tcase(suite, tests);
  tcase_set_timeout(tests, 60);
  tcase_add_loop_test(tests, every_row_computes_its_formula, 0, G_N_ELEMENTS(cases));
  tcase_add_loop_test(tests, targets_of_several_classes_and_of_values, 0, 2);
  tcase_add_loop_test(tests, lambda_is_the_likeliest, 0, 2);
  tcase_add_test(tests, a_column_that_never_varies_is_harmless);
  tcase_add_test(tests, training_rows_do_not_see_their_own_label);
  tcase_add_test(tests, plans_are_read_and_written);
  tcase_add_test(tests, plans_that_cannot_be_are_refused);
  tcase_add_test(tests, models_carry_their_transformations);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
