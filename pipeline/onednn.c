#include "pipeline/onednn.h"

#include <dnnl.h>

#include "pipeline/onednn_internal.h"

typedef struct {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  GHashTable *products; /* gint64 key -> Product*, owned */
  GHashTable *eltwises; /* gint64 key -> Eltwise*, owned */
} Onednn;

static gboolean check(dnnl_status_t status, const gchar *what, GError **error)
{
  if (status == dnnl_success) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "oneDNN cannot %s (status %d); use the backend \"reference\"", what, (int)status);
  return FALSE;
}

static gint64 *new_key(guint kind, guint index, guint n)
{
  gint64 *key = g_new(gint64, 1);
  *key = (gint64)(((guint64)kind << 60) | ((guint64)index << 32) | n);
  return key;
}

/* --- inner products ----------------------------------------------------------------------------------------------- */

typedef enum { PRODUCT_FORWARD, PRODUCT_BACKWARD_DATA, PRODUCT_BACKWARD_WEIGHTS } ProductKind;

/* Which argument each memory is, by kind; 0: none. */
static const struct {
  int in, weights, bias, out;
} product_arguments[] = {
    [PRODUCT_FORWARD] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST},
    [PRODUCT_BACKWARD_DATA] = {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, 0, DNNL_ARG_DIFF_DST},
    [PRODUCT_BACKWARD_WEIGHTS] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS, DNNL_ARG_DIFF_DST},
};

typedef struct {
  ProductKind kind;
  dnnl_primitive_t primitive;
  dnnl_memory_t in, out, bias;  /* handles are set at each call; bias may be NULL */
  dnnl_memory_t plain_weights;  /* [n_out, n_in]; handle set at each call */
  dnnl_memory_t packed_weights; /* own buffer in the primitive's layout; NULL: it takes the plain one */
  dnnl_primitive_t reorder;     /* plain -> packed, or packed -> plain for weight gradients; or NULL */
} Product;

static void product_free(gpointer data)
{
  Product *product = data;
  if (product->primitive) dnnl_primitive_destroy(product->primitive);
  if (product->reorder) dnnl_primitive_destroy(product->reorder);
  if (product->in) dnnl_memory_destroy(product->in);
  if (product->out) dnnl_memory_destroy(product->out);
  if (product->bias) dnnl_memory_destroy(product->bias);
  if (product->plain_weights) dnnl_memory_destroy(product->plain_weights);
  if (product->packed_weights) dnnl_memory_destroy(product->packed_weights);
  g_free(product);
}

typedef struct {
  dnnl_memory_desc_t in, out, bias, plain_weights, any_weights;
} ProductShapes;

static gboolean describe_shapes(const PipelineLayer *layer, guint n, ProductShapes *shapes, GError **error)
{
  const dnnl_dims_t in = {n, layer->n_in}, out = {n, layer->n_out}, bias = {layer->n_out},
                    weights = {layer->n_out, layer->n_in};
  return check(dnnl_memory_desc_init_by_tag(&shapes->in, 2, in, dnnl_f32, dnnl_ab), "describe rows", error) &&
         check(dnnl_memory_desc_init_by_tag(&shapes->out, 2, out, dnnl_f32, dnnl_ab), "describe rows", error) &&
         check(dnnl_memory_desc_init_by_tag(&shapes->bias, 1, bias, dnnl_f32, dnnl_a), "describe a bias", error) &&
         check(dnnl_memory_desc_init_by_tag(&shapes->plain_weights, 2, weights, dnnl_f32, dnnl_ab), "describe weights",
               error) &&
         check(dnnl_memory_desc_init_by_tag(&shapes->any_weights, 2, weights, dnnl_f32, dnnl_format_tag_any),
               "describe weights", error);
}

