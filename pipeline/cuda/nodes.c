/* The backend "cuda": the table of its kernels, its memory, and what the kernels share. */
#include "pipeline/cuda/nodes.h"

#include <string.h>

#include "pipeline/cuda/learn.h"

#define CLOSE 2e-5 /* float32 sums in another order */
#define LOOSE 1e-4 /* functions of the device's library, sums over time */

/* --- which nodes ----------------------------------------------------------------------------------------------------
 */

static gboolean is_float(const PipelineGradientCall *call, guint index)
{
  const PipelineTensor *tensor = pipeline_input(&call->call, index);
  return tensor != NULL && tensor->type == ONNX_TYPE_FLOAT;
}

static gboolean supports_float(const PipelineGradientCall *call)
{
  return is_float(call, 0);
}

static gboolean supports_floats(const PipelineGradientCall *call)
{
  for (guint i = 0; i < call->call.n_inputs; i++)
    if (call->call.inputs[i] != NULL && !is_float(call, i)) return FALSE;
  return call->call.n_inputs > 0;
}

static gboolean supports_pair(const PipelineGradientCall *call)
{
  return call->call.n_inputs == 2 && supports_floats(call);
}

static gboolean supports_power(const PipelineGradientCall *call)
{
  return is_float(call, 0) && call->call.inputs[1]->type != ONNX_TYPE_STRING;
}

static gboolean supports_where(const PipelineGradientCall *call)
{
  return is_float(call, 1) && is_float(call, 2);
}

/* Only between float32 and itself. */
static gboolean supports_cast(const PipelineGradientCall *call)
{
  return is_float(call, 0) && onnx_node_get_int(call->call.node, "to", 0) == ONNX_TYPE_FLOAT;
}

/* The ratio is known here. */
static gboolean supports_dropout(const PipelineGradientCall *call)
{
  return is_float(call, 0) && (pipeline_input(&call->call, 1) == NULL || call->host_inputs[1] != NULL);
}

/* What is filled in is an input, not an attribute. */
/* Alone: the statistics of a batch that several processes compute are the reference's to find. */
static gboolean supports_batch_normalization(const PipelineGradientCall *call)
{
  return (call->slice == NULL || !call->training || call->frozen) && supports_floats(call);
}

static gboolean supports_transposed(const PipelineGradientCall *call)
{
  return supports_floats(call) && call->call.inputs[0]->n > 0;
}

/* No line is empty. */
static gboolean supports_extreme(const PipelineGradientCall *call)
{
  return is_float(call, 0) && call->call.inputs[0]->n > 0;
}

static gboolean supports_pad(const PipelineGradientCall *call)
{
  return is_float(call, 0) && call->call.opset >= 11;
}

/* --- the kernels
 * ------------------------------------------------------------------------------------------------------ */

#define ROW(operator, supports, node, tolerance)                                                                       \
  {                                                                                                                    \
    operator, supports, pipeline_cuda_##node##_forward, pipeline_cuda_##node##_backward, tolerance, FALSE              \
  }
