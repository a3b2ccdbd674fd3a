#include "tests/gpu/networks.h"

#include <math.h>
#include <string.h>

/* --- parts ----------------------------------------------------------------------------------------------------------
 */

static void add_weights(OnnxGraph *graph, const gchar *name, guint n_dims, const gint64 *dims, float constant,
                        PipelineRandom *random)
{
  gsize n = 1, fan = 1;
  for (guint d = 0; d < n_dims; d++) n *= (gsize)dims[d];
  for (guint d = 1; d < n_dims; d++) fan *= (gsize)dims[d];
  g_autofree float *values = g_new(float, n);
  for (gsize i = 0; i < n; i++) values[i] = constant;
  if (n_dims > 1)
    pipeline_initialiser_fill(pipeline_initialiser_find("glorot-uniform", NULL), fan, (gsize)dims[0], random, values,
                              n);
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, n_dims, dims, values));
}

#define WEIGHTS(name, constant, ...)                                                                                   \
  add_weights(graph, name, sizeof((gint64[]){__VA_ARGS__}) / sizeof(gint64), (const gint64[]){__VA_ARGS__}, constant,  \
              random)

static OnnxNode *add(OnnxGraph *graph, const gchar *operator, const gchar * inputs, const gchar *outputs)
{
  return onnx_graph_add_node(graph, "", operator, inputs, outputs);
}

/* out = in W + b; rows of any shape. */
static void add_linear(OnnxGraph *graph, const gchar *in, const gchar *out, gint64 n_in, gint64 n_out,
                       PipelineRandom *random)
{
  g_autofree gchar *w = g_strconcat(out, ".w", NULL), *b = g_strconcat(out, ".b", NULL),
                   *inputs = g_strdup_printf("%s,%s,%s", in, w, b);
  WEIGHTS(w, 0, n_out, n_in);
  WEIGHTS(b, 0, n_out);
  onnx_node_set_int(add(graph, "Gemm", inputs, out), "transB", 1);
}

static void add_projection(OnnxGraph *graph, const gchar *in, const gchar *out, gint64 n_in, gint64 n_out,
                           PipelineRandom *random)
{
  g_autofree gchar *w = g_strconcat(out, ".w", NULL), *b = g_strconcat(out, ".b", NULL),
                   *product = g_strconcat(out, ".p", NULL), *inputs = g_strdup_printf("%s,%s", in, w),
                   *sum = g_strdup_printf("%s,%s", product, b);
  WEIGHTS(w, 0, n_in, n_out);
  WEIGHTS(b, 0, n_out);
  add(graph, "MatMul", inputs, product);
  add(graph, "Add", sum, out);
}

static void add_convolution(OnnxGraph *graph, const gchar *in, const gchar *out, gint64 n_in, gint64 n_out,
                            gint64 kernel, gint64 stride, gint64 pad, gboolean bias, PipelineRandom *random)
{
  const gint64 pads[] = {pad, pad, pad, pad}, strides[] = {stride, stride};
  g_autofree gchar *w = g_strconcat(out, ".w", NULL), *b = g_strconcat(out, ".b", NULL),
                   *inputs = g_strdup_printf(bias ? "%s,%s,%s" : "%s,%s", in, w, b);
  WEIGHTS(w, 0, n_out, n_in, kernel, kernel);
  if (bias) WEIGHTS(b, 0, n_out);
  OnnxNode *node = add(graph, "Conv", inputs, out);
  onnx_node_set_ints(node, "pads", pads, 4);
  onnx_node_set_ints(node, "strides", strides, 2);
}

static void add_pool(OnnxGraph *graph, const gchar *operator, const gchar * in, const gchar *out)
{
  const gint64 two[] = {2, 2};
  OnnxNode *node = add(graph, operator, in, out);
  onnx_node_set_ints(node, "kernel_shape", two, 2);
  onnx_node_set_ints(node, "strides", two, 2);
}

