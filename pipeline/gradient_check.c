#include "pipeline/gradient_check.h"

#include <math.h>
#include <string.h>

#include "pipeline/graph_pass.h"
#include "pipeline/operator_internal.h"

#define MAX_INPUTS 8
#define STEP 0.02
#define SPACING 0.13f

/* One example as a graph of one node. */
typedef struct {
  OnnxGraph *graph;
  GPtrArray *inputs;         /* of OnnxTensor*: the random ones, in the order of graph->inputs */
  GPtrArray *wanted, *heads; /* of gchar*, NULL-terminated */
  PipelinePrecision precision;
} Example;

static void example_clear(Example *example)
{
  onnx_graph_free(example->graph);
  g_clear_pointer(&example->inputs, g_ptr_array_unref);
  g_clear_pointer(&example->wanted, g_ptr_array_unref);
  g_clear_pointer(&example->heads, g_ptr_array_unref);
}

static OnnxTensor *random_tensor(const gchar *text, const gchar *name, PipelineRandom *random)
{
  g_auto(GStrv) words = g_strsplit(text, " ", 2);
  g_autoptr(GString) zeros = g_string_new(words[0]);
  gsize n = 1;
  for (const gchar *at = words[0] + 2; *at != ']' && *at != '\0'; at += strcspn(at, ",]") + (strchr(at, ',') ? 1 : 0))
    n *= (gsize)g_ascii_strtoull(at, NULL, 10);
  for (gsize i = 0; i < n; i++) g_string_append(zeros, " 0");
  OnnxTensor *tensor = pipeline_example_tensor(zeros->str, name);
  g_autofree float *values = g_new(float, n);
  g_autofree guint64 *order = g_new(guint64, n);
  for (gsize i = 0; i < n; i++) order[i] = i;
  pipeline_random_shuffle(random, order, n);
  for (gsize i = 0; i < n; i++) {
    double uniform = pipeline_random_uniform(random);
    values[i] = words[1][1] == 'd'   ? SPACING * ((float)order[i] - (float)(n / 2) + 0.5f)
                : words[1][1] == '+' ? (float)(0.5 + uniform)
                                     : (float)(2 * uniform - 1);
  }
  if (tensor != NULL) onnx_tensor_set_floats(tensor, values);
  return tensor;
}

static gboolean add_input(Example *example, const PipelineGradient *gradient, const gchar *text, guint index,
                          PipelineRandom *random, GError **error)
{
  g_autofree gchar *name = g_strdup_printf("i%u", index);
  gboolean is_random = strstr(text, "] ?") != NULL;
  OnnxTensor *tensor = is_random ? random_tensor(text, name, random) : pipeline_example_tensor(text, name);
  if (tensor == NULL) return pipeline_operator_fail(error, "'%s' is no tensor", text);
  if (!is_random) {
    onnx_graph_take_initialiser(example->graph, tensor);
    return TRUE;
  }
  onnx_graph_add_input(example->graph, name, ONNX_TYPE_FLOAT, NULL);
  g_ptr_array_add(example->inputs, tensor);
  if (gradient->inputs == PIPELINE_GRADIENT_ALL || (gradient->inputs & (1u << index)) != 0)
    g_ptr_array_add(example->wanted, g_steal_pointer(&name));
  return TRUE;
}

static OnnxNode *add_node(Example *example, const PipelineGradient *gradient, guint n_inputs, guint n_outputs)
{
  g_autoptr(GString) inputs = g_string_new("");
  g_autoptr(GString) outputs = g_string_new("");
  for (guint i = 0; i < n_inputs; i++) g_string_append_printf(inputs, "%si%u", i > 0 ? "," : "", i);
  for (guint i = 0; i < n_outputs; i++) {
    gchar *name = g_strdup_printf("o%u", i);
    g_string_append_printf(outputs, "%s%s", i > 0 ? "," : "", name);
    onnx_graph_add_output(example->graph, name, ONNX_TYPE_FLOAT, NULL);
    g_ptr_array_add(example->heads, name);
  }
  g_auto(GStrv) names = g_strsplit(gradient->name, ":", 2); /* NAME, or DOMAIN and NAME */
  gboolean own = names[1] != NULL;
  if (own) onnx_graph_set_opset(example->graph, names[0], 3);
  return onnx_graph_add_node(example->graph, own ? names[0] : "", names[own ? 1 : 0], inputs->str, outputs->str);
}

