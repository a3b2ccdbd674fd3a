/* From rows to ONNX bytes on a graph: networks for images and vectors, backends on whole graphs, what is refused. */
#include <check.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "pipeline/executor.h"
#include "pipeline/graph_build.h"
#include "pipeline/graph_trainer.h"
#include "pipeline/npz.h"

#define SIDE 8
#define PIXELS (SIDE * SIDE)

/* Images of a bright bar: class 0 lies, class 1 stands, class 2 is a square; anywhere, with noise. */
static PipelineGraphRows *new_images(guint n)
{
  PipelineRandom random;
  PipelineGraphRows *rows = g_new0(PipelineGraphRows, 1);
  pipeline_random_seed(&random, 12);
  *rows = (PipelineGraphRows){.schema = drift_schema_new(DRIFT_TASK_MULTICLASS, "y"),
                              .x = g_new0(float, n *PIXELS),
                              .targets = g_new(float, n),
                              .n_rows = n,
                              .n_features = PIXELS,
                              .channels = 1,
                              .height = SIDE,
                              .width = SIDE};
  for (guint c = 0; c < 3; c++) drift_schema_add_class(rows->schema, (const gchar *[]){"0", "1", "2"}[c]);
  for (guint k = 0; k < PIXELS; k++) {
    g_autofree gchar *name = g_strdup_printf("x[%u]", k);
    drift_schema_add_feature(rows->schema, name, DRIFT_NUMERIC, FALSE, TRUE);
  }
  for (guint i = 0; i < n; i++) {
    guint class = (guint)pipeline_random_below(&random, 3),
          height = class == 0   ? 1
                   : class == 1 ? 4
                                : 2,
          width = 4 / height;
    guint top = (guint)pipeline_random_below(&random, SIDE - height + 1),
          left = (guint)pipeline_random_below(&random, SIDE - width + 1);
    for (guint k = 0; k < PIXELS; k++) {
      gboolean bright = k / SIDE >= top && k / SIDE < top + height && k % SIDE >= left && k % SIDE < left + width;
      rows->x[i * PIXELS + k] = (float)((bright ? 1 : 0) + 0.1 * pipeline_random_normal(&random));
    }
    rows->targets[i] = (float)class;
  }
  return rows;
}

static void options_init(PipelineGraphTrainOptions *options)
{
  pipeline_graph_train_options_init(options);
  options->architecture = "cnn:8,8";
  options->dropout = 0.2;
  options->fit.epochs = 8;
  options->fit.batch_size = 32;
  options->fit.learning_rate = 0.005;
  options->test_fraction = 0.25;
  options->validation_fraction = 0;
}

static void train(const PipelineGraphRows *rows, const PipelineGraphTrainOptions *options, PipelineTrainResult *result)
{
  g_autoptr(GError) error = NULL;
  memset(result, 0, sizeof *result);
  ck_assert_msg(pipeline_graph_train(rows, options, NULL, NULL, result, &error), "%s",
                error != NULL ? error->message : "");
}

/* Probabilities of the exported bytes by the executor that predicts. */
static void predict(GBytes *onnx, const PipelineGraphRows *rows, guint first, guint n, float *probabilities)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, &error);
  ck_assert_msg(graph != NULL, "%s", error != NULL ? error->message : "");
  onnx_graph_simplify(graph);
  g_autoptr(PipelineExecutor) executor = pipeline_executor_new(graph, &pipeline_backend_reference, &error);
  ck_assert_msg(executor != NULL, "%s", error != NULL ? error->message : "");
  PipelineTensor *input = pipeline_executor_get_input(executor, 0);
  ck_assert(pipeline_tensor_set_shape(input, ONNX_TYPE_FLOAT, 2, (gint64[]){n, (gint64)rows->n_features}, &error));
  ck_assert(pipeline_tensor_allocate(input, &error));
  memcpy(input->data, rows->x + (gsize)first * rows->n_features, n * rows->n_features * sizeof(float));
  ck_assert_msg(pipeline_executor_run(executor, FALSE, &error), "%s", error != NULL ? error->message : "");
  const PipelineTensor *output = pipeline_executor_get_output(executor, graph->outputs->len - 1);
  memcpy(probabilities, output->data, output->n * sizeof(float));
}

static double accuracy_of(GBytes *onnx, const PipelineGraphRows *rows, guint first)
{
  guint n = (guint)rows->n_rows - first, right = 0;
  g_autofree float *p = g_new(float, (gsize)n * 3);
  predict(onnx, rows, first, n, p);
  for (guint i = 0; i < n; i++) {
    guint best = p[3 * i + 1] > p[3 * i] ? 1 : 0;
    if (p[3 * i + 2] > p[3 * i + best]) best = 2;
    right += best == (guint)rows->targets[first + i];
  }
  return (double)right / n;
}

