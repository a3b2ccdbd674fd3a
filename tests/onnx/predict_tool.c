/* Test helper.
 *   predict_tool predict MODEL.onnx SCHEMA.json ROWS.json   prints one line of outputs per row (%.9g)
 *   predict_tool export MODEL.onnx OUT.onnx                 reads, simplifies and writes the model
 *   predict_tool copy MODEL.onnx OUT.onnx                   reads and writes the model
 *   predict_tool file MODEL.onnx OUT.onnx                   copy, with data that lie beside the model read in
 *   predict_tool shapes MODEL.onnx OUT.onnx                 simplifies, adds the shapes of all values, writes
 *   predict_tool time MODEL.onnx SCHEMA.json N              times N made-up numeric rows
 * SCHEMA.json: {"task": …, "label": …, "classes": […], "positive": i, "features": [["name", "numeric"|"categorical"],
 * …]} ROWS.json: [[value, …], …] with null for missing. Exit status 1 and the message on standard error when refused.
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/file.h"
#include "pipeline/executor_shapes.h"
#include "pipeline/model.h"

static int fail(GError *error)
{
  fprintf(stderr, "%s\n", error != NULL ? error->message : "failed");
  g_clear_error(&error);
  return 1;
}

static GBytes *read_file(const char *path)
{
  gchar *data;
  gsize length;
  GError *error = NULL;
  if (!g_file_get_contents(path, &data, &length, &error)) exit(fail(error));
  return g_bytes_new_take(data, length);
}

static DriftSchema *read_schema(const char *path)
{
  json_t *json = json_load_file(path, 0, NULL);
  const char *task = json_string_value(json_object_get(json, "task"));
  DriftTask kind = strcmp(task, "binary") == 0       ? DRIFT_TASK_BINARY
                   : strcmp(task, "multiclass") == 0 ? DRIFT_TASK_MULTICLASS
                                                     : DRIFT_TASK_REGRESSION;
  DriftSchema *schema = drift_schema_new(kind, json_string_value(json_object_get(json, "label")));
  size_t index;
  json_t *value;
  json_array_foreach (json_object_get(json, "classes"), index, value)
    drift_schema_add_class(schema, json_string_value(value));
  json_array_foreach (json_object_get(json, "features"), index, value) {
    gboolean numeric = strcmp(json_string_value(json_array_get(value, 1)), "numeric") == 0;
    drift_schema_add_feature(schema, json_string_value(json_array_get(value, 0)),
                             numeric ? DRIFT_NUMERIC : DRIFT_CATEGORICAL, FALSE, TRUE);
  }
  schema->positive_class = (guint)json_integer_value(json_object_get(json, "positive"));
  json_decref(json);
  return schema;
}

static DriftValue to_value(const json_t *json)
{
  if (json_is_number(json)) return drift_value_number(json_number_value(json));
  if (json_is_string(json)) return drift_value_text(json_string_value(json), -1);
  return drift_value_missing();
}

static int predict(char **arguments)
{
  GError *error = NULL;
  GBytes *bytes = read_file(arguments[0]);
  DriftSchema *schema = read_schema(arguments[1]);
  PipelineModel *model = pipeline_model_load(bytes, schema, NULL, &error);
  g_bytes_unref(bytes);
  if (model == NULL) {
    drift_schema_free(schema);
    return fail(error);
  }
  json_t *rows = json_load_file(arguments[2], JSON_DECODE_ANY, NULL);
  guint n_rows = (guint)json_array_size(rows), n_features = drift_schema_n_features(schema);
  guint n_outputs = pipeline_model_get_n_outputs(model);
  DriftValue *values = g_new0(DriftValue, (gsize)n_rows * n_features + 1);
  float *outputs = g_new0(float, (gsize)n_rows *n_outputs + 1);
  for (guint row = 0; row < n_rows; row++)
    for (guint f = 0; f < n_features; f++)
      values[row * n_features + f] = to_value(json_array_get(json_array_get(rows, row), f));
  gboolean done = pipeline_model_predict(model, values, n_rows, outputs, &error);
  for (guint row = 0; done && row < n_rows; row++)
    for (guint i = 0; i < n_outputs; i++)
      printf("%.9g%s", (double)outputs[row * n_outputs + i], i + 1 < n_outputs ? " " : "\n");
  g_free(values);
  g_free(outputs);
  json_decref(rows);
  pipeline_model_free(model);
  drift_schema_free(schema);
  return done ? 0 : fail(error);
}

static int rewrite(char **arguments, gboolean simplify)
{
  GError *error = NULL;
  g_autoptr(GBytes) bytes = read_file(arguments[0]);
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(bytes, &error);
  if (graph == NULL) return fail(error);
  if (simplify) onnx_graph_simplify(graph);
  g_autoptr(OnnxGraph) copy = onnx_graph_copy(graph);
  g_autoptr(GBytes) out = onnx_graph_to_bytes(copy, &error);
  if (out == NULL ||
      !g_file_set_contents(arguments[1], g_bytes_get_data(out, NULL), (gssize)g_bytes_get_size(out), &error))
    return fail(error);
  return 0;
}

static int add_shapes(char **arguments)
{
  GError *error = NULL;
  g_autoptr(GBytes) bytes = read_file(arguments[0]);
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(bytes, &error);
  if (graph == NULL) return fail(error);
  onnx_graph_simplify(graph);
  if (!pipeline_shapes_declare(graph, &error)) return fail(error);
  g_autoptr(GBytes) out = onnx_graph_to_bytes(graph, &error);
  if (out == NULL ||
      !g_file_set_contents(arguments[1], g_bytes_get_data(out, NULL), (gssize)g_bytes_get_size(out), &error))
    return fail(error);
  return 0;
}

static int read_beside(char **arguments)
{
  GError *error = NULL;
  g_autoptr(GBytes) bytes = onnx_file_read(arguments[0], NULL, &error);
  if (bytes == NULL ||
      !g_file_set_contents(arguments[1], g_bytes_get_data(bytes, NULL), (gssize)g_bytes_get_size(bytes), &error))
    return fail(error);
  return 0;
}

static int measure(char **arguments)
{
  GError *error = NULL;
  g_autoptr(GBytes) bytes = read_file(arguments[0]);
  g_autoptr(DriftSchema) schema = read_schema(arguments[1]);
  guint n = (guint)atoi(arguments[2]), n_features = drift_schema_n_features(schema);
  g_autoptr(PipelineModel) model = pipeline_model_load(bytes, schema, NULL, &error);
  if (model == NULL) return fail(error);
  g_autofree DriftValue *values = g_new0(DriftValue, (gsize)n * n_features);
  g_autofree float *outputs = g_new(float, (gsize)n *pipeline_model_get_n_outputs(model));
  for (gsize i = 0; i < (gsize)n * n_features; i++) values[i] = drift_value_number((double)(i % 17) / 8 - 1);
  for (guint repeat = 0; repeat < 5; repeat++) {
    gint64 start = g_get_monotonic_time();
    if (!pipeline_model_predict(model, values, n, outputs, &error)) return fail(error);
    gint64 batch = g_get_monotonic_time() - start;
    guint singles = MIN(n, 1000);
    start = g_get_monotonic_time();
    for (guint row = 0; row < singles; row++)
      if (!pipeline_model_predict(model, values + (gsize)row * n_features, 1, outputs, &error)) return fail(error);
    printf("%u rows: %.2f ms; one row: %.2f us\n", n, (double)batch / 1000,
           (double)(g_get_monotonic_time() - start) / singles);
  }
  return 0;
}

int main(int count, char **arguments)
{
  const char *command = count > 1 ? arguments[1] : "";
  if (strcmp(command, "predict") == 0 && count == 5) return predict(arguments + 2);
  if (strcmp(command, "export") == 0 && count == 4) return rewrite(arguments + 2, TRUE);
  if (strcmp(command, "copy") == 0 && count == 4) return rewrite(arguments + 2, FALSE);
  if (strcmp(command, "shapes") == 0 && count == 4) return add_shapes(arguments + 2);
  if (strcmp(command, "file") == 0 && count == 4) return read_beside(arguments + 2);
  if (strcmp(command, "time") == 0 && count == 5) return measure(arguments + 2);
  fprintf(stderr, "see the head of tests/onnx/predict_tool.c\n");
  return 2;
}
