/* Whole trainings on the device and on the reference. */
#include <math.h>
#include <string.h>

#include "pipeline/graph_fit_internal.h"
#include "tests/gpu/check.h"
#include "tests/gpu/trainings.h"

#define CURVE 2e-3   /* of losses after the same steps, relative */
#define WEIGHTS 2e-3 /* of weights, relative to the largest */

void outcome_clear(Outcome *outcome)
{
  g_free(outcome->parameters);
  g_free(outcome->statistics);
  g_clear_pointer(&outcome->losses, g_array_unref);
  g_clear_error(&outcome->error);
}

/* Numbers for the loss: classes, or one for each output. */
static void set_targets(World *world, const Training *training)
{
  PipelineRandom random;
  gboolean many = world->head.loss->one_target == FALSE;
  guint columns = many ? world->network->outputs : 1;
  pipeline_random_seed(&random, 9);
  g_free(world->targets);
  world->targets = g_new(float, world->data.n_rows *columns);
  for (gsize i = 0; i < world->data.n_rows * columns; i++) {
    double uniform = pipeline_random_uniform(&random);
    gboolean binary = strcmp(world->head.loss->name, "binary") == 0;
    world->targets[i] = world->head.loss->is_class ? (float)floor(uniform * world->network->outputs)
                        : binary                   ? (float)(uniform > 0.5)
                                                   : (float)(4 * uniform - 2);
  }
  world->data.targets = world->targets;
  world->data.n_targets = columns;
  world->head.options.label_smoothing = training->label_smoothing;
}

static void set_options(const Training *training, PipelineGraphFitOptions *options)
{
  pipeline_graph_fit_options_init(options);
  options->epochs = training->epochs;
  options->batch_size = training->batch;
  options->optimiser = pipeline_optimiser_find(training->optimiser != NULL ? training->optimiser : "adamw", NULL);
  options->learning_rate = training->rate > 0 ? training->rate : 2e-3;
  options->clip_norm = training->clip_norm;
  options->clip_value = training->clip_value;
  options->optimiser_options.l2 = training->l2;
  options->average = training->average;
  options->micro_batch = training->micro;
  options->precision = training->precision;
  if (training->loss_scale > 0) options->loss_scale = training->loss_scale;
  if (training->growth_steps > 0) options->growth_steps = training->growth_steps;
  options->average_start = 0.3;
}