static void add_batch_norm(OnnxGraph *graph, const gchar *in, const gchar *out, gint64 n, PipelineRandom *random)
{
  g_autofree gchar *inputs = g_strdup_printf("%s,%s.scale,%s.shift,%s.mean,%s.variance", in, out, out, out, out);
  const gchar *parts[] = {"scale", "shift", "mean", "variance"};
  for (guint i = 0; i < 4; i++) {
    g_autofree gchar *name = g_strdup_printf("%s.%s", out, parts[i]);
    WEIGHTS(name, i % 3 == 0 ? 1 : 0, n);
  }
  add(graph, "BatchNormalization", inputs, out);
}

static void add_shape(OnnxGraph *graph, const gchar *name, guint n, const gint64 *dims)
{
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_INT64, 1, (gint64[]){n}, dims));
}

static OnnxGraph *begin(const gchar *name, const gchar *shape)
{
  OnnxGraph *graph = onnx_graph_new(name);
  onnx_graph_set_opset(graph, "", 20);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, shape);
  return graph;
}

/* --- networks -------------------------------------------------------------------------------------------------------
 */

static OnnxGraph *build_mlp(PipelineRandom *random)
{
  OnnxGraph *graph = begin("mlp", "N,20");
  add_linear(graph, "x", "h1", 20, 128, random);
  add(graph, "Relu", "h1", "a1");
  add_linear(graph, "a1", "h2", 128, 64, random);
  add(graph, "Relu", "h2", "a2");
  add_linear(graph, "a2", "y", 64, 1, random);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,1");
  return graph;
}

/* Draws a mask in each step. */
static OnnxGraph *build_dropout(PipelineRandom *random)
{
  const float ratio = 0.25f;
  OnnxGraph *graph = begin("dropout", "N,20");
  onnx_graph_take_initialiser(graph, onnx_tensor_new("ratio", ONNX_TYPE_FLOAT, 0, NULL, &ratio));
  add_linear(graph, "x", "h", 20, 17, random);
  add(graph, "Tanh", "h", "a");
  add(graph, "Dropout", "a,ratio", "d");
  add_linear(graph, "d", "y", 17, 1, random);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,1");
  return graph;
}

static OnnxGraph *build_lenet(PipelineRandom *random)
{
  OnnxGraph *graph = begin("lenet", "N,1,28,28");
  add_convolution(graph, "x", "c1", 1, 6, 5, 1, 2, TRUE, random);
  add(graph, "Relu", "c1", "r1");
  add_pool(graph, "MaxPool", "r1", "p1");
  add_convolution(graph, "p1", "c2", 6, 16, 5, 1, 0, TRUE, random);
  add(graph, "Relu", "c2", "r2");
  add_pool(graph, "MaxPool", "r2", "p2");
  add(graph, "Flatten", "p2", "f");
  add_linear(graph, "f", "h1", 400, 120, random);
  add(graph, "Relu", "h1", "a1");
  add_linear(graph, "a1", "h2", 120, 84, random);
  add(graph, "Relu", "h2", "a2");
  add_linear(graph, "a2", "y", 84, 10, random);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,10");
  return graph;
}

/* Two convolutions and a way around them; returns the name of what comes out. */
static gchar *add_block(OnnxGraph *graph, const gchar *in, guint number, gint64 n_in, gint64 n_out, gint64 stride,
                        PipelineRandom *random)
{
  g_autofree gchar *c1 = g_strdup_printf("b%u.c1", number), *n1 = g_strdup_printf("b%u.n1", number),
                   *r1 = g_strdup_printf("b%u.r1", number), *c2 = g_strdup_printf("b%u.c2", number),
                   *n2 = g_strdup_printf("b%u.n2", number), *sum = g_strdup_printf("b%u.sum", number),
                   *around = g_strdup_printf("b%u.n3", number), *c3 = g_strdup_printf("b%u.c3", number);
  gchar *out = g_strdup_printf("b%u", number);
  gboolean changes = stride != 1 || n_in != n_out;
  add_convolution(graph, in, c1, n_in, n_out, 3, stride, 1, FALSE, random);
  add_batch_norm(graph, c1, n1, n_out, random);
  add(graph, "Relu", n1, r1);
  add_convolution(graph, r1, c2, n_out, n_out, 3, 1, 1, FALSE, random);
  add_batch_norm(graph, c2, n2, n_out, random);
  if (changes) {
    add_convolution(graph, in, c3, n_in, n_out, 1, stride, 0, FALSE, random);
    add_batch_norm(graph, c3, around, n_out, random);
  }
  g_autofree gchar *both = g_strdup_printf("%s,%s", n2, changes ? around : in);
  add(graph, "Add", both, sum);
  add(graph, "Relu", sum, out);
  return out;
}