/* The primitive descriptor of a forward product; backward ones need it as a hint. */
static dnnl_primitive_desc_t describe_forward(const Onednn *onednn, const ProductShapes *shapes, gboolean has_bias,
                                              GError **error)
{
  dnnl_inner_product_desc_t forward;
  dnnl_primitive_desc_t descriptor = NULL;
  if (check(dnnl_inner_product_forward_desc_init(&forward, dnnl_forward_training, &shapes->in, &shapes->any_weights,
                                                 has_bias ? &shapes->bias : NULL, &shapes->out),
            "describe a product", error))
    check(dnnl_primitive_desc_create(&descriptor, &forward, NULL, onednn->engine, NULL), "plan a product", error);
  return descriptor;
}

static dnnl_primitive_desc_t describe_product(const Onednn *onednn, ProductKind kind, const ProductShapes *shapes,
                                              gboolean has_bias, GError **error)
{
  dnnl_primitive_desc_t forward = describe_forward(onednn, shapes, has_bias, error), descriptor = NULL;
  if (!forward || kind == PRODUCT_FORWARD) return forward;
  dnnl_inner_product_desc_t backward;
  dnnl_status_t status =
      kind == PRODUCT_BACKWARD_DATA
          ? dnnl_inner_product_backward_data_desc_init(&backward, &shapes->in, &shapes->any_weights, &shapes->out)
          : dnnl_inner_product_backward_weights_desc_init(&backward, &shapes->in, &shapes->any_weights,
                                                          has_bias ? &shapes->bias : NULL, &shapes->out);
  if (check(status, "describe a gradient", error))
    check(dnnl_primitive_desc_create(&descriptor, &backward, NULL, onednn->engine, forward), "plan a gradient", error);
  dnnl_primitive_desc_destroy(forward);
  return descriptor;
}

static gboolean create_reorder(const Onednn *onednn, Product *product, const dnnl_memory_desc_t *plain,
                               const dnnl_memory_desc_t *packed, GError **error)
{
  gboolean unpack = product->kind == PRODUCT_BACKWARD_WEIGHTS;
  dnnl_primitive_desc_t descriptor = NULL;
  if (!check(dnnl_memory_create(&product->packed_weights, packed, onednn->engine, DNNL_MEMORY_ALLOCATE),
             "allocate weights", error) ||
      !check(dnnl_reorder_primitive_desc_create(&descriptor, unpack ? packed : plain, onednn->engine,
                                                unpack ? plain : packed, onednn->engine, NULL),
             "plan a change of layout", error))
    return FALSE;
  gboolean done = check(dnnl_primitive_create(&product->reorder, descriptor), "create a change of layout", error);
  dnnl_primitive_desc_destroy(descriptor);
  return done;
}

static gboolean create_memories(const Onednn *onednn, Product *product, const ProductShapes *shapes, gboolean has_bias,
                                dnnl_primitive_desc_t descriptor, GError **error)
{
  gboolean gradient = product->kind == PRODUCT_BACKWARD_WEIGHTS;
  const dnnl_memory_desc_t *packed =
      dnnl_primitive_desc_query_md(descriptor, gradient ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
  if (!check(dnnl_memory_create(&product->in, &shapes->in, onednn->engine, DNNL_MEMORY_NONE), "hold rows", error) ||
      !check(dnnl_memory_create(&product->out, &shapes->out, onednn->engine, DNNL_MEMORY_NONE), "hold rows", error) ||
      !check(dnnl_memory_create(&product->plain_weights, &shapes->plain_weights, onednn->engine, DNNL_MEMORY_NONE),
             "hold weights", error))
    return FALSE;
  if (has_bias && product->kind != PRODUCT_BACKWARD_DATA &&
      !check(dnnl_memory_create(&product->bias, &shapes->bias, onednn->engine, DNNL_MEMORY_NONE), "hold a bias", error))
    return FALSE;
  return dnnl_memory_desc_equal(packed, &shapes->plain_weights) ||
         create_reorder(onednn, product, &shapes->plain_weights, packed, error);
}

static Product *product_new(const Onednn *onednn, ProductKind kind, const PipelineLayer *layer, guint n,
                            gboolean has_bias, GError **error)
{
  ProductShapes shapes;
  if (!describe_shapes(layer, n, &shapes, error)) return NULL;
  dnnl_primitive_desc_t descriptor = describe_product(onednn, kind, &shapes, has_bias, error);
  if (!descriptor) return NULL;
  Product *product = g_new0(Product, 1);
  product->kind = kind;
  gboolean done = create_memories(onednn, product, &shapes, has_bias, descriptor, error) &&
                  check(dnnl_primitive_create(&product->primitive, descriptor), "create a product", error);
  dnnl_primitive_desc_destroy(descriptor);
  if (done) return product;
  product_free(product);
  return NULL;
}

static Product *get_product(Onednn *onednn, ProductKind kind, const PipelineLayer *layer, guint index, guint n,
                            gboolean has_bias, GError **error)
{
  g_autofree gint64 *key = new_key(kind, index, n);
  Product *product = g_hash_table_lookup(onednn->products, key);
  if (product) return product;
  product = product_new(onednn, kind, layer, n, has_bias, error);
  if (product) g_hash_table_insert(onednn->products, g_steal_pointer(&key), product);
  return product;
}

static gboolean run_reorder(const Onednn *onednn, const Product *product, gboolean pack, GError **error)
{
  const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, pack ? product->plain_weights : product->packed_weights},
                                       {DNNL_ARG_TO, pack ? product->packed_weights : product->plain_weights}};
  return check(dnnl_primitive_execute(product->reorder, onednn->stream, 2, arguments), "change a layout", error);
}

