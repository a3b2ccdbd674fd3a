/* Steps of gradient descent, learning rates over time, first weights: three visible tables (graph_optimiser.c,
 * graph_schedule.c, graph_initialiser.c). All are plain functions on float arrays. */
#pragma once

#include "pipeline/error.h"
#include "pipeline/trainer_random.h"

G_BEGIN_DECLS

/* --- optimisers --------------------------------------------------------------------------------------------------- */

typedef struct {
  double momentum;       /* of sgd's variants; .9 */
  double beta_1, beta_2; /* of adam: .9, .999; rmsprop's decay is beta_2 (.99 is usual) */
  double epsilon;        /* 1e-8 */
  double weight_decay;   /* of adamw: decoupled, times the learning rate */
  double l1, l2;         /* added to the gradient: l1 · sign(w) + l2 · w */
} PipelineOptimiserOptions;
void pipeline_optimiser_options_init(PipelineOptimiserOptions *options);

/* A stretch of parameters with its state. */
typedef struct {
  float *w, *m, *v; /* weights; first and second memory (those that the optimiser has) */
  const float *g;
  gsize n;
  gboolean decays; /* regularised */
  double rate;
  guint64 step; /* from 1 */
} PipelineOptimiserStep;

typedef struct {
  const gchar *name, *summary;
  guint n_memories; /* 0, 1 (m), 2 (m and v) */
  void (*step)(const PipelineOptimiserOptions *options, const PipelineOptimiserStep *step);
} PipelineOptimiser;
extern const PipelineOptimiser pipeline_optimisers[]; /* ends with name NULL */
const PipelineOptimiser *pipeline_optimiser_find(const gchar *name, GError **error);

/* Euclidean norm, in double. */
double pipeline_gradient_norm(const float *g, gsize n);
/* Scales to at most that norm (0: not), then cuts every element to ±value (0: not). Returns the norm before. */
double pipeline_gradient_clip(float *g, gsize n, double norm, double value);

/* --- learning-rate schedules ----------------------------------------------------------------------------------------
 */

typedef struct {
  guint64 warm_up; /* steps of a straight rise from 0 in front of any schedule */
  double period;   /* step: share of the training between falls; .3333 */
  double gamma;    /* step: factor of a fall, exponential: of the whole training, plateau: of a fall; .1 */
  double floor;    /* cosine, one-cycle: last factor; .01 */
  guint patience;  /* plateau: epochs without a better loss; 3 */
} PipelineScheduleOptions;
void pipeline_schedule_options_init(PipelineScheduleOptions *options);

typedef struct {
  const gchar *name, *summary;
  /* Factor of the learning rate at progress in [0, 1] of all steps; falls: of the plateau so far. */
  double (*factor)(const PipelineScheduleOptions *options, double progress, guint falls);
} PipelineSchedule;
extern const PipelineSchedule pipeline_schedules[]; /* ends with name NULL */
const PipelineSchedule *pipeline_schedule_find(const gchar *name, GError **error);
/* Factor at step `step` (from 0) of n_steps. */
double pipeline_schedule_factor(const PipelineSchedule *schedule, const PipelineScheduleOptions *options, guint64 step,
                                guint64 n_steps, guint falls);

/* --- first weights --------------------------------------------------------------------------------------------------
 */

typedef struct {
  const gchar *name, *summary;
  gboolean normal;                                 /* else uniform */
  double (*spread)(double fan_in, double fan_out); /* standard deviation */
} PipelineInitialiser;
extern const PipelineInitialiser pipeline_initialisers[]; /* ends with name NULL */
const PipelineInitialiser *pipeline_initialiser_find(const gchar *name, GError **error);
void pipeline_initialiser_fill(const PipelineInitialiser *initialiser, gsize fan_in, gsize fan_out,
                               PipelineRandom *random, float *values, gsize n);
/* Standard normal (Box and Muller 1958). */
double pipeline_random_normal(PipelineRandom *random);

G_END_DECLS
