#include "pipeline/prepare.h"

#include <math.h>
#include <string.h>

#include "pipeline/model_spec.h"
#include "pipeline/network_build.h"
#include "pipeline/network_features.h"
#include "pipeline/npz_write.h"

#define OUTPUT "prepared"

static const gchar *const part_names[PIPELINE_N_PARTS] = {"train", "validation", "test"};

void pipeline_prepare_options_init(PipelinePrepareOptions *options)
{
  *options = (PipelinePrepareOptions){.validation = .1, .test = .2, .seed = 1};
}

void pipeline_preparation_free(PipelinePreparation *preparation)
{
  if (!preparation) return;
  if (preparation->table) drift_table_free(preparation->table);
  pipeline_trainer_rows_free(preparation->rows);
  pipeline_prepared_free(preparation->prepared);
  g_clear_pointer(&preparation->onnx, g_bytes_unref);
  g_free(preparation->matrix);
  json_decref(preparation->cleaning);
  json_decref(preparation->search);
  g_free(preparation);
}

static gboolean divide(PipelinePreparation *preparation, const DriftSchema *schema,
                       const PipelinePrepareOptions *options, GError **error)
{
  PipelineSplit split = {0};
  if (!options->split && !pipeline_split_parse("time", &split, error)) return FALSE;
  gboolean done = pipeline_split_rows(options->split ? options->split : &split, preparation->table, schema,
                                      preparation->rows, options->validation, options->test, 0, options->seed, error);
  pipeline_split_clear(&split);
  return done;
}

/* The plan that is asked for, given or searched for; new. */
static PipelinePlan *find_plan(PipelinePreparation *preparation, const DriftSchema *schema,
                               const PipelinePrepareOptions *options, GError **error)
{
  if (!options->search) return options->plan ? pipeline_plan_copy(options->plan) : pipeline_plan_new();
  PipelinePlanSearchOptions search = *options->search;
  search.split = options->split;
  search.seed = options->seed;
  return pipeline_plan_search(preparation->table, schema, preparation->rows->rows, preparation->rows->n_train, &search,
                              options->progress, options->user_data, &preparation->search, error);
}

static gboolean fit(PipelinePreparation *preparation, const DriftSchema *schema, const PipelinePrepareOptions *options,
                    GError **error)
{
  const PipelinePrepareData data =
      pipeline_trainer_rows_prepare(preparation->rows, preparation->table, schema, options->seed);
  g_autoptr(PipelinePlan) plan = find_plan(preparation, schema, options, error);
  if (!plan || !pipeline_plan_complete(plan, schema, PIPELINE_PLAN_STANDARD, error)) return FALSE;
  preparation->prepared = pipeline_plan_fit(plan, &data, error);
  return preparation->prepared != NULL;
}

/* The graph, and the matrix that it makes. */
static gboolean compute(PipelinePreparation *preparation, const DriftSchema *schema, GError **error)
{
  const PipelinePrepared *prepared = preparation->prepared;
  g_autoptr(OnnxGraph) graph = onnx_graph_new("kedge");
  g_autofree gchar *shape = g_strdup_printf("N,%u", prepared->names->len), *spec = pipeline_model_spec_format(schema);
  g_auto(PipelineGraphPrefix) prefix = {.features = NULL};
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_set_opset(graph, "ai.onnx.ml", 3);
  onnx_graph_set_metadata(graph, PIPELINE_SCHEMA_KEY, spec);
  if (!pipeline_prepared_add_prefix(prepared, graph, &prefix, error)) return FALSE;
  const gchar *output = drift_schema_find_feature(schema, OUTPUT) < 0 ? OUTPUT : "kedge.prepared";
  onnx_graph_add_node(graph, "", "Identity", prefix.features, output);
  onnx_graph_add_output(graph, output, ONNX_TYPE_FLOAT, shape);
  g_autoptr(GError) cause = NULL;
  preparation->onnx = onnx_graph_to_bytes(graph, &cause);
  if (!preparation->onnx) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
    return FALSE;
  }
  g_autoptr(PipelineFeatureReader) reader =
      pipeline_feature_reader_new_at(graph, prefix.features, prepared->names->len, TRUE, schema, error);
  if (reader) pipeline_feature_reader_set_names(reader, prepared->names);
  if (reader) preparation->matrix = pipeline_feature_reader_read(reader, preparation->table, error);
  if (!preparation->matrix) return FALSE;
  pipeline_prepared_overwrite(prepared, preparation->rows->rows, preparation->matrix);
  return TRUE;
}

