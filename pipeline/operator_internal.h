/* What the kernels share: helpers, and the functions and parameters that the table in operator.c names. */
#pragma once

#include "pipeline/operator.h"

G_BEGIN_DECLS

/* --- helpers (operator_support.c) -----------------------------------------------------------------------------------
 */

/* Sets a MODEL error and returns FALSE. */
gboolean pipeline_operator_fail(GError **error, const gchar *format, ...) G_GNUC_PRINTF(2, 3);
/* "type T is not supported for input I" */
gboolean pipeline_operator_fail_type(const PipelineCall *call, guint input, GError **error);
/* Type and shape of output `index`; nothing when nobody asks for it. */
gboolean pipeline_output_set(PipelineCall *call, guint index, OnnxType type, guint n_dims, const gint64 *dims,
                             GError **error);
gboolean pipeline_output_like(PipelineCall *call, guint index, OnnxType type, const PipelineTensor *like,
                              GError **error);
/* The input, or NULL when it is left out. */
const PipelineTensor *pipeline_input(const PipelineCall *call, guint index);
/* Negative axes count from the end. allow_end: n_dims itself is valid. */
gboolean pipeline_axis_resolve(gint64 axis, guint n_dims, gboolean allow_end, guint *resolved, GError **error);
/* The elements of an int32 or int64 tensor, at most `capacity`. */
gboolean pipeline_integers_read(const PipelineTensor *tensor, gint64 *values, guint capacity, guint *n, GError **error);
/* The list in attribute `name`, else of input `index` (when that is given), else FALSE in *present. */
gboolean pipeline_list_read(const PipelineCall *call, const gchar *name, guint index, gint64 *values, guint *n,
                            gboolean *present, GError **error);
/* Product of dims[from..to). */
gsize pipeline_dims_product(const gint64 *dims, guint from, guint to);
/* Row-major element strides. */
void pipeline_strides(const PipelineTensor *tensor, gsize *strides);
gboolean pipeline_type_is_number(OnnxType type);
gboolean pipeline_type_is_floating(OnnxType type); /* float16, bfloat16, float32, float64 */
/* Takes work from what the run may still cost (see PipelineBudget); FALSE with UNSUPPORTED when it is used up. */
gboolean pipeline_charge_multiplications(const PipelineCall *call, double multiplications, GError **error);
gboolean pipeline_charge_bytes(const PipelineCall *call, guint64 bytes, GError **error);
/* Scratch of a kernel, zeroed and charged to the budget; NULL with UNSUPPORTED. Free with g_free. */
gpointer pipeline_scratch_new(const PipelineCall *call, gsize n, gsize size, GError **error);
/* Attribute `name` equals `value`; a node without it counts as `fallback`. */
gboolean pipeline_attribute_is(const PipelineCall *call, const gchar *name, const gchar *fallback, const gchar *value);

/* The FLOATS attribute, or an empty list (operator_ml.c). */
const float *pipeline_operator_floats(const PipelineCall *call, const gchar *name, guint *n);
/* The numbers of a TENSOR attribute as double; NULL and 0 when it is absent or holds none. Free with g_free
 * (operator_ml.c). */
double *pipeline_operator_tensor_numbers(const OnnxNode *node, const gchar *name, guint *n);
/* The last dimension: features of a row (operator_ml.c). */
gsize pipeline_operator_width(const PipelineTensor *in);

/* The tensor as [outer, length, inner] around an axis. */
typedef struct {
  guint axis;
  gsize outer, length, inner;
} PipelineAround;
gboolean pipeline_around(const PipelineTensor *tensor, gint64 axis, PipelineAround *around, GError **error);

/* Broadcasting of up to 3 inputs to one shape. Neighbouring dimensions that all inputs walk alike are merged; the last
 * one is the inner loop. */
#define PIPELINE_BROADCAST_MAX 3
typedef struct {
  guint n_dims; /* ≥ 1 */
  gsize dims[ONNX_MAX_DIMENSIONS + 1];
  gsize strides[PIPELINE_BROADCAST_MAX][ONNX_MAX_DIMENSIONS + 1]; /* in elements; 0: repeated */
  gsize outer, inner;                                             /* loop counts */
} PipelineBroadcast;
gboolean pipeline_broadcast_shape(const PipelineTensor *const *inputs, guint n_inputs, gint64 *dims, guint *n_dims,
                                  GError **error);
