/* ai.onnx.ml: SVMClassifier and SVMRegressor, as libsvm defines them and exporters write them.
 *
 * One classifier a pair of classes i < j: the kernels of their support vectors, weighted, plus rho; above 0 it votes
 * for i. Probabilities couple the pairs: Wu, Lin and Weng, "Probability estimates for multi-class classification by
 * pairwise coupling" (JMLR 5, 2004), in float32 as ONNX Runtime does, because where the iteration stops shows in the
 * fifth digit. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

#define MAX_SVM_CLASSES 1000u

typedef enum { KERNEL_LINEAR, KERNEL_POLY, KERNEL_RBF, KERNEL_SIGMOID } Kernel;

typedef struct {
  Kernel kernel;
  double gamma, coef0, degree;
  const float *vectors, *coefficients, *rho, *prob_a, *prob_b;
  const gint64 *per_class; /* [n_classes]; of a classifier with vectors */
  guint n_vectors, width, n_classes, n_pairs;
  guint n_scores; /* columns of the output */
  gboolean couples, one_class;
  PipelineTransform transform;
  double *kernels;               /* [n_vectors], scratch of one row */
  float *pairs, *r, *q, *qp, *p; /* [n_pairs], [n_classes²] twice, [n_classes] twice: scratch of one row */
  guint *votes;                  /* [n_classes] */
} SvmState;

static void svm_free(gpointer data)
{
  SvmState *state = data;
  gpointer parts[] = {state->kernels, state->pairs, state->r, state->q, state->qp, state->p, state->votes};
  for (gsize i = 0; i < G_N_ELEMENTS(parts); i++) g_free(parts[i]);
  g_free(state);
}

/* --- reading
 * ------------------------------------------------------------------------------------------------------------ */

static gboolean read_kernel(const PipelineCall *call, SvmState *state, GError **error)
{
  static const gchar *const names[] = {"LINEAR", "POLY", "RBF", "SIGMOID"};
  guint n_parameters;
  const float *parameters = pipeline_operator_floats(call, "kernel_params", &n_parameters);
  g_autofree gchar *name = onnx_node_copy_string(call->node, "kernel_type", "LINEAR");
  guint kernel = 0;
  while (kernel < G_N_ELEMENTS(names) && strcmp(names[kernel], name) != 0) kernel++;
  if (kernel == G_N_ELEMENTS(names)) return pipeline_operator_fail(error, "kernel_type '%s' is not read", name);
  if (n_parameters != 0 && n_parameters != 3)
    return pipeline_operator_fail(error, "it has %u kernel_params instead of gamma, coef0 and degree", n_parameters);
  if (n_parameters == 0 && kernel != KERNEL_LINEAR)
    return pipeline_operator_fail(error, "its kernel %s has no kernel_params", name);
  state->kernel = (Kernel)kernel;
  state->gamma = n_parameters > 0 ? (double)parameters[0] : 0;
  state->coef0 = n_parameters > 0 ? (double)parameters[1] : 0;
  state->degree = n_parameters > 0 ? (double)parameters[2] : 0;
  return TRUE;
}

/* The support vectors and what stands beside each; none: the coefficients are those of the features. */
static gboolean read_vectors(const PipelineCall *call, SvmState *state, gint64 n_vectors, guint n_rows, GError **error)
{
  guint n, n_coefficients, n_rho;
  state->vectors = pipeline_operator_floats(call, "support_vectors", &n);
  state->coefficients = pipeline_operator_floats(call, "coefficients", &n_coefficients);
  state->rho = pipeline_operator_floats(call, "rho", &n_rho);
  if (n_vectors < 0 || n_vectors > n)
    return pipeline_operator_fail(error, "it counts %" G_GINT64_FORMAT " support vectors and holds %u numbers of them",
                                  n_vectors, n);
  state->n_vectors = (guint)n_vectors;
  guint64 length = n_vectors > 0 ? n / (guint64)n_vectors : n_coefficients / n_rows;
  state->width = (guint)length;
  if (length == 0 || (n_vectors > 0 && length * (guint64)n_vectors != n) ||
      (guint64)n_coefficients != (n_vectors > 0 ? (guint64)n_vectors : length) * n_rows)
    return pipeline_operator_fail(error, "its %u coefficients do not fit %u support vectors of %u numbers",
                                  n_coefficients, state->n_vectors, n);
  if (n_vectors == 0) state->kernel = KERNEL_LINEAR;
  guint wanted = n_vectors > 0 ? MAX(state->n_pairs, 1) : 1;
  if (n_rho < wanted) return pipeline_operator_fail(error, "it has %u of %u rho", n_rho, wanted);
  state->kernels = g_new(double, state->n_vectors + 1);
  return TRUE;
}

