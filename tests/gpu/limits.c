/* Products in bfloat16, and trainings for which the device has little memory. */
#include <math.h>
#include <string.h>

#include "tests/gpu/check.h"
#include "tests/gpu/trainings.h"

#define ROUNDED_CURVE                                                                                                  \
  1e-2 /* of losses, relative, to the reference that rounds alike: an operand may round the other way */
#define FLOAT32_CURVE 3e-2 /* to the training in float32 */
#define SAME_CURVE 2e-3    /* in passes instead of whole batches */
#define ESTIMATE 1.3       /* of the measured peak: a factor either way, beside what the device keeps for itself */

static const Training narrow[] = {
    {"mlp", "adam", NULL, .batch = 16, .epochs = 3, .rows = 60, .precision = PIPELINE_PRECISION_BFLOAT16},
    {"lenet", "adamw", NULL, .batch = 8, .epochs = 1, .rows = 32, .precision = PIPELINE_PRECISION_BFLOAT16},
    {"small-resnet", "momentum", NULL, .batch = 6, .epochs = 1, .rows = 16, .rate = 0.01,
     .precision = PIPELINE_PRECISION_BFLOAT16},
    {"grouped", "momentum", NULL, .batch = 6, .epochs = 2, .rows = 24, .rate = 0.01,
     .precision = PIPELINE_PRECISION_BFLOAT16},
    {"small-lstm", "momentum", NULL, .batch = 8, .epochs = 2, .rows = 40, .precision = PIPELINE_PRECISION_BFLOAT16},
    {"small-transformer", "momentum", NULL, .batch = 8, .epochs = 2, .rows = 32, .rate = 0.05,
     .precision = PIPELINE_PRECISION_BFLOAT16, .micro = 3},
};

static void check_narrow(const Training *training, const PipelineGradientBackend *backend)
{
  Outcome there, rounded, wide;
  Training in_float32 = *training;
  g_autofree gchar *what = training_describe(training);
  in_float32.precision = PIPELINE_PRECISION_FLOAT32;
  in_float32.micro = 0;
  gboolean done = training_run(training, backend, 0, &there);
  done = training_run(training, &pipeline_gradient_backend_reference, 0, &rounded) && done;
  done = training_run(&in_float32, &pipeline_gradient_backend_reference, 0, &wide) && done;
  double near = done ? outcome_compare_losses(&there, &rounded) : INFINITY,
         far = done ? outcome_compare_losses(&there, &wide) : INFINITY;
  check_that(done && near <= ROUNDED_CURVE && far <= FLOAT32_CURVE && far > 0,
             "%s: losses within %.2g of the reference that rounds (bound %.0e), %.2g of float32 (bound %.0e) %s", what,
             near, ROUNDED_CURVE, far, FLOAT32_CURVE, there.error != NULL ? there.error->message : "");
  outcome_clear(&there);
  outcome_clear(&rounded);
  outcome_clear(&wide);
}

/* Recorded steps too; nothing that is timed at run time chooses how a convolution is computed. */
static void check_narrow_repeats(const PipelineGradientBackend *backend)
{
  const Training training = {"grouped",   "momentum", NULL,         .batch = 2,
                             .epochs = 1, .rows = 16, .rate = 0.01, .precision = PIPELINE_PRECISION_BFLOAT16};
  Outcome first, second;
  gboolean done = training_run(&training, backend, 0, &first);
  done = training_run(&training, backend, 4, &second) && done;
  check_that(done && outcome_is_same(&first, &second),
             "bf16 convolutions: the same bits when continued after step 4 %s",
             first.error != NULL ? first.error->message : "");
  outcome_clear(&first);
  outcome_clear(&second);
}

