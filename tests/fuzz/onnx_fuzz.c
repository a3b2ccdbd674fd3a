/* libFuzzer target: whatever reads as a model is simplified, written, read again and asked for predictions. */
#include <stdint.h>
#include <stdlib.h>

#include <string.h>

#include "onnx/graph.h"
#include "pipeline/executor.h"
#include "pipeline/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static DriftSchema *make_schema(DriftTask task)
{
  DriftSchema *schema = drift_schema_new(task, "y");
  if (task != DRIFT_TASK_REGRESSION) {
    drift_schema_add_class(schema, "0");
    drift_schema_add_class(schema, "1");
  }
  drift_schema_add_feature(schema, "a", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "b", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "t", DRIFT_CATEGORICAL, FALSE, TRUE);
  schema->positive_class = task == DRIFT_TASK_BINARY;
  return schema;
}

static void try_task(GBytes *bytes, DriftTask task)
{
  g_autoptr(DriftSchema) schema = make_schema(task);
  g_autoptr(PipelineModel) model = pipeline_model_load(bytes, schema, NULL, NULL);
  DriftValue rows[6] = {drift_value_number(1), drift_value_missing(),   drift_value_text("red", -1),
                        drift_value_number(0), drift_value_number(-.5), drift_value_missing()};
  float outputs[4];
  if (model != NULL) pipeline_model_predict(model, rows, 2, outputs, NULL);
}

/* Small tensors of the declared types and shapes: 0, 1, 2, -1, … so that indices and axes hit and miss. */
static gboolean feed(PipelineTensor *tensor, const OnnxValue *input)
{
  gint64 dims[ONNX_MAX_DIMENSIONS];
  gsize n = 1;
  for (guint d = 0; d < input->n_dims; d++) {
    dims[d] = input->dims[d].size < 0 ? 2 : input->dims[d].size;
    if (dims[d] > 4096) return FALSE;
    n *= (gsize)dims[d];
    if (n > 4096) return FALSE;
  }
  if (!pipeline_tensor_set_shape(tensor, input->type, input->n_dims, dims, NULL) ||
      !pipeline_tensor_allocate(tensor, NULL))
    return FALSE;
  for (gsize i = 0; i < tensor->n; i++) {
    if (input->type == ONNX_TYPE_STRING)
      ((PipelineText *)tensor->data)[i] = i % 2 ? (PipelineText){"a b", 3} : (PipelineText){"", 0};
    else
      pipeline_element_put_double(tensor, i, (double)(i % 4 == 3 ? -1 : (gint)(i % 4)));
  }
  return TRUE;
}

/* Every operator on whatever shapes the file makes up, twice, under a small budget. */
static void try_executor(const OnnxGraph *graph)
{
  PipelineExecutorOptions options = {.max_bytes = 64 << 20, .max_multiplications = 1e7, .as_written = TRUE};
  g_autoptr(PipelineExecutor) executor =
      pipeline_executor_new_with_options(graph, &pipeline_backend_reference, &options, NULL);
  if (executor == NULL) return;
  for (guint i = 0; i < graph->inputs->len; i++)
    if (!feed(pipeline_executor_get_input(executor, i), g_ptr_array_index(graph->inputs, i))) return;
  for (guint i = 0; i < 2; i++) pipeline_executor_run(executor, FALSE, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  g_autoptr(GBytes) bytes = g_bytes_new_static(data, size);
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(bytes, NULL);
  if (graph == NULL) return 0;
  g_autoptr(GBytes) copy = onnx_graph_to_bytes(graph, NULL);
  if (copy == NULL) abort(); /* what was read can be written … */
  g_autoptr(OnnxGraph) again = onnx_graph_from_bytes(copy, NULL);
  if (again == NULL) abort(); /* … and read again, the same */
  g_autoptr(GBytes) same = onnx_graph_to_bytes(again, NULL);
  if (same == NULL || !g_bytes_equal(copy, same)) abort();
  onnx_graph_simplify(graph);
  if (!onnx_graph_check(graph, NULL)) abort();
  try_executor(graph);
  try_task(bytes, DRIFT_TASK_BINARY);
  try_task(bytes, DRIFT_TASK_REGRESSION);
  return 0;
}
