#include "pipeline/graph_optimiser.h"

#include <math.h>
#include <string.h>

#include "pipeline/wide.h"

void pipeline_optimiser_options_init(PipelineOptimiserOptions *options)
{
  *options = (PipelineOptimiserOptions){
      .momentum = 0.9, .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.01};
}

static float sign(float x)
{
  return x > 0 ? 1.0f : (x < 0 ? -1.0f : 0.0f);
}

/* The gradient of loss and penalties; plain when there are none. */
#define PENALISED(g, w) (l1 == 0 && l2 == 0 ? (g) : (g) + l1 * sign(w) + l2 * (w))
#define PENALTIES                                                                                                      \
  const float l1 = step->decays ? (float)options->l1 : 0, l2 = step->decays ? (float)options->l2 : 0;                  \
  float *restrict w = step->w, *restrict m = step->m, *restrict v = step->v;                                           \
  const float *restrict g = step->g;                                                                                   \
  const float rate = (float)step->rate;                                                                                \
  const gsize n = step->n;                                                                                             \
  (void)m;                                                                                                             \
  (void)v

WIDE static void sgd(const PipelineOptimiserOptions *options, const PipelineOptimiserStep *step)
{
  PENALTIES;
  for (gsize i = 0; i < n; i++) w[i] -= rate * PENALISED(g[i], w[i]);
}

/* Polyak 1964. */
WIDE static void momentum(const PipelineOptimiserOptions *options, const PipelineOptimiserStep *step)
{
  PENALTIES;
  const float mu = (float)options->momentum;
  for (gsize i = 0; i < n; i++) {
    m[i] = mu * m[i] + PENALISED(g[i], w[i]);
    w[i] -= rate * m[i];
  }
}

/* Nesterov 1983 as Sutskever et al. 2013 write it, at the point looked ahead to. */
WIDE static void nesterov(const PipelineOptimiserOptions *options, const PipelineOptimiserStep *step)
{
  PENALTIES;
  const float mu = (float)options->momentum;
  for (gsize i = 0; i < n; i++) {
    float slope = PENALISED(g[i], w[i]);
    m[i] = mu * m[i] + slope;
    w[i] -= rate * (slope + mu * m[i]);
  }
}

/* Tieleman and Hinton 2012. */
WIDE static void rmsprop(const PipelineOptimiserOptions *options, const PipelineOptimiserStep *step)
{
  PENALTIES;
  const float beta = (float)options->beta_2, rest = 1 - beta, epsilon = (float)options->epsilon;
  for (gsize i = 0; i < n; i++) {
    float slope = PENALISED(g[i], w[i]);
    m[i] = beta * m[i] + rest * slope * slope;
    w[i] -= rate * slope / (sqrtf(m[i]) + epsilon);
  }
}

/* Kingma and Ba 2015 (https://arxiv.org/abs/1412.6980). */
WIDE static void adam(const PipelineOptimiserOptions *options, const PipelineOptimiserStep *step)
{
  PENALTIES;
  const float b1 = (float)options->beta_1, b2 = (float)options->beta_2, r1 = 1 - b1, r2 = 1 - b2;
  const float size = (float)(step->rate / (1 - pow(options->beta_1, (double)step->step)));
  const float root = (float)(1 / sqrt(1 - pow(options->beta_2, (double)step->step))), epsilon = (float)options->epsilon;
  (void)rate;
  for (gsize i = 0; i < n; i++) {
    float slope = PENALISED(g[i], w[i]);
    m[i] = b1 * m[i] + r1 * slope;
    v[i] = b2 * v[i] + r2 * slope * slope;
    w[i] -= size * m[i] / (sqrtf(v[i]) * root + epsilon);
  }
}

/* Loshchilov and Hutter 2019 (https://arxiv.org/abs/1711.05101). */
static void adamw(const PipelineOptimiserOptions *options, const PipelineOptimiserStep *step)
{
  const float kept = (float)(1 - step->rate * options->weight_decay);
  for (gsize i = 0; step->decays && options->weight_decay > 0 && i < step->n; i++) step->w[i] *= kept;
  adam(options, step);
}

const PipelineOptimiser pipeline_optimisers[] = {
    {"sgd", "plain gradient descent", 0, sgd},
    {"momentum", "with a running mean of gradients", 1, momentum},
    {"nesterov", "momentum that looks ahead", 1, nesterov},
    {"rmsprop", "each weight at its own scale", 1, rmsprop},
    {"adam", "both of them", 2, adam},
    {"adamw", "adam with decoupled weight decay", 2, adamw},
    {.name = NULL},
};

const PipelineOptimiser *pipeline_optimiser_find(const gchar *name, GError **error)
{
  g_autoptr(GString) known = g_string_new("");
  for (const PipelineOptimiser *row = pipeline_optimisers; row->name != NULL; row++) {
    if (strcmp(row->name, name) == 0) return row;
    g_string_append_printf(known, "%s%s", known->len > 0 ? ", " : "", row->name);
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "there is no optimiser '%s'; known: %s", name, known->str);
  return NULL;
}

#define LANES 16

/* In 16 interleaved sums, so that vectors of any width give the same. */
WIDE double pipeline_gradient_norm(const float *g, gsize n)
{
  double sums[LANES] = {0}, sum = 0;
  gsize whole = n - n % LANES;
  for (gsize i = 0; i < whole; i += LANES)
    for (gsize k = 0; k < LANES; k++) sums[k] += (double)g[i + k] * (double)g[i + k];
  for (gsize i = whole; i < n; i++) sums[i - whole] += (double)g[i] * (double)g[i];
  for (gsize k = 0; k < LANES; k++) sum += sums[k];
  return sqrt(sum);
}

double pipeline_gradient_clip(float *g, gsize n, double norm, double value)
{
  double found = pipeline_gradient_norm(g, n);
  if (norm > 0 && found > norm) {
    float factor = (float)(norm / found);
    for (gsize i = 0; i < n; i++) g[i] *= factor;
  }
  for (gsize i = 0; value > 0 && i < n; i++) g[i] = CLAMP(g[i], -(float)value, (float)value);
  return found;
}