/* `in`, `weights`, `bias`, `out` are inputs or outputs by the product's kind; the API has one non-const handle. */
static gboolean run_product(const Onednn *onednn, const Product *product, gconstpointer in, gconstpointer weights,
                            gconstpointer bias, gconstpointer out, GError **error)
{
  dnnl_memory_set_data_handle(product->in, (void *)in);
  dnnl_memory_set_data_handle(product->out, (void *)out);
  dnnl_memory_set_data_handle(product->plain_weights, (void *)weights);
  if (product->bias) dnnl_memory_set_data_handle(product->bias, (void *)bias);
  gboolean gradient = product->kind == PRODUCT_BACKWARD_WEIGHTS;
  if (product->reorder && !gradient && !run_reorder(onednn, product, TRUE, error)) return FALSE;

  const dnnl_exec_arg_t arguments[] = {
      {product_arguments[product->kind].in, product->in},
      {product_arguments[product->kind].out, product->out},
      {product_arguments[product->kind].weights, product->reorder ? product->packed_weights : product->plain_weights},
      {product_arguments[product->kind].bias, product->bias}};
  if (!check(dnnl_primitive_execute(product->primitive, onednn->stream, product->bias ? 4 : 3, arguments),
             "run a product", error))
    return FALSE;
  return !product->reorder || !gradient || run_reorder(onednn, product, FALSE, error);
}

static gboolean dense_forward(gpointer state, const PipelineLayer *layer, guint index, guint n, const float *x,
                              const float *weight, const float *bias, float *y, GError **error)
{
  Onednn *onednn = state;
  Product *product = get_product(onednn, PRODUCT_FORWARD, layer, index, n, bias != NULL, error);
  return product && run_product(onednn, product, x, weight, bias, y, error) &&
         check(dnnl_stream_wait(onednn->stream), "finish", error);
}

static gboolean dense_backward(gpointer state, const PipelineLayer *layer, guint index, guint n, const float *x,
                               const float *weight, const float *dy, float *dx, float *dweight, float *dbias,
                               GError **error)
{
  Onednn *onednn = state;
  if (dx) {
    Product *product = get_product(onednn, PRODUCT_BACKWARD_DATA, layer, index, n, FALSE, error);
    if (!product || !run_product(onednn, product, dx, weight, NULL, dy, error)) return FALSE;
  }
  if (dweight) {
    Product *product = get_product(onednn, PRODUCT_BACKWARD_WEIGHTS, layer, index, n, dbias != NULL, error);
    if (!product || !run_product(onednn, product, x, dweight, dbias, dy, error)) return FALSE;
  }
  return check(dnnl_stream_wait(onednn->stream), "finish", error);
}

