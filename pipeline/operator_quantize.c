/* Quantisation: y = saturate(round_half_even(x / scale) + zero point), and products of quantised tensors. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_window.h"
#include "pipeline/wide.h"

static gboolean is_quantized(OnnxType type)
{
  return type == ONNX_TYPE_INT8 || type == ONNX_TYPE_UINT8 || type == ONNX_TYPE_INT16 || type == ONNX_TYPE_UINT16;
}

/* Which scale belongs to an element: one for all, one an index of the axis, or one a block along the axis. */
typedef struct {
  PipelineAround around;
  gsize block; /* elements along the axis that share a scale */
  gsize count; /* scales along the axis */
  gboolean one, blocked;
} Scales;

static gboolean read_scales(const PipelineCall *call, Scales *scales, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *scale = call->inputs[1], *zero = pipeline_input(call, 2);
  memset(scales, 0, sizeof *scales);
  scales->one = scale->n == 1;
  if (!pipeline_type_is_floating(scale->type)) return pipeline_operator_fail_type(call, 1, error);
  if (zero != NULL && zero->n != scale->n)
    return pipeline_operator_fail(error, "its scale and zero point differ in shape");
  if (scales->one) return TRUE;
  gint64 block = onnx_node_get_int(call->node, "block_size", 0);
  if (!pipeline_around(x, onnx_node_get_int(call->node, "axis", 1), &scales->around, error)) return FALSE;
  gsize length = scales->around.length;
  scales->blocked = block > 0;
  scales->block = block > 0 ? (gsize)block : 1;
  scales->count = (length + scales->block - 1) / scales->block;
  gsize wanted = block > 0 ? scales->around.outer * scales->count * scales->around.inner : length;
  return scale->n == wanted || pipeline_operator_fail(error, "it has %zu scales, not %zu", scale->n, wanted);
}

static gsize scale_index(const Scales *scales, gsize i)
{
  const PipelineAround *around = &scales->around;
  if (scales->one) return 0;
  gsize at = i / around->inner % around->length;
  if (!scales->blocked) return at;
  return (i / around->inner / around->length * scales->count + at / scales->block) * around->inner + i % around->inner;
}

static double zero_point(const PipelineCall *call, guint input, gsize index)
{
  const PipelineTensor *zero = pipeline_input(call, input);
  return zero == NULL ? 0 : pipeline_element_get_double(zero, index);
}

/* --- QuantizeLinear, DequantizeLinear
 * ----------------------------------------------------------------------------------- */

gboolean pipeline_quantize_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *zero = pipeline_input(call, 2);
  Scales scales;
  OnnxType asked = (OnnxType)onnx_node_get_int(call->node, "output_dtype", 0);
  OnnxType type = zero != NULL ? zero->type : asked != ONNX_TYPE_UNDEFINED ? asked : ONNX_TYPE_UINT8;
  if (!pipeline_type_is_floating(x->type) && x->type != ONNX_TYPE_INT32)
    return pipeline_operator_fail_type(call, 0, error);
  if (!is_quantized(type))
    return pipeline_operator_fail(error, "it quantises to element type number %d; 8 and 16-bit integers are supported",
                                  (gint)type);
  return read_scales(call, &scales, error) && pipeline_output_like(call, 0, type, x, error);
}

/* Floats with one scale to and from 8 bits: what quantised networks do behind every layer. The same numbers as element
 * by element; NaN is 0 in both. */
#define FAST_8_BITS(suffix, ctype, lowest, highest)                                                                    \
  WIDE static void quantize_##suffix(const float *x, gsize n, float scale, float zero, ctype *y)                       \
  {                                                                                                                    \
    const float magic = 0x1.8p23f; /* adding and subtracting it rounds half to even */                                 \
    for (gsize i = 0; i < n; i++) {                                                                                    \
      float q = x[i] / scale;                                                                                          \
      q = q > -0x1p20f ? q : q != q ? -zero : -0x1p20f;                                                                \
      q = q < 0x1p20f ? q : 0x1p20f;                                                                                   \
      q = (q + magic) - magic + zero;                                                                                  \
      q = q > (lowest) ? q : (lowest);                                                                                 \
      y[i] = (ctype)(gint32)(q < (highest) ? q : (highest));                                                           \
    }                                                                                                                  \
  }                                                                                                                    \
  WIDE static void dequantize_##suffix(const ctype *x, gsize n, float scale, gint32 zero, float *y)                    \
  {                                                                                                                    \
    for (gsize i = 0; i < n; i++) y[i] = (float)((gint32)x[i] - zero) * scale;                                         \
  }