/* He et al. 2016, for 32 × 32: a 3 × 3 stem without a pool. blocks: of each of the widths. */
static OnnxGraph *build_residual(PipelineRandom *random, const gint64 *widths, guint n_widths, guint blocks)
{
  OnnxGraph *graph = begin("resnet", "N,3,32,32");
  add_convolution(graph, "x", "c0", 3, widths[0], 3, 1, 1, FALSE, random);
  add_batch_norm(graph, "c0", "n0", widths[0], random);
  add(graph, "Relu", "n0", "r0");
  gchar *at = g_strdup("r0");
  gint64 width = widths[0];
  for (guint i = 0; i < n_widths * blocks; i++) {
    gint64 next = widths[i / blocks];
    gchar *out = add_block(graph, at, i, width, next, i > 0 && i % blocks == 0 ? 2 : 1, random);
    g_free(at);
    at = out;
    width = next;
  }
  add(graph, "GlobalAveragePool", at, "g");
  add(graph, "Flatten", "g", "f");
  add_linear(graph, "f", "y", width, 10, random);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,10");
  g_free(at);
  return graph;
}

static OnnxGraph *build_resnet(PipelineRandom *random)
{
  return build_residual(random, (const gint64[]){64, 128, 256, 512}, 4, 2);
}

static OnnxGraph *build_small_resnet(PipelineRandom *random)
{
  return build_residual(random, (const gint64[]){4, 8}, 2, 1);
}

/* As in ResNeXt (Xie et al. 2017): a stem, a strided block, a convolution in groups; channels in whole vectors. */
static OnnxGraph *build_grouped(PipelineRandom *random)
{
  OnnxGraph *graph = begin("grouped", "N,3,12,12");
  add_convolution(graph, "x", "c0", 3, 16, 3, 1, 1, TRUE, random);
  add(graph, "Relu", "c0", "r0");
  g_autofree gchar *block = add_block(graph, "r0", 0, 16, 32, 2, random);
  g_autofree gchar *inputs = g_strdup_printf("%s,c1.w", block);
  WEIGHTS("c1.w", 0, 32, 8, 3, 3);
  onnx_node_set_int(add(graph, "Conv", inputs, "c1"), "group", 4);
  add_batch_norm(graph, "c1", "n1", 32, random);
  add(graph, "Relu", "n1", "r1");
  add(graph, "GlobalAveragePool", "r1", "g");
  add(graph, "Flatten", "g", "f");
  add_linear(graph, "f", "y", 32, 10, random);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,10");
  return graph;
}

static void add_normalisation(OnnxGraph *graph, const gchar *operator, const gchar * in, const gchar *out, gint64 n,
                              PipelineRandom *random)
{
  g_autofree gchar *scale = g_strconcat(out, ".scale", NULL), *shift = g_strconcat(out, ".shift", NULL),
                   *inputs = g_strdup_printf("%s,%s,%s", in, scale, shift);
  WEIGHTS(scale, 1, n);
  WEIGHTS(shift, 0, n);
  OnnxNode *node = add(graph, operator, inputs, out);
  if (strcmp(operator, "GroupNormalization") == 0) onnx_node_set_int(node, "num_groups", n);
}