/* Step `stop` (0: none) is where the state moves to another fit. */
static gboolean run_steps(World *world, const Training *training, const PipelineGraphFitOptions *options,
                          const PipelineGradientBackend *backend, guint stop, Outcome *outcome)
{
  PipelineGraphFit *fit = pipeline_graph_fit_new(world->graph, world->plan, &world->head, 1, &world->data, options,
                                                 backend, &outcome->error);
  gboolean done = fit != NULL;
  const PipelineGradientMemory *memory = backend->memory;
  if (done && memory->mark != NULL) memory->mark(pipeline_graph_pass_get_device(fit->pass));
  if (done && training->squeeze > 0) memory->limit(pipeline_graph_pass_get_device(fit->pass), training->squeeze);
  for (guint step = 1; done && !pipeline_graph_fit_is_finished(fit); step++) {
    gboolean epoch_done = FALSE;
    const PipelineGraphFitState *state = pipeline_graph_fit_get_state(fit);
    done = pipeline_graph_fit_step(fit, &epoch_done, &outcome->error);
    if (epoch_done) {
      g_array_append_val(outcome->losses, state->train_loss);
      g_array_append_val(outcome->losses, state->validation_loss);
    }
    if (!done || step != stop) continue;
    done = pipeline_graph_fit_pull(fit, &outcome->error);
    PipelineGraphFit *next = pipeline_graph_fit_new(world->graph, world->plan, &world->head, 1, &world->data, options,
                                                    backend, &outcome->error);
    PipelineGraphFitState *to = pipeline_graph_fit_get_state(next), kept = *to;
    float *arrays[][2] = {{kept.parameters, state->parameters},
                          {kept.m, state->m},
                          {kept.v, state->v},
                          {kept.average, state->average},
                          {kept.best, state->best}};
    for (guint i = 0; i < G_N_ELEMENTS(arrays); i++)
      if (arrays[i][0] != NULL) memcpy(arrays[i][0], arrays[i][1], state->n_parameters * sizeof(float));
    float *small[][2] = {{kept.statistics, state->statistics}, {kept.best_statistics, state->best_statistics}};
    for (guint i = 0; i < 2; i++) memcpy(small[i][0], small[i][1], state->n_statistics * sizeof(float));
    *to = *state;
    to->parameters = kept.parameters, to->m = kept.m, to->v = kept.v, to->average = kept.average, to->best = kept.best;
    to->statistics = kept.statistics, to->best_statistics = kept.best_statistics;
    to->average_statistics = kept.average_statistics;
    done = done && pipeline_graph_fit_restore(next, &outcome->error);
    pipeline_graph_fit_free(fit);
    fit = next;
  }
  if (done) {
    const PipelineGraphFitState *state = pipeline_graph_fit_get_state(fit);
    outcome->n = state->n_parameters;
    outcome->replayed = pipeline_graph_fit_get_replayed(fit);
    outcome->micro_batch = state->micro_batch;
    outcome->loss_scale = state->loss_scale;
    outcome->skipped = state->skipped_steps;
    if (pipeline_graph_fit_get_memory(fit) != NULL) outcome->memory = *pipeline_graph_fit_get_memory(fit);
    if (memory->read != NULL) memory->read(pipeline_graph_pass_get_device(fit->pass), &outcome->room);
    outcome->n_statistics = state->n_statistics;
    outcome->parameters = g_memdup2(state->parameters, state->n_parameters * sizeof(float));
    outcome->statistics = g_memdup2(state->statistics, state->n_statistics * sizeof(float));
  }
  pipeline_graph_fit_free(fit);
  return done;
}

gboolean training_run(const Training *training, const PipelineGradientBackend *backend, guint stop, Outcome *outcome)
{
  *outcome = (Outcome){.losses = g_array_new(FALSE, FALSE, sizeof(double))};
  g_autoptr(World) world =
      network_world_new(network_find(training->network), training->rows, training->rows / 4, &outcome->error);
  PipelineGraphFitOptions options;
  if (world == NULL) return FALSE;
  g_autofree float *weights = g_new(float, training->rows), *classes = g_new(float, 16);
  for (guint i = 0; i < training->rows; i++) weights[i] = 0.5f + (float)(i % 3);
  for (guint i = 0; i < 16; i++) classes[i] = 1.0f + (float)(i % 4) / 4;
  if (training->loss != NULL) {
    world->head.loss = pipeline_graph_loss_find(training->loss, NULL);
    set_targets(world, training);
  }
  if (training->weighted) {
    world->data.weights = weights;
    world->head.options.class_weights = classes;
  }
  set_options(training, &options);
  return run_steps(world, training, &options, backend, stop, outcome);
}

double outcome_compare(const float *a, const float *b, gsize n)
{
  double worst = 0, largest = 1e-6;
  for (gsize i = 0; i < n; i++) {
    double difference = fabs((double)a[i] - (double)b[i]);
    worst = isnan(difference) ? INFINITY : MAX(worst, difference);
    largest = MAX(largest, fabs((double)b[i]));
  }
  return worst / largest;
}

gchar *training_describe(const Training *t)
{
  return g_strdup_printf("training %s %s %s%s%s%s", t->network, t->optimiser != NULL ? t->optimiser : "",
                         t->loss != NULL ? t->loss : "", t->weighted ? " weighted" : "",
                         t->micro > 0 ? " in passes" : "", t->precision == PIPELINE_PRECISION_BFLOAT16 ? " bf16" : "");
}