static gboolean read_probabilities(const PipelineCall *call, SvmState *state, GError **error)
{
  guint n_a, n_b;
  state->prob_a = pipeline_operator_floats(call, "prob_a", &n_a);
  state->prob_b = pipeline_operator_floats(call, "prob_b", &n_b);
  if (n_a != n_b || (n_a != 0 && n_a < state->n_pairs))
    return pipeline_operator_fail(error, "it has %u prob_a and %u prob_b for %u pairs of classes", n_a, n_b,
                                  state->n_pairs);
  state->couples = n_a > 0 && state->n_vectors > 0;
  return TRUE;
}

gboolean pipeline_svm_classifier_prepare(PipelineCall *call, GError **error)
{
  SvmState *state = g_new0(SvmState, 1);
  call->state = state;
  call->state_free = svm_free;
  guint n = pipeline_class_labels_count(call->node), n_per_class;
  if (n < 2 || n > MAX_SVM_CLASSES)
    return pipeline_operator_fail(error, "it has %u class labels; 2 to %u are read", n, MAX_SVM_CLASSES);
  state->n_classes = n;
  state->n_pairs = n * (n - 1) / 2;
  state->per_class = onnx_node_get_ints(call->node, "vectors_per_class", &n_per_class);
  gint64 n_vectors = 0;
  for (guint i = 0; i < n_per_class; i++) {
    if (state->per_class[i] < 0 || state->per_class[i] > G_MAXINT32)
      return pipeline_operator_fail(error, "class %u has %" G_GINT64_FORMAT " support vectors", i, state->per_class[i]);
    n_vectors += state->per_class[i];
  }
  if (n_vectors > 0 && n_per_class != n)
    return pipeline_operator_fail(error, "it counts support vectors of %u classes and has %u", n_per_class, n);
  if (!read_kernel(call, state, error) || !read_vectors(call, state, n_vectors, n_vectors > 0 ? n - 1 : n, error) ||
      !read_probabilities(call, state, error) || !pipeline_transform_read(call->node, &state->transform, error))
    return FALSE;
  state->n_scores = state->couples || n_vectors == 0 || n == 2 ? n : state->n_pairs;
  state->pairs = g_new(float, MAX(state->n_pairs, n));
  state->votes = g_new(guint, n);
  if (!state->couples) return TRUE;
  state->r = g_new(float, (gsize)n *n);
  state->q = g_new(float, (gsize)n *n);
  state->qp = g_new(float, n);
  state->p = g_new(float, n);
  return TRUE;
}

gboolean pipeline_svm_regressor_prepare(PipelineCall *call, GError **error)
{
  SvmState *state = g_new0(SvmState, 1);
  call->state = state;
  call->state_free = svm_free;
  state->n_scores = 1;
  state->one_class = onnx_node_get_int(call->node, "one_class", 0) != 0;
  return pipeline_transform_read(call->node, &state->transform, error) && read_kernel(call, state, error) &&
         read_vectors(call, state, onnx_node_get_int(call->node, "n_supports", 0), 1, error);
}

/* --- scores
 * ------------------------------------------------------------------------------------------------------------- */

static gboolean check_input(const PipelineCall *call, gint64 *rows, GError **error)
{
  const SvmState *state = call->state;
  const PipelineTensor *in = call->inputs[0];
  if (!pipeline_type_is_number(in->type)) return pipeline_operator_fail_type(call, 0, error);
  if (in->n_dims == 0 || in->n_dims > 2 || pipeline_operator_width(in) != state->width)
    return pipeline_operator_fail(error, "its input is no matrix of %u features", state->width);
  *rows = in->n_dims == 2 ? in->dims[0] : 1;
  return TRUE;
}