/* What is measured while training is what the exported file does. */
START_TEST(a_network_for_images_learns_and_is_exported)
{
  g_autoptr(PipelineGraphRows) rows = new_images(600);
  PipelineGraphTrainOptions options;
  PipelineTrainResult result;
  options_init(&options);
  if (_i == 1) options.fit.average = PIPELINE_AVERAGE_EMA, options.fit.average_decay = 0.95;
  if (_i == 2) options.validation_fraction = 0.2;
  train(rows, &options, &result);
  ck_assert_uint_eq(result.n_test, 150);
  ck_assert_double_gt(result.test_metric, 0.9);
  ck_assert_double_eq_tol(accuracy_of(result.onnx, rows, 450), result.test_metric, 1e-9);
  pipeline_train_result_clear(&result);
}
END_TEST

START_TEST(a_trained_network_is_tuned_further)
{
  g_autoptr(PipelineGraphRows) rows = new_images(400);
  PipelineGraphTrainOptions options;
  PipelineTrainResult first, second;
  options_init(&options);
  options.fit.epochs = 2;
  train(rows, &options, &first);
  options.from = first.onnx;
  options.fit.epochs = 4;
  train(rows, &options, &second);
  ck_assert_double_lt(second.train_loss, first.train_loss);
  pipeline_train_result_clear(&first);
  pipeline_train_result_clear(&second);
}
END_TEST

/* Same seed, same bytes; another seed, others. */
START_TEST(seeds_decide)
{
  g_autoptr(PipelineGraphRows) rows = new_images(200);
  PipelineGraphTrainOptions options;
  PipelineTrainResult a, b, c;
  options_init(&options);
  options.fit.epochs = 1;
  options.fit.augment.shift = 1;
  train(rows, &options, &a);
  train(rows, &options, &b);
  options.fit.seed = 2;
  train(rows, &options, &c);
  ck_assert(g_bytes_equal(a.onnx, b.onnx));
  ck_assert(!g_bytes_equal(a.onnx, c.onnx));
  pipeline_train_result_clear(&a);
  pipeline_train_result_clear(&b);
  pipeline_train_result_clear(&c);
}
END_TEST

/* --- backends on a whole graph: skips, several readers, layouts that change between kernels and batches --------------
 */

static void take_weights(OnnxGraph *graph, const gchar *name, guint n_dims, const gint64 *dims, PipelineRandom *random)
{
  gsize n = 1;
  for (guint d = 0; d < n_dims; d++) n *= (gsize)dims[d];
  g_autofree float *values = g_new(float, n);
  for (gsize i = 0; i < n; i++)
    values[i] = (float)(0.3 * pipeline_random_normal(random) + (strstr(name, "scale") ? 1 : 0));
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, n_dims, dims, values));
}

/* conv → norm → relu → conv → norm → + skip → relu → { max pool → flatten → gemm } + { global mean → flatten → gemm }
 */
static OnnxGraph *new_residual(void)
{
  PipelineRandom random;
  OnnxGraph *graph = onnx_graph_new("residual");
  pipeline_random_seed(&random, 8);
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,3,8,8");
  take_weights(graph, "w1", 4, (gint64[]){20, 3, 3, 3}, &random);
  take_weights(graph, "w2", 4, (gint64[]){20, 20, 3, 3}, &random);
  take_weights(graph, "g1", 2, (gint64[]){3, 20 * 16}, &random);
  take_weights(graph, "g2", 2, (gint64[]){3, 20}, &random);
  take_weights(graph, "b", 1, (gint64[]){3}, &random);
  for (guint i = 1; i < 3; i++) {
    const gchar *const names[] = {"scale", "shift", "mean", "variance"};
    for (guint k = 0; k < 4; k++) {
      g_autofree gchar *name = g_strdup_printf("%s%u", k == 3 ? "scale_variance" : names[k], i);
      take_weights(graph, name, 1, (gint64[]){20}, &random);
      if (k != 3) continue;
      float ones[20];
      for (guint c = 0; c < 20; c++) ones[c] = 1;
      onnx_tensor_set_floats(onnx_graph_find_initialiser(graph, name), ones);
    }
  }
  const gint64 pads[] = {1, 1, 1, 1}, two[] = {2, 2};
  onnx_node_set_ints(onnx_graph_add_node(graph, "", "Conv", "x,w1", "c1"), "pads", pads, 4);
  onnx_graph_add_node(graph, "", "BatchNormalization", "c1,scale1,shift1,mean1,scale_variance1", "n1");
  onnx_graph_add_node(graph, "", "Relu", "n1", "r1");
  onnx_node_set_ints(onnx_graph_add_node(graph, "", "Conv", "r1,w2", "c2"), "pads", pads, 4);
  onnx_graph_add_node(graph, "", "BatchNormalization", "c2,scale2,shift2,mean2,scale_variance2", "n2");
  onnx_graph_add_node(graph, "", "Add", "n2,r1", "s");
  onnx_graph_add_node(graph, "", "Relu", "s", "r2");
  OnnxNode *pool = onnx_graph_add_node(graph, "", "MaxPool", "r2", "p");
  onnx_node_set_ints(pool, "kernel_shape", two, 2);
  onnx_node_set_ints(pool, "strides", two, 2);
  onnx_graph_add_node(graph, "", "Flatten", "p", "f");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", "f,g1,b", "y1"), "transB", 1);
  onnx_graph_add_node(graph, "", "GlobalAveragePool", "r2", "a");
  onnx_graph_add_node(graph, "", "Flatten", "a", "fa");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", "fa,g2", "y2"), "transB", 1);
  onnx_graph_add_node(graph, "", "Add", "y1,y2", "y");
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,3");
  return graph;
}

