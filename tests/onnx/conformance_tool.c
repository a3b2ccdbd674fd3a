/* Runs ONNX's backend tests (tests/onnx/conformance_cases.py) through the executor, each case in a process of its own.
 *
 *   conformance_tool CASES.tsv SECONDS BACKEND…
 *
 * One line a case and backend: kind, name, operator, backend, verdict, reason (tab-separated). Verdicts: right (type
 * and shape equal, elements within ONNX's own tolerance), refused, wrong, crash, hang (longer than SECONDS).
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "onnx/graph.h"
#include "pipeline/executor.h"

typedef struct {
  const gchar *kind, *name, *operator, * folder;
  double rtol, atol;
  guint n_data_sets;
} Case;

typedef enum { RIGHT, REFUSED, WRONG } Verdict;

static OnnxGraph *read_graph(const gchar *folder, const gchar *file, GError **error)
{
  g_autofree gchar *path = g_build_filename(folder, file, NULL);
  gchar *data;
  gsize length;
  if (!g_file_get_contents(path, &data, &length, error)) return NULL;
  g_autoptr(GBytes) bytes = g_bytes_new_take(data, length);
  return onnx_graph_from_bytes(bytes, error);
}

static OnnxGraph *read_tensors(const Case *test, const gchar *prefix, guint data_set, GError **error)
{
  g_autofree gchar *file = g_strdup_printf("%s_%u.onnx", prefix, data_set);
  return read_graph(test->folder, file, error);
}

/* --- comparing ---------------------------------------------------------------------------------------------------- */

static gboolean same_text(const PipelineText *a, const PipelineText *b)
{
  return a->length == b->length && (a->length == 0 || memcmp(a->text, b->text, a->length) == 0);
}

static gboolean is_exact(OnnxType type)
{
  return type == ONNX_TYPE_INT64 || type == ONNX_TYPE_UINT64;
}

/* |actual - expected| ≤ atol + rtol |expected|, NaN equal to NaN: as numpy.testing.assert_allclose. */
static gboolean close_enough(double actual, double expected, double rtol, double atol)
{
  if (isnan(expected) || isnan(actual)) return isnan(expected) && isnan(actual);
  return actual == expected || fabs(actual - expected) <= atol + rtol * fabs(expected);
}

static gboolean compare(const PipelineTensor *actual, const OnnxTensor *wanted, const Case *test, GString *reason)
{
  PipelineTensor expected = {0};
  if (!pipeline_tensor_set_onnx(&expected, wanted, NULL)) g_error("an expected output is unreadable");
  g_autofree gchar *left = pipeline_tensor_describe(actual), *right = pipeline_tensor_describe(&expected);
  gboolean same = strcmp(left, right) == 0;
  if (!same) g_string_printf(reason, "%s instead of %s", left, right);
  /* bfloat16: two units in the last place, as ONNX's runner */
  double rtol = actual->type == ONNX_TYPE_BFLOAT16 ? MAX(test->rtol, 0x1p-6) : test->rtol;
  for (gsize i = 0; same && i < expected.n; i++) {
    if (actual->type == ONNX_TYPE_STRING) {
      same = same_text((PipelineText *)actual->data + i, (PipelineText *)expected.data + i);
      if (!same) g_string_printf(reason, "element %zu is another text", i);
    } else if (is_exact(actual->type) && ((gint64 *)actual->data)[i] == ((gint64 *)expected.data)[i]) {
      continue;
    } else {
      double a = pipeline_element_get_double(actual, i), e = pipeline_element_get_double(&expected, i);
      same = close_enough(a, e, rtol, test->atol);
      if (!same) g_string_printf(reason, "element %zu of %s is %.9g instead of %.9g", i, right, a, e);
    }
  }
  pipeline_tensor_clear(&expected);
  return same;
}

/* --- one case ----------------------------------------------------------------------------------------------------- */

static gboolean feed(PipelineExecutor *executor, const OnnxGraph *graph, const OnnxGraph *tensors, GError **error)
{
  for (guint i = 0; i < graph->inputs->len; i++) {
    const OnnxValue *input = g_ptr_array_index(graph->inputs, i);
    const OnnxTensor *tensor = onnx_graph_find_initialiser(tensors, input->name);
    if (tensor == NULL) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "the case gives no tensor for input '%s'",
                  input->name);
      return FALSE;
    }
    if (!pipeline_tensor_set_onnx(pipeline_executor_get_input(executor, i), tensor, error)) return FALSE;
  }
  return TRUE;
}

