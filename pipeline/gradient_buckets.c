#include "pipeline/gradient_buckets.h"

typedef struct {
  gsize offset, n;  /* elements */
  guint n_parts;    /* parameters */
  guint n_waiting;  /* of them, in this pass */
  PipelineSum *sum; /* under way, or NULL */
} Bucket;

struct _PipelineGradientBuckets {
  PipelineCommunicator *communicator;
  float *gradients;
  GArray *buckets;  /* of Bucket, the end of the parameters first */
  guint *bucket_of; /* [n parameters] */
  guint n_started;  /* of this pass */
};

static Bucket *get_bucket(const PipelineGradientBuckets *buckets, guint index)
{
  return &g_array_index(buckets->buckets, Bucket, index);
}

PipelineGradientBuckets *pipeline_gradient_buckets_new(PipelineCommunicator *communicator, float *gradients,
                                                       const gsize *sizes, guint n, gsize elements)
{
  PipelineGradientBuckets *buckets = g_new0(PipelineGradientBuckets, 1);
  gsize end = 0;
  buckets->communicator = communicator;
  buckets->gradients = gradients;
  buckets->buckets = g_array_new(FALSE, TRUE, sizeof(Bucket));
  buckets->bucket_of = g_new(guint, n + 1);
  for (guint i = 0; i < n; i++) end += sizes[i];
  for (guint i = n; i-- > 0;) {
    Bucket *last = buckets->buckets->len > 0 ? get_bucket(buckets, buckets->buckets->len - 1) : NULL;
    if (last == NULL || last->n >= elements) {
      g_array_set_size(buckets->buckets, buckets->buckets->len + 1);
      last = get_bucket(buckets, buckets->buckets->len - 1);
    }
    end -= sizes[i];
    last->offset = end;
    last->n += sizes[i];
    last->n_waiting = ++last->n_parts;
    buckets->bucket_of[i] = buckets->buckets->len - 1;
  }
  return buckets;
}

void pipeline_gradient_buckets_free(PipelineGradientBuckets *buckets)
{
  if (buckets == NULL) return;
  g_array_unref(buckets->buckets);
  g_free(buckets->bucket_of);
  g_free(buckets);
}

guint pipeline_gradient_buckets_count(const PipelineGradientBuckets *buckets)
{
  return buckets->buckets->len;
}

gboolean pipeline_gradient_buckets_ready(PipelineGradientBuckets *buckets, guint index, GError **error)
{
  get_bucket(buckets, buckets->bucket_of[index])->n_waiting--;
  for (guint i = 0; i < buckets->n_started; i++)
    if (!pipeline_communicator_poll(buckets->communicator, &get_bucket(buckets, i)->sum, error)) return FALSE;
  /* In their order, which is the same everywhere. */
  while (buckets->n_started < buckets->buckets->len && get_bucket(buckets, buckets->n_started)->n_waiting == 0) {
    Bucket *bucket = get_bucket(buckets, buckets->n_started++);
    if (!pipeline_communicator_start(buckets->communicator, PIPELINE_SUM_FLOATS, buckets->gradients + bucket->offset,
                                     bucket->n, &bucket->sum, error))
      return FALSE;
  }
  return TRUE;
}

gboolean pipeline_gradient_buckets_finish(PipelineGradientBuckets *buckets, GError **error)
{
  g_return_val_if_fail(buckets->n_started == buckets->buckets->len, FALSE);
  for (guint i = 0; i < buckets->buckets->len; i++) {
    Bucket *bucket = get_bucket(buckets, i);
    if (!pipeline_communicator_wait(buckets->communicator, &bucket->sum, error)) return FALSE;
    bucket->n_waiting = bucket->n_parts;
  }
  buckets->n_started = 0;
  return TRUE;
}
