/* Convolutions and pools in the layouts of oneDNN and by our loops over them, against the reference. All numbers are
 * small integers, so that every sum is exact whatever its order: the results have to be the same bits, and maxima that
 * are equal have to be decided alike; also when Relu and MaxPool change places (graph_pass_order.c). */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/gradient_check.h"
#include "pipeline/graph_pass.h"
#include "pipeline/operator_internal.h"

typedef struct {
  gint64 channels, height, width, results; /* width 0: one spatial dimension */
  gint64 kernel;                           /* of the convolution */
  const gchar *convolution;                /* its attributes, separated by spaces */
  const gchar *pool;                       /* those of a MaxPool; NULL: there is none */
  gboolean relu;
} Case;

static const Case cases[] = {
    /* pools: tiled, with a rest, overlapping, padded, ceil_mode, of one dimension */
    {3, 8, 8, 16, 1, "", "kernel_shape=[2,2] strides=[2,2]", TRUE},
    {3, 9, 7, 16, 1, "", "kernel_shape=[2,2] strides=[2,2]", FALSE},
    {3, 9, 9, 24, 1, "", "kernel_shape=[3,3] strides=[2,2] pads=[1,1,1,1]", TRUE},
    {3, 8, 8, 16, 1, "", "kernel_shape=[3,2] strides=[1,2] pads=[0,1,2,0]", FALSE},
    {3, 8, 9, 8, 1, "", "kernel_shape=[3,3] strides=[2,2] ceil_mode=1", TRUE},
    {3, 9, 9, 20, 1, "", "kernel_shape=[2,2] strides=[3,3]", FALSE},
    {3, 11, 0, 16, 1, "", "kernel_shape=[3] strides=[2] pads=[1,1]", TRUE},
    {3, 16, 16, 6, 1, "", "kernel_shape=[2,2] strides=[2,2]", TRUE},
    {3, 18, 18, 16, 1, "", "kernel_shape=[16,16] strides=[1,1]", FALSE},
    /* gradients of weights for one and two channels */
    {1, 8, 8, 16, 3, "pads=[1,1,1,1]", NULL, FALSE},
    {1, 9, 10, 20, 5, "pads=[2,0,1,2] strides=[2,1]", NULL, TRUE},
    {2, 12, 12, 8, 3, "dilations=[2,3] pads=[0,2,2,0]", NULL, FALSE},
    {2, 16, 16, 8, 7, "strides=[2,2] pads=[3,3,3,3]", "kernel_shape=[2,2] strides=[2,2]", TRUE},
    {1, 10, 0, 16, 9, "pads=[4,4]", NULL, FALSE},
    {2, 8, 8, 16, 3, "group=2 pads=[1,1,1,1]", NULL, FALSE},
    {1, 7, 7, 3, 2, "strides=[3,3]", NULL, TRUE},
    /* Winograd: even and odd sides, paddings, groups of channels that are not full, several chunks of tiles */
    {16, 8, 8, 16, 3, "pads=[1,1,1,1]", NULL, FALSE},
    {32, 14, 14, 64, 3, "pads=[1,1,1,1]", "kernel_shape=[2,2] strides=[2,2]", TRUE},
    {16, 7, 9, 24, 3, "", NULL, TRUE},
    {20, 9, 6, 17, 3, "pads=[0,2,1,1]", NULL, FALSE},
    {40, 6, 6, 16, 3, "pads=[3,1,2,4]", NULL, FALSE},
    {16, 19, 23, 40, 3, "pads=[2,2,2,2]", NULL, TRUE},
    {16, 4, 4, 16, 3, "pads=[1,1,1,1]", NULL, FALSE},
    {32, 8, 8, 32, 3, "group=2 pads=[1,1,1,1]", NULL, FALSE},
};

static void add_attributes(OnnxNode *node, const gchar *text)
{
  g_auto(GStrv) words = g_strsplit(text, " ", -1);
  for (guint i = 0; words[i] != NULL; i++)
    if (words[i][0] != '\0') pipeline_example_attribute(node, words[i]);
}

static gfloat *draw(gsize n, PipelineRandom *random)
{
  gfloat *values = g_new(gfloat, n);
  for (gsize i = 0; i < n; i++) values[i] = (gfloat)pipeline_random_below(random, 7) - 3;
  return values;
}

static void take_weights(OnnxGraph *graph, const gchar *name, guint n_dims, const gint64 *dims, PipelineRandom *random)
{
  gsize n = 1;
  for (guint d = 0; d < n_dims; d++) n *= (gsize)dims[d];
  g_autofree gfloat *values = draw(n, random);
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, n_dims, dims, values));
}

/* watched: what Relu makes is an output too, so that it is computed where it stands. */
static OnnxGraph *new_graph(const Case *c, gboolean watched, PipelineRandom *random)
{
  OnnxGraph *graph = onnx_graph_new("layouts");
  gint64 groups = strstr(c->convolution, "group=2") != NULL ? 2 : 1;
  const gint64 dims[] = {c->results, c->channels / groups, c->kernel, c->kernel};
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, NULL);
  take_weights(graph, "w", c->width > 0 ? 4 : 3, dims, random);
  take_weights(graph, "b", 1, &c->results, random);
  add_attributes(onnx_graph_add_node(graph, "", "Conv", "x,w,b", "c"), c->convolution);
  const gchar *last = "c";
  if (c->relu) onnx_graph_add_node(graph, "", "Relu", last, "r"), last = "r";
  if (c->pool != NULL) add_attributes(onnx_graph_add_node(graph, "", "MaxPool", last, "p"), c->pool), last = "p";
  onnx_graph_add_node(graph, "", "Identity", last, "y");
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, NULL);
  if (watched && c->relu) onnx_graph_add_output(graph, "r", ONNX_TYPE_FLOAT, NULL);
  return graph;
}

