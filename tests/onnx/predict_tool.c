/* Test helper.
 *   predict_tool predict MODEL.onnx SCHEMA.json ROWS.json   prints one line of outputs per row (%.9g)
 *   predict_tool export MODEL.onnx OUT.onnx                  reads, simplifies and writes the model
 *   predict_tool copy MODEL.onnx OUT.onnx                    reads and writes the model
 *   predict_tool cases                                       runs DIR/model.onnx on DIR/inputs.onnx (initialisers) for
 * each folder on standard input, writes DIR/outputs.onnx predict_tool time MODEL.onnx SCHEMA.json N               times
 * N made-up numeric rows SCHEMA.json: {"task": …, "label": …, "classes": […], "positive": i, "features": [["name",
 * "numeric"|"categorical"], …]} ROWS.json: [[value, …], …] with null for missing. Exit status 1 and the message on
 * standard error when refused.
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/executor.h"
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

/* --- node cases --------------------------------------------------------------------------------------------------- */

/* Writes the outputs as initialisers of a model, so that Python's onnx reads them. */
static gboolean write_outputs(const OnnxGraph *graph, PipelineExecutor *executor, const gchar *path, GError **error)
{
  g_autoptr(OnnxGraph) out = onnx_graph_new("outputs");
  onnx_graph_set_opset(out, "", 13);
  onnx_graph_add_input(out, "x", ONNX_TYPE_FLOAT, "1");
  onnx_graph_add_output(out, "y", ONNX_TYPE_FLOAT, "1");
  onnx_graph_add_node(out, "", "Identity", "x", "y");
  for (guint i = 0; i < graph->outputs->len; i++) {
    const PipelineTensor *tensor = pipeline_executor_get_output(executor, i);
    g_autofree gchar *name = g_strdup_printf("output%u", i);
    if (tensor->type != ONNX_TYPE_STRING) {
      onnx_graph_take_initialiser(out, onnx_tensor_new(name, tensor->type, tensor->n_dims, tensor->dims, tensor->data));
      continue;
    }
    g_auto(GStrv) texts = g_new0(gchar *, tensor->n + 1);
    for (gsize t = 0; t < tensor->n; t++)
      texts[t] = g_strndup(((PipelineText *)tensor->data)[t].text, ((PipelineText *)tensor->data)[t].length);
    onnx_graph_take_initialiser(
        out, onnx_tensor_new_strings(name, tensor->n_dims, tensor->dims, (const gchar *const *)texts));
  }
  g_autoptr(GBytes) bytes = onnx_graph_to_bytes(out, error);
  return bytes != NULL &&
         g_file_set_contents(path, g_bytes_get_data(bytes, NULL), (gssize)g_bytes_get_size(bytes), error);
}

static gboolean run_case(const gchar *folder, GError **error)
{
  g_autofree gchar *model = g_build_filename(folder, "model.onnx", NULL);
  g_autofree gchar *values = g_build_filename(folder, "inputs.onnx", NULL);
  g_autofree gchar *output = g_build_filename(folder, "outputs.onnx", NULL);
  g_autoptr(GBytes) model_bytes = read_file(model);
  g_autoptr(GBytes) value_bytes = read_file(values);
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(model_bytes, error);
  if (graph == NULL) return FALSE;
  g_autoptr(OnnxGraph) inputs = onnx_graph_from_bytes(value_bytes, error);
  if (inputs == NULL) return FALSE;
  onnx_graph_simplify(graph);
  g_autoptr(PipelineExecutor) executor = pipeline_executor_new(graph, &pipeline_backend_reference, error);
  if (executor == NULL) return FALSE;
  for (guint i = 0; i < graph->inputs->len; i++) {
    const OnnxValue *input = g_ptr_array_index(graph->inputs, i);
    const OnnxTensor *tensor = onnx_graph_find_initialiser(inputs, input->name);
    if (tensor == NULL) continue;
    if (!pipeline_tensor_set_onnx(pipeline_executor_get_input(executor, i), tensor, error)) return FALSE;
  }
  return pipeline_executor_run(executor, FALSE, error) && write_outputs(graph, executor, output, error);
}

/* Folders on standard input; one line each: "ok" or what was refused. */
static int run_cases(void)
{
  char line[4096];
  while (fgets(line, sizeof line, stdin) != NULL) {
    GError *error = NULL;
    line[strcspn(line, "\n")] = '\0';
    gboolean done = run_case(line, &error);
    printf("%s\n", done ? "ok" : error->message);
    fflush(stdout);
    g_clear_error(&error);
  }
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
  if (strcmp(command, "time") == 0 && count == 5) return measure(arguments + 2);
  if (strcmp(command, "cases") == 0) return run_cases();
  fprintf(stderr, "see the head of tests/onnx/predict_tool.c\n");
  return 2;
}