static const gchar *const residual_wanted[] = {"x",      "w1",     "w2",     "g1",     "g2", "b",
                                               "scale1", "shift1", "scale2", "shift2", NULL};

static double worst_difference(const PipelineTensor *a, const PipelineTensor *b)
{
  double worst = 0, largest = 1e-6;
  ck_assert_uint_eq(a->n, b->n);
  for (gsize i = 0; i < a->n; i++) {
    double x = (double)((const float *)a->data)[i], y = (double)((const float *)b->data)[i];
    worst = MAX(worst, fabs(x - y));
    largest = MAX(largest, fabs(y));
  }
  return worst / largest;
}

START_TEST(backends_agree_on_a_whole_graph)
{
  g_autoptr(OnnxGraph) graph = new_residual();
  PipelineGraphPass *passes[2];
  const guint batches[] = {5, 2, 5, 1};
  PipelineRandom random;
  g_autoptr(GError) error = NULL;
  pipeline_random_seed(&random, 3);
  for (guint k = 0; k < 2; k++) {
    const PipelineGraphPassOptions options = {.wanted = residual_wanted,
                                              .heads = (const gchar *const[]){"y", NULL},
                                              .backend = k == 0 ? &pipeline_gradient_backend_reference
                                                                : &pipeline_gradient_backend_onednn};
    passes[k] = pipeline_graph_pass_new(graph, &options, &error);
    ck_assert_msg(passes[k] != NULL, "%s", error != NULL ? error->message : "");
  }
  for (guint turn = 0; turn < G_N_ELEMENTS(batches); turn++) {
    guint n = batches[turn];
    g_autofree float *x = g_new(float, n * 192), *dy = g_new(float, n * 3);
    for (guint i = 0; i < n * 192; i++) x[i] = (float)pipeline_random_normal(&random);
    for (guint i = 0; i < n * 3; i++) dy[i] = (float)pipeline_random_normal(&random);
    for (guint k = 0; k < 2; k++) {
      ck_assert(pipeline_graph_pass_set_input(passes[k], 0, 4, (gint64[]){n, 3, 8, 8}, x, &error));
      ck_assert_msg(pipeline_graph_pass_forward(passes[k], turn != 2, NULL, &error), "%s", error ? error->message : "");
      ck_assert_msg(pipeline_graph_pass_backward(passes[k], (const float *const[]){dy}, &error), "%s",
                    error ? error->message : "");
      ck_assert_ptr_nonnull(pipeline_graph_pass_get_value(passes[k], "r1")); /* looks inside: layouts change */
    }
    ck_assert_double_le(
        worst_difference(pipeline_graph_pass_get_head(passes[1], 0), pipeline_graph_pass_get_head(passes[0], 0)), 1e-5);
    for (guint i = 0; residual_wanted[i] != NULL; i++) {
      double found = worst_difference(pipeline_graph_pass_get_gradient(passes[1], i),
                                      pipeline_graph_pass_get_gradient(passes[0], i));
      ck_assert_msg(found <= 1e-4, "%s, batch of %u: %g", residual_wanted[i], n, found);
    }
  }
  pipeline_graph_pass_free(passes[0]);
  pipeline_graph_pass_free(passes[1]);
}
END_TEST

