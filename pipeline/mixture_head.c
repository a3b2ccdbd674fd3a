#include "pipeline/mixture_internal.h"
#include "pipeline/refit_ridge.h"

#include <math.h>
#include <string.h>

static const double LOWEST = .01, HIGHEST = .99;

PipelineMixtureHead *pipeline_mixture_head_new(guint size, guint n_classes)
{
  PipelineMixtureHead *head = g_new0(PipelineMixtureHead, 1);
  head->size = size;
  head->n_classes = n_classes;
  head->gram = g_new0(double, (gsize)size *size);
  head->right = g_new0(double, (gsize)size *n_classes);
  head->coefficients = g_new0(double, (gsize)size *n_classes);
  return head;
}

void pipeline_mixture_head_free(PipelineMixtureHead *head)
{
  if (head == NULL) return;
  g_free(head->gram);
  g_free(head->right);
  g_free(head->coefficients);
  g_free(head);
}

void pipeline_mixture_head_reset(PipelineMixtureHead *head)
{
  memset(head->gram, 0, (gsize)head->size * head->size * sizeof(double));
  memset(head->right, 0, (gsize)head->size * head->n_classes * sizeof(double));
  memset(head->coefficients, 0, (gsize)head->size * head->n_classes * sizeof(double));
}

void pipeline_mixture_head_add(PipelineMixtureHead *head, const float *hidden, const float *targets, guint n,
                               double forgetting)
{
  guint size = head->size, n_classes = head->n_classes, used = 0;
  g_autofree double *block = g_new(double, (gsize)n *size + 1), *sides = g_new(double, (gsize)n *n_classes + 1);
  for (guint i = 0; i < n; i++) used += !isnan(targets[i]);
  for (guint i = 0, row = 0; i < n; i++) {
    if (isnan(targets[i])) continue;
    double root = pow(forgetting, (double)(used - 1 - row) / 2);
    for (guint k = 0; k + 1 < size; k++)
      block[(gsize)row * size + k] = root * (double)hidden[(gsize)i * (size - 1) + k];
    block[(gsize)row * size + size - 1] = root;
    for (guint c = 0; c < n_classes; c++) sides[(gsize)row * n_classes + c] = (guint)targets[i] == c ? root : -root;
    row++;
  }
  if (used == 0) return;
  pipeline_ridge_add_rows(block, sides, used, size, n_classes, pow(forgetting, used), head->gram, head->right);
}

gboolean pipeline_mixture_head_solve(PipelineMixtureHead *head, double penalty, GError **error)
{
  g_autofree double *gram = g_memdup2(head->gram, (gsize)head->size * head->size * sizeof(double));
  g_autofree double *right = g_memdup2(head->right, (gsize)head->size * head->n_classes * sizeof(double));
  return pipeline_ridge_solve_sums(gram, right, head->size, head->n_classes, penalty, head->coefficients, error);
}

void pipeline_mixture_head_predict(const PipelineMixtureHead *head, const float *hidden, guint n, double *probabilities)
{
  guint width = head->size - 1, n_classes = head->n_classes;
  for (guint i = 0; i < n; i++) {
    double sum = 0, *p = probabilities + (gsize)i * n_classes;
    for (guint c = 0; c < n_classes; c++) {
      const double *w = head->coefficients + (gsize)c * head->size;
      double score = w[width];
      for (guint k = 0; k < width; k++) score += w[k] * (double)hidden[(gsize)i * width + k];
      p[c] = CLAMP((score + 1) / 2, LOWEST, HIGHEST);
      sum += p[c];
    }
    for (guint c = 0; c < n_classes && n_classes > 2; c++) p[c] /= sum;
  }
}