static double dot(const PipelineTensor *in, gsize start, const float *b, guint width)
{
  double sum = 0;
  for (guint i = 0; i < width; i++) sum += pipeline_element_get_double(in, start + i) * (double)b[i];
  return sum;
}

static double kernel_value(const SvmState *state, const PipelineTensor *in, gsize start, const float *vector)
{
  double sum = 0;
  switch (state->kernel) {
  case KERNEL_RBF:
    for (guint i = 0; i < state->width; i++) {
      double difference = pipeline_element_get_double(in, start + i) - (double)vector[i];
      sum += difference * difference;
    }
    return exp(-state->gamma * sum);
  case KERNEL_POLY:
    return pow(state->gamma * dot(in, start, vector, state->width) + state->coef0, state->degree);
  case KERNEL_SIGMOID:
    return tanh(state->gamma * dot(in, start, vector, state->width) + state->coef0);
  default:
    return dot(in, start, vector, state->width);
  }
}

static void fill_kernels(const SvmState *state, const PipelineTensor *in, gsize row)
{
  for (guint v = 0; v < state->n_vectors; v++)
    state->kernels[v] = kernel_value(state, in, row * state->width, state->vectors + (gsize)v * state->width);
}

static double weigh(const double *kernels, const float *weights, gint64 n)
{
  double sum = 0;
  for (gint64 i = 0; i < n; i++) sum += kernels[i] * (double)weights[i];
  return sum;
}

/* The classifiers of all pairs, and their votes. Row j - 1 of the coefficients holds what class i's vectors weigh
 * against j. */
static void fill_pairs(const SvmState *state)
{
  gsize first_i = 0, pair = 0, n = state->n_vectors;
  memset(state->votes, 0, state->n_classes * sizeof *state->votes);
  for (guint i = 0; i + 1 < state->n_classes; first_i += (gsize)state->per_class[i++]) {
    gsize first_j = first_i + (gsize)state->per_class[i];
    for (guint j = i + 1; j < state->n_classes; first_j += (gsize)state->per_class[j++], pair++) {
      double sum = weigh(state->kernels + first_i, state->coefficients + (j - 1) * n + first_i, state->per_class[i]) +
                   weigh(state->kernels + first_j, state->coefficients + i * n + first_j, state->per_class[j]) +
                   (double)state->rho[pair];
      state->pairs[pair] = (float)sum;
      state->votes[sum > 0 ? i : j]++;
    }
  }
}

/* r [n, n]: P(i | i or j). */
static void fill_pair_probabilities(const SvmState *state)
{
  guint n = state->n_classes, pair = 0;
  for (guint i = 0; i + 1 < n; i++)
    for (guint j = i + 1; j < n; j++, pair++) {
      float z = state->pairs[pair] * state->prob_a[pair] + state->prob_b[pair];
      float p = CLAMP(1 / (1 + expf(z)), 1e-7f, 1 - 1e-7f);
      state->r[i * n + j] = p;
      state->r[j * n + i] = 1 - p;
    }
}

static void fill_coupling(const SvmState *state)
{
  guint n = state->n_classes;
  const float *r = state->r;
  for (guint t = 0; t < n; t++) {
    float diagonal = 0;
    for (guint j = 0; j < n; j++) {
      if (j == t) continue;
      diagonal += r[j * n + t] * r[j * n + t];
      state->q[t * n + j] = -r[j * n + t] * r[t * n + j];
    }
    state->q[t * n + t] = diagonal;
    state->p[t] = 1 / (float)n;
  }
}

/* p Q p; Q p into qp. */
static float multiply_coupling(const SvmState *state)
{
  guint n = state->n_classes;
  float product = 0;
  for (guint t = 0; t < n; t++) {
    state->qp[t] = 0;
    for (guint j = 0; j < n; j++) state->qp[t] += state->q[t * n + j] * state->p[j];
    product += state->p[t] * state->qp[t];
  }
  return product;
}