FAST_8_BITS(int8, gint8, -128, 127)
FAST_8_BITS(uint8, guint8, 0, 255)

/* floats, integers: the tensors on both sides. FALSE: not that case. */
static gboolean is_fast(const PipelineTensor *floats, const PipelineTensor *integers, const PipelineTensor *scale)
{
  return floats->type == ONNX_TYPE_FLOAT && scale->type == ONNX_TYPE_FLOAT && scale->n == 1 &&
         (integers->type == ONNX_TYPE_INT8 || integers->type == ONNX_TYPE_UINT8);
}

gboolean pipeline_quantize_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *scale = call->inputs[1];
  PipelineTensor *y = call->outputs[0];
  gboolean single = scale->type != ONNX_TYPE_DOUBLE;
  Scales scales;
  if (!read_scales(call, &scales, error)) return FALSE;
  if (is_fast(x, y, scale)) {
    float step = *(const float *)scale->data, zero = (float)zero_point(call, 2, 0);
    if (y->type == ONNX_TYPE_INT8)
      quantize_int8(x->data, x->n, step, zero, y->data);
    else
      quantize_uint8(x->data, x->n, step, zero, y->data);
    return TRUE;
  }
  for (gsize i = 0; i < x->n; i++) {
    gsize s = scale_index(&scales, i);
    double value = pipeline_element_get_double(x, i), step = pipeline_element_get_double(scale, s);
    double quotient = single ? (double)((float)value / (float)step) : value / step;
    pipeline_element_put_double(call->outputs[0], i, nearbyint(quotient) + zero_point(call, 2, s));
  }
  return TRUE;
}

gboolean pipeline_dequantize_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *zero = pipeline_input(call, 2);
  OnnxType type = (OnnxType)onnx_node_get_int(call->node, "output_dtype", call->inputs[1]->type);
  Scales scales;
  if (!is_quantized(x->type) && x->type != ONNX_TYPE_INT32) return pipeline_operator_fail_type(call, 0, error);
  if (zero != NULL && zero->type != x->type) return pipeline_operator_fail_type(call, 2, error);
  if (!pipeline_type_is_floating(type)) return pipeline_operator_fail(error, "its output_dtype is not supported");
  return read_scales(call, &scales, error) && pipeline_output_like(call, 0, type, x, error);
}

gboolean pipeline_dequantize_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *scale = call->inputs[1];
  PipelineTensor *y = call->outputs[0];
  Scales scales;
  if (!read_scales(call, &scales, error)) return FALSE;
  if (is_fast(y, x, scale)) {
    float step = *(const float *)scale->data;
    gint32 zero = (gint32)zero_point(call, 2, 0);
    if (x->type == ONNX_TYPE_INT8)
      dequantize_int8(x->data, x->n, step, zero, y->data);
    else
      dequantize_uint8(x->data, x->n, step, zero, y->data);
    return TRUE;
  }
  for (gsize i = 0; i < x->n; i++) {
    gsize s = scale_index(&scales, i);
    double value = pipeline_element_get_double(x, i) - zero_point(call, 2, s);
    pipeline_element_put_double(call->outputs[0], i, value * pipeline_element_get_double(scale, s));
  }
  return TRUE;
}

/* --- DynamicQuantizeLinear: the range of the data, widened to hold 0, on 0 … 255
 * ------------------------------------------------- */

gboolean pipeline_dynamic_quantize_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  if (x->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 0, error);
  return pipeline_output_like(call, 0, ONNX_TYPE_UINT8, x, error) &&
         pipeline_output_set(call, 1, ONNX_TYPE_FLOAT, 0, NULL, error) &&
         pipeline_output_set(call, 2, ONNX_TYPE_UINT8, 0, NULL, error);
}