static const PipelineGradientKernel kernels[] = {
    ROW("Gemm", supports_floats, gemm_node, CLOSE),
    ROW("MatMul", supports_pair, matmul_node, CLOSE),
    ROW("Conv", supports_floats, convolution_node, CLOSE),
    ROW("ConvTranspose", supports_transposed, convolution_transpose_node, CLOSE),
    ROW("Add", supports_pair, binary_node, CLOSE),
    ROW("Sub", supports_pair, binary_node, CLOSE),
    ROW("Mul", supports_pair, binary_node, CLOSE),
    ROW("Div", supports_pair, binary_node, CLOSE),
    ROW("Pow", supports_power, binary_node, LOOSE),
    ROW("Min", supports_pair, binary_node, CLOSE),
    ROW("Max", supports_pair, binary_node, CLOSE),
    ROW("Sum", supports_floats, sum_node, CLOSE),
    ROW("Mean", supports_floats, sum_node, CLOSE),
    ROW("PRelu", supports_pair, binary_node, CLOSE),
    ROW("Where", supports_where, where_node, CLOSE),
    ROW("Relu", supports_float, unary_node, CLOSE),
    ROW("LeakyRelu", supports_float, unary_node, CLOSE),
    ROW("Elu", supports_float, unary_node, CLOSE),
    ROW("Selu", supports_float, unary_node, CLOSE),
    ROW("Gelu", supports_float, unary_node, CLOSE),
    ROW("Sigmoid", supports_float, unary_node, CLOSE),
    ROW("HardSigmoid", supports_float, unary_node, CLOSE),
    ROW("Tanh", supports_float, unary_node, CLOSE),
    ROW("Erf", supports_float, unary_node, CLOSE),
    ROW("Softplus", supports_float, unary_node, CLOSE),
    ROW("Sqrt", supports_float, unary_node, CLOSE),
    ROW("Reciprocal", supports_float, unary_node, CLOSE),
    ROW("Exp", supports_float, unary_node, CLOSE),
    ROW("Log", supports_float, unary_node, CLOSE),
    ROW("Neg", supports_float, unary_node, CLOSE),
    ROW("Abs", supports_float, unary_node, CLOSE),
    ROW("HardSwish", supports_float, unary_node, CLOSE),
    ROW("Mish", supports_float, unary_node, CLOSE),
    ROW("Softsign", supports_float, unary_node, CLOSE),
    ROW("Celu", supports_float, unary_node, CLOSE),
    ROW("ThresholdedRelu", supports_float, unary_node, CLOSE),
    ROW("Sin", supports_float, unary_node, CLOSE),
    ROW("Cos", supports_float, unary_node, CLOSE),
    ROW("Clip", supports_floats, clip_node, CLOSE),
    ROW("Softmax", supports_float, softmax_node, CLOSE),
    ROW("LogSoftmax", supports_float, softmax_node, CLOSE),
    ROW("ReduceSum", supports_float, reduce_node, CLOSE),
    ROW("ReduceMean", supports_float, reduce_node, CLOSE),
    ROW("ReduceMax", supports_extreme, extreme_node, CLOSE),
    ROW("ReduceMin", supports_extreme, extreme_node, CLOSE),
    ROW("MaxPool", supports_float, max_pool_node, CLOSE),
    ROW("AveragePool", supports_float, average_pool_node, CLOSE),
    ROW("GlobalAveragePool", supports_float, global_average_pool_node, CLOSE),
    ROW("GlobalMaxPool", supports_extreme, extreme_node, CLOSE),
    ROW("BatchNormalization", supports_batch_normalization, batch_normalization_node, LOOSE),
    ROW("LayerNormalization", supports_floats, layer_normalization_node, LOOSE),
    ROW("InstanceNormalization", supports_floats, group_normalization_node, LOOSE),
    ROW("GroupNormalization", supports_floats, group_normalization_node, LOOSE),
    ROW("Dropout", supports_dropout, dropout_node, CLOSE),
    ROW("ai.onnx.ml:Scaler", supports_float, scaler_node, CLOSE),
    ROW("LSTM", supports_float, recurrent_node, LOOSE),
    ROW("GRU", supports_float, recurrent_node, LOOSE),
    ROW("Identity", supports_float, copy_node, 0),
    ROW("Flatten", supports_float, copy_node, 0),
    ROW("Reshape", supports_float, copy_node, 0),
    ROW("Squeeze", supports_float, copy_node, 0),
    ROW("Unsqueeze", supports_float, copy_node, 0),
    ROW("Cast", supports_cast, copy_node, 0),
    ROW("Transpose", supports_float, transpose_node, 0),
    ROW("Pad", supports_pad, pick_node, CLOSE),
    ROW("Slice", supports_float, pick_node, 0),
    ROW("Concat", supports_floats, concat_node, 0),
    ROW("Split", supports_float, split_node, 0),
    ROW("Gather", supports_float, gather_node, CLOSE),
    ROW("Expand", supports_float, expand_node, CLOSE),
    {.name = NULL},
};

/* --- errors and memory
 * ------------------------------------------------------------------------------------------------ */

gboolean pipeline_cuda_fail(const PipelineCuda *cuda, GError **error)
{
  gint code = cuda->table->lacks_memory(cuda->device) ? PIPELINE_ERROR_MEMORY : PIPELINE_ERROR_UNSUPPORTED;
  g_set_error_literal(error, PIPELINE_ERROR, code, cuda->table->message(cuda->device));
  return FALSE;
}

gboolean pipeline_cuda_done(const PipelineGradientCall *call, int status, GError **error)
{
  if (status == 0) return TRUE;
  const PipelineTensor *first = pipeline_input(&call->call, 0);
  g_autofree gchar *shape = first != NULL ? pipeline_tensor_describe(first) : g_strdup("nothing");
  pipeline_cuda_fail(call->device, error);
  g_prefix_error(error, "of %s: ", shape);
  return FALSE;
}

static gpointer allocate(gpointer device, gsize bytes, GError **error)
{
  const PipelineCuda *cuda = device;
  gpointer buffer = cuda->table->allocate(cuda->device, bytes);
  if (buffer == NULL) pipeline_cuda_fail(cuda, error);
  return buffer;
}