void pipeline_broadcast_init(PipelineBroadcast *broadcast, const PipelineTensor *const *inputs, guint n_inputs,
                             const PipelineTensor *output);
/* Both operands of a binary operator. Before set 7 attribute `axis` says where the second one's dimensions begin: it
 * then gets trailing dimensions of 1 in *view, which must live as long as `pair`. */
gboolean pipeline_pair(const PipelineCall *call, const PipelineTensor *pair[2], PipelineTensor *view, GError **error);
/* Element offset of input `input` at the start of outer row `row`. */
gsize pipeline_broadcast_offset(const PipelineBroadcast *broadcast, guint input, gsize row);

/* Parts of an example (operator_example.c): "f[2] 1 2" as a new tensor, or NULL; "axis=1" as an attribute. */
OnnxTensor *pipeline_example_tensor(const gchar *text, const gchar *name);
void pipeline_example_attribute(OnnxNode *node, const gchar *word);

/* --- functions that the table names ---------------------------------------------------------------------------------
 */

#define KERNEL(name) gboolean name(PipelineCall *call, GError **error)

/* operator_unary.c */
typedef struct _PipelineUnary PipelineUnary;
extern const PipelineUnary pipeline_unary_relu, pipeline_unary_leaky_relu, pipeline_unary_elu, pipeline_unary_selu,
    pipeline_unary_gelu, pipeline_unary_sigmoid, pipeline_unary_hard_sigmoid, pipeline_unary_tanh, pipeline_unary_erf,
    pipeline_unary_softplus, pipeline_unary_sqrt, pipeline_unary_reciprocal, pipeline_unary_exp, pipeline_unary_log,
    pipeline_unary_neg, pipeline_unary_abs, pipeline_unary_floor, pipeline_unary_ceil, pipeline_unary_sign,
    pipeline_unary_round, pipeline_unary_sin, pipeline_unary_cos, pipeline_unary_tan, pipeline_unary_asin,
    pipeline_unary_acos, pipeline_unary_atan, pipeline_unary_sinh, pipeline_unary_cosh, pipeline_unary_asinh,
    pipeline_unary_acosh, pipeline_unary_atanh, pipeline_unary_softsign, pipeline_unary_mish, pipeline_unary_hard_swish,
    pipeline_unary_swish, pipeline_unary_thresholded_relu, pipeline_unary_celu, pipeline_unary_shrink,
    pipeline_unary_bitwise_not;
KERNEL(pipeline_unary_infer);
KERNEL(pipeline_unary_run);
KERNEL(pipeline_not_infer);
KERNEL(pipeline_not_run);
KERNEL(pipeline_is_nan_infer);
KERNEL(pipeline_is_nan_run);
KERNEL(pipeline_is_inf_run);
KERNEL(pipeline_clip_infer);
KERNEL(pipeline_clip_run);

/* operator_binary.c */
typedef struct _PipelineBinary PipelineBinary;
extern const PipelineBinary pipeline_binary_add, pipeline_binary_sub, pipeline_binary_mul, pipeline_binary_div,
    pipeline_binary_min, pipeline_binary_max, pipeline_binary_prelu, pipeline_binary_mod, pipeline_binary_shift,
    pipeline_binary_bitwise_and, pipeline_binary_bitwise_or, pipeline_binary_bitwise_xor;
KERNEL(pipeline_binary_infer);
KERNEL(pipeline_binary_run);
KERNEL(pipeline_variadic_run);
KERNEL(pipeline_mean_run);
KERNEL(pipeline_prelu_infer);
KERNEL(pipeline_pow_run);

/* operator_compare.c */
typedef struct _PipelineCompare PipelineCompare;
extern const PipelineCompare pipeline_compare_equal, pipeline_compare_less, pipeline_compare_greater,
    pipeline_compare_less_or_equal, pipeline_compare_greater_or_equal, pipeline_compare_and, pipeline_compare_or,
    pipeline_compare_xor;
KERNEL(pipeline_compare_infer);
KERNEL(pipeline_compare_run);
KERNEL(pipeline_where_infer);
KERNEL(pipeline_where_run);

