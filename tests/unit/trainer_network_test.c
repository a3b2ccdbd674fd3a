/* The numeric core: backends against each other, gradients against differences, the fit and its checkpoints. */
#include <check.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "pipeline/attack_network.h"
#include "pipeline/network.h"
#include "pipeline/trainer_checkpoint.h"
#include "pipeline/trainer_fit.h"
#include "pipeline/trainer_random.h"

#define ROWS 37u

static float *random_floats(PipelineRandom *random, gsize n, double bound)
{
  float *values = g_new(float, n);
  for (gsize i = 0; i < n; i++) values[i] = (float)(bound * (2 * pipeline_random_uniform(random) - 1));
  return values;
}

static void add_random_dense(PipelineNetwork *network, PipelineRandom *random, guint n_out, gboolean bias)
{
  guint n_in = pipeline_network_get_width(network);
  g_autofree float *weight = random_floats(random, (gsize)n_in * n_out, 1 / sqrt(n_in));
  g_autofree float *shift = random_floats(random, n_out, 0.5);
  pipeline_network_add_dense(network, n_out, weight, bias ? shift : NULL);
}

/* dense → affine → activation → dense: every kind of layer, with and without bias. */
static PipelineNetwork *new_network(const gchar *activation, const gchar *approximate, PipelineLossKind kind,
                                    guint n_outputs)
{
  PipelineRandom random;
  pipeline_random_seed(&random, 7);
  PipelineNetwork *network = pipeline_network_new(5);
  add_random_dense(network, &random, 19, TRUE);
  g_autofree float *scale = random_floats(&random, 19, 2), *shift = random_floats(&random, 19, 1);
  pipeline_network_add_affine(network, scale, shift);
  const PipelineActivation *found = pipeline_activation_find(activation, approximate);
  pipeline_network_add_activation(network, found, found->alpha_default);
  add_random_dense(network, &random, n_outputs, kind != PIPELINE_LOSS_SIGMOID);
  network->loss = (PipelineLoss){.kind = kind, .n_outputs = n_outputs, .target_scale = 0.7};
  return network;
}

static float *random_targets(PipelineRandom *random, const PipelineLoss *loss, guint n)
{
  float *targets = random_floats(random, n, 1);
  for (guint i = 0; i < n && loss->kind != PIPELINE_LOSS_SQUARED; i++)
    targets[i] = (float)pipeline_random_below(random, MAX(2, loss->n_outputs));
  return targets;
}

static const struct {
  const gchar *activation, *approximate;
  PipelineLossKind kind;
  guint n_outputs;
} shapes[] = {{"Relu", NULL, PIPELINE_LOSS_SOFTMAX, 3},  {"Sigmoid", NULL, PIPELINE_LOSS_SIGMOID, 1},
              {"Tanh", NULL, PIPELINE_LOSS_SQUARED, 1},  {"LeakyRelu", NULL, PIPELINE_LOSS_SOFTMAX, 2},
              {"Elu", NULL, PIPELINE_LOSS_SQUARED, 1},   {"Gelu", "none", PIPELINE_LOSS_SOFTMAX, 4},
              {"Gelu", "tanh", PIPELINE_LOSS_SOFTMAX, 2}};

/* Outputs and gradients of one pass. */
typedef struct {
  float *outputs, *parameter_gradient, *input_gradient;
  double loss;
} PassResult;

static void pass_result_clear(PassResult *result)
{
  g_free(result->outputs);
  g_free(result->parameter_gradient);
  g_free(result->input_gradient);
}

static PassResult run_pass(const PipelineNetwork *network, const PipelineNetworkBackend *backend, const float *x,
                           const float *targets, const float *weights)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelinePass) pass = pipeline_pass_new(network, backend, ROWS, &error);
  ck_assert_msg(pass != NULL, "%s", error ? error->message : "");
  guint n_outputs = network->loss.n_outputs;
  PassResult result = {.parameter_gradient = g_new0(float, network->n_parameters),
                       .input_gradient = g_new0(float, ROWS * network->n_inputs)};
  g_autofree float *gradient = g_new0(float, ROWS *n_outputs);
  const float *outputs = pipeline_pass_forward(pass, x, ROWS, &error);
  ck_assert_msg(outputs != NULL, "%s", error ? error->message : "");
  result.outputs = g_memdup2(outputs, ROWS * n_outputs * sizeof(float));
  result.loss = pipeline_loss_evaluate(&network->loss, outputs, targets, weights, ROWS, gradient);
  ck_assert(pipeline_pass_backward(pass, gradient, result.parameter_gradient, result.input_gradient, &error));
  return result;
}