static gboolean parse(const PipelineGradient *gradient, const gchar *text, PipelineRandom *random, Example *example,
                      GError **error)
{
  gint64 opset = 21;
  *example = (Example){.graph = onnx_graph_new("example"),
                       .inputs = g_ptr_array_new_with_free_func((GDestroyNotify)onnx_tensor_free),
                       .wanted = g_ptr_array_new_with_free_func(g_free),
                       .heads = g_ptr_array_new_with_free_func(g_free)};
  if (text[0] == '@') opset = g_ascii_strtoll(text + 1, (gchar **)&text, 10);
  onnx_graph_set_opset(example->graph, "", opset);
  g_auto(GStrv) sides = g_strsplit(text, " => ", 2);
  g_auto(GStrv) parts = g_strsplit(sides[0], " { ", 2);
  g_auto(GStrv) inputs = g_strsplit(g_strstrip(parts[0]), "; ", MAX_INPUTS);
  g_auto(GStrv) attributes = g_strsplit(parts[1] != NULL ? parts[1] : "", " ", -1);
  for (guint i = 0; inputs[i] != NULL; i++)
    if (!add_input(example, gradient, inputs[i], i, random, error)) return FALSE;
  guint n_outputs = sides[1] != NULL ? (guint)g_ascii_strtoull(sides[1], NULL, 10) : 1;
  OnnxNode *node = add_node(example, gradient, g_strv_length(inputs), n_outputs);
  for (guint i = 0; attributes[i] != NULL; i++)
    if (strchr(attributes[i], '=') != NULL) pipeline_example_attribute(node, attributes[i]);
  g_ptr_array_add(example->wanted, NULL);
  g_ptr_array_add(example->heads, NULL);
  return TRUE;
}

/* --- running one -------------------------------------------------------------------------------------------------- */

typedef struct {
  const Example *example;
  PipelineGraphPass *pass;
  float *directions[MAX_INPUTS]; /* of each head */
} Run;

static void run_clear(Run *run)
{
  pipeline_graph_pass_free(run->pass);
  for (guint i = 0; i < MAX_INPUTS; i++) g_free(run->directions[i]);
}

static gboolean forward(Run *run, gboolean training, GError **error)
{
  PipelineRandom random; /* Dropout drops the same elements each time */
  pipeline_random_seed(&random, 11);
  for (guint i = 0; i < run->example->inputs->len; i++) {
    const OnnxTensor *tensor = g_ptr_array_index(run->example->inputs, i);
    if (!pipeline_graph_pass_set_input(run->pass, i, tensor->n_dims, tensor->dims,
                                       g_bytes_get_data(tensor->bytes, NULL), error))
      return FALSE;
  }
  return pipeline_graph_pass_forward(run->pass, training, &random, error);
}

static gboolean run_new(const Example *example, const PipelineGradientBackend *backend, gboolean training, Run *run,
                        GError **error)
{
  const PipelineGraphPassOptions options = {.wanted = (const gchar *const *)example->wanted->pdata,
                                            .heads = (const gchar *const *)example->heads->pdata,
                                            .backend = backend,
                                            .precision = example->precision};
  PipelineRandom random;
  pipeline_random_seed(&random, 5);
  *run = (Run){.example = example, .pass = pipeline_graph_pass_new(example->graph, &options, error)};
  if (run->pass == NULL || !forward(run, training, error)) return FALSE;
  for (guint i = 0; i + 1 < example->heads->len; i++) {
    gsize n = pipeline_graph_pass_get_head(run->pass, i)->n;
    run->directions[i] = g_new(float, n + 1);
    for (gsize k = 0; k < n; k++) run->directions[i][k] = (float)(2 * pipeline_random_uniform(&random) - 1);
  }
  return pipeline_graph_pass_backward(run->pass, (const float *const *)run->directions, error);
}

static double project(const Run *run)
{
  double sum = 0;
  for (guint i = 0; i + 1 < run->example->heads->len; i++) {
    const PipelineTensor *head = pipeline_graph_pass_get_head(run->pass, i);
    for (gsize k = 0; k < head->n; k++) sum += (double)run->directions[i][k] * (double)((const float *)head->data)[k];
  }
  return sum;
}

/* d projection / d element `k` of an input whose tensor is changed and put back. */
static double difference_of(Run *run, OnnxTensor *tensor, gsize k, gboolean training, GError **error)
{
  static const double places[4] = {-2, -1, 1, 2}, weights[4] = {1, -8, 8, -1};
  float *values = (float *)g_bytes_get_data(tensor->bytes, NULL), original = values[k]; /* the example's own memory */
  double sum = 0;
  for (guint i = 0; i < 4; i++) {
    values[k] = (float)((double)original + places[i] * STEP);
    if (!forward(run, training, error)) return NAN;
    sum += weights[i] * project(run);
  }
  values[k] = original;
  return sum / (12 * STEP);
}

