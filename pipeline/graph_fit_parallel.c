#include "pipeline/graph_fit_parallel.h"

#include "pipeline/gradient_buckets.h"
#include "registry/digest.h"

struct _PipelineFitParallel {
  PipelineCommunicator *communicator;
  PipelineGradientSlice slice;
  PipelineGradientBuckets *buckets;
  guint n_parameters;
  double sums[2]; /* loss, processes that want to end; under way: */
  PipelineSum *sum;
};

/* Of a value that the pass wants: parameters come first. */
static gboolean gradient_is_ready(guint index, gpointer data, GError **error)
{
  PipelineFitParallel *parallel = data;
  return index >= parallel->n_parameters || pipeline_gradient_buckets_ready(parallel->buckets, index, error);
}

gboolean pipeline_fit_parallel_new(PipelineGraphFit *fit, PipelineFitParallel **made, GError **error)
{
  PipelineCommunicator *communicator = fit->options.communicator;
  const GArray *parameters = fit->plan->parameters;
  *made = NULL;
  if (communicator == NULL || communicator->size == 1) return TRUE;
  if (fit->options.harden.method != NULL) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                        "adversarial training is for one process: train without --processes and --parallel");
    return FALSE;
  }
  PipelineFitParallel *parallel = g_new0(PipelineFitParallel, 1);
  g_autofree gsize *sizes = g_new(gsize, parameters->len + 1);
  for (guint i = 0; i < parameters->len; i++) sizes[i] = g_array_index(parameters, PipelineGraphParameter, i).n;
  parallel->communicator = parallel->slice.communicator = communicator;
  parallel->n_parameters = parameters->len;
  parallel->buckets =
      pipeline_gradient_buckets_new(communicator, fit->gradients, sizes, parameters->len, PIPELINE_BUCKET_ELEMENTS);
  pipeline_graph_pass_set_slice(fit->pass, &parallel->slice);
  pipeline_graph_pass_set_ready(fit->pass, gradient_is_ready, parallel);
  *made = parallel;
  return TRUE;
}

void pipeline_fit_parallel_free(PipelineFitParallel *parallel)
{
  if (parallel == NULL) return;
  pipeline_gradient_buckets_free(parallel->buckets);
  g_free(parallel);
}

void pipeline_fit_parallel_cut(PipelineFitParallel *parallel, guint n, guint *first, guint *here)
{
  *first = 0;
  *here = n;
  if (parallel == NULL) return;
  guint64 rank = parallel->communicator->rank, size = parallel->communicator->size;
  PipelineGradientSlice *slice = &parallel->slice;
  slice->all = n;
  slice->first = n * rank / size;
  slice->n = n * (rank + 1) / size - slice->first;
  *first = slice->n > 0 ? (guint)slice->first : 0;
  *here = (guint)MAX(slice->n, 1);
}

double pipeline_fit_parallel_share(const PipelineFitParallel *parallel, const PipelineGraphHead *head, guint columns,
                                   const float *targets, const float *weights, guint n)
{
  if (parallel == NULL) return 1;
  return pipeline_graph_loss_share(head->loss, &head->options, columns, targets, weights, (guint)parallel->slice.first,
                                   (guint)parallel->slice.n, n);
}

gboolean pipeline_fit_parallel_begin(PipelineFitParallel *parallel, double loss, gboolean wants_stop, GError **error)
{
  if (parallel == NULL) return TRUE;
  parallel->sums[0] = loss;
  parallel->sums[1] = wants_stop ? 1 : 0;
  return pipeline_communicator_start(parallel->communicator, PIPELINE_SUM_DOUBLES, parallel->sums,
                                     G_N_ELEMENTS(parallel->sums), &parallel->sum, error);
}

gboolean pipeline_fit_parallel_end(PipelineFitParallel *parallel, double *loss, gboolean *stop, GError **error)
{
  if (parallel == NULL) return TRUE;
  if (!pipeline_gradient_buckets_finish(parallel->buckets, error) ||
      !pipeline_communicator_wait(parallel->communicator, &parallel->sum, error))
    return FALSE;
  *loss = parallel->sums[0];
  *stop = parallel->sums[1] > 0;
  return TRUE;
}

gboolean pipeline_fit_parallel_measures(const PipelineFitParallel *parallel, guint64 chunk)
{
  return parallel == NULL || chunk % parallel->communicator->size == parallel->communicator->rank;
}

gboolean pipeline_fit_parallel_sum(PipelineFitParallel *parallel, double *values, gsize n, GError **error)
{
  return parallel == NULL || pipeline_communicator_sum_doubles(parallel->communicator, values, n, error);
}

gboolean pipeline_fit_parallel_counts(const PipelineFitParallel *parallel)
{
  return parallel == NULL || parallel->slice.n > 0;
}

gboolean pipeline_graph_fit_compare(PipelineGraphFit *fit, GError **error)
{
  const PipelineGraphFitState *state = &fit->state;
  if (fit->parallel == NULL) return TRUE;
  RegistryDigest *digest = registry_digest_new();
  const struct {
    gconstpointer data;
    gsize bytes;
  } parts[] = {{state->parameters, state->n_parameters * sizeof(float)},
               {state->statistics, state->n_statistics * sizeof(float)},
               {&state->random, sizeof state->random},
               {&state->steps, sizeof state->steps},
               {&state->position, sizeof state->position},
               {&state->epoch_loss, sizeof state->epoch_loss},
               {&state->validation_loss, sizeof state->validation_loss}};
  for (guint i = 0; i < G_N_ELEMENTS(parts); i++) registry_digest_update(digest, parts[i].data, parts[i].bytes);
  g_autofree gchar *found = registry_digest_finish(digest);
  g_autofree gchar *what = g_strdup_printf(
      "weights after epoch %u: a checkpoint must lie where all read it, and processors and libraries be alike",
      state->epoch);
  return pipeline_communicator_compare(fit->parallel->communicator, found, what, error);
}