static double largest(const float *values, gsize n)
{
  double most = 0;
  for (gsize i = 0; i < n; i++) most = MAX(most, fabs(values[i]));
  return most;
}

static void check_close(const gchar *what, const float *a, const float *b, gsize n, double bound)
{
  double scale = MAX(largest(a, n), 1e-3);
  for (gsize i = 0; i < n; i++)
    ck_assert_msg(fabs((double)a[i] - b[i]) <= bound * scale, "%s %zu: %g against %g", what, i, (double)a[i],
                  (double)b[i]);
}

/* Stated bound: 2e-5 of the largest element, for outputs and for every gradient. */
START_TEST(backends_agree)
{
  g_autoptr(PipelineNetwork) network =
      new_network(shapes[_i].activation, shapes[_i].approximate, shapes[_i].kind, shapes[_i].n_outputs);
  PipelineRandom random;
  pipeline_random_seed(&random, 3);
  g_autofree float *x = random_floats(&random, ROWS * 5, 2), *targets = random_targets(&random, &network->loss, ROWS);
  for (guint i = 0; pipeline_network_backends[i]; i++) {
    PassResult one = run_pass(network, &pipeline_network_backend_reference, x, targets, NULL);
    PassResult two = run_pass(network, pipeline_network_backends[i], x, targets, NULL);
    check_close("output", one.outputs, two.outputs, ROWS * network->loss.n_outputs, 2e-5);
    check_close("parameter gradient", one.parameter_gradient, two.parameter_gradient, network->n_parameters, 2e-5);
    check_close("input gradient", one.input_gradient, two.input_gradient, ROWS * 5, 2e-5);
    pass_result_clear(&one);
    pass_result_clear(&two);
  }
}
END_TEST

/* The loss at `*place` moved by `shift`. */
static double moved_loss(const PipelineNetwork *network, float *place, float shift, const float *x,
                         const float *targets, const float *weights)
{
  float kept = *place;
  *place = kept + shift;
  PassResult result = run_pass(network, &pipeline_network_backend_reference, x, targets, weights);
  *place = kept;
  pass_result_clear(&result);
  return result.loss;
}

static void check_gradient(const gchar *what, const PipelineNetwork *network, float *places, const float *gradient,
                           gsize n, const float *x, const float *targets, const float *weights)
{
  const float h = 1.0f / 512;
  double scale = largest(gradient, n);
  guint kinks = 0;
  for (gsize i = 0; i < n; i++) {
    double expected = (moved_loss(network, &places[i], h, x, targets, weights) -
                       moved_loss(network, &places[i], -h, x, targets, weights)) /
                      (2 * h);
    if (fabs(expected - gradient[i]) > 5e-3 * scale + 1e-5) kinks++; /* a Relu that switches between -h and h */
    ck_assert_msg(fabs(expected - gradient[i]) <= 0.1 * scale, "%s %zu: %g, by differences %g", what, i,
                  (double)gradient[i], expected);
  }
  ck_assert_msg(kinks <= n / 10, "%s: %u of %zu differ", what, kinks, n);
}

START_TEST(gradients_match_differences)
{
  g_autoptr(PipelineNetwork) network =
      new_network(shapes[_i].activation, shapes[_i].approximate, shapes[_i].kind, shapes[_i].n_outputs);
  PipelineRandom random;
  pipeline_random_seed(&random, 5);
  g_autofree float *x = random_floats(&random, ROWS * 5, 2), *targets = random_targets(&random, &network->loss, ROWS);
  g_autofree float *weights = g_new(float, ROWS);
  for (guint i = 0; i < ROWS; i++) weights[i] = (float)(i % 4);
  PassResult result = run_pass(network, &pipeline_network_backend_reference, x, targets, weights);
  check_gradient("parameter", network, network->parameters, result.parameter_gradient, network->n_parameters, x,
                 targets, weights);
  check_gradient("input", network, x, result.input_gradient, ROWS * 5, x, targets, weights);
  pass_result_clear(&result);
}
END_TEST

/* --- fits --------------------------------------------------------------------------------------------------------- */

