#include "pipeline/attack.h"

#include <math.h>
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

struct _PipelineAttack {
  PipelinePass *pass;
  const PipelineNetwork *network;
  const PipelineAttackSpace *space;
  float *point, *point_shifts; /* [rows, n_inputs], [rows, n_features]: where the search stands */
  float *best, *best_shifts;   /* what is delivered */
  double *losses, *highest;    /* [rows] */
  float *input_gradient;       /* [rows, n_inputs] */
  float *output_gradient;      /* [rows, n_outputs] */
  float *direction;            /* [n_features] of one row */
};

PipelineAttack *pipeline_attack_new(PipelinePass *pass, const PipelineNetwork *network,
                                    const PipelineAttackSpace *space)
{
  PipelineAttack *attack = g_new0(PipelineAttack, 1);
  gsize rows = pipeline_pass_get_max_rows(pass), features = MAX(1, space->n_features);
  attack->pass = pass;
  attack->network = network;
  attack->space = space;
  attack->point = g_new(float, rows * network->n_inputs);
  attack->best = g_new(float, rows * network->n_inputs);
  attack->point_shifts = g_new(float, rows *features);
  attack->best_shifts = g_new(float, rows *features);
  attack->losses = g_new(double, rows);
  attack->highest = g_new(double, rows);
  attack->input_gradient = g_new(float, rows * network->n_inputs);
  attack->output_gradient = g_new(float, rows * network->loss.n_outputs);
  attack->direction = g_new(float, features);
  return attack;
}

void pipeline_attack_free(PipelineAttack *attack)
{
  if (!attack) return;
  g_free(attack->point);
  g_free(attack->best);
  g_free(attack->point_shifts);
  g_free(attack->best_shifts);
  g_free(attack->losses);
  g_free(attack->highest);
  g_free(attack->input_gradient);
  g_free(attack->output_gradient);
  g_free(attack->direction);
  g_free(attack);
}

/* point = x + the shifts of each row. */
static void move_rows(PipelineAttack *attack, const float *x, guint n)
{
  const PipelineAttackSpace *space = attack->space;
  guint width = attack->network->n_inputs;
  memcpy(attack->point, x, (gsize)n * width * sizeof(float));
  for (guint row = 0; row < n; row++)
    for (guint e = 0; e < space->n_entries; e++)
      attack->point[(gsize)row * width + space->column[e]] +=
          attack->point_shifts[(gsize)row * space->n_features + space->feature[e]] * space->gain[e];
}

static void start_at_random(PipelineAttack *attack, double epsilon, guint n, PipelineRandom *random)
{
  gsize total = (gsize)n * attack->space->n_features;
  for (gsize i = 0; i < total; i++)
    attack->point_shifts[i] = (float)(epsilon * (2 * pipeline_random_uniform(random) - 1));
  for (guint row = 0; row < n; row++) attack->highest[row] = -INFINITY;
}

/* Remembers the rows whose loss here is the highest so far. */
static void keep_worst(PipelineAttack *attack, guint n)
{
  guint width = attack->network->n_inputs, features = attack->space->n_features;
  for (guint row = 0; row < n; row++) {
    if (!(attack->losses[row] > attack->highest[row])) continue;
    attack->highest[row] = attack->losses[row];
    memcpy(attack->best + (gsize)row * width, attack->point + (gsize)row * width, width * sizeof(float));
    memcpy(attack->best_shifts + (gsize)row * features, attack->point_shifts + (gsize)row * features,
           features * sizeof(float));
  }
}

/* One step along the sign of the gradient, back into the ball. */
static void step(PipelineAttack *attack, double epsilon, double size, guint n)
{
  const PipelineAttackSpace *space = attack->space;
  guint width = attack->network->n_inputs;
  for (guint row = 0; row < n; row++) {
    float *shifts = attack->point_shifts + (gsize)row * space->n_features;
    memset(attack->direction, 0, space->n_features * sizeof(float));
    for (guint e = 0; e < space->n_entries; e++)
      attack->direction[space->feature[e]] +=
          attack->input_gradient[(gsize)row * width + space->column[e]] * space->gain[e];
    for (guint f = 0; f < space->n_features; f++) {
      double sign = (attack->direction[f] > 0) - (attack->direction[f] < 0);
      shifts[f] = (float)CLAMP(shifts[f] + size * sign, -epsilon, epsilon);
    }
  }
}

gboolean pipeline_attack_run(PipelineAttack *attack, const PipelineAttackOptions *options, const float *x,
                             const float *targets, guint n, PipelineRandom *random, float *attacked, float *shifts,
                             GError **error)
{
  const PipelineLoss *loss = &attack->network->loss;
  double size = 2.5 * options->epsilon / MAX(1, options->steps);
  start_at_random(attack, options->epsilon, n, random);
  for (guint i = 0;; i++) {
    move_rows(attack, x, n);
    gboolean last = i == options->steps;
    if (last && !options->keep_worst) break;
    const float *outputs = pipeline_pass_forward(attack->pass, attack->point, n, error);
    if (!outputs) return FALSE;
    if (options->keep_worst) {
      pipeline_loss_rows(loss, outputs, targets, n, attack->losses);
      keep_worst(attack, n);
    }
    if (last) break;
    pipeline_loss_evaluate(loss, outputs, targets, NULL, n, attack->output_gradient);
    if (!pipeline_pass_backward(attack->pass, attack->output_gradient, NULL, attack->input_gradient, error))
      return FALSE;
    step(attack, options->epsilon, size, n);
  }
  memcpy(attacked, options->keep_worst ? attack->best : attack->point,
         (gsize)n * attack->network->n_inputs * sizeof(float));
  if (shifts)
    memcpy(shifts, options->keep_worst ? attack->best_shifts : attack->point_shifts,
           (gsize)n * attack->space->n_features * sizeof(float));
  return TRUE;
}
