/* Single weights of least magnitude: which, when, and that they stay 0. */
#include <math.h>
#include <string.h>

#include "pipeline/prune_internal.h"

#define RAISES 32u /* of the share while it grows */

/* Which weights are 0, by the name of their tensor. */
typedef struct {
  const PipelinePruneOptions *options;
  GHashTable *masks;      /* name -> guint8 [elements], 1: pruned; owns both */
  guint64 steps, between; /* over which the share grows, and between two raises; 0: it does not */
} Pruning;

static gint compare_floats(gconstpointer a, gconstpointer b)
{
  float x = *(const float *)a, y = *(const float *)b;
  return x < y ? -1 : x > y;
}

/* The k-th smallest magnitude of the n collected ones (k ≥ 1). Sorts them. */
static float find_threshold(float *sizes, gsize n, gsize k)
{
  qsort(sizes, n, sizeof *sizes, compare_floats);
  return sizes[MIN(k, n) - 1];
}

/* Marks what lies below the threshold, and of what equals it the first ones up to k in all; *marked counts. */
static void mark(const float *weights, gsize n, float threshold, gsize k, gsize *marked, guint8 *mask)
{
  for (gsize i = 0; i < n; i++) mask[i] = fabsf(weights[i]) < threshold;
  for (gsize i = 0; i < n; i++) *marked += mask[i];
  for (gsize i = 0; i < n && *marked < k; i++) {
    if (mask[i] || fabsf(weights[i]) != threshold) continue;
    mask[i] = 1;
    (*marked)++;
  }
}

/* Of several layers ranked together: below the threshold in all of them first, then what equals it. */
static void mark_together(const PipelineGraphPlan *plan, const float *parameters, const Pruning *pruning,
                          float threshold, gsize k)
{
  gsize marked = 0;
  for (guint turn = 0; turn < 2; turn++)
    for (guint i = 0; i < plan->parameters->len; i++) {
      const PipelineGraphParameter *p = &g_array_index(plan->parameters, PipelineGraphParameter, i);
      guint8 *mask = g_hash_table_lookup(pruning->masks, p->name);
      const float *w = parameters + p->offset;
      for (gsize e = 0; mask != NULL && e < p->n; e++) {
        if (turn == 0) mask[e] = fabsf(w[e]) < threshold;
        if (turn == 1 && marked < k && fabsf(w[e]) == threshold)
          mask[e] = 1;
        else if (turn == 1 || !mask[e])
          continue;
        marked++;
      }
    }
}

/* The masks for that share of the present weights; what was 0 already is among the smallest. */
static void choose(const PipelineGraphPlan *plan, const float *parameters, const Pruning *pruning, double share)
{
  g_autoptr(GArray) sizes = g_array_new(FALSE, FALSE, sizeof(float));
  for (guint i = 0; i < plan->parameters->len; i++) {
    const PipelineGraphParameter *p = &g_array_index(plan->parameters, PipelineGraphParameter, i);
    guint8 *mask = g_hash_table_lookup(pruning->masks, p->name);
    const float *w = parameters + p->offset;
    for (gsize e = 0; mask != NULL && e < p->n; e++) {
      float size = fabsf(w[e]);
      g_array_append_val(sizes, size);
    }
    if (pruning->options->global || mask == NULL) continue;
    gsize k = (gsize)(share * (double)p->n), marked = 0;
    memset(mask, 0, p->n);
    if (k > 0) mark(w, p->n, find_threshold((float *)(gpointer)sizes->data, p->n, k), k, &marked, mask);
    g_array_set_size(sizes, 0);
  }
  gsize k = (gsize)(share * (double)sizes->len);
  if (!pruning->options->global || k == 0) return;
  mark_together(plan, parameters, pruning, find_threshold((float *)(gpointer)sizes->data, sizes->len, k), k);
}

static void apply(const PipelineGraphPlan *plan, float *parameters, const Pruning *pruning)
{
  for (guint i = 0; i < plan->parameters->len; i++) {
    const PipelineGraphParameter *p = &g_array_index(plan->parameters, PipelineGraphParameter, i);
    const guint8 *mask = g_hash_table_lookup(pruning->masks, p->name);
    for (gsize e = 0; mask != NULL && e < p->n; e++)
      if (mask[e]) parameters[p->offset + e] = 0;
  }
}

/* After a step of the optimiser (PipelineGraphFitOptions.project). */
static void project(const PipelineGraphPlan *plan, float *parameters, guint64 step, gpointer data)
{
  const Pruning *pruning = data;
  if (pruning->steps > 0 && (step % pruning->between == 0 || step == pruning->steps)) {
    double rest = 1 - MIN(1, (double)step / (double)pruning->steps);
    choose(plan, parameters, pruning, pruning->options->share * (1 - rest * rest * rest));
  }
  apply(plan, parameters, pruning);
}

/* A mask for every tensor of weights; all of them 0. FALSE: fewer weights than the share takes one of. */
static gboolean make_masks(const PipelineGraphPlan *plan, Pruning *pruning, GError **error)
{
  gsize n = 0;
  for (guint i = 0; i < plan->parameters->len; i++) {
    const PipelineGraphParameter *p = &g_array_index(plan->parameters, PipelineGraphParameter, i);
    if (!p->decays) continue;
    g_hash_table_insert(pruning->masks, g_strdup(p->name), g_malloc0(p->n));
    n += p->n;
  }
  if (pruning->options->share * (double)n >= 1) return TRUE;
  g_set_error(
      error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
      "%g of the model's %zu weights (of Gemm, MatMul, Conv, LSTM, GRU) is less than one: nothing can be pruned",
      pruning->options->share, n);
  return FALSE;
}