/* Two classes inside and outside a circle. */
typedef struct {
  float *x, *targets;
  guint64 *rows;
  PipelineFitData data;
} Circle;

static Circle circle_new(guint n_train, guint n_validation)
{
  guint n = n_train + n_validation;
  PipelineRandom random;
  pipeline_random_seed(&random, 11);
  Circle circle = {random_floats(&random, (gsize)n * 2, 1.7), g_new(float, n), g_new(guint64, n), {0}};
  for (guint i = 0; i < n; i++) {
    const float *row = circle.x + 2 * i;
    circle.targets[i] = row[0] * row[0] + row[1] * row[1] < 1.8f;
    circle.rows[i] = i;
  }
  circle.data = (PipelineFitData){.x = circle.x,
                                  .targets = circle.targets,
                                  .train = circle.rows,
                                  .validation = circle.rows + n_train,
                                  .n_rows = n,
                                  .n_train = n_train,
                                  .n_validation = n_validation};
  return circle;
}

static void circle_clear(Circle *circle)
{
  g_free(circle->x);
  g_free(circle->targets);
  g_free(circle->rows);
}

static PipelineNetwork *circle_network(void)
{
  PipelineRandom random;
  pipeline_random_seed(&random, 13);
  PipelineNetwork *network = pipeline_network_new(2);
  add_random_dense(network, &random, 24, TRUE);
  pipeline_network_add_activation(network, pipeline_activation_find("Relu", NULL), 0);
  add_random_dense(network, &random, 2, TRUE);
  network->loss = (PipelineLoss){.kind = PIPELINE_LOSS_SOFTMAX, .n_outputs = 2, .target_scale = 1};
  return network;
}

static const PipelineFitOptions circle_options = {
    .epochs = 10, .batch_size = 32, .learning_rate = 1e-2, .weight_decay = 1e-3, .seed = 17};

static void run_epochs(PipelineFit *fit, guint until)
{
  g_autoptr(GError) error = NULL;
  while (!pipeline_fit_is_finished(fit) && pipeline_fit_get_state(fit)->epoch < until)
    ck_assert_msg(pipeline_fit_epoch(fit, &error), "%s", error ? error->message : "");
}

/* Stated bound over a short training: every weight within 1e-3 of the largest. */
START_TEST(short_trainings_agree)
{
  Circle circle = circle_new(300, 60);
  g_autoptr(PipelineNetwork) first = circle_network();
  g_autoptr(PipelineFit) reference =
      pipeline_fit_new(first, &pipeline_network_backend_reference, &circle.data, &circle_options, NULL, NULL);
  run_epochs(reference, 3);
  for (guint i = 0; pipeline_network_backends[i]; i++) {
    g_autoptr(PipelineNetwork) second = circle_network();
    g_autoptr(PipelineFit) fit =
        pipeline_fit_new(second, pipeline_network_backends[i], &circle.data, &circle_options, NULL, NULL);
    run_epochs(fit, 3);
    check_close("weight", first->parameters, second->parameters, first->n_parameters, 1e-3);
    ck_assert_double_eq_tol(pipeline_fit_get_state(fit)->validation_loss,
                            pipeline_fit_get_state(reference)->validation_loss, 1e-3);
  }
  circle_clear(&circle);
}
END_TEST

START_TEST(fits_learn_and_keep_the_best)
{
  Circle circle = circle_new(600, 200);
  PipelineFitOptions options = circle_options;
  options.epochs = 40;
  g_autoptr(PipelineNetwork) network = circle_network();
  g_autoptr(PipelineFit) fit =
      pipeline_fit_new(network, pipeline_network_backend_find(NULL, NULL), &circle.data, &options, NULL, NULL);
  run_epochs(fit, 40);
  const PipelineFitState *state = pipeline_fit_get_state(fit);
  ck_assert_msg(state->best_metric > 0.95, "accuracy %g", state->best_metric);
  ck_assert_double_le(state->best_loss, state->validation_loss);
  circle_clear(&circle);
}
END_TEST