static void release(gpointer device, gpointer buffer)
{
  const PipelineCuda *cuda = device;
  cuda->table->release(cuda->device, buffer);
}

static gboolean copy_in(gpointer device, gpointer to, gconstpointer from, gsize bytes, GError **error)
{
  const PipelineCuda *cuda = device;
  return cuda->table->copy_in(cuda->device, to, from, bytes) == 0 || pipeline_cuda_fail(cuda, error);
}

static gboolean copy_out(gpointer device, gpointer to, gconstpointer from, gsize bytes, GError **error)
{
  const PipelineCuda *cuda = device;
  return cuda->table->copy_out(cuda->device, to, from, bytes) == 0 || pipeline_cuda_fail(cuda, error);
}

static gboolean copy(gpointer device, gpointer to, gconstpointer from, gsize bytes, GError **error)
{
  const PipelineCuda *cuda = device;
  return cuda->table->copy(cuda->device, to, from, bytes) == 0 || pipeline_cuda_fail(cuda, error);
}

static gboolean clear(gpointer device, gpointer buffer, gsize bytes, GError **error)
{
  const PipelineCuda *cuda = device;
  return cuda->table->clear(cuda->device, buffer, bytes) == 0 || pipeline_cuda_fail(cuda, error);
}

static gboolean add(gpointer device, gpointer to, gconstpointer from, gsize n, GError **error)
{
  const PipelineCuda *cuda = device;
  return cuda->table->add(cuda->device, to, from, n) == 0 || pipeline_cuda_fail(cuda, error);
}

static void read_memory(gpointer device, PipelineGradientRoom *room)
{
  const PipelineCuda *cuda = device;
  PipelineCudaMemory there;
  cuda->table->memory_info(cuda->device, &there);
  *room = (PipelineGradientRoom){.own = there.own,
                                 .free = there.free,
                                 .held = there.held,
                                 .used = there.used,
                                 .peak = there.peak,
                                 .limit = cuda->limit};
}

static void mark_memory(gpointer device)
{
  const PipelineCuda *cuda = device;
  cuda->table->memory_mark(cuda->device);
}

static void limit_memory(gpointer device, gsize bytes)
{
  PipelineCuda *cuda = device;
  cuda->limit = bytes;
  cuda->table->memory_limit(cuda->device, bytes);
}

static void trim_memory(gpointer device)
{
  const PipelineCuda *cuda = device;
  cuda->table->memory_trim(cuda->device);
}

static gsize round_memory(gpointer device, gsize bytes)
{
  const PipelineCuda *cuda = device;
  return cuda->table->memory_round(bytes);
}

static const PipelineGradientMemory memory = {.allocate = allocate,
                                              .release = release,
                                              .copy_in = copy_in,
                                              .copy_out = copy_out,
                                              .copy = copy,
                                              .clear = clear,
                                              .add = add,
                                              .read = read_memory,
                                              .mark = mark_memory,
                                              .limit = limit_memory,
                                              .trim = trim_memory,
                                              .round = round_memory};

/* --- what a node keeps
 * ------------------------------------------------------------------------------------------------ */

typedef struct {
  PipelineCudaConvolution shape;
  PipelineCudaConvolutionPlan *plan;
} Plan;

typedef struct {
  const PipelineCuda *cuda;
  gpointer buffers[PIPELINE_CUDA_BUFFERS];
  gsize capacities[PIPELINE_CUDA_BUFFERS];
  GBytes *constants[PIPELINE_CUDA_BUFFERS]; /* what was copied there */
  GArray *plans;                            /* of Plan */
} Kept;

static void kept_free(gpointer data)
{
  Kept *kept = data;
  const PipelineCuda *cuda = kept->cuda;
  for (guint i = 0; i < PIPELINE_CUDA_BUFFERS; i++) {
    if (kept->buffers[i] != NULL) cuda->table->release(cuda->device, kept->buffers[i]);
    g_clear_pointer(&kept->constants[i], g_bytes_unref);
  }
  for (guint i = 0; i < kept->plans->len; i++)
    cuda->table->convolution_free(cuda->device, g_array_index(kept->plans, Plan, i).plan);
  g_array_unref(kept->plans);
  g_free(kept);
}

static Kept *kept_of(PipelineGradientCall *call)
{
  if (call->cached == NULL) {
    Kept *kept = g_new0(Kept, 1);
    kept->cuda = call->device;
    kept->plans = g_array_new(FALSE, FALSE, sizeof(Plan));
    call->cached = kept;
    call->cached_free = kept_free;
  }
  return call->cached;
}

