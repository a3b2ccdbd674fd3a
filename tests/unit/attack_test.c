/* Attacks on models whose weak points are known, their constraints, and certificates. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/robustness.h"
#include "pipeline/smoothing.h"

#define FEATURES 4u
#define ROWS 120u

static const float weights[FEATURES] = {1.5f, -0.7f, 0.4f, 2.0f};

/* Classes "no" and "yes" by the sign of w·x. */
static GBytes *linear_onnx(void)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("linear");
  float weight[FEATURES * 2] = {0};
  for (guint f = 0; f < FEATURES; f++) weight[2 * f + 1] = weights[f];
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,4");
  onnx_graph_take_initialiser(graph, onnx_tensor_new("w", ONNX_TYPE_FLOAT, 2, (gint64[]){FEATURES, 2}, weight));
  onnx_graph_add_node(graph, "", "MatMul", "x,w", "z");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Softmax", "z", "probabilities"), "axis", 1);
  onnx_graph_add_output(graph, "probabilities", ONNX_TYPE_FLOAT, "N,2");
  return onnx_graph_to_bytes(graph, NULL);
}

/* The same decisions without gradients: 1 where w·x > 0. */
static GBytes *step_onnx(void)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("step");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_set_opset(graph, "ai.onnx.ml", 1);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,4");
  onnx_graph_take_initialiser(graph, onnx_tensor_new("w", ONNX_TYPE_FLOAT, 2, (gint64[]){FEATURES, 1}, weights));
  onnx_graph_add_node(graph, "", "MatMul", "x,w", "z");
  onnx_node_set_float(onnx_graph_add_node(graph, "ai.onnx.ml", "Binarizer", "z", "probability"), "threshold", 0);
  onnx_graph_add_output(graph, "probability", ONNX_TYPE_FLOAT, "N,1");
  return onnx_graph_to_bytes(graph, NULL);
}

static DriftSchema *new_schema(void)
{
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_class(schema, "no");
  drift_schema_add_class(schema, "yes");
  schema->positive_class = 1;
  for (guint f = 0; f < FEATURES; f++) {
    g_autofree gchar *name = g_strdup_printf("f%u", f);
    drift_schema_add_feature(schema, name, DRIFT_NUMERIC, FALSE, TRUE);
  }
  return schema;
}

/* f0, f1 real, f2 a whole number, f3 real with steps of .1; labels are what the models say. */
static DriftTable *new_table(void)
{
  DriftTable *table = drift_table_new();
  PipelineRandom random;
  pipeline_random_seed(&random, 3);
  DriftColumn *columns[FEATURES];
  for (guint f = 0; f < FEATURES; f++) {
    g_autofree gchar *name = g_strdup_printf("f%u", f);
    columns[f] = drift_table_add_column(table, name, DRIFT_NUMERIC);
  }
  DriftColumn *label = drift_table_add_column(table, "y", DRIFT_CATEGORICAL);
  for (guint row = 0; row < ROWS; row++) {
    double sum = 0;
    for (guint f = 0; f < FEATURES; f++) {
      double x = 2 * pipeline_random_uniform(&random) - 1;
      x = f == 2 ? floor(8 * x) : f == 3 ? 0.1 * floor(10 * x) : x;
      drift_column_append_number(columns[f], x);
      sum += (double)weights[f] * (double)(float)x;
    }
    drift_column_append_text(label, sum > 0 ? "yes" : "no", -1);
    table->n_rows++;
  }
  return table;
}

typedef struct {
  DriftSchema *schema;
  DriftTable *table;
  PipelineModel *linear, *step;
} World;

static World world_new(void)
{
  World world = {.schema = new_schema(), .table = new_table()};
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) linear = linear_onnx(), step = step_onnx();
  world.linear = pipeline_model_load(linear, world.schema, NULL, &error);
  ck_assert_msg(world.linear != NULL, "%s", error != NULL ? error->message : "");
  world.step = pipeline_model_load(step, world.schema, NULL, &error);
  ck_assert_msg(world.step != NULL, "%s", error != NULL ? error->message : "");
  return world;
}

static void world_clear(World *world)
{
  pipeline_model_free(world->linear);
  pipeline_model_free(world->step);
  drift_schema_free(world->schema);
  drift_table_free(world->table);
}

