#include "pipeline/operator.h"

#include <string.h>

#include "pipeline/operator_internal.h"

#define ML "ai.onnx.ml"
#define MANY G_MAXUINT

/* Row: domain, name, since, inputs min, max, outputs max, prepare, infer, run, parameter, example.
 * Examples: INPUTS { ATTRIBUTES } => OUTPUTS, see operator_example.c. Newer rows of a name follow older ones. */
/* clang-format off */
const PipelineOperator pipeline_operators[] = {
  /* dense layers */
  {"", "Gemm", 6, 2, 3, 1, pipeline_gemm_prepare, pipeline_gemm_infer, pipeline_gemm_run, NULL,
   "f[1,2] 1 2; f[2,2] 1 3 2 4; f[2] 10 20 { transB=1 alpha=2.0 } => f[1,2] 24 40"},
  {"", "MatMul", 1, 2, 2, 1, NULL, pipeline_matmul_infer, pipeline_matmul_run, NULL,
   "f[2,1] 1 2; f[1,2] 3 4 => f[2,2] 3 4 6 8"},
  {"", "BatchNormalization", 6, 5, 5, 5, NULL, pipeline_batch_normalization_infer, pipeline_batch_normalization_run, NULL,
   "f[1,2] 3 4; f[2] 2 1; f[2] 0 1; f[2] 1 2; f[2] 4 1 { epsilon=0.0 } => f[1,2] 2 3"},
  /* arithmetic */
  {"", "Add", 1, 2, 2, 1, NULL, pipeline_binary_infer, pipeline_binary_run, &pipeline_binary_add,
   "f[2,2] 1 2 3 4; f[2] 10 20 => f[2,2] 11 22 13 24"},
  {"", "Sub", 1, 2, 2, 1, NULL, pipeline_binary_infer, pipeline_binary_run, &pipeline_binary_sub,
   "i[2] 5 1; i[] 2 => i[2] 3 -1"},
  {"", "Mul", 1, 2, 2, 1, NULL, pipeline_binary_infer, pipeline_binary_run, &pipeline_binary_mul,
   "f[2,1] 2 3; f[1,2] 5 7 => f[2,2] 10 14 15 21"},
  {"", "Div", 1, 2, 2, 1, NULL, pipeline_binary_infer, pipeline_binary_run, &pipeline_binary_div,
   "i[2] 7 -7; i[2] 2 2 => i[2] 3 -3"},
  {"", "Pow", 1, 2, 2, 1, NULL, pipeline_binary_infer, pipeline_pow_run, NULL,
   "f[3] 1 2 3; i[] 2 => f[3] 1 4 9"},
  {"", "Min", 1, 1, MANY, 1, NULL, pipeline_binary_infer, pipeline_variadic_run, &pipeline_binary_min,
   "f[3] 1 5 3; f[3] 4 2 nan; f[] 3 => f[3] 1 2 nan"},
  {"", "Max", 1, 1, MANY, 1, NULL, pipeline_binary_infer, pipeline_variadic_run, &pipeline_binary_max,
   "f[3] 1 5 3; f[3] 4 2 3; f[] 3 => f[3] 4 5 3"},
  {"", "Sum", 6, 1, MANY, 1, NULL, pipeline_binary_infer, pipeline_variadic_run, &pipeline_binary_add,
   "f[2] 1 2; f[] 10; f[2] 100 200 => f[2] 111 212"},
  /* element by element */
  {"", "Relu", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_relu,
   "f[4] -1 0 2 nan => f[4] 0 0 2 nan"},
  {"", "LeakyRelu", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_leaky_relu,
   "f[2] -1 2 { alpha=0.5 } => f[2] -0.5 2"},
  {"", "Elu", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_elu,
   "f[2] -1 2 => f[2] -0.63212056 2"},
  {"", "Selu", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_selu,
   "f[2] -1 2 => f[2] -1.1113307 2.101402"},
  {"", "Gelu", 20, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_gelu,
   "f[3] -1 0 1 => f[3] -0.15865525 0 0.84134475"},
  {"", "Sigmoid", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_sigmoid,
   "f[4] 0 1 -200 200 => f[4] 0.5 0.7310586 0 1"},
  {"", "HardSigmoid", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_hard_sigmoid,
   "f[3] -9 0 1 => f[3] 0 0.5 0.7"},
  {"", "Tanh", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_tanh,
   "f[2] 0 1 => f[2] 0 0.7615942"},
  {"", "Erf", 9, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_erf,
   "f[2] 0 1 => f[2] 0 0.84270079"},
  {"", "Softplus", 1, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_softplus,
   "f[3] 0 100 -100 => f[3] 0.6931472 100 0"},
  {"", "Sqrt", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_sqrt,
   "f[2] 4 9 => f[2] 2 3"},
  {"", "Reciprocal", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_reciprocal,
   "f[2] 4 0.5 => f[2] 0.25 2"},
  {"", "Exp", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_exp,
   "f[2] 0 1 => f[2] 1 2.7182817"},
  {"", "Log", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_log,
   "f[2] 1 2.7182817 => f[2] 0 1"},
  {"", "Neg", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_neg,
   "i[2] 1 -2 => i[2] -1 2"},
  {"", "Abs", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_abs,
   "f[2] 1 -2 => f[2] 1 2"},
  {"", "Floor", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_floor,
   "f[2] 1.5 -1.5 => f[2] 1 -2"},
  {"", "Ceil", 6, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_ceil,
   "f[2] 1.5 -1.5 => f[2] 2 -1"},
  {"", "Sign", 9, 1, 1, 1, NULL, pipeline_unary_infer, pipeline_unary_run, &pipeline_unary_sign,
   "f[3] 5 -5 0 => f[3] 1 -1 0"},
  {"", "Clip", 6, 1, 3, 1, NULL, pipeline_clip_infer, pipeline_clip_run, NULL,
   "f[3] -1 0.5 2; f[] 0; f[] 1 => f[3] 0 0.5 1"},
  {"", "IsNaN", 9, 1, 1, 1, NULL, pipeline_is_nan_infer, pipeline_is_nan_run, NULL,
   "f[2] nan 1 => b[2] 1 0"},
  /* comparisons and logic */
  {"", "Equal", 1, 2, 2, 1, NULL, pipeline_compare_infer, pipeline_compare_run, &pipeline_compare_equal,
   "s[2] a b; s[] b => b[2] 0 1"},
  {"", "Less", 1, 2, 2, 1, NULL, pipeline_compare_infer, pipeline_compare_run, &pipeline_compare_less,
   "f[2] 1 2; f[] 2 => b[2] 1 0"},
  {"", "Greater", 1, 2, 2, 1, NULL, pipeline_compare_infer, pipeline_compare_run, &pipeline_compare_greater,
   "f[2] 1 3; f[] 2 => b[2] 0 1"},
  {"", "LessOrEqual", 12, 2, 2, 1, NULL, pipeline_compare_infer, pipeline_compare_run, &pipeline_compare_less_or_equal,
   "i[2] 2 3; i[] 2 => b[2] 1 0"},
  {"", "GreaterOrEqual", 12, 2, 2, 1, NULL, pipeline_compare_infer, pipeline_compare_run, &pipeline_compare_greater_or_equal,
   "i[2] 2 1; i[] 2 => b[2] 1 0"},
  {"", "And", 1, 2, 2, 1, NULL, pipeline_compare_infer, pipeline_compare_run, &pipeline_compare_and,
   "b[2] 1 1; b[2] 1 0 => b[2] 1 0"},
  {"", "Or", 1, 2, 2, 1, NULL, pipeline_compare_infer, pipeline_compare_run, &pipeline_compare_or,
   "b[2] 0 0; b[2] 1 0 => b[2] 1 0"},
  {"", "Xor", 1, 2, 2, 1, NULL, pipeline_compare_infer, pipeline_compare_run, &pipeline_compare_xor,
   "b[2] 1 1; b[2] 1 0 => b[2] 0 1"},
  {"", "Not", 1, 1, 1, 1, NULL, pipeline_not_infer, pipeline_not_run, NULL, "b[2] 1 0 => b[2] 0 1"},
  {"", "Where", 9, 3, 3, 1, NULL, pipeline_where_infer, pipeline_where_run, NULL,
   "b[2] 1 0; f[] 5; f[2] 6 7 => f[2] 5 7"},
  /* along an axis */
  {"", "Softmax", 1, 1, 1, 1, NULL, pipeline_softmax_infer, pipeline_softmax_run, NULL,
   "f[1,2,2] 0 0 0 0 => f[1,2,2] 0.25 0.25 0.25 0.25"},
  {"", "Softmax", 13, 1, 1, 1, NULL, pipeline_softmax_infer, pipeline_softmax_run, NULL,
   "f[2,2] 0 0 1 3 => f[2,2] 0.5 0.5 0.11920292 0.880797"},
  {"", "LogSoftmax", 1, 1, 1, 1, NULL, pipeline_softmax_infer, pipeline_softmax_run, &pipeline_softmax_logarithm,
   "f[1,2] 0 0 => f[1,2] -0.6931472 -0.6931472"},
  {"", "LpNormalization", 1, 1, 1, 1, NULL, pipeline_lp_normalization_infer, pipeline_lp_normalization_run, NULL,
   "f[2,2] 3 4 0 0 => f[2,2] 0.6 0.8 0 0"},
  {"", "ArgMax", 1, 1, 1, 1, NULL, pipeline_arg_max_infer, pipeline_arg_max_run, NULL,
   "f[2,3] 1 3 3 9 0 0 { axis=1 keepdims=0 } => i[2] 1 0"},
  {"", "ArgMin", 1, 1, 1, 1, NULL, pipeline_arg_max_infer, pipeline_arg_max_run, &pipeline_arg_min,
   "f[2,3] 1 3 3 9 0 0 { axis=1 } => i[2,1] 0 1"},
  {"", "ReduceSum", 1, 1, 2, 1, NULL, pipeline_reduce_infer, pipeline_reduce_run, &pipeline_reduce_sum,
   "f[2,2] 1 2 3 4; i[1] 1 => f[2,1] 3 7"},
  {"", "ReduceMean", 1, 1, 2, 1, NULL, pipeline_reduce_infer, pipeline_reduce_run, &pipeline_reduce_mean,
   "f[2,2] 1 2 3 4 { axes=[0] keepdims=0 } => f[2] 2 3"},
  {"", "ReduceMax", 1, 1, 2, 1, NULL, pipeline_reduce_infer, pipeline_reduce_run, &pipeline_reduce_max,
   "f[2,2] 1 2 3 4 { axes=[1] keepdims=0 } => f[2] 2 4"},
  {"", "ReduceMin", 1, 1, 2, 1, NULL, pipeline_reduce_infer, pipeline_reduce_run, &pipeline_reduce_min,
   "i[2,2] 1 2 3 4 { keepdims=0 } => i[] 1"},
  {"", "ReduceProd", 1, 1, 2, 1, NULL, pipeline_reduce_infer, pipeline_reduce_run, &pipeline_reduce_prod,
   "f[2,2] 1 2 3 4 { keepdims=0 } => f[] 24"},
  {"", "ReduceL1", 1, 1, 2, 1, NULL, pipeline_reduce_infer, pipeline_reduce_run, &pipeline_reduce_l1,
   "f[2] -3 4 { keepdims=0 } => f[] 7"},
  {"", "ReduceL2", 1, 1, 2, 1, NULL, pipeline_reduce_infer, pipeline_reduce_run, &pipeline_reduce_l2,
   "f[2] -3 4 { keepdims=0 } => f[] 5"},
  {"", "ReduceSumSquare", 1, 1, 2, 1, NULL, pipeline_reduce_infer, pipeline_reduce_run, &pipeline_reduce_sum_square,
   "f[2] -3 4 { keepdims=0 } => f[] 25"},
  {"", "ReduceLogSum", 1, 1, 2, 1, NULL, pipeline_reduce_infer, pipeline_reduce_run, &pipeline_reduce_log_sum,
   "f[2] 1 1.7182817 { keepdims=0 } => f[] 1"},
  /* shapes */
  {"", "Identity", 1, 1, 1, 1, NULL, pipeline_identity_infer, pipeline_copy_run, NULL, "s[2] a b => s[2] a b"},
  {"", "Dropout", 6, 1, 3, 2, NULL, pipeline_dropout_infer, pipeline_dropout_run, NULL, "f[2] 1 2 => f[2] 1 2; f[2] 1 1"},
  {"", "Flatten", 1, 1, 1, 1, NULL, pipeline_flatten_infer, pipeline_copy_run, NULL,
   "f[1,2,2] 1 2 3 4 => f[1,4] 1 2 3 4"},
  {"", "Reshape", 5, 2, 2, 1, NULL, pipeline_reshape_infer, pipeline_copy_run, NULL,
   "f[2,3] 1 2 3 4 5 6; i[3] 0 -1 1 => f[2,3,1] 1 2 3 4 5 6"},
  {"", "Squeeze", 1, 1, 2, 1, NULL, pipeline_squeeze_infer, pipeline_copy_run, NULL,
   "f[1,2,1] 1 2; i[1] -1 => f[1,2] 1 2"},
  {"", "Unsqueeze", 1, 1, 2, 1, NULL, pipeline_unsqueeze_infer, pipeline_copy_run, NULL,
   "f[2] 1 2 { axes=[0,2] } => f[1,2,1] 1 2"},
  {"", "Shape", 1, 1, 1, 1, NULL, pipeline_shape_infer, pipeline_shape_run, NULL,
   "f[3,1] 0 0 0 => i[2] 3 1"},
  {"", "Size", 1, 1, 1, 1, NULL, pipeline_size_infer, pipeline_size_run, NULL, "f[3,1] 0 0 0 => i[] 3"},
  {"", "Constant", 1, 0, 0, 1, NULL, pipeline_constant_infer, pipeline_constant_run, NULL, NULL},
  {"", "ConstantOfShape", 9, 1, 1, 1, NULL, pipeline_constant_of_shape_infer, pipeline_constant_of_shape_run, NULL,
   "i[2] 1 2 => f[1,2] 0 0"},
  {"", "Range", 11, 3, 3, 1, NULL, pipeline_range_infer, pipeline_range_run, NULL,
   "i[] 10; i[] 4; i[] -2 => i[3] 10 8 6"},
  /* moving elements */
  {"", "Transpose", 1, 1, 1, 1, NULL, pipeline_transpose_infer, pipeline_transpose_run, NULL,
   "f[2,3] 1 2 3 4 5 6 => f[3,2] 1 4 2 5 3 6"},
  {"", "Concat", 4, 1, MANY, 1, NULL, pipeline_concat_infer, pipeline_concat_run, NULL,
   "f[2,1] 1 2; f[2,2] 3 4 5 6 { axis=1 } => f[2,3] 1 3 4 2 5 6"},
  {"", "Split", 2, 1, 2, MANY, NULL, pipeline_split_infer, pipeline_split_run, NULL,
   "f[3] 1 2 3; i[2] 1 2 => f[1] 1; f[2] 2 3"},
  {"", "Slice", 1, 1, 5, 1, NULL, pipeline_slice_infer, pipeline_slice_run, NULL,
   "f[5] 0 1 2 3 4; i[1] -1; i[1] -9; i[1] 0; i[1] -2 => f[3] 4 2 0"},
  {"", "Gather", 1, 2, 2, 1, NULL, pipeline_gather_infer, pipeline_gather_run, NULL,
   "s[3] a b c; i[2] 2 -3 => s[2] c a"},
  {"", "Expand", 8, 2, 2, 1, NULL, pipeline_expand_infer, pipeline_expand_run, NULL,
   "f[2,1] 1 2; i[2] 1 3 => f[2,3] 1 1 1 2 2 2"},
  {"", "Cast", 6, 1, 1, 1, NULL, pipeline_cast_infer, pipeline_cast_run, NULL,
   "f[3] 1.7 -1.7 nan { to=7 } => i[3] 1 -1 0"},
  {"", "CastLike", 15, 2, 2, 1, NULL, pipeline_cast_like_infer, pipeline_cast_run, NULL,
   "i[2] 1 2; s[] x => s[2] 1 2"},
  /* ai.onnx.ml */
  {ML, "Scaler", 1, 1, 1, 1, NULL, pipeline_scaler_infer, pipeline_scaler_run, NULL,
   "f[1,2] 3 nan { offset=[1.0,1.0] scale=[2.0] } => f[1,2] 4 nan"},
  {ML, "Normalizer", 1, 1, 1, 1, NULL, pipeline_scaler_infer, pipeline_normalizer_run, NULL,
   "f[1,2] 3 4 { norm='L2' } => f[1,2] 0.6 0.8"},
  {ML, "Binarizer", 1, 1, 1, 1, NULL, pipeline_scaler_infer, pipeline_binarizer_run, NULL,
   "f[1,2] 0.4 0.6 { threshold=0.5 } => f[1,2] 0 1"},
  {ML, "Imputer", 1, 1, 1, 1, NULL, pipeline_imputer_infer, pipeline_imputer_run, NULL,
   "f[1,2] nan 4 { imputed_value_floats=[7.0,8.0] replaced_value_float=nan } => f[1,2] 7 4"},
  {ML, "FeatureVectorizer", 1, 1, MANY, 1, NULL, pipeline_feature_vectorizer_infer, pipeline_feature_vectorizer_run, NULL,
   "f[1,1] 1; i[1,2] 2 3 { inputdimensions=[1,2] } => f[1,3] 1 2 3"},
  {ML, "ArrayFeatureExtractor", 1, 2, 2, 1, NULL, pipeline_array_feature_extractor_infer, pipeline_array_feature_extractor_run,
   NULL, "s[3] a b c; i[2] 2 0 => s[1,2] c a"},
  {ML, "OneHotEncoder", 1, 1, 1, 1, pipeline_one_hot_prepare, pipeline_one_hot_infer, pipeline_one_hot_run, NULL,
   "s[3] b a x { cats_strings=['a','b'] zeros=1 } => f[3,2] 0 1 1 0 0 0"},
  {ML, "LabelEncoder", 1, 1, 1, 1, pipeline_label_encoder_prepare, pipeline_label_encoder_infer, pipeline_label_encoder_run, NULL,
   "s[3] b a x { classes_strings=['a','b'] } => i[3] 1 0 -1"},
  {ML, "LabelEncoder", 2, 1, 1, 1, pipeline_label_encoder_prepare, pipeline_label_encoder_infer, pipeline_label_encoder_run, NULL,
   "i[2] 5 6 { keys_int64s=[5] values_strings=['five'] default_string='?' } => s[2] five ?"},
  {ML, "LinearRegressor", 1, 1, 1, 1, NULL, pipeline_linear_regressor_infer, pipeline_linear_regressor_run, NULL,
   "f[1,2] 3 4 { coefficients=[1.0,2.0] intercepts=[0.5] } => f[1,1] 11.5"},
  {ML, "LinearClassifier", 1, 1, 1, 2, NULL, pipeline_linear_classifier_infer, pipeline_linear_classifier_run, NULL,
   "f[2,1] 0 2 { coefficients=[-1.0,1.0] intercepts=[0.0,0.0] classlabels_strings=['n','y'] post_transform='LOGISTIC' } "
   "=> s[2] n y; f[2,2] 0.5 0.5 0.11920292 0.880797"},
  {ML, "TreeEnsembleRegressor", 1, 1, 1, 1, pipeline_tree_prepare, pipeline_tree_regressor_infer, pipeline_tree_regressor_run, NULL,
   "f[3,1] 1 2 nan { nodes_treeids=[0,0,0] nodes_nodeids=[0,1,2] nodes_featureids=[0,0,0] nodes_values=[1.5,0.0,0.0] "
   "nodes_modes=['BRANCH_LEQ','LEAF','LEAF'] nodes_truenodeids=[1,0,0] nodes_falsenodeids=[2,0,0] target_treeids=[0,0] "
   "target_nodeids=[1,2] target_ids=[0,0] target_weights=[10.0,20.0] n_targets=1 base_values=[1.0] } => f[3,1] 11 21 21"},
  {ML, "TreeEnsembleClassifier", 1, 1, 1, 2, pipeline_tree_prepare, pipeline_tree_classifier_infer, pipeline_tree_classifier_run, NULL,
   "f[2,1] 1 2 { nodes_treeids=[0,0,0] nodes_nodeids=[0,1,2] nodes_featureids=[0,0,0] nodes_values=[1.5,0.0,0.0] "
   "nodes_modes=['BRANCH_LT','LEAF','LEAF'] nodes_truenodeids=[1,0,0] nodes_falsenodeids=[2,0,0] class_treeids=[0,0,0,0] "
   "class_nodeids=[1,1,2,2] class_ids=[0,1,0,1] class_weights=[0.9,0.1,0.3,0.7] classlabels_int64s=[7,8] } "
   "=> i[2] 7 8; f[2,2] 0.9 0.1 0.3 0.7"},
  {ML, "ZipMap", 1, 1, 1, 1, NULL, pipeline_identity_infer, pipeline_copy_run, NULL,
   "f[1,2] 0.25 0.75 { classlabels_int64s=[0,1] } => f[1,2] 0.25 0.75"},
  {.name = NULL},
};
/* clang-format on */