/* Down and up again, with what exporters write beside convolutions; set 20 has a scale a group. */
static OnnxGraph *build_small_decoder(PipelineRandom *random)
{
  OnnxGraph *graph = begin("small-decoder", "N,4,6,6");
  const gint64 strides[] = {2, 2}, pads[] = {1, 1, 1, 1}, extra[] = {1, 1};
  add_convolution(graph, "x", "c", 4, 8, 3, 2, 1, TRUE, random);
  add_normalisation(graph, "GroupNormalization", "c", "g", 2, random);
  add(graph, "HardSwish", "g", "a");
  WEIGHTS("t.w", 0, 8, 4, 3, 3);
  WEIGHTS("t.b", 0, 4);
  OnnxNode *node = add(graph, "ConvTranspose", "a,t.w,t.b", "t");
  onnx_node_set_ints(node, "strides", strides, 2);
  onnx_node_set_ints(node, "pads", pads, 4);
  onnx_node_set_ints(node, "output_padding", extra, 2);
  add_normalisation(graph, "InstanceNormalization", "t", "i", 4, random);
  WEIGHTS("slope", 0.25f, 4, 1, 1);
  add(graph, "PRelu", "i,slope", "p");
  add(graph, "Mean", "p,x", "m");
  add(graph, "Mish", "m", "s");
  add_shape(graph, "image", 2, (const gint64[]){2, 3});
  add(graph, "GlobalMaxPool", "s", "most");
  add(graph, "ReduceMin", "s,image", "least");
  onnx_node_set_int(add(graph, "Concat", "most,least", "both"), "axis", 1);
  add(graph, "Flatten", "both", "f");
  add_linear(graph, "f", "y", 8, 10, random);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,10");
  return graph;
}

/* x [N, time, in]; the last h decides. */
static OnnxGraph *build_sequence(PipelineRandom *random, gint64 in, gint64 hidden, const gchar *shape)
{
  OnnxGraph *graph = begin("lstm", shape);
  const gint64 perm[] = {1, 0, 2};
  onnx_node_set_ints(add(graph, "Transpose", "x", "t"), "perm", perm, 3);
  WEIGHTS("w", 0, 1, 4 * hidden, in);
  WEIGHTS("r", 0, 1, 4 * hidden, hidden);
  WEIGHTS("b", 0, 1, 8 * hidden);
  onnx_node_set_int(add(graph, "LSTM", "t,w,r,b", "all,last"), "hidden_size", hidden);
  add_shape(graph, "front", 1, (const gint64[]){0});
  add(graph, "Squeeze", "last,front", "h");
  add_linear(graph, "h", "y", hidden, 10, random);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,10");
  return graph;
}

static OnnxGraph *build_lstm(PipelineRandom *random)
{
  return build_sequence(random, 32, 128, "N,32,32");
}

static OnnxGraph *build_small_lstm(PipelineRandom *random)
{
  return build_sequence(random, 4, 6, "N,5,4");
}

/* [N, time, width] → [N, heads, time, width / heads] */
static void add_heads(OnnxGraph *graph, const gchar *in, const gchar *out, const gint64 *perm)
{
  g_autofree gchar *parts = g_strconcat(in, ".parts", NULL), *inputs = g_strdup_printf("%s,split_shape", in);
  add(graph, "Reshape", inputs, parts);
  onnx_node_set_ints(add(graph, "Transpose", parts, out), "perm", perm, 4);
}

static void add_layer_norm(OnnxGraph *graph, const gchar *in, const gchar *out, gint64 width, PipelineRandom *random)
{
  g_autofree gchar *scale = g_strconcat(out, ".scale", NULL), *shift = g_strconcat(out, ".shift", NULL),
                   *inputs = g_strdup_printf("%s,%s,%s", in, scale, shift);
  WEIGHTS(scale, 1, width);
  WEIGHTS(shift, 0, width);
  add(graph, "LayerNormalization", inputs, out);
}