gpointer pipeline_cuda_buffer(PipelineGradientCall *call, guint index, gsize bytes, GError **error)
{
  Kept *kept = kept_of(call);
  if (kept->buffers[index] != NULL && bytes <= kept->capacities[index]) return kept->buffers[index];
  if (kept->buffers[index] != NULL) release(call->device, kept->buffers[index]);
  kept->capacities[index] = 0;
  g_clear_pointer(&kept->constants[index], g_bytes_unref);
  kept->buffers[index] = allocate(call->device, bytes, error);
  if (kept->buffers[index] == NULL) return NULL;
  kept->capacities[index] = bytes;
  return kept->buffers[index];
}

void pipeline_cuda_changed(PipelineGradientCall *call)
{
  PipelineCuda *cuda = call->device;
  cuda->changes++;
}

gconstpointer pipeline_cuda_variable(PipelineGradientCall *call, guint index, gconstpointer data, gsize bytes,
                                     GError **error)
{
  Kept *kept = kept_of(call);
  gsize known = 0;
  gconstpointer there = kept->constants[index] != NULL ? g_bytes_get_data(kept->constants[index], &known) : NULL;
  if (there != NULL && known == bytes && memcmp(there, data, bytes) == 0) return kept->buffers[index];
  gpointer buffer = pipeline_cuda_buffer(call, index, bytes, error);
  if (buffer == NULL || !copy_in(call->device, buffer, data, bytes, error)) return NULL;
  g_clear_pointer(&kept->constants[index], g_bytes_unref);
  kept->constants[index] = g_bytes_new(data, bytes);
  return buffer;
}

gconstpointer pipeline_cuda_constant(PipelineGradientCall *call, guint index, gconstpointer data, gsize bytes,
                                     GError **error)
{
  Kept *kept = kept_of(call);
  const GBytes *before = kept->constants[index];
  gconstpointer there = pipeline_cuda_variable(call, index, data, bytes, error);
  if (before != kept->constants[index]) pipeline_cuda_changed(call);
  return there;
}

PipelineCudaConvolutionPlan *pipeline_cuda_find_plan(PipelineGradientCall *call, const PipelineCudaConvolution *shape,
                                                     GError **error)
{
  Kept *kept = kept_of(call);
  for (guint i = 0; i < kept->plans->len; i++) {
    const Plan *plan = &g_array_index(kept->plans, Plan, i);
    if (memcmp(&plan->shape, shape, sizeof *shape) == 0) return plan->plan;
  }
  Plan plan = {.shape = *shape, .plan = kept->cuda->table->convolution_plan(kept->cuda->device, shape)};
  if (plan.plan == NULL)
    pipeline_cuda_fail(kept->cuda, error);
  else
    g_array_append_val(kept->plans, plan);
  return plan.plan;
}

/* --- what kernels share
 * ------------------------------------------------------------------------------------------------ */

const float *pipeline_cuda_floats(PipelineGradientCall *call, const PipelineTensor *tensor, guint buffer,
                                  GError **error)
{
  if (tensor->type == ONNX_TYPE_FLOAT) return tensor->data;
  g_autofree float *values = g_new(float, tensor->n + 1);
  for (gsize i = 0; i < tensor->n; i++) values[i] = (float)pipeline_element_get_double(tensor, i);
  return pipeline_cuda_constant(call, buffer, values, tensor->n * sizeof(float), error);
}

void pipeline_cuda_walk(PipelineCudaWalk *walk, const PipelineTensor *const *inputs, guint n_inputs,
                        const PipelineTensor *output)
{
  PipelineBroadcast broadcast;
  pipeline_broadcast_init(&broadcast, inputs, n_inputs, output);
  memset(walk, 0, sizeof *walk);
  walk->n = output->n;
  walk->n_dims = broadcast.n_dims;
  for (guint d = 0; d < broadcast.n_dims; d++) {
    walk->dims[d] = (guint32)broadcast.dims[d];
    for (guint k = 0; k < n_inputs; k++) walk->strides[k][d] = (gint64)broadcast.strides[k][d];
  }
}

void pipeline_cuda_walk_dense(PipelineCudaWalk *walk, guint operand)
{
  gint64 stride = 1;
  for (guint d = walk->n_dims; d-- > 0;) {
    walk->strides[operand][d] = stride;
    stride *= walk->dims[d];
  }
}

