/* libFuzzer target: whatever reads as a model is simplified, written, read again and asked for predictions. */
#include <stdint.h>
#include <stdlib.h>

#include "onnx/graph.h"
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
  try_task(bytes, DRIFT_TASK_BINARY);
  try_task(bytes, DRIFT_TASK_REGRESSION);
  return 0;
}