static Verdict refuse(const GError *error, GString *reason)
{
  g_string_assign(reason, error->message);
  return REFUSED;
}

/* What the executor accepted must be fed and answered: from there on only a kernel may refuse. */
static Verdict run_data_set(const Case *test, guint data_set, const OnnxGraph *graph, PipelineExecutor *executor,
                            GString *reason)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(OnnxGraph) inputs = read_tensors(test, "in", data_set, &error);
  if (inputs == NULL || !feed(executor, graph, inputs, &error)) {
    g_string_printf(reason, "accepted, but cannot be fed: %s", error->message);
    return WRONG;
  }
  if (!pipeline_executor_run(executor, FALSE, &error)) return refuse(error, reason);
  g_autoptr(OnnxGraph) outputs = read_tensors(test, "out", data_set, &error);
  if (outputs == NULL) {
    g_string_printf(reason, "ran, but the expected outputs are unreadable: %s", error->message);
    return WRONG;
  }
  for (guint i = 0; i < graph->outputs->len; i++) {
    const OnnxValue *output = g_ptr_array_index(graph->outputs, i);
    const OnnxTensor *expected = onnx_graph_find_initialiser(outputs, output->name);
    if (expected == NULL) {
      g_string_printf(reason, "ran, but output '%s' is no tensor", output->name);
      return WRONG;
    }
    if (!compare(pipeline_executor_get_output(executor, i), expected, test, reason)) return WRONG;
  }
  return RIGHT;
}

/* --- answers that rounding decides -------------------------------------------------------------------------------- */

/* The input of the Softmax that makes the graph's only output; NULL: none does. */
static const gchar *find_logits(const OnnxGraph *graph)
{
  if (graph->outputs->len != 1) return NULL;
  gint producer = onnx_graph_find_producer(graph, ((const OnnxValue *)g_ptr_array_index(graph->outputs, 0))->name);
  const OnnxNode *node = producer >= 0 ? g_ptr_array_index(graph->nodes, producer) : NULL;
  return node != NULL && strcmp(node->op_type, "Softmax") == 0 ? onnx_node_get_input(node, 0) : NULL;
}

/* light_squeezenet has a thousand logits of 9.5e9, equal but for the order in which products are added: one unit in the
 * last place of them is 1,024, so that Softmax says .001 or 0 by the kernel's tiling. Where one such unit is more than
 * the tolerance of a probability, the logits are judged: beside those of the reference backend (which the same case
 * holds to ONNX's own answer), within as many units as sums of 512 products may lose. */
static Verdict judge_logits(const Case *test, const OnnxGraph *graph, const PipelineExecutor *executor, GString *reason)
{
  const gchar *name = find_logits(graph);
  const PipelineTensor *ours = name != NULL ? pipeline_executor_get_value(executor, name) : NULL;
  double largest = 0, difference = 0;
  if (ours == NULL || ours->type != ONNX_TYPE_FLOAT) return WRONG;
  for (gsize i = 0; i < ours->n; i++) largest = MAX(largest, fabs(pipeline_element_get_double(ours, i)));
  if (!(largest * 0x1p-23 > test->rtol)) return WRONG;
  PipelineExecutorOptions options = PIPELINE_EXECUTOR_OPTIONS_INIT;
  options.as_written = TRUE;
  g_autoptr(PipelineExecutor) reference =
      pipeline_executor_new_with_options(graph, &pipeline_backend_reference, &options, NULL);
  if (reference == NULL || run_data_set(test, 0, graph, reference, reason) != RIGHT) return WRONG;
  const PipelineTensor *theirs = pipeline_executor_get_value(reference, name);
  if (theirs == NULL || theirs->n != ours->n) return WRONG;
  for (gsize i = 0; i < ours->n; i++)
    difference = MAX(difference, fabs(pipeline_element_get_double(ours, i) - pipeline_element_get_double(theirs, i)));
  if (!(difference <= 512 * 0x1p-24 * largest)) return WRONG;
  g_string_printf(reason, "by its logits: up to %.3g, within %.2g of the reference's", largest, difference / largest);
  return RIGHT;
}