gboolean pipeline_cuda_copy(PipelineGradientCall *call, float *to, const float *from, gsize n, GError **error)
{
  return n == 0 || copy(call->device, to, from, n * sizeof(float), error);
}

gboolean pipeline_cuda_spread(PipelineGradientCall *call, const PipelineTensor *from, float factor,
                              const PipelineTensor *to, GError **error)
{
  PipelineCudaWalk walk;
  if (from->n == to->n && factor == 1) return pipeline_cuda_copy(call, to->data, from->data, to->n, error);
  if (from->n == to->n) { /* one after another, whatever dimensions of 1 either of them has more */
    walk = (PipelineCudaWalk){.n = to->n, .n_dims = 1, .dims = {(guint32)to->n}, .strides = {{1}}};
  } else {
    pipeline_cuda_walk(&walk, &from, 1, to);
  }
  pipeline_cuda_walk_dense(&walk, 1);
  return PIPELINE_CUDA_RUN(call, move, &walk, factor, from->data, to->data);
}

void pipeline_cuda_find_lines(const PipelineTensor *from, const PipelineTensor *to, PipelineCudaSum *lines)
{
  PipelineCudaWalk walk;
  *lines = (PipelineCudaSum){.kept = {.n = 1}, .reduced = {.n = 1}};
  pipeline_cuda_walk(&walk, &to, 1, from);
  pipeline_cuda_walk_dense(&walk, 1);
  for (guint d = 0; d < walk.n_dims; d++) {
    PipelineCudaWalk *part = walk.strides[0][d] != 0 ? &lines->kept : &lines->reduced;
    part->n *= walk.dims[d];
    part->dims[part->n_dims] = walk.dims[d];
    part->strides[0][part->n_dims++] = walk.strides[1][d];
  }
  for (guint i = 0; i < 2; i++) {
    PipelineCudaWalk *part = i == 0 ? &lines->kept : &lines->reduced;
    if (part->n_dims == 0) part->dims[part->n_dims++] = 1;
  }
}

gboolean pipeline_cuda_sum_to(PipelineGradientCall *call, const PipelineTensor *from, float factor,
                              const PipelineTensor *to, GError **error)
{
  PipelineCudaSum sum;
  if (from->n == to->n) return pipeline_cuda_spread(call, from, factor, to, error);
  if (from->n == 0)
    return ((const PipelineCuda *)call->device)
                   ->table->clear(((const PipelineCuda *)call->device)->device, to->data, to->n * sizeof(float)) == 0 ||
           pipeline_cuda_fail(call->device, error);
  pipeline_cuda_find_lines(from, to, &sum);
  return PIPELINE_CUDA_RUN(call, sum, &sum, factor, from->data, to->data);
}

PipelineCudaGemm pipeline_cuda_dense_gemm(const PipelineGradientCall *call, const PipelineProduct *p)
{
  return (PipelineCudaGemm){.narrow = call->precision == PIPELINE_PRECISION_BFLOAT16,
                            .transpose_a = p->transpose_a,
                            .transpose_b = p->transpose_b,
                            .m = p->m,
                            .n = p->n,
                            .k = p->k,
                            .alpha = p->alpha,
                            .beta = p->beta,
                            .lda = p->transpose_a ? p->m : p->k,
                            .ldb = p->transpose_b ? p->k : p->n,
                            .ldc = p->n,
                            .count = 1};
}

gboolean pipeline_cuda_multiply(const PipelineGradientCall *call, const PipelineProduct *p, const float *a,
                                const float *b, float *c, GError **error)
{
  if (p->m == 0 || p->n == 0) return TRUE;
  if (p->k == 0) return p->beta != 0 || clear(call->device, c, p->m * p->n * sizeof(float), error);
  const PipelineCudaGemm gemm = pipeline_cuda_dense_gemm(call, p);
  return PIPELINE_CUDA_RUN(call, gemm, &gemm, a, b, c);
}

/* --- the backend
 * ------------------------------------------------------------------------------------------------------ */

const PipelineGradientBackend pipeline_gradient_backend_cuda = {
    .name = "cuda",
    .summary = "an NVIDIA device, through libkedge-cuda.so",
    .rank = 3,
    .products = &pipeline_backend_reference,
    .narrow_products = &pipeline_backend_bfloat16,
    .mirrors = TRUE,
    .kernels = kernels,
    .is_installed = pipeline_cuda_plugin_is_installed,
    .open = pipeline_cuda_open,
    .close = pipeline_cuda_close,
    .memory = &memory,
    .graph = &pipeline_cuda_graph,
    .describe = pipeline_cuda_describe,
    .monitor = pipeline_cuda_open_monitor,
};
