/* Normalisation folded into weights, 8-bit graphs and the ranges of their activations. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "onnx/compress.h"
#include "pipeline/compress.h"
#include "pipeline/executor.h"
#include "pipeline/quantize.h"
#include "pipeline/trainer_random.h"

static void take_random(OnnxGraph *graph, PipelineRandom *random, const gchar *name, guint n_dims, const gint64 *dims,
                        double low, double high)
{
  OnnxTensor *tensor = onnx_tensor_new(name, ONNX_TYPE_FLOAT, n_dims, dims, NULL);
  gsize n = onnx_tensor_get_n_elements(tensor);
  g_autofree float *values = g_new(float, n);
  for (gsize i = 0; i < n; i++) values[i] = (float)(low + (high - low) * pipeline_random_uniform(random));
  onnx_tensor_set_floats(tensor, values);
  onnx_graph_take_initialiser(graph, tensor);
}

/* x [N,1,6,6] ─▶ Conv (3 channels) ─▶ BatchNormalization ─▶ Relu ─▶ MaxPool 2×2 ─▶ Flatten ─▶ Gemm ─▶ y [N,4] */
static OnnxGraph *make_graph(void)
{
  OnnxGraph *graph = onnx_graph_new("small");
  PipelineRandom random;
  pipeline_random_seed(&random, 7);
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,1,6,6");
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,4");
  take_random(graph, &random, "k", 4, (gint64[]){3, 1, 3, 3}, -1, 1);
  take_random(graph, &random, "gamma", 1, (gint64[]){3}, .5, 2);
  take_random(graph, &random, "beta", 1, (gint64[]){3}, -1, 1);
  take_random(graph, &random, "mean", 1, (gint64[]){3}, -1, 1);
  take_random(graph, &random, "variance", 1, (gint64[]){3}, .5, 2);
  take_random(graph, &random, "w", 2, (gint64[]){4, 27}, -1, 1);
  take_random(graph, &random, "b", 1, (gint64[]){4}, -1, 1);
  onnx_node_set_ints(onnx_graph_add_node(graph, "", "Conv", "x,k", "c"), "pads", (const gint64[]){1, 1, 1, 1}, 4);
  onnx_graph_add_node(graph, "", "BatchNormalization", "c,gamma,beta,mean,variance", "n");
  onnx_graph_add_node(graph, "", "Relu", "n", "r");
  OnnxNode *pool = onnx_graph_add_node(graph, "", "MaxPool", "r", "p");
  onnx_node_set_ints(pool, "kernel_shape", (const gint64[]){2, 2}, 2);
  onnx_node_set_ints(pool, "strides", (const gint64[]){2, 2}, 2);
  onnx_graph_add_node(graph, "", "Flatten", "p", "f");
  OnnxNode *gemm = onnx_graph_add_node(graph, "", "Gemm", "f,w,b", "y");
  onnx_node_set_int(gemm, "transB", 1);
  onnx_node_set_float(gemm, "alpha", 0.5f);
  onnx_node_set_float(gemm, "beta", 2);
  return graph;
}

enum { ROWS = 8, WIDTH = 36, OUTPUTS = 4 };

/* y [ROWS, OUTPUTS] for the same rows each time. */
static void run_graph(const OnnxGraph *graph, float *y)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineExecutor) executor =
      pipeline_executor_new(graph, pipeline_backend_find("reference", TRUE, NULL), &error);
  ck_assert_msg(executor != NULL, "%s", error ? error->message : "");
  PipelineTensor *input = pipeline_executor_get_input(executor, 0);
  PipelineRandom random;
  pipeline_random_seed(&random, 3);
  ck_assert(pipeline_tensor_set_shape(input, ONNX_TYPE_FLOAT, 4, (gint64[]){ROWS, 1, 6, 6}, NULL));
  ck_assert(pipeline_tensor_allocate(input, NULL));
  for (gsize i = 0; i < ROWS * WIDTH; i++)
    ((float *)input->data)[i] = (float)(2 * pipeline_random_uniform(&random) - 1);
  ck_assert_msg(pipeline_executor_run(executor, FALSE, &error), "%s", error ? error->message : "");
  const PipelineTensor *output = pipeline_executor_get_output(executor, 0);
  ck_assert_uint_eq(output->n, ROWS * OUTPUTS);
  memcpy(y, output->data, sizeof(float) * output->n);
}

static double largest_difference(const float *a, const float *b, gsize n)
{
  double largest = 0;
  for (gsize i = 0; i < n; i++) largest = MAX(largest, fabs((double)a[i] - (double)b[i]));
  return largest;
}

