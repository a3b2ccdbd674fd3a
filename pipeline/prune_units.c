/* Whole units: which, by norm or activation, and the smaller graph. */
#include <math.h>

#include "onnx/compress.h"
#include "pipeline/activations.h"
#include "pipeline/prune_internal.h"

/* Scores of all units, by layer. */
typedef struct {
  GPtrArray *layers; /* of OnnxUnits* */
  GPtrArray *scores; /* of double* [units] */
  GPtrArray *kept;   /* of gboolean* [units] */
} Ranking;

typedef struct {
  const Ranking *ranking;
} Watching;

/* Sums of absolute values by unit. */
static gboolean see(guint value, const PipelineTensor *tensor, gpointer data, GError **error)
{
  const Ranking *ranking = ((const Watching *)data)->ranking;
  const OnnxUnits *units = g_ptr_array_index(ranking->layers, value);
  double *scores = g_ptr_array_index(ranking->scores, value);
  guint axis = units->image ? 1 : tensor->n_dims - 1;
  gsize inner = 1;
  if (tensor->n_dims < 2 || (gsize)tensor->dims[axis] != units->n_units) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "the activation '%s' does not have %u units",
                units->activation, units->n_units);
    return FALSE;
  }
  for (guint d = axis + 1; d < tensor->n_dims; d++) inner *= (gsize)tensor->dims[d];
  const float *x = tensor->data;
  for (gsize i = 0; i < tensor->n; i++) scores[i / inner % units->n_units] += fabs((double)x[i]);
  return TRUE;
}

static gboolean score(Ranking *ranking, const OnnxGraph *graph, const DriftSchema *schema, const DriftTable *table,
                      const PipelinePruneOptions *options, GError **error)
{
  for (guint l = 0; l < ranking->layers->len; l++) {
    const OnnxUnits *units = g_ptr_array_index(ranking->layers, l);
    g_ptr_array_add(ranking->scores,
                    options->activation ? g_new0(double, units->n_units) : onnx_units_norms(graph, units));
  }
  if (!options->activation) return TRUE;
  g_autofree const gchar **names = g_new0(const gchar *, ranking->layers->len + 1);
  for (guint l = 0; l < ranking->layers->len; l++)
    names[l] = ((const OnnxUnits *)g_ptr_array_index(ranking->layers, l))->activation;
  g_autoptr(GBytes) bytes = pipeline_prune_to_bytes(graph, error);
  g_autoptr(PipelineModel) model = bytes != NULL ? pipeline_model_load(bytes, schema, NULL, error) : NULL;
  Watching watching = {ranking};
  guint64 n_rows;
  return model != NULL &&
         pipeline_activations_observe(model, table, options->max_rows, names, see, &watching, &n_rows, error);
}

typedef struct {
  double score;
  guint layer, unit;
} Candidate;

static gint compare_candidates(gconstpointer a, gconstpointer b)
{
  const Candidate *x = a, *y = b;
  if (x->score != y->score) return x->score < y->score ? -1 : 1;
  return x->layer != y->layer ? (x->layer < y->layer ? -1 : 1) : x->unit < y->unit ? -1 : x->unit > y->unit;
}

static void collect(const Ranking *ranking, guint layer, gboolean relative, GArray *candidates)
{
  const OnnxUnits *units = g_ptr_array_index(ranking->layers, layer);
  const double *scores = g_ptr_array_index(ranking->scores, layer);
  double mean = 0;
  for (guint u = 0; u < units->n_units; u++) mean += scores[u] / units->n_units;
  for (guint u = 0; u < units->n_units; u++) {
    Candidate candidate = {relative && mean > 0 ? scores[u] / mean : scores[u], layer, u};
    g_array_append_val(candidates, candidate);
  }
}

