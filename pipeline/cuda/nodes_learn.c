#include <math.h>
#include <string.h>

#include "pipeline/cuda/learn.h"
#include "pipeline/cuda/nodes.h"
#include "pipeline/graph_fit_scale.h"

G_STATIC_ASSERT(PIPELINE_SCALE_LEAST == (int)PIPELINE_CUDA_SCALE_LEAST &&
                PIPELINE_SCALE_MOST == (int)PIPELINE_CUDA_SCALE_MOST);

static const struct {
  const gchar *name;
  PipelineCudaLossKind kind;
} losses[] = {{"cross-entropy", PIPELINE_CUDA_CROSS_ENTROPY},
              {"focal", PIPELINE_CUDA_FOCAL},
              {"binary", PIPELINE_CUDA_BINARY},
              {"squared", PIPELINE_CUDA_SQUARED},
              {"huber", PIPELINE_CUDA_HUBER},
              {"quantile", PIPELINE_CUDA_QUANTILE}};

static const struct {
  const gchar *name;
  PipelineCudaOptimiserKind kind;
} optimisers[] = {{"sgd", PIPELINE_CUDA_SGD},           {"momentum", PIPELINE_CUDA_MOMENTUM},
                  {"nesterov", PIPELINE_CUDA_NESTEROV}, {"rmsprop", PIPELINE_CUDA_RMSPROP},
                  {"adam", PIPELINE_CUDA_ADAM},         {"adamw", PIPELINE_CUDA_ADAMW}};

static gint find_loss(const PipelineGraphLoss *loss)
{
  for (guint i = 0; i < G_N_ELEMENTS(losses); i++)
    if (strcmp(losses[i].name, loss->name) == 0) return (gint)losses[i].kind;
  return -1;
}

static gint find_optimiser(const PipelineOptimiser *optimiser)
{
  for (guint i = 0; i < G_N_ELEMENTS(optimisers); i++)
    if (strcmp(optimisers[i].name, optimiser->name) == 0) return (gint)optimisers[i].kind;
  return -1;
}

static gboolean supports(const PipelineGraphLoss *loss, const PipelineOptimiser *optimiser)
{
  return find_loss(loss) >= 0 && find_optimiser(optimiser) >= 0;
}

static gboolean done(const PipelineCuda *cuda, int status, GError **error)
{
  return status == 0 || pipeline_cuda_fail(cuda, error);
}

static gboolean compute_loss(gpointer device, const PipelineGraphDeviceLoss *loss, GError **error)
{
  const PipelineCuda *cuda = device;
  const PipelineCudaLoss there = {.kind = (PipelineCudaLossKind)find_loss(loss->loss),
                                  .label_smoothing = loss->options->label_smoothing,
                                  .focal_gamma = loss->options->focal_gamma,
                                  .huber_delta = loss->options->huber_delta,
                                  .target_scale = loss->options->target_scale,
                                  .class_weights = loss->class_weights,
                                  .quantiles = loss->quantiles,
                                  .row_weights = loss->row_weights,
                                  .weight = loss->weight,
                                  .n = loss->n,
                                  .width = loss->width,
                                  .n_targets = loss->n_targets,
                                  .first_target = loss->first_target,
                                  .add = loss->add,
                                  .scaled = loss->scaled};
  return done(cuda, cuda->table->loss(cuda->device, &there, loss->outputs, loss->targets, loss->gradient), error);
}

static gboolean begin(gpointer device, const PipelineGraphDeviceStep *step, GError **error)
{
  const PipelineCuda *cuda = device;
  const PipelineOptimiserOptions *o = step->options;
  const double t = (double)step->step;
  const PipelineCudaStep there = {.rate = (float)step->rate,
                                  .kept = (float)(1 - step->rate * o->weight_decay),
                                  .size = (float)(step->rate / (1 - pow(o->beta_1, t))),
                                  .root = (float)(1 / sqrt(1 - pow(o->beta_2, t))),
                                  .slot = step->slot};
  return done(cuda, cuda->table->step_begin(cuda->device, &there), error);
}