/* operator_dense.c */
KERNEL(pipeline_gemm_prepare);
KERNEL(pipeline_gemm_infer);
KERNEL(pipeline_gemm_run);
KERNEL(pipeline_matmul_infer);
KERNEL(pipeline_matmul_run);

/* operator_reduce.c */
typedef struct _PipelineReduce PipelineReduce;
extern const PipelineReduce pipeline_reduce_sum, pipeline_reduce_mean, pipeline_reduce_max, pipeline_reduce_min,
    pipeline_reduce_prod, pipeline_reduce_l1, pipeline_reduce_l2, pipeline_reduce_sum_square, pipeline_reduce_log_sum,
    pipeline_reduce_log_sum_exp;
KERNEL(pipeline_reduce_infer);
KERNEL(pipeline_reduce_run);

/* operator_softmax.c; the parameter of softmax: non-NULL for the logarithm */
extern const gint pipeline_softmax_logarithm;
extern const gint pipeline_arg_min;
KERNEL(pipeline_softmax_infer);
KERNEL(pipeline_softmax_run);
KERNEL(pipeline_hardmax_run);
KERNEL(pipeline_arg_max_infer);
KERNEL(pipeline_arg_max_run);

/* operator_shape.c */
KERNEL(pipeline_copy_run); /* output 0 has the elements of input 0 in another shape */
KERNEL(pipeline_identity_infer);
KERNEL(pipeline_dropout_infer);
KERNEL(pipeline_dropout_run);
KERNEL(pipeline_flatten_infer);
KERNEL(pipeline_reshape_infer);
KERNEL(pipeline_squeeze_infer);
KERNEL(pipeline_unsqueeze_infer);
KERNEL(pipeline_shape_infer);
KERNEL(pipeline_shape_run);
KERNEL(pipeline_size_infer);
KERNEL(pipeline_size_run);
KERNEL(pipeline_constant_infer);
KERNEL(pipeline_constant_run);
KERNEL(pipeline_constant_of_shape_infer);
KERNEL(pipeline_constant_of_shape_run);
KERNEL(pipeline_range_infer);
KERNEL(pipeline_range_run);

/* operator_move.c */
KERNEL(pipeline_transpose_infer);
KERNEL(pipeline_transpose_run);
KERNEL(pipeline_concat_infer);
KERNEL(pipeline_concat_run);
KERNEL(pipeline_split_infer);
KERNEL(pipeline_split_run);
KERNEL(pipeline_slice_infer);
KERNEL(pipeline_slice_run);
KERNEL(pipeline_gather_infer);
KERNEL(pipeline_gather_run);
KERNEL(pipeline_expand_infer);
KERNEL(pipeline_expand_run);
KERNEL(pipeline_array_feature_extractor_infer);
KERNEL(pipeline_array_feature_extractor_run);

/* Index `i` of an integer tensor, counted from the end when negative; an error outside of [-length, length). */
gboolean pipeline_index_at(const PipelineTensor *indices, gsize i, gint64 length, gsize *index, GError **error);

/* operator_normalize.c */
extern const gint pipeline_layer_rms;
KERNEL(pipeline_batch_normalization_infer);
KERNEL(pipeline_batch_normalization_run);
KERNEL(pipeline_instance_normalization_infer);
KERNEL(pipeline_instance_normalization_run);
KERNEL(pipeline_group_normalization_infer);
KERNEL(pipeline_group_normalization_run);
KERNEL(pipeline_layer_normalization_infer);
KERNEL(pipeline_layer_normalization_run);
KERNEL(pipeline_lp_normalization_infer);
KERNEL(pipeline_lp_normalization_run);
KERNEL(pipeline_lrn_infer);
KERNEL(pipeline_lrn_run);
KERNEL(pipeline_mean_variance_infer);
KERNEL(pipeline_mean_variance_run);

/* operator_conv.c */
KERNEL(pipeline_conv_infer);
KERNEL(pipeline_conv_run);
KERNEL(pipeline_conv_transpose_infer);
KERNEL(pipeline_conv_transpose_run);
KERNEL(pipeline_col2im_infer);
KERNEL(pipeline_col2im_run);

/* operator_pool.c */
typedef struct _PipelinePool PipelinePool;
extern const PipelinePool pipeline_pool_max, pipeline_pool_average, pipeline_pool_lp;
KERNEL(pipeline_pool_infer);
KERNEL(pipeline_pool_run);
KERNEL(pipeline_max_unpool_infer);
KERNEL(pipeline_max_unpool_run);