/* --- activations -------------------------------------------------------------------------------------------------- */

static const struct {
  const gchar *op_type, *approximate;
  dnnl_alg_kind_t algorithm;
} algorithms[] = {{"Relu", NULL, dnnl_eltwise_relu},        {"LeakyRelu", NULL, dnnl_eltwise_relu},
                  {"Sigmoid", NULL, dnnl_eltwise_logistic}, {"Tanh", NULL, dnnl_eltwise_tanh},
                  {"Elu", NULL, dnnl_eltwise_elu},          {"Gelu", "none", dnnl_eltwise_gelu_erf},
                  {"Gelu", "tanh", dnnl_eltwise_gelu_tanh}};

static gboolean find_algorithm(const PipelineActivation *activation, dnnl_alg_kind_t *algorithm)
{
  for (guint i = 0; i < G_N_ELEMENTS(algorithms); i++) {
    if (!g_str_equal(algorithms[i].op_type, activation->op_type) ||
        g_strcmp0(algorithms[i].approximate, activation->approximate) != 0)
      continue;
    *algorithm = algorithms[i].algorithm;
    return TRUE;
  }
  return FALSE;
}

typedef struct {
  dnnl_primitive_t forward, backward;
  dnnl_memory_t source, destination, source_gradient, destination_gradient;
} Eltwise;

static void eltwise_free(gpointer data)
{
  Eltwise *eltwise = data;
  dnnl_memory_t memories[] = {eltwise->source, eltwise->destination, eltwise->source_gradient,
                              eltwise->destination_gradient};
  for (guint i = 0; i < G_N_ELEMENTS(memories); i++)
    if (memories[i]) dnnl_memory_destroy(memories[i]);
  if (eltwise->forward) dnnl_primitive_destroy(eltwise->forward);
  if (eltwise->backward) dnnl_primitive_destroy(eltwise->backward);
  g_free(eltwise);
}

static gboolean create_eltwise(const Onednn *onednn, Eltwise *eltwise, dnnl_alg_kind_t algorithm, float alpha,
                               const dnnl_memory_desc_t *shape, GError **error)
{
  dnnl_eltwise_desc_t forward, backward;
  dnnl_primitive_desc_t forward_plan = NULL, backward_plan = NULL;
  gboolean done = check(dnnl_eltwise_forward_desc_init(&forward, dnnl_forward_training, algorithm, shape, alpha, 0),
                        "describe an activation", error) &&
                  check(dnnl_eltwise_backward_desc_init(&backward, algorithm, shape, shape, alpha, 0),
                        "describe an activation", error) &&
                  check(dnnl_primitive_desc_create(&forward_plan, &forward, NULL, onednn->engine, NULL),
                        "plan an activation", error) &&
                  check(dnnl_primitive_desc_create(&backward_plan, &backward, NULL, onednn->engine, forward_plan),
                        "plan an activation", error) &&
                  check(dnnl_primitive_create(&eltwise->forward, forward_plan), "create an activation", error) &&
                  check(dnnl_primitive_create(&eltwise->backward, backward_plan), "create an activation", error);
  if (forward_plan) dnnl_primitive_desc_destroy(forward_plan);
  if (backward_plan) dnnl_primitive_desc_destroy(backward_plan);
  dnnl_memory_t *memories[] = {&eltwise->source, &eltwise->destination, &eltwise->source_gradient,
                               &eltwise->destination_gradient};
  for (guint i = 0; done && i < G_N_ELEMENTS(memories); i++)
    done = check(dnnl_memory_create(memories[i], shape, onednn->engine, DNNL_MEMORY_NONE), "hold rows", error);
  return done;
}

