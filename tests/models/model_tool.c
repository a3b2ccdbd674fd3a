/* Test helper: runs every output of a model.
 *   model_tool MODEL.onnx FEEDS.onnx OUT.onnx EXPORT.onnx [BACKEND]
 * FEEDS and OUT are models without nodes whose initialisers are the tensors by name. Data beside MODEL are read.
 * EXPORT: the model as kedge writes it, simplified, with the shapes of its values. Exit status 1 and the message on
 * standard error when something is refused.
 */
#include <stdio.h>

#include "onnx/file.h"
#include "pipeline/executor.h"
#include "pipeline/executor_shapes.h"

static gboolean fail(GError **error, const gchar *text, const gchar *name)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, text, name);
  return FALSE;
}

static OnnxGraph *read_graph(const gchar *path, GError **error)
{
  g_autoptr(GBytes) bytes = onnx_file_read(path, NULL, error);
  return bytes != NULL ? onnx_graph_from_bytes(bytes, error) : NULL;
}

/* Texts borrow from `feeds`. */
static gboolean feed(PipelineExecutor *executor, const OnnxGraph *graph, const OnnxGraph *feeds, GError **error)
{
  for (guint i = 0; i < graph->inputs->len; i++) {
    const OnnxValue *input = g_ptr_array_index(graph->inputs, i);
    const OnnxTensor *tensor = onnx_graph_find_initialiser(feeds, input->name);
    if (tensor == NULL) return fail(error, "nothing is fed to input '%s'", input->name);
    if (!pipeline_tensor_set_onnx(pipeline_executor_get_input(executor, i), tensor, error)) return FALSE;
  }
  return TRUE;
}

/* New. */
static OnnxTensor *copy_tensor(const gchar *name, const PipelineTensor *tensor)
{
  if (tensor->type != ONNX_TYPE_STRING)
    return onnx_tensor_new(name, tensor->type, tensor->n_dims, tensor->dims, tensor->data);
  OnnxTensor *copy = g_new0(OnnxTensor, 1);
  copy->name = g_strdup(name);
  copy->type = tensor->type;
  copy->n_dims = tensor->n_dims;
  for (guint d = 0; d < tensor->n_dims; d++) copy->dims[d] = tensor->dims[d];
  copy->strings = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  const PipelineText *texts = tensor->data;
  for (gsize i = 0; i < tensor->n; i++) g_ptr_array_add(copy->strings, g_bytes_new(texts[i].text, texts[i].length));
  return copy;
}

static gboolean write_graph(const OnnxGraph *graph, const gchar *path, GError **error)
{
  g_autoptr(GBytes) bytes = onnx_graph_to_bytes(graph, error);
  return bytes != NULL &&
         g_file_set_contents(path, g_bytes_get_data(bytes, NULL), (gssize)g_bytes_get_size(bytes), error);
}

static gboolean write_outputs(const PipelineExecutor *executor, const OnnxGraph *graph, const gchar *path,
                              GError **error)
{
  g_autoptr(OnnxGraph) outputs = onnx_graph_new("outputs");
  onnx_graph_set_opset(outputs, "", 17);
  for (guint i = 0; i < graph->outputs->len; i++) {
    const OnnxValue *output = g_ptr_array_index(graph->outputs, i);
    const PipelineTensor *tensor = pipeline_executor_get_output(executor, i);
    onnx_graph_take_initialiser(outputs, copy_tensor(output->name, tensor));
    onnx_graph_add_output(outputs, output->name, tensor->type, NULL); /* a graph has outputs */
  }
  return write_graph(outputs, path, error);
}

static gboolean run(char **arguments, const gchar *backend_name, GError **error)
{
  const PipelineBackend *backend = pipeline_backend_find(backend_name, TRUE, error);
  g_autoptr(OnnxGraph) graph = backend != NULL ? read_graph(arguments[0], error) : NULL;
  g_autoptr(OnnxGraph) feeds = graph != NULL ? read_graph(arguments[1], error) : NULL;
  if (feeds == NULL) return FALSE;
  onnx_graph_simplify(graph);
  g_autoptr(PipelineExecutor) executor = pipeline_executor_new(graph, backend, error);
  if (executor == NULL || !feed(executor, graph, feeds, error) || !pipeline_executor_run(executor, FALSE, error) ||
      !write_outputs(executor, graph, arguments[2], error))
    return FALSE;
  g_clear_pointer(&executor, pipeline_executor_free); /* it borrows the graph */
  return pipeline_shapes_declare(graph, error) && write_graph(graph, arguments[3], error);
}

int main(int count, char **arguments)
{
  g_autoptr(GError) error = NULL;
  if (count != 5 && count != 6) {
    fprintf(stderr, "usage: model_tool MODEL.onnx FEEDS.onnx OUT.onnx EXPORT.onnx [BACKEND]\n");
    return 2;
  }
  if (run(arguments + 1, count == 6 ? arguments[5] : NULL, &error)) return 0;
  fprintf(stderr, "%s\n", error->message);
  return 1;
}