/* Vaswani et al. 2017, normalisation first; in and out [N, time, width]. */
static void add_encoder(OnnxGraph *graph, const gchar *in, const gchar *out, gint64 width, PipelineRandom *random)
{
  const gint64 front[] = {0, 2, 1, 3}, turned[] = {0, 2, 3, 1};
  g_autofree gchar *n1 = g_strconcat(out, ".n1", NULL), *n2 = g_strconcat(out, ".n2", NULL),
                   *middle = g_strconcat(out, ".middle", NULL);
  const gchar *names[] = {"q", "k", "v"};
  gchar *parts[3], *heads[3];
  add_layer_norm(graph, in, n1, width, random);
  for (guint i = 0; i < 3; i++) {
    parts[i] = g_strdup_printf("%s.%s", out, names[i]);
    heads[i] = g_strdup_printf("%s.heads", parts[i]);
    add_projection(graph, n1, parts[i], width, width, random);
    add_heads(graph, parts[i], heads[i], i == 1 ? turned : front);
  }
#define NAME(variable, format, ...) g_autofree gchar *variable = g_strdup_printf(format, __VA_ARGS__)
  NAME(qk, "%s,%s", heads[0], heads[1]);
  NAME(scores, "%s.scores", out);
  NAME(scaled, "%s.scaled", out);
  NAME(scaling, "%s,root", scores);
  NAME(share, "%s.share", out);
  NAME(sv, "%s,%s", share, heads[2]);
  NAME(mixed, "%s.mixed", out);
  NAME(back, "%s.back", out);
  NAME(joining, "%s,join_shape", back);
  NAME(joined, "%s.joined", out);
  NAME(attention, "%s.attention", out);
  NAME(first, "%s,%s", in, attention);
  add(graph, "MatMul", qk, scores);
  add(graph, "Mul", scaling, scaled);
  onnx_node_set_int(add(graph, "Softmax", scaled, share), "axis", -1);
  add(graph, "MatMul", sv, mixed);
  onnx_node_set_ints(add(graph, "Transpose", mixed, back), "perm", front, 4);
  add(graph, "Reshape", joining, joined);
  add_projection(graph, joined, attention, width, width, random);
  add(graph, "Add", first, middle);
  NAME(wide, "%s.wide", out);
  NAME(active, "%s.active", out);
  NAME(narrow, "%s.narrow", out);
  NAME(second, "%s,%s", middle, narrow);
  add_layer_norm(graph, middle, n2, width, random);
  add_projection(graph, n2, wide, width, 4 * width, random);
  add(graph, "Gelu", wide, active);
  add_projection(graph, active, narrow, 4 * width, width, random);
  add(graph, "Add", second, out);
  for (guint i = 0; i < 3; i++) {
    g_free(parts[i]);
    g_free(heads[i]);
  }
}

/* Tokens (as numbers) → embedding → encoders → mean → classes. */
static OnnxGraph *build_encoders(PipelineRandom *random, gint64 vocabulary, gint64 time, gint64 width, gint64 heads,
                                 guint layers)
{
  g_autofree gchar *shape = g_strdup_printf("N,%" G_GINT64_FORMAT, time);
  OnnxGraph *graph = begin("transformer", shape);
  const float root = 1 / sqrtf((float)(width / heads));
  onnx_node_set_int(add(graph, "Cast", "x", "tokens"), "to", ONNX_TYPE_INT64);
  WEIGHTS("embedding", 0, vocabulary, width);
  WEIGHTS("places", 0, time, width);
  add_shape(graph, "split_shape", 4, (const gint64[]){0, time, heads, width / heads});
  add_shape(graph, "join_shape", 3, (const gint64[]){0, time, width});
  add_shape(graph, "middle_axis", 1, (const gint64[]){1});
  onnx_graph_take_initialiser(graph, onnx_tensor_new("root", ONNX_TYPE_FLOAT, 0, NULL, &root));
  add(graph, "Gather", "embedding,tokens", "e");
  add(graph, "Add", "e,places", "l0");
  for (guint i = 0; i < layers; i++) {
    NAME(in, "l%u", i);
    NAME(out, "l%u", i + 1);
    add_encoder(graph, in, out, width, random);
  }
  NAME(last, "l%u", layers);
  add_layer_norm(graph, last, "n", width, random);
  onnx_node_set_int(add(graph, "ReduceMean", "n,middle_axis", "m"), "keepdims", 0);
  add_linear(graph, "m", "y", width, 10, random);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,10");
  return graph;
}