static float *load(const PipelineGraphPlan *plan, const OnnxGraph *graph)
{
  float *parameters = g_new(float, plan->n_parameters + 1);
  for (guint i = 0; i < plan->parameters->len; i++) {
    const PipelineGraphParameter *p = &g_array_index(plan->parameters, PipelineGraphParameter, i);
    g_autofree float *values = onnx_tensor_to_floats(onnx_graph_find_initialiser(graph, p->name), NULL);
    memcpy(parameters + p->offset, values, p->n * sizeof(float));
  }
  return parameters;
}

/* The graph to train and what of it is trained. */
static OnnxGraph *read_graph(GBytes *onnx, PipelineGraphPlan **plan, GError **error)
{
  g_autoptr(GError) cause = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, &cause);
  if (graph == NULL) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
    return NULL;
  }
  onnx_graph_simplify_for_training(graph);
  *plan = pipeline_graph_plan_new(graph, NULL, error);
  return *plan != NULL ? g_steal_pointer(&graph) : NULL;
}

/* The model's weights pruned at once by the share. */
static GBytes *prune_now(GBytes *onnx, Pruning *pruning, GError **error)
{
  g_autoptr(PipelineGraphPlan) plan = NULL;
  g_autoptr(OnnxGraph) graph = read_graph(onnx, &plan, error);
  if (graph == NULL) return NULL;
  g_hash_table_remove_all(pruning->masks);
  if (!make_masks(plan, pruning, error)) return NULL;
  g_autofree float *parameters = load(plan, graph);
  choose(plan, parameters, pruning, pruning->options->share);
  apply(plan, parameters, pruning);
  for (guint i = 0; i < plan->parameters->len; i++) {
    const PipelineGraphParameter *p = &g_array_index(plan->parameters, PipelineGraphParameter, i);
    if (p->decays) onnx_tensor_set_floats(onnx_graph_find_initialiser(graph, p->name), parameters + p->offset);
  }
  return pipeline_prune_to_bytes(graph, error);
}

/* What is not 0 in the end, layer by layer. */
static gboolean count(GBytes *onnx, PipelinePruned *result, GError **error)
{
  g_autoptr(PipelineGraphPlan) plan = NULL;
  g_autoptr(OnnxGraph) graph = read_graph(onnx, &plan, error);
  if (graph == NULL) return FALSE;
  g_autofree float *parameters = load(plan, graph);
  for (guint i = 0; i < plan->parameters->len; i++) {
    const PipelineGraphParameter *p = &g_array_index(plan->parameters, PipelineGraphParameter, i);
    guint64 left = 0;
    for (gsize e = 0; e < p->n; e++) left += parameters[p->offset + e] != 0;
    if (p->decays) pipeline_pruned_add(result, p->name, p->n, left);
  }
  return TRUE;
}

/* The first half of the epochs: the share grows from 0. The weights of the last step count, not of the best epoch,
 * which would be an early one. */
static gboolean grow(GBytes **onnx, const PipelineGraphRows *rows, Pruning *pruning, guint epochs,
                     PipelineTrainProgressFunc progress, gpointer user_data, PipelinePruned *result, GError **error)
{
  PipelineGraphTrainOptions train;
  pipeline_prune_train_options(pruning->options, &train);
  train.fit.epochs = epochs;
  train.fit.schedule = pipeline_schedule_find("constant", NULL);
  train.fit.project = project;
  train.fit.project_data = pruning;
  train.validation_fraction = 0;
  guint64 batches = (rows->n_rows + train.fit.batch_size - 1) / train.fit.batch_size;
  pruning->steps = batches * epochs;
  pruning->between = MAX(1, pruning->steps / RAISES);
  gboolean done = pipeline_prune_train(onnx, rows, &train, progress, user_data, result, error);
  pruning->steps = 0;
  return done;
}

static GBytes *prune_and_train(GBytes *onnx, const PipelineGraphRows *rows, Pruning *pruning,
                               PipelineTrainProgressFunc progress, gpointer user_data, PipelinePruned *result,
                               GError **error)
{
  const PipelinePruneOptions *options = pruning->options;
  g_autofree gchar *method = NULL, *rule = NULL;
  g_autoptr(GBytes) now = pipeline_calibration_remove(onnx, &method, &rule, error);
  PipelineGraphTrainOptions train;
  if (now == NULL) return NULL;
  /* The masks, and that there is something to prune, before any training. */
  g_autoptr(GBytes) trial = prune_now(now, pruning, error);
  if (trial == NULL) return NULL;
  if (options->epochs > 1 && !grow(&now, rows, pruning, options->epochs / 2, progress, user_data, result, error))
    return NULL;
  GBytes *pruned = prune_now(now, pruning, error);
  if (pruned == NULL) return NULL;
  g_bytes_unref(now);
  now = pruned;
  pipeline_prune_train_options(options, &train);
  train.fit.epochs = options->epochs - options->epochs / 2;
  train.fit.project = project;
  train.fit.project_data = pruning;
  train.calibration = (PipelineCalibrationOptions){method, rule};
  if (!pipeline_prune_train(&now, rows, &train, progress, user_data, result, error)) return NULL;
  return g_steal_pointer(&now);
}

GBytes *pipeline_prune_weights(GBytes *onnx, const PipelineGraphRows *rows, const PipelinePruneOptions *options,
                               PipelineTrainProgressFunc progress, gpointer user_data, PipelinePruned *result,
                               GError **error)
{
  Pruning pruning = {.options = options, .masks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free)};
  g_autoptr(GBytes) bytes = options->epochs > 0
                                ? prune_and_train(onnx, rows, &pruning, progress, user_data, result, error)
                                : prune_now(onnx, &pruning, error);
  g_hash_table_unref(pruning.masks);
  return bytes != NULL && count(bytes, result, error) ? g_steal_pointer(&bytes) : NULL;
}