static double cell(const DriftTable *table, guint f, guint64 row)
{
  g_autofree gchar *name = g_strdup_printf("f%u", f);
  return g_array_index(drift_table_get_column(table, name)->numbers, double, row);
}

static PipelineRobustness measure(PipelineModel *model, const DriftTable *table,
                                  const PipelineRobustnessOptions *options)
{
  PipelineRobustness robustness = {0};
  g_autoptr(GError) error = NULL;
  ck_assert_msg(pipeline_robustness_measure(model, table, options, &robustness, &error), "%s",
                error != NULL ? error->message : "");
  return robustness;
}

/* --- what a ball allows --------------------------------------------------------------------------------------------
 */

/* A linear model falls exactly where the ball reaches its plane: sum |w| epsilon, or the Euclidean length of w. */
START_TEST(attacks_find_what_the_ball_allows)
{
  World world = world_new();
  const PipelineAttackType *type = &pipeline_attack_types[_i / 2];
  gboolean euclidean = _i % 2 == 1;
  PipelineRobustnessOptions options;
  pipeline_robustness_options_init(&options);
  options.attack.type = type;
  options.attack.queries = 4000;
  options.absolute = TRUE;
  options.range = PIPELINE_RANGE_NONE;
  options.norm = euclidean ? PIPELINE_NORM_2 : PIPELINE_NORM_INFINITY;
  options.epsilon = euclidean ? 0.6 : 0.3;
  if (euclidean && !type->norm_2) {
    g_autoptr(GError) error = NULL;
    PipelineRobustness robustness = {0};
    ck_assert(!pipeline_robustness_measure(world.linear, world.table, &options, &robustness, &error));
    ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED));
    world_clear(&world);
    return;
  }
  double reach = 0, squares = 0;
  for (guint f = 0; f < FEATURES; f++) {
    reach += options.epsilon * fabs((double)weights[f]);
    squares += (double)weights[f] * (double)weights[f];
  }
  if (euclidean) reach = options.epsilon * sqrt(squares);
  PipelineRobustness robustness =
      measure(strcmp(type->name, "hopskipjump") == 0 ? world.step : world.linear, world.table, &options);
  ck_assert_uint_eq(robustness.n_right, ROWS);
  guint fooled = 0, expected = 0;
  for (guint row = 0; row < ROWS; row++) {
    double distance = 0;
    for (guint f = 0; f < FEATURES; f++) distance += (double)weights[f] * cell(world.table, f, row);
    expected += fabs(distance) < reach;
    fooled += !robustness.robust[row];
    ck_assert_msg(robustness.robust[row] || fabs(distance) < reach + 1e-4, "%s: row %u", type->name, row);
    if (type->needs_gradient) ck_assert(!robustness.robust[row] || fabs(distance) > reach * (euclidean ? 0.98 : 0.999));
  }
  ck_assert_uint_gt(expected, 20);
  ck_assert_uint_lt(expected, 100);
  ck_assert_msg(fooled >= expected * 0.85, "%s: %u of %u", type->name, fooled, expected); /* black boxes miss a few */
  pipeline_robustness_clear(&robustness);
  world_clear(&world);
}
END_TEST

/* --- constraints ---------------------------------------------------------------------------------------------------
 */

/* Written anew here, in plain double: whole numbers, range, immutable, missing, radius. */
static void check_point(const DriftTable *before, const DriftTable *after, guint64 row,
                        const PipelineRobustnessOptions *options, const double *sd)
{
  double squares = 0;
  for (guint f = 0; f < FEATURES; f++) {
    double x = cell(before, f, row), moved = cell(after, f, row);
    if (isnan(x)) {
      ck_assert(isnan(moved));
      continue;
    }
    double distance = fabs(moved - x);
    ck_assert_msg(f != 1 || moved == x, "the immutable feature of row %u", (guint)row);
    ck_assert_msg(f != 2 || moved == floor(moved), "a whole number became %g", moved);
    ck_assert_msg(distance <= options->epsilon * sd[f], "feature %u moved by %.17g", f, distance);
    ck_assert_msg(moved >= MIN(-0.9, x) && moved <= MAX(0.75, x), "feature %u: %g, was %g", f, moved, x);
    if (sd[f] > 0) squares += distance / sd[f] * (distance / sd[f]);
  }
  if (options->norm == PIPELINE_NORM_2) ck_assert_double_le(sqrt(squares), options->epsilon);
}