/* The lowest ones go, but the last one of a layer. Returns how many went. */
static guint drop(Ranking *ranking, GArray *candidates, double share)
{
  g_autofree guint *left = g_new(guint, ranking->layers->len);
  guint k = (guint)(share * candidates->len), dropped = 0;
  for (guint l = 0; l < ranking->layers->len; l++)
    left[l] = ((const OnnxUnits *)g_ptr_array_index(ranking->layers, l))->n_units;
  g_array_sort(candidates, compare_candidates);
  for (guint i = 0; i < candidates->len && dropped < k; i++) {
    const Candidate *candidate = &g_array_index(candidates, Candidate, i);
    if (left[candidate->layer] == 1) continue;
    left[candidate->layer]--;
    ((gboolean *)g_ptr_array_index(ranking->kept, candidate->layer))[candidate->unit] = FALSE;
    dropped++;
  }
  return dropped;
}

static guint choose(Ranking *ranking, const PipelinePruneOptions *options)
{
  g_autoptr(GArray) candidates = g_array_new(FALSE, FALSE, sizeof(Candidate));
  guint dropped = 0;
  for (guint l = 0; l < ranking->layers->len; l++) {
    const OnnxUnits *units = g_ptr_array_index(ranking->layers, l);
    gboolean *kept = g_new(gboolean, units->n_units);
    for (guint u = 0; u < units->n_units; u++) kept[u] = TRUE;
    g_ptr_array_add(ranking->kept, kept);
  }
  for (guint l = 0; l < ranking->layers->len; l++) {
    collect(ranking, l, options->global, candidates);
    if (options->global) continue;
    dropped += drop(ranking, candidates, options->share);
    g_array_set_size(candidates, 0);
  }
  return options->global ? drop(ranking, candidates, options->share) : dropped;
}

static GBytes *remove_units(OnnxGraph *graph, Ranking *ranking, const PipelinePruneOptions *options,
                            PipelinePruned *result, GError **error)
{
  if (choose(ranking, options) == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "%g of the units is less than one of any layer: nothing can be removed", options->share);
    return NULL;
  }
  for (guint l = 0; l < ranking->layers->len; l++) {
    const OnnxUnits *units = g_ptr_array_index(ranking->layers, l);
    const gboolean *kept = g_ptr_array_index(ranking->kept, l);
    guint64 left = 0;
    for (guint u = 0; u < units->n_units; u++) left += kept[u] != FALSE;
    onnx_graph_keep_units(graph, units, kept);
    pipeline_pruned_add(result, units->name, units->n_units, left);
  }
  return pipeline_prune_to_bytes(graph, error);
}

static GBytes *shrink(GBytes *onnx, const DriftSchema *schema, const DriftTable *table,
                      const PipelinePruneOptions *options, PipelinePruned *result, GError **error)
{
  g_autoptr(GError) cause = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, &cause);
  if (graph == NULL) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
    return NULL;
  }
  onnx_graph_simplify_for_training(graph);
  g_autoptr(GPtrArray) layers = onnx_graph_find_units(graph), scores = g_ptr_array_new_with_free_func(g_free),
                       kept = g_ptr_array_new_with_free_func(g_free);
  Ranking ranking = {layers, scores, kept};
  if (layers->len == 0) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                        "the model has no layer of units that only the next layer reads (Gemm, MatMul or Conv, then "
                        "activations, pools or normalisation, then Gemm, MatMul or Conv): no unit can be removed");
    return NULL;
  }
  if (!score(&ranking, graph, schema, table, options, error)) return NULL;
  return remove_units(graph, &ranking, options, result, error);
}

GBytes *pipeline_prune_units(GBytes *onnx, const DriftSchema *schema, const DriftTable *table,
                             const PipelineGraphRows *rows, const PipelinePruneOptions *options,
                             PipelineTrainProgressFunc progress, gpointer user_data, PipelinePruned *result,
                             GError **error)
{
  g_autoptr(GBytes) now = shrink(onnx, schema, table, options, result, error);
  PipelineGraphTrainOptions train;
  if (now == NULL || options->epochs == 0) return g_steal_pointer(&now);
  pipeline_prune_train_options(options, &train);
  if (!pipeline_prune_train(&now, rows, &train, progress, user_data, result, error)) return NULL;
  return g_steal_pointer(&now);
}