static gboolean update(gpointer device, const PipelineGraphDeviceUpdate *step, GError **error)
{
  const PipelineCuda *cuda = device;
  const PipelineOptimiserOptions *o = step->options;
  const PipelineCudaUpdate there = {.kind = (PipelineCudaOptimiserKind)find_optimiser(step->optimiser),
                                    .n = step->n,
                                    .w = step->w,
                                    .m = step->m,
                                    .v = step->v,
                                    .g = step->g,
                                    .decays = step->decays,
                                    .momentum = (float)o->momentum,
                                    .beta_1 = (float)o->beta_1,
                                    .beta_2 = (float)o->beta_2,
                                    .epsilon = (float)o->epsilon,
                                    .l1 = (float)o->l1,
                                    .l2 = (float)o->l2,
                                    .clip_norm = (float)step->clip_norm,
                                    .clip_value = (float)step->clip_value,
                                    .growth_steps = step->growth_steps};
  return done(cuda, cuda->table->update(cuda->device, &there), error);
}

static gboolean set_scale(gpointer device, double scale, guint64 steps, GError **error)
{
  const PipelineCuda *cuda = device;
  return done(cuda, cuda->table->scale_set(cuda->device, scale, steps), error);
}

static gboolean average(gpointer device, float *to, const float *from, float share, gsize n, GError **error)
{
  const PipelineCuda *cuda = device;
  return done(cuda, cuda->table->multiply_add(cuda->device, to, from, share, n), error);
}

static gboolean send(gpointer device, guint group, GError **error)
{
  const PipelineCuda *cuda = device;
  return done(cuda, cuda->table->results_send(cuda->device, group), error);
}

static gboolean receive(gpointer device, guint group, double (*results)[2], GError **error)
{
  const PipelineCuda *cuda = device;
  return done(cuda, cuda->table->results_get(cuda->device, group, results), error);
}

/* --- recordings
 * ------------------------------------------------------------------------------------------------------- */

static guint64 changes(gpointer device)
{
  const PipelineCuda *cuda = device;
  return cuda->table->changes(cuda->device) + cuda->changes;
}

static gboolean record_begin(gpointer device, GError **error)
{
  const PipelineCuda *cuda = device;
  return done(cuda, cuda->table->record_begin(cuda->device), error);
}

static gpointer record_end(gpointer device, GError **error)
{
  const PipelineCuda *cuda = device;
  gpointer recording = cuda->table->record_end(cuda->device);
  if (recording == NULL) done(cuda, 1, error);
  return recording;
}

static gboolean replay(gpointer device, gpointer recording, GError **error)
{
  const PipelineCuda *cuda = device;
  return done(cuda, cuda->table->replay(cuda->device, recording), error);
}

static void forget(gpointer device, gpointer recording)
{
  const PipelineCuda *cuda = device;
  cuda->table->recording_free(cuda->device, recording);
}

static const struct {
  const gchar *operator;
  PipelineGradientFunc refresh;
} refreshed[] = {{"Gather", pipeline_cuda_gather_refresh}, {"Dropout", pipeline_cuda_dropout_refresh}};

static gboolean refresh(PipelineGradientCall *call, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS(refreshed); i++)
    if (strcmp(refreshed[i].operator, call->call.node->op_type) == 0) return refreshed[i].refresh(call, error);
  return TRUE;
}

const PipelineGraphDevice pipeline_cuda_graph = {.group = PIPELINE_CUDA_GROUP,
                                                 .n_groups = PIPELINE_CUDA_GROUPS,
                                                 .supports = supports,
                                                 .begin = begin,
                                                 .loss = compute_loss,
                                                 .update = update,
                                                 .set_scale = set_scale,
                                                 .average = average,
                                                 .send = send,
                                                 .receive = receive,
                                                 .changes = changes,
                                                 .record_begin = record_begin,
                                                 .record_end = record_end,
                                                 .replay = replay,
                                                 .need = pipeline_cuda_need,
                                                 .forget = forget,
                                                 .refresh = refresh};