START_TEST(patience_stops_a_fit)
{
  Circle circle = circle_new(200, 60);
  for (guint i = 0; i < circle.data.n_rows; i++) circle.targets[i] = (float)(i % 2); /* nothing to learn */
  PipelineFitOptions options = circle_options;
  options.epochs = 400;
  options.patience = 5;
  g_autoptr(PipelineNetwork) network = circle_network();
  g_autoptr(PipelineFit) fit =
      pipeline_fit_new(network, pipeline_network_backend_find(NULL, NULL), &circle.data, &options, NULL, NULL);
  run_epochs(fit, 400);
  const PipelineFitState *state = pipeline_fit_get_state(fit);
  ck_assert_uint_lt(state->epoch, 400);
  ck_assert_uint_eq(state->epoch, state->best_epoch + 5);
  circle_clear(&circle);
}
END_TEST

START_TEST(divergence_is_said)
{
  Circle circle = circle_new(100, 0);
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineNetwork) network = circle_network();
  network->parameters[0] = INFINITY;
  g_autoptr(PipelineFit) fit =
      pipeline_fit_new(network, &pipeline_network_backend_reference, &circle.data, &circle_options, NULL, NULL);
  ck_assert(!pipeline_fit_epoch(fit, &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_DIVERGED));
  circle_clear(&circle);
}
END_TEST

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

static gchar *temporary_path(void)
{
  gchar *path = NULL;
  int file = g_file_open_tmp("kedge-fit-XXXXXX", &path, NULL);
  ck_assert_int_ge(file, 0);
  close(file);
  g_unlink(path);
  return path;
}

/* Ten epochs in one go and in two processes' worth of state give the same bits, with and without an attack inside. */
START_TEST(resumed_fits_are_the_same_to_the_bit)
{
  Circle circle = circle_new(200, 60);
  const PipelineNetworkBackend *backend = pipeline_network_backends[_i / 2];
  PipelineFitOptions options = circle_options;
  options.adversarial_epsilon = _i % 2 ? 0.1 : 0;
  options.adversarial_steps = 3;
  g_autoptr(PipelineAttackSpace) space = pipeline_attack_space_new(2, (const float[]){1, 1});
  g_autofree gchar *path = temporary_path();
  g_autoptr(GError) error = NULL;

  g_autoptr(PipelineNetwork) whole_network = circle_network(), first_network = circle_network(),
                             second_network = circle_network();
  g_autoptr(PipelineFit) whole = pipeline_fit_new(whole_network, backend, &circle.data, &options, space, NULL);
  run_epochs(whole, 10);
  g_autoptr(PipelineFit) first = pipeline_fit_new(first_network, backend, &circle.data, &options, space, NULL);
  run_epochs(first, 4);
  ck_assert(pipeline_checkpoint_write(path, pipeline_fit_get_state(first), "abc", &error));
  g_autoptr(PipelineFit) second = pipeline_fit_new(second_network, backend, &circle.data, &options, space, NULL);
  gboolean found = FALSE;
  ck_assert(pipeline_checkpoint_read(path, pipeline_fit_get_state(second), "abc", &found, &error));
  ck_assert(found);
  ck_assert_uint_eq(pipeline_fit_get_state(second)->epoch, 4);
  run_epochs(second, 10);
  gsize size = whole_network->n_parameters * sizeof(float);
  ck_assert_mem_eq(whole_network->parameters, second_network->parameters, size);
  ck_assert_mem_eq(pipeline_fit_get_result(whole), pipeline_fit_get_result(second), size);
  ck_assert_mem_ne(whole_network->parameters, first_network->parameters, size);
  g_unlink(path);
  circle_clear(&circle);
}
END_TEST

START_TEST(foreign_and_damaged_checkpoints_are_refused)
{
  Circle circle = circle_new(100, 0);
  g_autoptr(PipelineNetwork) network = circle_network();
  g_autoptr(PipelineFit) fit =
      pipeline_fit_new(network, &pipeline_network_backend_reference, &circle.data, &circle_options, NULL, NULL);
  PipelineFitState *state = pipeline_fit_get_state(fit);
  g_autofree gchar *path = temporary_path(), *contents = NULL;
  g_autoptr(GError) error = NULL;
  gboolean found = TRUE;
  gsize length;
  ck_assert(pipeline_checkpoint_read(path, state, "abc", &found, &error) && !found);
  ck_assert(pipeline_checkpoint_write(path, state, "abc", &error));
  ck_assert(!pipeline_checkpoint_read(path, state, "other", &found, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "another training"));
  ck_assert(g_file_get_contents(path, &contents, &length, NULL));
  for (gsize cut = 0; cut < length; cut += MAX(1, length / 50)) {
    g_clear_error(&error);
    ck_assert(g_file_set_contents(path, contents, (gssize)cut, NULL));
    ck_assert(!pipeline_checkpoint_read(path, state, "abc", &found, &error));
    ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID));
  }
  ck_assert_uint_eq(state->epoch, 0);
  g_unlink(path);
  circle_clear(&circle);
}
END_TEST

