#include <math.h>
#include <string.h>

#include "pipeline/graph_optimiser.h"

void pipeline_schedule_options_init(PipelineScheduleOptions *options)
{
  *options = (PipelineScheduleOptions){.period = 1.0 / 3, .gamma = 0.1, .floor = 0.01, .patience = 3};
}

static double constant(const PipelineScheduleOptions *options, double progress, guint falls)
{
  (void)options;
  (void)progress;
  (void)falls;
  return 1;
}

static double fall_in_steps(const PipelineScheduleOptions *options, double progress, guint falls)
{
  (void)falls;
  return pow(options->gamma, floor(progress / options->period + 1e-9));
}

static double fall_exponentially(const PipelineScheduleOptions *options, double progress, guint falls)
{
  (void)falls;
  return pow(options->gamma, progress);
}

/* Loshchilov and Hutter 2017, one period. */
static double fall_along_cosine(const PipelineScheduleOptions *options, double progress, guint falls)
{
  (void)falls;
  return options->floor + (1 - options->floor) * 0.5 * (1 + cos(G_PI * progress));
}

/* Smith and Topin 2018: up from a 25th during .3 of the training, then down along a cosine. */
static double one_cycle(const PipelineScheduleOptions *options, double progress, guint falls)
{
  const double rise = 0.3, first = 1.0 / 25;
  if (progress < rise) return first + (1 - first) * 0.5 * (1 - cos(G_PI * progress / rise));
  return fall_along_cosine(options, (progress - rise) / (1 - rise), falls);
}

static double fall_on_plateau(const PipelineScheduleOptions *options, double progress, guint falls)
{
  (void)progress;
  return pow(options->gamma, falls);
}

const PipelineSchedule pipeline_schedules[] = {
    {"constant", "one rate", constant},
    {"step", "falls by gamma at equal distances", fall_in_steps},
    {"exponential", "falls evenly to gamma at the end", fall_exponentially},
    {"cosine", "falls along a cosine", fall_along_cosine},
    {"one-cycle", "rises, then falls along a cosine", one_cycle},
    {"plateau", "falls by gamma when the validation loss stays", fall_on_plateau},
    {.name = NULL},
};

const PipelineSchedule *pipeline_schedule_find(const gchar *name, GError **error)
{
  g_autoptr(GString) known = g_string_new("");
  for (const PipelineSchedule *row = pipeline_schedules; row->name != NULL; row++) {
    if (strcmp(row->name, name) == 0) return row;
    g_string_append_printf(known, "%s%s", known->len > 0 ? ", " : "", row->name);
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "there is no schedule '%s'; known: %s", name, known->str);
  return NULL;
}

double pipeline_schedule_factor(const PipelineSchedule *schedule, const PipelineScheduleOptions *options, guint64 step,
                                guint64 n_steps, guint falls)
{
  if (step < options->warm_up) return (double)(step + 1) / (double)(options->warm_up + 1);
  double span = (double)(n_steps > options->warm_up ? n_steps - options->warm_up : 1);
  return schedule->factor(options, MIN((double)(step - options->warm_up) / span, 1), falls);
}