/* The scale changes within these steps, and a resume takes it over. */
static void check_scale(const PipelineGradientBackend *backend)
{
  const Training growing = {"mlp",
                            "adam",
                            NULL,
                            .batch = 8,
                            .epochs = 3,
                            .rows = 80,
                            .growth_steps = 4,
                            .loss_scale = 8,
                            .precision = PIPELINE_PRECISION_BFLOAT16};
  Outcome first, second, third, fourth;
  gboolean done = training_run(&growing, backend, 0, &first);
  done = training_run(&growing, backend, 6, &second) && done;
  done = training_run(&growing, &pipeline_gradient_backend_reference, 0, &third) && done;
  check_that(done && outcome_is_same(&first, &second) && first.replayed > 0,
             "bf16: the same bits when continued after step 6 (%u steps replayed)", (guint)first.replayed);
  check_that(done && first.loss_scale > 8 && first.loss_scale == third.loss_scale &&
                 first.loss_scale == second.loss_scale && first.skipped == 0,
             "bf16: the scale of the loss grew from 8 to %g, as the reference's", first.loss_scale);
  Training over = growing;
  over.loss_scale = 0x1p140; /* float32 ends at 2^128 */
  over.growth_steps = 2000;
  done = training_run(&over, backend, 0, &fourth);
  outcome_clear(&third);
  done = training_run(&over, &pipeline_gradient_backend_reference, 0, &third) && done;
  check_that(done && fourth.skipped > 0 && fourth.skipped == third.skipped &&
                 fourth.loss_scale == ldexp(0x1p140, -(gint)fourth.skipped),
             "bf16: %u steps overflowed and were left out, the scale fell from 2^140 to 2^%.0f", (guint)fourth.skipped,
             log2(fourth.loss_scale));
  outcome_clear(&first);
  outcome_clear(&second);
  outcome_clear(&third);
  outcome_clear(&fourth);
}

/* One step that overflows. */
static void check_skip(const PipelineGradientBackend *backend)
{
  Training once = {"mlp",
                   "adam",
                   NULL,
                   .batch = 60,
                   .epochs = 1,
                   .rows = 80,
                   .loss_scale = 0x1p160,
                   .rate = 0.5,
                   .precision = PIPELINE_PRECISION_BFLOAT16};
  Outcome skipped, taken;
  once.batch = 60; /* all rows that train */
  gboolean done = training_run(&once, backend, 0, &skipped);
  once.loss_scale = 1;
  done = training_run(&once, backend, 0, &taken) && done;
  double moved = done ? outcome_compare(taken.parameters, skipped.parameters, taken.n) : 0;
  check_that(
      done && skipped.skipped == 1 && taken.skipped == 0 && skipped.loss_scale == 0x1p159 && moved > 0.1,
      "bf16: a step that overflows changes nothing, and halves the scale (the same step taken moves weights by %.2g)",
      moved);
  outcome_clear(&skipped);
  outcome_clear(&taken);
}

static const Training measured[] = {
    {"mlp", "adam", NULL, .batch = 192, .epochs = 1, .rows = 384},
    {"lenet", "adam", NULL, .batch = 8, .epochs = 1, .rows = 16},
    {"lenet", "adam", NULL, .batch = 8, .epochs = 1, .rows = 16, .precision = PIPELINE_PRECISION_BFLOAT16},
    {"grouped", "adam", NULL, .batch = 8, .epochs = 1, .rows = 16, .precision = PIPELINE_PRECISION_BFLOAT16},
    {"lstm", "momentum", NULL, .batch = 4, .epochs = 1, .rows = 8},
    {"small-transformer", "adam", NULL, .batch = 24, .epochs = 1, .rows = 48},
};

static void check_estimate(const Training *training, const PipelineGradientBackend *backend)
{
  Outcome outcome;
  gboolean done = training_run(training, backend, 0, &outcome);
  double own = (double)outcome.room.own, peak = (double)outcome.room.peak - own,
         estimate = (double)outcome.memory.total - own, factor = peak > 0 ? estimate / peak : 0;
  check_that(
      done && factor <= ESTIMATE && factor >= 1 / ESTIMATE,
      "%s%s, batches of %u: %.0f bytes of the device estimated, %.0f at the peak: a factor of %.2f (bound %.1f) %s",
      training->network, training->precision == PIPELINE_PRECISION_BFLOAT16 ? " bf16" : "", training->batch, estimate,
      peak, factor, ESTIMATE, outcome.error != NULL ? outcome.error->message : "");
  outcome_clear(&outcome);
}

/* Bytes for all that does not grow with the rows, the sums of gradients, and six tenths of the rest. */
static gsize leave_room(const PipelineGraphMemory *m)
{
  guint64 fixed = m->device + 2 * m->weights + m->gradients + m->optimiser + m->other + m->workspace;
  return (gsize)(fixed + (m->activations + m->activation_gradients + m->kept) * 6 / 10);
}