/* --- attacks ------------------------------------------------------------------------------------------------------ */

START_TEST(attacks_stay_in_the_ball_and_raise_the_loss)
{
  Circle circle = circle_new(ROWS, 0);
  g_autoptr(PipelineNetwork) network = circle_network();
  PipelineFitOptions options = circle_options;
  options.epochs = 300;
  g_autoptr(PipelineFit) fit =
      pipeline_fit_new(network, &pipeline_network_backend_reference, &circle.data, &options, NULL, NULL);
  run_epochs(fit, 300);

  const float gains[] = {1.5f, 0.5f};
  g_autoptr(PipelineAttackSpace) space = pipeline_attack_space_new(2, gains);
  g_autoptr(PipelinePass) pass = pipeline_pass_new(network, &pipeline_network_backend_reference, ROWS, NULL);
  g_autoptr(PipelineNetworkAttack) attack = pipeline_network_attack_new(pass, network, space);
  PipelineRandom random;
  pipeline_random_seed(&random, 1);
  g_autofree float *attacked = g_new(float, ROWS * 2), *shifts = g_new(float, ROWS * 2);
  ck_assert(
      pipeline_network_attack_run(attack, 0.3, 10, circle.x, circle.targets, ROWS, &random, attacked, shifts, NULL));
  for (guint i = 0; i < ROWS * 2; i++) {
    ck_assert_double_le(fabs(shifts[i]), 0.3 + 1e-6);
    ck_assert_double_eq_tol(attacked[i], circle.x[i] + shifts[i] * gains[i % 2], 1e-5);
  }
  const float *outputs = pipeline_pass_forward(pass, circle.x, ROWS, NULL);
  double clean = pipeline_loss_evaluate(&network->loss, outputs, circle.targets, NULL, ROWS, NULL);
  outputs = pipeline_pass_forward(pass, attacked, ROWS, NULL);
  ck_assert_double_gt(pipeline_loss_evaluate(&network->loss, outputs, circle.targets, NULL, ROWS, NULL), 1.5 * clean);
  circle_clear(&circle);
}
END_TEST

/* First numbers of xoshiro256** after SplitMix64 seeding, computed by the authors' C code. */
START_TEST(random_numbers_are_the_published_ones)
{
  PipelineRandom random = {.state = {1, 2, 3, 4}};
  static const guint64 expected[] = {11520, 0, 1509978240, 1215971899390074240};
  for (guint i = 0; i < G_N_ELEMENTS(expected); i++) ck_assert_uint_eq(pipeline_random_next(&random), expected[i]);
  guint counts[3] = {0};
  pipeline_random_seed(&random, 1);
  for (guint i = 0; i < 30000; i++) counts[pipeline_random_below(&random, 3)]++;
  for (guint i = 0; i < 3; i++) ck_assert_uint_le(ABS((gint)counts[i] - 10000), 400);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("trainer_network");
  TCase *cases = tcase_create("network");
  guint n_backends = 0;
  while (pipeline_network_backends[n_backends]) n_backends++;
  tcase_set_timeout(cases, 60);
  tcase_add_loop_test(cases, backends_agree, 0, G_N_ELEMENTS(shapes));
  tcase_add_loop_test(cases, gradients_match_differences, 0, G_N_ELEMENTS(shapes));
  tcase_add_test(cases, short_trainings_agree);
  tcase_add_test(cases, fits_learn_and_keep_the_best);
  tcase_add_test(cases, patience_stops_a_fit);
  tcase_add_test(cases, divergence_is_said);
  tcase_add_loop_test(cases, resumed_fits_are_the_same_to_the_bit, 0, 2 * (int)n_backends);
  tcase_add_test(cases, foreign_and_damaged_checkpoints_are_refused);
  tcase_add_test(cases, attacks_stay_in_the_ball_and_raise_the_loss);
  tcase_add_test(cases, random_numbers_are_the_published_ones);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