static OnnxGraph *build_transformer(PipelineRandom *random)
{
  return build_encoders(random, 1000, 64, 128, 4, 2);
}

static OnnxGraph *build_small_transformer(PipelineRandom *random)
{
  return build_encoders(random, 12, 5, 8, 2, 1);
}

const Network networks[] = {
    {"mlp", build_mlp, 1, {20}, 1, 0},
    {"lenet", build_lenet, 3, {1, 28, 28}, 10, 0},
    {"resnet18", build_resnet, 3, {3, 32, 32}, 10, 0},
    {"lstm", build_lstm, 2, {32, 32}, 10, 0},
    {"transformer", build_transformer, 1, {64}, 10, 1000},
    {"dropout", build_dropout, 1, {20}, 1, 0},
    {"small-resnet", build_small_resnet, 3, {3, 32, 32}, 10, 0},
    {"grouped", build_grouped, 3, {3, 12, 12}, 10, 0},
    {"small-decoder", build_small_decoder, 3, {4, 6, 6}, 10, 0},
    {"small-lstm", build_small_lstm, 2, {5, 4}, 10, 0},
    {"small-transformer", build_small_transformer, 1, {5}, 10, 12},
    {.name = NULL},
};

const Network *network_find(const gchar *name)
{
  for (const Network *network = networks; network->name != NULL; network++)
    if (strcmp(network->name, name) == 0) return network;
  return NULL;
}

/* --- rows -----------------------------------------------------------------------------------------------------------
 */

World *network_world_new(const Network *network, guint n_rows, guint n_validation, GError **error)
{
  PipelineRandom random;
  g_autoptr(World) world = g_new0(World, 1);
  gsize width = 1;
  pipeline_random_seed(&random, 1);
  for (guint d = 0; d < network->n_dims; d++) width *= (gsize)network->dims[d];
  world->network = network;
  world->graph = network->build(&random);
  world->plan = pipeline_graph_plan_new(world->graph, NULL, error);
  if (world->plan == NULL) return NULL;
  world->x = g_new(float, n_rows *width);
  world->targets = g_new(float, n_rows);
  world->rows = g_new(guint64, n_rows);
  for (gsize i = 0; i < n_rows * width; i++)
    world->x[i] = network->tokens > 0 ? (float)pipeline_random_below(&random, network->tokens)
                                      : (float)pipeline_random_uniform(&random);
  for (guint i = 0; i < n_rows; i++) {
    world->targets[i] = (float)pipeline_random_below(&random, MAX(network->outputs, 2));
    world->rows[i] = i;
  }
  world->head =
      (PipelineGraphHead){.value = "y",
                          .loss = pipeline_graph_loss_find(network->outputs > 1 ? "cross-entropy" : "binary", NULL),
                          .weight = 1};
  pipeline_graph_loss_options_init(&world->head.options);
  world->data = (PipelineGraphData){.x = world->x,
                                    .n_dims = network->n_dims,
                                    .targets = world->targets,
                                    .n_targets = 1,
                                    .train = world->rows,
                                    .validation = world->rows + (n_rows - n_validation),
                                    .test = world->rows,
                                    .n_rows = n_rows,
                                    .n_train = n_rows - n_validation,
                                    .n_validation = n_validation};
  memcpy(world->data.dims, network->dims, sizeof network->dims);
  return g_steal_pointer(&world);
}

void network_world_free(World *world)
{
  if (world == NULL) return;
  onnx_graph_free(world->graph);
  g_clear_pointer(&world->plan, pipeline_graph_plan_free);
  g_free(world->x);
  g_free(world->targets);
  g_free(world->rows);
  g_free(world);
}
