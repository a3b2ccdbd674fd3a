#include "pipeline/job_internal.h"

#define JOBS_MAXIMUM 1000 /* looked at */
#define RATES_MAXIMUM 20  /* newest finished jobs of the kind that count */
#define US_MAXIMUM 1e15

/* Microseconds a row; 0: the job says too little. */
static double rate_of(const RegistryJob *job)
{
  json_t *result = job->result != NULL ? json_loads(job->result, JSON_REJECT_DUPLICATES, NULL) : NULL;
  double rows = (double)json_integer_value(json_object_get(result, "rows")) +
                (double)json_integer_value(json_object_get(result, "holdout"));
  json_decref(result);
  gint64 duration = job->finished_at - job->started_at;
  return rows > 0 && duration > 0 && job->started_at > 0 ? (double)duration / rows : 0;
}

static gint compare_rates(gconstpointer a, gconstpointer b)
{
  double left = *(const double *)a, right = *(const double *)b;
  return left < right ? -1 : left > right;
}

gint64 pipeline_job_predict_us(RegistryStore *store, const gchar *kind, guint64 rows, GError **error)
{
  g_autoptr(GPtrArray) jobs = registry_job_list(store, NULL, "done", JOBS_MAXIMUM, error);
  if (jobs == NULL) return 0;
  g_autoptr(GArray) rates = g_array_new(FALSE, FALSE, sizeof(double));
  for (guint i = jobs->len; i > 0 && rates->len < RATES_MAXIMUM; i--) {
    const RegistryJob *job = g_ptr_array_index(jobs, i - 1);
    double rate = g_strcmp0(job->kind, kind) == 0 ? rate_of(job) : 0;
    if (rate > 0) g_array_append_val(rates, rate);
  }
  if (rates->len == 0) return 0;
  g_array_sort(rates, compare_rates);
  return (gint64)MIN(g_array_index(rates, double, rates->len / 2) * (double)rows, US_MAXIMUM);
}