double outcome_compare_losses(const Outcome *there, const Outcome *here)
{
  double curve = here->losses->len == there->losses->len ? 0 : INFINITY;
  for (guint i = 0; i < here->losses->len && !isinf(curve); i++) {
    double a = g_array_index(there->losses, double, i), b = g_array_index(here->losses, double, i);
    curve = MAX(curve, isnan(a - b) ? INFINITY : fabs(a - b) / MAX(fabs(b), 1e-3));
  }
  return curve;
}

/* The reference takes whole batches. */
static void check_against_reference(const Training *training, const PipelineGradientBackend *backend)
{
  Outcome there, here;
  g_autofree gchar *what = training_describe(training);
  Training whole = *training;
  whole.micro = 0;
  gboolean done = training_run(training, backend, 0, &there) &&
                  training_run(&whole, &pipeline_gradient_backend_reference, 0, &here);
  if (!done) {
    check_that(FALSE, "%s: %s", what, there.error != NULL ? there.error->message : "the reference failed");
    outcome_clear(&there);
    return;
  }
  double curve = outcome_compare_losses(&there, &here);
  double weights = outcome_compare(there.parameters, here.parameters, here.n);
  double statistics = outcome_compare(there.statistics, here.statistics, here.n_statistics);
  check_that(here.losses->len == there.losses->len && curve <= CURVE && weights <= WEIGHTS && statistics <= WEIGHTS,
             "%s: losses of %u epochs within %.2g, weights within %.2g, statistics within %.2g of the reference's",
             what, here.losses->len / 2, curve, weights, statistics);
  outcome_clear(&there);
  outcome_clear(&here);
}

gboolean outcome_is_same(const Outcome *a, const Outcome *b)
{
  return a->n == b->n && memcmp(a->parameters, b->parameters, a->n * sizeof(float)) == 0 &&
         memcmp(a->statistics, b->statistics, a->n_statistics * sizeof(float)) == 0 &&
         a->losses->len == b->losses->len &&
         memcmp(a->losses->data, b->losses->data, a->losses->len * sizeof(double)) == 0;
}

/* Steps that are recorded once and replayed: as many, and with the same results, as the test wants. */
static void check_replays(const gchar *name, const PipelineGradientBackend *backend)
{
  const Training training = {name, "momentum", NULL, .batch = 8, .epochs = 2, .rows = 80, .rate = 0.01};
  Outcome there, here;
  gboolean done = training_run(&training, backend, 0, &there) &&
                  training_run(&training, &pipeline_gradient_backend_reference, 0, &here);
  double weights = done ? outcome_compare(there.parameters, here.parameters, here.n) : INFINITY;
  check_that(done && there.replayed >= 5 && weights <= WEIGHTS, "%s: %u of 16 steps are replayed, weights within %.2g",
             name, (guint)there.replayed, weights);
  outcome_clear(&there);
  if (done) outcome_clear(&here);
}

static void check_repeats(const Training *training, const PipelineGradientBackend *backend)
{
  Outcome first, second, third;
  g_autofree gchar *what = training_describe(training);
  gboolean done = training_run(training, backend, 0, &first);
  done = training_run(training, backend, 0, &second) && done;
  done = training_run(training, backend, 5, &third) && done;
  check_that(done && outcome_is_same(&first, &second), "%s: twice the same bits (%u steps replayed)", what,
             (guint)first.replayed);
  check_that(done && outcome_is_same(&first, &third), "%s: the same bits when continued after step 5", what);
  outcome_clear(&first);
  outcome_clear(&second);
  outcome_clear(&third);
}

