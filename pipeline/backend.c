#include "pipeline/backend.h"

#include <math.h>
#include <string.h>

const PipelineBackend *const pipeline_backends[] = {
    &pipeline_backend_onednn,
    &pipeline_backend_reference,
    NULL,
};

static gboolean is_available(const PipelineBackend *backend, GError **error)
{
  return backend->is_available == NULL || backend->is_available(error);
}

static const PipelineBackend *find_best(gboolean row_exact)
{
  const PipelineBackend *best = &pipeline_backend_reference;
  for (guint i = 0; pipeline_backends[i] != NULL; i++) {
    const PipelineBackend *backend = pipeline_backends[i];
    if (backend->rank > best->rank && (backend->row_exact || !row_exact) && is_available(backend, NULL)) best = backend;
  }
  return best;
}

const PipelineBackend *pipeline_backend_find(const gchar *name, gboolean row_exact, GError **error)
{
  if (name == NULL) return find_best(row_exact);
  g_autoptr(GString) known = g_string_new("");
  for (guint i = 0; pipeline_backends[i] != NULL; i++) {
    const PipelineBackend *backend = pipeline_backends[i];
    if (strcmp(backend->name, name) == 0) return is_available(backend, error) ? backend : NULL;
    g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", backend->name);
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "there is no backend '%s' for prediction; known: %s", name,
              known->str);
  return NULL;
}

/* Deterministic numbers in [-1, 1). */
static void fill(float *values, gsize n, guint32 seed)
{
  for (gsize i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    values[i] = (float)(seed >> 8) * 0x1p-23f - 1.0f;
  }
}

/* Largest |difference| / Σ|a||b| over the elements of one product. */
static double compare_one(const PipelineBackend *backend, const PipelineGemm *shape, GError **error)
{
  gsize m = shape->m, n = shape->n, k = shape->k;
  g_autofree float *a = g_new(float, m *k), *b = g_new(float, k *n), *c = g_new(float, m *n),
                   *expected = g_new(float, m *n);
  fill(a, m * k, 1);
  fill(b, k * n, 2);
  fill(c, m * n, 3);
  memcpy(expected, c, m * n * sizeof(float));
  PipelineGemm gemm = *shape;
  gemm.a = a, gemm.b = b, gemm.c = c, gemm.ldc = n;
  gemm.lda = gemm.transpose_a ? m : k;
  gemm.ldb = gemm.transpose_b ? k : n;
  if (!backend->gemm(&gemm, error)) return -1;
  double worst = 0;
  for (gsize i = 0; i < m; i++)
    for (gsize j = 0; j < n; j++) {
      double sum = 0, scale = 0;
      for (gsize p = 0; p < k; p++) {
        double x = gemm.transpose_a ? a[p * m + i] : a[i * k + p], y = gemm.transpose_b ? b[j * k + p] : b[p * n + j];
        sum += x * y;
        scale += fabs(x * y);
      }
      sum = (double)gemm.alpha * sum + (double)gemm.beta * expected[i * n + j];
      worst = MAX(worst, fabs(sum - c[i * n + j]) / (scale + fabs((double)expected[i * n + j]) + 1e-30));
    }
  return worst;
}

double pipeline_backend_compare(const PipelineBackend *backend, GError **error)
{
  static const gsize sizes[][3] = {{1, 1, 1}, {1, 64, 6}, {3, 5, 7}, {4, 8, 16}, {17, 33, 9}, {64, 2, 64}};
  double worst = 0;
  for (gsize s = 0; s < G_N_ELEMENTS(sizes); s++)
    for (guint form = 0; form < 8; form++) {
      PipelineGemm shape = {.m = sizes[s][0],
                            .n = sizes[s][1],
                            .k = sizes[s][2],
                            .transpose_a = form & 1,
                            .transpose_b = (form & 2) != 0,
                            .alpha = form & 4 ? 0.5f : 1.0f,
                            .beta = form & 4 ? 1.0f : 0.0f};
      double difference = compare_one(backend, &shape, error);
      if (difference < 0) return -1;
      worst = MAX(worst, difference);
    }
  return worst;
}
