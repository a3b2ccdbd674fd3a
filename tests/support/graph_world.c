#include "tests/support/graph_world.h"

#include <check.h>
#include <string.h>

void graph_world_take_random(OnnxGraph *graph, const gchar *name, gint64 rows, gint64 columns, PipelineRandom *random)
{
  g_autofree float *values = g_new(float, (gsize)(rows * columns));
  pipeline_initialiser_fill(pipeline_initialiser_find("he-uniform", NULL), (gsize)columns, (gsize)rows, random, values,
                            (gsize)(rows * columns));
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, 2, (gint64[]){rows, columns}, values));
}

void graph_world_take_constant(OnnxGraph *graph, const gchar *name, gint64 n, float value)
{
  g_autofree float *values = g_new(float, (gsize)n);
  for (gint64 i = 0; i < n; i++) values[i] = value;
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, n == 1 ? 0 : 1, &n, values));
}

OnnxGraph *graph_world_new_graph(void)
{
  PipelineRandom random;
  OnnxGraph *graph = onnx_graph_new("test");
  pipeline_random_seed(&random, 2);
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "features", ONNX_TYPE_FLOAT, "N,6");
  graph_world_take_random(graph, "first.weight", GRAPH_WORLD_HIDDEN, GRAPH_WORLD_WIDTH, &random);
  graph_world_take_constant(graph, "first.bias", GRAPH_WORLD_HIDDEN, 0);
  graph_world_take_constant(graph, "norm.scale", GRAPH_WORLD_HIDDEN, 1);
  graph_world_take_constant(graph, "norm.bias", GRAPH_WORLD_HIDDEN, 0);
  graph_world_take_constant(graph, "norm.mean", GRAPH_WORLD_HIDDEN, 0);
  graph_world_take_constant(graph, "norm.variance", GRAPH_WORLD_HIDDEN, 1);
  graph_world_take_constant(graph, "ratio", 1, 0.1f);
  graph_world_take_random(graph, "last.weight", GRAPH_WORLD_CLASSES, GRAPH_WORLD_HIDDEN, &random);
  graph_world_take_constant(graph, "last.bias", GRAPH_WORLD_CLASSES, 0);
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", "features,first.weight,first.bias", "h"), "transB", 1);
  onnx_graph_add_node(graph, "", "BatchNormalization", "h,norm.scale,norm.bias,norm.mean,norm.variance", "n");
  onnx_graph_add_node(graph, "", "Relu", "n", "r");
  onnx_graph_add_node(graph, "", "Dropout", "r,ratio", "d");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", "d,last.weight,last.bias", "logits"), "transB", 1);
  onnx_graph_add_node(graph, "", "Softmax", "logits", "probabilities");
  onnx_graph_add_output(graph, "probabilities", ONNX_TYPE_FLOAT, "N,3");
  return graph;
}

/* The class is the largest of the first three features; the others are noise. */
void graph_world_init(GraphWorld *world)
{
  PipelineRandom random;
  pipeline_random_seed(&random, 4);
  memset(world, 0, sizeof *world);
  world->graph = graph_world_new_graph();
  world->plan = pipeline_graph_plan_new(world->graph, NULL, NULL);
  world->head =
      (PipelineGraphHead){.value = "logits", .loss = pipeline_graph_loss_find("cross-entropy", NULL), .weight = 1};
  pipeline_graph_loss_options_init(&world->head.options);
  world->x = g_new(float, GRAPH_WORLD_ROWS *GRAPH_WORLD_WIDTH);
  world->targets = g_new(float, GRAPH_WORLD_ROWS);
  world->rows = g_new(guint64, GRAPH_WORLD_ROWS);
  for (guint i = 0; i < GRAPH_WORLD_ROWS; i++) {
    for (guint k = 0; k < GRAPH_WORLD_WIDTH; k++)
      world->x[i * GRAPH_WORLD_WIDTH + k] = (float)(2 * pipeline_random_uniform(&random) - 1);
    const float *row = world->x + i * GRAPH_WORLD_WIDTH;
    world->targets[i] = row[0] > MAX(row[1], row[2]) ? 0 : row[1] > row[2] ? 1 : 2;
    world->rows[i] = i;
  }
  world->data = (PipelineGraphData){.x = world->x,
                                    .n_dims = 1,
                                    .dims = {GRAPH_WORLD_WIDTH},
                                    .targets = world->targets,
                                    .n_targets = 1,
                                    .train = world->rows,
                                    .validation = world->rows + 240,
                                    .n_rows = GRAPH_WORLD_ROWS,
                                    .n_train = 240,
                                    .n_validation = 60};
  pipeline_graph_fit_options_init(&world->options);
  world->options.epochs = 60;
  world->options.batch_size = 32;
  world->options.learning_rate = 0.01;
}

void graph_world_clear(GraphWorld *world)
{
  pipeline_graph_plan_free(world->plan);
  onnx_graph_free(world->graph);
  g_free(world->x);
  g_free(world->targets);
  g_free(world->rows);
}

PipelineGraphFit *graph_world_fit(GraphWorld *world)
{
  g_autoptr(GError) error = NULL;
  const PipelineGradientBackend *backend = pipeline_gradient_backend_find("reference", world->graph, &error);
  PipelineGraphFit *fit = pipeline_graph_fit_new(world->graph, world->plan, &world->head, 1, &world->data,
                                                 &world->options, backend, &error);
  ck_assert_msg(fit != NULL, "%s", error != NULL ? error->message : "");
  return fit;
}

void graph_world_run(PipelineGraphFit *fit, guint64 steps)
{
  for (guint64 i = 0; i < steps && !pipeline_graph_fit_is_finished(fit); i++) {
    g_autoptr(GError) error = NULL;
    gboolean epoch_done;
    ck_assert_msg(pipeline_graph_fit_step(fit, &epoch_done, &error), "%s", error != NULL ? error->message : "");
  }
}