static void expect_equal(const PipelineTensor *found, const PipelineTensor *wanted, guint index, const gchar *what)
{
  ck_assert_uint_eq(found->n, wanted->n);
  const gfloat *a = found->data, *b = wanted->data;
  for (gsize i = 0; i < found->n; i++)
    ck_assert_msg(a[i] == b[i], "case %u: %s [%zu] is %g, not %g", index, what, i, (double)a[i], (double)b[i]);
}

/* Relu is computed behind a pool that reads it alone; a window of ceil_mode may have nothing in it. */
static void expect_order(const Case *c, PipelineGraphPass *pass, guint index)
{
  if (!c->relu || c->pool == NULL) return;
  const PipelineTensor *relu = pipeline_graph_pass_get_value(pass, "r"),
                       *pool = pipeline_graph_pass_get_value(pass, "p");
  gboolean moved = strstr(c->pool, "ceil_mode") == NULL;
  ck_assert_msg((relu == pool) == moved, "case %u", index);
}

START_TEST(the_results_are_the_bits_of_the_reference)
{
  static const gchar *const wanted[] = {"x", "w", "b", NULL}, *const heads[] = {"y", NULL};
  const PipelineGradientBackend *backends[] = {&pipeline_gradient_backend_onednn, &pipeline_gradient_backend_reference};
  const guint batches[] = {3, 1, 8};
  const Case *c = &cases[_i];
  PipelineRandom random;
  pipeline_random_seed(&random, 21 + (guint64)_i);
  PipelineRandom same = random;
  g_autoptr(OnnxGraph) graph = new_graph(c, FALSE, &random), watched = new_graph(c, TRUE, &same);
  PipelineGraphPass *passes[2];
  g_autoptr(GError) error = NULL;
  for (guint k = 0; k < 2; k++) {
    const PipelineGraphPassOptions options = {.wanted = wanted, .heads = heads, .backend = backends[k]};
    passes[k] = pipeline_graph_pass_new(k == 0 ? graph : watched, &options, &error);
    ck_assert_msg(passes[k] != NULL, "%s", error != NULL ? error->message : "");
  }
  for (guint turn = 0; turn < G_N_ELEMENTS(batches); turn++) {
    const gint64 dims[] = {batches[turn], c->channels, c->height, c->width};
    g_autofree gfloat *x = draw((gsize)(dims[0] * dims[1] * dims[2] * MAX(dims[3], 1)), &random), *dy = NULL;
    for (guint k = 0; k < 2; k++) {
      ck_assert(pipeline_graph_pass_set_input(passes[k], 0, c->width > 0 ? 4 : 3, dims, x, &error));
      ck_assert_msg(pipeline_graph_pass_forward(passes[k], TRUE, NULL, &error), "%s", error ? error->message : "");
      if (dy == NULL) dy = draw(pipeline_graph_pass_get_head(passes[k], 0)->n, &random);
      ck_assert_msg(pipeline_graph_pass_backward(passes[k], (const gfloat *const[]){dy}, &error), "%s",
                    error ? error->message : "");
    }
    expect_equal(pipeline_graph_pass_get_head(passes[0], 0), pipeline_graph_pass_get_head(passes[1], 0), (guint)_i,
                 "y");
    expect_order(c, passes[0], (guint)_i);
    for (guint i = 0; wanted[i] != NULL; i++)
      expect_equal(pipeline_graph_pass_get_gradient(passes[0], i), pipeline_graph_pass_get_gradient(passes[1], i),
                   (guint)_i, wanted[i]);
  }
  pipeline_graph_pass_free(passes[0]);
  pipeline_graph_pass_free(passes[1]);
}
END_TEST

/* And of numbers of all sizes rounding stays within the bounds that hold for every kernel; differences know nothing of
 * how a convolution is computed. */
START_TEST(rounding_stays_within_the_bounds)
{
  const PipelineGradientBackend *backend = &pipeline_gradient_backend_onednn;
  PipelineGradient row = *pipeline_gradient_find("", "Conv");
  g_autoptr(GError) error = NULL;
  row.examples = "f[2,16,7,8] ?; f[16,16,3,3] ?; f[16] ? { pads=[1,1,1,1] } | "
                 "f[3,1,9,9] ?; f[8,1,5,5] ?; f[8] ? { strides=[2,1] }";
  double found = pipeline_gradient_check_differences(&row, backend, &error);
  ck_assert_msg(found >= 0 && found <= row.tolerance, "differences: %g %s", found, error != NULL ? error->message : "");
  row.examples = "f[4,64,13,14] ?; f[96,64,3,3] ?; f[96] ? { pads=[1,1,1,1] } | "
                 "f[16,1,28,28] ?; f[32,1,3,3] ?; f[32] ? { pads=[1,1,1,1] }";
  found = pipeline_gradient_check_backend(&row, backend, &error);
  ck_assert_msg(found >= 0 && found <= pipeline_gradient_kernel_find(backend, "Conv")->tolerance, "reference: %g %s",
                found, error != NULL ? error->message : "");
  if (g_getenv("VERBOSE") != NULL) printf("of the reference %.1e\n", found);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("image_layouts");
  TCase *tests = tcase_create("exact");
  tcase_add_loop_test(tests, the_results_are_the_bits_of_the_reference, 0, G_N_ELEMENTS(cases));
  tcase_add_test(tests, rounding_stays_within_the_bounds);
  tcase_set_timeout(tests, 120);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