const PipelineOperator *pipeline_operator_find(const gchar *domain, const gchar *name, gint64 opset)
{
  const PipelineOperator *found = NULL;
  for (const PipelineOperator *row = pipeline_operators; row->name != NULL; row++)
    if (row->since <= opset && strcmp(row->name, name) == 0 && strcmp(row->domain, domain) == 0) found = row;
  return found;
}

static gboolean check_arity(const PipelineOperator *operator, const OnnxNode * node, guint index, GError **error)
{
  guint given = node->inputs->len;
  while (given > 0 && onnx_node_get_input(node, given - 1) == NULL) given--; /* trailing optional inputs left out */
  gboolean fits = given >= operator->min_inputs && given <= operator->max_inputs && node->outputs->len >= 1 &&
                           node->outputs->len <=
                           operator->max_outputs;
  for (guint i = 0; i < operator->min_inputs && fits; i++) fits = onnx_node_get_input(node, i) != NULL;
  if (fits) return TRUE;
  g_autofree gchar *where = onnx_node_describe(node, index);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "%s has %u inputs and %u outputs, which %s does not have",
              where, given, node->outputs->len, node->op_type);
  return FALSE;
}

gboolean pipeline_operator_check_graph(const OnnxGraph *graph, GError **error)
{
  g_autoptr(GPtrArray) unknown = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint n = 0; n < graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    gint64 opset = onnx_graph_get_opset(graph, node->domain);
    if (pipeline_operator_find(node->domain, node->op_type, opset) != NULL) continue;
    gchar *name = g_strdup_printf("%s%s%s (set %" G_GINT64_FORMAT ")", node->domain, node->domain[0] != '\0' ? "." : "",
                                  node->op_type, opset);
    if (g_hash_table_contains(seen, name)) {
      g_free(name);
      continue;
    }
    g_ptr_array_add(unknown, name);
    g_hash_table_add(seen, name);
  }
  if (unknown->len > 0) {
    g_ptr_array_add(unknown, NULL);
    g_autofree gchar *list = g_strjoinv(", ", (gchar **)unknown->pdata);
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "the model uses operators that are not supported: %s", list);
    return FALSE;
  }
  for (guint n = 0; n < graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    gint64 opset = onnx_graph_get_opset(graph, node->domain);
    if (!check_arity(pipeline_operator_find(node->domain, node->op_type, opset), node, n, error)) return FALSE;
  }
  return TRUE;
}