gboolean pipeline_dynamic_quantize_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *x = call->inputs[0];
  const float *in = x->data;
  float low = 0, high = 0;
  for (gsize i = 0; i < x->n; i++) low = MIN(low, in[i]), high = MAX(high, in[i]);
  float scale = (high == low ? 1 : high - low) / 255;
  float zero = nearbyintf(CLAMP(0 - low / scale, 0, 255));
  for (gsize i = 0; i < x->n; i++)
    pipeline_element_put_double(call->outputs[0], i, (double)(nearbyintf(in[i] / scale) + zero));
  if (call->n_outputs > 1 && call->outputs[1] != NULL) *(float *)call->outputs[1]->data = scale;
  if (call->n_outputs > 2 && call->outputs[2] != NULL) *(guint8 *)call->outputs[2]->data = (guint8)zero;
  return TRUE;
}

/* --- products: MatMulInteger, QLinearMatMul, ConvInteger, QLinearConv
 * ------------------------------------------------------------ */

/* Where the inputs of an operator lie; -1: it has none. */
struct _PipelineQuantized {
  gint b, a_scale, a_zero, b_scale, b_zero, y_scale, y_zero, bias;
  gboolean convolution;
};
const PipelineQuantized pipeline_quantized_matmul_integer = {1, -1, 2, -1, 3, -1, -1, -1, FALSE};
const PipelineQuantized pipeline_quantized_matmul = {3, 1, 2, 4, 5, 6, 7, -1, FALSE};
const PipelineQuantized pipeline_quantized_conv_integer = {1, -1, 2, -1, 3, -1, -1, -1, TRUE};
const PipelineQuantized pipeline_quantized_conv = {3, 1, 2, 4, 5, 6, 7, 8, TRUE};

static const PipelineTensor *get(const PipelineCall *call, gint index)
{
  return index < 0 ? NULL : pipeline_input(call, (guint)index);
}

/* The tensor less its zero point as int32 (matrix products) or float32 (convolutions: exact, 17 bits at most). A zero
 * point is one number, or one a row (a), a column (b of a matrix product), a filter (b of a convolution). */
static gboolean centre(const PipelineCall *call, const PipelineTensor *from, const PipelineTensor *zero,
                       gboolean convolution, guint axis, PipelineTensor *to, GError **error)
{
  gsize length = from->n_dims > 0 ? (gsize)from->dims[axis] : 1;
  if (zero != NULL && (zero->type != from->type || (zero->n != 1 && zero->n != length)))
    return pipeline_operator_fail(error, "a zero point does not fit its tensor");
  if (!pipeline_tensor_set_shape(to, convolution ? ONNX_TYPE_FLOAT : ONNX_TYPE_INT32, from->n_dims, from->dims,
                                 error) ||
      !pipeline_charge_bytes(call, to->n * 4, error) || !pipeline_tensor_allocate(to, error))
    return FALSE;
  gsize inner = pipeline_dims_product(from->dims, MIN(axis + 1, from->n_dims), from->n_dims);
  for (gsize i = 0; i < from->n; i++) {
    gint64 value = pipeline_element_get_integer(from, i);
    if (zero != NULL) value -= pipeline_element_get_integer(zero, zero->n == 1 ? 0 : i / inner % length);
    pipeline_element_put_integer(to, i, value);
  }
  return TRUE;
}

/* The operands, and a call of the plain operator on them. */
typedef struct {
  PipelineTensor a, b, product;
  const PipelineTensor *inputs[2];
  PipelineTensor *outputs[1];
  PipelineCall call;
} Product;

static void product_clear(gpointer data)
{
  Product *product = data;
  pipeline_tensor_clear(&product->a);
  pipeline_tensor_clear(&product->b);
  pipeline_tensor_clear(&product->product);
  g_free(product);
}

