#include <math.h>
#include <string.h>

#include "pipeline/graph_optimiser.h"

static double he(double fan_in, double fan_out)
{
  (void)fan_out;
  return sqrt(2 / fan_in);
}

static double glorot(double fan_in, double fan_out)
{
  return sqrt(2 / (fan_in + fan_out));
}

static double lecun(double fan_in, double fan_out)
{
  (void)fan_out;
  return sqrt(1 / fan_in);
}

static double nothing(double fan_in, double fan_out)
{
  (void)fan_in;
  (void)fan_out;
  return 0;
}

/* He et al. 2015, Glorot and Bengio 2010, LeCun et al. 1998. */
const PipelineInitialiser pipeline_initialisers[] = {
    {"he-uniform", "for Relu", FALSE, he},
    {"he-normal", "for Relu", TRUE, he},
    {"glorot-uniform", "for Tanh, Sigmoid and last layers", FALSE, glorot},
    {"glorot-normal", "for Tanh, Sigmoid and last layers", TRUE, glorot},
    {"lecun-uniform", "for Selu", FALSE, lecun},
    {"lecun-normal", "for Selu", TRUE, lecun},
    {"zeros", "for biases", FALSE, nothing},
    {.name = NULL},
};

const PipelineInitialiser *pipeline_initialiser_find(const gchar *name, GError **error)
{
  g_autoptr(GString) known = g_string_new("");
  for (const PipelineInitialiser *row = pipeline_initialisers; row->name != NULL; row++) {
    if (strcmp(row->name, name) == 0) return row;
    g_string_append_printf(known, "%s%s", known->len > 0 ? ", " : "", row->name);
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "there is no initialiser '%s'; known: %s", name,
              known->str);
  return NULL;
}

double pipeline_random_normal(PipelineRandom *random)
{
  double radius = sqrt(-2 * log(1 - pipeline_random_uniform(random)));
  return radius * cos(2 * G_PI * pipeline_random_uniform(random));
}

void pipeline_initialiser_fill(const PipelineInitialiser *initialiser, gsize fan_in, gsize fan_out,
                               PipelineRandom *random, float *values, gsize n)
{
  double spread = initialiser->spread((double)MAX(fan_in, 1), (double)MAX(fan_out, 1));
  for (gsize i = 0; i < n; i++)
    values[i] = (float)(spread * (initialiser->normal ? pipeline_random_normal(random)
                                                      : sqrt(3) * (2 * pipeline_random_uniform(random) - 1)));
}