/* A device with less memory than whole batches take: known before the start, or found out on the way. */
static void check_squeezed(const gchar *network, guint batch, const PipelineGradientBackend *backend)
{
  const Training free = {network, "momentum", NULL, .batch = batch, .epochs = 1, .rows = 2 * batch, .rate = 0.01};
  Training squeezed = free;
  Outcome whole, planned, met, refused;
  gboolean done = training_run(&free, backend, 0, &whole);
  gsize own = whole.room.own, room = leave_room(&whole.memory);
  g_autofree gchar *limit = g_strdup_printf("%" G_GSIZE_FORMAT, room),
                   *least = g_strdup_printf("%" G_GSIZE_FORMAT, own + 1024);
  g_setenv("KEDGE_CUDA_MEMORY", limit, TRUE);
  gboolean fitted = training_run(&free, backend, 0, &planned);
  g_setenv("KEDGE_CUDA_MEMORY", least, TRUE);
  gboolean started = training_run(&free, backend, 0, &refused);
  g_unsetenv("KEDGE_CUDA_MEMORY");
  squeezed.squeeze = room;
  gboolean survived = training_run(&squeezed, backend, 0, &met);
  double curve = done && fitted ? outcome_compare_losses(&planned, &whole) : INFINITY;
  check_that(
      done && whole.micro_batch == 0 && fitted && planned.micro_batch > 0 && planned.micro_batch < batch &&
          curve <= SAME_CURVE && planned.room.peak <= room,
      "%s: room for six tenths of the activations: passes of %u rows of %u from the start, losses within %.2g %s",
      network, planned.micro_batch, batch, curve, planned.error != NULL ? planned.error->message : "");
  curve = done && survived ? outcome_compare_losses(&met, &whole) : INFINITY;
  check_that(done && survived && met.micro_batch > 0 && met.micro_batch < batch && curve <= SAME_CURVE,
             "%s: memory that is missed on the way: passes of %u rows of %u, losses within %.2g %s", network,
             met.micro_batch, batch, curve, met.error != NULL ? met.error->message : "");
  check_that(!started && g_error_matches(refused.error, PIPELINE_ERROR, PIPELINE_ERROR_MEMORY),
             "%s: no memory for one row is said before the start: %s", network,
             refused.error != NULL ? refused.error->message : "it was not");
  outcome_clear(&whole);
  outcome_clear(&planned);
  outcome_clear(&met);
  outcome_clear(&refused);
}

/* Passes would change what it computes. */
static void check_whole_only(const PipelineGradientBackend *backend)
{
  const Training free = {"small-resnet", "momentum", NULL, .batch = 6, .epochs = 1, .rows = 12, .rate = 0.01};
  Outcome whole, refused;
  gboolean done = training_run(&free, backend, 0, &whole);
  g_autofree gchar *limit =
      g_strdup_printf("%" G_GSIZE_FORMAT, whole.room.own + (whole.room.peak - whole.room.own) / 2);
  g_setenv("KEDGE_CUDA_MEMORY", limit, TRUE);
  gboolean started = training_run(&free, backend, 0, &refused);
  g_unsetenv("KEDGE_CUDA_MEMORY");
  check_that(done && !started && g_error_matches(refused.error, PIPELINE_ERROR, PIPELINE_ERROR_MEMORY) &&
                 strstr(refused.error->message, "BatchNormalization") != NULL,
             "a model that normalises over its batch is not cut: %s",
             refused.error != NULL ? refused.error->message : "it was");
  outcome_clear(&whole);
  outcome_clear(&refused);
}

void check_limits(const PipelineGradientBackend *backend)
{
  for (guint i = 0; i < G_N_ELEMENTS(narrow); i++) check_narrow(&narrow[i], backend);
  check_narrow_repeats(backend);
  check_scale(backend);
  check_skip(backend);
  for (guint i = 0; i < G_N_ELEMENTS(measured); i++) check_estimate(&measured[i], backend);
  check_squeezed("lenet", 12, backend);
  check_squeezed("mlp", 96, backend);
  check_whole_only(backend);
}