static Verdict run_case(const Case *test, const PipelineBackend *backend, GString *reason)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(OnnxGraph) graph = read_graph(test->folder, "model.onnx", &error);
  if (graph == NULL) return refuse(error, reason);
  onnx_graph_simplify(graph);
  PipelineExecutorOptions options = PIPELINE_EXECUTOR_OPTIONS_INIT;
  options.as_written = TRUE;
  g_autoptr(PipelineExecutor) executor = pipeline_executor_new_with_options(graph, backend, &options, &error);
  if (executor == NULL) return refuse(error, reason);
  Verdict verdict = RIGHT;
  for (guint k = 0; k < test->n_data_sets && verdict == RIGHT; k++)
    verdict = run_data_set(test, k, graph, executor, reason);
  if (verdict != WRONG || backend == &pipeline_backend_reference) return verdict;
  g_autoptr(GString) better = g_string_new("");
  verdict = judge_logits(test, graph, executor, better);
  if (verdict == RIGHT) g_string_assign(reason, better->str);
  return verdict;
}

/* --- its process -------------------------------------------------------------------------------------------------- */

static void run_child(const Case *test, const PipelineBackend *backend, int out)
{
  static const char *const names[] = {"right", "refused", "wrong"};
  g_autoptr(GString) reason = g_string_new("");
  Verdict verdict = run_case(test, backend, reason);
  g_strdelimit(reason->str, "\t\n\r", ' ');
  dprintf(out, "%s\t%s", names[verdict], reason->str);
}

/* Reads until the child closes the pipe. FALSE when the time is over. */
static gboolean read_answer(int in, int seconds, GString *answer)
{
  gint64 end = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
  for (;;) {
    struct pollfd wait = {.fd = in, .events = POLLIN};
    gint64 left = (end - g_get_monotonic_time()) / 1000;
    int ready = left > 0 ? poll(&wait, 1, (int)left) : 0;
    if (ready == 0) return FALSE;
    if (ready < 0 && errno == EINTR) continue;
    char buffer[4096];
    ssize_t n = read(in, buffer, sizeof buffer);
    if (n <= 0) return TRUE;
    g_string_append_len(answer, buffer, n);
  }
}

static void run_guarded(const Case *test, const PipelineBackend *backend, int seconds)
{
  int pipe_ends[2], status;
  if (pipe(pipe_ends) != 0) g_error("pipe: %s", g_strerror(errno));
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) g_error("fork: %s", g_strerror(errno));
  if (child == 0) {
    close(pipe_ends[0]);
    run_child(test, backend, pipe_ends[1]);
    _exit(0); /* the parent's buffers are not ours to flush */
  }
  close(pipe_ends[1]);
  g_autoptr(GString) answer = g_string_new("");
  gboolean in_time = read_answer(pipe_ends[0], seconds, answer);
  close(pipe_ends[0]);
  if (!in_time) kill(child, SIGKILL);
  waitpid(child, &status, 0);
  if (!in_time)
    g_string_printf(answer, "hang\tlonger than %d s", seconds);
  else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    g_string_printf(answer, "crash\twait status %d", status);
  printf("%s\t%s\t%s\t%s\t%s\n", test->kind, test->name, test->operator, backend->name, answer->str);
}

int main(int count, char **arguments)
{
  gchar *text;
  GError *error = NULL;
  if (count < 4 || !g_file_get_contents(arguments[1], &text, NULL, &error)) {
    fprintf(stderr, "conformance_tool CASES.tsv SECONDS BACKEND…: %s\n", error != NULL ? error->message : "usage");
    return 2;
  }
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++) {
    g_auto(GStrv) fields = g_strsplit(lines[i], "\t", -1);
    if (g_strv_length(fields) != 7) continue;
    Case test = {fields[0],
                 fields[1],
                 fields[2],
                 fields[6],
                 g_ascii_strtod(fields[3], NULL),
                 g_ascii_strtod(fields[4], NULL),
                 (guint)atoi(fields[5])};
    for (int b = 3; b < count; b++)
      for (guint k = 0; pipeline_backends[k] != NULL; k++)
        if (strcmp(pipeline_backends[k]->name, arguments[b]) == 0)
          run_guarded(&test, pipeline_backends[k], atoi(arguments[2]));
  }
  g_free(text);
  return 0;
}
