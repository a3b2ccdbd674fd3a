#include "tests/support/tree_world.h"

#include <check.h>
#include <math.h>
#include <string.h>

#include "pipeline/model.h"
#include "pipeline/model_spec.h"
#include "pipeline/trainer_random.h"
#include "pipeline/tree_graph.h"

DriftTable *tree_table(guint n, guint64 seed, TreeTask task)
{
  static const gchar *const colours[] = {"red", "green", "blue"}, *const classes[] = {"low", "middle", "high"};
  PipelineRandom random;
  pipeline_random_seed(&random, seed);
  DriftTable *table = drift_table_new();
  DriftColumn *a = drift_table_add_column(table, "a", DRIFT_NUMERIC),
              *b = drift_table_add_column(table, "b", DRIFT_NUMERIC),
              *noise = drift_table_add_column(table, "noise", DRIFT_NUMERIC),
              *empty = drift_table_add_column(table, "empty", DRIFT_NUMERIC),
              *colour = drift_table_add_column(table, "colour", DRIFT_CATEGORICAL),
              *y = drift_table_add_column(table, "y", task == TREE_CLASSES ? DRIFT_CATEGORICAL : DRIFT_NUMERIC);
  for (guint i = 0; i < n; i++) {
    double u = pipeline_random_uniform(&random), v = pipeline_random_uniform(&random),
           w = pipeline_random_uniform(&random);
    guint c = (guint)pipeline_random_below(&random, 3);
    gboolean missing = pipeline_random_below(&random, 10) == 0;
    double score = u + sin(6 * v) / 2 + (c == 0 ? .4 : 0) + .2 * w;
    drift_column_append_number(a, u);
    drift_column_append_number(b, missing ? NAN : v);
    drift_column_append_number(noise, pipeline_random_uniform(&random));
    drift_column_append_number(empty, NAN);
    if (pipeline_random_below(&random, 20) == 0)
      drift_column_append_missing(colour);
    else
      drift_column_append_text(colour, colours[c], -1);
    if (task == TREE_CLASSES)
      drift_column_append_text(y, classes[(score > .5) + (score > 1)], -1);
    else
      drift_column_append_number(y, task == TREE_VALUE ? 1000 + 100 * score : score > .75);
    table->n_rows++;
  }
  return table;
}

DriftSchema *tree_infer(const DriftTable *table)
{
  g_autoptr(GError) error = NULL;
  DriftSchema *schema = pipeline_model_spec_infer(table, "y", NULL, NULL, &error);
  ck_assert_msg(schema != NULL, "%s", error ? error->message : "");
  return schema;
}

PipelineTrainOptions tree_options(const gchar *architecture)
{
  PipelineTrainOptions options;
  pipeline_train_options_init(&options);
  options.architecture = architecture;
  options.validation_fraction = 0;
  return options;
}

void tree_train(const DriftTable *table, const DriftSchema *schema, const PipelineTrainOptions *options,
                PipelineTrainResult *result)
{
  g_autoptr(GError) error = NULL;
  gboolean done = pipeline_train(table, schema, options, NULL, NULL, result, &error);
  ck_assert_msg(done, "%s", error ? error->message : "");
}

void tree_refused(const DriftTable *table, const DriftSchema *schema, const PipelineTrainOptions *options,
                  const gchar *why)
{
  g_autoptr(GError) error = NULL;
  PipelineTrainResult result = {0};
  ck_assert(!pipeline_train(table, schema, options, NULL, NULL, &result, &error));
  ck_assert_msg(strstr(error->message, why) != NULL, "%s", error->message);
  ck_assert_ptr_null(result.onnx);
}

float *tree_predict(GBytes *onnx, const DriftTable *table, const DriftSchema *schema, guint *n_outputs)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, schema, NULL, &error);
  ck_assert_msg(model != NULL, "%s", error ? error->message : "");
  *n_outputs = pipeline_model_get_n_outputs(model);
  float *outputs = g_new(float, table->n_rows **n_outputs);
  ck_assert_msg(pipeline_model_predict_table(model, table, outputs, &error), "%s", error ? error->message : "");
  return outputs;
}

double tree_accuracy(GBytes *onnx, const DriftTable *table, const DriftSchema *schema)
{
  guint n, right = 0;
  g_autofree float *outputs = tree_predict(onnx, table, schema, &n);
  for (guint64 row = 0; row < table->n_rows; row++) {
    DriftValue label = drift_column_get_value(drift_table_get_column(table, "y"), row);
    guint best = 0;
    for (guint k = 1; k < n; k++)
      if (outputs[row * n + k] > outputs[row * n + best]) best = k;
    right += drift_schema_class_of(schema, &label) == (gint)best;
  }
  return (double)right / (double)table->n_rows;
}

guint tree_count(GBytes *onnx, const DriftSchema *schema)
{
  g_autoptr(GError) error = NULL;
  g_auto(PipelineTreeGraph) graph = {.graph = NULL};
  g_autoptr(PipelineTreeEnsemble) ensemble = NULL;
  ck_assert_msg(pipeline_tree_graph_read(onnx, schema, &graph, &ensemble, &error), "%s", error ? error->message : "");
  return pipeline_tree_ensemble_n_trees(ensemble);
}
