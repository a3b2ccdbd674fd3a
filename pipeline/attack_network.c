#include "pipeline/attack_network.h"

#include <string.h>

/* --- the space ---------------------------------------------------------------------------------------------------- */

PipelineAttackSpace *pipeline_attack_space_new(guint n, const float *gains)
{
  PipelineAttackSpace *space = g_new0(PipelineAttackSpace, 1);
  for (guint i = 0; i < n; i++) pipeline_attack_space_add(space, i, i, gains[i]);
  space->n_features = n;
  return space;
}

void pipeline_attack_space_add(PipelineAttackSpace *space, guint feature, guint column, float gain)
{
  guint n = space->n_entries++;
  space->feature = g_renew(guint, space->feature, n + 1);
  space->column = g_renew(guint, space->column, n + 1);
  space->gain = g_renew(float, space->gain, n + 1);
  space->feature[n] = feature;
  space->column[n] = column;
  space->gain[n] = gain;
  space->n_features = MAX(space->n_features, feature + 1);
}

void pipeline_attack_space_free(PipelineAttackSpace *space)
{
  if (!space) return;
  g_free(space->feature);
  g_free(space->column);
  g_free(space->gain);
  g_free(space);
}

/* --- the attack --------------------------------------------------------------------------------------------------- */

struct _PipelineNetworkAttack {
  PipelinePass *pass;
  const PipelineNetwork *network;
  const PipelineAttackSpace *space;
  const float *x, *targets; /* of the present batch */
  float *points;            /* [rows, n_inputs]: moved rows */
  float *shifts;            /* [rows, n_features] */
  float *input_gradient;    /* [rows, n_inputs] */
  float *output_gradient;   /* [rows, n_outputs] */
  float *gradient;          /* [rows, n_features] */
  float *zeros;             /* [rows, n_features]: the middle of every ball */
};

PipelineNetworkAttack *pipeline_network_attack_new(PipelinePass *pass, const PipelineNetwork *network,
                                                   const PipelineAttackSpace *space)
{
  PipelineNetworkAttack *attack = g_new0(PipelineNetworkAttack, 1);
  gsize rows = pipeline_pass_get_max_rows(pass), features = MAX(1, space->n_features);
  attack->pass = pass;
  attack->network = network;
  attack->space = space;
  attack->points = g_new(float, rows * network->n_inputs);
  attack->shifts = g_new(float, rows *features);
  attack->input_gradient = g_new(float, rows * network->n_inputs);
  attack->output_gradient = g_new(float, rows * network->loss.n_outputs);
  attack->gradient = g_new(float, rows *features);
  attack->zeros = g_new0(float, rows *features);
  return attack;
}

void pipeline_network_attack_free(PipelineNetworkAttack *attack)
{
  if (!attack) return;
  g_free(attack->points);
  g_free(attack->shifts);
  g_free(attack->input_gradient);
  g_free(attack->output_gradient);
  g_free(attack->gradient);
  g_free(attack->zeros);
  g_free(attack);
}

/* to = x + the shifts of each row. */
static void move_rows(const PipelineNetworkAttack *attack, const float *shifts, guint n, float *to)
{
  const PipelineAttackSpace *space = attack->space;
  guint width = attack->network->n_inputs;
  memcpy(to, attack->x, (gsize)n * width * sizeof(float));
  for (guint row = 0; row < n; row++)
    for (guint e = 0; e < space->n_entries; e++)
      to[(gsize)row * width + space->column[e]] +=
          shifts[(gsize)row * space->n_features + space->feature[e]] * space->gain[e];
}

/* The gradient of the mean loss, whose sign is each row's. */
static gboolean answer(gpointer self, const float *points, const guint *rows, guint n, PipelineAttackAnswer *answer,
                       GError **error)
{
  PipelineNetworkAttack *attack = self;
  const PipelineAttackSpace *space = attack->space;
  guint width = attack->network->n_inputs;
  (void)rows; /* a climb asks for the whole batch in order */
  move_rows(attack, points, n, attack->points);
  const float *outputs = pipeline_pass_forward(attack->pass, attack->points, n, error);
  if (!outputs) return FALSE;
  pipeline_loss_evaluate(&attack->network->loss, outputs, attack->targets, NULL, n, attack->output_gradient);
  if (!pipeline_pass_backward(attack->pass, attack->output_gradient, NULL, attack->input_gradient, error)) return FALSE;
  memset(attack->gradient, 0, (gsize)n * space->n_features * sizeof(float));
  for (guint row = 0; row < n; row++)
    for (guint e = 0; e < space->n_entries; e++)
      attack->gradient[(gsize)row * space->n_features + space->feature[e]] +=
          attack->input_gradient[(gsize)row * width + space->column[e]] * space->gain[e];
  answer->gradient = attack->gradient;
  return TRUE;
}

gboolean pipeline_network_attack_run(PipelineNetworkAttack *attack, double epsilon, guint steps, const float *x,
                                     const float *targets, guint n, PipelineRandom *random, float *attacked,
                                     float *shifts, GError **error)
{
  PipelineAttackOptions options;
  pipeline_attack_options_init(&options);
  options.steps = steps;
  const PipelineAttackTarget target = {
      .self = attack, .n_features = attack->space->n_features, .has_gradient = TRUE, .answer = answer};
  const PipelineAttackBall ball = {.n_features = attack->space->n_features, .epsilon = epsilon};
  g_autoptr(PipelineAttackBounds) bounds = pipeline_attack_bounds_new_float(&ball, attack->zeros, n);
  attack->x = x;
  attack->targets = targets;
  if (!pipeline_attack_climb(&options, &target, &ball, bounds, random, attack->shifts, error)) return FALSE;
  move_rows(attack, attack->shifts, n, attacked);
  if (shifts) memcpy(shifts, attack->shifts, (gsize)n * attack->space->n_features * sizeof(float));
  return TRUE;
}
