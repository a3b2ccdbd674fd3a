/* Several attacks at several radii on the same rows, as JSON: what `kedge attack` prints and the job kind "attack"
 * keeps.
 */
#pragma once

#include <jansson.h>

#include "pipeline/robustness.h"

G_BEGIN_DECLS

typedef struct {
  const gchar *unit; /* of radii and distances: "sd", "absolute" */
  PipelineNorm norm;
  GArray *epsilons;    /* of double */
  GPtrArray *types;    /* of const PipelineAttackType * */
  GPtrArray *measured; /* of PipelineRobustness *, by epsilon, then type */
} PipelineRobustnessReport;
void pipeline_robustness_report_init(PipelineRobustnessReport *report, const PipelineRobustnessOptions *options);
void pipeline_robustness_report_clear(PipelineRobustnessReport *report);

/* "pgd,square" appended to the types; INVALID lists the known ones. */
gboolean pipeline_robustness_report_add_types(PipelineRobustnessReport *report, const gchar *names, GError **error);

/* Told before each measurement, FALSE ends it with CANCELLED. */
typedef gboolean (*PipelineRobustnessWatch)(const gchar *attack, double epsilon, double fraction, gpointer user_data);
/* Every type at every radius, the other options as given. */
gboolean pipeline_robustness_report_measure(PipelineRobustnessReport *report, PipelineModel *model,
                                            const DriftTable *table, const PipelineRobustnessOptions *options,
                                            PipelineRobustnessWatch watch, gpointer user_data, GError **error);
/* {"rows", "rows_skipped", "norm", "unit", "rows_right", "accuracy", "attacks": […], "worst": […]} as `kedge attack
 * --json` documents; new. */
json_t *pipeline_robustness_report_describe(const PipelineRobustnessReport *report);
/* count / n as NAME, with NAME_low and NAME_high of its Wilson interval of 95 %. */
void pipeline_robustness_report_set_rate(json_t *object, const gchar *name, guint64 count, guint64 n);

G_END_DECLS