static guint count_nodes(const OnnxGraph *graph, const gchar *op_type)
{
  guint n = 0;
  for (guint i = 0; i < graph->nodes->len; i++)
    n += strcmp(((const OnnxNode *)g_ptr_array_index(graph->nodes, i))->op_type, op_type) == 0;
  return n;
}

START_TEST(normalisation_becomes_weights)
{
  g_autoptr(OnnxGraph) graph = make_graph();
  float before[ROWS * OUTPUTS], after[ROWS * OUTPUTS];
  run_graph(graph, before);
  ck_assert_uint_eq(onnx_graph_fold_normalisation(graph), 1);
  ck_assert_uint_eq(count_nodes(graph, "BatchNormalization"), 0);
  ck_assert_ptr_null(onnx_graph_find_initialiser(graph, "gamma"));
  run_graph(graph, after);
  ck_assert_double_lt(largest_difference(before, after, ROWS * OUTPUTS), 1e-5);
}
END_TEST

START_TEST(normalisation_that_others_read_stays)
{
  g_autoptr(OnnxGraph) graph = make_graph();
  onnx_graph_add_output(graph, "c", ONNX_TYPE_FLOAT, "N,3,6,6");
  ck_assert_uint_eq(onnx_graph_fold_normalisation(graph), 0);
  ck_assert_uint_eq(count_nodes(graph, "BatchNormalization"), 1);
}
END_TEST

START_TEST(scales_hold_zero_exactly)
{
  const struct {
    OnnxQuantizeRange range;
    OnnxType type;
    double scale;
    gint zero;
  } cases[] = {{{0, 255}, ONNX_TYPE_UINT8, 1, 0},    {{0, 255}, ONNX_TYPE_INT8, 1, -128},
               {{-255, 0}, ONNX_TYPE_UINT8, 1, 255}, {{-128, 127}, ONNX_TYPE_INT8, 1, 0},
               {{51, 510}, ONNX_TYPE_UINT8, 2, 0},   {{-1.28f, 1.27f}, ONNX_TYPE_INT8, .01, 0},
               {{0, 0}, ONNX_TYPE_INT8, 1, 0},       {{-510, -1}, ONNX_TYPE_INT8, 2, 127}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    float scale;
    gint zero;
    onnx_quantize_scale(cases[i].range, cases[i].type, &scale, &zero);
    ck_assert_double_eq_tol((double)scale, cases[i].scale, 1e-7);
    ck_assert_int_eq(zero, cases[i].zero);
  }
}
END_TEST

static void quantize(OnnxGraph *graph, const OnnxQuantizeOptions *options, guint n_values)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(OnnxQuantizePlan) plan = onnx_quantize_plan_new(graph, options, &error);
  ck_assert_msg(plan != NULL, "%s", error ? error->message : "");
  ck_assert_uint_eq(plan->values->len, n_values);
  g_autofree OnnxQuantizeRange *ranges = g_new0(OnnxQuantizeRange, n_values);
  for (guint i = 0; i < n_values; i++) {
    const OnnxQuantizeValue *value = &g_array_index(plan->values, OnnxQuantizeValue, i);
    gboolean input = strcmp(value->name, "x") == 0;
    ranges[i] = input ? (OnnxQuantizeRange){-1, 1} : (OnnxQuantizeRange){0, 12};
  }
  onnx_graph_quantize(graph, plan, options, ranges);
  ck_assert_msg(onnx_graph_check(graph, &error), "%s", error ? error->message : "");
}

START_TEST(eight_bits_are_close_and_small)
{
  const struct {
    OnnxQuantizeOptions options;
    double bound;
  } cases[] = {{{.activations = ONNX_TYPE_INT8, .full_range = TRUE}, .35},
               {{.activations = ONNX_TYPE_INT8, .full_range = TRUE, .per_tensor = TRUE}, .35},
               {{.activations = ONNX_TYPE_INT8}, .6},
               {{.activations = ONNX_TYPE_UINT8}, .6}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(OnnxGraph) graph = make_graph();
    float before[ROWS * OUTPUTS], after[ROWS * OUTPUTS];
    run_graph(graph, before);
    onnx_graph_fold_normalisation(graph);
    quantize(graph, &cases[i].options, 4); /* x, behind the Relu, behind the pool, behind Flatten */
    run_graph(graph, after);
    double difference = largest_difference(before, after, ROWS * OUTPUTS);
    ck_assert_double_lt(difference, cases[i].bound);
    ck_assert_double_gt(difference, 0);
    ck_assert_uint_eq(count_nodes(graph, "QuantizeLinear"), 4);
    ck_assert_uint_eq(count_nodes(graph, "DequantizeLinear"), 4 + 4); /* two weights, two biases */
    ck_assert_ptr_null(onnx_graph_find_initialiser(graph, "w"));
    const OnnxTensor *weight = onnx_graph_find_initialiser(graph, "kedge.int8.y.weight");
    ck_assert_ptr_nonnull(weight);
    ck_assert_int_eq(weight->type, ONNX_TYPE_INT8);
    const OnnxTensor *scale = onnx_graph_find_initialiser(graph, "kedge.int8.y.weight.scale");
    ck_assert_uint_eq(onnx_tensor_get_n_elements(scale), cases[i].options.per_tensor ? 1 : OUTPUTS);
  }
}
END_TEST

