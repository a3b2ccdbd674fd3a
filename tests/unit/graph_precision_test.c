/* Products in bfloat16 by the reference that rounds, the scale of the loss, and which backend takes a dense network. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "pipeline/backend.h"
#include "pipeline/graph_fit.h"
#include "pipeline/graph_fit_scale.h"
#include "pipeline/graph_pass.h"
#include "pipeline/trainer_fit_graph.h"
#include "tests/gpu/networks.h"

#define CURVE 3e-2 /* of losses, relative to float32 */

START_TEST(numbers_round_to_eight_bits_of_precision)
{
  ck_assert_float_eq(pipeline_round_bfloat16(1.0f), 1.0f);
  ck_assert_float_eq(pipeline_round_bfloat16(1 + 0x1p-8f), 1.0f);            /* a tie goes to the even one */
  ck_assert_float_eq(pipeline_round_bfloat16(1 + 3 * 0x1p-8f), 1 + 0x1p-6f); /* so does this one, upwards */
  ck_assert_float_eq(pipeline_round_bfloat16(1 + 0x1.1p-8f), 1 + 0x1p-7f);
  ck_assert_float_eq(pipeline_round_bfloat16(-0x1p-140f), -0x1p-133f * 0); /* below the least one */
  ck_assert(isinf(pipeline_round_bfloat16(0x1.fffffep127f)));
  ck_assert(isnan(pipeline_round_bfloat16(NAN)));
}
END_TEST

START_TEST(a_product_is_that_of_rounded_operands)
{
  const float a[] = {1 + 0x1p-8f, 2, 3, 1 + 0x1.1p-8f}, b[] = {1, 0.5f, 0.1f, -1}; /* a: two rows, four apart of two */
  float c[] = {1, 1};
  PipelineGemm gemm = {
      .m = 2, .n = 1, .k = 2, .alpha = 1, .beta = 1, .a = a, .lda = 2, .b = b + 1, .ldb = 2, .c = c, .ldc = 1};
  ck_assert(pipeline_backend_bfloat16.gemm(&gemm, NULL));
  ck_assert_float_eq(c[0], 1 + 1.0f * 0.5f + 2 * -1.0f);
  ck_assert_float_eq(c[1], 1 + 3 * 0.5f - (1 + 0x1p-7f));
}
END_TEST

/* One place and one channel: y = w x + b, dx = w dy, dw = x dy, db = dy; what is multiplied is rounded, no more. */
START_TEST(a_convolution_rounds_its_operands)
{
  const float fine = 1 + 0x1.8p-8f, coarse = 1 + 0x1p-7f, third = 1.0f / 3;
  const gchar *const wanted[] = {"x", "w", "b", NULL}, *const heads[] = {"y", NULL};
  const PipelineGraphPassOptions options = {.wanted = wanted,
                                            .heads = heads,
                                            .backend = &pipeline_gradient_backend_reference,
                                            .precision = PIPELINE_PRECISION_BFLOAT16};
  const gint64 dims[] = {1, 1, 1, 1};
  OnnxGraph *graph = onnx_graph_new("convolution");
  onnx_graph_set_opset(graph, "", 20);
  for (guint i = 0; i < 3; i++) onnx_graph_add_input(graph, wanted[i], ONNX_TYPE_FLOAT, NULL);
  onnx_graph_add_node(graph, "", "Conv", "x,w,b", "y");
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, NULL);
  g_autoptr(PipelineGraphPass) pass = pipeline_graph_pass_new(graph, &options, NULL);
  ck_assert_ptr_nonnull(pass);
  ck_assert(pipeline_graph_pass_set_input(pass, 0, 4, dims, &fine, NULL));
  ck_assert(pipeline_graph_pass_set_input(pass, 1, 4, dims, &fine, NULL));
  ck_assert(pipeline_graph_pass_set_input(pass, 2, 1, dims, &third, NULL));
  ck_assert(pipeline_graph_pass_forward(pass, FALSE, NULL, NULL));
  ck_assert_float_eq(*(const float *)pipeline_graph_pass_get_head(pass, 0)->data, coarse * coarse + third);
  const float *const gradients[] = {&fine};
  ck_assert(pipeline_graph_pass_backward(pass, gradients, NULL));
  const float expected[] = {coarse * coarse, coarse * coarse, fine};
  for (guint i = 0; i < 3; i++)
    ck_assert_float_eq(*(const float *)pipeline_graph_pass_get_gradient(pass, i)->data, expected[i]);
  g_clear_pointer(&pass, pipeline_graph_pass_free);
  onnx_graph_free(graph);
}
END_TEST