PipelinePreparation *pipeline_prepare(DriftTable *table, const DriftSchema *schema,
                                      const PipelinePrepareOptions *options, GError **error)
{
  g_autoptr(PipelinePreparation) preparation = g_new0(PipelinePreparation, 1);
  preparation->table = table;
  preparation->n_read = table->n_rows;
  preparation->rows = pipeline_trainer_rows_new(table, schema, error);
  if (!preparation->rows || !divide(preparation, schema, options, error)) return NULL;
  if (options->clean) {
    preparation->cleaning = pipeline_clean(preparation->table, schema, preparation->rows, options->clean, error);
    if (!preparation->cleaning) return NULL;
  }
  if (!fit(preparation, schema, options, error) || !compute(preparation, schema, error)) return NULL;
  return g_steal_pointer(&preparation);
}

const guint64 *pipeline_preparation_get_rows(const PipelinePreparation *preparation, guint part, guint64 *n)
{
  const PipelineTrainerRows *rows = preparation->rows;
  const guint64 counts[] = {rows->n_train, rows->n_validation, rows->n_test};
  const guint64 starts[] = {0, rows->n_train, rows->n_train + rows->n_validation};
  *n = counts[part];
  return rows->rows + starts[part];
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void add_part(const PipelinePreparation *preparation, const DriftSchema *schema, guint part,
                     PipelineNpzWriter *writer)
{
  guint64 n, width = preparation->prepared->names->len;
  const guint64 *rows = pipeline_preparation_get_rows(preparation, part, &n);
  const float *targets = preparation->rows->targets;
  if (n == 0) return;
  g_autofree float *x = g_new(float, n *width), *values = g_new(float, n);
  g_autofree gint64 *numbers = g_new(gint64, n), *row_numbers = g_new(gint64, n);
  for (guint64 i = 0; i < n; i++) {
    memcpy(x + i * width, preparation->matrix + rows[i] * width, width * sizeof(float));
    values[i] = targets[rows[i]];
    numbers[i] = (gint64)targets[rows[i]];
    row_numbers[i] = (gint64)rows[i];
  }
  const guint64 dims[] = {n, width};
  g_autofree gchar *x_name = g_strdup_printf("X_%s", part_names[part]),
                   *y_name = g_strdup_printf("y_%s", part_names[part]),
                   *row_name = g_strdup_printf("row_%s", part_names[part]);
  pipeline_npz_writer_add_floats(writer, x_name, 2, dims, x);
  if (schema->task == DRIFT_TASK_REGRESSION)
    pipeline_npz_writer_add_floats(writer, y_name, 1, dims, values);
  else
    pipeline_npz_writer_add_integers(writer, y_name, 1, dims, numbers);
  pipeline_npz_writer_add_integers(writer, row_name, 1, dims, row_numbers);
}

gboolean pipeline_preparation_write_npz(const PipelinePreparation *preparation, const DriftSchema *schema,
                                        const gchar *path, GError **error)
{
  const GPtrArray *names = preparation->prepared->names;
  g_autoptr(PipelineNpzWriter) writer = pipeline_npz_writer_new();
  for (guint part = 0; part < PIPELINE_N_PARTS; part++) add_part(preparation, schema, part, writer);
  pipeline_npz_writer_add_texts(writer, "columns", (const gchar *const *)names->pdata, names->len);
  if (schema->classes->len > 0)
    pipeline_npz_writer_add_texts(writer, "classes", (const gchar *const *)schema->classes->pdata,
                                  schema->classes->len);
  return pipeline_npz_writer_write(writer, path, error);
}

/* --- reporting ---------------------------------------------------------------------------------------------------- */

static json_t *real_or_null(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

/* The last name takes what is left, as a list. */
static json_t *describe_numbers(const PipelineTransformation *row, const PipelineTransformState *state)
{
  json_t *parameters = json_object();
  for (guint i = 0; row->parameters[i]; i++) {
    gboolean list = !row->parameters[i + 1] && state->numbers->len != i + 1;
    if (!list) {
      json_object_set_new(parameters, row->parameters[i], real_or_null(pipeline_state_get(state, i)));
      continue;
    }
    json_t *values = json_array();
    for (guint k = i; k < state->numbers->len; k++)
      json_array_append_new(values, real_or_null(pipeline_state_get(state, k)));
    json_object_set_new(parameters, row->parameters[i], values);
  }
  return parameters;
}

static json_t *describe_step(const PipelineTransformation *row, const PipelineTransformState *state)
{
  json_t *step = json_pack("{s:s, s:o}", "name", row->name, "parameters", describe_numbers(row, state));
  if (state->keys->len == 0) return step;
  json_object_set_new(step, "texts", json_integer(state->keys->len));
  if (state->n_values == 0) return step;
  json_t *map = json_object();
  for (guint i = 0; i < state->keys->len; i++) {
    json_t *values = json_array();
    for (guint k = 0; k < state->n_values; k++)
      json_array_append_new(values, real_or_null(g_array_index(state->values, double, i * state->n_values + k)));
    json_object_set_new(map, g_ptr_array_index(state->keys, i), values);
  }
  json_object_set_new(step, "map", map);
  return step;
}

static json_t *describe_chain(const PipelineFittedChain *fitted, gboolean text)
{
  const PipelineChain *chain = fitted->chain;
  g_autofree gchar *plan = pipeline_chain_format(chain);
  json_t *columns = json_array(), *steps = json_array(), *makes = json_array();
  guint next = 0;
  for (guint i = 0; i < 2 && chain->columns[i]; i++) json_array_append_new(columns, json_string(chain->columns[i]));
  if (chain->columns[1])
    json_array_append_new(steps, describe_step(pipeline_transformation_pair(text ? ONNX_TYPE_STRING : ONNX_TYPE_FLOAT),
                                               g_ptr_array_index(fitted->states, next++)));
  for (guint i = 0; i < chain->steps->len; i++)
    json_array_append_new(steps, describe_step(g_array_index(chain->steps, PipelineStep, i).transformation,
                                               g_ptr_array_index(fitted->states, next++)));
  for (guint i = 0; i < fitted->names->len; i++)
    json_array_append_new(makes, json_string(g_ptr_array_index(fitted->names, i)));
  return json_pack("{s:s, s:o, s:o, s:o}", "plan", plan, "columns", columns, "steps", steps, "makes", makes);
}

json_t *pipeline_preparation_report(const PipelinePreparation *preparation)
{
  const PipelineTrainerRows *rows = preparation->rows;
  const PipelinePrepared *prepared = preparation->prepared;
  json_t *counts =
      json_pack("{s:I, s:I}", "read", (json_int_t)preparation->n_read, "without_label", (json_int_t)rows->n_skipped);
  json_int_t dropped = json_integer_value(json_object_get(preparation->cleaning, "rows_dropped"));
  json_object_set_new(counts, "cleaned_away", json_integer(dropped));
  for (guint part = 0; part < PIPELINE_N_PARTS; part++) {
    guint64 n;
    pipeline_preparation_get_rows(preparation, part, &n);
    json_object_set_new(counts, part_names[part], json_integer((json_int_t)n));
  }
  json_t *report = json_pack("{s:o, s:i}", "rows", counts, "output_columns", (int)prepared->names->len);
  json_t *columns = json_array();
  for (guint i = 0; i < prepared->chains->len; i++) {
    const PipelineFittedChain *fitted = g_ptr_array_index(prepared->chains, i);
    gint index = drift_schema_find_feature(prepared->schema, fitted->chain->columns[0]);
    json_array_append_new(
        columns,
        describe_chain(fitted, drift_schema_get_feature(prepared->schema, (guint)index)->kind == DRIFT_CATEGORICAL));
  }
  json_object_set_new(report, "columns", columns);
  if (preparation->cleaning) json_object_set(report, "cleaning", preparation->cleaning);
  if (preparation->search) json_object_set(report, "search", preparation->search);
  return report;
}