START_TEST(changes_of_shape_share_a_scale)
{
  g_autoptr(OnnxGraph) graph = make_graph();
  const OnnxQuantizeOptions options = {.activations = ONNX_TYPE_INT8};
  onnx_graph_fold_normalisation(graph);
  g_autoptr(OnnxQuantizePlan) plan = onnx_quantize_plan_new(graph, &options, NULL);
  const gchar *const names[] = {"x", "r", "p", "f"};
  const guint same[] = {0, 1, 1, 1};
  for (guint i = 0; i < 4; i++) {
    ck_assert_str_eq(g_array_index(plan->values, OnnxQuantizeValue, i).name, names[i]);
    ck_assert_uint_eq(g_array_index(plan->values, OnnxQuantizeValue, i).same, same[i]);
  }
}
END_TEST

START_TEST(kept_layers_and_refusals)
{
  const gchar *const first[] = {"first", NULL}, *const both[] = {"k*", "last", NULL}, *const none[] = {"z", NULL};
  OnnxQuantizeOptions options = {.activations = ONNX_TYPE_INT8, .keep = first};
  g_autoptr(OnnxGraph) graph = make_graph();
  quantize(graph, &options, 1); /* Flatten's output alone */
  ck_assert_ptr_nonnull(onnx_graph_find_initialiser(graph, "k"));
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(onnx_quantize_plan_new(graph, &options, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "8 bits already"));
  const struct {
    const gchar *const *keep;
    gint64 opset;
    gint code;
    const gchar *says;
  } cases[] = {{both, 17, ONNX_ERROR_UNSUPPORTED, "all 2 layers"},
               {none, 17, ONNX_ERROR_INVALID, "'z'"},
               {NULL, 12, ONNX_ERROR_UNSUPPORTED, "opset_version 13"}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(OnnxGraph) fresh = make_graph();
    g_autoptr(GError) refused = NULL;
    onnx_graph_set_opset(fresh, "", cases[i].opset);
    options.keep = cases[i].keep;
    ck_assert_ptr_null(onnx_quantize_plan_new(fresh, &options, &refused));
    ck_assert(g_error_matches(refused, ONNX_ERROR, cases[i].code));
    ck_assert_msg(strstr(refused->message, cases[i].says) != NULL, "%s", refused->message);
  }
}
END_TEST

START_TEST(pruned_channels_keep_their_bias)
{
  g_autoptr(OnnxGraph) graph = make_graph();
  const OnnxQuantizeOptions options = {.activations = ONNX_TYPE_INT8};
  float zeros[4 * 27] = {0}, y[ROWS * OUTPUTS];
  onnx_tensor_set_floats(onnx_graph_find_initialiser(graph, "w"), zeros);
  g_autofree float *bias = onnx_tensor_to_floats(onnx_graph_find_initialiser(graph, "b"), NULL);
  onnx_graph_fold_normalisation(graph);
  quantize(graph, &options, 4);
  run_graph(graph, y);
  for (guint i = 0; i < OUTPUTS; i++) ck_assert_double_eq_tol((double)y[i], 2 * (double)bias[i], 1e-5);
}
END_TEST

/* Many values in [0, 1), fewer towards 1, and a single one at 16. */
static PipelineQuantizeHistogram *make_histogram(void)
{
  PipelineQuantizeHistogram *h = g_new0(PipelineQuantizeHistogram, 1);
  h->low = 0;
  h->high = 16;
  for (guint i = 0; i < PIPELINE_QUANTIZE_BINS / 16; i++) h->counts[i] = (PIPELINE_QUANTIZE_BINS / 16 - i) * 1000000;
  h->counts[PIPELINE_QUANTIZE_BINS - 1] = 1;
  for (guint i = 0; i < PIPELINE_QUANTIZE_BINS; i++) h->n += h->counts[i];
  return h;
}

