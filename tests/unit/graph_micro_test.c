/* Batches in several passes: the step of the whole batch, but for rounding. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "pipeline/graph_fit.h"
#include "tests/gpu/networks.h"

#define CURVE 1e-5   /* of losses, relative: float32 sums in another order, grown by the steps between */
#define WEIGHTS 1e-4 /* of weights, relative to the largest */

typedef struct {
  const gchar *network, *optimiser;
  guint batch, micro, rows, epochs;
  double mixup;
  gboolean weighted;
} Case;

typedef struct {
  GArray *losses; /* of double */
  float *parameters;
  gsize n;
  GError *error;
} Outcome;

static void outcome_clear(Outcome *outcome)
{
  g_array_unref(outcome->losses);
  g_free(outcome->parameters);
  g_clear_error(&outcome->error);
}

static gboolean train(const Case *c, guint micro, Outcome *outcome)
{
  *outcome = (Outcome){.losses = g_array_new(FALSE, FALSE, sizeof(double))};
  g_autoptr(World) world = network_world_new(network_find(c->network), c->rows, c->rows / 4, &outcome->error);
  g_autofree float *weights = g_new(float, c->rows), *classes = g_new(float, 16);
  PipelineGraphFitOptions options;
  ck_assert_ptr_nonnull(world);
  for (guint i = 0; i < c->rows; i++) weights[i] = (float)(i % 4);
  for (guint i = 0; i < 16; i++) classes[i] = 1.0f + (float)(i % 4) / 4;
  if (c->weighted) {
    world->data.weights = weights;
    world->head.options.class_weights = classes;
  }
  pipeline_graph_fit_options_init(&options);
  options.epochs = c->epochs;
  options.batch_size = c->batch;
  options.micro_batch = micro;
  options.augment.mixup = c->mixup;
  options.optimiser = pipeline_optimiser_find(c->optimiser, NULL);
  g_autoptr(PipelineGraphFit) fit =
      pipeline_graph_fit_new(world->graph, world->plan, &world->head, 1, &world->data, &options,
                             &pipeline_gradient_backend_reference, &outcome->error);
  gboolean done = fit != NULL;
  while (done && !pipeline_graph_fit_is_finished(fit)) {
    gboolean epoch_done = FALSE;
    done = pipeline_graph_fit_step(fit, &epoch_done, &outcome->error);
    if (epoch_done) g_array_append_val(outcome->losses, pipeline_graph_fit_get_state(fit)->train_loss);
  }
  if (!done) return FALSE;
  const PipelineGraphFitState *state = pipeline_graph_fit_get_state(fit);
  outcome->n = state->n_parameters;
  outcome->parameters = g_memdup2(state->parameters, state->n_parameters * sizeof(float));
  return TRUE;
}

static const Case cases[] = {
    {"mlp", "sgd", 16, 5, 60, 3, 0, FALSE},       /* the last pass of a batch is smaller, the last batch too */
    {"mlp", "momentum", 16, 16, 60, 2, 0, FALSE}, /* one pass */
    {"mlp", "momentum", 16, 1, 40, 2, 0, TRUE},   /* row by row, some of weight 0 */
    {"small-lstm", "momentum", 12, 5, 36, 2, 0, TRUE},
    {"mlp", "momentum", 16, 6, 48, 2, 0.4, TRUE}, /* mixed rows */
};

START_TEST(passes_of_a_batch_make_its_step)
{
  Outcome whole, parts;
  const Case *c = &cases[_i];
  ck_assert(train(c, 0, &whole) && train(c, c->micro, &parts));
  ck_assert_uint_eq(whole.losses->len, parts.losses->len);
  for (guint i = 0; i < whole.losses->len; i++) {
    double a = g_array_index(whole.losses, double, i), b = g_array_index(parts.losses, double, i);
    ck_assert_msg(fabs(a - b) <= CURVE * fabs(a), "epoch %u: %.9g and %.9g", i + 1, a, b);
  }
  double worst = 0, largest = 0;
  for (gsize i = 0; i < whole.n; i++) {
    worst = MAX(worst, fabs((double)whole.parameters[i] - (double)parts.parameters[i]));
    largest = MAX(largest, fabs((double)whole.parameters[i]));
  }
  ck_assert_msg(worst <= WEIGHTS * largest, "weights differ by %g of %g", worst, largest);
  if (c->micro < c->batch) /* it did go another way */
    ck_assert_int_ne(memcmp(whole.parameters, parts.parameters, whole.n * sizeof(float)), 0);
  outcome_clear(&whole);
  outcome_clear(&parts);
}
END_TEST

START_TEST(a_model_that_normalises_over_its_batch_is_refused)
{
  const Case c = {"small-resnet", "momentum", 6, 3, 12, 1, 0, FALSE};
  Outcome outcome;
  ck_assert(!train(&c, 3, &outcome));
  ck_assert(g_error_matches(outcome.error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID));
  ck_assert_ptr_nonnull(strstr(outcome.error->message, "BatchNormalization"));
  ck_assert_ptr_nonnull(strstr(outcome.error->message, "3 rows"));
  outcome_clear(&outcome);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("graph_micro");
  TCase *tcase = tcase_create("graph_micro");
  tcase_set_timeout(tcase, 60);
  tcase_add_loop_test(tcase, passes_of_a_batch_make_its_step, 0, G_N_ELEMENTS(cases));
  tcase_add_test(tcase, a_model_that_normalises_over_its_batch_is_refused);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