/* --- what is refused
 * ---------------------------------------------------------------------------------------------------- */

static void expect_error(const PipelineGraphRows *rows, const PipelineGraphTrainOptions *options, const gchar *text)
{
  g_autoptr(GError) error = NULL;
  PipelineTrainResult result = {0};
  ck_assert(!pipeline_graph_train(rows, options, NULL, NULL, &result, &error));
  ck_assert_msg(strstr(error->message, text) != NULL, "%s", error->message);
  ck_assert_ptr_null(result.onnx);
}

START_TEST(what_cannot_be_trained_is_said)
{
  g_autoptr(PipelineGraphRows) rows = new_images(60);
  PipelineGraphTrainOptions options;
  options_init(&options);
  options.architecture = "cnn:8,8,8,8";
  expect_error(rows, &options, "too small");
  options.architecture = "rnn:8";
  expect_error(rows, &options, "rnn:8");
  options.architecture = "cnn:8";
  options.width = 5, options.height = 5, options.channels = 1;
  expect_error(rows, &options, "1 × 5 × 5");
  options.width = options.height = options.channels = 0;
  options.freeze = (const gchar *const[]){"encoder.*", NULL};
  expect_error(rows, &options, "encoder.*");
  options.freeze = NULL;
  options.loss = "hinge";
  expect_error(rows, &options, "cross-entropy");
  options.loss = NULL;
  options.backend = "opencl";
  expect_error(rows, &options, "known: cuda, onednn, reference");
  options.backend = NULL;
  g_autoptr(GBytes) garbage = g_bytes_new_static("no model", 8);
  options.from = garbage;
  expect_error(rows, &options, "not a usable ONNX");
}
END_TEST

/* A node without a gradient on the way from a weight to the loss is named; frozen, it is no obstacle. */
START_TEST(an_operator_without_gradient_is_named)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("cumulative");
  PipelineRandom random;
  pipeline_random_seed(&random, 1);
  const gint64 axis = 1;
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,4");
  take_weights(graph, "first", 2, (gint64[]){4, 4}, &random);
  take_weights(graph, "last", 2, (gint64[]){4, 3}, &random);
  onnx_graph_take_initialiser(graph, onnx_tensor_new("axis", ONNX_TYPE_INT64, 0, NULL, &axis));
  onnx_graph_add_node(graph, "", "MatMul", "x,first", "h");
  onnx_graph_add_node(graph, "", "CumSum", "h,axis", "c");
  onnx_graph_add_node(graph, "", "MatMul", "c,last", "y");
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,3");
  g_autoptr(GError) error = NULL;
  PipelineGraphPassOptions options = {.wanted = (const gchar *const[]){"first", "last", NULL},
                                      .heads = (const gchar *const[]){"y", NULL},
                                      .backend = &pipeline_gradient_backend_reference};
  ck_assert_ptr_null(pipeline_graph_pass_new(graph, &options, &error));
  ck_assert_msg(strstr(error->message, "CumSum") != NULL && strstr(error->message, "freeze") != NULL, "%s",
                error->message);
  g_clear_error(&error);
  options.wanted = (const gchar *const[]){"last", NULL};
  g_autoptr(PipelineGraphPass) pass = pipeline_graph_pass_new(graph, &options, &error);
  ck_assert_msg(pass != NULL, "%s", error != NULL ? error->message : "");
}
END_TEST

/* A node with fewer inputs than its operator has never reaches a kernel. */
START_TEST(a_node_without_its_inputs_is_refused)
{
  static const gchar *const nodes[][2] = {
      {"Gemm", "x"}, {"Conv", "x"}, {"BatchNormalization", "x,w"}, {"LSTM", "x,w"}, {"Where", "x"}};
  for (guint i = 0; i < G_N_ELEMENTS(nodes); i++) {
    g_autoptr(OnnxGraph) graph = onnx_graph_new("short");
    PipelineRandom random;
    g_autoptr(GError) error = NULL;
    pipeline_random_seed(&random, 1);
    onnx_graph_set_opset(graph, "", 17);
    onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,4");
    take_weights(graph, "w", 2, (gint64[]){4, 4}, &random);
    onnx_graph_add_node(graph, "", nodes[i][0], nodes[i][1], "y");
    onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,4");
    const PipelineGraphPassOptions options = {.wanted = (const gchar *const[]){"w", NULL},
                                              .heads = (const gchar *const[]){"y", NULL},
                                              .backend = &pipeline_gradient_backend_onednn};
    ck_assert_ptr_null(pipeline_graph_pass_new(graph, &options, &error));
    ck_assert_msg(strstr(error->message, nodes[i][0]) != NULL, "%s", error->message);
  }
}
END_TEST