static double check_input(Run *run, OnnxTensor *tensor, guint wanted, gboolean training, GError **error)
{
  const PipelineTensor *found = pipeline_graph_pass_get_gradient(run->pass, wanted);
  g_autofree float *gradient = g_memdup2(found->data, MAX(found->n, 1) * sizeof(float));
  double worst = 0, largest = 1e-2;
  for (gsize k = 0; k < found->n; k++) {
    double difference = difference_of(run, tensor, k, training, error);
    if (isnan(difference)) return -1;
    if (isnan(gradient[k])) return INFINITY;
    worst = MAX(worst, fabs(difference - (double)gradient[k]));
    largest = MAX(largest, fabs((double)gradient[k]));
  }
  return worst / largest;
}

static double check_example(const Example *example, const PipelineGradientBackend *backend, gboolean training,
                            GError **error)
{
  Run run;
  double worst = 0;
  if (!run_new(example, backend, training, &run, error)) worst = -1;
  for (guint w = 0; worst >= 0 && w + 1 < example->wanted->len; w++)
    for (guint i = 0; worst >= 0 && i < example->inputs->len; i++) {
      OnnxTensor *tensor = g_ptr_array_index(example->inputs, i);
      if (strcmp(tensor->name, g_ptr_array_index(example->wanted, w)) != 0) continue;
      double found = check_input(&run, tensor, w, training, error);
      worst = found < 0 ? -1 : MAX(worst, found);
    }
  run_clear(&run);
  return worst;
}

/* --- against the reference ---------------------------------------------------------------------------------------- */

/* What is no number on one side only is as wrong as can be; MAX would lose it. */
static double compare_tensors(const PipelineTensor *a, const PipelineTensor *b)
{
  double worst = 0, largest = 1e-6;
  if (a->n != b->n) return INFINITY;
  for (gsize i = 0; i < a->n; i++) {
    double x = (double)((const float *)a->data)[i], y = (double)((const float *)b->data)[i];
    if (isfinite(y)) largest = MAX(largest, fabs(y));
    if (x == y || (isnan(x) && isnan(y))) continue;
    worst = isnan(x - y) ? INFINITY : MAX(worst, fabs(x - y));
  }
  return worst / largest;
}

static double compare_example(const Example *example, const PipelineGradientBackend *backend, gboolean training,
                              GError **error)
{
  Run run = {0}, reference = {0};
  double worst = -1;
  if (run_new(example, backend, training, &run, error) &&
      run_new(example, &pipeline_gradient_backend_reference, training, &reference, error)) {
    worst = 0;
    for (guint i = 0; i + 1 < example->heads->len; i++)
      worst = MAX(worst, compare_tensors(pipeline_graph_pass_get_head(run.pass, i),
                                         pipeline_graph_pass_get_head(reference.pass, i)));
    for (guint i = 0; i + 1 < example->wanted->len; i++)
      worst = MAX(worst, compare_tensors(pipeline_graph_pass_get_gradient(run.pass, i),
                                         pipeline_graph_pass_get_gradient(reference.pass, i)));
  }
  run_clear(&run);
  run_clear(&reference);
  return worst;
}

static double for_each_example(const PipelineGradient *gradient, const PipelineGradientBackend *backend,
                               PipelinePrecision precision,
                               double (*check)(const Example *, const PipelineGradientBackend *, gboolean, GError **),
                               GError **error)
{
  g_auto(GStrv) texts = g_strsplit(gradient->examples != NULL ? gradient->examples : "", " | ", -1);
  double worst = 0;
  for (guint i = 0; texts[i] != NULL && worst >= 0; i++) {
    Example example;
    PipelineRandom random;
    pipeline_random_seed(&random, i + 1);
    double found[2] = {-1, -1};
    gboolean parsed = parse(gradient, texts[i], &random, &example, error);
    example.precision = precision;
    if (parsed)
      for (guint training = 0; training < 2 && (training == 0 || found[0] >= 0); training++)
        found[training] = check(&example, backend, training == 1, error);
    worst = found[0] < 0 || found[1] < 0 ? -1 : MAX(worst, MAX(found[0], found[1]));
    if (worst < 0) g_prefix_error(error, "%s: example '%s': ", gradient->name, texts[i]);
    example_clear(&example);
  }
  return worst;
}

double pipeline_gradient_check_differences(const PipelineGradient *gradient, const PipelineGradientBackend *backend,
                                           GError **error)
{
  return for_each_example(gradient, backend, PIPELINE_PRECISION_FLOAT32, check_example, error);
}

double pipeline_gradient_check_backend(const PipelineGradient *gradient, const PipelineGradientBackend *backend,
                                       GError **error)
{
  return pipeline_gradient_check_precision(gradient, backend, PIPELINE_PRECISION_FLOAT32, error);
}

double pipeline_gradient_check_precision(const PipelineGradient *gradient, const PipelineGradientBackend *backend,
                                         PipelinePrecision precision, GError **error)
{
  return for_each_example(gradient, backend, precision, compare_example, error);
}
