/* Options of attacks and adversarial training, as texts and as what pipeline/ takes. */
#include <math.h>
#include <string.h>

#include "daemon/command_train_internal.h"

static gboolean invalid(GError **error, const gchar *message)
{
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, message);
  return FALSE;
}

gboolean command_parse_norm(const gchar *text, PipelineNorm *norm, GError **error)
{
  *norm = g_strcmp0(text, "2") == 0 ? PIPELINE_NORM_2 : PIPELINE_NORM_INFINITY;
  return text == NULL || strcmp(text, "2") == 0 || strcmp(text, "inf") == 0 || invalid(error, "the norm is inf or 2");
}

gboolean command_parse_unit(const gchar *text, gboolean *absolute, GError **error)
{
  *absolute = g_strcmp0(text, "absolute") == 0;
  return text == NULL || *absolute || strcmp(text, "sd") == 0 || invalid(error, "the unit is sd or absolute");
}

gboolean command_parse_range(const gchar *text, PipelineRangeKind *range, double *low, double *high, GError **error)
{
  *range = text == NULL || strcmp(text, "data") == 0 ? PIPELINE_RANGE_DATA
           : strcmp(text, "none") == 0               ? PIPELINE_RANGE_NONE
                                                     : PIPELINE_RANGE_GIVEN;
  if (*range != PIPELINE_RANGE_GIVEN) return TRUE;
  g_auto(GStrv) parts = g_strsplit(text, ",", -1);
  gchar *ends[2] = {NULL, NULL};
  if (g_strv_length(parts) == 2) {
    *low = g_ascii_strtod(parts[0], &ends[0]);
    *high = g_ascii_strtod(parts[1], &ends[1]);
    if (ends[0] != parts[0] && ends[1] != parts[1] && *ends[0] == '\0' && *ends[1] == '\0' && isfinite(*low) &&
        isfinite(*high) && *low < *high)
      return TRUE;
  }
  return invalid(error, "the range is data, none or LOW,HIGH, e.g. 0,1");
}

gboolean command_train_harden_fill(const TrainArguments *arguments, PipelineGraphTrainOptions *options, GError **error)
{
  const TrainHardenArguments *a = &arguments->harden;
  PipelineHardenOptions *harden = &options->fit.harden;
  if (a->method == NULL) return TRUE;
  harden->method = pipeline_harden_find(a->method, error);
  if (harden->method == NULL) return FALSE;
  if (!(arguments->adversarial_epsilon > 0)) return invalid(error, "adversarial training needs an epsilon above 0");
  if (a->replays < 0 || !(a->step_size >= 0) || !(a->beta >= 0))
    return invalid(error, "replays, step size and beta cannot be negative");
  harden->epsilon = arguments->adversarial_epsilon;
  harden->steps = (guint)arguments->adversarial_steps;
  harden->step_size = a->step_size;
  harden->replays = (guint)a->replays;
  harden->beta = a->beta;
  return command_parse_norm(a->norm, &harden->norm, error) &&
         command_parse_unit(a->unit, &options->harden_absolute, error) &&
         command_parse_range(a->range, &options->harden_range, &options->harden_low, &options->harden_high, error);
}