START_TEST(ranges_of_an_outlier)
{
  g_autofree PipelineQuantizeHistogram *h = make_histogram();
  const struct {
    const gchar *method;
    double percentile, low, high; /* of the upper end */
  } cases[] = {{"min-max", 99, 16, 16},
               {"percentile", 99.9, .9, 1.0},
               {"percentile", 100, 16, 16},
               {"mse", 99, 1.0, 3.2},
               {"entropy", 99, 1.0, 3.2}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    OnnxQuantizeRange range;
    ck_assert(pipeline_quantize_choose(h, cases[i].method, cases[i].percentile, &range, NULL));
    ck_assert_msg((double)range.high >= cases[i].low && (double)range.high <= cases[i].high, "%s: %g", cases[i].method,
                  (double)range.high);
    ck_assert_double_eq((double)range.low, 0);
  }
  g_autoptr(GError) error = NULL;
  OnnxQuantizeRange range;
  ck_assert(!pipeline_quantize_choose(h, "guess", 99, &range, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "entropy, mse"));
}
END_TEST

/* x [1, 2, n] through QuantizeLinear and DequantizeLinear; one scale and zero point, or the same for each of two
 * channels. */
static void round_trip(const float *x, guint n, OnnxType type, gboolean channels, float scale, gint8 zero, float *y)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("pair");
  g_autoptr(GError) error = NULL;
  const gint64 two = 2;
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "1,2,?");
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "1,2,?");
  onnx_graph_take_initialiser(
      graph, onnx_tensor_new("s", ONNX_TYPE_FLOAT, channels ? 1 : 0, &two, (const float[]){scale, scale}));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("z", type, channels ? 1 : 0, &two, (const gint8[]){zero, zero}));
  onnx_graph_add_node(graph, "", "QuantizeLinear", "x,s,z", "q");
  onnx_graph_add_node(graph, "", "DequantizeLinear", "q,s,z", "y");
  g_autoptr(PipelineExecutor) executor =
      pipeline_executor_new(graph, pipeline_backend_find("reference", TRUE, NULL), &error);
  ck_assert_msg(executor != NULL, "%s", error ? error->message : "");
  PipelineTensor *input = pipeline_executor_get_input(executor, 0);
  ck_assert(pipeline_tensor_set_shape(input, ONNX_TYPE_FLOAT, 3, (gint64[]){1, 2, n / 2}, NULL));
  ck_assert(pipeline_tensor_allocate(input, NULL));
  memcpy(input->data, x, n * sizeof(float));
  ck_assert_msg(pipeline_executor_run(executor, FALSE, &error), "%s", error ? error->message : "");
  memcpy(y, pipeline_executor_get_output(executor, 0)->data, n * sizeof(float));
}

START_TEST(one_scale_computes_what_many_do)
{
  const OnnxType types[] = {ONNX_TYPE_INT8, ONNX_TYPE_UINT8};
  const float scales[] = {.25f, 3e-5f, 1e30f, 0};
  float x[1000] = {NAN, INFINITY, -INFINITY, 0, -0.f, .125f, .375f, -.125f, -.375f, 1e38f}, one[1000], many[1000];
  PipelineRandom random;
  pipeline_random_seed(&random, 5);
  for (guint i = 10; i < 1000; i++) x[i] = (float)(200 * pipeline_random_uniform(&random) - 100);
  for (guint t = 0; t < 2; t++)
    for (guint s = 0; s < G_N_ELEMENTS(scales); s++)
      for (gint zero = -3; zero <= 90; zero += 31) {
        round_trip(x, 1000, types[t], FALSE, scales[s], (gint8)zero, one);
        round_trip(x, 1000, types[t], TRUE, scales[s], (gint8)zero, many);
        ck_assert_mem_eq(one, many, sizeof one);
      }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("compress");
  TCase *tests = tcase_create("compress");
  tcase_add_test(tests, normalisation_becomes_weights);
  tcase_add_test(tests, normalisation_that_others_read_stays);
  tcase_add_test(tests, scales_hold_zero_exactly);
  tcase_add_test(tests, eight_bits_are_close_and_small);
  tcase_add_test(tests, changes_of_shape_share_a_scale);
  tcase_add_test(tests, kept_layers_and_refusals);
  tcase_add_test(tests, pruned_channels_keep_their_bias);
  tcase_add_test(tests, ranges_of_an_outlier);
  tcase_add_test(tests, one_scale_computes_what_many_do);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