static void couple(const SvmState *state)
{
  guint n = state->n_classes, rounds = MAX(100, n);
  float bound = 0.005f / (float)n;
  fill_coupling(state);
  for (guint round = 0; round < rounds; round++) {
    float product = multiply_coupling(state), worst = 0;
    for (guint t = 0; t < n; t++) worst = MAX(worst, fabsf(state->qp[t] - product));
    if (worst < bound) return;
    for (guint t = 0; t < n; t++) {
      float step = (product - state->qp[t]) / state->q[t * n + t], scale = 1 + step;
      state->p[t] += step;
      product = (product + step * (step * state->q[t * n + t] + 2 * state->qp[t])) / scale / scale;
      for (guint j = 0; j < n; j++) {
        state->qp[j] = (state->qp[j] + step * state->q[t * n + j]) / scale;
        state->p[j] /= scale;
      }
    }
  }
}

/* --- the operators
 * ------------------------------------------------------------------------------------------------------ */

gboolean pipeline_svm_classifier_infer(PipelineCall *call, GError **error)
{
  const SvmState *state = call->state;
  gint64 rows;
  return check_input(call, &rows, error) &&
         pipeline_output_set(call, 0, pipeline_class_labels_type(call->node), 1, &rows, error) &&
         pipeline_output_set(call, 1, ONNX_TYPE_FLOAT, 2, (gint64[]){rows, state->n_scores}, error);
}

static guint find_best_class(const SvmState *state)
{
  guint best = 0;
  for (guint i = 1; i < state->n_classes; i++)
    if (state->n_vectors > 0 ? state->votes[i] > state->votes[best] : state->pairs[i] > state->pairs[best]) best = i;
  return best;
}

/* Probabilities, else the scores of the pairs (two classes: the one score and its negative), of the classes of a linear
 * model without vectors. */
static void write_scores(const SvmState *state, float *scores)
{
  if (state->couples) {
    fill_pair_probabilities(state);
    couple(state);
    memcpy(scores, state->p, state->n_classes * sizeof *scores);
  } else if (state->n_vectors > 0 && state->n_classes == 2) {
    scores[0] = -state->pairs[0];
    scores[1] = state->pairs[0];
  } else {
    memcpy(scores, state->pairs, state->n_scores * sizeof *scores);
  }
  pipeline_transform_apply(state->transform, scores, state->n_scores);
}

gboolean pipeline_svm_classifier_run(PipelineCall *call, GError **error)
{
  const SvmState *state = call->state;
  const PipelineTensor *in = call->inputs[0];
  PipelineTensor *output = call->n_outputs > 1 ? call->outputs[1] : NULL;
  gsize rows = (gsize)call->outputs[0]->dims[0];
  double work = (double)state->n_vectors * (state->width + state->n_classes) + (double)state->n_classes * state->width;
  if (!pipeline_charge_multiplications(call, (double)rows * work, error)) return FALSE;
  for (gsize row = 0; row < rows; row++) {
    fill_kernels(state, in, row);
    if (state->n_vectors > 0)
      fill_pairs(state);
    else
      for (guint i = 0; i < state->n_classes; i++)
        state->pairs[i] =
            (float)(dot(in, row * state->width, state->coefficients + (gsize)i * state->width, state->width) +
                    (double)state->rho[0]);
    pipeline_class_label_write(call->node, find_best_class(state), call->outputs[0], row);
    if (output != NULL) write_scores(state, (float *)output->data + row * state->n_scores);
  }
  return TRUE;
}

gboolean pipeline_svm_regressor_infer(PipelineCall *call, GError **error)
{
  gint64 rows;
  return check_input(call, &rows, error) &&
         pipeline_output_set(call, 0, ONNX_TYPE_FLOAT, 2, (gint64[]){rows, 1}, error);
}

gboolean pipeline_svm_regressor_run(PipelineCall *call, GError **error)
{
  const SvmState *state = call->state;
  const PipelineTensor *in = call->inputs[0];
  float *out = call->outputs[0]->data;
  gsize rows = (gsize)call->outputs[0]->dims[0];
  if (!pipeline_charge_multiplications(call, (double)rows * state->width * MAX(1, state->n_vectors), error))
    return FALSE;
  for (gsize row = 0; row < rows; row++) {
    fill_kernels(state, in, row);
    double sum = state->n_vectors > 0 ? weigh(state->kernels, state->coefficients, state->n_vectors)
                                      : dot(in, row * state->width, state->coefficients, state->width);
    sum += (double)state->rho[0];
    out[row] = state->one_class ? (sum > 0 ? 1 : -1) : (float)sum;
  }
  return TRUE;
}