static double population_sd(const DriftTable *table, guint f)
{
  double sum = 0, squares = 0, n = 0;
  for (guint64 row = 0; row < table->n_rows; row++)
    if (!isnan(cell(table, f, row))) sum += cell(table, f, row), n++;
  for (guint64 row = 0; row < table->n_rows; row++) {
    double difference = cell(table, f, row) - sum / n;
    if (!isnan(difference)) squares += difference * difference;
  }
  return sqrt(squares / n);
}

/* Every attack, both norms, odd radii: no tolerance. */
START_TEST(points_keep_to_every_constraint)
{
  World world = world_new();
  const PipelineAttackType *type = &pipeline_attack_types[_i / 2];
  PipelineRobustnessOptions options;
  pipeline_robustness_options_init(&options);
  options.norm = _i % 2 == 1 ? PIPELINE_NORM_2 : PIPELINE_NORM_INFINITY;
  if (options.norm == PIPELINE_NORM_2 && !type->norm_2) {
    world_clear(&world);
    return;
  }
  options.attack.type = type;
  options.attack.queries = 300;
  options.attack.steps = 7;
  options.attack.restarts = 2;
  options.range = PIPELINE_RANGE_GIVEN;
  options.low = -0.9;
  options.high = 0.75;
  options.immutable = (const gchar *const[]){"f1", NULL};
  options.integer = (const gchar *const[]){"f2", NULL};
  double sd[FEATURES];
  for (guint f = 0; f < FEATURES; f++) sd[f] = population_sd(world.table, f);
  guint64 fooled = 0;
  for (guint i = 0; i < 4; i++) {
    options.epsilon = (const double[]){1e-9, 1.0 / 30, 0.61, 2.3}[i];
    PipelineRobustness robustness = measure(world.linear, world.table, &options);
    g_autoptr(DriftTable) moved = pipeline_robustness_tabulate(&robustness, world.schema, world.table);
    for (guint row = 0; row < ROWS; row++) check_point(world.table, moved, row, &options, sd);
    fooled += robustness.n_right - robustness.n_robust;
    pipeline_robustness_clear(&robustness);
  }
  ck_assert_uint_gt(fooled, 20);
  world_clear(&world);
}
END_TEST

/* f0 and f3: one of them is 1, the other 0. */
static void make_one_hot(DriftTable *table)
{
  DriftColumn *f0 = drift_table_get_column(table, "f0"), *f3 = drift_table_get_column(table, "f3");
  for (guint row = 0; row < ROWS; row++) {
    g_array_index(f0->numbers, double, row) = row % 3 == 0;
    g_array_index(f3->numbers, double, row) = row % 3 != 0;
  }
}

START_TEST(missing_numbers_and_groups_stay)
{
  World world = world_new();
  DriftTable *table = world.table;
  PipelineRobustnessOptions options;
  pipeline_robustness_options_init(&options);
  make_one_hot(table);
  options.one_hot = (const gchar *const[]){"f0+f3", NULL};
  options.epsilon = 1;
  PipelineRobustness robustness = measure(world.linear, table, &options);
  g_autoptr(DriftTable) moved = pipeline_robustness_tabulate(&robustness, world.schema, table);
  for (guint row = 0; row < ROWS; row++) {
    ck_assert_double_eq(cell(moved, 0, row), cell(table, 0, row));
    ck_assert_double_eq(cell(moved, 3, row), cell(table, 3, row));
  }
  ck_assert_uint_gt(robustness.n_right, robustness.n_robust);
  pipeline_robustness_clear(&robustness);
  g_array_index(drift_table_get_column(table, "f0")->numbers, double, 5) = 0.5;
  g_autoptr(GError) error = NULL;
  ck_assert(!pipeline_robustness_measure(world.linear, table, &options, &robustness, &error));
  ck_assert_msg(strstr(error->message, "row 6") != NULL && strstr(error->message, "f0+f3") != NULL, "%s",
                error->message);
  world_clear(&world);
}
END_TEST

