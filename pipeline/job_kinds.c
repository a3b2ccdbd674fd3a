#include "pipeline/job_internal.h"

const PipelineJobKind *const pipeline_job_kinds[] = {
    &pipeline_job_kind_retrain,  &pipeline_job_kind_refit,  &pipeline_job_kind_mixture,
    &pipeline_job_kind_score,    &pipeline_job_kind_search, &pipeline_job_kind_harden,
    &pipeline_job_kind_compress, &pipeline_job_kind_attack, NULL,
};

const PipelineJobKind *pipeline_job_kind_find(const gchar *kind)
{
  for (guint i = 0; pipeline_job_kinds[i] != NULL; i++)
    if (g_strcmp0(pipeline_job_kinds[i]->kind, kind) == 0) return pipeline_job_kinds[i];
  return NULL;
}

gchar *pipeline_job_state_directory(const gchar *artifacts)
{
  g_autofree gchar *absolute = g_canonicalize_filename(artifacts, NULL);
  g_autofree gchar *parent = g_path_get_dirname(absolute);
  return g_build_filename(parent, "jobs", NULL);
}