/* --- .npz
 * --------------------------------------------------------------------------------------------------------------- */

/* An archive of one stored member "a" whose .npy is [2, 1, 2] of uint8 1 2 3 4. */
static GByteArray *new_npz(void)
{
  GByteArray *file = g_byte_array_new();
  guint8 npy[132] = "\x93NUMPY\x01\x00\x76\x00{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1, 2), }";
  for (gsize i = strlen((const char *)npy + 10) + 10; i < 127; i++) npy[i] = ' ';
  npy[8] = 0x76, npy[9] = 0;
  npy[127] = '\n', npy[128] = 1, npy[129] = 2, npy[130] = 3, npy[131] = 4;
  guint32 checksum = 0xffffffffu;
  for (guint i = 0; i < sizeof npy; i++) {
    checksum ^= npy[i];
    for (guint bit = 0; bit < 8; bit++) checksum = (checksum >> 1) ^ (checksum & 1 ? 0xedb88320u : 0);
  }
  checksum ^= 0xffffffffu;
  guint8 local[30 + 5] = "PK\3\4", entry[46 + 5] = "PK\1\2", end[22] = "PK\5\6";
  local[26] = 5;
  memcpy(local + 30, "a.npy", 5);
  for (guint i = 0; i < 4; i++) local[14 + i] = entry[16 + i] = (guint8)(checksum >> (8 * i));
  local[18] = local[22] = entry[20] = entry[24] = sizeof npy;
  entry[28] = 5;
  memcpy(entry + 46, "a.npy", 5);
  end[8] = end[10] = 1;
  end[12] = sizeof entry;
  end[16] = sizeof local + sizeof npy;
  g_byte_array_append(file, local, sizeof local);
  g_byte_array_append(file, npy, sizeof npy);
  g_byte_array_append(file, entry, sizeof entry);
  g_byte_array_append(file, end, sizeof end);
  return file;
}

static PipelineArray *read_npz(const guint8 *bytes, gsize n, const gchar *name, GError **error)
{
  g_autofree gchar *folder = g_dir_make_tmp("kedge-npz-XXXXXX", NULL), *path = g_build_filename(folder, "a.npz", NULL);
  ck_assert(g_file_set_contents(path, (const gchar *)bytes, (gssize)n, NULL));
  g_autoptr(PipelineNpz) npz = pipeline_npz_open(path, error);
  PipelineArray *array = npz != NULL ? pipeline_npz_read(npz, name, error) : NULL;
  g_unlink(path);
  g_rmdir(folder);
  return array;
}

START_TEST(archives_are_read_and_every_damage_is_seen)
{
  g_autoptr(GByteArray) file = new_npz();
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineArray) array = read_npz(file->data, file->len, "a", &error);
  ck_assert_msg(array != NULL, "%s", error != NULL ? error->message : "");
  ck_assert_uint_eq(array->n_rows, 2);
  ck_assert_uint_eq(array->n_columns, 2);
  ck_assert_uint_eq(array->n_row_dims, 2);
  ck_assert_double_eq(array->values[3], 4);
  ck_assert_ptr_null(read_npz(file->data, file->len, "b", &error));
  ck_assert_ptr_nonnull(strstr(error->message, "there are: a"));
  for (gsize cut = 0; cut < file->len; cut++) {
    g_clear_error(&error);
    ck_assert_ptr_null(read_npz(file->data, cut, "a", &error));
    ck_assert_ptr_nonnull(error);
  }
  for (gsize at = 35; at < 35 + 132; at++) { /* the checksum sees a changed byte of the member */
    g_clear_error(&error);
    file->data[at] ^= 0x10;
    ck_assert_ptr_null(read_npz(file->data, file->len, "a", &error));
    file->data[at] ^= 0x10;
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("graph_trainer");
  TCase *tests = tcase_create("training");
  tcase_add_loop_test(tests, a_network_for_images_learns_and_is_exported, 0, 3);
  tcase_add_test(tests, a_trained_network_is_tuned_further);
  tcase_add_test(tests, seeds_decide);
  tcase_add_test(tests, backends_agree_on_a_whole_graph);
  tcase_add_test(tests, what_cannot_be_trained_is_said);
  tcase_add_test(tests, an_operator_without_gradient_is_named);
  tcase_add_test(tests, a_node_without_its_inputs_is_refused);
  tcase_add_test(tests, archives_are_read_and_every_damage_is_seen);
  tcase_set_timeout(tests, 120);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