/* A ball too small for the numbers: a row falls exactly when its 1 in the other column turns the sum. */
START_TEST(the_one_of_a_mutable_group_moves)
{
  World world = world_new();
  DriftTable *table = world.table;
  PipelineRobustnessOptions options;
  pipeline_robustness_options_init(&options);
  make_one_hot(table);
  options.mutable_categories = (const gchar *const[]){"f0+f3", NULL};
  options.epsilon = 1e-9;
  PipelineRobustness robustness = measure(world.linear, table, &options);
  g_autoptr(DriftTable) moved = pipeline_robustness_tabulate(&robustness, world.schema, table);
  guint n_moved = 0;
  for (guint row = 0; row < ROWS; row++) {
    double sum = 0, turned = 0;
    for (guint f = 0; f < FEATURES; f++) {
      double x = (double)(float)cell(table, f, row), other = f == 0 || f == 3 ? 1 - x : x;
      sum += (double)weights[f] * x;
      turned += (double)weights[f] * other;
    }
    if (!robustness.right[row]) continue;
    ck_assert_msg(robustness.robust[row] == ((turned > 0) == (sum > 0)), "row %u: %g, turned %g", row, sum, turned);
    ck_assert_double_eq(cell(moved, 0, row) + cell(moved, 3, row), 1);
    gboolean has_moved = cell(moved, 0, row) != cell(table, 0, row);
    ck_assert(has_moved || robustness.robust[row]);
    ck_assert_uint_eq(pipeline_robustness_count_moved(&robustness, row), has_moved);
    n_moved += has_moved;
  }
  ck_assert_uint_gt(n_moved, 0);
  ck_assert_uint_gt(robustness.n_right, robustness.n_robust);
  pipeline_robustness_clear(&robustness);
  world_clear(&world);
}
END_TEST

START_TEST(wrong_groups_are_refused)
{
  World world = world_new();
  const struct {
    const gchar *group, *immutable, *says;
  } cases[] = {{"f0+f9", NULL, "no numeric input"}, {"f0+f1", "f1", "immutable, too"}, {"f0+f1", NULL, "row 1"}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    PipelineRobustnessOptions options;
    PipelineRobustness robustness = {0};
    g_autoptr(GError) error = NULL;
    pipeline_robustness_options_init(&options);
    options.mutable_categories = (const gchar *const[]){cases[i].group, NULL};
    options.immutable = (const gchar *const[]){cases[i].immutable, NULL};
    ck_assert(!pipeline_robustness_measure(world.linear, world.table, &options, &robustness, &error));
    ck_assert_msg(strstr(error->message, cases[i].says) != NULL, "%s", error->message);
  }
  world_clear(&world);
}
END_TEST

START_TEST(wrong_questions_are_refused)
{
  World world = world_new();
  PipelineRobustnessOptions options;
  PipelineRobustness robustness = {0};
  const struct {
    const gchar *immutable, *integer, *says;
    double epsilon;
    gboolean step;
  } cases[] = {{"f9", NULL, "f9", 0.1, FALSE},
               {NULL, "f0", "whole number", 0.1, FALSE},
               {NULL, NULL, "epsilon", 0, FALSE},
               {NULL, NULL, "epsilon", NAN, FALSE},
               {NULL, NULL, "Binarizer", 0.1, TRUE}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GError) error = NULL;
    pipeline_robustness_options_init(&options);
    const gchar *immutable[] = {cases[i].immutable, NULL}, *integer[] = {cases[i].integer, NULL};
    options.immutable = immutable;
    options.integer = integer;
    options.epsilon = cases[i].epsilon;
    ck_assert(!pipeline_robustness_measure(cases[i].step ? world.step : world.linear, world.table, &options,
                                           &robustness, &error));
    ck_assert_msg(strstr(error->message, cases[i].says) != NULL, "%s", error->message);
  }
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(pipeline_attack_find("pdg", &error));
  for (const PipelineAttackType *type = pipeline_attack_types; type->name != NULL; type++)
    ck_assert_ptr_nonnull(strstr(error->message, type->name));
  world_clear(&world);
}
END_TEST

START_TEST(the_same_seed_gives_the_same_points)
{
  World world = world_new();
  PipelineRobustnessOptions options;
  pipeline_robustness_options_init(&options);
  options.attack.type = &pipeline_attack_types[_i];
  options.attack.queries = 100;
  PipelineRobustness first = measure(world.linear, world.table, &options),
                     second = measure(world.linear, world.table, &options);
  ck_assert_mem_eq(first.points, second.points, ROWS * FEATURES * sizeof(float));
  const PipelineRobustness *both[] = {&first, &second};
  ck_assert_uint_eq(pipeline_robustness_count_worst(both, 2), first.n_robust);
  pipeline_robustness_clear(&first);
  pipeline_robustness_clear(&second);
  world_clear(&world);
}
END_TEST

