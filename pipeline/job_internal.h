/* What the job kinds share: their table entries, reading a spec, writing a result. */
#pragma once

#include <jansson.h>

#include "pipeline/evaluate.h"
#include "pipeline/job_heartbeat.h"

G_BEGIN_DECLS

extern const PipelineJobKind pipeline_job_kind_retrain, pipeline_job_kind_refit, pipeline_job_kind_mixture,
    pipeline_job_kind_score, pipeline_job_kind_search, pipeline_job_kind_harden, pipeline_job_kind_compress,
    pipeline_job_kind_attack;

/* --- the spec: job_spec.c ----------------------------------------------------------------------------------------- */

/* The job's spec as an object; new reference. Errors name the job. */
json_t *pipeline_job_spec_load(const RegistryJob *job, GError **error);
/* Member `name` of the spec, or *value untouched (its default) when it is absent or null. INVALID, naming the member
 * and its range, when it is anything else than a number of [minimum, maximum]. */
gboolean pipeline_job_spec_integer(const json_t *spec, const gchar *name, gint64 minimum, gint64 maximum, gint64 *value,
                                   GError **error);
gboolean pipeline_job_spec_real(const json_t *spec, const gchar *name, double minimum, double maximum, double *value,
                                GError **error);
/* Borrowed from the spec; *value untouched when absent or null. */
gboolean pipeline_job_spec_text(const json_t *spec, const gchar *name, const gchar **value, GError **error);

/* --- the result: job_result.c ------------------------------------------------------------------------------------- */

json_t *pipeline_job_real(double value); /* null when not finite */
json_t *pipeline_job_evaluation(const PipelineEvaluation *evaluation);
json_t *pipeline_job_comparison(const PipelineComparison *comparison);
/* Consumes the reference; new text. */
gchar *pipeline_job_dump(json_t *value);

/* --- telling what goes on: job_result.c --------------------------------------------------------------------------- */

/* A line of the job's log. One that cannot be written is no reason to lose the work, so there is no error. */
void pipeline_job_log(PipelineJobContext *context, const gchar *format, ...) G_GNUC_PRINTF(2, 3);
/* Takes the reference. */
void pipeline_job_progress(PipelineJobContext *context, json_t *progress);
/* FALSE with CANCELLED when the job was cancelled, fenced or stopped. */
gboolean pipeline_job_check_cancel(PipelineJobContext *context, GError **error);

/* --- what outlives an attempt: job_result.c ----------------------------------------------------------------------- */

/* A file or folder of this job alone in the folder of checkpoints (made); new. NULL: none are kept. */
gchar *pipeline_job_state_path(const PipelineJobContext *context, const gchar *ending);

G_END_DECLS