static gboolean multiply(PipelineCall *call, Product *product, GError **error)
{
  const PipelineQuantized *rows = call->operator->parameter;
  const PipelineTensor *a = call->inputs[0], *b = call->inputs[rows->b];
  if (!is_quantized(a->type)) return pipeline_operator_fail_type(call, 0, error);
  if (!is_quantized(b->type)) return pipeline_operator_fail_type(call, (guint)rows->b, error);
  guint a_axis = a->n_dims >= 2 && !rows->convolution ? a->n_dims - 2 : 0,
        b_axis = b->n_dims >= 1 && !rows->convolution ? b->n_dims - 1 : 0;
  if (!centre(call, a, get(call, rows->a_zero), rows->convolution, a_axis, &product->a, error) ||
      !centre(call, b, get(call, rows->b_zero), rows->convolution, b_axis, &product->b, error))
    return FALSE;
  product->inputs[0] = &product->a;
  product->inputs[1] = &product->b;
  product->outputs[0] = &product->product;
  product->call = *call;
  product->call.inputs = product->inputs;
  product->call.outputs = product->outputs;
  product->call.n_inputs = 2;
  product->call.n_outputs = 1;
  gboolean (*infer)(PipelineCall *, GError **) = rows->convolution ? pipeline_conv_infer : pipeline_matmul_infer;
  gboolean (*run)(PipelineCall *, GError **) = rows->convolution ? pipeline_conv_run : pipeline_matmul_run;
  if (!infer(&product->call, error) || !pipeline_charge_bytes(call, product->product.n * 4, error) ||
      !pipeline_tensor_allocate(&product->product, error))
    return FALSE;
  /* A sum of float32 products is exact below 2^24. */
  double terms = (double)product->b.n / MAX((double)b->dims[0], 1);
  if (rows->convolution && terms * 0x1p16 > 0x1p24 && !(a->type == ONNX_TYPE_UINT8 || a->type == ONNX_TYPE_INT8))
    return pipeline_operator_fail(error, "it sums too many 16-bit products");
  if (rows->convolution && terms * 255 * 255 > 0x1p24)
    return pipeline_operator_fail(error, "it sums more than 258 products, which float32 does not hold exactly");
  return run(&product->call, error);
}

gboolean pipeline_quantized_infer(PipelineCall *call, GError **error)
{
  const PipelineQuantized *rows = call->operator->parameter;
  const PipelineTensor *zero = get(call, rows->y_zero);
  if (call->state != NULL) product_clear(call->state);
  Product *product = g_new0(Product, 1);
  call->state = product;
  call->state_free = product_clear;
  if (!multiply(call, product, error)) return FALSE;
  if (zero != NULL && !is_quantized(zero->type)) return pipeline_operator_fail_type(call, (guint)rows->y_zero, error);
  return pipeline_output_like(call, 0, zero != NULL ? zero->type : ONNX_TYPE_INT32, &product->product, error);
}

static double scale_of(const PipelineTensor *scale, gsize index)
{
  return scale == NULL ? 1 : pipeline_element_get_double(scale, scale->n == 1 ? 0 : index);
}

gboolean pipeline_quantized_run(PipelineCall *call, GError **error)
{
  const PipelineQuantized *rows = call->operator->parameter;
  const Product *product = call->state;
  const PipelineTensor *sums = &product->product, *bias = get(call, rows->bias), *a_scale = get(call, rows->a_scale),
                       *b_scale = get(call, rows->b_scale), *y_scale = get(call, rows->y_scale);
  guint axis = rows->convolution ? 1 : sums->n_dims > 0 ? sums->n_dims - 1 : 0;
  gsize channels = sums->n_dims > 0 ? (gsize)sums->dims[axis] : 1;
  gsize inner = pipeline_dims_product(sums->dims, MIN(axis + 1, sums->n_dims), sums->n_dims);
  const PipelineTensor *zero = get(call, rows->y_zero);
  if ((a_scale != NULL && a_scale->n != 1) || (zero != NULL && zero->n != 1) || (y_scale != NULL && y_scale->n != 1) ||
      (b_scale != NULL && b_scale->n != 1 && b_scale->n != channels) || (bias != NULL && bias->n != channels))
    return pipeline_operator_fail(error, "a scale does not fit its tensor");
  for (gsize i = 0; i < sums->n; i++) {
    gsize channel = i / inner % channels;
    double sum = pipeline_element_get_double(sums, i);
    if (bias != NULL) sum += pipeline_element_get_double(bias, channel);
    if (y_scale != NULL)
      sum = nearbyint(sum * (scale_of(a_scale, 0) * scale_of(b_scale, channel) / scale_of(y_scale, 0)) +
                      zero_point(call, (guint)rows->y_zero, 0));
    pipeline_element_put_double(call->outputs[0], i, sum);
  }
  return TRUE;
}