/* --- smoothing -----------------------------------------------------------------------------------------------------
 */

/* (n, n): p = alpha^(1/n); (60, 100): R's binom.test(60, 100, alternative = "greater", conf.level = .999) gives .4418,
 * (90, 100) .7824. */
START_TEST(radii_follow_from_counts)
{
  ck_assert_double_eq_tol(pipeline_smoothing_radius(1000, 1000, 0.001, 1), 2.4633, 5e-4);
  ck_assert_double_eq_tol(pipeline_smoothing_radius(1000, 1000, 0.001, 0.25), 0.25 * 2.4633, 2e-4);
  ck_assert_double_eq(pipeline_smoothing_radius(60, 100, 0.001, 1), 0);
  ck_assert_double_eq(pipeline_smoothing_radius(0, 100, 0.001, 1), 0);
  double radius = pipeline_smoothing_radius(90, 100, 0.001, 1), p = 0.5 * erfc(-radius / sqrt(2));
  ck_assert_double_gt(radius, 0.5);
  double tail = 0; /* P(at least 90 of 100 at p) is alpha: what Clopper and Pearson mean */
  for (guint k = 90; k <= 100; k++)
    tail += exp(lgamma(101) - lgamma(k + 1.0) - lgamma(101.0 - k) + k * log(p) + (100 - k) * log1p(-p));
  ck_assert_double_eq_tol(tail, 0.001, 1e-6);
}
END_TEST

/* A linear model's smoothed classifier is the model: no certificate may reach beyond the plane. */
START_TEST(certificates_end_in_front_of_the_boundary)
{
  World world = world_new();
  PipelineSmoothingOptions options;
  PipelineSmoothing smoothing = {0};
  g_autoptr(GError) error = NULL;
  double length = 0;
  for (guint f = 0; f < FEATURES; f++) length += (double)weights[f] * (double)weights[f];
  pipeline_smoothing_options_init(&options);
  options.absolute = TRUE;
  ck_assert_msg(pipeline_smoothing_certify(world.linear, world.table, &options, &smoothing, &error), "%s",
                error != NULL ? error->message : "");
  guint tight = 0;
  for (guint row = 0; row < ROWS; row++) {
    double distance = 0;
    for (guint f = 0; f < FEATURES; f++) distance += (double)weights[f] * cell(world.table, f, row);
    distance = fabs(distance) / sqrt(length);
    ck_assert_double_le(smoothing.radii[row], distance + 1e-6);
    tight += smoothing.radii[row] > 0.7 * MIN(distance, 0.6);
  }
  ck_assert_uint_gt(tight, ROWS / 2);
  ck_assert_uint_gt(smoothing.n_right, ROWS * 0.8);
  ck_assert_uint_eq(pipeline_smoothing_count_certified(&smoothing, 0), smoothing.n_right);
  ck_assert_uint_eq(pipeline_smoothing_count_certified(&smoothing, 10), 0);
  pipeline_smoothing_clear(&smoothing);
  options.samples = 0;
  ck_assert(!pipeline_smoothing_certify(world.linear, world.table, &options, &smoothing, &error));
  world_clear(&world);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("attack");
  TCase *cases = tcase_create("attack");
  int n_types = 0;
  while (pipeline_attack_types[n_types].name != NULL) n_types++;
  tcase_set_timeout(cases, 120);
  tcase_add_loop_test(cases, attacks_find_what_the_ball_allows, 0, 2 * n_types);
  tcase_add_loop_test(cases, points_keep_to_every_constraint, 0, 2 * n_types);
  tcase_add_test(cases, missing_numbers_and_groups_stay);
  tcase_add_test(cases, the_one_of_a_mutable_group_moves);
  tcase_add_test(cases, wrong_groups_are_refused);
  tcase_add_test(cases, wrong_questions_are_refused);
  tcase_add_loop_test(cases, the_same_seed_gives_the_same_points, 0, n_types);
  tcase_add_test(cases, radii_follow_from_counts);
  tcase_add_test(cases, certificates_end_in_front_of_the_boundary);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