START_TEST(the_scale_follows_its_rules)
{
  PipelineGraphFitOptions options;
  PipelineGraphFitState state = {.loss_scale = 4};
  pipeline_graph_fit_options_init(&options);
  ck_assert(!pipeline_fit_scale_is_used(&options));
  options.precision = PIPELINE_PRECISION_BFLOAT16;
  options.growth_steps = 3;
  ck_assert(pipeline_fit_scale_is_used(&options));
  const struct {
    double norm, scale;
    guint64 skipped;
  } steps[] = {{1, 4, 0}, {1, 4, 0}, {1, 8, 0},           {1, 8, 0},        {INFINITY, 4, 1}, {1, 4, 1},
               {1, 4, 1}, {1, 8, 1}, {(double)NAN, 4, 2}, {INFINITY, 2, 3}, {INFINITY, 1, 4}};
  for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
    ck_assert(pipeline_fit_scale_follow(&options, &state, steps[i].norm));
    ck_assert_msg(state.loss_scale == steps[i].scale && state.skipped_steps == steps[i].skipped, "step %u: %g, %u", i,
                  state.loss_scale, (guint)state.skipped_steps);
  }
  ck_assert(!pipeline_fit_scale_follow(&options, &state, INFINITY)); /* not the scale's fault */
}
END_TEST

/* Training losses of the epochs. */
static GArray *train(const gchar *network, PipelinePrecision precision, double scale, PipelineGraphFitState *end,
                     GError **error)
{
  g_autoptr(World) world = network_world_new(network_find(network), 48, 12, error);
  PipelineGraphFitOptions options;
  ck_assert_ptr_nonnull(world);
  pipeline_graph_fit_options_init(&options);
  options.epochs = 3;
  options.batch_size = 12;
  options.precision = precision;
  options.loss_scale = scale;
  g_autoptr(PipelineGraphFit) fit = pipeline_graph_fit_new(world->graph, world->plan, &world->head, 1, &world->data,
                                                           &options, &pipeline_gradient_backend_reference, error);
  g_autoptr(GArray) losses = g_array_new(FALSE, FALSE, sizeof(double));
  while (fit != NULL && !pipeline_graph_fit_is_finished(fit)) {
    gboolean epoch_done = FALSE;
    if (!pipeline_graph_fit_step(fit, &epoch_done, error)) return NULL;
    if (epoch_done) g_array_append_val(losses, pipeline_graph_fit_get_state(fit)->train_loss);
  }
  if (fit == NULL) return NULL;
  *end = *pipeline_graph_fit_get_state(fit); /* its numbers */
  return g_steal_pointer(&losses);
}

START_TEST(losses_stay_near_those_of_float32)
{
  const gchar *const names[] = {"mlp", "small-lstm", "small-transformer", "lenet", "grouped"};
  PipelineGraphFitState end;
  g_autoptr(GArray) wide = train(names[_i], PIPELINE_PRECISION_FLOAT32, 65536, &end, NULL);
  ck_assert(wide != NULL && end.loss_scale == 1);
  g_autoptr(GArray) narrow = train(names[_i], PIPELINE_PRECISION_BFLOAT16, 65536, &end, NULL);
  ck_assert(narrow != NULL && end.loss_scale == 65536 && end.skipped_steps == 0);
  gboolean differs = FALSE;
  for (guint i = 0; i < wide->len; i++) {
    double a = g_array_index(wide, double, i), b = g_array_index(narrow, double, i);
    ck_assert_msg(fabs(a - b) <= CURVE * a, "epoch %u: %g and %g", i + 1, a, b);
    differs = differs || a != b;
  }
  ck_assert(differs);
}
END_TEST

START_TEST(steps_that_overflow_are_left_out)
{
  PipelineGraphFitState end;
  g_autoptr(GArray) losses = train("mlp", PIPELINE_PRECISION_BFLOAT16, 0x1p134, &end, NULL);
  ck_assert(losses != NULL && end.skipped_steps > 0 && end.skipped_steps < 9);
  ck_assert_double_eq(end.loss_scale, ldexp(0x1p134, -(gint)end.skipped_steps));
  ck_assert_uint_eq(end.steps, 9); /* they count */
}
END_TEST

START_TEST(dense_networks_on_cuda_go_to_the_graph)
{
  PipelineTrainOptions options;
  pipeline_train_options_init(&options);
  ck_assert(!pipeline_fit_needs_graph(&options));
  options.backend = "reference";
  ck_assert(!pipeline_fit_needs_graph(&options));
  options.backend = "cuda";
  ck_assert(pipeline_fit_needs_graph(&options));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("graph_precision");
  TCase *tcase = tcase_create("graph_precision");
  tcase_set_timeout(tcase, 60);
  tcase_add_test(tcase, numbers_round_to_eight_bits_of_precision);
  tcase_add_test(tcase, a_product_is_that_of_rounded_operands);
  tcase_add_test(tcase, a_convolution_rounds_its_operands);
  tcase_add_test(tcase, the_scale_follows_its_rules);
  tcase_add_loop_test(tcase, losses_stay_near_those_of_float32, 0, 5);
  tcase_add_test(tcase, steps_that_overflow_are_left_out);
  tcase_add_test(tcase, dense_networks_on_cuda_go_to_the_graph);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