/* operator_index.c */
KERNEL(pipeline_gather_elements_infer);
KERNEL(pipeline_gather_elements_run);
KERNEL(pipeline_scatter_elements_infer);
KERNEL(pipeline_scatter_elements_run);
KERNEL(pipeline_gather_nd_infer);
KERNEL(pipeline_gather_nd_run);
KERNEL(pipeline_scatter_nd_infer);
KERNEL(pipeline_scatter_nd_run);
KERNEL(pipeline_one_hot_nd_infer);
KERNEL(pipeline_one_hot_nd_run);
KERNEL(pipeline_compress_infer);
KERNEL(pipeline_compress_run);
KERNEL(pipeline_non_zero_infer);
KERNEL(pipeline_non_zero_run);

/* operator_arrange.c */
extern const gint pipeline_space_to_depth;
KERNEL(pipeline_pad_infer);
KERNEL(pipeline_pad_run);
KERNEL(pipeline_tile_infer);
KERNEL(pipeline_tile_run);
KERNEL(pipeline_center_crop_pad_infer);
KERNEL(pipeline_center_crop_pad_run);
KERNEL(pipeline_depth_space_infer);
KERNEL(pipeline_depth_space_run);
KERNEL(pipeline_reverse_sequence_infer);
KERNEL(pipeline_reverse_sequence_run);
KERNEL(pipeline_trilu_infer);
KERNEL(pipeline_trilu_run);
KERNEL(pipeline_eye_like_infer);
KERNEL(pipeline_eye_like_run);

/* operator_order.c */
extern const gint pipeline_cumulate_product;
KERNEL(pipeline_top_k_infer);
KERNEL(pipeline_top_k_run);
KERNEL(pipeline_unique_infer);
KERNEL(pipeline_unique_run);
KERNEL(pipeline_cumulate_infer);
KERNEL(pipeline_cumulate_run);

/* operator_quantize.c */
typedef struct _PipelineQuantized PipelineQuantized;
extern const PipelineQuantized pipeline_quantized_matmul_integer, pipeline_quantized_matmul,
    pipeline_quantized_conv_integer, pipeline_quantized_conv;
KERNEL(pipeline_quantize_infer);
KERNEL(pipeline_quantize_run);
KERNEL(pipeline_dequantize_infer);
KERNEL(pipeline_dequantize_run);
KERNEL(pipeline_dynamic_quantize_infer);
KERNEL(pipeline_dynamic_quantize_run);
KERNEL(pipeline_quantized_infer);
KERNEL(pipeline_quantized_run);

/* operator_recurrent.c */
typedef struct _PipelineRecurrent PipelineRecurrent;
extern const PipelineRecurrent pipeline_recurrent_rnn, pipeline_recurrent_gru, pipeline_recurrent_lstm;
KERNEL(pipeline_recurrent_infer);
KERNEL(pipeline_recurrent_run);

/* operator_resize.c */
KERNEL(pipeline_resize_infer);
KERNEL(pipeline_resize_run);

/* operator_loss.c */
extern const gint pipeline_loss_softmax;
KERNEL(pipeline_loss_infer);
KERNEL(pipeline_loss_run);

/* operator_einsum.c */
KERNEL(pipeline_einsum_infer);
KERNEL(pipeline_einsum_run);

/* operator_attention.c */
KERNEL(pipeline_attention_infer);
KERNEL(pipeline_attention_run);
KERNEL(pipeline_rotary_infer);
KERNEL(pipeline_rotary_run);
KERNEL(pipeline_swiglu_infer);
KERNEL(pipeline_swiglu_run);
KERNEL(pipeline_tensor_scatter_infer);
KERNEL(pipeline_tensor_scatter_run);

/* operator_signal.c */
typedef struct _PipelineWaves PipelineWaves;
extern const PipelineWaves pipeline_waves_hann, pipeline_waves_hamming, pipeline_waves_blackman;
KERNEL(pipeline_waves_infer);
KERNEL(pipeline_waves_run);
KERNEL(pipeline_dft_infer);
KERNEL(pipeline_dft_run);
KERNEL(pipeline_stft_infer);
KERNEL(pipeline_stft_run);
KERNEL(pipeline_mel_infer);
KERNEL(pipeline_mel_run);
KERNEL(pipeline_det_infer);
KERNEL(pipeline_det_run);