static Eltwise *eltwise_new(const Onednn *onednn, const PipelineLayer *layer, guint n, GError **error)
{
  const dnnl_dims_t dims = {n, layer->n_out};
  dnnl_memory_desc_t shape;
  dnnl_alg_kind_t algorithm;
  if (!find_algorithm(layer->activation, &algorithm)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "oneDNN has no activation %s; use \"reference\"",
                layer->activation->op_type);
    return NULL;
  }
  Eltwise *eltwise = g_new0(Eltwise, 1);
  if (check(dnnl_memory_desc_init_by_tag(&shape, 2, dims, dnnl_f32, dnnl_ab), "describe rows", error) &&
      create_eltwise(onednn, eltwise, algorithm, layer->alpha, &shape, error))
    return eltwise;
  eltwise_free(eltwise);
  return NULL;
}

static Eltwise *get_eltwise(Onednn *onednn, const PipelineLayer *layer, guint index, guint n, GError **error)
{
  g_autofree gint64 *key = new_key(0, index, n);
  Eltwise *eltwise = g_hash_table_lookup(onednn->eltwises, key);
  if (eltwise) return eltwise;
  eltwise = eltwise_new(onednn, layer, n, error);
  if (eltwise) g_hash_table_insert(onednn->eltwises, g_steal_pointer(&key), eltwise);
  return eltwise;
}

static gboolean activation_forward(gpointer state, const PipelineLayer *layer, guint index, guint n, const float *x,
                                   float *y, GError **error)
{
  Onednn *onednn = state;
  Eltwise *eltwise = get_eltwise(onednn, layer, index, n, error);
  if (!eltwise) return FALSE;
  dnnl_memory_set_data_handle(eltwise->source, (void *)x);
  dnnl_memory_set_data_handle(eltwise->destination, y);
  const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, eltwise->source}, {DNNL_ARG_DST, eltwise->destination}};
  return check(dnnl_primitive_execute(eltwise->forward, onednn->stream, 2, arguments), "run an activation", error) &&
         check(dnnl_stream_wait(onednn->stream), "finish", error);
}

static gboolean activation_backward(gpointer state, const PipelineLayer *layer, guint index, guint n, const float *x,
                                    const float *y, const float *dy, float *dx, GError **error)
{
  Onednn *onednn = state;
  Eltwise *eltwise = get_eltwise(onednn, layer, index, n, error);
  if (!eltwise) return FALSE;
  (void)y;
  dnnl_memory_set_data_handle(eltwise->source, (void *)x);
  dnnl_memory_set_data_handle(eltwise->destination_gradient, (void *)dy);
  dnnl_memory_set_data_handle(eltwise->source_gradient, dx);
  const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, eltwise->source},
                                       {DNNL_ARG_DIFF_DST, eltwise->destination_gradient},
                                       {DNNL_ARG_DIFF_SRC, eltwise->source_gradient}};
  return check(dnnl_primitive_execute(eltwise->backward, onednn->stream, 3, arguments), "run an activation", error) &&
         check(dnnl_stream_wait(onednn->stream), "finish", error);
}

/* --- the instance ------------------------------------------------------------------------------------------------- */

static void onednn_close(gpointer state)
{
  Onednn *onednn = state;
  g_hash_table_unref(onednn->products);
  g_hash_table_unref(onednn->eltwises);
  if (onednn->stream) dnnl_stream_destroy(onednn->stream);
  if (onednn->engine) dnnl_engine_destroy(onednn->engine);
  g_free(onednn);
}

static gpointer onednn_open(GError **error)
{
  Onednn *onednn = g_new0(Onednn, 1);
  onednn->products = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, product_free);
  onednn->eltwises = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, eltwise_free);
  pipeline_onednn_use_one_thread();
  if (check(dnnl_engine_create(&onednn->engine, dnnl_cpu, 0), "start", error) &&
      check(dnnl_stream_create(&onednn->stream, onednn->engine, dnnl_stream_in_order), "start", error))
    return onednn;
  onednn_close(onednn);
  return NULL;
}

const PipelineNetworkBackend pipeline_network_backend_onednn = {
    .name = "onednn",
    .summary = "oneDNN inner products and activations, one thread",
    .open = onednn_open,
    .close = onednn_close,
    .dense_forward = dense_forward,
    .dense_backward = dense_backward,
    .activation_forward = activation_forward,
    .activation_backward = activation_backward,
};