/* A learning rate that no training survives, after some good steps. */
static void check_divergence(const PipelineGradientBackend *backend)
{
  const Training training = {"mlp", "sgd", NULL, .batch = 16, .epochs = 6, .rows = 64, .rate = 1e30};
  Outcome outcome;
  gboolean done = training_run(&training, backend, 0, &outcome);
  check_that(!done && g_error_matches(outcome.error, PIPELINE_ERROR, PIPELINE_ERROR_DIVERGED),
             "a training that diverges says so: %s", outcome.error != NULL ? outcome.error->message : "it did not");
  outcome_clear(&outcome);
}

static const Training trainings[] = {
    {"mlp", "sgd", NULL, .batch = 16, .epochs = 2, .rows = 64, .rate = 0.05},
    {"mlp", "momentum", NULL, .batch = 16, .epochs = 2, .rows = 64, .rate = 0.05, .clip_norm = 0.1},
    {"mlp", "nesterov", NULL, .batch = 16, .epochs = 2, .rows = 64, .rate = 0.05, .l2 = 0.01},
    {"mlp", "rmsprop", NULL, .batch = 16, .epochs = 2, .rows = 64, .clip_value = 0.01},
    {"mlp", "adam", NULL, .batch = 16, .epochs = 2, .rows = 60, .average = PIPELINE_AVERAGE_EMA},
    {"mlp", "adamw", NULL, .batch = 16, .epochs = 3, .rows = 60, .average = PIPELINE_AVERAGE_SWA},
    {"small-lstm", NULL, "cross-entropy", .batch = 8, .epochs = 2, .rows = 40, .label_smoothing = 0.1,
     .weighted = TRUE},
    {"small-lstm", NULL, "focal", .batch = 8, .epochs = 2, .rows = 40},
    {"small-lstm", NULL, "binary", .batch = 8, .epochs = 2, .rows = 40, .weighted = TRUE},
    {"small-lstm", NULL, "squared", .batch = 8, .epochs = 2, .rows = 40},
    {"small-lstm", NULL, "huber", .batch = 8, .epochs = 2, .rows = 40},
    {"small-lstm", NULL, "quantile", .batch = 8, .epochs = 2, .rows = 40},
    {"lenet", "adamw", NULL, .batch = 8, .epochs = 1, .rows = 32},
    {"small-resnet", "momentum", NULL, .batch = 6, .epochs = 1, .rows = 16, .rate = 0.01},
    /* not adam: the bias of keys has no gradient but rounding, which adam makes as large as the others */
    {"small-decoder", "momentum", NULL, .batch = 8, .epochs = 2, .rows = 32, .rate = 0.05},
    {"small-transformer", "momentum", NULL, .batch = 8, .epochs = 2, .rows = 32, .rate = 0.05},
    {"small-transformer", "momentum", NULL, .batch = 40, .epochs = 2, .rows = 50, .rate = 0.05}, /* sums in parts */
    {"mlp", "adam", NULL, .batch = 16, .epochs = 2, .rows = 60, .micro = 5},
    {"small-lstm", "momentum", "cross-entropy", .batch = 8, .epochs = 2, .rows = 40, .micro = 3, .weighted = TRUE},
};

void check_trainings(const PipelineGradientBackend *backend)
{
  for (guint i = 0; i < G_N_ELEMENTS(trainings); i++) check_against_reference(&trainings[i], backend);
  const Training repeated[] = {{"mlp", "adam", NULL, .batch = 8, .epochs = 3, .rows = 80},
                               {"small-transformer", "adamw", NULL, .batch = 8, .epochs = 2, .rows = 32},
                               {"small-resnet", "momentum", NULL, .batch = 2, .epochs = 1, .rows = 16, .rate = 0.01}};
  for (guint i = 0; i < G_N_ELEMENTS(repeated); i++) check_repeats(&repeated[i], backend);
  const gchar *const replayed[] = {"mlp", "dropout", "small-transformer", "small-lstm", "small-decoder"};
  for (guint i = 0; i < G_N_ELEMENTS(replayed); i++) check_replays(replayed[i], backend);
  check_divergence(backend);
}