/* operator_tree_ensemble.c */
KERNEL(pipeline_tree_ensemble_prepare);
KERNEL(pipeline_tree_ensemble_infer);
KERNEL(pipeline_tree_ensemble_run);

/* operator_text.c */
KERNEL(pipeline_string_concat_infer);
KERNEL(pipeline_string_concat_run);
KERNEL(pipeline_regex_prepare);
KERNEL(pipeline_regex_infer);
KERNEL(pipeline_regex_run);
KERNEL(pipeline_string_split_infer);
KERNEL(pipeline_string_split_run);
KERNEL(pipeline_string_normalizer_infer);
KERNEL(pipeline_string_normalizer_run);

/* operator_image.c */
KERNEL(pipeline_non_max_suppression_infer);
KERNEL(pipeline_non_max_suppression_run);
KERNEL(pipeline_grid_sample_infer);
KERNEL(pipeline_grid_sample_run);
KERNEL(pipeline_affine_grid_infer);
KERNEL(pipeline_affine_grid_run);
KERNEL(pipeline_roi_align_infer);
KERNEL(pipeline_roi_align_run);

/* operator_cast.c */
KERNEL(pipeline_cast_infer);
KERNEL(pipeline_cast_like_infer);
KERNEL(pipeline_cast_run);
KERNEL(pipeline_bit_cast_infer);

/* operator_ml.c */
KERNEL(pipeline_scaler_infer);
KERNEL(pipeline_scaler_run);
KERNEL(pipeline_normalizer_run);
KERNEL(pipeline_imputer_infer);
KERNEL(pipeline_imputer_run);
KERNEL(pipeline_binarizer_run);
KERNEL(pipeline_linear_regressor_infer);
KERNEL(pipeline_linear_regressor_run);
KERNEL(pipeline_linear_classifier_infer);
KERNEL(pipeline_linear_classifier_run);
KERNEL(pipeline_feature_vectorizer_infer);
KERNEL(pipeline_feature_vectorizer_run);

/* operator_category.c */
KERNEL(pipeline_one_hot_prepare);
KERNEL(pipeline_one_hot_infer);
KERNEL(pipeline_one_hot_run);
KERNEL(pipeline_label_encoder_prepare);
KERNEL(pipeline_label_encoder_infer);
KERNEL(pipeline_label_encoder_run);

/* operator_svm.c */
KERNEL(pipeline_svm_classifier_prepare);
KERNEL(pipeline_svm_classifier_infer);
KERNEL(pipeline_svm_classifier_run);
KERNEL(pipeline_svm_regressor_prepare);
KERNEL(pipeline_svm_regressor_infer);
KERNEL(pipeline_svm_regressor_run);

/* operator_tree.c */
KERNEL(pipeline_tree_prepare);
KERNEL(pipeline_tree_regressor_infer);
KERNEL(pipeline_tree_regressor_run);
KERNEL(pipeline_tree_classifier_infer);
KERNEL(pipeline_tree_classifier_run);

#undef KERNEL

/* Class scores after a model's last sum, as ONNX's *Classifier operators define (operator_ml.c). */
typedef enum {
  PIPELINE_TRANSFORM_NONE,
  PIPELINE_TRANSFORM_SOFTMAX,
  PIPELINE_TRANSFORM_LOGISTIC,
  PIPELINE_TRANSFORM_SOFTMAX_ZERO
} PipelineTransform;
gboolean pipeline_transform_read(const OnnxNode *node, PipelineTransform *transform, GError **error);
/* In place on scores [n]. */
void pipeline_transform_apply(PipelineTransform transform, float *scores, gsize n);
/* Attributes classlabels_strings / classlabels_int64s of a classifier. Writes label `index` into element `row` of the
 * label output (any of both types). n labels; 0: none given. */
guint pipeline_class_labels_count(const OnnxNode *node);
OnnxType pipeline_class_labels_type(const OnnxNode *node);
void pipeline_class_label_write(const OnnxNode *node, guint index, PipelineTensor *output, gsize row);

G_END_DECLS
